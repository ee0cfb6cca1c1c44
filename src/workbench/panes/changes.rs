//! What was removed from a text and what was added to it: signs, a stroke and an underline tell it beside the colour.

use ratatui::style::Modifier;
use ratatui::text::Line;

use crate::corpus::difference::{Part, Side};
use crate::workbench::state::State;
use crate::workbench::widgets::flow::{Piece, wrap};

/// Characters of a stretch that stays which are shown on either side of a change.
const KEPT: usize = 160;

/// Characters that are shown of what was removed or added in one place.
const SHOWN: usize = 2000;

pub fn is_kept(part: &Part) -> bool {
    part.side == Side::Both
}

/// The changes as running text. What stays far from any change is left out.
pub fn lines(state: &State, parts: &[Part], width: u16) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let last = parts.len().saturating_sub(1);
    let mut pieces: Vec<Piece> = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let (word, blank) = part.text.split_at(part.text.trim_end().len());
        match part.side {
            Side::Both => {
                let kept = ends(&part.text, if place > 0 { KEPT } else { 0 }, if place < last { KEPT } else { 0 });
                pieces.push(Piece::new(kept, theme.text.style()));
                continue;
            }
            Side::Removed => {
                let style = theme.bad.style().add_modifier(Modifier::CROSSED_OUT);
                pieces.push(Piece::new("−", theme.bad.style()));
                pieces.push(Piece::new(ends(&breaks(word), SHOWN, 0), style));
            }
            Side::Added => {
                let style = theme.good.style().add_modifier(Modifier::UNDERLINED);
                pieces.push(Piece::new("+", theme.good.style()));
                pieces.push(Piece::new(ends(&breaks(word), SHOWN, 0), style));
            }
        }
        // A line break that came or went is seen as its sign.
        let blank = if blank.contains('\n') { format!("{} ", breaks(blank).trim()) } else { " ".into() };
        pieces.push(Piece::new(blank, theme.text.style()));
    }
    if parts.iter().all(is_kept) {
        pieces = vec![Piece::new("no word differs from the teacher's", theme.chrome.style())];
    }
    wrap(&pieces, width)
}

fn breaks(text: &str) -> String {
    text.replace('\n', "⏎")
}

/// The first and the last characters of a text, with an ellipsis for what lies between; all of a short one.
fn ends(text: &str, first: usize, last: usize) -> String {
    let count = text.chars().count();
    if count <= first + last + 1 || (first == 0 && last == 0) {
        let cut: String = text.chars().take(KEPT * 4).collect();
        return if cut.len() < text.len() { cut + "…" } else { cut };
    }
    let begin: String = text.chars().take(first).collect();
    let end: String = text.chars().skip(count - last).collect();
    format!("{begin}…{end}")
}
