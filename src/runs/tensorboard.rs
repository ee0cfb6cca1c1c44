//! Event files for TensorBoard, beside the journal.
//!
//! A file is a row of records: its length, a checksum of that, an `Event` message, a checksum of that. The messages are
//! TensorFlow's `event.proto` and `summary.proto`, as far as scalars need them.
//!
//! The journal stays the truth: whenever a run begins or goes on, a new file is written from it and takes the place of
//! the ones before, so steps that a resume made void are in no file. A TensorBoard that is open at that moment finds
//! the mark of a session's start at step 0, which tells it to forget what it has read.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use crate::files::{self, FileError};
use crate::journal::{Entry, EvaluationEvent, Event, StepEvent};

/// What TensorBoard looks for in a file's name.
const PREFIX: &str = "events.out.tfevents.";
/// The version of the format.
const VERSION: &str = "brain.Event:2";

/// `tensorflow.Event`.
#[derive(Clone, PartialEq, Message)]
struct Record {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    Session(Session),
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Scalar>,
}

/// `tensorflow.Summary.Value` with a number.
#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    /// Written also where it is 0: in the published file it is one of several kinds of value.
    #[prost(float, optional, tag = "2")]
    value: Option<f32>,
}

/// `tensorflow.SessionLog`.
#[derive(Clone, PartialEq, Message)]
struct Session {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SessionLog.START`.
const START: i32 = 1;

/// The event file of a run that is under way.
pub struct Board {
    path: PathBuf,
    file: File,
}

impl Board {
    /// Writes what a journal says so far into a new file in `folder`, and removes the files that it replaces.
    pub fn open(folder: &Path, journal: Vec<Entry>) -> Result<Self, FileError> {
        files::create_dir(folder)?;
        let old = list(folder)?;
        // TensorBoard reads the files in the order of their names.
        let newest = old.iter().filter_map(|path| second_of(path)).max();
        let second = (jiff::Timestamp::now().as_second().max(0) as u64).max(newest.map_or(0, |newest| newest + 1));
        let path = folder.join(format!("{PREFIX}{second:010}.afterthought.{}", std::process::id()));
        let file = File::create(&path).map_err(FileError::on("write", &path))?;
        let mut board = Self { path, file };
        let kept = kept(journal);
        let begun = kept.first().map_or_else(now, seconds);
        let mut bytes = frame(begun, 0, What::FileVersion(VERSION.into()));
        bytes.extend(frame(begun, 0, What::Session(Session { status: START })));
        for entry in &kept {
            bytes.extend(framed(&entry.event, seconds(entry)));
        }
        board.put(&bytes)?;
        for path in old {
            fs::remove_file(&path).map_err(FileError::on("remove", &path))?;
        }
        Ok(board)
    }

    /// Writes an event, if it is one that has numbers to show.
    pub fn write(&mut self, event: &Event) -> Result<(), FileError> {
        let bytes = framed(event, now());
        if bytes.is_empty() { Ok(()) } else { self.put(&bytes) }
    }

    /// At once, as the journal does it: a run that is killed has shown what it did.
    fn put(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(FileError::on("write", &self.path))
    }
}

/// The event files in a folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let read =
        || -> io::Result<Vec<PathBuf>> { fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect() };
    let all = read().map_err(FileError::on("read", folder))?;
    Ok(all.into_iter().filter(|path| second_of(path).is_some()).collect())
}

/// When a file was begun, as its name says.
fn second_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split('.').next()?.parse().ok()
}

/// The entries with numbers that no resume has made void.
fn kept(journal: Vec<Entry>) -> Vec<Entry> {
    let mut kept: Vec<(usize, Entry)> = Vec::new();
    for entry in journal {
        match entry.event {
            Event::Step(StepEvent { step, .. }) | Event::Evaluation(EvaluationEvent { step, .. }) => {
                kept.push((step, entry));
            }
            Event::Resume { step } => kept.retain(|(at, _)| *at <= step),
            _ => {}
        }
    }
    kept.into_iter().map(|(_, entry)| entry).collect()
}

/// When an entry was written, in seconds since 1970.
fn seconds(entry: &Entry) -> f64 {
    entry.time.parse::<jiff::Timestamp>().map_or_else(|_| now(), |time| time.as_millisecond() as f64 / 1e3)
}

fn now() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1e3
}

/// The record of an event; nothing for one without numbers.
fn framed(event: &Event, when: f64) -> Vec<u8> {
    let (step, values) = match event {
        Event::Step(step) => (step.step, of_step(step)),
        Event::Evaluation(found) => (found.step, of_evaluation(found)),
        _ => return vec![],
    };
    let known = values.into_iter().filter_map(|(tag, value)| Some(Scalar { tag, value: Some(value? as f32) }));
    frame(when, step as i64, What::Summary(Summary { values: known.collect() }))
}

fn of_step(step: &StepEvent) -> Vec<(String, Option<f64>)> {
    let values = [
        ("loss", Some(step.loss)),
        ("loss/label", step.loss_label),
        ("loss/rationale", step.loss_rationale),
        ("learning_rate", Some(step.learning_rate)),
        ("gradient_norm", Some(step.gradient_norm)),
        ("tokens_per_second", Some(step.tokens_per_second)),
    ];
    values.map(|(tag, value)| (tag.to_owned(), value)).into()
}

fn of_evaluation(found: &EvaluationEvent) -> Vec<(String, Option<f64>)> {
    let values = [
        ("accuracy", Some(found.accuracy)),
        ("loss", found.loss),
        ("loss_label", found.loss_label),
        ("loss_rationale", found.loss_rationale),
    ];
    values.map(|(name, value)| (format!("{}/{name}", found.split), value)).into()
}

fn frame(wall_time: f64, step: i64, what: What) -> Vec<u8> {
    let data = Record { wall_time, step, what: Some(what) }.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(data.len() + 16);
    bytes.extend(length);
    bytes.extend(masked(&length).to_le_bytes());
    bytes.extend(&data);
    bytes.extend(masked(&data).to_le_bytes());
    bytes
}

/// A checksum as it is kept: turned and moved, because checksums of what holds checksums are weak.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli).
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Every record of the only event file in a folder, checksums looked at.
    fn read(folder: &Path) -> Vec<Record> {
        let files = list(folder).unwrap();
        assert_eq!(files.len(), 1, "{files:?}");
        let bytes = fs::read(&files[0]).unwrap();
        let (mut rest, mut records) = (&bytes[..], vec![]);
        let mut take = |count: usize| {
            let (taken, behind) = rest.split_at(count);
            rest = behind;
            (taken.to_vec(), behind.is_empty())
        };
        loop {
            let length = take(8).0;
            assert_eq!(take(4).0, masked(&length).to_le_bytes());
            let data = take(u64::from_le_bytes(length.try_into().unwrap()) as usize).0;
            let (checksum, is_end) = take(4);
            assert_eq!(checksum, masked(&data).to_le_bytes());
            records.push(Record::decode(&data[..]).unwrap());
            if is_end {
                return records;
            }
        }
    }

    /// The curves in a folder: (step, value) by tag.
    fn curves(folder: &Path) -> BTreeMap<String, Vec<(i64, f32)>> {
        let mut curves: BTreeMap<String, Vec<(i64, f32)>> = BTreeMap::new();
        for record in read(folder) {
            if let Some(What::Summary(summary)) = record.what {
                for Scalar { tag, value } in summary.values {
                    curves.entry(tag).or_default().push((record.step, value.unwrap()));
                }
            }
        }
        curves
    }

    pub fn step(step: usize, loss: f64) -> Event {
        Event::Step(StepEvent {
            step,
            epoch: 0.0,
            loss,
            loss_label: Some(0.5),
            loss_rationale: None,
            learning_rate: 1e-3,
            gradient_norm: 0.0,
            tokens: 100,
            tokens_per_second: 1e4,
        })
    }

    fn evaluation(step: usize, accuracy: f64) -> Event {
        Event::Evaluation(EvaluationEvent {
            step,
            epoch: 0.0,
            split: "validation".into(),
            accuracy,
            correct: 1,
            examples: 2,
            unparsable: 0,
            loss: Some(1.5),
            loss_label: None,
            loss_rationale: None,
            last: false,
        })
    }

    fn journal(events: impl IntoIterator<Item = Event>) -> Vec<Entry> {
        let entry = |(seq, event)| Entry { seq: seq as u64, time: "2026-11-20T10:00:00.250Z".into(), event };
        events.into_iter().enumerate().map(entry).collect()
    }

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn steps_and_evaluations_become_curves() {
        let dir = tempfile::tempdir().unwrap();
        let mut board = Board::open(dir.path(), vec![]).unwrap();
        for event in [step(1, 2.0), step(2, 1.0), evaluation(2, 0.5), Event::Note { text: "hello".into() }] {
            board.write(&event).unwrap();
        }
        let records = read(dir.path());
        assert_eq!(records[0].what, Some(What::FileVersion(VERSION.into())));
        assert!(records.iter().all(|record| record.wall_time > 1.7e9));
        let curves = curves(dir.path());
        assert_eq!(curves["loss"], [(1, 2.0), (2, 1.0)]);
        assert_eq!(curves["loss/label"], [(1, 0.5), (2, 0.5)]);
        assert_eq!(curves["gradient_norm"], [(1, 0.0), (2, 0.0)], "nothing is a number too");
        assert_eq!(curves["validation/accuracy"], [(2, 0.5)]);
        assert_eq!(curves["validation/loss"], [(2, 1.5)]);
        assert!(!curves.contains_key("loss/rationale"), "there was none");
    }

    #[test]
    fn a_run_that_goes_on_shows_no_step_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Board::open(dir.path(), vec![]).unwrap();
        let before = [step(1, 4.0), step(2, 3.0), step(3, 9.0)];
        before.iter().for_each(|event| first.write(event).unwrap());
        let name = list(dir.path()).unwrap()[0].clone();
        fs::write(dir.path().join("notes.txt"), "mine").unwrap();

        let resumed = before.into_iter().chain([evaluation(3, 0.1), Event::Resume { step: 2 }]);
        let mut second = Board::open(dir.path(), journal(resumed)).unwrap();
        second.write(&step(3, 2.0)).unwrap();
        let curves = curves(dir.path());
        assert_eq!(curves["loss"], [(1, 4.0), (2, 3.0), (3, 2.0)]);
        assert!(!curves.contains_key("validation/accuracy"), "it was of a step that is void");
        assert!(list(dir.path()).unwrap()[0] > name, "it is read after the one before");
        assert!(dir.path().join("notes.txt").exists());
        let records = read(dir.path());
        assert_eq!(records[1].what, Some(What::Session(Session { status: START })));
        assert_eq!(records[2].wall_time.fract(), 0.25, "when it happened, not when it was written again");
    }

    /// A board on a full disk.
    pub fn full() -> Board {
        let path = PathBuf::from("/dev/full");
        Board { file: File::options().write(true).open(&path).unwrap(), path }
    }
}
