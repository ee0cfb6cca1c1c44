//! What lasts: jobs and their list, cancelling them, what went wrong and why, and hints that go away.

use std::path::Path;

use afterthought::workbench::attribution::Looked;
use afterthought::workbench::browse::{Ask, Place, Request};
use afterthought::workbench::effects::Services;
use afterthought::workbench::effects::work::Work;
use afterthought::workbench::jobs::{Job, Task};
use afterthought::workbench::message::{Effect, FindRequest, Message};
use afterthought::workbench::pane::Pane;
use afterthought::workbench::state::{Notice, Overlay};
use afterthought::workbench::update;

use super::bench::Bench;
use super::watching::train;

fn fresh() -> (tempfile::TempDir, Bench) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("datasets")).unwrap();
    let bench = Bench::open(dir.path(), 120, 34);
    (dir, bench)
}

fn job(id: u64, task: Task, name: &str) -> Job {
    Job {
        id,
        task,
        name: name.into(),
        done: 30_000,
        total: Some(120_000),
        note: String::new(),
        elapsed: 2500,
        left: Some(7500),
        is_cancelled: false,
    }
}

#[test]
fn what_lasts_has_a_bar_in_its_pane_a_sign_and_a_line_in_the_list() {
    let (_dir, mut bench) = fresh();
    bench.says_not("1 job");
    bench.send(Message::Job(Box::new(Job { elapsed: 600, ..job(1, Task::Sort, "sorting toyworld/train by id") })));
    bench.says("& 1 job");
    bench.says_not("00:08 left");
    bench.send(Message::Job(Box::new(job(1, Task::Sort, "sorting toyworld/train by id"))));
    bench.says(" 25 % 00:08 left · sorting toyworld");
    let lens = Job { note: "KL 0.301".into(), ..job(2, Task::LensTraining, "training the lens of a") };
    bench.send(Message::Job(Box::new(lens)));
    bench.says("& 2 jobs");
    bench.press("&");
    bench.says("30,000 of 120,000 · KL 0.301");
    bench.says("under way");
    // Enter goes where it belongs.
    bench.press("j<enter>");
    assert_eq!((bench.state.focus, bench.state.overlay.is_none()), (Pane::Attribution, true));
    for id in [1, 2] {
        bench.send(Message::JobEnded { id, is_cancelled: false });
    }
    bench.says_not("job");
    bench.press("&");
    bench.says("nothing is under way");
}

#[test]
fn a_sort_that_is_cancelled_leaves_the_rows_as_in_the_file() {
    let (_dir, mut bench) = fresh();
    // A sort that was begun and has not ended.
    bench.press("Sgj<enter>");
    bench.state.data.ordered.rows = None;
    bench.state.data.ordered.reading = Some(30_000);
    bench.send(Message::Job(Box::new(job(7, Task::Sort, "sorting toyworld/train by id"))));
    bench.press("&x");
    assert_eq!(bench.outside.last(), Some(&Effect::CancelJob(7)));
    bench.says("cancelling");
    bench.press("<esc>");
    bench.send(Message::JobEnded { id: 7, is_cancelled: true });
    bench.says("cancelled: sorting toyworld/train by id · the rows are in the order of the file");
    bench.says_not("sorting by");
    assert!(bench.state.data.ordered.sort.is_none() && bench.state.data.lines() == 960);
    // What can't be broken off says so.
    bench.send(Message::Job(Box::new(job(8, Task::Board, "making the board's table"))));
    bench.press("&x");
    bench.says("can't be broken off");
    assert_ne!(bench.outside.last(), Some(&Effect::CancelJob(8)));
}

/// What an effect says that nobody wants any more.
fn cancelled(project: &Path, effect: Effect) -> Vec<Message> {
    let work = Work::default();
    work.cancel();
    let mut messages = Vec::new();
    Services::new(project).perform(effect, &work, &mut |message| messages.push(message));
    messages
}

#[test]
fn everything_that_reads_many_rows_ends_when_it_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("datasets/mine");
    std::fs::create_dir_all(&folder).unwrap();
    let row = |n| {
        let row = serde_json::json!({
            "id": format!("q-{n:05}"), "question": format!("why {n}?"), "answer": "A",
            "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}],
        });
        format!("{row}\n")
    };
    std::fs::write(folder.join("train.jsonl"), (0..6000).map(row).collect::<String>()).unwrap();
    let place = || Place { dataset: "mine".into(), split: "train".into(), source: "default".into() };
    let filter = || afterthought::corpus::filter::Filter::parse("question:why").unwrap();
    let sort = afterthought::corpus::order::Sort {
        by: afterthought::corpus::filter::Field::of("question.words"),
        reversed: false,
    };
    let find =
        |sort| Effect::Find(Box::new(FindRequest { generation: 1, place: place(), filter: filter(), sort, from: 0 }));
    let browse = |ask| Effect::Browse(Box::new(Request { generation: 1, place: place(), ask }));
    let field = afterthought::corpus::filter::Field::of("answer");
    let all = || {
        [
            find(None),
            find(Some(sort.clone())),
            Effect::CheckData("mine".into()),
            browse(Ask::Jump("q-05999".into())),
            browse(Ask::Mark(Box::new(filter()))),
            browse(Ask::Histogram { field: field.clone(), filter: Box::new(filter()), bins: 8 }),
            browse(Ask::Duplicates),
        ]
    };
    for effect in all() {
        let name = format!("{effect:?}");
        let answers = cancelled(dir.path(), effect);
        let is_answer = |message: &&Message| !matches!(message, Message::Matches { done: false, .. });
        assert!(answers.iter().find(is_answer).is_none(), "{name}: {answers:?}");
    }
    // The same without being cancelled: each has an answer.
    for effect in all() {
        let mut heard = 0;
        Services::new(dir.path()).perform(effect, &Work::default(), &mut |_| heard += 1);
        assert!(heard > 0);
    }
}

#[test]
fn the_training_of_a_lens_ends_when_it_is_cancelled_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = train(dir.path(), &["rationale.placement=pre"]);
    let looked = Looked { run: run.id().to_owned(), step: None };
    let messages = cancelled(dir.path(), Effect::TrainLens { looked });
    assert!(messages.is_empty(), "{messages:?}");
    assert!(!run.lenses().exists() || run.lenses().read_dir().unwrap().next().is_none());
}

#[test]
fn a_run_under_way_is_paused_and_stopped_from_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let run = train(dir.path(), &[]);
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.state.runs.runs[0].state = afterthought::journal::RunState::Running;
    bench.press("& ");
    assert!(matches!(&bench.outside[..], [Effect::Control { run: paused, .. }] if paused == run.id()));
    bench.press("x");
    bench.says("its checkpoint stays");
    bench.press("<enter>");
    assert!(matches!(&bench.outside[..], [_, Effect::Control { run: stopped, .. }] if stopped == run.id()));
    bench.press("&<enter>");
    assert_eq!(bench.state.focus, Pane::Training);
}

#[test]
fn an_error_opens_with_its_causes_and_the_end_of_its_log() {
    let (dir, mut bench) = fresh();
    let log = dir.path().join("runs/x/worker.log");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&log, "first\nno room for\u{1b}[31m tensors\n").unwrap();
    bench.send(Message::Say(Notice::info("all is well")));
    let notice = Notice { causes: vec!["the device is full".into()], ..Notice::error("x failed") };
    bench.send(Message::Say(notice.with_more("runs/x/worker.log".into())));
    bench.says("x failed · ! says why");
    bench.send(Message::Told { time: "2026-11-21T12:34:56.000Z".into() });
    let written = std::fs::read_to_string(dir.path().join(".afterthought/workbench.log")).unwrap();
    assert_eq!(
        written,
        "2026-11-21T12:34:56.000Z error: x failed\n    because the device is full\n    more: runs/x/worker.log\n"
    );
    bench.press("!");
    bench.says("12:34:56 ✗ x failed");
    bench.says("all is well");
    bench.press("e");
    bench.says_not("all is well");
    bench.press("<enter>");
    bench.says("because the device is full");
    bench.says("more in runs/x/worker.log");
    bench.says("no room for");
    bench.press("y");
    let copied = "x failed\n  because the device is full\n  more: runs/x/worker.log".to_owned();
    assert_eq!(bench.outside.last(), Some(&Effect::Copy(copied)));
    // Back to the list, and out.
    bench.press("<esc>");
    assert!(matches!(bench.state.overlay, Some(Overlay::Messages(_))));
    bench.press("<esc>");
    assert!(bench.state.overlay.is_none());
}

#[test]
fn nothing_is_logged_outside_a_project() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.send(Message::Say(Notice::error("no")));
    bench.send(Message::Told { time: "2026-11-21T12:34:56.000Z".into() });
    bench.press("!<enter>");
    bench.says_not("more in");
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_hint_goes_when_its_key_was_used_and_all_go_when_they_are_not_wanted() {
    let (dir, mut bench) = fresh();
    bench.says_not("finds questions");
    bench.state.shows_hints = true;
    bench.press("j");
    bench.says("/ finds questions: words, answer:B");
    bench.press("/<esc>");
    bench.says("d opens another data set");
    bench.press("2");
    bench.says("shuffles, masks or swaps the rationale");
    bench.press(":hints<enter>");
    bench.says("hints are off");
    bench.press("j");
    bench.says_not("shuffles, masks");
    bench.press(":hints<enter>j");
    bench.says("shuffles, masks or swaps the rationale");
    // The next workbench knows what was used.
    let session = afterthought::workbench::session::Session::of(&bench.state);
    bench.perform(Effect::SaveSession(Box::new(session)));
    let mut next = Bench::open(dir.path(), 120, 34);
    next.state.shows_hints = true;
    next.press("1");
    next.says_not("finds questions");
}

#[test]
fn a_message_of_a_job_that_ended_is_no_job() {
    let (_dir, mut bench) = fresh();
    assert!(update::update(&mut bench.state, Message::JobEnded { id: 5, is_cancelled: true }).is_empty());
    assert!(bench.state.notice.is_none());
}
