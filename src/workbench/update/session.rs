//! A workbench goes on where the last one was: what can be set is set at once, and what waits for rows and runs is set when
//! they are there.

use super::{board, data, editor, focus, load_theme};
use crate::attribution::what_if::Changes;
use crate::workbench::attribution::Beside;
use crate::workbench::message::Effect;
use crate::workbench::session::{DataPart, Session};
use crate::workbench::state::{Editor, State, Wanted};
use crate::workbench::theme::AUTO;

/// Takes over what was kept, if there was something, and asks for everything that the panes show.
pub fn restore(state: &mut State, session: Option<Session>) -> Vec<Effect> {
    let mut effects = Vec::new();
    if let Some(session) = session {
        effects.extend(take(state, session));
    }
    effects.push(load_theme(state, &state.theme_name));
    effects.extend([Effect::ListDatasets, Effect::OpenDataset(state.draft.dataset.clone())]);
    effects.extend(board::ask(state));
    effects
}

fn take(state: &mut State, session: Session) -> Vec<Effect> {
    let mut effects = Vec::new();
    (state.zoomed, state.split, state.before_board) = (session.zoomed, session.split, session.before_board);
    focus(state, session.focus);
    state.hints = session.hints.clone();
    // Another start: what is shown now counts once more.
    state.hints.now.clear();
    // What was named on the command line has the last word.
    if state.theme_name == AUTO && session.theme != AUTO {
        state.theme_name.clone_from(&session.theme);
    }
    let forced = state.display.forced.or(session.display);
    if forced != state.display.forced {
        state.display.forced = forced;
        effects.push(Effect::Suit);
    }
    let runs = &session.runs;
    state.runs.awaited.clone_from(&runs.selected);
    state.runs.follows_newest = runs.selected.is_none();
    state.runs.overlaid = runs.overlaid.iter().cloned().collect();
    (state.runs.curve, state.runs.log_scale) = (runs.curve, runs.log_scale);
    state.loupe.cursor.clone_from(&runs.step);
    let (kept, view) = (&session.attribution, &mut state.attribution);
    view.run.clone_from(&kept.run);
    view.beside = Beside { run: kept.beside.clone(), ..Beside::default() };
    view.asked = kept.asked.clone();
    (view.unit, view.scale, view.top, view.reads_own) = (kept.unit, kept.scale, kept.top.max(1), kept.reads_own);
    (state.lens.shown, state.loupe.shows_loss) = (kept.lens, kept.shows_loss);
    if let Some(unsaved) = &session.editor {
        effects.extend(editor::show(state, Box::new(Editor::restore(unsaved.clone()))));
    }
    let kept = &session.board;
    let board = &mut state.board;
    (board.shown, board.sort, board.cursor) = (kept.shown.clone(), kept.sort, kept.cursor);
    board.filter.clone_from(&kept.filter);
    board.baselines.clone_from(&kept.baselines);
    // Another data set was asked for: its questions are others.
    let is_named = state.named_dataset.as_ref().is_some_and(|named| *named != session.draft.dataset);
    let dataset = state.draft.dataset.clone();
    state.draft = session.draft.clone();
    if is_named {
        state.draft.dataset = dataset;
        return effects;
    }
    state.data.marks = session.data.marks.iter().map(|marked| (marked.of.clone(), marked.ids.clone())).collect();
    let charts = &session.charts;
    (state.charts.axis, state.charts.smoothing, state.charts.window) = (charts.axis, charts.smoothing, charts.window);
    (state.charts.metric, state.charts.has_bands) = (charts.metric, charts.has_bands);
    let (dataset, split) = (session.draft.dataset.clone(), session.data.split.clone());
    state.data.wanted = Some(Wanted { dataset, split, row: session.data.row });
    state.restoring = Some(Box::new(session));
    effects
}

/// How the questions of a data set were shown, until they are there again.
pub fn data_of(state: &State, dataset: &str) -> Option<DataPart> {
    let session = state.restoring.as_ref().filter(|session| session.draft.dataset == dataset)?;
    Some(session.data.clone())
}

/// A question is selected: if it is the one that was looked at, the panes are where they were in it.
pub fn arrived(state: &mut State) {
    let Some(selected) = &state.data.selected else { return };
    // Rows of a file that was changed meanwhile are others; whoever chose one by hand is there.
    let Some(session) = state.restoring.take_if(|session| session.data.row == selected.row) else {
        if state.data.wanted.is_none() {
            state.restoring = None;
        }
        return;
    };
    if session.data.id.as_ref() != Some(&selected.example.id) {
        return;
    }
    let example = &selected.example;
    let of = (example.id.clone(), example.question.clone(), example.rationale.clone());
    state.data.offset = state.data.cursor.saturating_sub(session.data.above);
    state.data.scroll = session.data.scroll;
    let kept = session.recipe;
    (state.recipe.cursor, state.recipe.word) = (kept.cursor, kept.word);
    (state.recipe.as_table, state.recipe.scroll) = (kept.as_table, kept.scroll);
    let kept = session.attribution;
    (state.attribution.scroll, state.attribution.cursor) = (kept.scroll, kept.cursor);
    if kept.changes != Changes::default() {
        (state.attribution.changes.of, state.attribution.changes.now) = (Some(of), kept.changes);
    }
    data::keep_cursor_visible(state);
}
