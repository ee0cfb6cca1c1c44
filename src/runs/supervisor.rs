//! What the training thread talks to: the journal, whoever listens, and the control of the run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::RunError;
use super::control::{Control, Wanted};
use super::directory::RunDirectory;
use super::tensorboard::Board;
use crate::files::FileError;
use crate::journal::{self, Event, RunState, Writer};

/// How often progress is worth a line.
const PROGRESS: Duration = Duration::from_millis(300);
/// How often it is tried whether a full disk has room again.
const ROOM: Duration = Duration::from_secs(2);

/// Who is told of every event, beside the journal.
pub type Listener = Box<dyn FnMut(&Event) + Send>;

/// What the training thread talks to.
pub struct Supervisor {
    journal: Writer,
    pub(super) control: Arc<Control>,
    listener: Option<Listener>,
    /// Where TensorBoard looks, if it is wanted.
    board: Option<Board>,
    last_progress: Option<Instant>,
}

impl Supervisor {
    pub fn new(journal: Writer, control: Arc<Control>, listener: Option<Listener>) -> Self {
        Self { journal, control, listener, board: None, last_progress: None }
    }

    /// From now on every step and evaluation also goes into an event file for TensorBoard, after those that the journal has.
    pub fn show_in_tensorboard(&mut self, run: &RunDirectory) -> Result<(), RunError> {
        match journal::read(&run.journal()).and_then(|entries| Board::open(&run.tensorboard(), entries)) {
            Ok(board) => {
                self.board = Some(board);
                Ok(())
            }
            Err(error) => self.without_tensorboard(&error),
        }
    }

    /// The curves are in the journal as well: no reason to stop a run.
    fn without_tensorboard(&mut self, error: &FileError) -> Result<(), RunError> {
        self.board = None;
        let next = "training goes on without; `train --resume` writes them anew";
        self.note(&format!("the curves for TensorBoard could not be written: {error} · {next}"))
    }

    /// Writes an event to the journal and to whoever listens. On a full disk it waits for room, and nothing is lost: the
    /// journal keeps what it could not write.
    pub fn event(&mut self, event: Event) -> Result<(), RunError> {
        let shown = self.board.as_mut().map_or(Ok(()), |board| board.write(&event));
        self.keep(event);
        let flushed = self.journal.flush();
        self.unless_full(flushed, |journal| journal.flush())?;
        // Told once: without a board nothing can fail again.
        shown.or_else(|error| self.without_tensorboard(&error))
    }

    /// Tells whoever listens, and leaves the event to the next flush of the journal.
    fn keep(&mut self, event: Event) {
        self.control.beat(match &event {
            Event::Step(step) => Some(step.step),
            _ => None,
        });
        if let Some(listener) = &mut self.listener {
            listener(&event);
        }
        self.journal.keep(event);
    }

    /// Tries again what a full disk kept from being written to the journal, until there is room.
    fn unless_full(
        &mut self,
        tried: Result<(), FileError>,
        again: impl Fn(&mut Writer) -> Result<(), FileError>,
    ) -> Result<(), RunError> {
        match tried {
            Err(error) if error.is_full() => {
                self.begin_waiting(&error);
                let result = loop {
                    self.control.wait_for_stop(ROOM);
                    match again(&mut self.journal) {
                        Err(error) if error.is_full() && !self.is_stopping() => self.control.beat(None),
                        result => break result,
                    }
                };
                result?;
                self.end_waiting()
            }
            result => Ok(result?),
        }
    }

    /// Does something that writes to the disk. Where that is full the run pauses, with all it has in memory, and tries
    /// again until there is room or the run is told to stop.
    pub fn with_room<T, E>(&mut self, mut write: impl FnMut() -> Result<T, E>) -> Result<T, RunError>
    where
        RunError: From<E>,
    {
        let mut waits = false;
        loop {
            let error = match write().map_err(RunError::from) {
                Ok(done) => {
                    if waits {
                        self.end_waiting()?;
                    }
                    return Ok(done);
                }
                Err(error) => error,
            };
            match error.full_disk() {
                Some(full) if !self.is_stopping() => {
                    if !waits {
                        self.begin_waiting(full);
                    }
                    waits = true;
                }
                _ => {
                    self.control.set_trouble(None);
                    return Err(error);
                }
            }
            self.control.wait_for_stop(ROOM);
            self.control.beat(None);
        }
    }

    /// Shows that the run waits for room. The journal may be what has none, so that this is told over the control socket
    /// as well.
    fn begin_waiting(&mut self, full: &FileError) {
        let reason = format!("the disk is full: {} · make room and it goes on by itself", full.path.display());
        self.control.set_trouble(Some(reason.clone()));
        self.keep(Event::State { state: RunState::Paused, reason: Some(reason) });
        // What is kept is written when there is room.
        let _ = self.journal.flush();
    }

    /// Shows that there is room again.
    fn end_waiting(&mut self) -> Result<(), RunError> {
        self.control.set_trouble(None);
        self.event(Event::State { state: RunState::Running, reason: None })
    }

    /// The journal's file, for whoever must wait until what it says is on the disk.
    pub fn journal_file(&self) -> Result<std::fs::File, RunError> {
        Ok(self.journal.file()?)
    }

    /// Says something that a person should know.
    pub fn note(&mut self, text: &str) -> Result<(), RunError> {
        self.event(Event::Note { text: text.into() })
    }

    /// Says how far a part of the work is, not more often than a person can read.
    pub fn progress(&mut self, what: &str, done: usize, total: usize) -> Result<(), RunError> {
        if self.last_progress.is_some_and(|last| last.elapsed() < PROGRESS) {
            return Ok(());
        }
        self.last_progress = Some(Instant::now());
        self.event(Event::Progress { what: what.into(), done, total })
    }

    /// Obeys a pause, and says whether the run goes on after it. Anything that must be on the disk meanwhile is.
    pub fn goes_on(&mut self) -> Result<bool, RunError> {
        if self.control.wanted() == Wanted::Pause {
            self.state(RunState::Paused, None)?;
            self.control.wait_while_paused();
            if !self.is_stopping() {
                self.state(RunState::Running, None)?;
            }
        }
        Ok(!self.is_stopping())
    }

    /// Whether the run should end.
    pub fn is_stopping(&self) -> bool {
        self.control.is_stopping()
    }

    /// Writes where the run stands, and waits until that is on the disk.
    pub fn state(&mut self, state: RunState, reason: Option<String>) -> Result<(), RunError> {
        self.event(Event::State { state, reason })?;
        let synced = self.journal.sync();
        self.unless_full(synced, Writer::sync)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::tensorboard::tests::{full, step};

    fn notes(run: &RunDirectory) -> Vec<String> {
        journal::History::read(&run.journal()).unwrap().notes
    }

    #[test]
    fn curves_that_can_not_be_written_are_noted_once_and_stop_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::open(dir.path());
        let mut supervisor = Supervisor::new(Writer::open(&run.journal()).unwrap(), Arc::default(), None);
        // Someone's file stands where the folder should be.
        std::fs::write(run.tensorboard(), "mine").unwrap();
        supervisor.show_in_tensorboard(&run).unwrap();
        assert!(notes(&run)[0].contains("TensorBoard could not be written: can't create"), "{:?}", notes(&run));
        if cfg!(target_os = "linux") {
            supervisor.board = Some(full());
            for number in 1..4 {
                supervisor.event(step(number, 1.0)).unwrap();
            }
            assert_eq!(notes(&run).len(), 2);
            assert!(notes(&run)[1].contains("free some space"), "{:?}", notes(&run));
            assert_eq!(journal::History::read(&run.journal()).unwrap().step(), 3);
        }
    }
}
