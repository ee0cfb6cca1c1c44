//! `afterthought data show`.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::super::Context;
use super::super::output::{Usage, print, print_json_lines};
use super::super::settings::find_example;
use super::{grouped, table};
use crate::corpus::counterpart::Index;
use crate::corpus::difference::Word;
use crate::corpus::edits::DEFAULT_SOURCE;
use crate::corpus::filter::{Field, Filter, Known, Value};
use crate::corpus::order::Sorter;
use crate::corpus::rows::Row;
use crate::corpus::{Example, Split};
use crate::evaluation::{self, Prediction};
use crate::runs::RunDirectory;
use crate::text;

const EXAMPLES: &str = "\
Examples:
  afterthought data show toyworld
  afterthought data show toyworld --split test --from 101 --limit 50
  afterthought data show toyworld --id tr-0007
  afterthought data show toyworld --json --limit 3 | jq .rationale
  afterthought data show toyworld --filter 'rationale.words>30 and not answer:A' --sort question.words
  afterthought data show toyworld --id tr-0007 --beside toyworld-noisy
  afterthought data show toyworld --split test --filter 'is:wrong' --run 20261121-post-0

A filter is made of conditions; those beside each other must all hold:
  whale  \"two words\"       this text in the question, a choice, the rationale or the id
  /wh.le/                  this regex in one of them
  answer:B  kind:sea       the field holds this text; answer and predicted are this label or its text
  rationale.words>30       > >= < <= = != compare numbers as numbers and texts as texts
  question~/^who/          the regex in this field
  has:rationale  no:answer the field is there, or is not
  is:right  is:wrong       answered so by --run; also correct:true and correct:false
  a or b  not a  (a b)     `and` may be written, too; upper and lower case are one
Fields: id question choices answer predicted correct rationale rationale_source edits row, any other
field of the rows by its name, and FIELD.words and FIELD.chars of a text.";

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
    /// The same question in this other data set beside it, with the words that differ
    #[arg(long, value_name = "NAME", requires = "id")]
    beside: Option<String>,
    /// Only rows that match: see below
    #[arg(long, conflicts_with = "id")]
    filter: Option<String>,
    /// Sort by this field; rows without it come last
    #[arg(long, value_name = "FIELD", conflicts_with = "id")]
    sort: Option<String>,
    /// The largest first
    #[arg(long, requires = "sort")]
    reverse: bool,
    /// The run whose answers is:right, predicted and correct are about
    #[arg(long, value_name = "RUN", conflicts_with = "id")]
    run: Option<String>,
    /// The rationale source: default for the rows' own, or a file under rationales/
    #[arg(long, default_value = DEFAULT_SOURCE)]
    source: String,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<()> {
    let dataset = context.catalog().open(&arguments.name)?;
    if let Some(id) = &arguments.id {
        let (split, number, example) = find_example(&dataset, arguments.split.as_deref(), id, &arguments.source)?;
        if let Some(other) = &arguments.beside {
            return beside(&example, other, &arguments.source, context);
        }
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
    let is_searched = arguments.filter.is_some() || arguments.sort.is_some();
    let (page, found) = if is_searched {
        let (page, found) = searched(&split, &arguments, context)?;
        (page, Some(found))
    } else {
        (split.page(arguments.from - 1, arguments.limit, &arguments.source)?, None)
    };
    if context.json {
        let line = |row: &Row| match &row.example {
            Ok(example) => serde_json::to_value(example),
            Err(error) => Ok(json!({"line": row.line, "problem": error.problem})),
        };
        return print_json_lines(page.iter().map(line).collect::<Result<Vec<_>, _>>()?);
    }
    let heading = match found {
        Some(found) => {
            let name = format!("{} {}", text::line(split.dataset.name()), text::line(&split.name));
            format!("{name}: {} of {} match\n", grouped(found), grouped(split.count_all()))
        }
        None => heading(&split, &page, arguments.from),
    };
    print(&(heading + &rows(&page)))
}

/// An example and its counterpart in another data set.
fn beside(example: &Example, other: &str, source: &str, context: &Context) -> anyhow::Result<()> {
    let other = context.catalog().open(other)?;
    let found = match Index::of(&other, &mut |_| true)? {
        Some(index) => index.find(&other, example, source)?,
        None => None,
    };
    let Some(found) = found else {
        anyhow::bail!(
            "{} has no question with the id `{}`, and none with its words",
            other.name(),
            text::line(&example.id)
        );
    };
    if context.json {
        let how = if found.by_id { "id" } else { "question" };
        return context.print_json(&json!({
            "example": example, "other": found.example, "dataset": found.dataset, "split": found.split, "matched_by": how,
        }));
    }
    let words = |words: &[Word], sign: &str| {
        let word = |word: &Word| format!("{}{}", if word.is_own { sign } else { "" }, word.text);
        text::line(&words.iter().map(word).collect::<Vec<_>>().join(" ")).into_owned()
    };
    let answer = |example: &Example| {
        example.gold().map_or_else(
            || "no answer".into(),
            |gold| text::line(&format!("{} {}", gold.label, gold.text)).into_owned(),
        )
    };
    let how = if found.by_id { "the same id" } else { "the same words" };
    let place = format!("{}/{} {} ({how})", found.dataset, found.split, found.example.id);
    print(&format!(
        "− {}\n+ {}\n\nquestion\n− {}\n+ {}\n\nanswer\n− {}\n+ {}\n\nrationale\n− {}\n+ {}\n",
        text::line(&example.id),
        text::line(&place),
        words(&found.question.0, "−"),
        words(&found.question.1, "+"),
        answer(example),
        answer(&found.example),
        words(&found.rationale.0, "−"),
        words(&found.rationale.1, "+"),
    ))
}

/// The wanted part of the rows that match, in order, and how many match.
fn searched(split: &Split, arguments: &Arguments, context: &Context) -> anyhow::Result<(Vec<Row>, usize)> {
    let filter = filter_of(arguments.filter.as_deref(), arguments.run.as_deref(), split, &arguments.source, context)?;
    let by = arguments.sort.as_deref().map(Field::of);
    if by.as_ref().is_some_and(Field::needs_answers) && arguments.run.is_none() {
        return Err(Usage("--sort is about what a student answered: --run RUN says which".into()).into());
    }
    let wanted = arguments.from - 1..arguments.from.saturating_sub(1).saturating_add(arguments.limit);
    let mut sorter = by.as_ref().map(|_| Sorter::new(split.count_all()));
    let (mut page, mut found) = (Vec::new(), 0);
    split.visit(0, &arguments.source, |row| {
        let matches = row.example.as_ref().map_or(filter.is_empty(), |example| filter.matches(row.number, example));
        if matches {
            match (&by, &mut sorter) {
                (Some(by), Some(sorter)) => {
                    let value = row.example.as_ref().map(|example| by.value(row.number, example, filter.known()));
                    sorter.push(row.number, &value.unwrap_or(Value::Missing));
                }
                _ if wanted.contains(&found) => page.push(row),
                _ => {}
            }
            found += 1;
        }
        ControlFlow::Continue(())
    })?;
    if let Some(sorter) = sorter {
        let order = sorter.finish(arguments.reverse);
        for row in order.iter().skip(wanted.start).take(arguments.limit) {
            page.extend(split.page(*row as usize, 1, &arguments.source)?);
        }
    }
    Ok((page, found))
}

/// A typed filter with what it needs to know beside the rows.
pub(super) fn filter_of(
    text: Option<&str>,
    run: Option<&str>,
    split: &Split,
    source: &str,
    context: &Context,
) -> anyhow::Result<Filter> {
    let filter = Filter::parse(text.unwrap_or_default()).map_err(|mistake| Usage(format!("--filter, {mistake}")))?;
    let mut known = Known { edits: split.edits(source), ..Known::default() };
    if let Some(run) = run {
        let run = RunDirectory::find(&context.project, run)?;
        let here =
            |prediction: &Prediction| prediction.dataset == split.dataset.name() && prediction.split == split.name;
        let predictions = evaluation::read_predictions(&run.predictions())?;
        known.answered = predictions
            .into_iter()
            .filter(here)
            .map(|prediction| {
                let right = prediction.is_correct();
                (prediction.id, (prediction.predicted, right))
            })
            .collect();
    } else if filter.needs_answers() {
        return Err(Usage("--filter asks for what a student answered: --run RUN says which".into()).into());
    }
    Ok(filter.with(known))
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
