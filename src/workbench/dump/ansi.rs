//! The screen with its colours for a terminal: text and SGR sequences, nothing that moves a cursor.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use super::{Look, stretches};

pub fn coloured(screen: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..screen.area.height {
        let mut line = stretches(screen, y);
        if let Some(last) = line.last_mut()
            && last.look == Look::default()
        {
            last.text.truncate(last.text.trim_end().len());
        }
        for stretch in line {
            if stretch.look == Look::default() {
                out.push_str(&stretch.text);
            } else {
                let _ = write!(out, "\u{1b}[{}m{}\u{1b}[0m", codes(stretch.look), stretch.text);
            }
        }
        out.push('\n');
    }
    out
}

/// The parameters that make a terminal write like this (ECMA-48, 8.3.117).
fn codes(look: Look) -> String {
    let mut codes: Vec<String> = Vec::new();
    for (modifier, code) in [
        (Modifier::BOLD, "1"),
        (Modifier::DIM, "2"),
        (Modifier::ITALIC, "3"),
        (Modifier::UNDERLINED, "4"),
        (Modifier::REVERSED, "7"),
    ] {
        if look.modifier.contains(modifier) {
            codes.push(code.into());
        }
    }
    codes.extend(colour(look.fg, 30));
    codes.extend(colour(look.bg, 40));
    codes.join(";")
}

/// A colour of letters (`first` 30) or of the ground (40).
fn colour(colour: Color, first: u8) -> Option<String> {
    let named = |place: u8| Some((first + place).to_string());
    let bright = |place: u8| Some((first + 60 + place).to_string());
    match colour {
        Color::Reset => None,
        Color::Black => named(0),
        Color::Red => named(1),
        Color::Green => named(2),
        Color::Yellow => named(3),
        Color::Blue => named(4),
        Color::Magenta => named(5),
        Color::Cyan => named(6),
        Color::Gray => named(7),
        Color::DarkGray => bright(0),
        Color::LightRed => bright(1),
        Color::LightGreen => bright(2),
        Color::LightYellow => bright(3),
        Color::LightBlue => bright(4),
        Color::LightMagenta => bright(5),
        Color::LightCyan => bright(6),
        Color::White => bright(7),
        Color::Indexed(index) => Some(format!("{};5;{index}", first + 8)),
        Color::Rgb(r, g, b) => Some(format!("{};2;{r};{g};{b}", first + 8)),
    }
}
