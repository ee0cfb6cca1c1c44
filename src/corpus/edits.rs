//! Changes that a person made to a data set: `edits.jsonl`, append-only.
//!
//! The published files are never rewritten. A change is a patch; undoing it is one more line that names the patch, and
//! redoing is a line that undoes the undoing, so nothing that was ever typed is lost and yesterday's edit is undone as
//! easily as the last one. Patches that were made together form a group: they count all or none, and one undo takes all
//! of them back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Example;
use crate::files::{self, FileError};
use crate::journal::now;

/// The source name of the rationale that stands in the row itself.
pub const DEFAULT_SOURCE: &str = "default";

/// What a patch changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    pub split: String,
    pub id: String,
    /// Which rationale: [`DEFAULT_SOURCE`] or a file under `rationales/`.
    pub source: String,
}

/// The new value of a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "field", content = "value", rename_all = "snake_case")]
pub enum Patch {
    Rationale(Option<String>),
    /// Ranges of characters.
    Highlights(Vec<Range<usize>>),
    /// The question's own text, as it is read with the rationale of this source.
    Question(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Action {
    Patch {
        #[serde(flatten)]
        target: Target,
        #[serde(flatten)]
        patch: Patch,
    },
    Undo {
        undo: u64,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    seq: u64,
    time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Group>,
    #[serde(flatten)]
    action: Action,
}

/// Patches that were made together.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Group {
    /// The `seq` of the first of them; an undo of the group names it.
    first: u64,
    /// How many they are. A group whose end was never written counts for nothing.
    of: usize,
}

impl Record {
    /// What an undo of this record names.
    fn name(&self) -> u64 {
        self.group.map_or(self.seq, |group| group.first)
    }
}

/// The edits of one data set.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    path: PathBuf,
    records: Vec<Record>,
    /// Patches that count now, by target and in order.
    active: BTreeMap<Target, Vec<usize>>,
}

impl Edits {
    /// Reads the log; an absent file is an empty one, and a line that can't be read is passed over.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let text = match files::read_to_string(path) {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let records = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let mut edits = Self { path: path.to_owned(), records, active: BTreeMap::new() };
        edits.index();
        Ok(edits)
    }

    /// The numbers of the lines, from 1, that can't be read and count as no edits.
    pub fn unreadable_lines(path: &Path) -> Result<Vec<usize>, FileError> {
        let text = match files::read_to_string(path) {
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let is_bad = |line: &str| !line.trim().is_empty() && serde_json::from_str::<Record>(line).is_err();
        Ok(text.lines().enumerate().filter(|(_, line)| is_bad(line)).map(|(place, _)| place + 1).collect())
    }

    /// The log itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets a field. The patch is on the disk when this returns.
    pub fn set(&mut self, target: Target, patch: Patch) -> Result<(), FileError> {
        self.append(Action::Patch { target, patch })
    }

    /// Sets fields together: after a crash in between none of them counts, and one undo takes all of them back.
    pub fn set_all(&mut self, patches: Vec<(Target, Patch)>) -> Result<(), FileError> {
        let first = self.next();
        let group = (patches.len() > 1).then_some(Group { first, of: patches.len() });
        let time = now();
        let record = |(place, (target, patch)): (usize, (Target, Patch))| Record {
            seq: first + place as u64,
            time: time.clone(),
            group,
            action: Action::Patch { target, patch },
        };
        self.append_all(patches.into_iter().enumerate().map(record).collect())
    }

    /// Takes back the latest edit of a target that still counts. False when there is none.
    pub fn undo(&mut self, target: &Target) -> Result<bool, FileError> {
        let Some(&latest) = self.active.get(target).and_then(|patches| patches.last()) else { return Ok(false) };
        let undo = self.records[latest].name();
        self.append(Action::Undo { undo })?;
        Ok(true)
    }

    /// Brings back the edit of a target that was undone last. False when there is none, or when the target was edited
    /// since.
    pub fn redo(&mut self, target: &Target) -> Result<bool, FileError> {
        let Some(undo) = self.redoable(target) else { return Ok(false) };
        self.append(Action::Undo { undo })?;
        Ok(true)
    }

    /// How many edits of a target count now, those that were made together as one.
    pub fn depth(&self, target: &Target) -> usize {
        let own = self.active.get(target).into_iter().flatten();
        own.map(|place| self.records[*place].name()).collect::<BTreeSet<_>>().len()
    }

    /// How many targets the last line of the log changed, or undid the change of.
    pub fn touched(&self) -> usize {
        let Some(last) = self.records.last() else { return 0 };
        let mut name = last.name();
        // An undo of an undo is about what that one was about.
        while let Some(Record { action: Action::Undo { undo }, .. }) = self.records.iter().find(|it| it.seq == name) {
            name = *undo;
        }
        let own = self.records.iter().filter(|record| record.name() == name);
        let targets = own.filter_map(|record| match &record.action {
            Action::Patch { target, .. } => Some(target),
            Action::Undo { .. } => None,
        });
        targets.collect::<BTreeSet<_>>().len()
    }

    /// Every target with an edit that counts.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.active.keys()
    }

    /// The example as edited. `source` names the rationale that `example.rationale` holds.
    pub fn apply(&self, split: &str, source: &str, example: &mut Example) {
        if self.active.is_empty() {
            return;
        }
        let target = Target { split: split.into(), id: example.id.clone(), source: source.into() };
        for &place in self.active.get(&target).into_iter().flatten() {
            match &self.records[place].action {
                Action::Patch { patch: Patch::Rationale(text), .. } => {
                    // Highlights are places in the text that was replaced.
                    example.highlights.clear();
                    example.rationale = text.clone();
                }
                Action::Patch { patch: Patch::Highlights(ranges), .. } => example.highlights = ranges.clone(),
                Action::Patch { patch: Patch::Question(text), .. } => example.question = text.clone(),
                Action::Undo { .. } => {}
            }
        }
    }

    fn next(&self) -> u64 {
        self.records.last().map_or(1, |record| record.seq + 1)
    }

    fn append(&mut self, action: Action) -> Result<(), FileError> {
        self.append_all(vec![Record { seq: self.next(), time: now(), group: None, action }])
    }

    fn append_all(&mut self, records: Vec<Record>) -> Result<(), FileError> {
        let line = |record| serde_json::to_string(record).expect("an edit has only text and numbers") + "\n";
        files::append_lines(&self.path, &records.iter().map(line).collect::<String>())?;
        self.records.extend(records);
        self.index();
        Ok(())
    }

    /// Works out which patches count: a record counts unless a later one that counts undoes it.
    fn index(&mut self) {
        let mut undone = HashSet::new();
        for record in self.records.iter().rev() {
            if let Action::Undo { undo } = record.action
                && !undone.contains(&record.seq)
            {
                undone.insert(undo);
            }
        }
        let mut written: HashMap<u64, usize> = HashMap::new();
        for group in self.records.iter().filter_map(|record| record.group) {
            *written.entry(group.first).or_default() += 1;
        }
        let is_whole = |group: Group| written.get(&group.first).is_some_and(|count| *count >= group.of);
        self.active.clear();
        for (place, record) in self.records.iter().enumerate() {
            if let Action::Patch { target, .. } = &record.action
                && !undone.contains(&record.name())
                && record.group.is_none_or(is_whole)
            {
                self.active.entry(target.clone()).or_default().push(place);
            }
        }
    }

    /// The `seq` of the undo that a redo of this target takes back.
    fn redoable(&self, wanted: &Target) -> Option<u64> {
        let mut undone = HashSet::new();
        for record in self.records.iter().rev() {
            match &record.action {
                Action::Patch { target, .. } if target == wanted && !undone.contains(&record.name()) => return None,
                Action::Undo { undo } if !undone.contains(&record.seq) => {
                    undone.insert(*undo);
                    let is_own = |target: &Target| target == wanted;
                    let mut of = self.records.iter().filter(|other| other.name() == *undo);
                    if of.any(|of| matches!(&of.action, Action::Patch { target, .. } if is_own(target))) {
                        return Some(record.seq);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
// Lists of ranges are meant, and not what lies in them.
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target { split: "train".into(), id: "q1".into(), source: DEFAULT_SOURCE.into() }
    }

    fn shown(edits: &Edits) -> Option<String> {
        let mut example = Example { id: "q1".into(), rationale: Some("original".into()), ..Example::default() };
        edits.apply("train", DEFAULT_SOURCE, &mut example);
        example.rationale
    }

    fn rationale(text: &str) -> Patch {
        Patch::Rationale(Some(text.into()))
    }

    #[test]
    fn edits_can_be_undone_and_redone_days_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edits.jsonl");
        let mut edits = Edits::load(&path).unwrap();
        edits.set(target(), rationale("one")).unwrap();
        edits.set(target(), rationale("two")).unwrap();
        let reopen = || Edits::load(&path).unwrap();

        let mut edits = reopen();
        assert_eq!(shown(&edits).as_deref(), Some("two"));
        assert!(edits.undo(&target()).unwrap());
        assert_eq!(shown(&edits).as_deref(), Some("one"));
        let mut edits = reopen();
        assert!(edits.undo(&target()).unwrap());
        assert!(!edits.undo(&target()).unwrap());
        assert_eq!(shown(&edits).as_deref(), Some("original"));

        let mut edits = reopen();
        assert!(edits.redo(&target()).unwrap());
        assert_eq!(shown(&edits).as_deref(), Some("one"));
        assert!(edits.redo(&target()).unwrap());
        assert_eq!(shown(&reopen()).as_deref(), Some("two"));
        assert!(!edits.redo(&target()).unwrap());
    }

    #[test]
    fn a_new_edit_ends_what_could_be_redone() {
        let dir = tempfile::tempdir().unwrap();
        let mut edits = Edits::load(&dir.path().join("edits.jsonl")).unwrap();
        edits.set(target(), rationale("one")).unwrap();
        edits.undo(&target()).unwrap();
        edits.set(target(), rationale("three")).unwrap();
        assert!(!edits.redo(&target()).unwrap());
        assert_eq!(shown(&edits).as_deref(), Some("three"));
    }

    #[test]
    fn a_torn_line_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edits.jsonl");
        Edits::load(&path).unwrap().set(target(), rationale("one")).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{}", &whole[..whole.len() / 2])).unwrap();
        let mut edits = Edits::load(&path).unwrap();
        assert_eq!(shown(&edits).as_deref(), Some("one"));
        edits.set(target(), rationale("two")).unwrap();
        assert_eq!(shown(&Edits::load(&path).unwrap()).as_deref(), Some("two"));
    }

    #[test]
    fn what_was_made_together_is_undone_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edits.jsonl");
        let other = Target { id: "q2".into(), ..target() };
        let mut edits = Edits::load(&path).unwrap();
        edits.set(target(), rationale("one")).unwrap();
        let patches =
            [(target(), rationale("two")), (target(), Patch::Highlights(vec![0..3])), (other.clone(), rationale("b"))];
        edits.set_all(patches.to_vec()).unwrap();
        let mut edits = Edits::load(&path).unwrap();
        assert_eq!((edits.depth(&target()), edits.depth(&other), edits.touched()), (2, 1, 2));
        assert_eq!(shown(&edits).as_deref(), Some("two"));

        // From either of the two.
        assert!(edits.undo(&other).unwrap());
        assert_eq!((edits.depth(&target()), edits.depth(&other), edits.touched()), (1, 0, 2));
        assert_eq!(shown(&edits).as_deref(), Some("one"));
        assert!(edits.redo(&target()).unwrap());
        assert_eq!((edits.depth(&target()), edits.depth(&other), edits.touched()), (2, 1, 2));
        edits.set(target(), rationale("three")).unwrap();
        assert!(edits.undo(&other).unwrap());
        assert_eq!(shown(&edits).as_deref(), Some("three"));
    }

    #[test]
    fn a_group_whose_end_was_not_written_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edits.jsonl");
        let mut edits = Edits::load(&path).unwrap();
        edits.set_all(vec![(target(), rationale("two")), (target(), Patch::Highlights(vec![0..3]))]).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        let torn: String = whole.lines().take(1).map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, torn + &whole.lines().nth(1).unwrap()[..20]).unwrap();
        let mut edits = Edits::load(&path).unwrap();
        assert_eq!(shown(&edits).as_deref(), Some("original"));
        edits.set(target(), rationale("three")).unwrap();
        assert_eq!(shown(&Edits::load(&path).unwrap()).as_deref(), Some("three"));
    }

    #[test]
    fn new_text_drops_the_highlights_of_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let mut edits = Edits::load(&dir.path().join("edits.jsonl")).unwrap();
        let marked = vec![0..3, 5..8];
        edits.set(target(), Patch::Highlights(marked.clone())).unwrap();
        let mut example = Example { id: "q1".into(), ..Example::default() };
        edits.apply("train", DEFAULT_SOURCE, &mut example);
        assert_eq!(example.highlights, marked);
        edits.set(target(), rationale("two")).unwrap();
        edits.apply("train", DEFAULT_SOURCE, &mut example);
        assert!(example.highlights.is_empty());
    }
}
