//! The table with all its digits, for whatever reads tables.

use super::super::StudyError;
use super::Report;
use crate::text;

const HEADER: [&str; 24] = [
    "study",
    "dataset",
    "student",
    "split",
    "condition",
    "kind",
    "runs_planned",
    "runs_finished",
    "accuracy",
    "seed_deviation",
    "interval_low",
    "interval_high",
    "examples",
    "unparsable",
    "truncated",
    "baseline",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_holm",
    "equivalence_p_holm",
    "verdict",
    "runs",
];

pub fn table(report: &Report) -> Result<String, StudyError> {
    let wrong = |error: csv::Error| StudyError::Report(error.to_string());
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(HEADER).map_err(wrong)?;
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for section in &report.table.sections {
        for row in &section.rows {
            let against = row.against.as_ref();
            let runs: Vec<&str> = row.runs.iter().filter_map(|run| run.run.as_deref()).collect();
            let kind = serde_json::to_value(row.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
            let record = [
                plain(&report.table.study),
                plain(&section.dataset),
                plain(&section.student),
                plain(&section.split),
                plain(&row.condition),
                kind.unwrap_or_default(),
                row.runs.len().to_string(),
                row.finished.to_string(),
                number(row.accuracy),
                number(row.deviation),
                number(row.interval.map(|interval| interval.0)),
                number(row.interval.map(|interval| interval.1)),
                row.examples.to_string(),
                number(row.unparsable),
                number(row.truncated),
                plain(against.map_or("", |against| &against.baseline)),
                number(against.map(|against| against.difference)),
                number(against.map(|against| against.interval.0)),
                number(against.map(|against| against.interval.1)),
                number(against.map(|against| against.p)),
                number(against.map(|against| against.p_holm)),
                number(against.and_then(|against| against.equivalence_p_holm)),
                plain(against.map_or("", |against| &against.says)),
                plain(&runs.join(" ")),
            ];
            out.write_record(record).map_err(wrong)?;
        }
    }
    let bytes = out.into_inner().map_err(|error| StudyError::Report(error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Text that a spreadsheet does not take for a formula.
fn plain(raw: &str) -> String {
    let shown = text::line(raw);
    if shown.starts_with(['=', '+', '-', '@']) { format!("'{shown}") } else { shown.into_owned() }
}
