//! The table of a study: a row for each condition, with how sure each number is and what may be said of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::grid::{BEFORE, shown_seed};
use super::standing::{Known, Standing};
use super::{Cell, Kind, Study, StudyError};
use crate::corpus::Example;
use crate::evaluation::read_predictions;
use crate::evaluation::statistics::{
    Comparison, Verdict, equivalence, hierarchical_bootstrap, holm, mcnemar, mean_and_deviation, wilson,
};
use crate::journal::RunState;
use crate::rationale::Placement;
use crate::runs::{Run, RunDirectory, RunSpec, load_split, prepare};

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// The commonest answer of the training split, given to every question.
    Majority,
    Untrained,
    Condition,
}

/// A study's numbers. Accuracies and differences are shares, from 0 to 1 and from -1 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    pub study: String,
    pub description: String,
    /// Differences below this do not matter; stated in the study.
    pub margin: f64,
    /// Comparisons over which p-values are adjusted (Holm 1979).
    pub comparisons: usize,
    pub sections: Vec<Section>,
}

/// The conditions of one student on one data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Section {
    pub dataset: String,
    pub student: String,
    pub split: String,
    pub rows: Vec<Row>,
}

/// One condition, over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
}

/// One run of a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seeded {
    pub cell: String,
    pub seed: String,
    #[serde(skip)]
    seeds: Seed,
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
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Against {
    pub baseline: String,
    pub difference: f64,
    /// 95 %, for other seeds and other examples (of one seed: for other examples).
    pub interval: (f64, f64),
    /// Of no difference: exact McNemar for one run each, else the bootstrap of seeds and examples.
    pub p: f64,
    pub test: &'static str,
    pub p_holm: f64,
    /// Two one-sided t tests within the study's margin, over examples; `None` where there is no spread. Adjusted it is 1
    /// where the interval for other seeds leaves the margin.
    pub equivalence_p: Option<f64>,
    pub equivalence_p_holm: Option<f64>,
    /// Runs of the row, and of its baseline.
    pub seeds: (usize, usize),
    pub verdict: Verdict,
    pub says: String,
}

/// Right or wrong by example.
type Marks = BTreeMap<String, bool>;
type Seed = (u64, u64, u64);

/// A row held against its baseline, before p-values are adjusted.
struct Compared {
    against: Against,
    comparison: Comparison,
    /// McNemar's p-value for each seed that both have.
    by_seed: Vec<(Seed, f64)>,
}

/// A row while it is put together.
struct Draft {
    row: Row,
    condition: String,
    variant: String,
    placement: Placement,
    marks: BTreeMap<Seed, Marks>,
}

impl Study {
    /// The table of what is finished.
    pub fn table(&self, project: &Path) -> Result<Table, StudyError> {
        let cells = self.cells()?;
        let untrained = self.untrained(&cells);
        let mut known = Known::read(project);
        let mut sections: Vec<(Section, Vec<Draft>)> = Vec::new();
        for cell in untrained.iter().chain(&cells) {
            let spec = &cell.spec;
            let split = spec.evaluation.last_split();
            let is_here = |section: &Section| {
                section.dataset == spec.dataset && section.student == spec.student && section.split == split
            };
            let place = sections.iter().position(|(section, _)| is_here(section)).unwrap_or_else(|| {
                let section = Section {
                    dataset: spec.dataset.clone(),
                    student: spec.student.clone(),
                    split: split.to_owned(),
                    rows: vec![majority(project, spec)],
                };
                sections.push((section, vec![]));
                sections.len() - 1
            });
            let drafts = &mut sections[place].1;
            let title = cell.title();
            let kind = match cell.kind {
                Kind::Condition => RowKind::Condition,
                Kind::Untrained => RowKind::Untrained,
            };
            let at = drafts.iter().position(|draft| draft.row.condition == title && draft.row.kind == kind);
            let at = at.unwrap_or_else(|| {
                drafts.push(Draft::new(cell, kind));
                drafts.len() - 1
            });
            drafts[at].add(project, cell, &known.standing(cell));
        }
        let mut comparisons: Vec<Comparison> = Vec::new();
        let mut done: Vec<Section> = Vec::new();
        for (mut section, mut own) in sections {
            own.iter_mut().for_each(Draft::sum_up);
            let compared: Vec<Option<Compared>> = own.iter().map(|draft| self.compare(draft, &own)).collect();
            for (draft, compared) in own.into_iter().zip(compared) {
                let mut row = draft.row;
                if let Some(Compared { against, comparison, by_seed }) = compared {
                    for run in &mut row.runs {
                        run.mcnemar = by_seed.iter().find(|(seed, _)| *seed == run.seeds).map(|(_, p)| *p);
                    }
                    row.against = Some(against);
                    comparisons.push(comparison);
                }
                section.rows.push(row);
            }
            done.push(section);
        }
        let (study, description) = (self.name.clone(), self.description.clone());
        let mut table =
            Table { study, description, margin: self.margin, comparisons: comparisons.len(), sections: done };
        table.adjust(comparisons);
        Ok(table)
    }

    /// Measures a row against the baseline of its section: the named one, else the one without rationales, with the same
    /// other settings.
    fn compare(&self, draft: &Draft, all: &[Draft]) -> Option<Compared> {
        if draft.row.kind != RowKind::Condition {
            return None;
        }
        let alike = |other: &&Draft| other.row.kind == RowKind::Condition && other.variant == draft.variant;
        let by_name = |other: &&Draft| self.baseline.as_deref() == Some(other.condition.as_str());
        let plain = |other: &&Draft| other.placement == Placement::None;
        let baseline = all.iter().filter(alike).find(by_name).or_else(|| all.iter().filter(alike).find(plain))?;
        if std::ptr::eq(baseline, draft) {
            return None;
        }
        let (one, other) = aligned(&draft.marks, &baseline.marks)?;
        let found = hierarchical_bootstrap(&one, &other).ok()?;
        let shared: Vec<&Seed> = one.keys().filter(|seed| other.contains_key(*seed)).collect();
        let mut by_seed = Vec::new();
        let (mut discordant, mut pairs) = (0, 0);
        for seed in shared {
            let both = one[seed].iter().zip(&other[seed]);
            let wins = both.clone().filter(|(one, other)| **one && !**other).count();
            let losses = both.filter(|(one, other)| !**one && **other).count();
            by_seed.push((*seed, mcnemar(wins, losses)));
            discordant += wins + losses;
            pairs += found.examples;
        }
        let (p, test) = match (&by_seed[..], one.len(), other.len()) {
            ([(_, p)], 1, 1) => (*p, "exact McNemar"),
            _ => (found.p, "bootstrap of seeds and examples"),
        };
        let differences = by_example(&one, &other, found.paired);
        let equivalence_p = equivalence(&differences, self.margin).ok().map(|found| found.p);
        let is_within = found.interval.0 > -self.margin && found.interval.1 < self.margin;
        let holds_for_seeds = is_within || (one.len(), other.len()) == (1, 1);
        let comparison = Comparison {
            difference: found.mean,
            interval: found.interval,
            p,
            // The t tests know of no other seeds. Where those could take the difference beyond the margin, nothing is shown;
            // the test was made all the same, and counts among those that are adjusted for.
            equivalence_p: equivalence_p.map(|p| if holds_for_seeds { p } else { 1.0 }),
            margin: self.margin,
            examples: found.examples,
            // Without a pair of runs the share is not known, and nothing is said of what could be seen.
            discordant: if pairs > 0 { discordant as f64 / pairs as f64 } else { f64::NAN },
        };
        let verdict = comparison.verdict();
        let against = Against {
            baseline: baseline.row.condition.clone(),
            difference: found.mean,
            interval: found.interval,
            p,
            test,
            p_holm: p,
            equivalence_p,
            equivalence_p_holm: equivalence_p,
            seeds: found.seeds,
            verdict,
            says: verdict.to_string(),
        };
        Some(Compared { against, comparison, by_seed })
    }
}

impl Table {
    /// Adjusts the p-values over the whole study, and says what they then allow to be said. The comparisons stand in the
    /// order of the rows.
    fn adjust(&mut self, mut comparisons: Vec<Comparison>) {
        let p: Vec<f64> = comparisons.iter().map(|comparison| comparison.p).collect();
        // A test that could not be made is none of those over which the others are adjusted.
        let equal: Vec<f64> = comparisons.iter().filter_map(|comparison| comparison.equivalence_p).collect();
        let mut equal = holm(&equal).into_iter();
        for (comparison, p) in comparisons.iter_mut().zip(holm(&p)) {
            comparison.p = p;
            comparison.equivalence_p = comparison.equivalence_p.and_then(|_| equal.next());
        }
        let rows = self.sections.iter_mut().flat_map(|section| &mut section.rows);
        for (against, comparison) in rows.filter_map(|row| row.against.as_mut()).zip(comparisons) {
            against.p_holm = comparison.p;
            against.equivalence_p_holm = comparison.equivalence_p;
            against.verdict = comparison.verdict();
            against.says = against.verdict.to_string();
        }
    }

    /// All runs that the numbers rest on.
    pub fn runs(&self) -> impl Iterator<Item = &Seeded> {
        self.sections.iter().flat_map(|section| &section.rows).flat_map(|row| &row.runs)
    }
}

impl Draft {
    fn new(cell: &Cell, kind: RowKind) -> Self {
        let row = Row { condition: cell.title(), kind, ..Row::empty() };
        let (condition, variant) = (cell.condition.clone(), cell.variant.clone());
        Self { row, condition, variant, placement: cell.spec.rationale.placement, marks: BTreeMap::new() }
    }

    /// Takes in a run, with its answers where it is finished.
    fn add(&mut self, project: &Path, cell: &Cell, standing: &Standing) {
        let seed = cell.spec.seed;
        let seeds = (seed.init, seed.order, seed.ablation);
        let run = standing.run();
        let result = run.filter(|run| run.state == RunState::Finished).and_then(|run| run.history.result());
        let reason = match standing {
            Standing::Impossible(problem) => Some(problem.clone()),
            _ => run.filter(|run| run.state != RunState::Finished).and_then(|run| run.history.reason.clone()),
        };
        self.row.runs.push(Seeded {
            cell: cell.name.clone(),
            seed: shown_seed(seed),
            seeds,
            run: run.map(|run| run.id.clone()),
            state: standing.name().to_owned(),
            accuracy: result.map(|result| result.accuracy),
            interval: result.map(|result| wilson(result.correct, result.examples)),
            correct: result.map_or(0, |result| result.correct),
            examples: result.map_or(0, |result| result.examples),
            unparsable: result.map_or(0, |result| result.unparsable),
            mcnemar: None,
            reason,
        });
        let Standing::Finished(run) = standing else { return };
        if let Some(marks) = marks(project, run, &cell.spec) {
            self.marks.insert(seeds, marks);
        }
        if let Some(train) = run.history.material.get(prepare::TRAIN) {
            // Every seed trains on the same rows.
            self.row.truncated = Some(train.truncated as f64 / train.examples.max(1) as f64);
        }
    }

    fn sum_up(&mut self) {
        let row = &mut self.row;
        let accuracies: Vec<f64> = row.runs.iter().filter_map(|run| run.accuracy).collect();
        row.finished = accuracies.len();
        if accuracies.is_empty() {
            return;
        }
        let (mean, deviation) = mean_and_deviation(&accuracies);
        (row.accuracy, row.deviation) = (Some(mean), deviation);
        row.examples = row.runs.iter().map(|run| run.examples).max().unwrap_or(0);
        row.interval = Some(wilson((mean * row.examples as f64).round() as usize, row.examples));
        let all: usize = row.runs.iter().map(|run| run.examples).sum();
        let unparsable: usize = row.runs.iter().map(|run| run.unparsable).sum();
        row.unparsable = (all > 0).then(|| unparsable as f64 / all as f64);
        if row.condition == BEFORE {
            row.truncated = None;
        }
    }
}

impl Row {
    fn empty() -> Self {
        Self {
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

/// The row of who always gives the commonest answer of the training split.
fn majority(project: &Path, spec: &RunSpec) -> Row {
    let row = Row { condition: MAJORITY.into(), kind: RowKind::Majority, ..Row::empty() };
    let load = |split: &str| -> Result<Vec<Example>, crate::runs::RunError> {
        let dataset = prepare::dataset(project, spec)?;
        Ok(load_split(&dataset, split, &spec.rationale.source)?.examples)
    };
    let (train, asked) = match (load(prepare::TRAIN), load(spec.evaluation.last_split())) {
        (Ok(train), Ok(asked)) => (train, asked),
        (Err(error), _) | (_, Err(error)) => return Row { note: Some(error.to_string()), ..row },
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for gold in train.iter().filter_map(Example::gold) {
        *counts.entry(&gold.label).or_default() += 1;
    }
    // Of equals the first in the alphabet.
    let Some((label, count)) = counts.iter().max_by(|one, other| one.1.cmp(other.1).then(other.0.cmp(one.0))) else {
        return Row { note: Some("the training split has no answers".into()), ..row };
    };
    let golds: Vec<&str> = asked.iter().filter_map(|example| Some(example.gold()?.label.as_str())).collect();
    let correct = golds.iter().filter(|gold| *gold == label).count();
    let share = *count as f64 / counts.values().sum::<usize>() as f64;
    Row {
        accuracy: (!golds.is_empty()).then(|| correct as f64 / golds.len() as f64),
        interval: (!golds.is_empty()).then(|| wilson(correct, golds.len())),
        examples: golds.len(),
        unparsable: Some(0.0),
        note: Some(format!("always {label}, the answer of {:.1} % of the training questions", share * 100.0)),
        ..row
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

/// Marks by seed, the examples of all in one order.
type Aligned = BTreeMap<Seed, Vec<bool>>;

/// The marks of both over the examples that all of their runs answered, in one order.
fn aligned(one: &BTreeMap<Seed, Marks>, other: &BTreeMap<Seed, Marks>) -> Option<(Aligned, Aligned)> {
    let all = || one.values().chain(other.values());
    let ids: Vec<&String> = all().next()?.keys().filter(|id| all().all(|marks| marks.contains_key(*id))).collect();
    let line_up = |of: &BTreeMap<Seed, Marks>| {
        of.iter().map(|(seed, marks)| (*seed, ids.iter().map(|id| marks[*id]).collect())).collect()
    };
    Some((line_up(one), line_up(other)))
}

/// For each example the one condition's mean over seeds less the other's; over the shared seeds where runs were paired.
fn by_example(one: &Aligned, other: &Aligned, paired: bool) -> Vec<f64> {
    let mean = |of: &Aligned, with: &Aligned, place: usize| {
        let used: Vec<bool> =
            of.iter().filter(|(seed, _)| !paired || with.contains_key(*seed)).map(|(_, marks)| marks[place]).collect();
        used.iter().filter(|right| **right).count() as f64 / used.len().max(1) as f64
    };
    let examples = one.values().next().map_or(0, Vec::len);
    (0..examples).map(|place| mean(one, other, place) - mean(other, one, place)).collect()
}
