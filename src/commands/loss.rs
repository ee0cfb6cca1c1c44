//! `afterthought loss`: what each token of an example's training sequence costs a student, at one checkpoint or at several.

use std::path::PathBuf;

use clap::Args;

use super::output::{Context, Usage, device, print, say};
use super::settings::find_example;
use crate::evaluation::token_losses::{ExampleLosses, TokenLosses, loudness};
use crate::runs::preview::{Reading, Target, preview};
use crate::student::ops::Ops;
use crate::training::checkpoint;

const EXAMPLES: &str = "\
Examples:
  afterthought loss last toyworld --id tr-0003
  afterthought loss last toyworld --id tr-0003 --checkpoints all
  afterthought loss last@best toyworld --id tr-0003 --json | jq '.tokens[] | select(.losses[0] > 3)'

Each token has its cross-entropy in nats with a bar as high as that is, its probability, its weight in the loss (· for
none) and its role. A token of which only some bytes are a character's stands empty after the one that has its first.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct LossArgs {
    /// A run's id (or `last`) or one of its checkpoints (RUN@best, RUN@STEP), a checkpoint folder, or a student folder
    target: String,
    dataset: String,
    /// The example
    #[arg(long)]
    id: String,
    /// The split to look in; all of them when left out
    #[arg(long)]
    split: Option<String>,
    /// Checkpoints of the run in place of that one: `all`, or a list such as 100,200,best
    #[arg(long, value_name = "LIST")]
    checkpoints: Option<String>,
    /// Change one value of the run's settings, as in rationale.placement=pre
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// The form of the student's operations; that of the run when left out
    #[arg(long, value_enum)]
    ops: Option<Ops>,
}

pub fn run(args: &LossArgs, context: &Context) -> anyhow::Result<()> {
    let target = Target::find(&context.project, &args.target)?;
    let mut spec = target.spec()?.with_overrides(&args.overrides)?;
    spec.training.ops = args.ops.unwrap_or(spec.training.ops);
    let targets = targets(target, args.checkpoints.as_deref())?;
    let device = device(&args.device)?;
    let dataset = context.catalog().open(&args.dataset)?;
    let (split, place, example) = find_example(&dataset, args.split.as_deref(), &args.id, &spec.rationale.source)?;
    let bar = context.progress("reading word vectors", 0);
    let mut report = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let reading = Reading::at(targets[0].folder())?;
    let shown = preview(&context.project, &spec, &reading, &split, place, &example, &mut report)?;
    bar.finish_and_clear();
    if let Some(caveat) = shown.caveat {
        say(&caveat);
    }
    if shown.rendered.without_rationale {
        say("the example has no rationale under this recipe and stands with its label alone");
    }
    if shown.rendered.truncated > 0 {
        say(&format!("{} tokens of the rationale were cut off to fit", shown.rendered.truncated));
    }
    let mut found = ExampleLosses::new(&example.id, &shown.rendered);
    let bar = context.progress("asking checkpoints", targets.len() as u64);
    for target in &targets {
        let (name, step) = name_of(target);
        match target.load(&spec, &dataset, &device) {
            Ok(student) => found.ask(&name, step, &student.decoder)?,
            // The others are worth knowing.
            Err(error) if targets.len() > 1 => say(&format!("{} can't be asked: {error}", crate::text::line(&name))),
            Err(error) => return Err(error.into()),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    anyhow::ensure!(!found.checkpoints.is_empty(), "no checkpoint of {} can be asked", args.target);
    for broken in found.checkpoints.iter().filter(|checkpoint| checkpoint.broken > 0) {
        say(&format!(
            "{}: the loss of {} tokens is no number, as where weights have diverged · an earlier checkpoint (RUN@STEP) \
             may have one",
            crate::text::line(&broken.name),
            broken.broken
        ));
    }
    if context.json { context.print_json(&found) } else { print(&as_text(&found)) }
}

/// The checkpoints that are asked, oldest first where all are.
fn targets(target: Target, wanted: Option<&str>) -> anyhow::Result<Vec<Target>> {
    let Some(wanted) = wanted else { return Ok(vec![target]) };
    let Target::Run { run, .. } = &target else {
        return Err(Usage("--checkpoints needs a run; a folder is one student".into()).into());
    };
    let folders: Vec<PathBuf> = match wanted {
        "all" => checkpoint::list(&run.checkpoints()).into_iter().map(|(_, path)| path).collect(),
        list => list.split(',').map(|name| run.checkpoint(name.trim())).collect::<Result<_, _>>()?,
    };
    Ok(folders.into_iter().map(|checkpoint| Target::Run { run: run.clone(), checkpoint }).collect())
}

/// What a checkpoint is called, and its step where it is a run's.
fn name_of(target: &Target) -> (String, Option<usize>) {
    let name = target.folder().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let step = match target {
        Target::Run { checkpoint, .. } => checkpoint::step_of(checkpoint),
        Target::Folder(_) => None,
    };
    (name, step)
}

fn as_text(found: &ExampleLosses) -> String {
    let mut out = String::new();
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
    for (place, checkpoint) in found.checkpoints.iter().enumerate() {
        let which = if found.checkpoints.len() > 1 { format!("{} ", place + 1) } else { String::new() };
        out.push_str(&format!(
            "{which}{}: loss {} a token that counts, label {}, rationale {}\n",
            crate::text::line(&checkpoint.name),
            number(checkpoint.loss),
            number(checkpoint.loss_label),
            number(checkpoint.loss_rationale)
        ));
    }
    for (number, sequence) in found.sequences().enumerate() {
        out.push_str(if number > 0 { "\nand, as a sequence of its own\n" } else { "\n" });
        match found.checkpoints.len() {
            1 => out.push_str("    loss       p  weight  role        token\n"),
            count => out.push_str(&format!("{:<width$}  first   last  weight  role        token\n", "", width = count)),
        }
        sequence.iter().for_each(|token| out.push_str(&row(token, found.checkpoints.len())));
    }
    out
}

/// A token with its marks.
fn row(token: &TokenLosses, checkpoints: usize) -> String {
    let loss = |place: usize| token.at(place).map_or_else(|| "–".to_owned(), |loss| format!("{loss:.2}"));
    let weight = if token.weight > 0.0 { format!("{:.2}", token.weight) } else { "·".into() };
    let role = serde_json::to_value(token.role).unwrap_or_default();
    let marks: String = (0..checkpoints).map(|place| mark(token.at(place))).collect();
    let numbers = match checkpoints {
        1 => {
            let p = token.probabilities.first().copied().flatten();
            format!(" {:>6} {:>7}", loss(0), p.map_or_else(|| "–".to_owned(), |p| format!("{p:.4}")))
        }
        _ => format!(" {:>6} {:>6}", loss(0), loss(checkpoints.saturating_sub(1))),
    };
    let role = role.as_str().unwrap_or_default().to_owned();
    format!("{marks}{numbers}  {weight:>6}  {role:<10}  {}\n", crate::text::line(&token.text))
}

/// A bar as high as a loss is.
fn mark(loss: Option<f32>) -> char {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    loss.map_or('·', |loss| BARS[loudness(loss, BARS.len() - 1)])
}
