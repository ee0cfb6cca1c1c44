//! `afterthought data diff`.

use std::ops::ControlFlow;

use clap::Args;
use serde_json::json;

use super::super::Context;
use super::super::output::{print, print_json_lines};
use crate::corpus::difference::{Part, Side, changes};
use crate::corpus::edits::{DEFAULT_SOURCE, Target};
use crate::corpus::{Example, Split};
use crate::text;

const EXAMPLES: &str = "\
Words in [−…] were removed, words in [+…] were added. With --json one line for each question, with `id`,
`split`, `edits`, `before`, `after` and, as stretches with their `side`, `rationale` and `question`.

Examples:
  afterthought data diff toyworld
  afterthought data diff toyworld --split train --id tr-0007
  afterthought data diff toyworld --json | jq -r .id";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The data set
    name: String,
    /// Only this split
    #[arg(long)]
    split: Option<String>,
    /// Only this example
    #[arg(long)]
    id: Option<String>,
    /// The rationale source: default for the rows' own, or a file under rationales/
    #[arg(long, default_value = DEFAULT_SOURCE)]
    source: String,
}

/// A question that was edited.
struct Changed {
    split: String,
    edits: usize,
    before: Example,
    after: Example,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<()> {
    let dataset = context.catalog().open(&arguments.name)?;
    dataset.look_for_source(&arguments.source)?;
    let names: Vec<String> = match &arguments.split {
        Some(split) => vec![split.clone()],
        None => dataset.split_names().map(str::to_owned).collect(),
    };
    let mut all = Vec::new();
    for name in names {
        all.extend(changed(&dataset.split(&name)?, &arguments.source, arguments.id.as_deref())?);
    }
    if let Some(id) = arguments.id.as_deref().filter(|_| all.is_empty()) {
        super::super::settings::find_example(&dataset, arguments.split.as_deref(), id, &arguments.source)?;
    }
    if context.json {
        return print_json_lines(all.iter().map(|changed| {
            json!({
                "id": changed.after.id, "split": changed.split, "edits": changed.edits,
                "before": changed.before, "after": changed.after,
                "rationale": of_rationale(changed), "question": changes(&changed.before.question, &changed.after.question),
            })
        }));
    }
    if all.is_empty() {
        return print("nothing is edited here\n");
    }
    print(&all.iter().map(shown).collect::<Vec<_>>().join("\n"))
}

/// The edited questions of a split, in the order of its rows.
fn changed(split: &Split, source: &str, id: Option<&str>) -> anyhow::Result<Vec<Changed>> {
    let edits = split.edits(source);
    let (mut found, mut rows) = (Vec::new(), Vec::new());
    if edits.is_empty() {
        return Ok(found);
    }
    split.visit(0, source, |row| {
        if let Ok(example) = row.example
            && edits.contains_key(&example.id)
            && id.is_none_or(|id| id == example.id)
        {
            rows.push((row.number, example));
        }
        ControlFlow::Continue(())
    })?;
    for (number, after) in rows {
        let Some(before) = split.original(number, source)? else { continue };
        let target = Target { split: split.name.clone(), id: after.id.clone(), source: source.into() };
        let edits = split.dataset.edits().depth(&target);
        found.push(Changed { split: split.name.clone(), edits, before, after });
    }
    Ok(found)
}

fn of_rationale(changed: &Changed) -> Vec<Part> {
    let text = |example: &Example| example.rationale.as_deref().unwrap_or_default().trim().to_owned();
    changes(&text(&changed.before), &text(&changed.after))
}

fn shown(changed: &Changed) -> String {
    let mut out =
        format!("{}/{}  {} edits\n", text::line(&changed.split), text::line(&changed.after.id), changed.edits);
    let question = changes(&changed.before.question, &changed.after.question);
    for (name, parts) in [("question", question), ("rationale", of_rationale(changed))] {
        if parts.iter().any(|part| part.side != Side::Both) {
            out.push_str(&format!("  {name}  {}\n", text::line(&signed(&parts))));
        }
    }
    let marked = |example: &Example| -> String {
        let ranges = example.highlights.iter().map(|range| format!("{}..{}", range.start, range.end));
        ranges.collect::<Vec<_>>().join(", ")
    };
    let (before, after) = (marked(&changed.before), marked(&changed.after));
    if before != after {
        let none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
        out.push_str(&format!("  key  {} → {}\n", none(before), none(after)));
    }
    out
}

fn signed(parts: &[Part]) -> String {
    let part = |part: &Part| {
        let (word, blank) = part.text.split_at(part.text.trim_end().len());
        match part.side {
            Side::Both => part.text.clone(),
            Side::Removed => format!("[−{word}]{blank}"),
            Side::Added => format!("[+{word}]{blank}"),
        }
    };
    parts.iter().map(part).collect()
}
