//! How commands speak: results, messages, progress, errors and exit codes.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use candle_core::Device;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::corpus::Catalog;
use crate::files::FileError;
use crate::runs::{RunError, prepare};
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

/// A run was saved because a signal asked for it; whoever sent that may start it again.
#[derive(Debug, thiserror::Error)]
#[error("saved on a signal")]
pub struct Resumable;

/// What the program ends with then: `EX_TEMPFAIL` of sysexits.h, "try again later".
const SAVED: u8 = 75;

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
    print_json_lines([value])
}

/// Prints several lines at once, which is quicker than one by one.
pub fn print_json_lines(values: impl IntoIterator<Item = impl Serialize>) -> anyhow::Result<()> {
    let mut lines = String::new();
    for value in values {
        lines.push_str(&text::escape_json(&serde_json::to_string(&value)?));
        lines.push('\n');
    }
    write(&lines)
}

/// Prints text for people, made safe for the terminal.
pub fn print(text: &str) -> anyhow::Result<()> {
    write(&text::visible(text))
}

/// Prints text that was made for a terminal, colours and all, out of parts that were made safe before.
pub fn print_made(text: &str) -> anyhow::Result<()> {
    write(text)
}

/// Writes to standard output. A reader that went away, such as `head`, ends the program quietly.
fn write(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result.map_err(FileError::on("write", Path::new(STANDARD_OUTPUT)))?),
    }
}

/// What errors call it.
pub const STANDARD_OUTPUT: &str = "standard output";

/// Says something to the person at the terminal.
pub fn say(message: &str) {
    // A closed standard error is no reason to stop working.
    let _ = writeln!(std::io::stderr(), "{}", text::visible(message));
}

/// Opens a device, and says so where `auto` is the CPU for want of a GPU.
pub fn device(name: &str) -> anyhow::Result<Device> {
    let (device, other) = prepare::device_or_other(name)?;
    if let Some(note) = other {
        say(&note);
    }
    Ok(device)
}

/// Prints an error with its causes and chooses the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<Interrupted>().is_some() {
        return ExitCode::from(130);
    }
    if error.downcast_ref::<Resumable>().is_some() {
        return ExitCode::from(SAVED);
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
    let is_finished = matches!(error.downcast_ref::<RunError>(), Some(RunError::Finished { .. }));
    ExitCode::from(if is_finished || error.downcast_ref::<Usage>().is_some() { 2 } else { 1 })
}

/// Prints what clap has to say, help included, and gives its exit code. An error quotes the arguments as they are; where
/// one could do something to the terminal it is shown without colours, and made safe.
pub fn report_usage(error: &clap::Error) -> ExitCode {
    let is_plain =
        |argument: &OsString| argument.to_str().is_some_and(|text| text::first_unsafe(text, false).is_none());
    if error.use_stderr() && !std::env::args_os().all(|argument| is_plain(&argument)) {
        // Without the line feed of `say`: it has its own.
        say(error.render().to_string().trim_end());
    } else {
        let _ = error.print();
    }
    ExitCode::from(error.exit_code() as u8)
}

/// Writes text for people to a terminal line by line, made safe; for what is too long to be printed at once.
pub struct Shown<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Shown<W> {
    pub fn new(out: W) -> Self {
        Self { out, line: Vec::new() }
    }

    fn show(&mut self, until: usize) -> std::io::Result<()> {
        let rest = self.line.split_off(until);
        let line = std::mem::replace(&mut self.line, rest);
        self.out.write_all(text::visible(&String::from_utf8_lossy(&line)).as_bytes())
    }
}

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if let Some(end) = memchr::memrchr(b'\n', &self.line) {
            self.show(end + 1)?;
        }
        Ok(bytes.len())
    }

    /// What has no line feed yet waits for it: half a character can't be shown.
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_on_a_terminal_is_shown_and_not_obeyed() {
        let mut out = Vec::new();
        let mut shown = Shown::new(&mut out);
        for part in ["é".as_bytes(), &"\u{1b}]0;x\u{7},\u{9b}1m".as_bytes()[..5], b"b\n"] {
            shown.write_all(&part[..1]).unwrap();
            shown.write_all(&part[1..]).unwrap();
        }
        shown.flush().unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "é␛]0;xb\n");
    }
}
