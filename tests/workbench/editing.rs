//! Editing rationales: the editor, what was changed, search and replace.

use std::ops::Range;
use std::path::Path;

use afterthought::corpus::{Catalog, Dataset};
use afterthought::workbench::editor::{Editor, Unsaved};
use afterthought::workbench::message::Message;
use afterthought::workbench::state::Overlay;

use super::bench::Bench;

/// A project whose data set has these rationales, and a workbench that shows the first of them.
fn with(rationales: &[&str]) -> (tempfile::TempDir, Bench) {
    sized(rationales, 120, 34)
}

fn sized(rationales: &[&str], columns: u16, rows: u16) -> (tempfile::TempDir, Bench) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("datasets/own");
    std::fs::create_dir_all(&folder).unwrap();
    let row = |(place, text): (usize, &&str)| {
        serde_json::json!({
            "id": format!("q{place}"), "question": "what is it ?", "answer": "A", "rationale": text,
            "choices": [{"label": "A", "text": "a wug"}, {"label": "B", "text": "a dax"}],
        })
    };
    let lines: Vec<String> = rationales.iter().enumerate().map(row).map(|row| row.to_string()).collect();
    std::fs::write(folder.join("train.jsonl"), lines.join("\n")).unwrap();
    let mut bench = Bench::open(dir.path(), columns, rows);
    bench.press("d");
    let place = bench.state.data.datasets.iter().position(|name| name == "own").unwrap();
    bench.press(&format!("{}<enter>", "j".repeat(place)));
    assert_eq!(bench.state.draft.dataset, "own");
    bench.press("2");
    (dir, bench)
}

fn open(dir: &Path) -> Dataset {
    Catalog::new(dir).open("own").unwrap()
}

/// The rationales as they are edited.
fn rationales(dir: &Path) -> Vec<String> {
    let examples = open(dir).split("train").unwrap().examples("default").unwrap();
    examples.into_iter().map(|example| example.rationale.unwrap_or_default()).collect()
}

fn editor(bench: &Bench) -> &Editor {
    match &bench.state.overlay {
        Some(Overlay::Editor(editor)) => editor,
        _ => panic!("no editor"),
    }
}

fn teacher(bench: &Bench) -> String {
    bench.state.data.selected.as_ref().unwrap().example.rationale.clone().unwrap_or_default()
}

/// The words that are marked as key.
fn marked(bench: &Bench) -> Vec<String> {
    let example = &bench.state.data.selected.as_ref().unwrap().example;
    let text = example.rationale.clone().unwrap_or_default();
    let cut = |range: &std::ops::Range<usize>| text.chars().skip(range.start).take(range.len()).collect();
    example.highlights.iter().map(cut).collect()
}

#[test]
fn words_are_typed_taken_back_and_made_again() {
    let (_dir, mut bench) = with(&["it has gills"]);
    bench.press("e and big fins");
    bench.press("<ctrl-u><ctrl-u>");
    assert_eq!(editor(&bench).text(), "it has gills and");
    bench.press("<ctrl-r>");
    assert_eq!(editor(&bench).text(), "it has gills and big");
    bench.press("<ctrl-home><ctrl-right><ctrl-right> no");
    assert_eq!(editor(&bench).text(), "it has no gills and big");
    bench.press("<ctrl-w><ctrl-w><alt-d>");
    assert_eq!(editor(&bench).text(), "it  and big");
    bench.press("<ctrl-s>");
    assert_eq!(teacher(&bench), "it  and big");
    bench.press("u");
    assert_eq!(teacher(&bench), "it has gills", "all that was typed is one edit");
}

#[test]
fn every_key_of_the_editor_is_in_its_help() {
    let (_dir, mut bench) = with(&["it has gills"]);
    bench.press("e<f1>");
    for what in ["mark the word at the cursor as key", "ctrl-s", "a word to the left", "take the last step back"] {
        bench.says(what);
    }
    bench.press("x");
    bench.says_not("a word to the left");
    assert_eq!(editor(&bench).text(), "it has gills", "the key that closes help writes nothing");
}

#[test]
fn rows_are_walked_by_columns_and_text_of_any_script_is_kept_whole() {
    let text = "日本語の説明 👩‍🔬 e\u{301}e\u{301} שלום नमस्ते ".repeat(12);
    let (_dir, mut bench) = sized(&[&text], 80, 24);
    bench.press("e");
    let before = editor(&bench).text().to_owned();
    for _ in 0..60 {
        bench.press("<left><up><right>");
        bench.screen();
    }
    bench.press("<ctrl-home>");
    assert_eq!(editor(&bench).cursor(), 0);
    // From one end to the other, a grapheme at a time.
    let mut steps = 0;
    while editor(&bench).cursor() < before.len() {
        bench.press("<right>");
        steps += 1;
    }
    let graphemes = unicode_segmentation::UnicodeSegmentation::graphemes(before.as_str(), true).count();
    assert_eq!(steps, graphemes);
    bench.press("<backspace><backspace><ctrl-u>");
    assert_eq!(editor(&bench).text(), before);
}

#[test]
fn a_megabyte_is_pasted_in_one_step_and_each_key_after_it_is_answered() {
    let (_dir, mut bench) = with(&["it has gills"]);
    bench.press("e");
    let pasted = format!(" \u{1b}]0;x\u{7}{}", "日本 word ".repeat(90_000));
    bench.send(Message::Paste(pasted.clone()));
    let whole = editor(&bench).text().len();
    assert!(whole > 1_000_000 && !editor(&bench).text().contains('\u{1b}'));
    assert!(!bench.screen().contains('\u{1b}'));
    bench.press("abc<ctrl-home>abc<pgdn>abc<ctrl-end><up>x<ctrl-d>yz");
    assert_eq!(editor(&bench).text().len(), whole + 12);
    bench.says("what differs");
    // The paste itself is one step.
    bench.press(&"<ctrl-u>".repeat(6));
    assert_eq!(editor(&bench).text(), "it has gills");
}

#[test]
fn control_characters_of_the_data_are_seen_and_stay_what_they_are() {
    let (dir, mut bench) = with(&["a\u{1b}[2Jb \u{202e}c"]);
    bench.press("e");
    bench.says("a␛[2Jb ‹U+202E›c");
    bench.press("d<ctrl-s>");
    assert_eq!(rationales(dir.path()), ["a\u{1b}[2Jb \u{202e}cd"]);
}

#[test]
fn key_words_follow_the_text_and_are_marked_in_it() {
    let (_dir, mut bench) = with(&["it has gills and fins"]);
    bench.press("ll<space>");
    assert_eq!(marked(&bench), ["gills"]);
    bench.press("e<ctrl-k><ctrl-home>well , <ctrl-s>");
    assert_eq!(teacher(&bench), "well , it has gills and fins");
    assert_eq!(marked(&bench), ["gills", "fins"]);
    // Text and marks are one edit.
    bench.says("edited 2×");
    bench.press("u");
    assert_eq!((teacher(&bench), marked(&bench)), ("it has gills and fins".into(), vec!["gills".into()]));
    bench.press("U");
    assert_eq!(marked(&bench), ["gills", "fins"]);
    // A mark alone is an edit, too.
    bench.press("e<ctrl-k><ctrl-s>");
    assert_eq!(marked(&bench), ["gills"]);
}

#[test]
fn what_comes_back_from_outside_keeps_the_key_words_that_are_left() {
    let (_dir, mut bench) = with(&["it has gills and fins"]);
    bench.press("ll<space>ll<space>E");
    assert_eq!(marked(&bench), ["gills", "fins"]);
    let Some(afterthought::workbench::message::Effect::OpenEditor { what, .. }) = bench.outside.pop() else {
        panic!("no editor")
    };
    bench.send(Message::EditorClosed { what, text: Some("surely it has big gills\n".into()) });
    assert_eq!((teacher(&bench), marked(&bench)), ("surely it has big gills".into(), vec!["gills".into()]));
}

#[test]
fn an_unsaved_text_goes_on_where_it_was() {
    let (_dir, mut bench) = with(&["it has gills and fins"]);
    bench.press("ll<space>e and more<ctrl-home>oh ");
    let unsaved = editor(&bench).unsaved();
    let kept: Unsaved = serde_json::from_str(&serde_json::to_string(&unsaved).unwrap()).unwrap();
    assert_eq!(kept, unsaved);
    let editor = Editor::restore(kept);
    assert_eq!((editor.text(), editor.cursor()), ("oh it has gills and fins and more", 3));
    assert!(editor.is_changed());
    assert_eq!(editor.unsaved(), unsaved);
    // Places that a text does not have are no reason to fail.
    let wrong = Unsaved {
        cursor: 1 << 40,
        marks: vec![3..1 << 40, Range { start: 9, end: 4 }],
        text: "日本".into(),
        ..unsaved
    };
    assert_eq!(Editor::restore(wrong).cursor(), 6);
}

#[test]
fn what_was_changed_is_shown_word_by_word() {
    let (_dir, mut bench) = with(&["it has gills and fins", "it flies"]);
    bench.press("d");
    bench.says("no word differs");
    bench.press("de<ctrl-w>scales<ctrl-d>");
    bench.says("what differs");
    bench.says("−fins +scales");
    bench.press(" too");
    bench.says("+scales too");
    bench.press("<ctrl-s>d");
    bench.says("−fins +scales too");
    bench.press("1j");
    bench.says("no word differs");
    bench.press("kx");
    bench.says_not("+scales");
    bench.press("x2u");
    bench.says("no word differs");
}

#[test]
fn the_tokens_at_the_cursor_are_told() {
    let (_dir, mut bench) = with(&["it has gills and fins"]);
    bench.press("ll");
    bench.says("1 token  ␣gills");
    bench.says("at 7–11");
    bench.press("e");
    bench.says("␣fins");
    bench.says("at 17–20");
    bench.press("<ctrl-left><left><left>");
    bench.says("at 13–15");
    bench.press("<ctrl-end> zyx ");
    bench.says("no word at the cursor");
}

#[test]
fn words_are_replaced_over_the_marked_questions_and_taken_back_at_once() {
    let texts = ["it has gills and gills", "big gills", "no shell", "gills again"];
    let (dir, mut bench) = with(&texts);
    bench.press("1mmrgills");
    bench.says("3 places in 2 questions");
    bench.says("−gills");
    bench.press("<tab>fins");
    bench.says("+fins");
    bench.press("<enter>");
    bench.says("3 places in 2 questions, in edits.jsonl");
    assert_eq!(rationales(dir.path()), ["it has fins and fins", "big fins", "no shell", "gills again"]);
    let log = std::fs::read_to_string(dir.path().join("datasets/own/edits.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 2);
    bench.press("<home>");
    assert_eq!(teacher(&bench), "it has fins and fins");
    bench.press("2u");
    bench.says("2 questions that were changed together");
    assert_eq!(rationales(dir.path()), texts);
    assert_eq!(teacher(&bench), texts[0], "what is shown is read anew");
    bench.press("U");
    assert_eq!(teacher(&bench), "it has fins and fins");
}

#[test]
fn a_regex_is_replaced_in_questions_that_match_and_some_are_left_out() {
    let (dir, mut bench) = with(&["it has 3 gills", "it has 44 gills", "a shell"]);
    bench.press("1/gills<enter>r");
    bench.says("those that match the filter");
    bench.press("/(/");
    bench.says("unclosed group");
    bench.press("<backspace>\\d+) (\\w+)/");
    bench.says("2 places in 2 questions");
    bench.press("<tab>$2 $1<tab><tab><tab>");
    bench.says("+gills 44");
    bench.press("<space>");
    bench.says("1 left out");
    bench.press("<enter>");
    assert_eq!(rationales(dir.path()), ["it has 3 gills", "it has gills 44", "a shell"]);

    // The question's own text, over all.
    bench.press("<esc>r<tab><tab><space><backtab><backtab>what<tab>who<enter>");
    bench.says("3 places in 3 questions");
    let examples = open(dir.path()).split("train").unwrap().examples("default").unwrap();
    assert!(examples.iter().all(|example| example.question == "who is it ?"));
    bench.press("rnowhere-at-all");
    bench.says("found nowhere in 3 rows");
    bench.press("<enter>");
    bench.says("there is nothing to replace");
    bench.press("<esc>");
    bench.says_not("search and replace");
}

#[test]
fn ten_thousand_questions_are_replaced_as_one() {
    let texts: Vec<String> = (0..10_000).map(|row| format!("row {row} has gills")).collect();
    let (dir, mut bench) = with(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    bench.press("1rgills<tab>fins");
    bench.says("10,000 places in 10,000 questions");
    bench.press("<enter>");
    bench.says("10000 places in 10000 questions");
    assert!(rationales(dir.path()).iter().all(|text| text.ends_with("has fins")));
    bench.press("2u");
    assert_eq!(rationales(dir.path()), texts);
}
