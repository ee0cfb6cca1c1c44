//! The editor of a rationale. It is our own: the text areas there are break a whole text anew at every key, which stalls
//! on a long line, and know neither marks nor symbols for control characters.

mod buffer;
pub mod keys;
pub mod wrap;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::state::EditTarget;
use crate::corpus::difference::{Part, changes};
use crate::rationale::spelling::{Around, SpelledToken};
use crate::text;
use buffer::{Buffer, Edited};
use wrap::Rows;

/// The text being edited and what is shown of it.
#[derive(Debug)]
pub struct Editor {
    pub target: EditTarget,
    /// As it was when the editor was opened. Marks are ranges of characters.
    original: String,
    marked: Vec<Range<usize>>,
    buffer: Buffer,
    rows: Rows,
    /// The first row that is shown, and how many are.
    top: usize,
    height: usize,
    /// The column that stepping up and down keeps to.
    column: Option<usize>,
    pub shows_help: bool,
    /// What the text is compared with while that is shown, and how they differ.
    compared: Option<(String, Vec<Part>)>,
    /// How the student spells the word at the cursor.
    pub spelled: Option<Result<Vec<SpelledToken>, String>>,
    /// The newest question for it.
    pub spelling: u64,
}

/// A text that was not kept yet, to go on with after a crash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unsaved {
    pub target: EditTarget,
    pub original: String,
    pub text: String,
    /// In bytes.
    pub cursor: usize,
    /// Key words in the original and in the text, in characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marked: Vec<Range<usize>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Range<usize>>,
}

/// Where a key takes the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    Left,
    Right,
    WordLeft,
    WordRight,
    Up,
    Down,
    PageUp,
    PageDown,
    RowStart,
    RowEnd,
    Start,
    End,
}

impl Editor {
    /// Opens a text with its marks, which are ranges of characters.
    pub fn new(target: EditTarget, original: String, marked: Vec<Range<usize>>) -> Self {
        let buffer = Buffer::new(original.clone(), to_bytes(&original, &marked));
        let marked = to_characters(&original, buffer.marks());
        Self {
            target,
            original,
            marked,
            buffer,
            rows: Rows::new(1),
            top: 0,
            height: 1,
            column: None,
            shows_help: false,
            compared: None,
            spelled: None,
            spelling: 0,
        }
    }

    /// What is lost if nobody keeps it.
    pub fn unsaved(&self) -> Unsaved {
        Unsaved {
            target: self.target.clone(),
            original: self.original.clone(),
            text: self.text().to_owned(),
            cursor: self.buffer.cursor(),
            marked: self.marked.clone(),
            marks: self.marks(),
        }
    }

    /// Goes on where another one ended. What it could take back is gone.
    pub fn restore(unsaved: Unsaved) -> Self {
        let Unsaved { target, original, text, cursor, marked, marks } = unsaved;
        let mut editor = Self::new(target, original, marked);
        let marks = to_bytes(&text, &marks);
        editor.buffer = Buffer::new(text, marks);
        editor.buffer.go(cursor);
        editor
    }

    /// The text as it stands.
    pub fn text(&self) -> &str {
        self.buffer.text()
    }

    pub fn original(&self) -> &str {
        &self.original
    }

    /// The key words, as ranges of characters.
    pub fn marks(&self) -> Vec<Range<usize>> {
        to_characters(self.text(), self.buffer.marks())
    }

    pub fn is_changed(&self) -> bool {
        self.text() != self.original || self.marks() != self.marked
    }

    /// Shows so many columns and rows.
    pub fn fit(&mut self, columns: usize, height: usize) {
        if columns != self.rows.columns() {
            self.rows = Rows::new(columns);
        }
        self.height = height.max(1);
        self.keep_cursor_visible();
    }

    fn keep_cursor_visible(&mut self) {
        let row = self.rows.row_of(self.buffer.text(), self.buffer.cursor());
        self.top = self.top.clamp((row + 1).saturating_sub(self.height), row);
        // What is shown is known by then: whoever draws works nothing out.
        self.rows.row(self.buffer.text(), self.top + self.height);
    }

    /// The rows on the screen, as bytes of the text.
    pub fn shown(&self) -> impl Iterator<Item = Range<usize>> {
        (self.top..self.top + self.height).map_while(|row| self.rows.known(self.text(), row))
    }

    /// The byte that the cursor stands on.
    pub fn cursor(&self) -> usize {
        self.buffer.cursor()
    }

    /// Whether a byte is part of a key word.
    pub fn is_marked(&self, at: usize) -> bool {
        let marks = self.buffer.marks();
        let place = marks.partition_point(|mark| mark.end <= at);
        marks.get(place).is_some_and(|mark| mark.start <= at)
    }

    fn took(&mut self, edited: Option<Edited>) {
        let Some(Edited { at, removed, inserted }) = edited else { return };
        self.rows.edited(self.buffer.text(), at, removed, inserted);
        self.column = None;
        self.compare();
        self.keep_cursor_visible();
    }

    pub fn type_in(&mut self, c: char) {
        let edited = self.buffer.type_in(c);
        self.took(Some(edited));
    }

    /// Takes in pasted text as one step. A control character in it becomes its symbol: nobody types one.
    pub fn paste(&mut self, pasted: &str) {
        let edited = self.buffer.insert(&text::visible(&pasted.replace("\r\n", "\n").replace('\r', "\n")));
        self.took(Some(edited));
    }

    pub fn erase(&mut self, motion: Motion) {
        let cursor = self.buffer.cursor();
        let range = match motion {
            Motion::Left => self.buffer.left()..cursor,
            Motion::Right => cursor..self.buffer.right(),
            Motion::WordLeft => self.buffer.word_left()..cursor,
            _ => cursor..self.buffer.word_right(),
        };
        let joins = matches!(motion, Motion::Left | Motion::Right);
        let edited = self.buffer.erase(range, joins);
        self.took(edited);
    }

    pub fn undo(&mut self) {
        let edited = self.buffer.undo();
        self.took(edited);
    }

    pub fn redo(&mut self) {
        let edited = self.buffer.redo();
        self.took(edited);
    }

    /// Marks the word at the cursor as key, or unmarks it. False where there is none.
    pub fn mark(&mut self) -> bool {
        self.buffer.mark()
    }

    pub fn go(&mut self, motion: Motion) {
        let text = self.buffer.text();
        let row = self.rows.row_of(text, self.buffer.cursor());
        let to = match motion {
            Motion::Left => self.buffer.left(),
            Motion::Right => self.buffer.right(),
            Motion::WordLeft => self.buffer.word_left(),
            Motion::WordRight => self.buffer.word_right(),
            Motion::Start => 0,
            Motion::End => text.len(),
            Motion::RowStart => self.rows.row(text, row).map_or(0, |row| row.start),
            Motion::RowEnd => self.in_row(row, usize::MAX),
            Motion::Up | Motion::Down | Motion::PageUp | Motion::PageDown => {
                let column = self.column.unwrap_or_else(|| self.column_of(row));
                let page = self.height.saturating_sub(1).max(1);
                let wanted = match motion {
                    Motion::Up => row.checked_sub(1),
                    Motion::Down => Some(row + 1),
                    Motion::PageUp => Some(row.saturating_sub(page)),
                    _ => Some(row + page),
                };
                // Beyond the first and the last row lie the ends of the text.
                let to = match wanted {
                    None => 0,
                    Some(row) if self.rows.row(self.buffer.text(), row).is_none() => self.buffer.text().len(),
                    Some(row) => self.in_row(row, column),
                };
                self.column = Some(column);
                self.buffer.go(to);
                self.keep_cursor_visible();
                return;
            }
        };
        self.column = None;
        self.buffer.go(to);
        self.keep_cursor_visible();
    }

    /// The column of the cursor in its row.
    fn column_of(&mut self, row: usize) -> usize {
        let text = self.buffer.text();
        let Some(row) = self.rows.row(text, row) else { return 0 };
        let (mut at, mut column) = (row.start, 0);
        while at < self.buffer.cursor() {
            let grapheme = wrap::grapheme_at(text, at);
            column += wrap::width(grapheme);
            at += grapheme.len().max(1);
        }
        column
    }

    /// The place in a row that is nearest to a column.
    fn in_row(&mut self, row: usize, column: usize) -> usize {
        let text = self.buffer.text();
        let Some(row) = self.rows.row(text, row) else { return text.len() };
        let (mut at, mut used) = (row.start, 0);
        loop {
            let grapheme = wrap::grapheme_at(text, at);
            let end = at + grapheme.len();
            used += wrap::width(grapheme);
            // The end of a row that is broken is the beginning of the next one.
            let is_last = end >= row.end && row.end < text.len();
            if at >= row.end || wrap::is_break(grapheme) || used > column || is_last {
                return at.min(row.end);
            }
            at = end;
        }
    }

    /// Compares with a text from now on, or no longer.
    pub fn compare_with(&mut self, other: Option<String>) {
        self.compared = other.map(|other| (other, Vec::new()));
        self.compare();
    }

    fn compare(&mut self) {
        if let Some((other, parts)) = &mut self.compared {
            *parts = changes(other, self.buffer.text());
        }
    }

    /// How the text differs from what it is compared with, while it is.
    pub fn changes(&self) -> Option<&[Part]> {
        self.compared.as_ref().map(|(_, parts)| &parts[..])
    }

    /// The word at the cursor with what decides its tokens.
    pub fn around(&self) -> Option<Around> {
        self.buffer.word().map(|word| Around::of(self.text(), word))
    }

    /// The word at the cursor.
    pub fn word(&self) -> Option<&str> {
        self.buffer.word().map(|word| &self.text()[word])
    }
}

/// Ranges of bytes for ranges of characters, in order and apart. What lies beyond the text is left out.
fn to_bytes(text: &str, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let wanted = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    let places: Vec<usize> =
        text.char_indices().map(|(at, _)| at).chain([text.len()]).take(wanted.saturating_add(1)).collect();
    let byte = |place: usize| places.get(place).copied().unwrap_or(text.len());
    let mut found: Vec<Range<usize>> = ranges.iter().map(|range| byte(range.start)..byte(range.end)).collect();
    // A file may hold them in any order, and one over the other.
    found.retain(|range| !range.is_empty());
    found.sort_by_key(|range| range.start);
    let mut apart: Vec<Range<usize>> = Vec::new();
    for range in found {
        match apart.last_mut().filter(|last| range.start < last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => apart.push(range),
        }
    }
    apart
}

/// Ranges of characters for ranges of bytes, which are in order.
fn to_characters(text: &str, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut at, mut count) = (0, 0);
    let mut place = |byte: usize| {
        count += text[at..byte].chars().count();
        at = byte;
        count
    };
    ranges.iter().map(|range| place(range.start)..place(range.end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_any_file_are_put_in_order() {
        let text = "日本 has gills";
        assert_eq!(to_bytes(text, &[7..12, 0..2, 1..4, 9..30]), [0..8, 11..16]);
        assert_eq!(to_characters(text, &to_bytes(text, &[3..6, 0..2])), [0..2, 3..6]);
        assert!(to_bytes(text, &[40..usize::MAX, std::ops::Range { start: 5, end: 2 }]).is_empty());
    }
}
