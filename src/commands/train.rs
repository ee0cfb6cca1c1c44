//! `afterthought train`: one fine-tune, in the foreground or detached; and the hidden command of the worker process.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::output::{Context, Interrupted, Resumable, print, print_json_line, say};
use crate::journal::{Event, RunState};
use crate::runs::supervisor::Listener;
use crate::runs::{RunDirectory, RunSpec, prepare, spawn, worker};
use crate::student::ops::Ops;
use crate::text;

const EXAMPLES: &str = "\
Examples:
  afterthought train my-run.yaml
  afterthought train --set rationale.placement=pre --set seed.init=1
  afterthought train my-run.yaml --set training.batch_size=16 --detach
  afterthought train --resume last";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainArgs {
    /// What to train; without a file, the toy student on the toy world
    file: Option<PathBuf>,
    /// Change one value, as in training.batch_size=16 (may be repeated)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Go on with a run that was stopped or interrupted, from its newest checkpoint
    #[arg(long, value_name = "RUN", conflicts_with_all = ["file", "overrides", "name", "ops"])]
    resume: Option<String>,
    /// Train in a process of its own that outlives this terminal
    #[arg(long)]
    detach: bool,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long)]
    device: Option<String>,
    /// The form of the student's operations (training.ops)
    #[arg(long, value_enum)]
    ops: Option<Ops>,
    /// A name that becomes part of the run's id
    #[arg(long)]
    name: Option<String>,
}

pub fn run(args: TrainArgs, context: &Context) -> anyhow::Result<()> {
    let run = match &args.resume {
        Some(id) => {
            let run = RunDirectory::find(&context.project, id)?;
            run.unfinished()?;
            run
        }
        None => {
            let mut overrides = args.overrides;
            overrides.extend(args.device.map(|device| format!("device={device}")));
            overrides.extend(args.ops.map(|ops| format!("training.ops={}", ops.name())));
            let spec = match &args.file {
                Some(file) => RunSpec::read(file, &overrides)?,
                None => super::settings::read(None, &overrides)?,
            };
            prepare::check(&context.project, &spec)?;
            let name = args.name.unwrap_or_else(|| spec.rationale.to_string());
            RunDirectory::create(&context.project, spec, &name)?
        }
    };
    if args.detach {
        spawn::worker(&context.project, &run)?;
        say(&format!("training goes on by itself · `afterthought runs follow {}` watches it", run.id()));
        return finish(context, &run, RunState::Queued);
    }
    // Before the progress bar, which has a thread of its own.
    worker::limit_threads(worker::threads(&run.spec()?));
    let listener: Listener = if context.json {
        Box::new(|event| {
            let _ = print_json_line(event);
        })
    } else {
        let mut meter = Meter { bar: context.progress("", 0), plain: !super::output::is_interactive() };
        Box::new(move |event| meter.show(event))
    };
    let ending = worker::work(&context.project, &run, Some(listener))?;
    finish(context, &run, ending.state)?;
    if ending.state != RunState::Stopped {
        return Ok(());
    }
    say(&format!("stopped; `afterthought train --resume {}` goes on", run.id()));
    if ending.by_signal { Err(Resumable.into()) } else { Err(Interrupted.into()) }
}

/// The run's id is the last thing printed.
fn finish(context: &Context, run: &RunDirectory, state: RunState) -> anyhow::Result<()> {
    if context.json {
        return context.print_json_line(&serde_json::json!({"id": run.id(), "state": state}));
    }
    print(&format!("{}\n", run.id()))
}

/// What a person sees of a run in the foreground.
struct Meter {
    bar: ProgressBar,
    /// No bar can be drawn, so that evaluations are printed as lines and steps are not.
    plain: bool,
}

impl Meter {
    fn show(&mut self, event: &Event) {
        match event {
            Event::Start { steps, .. } => {
                self.bar.set_length(*steps as u64);
                self.bar.reset_eta();
            }
            Event::Resume { step } => self.bar.set_position(*step as u64),
            Event::Step(step) => {
                self.bar.set_position(step.step as u64);
                self.bar.set_message(format!("loss {:.4}", step.loss));
            }
            Event::Progress { what, done, total } => {
                self.bar.set_message(format!("{} {done}/{total}", text::line(what)));
            }
            Event::Evaluation(found) => {
                let interval = crate::evaluation::statistics::wilson(found.correct, found.examples);
                self.line(&format!(
                    "step {}: {} {:.1} % right [{:.1}, {:.1}] ({} of {}{}){}",
                    found.step,
                    found.split,
                    found.accuracy * 100.0,
                    interval.0 * 100.0,
                    interval.1 * 100.0,
                    found.correct,
                    found.examples,
                    if found.unparsable > 0 { format!(", {} unparsable", found.unparsable) } else { String::new() },
                    found.loss.map_or_else(String::new, |loss| format!(", loss {loss:.4}")),
                ));
            }
            Event::Note { text } => self.line(text),
            Event::Skipped(skipped) => {
                self.line(&format!("step {} was skipped: its {} is no number", skipped.step, skipped.what));
            }
            Event::State { state: RunState::Paused, reason: Some(reason) } => self.line(&format!("paused: {reason}")),
            Event::State { state, .. } if !state.is_active() => self.bar.finish_and_clear(),
            _ => {}
        }
    }

    fn line(&self, text: &str) {
        if self.plain { say(text) } else { self.bar.println(text::line(text)) }
    }
}

/// The command of the worker process.
#[derive(Args)]
pub struct WorkerArgs {
    run: String,
}

pub fn work(args: WorkerArgs, context: &Context) -> anyhow::Result<()> {
    let run = RunDirectory::find(&context.project, &args.run)?;
    worker::limit_threads(worker::threads(&run.spec()?));
    let ending = worker::work(&context.project, &run, None)?;
    if ending.by_signal { Err(Resumable.into()) } else { Ok(()) }
}
