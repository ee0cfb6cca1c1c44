//! Floods of sizes, pastes, mouse reports and random bytes, and a line that takes nothing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use afterthought::journal::History;
use afterthought::runs::RunDirectory;
use portable_pty::CommandBuilder;

use super::Terminal;

/// Numbers that are the same in every run of a test (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }
}

fn program(project: &Path, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C").arg(project).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success(), "{arguments:?}");
}

/// A run that goes on in a process of its own, longer than any of these tests.
pub fn training(project: &Path) -> RunDirectory {
    let steps = "training.steps=100000";
    let few = "training.batch_size=4";
    program(project, &["train", "--detach", "--set", steps, "--set", few, "--set", "evaluation.every=end"]);
    RunDirectory::find(project, "last").unwrap()
}

/// The newest step in a run's journal.
pub fn newest_step(run: &RunDirectory) -> usize {
    let history: History = run.read().unwrap().history;
    history.step()
}

pub fn stop(project: &Path) {
    program(project, &["runs", "stop", "last"]);
}

/// The screen once nothing more is sent to it.
fn at_rest(terminal: &Terminal) -> String {
    loop {
        let before = terminal.sent();
        std::thread::sleep(Duration::from_millis(2500));
        if terminal.sent() == before {
            return terminal.contents();
        }
    }
}

/// The screen without its first line, in which the traffic stands.
fn panes_of(screen: &str) -> String {
    screen.lines().skip(1).map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// What is shown is what a screen that is drawn anew shows.
#[track_caller]
pub fn shows_the_truth(terminal: &mut Terminal) {
    let before = at_rest(terminal);
    terminal.press("\x0c");
    let after = at_rest(terminal);
    assert_eq!(panes_of(&before), panes_of(&after));
}

#[track_caller]
pub fn leave(mut terminal: Terminal) {
    terminal.press("q\r");
    assert_eq!(terminal.end(), 0);
    terminal.is_given_back();
}

#[test]
#[ignore = "takes minutes and is not settled: cargo test --test terminal -- --ignored"]
fn two_hundred_sizes_while_it_trains_end_on_the_right_screen() {
    let dir = tempfile::tempdir().unwrap();
    let run = training(dir.path());
    let mut terminal = Terminal::start(dir.path(), 120, 34, &[]);
    terminal.wait_for("tok/s");
    let mut numbers = Numbers(7);
    for _ in 0..200 {
        terminal.resize(1 + numbers.next(260) as u16, 1 + numbers.next(80) as u16);
        std::thread::sleep(Duration::from_millis(numbers.next(12) as u64));
    }
    terminal.resize(120, 34);
    terminal.wait_for("student sees");
    let then = newest_step(&run);
    terminal.wait("steps after the storm", |_| newest_step(&run) > then);
    stop(dir.path());
    terminal.wait_for("stopped");
    shows_the_truth(&mut terminal);
    leave(terminal);
}

#[test]
#[ignore = "takes minutes and is not settled: cargo test --test terminal -- --ignored"]
fn the_smallest_and_the_largest_terminals() {
    let dir = tempfile::tempdir().unwrap();
    for (columns, rows) in [(1, 1), (2, 2), (7, 1), (1, 50), (500, 200)] {
        let mut terminal = Terminal::start(dir.path(), columns, rows, &[]);
        if columns < 60 {
            terminal
                .wait("a screen of its own", |terminal| terminal.screen.lock().unwrap().screen().alternate_screen());
            // Keys have their meaning even where nothing can be seen.
            terminal.press("j2t13zz4");
        } else {
            terminal.wait_for("tr-0150");
            terminal.wait_for("5 Board");
        }
        terminal.resize(80, 24);
        terminal.press("1");
        terminal.wait_for("[1 Data]");
        leave(terminal);
    }
}

#[test]
#[ignore = "takes minutes and is not settled: cargo test --test terminal -- --ignored"]
fn a_megabyte_pasted_goes_where_text_goes_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(dir.path(), 120, 34, &[]);
    terminal.wait_for("student sees");
    let line = "q\rpasted words \u{7f} 日本 ".repeat(16).replace('\r', "");
    let bomb = format!("\x1b[200~{}\x1b[201~", format!("{line}\r").repeat((1 << 20) / line.len()));
    assert!(bomb.len() > 1_000_000);
    terminal.press(&bomb);
    terminal.press("j");
    terminal.wait_for("▸ tr-0002");
    assert!(!terminal.contents().contains("pasted words") && !terminal.contents().contains("leave?"));
    // The filter takes its first line, the editor all of it.
    terminal.press("/");
    terminal.press(&bomb);
    terminal.wait_for("pasted words");
    terminal.press("\x1b");
    terminal.wait_for("1 of 960");
    terminal.press("e");
    terminal.wait_for("Ctrl-S keep");
    terminal.press(&bomb);
    terminal.wait_for("pasted words");
    terminal.press("\x1b");
    terminal.wait_for("Enter yes");
    terminal.press("\r");
    terminal.wait("no editor", |terminal| !terminal.contents().contains("Ctrl-S keep"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was written");
    leave(terminal);
}

#[test]
#[ignore = "takes minutes and is not settled: cargo test --test terminal -- --ignored"]
fn letters_that_pour_in_start_nothing_that_was_not_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C");
    command.arg(dir.path());
    command.env("VISUAL", "true");
    let mut terminal = Terminal::spawn(command, 120, 34);
    terminal.wait_for("student sees");
    let mut numbers = Numbers(11);
    // All but those that say yes: `y` to any question, `q` twice to that of leaving. No editor, in which the rest
    // would be a text.
    let letters: Vec<char> =
        ('a'..='z').chain('A'..='Z').filter(|c| !matches!(c, 'y' | 'Y' | 'q' | 'e' | 'E')).collect();
    let flood: String = (0..100_000).map(|_| letters[numbers.next(letters.len())]).collect();
    terminal.press(&flood);
    terminal.press("\x1b\x1b\x1b");
    std::thread::sleep(Duration::from_millis(300));
    terminal.press("\x1b");
    assert!(!dir.path().join("runs").exists(), "a run was started");
    // Whatever is open now is left, in the end.
    terminal.press("\x03\r");
    terminal.wait("the end, or a question", |terminal| {
        !terminal.screen.lock().unwrap().screen().alternate_screen() || terminal.contents().contains("Esc")
    });
    end_somehow(terminal);
}

/// Ends a program of which it is not known what it shows; it may not have broken down.
#[track_caller]
fn end_somehow(mut terminal: Terminal) {
    for _ in 0..20 {
        if terminal.child.try_wait().unwrap().is_some() {
            break;
        }
        // Where it ends meanwhile nobody takes the keys.
        let _ = terminal.input.write_all(b"\x1b");
        std::thread::sleep(Duration::from_millis(150));
        let _ = terminal.input.write_all(b"q\r");
        std::thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(terminal.end(), 0);
    terminal.is_given_back();
}

#[test]
#[ignore = "takes minutes and is not settled: cargo test --test terminal -- --ignored"]
fn mouse_noise_moves_no_more_than_a_mouse() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(dir.path(), 120, 34, &[]);
    terminal.wait_for("student sees");
    let mut numbers = Numbers(3);
    let mut noise = String::new();
    for place in 0..10_000 {
        let (button, column, row) = (numbers.next(80), numbers.next(140), numbers.next(50));
        let end = if numbers.next(2) == 0 { 'M' } else { 'm' };
        match place % 50 {
            // What a broken line or a strange terminal makes of them.
            0 => noise.push_str("\x1b[<M"),
            1 => write!(noise, "\x1b[<{button};;{end}").unwrap(),
            2 => write!(noise, "\x1b[<999999;{column};{row}{end}").unwrap(),
            3 => write!(noise, "\x1b[<{button};0;0{end}").unwrap(),
            4 => write!(noise, "\x1b[<{button};70000;{row}{end}").unwrap(),
            _ => write!(noise, "\x1b[<{button};{column};{row}{end}").unwrap(),
        }
    }
    terminal.press(&noise);
    assert!(!dir.path().join("runs").exists());
    terminal.press("\x1b");
    std::thread::sleep(Duration::from_millis(300));
    terminal.press("1gg");
    terminal.wait_for("▸ tr-0001");
    leave(terminal);
}

#[test]
#[ignore = "takes minutes and is not settled: cargo test --test terminal -- --ignored"]
fn random_bytes_break_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..3 {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_afterthought"));
        command.arg("-C");
        command.arg(dir.path());
        command.env("VISUAL", "true");
        let mut terminal = Terminal::spawn(command, 100, 30);
        terminal.wait_for("student sees");
        let mut numbers = Numbers(seed);
        let mut noise = Vec::new();
        while noise.len() < 40_000 {
            match numbers.next(4) {
                0 => noise.extend_from_slice(b"\x1b["),
                1 => noise.push(numbers.next(32) as u8),
                2 => noise.push(0x20 + numbers.next(95) as u8),
                _ => noise.push(numbers.next(256) as u8),
            }
        }
        // No yes to a question, which would start what outlives the test, and no stop.
        noise.retain(|byte| !matches!(byte, b'\r' | b'\n' | b'y' | b'Y' | b'q' | 0x1a));
        terminal.input.write_all(&noise).unwrap();
        end_somehow(terminal);
        assert!(!dir.path().join("runs").exists());
    }
}

#[test]
fn late_answers_of_the_terminal_are_no_keys() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(dir.path(), 120, 34, &[]);
    terminal.wait_for("student sees");
    let before = at_rest(&terminal);
    let sent = terminal.sent();
    // In pieces, as a slow line brings it, and long after it was asked for.
    for piece in ["\x1b]11;rgb:ff", "ff/ffff/f", "fff\x1b\\"] {
        terminal.press(piece);
        std::thread::sleep(Duration::from_millis(200));
    }
    terminal.wait("the colours of a light theme", |terminal| terminal.sent() > sent + 500);
    terminal.press("\x1b]11;rgb:0000/0000/0000\x07\x1b]11;rgb:0000/0000/0000\x1b\\");
    assert_eq!(panes_of(&at_rest(&terminal)), panes_of(&before));
    leave(terminal);
}

#[test]
fn a_line_that_takes_nothing_stops_nobody_and_then_shows_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let run = training(dir.path());
    let mut terminal = Terminal::start(dir.path(), 120, 34, &[]);
    terminal.wait_for("tok/s");
    terminal.is_stalled.store(true, Ordering::SeqCst);
    let then = newest_step(&run);
    std::thread::sleep(Duration::from_secs(2));
    // Keys are taken all the same.
    terminal.press("3z");
    terminal.wait("steps meanwhile", |_| newest_step(&run) > then + 10);
    let (now, sent) = (newest_step(&run), terminal.sent());
    terminal.is_stalled.store(false, Ordering::SeqCst);
    // What is shown first is new: no queue of old frames is worked off.
    let shown = |terminal: &Terminal| {
        let screen = terminal.contents();
        let steps = screen.split_whitespace().filter_map(|word| word.strip_suffix("/100000"));
        steps.filter_map(|step| step.parse::<usize>().ok()).max().unwrap_or(0)
    };
    terminal.wait("the newest step", |terminal| shown(terminal) >= now);
    let queued = terminal.sent() - sent;
    assert!(queued < 60_000, "{queued} bytes had piled up");
    stop(dir.path());
    terminal.wait_for("stopped");
    shows_the_truth(&mut terminal);
    leave(terminal);
}
