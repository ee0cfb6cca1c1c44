//! What can be asked of a row by name: its own fields, and what is counted or known of it.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use serde::{Deserialize, Serialize};

use crate::corpus::Example;

/// A field of a row, or something that is worked out for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Field {
    /// The number of the row in its split, from 1.
    Row,
    Id,
    Question,
    /// As a number: how many there are. As a text: what they say.
    Choices,
    Answer,
    /// The label that the student whose answers are shown gave.
    Predicted,
    /// Whether that label is the answer.
    Correct,
    Rationale,
    RationaleSource,
    /// How often the rationale was edited.
    Edits,
    Marked,
    /// Any other field of the row; in lower case.
    Other(String),
    /// Words of a text, parted by white space.
    Words(Box<Field>),
    /// Characters of a text.
    Chars(Box<Field>),
}

/// What a field holds in one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Missing,
    Flag(bool),
    Number(f64),
    Text(Cow<'a, str>),
}

/// What is known of rows beside what stands in them, by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The label that a student predicted, if it gave one, and whether it is right.
    pub answered: HashMap<String, (Option<String>, bool)>,
    pub marked: Arc<BTreeSet<String>>,
    /// Edits that count now.
    pub edits: HashMap<String, usize>,
}

impl Field {
    /// The field of a name. Every name is one: the rows may have anything.
    pub fn of(name: &str) -> Self {
        let name = name.to_lowercase();
        if let Some((text, unit)) = name.rsplit_once('.') {
            match unit {
                "words" => return Self::Words(Box::new(Self::of(text))),
                "chars" => return Self::Chars(Box::new(Self::of(text))),
                _ => {}
            }
        }
        match name.as_str() {
            "row" => Self::Row,
            "id" => Self::Id,
            "question" => Self::Question,
            "choices" => Self::Choices,
            "answer" => Self::Answer,
            "predicted" => Self::Predicted,
            "correct" => Self::Correct,
            "rationale" => Self::Rationale,
            "rationale_source" => Self::RationaleSource,
            "edits" => Self::Edits,
            "marked" => Self::Marked,
            _ => Self::Other(name),
        }
    }

    /// Whether it depends on what a student answered.
    pub fn needs_answers(&self) -> bool {
        matches!(self, Self::Predicted | Self::Correct)
    }

    /// What it holds in a row; `row` is 0 for the first of the split.
    pub fn value<'a>(&self, row: usize, example: &'a Example, known: &'a Known) -> Value<'a> {
        let text = |text: &'a str| Value::Text(Cow::Borrowed(text));
        let maybe = |found: Option<&'a str>| found.map_or(Value::Missing, text);
        match self {
            Self::Row => Value::Number((row + 1) as f64),
            Self::Id => text(&example.id),
            Self::Question => text(&example.question),
            Self::Choices => Value::Number(example.choices.len() as f64),
            Self::Answer => maybe(example.answer.as_deref()),
            Self::Predicted => maybe(known.answered.get(&example.id).and_then(|(label, _)| label.as_deref())),
            Self::Correct => known.answered.get(&example.id).map_or(Value::Missing, |(_, right)| Value::Flag(*right)),
            Self::Rationale => maybe(example.rationale.as_deref().filter(|text| !text.trim().is_empty())),
            Self::RationaleSource => maybe(example.rationale_source.as_deref()),
            Self::Edits => Value::Number(known.edits.get(&example.id).copied().unwrap_or(0) as f64),
            Self::Marked => Value::Flag(known.marked.contains(&example.id)),
            Self::Other(name) => match example.extra.iter().find(|(own, _)| own.to_lowercase() == *name) {
                Some((_, value)) => of_json(value),
                None => Value::Missing,
            },
            Self::Words(of) => of.counted(row, example, known, |text| text.split_whitespace().count()),
            Self::Chars(of) => of.counted(row, example, known, |text| text.chars().count()),
        }
    }

    /// What is counted of its text; choices are counted together.
    fn counted<'a>(&self, row: usize, example: &Example, known: &Known, count: fn(&str) -> usize) -> Value<'a> {
        let number = |count: usize| Value::Number(count as f64);
        match self {
            Self::Choices => number(example.choices.iter().map(|choice| count(&choice.text)).sum()),
            Self::Rationale if !example.has_rationale() => number(0),
            _ => match self.value(row, example, known) {
                Value::Text(text) => number(count(&text)),
                _ => Value::Missing,
            },
        }
    }
}

/// A list is its items with a blank between them; what is nested is its JSON.
fn of_json(value: &Json) -> Value<'_> {
    match value {
        Json::Null => Value::Missing,
        Json::Bool(flag) => Value::Flag(*flag),
        Json::Number(number) => number.as_f64().map_or(Value::Missing, Value::Number),
        Json::String(text) => Value::Text(Cow::Borrowed(text)),
        Json::Array(items) => {
            let item = |item: &Json| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            Value::Text(items.iter().map(item).collect::<Vec<_>>().join(" ").into())
        }
        Json::Object(_) => Value::Text(value.to_string().into()),
    }
}

impl fmt::Display for Field {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Words(of) => write!(out, "{of}.words"),
            Self::Chars(of) => write!(out, "{of}.chars"),
            Self::Other(name) => out.write_str(name),
            fixed => out.write_str(match fixed {
                Self::Row => "row",
                Self::Id => "id",
                Self::Question => "question",
                Self::Choices => "choices",
                Self::Answer => "answer",
                Self::Predicted => "predicted",
                Self::Correct => "correct",
                Self::Rationale => "rationale",
                Self::RationaleSource => "rationale_source",
                Self::Edits => "edits",
                _ => "marked",
            }),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Missing => out.write_str("–"),
            Self::Flag(flag) => write!(out, "{flag}"),
            Self::Number(number) => write!(out, "{number}"),
            Self::Text(text) => out.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_read_by_name_and_counted() {
        let example: Example = serde_json::from_value(json!({
            "id": "q", "question": "one two  three", "choices": [{"label": "A", "text": "a b"}, {"label": "B", "text": "c"}],
            "answer": "A", "rationale": "né", "Score": 0.5, "cues": ["x", 2], "flag": true, "none": null
        }))
        .unwrap();
        let known = Known { answered: [("q".to_owned(), (Some("B".to_owned()), false))].into(), ..Known::default() };
        for (name, shown) in [
            ("row", "7"),
            ("question.words", "3"),
            ("rationale.chars", "2"),
            ("choices", "2"),
            ("choices.words", "3"),
            ("predicted", "B"),
            ("correct", "false"),
            ("score", "0.5"),
            ("cues", "x 2"),
            ("cues.words", "2"),
            ("flag", "true"),
            ("none", "–"),
            ("missing.words", "–"),
            ("edits", "0"),
            ("marked", "false"),
        ] {
            let field = Field::of(name);
            assert_eq!(field.value(6, &example, &known).to_string(), shown, "{name}");
            assert_eq!(field.to_string(), name);
        }
    }
}
