//! `afterthought replay`: a recorded session, seen again.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output::{Context, Usage, print, print_made, say};
use crate::text;
use crate::workbench::dump::{self, Format};
use crate::workbench::player::{self, Player};
use crate::workbench::recording::Recording;
use crate::workbench::replay::Replay;

const EXAMPLES: &str = "\
Examples:
  afterthought --record talk.jsonl                          record a session
  afterthought replay talk.jsonl                            see it again; space stops it, q leaves
  afterthought replay talk.jsonl --speed 4 --max-wait 1s    quicker, and without long waits
  afterthought replay talk.jsonl --screen last              the last screen as text
  afterthought replay talk.jsonl --screen 120 --format svg > figure.svg
  jq -r '.message | keys[]?' talk.jsonl | sort | uniq -c    what it is made of";

/// Show a recorded session again, without its project, its students and its runs.
///
/// Without a terminal it prints the last screen.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ReplayArgs {
    /// What `afterthought --record FILE` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many times quicker than it was
    #[arg(long, value_name = "TIMES", default_value = "1", value_parser = speed)]
    speed: f64,
    /// The longest wait between two messages, such as 1s or 300ms
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    max_wait: Option<u64>,
    /// Print the screen after so many messages, or the last one
    #[arg(long, value_name = "N|last", value_parser = place)]
    screen: Option<Place>,
    /// What a printed screen is written as
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Which screen is printed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// After so many messages.
    After(usize),
    Last,
}

pub fn run(args: &ReplayArgs, context: &Context) -> anyhow::Result<()> {
    let recording = Recording::read(&args.file)?;
    if recording.is_of_another_version() {
        let (theirs, ours) = (text::excerpt(&recording.header.afterthought, 20), env!("CARGO_PKG_VERSION"));
        say(&format!("recorded by version {theirs}, and this is {ours}: it may look otherwise"));
    }
    if let Some((line, problem)) = &recording.problem {
        let problem = text::excerpt(problem, 160);
        let skipped = recording.skipped;
        say(&format!(
            "{}:{line}: not understood and passed over: {problem} ({skipped} such lines)",
            args.file.display()
        ));
    }
    let mut replay = Replay::new(recording, args.max_wait);
    let on_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if args.screen.is_none() && !context.json && on_terminal {
        return player::play(Player::new(replay, args.speed));
    }
    let place = match args.screen.unwrap_or(Place::Last) {
        Place::Last => replay.count(),
        Place::After(place) if place <= replay.count() => place,
        Place::After(place) => {
            let count = replay.count();
            return Err(Usage(format!(
                "there is no screen {place} · it has {count} messages; 0 is the screen before the first"
            ))
            .into());
        }
    };
    replay.go_to(place);
    let screen = replay.screen();
    let written = dump::write(&screen, args.format, &replay.state.theme);
    if !context.json {
        // Only the colours of the form that was asked for are more than text.
        return if args.format == Format::Ansi { print_made(&written) } else { print(&written) };
    }
    let recording = replay.recording();
    let written = match args.format {
        Format::Text => json!(dump::lines(&screen)),
        _ => json!(written),
    };
    context.print_json(&json!({
        "version": recording.header.afterthought,
        "time": recording.header.time,
        "project": recording.header.project,
        "seconds": recording.length() as f64 / 1000.0,
        "messages": recording.messages.len(),
        "skipped": recording.skipped,
        "message": place,
        "columns": screen.area.width,
        "rows": screen.area.height,
        "format": args.format,
        "screen": written,
    }))
}

/// A speed, from a hundredth to a thousand times.
pub fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "write a number, such as 2 or 0.5".to_owned())?;
    if (0.01..=1000.0).contains(&speed) { Ok(speed) } else { Err("a speed is between 0.01 and 1000".into()) }
}

/// `1s`, `300ms`, `2` (seconds), in milliseconds.
fn milliseconds(text: &str) -> Result<u64, String> {
    let (number, factor) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1.0),
        (None, Some(number)) => (number, 1000.0),
        (None, None) => (text, 1000.0),
    };
    let time = number.trim().parse::<f64>().ok().filter(|time| time.is_finite() && *time >= 0.0);
    time.map(|time| (time * factor).round() as u64).ok_or_else(|| "write a time, such as 1s or 300ms".into())
}

fn place(text: &str) -> Result<Place, String> {
    match text {
        "last" => Ok(Place::Last),
        number => number.parse().map(Place::After).map_err(|_| "write a number of messages, or last".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_speeds_are_read_as_people_write_them() {
        assert_eq!((milliseconds("1s"), milliseconds("300ms"), milliseconds("0.5")), (Ok(1000), Ok(300), Ok(500)));
        assert!(milliseconds("soon").is_err() && milliseconds("-1s").is_err() && milliseconds("infs").is_err());
        assert_eq!((speed("2"), speed("0.5")), (Ok(2.0), Ok(0.5)));
        assert!(speed("0").is_err() && speed("NaN").is_err());
        assert_eq!((place("last"), place("12")), (Ok(Place::Last), Ok(Place::After(12))));
        assert!(place("first").is_err());
    }
}
