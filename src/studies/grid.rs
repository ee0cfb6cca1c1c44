//! The cells of a study: every run that it comes to, with a name.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::StudyError;
use super::file::{Axis, Study};
use crate::corpus::{did_you_mean, nearest};
use crate::rationale::{Chat, Placement, recipe::Recipe};
use crate::runs::spec::{CONDITION, ROLE, STUDY, UNTRAINED, lay_over, put};
use crate::runs::{RunSpec, Seeds};
use crate::training::TrainingSettings;
use crate::training::settings::Unusable;

/// What a cell is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A run that the study asks for.
    Condition,
    /// The student of such runs, asked before any fine-tuning.
    Untrained,
}

/// One run of a study.
#[derive(Clone, Debug)]
pub struct Cell {
    /// `toyworld · post, shuffled · seed 1`: no two of a study have the same.
    pub name: String,
    pub kind: Kind,
    /// The condition as the study names it.
    pub condition: String,
    /// What else is varied beside the data set and the student, as in `learning_rate=0.001`; empty where nothing is.
    pub variant: String,
    pub spec: RunSpec,
}

impl Cell {
    /// What the cell's row is called.
    pub fn title(&self) -> String {
        match (self.condition.is_empty(), self.variant.is_empty()) {
            (_, true) => self.condition.clone(),
            (true, false) => self.variant.clone(),
            (false, false) => format!("{}, {}", self.condition, self.variant),
        }
    }
}

/// The tag by which a study names a cell that it excludes.
const SEED: &str = "seed";

impl Study {
    /// All cells, those of the first seed first, so that a table can be read long before the study is done. What is wrong
    /// with one is named with the line of what makes it so.
    pub fn cells(&self) -> Result<Vec<Cell>, StudyError> {
        let mut cells = Vec::new();
        let mut used = vec![false; self.exclude.len()];
        for seeds in &self.seeds {
            for point in self.points() {
                for (condition, settings) in self.listed_conditions() {
                    let cell = self.cell(*seeds, &point, condition, settings)?;
                    if !self.is_excluded(&cell, &mut used)? {
                        cells.push(cell);
                    }
                }
            }
        }
        if let Some(unused) = used.iter().position(|used| !used) {
            let shown: Vec<String> =
                self.exclude[unused].iter().map(|(key, values)| format!("{key}: {}", shown_all(values))).collect();
            let problem = format!("exclude: {{{}}} matches no cell · mend it or leave it out", shown.join(", "));
            return Err(self.wrong(&["exclude", self.exclude[unused].first().map_or("", |entry| &entry.0)], problem));
        }
        if cells.is_empty() {
            return Err(self.wrong(&["exclude"], "every cell is excluded, so there is nothing to run".into()));
        }
        self.refuse_twins(&cells)?;
        Ok(cells)
    }

    /// The students of these cells as they are before any fine-tuning, asked for the label alone: one for each student and
    /// data set, and for each seed of fresh weights.
    pub fn untrained(&self, cells: &[Cell]) -> Vec<Cell> {
        let mut found: Vec<Cell> = Vec::new();
        for cell in cells {
            let of = &cell.spec;
            let fresh = of.student == "toy";
            let seed = Seeds { init: if fresh { of.seed.init } else { 0 }, ..Seeds::default() };
            let preset = RunSpec::preset(&of.student);
            let spec = RunSpec {
                rationale: Recipe { placement: Placement::None, chat: of.rationale.chat.clone(), ..Recipe::default() },
                // With nothing trained, only what decides how it is asked matters.
                training: TrainingSettings {
                    steps: Some(0),
                    precision: of.training.precision,
                    unusable: Unusable::Skip,
                    ops: of.training.ops,
                    threads: of.training.threads,
                    ..preset.training
                },
                evaluation: crate::runs::EvaluationSettings {
                    split: of.evaluation.last_split().to_owned(),
                    last: None,
                    every: preset.evaluation.every,
                    examples: None,
                    // There is no rationale to be given.
                    rationale: preset.evaluation.rationale,
                    ..of.evaluation.clone()
                },
                seed,
                tags: BTreeMap::from([
                    (CONDITION.into(), BEFORE.into()),
                    (ROLE.into(), UNTRAINED.into()),
                    (STUDY.into(), self.name.clone()),
                ]),
                record: None,
                ..of.clone()
            };
            let identity = spec.identity();
            if found.iter().any(|other| other.spec.identity() == identity) {
                continue;
            }
            let mut name = format!("{} · {} · {BEFORE}", of.dataset, of.student);
            if fresh {
                name.push_str(&format!(" · seed {}", seed.init));
            }
            if let Chat::User | Chat::System(_) = &of.rationale.chat {
                name.push_str(" · chat");
            }
            if found.iter().any(|other| other.name == name) {
                name.push_str(&format!(" · {}", &identity[..8]));
            }
            let (condition, variant) = (BEFORE.to_owned(), String::new());
            found.push(Cell { name, kind: Kind::Untrained, condition, variant, spec });
        }
        found
    }

    /// Every combination of the grid, with each place of the zip: settings with their values.
    fn points(&self) -> Vec<Vec<(&str, &Value)>> {
        let mut points: Vec<Vec<(&str, &Value)>> = vec![vec![]];
        for (key, values) in &self.grid {
            points = points
                .iter()
                .flat_map(|point| {
                    values.iter().map(move |value| point.iter().copied().chain([(key.as_str(), value)]).collect())
                })
                .collect();
        }
        let length = self.zip.first().map_or(0, |(_, values)| values.len());
        if length == 0 {
            return points;
        }
        let zipped = |place: usize| self.zip.iter().map(move |(key, values)| (key.as_str(), &values[place]));
        points
            .iter()
            .flat_map(|point| (0..length).map(move |place| point.iter().copied().chain(zipped(place)).collect()))
            .collect()
    }

    /// The conditions, or one without a name.
    fn listed_conditions(&self) -> Vec<(&str, &Value)> {
        if self.conditions.is_empty() {
            return vec![("", &Value::Null)];
        }
        self.conditions.iter().map(|(name, settings)| (name.as_str(), settings)).collect()
    }

    fn cell(
        &self,
        seeds: Seeds,
        point: &[(&str, &Value)],
        condition: &str,
        settings: &Value,
    ) -> Result<Cell, StudyError> {
        let mut wanted = self.base.clone();
        for (key, value) in point {
            put(&mut wanted, key, (*value).clone());
        }
        lay_settings(&mut wanted, settings);
        let varied = |key: &str| {
            let of = |axes: &[Axis]| axes.iter().any(|(other, values)| other == key && values.len() > 1);
            of(&self.grid) || of(&self.zip)
        };
        let other = |key: &str| key != "dataset" && key != "student";
        let short = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
        let variant: Vec<String> = point
            .iter()
            .filter(|(key, _)| varied(key) && other(key))
            .map(|(key, value)| format!("{}={}", short(key), shown(value)))
            .collect();
        let mut spec = RunSpec::from_settings(wanted).map_err(|problem| {
            let at: Vec<String> = point.iter().map(|(key, value)| format!("{key}={}", shown(value))).collect();
            let place = [condition].into_iter().filter(|name| !name.is_empty()).map(str::to_owned).chain(at);
            let problem = format!("the cell {} can't be: {problem}", place.collect::<Vec<_>>().join(" · "));
            match (condition, point.first()) {
                ("", Some((key, _))) => self.wrong(&[key], problem),
                (name, _) => self.wrong(&["conditions", name], problem),
            }
        })?;
        let mut cell = Cell {
            name: String::new(),
            kind: Kind::Condition,
            condition: condition.to_owned(),
            variant: variant.join(", "),
            spec: spec.clone(),
        };
        if cell.title().is_empty() {
            cell.condition = spec.rationale.to_string();
        }
        spec.seed = seeds;
        spec.tags.insert(CONDITION.into(), cell.title());
        spec.tags.insert(STUDY.into(), self.name.clone());
        let mut parts: Vec<String> = Vec::new();
        if varied("student") {
            parts.push(spec.student.clone());
        }
        if varied("dataset") {
            parts.push(spec.dataset.clone());
        }
        parts.push(cell.title());
        parts.push(shown_seed(seeds));
        cell.name = parts.join(" · ");
        cell.spec = spec;
        Ok(cell)
    }

    fn is_excluded(&self, cell: &Cell, used: &mut [bool]) -> Result<bool, StudyError> {
        let settings = serde_json::to_value(&cell.spec).unwrap_or_default();
        let mut excluded = false;
        for (place, entry) in self.exclude.iter().enumerate() {
            let mut all = !entry.is_empty();
            for (key, values) in entry {
                let own = match key.as_str() {
                    "condition" => Value::from(cell.condition.as_str()),
                    SEED => Value::from(cell.spec.seed.init),
                    setting => match look_up(&settings, setting) {
                        Some(value) => value.clone(),
                        None => return Err(self.unknown_exclusion(setting)),
                    },
                };
                all &= values.iter().any(|value| is_same(value, &own));
            }
            used[place] |= all;
            excluded |= all;
        }
        Ok(excluded)
    }

    fn unknown_exclusion(&self, key: &str) -> StudyError {
        let axes = self.grid.iter().chain(&self.zip).map(|(key, _)| key.as_str());
        let nearest = nearest(key, axes.chain(["condition", SEED, "dataset", "student"]));
        let problem = format!("exclude: `{key}` is no setting, `condition` or `{SEED}`{}", did_you_mean(&nearest));
        self.wrong(&["exclude", key], problem)
    }

    /// Two cells that would be the same run are a mistake: one of their rows would count for the other.
    fn refuse_twins(&self, cells: &[Cell]) -> Result<(), StudyError> {
        let mut seen: HashMap<String, &Cell> = HashMap::new();
        for cell in cells {
            if let Some(other) = seen.insert(cell.spec.identity(), cell) {
                let problem = format!(
                    "the cells `{}` and `{}` are the same run: nothing that decides a result differs · leave one out",
                    other.name, cell.name
                );
                return Err(self.wrong(&["conditions", &cell.condition], problem));
            }
        }
        Ok(())
    }
}

/// What the row of a student before fine-tuning is called.
pub const BEFORE: &str = "before fine-tuning";

/// Lays a condition's settings over others; keys may be paths, as in `rationale.placement`.
pub(super) fn lay_settings(over: &mut Value, settings: &Value) {
    let Value::Object(settings) = settings else { return };
    for (key, value) in settings {
        let mut nested = Value::Null;
        put(&mut nested, key, value.clone());
        lay_over(over, nested);
    }
}

/// The value at `a.b.c`; `None` where nothing of that name can be.
fn look_up<'a>(settings: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(settings, |place, key| place.get(key))
}

/// Whether two values mean the same: 1 is 1.0.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// A value as people write it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn shown_all(values: &[Value]) -> String {
    match values {
        [one] => shown(one),
        several => format!("[{}]", several.iter().map(shown).collect::<Vec<_>>().join(", ")),
    }
}

/// `seed 1`, or `seeds 1/0/0`.
pub fn shown_seed(Seeds { init, order, ablation }: Seeds) -> String {
    if init == order && order == ablation { format!("seed {init}") } else { format!("seeds {init}/{order}/{ablation}") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn cells(text: &str) -> Result<Vec<Cell>, StudyError> {
        Study::parse(text, Path::new("mine.yaml"))?.cells()
    }

    fn names(text: &str) -> Vec<String> {
        cells(text).unwrap().into_iter().map(|cell| cell.name).collect()
    }

    fn error(text: &str) -> String {
        cells(text).unwrap_err().to_string()
    }

    #[test]
    fn grid_zip_conditions_and_seeds_are_crossed() {
        let text = "
base: {training: {steps: 5}}
grid: {dataset: [toyworld, toyworld-noisy]}
zip: {training.learning_rate: [0.1, 0.2], training.batch_size: [4, 8]}
conditions:
  none: {rationale.placement: none}
  post: {}
seeds: [0, {init: 1, order: 0, ablation: 0}]
exclude:
  - {dataset: toyworld-noisy, condition: post}
  - {training.batch_size: 8, seed: 1}";
        let names = names(text);
        assert_eq!(names.len(), 2 * 2 * 2 * 2 - 4 - 3);
        assert_eq!(names[0], "toyworld · none, learning_rate=0.1, batch_size=4 · seed 0");
        assert!(
            names.contains(&"toyworld · post, learning_rate=0.1, batch_size=4 · seeds 1/0/0".to_owned()),
            "{names:?}"
        );
        let cells = cells(text).unwrap();
        assert!(cells.iter().all(|cell| cell.spec.training.steps == Some(5)));
        assert_eq!(cells[0].spec.rationale.placement, Placement::None);
        assert_eq!(cells[0].spec.tags[STUDY], "mine");
        assert_eq!(cells[2].spec.training.batch_size, 8);
        assert_eq!(cells[2].spec.training.learning_rate, 0.2);
    }

    #[test]
    fn the_defaults_are_those_of_the_student_that_an_axis_names() {
        let cells = cells("grid: {student: [toy, openai-community/gpt2]}").unwrap();
        assert_eq!(cells[0].spec.training, TrainingSettings::toy());
        assert_eq!(cells[1].spec.training, TrainingSettings::default());
    }

    #[test]
    fn bad_studies_are_refused_with_a_clear_error() {
        for (text, expected) in [
            (
                "conditions:\n  post: {}\n  again: {rationale: {placement: post}}",
                &["mine.yaml:3", "`post · seed 0` and `again · seed 0` are the same run"][..],
            ),
            ("seeds: [1, 1]", &["are the same run"]),
            (
                "conditions: {none: {rationale: {placement: none}}}\nexclude:\n  - {condition: pots}",
                &["mine.yaml:3", "{condition: pots} matches no cell"],
            ),
            (
                "grid:\n  dataset: [a, b]\nexclude:\n  - {datset: a}",
                &["mine.yaml:4", "`datset` is no setting", "did you mean `dataset`"],
            ),
            ("grid:\n  dataset: [a]\nexclude:\n  - {dataset: [a]}", &["mine.yaml:", "every cell is excluded"]),
            ("grid:\n  training.steps: [5]\n  training.batch_size: [0]", &["mine.yaml:", "training.batch_size is 0"]),
        ] {
            let error = error(text);
            assert!(expected.iter().all(|part| error.contains(part)), "{text}\n{error}");
        }
    }

    #[test]
    fn the_papers_grid_is_as_large_as_it_says() {
        let (_, text) = super::super::SHIPPED.into_iter().find(|(name, _)| *name == "paper").unwrap();
        let study = Study::parse(text, Path::new("studies/paper.yaml")).unwrap();
        let cells = study.cells().unwrap();
        assert_eq!(cells.len(), 3 * 3 * 14 * 3);
        let untrained = study.untrained(&cells);
        assert_eq!(untrained.len(), 9, "one for each student and data set: {untrained:?}");
        assert!(untrained.iter().all(|cell| cell.spec.training.steps == Some(0)));
    }

    #[test]
    fn fresh_weights_differ_by_seed() {
        let study = Study::parse(
            "conditions: {none: {}, low: {training.learning_rate: 0.1}}\nseeds: [3, 4]",
            Path::new("m.yaml"),
        );
        let study = study.unwrap();
        let untrained = study.untrained(&study.cells().unwrap());
        let names: Vec<_> = untrained.iter().map(|cell| cell.name.as_str()).collect();
        assert_eq!(
            names,
            ["toyworld · toy · before fine-tuning · seed 3", "toyworld · toy · before fine-tuning · seed 4"]
        );
    }
}
