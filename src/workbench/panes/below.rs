//! Below the table of questions: a histogram, or the same question in another data set.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::data::grouped;
use super::{draw_empty, draw_lines};
use crate::corpus::counterpart::Counterpart;
use crate::corpus::difference::Word;
use crate::corpus::filter::Field;
use crate::corpus::histogram::Histogram;
use crate::workbench::browse::Beside;
use crate::workbench::state::State;
use crate::workbench::widgets::bars::{self, Bar};
use crate::workbench::widgets::flow::{Piece, cut, fit, wrap};

pub fn draw_histogram(frame: &mut Frame, area: Rect, state: &State, field: &Field, found: Option<&Histogram>) {
    let theme = &state.theme;
    let Some(found) = found else {
        draw_empty(frame, area, state, &format!("counting {field} …"));
        return;
    };
    let width = usize::from(area.width).saturating_sub(2);
    let of = if state.data.meaning.is_empty() { "" } else { " that match" };
    let missing = if found.missing > 0 { format!(" · {} have none", grouped(found.missing)) } else { String::new() };
    let mut lines = vec![Line::styled(
        cut(&format!("{field} · {} questions{of}{missing} · Esc closes", grouped(found.rows)), width),
        theme.heading.style(),
    )];
    if let Some(numbers) = &found.numbers {
        lines.push(Line::styled(cut(&bars::summary(numbers), width), theme.text.style()));
    }
    let room = usize::from(area.height).saturating_sub(lines.len());
    for Bar { label, bar, count } in bars::of(found, width, room) {
        lines.push(Line::from(vec![
            Span::styled(format!("{label} "), theme.chrome.style()),
            Span::styled(bar, theme.series(0)),
            Span::styled(format!(" {count}"), theme.text.style()),
        ]));
    }
    if found.rows == 0 {
        lines.push(Line::styled("no question has a value", theme.chrome.style()));
    }
    let inside = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    draw_lines(frame, inside, lines, 0);
}

pub fn draw_beside(frame: &mut Frame, area: Rect, state: &State, other: &str, found: &Beside) {
    let Some(selected) = &state.data.selected else {
        draw_empty(frame, area, state, "no question is selected");
        return;
    };
    let found = match found {
        Beside::Asked => return draw_empty(frame, area, state, &format!("looking in {other} …")),
        Beside::Missing => {
            let text = format!("{other} has no question with this id, and none with these words · Esc closes");
            return draw_empty(frame, area, state, &text);
        }
        Beside::Found(found) => found,
    };
    let theme = &state.theme;
    let half = area.width.saturating_sub(3) / 2;
    let how = if found.by_id { "same id" } else { "same words, another id" };
    let other_name = format!("{}/{} · {} ({how})", found.dataset, found.split, found.example.id);
    let own_name = format!("{} · {} · Esc closes", state.draft.dataset, selected.example.id);
    let own = side(state, half, &own_name, &selected.example, found, true);
    let others = side(state, half, &other_name, &found.example, found, false);
    let scroll = state.data.scroll;
    let left = Rect { x: area.x + 1, width: half, ..area };
    let right = Rect { x: area.x + 2 + half, width: half, ..area };
    // Both are as long, so that they scroll together.
    let longest = own.len().max(others.len());
    let filled = |mut lines: Vec<Line<'static>>| {
        lines.resize(longest, Line::default());
        lines
    };
    draw_lines(frame, left, filled(own), scroll);
    draw_lines(frame, right, filled(others), scroll);
    for y in area.y..area.bottom() {
        let rule = Rect { x: area.x + 1 + half, y, width: 1, height: 1 };
        frame.render_widget(Line::styled("│", theme.chrome.style()), rule);
    }
}

/// One of the two questions, with the words that the other lacks marked.
fn side(
    state: &State,
    width: u16,
    name: &str,
    example: &crate::corpus::Example,
    found: &Counterpart,
    is_own: bool,
) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let sign = if is_own { "−" } else { "+" };
    let marked = (if is_own { theme.bad.style() } else { theme.good.style() }).add_modifier(Modifier::UNDERLINED);
    let words = |words: &[Word]| {
        let piece = |(place, word): (usize, &Word)| {
            let gap = if place > 0 { " " } else { "" };
            let (sign, style) = if word.is_own { (sign, marked) } else { ("", theme.text.style()) };
            Piece::new(format!("{gap}{sign}{}", word.text), style)
        };
        wrap(&words.iter().enumerate().map(piece).collect::<Vec<_>>(), width)
    };
    let pick = |pair: &(Vec<Word>, Vec<Word>)| if is_own { words(&pair.0) } else { words(&pair.1) };
    let mut lines = vec![Line::styled(cut(name, usize::from(width)), theme.heading.style())];
    lines.extend(pick(&found.question));
    for choice in &example.choices {
        let gold = example.answer.as_deref() == Some(choice.label.as_str());
        let style = if gold { theme.good.style() } else { theme.text.style() };
        let text = format!("{} {}{}", choice.label, choice.text, if gold { " ✓" } else { "" });
        lines.push(Line::styled(cut(&text, usize::from(width)), style));
    }
    if example.answer.is_none() {
        lines.push(Line::styled("no answer", theme.chrome.style()));
    }
    if example.has_rationale() {
        lines.push(Line::styled(fit("rationale", usize::from(width).min("rationale".width())), theme.chrome.style()));
        lines.extend(pick(&found.rationale));
    } else {
        lines.push(Line::styled("no rationale", theme.chrome.style()));
    }
    lines
}
