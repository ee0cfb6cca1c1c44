//! Attributions for `keep: {by: attribution}`: from the run that the recipe names, or from a reader trained for it.
//!
//! They are stored with the run that made them ([`super::attributions`]), and are made anew when the rows they were made
//! from have changed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::Device;
use sha2::{Digest, Sha256};

use super::RunError;
use super::attributions::{self, Question};
use super::directory::RunDirectory;
use super::prepare::{TRAIN, free_memory, renderer};
use super::spec::{RunSpec, hex};
use super::split::{LoadedSplit, load_split};
use super::supervisor::Supervisor;
use crate::attribution::method::STEPS;
use crate::attribution::{Asked, Method};
use crate::corpus::Dataset;
use crate::journal::RunState;
use crate::rationale::Renderer;
use crate::rationale::recipe::{Baseline, Placement, READER};
use crate::student::{Decoder, Student, StudentError, Tokenizer};

/// A run's student, as its newest checkpoint has it, with the rendering it was trained on.
pub struct TrainedRun {
    pub run: RunDirectory,
    pub spec: RunSpec,
    pub decoder: Decoder,
    pub renderer: Renderer,
    pub checkpoint: PathBuf,
}

impl TrainedRun {
    /// Loads the newest checkpoint of a run, rendering examples of `dataset`.
    pub fn load(run: &RunDirectory, dataset: &Dataset, device: &Device) -> Result<Self, RunError> {
        let checkpoint = run.newest_checkpoint().ok_or_else(|| RunError::NoCheckpoint { id: run.id().to_owned() })?;
        Self::load_checkpoint(run, checkpoint, dataset, device)
    }

    /// Loads one checkpoint of a run.
    pub fn load_checkpoint(
        run: &RunDirectory,
        checkpoint: PathBuf,
        dataset: &Dataset,
        device: &Device,
    ) -> Result<Self, RunError> {
        let spec = run.spec()?;
        let student = Student::load(&checkpoint, device)?;
        let renderer = renderer(&spec, dataset, student.tokenizer, student.decoder.architecture.context)?;
        let mut decoder = student.decoder.frozen();
        if !device.is_cpu() {
            let ops = spec.training.ops.available(device, decoder.dtype());
            decoder = decoder.with_ops(ops);
        }
        Ok(Self { run: run.clone(), spec, decoder, renderer, checkpoint })
    }

    /// The renderer for attributions: the rationale before the label and whole, the question hidden as in training.
    pub fn reading(&self, source: &str) -> Renderer {
        let mut renderer = self.renderer.clone();
        renderer.recipe.placement = Placement::Pre;
        renderer.recipe.ablations.clear();
        renderer.recipe.source = source.into();
        renderer
    }
}

/// Trains the run of a reader.
pub type TrainReader<'a> = &'a dyn Fn(&RunDirectory, &mut Supervisor) -> Result<(), RunError>;

/// A run that needs key tokens.
pub struct Scoring<'a> {
    pub project: &'a Path,
    pub spec: &'a RunSpec,
    pub dataset: &'a Dataset,
    /// The run's own rendering: tokens must be the scorer's tokens.
    pub renderer: &'a Renderer,
    pub device: &'a Device,
    pub train: TrainReader<'a>,
}

impl Scoring<'_> {
    /// Fills in the scores of the splits, of which the first is the one that a reader is trained on.
    pub fn fill(&self, splits: &mut [&mut LoadedSplit], supervisor: &mut Supervisor) -> Result<(), RunError> {
        let Some((name, baseline)) = self.spec.rationale.scorer() else { return Ok(()) };
        let run = if name == READER {
            let rows = splits.first().map(|split| split.rows_hash()).unwrap_or_default();
            self.trained_reader(&rows, supervisor)?
        } else {
            RunDirectory::exactly(self.project, name)?
        };
        if supervisor.is_stopping() {
            return Ok(());
        }
        let scorer = TrainedRun::load(&run, self.dataset, self.device)?;
        // Words for tasks and pauses make another vocabulary; where rationales fall into the same pieces, scores fit them.
        let is_same = scorer.renderer.tokenizer.to_json()? == self.renderer.tokenizer.to_json()?;
        if !is_same && !self.cuts_alike(&scorer.renderer.tokenizer, splits)? {
            return Err(RunError::OtherTokenizer { id: run.id().to_owned() });
        }
        for split in splits.iter_mut() {
            split.scores = scores(&scorer, self.dataset, split, &self.spec.rationale.source, baseline, supervisor)?;
            if supervisor.is_stopping() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether another tokenizer cuts all rationales into the same pieces.
    fn cuts_alike(&self, other: &Tokenizer, splits: &[&mut LoadedSplit]) -> Result<bool, StudentError> {
        for text in splits.iter().flat_map(|split| &split.examples).filter_map(|example| example.rationale.as_deref()) {
            let text = format!(" {}", text.trim());
            let (own, theirs) = (self.renderer.tokenizer.pieces(&text)?, other.pieces(&text)?);
            if !own.iter().map(|piece| piece.start).eq(theirs.iter().map(|piece| piece.start)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The reader over these rows: found, or trained now.
    fn trained_reader(&self, rows: &str, supervisor: &mut Supervisor) -> Result<RunDirectory, RunError> {
        let spec = self.spec.reader(self.dataset.meta.subject.is_some());
        let id = reader_id(&spec, rows);
        let run = RunDirectory::at(self.project, &id, spec)?;
        if run.read()?.state != RunState::Finished {
            supervisor.note(&format!("training the reader {id} first"))?;
            (self.train)(&run, supervisor)?;
        }
        Ok(run)
    }
}

/// What the reader over these rows is called.
fn reader_id(reader: &RunSpec, rows: &str) -> String {
    let decisive = hex(&Sha256::digest(format!("{} {rows}", reader.identity())));
    format!("reader-{}", &decisive[..12])
}

/// The scores of a split that were stored when the run was trained, for a student that is asked again. `None` where there
/// are none of these rows: without them other tokens would be kept than those that it knows.
pub fn stored(
    project: &Path,
    spec: &RunSpec,
    dataset: &Dataset,
    split: &LoadedSplit,
) -> Result<Option<HashMap<String, Vec<f32>>>, RunError> {
    let Some((name, baseline)) = spec.rationale.scorer() else { return Ok(None) };
    let source = &spec.rationale.source;
    let id = if name == READER {
        let rows = load_split(dataset, TRAIN, source)?.rows_hash();
        reader_id(&spec.reader(dataset.meta.subject.is_some()), &rows)
    } else {
        name.to_owned()
    };
    let Ok(run) = RunDirectory::exactly(project, &id) else { return Ok(None) };
    let Some(checkpoint) = run.newest_checkpoint() else { return Ok(None) };
    let lines = attributions::stored(&run, &checkpoint, dataset, split, source, &asked(baseline));
    Ok(lines.map(by_id))
}

/// What key tokens are chosen by: integrated gradients of log p(label) over the rationale.
pub fn asked(baseline: Baseline) -> Asked {
    Asked { method: Method::IntegratedGradients { steps: STEPS, baseline }, ..Asked::default() }
}

fn by_id(lines: Vec<attributions::Line>) -> HashMap<String, Vec<f32>> {
    // Without a rationale or an answer there is nothing to keep tokens of.
    lines.into_iter().filter(|line| line.left_out.is_none()).map(|line| (line.id, line.scores)).collect()
}

/// The scores of one split, from the file where it is good, else computed and stored.
fn scores(
    scorer: &TrainedRun,
    dataset: &Dataset,
    split: &LoadedSplit,
    source: &str,
    baseline: Baseline,
    supervisor: &mut Supervisor,
) -> Result<HashMap<String, Vec<f32>>, RunError> {
    let asked = asked(baseline);
    let free = free_memory(scorer.decoder.device());
    let question = Question { trained: scorer, dataset, split, source, asked: &asked, free };
    let total = split.examples.len();
    let supervisor = RefCell::new(supervisor);
    let mut trouble = None;
    let answer = question.answer(&mut |write| supervisor.borrow_mut().with_room(write), &mut |place, _| {
        let mut supervisor = supervisor.borrow_mut();
        match supervisor.progress(&format!("attributing {}", split.name), place + 1, total) {
            Ok(()) if !supervisor.is_stopping() => ControlFlow::Continue(()),
            Ok(()) => ControlFlow::Break(()),
            Err(error) => {
                trouble = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    match trouble {
        Some(error) => Err(error),
        None => Ok(answer.map(by_id).unwrap_or_default()),
    }
}
