//! Keys on their way to becoming commands: a chord that is begun, a count, the last change, and a macro.

use crossterm::event::KeyEvent;

use super::command::Command;

/// What was pressed and is not done yet, and what can be done again.
#[derive(Default)]
pub struct Typing {
    /// The keys of a chord that is not whole.
    pub keys: Vec<KeyEvent>,
    /// How often the next command is done, or the line that it goes to.
    pub count: Option<usize>,
    /// The last command that changed something, with its count.
    pub last: Option<(Command, Option<usize>)>,
    /// The keys of a macro that is being recorded.
    pub recording: Option<Vec<KeyEvent>>,
    /// The keys of the macro that can be played.
    pub kept: Vec<KeyEvent>,
    /// A macro plays; it can't play itself.
    pub is_playing: bool,
}

impl Typing {
    /// Whether something was begun that the next key ends.
    pub fn is_begun(&self) -> bool {
        !self.keys.is_empty() || self.count.is_some()
    }

    /// Forgets what was begun.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.count = None;
    }
}
