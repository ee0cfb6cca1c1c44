//! A split as one file, with the edits in it, for other programs.

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;

use serde_json::Value;

use super::formats::bytes::Compression;
use super::{CorpusError, Example, Split, did_you_mean, nearest};
use crate::corpus::example::letter;
use crate::files::FileError;
use crate::text;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    Jsonl,
    Csv,
    Tsv,
}

impl ExportFormat {
    pub const ALL: [(&str, Self); 3] = [("jsonl", Self::Jsonl), ("csv", Self::Csv), ("tsv", Self::Tsv)];

    /// By the ending of a file's name, before `.gz` or `.zst`.
    pub fn by_ending(name: &str) -> Option<Self> {
        let (_, ending) = Compression::by_ending(name).1.rsplit_once('.')?;
        ending.parse().ok()
    }
}

impl FromStr for ExportFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, format)| *format).ok_or_else(|| {
            let nearest = nearest(name, Self::ALL.map(|(known, _)| known));
            format!("can't export to `{}`{}", text::line(name), did_you_mean(&nearest))
        })
    }
}

/// Writes every example of a split with the rationale of `source`; a row that can't be read is an error. Gives the number
/// of rows. `to` is what errors call the place that is written to; `progress` is told how many rows were written.
pub fn export(
    split: &Split,
    source: &str,
    format: ExportFormat,
    out: &mut dyn Write,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<usize, CorpusError> {
    let mut rows = 0;
    match format {
        ExportFormat::Jsonl => each(split, source, to, |example| {
            let line = serde_json::to_string(&example)?;
            rows += 1;
            progress(rows as u64);
            // The same document, but one that a terminal can't be made to obey.
            out.write_all(text::escape_json(&line).as_bytes())?;
            out.write_all(b"\n")
        })?,
        ExportFormat::Csv | ExportFormat::Tsv => {
            let columns = Columns::of(split, source, to)?;
            let delimiter = if format == ExportFormat::Csv { b',' } else { b'\t' };
            let mut table = csv::WriterBuilder::new().delimiter(delimiter).from_writer(out);
            let failed = |error: csv::Error| FileError::on("write", to)(error.into());
            table.write_record(columns.names()).map_err(failed)?;
            each(split, source, to, |example| {
                rows += 1;
                progress(rows as u64);
                Ok(table.write_record(columns.cells(&example))?)
            })?;
            table.flush().map_err(FileError::on("write", to))?;
        }
    }
    Ok(rows)
}

fn each(
    split: &Split,
    source: &str,
    to: &Path,
    mut write: impl FnMut(Example) -> io::Result<()>,
) -> Result<(), CorpusError> {
    let mut failed: Option<CorpusError> = None;
    split.visit(0, source, |row| {
        let write = |example| Ok(write(example).map_err(FileError::on("write", to))?);
        failed = row.example.map_err(CorpusError::from).and_then(write).err();
        if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failed.map_or(Ok(()), Err)
}

/// The columns of a table: known only when every row was seen.
struct Columns {
    /// Choices in a column each where all are labelled A, B, C …; else as JSON in one.
    lettered: bool,
    choices: usize,
    extra: Vec<String>,
}

impl Columns {
    fn of(split: &Split, source: &str, to: &Path) -> Result<Self, CorpusError> {
        let mut columns = Self { lettered: true, choices: 0, extra: Vec::new() };
        let mut seen = HashSet::new();
        each(split, source, to, |example| {
            let labels = example.choices.iter().enumerate();
            columns.lettered &= labels.into_iter().all(|(place, choice)| choice.label == letter(place));
            columns.choices = columns.choices.max(example.choices.len());
            for name in example.extra.keys() {
                if seen.insert(name.clone()) {
                    columns.extra.push(name.clone());
                }
            }
            Ok(())
        })?;
        // A field of that name would be taken for a choice when the table is read again.
        columns.lettered &= (0..columns.choices).all(|place| !seen.contains(&letter(place)));
        Ok(columns)
    }

    fn names(&self) -> Vec<String> {
        let choices = if self.lettered { (0..self.choices).map(letter).collect() } else { vec!["choices".to_owned()] };
        let before = ["id", "question"].map(str::to_owned).into_iter();
        let after = ["answer", "rationale", "rationale_source"].map(str::to_owned);
        before.chain(choices).chain(after).chain(self.extra.iter().cloned()).collect()
    }

    fn cells(&self, example: &Example) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let choices = if self.lettered {
            let text = |place: usize| example.choices.get(place).map_or_else(String::new, |choice| choice.text.clone());
            (0..self.choices).map(text).collect()
        } else {
            vec![serde_json::to_string(&example.choices).unwrap_or_default()]
        };
        let extra = self.extra.iter().map(|name| match example.extra.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        });
        [example.id.clone(), example.question.clone()]
            .into_iter()
            .chain(choices)
            .chain([text(&example.answer), text(&example.rationale), text(&example.rationale_source)])
            .chain(extra)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Dataset;
    use crate::corpus::edits::{Patch, Target};

    fn dataset() -> (tempfile::TempDir, Dataset) {
        let dir = tempfile::tempdir().unwrap();
        let rows = r#"{"id":"q1","question":"a, \"b\"","choices":[{"label":"A","text":"x"},{"label":"B","text":"y"}],"answer":"B","rationale":"old","rationale_source":"s","topic":"t","n":[1]}
{"id":"q2","question":"two\nlines","choices":[{"label":"A","text":"x"}],"answer":null,"rationale":null,"rationale_source":null}
"#;
        std::fs::write(dir.path().join("train.jsonl"), rows).unwrap();
        let dataset = Dataset::open(dir.path()).unwrap();
        let target = Target { split: "train".into(), id: "q1".into(), source: "default".into() };
        dataset.change(|edits| edits.set(target, Patch::Rationale(Some("new".into())))).unwrap();
        (dir, dataset)
    }

    fn exported(dataset: &Dataset, format: ExportFormat) -> String {
        let mut out = Vec::new();
        export(&dataset.split("train").unwrap(), "default", format, &mut out, Path::new("-"), &mut |_| {}).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn jsonl_has_the_edits_and_every_field() {
        let (_dir, dataset) = dataset();
        let text = exported(&dataset, ExportFormat::Jsonl);
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains(r#""rationale":"new""#) && text.contains(r#""topic":"t","n":[1]"#));
    }

    #[test]
    fn no_field_of_jsonl_can_reach_the_terminal() {
        let (dir, dataset) = dataset();
        let hostile = "a\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\u{7f}b";
        let target = Target { split: "train".into(), id: "q1".into(), source: "default".into() };
        dataset.change(|edits| edits.set(target, Patch::Rationale(Some(hostile.into())))).unwrap();
        let text = exported(&dataset, ExportFormat::Jsonl);
        assert_eq!(crate::text::first_unsafe(&text, true), None);
        std::fs::write(dir.path().join("again.jsonl"), text).unwrap();
        let again = Dataset::open(dir.path()).unwrap().split("again").unwrap().examples("default").unwrap();
        assert_eq!(again[0].rationale.as_deref(), Some(hostile));
    }

    #[test]
    fn a_table_is_read_back_as_the_same_examples() {
        let (dir, dataset) = dataset();
        let text = exported(&dataset, ExportFormat::Csv);
        assert!(text.starts_with("id,question,A,B,answer,rationale,rationale_source,topic,n\n"), "{text}");
        std::fs::write(dir.path().join("again.csv"), text).unwrap();
        let again = Dataset::open(dir.path()).unwrap().split("again").unwrap().examples("default").unwrap();
        let before = dataset.split("train").unwrap().examples("default").unwrap();
        for (one, other) in before.iter().zip(&again) {
            assert_eq!((&one.id, &one.question, &one.choices), (&other.id, &other.question, &other.choices));
            assert_eq!((&one.answer, &one.rationale), (&other.answer, &other.rationale));
        }
        assert_eq!(again[0].extra_text("topic"), Some("t"));
    }

    #[test]
    fn a_row_that_can_not_be_read_is_not_left_out_in_silence() {
        let (dir, _) = dataset();
        std::fs::write(dir.path().join("train.jsonl"), "{}\n").unwrap();
        let split = Dataset::open(dir.path()).unwrap().split("train").unwrap();
        let error =
            export(&split, "default", ExportFormat::Jsonl, &mut Vec::new(), Path::new("-"), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("train.jsonl:1"), "{error}");
    }

    #[test]
    fn the_format_is_seen_in_the_name() {
        assert_eq!(ExportFormat::by_ending("out.csv.gz"), Some(ExportFormat::Csv));
        assert_eq!(ExportFormat::by_ending("out.xlsx"), None);
        assert_eq!("cvs".parse::<ExportFormat>().unwrap_err(), "can't export to `cvs` · did you mean `csv`?");
    }
}
