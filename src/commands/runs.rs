//! `afterthought runs …`: what was run, what runs now, and what to do with it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{Context, Interrupted, Usage, print, say};
use super::{loupe, table};
use crate::files;
use crate::journal::{Event, RunState, Tail};
use crate::runs::{Run, RunDirectory, control, fork, spawn};
use crate::student::{Student, lora};
use crate::studies::board::board;
use crate::text;

pub const EXAMPLES: &str = "\
A run is named by its id, by the beginning or the end of it, or as `last`.

Examples:
  afterthought runs list
  afterthought runs follow last
  afterthought runs compare";

#[derive(Subcommand)]
pub enum RunsCommand {
    /// All runs, oldest first
    #[command(after_help = "Examples:\n  afterthought runs list\n  afterthought runs list --json | jq '.[].accuracy'")]
    List,
    /// One run: state, settings, latest numbers
    #[command(
        after_help = "Examples:\n  afterthought runs show last\n  afterthought runs show last --json | jq .spec.training"
    )]
    Show {
        /// The run's id, a part of it, or `last`
        run: String,
    },
    /// Compare the conditions that were run, one row each
    #[command(
        after_help = "Examples:\n  afterthought runs compare\n  afterthought runs compare --baseline post\n  afterthought runs compare --json | jq '.sections[].rows[] | {condition, accuracy}'"
    )]
    Compare {
        /// Measure all rows of a data set against this one, in place of that without rationales
        #[arg(long, value_name = "ROW")]
        baseline: Option<String>,
    },
    /// The questions on which two rows of that table disagree
    #[command(
        after_help = "Examples:\n  afterthought runs disagree post none\n  afterthought runs disagree post none --json | jq '.[].disagreements.won'"
    )]
    Disagree {
        /// The name of a row
        one: String,
        /// The row that it is held against
        other: String,
    },
    /// Watch a run until it ends (Ctrl-C leaves it running)
    #[command(
        after_help = "Examples:\n  afterthought runs follow last\n  afterthought runs follow last --json | jq 'select(.event == \"step\") | .loss'"
    )]
    Follow {
        /// The run's id, a part of it, or `last`
        run: String,
    },
    /// Steps whose loss stands out from those before them
    ///
    /// A loss stands out where it lies further above the median of the nine steps before it than the last 50 steps did, by
    /// six of their robust standard deviations and on a logarithmic scale. A skipped step, whose loss was no number, is
    /// listed too.
    #[command(
        after_help = "Examples:\n  afterthought runs spikes last\n  afterthought runs spikes last --json | jq '.spikes[].step'"
    )]
    Spikes {
        /// The run's id, a part of it, or `last`
        run: String,
    },
    /// The very examples that a step was fed, and what each costs at the checkpoints around it
    ///
    /// They are found again from the run's settings and data, without training, and held against the journal. Those that
    /// cost most come first.
    #[command(
        after_help = "Examples:\n  afterthought runs batch last 120\n  afterthought runs batch last 120 --json | jq '.examples[0]'"
    )]
    Batch {
        /// The run's id, a part of it, or `last`
        run: String,
        /// The step, 1 for the first; `runs spikes` lists those that stand out
        step: usize,
        /// Where to compute: auto, cpu or cuda:N
        #[arg(long, default_value = "auto")]
        device: String,
    },
    /// Let a run wait after its present step
    #[command(after_help = "Example:\n  afterthought runs pause last")]
    Pause {
        /// The run's id, a part of it, or `last`
        run: String,
    },
    /// Go on with a paused, stopped, interrupted or failed run
    #[command(after_help = "Example:\n  afterthought runs resume last")]
    Resume {
        /// The run's id, a part of it, or `last`
        run: String,
    },
    /// End a run; its checkpoint stays
    #[command(after_help = "Example:\n  afterthought runs stop last")]
    Stop {
        /// The run's id, a part of it, or `last`
        run: String,
    },
    /// Begin a new run at a checkpoint of another, with changed settings
    ///
    /// It trains in a process of its own, as a resumed run does; `runs follow` watches it.
    #[command(after_help = "\
Examples:
  afterthought runs fork last --set training.steps=1200
  afterthought runs fork last --step 400 --set training.learning_rate=1e-3")]
    Fork {
        /// The run's id, a part of it, or `last`
        run: String,
        /// The checkpoint's step; the newest when left out
        #[arg(long)]
        step: Option<usize>,
        /// Change one value, as in training.steps=1200 (may be repeated)
        #[arg(long = "set", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// Copy a checkpoint of a run, its settings, predictions and metrics to a folder
    #[command(
        after_help = "Examples:\n  afterthought runs export last --to my-student\n  afterthought runs export last@best --to my-best"
    )]
    Export {
        /// The run's id, a part of it, or `last`; its newest checkpoint, or RUN@best, RUN@STEP
        run: String,
        /// The folder to make
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Multiply adapters out, for a whole model in place of a PEFT adapter
        #[arg(long)]
        merge: bool,
    },
    /// Delete a run that is not under way
    #[command(after_help = "Example:\n  afterthought runs remove 20261120-post --yes")]
    Remove {
        /// The run's id, a part of it, or `last`
        run: String,
        /// Delete without asking
        #[arg(long)]
        yes: bool,
    },
}

pub fn run(command: RunsCommand, context: &Context) -> anyhow::Result<()> {
    let find = |id: &str| RunDirectory::find(&context.project, id);
    match command {
        RunsCommand::List => list(context),
        RunsCommand::Show { run } => show(context, &find(&run)?),
        RunsCommand::Compare { baseline } => compare(baseline.as_deref(), context),
        RunsCommand::Disagree { one, other } => {
            let table = board(&context.project, &read_all(context), &[]);
            table::disagree(&table, &one, &other, context)
        }
        RunsCommand::Follow { run } => follow(context, &find(&run)?),
        RunsCommand::Spikes { run } => loupe::show_spikes(context, &find(&run)?),
        RunsCommand::Batch { run, step, device } => loupe::batch(context, &find(&run)?, step, &device),
        RunsCommand::Pause { run } => command_worker(context, &find(&run)?, control::Command::Pause),
        RunsCommand::Stop { run } => command_worker(context, &find(&run)?, control::Command::Stop),
        RunsCommand::Resume { run } => resume(context, &find(&run)?),
        RunsCommand::Fork { run, step, overrides } => {
            let new = fork::fork(&context.project, &find(&run)?, step, &overrides)?;
            spawn::worker(&context.project, &new)?;
            say(&format!("the fork trains by itself · `afterthought runs follow {}` watches it", new.id()));
            done(context, &new, RunState::Queued)
        }
        RunsCommand::Export { run, to, merge } => match run.rsplit_once('@') {
            None => {
                let run = find(&run)?;
                export(context, &run, run.newest_checkpoint(), &to, merge)
            }
            Some(_) => {
                let (run, checkpoint) = RunDirectory::find_checkpoint(&context.project, &run)?;
                export(context, &run, Some(checkpoint), &to, merge)
            }
        },
        RunsCommand::Remove { run, yes } => remove(context, &find(&run)?, yes),
    }
}

/// All runs that can be read; the others are named on standard error.
pub fn read_all(context: &Context) -> Vec<Run> {
    let read = |run: &RunDirectory| match run.read() {
        Ok(run) => Some(run),
        Err(error) => {
            say(&error.to_string());
            None
        }
    };
    RunDirectory::list(&context.project).iter().filter_map(read).collect()
}

fn describe(run: &Run) -> Value {
    let latest = run.history.steps.last();
    let result = run.history.result();
    json!({
        "id": run.id,
        "state": run.state,
        "reason": run.history.reason,
        "step": run.history.step(),
        "steps": run.history.steps_planned,
        "loss": latest.map(|step| step.loss),
        "accuracy": result.map(|result| result.accuracy),
        "dataset": run.spec.dataset,
        "student": run.spec.student,
        "recipe": run.spec.rationale.to_string(),
        "forked_from": origin(run),
        "created": run.spec.record.as_ref().map(|record| record.created.clone()),
    })
}

/// The run and the step that a run was forked from.
fn origin(run: &Run) -> Option<Value> {
    let (id, step) = run.spec.record.as_ref()?.forked_from.as_ref()?;
    Some(json!({"run": id, "step": step}))
}

/// The runs that were forked from one, oldest first, each with its step.
fn forks(context: &Context, of: &str) -> Vec<(String, usize)> {
    let record = |run: &RunDirectory| run.spec().ok()?.record?.forked_from.map(|from| (run.id().to_owned(), from));
    let all = RunDirectory::list(&context.project);
    let own = all.iter().filter_map(record).filter(|(_, (parent, _))| parent == of);
    own.map(|(id, (_, step))| (id, step)).collect()
}

fn list(context: &Context) -> anyhow::Result<()> {
    let runs = read_all(context);
    if context.json {
        return context.print_json(&runs.iter().map(describe).collect::<Vec<_>>());
    }
    if runs.is_empty() {
        say("no runs yet · `afterthought train` starts one, `afterthought tour` starts nine");
    }
    let mut out = String::new();
    for run in &runs {
        let accuracy = run.history.result().map(|result| format!("{:5.1} %", result.accuracy * 100.0));
        out.push_str(&format!(
            "{:<44} {:<11} {:>5}/{:<5} {:>8}  {}, {}\n",
            text::line(&run.id),
            run.state.name(),
            run.history.step(),
            run.history.steps_planned,
            accuracy.unwrap_or_default(),
            text::line(&run.spec.dataset),
            text::line(&run.spec.rationale.to_string())
        ));
    }
    print(&out)
}

fn show(context: &Context, run: &RunDirectory) -> anyhow::Result<()> {
    let read = run.read()?;
    if context.json {
        let mut value = describe(&read);
        value["spec"] = serde_json::to_value(&read.spec)?;
        let fork = |(id, step): (String, usize)| json!({"run": id, "step": step});
        value["forks"] = forks(context, &read.id).into_iter().map(fork).collect();
        value["notes"] = json!(read.history.notes);
        value["evaluations"] = serde_json::to_value(&read.history.evaluations)?;
        value["worker"] = json!(run.worker());
        value["best"] = json!(run.best_step(&read.spec, &read.history));
        value["skipped"] = serde_json::to_value(&read.history.skipped)?;
        value["checkpoints"] = json!(crate::training::checkpoint::list(&run.checkpoints()));
        return context.print_json(&value);
    }
    let mut out = format!("{} · {}", text::line(&read.id), read.state.name());
    if let Some(reason) = &read.history.reason {
        out.push_str(&format!(" · {}", text::visible(reason)));
    }
    let history = &read.history;
    out.push_str(&format!(
        "\n{} on {} ({}), {} parameters, {}\nstep {} of {}",
        text::line(&read.spec.student),
        text::line(&read.spec.dataset),
        text::line(&read.spec.rationale.to_string()),
        history.parameters,
        text::line(&history.device),
        history.step(),
        history.steps_planned
    ));
    if let Some(step) = history.steps.last() {
        out.push_str(&format!(" · loss {:.4} · {:.0} tokens/s", step.loss, step.tokens_per_second));
    }
    if let Some((parent, step)) = read.spec.record.as_ref().and_then(|record| record.forked_from.as_ref()) {
        out.push_str(&format!("\nforked from {} at {step}", text::line(parent)));
    }
    for (id, step) in forks(context, &read.id) {
        out.push_str(&format!("\nstep {step:>6}  {} was forked off", text::line(&id)));
    }
    if let Some(process) = run.worker() {
        let alive = control::status(run).map(|status| format!(", heard of {:.0} s ago", status.quiet));
        out.push_str(&format!("\nworker {process}{}", alive.unwrap_or_else(|| ", which does not answer".into())));
    }
    let best = run.best_step(&read.spec, history);
    for found in &history.evaluations {
        let split = text::line(&found.split);
        let is_best = best == Some(found.step) && found.split == read.spec.evaluation.split;
        let mark = if is_best { " · the best checkpoint" } else { "" };
        out.push_str(&format!("\nstep {:>6}  {split} {:.1} % right{mark}", found.step, found.accuracy * 100.0));
    }
    if let Some(last) = history.skipped.last() {
        let count = history.skipped.len();
        let steps = if count == 1 { "step was" } else { "steps were" };
        out.push_str(&format!("\n{count} {steps} skipped, step {} last: its {} is no number", last.step, last.what));
    }
    for note in &history.notes {
        out.push_str(&format!("\nnote: {}", text::line(note)));
    }
    print(&(out + "\n"))
}

fn compare(baseline: Option<&str>, context: &Context) -> anyhow::Result<()> {
    let runs = read_all(context);
    let mut shown = board(&context.project, &runs, &[]);
    if let Some(baseline) = baseline {
        shown = board(&context.project, &runs, &table::chosen(&shown, baseline)?);
    }
    if context.json { context.print_json(&shown) } else { print(&table::as_text(&shown)) }
}

fn follow(context: &Context, run: &RunDirectory) -> anyhow::Result<()> {
    let mut tail = Tail::new(run.journal());
    let mut waits = None;
    let bar = context.progress("", 0);
    let tell = |message: &str| {
        if bar.is_hidden() { say(&text::line(message)) } else { bar.println(text::line(message)) }
    };
    loop {
        for entry in tail.poll()? {
            if context.json {
                context.print_json_line(&entry)?;
                continue;
            }
            match &entry.event {
                Event::Start { steps, .. } => bar.set_length(*steps as u64),
                Event::Step(step) => {
                    bar.set_position(step.step as u64);
                    bar.set_message(format!("loss {:.4}", step.loss));
                }
                Event::Progress { what, done, total } => {
                    bar.set_message(format!("{} {done}/{total}", text::line(what)));
                }
                Event::Evaluation(found) => {
                    let share = found.accuracy * 100.0;
                    tell(&format!("step {}: {} {share:.1} % right", found.step, found.split));
                }
                Event::Note { text: note } => tell(note),
                Event::Skipped(skipped) => {
                    tell(&format!("step {} was skipped: its {} is no number", skipped.step, skipped.what));
                }
                _ => {}
            }
        }
        let read = run.read()?;
        // From the worker itself, where the journal is what it can't write.
        let trouble = read.history.reason.clone().filter(|_| read.state == RunState::Paused);
        if trouble != waits {
            if let (Some(reason), false) = (&trouble, context.json) {
                tell(&format!("paused: {reason}"));
            }
            waits = trouble;
        }
        if !read.state.is_active() {
            bar.finish_and_clear();
            if !context.json {
                print(&format!("{} {}\n", text::line(&read.id), read.state.name()))?;
            }
            return if read.state == RunState::Finished {
                Ok(())
            } else {
                let reason = read.history.reason.map_or_else(String::new, |reason| format!(": {reason}"));
                anyhow::bail!("run {} {}{reason}", read.id, read.state.name())
            };
        }
        std::thread::sleep(Duration::from_millis(150));
    }
}

fn command_worker(context: &Context, run: &RunDirectory, command: control::Command) -> anyhow::Result<()> {
    let state = control::send(run, command)?;
    done(context, run, state)
}

fn resume(context: &Context, run: &RunDirectory) -> anyhow::Result<()> {
    let state = match run.unfinished()? {
        state if state.is_active() && run.is_locked() => control::send(run, control::Command::Resume)?,
        _ => {
            spawn::worker(&context.project, run)?;
            RunState::Queued
        }
    };
    done(context, run, state)
}

fn done(context: &Context, run: &RunDirectory, state: RunState) -> anyhow::Result<()> {
    if context.json {
        return context.print_json(&json!({"id": run.id(), "state": state}));
    }
    print(&format!("{} {}\n", text::line(run.id()), state.name()))
}

fn export(
    context: &Context,
    run: &RunDirectory,
    checkpoint: Option<PathBuf>,
    to: &std::path::Path,
    merge: bool,
) -> anyhow::Result<()> {
    anyhow::ensure!(!to.exists(), "{} is there already; export into a new folder", to.display());
    let read = run.read()?;
    files::create_dir(to)?;
    let copy = |from: &std::path::Path, name: &str| -> anyhow::Result<()> {
        if from.is_file() {
            std::fs::copy(from, to.join(name)).map_err(files::FileError::on("write", &to.join(name)))?;
        }
        Ok(())
    };
    match checkpoint {
        Some(checkpoint) if merge && checkpoint.join(lora::CONFIG).exists() => {
            Student::load(&checkpoint, &candle_core::Device::Cpu)?.save_whole(to)?;
        }
        Some(checkpoint) => {
            let words = ["config.json", "tokenizer.json", "tokenizer_config.json"];
            for name in ["model.safetensors", lora::CONFIG, lora::WEIGHTS].iter().chain(&words) {
                copy(&checkpoint.join(name), name)?;
            }
        }
        None => say("the run has no checkpoint; its numbers are exported without a student"),
    }
    copy(&run.path().join("run.yaml"), "run.yaml")?;
    copy(&run.predictions(), "predictions.jsonl")?;
    files::replace(&to.join("metrics.csv"), |out| {
        writeln!(out, "step,epoch,loss,loss_label,loss_rationale,learning_rate,gradient_norm,tokens")?;
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        for step in &read.history.steps {
            writeln!(
                out,
                "{},{},{},{},{},{},{},{}",
                step.step,
                step.epoch,
                step.loss,
                number(step.loss_label),
                number(step.loss_rationale),
                step.learning_rate,
                step.gradient_norm,
                step.tokens
            )?;
        }
        Ok(())
    })?;
    if context.json {
        return context.print_json(&json!({"id": run.id(), "to": to}));
    }
    print(&format!("{} is in {}\n", run.id(), to.display()))
}

fn remove(context: &Context, run: &RunDirectory, yes: bool) -> anyhow::Result<()> {
    if !yes {
        if context.json || !super::output::can_ask() {
            return Err(Usage(format!("add --yes to delete run {}", run.id())).into());
        }
        if !super::output::ask(&format!("delete run {} and its checkpoints? [y/N] ", run.id()))? {
            return Err(Interrupted.into());
        }
    }
    run.remove()?;
    if context.json { context.print_json(&json!({"id": run.id(), "removed": true})) } else { Ok(()) }
}
