//! The conditions that were run, one row each.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::{draw_empty, draw_lines, frame_of, glyph, state_style};
use crate::journal::RunState;
use crate::runs::board::BoardRow;
use crate::workbench::pane::Pane;
use crate::workbench::state::State;
use crate::workbench::widgets::flow::{cut, fit, wrap_text};

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    let finished = state.board.rows.iter().filter(|row| row.accuracy.is_some()).count();
    let title = match state.board.rows.len() {
        1 => format!("1 condition, {finished} with a result"),
        more => format!("{more} conditions, {finished} with a result"),
    };
    let inside = frame_of(frame, area, state, Pane::Board, &title);
    if state.board.rows.is_empty() {
        let text = "nothing to compare yet · T starts the tour: the paper's three findings on the toy world";
        draw_empty(frame, inside, state, text);
        return;
    }
    // What the selected row shows, in full, below the table. On a narrow screen the rows themselves say it in full.
    let below = if is_narrow(inside.width) { 2 } else { 4.min(inside.height / 4) };
    let table = Rect { height: inside.height - below, ..inside };
    draw_table(frame, table, state);
    draw_selected(frame, Rect { y: table.y + table.height, height: below, ..inside }, state);
}

fn draw_table(frame: &mut Frame, area: Rect, state: &State) {
    let mut lines: Vec<Line> = Vec::new();
    let mut cursor_line = 0;
    let mut about = String::new();
    for (place, row) in state.board.rows.iter().enumerate() {
        let heading = format!("{} · {} · {}", row.dataset, row.student, row.split);
        if heading != about {
            if !about.is_empty() {
                lines.push(Line::default());
            }
            lines.push(Line::styled(format!(" {heading}"), state.theme.heading.style()));
            about = heading;
        }
        if place == state.board.cursor {
            cursor_line = lines.len();
        }
        lines.push(row_line(state, row, place == state.board.cursor, usize::from(area.width)));
        if is_narrow(area.width) {
            let mut text = what_now(state, row);
            if text.width() + 5 > usize::from(area.width) {
                text = without_brackets(&text);
            }
            let text = cut(&format!("     {text}"), usize::from(area.width));
            lines.push(Line::styled(text, state.theme.chrome.style()));
        }
    }
    let scroll = (cursor_line + 2).saturating_sub(usize::from(area.height));
    draw_lines(frame, area, lines, scroll);
}

/// Too narrow for a row's sentence beside its numbers.
fn is_narrow(width: u16) -> bool {
    width < 120
}

/// What a row shows, or how far its run is.
fn what_now(state: &State, row: &BoardRow) -> String {
    let run = row.runs.iter().filter_map(|cell| state.runs.find(&cell.id)).find(|run| run.state.is_active());
    let Some(run) = run else { return row.shows.clone() };
    let history = &run.history;
    match &history.progress {
        Some((what, done, total)) => format!("{what} {done}/{total}"),
        None if run.state == RunState::Queued => "waiting for a core".into(),
        None if history.steps_planned == 0 => "preparing".into(),
        None => {
            let so_far = history.evaluations.last().map(|found| format!(", so far {:.1} %", found.accuracy * 100.0));
            format!("step {} of {}{}", history.step(), history.steps_planned, so_far.unwrap_or_default())
        }
    }
}

fn row_line(state: &State, row: &BoardRow, chosen: bool, width: usize) -> Line<'static> {
    let theme = &state.theme;
    let base = if chosen { theme.selection.style() } else { theme.text.style() };
    let name = if is_narrow(width as u16) { 24 } else { 28 };
    let bar = if width >= 110 { 12 } else { 6 };
    let mut spans =
        vec![Span::styled(if chosen { " ▸ " } else { "   " }, base), Span::styled(fit(&row.condition, name), base)];
    // Runs move faster than the board is made; the journals know best.
    let now: Vec<_> = row.runs.iter().filter_map(|cell| state.runs.find(&cell.id)).collect();
    let active = now.iter().find(|run| run.state.is_active());
    match row.accuracy {
        Some(accuracy) => {
            let deviation = row.deviation.map_or_else(String::new, |deviation| format!(" ±{:>4.1}", deviation * 100.0));
            spans.push(Span::styled(format!(" {:>5.1}{deviation:<6}", accuracy * 100.0), base));
            spans.push(Span::styled(format!("▕{}", bar_of(accuracy, bar)), base.patch(theme.accent.style())));
            let interval = row
                .interval
                .map_or_else(String::new, |(low, high)| format!("[{:.0}, {:.0}]", low * 100.0, high * 100.0));
            spans.push(Span::styled(format!(" {interval:<9}"), base.patch(theme.chrome.style())));
        }
        None => {
            spans.push(Span::styled("     –", base.patch(theme.chrome.style())));
            spans.push(Span::styled(fit("", bar + 16), base));
        }
    }
    let state_of = active.map(|run| run.state).or_else(|| row.runs.last().map(|cell| cell.state));
    let run_state = state_of.unwrap_or(RunState::Queued);
    let done = row.runs.iter().filter(|cell| cell.state == RunState::Finished).count();
    let runs = if row.runs.len() > 1 { format!("{done}/{} ", row.runs.len()) } else { String::new() };
    spans.push(Span::styled(format!(" {} {runs}", glyph(run_state)), base.patch(state_style(state, run_state))));
    let used: usize = spans.iter().map(Span::width).sum();
    let text = if is_narrow(width as u16) { String::new() } else { what_now(state, row) };
    spans.push(Span::styled(fit(&text, width.saturating_sub(used)), base));
    Line::from(spans)
}

/// A sentence without its numbers in brackets, where it is too long with them.
fn without_brackets(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(" (") {
        out.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    out + rest
}

/// A bar of eighths.
fn bar_of(share: f64, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (share.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    let mut bar: String = "█".repeat(eighths / 8);
    if eighths / 8 < width {
        bar.push(EIGHTHS[eighths % 8]);
    }
    fit(&bar, width)
}

/// What the selected row shows, in full.
fn draw_selected(frame: &mut Frame, area: Rect, state: &State) {
    let Some(row) = state.board.rows.get(state.board.cursor) else { return };
    let theme = &state.theme;
    let mut lines = vec![Line::styled("─".repeat(usize::from(area.width)), theme.chrome.style())];
    if !is_narrow(area.width) {
        lines.extend(wrap_text(&format!(" {}: {}", row.condition, row.shows), theme.text.style(), area.width));
    }
    let mut facts: Vec<String> = Vec::new();
    for difference in row.against_none.iter().chain(&row.against_plain) {
        let p = match difference.p {
            Some(p) if p < 0.001 => ", p < 0.001".into(),
            Some(p) => format!(", p {p:.3}"),
            None => String::new(),
        };
        facts.push(format!("vs {} {}{p}", difference.to, difference.points()));
    }
    if row.runs.len() == 1 && row.accuracy.is_some() {
        facts.push("one run: another seed may differ".into());
    }
    lines.push(Line::styled(cut(&format!(" {}", facts.join(" · ")), usize::from(area.width)), theme.chrome.style()));
    draw_lines(frame, area, lines, 0);
}

#[cfg(test)]
mod tests {
    use super::{bar_of, without_brackets};

    #[test]
    fn a_long_sentence_loses_its_numbers_first() {
        let text = "22 points above none; can't be told from post (-2.0 [-4, +0])";
        assert_eq!(without_brackets(text), "22 points above none; can't be told from post");
        assert_eq!(without_brackets("no numbers"), "no numbers");
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar_of(0.0, 4), "    ");
        assert_eq!(bar_of(0.5, 4), "██  ");
        assert_eq!(bar_of(1.0, 4), "████");
        assert_eq!(bar_of(0.28125, 4), "█▏  ");
    }
}
