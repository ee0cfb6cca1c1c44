//! Keys: chords, counts, doing it again, macros, keymaps of one's own, the mouse, and what is copied.

use afterthought::workbench::message::{Effect, Message, Mouse, MouseDoes};

use crate::bench::Bench;

fn mouse(what: MouseDoes, column: u16, row: u16) -> Message {
    Message::Mouse(Mouse { what, column, row })
}

fn copied(bench: &mut Bench) -> String {
    match bench.outside.pop() {
        Some(Effect::Copy(text)) => text,
        other => panic!("nothing was copied but {other:?}"),
    }
}

#[test]
fn a_chord_shows_what_may_follow_and_escape_forgets_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("jjjg");
    bench.says("to the first row");
    bench.says("to the board");
    bench.press("<esc>");
    bench.says_not("to the first row");
    bench.says("▸ tr-0004");
    bench.press("gg").says("▸ tr-0001");
    bench.press("gb").says("5 Board");
    bench.press("g~").says("these keys do nothing one after the other");
}

#[test]
fn a_count_is_how_far_or_which_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("<alt-1><alt-2>").says(" 12");
    bench.press("j").says("▸ tr-0013");
    bench.press("<alt-3>k").says("▸ tr-0010");
    bench.press("<alt-4><alt-0>G").says("▸ tr-0040");
    bench.press("<alt-5><esc>j").says("▸ tr-0041");
}

#[test]
fn the_last_change_is_done_once_more_and_keys_are_kept_and_pressed_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press(".").says("nothing was changed yet");
    bench.press("2a<enter>").says("shuffled tokens");
    bench.press("R").says("seed 1");
    bench.press(".").says("seed 2");
    bench.press("1Qjj").says("recording a macro");
    bench.press("Q").says("2 keys are kept");
    bench.press("@").says("▸ tr-0005");
    bench.press("<alt-3>@").says("▸ tr-0011");
}

#[test]
fn a_keymap_of_ones_own_changes_keys_help_and_palette() {
    let dir = tempfile::tempdir().unwrap();
    let own =
        "data:\n  - {on: f, run: filter, desc: narrow it down, hint: narrow}\n  - {on: [\"/\", esc], run: none}\n";
    let mut bench = Bench::open(dir.path(), 120, 34);
    assert_eq!(bench.state.keymap.change(own, "keymap.yaml"), [""; 0]);
    bench.says("f narrow");
    bench.press("?").says("narrow it down");
    bench.press("<esc>:filter").says("narrow it down");
    bench.press("<esc>fwug").says(" / wug");
}

#[test]
fn what_is_shown_can_be_copied_as_text_and_as_the_command_that_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("yi").says("copied the id: tr-0001");
    assert_eq!(copied(&mut bench), "tr-0001");
    bench.press("yc");
    assert_eq!(copied(&mut bench), "afterthought data show toyworld --split train --id tr-0001");
    bench.press("yy");
    assert!(copied(&mut bench).contains("* "), "the right choice is marked");
    bench.press("2a<enter>yc");
    let command = copied(&mut bench);
    assert!(
        command.starts_with("afterthought render toyworld --split train --id tr-0001 --student toy --set "),
        "{command}"
    );
    assert!(command.contains("shuffle"), "{command}");
    bench.press("yy");
    assert!(copied(&mut bench).contains("answer"));
}

#[test]
fn the_mouse_focuses_selects_scrolls_chooses_and_drags() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    // The third row of the table: below the header, the border and the table's head.
    bench.send(mouse(MouseDoes::Press, 10, 6));
    bench.says("▸ tr-0003");
    bench.send(mouse(MouseDoes::WheelDown, 10, 6));
    bench.says("▸ tr-0006");
    bench.send(mouse(MouseDoes::Press, 90, 5));
    bench.press("a");
    bench.says("add an ablation");
    let screen = bench.screen();
    let line = screen.lines().position(|line| line.contains("shuffled words")).unwrap();
    bench.send(mouse(MouseDoes::Press, 60, line as u16));
    bench.says("1. shuffled words");
    let border = |bench: &Bench| bench.screen().lines().nth(1).unwrap().chars().position(|c| c == '╮').unwrap();
    let before = border(&bench);
    bench.send(mouse(MouseDoes::Press, before as u16, 9));
    bench.send(mouse(MouseDoes::Drag, 70, 9));
    bench.send(mouse(MouseDoes::Release, 70, 9));
    assert_eq!(border(&bench), 70);
    bench.send(mouse(MouseDoes::Drag, 30, 9));
    assert_eq!(border(&bench), 70, "what was let go is not dragged");
    bench.press("<ctrl-w>=");
    assert_eq!(border(&bench), before);
}

#[test]
fn a_theme_is_seen_before_it_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    let dark = bench.styled();
    bench.press(":theme<enter>").says("colour-blind");
    bench.press("Gk");
    let (seen, chosen) = (bench.state.theme.text.style(), bench.state.theme_name.clone());
    bench.press("<esc>");
    assert_eq!(bench.styled(), dark, "what was only looked at is as it was");
    bench.press(":theme<enter>Gk<enter>");
    assert_eq!(bench.state.theme.text.style(), seen);
    assert_ne!(bench.state.theme_name, chosen);
}
