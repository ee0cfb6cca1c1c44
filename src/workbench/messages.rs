//! What the workbench said so far, and the list of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::Notice;

/// The file in a project that keeps its errors.
pub const PATH: &str = ".afterthought/workbench.log";

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    pub notice: Notice,
    /// When, RFC 3339; `None` until the clock was asked.
    pub time: Option<String>,
}

/// Everything that was said, oldest first.
#[derive(Default)]
pub struct Log {
    said: Vec<Said>,
    /// How many of them have a time.
    stamped: usize,
}

impl Log {
    pub fn push(&mut self, notice: Notice) {
        self.said.push(Said { notice, time: None });
    }

    /// Whether something was said of which it is not known when.
    pub fn is_new(&self) -> bool {
        self.stamped < self.said.len()
    }

    /// Gives what is new its time. Gives the errors among it.
    pub fn stamp(&mut self, time: &str) -> Vec<Said> {
        let fresh = &mut self.said[self.stamped..];
        fresh.iter_mut().for_each(|said| said.time = Some(time.to_owned()));
        let errors = fresh.iter().filter(|said| said.notice.is_error).cloned().collect();
        self.stamped = self.said.len();
        errors
    }

    pub fn get(&self, place: usize) -> Option<&Said> {
        self.said.get(place)
    }

    /// The places of what is listed, newest first.
    pub fn listed(&self, only_errors: bool) -> Vec<usize> {
        (0..self.said.len()).rev().filter(|place| !only_errors || self.said[*place].notice.is_error).collect()
    }
}

/// The list of what was said, while it is open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessagesView {
    /// The place of the message under the cursor: it stays on it while others come.
    pub at: usize,
    pub only_errors: bool,
    /// The first line of the opened message that is shown; `None` while the list is.
    pub opened: Option<usize>,
    pub tail: Option<Tail>,
}

/// The end of a log file, or why it can't be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    pub path: PathBuf,
    pub lines: Result<Vec<String>, String>,
}

impl Notice {
    /// The file that says more of it, within the project: its own, or for an error the workbench's log.
    pub fn source(&self) -> Option<&Path> {
        self.more.as_deref().or_else(|| self.is_error.then(|| Path::new(PATH)))
    }

    /// All that is known of it, one line for each cause.
    pub fn whole(&self) -> String {
        let mut text = self.text.clone();
        self.causes.iter().for_each(|cause| text.push_str(&format!("\n  because {cause}")));
        if let Some(path) = &self.more {
            text.push_str(&format!("\n  more: {}", path.display()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_error_keeps_its_causes_and_says_none_twice() {
        let error = std::io::Error::other("the disk is on fire");
        let error =
            Err::<(), _>(error).context("can't write x: the disk is on fire").context("the run was not started");
        let notice = Notice::of(&error.unwrap_err());
        assert_eq!(notice.text, "the run was not started");
        assert_eq!(notice.causes, ["can't write x: the disk is on fire"]);
    }

    #[test]
    fn only_what_is_new_is_given_a_time_and_errors_are_handed_on() {
        let mut log = Log::default();
        log.push(Notice::info("a"));
        log.push(Notice::error("b"));
        assert!(log.is_new());
        let errors = log.stamp("t1");
        assert_eq!((errors.len(), errors[0].time.as_deref(), log.is_new()), (1, Some("t1"), false));
        log.push(Notice::info("c"));
        assert_eq!(log.stamp("t2"), []);
        assert_eq!((log.listed(false), log.listed(true)), (vec![2, 1, 0], vec![1]));
        assert_eq!(log.get(0).unwrap().time.as_deref(), Some("t1"));
    }
}
