//! What the training thread talks to: the journal, whoever listens, and the control of the run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::RunError;
use super::control::{Control, Wanted};
use crate::journal::{Event, RunState, Writer};

/// How often progress is worth a line.
const PROGRESS: Duration = Duration::from_millis(300);

/// Who is told of every event, beside the journal.
pub type Listener = Box<dyn FnMut(&Event) + Send>;

/// What the training thread talks to.
pub struct Supervisor {
    journal: Writer,
    pub(super) control: Arc<Control>,
    listener: Option<Listener>,
    last_progress: Option<Instant>,
}

impl Supervisor {
    pub fn new(journal: Writer, control: Arc<Control>, listener: Option<Listener>) -> Self {
        Self { journal, control, listener, last_progress: None }
    }

    /// Writes an event to the journal and to whoever listens.
    pub fn event(&mut self, event: Event) -> Result<(), RunError> {
        if let Some(listener) = &mut self.listener {
            listener(&event);
        }
        Ok(self.journal.append(event)?)
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
        Ok(self.journal.sync()?)
    }
}
