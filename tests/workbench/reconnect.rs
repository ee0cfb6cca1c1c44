//! A workbench that goes on where the last one was.

use afterthought::workbench::effects::session;
use afterthought::workbench::message::Message;
use afterthought::workbench::session::Session;

use crate::bench::Bench;
use crate::watching::train;

/// Keeps what a workbench shows, as it does itself a second after a change.
fn keep(project: &std::path::Path, bench: &Bench) {
    session::save(project, &Session::of(&bench.state)).unwrap();
}

#[test]
fn panes_question_cursor_scroll_zoom_and_recipe_are_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("<alt-9><alt-0>jkkkk2a<enter>ll<ctrl-w>l");
    bench.says("▸ tr-0087");
    bench.says("1. shuffled tokens");
    let before = bench.screen();
    keep(dir.path(), &bench);
    let mut again = Bench::open(dir.path(), 120, 34);
    assert_eq!(again.screen(), before);
    again.press("z1");
    let before = again.screen();
    keep(dir.path(), &again);
    assert_eq!(Bench::open(dir.path(), 120, 34).screen(), before);
}

#[test]
fn a_filter_is_set_again_and_the_cursor_stands_where_it_stood_in_what_it_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("/kind:sea<enter>jjj");
    let before = bench.screen();
    keep(dir.path(), &bench);
    assert_eq!(Bench::open(dir.path(), 120, 34).screen(), before);
}

#[test]
fn what_was_on_its_way_back_is_not_lost_by_leaving_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("jjjjjj");
    keep(dir.path(), &bench);
    let kept = Session::of(&bench.state);
    let mut at_once = Bench::open(dir.path(), 120, 34);
    // A workbench of which only the session has arrived.
    at_once.state.restoring = Some(Box::new(kept.clone()));
    at_once.state.data.selected = None;
    assert_eq!(Session::of(&at_once.state).data, kept.data);
}

#[test]
fn a_broken_session_is_said_and_the_workbench_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".afterthought")).unwrap();
    std::fs::write(dir.path().join(".afterthought/session.json"), "{\"focus\": ").unwrap();
    let bench = Bench::open(dir.path(), 120, 34);
    bench.says("▸ tr-0001");
    bench.says("session.json");
    bench.says("begins anew");
}

#[test]
fn a_size_that_changed_meanwhile_is_no_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 200, 60);
    bench.press("<alt-5><alt-0>G");
    keep(dir.path(), &bench);
    let mut small = Bench::open(dir.path(), 80, 24);
    small.says("▸ tr-0050");
    small.send(Message::Resize(300, 100));
    small.says("▸ tr-0050");
    small.says("5 Board");
}

#[test]
fn the_selected_run_its_curve_and_the_step_under_the_cursor_come_back() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["rationale.placement=none"]);
    train(dir.path(), &[]);
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("3jcLhh");
    let before = bench.screen();
    keep(dir.path(), &bench);
    assert_eq!(Bench::open(dir.path(), 120, 34).screen(), before);
}

#[test]
fn a_text_that_was_being_edited_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("jj2e words that nobody kept");
    bench.says("words that nobody kept");
    keep(dir.path(), &bench);
    let mut again = Bench::open(dir.path(), 120, 34);
    again.says("words that nobody kept");
    again.press("<ctrl-s>");
    again.says("1 edit");
    assert!(again.state.data.selected.as_ref().unwrap().example.rationale.as_ref().unwrap().contains("nobody kept"));
}
