//! The process that trains: it writes the journal, obeys the control socket and leaves a run that can be resumed
//! whatever happens to it.
//!
//! The tensor work runs on a thread of its own; tokio's threads answer the socket and the signals meanwhile.

use std::fs::File;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::control::{self, Control, Wanted};
use super::directory::RunDirectory;
use super::lending;
use super::prepare::{self, LoadedSplit, TRAIN, Tally};
use super::saving::Saving;
use super::scorer::Scoring;
use super::spec::RunSpec;
use super::supervisor::{Listener, Supervisor};
use super::{RunError, slots};
use crate::corpus::Dataset;
use crate::evaluation::{self, Accuracy, EvaluationError, Given, Prediction};
use crate::files;
use crate::journal::{EvaluationEvent, Event, History, MaterialEvent, RunState, SkippedEvent, StepEvent, Writer};
use crate::rationale::{Encoded, Placement, Renderer, Vectors};
use crate::student::DropoutRates;
use crate::student::ops::{Ops, cuda};
use crate::training::settings::{Dropping, Unusable};
use crate::training::{self, OnNonfinite, Reduction, Trainer, TrainingError};

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    pub state: RunState,
    /// A signal asked for it, such as batch systems send; the run waits to be resumed.
    pub by_signal: bool,
}

/// Trains a run in this process, from its beginning or from its newest checkpoint, and says how it ended.
/// With a listener the process is in the foreground: Ctrl-C stops the run as the control socket would.
pub fn work(project: &Path, run: &RunDirectory, listener: Option<Listener>) -> Result<Ending, RunError> {
    training::tune_allocator();
    let lock = run.lock()?;
    run.unfinished()?;
    run.begin_log();
    for folder in [run.path(), &run.attributions()] {
        files::sweep(folder);
    }
    training::checkpoint::sweep(&run.checkpoints());
    let control = Arc::new(Control::default());
    let foreground = listener.is_some();
    let mut supervisor = Supervisor::new(Writer::open(&run.journal())?, control.clone(), listener);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|source| RunError::Runtime { source })?;
    let (project, run) = (project.to_owned(), run.clone());
    runtime.block_on(async {
        match control::listen(&run) {
            Ok(listener) => {
                tokio::spawn(control::serve(listener, control.clone()));
            }
            Err(error) => supervisor.note(&format!("this run can't be paused or stopped from elsewhere: {error}"))?,
        }
        tokio::spawn(obey_signals(control.clone(), foreground));
        let training = tokio::task::spawn_blocking(move || guarded(&project, &run, &mut supervisor, lock));
        let state = training.await.map_err(|error| RunError::Panic { message: error.to_string() })??;
        let by_signal = matches!(control.wanted(), Wanted::Stop(reason) if SIGNALS.contains(&reason.as_str()));
        Ok(Ending { state, by_signal: by_signal && state == RunState::Stopped })
    })
}

/// What batch systems send to a job whose time is up, and shutdowns to all.
const SIGNALS: [&str; 3] = ["SIGTERM", "SIGUSR1", "SIGUSR2"];

/// Trains a run that another one needs, inside that one's process and slot.
fn train_nested(project: &Path, run: &RunDirectory, outer: &mut Supervisor) -> Result<(), RunError> {
    let lock = loop {
        match run.lock() {
            // Someone else is training it: wait for that.
            Err(RunError::Busy { .. }) if !outer.is_stopping() => outer.control.wait(Duration::from_millis(200)),
            lock => break lock?,
        }
    };
    if run.read()?.state == RunState::Finished {
        return Ok(());
    }
    let journal = Writer::open(&run.journal())?;
    let mut supervisor = Supervisor::new(journal, outer.control.clone(), None);
    let outcome = execute(project, run, &mut supervisor);
    conclude(&mut supervisor, outcome, run)?;
    drop(lock);
    if outer.is_stopping() || run.read()?.state == RunState::Finished {
        return Ok(());
    }
    Err(RunError::Nested { id: run.id().to_owned() })
}

/// Waits for a turn, trains, and writes how it ended, panics included.
fn guarded(project: &Path, run: &RunDirectory, supervisor: &mut Supervisor, lock: File) -> Result<RunState, RunError> {
    let outcome = catch_unwind(AssertUnwindSafe(|| -> Result<(), RunError> {
        let spec = run.spec()?;
        let threads = threads(&spec);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let device = prepare::device(&spec.device)?;
        let name = prepare::device_name(&device);
        let (kind, count, wanted) = if device.is_cpu() { ("cpu", cores, threads) } else { (name.as_str(), 1, 1) };
        // First come, first served; the id keeps two of one moment apart.
        let created = spec.record.as_ref().map_or("", |record| record.created.as_str());
        let ticket = format!("{created}-{}", run.id());
        let slot = slots::take(project, kind, count, wanted, &ticket, &supervisor.control)?;
        // Rayon's threads are the ones that compute; a run alone on its cores must not fight its neighbour for them.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| RunError::Panic { message: error.to_string() })?;
        let result = match slot {
            Some(_) => pool.install(|| execute(project, run, supervisor)),
            None => Ok(()),
        };
        drop(slot);
        result
    }));
    let outcome = outcome.unwrap_or_else(|panic| Err(RunError::Panic { message: training::words(&*panic) }));
    let state = conclude(supervisor, outcome, run);
    drop(lock);
    state
}

/// Writes the last state of a run, and gives back the error of a failed one.
fn conclude(
    supervisor: &mut Supervisor,
    outcome: Result<(), RunError>,
    run: &RunDirectory,
) -> Result<RunState, RunError> {
    let _ = std::fs::remove_file(run.path().join("control.sock"));
    match outcome {
        Ok(()) => match supervisor.control.wanted() {
            Wanted::Stop(reason) => {
                supervisor.state(RunState::Stopped, Some(reason))?;
                Ok(RunState::Stopped)
            }
            _ => {
                supervisor.state(RunState::Finished, None)?;
                Ok(RunState::Finished)
            }
        },
        Err(error) => {
            if let (Wanted::Stop(reason), Some(_)) = (supervisor.control.wanted(), error.full_disk()) {
                // The run did as it was told, but for its last checkpoint.
                let reason = format!("{reason}, while {error}; {}", saved(run));
                let _ = supervisor.state(RunState::Stopped, Some(reason));
                return Ok(RunState::Stopped);
            }
            let error = match error {
                error @ (RunError::Training(_) | RunError::Panic { .. }) => match run.newest_checkpoint() {
                    Some(path) => RunError::Failed {
                        id: run.id().to_owned(),
                        checkpoint: path.strip_prefix(run.path()).unwrap_or(&path).display().to_string(),
                        error: Box::new(error),
                    },
                    None => error,
                },
                error => error,
            };
            // Where this fails as well, the first error is the one to show.
            let _ = supervisor.state(RunState::Failed, Some(error.to_string()));
            Err(error)
        }
    }
}

/// What a run can go on from.
fn saved(run: &RunDirectory) -> String {
    match run.newest_checkpoint() {
        Some(path) => {
            format!("it goes on from {} when there is room", path.strip_prefix(run.path()).unwrap_or(&path).display())
        }
        None => "it has no checkpoint yet".into(),
    }
}

/// Tells candle and rayon how many threads to keep. Candle's own spin while they wait, so a run with one core must not
/// have two of them. Call it before any other thread begins; a variable that the user set is left alone.
pub fn limit_threads(threads: usize) {
    for name in ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"] {
        if std::env::var_os(name).is_none() {
            // SAFETY: the caller is the only thread there is.
            unsafe { std::env::set_var(name, threads.to_string()) };
        }
    }
}

/// The threads a run computes with.
pub fn threads(spec: &RunSpec) -> usize {
    let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // A run that was made on a larger machine goes on here with what there is.
    spec.training.threads.unwrap_or(all).clamp(1, all)
}

/// A run's data, encoded.
struct Material {
    renderer: Renderer,
    /// The split that is looked at during the run, and the one that decides; they may be one.
    watched: LoadedSplit,
    watched_encoded: Vec<Encoded>,
    last: Option<LoadedSplit>,
}

/// Prepares and trains. Returns early, with everything saved, when the run is told to stop.
fn execute(project: &Path, run: &RunDirectory, supervisor: &mut Supervisor) -> Result<(), RunError> {
    supervisor.state(RunState::Running, None)?;
    let mut spec = run.spec()?;
    let (device, other) = prepare::device_or_other(&spec.device)?;
    if let Some(note) = other {
        supervisor.note(&note)?;
    }
    let dataset = prepare::dataset(project, &spec)?;
    let Some((mut trainer, material)) = prepare_run(project, run, &mut spec, &dataset, &device, supervisor)? else {
        return Ok(());
    };
    let fused = spec.training.ops == Ops::Fused;
    if let Some(problem) = fused.then(|| cuda::problem(&device)).flatten() {
        supervisor.note(&format!("the GPU's kernels are not used, but candle's slower operations: {problem}"))?;
    }
    let resumed = restore(run, &spec, &mut trainer, supervisor)?;
    let parameters = trainer.student.decoder.architecture.parameter_count();
    supervisor.event(Event::Start {
        steps: trainer.steps(),
        examples: trainer.examples(),
        parameters,
        device: prepare::device_name(&device),
        threads: rayon::current_num_threads(),
    })?;
    // Also for a run without a checkpoint: what its journal says of earlier steps is void.
    let begun = History::read(&run.journal())?.step();
    if resumed.is_some() || begun > 0 {
        supervisor.event(Event::Resume { step: resumed.unwrap_or(0) })?;
    }
    if spec.training.tensorboard {
        supervisor.show_in_tensorboard(run)?;
    }
    let seen = History::read(&run.journal())?;
    let mut saving = Saving::new(run, spec.training.checkpoint.keep, &spec.evaluation.split, seen);
    train(run, &spec, &mut trainer, &material, &mut saving, supervisor)
}

/// Goes back to the newest checkpoint that can be used; newer ones are set aside. A fork without one must not train from
/// scratch what it says was trained before.
fn restore(
    run: &RunDirectory,
    spec: &RunSpec,
    trainer: &mut Trainer,
    supervisor: &mut Supervisor,
) -> Result<Option<usize>, RunError> {
    let (resumed, unusable) = trainer.restore_newest(&run.checkpoints());
    let origin = spec.record.as_ref().and_then(|record| record.forked_from.as_ref());
    if let (None, Some((of, _))) = (resumed, origin) {
        let problem = unusable.first().map_or("there is none", |first| &first.problem).to_owned();
        return Err(RunError::ForkLost { id: run.id().to_owned(), of: of.clone(), problem });
    }
    for checkpoint in unusable {
        let aside = checkpoint.set_aside()?;
        let aside = aside.strip_prefix(run.path()).unwrap_or(&aside).display().to_string();
        supervisor.note(&format!("a checkpoint could not be used and is now {aside}: {}", checkpoint.problem))?;
    }
    Ok(resumed)
}

/// Loads, renders and encodes. `None` when the run is told to stop meanwhile.
fn prepare_run(
    project: &Path,
    run: &RunDirectory,
    spec: &mut RunSpec,
    dataset: &Dataset,
    device: &candle_core::Device,
    supervisor: &mut Supervisor,
) -> Result<Option<(Trainer, Material)>, RunError> {
    let source = spec.rationale.source.clone();
    let mut train = prepare::load_split(dataset, TRAIN, &source)?;
    let mut watched = prepare::load_split(dataset, &spec.evaluation.split, &source)?;
    let mut last = match spec.evaluation.last_split() {
        same if same == spec.evaluation.split => None,
        other => Some(prepare::load_split(dataset, other, &source)?),
    };
    if last.as_ref().unwrap_or(&watched).examples.iter().all(|example| example.gold().is_none()) {
        let split = spec.evaluation.last_split().to_owned();
        return Err(RunError::NoAnswers { dataset: dataset.name().into(), split });
    }
    for split in [&mut train, &mut watched].into_iter().chain(&mut last) {
        split.lend(dataset, &spec.rationale, spec.seed.ablation)?;
    }
    let words = word_vectors(project, spec, [&train, &watched].into_iter().chain(&last), supervisor)?;
    let hashes = prepare::hashes([&train, &watched].into_iter().chain(&last), &spec.rationale, words.as_ref());
    supervisor.with_room(|| check_data(run, spec, hashes.clone()))?;

    let mut meter = FetchMeter::default();
    let mut fetched = |file: &str, done: u64, total: u64| {
        let (what, done, total) = meter.say(file, done, total);
        let _ = supervisor.progress(&what, done, total);
    };
    let student = prepare::student(project, spec, dataset, &train.examples, device, &mut fetched)?;
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
    let train_reader = |run: &RunDirectory, supervisor: &mut Supervisor| train_nested(project, run, supervisor);
    let scoring = Scoring { project, spec, dataset, renderer: &renderer, device, train: &train_reader };
    scoring.fill(&mut splits, supervisor)?;
    if supervisor.is_stopping() {
        return Ok(None);
    }
    let (encoded, tally) = train.encode(&renderer, spec.training.unusable)?;
    // Rows without an answer are nothing to stop for where nothing is learnt from them.
    let (watched_encoded, watched_tally) = watched.encode(&renderer, Unusable::Skip)?;
    note_all(supervisor, [(&train, &tally), (&watched, &watched_tally)], renderer.max_length)?;
    let longest = encoded.iter().map(|example| example.ids.len()).max().unwrap_or(0);
    let plan =
        prepare::plan(&spec.training, student.adapted.as_ref().map(|adapted| &adapted.settings), longest, device);
    prepare::check_memory(student.family, &student.decoder.architecture, &plan, device, true)?;
    if spec.training.dropout == Dropping::Auto {
        let DropoutRates { embedding, residual, attention } = student.dropout();
        let rates = format!("embedding {embedding}, residual {residual}, attention {attention}");
        supervisor.note(&format!("training.dropout: auto, which is what the student's config.json says: {rates}"))?;
    }
    let mut trainer = Trainer::new(student, encoded.into(), spec.training.clone(), spec.seed.order)?;
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
fn check_data(
    run: &RunDirectory,
    spec: &mut RunSpec,
    hashes: std::collections::BTreeMap<String, String>,
) -> Result<(), RunError> {
    let Some(record) = &mut spec.record else { return Ok(()) };
    if record.data == hashes && run.spec()?.record.is_some_and(|stored| stored.data == hashes) {
        return Ok(());
    }
    if record.data != hashes && !record.data.is_empty() && run.newest_checkpoint().is_some() {
        return Err(RunError::DataChanged { id: run.id().to_owned(), dataset: spec.dataset.clone() });
    }
    record.data = hashes;
    Ok(run.write_spec(spec)?)
}

/// The loop around the trainer.
fn train(
    run: &RunDirectory,
    spec: &RunSpec,
    trainer: &mut Trainer,
    material: &Material,
    saving: &mut Saving,
    supervisor: &mut Supervisor,
) -> Result<(), RunError> {
    let (steps, per_epoch) = (trainer.steps(), trainer.steps_per_epoch());
    let mut skipped = 0;
    while !trainer.is_finished() {
        saving.look(supervisor)?;
        match supervisor.control.wanted() {
            Wanted::Run => {}
            Wanted::Stop(_) => return saving.save(trainer, supervisor),
            Wanted::Pause => {
                saving.save(trainer, supervisor)?;
                supervisor.goes_on()?;
                continue;
            }
        }
        match take_step(trainer, spec.training.on_nonfinite, &mut skipped)? {
            Ok(event) => supervisor.event(Event::Step(event))?,
            Err(event) => supervisor.event(Event::Skipped(event))?,
        }
        let step = trainer.steps_done();
        // The checkpoint first: what is evaluated next may take longer than what was trained.
        if spec.training.checkpoint.every.is_due(step, steps, per_epoch) {
            saving.begin(trainer, supervisor)?;
        }
        if step < steps && spec.evaluation.every.is_due(step, steps, per_epoch) {
            evaluate(spec, trainer, material, saving, supervisor, false)?;
        }
    }
    let mut predictions = evaluate(spec, trainer, material, saving, supervisor, false)?;
    if material.last.is_some() {
        predictions = evaluate(spec, trainer, material, saving, supervisor, true)?;
    }
    saving.save(trainer, supervisor)?;
    // Told to stop: asked again when the run is resumed.
    let Some(predictions) = predictions else { return Ok(()) };
    saving.tidy()?;
    let split = spec.evaluation.last_split();
    if let Some(note) = Accuracy::of(&predictions).note(spec.evaluation.limit) {
        supervisor.note(&format!("{split}: {note} · evaluation.limit is what a student may write"))?;
    }
    supervisor.with_room(|| evaluation::merge_predictions(&run.predictions(), &spec.dataset, split, &predictions))
}

/// More steps in a row than this without an update, and the run has nothing to go on for.
const MOST_SKIPPED: usize = 20;

/// Takes a step, or goes past one whose loss or gradient is no number. `skipped` counts those in a row.
fn take_step(
    trainer: &mut Trainer,
    on_nonfinite: OnNonfinite,
    skipped: &mut usize,
) -> Result<Result<StepEvent, SkippedEvent>, RunError> {
    let error = match trainer.step() {
        Ok(event) => {
            *skipped = 0;
            return Ok(Ok(event));
        }
        Err(error) => error,
    };
    match error {
        TrainingError::Step { step, examples, problem } if on_nonfinite == OnNonfinite::Skip => match *problem {
            TrainingError::Diverged { what } if *skipped < MOST_SKIPPED => {
                *skipped += 1;
                trainer.skip();
                Ok(Err(SkippedEvent { step, what: what.into(), examples }))
            }
            problem @ TrainingError::Diverged { .. } => {
                let last = TrainingError::Step { step, examples, problem: Box::new(problem) };
                Err(TrainingError::AllSkipped { count: *skipped + 1, last: Box::new(last) }.into())
            }
            problem => Err(TrainingError::Step { step, examples, problem: Box::new(problem) }.into()),
        },
        error => Err(error.into()),
    }
}

/// Measures accuracy and loss on the watched split, or accuracy on the last one. `None` when told to stop meanwhile. A
/// step that is among the best is saved, if such are to be kept.
fn evaluate(
    spec: &RunSpec,
    trainer: &Trainer,
    material: &Material,
    saving: &mut Saving,
    supervisor: &mut Supervisor,
    last: bool,
) -> Result<Option<Vec<Prediction>>, RunError> {
    let split = if last { material.last.as_ref().unwrap_or(&material.watched) } else { &material.watched };
    let is_final = trainer.is_finished();
    let limit = if is_final { None } else { spec.evaluation.examples };
    let examples = &split.examples[..limit.unwrap_or(usize::MAX).min(split.examples.len())];
    let decoder = trainer.student.decoder.frozen();
    let asking = spec.evaluation.asking();
    let borrow = |place: usize| split.borrow(place, &material.renderer);
    let losses_of = if last { &[][..] } else { &material.watched_encoded[..] };
    let total = examples.len() + losses_of.len();
    let what = format!("asking {}", split.name);
    supervisor.event(Event::Progress { what: what.clone(), done: 0, total })?;
    let mut failed = None;
    let mut tell = |done: usize| {
        let result = supervisor.progress(&what, done, total).and_then(|()| supervisor.goes_on());
        match result {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let answered = evaluation::predict(&decoder, &material.renderer, examples, &asking, &borrow, &mut tell);
    let measured = answered.and_then(|predictions| {
        let losses = evaluation::losses(&decoder, losses_of, &mut |done| tell(examples.len() + done))?;
        Ok((predictions, losses))
    });
    let (predictions, losses) = match (failed, measured) {
        (Some(error), _) => return Err(error),
        (None, Err(EvaluationError::Interrupted)) => return Ok(None),
        (None, measured) => measured?,
    };
    let accuracy = Accuracy::of(&predictions);
    let event = EvaluationEvent {
        step: trainer.steps_done(),
        epoch: trainer.epoch(),
        split: split.name.clone(),
        accuracy: accuracy.share().unwrap_or(0.0),
        correct: accuracy.correct,
        examples: accuracy.examples,
        unparsable: accuracy.unparsable,
        loss: match spec.training.reduction {
            Reduction::TokenMean => losses.per_token,
            Reduction::ExampleSum => losses.per_example,
        },
        loss_label: losses.label,
        loss_rationale: losses.rationale,
        last: is_final && split.name == spec.evaluation.last_split(),
    };
    supervisor.event(Event::Evaluation(event.clone()))?;
    if saving.evaluated(&event) {
        saving.begin(trainer, supervisor)?;
    }
    Ok(Some(predictions))
}

/// SIGTERM, SIGUSR1 and SIGUSR2 stop a run with its checkpoint, and so does Ctrl-C on one in the foreground. A closed
/// terminal is nothing to a run.
async fn obey_signals(control: Arc<Control>, foreground: bool) {
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup), Ok(mut first), Ok(mut second)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
        signal(SignalKind::user_defined1()),
        signal(SignalKind::user_defined2()),
    ) else {
        return;
    };
    loop {
        let reason = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "Ctrl-C",
            _ = hangup.recv() => "SIGHUP",
            _ = first.recv() => "SIGUSR1",
            _ = second.recv() => "SIGUSR2",
        };
        match reason {
            "SIGHUP" if !foreground => {}
            // The second time somebody means it.
            "Ctrl-C" if control.is_stopping() => std::process::exit(130),
            reason => control.want(Wanted::Stop(reason.into())),
        }
    }
}
