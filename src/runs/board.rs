//! The board: the conditions that were run, one row each, with how sure each number is and what it shows.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Serialize;

use super::directory::{Run, RunDirectory};
use super::spec::{CONDITION, ROLE};
use crate::evaluation::statistics::{mcnemar, mean_and_deviation, paired_bootstrap, wilson};
use crate::evaluation::{Prediction, read_predictions};
use crate::journal::RunState;
use crate::rationale::Placement;
use crate::rationale::recipe::{Ablation, Keep, KeepBy};

/// One condition: all runs that differ only in their seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BoardRow {
    pub condition: String,
    pub dataset: String,
    pub student: String,
    pub split: String,
    pub runs: Vec<RunCell>,
    /// Mean over finished runs; `None` before the first.
    pub accuracy: Option<f64>,
    /// Sample standard deviation over runs.
    pub deviation: Option<f64>,
    /// Wilson's 95 % interval for one run; over several, for all their answers together.
    pub interval: Option<(f64, f64)>,
    /// The row that this one is measured against, with the difference.
    pub against_none: Option<Difference>,
    /// Against the same placement without ablations.
    pub against_plain: Option<Difference>,
    /// One sentence on what it shows.
    pub shows: String,
}

/// One run of a condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunCell {
    pub id: String,
    pub state: RunState,
    pub accuracy: Option<f64>,
    pub step: usize,
    pub steps: usize,
}

/// A difference in accuracy over the same examples and seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub to: String,
    pub mean: f64,
    /// 95 % bootstrap over examples.
    pub interval: (f64, f64),
    /// Exact McNemar; for one pair of runs only.
    pub p: Option<f64>,
}

/// Right or wrong by example id.
type Marks = HashMap<String, bool>;

/// The three seeds of a run, and its world.
type Seed = (u64, u64, u64, String);

/// A condition while it is put together.
struct Condition<'a> {
    runs: Vec<&'a Run>,
    /// Marks of finished runs, by their seeds.
    marks: BTreeMap<Seed, Marks>,
}

/// Builds the board of a project. Readers are tools, not conditions, and are left out.
pub fn board(project: &Path, runs: &[Run]) -> Vec<BoardRow> {
    let own: Vec<&Run> = runs.iter().filter(|run| !run.spec.tags.contains_key(ROLE)).collect();
    let mut order: Vec<String> = Vec::new();
    let mut conditions: HashMap<String, Condition> = HashMap::new();
    for run in own {
        let key = run.spec.condition();
        let condition = conditions.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            Condition { runs: vec![], marks: BTreeMap::new() }
        });
        condition.runs.push(run);
        if run.state == RunState::Finished
            && let Some(marks) = marks(project, run)
        {
            let seed = run.spec.seed;
            condition.marks.insert((seed.init, seed.order, seed.ablation, world(&run.spec.dataset)), marks);
        }
    }
    let rows: Vec<&Condition> = order.iter().map(|key| &conditions[key]).collect();
    rows.iter().map(|condition| row(condition, &rows)).collect()
}

/// What sets the examples of a run's data set apart from those of its siblings: the world's seed.
fn world(dataset: &str) -> String {
    dataset.split_once(':').map_or(String::new(), |(_, seed)| seed.to_owned())
}

fn marks(project: &Path, run: &Run) -> Option<Marks> {
    let path = RunDirectory::open(&project.join("runs").join(&run.id)).predictions();
    let split = run.spec.evaluation.last_split();
    let own = |prediction: &Prediction| prediction.dataset == run.spec.dataset && prediction.split == split;
    let predictions = read_predictions(&path).ok()?;
    let known = predictions.into_iter().filter(own).filter(|prediction| prediction.answer.is_some());
    Some(known.map(|prediction| (prediction.id.clone(), prediction.is_correct())).collect())
}

fn row(condition: &Condition, all: &[&Condition]) -> BoardRow {
    let first = condition.runs[0];
    let cells: Vec<RunCell> = condition.runs.iter().map(|run| cell(run)).collect();
    let accuracies: Vec<f64> =
        cells.iter().filter(|cell| cell.state == RunState::Finished).filter_map(|cell| cell.accuracy).collect();
    let (accuracy, deviation) = match accuracies[..] {
        [] => (None, None),
        _ => {
            let (mean, deviation) = mean_and_deviation(&accuracies);
            (Some(mean), deviation)
        }
    };
    let finished = condition.runs.iter().filter(|run| run.state == RunState::Finished);
    let (correct, examples) = finished
        .filter_map(|run| run.history.result())
        .fold((0, 0), |sum, result| (sum.0 + result.correct, sum.1 + result.examples));
    let recipe = &first.spec.rationale;
    let named = |name: &str, wanted: &dyn Fn(&Run) -> bool| {
        let alike = |other: &&&Condition| other.runs[0].spec.setting() == first.spec.setting();
        let other = all.iter().find(|other| alike(other) && wanted(other.runs[0]))?;
        difference(name, &condition.marks, &other.marks)
    };
    let plain = |run: &Run| run.spec.rationale.ablations.is_empty();
    let against_none = match recipe.placement {
        Placement::None => None,
        _ => named("none", &|run| run.spec.rationale.placement == Placement::None),
    };
    let against_plain = match recipe.ablations.is_empty() || recipe.placement == Placement::None {
        true => None,
        false => named(recipe.placement.name(), &|run| run.spec.rationale.placement == recipe.placement && plain(run)),
    };
    let shows = sentence(first, accuracy, against_none.as_ref(), against_plain.as_ref());
    BoardRow {
        // One of its runs may have been started by hand, without a name for the condition.
        condition: condition
            .runs
            .iter()
            .find(|run| run.spec.tags.contains_key(CONDITION))
            .unwrap_or(&first)
            .spec
            .title(),
        dataset: first.spec.family(),
        student: first.spec.student.clone(),
        split: first.spec.evaluation.last_split().to_owned(),
        runs: cells,
        accuracy,
        deviation,
        interval: (examples > 0).then(|| wilson(correct, examples)),
        against_none,
        against_plain,
        shows,
    }
}

fn cell(run: &Run) -> RunCell {
    RunCell {
        id: run.id.clone(),
        state: run.state,
        accuracy: run.history.result().map(|result| result.accuracy),
        step: run.history.step(),
        steps: run.history.steps_planned,
    }
}

/// The difference between two conditions over the seeds and examples that both have.
fn difference(name: &str, own: &BTreeMap<Seed, Marks>, other: &BTreeMap<Seed, Marks>) -> Option<Difference> {
    let pairs: Vec<(&String, &Marks, &Marks)> =
        own.iter().filter_map(|(seed, marks)| Some((&seed.3, marks, other.get(seed)?))).collect();
    // Seeds of one world answer the same examples; those of another world only share their ids.
    let mut by_example: BTreeMap<(&String, &String), (f64, f64)> = BTreeMap::new();
    let (mut wins, mut losses) = (0, 0);
    for (world, one, other) in &pairs {
        for (id, right) in *one {
            let Some(other) = other.get(id) else { continue };
            wins += usize::from(*right && !other);
            losses += usize::from(!right && *other);
            let sum = by_example.entry((world, id)).or_insert((0.0, 0.0));
            sum.0 += f64::from(u8::from(*right)) - f64::from(u8::from(*other));
            sum.1 += 1.0;
        }
    }
    if by_example.is_empty() {
        return None;
    }
    let differences: Vec<f64> = by_example.values().map(|(sum, n)| sum / n).collect();
    let (mean, interval) = paired_bootstrap(&differences);
    Some(Difference { to: name.into(), mean, interval, p: (pairs.len() == 1).then(|| mcnemar(wins, losses)) })
}

impl Difference {
    /// `+24.6 [22, 27]`, in points.
    pub fn points(&self) -> String {
        let (low, high) = self.interval;
        format!("{:+.1} [{:+.0}, {:+.0}]", self.mean * 100.0, low * 100.0, high * 100.0)
    }

    /// Whether the interval leaves no doubt about the sign.
    fn is_clear(&self) -> bool {
        self.interval.0 > 0.0 || self.interval.1 < 0.0
    }
}

/// What a row shows, from its numbers alone.
fn sentence(run: &Run, accuracy: Option<f64>, none: Option<&Difference>, plain: Option<&Difference>) -> String {
    let recipe = &run.spec.rationale;
    if accuracy.is_none() {
        return match run.state {
            RunState::Failed => format!("failed: {}", run.history.reason.as_deref().unwrap_or("see worker.log")),
            state @ (RunState::Paused | RunState::Interrupted) => match &run.history.reason {
                Some(reason) => format!("{}: {reason}", state.name()),
                None => state.name().into(),
            },
            state => state.name().into(),
        };
    }
    if recipe.placement == Placement::None {
        return "the student without rationales: what the others are measured against".into();
    }
    let gain = |difference: &Difference| {
        let size = (difference.mean * 100.0).abs();
        match (difference.is_clear(), difference.mean > 0.0) {
            (false, _) => format!("can't be told from {} ({})", difference.to, difference.points()),
            (true, true) => format!("{size:.0} points above {}", difference.to),
            (true, false) => format!("{size:.0} points below {}", difference.to),
        }
    };
    let mut parts: Vec<String> = Vec::new();
    match recipe.ablations.last() {
        None if recipe.placement == Placement::Post => parts.push("rationale after the label".into()),
        None => parts.push("rationale before the label".into()),
        Some(ablation) => parts.push(what_is_left(ablation).into()),
    }
    parts.extend(none.map(gain));
    parts.extend(plain.map(gain));
    if none.is_none() && plain.is_none() {
        parts.push("run `none` with the same seeds to compare".into());
    }
    format!("{}: {}", parts[0], parts[1..].join("; "))
}

/// What an ablation leaves of a rationale.
fn what_is_left(ablation: &Ablation) -> &'static str {
    match ablation {
        Ablation::Shuffle(_) => "its words without their order",
        Ablation::Mask(_) => "a part of its words",
        Ablation::Keep(Keep { by: KeepBy::Attribution, .. }) => "its key tokens alone",
        Ablation::Keep(Keep { by: KeepBy::Random, .. }) => "as many tokens, drawn at random",
        Ablation::Keep(_) => "a few of its tokens",
        Ablation::Truncate(_) => "one end of it",
        Ablation::Swap(_) => "the rationale of another question",
        Ablation::Fill(fill) if fill.pauses() => "pauses without content",
        Ablation::Fill(_) => "its length without its content",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::merge_predictions;
    use crate::journal::{EvaluationEvent, Event, Writer};
    use crate::rationale::recipe::Shuffle;
    use crate::runs::RunSpec;

    /// A finished run in which the examples whose number `right` accepts were answered rightly.
    fn finished(project: &Path, spec: &RunSpec, right: &dyn Fn(usize) -> bool) {
        let run = RunDirectory::create(project, spec.clone(), "x").unwrap();
        let predictions: Vec<Prediction> = (0..400)
            .map(|i| Prediction {
                id: format!("q{i}"),
                dataset: String::new(),
                split: String::new(),
                answer: Some("A".into()),
                predicted: Some(if right(i) { "A" } else { "B" }.into()),
                text: String::new(),
                choices: None,
                unfinished: false,
            })
            .collect();
        let correct = (0..400).filter(|i| right(*i)).count();
        merge_predictions(&run.predictions(), &spec.dataset, spec.evaluation.last_split(), &predictions).unwrap();
        let mut journal = Writer::open(&run.journal()).unwrap();
        let result = EvaluationEvent {
            step: 1,
            epoch: 1.0,
            split: spec.evaluation.last_split().into(),
            accuracy: correct as f64 / 400.0,
            correct,
            examples: 400,
            unparsable: 0,
            loss: None,
            loss_label: None,
            loss_rationale: None,
            last: true,
        };
        journal.append(Event::Evaluation(result)).unwrap();
        journal.append(Event::State { state: RunState::Finished, reason: None }).unwrap();
    }

    fn read_board(project: &Path) -> Vec<BoardRow> {
        let runs: Vec<Run> = RunDirectory::list(project).iter().map(|run| run.read().unwrap()).collect();
        board(project, &runs)
    }

    #[test]
    fn rows_are_conditions_and_say_what_they_show() {
        let dir = tempfile::tempdir().unwrap();
        let post = RunSpec::preset("toy");
        let mut none = post.clone();
        none.rationale.placement = Placement::None;
        let mut shuffled = post.clone();
        shuffled.rationale.ablations.push(Ablation::Shuffle(Shuffle::default()));
        for seed in 0..2u64 {
            let seeded = |spec: &RunSpec| {
                let mut spec = spec.clone();
                spec.seed.init = seed;
                spec
            };
            finished(dir.path(), &seeded(&none), &|i| i % 10 < 6);
            finished(dir.path(), &seeded(&post), &|i| i % 10 < 9);
            finished(dir.path(), &seeded(&shuffled), &|i| i % 10 < 9 && i != 5 || i == 9);
        }
        let rows = read_board(dir.path());
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].accuracy, Some(0.6));
        assert_eq!(rows[1].runs.len(), 2);
        let gain = rows[1].against_none.as_ref().unwrap();
        assert!((gain.mean - 0.3).abs() < 1e-9 && gain.interval.0 > 0.25 && gain.interval.1 < 0.35);
        assert!(rows[1].shows.contains("30 points above none"), "{}", rows[1].shows);
        assert!(rows[2].shows.contains("can't be told from post"), "{}", rows[2].shows);
        assert!(rows[0].shows.contains("measured against"));
    }

    #[test]
    fn a_run_alone_is_no_comparison() {
        let dir = tempfile::tempdir().unwrap();
        finished(dir.path(), &RunSpec::preset("toy"), &|i| i % 2 == 0);
        let rows = read_board(dir.path());
        assert!(rows[0].against_none.is_none() && rows[0].shows.contains("run `none`"), "{}", rows[0].shows);
        let (low, high) = rows[0].interval.unwrap();
        assert!(low < 0.5 && high > 0.5);
    }
}
