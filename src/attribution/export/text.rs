//! Running text with marks for how strong each unit is, readable without colours and in a mail.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use super::cells::{Cell, Gap, cells};
use super::lines::{Piece, lines};
use super::{Shown, examples, heading, largest, mark, signed};
use crate::rationale::recipe::Unit;
use crate::text;

/// Examples as text of `columns`, one after the other.
pub fn running(shown: &[Shown], unit: Unit, columns: usize) -> String {
    let parts: Vec<String> = examples(shown).map(|together| example(together, unit, columns)).collect();
    parts.join("\n")
}

fn example(together: &[Shown], unit: Unit, columns: usize) -> String {
    let most = largest(together, unit);
    let mut out = String::new();
    for Shown { student, found } in together {
        put(&mut out, &format!("{} · {}", text::line(&found.id), text::line(student)), columns);
        put(&mut out, &heading(found), columns);
        if let Some(caution) = &found.caution {
            put(&mut out, &text::line(caution), columns);
        }
        out.push('\n');
        let cells = cells(found.units(unit), most);
        let mark = |cell: &Cell| cell.score.map_or("", |score| mark(score.strength));
        for line in lines(&cells, columns, mark) {
            out.push_str(&joined(&line));
            out.push('\n');
        }
        out.push('\n');
    }
    put(&mut out, &legend(most), columns);
    out
}

/// What the marks say; `most` is the score that is strongest.
fn legend(most: f64) -> String {
    let ends = [1.0, -1.0].map(|sign| signed(sign * most));
    format!("█ ▅ ▂ for, - = ≡ against, {} to {}; below a tenth of that, or not scored: no mark", ends[0], ends[1])
}

/// The pieces of a line, with spaces where nothing is.
fn joined(line: &[Piece]) -> String {
    let mut out = String::new();
    let mut used = 0;
    for piece in line {
        let _ = write!(out, "{:1$}{2}", "", piece.column - used, piece.text);
        used = piece.column + piece.width;
    }
    out
}

/// Adds a sentence, wrapped.
fn put(out: &mut String, sentence: &str, columns: usize) {
    if sentence.width() <= columns {
        out.push_str(sentence);
        out.push('\n');
        return;
    }
    let cell = Cell { before: Gap::default(), text: sentence.to_owned(), after: Gap::default(), score: None };
    for line in lines(&[cell], columns, |_| "") {
        out.push_str(&joined(&line));
        out.push('\n');
    }
}
