//! The rows of a split, read where they lie.
//!
//! A JSONL file of ten million rows must show its first page at once and stay small in memory. So a file is never
//! loaded: a thread walks over it once and notes the byte offset of every 64th row, and a page is read by seeking to
//! the nearest of those. A file that another process appends to is walked on from where the walk ended.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use serde::{Deserialize, Serialize};

use super::Example;
use super::formats::bytes::LONGEST_RECORD;
use crate::files::FileError;
use crate::text;

/// Rows between two noted offsets: 16 bytes for each stretch, so ten million rows take 2.5 MB.
const STRETCH: usize = 64;

/// A row that could not be taken as an example.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {problem}", path.display())]
pub struct RowError {
    pub path: PathBuf,
    /// 1 for the first line of the file.
    pub line: usize,
    pub problem: String,
}

/// One row of a page.
#[derive(Clone, Debug)]
pub struct Row {
    /// 0 for the first row of the split.
    pub number: usize,
    /// Its line in the file, from 1.
    pub line: usize,
    pub example: Result<Example, RowError>,
}

/// Stands in a converted file in the place of a row that could not be converted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unreadable {
    pub unreadable: String,
}

/// How many rows are known so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub rows: usize,
    /// False while the index is still being built.
    pub complete: bool,
}

/// What became of a file since it was indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    None,
    /// Rows came at the end. The last one before them may have been half written.
    Grown,
    /// Another file is there in its place, or a shorter one; it is indexed anew.
    Replaced,
}

/// Where the rows are.
#[derive(Clone)]
pub enum Rows {
    /// A generated data set.
    Memory(Arc<[Example]>),
    /// A JSONL file.
    File(Arc<LineFile>),
}

impl Rows {
    pub fn count(&self) -> Count {
        match self {
            Self::Memory(examples) => Count { rows: examples.len(), complete: true },
            Self::File(file) => file.count(),
        }
    }

    /// Looks whether the file changed, and takes in what did.
    pub fn refresh(&self) -> Result<Change, FileError> {
        match self {
            Self::Memory(_) => Ok(Change::None),
            Self::File(file) => file.refresh(),
        }
    }

    /// Up to `limit` rows from row `start` on.
    pub fn page(&self, start: usize, limit: usize) -> Result<Vec<Row>, FileError> {
        let mut rows = Vec::new();
        self.visit(start, &mut |row| {
            rows.push(row);
            if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        rows.truncate(limit);
        Ok(rows)
    }

    /// Every row from `start` on, until `each` breaks off.
    pub fn visit(&self, start: usize, each: &mut dyn FnMut(Row) -> ControlFlow<()>) -> Result<(), FileError> {
        match self {
            Self::Memory(examples) => {
                for (number, example) in examples.iter().enumerate().skip(start) {
                    if each(Row { number, line: number + 1, example: Ok(example.clone()) }).is_break() {
                        break;
                    }
                }
                Ok(())
            }
            Self::File(file) => file.lines(start, &mut |number, line, bytes| each(file.parse(number, line, bytes))),
        }
    }
}

/// Called with the row number, the line number (from 1) and the bytes of a line.
type EachLine<'a> = &'a mut dyn FnMut(usize, usize, &[u8]) -> ControlFlow<()>;

/// A JSONL file with an index of its rows that grows in the background.
pub struct LineFile {
    path: PathBuf,
    /// The file that errors name: the one that a person knows, where this is a converted copy.
    original: PathBuf,
    /// Another one where the file was replaced.
    index: RwLock<Arc<Index>>,
}

#[derive(Default)]
struct Index {
    /// Byte offset and line number (0 for the first line) at which rows 0, 64, 128 … begin.
    stretches: RwLock<Vec<(u64, usize)>>,
    rows: AtomicUsize,
    complete: AtomicBool,
    /// Tells the thread to end when nobody needs the file any more.
    abandoned: AtomicBool,
    /// Where the walk stands; locked while it goes on.
    walk: Mutex<Walk>,
}

/// How far a file was walked over.
#[derive(Clone, Default)]
struct Walk {
    /// Bytes read, and the last few of them: a file that has others there was written anew.
    offset: u64,
    last: Vec<u8>,
    /// Device and number of the file.
    identity: (u64, u64),
    /// Byte offset and number of the line that is walked over, and whether it is blank so far.
    line_start: u64,
    line: usize,
    is_written: bool,
    /// Rows whose line has ended.
    rows: usize,
}

/// Bytes before the end of the walk that are compared to see whether a file was only appended to.
const COMPARED: usize = 64;

impl Drop for LineFile {
    fn drop(&mut self) {
        self.index().abandoned.store(true, Ordering::Relaxed);
    }
}

impl LineFile {
    /// Opens a file and starts to index it.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Self::open_copy(path, path)
    }

    /// Opens a file that was converted from `original`, line by line.
    pub fn open_copy(path: &Path, original: &Path) -> Result<Self, FileError> {
        let index = Self::start(path)?;
        Ok(Self { path: path.to_owned(), original: original.to_owned(), index: RwLock::new(index) })
    }

    /// Indexes a file from its beginning, in a thread.
    fn start(path: &Path) -> Result<Arc<Index>, FileError> {
        let file = File::open(path).map_err(FileError::on("read", path))?;
        let index = Arc::new(Index::default());
        let building = index.clone();
        std::thread::Builder::new()
            .name("index".into())
            .spawn(move || building.go_on(file))
            .map_err(FileError::on("index", path))?;
        Ok(index)
    }

    fn index(&self) -> Arc<Index> {
        self.index.read().unwrap_or_else(|poison| poison.into_inner()).clone()
    }

    fn count(&self) -> Count {
        let index = self.index();
        // In this order: a count read before "complete" may be too small, never wrong the other way round.
        let complete = index.complete.load(Ordering::Acquire);
        Count { rows: index.rows.load(Ordering::Acquire), complete }
    }

    /// Takes in what was appended, or begins anew where the file is another one.
    fn refresh(&self) -> Result<Change, FileError> {
        let index = self.index();
        if !index.complete.load(Ordering::Acquire) {
            return Ok(Change::None);
        }
        let walk = index.walk.lock().unwrap_or_else(|poison| poison.into_inner()).clone();
        let look = || -> std::io::Result<(File, Change)> {
            let mut file = File::open(&self.path)?;
            let metadata = file.metadata()?;
            if identity(&metadata) != walk.identity || metadata.len() < walk.offset {
                return Ok((file, Change::Replaced));
            }
            if metadata.len() == walk.offset {
                return Ok((file, Change::None));
            }
            file.seek(SeekFrom::Start(walk.offset - walk.last.len() as u64))?;
            let mut last = vec![0; walk.last.len()];
            file.read_exact(&mut last)?;
            Ok((file, if last == walk.last { Change::Grown } else { Change::Replaced }))
        };
        let (file, change) = look().map_err(FileError::on("read", &self.path))?;
        match change {
            Change::None => {}
            Change::Grown => index.go_on(file),
            Change::Replaced => {
                let anew = Self::start(&self.path)?;
                *self.index.write().unwrap_or_else(|poison| poison.into_inner()) = anew;
            }
        }
        Ok(change)
    }

    /// Every line that isn't blank, from row `start` on.
    fn lines(&self, start: usize, each: EachLine) -> Result<(), FileError> {
        let (offset, mut line, mut row) = {
            let index = self.index();
            let stretches = index.stretches.read().unwrap_or_else(|poison| poison.into_inner());
            match stretches.len() {
                0 => (0, 0, 0),
                known => {
                    let stretch = (start / STRETCH).min(known - 1);
                    (stretches[stretch].0, stretches[stretch].1, stretch * STRETCH)
                }
            }
        };
        let mut read = || -> std::io::Result<()> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut reader = BufReader::with_capacity(1 << 16, file);
            let mut bytes = Vec::new();
            loop {
                bytes.clear();
                let read = reader.by_ref().take(LONGEST_RECORD).read_until(b'\n', &mut bytes)?;
                if read == 0 {
                    return Ok(());
                }
                if read as u64 == LONGEST_RECORD && !bytes.ends_with(b"\n") {
                    reader.skip_until(b'\n')?;
                }
                line += 1;
                let content = bytes.trim_ascii();
                if content.is_empty() {
                    continue;
                }
                if row >= start && each(row, line, content).is_break() {
                    return Ok(());
                }
                row += 1;
            }
        };
        read().map_err(FileError::on("read", &self.path))
    }

    fn parse(&self, number: usize, line: usize, bytes: &[u8]) -> Row {
        let bytes = if line == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
        let example = serde_json::from_slice(bytes).map_err(|error| {
            let problem = match serde_json::from_slice(bytes) {
                Ok(Unreadable { unreadable }) => unreadable,
                Err(_) => describe(&error, bytes),
            };
            RowError { path: self.original.clone(), line, problem }
        });
        Row { number, line, example }
    }
}

/// What is wrong with a line, in words, and what to do about it.
pub(super) fn describe(error: &serde_json::Error, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut message = error.to_string();
    if let Some(at) = message.rfind(" at line ") {
        message.truncate(at);
    }
    let message = text::line(&message).into_owned();
    if std::str::from_utf8(bytes).is_err() {
        return "not valid UTF-8 · convert the file, for example with iconv".into();
    }
    match error.classify() {
        serde_json::error::Category::Data if message.starts_with("missing field") => {
            format!("{message} · map the file's own fields with `afterthought data import --format mapping`")
        }
        serde_json::error::Category::Eof => format!("the line breaks off: {}", text::excerpt(&text, 60)),
        _ => format!("{message} (column {}): {}", error.column(), text::excerpt(&text, 60)),
    }
}

fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Index {
    /// Walks on to the end of the file. Any failure ends the index early; reading pages then reports it.
    fn go_on(&self, mut file: File) {
        let mut walk = self.walk.lock().unwrap_or_else(|poison| poison.into_inner());
        let Ok(metadata) = file.metadata() else { return };
        walk.identity = identity(&metadata);
        if file.seek(SeekFrom::Start(walk.offset)).is_err() {
            return;
        }
        // A last line that had not ended was counted and noted; it is again when it ends.
        self.stretches.write().unwrap_or_else(|poison| poison.into_inner()).truncate(walk.rows.div_ceil(STRETCH));
        let mut buffer = vec![0u8; 1 << 20];
        let mut found: Vec<(u64, usize)> = Vec::new();
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            if self.abandoned.load(Ordering::Relaxed) {
                return;
            }
            walk.take(&buffer[..read], &mut found);
            self.publish(&mut found, walk.rows);
        }
        let mut rows = walk.rows;
        if walk.is_written {
            if rows.is_multiple_of(STRETCH) {
                found.push((walk.line_start, walk.line));
            }
            rows += 1;
        }
        self.publish(&mut found, rows);
        self.complete.store(true, Ordering::Release);
    }

    fn publish(&self, found: &mut Vec<(u64, usize)>, rows: usize) {
        self.stretches.write().unwrap_or_else(|poison| poison.into_inner()).append(found);
        self.rows.store(rows, Ordering::Release);
    }
}

impl Walk {
    /// Walks over the next bytes and notes where stretches begin.
    fn take(&mut self, bytes: &[u8], found: &mut Vec<(u64, usize)>) {
        let mut from = 0;
        for at in memchr::memchr_iter(b'\n', bytes) {
            self.is_written = self.is_written || !bytes[from..at].trim_ascii().is_empty();
            if self.is_written {
                if self.rows.is_multiple_of(STRETCH) {
                    found.push((self.line_start, self.line));
                }
                self.rows += 1;
            }
            from = at + 1;
            self.line += 1;
            self.line_start = self.offset + from as u64;
            self.is_written = false;
        }
        self.is_written = self.is_written || !bytes[from..].trim_ascii().is_empty();
        self.offset += bytes.len() as u64;
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(COMPARED)..]);
        let surplus = self.last.len().saturating_sub(COMPARED);
        self.last.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn wait(rows: &Rows) -> usize {
        while !rows.count().complete {
            std::thread::yield_now();
        }
        rows.count().rows
    }

    fn file_of(lines: &[String]) -> (tempfile::NamedTempFile, Rows) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        let rows = Rows::File(Arc::new(LineFile::open(file.path()).unwrap()));
        (file, rows)
    }

    fn row(number: usize) -> String {
        format!(r#"{{"id":"q{number}","question":"{}","choices":[]}}"#, "x".repeat(number % 90))
    }

    #[test]
    fn any_page_can_be_read_whatever_lies_between() {
        let mut lines: Vec<String> = (0..1000).map(row).collect();
        lines.insert(300, String::new());
        lines.insert(301, "  \r".into());
        let (_file, rows) = file_of(&lines);
        assert_eq!(wait(&rows), 1000);
        for start in [0, 1, 63, 64, 299, 300, 301, 640, 995] {
            let page = rows.page(start, 10).unwrap();
            assert_eq!(page.len(), 10.min(1000 - start));
            for (place, row) in page.iter().enumerate() {
                assert_eq!(row.number, start + place);
                assert_eq!(row.example.as_ref().unwrap().id, format!("q{}", start + place));
            }
        }
    }

    #[test]
    fn a_bad_row_names_its_line_and_the_others_are_read() {
        let mut lines: Vec<String> = (0..5).map(row).collect();
        lines.insert(2, String::new());
        lines[3] = r#"{"id":"q2","choices":[]}"#.into();
        let (file, rows) = file_of(&lines);
        let page = rows.page(0, 10).unwrap();
        assert_eq!(page.len(), 5);
        let error = page[2].example.as_ref().unwrap_err();
        assert_eq!((error.line, &error.path), (4, &file.path().to_owned()));
        assert!(error.problem.contains("missing field `question`") && error.problem.contains("data import"));
        assert!(page[3].example.is_ok());
    }

    #[test]
    fn a_growing_file_is_followed_row_by_row() {
        let lines: Vec<String> = (0..130).map(row).collect();
        let whole = lines.join("\n") + "\n";
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let rows = Rows::File(Arc::new(LineFile::open(file.path()).unwrap()));
        assert_eq!(wait(&rows), 0);
        // Pieces that end anywhere, in the middle of rows too.
        for piece in whole.as_bytes().chunks(97) {
            file.write_all(piece).unwrap();
            assert_eq!(rows.refresh().unwrap(), Change::Grown);
        }
        assert_eq!(rows.refresh().unwrap(), Change::None);
        assert_eq!(wait(&rows), 130);
        for start in [0, 63, 64, 65, 127, 128, 129] {
            assert_eq!(rows.page(start, 1).unwrap()[0].example.as_ref().unwrap().id, format!("q{start}"));
        }
    }

    #[test]
    fn a_file_written_anew_is_indexed_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.jsonl");
        let write = |numbers: std::ops::Range<usize>| {
            std::fs::write(&path, numbers.map(row).collect::<Vec<_>>().join("\n")).unwrap();
        };
        write(0..20);
        let rows = Rows::File(Arc::new(LineFile::open(&path).unwrap()));
        assert_eq!(wait(&rows), 20);
        for (written, first) in [(3..10, "q3"), (50..90, "q50")] {
            let count = written.len();
            // Shorter in its place, then longer in its place.
            write(written);
            assert_eq!(rows.refresh().unwrap(), Change::Replaced);
            assert_eq!(
                (wait(&rows), rows.page(0, 1).unwrap()[0].example.as_ref().unwrap().id.as_str()),
                (count, first)
            );
        }
        let other = folder.path().join("other");
        std::fs::copy(&path, &other).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!((rows.refresh().unwrap(), wait(&rows)), (Change::Replaced, 40));
        std::fs::remove_file(&path).unwrap();
        assert!(rows.refresh().unwrap_err().to_string().contains("train.jsonl"));
    }

    #[test]
    fn hostile_bytes_are_quoted_safely() {
        let (_file, rows) = file_of(&["\u{1b}[2J{".into()]);
        let page = rows.page(0, 1).unwrap();
        let message = page[0].example.as_ref().unwrap_err().to_string();
        assert!(message.contains("␛[2J"), "{message}");
    }
}
