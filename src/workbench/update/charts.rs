//! The charts of the training pane: what is shown along which axis, near or far; and forks from a point of a curve.

use super::runs;
use crate::curve::edge;
use crate::runs::{Run, RunSpec};
use crate::workbench::charts::{along, columns, whole, window};
use crate::workbench::command::Command;
use crate::workbench::message::{Effect, External, ForkPoint};
use crate::workbench::state::{InputFor, Notice, Overlay, State};

/// Steps below which nothing is zoomed in further.
const NEAREST: f64 = 4.0;

pub fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    let charts = &mut state.charts;
    match command {
        Command::NextSmoothing => charts.smoothing = charts.smoothing.next(),
        Command::NextMetric => charts.metric = charts.metric.next(),
        Command::ToggleBands => {
            charts.has_bands = !charts.has_bands;
            let alone = charts.has_bands
                && state.runs.selected().is_some_and(|run| state.charts.seeds(&state.runs.runs, run).len() < 2);
            if alone {
                state.say(Notice::info("no other run differs from this one in its seeds alone"));
            }
        }
        Command::NextAxis => next_axis(state),
        Command::ZoomIn => zoom(state, 0.5),
        Command::ZoomOut => zoom(state, 2.0),
        Command::PanLeft => pan(state, -0.25),
        Command::PanRight => pan(state, 0.25),
        Command::WholeCurve => charts.window = None,
        Command::ForkRun => return ask_fork(state),
        _ => {}
    }
    vec![]
}

/// The next axis, on which the same steps are shown.
fn next_axis(state: &mut State) {
    let steps = |state: &State| {
        let (from, to) = state.charts.window?;
        let along = along(state, state.runs.selected()?);
        Some((along.step_from(from)?, along.step_before(to.next_up())?))
    };
    let shown = steps(state);
    state.charts.axis = state.charts.axis.next();
    let placed = |state: &State, (from, to): (usize, usize)| {
        let along = along(state, state.runs.selected()?);
        Some((along.of_step(from), along.of_step(to))).filter(|(from, to)| from < to)
    };
    state.charts.window = shown.and_then(|shown| placed(state, shown));
}

/// Zooms about the cursor, or about the right end of the selected curve.
fn zoom(state: &mut State, factor: f64) {
    let (Some(run), (from, to), all) = (state.runs.selected(), window(state), whole(state)) else { return };
    let along = along(state, run);
    let cursor = state.loupe.step_of(run).map(|step| along.of_step(step));
    let about = cursor.filter(|x| (from..=to).contains(x)).unwrap_or(along.last().clamp(from, to));
    let step = (all.1 - all.0) / (run.history.steps_planned.max(run.history.step()).max(1) as f64);
    let width = ((to - from) * factor).max(NEAREST * step);
    let begin = about - (about - from) / (to - from) * width;
    set(state, begin, width);
}

fn pan(state: &mut State, by: f64) {
    let Some((from, to)) = state.charts.window else {
        state.say(Notice::info("this is the whole curve; `+` zooms in"));
        return;
    };
    set(state, from + by * (to - from), to - from);
}

/// Shows a part of the axis, as far as there is one.
fn set(state: &mut State, from: f64, width: f64) {
    let all = whole(state);
    let from = from.clamp(all.0, (all.1 - width).max(all.0));
    state.charts.window = (width < (all.1 - all.0) * (1.0 - 1e-9)).then_some((from, from + width));
}

/// Keeps the newest point in the window if it was there; `before` is where the newest was.
pub fn keep_up(state: &mut State, before: Option<f64>) {
    if let (Some(before), Some(after), Some((from, to))) = (before, newest(state), state.charts.window)
        && before <= to
        && after > to
    {
        state.charts.window = Some((from + after - to, after));
    }
}

/// Where the newest step of the selected run stands.
pub fn newest(state: &State) -> Option<f64> {
    state.charts.window?;
    Some(along(state, state.runs.selected()?).last())
}

/// Moves the window to the cursor, if it stands outside of it.
pub fn show_cursor(state: &mut State) {
    let (Some((from, to)), Some(run)) = (state.charts.window, state.runs.selected()) else { return };
    let Some(at) = state.loupe.step_of(run).map(|step| along(state, run).of_step(step)) else { return };
    if at < from {
        set(state, at, to - from);
    } else if at > to {
        set(state, at - (to - from), to - from);
    }
}

/// The step that the cursor goes to: the nearest one in another column of dots, or the next one where a column has no more
/// than one. Skipped steps have a place of their own.
pub fn neighbour(state: &State, run: &Run, at: usize, is_right: bool) -> Option<usize> {
    let (along, (from, to), count) = (along(state, run), window(state), columns(state).max(2));
    let x = along.of_step(at);
    let column = ((x - from) / (to - from) * (count - 1) as f64).round();
    // Outside of the window a column is as wide as in it.
    let width = (to - from) / (count - 1) as f64;
    let left = edge((from, to), count, 0) + column * width;
    let skipped = run.history.skipped.iter().map(|event| event.step);
    if is_right {
        // The last one of the next column, so that the same key back and forth ends where it began.
        let next = along.step_before(left + 2.0 * width).filter(|step| *step > at);
        let next = next.or_else(|| along.step_from(left + width).filter(|step| *step > at));
        skipped.filter(|step| *step > at && along.of_step(*step) >= left + width).chain(next).min()
    } else {
        let before = along.step_before(left).filter(|step| *step < at);
        skipped.filter(|step| *step < at && along.of_step(*step) < left).chain(before).max()
    }
}

/// Asks which checkpoint the fork of the selected run would begin at.
fn ask_fork(state: &mut State) -> Vec<Effect> {
    let Some(run) = state.runs.selected() else {
        state.say(Notice::info("no run yet; `n` starts one, `T` starts the tour"));
        return vec![];
    };
    vec![Effect::FindForkPoint { run: run.id.clone(), at: state.loupe.step_of(run) }]
}

/// The checkpoint is known: asks for the settings.
pub fn fork_found(state: &mut State, point: ForkPoint) {
    let distance = match point.at {
        Some(at) if at > point.step => format!(", {} before ▲", at - point.step),
        _ => String::new(),
    };
    let title = format!("fork at {}{distance}: KEY=VALUE … or nothing; Ctrl-E all settings", point.step);
    state.overlay = Some(Overlay::Input { title, text: String::new(), then: InputFor::Fork(point) });
}

/// Starts the fork with these changes, or says what is wrong with them.
pub fn fork(state: &mut State, text: &str, point: ForkPoint) -> Vec<Effect> {
    let overrides = split(text);
    let Some(run) = state.runs.find(&point.run) else { return vec![] };
    match run.spec.with_overrides(&overrides) {
        Ok(_) => {
            state.say(Notice::info(format!("a fork of {} at {} is being made", point.run, point.step)));
            vec![Effect::ForkRun { run: point.run, step: point.step, overrides }]
        }
        Err(error) => {
            state.say(Notice::error(error.to_string()));
            fork_found(state, point);
            if let Some(Overlay::Input { text: input, .. }) = &mut state.overlay {
                *input = text.to_owned();
            }
            vec![]
        }
    }
}

/// All settings of the fork in `$EDITOR`, with the changes so far.
pub fn edit_fork(state: &mut State, text: &str, point: ForkPoint) -> Vec<Effect> {
    let Some(run) = state.runs.find(&point.run) else { return vec![] };
    let plain = RunSpec { record: None, ..run.spec.clone() };
    let text = plain.with_overrides(&split(text)).unwrap_or(plain).to_yaml();
    vec![Effect::OpenEditor { what: External::Fork(point), text }]
}

/// Starts the fork with settings that came back from `$EDITOR`.
pub fn fork_edited(state: &mut State, text: &str, point: ForkPoint) -> Vec<Effect> {
    let Some(run) = state.runs.find(&point.run) else { return vec![] };
    match RunSpec::parse(text, std::path::Path::new("the edited settings"), &[]) {
        Ok(edited) => {
            let changes = run.spec.changes(&edited);
            vec![Effect::ForkRun { run: point.run, step: point.step, overrides: changes }]
        }
        Err(error) => {
            state.say(Notice::error(error.to_string()));
            vec![]
        }
    }
}

/// `KEY=VALUE` pairs of a line. A value may have spaces, as `training.loss={label: 1, rationale: 0}` does.
fn split(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let begins = |word: &str| {
        let key = word.split_once('=').map_or("", |(key, _)| key);
        !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    for word in text.split_whitespace() {
        match found.last_mut() {
            Some(last) if !begins(word) => last.extend([" ", word]),
            _ => found.push(word.to_owned()),
        }
    }
    found
}

/// A fork that was started here is shown beside the run that it left.
pub fn show_beside_parent(state: &mut State, id: &str) {
    let parent = state.runs.find(id).and_then(|run| crate::workbench::charts::origin(run).map(|(of, _)| of.to_owned()));
    if let Some(parent) = parent.filter(|parent| state.runs.find(parent).is_some()) {
        state.runs.overlaid.insert(parent);
    }
    runs::show(state, id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_settings_is_split_at_its_keys() {
        let text = " training.learning_rate=1e-3  training.loss={label: 1, rationale: 0} seed.order=7";
        let wanted = ["training.learning_rate=1e-3", "training.loss={label: 1, rationale: 0}", "seed.order=7"];
        assert_eq!(split(text), wanted);
        assert_eq!(split("nonsense and=more"), ["nonsense", "and=more"]);
        assert!(split("  ").is_empty());
    }
}
