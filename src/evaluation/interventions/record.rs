//! What was answered under interventions, kept with the run: `interventions.jsonl`, one line for each intervention.

use std::fs::File;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Intervention;
use crate::evaluation::answers::ChoiceScore;
use crate::evaluation::{Answer, EvaluationError, Score};
use crate::files;
use crate::rationale::recipe::Unit;

/// What was asked, of whom and how. Two records that agree in it are two tries of one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub intervention: Intervention,
    /// What was put in another order, where something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Where rationales for wrong choices are from; other rows where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_source: Option<String>,
    pub dataset: String,
    pub split: String,
    /// The source of the teacher's rationales.
    pub source: String,
    /// The checkpoint's folder, as in `step-800`.
    pub checkpoint: String,
    /// Only so many rows were looked at; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<usize>,
    /// The `ablation` seed, by which all is drawn.
    pub seed: u64,
    pub answer: Answer,
    pub score: Score,
    /// Longest rationale that the student may write, in tokens.
    pub limit: usize,
}

impl About {
    /// In words, as tables have it.
    pub fn title(&self) -> String {
        match (self.intervention, self.unit, &self.wrong_source) {
            (Intervention::Shuffled, Some(unit), _) => {
                let unit = match unit {
                    Unit::Token => "tokens",
                    Unit::Word => "words",
                    Unit::Sentence => "sentences",
                };
                format!("shuffled {unit}")
            }
            (Intervention::WrongChoice, _, Some(source)) => format!("wrong-choice from {source}"),
            (intervention, ..) => intervention.name().into(),
        }
    }

    /// Whether two were asked of the same student, over the same rows and in the same way, so that they can stand in one
    /// table.
    pub fn is_beside(&self, other: &Self) -> bool {
        let plain =
            |about: &Self| Self { intervention: Intervention::Usual, unit: None, wrong_source: None, ..about.clone() };
        plain(self) == plain(other)
    }
}

/// One line of `interventions.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub about: About,
    /// When, in RFC 3339.
    pub made: String,
    /// Rows for which there is no such rationale, no such answer to plant, or no room.
    #[serde(default)]
    pub left_out: usize,
    /// What the student was not trained for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caveat: Option<String>,
    /// This is what the student is asked as usual, word for word; then it was not asked twice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_usual: bool,
    pub replies: Vec<Reply>,
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    pub id: String,
    /// The right label, where it is known.
    pub answer: Option<String>,
    /// `None` when no label could be read.
    pub predicted: Option<String>,
    /// The same without the intervention.
    pub usual: Option<String>,
    /// The label of the choice that was argued for, or was planted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argues_for: Option<String>,
    /// The rationale that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
    /// What the student wrote, with the announcement of its label where that was put there.
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<ChoiceScore>>,
    /// The limit came before it had come to an answer by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
    /// It did not come to an answer by itself, and its label was announced for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub led: bool,
    /// The given rationale was cut to leave room for a label.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// Adds a record to a run's file, in the place of an older one of the same question to the same student.
pub fn keep(path: &Path, record: &Record) -> Result<(), EvaluationError> {
    // Two who ask at once must not lose each other's answers. Where folders can't be locked, they may.
    let folder = path.parent().and_then(|folder| File::open(folder).ok());
    let _ = folder.as_ref().map(File::lock);
    let old = if path.exists() { files::read_to_string(path)? } else { String::new() };
    // What stays, stays as it was written, to the last digit.
    let mut kept = Vec::new();
    for (place, line) in old.lines().enumerate() {
        if parse::<About>(path, place, line)? != record.about {
            kept.push(line);
        }
    }
    files::replace(path, |out| {
        for line in &kept {
            writeln!(out, "{line}")?;
        }
        serde_json::to_writer(&mut *out, record)?;
        out.write_all(b"\n")
    })?;
    Ok(())
}

/// Reads a run's file; nothing where there is none.
pub fn read(path: &Path) -> Result<Vec<Record>, EvaluationError> {
    if !path.exists() {
        return Ok(vec![]);
    }
    files::read_to_string(path)?.lines().enumerate().map(|(place, line)| parse(path, place, line)).collect()
}

fn parse<T: DeserializeOwned>(path: &Path, place: usize, line: &str) -> Result<T, EvaluationError> {
    serde_json::from_str(line).map_err(|error| EvaluationError::Predictions {
        path: path.to_owned(),
        line: place + 1,
        problem: format!("{error} · remove the line, and ask again with `afterthought intervene`"),
    })
}
