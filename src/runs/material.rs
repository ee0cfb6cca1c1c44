//! From a run's folder to what is trained: its splits, its student, and what they take from elsewhere, with everything that
//! the run has to say of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::directory::RunDirectory;
use super::prepare::{self, TRAIN};
use super::scorer::{Scoring, TrainReader};
use super::spec::RunSpec;
use super::split::{LoadedSplit, Tally, hashes, load_split};
use super::supervisor::Supervisor;
use super::{RunError, fingerprint, lending};
use crate::corpus::Dataset;
use crate::evaluation::Given;
use crate::journal::{Event, MaterialEvent};
use crate::rationale::{Encoded, Placement, Renderer, Vectors};
use crate::student::DropoutRates;
use crate::training::Trainer;
use crate::training::settings::{Dropping, Unusable};

/// A run's data, encoded.
pub struct Material {
    pub renderer: Renderer,
    /// The split that is looked at during the run, and the one that decides; they may be one.
    pub watched: LoadedSplit,
    pub watched_encoded: Vec<Encoded>,
    pub last: Option<LoadedSplit>,
}

/// Loads, renders and encodes. `None` when the run is told to stop meanwhile.
pub fn prepare_run(
    project: &Path,
    run: &RunDirectory,
    spec: &mut RunSpec,
    dataset: &Dataset,
    device: &candle_core::Device,
    train_reader: TrainReader,
    supervisor: &mut Supervisor,
) -> Result<Option<(Trainer, Material)>, RunError> {
    let source = spec.rationale.source.clone();
    let mut train = load_split(dataset, TRAIN, &source)?;
    let mut watched = load_split(dataset, &spec.evaluation.split, &source)?;
    let mut last = match spec.evaluation.last_split() {
        same if same == spec.evaluation.split => None,
        other => Some(load_split(dataset, other, &source)?),
    };
    if last.as_ref().unwrap_or(&watched).examples.iter().all(|example| example.gold().is_none()) {
        let split = spec.evaluation.last_split().to_owned();
        return Err(RunError::NoAnswers { dataset: dataset.name().into(), split });
    }
    for split in [&mut train, &mut watched].into_iter().chain(&mut last) {
        split.lend(dataset, &spec.rationale, spec.seed.ablation)?;
    }
    let words = word_vectors(project, spec, [&train, &watched].into_iter().chain(&last), supervisor)?;
    let hashes = hashes([&train, &watched].into_iter().chain(&last), &spec.rationale, words.as_ref());
    supervisor.with_room(|| check_data(run, spec, hashes.clone()))?;
    supervisor.with_room(|| check_template(run, spec, dataset))?;

    let mut meter = FetchMeter::default();
    let mut fetched = |file: &str, done: u64, total: u64| {
        let (what, done, total) = meter.say(file, done, total);
        let _ = supervisor.progress(&what, done, total);
    };
    let student = prepare::student(project, spec, dataset, &train.examples, device, &mut fetched)?;
    let read = fingerprint::of_run(project, spec)?;
    supervisor.with_room(|| check_students(run, spec, read.clone()))?;
    let context = student.decoder.architecture.context;
    let mut renderer = prepare::renderer(spec, dataset, student.tokenizer.clone(), context)?;
    let vectors = match words {
        None => {
            let all = [&train, &watched].into_iter().chain(&last).flat_map(LoadedSplit::all_examples);
            lending::student_vectors(project, spec, &renderer.tokenizer, all)?
        }
        words => words,
    };
    if let Some(vectors) = &vectors {
        for split in [&train, &watched] {
            lending::note(vectors, split, &renderer.tokenizer)?.map_or(Ok(()), |note| supervisor.note(&note))?;
        }
    }
    renderer.vectors = vectors.map(Arc::new);
    // The last split's rationales are read only where the student is given them.
    let given = spec.rationale.placement == Placement::Pre && spec.evaluation.rationale == Given::Teacher;
    let read = last.as_mut().filter(|_| given);
    let mut splits: Vec<&mut LoadedSplit> = [&mut train, &mut watched].into_iter().chain(read).collect();
    let scoring = Scoring { project, spec, dataset, renderer: &renderer, device, train: train_reader };
    scoring.fill(&mut splits, supervisor)?;
    if supervisor.is_stopping() {
        return Ok(None);
    }
    let (encoded, tally) = train.encode(0, &renderer, spec.training.unusable, true)?;
    // Rows without an answer are nothing to stop for where nothing is learnt from them.
    let (watched_encoded, watched_tally) = watched.encode(0, &renderer, Unusable::Skip, false)?;
    note_all(supervisor, [(&train, &tally), (&watched, &watched_tally)], renderer.max_length)?;
    let longest = encoded.iter().map(Encoded::longest).max().unwrap_or(0);
    // Examples of two sequences make batches of twice as many.
    let sequences = encoded.iter().map(|example| example.sequences().count()).max().unwrap_or(1);
    // First, so that what it takes of the memory is taken when the rest is asked for.
    let soft = spec.training.soft_labels.as_ref();
    // A longer one may be drawn later.
    let reach = if renderer.recipe.draws_anew() { renderer.max_length } else { longest };
    let teacher = soft.map(|soft| prepare::teacher(project, &spec.training, soft, &student, reach)).transpose()?;
    let lora = student.adapted.as_ref().map(|adapted| &adapted.settings);
    let mut plan = prepare::plan(&spec.training, lora, longest, device);
    plan.batch *= sequences;
    prepare::check_memory(student.family, &student.decoder.architecture, &plan, device, true)?;
    if spec.training.dropout == Dropping::Auto {
        let DropoutRates { embedding, residual, attention } = student.dropout();
        let rates = format!("embedding {embedding}, residual {residual}, attention {attention}");
        supervisor.note(&format!("training.dropout: auto, which is what the student's config.json says: {rates}"))?;
    }
    let mut trainer = Trainer::new(student, encoded.into(), spec.training.clone(), spec.seed.order)?;
    if let Some(teacher) = teacher {
        trainer = trainer.learning_from(teacher);
    }
    if renderer.recipe.draws_anew() {
        trainer = trainer.redrawing(train.redraw(renderer.clone(), tally.used));
    }
    Ok(Some((trainer, Material { renderer, watched, watched_encoded, last })))
}

/// The word vectors of the file that a run names, if it does.
fn word_vectors<'a>(
    project: &Path,
    spec: &RunSpec,
    splits: impl Iterator<Item = &'a LoadedSplit>,
    supervisor: &mut Supervisor,
) -> Result<Option<Vectors>, RunError> {
    let mut report = |done: u64, total: u64| {
        let _ =
            supervisor.progress("reading word vectors, MB", (done / 1_000_000) as usize, (total / 1_000_000) as usize);
    };
    lending::file_vectors(project, &spec.rationale, splits.flat_map(LoadedSplit::all_examples), &mut report)
}

/// How far the download of a student is, in megabytes and with the time left.
#[derive(Default)]
struct FetchMeter {
    /// The file, and when it began with how many bytes: what an earlier try left was not fetched now.
    begun: Option<(String, Instant, u64)>,
}

impl FetchMeter {
    fn say(&mut self, file: &str, done: u64, total: u64) -> (String, usize, usize) {
        if self.begun.as_ref().is_none_or(|(name, _, from)| name != file || done < *from) {
            self.begun = Some((file.to_owned(), Instant::now(), done));
        }
        let left = self.begun.as_ref().and_then(|(_, when, from)| {
            let seconds =
                when.elapsed().as_secs_f64() * (total - done.min(total)) as f64 / done.checked_sub(*from)? as f64;
            seconds
                .is_finite()
                .then(|| format!(", {} left", indicatif::HumanDuration(Duration::from_secs_f64(seconds))))
        });
        (
            format!("fetching {file}{}, MB", left.unwrap_or_default()),
            (done / 1_000_000) as usize,
            (total / 1_000_000) as usize,
        )
    }
}

fn note_all(
    supervisor: &mut Supervisor,
    tallies: [(&LoadedSplit, &Tally); 2],
    max_length: usize,
) -> Result<(), RunError> {
    for (split, tally) in tallies {
        supervisor.event(Event::Material(MaterialEvent {
            split: split.name.clone(),
            examples: tally.examples,
            truncated: tally.truncated,
            without_rationale: tally.without_rationale,
            skipped: tally.skipped,
        }))?;
        for note in tally.notes(&split.name, max_length) {
            supervisor.note(&note)?;
        }
    }
    Ok(())
}

/// Writes the hashes of the rows into `run.yaml`; a run that began on other rows can't go on.
fn check_data(run: &RunDirectory, spec: &mut RunSpec, hashes: BTreeMap<String, String>) -> Result<(), RunError> {
    let dataset = spec.dataset.clone();
    let Some(record) = &mut spec.record else { return Ok(()) };
    if record.data == hashes && run.spec()?.record.is_some_and(|stored| stored.data == hashes) {
        return Ok(());
    }
    if record.data != hashes && !record.data.is_empty() && run.newest_checkpoint().is_some() {
        return Err(RunError::DataChanged { id: run.id().to_owned(), dataset });
    }
    record.data = hashes;
    Ok(run.write_spec(spec)?)
}

/// Likewise for the words in which questions are put.
fn check_template(run: &RunDirectory, spec: &mut RunSpec, dataset: &Dataset) -> Result<(), RunError> {
    let Some(record) = &mut spec.record else { return Ok(()) };
    let now = fingerprint::of_template(dataset);
    match &record.template {
        Some(known) if *known == now => Ok(()),
        Some(_) if run.newest_checkpoint().is_some() => {
            Err(RunError::TemplateChanged { id: run.id().to_owned(), dataset: dataset.name().to_owned() })
        }
        _ => {
            record.template = Some(now);
            Ok(run.write_spec(spec)?)
        }
    }
}

/// Likewise for the files of the students that it reads.
fn check_students(run: &RunDirectory, spec: &mut RunSpec, found: BTreeMap<String, String>) -> Result<(), RunError> {
    let Some(record) = &mut spec.record else { return Ok(()) };
    let changed = found.iter().find(|(name, hash)| record.students.get(*name).is_some_and(|own| own != *hash));
    if let (Some((name, _)), Some(_)) = (changed, run.newest_checkpoint()) {
        return Err(RunError::StudentChanged { id: run.id().to_owned(), student: crate::text::line(name).into() });
    }
    if record.students == found {
        return Ok(());
    }
    record.students = found;
    Ok(run.write_spec(spec)?)
}
