//! Searching and replacing over questions: the form's keys, its live list, and the replacement itself.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::browse::{self, ask};
use super::{data, marks, overlay, recipe};
use crate::corpus::filter::Filter;
use crate::corpus::replace::{Done, Hit, Place, Replacement};
use crate::workbench::browse::Ask;
use crate::workbench::message::Effect;
use crate::workbench::replace::{Field, Replace, Scope};
use crate::workbench::state::{Notice, Overlay, State};

/// Opens the form on the marked questions; without marks on those that match, or on all.
pub fn open(state: &mut State) -> Vec<Effect> {
    let scope = if !marks::marked(state).is_empty() {
        Scope::Marked
    } else if !state.data.meaning.is_empty() {
        Scope::Matching
    } else {
        Scope::All
    };
    state.overlay = Some(Overlay::Replace(Box::new(Replace::new(scope))));
    vec![]
}

pub fn key(state: &mut State, key: KeyEvent, mut form: Box<Replace>) -> Vec<Effect> {
    if form.applying.is_some() {
        if key.code == KeyCode::Esc {
            let effects = ask(state, Ask::StopReplacing);
            state.say(Notice::info("stopped; unless it was done by then, nothing was replaced"));
            return effects;
        }
        state.overlay = Some(Overlay::Replace(form));
        return vec![];
    }
    let mut effects = vec![];
    let before = (form.terms.clone(), form.scope);
    match (key.code, form.field) {
        (KeyCode::Esc, _) => return ask(state, Ask::StopFinding),
        (KeyCode::Char('c'), _) if key.modifiers.contains(KeyModifiers::CONTROL) => {
            return ask(state, Ask::StopFinding);
        }
        (KeyCode::Enter, _) => effects = apply(state, &mut form),
        (KeyCode::Tab, _) => form.field = step(form.field, 1),
        (KeyCode::BackTab, _) => form.field = step(form.field, Field::ALL.len() - 1),
        (KeyCode::Down | KeyCode::Char('j'), Field::List) => {
            form.cursor = (form.cursor + 1).min(form.hits.len().saturating_sub(1));
        }
        (KeyCode::Up | KeyCode::Char('k'), Field::List) if form.cursor > 0 => form.cursor -= 1,
        (KeyCode::PageDown, Field::List) => form.cursor = (form.cursor + 10).min(form.hits.len().saturating_sub(1)),
        (KeyCode::PageUp, Field::List) => form.cursor = form.cursor.saturating_sub(10),
        (KeyCode::Home | KeyCode::Char('g'), Field::List) => form.cursor = 0,
        (KeyCode::End | KeyCode::Char('G'), Field::List) => form.cursor = form.hits.len().saturating_sub(1),
        (KeyCode::Char(' '), Field::List) => {
            if let Some(hit) = form.hits.get(form.cursor)
                && !form.left_out.remove(&hit.id)
            {
                form.left_out.insert(hit.id.clone());
            }
            form.cursor = (form.cursor + 1).min(form.hits.len().saturating_sub(1));
        }
        (KeyCode::Down, _) => form.field = step(form.field, 1),
        (KeyCode::Up, Field::Find) => {}
        (KeyCode::Up, _) => form.field = step(form.field, Field::ALL.len() - 1),
        (KeyCode::Char(' ') | KeyCode::Left | KeyCode::Right, Field::Place) => {
            form.terms.place = if form.terms.place == Place::Rationale { Place::Question } else { Place::Rationale };
        }
        (KeyCode::Char(' ') | KeyCode::Left | KeyCode::Right, Field::Scope) => {
            let by = if key.code == KeyCode::Left { Scope::ALL.len() - 1 } else { 1 };
            let now = Scope::ALL.iter().position(|scope| *scope == form.scope).unwrap_or(0);
            form.scope = Scope::ALL[(now + by) % Scope::ALL.len()];
        }
        (_, Field::Find) => overlay::type_into(&mut form.terms.find, key),
        (_, Field::With) => overlay::type_into(&mut form.terms.with, key),
        _ => {}
    }
    if before != (form.terms.clone(), form.scope) {
        effects = find(state, &mut form);
    }
    state.overlay = Some(Overlay::Replace(form));
    effects
}

fn step(field: Field, by: usize) -> Field {
    let now = Field::ALL.iter().position(|other| *other == field).unwrap_or(0);
    Field::ALL[(now + by) % Field::ALL.len()]
}

/// Text that was pasted into the form: its first line.
pub fn paste(state: &mut State, text: &str) -> Vec<Effect> {
    let Some(Overlay::Replace(mut form)) = state.overlay.take() else { return vec![] };
    let line = text.lines().next().unwrap_or_default();
    let mut effects = vec![];
    match form.field {
        Field::Find => form.terms.find.push_str(line),
        Field::With => form.terms.with.push_str(line),
        _ => {}
    }
    if matches!(form.field, Field::Find | Field::With) && form.applying.is_none() {
        effects = find(state, &mut form);
    }
    state.overlay = Some(Overlay::Replace(form));
    effects
}

/// Which questions are searched.
fn filter(state: &State, scope: Scope) -> Filter {
    match scope {
        Scope::Marked => Filter::parse("is:marked").unwrap_or_default().with(browse::known(state, false, true)),
        Scope::Matching => browse::meaning(state),
        Scope::All => Filter::default(),
    }
}

/// Looks for what was typed.
fn find(state: &mut State, form: &mut Replace) -> Vec<Effect> {
    (form.hits, form.read, form.is_done) = (Vec::new(), 0, false);
    form.cursor = 0;
    form.mistake = None;
    if form.terms.find.is_empty() {
        form.generation = 0;
        return ask(state, Ask::StopFinding);
    }
    if let Err(mistake) = Replacement::new(&form.terms.find, &form.terms.with, form.terms.place) {
        form.mistake = Some(mistake);
        form.generation = 0;
        return ask(state, Ask::StopFinding);
    }
    let filter = Box::new(filter(state, form.scope));
    let effects = ask(state, Ask::Find { terms: form.terms.clone(), filter });
    form.generation = state.generation;
    effects
}

/// Replaces what is left in the list.
fn apply(state: &mut State, form: &mut Replace) -> Vec<Effect> {
    let (questions, _) = form.counts();
    if !form.is_done || questions == 0 {
        let why = match (&form.mistake, form.terms.find.is_empty(), form.is_done) {
            (Some(mistake), ..) => mistake.clone(),
            (None, true, _) => "type what to find first".into(),
            (None, false, false) if form.generation > 0 => "the search is not done yet".into(),
            _ => "there is nothing to replace".into(),
        };
        state.say(Notice::info(why));
        return vec![];
    }
    let filter = Box::new(filter(state, form.scope));
    let left_out = Arc::new(form.left_out.clone());
    let effects = ask(state, Ask::Replace { terms: form.terms.clone(), filter, left_out });
    form.applying = Some(state.generation);
    effects
}

/// What was found so far.
pub fn found(state: &mut State, generation: u64, hits: Vec<Hit>, read: usize, is_done: bool) {
    if let Some(Overlay::Replace(form)) = &mut state.overlay
        && form.generation == generation
    {
        form.hits.extend(hits);
        (form.read, form.is_done) = (read, is_done);
    }
}

/// The replacement is in the file, or why not.
pub fn replaced(state: &mut State, generation: u64, result: Result<Done, String>) -> Vec<Effect> {
    if let Some(Overlay::Replace(form)) = &mut state.overlay
        && form.applying == Some(generation)
    {
        state.overlay = None;
    }
    match result {
        Ok(Done { questions, places }) => {
            state.is_project = true;
            let text = format!("{places} places in {questions} questions, in edits.jsonl · `u` in one takes all back");
            state.say(Notice::info(text));
        }
        Err(error) => state.say(Notice::error(error)),
    }
    reread(state)
}

/// An undo or a redo changed several questions.
pub fn together(state: &mut State, questions: usize) -> Vec<Effect> {
    state.say(Notice::info(format!("{questions} questions that were changed together were changed back or again")));
    reread(state)
}

fn reread(state: &mut State) -> Vec<Effect> {
    let mut effects = data::reload(state);
    effects.extend(recipe::refresh_preview(state));
    effects
}
