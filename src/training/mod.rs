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

/// Keeps glibc from giving the memory of every tensor back to the system and faulting it in again a moment later,
/// which costs more than half of a small student's step. To be called before there are threads.
pub fn tune_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets numbers inside the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}
