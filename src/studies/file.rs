//! `studies/NAME.yaml`: what a study is, and what is wrong with one, by line.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::StudyError;
use crate::corpus::{did_you_mean, nearest};
use crate::files;
use crate::runs::spec::explain;
use crate::runs::{RunSpec, Seeds};
use crate::text;

/// The studies that come with the program: name and text.
pub const SHIPPED: [(&str, &str); 4] = [
    ("toy-tour", include_str!("../../studies/toy-tour.yaml")),
    ("toy-grid", include_str!("../../studies/toy-grid.yaml")),
    ("quarel-cpu", include_str!("../../studies/quarel-cpu.yaml")),
    ("paper", include_str!("../../studies/paper.yaml")),
];

/// What is varied: a setting such as `training.learning_rate`, with its values.
pub type Axis = (String, Vec<Value>);

/// A study as it was written, its parts checked one by one.
#[derive(Clone, Debug)]
pub struct Study {
    /// The file's name without its ending.
    pub name: String,
    pub path: PathBuf,
    pub description: String,
    /// Settings that all cells have.
    pub base: Value,
    /// Crossed with each other.
    pub grid: Vec<Axis>,
    /// Lists of one length that are walked together, and crossed with the rest.
    pub zip: Vec<Axis>,
    /// An explicit list of settings with names, crossed with the rest.
    pub conditions: Vec<(String, Value)>,
    pub seeds: Vec<Seeds>,
    /// Cells that match all entries of one of these are left out: settings, `condition` or `seed`, with their values.
    pub exclude: Vec<Vec<Axis>>,
    /// The condition that the others are measured against.
    pub baseline: Option<String>,
    /// Differences in accuracy below this do not matter, from 0 to 1; points in the file.
    pub margin: f64,
    /// The file.
    pub text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    description: String,
    #[serde(default)]
    base: Map<String, Value>,
    #[serde(default)]
    grid: Map<String, Value>,
    #[serde(default)]
    zip: Map<String, Value>,
    #[serde(default)]
    conditions: Map<String, Value>,
    #[serde(default)]
    seeds: Option<Vec<Seed>>,
    #[serde(default)]
    exclude: Vec<Map<String, Value>>,
    #[serde(default)]
    baseline: Option<String>,
    #[serde(default)]
    margin: Option<f64>,
}

/// One number for all three seeds, or each of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seed {
    All(u64),
    Each(Seeds),
}

/// Points of accuracy below which a difference does not matter, where the study does not say.
pub const MARGIN: f64 = 3.0;

impl Study {
    /// Finds a study: a file, a name under `studies/` of the project, or one that comes with the program.
    pub fn find(project: &Path, wanted: &str) -> Result<Self, StudyError> {
        let folder = project.join("studies");
        let given = PathBuf::from(wanted);
        let is_path = wanted.contains('/') || wanted.ends_with(".yaml") || wanted.ends_with(".yml");
        if is_path {
            return Self::read(&given);
        }
        let own = folder.join(format!("{wanted}.yaml"));
        if own.is_file() {
            return Self::read(&own);
        }
        if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == wanted) {
            return Self::parse(text, &PathBuf::from(format!("studies/{name}.yaml")));
        }
        let known = Self::names(project);
        let nearest = did_you_mean(&nearest(wanted, known.iter().map(String::as_str)));
        let known = text::line(&known.join(", ")).into_owned();
        Err(StudyError::Unknown { name: text::line(wanted).into(), nearest, known })
    }

    /// The names of all studies: those under `studies/` of the project, and those that come with the program.
    pub fn names(project: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(project.join("studies")).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let is_study = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml");
        let stem = |path: PathBuf| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
        let mut known: Vec<String> = paths.filter(is_study).filter_map(stem).collect();
        known.extend(SHIPPED.iter().map(|(name, _)| (*name).to_owned()));
        known.sort();
        known.dedup();
        known
    }

    pub fn read(path: &Path) -> Result<Self, StudyError> {
        Self::parse(&files::read_to_string(path)?, path)
    }

    /// Reads a study from the text of the file at `path`. What is wrong is named with its line.
    pub fn parse(text: &str, path: &Path) -> Result<Self, StudyError> {
        let wrong = |problem: String| {
            let line = yaml_line(&problem);
            StudyError::File { path: path.to_owned(), line, problem: explain(&problem) }
        };
        // A key that is there twice is told by this reading alone.
        serde_yaml::from_str::<serde_yaml::Value>(text).map_err(|error| wrong(error.to_string()))?;
        let file: File = serde_yaml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let at = |keys: &[&str], problem: String| StudyError::File {
            path: path.to_owned(),
            line: line_of(text, keys),
            problem: text::line(&problem).into_owned(),
        };
        let margin = file.margin.unwrap_or(MARGIN);
        if !(margin > 0.0 && margin <= 100.0) {
            return Err(at(&["margin"], format!("margin is {margin}; write points of accuracy, above 0 and to 100")));
        }
        let base = Value::Object(file.base);
        if let Err(problem) = RunSpec::from_settings(base.clone()) {
            let keys: Vec<&str> = problem.split([':', ' ']).next().unwrap_or_default().split('.').collect();
            return Err(at(&[&["base"], &keys[..]].concat(), format!("base: {problem}")));
        }
        let study = Self {
            name,
            path: path.to_owned(),
            description: file.description,
            base,
            grid: axes("grid", file.grid).map_err(|(key, problem)| at(&["grid", &key], problem))?,
            zip: axes("zip", file.zip).map_err(|(key, problem)| at(&["zip", &key], problem))?,
            conditions: file.conditions.into_iter().collect(),
            seeds: file
                .seeds
                .map_or_else(|| vec![Seeds::default()], |seeds| seeds.into_iter().map(|seed| seed.seeds()).collect()),
            exclude: file.exclude.into_iter().map(|entry| entry.into_iter().map(listed).collect()).collect(),
            baseline: file.baseline,
            margin: margin / 100.0,
            text: text.to_owned(),
        };
        study.check(&at)?;
        Ok(study)
    }

    /// What can be told of each part alone.
    fn check(&self, at: &dyn Fn(&[&str], String) -> StudyError) -> Result<(), StudyError> {
        if self.seeds.is_empty() {
            return Err(at(&["seeds"], "seeds is empty, so there is nothing to run · write at least one".into()));
        }
        if let [(first, values), rest @ ..] = &self.zip[..]
            && let Some((other, unlike)) = rest.iter().find(|(_, other)| other.len() != values.len())
        {
            let (here, there) = (values.len(), unlike.len());
            let problem = format!("zip: {first} has {here} values and {other} has {there}; they are walked together");
            return Err(at(&["zip", other], problem));
        }
        let mut seen: Vec<&str> = Vec::new();
        for (part, axes) in [("grid", &self.grid), ("zip", &self.zip)] {
            for (key, values) in axes {
                if seen.contains(&key.as_str()) {
                    return Err(at(&["zip", key], format!("{key} is in grid and in zip; leave one out")));
                }
                seen.push(key);
                if is_program_key(key) {
                    let problem = format!("{part}.{key} can't be varied: it decides no result, or the study sets it");
                    return Err(at(&[part, key], problem));
                }
                self.check_setting(key, values).map_err(|problem| at(&[part, key], format!("{part}: {problem}")))?;
            }
        }
        for (name, settings) in &self.conditions {
            if !settings.is_object() && !settings.is_null() {
                let problem = format!("conditions.{name} must be settings, as in {{rationale: {{placement: post}}}}");
                return Err(at(&["conditions", name], problem));
            }
            let mut spec = self.base.clone();
            super::grid::lay_settings(&mut spec, settings);
            if let Err(problem) = RunSpec::from_settings(spec)
                && problem.contains("unknown ")
            {
                return Err(at(&["conditions", name], format!("conditions.{name}: {problem}")));
            }
        }
        if let Some(baseline) = &self.baseline
            && !self.conditions.iter().any(|(name, _)| name == baseline)
        {
            let known = self.conditions.iter().map(|(name, _)| name.as_str());
            let problem = format!(
                "baseline `{baseline}` is no condition of this study{}",
                did_you_mean(&nearest(baseline, known))
            );
            return Err(at(&["baseline"], problem));
        }
        Ok(())
    }

    /// Whether a setting exists. Values that don't go with others are found cell by cell.
    fn check_setting(&self, key: &str, values: &[Value]) -> Result<(), String> {
        for value in values {
            let mut spec = self.base.clone();
            crate::runs::spec::put(&mut spec, key, value.clone());
            match RunSpec::from_settings(spec) {
                Err(problem) if problem.contains("unknown ") => return Err(format!("{key} is no setting: {problem}")),
                _ => {}
            }
        }
        Ok(())
    }

    /// An error of the file at the place of these keys.
    pub(super) fn wrong(&self, keys: &[&str], problem: String) -> StudyError {
        StudyError::File {
            path: self.path.clone(),
            line: line_of(&self.text, keys),
            problem: text::line(&problem).into_owned(),
        }
    }
}

impl Seed {
    fn seeds(self) -> Seeds {
        match self {
            Self::All(seed) => Seeds { init: seed, order: seed, ablation: seed },
            Self::Each(seeds) => seeds,
        }
    }
}

/// Settings that are no axes: names for people, what the program writes, and the seeds.
fn is_program_key(key: &str) -> bool {
    let first = key.split('.').next().unwrap_or_default();
    matches!(first, "tags" | "record" | "seed" | "device")
}

/// The axes of a part, each with at least one value.
fn axes(part: &str, map: Map<String, Value>) -> Result<Vec<Axis>, (String, String)> {
    map.into_iter()
        .map(|(key, values)| match values {
            Value::Array(values) if values.is_empty() => {
                Err((key.clone(), format!("{part}.{key} is empty, so there is nothing to run")))
            }
            Value::Array(values) => Ok((key, values)),
            _ => Err((
                key.clone(),
                format!("{part}.{key} must be a list, as in [a, b] · what does not vary stands in base"),
            )),
        })
        .collect()
}

/// One value is a list of one.
fn listed((key, value): (String, Value)) -> Axis {
    match value {
        Value::Array(values) => (key, values),
        value => (key, vec![value]),
    }
}

/// The line in a message of the YAML reader.
fn yaml_line(problem: &str) -> Option<usize> {
    let (_, rest) = problem.rsplit_once(" at line ")?;
    rest.split(' ').next()?.parse().ok()
}

/// The line that has the last of these keys, each looked for after the one before it; a key that is not found leaves the
/// line of the one before.
fn line_of(text: &str, keys: &[&str]) -> Option<usize> {
    let lines: Vec<&str> = text.lines().map(|line| line.split(" #").next().unwrap_or(line)).collect();
    let mut found = None;
    let mut from = 0;
    for key in keys {
        let quoted = [format!("{key}:"), format!("\"{key}\":"), format!("'{key}':")];
        let has = |line: &str| {
            !line.trim_start().starts_with('#')
                && quoted.iter().any(|key| {
                    line.match_indices(key.as_str()).any(|(at, _)| {
                        line[..at].chars().next_back().is_none_or(|before| matches!(before, ' ' | '{' | ',' | '-'))
                    })
                })
        };
        // A setting may be written as a path or as maps in maps.
        let Some(at) = lines[from..].iter().position(|line| has(line)) else { continue };
        from += at;
        found = Some(from + 1);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Study, StudyError> {
        Study::parse(text, Path::new("studies/mine.yaml"))
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_what_was_meant() {
        for (text, expected) in [
            ("base: {student: toy}\nseds: [0]", &["mine.yaml:2", "did you mean `seeds`"][..]),
            (
                "base:\n  student: toy\n  training: {stepz: 3}",
                &["mine.yaml:3", "base: training.stepz", "did you mean `steps`"],
            ),
            (
                "grid:\n  dataset: [toyworld]\n  training.learning_rat: [1e-3]",
                &["mine.yaml:3", "training.learning_rat is no setting", "did you mean `learning_rate`"],
            ),
            (
                "conditions:\n  none: {rationale: {placement: none}}\n  odd: {rationale: {placement: after}}",
                &["mine.yaml:3", "conditions.odd", "unknown variant `after`"],
            ),
            ("grid: {dataset: []}", &["mine.yaml:1", "grid.dataset is empty"]),
            ("seeds: []", &["mine.yaml:1", "nothing to run"]),
            ("seeds: [0]\ngrid:\n  dataset: toyworld", &["mine.yaml:3", "must be a list"]),
            ("zip:\n  dataset: [a, b]\n  seed.init: [1]", &["mine.yaml:3", "walked together"]),
            ("grid:\n  seed.init: [1]", &["mine.yaml:2", "can't be varied"]),
            ("grid:\n  dataset: [a]\nzip:\n  dataset: [a]", &["mine.yaml:4", "in grid and in zip"]),
            ("base: {}\nmargin: -1", &["mine.yaml:2", "margin is -1"]),
            ("conditions: {none: {}}\nbaseline: nome", &["mine.yaml:2", "did you mean `none`"]),
            ("conditions: {none: 3}", &["mine.yaml:1", "must be settings"]),
            ("grid:\n  dataset: [a]\n  dataset: [b]", &["mine.yaml:2", "duplicate entry with key \"dataset\""]),
            ("base: [", &["mine.yaml:", "line"]),
        ] {
            let error = error(text);
            assert!(expected.iter().all(|part| error.contains(part)), "{text}\n{error}");
        }
    }

    #[test]
    fn a_hostile_name_is_shown_and_not_obeyed() {
        let error = error("conditions: {\"a\\e[31m\": 3}");
        assert!(error.contains("␛[31m") && !error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn the_shipped_studies_parse_and_are_found_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for (name, _) in SHIPPED {
            assert_eq!(Study::find(dir.path(), name).unwrap().name, name);
        }
        let unknown = Study::find(dir.path(), "toy-tuor").unwrap_err().to_string();
        assert!(unknown.contains("did you mean `toy-tour`"), "{unknown}");
        std::fs::create_dir(dir.path().join("studies")).unwrap();
        std::fs::write(dir.path().join("studies/toy-tour.yaml"), "description: mine").unwrap();
        assert_eq!(Study::find(dir.path(), "toy-tour").unwrap().description, "mine");
    }
}
