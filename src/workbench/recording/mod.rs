//! A session as a file: everything that reached the workbench, in order, so that it can be seen again without a project, a
//! student or a run.
//!
//! A recording is JSON lines. The first is the [`Header`]: all that the state begins with. Each other line is a message with
//! the milliseconds since the start. Lines are read by people and by `jq`; where plain JSON would lose something, see
//! [`exact`]. The state depends on the header and the messages alone, so the same screens come of them.

pub mod exact;
pub mod key;
mod recorder;
pub mod whole;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::display::Display;
use super::message::Message;
use super::state::State;
use super::theme::Theme;
use crate::files::FileError;
use crate::text;

pub use recorder::Recorder;

/// What a session begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the program.
    pub afterthought: String,
    /// When the session began, RFC 3339.
    pub time: String,
    /// The name of the project's folder.
    pub project: String,
    pub is_project: bool,
    /// The data set that is shown first; `None` for the usual one.
    pub dataset: Option<String>,
    pub columns: u16,
    pub rows: u16,
    pub cores: usize,
    pub theme_name: String,
    /// Its colours, reduced to those that the terminal had.
    pub theme: Theme,
    #[serde(default)]
    pub display: Display,
    #[serde(default)]
    pub is_light: Option<bool>,
    /// Whether it began anew, and not where the last one was.
    #[serde(default)]
    pub is_fresh: bool,
    /// Whether hints are given, as the user wants them.
    #[serde(default)]
    pub shows_hints: bool,
}

impl Header {
    /// The state that a session begins with.
    pub fn state(&self) -> State {
        let mut state = State::new(self.project.clone(), self.is_project, self.theme.clone(), self.theme_name.clone());
        (state.display, state.is_light, state.is_fresh) = (self.display, self.is_light, self.is_fresh);
        state.shows_hints = self.shows_hints;
        (state.columns, state.rows, state.cores) = (self.columns, self.rows, self.cores);
        if let Some(dataset) = &self.dataset {
            state.draft.dataset.clone_from(dataset);
            state.named_dataset = Some(dataset.clone());
        }
        state
    }
}

/// A recording can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} is no recording of afterthought: {problem} · `afterthought --record FILE` makes one", path.display())]
    NotOne { path: PathBuf, problem: String },
}

/// A message and when it came, in milliseconds since the start.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub at: u64,
    pub message: Message,
}

/// A recording, read.
#[derive(Clone, Debug)]
pub struct Recording {
    pub header: Header,
    pub messages: Vec<Recorded>,
    /// Lines that mean nothing to this version.
    pub skipped: usize,
    /// Why the first of them does not, with its line number, 1 for the header.
    pub problem: Option<(usize, String)>,
}

impl Recording {
    /// Reads a recording. A line that this version does not understand is counted; a half-written last line is none.
    pub fn read(path: &Path) -> Result<Self, RecordingError> {
        let failed = || FileError::on("read", path);
        let file = std::fs::File::open(path).map_err(failed())?;
        let mut lines = BufReader::new(file).split(b'\n');
        let first = lines.next().transpose().map_err(failed())?.unwrap_or_default();
        let not_one = |problem: String| RecordingError::NotOne { path: path.to_owned(), problem };
        let header: Value = serde_json::from_slice(&first).map_err(|_| not_one("its first line is no JSON".into()))?;
        let header = exact::from_json(&header)
            .map_err(|problem| not_one(format!("its first line is no header ({})", text::excerpt(&problem, 120))))?;
        let mut recording = Self { header, messages: Vec::new(), skipped: 0, problem: None };
        let mut lines = lines.enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            let line = line.map_err(failed())?;
            if line.is_empty() {
                continue;
            }
            match recorded(&line) {
                Ok(recorded) => recording.messages.push(recorded),
                // The program was ended while it wrote.
                Err(Unread::Torn) if lines.peek().is_none() => {}
                Err(unread) => {
                    recording.skipped += 1;
                    recording.problem.get_or_insert_with(|| (number + 2, unread.to_string()));
                }
            }
        }
        Ok(recording)
    }

    /// Whether another version of the program made it.
    pub fn is_of_another_version(&self) -> bool {
        self.header.afterthought != env!("CARGO_PKG_VERSION")
    }

    /// How long it lasts, in milliseconds.
    pub fn length(&self) -> u64 {
        self.messages.last().map_or(0, |recorded| recorded.at)
    }
}

/// Why a line means nothing.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("it is no JSON")]
    Torn,
    #[error("{0}")]
    Unknown(String),
}

fn recorded(line: &[u8]) -> Result<Recorded, Unread> {
    let value: Value = serde_json::from_slice(line).map_err(|_| Unread::Torn)?;
    let at = value.get("at").and_then(Value::as_u64).ok_or_else(|| Unread::Unknown("it has no time".into()))?;
    let message = value.get("message").ok_or_else(|| Unread::Unknown("it has no message".into()))?;
    let message = exact::from_json(message).map_err(Unread::Unknown)?;
    Ok(Recorded { at, message })
}

/// A message as a line, without the line feed.
fn line_of(at: u64, message: &Message) -> Result<String, String> {
    Ok(json!({"at": at, "message": exact::to_json(message)?}).to_string())
}
