//! CoS-E: explanations for CommonsenseQA, written by people (Rajani et al. 2019).

use serde_json::{Map, Value};

use super::{missing, needed, optional};
use crate::corpus::SourceRationale;

/// One explanation: the open-ended one is the rationale, the selected words of the question are kept. The columns of the
/// table on the Hugging Face hub are read as well.
pub fn rationale(record: &Value) -> Result<SourceRationale, String> {
    let (holder, open, selected) = match record.get("explanation") {
        Some(explanation) => (explanation, "open-ended", "selected"),
        None if record.get("abstractive_explanation").is_some() => {
            (record, "abstractive_explanation", "extractive_explanation")
        }
        None => return Err(missing(record, "explanation")),
    };
    let mut extra = Map::new();
    if let Some(selected) = optional(holder, selected)? {
        extra.insert("selected".into(), selected.into());
    }
    Ok(SourceRationale {
        id: needed(record, "id")?,
        rationale: Some(needed(holder, open)?),
        extra,
        ..SourceRationale::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_open_ended_explanation_is_the_rationale() {
        let record = json!({"id": "x1", "explanation": {"open-ended": "cups hold tea", "selected": "tea"}});
        let rationale = rationale(&record).unwrap();
        assert_eq!((rationale.id.as_str(), rationale.rationale.as_deref()), ("x1", Some("cups hold tea")));
        assert_eq!(rationale.extra["selected"], "tea");
    }

    #[test]
    fn an_explanation_that_says_nothing_is_refused() {
        let error = |record| rationale(&record).unwrap_err();
        assert_eq!(error(json!({"id": "x", "explanation": {"open-ended": " "}})), "`open-ended` is empty");
        assert!(error(json!({"id": "x", "explanation": "cups"})).contains("no field `open-ended`"));
        assert!(error(json!({"id": "x"})).contains("no field `explanation`"));
    }
}
