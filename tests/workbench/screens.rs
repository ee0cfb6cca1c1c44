//! What the screen looks like, styles included, at three sizes.

use std::path::Path;

use super::bench::Bench;

/// A project with the recorded run, so that there are curves that never change.
pub fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("runs/recorded-post");
    let to = dir.path().join("runs/recorded-post");
    std::fs::create_dir_all(&to).unwrap();
    for name in ["run.yaml", "journal.jsonl", "predictions.jsonl"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    dir
}

#[test]
fn the_four_panes_at_120_by_34() {
    let dir = project();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("2a<enter>");
    insta::assert_snapshot!(bench.styled());
}

#[test]
fn each_pane_alone_at_80_by_24() {
    let dir = project();
    let mut bench = Bench::open(dir.path(), 80, 24);
    for (keys, name) in [("1", "data"), ("2", "rationale"), ("3", "training"), ("4", "attribution"), ("5", "board")] {
        bench.press(keys);
        insta::assert_snapshot!(name, bench.styled());
    }
}

#[test]
fn the_four_panes_at_200_by_60() {
    let dir = project();
    let mut bench = Bench::open(dir.path(), 200, 60);
    bench.press("s");
    insta::assert_snapshot!(bench.styled());
}

#[test]
fn what_lies_over_the_panes_at_80_by_24() {
    let dir = project();
    let mut bench = Bench::open(dir.path(), 80, 24);
    for (keys, name) in
        [("?", "help"), ("<esc>:shuf", "palette"), ("<esc>2a", "menu"), ("<esc>q", "question"), ("<esc>e", "editor")]
    {
        bench.press(keys);
        insta::assert_snapshot!(name, bench.styled());
    }
}

#[test]
fn a_step_under_the_cursor_at_80_by_24() {
    let dir = project();
    let mut bench = Bench::open(dir.path(), 80, 24);
    bench.press("3hhhhhhhhhhhh");
    insta::assert_snapshot!(bench.styled());
}
