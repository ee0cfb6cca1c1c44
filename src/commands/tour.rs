//! `afterthought tour`: the paper's three findings on the toy world.

use std::time::Duration;

use clap::Args;

use super::output::{Context, print, say};
use super::table::as_text;
use crate::runs::Run;
use crate::studies::board::board;
use crate::studies::tour;

const EXAMPLES: &str = "\
Examples:
  afterthought tour                         nine runs, about a minute on two cores
  afterthought tour --seeds 0,1,2           three students for each condition
  afterthought tour --worlds 5,6,7,8,9      five fresh worlds (the table in docs/toyworld.md)";

/// Train the toy student under nine conditions and say what each shows.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct TourArgs {
    /// Seeds of the students, on the built-in world
    #[arg(long, value_delimiter = ',', default_value = "0")]
    seeds: Vec<u64>,
    /// Seeds of worlds and students together, in place of --seeds
    #[arg(long, value_delimiter = ',', conflicts_with = "seeds")]
    worlds: Vec<u64>,
    /// Start the runs and come back
    #[arg(long)]
    detach: bool,
}

pub fn run(args: TourArgs, context: &Context) -> anyhow::Result<()> {
    let specs =
        if args.worlds.is_empty() { tour::specs(&args.seeds, false)? } else { tour::specs(&args.worlds, true)? };
    let runs = tour::start(&context.project, specs)?;
    let mut ids: Vec<&str> = Vec::new();
    for run in &runs {
        // A seed that was given twice is one run.
        if !ids.contains(&run.id()) {
            ids.push(run.id());
        }
    }
    let read = || -> Vec<Run> { runs.iter().filter_map(|run| run.read().ok()).collect() };
    if args.detach {
        return if context.json {
            context.print_json(&ids)
        } else {
            print(&format!(
                "{} runs are under way; `afterthought` or `afterthought runs compare` shows them\n",
                ids.len()
            ))
        };
    }
    let bar = context.progress("runs", runs.len() as u64);
    loop {
        let now = read();
        bar.set_position(now.iter().filter(|run| !run.state.is_active()).count() as u64);
        if now.iter().all(|run| !run.state.is_active()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    bar.finish_and_clear();
    let table = board(&context.project, &read(), &[]);
    if context.json {
        return context.print_json(&table);
    }
    print(&as_text(&table))?;
    say("next: `afterthought runs compare --baseline post` measures the ablations against the plain rationale");
    Ok(())
}
