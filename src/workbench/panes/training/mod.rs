//! Curves and runs.

mod charts;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{clock, draw_empty, draw_lines, frame_of, glyph, state_style, time_left};
use crate::journal::StepEvent;
use crate::runs::Run;
use crate::training::Reduction;
use crate::workbench::charts::origin;
use crate::workbench::layout;
use crate::workbench::loupe::UnderCursor;
use crate::workbench::pane::Pane;
use crate::workbench::state::State;
use crate::workbench::widgets::flow::{Piece, cut, fit, wrap, wrap_text};

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    let title = state.runs.selected().map_or_else(String::new, |run| charts::title(state, run));
    let inside = frame_of(frame, area, state, Pane::Training, &title);
    let Some(run) = state.runs.selected() else {
        draw_empty(frame, inside, state, "no run yet · n trains a student on the present recipe · T starts the tour");
        return;
    };
    // The chart has what the list and the numbers leave.
    let numbers = number_lines(state, run, inside.width);
    let height = (numbers.len() as u16).min(inside.height / 2);
    let list = layout::runs_height(state, inside.height);
    let chart = inside.height.saturating_sub(height + list);
    charts::draw(frame, inside, Rect { height: chart, ..inside }, state, run);
    let below = Rect { y: inside.y + chart, height, ..inside };
    draw_lines(frame, below, numbers, 0);
    let list = Rect { y: below.y + below.height, height: inside.height.saturating_sub(chart + below.height), ..inside };
    draw_list(frame, list, state);
}

/// Learning rate, gradient norm, speed, time left; the accuracies so far; what went wrong, or what is worth knowing.
fn number_lines(state: &State, run: &Run, width: u16) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let history = &run.history;
    let mut lines = Vec::new();
    let mut pieces: Vec<Piece> = Vec::new();
    // A name and its value are never parted by a line break.
    let mut add = |name: &str, value: String| {
        pieces.push(Piece::new(format!(" {name}\u{a0}"), theme.chrome.style()));
        pieces.push(Piece::new(value.replace(' ', "\u{a0}"), theme.text.style()));
    };
    // The toy's loss is a weighted sum over an example, which its parts, being means over tokens, don't add up to.
    let name = if run.spec.training.reduction == Reduction::ExampleSum { "loss/example" } else { "loss" };
    let mut add_step = |mark: &str, step: &StepEvent| {
        add(mark, format!("{:>4}/{}", step.step, history.steps_planned));
        add(name, format!("{:>6.3}", step.loss));
        add("lr", format!("{:.1e}", step.learning_rate));
        add("‖g‖", format!("{:>5.2}", step.gradient_norm));
    };
    if let Some(UnderCursor::Skipped(skipped)) = state.loupe.under_cursor(run) {
        let text = format!(" ▲ step {} was skipped: its {} was no number", skipped.step, skipped.what);
        lines.extend(wrap_text(&text, theme.warning.style(), width));
    } else if let Some(UnderCursor::Step(step)) = state.loupe.under_cursor(run) {
        add_step("▲\u{a0}step", step);
        if let Some((number, count, spike)) = state.loupe.spike_of(run) {
            let usual = spike.median.map_or_else(String::new, |median| format!(", before it {median:.3}"));
            add("spike", format!("{number} of {count}{usual}"));
        }
        lines.extend(wrap(&pieces, width));
    } else if let Some(step) = history.steps.last() {
        add_step("step", step);
        add("tok/s", format!("{:>6}", speed(step.tokens_per_second)));
        if run.state.is_active() {
            add("left", time_left(run).unwrap_or_else(|| "–".into()));
        } else if let Some(took) = took(run) {
            add("took", took);
        }
        lines.extend(wrap(&pieces, width));
    }
    lines.push(accuracy_line(state, run, usize::from(width)));
    match &history.reason {
        Some(reason) => lines.extend(wrap_text(&format!(" {reason}"), theme.warning.style(), width)),
        // What was left out or stands alone is worth knowing before the result is.
        None if !history.notes.is_empty() => {
            let text = format!(" {}", history.notes.join(" · "));
            lines.extend(wrap_text(&text, theme.warning.style(), width).into_iter().take(3));
        }
        None => {}
    }
    lines
}

/// The latest accuracies, as many as fit.
fn accuracy_line(state: &State, run: &Run, width: usize) -> Line<'static> {
    let theme = &state.theme;
    let mut groups: Vec<[Span; 2]> = Vec::new();
    let mut used = 7;
    for found in run.history.evaluations.iter().rev() {
        let style = if found.last { theme.good.style() } else { theme.text.style() };
        let split = if found.split == run.spec.evaluation.split { String::new() } else { format!(" {}", found.split) };
        let group = [
            Span::styled(format!("{:.1} %", found.accuracy * 100.0), style),
            Span::styled(format!("{split} at {}  ", found.step), theme.chrome.style()),
        ];
        used += group[0].width() + group[1].width();
        if used > width + 2 {
            break;
        }
        groups.push(group);
    }
    let mut spans = vec![Span::styled(" right ", theme.chrome.style())];
    if groups.is_empty() {
        spans.push(Span::styled("– not asked yet", theme.chrome.style()));
    }
    spans.extend(groups.into_iter().rev().flatten());
    Line::from(spans)
}

/// `8.1k`.
fn speed(tokens: f64) -> String {
    if tokens >= 1000.0 { format!("{:.1}k", tokens / 1000.0) } else { format!("{tokens:.0}") }
}

/// How long a run took, as far as its journal tells.
pub(super) fn took(run: &Run) -> Option<String> {
    if !run.history.resumes.is_empty() {
        // It lay still for an unknown time.
        return None;
    }
    let time = |text: &Option<String>| text.as_deref()?.parse::<jiff::Timestamp>().ok();
    let (from, to) = (time(&run.history.created)?, time(&run.history.updated)?);
    Some(clock(to.duration_since(from).as_secs_f64()))
}

/// The runs, newest first, forks under the runs that they left.
fn draw_list(frame: &mut Frame, area: Rect, state: &State) {
    let theme = &state.theme;
    let height = usize::from(area.height);
    let listed = state.runs.listed();
    let cursor = listed.iter().position(|(place, _)| *place == state.runs.cursor).unwrap_or(0);
    let offset = layout::runs_offset(cursor, area.height);
    for (line, (place, depth)) in listed.into_iter().skip(offset).take(height).enumerate() {
        let Some(run) = state.runs.runs.get(place) else { continue };
        let chosen = place == state.runs.cursor;
        let base = if chosen { theme.selection.style() } else { theme.text.style() };
        let overlaid = if state.runs.overlaid.contains(&run.id) { "~" } else { " " };
        let accuracy =
            run.history.result().map_or_else(String::new, |result| format!("{:.1} %", result.accuracy * 100.0));
        let progress = match &run.history.progress {
            Some((what, done, total)) if run.state.is_active() => format!("{what} {done}/{total}"),
            _ if run.state.is_active() => format!("{}/{}", run.history.step(), run.history.steps_planned),
            _ => run.state.name().to_owned(),
        };
        let name = name_in_list(state, run, depth);
        let progress_width = if area.width >= 70 { 24 } else { 16 };
        let room = usize::from(area.width).saturating_sub(14 + progress_width);
        let about = match room {
            60.. => format!("{name} · {} · {}", run.spec.dataset, run.id),
            _ if run.spec.dataset == state.draft.dataset => name,
            _ => format!("{name} · {}", run.spec.dataset),
        };
        let spans = vec![
            Span::styled(if chosen { "▸" } else { " " }, base),
            Span::styled(overlaid, base),
            Span::styled(format!("{} ", glyph(run.state)), base.patch(state_style(state, run.state))),
            Span::styled(fit(&about, room), base),
            Span::styled(format!(" {:>progress_width$} {accuracy:>8}", cut(&progress, progress_width)), base),
        ];
        frame.render_widget(Line::from(spans), Rect { y: area.y + line as u16, height: 1, ..area });
    }
}

/// A run's title; for a fork, under the run that it left, with the step and what is another there.
fn name_in_list(state: &State, run: &Run, depth: usize) -> String {
    let own = run.spec.title_with_seed();
    let Some((id, step)) = origin(run) else { return own };
    let Some(parent) = state.runs.find(id) else { return format!("fork of {id} @{step} · {own}") };
    let of = parent.spec.title_with_seed();
    let known: Vec<&str> = of.split(", ").collect();
    let new: Vec<&str> = own.split(", ").filter(|part| !known.contains(part)).collect();
    let changed = if new.is_empty() { String::new() } else { format!(" · {}", new.join(", ")) };
    format!("{}└ fork of {of} @{step}{changed}", "  ".repeat(depth.saturating_sub(1)))
}
