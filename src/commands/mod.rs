//! The command line: one file per subcommand, each a thin layer over a library function that the workbench calls too.
//!
//! Results go to standard output, as text for people or, with `--json`, as one JSON document (JSON lines where a
//! command streams). Messages and progress go to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage,
//! 130 interrupted.

pub mod data;
pub mod output;
pub mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use output::Context;

const EXAMPLES: &str = "\
Examples:
  afterthought                                      open the workbench on this project
  afterthought data list                            what there is to train on";

/// A terminal workbench that shows why chain-of-thought rationales help distillation.
///
/// Without a command it opens the workbench on the project in this folder, or on the built-in toy world.
#[derive(Parser)]
#[command(name = "afterthought", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// The project: a folder with datasets/, runs/ and themes/
    #[arg(short = 'C', long = "project", value_name = "DIR", global = true, default_value = ".")]
    project: PathBuf,
    /// Print JSON on standard output
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Data sets: list, show, check, import, export, generate
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Train a student
    Train(train::TrainArgs),
    #[command(hide = true)]
    Worker(train::WorkerArgs),
}

/// Runs the program and says how it went.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: clap prints them to standard output and asks for 0.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let context = Context::new(cli.project, cli.json);
    let result = match cli.command {
        None => Ok(()),
        Some(Command::Data(command)) => data::run(command, &context),
        Some(Command::Train(args)) => train::run(args, &context),
        Some(Command::Worker(args)) => train::work(args, &context),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::report(&error),
    }
}
