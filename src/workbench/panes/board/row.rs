//! One row of the board: its runs, seed by seed.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::{draw_lines, frame_of};
use super::cells::{self, Standing, standing};
use super::{facts, in_full, p_value, points, range, ruled};
use crate::journal::RunState;
use crate::studies::table::Seeded;
use crate::workbench::pane::Pane;
use crate::workbench::state::State;
use crate::workbench::widgets::flow::{cut, fit, wrap_text};

pub fn draw(frame: &mut Frame, area: Rect, state: &State, run: usize) {
    let Some((section, _, row)) = state.board.selected() else { return };
    let title = format!("{} · {} · {} · {}", row.condition, section.dataset, section.student, section.split);
    let inside = frame_of(frame, area, state, Pane::Board, &title);
    let theme = &state.theme;
    let width = usize::from(inside.width);
    let mut below = Vec::new();
    let mut add = |text: &str, style| below.extend(wrap_text(text, style, inside.width.saturating_sub(2)));
    add(&format!("{}: {}", row.condition, row.about), theme.text.style());
    if let Some(against) = &row.against {
        add(&in_full(against), theme.text.style());
    }
    add(&facts(state, row), theme.chrome.style());
    if let Some(cell) = row.runs.get(run) {
        let found = standing(state, cell);
        let reason = match &found {
            Standing::Run(run) => run.history.reason.clone(),
            _ => cell.reason.clone(),
        };
        let id = cell.run.as_deref().unwrap_or("no run yet");
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        add(&format!("{} · {id} · {}{reason}", cell.cell, found.name()), theme.chrome.style());
    }
    add("Enter shows the curves of all these runs · d the questions · Esc goes back", theme.chrome.style());
    let height = (below.len() as u16 + 1).min(inside.height * 3 / 5);
    let table = Rect { height: inside.height - height, ..inside };

    // Other draws of a data set are told apart by its name.
    let has_draws = row.runs.iter().any(|cell| cell.dataset != section.dataset);
    let named = |cell: &Seeded| match has_draws {
        true => format!("{} · {}", cell.dataset, cell.seed),
        false => cell.seed.clone(),
    };
    let seed = row.runs.iter().map(|cell| named(cell).chars().count()).max().unwrap_or(0).clamp(6, 28) + 2;
    let what = width.saturating_sub(5 + seed + 8 + 16 + 12 + 12).clamp(12, 44);
    let is_short = what < 30;
    let head = format!(
        "     {}{}{:>8}{:>16}{:>12}{:>12}",
        fit("run", seed),
        fit("", what),
        "accuracy",
        "95 %",
        "McNemar p",
        "unparsable"
    );
    frame.render_widget(Line::styled(cut(&head, width), theme.chrome.style()), Rect { height: 1, ..table });
    let mut lines = Vec::new();
    for (place, cell) in row.runs.iter().enumerate() {
        let chosen = place == run;
        let base = if chosen { theme.selection.style() } else { theme.text.style() };
        let dim = base.patch(theme.chrome.style());
        let found = standing(state, cell);
        let says = match &found {
            Standing::Run(run) if run.state.is_active() => cells::progress(run, is_short),
            other => other.name().to_owned(),
        };
        let unparsable = match (found.state(), cell.examples) {
            (Some(RunState::Finished), examples @ 1..) => {
                format!("{} %", points(cell.unparsable as f64 / examples as f64))
            }
            _ => String::new(),
        };
        lines.push(Line::from(vec![
            Span::styled(if chosen { " ▸ " } else { "   " }, base),
            Span::styled(format!("{} ", found.sign()), base.patch(found.style(state))),
            Span::styled(fit(&named(cell), seed), base),
            Span::styled(fit(&says, what), base),
            Span::styled(format!("{:>8}", cell.accuracy.map(points).unwrap_or_default()), base),
            Span::styled(format!("{:>16}", cell.interval.map(range).unwrap_or_default()), dim),
            Span::styled(format!("{:>12}", cell.mcnemar.map(p_value).unwrap_or_default()), dim),
            Span::styled(format!("{unparsable:>12}"), dim),
        ]));
    }
    let rows = Rect { y: table.y + 1, height: table.height.saturating_sub(1), ..table };
    let scroll = (run + 1).saturating_sub(usize::from(rows.height));
    draw_lines(frame, rows, lines, scroll);
    let below_table = Rect { y: table.y + table.height, height, ..inside };
    let below_table = ruled(frame, below_table, state);
    draw_lines(frame, below_table, below, 0);
}
