//! Training: the loop, the optimiser, the order of the examples and the checkpoints. It knows neither run directories
//! nor screens; `runs` drives it step by step.

pub mod checkpoint;
mod feed;
mod on_device;
pub mod optimizer;
pub mod order;
pub mod schedule;
pub mod settings;
pub mod trainer;

use std::path::PathBuf;

pub use feed::{Feed, Redraw};
pub use settings::{Every, Keep, OnNonfinite, Reduction, TrainingSettings};
pub use trainer::Trainer;

use crate::files::FileError;
use crate::student::StudentError;
use crate::text;

/// What can go wrong while training.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    #[error("there is nothing to train on: no example of the training split can be used")]
    NoExamples,
    #[error(
        "the {what} is no number · lower training.learning_rate, raise training.warmup, or set training.on_nonfinite: skip"
    )]
    Diverged { what: &'static str },
    #[error("step {step} failed: {problem} (its examples: {})", some(examples))]
    Step { step: usize, examples: Vec<String>, problem: Box<TrainingError> },
    #[error("{count} steps in a row changed nothing, the last of them for this: {last}")]
    AllSkipped { count: usize, last: Box<TrainingError> },
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

impl TrainingError {
    /// The file that could not be written for want of room, if that is what went wrong.
    pub fn full_disk(&self) -> Option<&FileError> {
        match self {
            Self::File(error) | Self::Student(StudentError::Io(error)) => Some(error).filter(|error| error.is_full()),
            _ => None,
        }
    }
}

/// What a panic said.
pub fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

/// As many names as can be read.
fn some(names: &[String]) -> String {
    const MOST: usize = 64;
    let shown: Vec<_> = names.iter().take(MOST).map(|name| text::excerpt(name, 80)).collect();
    let more = names.len().saturating_sub(MOST);
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
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
