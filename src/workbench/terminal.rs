//! The terminal: taken over and given back, whatever happens in between, and written to once a frame.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, SetTitle,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, execute, queue};
use ratatui::Terminal;
use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use unicode_width::UnicodeWidthStr;

/// Whether the terminal is ours now; the panic hook asks.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Collects a frame, so that it leaves in one write.
#[derive(Clone, Default)]
pub struct Frame(Arc<Mutex<Vec<u8>>>);

impl Write for Frame {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner()).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Crossterm's backend without its question for the cursor's place. ratatui asks it whenever the screen is cleared, and
/// waits for the answer; over a slow line that is a stalled start, and a late answer would be read as typed keys.
pub struct Quiet(CrosstermBackend<Frame>);

impl Backend for Quiet {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let content: Vec<(u16, u16, Cow<Cell>)> = content.map(|(x, y, cell)| (x, y, plain(cell))).collect();
        self.0.draw(content.iter().map(|(x, y, cell)| (*x, *y, &**cell)))
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.0.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.0.show_cursor()
    }

    /// The cursor is hidden and every cell is written to its place, so that no place is as good as any.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.0.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.0.clear()
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.0.clear_region(region)
    }

    fn size(&self) -> io::Result<Size> {
        self.0.size()
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.0.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        Backend::flush(&mut self.0)
    }
}

/// A cell that takes as many columns on every terminal as ratatui believes. Terminals disagree about emoji that are
/// joined, coloured or made of two letters; one that moves the cursor otherwise than we think leaves ghosts behind, so
/// that such a cell shows its first character, or its letters, and is filled up with blanks.
fn plain(cell: &Cell) -> Cow<'_, Cell> {
    let symbol = cell.symbol();
    if symbol.is_ascii() || !symbol.chars().any(is_disputed) {
        return Cow::Borrowed(cell);
    }
    let width = symbol.width();
    let letter = |c: char| char::from_u32(u32::from(c) - 0x1f1e6 + u32::from('A'));
    let flag: String = symbol.chars().filter(|c| is_flag_letter(*c)).filter_map(letter).collect();
    let mut text = if flag.is_empty() { symbol.chars().take(1).collect() } else { flag };
    let missing = width.saturating_sub(text.width());
    text.push_str(&" ".repeat(missing));
    let mut cell = cell.clone();
    cell.set_symbol(&text);
    Cow::Owned(cell)
}

fn is_flag_letter(c: char) -> bool {
    ('\u{1f1e6}'..='\u{1f1ff}').contains(&c)
}

/// Joiners, variation selectors, skin tones, keycaps and flag letters.
fn is_disputed(c: char) -> bool {
    is_flag_letter(c)
        || matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{20e3}')
}

/// The screen.
pub struct Screen {
    pub terminal: Terminal<Quiet>,
    frame: Frame,
    /// Bytes sent since the workbench began.
    pub sent: u64,
}

impl Screen {
    /// Takes the terminal over.
    pub fn enter() -> io::Result<Self> {
        take()?;
        let frame = Frame::default();
        let mut terminal = Terminal::new(Quiet(CrosstermBackend::new(frame.clone())))?;
        terminal.hide_cursor()?;
        terminal.clear()?;
        Ok(Self { terminal, frame, sent: 0 })
    }

    /// Draws one frame. Nothing is written when nothing has changed.
    pub fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        let bytes = std::mem::take(&mut *self.frame.0.lock().unwrap_or_else(|poison| poison.into_inner()));
        if is_empty_frame(&bytes) {
            return Ok(());
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        // A terminal that knows this shows the frame whole; the others pass over it.
        queue!(out, BeginSynchronizedUpdate)?;
        out.extend_from_slice(&bytes);
        queue!(out, EndSynchronizedUpdate)?;
        self.sent += out.len() as u64;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&out)?;
        stdout.flush()
    }

    /// Draws everything anew with the next frame, whatever the terminal shows.
    pub fn forget(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Gives the terminal to another program while `other` runs.
    pub fn lend<T>(&mut self, other: impl FnOnce() -> T) -> io::Result<T> {
        restore();
        let result = other();
        take()?;
        self.terminal.hide_cursor()?;
        self.forget()?;
        Ok(result)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// What ratatui writes for a frame without a change: it hides the cursor again and resets the colours.
fn is_empty_frame(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.replace("\u{1b}[?25l", "")
        .replace("\u{1b}[39m", "")
        .replace("\u{1b}[49m", "")
        .replace("\u{1b}[59m", "")
        .replace("\u{1b}[0m", "")
        .is_empty()
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide, SetTitle("afterthought"))
}

/// Gives the terminal back. Safe to call twice, and from a panic.
pub fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // The terminal may be gone already (SIGHUP); there is nobody left to tell.
        let _ =
            execute!(io::stdout(), EndSynchronizedUpdate, DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

/// Gives the terminal back before a panic is reported, so that the report can be read.
pub fn install_panic_hook() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let was_ours = TAKEN.load(Ordering::SeqCst);
        restore();
        report(panic);
        if was_ours {
            eprintln!("afterthought broke down; runs go on and edits are kept. Start it again to go on.");
            std::process::exit(101);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disputed_clusters_take_their_columns_on_every_terminal() {
        for (cluster, shown) in
            [("👩‍🔬", "👩"), ("🇪🇺", "EU"), ("❤\u{fe0f}", "❤ "), ("👍🏽", "👍"), ("日", "日"), ("e\u{301}", "e\u{301}")]
        {
            let mut cell = Cell::default();
            cell.set_symbol(cluster);
            let plain = plain(&cell);
            assert_eq!(plain.symbol(), shown, "{cluster}");
            assert_eq!(plain.symbol().width(), cluster.width());
        }
    }

    #[test]
    fn a_frame_without_change_writes_nothing() {
        let frame = Frame::default();
        let backend = Quiet(CrosstermBackend::new(frame.clone()));
        let options =
            ratatui::TerminalOptions { viewport: ratatui::Viewport::Fixed(ratatui::layout::Rect::new(0, 0, 20, 3)) };
        let mut terminal = Terminal::with_options(backend, options).unwrap();
        let mut draw = |text: &str| {
            terminal.draw(|frame| frame.render_widget(text, frame.area())).unwrap();
            std::mem::take(&mut *frame.0.lock().unwrap())
        };
        assert!(!is_empty_frame(&draw("hello")));
        assert!(is_empty_frame(&draw("hello")));
        assert!(!is_empty_frame(&draw("help!")));
    }
}
