//! Marks: the questions that a person picked, by data set and split.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::browse::{ask, meaning, place};
use super::data;
use crate::workbench::browse::{Ask, Choice, Place};
use crate::workbench::message::Effect;
use crate::workbench::state::{Chosen, InputFor, Menu, MenuItem, Notice, Overlay, State};

/// The marked ids of the split that is shown.
pub fn marked(state: &State) -> Arc<BTreeSet<String>> {
    let key = (state.draft.dataset.clone(), state.data.split.clone());
    state.data.marks.get(&key).cloned().unwrap_or_default()
}

/// The marks of a split, to change.
fn marks_of<'a>(state: &'a mut State, place: &Place) -> &'a mut BTreeSet<String> {
    let key = (place.dataset.clone(), place.split.clone());
    Arc::make_mut(state.data.marks.entry(key).or_default())
}

/// Marks the question under the cursor, or unmarks it, and steps down.
pub fn mark(state: &mut State) -> Vec<Effect> {
    let Some(row) = state.data.row_at(state.data.cursor) else { return vec![] };
    let Some(Ok(example)) = state.data.loaded.get(&row) else { return vec![] };
    let (id, place) = (example.id.clone(), place(state));
    let marks = marks_of(state, &place);
    if !marks.remove(&id) {
        marks.insert(id);
    }
    state.data.follows = false;
    state.data.cursor = (state.data.cursor + 1).min(state.data.lines().saturating_sub(1));
    data::keep_cursor_visible(state);
    data::look(state)
}

pub fn offer(state: &mut State) {
    let count = marked(state).len();
    let what = if state.data.meaning.is_empty() { "mark all questions of the split" } else { "mark all that match" };
    let items = [
        (what, format!("{} now", state.data.lines()), Choice::MarkMatching),
        ("show marked only", format!("{count} marked · the filter is:marked"), Choice::ShowMarked),
        ("save marked ids", "JSON lines in the project's folder".into(), Choice::SaveMarks),
        ("clear marks", format!("{count} marked"), Choice::ClearMarks),
    ];
    let item =
        |(label, note, then): (&str, String, Choice)| MenuItem { label: label.into(), note, then: Chosen::Rows(then) };
    state.overlay = Some(Overlay::Menu(Menu::new("marks", items.into_iter().map(item).collect())));
}

pub fn mark_matching(state: &mut State) -> Vec<Effect> {
    let filter = Box::new(meaning(state));
    ask(state, Ask::Mark(filter))
}

/// The ids that were to be marked.
pub fn marked_all(state: &mut State, place: Place, ids: Vec<String>, is_cut: bool) {
    let found = ids.len();
    let marks = marks_of(state, &place);
    marks.extend(ids);
    let count = marks.len();
    let cut = if is_cut { " · more match, but no more are marked at once" } else { "" };
    state.say(Notice::info(format!("{found} match and are marked · {count} marked in {}{cut}", place.split)));
}

pub fn clear(state: &mut State) -> Vec<Effect> {
    let place = place(state);
    let count = marked(state).len();
    marks_of(state, &place).clear();
    state.say(Notice::info(format!("{count} marks were cleared in {}", place.split)));
    if state.data.meaning.needs_marks() { super::browse::search(state) } else { vec![] }
}

pub fn show(state: &mut State) -> Vec<Effect> {
    // The same text again would change nothing, but other questions may be marked now.
    state.data.meaning = Default::default();
    data::set_filter(state, "is:marked".into())
}

pub fn offer_file(state: &mut State) {
    if marked(state).is_empty() {
        state.say(Notice::error("nothing is marked here · m marks the question under the cursor"));
        return;
    }
    let text = format!("marks-{}-{}.jsonl", state.draft.dataset, state.data.split);
    let title = "file for the marked ids, in the project's folder".into();
    state.overlay = Some(Overlay::Input { title, text, then: InputFor::MarksFile });
}

/// Writes the marked ids of this split to a file of the project.
pub fn save(state: &mut State, path: &str) -> Vec<Effect> {
    let ids = marked(state);
    ask(state, Ask::SaveMarks { path: path.into(), ids })
}
