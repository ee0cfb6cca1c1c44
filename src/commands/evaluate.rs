//! `afterthought evaluate`: the accuracy of a trained student on a split.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::output::{Context, print, say};
use super::subject::{Subject, SubjectArgs};
use crate::evaluation::{Accuracy, merge_predictions, predict};
use crate::runs::preview::Target;
use crate::runs::{RunDirectory, RunSpec};
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
    #[command(flatten)]
    subject: SubjectArgs,
}

pub fn run(args: EvaluateArgs, context: &Context) -> anyhow::Result<()> {
    let args = args.subject;
    let subject = Subject::load(&args, context)?;
    let Subject { target, own, spec, split, student, loaded, .. } = &subject;

    let bar = context.progress("asking", subject.count as u64);
    let borrow = |place: usize| loaded.borrow(place, &student.renderer);
    let mut on_progress = |done: usize| {
        bar.set_position(done as u64);
        ControlFlow::Continue(())
    };
    let asking = spec.evaluation.asking();
    let (decoder, renderer) = (&student.decoder, &student.renderer);
    let predictions = predict(decoder, renderer, subject.examples(), &asking, &borrow, &mut on_progress)?;
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
    show(&Accuracy::of(&predictions), spec, split, context)?;
    // Last, so that the numbers are seen where the run's folder can't be written.
    if let Target::Run { run, checkpoint } = target
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
        merge_predictions(&run.predictions(), &spec.dataset, split, &predictions)?;
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
            "unfinished": accuracy.unfinished,
            "interval": accuracy.share().map(|_| [interval.0, interval.1]),
            "answer": spec.evaluation.answer,
        }));
    }
    let (dataset, split) = (text::line(&spec.dataset), text::line(split));
    match accuracy.share() {
        Some(share) => print(&format!(
            "{dataset}/{split}: {:.1} % right [{:.1}, {:.1}], {} of {}, {} unparsable{}\n",
            share * 100.0,
            interval.0 * 100.0,
            interval.1 * 100.0,
            accuracy.correct,
            accuracy.examples,
            accuracy.unparsable,
            accuracy.note(spec.evaluation.limit).map_or_else(String::new, |note| format!("; {note}"))
        )),
        None => print(&format!("{dataset}/{split} has no answers to compare with; the predictions were made\n")),
    }
}
