//! The training pane, the attribution pane and the board, with real runs.

use std::path::Path;

use afterthought::journal::{Event, RunState, Writer};
use afterthought::runs::spec::CONDITION;
use afterthought::runs::{RunDirectory, RunSpec, control, worker};
use afterthought::workbench::message::Effect;
use afterthought::workbench::pane::Pane;
use afterthought::workbench::state::Curve;

use super::bench::Bench;

/// Trains a short run in this process.
/// Trains a toy student, for few steps where nothing else is said.
pub fn train(project: &Path, overrides: &[&str]) -> RunDirectory {
    let usual = ["training.steps=30", "training.batch_size=16", "evaluation.every=10"];
    let overrides: Vec<String> = usual.iter().chain(overrides).map(|text| (*text).to_owned()).collect();
    let mut spec = RunSpec::preset("toy").with_overrides(&overrides).unwrap();
    spec.tags.insert(CONDITION.into(), spec.rationale.to_string());
    let run = RunDirectory::create(project, spec.clone(), &spec.rationale.to_string()).unwrap();
    let ending = worker::work(project, &run, Some(Box::new(|_| {}))).unwrap();
    assert_eq!(ending.state, RunState::Finished);
    run
}

#[test]
fn a_run_is_found_watched_and_compared() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.says("no run yet");
    train(dir.path(), &["rationale.placement=none"]);
    train(dir.path(), &[]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    bench.look();
    bench.says("─ label");
    bench.says("┈ rationale");
    bench.says("╌● validation label");
    bench.says("30/30");
    bench.says("finished");
    bench.press("5");
    bench.says("majority class");
    bench.says("◆ none");
    bench.press("j");
    bench.says("the student without rationales");
    bench.says("[");
    bench.press("j<enter>");
    bench.says("McNemar p");
    bench.says("the curves of all these runs");
    bench.press("<enter>");
    assert_eq!(bench.state.focus, Pane::Training);
    assert_eq!(bench.state.runs.selected().unwrap().spec.rationale.to_string(), "post");
    bench.press("c");
    assert_eq!(bench.state.runs.curve, Curve::Label);
    bench.press("Lo");
    assert!(bench.state.runs.log_scale);
    bench.says("label loss, log");
}

#[test]
fn what_a_run_does_while_one_watches_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let run = train(dir.path(), &[]);
    let mut bench = Bench::open(dir.path(), 80, 24);
    bench.press("3");
    // The worker goes on, as far as the journal tells.
    let lock = run.lock().unwrap();
    let mut journal = Writer::open(&run.journal()).unwrap();
    journal.append(Event::State { state: RunState::Running, reason: None }).unwrap();
    journal.append(Event::Progress { what: "attributing train".into(), done: 17, total: 960 }).unwrap();
    // A run at rest is looked at once a second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    bench.look();
    bench.says("attributing train 17/960");
    bench.says("3 Training●");
    bench.press("q");
    bench.says("1 run goes on by itself");
    bench.press("<esc>");
    bench.press("S");
    bench.says("stop ");
    bench.press("<esc>D");
    bench.says("the run is running");
    // Its process is killed.
    drop(lock);
    bench.look();
    bench.says("interrupted");
    bench.says("`r` goes on from its checkpoint");
    bench.press("r");
    assert_eq!(bench.outside, [Effect::ResumeRun(run.id().to_owned())]);
}

#[test]
fn a_new_run_is_asked_about_with_what_it_would_train() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 80, 24);
    bench.press("2a<enter>n");
    bench.says("train toy on toyworld: post, shuffled tokens, 800 steps");
    bench.says("this makes runs/ in this folder");
    bench.press("<esc>");
    assert!(bench.outside.is_empty());
    bench.press("n<enter>");
    let [Effect::StartRun(spec)] = &bench.outside[..] else { panic!("{:?}", bench.outside) };
    assert_eq!(spec.rationale.to_string(), "post, shuffled tokens");
    assert_eq!(bench.state.focus, Pane::Training);
    bench.press("T");
    bench.says("start the tour: the paper's three findings");
    bench.press("<enter>");
    assert_eq!(bench.outside.last(), Some(&Effect::StartTour));
    assert_eq!(bench.state.focus, Pane::Board);
}

#[test]
fn commands_reach_a_worker_only_when_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &[]);
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("3<space>");
    bench.says("the run is finished");
    let error = control::send(&RunDirectory::list(dir.path())[0], control::Command::Stop).unwrap_err();
    assert!(error.to_string().contains("not running"));
}

#[test]
fn tokens_are_attributed_and_the_top_ones_become_the_recipe() {
    let dir = tempfile::tempdir().unwrap();
    let pre = train(dir.path(), &["rationale.placement=pre"]);
    let mut bench = Bench::open(dir.path(), 120, 34);
    let result = bench.state.attribution.result.clone().expect("attributed at once");
    assert_eq!(result.run.run, pre.id());
    assert!(result.found.convergence_delta.unwrap().abs() < 1e-4);
    let total: f64 = result.choices.iter().map(|(_, _, p)| p).sum();
    assert!((total - 1.0).abs() < 1e-6);
    bench.says("→ log p(");
    bench.says("δ ");
    bench.says("among the choices");
    // Another question, another answer.
    bench.press("j");
    assert_eq!(bench.state.attribution.result.as_ref().unwrap().found.id, "tr-0002");
    bench.press("4b");
    bench.says("at the zero");
    bench.press("v");
    assert!(bench.state.attribution.result.as_ref().unwrap().found.tokens.iter().all(|token| token.score.is_some()));
    bench.press("v++K");
    assert_eq!(bench.state.focus, Pane::Rationale);
    bench.says("5 key tokens by");
    let rendered = &bench.state.recipe.shown.as_ref().unwrap().rendered;
    let kept = rendered.tokens.iter().filter(|token| token.origin.is_some()).count();
    assert_eq!(kept, 5);
    bench.says("`n` trains on it");
}

#[test]
fn a_student_that_never_read_a_rationale_is_shown_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &[]);
    let bench = Bench::open(dir.path(), 120, 34);
    bench.says("never read a rationale before");
}

#[test]
fn predictions_of_the_selected_run_stand_in_the_table() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &[]);
    let mut bench = Bench::open(dir.path(), 120, 34);
    assert!(bench.state.data.predictions.is_empty(), "nothing was predicted on train");
    bench.press("s");
    assert_eq!(bench.state.data.predictions.len(), 360);
    let (_, right) = bench.state.data.predictions[&bench.state.data.selected.as_ref().unwrap().example.id];
    bench.says(if right { "✓ predicted" } else { "✗ predicted" });
}

#[test]
fn the_settings_of_a_run_can_be_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["rationale.placement=pre", "seed.order=4"]);
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("3<enter>");
    assert_eq!(bench.state.draft.seed.order, 4);
    bench.says("2 Rationale ─ pre");
    assert!(bench.state.draft.record.is_none() && bench.state.draft.tags.is_empty());
}

#[test]
fn a_student_that_is_taken_over_is_looked_into_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let run = train(dir.path(), &[]);
    // The same student as if it had been published: a folder, which is not the student that the workbench begins with.
    let checkpoint = run.newest_checkpoint().unwrap().display().to_string();
    let student = format!("student={checkpoint}");
    let answer = "evaluation.answer=likelihood";
    train(dir.path(), &[&student, answer, "evaluation.examples=8", "training.threads=1"]);
    std::fs::remove_dir_all(run.path()).unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.says("no run on this data set with this student");
    bench.press("3<enter>");
    bench.says("→ log p(");
}

#[test]
fn a_run_is_deleted_only_after_a_yes() {
    let dir = tempfile::tempdir().unwrap();
    let run = train(dir.path(), &[]);
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("3Dn");
    assert!(run.path().exists());
    bench.press("Dy");
    assert!(!run.path().exists());
    std::thread::sleep(std::time::Duration::from_millis(1100));
    bench.look();
    bench.says("no run yet");
}
