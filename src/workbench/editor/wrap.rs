//! Where the rows of a text begin when it is shown in so many columns. Only as many rows are worked out as are looked
//! at, and an edit moves those below it instead of breaking them again: a key costs the same in a megabyte as in a line.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::text;

/// Bytes of the longest grapheme that is looked for. A heap of marks beyond it goes on as another one.
const LONGEST_GRAPHEME: usize = 256;

/// Rows that are broken anew after an edit before those below it are given up and broken when they are looked at.
const MOST_BROKEN: usize = 512;

/// The character boundary at a byte or before it.
pub fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The grapheme that begins at a byte; empty at the end.
pub fn grapheme_at(text: &str, at: usize) -> &str {
    let bytes = text.as_bytes();
    let Some(first) = bytes.get(at) else { return "" };
    // Most text is ASCII, where nothing joins but the two parts of a line break.
    if first.is_ascii() && *first != b'\r' && bytes.get(at + 1).is_none_or(u8::is_ascii) {
        return &text[at..at + 1];
    }
    let end = floor(text, at + LONGEST_GRAPHEME);
    text[at..end].graphemes(true).next().unwrap_or_default()
}

/// Where the grapheme before a byte begins.
pub fn before(text: &str, at: usize) -> usize {
    let begin = floor(text, at.saturating_sub(LONGEST_GRAPHEME));
    text[begin..at].graphemes(true).next_back().map_or(0, |grapheme| at - grapheme.len())
}

/// A grapheme as it is shown: a control character as its symbol.
pub fn shown(grapheme: &str) -> Cow<'_, str> {
    if is_break(grapheme) { Cow::Borrowed("") } else { text::line(grapheme) }
}

pub fn width(grapheme: &str) -> usize {
    if grapheme.len() == 1 && grapheme.as_bytes()[0].is_ascii_graphic() { 1 } else { shown(grapheme).width() }
}

pub fn is_break(grapheme: &str) -> bool {
    matches!(grapheme, "\n" | "\r\n")
}

/// A no-break space is none.
pub fn is_space(grapheme: &str) -> bool {
    grapheme != "\u{a0}" && grapheme.chars().next().is_some_and(char::is_whitespace)
}

/// Where the row ends that begins at `start`: at white space where there is any, else between two graphemes. The line
/// break and one blank that does not fit belong to the row before them.
fn row_end(text: &str, start: usize, columns: usize) -> usize {
    let (mut used, mut at) = (0, start);
    let mut word = None;
    loop {
        let grapheme = grapheme_at(text, at);
        if grapheme.is_empty() {
            return at;
        }
        let end = at + grapheme.len();
        if is_break(grapheme) {
            return end;
        }
        let wide = width(grapheme);
        if used + wide > columns && at > start {
            if !is_space(grapheme) {
                return word.unwrap_or(at);
            }
            let next = grapheme_at(text, end);
            return if is_break(next) { end + next.len() } else { end };
        }
        used += wide;
        at = end;
        if is_space(grapheme) {
            word = Some(end);
        }
    }
}

/// The rows of a text that are known.
#[derive(Debug)]
pub struct Rows {
    columns: usize,
    /// Where each begins. Unless all are known, where the last one ends is not.
    starts: Vec<usize>,
    is_whole: bool,
}

impl Rows {
    /// Rows of at most so many columns.
    pub fn new(columns: usize) -> Self {
        Self { columns: columns.max(1), starts: vec![0], is_whole: false }
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Works out one row more. False when there is none.
    fn step(&mut self, text: &str) -> bool {
        let Some(start) = self.starts.last().copied().filter(|_| !self.is_whole) else { return false };
        let end = row_end(text, start, self.columns);
        if end < text.len() || text[start..].ends_with('\n') {
            self.starts.push(end);
        }
        self.is_whole = end >= text.len();
        true
    }

    /// The row that a byte is in.
    pub fn row_of(&mut self, text: &str, at: usize) -> usize {
        while self.starts.last().is_some_and(|last| *last <= at) && self.step(text) {}
        self.starts.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// The bytes of a row, its line break included; `None` below the last one.
    pub fn row(&mut self, text: &str, row: usize) -> Option<std::ops::Range<usize>> {
        while self.starts.len() <= row + 1 && self.step(text) {}
        let start = *self.starts.get(row)?;
        Some(start..self.starts.get(row + 1).copied().unwrap_or(text.len()))
    }

    /// A row that is known already.
    pub fn known(&self, text: &str, row: usize) -> Option<std::ops::Range<usize>> {
        let start = *self.starts.get(row)?;
        Some(start..self.starts.get(row + 1).copied().unwrap_or(text.len()))
    }

    /// Takes in that `removed` bytes at `at` became `inserted` others.
    pub fn edited(&mut self, text: &str, at: usize, removed: usize, inserted: usize) {
        // Where a row ends is decided by the first word of the next one, of which a wide sign may stand on the row after.
        let row = self.starts.partition_point(|start| *start <= at).saturating_sub(3);
        let below = self.starts.partition_point(|start| *start <= at + removed);
        let moved: Vec<usize> = self.starts[below..].iter().map(|start| start - removed + inserted).collect();
        let was_whole = self.is_whole;
        self.starts.truncate(row + 1);
        self.is_whole = false;
        for _ in 0..MOST_BROKEN + (inserted / self.columns.max(1)).min(MOST_BROKEN) {
            if !self.step(text) {
                return;
            }
            // From a row that begins where one began before, all is as it was.
            let place = self.starts.last().and_then(|last| moved.binary_search(last).ok());
            if let Some(place) = place {
                self.starts.extend_from_slice(&moved[place + 1..]);
                self.is_whole = was_whole;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str, columns: usize) -> Vec<&str> {
        let mut rows = Rows::new(columns);
        (0..).map_while(|row| rows.row(text, row)).map(|row| &text[row]).collect()
    }

    #[test]
    fn text_is_broken_at_white_space_else_between_graphemes() {
        assert_eq!(broken("it has gills and fins", 10), ["it has ", "gills and ", "fins"]);
        assert_eq!(broken("incomprehensible", 6), ["incomp", "rehens", "ible"]);
        assert_eq!(broken("one\n\ntwo\n", 10), ["one\n", "\n", "two\n", ""]);
        assert_eq!(broken("", 10), [""]);
        assert_eq!(broken("abcde \nf", 5), ["abcde \n", "f"], "a blank that does not fit makes no row");
    }

    #[test]
    fn nothing_that_is_one_on_the_screen_is_broken() {
        assert_eq!(broken("日本語日本", 5), ["日本", "語日", "本"]);
        assert_eq!(broken("👩‍🔬👩‍🔬👩‍🔬", 4), ["👩‍🔬👩‍🔬", "👩‍🔬"]);
        assert_eq!(broken("e\u{301}e\u{301}e\u{301}", 2), ["e\u{301}e\u{301}", "e\u{301}"]);
        assert_eq!(broken("שלום עולם", 5), ["שלום ", "עולם"]);
        assert_eq!(broken("a\u{202e}b", 9), ["a\u{202e}", "b"], "a symbol is as wide as it is shown");
    }

    #[test]
    fn an_edit_leaves_the_rows_as_if_they_were_broken_anew() {
        let words = ["a", "gills", " ", "日本", "\n", "e\u{301}", "👩‍🔬", "incomprehensible", "  ", "\u{202e}"];
        let mut seed = 7usize;
        let mut draw = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for columns in [3, 7, 20] {
            let mut text: String = (0..80).map(|_| words[draw(words.len())]).collect();
            let mut rows = Rows::new(columns);
            rows.row(&text, draw(40));
            for _ in 0..300 {
                let at = floor(&text, draw(text.len() + 1));
                let end = floor(&text, at + draw(9)).max(at);
                let new = words[draw(words.len())];
                text.replace_range(at..end, new);
                rows.edited(&text, at, end - at, new.len());
                let kept: Vec<_> = (0..).map_while(|row| rows.row(&text, row)).map(|row| &text[row]).collect();
                assert_eq!(kept, broken(&text, columns), "{text:?}");
                if draw(3) == 0 {
                    rows = Rows::new(columns);
                    rows.row(&text, draw(30));
                }
            }
        }
    }
}
