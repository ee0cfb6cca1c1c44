//! What is wrong with a data set, before a fine-tune shows it.
//!
//! Rows are read one after another, as edited. What must be remembered of each is a few numbers: fingerprints of its id
//! and its question, never their text.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::announcement::{announced, may_announce};
use super::dataset::Origin;
use super::edits::DEFAULT_SOURCE;
use super::rows::Row;
use super::{Choice, CorpusError, Dataset, Example, SourceRationale, Split, fingerprint, spool};
use crate::text;

/// Problems of one kind that are kept with their place; more are only counted.
const KEPT: usize = 100_000;
/// Rows between two reports of progress.
const PROGRESS_EVERY: usize = 1024;

/// What can be wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    UnreadableRow,
    DuplicateId,
    UnknownAnswer,
    DuplicateLabel,
    EmptyQuestion,
    MissingAnswer,
    FewChoices,
    DuplicateChoice,
    SharedQuestion,
    RepeatedQuestion,
    EmptyRationale,
    WrongAnnouncement,
    Announcement,
    StrayRationale,
    ControlCharacter,
}

impl Kind {
    /// Whether a student trained on such rows learns something wrong, or can't be trained.
    pub fn is_error(self) -> bool {
        matches!(
            self,
            Self::UnreadableRow | Self::DuplicateId | Self::UnknownAnswer | Self::DuplicateLabel | Self::EmptyQuestion
        )
    }

    /// The kind in words, for a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::UnreadableRow => "rows that can't be read",
            Self::DuplicateId => "ids that an earlier row of the split has",
            Self::UnknownAnswer => "answers that are none of the choices",
            Self::DuplicateLabel => "labels that two choices share",
            Self::EmptyQuestion => "empty questions",
            Self::MissingAnswer => "questions without an answer",
            Self::FewChoices => "questions with fewer than two choices",
            Self::DuplicateChoice => "choices that are equal",
            Self::SharedQuestion => "questions that another split has",
            Self::RepeatedQuestion => "questions that stand twice in a split with the same choices",
            Self::EmptyRationale => "empty rationales",
            Self::WrongAnnouncement => "rationales that announce a wrong answer",
            Self::Announcement => "rationales that announce the answer",
            Self::StrayRationale => "rationales for ids that no split has",
            Self::ControlCharacter => "control and invisible characters",
        }
    }
}

/// Something wrong, and where.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    pub file: PathBuf,
    /// From 1; the number of the record in files whose records have no lines of their own.
    pub line: usize,
    pub id: Option<String>,
    pub problem: String,
    pub kind: Kind,
}

/// How much there is of a split.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    pub examples: usize,
    /// Examples with a rationale of their own.
    pub rationales: usize,
}

/// The state of a data set.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub dataset: String,
    #[serde(serialize_with = "super::as_map")]
    pub splits: Vec<(String, Counts)>,
    /// Rationales in each source beside the rows' own.
    pub sources: BTreeMap<String, usize>,
    /// All problems, by kind.
    pub counts: BTreeMap<Kind, usize>,
    pub problems: Vec<Problem>,
}

impl Report {
    pub fn has_errors(&self) -> bool {
        self.counts.keys().any(|kind| kind.is_error())
    }
}

/// Is told how many rows were read, and may break off.
type Progress<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// Reads all splits and sources. `progress` is told how many rows were read; it may break off, and there is no report then.
pub fn validate(dataset: &Dataset, progress: Progress) -> Result<Option<Report>, CorpusError> {
    let report = Report {
        dataset: dataset.name().into(),
        splits: Vec::new(),
        sources: BTreeMap::new(),
        counts: BTreeMap::new(),
        problems: Vec::new(),
    };
    let source_files = dataset.source_files();
    let mut check =
        Check { dataset, report, splits: Vec::new(), questions: HashMap::new(), rows: HashMap::new(), read: 0 };
    for name in dataset.split_names() {
        if check.split(name, !source_files.is_empty(), progress)?.is_break() {
            return Ok(None);
        }
    }
    for (name, path) in &source_files {
        if check.source(name, path, progress)?.is_break() {
            return Ok(None);
        }
    }
    let mut report = check.report;
    report.problems.sort_by_key(|problem| problem.kind);
    Ok(Some(report))
}

/// Where a question stood first.
struct Seen {
    split: u16,
    line: u32,
    choices: u32,
}

struct Check<'a> {
    dataset: &'a Dataset,
    report: Report,
    splits: Vec<(Split, PathBuf)>,
    questions: HashMap<u64, Seen>,
    /// Split and row of each id, where rationales of other sources are to be joined.
    rows: HashMap<u64, (u16, u32)>,
    read: u64,
}

impl Check<'_> {
    fn split(&mut self, name: &str, join: bool, progress: Progress) -> Result<ControlFlow<()>, CorpusError> {
        let split = self.dataset.split(name)?;
        let file = file_of(self.dataset, name);
        let place = self.splits.len() as u16;
        self.splits.push((split.clone(), file.clone()));
        let mut counts = Counts::default();
        let mut ids: HashMap<u64, u32> = HashMap::new();
        let mut flow = ControlFlow::Continue(());
        split.visit(0, DEFAULT_SOURCE, |row| {
            let Row { number, line, example } = row;
            match example {
                Ok(example) => {
                    counts.examples += 1;
                    counts.rationales += usize::from(example.has_rationale());
                    let here = Here { file: &file, line, id: Some(&example.id) };
                    let texts = example.choices.iter().map(|choice| folded(&choice.text)).collect::<Vec<_>>();
                    self.example(&here, &example, &texts);
                    let id = fingerprint(&example.id);
                    if let Some(first) = ids.insert(id, line as u32) {
                        ids.insert(id, first);
                        self.add(&here, Kind::DuplicateId, format!("line {first} has the same id"));
                    }
                    self.question(&here, place, &example, texts);
                    if join {
                        self.rows.entry(id).or_insert((place, number as u32));
                    }
                }
                Err(error) => {
                    self.add(&Here { file: &error.path, line, id: None }, Kind::UnreadableRow, error.problem.clone());
                }
            }
            flow = self.tick(progress);
            flow
        })?;
        self.report.splits.push((name.into(), counts));
        Ok(flow)
    }

    fn tick(&mut self, progress: Progress) -> ControlFlow<()> {
        self.read += 1;
        if self.read.is_multiple_of(PROGRESS_EVERY as u64) { progress(self.read) } else { ControlFlow::Continue(()) }
    }

    fn add(&mut self, here: &Here, kind: Kind, problem: String) {
        let count = self.report.counts.entry(kind).or_default();
        *count += 1;
        if *count <= KEPT {
            self.report.problems.push(Problem {
                file: here.file.to_owned(),
                line: here.line,
                id: here.id.map(|id| text::line(id).into_owned()),
                problem,
                kind,
            });
        }
    }

    /// What can be seen in one row.
    fn example(&mut self, here: &Here, example: &Example, texts: &[String]) {
        for (kind, problem) in choice_problems(example, texts) {
            self.add(here, kind, problem);
        }
        if example.question.trim().is_empty() {
            self.add(here, Kind::EmptyQuestion, "the question is empty".into());
        }
        if let Some(rationale) = &example.rationale {
            if rationale.trim().is_empty() {
                self.add(here, Kind::EmptyRationale, "the rationale is empty".into());
            } else if let Some((kind, problem)) = announcement(rationale, example) {
                self.add(here, kind, problem);
            }
        }
        let choices =
            example.choices.iter().flat_map(|choice| [("a label", &choice.label), ("a choice", &choice.text)]);
        let one_line = [("the id", &example.id), ("the question", &example.question)].into_iter().chain(choices);
        let one_line = one_line.filter_map(|(what, text)| Some((what, text::first_unsafe(text, false)?)));
        let many = [("the rationale", &example.rationale), ("the rationale's source", &example.rationale_source)];
        let many =
            many.into_iter().filter_map(|(what, text)| Some((what, text::first_unsafe(text.as_deref()?, true)?)));
        for (what, c) in one_line.chain(many) {
            self.add(here, Kind::ControlCharacter, format!("{} in {what}", name_of(c)));
        }
    }

    /// Whether the question was there before.
    fn question(&mut self, here: &Here, split: u16, example: &Example, mut texts: Vec<String>) {
        let normal = normalised(&example.question);
        if normal.is_empty() {
            return;
        }
        texts.sort();
        let choices = fingerprint(&texts.join("\n")) as u32;
        let question = fingerprint(&normal);
        let Some(first) = self.questions.get(&question) else {
            self.questions.insert(question, Seen { split, line: here.line as u32, choices });
            return;
        };
        let (line, same) = (first.line, first.choices == choices);
        if first.split != split {
            let (other, _) = &self.report.splits[usize::from(first.split)];
            let how = if same { "the same choices" } else { "other choices" };
            let problem = format!("{other} has this question with {how} in line {line}");
            self.add(here, Kind::SharedQuestion, problem);
        } else if same {
            self.add(here, Kind::RepeatedQuestion, format!("line {line} has the same question and choices"));
        }
    }

    /// The rationales of a source, as edited.
    fn source(&mut self, name: &str, path: &Path, progress: Progress) -> Result<ControlFlow<()>, CorpusError> {
        let edits = self.dataset.edits().clone();
        let mut edited: HashSet<String> =
            edits.targets().filter(|target| target.source == name).map(|target| target.id.clone()).collect();
        let mut count = 0;
        let mut flow = ControlFlow::Continue(());
        spool::read_rationales(path, |line, rationale| {
            // The file is read to its end all the same, which is quick beside looking at what it says.
            if flow.is_break() {
                return;
            }
            count += usize::from(rationale.is_ok());
            flow = self.tick(progress);
            match rationale {
                Ok(mut rationale) => {
                    let row = self.rows.get(&fingerprint(&rationale.id)).copied();
                    // An edit is of the first sample.
                    if edited.remove(&rationale.id)
                        && let Some((split, _)) = row
                    {
                        let SourceRationale { id, rationale: text, .. } = rationale.clone();
                        let mut example = Example { id, rationale: text, ..Example::default() };
                        edits.apply(&self.splits[usize::from(split)].0.name, name, &mut example);
                        rationale.rationale = example.rationale;
                    }
                    self.rationale(&Here { file: path, line, id: Some(&rationale.id) }, &rationale, row);
                }
                Err(error) => self.add(&Here { file: path, line, id: None }, Kind::UnreadableRow, error.problem),
            }
        })?;
        self.report.sources.insert(name.into(), count);
        Ok(flow)
    }

    fn rationale(&mut self, here: &Here, rationale: &SourceRationale, row: Option<(u16, u32)>) {
        let Some((split, number)) = row else {
            return self.add(here, Kind::StrayRationale, "no split has an example with this id".into());
        };
        let Some(said) = rationale.rationale.as_deref().filter(|said| !said.trim().is_empty()) else {
            return self.add(here, Kind::EmptyRationale, "the rationale is empty".into());
        };
        if let Some(c) = text::first_unsafe(said, true) {
            self.add(here, Kind::ControlCharacter, format!("{} in the rationale", name_of(c)));
        }
        if may_announce(said) {
            let page = self.splits[usize::from(split)].0.page(number as usize, 1, DEFAULT_SOURCE);
            let example = page.ok().and_then(|mut page| page.pop()?.example.ok());
            if let Some((kind, problem)) = example.and_then(|example| announcement(said, &example)) {
                self.add(here, kind, problem);
            }
        }
    }
}

/// The row that is looked at.
struct Here<'a> {
    file: &'a Path,
    line: usize,
    id: Option<&'a str>,
}

/// The file of a split as the user knows it.
fn file_of(dataset: &Dataset, split: &str) -> PathBuf {
    let file = dataset.meta.splits.get(split).and_then(|file| file.as_str()).unwrap_or(split);
    match &dataset.origin {
        Origin::Folder(folder) => folder.join(file),
        Origin::BuiltIn(_) => Path::new(dataset.name()).join(file),
    }
}

/// What is wrong with the answer and the choices. `texts` are the choices' texts, folded.
fn choice_problems(example: &Example, texts: &[String]) -> Vec<(Kind, String)> {
    let mut problems = Vec::new();
    let choices = &example.choices;
    match (&example.answer, example.gold()) {
        (None, _) => problems.push((Kind::MissingAnswer, "there is no answer".into())),
        (Some(answer), None) => {
            let labels: Vec<&str> = choices.iter().map(|choice| choice.label.as_str()).collect();
            let (answer, labels) = (text::excerpt(answer, 20), text::excerpt(&labels.join(", "), 60));
            problems.push((Kind::UnknownAnswer, format!("the answer `{answer}` is none of the labels {labels}")));
        }
        _ => {}
    }
    if choices.len() < 2 {
        let count = if choices.is_empty() { "no choice" } else { "only one choice" };
        problems.push((Kind::FewChoices, format!("the question has {count}")));
    }
    let pairs = || (0..choices.len()).flat_map(|one| (one + 1..choices.len()).map(move |other| (one, other)));
    if let Some((one, _)) = pairs().find(|(one, other)| choices[*one].label == choices[*other].label) {
        let label = text::excerpt(&choices[one].label, 20);
        problems.push((Kind::DuplicateLabel, format!("two choices have the label `{label}`")));
    }
    if let Some((one, other)) = pairs().find(|(one, other)| texts[*one] == texts[*other]) {
        let (one, other) = (&choices[one], &choices[other]);
        let right = |choice: &Choice| Some(&choice.label) == example.answer.as_ref();
        let gold = if right(one) || right(other) { ", and the answer is one of them" } else { "" };
        let [a, b] = [one, other].map(|choice| text::excerpt(&choice.label, 10));
        problems
            .push((Kind::DuplicateChoice, format!("{a} and {b} are both `{}`{gold}", text::excerpt(&one.text, 40))));
    }
    problems
}

/// What a rationale announces, if it does.
fn announcement(rationale: &str, example: &Example) -> Option<(Kind, String)> {
    let found = announced(rationale, &example.choices)?;
    let phrase = text::excerpt(&rationale[found.range], 50);
    let text_of =
        |label: &str| example.choices.iter().find(|choice| choice.label == label).map(|choice| choice.text.trim());
    match &example.answer {
        // Two equal choices are the same announcement.
        Some(answer) if text_of(answer) != text_of(&found.label) => {
            let [said, answer] = [found.label.as_str(), answer].map(|label| text::excerpt(label, 10));
            Some((Kind::WrongAnnouncement, format!("says “{phrase}”: {said}, where the answer is {answer}")))
        }
        _ => Some((Kind::Announcement, format!("says “{phrase}”"))),
    }
}

/// Words in lower case without punctuation: what makes two questions the same question. Signs that count stay, or
/// `3 + 5` would be `3 - 5`.
pub(super) fn normalised(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let lower = text.to_lowercase();
    let mut characters = lower.chars().peekable();
    while let Some(c) = characters.next() {
        let minus = c == '-' && characters.peek().is_some_and(|next| next.is_ascii_digit() || *next == ' ');
        if c.is_alphanumeric() {
            out.push(c);
        } else if minus || "+=<>%*/^".contains(c) {
            out.extend([' ', c, ' ']);
        } else {
            out.push(' ');
        }
    }
    folded(&out)
}

/// Lower case, and one blank where there are several: what makes two choices the same choice.
pub(super) fn folded(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

fn name_of(c: char) -> String {
    let kind = match c {
        '\n' => "line feed",
        '\t' => "tab",
        c if c.is_control() => "control character",
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            "bidirectional control"
        }
        _ => "invisible character",
    };
    format!("{kind} U+{:04X}", c as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::edits::{Patch, Target};

    fn row(id: &str, question: &str, choices: [&str; 3], answer: &str, rationale: &str) -> String {
        let choices =
            choices.iter().zip(["A", "B", "C"]).map(|(text, label)| serde_json::json!({"label": label, "text": text}));
        let choices: Vec<_> = choices.collect();
        let answer = (answer != "none").then_some(answer);
        let row = serde_json::json!({"id": id, "question": question, "choices": choices, "answer": answer, "rationale": rationale});
        format!("{row}\n")
    }

    fn dataset(files: &[(&str, String)]) -> (tempfile::TempDir, Dataset) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("rationales")).unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let dataset = Dataset::open(dir.path()).unwrap();
        (dir, dataset)
    }

    fn found(dataset: &Dataset) -> Vec<(Kind, usize, String)> {
        let report = validate(dataset, &mut |_| ControlFlow::Continue(())).unwrap().unwrap();
        report.problems.into_iter().map(|problem| (problem.kind, problem.line, problem.problem)).collect()
    }

    const XYZ: [&str; 3] = ["x", "y", "z"];

    #[test]
    fn a_clean_data_set_has_no_problems() {
        let rows =
            row("q1", "Why?", XYZ, "A", "Because  of this.") + &row("q2", "How?", XYZ, "B", "Lines\nof thought.");
        let (_dir, dataset) = dataset(&[("train.jsonl", rows), ("test.jsonl", row("q1", "When?", XYZ, "C", "So."))]);
        assert_eq!(found(&dataset), []);
        let report = validate(&dataset, &mut |_| ControlFlow::Continue(())).unwrap().unwrap();
        assert_eq!((report.splits[0].1.examples, report.splits[0].1.rationales, report.has_errors()), (2, 2, false));
    }

    #[test]
    fn a_check_that_nobody_waits_for_ends_early() {
        let rows: String = (0..5000).map(|n| row(&format!("q{n}"), "Why?", XYZ, "A", "So.")).collect();
        let (_dir, dataset) = dataset(&[("train.jsonl", rows)]);
        let mut heard = 0;
        let report = validate(&dataset, &mut |read| {
            heard = read;
            ControlFlow::Break(())
        });
        assert!(report.unwrap().is_none());
        assert_eq!(heard, PROGRESS_EVERY as u64);
    }

    #[test]
    fn every_kind_of_problem_is_found_at_its_line() {
        let train = [
            row("q1", "Why?", XYZ, "D", "r"),
            row("q1", "How?", XYZ, "none", "  "),
            "{\n".into(),
            row("q3", "Where?", ["X", "y", " x"], "A", "So the answer is (a)."),
            row("q4", "When\u{202e}?", XYZ, "B", "\u{1b}[2J"),
            row("q5", " ", XYZ, "C", "The answer is B."),
            row("q6", "how", XYZ, "B", "r"),
        ];
        let test = row("t1", "HOW ?", ["z", "y", "x"], "B", "r") + &row("t2", "why", ["1", "2", "3"], "A", "r");
        let (dir, dataset) = dataset(&[("train.jsonl", train.concat()), ("test.jsonl", test)]);
        let problems = found(&dataset);
        let expected = [
            (Kind::UnreadableRow, 3, "the line breaks off"),
            (Kind::DuplicateId, 2, "line 1 has the same id"),
            (Kind::UnknownAnswer, 1, "`D` is none of the labels A, B, C"),
            (Kind::EmptyQuestion, 6, "empty"),
            (Kind::MissingAnswer, 2, "no answer"),
            (Kind::DuplicateChoice, 4, "A and C are both `X`, and the answer is one of them"),
            (Kind::SharedQuestion, 1, "train has this question with the same choices in line 2"),
            (Kind::SharedQuestion, 2, "train has this question with other choices in line 1"),
            (Kind::RepeatedQuestion, 7, "line 2 has the same question and choices"),
            (Kind::EmptyRationale, 2, "empty"),
            (Kind::WrongAnnouncement, 6, "says “answer is B”: B, where the answer is C"),
            (Kind::Announcement, 4, "says “answer is (a)”"),
            (Kind::ControlCharacter, 5, "bidirectional control U+202E in the question"),
            (Kind::ControlCharacter, 5, "control character U+001B in the rationale"),
        ];
        for (problem, (kind, line, text)) in problems.iter().zip(&expected) {
            assert_eq!((problem.0, problem.1), (*kind, *line), "{problem:?}");
            assert!(problem.2.contains(text), "{problem:?}");
        }
        assert_eq!(problems.len(), expected.len());
        let report = validate(&dataset, &mut |_| ControlFlow::Continue(())).unwrap().unwrap();
        assert!(report.has_errors());
        assert_eq!(report.problems[1].file, dir.path().join("train.jsonl"));
        assert_eq!(report.problems[1].id.as_deref(), Some("q1"));
    }

    #[test]
    fn the_same_question_is_told_from_a_similar_one() {
        assert_eq!(normalised("Where, then, is “it”?"), normalised("where  then is it"));
        assert_eq!(normalised("a well-known bank"), normalised("A well known bank."));
        assert_ne!(normalised("What is 3 + 5?"), normalised("What is 3 - 5?"));
        assert_ne!(normalised("Is -5 cold?"), normalised("Is 5 cold?"));
        assert_ne!(folded("-5"), folded("5"));
    }

    #[test]
    fn sources_are_read_too_and_joined_by_id() {
        let rationale = |id: &str, text: &str| format!("{{\"id\":\"{id}\",\"rationale\":\"{text}\"}}\n");
        let source = rationale("q1", "The answer is B.") + &rationale("q9", "x") + &rationale("q2", "") + "[]\n";
        let rows = row("q1", "Why?", XYZ, "A", "r") + &row("q2", "How?", XYZ, "B", "r");
        let (_dir, dataset) = dataset(&[("train.jsonl", rows), ("rationales/llama.jsonl", source)]);
        let problems = found(&dataset);
        let kinds: Vec<(Kind, usize)> = problems.iter().map(|(kind, line, _)| (*kind, *line)).collect();
        let expected = [
            (Kind::UnreadableRow, 4),
            (Kind::EmptyRationale, 3),
            (Kind::WrongAnnouncement, 1),
            (Kind::StrayRationale, 2),
        ];
        assert_eq!(kinds, expected);
        let report = validate(&dataset, &mut |_| ControlFlow::Continue(())).unwrap().unwrap();
        assert_eq!(report.sources["llama"], 3);
    }

    #[test]
    fn an_edit_mends_what_it_was_made_for() {
        let rationale = |id: &str, text: &str| format!("{{\"id\":\"{id}\",\"rationale\":\"{text}\"}}\n");
        let files = [
            ("train.jsonl", row("q1", "Why?", XYZ, "A", " ")),
            ("rationales/llama.jsonl", rationale("q1", "The answer is B.")),
        ];
        let (_dir, dataset) = dataset(&files);
        assert_eq!(found(&dataset).len(), 2);
        for source in ["default", "llama"] {
            let target = Target { split: "train".into(), id: "q1".into(), source: source.into() };
            dataset.change(|edits| edits.set(target, Patch::Rationale(Some("Because.".into())))).unwrap();
        }
        assert_eq!(found(&dataset), []);
    }
}
