//! What the lens shows in the attribution pane, as plain data.

use serde::{Deserialize, Serialize};

use crate::attribution::lens::Grid;
use crate::corpus::Example;
use crate::runs::lenses::Which;
use crate::workbench::attribution::Looked;

/// The lens on the selected question.
#[derive(Default)]
pub struct LensView {
    /// The lens that is looked through; `None` while the pane shows the scores of tokens.
    pub shown: Option<Which>,
    pub generation: u64,
    pub looked: Option<SeenThrough>,
    pub error: Option<String>,
    pub is_waiting: bool,
    /// The cell under the cursor: layers passed, and the place.
    pub stream: usize,
    pub place: usize,
}

/// What was read of a question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeenThrough {
    pub run: Looked,
    pub which: Which,
    /// The step of the checkpoint that was asked.
    pub step: usize,
    pub example: Example,
    pub grid: Grid,
    /// Whether a tuned lens was trained for the student.
    pub has_tuned: bool,
}

impl LensView {
    pub fn is_on(&self) -> bool {
        self.shown.is_some()
    }
}
