//! Choices and answers in the shapes in which they are published.

use std::str::FromStr;

use serde_json::Value;

use super::path::unpacked;
use crate::corpus::example::letter;
use crate::corpus::{Choice, did_you_mean, nearest};
use crate::text;

/// How a published answer names the right choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerIs {
    /// By its label or by its text, whichever fits; a number that is neither is refused, not guessed at.
    #[default]
    Auto,
    Label,
    Text,
    /// By its place, counted from 0.
    Index,
    /// By its place, counted from 1.
    Index1,
}

impl AnswerIs {
    pub const ALL: [(&str, Self); 5] = [
        ("auto", Self::Auto),
        ("label", Self::Label),
        ("text", Self::Text),
        ("index", Self::Index),
        ("index1", Self::Index1),
    ];
}

impl FromStr for AnswerIs {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, how)| *how).ok_or_else(|| {
            let nearest = nearest(name, Self::ALL.map(|(known, _)| known));
            format!("`{}` is not a way to name an answer{}", text::line(name), did_you_mean(&nearest))
        })
    }
}

/// A value as text; `None` where there is nothing, an error where it has parts.
pub fn scalar(value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(_) | Value::Bool(_) => Ok(Some(value.to_string())),
        Value::Array(_) => Err("is a list and not a text".into()),
        Value::Object(_) => Err("is an object and not a text".into()),
    }
}

/// Choices from texts, objects with `label` and `text`, an object of two lists, or an object of texts by label; any of
/// them may also stand as JSON in a text.
pub fn choices(value: Value) -> Result<Vec<Choice>, String> {
    match unpacked(value) {
        Value::Array(parts) => parts.iter().enumerate().map(|(place, part)| choice(place, part)).collect(),
        Value::Object(fields) => match (fields.get("text"), fields.get("label")) {
            (Some(Value::Array(texts)), Some(Value::Array(labels))) => {
                let texts = texts.iter().enumerate().map(|(place, text)| choice(place, text));
                labelled(texts.collect::<Result<_, _>>()?, labels)
            }
            _ => fields.iter().map(|(label, text)| by_label(label, text)).collect(),
        },
        Value::String(text) if text.trim_start().starts_with('[') => {
            Err("the choices look like a list but are no JSON · write them with a JSON library".into())
        }
        _ => Err("the choices are no list".into()),
    }
}

fn choice(place: usize, part: &Value) -> Result<Choice, String> {
    let (label, text) = match part {
        Value::Object(fields) => (fields.get("label"), fields.get("text").unwrap_or(&Value::Null)),
        text => (None, text),
    };
    let read = |value: &Value| scalar(value).map_err(|problem| format!("choice {} {problem}", place + 1));
    let text = read(text)?.ok_or_else(|| match part {
        Value::Object(fields) if !fields.contains_key("text") => {
            let known: Vec<&str> = fields.keys().map(String::as_str).collect();
            format!("choice {} has no `text` · it has {}", place + 1, text::excerpt(&known.join(", "), 80))
        }
        _ => format!("choice {} has no text", place + 1),
    })?;
    let label = label.map_or(Ok(None), read)?.unwrap_or_else(|| letter(place));
    Ok(Choice { label, text })
}

fn by_label(label: &str, value: &Value) -> Result<Choice, String> {
    let text = scalar(value).map_err(|problem| format!("choice {} {problem}", text::excerpt(label, 20)))?;
    let text = text.ok_or_else(|| format!("choice {} has no text", text::excerpt(label, 20)))?;
    Ok(Choice { label: label.into(), text })
}

/// The same choices under other labels.
pub fn labelled(choices: Vec<Choice>, labels: &[Value]) -> Result<Vec<Choice>, String> {
    if choices.len() != labels.len() {
        return Err(format!("there are {} choices and {} labels", choices.len(), labels.len()));
    }
    let relabel = |(choice, label): (Choice, &Value)| {
        let label = scalar(label).map_err(|problem| format!("a label {problem}"))?.ok_or("a choice has no label")?;
        Ok(Choice { label, ..choice })
    };
    choices.into_iter().zip(labels).map(relabel).collect()
}

/// The label of the choice that a published answer names; `None` where there is no answer.
pub fn answer(choices: &[Choice], given: &Value, how: AnswerIs) -> Result<Option<String>, String> {
    let Some(given) = scalar(given).map_err(|problem| format!("the answer {problem}"))? else { return Ok(None) };
    if given.trim().is_empty() {
        return Ok(None);
    }
    let shown = text::excerpt(given.trim(), 40);
    let unknown = |what: &str, known: Vec<&str>| {
        Err(format!("the answer `{shown}` is none of the {what} {}", text::excerpt(&known.join(", "), 80)))
    };
    let place = |first: usize| {
        let place = given.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(first));
        let choice = place.and_then(|place| choices.get(place));
        let last = (choices.len() + first).saturating_sub(1);
        choice
            .map(|choice| Some(choice.label.clone()))
            .ok_or_else(|| format!("the answer `{shown}` is no place from {first} to {last}"))
    };
    let texts = || choices.iter().map(|choice| choice.text.as_str()).collect();
    let labels = || choices.iter().map(|choice| choice.label.as_str()).collect();
    match how {
        AnswerIs::Index => place(0),
        AnswerIs::Index1 => place(1),
        AnswerIs::Label => match by_name(choices, &given) {
            Some(choice) => Ok(Some(choice.label.clone())),
            None => unknown("labels", labels()),
        },
        AnswerIs::Text => match by_text(choices, &given)? {
            Some(choice) => Ok(Some(choice.label.clone())),
            None => unknown("choices", texts()),
        },
        AnswerIs::Auto => match (by_name(choices, &given), by_text(choices, &given)) {
            (Some(one), Ok(Some(other))) if one.label != other.label => Err(format!(
                "the answer `{shown}` is a label and the text of another choice · say which with --answer-is"
            )),
            (Some(choice), _) | (None, Ok(Some(choice))) => Ok(Some(choice.label.clone())),
            (None, Err(problem)) => Err(problem),
            (None, Ok(None)) if given.trim().parse::<usize>().is_ok() => Err(format!(
                "the answer `{shown}` is a number · say with --answer-is index or index1 whether choices count from 0 or 1"
            )),
            (None, Ok(None)) => unknown("labels", labels()),
        },
    }
}

/// By label, which may stand in brackets or with a point, and in either case.
fn by_name<'a>(choices: &'a [Choice], given: &str) -> Option<&'a Choice> {
    if let Some(choice) = choices.iter().find(|choice| choice.label == given) {
        return Some(choice);
    }
    let bare = given.trim().trim_start_matches('(').trim_end_matches(['.', ')', ':']);
    let mut alike = choices.iter().filter(|choice| choice.label.to_lowercase() == bare.to_lowercase());
    alike.next().filter(|_| alike.next().is_none())
}

fn by_text<'a>(choices: &'a [Choice], given: &str) -> Result<Option<&'a Choice>, String> {
    let mut equal = choices.iter().filter(|choice| choice.text == given || choice.text.trim() == given.trim());
    match (equal.next(), equal.next()) {
        (Some(one), Some(other)) => Err(format!(
            "choices {} and {} are both `{}`, so the answer doesn't tell which is right",
            text::excerpt(&one.label, 10),
            text::excerpt(&other.label, 10),
            text::excerpt(given.trim(), 40)
        )),
        (one, _) => Ok(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Vec<(String, String)>, String> {
        Ok(choices(value)?.into_iter().map(|choice| (choice.label, choice.text)).collect())
    }

    #[test]
    fn choices_are_read_in_every_published_shape() {
        let expected = read(json!(["bank", "mall"])).unwrap();
        assert_eq!(expected, [("A".into(), "bank".into()), ("B".into(), "mall".into())]);
        for value in [
            json!([{"label": "A", "text": "bank"}, {"text": "mall", "label": "B"}]),
            json!({"text": ["bank", "mall"], "label": ["A", "B"]}),
            json!({"A": "bank", "B": "mall"}),
            json!("[\"bank\", \"mall\"]"),
        ] {
            assert_eq!(read(value.clone()).unwrap(), expected, "{value}");
        }
        assert_eq!(read(json!([1, 2.5])).unwrap()[1].1, "2.5");
    }

    #[test]
    fn choices_that_are_none_say_why() {
        for (value, problem) in [
            (json!("bank"), "no list"),
            (json!("['bank', 'mall']"), "no JSON"),
            (json!(["bank", null]), "choice 2 has no text"),
            (json!([{"name": "bank"}]), "it has name"),
            (json!({"text": ["a"], "label": ["A", "B"]}), "1 choices and 2 labels"),
            (json!([["a"]]), "choice 1 is a list"),
        ] {
            let error = read(value.clone()).unwrap_err();
            assert!(error.contains(problem), "{value}: {error}");
        }
    }

    #[test]
    fn an_answer_is_a_label_a_text_or_a_place() {
        let four = choices(json!(["bank", "mall", "c", "zoo"])).unwrap();
        let label = |given: Value, how| answer(&four, &given, how).map(|label| label.unwrap_or_else(|| "none".into()));
        assert_eq!(label(json!("B"), AnswerIs::Auto).unwrap(), "B");
        assert_eq!(label(json!("(b)"), AnswerIs::Auto).unwrap(), "B");
        assert_eq!(label(json!("mall"), AnswerIs::Auto).unwrap(), "B");
        assert_eq!(label(json!("c"), AnswerIs::Text).unwrap(), "C");
        assert_eq!(label(json!(0), AnswerIs::Index).unwrap(), "A");
        assert_eq!(label(json!("4"), AnswerIs::Index1).unwrap(), "D");
        assert_eq!(label(json!(null), AnswerIs::Auto).unwrap(), "none");
        assert_eq!(label(json!(" "), AnswerIs::Label).unwrap(), "none");
    }

    #[test]
    fn an_answer_is_never_guessed() {
        let four = choices(json!(["bank", "mall", "bank", "B"])).unwrap();
        for (given, how, problem) in [
            (json!("bank"), AnswerIs::Auto, "choices A and C are both `bank`"),
            (json!("B"), AnswerIs::Auto, "--answer-is"),
            (json!(2), AnswerIs::Auto, "--answer-is index or index1"),
            (json!("E"), AnswerIs::Label, "none of the labels A, B, C, D"),
            (json!("park"), AnswerIs::Text, "none of the choices bank, mall, bank, B"),
            (json!(4), AnswerIs::Index, "no place from 0 to 3"),
            (json!(0), AnswerIs::Index1, "no place from 1 to 4"),
            (json!(["A"]), AnswerIs::Auto, "is a list"),
        ] {
            let error = answer(&four, &given, how).unwrap_err();
            assert!(error.contains(problem), "{given}: {error}");
        }
    }
}
