//! `afterthought data replace`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::super::Context;
use super::super::output::{Usage, print};
use super::show::filter_of;
use super::{grouped, table};
use crate::corpus::edits::DEFAULT_SOURCE;
use crate::corpus::replace::{Done, Hit, Place, Replacement, replace};
use crate::text;

const EXAMPLES: &str = "\
What is found is a text as it stands, or a regex between slashes; /gills?/i takes upper and lower case as
one. In the replacement of a regex $1 or ${name} is what it caught, and $$ a dollar. All changes are one
group of lines in edits.jsonl: one `data edit --undo` of any of the questions takes all of them back.

Examples:
  afterthought data replace toyworld --find 'plainly , ' --replace '' --dry-run
  afterthought data replace toyworld --find '/\\bgills?\\b/' --replace fins --filter 'kind:sea'
  afterthought data replace csqa --split train --in question --find '  ' --replace ' '";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The data set
    name: String,
    /// The text to find, or a /regex/
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    find: String,
    /// What comes in its place
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    replace: String,
    /// Where to look: rationale or question
    #[arg(long = "in", value_name = "FIELD", default_value = "rationale", value_parser = PossibleValuesParser::new(["rationale", "question"]).try_map(|name| name.parse::<Place>()))]
    place: Place,
    /// The split; the first one where none is named
    #[arg(long)]
    split: Option<String>,
    /// Only in rows that match, as `data show --filter` finds them
    #[arg(long)]
    filter: Option<String>,
    /// Leave this example as it is; several may be given
    #[arg(long, value_name = "ID")]
    except: Vec<String>,
    /// The run whose answers the filter is about
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// The rationale source: default for the rows' own, or a file under rationales/
    #[arg(long, default_value = DEFAULT_SOURCE)]
    source: String,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// How many changes to print; --json gives all
    #[arg(long, value_name = "QUESTIONS", default_value_t = 20)]
    limit: usize,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<()> {
    let dataset = context.catalog().open(&arguments.name)?;
    let first = dataset.split_names().next().unwrap_or_default().to_owned();
    let split = dataset.split(arguments.split.as_deref().unwrap_or(&first))?;
    let replacement = Replacement::new(&arguments.find, &arguments.replace, arguments.place)
        .map_err(|problem| Usage(format!("--find: {problem}")))?;
    let filter = filter_of(arguments.filter.as_deref(), arguments.run.as_deref(), &split, &arguments.source, context)?;
    let left_out: BTreeSet<String> = arguments.except.iter().cloned().collect();
    let bar = context.progress("searching", split.count_all() as u64);
    let (mut hits, mut counted): (Vec<Hit>, Done) = (Vec::new(), Done::default());
    split.visit(0, &arguments.source, |row| {
        bar.set_position(row.number as u64);
        if let Ok(example) = &row.example
            && filter.matches(row.number, example)
            && !left_out.contains(&example.id)
            && let Some(hit) = replacement.hit(row.number, example)
        {
            (counted.questions, counted.places) = (counted.questions + 1, counted.places + hit.count);
            hits.push(hit);
        }
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    let done = if arguments.dry_run {
        counted
    } else {
        let done =
            replace(&split, &arguments.source, &filter, &replacement, &left_out, &mut |_| ControlFlow::Continue(()))?;
        done.unwrap_or_default()
    };
    if context.json {
        return context.print_json(&json!({
            "dataset": dataset.name(), "split": split.name, "in": arguments.place, "dry_run": arguments.dry_run,
            "questions": done.questions, "places": done.places, "changes": hits,
        }));
    }
    let rows: Vec<Vec<String>> = hits.iter().take(arguments.limit).map(row).collect();
    let more = hits.len().saturating_sub(arguments.limit);
    let more = if more > 0 { format!("… and {} more: --limit shows more\n", grouped(more)) } else { String::new() };
    let what = match (arguments.dry_run, done.questions) {
        (_, 0) => "found nowhere: nothing changes".to_owned(),
        (true, _) => format!("{} places in {} questions would change", grouped(done.places), grouped(done.questions)),
        (false, _) => format!("{} places in {} questions were changed", grouped(done.places), grouped(done.questions)),
    };
    print(&format!("{}{more}{what}\n", table(&rows)))
}

fn row(hit: &Hit) -> Vec<String> {
    let signed = |sign: &str, own: &str| if own.is_empty() { String::new() } else { format!("[{sign}{own}]") };
    let excerpt = &hit.excerpt;
    let change =
        format!("{}{}{}{}", excerpt.lead, signed("−", &excerpt.removed), signed("+", &excerpt.added), excerpt.tail);
    vec![text::excerpt(&hit.id, 24), format!("{}×", hit.count), text::line(&change).into_owned()]
}
