//! What stands below the table of questions: the selected one, a histogram, or its counterpart in another data set.

use super::browse::{ask, meaning};
use super::data;
use crate::corpus::counterpart::Counterpart;
use crate::corpus::filter::Field;
use crate::corpus::histogram::Histogram;
use crate::workbench::browse::{Ask, Below, Beside, Choice, sortable};
use crate::workbench::layout;
use crate::workbench::message::Effect;
use crate::workbench::state::{Chosen, Menu, MenuItem, NOW, Notice, Overlay, State};

/// The first item of both menus.
fn question_again() -> MenuItem {
    MenuItem { label: "the question".into(), note: String::new(), then: Chosen::Rows(Choice::Histogram(None)) }
}

pub fn offer_histogram(state: &mut State) {
    let now = match &state.data.below {
        Below::Histogram { field, .. } => Some(field.clone()),
        _ => None,
    };
    let item = |field: Field| MenuItem {
        label: field.to_string(),
        note: if now.as_ref() == Some(&field) { NOW.into() } else { String::new() },
        then: Chosen::Rows(Choice::Histogram(Some(field))),
    };
    // Every id and nearly every text is there once.
    let is_counted = |field: &Field| !matches!(field, Field::Id | Field::Question | Field::Rationale);
    let fields = sortable(&state.data.columns.others).into_iter().filter(is_counted).map(item);
    let again = now.is_some().then(question_again);
    state.overlay = Some(Overlay::Menu(Menu::new("histogram of", again.into_iter().chain(fields).collect())));
}

pub fn offer_beside(state: &mut State) {
    let now = match &state.data.below {
        Below::Beside { other, .. } => Some(other.clone()),
        _ => None,
    };
    let item = |name: &String| MenuItem {
        label: name.clone(),
        note: if now.as_ref() == Some(name) { NOW.into() } else { String::new() },
        then: Chosen::Rows(Choice::Beside(Some(name.clone()))),
    };
    let others = state.data.datasets.iter().filter(|name| **name != state.draft.dataset).map(item);
    let items: Vec<MenuItem> = now.is_some().then(question_again).into_iter().chain(others).collect();
    if items.is_empty() {
        state.say(Notice::error("there is no other data set · `afterthought data import` brings one"));
    } else {
        state.overlay = Some(Overlay::Menu(Menu::new("the same question in", items)));
    }
}

/// The selected question in full again.
pub fn show_question(state: &mut State) -> Vec<Effect> {
    state.data.below = Below::Question;
    data::keep_cursor_visible(state);
    data::ask_rows(state)
}

pub fn show_histogram(state: &mut State, field: Option<Field>) -> Vec<Effect> {
    let Some(field) = field else { return show_question(state) };
    state.data.below = Below::Histogram { field, found: None };
    data::keep_cursor_visible(state);
    count(state)
}

pub fn show_beside(state: &mut State, other: Option<String>) -> Vec<Effect> {
    let Some(other) = other else { return show_question(state) };
    state.data.below = Below::Beside { other, found: Beside::Asked };
    data::keep_cursor_visible(state);
    compare(state)
}

/// Counts for the histogram, where there is one. What was counted before stays until then.
pub fn count(state: &mut State) -> Vec<Effect> {
    let Below::Histogram { field, .. } = &state.data.below else { return vec![] };
    // One line says what is shown, one sums it up, and one bin holds the few that are larger.
    let (field, bins) = (field.clone(), layout::below_height(state).saturating_sub(3).max(2));
    let mut filter = meaning(state);
    if field.needs_answers() || field == Field::Marked {
        filter = filter.with(super::browse::known(state, true, true));
    }
    ask(state, Ask::Histogram { field, filter: Box::new(filter), bins })
}

pub fn counted(state: &mut State, histogram: Box<Histogram>) {
    state.notice = None;
    if let Below::Histogram { field, found } = &mut state.data.below
        && field.to_string() == histogram.field
    {
        *found = Some(histogram);
    }
}

/// Asks for the counterpart of the selected question, where one is shown.
pub fn compare(state: &mut State) -> Vec<Effect> {
    let Some(selected) = &state.data.selected else { return vec![] };
    let Below::Beside { other, found } = &mut state.data.below else { return vec![] };
    *found = Beside::Asked;
    let ask_for = Ask::Counterpart { other: other.clone(), example: Box::new(selected.example.clone()) };
    ask(state, ask_for)
}

pub fn compared(state: &mut State, counterpart: Option<Box<Counterpart>>) {
    if let Below::Beside { found, .. } = &mut state.data.below {
        *found = counterpart.map_or(Beside::Missing, Beside::Found);
    }
}
