//! Any file as a stream of records: JSONL, JSON, CSV, TSV or Parquet, plain or through gzip or zstd.
//!
//! A record that can't be read is handed over with the reason and the stream goes on; only a file that is damaged as a
//! whole, such as half a gzip file, ends it with an error. Memory is bounded by the longest record.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::{Map, Value};

use super::bytes::{self, Budget, Compression, Meter};
use super::json::{Document, Elements};
use super::parquet::ParquetRows;
use crate::corpus::rows::describe;
use crate::corpus::{did_you_mean, nearest};
use crate::files::FileError;
use crate::text;

/// What a file holds, whatever it is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Jsonl,
    Json,
    Csv,
    Tsv,
    Parquet,
}

impl Kind {
    pub const ALL: [(&str, Self); 5] = [
        ("jsonl", Self::Jsonl),
        ("json", Self::Json),
        ("csv", Self::Csv),
        ("tsv", Self::Tsv),
        ("parquet", Self::Parquet),
    ];

    /// By the ending of a file's name, with the name before it: `train` and JSONL for `train.jsonl.gz`.
    pub fn by_ending(name: &str) -> Option<(&str, Self)> {
        let (stem, ending) = Compression::by_ending(name).1.rsplit_once('.')?;
        let kind = match ending {
            "ndjson" => Self::Jsonl,
            "pq" => Self::Parquet,
            ending => ending.parse().ok()?,
        };
        Some((stem, kind))
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, kind)| *kind).ok_or_else(|| {
            let nearest = nearest(name, Self::ALL.map(|(known, _)| known));
            format!("unknown kind of file `{}`{}", text::line(name), did_you_mean(&nearest))
        })
    }
}

/// A file can't be read as records at all.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("can't tell what kind of file {} is · say it with --file-kind jsonl, json, csv, tsv or parquet", path.display())]
    UnknownKind { path: PathBuf },
    #[error("{} can't be read {place}: {problem} · the file is cut short or damaged: get it once more", path.display())]
    Damaged { path: PathBuf, place: AfterRecord, problem: String },
    #[error("{}: {problem}", path.display())]
    Header { path: PathBuf, problem: String },
}

/// Up to where a damaged file could be read.
#[derive(Debug)]
pub struct AfterRecord(usize);

impl fmt::Display for AfterRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("from its beginning"),
            records => write!(f, "after record {records}"),
        }
    }
}

/// One record, or why it can't be read.
#[derive(Debug)]
pub struct Record {
    /// The line on which it begins, from 1; in a JSON array or object and in Parquet, where records have no lines of
    /// their own, the number of the record.
    pub line: usize,
    /// The key under which it stands in an object of objects.
    pub key: Option<String>,
    pub value: Result<Value, String>,
}

/// The records of an opened file.
pub struct Records {
    path: PathBuf,
    meter: Meter,
    source: Source,
    taken: usize,
    failed: bool,
}

enum Source {
    Lines(Lines),
    Elements(Elements, Budget),
    Table(Table, Budget),
    Parquet(ParquetRows),
}

impl Records {
    /// Opens a file. Its kind is told by its name where it isn't given.
    pub fn open(path: &Path, kind: Option<Kind>) -> Result<Self, RecordsError> {
        let bytes = bytes::open(path)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let kind = kind.or_else(|| Kind::by_ending(&name).map(|(_, kind)| kind)).or(match bytes.head.as_slice() {
            b"PAR1" => Some(Kind::Parquet),
            [b'{' | b'[', ..] => Some(Kind::Json),
            _ => None,
        });
        let kind = kind.ok_or_else(|| RecordsError::UnknownKind { path: path.to_owned() })?;
        let (budget, meter) = (bytes.reader.budget(), bytes.meter.clone());
        let source = match kind {
            Kind::Jsonl => Source::Lines(Lines { reader: Box::new(bytes.reader), budget, line: 0 }),
            Kind::Json => match super::json::open(Box::new(bytes.reader)).map_err(|error| broken(path, 0, error))? {
                Document::Lines(reader) => {
                    Source::Lines(Lines { reader: Box::new(BufReader::new(reader)), budget, line: 0 })
                }
                Document::Elements(elements) => Source::Elements(elements, budget),
            },
            Kind::Csv => Source::Table(Table::open(path, Box::new(bytes.reader), b',')?, budget),
            Kind::Tsv => Source::Table(Table::open(path, Box::new(bytes.reader), b'\t')?, budget),
            Kind::Parquet => {
                let damaged = |problem| RecordsError::Damaged { path: path.to_owned(), place: AfterRecord(0), problem };
                Source::Parquet(ParquetRows::open(seekable(path, bytes)?).map_err(damaged)?)
            }
        };
        Ok(Self { path: path.to_owned(), meter, source, taken: 0, failed: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether [`Record::line`] is the number of the record and not of its line.
    pub fn numbered(&self) -> bool {
        match &self.source {
            Source::Lines(_) | Source::Table(..) => false,
            Source::Elements(elements, _) => elements.numbered(),
            Source::Parquet(_) => true,
        }
    }

    /// Bytes read and the length of the file, both as it lies on the disk.
    pub fn progress(&self) -> (u64, u64) {
        match &self.source {
            Source::Parquet(rows) => {
                let share = self.taken as f64 / rows.total.max(1) as f64;
                ((share.min(1.0) * self.meter.total as f64) as u64, self.meter.total)
            }
            _ => (self.meter.read(), self.meter.total),
        }
    }

    fn read(&mut self) -> io::Result<Option<Record>> {
        let number = self.taken + 1;
        match &mut self.source {
            Source::Lines(lines) => lines.read(),
            Source::Elements(elements, budget) => {
                budget.renew();
                let numbered = elements.numbered();
                let record = elements.next().transpose()?.map(|element| Record {
                    line: if numbered { number } else { element.line },
                    key: element.key,
                    value: parse(&element.bytes),
                });
                Ok(record)
            }
            Source::Table(table, budget) => {
                budget.renew();
                table.read()
            }
            Source::Parquet(rows) => match rows.read() {
                Ok(row) => Ok(row.map(|value| Record { line: number, key: None, value })),
                Err(problem) => Err(io::Error::new(io::ErrorKind::InvalidData, problem)),
            },
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordsError>;

    /// The next record. An error is the last thing that a file gives.
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let record = self.read().map_err(|error| broken(&self.path, self.taken, error)).transpose();
        self.taken += usize::from(matches!(record, Some(Ok(_))));
        self.failed = matches!(record, Some(Err(_)));
        record
    }
}

/// Parquet is read from its end, so what is compressed or a pipe is unpacked first.
fn seekable(path: &Path, mut bytes: bytes::Bytes) -> Result<File, FileError> {
    if bytes.compression == Compression::None && bytes.meter.total > 0 {
        return File::open(path).map_err(FileError::on("read", path));
    }
    let mut unpack = || -> io::Result<File> {
        let mut file = tempfile::tempfile()?;
        let budget = bytes.reader.budget();
        loop {
            budget.renew();
            if io::copy(&mut (&mut bytes.reader).take(bytes::LONGEST_RECORD / 2), &mut file)? == 0 {
                return Ok(file);
            }
        }
    };
    unpack().map_err(FileError::on("unpack", path))
}

/// An error in the middle of a file: most often the file itself is broken.
fn broken(path: &Path, read: usize, error: io::Error) -> RecordsError {
    match error.kind() {
        // Decompressors use these for damaged input.
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::InvalidData
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::Other => {
            RecordsError::Damaged { path: path.to_owned(), place: AfterRecord(read), problem: error.to_string() }
        }
        _ => FileError::on("read", path)(error).into(),
    }
}

fn parse(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| describe(&error, bytes))
}

/// One JSON value in each line that isn't blank.
struct Lines {
    reader: Box<dyn BufRead + Send>,
    budget: Budget,
    line: usize,
}

impl Lines {
    fn read(&mut self) -> io::Result<Option<Record>> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            self.budget.renew();
            if self.reader.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            let content = bytes.trim_ascii();
            if !content.is_empty() {
                return Ok(Some(Record { line: self.line, key: None, value: parse(content) }));
            }
        }
    }
}

/// A table with a header. Cells are text; an empty cell is no value.
struct Table {
    reader: csv::Reader<Box<dyn Read + Send>>,
    columns: Vec<String>,
}

impl Table {
    fn open(path: &Path, reader: Box<dyn Read + Send>, delimiter: u8) -> Result<Self, RecordsError> {
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(reader);
        let header = reader.byte_headers().map_err(|error| broken(path, 0, io_error(error)))?;
        let mut columns: Vec<String> = Vec::new();
        for (place, name) in header.iter().enumerate() {
            let wrong = |problem: String| RecordsError::Header { path: path.to_owned(), problem };
            let name = match std::str::from_utf8(name).map(str::trim) {
                Ok("") => format!("column {}", place + 1),
                Ok(name) => name.to_owned(),
                Err(_) => {
                    return Err(wrong(
                        "the header is not valid UTF-8 · convert the file, for example with iconv".into(),
                    ));
                }
            };
            if columns.contains(&name) {
                return Err(wrong(format!("two columns are named `{}` · rename one of them", text::line(&name))));
            }
            columns.push(name);
        }
        Ok(Self { reader, columns })
    }

    fn read(&mut self) -> io::Result<Option<Record>> {
        let mut cells = csv::ByteRecord::new();
        let value = match self.reader.read_byte_record(&mut cells) {
            Ok(false) => return Ok(None),
            Ok(true) => self.object(&cells),
            Err(error) => match error.kind() {
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    Err(format!("the row has {len} cells and the header {expected_len}"))
                }
                _ => return Err(io_error(error)),
            },
        };
        let line = cells.position().map_or(0, |position| position.line() as usize);
        Ok(Some(Record { line, key: None, value }))
    }

    fn object(&self, cells: &csv::ByteRecord) -> Result<Value, String> {
        let mut fields = Map::new();
        for (column, cell) in self.columns.iter().zip(cells) {
            let cell = match std::str::from_utf8(cell) {
                Ok("") => Value::Null,
                Ok(cell) => cell.into(),
                Err(_) => {
                    let column = text::line(column);
                    return Err(format!("`{column}` is not valid UTF-8 · convert the file, for example with iconv"));
                }
            };
            fields.insert(column.clone(), cell);
        }
        Ok(Value::Object(fields))
    }
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    type Line = (usize, Result<Value, String>);

    /// Every record as its line and its value, or the reason why there is none.
    fn read(name: &str, bytes: &[u8]) -> Result<Vec<Line>, RecordsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut records = Records::open(&path, None)?;
        let found = records.by_ref().map(|record| record.map(|record| (record.line, record.value))).collect();
        if records.next().is_none() && !records.failed {
            assert_eq!(records.progress().0, records.progress().1);
        }
        found
    }

    #[test]
    fn a_bad_line_is_handed_over_with_its_reason() {
        let found = read("a.jsonl", b"{\"a\":1}\n\n{\"a\":\r\n{\"a\":3}").unwrap();
        assert_eq!(found[0], (1, Ok(json!({"a": 1}))));
        assert_eq!((found[1].0, found[2].0), (3, 4));
        assert!(found[1].1.as_ref().unwrap_err().contains("the line breaks off"));
    }

    #[test]
    fn every_kind_gives_the_same_records_plain_and_compressed() {
        let expected = vec![Ok(json!({"id": "x", "q": "a, \"b\""})), Ok(json!({"id": "y", "q": null}))];
        for (name, text) in [
            ("a.jsonl", "{\"id\":\"x\",\"q\":\"a, \\\"b\\\"\"}\n{\"id\":\"y\",\"q\":null}\n"),
            ("a.json", "[{\"id\":\"x\",\"q\":\"a, \\\"b\\\"\"},{\"id\":\"y\",\"q\":null}]"),
            ("a.csv", "\u{feff}id,q\nx,\"a, \"\"b\"\"\"\ny,\n"),
            ("a.tsv", "id\tq\nx\t\"a, \"\"b\"\"\"\ny\t\n"),
        ] {
            for (ending, bytes) in [
                ("", text.as_bytes().to_vec()),
                (".gz", gzip(text.as_bytes())),
                (".zst", zstd::stream::encode_all(text.as_bytes(), 1).unwrap()),
            ] {
                let found = read(&format!("{name}{ending}"), &bytes).unwrap();
                assert_eq!(found.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), expected, "{name}{ending}");
            }
        }
    }

    #[test]
    fn a_short_row_and_a_row_in_another_encoding_cost_only_themselves() {
        let found = read("a.csv", b"id,q\n1,\"two\nlines\"\n2\n3,caf\xe9\n4,d\n").unwrap();
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 4, 5, 6]);
        assert_eq!(found[1].1.as_ref().unwrap_err(), "the row has 1 cells and the header 2");
        assert!(found[2].1.as_ref().unwrap_err().contains("`q` is not valid UTF-8"));
        assert_eq!(found[3].1, Ok(json!({"id": "4", "q": "d"})));
    }

    #[test]
    fn half_a_gzip_file_says_how_far_it_could_be_read() {
        let text: String = (0..20_000).map(|n| format!("{{\"id\":\"{n}\"}}\n")).collect();
        let whole = gzip(text.as_bytes());
        let error = read("a.jsonl.gz", &whole[..whole.len() / 2]).unwrap_err().to_string();
        assert!(error.contains("a.jsonl.gz can't be read after record ") && error.contains("cut short"), "{error}");
    }

    #[test]
    fn records_of_one_document_are_numbered() {
        let found = read("a.json", br#"{"x": {"q": 1}, "y": {"q": tru}, "z": {"q": 3}}"#).unwrap();
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(found[1].1.is_err() && found[2].1.is_ok());
    }

    #[test]
    fn a_file_without_a_telling_name_is_recognised_or_asked_about() {
        assert_eq!(read("dump", b"[{\"a\": 1}]").unwrap(), [(1, Ok(json!({"a": 1})))]);
        let error = read("dump", b"id,q\n").unwrap_err().to_string();
        assert!(error.contains("--file-kind"), "{error}");
        assert_eq!(Kind::by_ending("train.v2.jsonl.zst"), Some(("train.v2", Kind::Jsonl)));
        assert_eq!("jsnol".parse::<Kind>().unwrap_err(), "unknown kind of file `jsnol` · did you mean `jsonl`?");
    }

    #[test]
    fn a_header_that_names_a_column_twice_is_refused() {
        let error = read("a.csv", b"id,q,q\n").unwrap_err().to_string();
        assert!(error.contains("two columns are named `q`"), "{error}");
    }
}
