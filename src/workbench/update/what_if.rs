//! What if: the tokens that the attribution pane shows are masked, taken out, typed anew or shuffled, and every choice's
//! probability is asked for again with each key.

use std::ops::Range;

use crossterm::event::{KeyCode, KeyEvent};

use super::attribution::{example_to_read, put_last, run_to_show};
use super::{overlay, recipe};
use crate::attribution::Target;
use crate::attribution::units::spans;
use crate::attribution::what_if::{Changes, Edit, WhatIf};
use crate::corpus::Example;
use crate::corpus::edits::Patch;
use crate::rationale::Role;
use crate::rationale::recipe::{Ablation, Keep, KeepBy, Shuffle, Unit};
use crate::rationale::tokens::words;
use crate::workbench::attribution::Changing;
use crate::workbench::command::Command;
use crate::workbench::message::{Effect, WhatIfRequest};
use crate::workbench::state::{Chosen, Menu, MenuItem, Notice, Overlay, State};

/// What changes can become.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    Rationale(String),
    Question(String),
    /// The places of the words that are left, in characters of the rationale.
    Highlights(Vec<Range<usize>>),
    Shuffle(Unit, u64),
}

pub fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    match command {
        Command::WordLeft => step(state, false),
        Command::WordRight => step(state, true),
        Command::MaskToken => toggle(state, Edit::Mask),
        Command::DeleteToken => toggle(state, Edit::Delete),
        Command::RetypeToken => retype(state),
        Command::Reshuffle => {
            let unit = state.attribution.unit;
            let seed = state.attribution.changes.now.shuffle.map_or(0, |(_, seed)| seed + 1);
            change(state, |changes| changes.shuffle = Some((unit, seed)))
        }
        Command::UndoEdit => {
            let changing = &mut state.attribution.changes;
            match changing.before.pop() {
                Some(before) => {
                    changing.now = before;
                    ask(state).into_iter().collect()
                }
                None => {
                    state.say(Notice::info("nothing was changed here"));
                    vec![]
                }
            }
        }
        Command::ClearChanges => {
            if state.attribution.changes.now.is_empty() {
                return vec![];
            }
            change(state, |changes| *changes = Changes::default())
        }
        Command::KeepChanges => keep(state),
        _ => vec![],
    }
}

/// The units that a cursor can stand on: what is shown of the question and the rationale.
pub fn units(state: &State) -> Vec<Range<usize>> {
    let view = &state.attribution;
    let Some(result) = &view.result else { return vec![] };
    let tokens = &result.found.tokens;
    let shown = |span: &Range<usize>| match tokens[span.start].role {
        Role::Rationale => true,
        Role::Prompt => !view.shows_rationale_alone(),
        // Outside the label's own sequence a token of any kind may be looked at.
        _ => !reads_first(state) && !view.shows_rationale_alone(),
    };
    spans(tokens.iter().map(|token| (token.text.as_str(), token.role)), view.unit).into_iter().filter(shown).collect()
}

/// Whether what is shown is the sequence that changes are tried on.
fn reads_first(state: &State) -> bool {
    matches!(state.attribution.asked.target, Target::Label | Target::Choice(_) | Target::Contrast)
}

/// The unit under the cursor.
pub fn under_cursor(state: &State) -> Option<Range<usize>> {
    let units = units(state);
    let at = units.iter().find(|unit| unit.contains(&state.attribution.cursor)).cloned();
    at.or_else(|| units.first().cloned())
}

/// Keeps the cursor on something that is shown.
pub fn place_cursor(state: &mut State) {
    if let Some(unit) = under_cursor(state) {
        state.attribution.cursor = unit.start;
    }
}

fn step(state: &mut State, right: bool) -> Vec<Effect> {
    let units = units(state);
    let now = units.iter().position(|unit| unit.contains(&state.attribution.cursor)).unwrap_or(0);
    let next = if right { (now + 1).min(units.len().saturating_sub(1)) } else { now.saturating_sub(1) };
    if let Some(unit) = units.get(next) {
        state.attribution.cursor = unit.start;
    }
    vec![]
}

/// To the first word, or the last.
pub fn go(state: &mut State, command: Command) {
    let units = units(state);
    let (unit, scroll) = match command {
        Command::First => (units.first(), 0),
        _ => (units.last(), usize::MAX / 2),
    };
    if let Some(unit) = unit {
        (state.attribution.cursor, state.attribution.scroll) = (unit.start, scroll);
    }
}

/// Forgets the changes of another question, or of this one's text before it was edited.
pub fn forget_another(state: &mut State, example: &Example) {
    let now = (example.id.clone(), example.question.clone(), example.rationale.clone());
    if state.attribution.changes.of.as_ref().is_some_and(|of| *of != now) {
        state.attribution.changes = Changing::default();
    }
    state.attribution.changes.of = Some(now);
}

fn change(state: &mut State, change: impl FnOnce(&mut Changes)) -> Vec<Effect> {
    if !reads_first(state) {
        state.say(Notice::info("changes are tried on what stands before the label: `t`, then label, shows that"));
        return vec![];
    }
    let changing = &mut state.attribution.changes;
    changing.before.push(changing.now.clone());
    change(&mut changing.now);
    ask(state).into_iter().collect()
}

fn toggle(state: &mut State, edit: Edit) -> Vec<Effect> {
    let Some(unit) = under_cursor(state) else { return nothing_there(state) };
    let effects = change(state, |changes| {
        let is_so = unit.clone().all(|place| changes.edits.get(&place) == Some(&edit));
        for place in unit {
            if is_so {
                changes.edits.remove(&place);
            } else {
                changes.edits.insert(place, edit.clone());
            }
        }
    });
    // On to the next, as one who strikes words out does.
    step(state, true);
    effects
}

fn nothing_there(state: &mut State) -> Vec<Effect> {
    state.say(Notice::info("there is no token here to change yet"));
    vec![]
}

fn retype(state: &mut State) -> Vec<Effect> {
    let Some(unit) = under_cursor(state) else { return nothing_there(state) };
    if !reads_first(state) {
        return change(state, |_| {});
    }
    let tokens = state.attribution.result.as_ref().map(|result| &result.found.tokens[unit.clone()]);
    let text: String = tokens.into_iter().flatten().map(|token| token.text.as_str()).collect();
    let text = text.trim().to_owned();
    let changing = &mut state.attribution.changes;
    changing.before.push(changing.now.clone());
    changing.typing = Some((unit.collect(), text));
    state.overlay = Some(Overlay::Retype);
    vec![]
}

/// A key while a token is typed anew: every choice moves with it.
pub fn retype_key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    let changing = &mut state.attribution.changes;
    let Some((places, mut text)) = changing.typing.take() else { return vec![] };
    match key.code {
        KeyCode::Enter => {
            // Nothing was typed: nothing to take back.
            if changing.before.last() == Some(&changing.now) {
                changing.before.pop();
            }
            return vec![];
        }
        KeyCode::Esc => {
            changing.now = changing.before.pop().unwrap_or_default();
            return ask(state).into_iter().collect();
        }
        _ => overlay::type_into(&mut text, key),
    }
    typed(state, places, text)
}

/// What was pasted goes where typed text goes.
pub fn retype_paste(state: &mut State, pasted: &str) -> Vec<Effect> {
    let Some((places, mut text)) = state.attribution.changes.typing.take() else { return vec![] };
    text.push_str(overlay::first_line(pasted));
    typed(state, places, text)
}

fn typed(state: &mut State, places: Vec<usize>, text: String) -> Vec<Effect> {
    let changing = &mut state.attribution.changes;
    for (number, place) in places.iter().enumerate() {
        // The first of a word's tokens has all of the text, the others go.
        let edit = if number == 0 { Edit::Retype(text.clone()) } else { Edit::Delete };
        changing.now.edits.insert(*place, edit);
    }
    changing.typing = Some((places, text));
    state.overlay = Some(Overlay::Retype);
    ask(state).into_iter().collect()
}

/// Asks what the changes do.
pub fn ask(state: &mut State) -> Option<Effect> {
    let changes = state.attribution.changes.now.clone();
    if changes.is_empty() || !reads_first(state) {
        let changing = &mut state.attribution.changes;
        (changing.result, changing.error, changing.generation) = (None, None, 0);
        return None;
    }
    let looked = run_to_show(state)?;
    let example = example_to_read(state, &looked)?;
    let generation = state.next_generation();
    state.attribution.changes.generation = generation;
    Some(Effect::WhatIf(Box::new(WhatIfRequest {
        generation,
        looked,
        dataset: state.draft.dataset.clone(),
        example,
        source: state.draft.rationale.source.clone(),
        changes,
    })))
}

pub fn found(state: &mut State, generation: u64, result: Result<WhatIf, String>) {
    let changing = &mut state.attribution.changes;
    if generation == changing.generation {
        match result {
            Ok(found) => (changing.result, changing.error) = (Some(found), None),
            Err(error) => (changing.result, changing.error) = (None, Some(error)),
        }
    }
}

/// Offers what the changes can become.
fn keep(state: &mut State) -> Vec<Effect> {
    let Some(result) = &state.attribution.changes.result else {
        state.say(Notice::info("nothing was changed yet: `x` masks, `d` takes out, `e` types anew, `R` shuffles"));
        return vec![];
    };
    if state.attribution.reads_own {
        state.say(Notice::info("this is what the student wrote; `O` goes back to the teacher's, which can be edited"));
        return vec![];
    }
    let changes = &state.attribution.changes.now;
    let mut items: Vec<(&str, String, Kept)> = Vec::new();
    if let Some(rationale) = &result.rationale {
        let note = "an edit of the data set; the files stay as they are";
        items.push(("this rationale", note.into(), Kept::Rationale(rationale.clone())));
    }
    if let Some(question) = &result.question {
        items.push(("this question", "an edit of the data set, likewise".into(), Kept::Question(question.clone())));
    }
    if let Some((unit, seed)) = changes.shuffle {
        let note = format!("shuffled {}s for every question, ablation seed {seed}", unit.name());
        items.push(("recipe: shuffle", note, Kept::Shuffle(unit, seed)));
    }
    if let Some(left) = left(state, result) {
        let note = "marks them in the data set, and the recipe keeps what is marked";
        items.push(("recipe: the words left", note.into(), Kept::Highlights(left)));
    }
    if items.is_empty() {
        state.say(Notice::info(
            "no text is read as these tokens (a mask, a part of a character, a word outside the question): look at it, it \
             can't be kept",
        ));
        return vec![];
    }
    let item =
        |(label, note, kept): (&str, String, Kept)| MenuItem { label: label.into(), note, then: Chosen::Keep(kept) };
    let items = items.into_iter().map(item).collect();
    state.overlay = Some(Overlay::Menu(Menu::new("keep the change as", items)));
    vec![]
}

/// The words of the rationale that are still there, where words were struck out and none was typed or moved.
fn left(state: &State, result: &WhatIf) -> Option<Vec<Range<usize>>> {
    let changes = &state.attribution.changes.now;
    let example = &state.data.selected.as_ref()?.example;
    let struck = |edit: &Edit| matches!(edit, Edit::Mask | Edit::Delete);
    if changes.shuffle.is_some() || changes.edits.is_empty() || !changes.edits.values().all(struck) {
        return None;
    }
    let own: Vec<_> = result.tokens.iter().filter(|token| token.role == Role::Rationale).collect();
    let found = &state.attribution.result.as_ref()?.found;
    let original = |place: usize| found.tokens.get(place).map_or("", |token| token.text.as_str());
    let by_word = spans(own.iter().map(|token| (original(token.place), token.role)), Unit::Word);
    let words = words(example.rationale.as_deref()?);
    // Words are counted alike by both, or nothing is said.
    if by_word.len() != words.len() || own.iter().all(|token| token.edit.is_none()) {
        return None;
    }
    let is_left = |span: &Range<usize>| own[span.clone()].iter().all(|token| token.edit.is_none());
    let left: Vec<Range<usize>> =
        by_word.iter().zip(words).filter(|(span, _)| is_left(span)).map(|(_, word)| word).collect();
    (!left.is_empty()).then_some(left)
}

/// Makes a change what it was chosen to be.
pub fn kept(state: &mut State, kept: Kept) -> Vec<Effect> {
    let Some(target) = state.edit_target() else { return vec![] };
    match kept {
        Kept::Rationale(text) => recipe::set_rationale(state, target, text),
        Kept::Question(text) => vec![Effect::Edit { target, patch: Patch::Question(text) }],
        Kept::Highlights(left) => {
            let keep = Ablation::Keep(Keep::of(KeepBy::Highlight, None));
            let text = "the words left are marked, and the recipe keeps what is marked; `n` trains on it".to_owned();
            let mut effects = vec![Effect::Edit { target, patch: Patch::Highlights(left) }];
            effects.extend(put_last(state, keep, text));
            effects
        }
        Kept::Shuffle(unit, seed) => {
            state.draft.seed.ablation = seed;
            let shuffle = Ablation::Shuffle(Shuffle { unit, anew: None });
            put_last(state, shuffle, format!("the recipe shuffles {}s now; `n` trains on it", unit.name()))
        }
    }
}
