//! The table of a study: a row for each condition, with how sure each number is and what may be said of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::board::about;
use super::compare::{Baseline, Draft, Family, Marks, Seed, Yardstick};
use super::grid::shown_seed;
use super::standing::{Known, Standing};
use super::{Kind, Study, StudyError};
use crate::corpus::Example;
use crate::evaluation::read_predictions;
use crate::evaluation::statistics::{Verdict, mean_and_deviation, wilson};
use crate::journal::RunState;
use crate::rationale::Placement;
use crate::runs::{Run, RunDirectory, RunSpec, load_split, prepare};

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// The commonest answer of the training split, given to every question.
    Majority,
    Untrained,
    Condition,
}

/// A section's data set, student and split.
pub type SectionName = (String, String, String);

/// A study's numbers, or those of all runs of a project. Accuracies and differences are shares, from 0 to 1 and from -1 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Empty for the runs of a project.
    pub study: String,
    pub description: String,
    /// Differences below this do not matter; stated in the study.
    pub margin: f64,
    /// Comparisons over which p-values are adjusted (Holm 1979).
    pub comparisons: usize,
    pub sections: Vec<Section>,
}

/// The conditions of one student on one data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    pub dataset: String,
    pub student: String,
    pub split: String,
    pub rows: Vec<Row>,
}

/// One condition, over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub condition: String,
    pub kind: RowKind,
    pub runs: Vec<Seeded>,
    pub finished: usize,
    /// Mean over finished runs.
    pub accuracy: Option<f64>,
    /// How far seeds alone scatter it: the sample standard deviation over runs.
    pub deviation: Option<f64>,
    /// How far examples alone scatter it: Wilson's 95 % interval at the mean accuracy for the examples of one run. Runs
    /// answer the same examples, so several of them make it no narrower.
    pub interval: Option<(f64, f64)>,
    /// Examples with a known answer that one run was asked.
    pub examples: usize,
    /// Share of answers in which no label could be read; they count as wrong.
    pub unparsable: Option<f64>,
    /// Share of the training rationales that were cut to fit; `None` for runs of versions that did not write it down.
    pub truncated: Option<f64>,
    pub against: Option<Against>,
    /// What else there is to say.
    pub note: Option<String>,
    /// The place of the row that it is measured against among those of its section, before either is finished.
    #[serde(skip)]
    pub baseline: Option<usize>,
    /// What its rationales are, in a few words.
    #[serde(skip)]
    pub about: String,
}

/// One run of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seeded {
    pub cell: String,
    pub seed: String,
    #[serde(skip)]
    pub seeds: Seed,
    /// The data set that it is asked about.
    #[serde(skip)]
    pub dataset: String,
    pub run: Option<String>,
    /// A run's state, `would run` or `can't run`.
    pub state: String,
    pub accuracy: Option<f64>,
    pub interval: Option<(f64, f64)>,
    pub correct: usize,
    pub examples: usize,
    pub unparsable: usize,
    /// Exact McNemar against the baseline's run of the same seed, not adjusted.
    pub mcnemar: Option<f64>,
    pub reason: Option<String>,
}

/// A row less its baseline, over the same examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Against {
    pub baseline: String,
    pub difference: f64,
    /// 95 %, for other seeds and other examples (of one seed: for other examples).
    pub interval: (f64, f64),
    /// The same by the bootstrap of seeds and examples, to compare with; of several draws of a data set there is none.
    pub bootstrap: Option<(f64, f64)>,
    /// Of no difference: exact McNemar for one run each, else a t test, as `test` says.
    pub p: f64,
    pub test: String,
    pub p_holm: f64,
    /// Two one-sided t tests within the study's margin: over examples for one run each, else over seeds and examples.
    /// `None` where there is no spread.
    pub equivalence_p: Option<f64>,
    pub equivalence_p_holm: Option<f64>,
    /// Runs of the row, and of its baseline.
    pub seeds: (usize, usize),
    pub verdict: Verdict,
    pub says: String,
}

impl Study {
    /// The table of what is finished.
    pub fn table(&self, project: &Path) -> Result<Table, StudyError> {
        self.table_against(project, &[])
    }

    /// The table, with rows that a person chose as baselines of their sections.
    pub fn table_against(&self, project: &Path, chosen: &[Baseline]) -> Result<Table, StudyError> {
        let cells = self.cells()?;
        let untrained = self.untrained(&cells);
        let mut known = Known::read(project);
        let mut sections: Vec<(Section, Vec<Draft>)> = Vec::new();
        for cell in untrained.iter().chain(&cells) {
            let spec = &cell.spec;
            let kind = match cell.kind {
                Kind::Condition => RowKind::Condition,
                Kind::Untrained => RowKind::Untrained,
            };
            let drafts = section_of(&mut sections, spec.dataset.clone(), spec);
            if drafts.is_empty() {
                drafts.push(majority(project, &[spec]));
            }
            let title = cell.title();
            let at = drafts.iter().position(|draft| draft.row.condition == title && draft.row.kind == kind);
            let at = at.unwrap_or_else(|| {
                let draft = Draft::new(title, kind, spec);
                drafts.push(Draft { condition: cell.condition.clone(), variant: cell.variant.clone(), ..draft });
                drafts.len() - 1
            });
            let standing = known.standing(cell);
            let problem = match &standing {
                Standing::Impossible(problem) => Some(problem.clone()),
                _ => None,
            };
            drafts[at].add(project, cell.name.clone(), spec, standing.name(), standing.run(), problem);
        }
        let yardstick =
            Yardstick { usual: self.baseline.as_deref(), chosen, margin: self.margin, family: Family::Table };
        let (sections, comparisons) = yardstick.measure(sections);
        let (study, description) = (self.name.clone(), self.description.clone());
        Ok(Table { study, description, margin: self.margin, comparisons, sections })
    }
}

/// The rows of the section that a run belongs to; a new one where there is none yet.
pub(super) fn section_of<'a>(
    sections: &'a mut Vec<(Section, Vec<Draft>)>,
    dataset: String,
    spec: &RunSpec,
) -> &'a mut Vec<Draft> {
    let split = spec.evaluation.last_split().to_owned();
    let section = Section { dataset, student: spec.student.clone(), split, rows: vec![] };
    let place = sections.iter().position(|(other, _)| other.name() == section.name()).unwrap_or_else(|| {
        sections.push((section, vec![]));
        sections.len() - 1
    });
    &mut sections[place].1
}

impl Table {
    /// All runs that the numbers rest on.
    pub fn runs(&self) -> impl Iterator<Item = &Seeded> {
        self.sections.iter().flat_map(|section| &section.rows).flat_map(|row| &row.runs)
    }
}

impl Section {
    pub fn name(&self) -> SectionName {
        (self.dataset.clone(), self.student.clone(), self.split.clone())
    }
}

impl Draft {
    pub(super) fn new(title: String, kind: RowKind, spec: &RunSpec) -> Self {
        Self {
            row: Row { condition: title.clone(), kind, about: about(kind, spec), ..Row::empty() },
            condition: title,
            variant: String::new(),
            placement: spec.rationale.placement,
            is_fresh: spec.student == "toy",
            marks: BTreeMap::new(),
        }
    }

    /// Takes in a cell: its state, and its run with the answers where it is finished.
    pub(super) fn add(
        &mut self,
        project: &Path,
        cell: String,
        spec: &RunSpec,
        state: &str,
        run: Option<&Run>,
        problem: Option<String>,
    ) {
        let seed = spec.seed;
        let seeds = (seed.init, seed.order, seed.ablation);
        let finished = run.filter(|run| run.state == RunState::Finished);
        let result = finished.and_then(|run| run.history.result());
        let last_words = run.filter(|run| run.state != RunState::Finished).and_then(|run| run.history.reason.clone());
        self.row.runs.push(Seeded {
            cell,
            seed: shown_seed(seed),
            seeds,
            dataset: spec.dataset.clone(),
            run: run.map(|run| run.id.clone()),
            state: state.to_owned(),
            accuracy: result.map(|result| result.accuracy),
            interval: result.map(|result| wilson(result.correct, result.examples)),
            correct: result.map_or(0, |result| result.correct),
            examples: result.map_or(0, |result| result.examples),
            unparsable: result.map_or(0, |result| result.unparsable),
            mcnemar: None,
            reason: problem.or(last_words),
        });
        let Some(run) = finished else { return };
        if let Some(marks) = marks(project, run, spec) {
            self.marks.entry(spec.dataset.clone()).or_default().insert(seeds, marks);
        }
        if let Some(train) = run.history.material.get(prepare::TRAIN) {
            // Every seed trains on the same rows.
            self.row.truncated = Some(train.truncated as f64 / train.examples.max(1) as f64);
        }
    }
}

impl Row {
    fn empty() -> Self {
        Self {
            about: String::new(),
            baseline: None,
            condition: String::new(),
            kind: RowKind::Condition,
            runs: vec![],
            finished: 0,
            accuracy: None,
            deviation: None,
            interval: None,
            examples: 0,
            unparsable: None,
            truncated: None,
            against: None,
            note: None,
        }
    }
}

/// What the row of the commonest answer is called.
const MAJORITY: &str = "majority class";

/// What the majority row of a data set says: the commonest answer of the training split, its share there, and the right
/// answers, by question.
pub(super) struct Commonest {
    pub label: String,
    share: f64,
    pub golds: BTreeMap<String, String>,
}

/// The commonest answer of the training split, held against the split that a run is asked last.
pub(super) fn commonest(project: &Path, spec: &RunSpec) -> Result<Commonest, String> {
    let load = |split: &str| -> Result<Vec<Example>, crate::runs::RunError> {
        let dataset = prepare::dataset(project, spec)?;
        Ok(load_split(&dataset, split, &spec.rationale.source)?.examples)
    };
    let (train, asked) = match (load(prepare::TRAIN), load(spec.evaluation.last_split())) {
        (Ok(train), Ok(asked)) => (train, asked),
        (Err(error), _) | (_, Err(error)) => return Err(error.to_string()),
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for gold in train.iter().filter_map(Example::gold) {
        *counts.entry(&gold.label).or_default() += 1;
    }
    // Of equals the first in the alphabet.
    let Some((label, count)) = counts.iter().max_by(|one, other| one.1.cmp(other.1).then(other.0.cmp(one.0))) else {
        return Err("the training split has no answers".into());
    };
    let golds = asked.iter().filter_map(|example| Some((example.id.clone(), example.gold()?.label.clone())));
    Ok(Commonest {
        label: (*label).to_owned(),
        share: *count as f64 / counts.values().sum::<usize>() as f64,
        golds: golds.collect(),
    })
}

/// The row of who always gives the commonest answer: the mean over draws of a data set, where there are several.
pub(super) fn majority(project: &Path, specs: &[&RunSpec]) -> Draft {
    let kind = RowKind::Majority;
    let about = specs.first().map_or_else(String::new, |spec| about(kind, spec));
    let row = Row { condition: MAJORITY.into(), kind, about, ..Row::empty() };
    let mut marks: BTreeMap<String, BTreeMap<Seed, Marks>> = BTreeMap::new();
    let mut notes: Vec<String> = Vec::new();
    let mut shares: Vec<f64> = Vec::new();
    let mut examples = 0;
    for spec in specs {
        match commonest(project, spec) {
            Err(problem) => notes.push(problem),
            Ok(Commonest { label, share, golds }) => {
                let share = share * 100.0;
                notes.push(format!("always {label}, the answer of {share:.1} % of the training questions"));
                let own: Marks = golds.into_iter().map(|(id, gold)| (id, gold == label)).collect();
                if !own.is_empty() {
                    shares.push(own.values().filter(|right| **right).count() as f64 / own.len() as f64);
                }
                examples = examples.max(own.len());
                marks.entry(spec.dataset.clone()).or_default().insert((0, 0, 0), own);
            }
        }
    }
    let (mean, deviation) = mean_and_deviation(&shares);
    let accuracy = (!shares.is_empty()).then_some(mean);
    let note = match &notes[..] {
        [one] => Some(one.clone()),
        _ => Some(format!("the commonest training answer of each of {} draws of the data set", specs.len())),
    };
    let row = Row {
        accuracy,
        deviation,
        interval: accuracy.map(|mean| wilson((mean * examples as f64).round() as usize, examples)),
        examples,
        unparsable: accuracy.map(|_| 0.0),
        note,
        ..row
    };
    Draft {
        row,
        condition: MAJORITY.into(),
        variant: String::new(),
        placement: Placement::None,
        is_fresh: false,
        marks,
    }
}

/// Which examples a finished run got right on its last split.
fn marks(project: &Path, run: &Run, spec: &RunSpec) -> Option<Marks> {
    let path = RunDirectory::open(&project.join("runs").join(&run.id)).predictions();
    let split = spec.evaluation.last_split();
    let predictions = read_predictions(&path).ok()?;
    let own = predictions.into_iter().filter(|one| one.dataset == spec.dataset && one.split == split);
    let known = own.filter(|prediction| prediction.answer.is_some());
    Some(known.map(|prediction| (prediction.id.clone(), prediction.is_correct())).collect())
}
