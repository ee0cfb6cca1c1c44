//! The rationale pane: recipes with live preview, edits and highlights.

use afterthought::rationale::{Placement, Role};
use afterthought::workbench::message::{Effect, External, Message};
use afterthought::workbench::state::EditTarget;

use super::bench::Bench;

fn fresh() -> (tempfile::TempDir, Bench) {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("2");
    (dir, bench)
}

/// The rationale as the student sees it.
fn seen(bench: &Bench) -> String {
    let rendered = &bench.state.recipe.shown.as_ref().expect("a preview").rendered;
    let own = rendered.tokens.iter().filter(|token| token.role == Role::Rationale);
    own.map(|token| token.text.as_str()).collect::<String>().trim().to_owned()
}

fn teacher(bench: &Bench) -> String {
    bench.state.data.selected.as_ref().unwrap().example.rationale.clone().unwrap_or_default()
}

#[test]
fn placements_are_cycled_with_a_live_preview() {
    let (_dir, mut bench) = fresh();
    assert_eq!(seen(&bench), teacher(&bench));
    bench.press("p");
    assert_eq!(bench.state.draft.rationale.placement, Placement::Multitask);
    bench.says("label and rationale as two tasks");
    bench.says("and, as a sequence of its own");
    bench.press("p");
    assert_eq!(bench.state.draft.rationale.placement, Placement::None);
    assert_eq!(seen(&bench), "");
    bench.says("2 Rationale ─ none");
    bench.press("p");
    let text = bench.state.recipe.shown.as_ref().unwrap().rendered.text();
    assert!(text.find("because").unwrap() < text.find("answer").unwrap());
    bench.press("p");
    assert_eq!(bench.state.draft.rationale.placement, Placement::Post);
}

#[test]
fn ablations_are_added_moved_changed_and_removed() {
    let (_dir, mut bench) = fresh();
    // Shuffled tokens, then 40 % dropped.
    bench.press("a<enter>");
    let mut words: Vec<String> = seen(&bench).split(' ').map(str::to_owned).collect();
    let mut original: Vec<String> = teacher(&bench).split(' ').map(str::to_owned).collect();
    assert_ne!(words, original);
    words.sort();
    original.sort();
    assert_eq!(words, original, "a shuffle loses nothing");
    bench.press("ajjjj<enter>");
    bench.says("1. shuffled tokens");
    bench.says("▸ 2. 40 % dropped");
    let dropped = seen(&bench).split(' ').count();
    assert!(dropped < original.len());
    bench.press("+");
    bench.says("50 % dropped");
    assert!(seen(&bench).split(' ').count() < dropped);
    bench.press("---");
    bench.says("20 % dropped");
    bench.press("[");
    bench.says("▸ 1. 20 % dropped");
    bench.says("2. shuffled tokens");
    bench.press("j<enter>j<enter>");
    bench.says("2. shuffled words");
    bench.press("xx");
    bench.says("no ablation");
    assert_eq!(seen(&bench), teacher(&bench));
}

#[test]
fn a_reshuffle_draws_anew_and_only_that() {
    let (_dir, mut bench) = fresh();
    bench.press("a<enter>");
    let first = seen(&bench);
    bench.press("R");
    assert_ne!(seen(&bench), first);
    bench.says("seed 1");
    bench.press("jk");
    let again = seen(&bench);
    bench.press("1jk2");
    assert_eq!(seen(&bench), again, "the same question has the same draw");
}

#[test]
fn every_token_is_shown_with_its_role_and_its_weight() {
    let (_dir, mut bench) = fresh();
    bench.press("t");
    bench.says("place      id  role        loss  token");
    bench.says("prompt         ·  <bos>");
    bench.press("<pgdn>");
    bench.says("rationale   0.30");
    bench.press("t");
    bench.says("student sees");
}

#[test]
fn an_edit_is_a_patch_that_is_undone_as_easily_later_as_now() {
    let (dir, mut bench) = fresh();
    let original = teacher(&bench);
    bench.press("e and so on<ctrl-s>");
    assert_eq!(teacher(&bench), format!("{original} and so on"));
    assert!(seen(&bench).ends_with("and so on"));
    bench.says("edited 1×");
    let log = std::fs::read_to_string(dir.path().join("datasets/toyworld/edits.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 1);

    let mut later = Bench::open(dir.path(), 120, 34);
    later.press("2");
    assert!(teacher(&later).ends_with("and so on"));
    later.press("u");
    assert_eq!(teacher(&later), original);
    later.press("u");
    later.says("nothing to undo");
    later.press("U");
    assert!(teacher(&later).ends_with("and so on"));
}

#[test]
fn the_editor_asks_before_it_throws_work_away() {
    let (_dir, mut bench) = fresh();
    let original = teacher(&bench);
    bench.press("ehello<esc>");
    bench.says("throw the edit away?");
    bench.press("n");
    bench.says("hello");
    bench.press("<esc><enter>");
    assert_eq!(teacher(&bench), original);
    bench.press("e<esc>");
    bench.says("nothing was changed");
    // A line break and an undo inside the editor.
    bench.press("ex<enter>y<ctrl-u><ctrl-u><ctrl-u><esc>");
    bench.says("nothing was changed");
}

#[test]
fn pasted_text_and_hostile_text_are_no_trouble() {
    let (_dir, mut bench) = fresh();
    bench.press("e");
    bench.send(Message::Paste(" \u{1b}]52;c;aGk=\u{7} pasted\nin two lines".into()));
    bench.press("<ctrl-s>");
    assert!(teacher(&bench).ends_with("pasted\nin two lines"));
    bench.says("␛]52;c;aGk=␇ pasted");
    assert!(!bench.screen().contains('\u{1b}'));
}

#[test]
fn the_outside_editor_gets_the_text_and_what_comes_back_is_kept() {
    let (_dir, mut bench) = fresh();
    let original = teacher(&bench);
    bench.press("E");
    let target = EditTarget {
        dataset: "toyworld".into(),
        split: "train".into(),
        id: "tr-0001".into(),
        source: "default".into(),
    };
    let what = External::Rationale(target);
    assert_eq!(bench.outside, [Effect::OpenEditor { what: what.clone(), text: original }]);
    bench.send(Message::EditorClosed { what, text: Some("from outside\n".into()) });
    assert_eq!(teacher(&bench), "from outside");
}

#[test]
fn marked_words_are_kept_by_highlight() {
    let (_dir, mut bench) = fresh();
    let words: Vec<String> = teacher(&bench).split(' ').map(str::to_owned).collect();
    bench.press("ll<space>lll<space>");
    assert_eq!(bench.state.data.selected.as_ref().unwrap().example.highlights.len(), 2);
    bench.press("ajjjjjjjjj<enter>");
    bench.says("highlights only");
    assert_eq!(seen(&bench), format!("{} {}", words[2], words[5]));
    // The same key takes a mark away.
    bench.press("<space>");
    assert_eq!(seen(&bench), words[2]);
}

#[test]
fn settings_are_edited_as_yaml_and_mistakes_are_named() {
    let (_dir, mut bench) = fresh();
    bench.press("3E");
    let Some(Effect::OpenEditor { text, .. }) = bench.outside.pop() else { panic!("no editor") };
    assert!(text.contains("learning_rate: 0.01"));
    let changed = text.replace("learning_rate: 0.01", "learning_rate: 0.02");
    bench.send(Message::EditorClosed { what: External::Settings, text: Some(changed) });
    assert_eq!(bench.state.draft.training.learning_rate, 0.02);
    let wrong = text.replace("learning_rate:", "learnin_rate:");
    bench.send(Message::EditorClosed { what: External::Settings, text: Some(wrong) });
    bench.says("did you mean `learning_rate`");
    assert_eq!(bench.state.draft.training.learning_rate, 0.02);
}

#[test]
fn a_recipe_is_written_to_a_file_that_train_takes() {
    let (dir, mut bench) = fresh();
    bench.press("a<enter>w<ctrl-u>shuffled.yaml<enter>");
    let spec = afterthought::runs::RunSpec::read(&dir.path().join("shuffled.yaml"), &[]).unwrap();
    assert_eq!(spec.rationale.to_string(), "post, shuffled tokens");
    bench.press("w<ctrl-u>shuffled.yaml<enter>");
    bench.says("is there already");
}

#[test]
fn every_ablation_of_the_menu_is_previewed_and_has_a_number_or_a_variant() {
    let (_dir, mut bench) = fresh();
    let whole = seen(&bench).split(' ').count();
    let add = |bench: &mut Bench, place: usize| {
        bench.press(&format!("a{}<enter>", "j".repeat(place)));
    };
    add(&mut bench, 11);
    bench.says("truncated to 50 %");
    let half = seen(&bench).split(' ').count();
    assert!(half < whole);
    bench.press("+");
    bench.says("truncated to 60 %");
    assert!(seen(&bench).split(' ').count() > half);
    bench.press("<enter>j<enter>");
    bench.says("truncated to 60 % from the start");
    bench.press("x");
    add(&mut bench, 10);
    bench.says("3 similar tokens");
    assert_eq!(seen(&bench).split(' ').count(), 3);
    bench.press("x");
    for (place, name) in [(14, "of the same label"), (15, "of another label"), (16, "for a wrong choice")] {
        add(&mut bench, place);
        bench.says(name);
        assert_ne!(seen(&bench), teacher(&bench), "{name}");
        bench.press("x");
    }
    add(&mut bench, 12);
    bench.says("2 fewer tokens each epoch");
    bench.press("+");
    bench.says("3 fewer tokens each epoch");
    bench.press("x");
    add(&mut bench, 18);
    bench.says("10 pause tokens");
    bench.press("-");
    assert_eq!(seen(&bench), ["<pause>"; 9].join(" "));
    bench.press("x");
    add(&mut bench, 0);
    bench.press("<enter>jjj<enter>");
    bench.says("shuffled tokens anew each epoch");
    bench.press("x");
    assert_eq!(seen(&bench), teacher(&bench));
}
