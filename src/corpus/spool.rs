//! Splits that can't be read by seeking: compressed ones, tables, Parquet and JSON documents.
//!
//! Such a file is converted once to JSONL under `.cache/` and read from there; the copy carries the size and the time of
//! the original in its name, so a changed original is converted again. Every row stands on the line that it had before,
//! with blank lines between, so that errors name a line of the original.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::formats::Place;
use super::formats::bytes::Compression;
use super::formats::mapping::Mapping;
use super::formats::records::{Kind, Record, Records, RecordsError};
use super::rows::{RowError, Unreadable};
use super::{CorpusError, Example, SourceRationale};
use crate::files::{self, FileError};

/// Counts up when rows are converted in another way than before.
const VERSION: u64 = 1;

/// Files beside the splits that have their endings.
const NO_SPLITS: [&str; 4] = ["edits", "predictions", "dataset_info", "dataset_infos"];

/// The split name of a data file, such as `train` for `train.jsonl` or `train.csv.gz`; `None` for other files.
pub fn split_stem(file: &str) -> Option<&str> {
    let (stem, _) = Kind::by_ending(file)?;
    (!stem.is_empty() && !stem.starts_with('.') && !NO_SPLITS.contains(&stem)).then_some(stem)
}

/// The JSONL file behind a split file: the file itself, or its converted copy, which is made now if need be.
pub fn as_jsonl(folder: &Path, file: &str) -> Result<PathBuf, CorpusError> {
    let path = folder.join(file);
    if is_plain(&path)? {
        return Ok(path);
    }
    let copy = copy_name(&path)?;
    let kept = folder.join(".cache");
    if kept.join(&copy).exists() {
        return Ok(kept.join(copy));
    }
    let home = match files::create_dir(&kept).and_then(|()| probe(&kept)) {
        Ok(()) => kept,
        // Somebody else's folder: a shared data set is read-only to most of those who read it.
        Err(error) => user_cache(folder).ok_or(error)?,
    };
    files::create_dir(&home)?;
    let target = home.join(&copy);
    if !target.exists() {
        convert(&path, &target)?;
        remove_older(&home, &path, &copy);
    }
    Ok(target)
}

/// Whether reading the split would convert its file first.
pub fn must_convert(folder: &Path, file: &str) -> Result<bool, CorpusError> {
    let path = folder.join(file);
    if is_plain(&path)? {
        return Ok(false);
    }
    let copy = copy_name(&path)?;
    let homes = [Some(folder.join(".cache")), user_cache(folder)];
    Ok(!homes.into_iter().flatten().any(|home| home.join(&copy).exists()))
}

/// Calls `each` with the line and the rationale, or why there is none, of every row of a rationale source.
pub fn read_rationales(
    path: &Path,
    mut each: impl FnMut(usize, Result<SourceRationale, RowError>),
) -> Result<(), RecordsError> {
    let mapping = Mapping::default();
    for record in Records::open(path, None)? {
        let Record { line, key, value } = record?;
        let failed = |problem| RowError { path: path.to_owned(), line, problem };
        let place = Place { split: "", number: line, key: key.as_deref() };
        match value.and_then(|value| rationales(value, &place, &mapping)) {
            Ok(rationales) => rationales.into_iter().for_each(|rationale| each(line, Ok(rationale))),
            Err(problem) => each(line, Err(failed(problem))),
        }
    }
    Ok(())
}

/// Calls `each` with every rationale of a source; the first bad row is an error.
pub fn each_rationale(
    path: &Path,
    mut each: impl FnMut(SourceRationale) -> Result<(), CorpusError>,
) -> Result<(), CorpusError> {
    let mut failed = None;
    read_rationales(path, |_, rationale| {
        if failed.is_none() {
            failed = rationale.map_err(CorpusError::from).and_then(&mut each).err();
        }
    })?;
    failed.map_or(Ok(()), Err)
}

fn rationales(value: Value, place: &Place, mapping: &Mapping) -> Result<Vec<SourceRationale>, String> {
    match serde_json::from_value(value.clone()) {
        Ok(rationale) => Ok(vec![rationale]),
        // A table has its numbers as text.
        Err(_) => mapping.rationales(&value, place),
    }
}

/// Whether a file is JSONL as it lies there.
fn is_plain(path: &Path) -> Result<bool, FileError> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let jsonl = matches!(Kind::by_ending(name), Some((_, Kind::Jsonl)));
    Ok(jsonl && Compression::of_file(path)? == Compression::None)
}

fn copy_name(path: &Path) -> Result<String, FileError> {
    let metadata = fs::metadata(path).map_err(FileError::on("read", path))?;
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let stamp = [VERSION, metadata.len(), changed.as_secs(), u64::from(changed.subsec_nanos())];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("{name}.{}.jsonl", short_hash(&stamp.map(u64::to_le_bytes).concat())))
}

fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether files can be made in a folder.
fn probe(folder: &Path) -> Result<(), FileError> {
    tempfile::tempfile_in(folder).map(drop).map_err(FileError::on("write in", folder))
}

/// Where this user keeps copies of what lies in a folder that can't be written.
fn user_cache(folder: &Path) -> Option<PathBuf> {
    let absolute = |path: std::ffi::OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let home = std::env::var_os("XDG_CACHE_HOME")
        .and_then(absolute)
        .or_else(|| Some(std::env::var_os("HOME").and_then(absolute)?.join(".cache")))?;
    let folder = folder.canonicalize().ok()?;
    Some(home.join("afterthought").join(short_hash(folder.as_os_str().as_encoded_bytes())))
}

/// Removes copies of earlier states of a file. One that is still being read stays readable until it is closed.
fn remove_older(home: &Path, path: &Path, copy: &str) {
    let prefix = format!("{}.", path.file_name().unwrap_or_default().to_string_lossy());
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let stamp = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".jsonl"));
        if name != copy && stamp.is_some_and(|stamp| stamp.len() == 16 && !stamp.contains('.')) {
            // Whatever stays behind is only in the way of disk space.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn convert(path: &Path, target: &Path) -> Result<(), CorpusError> {
    let records = Records::open(path, None)?;
    let mut damaged = None;
    let written = files::replace(target, |out| {
        let mut line = 1;
        for (number, record) in records.enumerate() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    damaged = Some(error);
                    return Err(io::ErrorKind::InvalidData.into());
                }
            };
            while line < record.line {
                out.write_all(b"\n")?;
                line += 1;
            }
            write_row(out, record, number + 1, path)?;
            line += 1;
        }
        Ok(())
    });
    match damaged {
        Some(error) => Err(error.into()),
        None => Ok(written?),
    }
}

/// Writes a row in the usual form, or why it has none.
fn write_row(out: &mut dyn Write, record: Record, number: usize, path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let place = Place { split: split_stem(&name).unwrap_or("row"), number, key: record.key.as_deref() };
    match record.value.and_then(|value| example(value, &place)) {
        Ok(example) => serde_json::to_writer(&mut *out, &example)?,
        Err(unreadable) => serde_json::to_writer(&mut *out, &Unreadable { unreadable })?,
    }
    out.write_all(b"\n")
}

/// A row that is an example already is taken as it is. Any other, such as one of a table, must have the fields of an
/// example under their own names, with the choices as a JSON list under `choices` or as text under `A`, `B`, `C` ….
fn example(value: Value, place: &Place) -> Result<Example, String> {
    match serde_json::from_value(value.clone()) {
        Ok(example) => Ok(example),
        Err(_) => Mapping::default().example(&value, place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Dataset;

    fn folder(file: &str, bytes: &[u8]) -> (tempfile::TempDir, Dataset) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(file), bytes).unwrap();
        let dataset = Dataset::open(dir.path()).unwrap();
        (dir, dataset)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn names_of_splits_are_told_from_other_files() {
        for file in ["train.jsonl", "train.jsonl.gz", "train.csv", "train.tsv.zst", "train.parquet", "train.json.gz"] {
            assert_eq!(split_stem(file), Some("train"), "{file}");
        }
        for file in ["edits.jsonl", "predictions.jsonl", ".hidden.jsonl", "dataset.yaml", "notes.txt", ".jsonl"] {
            assert_eq!(split_stem(file), None, "{file}");
        }
    }

    #[test]
    fn a_table_is_read_like_any_split_and_keeps_its_lines() {
        let table = "id,question,A,B,C,answer,topic\nq1,\"why,\nreally?\",x,y,,B,t\nq2,short\nq3,how?,x,y,z,C,\n";
        let (dir, dataset) = folder("train.csv", table.as_bytes());
        let page = dataset.split("train").unwrap().page(0, 9, "default").unwrap();
        assert_eq!(page.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 4, 5]);
        let first = page[0].example.as_ref().unwrap();
        assert_eq!((first.choices.len(), first.gold().unwrap().text.as_str()), (2, "y"));
        assert_eq!(first.extra_text("topic"), Some("t"));
        let bad = page[1].example.as_ref().unwrap_err().to_string();
        let place = dir.path().join("train.csv:4").display().to_string();
        assert!(bad.starts_with(&place) && bad.contains("2 cells"), "{bad}");
    }

    #[test]
    fn a_changed_file_is_converted_again_and_the_old_copy_removed() {
        let row = |id: &str| format!("{{\"id\":\"{id}\",\"question\":\"?\",\"choices\":[],\"highlights\":[]}}\n");
        let (dir, dataset) = folder("test.jsonl.gz", &gzip(row("one").as_bytes()));
        assert!(must_convert(dir.path(), "test.jsonl.gz").unwrap());
        assert_eq!(dataset.split("test").unwrap().find("one", "default").unwrap().0, 0);
        assert!(!must_convert(dir.path(), "test.jsonl.gz").unwrap());
        fs::write(dir.path().join("test.jsonl.gz"), gzip((row("two") + &row("three")).as_bytes())).unwrap();
        let again = Dataset::open(dir.path()).unwrap();
        assert_eq!(again.split("test").unwrap().find("three", "default").unwrap().0, 1);
        assert_eq!(fs::read_dir(dir.path().join(".cache")).unwrap().count(), 1);
    }

    #[test]
    fn half_a_file_is_an_error_and_leaves_no_copy() {
        let text = "{\"id\":\"q\",\"question\":\"?\",\"choices\":[]}\n".repeat(9_000);
        let whole = gzip(text.as_bytes());
        let (dir, dataset) = folder("test.jsonl.gz", &whole[..whole.len() / 2]);
        let error = dataset.split("test").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("test.jsonl.gz") && error.contains("cut short"), "{error}");
        assert_eq!(fs::read_dir(dir.path().join(".cache")).unwrap().count(), 0);
    }

    #[test]
    fn rationales_are_read_from_a_table_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("llama.csv");
        fs::write(&path, "id,rationale,sample,teacher_answer\nq1,because,2,A\nq2,,0,B\n,lost,0,\n").unwrap();
        let mut read = Vec::new();
        read_rationales(&path, |line, rationale| read.push((line, rationale))).unwrap();
        let first = read[0].1.as_ref().unwrap();
        assert_eq!((first.sample, first.teacher_answer.as_deref()), (2, Some("A")));
        assert_eq!(read[1].1.as_ref().unwrap().rationale, None);
        let bad = read[2].1.as_ref().unwrap_err();
        assert!(bad.line == 4 && bad.problem.contains("`id` is empty"), "{bad}");
    }
}
