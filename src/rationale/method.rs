//! Methods of distillation beside placing and ablating one rationale, as they stand in a recipe: which of a question's
//! rationales are trained on, what each of their tokens counts, and what a second sequence of the same example teaches.

use serde::{Deserialize, Serialize};

use super::recipe::Baseline;
use crate::corpus::announcement::announced;
use crate::corpus::{Example, SourceRationale};

/// Which of several rationales for one question is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Samples {
    /// The first one of the source.
    #[default]
    First,
    /// Another one with each visit, drawn by (seed, example id, epoch).
    Drawn,
}

impl Samples {
    pub fn is_first(&self) -> bool {
        *self == Self::First
    }
}

/// Which rationales are good enough to be trained on. What is evaluated is never left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Only those whose teacher came to the right answer: by the source's `teacher_answer`, else by what the rationale
    /// announces. One that tells neither is not kept.
    pub teacher_correct: bool,
    /// Only those that do not say in so many words what the answer is.
    pub no_announcement: bool,
    /// What becomes of an example that is left without a rationale.
    pub rest: Rest,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rest {
    /// It is trained on its label alone, so that all conditions see the same questions.
    #[default]
    Label,
    /// It is left out of the training.
    Drop,
}

impl Filter {
    pub fn is_off(&self) -> bool {
        !self.teacher_correct && !self.no_announcement
    }

    /// Whether a rationale for `example` may be trained on. `teacher_answer` is what its source says of it: a label, or
    /// the text of a choice.
    pub fn keeps(&self, example: &Example, rationale: &str, teacher_answer: Option<&str>) -> bool {
        let says = announced(rationale, &example.choices).map(|found| found.label);
        if self.no_announcement && says.is_some() {
            return false;
        }
        if !self.teacher_correct {
            return true;
        }
        let answer = match teacher_answer {
            Some(answer) => example.choice_named(answer).map(|choice| choice.label.clone()),
            None => says,
        };
        answer.is_some() && answer == example.answer
    }

    /// The rationales of a source that may be trained on, in its order.
    pub fn kept<'a>(&self, example: &Example, of: &'a [SourceRationale]) -> Vec<&'a str> {
        let texts = of.iter().filter_map(|one| Some((one.rationale.as_deref()?, one.teacher_answer.as_deref())));
        let texts = texts.filter(|(text, _)| !text.trim().is_empty());
        texts.filter(|(text, answer)| self.keeps(example, text, *answer)).map(|(text, _)| text).collect()
    }
}

/// Each rationale token's weight in the loss goes by its attribution, their mean staying what it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttributionWeights {
    /// The weight of a token without attribution, as a share of the mean.
    pub floor: f64,
    /// Whose attributions: a run's id, or `reader` for a student trained to read the rationale. Default `reader`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scorer: Option<String>,
    /// Where integrated gradients begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

impl AttributionWeights {
    /// A weight for each score; their mean is 1. A token that speaks against the label counts as one without attribution,
    /// and where none speaks for it all count alike.
    pub fn of(&self, scores: &[Option<f32>]) -> Vec<f32> {
        let positive: Vec<f64> = scores.iter().map(|score| f64::from(score.unwrap_or(0.0)).max(0.0)).collect();
        let total: f64 = positive.iter().sum();
        if total <= 0.0 {
            return vec![1.0; scores.len()];
        }
        let count = scores.len() as f64;
        positive.iter().map(|score| (self.floor + (1.0 - self.floor) * count * score / total) as f32).collect()
    }
}

/// A second sequence for each example that has a rationale for a wrong choice: given that rationale, the student learns
/// to answer with that choice (Wang et al. 2023).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Counterfactual {
    /// What the wrong label's weight is, beside `training.loss.label`.
    pub weight: f64,
    /// The file under `rationales/` with rationales for wrong choices of the same question. Without one they are those of
    /// other examples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Default for Counterfactual {
    fn default() -> Self {
        Self { weight: 1.0, source: None }
    }
}

/// What tells the student which of two things is asked of it. The word stands in front of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The label (Hsieh et al. 2023).
    Predict,
    /// The rationale.
    Explain,
    /// A rationale that is to be believed in, and its label (Wang et al. 2023).
    Factual,
    Counterfactual,
}

impl Task {
    /// What stands in front of the question.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Predict => "predict: ",
            Self::Explain => "explain: ",
            Self::Factual => "factual: ",
            Self::Counterfactual => "counterfactual: ",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Choice;

    fn question() -> Example {
        let choice = |(label, text): (&str, &str)| Choice { label: label.into(), text: text.into() };
        Example {
            id: "q1".into(),
            choices: [("A", "bank"), ("B", "reef"), ("C", "barn")].map(choice).into(),
            answer: Some("B".into()),
            ..Example::default()
        }
    }

    fn rationale(text: &str, teacher_answer: Option<&str>) -> SourceRationale {
        let teacher_answer = teacher_answer.map(str::to_owned);
        SourceRationale { id: "q1".into(), rationale: Some(text.into()), teacher_answer, ..SourceRationale::default() }
    }

    #[test]
    fn a_filter_keeps_what_it_says_and_no_other() {
        let of = [
            rationale("fish live there", Some("B")),
            rationale("money lies there", Some("A")),
            rationale("fish again", Some("reef")),
            rationale("So the answer is (B).", None),
            rationale("So the answer is (C).", None),
            rationale("nobody knows", None),
            rationale("  ", Some("B")),
        ];
        let kept = |teacher_correct, no_announcement| {
            let filter = Filter { teacher_correct, no_announcement, rest: Rest::Label };
            filter.kept(&question(), &of).iter().map(|text| text.len()).collect::<Vec<_>>()
        };
        let lengths = |places: &[usize]| -> Vec<usize> {
            places.iter().map(|place| of[*place].rationale.as_ref().unwrap().len()).collect()
        };
        assert_eq!(kept(false, false), lengths(&[0, 1, 2, 3, 4, 5]));
        assert_eq!(kept(true, false), lengths(&[0, 2, 3]), "by label, by text, by what it announces");
        assert_eq!(kept(false, true), lengths(&[0, 1, 2, 5]));
        assert_eq!(kept(true, true), lengths(&[0, 2]));
    }

    #[test]
    fn weights_by_attribution_have_a_mean_of_one() {
        let weights =
            |floor, scores: &[Option<f32>]| AttributionWeights { floor, ..AttributionWeights::default() }.of(scores);
        assert_eq!(weights(0.0, &[Some(3.0), Some(1.0), Some(-2.0), None]), [3.0, 1.0, 0.0, 0.0]);
        assert_eq!(weights(0.5, &[Some(3.0), Some(1.0), Some(-2.0), None]), [2.0, 1.0, 0.5, 0.5]);
        assert_eq!(weights(0.2, &[Some(-1.0), None]), [1.0, 1.0]);
        assert!(weights(0.0, &[]).is_empty());
    }
}
