//! Finding examples by what they say: `whale answer:B has:rationale kind:sea`.

use std::collections::HashMap;

use super::Example;

/// What to look for. All terms must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    terms: Vec<Term>,
    /// By id, whether a question was answered rightly, for `is:wrong` and `is:right`.
    answered: HashMap<String, bool>,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    /// Somewhere in the question, the choices, the rationale or the id; lower case.
    Text(String),
    Id(String),
    Answer(String),
    Has(String),
    Lacks(String),
    /// Answered rightly, or wrongly, by the student whose answers are shown.
    Is(bool),
    /// Any other field of the row.
    Field(String, String),
}

/// What `has:` and `no:` know beside the fields of a row.
const KNOWN: [&str; 4] = ["rationale", "answer", "highlight", "highlights"];

impl Filter {
    /// Reads a filter. Every text is one: what is no field is text to look for.
    pub fn parse(text: &str) -> Self {
        let term = |word: &str| {
            let lower = word.to_lowercase();
            match lower.split_once(':') {
                Some(("id", value)) => Term::Id(value.into()),
                Some(("answer", value)) => Term::Answer(value.into()),
                Some(("has", value)) => Term::Has(value.into()),
                Some(("no", value)) => Term::Lacks(value.into()),
                Some(("is", "right")) => Term::Is(true),
                Some(("is", "wrong")) => Term::Is(false),
                Some((field, value)) if !field.is_empty() && !value.is_empty() => {
                    Term::Field(field.into(), value.into())
                }
                _ => Term::Text(lower),
            }
        };
        Self { terms: text.split_whitespace().map(term).collect(), answered: HashMap::new() }
    }

    /// The same with what a student answered.
    pub fn with_answers(self, answered: HashMap<String, bool>) -> Self {
        Self { answered, ..self }
    }

    /// Whether it asks for what a student answered.
    pub fn needs_answers(&self) -> bool {
        self.terms.iter().any(|term| matches!(term, Term::Is(_)))
    }

    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// What to say when nothing is found and the filter may not mean what was meant.
    pub fn hint(&self) -> Option<&'static str> {
        self.terms.iter().find_map(|term| match term {
            Term::Has(what) | Term::Lacks(what) if !KNOWN.contains(&what.as_str()) => {
                Some("has: and no: take rationale, answer, highlights, or the name of a field")
            }
            Term::Field(..) => Some("NAME:TEXT looks into the field NAME of the rows"),
            _ => None,
        })
    }

    /// Whether an example is what is looked for.
    pub fn matches(&self, example: &Example) -> bool {
        self.terms.iter().all(|term| match term {
            Term::Is(wanted) => self.answered.get(&example.id) == Some(wanted),
            term => term.matches(example),
        })
    }
}

impl Term {
    fn matches(&self, example: &Example) -> bool {
        let contains = |text: &str, wanted: &str| text.to_lowercase().contains(wanted);
        match self {
            Self::Id(wanted) => contains(&example.id, wanted),
            Self::Answer(wanted) => {
                let gold = example.gold().is_some_and(|gold| gold.text.to_lowercase() == *wanted);
                gold || example.answer.as_ref().is_some_and(|answer| answer.to_lowercase() == *wanted)
            }
            Self::Is(_) => false,
            Self::Has(what) => has(example, what),
            Self::Lacks(what) => !has(example, what),
            Self::Field(field, wanted) => match example.extra.iter().find(|(name, _)| name.to_lowercase() == *field) {
                Some((_, serde_json::Value::String(text))) => contains(text, wanted),
                Some((_, value)) => contains(&value.to_string(), wanted),
                None => false,
            },
            Self::Text(wanted) => {
                contains(&example.question, wanted)
                    || contains(&example.id, wanted)
                    || example.choices.iter().any(|choice| contains(&choice.text, wanted))
                    || example.rationale.as_ref().is_some_and(|text| contains(text, wanted))
            }
        }
    }
}

fn has(example: &Example, what: &str) -> bool {
    match what {
        "rationale" => example.has_rationale(),
        "answer" => example.gold().is_some(),
        "highlight" | "highlights" => !example.highlights.is_empty(),
        field => example.extra.keys().any(|name| name.to_lowercase() == field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn example() -> Example {
        serde_json::from_value(json!({
            "id": "q-17", "question": "Where do whales sleep?", "answer": "B", "rationale": "They float.",
            "choices": [{"label": "A", "text": "in a nest"}, {"label": "B", "text": "in the Ocean"}],
            "kind": "sea", "cues": ["gills"], "flaw": "none"
        }))
        .unwrap()
    }

    #[test]
    fn a_filter_that_may_be_a_mistake_has_a_hint() {
        assert!(Filter::parse("whale has:foo").hint().unwrap().contains("rationale, answer"));
        assert!(Filter::parse("colour:red").hint().is_some());
        assert_eq!(Filter::parse("whale has:rationale answer:B").hint(), None);
    }

    #[test]
    fn terms_are_texts_and_fields_and_all_must_hold() {
        for (text, found) in [
            ("", true),
            ("WHALE", true),
            ("ocean sleep", true),
            ("ocean barn", false),
            ("float", true),
            ("q-17", true),
            ("id:17", true),
            ("id:18", false),
            ("answer:b", true),
            ("answer:A", false),
            ("has:rationale", true),
            ("no:rationale", false),
            ("has:highlight", false),
            ("has:flaw", true),
            ("kind:sea", true),
            ("kind:bird", false),
            ("cues:gills", true),
            ("missing:x", false),
            ("answer:b kind:sea whale", true),
            ("kind:", false),
        ] {
            assert_eq!(Filter::parse(text).matches(&example()), found, "{text}");
        }
    }
}
