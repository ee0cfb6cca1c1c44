//! `afterthought data duplicates`.

use std::ops::ControlFlow;

use clap::Args;

use super::super::Context;
use super::super::output::{Usage, print};
use super::{grouped, table};
use crate::corpus::duplicates::{self, Counts, Kind, Pair, Report};
use crate::text;

const EXAMPLES: &str = "\
Questions are the same when their words are, whatever their case, punctuation and white space. They are
near when the Jaccard similarity of their words reaches --near. A question of one split that another
split has is a leak: what is tested was seen in training.

Examples:
  afterthought data duplicates toyworld
  afterthought data duplicates csqa --near 0.9 --limit 100
  afterthought data duplicates csqa --json | jq '.pairs[] | select(.is_leak)'";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The data set
    name: String,
    /// The similarity from which on questions are near, above 0 and at most 1
    #[arg(long, value_name = "SIMILARITY", default_value_t = duplicates::THRESHOLD)]
    near: f64,
    /// How many pairs to print; --json gives all that are kept
    #[arg(long, value_name = "PAIRS", default_value_t = 40)]
    limit: usize,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<()> {
    if !(arguments.near > 0.0 && arguments.near <= 1.0) {
        return Err(Usage("--near is a similarity above 0 and at most 1".into()).into());
    }
    let dataset = context.catalog().open(&arguments.name)?;
    let bar = context.progress("comparing", 0);
    let report = duplicates::find(&dataset, arguments.near, &mut |_, done| {
        bar.set_length(bar.length().unwrap_or(0).max(done as u64));
        bar.set_position(done as u64);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    let Some(report) = report else { return Ok(()) };
    if context.json { context.print_json(&report) } else { print(&shown(&report, arguments.limit)) }
}

fn shown(report: &Report, limit: usize) -> String {
    let counts = |counts: &Counts| {
        let Counts { same, other_choices, near } = *counts;
        [("same", same), ("same with other choices", other_choices), ("near", near)]
            .map(|(what, count)| format!("{} {what}", grouped(count)))
            .join(", ")
    };
    let mut out = format!("{}: {} questions\n", text::line(&report.dataset), grouped(report.questions));
    out.push_str(&format!("leaks across splits  {}\n", counts(&report.leaks)));
    out.push_str(&format!("within a split       {}\n", counts(&report.within_splits)));
    if report.not_compared > 0 {
        let rest = grouped(report.not_compared);
        out.push_str(&format!("{rest} different questions were not compared for nearness: there are too many\n"));
    }
    out.push_str(&table(&report.pairs.iter().take(limit).map(row).collect::<Vec<_>>()));
    let left = (report.leaks.all() + report.within_splits.all()).saturating_sub(limit.min(report.pairs.len()));
    if left > 0 {
        out.push_str(&format!("… and {} more: --limit shows more, --json all that are kept\n", grouped(left)));
    }
    out
}

fn row(pair: &Pair) -> Vec<String> {
    let place = |place: &duplicates::Place| {
        format!("{}/{} #{}", text::line(&place.split), text::excerpt(&place.id, 24), place.row + 1)
    };
    vec![
        if pair.is_leak { "leak" } else { "" }.into(),
        match pair.kind {
            Kind::Same => "same".into(),
            Kind::OtherChoices => "other choices".into(),
            Kind::Near => format!("near {:.2}", pair.similarity),
        },
        place(&pair.first),
        place(&pair.second),
        text::excerpt(&pair.question, 60),
    ]
}
