//! Words are changed in the attribution pane and the answer moves; what was found becomes an edit, a recipe, the next run.

use std::path::Path;

use afterthought::attribution::Target;
use afterthought::attribution::what_if::Edit;
use afterthought::rationale::Role;
use afterthought::rationale::recipe::{Ablation, KeepBy};
use afterthought::workbench::message::{Effect, Message};
use afterthought::workbench::pane::Pane;
use afterthought::workbench::theme::Colours;

use crate::bench::Bench;
use crate::watching::train;

/// A student that has learnt to read the rationale, and the workbench on its attributions.
fn reader(project: &Path) -> Bench {
    let settings = [
        "rationale.placement=pre",
        "rationale.hide=subject",
        "evaluation.rationale=teacher",
        "training.loss.rationale=0",
        "training.steps=400",
        "training.batch_size=32",
        "evaluation.every=end",
    ];
    train(project, &settings);
    let mut bench = Bench::open(project, 120, 34);
    bench.press("4");
    bench
}

fn gold(bench: &Bench) -> (f64, f64) {
    let answer = bench.state.data.selected.as_ref().unwrap().example.answer.clone().unwrap();
    let moved = bench.state.attribution.changes.result.as_ref().expect("changes were tried");
    let own = moved.choices.iter().find(|choice| choice.label == answer).unwrap();
    (own.before, own.after)
}

/// Moves the cursor to a word of the rationale.
fn to_word(bench: &mut Bench, wanted: &str) {
    for _ in 0..100 {
        let found = &bench.state.attribution.result.as_ref().unwrap().found;
        let token = &found.tokens[bench.state.attribution.cursor];
        if token.role == Role::Rationale && token.text.trim() == wanted {
            return;
        }
        bench.press("l");
    }
    panic!("the rationale has no word `{wanted}`");
}

fn cues(bench: &Bench) -> Vec<String> {
    let cues = &bench.state.data.selected.as_ref().unwrap().example.extra["cues"];
    cues.as_array().unwrap().iter().map(|cue| cue.as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_its_cues_the_answer_moves_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = reader(dir.path());
    let cues = cues(&bench);
    assert_eq!(cues.len(), 3);
    for cue in &cues {
        to_word(&mut bench, cue);
        bench.press("d");
    }
    let (before, after) = gold(&bench);
    assert!(before > 0.5 && after < before - 0.2, "{before} to {after} without {cues:?}");
    bench.says("what if");
    bench.says(&format!("[−{}]", cues[0]));
    // One back, then all as it stands.
    bench.press("u");
    assert_eq!(bench.state.attribution.changes.now.edits.len(), 2);
    bench.press("<esc>");
    assert!(bench.state.attribution.changes.result.is_none());
    bench.says("among the choices");
}

#[test]
fn choices_move_while_a_word_is_typed() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = reader(dir.path());
    let cue = cues(&bench)[0].clone();
    to_word(&mut bench, &cue);
    bench.press("e");
    bench.press("<ctrl-u>b");
    bench.says("[b▏]");
    let seen = gold(&bench).1;
    bench.press("arn");
    bench.says("[barn▏]");
    assert!(bench.state.attribution.changes.result.is_some() && (gold(&bench).1 - seen).abs() > 0.0);
    bench.press("<enter>");
    assert_eq!(bench.state.focus, Pane::Attribution);
    let edits: Vec<_> = bench.state.attribution.changes.now.edits.values().cloned().collect();
    assert_eq!(edits, [Edit::Retype("barn".into())]);
    // Typing that is given up leaves nothing.
    bench.press("lex<esc>");
    assert_eq!(bench.state.attribution.changes.now.edits.len(), 1);
    // Kept as an edit: the rationale has the word, and the changes are gone with the text they were of.
    bench.press("w");
    bench.says("this rationale");
    bench.press("<enter>");
    let text = bench.state.data.selected.as_ref().unwrap().example.rationale.clone().unwrap();
    assert!(text.contains("barn") && !text.contains(&cue), "{text}");
    assert!(bench.state.attribution.changes.now.is_empty());
    // And the next run is one key away.
    bench.press("n<enter>");
    assert!(bench.outside.iter().any(|effect| matches!(effect, Effect::StartRun(_))), "{:?}", bench.outside);
}

#[test]
fn words_that_were_struck_out_become_a_recipe_and_so_does_an_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = reader(dir.path());
    bench.press("x");
    bench.says("[?");
    bench.press("wj<enter>");
    let recipe = &bench.state.draft.rationale;
    assert!(matches!(&recipe.ablations[..], [Ablation::Keep(keep)] if keep.by == KeepBy::Highlight), "{recipe:?}");
    let example = &bench.state.data.selected.as_ref().unwrap().example;
    let words = example.rationale.as_ref().unwrap().split_whitespace().count();
    assert_eq!(example.highlights.len(), words - 1);
    assert_eq!(bench.state.focus, Pane::Rationale);
    bench.press("4RR");
    bench.says("what if");
    let before: Vec<usize> =
        bench.state.attribution.changes.result.as_ref().unwrap().tokens.iter().map(|t| t.place).collect();
    assert!(!before.is_sorted());
    bench.press("w");
    bench.says("ablation seed 1");
    bench.press("j<enter>");
    assert!(bench.state.draft.rationale.ablations.iter().any(|own| matches!(own, Ablation::Shuffle(_))));
    assert_eq!(bench.state.draft.seed.ablation, 1);
}

#[test]
fn a_question_can_be_changed_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = reader(dir.path());
    let question = bench.state.data.selected.as_ref().unwrap().example.question.clone();
    bench.press("vggl").press("w");
    bench.says("nothing was changed yet");
    bench.press("d");
    let found = bench.state.attribution.changes.result.clone().expect("tried");
    let now = found.question.expect("the question's first word is gone");
    assert!(question.ends_with(&now) && now.len() < question.len(), "{question} / {now}");
    bench.press("w<enter>");
    assert_eq!(bench.state.data.selected.as_ref().unwrap().example.question, now);
    bench.press("2u");
    assert_eq!(bench.state.data.selected.as_ref().unwrap().example.question, question);
}

#[test]
fn methods_targets_and_units_are_a_key_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = reader(dir.path());
    let words = |bench: &Bench| bench.state.attribution.result.as_ref().unwrap().found.method.clone();
    bench.press("mjjj<enter>");
    assert_eq!(words(&bench), "occlusion");
    bench.press("mjj<enter>");
    bench.says("attention explains no answer".split(' ').next().unwrap());
    bench.says("explains no answer");
    bench.press("b");
    bench.says("attention has no baseline");
    bench.press("mgggg").press("<enter>");
    assert_eq!(words(&bench), "integrated gradients");
    bench.press("tj<enter>");
    assert_eq!(bench.state.attribution.asked.target, Target::Contrast);
    bench.says(" over ");
    bench.press("U");
    bench.says("by sentence");
    bench.press("U");
    bench.press("A");
    bench.says("sizes");
    bench.press("K");
    bench.says("a recipe scores the rationale by integrated gradients of the label");
}

#[test]
fn two_runs_stand_beside_each_other() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["rationale.placement=pre"]);
    train(dir.path(), &["rationale.placement=pre", "seed.init=1"]);
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("4z");
    bench.press("cj<enter>");
    bench.says("2 less 1");
    let own = bench.state.attribution.result.clone().unwrap();
    let other = bench.state.attribution.beside.result.clone().expect("attributed as well");
    assert!(own.run != other.run && own.found.id == other.found.id && own.found.log_p != other.found.log_p);
    // Both follow to the next question.
    bench.press("1j4");
    assert_eq!(bench.state.attribution.beside.result.as_ref().unwrap().found.id, "tr-0002");
    bench.press("c");
    assert!(!bench.screen().contains("2 less 1"));
}

#[test]
fn checkpoints_of_a_run_are_stepped_through() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["rationale.placement=pre", "training.checkpoint.every=10", "training.checkpoint.keep=9"]);
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("4");
    let last = bench.state.attribution.result.as_ref().unwrap().found.log_p;
    bench.press("[");
    bench.says("@20");
    assert_ne!(bench.state.attribution.result.as_ref().unwrap().found.log_p, last);
    bench.press("[[");
    bench.says("oldest checkpoint");
    bench.press("]]");
    assert_eq!(bench.state.attribution.result.as_ref().unwrap().found.log_p, last);
}

#[test]
fn wrong_answers_are_found_by_a_word() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["rationale.placement=pre"]);
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("s/is:wrong<enter>");
    let wrong = bench.state.data.predictions.values().filter(|(_, right)| !right).count();
    assert_eq!(bench.state.data.lines(), wrong);
    assert!(wrong > 0);
    let id = &bench.state.data.selected.as_ref().unwrap().example.id;
    assert!(!bench.state.data.predictions[id].1);
    // With the teacher's rationale it may know better than with its own.
    let mut seen = 0;
    while !bench.screen().contains("wrongly: t, then choice:") {
        bench.press("j");
        seen += 1;
        assert!(seen < 60, "{}", bench.screen());
    }
}

#[test]
fn a_page_of_scores_is_readable_with_any_colours_and_small() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = reader(dir.path());
    bench.send(Message::Resize(80, 24));
    bench.press("4vUU");
    for colours in [Colours::True, Colours::Palette, Colours::Sixteen, Colours::None] {
        let bytes = bench.bytes(dir.path(), colours);
        assert!(bytes < 10_000, "{bytes} bytes with {colours:?}");
        // Where no colour tells the score, a bar before the token does.
        let bars = ["█", "▅", "▂", "≡", "=", "-"].iter().any(|bar| bench.screen().contains(&format!(" {bar}")));
        assert!(bars || colours != Colours::None, "{}", bench.screen());
    }
}

#[test]
fn the_rationale_that_the_student_wrote_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["rationale.placement=pre", "training.steps=200", "training.batch_size=32"]);
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("4O");
    bench.says("wrote no rationale before its answer here");
    bench.press("1s4O");
    let id = bench.state.data.selected.as_ref().unwrap().example.id.clone();
    let written = bench.state.data.written[&id].clone();
    let result = bench.state.attribution.result.clone().unwrap();
    assert_eq!(result.rationale.as_ref(), Some(&written));
    assert_ne!(result.rationale, bench.state.data.selected.as_ref().unwrap().example.rationale);
    assert!(!written.contains("answer :"), "{written}");
    // It can be changed to see what happens, and is nothing to keep.
    bench.press("dw");
    bench.says("this is what the student wrote");
    bench.press("O");
    let result = bench.state.attribution.result.as_ref().unwrap();
    assert_eq!(result.rationale, bench.state.data.selected.as_ref().unwrap().example.rationale);
    assert!(bench.state.attribution.changes.now.is_empty(), "changes stay with the text that they were of");
}

#[test]
fn changes_stay_with_their_question_and_a_mask_is_no_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = reader(dir.path());
    bench.press("x");
    let found = bench.state.attribution.changes.result.clone().unwrap();
    assert_eq!(found.rationale, None, "read again, `<mask>` would be other tokens");
    // While nothing can be shown, too.
    bench.state.attribution.result = None;
    bench.press("1j4");
    assert!(bench.state.attribution.changes.now.is_empty());
    bench.says("among the choices");
}
