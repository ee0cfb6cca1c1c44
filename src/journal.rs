//! What happened in a run: the events of `journal.jsonl` and the append-only log that holds them.
//!
//! The journal is the only thing a running fine-tune shares with whoever watches it. One JSON object per line, with
//! `seq`, `time` and `event`; a reader skips what it doesn't know, and a half-written last line is no error.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};

/// Where a run stands. `Interrupted` is never written: a reader concludes it when the journal says that a run is
/// under way and no process holds its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Queued,
    Running,
    Paused,
    Finished,
    Stopped,
    Failed,
    Interrupted,
}

impl RunState {
    /// The word used in files, in JSON output and on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether a process should be working on the run.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Paused)
    }
}

/// One optimiser step. Losses are means in nats over the tokens of their role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepEvent {
    /// 1 for the first step.
    pub step: usize,
    /// Epochs seen after this step, with a fraction.
    pub epoch: f64,
    /// The quantity that was minimised: weights and reduction applied.
    pub loss: f64,
    /// Mean over label tokens; `None` where the batch had none.
    pub loss_label: Option<f64>,
    /// Mean over rationale tokens; `None` where the batch had none.
    pub loss_rationale: Option<f64>,
    pub learning_rate: f64,
    /// Global L2 norm before clipping.
    pub gradient_norm: f64,
    /// Tokens read so far in this run, padding not counted.
    pub tokens: u64,
    pub tokens_per_second: f64,
}

/// Accuracy and loss on a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationEvent {
    pub step: usize,
    pub epoch: f64,
    pub split: String,
    pub accuracy: f64,
    pub correct: usize,
    pub examples: usize,
    pub unparsable: usize,
    /// The training objective on this split, under the run's recipe; `None` where no loss was taken.
    pub loss: Option<f64>,
    pub loss_label: Option<f64>,
    pub loss_rationale: Option<f64>,
    /// Whether this is the run's last word, with predictions kept.
    #[serde(default)]
    pub last: bool,
}

/// What became of the rows of a split when they were put before the student.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaterialEvent {
    pub split: String,
    /// Rows that could be used.
    pub examples: usize,
    /// Of those: rows whose rationale was cut to fit.
    pub truncated: usize,
    pub without_rationale: usize,
    /// Rows that could not be used.
    pub skipped: usize,
}

/// A step without an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SkippedEvent {
    pub step: usize,
    /// What was no number: "loss" or "gradient".
    pub what: String,
    /// The ids of the step's examples.
    pub examples: Vec<String>,
}

/// What can stand in a journal line beside `seq` and `time`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The plan, before the first step.
    Start {
        steps: usize,
        examples: usize,
        parameters: usize,
        device: String,
        threads: usize,
    },
    Material(MaterialEvent),
    Step(StepEvent),
    Evaluation(EvaluationEvent),
    Checkpoint {
        step: usize,
        path: PathBuf,
    },
    /// A step that changed nothing, because its loss or gradient was no number.
    Skipped(SkippedEvent),
    State {
        state: RunState,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The step from which training goes on; steps after it that stand earlier in the journal are void.
    Resume {
        step: usize,
    },
    /// A part of the work before or between the steps: "attributing", say.
    Progress {
        what: String,
        done: usize,
        total: usize,
    },
    /// Something a person should know: truncations, skipped examples, what is being prepared.
    Note {
        text: String,
    },
    /// An event of a newer version.
    #[serde(other)]
    Unknown,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub seq: u64,
    /// RFC 3339, UTC.
    pub time: String,
    #[serde(flatten)]
    pub event: Event,
}

/// The present moment as journals write it.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Appends events. The operating system has a line when [`Writer::append`] returns, so a `kill -9` loses nothing.
/// [`Writer::sync`] makes it survive a power cut as well. What can't be written, as on a full disk, is kept and written
/// first the next time.
pub struct Writer {
    path: PathBuf,
    file: File,
    seq: u64,
    /// What the file does not have yet; a part of a line, where the disk became full in the middle of it.
    pending: Vec<u8>,
}

impl Writer {
    /// Opens a journal to go on after its last line.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let open = || -> io::Result<(File, u64)> {
            let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
            // A crash may have cut the last line in the middle of a character.
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let text = String::from_utf8_lossy(&bytes);
            if !files::ends_in_newline(&mut file)? {
                file.write_all(b"\n")?;
            }
            Ok((file, parse(&text).last().map_or(0, |entry| entry.seq)))
        };
        let (file, seq) = open().map_err(FileError::on("write", path))?;
        Ok(Self { path: path.to_owned(), file, seq, pending: Vec::new() })
    }

    /// Writes one event with the next number and the present time. When it fails, the event is kept for the next time.
    pub fn append(&mut self, event: Event) -> Result<(), FileError> {
        self.keep(event);
        self.flush()
    }

    /// Numbers an event and keeps it for the next [`Writer::flush`].
    pub fn keep(&mut self, event: Event) {
        self.seq += 1;
        let entry = Entry { seq: self.seq, time: now(), event };
        self.pending.extend(serde_json::to_vec(&entry).unwrap_or_default());
        self.pending.push(b'\n');
    }

    /// Writes what was kept. Byte by byte nothing is lost or written twice, wherever it fails.
    pub fn flush(&mut self) -> Result<(), FileError> {
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(0) => return Err(FileError::on("write", &self.path)(io::ErrorKind::WriteZero.into())),
                Ok(written) => drop(self.pending.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::on("write", &self.path)(error)),
            }
        }
        Ok(())
    }

    /// Waits until everything is on the disk.
    pub fn sync(&mut self) -> Result<(), FileError> {
        self.flush()?;
        self.file.sync_data().map_err(FileError::on("write", &self.path))
    }

    /// The file, for whoever must wait until what was written so far is on the disk.
    pub fn file(&self) -> Result<File, FileError> {
        self.file.try_clone().map_err(FileError::on("write", &self.path))
    }
}

/// The entries of a piece of a journal; lines that are no entries are skipped.
pub fn parse(text: &str) -> impl Iterator<Item = Entry> + '_ {
    text.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// Reads a whole journal; an absent file is an empty one.
pub fn read(path: &Path) -> Result<Vec<Entry>, FileError> {
    let mut tail = Tail::new(path.to_owned());
    tail.poll()
}

/// Follows a journal that another process appends to.
pub struct Tail {
    path: PathBuf,
    offset: u64,
    partial: Vec<u8>,
}

impl Tail {
    pub fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, partial: Vec::new() }
    }

    /// The entries appended since the last call. A line without its line feed waits for the rest.
    pub fn poll(&mut self) -> Result<Vec<Entry>, FileError> {
        let mut bytes = std::mem::take(&mut self.partial);
        let read = |bytes: &mut Vec<u8>| -> io::Result<u64> {
            let mut file = match File::open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
                file => file?,
            };
            if file.metadata()?.len() <= self.offset {
                return Ok(0);
            }
            file.seek(SeekFrom::Start(self.offset))?;
            Ok(file.read_to_end(bytes)? as u64)
        };
        self.offset += read(&mut bytes).map_err(FileError::on("read", &self.path))?;
        let end = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
        self.partial = bytes.split_off(end);
        Ok(parse(&String::from_utf8_lossy(&bytes)).collect())
    }
}

/// Everything a journal says about a run, kept up to date entry by entry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// As last written; see [`RunState::Interrupted`].
    pub state: Option<RunState>,
    pub reason: Option<String>,
    pub steps_planned: usize,
    pub examples: usize,
    pub parameters: usize,
    pub device: String,
    pub threads: usize,
    /// In order of `step`, without the steps that a resume voided.
    pub steps: Vec<StepEvent>,
    /// Seconds that the run had been at work when it took each of them, without pauses and without what a resume voided.
    pub seconds: Vec<f64>,
    /// Likewise.
    pub evaluations: Vec<EvaluationEvent>,
    pub checkpoints: BTreeMap<usize, PathBuf>,
    /// Steps that changed nothing, likewise.
    pub skipped: Vec<SkippedEvent>,
    /// Steps at which training went on after an interruption.
    pub resumes: Vec<usize>,
    pub notes: Vec<String>,
    /// What became of each split's rows.
    pub material: BTreeMap<String, MaterialEvent>,
    /// What is being done now, if it is not training: what, how much of it, of how much.
    pub progress: Option<(String, usize, usize)>,
    pub created: Option<String>,
    pub updated: Option<String>,
    pub clock: Clock,
}

/// How long a run has been at work.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Clock {
    /// When the last entry was written, in milliseconds since 1970.
    last: Option<i64>,
    seconds: f64,
    is_running: bool,
}

impl Clock {
    /// Goes on to the time of an entry.
    fn go(&mut self, time: &str) {
        let Ok(now) = time.parse::<jiff::Timestamp>() else { return };
        let now = now.as_millisecond();
        if let Some(last) = self.last.filter(|_| self.is_running) {
            // The machine's clock may have been set back.
            self.seconds += (now - last).max(0) as f64 / 1000.0;
        }
        self.last = Some(now);
    }
}

impl History {
    /// Reads a journal from its file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let mut history = Self::default();
        read(path)?.into_iter().for_each(|entry| history.apply(entry));
        Ok(history)
    }

    /// Takes in the next entry.
    pub fn apply(&mut self, entry: Entry) {
        self.clock.go(&entry.time);
        self.created.get_or_insert_with(|| entry.time.clone());
        self.updated = Some(entry.time);
        if !matches!(entry.event, Event::Note { .. } | Event::Unknown) {
            self.progress = None;
        }
        match entry.event {
            Event::Progress { what, done, total } => self.progress = Some((what, done, total)),
            Event::Start { steps, examples, parameters, device, threads } => {
                self.steps_planned = steps;
                self.examples = examples;
                self.parameters = parameters;
                self.device = device;
                self.threads = threads;
            }
            Event::Material(material) => drop(self.material.insert(material.split.clone(), material)),
            Event::Step(step) => {
                self.steps.push(step);
                self.seconds.push(self.clock.seconds);
            }
            Event::Evaluation(evaluation) => self.evaluations.push(evaluation),
            Event::Checkpoint { step, path } => {
                self.checkpoints.insert(step, path);
            }
            Event::Skipped(skipped) => self.skipped.push(skipped),
            Event::State { state, reason } => {
                self.state = Some(state);
                self.reason = reason;
                self.clock.is_running = state == RunState::Running;
            }
            Event::Resume { step } => {
                self.steps.retain(|event| event.step <= step);
                self.seconds.truncate(self.steps.len());
                self.clock.seconds = self.seconds.last().copied().unwrap_or(0.0);
                self.evaluations.retain(|event| event.step <= step);
                self.checkpoints.retain(|at, _| *at <= step);
                self.skipped.retain(|event| event.step <= step);
                self.resumes.retain(|at| *at < step);
                self.resumes.push(step);
            }
            Event::Note { text } => self.notes.push(text),
            Event::Unknown => {}
        }
    }

    /// The step of the newest checkpoint.
    pub fn newest_checkpoint(&self) -> Option<usize> {
        self.checkpoints.keys().last().copied()
    }

    /// The last step taken, 0 before the first.
    pub fn step(&self) -> usize {
        let skipped = self.skipped.last().map_or(0, |event| event.step);
        self.steps.last().map_or(0, |event| event.step).max(skipped)
    }

    /// The steps at which a split was evaluated, best first: by accuracy, then by the loss of the labels. Of equals the
    /// earlier one is better, so that nothing is kept anew that is no better.
    pub fn ranking(&self, split: &str) -> Vec<usize> {
        let mut found: Vec<&EvaluationEvent> = self.evaluations.iter().filter(|event| event.split == split).collect();
        let loss = |event: &EvaluationEvent| event.loss_label.unwrap_or(f64::INFINITY);
        found.sort_by(|one, other| {
            let by_accuracy = other.accuracy.total_cmp(&one.accuracy);
            by_accuracy.then(loss(one).total_cmp(&loss(other))).then(one.step.cmp(&other.step))
        });
        let mut steps: Vec<usize> = found.iter().map(|event| event.step).collect();
        let mut seen = std::collections::HashSet::new();
        steps.retain(|step| seen.insert(*step));
        steps
    }

    /// The run's last word on its final split, else its latest evaluation.
    pub fn result(&self) -> Option<&EvaluationEvent> {
        self.evaluations.iter().rev().find(|event| event.last).or(self.evaluations.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: usize) -> Event {
        Event::Step(StepEvent {
            step,
            epoch: step as f64 / 10.0,
            loss: 1.0 / step as f64,
            loss_label: Some(0.5),
            loss_rationale: None,
            learning_rate: 1e-3,
            gradient_norm: 0.9,
            tokens: 100,
            tokens_per_second: 1e4,
        })
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let mut writer = Writer::open(&path).unwrap();
        writer.append(Event::State { state: RunState::Running, reason: None }).unwrap();
        writer.append(step(1)).unwrap();
        let mut again = Writer::open(&path).unwrap();
        again.append(Event::Note { text: "2 rationales were cut".into() }).unwrap();
        let entries = read(&path).unwrap();
        assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(entries[1].event, step(1));
    }

    #[test]
    fn a_watcher_waits_for_the_rest_of_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let mut tail = Tail::new(path.clone());
        assert!(tail.poll().unwrap().is_empty());
        let line = r#"{"seq":1,"time":"t","event":"note","text":"hello"}"#;
        std::fs::write(&path, &line[..20]).unwrap();
        assert!(tail.poll().unwrap().is_empty());
        std::fs::write(&path, format!("{line}\n{}", &line[..5])).unwrap();
        assert_eq!(tail.poll().unwrap().len(), 1);
        assert!(tail.poll().unwrap().is_empty());
    }

    #[test]
    fn unknown_events_fields_and_torn_lines_are_skipped() {
        let text = concat!(
            r#"{"seq":1,"time":"t","event":"from_the_future","x":1}"#,
            "\nnot json\n",
            r#"{"seq":2,"time":"t","event":"note","text":"hi","more":[1]}"#,
            "\n{\"seq\":3,"
        );
        let entries: Vec<_> = parse(text).collect();
        assert_eq!(entries[0].event, Event::Unknown);
        assert_eq!(entries[1].event, Event::Note { text: "hi".into() });
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn a_resume_voids_the_steps_after_it() {
        let mut history = History::default();
        let events = [step(1), step(2), step(3), Event::Resume { step: 2 }, step(3), step(4)];
        for (seq, event) in events.into_iter().enumerate() {
            history.apply(Entry { seq: seq as u64, time: String::new(), event });
        }
        assert_eq!(history.steps.iter().map(|event| event.step).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(history.resumes, [2]);
    }

    #[test]
    fn seconds_at_work_are_without_pauses_and_what_was_done_twice() {
        let mut history = History::default();
        let state = |state| Event::State { state, reason: None };
        let entries = [
            (0, state(RunState::Queued)),
            (30, state(RunState::Running)),
            (31, step(1)),
            (32, step(2)),
            (33, state(RunState::Paused)),
            (53, state(RunState::Running)),
            (54, step(3)),
            // Killed, and begun again from step 2 much later.
            (200, state(RunState::Queued)),
            (201, state(RunState::Running)),
            (205, Event::Resume { step: 2 }),
            (206, step(3)),
            // The machine's clock is set back.
            (106, step(4)),
            (107, step(5)),
        ];
        for (seq, (second, event)) in entries.into_iter().enumerate() {
            let time = format!("2026-11-20T10:{:02}:{:02}.000Z", second / 60, second % 60);
            history.apply(Entry { seq: seq as u64, time, event });
        }
        assert_eq!(history.seconds, [1.0, 2.0, 3.0, 3.0, 4.0]);
    }
}
