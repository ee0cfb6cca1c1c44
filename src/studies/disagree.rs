//! The very questions on which two rows of a table disagree, with what the runs of each said.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::StudyError;
use super::compare::Seed;
use super::table::{Row, RowKind, Section, commonest};
use crate::corpus::Catalog;
use crate::corpus::edits::DEFAULT_SOURCE;
use crate::evaluation::read_predictions;
use crate::journal::RunState;
use crate::runs::RunDirectory;

/// What the runs of a row said to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Runs that were right, of those that were asked.
    pub right: usize,
    pub asked: usize,
    /// The label that most of them gave; `None` where most gave none that could be read.
    pub label: Option<String>,
}

/// A question that one of two rows gets right more often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    pub dataset: String,
    pub split: String,
    pub id: String,
    /// Its place in the split, 0 for the first, and its text; `None` where the data set has it no more.
    pub row: Option<usize>,
    pub question: Option<String>,
    /// The right label.
    pub answer: String,
    pub one: Said,
    pub other: Said,
}

/// The questions on which two rows disagree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disagreements {
    pub one: String,
    pub other: String,
    /// Runs of each that were held against each other: those of the same seeds, where several are shared.
    pub runs: (usize, usize),
    /// Questions that all of these runs were asked.
    pub asked: usize,
    /// Questions that the one gets right more often, and the other.
    pub won: usize,
    pub lost: usize,
    /// Those that are won first, the clearest first.
    pub questions: Vec<Question>,
}

/// An answer to one question: the label that was read, and the right one.
struct Answer {
    label: Option<String>,
    right: String,
}

/// The answers of a row's finished runs, by data set, seed and id.
type Answers = BTreeMap<String, BTreeMap<Seed, HashMap<String, Answer>>>;

impl Question {
    /// The share of its runs by which the one is ahead of the other.
    fn gap(&self) -> f64 {
        let share = |said: &Said| said.right as f64 / said.asked.max(1) as f64;
        share(&self.one) - share(&self.other)
    }

    pub fn is_won(&self) -> bool {
        self.gap() > 0.0
    }
}

/// Finds the questions on which two rows of a section disagree. The error says which file of a run could not be read.
pub fn disagreements(project: &Path, section: &Section, one: &Row, other: &Row) -> Result<Disagreements, StudyError> {
    let (own, others) = (answers(project, section, one, other)?, answers(project, section, other, one)?);
    let catalog = Catalog::new(project);
    let has_draws = own.keys().filter(|dataset| others.contains_key(*dataset)).count() > 1;
    let (mut runs, mut asked) = ((0, 0), 0);
    let mut questions: Vec<Question> = Vec::new();
    for (dataset, own) in &own {
        let Some(others) = others.get(dataset) else { continue };
        // The runs that the difference of the two rows rests on.
        let shared = own.keys().filter(|seed| others.contains_key(*seed)).count();
        let is_alone = shared == own.len() && shared == others.len();
        let is_shared = (shared > 1 || is_alone || has_draws && shared > 0)
            && [one.kind, other.kind].iter().all(|kind| *kind == RowKind::Condition);
        let of = |answers: &'_ BTreeMap<Seed, HashMap<String, Answer>>, with: &BTreeMap<Seed, _>| -> Vec<Seed> {
            answers.keys().filter(|seed| !is_shared || with.contains_key(*seed)).copied().collect()
        };
        let (ones, theirs) = (of(own, others), of(others, own));
        runs = (runs.0 + ones.len(), runs.1 + theirs.len());
        let used = || ones.iter().map(|seed| &own[seed]).chain(theirs.iter().map(|seed| &others[seed]));
        let Some(first) = used().next() else { continue };
        let mut own_questions: BTreeMap<&str, Question> = BTreeMap::new();
        for (id, answer) in first.iter().filter(|(id, _)| used().all(|answers| answers.contains_key(*id))) {
            asked += 1;
            let question = Question {
                dataset: dataset.clone(),
                split: section.split.clone(),
                id: id.clone(),
                row: None,
                question: None,
                answer: answer.right.clone(),
                one: said(ones.iter().map(|seed| &own[seed][id])),
                other: said(theirs.iter().map(|seed| &others[seed][id])),
            };
            if question.gap() != 0.0 {
                own_questions.insert(id, question);
            }
        }
        // A data set that is gone leaves the ids.
        if let Ok(split) = catalog.open(dataset).and_then(|dataset| dataset.split(&section.split)) {
            let found = split.visit(0, DEFAULT_SOURCE, |row| {
                if let Ok(example) = row.example
                    && let Some(question) = own_questions.get_mut(example.id.as_str())
                {
                    (question.row, question.question) = (Some(row.number), Some(example.question));
                }
                ControlFlow::Continue(())
            });
            drop(found);
        }
        questions.extend(own_questions.into_values());
    }
    questions.sort_by(|one, other| {
        let by_side = other.is_won().cmp(&one.is_won()).then(other.gap().abs().total_cmp(&one.gap().abs()));
        by_side.then(one.dataset.cmp(&other.dataset)).then(one.row.cmp(&other.row)).then(one.id.cmp(&other.id))
    });
    let won = questions.iter().filter(|question| question.is_won()).count();
    Ok(Disagreements {
        one: one.condition.clone(),
        other: other.condition.clone(),
        runs,
        asked,
        won,
        lost: questions.len() - won,
        questions,
    })
}

/// What several runs said: how many were right, and the commonest label, of equals the first in the alphabet.
fn said<'a>(answers: impl Iterator<Item = &'a Answer>) -> Said {
    let (mut right, mut asked) = (0, 0);
    let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for Answer { label, right: gold } in answers {
        asked += 1;
        right += usize::from(label.as_ref() == Some(gold));
        *counts.entry(label.as_deref()).or_default() += 1;
    }
    let commonest = counts.iter().max_by(|one, other| one.1.cmp(other.1).then(other.0.cmp(one.0)));
    Said { right, asked, label: commonest.and_then(|(label, _)| label.map(str::to_owned)) }
}

/// The answers of a row. Those of the majority row are made: it has no runs, and takes the settings of the other's.
fn answers(project: &Path, section: &Section, row: &Row, beside: &Row) -> Result<Answers, StudyError> {
    let mut found = Answers::new();
    let of = if row.kind == RowKind::Majority { beside } else { row };
    for seeded in &of.runs {
        let Some(id) = seeded.run.as_ref().filter(|_| seeded.state == RunState::Finished.name()) else { continue };
        let run = RunDirectory::exactly(project, id)?;
        let by_seed = found.entry(seeded.dataset.clone()).or_default();
        if row.kind == RowKind::Majority {
            if by_seed.is_empty() {
                let spec = run.spec()?;
                let always = commonest(project, &spec).map_err(StudyError::Commonest)?;
                let golds = always.golds.into_iter();
                let said = golds.map(|(id, right)| (id, Answer { label: Some(always.label.clone()), right }));
                by_seed.insert((0, 0, 0), said.collect());
            }
            continue;
        }
        let predictions = read_predictions(&run.predictions()).map_err(crate::runs::RunError::from)?;
        let own = predictions.into_iter().filter(|one| one.dataset == seeded.dataset && one.split == section.split);
        let known = own.filter_map(|one| Some((one.id, Answer { label: one.predicted, right: one.answer? })));
        by_seed.insert(seeded.seeds, known.collect());
    }
    Ok(found)
}
