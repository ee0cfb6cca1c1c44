//! The demo goes on: by time, by what it waits for, and by the keys of whoever shows it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{attribution, data, overlay, perform, runs, what_if};
use crate::journal::RunState;
use crate::rationale::recipe::Unit;
use crate::runs::Run;
use crate::runs::spec::{CONDITION, ROLE};
use crate::workbench::board::Face;
use crate::workbench::command::Command;
use crate::workbench::demo::{Action, Demo, Script, Until};
use crate::workbench::message::Effect;
use crate::workbench::pane::Pane;
use crate::workbench::state::{Notice, Overlay, State};

/// Conditions of the tour.
const CONDITIONS: usize = 9;

/// The first step.
pub fn begin(state: &mut State, script: Script) -> Vec<Effect> {
    state.demo = Some(Demo::new(script));
    data::keep_cursor_visible(state);
    enter(state)
}

/// So many milliseconds went by.
pub fn tick(state: &mut State, elapsed: u64) -> Vec<Effect> {
    let Some(demo) = state.demo.as_mut().filter(|demo| !demo.is_stopped) else { return vec![] };
    demo.spent += elapsed as f64;
    if !is_over(state) {
        return vec![];
    }
    let Some(demo) = &mut state.demo else { return vec![] };
    if demo.script.pauses && demo.step().is_some_and(|step| step.stop) {
        demo.is_stopped = true;
        return vec![];
    }
    next(state)
}

/// A key, where it is one of the demo's; `None` where it means what it always does.
pub fn key(state: &mut State, key: KeyEvent) -> Option<Vec<Effect>> {
    let demo = state.demo.as_mut()?;
    // Whoever was given the workbench to answer a question types into it.
    let is_lent = demo.is_stopped && state.overlay.is_some();
    let is_plain = !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    match key.code {
        _ if is_lent || !is_plain => {}
        KeyCode::Char(' ') if demo.is_stopped => {
            demo.is_stopped = false;
            demo.shown = demo.at;
            return Some(if is_over(state) { next(state) } else { vec![] });
        }
        KeyCode::Char(' ') => {
            demo.is_stopped = true;
            return Some(vec![]);
        }
        KeyCode::Right if demo.shown < demo.at => {
            demo.shown += 1;
            return Some(vec![]);
        }
        KeyCode::Right => return Some(next(state)),
        KeyCode::Left => {
            demo.shown = demo.shown.saturating_sub(1);
            demo.is_stopped = true;
            return Some(vec![]);
        }
        KeyCode::Esc => return Some(end(state, "the demo was left; all of this is yours now")),
        _ => {}
    }
    // Whoever touches something else wants to look at it.
    state.demo.as_mut()?.is_stopped = true;
    None
}

/// What the present step waits for and does not have yet, in words.
pub fn awaited(state: &State) -> Option<String> {
    let until = state.demo.as_ref()?.step()?.until?;
    let (view, recipe) = (&state.attribution, &state.recipe);
    let is_there = match until {
        Until::Rendered => recipe.shown.is_some() || recipe.error.is_some(),
        Until::Curve => state.runs.runs.iter().any(|run| run.history.steps.len() >= 20),
        Until::Finished => {
            let finished = of_tour(state).filter(|run| !run.state.is_active()).count();
            if finished < CONDITIONS || of_tour(state).any(|run| run.state.is_active()) {
                return Some(format!("waiting for the runs: {finished} of {CONDITIONS} are finished"));
            }
            state.board.have == state.board.asked
        }
        Until::Questions => matches!(&state.board.face, Face::Questions(view) if view.found.is_some()),
        // Without a student to look into there is nothing to wait for.
        _ if attribution::run_to_show(state).is_none() => true,
        Until::Attributed => !view.is_waiting && (view.result.is_some() || view.error.is_some()),
        Until::Answered => view.changes.now.is_empty() || view.changes.result.is_some() || view.changes.error.is_some(),
    };
    let what = match until {
        Until::Curve => "waiting for the runs",
        Until::Finished => "waiting for the board",
        _ => "waiting for the answer",
    };
    (!is_there).then(|| what.to_owned())
}

fn of_tour(state: &State) -> impl Iterator<Item = &Run> {
    let is_condition = |run: &&Run| run.spec.tags.contains_key(CONDITION) && !run.spec.tags.contains_key(ROLE);
    state.runs.runs.iter().filter(is_condition)
}

/// Whether the present step was read and has what it waits for.
fn is_over(state: &State) -> bool {
    state.demo.as_ref().is_some_and(Demo::is_read) && awaited(state).is_none()
}

/// The next step, or the end.
fn next(state: &mut State) -> Vec<Effect> {
    let Some(demo) = &mut state.demo else { return vec![] };
    if demo.at + 1 >= demo.script.steps.len() {
        return end(state, "the demo is over; all of this is yours now");
    }
    demo.at += 1;
    (demo.shown, demo.spent) = (demo.at, 0.0);
    enter(state)
}

/// Gives the workbench back as it is.
fn end(state: &mut State, what: &str) -> Vec<Effect> {
    state.demo = None;
    state.say(Notice::info(format!("{what} · ? shows the keys, : finds any command")));
    data::keep_cursor_visible(state);
    attribution::ask(state)
}

/// Does what the present step does.
fn enter(state: &mut State) -> Vec<Effect> {
    let actions = state.demo.as_ref().and_then(Demo::step).map_or_else(Vec::new, |step| step.does.clone());
    if !actions.is_empty() {
        (state.overlay, state.notice) = (None, None);
    }
    actions.iter().flat_map(|action| act(state, action)).collect()
}

fn act(state: &mut State, action: &Action) -> Vec<Effect> {
    match action {
        // The board's key goes there and back; a step means there.
        Action::Command(_) if action.command() == Some(Command::FocusBoard) && state.focus == Pane::Board => vec![],
        Action::Command(_) => action.command().map_or_else(Vec::new, |command| perform(state, command)),
        Action::Choose { choose } => match state.overlay.take() {
            Some(Overlay::Menu(menu)) => {
                let item = menu.items.into_iter().find(|item| item.label.starts_with(choose.as_str()));
                item.map_or_else(Vec::new, |item| overlay::choose(state, item.then))
            }
            _ => vec![],
        },
        Action::Start { .. } => start_tour(state),
        Action::Row { row } => {
            let lines = 0..state.board.lines.len();
            let is_row = |line: &usize| state.board.row_at(*line).is_some_and(|(_, _, other)| other.condition == *row);
            if let Some(line) = lines.into_iter().find(is_row) {
                (state.board.face, state.board.cursor) = (Face::Table, line);
            }
            vec![]
        }
        Action::Word { .. } => {
            if let Some(place) = strongest(state) {
                state.attribution.cursor = place;
            }
            vec![]
        }
    }
}

/// Starts the tour as its key does, and answers yes. What was trained before is shown again, beginning with the run of the
/// first finding.
fn start_tour(state: &mut State) -> Vec<Effect> {
    let there = of_tour(state).filter(|run| run.state.is_active() || run.state == RunState::Finished).count();
    if there < CONDITIONS {
        runs::offer_tour(state);
        return overlay::key(state, KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE));
    }
    let is_post = |run: &&Run| run.spec.tags.get(CONDITION).is_some_and(|condition| condition == "post");
    let post = of_tour(state).find(is_post).map(|run| run.id.clone());
    if let Some(id) = post {
        runs::show(state, &id);
    }
    let mut effects = runs::ask_predictions(state);
    effects.extend(act(state, &Action::Command(Command::FocusBoard.about().name.into())));
    effects
}

/// The first token of the rationale's word that speaks most for the target.
fn strongest(state: &State) -> Option<usize> {
    let tokens = &state.attribution.result.as_ref()?.found.tokens;
    let score =
        |unit: &std::ops::Range<usize>| -> f32 { tokens[unit.clone()].iter().filter_map(|token| token.score).sum() };
    let best = what_if::units(state).into_iter().max_by(|one, other| score(one).total_cmp(&score(other)));
    best.filter(|_| state.attribution.unit != Unit::Sentence).map(|unit| unit.start)
}
