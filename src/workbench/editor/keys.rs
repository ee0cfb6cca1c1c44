//! The keys of the editor. Its help and its last line are made from this table, so that they can't drift from the keys.

use crossterm::event::KeyEvent;

use super::Motion;
use crate::workbench::keymap::key::{normal, parse};

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Keep,
    Leave,
    Undo,
    Redo,
    Mark,
    Compare,
    Help,
    /// A line break.
    Break,
    Go(Motion),
    Erase(Motion),
}

/// Keys for a thing, parted by blanks, and what it is.
pub struct Key {
    pub keys: &'static str,
    pub does: Does,
    pub what: &'static str,
    /// The word beside the first key in the last line.
    pub hint: Option<&'static str>,
}

const fn key(keys: &'static str, does: Does, what: &'static str) -> Key {
    Key { keys, does, what, hint: None }
}

const fn hinted(keys: &'static str, does: Does, what: &'static str, hint: &'static str) -> Key {
    Key { keys, does, what, hint: Some(hint) }
}

// Ctrl-H is what some terminals send for Backspace, so that it can't be help.
pub const KEYS: &[Key] = &[
    hinted("ctrl-s", Does::Keep, "keep the text: lines in edits.jsonl", "keep"),
    hinted("esc", Does::Leave, "leave; asks where something was changed", "leave"),
    hinted("ctrl-u ctrl-z", Does::Undo, "take the last step back", "undo"),
    hinted("ctrl-r ctrl-y", Does::Redo, "make it again", "redo"),
    hinted("ctrl-k alt-k", Does::Mark, "mark the word at the cursor as key, or unmark it", "key word"),
    hinted("ctrl-d", Does::Compare, "what differs from the teacher's text, while you type", "diff"),
    hinted("f1", Does::Help, "these keys", "keys"),
    key("left", Does::Go(Motion::Left), "a character to the left"),
    key("right", Does::Go(Motion::Right), "a character to the right"),
    key("up ctrl-p", Does::Go(Motion::Up), "a row up"),
    key("down ctrl-n", Does::Go(Motion::Down), "a row down"),
    key("ctrl-left alt-b alt-left", Does::Go(Motion::WordLeft), "a word to the left"),
    key("ctrl-right alt-f alt-right", Does::Go(Motion::WordRight), "a word to the right"),
    key("home", Does::Go(Motion::RowStart), "to the beginning of the row"),
    key("end ctrl-e", Does::Go(Motion::RowEnd), "to the end of the row"),
    key("pageup", Does::Go(Motion::PageUp), "a page up"),
    key("pagedown", Does::Go(Motion::PageDown), "a page down"),
    key("ctrl-home", Does::Go(Motion::Start), "to the beginning of the text"),
    key("ctrl-end", Does::Go(Motion::End), "to the end of the text"),
    key("enter", Does::Break, "a line break"),
    key("backspace ctrl-h", Does::Erase(Motion::Left), "the character before the cursor"),
    key("delete", Does::Erase(Motion::Right), "the character at the cursor"),
    key("ctrl-w alt-backspace", Does::Erase(Motion::WordLeft), "the word before the cursor"),
    key("alt-d ctrl-delete", Does::Erase(Motion::WordRight), "the word after the cursor"),
];

/// What a key does, if it does anything but write itself.
pub fn meaning(event: KeyEvent) -> Option<Does> {
    let pressed = normal(event);
    KEYS.iter().find(|key| key.keys.split(' ').any(|key| parse(key) == Some(pressed))).map(|key| key.does)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_one_and_means_one_thing() {
        let all: Vec<&str> = KEYS.iter().flat_map(|key| key.keys.split(' ')).collect();
        for (place, key) in all.iter().enumerate() {
            assert!(parse(key).is_some(), "{key}");
            assert!(all[..place].iter().all(|other| parse(other) != parse(key)), "{key}");
        }
    }
}
