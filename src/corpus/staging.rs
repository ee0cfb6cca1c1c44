//! Data set folders that appear finished or not at all.
//!
//! A new data set is written into a hidden folder beside the others and renamed to its place when it is whole. What a
//! kill or a full disk leaves is that hidden folder, which nothing reads and the next import removes. A lock on the
//! folder tells one that is being written from one that was left.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tempfile::TempDir;

use super::dataset::Meta;
use crate::files::{self, FileError};

const PREFIX: &str = ".importing-";
/// The old data set, for as long as the new one is not in its place.
const ASIDE: &str = ".replaced-";
/// Where folders can't be locked, one that nobody touched for this long was left behind.
const LEFT_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A folder that is being written.
pub struct Staging {
    home: PathBuf,
    folder: TempDir,
    _lock: Option<File>,
}

impl Staging {
    /// Makes a hidden folder in `home`, which holds the data sets, and removes those that were left there.
    pub fn begin(home: &Path) -> Result<Self, FileError> {
        files::create_dir(home)?;
        sweep(home);
        loop {
            let mut builder = tempfile::Builder::new();
            builder.prefix(PREFIX);
            // As readable as the umask says, like any folder that a person makes.
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
            let folder = builder.tempdir_in(home).map_err(FileError::on("create a folder in", home))?;
            let lock = match lock(folder.path()) {
                Lock::Mine(lock) => Some(lock),
                Lock::Unknown => None,
                // Somebody swept between these two lines and is about to remove the folder.
                Lock::Taken => continue,
            };
            if folder.path().exists() {
                return Ok(Self { home: home.to_owned(), folder, _lock: lock });
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Begins a file of JSON lines, in a folder that is made if need be.
    pub fn lines(&self, file: &str) -> Result<Lines, FileError> {
        let path = self.path().join(file);
        if let Some(folder) = path.parent() {
            files::create_dir(folder)?;
        }
        let out = File::create(&path).map_err(FileError::on("create", &path))?;
        Ok(Lines { path, out: BufWriter::with_capacity(1 << 18, out) })
    }

    pub fn meta(&self, meta: &Meta) -> Result<(), FileError> {
        write_meta(self.path(), meta)
    }

    /// Moves one file to its place in a data set, in one step.
    pub fn move_in(&self, file: &str, place: &Path) -> Result<(), FileError> {
        let folder = place.parent().unwrap_or(Path::new("."));
        files::create_dir(folder)?;
        fs::rename(self.path().join(file), place).map_err(FileError::on("write", place))?;
        files::sync_dir(folder)
    }

    /// Takes over from an older data set what the new one has not: edits, other rationale sources, notes.
    pub fn carry_over(&self, old: &Path, is_replaced: impl Fn(&str) -> bool) -> Result<(), FileError> {
        carry(old, self.path(), &is_replaced)
    }

    /// Waits until the names of the files are on the disk.
    fn sync(&self) -> Result<(), FileError> {
        let sources = self.path().join("rationales");
        if sources.exists() {
            files::sync_dir(&sources)?;
        }
        files::sync_dir(self.path())
    }

    /// Gives the folder its name, which must be free.
    pub fn publish(self, name: &str) -> Result<PathBuf, FileError> {
        let target = self.home.join(name);
        self.sync()?;
        files::publish_dir(self.folder.path(), &target)?;
        // It is the data set now, and not a temporary folder.
        let _ = self.folder.keep();
        Ok(target)
    }

    /// Puts the folder in the place of the data set `name`: readers see the old one or the new one.
    pub fn replace(self, name: &str) -> Result<PathBuf, FileError> {
        let target = self.home.join(name);
        self.sync()?;
        let failed = FileError::on("replace", &target);
        match exchange(self.path(), &target) {
            // The old one has the temporary name now and goes with it.
            Ok(()) => files::sync_dir(&self.home)?,
            Err(error) if is_unsupported(&error) => {
                let aside = self.home.join(format!("{ASIDE}{name}"));
                swap(self.path(), &target, &aside).map_err(failed)?;
                files::sync_dir(&self.home)?;
                // Should it stay, the next import removes it.
                let _ = fs::remove_dir_all(aside);
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(target)
    }
}

/// Writes `dataset.yaml`.
pub fn write_meta(folder: &Path, meta: &Meta) -> Result<(), FileError> {
    files::replace(&folder.join("dataset.yaml"), |out| {
        let text = serde_yaml::to_string(meta).map_err(io::Error::other)?;
        out.write_all(text.as_bytes())
    })
}

/// A file of JSON lines that is being written.
pub struct Lines {
    path: PathBuf,
    out: BufWriter<File>,
}

impl Lines {
    pub fn write(&mut self, row: &impl Serialize) -> Result<(), FileError> {
        let written = serde_json::to_writer(&mut self.out, row).map_err(io::Error::from);
        written.and_then(|()| self.out.write_all(b"\n")).map_err(FileError::on("write", &self.path))
    }

    /// Waits until the file is on the disk.
    pub fn finish(mut self) -> Result<(), FileError> {
        self.out.flush().and_then(|()| self.out.get_ref().sync_all()).map_err(FileError::on("write", &self.path))
    }
}

enum Lock {
    Mine(File),
    Taken,
    /// The file system has no locks.
    Unknown,
}

fn lock(folder: &Path) -> Lock {
    let Ok(file) = File::open(folder) else { return Lock::Unknown };
    match file.try_lock() {
        Ok(()) => Lock::Mine(file),
        Err(TryLockError::WouldBlock) => Lock::Taken,
        Err(TryLockError::Error(_)) => Lock::Unknown,
    }
}

/// Removes what imports that ended early have left, and puts a data set back that was moved aside and not replaced.
/// Failing to is no reason not to import.
fn sweep(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if name.starts_with(PREFIX) {
            let left = match lock(&path) {
                Lock::Mine(_) => true,
                Lock::Taken => false,
                Lock::Unknown => untouched(&path).is_some_and(|time| time > LEFT_AFTER),
            };
            if left {
                let _ = fs::remove_dir_all(path);
            }
        } else if let Some(old) = name.strip_prefix(ASIDE) {
            let _ = if home.join(old).exists() { fs::remove_dir_all(path) } else { fs::rename(path, home.join(old)) };
        }
    }
}

fn untouched(path: &Path) -> Option<Duration> {
    fs::metadata(path).ok()?.modified().ok()?.elapsed().ok()
}

/// Links or copies every file of `old` that `new` has not.
fn carry(old: &Path, new: &Path, is_replaced: &dyn Fn(&str) -> bool) -> Result<(), FileError> {
    let entries = fs::read_dir(old).map_err(FileError::on("read", old))?;
    for entry in entries {
        let entry = entry.map_err(FileError::on("read", old))?;
        let (from, to) = (entry.path(), new.join(entry.file_name()));
        if is_replaced(&entry.file_name().to_string_lossy()) {
            continue;
        }
        if from.is_dir() {
            files::create_dir(&to)?;
            carry(&from, &to, &|_| false)?;
        } else if !to.exists() {
            // A link, so that an edit made at this moment is in both.
            let copied = fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop));
            copied.map_err(FileError::on("copy", &from))?;
        }
    }
    Ok(())
}

/// Swaps two names in one step.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}

/// Swaps two names where that takes two steps. A failed second step takes back the first.
fn swap(new: &Path, target: &Path, aside: &Path) -> io::Result<()> {
    fs::rename(target, aside)?;
    fs::rename(new, target).inspect_err(|_| {
        let _ = fs::rename(aside, target);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(home: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_data_set_appears_when_it_is_whole_and_otherwise_not() {
        let home = tempfile::tempdir().unwrap();
        let staging = Staging::begin(home.path()).unwrap();
        let mut lines = staging.lines("rationales/a.jsonl").unwrap();
        lines.write(&"row").unwrap();
        lines.finish().unwrap();
        assert!(names(home.path())[0].starts_with(PREFIX));
        staging.publish("mine").unwrap();
        assert_eq!(names(home.path()), ["mine"]);
        assert_eq!(fs::read_to_string(home.path().join("mine/rationales/a.jsonl")).unwrap(), "\"row\"\n");
        drop(Staging::begin(home.path()).unwrap());
        assert_eq!(names(home.path()), ["mine"]);
    }

    #[test]
    fn what_a_kill_left_is_removed_and_what_is_being_written_is_not() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".importing-dead")).unwrap();
        fs::write(home.path().join(".importing-dead/train.jsonl"), "half").unwrap();
        let one = Staging::begin(home.path()).unwrap();
        let other = Staging::begin(home.path()).unwrap();
        assert_eq!(names(home.path()).len(), 2);
        assert!(one.path().exists() && other.path().exists());
    }

    #[test]
    fn a_replaced_data_set_hands_over_what_only_it_had() {
        let home = tempfile::tempdir().unwrap();
        let old = home.path().join("mine");
        fs::create_dir_all(old.join("rationales")).unwrap();
        for file in ["train.jsonl", "edits.jsonl", "rationales/llama.jsonl", "rationales/fact.jsonl"] {
            fs::write(old.join(file), "old").unwrap();
        }
        let staging = Staging::begin(home.path()).unwrap();
        for file in ["test.jsonl", "rationales/fact.jsonl"] {
            staging.lines(file).unwrap().finish().unwrap();
        }
        staging.carry_over(&old, |name| name == "train.jsonl").unwrap();
        // An edit that is made before the new one stands is not lost.
        files::append_lines(&old.join("edits.jsonl"), "late\n").unwrap();
        let new = staging.replace("mine").unwrap();
        assert_eq!(names(home.path()), ["mine"]);
        assert_eq!(names(&new), ["edits.jsonl", "rationales", "test.jsonl"]);
        assert_eq!(fs::read_to_string(new.join("edits.jsonl")).unwrap(), "old\nlate\n");
        assert_eq!(fs::read_to_string(new.join("rationales/fact.jsonl")).unwrap(), "");
        assert_eq!(fs::read_to_string(new.join("rationales/llama.jsonl")).unwrap(), "old");
    }

    #[test]
    fn a_data_set_that_was_moved_aside_and_not_replaced_comes_back() {
        let home = tempfile::tempdir().unwrap();
        let (new, target, aside) =
            (home.path().join("new"), home.path().join("mine"), home.path().join(".replaced-mine"));
        fs::create_dir(&target).unwrap();
        assert!(swap(&new, &target, &aside).is_err());
        assert_eq!(names(home.path()), ["mine"]);
        fs::rename(&target, &aside).unwrap();
        sweep(home.path());
        assert_eq!(names(home.path()), ["mine"]);
        fs::create_dir(&new).unwrap();
        swap(&new, &target, &aside).unwrap();
        sweep(home.path());
        assert_eq!(names(home.path()), ["mine"]);
    }
}
