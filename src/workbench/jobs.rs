//! What is under way and lasts: a job has a name, says how far it is, and can be cancelled where the work looks at that.

use serde::{Deserialize, Serialize};

use super::message::Effect;
use super::pane::Pane;

/// Work that ends sooner is never listed, in milliseconds.
pub const LISTED_AFTER: u64 = 500;
/// Work that lasts longer has a bar in its pane, in milliseconds.
pub const SHOWN_AFTER: u64 = 2000;
/// Before this no time left is told, in milliseconds: a guess that jumps is worse than none.
const GUESSED_AFTER: u64 = 1000;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    Search,
    Sort,
    /// Going to a row by its id.
    Jump,
    Mark,
    Histogram,
    Duplicates,
    Counterpart,
    Count,
    Check,
    Attribution,
    WhatIf,
    Lens,
    LensTraining,
    Loss,
    Batch,
    Board,
    Disagreements,
    /// What the student will see of a question.
    Render,
    /// Everything else.
    Other,
}

impl Task {
    /// The pane that it belongs to.
    pub fn pane(self) -> Pane {
        match self {
            Self::Attribution | Self::WhatIf | Self::Lens | Self::LensTraining | Self::Loss => Pane::Attribution,
            Self::Batch => Pane::Training,
            Self::Render => Pane::Rationale,
            Self::Board | Self::Disagreements => Pane::Board,
            _ => Pane::Data,
        }
    }

    /// Whether the work looks between its rows or steps at whether it is still wanted. The others are one call each that
    /// can't be broken off.
    pub fn can_stop(self) -> bool {
        matches!(
            self,
            Self::Search
                | Self::Sort
                | Self::Jump
                | Self::Mark
                | Self::Histogram
                | Self::Duplicates
                | Self::Counterpart
                | Self::Check
                | Self::Attribution
                | Self::Lens
                | Self::LensTraining
        )
    }

    /// What an effect does, in a few words; `None` for what is never worth listing.
    pub fn of(effect: &Effect) -> Option<(Self, String)> {
        use super::browse::Ask;
        Some(match effect {
            Effect::Find(request) => {
                let of = format!("{}/{}", request.place.dataset, request.place.split);
                match &request.sort {
                    Some(sort) => (Self::Sort, format!("sorting {of} by {}", sort.by)),
                    None => (Self::Search, format!("searching {of}")),
                }
            }
            Effect::Browse(request) => {
                let of = format!("{}/{}", request.place.dataset, request.place.split);
                match &request.ask {
                    Ask::Watch | Ask::Original(_) | Ask::StopFinding | Ask::StopReplacing => return None,
                    Ask::Find { .. } => (Self::Search, format!("looking for what to replace in {of}")),
                    Ask::Replace { .. } => (Self::Other, format!("replacing in {of}")),
                    Ask::Jump(id) => (Self::Jump, format!("looking for {id} in {of}")),
                    Ask::Mark(_) => (Self::Mark, format!("marking what matches in {of}")),
                    Ask::SaveMarks { .. } => (Self::Other, "writing the marks".into()),
                    Ask::Histogram { field, .. } => (Self::Histogram, format!("counting {field} of {of}")),
                    Ask::Duplicates => {
                        (Self::Duplicates, format!("looking for duplicates in {}", request.place.dataset))
                    }
                    Ask::Counterpart { other, .. } => (Self::Counterpart, format!("reading {other} to compare")),
                }
            }
            Effect::Count { dataset, split } => (Self::Count, format!("counting the rows of {dataset}/{split}")),
            Effect::CheckData(name) => (Self::Check, format!("checking {name}")),
            Effect::Attribute(request) => {
                (Self::Attribution, format!("attributing {} with {}", request.example.id, request.looked.name()))
            }
            Effect::WhatIf(request) => (Self::WhatIf, format!("asking {} of changes", request.looked.name())),
            Effect::ReadLens(request) => (Self::Lens, format!("reading the layers of {}", request.looked.name())),
            Effect::TrainLens { looked } => (Self::LensTraining, format!("training the lens of {}", looked.name())),
            Effect::MeasureLoss(_) => (Self::Loss, "measuring the loss of tokens".into()),
            Effect::ReadBatch(request) => (Self::Batch, format!("reading the batch of step {}", request.step)),
            Effect::MakeBoard { .. } => (Self::Board, "making the board's table".into()),
            Effect::Disagree(_) => (Self::Disagreements, "looking for disagreements".into()),
            Effect::OpenDataset(name) => (Self::Other, format!("opening {name}")),
            Effect::LoadRows { dataset, split, .. } => (Self::Other, format!("reading rows of {dataset}/{split}")),
            Effect::Preview { example, .. } => (Self::Render, format!("rendering {}", example.id)),
            Effect::StartRun(_) | Effect::StartTour | Effect::ForkRun { .. } | Effect::ResumeRun(_) => {
                (Self::Other, "starting runs".into())
            }
            Effect::RemoveRun(id) => (Self::Other, format!("deleting {id}")),
            _ => return None,
        })
    }
}

/// Something under way, as it was last told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: u64,
    pub task: Task,
    pub name: String,
    /// Rows or steps, and how many there are where that is known.
    pub done: u64,
    pub total: Option<u64>,
    /// What else there is to say, such as the loss.
    pub note: String,
    /// Milliseconds since it began, and until it ends, as far as that can be told.
    pub elapsed: u64,
    pub left: Option<u64>,
    /// It was cancelled and has not ended yet.
    pub is_cancelled: bool,
}

impl Job {
    /// The share that is done.
    pub fn share(&self) -> Option<f64> {
        let total = self.total.filter(|total| *total > 0)?;
        Some((self.done as f64 / total as f64).min(1.0))
    }
}

/// Milliseconds until the end, at the mean speed so far: the mean of many rows moves little from one report to the next.
pub fn left(done: u64, total: Option<u64>, elapsed: u64) -> Option<u64> {
    let rest = total?.checked_sub(done)?;
    if done == 0 || elapsed < GUESSED_AFTER {
        return None;
    }
    Some((elapsed as f64 / done as f64 * rest as f64).round() as u64)
}

/// The jobs and the cursor in their list.
#[derive(Default)]
pub struct JobsView {
    /// In the order in which they began.
    pub jobs: Vec<Job>,
    pub cursor: usize,
}

impl JobsView {
    /// Takes in how far a job is; one that was not known is new.
    pub fn hear(&mut self, job: Job) {
        match self.jobs.iter_mut().find(|known| known.id == job.id) {
            Some(known) => *known = job,
            None => self.jobs.push(job),
        }
    }

    /// Takes a job off the list.
    pub fn end(&mut self, id: u64) -> Option<Job> {
        let place = self.jobs.iter().position(|job| job.id == id)?;
        Some(self.jobs.remove(place))
    }

    /// The job of a pane that has lasted long enough for a bar: of several the newest that can say how far it is.
    pub fn shown_in(&self, pane: Pane) -> Option<&Job> {
        let own = || self.jobs.iter().rev().filter(|job| job.task.pane() == pane && job.elapsed >= SHOWN_AFTER);
        own().find(|job| job.share().is_some()).or_else(|| own().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_late_and_moves_little() {
        assert_eq!(left(10, Some(100), 400), None);
        assert_eq!(left(0, Some(100), 4000), None);
        assert_eq!(left(50, None, 4000), None);
        assert_eq!(left(50, Some(100), 4000), Some(4000));
        // One slow stretch of ten does not double it.
        assert!(left(55, Some(100), 4800).unwrap() < 4100);
        assert_eq!(left(120, Some(100), 4000), None, "more was found than was known of");
    }
}
