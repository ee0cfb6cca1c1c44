//! Browsing questions: filters, orders, columns, marks, going to a row, and files that grow.

use std::io::Write;
use std::path::{Path, PathBuf};

use afterthought::corpus::filter::Field;
use afterthought::workbench::browse::{Ask, Place, Request};
use afterthought::workbench::message::Effect;

use super::bench::Bench;

fn fresh() -> (tempfile::TempDir, Bench) {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), 120, 34);
    (dir, bench)
}

fn row(number: usize, score: f64) -> String {
    let rationale = "so ".repeat(number);
    let row = serde_json::json!({
        "id": format!("q-{number:03}"), "question": format!("why {number}?"), "answer": "A", "rationale": rationale, "score": score,
        "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}],
    });
    format!("{row}\n")
}

/// A project with a data set `mine` of these rows, shown.
fn mine(rows: &str) -> (tempfile::TempDir, PathBuf, Bench) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("datasets/mine");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("train.jsonl");
    std::fs::write(&file, rows).unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("djj<enter>");
    bench.says("mine/train");
    (dir, file, bench)
}

/// What the workbench does every second.
fn look_at_the_file(bench: &mut Bench) {
    let place = Place { dataset: "mine".into(), split: "train".into(), source: "default".into() };
    bench.perform(Effect::Browse(Box::new(Request { generation: 0, place, ask: Ask::Watch })));
}

fn append(file: &Path, text: &str) {
    std::fs::OpenOptions::new().append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
}

fn selected(bench: &Bench) -> String {
    bench.state.data.selected.as_ref().unwrap().example.id.clone()
}

#[test]
fn an_unfinished_filter_keeps_the_last_meaning_and_says_what_is_missing() {
    let (_dir, mut bench) = fresh();
    bench.press("/kind:sea");
    bench.says("80 of 960");
    bench.press(" and");
    bench.says("80 of 960");
    bench.says("column 13: something to look for is missing here");
    bench.press(" question~fish");
    bench.says("column 23: a regex begins with /");
    bench.press("<ctrl-w>question~/^in which/");
    bench.says_not("column");
    let found = bench.state.data.lines();
    assert!(0 < found && found < 80);
    bench.press("<ctrl-u>(kind:sea or kind:bird) rationale.words>=25 not answer:A");
    let all = bench.state.data.lines();
    bench.press(" rationale.words>=35");
    assert!(bench.state.data.lines() < all);
    bench.press("<esc>");
    bench.says("of 960 ");
}

#[test]
fn questions_are_sorted_by_any_field_and_filtered_ones_too() {
    let (_dir, _file, mut bench) =
        mine(&[(3, 0.5), (10, -2.0), (1, 7.0), (7, 3.5)].map(|(n, score)| row(n, score)).concat());
    assert_eq!(selected(&bench), "q-003");
    // The menu begins with what is chosen; `rationale.words` is the ninth after it.
    let choose = |bench: &mut Bench, field: &str| {
        bench.press("Sg");
        let fields = afterthought::workbench::browse::sortable(&bench.state.data.columns.others);
        let place = fields.iter().position(|other| *other == Field::of(field)).unwrap();
        bench.press(&"j".repeat(place + 1)).press("<enter>");
    };
    choose(&mut bench, "rationale.words");
    bench.says("by rationale.words ↑");
    assert_eq!(selected(&bench), "q-001");
    bench.press("S<enter>");
    bench.says("by rationale.words ↓");
    assert_eq!(selected(&bench), "q-010");
    bench.press("/score>0");
    assert_eq!((selected(&bench).as_str(), bench.state.data.lines()), ("q-007", 3));
    bench.press("<esc>");
    choose(&mut bench, "score");
    assert_eq!(selected(&bench), "q-010");
    bench.press("G");
    assert_eq!(selected(&bench), "q-001");
    bench.press("Sg<enter>");
    bench.says_not("by score");
    assert_eq!(selected(&bench), "q-003");
}

#[test]
fn columns_are_shown_and_hidden() {
    let (_dir, _file, mut bench) = mine(&(1..40).map(|n| row(n, n as f64 / 4.0)).collect::<String>());
    bench.says_not("words");
    bench.press("Cg<enter>jjjj<enter>j<enter><esc>");
    let head =
        bench.screen().lines().find(|line| line.contains("question") && line.contains("pred")).unwrap().to_owned();
    let place = |name| head.find(name).unwrap_or_else(|| panic!("no {name}: {head}"));
    assert!(place("row") < place("id") && place("words") < place("score") && place("score") < place("answer"));
    // Scrolling moves no column.
    bench.press("G");
    bench.says("9.75");
    assert!(bench.screen().lines().any(|line| line.chars().take(55).eq(head.chars().take(55))));
}

#[test]
fn marked_questions_are_shown_and_saved() {
    let (dir, mut bench) = fresh();
    bench.press("mjm");
    bench.says("◆tr-0001");
    bench.says("◆tr-0003");
    bench.says("◆ 2");
    assert_eq!(selected(&bench), "tr-0004");
    bench.press("Mj<enter>");
    bench.says("2 of 960 match");
    bench.press("<esc>/kind:sea<enter>Mg<enter>");
    bench.says("80 match and are marked");
    bench.press("Mjj<enter><ctrl-u>mine.jsonl<enter>");
    bench.says("written:");
    let written = std::fs::read_to_string(dir.path().join("mine.jsonl")).unwrap();
    assert!((80..=82).contains(&written.lines().count()));
    assert!(written.contains(r#"{"dataset":"toyworld","split":"train","id":"tr-0001"}"#), "{written}");
    bench.press("<esc>MG<enter>");
    bench.says("marks were cleared");
    bench.press("/marked");
    bench.says("nothing matches · m marks");
    bench.press("<esc>mm");
    // Unmarked where it stands.
    bench.press("km");
    assert_eq!(marked(&bench), 1);
}

fn marked(bench: &Bench) -> usize {
    bench.state.data.marks.values().map(|ids| ids.len()).sum()
}

#[test]
fn one_goes_to_a_row_or_an_id() {
    let (_dir, mut bench) = fresh();
    bench.press("i#412<enter>");
    assert_eq!(selected(&bench), "tr-0412");
    bench.press("itr-0007<enter>");
    assert_eq!(selected(&bench), "tr-0007");
    bench.press("iTR-09<enter>");
    bench.says("no question has the id TR-09 · this is tr-0900");
    assert_eq!(selected(&bench), "tr-0900");
    bench.press("itr-1007<enter>");
    bench.says("train has no question tr-1007 · the nearest is tr-");
    bench.press("i#961<enter>");
    bench.says("rows are #1 to #960");
    // A filter that hides the row gives way.
    bench.press("/kind:sea<enter>");
    let seas = bench.state.data.lines();
    let hidden = (1..).find(|row| bench.state.data.line_of(row - 1).is_none()).unwrap();
    bench.press(&format!("i#{hidden}<enter>"));
    assert_eq!(bench.state.data.selected.as_ref().unwrap().row + 1, hidden);
    assert!(bench.state.data.lines() > seas);
}

#[test]
fn a_growing_file_is_followed() {
    let (_dir, file, mut bench) = mine(&(1..4).map(|n| row(n, 0.0)).collect::<String>());
    bench.press("/rationale.words>=3<enter>");
    bench.says("1 of 3 match");
    let fourth = row(4, 0.0);
    append(&file, &fourth[..30]);
    look_at_the_file(&mut bench);
    append(&file, &fourth[30..]);
    look_at_the_file(&mut bench);
    bench.says("2 of 4 match");
    bench.press("<esc>f");
    assert_eq!(selected(&bench), "q-004");
    append(&file, &(5..90).map(|n| row(n, 0.0)).collect::<String>());
    look_at_the_file(&mut bench);
    assert_eq!(selected(&bench), "q-089");
    bench.says("following");
    bench.press("k");
    append(&file, &row(90, 0.0));
    look_at_the_file(&mut bench);
    assert_eq!(selected(&bench), "q-088", "moved, so the end is not followed any more");
    bench.says("88 of 90");
    bench.press("S<enter>");
    std::fs::write(&file, row(200, 1.0)).unwrap();
    look_at_the_file(&mut bench);
    bench.says("replaced or shortened");
    bench.says("1 of 1");
    assert_eq!(selected(&bench), "q-200");
}

#[test]
fn a_histogram_of_the_rows_that_match_stands_below_the_table() {
    let (_dir, mut bench) = fresh();
    let choose = |bench: &mut Bench, field: &str| {
        bench.press("Hg");
        let place = bench.screen();
        let at = |screen: &str| screen.lines().any(|line| line.contains(&format!("▸ {field} ")));
        assert!(place.contains("histogram of"));
        while !at(&bench.screen()) {
            bench.press("j");
        }
        bench.press("<enter>");
    };
    choose(&mut bench, "kind");
    bench.says("kind · 960 questions");
    bench.says("80 (8 %)");
    choose(&mut bench, "rationale.words");
    bench.says("rationale.words · 960 questions");
    bench.says("quantiles 5 %");
    bench.press("/kind:sea<enter>");
    bench.says("rationale.words · 80 questions that match");
    bench.press("<esc>");
    bench.says_not("quantiles");
    bench.says("80 of 960 match");
}

#[test]
fn the_same_question_in_another_data_set_stands_beside_it() {
    let (_dir, mut bench) = fresh();
    bench.press("zc");
    bench.says("the same question in");
    while !bench.screen().contains("▸ toyworld-noisy") {
        bench.press("j");
    }
    bench.press("<enter>");
    bench.says("toyworld-noisy/train · tr-0001");
    let mut differ = false;
    for _ in 0..20 {
        let screen = bench.press("j").screen();
        differ |= screen.contains('−') && screen.contains(" +");
    }
    bench.says("tr-0021 (same id)");
    assert!(differ, "the noisy teacher says something else somewhere");
    bench.press("<esc>");
    bench.says_not("toyworld-noisy/train");
}

#[test]
fn duplicates_and_leaks_are_listed_and_gone_to() {
    let row = |id: &str, question: &str| {
        let choices = serde_json::json!([{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]);
        format!("{}\n", serde_json::json!({"id": id, "question": question, "choices": choices, "answer": "A"}))
    };
    let train = row("a", "Why is the sky blue?") + &row("b", "How?") + &row("c", "how");
    let (_dir, file, mut bench) = mine(&train);
    let test = row("d", "When?") + &row("e", "why is the SKY so blue");
    std::fs::write(file.with_file_name("test.jsonl"), test).unwrap();
    bench.press("dgj<enter>");
    while bench.state.draft.dataset != "mine" {
        bench.press("dj<enter>");
    }
    bench.press("D");
    bench.says("1 leaks, 1 within splits");
    bench.says("leak train/a = test/e");
    bench.press("j<enter>");
    bench.says("mine/test");
    assert_eq!(selected(&bench), "e");
    bench.press("D<enter>");
    bench.says("mine/train");
    assert_eq!(selected(&bench), "a");
    bench.press("Dj<enter>");
    assert_eq!(selected(&bench), "c");
}
