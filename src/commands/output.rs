//! How commands speak: results, messages, progress, errors and exit codes.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::corpus::Catalog;
use crate::text;

/// What every command is given.
pub struct Context {
    pub project: PathBuf,
    pub json: bool,
}

/// The command was interrupted by the user; nothing is wrong.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// The command can't mean what was typed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Context {
    pub fn new(project: PathBuf, json: bool) -> Self {
        Self { project, json }
    }

    pub fn catalog(&self) -> Catalog {
        Catalog::new(&self.project)
    }

    /// Prints one JSON document.
    pub fn print_json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        write(&format!("{}\n", text::escape_json(&text)))
    }

    /// Prints one line of a stream of JSON documents.
    pub fn print_json_line(&self, value: &impl Serialize) -> anyhow::Result<()> {
        print_json_line(value)
    }

    /// Like [`Context::progress`], counting bytes.
    pub fn bytes_progress(&self, what: String, total: u64) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total), draw_target());
        let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ "));
        bar.set_message(what);
        bar
    }

    /// A progress bar on standard error with the time left; silent where standard error is no terminal.
    pub fn progress(&self, what: &'static str, total: u64) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total), draw_target());
        let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ "));
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(250));
        bar
    }
}

/// Whether a person can be asked.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a yes-or-no question.
pub fn ask(question: &str) -> std::io::Result<bool> {
    write!(std::io::stderr(), "{}", text::line(question))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn draw_target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr_with_hz(4) } else { ProgressDrawTarget::hidden() }
}

/// Whether a person watches standard error.
pub fn is_interactive() -> bool {
    std::io::stderr().is_terminal()
}

/// Prints one line of a stream of JSON documents.
pub fn print_json_line(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string(value)?;
    write(&format!("{}\n", text::escape_json(&text)))
}

/// Prints text for people, made safe for the terminal.
pub fn print(text: &str) -> anyhow::Result<()> {
    write(&text::visible(text))
}

/// Writes to standard output. A reader that went away, such as `head`, ends the program quietly.
fn write(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Says something to the person at the terminal.
pub fn say(message: &str) {
    // A closed standard error is no reason to stop working.
    let _ = writeln!(std::io::stderr(), "{}", text::visible(message));
}

/// Prints an error with its causes and chooses the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<Interrupted>().is_some() {
        return ExitCode::from(130);
    }
    let mut message = format!("error: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Errors that show their source in their own text would say everything twice.
        if !message.contains(&cause) {
            message.push_str(&format!("\n  because {cause}"));
        }
    }
    say(&message);
    ExitCode::from(if error.downcast_ref::<Usage>().is_some() { 2 } else { 1 })
}
