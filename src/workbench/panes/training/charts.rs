//! The curves of the training pane: losses, and beside them another number of the steps where there is room.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::super::{clock, draw_empty, draw_lines};
use crate::curve::{Band, Columns, Points};
use crate::journal::EvaluationEvent;
use crate::runs::Run;
use crate::runs::curves::{Axis, Quantity};
use crate::training::Reduction;
use crate::workbench::charts::{Metric, along, lineage, origin, parts, shown, window};
use crate::workbench::display::Glyphs;
use crate::workbench::state::{Curve, State};
use crate::workbench::widgets::chart::{self, Chart, Series, Sign, Stroke, Unit, ticks};
use crate::workbench::widgets::flow::{Piece, cut, wrap};

/// A curve that a run has.
struct Curved {
    name: &'static str,
    source: Source,
}

/// Where its points come from, and what is shown of them.
#[derive(Clone, Copy)]
enum Source {
    Steps(Quantity, fn(f64) -> f64),
    Evaluations(fn(&EvaluationEvent) -> Option<f64>),
}

fn steps(name: &'static str, quantity: Quantity) -> Curved {
    Curved { name, source: Source::Steps(quantity, |value| value) }
}

fn evaluations(name: &'static str, value: fn(&EvaluationEvent) -> Option<f64>) -> Curved {
    Curved { name, source: Source::Evaluations(value) }
}

/// The losses that are shown.
fn losses(state: &State, run: &Run) -> Vec<Curved> {
    let label = [steps("label", Quantity::Label), evaluations("validation label", |found| found.loss_label)];
    let rationale =
        [steps("rationale", Quantity::Rationale), evaluations("validation rationale", |found| found.loss_rationale)];
    match state.runs.curve {
        Curve::All => {
            let mut all: Vec<Curved> = label.into_iter().chain(rationale).collect();
            all.sort_by_key(|curved| matches!(curved.source, Source::Evaluations(_)));
            // A sum over an example's tokens has another scale than means over tokens.
            if run.spec.training.reduction == Reduction::TokenMean {
                all.push(steps("total", Quantity::Total));
            }
            all
        }
        Curve::Label => label.into(),
        Curve::Rationale => rationale.into(),
        Curve::Total => vec![steps("total", Quantity::Total), evaluations("validation", |found| found.loss)],
    }
}

/// What is shown beside them.
fn metric(of: Metric) -> Vec<Curved> {
    match of {
        Metric::GradientNorm => vec![steps("gradient norm", Quantity::GradientNorm)],
        Metric::LearningRate => vec![steps("learning rate", Quantity::LearningRate)],
        Metric::TokensPerSecond => vec![steps("tokens/s", Quantity::TokensPerSecond)],
        Metric::Accuracy => vec![evaluations("validation", |found| Some(found.accuracy * 100.0))],
        Metric::Perplexity => vec![
            Curved { name: "label", source: Source::Steps(Quantity::Label, f64::exp) },
            evaluations("validation label", |found| found.loss_label.map(f64::exp)),
        ],
    }
}

/// Steps in which a weight of the moving average halves.
pub fn half_life(state: &State, run: &Run) -> Option<f64> {
    state.charts.smoothing.half_life(run.history.steps_planned.max(run.history.step()))
}

/// The points of a curve of a run, up to a step where one is given.
fn points<'a>(
    state: &'a State,
    run: &'a Run,
    source: Source,
    until: Option<usize>,
    half_life: Option<f64>,
) -> Box<dyn Columns + 'a> {
    let along = along(state, run);
    match (source, state.charts.curves(&run.id)) {
        (Source::Steps(quantity, shown), Some(curves)) => {
            let trace = curves.trace(along, quantity, until, half_life);
            Box::new(crate::curve::Trace { shown, ..trace })
        }
        (Source::Steps(..), None) => Box::new(Points(vec![])),
        (Source::Evaluations(value), _) => {
            // The last evaluation may be on a split that was kept for it.
            let own = run.history.evaluations.iter().filter(|found| found.split == run.spec.evaluation.split);
            let own = own.filter(|found| until.is_none_or(|until| found.step <= until));
            Box::new(Points(own.filter_map(|found| Some((along.of_step(found.step), value(found)?))).collect()))
        }
    }
}

/// The same of all runs that differ from it only in their seeds, where they are shown as one; and how many those are.
fn points_of_seeds<'a>(
    state: &'a State,
    run: &'a Run,
    source: Source,
    half_life: Option<f64>,
) -> (Box<dyn Columns + 'a>, usize) {
    let seeds = if state.charts.has_bands { state.charts.seeds(&state.runs.runs, run) } else { vec![] };
    if seeds.len() < 2 {
        return (points(state, run, source, None, half_life), 1);
    }
    let count = seeds.len();
    let all = seeds.into_iter().map(|seed| points(state, seed, source, None, half_life));
    (Box::new(Band(all.collect())), count)
}

/// Draws the losses, and beside them another number where there is room.
pub fn draw(frame: &mut Frame, inside: Rect, area: Rect, state: &State, run: &Run) {
    if run.history.steps.is_empty() {
        let text = match &run.history.progress {
            Some((what, done, total)) => format!("{what}: {done} of {total}"),
            None => format!("{}: no step yet", run.state.name()),
        };
        draw_empty(frame, area, state, &text);
        return;
    }
    let (first, second) = parts(state, inside, area);
    let is_log = state.runs.log_scale;
    draw_one(frame, first, state, run, &losses(state, run), &|other| losses(state, other), is_log);
    if let Some(second) = second {
        let shown = state.charts.metric;
        let is_log = is_log && shown != Metric::Accuracy;
        draw_one(frame, second, state, run, &metric(shown), &|_| metric(shown), is_log);
    }
}

fn draw_one(
    frame: &mut Frame,
    area: Rect,
    state: &State,
    run: &Run,
    curves: &[Curved],
    of_others: &dyn Fn(&Run) -> Vec<Curved>,
    is_log: bool,
) {
    let theme = &state.theme;
    let glyphs = state.display.glyphs();
    let half_life = half_life(state, run);
    let at = state.loupe.step_of(run).map(|step| along(state, run).of_step(step));
    // As far as is known under the cursor, or the newest.
    let reads = at.unwrap_or(f64::MAX);
    let mut series: Vec<Series> = Vec::new();
    let mut legend: Vec<Piece> = Vec::new();
    // Those that the run goes back to end where it begins; they lie below everything.
    for (parent, step) in lineage(state, run) {
        for curved in curves.iter().filter(|curved| matches!(curved.source, Source::Steps(..))) {
            let points = points(state, parent, curved.source, Some(step), half_life);
            series.push(Series {
                points,
                style: theme.chrome.style(),
                stroke: Stroke::Dotted,
                mark: None,
                range: None,
            });
        }
    }
    // The selected run is named where there are others beside it; those lie below it.
    let others: Vec<&Run> = shown(state).skip(1).collect();
    if !others.is_empty() {
        legend.push(Piece::new(format!("{}: ", cut(&run.spec.title_with_seed(), 24)), theme.text.style()));
    }
    let mut of_others_legend: Vec<Piece> = Vec::new();
    let mut seen = vec![run.id.clone()];
    if state.charts.has_bands {
        seen.extend(state.charts.seeds(&state.runs.runs, run).iter().map(|run| run.id.clone()));
    }
    for (number, other) in others.into_iter().enumerate() {
        // With its seeds it is shown already.
        if seen.contains(&other.id) {
            continue;
        }
        let Some(curved) = of_others(other).into_iter().next() else { continue };
        let (points, count) = points_of_seeds(state, other, curved.source, half_life);
        if count > 1 {
            seen.extend(state.charts.seeds(&state.runs.runs, other).iter().map(|run| run.id.clone()));
        }
        let (style, stroke) = (theme.series(number + 4), Stroke::nth(number + 3));
        let title =
            if count > 1 { format!("{}, {count} seeds", other.spec.title()) } else { other.spec.title_with_seed() };
        let name = format!("{}: {}{}", cut(&title, 24), curved.name, read(points.at(reads)));
        of_others_legend.push(piece(stroke.sample(glyphs), None, &name, style));
        let range = (count > 1).then(|| theme.chrome.style());
        series.push(Series { points, style, stroke, mark: mark(&curved, 3, glyphs), range });
    }
    let mut of_steps = 0;
    let mut of_evaluations = 0;
    for (place, curved) in curves.iter().enumerate() {
        let (points, count) = points_of_seeds(state, run, curved.source, half_life);
        let Some(newest) = points.at(f64::MAX) else { continue };
        let value = read(if at.is_some() { points.at(reads) } else { Some(newest) });
        let style = theme.series(place);
        let (stroke, mark, range) = match curved.source {
            Source::Steps(..) => {
                of_steps += 1;
                (Stroke::nth(of_steps - 1), None, Some(theme.chrome.style()))
            }
            Source::Evaluations(_) => {
                of_evaluations += 1;
                (Stroke::Dashed, mark(curved, of_evaluations - 1, glyphs), None)
            }
        };
        let seeds = if count > 1 { format!(", mean and range of {count} seeds") } else { String::new() };
        legend.push(piece(stroke.sample(glyphs), mark, &format!("{}{seeds}{value}", curved.name), style));
        series.push(Series { points, style, stroke, mark, range });
    }
    legend.extend(of_others_legend);
    let unit = match state.charts.axis {
        Axis::Time => Unit::Seconds,
        axis => Unit::Count(axis.name()),
    };
    let chart = Chart {
        series,
        window: window(state),
        unit,
        log_scale: is_log,
        // A loss is read against zero, a part of it for its shape.
        from_zero: state.charts.window.is_none(),
        axis: theme.chrome.style(),
        signs: signs(state, run, usize::from(area.width) / 8),
        cursor: at.map(|at| (at, theme.accent.style())),
        glyphs,
    };
    let legend = wrap(&legend, area.width);
    let height = (legend.len() as u16).min((area.height / 4).max(2));
    draw_lines(frame, Rect { height, ..area }, legend, 0);
    let below = Rect { y: area.y + height, height: area.height.saturating_sub(height), ..area };
    if chart::plot(below).is_some() && chart.series.is_empty() {
        draw_empty(frame, below, state, &format!("{}: none yet · v shows another", state.charts.metric.name()));
        return;
    }
    chart.render(below, frame.buffer_mut());
}

/// The sign of each point of a curve with few of them, another one for each such curve.
fn mark(curved: &Curved, number: usize, glyphs: Glyphs) -> Option<char> {
    let signs = if glyphs == Glyphs::Ascii { ['o', '#', '@', '%'] } else { ['●', '◆', '■', '○'] };
    matches!(curved.source, Source::Evaluations(_)).then(|| signs[number % signs.len()])
}

/// ` 0.412`, or ` –` where the curve has no value yet.
fn read(value: Option<f64>) -> String {
    value.map_or_else(|| " –".into(), |value| format!(" {}", ticks::reading(value)))
}

/// A curve's name, which no line break parts.
fn piece(line: &str, mark: Option<char>, name: &str, style: Style) -> Piece<'static> {
    let mark = mark.map_or_else(String::new, String::from);
    Piece::new(format!("{line}{mark} {name}").replace(' ', "\u{a0}") + "  ", style)
}

/// What happened to a run in the window, at most so many ends of epochs.
fn signs(state: &State, run: &Run, most: usize) -> Vec<(f64, Sign, Style)> {
    let theme = &state.theme;
    let along = along(state, run);
    let (from, to) = window(state);
    let (Some(first), Some(last)) = (along.step_from(from), along.step_before(to.next_up())) else { return vec![] };
    let history = &run.history;
    let mut found: Vec<(usize, Sign)> = Vec::new();
    found.extend(along.epochs(first, last, most).into_iter().map(|step| (step, Sign::Epoch)));
    found.extend(history.checkpoints.range(first..=last.max(first)).map(|(step, _)| (*step, Sign::Checkpoint)));
    let forks = state.runs.runs.iter().filter_map(|other| origin(other).filter(|(id, _)| *id == run.id));
    found.extend(forks.map(|(_, step)| (step, Sign::Fork)));
    found.extend(origin(run).map(|(_, step)| (step, Sign::Origin)));
    // A fork's own beginning is told as such.
    let resumes = history.resumes.iter().filter(|step| origin(run).is_none_or(|(_, own)| own != **step));
    found.extend(resumes.map(|step| (*step, Sign::Resume)));
    found.extend(history.skipped.iter().map(|event| (event.step, Sign::Skipped)));
    let styled = |(step, sign): (usize, Sign)| {
        let style = match sign {
            Sign::Epoch => theme.chrome,
            Sign::Checkpoint | Sign::Fork | Sign::Origin => theme.accent,
            Sign::Resume | Sign::Skipped => theme.warning,
        };
        // The first step of a fork is the one after the checkpoint.
        let at = match (sign, origin(run)) {
            (Sign::Origin, Some((id, _))) => state.runs.find(id).map_or_else(
                || along.of_step(step),
                |parent| crate::workbench::charts::along(state, parent).of_step(step),
            ),
            _ => along.of_step(step),
        };
        (at, sign, style.style())
    };
    found.into_iter().map(styled).collect()
}

/// What the chart shows, for the pane's title: the part of the axis, the smoothing, and the signs in it.
pub fn title(state: &State, run: &Run) -> String {
    let mut title = state.runs.curve.name().to_owned();
    if state.runs.log_scale {
        title.push_str(", log");
    }
    if let Some((from, to)) = state.charts.window {
        let shown = |x: f64| if state.charts.axis == Axis::Time { clock(x) } else { format!("{x:.0}") };
        title.push_str(&format!(" · {} to {}", shown(from), shown(to)));
    }
    if let Some(steps) = half_life(state, run) {
        title.push_str(&format!(" · half life {steps} step{}", if steps == 1.0 { "" } else { "s" }));
    }
    let signs = signs(state, run, 8);
    for sign in Sign::ALL {
        if signs.iter().any(|(_, other, _)| *other == sign) {
            title.push_str(&format!(" · {} {}", sign.glyph(state.display.glyphs()), sign.name()));
        }
    }
    title
}
