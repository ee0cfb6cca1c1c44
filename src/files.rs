//! Files that are never half written, and errors that say which file and what to do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("can't {action} {}: {source}{}", path.display(), advice(source))]
pub struct FileError {
    /// What was being done: "read", "write", "create" …
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: `File::open(path).map_err(FileError::on("read", path))`.
    pub fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }
}

impl FileError {
    /// Whether it failed for want of room: more of it, and the same would work.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self.source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
    }
}

/// The next step for the errors that a user can do something about.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => " · free some space; nothing that was saved before is lost",
        io::ErrorKind::QuotaExceeded => " · your disk quota is used up; nothing that was saved before is lost",
        io::ErrorKind::ReadOnlyFilesystem => " · the file system is read-only; use a project folder elsewhere (-C DIR)",
        io::ErrorKind::FileTooLarge => " · files may not grow that large here; look at `ulimit -f` and the file system",
        io::ErrorKind::PermissionDenied => " · check the owner and the permissions of the folder",
        _ => "",
    }
}

/// Reads a whole text file.
pub fn read_to_string(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(FileError::on("read", path))
}

/// Makes a folder and its parents.
pub fn create_dir(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(FileError::on("create", path))
}

/// What stands before the names of files that are being written.
const NEW: &str = ".new-";

/// Removes what a process that was killed left half written in a folder. Nobody else may be writing there.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(NEW) {
            // It is in nobody's way; the next start tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Replaces `path` with what `write` writes: readers see the old file or the new one, whatever happens in between.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), FileError> {
    let folder = parent(path);
    let failed = |source| FileError { action: "write", path: path.to_owned(), source };
    let mut builder = tempfile::Builder::new();
    builder.prefix(NEW);
    // Temporary files are private to their owner; a data set or a run is as readable as the umask says.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder).map_err(failed)?;
    let mut writer = BufWriter::new(&file);
    write(&mut writer).map_err(failed)?;
    writer.flush().map_err(failed)?;
    drop(writer);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    sync_dir(folder)
}

/// Renames a finished folder to its place and makes that last. `to` must not exist.
pub fn publish_dir(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::on("move a finished folder to", to))?;
    sync_dir(parent(to))
}

/// Waits until the names in a folder are on the disk.
pub fn sync_dir(folder: &Path) -> Result<(), FileError> {
    let sync = |folder: &Path| File::open(folder)?.sync_all();
    match sync(folder) {
        // Some network file systems can't sync a folder; the rename itself is atomic there too.
        Err(error) if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Err(FileError { action: "write", path: folder.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Appends whole lines to a log that others may append to as well. A half-written last line, left by a crash, is
/// ended first, so that it spoils no other line.
pub fn append_lines(path: &Path, lines: &str) -> Result<(), FileError> {
    let append = || -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        file.lock()?;
        let mut text = String::with_capacity(lines.len() + 1);
        if !ends_in_newline(&mut file)? {
            text.push('\n');
        }
        text.push_str(lines);
        file.write_all(text.as_bytes())?;
        file.sync_data()
    };
    append().map_err(FileError::on("write", path))
}

/// Whether a file is empty or its last byte is a line feed.
pub fn ends_in_newline(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_replacement_leaves_the_old_file_and_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.yaml");
        fs::write(&path, "old").unwrap();
        let error = replace(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        let message = error.unwrap_err().to_string();
        assert!(message.contains("run.yaml") && message.contains("free some space"), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        replace(&path, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_torn_last_line_spoils_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edits.jsonl");
        append_lines(&path, "one\n").unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"to").unwrap();
        append_lines(&path, "three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\nto\nthree\n");
    }
}
