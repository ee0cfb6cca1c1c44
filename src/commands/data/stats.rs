//! `afterthought data stats`.

use std::ops::ControlFlow;

use clap::Args;
use serde_json::json;

use super::super::Context;
use super::super::output::{Usage, print};
use super::show::filter_of;
use super::{grouped, percent, table};
use crate::corpus::Dataset;
use crate::corpus::edits::DEFAULT_SOURCE;
use crate::corpus::filter::{Field, Value};
use crate::corpus::histogram::Tally;
use crate::corpus::stats::{Lengths, SplitStats, stats};
use crate::text;
use crate::workbench::widgets::bars::{self, Bar};

const EXAMPLES: &str = "\
Lengths are in words, parted by white space. `gold text` is the share of rationales, for questions
that have an answer, in which the text of the right choice stands.

Examples:
  afterthought data stats toyworld
  afterthought data stats toyworld --json | jq '.splits[0].question_words.median'
  afterthought data stats toyworld --by rationale.words --filter 'answer:A'
  afterthought data stats toyworld --by kind --split test --json

--by takes what `data show --filter` knows as a field.";

/// Cells of the longest bar of a histogram.
const BAR: usize = 40;
/// Rows of a histogram.
const BINS: usize = 12;
/// Values of a field that are listed.
const VALUES: usize = 30;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The data set
    name: String,
    /// How the values of this field are spread, in one split
    #[arg(long, value_name = "FIELD")]
    by: Option<String>,
    /// The split for --by; the first one where none is named
    #[arg(long, requires = "by")]
    split: Option<String>,
    /// Only rows that match, for --by
    #[arg(long, requires = "by")]
    filter: Option<String>,
    /// The run whose answers predicted and correct are about, for --by
    #[arg(long, value_name = "RUN", requires = "by")]
    run: Option<String>,
    /// The rationale source, for --by
    #[arg(long, requires = "by", default_value = DEFAULT_SOURCE)]
    source: String,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<()> {
    let dataset = context.catalog().open(&arguments.name)?;
    if let Some(by) = &arguments.by {
        return spread(&dataset, &Field::of(by), &arguments, context);
    }
    let bar = context.progress("counting", 0);
    let splits = stats(&dataset, &mut |read| {
        bar.set_length(bar.length().unwrap_or(0).max(read));
        bar.set_position(read);
    })?;
    bar.finish_and_clear();
    if context.json {
        return context.print_json(&json!({"dataset": dataset.name(), "splits": splits}));
    }
    print(&splits.iter().map(shown).collect::<Vec<_>>().join("\n"))
}

/// How the values of one field are spread.
fn spread(dataset: &Dataset, field: &Field, arguments: &Arguments, context: &Context) -> anyhow::Result<()> {
    let first = dataset.split_names().next().unwrap_or_default().to_owned();
    let split = dataset.split(arguments.split.as_deref().unwrap_or(&first))?;
    let run = arguments.run.as_deref();
    if run.is_none() && field.needs_answers() {
        return Err(Usage(format!("{field} is about what a student answered: --run RUN says which")).into());
    }
    let filter = filter_of(arguments.filter.as_deref(), run, &split, &arguments.source, context)?;
    let mut tally = Tally::default();
    split.visit(0, &arguments.source, |row| {
        match &row.example {
            Ok(example) if filter.matches(row.number, example) => {
                tally.add(&field.value(row.number, example, filter.known()));
            }
            Err(_) if filter.is_empty() => tally.add(&Value::Missing),
            _ => {}
        }
        ControlFlow::Continue(())
    })?;
    let histogram = tally.finish(field.to_string(), BINS);
    if context.json {
        return context.print_json(&json!({"dataset": dataset.name(), "split": split.name, "histogram": histogram}));
    }
    let missing =
        if histogram.missing > 0 { format!(", {} have none", grouped(histogram.missing)) } else { String::new() };
    let mut out = format!("{}: {field} of {} questions{missing}\n", text::line(&split.name), grouped(histogram.rows));
    if let Some(numbers) = &histogram.numbers {
        out.push_str(&format!("{}\n", bars::summary(numbers)));
    }
    for Bar { label, bar, count } in bars::of(&histogram, 78, VALUES) {
        out.push_str(&format!("  {} {bar} {count}\n", text::line(&label)));
    }
    print(&out)
}

fn shown(split: &SplitStats) -> String {
    let unreadable = match split.unreadable {
        0 => String::new(),
        rows => format!(", {} rows can't be read", grouped(rows)),
    };
    let (examples, answered) = (grouped(split.examples), grouped(split.answered()));
    let mut out = format!("{}: {examples} examples, {answered} with an answer{unreadable}\n", text::line(&split.split));
    let share = |(label, count): (&String, &usize)| {
        format!("{} {} ({})", text::excerpt(label, 20), grouped(*count), percent(*count, split.answered()))
    };
    let list = |out: &mut String, what: &str, parts: Vec<String>| {
        if !parts.is_empty() {
            out.push_str(&format!("{what}  {}\n", parts.join(", ")));
        }
    };
    list(&mut out, "answers", split.answers.iter().take(26).map(share).collect());
    let choices = split.choices.iter().map(|(choices, count)| format!("{choices} ({})", grouped(*count)));
    list(&mut out, "choices", choices.collect());

    let own = split.sources.first().map(|source| &source.words);
    let lengths =
        [("question", Some(&split.question_words)), ("choice", Some(&split.choice_words)), ("rationale", own)];
    let mut rows = vec![["words", "mean", "median", "99 %", "longest"].map(str::to_owned).to_vec()];
    for (what, lengths) in lengths.into_iter().filter_map(|(what, lengths)| Some((what, lengths?))) {
        if lengths.count() > 0 {
            rows.push(numbers(what, lengths));
        }
    }
    out.push_str(&table(&rows));

    let rationales = split.sources.iter().filter(|source| source.rationales > 0);
    let mut rows =
        vec![["rationales", "examples", "rationales", "mean words", "gold text"].map(str::to_owned).to_vec()];
    rows.extend(rationales.clone().map(|source| {
        vec![
            text::excerpt(&source.source, 30),
            format!("{} ({})", grouped(source.covered), percent(source.covered, split.examples)),
            grouped(source.rationales),
            format!("{:.1}", source.words.mean()),
            if source.with_answer == 0 { "-".into() } else { percent(source.with_gold_text, source.with_answer) },
        ]
    }));
    if rows.len() > 1 {
        out.push_str(&table(&rows));
    }
    out.push_str(&histogram("question, words", &split.question_words));
    for source in rationales {
        out.push_str(&histogram(&format!("rationale {}, words", text::excerpt(&source.source, 30)), &source.words));
    }
    out
}

fn numbers(what: &str, lengths: &Lengths) -> Vec<String> {
    vec![
        what.into(),
        format!("{:.1}", lengths.mean()),
        grouped(lengths.quantile(0.5)),
        grouped(lengths.quantile(0.99)),
        grouped(lengths.longest()),
    ]
}

/// Bars of block characters, which have eight steps in a cell.
fn histogram(title: &str, lengths: &Lengths) -> String {
    let bins = lengths.bins(BINS);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let rows = bins.iter().map(|bin| {
        let range =
            if bin.from == bin.to { grouped(bin.from) } else { format!("{}–{}", grouped(bin.from), grouped(bin.to)) };
        let eighths = (bin.count * BAR * 8).div_ceil(most);
        let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        vec![format!("  {range}"), format!("{}{part} {}", "█".repeat(eighths / 8), grouped(bin.count))]
    });
    format!("{title}\n{}", table(&rows.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Catalog;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn the_page_fits_a_terminal_and_shows_every_part() {
        let dir = tempfile::tempdir().unwrap();
        let dataset = Catalog::new(dir.path()).open("toyworld").unwrap();
        let page = shown(&stats(&dataset, &mut |_| {}).unwrap()[0]);
        assert!(page.lines().all(|line| line.width() < 80), "{page}");
        assert!(page.starts_with("train: 960 examples, 960 with an answer\n"), "{page}");
        for part in ["choices  5 (960)", "question, words", "rationale default, words", "█"] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
