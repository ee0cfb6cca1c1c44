//! Which key does what, where. Help, footers and the palette read it, so they can't drift from the keys.

use crokey::KeyCombination;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::command::Command;
use super::pane::Pane;

/// Where a binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Everywhere,
    In(Pane),
}

/// A key for a command.
#[derive(Clone, Debug)]
pub struct Binding {
    pub place: Place,
    pub key: KeyCombination,
    /// As people write it: `j`, `ctrl-d`, `Enter`.
    pub label: String,
    pub command: Command,
    /// The word beside the key in a pane's last line, for the keys that matter most.
    pub hint: Option<&'static str>,
}

/// All bindings.
#[derive(Clone, Debug)]
pub struct Keymap {
    bindings: Vec<Binding>,
}

use Command::*;
use Pane::{Attribution, Board, Data, Rationale, Training};
use Place::{Everywhere, In};

/// Keys, the command, and the hint. The first key is the one that is shown.
type Row = (Place, &'static [&'static str], Command, Option<&'static str>);

#[rustfmt::skip]
const DEFAULTS: &[Row] = &[
    (Everywhere, &["?"], Help, None),
    (Everywhere, &[":", "ctrl-p"], Palette, None),
    (Everywhere, &["tab"], NextPane, None),
    (Everywhere, &["backtab"], PreviousPane, None),
    (Everywhere, &["1"], FocusData, None),
    (Everywhere, &["2"], FocusRationale, None),
    (Everywhere, &["3"], FocusTraining, None),
    (Everywhere, &["4"], FocusAttribution, None),
    (Everywhere, &["5"], FocusBoard, None),
    (Everywhere, &["z"], Zoom, None),
    (Everywhere, &["T"], Tour, None),
    (Everywhere, &["!"], Messages, None),
    (Everywhere, &["ctrl-l"], Redraw, None),
    (Everywhere, &["ctrl-z"], Suspend, None),
    (Everywhere, &["q", "ctrl-c"], Quit, None),
    (Everywhere, &["j", "down"], Down, None),
    (Everywhere, &["k", "up"], Up, None),
    (Everywhere, &["ctrl-d", "pagedown"], PageDown, None),
    (Everywhere, &["ctrl-u", "pageup"], PageUp, None),
    (Everywhere, &["g", "home"], First, None),
    (Everywhere, &["G", "end"], Last, None),

    (In(Data), &["/"], Filter, Some("filter")),
    (In(Data), &["esc"], ClearFilter, None),
    (In(Data), &["d"], ChooseDataset, Some("data set")),
    (In(Data), &["s"], NextSplit, Some("split")),
    (In(Data), &["v"], CheckData, Some("check")),
    (In(Data), &["e"], Edit, Some("edit")),
    (In(Data), &["J"], ReadOn, None),
    (In(Data), &["K"], ReadBack, None),
    (In(Data), &["S"], SortQuestions, Some("sort")),
    (In(Data), &["m"], Mark, Some("mark")),
    (In(Data), &["M"], Marks, None),
    (In(Data), &["i"], JumpTo, Some("go to")),
    (In(Data), &["C"], ChooseColumns, None),
    (In(Data), &["f"], FollowEnd, None),
    (In(Data), &["H"], Histogram, None),
    (In(Data), &["D"], Duplicates, None),
    (In(Data), &["c"], CompareData, None),

    (In(Rationale), &["p"], NextPlacement, Some("placement")),
    (In(Rationale), &["a"], AddAblation, Some("add")),
    (In(Rationale), &["enter"], ChangeAblation, Some("change")),
    (In(Rationale), &["x", "delete"], RemoveAblation, Some("remove")),
    (In(Rationale), &["["], MoveAblationUp, None),
    (In(Rationale), &["]"], MoveAblationDown, None),
    (In(Rationale), &["+", "="], More, None),
    (In(Rationale), &["-"], Less, None),
    (In(Rationale), &["R"], Reshuffle, Some("reshuffle")),
    (In(Rationale), &["e"], Edit, Some("edit")),
    (In(Rationale), &["E"], EditExternally, None),
    (In(Rationale), &["u"], UndoEdit, Some("undo")),
    (In(Rationale), &["U", "ctrl-r"], RedoEdit, None),
    (In(Rationale), &["t"], ToggleTokens, Some("tokens")),
    (In(Rationale), &["h", "left"], WordLeft, None),
    (In(Rationale), &["l", "right"], WordRight, None),
    (In(Rationale), &["space"], Highlight, None),
    (In(Rationale), &["s"], ChooseSource, None),
    (In(Rationale), &["n"], NewRun, None),
    (In(Rationale), &["w"], SaveRunFile, Some("save")),

    (In(Training), &["n"], NewRun, Some("new run")),
    (In(Training), &["space"], PauseRun, Some("pause")),
    (In(Training), &["S"], StopRun, Some("stop")),
    (In(Training), &["r"], ResumeRun, Some("resume")),
    (In(Training), &["b"], ShowBatch, Some("batch")),
    (In(Training), &["o"], OverlayRun, Some("overlay")),
    (In(Training), &["c"], NextCurve, Some("curve")),
    (In(Training), &["L"], LogScale, Some("log")),
    (In(Training), &["<"], PreviousSpike, Some("spike")),
    (In(Training), &[">"], NextSpike, None),
    (In(Training), &["h", "left"], StepLeft, None),
    (In(Training), &["l", "right"], StepRight, None),
    (In(Training), &["esc"], LeaveStep, None),
    (In(Training), &["enter"], UseRecipe, None),
    (In(Training), &["s"], ChooseStudent, None),
    (In(Training), &["E"], EditSettings, None),
    (In(Training), &["D"], RemoveRun, None),

    (In(Attribution), &["h", "left"], WordLeft, None),
    (In(Attribution), &["l", "right"], WordRight, None),
    (In(Attribution), &["x"], MaskToken, Some("mask")),
    (In(Attribution), &["d", "delete"], DeleteToken, Some("take out")),
    (In(Attribution), &["e", "enter"], RetypeToken, Some("retype")),
    (In(Attribution), &["R"], Reshuffle, None),
    (In(Attribution), &["u"], UndoEdit, None),
    (In(Attribution), &["esc"], ClearChanges, None),
    (In(Attribution), &["w"], KeepChanges, Some("keep")),
    (In(Attribution), &["L"], NextLens, Some("lens")),
    (In(Attribution), &["o"], ToggleLoss, Some("loss")),
    (In(Attribution), &["t"], ChooseTarget, Some("target")),
    (In(Attribution), &["m"], ChooseMethod, Some("method")),
    (In(Attribution), &["v"], NextOver, Some("attribute to")),
    (In(Attribution), &["y"], NextUnit, Some("unit")),
    (In(Attribution), &["K"], KeepTop, Some("top → recipe")),
    (In(Attribution), &["r"], ChooseRun, Some("run")),
    (In(Attribution), &["c"], CompareRun, Some("compare")),
    (In(Attribution), &["b"], NextBaseline, None),
    (In(Attribution), &["F"], TrainLens, None),
    (In(Attribution), &["A"], NextScale, None),
    (In(Attribution), &["O"], ReadOwn, None),
    (In(Attribution), &["["], EarlierCheckpoint, None),
    (In(Attribution), &["]"], LaterCheckpoint, None),
    (In(Attribution), &["+", "="], More, None),
    (In(Attribution), &["-"], Less, None),
    (In(Attribution), &["n"], NewRun, None),

    (In(Board), &["enter"], OpenRow, Some("open")),
    (In(Board), &["esc"], CloseRow, Some("back")),
    (In(Board), &["/"], FilterRows, Some("filter")),
    (In(Board), &["s"], SortRows, Some("sort")),
    (In(Board), &["b"], MakeBaseline, Some("baseline")),
    (In(Board), &["d"], Disagreements, Some("disagree")),
    (In(Board), &["S"], ChooseStudy, Some("study")),
    (In(Board), &["n"], NewRun, None),
];

impl Default for Keymap {
    fn default() -> Self {
        let binding = |(place, keys, command, hint): &Row| {
            let (place, command, hint) = (*place, *command, *hint);
            keys.iter().enumerate().map(move |(number, key)| Binding {
                place,
                key: parse(key),
                label: label(key),
                command,
                hint: if number == 0 { hint } else { None },
            })
        };
        Self { bindings: DEFAULTS.iter().flat_map(binding).collect() }
    }
}

fn parse(key: &str) -> KeyCombination {
    // A test parses every default; the fallback is never met.
    crokey::parse(&if key.chars().all(char::is_uppercase) { format!("shift-{key}") } else { key.to_owned() })
        .unwrap_or(crokey::key!(esc))
}

fn label(key: &str) -> String {
    match key {
        "tab" => "Tab".into(),
        "backtab" => "Shift-Tab".into(),
        "enter" => "Enter".into(),
        "esc" => "Esc".into(),
        "delete" => "Del".into(),
        "down" => "↓".into(),
        "up" => "↑".into(),
        "left" => "←".into(),
        "right" => "→".into(),
        "pagedown" => "PgDn".into(),
        "pageup" => "PgUp".into(),
        "home" => "Home".into(),
        "end" => "End".into(),
        key => key.into(),
    }
}

impl Keymap {
    /// What a key does in a pane; the pane's own bindings go before those that hold everywhere.
    pub fn command(&self, pane: Pane, event: KeyEvent) -> Option<Command> {
        let mut event = event;
        if let KeyCode::Char(c) = event.code
            && !c.is_alphabetic()
        {
            // Which signs need shift depends on the keyboard; the sign itself says enough.
            event.modifiers.remove(KeyModifiers::SHIFT);
        }
        let key = KeyCombination::from(event).normalized();
        let find = |place: Place| self.bindings.iter().find(|b| b.place == place && b.key.normalized() == key);
        find(In(pane)).or_else(|| find(Everywhere)).map(|binding| binding.command)
    }

    /// The keys of a command where a pane is focused, as people write them.
    pub fn keys(&self, pane: Pane, command: Command) -> Vec<&str> {
        let holds = |binding: &&Binding| {
            binding.command == command && (binding.place == Everywhere || binding.place == In(pane))
        };
        self.bindings.iter().filter(holds).map(|binding| binding.label.as_str()).collect()
    }

    /// The first key of a command, wherever it holds, with that place.
    pub fn any_key(&self, command: Command) -> Option<(Place, &str)> {
        let binding = self.bindings.iter().find(|binding| binding.command == command)?;
        Some((binding.place, &binding.label))
    }

    /// The keys that a pane's last line shows, with what they do.
    pub fn hints(&self, pane: Pane) -> impl Iterator<Item = (&str, &'static str, Command)> {
        let own = self.bindings.iter().filter(move |binding| binding.place == In(pane));
        own.filter_map(|binding| Some((binding.label.as_str(), binding.hint?, binding.command)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::ALL;
    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        let keymap = Keymap::default();
        for (number, one) in keymap.bindings.iter().enumerate() {
            for other in &keymap.bindings[..number] {
                let clash = one.place == other.place && one.key.normalized() == other.key.normalized();
                assert!(!clash, "{} in {:?} is {:?} and {:?}", one.label, one.place, one.command, other.command);
            }
        }
    }

    #[test]
    fn every_key_is_what_a_terminal_sends() {
        let keymap = Keymap::default();
        let at = |pane, code, modifiers| keymap.command(pane, KeyEvent::new(code, modifiers));
        let (none, shift, ctrl) = (KeyModifiers::NONE, KeyModifiers::SHIFT, KeyModifiers::CONTROL);
        assert_eq!(at(Data, KeyCode::Char('j'), none), Some(Down));
        // Terminals send capitals with and without saying that shift was held.
        assert_eq!(at(Rationale, KeyCode::Char('R'), shift), Some(Reshuffle));
        assert_eq!(at(Rationale, KeyCode::Char('R'), none), Some(Reshuffle));
        assert_eq!(at(Data, KeyCode::BackTab, shift), Some(PreviousPane));
        assert_eq!(at(Data, KeyCode::Char('?'), shift), Some(Help));
        assert_eq!(at(Data, KeyCode::Char(':'), shift), Some(Palette));
        assert_eq!(at(Data, KeyCode::Char('d'), ctrl), Some(PageDown));
        assert_eq!(at(Data, KeyCode::Char('d'), none), Some(ChooseDataset));
        assert_eq!(at(Rationale, KeyCode::Char(' '), none), Some(Highlight));
        assert_eq!(at(Rationale, KeyCode::Char('['), none), Some(MoveAblationUp));
        assert_eq!(at(Attribution, KeyCode::Char('K'), shift), Some(KeepTop));
        assert_eq!(at(Attribution, KeyCode::Char('k'), none), Some(Up));
        assert_eq!(at(Rationale, KeyCode::Char('+'), shift), Some(More));
        assert_eq!(at(Training, KeyCode::Char('!'), none), Some(Messages));
    }

    #[test]
    fn every_command_is_described_once() {
        for (number, about) in ALL.iter().enumerate() {
            assert!(ALL[..number].iter().all(|other| other.command != about.command && other.name != about.name));
        }
        for binding in &Keymap::default().bindings {
            assert_eq!(binding.command.about().command, binding.command);
        }
    }

    #[test]
    fn every_default_parses() {
        let esc = crokey::key!(esc).normalized();
        for binding in Keymap::default().bindings {
            assert!(binding.key.normalized() != esc || binding.label == "Esc", "{}", binding.label);
        }
    }
}
