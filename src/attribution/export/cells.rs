//! Units as they are shown: safe text, the white space around it, and how strong the score is.

use unicode_width::UnicodeWidthStr;

use crate::attribution::ScoredToken;
use crate::text;

/// Blank lines beyond this are no help to a reader.
const MOST_BREAKS: usize = 2;

/// Stands for a token that has nothing to see of its own: the later tokens of a character that took several, or a mark that
/// belongs to the letter before it.
const NOTHING: char = '◌';

/// White space between two units. It is never coloured: a coloured gap would look like a token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gap {
    pub is_space: bool,
    pub breaks: usize,
}

impl Gap {
    fn of(white: &str) -> Self {
        let breaks = white.chars().filter(|c| matches!(c, '\n' | '\u{2028}' | '\u{2029}')).count();
        Self { is_space: !white.is_empty(), breaks: breaks.min(MOST_BREAKS) }
    }
}

/// A unit as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    pub before: Gap,
    /// On one line, made safe, without white space around it.
    pub text: String,
    pub after: Gap,
    /// With the strength, -1 to 1; `None` where the unit was held fixed.
    pub score: Option<Score>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    pub value: f64,
    /// The score as a share of the largest.
    pub strength: f64,
}

/// Units as cells, their strengths as shares of `largest`.
pub fn cells(units: &[ScoredToken], largest: f64) -> Vec<Cell> {
    units.iter().map(|unit| cell(unit, largest)).collect()
}

fn cell(unit: &ScoredToken, largest: f64) -> Cell {
    let score = unit
        .score
        .map(f64::from)
        .map(|value| Score { value, strength: if largest > 0.0 { (value / largest).clamp(-1.0, 1.0) } else { 0.0 } });
    let raw = unit.text.as_str();
    let own = raw.trim();
    if own.is_empty() && !raw.is_empty() && score.is_some() {
        // White space with a score has to be seen.
        let after = Gap { is_space: false, ..Gap::of(raw) };
        return Cell { before: Gap::default(), text: text::line(raw).replace(' ', "␣"), after, score };
    }
    let begin = raw.len() - raw.trim_start().len();
    let mut shown = text::line(own).into_owned();
    if shown.width() == 0 && (score.is_some() || !shown.is_empty()) {
        shown.insert(0, NOTHING);
    }
    let after = if own.is_empty() { Gap::default() } else { Gap::of(&raw[begin + own.len()..]) };
    Cell { before: Gap::of(&raw[..begin]), text: shown, after, score }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rationale::Role;

    fn shown(text: &str, score: Option<f32>) -> (Gap, String, Gap) {
        let unit = ScoredToken { text: text.into(), role: Role::Rationale, score };
        let cell = cell(&unit, 2.0);
        (cell.before, cell.text, cell.after)
    }

    #[test]
    fn white_space_stands_around_a_unit_and_is_seen_where_it_has_a_score() {
        let none = Gap::default();
        let space = Gap { is_space: true, breaks: 0 };
        let line = Gap { is_space: true, breaks: 1 };
        assert_eq!(shown(" gills", Some(1.0)), (space, "gills".into(), none));
        assert_eq!(shown("\nAnswer: ", None), (line, "Answer:".into(), space));
        assert_eq!(shown("\n", None), (line, String::new(), none));
        assert_eq!(shown("\n", Some(0.5)), (none, "␊".into(), Gap { is_space: false, breaks: 1 }));
        assert_eq!(shown("  ", Some(0.5)), (none, "␣␣".into(), none));
    }

    #[test]
    fn what_can_not_be_seen_has_a_sign_and_what_a_terminal_obeys_is_none() {
        assert_eq!(shown("", Some(0.5)).1, "◌");
        assert_eq!(shown("", None).1, "");
        assert_eq!(shown("\u{301}", Some(0.5)).1, "◌\u{301}");
        assert_eq!(shown(" \u{1b}[31m", None).1, "␛[31m");
        assert_eq!(shown("\u{fffd}", Some(0.5)).1, "\u{fffd}");
    }

    #[test]
    fn strengths_are_shares_of_the_largest() {
        let unit = |score| ScoredToken { text: "a".into(), role: Role::Rationale, score: Some(score) };
        let strengths = |largest| -> Vec<f64> {
            cells(&[unit(-1.0), unit(2.0)], largest).iter().map(|cell| cell.score.unwrap().strength).collect()
        };
        assert_eq!(strengths(2.0), [-0.5, 1.0]);
        assert_eq!(strengths(0.0), [0.0, 0.0]);
    }
}
