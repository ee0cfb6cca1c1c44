//! From keys to commands: chords, counts, the last change once more, and macros.

use crossterm::event::{KeyCode, KeyEvent};

use super::{go, overlay, perform};
use crate::workbench::command::Command;
use crate::workbench::keymap::Meaning;
use crate::workbench::message::Effect;
use crate::workbench::state::{Notice, State};

/// No count is larger: a slip of the finger must not keep the workbench busy.
const MOST: usize = 9_999_999;

/// No command is done more often by one count.
const MOST_REPEATS: usize = 200;

/// A key, wherever it goes.
pub fn key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    if let Some(recorded) = &mut state.typing.recording {
        recorded.push(key);
    }
    if state.overlay.is_some() {
        state.typing.clear();
        return overlay::key(state, key);
    }
    let typing = &mut state.typing;
    if key.code == KeyCode::Esc && typing.is_begun() {
        typing.clear();
        return vec![];
    }
    if typing.keys.is_empty()
        && let Some(digit) = state.keymap.digit(key, typing.count.is_some())
    {
        typing.count = Some((typing.count.unwrap_or(0) * 10 + digit).min(MOST));
        return vec![];
    }
    typing.keys.push(key);
    match state.keymap.meaning(state.focus, &state.typing.keys) {
        Meaning::Begun => vec![],
        Meaning::Command(command) => {
            let count = state.typing.count;
            state.typing.clear();
            run(state, command, count)
        }
        Meaning::Nothing => {
            if state.typing.keys.len() > 1 {
                state.say(Notice::info("these keys do nothing one after the other; `?` shows which do"));
            }
            state.typing.clear();
            vec![]
        }
    }
}

/// Does a command, with a count if one was typed.
pub fn run(state: &mut State, command: Command, count: Option<usize>) -> Vec<Effect> {
    match command {
        Command::Repeat => {
            return match state.typing.last {
                Some((last, before)) => run(state, last, count.or(before)),
                None => {
                    state.say(Notice::info("nothing was changed yet that could be done again"));
                    vec![]
                }
            };
        }
        Command::RecordMacro => {
            record(state);
            return vec![];
        }
        Command::PlayMacro => return play(state, count.unwrap_or(1)),
        _ => {}
    }
    if changes(command) {
        state.typing.last = Some((command, count));
    }
    match count {
        Some(count) if is_motion(command) => go(state, command, Some(count)),
        Some(count) if repeats(command) => (0..count.min(MOST_REPEATS)).flat_map(|_| perform(state, command)).collect(),
        _ => perform(state, command),
    }
}

fn record(state: &mut State) {
    match state.typing.recording.take() {
        Some(mut keys) => {
            // The key that ends it is no part of it.
            keys.pop();
            let count = keys.len();
            state.typing.kept = keys;
            state.say(Notice::info(format!("{count} keys are kept; `@` presses them again")));
        }
        None => {
            state.typing.recording = Some(Vec::new());
            state.say(Notice::info("keys are kept from here on; `Q` ends it"));
        }
    }
}

fn play(state: &mut State, count: usize) -> Vec<Effect> {
    if state.typing.is_playing {
        return vec![];
    }
    if state.typing.kept.is_empty() {
        state.say(Notice::info("no keys are kept; `Q` begins to keep them"));
        return vec![];
    }
    let keys = state.typing.kept.clone();
    // What is played is not recorded a second time: the key that plays it is.
    let recording = state.typing.recording.take();
    state.typing.is_playing = true;
    let mut effects = Vec::new();
    for pressed in keys.iter().cycle().take(keys.len() * count.min(MOST_REPEATS)) {
        effects.extend(key(state, *pressed));
    }
    state.typing.is_playing = false;
    state.typing.recording = recording;
    effects
}

/// Commands that move within a pane: a count is how far, or the line.
fn is_motion(command: Command) -> bool {
    use Command::{Down, First, Last, PageDown, PageUp, Up};
    matches!(command, Down | Up | PageDown | PageUp | First | Last)
}

/// Commands that are done as often as the count says.
fn repeats(command: Command) -> bool {
    use Command::*;
    matches!(
        command,
        ReadOn
            | ReadBack
            | NextSplit
            | More
            | Less
            | Reshuffle
            | WordLeft
            | WordRight
            | UndoEdit
            | RedoEdit
            | StepLeft
            | StepRight
            | PreviousSpike
            | NextSpike
            | EarlierCheckpoint
            | LaterCheckpoint
            | MaskToken
            | DeleteToken
            | MoveAblationUp
            | MoveAblationDown
            | RemoveAblation
            | NextPane
            | PreviousPane
    )
}

/// Commands that change what is shown, or the data: what one may want to do once more.
fn changes(command: Command) -> bool {
    use Command::*;
    !is_motion(command)
        && !matches!(
            command,
            Quit | Help
                | Palette
                | NextPane
                | PreviousPane
                | FocusData
                | FocusRationale
                | FocusTraining
                | FocusAttribution
                | FocusBoard
                | Zoom
                | Tour
                | Messages
                | Jobs
                | ToggleHints
                | ChooseTheme
                | Redraw
                | Suspend
                | Repeat
                | RecordMacro
                | PlayMacro
                | WordLeft
                | WordRight
                | StepLeft
                | StepRight
                | ReadOn
                | ReadBack
        )
}
