//! Which key does what, where. Help, pop-ups, footers and the palette read it, so they can't drift from the keys.

pub mod file;
pub mod key;

use crokey::KeyCombination;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::{Deserialize, Serialize};

use super::command::Command;
use super::pane::Pane;

/// The keys that hold without a file; a file of the user's has the same form.
pub const DEFAULTS: &str = include_str!("defaults.yaml");

/// Where a binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum Place {
    Everywhere,
    In(Pane),
}

impl Place {
    /// As keymap files call it.
    pub fn name(self) -> String {
        match self {
            Self::Everywhere => "everywhere".into(),
            Self::In(pane) => pane.title().to_lowercase(),
        }
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.name()
    }
}

/// Keys for a command.
#[derive(Clone, Debug)]
pub struct Binding {
    pub place: Place,
    /// One key, or several that are pressed one after the other.
    pub keys: Vec<KeyCombination>,
    /// As people write it: `j`, `ctrl-d`, `Enter`, `g g`.
    pub label: String,
    /// `None` takes the keys away; no keymap that is in use has such a binding.
    command: Option<Command>,
    /// What it does, in the words of who wrote the keymap.
    pub desc: Option<String>,
    /// The word beside the key in a pane's last line, for the keys that matter most.
    pub hint: Option<String>,
}

impl Binding {
    /// Whether one of two can't be reached: they are equal, or one begins as the other.
    fn meets(&self, other: &Self) -> bool {
        self.keys.starts_with(&other.keys) || other.keys.starts_with(&self.keys)
    }

    /// What it does in a few words.
    pub fn does(&self) -> &str {
        let own = self.desc.as_deref();
        own.unwrap_or_else(|| self.command.map_or("", |command| command.about().does))
    }
}

/// How counts are typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counts {
    /// With Alt, as in a shell; plain digits go to the panes.
    #[default]
    Alt,
    /// Plain digits.
    Digits,
}

/// All bindings.
#[derive(Clone, Debug)]
pub struct Keymap {
    bindings: Vec<Binding>,
    pub counts: Counts,
}

/// What keys mean that were pressed one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning {
    Command(Command),
    /// More keys may follow.
    Begun,
    Nothing,
}

impl Default for Keymap {
    fn default() -> Self {
        let mut keymap = Self::empty();
        // A test holds the defaults to be without fault.
        keymap.change(DEFAULTS, "defaults.yaml");
        keymap
    }
}

impl Keymap {
    fn empty() -> Self {
        Self { bindings: Vec::new(), counts: Counts::default() }
    }

    /// Adds bindings in the place of those that they make unreachable. Each stands before what does the same: hints and help
    /// are shown in this order.
    fn bind(&mut self, new: Vec<Binding>) {
        let is_hidden = |old: &Binding| new.iter().any(|new| new.place == old.place && new.meets(old));
        let old = std::mem::take(&mut self.bindings);
        let like = |new: &Binding| old.iter().position(|old| old.place == new.place && old.command == new.command);
        let mut placed: Vec<(usize, Binding)> =
            new.iter().map(|new| (like(new).map_or(usize::MAX, |place| 2 * place), new.clone())).collect();
        let stay = old.iter().enumerate().filter(|(_, old)| !is_hidden(old));
        placed.extend(stay.map(|(place, old)| (2 * place + 1, old.clone())));
        placed.sort_by_key(|(place, _)| *place);
        self.bindings = placed.into_iter().map(|(_, binding)| binding).collect();
    }

    pub fn bindings(&self) -> impl Iterator<Item = (&Binding, Command)> {
        self.bindings.iter().filter_map(|binding| Some((binding, binding.command?)))
    }

    /// What keys mean in a pane; the pane's own bindings go before those that hold everywhere.
    pub fn meaning(&self, pane: Pane, pressed: &[KeyEvent]) -> Meaning {
        let pressed: Vec<KeyCombination> = pressed.iter().map(|event| key::normal(*event)).collect();
        for place in [Place::In(pane), Place::Everywhere] {
            let begun = || self.bindings().filter(|(binding, _)| binding.place == place);
            let begun = || begun().filter(|(binding, _)| binding.keys.starts_with(&pressed));
            if let Some((_, command)) = begun().find(|(binding, _)| binding.keys.len() == pressed.len()) {
                return Meaning::Command(command);
            }
            if begun().next().is_some() {
                return Meaning::Begun;
            }
        }
        Meaning::Nothing
    }

    /// What may follow keys that are no command yet: the keys that are left, and what they do.
    pub fn following(&self, pane: Pane, pressed: &[KeyEvent]) -> Vec<(String, &str)> {
        let begun: Vec<KeyCombination> = pressed.iter().map(|event| key::normal(*event)).collect();
        let mut found: Vec<(&Binding, Command)> = Vec::new();
        for place in [Place::In(pane), Place::Everywhere] {
            for (binding, command) in self.bindings().filter(|(binding, _)| binding.place == place) {
                let hidden = found.iter().any(|(other, _)| other.meets(binding));
                if binding.keys.len() > begun.len() && binding.keys.starts_with(&begun) && !hidden {
                    found.push((binding, command));
                }
            }
        }
        let mut shown: Vec<(String, &str, Command)> = Vec::new();
        for (binding, command) in found {
            let rest = binding.label.split(' ').skip(begun.len()).collect::<Vec<_>>().join(" ");
            // Two keys for one thing share a line.
            match shown.iter_mut().find(|(_, _, other)| *other == command) {
                Some((keys, _, _)) => keys.push_str(&format!(" {rest}")),
                None => shown.push((rest, binding.does(), command)),
            }
        }
        shown.into_iter().map(|(keys, does, _)| (keys, does)).collect()
    }

    /// The digit of a count, if this key is one.
    pub fn digit(&self, event: KeyEvent, has_count: bool) -> Option<usize> {
        let KeyCode::Char(c @ '0'..='9') = event.code else { return None };
        let digit = c.to_digit(10)? as usize;
        let wanted = match self.counts {
            Counts::Alt => event.modifiers == KeyModifiers::ALT,
            Counts::Digits => event.modifiers.is_empty() || event.modifiers == KeyModifiers::ALT,
        };
        // No count begins with a nought, which may be a key of its own.
        (wanted && (has_count || digit > 0)).then_some(digit)
    }

    /// The keys of a command where a pane is focused, as people write them.
    pub fn keys(&self, pane: Pane, command: Command) -> Vec<&str> {
        let holds = |binding: &Binding| binding.place == Place::Everywhere || binding.place == Place::In(pane);
        let own = self.bindings().filter(|(binding, other)| *other == command && holds(binding));
        own.map(|(binding, _)| binding.label.as_str()).collect()
    }

    /// What a command does where a pane is focused, in the keymap's words if it has some.
    pub fn does(&self, pane: Pane, command: Command) -> &str {
        let holds = |binding: &Binding| binding.place == Place::Everywhere || binding.place == Place::In(pane);
        let own = self.bindings().filter(|(binding, other)| *other == command && holds(binding));
        own.filter_map(|(binding, _)| binding.desc.as_deref()).next().unwrap_or(command.about().does)
    }

    /// The first key of a command, wherever it holds, with that place.
    pub fn any_key(&self, command: Command) -> Option<(Place, &str)> {
        let (binding, _) = self.bindings().find(|(_, other)| *other == command)?;
        Some((binding.place, &binding.label))
    }

    /// The keys that a pane's last line shows, with what they do.
    pub fn hints(&self, pane: Pane) -> impl Iterator<Item = (&str, &str, Command)> {
        let own = self.bindings().filter(move |(binding, _)| binding.place == Place::In(pane));
        own.filter_map(|(binding, command)| Some((binding.label.as_str(), binding.hint.as_deref()?, command)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::ALL;
    use super::*;
    use Pane::{Attribution, Data, Rationale, Training};

    fn at(pane: Pane, code: KeyCode, modifiers: KeyModifiers) -> Meaning {
        Keymap::default().meaning(pane, &[KeyEvent::new(code, modifiers)])
    }

    #[test]
    fn every_key_is_what_a_terminal_sends() {
        let (none, shift, ctrl) = (KeyModifiers::NONE, KeyModifiers::SHIFT, KeyModifiers::CONTROL);
        for (pane, code, modifiers, command) in [
            (Data, KeyCode::Char('j'), none, Command::Down),
            // Terminals send capitals with and without saying that shift was held.
            (Rationale, KeyCode::Char('R'), shift, Command::Reshuffle),
            (Rationale, KeyCode::Char('R'), none, Command::Reshuffle),
            (Data, KeyCode::BackTab, shift, Command::PreviousPane),
            (Data, KeyCode::Char('?'), shift, Command::Help),
            (Data, KeyCode::Char(':'), shift, Command::Palette),
            (Data, KeyCode::Char('d'), ctrl, Command::PageDown),
            (Data, KeyCode::Char('d'), none, Command::ChooseDataset),
            (Rationale, KeyCode::Char(' '), none, Command::Highlight),
            (Rationale, KeyCode::Char('['), none, Command::MoveAblationUp),
            (Attribution, KeyCode::Char('K'), shift, Command::KeepTop),
            (Attribution, KeyCode::Char('k'), none, Command::Up),
            (Rationale, KeyCode::Char('+'), shift, Command::More),
            (Training, KeyCode::Char('!'), none, Command::Messages),
        ] {
            assert_eq!(at(pane, code, modifiers), Meaning::Command(command), "{code:?}");
        }
    }

    #[test]
    fn keys_pressed_one_after_the_other_are_one_command() {
        let keymap = Keymap::default();
        let g = KeyEvent::new(KeyCode::Char('g'), KeyModifiers::NONE);
        assert_eq!(keymap.meaning(Data, &[g]), Meaning::Begun);
        assert_eq!(keymap.meaning(Data, &[g, g]), Meaning::Command(Command::First));
        let x = KeyEvent::new(KeyCode::Char('§'), KeyModifiers::NONE);
        assert_eq!(keymap.meaning(Data, &[g, x]), Meaning::Nothing);
        let following = keymap.following(Data, &[g]);
        assert!(following.contains(&("g".to_owned(), "to the first row")), "{following:?}");
        assert!(following.iter().any(|(keys, _)| keys == "d 1"), "{following:?}");
    }

    #[test]
    fn every_command_is_described_once_and_has_a_name_of_its_own() {
        for (number, about) in ALL.iter().enumerate() {
            assert!(ALL[..number].iter().all(|other| other.command != about.command && other.name != about.name));
            let name: &str = about.command.into();
            assert_eq!(name.parse(), Ok(about.command));
        }
        for (_, command) in Keymap::default().bindings() {
            assert_eq!(command.about().command, command);
        }
    }

    #[test]
    fn no_key_is_the_prefix_of_tmux_or_screen() {
        for (binding, _) in Keymap::default().bindings() {
            assert!(!["ctrl-a", "ctrl-b"].contains(&binding.label.as_str()), "{}", binding.label);
        }
    }

    #[test]
    fn counts_are_typed_with_alt_or_plainly() {
        let mut keymap = Keymap::default();
        let five = |modifiers| KeyEvent::new(KeyCode::Char('5'), modifiers);
        assert_eq!(keymap.digit(five(KeyModifiers::ALT), false), Some(5));
        assert_eq!(keymap.digit(five(KeyModifiers::NONE), false), None);
        keymap.change("counts: digits\n", "keymap.yaml");
        assert_eq!(keymap.digit(five(KeyModifiers::NONE), false), Some(5));
        let nought = KeyEvent::new(KeyCode::Char('0'), KeyModifiers::NONE);
        assert_eq!((keymap.digit(nought, false), keymap.digit(nought, true)), (None, Some(0)));
    }
}
