//! A text that is being typed: its cursor, the words that are marked in it, and every step back.

use std::ops::Range;

use super::wrap::{before, floor, grapheme_at};

/// A stretch of text that became another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edited {
    pub at: usize,
    /// In bytes, as all places here.
    pub removed: usize,
    pub inserted: usize,
}

/// What makes two changes one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Typed,
    Erased,
    Whole,
}

#[derive(Debug)]
struct Change {
    at: usize,
    removed: String,
    inserted: String,
    /// The cursor and the marks before it, and after it.
    before: (usize, Vec<Range<usize>>),
    after: (usize, Vec<Range<usize>>),
    kind: Kind,
}

/// The text with all that can be taken back.
#[derive(Debug, Default)]
pub struct Buffer {
    text: String,
    cursor: usize,
    /// Marked stretches, in order and apart.
    marks: Vec<Range<usize>>,
    done: Vec<Change>,
    undone: Vec<Change>,
    /// The cursor was moved: what is typed now is a step of its own.
    is_closed: bool,
}

impl Buffer {
    /// A text with marks, the cursor at its end.
    pub fn new(text: String, marks: Vec<Range<usize>>) -> Self {
        Self { cursor: text.len(), text, marks, ..Self::default() }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn cursor(&self) -> usize {
        self.cursor
    }

    pub fn marks(&self) -> &[Range<usize>] {
        &self.marks
    }

    /// Puts the cursor on the grapheme that a byte is in.
    pub fn go(&mut self, to: usize) {
        self.cursor = floor(&self.text, to);
        self.is_closed = true;
    }

    pub fn left(&self) -> usize {
        before(&self.text, self.cursor)
    }

    pub fn right(&self) -> usize {
        self.cursor + grapheme_at(&self.text, self.cursor).len()
    }

    /// Where the word before the cursor begins.
    pub fn word_left(&self) -> usize {
        let before = &self.text[..self.cursor];
        after_blank(before.trim_end())
    }

    /// Where the word at or after the cursor ends.
    pub fn word_right(&self) -> usize {
        let after = &self.text[self.cursor..];
        let blank = after.len() - after.trim_start().len();
        self.cursor + after[blank..].find(char::is_whitespace).map_or(after.len(), |end| blank + end)
    }

    /// The word under the cursor, or the one that ends there.
    pub fn word(&self) -> Option<Range<usize>> {
        let start = after_blank(&self.text[..self.cursor]);
        let end = self.text[self.cursor..].find(char::is_whitespace).map_or(self.text.len(), |end| self.cursor + end);
        (start < end).then_some(start..end)
    }

    /// Types a character. What is typed without a pause is one step back a word.
    pub fn type_in(&mut self, c: char) -> Edited {
        self.change(self.cursor..self.cursor, &*c.encode_utf8(&mut [0; 4]), Kind::Typed)
    }

    /// Puts text at the cursor, in one step.
    pub fn insert(&mut self, text: &str) -> Edited {
        self.change(self.cursor..self.cursor, text, Kind::Whole)
    }

    /// Takes a stretch out. `None` where there is nothing.
    pub fn erase(&mut self, range: Range<usize>, joins: bool) -> Option<Edited> {
        let kind = if joins { Kind::Erased } else { Kind::Whole };
        (!range.is_empty()).then(|| self.change(range, "", kind))
    }

    fn change(&mut self, range: Range<usize>, with: &str, kind: Kind) -> Edited {
        let before = (self.cursor, self.marks.clone());
        let edited = Edited { at: range.start, removed: range.len(), inserted: with.len() };
        let removed = self.text[range.clone()].to_owned();
        self.text.replace_range(range, with);
        self.cursor = edited.at + with.len();
        self.marks.iter_mut().for_each(|mark| *mark = moved(mark, edited));
        self.marks.retain(|mark| !mark.is_empty());
        let after = (self.cursor, self.marks.clone());
        self.undone.clear();
        let change = Change { at: edited.at, removed, inserted: with.to_owned(), before, after, kind };
        match self.done.last_mut().filter(|last| !self.is_closed && last.is_followed_by(&change)) {
            Some(last) => last.take_in(change),
            None => self.done.push(change),
        }
        self.is_closed = false;
        edited
    }

    /// Marks the word at the cursor, or takes its mark away. False where there is no word.
    pub fn mark(&mut self) -> bool {
        let Some(word) = self.word() else { return false };
        let before = (self.cursor, self.marks.clone());
        let count = self.marks.len();
        self.marks.retain(|mark| mark.end <= word.start || word.end <= mark.start);
        if self.marks.len() == count {
            self.marks.push(word);
            self.marks.sort_by_key(|mark| mark.start);
        }
        let after = (self.cursor, self.marks.clone());
        self.undone.clear();
        let (removed, inserted) = (String::new(), String::new());
        self.done.push(Change { at: 0, removed, inserted, before, after, kind: Kind::Whole });
        true
    }

    /// Takes the last step back. `None` when there is none.
    pub fn undo(&mut self) -> Option<Edited> {
        let change = self.done.pop()?;
        let edited = Edited { at: change.at, removed: change.inserted.len(), inserted: change.removed.len() };
        self.text.replace_range(change.at..change.at + edited.removed, &change.removed);
        (self.cursor, self.marks) = change.before.clone();
        self.undone.push(change);
        self.is_closed = true;
        Some(edited)
    }

    /// Makes the step again that was taken back last.
    pub fn redo(&mut self) -> Option<Edited> {
        let change = self.undone.pop()?;
        let edited = Edited { at: change.at, removed: change.removed.len(), inserted: change.inserted.len() };
        self.text.replace_range(change.at..change.at + edited.removed, &change.inserted);
        (self.cursor, self.marks) = change.after.clone();
        self.done.push(change);
        self.is_closed = true;
        Some(edited)
    }
}

impl Change {
    /// Whether another change goes on with this one.
    fn is_followed_by(&self, next: &Self) -> bool {
        match (self.kind, next.kind) {
            (Kind::Typed, Kind::Typed) => {
                let ends = |text: &str| text.ends_with(char::is_whitespace);
                next.at == self.at + self.inserted.len() && (ends(&self.inserted) || !ends(&next.inserted))
            }
            (Kind::Erased, Kind::Erased) => next.at + next.removed.len() == self.at || next.at == self.at,
            _ => false,
        }
    }

    fn take_in(&mut self, next: Self) {
        self.inserted.push_str(&next.inserted);
        if next.at < self.at {
            self.removed.insert_str(0, &next.removed);
            self.at = next.at;
        } else {
            self.removed.push_str(&next.removed);
        }
        self.after = next.after;
    }
}

/// Where the last word of a text begins, which may be empty.
fn after_blank(text: &str) -> usize {
    text.char_indices().rev().find(|(_, c)| c.is_whitespace()).map_or(0, |(at, c)| at + c.len_utf8())
}

/// Where a mark is after an edit. What is typed at its edges is no part of it; it grows and shrinks with what it holds.
fn moved(mark: &Range<usize>, edited: Edited) -> Range<usize> {
    let Edited { at, removed, inserted } = edited;
    let end = at + removed;
    if mark.end <= at {
        return mark.clone();
    }
    if mark.start >= end {
        return mark.start - removed + inserted..mark.end - removed + inserted;
    }
    match (mark.start < at, end < mark.end) {
        (true, true) => mark.start..mark.end - removed + inserted,
        (true, false) => mark.start..at,
        (false, true) => at + inserted..mark.end - removed + inserted,
        (false, false) => at..at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(buffer: &mut Buffer, text: &str) {
        text.chars().for_each(|c| {
            buffer.type_in(c);
        });
    }

    #[test]
    fn a_word_is_a_step_and_so_is_a_paste() {
        let mut buffer = Buffer::default();
        typed(&mut buffer, "it has gills");
        buffer.insert(" and\nfins");
        for expected in ["it has gills", "it has", "it", "", ""] {
            buffer.undo();
            assert_eq!(buffer.text(), expected);
        }
        while buffer.redo().is_some() {}
        assert_eq!((buffer.text(), buffer.cursor()), ("it has gills and\nfins", 21));
        typed(&mut buffer, "x");
        assert_eq!(buffer.redo(), None);
    }

    #[test]
    fn erasing_goes_by_graphemes_and_comes_back_at_once() {
        let mut buffer = Buffer::new("a👩‍🔬e\u{301}日".into(), vec![]);
        for expected in ["a👩‍🔬e\u{301}", "a👩‍🔬", "a", ""] {
            buffer.erase(buffer.left()..buffer.cursor(), true);
            assert_eq!(buffer.text(), expected);
        }
        buffer.undo();
        assert_eq!(buffer.text(), "a👩‍🔬e\u{301}日");
    }

    #[test]
    fn words_are_found_from_anywhere() {
        let mut buffer = Buffer::new("it  has gills".into(), vec![]);
        assert_eq!(buffer.word(), Some(8..13));
        assert_eq!(buffer.word_left(), 8);
        buffer.go(3);
        assert_eq!((buffer.word_left(), buffer.word_right(), buffer.word()), (0, 7, None));
        buffer.go(5);
        assert_eq!((buffer.word(), buffer.word_left()), (Some(4..7), 4));
        let mut wide = Buffer::new("日本\u{3000}語".into(), vec![]);
        assert_eq!(wide.word(), Some(9..12));
        wide.go(0);
        assert_eq!(wide.word(), Some(0..6));
    }

    #[test]
    fn marks_follow_what_they_mark() {
        let mut buffer = Buffer::new("it has gills and fins".into(), vec![7..12, 17..21]);
        let marked = |buffer: &Buffer| -> Vec<String> {
            buffer.marks().iter().map(|mark| buffer.text()[mark.clone()].to_owned()).collect()
        };
        buffer.go(0);
        typed(&mut buffer, "oh ");
        assert_eq!(marked(&buffer), ["gills", "fins"]);
        buffer.go(12);
        typed(&mut buffer, "XX");
        assert_eq!(marked(&buffer), ["giXXlls", "fins"]);
        buffer.erase(3..14, false);
        assert_eq!((buffer.text(), marked(&buffer)), ("oh lls and fins", vec!["lls".into(), "fins".into()]));
        buffer.erase(2..7, false);
        assert_eq!(marked(&buffer), ["fins"]);
        buffer.go(buffer.text().len());
        buffer.mark();
        assert!(marked(&buffer).is_empty());
        for _ in 0..3 {
            buffer.undo();
        }
        assert_eq!(marked(&buffer), ["giXXlls", "fins"]);
    }
}
