//! Makes a data set of published files, or adds to one that is there: whole or not at all.
//!
//! A row that can't be taken is reported with its file, line and reason, and the import goes on; nothing takes its place
//! among the data sets before the last row was read.

mod questions;
mod rationales;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::formats::mapping::Mapping;
use super::formats::records::{Kind, Records};
use super::formats::{Format, Place, Taken};
use super::{Catalog, CorpusError, spool};
use crate::files::FileError;
use crate::text;

/// Rows between two reports of progress.
const PROGRESS_EVERY: usize = 256;

/// What to import, and into what.
#[derive(Clone, Debug)]
pub struct Request {
    /// The data set to make, or to add to.
    pub name: String,
    pub format: Format,
    pub inputs: Vec<Input>,
    /// What the files hold, where their names don't tell.
    pub kind: Option<Kind>,
    /// How fields are found, for the formats that leave it open.
    pub mapping: Mapping,
    /// The name of the rationale source, for the formats that are rationales.
    pub source: Option<String>,
    pub licence: Option<String>,
    /// Put the new one in the place of what has its name.
    pub replace: bool,
    /// Add to the data set instead of making it.
    pub add: bool,
    /// Take all rows or none.
    pub strict: bool,
}

/// A file to read.
#[derive(Clone, Debug)]
pub struct Input {
    /// The split that it holds, or whose questions its rationales are for; `None` where they may be for any.
    pub split: Option<String>,
    pub path: PathBuf,
}

impl Request {
    /// The splits in the order in which they were named.
    fn splits(&self) -> Vec<Option<&str>> {
        let mut splits = Vec::new();
        for split in self.inputs.iter().map(|input| input.split.as_deref()) {
            if !splits.contains(&split) {
                splits.push(split);
            }
        }
        splits
    }
}

/// What happens during an import.
#[derive(Debug)]
pub enum Event {
    /// Bytes of the files as they lie on the disk.
    Progress {
        read: u64,
        total: u64,
    },
    Skipped(Skipped),
    /// Every row was read, and nothing is in its place yet.
    Read,
}

/// Who is told of everything that happens; an error ends the import, which then leaves nothing.
pub type Watch<'a> = &'a mut dyn FnMut(Event) -> Result<(), FileError>;

/// A row that was not taken.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    pub file: PathBuf,
    /// The line, or the number of the record where records have no lines of their own.
    pub line: usize,
    pub counted: Counted,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    pub reason: String,
}

/// What [`Skipped::line`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    Lines,
    Records,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.counted {
            Counted::Lines => write!(f, "{file}:{}: {}", self.line, self.reason),
            Counted::Records => write!(f, "{file}, record {}: {}", self.line, self.reason),
        }
    }
}

/// What was imported.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub dataset: String,
    pub folder: PathBuf,
    /// In the order in which they were named.
    #[serde(serialize_with = "super::as_map")]
    pub splits: Vec<(String, Counts)>,
    /// Rationales by source.
    pub sources: BTreeMap<String, usize>,
    pub skipped: usize,
    /// What may be wrong though rows were taken.
    pub notes: Vec<String>,
}

/// Rows of one split.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Of questions; rationales for questions that are there already make none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<usize>,
    pub rationales: usize,
    pub skipped: usize,
}

/// An import that can't be done, or must not.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("`{name}` can't be a name: use letters, digits, - _ . + and begin with a letter or a digit")]
    Name { name: String },
    #[error("there is a data set `{name}` already · choose another name, --replace it or --add splits to it")]
    Exists { name: String },
    #[error("{dataset} has a split `{split}` already · put the new one in its place with --add --replace")]
    SplitExists { dataset: String, split: String },
    #[error(
        "{dataset} has rationales of a source `{name}` already · --replace them, --add to them or name another --source"
    )]
    SourceExists { dataset: String, name: String },
    #[error(
        "`{name}` is built in and has no folder to add to · make one with `afterthought data generate toyworld --as NAME`"
    )]
    BuiltIn { name: String },
    #[error("no row of {what} could be taken, so nothing was imported; the first: {first}")]
    NothingTaken { what: String, first: String },
    #[error("{what} has no rows, so nothing was imported · are these the right files?")]
    NoRows { what: String },
    #[error("{skipped} rows could not be taken, so nothing was imported · leave out --strict to import the others")]
    Strict { skipped: usize },
}

/// Imports, and calls `watch` as it goes on.
pub fn import(catalog: &Catalog, request: &Request, watch: Watch) -> Result<Summary, CorpusError> {
    let splits = request.inputs.iter().filter_map(|input| input.split.as_deref());
    // What a person has named a folder is no matter here.
    let is_new = !catalog.names().contains(&request.name);
    for name in splits.chain(request.source.as_deref()).chain(is_new.then_some(request.name.as_str())) {
        check_name(name)?;
    }
    let reading = Reading::new(request, watch)?;
    match request.format.joins() {
        true => rationales::import(catalog, request, reading),
        false => questions::import(catalog, request, reading),
    }
}

/// A name of a data set, a split or a source becomes the name of a file, and of nothing outside its folder.
pub fn check_name(name: &str) -> Result<(), CorpusError> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    let file = format!("{name}.jsonl");
    let is_name = name.len() <= 100
        && name.starts_with(char::is_alphanumeric)
        && name.chars().all(plain)
        && spool::split_stem(&file) == Some(name);
    if is_name { Ok(()) } else { Err(ImportError::Name { name: text::excerpt(name, 40) }.into()) }
}

/// Why a row was not taken, or why nothing more can be.
enum Refusal {
    Row(String),
    Stop(CorpusError),
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Self {
        Self::Stop(error.into())
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Row(reason)
    }
}

/// Reads the files of a request, split by split.
struct Reading<'a> {
    request: &'a Request,
    watch: Watch<'a>,
    /// The files in the order of the request, each until it is read: a pipe can't be opened twice.
    files: Vec<Option<Records>>,
    /// Bytes of the files that were read to their end, and of all.
    read: u64,
    total: u64,
    skipped: usize,
}

impl<'a> Reading<'a> {
    /// Opens every file, so that one that isn't there is missed before the first is read.
    fn new(request: &'a Request, watch: Watch<'a>) -> Result<Self, CorpusError> {
        let mut files = Vec::new();
        for input in &request.inputs {
            files.push(Some(Records::open(&input.path, request.kind)?));
        }
        let total = files.iter().flatten().map(|file| file.progress().1).sum();
        Ok(Self { request, watch, files, read: 0, total, skipped: 0 })
    }

    /// Hands every row of a split over to `take`. Gives the number of those that were not taken; an error where none was.
    fn split(
        &mut self,
        split: Option<&str>,
        take: &mut dyn FnMut(Taken) -> Result<(), Refusal>,
    ) -> Result<usize, CorpusError> {
        let request = self.request;
        let (mut number, mut skipped, mut first) = (0, 0, None);
        for (place, input) in request.inputs.iter().enumerate().filter(|(_, input)| input.split.as_deref() == split) {
            let Some(mut records) = self.files[place].take() else { continue };
            while let Some(record) = records.next() {
                let record = record?;
                number += 1;
                let place = Place { split: split.unwrap_or("row"), number, key: record.key.as_deref() };
                let taken = record.value.and_then(|value| request.format.take(&value, &place, &request.mapping));
                match taken.map_err(Refusal::Row).and_then(&mut *take) {
                    Ok(()) => {}
                    Err(Refusal::Stop(error)) => return Err(error),
                    Err(Refusal::Row(reason)) => {
                        let row = Skipped {
                            file: input.path.clone(),
                            line: record.line,
                            counted: if records.numbered() { Counted::Records } else { Counted::Lines },
                            split: split.map(str::to_owned),
                            reason: text::line(&reason).into_owned(),
                        };
                        skipped += 1;
                        first.get_or_insert_with(|| row.to_string());
                        (self.watch)(Event::Skipped(row))?;
                    }
                }
                if number.is_multiple_of(PROGRESS_EVERY) {
                    (self.watch)(Event::Progress { read: self.read + records.progress().0, total: self.total })?;
                }
            }
            self.read += records.progress().1;
            (self.watch)(Event::Progress { read: self.read, total: self.total })?;
        }
        self.skipped += skipped;
        let what = split.map_or_else(|| "the files".to_owned(), |split| format!("the split {split}"));
        match first {
            _ if number > skipped => Ok(skipped),
            Some(first) => Err(ImportError::NothingTaken { what, first }.into()),
            None => Err(ImportError::NoRows { what }.into()),
        }
    }

    /// The number of rows that were not taken, where that is allowed. Called when everything is written but not yet in
    /// its place.
    fn finish(self) -> Result<usize, CorpusError> {
        (self.watch)(Event::Read)?;
        match self.skipped {
            skipped if skipped > 0 && self.request.strict => Err(ImportError::Strict { skipped }.into()),
            skipped => Ok(skipped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// A folder with published files and a place for data sets.
    pub struct Desk {
        dir: tempfile::TempDir,
        pub catalog: Catalog,
    }

    impl Desk {
        pub fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let catalog = Catalog::new(dir.path());
            Self { dir, catalog }
        }

        pub fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }

        pub fn datasets(&self) -> Vec<String> {
            names(self.catalog.folder())
        }

        pub fn folder(&self, name: &str) -> PathBuf {
            self.catalog.folder().join(name)
        }
    }

    pub fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn request(format: Format, name: &str, splits: &[(&str, &Path)]) -> Request {
        let input = |(split, path): &(&str, &Path)| Input {
            split: (!split.is_empty()).then(|| (*split).to_owned()),
            path: path.to_path_buf(),
        };
        Request {
            name: name.into(),
            format,
            inputs: splits.iter().map(input).collect(),
            kind: None,
            mapping: Mapping::default(),
            source: None,
            licence: None,
            replace: false,
            add: false,
            strict: false,
        }
    }

    /// Runs an import and gives what it skipped beside its result.
    pub fn run(desk: &Desk, request: &Request) -> (Result<Summary, CorpusError>, Vec<Skipped>) {
        let mut skipped = Vec::new();
        let result = import(&desk.catalog, request, &mut |event| {
            match event {
                Event::Skipped(row) => skipped.push(row),
                Event::Progress { read, total } => assert!(read <= total),
                Event::Read => {}
            }
            Ok(())
        });
        (result, skipped)
    }

    #[test]
    fn names_reach_nothing_outside_their_folder() {
        for name in ["train", "llama-3-70b_v1.1", "données", "c++"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "..", "a/b", ".hidden", "edits", "a b", "a\u{1b}", "-x", &"x".repeat(200)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_missing_file_is_missed_before_anything_is_made() {
        let desk = Desk::new();
        let there = desk.file("a.jsonl", "{\"id\":\"q\",\"question\":\"?\",\"choices\":[\"x\"]}\n");
        let missing = desk.folder("missing.jsonl");
        let (result, _) = run(&desk, &request(Format::Mapping, "mine", &[("train", &there), ("test", &missing)]));
        let error = result.unwrap_err().to_string();
        assert!(error.contains("can't read") && error.contains("missing.jsonl"), "{error}");
        assert!(desk.datasets().is_empty());
    }
}
