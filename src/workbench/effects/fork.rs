//! Forks: which checkpoint one begins at, and starting it.

use super::Services;
use crate::runs::{RunDirectory, RunError, fork, spawn};
use crate::training::checkpoint;
use crate::workbench::message::{ForkPoint, Message};

impl Services {
    /// The newest checkpoint at or before a step, or the newest of all. The journal tells of some that are gone.
    pub(super) fn fork_point(&self, run: String, at: Option<usize>) -> anyhow::Result<Message> {
        let directory = RunDirectory::exactly(&self.project, &run)?;
        let there: Vec<usize> = checkpoint::list(&directory.checkpoints()).iter().map(|(step, _)| *step).collect();
        let Some(first) = there.first() else { return Err(RunError::NoCheckpoint { id: run }.into()) };
        match there.iter().rev().find(|step| at.is_none_or(|at| **step <= at)) {
            Some(step) => Ok(Message::ForkPointFound(ForkPoint { run, step: *step, at })),
            None => anyhow::bail!(
                "{run} has no checkpoint as early as that: its first is at {first} · `l` moves the cursor on"
            ),
        }
    }

    /// Makes the fork and starts it.
    pub(super) fn fork(&self, run: &str, step: usize, overrides: &[String]) -> anyhow::Result<Message> {
        let parent = RunDirectory::exactly(&self.project, run)?;
        let new = fork::fork(&self.project, &parent, Some(step), overrides)?;
        spawn::worker(&self.project, &new)?;
        let what = format!("{} is under way, a fork at {step}", new.id());
        Ok(Message::Started { ids: vec![new.id().to_owned()], what })
    }
}
