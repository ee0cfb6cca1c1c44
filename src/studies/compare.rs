//! One row less its baseline, over the same examples: what may be said of it, for the tables of studies and for the board
//! alike, so that the two can't disagree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::table::{Against, Row, RowKind, Section, SectionName};
use crate::evaluation::statistics::{
    self, ALPHA, Comparison, TTest, equivalence, hierarchical_bootstrap, mcnemar, mean_and_deviation, wilson,
};
use crate::rationale::Placement;

/// Right or wrong by example.
pub(super) type Marks = BTreeMap<String, bool>;
/// The seeds of a run: of its weights, its order and its ablations.
pub type Seed = (u64, u64, u64);
type BySeed = BTreeMap<Seed, Marks>;

/// A row while it is put together.
pub(super) struct Draft {
    pub row: Row,
    /// The condition as its study names it, and what else is varied: a baseline has the same.
    pub condition: String,
    pub variant: String,
    pub placement: Placement,
    /// Whether the student begins with weights of its own for each seed.
    pub is_fresh: bool,
    /// Answers of finished runs, by data set and seed. Other draws of a data set have other questions under the same ids.
    pub marks: BTreeMap<String, BySeed>,
}

/// A row that a person made the baseline, by its name; of one section, or of all that have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    pub section: Option<SectionName>,
    pub row: String,
}

/// Over which comparisons p-values are adjusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// A study states its comparisons, so all of them are one family.
    Table,
    /// A project gathers runs without a plan; what was asked on one data set says nothing about another.
    Section,
}

/// How rows are measured.
pub(super) struct Yardstick<'a> {
    /// The condition that others are measured against, where the section has it; else the one without rationales.
    pub usual: Option<&'a str>,
    /// Rows that a person chose: all others of the section are measured against them.
    pub chosen: &'a [Baseline],
    pub margin: f64,
    pub family: Family,
}

/// A row held against its baseline, before p-values are adjusted.
struct Compared {
    against: Against,
    comparison: Comparison,
    /// McNemar's p-value for each data set and seed that both have.
    by_run: Vec<(String, Seed, f64)>,
}

/// The size of a difference, and how sure it is.
struct Measured {
    mean: f64,
    interval: (f64, f64),
    p: f64,
    test: &'static str,
    equivalence_p: Option<f64>,
    /// The interval of the bootstrap, where one was made.
    bootstrap: Option<(f64, f64)>,
    examples: usize,
    /// The t test of `mean`, where there are several seeds.
    t_test: Option<TTest>,
    seeds: (usize, usize),
}

/// Marks by seed, the examples of all in one order.
type Aligned = BTreeMap<Seed, Vec<bool>>;

/// Both rows' answers to the same questions.
struct World<'a> {
    dataset: &'a str,
    one: Aligned,
    other: Aligned,
}

impl Yardstick<'_> {
    /// Sums up all rows and measures them. Gives the sections and how many comparisons there are.
    pub fn measure(&self, sections: Vec<(Section, Vec<Draft>)>) -> (Vec<Section>, usize) {
        let mut comparisons: Vec<Vec<Comparison>> = Vec::new();
        let mut done: Vec<Section> = Vec::new();
        for (mut section, mut own) in sections {
            own.iter_mut().for_each(Draft::sum_up);
            let name = section.name();
            let fits = |chosen: &&Baseline| {
                chosen.section.as_ref().is_none_or(|of| *of == name)
                    && own.iter().any(|draft| draft.row.condition == chosen.row)
            };
            let chosen = self.chosen.iter().rev().find(fits).map(|chosen| chosen.row.as_str());
            let baselines: Vec<Option<usize>> = (0..own.len()).map(|at| self.baseline(at, &own, chosen)).collect();
            let found: Vec<Option<Compared>> = baselines
                .iter()
                .zip(&own)
                .map(|(baseline, draft)| compare(draft, &own[(*baseline)?], self.margin))
                .collect();
            let mut of_section = Vec::new();
            for ((draft, compared), baseline) in own.into_iter().zip(found).zip(baselines) {
                let mut row = Row { baseline, ..draft.row };
                if let Some(Compared { against, comparison, by_run }) = compared {
                    for run in &mut row.runs {
                        let own = by_run.iter().find(|(of, seed, _)| *of == run.dataset && *seed == run.seeds);
                        run.mcnemar = own.map(|(.., p)| *p);
                    }
                    row.against = Some(against);
                    of_section.push(comparison);
                }
                section.rows.push(row);
            }
            comparisons.push(of_section);
            done.push(section);
        }
        let count = comparisons.iter().map(Vec::len).sum();
        match self.family {
            Family::Table => adjust(&mut done, comparisons.concat()),
            Family::Section => {
                for (section, own) in done.chunks_mut(1).zip(comparisons) {
                    adjust(section, own);
                }
            }
        }
        (done, count)
    }

    /// The place of a row's baseline: the chosen row, else the named condition or the one without rationales with the same
    /// other settings.
    fn baseline(&self, place: usize, all: &[Draft], chosen: Option<&str>) -> Option<usize> {
        let draft = &all[place];
        if let Some(chosen) = chosen {
            return all.iter().position(|other| other.row.condition == chosen).filter(|found| *found != place);
        }
        if draft.row.kind != RowKind::Condition {
            return None;
        }
        let alike = |other: &Draft| other.row.kind == RowKind::Condition && other.variant == draft.variant;
        let by_name = |other: &Draft| alike(other) && self.usual == Some(other.condition.as_str());
        let plain = |other: &Draft| alike(other) && other.placement == Placement::None;
        all.iter().position(by_name).or_else(|| all.iter().position(plain)).filter(|found| *found != place)
    }
}

fn compare(draft: &Draft, baseline: &Draft, margin: f64) -> Option<Compared> {
    let worlds: Vec<World> = draft
        .marks
        .iter()
        .filter_map(|(dataset, own)| {
            let other = baseline.marks.get(dataset)?;
            let (one, other) = aligned(&spread(draft, own, baseline, other), &spread(baseline, other, draft, own))?;
            Some(World { dataset, one, other })
        })
        .collect();
    let mut by_run = Vec::new();
    let (mut discordant, mut pairs) = (0, 0);
    for world in &worlds {
        for (seed, one) in &world.one {
            let Some(other) = world.other.get(seed) else { continue };
            let wins = one.iter().zip(other).filter(|(one, other)| **one && !**other).count();
            let losses = one.iter().zip(other).filter(|(one, other)| !**one && **other).count();
            by_run.push((world.dataset.to_owned(), *seed, mcnemar(wins, losses)));
            discordant += wins + losses;
            pairs += one.len();
        }
    }
    let found = match &worlds[..] {
        [world] => in_one_world(world, &by_run, margin),
        several => over_worlds(several, margin),
    }?;
    let comparison = Comparison {
        difference: found.mean,
        interval: found.interval,
        p: found.p,
        equivalence_p: found.equivalence_p,
        margin,
        examples: found.examples,
        // Without a pair of runs the share is not known, and nothing is said of what could be seen.
        discordant: if pairs > 0 { discordant as f64 / pairs as f64 } else { f64::NAN },
        t_test: found.t_test,
        level: ALPHA,
    };
    let verdict = comparison.verdict();
    let against = Against {
        baseline: baseline.row.condition.clone(),
        difference: found.mean,
        interval: found.interval,
        bootstrap: found.bootstrap,
        p: found.p,
        test: found.test.into(),
        p_holm: found.p,
        equivalence_p: found.equivalence_p,
        equivalence_p_holm: found.equivalence_p,
        seeds: found.seeds,
        verdict,
        says: verdict.to_string(),
    };
    Some(Compared { against, comparison, by_run })
}

/// Several seeds that answered the same questions.
fn in_one_world(world: &World, by_run: &[(String, Seed, f64)], margin: f64) -> Option<Measured> {
    let World { one, other, .. } = world;
    let found = hierarchical_bootstrap(one, other).ok()?;
    let one_each = by_run.first().filter(|_| (one.len(), other.len()) == (1, 1));
    let (p, test, interval, equivalence_p) = match (one_each, found.test) {
        (Some((.., p)), _) => {
            let differences = by_example(one, other, found.paired);
            let equal = equivalence(&differences, margin).ok().map(|found| found.p);
            (*p, "exact McNemar", found.bootstrap, equal)
        }
        (None, Some(test)) => (test.p(), "t test over seeds and examples", test.interval(), test.equivalence_p(margin)),
        (None, None) => return None,
    };
    Some(Measured {
        mean: found.mean,
        interval,
        p,
        test,
        equivalence_p,
        bootstrap: Some(found.bootstrap),
        examples: found.examples,
        t_test: found.test.filter(|_| one_each.is_none()),
        seeds: found.seeds,
    })
}

/// Several draws of a data set, each with questions of its own: each is one independent difference, and what they scatter
/// is that of data, seeds and questions together.
fn over_worlds(worlds: &[World], margin: f64) -> Option<Measured> {
    let paired = |world: &World| world.one.keys().any(|seed| world.other.contains_key(seed));
    let of_world = |world: &World| mean_and_deviation(&by_example(&world.one, &world.other, paired(world))).0;
    let asked: Vec<&World> =
        worlds.iter().filter(|world| world.one.values().next().is_some_and(|marks| !marks.is_empty())).collect();
    let differences: Vec<f64> = asked.iter().map(|world| of_world(world)).collect();
    let (mean, Some(deviation)) = mean_and_deviation(&differences) else { return None };
    let count = differences.len() as f64;
    let test = TTest { mean, error: deviation / count.sqrt(), freedom: count - 1.0 };
    let runs = |of: &dyn Fn(&World) -> usize| asked.iter().map(|world| of(world)).sum();
    Some(Measured {
        mean,
        interval: test.interval(),
        p: test.p(),
        test: "t test over draws of the data set",
        equivalence_p: test.equivalence_p(margin),
        bootstrap: None,
        t_test: Some(test),
        examples: asked[0].one.values().next().map_or(0, Vec::len),
        seeds: (runs(&|world| world.one.len()), runs(&|world| world.other.len())),
    })
}

/// Adjusts the p-values of these sections after Holm, and says what they then allow to be said. The comparisons stand in the
/// order of the rows.
fn adjust(sections: &mut [Section], mut comparisons: Vec<Comparison>) {
    statistics::adjust(&mut comparisons);
    let rows = sections.iter_mut().flat_map(|section| &mut section.rows);
    for (against, comparison) in rows.filter_map(|row| row.against.as_mut()).zip(comparisons) {
        against.p_holm = comparison.p;
        against.equivalence_p_holm = comparison.equivalence_p;
        against.verdict = comparison.verdict();
        against.says = against.verdict.to_string();
    }
}

impl Draft {
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
        if row.kind == RowKind::Untrained {
            row.truncated = None;
        }
    }
}

/// A row's answers under the seeds of the row that it is held against: the commonest answer is the same under all of them,
/// and a student before fine-tuning differs by the seed of its fresh weights alone.
fn spread<'a>(draft: &Draft, own: &'a BySeed, against: &Draft, other: &BySeed) -> BTreeMap<Seed, &'a Marks> {
    let as_it_is = || own.iter().map(|(seed, marks)| (*seed, marks)).collect();
    if draft.row.kind == RowKind::Condition || against.row.kind == RowKind::Majority {
        return as_it_is();
    }
    let of = |seed: &Seed| match draft.row.kind == RowKind::Untrained && draft.is_fresh {
        true => own.iter().find(|((init, ..), _)| *init == seed.0).map(|(_, marks)| marks),
        false => own.values().next(),
    };
    let found: BTreeMap<Seed, &Marks> = other.keys().filter_map(|seed| Some((*seed, of(seed)?))).collect();
    if found.is_empty() { as_it_is() } else { found }
}

/// The marks of both over the examples that all of their runs answered, in one order.
fn aligned(one: &BTreeMap<Seed, &Marks>, other: &BTreeMap<Seed, &Marks>) -> Option<(Aligned, Aligned)> {
    let all = || one.values().chain(other.values());
    let ids: Vec<&String> = all().next()?.keys().filter(|id| all().all(|marks| marks.contains_key(*id))).collect();
    let line_up = |of: &BTreeMap<Seed, &Marks>| {
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
