//! The program in a real pseudo-terminal: what it sends, and what it leaves behind.

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

mod multiplexer;
mod signals;
mod storms;

fn size_of(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

/// A program in a terminal that we look at.
struct Terminal {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    input: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Everything that was sent.
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Nobody reads what is sent, as on a line that is stopped.
    is_stalled: Arc<AtomicBool>,
}

impl Terminal {
    fn start(project: &Path, columns: u16, rows: u16, arguments: &[&str]) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_afterthought"));
        command.arg("-C");
        command.arg(project);
        command.args(arguments);
        Self::spawn(command, columns, rows)
    }

    fn spawn(mut command: CommandBuilder, columns: u16, rows: u16) -> Self {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        for (name, value) in [("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("NO_COLOR", "")] {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size_of(rows), size_of(columns), 0)));
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let is_stalled = Arc::new(AtomicBool::new(false));
        let (to_screen, to_bytes, stalled) = (screen.clone(), bytes.clone(), is_stalled.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                while stalled.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                to_screen.lock().unwrap().process(&buffer[..read]);
                to_bytes.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        let input = pair.master.take_writer().unwrap();
        Self { master: pair.master, child, input, screen, bytes, is_stalled }
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(size_of(rows), size_of(columns));
        self.master.resize(PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }).unwrap();
    }

    fn press(&mut self, keys: &str) {
        self.input.write_all(keys.as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    fn contents(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the screen says something.
    #[track_caller]
    fn wait_for(&self, text: &str) {
        self.wait(text, |terminal| terminal.contents().contains(text));
    }

    #[track_caller]
    fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(
                begun.elapsed() < Duration::from_secs(240),
                "waited for {what:?}; the screen is\n{}",
                self.contents()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end and gives the exit code.
    fn end(&mut self) -> u32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What it said last must have been read.
                std::thread::sleep(Duration::from_millis(200));
                return status.exit_code();
            }
            assert!(begun.elapsed() < Duration::from_secs(240), "it does not end; the screen is\n{}", self.contents());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The terminal is as it was: main screen, cursor shown, plain paste.
    #[track_caller]
    fn is_given_back(&self) {
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        assert!(!screen.alternate_screen(), "still on the alternate screen");
        assert!(!screen.hide_cursor(), "the cursor is hidden");
        assert!(!screen.bracketed_paste(), "bracketed paste is on");
    }

    fn sent(&self) -> usize {
        self.bytes.lock().unwrap().len()
    }
}

#[test]
fn browse_ablate_train_and_leave_by_keys_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(dir.path(), 80, 24, &[]);
    terminal.wait_for("tr-0001");
    terminal.press("jj");
    terminal.wait_for("▸ tr-0003");
    terminal.press("2a\r");
    terminal.wait_for("1. shuffled tokens");
    terminal.press("3n");
    terminal.wait_for("train toy on toyworld: post, shuffled tokens");
    terminal.press("\r");
    terminal.wait_for("tok/s");
    terminal.wait_for("left");
    // Away while it trains, and back: it went on.
    terminal.press("q");
    terminal.wait_for("1 run goes on by itself");
    terminal.press("\r");
    assert_eq!(terminal.end(), 0);
    terminal.is_given_back();

    let mut again = Terminal::start(dir.path(), 200, 60, &[]);
    again.wait_for("✓ post, shuffled tokens");
    again.wait_for("finished");
    again.press("5");
    again.wait_for("1 condition, 1 with a result");
    again.press("q\r");
    assert_eq!(again.end(), 0);
    again.is_given_back();
}

#[test]
fn a_run_outlives_a_killed_workbench_and_a_closed_terminal() {
    for closed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::start(dir.path(), 80, 24, &[]);
        terminal.wait_for("tr-0001");
        terminal.press("3n");
        terminal.wait_for("train toy on toyworld: post");
        terminal.press("\r");
        terminal.wait_for("tok/s");
        if closed {
            // The master's end goes away with everything that holds it, and the system sends SIGHUP.
            drop(terminal);
        } else {
            terminal.child.kill().unwrap();
            terminal.end();
        }
        let mut again = Terminal::start(dir.path(), 80, 24, &[]);
        again.press("3");
        again.wait_for("3 Training●");
        again.wait_for("finished");
        again.press("q\r");
        assert_eq!(again.end(), 0);
    }
}

#[test]
fn nothing_is_sent_while_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(dir.path(), 120, 34, &[]);
    terminal.wait_for("student sees");
    // The effects of the start have come in when two looks agree.
    let mut before = terminal.sent();
    loop {
        // The traffic that the start made is shown until it is old.
        std::thread::sleep(Duration::from_millis(2500));
        if terminal.sent() == before {
            break;
        }
        before = terminal.sent();
    }
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(terminal.sent(), before);
    // One row down changes little, and little is sent.
    terminal.press("j");
    terminal.wait_for("▸ tr-0002");
    std::thread::sleep(Duration::from_millis(500));
    let step = terminal.sent() - before;
    assert!(step < 6000, "{step} bytes for one row");
    terminal.press("q\r");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn the_terminal_is_given_back_after_sigterm_and_sighup() {
    for signal in ["-TERM", "-HUP"] {
        let dir = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::start(dir.path(), 80, 24, &[]);
        terminal.wait_for("tr-0001");
        let pid = terminal.child.process_id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
        terminal.end();
        terminal.is_given_back();
    }
}

#[test]
fn a_resized_terminal_is_drawn_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(dir.path(), 80, 24, &[]);
    terminal.wait_for("[1 Data]");
    terminal.resize(120, 34);
    terminal.wait_for("4 Attribution");
    terminal.wait_for("student sees");
    terminal.resize(40, 10);
    terminal.wait_for("afterthought needs 60 x 16");
    terminal.resize(80, 24);
    terminal.wait_for("[1 Data]");
    terminal.press("q\r");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn the_editor_of_the_user_is_run_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let editor = dir.path().join("editor.sh");
    std::fs::write(&editor, "#!/bin/sh\nprintf 'written elsewhere' > \"$1\"\n").unwrap();
    std::process::Command::new("chmod").arg("+x").arg(&editor).status().unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C");
    command.arg(dir.path());
    command.env("VISUAL", &editor);
    let mut terminal = Terminal::spawn(command, 80, 24);
    terminal.wait_for("tr-0001");
    terminal.press("2E");
    terminal.wait_for("written elsewhere");
    terminal.wait_for("edited 1×");
    terminal.press("q\r");
    assert_eq!(terminal.end(), 0);
    terminal.is_given_back();
}

/// Runs only as a child of the test below, inside its terminal.
#[test]
fn child_that_breaks_down() {
    if std::env::var_os("AFTERTHOUGHT_TEST_CHILD").is_none() {
        return;
    }
    afterthought::workbench::terminal::install_panic_hook();
    let _screen = afterthought::workbench::terminal::Screen::enter(&Default::default()).unwrap();
    panic!("broken on purpose");
}

#[test]
fn the_terminal_is_given_back_after_a_panic() {
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_that_breaks_down", "--nocapture", "--test-threads=1"]);
    command.env("AFTERTHOUGHT_TEST_CHILD", "1");
    let mut terminal = Terminal::spawn(command, 80, 24);
    assert_eq!(terminal.end(), 101);
    terminal.is_given_back();
    let said = terminal.contents();
    assert!(said.contains("broken on purpose") && said.contains("runs go on and edits are kept"), "{said}");
}

#[test]
fn a_study_that_runs_in_another_terminal_is_watched_on_the_board() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("studies")).unwrap();
    let study = "base: {training: {steps: 60}}\nconditions: {none: {rationale: {placement: none}}, post: {}}\n";
    std::fs::write(dir.path().join("studies/mine.yaml"), study).unwrap();
    let mut terminal = Terminal::start(dir.path(), 80, 24, &[]);
    terminal.wait_for("tr-0001");
    terminal.press("5S");
    terminal.wait_for("what the board shows");
    terminal.press("j\r");
    terminal.wait_for("mine · 2 conditions, 0 with a result · 0/3 cells");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C").arg(dir.path()).args(["study", "run", "mine"]);
    let mut other = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    // Each step of a run under way is seen.
    terminal.wait("a step of 60", |terminal| {
        let screen = terminal.contents();
        (1..60).any(|step| screen.contains(&format!("● {step}/60")))
    });
    terminal.wait_for("mine · 2 conditions, 2 with a result");
    terminal.wait_for("◆ none");
    assert!(other.wait().unwrap().success());
    terminal.press("Gd");
    terminal.wait_for("post against none");
    terminal.wait_for(" won, ");
    terminal.press("\r");
    terminal.wait_for("predicted by post");
    terminal.press("q\r");
    assert_eq!(terminal.end(), 0);
    terminal.is_given_back();
}
