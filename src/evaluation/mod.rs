//! Evaluation: the student's answers, how many are right, and how sure that is. It never trains.

pub mod answers;
pub mod interventions;
pub mod statistics;
pub mod token_losses;

use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use answers::{Answer, Asking, Given, Prediction, Score, predict};

use crate::files::{self, FileError};
use crate::rationale::batch::Mean;
use crate::rationale::{Batch, Encoded, RenderError, Role};
use crate::student::{Decoder, StudentError, Supervised};

/// What can go wrong while evaluating.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Student(#[from] StudentError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{}:{line}: {problem}", path.display())]
    Predictions { path: std::path::PathBuf, line: usize, problem: String },
    #[error("the evaluation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// Whoever is told of the progress asked to stop.
    #[error("the evaluation was interrupted")]
    Interrupted,
}

/// Is told how many examples are done, now and then, and can stop the evaluation there.
pub type OnProgress<'a> = &'a mut dyn FnMut(usize) -> ControlFlow<()>;

/// How many answers are right. Examples without a known answer are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    pub correct: usize,
    pub examples: usize,
    /// Of those examples: answers in which no label could be read. They count as wrong.
    pub unparsable: usize,
    /// Of those examples: students that were still writing when the limit came.
    pub unfinished: usize,
}

impl Accuracy {
    pub fn of(predictions: &[Prediction]) -> Self {
        let known = predictions.iter().filter(|prediction| prediction.answer.is_some());
        known.fold(Self::default(), |sum, prediction| Self {
            correct: sum.correct + usize::from(prediction.is_correct()),
            examples: sum.examples + 1,
            unparsable: sum.unparsable + usize::from(prediction.predicted.is_none()),
            unfinished: sum.unfinished + usize::from(prediction.unfinished),
        })
    }

    /// How many answers the limit on what a student may write has cost; `None` where it cost none.
    pub fn note(&self, limit: usize) -> Option<String> {
        let Self { unfinished, examples, .. } = self;
        let text = format!("{unfinished} of {examples} never came to an answer within {limit} tokens");
        (*unfinished > 0).then_some(text)
    }

    /// The share of right answers; `None` where no answer is known.
    pub fn share(&self) -> Option<f64> {
        (self.examples > 0).then(|| self.correct as f64 / self.examples as f64)
    }

    /// Wilson's 95 % interval.
    pub fn interval(&self) -> (f64, f64) {
        statistics::wilson(self.correct, self.examples)
    }
}

/// Mean losses over a split, under the run's own weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// Weighted mean over the counted tokens, and the weighted sum over each example's tokens, averaged over examples.
    pub per_token: Option<f64>,
    pub per_example: Option<f64>,
    /// The weighted mean over the tokens of first sequences, and to that the one over those of second ones.
    pub per_task: Option<f64>,
    pub label: Option<f64>,
    pub rationale: Option<f64>,
}

/// Examples whose losses are taken together.
const BATCH: usize = 32;

/// The losses of examples, without dropout.
pub fn losses(decoder: &Decoder, examples: &[Encoded], on_progress: OnProgress) -> Result<Losses, EvaluationError> {
    let mut by_length: Vec<&Encoded> = examples.iter().filter(|example| !example.supervised.is_empty()).collect();
    by_length.sort_by_key(|example| example.longest());
    let (mut total, mut weight) = (0.0, 0.0);
    let mut tasks = [Mean::default(); 2];
    let (mut label, mut rationale) = (Mean::default(), Mean::default());
    for (number, chunk) in by_length.chunks(BATCH).enumerate() {
        if on_progress(number * BATCH).is_break() {
            return Err(EvaluationError::Interrupted);
        }
        let batch = Batch::of(chunk);
        let supervised = Supervised {
            ids: &batch.ids,
            batch: batch.size,
            rows: &batch.rows,
            targets: &batch.targets,
            weights: &batch.weights,
            teacher: None,
        };
        let result = decoder.loss(&supervised, None)?;
        let losses = result.losses.to_vec1::<f32>()?;
        for ((loss, own), second) in losses.iter().zip(&batch.weights).zip(&batch.second) {
            let weighted = f64::from(*loss) * f64::from(*own);
            total += weighted;
            weight += f64::from(*own);
            let task = &mut tasks[usize::from(*second)];
            *task = task.with(weighted);
        }
        label = label.and(batch.mean_loss(Role::Label, &losses));
        rationale = rationale.and(batch.mean_loss(Role::Rationale, &losses));
    }
    Ok(Losses {
        per_token: (weight > 0.0).then(|| total / weight),
        per_example: (!by_length.is_empty()).then(|| total / by_length.len() as f64),
        per_task: tasks[0].value().map(|first| first + tasks[1].value().unwrap_or(0.0)),
        label: label.value(),
        rationale: rationale.value(),
    })
}

/// Puts the predictions of one split into `predictions.jsonl`, in the place of older ones of the same split.
pub fn merge_predictions(
    path: &Path,
    dataset: &str,
    split: &str,
    predictions: &[Prediction],
) -> Result<(), EvaluationError> {
    let mut all = if path.exists() { read_predictions(path)? } else { vec![] };
    all.retain(|prediction| prediction.dataset != dataset || prediction.split != split);
    all.extend(predictions.iter().cloned().map(|prediction| Prediction {
        dataset: dataset.into(),
        split: split.into(),
        ..prediction
    }));
    files::replace(path, |out| {
        for prediction in &all {
            serde_json::to_writer(&mut *out, prediction)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Reads `predictions.jsonl`.
pub fn read_predictions(path: &Path) -> Result<Vec<Prediction>, EvaluationError> {
    files::read_to_string(path)?
        .lines()
        .enumerate()
        .map(|(place, line)| {
            serde_json::from_str(line).map_err(|error| EvaluationError::Predictions {
                path: path.to_owned(),
                line: place + 1,
                problem: error.to_string(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(answer: Option<&str>, predicted: Option<&str>) -> Prediction {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Prediction {
            id: "q".into(),
            dataset: String::new(),
            split: String::new(),
            answer: own(answer),
            predicted: own(predicted),
            text: String::new(),
            choices: None,
            unfinished: false,
        }
    }

    #[test]
    fn unparsable_answers_are_wrong_and_counted_apart() {
        let predictions = [
            prediction(Some("A"), Some("A")),
            prediction(Some("A"), Some("B")),
            prediction(Some("A"), None),
            prediction(None, Some("A")),
        ];
        let accuracy = Accuracy::of(&predictions);
        assert_eq!(accuracy, Accuracy { correct: 1, examples: 3, unparsable: 1, unfinished: 0 });
        assert_eq!(accuracy.note(64), None);
        let cut = Prediction { unfinished: true, ..predictions[2].clone() };
        let note = Accuracy::of(&[predictions[0].clone(), cut]).note(64);
        assert_eq!(note.unwrap(), "1 of 2 never came to an answer within 64 tokens");
        assert_eq!(accuracy.share(), Some(1.0 / 3.0));
        assert_eq!(Accuracy::of(&predictions[3..]).share(), None);
    }

    #[test]
    fn each_split_has_its_latest_predictions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("predictions.jsonl");
        let merge = |split: &str, predictions: &[Prediction]| {
            merge_predictions(&path, "toyworld", split, predictions).unwrap();
        };
        merge("test", &[prediction(Some("A"), None), prediction(None, Some("C"))]);
        merge("validation", &[prediction(Some("B"), Some("B"))]);
        merge("test", &[prediction(Some("A"), Some("A"))]);
        let all = read_predictions(&path).unwrap();
        let splits: Vec<_> = all.iter().map(|prediction| prediction.split.as_str()).collect();
        assert_eq!(splits, ["validation", "test"]);
        assert!(all[1].is_correct());
        // Lines of older versions say nothing of the limit, and neither do new ones where it came to nothing.
        assert!(!std::fs::read_to_string(&path).unwrap().contains("unfinished"));
        std::fs::write(&path, "{}\nnot json").unwrap();
        let error = read_predictions(&path).unwrap_err().to_string();
        assert!(error.contains("predictions.jsonl:1"), "{error}");
    }
}
