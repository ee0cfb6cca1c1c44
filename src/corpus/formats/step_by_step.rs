//! The CommonsenseQA files of Distilling Step-by-Step: choices are texts, and so is the answer.

use serde_json::Value;

use super::choices::{AnswerIs, answer, choices};
use super::{keep, missing, needed, optional};
use crate::corpus::Example;

/// Which field became the rationale.
const RATIONALE: &str = "abstractive_explanation";

/// One question. Where two choices have the text of the answer nothing tells which label is meant, so the row is refused.
pub fn example(record: &Value) -> Result<Example, String> {
    let choices = choices(record.get("choices").ok_or_else(|| missing(record, "choices"))?.clone())?;
    let given = record.get("answer").ok_or_else(|| missing(record, "answer"))?;
    let answer = answer(&choices, given, AnswerIs::Text)?;
    let rationale = optional(record, RATIONALE)?.filter(|text| !text.trim().is_empty());
    let mut example = Example {
        id: needed(record, "id")?,
        question: needed(record, "question")?,
        choices,
        answer,
        rationale_source: rationale.is_some().then(|| RATIONALE.into()),
        rationale,
        ..Example::default()
    };
    let known = ["id", "question", "choices", "answer", RATIONALE];
    for (name, value) in record.as_object().into_iter().flatten().filter(|(name, _)| !known.contains(&name.as_str())) {
        keep(&mut example.extra, name, value);
    }
    Ok(example)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(choices: Value) -> Value {
        json!({"id": "x1", "question": "Where is tea?", "choices": choices, "answer": "cup",
            "abstractive_explanation": "cups hold tea", "extractive_explanation": "tea"})
    }

    #[test]
    fn the_text_of_the_answer_gives_its_label() {
        let example = example(&record(json!(["sky", "cup", "road"]))).unwrap();
        assert_eq!(example.answer.as_deref(), Some("B"));
        assert_eq!(example.rationale.as_deref(), Some("cups hold tea"));
        assert_eq!(example.rationale_source.as_deref(), Some("abstractive_explanation"));
        assert_eq!(example.extra_text("extractive_explanation"), Some("tea"));
    }

    #[test]
    fn an_answer_that_two_choices_have_is_not_guessed() {
        let error = example(&record(json!(["cup", "sky", "cup"]))).unwrap_err();
        assert!(error.starts_with("choices A and C are both `cup`"), "{error}");
        let error = example(&record(json!(["sky", "road"]))).unwrap_err();
        assert!(error.contains("`cup` is none of the choices sky, road"), "{error}");
    }
}
