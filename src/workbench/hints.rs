//! First-use hints: one line that says what helps here, until its key was used or it was seen on a few starts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::command::Command;
use super::jobs::SHOWN_AFTER;
use super::pane::Pane;
use super::state::State;
use crate::journal::RunState;

/// Starts on which a hint is shown.
const STARTS: u8 = 3;

/// Something worth knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hint {
    /// Something lasts.
    Jobs,
    /// The first run finished.
    Finished,
    /// The first rationale was edited.
    Edited,
    Filter,
    OtherData,
    Ablation,
    Edit,
    NewRun,
    Mask,
    OpenRow,
}

impl Hint {
    /// What has just happened comes before what is always so.
    const ALL: [Self; 10] = [
        Self::Jobs,
        Self::Finished,
        Self::Edited,
        Self::Filter,
        Self::OtherData,
        Self::Ablation,
        Self::Edit,
        Self::NewRun,
        Self::Mask,
        Self::OpenRow,
    ];

    /// The command that it is about.
    pub fn command(self) -> Command {
        match self {
            Self::Jobs => Command::Jobs,
            Self::Finished => Command::FocusAttribution,
            Self::Edited => Command::UndoEdit,
            Self::Filter => Command::Filter,
            Self::OtherData => Command::ChooseDataset,
            Self::Ablation => Command::AddAblation,
            Self::Edit => Command::Edit,
            Self::NewRun => Command::NewRun,
            Self::Mask => Command::MaskToken,
            Self::OpenRow => Command::OpenRow,
        }
    }

    /// What is said after the key.
    fn text(self) -> &'static str {
        match self {
            Self::Jobs => "lists what is under way; x there cancels it",
            Self::Finished => "shows which tokens mattered to the student that was trained",
            Self::Edited => "takes the edit back; the data set's own files stay as they are",
            Self::Filter => "finds questions: words, answer:B, rationale.words>30",
            Self::OtherData => "opens another data set",
            Self::Ablation => "shuffles, masks or swaps the rationale before it is learned from",
            Self::Edit => "edits this rationale",
            Self::NewRun => "trains a student on what the panes show",
            Self::Mask => "masks the token under the cursor, and the answer moves",
            Self::OpenRow => "opens this row: its runs, then the questions",
        }
    }

    /// Whether it helps now.
    fn helps(self, state: &State) -> bool {
        match self {
            Self::Jobs => state.jobs.jobs.iter().any(|job| job.elapsed >= SHOWN_AFTER),
            Self::Finished => {
                let is_there = |run: &crate::runs::Run| run.state == RunState::Finished && run.has_checkpoint;
                state.focus != Pane::Attribution && state.runs.runs.iter().any(is_there)
            }
            Self::Edited => {
                state.focus == Pane::Rationale && state.recipe.shown.as_ref().is_some_and(|shown| shown.edits > 0)
            }
            Self::Filter => state.focus == Pane::Data && state.data.lines() > 0 && state.data.filter.is_empty(),
            Self::OtherData => state.focus == Pane::Data && state.data.datasets.len() > 1,
            Self::Ablation | Self::Edit => state.focus == Pane::Rationale && state.recipe.shown.is_some(),
            Self::NewRun => state.focus == Pane::Training && state.data.selected.is_some(),
            Self::Mask => {
                let is_plain = !state.lens.is_on() && !state.loupe.shows_loss;
                state.focus == Pane::Attribution && state.attribution.result.is_some() && is_plain
            }
            Self::OpenRow => state.focus == Pane::Board && state.board.table.is_some(),
        }
    }
}

/// What was seen of the hints; kept with the session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hints {
    /// The user wants none.
    pub is_off: bool,
    /// Their key was used.
    pub used: BTreeSet<Hint>,
    /// On how many starts each was shown.
    pub starts: BTreeMap<Hint, u8>,
    /// Those that were shown since this start.
    #[serde(skip)]
    pub now: BTreeSet<Hint>,
}

impl Hints {
    /// A command was carried out: what was said of it is known now.
    pub fn used(&mut self, command: Command) {
        self.used.extend(Hint::ALL.into_iter().filter(|hint| hint.command() == command));
    }

    /// A hint is on the screen.
    fn shown(&mut self, hint: Hint) {
        if self.now.insert(hint) {
            *self.starts.entry(hint).or_default() += 1;
        }
    }

    fn is_done(&self, hint: Hint) -> bool {
        let starts = self.starts.get(&hint).copied().unwrap_or(0);
        self.used.contains(&hint) || (starts >= STARTS && !self.now.contains(&hint))
    }
}

/// The hint for now, if there is one.
pub fn current(state: &State) -> Option<Hint> {
    if !state.shows_hints || state.hints.is_off || !state.is_begun || state.demo.is_some() || state.overlay.is_some() {
        return None;
    }
    Hint::ALL.into_iter().find(|hint| !state.hints.is_done(*hint) && hint.helps(state))
}

/// Its key, and what is said after it. Without a key there is nothing to say.
pub fn line(state: &State) -> Option<(String, &'static str)> {
    let hint = current(state)?;
    let own = state.keymap.keys(state.focus, hint.command()).first().map(|key| (*key).to_owned());
    let key = own.or_else(|| state.keymap.any_key(hint.command()).map(|(_, key)| key.to_owned()))?;
    Some((key, hint.text()))
}

/// Counts the hint that is shown now.
pub fn count(state: &mut State) {
    if state.notice.is_none()
        && let Some(hint) = current(state)
    {
        state.hints.shown(hint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_goes_when_its_key_was_used_or_after_three_starts() {
        let mut hints = Hints::default();
        hints.shown(Hint::Filter);
        hints.shown(Hint::Filter);
        assert_eq!(hints.starts[&Hint::Filter], 1);
        for start in 2..=3 {
            hints.now.clear();
            assert!(!hints.is_done(Hint::Filter), "start {start}");
            hints.shown(Hint::Filter);
            assert!(!hints.is_done(Hint::Filter), "it does not go while one reads it");
        }
        hints.now.clear();
        assert!(hints.is_done(Hint::Filter));
        hints.used(Command::NewRun);
        assert!(hints.is_done(Hint::NewRun) && !hints.is_done(Hint::Edit));
        let kept: Hints = serde_json::from_str(&serde_json::to_string(&hints).unwrap()).unwrap();
        assert_eq!(kept, hints);
    }
}
