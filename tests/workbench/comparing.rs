//! The board: a study while it runs, what its rows are measured against, and the questions behind a difference.

use std::fs::File;
use std::path::Path;

use afterthought::corpus::Catalog;
use afterthought::evaluation::{Prediction, merge_predictions};
use afterthought::journal::{EvaluationEvent, Event, MaterialEvent, RunState, StepEvent, Writer};
use afterthought::runs::{RunDirectory, RunSpec};
use afterthought::studies::{Cell, Study};
use afterthought::workbench::message::{Effect, Message};
use afterthought::workbench::pane::Pane;
use afterthought::workbench::state::Overlay;
use afterthought::workbench::update;

use super::bench::Bench;

const STUDY: &str = "
base: {dataset: toyworld, training: {steps: 60}}
conditions:
  none: {rationale: {placement: none}}
  post: {}
  post, shuffled: {rationale: {ablations: [{shuffle: {unit: token}}]}}
seeds: [0, 1]
baseline: none
";

fn evaluation(step: usize, split: &str, correct: usize, examples: usize, last: bool) -> Event {
    Event::Evaluation(EvaluationEvent {
        step,
        epoch: 1.0,
        split: split.into(),
        accuracy: correct as f64 / examples as f64,
        correct,
        examples,
        unparsable: if last { 6 } else { 0 },
        loss: None,
        loss_label: None,
        loss_rationale: None,
        last,
    })
}

fn finish(project: &Path, cell: &Cell, right: &dyn Fn(usize) -> bool) {
    finish_run(project, cell.spec.clone(), &cell.name, right);
}

/// A finished run that got those questions of the test right whose number `right` accepts.
pub fn finish_run(project: &Path, spec: RunSpec, name: &str, right: &dyn Fn(usize) -> bool) {
    let dataset = spec.dataset.clone();
    let run = RunDirectory::create(project, spec, name).unwrap();
    let examples = Catalog::new(project).open("toyworld").unwrap().split("test").unwrap().examples("default").unwrap();
    let predictions: Vec<Prediction> = examples
        .iter()
        .enumerate()
        .map(|(number, example)| {
            let gold = example.answer.clone().unwrap();
            let other = if gold == "A" { "B" } else { "A" };
            Prediction {
                unfinished: false,
                id: example.id.clone(),
                dataset: String::new(),
                split: String::new(),
                predicted: Some(if right(number) { gold.clone() } else { other.to_owned() }),
                answer: Some(gold),
                text: String::new(),
                choices: None,
            }
        })
        .collect();
    merge_predictions(&run.predictions(), &dataset, "test", &predictions).unwrap();
    let correct = (0..predictions.len()).filter(|number| right(*number)).count();
    let mut journal = Writer::open(&run.journal()).unwrap();
    let material =
        MaterialEvent { split: "train".into(), examples: 960, truncated: 12, without_rationale: 0, skipped: 0 };
    journal.append(Event::Material(material)).unwrap();
    journal.append(evaluation(60, "test", correct, predictions.len(), true)).unwrap();
    journal.append(Event::State { state: RunState::Finished, reason: None }).unwrap();
}

pub fn step(step: usize) -> Event {
    Event::Step(StepEvent {
        step,
        epoch: 1.0,
        loss: 2.0,
        loss_label: Some(1.0),
        loss_rationale: None,
        learning_rate: 0.01,
        gradient_norm: 1.0,
        tokens: 1000,
        tokens_per_second: 5000.0,
    })
}

/// A run of a cell that is under way; its worker is this process until the lock is dropped.
fn begin(project: &Path, cell: &Cell) -> (RunDirectory, Writer, File) {
    let run = RunDirectory::create(project, cell.spec.clone(), &cell.name).unwrap();
    let lock = run.lock().unwrap();
    let mut journal = Writer::open(&run.journal()).unwrap();
    journal.append(Event::State { state: RunState::Running, reason: None }).unwrap();
    let (device, parameters) = ("cpu".to_owned(), 91_264);
    journal.append(Event::Start { steps: 60, examples: 960, parameters, device, threads: 1 }).unwrap();
    journal.append(evaluation(20, "validation", 54, 120, false)).unwrap();
    journal.append(step(30)).unwrap();
    (run, journal, lock)
}

/// A study of which `none` is finished, `post` has one run under way, and `post, shuffled` has one run to come.
pub fn half_run() -> (tempfile::TempDir, (RunDirectory, Writer, File)) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("studies")).unwrap();
    std::fs::write(dir.path().join("studies/mine.yaml"), STUDY).unwrap();
    let cells = Study::find(dir.path(), "mine").unwrap().cells().unwrap();
    let of = |name: &str, seed: u64| cells.iter().find(|cell| cell.condition == name && cell.spec.seed.init == seed);
    for seed in 0..2 {
        finish(dir.path(), of("none", seed).unwrap(), &|number| number % 10 < 6);
    }
    finish(dir.path(), of("post", 0).unwrap(), &|number| number % 10 < 9 && number != 3);
    finish(dir.path(), of("post, shuffled", 0).unwrap(), &|number| number % 10 < 9 || number % 200 == 9);
    let running = begin(dir.path(), of("post", 1).unwrap());
    (dir, running)
}

/// The board of that study.
fn bench(project: &Path, columns: u16, rows: u16) -> Bench {
    let mut bench = Bench::open(project, columns, rows);
    bench.press("5S");
    bench.says("what the board shows");
    bench.says("5 runs, 1 under way");
    bench.press("j<enter>");
    bench
}

#[test]
fn a_study_half_run_a_baseline_a_filter_and_the_questions_at_80_by_24() {
    let (dir, _running) = half_run();
    let mut bench = bench(dir.path(), 80, 24);
    insta::assert_snapshot!("board_half_run_80", bench.styled());
    bench.press("jjjb/shuf<enter>");
    insta::assert_snapshot!("board_filtered_80", bench.styled());
    bench.press("<esc>jjd");
    insta::assert_snapshot!("board_questions_80", bench.styled());
}

#[test]
fn the_same_at_200_by_60() {
    let (dir, _running) = half_run();
    let mut bench = bench(dir.path(), 200, 60);
    insta::assert_snapshot!("board_half_run_200", bench.styled());
    bench.press("jjjbs/post<enter>");
    insta::assert_snapshot!("board_filtered_200", bench.styled());
    bench.press("<esc>sssgjjd");
    insta::assert_snapshot!("board_questions_200", bench.styled());
}

#[test]
fn running_cells_show_how_far_they_are_and_nothing_is_compared_anew() {
    let (dir, (_run, mut journal, lock)) = half_run();
    let mut bench = bench(dir.path(), 80, 24);
    bench.says("● 30/60 45.0 %");
    bench.says("✓● 1/2");
    bench.says("✓· 1/2");
    bench.says("would run");
    let asked = bench.state.board.asked;
    journal.append(step(40)).unwrap();
    journal.append(evaluation(40, "validation", 66, 120, false)).unwrap();
    bench.look();
    bench.says("● 40/60 55.0 %");
    assert_eq!(bench.state.board.asked, asked, "a step and a look at the validation split decide nothing");
    journal.append(Event::State { state: RunState::Failed, reason: Some("out of cheese".into()) }).unwrap();
    drop(lock);
    bench.look();
    bench.says("✓✗ 1/2");
    bench.says("seed 1 failed: out of cheese");
    assert!(bench.state.board.asked > asked, "an end is compared");
}

#[test]
fn the_chosen_row_is_what_the_others_are_measured_against() {
    let (dir, _running) = half_run();
    let mut bench = bench(dir.path(), 200, 60);
    bench.says("◆ none");
    bench.says("better");
    bench.press("jjj");
    assert_eq!(bench.state.board.selected().unwrap().2.condition, "post");
    bench.press("b");
    bench.says("◆ post");
    bench.says("equivalent within 3 points");
    bench.says("worse");
    bench.says_not("◆ none");
    let against = |bench: &Bench, name: &str| {
        let table = bench.state.board.table.as_ref().unwrap();
        let row = table.sections[0].rows.iter().find(|row| row.condition == name).unwrap();
        row.against.as_ref().map(|against| against.baseline.clone())
    };
    assert_eq!(against(&bench, "majority class").as_deref(), Some("post"));
    assert_eq!(against(&bench, "post"), None);
    bench.press("b");
    bench.says("◆ none");
    assert_eq!(against(&bench, "majority class"), None);
    // By accuracy the best stands first, and the cursor stays on its row.
    bench.press("s");
    bench.says("by accuracy");
    let board = &bench.state.board;
    assert_eq!(board.row_at(0).unwrap().2.condition, "post, shuffled");
    assert_eq!(board.selected().unwrap().2.condition, "post");
}

#[test]
fn a_filter_is_typed_and_taken_back() {
    let (dir, _running) = half_run();
    let mut bench = bench(dir.path(), 80, 24);
    bench.press("/SHUF");
    assert_eq!(bench.state.board.lines.len(), 1);
    bench.says("/ SHUF");
    bench.press("x");
    bench.says("no condition is called like that");
    bench.press("<enter><enter>d");
    bench.press("<esc>");
    assert_eq!(bench.state.board.lines.len(), 5);
    bench.press("/");
    bench.send(Message::Paste("post\nmore".into()));
    assert_eq!(bench.state.board.lines.len(), 2);
    bench.press("<esc>");
    assert!(bench.state.overlay.is_none() && bench.state.board.filter.is_empty());
}

#[test]
fn from_a_row_to_its_runs_its_curves_and_the_questions_in_the_data_pane() {
    let (dir, _running) = half_run();
    let mut bench = bench(dir.path(), 80, 24);
    bench.press("<enter>");
    bench.says("always ");
    bench.press("jjj<enter>");
    bench.says("seed 0");
    bench.says("McNemar p");
    bench.says("< 0.001");
    bench.press("j");
    bench.says("30/60 45.0 %");
    bench.press("d");
    // 180 questions are won, and question 3, which only `none` got right, is lost.
    bench.says("181 of 600 questions: 180 won, 1 lost");
    bench.press("<esc>");
    bench.says("McNemar p");
    bench.press("d<end>");
    bench.says("181 of 181: ");
    bench.press("<enter>");
    assert_eq!(bench.state.focus, Pane::Data);
    assert_eq!(bench.state.data.split, "test");
    assert_eq!(bench.state.data.selected.as_ref().unwrap().row, 3);
    bench.says("✗ predicted");
    bench.says("predicted by post");
    // Another one, from where one was; the data set is open now.
    bench.press("5k<enter>");
    assert_ne!(bench.state.data.selected.as_ref().unwrap().row, 3);
    bench.says("✓ predicted");
    bench.press("5<esc><enter>");
    assert_eq!(bench.state.focus, Pane::Training);
    assert_eq!(bench.state.runs.overlaid.len(), 2, "all runs of the row are in the chart");
}

#[test]
fn questions_of_another_data_set_open_it() {
    let (dir, _running) = half_run();
    let mut bench = bench(dir.path(), 80, 24);
    bench.press("1d");
    let Some(Overlay::Menu(menu)) = &bench.state.overlay else { panic!("no menu of data sets") };
    let noisy = menu.items.iter().position(|item| item.label == "toyworld-noisy").unwrap();
    bench.press(&format!("{}<enter>", "j".repeat(noisy - menu.cursor)));
    assert_eq!(bench.state.draft.dataset, "toyworld-noisy");
    bench.press("5jjjd<end><enter>");
    assert_eq!((bench.state.draft.dataset.as_str(), bench.state.data.split.as_str()), ("toyworld", "test"));
    assert_eq!(bench.state.data.selected.as_ref().unwrap().row, 3);
}

#[test]
fn a_row_without_answers_or_baseline_says_so() {
    let (dir, _running) = half_run();
    let mut bench = bench(dir.path(), 80, 24);
    bench.press("jjd");
    bench.says("this row is the baseline");
    bench.press("kd");
    bench.says("this row has no baseline");
    bench.press("<enter><enter>");
    bench.says("`afterthought study run mine` runs it");
    // A file that can't be read is told, and the way out is.
    std::fs::write(dir.path().join("studies/other.yaml"), "seeds: []").unwrap();
    bench.press("S");
    let Some(Overlay::Menu(menu)) = &bench.state.overlay else { panic!("no menu of studies") };
    let other = menu.items.iter().position(|item| item.label == "other").unwrap();
    bench.press(&format!("g{}<enter>", "j".repeat(other)));
    bench.says("seeds is empty");
    bench.says("S shows another study");
}

#[test]
fn tables_that_come_late_are_shown_and_those_of_another_baseline_are_not() {
    let (dir, _running) = half_run();
    let mut bench = bench(dir.path(), 80, 24);
    let table = bench.state.board.table.clone().unwrap();
    // While a table is made two more runs end: it is shown all the same.
    let late = bench.state.next_generation();
    bench.state.board.asked = bench.state.next_generation();
    bench.send(Message::Board { generation: late, result: Box::new(Ok(table.clone())) });
    assert_eq!(bench.state.board.have, late);
    // After another baseline was chosen it is not.
    let late = bench.state.next_generation();
    let effects = update::update(&mut bench.state, super::bench::key("b"));
    assert!(matches!(&effects[..], [Effect::MakeBoard { baselines, .. }] if baselines.len() == 1));
    bench.send(Message::Board { generation: late, result: Box::new(Ok(table)) });
    assert!(bench.state.board.have < late);
}
