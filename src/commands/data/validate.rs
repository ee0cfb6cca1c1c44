//! `afterthought data validate`.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use clap::Args;

use super::super::Context;
use super::super::output::{Interrupted, print};
use super::super::study::listen;
use super::grouped;
use crate::corpus::validate::{Kind, Problem, Report, validate};
use crate::text;

const EXAMPLES: &str = "\
Ends with 1 where rows can't be read, ids stand twice, answers are none of the choices, labels
stand twice or questions are empty: such rows make training wrong. Everything else is a warning,
and ends with 0.

Examples:
  afterthought data validate toyworld
  afterthought data validate commonsenseqa --all
  afterthought data validate commonsenseqa --json | jq '.problems[] | select(.kind == \"announcement\")'";

/// Places of each kind that are shown without `--all`.
const SHOWN: usize = 3;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The data set
    name: String,
    /// Show every place and not only the first of each kind
    #[arg(long)]
    all: bool,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<()> {
    let dataset = context.catalog().open(&arguments.name)?;
    let known: usize = dataset.split_names().filter_map(|split| Some(dataset.split(split).ok()?.count().rows)).sum();
    let stop = Arc::new(AtomicBool::new(false));
    listen(stop.clone(), Arc::new(AtomicI32::new(0)))?;
    let bar = context.progress("checking", known as u64);
    let report = validate(&dataset, &mut |read| {
        bar.set_length(bar.length().unwrap_or(0).max(read));
        bar.set_position(read);
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish_and_clear();
    let Some(report) = report else { return Err(Interrupted.into()) };
    if context.json {
        context.print_json(&report)?
    } else {
        print(&shown(&report, arguments.all))?
    }
    if report.has_errors() {
        let errors = report.counts.iter().filter(|(kind, _)| kind.is_error()).map(|(_, count)| count).sum();
        anyhow::bail!("{} has {} that make training wrong", text::line(&report.dataset), rows(errors));
    }
    Ok(())
}

fn rows(count: usize) -> String {
    format!("{} {}", grouped(count), if count == 1 { "row" } else { "rows" })
}

fn shown(report: &Report, all: bool) -> String {
    let mut out = String::new();
    for (split, counts) in &report.splits {
        let (examples, rationales) = (grouped(counts.examples), grouped(counts.rationales));
        out.push_str(&format!("{}: {examples} examples, {rationales} rationales\n", text::line(split)));
    }
    for (source, rationales) in &report.sources {
        out.push_str(&format!("source {}: {} rationales\n", text::line(source), grouped(*rationales)));
    }
    for (kind, count) in &report.counts {
        out.push_str(&format!(
            "\n{}{}: {}\n",
            if kind.is_error() { "ERROR " } else { "" },
            kind.title(),
            grouped(*count)
        ));
        let places: Vec<&Problem> = report.problems.iter().filter(|problem| problem.kind == *kind).collect();
        let limit = if all { places.len() } else { SHOWN };
        places.iter().take(limit).for_each(|problem| out.push_str(&place(problem)));
        match count - places.len().min(limit) {
            0 => {}
            more if all => out.push_str(&format!("  … and {} more\n", grouped(more))),
            more => out.push_str(&format!("  … and {} more (--all shows them)\n", grouped(more))),
        }
    }
    if report.counts.is_empty() {
        out.push_str("\nno problems\n");
    }
    out
}

fn place(problem: &Problem) -> String {
    let file = problem.file.display().to_string();
    let id = problem.id.as_deref().map_or_else(String::new, |id| format!(" {}", text::excerpt(id, 40)));
    let what = if problem.kind == Kind::MissingAnswer || problem.kind == Kind::EmptyRationale {
        // The heading says it all.
        String::new()
    } else {
        format!(" {}", text::line(&problem.problem))
    };
    format!("  {}:{}{id}{what}\n", text::line(&file), problem.line)
}
