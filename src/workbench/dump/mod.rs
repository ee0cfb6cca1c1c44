//! The screen as a file: plain text, text with colours for terminals, a figure, a page. Pure functions over the cells that
//! were drawn, so that no two of them show different things.
//!
//! What stands in a cell may come from data and models. It is made safe once more here: no control character leaves this
//! room but those of the colours, and nothing ends a tag.

mod ansi;
mod html;
mod svg;
mod text;

use std::borrow::Cow;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthStr;

use super::panes;
use super::state::State;
use super::theme::{self, Theme};

type Rgb = (u8, u8, u8);

/// What a screen is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Format {
    /// Plain text
    #[default]
    Text,
    /// Text with colours, for a terminal
    Ansi,
    /// A figure
    Svg,
    /// A page that needs nothing else
    Html,
}

impl Format {
    pub const ALL: [Self; 4] = [Self::Text, Self::Ansi, Self::Svg, Self::Html];

    /// How it is called, and how its files end.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Ansi => "ansi",
            Self::Svg => "svg",
            Self::Html => "html",
        }
    }

    /// What it is good for.
    pub fn about(self) -> &'static str {
        match self {
            Self::Text => "plain text",
            Self::Ansi => "text with colours; `cat` shows it",
            Self::Svg => "a figure, for a paper or a slide",
            Self::Html => "a page that needs nothing else",
        }
    }
}

/// What the screen shows.
pub fn screen(state: &State) -> Buffer {
    // Drawing into memory can't fail.
    let Ok(mut terminal) = Terminal::new(TestBackend::new(state.columns.max(1), state.rows.max(1)));
    let Ok(_) = terminal.draw(|frame| panes::draw(frame, state));
    terminal.backend().buffer().clone()
}

/// A screen as a text of this form.
pub fn write(screen: &Buffer, format: Format, theme: &Theme) -> String {
    match format {
        Format::Text => text::plain(screen),
        Format::Ansi => ansi::coloured(screen),
        Format::Svg => svg::figure(screen, Paper::of(theme)),
        Format::Html => html::page(screen, Paper::of(theme)),
    }
}

/// The lines of a screen as plain text.
pub fn lines(screen: &Buffer) -> Vec<String> {
    text::plain(screen).lines().map(str::to_owned).collect()
}

/// The colours of what has none: a file does not know those of the terminal.
#[derive(Clone, Copy)]
struct Paper {
    ink: Rgb,
    ground: Rgb,
}

impl Paper {
    const DARK: Self = Self { ink: (0xd8, 0xde, 0xe9), ground: (0x16, 0x18, 0x1d) };
    const LIGHT: Self = Self { ink: (0x1f, 0x23, 0x28), ground: (0xff, 0xff, 0xff) };

    /// A theme marks its selected row by a ground near that of the terminal it was made for. One without colours is for print.
    fn of(theme: &Theme) -> Self {
        let ground = theme.selection.style().bg.and_then(theme::rgb);
        let is_dark = ground.is_some_and(|(r, g, b)| u32::from(r) + u32::from(g) + u32::from(b) < 384);
        if is_dark { Self::DARK } else { Self::LIGHT }
    }

    /// The colours of letters and of the ground behind them; `None` where that is the paper's own.
    fn colours(self, style: Look) -> (Rgb, Option<Rgb>) {
        let ink = theme::rgb(style.fg).unwrap_or(self.ink);
        let ground = theme::rgb(style.bg);
        let (ink, ground) = match style.modifier.contains(Modifier::REVERSED) {
            true => (ground.unwrap_or(self.ground), Some(ink)),
            false => (ink, ground),
        };
        let behind = ground.unwrap_or(self.ground);
        let between = |one: u8, other: u8| ((u16::from(one) + u16::from(other)) / 2) as u8;
        let ink = match style.modifier.contains(Modifier::DIM) {
            true => (between(ink.0, behind.0), between(ink.1, behind.1), between(ink.2, behind.2)),
            false => ink,
        };
        (ink, ground)
    }
}

/// How cells look.
#[derive(Clone, Copy, Default, PartialEq)]
struct Look {
    fg: Color,
    bg: Color,
    modifier: Modifier,
}

/// Neighbouring cells that look alike. A character of two columns stands alone.
struct Stretch {
    x: u16,
    /// Columns that it takes.
    width: u16,
    is_wide: bool,
    look: Look,
    text: String,
}

impl Stretch {
    /// Whether there is nothing to see but the ground.
    fn is_blank(&self) -> bool {
        self.text.trim().is_empty() && !self.look.modifier.contains(Modifier::UNDERLINED)
    }
}

/// The stretches of a line.
fn stretches(screen: &Buffer, y: u16) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = Vec::new();
    let mut x = 0;
    while x < screen.area.width {
        let cell = &screen[(screen.area.x + x, screen.area.y + y)];
        let symbol = safe(cell);
        let width = (symbol.width() as u16).max(1);
        let look = Look { fg: cell.fg, bg: cell.bg, modifier: cell.modifier };
        let is_wide = width > 1;
        match all.last_mut() {
            Some(last) if last.look == look && !last.is_wide && !is_wide => {
                last.text.push_str(&symbol);
                last.width += 1;
            }
            _ => all.push(Stretch { x, width, is_wide, look, text: symbol.into_owned() }),
        }
        // What a wide character covers is not there to be seen.
        x += width;
    }
    all
}

/// What a cell shows, with nothing in it that could do anything.
fn safe(cell: &Cell) -> Cow<'_, str> {
    let symbol = cell.symbol();
    match crate::text::first_unsafe(symbol, false) {
        None if symbol.is_empty() => Cow::Borrowed(" "),
        None => Cow::Borrowed(symbol),
        Some(_) => Cow::Owned("\u{fffd}".repeat(symbol.width().max(1))),
    }
}

/// A colour as the web writes it.
fn hex((r, g, b): Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests;
