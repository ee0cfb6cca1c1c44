//! Lenses: what a student would say if it stopped after a layer. The logit lens (nostalgebraist 2020) puts the residual
//! stream straight through the last norm and the output; the tuned lens (Belrose et al. 2023) first through an affine map
//! that was trained for its layer; a future lens (after Pal et al. 2023) is a map trained for what is said some tokens
//! later. From their readings follows at which layer, and after which token, the label becomes readable.

mod grid;
mod question;
mod readable;
mod table;
mod training;
mod translators;
mod words;

pub use grid::{Cell, Grid, GridToken, TOP, read};
pub use question::Question;
pub use readable::Readable;
pub use table::{AtLabel, Share, TENTHS, Table};
pub use training::{Descent, Progress, Settings, Trained, train};
pub use translators::{Lens, Sample, Translators};

use crate::rationale::RenderError;
use crate::student::StudentError;

/// What can go wrong while reading or training a lens.
#[derive(Debug, thiserror::Error)]
pub enum LensError {
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Student(#[from] StudentError),
    #[error(
        "example `{id}`: what is read {} is no number · the student's weights are broken; take an earlier checkpoint (RUN@STEP)",
        after(*stream)
    )]
    NotANumber { id: String, stream: usize },
    #[error(
        "a lens for {ahead} tokens ahead needs two sequences of more than {} tokens, and there are {count} · take a smaller \
         --ahead, or another split",
        ahead + 1
    )]
    TooFew { ahead: usize, count: usize },
    #[error(
        "step {step} of training the lens gave no number · lower --learning-rate, or take an earlier checkpoint if the \
         student's own weights are broken"
    )]
    Diverged { step: usize },
    #[error("a map of the lens got no gradient, so it would never learn; this is a bug in the student's operations")]
    NoGradient,
    #[error("the lens does not fit this student: {problem} · train it anew with `afterthought lens train`")]
    Misfit { problem: String },
    /// Whoever is told of the progress asked to stop.
    #[error("the lens was interrupted")]
    Interrupted,
    #[error("the lens failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// Where a stream is: `at the embedding`, `after layer 2`.
pub fn after(stream: usize) -> String {
    if stream == 0 { "at the embedding".into() } else { format!("after layer {stream}") }
}
