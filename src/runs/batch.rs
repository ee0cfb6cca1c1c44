//! The very batch of a step: which examples a run was fed then, found again from `run.yaml` and the data without training,
//! and what each of them costs the student at the checkpoints around that step.
//!
//! The order of examples is a function of the settings, the `order` seed and the lengths of what was encoded, so that it
//! is made here by the worker's own steps: the split is loaded, lent to, scored, encoded and fed as [`super::worker`] does
//! it. The journal says how many tokens each step read, and the ids of a skipped one; what is found is held against that.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::directory::RunDirectory;
use super::prepare::{self, TRAIN};
use super::preview::{Reading, Target};
use super::spec::RunSpec;
use super::split::{LoadedSplit, hashes, load_split};
use super::{RunError, fingerprint, lending, scorer};
use crate::corpus::{Dataset, Example};
use crate::evaluation::Losses;
use crate::evaluation::token_losses::losses_of_each;
use crate::journal::{History, StepEvent};
use crate::rationale::Encoded;
use crate::rationale::recipe::STUDENT;
use crate::student::{Decoder, Tokenizer};
use crate::training::checkpoint;
use crate::training::{Feed, Reduction};

/// The examples of a run in the order in which it is fed them.
pub struct TrainingOrder {
    run: RunDirectory,
    spec: RunSpec,
    dataset: Dataset,
    /// The rows of the training split, and which of them were encoded.
    examples: Vec<Example>,
    used: Vec<usize>,
    feed: Feed,
    /// What the examples were encoded with.
    tokenizer: Tokenizer,
    steps_per_epoch: usize,
    /// What is not as it was when the run began, in sentences.
    changed: Vec<String>,
}

/// What an example costs, as if it were alone in its batch. In nats; `None` where it is no number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExampleLoss {
    /// What the run minimises, by its own weights and reduction.
    pub loss: Option<f64>,
    /// Means over the tokens of the label and of the rationale.
    pub loss_label: Option<f64>,
    pub loss_rationale: Option<f64>,
}

/// An example of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchExample {
    pub id: String,
    /// Its row in the training split, 0 for the first.
    pub row: usize,
    /// Which of the step's batches it was in, 0 for the first: more than one where gradients are accumulated.
    pub batch: usize,
    /// Tokens of its sequences.
    pub tokens: usize,
    pub question: String,
    /// At the checkpoint before the step, and at the one after it.
    pub before: Option<ExampleLoss>,
    pub after: Option<ExampleLoss>,
    /// As it was read in this step.
    #[serde(skip)]
    encoded: Encoded,
}

/// A checkpoint near the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Near {
    /// Optimiser steps that it has seen; 0 is the student that the run began with.
    pub step: usize,
    /// Within the run's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// The batch of one optimiser step, accumulated batches and all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepBatch {
    pub run: String,
    /// 1 for the first.
    pub step: usize,
    /// Likewise.
    pub epoch: usize,
    /// What the journal says of the step; `None` where it was skipped, or the run has not come to it.
    pub event: Option<StepEvent>,
    /// What was no number, where the step was skipped for that.
    pub skipped: Option<String>,
    /// Tokens that the step reads, padding and last tokens not counted.
    pub tokens: usize,
    /// Whether that is what the journal says; `None` where it doesn't.
    pub agrees: Option<bool>,
    /// The newest checkpoint before the step, or the student that the run began with where none of those was kept.
    pub before: Option<Near>,
    /// The oldest checkpoint from the step on.
    pub after: Option<Near>,
    /// What a person should know, in sentences.
    pub notes: Vec<String>,
    /// Those that cost most first, before the step where a checkpoint was kept there, else after it.
    pub examples: Vec<BatchExample>,
}

impl TrainingOrder {
    /// Loads, renders and encodes a run's training split as its worker did. A run without a checkpoint is read with the
    /// tokenizer of the student that it names.
    pub fn read(project: &Path, run: &RunDirectory, report: &mut dyn FnMut(u64, u64)) -> Result<Self, RunError> {
        let spec = run.spec()?;
        let dataset = prepare::dataset(project, &spec)?;
        let load = |name: &str| -> Result<LoadedSplit, RunError> {
            let mut split = load_split(&dataset, name, &spec.rationale.source)?;
            split.lend(&dataset, &spec.rationale, spec.seed.ablation)?;
            Ok(split)
        };
        let mut train = load(TRAIN)?;
        // The hash of a file of vectors is that of the words in all splits.
        let from_file = spec.rationale.vectors().is_some_and(|file| file != STUDENT);
        let watched = spec.evaluation.split.as_str();
        let others = [Some(watched), Some(spec.evaluation.last_split()).filter(|last| *last != watched)];
        let others: Vec<LoadedSplit> =
            others.into_iter().flatten().filter(|_| from_file).map(load).collect::<Result<_, _>>()?;
        let all = || std::iter::once(&train).chain(&others);
        let reading = match run.newest_checkpoint() {
            Some(checkpoint) => Reading::at(&checkpoint)?,
            None => Reading::of(project, &spec, &dataset)?,
        };
        let mut renderer = reading.renderer(&spec, &dataset)?;
        let examples = all().flat_map(LoadedSplit::all_examples);
        let vectors = lending::vectors(project, &spec, &renderer.tokenizer, examples, report)?;
        let hashes = hashes(all(), &spec.rationale, vectors.as_ref().filter(|_| from_file));
        let changed = changed(&spec, &dataset, &hashes);
        renderer.vectors = vectors.map(Arc::new);
        if let Some((name, _)) = spec.rationale.scorer() {
            let scores = scorer::stored(project, &spec, &dataset, &train)?;
            let lost = || RunError::ScoresLost { id: run.id().to_owned(), scorer: name.to_owned() };
            train.scores = scores.ok_or_else(lost)?;
        }
        let (encoded, tally) = train.encode(0, &renderer, spec.training.unusable, true)?;
        if encoded.is_empty() {
            return Err(crate::training::TrainingError::NoExamples.into());
        }
        let tokenizer = renderer.tokenizer.clone();
        let (mut feed, order) = Feed::of(encoded.into(), &spec.training, spec.seed.order);
        let (examples, used) = (train.examples.clone(), tally.used);
        if renderer.recipe.draws_anew() {
            feed = feed.redrawing(train.redraw(renderer, used.clone()));
        }
        let steps_per_epoch = order.steps_per_epoch();
        Ok(Self { run: run.clone(), spec, dataset, examples, used, feed, tokenizer, steps_per_epoch, changed })
    }

    /// The batch of a step, 1 for the first, with no losses yet. `history` is the run's own.
    pub fn step(&mut self, step: usize, history: &History) -> Result<StepBatch, RunError> {
        let id = || self.run.id().to_owned();
        let steps = self.feed.steps();
        if !(1..=steps).contains(&step) {
            return Err(RunError::NoSuchStep { id: id(), step, steps });
        }
        let origin = self.spec.record.as_ref().and_then(|record| record.forked_from.as_ref());
        if let Some((of, at)) = origin.filter(|(_, at)| step <= *at) {
            return Err(RunError::StepOfOther { id: id(), step, of: of.clone(), at: *at });
        }
        let size = self.spec.training.batch_size;
        let fed = self.feed.examples(step - 1).into_iter().enumerate();
        let examples: Vec<BatchExample> = fed
            .map(|(number, (place, encoded))| {
                let row = self.used.get(place).copied().unwrap_or(place);
                BatchExample {
                    id: encoded.id.clone(),
                    row,
                    batch: number / size.max(1),
                    tokens: encoded.sequences().map(|sequence| sequence.ids.len()).sum(),
                    question: self.examples.get(row).map(|example| example.question.clone()).unwrap_or_default(),
                    before: None,
                    after: None,
                    encoded,
                }
            })
            .collect();
        let read = |example: &BatchExample| -> usize {
            example.encoded.sequences().map(|sequence| sequence.ids.len().saturating_sub(1)).sum()
        };
        let tokens = examples.iter().map(read).sum();
        let event = history.steps.iter().find(|event| event.step == step).cloned();
        let skipped = history.skipped.iter().find(|skipped| skipped.step == step);
        let agrees = match skipped {
            Some(skipped) => Some(skipped.examples.iter().eq(examples.iter().map(|example| &example.id))),
            None => tokens_read(&self.run, history, step).map(|read| read == tokens as u64),
        };
        let mut notes = self.changed.clone();
        if history.examples > 0 && history.examples != self.used.len() {
            notes.push(format!(
                "the run was trained on {} examples, and {} can be used now",
                history.examples,
                self.used.len()
            ));
        }
        if agrees == Some(false) {
            notes.push("the journal says otherwise of this step: these are not the examples that it was fed".into());
        }
        if event.is_none() && skipped.is_none() {
            notes.push(format!("the run has not come to this step yet: it has taken {}", history.step()));
        }
        if self.spec.training.soft_labels.is_some() {
            notes.push("losses are those of the tokens alone, without the teacher's soft labels".into());
        }
        Ok(StepBatch {
            run: id(),
            step,
            epoch: (step - 1) / self.steps_per_epoch + 1,
            event,
            skipped: skipped.map(|skipped| skipped.what.clone()),
            tokens,
            agrees,
            before: None,
            after: None,
            notes,
            examples,
        })
    }

    /// Fills in what each example costs at the checkpoints around the step, and puts those that cost most first.
    /// `report` is told how many examples are done, of how many.
    pub fn measure(
        &self,
        project: &Path,
        batch: &mut StepBatch,
        device: &Device,
        report: &mut dyn FnMut(usize, usize),
    ) -> Result<(), RunError> {
        let kept = checkpoint::list(&self.run.checkpoints());
        let (before, after): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(step, _)| *step < batch.step);
        let (before, after) = (before.into_iter().last(), after.into_iter().next());
        let near = |(step, path): &(usize, PathBuf)| Near {
            step: *step,
            path: Some(path.strip_prefix(self.run.path()).unwrap_or(path).to_owned()),
        };
        batch.after = after.as_ref().map(near);
        let is_fork = self.spec.record.as_ref().is_some_and(|record| record.forked_from.is_some());
        batch.before = match &before {
            Some(found) => Some(near(found)),
            // Of a fork that is the other run's.
            None if is_fork => None,
            None => Some(Near { step: 0, path: None }),
        };
        if before.is_none() {
            batch.notes.push(format!(
                "no checkpoint from before step {} was kept · training.checkpoint in RUN.yaml says how many are",
                batch.step
            ));
        }
        let encoded: Vec<Encoded> = batch.examples.iter().map(|example| example.encoded.clone()).collect();
        let total = encoded.len() * (usize::from(batch.before.is_some()) + usize::from(batch.after.is_some()));
        let mut done = 0;
        // What each costs before the step, and after it.
        let mut costs: [Option<Vec<f64>>; 2] = [None, None];
        for (side, found) in [&before, &after].into_iter().enumerate() {
            let near = if side == 0 { &mut batch.before } else { &mut batch.after };
            let Some(step) = near.as_ref().map(|near| near.step) else { continue };
            let decoder = match self.student(project, found.as_ref().map(|(_, path)| path), device) {
                Ok(decoder) => decoder,
                // Which examples they are is known all the same.
                Err(error) => {
                    *near = None;
                    batch.notes.push(format!("the student of step {step} can't be asked: {error}"));
                    continue;
                }
            };
            let losses = losses_of_each(&decoder, &encoded, &mut |own| {
                report(done + own, total);
                ControlFlow::Continue(())
            })?;
            done += encoded.len();
            let mut own_costs = Vec::with_capacity(losses.len());
            for (example, losses) in batch.examples.iter_mut().zip(losses) {
                let own = self.reduced(&losses);
                // No number is worse than any; an example that nothing is learnt from costs nothing.
                own_costs.push(own.map_or(f64::NEG_INFINITY, |own| if own.is_nan() { f64::INFINITY } else { own }));
                let number = |value: Option<f64>| value.filter(|value| value.is_finite());
                let of_example = ExampleLoss {
                    loss: number(own),
                    loss_label: number(losses.label),
                    loss_rationale: number(losses.rationale),
                };
                *(if side == 0 { &mut example.before } else { &mut example.after }) = Some(of_example);
            }
            costs[side] = Some(own_costs);
        }
        let [of_before, of_after] = costs;
        // The student that a run began with says least of what stands out later.
        let costs = if before.is_some() { of_before.or(of_after) } else { of_after.or(of_before) };
        if let Some(costs) = costs {
            let examples = std::mem::take(&mut batch.examples);
            let mut sorted: Vec<(f64, BatchExample)> = costs.into_iter().zip(examples).collect();
            // Of equals the one that was fed first.
            sorted.sort_by(|one, other| other.0.total_cmp(&one.0));
            batch.examples = sorted.into_iter().map(|(_, example)| example).collect();
        }
        Ok(())
    }

    /// What the run minimises.
    fn reduced(&self, losses: &Losses) -> Option<f64> {
        match self.spec.training.reduction {
            Reduction::TokenMean => losses.per_token,
            Reduction::ExampleSum => losses.per_example,
            Reduction::TaskMean => losses.per_task,
        }
    }

    /// The student at a checkpoint, or the one that the run began with.
    fn student(&self, project: &Path, checkpoint: Option<&PathBuf>, device: &Device) -> Result<Decoder, RunError> {
        let spec = &self.spec;
        if let Some(checkpoint) = checkpoint {
            let target = Target::Run { run: self.run.clone(), checkpoint: checkpoint.clone() };
            return Ok(target.load(spec, &self.dataset, device)?.decoder);
        }
        let begun = prepare::student(project, spec, &self.dataset, &self.examples, device, &mut |_, _, _| {})?;
        let (own, other) = (&self.tokenizer, &begun.tokenizer);
        // The toy's words are made of the rows, which may have changed.
        let is_same = own.size() == other.size() && (0..own.size() as u32).all(|id| own.token(id) == other.token(id));
        if !is_same {
            return Err(RunError::OtherWords { id: self.run.id().to_owned() });
        }
        Ok(begun.decoder.frozen())
    }
}

/// The tokens that the journal says a step has read: those read so far, less those of before it.
fn tokens_read(run: &RunDirectory, history: &History, step: usize) -> Option<u64> {
    let place = history.steps.iter().position(|event| event.step == step)?;
    let so_far = history.steps[place].tokens;
    let before = match place.checked_sub(1).and_then(|place| history.steps.get(place)) {
        // Steps in between were skipped, and their tokens not counted.
        Some(before) => before.tokens,
        None => {
            let first = (1..step).all(|other| history.skipped.iter().any(|skipped| skipped.step == other));
            // A fork goes on counting where its first checkpoint stood.
            let at = run.checkpoints().join(checkpoint::folder_name(step - 1));
            if first { 0 } else { checkpoint::read_state(&at).ok()?.tokens }
        }
    };
    so_far.checked_sub(before)
}

/// What is not as it was when the run began.
fn changed(spec: &RunSpec, dataset: &Dataset, hashes: &BTreeMap<String, String>) -> Vec<String> {
    let Some(record) = &spec.record else { return vec![] };
    let mut changed = Vec::new();
    if hashes.iter().any(|(name, hash)| record.data.get(name).is_some_and(|known| known != hash)) {
        let name = dataset.name();
        changed.push(format!(
            "the rows of {name} have changed since the run began, or what it reads beside them: this is what it would be \
             fed now"
        ));
    }
    if record.template.as_ref().is_some_and(|known| *known != fingerprint::of_template(dataset)) {
        changed.push(format!("the template of {} was changed since the run began", dataset.name()));
    }
    changed
}
