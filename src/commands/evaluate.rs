//! `afterthought evaluate`: the accuracy of a trained student on a split.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::output::{Context, device, print, say};
use crate::evaluation::{Accuracy, Given, merge_predictions, predict};
use crate::rationale::Placement;
use crate::runs::lending;
use crate::runs::load_split;
use crate::runs::preview::Target;
use crate::runs::{RunDirectory, RunSpec};
use crate::student::ops::Ops;
use crate::text;

const EXAMPLES: &str = "\
Examples:
  afterthought evaluate last --split test
  afterthought evaluate last@best
  afterthought evaluate 20261120-post --dataset toyworld-noisy --json
  afterthought evaluate runs/20261120-post/checkpoints/step-800 --set evaluation.answer=generate";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct EvaluateArgs {
    /// A run's id (or `last`) or one of its checkpoints (RUN@best, RUN@STEP), a checkpoint folder, or a student folder
    target: String,
    /// Another data set than the run's own
    #[arg(long)]
    dataset: Option<String>,
    /// The run's last split when left out
    #[arg(long)]
    split: Option<String>,
    /// Change one value, as in evaluation.answer=generate
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long)]
    device: Option<String>,
    /// The form of the student's operations; that of the run when left out
    #[arg(long, value_enum)]
    ops: Option<Ops>,
    /// Look at this many examples only
    #[arg(long)]
    limit: Option<usize>,
    /// Print a line for each example as well (with --json, JSON lines before the result)
    #[arg(long)]
    each: bool,
}

pub fn run(args: EvaluateArgs, context: &Context) -> anyhow::Result<()> {
    let target = Target::find(&context.project, &args.target)?;
    let own = target.spec()?;
    let mut spec = own.with_overrides(&args.overrides)?;
    if let Some(dataset) = args.dataset {
        spec.dataset = dataset;
    }
    spec.training.ops = args.ops.unwrap_or(spec.training.ops);
    let device = device(args.device.as_deref().unwrap_or(&spec.device))?;
    let dataset = context.catalog().open(&spec.dataset)?;
    let split = args.split.unwrap_or_else(|| spec.evaluation.last_split().to_owned());
    let mut student = target.load(&spec, &dataset, &device)?;
    student.renderer.recipe = spec.rationale.clone();
    student.renderer.seed = spec.seed.ablation;
    let mut loaded = load_split(&dataset, &split, &spec.rationale.source)?;
    loaded.lend(&dataset, &spec.rationale, spec.seed.ablation)?;
    // The rationales are read only where the student is given them.
    if spec.rationale.placement == Placement::Pre && spec.evaluation.rationale == Given::Teacher {
        let bar = context.progress("reading word vectors", 0);
        let mut report = |done: u64, total: u64| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let (project, tokenizer) = (&context.project, &student.renderer.tokenizer);
        let vectors = lending::vectors(project, &spec, tokenizer, loaded.all_examples(), &mut report)?;
        bar.finish_and_clear();
        student.renderer.vectors = vectors.map(Arc::new);
    }
    let examples = &loaded.examples[..args.limit.unwrap_or(usize::MAX).min(loaded.examples.len())];

    let bar = context.progress("asking", examples.len() as u64);
    let borrow = |place: usize| loaded.borrow(place, &student.renderer);
    let mut on_progress = |done: usize| {
        bar.set_position(done as u64);
        ControlFlow::Continue(())
    };
    let asking = spec.evaluation.asking();
    let predictions = predict(&student.decoder, &student.renderer, examples, &asking, &borrow, &mut on_progress)?;
    bar.finish_and_clear();

    if args.each {
        for prediction in &predictions {
            if context.json {
                context.print_json_line(prediction)?;
            } else {
                let mark = if prediction.is_correct() { "✓" } else { "✗" };
                let shown = |label: &Option<String>| label.clone().unwrap_or_else(|| "–".into());
                let line = format!(
                    "{mark} {:<12} answer {:<3} predicted {:<3} {}",
                    prediction.id,
                    shown(&prediction.answer),
                    shown(&prediction.predicted),
                    prediction.text
                );
                print(&format!("{}\n", text::line(&line)))?;
            }
        }
    }
    show(&Accuracy::of(&predictions), &spec, &split, context)?;
    // Last, so that the numbers are seen where the run's folder can't be written.
    if let Target::Run { run, checkpoint } = &target
        && args.limit.is_none()
    {
        if !is_newest(run, checkpoint) {
            // The board counts those of the run as it ended.
            say("the predictions are not kept: they are not those of the run's newest checkpoint");
            return Ok(());
        }
        if (&spec.rationale, spec.evaluation.asking()) != (&own.rationale, own.evaluation.asking()) {
            say("the predictions are not kept: the run asks its student in another way");
            return Ok(());
        }
        merge_predictions(&run.predictions(), &spec.dataset, &split, &predictions)?;
        say(&format!("predictions: {}", run.predictions().display()));
    }
    Ok(())
}

fn is_newest(run: &RunDirectory, checkpoint: &Path) -> bool {
    let same = |newest: PathBuf| newest.file_name() == checkpoint.file_name();
    run.newest_checkpoint().is_some_and(same)
}

fn show(accuracy: &Accuracy, spec: &RunSpec, split: &str, context: &Context) -> anyhow::Result<()> {
    let interval = accuracy.interval();
    if context.json {
        return context.print_json(&json!({
            "dataset": spec.dataset,
            "split": split,
            "accuracy": accuracy.share(),
            "correct": accuracy.correct,
            "examples": accuracy.examples,
            "unparsable": accuracy.unparsable,
            "interval": accuracy.share().map(|_| [interval.0, interval.1]),
            "answer": spec.evaluation.answer,
        }));
    }
    let (dataset, split) = (text::line(&spec.dataset), text::line(split));
    match accuracy.share() {
        Some(share) => print(&format!(
            "{dataset}/{split}: {:.1} % right [{:.1}, {:.1}], {} of {}, {} unparsable\n",
            share * 100.0,
            interval.0 * 100.0,
            interval.1 * 100.0,
            accuracy.correct,
            accuracy.examples,
            accuracy.unparsable
        )),
        None => print(&format!("{dataset}/{split} has no answers to compare with; the predictions were made\n")),
    }
}
