//! The shape in which CommonsenseQA and OpenBookQA are published: a stem, labelled choices and an answer key.

use serde_json::{Map, Value};

use super::choices::{AnswerIs, answer, choices};
use super::{keep, missing, needed};
use crate::corpus::Example;

/// One question. Test questions without an answer key have no answer. The same rows as a table on the Hugging Face hub,
/// with `question` or `question_stem` as text and choices as two lists, are read as well.
pub fn example(record: &Value) -> Result<Example, String> {
    let mut extra = Map::new();
    let (question, offered) = match record.get("question") {
        Some(nested @ Value::Object(fields)) => {
            let others = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "stem" | "choices"));
            others.for_each(|(name, value)| keep(&mut extra, name, value));
            let stem = needed(nested, "stem").map_err(|problem| format!("in `question`: {problem}"))?;
            (stem, fields.get("choices"))
        }
        Some(_) => (needed(record, "question")?, record.get("choices")),
        None if record.get("question_stem").is_some() => (needed(record, "question_stem")?, record.get("choices")),
        None => return Err(missing(record, "question")),
    };
    let choices = choices(offered.ok_or_else(|| missing(record, "choices"))?.clone())?;
    let answer = answer(&choices, record.get("answerKey").unwrap_or(&Value::Null), AnswerIs::Label)?;
    let known = ["id", "question", "question_stem", "choices", "answerKey"];
    for (name, value) in record.as_object().into_iter().flatten().filter(|(name, _)| !known.contains(&name.as_str())) {
        keep(&mut extra, name, value);
    }
    Ok(Example { id: needed(record, "id")?, question, choices, answer, extra, ..Example::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_published_question_is_read_and_its_concept_kept() {
        let record = json!({"answerKey": "B", "id": "x1", "question": {"question_concept": "tea", "stem": "Where  is tea?",
            "choices": [{"label": "A", "text": "sky"}, {"label": "B", "text": "cup"}]}});
        let example = example(&record).unwrap();
        assert_eq!((example.id.as_str(), example.question.as_str()), ("x1", "Where  is tea?"));
        assert_eq!(example.gold().unwrap().text, "cup");
        assert_eq!(example.extra_text("question_concept"), Some("tea"));
        assert_eq!(example.rationale, None);
    }

    #[test]
    fn a_test_question_has_no_answer() {
        let record = json!({"id": "x", "question": {"stem": "?", "choices": [{"label": "A", "text": "a"}]}});
        assert_eq!(example(&record).unwrap().answer, None);
        let empty = json!({"id": "x", "answerKey": "", "question": "?", "choices": {"label": ["A"], "text": ["a"]}});
        assert_eq!(example(&empty).unwrap().answer, None);
    }

    #[test]
    fn a_row_of_something_else_says_what_is_missing() {
        let choices = json!([{"label": "A", "text": "a"}]);
        for (record, problem) in [
            (json!({"id": "x", "text": "?"}), "no field `question` · the row has id, text"),
            (json!({"id": "x", "question": {"stem": "?"}}), "no field `choices`"),
            (json!({"id": "x", "question": {"choices": choices}}), "in `question`: no field `stem`"),
            (json!({"question": {"stem": "?", "choices": choices}}), "no field `id`"),
            (
                json!({"id": "x", "answerKey": "F", "question": {"stem": "?", "choices": choices}}),
                "none of the labels A",
            ),
            (json!({"id": "x", "question": {"stem": " ", "choices": choices}}), "`stem` is empty"),
        ] {
            let error = example(&record).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
