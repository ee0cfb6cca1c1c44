//! The checkpoints of a run under way: written by a thread of their own, from a copy, while training goes on.
//!
//! What stalls a step is putting the files together and waiting for the disk; copying the weights is quick. One checkpoint
//! is written at a time. Where memory for the copy is short, training waits as long as the writing takes.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::RunError;
use super::directory::RunDirectory;
use super::prepare;
use super::supervisor::Supervisor;
use crate::files::FileError;
use crate::journal::{EvaluationEvent, Event, History};
use crate::training::checkpoint::{self, Snapshot};
use crate::training::{Keep, Trainer, TrainingError};

/// Writes the checkpoints of one run, and removes those that are not to be kept.
pub struct Saving {
    run: RunDirectory,
    keep: Keep,
    /// The split whose evaluations say which checkpoint is best.
    split: String,
    /// What the run's evaluations say so far.
    seen: History,
    writing: Option<JoinHandle<Written>>,
    /// The step of the last checkpoint that was written, or is being written.
    newest: Option<usize>,
}

/// What a writing thread gives back: the checkpoint's place, or the copy to try it again with.
type Written = Result<(usize, PathBuf), (Box<Snapshot>, TrainingError)>;

impl Saving {
    /// `seen` has the evaluations of earlier workers.
    pub fn new(run: &RunDirectory, keep: Keep, split: &str, seen: History) -> Self {
        Self { run: run.clone(), keep, split: split.to_owned(), seen, writing: None, newest: None }
    }

    /// Takes an evaluation into account. Says whether the step is one of the best, so that it should be kept.
    pub fn evaluated(&mut self, evaluation: &EvaluationEvent) -> bool {
        self.seen.evaluations.push(evaluation.clone());
        evaluation.split == self.split && self.best().contains(&evaluation.step)
    }

    /// The steps that are kept for what they can do, best first.
    fn best(&self) -> Vec<usize> {
        let mut best = self.seen.ranking(&self.split);
        best.truncate(self.keep.best);
        best
    }

    /// Begins to write a checkpoint of the present step; the one before is waited for. `steps` go on meanwhile.
    pub fn begin(&mut self, trainer: &Trainer, supervisor: &mut Supervisor) -> Result<(), RunError> {
        if trainer.steps_done() == 0 || self.newest == Some(trainer.steps_done()) {
            return Ok(());
        }
        self.finish(supervisor)?;
        let folder = self.run.checkpoints();
        if let Some(path) = trainer.saved(&folder) {
            return self.written(trainer.steps_done(), &path, supervisor);
        }
        // The journal first: a checkpoint must not survive a power cut that its own steps don't.
        let journal = supervisor.journal_file()?;
        let ready = move || journal.sync_data().map_err(FileError::on("write", Path::new("the journal")));
        let has_room = prepare::available_memory().is_none_or(|free| free / 2 > trainer.snapshot_bytes());
        if !has_room {
            let path = supervisor.with_room(|| trainer.write(&folder, &ready))?;
            return self.written(trainer.steps_done(), &path, supervisor);
        }
        let snapshot = Box::new(trainer.snapshot()?);
        self.newest = Some(trainer.steps_done());
        let write = move || match snapshot.write(&folder, &ready) {
            Ok(path) => Ok((snapshot.step(), path)),
            Err(error) => Err((snapshot, error)),
        };
        let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(write);
        self.writing = Some(thread.map_err(|source| RunError::Runtime { source })?);
        Ok(())
    }

    /// Takes notice of a checkpoint that was written meanwhile.
    pub fn look(&mut self, supervisor: &mut Supervisor) -> Result<(), RunError> {
        match &self.writing {
            Some(thread) if thread.is_finished() => self.finish(supervisor),
            _ => Ok(()),
        }
    }

    /// Waits for the checkpoint that is being written. On a full disk the run pauses until it is.
    pub fn finish(&mut self, supervisor: &mut Supervisor) -> Result<(), RunError> {
        let Some(thread) = self.writing.take() else { return Ok(()) };
        let outcome =
            thread.join().map_err(|_| RunError::Panic { message: "a checkpoint could not be put together".into() })?;
        let (step, path) = match outcome {
            Ok(written) => written,
            Err((snapshot, error)) => {
                // Should this fail too, the step is to be saved again.
                self.newest = None;
                let mut first = Some(error);
                let folder = self.run.checkpoints();
                let path = supervisor.with_room(|| match first.take() {
                    Some(error) => Err(error),
                    None => snapshot.write(&folder, &|| Ok(())),
                })?;
                (snapshot.step(), path)
            }
        };
        self.written(step, &path, supervisor)
    }

    /// Writes a checkpoint of the present step and waits for it.
    pub fn save(&mut self, trainer: &Trainer, supervisor: &mut Supervisor) -> Result<(), RunError> {
        self.begin(trainer, supervisor)?;
        self.finish(supervisor)
    }

    /// Removes what need not be kept, now that all is evaluated.
    pub fn tidy(&self) -> Result<(), RunError> {
        Ok(checkpoint::prune(&self.run.checkpoints(), self.keep.last, &self.best())?)
    }

    fn written(&mut self, step: usize, path: &Path, supervisor: &mut Supervisor) -> Result<(), RunError> {
        self.newest = Some(step);
        let path = path.strip_prefix(self.run.path()).unwrap_or(path).to_owned();
        supervisor.event(Event::Checkpoint { step, path })?;
        self.tidy()
    }
}

impl Drop for Saving {
    /// Also where the run fails: a checkpoint that is half written would be lost with the process.
    fn drop(&mut self) {
        if let Some(thread) = self.writing.take() {
            let _ = thread.join();
        }
    }
}
