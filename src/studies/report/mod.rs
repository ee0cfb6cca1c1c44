//! The report of a study: one self-contained page, or its table as Markdown, CSV or LaTeX. All of them are written from one
//! [`Report`], so that they can't say different things.

mod csv;
mod html;
mod latex;
mod markdown;
mod plots;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::table::{Row, RowKind, Section, Table};
use super::{Study, StudyError};
use crate::runs::{RunDirectory, RunSpec};

/// The forms a report can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Html,
    Markdown,
    Csv,
    Latex,
}

/// Everything that a report says.
pub struct Report {
    pub table: Table,
    /// Settings that not all cells share, and the values they have.
    pub varied: Vec<(String, Vec<String>)>,
    /// Settings that all cells share.
    pub shared: Vec<(String, String)>,
    /// The study's file.
    pub source: String,
    pub runs: Vec<RunRow>,
    /// SHA-256 of the rows that runs read, by data set and split; several where they were edited in between.
    pub data: BTreeMap<(String, String), Vec<String>>,
    /// The program that wrote the report.
    pub version: &'static str,
}

/// A run that numbers rest on.
pub struct RunRow {
    pub id: String,
    pub cell: String,
    pub state: String,
    pub identity: String,
    pub version: String,
    pub created: String,
    pub device: String,
    pub accuracy: Option<f64>,
    /// Its folder, as seen from the report.
    pub folder: String,
}

impl Report {
    /// Gathers a study's report. Links lead from the folder `from`.
    pub fn gather(study: &Study, project: &Path, from: &Path) -> Result<Self, StudyError> {
        let table = study.table(project)?;
        let cells = study.cells()?;
        let (varied, shared) = protocol(cells.iter().map(|cell| &cell.spec));
        let mut runs = Vec::new();
        let mut data: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for seeded in table.runs() {
            let Some(id) = &seeded.run else { continue };
            let run = RunDirectory::exactly(project, id)?.read()?;
            let record = run.spec.record.clone();
            for (split, hash) in record.iter().flat_map(|record| &record.data) {
                let known = data.entry((run.spec.dataset.clone(), split.clone())).or_default();
                if !known.contains(hash) {
                    known.push(hash.clone());
                }
            }
            runs.push(RunRow {
                id: id.clone(),
                cell: seeded.cell.clone(),
                state: seeded.state.clone(),
                identity: run.spec.identity(),
                version: record.as_ref().map(|record| record.version.clone()).unwrap_or_default(),
                created: record.map(|record| record.created).unwrap_or_default(),
                device: run.history.device.clone(),
                accuracy: seeded.accuracy,
                folder: relative(from, &project.join("runs").join(id)),
            });
        }
        let (source, version) = (study.text.clone(), env!("CARGO_PKG_VERSION"));
        Ok(Self { table, varied, shared, source, runs, data, version })
    }

    pub fn write(&self, format: Format) -> Result<String, StudyError> {
        match format {
            Format::Html => html::page(self),
            Format::Markdown => Ok(markdown::document(self)),
            Format::Csv => csv::table(self),
            Format::Latex => Ok(latex::tables(self)),
        }
    }

    /// The folder of a run, as a link.
    fn folder(&self, id: &str) -> Option<&str> {
        self.runs.iter().find(|run| run.id == id).map(|run| run.folder.as_str())
    }
}

/// Which settings differ between runs, with their values, and which all of them share.
type Protocol = (Vec<(String, Vec<String>)>, Vec<(String, String)>);

fn protocol<'a>(specs: impl Iterator<Item = &'a RunSpec>) -> Protocol {
    let mut values: Vec<(String, Vec<String>)> = Vec::new();
    for spec in specs {
        let settings = RunSpec { tags: BTreeMap::new(), record: None, ..spec.clone() };
        let mut own = Vec::new();
        flatten(&serde_json::to_value(settings).unwrap_or_default(), "", &mut own);
        for (key, value) in own {
            match values.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) if !known.contains(&value) => known.push(value),
                Some(_) => {}
                None => values.push((key, vec![value])),
            }
        }
    }
    let (shared, varied): (Vec<_>, Vec<_>) = values.into_iter().partition(|(_, values)| values.len() == 1);
    (varied, shared.into_iter().map(|(key, mut values)| (key, values.remove(0))).collect())
}

/// `training.loss.label` and its value, for every setting.
fn flatten(value: &Value, path: &str, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(value, &path, out);
            }
        }
        Value::String(text) => out.push((path.to_owned(), text.clone())),
        other => out.push((path.to_owned(), other.to_string())),
    }
}

/// The way from one folder to another path; the whole path where there is none.
fn relative(from: &Path, to: &Path) -> String {
    let whole = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or(path.to_owned());
    let (from, to) = (whole(from), whole(to));
    let (from, to): (Vec<Component>, Vec<Component>) = (from.components().collect(), to.components().collect());
    let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - shared);
    let way: PathBuf = up.chain(to[shared..].iter().copied()).collect();
    way.to_string_lossy().into_owned()
}

/// A share in points, with one digit.
fn points(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

/// `61.2 ± 1.3`, or a dash.
fn accuracy(row: &Row) -> String {
    match (row.accuracy, row.deviation) {
        (Some(mean), Some(deviation)) => format!("{} ± {}", points(mean), points(deviation)),
        (Some(mean), None) => points(mean),
        _ => "–".into(),
    }
}

fn interval(row: &Row) -> String {
    row.interval.map_or_else(|| "–".into(), |(low, high)| format!("[{}, {}]", points(low), points(high)))
}

/// `+2.1 [−0.3, 4.5]`, with a true minus.
fn difference(row: &Row) -> String {
    let Some(against) = &row.against else { return String::new() };
    let (low, high) = against.interval;
    format!("{:+.1} [{}, {}]", against.difference * 100.0, points(low), points(high)).replace('-', "−")
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{} %", points(value)))
}

/// A p-value as papers print it.
fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

/// `3 of 5 runs`; nothing to count for the commonest answer.
fn runs_of(row: &Row) -> String {
    match row.kind {
        RowKind::Majority => String::new(),
        _ if row.finished == row.runs.len() => row.finished.to_string(),
        _ => format!("{} of {}", row.finished, row.runs.len()),
    }
}

/// What may be said of a row.
fn says(row: &Row, section: &Section) -> String {
    match (&row.against, &row.note) {
        (Some(against), _) => against.says.clone(),
        (None, Some(note)) => note.clone(),
        (None, None) if section.rows.iter().any(|other| baseline_of(other) == Some(&row.condition)) => {
            "baseline".into()
        }
        (None, None) if row.kind == RowKind::Condition && row.accuracy.is_none() => {
            let first = row.runs.iter().find(|run| run.reason.is_some()).or(row.runs.first());
            first.map_or_else(String::new, |run| match &run.reason {
                Some(reason) => format!("{}: {reason}", run.state),
                None => run.state.clone(),
            })
        }
        (None, None) => String::new(),
    }
}

fn baseline_of(row: &Row) -> Option<&String> {
    row.against.as_ref().map(|against| &against.baseline)
}

/// What stands in a row's columns, not yet escaped: condition, runs, accuracy, its interval, unparsable, cut, the difference to
/// the baseline, its adjusted p, and what may be said of it.
fn columns(row: &Row, section: &Section) -> [String; 9] {
    [
        row.condition.clone(),
        runs_of(row),
        accuracy(row),
        interval(row),
        if row.accuracy.is_some() { share(row.unparsable) } else { "–".into() },
        if row.kind == RowKind::Condition { share(row.truncated) } else { String::new() },
        difference(row),
        row.against.as_ref().map_or_else(String::new, |against| p_value(against.p_holm)),
        says(row, section),
    ]
}

/// How the numbers were made, in sentences; the same in every form.
fn reading(table: &Table) -> Vec<String> {
    vec![
        "Accuracy is the mean over finished runs in per cent, ± the sample standard deviation over seeds. The interval is \
         Wilson's 95 % at that mean for the examples of one run: it is the error of the examples, and seeds make it no \
         narrower."
            .into(),
        "Differences are to the baseline over the same examples, in points, with a 95 % interval for other seeds and \
         other examples: of one run each by a bootstrap of examples, with p from the exact McNemar test; of several by a t test \
         whose error adds up what seeds and what examples scatter, with Satterthwaite's degrees of freedom. With two to five \
         seeds it speaks wrongly in 1 to 6 of 100 tests at 5 %."
            .into(),
        format!(
            "p and the equivalence tests (two one-sided t tests, margin {} points; of one run each \
             over examples, of several with that error) are adjusted over the {} \
             comparisons of the study after Holm.",
            points(table.margin),
            table.comparisons
        ),
        "Answers in which no label could be read (unparsable) count as wrong. Cut: the share of training rationales that were \
         cut to fit the student."
            .into(),
    ]
}

#[cfg(test)]
mod tests;
