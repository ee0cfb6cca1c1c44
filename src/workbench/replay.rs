//! A recording seen again: the state after any of its messages. Effects are not done; what they answered was recorded.

use ratatui::buffer::Buffer;

use super::dump;
use super::recording::Recording;
use super::state::State;
use super::update;

/// A recording and how far it has been taken in.
pub struct Replay {
    recording: Recording,
    pub state: State,
    /// Messages that the state has taken in.
    place: usize,
    /// When each message comes, in milliseconds since the start, with long waits cut short.
    due: Vec<u64>,
}

impl Replay {
    /// A recording at its beginning. No wait between two messages is longer than `max_wait` milliseconds.
    pub fn new(recording: Recording, max_wait: Option<u64>) -> Self {
        let mut now = 0;
        let mut before = 0;
        let mut due = Vec::with_capacity(recording.messages.len());
        for recorded in &recording.messages {
            let wait = recorded.at.saturating_sub(before);
            now += max_wait.map_or(wait, |most| wait.min(most));
            before = recorded.at.max(before);
            due.push(now);
        }
        Self { state: begin(&recording), recording, place: 0, due }
    }

    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Messages that were taken in.
    pub fn place(&self) -> usize {
        self.place
    }

    /// How many messages there are.
    pub fn count(&self) -> usize {
        self.recording.messages.len()
    }

    /// When the next message comes; `None` after the last.
    pub fn next_due(&self) -> Option<u64> {
        self.due.get(self.place).copied()
    }

    /// When a message came, the first being 1; 0 for the beginning.
    pub fn due(&self, place: usize) -> u64 {
        place.checked_sub(1).and_then(|last| self.due.get(last)).copied().unwrap_or(0)
    }

    /// How long it lasts, in milliseconds.
    pub fn length(&self) -> u64 {
        self.due.last().copied().unwrap_or(0)
    }

    /// Takes in the next message. Whether there was one.
    pub fn step(&mut self) -> bool {
        let Some(recorded) = self.recording.messages.get(self.place) else { return false };
        // What it asks for was done when it was recorded.
        let _ = update::update(&mut self.state, recorded.message.clone());
        self.place += 1;
        true
    }

    /// Goes to the state after so many messages. The way back begins at the start: an update can't be taken back.
    pub fn go_to(&mut self, place: usize) {
        if place < self.place {
            (self.state, self.place) = (begin(&self.recording), 0);
        }
        while self.place < place && self.step() {}
    }

    /// Goes to what was there after so many milliseconds.
    pub fn go_to_time(&mut self, time: u64) {
        self.go_to(self.due.partition_point(|due| *due <= time));
    }

    /// The screen as it was.
    pub fn screen(&self) -> Buffer {
        dump::screen(&self.state)
    }
}

fn begin(recording: &Recording) -> State {
    let mut state = recording.header.state();
    let _ = update::start(&mut state);
    state
}
