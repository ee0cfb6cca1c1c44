//! The five panes.

use serde::{Deserialize, Serialize};

/// The panes, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Pane {
    Data,
    Rationale,
    Training,
    Attribution,
    Board,
}

impl Pane {
    pub const ALL: [Self; 5] = [Self::Data, Self::Rationale, Self::Training, Self::Attribution, Self::Board];

    pub fn title(self) -> &'static str {
        match self {
            Self::Data => "Data",
            Self::Rationale => "Rationale",
            Self::Training => "Training",
            Self::Attribution => "Attribution",
            Self::Board => "Board",
        }
    }

    /// 1 for the first.
    pub fn number(self) -> usize {
        Self::ALL.iter().position(|pane| *pane == self).map_or(1, |place| place + 1)
    }
}
