//! Stopped and taken up again, by the keyboard and from outside.

use std::process::Command;
use std::time::Duration;

use portable_pty::CommandBuilder;

use super::Terminal;
use super::storms::leave;

/// A shell with jobs, in which the program is started by its user.
fn shell(project: &std::path::Path) -> Terminal {
    let mut command = CommandBuilder::new("bash");
    command.args(["--norc", "--noprofile", "-i"]);
    command.env("PS1", "shell> ");
    command.env("HISTFILE", "/dev/null");
    command.cwd(project);
    let mut terminal = Terminal::spawn(command, 80, 24);
    terminal.wait_for("shell>");
    terminal.press(&format!("{}\r", env!("CARGO_BIN_EXE_afterthought")));
    terminal.wait_for("[1 Data]");
    terminal.wait_for("tr-0001");
    terminal
}

/// Sends a signal to the program that the shell runs.
fn signal(terminal: &Terminal, name: &str) {
    let shell = terminal.child.process_id().unwrap().to_string();
    let children = Command::new("ps").args(["-o", "pid=", "--ppid", &shell]).output().unwrap();
    let child = String::from_utf8(children.stdout).unwrap().trim().to_owned();
    assert!(Command::new("kill").args([name, &child]).status().unwrap().success());
}

fn is_on_its_screen(terminal: &Terminal) -> bool {
    terminal.screen.lock().unwrap().screen().alternate_screen()
}

#[test]
fn ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = shell(dir.path());
    for round in 0..3 {
        // By the key, and by the signal that `kill` sends.
        if round < 2 {
            terminal.press("\x1a")
        } else {
            signal(&terminal, "-TSTP")
        }
        terminal.wait("the shell", |terminal| !is_on_its_screen(terminal) && terminal.contents().contains("Stopped"));
        assert!(!terminal.screen.lock().unwrap().screen().hide_cursor(), "the cursor is hidden");
        // The shell's line is a line again: what is typed is shown.
        terminal.press("clear; echo $((40 + 2))\r");
        terminal.wait_for("42");
        terminal.press("fg\r");
        terminal.wait("the workbench", is_on_its_screen);
        terminal.press("j");
        terminal.wait_for(&format!("▸ tr-000{}", round + 2));
    }
    terminal.press("q\r");
    terminal.wait("the shell", |terminal| !is_on_its_screen(terminal));
    terminal.press("exit\r");
    terminal.end();
    terminal.is_given_back();
}

#[test]
fn a_program_that_was_stopped_without_being_asked_has_the_terminal_again_after_fg() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = shell(dir.path());
    // Nobody can give anything back on this signal.
    signal(&terminal, "-STOP");
    terminal.wait_for("Stopped");
    std::thread::sleep(Duration::from_millis(300));
    terminal.press("fg\r");
    terminal.wait("the workbench", |terminal| terminal.contents().contains("[1 Data]"));
    // Its keys are keys again and no line that waits for Enter.
    terminal.press("j");
    terminal.wait_for("▸ tr-0002");
    terminal.press("q\r");
    terminal.wait("the shell", |terminal| !is_on_its_screen(terminal));
    terminal.press("exit\r");
    terminal.end();
    terminal.is_given_back();
}

#[test]
fn sigcont_alone_draws_the_screen_anew() {
    let dir = tempfile::tempdir().unwrap();
    let terminal = Terminal::start(dir.path(), 80, 24, &[]);
    terminal.wait_for("tr-0001");
    // Something else has written over it.
    terminal.screen.lock().unwrap().process(b"\x1b[2J\x1b[Hsomething else");
    let pid = terminal.child.process_id().unwrap().to_string();
    assert!(Command::new("kill").args(["-CONT", &pid]).status().unwrap().success());
    terminal.wait_for("tr-0001");
    assert!(!terminal.contents().contains("something else"));
    leave(terminal);
}
