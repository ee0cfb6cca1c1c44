//! Studies: a base run, what is varied, and seeds ([`Study`]); the runs that this comes to ([`Cell`]); running those that
//! are not there yet ([`executor`]); their table ([`table`]), the questions on which two rows of it disagree ([`disagree`]), and
//! report ([`report`]). A cell is an ordinary run that is found again by all that decides its result, so nothing is run twice
//! and a study keeps no state of its own. All runs of a project make a table of the same kind ([`board`]).

pub mod board;
pub mod compare;
pub mod disagree;
pub mod estimate;
pub mod executor;
pub mod file;
#[cfg(test)]
mod finished;
pub mod grid;
pub mod report;
mod shapes;
pub mod standing;
pub mod table;
pub mod tour;

use std::path::PathBuf;

pub use compare::Baseline;
pub use file::{SHIPPED, Study};
pub use grid::{Cell, Kind};
pub use standing::{Known, Standing};

use crate::files::FileError;
use crate::runs::RunError;

/// What can go wrong with a study.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    #[error("{}{}: {problem}", path.display(), line.map_or_else(String::new, |line| format!(":{line}")))]
    File { path: PathBuf, line: Option<usize>, problem: String },
    #[error("there is no study `{name}`{nearest} · write studies/{name}.yaml, or name one of {known}")]
    Unknown { name: String, nearest: String, known: String },
    #[error("another process begins runs of a study here and does not let go of {} · is it stopped with Ctrl-Z?", path.display())]
    Busy { path: PathBuf },
    #[error("the report's plot could not be drawn: {0}")]
    Plot(String),
    #[error("the report could not be put together: {0}")]
    Report(String),
    #[error("the commonest answer of the training split is not known: {0}")]
    Commonest(String),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Io(#[from] FileError),
}
