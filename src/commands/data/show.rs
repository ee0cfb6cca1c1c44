//! `afterthought data show`.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::super::Context;
use super::super::output::{Usage, print, print_json_lines};
use super::super::settings::find_example;
use super::{grouped, table};
use crate::corpus::edits::DEFAULT_SOURCE;
use crate::corpus::rows::Row;
use crate::corpus::{Example, Split};
use crate::text;

const EXAMPLES: &str = "\
Examples:
  afterthought data show toyworld
  afterthought data show toyworld --split test --from 101 --limit 50
  afterthought data show toyworld --id tr-0007
  afterthought data show toyworld --json --limit 3 | jq .rationale";

/// The total is told where it is known by then.
const PATIENCE: Duration = Duration::from_millis(20);

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The data set
    name: String,
    /// The split; the first one where none is named
    #[arg(long)]
    split: Option<String>,
    /// Show this example in full
    #[arg(long, conflicts_with_all = ["from", "limit"])]
    id: Option<String>,
    /// The first row to show, from 1
    #[arg(long, value_name = "ROW", default_value_t = 1)]
    from: usize,
    /// How many rows to show
    #[arg(long, value_name = "ROWS", default_value_t = 20)]
    limit: usize,
    /// The rationale source: default for the rows' own, or a file under rationales/
    #[arg(long, default_value = DEFAULT_SOURCE)]
    source: String,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<()> {
    let dataset = context.catalog().open(&arguments.name)?;
    if let Some(id) = &arguments.id {
        let (split, number, example) = find_example(&dataset, arguments.split.as_deref(), id, &arguments.source)?;
        return if context.json {
            context.print_json_line(&example)
        } else {
            print(&in_full(&example, &split.name, number))
        };
    }
    if arguments.from == 0 {
        return Err(Usage("rows are counted from 1: --from 1 is the first".into()).into());
    }
    let first = dataset.split_names().next().unwrap_or_default().to_owned();
    let split = dataset.split(arguments.split.as_deref().unwrap_or(&first))?;
    let page = split.page(arguments.from - 1, arguments.limit, &arguments.source)?;
    if context.json {
        let line = |row: &Row| match &row.example {
            Ok(example) => serde_json::to_value(example),
            Err(error) => Ok(json!({"line": row.line, "problem": error.problem})),
        };
        return print_json_lines(page.iter().map(line).collect::<Result<Vec<_>, _>>()?);
    }
    print(&(heading(&split, &page, arguments.from) + &rows(&page)))
}

fn heading(split: &Split, page: &[Row], from: usize) -> String {
    let until = Instant::now() + PATIENCE;
    while !split.count().complete && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    let count = split.count();
    let name = format!("{} {}", text::line(split.dataset.name()), text::line(&split.name));
    let total = format!("{}{}", grouped(count.rows), if count.complete { "" } else { "+" });
    match page.last() {
        Some(last) => format!("{name}: rows {} to {} of {total}\n", grouped(from), grouped(last.number + 1)),
        None => format!("{name}: no row {} · there are {total}\n", grouped(from)),
    }
}

/// The room for a line: the terminal's, or that of a page where there is no terminal.
fn width() -> usize {
    let terminal = std::io::stdout().is_terminal().then(|| crossterm::terminal::size().ok()).flatten();
    terminal.map_or(120, |(columns, _)| usize::from(columns).max(60))
}

fn rows(page: &[Row]) -> String {
    let examples = || page.iter().filter_map(|row| row.example.as_ref().ok());
    let id_width = examples().map(|example| example.id.chars().count()).max().unwrap_or(0).min(36);
    // Row, id and answer take their room and the rest is shared by the question and the rationale.
    let rest = width().saturating_sub(id_width + 22).max(30);
    let question = if examples().any(Example::has_rationale) { rest * 3 / 5 } else { rest };
    let row = |row: &Row| match &row.example {
        Ok(example) => vec![
            grouped(row.number + 1),
            text::excerpt(&example.id, 36),
            text::excerpt(example.answer.as_deref().unwrap_or("-"), 6),
            text::excerpt(&example.question, question - 1),
            text::excerpt(example.rationale.as_deref().unwrap_or(""), rest * 2 / 5 - 1),
        ],
        Err(error) => vec![grouped(row.number + 1), text::line(&error.to_string()).into_owned()],
    };
    table(&page.iter().map(row).collect::<Vec<_>>())
}

fn in_full(example: &Example, split: &str, number: usize) -> String {
    let mut out = format!("{}  {} row {}\n\n", text::line(&example.id), text::line(split), grouped(number + 1));
    out.push_str(&text::visible(&example.question));
    out.push('\n');
    for choice in &example.choices {
        let mark = if example.answer.as_ref() == Some(&choice.label) { "*" } else { " " };
        out.push_str(&format!("{mark} {}  {}\n", text::line(&choice.label), text::line(&choice.text)));
    }
    match (&example.answer, example.gold()) {
        (None, _) => out.push_str("\nno answer\n"),
        (Some(answer), None) => out.push_str(&format!("\nanswer {}, which is no choice\n", text::line(answer))),
        _ => {}
    }
    let source = example.rationale_source.as_deref().map(|source| format!(" ({})", text::line(source)));
    match &example.rationale {
        Some(rationale) => {
            out.push_str(&format!("\nrationale{}\n{}\n", source.unwrap_or_default(), text::visible(rationale)));
        }
        None => out.push_str("\nno rationale\n"),
    }
    for range in &example.highlights {
        let marked = example.rationale.as_deref().unwrap_or_default().chars().skip(range.start).take(range.len());
        let marked: String = marked.collect();
        out.push_str(&format!("  key {}..{}  {}\n", range.start, range.end, text::line(&marked)));
    }
    if !example.extra.is_empty() {
        out.push('\n');
    }
    for (name, value) in &example.extra {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        out.push_str(&format!("{}: {}\n", text::line(name), text::line(&value)));
    }
    out
}
