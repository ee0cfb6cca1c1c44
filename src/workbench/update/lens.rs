//! The lens in the attribution pane: which one, on whose student, and the cell under the cursor.

use super::attribution::{is_of_now, run_to_show};
use super::moved;
use crate::runs::lenses::Which;
use crate::workbench::attribution::Looked;
use crate::workbench::command::Command;
use crate::workbench::layout;
use crate::workbench::lens::SeenThrough;
use crate::workbench::message::{Effect, LensRequest};
use crate::workbench::pane::Pane;
use crate::workbench::state::{Notice, State};

/// From the scores of tokens to the logit lens, to the tuned lens where one was trained, and back.
pub fn next(state: &mut State) -> Vec<Effect> {
    let has_tuned = state.lens.looked.as_ref().is_some_and(|looked| looked.has_tuned);
    state.lens.shown = match state.lens.shown {
        None => Some(Which::Logit),
        Some(Which::Logit) if has_tuned => Some(Which::Tuned),
        Some(_) => None,
    };
    state.lens.error = None;
    state.loupe.shows_loss = false;
    super::attribution::ask(state)
}

/// Trains the tuned lens of the student that is looked into.
pub fn train(state: &mut State) -> Vec<Effect> {
    let Some(looked) = run_to_show(state) else {
        state.say(Notice::info("no run has a student to train a lens on yet; `n` in the training pane starts one"));
        return vec![];
    };
    state.say(Notice::info(format!("training the tuned lens of {} …", looked.name())));
    vec![Effect::TrainLens { looked }]
}

/// Asks what the lens reads of the selected question, if that is not there yet.
pub fn ask(state: &mut State) -> Option<Effect> {
    let which = state.lens.shown.filter(|_| layout::is_visible(state, Pane::Attribution))?;
    let run = run_to_show(state)?;
    let selected = state.data.selected.clone()?;
    let known = state.lens.looked.as_ref().is_some_and(|looked| {
        looked.run == run
            && is_of_now(state, &run, Some(looked.step))
            && looked.which == which
            && looked.example == selected.example
            && state.lens.error.is_none()
    });
    if known {
        return None;
    }
    let generation = state.next_generation();
    (state.lens.generation, state.lens.is_waiting) = (generation, true);
    Some(Effect::ReadLens(Box::new(LensRequest {
        generation,
        looked: run,
        dataset: state.draft.dataset.clone(),
        split: state.data.split.clone(),
        row: selected.row,
        example: selected.example,
        which,
    })))
}

pub fn looked(state: &mut State, generation: u64, result: Result<SeenThrough, String>) {
    let view = &mut state.lens;
    if generation != view.generation {
        return;
    }
    view.is_waiting = false;
    match result {
        Ok(looked) => {
            let is_same = view.looked.as_ref().is_some_and(|before| before.example.id == looked.example.id);
            let grid = &looked.grid;
            let (streams, places) = (grid.streams.saturating_sub(1), grid.tokens.len().saturating_sub(1));
            if is_same {
                (view.stream, view.place) = (view.stream.min(streams), view.place.min(places));
            } else {
                // Where it is decided.
                (view.stream, view.place) = (streams, grid.question.place.unwrap_or(places));
            }
            (view.looked, view.error) = (Some(looked), None);
        }
        Err(error) => (view.looked, view.error) = (None, Some(error)),
    }
}

/// A tuned lens is there now, or not.
pub fn trained(state: &mut State, run: &Looked, result: Result<String, String>) -> Vec<Effect> {
    match result {
        Err(error) => {
            state.say(Notice::error(error));
            vec![]
        }
        Ok(text) => {
            state.say(Notice::info(text));
            let Some(looked) = state.lens.looked.as_mut().filter(|looked| looked.run == *run) else { return vec![] };
            looked.has_tuned = true;
            if looked.which == Which::Tuned {
                // It was made anew.
                state.lens.looked = None;
            }
            if state.lens.is_on() {
                state.lens.shown = Some(Which::Tuned);
            }
            ask(state).into_iter().collect()
        }
    }
}

/// Moves the cursor over the layers, the last of which is on top, and from end to end.
pub fn go(state: &mut State, command: Command) {
    let moves = [Command::Down, Command::Up, Command::PageDown, Command::PageUp, Command::First, Command::Last];
    if !moves.contains(&command) && !matches!(command, Command::WordLeft | Command::WordRight) {
        state.say(Notice::info("that is of attributions; `L` goes back to them"));
        return;
    }
    let Some(grid) = state.lens.looked.as_ref().map(|looked| &looked.grid) else { return };
    let (streams, places) = (grid.streams.saturating_sub(1), grid.tokens.len().saturating_sub(1));
    let view = &mut state.lens;
    match command {
        Command::Down => view.stream = moved(view.stream, streams, 1, Command::Up),
        Command::Up => view.stream = moved(view.stream, streams, 1, Command::Down),
        Command::WordLeft => view.place = moved(view.place, places, 1, Command::Up),
        Command::WordRight => view.place = moved(view.place, places, 1, Command::Down),
        other => view.place = moved(view.place, places, 8, other),
    }
}
