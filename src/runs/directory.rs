//! A run on the disk: `runs/ID/`. Opening it needs nothing else.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::RunError;
use super::spec::{Record, RunSpec};
use crate::corpus::{did_you_mean, nearest};
use crate::files::{self, FileError};
use crate::journal::{Event, History, RunState, Writer};
use crate::text;

/// How long a new run may wait for its worker before it counts as interrupted.
const START: jiff::SignedDuration = jiff::SignedDuration::from_secs(15);

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
}

/// A run at one moment.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: String,
    pub spec: RunSpec,
    pub history: History,
    pub state: RunState,
    /// Whether there are weights to look into; a recording has none.
    pub has_checkpoint: bool,
}

impl RunDirectory {
    /// Makes the folder of a new run, queued. `name` becomes part of its id.
    pub fn create(project: &Path, mut spec: RunSpec, name: &str) -> Result<Self, RunError> {
        let runs = project.join("runs");
        files::create_dir(&runs)?;
        let now = jiff::Zoned::now();
        let stamp = now.strftime("%Y%m%d-%H%M%S").to_string();
        let slug = slug(name);
        for attempt in 1..1000 {
            let id = if attempt == 1 { format!("{stamp}-{slug}") } else { format!("{stamp}-{slug}-{attempt}") };
            let path = runs.join(&id);
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(FileError::on("create", &path))?,
            }
            let forked_from = spec.record.take().and_then(|record| record.forked_from);
            spec.record = Some(Record { forked_from, ..Record::new(&id) });
            let directory = Self { path };
            directory.write_spec(&spec)?;
            let mut journal = Writer::open(&directory.journal())?;
            journal.append(Event::State { state: RunState::Queued, reason: None })?;
            return Ok(directory);
        }
        Err(RunError::TooMany { folder: runs })
    }

    /// Makes the folder of a run with a fixed id, or opens it if it is there.
    pub fn at(project: &Path, id: &str, mut spec: RunSpec) -> Result<Self, RunError> {
        let directory = Self { path: project.join("runs").join(id) };
        if !directory.path.join("run.yaml").exists() {
            files::create_dir(&directory.path)?;
            spec.record = Some(Record::new(id));
            directory.write_spec(&spec)?;
        }
        Ok(directory)
    }

    /// A run in a folder that is known to be one.
    pub fn open(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The run with exactly this id. What is stored names runs so: a part of an id may fit another run tomorrow.
    pub fn exactly(project: &Path, id: &str) -> Result<Self, RunError> {
        let all = Self::list(project);
        all.iter().find(|run| run.id() == id).cloned().ok_or_else(|| RunError::Unknown {
            id: text::line(id).into(),
            nearest: did_you_mean(&nearest(id, all.iter().map(Self::id))),
        })
    }

    /// Finds a run by its id, by the beginning or the end of it, or `last` for the newest.
    pub fn find(project: &Path, wanted: &str) -> Result<Self, RunError> {
        let all = Self::list(project);
        if wanted == "last" {
            return all.into_iter().last().ok_or_else(|| RunError::None { folder: project.join("runs") });
        }
        if let Some(exact) = all.iter().find(|run| run.id() == wanted) {
            return Ok(exact.clone());
        }
        let like: Vec<&Self> =
            all.iter().filter(|run| run.id().starts_with(wanted) || run.id().ends_with(wanted)).collect();
        match like[..] {
            [one] if !wanted.is_empty() => Ok(one.clone()),
            [] | [_] => Err(RunError::Unknown {
                id: text::line(wanted).into(),
                nearest: did_you_mean(&nearest(wanted, all.iter().map(Self::id))),
            }),
            _ => Err(RunError::Ambiguous {
                id: text::line(wanted).into(),
                like: like.iter().map(|run| run.id()).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// All runs of a project, oldest first.
    pub fn list(project: &Path) -> Vec<Self> {
        let mut found: Vec<Self> = fs::read_dir(project.join("runs"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| Self { path: entry.path() })
            .filter(|run| !run.id().starts_with('.') && run.path.join("run.yaml").is_file())
            .collect();
        found.sort_by_cached_key(|run| (run.created(), run.id().to_owned()));
        found
    }

    pub fn id(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.jsonl")
    }

    /// Event files for TensorBoard.
    pub fn tensorboard(&self) -> PathBuf {
        self.path.join("tensorboard")
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    pub fn predictions(&self) -> PathBuf {
        self.path.join("predictions.jsonl")
    }

    pub fn attributions(&self) -> PathBuf {
        self.path.join("attributions")
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("worker.log")
    }

    /// The newest checkpoint.
    pub fn newest_checkpoint(&self) -> Option<PathBuf> {
        crate::training::checkpoint::list(&self.checkpoints()).pop().map(|(_, path)| path)
    }

    /// What the run is.
    pub fn spec(&self) -> Result<RunSpec, RunError> {
        RunSpec::read(&self.path.join("run.yaml"), &[])
    }

    pub fn write_spec(&self, spec: &RunSpec) -> Result<(), FileError> {
        files::replace(&self.path.join("run.yaml"), |out| out.write_all(spec.to_yaml().as_bytes()))
    }

    /// Reads everything that is known of the run.
    pub fn read(&self) -> Result<Run, RunError> {
        let spec = self.spec()?;
        let history = History::read(&self.journal())?;
        let state = self.state(&history);
        let has_checkpoint = self.newest_checkpoint().is_some();
        Ok(Run { id: self.id().to_owned(), spec, history, state, has_checkpoint })
    }

    /// Where the run stands: what its journal says, unless the process that should be at work is gone.
    pub fn state(&self, history: &History) -> RunState {
        let written = history.state.unwrap_or(RunState::Interrupted);
        if !written.is_active() || self.is_locked() {
            return written;
        }
        let updated = history.updated.as_deref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
        let fresh = updated.is_some_and(|time| jiff::Timestamp::now().duration_since(time) < START);
        if written == RunState::Queued && fresh { written } else { RunState::Interrupted }
    }

    /// Where a run stands that can go on; a finished one can't, and its numbers are kept from being trained over.
    pub fn unfinished(&self) -> Result<RunState, RunError> {
        match self.read()?.state {
            RunState::Finished => Err(RunError::Finished { id: self.id().to_owned() }),
            state => Ok(state),
        }
    }

    /// Whether a worker holds the run.
    pub fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.lock_path()) else { return false };
        matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
    }

    /// Takes the run for this process until the lock is dropped. The file names the process.
    pub fn lock(&self) -> Result<File, RunError> {
        let path = self.lock_path();
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(FileError::on("write", &path))?;
        // Whoever asks for the state of a run holds its lock for a moment; only a worker holds it for longer.
        for _ in 0..40 {
            match file.try_lock() {
                Ok(()) => {
                    let write = |file: &mut File| {
                        file.set_len(0)?;
                        writeln!(file, "{}", std::process::id())
                    };
                    write(&mut file).map_err(FileError::on("write", &path))?;
                    return Ok(file);
                }
                Err(fs::TryLockError::WouldBlock) => std::thread::sleep(std::time::Duration::from_millis(25)),
                Err(fs::TryLockError::Error(error)) => return Err(FileError::on("lock", &path)(error).into()),
            }
        }
        Err(RunError::Busy { id: self.id().to_owned() })
    }

    /// The process that works on the run, if one does.
    pub fn worker(&self) -> Option<u32> {
        let text = fs::read_to_string(self.lock_path()).ok()?;
        if self.is_locked() { text.trim().parse().ok() } else { None }
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join("worker.lock")
    }

    /// Deletes the run.
    pub fn remove(&self) -> Result<(), RunError> {
        let _lock = self.lock()?;
        Ok(fs::remove_dir_all(&self.path).map_err(FileError::on("remove", &self.path))?)
    }

    /// When the run was made, for sorting; read from the text alone, as a list must be quick.
    fn created(&self) -> String {
        let text = fs::read_to_string(self.path.join("run.yaml")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.trim().strip_prefix("created: "));
        line.unwrap_or_default().trim_matches(['\'', '"']).to_owned()
    }
}

/// Letters, digits and single hyphens.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.truncate(40);
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "run".into() } else { slug.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_listed_in_the_order_they_were_made_and_found_by_part_of_their_id() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| RunDirectory::create(dir.path(), RunSpec::preset("toy"), name).unwrap();
        let (one, two) = (make("post, shuffled tokens"), make("pre"));
        let listed: Vec<_> = RunDirectory::list(dir.path()).iter().map(|run| run.id().to_owned()).collect();
        assert_eq!(listed, [one.id(), two.id()]);
        assert!(one.id().ends_with("-post-shuffled-tokens"), "{}", one.id());
        let find = |id: &str| RunDirectory::find(dir.path(), id);
        assert_eq!(find("shuffled-tokens").unwrap(), one);
        assert_eq!(find("last").unwrap(), two);
        assert!(find("20").unwrap_err().to_string().contains("several"));
        let wrong = find(&one.id().replace("tokens", "tokenz")).unwrap_err().to_string();
        assert!(wrong.contains(&format!("did you mean `{}`", one.id())), "{wrong}");
    }

    #[test]
    fn a_run_whose_worker_is_gone_is_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(dir.path(), RunSpec::preset("toy"), "x").unwrap();
        assert_eq!(run.read().unwrap().state, RunState::Queued);
        let lock = run.lock().unwrap();
        let mut journal = Writer::open(&run.journal()).unwrap();
        journal.append(Event::State { state: RunState::Running, reason: None }).unwrap();
        assert_eq!(run.read().unwrap().state, RunState::Running);
        assert!(run.is_locked());
        drop(lock);
        assert_eq!(run.read().unwrap().state, RunState::Interrupted);
        assert_eq!(run.unfinished().unwrap(), RunState::Interrupted);
        journal.append(Event::State { state: RunState::Finished, reason: None }).unwrap();
        assert_eq!(run.read().unwrap().state, RunState::Finished);
        assert!(run.unfinished().unwrap_err().to_string().contains("is finished"));
    }
}
