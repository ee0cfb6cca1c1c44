//! The loupe: along the loss curve, from a step to its batch, from there to a question, and what its tokens cost.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::attribution::{is_of_now, run_to_show};
use super::{charts, data, focus, moved};
use crate::runs::Run;
use crate::runs::batch::StepBatch;
use crate::runs::prepare::TRAIN;
use crate::runs::spikes::spikes;
use crate::workbench::attribution::Looked;
use crate::workbench::command::Command;
use crate::workbench::layout;
use crate::workbench::loupe::{BatchView, KnownSpikes, LossQuestion, Lossy};
use crate::workbench::message::{BatchRequest, Effect, LossRequest};
use crate::workbench::pane::Pane;
use crate::workbench::state::{Notice, Overlay, State};

pub fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    match command {
        Command::ToggleLoss => {
            state.loupe.shows_loss = !state.loupe.shows_loss;
            state.lens.shown = None;
            state.attribution.scroll = 0;
            return super::attribution::ask(state);
        }
        Command::NextOver => {
            state.loupe.loss.shows_all = !state.loupe.loss.shows_all;
            return vec![];
        }
        Command::LeaveStep => {
            state.loupe.cursor = None;
            return vec![];
        }
        _ if takes(command) => {
            state.say(Notice::info("that is of attributions; `o` shows them again"));
            return vec![];
        }
        _ => {}
    }
    let Some(run) = state.runs.selected() else {
        state.say(Notice::info("no run yet; `n` starts one, `T` starts the tour"));
        return vec![];
    };
    let Some(last) = last_step(run) else {
        state.say(Notice::info("this run has taken no step yet"));
        return vec![];
    };
    let (id, at) = (run.id.clone(), state.loupe.step_of(run));
    let step = match command {
        Command::StepLeft => at.map_or(Some(last), |at| charts::neighbour(state, run, at, false)),
        Command::StepRight => at.map_or(Some(last), |at| charts::neighbour(state, run, at, true)),
        Command::PreviousSpike | Command::NextSpike => {
            let found = step_of_spike(state, at.unwrap_or(last + 1), command == Command::NextSpike);
            if found.is_none() {
                say_no_spike(state, command == Command::NextSpike);
            }
            found
        }
        _ => return ask_batch(state, id, at.unwrap_or(last)),
    };
    if let Some(step) = step {
        know_spikes(state);
        state.loupe.cursor = Some((id, step));
        charts::show_cursor(state);
    }
    vec![]
}

/// Whether a command of the attribution pane means something else, or nothing, while it shows losses.
pub fn takes(command: Command) -> bool {
    matches!(
        command,
        Command::NextOver
            | Command::NextBaseline
            | Command::NextUnit
            | Command::NextScale
            | Command::ReadOwn
            | Command::ChooseMethod
            | Command::ChooseTarget
            | Command::CompareRun
            | Command::KeepTop
            | Command::More
            | Command::Less
            | Command::WordLeft
            | Command::WordRight
            | Command::MaskToken
            | Command::DeleteToken
            | Command::RetypeToken
            | Command::Reshuffle
            | Command::UndoEdit
            | Command::ClearChanges
            | Command::KeepChanges
    )
}

/// The last step that a run took or skipped.
fn last_step(run: &Run) -> Option<usize> {
    Some(run.history.step()).filter(|step| *step > 0)
}

/// Finds the spikes of the selected run, unless nothing happened since they were found.
fn know_spikes(state: &mut State) {
    let Some(run) = state.runs.selected() else { return };
    let steps = run.history.steps.len() + run.history.skipped.len();
    let is_known = |known: &KnownSpikes| known.run == run.id && known.steps == steps;
    if !state.loupe.spikes.as_ref().is_some_and(is_known) {
        state.loupe.spikes = Some(KnownSpikes { run: run.id.clone(), steps, found: spikes(&run.history) });
    }
}

/// The first step of the spike before or after a step.
fn step_of_spike(state: &mut State, at: usize, is_next: bool) -> Option<usize> {
    know_spikes(state);
    let found = &state.loupe.spikes.as_ref()?.found;
    let mut steps = found.iter().map(|spike| spike.step);
    if is_next { steps.find(|step| *step > at) } else { steps.rev().find(|step| *step < at) }
}

fn say_no_spike(state: &mut State, is_next: bool) {
    let none = state.loupe.spikes.as_ref().is_none_or(|known| known.found.is_empty());
    state.say(Notice::info(match (none, is_next) {
        (true, _) => "no loss of this run stands out from those before it",
        (false, true) => "no spike after this step",
        (false, false) => "no spike before this step",
    }));
}

/// Opens the batch of a step.
fn ask_batch(state: &mut State, run: String, step: usize) -> Vec<Effect> {
    know_spikes(state);
    let generation = state.next_generation();
    state.loupe.cursor = Some((run.clone(), step));
    state.loupe.batch = Some(BatchView { generation, run: run.clone(), step, found: None, cursor: 0 });
    state.overlay = Some(Overlay::Batch);
    vec![Effect::ReadBatch(BatchRequest { generation, run, step })]
}

/// The batch was found, or why not.
pub fn batch_read(state: &mut State, generation: u64, result: Result<StepBatch, String>) {
    if let Some(view) = state.loupe.batch.as_mut().filter(|view| view.generation == generation) {
        view.found = Some(result);
    }
}

/// A key while a batch lies over the panes.
pub fn batch_key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    let page = usize::from(state.rows.saturating_sub(12)).max(1);
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let command = match key.code {
        KeyCode::Down | KeyCode::Char('j') => Command::Down,
        KeyCode::Up | KeyCode::Char('k') => Command::Up,
        KeyCode::PageDown => Command::PageDown,
        KeyCode::Char('d') if control => Command::PageDown,
        KeyCode::PageUp => Command::PageUp,
        KeyCode::Char('u') if control => Command::PageUp,
        KeyCode::Home | KeyCode::Char('g') => Command::First,
        KeyCode::End | KeyCode::Char('G') => Command::Last,
        KeyCode::Enter => return go_to_question(state),
        KeyCode::Esc | KeyCode::Char('q' | 'b') => return close(state),
        KeyCode::Char('c') if control => return close(state),
        _ => {
            state.overlay = Some(Overlay::Batch);
            return vec![];
        }
    };
    if let Some(view) = &mut state.loupe.batch {
        let count = view.found.as_ref().and_then(|found| found.as_ref().ok()).map_or(0, |found| found.examples.len());
        view.cursor = moved(view.cursor, count.saturating_sub(1), page, command);
    }
    state.overlay = Some(Overlay::Batch);
    vec![]
}

fn close(state: &mut State) -> Vec<Effect> {
    state.loupe.batch = None;
    vec![]
}

/// Selects the question under the batch's cursor in the data pane, and the run for what its tokens cost, at the checkpoint
/// before the step.
fn go_to_question(state: &mut State) -> Vec<Effect> {
    let found = state.loupe.batch.as_ref().and_then(|view| {
        let batch = view.found.as_ref()?.as_ref().ok()?;
        let checkpoint = [&batch.before, &batch.after].into_iter().flatten().find(|near| near.path.is_some());
        Some((view.run.clone(), batch.examples.get(view.cursor)?.row, checkpoint.map(|near| near.step)))
    });
    let Some((run, row, checkpoint)) = found else {
        state.overlay = Some(Overlay::Batch);
        return vec![];
    };
    let Some(dataset) = state.runs.find(&run).map(|run| run.spec.dataset.clone()) else { return close(state) };
    state.attribution.run = Some(Looked { run, step: checkpoint });
    close(state);
    focus(state, Pane::Data);
    let mut effects = data::go_to(state, dataset, TRAIN.into(), row);
    effects.extend(super::attribution::ask(state));
    effects
}

/// Asks what the tokens of the selected question cost, if that is looked at and not there yet.
pub fn ask(state: &mut State) -> Option<Effect> {
    if !layout::is_visible(state, Pane::Attribution) {
        return None;
    }
    let looked = run_to_show(state)?;
    let selected = state.data.selected.as_ref()?;
    let result = state.loupe.loss.result.as_ref();
    let question = LossQuestion {
        checkpoint: looked.step,
        run: looked.run.clone(),
        dataset: state.draft.dataset.clone(),
        split: state.data.split.clone(),
        row: selected.row,
        example: selected.example.clone(),
    };
    let is_known = result.is_some_and(|result| {
        let step = result.losses.checkpoints.first().and_then(|checkpoint| checkpoint.step);
        result.question == question && is_of_now(state, &looked, step)
    });
    if is_known {
        return None;
    }
    let generation = state.next_generation();
    state.loupe.loss.generation = generation;
    state.loupe.loss.is_waiting = true;
    Some(Effect::MeasureLoss(Box::new(LossRequest { generation, question })))
}

/// The losses were taken, or why not.
pub fn measured(state: &mut State, generation: u64, result: Result<Lossy, String>) {
    let view = &mut state.loupe.loss;
    if generation != view.generation {
        return;
    }
    view.is_waiting = false;
    match result {
        Ok(found) => (view.result, view.error) = (Some(found), None),
        Err(error) => (view.result, view.error) = (None, Some(error)),
    }
}
