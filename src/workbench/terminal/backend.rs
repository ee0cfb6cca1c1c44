//! What ratatui draws on: a frame in memory, and nothing that waits for the terminal.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use crossterm::queue;
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::Terminal;
use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use unicode_width::UnicodeWidthStr;

use crate::text;
use crate::workbench::display::Glyphs;

/// Collects a frame, so that it leaves in one write.
#[derive(Clone, Default)]
struct Frame(Arc<Mutex<Vec<u8>>>);

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
pub struct Quiet {
    inner: CrosstermBackend<Frame>,
    /// The screen's size where no terminal is asked for it.
    size: Option<Size>,
    pub glyphs: Glyphs,
}

impl Backend for Quiet {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let is_ascii = self.glyphs == Glyphs::Ascii;
        let safe = |cell| match plain(cell) {
            Cow::Borrowed(cell) if is_ascii => in_ascii(cell),
            Cow::Owned(cell) if is_ascii => Cow::Owned(in_ascii(&cell).into_owned()),
            plain => plain,
        };
        let content: Vec<(u16, u16, Cow<Cell>)> = content.map(|(x, y, cell)| (x, y, safe(cell))).collect();
        self.inner.draw(content.iter().map(|(x, y, cell)| (*x, *y, &**cell)))
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.inner.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.inner.show_cursor()
    }

    /// The cursor is hidden and every cell is written to its place, so that no place is as good as any.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.inner.clear()
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.inner.clear_region(region)
    }

    fn size(&self) -> io::Result<Size> {
        self.size.map_or_else(|| self.inner.size(), Ok)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        Backend::flush(&mut self.inner)
    }
}

/// Draws frames into memory, as the bytes that a terminal would be sent.
pub struct Painter {
    terminal: Terminal<Quiet>,
    frame: Frame,
}

impl Painter {
    /// For the terminal that the program runs in.
    pub fn new(glyphs: Glyphs) -> io::Result<Self> {
        Self::with(None, glyphs)
    }

    /// For a screen of so many columns and rows, wherever the program runs.
    pub fn of_size(columns: u16, rows: u16, glyphs: Glyphs) -> io::Result<Self> {
        Self::with(Some(Size::new(columns, rows)), glyphs)
    }

    fn with(size: Option<Size>, glyphs: Glyphs) -> io::Result<Self> {
        let frame = Frame::default();
        let inner = CrosstermBackend::new(frame.clone());
        let mut terminal = Terminal::new(Quiet { inner, size, glyphs })?;
        terminal.hide_cursor()?;
        terminal.clear()?;
        Ok(Self { terminal, frame })
    }

    pub fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }

    /// The bytes that lead from the last frame to this one; none when nothing has changed.
    pub fn paint(&mut self, draw: impl FnOnce(&mut ratatui::Frame)) -> io::Result<Vec<u8>> {
        self.terminal.draw(draw)?;
        let bytes = std::mem::take(&mut *self.frame.0.lock().unwrap_or_else(|poison| poison.into_inner()));
        if is_empty_frame(&bytes) {
            return Ok(vec![]);
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        // A terminal that knows this shows the frame whole; the others pass over it.
        queue!(out, BeginSynchronizedUpdate)?;
        out.extend_from_slice(&bytes);
        queue!(out, EndSynchronizedUpdate)?;
        Ok(out)
    }

    /// Draws everything anew with the next frame, whatever the terminal shows.
    pub fn forget(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    pub fn set_glyphs(&mut self, glyphs: Glyphs) -> io::Result<()> {
        self.terminal.backend_mut().glyphs = glyphs;
        self.forget()
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

/// More characters than this in one cell are a heap of marks; no living script needs more.
const MOST_IN_CELL: usize = 7;

/// A cell that takes as many columns on every terminal as ratatui believes. Terminals disagree about emoji that are
/// joined, coloured or made of two letters; one that moves the cursor otherwise than we think leaves ghosts behind, so
/// that such a cell shows its first character, or its letters, and is filled up with blanks.
///
/// It is also the last gate before the terminal: panes show texts with symbols in the place of what is unsafe, but an
/// editor has to hold a text as it is, and a character that does something is not sent from there either.
fn plain(cell: &Cell) -> Cow<'_, Cell> {
    let symbol = cell.symbol();
    if symbol.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Cow::Borrowed(cell);
    }
    let is_unsafe = text::first_unsafe(symbol, false).is_some();
    let is_long = symbol.len() > MOST_IN_CELL && symbol.chars().nth(MOST_IN_CELL).is_some();
    if !is_unsafe && !is_long && !symbol.chars().any(is_disputed) {
        return Cow::Borrowed(cell);
    }
    let width = symbol.width();
    let letter = |c: char| char::from_u32(u32::from(c) - 0x1f1e6 + u32::from('A'));
    let flag: String = symbol.chars().filter(|c| is_flag_letter(*c)).filter_map(letter).collect();
    let mut text = if !flag.is_empty() {
        flag
    } else if is_unsafe {
        let seen = symbol.chars().find(|c| text::first_unsafe(c.encode_utf8(&mut [0; 4]), false).is_none());
        seen.filter(|_| symbol.chars().any(char::is_alphanumeric)).unwrap_or('\u{fffd}').to_string()
    } else {
        let kept = if symbol.chars().any(is_disputed) { 1 } else { MOST_IN_CELL };
        symbol.chars().take(kept).collect()
    };
    let missing = width.saturating_sub(text.width());
    text.push_str(&" ".repeat(missing));
    let mut cell = cell.clone();
    cell.set_symbol(&text);
    Cow::Owned(cell)
}

fn is_flag_letter(c: char) -> bool {
    ('\u{1f1e6}'..='\u{1f1ff}').contains(&c)
}

/// A cell without anything beyond ASCII, as wide as before: the workbench's own signs have one each, and other letters
/// are question marks.
fn in_ascii(cell: &Cell) -> Cow<'_, Cell> {
    let symbol = cell.symbol();
    if symbol.is_ascii() {
        return Cow::Borrowed(cell);
    }
    let sign = match symbol.chars().next().unwrap_or(' ') {
        '─' | '━' | '═' | '┄' | '╌' | '–' | '—' | '−' => '-',
        '│' | '┃' | '║' | '┤' | '├' | '┊' | '▏' | '▕' | '‖' => '|',
        '╭' | '╮' | '╰' | '╯' | '┏' | '┓' | '┗' | '┛' | '╔' | '╗' | '╚' | '╝' | '┼' | '┴' | '┬' | '└' | '┌' | '┐'
        | '┘' => '+',
        '▸' | '→' | '▶' => '>',
        '←' | '◂' => '<',
        '↑' | '▲' => '^',
        '↓' | '▼' | '✓' => 'v',
        '●' | '◆' | '█' | '▓' => '*',
        '○' | '◌' => 'o',
        '■' | '▒' | '▪' => '#',
        '✗' | '×' => 'x',
        '…' | '·' | '░' => '.',
        '≈' | '↕' => '~',
        '±' => '+',
        _ => '?',
    };
    let mut text = String::from(sign);
    text.push_str(&" ".repeat(symbol.width().saturating_sub(1)));
    let mut cell = cell.clone();
    cell.set_symbol(&text);
    Cow::Owned(cell)
}

/// Joiners, variation selectors, skin tones, keycaps and flag letters.
fn is_disputed(c: char) -> bool {
    is_flag_letter(c)
        || matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{20e3}')
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
    fn a_cell_that_would_do_something_does_nothing() {
        let heap = format!("z{}", "\u{301}".repeat(60));
        for (cluster, shown) in [
            ("\u{1b}", "\u{fffd}"),
            ("\u{9b}", "\u{fffd}"),
            ("\u{e000}", "\u{fffd}"),
            ("l\u{202e}", "l"),
            ("\u{202e}l", "l"),
            ("\u{7f}", "\u{fffd}"),
            (&heap, &heap[..1 + 2 * 6]),
        ] {
            let mut cell = Cell::default();
            cell.set_symbol(cluster);
            assert_eq!(plain(&cell).symbol(), shown, "{cluster:?}");
        }
    }

    #[test]
    fn a_frame_without_change_writes_nothing() {
        let mut painter = Painter::of_size(20, 3, Glyphs::Braille).unwrap();
        let mut paint = |text: &str| painter.paint(|frame| frame.render_widget(text, frame.area())).unwrap();
        assert!(!paint("hello").is_empty());
        assert!(paint("hello").is_empty());
        assert!(!paint("help!").is_empty());
    }

    #[test]
    fn a_terminal_without_other_signs_gets_ascii_alone() {
        let mut painter = Painter::of_size(20, 3, Glyphs::Ascii).unwrap();
        let bytes = painter.paint(|frame| frame.render_widget("╭ ▸ 日本 ✓ ⡇ é", frame.area())).unwrap();
        assert!(bytes.is_ascii());
        let text = String::from_utf8(bytes).unwrap();
        // Each sign is as wide as the one that it stands for.
        for placed in ["[1;1H+", "[1;3H>", "[1;5H? ", "[1;7H? ", "[1;10Hv", "[1;12H?", "[1;14H?"] {
            assert!(text.contains(placed), "{placed} in {text:?}");
        }
    }
}
