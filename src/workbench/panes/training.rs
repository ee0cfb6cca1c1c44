//! Loss curves and runs.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{clock, draw_empty, draw_lines, frame_of, glyph, state_style, time_left};
use crate::journal::{EvaluationEvent, StepEvent};
use crate::runs::Run;
use crate::training::Reduction;
use crate::workbench::loupe::UnderCursor;
use crate::workbench::pane::Pane;
use crate::workbench::state::{Curve, State};
use crate::workbench::widgets::chart::{Chart, Series};
use crate::workbench::widgets::flow::{Piece, cut, fit, wrap, wrap_text};

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    let title = format!("{}{}", state.runs.curve.name(), if state.runs.log_scale { ", log" } else { "" });
    let inside = frame_of(frame, area, state, Pane::Training, &title);
    let Some(run) = state.runs.selected() else {
        draw_empty(frame, inside, state, "no run yet · n trains a student on the present recipe · T starts the tour");
        return;
    };
    // The chart has what the list and the numbers leave; a list of one line more than there are runs is no use.
    let numbers = number_lines(state, run, inside.width);
    let height = (numbers.len() as u16).min(inside.height / 2);
    let list = (state.runs.runs.len() as u16).clamp(1, (inside.height / 4).max(2));
    let chart = inside.height.saturating_sub(height + list);
    draw_chart(frame, Rect { height: chart, ..inside }, state, run);
    let below = Rect { y: inside.y + chart, height, ..inside };
    draw_lines(frame, below, numbers, 0);
    let list = Rect { y: below.y + below.height, height: inside.height.saturating_sub(chart + below.height), ..inside };
    draw_list(frame, list, state);
}

/// A curve: its name, its points, and whether there is one for every step.
type Curved = (String, Vec<(f64, f64)>, bool);

/// The curves that are shown.
fn curves(state: &State, run: &Run) -> Vec<Curved> {
    let steps = |value: &dyn Fn(&StepEvent) -> Option<f64>| -> Vec<(f64, f64)> {
        run.history.steps.iter().filter_map(|step| Some((step.step as f64, value(step)?))).collect()
    };
    let evaluations = |value: &dyn Fn(&EvaluationEvent) -> Option<f64>| -> Vec<(f64, f64)> {
        run.history.evaluations.iter().filter_map(|found| Some((found.step as f64, value(found)?))).collect()
    };
    let label = || ("label".to_owned(), steps(&|step| step.loss_label), true);
    let rationale = || ("rationale".to_owned(), steps(&|step| step.loss_rationale), true);
    let total = || ("total".to_owned(), steps(&|step| Some(step.loss)), true);
    match state.runs.curve {
        Curve::All => {
            let mut all = vec![
                label(),
                rationale(),
                ("validation label".into(), evaluations(&|found| found.loss_label), false),
                ("validation rationale".into(), evaluations(&|found| found.loss_rationale), false),
            ];
            // A sum over an example's tokens has another scale than means over tokens.
            if run.spec.training.reduction == Reduction::TokenMean {
                all.push(total());
            }
            all
        }
        Curve::Label => vec![label(), ("validation label".into(), evaluations(&|found| found.loss_label), false)],
        Curve::Rationale => {
            vec![rationale(), ("validation rationale".into(), evaluations(&|found| found.loss_rationale), false)]
        }
        Curve::Total => vec![total(), ("validation".into(), evaluations(&|found| found.loss), false)],
    }
}

fn draw_chart(frame: &mut Frame, area: Rect, state: &State, run: &Run) {
    let theme = &state.theme;
    if run.history.steps.is_empty() {
        let text = match &run.history.progress {
            Some((what, done, total)) => format!("{what}: {done} of {total}"),
            None => format!("{}: no step yet", run.state.name()),
        };
        draw_empty(frame, area, state, &text);
        return;
    }
    let mut series = Vec::new();
    let mut legend: Vec<Piece> = Vec::new();
    let mut end = run.history.steps_planned.max(run.history.step());
    // The selected run is named where there are others beside it; those lie below it.
    let overlaid = |other: &&Run| state.runs.overlaid.contains(&other.id) && other.id != run.id;
    if state.runs.runs.iter().any(|other| overlaid(&other)) {
        legend.push(Piece::new(format!("{}: ", cut(&run.spec.title_with_seed(), 24)), theme.text.style()));
    }
    let mut number = 4;
    let mut others: Vec<Piece> = Vec::new();
    for other in state.runs.runs.iter().filter(overlaid) {
        let Some((name, points, _)) = curves(state, other).into_iter().next() else { continue };
        let style = theme.series(number);
        number += 1;
        others.push(legend_piece('┄', &format!("{}: {name}", cut(&other.spec.title_with_seed(), 24)), style));
        series.push(Series { points, style, with_span: false, is_dashed: true });
        end = end.max(other.history.steps_planned);
    }
    for (place, (name, points, with_span)) in curves(state, run).into_iter().enumerate() {
        if points.is_empty() {
            continue;
        }
        // As far as is known under the cursor, or the newest.
        let cursor = state.loupe.step_of(run).unwrap_or(usize::MAX) as f64;
        let value = points.iter().rev().find(|point| point.0 <= cursor);
        let value = value.map_or_else(String::new, |(_, value)| format!(" {value:.3}"));
        let style = theme.series(place);
        legend.push(legend_piece('─', &format!("{name}{value}"), style));
        series.push(Series { points, style, with_span, is_dashed: false });
    }
    legend.extend(others);
    let chart = Chart {
        series,
        end: end as f64,
        log_scale: state.runs.log_scale,
        axis: theme.chrome.style(),
        unit: "steps",
        cursor: state.loupe.step_of(run).map(|step| (step as f64, theme.accent.style())),
    };
    let legend = wrap(&legend, area.width);
    let height = (legend.len() as u16).min((area.height / 4).max(2));
    draw_lines(frame, Rect { height, ..area }, legend, 0);
    let below = Rect { y: area.y + height, height: area.height.saturating_sub(height), ..area };
    chart.render(below, frame.buffer_mut());
}

/// A curve's name, which no line break parts.
fn legend_piece(line: char, name: &str, style: Style) -> Piece<'static> {
    Piece::new(format!("{line} {name}").replace(' ', "\u{a0}") + "  ", style)
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
fn took(run: &Run) -> Option<String> {
    if !run.history.resumes.is_empty() {
        // It lay still for an unknown time.
        return None;
    }
    let time = |text: &Option<String>| text.as_deref()?.parse::<jiff::Timestamp>().ok();
    let (from, to) = (time(&run.history.created)?, time(&run.history.updated)?);
    Some(clock(to.duration_since(from).as_secs_f64()))
}

/// The runs, newest first.
fn draw_list(frame: &mut Frame, area: Rect, state: &State) {
    let theme = &state.theme;
    let height = usize::from(area.height);
    let total = state.runs.runs.len();
    let place = total.saturating_sub(1).saturating_sub(state.runs.cursor);
    let offset = (place + 1).saturating_sub(height);
    for (line, run) in state.runs.runs.iter().rev().skip(offset).take(height).enumerate() {
        let chosen = state.runs.selected().is_some_and(|selected| selected.id == run.id);
        let base = if chosen { theme.selection.style() } else { theme.text.style() };
        let overlaid = if state.runs.overlaid.contains(&run.id) { "~" } else { " " };
        let accuracy =
            run.history.result().map_or_else(String::new, |result| format!("{:.1} %", result.accuracy * 100.0));
        let progress = match &run.history.progress {
            Some((what, done, total)) if run.state.is_active() => format!("{what} {done}/{total}"),
            _ if run.state.is_active() => format!("{}/{}", run.history.step(), run.history.steps_planned),
            _ => run.state.name().to_owned(),
        };
        let name = run.spec.title_with_seed();
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
