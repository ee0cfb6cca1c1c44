//! A run on the disk: `runs/ID/`. Opening it needs nothing else.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::spec::{Record, RunSpec};
use super::{RunError, control};
use crate::corpus::{did_you_mean, nearest};
use crate::files::{self, FileError};
use crate::journal::{Event, History, RunState, Writer};
use crate::text;
use crate::training::checkpoint;

/// How long a new run may wait for its worker before it counts as interrupted.
const START: jiff::SignedDuration = jiff::SignedDuration::from_secs(15);

/// How long a journal may be silent before its worker is asked how it is.
const QUIET: jiff::SignedDuration = jiff::SignedDuration::from_secs(3);

/// What a line of `worker.log` begins with that marks the beginning of a worker.
const BEGIN: &str = "# worker ";

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
}

/// A run at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
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

    /// What became of its answers under interventions.
    pub fn interventions(&self) -> PathBuf {
        self.path.join("interventions.jsonl")
    }

    pub fn attributions(&self) -> PathBuf {
        self.path.join("attributions")
    }

    /// The lenses that were trained on its checkpoints.
    pub fn lenses(&self) -> PathBuf {
        self.path.join("lenses")
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("worker.log")
    }

    /// The newest checkpoint.
    pub fn newest_checkpoint(&self) -> Option<PathBuf> {
        checkpoint::list(&self.checkpoints()).pop().map(|(_, path)| path)
    }

    /// The step of the best checkpoint that is there, by the evaluations in `history`.
    pub fn best_step(&self, spec: &RunSpec, history: &History) -> Option<usize> {
        let there = checkpoint::list(&self.checkpoints());
        let ranking = history.ranking(&spec.evaluation.split);
        ranking.into_iter().find(|step| there.iter().any(|(other, _)| other == step))
    }

    /// A checkpoint by its name: `last`, `best` or a step.
    pub fn checkpoint(&self, name: &str) -> Result<PathBuf, RunError> {
        let there = checkpoint::list(&self.checkpoints());
        let Some((last, _)) = there.last() else { return Err(RunError::NoCheckpoint { id: self.id().to_owned() }) };
        let step = match name {
            "last" => *last,
            "best" => {
                let best = self.best_step(&self.spec()?, &History::read(&self.journal())?);
                best.ok_or_else(|| RunError::NoBest { id: self.id().to_owned() })?
            }
            // No run has that many steps, so that the error says which there are.
            step => step.parse().unwrap_or(usize::MAX),
        };
        let found = there.iter().find(|(other, _)| *other == step).map(|(_, path)| path.clone());
        found.ok_or_else(|| {
            let known: Vec<String> = there.iter().map(|(step, _)| step.to_string()).collect();
            let (id, wanted) = (self.id().to_owned(), text::line(name).into_owned());
            RunError::NoSuchCheckpoint { id, step: wanted, known: known.join(", ") }
        })
    }

    /// Finds a run and one of its checkpoints: `RUN` for the newest, `RUN@best`, `RUN@STEP`.
    pub fn find_checkpoint(project: &Path, wanted: &str) -> Result<(Self, PathBuf), RunError> {
        let (run, name) = wanted.rsplit_once('@').unwrap_or((wanted, "last"));
        let run = Self::find(project, run)?;
        let checkpoint = run.checkpoint(name)?;
        Ok((run, checkpoint))
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
        let mut history = History::read(&self.journal())?;
        let (state, reason) = self.standing(&history);
        history.reason = reason.or(history.reason);
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
        // The clock may have been set back since.
        let fresh = updated.is_some_and(|time| jiff::Timestamp::now().duration_since(time).abs() < START);
        if written == RunState::Queued && fresh { written } else { RunState::Interrupted }
    }

    /// Where the run stands, and why, where its journal does not say it: what a dead worker said last, and what a living
    /// one says that can't write.
    pub fn standing(&self, history: &History) -> (RunState, Option<String>) {
        let state = self.state(history);
        if state == RunState::Interrupted {
            return (state, Some(self.last_words()));
        }
        let updated = history.updated.as_deref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
        let quiet = updated.is_none_or(|time| jiff::Timestamp::now().duration_since(time).abs() > QUIET);
        if !state.is_active() || !quiet {
            return (state, None);
        }
        match control::status(self) {
            Some(control::Status { state, reason: Some(reason), .. }) => (state, Some(reason)),
            _ => (state, None),
        }
    }

    /// Marks in the log that a worker begins, so that its words are told from those of earlier ones.
    pub fn begin_log(&self) {
        let line = format!("{BEGIN}{} begins, {}\n", std::process::id(), crate::journal::now());
        // The log is a help, and its want no reason not to train.
        let _ = files::append_lines(&self.log(), &line);
    }

    /// The end of what the last worker said.
    fn last_words(&self) -> String {
        const MOST: u64 = 4096;
        let tail = || -> io::Result<Vec<u8>> {
            let mut file = File::open(self.log())?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
            let mut bytes = Vec::new();
            file.take(MOST).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = tail().unwrap_or_default();
        let all = String::from_utf8_lossy(&bytes);
        let own = all.lines().rev().take_while(|line| !line.starts_with(BEGIN));
        let mut words: Vec<&str> = own.map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
        words.reverse();
        match words[..] {
            [] => "its worker is gone without a word, as after `kill -9` or a power cut".into(),
            _ => format!("its worker is gone; its last words: {}", text::excerpt(&words.join(" / "), 400)),
        }
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
                        let own = std::process::id();
                        writeln!(file, "{own} {}", started(own).unwrap_or_default())
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
        if !self.is_locked() {
            return None;
        }
        let mut words = text.split_whitespace();
        let number = words.next()?.parse().ok()?;
        // On another machine that shares the disk the number means another process, or none.
        let is_same = words.next().is_none_or(|begun| started(number).as_deref() == Some(begun));
        is_same.then_some(number)
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

/// When a process began, in the system's own count, where it says: numbers of processes are used again.
fn started(process: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
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
        assert_eq!(run.worker(), Some(std::process::id()));
        run.begin_log();
        drop(lock);
        let read = run.read().unwrap();
        assert_eq!((read.state, run.worker()), (RunState::Interrupted, None));
        assert!(read.history.reason.unwrap().contains("without a word"));
        files::append_lines(&run.log(), "memory allocation of 9 bytes failed\n").unwrap();
        let reason = run.read().unwrap().history.reason.unwrap();
        assert!(reason.ends_with("its last words: memory allocation of 9 bytes failed"), "{reason}");
        run.begin_log();
        assert!(run.read().unwrap().history.reason.unwrap().contains("without a word"), "those were another's");
        assert_eq!(run.unfinished().unwrap(), RunState::Interrupted);
        journal.append(Event::State { state: RunState::Finished, reason: None }).unwrap();
        assert_eq!(run.read().unwrap().state, RunState::Finished);
        assert!(run.unfinished().unwrap_err().to_string().contains("is finished"));
    }
}
