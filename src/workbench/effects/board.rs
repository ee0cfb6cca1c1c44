//! The board's tables, and the questions on which two rows of one disagree.

use super::Services;
use crate::runs::{Run, RunDirectory};
use crate::studies::board::board;
use crate::studies::disagree::{Disagreements, disagreements};
use crate::studies::table::Table;
use crate::studies::{Baseline, Study, StudyError};
use crate::workbench::board::Shown;
use crate::workbench::message::DisagreeRequest;

impl Services {
    pub(super) fn board(&self, shown: &Shown, baselines: &[Baseline]) -> Result<Table, StudyError> {
        match shown {
            Shown::Project => {
                let runs: Vec<Run> =
                    RunDirectory::list(&self.project).iter().filter_map(|run| run.read().ok()).collect();
                Ok(board(&self.project, &runs, baselines))
            }
            Shown::Study(name) => Study::find(&self.project, name)?.table_against(&self.project, baselines),
        }
    }

    pub(super) fn disagree(&self, request: &DisagreeRequest) -> Result<Disagreements, StudyError> {
        disagreements(&self.project, &request.section, &request.one, &request.other)
    }
}
