//! `afterthought data edit`.

use std::io::Read;
use std::ops::Range;
use std::str::FromStr;

use clap::{ArgGroup, Args};

use super::super::Context;
use super::super::output::{Usage, print};
use crate::corpus::difference::carried;
use crate::corpus::edits::{DEFAULT_SOURCE, Patch, Target};
use crate::text;

const EXAMPLES: &str = "\
An edit is a line in edits.jsonl. It can be taken back at any time; published files stay as they are.

Examples:
  afterthought data edit toyworld --split train --id tr-0007 --rationale \"because it flies\"
  afterthought data edit toyworld --split train --id tr-0007 --highlight 0..7 --highlight 11..16
  afterthought data edit toyworld --split train --id tr-0007 --undo";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("change").required(true))]
pub struct Arguments {
    /// The data set
    name: String,
    /// The split of the example
    #[arg(long)]
    split: String,
    /// The example
    #[arg(long)]
    id: String,
    /// The rationale source: default for the row's own, or a file under rationales/
    #[arg(long, default_value = DEFAULT_SOURCE)]
    source: String,
    /// Give it this rationale; - reads it from standard input
    #[arg(long, value_name = "TEXT", group = "change", allow_hyphen_values = true)]
    rationale: Option<String>,
    /// Leave it without a rationale
    #[arg(long, group = "change")]
    no_rationale: bool,
    /// Mark the characters FROM up to TO as key, counted from 0; several may be given
    #[arg(long, value_name = "FROM..TO", group = "change")]
    highlight: Vec<Marked>,
    /// Mark nothing
    #[arg(long, group = "change")]
    no_highlights: bool,
    /// Take back the latest change
    #[arg(long, group = "change")]
    undo: bool,
    /// Make the change again that was taken back last
    #[arg(long, group = "change")]
    redo: bool,
}

/// Characters from the first up to the second.
#[derive(Clone, Debug)]
struct Marked(Range<usize>);

impl FromStr for Marked {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let range =
            written.split_once("..").and_then(|(from, to)| Some(from.trim().parse().ok()?..to.trim().parse().ok()?));
        let range: Range<usize> = range.ok_or("write two numbers, such as 0..7")?;
        if range.is_empty() {
            return Err("it ends before it begins".into());
        }
        Ok(Self(range))
    }
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<()> {
    let dataset = context.catalog().open(&arguments.name)?;
    let split = dataset.split(&arguments.split)?;
    let (_, before) = split.find(&arguments.id, &arguments.source)?;
    let target = Target { split: arguments.split.clone(), id: arguments.id.clone(), source: arguments.source.clone() };
    if arguments.undo || arguments.redo {
        let done = dataset.change(|edits| if arguments.undo { edits.undo(&target) } else { edits.redo(&target) })?;
        if !done {
            let what = if arguments.undo { "nothing to take back" } else { "nothing to make again" };
            anyhow::bail!("there is {what} for `{}` in {}", text::line(&arguments.id), text::line(&arguments.split));
        }
    } else {
        let patch = patch(&arguments, before.rationale.as_deref())?;
        let mut patches = vec![(target.clone(), patch)];
        // Key words that are still there stay key words.
        if let (Patch::Rationale(Some(new)), Some(old)) = (&patches[0].1, &before.rationale) {
            let marks = carried(old.trim(), new.trim(), &before.highlights);
            patches.extend((!marks.is_empty()).then_some((target, Patch::Highlights(marks))));
        }
        dataset.change(|edits| edits.set_all(patches))?;
    }
    let (_, after) = split.find(&arguments.id, &arguments.source)?;
    if context.json {
        return context.print_json(&after);
    }
    let rationale = after.rationale.as_deref().map_or("no rationale".into(), text::visible);
    let marked: Vec<String> = after.highlights.iter().map(|range| format!("{}..{}", range.start, range.end)).collect();
    let marked = if marked.is_empty() { String::new() } else { format!("key {}\n", marked.join(", ")) };
    print(&format!("{rationale}\n{marked}"))
}

fn patch(arguments: &Arguments, rationale: Option<&str>) -> anyhow::Result<Patch> {
    if arguments.no_rationale {
        return Ok(Patch::Rationale(None));
    }
    if let Some(text) = &arguments.rationale {
        let mut text = text.clone();
        if text == "-" {
            text.clear();
            std::io::stdin().read_to_string(&mut text)?;
            text.truncate(text.trim_end_matches(['\n', '\r']).len());
        }
        if text.trim().is_empty() {
            return Err(Usage("the rationale is empty · --no-rationale leaves the example without one".into()).into());
        }
        return Ok(Patch::Rationale(Some(text)));
    }
    let mut ranges: Vec<Range<usize>> = arguments.highlight.iter().map(|marked| marked.0.clone()).collect();
    ranges.sort_by_key(|range| range.start);
    let length = rationale.unwrap_or_default().chars().count();
    if let Some(range) = ranges.iter().find(|range| range.end > length) {
        let problem =
            format!("{}..{} goes beyond the rationale, which has {length} characters", range.start, range.end);
        return Err(Usage(problem).into());
    }
    if let Some(pair) = ranges.windows(2).find(|pair| pair[0].end > pair[1].start) {
        let [one, other] = [&pair[0], &pair[1]].map(|range| format!("{}..{}", range.start, range.end));
        return Err(Usage(format!("{one} and {other} overlap · mark them as one")).into());
    }
    Ok(Patch::Highlights(ranges))
}
