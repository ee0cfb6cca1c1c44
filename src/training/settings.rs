//! The `training` section of a run.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::schedule::{Schedule, Shape};
use crate::rationale::LossWeights;
use crate::student::lora::Lora;
use crate::student::ops::Ops;
use crate::student::{DropoutRates, Precision};

/// How a student is trained; every value is written out. The default suits a pretrained student.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSettings {
    /// Passes over the training split; ignored where `steps` is set.
    pub epochs: usize,
    /// Optimiser steps; with 0 the student is asked as it is.
    pub steps: Option<usize>,
    /// Sequences that go through the student together.
    pub batch_size: usize,
    /// Batches whose gradients are added up for one step.
    pub accumulate: usize,
    pub learning_rate: f64,
    pub schedule: Shape,
    /// Below 1 a share of the steps, else a number of steps.
    pub warmup: f64,
    /// What the learning rate falls to, as a share of its peak.
    pub floor: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// On matrices and tables only.
    pub weight_decay: f64,
    /// Global gradient norm; 0 for no clipping.
    pub clip: f64,
    pub dropout: Dropping,
    /// The type that the student computes in.
    pub precision: Precision,
    pub loss: LossWeights,
    /// Whether, and from whom, the student learns what else could have come next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_labels: Option<SoftLabels>,
    pub reduction: Reduction,
    /// Longest sequence in tokens; the student's context when absent.
    pub max_length: Option<usize>,
    /// Whether examples of like length go into one batch.
    pub bucket: bool,
    pub checkpoint: CheckpointSettings,
    /// Adapters in place of the whole student.
    pub lora: Option<Lora>,
    /// The form of the student's operations; the composed one helps to tell where a doubtful number comes from.
    #[serde(skip_serializing_if = "is_fast")]
    pub ops: Ops,
    /// Whether layers are run again for the backward pass in place of keeping what they made: less memory, more time, and
    /// the same result.
    #[serde(skip_serializing_if = "is_no")]
    pub recompute: bool,
    /// What to do with rows that can't be used (no answer, label cut off): stop, or leave them out.
    pub unusable: Unusable,
    /// Written only where it is set, so that hashes of older runs hold.
    #[serde(skip_serializing_if = "OnNonfinite::is_stop")]
    pub on_nonfinite: OnNonfinite,
    /// CPU threads; all cores when absent, and never more than there are.
    pub threads: Option<usize>,
    /// Whether the run writes event files for TensorBoard beside its journal.
    #[serde(skip_serializing_if = "is_no")]
    pub tensorboard: bool,
}

/// What is not switched on is not written, so that hashes of older runs hold.
fn is_no(switch: &bool) -> bool {
    !switch
}

fn is_fast(ops: &Ops) -> bool {
    *ops == Ops::default()
}

/// More cores than one machine has; a larger number is a slip.
const MOST_THREADS: usize = 1024;

/// How the token losses of a step become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// The weighted mean over all counted tokens, as the usual trainers do it.
    TokenMean,
    /// The weighted sum over each example's tokens, averaged over examples: a longer rationale weighs more.
    ExampleSum,
    /// The mean over the tokens of the examples' first sequences, and to that the mean over those of their second ones
    /// (`placement: multitask`, `counterfactual`), each token times its weight: a task's length decides nothing.
    TaskMean,
}

/// A larger student as a teacher: its probabilities are a second target for every token in the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftLabels {
    /// A folder, a hub id, or a run, with the student's vocabulary.
    pub teacher: String,
    /// What the logits of both are divided by.
    #[serde(default = "two")]
    pub temperature: f64,
    /// The share of the soft target in the loss, 0 to 1; the rest is the token itself.
    #[serde(default = "half")]
    pub share: f64,
}

fn two() -> f64 {
    2.0
}

fn half() -> f64 {
    0.5
}

impl SoftLabels {
    fn check(&self) -> Result<(), String> {
        if self.teacher.trim().is_empty() {
            return Err("training.soft_labels.teacher is empty; it is a folder, a hub id or a run".into());
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(format!("training.soft_labels.temperature is {}; it must be above 0", self.temperature));
        }
        if !(0.0..=1.0).contains(&self.share) {
            return Err(format!("training.soft_labels.share is {}, not between 0 and 1", self.share));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unusable {
    Stop,
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointSettings {
    pub every: Every,
    /// How many are kept; the last of a run is always kept.
    pub keep: Keep,
}

/// Which checkpoints are kept. In files a number, which means the newest ones, or `{last: 2, best: 1}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The newest ones.
    pub last: usize,
    /// Those of the steps that did best on the split that is looked at during the run.
    pub best: usize,
}

impl Serialize for Keep {
    /// A plain number where it says all, so that the settings of older runs read and hash as they did.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        if self.best == 0 {
            return serializer.serialize_u64(self.last as u64);
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("last", &self.last)?;
        map.serialize_entry("best", &self.best)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Map {
            #[serde(default = "two")]
            last: usize,
            #[serde(default)]
            best: usize,
        }
        fn two() -> usize {
            2
        }
        struct Form;
        impl<'de> serde::de::Visitor<'de> for Form {
            type Value = Keep;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("how many of the newest, or {last: 2, best: 1}")
            }

            fn visit_u64<E: serde::de::Error>(self, last: u64) -> Result<Keep, E> {
                Ok(Keep { last: usize::try_from(last).unwrap_or(usize::MAX), best: 0 })
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Keep, A::Error> {
                let Map { last, best } = Map::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Keep { last, best })
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// What to do with a step whose loss or gradient is no number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNonfinite {
    /// End the run.
    #[default]
    Stop,
    /// Leave the student as it is and go on, unless it happens again and again.
    Skip,
}

impl OnNonfinite {
    /// For what is left out of files.
    fn is_stop(&self) -> bool {
        *self == Self::Stop
    }
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        Self { every: Every::Epoch, keep: Keep { last: 2, best: 0 } }
    }
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            epochs: 3,
            steps: None,
            batch_size: 8,
            accumulate: 1,
            learning_rate: 5e-5,
            schedule: Shape::Linear,
            warmup: 0.06,
            floor: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            clip: 1.0,
            dropout: Dropping::Auto,
            precision: Precision::F32,
            loss: LossWeights { label: 1.0, rationale: 1.0, prompt: 0.0 },
            soft_labels: None,
            reduction: Reduction::TokenMean,
            max_length: None,
            bucket: true,
            checkpoint: CheckpointSettings::default(),
            lora: None,
            ops: Ops::default(),
            recompute: false,
            unusable: Unusable::Stop,
            on_nonfinite: OnNonfinite::Stop,
            threads: None,
            tensorboard: false,
        }
    }
}

/// How often numbers are dropped in training. In files `auto` or the rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dropping {
    /// What the student's `config.json` says, as it was trained; known when its files are there.
    Auto,
    Rates(DropoutRates),
}

impl Dropping {
    /// The rates; `published` are those of the student.
    pub fn rates(self, published: DropoutRates) -> DropoutRates {
        match self {
            Self::Auto => published,
            Self::Rates(rates) => rates,
        }
    }
}

impl Serialize for Dropping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Rates(rates) => rates.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Dropping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> serde::de::Visitor<'de> for Form {
            type Value = Dropping;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("`auto`, or rates as in {embedding: 0.1, residual: 0.1, attention: 0.1}")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Dropping, E> {
                match word {
                    "auto" => Ok(Dropping::Auto),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Dropping, A::Error> {
                DropoutRates::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Dropping::Rates)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// How often something is done. In files `epoch`, `end` or a number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    Epoch,
    /// After the last step only.
    End,
    Steps(usize),
}

impl Every {
    /// Whether it is due after `step` steps (1 for the first); the last step is always due.
    pub fn is_due(self, step: usize, steps: usize, steps_per_epoch: usize) -> bool {
        step == steps
            || match self {
                Self::Epoch => step.is_multiple_of(steps_per_epoch.max(1)),
                Self::End => false,
                Self::Steps(every) => step.is_multiple_of(every.max(1)),
            }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch => f.write_str("epoch"),
            Self::End => f.write_str("end"),
            Self::Steps(steps) => write!(f, "{steps} steps"),
        }
    }
}

impl Serialize for Every {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Epoch => serializer.serialize_str("epoch"),
            Self::End => serializer.serialize_str("end"),
            Self::Steps(steps) => serializer.serialize_u64(*steps as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Steps(usize),
            Word(String),
        }
        let wrong = || serde::de::Error::custom("write `epoch`, `end` or a number of steps");
        match Form::deserialize(deserializer).map_err(|_: D::Error| wrong())? {
            Form::Steps(0) => Err(wrong()),
            Form::Steps(steps) => Ok(Self::Steps(steps)),
            Form::Word(word) => match word.as_str() {
                "epoch" => Ok(Self::Epoch),
                "end" => Ok(Self::End),
                _ => Err(wrong()),
            },
        }
    }
}

impl TrainingSettings {
    /// What suits the toy student, trained from scratch; chosen on the toy world's validation split.
    pub fn toy() -> Self {
        Self {
            steps: Some(800),
            batch_size: 32,
            learning_rate: 1e-2,
            schedule: Shape::Cosine,
            warmup: 30.0,
            floor: 0.1,
            beta2: 0.98,
            weight_decay: 1.0,
            dropout: Dropping::Rates(DropoutRates { embedding: 0.1, residual: 0.1, attention: 0.0 }),
            loss: LossWeights { label: 1.0, rationale: 0.3, prompt: 0.0 },
            reduction: Reduction::ExampleSum,
            bucket: false,
            checkpoint: CheckpointSettings { every: Every::Steps(200), keep: Keep { last: 1, best: 0 } },
            threads: Some(1),
            ..Self::default()
        }
    }

    /// All steps of a run over `examples` examples.
    pub fn total_steps(&self, examples: usize) -> usize {
        self.steps.unwrap_or(self.epochs * examples.div_ceil(self.examples_per_step()))
    }

    pub fn examples_per_step(&self) -> usize {
        self.batch_size * self.accumulate
    }

    /// The learning rate over `steps` steps.
    pub fn learning_rates(&self, steps: usize) -> Schedule {
        let warmup = if self.warmup < 1.0 { self.warmup * steps as f64 } else { self.warmup };
        let (peak, floor) = (self.learning_rate, self.floor);
        Schedule { shape: self.schedule, peak, warmup: warmup.round() as usize, steps, floor }
    }

    /// Refuses values that mean nothing, by their name.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("batch_size", self.batch_size as f64),
            ("accumulate", self.accumulate as f64),
            ("learning_rate", self.learning_rate),
            ("epochs", if self.steps.is_some() { 1.0 } else { self.epochs as f64 }),
            ("epsilon", self.epsilon),
        ];
        for (name, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return Err(format!("training.{name} is {value}; it must be above 0"));
            }
        }
        let dropout = self.dropout.rates(DropoutRates::default());
        let most = 1 << 20;
        for (name, number) in [("batch_size", self.batch_size), ("accumulate", self.accumulate)] {
            if number > most {
                return Err(format!("training.{name} is {number}; it must be at most {most}"));
            }
        }
        let shares = [
            ("dropout.embedding", dropout.embedding),
            ("dropout.residual", dropout.residual),
            ("dropout.attention", dropout.attention),
            ("beta1", self.beta1),
            ("beta2", self.beta2),
        ];
        for (name, value) in shares {
            if !(0.0..1.0).contains(&value) {
                return Err(format!("training.{name} is {value}; it must be at least 0 and below 1"));
            }
        }
        let not_negative = [
            ("warmup", self.warmup),
            ("floor", self.floor),
            ("weight_decay", self.weight_decay),
            ("clip", self.clip),
            ("loss.label", self.loss.label),
            ("loss.rationale", self.loss.rationale),
            ("loss.prompt", self.loss.prompt),
        ];
        for (name, value) in not_negative {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(format!("training.{name} is {value}; it must not be negative"));
            }
        }
        if let Some(threads) = self.threads.filter(|threads| !(1..=MOST_THREADS).contains(threads)) {
            return Err(format!("training.threads is {threads}; it must be from 1 to {MOST_THREADS}"));
        }
        if let Some(lora) = &self.lora {
            lora.check()?;
        }
        if let Some(soft) = &self.soft_labels {
            soft.check()?;
        }
        if self.loss.label == 0.0 {
            return Err("training.loss.label is 0: the student would never learn to answer".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_is_a_word_or_a_number() {
        for (text, want) in [("epoch", Every::Epoch), ("end", Every::End), ("50", Every::Steps(50))] {
            assert_eq!(serde_yaml::from_str::<Every>(text).unwrap(), want);
        }
        assert!(serde_yaml::from_str::<Every>("0").is_err());
        let error = serde_yaml::from_str::<Every>("daily").unwrap_err().to_string();
        assert!(error.contains("number of steps"), "{error}");
    }

    #[test]
    fn dropout_is_auto_or_rates() {
        let read = |text: &str| serde_yaml::from_str::<Dropping>(text);
        assert_eq!(read("auto").unwrap(), Dropping::Auto);
        let rates = DropoutRates { embedding: 0.1, residual: 0.0, attention: 0.2 };
        assert_eq!(read("{embedding: 0.1, attention: 0.2}").unwrap(), Dropping::Rates(rates));
        assert!(read("often").unwrap_err().to_string().contains("`auto`"));
        assert!(read("{resid: 0.1}").unwrap_err().to_string().contains("residual"));
        let wrong = Dropping::Rates(DropoutRates { residual: 1.0, ..rates });
        let error = TrainingSettings { dropout: wrong, ..TrainingSettings::default() }.check().unwrap_err();
        assert!(error.contains("training.dropout.residual is 1"), "{error}");
        // A stored run says what it was made with, and comes back as it was.
        for dropout in [Dropping::Auto, Dropping::Rates(rates)] {
            assert_eq!(read(&serde_yaml::to_string(&dropout).unwrap()).unwrap(), dropout);
        }
    }

    #[test]
    fn a_plain_number_keeps_the_newest_checkpoints() {
        let read = |text: &str| serde_yaml::from_str::<Keep>(text);
        assert_eq!(read("3").unwrap(), Keep { last: 3, best: 0 });
        assert_eq!(read("{best: 1}").unwrap(), Keep { last: 2, best: 1 });
        assert_eq!(read("{last: 1, best: 2}").unwrap(), Keep { last: 1, best: 2 });
        let error = read("all").unwrap_err().to_string();
        assert!(error.contains("{last: 2, best: 1}"), "{error}");
        assert!(read("{first: 1}").unwrap_err().to_string().contains("first"));
        for keep in [Keep { last: 3, best: 0 }, Keep { last: 1, best: 1 }] {
            assert_eq!(read(&serde_yaml::to_string(&keep).unwrap()).unwrap(), keep);
        }
    }

    #[test]
    fn threads_are_as_many_as_a_machine_may_have() {
        let check = |threads| TrainingSettings { threads: Some(threads), ..TrainingSettings::default() }.check();
        assert!(check(1).is_ok() && check(1024).is_ok());
        for threads in [0, 99_999] {
            assert!(check(threads).unwrap_err().contains("from 1 to 1024"));
        }
    }

    #[test]
    fn the_last_step_is_always_due() {
        assert!(Every::End.is_due(7, 7, 3) && !Every::End.is_due(6, 7, 3));
        assert!(Every::Epoch.is_due(6, 7, 3) && !Every::Epoch.is_due(5, 7, 3));
        assert!(Every::Steps(5).is_due(5, 7, 3));
    }
}
