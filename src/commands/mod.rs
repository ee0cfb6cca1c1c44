//! The command line: one file per subcommand, each a thin layer over a library function that the workbench calls too.
//!
//! Results go to standard output, as text for people or, with `--json`, as one JSON document (JSON lines where a
//! command streams). Messages and progress go to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage,
//! 75 saved on a signal and to be resumed, 130 interrupted.

mod asked;
pub mod attribute;
pub mod data;
pub mod demo;
pub mod doctor;
pub mod evaluate;
mod exported;
pub mod faithfulness;
pub mod generate;
pub mod init;
pub mod intervene;
pub mod keys;
pub mod lens;
pub mod loss;
mod loupe;
pub mod output;
pub mod render;
pub mod replay;
pub mod runs;
pub mod settings;
pub mod student;
pub mod study;
pub mod subject;
mod table;
pub mod tour;
pub mod train;
pub mod what_if;
pub mod workbench;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use serde_json::json;

pub use output::Context;

use crate::corpus;

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
    #[command(flatten)]
    workbench: workbench::WorkbenchArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Make a project folder
    Init(init::InitArgs),
    /// Data sets: list, show, check, import, export, generate
    #[command(subcommand, after_help = data::EXAMPLES)]
    Data(data::DataCommand),
    /// What the student will see of an example
    Render(render::RenderArgs),
    /// Train a student
    Train(train::TrainArgs),
    /// The accuracy of a trained student
    Evaluate(evaluate::EvaluateArgs),
    /// What a trained student answers when something else is put before its answer
    Intervene(intervene::InterveneArgs),
    /// Which tokens a student's answer rests on
    Attribute(attribute::AttributeArgs),
    /// How the answer moves when words are masked, taken out, typed anew or shuffled
    WhatIf(what_if::WhatIfArgs),
    /// Whether the tokens that a method calls key are key to the student
    Faithfulness(faithfulness::FaithfulnessArgs),
    /// What each token of an example costs a student
    Loss(loss::LossArgs),
    /// What each layer of a student would say, and from which on the label is readable
    #[command(subcommand, after_help = lens::EXAMPLES)]
    Lens(lens::LensCommand),
    /// What was run and what runs now
    #[command(subcommand, after_help = runs::EXAMPLES)]
    Runs(runs::RunsCommand),
    /// Students: what they are, and fetching them
    #[command(subcommand, after_help = student::EXAMPLES)]
    Student(student::StudentCommand),
    /// Studies: a grid of runs, its table and its report
    #[command(subcommand, after_help = study::EXAMPLES)]
    Study(study::StudyCommand),
    Tour(tour::TourArgs),
    Keys(keys::KeysArgs),
    Demo(demo::DemoArgs),
    Replay(replay::ReplayArgs),
    /// What this machine and this terminal can do, and what is wrong in the project
    #[command(after_help = doctor::EXAMPLES)]
    Doctor,
    /// Print the completions of a shell
    #[command(
        after_help = "Example:\n  afterthought completions bash > ~/.local/share/bash-completion/completions/afterthought"
    )]
    Completions {
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  afterthought man | man -l -")]
    Man,
    #[command(hide = true)]
    Worker(train::WorkerArgs),
}

/// Runs the program and says how it went.
pub fn main() -> ExitCode {
    // A file that may not grow is then an error like any other, with a message and nothing left behind.
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::report_usage(&error),
    };
    let context = Context::new(cli.project, cli.json);
    let needs_project = cli.command.as_ref().is_none_or(Command::needs_project);
    let checked = if needs_project { check_project(&context.project) } else { Ok(()) };
    let result = checked.and_then(|()| match cli.command {
        None => workbench::run(&context, cli.workbench),
        Some(Command::Demo(args)) => demo::run(args, &context, cli.workbench),
        Some(command) => dispatch(command, &context),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::report(&error),
    }
}

impl Command {
    /// Whether a project folder must be there.
    fn needs_project(&self) -> bool {
        let fetches = matches!(self, Self::Student(student::StudentCommand::Fetch { .. }));
        !fetches && !matches!(self, Self::Init(_) | Self::Replay(_) | Self::Completions { .. } | Self::Man)
    }
}

/// Refuses a folder that isn't there: it is a slip of the keyboard more often than a wish for a new project.
fn check_project(project: &Path) -> anyhow::Result<()> {
    if project.is_dir() {
        return Ok(());
    }
    let name = project.file_name().unwrap_or_default().to_string_lossy();
    let parent = project.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
    let known: Vec<String> = folders.filter_map(|name| name.into_string().ok()).collect();
    let nearest = corpus::nearest(&name, known.iter().map(String::as_str));
    let nearest = nearest.map(|name| project.with_file_name(name).display().to_string());
    let shown = project.display();
    anyhow::bail!(
        "there is no folder {shown}{} · `afterthought init {shown}` makes one",
        corpus::did_you_mean(&nearest)
    );
}

/// Runs a command. Training decides for itself how many threads it takes.
fn dispatch(command: Command, context: &Context) -> anyhow::Result<()> {
    match command {
        Command::Init(args) => init::run(args, context),
        Command::Data(command) => data::run(command, context),
        Command::Render(args) => render::run(args, context),
        Command::Train(args) => train::run(args, context),
        Command::Evaluate(args) => evaluate::run(args, context),
        Command::Intervene(args) => intervene::run(&args, context),
        Command::Attribute(args) => attribute::run(args, context),
        Command::WhatIf(args) => what_if::run(args, context),
        Command::Faithfulness(args) => faithfulness::run(args, context),
        Command::Loss(args) => loss::run(&args, context),
        Command::Lens(command) => lens::run(&command, context),
        Command::Runs(command) => runs::run(command, context),
        Command::Student(command) => student::run(command, context),
        Command::Study(command) => study::run(command, context),
        Command::Tour(args) => tour::run(args, context),
        Command::Keys(args) => keys::run(&args, context),
        Command::Demo(args) => demo::run(args, context, workbench::WorkbenchArgs::default()),
        Command::Replay(args) => replay::run(&args, context),
        Command::Doctor => doctor::run(context),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "afterthought", &mut text);
            let script = String::from_utf8_lossy(&text);
            match context.json {
                true => context.print_json(&json!({"shell": shell.to_string(), "script": script})),
                false => output::print(&script),
            }
        }
        Command::Man => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text)?;
            let page = String::from_utf8_lossy(&text);
            if context.json { context.print_json(&json!({"page": page})) } else { output::print(&page) }
        }
        Command::Worker(args) => train::work(args, context),
    }
}
