//! What each layer of a run's student would say at each token of the selected question.

use std::ops::Range;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{draw_empty, draw_lines, frame_of, run_title};
use crate::attribution::lens::{Cell, Grid, after};
use crate::runs::lenses::Which;
use crate::workbench::command::Command;
use crate::workbench::lens::SeenThrough;
use crate::workbench::pane::Pane;
use crate::workbench::state::State;
use crate::workbench::widgets::flow::{Piece, cut, fit, wrap, wrap_text};

/// Columns of the layers' names, and of a cell: how sure, a token, a mark, and a gap.
const NAME: u16 = 4;
const CELL: u16 = 10;

/// How sure a layer is of what it would say, by eighths.
const SURE: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    let view = &state.lens;
    let title = match &view.looked {
        Some(looked) => format!(
            "{} lens → {} · {}{}",
            looked.which.name(),
            looked.grid.question.label,
            run_title(state, &looked.run),
            if view.is_waiting { " …" } else { "" }
        ),
        None => "lens".into(),
    };
    let inside = frame_of(frame, area, state, Pane::Attribution, &title);
    let inside = Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside };
    match (&view.looked, &view.error) {
        (_, Some(error)) => draw_lines(frame, inside, wrap_text(error, state.theme.bad.style(), inside.width), 0),
        (Some(looked), None) => draw_looked(frame, inside, state, looked),
        (None, None) if view.is_waiting => draw_empty(frame, inside, state, "reading every layer …"),
        (None, None) => draw_empty(
            frame,
            inside,
            state,
            "no student to look into yet · n in the training pane trains one on this data set · L goes back",
        ),
    }
}

fn draw_looked(frame: &mut Frame, area: Rect, state: &State, looked: &SeenThrough) {
    let grid = &looked.grid;
    let theme = &state.theme;
    let mut above = wrap_text(&grid.says(), theme.text.style(), area.width);
    above.truncate(3);
    above.push(Line::default());
    let below = below(state, looked, area.width);
    // The grid keeps a few lines whatever else there is to say.
    let room = usize::from(area.height).saturating_sub(above.len() + 1);
    let height = below.len().min(room.saturating_sub(1 + grid.streams.min(4)));
    let mut lines = above;
    for block in blocks(state, grid, area.width, room - height) {
        lines.extend(block);
        lines.push(Line::default());
    }
    lines.extend(below.into_iter().take(height));
    draw_lines(frame, area, lines, 0);
}

/// The grid around the cursor: as many stretches of tokens as fit into `room` lines with a line between them, or a part of
/// the layers of one stretch where not even that fits.
fn blocks(state: &State, grid: &Grid, width: u16, room: usize) -> Vec<Vec<Line<'static>>> {
    let place = state.lens.place;
    let columns = usize::from(width.saturating_sub(NAME) / CELL).max(1);
    let count = grid.tokens.len();
    let fitting = (room + 1) / (grid.streams + 2);
    if fitting <= 1 {
        let first = place.saturating_sub(columns / 2).min(count.saturating_sub(columns));
        return vec![cells(state, grid, first..(first + columns).min(count), room.saturating_sub(1).min(grid.streams))];
    }
    let all = count.div_ceil(columns);
    let from = (place / columns).saturating_sub(fitting / 2).min(all.saturating_sub(fitting));
    let stretch = |block: usize| block * columns..((block + 1) * columns).min(count);
    (from..(from + fitting).min(all)).map(|block| cells(state, grid, stretch(block), grid.streams)).collect()
}

/// A stretch of tokens, and under each what the layers read after it, the last layer on top.
fn cells(state: &State, grid: &Grid, places: Range<usize>, rows: usize) -> Vec<Line<'static>> {
    let (theme, view) = (&state.theme, &state.lens);
    let lowest = view.stream.saturating_sub(rows / 2).min(grid.streams.saturating_sub(rows));

    // That there is more to either side is said where the names of the layers stand.
    let (before, behind) = (places.start > 0, places.end < grid.tokens.len());
    let more = format!("{}{}", if before { "‹" } else { " " }, if behind { "›" } else { " " });
    let mut head = vec![Span::styled(fit(&more, usize::from(NAME)), theme.chrome.style())];
    for place in places.clone() {
        let is_label = Some(place) == grid.question.place;
        let style = if is_label { theme.accent } else { theme.heading };
        let text = fit(grid.tokens[place].text.trim(), usize::from(CELL) - 2);
        head.push(Span::styled(format!("{text}{} ", if is_label { "→" } else { " " }), style.style()));
    }
    let mut lines = vec![Line::from(head)];
    for stream in (lowest..(lowest + rows).min(grid.streams)).rev() {
        let name = if stream == 0 { "emb".into() } else { format!("{stream:>3}") };
        let mut spans = vec![Span::styled(format!("{name} "), theme.chrome.style())];
        for place in places.clone() {
            let is_under_cursor = (stream, place) == (view.stream, view.place);
            match grid.cell(stream, place) {
                Some(cell) => spans.extend(cell_of(state, grid, cell, is_under_cursor)),
                None => spans.push(Span::raw(" ".repeat(usize::from(CELL)))),
            }
        }
        lines.push(Line::from(spans));
    }
    lines
}

fn cell_of(state: &State, grid: &Grid, cell: &Cell, is_under_cursor: bool) -> [Span<'static>; 4] {
    let theme = &state.theme;
    let (word, p) = cell.top.first().map_or(("", 0.0), |(id, p)| (grid.word(*id), f64::from(*p)));
    // Without colours a strong score looks much like the cursor; how sure the cell is stands below.
    let (sign, signed, style) = if is_under_cursor {
        ("▸", theme.accent, theme.cursor.style())
    } else {
        (sure(p), theme.chrome, theme.score(p))
    };
    let (mark, marked) = mark(state, cell);
    [
        Span::styled(sign, signed.style()),
        Span::styled(fit(word, usize::from(CELL) - 3), style),
        Span::styled(mark, marked),
        Span::raw(" "),
    ]
}

fn sure(p: f64) -> &'static str {
    SURE[((p * 8.0).ceil() as usize).min(SURE.len() - 1)]
}

/// Whether the label is what the layer would say, or what it would choose.
fn mark(state: &State, cell: &Cell) -> (&'static str, Style) {
    match (cell.rank, cell.reads_label()) {
        (1, _) => ("◆", state.theme.good.style()),
        (_, true) => ("•", state.theme.good.style()),
        _ => (" ", Style::default()),
    }
}

/// The cell under the cursor, and what the signs mean.
fn below(state: &State, looked: &SeenThrough, width: u16) -> Vec<Line<'static>> {
    let (theme, view, grid) = (&state.theme, &state.lens, &looked.grid);
    let mut lines = Vec::new();
    if let (Some(cell), Some(token)) = (grid.cell(view.stream, view.place), grid.tokens.get(view.place)) {
        let token = cut(token.text.trim(), 16);
        let mut pieces = vec![Piece::new(
            format!("{}, after `{token}` (token {}):  ", after(view.stream), view.place),
            theme.chrome.style(),
        )];
        for (id, p) in &cell.top {
            // A token and its probability are never parted by a line break.
            pieces.push(Piece::new(cut(grid.word(*id), 16).replace(' ', "\u{a0}"), theme.score(f64::from(*p))));
            pieces.push(Piece::new(format!("\u{a0}{p:.3}"), theme.text.style()));
            pieces.push(Piece::new("  ", theme.text.style()));
        }
        lines.extend(wrap(&pieces, width));
        let label = cut(&grid.question.label, 24);
        let first = if grid.question.label_tokens > 1 { ", its first token" } else { "" };
        let text = format!(
            "label {label}{first}: p {:.4}, rank {}; among the choices p {:.3}, rank {}",
            cell.probability, cell.rank, cell.choice_probability, cell.choice_rank
        );
        lines.extend(wrap_text(&text, theme.text.style(), width));
    }
    let key = |command| state.keymap.keys(Pane::Attribution, command).first().copied().unwrap_or_default().to_owned();
    let next = match (looked.which, looked.has_tuned) {
        (Which::Logit, true) => format!("{} tuned lens", key(Command::NextLens)),
        (Which::Logit, false) => {
            format!("{} trains a tuned lens · {} back", key(Command::TrainLens), key(Command::NextLens))
        }
        _ => format!("{} back", key(Command::NextLens)),
    };
    let legend = format!("◆ the label is likeliest  • so among the choices  → written here · hjkl cell · {next}");
    lines.extend(wrap_text(&legend, theme.chrome.style(), width));
    lines
}
