//! A table of rows on a terminal, and the questions on which two of its rows disagree.

use serde_json::json;

use super::output::{Context, print};
use crate::corpus::{did_you_mean, nearest};
use crate::studies::Baseline;
use crate::studies::disagree::{Disagreements, Question, Said, disagreements};
use crate::studies::table::{RowKind, Table};
use crate::text;

/// The row that `--baseline` names, once it is known to be one.
pub fn chosen(table: &Table, name: &str) -> anyhow::Result<Vec<Baseline>> {
    known(table, name)?;
    Ok(vec![Baseline { section: None, row: name.to_owned() }])
}

/// Refuses a name that no row has.
fn known(table: &Table, name: &str) -> anyhow::Result<()> {
    let names = || table.sections.iter().flat_map(|section| &section.rows).map(|row| row.condition.as_str());
    anyhow::ensure!(
        names().any(|other| other == name),
        "there is no row `{}`{} · the table without it names all rows",
        text::line(name),
        did_you_mean(&nearest(name, names()))
    );
    Ok(())
}

/// Prints the questions on which two rows disagree, in each section that has both.
pub fn disagree(table: &Table, one: &str, other: &str, context: &Context) -> anyhow::Result<()> {
    known(table, one)?;
    known(table, other)?;
    let mut found: Vec<(&str, &str, &str, Disagreements)> = Vec::new();
    for section in &table.sections {
        let row = |name: &str| section.rows.iter().find(|row| row.condition == name);
        let (Some(one), Some(other)) = (row(one), row(other)) else { continue };
        let own = disagreements(&context.project, section, one, other)?;
        found.push((&section.dataset, &section.student, &section.split, own));
    }
    anyhow::ensure!(!found.is_empty(), "no data set and student have both rows, so there is nothing to hold together");
    if context.json {
        let all: Vec<_> = found
            .iter()
            .map(|(dataset, student, split, own)| {
                json!({"dataset": dataset, "student": student, "split": split, "disagreements": own})
            })
            .collect();
        return context.print_json(&all);
    }
    let mut out = String::new();
    for (dataset, student, split, own) in found {
        let [dataset, student, split] = [dataset, student, split].map(text::line);
        out.push_str(&format!("{student} on {dataset}, {split}\n{}", listed(&own)));
    }
    print(&out)
}

/// The questions, one a line.
fn listed(own: &Disagreements) -> String {
    let (one, other) = (text::excerpt(&own.one, 60), text::excerpt(&own.other, 60));
    if own.asked == 0 {
        return format!("  {one} and {other} have no finished runs that were asked the same questions yet\n");
    }
    let mut out = format!("  {one} against {other}: {} of {} questions won, {} lost\n", own.won, own.asked, own.lost);
    let said = |said: &Said| {
        let label = text::excerpt(said.label.as_deref().unwrap_or("–"), 12);
        format!("{}/{} {label}", said.right, said.asked)
    };
    for question in &own.questions {
        let Question { id, answer, question: words, .. } = question;
        let sign = if question.is_won() { '+' } else { '-' };
        out.push_str(&format!(
            "  {sign} {:<14} {:<10} {:<10} right: {:<6} {}\n",
            text::excerpt(id, 14),
            said(&question.one),
            said(&question.other),
            text::excerpt(answer, 12),
            text::excerpt(words.as_deref().unwrap_or_default(), 100)
        ));
    }
    out
}

/// The table for a terminal.
pub fn as_text(table: &Table) -> String {
    let mut out = String::new();
    let points = |share: f64| format!("{:.1}", share * 100.0);
    for section in &table.sections {
        let [dataset, student, split] =
            [&section.dataset, &section.student, &section.split].map(|name| text::line(name));
        out.push_str(&format!("{student} on {dataset}, {split}\n"));
        out.push_str(&format!(
            "  {:<28} {:>5} {:>12} {:>14} {:>10} {:>6} {:>21}  {}\n",
            "condition", "runs", "accuracy", "95 %", "unparsable", "cut", "to the baseline", "what it says"
        ));
        for row in &section.rows {
            let runs = match row.kind {
                RowKind::Majority => String::new(),
                _ => format!("{}/{}", row.finished, row.runs.len()),
            };
            let accuracy = match (row.accuracy, row.deviation) {
                (Some(mean), Some(deviation)) => format!("{} ± {}", points(mean), points(deviation)),
                (Some(mean), None) => points(mean),
                _ => "–".into(),
            };
            let range = |(low, high): (f64, f64)| format!("[{}, {}]", points(low), points(high));
            let share = |value: Option<f64>| value.map(|value| format!("{} %", points(value))).unwrap_or_default();
            let against = row.against.as_ref();
            let difference =
                against.map(|against| format!("{:+.1} {}", against.difference * 100.0, range(against.interval)));
            let says = against.map(|against| against.says.clone()).or_else(|| row.note.clone());
            let waits = || row.runs.iter().find(|run| run.accuracy.is_none()).map(|run| run.state.clone());
            let line = format!(
                "  {:<28} {runs:>5} {accuracy:>12} {:>14} {:>10} {:>6} {:>21}  {}",
                text::excerpt(&row.condition, 28),
                row.interval.map(range).unwrap_or_default(),
                share(row.unparsable),
                share(row.truncated),
                difference.unwrap_or_default(),
                text::line(&says.or_else(waits).unwrap_or_default())
            );
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    let (margin, within) = (points(table.margin), if table.study.is_empty() { " within each data set" } else { "" });
    out.push_str(&format!("{} comparisons, adjusted after Holm{within}; margin {margin} points\n", table.comparisons));
    out
}
