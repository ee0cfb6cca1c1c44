//! The data pane: which rows are shown and which question all panes are about.

use std::collections::HashMap;

use super::{attribution, below, browse, recipe, runs, session};
use crate::corpus::Example;
use crate::corpus::edits::DEFAULT_SOURCE;
use crate::corpus::filter::Filter;
use crate::corpus::rows::Count;
use crate::workbench::browse::{Ask, Below, Columns, Ordered, Request};
use crate::workbench::command::Command;
use crate::workbench::layout;
use crate::workbench::message::Effect;
use crate::workbench::pane::Pane;
use crate::workbench::state::Opened;
use crate::workbench::state::{Chosen, Menu, MenuItem, NOW, Notice, Overlay, Selected, State, Wanted};

/// Rows kept in memory; more are thrown away and read again when they are looked at.
const KEPT_ROWS: usize = 4096;

pub fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    match command {
        Command::Filter => {
            state.overlay = Some(Overlay::Filter);
            vec![]
        }
        Command::ClearFilter if !matches!(state.data.below, Below::Question) => below::show_question(state),
        Command::ClearFilter => set_filter(state, String::new()),
        Command::ChooseDataset => {
            let items = state.data.datasets.iter().map(|name| MenuItem {
                label: name.clone(),
                note: if *name == state.draft.dataset { NOW.into() } else { String::new() },
                then: Chosen::Dataset(name.clone()),
            });
            let menu = Menu::new("data set", items.collect());
            state.overlay = Some(Overlay::Menu(menu));
            vec![]
        }
        Command::NextSplit => {
            let Some(opened) = &state.data.opened else { return vec![] };
            let place = opened.splits.iter().position(|split| *split == state.data.split).unwrap_or(0);
            let Some(next) = opened.splits.get((place + 1) % opened.splits.len().max(1)).cloned() else {
                return vec![];
            };
            open_split(state, next)
        }
        Command::ReadOn => {
            state.data.scroll += 1;
            vec![]
        }
        Command::ReadBack => {
            state.data.scroll = state.data.scroll.saturating_sub(1);
            vec![]
        }
        Command::CheckData => {
            state.say(Notice::info(format!("checking {}", state.draft.dataset)));
            vec![Effect::CheckData(state.draft.dataset.clone())]
        }
        _ => vec![],
    }
}

/// A data set was opened: its first split is shown.
pub fn opened(state: &mut State, opened: Opened) -> Vec<Effect> {
    let wanted = state.data.wanted.as_ref().filter(|wanted| wanted.dataset == opened.name);
    let split = if let Some(wanted) = wanted.filter(|wanted| opened.splits.contains(&wanted.split)) {
        wanted.split.clone()
    } else if opened.splits.contains(&state.data.split) {
        state.data.split.clone()
    } else {
        opened.splits.first().cloned().unwrap_or_default()
    };
    let draft = &mut state.draft;
    if !opened.sources.contains(&draft.rationale.source) {
        draft.rationale.source = DEFAULT_SOURCE.into();
    }
    if let Some(only) = opened.only_source.clone().filter(|_| draft.rationale.source == DEFAULT_SOURCE) {
        draft.rationale.source = only;
    }
    draft.dataset = opened.name.clone();
    if draft.evaluation.last.as_ref().is_some_and(|last| !opened.splits.contains(last)) {
        draft.evaluation.last = None;
    }
    draft.suit_dataset();
    if state.data.opened.as_ref().is_none_or(|before| before.name != opened.name) {
        state.data.columns = Columns::default();
        state.data.ordered = Ordered::default();
    }
    let opened_name = opened.name.clone();
    state.data.opened = Some(opened);
    clear_filter(state);
    if let Some(kept) = session::data_of(state, &opened_name) {
        state.data.meaning = Filter::parse(&kept.filter).unwrap_or_default();
        (state.data.filter, state.data.ordered.sort) = (kept.filter, kept.sort);
        if !kept.columns.is_empty() {
            state.data.columns.shown = kept.columns;
        }
    }
    open_split(state, split)
}

fn clear_filter(state: &mut State) {
    state.data.filter.clear();
    (state.data.meaning, state.data.mistake) = (Filter::default(), None);
}

fn open_split(state: &mut State, split: String) -> Vec<Effect> {
    let data = &mut state.data;
    data.split = split.clone();
    data.count = None;
    data.matches = None;
    (data.cursor, data.offset) = (0, 0);
    data.loaded.clear();
    data.columns.widths.clear();
    data.selected = None;
    data.follows = false;
    state.recipe.shown = None;
    state.attribution.result = None;
    let mut effects = vec![Effect::Count { dataset: state.draft.dataset.clone(), split }];
    effects.extend(browse::search(state));
    effects.extend(ask_rows(state));
    effects.extend(runs::ask_predictions(state));
    let (generation, place) = (state.next_generation(), browse::place(state));
    effects.push(Effect::Browse(Box::new(Request { generation, place, ask: Ask::Watch })));
    effects
}

/// Another source or an edit: the same rows, read again.
pub fn reload(state: &mut State) -> Vec<Effect> {
    state.data.loaded.clear();
    ask_rows(state)
}

/// Other answers: what is looked for among them is looked for again.
pub fn answered(state: &mut State) -> Vec<Effect> {
    let sorted = state.data.ordered.sort.as_ref().is_some_and(|sort| sort.by.needs_answers());
    if sorted || state.data.meaning.needs_answers() { browse::search(state) } else { vec![] }
}

/// Searches while the user types. What can't be read yet leaves everything as it was, and says why.
pub fn set_filter(state: &mut State, filter: String) -> Vec<Effect> {
    state.data.filter = filter;
    let meaning = match Filter::parse(&state.data.filter) {
        Ok(meaning) => meaning,
        Err(mistake) => {
            state.data.mistake = Some(mistake);
            return vec![];
        }
    };
    state.data.mistake = None;
    if meaning == state.data.meaning {
        return vec![];
    }
    state.data.meaning = meaning;
    (state.data.cursor, state.data.offset) = (0, 0);
    let mut effects = browse::search(state);
    if state.data.meaning.is_empty() {
        // Back to where the selected question stands among all.
        if let Some(selected) = &state.data.selected {
            state.data.cursor = selected.row;
        }
        keep_cursor_visible(state);
        effects.extend(look(state));
    }
    effects
}

pub fn counted(state: &mut State, dataset: &str, split: &str, count: Count) -> Vec<Effect> {
    if dataset != state.draft.dataset || split != state.data.split {
        return vec![];
    }
    state.data.count = Some(count);
    let mut effects = browse::stay_at_end(state);
    effects.extend(arrive(state));
    let is_searching = state.data.matches.is_some() || state.data.ordered.reading.is_some();
    let is_here = |wanted: &mut Wanted| wanted.dataset == dataset && wanted.split == split;
    if count.complete && !is_searching && state.data.wanted.take_if(is_here).is_some() {
        // There is no such row any more.
        effects.extend(look(state));
    }
    effects.extend(ask_rows(state));
    effects
}

/// Selects a question of any data set, as soon as its rows are there.
pub fn go_to(state: &mut State, dataset: String, split: String, row: usize) -> Vec<Effect> {
    clear_filter(state);
    state.data.ordered.sort = None;
    let stopped = browse::search(state);
    let is_open = state.data.opened.as_ref().is_some_and(|opened| opened.name == dataset);
    state.data.wanted = Some(Wanted { dataset: dataset.clone(), split: split.clone(), row });
    if !is_open {
        return vec![Effect::OpenDataset(dataset)];
    }
    if state.data.split != split {
        return open_split(state, split);
    }
    let mut effects = stopped;
    effects.extend(arrive(state));
    effects.extend(runs::ask_predictions(state));
    effects
}

/// Selects the question that was sent for, once it is known to be there.
pub fn arrive(state: &mut State) -> Vec<Effect> {
    let here = (state.draft.dataset.as_str(), state.data.split.as_str());
    let Some(wanted) = &state.data.wanted else { return vec![] };
    if (wanted.dataset.as_str(), wanted.split.as_str()) != here {
        return vec![];
    }
    // While rows are found and put in order they stand elsewhere from one moment to the next.
    let is_moving = state.data.ordered.reading.is_some();
    let Some(line) = state.data.line_of(wanted.row).filter(|_| !is_moving) else { return vec![] };
    state.data.cursor = line;
    state.data.wanted = None;
    keep_cursor_visible(state);
    look(state)
}

pub fn rows(
    state: &mut State,
    generation: u64,
    rows: Vec<(usize, Result<Example, String>)>,
    count: Count,
) -> Vec<Effect> {
    if generation < state.data.rows_generation {
        return vec![];
    }
    if state.data.loaded.len() > KEPT_ROWS {
        state.data.loaded.clear();
    }
    state.data.count = Some(count);
    for (row, example) in &rows {
        if let Ok(example) = example {
            state.data.columns.see(*row, example);
        }
    }
    state.data.loaded.extend(rows);
    look(state)
}

/// Asks for the rows around the cursor that are not there yet.
pub fn ask_rows(state: &mut State) -> Vec<Effect> {
    let around = usize::from(state.rows);
    let first = state.data.offset.saturating_sub(around);
    // Before the count is known the first page is asked for all the same.
    let last = match state.data.lines() {
        0 if state.data.matches.is_none() && state.data.ordered.rows.is_none() => around,
        len => len.min(state.data.offset + 2 * around),
    };
    let is_plain = state.data.matches.is_none() && state.data.ordered.rows.is_none();
    let wanted = |line| if is_plain { Some(line) } else { state.data.row_at(line) };
    let rows: Vec<usize> =
        (first..last).filter_map(wanted).filter(|row| !state.data.loaded.contains_key(row)).collect();
    if rows.is_empty() || state.draft.dataset.is_empty() {
        return vec![];
    }
    let generation = state.next_generation();
    state.data.rows_generation = generation;
    vec![Effect::LoadRows {
        generation,
        dataset: state.draft.dataset.clone(),
        split: state.data.split.clone(),
        source: state.draft.rationale.source.clone(),
        rows,
    }]
}

/// Makes the question under the cursor the one that all panes are about.
pub fn look(state: &mut State) -> Vec<Effect> {
    let mut effects = ask_rows(state);
    if state.restoring.is_some() && state.data.wanted.is_some() {
        // The question of the last workbench comes in a moment; no other is looked at before.
        return effects;
    }
    let Some(row) = state.data.row_at(state.data.cursor) else { return effects };
    let Some(Ok(example)) = state.data.loaded.get(&row) else { return effects };
    let same = state.data.selected.as_ref().is_some_and(|selected| selected.row == row && selected.example == *example);
    if same {
        return effects;
    }
    let another = state.data.selected.as_ref().is_none_or(|selected| selected.row != row);
    state.data.selected = Some(Selected { row, example: example.clone() });
    if another {
        (state.recipe.word, state.recipe.scroll, state.attribution.scroll, state.data.scroll) = (0, 0, 0, 0);
    }
    if state.restoring.is_some() {
        session::arrived(state);
    }
    effects.extend(below::compare(state));
    effects.extend(recipe::ask_preview(state));
    effects.extend(attribution::ask(state));
    effects
}

/// Scrolls the table so that the cursor stays on the screen.
pub fn keep_cursor_visible(state: &mut State) {
    if !layout::is_visible(state, Pane::Data) {
        return;
    }
    let height = layout::table_height(state).max(1);
    let data = &mut state.data;
    let last = data.lines().saturating_sub(1);
    data.cursor = data.cursor.min(last);
    data.offset = data.offset.clamp((data.cursor + 1).saturating_sub(height), data.cursor);
}

/// Whether the selected example has the field that can be hidden.
pub fn has_subject(state: &State) -> bool {
    let field = state.data.opened.as_ref().and_then(|opened| opened.subject.as_deref());
    let selected = state.data.selected.as_ref();
    field.zip(selected).is_some_and(|(field, selected)| selected.example.extra.contains_key(field))
}

/// Throws one row away, so that it is read again.
pub fn forget(state: &mut State, id: &str) -> Vec<Effect> {
    let loaded: &mut HashMap<_, _> = &mut state.data.loaded;
    loaded.retain(|_, row| row.as_ref().map_or(true, |example| example.id != id));
    ask_rows(state)
}
