//! QuaRel: two choices inside the text of the question (Tafjord et al. 2019), and its rows as MaRIO republished them.

use serde_json::{Map, Value};

use super::choices::{AnswerIs, answer};
use super::{Place, keep, needed, optional};
use crate::corpus::example::letter;
use crate::corpus::{Choice, Example};

/// What stands in the place of a rationale where MaRIO has none.
const NO_RATIONALE: &str = "dummy";

/// One question. Its text as published is kept under `question_raw`.
pub fn example(record: &Value, place: &Place) -> Result<Example, String> {
    let raw = needed(record, "question")?;
    let (question, choices) = parted(&raw)?;
    let answer = match record.get("answer_index") {
        Some(index) => answer(&choices, index, AnswerIs::Index)?,
        None => answer(&choices, record.get("answer").unwrap_or(&Value::Null), AnswerIs::Label)?,
    };
    let id = match (optional(record, "id")?, place.key) {
        (Some(id), _) => id,
        // MaRIO counts each split from 0: the split keeps the ids of a data set apart.
        (None, Some(key)) => format!("{}-{key}", place.split),
        (None, None) => needed(record, "id")?,
    };
    let rationale = optional(record, "rationale")?.filter(|text| !text.trim().is_empty() && text != NO_RATIONALE);
    let mut extra = Map::new();
    extra.insert("question_raw".into(), raw.into());
    let known = ["id", "question", "answer", "answer_index", "rationale"];
    for (name, value) in record.as_object().into_iter().flatten().filter(|(name, _)| !known.contains(&name.as_str())) {
        keep(&mut extra, name, value);
    }
    Ok(Example { id, question, choices, answer, rationale, extra, ..Example::default() })
}

/// The question and its choices. The labels `(A)`, `(B)` … must stand there exactly once each and in order; choices may
/// follow in mid-sentence, joined by "or", and end in punctuation that is the sentence's and not theirs.
fn parted(raw: &str) -> Result<(String, Vec<Choice>), String> {
    let found: Vec<(usize, char)> = raw
        .match_indices('(')
        .filter_map(|(at, _)| match raw.as_bytes()[at..] {
            [b'(', label @ b'A'..=b'Z', b')', ..] => Some((at, char::from(label))),
            _ => None,
        })
        .collect();
    let labels: Vec<String> = found.iter().map(|(_, label)| label.to_string()).collect();
    if labels.len() < 2 || labels.iter().enumerate().any(|(place, label)| *label != letter(place)) {
        let labels = if labels.is_empty() { "none".into() } else { labels.join(", ") };
        return Err(format!("the question should hold choices (A), (B) … in order; found {labels}"));
    }
    let question = raw[..found[0].0].trim_end();
    if question.is_empty() {
        return Err("no question stands before the choices".into());
    }
    let mut choices = Vec::new();
    for (place, (at, label)) in found.iter().enumerate() {
        let next = found.get(place + 1).map(|(next, _)| *next);
        let text = choice_text(&raw[at + 3..next.unwrap_or(raw.len())], next.is_some());
        if text.is_empty() {
            return Err(format!("choice {label} has no text"));
        }
        choices.push(Choice { label: label.to_string(), text: text.into() });
    }
    Ok((question.into(), choices))
}

/// A choice without the punctuation after it and, where another one follows, without the word that joins them.
fn choice_text(text: &str, joined: bool) -> &str {
    let ended = |text: &str| text.trim_end_matches(|c: char| c.is_whitespace() || ".,;:?!".contains(c)).len();
    let text = text.trim_start();
    let text = &text[..ended(text)];
    let alone = ["or", "and"].iter().find_map(|word| {
        let before = text.strip_suffix(word)?;
        (before.ends_with(char::is_whitespace) || before.is_empty()).then_some(before)
    });
    match alone {
        Some(before) if joined => &before[..ended(before)],
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parts(raw: &str) -> (String, Vec<String>) {
        let (question, choices) = parted(raw).unwrap();
        (question, choices.into_iter().map(|choice| format!("{} {}", choice.label, choice.text)).collect())
    }

    #[test]
    fn choices_are_taken_out_of_the_sentence() {
        for (raw, question, choices) in [
            ("Which is colder? (A) snow (B) ice", "Which is colder?", ["A snow", "B ice"]),
            (
                "The hill has (A) more friction (B) less friction.",
                "The hill has",
                ["A more friction", "B less friction"],
            ),
            ("Does the (A) dart, or (B) pool stick win?", "Does the", ["A dart", "B pool stick win"]),
            ("The (A) floor and (B) rug differ (a lot).", "The", ["A floor", "B rug differ (a lot)"]),
            ("What falls (A) an oar; (B) the floor", "What falls", ["A an oar", "B the floor"]),
        ] {
            let found = parts(raw);
            assert_eq!((found.0.as_str(), found.1), (question, choices.map(String::from).to_vec()), "{raw}");
        }
    }

    #[test]
    fn labels_out_of_order_or_missing_are_refused() {
        for (raw, problem) in [
            ("no choices here", "found none"),
            ("Which? (A) snow", "found A"),
            ("Which? (A) snow (C) ice", "found A, C"),
            ("Which? (A) snow (B) ice (A) fog", "found A, B, A"),
            ("(A) snow (B) ice", "no question"),
            ("Which? (A) (B) ice", "choice A has no text"),
        ] {
            let error = parted(raw).unwrap_err();
            assert!(error.contains(problem), "{raw}: {error}");
        }
    }

    #[test]
    fn the_official_row_answers_by_place() {
        let place = Place { split: "train", number: 1, key: None };
        let record = json!({"id": "Q1", "question": "Which? (A) snow (B) ice", "answer_index": 1,
            "world_literals": {"world1": "ice"}});
        let row = example(&record, &place).unwrap();
        assert_eq!((row.id.as_str(), row.answer.as_deref()), ("Q1", Some("B")));
        assert_eq!(row.extra_text("question_raw"), Some("Which? (A) snow (B) ice"));
        assert_eq!(row.extra["world_literals"]["world1"], "ice");
        let beyond = json!({"id": "Q1", "question": "Which? (A) snow (B) ice", "answer_index": 2});
        assert!(example(&beyond, &place).unwrap_err().contains("no place from 0 to 1"));
    }

    #[test]
    fn the_republished_row_is_named_by_its_split_and_key() {
        let place = Place { split: "validation", number: 5, key: Some("4") };
        let record = json!({"question": "Which? (A) snow (B) ice", "rationale": "dummy", "answer": "(B)"});
        let row = example(&record, &place).unwrap();
        assert_eq!((row.id.as_str(), row.answer.as_deref(), row.rationale), ("validation-4", Some("B"), None));
        let told = json!({"question": "Which? (A) snow (B) ice", "rationale": "Ice is hard.", "answer": "(B)"});
        assert_eq!(example(&told, &place).unwrap().rationale.as_deref(), Some("Ice is hard."));
    }
}
