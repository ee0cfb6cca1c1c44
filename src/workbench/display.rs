//! How the screen is shown: what the terminal and the line to it can do, found from the environment or told by the user.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::terminal::line::{Line, Place};
use super::theme::{self, Colours};

/// The signs that a terminal's font has.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Glyphs {
    /// Dots of Braille: eight to a cell.
    #[default]
    Braille,
    /// Quarters of a cell, for fonts whose Braille can't be read.
    Blocks,
    /// Nothing beyond ASCII in charts, borders and signs.
    Ascii,
}

impl Glyphs {
    pub const ALL: [Self; 3] = [Self::Braille, Self::Blocks, Self::Ascii];

    pub fn name(self) -> &'static str {
        match self {
            Self::Braille => "braille",
            Self::Blocks => "blocks",
            Self::Ascii => "ascii",
        }
    }

    /// What the environment says: a terminal that shows no UTF-8 has ASCII alone, the Linux console no Braille.
    pub fn of_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        // The first of these that is set decides, as in `setlocale`.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
        let is_utf8 = |locale: &str| {
            let upper = locale.to_uppercase();
            upper.contains("UTF-8") || upper.contains("UTF8")
        };
        match (locale, std::env::var("TERM").as_deref()) {
            (_, Ok("linux")) => Self::Blocks,
            // Containers set no locale, and run in terminals that know UTF-8 all the same.
            (Some(locale), _) if locale != "C" && locale != "POSIX" && !is_utf8(&locale) => Self::Ascii,
            _ => Self::Braille,
        }
    }
}

/// How the end of a run is told to who looks elsewhere.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notify {
    #[default]
    Off,
    /// The terminal's bell.
    Bell,
    /// A notification of the desktop (OSC 9), and the bell.
    Desktop,
}

impl Notify {
    pub const ALL: [Self; 3] = [Self::Off, Self::Bell, Self::Desktop];

    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Bell => "bell",
            Self::Desktop => "desktop",
        }
    }
}

/// What the user forces; what is left out is found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Forced {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colours: Option<Colours>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glyphs: Option<Glyphs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<Place>,
    /// Frames a second at most, of what changes by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mouse: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
}

impl Forced {
    /// What is forced here, and what `other` forces where nothing is.
    pub fn or(self, other: Self) -> Self {
        Self {
            colours: self.colours.or(other.colours),
            glyphs: self.glyphs.or(other.glyphs),
            line: self.line.or(other.line),
            frame_rate: self.frame_rate.or(other.frame_rate),
            mouse: self.mouse.or(other.mouse),
            notify: self.notify.or(other.notify),
        }
    }
}

/// What holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Display {
    pub forced: Forced,
    /// What the environment says.
    pub colours: Colours,
    pub glyphs: Glyphs,
    pub place: Place,
}

impl Display {
    /// What the environment says, under what is forced.
    pub fn of_environment(forced: Forced) -> Self {
        Self { forced, colours: theme::colours(), glyphs: Glyphs::of_environment(), place: Place::of_environment() }
    }

    pub fn colours(&self) -> Colours {
        self.forced.colours.unwrap_or(self.colours)
    }

    pub fn glyphs(&self) -> Glyphs {
        self.forced.glyphs.unwrap_or(self.glyphs)
    }

    pub fn place(&self) -> Place {
        self.forced.line.unwrap_or(self.place)
    }

    pub fn mouse(&self) -> bool {
        self.forced.mouse.unwrap_or(true)
    }

    pub fn notify(&self) -> Notify {
        self.forced.notify.unwrap_or_default()
    }

    /// The line that this asks for.
    pub fn line(&self) -> Line {
        Line::new(self.place(), self.forced.frame_rate, Instant::now())
    }
}

impl Default for Display {
    /// A terminal that can everything.
    fn default() -> Self {
        Self { forced: Forced::default(), colours: Colours::True, glyphs: Glyphs::Braille, place: Place::Local }
    }
}
