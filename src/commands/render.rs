//! `afterthought render`: what the student will see of an example.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output::{Context, print, say};
use super::settings;
use crate::runs::preview::{Reading, preview};

const EXAMPLES: &str = "\
Examples:
  afterthought render toyworld --id tr-0003
  afterthought render toyworld --id tr-0003 --set rationale.placement=pre
  afterthought render everyday --id everyday-001 --recipe recipe.yaml --student ../gpt2 --json";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct RenderArgs {
    dataset: String,
    /// The example
    #[arg(long)]
    id: String,
    /// The split to look in; all of them when left out
    #[arg(long)]
    split: Option<String>,
    /// A recipe (placement, source, ablations), or a RUN.yaml
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Change one value of the run, as in rationale.placement=pre
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Whose tokens: toy, a folder or a hub id
    #[arg(long)]
    student: Option<String>,
}

pub fn run(args: RenderArgs, context: &Context) -> anyhow::Result<()> {
    let mut overrides = vec![format!("dataset={}", args.dataset)];
    overrides.extend(args.student.map(|student| format!("student={student}")));
    overrides.extend(args.overrides);
    let spec = settings::read(args.recipe.as_deref(), &overrides)?;
    let dataset = context.catalog().open(&spec.dataset)?;
    let (split, place, example) =
        settings::find_example(&dataset, args.split.as_deref(), &args.id, &spec.rationale.source)?;
    let reading = Reading::of(&context.project, &spec, &dataset)?;
    let bar = context.progress("reading word vectors", 0);
    let mut report = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let shown = preview(&context.project, &spec, &reading, &split, place, &example, &mut report)?;
    bar.finish_and_clear();
    if let Some(caveat) = shown.caveat {
        say(&caveat);
    }
    let rendered = shown.rendered;
    if rendered.truncated > 0 {
        say(&format!("{} tokens of the rationale were cut off to fit", rendered.truncated));
    }
    if rendered.without_rationale {
        let is_swapped = spec.rationale.swap().is_some();
        say(if example.has_rationale() && !is_swapped {
            "no rationale of the example passes the filter, and it stands with its label alone"
        } else if example.has_rationale() {
            "there is no rationale to swap the example's with, and it stands with its label alone"
        } else {
            "the example has no rationale and stands with its label alone"
        });
    }
    if context.json {
        let mut shown = json!({"text": rendered.text(), "tokens": rendered.tokens});
        if let Some(second) = &rendered.second {
            shown["second"] = json!({"text": second.text(), "tokens": second.tokens});
        }
        return context.print_json(&shown);
    }
    let mut text = String::new();
    for (number, sequence) in rendered.sequences().enumerate() {
        if number > 0 {
            text.push_str("\nand, as a sequence of its own\n");
        }
        for token in &sequence.tokens {
            let role = serde_json::to_value(token.role)?;
            text.push_str(&format!(
                "{:>6}  {:<10} {:>5}  {}\n",
                token.id,
                role.as_str().unwrap_or_default(),
                if token.loss > 0.0 { format!("{:.2}", token.loss) } else { "·".into() },
                crate::text::line(&token.text)
            ));
        }
    }
    print(&text)
}
