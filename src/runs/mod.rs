//! Runs: what one is ([`RunSpec`]), where it lies ([`RunDirectory`]), the worker process that trains it, and the ways
//! to start, pause, resume and stop it. The run directory is the interface: nothing else is shared between a running
//! fine-tune and whoever watches it.

pub mod attributions;
pub mod batch;
mod changes;
pub mod control;
pub mod curves;
pub mod directory;
pub mod fingerprint;
pub mod fork;
pub mod lending;
pub mod lenses;
mod material;
pub mod prepare;
pub mod preview;
mod saving;
pub mod scorer;
pub mod slots;
pub mod spawn;
pub mod spec;
pub mod spikes;
mod split;
pub mod supervisor;
mod tensorboard;
pub mod worker;

use std::path::PathBuf;

pub use directory::{Run, RunDirectory};
pub use spec::{EvaluationSettings, RunSpec, Seeds};
pub use split::{LoadedSplit, Tally, hashes, load_split};

use crate::attribution::AttributionError;
use crate::attribution::lens::LensError;
use crate::corpus::CorpusError;
use crate::evaluation::EvaluationError;
use crate::files::FileError;
use crate::rationale::RenderError;
use crate::rationale::word_vectors::VectorsError;
use crate::student::StudentError;
use crate::training::TrainingError;

/// What can go wrong with a run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{}: {problem}", path.display())]
    Spec { path: PathBuf, problem: String },
    #[error("--set {text}: {problem}")]
    Override { text: String, problem: String },
    #[error("there is no run `{id}`{nearest} · `afterthought runs list` shows what there is")]
    Unknown { id: String, nearest: String },
    #[error("`{id}` could be several runs: {like}")]
    Ambiguous { id: String, like: String },
    #[error("there are no runs in {} yet · `afterthought train` or the workbench starts one", folder.display())]
    None { folder: PathBuf },
    #[error("{} has no free name left for a run of this second", folder.display())]
    TooMany { folder: PathBuf },
    #[error("run {id} is finished, so there is nothing to go on with · `afterthought runs fork {id}` begins a new one")]
    Finished { id: String },
    #[error(
        "run {id} began with other files of {student} than are there now · bring those back, or start a new run: the \
         checkpoint of one can't go on as the other"
    )]
    StudentChanged { id: String, student: String },
    #[error(
        "there is no run or folder `{id}`, and no student of that name was fetched · `afterthought student fetch {id}`"
    )]
    NotFetched { id: String },
    #[error(
        "the filter keeps no rationale of {dataset}/train · teacher_correct needs a source with `teacher_answer`, or \
         rationales that announce an answer"
    )]
    FilterKeepsNothing { dataset: String },
    #[error(
        "the template of {dataset} was changed since run {id} began · bring it back, or start a new run: what was learned \
         under one can't go on under the other"
    )]
    TemplateChanged { id: String, dataset: String },
    #[error("training.soft_labels.teacher {name}: {problem}")]
    Teacher { name: String, problem: String },
    #[error("another process is working on run {id}")]
    Busy { id: String },
    #[error("run {id} is not running, so there is nothing to pause or stop")]
    NotRunning { id: String },
    #[error("the worker of run {id} did not do it: {why}")]
    Refused { id: String, why: String },
    #[error("run {id} has no checkpoint to load · it was stopped before its first one, or is a recording")]
    NoCheckpoint { id: String },
    #[error("run {id} has no checkpoint of step {step} · it has those of {known}")]
    NoSuchCheckpoint { id: String, step: String, known: String },
    #[error("a fork of {id} must keep its student (and the toy its data set): its words would mean something else")]
    ForkOfOther { id: String },
    #[error("run {id} can't be forked at step {step}: {problem}{others}")]
    Fork { id: String, step: usize, problem: String, others: String },
    #[error("run {id} is a fork of {of}, and no checkpoint can be used to begin with: {problem} · fork {of} again")]
    ForkLost { id: String, of: String, problem: String },
    #[error(
        "run {id} has another tokenizer than this run's student, so its attributions fit no token · name a run of the same \
         student, or leave scorer out"
    )]
    OtherTokenizer { id: String },
    #[error("run {id}, which this one needs, did not finish · see its worker.log")]
    Nested { id: String },
    #[error(
        "the rows of {dataset} have changed since run {id} began, or the word vectors that it reads, so it can't go on where it was · start a new run"
    )]
    DataChanged { id: String, dataset: String },
    #[error(
        "the toy student has no published weights to put adapters beside · leave out training.lora, or name a student"
    )]
    LoraOfToy,
    #[error("the fine-tune would take about {needed} of memory more, and {available} are free · {fits}")]
    WontFit { needed: String, available: String, fits: String },
    #[error("{dataset}/{split} has no answers to compare with · set evaluation.split to one that has")]
    NoAnswers { dataset: String, split: String },
    #[error("{count} rows of {split} can't be trained on:\n  {reasons}\n  mend them, or set training.unusable: skip")]
    Unusable { split: String, count: usize, reasons: String },
    #[error("device `{name}`: {problem}")]
    Device { name: String, problem: String },
    #[error("{error} · the last checkpoint is {checkpoint} · `afterthought runs resume {id}` goes on from there")]
    Failed { id: String, checkpoint: String, error: Box<RunError> },
    #[error("it would have other words now than run {id} began with: its rows or its files have changed")]
    OtherWords { id: String },
    #[error("run {id} has no step {step}: its steps are 1 to {steps}")]
    NoSuchStep { id: String, step: usize, steps: usize },
    #[error(
        "step {step} of run {id} was taken by run {of}, of which it is a fork from step {at} on · \
         `afterthought runs batch {of} {step}`"
    )]
    StepOfOther { id: String, step: usize, of: String, at: usize },
    #[error(
        "run {id} chose tokens by the scores of {scorer}, and those of its rows are not there any more, so its batches \
         can't be made again"
    )]
    ScoresLost { id: String, scorer: String },
    #[error("run {id} has no evaluation of a checkpoint that it kept, so none is its best")]
    NoBest { id: String },
    #[error("run {run} has no {lens} lens of its {checkpoint} · `afterthought lens train {run}{again}` trains one")]
    NoLens { run: String, checkpoint: String, lens: String, again: String },
    #[error("{}: {problem} · `afterthought lens train` makes it anew", path.display())]
    LensFile { path: PathBuf, problem: String },
    #[error(
        "the run is shown the key tokens of rationales, and those of {dataset}/{split} were never scored · take a split that \
         it was trained on or asked"
    )]
    NotScored { dataset: String, split: String },
    #[error("the worker broke down: {message}")]
    Panic { message: String },
    #[error("the worker's runtime did not start: {source}")]
    Runtime { source: std::io::Error },
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Student(#[from] StudentError),
    #[error(transparent)]
    Training(#[from] TrainingError),
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    #[error(transparent)]
    Attribution(#[from] AttributionError),
    #[error(transparent)]
    Lens(#[from] LensError),
    #[error(transparent)]
    Vectors(#[from] VectorsError),
    #[error(transparent)]
    File(#[from] FileError),
}

impl RunError {
    /// The file that could not be written for want of room, if that is what went wrong.
    pub fn full_disk(&self) -> Option<&FileError> {
        match self {
            Self::File(error)
            | Self::Student(StudentError::Io(error))
            | Self::Evaluation(EvaluationError::File(error)) => Some(error).filter(|error| error.is_full()),
            Self::Training(error) => error.full_disk(),
            Self::Failed { error, .. } => error.full_disk(),
            _ => None,
        }
    }
}
