//! `afterthought demo`: the tour in the workbench, with captions.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::output::{Context, Usage, say};
use super::replay::speed;
use super::workbench::WorkbenchArgs;
use crate::files;
use crate::runs::{RunDirectory, control};
use crate::workbench::demo::Script;
use crate::workbench::{self, Options};

/// How long workers are waited for after they were stopped.
const PATIENCE: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  afterthought demo                          in a temporary project, which is removed at the end
  afterthought demo talk                     in the folder talk, which is kept: rehearse there, and
                                             the talk itself need not train again
  afterthought demo --no-pause --speed 1.5   without a presenter, quicker
  afterthought demo --record demo.jsonl      to be shown again: afterthought replay demo.jsonl";

/// Show what afterthought is for: the tour in the workbench, with captions.
///
/// It stops for questions: space, and the workbench is yours until space goes on. At the end of each part it stops by itself.
/// Without DIR its project is a temporary folder that is removed when you leave.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// The project to show it in, made if it is not there; nothing is trained again that it has already
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How many times quicker than people read
    #[arg(long, value_name = "TIMES", default_value = "1", value_parser = speed)]
    speed: f64,
    /// Go on at the end of each part too
    #[arg(long)]
    no_pause: bool,
    /// Record the session in this new file
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

pub fn run(args: DemoArgs, context: &Context, workbench: WorkbenchArgs) -> anyhow::Result<()> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Usage(
            "the demo needs a terminal; `afterthought tour` does its runs without one, and `afterthought replay FILE` prints \
             a recorded one"
                .into(),
        )
        .into());
    }
    let named = args.dir.or_else(|| Some(context.project.clone()).filter(|project| project != Path::new(".")));
    let script = Script::built_in(args.speed, !args.no_pause);
    let options = |project: PathBuf| Options { record: args.record, ..workbench.options(project, Some(script)) };
    if let Some(project) = named {
        files::create_dir(&project)?;
        return workbench::run(options(project));
    }
    let temporary = tempfile::Builder::new().prefix("afterthought-").tempdir()?;
    let project = temporary.path().join("demo");
    files::create_dir(&project)?;
    let shown = workbench::run(options(project.clone()));
    if stop_all(&project) {
        temporary.close()?;
        say("the demo's project was temporary and is gone · `afterthought demo DIR` keeps one");
    } else {
        let kept = temporary.keep();
        say(&format!("a run of the demo does not stop; its project is left in {}", kept.display()));
    }
    shown
}

/// Stops the runs of a project that goes away. Whether all of their workers have ended.
fn stop_all(project: &Path) -> bool {
    let since = Instant::now();
    loop {
        let active: Vec<RunDirectory> =
            RunDirectory::list(project).into_iter().filter(RunDirectory::is_locked).collect();
        if active.is_empty() {
            return true;
        }
        if since.elapsed() > PATIENCE {
            return false;
        }
        for run in &active {
            // One that ends by itself meanwhile need not be told.
            let _ = control::send(run, control::Command::Stop);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
