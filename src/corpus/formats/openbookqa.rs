//! OpenBookQA, Main and Additional: the latter gives with each question the fact of the open book that it was made from.

use serde_json::Value;

use super::{Taken, optional, stem};
use crate::corpus::SourceRationale;

/// The name of the rationale source that the facts make.
pub const FACT: &str = "fact1";

/// One question, with its fact as a rationale where the file has it.
pub fn example(record: &Value) -> Result<Taken, String> {
    let mut example = stem::example(record)?;
    let fact = optional(record, FACT)?.filter(|fact| !fact.trim().is_empty());
    if fact.is_some() {
        (example.rationale, example.rationale_source) = (fact.clone(), Some(FACT.into()));
    }
    let rationales = fact.map(|fact| SourceRationale {
        id: example.id.clone(),
        source: Some(FACT.into()),
        rationale: Some(fact),
        ..SourceRationale::default()
    });
    Ok(Taken::Question(Box::new(example), rationales.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn take(record: Value) -> (crate::corpus::Example, Vec<SourceRationale>) {
        match example(&record).unwrap() {
            Taken::Question(example, rationales) => (*example, rationales),
            Taken::Rationales(_) => panic!("no question"),
        }
    }

    #[test]
    fn the_fact_is_a_rationale_and_a_field() {
        let mut record = json!({"id": "7-1", "question": {"stem": "The sun",
            "choices": [{"text": "warms", "label": "A"}, {"text": "cools", "label": "B"}]},
            "fact1": "the sun is a star", "clarity": "2.00", "answerKey": "A"});
        let (example, rationales) = take(record.clone());
        assert_eq!(example.gold().unwrap().text, "warms");
        assert_eq!(
            (example.extra_text("fact1"), example.extra_text("clarity")),
            (Some("the sun is a star"), Some("2.00"))
        );
        assert_eq!(
            (example.rationale.as_deref(), example.rationale_source.as_deref()),
            (Some("the sun is a star"), Some(FACT))
        );
        assert_eq!(rationales[0].rationale.as_deref(), Some("the sun is a star"));
        assert_eq!((rationales[0].source.as_deref(), rationales[0].id.as_str()), (Some("fact1"), "7-1"));

        record.as_object_mut().unwrap().remove("fact1");
        assert!(take(record).1.is_empty());
    }
}
