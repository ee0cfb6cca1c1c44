//! The data pane, the linked panes, help, palette and leaving.

use afterthought::workbench::message::Effect;
use afterthought::workbench::pane::Pane;

use super::bench::Bench;

fn fresh() -> (tempfile::TempDir, Bench) {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), 120, 34);
    (dir, bench)
}

#[test]
fn a_fresh_folder_shows_the_toy_world_and_nothing_is_written() {
    let (dir, mut bench) = fresh();
    bench.says("train · 1 of 960");
    bench.says("tr-0001");
    bench.says("a generated world of made-up nouns");
    bench.press("jjG5523/fish<esc>4d<esc>");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn selecting_a_question_moves_all_panes() {
    let (_dir, mut bench) = fresh();
    let question = |bench: &Bench| bench.state.data.selected.as_ref().unwrap().example.clone();
    let shown = |bench: &Bench| bench.state.recipe.shown.as_ref().unwrap().rendered.text();
    let first = question(&bench);
    assert!(shown(&bench).contains(&first.question));
    bench.press("jjj");
    let fourth = question(&bench);
    assert_eq!(fourth.id, "tr-0004");
    assert!(shown(&bench).contains(&fourth.question) && !shown(&bench).contains(&first.question));
    bench.says(&fourth.rationale.unwrap()[..30]);
    bench.press("G");
    assert_eq!(question(&bench).id, "tr-0960");
    bench.press("gg");
    assert_eq!(question(&bench).id, "tr-0001");
    bench.press("<pgdn>");
    bench.says("▸ tr-0008");
}

#[test]
fn the_table_is_searched_while_one_types() {
    let (_dir, mut bench) = fresh();
    bench.press("/kind:sea");
    bench.says("train · 80 of 960");
    let kinds = |bench: &Bench| bench.state.data.selected.as_ref().unwrap().example.extra["kind"].clone();
    assert_eq!(kinds(&bench), "sea");
    bench.press(" answer:B");
    assert!(bench.state.data.lines() < 80);
    let selected = bench.state.data.selected.clone().unwrap();
    assert_eq!(selected.example.answer.as_deref(), Some("B"));
    // Enter keeps the filter, Esc drops it and stays with the question.
    bench.press("<enter>jj");
    let selected = bench.state.data.selected.clone().unwrap();
    bench.press("<esc>");
    bench.says(" of 960 ");
    assert_eq!(bench.state.data.selected.as_ref().unwrap().example.id, selected.example.id);
    bench.says(&format!("▸ {}", selected.example.id));
    bench.press("/no such thing");
    bench.says("nothing matches");
    bench.press("<esc>/has:rationale<enter>");
    bench.says("960 of 960");
}

#[test]
fn splits_and_data_sets_are_chosen_by_keys() {
    let (_dir, mut bench) = fresh();
    bench.press("s");
    bench.says("validation · 1 of 360");
    bench.press("s");
    bench.says("test · 1 of 600");
    bench.press("djj");
    bench.says("toyworld-noisy");
    bench.press("<enter>");
    bench.says("toyworld-noisy/test");
}

#[test]
fn a_row_that_cannot_be_read_is_shown_and_the_others_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("datasets/mine");
    std::fs::create_dir_all(&folder).unwrap();
    let row = |id: usize| {
        format!(
            r#"{{"id":"q{id}","question":"why \u001b[31m {id}?","choices":[{{"label":"A","text":"x"}},{{"label":"B","text":"y"}}],"answer":"A","rationale":"so\u202e it is"}}"#
        )
    };
    std::fs::write(folder.join("train.jsonl"), format!("{}\n{{\"id\": 7\n{}\n", row(1), row(3))).unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("djj<enter>");
    bench.says("train · 1 of 3");
    bench.says("train.jsonl:2");
    // Control and bidirectional characters are seen, never sent.
    bench.says("why ␛[31m 1?");
    bench.says("so‹U+202E› it is");
    bench.press("jj");
    bench.says("why ␛[31m 3?");
    assert!(!bench.screen().contains('\u{1b}') && !bench.screen().contains('\u{202e}'));
}

#[test]
fn help_lists_the_keys_of_here_and_now() {
    let (_dir, mut bench) = fresh();
    bench.press("?");
    bench.says("keys in Data");
    bench.says("text, answer:B");
    bench.says_not("draw again with the next seed");
    bench.press("<esc>2?");
    bench.says("keys in Rationale");
    bench.says("draw again with the next seed");
    bench.says_not("text, id, answer:B");
}

#[test]
fn the_palette_finds_and_does_any_command() {
    let (_dir, mut bench) = fresh();
    bench.press(":resh");
    bench.says("draw again with the next seed");
    bench.press("<enter>");
    assert_eq!(bench.state.draft.seed.ablation, 1);
    assert_eq!(bench.state.focus, Pane::Rationale, "a command of another pane goes there");
    bench.press(":theme<enter>jjj<enter>");
    assert_ne!(bench.state.theme_name, "dark");
    bench.press(":zzzz");
    bench.says("no command is like that");
    bench.press("<enter>");
    assert!(bench.state.overlay.is_none());
}

#[test]
fn panes_are_focused_by_number_and_tab_and_zoomed() {
    let (_dir, mut bench) = fresh();
    bench.press("<tab><tab>");
    assert_eq!(bench.state.focus, Pane::Training);
    bench.press("<backtab>");
    assert_eq!(bench.state.focus, Pane::Rationale);
    bench.press("4z");
    bench.says_not("1 Data");
    bench.press("z");
    bench.says("1 Data");
    bench.press("5");
    assert_eq!(bench.state.focus, Pane::Board);
    bench.press("5");
    assert_eq!(bench.state.focus, Pane::Attribution, "the board's key goes back, too");
}

#[test]
fn leaving_is_asked_about() {
    let (_dir, mut bench) = fresh();
    bench.press("q");
    bench.says("leave afterthought?");
    bench.press("<esc>");
    assert!(bench.outside.is_empty());
    bench.press("q<enter>");
    assert_eq!(bench.outside, [Effect::Quit]);
}

#[test]
fn a_terminal_that_is_too_small_says_so_and_comes_back() {
    let (_dir, mut bench) = fresh();
    bench.send(afterthought::workbench::message::Message::Resize(40, 10));
    bench.says("afterthought needs 60 x 16");
    bench.send(afterthought::workbench::message::Message::Resize(80, 24));
    bench.says("[1 Data]");
    bench.says("tr-0001");
}

#[test]
fn a_check_finds_what_is_wrong_with_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("datasets/mine");
    std::fs::create_dir_all(&folder).unwrap();
    let row = r#"{"id":"q1","question":"why?","choices":[{"label":"A","text":"x"},{"label":"B","text":"y"}],"answer":"C","rationale":"so"}"#;
    std::fs::write(folder.join("train.jsonl"), format!("{row}\n{row}\n")).unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("djj<enter>v");
    bench.says("check of mine");
    bench.says("answers that are none of the choices");
    bench.says("train.jsonl:2");
    bench.press("<esc>");
    bench.says("train · 1 of 2");
}
