//! Training: the loop, the optimiser, the order of the examples and the checkpoints. It knows neither run directories
//! nor screens; `runs` drives it step by step.

pub mod checkpoint;
pub mod optimizer;
pub mod order;
pub mod schedule;
pub mod settings;
pub mod trainer;

use std::path::PathBuf;

pub use settings::{Every, Reduction, TrainingSettings};
pub use trainer::Trainer;

use crate::files::FileError;
use crate::student::StudentError;

/// What can go wrong while training.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    #[error("there is nothing to train on: no example of the training split can be used")]
    NoExamples,
    #[error(
        "the {what} is no number at step {step} · lower training.learning_rate or raise training.warmup; the last checkpoint is whole"
    )]
    Diverged { step: usize, what: &'static str },
    #[error("`{name}` got no gradient, so it would never learn; this is a bug in the student's operations")]
    NoGradient { name: String },
    #[error("{}: {problem}", path.display())]
    Checkpoint { path: PathBuf, problem: String },
    #[error(transparent)]
    Student(#[from] StudentError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the training step failed: {0}")]
    Tensor(#[from] candle_core::Error),
}
