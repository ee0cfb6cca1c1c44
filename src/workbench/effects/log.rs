//! The workbench's log: every error with its time and its causes, so that it can be looked up when the screen is gone.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{Send, Services};
use crate::files::{self, FileError};
use crate::text;
use crate::workbench::message::Message;
use crate::workbench::messages::{PATH, Said, Tail};
use crate::workbench::state::Notice;

/// Bytes that the log may have; then its older half goes.
const MOST: u64 = 1 << 20;
/// Lines of a log that are shown, and bytes that are read for them.
const LINES: usize = 40;
const BYTES: u64 = 1 << 14;

impl Services {
    pub(super) fn write_log(&self, said: &[Said], send: Send) {
        if let Err(error) = append(&self.project.join(PATH), said) {
            // Not as an error: that would be written to the log.
            send(Message::Say(Notice::info(format!("the log of the workbench can't be written: {error}"))));
        }
    }

    pub(super) fn read_log(&self, path: PathBuf) -> Message {
        let lines = tail(&self.project.join(&path)).map_err(|error| error.to_string());
        Message::LogRead(Tail { path, lines })
    }
}

fn append(path: &Path, said: &[Said]) -> Result<(), FileError> {
    if let Some(folder) = path.parent() {
        files::create_dir(folder)?;
    }
    let mut lines = String::new();
    for Said { notice, time } in said {
        let time = time.as_deref().unwrap_or_default();
        lines.push_str(&format!("{time} error: {}\n", text::line(&notice.text)));
        for cause in &notice.causes {
            lines.push_str(&format!("    because {}\n", text::line(cause)));
        }
        if let Some(more) = &notice.more {
            lines.push_str(&format!("    more: {}\n", text::line(&more.display().to_string())));
        }
    }
    if std::fs::metadata(path).is_ok_and(|file| file.len() + lines.len() as u64 > MOST) {
        let old = std::fs::read(path).map_err(FileError::on("read", path))?;
        let half = &old[old.len() / 2..];
        // From the beginning of a line on.
        let kept = half.iter().position(|byte| *byte == b'\n').map_or(&half[..0], |at| &half[at + 1..]);
        files::replace(path, |out| out.write_all(kept))?;
    }
    files::append_lines(path, &lines)
}

/// The last lines of a file.
fn tail(path: &Path) -> Result<Vec<String>, FileError> {
    let read = || -> std::io::Result<(Vec<u8>, bool)> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        let from = size.saturating_sub(BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok((bytes, from > 0))
    };
    let (bytes, is_cut) = read().map_err(FileError::on("read", path))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<String> = text.lines().skip(usize::from(is_cut)).map(str::to_owned).collect();
    lines.drain(..lines.len().saturating_sub(LINES));
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        let notice = Notice { causes: vec!["the disk is full".into()], ..Notice::error(text) };
        Said { notice, time: Some("2026-11-21T12:00:00.000Z".into()) }
    }

    #[test]
    fn errors_are_kept_with_their_causes_and_old_ones_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PATH);
        append(&path, &[said("no\nroom\u{1b}[31m")]).unwrap();
        let lines = tail(&path).unwrap();
        assert_eq!(lines.len(), 2, "one line for the error and one for its cause: {lines:?}");
        assert!(lines[0].starts_with("2026-11-21T12:00:00.000Z error: no") && !lines[0].contains('\u{1b}'));
        assert_eq!(lines[1], "    because the disk is full");
        let long = "x".repeat(40_000);
        for number in 0..40 {
            append(&path, &[said(&format!("{number} {long}"))]).unwrap();
        }
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size <= MOST, "{size}");
        append(&path, &[said("the last")]).unwrap();
        let lines = tail(&path).unwrap();
        assert!(lines[lines.len() - 2].ends_with("error: the last"));
        let whole = std::fs::read_to_string(&path).unwrap();
        assert!(whole.starts_with("2026-") || whole.starts_with("    because"), "it begins with a whole line");
    }
}
