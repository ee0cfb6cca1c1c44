//! The demo: it goes by its own time, stops for questions, and does nothing that keys could not.

use std::path::Path;

use afterthought::journal::Writer;
use afterthought::runs::RunDirectory;
use afterthought::studies::tour;
use afterthought::workbench::demo::Script;
use afterthought::workbench::message::{Effect, Message};
use afterthought::workbench::pane::Pane;

use super::bench::Bench;
use super::comparing::{finish_run, step};
use super::recording::assert_replays;

/// A project in which the tour was run.
fn toured() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (place, spec) in tour::specs(&[0], false).unwrap().into_iter().enumerate() {
        let share = [6, 9, 9, 8, 9, 6, 6, 8, 8][place];
        finish_run(dir.path(), spec, &format!("tour-{place}"), &|number| number % 10 < share);
    }
    for run in RunDirectory::list(dir.path()) {
        let mut journal = Writer::open(&run.journal()).unwrap();
        (1..=30).for_each(|number| journal.append(step(number)).unwrap());
    }
    dir
}

fn begin(bench: &mut Bench, speed: f64, pauses: bool) {
    bench.send(Message::DemoBegins(Box::new(Script::built_in(speed, pauses))));
}

/// So many seconds go by.
fn wait(bench: &mut Bench, seconds: usize) {
    (0..5 * seconds).for_each(|_| bench.send(Message::Tick(200)));
}

fn at(bench: &Bench) -> Option<usize> {
    bench.state.demo.as_ref().map(|demo| demo.at)
}

fn count() -> usize {
    Script::built_in(1.0, true).steps.len()
}

#[test]
fn it_shows_everything_by_itself_and_trains_nothing_that_is_there() {
    let dir = toured();
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("demo.jsonl");
    let mut bench = Bench::open_recorded(dir.path(), 120, 34, &file);
    begin(&mut bench, 1.0, false);
    bench.says("demo  1 of");
    let mut seen: Vec<(Pane, String)> = Vec::new();
    for step in 0..count() {
        assert_eq!(at(&bench), Some(step));
        let shown = match bench.state.focus {
            Pane::Board => bench.state.board.selected().map_or_else(String::new, |(_, _, row)| row.condition.clone()),
            _ => bench.state.draft.rationale.to_string(),
        };
        seen.push((bench.state.focus, shown));
        wait(&mut bench, 2);
        assert_eq!(at(&bench), Some(step), "no caption is gone after two seconds");
        let mut patience = 100;
        while at(&bench) == Some(step) && patience > 0 {
            wait(&mut bench, 1);
            patience -= 1;
        }
    }
    assert_eq!(at(&bench), None);
    bench.says("the demo is over");
    assert_eq!(bench.outside, []);
    let has = |pane: Pane, what: &str| seen.iter().any(|(focus, shown)| *focus == pane && shown == what);
    assert!(has(Pane::Data, "post") && has(Pane::Rationale, "pre") && has(Pane::Rationale, "post, shuffled tokens"));
    assert!(has(Pane::Training, "post") && has(Pane::Attribution, "post"));
    assert!(has(Pane::Board, "post") && has(Pane::Board, "post, shuffled") && has(Pane::Board, "post, 3 key tokens"));
    // The last question is one that the board sent for.
    assert_eq!(bench.state.data.split, "test");
    assert_replays(&file, &bench);
}

#[test]
fn it_stops_for_questions_and_goes_on() {
    let dir = toured();
    let mut bench = Bench::open(dir.path(), 80, 24);
    begin(&mut bench, 1.0, true);
    wait(&mut bench, 1);
    bench.press("<space>");
    bench.says("‖ stopped");
    wait(&mut bench, 60);
    assert_eq!(at(&bench), Some(0));
    // All keys but its own do what they always do, and what is typed into a filter is no key of its.
    bench.press("jj/kind:sea x<backspace><backspace><enter>");
    assert_eq!(bench.state.data.filter, "kind:sea");
    bench.says("demo  1 of");
    bench.press("<space>");
    wait(&mut bench, 12);
    assert_eq!(at(&bench), Some(1));
    // A key that is not its own stops it; the arrows go by captions and never do a step twice.
    bench.press("<right>");
    bench.says("demo  3 of");
    assert_eq!(bench.state.draft.rationale.to_string(), "pre");
    bench.press("<left>");
    bench.says("demo  2 of");
    bench.says("‖ stopped");
    assert_eq!(bench.state.draft.rationale.to_string(), "pre");
    bench.press("<right>");
    bench.says("demo  3 of");
    assert_eq!(bench.state.draft.rationale.to_string(), "pre");
    bench.press("<right>").press("<space>");
    // The first part ends with a pause of its own.
    wait(&mut bench, 60);
    assert_eq!(at(&bench), Some(3));
    bench.says("‖ stopped");
    bench.press("<space>");
    assert_eq!(at(&bench), Some(4));
    bench.press("t");
    assert!(bench.state.demo.as_ref().is_some_and(|demo| demo.is_stopped));
    let rows = bench.screen();
    bench.press("<esc>");
    assert_eq!(at(&bench), None);
    bench.says("the demo was left");
    assert!(bench.screen() != rows && bench.state.focus == Pane::Board);
}

#[test]
fn it_starts_the_tour_and_waits_for_its_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    begin(&mut bench, 4.0, false);
    bench.press("<right><right><right><right>");
    assert_eq!(bench.outside, [Effect::StartTour]);
    wait(&mut bench, 600);
    assert_eq!(at(&bench), Some(5), "no curve without a run");
    bench.says("waiting for the runs");
    bench.press("<right>");
    wait(&mut bench, 600);
    bench.says("waiting for the runs: 0 of 9 are finished");
    assert_eq!(bench.outside, [Effect::StartTour]);
}

#[test]
fn the_caption_hides_nothing_at_any_size() {
    let dir = toured();
    for (columns, rows) in [(60, 16), (80, 24), (120, 34), (200, 60)] {
        let mut bench = Bench::open(dir.path(), columns, rows);
        begin(&mut bench, 1.0, true);
        for _ in 0..count() {
            let screen = bench.screen();
            let lines: Vec<&str> = screen.lines().collect();
            let top = lines.iter().position(|line| line.starts_with("╔ demo")).unwrap();
            let last = lines[top - 1];
            assert!(last.starts_with(['┗', '╰']), "the pane above ends with its border at {columns}: {last}");
            assert!(lines[rows as usize - 2].starts_with('╚'), "{screen}");
            if rows > 16 {
                let caption = lines[top + 1..rows as usize - 2].join(" ").replace('║', "");
                let words = caption.split_whitespace().collect::<Vec<_>>().join(" ");
                assert_eq!(words, bench.state.demo.as_ref().unwrap().caption());
            }
            bench.press("<right>");
        }
    }
}

#[test]
fn a_machine_without_a_terminal_is_told_so() {
    let run = |directory: &Path| {
        std::process::Command::new(env!("CARGO_BIN_EXE_afterthought"))
            .current_dir(directory)
            .arg("demo")
            .output()
            .unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && error.contains("needs a terminal") && error.contains("tour"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
