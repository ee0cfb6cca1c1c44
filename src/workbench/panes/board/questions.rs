//! The very questions on which two rows disagree.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::{draw_empty, draw_lines, frame_of};
use super::{ruled, runs_of};
use crate::studies::disagree::{Disagreements, Question, Said};
use crate::workbench::board::QuestionsView;
use crate::workbench::pane::Pane;
use crate::workbench::state::State;
use crate::workbench::widgets::flow::{cut, fit, wrap_text};

pub fn draw(frame: &mut Frame, area: Rect, state: &State, view: &QuestionsView) {
    let title = format!("{} against {}", view.one, view.other);
    let inside = frame_of(frame, area, state, Pane::Board, &title);
    let found = match &view.found {
        None => return draw_empty(frame, inside, state, "reading the answers …"),
        Some(Err(error)) => {
            draw_lines(frame, inside, wrap_text(error, state.theme.bad.style(), inside.width), 0);
            return;
        }
        Some(Ok(found)) => found,
    };
    if found.asked == 0 {
        draw_empty(frame, inside, state, "no finished runs of both were asked the same questions yet · Esc goes back");
        return;
    }
    let theme = &state.theme;
    let says = format!(
        " {} of {} questions: {} won, {} lost, the clearest first · {}",
        found.questions.len(),
        found.asked,
        found.won,
        found.lost,
        runs_of(found.runs)
    );
    frame.render_widget(
        Line::styled(cut(&says, usize::from(inside.width)), theme.text.style()),
        Rect { height: 1, ..inside },
    );
    let below = 5.min(inside.height / 3);
    let list = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1 + below), ..inside };
    draw_list(frame, list, state, view, found);
    let selected = Rect { y: list.y + list.height, height: below, ..inside };
    draw_selected(frame, selected, state, view);
}

fn draw_list(frame: &mut Frame, area: Rect, state: &State, view: &QuestionsView, found: &Disagreements) {
    let theme = &state.theme;
    let width = usize::from(area.width);
    let said = if width >= 120 { 24 } else { 11 };
    let id = if width >= 120 { 16 } else { 9 };
    let question = width.saturating_sub(4 + id + 1 + 2 * (said + 1) + 8 + 1);
    let head =
        format!("    {} {} {} {:<8} question", fit("id", id), fit(&found.one, said), fit(&found.other, said), "right");
    frame.render_widget(Line::styled(cut(&head, width), theme.chrome.style()), Rect { height: 1, ..area });
    let rows = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let height = usize::from(rows.height);
    // The cursor stays in the middle, as long as there is something before and after.
    let offset = view.cursor.saturating_sub(height / 2).min(found.questions.len().saturating_sub(height));
    for (line, (place, own)) in found.questions.iter().enumerate().skip(offset).take(height).enumerate() {
        let chosen = place == view.cursor;
        let base = if chosen { theme.selection.style() } else { theme.text.style() };
        let dim = base.patch(theme.chrome.style());
        let (sign, style) = if own.is_won() { ("+ ", theme.good) } else { ("- ", theme.bad) };
        let line_of = Line::from(vec![
            Span::styled(if chosen { "▸ " } else { "  " }, base),
            Span::styled(sign, base.patch(style.style())),
            Span::styled(format!("{} ", fit(&own.id, id)), dim),
            Span::styled(format!("{} ", fit(&shown(&own.one), said)), base),
            Span::styled(format!("{} ", fit(&shown(&own.other), said)), base),
            Span::styled(format!("{} ", fit(&own.answer, 8)), base),
            Span::styled(fit(own.question.as_deref().unwrap_or("not in the data set any more"), question), base),
        ]);
        frame.render_widget(line_of, Rect { y: rows.y + line as u16, height: 1, ..rows });
    }
    if found.questions.is_empty() {
        draw_empty(frame, rows, state, "they agree on every question · Esc goes back");
    }
}

/// `3/5 B`: how many runs were right, and what most of them said.
fn shown(said: &Said) -> String {
    format!("{}/{} {}", said.right, said.asked, said.label.as_deref().unwrap_or("–"))
}

fn draw_selected(frame: &mut Frame, area: Rect, state: &State, view: &QuestionsView) {
    let Some(own) = view.questions().get(view.cursor) else { return };
    let theme = &state.theme;
    let area = ruled(frame, area, state);
    let Question { id, dataset, question, answer, .. } = own;
    let says = |name: &str, said: &Said| {
        let label = said.label.as_deref().unwrap_or("no label");
        if said.asked == 1 {
            return format!("{name}: {label}");
        }
        format!("{name}: {} of {} right, mostly {label}", said.right, said.asked)
    };
    let text = format!(
        "{} of {}: {}",
        view.cursor + 1,
        view.questions().len(),
        question.as_deref().unwrap_or("not in the data set any more")
    );
    let mut lines = wrap_text(&text, theme.text.style(), area.width);
    lines.truncate(2);
    let text = format!(
        "right: {answer} · {} · {} · {id} of {dataset} · Enter shows it in the data pane",
        says(&view.one, &own.one),
        says(&view.other, &own.other)
    );
    lines.extend(wrap_text(&text, theme.chrome.style(), area.width));
    draw_lines(frame, area, lines, 0);
}
