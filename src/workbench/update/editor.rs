//! Keys in the editor of a rationale.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::recipe;
use crate::corpus::edits::Patch;
use crate::rationale::spelling::{Around, SpelledToken};
use crate::text;
use crate::workbench::editor::Editor;
use crate::workbench::editor::keys::{Does, meaning};
use crate::workbench::layout;
use crate::workbench::message::{Effect, SpellRequest};
use crate::workbench::state::{Confirmed, Notice, Overlay, State};

/// Opens the editor on the rationale of the selected question.
pub fn open(state: &mut State) -> Vec<Effect> {
    let (Some(target), Some(selected)) = (state.edit_target(), &state.data.selected) else {
        return recipe::nothing_selected(state);
    };
    let stored = selected.example.rationale.as_deref().unwrap_or_default().trim();
    let editor = Editor::new(target, stored.to_owned(), selected.example.highlights.clone());
    if text::first_unsafe(stored, true).is_some() {
        state.say(Notice::info("control characters are shown as symbols, and stay what they are"));
    }
    show(state, Box::new(editor))
}

/// Shows an editor, such as one that was left over by a crash.
pub fn show(state: &mut State, mut editor: Box<Editor>) -> Vec<Effect> {
    fit(state, &mut editor);
    let effects = spell(state, &mut editor);
    state.overlay = Some(Overlay::Editor(editor));
    effects
}

/// The screen has another size.
pub fn resized(state: &mut State) -> Vec<Effect> {
    if let Some(mut kept) = state.kept_editor.take() {
        fit(state, &mut kept);
        state.kept_editor = Some(kept);
    }
    match state.overlay.take() {
        Some(Overlay::Editor(editor)) => show(state, editor),
        other => {
            state.overlay = other;
            vec![]
        }
    }
}

fn fit(state: &State, editor: &mut Editor) {
    let text = layout::editor(state.columns, state.rows, editor.changes().is_some()).text;
    // The cursor stands behind the last character of a full row.
    editor.fit(usize::from(text.width).saturating_sub(1), usize::from(text.height));
}

pub fn key(state: &mut State, key: KeyEvent, mut editor: Box<Editor>) -> Vec<Effect> {
    if editor.shows_help {
        // Whatever the key is, it is read by then.
        editor.shows_help = false;
        state.overlay = Some(Overlay::Editor(editor));
        return vec![];
    }
    match meaning(key) {
        Some(Does::Keep) => return keep(state, &editor),
        Some(Does::Leave) if !editor.is_changed() => {
            state.say(Notice::info("nothing was changed"));
            return vec![];
        }
        Some(Does::Leave) => {
            // What was typed is kept until the answer is yes.
            let question = "throw the edit away? (no goes back to it, and Ctrl-S there keeps it)".to_owned();
            state.kept_editor = Some(editor);
            state.overlay = Some(Overlay::Confirm { question, then: Confirmed::DiscardEdit });
            return vec![];
        }
        Some(Does::Undo) => editor.undo(),
        Some(Does::Redo) => editor.redo(),
        Some(Does::Mark) => {
            if !editor.mark() {
                state.say(Notice::info("the cursor is at no word"));
            }
        }
        Some(Does::Compare) => {
            let other = if editor.changes().is_some() { None } else { Some(compared(state, &editor)) };
            editor.compare_with(other);
        }
        Some(Does::Help) => editor.shows_help = true,
        Some(Does::Break) => editor.type_in('\n'),
        Some(Does::Go(motion)) => editor.go(motion),
        Some(Does::Erase(motion)) => editor.erase(motion),
        None => match key.code {
            // Who holds Alt or Ctrl means no letter.
            KeyCode::Char(c) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
                editor.type_in(c);
            }
            KeyCode::Tab => editor.type_in('\t'),
            _ => {}
        },
    }
    show(state, editor)
}

/// Text that was pasted into it.
pub fn paste(state: &mut State, text: &str) -> Vec<Effect> {
    let Some(Overlay::Editor(mut editor)) = state.overlay.take() else { return vec![] };
    editor.paste(text);
    show(state, editor)
}

/// What the text is compared with: the teacher's, where it is known, else what was there when the editor was opened.
fn compared(state: &State, editor: &Editor) -> String {
    let teacher = state.recipe.original.as_ref().filter(|(target, _)| *target == editor.target);
    let teacher = teacher.and_then(|(_, example)| example.rationale.as_deref()).map(|text| text.trim().to_owned());
    teacher.unwrap_or_else(|| editor.original().to_owned())
}

/// Stores the text and its key words as one edit.
fn keep(state: &mut State, editor: &Editor) -> Vec<Effect> {
    let (text, target) = (editor.text().trim(), editor.target.clone());
    let lead = editor.text().chars().take_while(|c| c.is_whitespace()).count();
    let length = text.chars().count();
    let marks: Vec<_> = editor
        .marks()
        .into_iter()
        .map(|mark| mark.start.saturating_sub(lead).min(length)..mark.end.saturating_sub(lead).min(length))
        .filter(|mark| !mark.is_empty())
        .collect();
    let is_same_text = text == editor.original();
    if is_same_text && !editor.is_changed() {
        state.say(Notice::info("nothing was changed"));
        return vec![];
    }
    let mut patches = Vec::new();
    if !is_same_text {
        patches.push(Patch::Rationale((!text.is_empty()).then(|| text.to_owned())));
    }
    // New text has no marks but those that are set with it.
    if is_same_text || !marks.is_empty() {
        patches.push(Patch::Highlights(marks));
    }
    vec![Effect::EditAll { target, patches }]
}

/// Asks how the student spells the word at the cursor.
fn spell(state: &mut State, editor: &mut Editor) -> Vec<Effect> {
    let Some(around) = editor.around() else {
        (editor.spelled, editor.spelling) = (None, 0);
        return vec![];
    };
    let effect = ask(state, around);
    editor.spelling = state.generation;
    vec![effect]
}

/// Asks how the student spells a word; the answer has the newest generation.
pub fn ask(state: &mut State, around: Around) -> Effect {
    let generation = state.next_generation();
    Effect::Spell(Box::new(SpellRequest { generation, spec: state.draft.clone(), around }))
}

/// How a word is spelled: for the editor, or for the rationale pane.
pub fn spelled(state: &mut State, generation: u64, result: Result<Vec<SpelledToken>, String>) {
    if let Some(Overlay::Editor(editor)) = &mut state.overlay
        && editor.spelling == generation
    {
        editor.spelled = Some(result);
    } else if state.recipe.spelling == generation {
        state.recipe.spelled = Some(result);
    }
}
