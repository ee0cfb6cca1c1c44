//! What a cell will take of time and disk: measured where a run like it is finished, else counted from its shape.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::standing::Known;
use super::{Cell, shapes};
use crate::journal::{self, Entry, Event, RunState};
use crate::runs::{RunDirectory, RunSpec, prepare};
use crate::student::memory::{Estimate, Plan, step_seconds};
use crate::student::ops::Ops;
use crate::student::{Architecture, Family, toy, weights};

/// Where a number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Finished runs of the same student, data set and length.
    Measured,
    /// The student's shape and the speed of this machine. Training alone, and rough.
    Counted,
}

/// What a cell takes, where it can be known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    pub seconds: Option<f64>,
    pub seconds_are: Option<Basis>,
    /// Bytes of its checkpoints once it is finished.
    pub bytes: Option<u64>,
    pub bytes_are: Option<Basis>,
    /// Why something is not known.
    pub unknown: Option<String>,
}

/// Estimates cells; what costs time to find out is found out once.
pub struct Estimator<'a> {
    project: &'a Path,
    found: HashMap<String, Cost>,
}

/// Rows that are looked at for the length of a sequence.
const SAMPLE: usize = 200;
/// Characters in a token of English text, by and large: GPT-2's tokenizer on the supported data sets.
const CHARACTERS: f64 = 4.3;

impl<'a> Estimator<'a> {
    pub fn new(project: &'a Path) -> Self {
        Self { project, found: HashMap::new() }
    }

    pub fn cost(&mut self, cell: &Cell, known: &Known) -> Cost {
        let of = &cell.spec;
        let training = serde_json::to_string(&of.training).unwrap_or_default();
        let key = format!("{}\u{0}{}\u{0}{training}\u{0}{}", of.dataset, of.student, of.rationale.placement.name());
        if let Some(found) = self.found.get(&key) {
            return found.clone();
        }
        let mut cost = measured(known.alike(of));
        if cost.seconds.is_none() {
            match self.counted(of) {
                Ok((seconds, bytes)) => {
                    (cost.seconds, cost.seconds_are) = (seconds, seconds.map(|_| Basis::Counted));
                    (cost.bytes, cost.bytes_are) = (Some(bytes), Some(Basis::Counted));
                }
                Err(why) => cost.unknown = Some(why),
            }
        }
        self.found.insert(key, cost.clone());
        cost
    }

    /// Seconds of training and bytes of checkpoints, from the shape of the student. No seconds where this machine can't
    /// compute as the run wants it.
    fn counted(&self, spec: &RunSpec) -> Result<(Option<f64>, u64), String> {
        let (family, architecture) = self.shape(spec)?;
        let dataset = prepare::dataset(self.project, spec).map_err(|error| error.to_string())?;
        let train = dataset.split(prepare::TRAIN).map_err(|error| error.to_string())?;
        let rows = train.page(0, SAMPLE, &spec.rationale.source).map_err(|error| error.to_string())?;
        let examples: Vec<_> = rows.into_iter().filter_map(|row| row.example.ok()).collect();
        let characters: usize = examples
            .iter()
            .map(|example| {
                let rationale = match spec.rationale.placement {
                    crate::rationale::Placement::None => 0,
                    _ => example.rationale.as_deref().unwrap_or_default().chars().count(),
                };
                let prompt = dataset.meta.template.prompt_text(example).0.chars().count();
                prompt
                    + rationale
                    + example.gold().map_or(0, |gold| dataset.meta.template.label_text(gold).chars().count())
            })
            .sum();
        let length = (characters as f64 / examples.len().max(1) as f64 / CHARACTERS).ceil() as usize;
        let device = prepare::device(&spec.device).map_err(|error| error.to_string())?;
        let plan = Plan {
            batch: spec.training.examples_per_step() * spec.rationale.sequences(),
            length: length.clamp(1, architecture.context),
            lora: spec.training.lora.as_ref(),
            precision: spec.training.precision,
            recompute: spec.training.recompute,
            ops: Ops::default(),
            // What a step needs on its way is on no disk.
            on_gpu: false,
        };
        // Weights and two moments of what is trained, in f32: as much as a step has of gradients and moments.
        let checkpoint = Estimate::of(family, &architecture, &plan).training;
        let kept = (spec.training.checkpoint.keep.last.max(1) + spec.training.checkpoint.keep.best) as u64;
        let bytes = if spec.training.steps == Some(0) { 0 } else { checkpoint * kept };
        let can = spec.training.precision.check(&device).is_ok();
        let step = if spec.training.steps == Some(0) {
            Some(0.0)
        } else if can {
            step_seconds(&architecture, &plan, &device).ok()
        } else {
            None
        };
        let steps = spec.training.total_steps(train.count_all());
        Ok((step.map(|step| step * steps as f64), bytes))
    }

    fn shape(&self, spec: &RunSpec) -> Result<(&'static Family, Architecture), String> {
        if spec.student == "toy" {
            let dataset = prepare::dataset(self.project, spec).map_err(|error| error.to_string())?;
            let examples = prepare::vocabulary_examples(&dataset, &spec.rationale.source);
            let tokenizer = examples
                .and_then(|examples| prepare::toy_tokenizer(&dataset, &spec.rationale, &examples))
                .map_err(|error| error.to_string())?;
            return Ok((&crate::student::families::gpt2::GPT2, toy::architecture(tokenizer.size())));
        }
        match prepare::folder_of_student(self.project, &spec.student) {
            Some(folder) => {
                let (family, architecture, _) = weights::read_config(&folder).map_err(|error| error.to_string())?;
                Ok((family, architecture))
            }
            None => shapes::known(&spec.student).ok_or_else(|| {
                let student = crate::text::line(&spec.student).into_owned();
                format!("the shape of {student} is not known before `afterthought student fetch {student}`")
            }),
        }
    }
}

/// What finished runs took, on the average.
fn measured(runs: Vec<RunDirectory>) -> Cost {
    let mut seconds = Vec::new();
    let mut bytes = 0;
    for run in runs {
        let Ok(entries) = journal::read(&run.journal()) else { continue };
        let is_finished = matches!(
            entries.iter().rev().find_map(|entry| match &entry.event {
                Event::State { state, .. } => Some(*state),
                _ => None,
            }),
            Some(RunState::Finished)
        );
        if is_finished {
            seconds.push(running_seconds(&entries));
            bytes = bytes.max(size(&run.checkpoints()));
        }
    }
    if seconds.is_empty() {
        return Cost::default();
    }
    Cost {
        seconds: Some(seconds.iter().sum::<f64>() / seconds.len() as f64),
        seconds_are: Some(Basis::Measured),
        bytes: Some(bytes),
        bytes_are: Some(Basis::Measured),
        unknown: None,
    }
}

/// The seconds in which a run was at work: not those in which it waited, was paused, or lay dead.
pub fn running_seconds(entries: &[Entry]) -> f64 {
    let mut total = 0.0;
    let mut last: Option<jiff::Timestamp> = None;
    let mut runs = false;
    for entry in entries {
        let Ok(time) = entry.time.parse::<jiff::Timestamp>() else { continue };
        let begins = matches!(entry.event, Event::State { state: RunState::Running, .. });
        if let (true, false, Some(before)) = (runs, begins, last) {
            // The clock may have been set back.
            total += time.duration_since(before).as_secs_f64().max(0.0);
        }
        if let Event::State { state, .. } = entry.event {
            runs = state == RunState::Running;
        }
        last = Some(time);
    }
    total
}

/// Bytes of the files in a folder and the folders in it.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size(&entry.path()),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |data| data.len()),
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_at_work_counts() {
        let entry = |seconds: i64, event: Event| Entry {
            seq: 0,
            time: jiff::Timestamp::from_second(seconds).unwrap().to_string(),
            event,
        };
        let state = |state| Event::State { state, reason: None };
        let note = || Event::Note { text: String::new() };
        let entries = [
            entry(0, state(RunState::Queued)),
            entry(100, state(RunState::Running)),
            entry(110, note()),
            // Killed here, and resumed much later.
            entry(5000, state(RunState::Running)),
            entry(5005, state(RunState::Paused)),
            entry(6000, state(RunState::Running)),
            entry(6001, state(RunState::Finished)),
        ];
        assert_eq!(running_seconds(&entries), 16.0);
    }
}
