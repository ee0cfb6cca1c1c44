//! One multiple-choice question with its answer and a teacher's rationale.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The field of a row that says what its rationale's teacher answered, where it is known.
pub const TEACHER_ANSWER: &str = "teacher_answer";

/// A row of a split, as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Example {
    pub id: String,
    pub question: String,
    pub choices: Vec<Choice>,
    /// The label of the right choice; `None` in test splits that are published without answers.
    #[serde(default)]
    pub answer: Option<String>,
    #[serde(default)]
    pub rationale: Option<String>,
    #[serde(default)]
    pub rationale_source: Option<String>,
    /// Parts of the rationale that a person marked as key, as ranges of characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub highlights: Vec<Range<usize>>,
    /// Every field that this version doesn't know, kept in order.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One of the answers on offer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub label: String,
    pub text: String,
}

impl Example {
    /// The right choice, if the row names one of its own choices.
    pub fn gold(&self) -> Option<&Choice> {
        let answer = self.answer.as_deref()?;
        self.choices.iter().find(|choice| choice.label == answer)
    }

    /// The choice that somebody names by its label, else by its text, upper and lower case being one.
    pub fn choice_named(&self, answer: &str) -> Option<&Choice> {
        let text = |of: &str| of.trim().to_lowercase();
        let by_label = self.choices.iter().find(|choice| choice.label == answer);
        by_label.or_else(|| self.choices.iter().find(|choice| text(&choice.text) == text(answer)))
    }

    /// A field outside the fixed ones, if it is a string.
    pub fn extra_text(&self, field: &str) -> Option<&str> {
        self.extra.get(field)?.as_str()
    }

    /// Whether the rationale has anything in it.
    pub fn has_rationale(&self) -> bool {
        self.rationale.as_deref().is_some_and(|text| !text.trim().is_empty())
    }
}

/// A rationale from one of the files under `rationales/`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceRationale {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Which of several samples for the same question this is.
    #[serde(default)]
    pub sample: usize,
    pub rationale: Option<String>,
    /// What the teacher itself answered, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher_answer: Option<String>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `A`, `B` … `Z`, `AA`: the label of the choice at `position`, for files that number their choices.
pub fn letter(position: usize) -> String {
    let last = char::from(b'A' + (position % 26) as u8);
    match position / 26 {
        0 => last.to_string(),
        more => format!("{}{last}", letter(more - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_come_back_in_order() {
        let line = r#"{"id":"q1","question":"?","choices":[{"label":"A","text":"x"}],"answer":"A","rationale":null,"rationale_source":null,"zeta":1,"alpha":[2]}"#;
        let example: Example = serde_json::from_str(line).unwrap();
        assert_eq!(example.gold().unwrap().text, "x");
        assert_eq!(serde_json::to_string(&example).unwrap(), line);
    }

    #[test]
    fn letters_go_on_after_z() {
        assert_eq!([0, 3, 25, 26, 27].map(letter), ["A", "D", "Z", "AA", "AB"]);
    }
}
