//! Cells broken into lines of a width in columns of a monospace font, where a CJK character takes two.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::cells::Cell;

/// What stands on a line of one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Which cell, from 0.
    pub cell: usize,
    pub text: String,
    /// Columns to the left of it, and those that it takes.
    pub column: usize,
    pub width: usize,
}

/// Breaks cells into lines of at most `columns`, at white space where there is any. `mark` stands before a cell and is never
/// parted from its first letter.
pub fn lines<'a>(cells: &'a [Cell], columns: usize, mark: impl Fn(&Cell) -> &'static str) -> Vec<Vec<Piece>> {
    let mut lines = Lines::<'a> { columns: columns.max(1), ..Lines::default() };
    for (place, cell) in cells.iter().enumerate() {
        lines.gap(cell.before.is_space, cell.before.breaks);
        let mut mark = mark(cell);
        for grapheme in cell.text.graphemes(true) {
            if grapheme.chars().all(char::is_whitespace) {
                lines.end_word();
                lines.space = Some(Some(place));
                continue;
            }
            let text = match std::mem::take(&mut mark) {
                "" => Cow::Borrowed(grapheme),
                mark => Cow::Owned(format!("{mark}{grapheme}")),
            };
            lines.word.push(Glyph { width: text.width(), text, cell: place });
        }
        lines.gap(cell.after.is_space, cell.after.breaks);
    }
    lines.end_word();
    lines.lines.push(lines.line);
    while lines.lines.last().is_some_and(Vec::is_empty) {
        lines.lines.pop();
    }
    lines.lines
}

struct Glyph<'a> {
    text: Cow<'a, str>,
    width: usize,
    cell: usize,
}

#[derive(Default)]
struct Lines<'a> {
    columns: usize,
    lines: Vec<Vec<Piece>>,
    line: Vec<Piece>,
    used: usize,
    /// Glyphs since the last white space.
    word: Vec<Glyph<'a>>,
    /// White space that comes before the word unless a line ends there, and the cell that it is within.
    space: Option<Option<usize>>,
}

impl Lines<'_> {
    fn gap(&mut self, is_space: bool, breaks: usize) {
        if is_space || breaks > 0 {
            self.end_word();
            self.space = self.space.or(Some(None));
        }
        for _ in 0..breaks {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        self.lines.push(std::mem::take(&mut self.line));
        self.used = 0;
        self.space = None;
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        if word.is_empty() {
            return;
        }
        let width: usize = word.iter().map(|glyph| glyph.width).sum();
        let space = usize::from(self.space.is_some() && self.used > 0);
        if self.used > 0 && self.used + space + width > self.columns {
            self.end_line();
        }
        if let Some(owner) = self.space.take().filter(|_| self.used > 0) {
            match owner {
                Some(cell) => self.put(cell, " ", 1),
                None => self.used += 1,
            }
        }
        for glyph in word {
            // A word that is longer than a line is broken anywhere.
            if self.used > 0 && self.used + glyph.width > self.columns {
                self.end_line();
            }
            self.put(glyph.cell, &glyph.text, glyph.width);
        }
    }

    fn put(&mut self, cell: usize, text: &str, width: usize) {
        let column = self.used;
        self.used += width;
        match self.line.last_mut() {
            Some(last) if last.cell == cell && last.column + last.width == column => {
                last.text.push_str(text);
                last.width += width;
            }
            _ => self.line.push(Piece { cell, text: text.to_owned(), column, width }),
        }
    }
}

/// Puts what is written from right to left in that order, for where each piece is drawn at its own place. Runs are turned as a
/// whole; numbers and signs within one go with it.
pub fn reorder(line: &mut [Piece]) {
    let mut from = 0;
    while let Some(first) = line[from..].iter().position(|piece| is_right_to_left(&piece.text)) {
        let begin = from + first;
        let foreign = line[begin..]
            .iter()
            .position(|piece| !is_right_to_left(&piece.text) && piece.text.chars().any(char::is_alphabetic));
        let limit = foreign.map_or(line.len(), |place| begin + place);
        let last = line[begin..limit].iter().rposition(|piece| is_right_to_left(&piece.text)).unwrap_or(0);
        let end = begin + last + 1;
        let run = &mut line[begin..end];
        let left = run[0].column;
        let right = run.last().map_or(left, |piece| piece.column + piece.width);
        for piece in run {
            piece.column = left + right - piece.column - piece.width;
        }
        from = end;
    }
}

/// Whether a piece has letters of Hebrew, Arabic or their neighbours.
fn is_right_to_left(text: &str) -> bool {
    text.chars().any(|c| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}'))
}

#[cfg(test)]
mod tests {
    use super::super::cells::cells;
    use super::*;
    use crate::attribution::ScoredToken;
    use crate::rationale::Role;

    fn broken(texts: &[&str], columns: usize) -> Vec<Vec<Piece>> {
        let units: Vec<ScoredToken> = texts
            .iter()
            .map(|text| ScoredToken { text: (*text).into(), role: Role::Rationale, score: Some(1.0) })
            .collect();
        lines(&cells(&units, 1.0), columns, |_| "")
    }

    fn texts(lines: &[Vec<Piece>]) -> Vec<Vec<&str>> {
        lines.iter().map(|line| line.iter().map(|piece| piece.text.as_str()).collect()).collect()
    }

    #[test]
    fn lines_break_at_white_space_and_tokens_of_a_word_stay_together() {
        let found = broken(&["it", " sno", "rkel", "s", " well", "\nso"], 10);
        assert_eq!(texts(&found), [vec!["it"], vec!["sno", "rkel", "s"], vec!["well"], vec!["so"]]);
        let columns: Vec<usize> = found[1].iter().map(|piece| piece.column).collect();
        assert_eq!(columns, [0, 3, 7]);
    }

    #[test]
    fn a_sentence_is_broken_within_and_what_has_no_white_space_anywhere() {
        assert_eq!(texts(&broken(&[" it has fins ."], 8)), [["it has"], ["fins ."]]);
        assert_eq!(texts(&broken(&["日本", "語の", "本"], 5)), [vec!["日本"], vec!["語の"], vec!["本"]]);
        assert!(broken(&["日本語の本"; 50], 7).iter().flatten().all(|piece| piece.column + piece.width <= 7));
    }

    #[test]
    fn nothing_gives_no_lines() {
        assert!(broken(&[], 10).is_empty());
    }

    #[test]
    fn hebrew_is_drawn_from_the_right_and_what_is_around_it_is_not() {
        let mut found = broken(&["a", " של", "ום", " עולם", " b"], 40);
        reorder(&mut found[0]);
        let mut places: Vec<(usize, &str)> = found[0].iter().map(|piece| (piece.column, piece.text.as_str())).collect();
        places.sort_unstable();
        assert_eq!(places, [(0, "a"), (2, "עולם"), (7, "ום"), (9, "של"), (12, "b")]);
    }
}
