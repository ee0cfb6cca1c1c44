//! From a spike of the loss to the question that made it, by keys alone, and what its tokens cost.

use std::fs;
use std::path::Path;
use std::process::Command;

use afterthought::journal::{Event, RunState, SkippedEvent, StepEvent, Writer};
use afterthought::runs::{RunDirectory, RunSpec, worker};
use afterthought::workbench::message::Message;
use afterthought::workbench::pane::Pane;
use afterthought::workbench::state::Overlay;

use super::bench::Bench;

/// The id of the row whose rationale is like no other.
const CULPRIT: &str = "tr-0008";

/// Trains a run on a small world in which one row is spoilt.
fn spoilt(project: &Path) -> RunDirectory {
    let arguments = ["data", "generate", "toyworld", "--seed", "3", "--as", "world"];
    let program = env!("CARGO_BIN_EXE_afterthought");
    assert!(Command::new(program).arg("-C").arg(project).args(arguments).output().unwrap().status.success());
    let path = project.join("datasets/world/train.jsonl");
    let spoil = |line: &str| {
        let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
        if row["id"] == CULPRIT {
            let words: Vec<String> = (0..120).map(|number| format!("glitch{}", number * 7 % 60)).collect();
            row["rationale"] = words.join(" ").into();
        }
        format!("{row}\n")
    };
    let rows: String = fs::read_to_string(&path).unwrap().lines().take(120).map(spoil).collect();
    fs::write(&path, rows).unwrap();
    let settings = [
        "dataset=world",
        "training.steps=60",
        "training.batch_size=4",
        "training.checkpoint={every: 20, keep: 9}",
        "evaluation.every=end",
        "evaluation.examples=4",
        "evaluation.final=validation",
    ];
    let spec = RunSpec::preset("toy").with_overrides(&settings.map(str::to_owned)).unwrap();
    let run = RunDirectory::create(project, spec, "spoilt").unwrap();
    assert_eq!(worker::work(project, &run, Some(Box::new(|_| {}))).unwrap().state, RunState::Finished);
    run
}

#[test]
fn a_spike_leads_to_its_question_by_keys_alone() {
    let dir = tempfile::tempdir().unwrap();
    let run = spoilt(dir.path());
    let mut bench = Bench::open(dir.path(), 120, 34);
    // From the end of the curve back to the last spike, and along it.
    bench.press("3<lt>");
    let (of, step) = bench.state.loupe.cursor.clone().expect("a spike was found");
    assert_eq!(of, run.id());
    bench.says(&format!("▲ step   {step}/60"));
    bench.says("spike ");
    bench.says("┊");
    bench.press("h");
    assert_eq!(bench.state.loupe.cursor.as_ref().unwrap().1, step - 1);
    bench.press("<right>");
    assert_eq!(bench.state.loupe.cursor.as_ref().unwrap().1, step);
    bench.press("bq");
    assert!(bench.state.overlay.is_none() && bench.state.loupe.batch.is_none());
    bench.press("b");
    assert!(matches!(bench.state.overlay, Some(Overlay::Batch)));
    let batch = bench.state.loupe.batch.as_ref().unwrap().found.as_ref().unwrap().as_ref().unwrap().clone();
    assert_eq!((batch.step, batch.agrees, batch.examples.len()), (step, Some(true), 4));
    assert_eq!(batch.examples[0].id, CULPRIT);
    bench.says(&format!("the batch of step {step}"));
    bench.says("as the journal says");
    let before = batch.before.as_ref().unwrap().step;
    bench.says(&format!("at {before}"));
    bench.press("jjjjjj");
    assert_eq!(bench.state.loupe.batch.as_ref().unwrap().cursor, 3);
    // To the culprit's question, and into its tokens at the checkpoint before.
    bench.press("g<enter>");
    assert!(bench.state.overlay.is_none() && bench.state.focus == Pane::Data);
    assert_eq!(bench.state.draft.dataset, "world");
    assert_eq!(bench.state.data.selected.as_ref().unwrap().example.id, CULPRIT);
    bench.press("4o");
    bench.says("loss of each token");
    bench.says(&format!("[{before}]"));
    let shown = bench.state.loupe.loss.result.as_ref().unwrap();
    assert_eq!((shown.losses.id.as_str(), shown.kept.as_slice()), (CULPRIT, &[20, 40, 60][..]));
    let rationale = shown.losses.checkpoints[0].loss_rationale.unwrap();
    bench.says("glitch");
    // Another question costs less; another checkpoint is another answer.
    bench.press("1j");
    let other = bench.state.loupe.loss.result.as_ref().unwrap();
    assert_eq!(other.losses.id, "tr-0009");
    assert!(rationale > 2.0 * other.losses.checkpoints[0].loss_rationale.unwrap());
    bench.press("4]]]]");
    assert_eq!(bench.state.loupe.loss.result.as_ref().unwrap().losses.checkpoints[0].step, Some(60));
    bench.says("the newest checkpoint");
    bench.press("v");
    bench.says("all tokens");
    bench.press("K");
    bench.says("`o` shows them again");
    bench.press("o");
    bench.says("→ log p(");
}

#[test]
fn a_small_screen_shows_the_same() {
    let dir = tempfile::tempdir().unwrap();
    spoilt(dir.path());
    let mut bench = Bench::open(dir.path(), 80, 24);
    bench.press("3<lt>b");
    bench.says(CULPRIT);
    bench.says("a token at step ");
    bench.says("row 8 of train");
    bench.press("<enter>4o");
    bench.says("most ");
    bench.says("checkpoints ([ ])");
    // No row of the batch is wider than the screen, whatever its question says.
    assert!(bench.screen().lines().all(|line| line.chars().count() <= 80));
}

fn step(step: usize, loss: f64) -> Event {
    Event::Step(StepEvent {
        step,
        epoch: 1.0,
        loss,
        loss_label: Some(loss / 2.0),
        loss_rationale: None,
        learning_rate: 1e-3,
        gradient_norm: 0.9,
        tokens: 100 * step as u64,
        tokens_per_second: 10.0,
    })
}

#[test]
fn the_cursor_goes_over_every_step_and_from_spike_to_spike() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 80, 24);
    bench.press("3h");
    bench.says("no run yet");
    let run = RunDirectory::create(dir.path(), RunSpec::preset("toy"), "quiet").unwrap();
    let mut journal = Writer::open(&run.journal()).unwrap();
    let mut bench = Bench::open(dir.path(), 80, 24);
    bench.press("3h");
    bench.says("no step yet");
    for number in (1..=99).filter(|number| *number != 50) {
        journal.append(step(number, if number == 70 { 9.0 } else { 2.0 })).unwrap();
        if number == 49 {
            let skipped = SkippedEvent { step: 50, what: "loss".into(), examples: vec!["q".into()] };
            journal.append(Event::Skipped(skipped)).unwrap();
        }
    }
    // A run at rest is looked at once a second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    bench.look();
    let at = |bench: &Bench| bench.state.loupe.cursor.as_ref().map(|(_, step)| *step);
    // The first key shows the newest step.
    bench.press("l");
    assert_eq!(at(&bench), Some(99));
    bench.press("l>");
    assert_eq!(at(&bench), Some(99));
    bench.says("no spike after this step");
    bench.press("<lt>");
    assert_eq!(at(&bench), Some(70));
    bench.says("spike 2 of 2");
    bench.says("─ label 4.500");
    bench.press("<lt>");
    assert_eq!(at(&bench), Some(50));
    bench.says("step 50 was skipped: its loss was no number");
    bench.press("h");
    assert_eq!(at(&bench), Some(49));
    bench.press("ll>");
    assert_eq!(at(&bench), Some(70));
    bench.press("<esc>");
    assert_eq!(at(&bench), None);
    bench.says("step   99/");
    // An answer to an older question is thrown away.
    bench.press("b<esc>b");
    let view = bench.state.loupe.batch.as_ref().unwrap();
    let generation = view.generation;
    assert!(view.found.is_some());
    bench.send(Message::BatchRead { generation: generation - 1, result: Box::new(Err("late".into())) });
    bench.says_not("late");
    bench.send(Message::BatchRead { generation, result: Box::new(Err("the \u{1b}[2J reason".into())) });
    bench.says("the ␛[2J reason");
    bench.press("jx<enter>");
    assert!(bench.state.overlay.is_some(), "nothing to go to");
    bench.press("<esc>");
    assert!(bench.state.overlay.is_none());
}
