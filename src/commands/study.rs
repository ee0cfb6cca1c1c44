//! `afterthought study …`: a grid of runs, its table and its report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{HumanBytes, HumanDuration};
use serde_json::json;

use super::output::{Context, Interrupted, Resumable, print, say};
use super::table;
use crate::files;
use crate::runs::worker;
use crate::studies::estimate::{Basis, Cost, Estimator};
use crate::studies::executor::{Options, Told, execute};
use crate::studies::report::{Format, Report};
use crate::studies::{Cell, Known, Standing, Study};
use crate::text;

pub const EXAMPLES: &str = "\
A study is a file, the name of one under studies/, or one that comes with the program: toy-tour, toy-grid,
quarel-cpu, paper.

Examples:
  afterthought study run toy-tour --dry-run
  afterthought study run toy-tour --workers 2
  afterthought study show toy-tour
  afterthought study disagree toy-tour post none
  afterthought study report toy-tour -o tour.html";

#[derive(Subcommand)]
pub enum StudyCommand {
    /// Run the cells that are not there yet
    ///
    /// Ctrl-C stops the cells under way with a checkpoint; the same command goes on. A cell that fails does not stop the
    /// others.
    #[command(
        after_help = "Examples:\n  afterthought study run toy-tour --dry-run\n  afterthought study run studies/mine.yaml --workers 4\n  afterthought study run mine --devices cuda:0,cuda:1 --retry"
    )]
    Run(RunArgs),
    /// The table: a row for each condition, with what may be said of it
    #[command(
        after_help = "Examples:\n  afterthought study show toy-tour\n  afterthought study show toy-tour --baseline post\n  afterthought study show toy-tour --json | jq '.sections[].rows[] | {condition, accuracy}'"
    )]
    Show {
        /// The study's file or name
        study: String,
        /// Measure all rows of a data set against this one, in place of the study's baseline
        #[arg(long, value_name = "ROW")]
        baseline: Option<String>,
    },
    /// The questions on which two rows disagree, those that the first wins before those that it loses
    #[command(
        after_help = "Examples:\n  afterthought study disagree toy-tour post none\n  afterthought study disagree toy-tour \"post, shuffled\" post --json | jq '.[].disagreements.questions[].id'"
    )]
    Disagree {
        /// The study's file or name
        study: String,
        /// The name of a row of its table
        one: String,
        /// The row that it is held against
        other: String,
    },
    /// Write the report: one self-contained page, or Markdown, CSV or LaTeX
    #[command(
        after_help = "Examples:\n  afterthought study report toy-tour\n  afterthought study report toy-tour --format latex -o table.tex"
    )]
    Report {
        /// The study's file or name
        study: String,
        #[arg(long, value_enum, default_value_t = Format::Html)]
        format: Format,
        /// The file to write, or `-` for standard output; studies/NAME.html, and for the other forms standard output, when
        /// left out
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Args)]
pub struct RunArgs {
    /// The study's file or name
    study: String,
    /// Say what would be run, and what that takes, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Cells at once; as many as the machine has room for when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// Run cells that failed once more
    #[arg(long)]
    retry: bool,
    /// Spread the cells over these devices, as in cuda:0,cuda:1
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    devices: Vec<String>,
}

pub fn run(command: StudyCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        StudyCommand::Run(args) => run_cells(&args, context),
        StudyCommand::Show { study, baseline } => {
            show(&Study::find(&context.project, &study)?, baseline.as_deref(), context)
        }
        StudyCommand::Disagree { study, one, other } => {
            let table = Study::find(&context.project, &study)?.table(&context.project)?;
            table::disagree(&table, &one, &other, context)
        }
        StudyCommand::Report { study, format, output } => {
            report(&Study::find(&context.project, &study)?, format, output, context)
        }
    }
}

/// The cells of a study, those without training first: they are quick, and every row is read beside them.
fn all_cells(study: &Study) -> anyhow::Result<Vec<Cell>> {
    let cells = study.cells()?;
    let mut all = study.untrained(&cells);
    all.extend(cells);
    Ok(all)
}

fn run_cells(args: &RunArgs, context: &Context) -> anyhow::Result<()> {
    let study = Study::find(&context.project, &args.study)?;
    let cells = all_cells(&study)?;
    if args.dry_run {
        return dry_run(&study, &cells, args, context);
    }
    for device in &args.devices {
        crate::runs::prepare::device(device)?;
    }
    let (stop, signal) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
    listen(stop.clone(), signal.clone())?;
    let bar = context.progress("cells", cells.len() as u64);
    let line = |text: &str| if bar.is_hidden() { say(&text::line(text)) } else { bar.println(text::line(text)) };
    let mut tell = |told: Told| match told {
        Told::Begins { cell, run, resumed } => {
            line(&format!("{} {} · {run}", if resumed { "goes on:" } else { "begins:" }, cell.name));
        }
        Told::Found { cell, run } => line(&format!("under way already: {} · {run}", cell.name)),
        Told::Ended(ending) => {
            bar.inc(1);
            let reason = ending.reason.as_ref().map_or_else(String::new, |reason| format!(" · {reason}"));
            if !ending.before || !ending.is_finished() {
                line(&format!("{}: {}{reason}", ending.state, ending.cell));
            }
        }
        Told::Waits { what, why } => line(&format!("waits: {what} · {why}")),
        Told::Stopping { cells } => {
            line(&format!("stopping {cells} cells, each with a checkpoint · Ctrl-C again leaves them to themselves"));
        }
    };
    let options =
        Options { workers: args.workers.map(|count| count as usize), retry: args.retry, devices: args.devices.clone() };
    let endings = execute(&context.project, &cells, &options, &stop, &mut tell)?;
    bar.finish_and_clear();
    let finished = endings.iter().filter(|ending| ending.is_finished()).count();
    let left = cells.len() - endings.len();
    if context.json {
        context.print_json(&json!({
            "study": study.name, "cells": cells.len(), "finished": finished, "not_begun": left, "endings": endings,
        }))?;
    } else {
        let before = endings.iter().filter(|ending| ending.before && ending.is_finished()).count();
        print(&format!("{finished} of {} cells are finished, {before} of them before\n", cells.len()))?;
    }
    if stop.load(Ordering::Relaxed) {
        say(&format!("stopped · `afterthought study run {}` goes on", args.study));
        let by_person = signal.load(Ordering::Relaxed) == libc::SIGINT;
        return if by_person { Err(Interrupted.into()) } else { Err(Resumable.into()) };
    }
    let mut failed = String::new();
    for ending in endings.iter().filter(|ending| !ending.is_finished()) {
        let reason = text::excerpt(ending.reason.as_deref().unwrap_or("see its worker.log"), 400);
        let run = ending.run.as_deref().map_or_else(String::new, |run| format!(" ({run})"));
        failed.push_str(&format!("\n  {}{run}: {}: {reason}", text::line(&ending.cell), ending.state));
    }
    let count = endings.len() - finished;
    anyhow::ensure!(
        count == 0,
        "{count} of {} cells did not finish; the others did:{failed}\n  `--retry` runs those once more that failed",
        cells.len()
    );
    say(&format!("next: `afterthought study show {0}` · `afterthought study report {0}`", args.study));
    Ok(())
}

/// Sets `stop` at the first Ctrl-C or signal of a batch system; the second Ctrl-C ends the program, and the cells go on by
/// themselves. A closed terminal is nothing to a study.
pub fn listen(stop: Arc<AtomicBool>, which: Arc<AtomicI32>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::user_defined1()];
            let (Ok(mut interrupt), Ok(mut terminate), Ok(mut first), Ok(mut hangup)) =
                (signal(kinds[0]), signal(kinds[1]), signal(kinds[2]), signal(SignalKind::hangup()))
            else {
                return;
            };
            loop {
                let number = tokio::select! {
                    _ = interrupt.recv() => libc::SIGINT,
                    _ = terminate.recv() => libc::SIGTERM,
                    _ = first.recv() => libc::SIGUSR1,
                    _ = hangup.recv() => continue,
                };
                if stop.swap(true, Ordering::Relaxed) && number == libc::SIGINT {
                    std::process::exit(130);
                }
                which.store(number, Ordering::Relaxed);
            }
        });
    })?;
    Ok(())
}

fn dry_run(study: &Study, cells: &[Cell], args: &RunArgs, context: &Context) -> anyhow::Result<()> {
    let mut known = Known::read(&context.project);
    let mut estimator = Estimator::new(&context.project);
    let bar = context.progress("looking", cells.len() as u64);
    let mut rows: Vec<(&Cell, Standing, Cost)> = Vec::new();
    for cell in cells {
        let standing = known.standing(cell);
        rows.push((cell, standing, estimator.cost(cell, &known)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let would_run = |standing: &Standing| match standing {
        Standing::Missing | Standing::Unfinished(_) | Standing::Active(_) => true,
        Standing::Failed(_) => args.retry,
        Standing::Finished(_) | Standing::Impossible(_) => false,
    };
    let due: Vec<&(&Cell, Standing, Cost)> = rows.iter().filter(|(_, standing, _)| would_run(standing)).collect();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let room = due.first().map_or(1, |(cell, ..)| (cores / worker::threads(&cell.spec)).max(1));
    let workers = args.workers.map_or(room, |count| count as usize);
    let seconds: f64 = due.iter().filter_map(|(.., cost)| cost.seconds).sum();
    let bytes: u64 = due.iter().filter_map(|(.., cost)| cost.bytes).sum();
    let without_time = due.iter().filter(|(.., cost)| cost.seconds.is_none()).count();
    let without_size = due.iter().filter(|(.., cost)| cost.bytes.is_none()).count();
    let free = free_disk(&context.project);
    if context.json {
        let cells: Vec<_> = rows
            .iter()
            .map(|(cell, standing, cost)| {
                let reason = match standing {
                    Standing::Impossible(problem) => Some(problem.clone()),
                    _ => standing.run().and_then(|run| run.history.reason.clone()),
                };
                json!({
                    "cell": cell.name, "kind": cell.kind, "state": standing.name(), "run": standing.run().map(|run| &run.id),
                    "reason": reason, "identity": cell.spec.identity(), "estimate": cost,
                })
            })
            .collect();
        return context.print_json(&json!({
            "study": study.name, "cells": cells, "to_run": due.len(), "workers": workers,
            "seconds": seconds / workers as f64, "without_time": without_time, "bytes": bytes,
            "without_size": without_size, "free": free,
        }));
    }
    let mut out = String::new();
    // One missing data set may be in the way of hundreds of cells.
    let mut problems: Vec<(&str, usize)> = vec![];
    for (cell, standing, cost) in &rows {
        if let Standing::Impossible(problem) = standing {
            match problems.iter_mut().find(|(known, _)| known == problem) {
                Some((_, count)) => {
                    *count += 1;
                    continue;
                }
                None => problems.push((problem, 0)),
            }
        }
        let time = cost.seconds.filter(|_| would_run(standing)).map_or_else(String::new, |seconds| {
            let about = if cost.seconds_are == Some(Basis::Counted) { "~" } else { "" };
            format!("{about}{}", lasting(seconds))
        });
        let size = cost.bytes.filter(|_| would_run(standing)).map_or_else(String::new, |b| HumanBytes(b).to_string());
        let more = match standing {
            Standing::Impossible(problem) => problem.clone(),
            _ => standing.run().map(|run| run.id.clone()).unwrap_or_default(),
        };
        let (name, more) = (text::excerpt(&cell.name, 60), text::line(&more).into_owned());
        out.push_str(&format!("  {name:<60} {:<11} {time:>12} {size:>11}  {more}\n", standing.name()));
    }
    for (problem, more) in problems.iter().filter(|(_, more)| *more > 0) {
        let cells = if *more == 1 { "cell" } else { "cells" };
        out.push_str(&format!("  and {more} more {cells} can't run: {}\n", text::line(problem)));
    }
    let count = |wanted: &str| rows.iter().filter(|(_, standing, _)| standing.name() == wanted).count();
    out.push_str(&format!(
        "{} cells: {} finished, {} would run, {} failed, {} can't run\n",
        rows.len(),
        count("finished"),
        due.len(),
        count("failed"),
        count("can't run")
    ));
    if !due.is_empty() {
        let time = lasting(seconds / workers as f64);
        out.push_str(&format!("about {time} with {workers} at once, {} of disk", HumanBytes(bytes)));
        out.push_str(&free.map_or_else(String::new, |free| format!(", {} are free", HumanBytes(free))));
        out.push('\n');
        let mut reasons: Vec<&String> = due.iter().filter_map(|(.., cost)| cost.unknown.as_ref()).collect();
        reasons.dedup();
        if without_time > 0 || without_size > 0 {
            out.push_str(&format!("not in it: the time of {without_time} cells, the disk of {without_size}"));
            out.push_str(&reasons.first().map_or_else(String::new, |reason| format!(" · {reason}")));
            out.push('\n');
        }
        if due.iter().any(|(.., cost)| cost.seconds_are == Some(Basis::Counted)) {
            out.push_str(
                "~ is counted from the student's size and this machine's speed, training alone, and can be off by several \
                 times; a finished cell of the same kind is measured\n",
            );
        }
    }
    print(&out)
}

/// A time as people say it.
fn lasting(seconds: f64) -> HumanDuration {
    HumanDuration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// Bytes that are free where the project lies, where the system says.
fn free_disk(project: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(project).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn show(study: &Study, baseline: Option<&str>, context: &Context) -> anyhow::Result<()> {
    let mut shown = study.table(&context.project)?;
    if let Some(baseline) = baseline {
        shown = study.table_against(&context.project, &table::chosen(&shown, baseline)?)?;
    }
    if context.json { context.print_json(&shown) } else { print(&table::as_text(&shown)) }
}

fn report(study: &Study, format: Format, output: Option<PathBuf>, context: &Context) -> anyhow::Result<()> {
    let default = || match format {
        Format::Html => context.project.join("studies").join(format!("{}.html", study.name)),
        _ => PathBuf::from("-"),
    };
    let output = output.unwrap_or_else(default);
    let to_screen = output.as_os_str() == "-";
    let folder = match output.parent().filter(|folder| !folder.as_os_str().is_empty() && !to_screen) {
        Some(folder) => folder.to_owned(),
        None => PathBuf::from("."),
    };
    if !to_screen {
        files::create_dir(&folder)?;
    }
    let report = Report::gather(study, &context.project, &folder)?;
    let text = report.write(format)?;
    let runs = report.runs.len();
    if to_screen {
        return if context.json {
            context.print_json(&json!({"study": study.name, "runs": runs, "text": text}))
        } else {
            print(&text)
        };
    }
    files::replace(&output, |out| out.write_all(text.as_bytes()))?;
    if context.json {
        return context.print_json(&json!({"study": study.name, "runs": runs, "output": output}));
    }
    print(&format!("{} · {runs} runs\n", text::line(&output.display().to_string())))
}
