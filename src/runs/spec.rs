//! `RUN.yaml`: what a run is. A file names what differs from the defaults; a stored run has every value written out.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::RunError;
use crate::corpus::{did_you_mean, nearest};
use crate::evaluation::{Answer, Asking, Given, Score};
use crate::files;
use crate::rationale::Recipe;
use crate::rationale::recipe::{Hide, Placement};
use crate::text;
use crate::training::settings::{Every, TrainingSettings};

/// The tag that names a condition for people.
pub const CONDITION: &str = "condition";
/// The tag that says what a run is for, and its value for a run that others take attributions from.
pub const ROLE: &str = "role";
pub const READER: &str = "reader";
/// The value of [`ROLE`] for a student that is asked as it is, before any fine-tuning.
pub const UNTRAINED: &str = "untrained";
/// The tag that names the study that a run was made for.
pub const STUDY: &str = "study";

/// A whole run as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSpec {
    /// A name under `datasets/`, or a built-in data set.
    pub dataset: String,
    /// `toy`, a folder, or a hub id.
    pub student: String,
    pub rationale: Recipe,
    pub training: TrainingSettings,
    pub evaluation: EvaluationSettings,
    pub seed: Seeds,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// Names for people and for grouping; they do not change the result.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What became of it; written by the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
}

/// When and how accuracy is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationSettings {
    pub split: String,
    pub every: Every,
    /// The split of the last evaluation, whose predictions are kept; `split` when absent.
    #[serde(rename = "final")]
    pub last: Option<String>,
    pub answer: Answer,
    /// How choices are compared by likelihood.
    pub score: Score,
    /// Whose rationale stands before the label under `pre`.
    pub rationale: Given,
    /// Longest rationale that the student may write, in tokens.
    pub limit: usize,
    /// Examples of `split` that are looked at during the run; all when absent. The last evaluation takes all.
    pub examples: Option<usize>,
}

/// Three seeds, so that one can be changed and the others held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seeds {
    /// Fresh weights.
    pub init: u64,
    /// The order of the examples, and the dropout.
    pub order: u64,
    /// Every draw of an ablation.
    pub ablation: u64,
}

/// What the program writes into a stored run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    /// RFC 3339.
    pub created: String,
    /// The program's version.
    pub version: String,
    /// SHA-256 of the rows that were read, edits applied, by split.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// SHA-256 of the data set's template and subject: of what questions look like beside their rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Fingerprints of the students' files that were read, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub students: BTreeMap<String, String>,
    /// The run and the step that this one was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<(String, usize)>,
}

impl Record {
    /// The record of a run that is made now.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            created: crate::journal::now(),
            version: env!("CARGO_PKG_VERSION").into(),
            data: BTreeMap::new(),
            template: None,
            students: BTreeMap::new(),
            forked_from: None,
        }
    }
}

impl Default for RunSpec {
    fn default() -> Self {
        Self {
            dataset: "toyworld".into(),
            student: "toy".into(),
            rationale: Recipe::default(),
            training: TrainingSettings::default(),
            evaluation: EvaluationSettings::default(),
            seed: Seeds::default(),
            device: "auto".into(),
            tags: BTreeMap::new(),
            record: None,
        }
    }
}

impl Default for EvaluationSettings {
    fn default() -> Self {
        Self {
            split: "validation".into(),
            every: Every::Epoch,
            last: None,
            answer: Answer::Generate,
            score: Score::Sum,
            rationale: Given::Own,
            limit: 128,
            examples: None,
        }
    }
}

impl EvaluationSettings {
    /// What suits the toy student. It scores choices: most of its words are answers somewhere, and what it is asked is
    /// which of the five. An epoch takes half a second, so a part of the split has to do after each.
    fn toy() -> Self {
        Self { answer: Answer::Likelihood, limit: 64, examples: Some(120), ..Self::default() }
    }

    /// How the student is asked.
    pub fn asking(&self) -> Asking {
        Asking { answer: self.answer, score: self.score, rationale: self.rationale, limit: self.limit }
    }

    /// The split of the last evaluation.
    pub fn last_split(&self) -> &str {
        self.last.as_deref().unwrap_or(&self.split)
    }
}

impl RunSpec {
    /// The defaults for a student: the toy is trained from scratch, the others are fine-tuned.
    pub fn preset(student: &str) -> Self {
        let mut spec = Self { student: student.into(), ..Self::default() };
        if student == "toy" {
            spec.training = TrainingSettings::toy();
            spec.evaluation = EvaluationSettings::toy();
        }
        spec
    }

    /// Reads a `RUN.yaml` and applies `KEY=VALUE` overrides.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, RunError> {
        let text = files::read_to_string(path)?;
        Self::parse(&text, path, overrides)
    }

    /// Like [`RunSpec::read`], for text that came from `path`.
    pub fn parse(text: &str, path: &Path, overrides: &[String]) -> Result<Self, RunError> {
        let wrong = |problem: String| RunError::Spec { path: path.to_owned(), problem };
        // First as it stands, for errors with their line.
        serde_yaml::from_str::<Self>(text).map_err(|error| wrong(explain(&error.to_string())))?;
        let file: Value = serde_yaml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let plain = |file| Self::merged(file).and_then(Self::checked);
        let mut changed = file.clone();
        overrides.iter().try_for_each(|text| set(&mut changed, text))?;
        plain(changed).map_err(|problem| match plain(file).err() {
            // What is wrong without the overrides is wrong in the file.
            Some(own) if own == problem => wrong(format!("{own}{}", line_of(text, &own))),
            _ => RunError::Override { text: overrides.join(" "), problem },
        })
    }

    /// A run from settings that are laid over the defaults of the student that they name, as those of a file are. The
    /// error begins with the path of the setting that is wrong.
    pub fn from_settings(wanted: Value) -> Result<Self, String> {
        Self::merged(wanted).and_then(Self::checked)
    }

    /// A run of the defaults with overrides.
    pub fn with_overrides(&self, overrides: &[String]) -> Result<Self, RunError> {
        let mut changed = serde_json::to_value(self).unwrap_or_default();
        overrides.iter().try_for_each(|text| set(&mut changed, text))?;
        Self::merged(changed)
            .and_then(Self::checked)
            .map_err(|problem| RunError::Override { text: overrides.join(" "), problem })
    }

    /// Lays what is wanted over the defaults of the student that it names.
    fn merged(wanted: Value) -> Result<Self, String> {
        let wanted = if wanted.is_object() { wanted } else { Value::Object(serde_json::Map::new()) };
        let student = wanted.get("student").and_then(Value::as_str).unwrap_or("toy").to_owned();
        let mut preset = Self::preset(&student);
        if let Some(dataset) = wanted.get("dataset").and_then(Value::as_str) {
            preset.dataset = dataset.into();
        }
        preset.suit_dataset();
        let mut value = serde_json::to_value(preset).unwrap_or_default();
        lay_over(&mut value, wanted);
        serde_path_to_error::deserialize(value).map_err(|error| {
            let (place, problem) = (error.path().to_string(), error.inner().to_string());
            if problem.starts_with("invalid type: null, expected f") {
                // YAML's .nan and .inf are numbers that nothing can be done with.
                return format!("{place} is no finite number · write one, or leave it out for the default");
            }
            format!("{place}: {}", explain(&problem))
        })
    }

    fn checked(self) -> Result<Self, String> {
        self.training.check()?;
        if self.evaluation.limit == 0 {
            return Err("evaluation.limit is 0; it must be above 0".into());
        }
        self.rationale.check()?;
        if self.rationale.pauses() && self.training.soft_labels.is_some() {
            return Err(
                "pause tokens are words of the student alone, which no teacher of soft labels knows · leave one of \
                        the two out"
                    .into(),
            );
        }
        if self.rationale.pauses() && self.training.lora.is_some() {
            return Err("pause tokens are learned in the table of words, which adapters leave as it is · leave out \
                        training.lora"
                .into());
        }
        let writes_own = self.rationale.placement == Placement::Pre && self.evaluation.rationale == Given::Own;
        if writes_own && self.rationale.pauses() {
            return Err("pauses before the label are given to the student, which never writes them · set \
                        evaluation.rationale: teacher"
                .into());
        }
        let trains_reading = self.rationale.placement == Placement::Pre && self.evaluation.rationale == Given::Own;
        if trains_reading && self.rationale.hide != Hide::Nothing {
            return Err("a student that writes its own rationale can't do so with the question hidden · set \
                        evaluation.rationale: teacher"
                .into());
        }
        Ok(self)
    }

    /// The file's text.
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).unwrap_or_default()
    }

    /// A hash of everything that decides the result but the data: two runs with the same one over the same rows end
    /// with the same student.
    pub fn identity(&self) -> String {
        let mut decisive = Self { tags: BTreeMap::new(), record: None, device: String::new(), ..self.clone() };
        // These decide how it is computed and shown, as the device does.
        decisive.training.tensorboard = false;
        decisive.training.recompute = false;
        decisive.training.ops = Default::default();
        if decisive.rationale.placement == Placement::None {
            // Where there is no rationale, nothing is done to one.
            decisive.rationale.samples = Default::default();
            decisive.rationale.filter = Default::default();
            decisive.rationale.attribution_weights = None;
        }
        let text = serde_json::to_string(&decisive).unwrap_or_default();
        hex(&Sha256::digest(text.as_bytes()))
    }

    /// What runs have in common that can be compared with each other: everything that decides the result but the
    /// rationale, its weight in the loss, soft labels, and the seeds. How often a run was evaluated on its way decides nothing.
    pub fn setting(&self) -> String {
        // A chat is no part of what is compared: it is the way in which all of the runs are asked.
        let rationale = Recipe { chat: self.rationale.chat.clone(), ..Recipe::default() };
        let mut setting = Self { seed: Seeds::default(), rationale, ..self.clone() };
        setting.dataset = self.family();
        setting.training.loss = Default::default();
        setting.training.soft_labels = None;
        setting.training.threads = None;
        setting.training.checkpoint = Default::default();
        setting.evaluation = EvaluationSettings {
            split: String::new(),
            last: Some(self.evaluation.last_split().to_owned()),
            every: Every::End,
            examples: None,
            ..self.evaluation.clone()
        };
        setting.identity()
    }

    /// A hash of everything but the seeds: runs that differ in nothing else are one condition.
    pub fn condition(&self) -> String {
        let loss = &self.training.loss;
        let method = serde_json::to_string(&(&self.rationale, loss)).unwrap_or_default();
        // Written only where it is set, so that titles of older runs stay together.
        let soft = self.training.soft_labels.as_ref().and_then(|soft| serde_json::to_string(soft).ok());
        hex(&Sha256::digest(format!("{}{method}{}", self.setting(), soft.unwrap_or_default()).as_bytes()))
    }

    /// `toyworld:*` for `toyworld:7`: worlds of other seeds are other draws of one data set.
    pub fn family(&self) -> String {
        self.dataset.split_once(':').map_or_else(|| self.dataset.clone(), |(family, _)| format!("{family}:*"))
    }

    /// What to call the run: the condition it was made as, or its recipe and what else is not as usual; a reader is
    /// called one.
    pub fn title(&self) -> String {
        if self.tags.get(ROLE).map(String::as_str) == Some(READER) {
            return format!("reader of {}", self.dataset);
        }
        if let Some(condition) = self.tags.get(CONDITION) {
            return condition.clone();
        }
        let usual = serde_json::to_value(Self::preset(&self.student).training).unwrap_or_default();
        let own = serde_json::to_value(&self.training).unwrap_or_default();
        let mut parts = vec![self.rationale.to_string()];
        differences(&usual, &own, "", &mut parts);
        if parts.len() > 4 {
            parts.truncate(3);
            parts.push("…".into());
        }
        parts.join(", ")
    }

    /// The title, with the seeds where they are not the first ones.
    pub fn title_with_seed(&self) -> String {
        let Seeds { init, order, ablation } = self.seed;
        match (init == order && order == ablation, init) {
            (true, 0) => self.title(),
            (true, seed) => format!("{}, seed {seed}", self.title()),
            (false, _) => format!("{}, seeds {init}/{order}/{ablation}", self.title()),
        }
    }

    /// The built-in worlds keep their test split for the last evaluation, so that every run on them can be compared
    /// with the tour's.
    pub fn suit_dataset(&mut self) {
        if self.student == "toy" && self.evaluation.last.is_none() && is_toyworld(&self.dataset) {
            self.evaluation.last = Some("test".into());
        }
    }

    /// The run that trains a reader for this one: it sees the teacher's rationale before the label, and the question
    /// without its subject, so that the label can only be read off the rationale.
    pub fn reader(&self, has_subject: bool) -> Self {
        let mut reader = self.clone();
        reader.rationale.placement = Placement::Pre;
        reader.rationale.ablations.clear();
        // It reads what there is, and its attributions are what others weigh by.
        reader.rationale.samples = Default::default();
        reader.rationale.filter = Default::default();
        reader.rationale.attribution_weights = None;
        reader.rationale.counterfactual = None;
        reader.training.soft_labels = None;
        reader.rationale.hide = if has_subject { Hide::Subject } else { Hide::Question };
        reader.training.loss.rationale = 0.0;
        reader.evaluation.rationale = Given::Teacher;
        reader.evaluation.every = Every::End;
        reader.evaluation.last = None;
        reader.evaluation.answer = Answer::Likelihood;
        reader.seed.ablation = 0;
        reader.tags = BTreeMap::from([(ROLE.into(), READER.into())]);
        reader.record = None;
        reader
    }
}

/// Whether a data set is one of the built-in worlds, or another draw of one.
fn is_toyworld(dataset: &str) -> bool {
    let family = dataset.split(':').next().unwrap_or_default();
    matches!(family, "toyworld" | "toyworld-noisy")
}

/// Training settings of how a run computes, saves and shows.
const NO_DIFFERENCE: [&str; 5] = ["threads", "checkpoint", "tensorboard", "recompute", "ops"];

/// `steps=1600` for every value that differs and makes a difference.
fn differences(usual: &Value, own: &Value, path: &str, out: &mut Vec<String>) {
    match (usual, own) {
        (Value::Object(usual), Value::Object(own)) => {
            for (key, value) in own.iter().filter(|(key, _)| !NO_DIFFERENCE.contains(&key.as_str())) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                differences(usual.get(key).unwrap_or(&Value::Null), value, &path, out);
            }
        }
        _ if usual != own => out.push(format!("{path}={own}")),
        _ => {}
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sets one value in a tree of maps, from `a.b.c=VALUE` with the value in YAML.
fn set(tree: &mut Value, text: &str) -> Result<(), RunError> {
    let wrong = |problem: String| RunError::Override { text: text::line(text).into(), problem };
    let (path, value) = text.split_once('=').ok_or_else(|| wrong("write it as KEY=VALUE".into()))?;
    let value: Value = serde_yaml::from_str(value).map_err(|error| wrong(error.to_string()))?;
    put(tree, path.trim(), value);
    Ok(())
}

/// Puts a value into a tree of maps, at `a.b.c`. What stands in the way of a map gives way to one.
pub(crate) fn put(tree: &mut Value, path: &str, value: Value) {
    let mut place = tree;
    for key in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        // It is one now.
        let Value::Object(map) = place else { return };
        place = map.entry(key.to_owned()).or_insert(Value::Null);
    }
    *place = value;
}

/// ` (line 3)`, for a problem that begins with the path of the value that is wrong, where a line has its key.
fn line_of(text: &str, problem: &str) -> String {
    let path = problem.split([' ', ':']).next().unwrap_or_default();
    let key = format!("{}:", path.rsplit('.').next().unwrap_or_default());
    let has_key = |line: &str| line.split([' ', '{', ',', '-', '"']).any(|word| word == key);
    text.lines().position(has_key).map_or_else(String::new, |line| format!(" (line {})", line + 1))
}

/// Lays `over` over `under`: maps key by key, everything else whole.
pub(crate) fn lay_over(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// Puts the nearest known key in the place of the list that serde gives for "unknown field" and "unknown variant".
pub(crate) fn explain(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let message = text::line(message);
    let Some((wrong, known)) = quoted.split_first().filter(|_| message.contains("unknown ")) else {
        return message.into_owned();
    };
    let Some(nearest) = nearest(wrong, known.iter().copied()) else { return message.into_owned() };
    let (before, after) = message.split_once(", expected").unwrap_or((&message, ""));
    let place = after.find(" at line").map_or("", |at| &after[at..]);
    format!("{before}{place}{}", did_you_mean(&Some(nearest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, overrides: &[&str]) -> Result<RunSpec, String> {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        RunSpec::parse(text, Path::new("my.yaml"), &overrides).map_err(|error| error.to_string())
    }

    const DOCUMENTED: &str = r#"
dataset: toyworld
student: toy
rationale:
  placement: post
  source: default
  ablations:
    - shuffle: {unit: token}
    - mask: {fraction: 0.4, how: replace}
    - keep: {by: attribution, count: 15}
    - swap: {with: another-example}
    - fill: {with: "..."}
training: {epochs: 3, batch_size: 8, learning_rate: 5e-5, schedule: linear, warmup: 0.06, weight_decay: 0.01, clip: 1.0,
           loss: {label: 1.0, rationale: 1.0, prompt: 0.0}}
evaluation: {split: validation, every: epoch, answer: generate}
seed: {init: 0, order: 0, ablation: 0}
"#;

    #[test]
    fn the_documented_file_is_read_and_comes_back_whole() {
        let spec = parse(DOCUMENTED, &[]).unwrap();
        assert_eq!(spec.training.batch_size, 8);
        assert_eq!(spec.rationale.ablations.len(), 5);
        let again = parse(&spec.to_yaml(), &[]).unwrap();
        assert_eq!(again, spec);
        assert!(spec.to_yaml().contains("beta2"), "every default is written out");
    }

    #[test]
    fn defaults_depend_on_the_student() {
        assert_eq!(parse("dataset: toyworld", &[]).unwrap().training, TrainingSettings::toy());
        assert_eq!(parse("student: ../gpt2", &[]).unwrap().training, TrainingSettings::default());
        let tuned = parse("student: ../gpt2", &["training.loss.rationale=0.5", "seed.order=7"]).unwrap();
        assert_eq!((tuned.training.loss.rationale, tuned.training.loss.label, tuned.seed.order), (0.5, 1.0, 7));
        assert_eq!(parse("student: ../gpt2", &["student=toy"]).unwrap().training.batch_size, 32);
    }

    #[test]
    fn overrides_take_any_yaml() {
        assert_eq!(parse("training: {warmup: .nan}", &["training.warmup=3"]).unwrap().training.warmup, 3.0);
        let spec = parse("", &["rationale.ablations=[{keep: {by: random, count: 3}}]", "training.steps=50"]).unwrap();
        assert_eq!(spec.rationale.to_string(), "post, 3 random tokens");
        assert_eq!(spec.training.steps, Some(50));
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_a_remedy() {
        for (text, overrides, words) in [
            (
                "training: {batch_sise: 4}",
                &[][..],
                &["my.yaml", "batch_sise", "did you mean `batch_size`", "line 1"][..],
            ),
            ("dataset: x\ntrainig: {}", &[], &["did you mean `training`", "line 2"]),
            ("rationale: {placement: past}", &[], &["did you mean `post`"]),
            ("training: {epochs: many}", &[], &["epochs"]),
            ("", &["training.epoch=3"], &["training.epoch=3", "did you mean `epochs`"]),
            ("", &["training.epochs"], &["KEY=VALUE"]),
            ("dataset: x\ntraining: {warmup: .nan}", &[], &["my.yaml: training.warmup is no finite number", "line 2"]),
            ("training: {warmup: .inf}", &["seed.init=1"], &["my.yaml: training.warmup is no finite number"]),
            ("", &["training.warmup=.nan"], &["--set training.warmup=.nan: training.warmup is no finite number"]),
            ("", &["training.threads=99999"], &["--set training.threads=99999: ", "from 1 to 1024"]),
            ("training: {learning_rate: 0}", &[], &["learning_rate is 0"]),
            ("training: {loss: {label: 0}}", &[], &["never learn to answer"]),
            ("rationale: {placement: pre, hide: subject}", &[], &["evaluation.rationale: teacher"]),
        ] {
            let error = parse(text, overrides).unwrap_err();
            for word in words {
                assert!(error.contains(word), "{text} {overrides:?}: {error}");
            }
        }
    }

    #[test]
    fn the_identity_is_what_decides_the_result() {
        let spec = RunSpec::preset("toy");
        let mut tagged = spec.clone();
        tagged.tags.insert("note".into(), "hello".into());
        assert_eq!(spec.identity(), tagged.identity());
        let seeded = RunSpec { seed: Seeds { order: 1, ..Seeds::default() }, ..spec.clone() };
        assert_ne!(spec.identity(), seeded.identity());
        assert_eq!(spec.condition(), seeded.condition());
        let shown = parse("training: {tensorboard: true, recompute: true, ops: composed}", &[]).unwrap();
        let plain = parse("", &[]).unwrap();
        assert_eq!((shown.identity(), shown.title()), (plain.identity(), plain.title()));
        assert_eq!(parse(&shown.to_yaml(), &[]).unwrap(), shown);
        // Runs made before there were chats keep their hashes; a chat is not compared with a plain prompt.
        assert!(!spec.to_yaml().contains("chat"));
        let chat = parse("rationale: {chat: user}", &[]).unwrap();
        assert_ne!((spec.identity(), spec.setting()), (chat.identity(), chat.setting()));
        let system = parse(&chat.to_yaml(), &["rationale.chat={system: be short}"]).unwrap();
        assert_eq!(system.title(), "post, chat with a system message");
        assert_eq!(parse(&system.to_yaml(), &["rationale.chat=none"]).unwrap().rationale, Recipe::default());
        let none = parse("rationale: {placement: none}", &[]).unwrap();
        let filtered = parse("rationale: {placement: none, filter: {teacher_correct: true}}", &[]).unwrap();
        assert_eq!(none.identity(), filtered.identity(), "where there is no rationale, none is filtered");
        let post = parse("rationale: {filter: {teacher_correct: true}}", &[]).unwrap();
        assert_ne!(post.identity(), parse("", &[]).unwrap().identity());
    }

    #[test]
    fn a_reader_reads_the_rationale_and_not_the_subject() {
        let reader = parse("rationale: {ablations: [{keep: {by: attribution, count: 3}}]}", &[]).unwrap().reader(true);
        assert_eq!(reader.rationale.to_string(), "pre, subject hidden");
        assert_eq!(
            reader.training.steps,
            Some(800),
            "as many as the run: with half of them it often does not learn to read"
        );
        assert_eq!(reader.rationale.scorer(), None);
        assert!(reader.checked().is_ok());
    }
}
