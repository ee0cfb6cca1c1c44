//! A session is recorded and seen again: the same screens, message by message, without the project.

use std::fs;
use std::io::Write;
use std::path::Path;

use afterthought::journal::{Event, RunState, StepEvent, Writer};
use afterthought::runs::{RunDirectory, RunSpec};
use afterthought::workbench::message::Message;
use afterthought::workbench::recording::Recording;
use afterthought::workbench::replay::Replay;

use super::bench::Bench;
use super::watching::train;

/// Plays a recording and holds each screen against the one that was there.
#[track_caller]
pub fn assert_replays(file: &Path, bench: &Bench) {
    let recording = Recording::read(file).unwrap();
    assert_eq!((recording.skipped, &recording.problem), (0, &None));
    assert_eq!(recording.messages.len(), bench.screens.len());
    let mut replay = Replay::new(recording, None);
    for (place, then) in bench.screens.iter().enumerate() {
        assert!(replay.step());
        let now = replay.screen();
        assert!(now == *then, "the screen after message {place} is another: {:?}", then.diff(&now));
    }
    assert!(!replay.step());
    // The way back leads over the beginning.
    let middle = bench.screens.len() / 2;
    replay.go_to(middle);
    assert_eq!(replay.screen(), bench.screens[middle - 1]);
}

#[test]
fn a_session_with_runs_is_seen_again_screen_by_screen() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("project");
    fs::create_dir(&project).unwrap();
    train(&project, &["rationale.placement=none"]);
    train(&project, &["rationale.placement=pre"]);
    let file = dir.path().join("session.jsonl");
    let mut bench = Bench::open_recorded(&project, 120, 34, &file);
    // Questions, filters, recipes with ablations, tokens in a table, an edit that is taken back.
    bench.press("jjj/kind:sea<enter><esc>2pa<enter>p+++Rt").press("ee a word<ctrl-s>u");
    bench.send(Message::Paste("pasted\u{1b}[31m".into()));
    // Scores, changes, another method, the lens, losses, another run beside it.
    bench.press("4lllxdR").press("etyped<enter>").press("m<down><enter>UULj<left>LoLo").press("c<enter>");
    bench.send(Message::Resize(80, 24));
    bench.press("3hhhb<down><enter>").press("5jjd<enter>");
    bench.send(Message::Resize(200, 60));
    bench.press("z:theme<enter><down><enter>?<esc>!<esc>v<esc>");
    // What was typed where no screen shows it yet.
    bench.press("2e not kept<esc>");
    let kinds: Vec<String> = fs::read_to_string(&file).unwrap().lines().skip(1).map(kind_of).collect();
    for kind in [
        "Key",
        "Paste",
        "Resize",
        "Opened",
        "Rows",
        "Counted",
        "Matches",
        "Previewed",
        "Attributed",
        "WhatIf",
        "LensRead",
        "Predictions",
        "RunFound",
        "Board",
        "Disagreed",
        "BatchRead",
        "LossMeasured",
        "Edited",
        "Theme",
        "Page",
    ] {
        assert!(kinds.iter().any(|known| known == kind), "nothing of the kind {kind} was recorded");
    }
    fs::remove_dir_all(&project).unwrap();
    assert_replays(&file, &bench);
}

/// The name of a line's message.
fn kind_of(line: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    let message = &value["message"];
    message.as_object().map_or_else(|| message.as_str().unwrap().into(), |object| object.keys().next().unwrap().clone())
}

#[test]
fn losses_that_are_no_numbers_survive() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("session.jsonl");
    let run = RunDirectory::create(dir.path(), RunSpec::preset("toy"), "broken").unwrap();
    let mut bench = Bench::open_recorded(dir.path(), 120, 34, &file);
    let mut journal = Writer::open(&run.journal()).unwrap();
    journal.append(Event::State { state: RunState::Running, reason: None }).unwrap();
    bench.look();
    for (step, loss) in [(1, 2.5), (2, f64::INFINITY), (3, f64::NAN), (4, 0.1 + 0.2)] {
        let event = StepEvent {
            step,
            epoch: 0.1,
            loss,
            loss_label: Some(loss),
            loss_rationale: None,
            learning_rate: 1e-3,
            gradient_norm: f64::NEG_INFINITY,
            tokens: 10,
            tokens_per_second: 1.0 / 3.0,
        };
        let entry = afterthought::journal::Entry {
            seq: step as u64,
            time: "2026-11-21T12:00:00Z".into(),
            event: Event::Step(event),
        };
        bench.send(Message::RunMoved { id: run.id().into(), entries: vec![entry], state: RunState::Running });
    }
    bench.press("3hh");
    assert_replays(&file, &bench);
    let mut replay = Replay::new(Recording::read(&file).unwrap(), None);
    replay.go_to(usize::MAX);
    let steps = |bench: &afterthought::workbench::state::State| -> Vec<u64> {
        bench.runs.runs[0].history.steps.iter().map(|step| step.loss.to_bits()).collect()
    };
    assert_eq!(steps(&replay.state), steps(&bench.state));
    assert_eq!(steps(&bench.state).len(), 4);
}

#[test]
fn a_torn_end_is_no_error_and_what_is_not_known_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("session.jsonl");
    let mut bench = Bench::open_recorded(dir.path(), 80, 24, &file);
    bench.press("jj");
    let text = fs::read_to_string(&file).unwrap().replace(env!("CARGO_PKG_VERSION"), "9.9.9");
    let whole = text.lines().count() - 1;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(3, r#"{"at": 5, "message": {"HologramShown": {"depth": 3}}}"#);
    lines.insert(5, "nonsense");
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(br#"{"at": 99, "mess"#).unwrap();
    let recording = Recording::read(&file).unwrap();
    assert!(recording.is_of_another_version());
    assert_eq!((recording.messages.len(), recording.skipped), (whole, 2));
    let (line, problem) = recording.problem.clone().unwrap();
    assert!(line == 4 && problem.contains("HologramShown"), "{line}: {problem}");
    let mut replay = Replay::new(recording, None);
    replay.go_to(whole);
    assert_eq!(replay.screen(), *bench.screens.last().unwrap());
    fs::write(&file, "{\"id\": \"q1\"}\n").unwrap();
    let error = Recording::read(&file).unwrap_err().to_string();
    assert!(error.contains("session.jsonl is no recording") && error.contains("--record"), "{error}");
}

#[test]
fn the_screen_is_written_to_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 100, 30);
    let screen = bench.screen();
    bench.press("<ctrl-x>");
    bench.says("write the screen as");
    bench.press("<enter>");
    bench.says("this makes screens/ in this folder");
    assert!(!dir.path().join("screens").exists());
    bench.press("y");
    bench.says("written: screens/screen-");
    let written = fs::read_dir(dir.path().join("screens")).unwrap().next().unwrap().unwrap().path();
    assert!(written.extension().is_some_and(|extension| extension == "txt"));
    assert_eq!(fs::read_to_string(&written).unwrap().trim_end(), screen.trim_end());
    fs::create_dir(dir.path().join("runs")).unwrap();
    let mut bench = Bench::open(dir.path(), 100, 30);
    for (downs, extension) in [("<down>", "ansi"), ("<down><down>", "svg"), ("<down><down><down>", "html")] {
        bench.press("<ctrl-x>").press(downs).press("<enter>");
        bench.says(&format!(".{extension}"));
    }
    assert_eq!(fs::read_dir(dir.path().join("screens")).unwrap().count(), 4);
}

#[test]
fn a_recording_is_printed_where_there_is_no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("session.jsonl");
    let mut bench = Bench::open_recorded(dir.path(), 80, 24, &file);
    bench.press("jj5");
    let run = |arguments: &[&str]| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_afterthought"));
        let output =
            program.current_dir(dir.path()).args(["replay", "session.jsonl"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, last, said) = run(&[]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(last.trim_end(), bench.screen().trim_end());
    assert_eq!(run(&["--screen", "last"]).1, last);
    let count = bench.screens.len();
    let (_, before, _) = run(&["--screen", &(count - 1).to_string(), "--format", "ansi"]);
    assert!(before.contains("\u{1b}[") && before.contains("tr-0001"));
    let (_, page, _) = run(&["--screen", "0", "--format", "html"]);
    assert!(page.starts_with("<!doctype html>"));
    let (_, json, _) = run(&["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["messages"].as_u64(), json["skipped"].as_u64()), (Some(count as u64), Some(0)));
    assert_eq!(json["screen"].as_array().unwrap().len(), 24);
    let (code, _, error) = run(&["--screen", &(count + 1).to_string()]);
    assert!(code == Some(2) && error.contains(&format!("it has {count} messages")), "{error}");
    fs::write(&file, "nothing").unwrap();
    let (code, _, error) = run(&[]);
    assert!(code == Some(1) && error.contains("session.jsonl is no recording"), "{error}");
}
