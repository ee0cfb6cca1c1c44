//! The terminal: taken over and given back, whatever happens in between, and written to once a frame.

pub mod backend;
pub mod input;
pub mod line;
pub mod replies;
pub mod writer;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossterm::event::{DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange};
use crossterm::terminal::{
    EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, SetTitle, disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute, queue};

use super::display::Display;
use super::effects::caught;
use backend::Painter;
use line::Line;
use writer::Writer;

/// Whether the terminal is ours now; the panic hook asks.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Clicks, the wheel and drags (1000, 1002), with places beyond column 223 (1006). Crossterm's own asks for every
/// movement as well, which is a stream of bytes over a slow line that nobody needs.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1002h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1002l\x1b[?1000l";

/// A terminal that takes nothing for so long is not waited for when the program ends.
const PATIENCE: Duration = Duration::from_millis(800);

/// The screen.
pub struct Screen {
    painter: Painter,
    pub writer: Writer,
    pub line: Line,
    mouse: bool,
}

impl Screen {
    /// Takes the terminal over.
    pub fn enter(display: &Display) -> io::Result<Self> {
        take(display.mouse())?;
        let painter = Painter::new(display.glyphs())?;
        Ok(Self { painter, writer: Writer::new(io::stdout()), line: display.line(), mouse: display.mouse() })
    }

    pub fn size(&self) -> io::Result<ratatui::layout::Size> {
        self.painter.size()
    }

    /// Draws one frame. Nothing is written when nothing has changed.
    pub fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame)) -> io::Result<()> {
        let bytes = self.painter.paint(draw)?;
        if !bytes.is_empty() {
            self.send(bytes);
        }
        Ok(())
    }

    /// Sends what is no frame: a question, the clipboard, the bell.
    pub fn send(&mut self, bytes: Vec<u8>) {
        self.line.sent(bytes.len(), Instant::now());
        self.writer.send(bytes);
    }

    /// Draws everything anew with the next frame, whatever the terminal shows.
    pub fn forget(&mut self) -> io::Result<()> {
        self.painter.forget()
    }

    /// Takes the terminal anew after a stop that nobody announced: whoever had it meanwhile has set it up for lines.
    pub fn retake(&mut self) -> io::Result<()> {
        // What is raw already, as far as crossterm knows, would not be set again.
        let _ = disable_raw_mode();
        take(self.mouse)?;
        self.forget()
    }

    /// Takes over how the screen is to be shown.
    pub fn suit(&mut self, display: &Display) -> io::Result<()> {
        (self.line.place, self.line.frame_rate) = (display.place(), display.forced.frame_rate);
        self.painter.set_glyphs(display.glyphs())?;
        if self.mouse != display.mouse() {
            self.mouse = display.mouse();
            self.send(if self.mouse { MOUSE_ON } else { MOUSE_OFF }.to_vec());
        }
        Ok(())
    }

    /// Gives the terminal to another program while `other` runs.
    pub fn lend<T>(&mut self, other: impl FnOnce() -> T) -> io::Result<T> {
        self.writer.flush(Duration::from_secs(10));
        restore();
        let result = other();
        take(self.mouse)?;
        self.forget()?;
        Ok(result)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if !self.writer.flush(PATIENCE) {
            // Flow is stopped, or the line is dead: what is not sent yet would hold up the end as well.
            let _ = rustix::termios::tcflush(io::stdout(), rustix::termios::QueueSelector::OFlush);
        }
        restore();
    }
}

fn take(mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let mut out = Vec::new();
    queue!(out, EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange, cursor::Hide, SetTitle("afterthought"))?;
    if mouse {
        out.extend_from_slice(MOUSE_ON);
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(&out)?;
    stdout.flush()
}

/// Gives the terminal back. Safe to call twice, and from a panic.
pub fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // The terminal may be gone already (SIGHUP); there is nobody left to tell.
        let _ = io::stdout().write_all(MOUSE_OFF);
        let _ = execute!(
            io::stdout(),
            EndSynchronizedUpdate,
            DisableFocusChange,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            cursor::Show
        );
        let _ = disable_raw_mode();
    }
}

/// Gives the terminal back before a panic is reported, so that the report can be read.
pub fn install_panic_hook() {
    let report = std::panic::take_hook();
    let own = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        // What breaks down elsewhere is caught there and told on the screen, which stays.
        if std::thread::current().id() != own && TAKEN.load(Ordering::SeqCst) {
            return caught::note(panic);
        }
        let was_ours = TAKEN.load(Ordering::SeqCst);
        restore();
        report(panic);
        if was_ours {
            eprintln!("afterthought broke down; runs go on and edits are kept. Start it again to go on.");
            std::process::exit(101);
        }
    }));
}
