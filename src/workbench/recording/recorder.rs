//! Writes a recording while the session goes on. It never stands in the session's way: what can't be written ends the
//! recording, not the work.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Header, exact, line_of};
use crate::files::FileError;
use crate::workbench::message::Message;

/// A recording ends when its file is this large: a session that was forgotten must not fill a disk.
const LARGEST: u64 = 1 << 30;

/// A recording that is being made.
pub struct Recorder {
    path: PathBuf,
    file: File,
    start: Instant,
    written: u64,
}

impl Recorder {
    /// Begins a recording in a new file.
    pub fn create(path: &Path, header: &Header) -> anyhow::Result<Self> {
        let text = exact::to_json(header).map_err(anyhow::Error::msg)?;
        let file = OpenOptions::new().create_new(true).write(true).open(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                anyhow::anyhow!("{} is there already; choose another name", path.display())
            }
            _ => FileError::on("create", path)(error).into(),
        })?;
        let mut recorder = Self { path: path.to_owned(), file, start: Instant::now(), written: 0 };
        recorder.write(&format!("{text}\n")).map_err(FileError::on("write", path))?;
        Ok(recorder)
    }

    /// Writes a message. The system has it when this returns, so that a crash loses nothing.
    ///
    /// # Errors
    /// A sentence for the user; the recording ends there.
    pub fn add(&mut self, message: &Message) -> Result<(), String> {
        let at = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let ended = |why: &str| format!("the recording {} ends here: {why}", self.path.display());
        let line = line_of(at, message).map_err(|error| ended(&error))?;
        if self.written + line.len() as u64 > LARGEST {
            return Err(ended("it has reached 1 GiB"));
        }
        let written = self.write(&format!("{line}\n"));
        written.map_err(|error| format!("the recording ends here: {}", FileError::on("write", &self.path)(error)))
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.written += line.len() as u64;
        Ok(())
    }
}
