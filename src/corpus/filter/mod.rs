//! Finding examples by what they say: `whale answer:B (rationale.words>30 or correct:false)`.
//!
//! | written | holds for rows |
//! |---|---|
//! | `whale` | with this text in the question, a choice, the rationale or the id |
//! | `"two words"` | with exactly this text; quotes also keep `and`, `or`, `not` and signs from meaning something |
//! | `/wh?ale/` | where this regex is found in one of those |
//! | `answer:B`, `kind:sea` | whose field holds this; `answer` and `predicted` must be this label or the text of its choice |
//! | `rationale.words>30` | whose field compares so: `>` `>=` `<` `<=` `=` `!=`; numbers as numbers, texts as texts |
//! | `question~/^who/` | where the regex is found in this field |
//! | `has:rationale`, `no:answer` | which have it, or lack it |
//! | `is:right`, `is:wrong`, `is:marked` | answered so by the student whose answers are shown, or marked |
//!
//! Conditions beside each other must all hold; `and`, `or`, `not` and parentheses are there as well. Upper and lower
//! case are one.

pub mod field;
mod parse;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;

use regex::{Regex, RegexBuilder};

pub use field::{Field, Known, Value};
pub use parse::Mistake;

use super::Example;

/// Bytes that a compiled regex may take: it is compiled while it is typed.
const REGEX_SIZE: usize = 1 << 20;

/// What to look for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// `None` holds for every row.
    expression: Option<Expression>,
    known: Known,
}

/// Conditions and how they hang together.
#[derive(Clone, Debug, PartialEq)]
enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Term(Term),
}

/// One condition. Texts are in lower case.
#[derive(Clone, Debug, PartialEq)]
enum Term {
    /// Somewhere in the question, the choices, the rationale or the id.
    Text(String),
    Pattern(Pattern),
    Has(String),
    Lacks(String),
    /// Answered rightly, or wrongly, by the student whose answers are shown.
    Right(bool),
    Marked(bool),
    Contains(Field, String),
    Compare(Field, Comparison, String),
    Like(Field, Pattern),
}

/// How a field compares with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    AtMost,
    Unequal,
    More,
    Less,
    Equal,
}

impl Comparison {
    /// Longer signs before those that they begin with.
    const ALL: [Self; 6] = [Self::AtLeast, Self::AtMost, Self::Unequal, Self::More, Self::Less, Self::Equal];

    fn sign(self) -> &'static str {
        match self {
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::Unequal => "!=",
            Self::More => ">",
            Self::Less => "<",
            Self::Equal => "=",
        }
    }
}

/// A regex as it was written. Its matching takes linear time, so no pattern can stall a search.
#[derive(Clone, Debug)]
struct Pattern {
    source: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Pattern {
    fn new(source: &str) -> Result<Self, String> {
        Ok(Self { source: source.into(), regex: typed_regex(source, true)? })
    }
}

/// The regex that a person typed, or what is wrong with it in a few words.
pub(super) fn typed_regex(source: &str, is_any_case: bool) -> Result<Regex, String> {
    RegexBuilder::new(source).case_insensitive(is_any_case).size_limit(REGEX_SIZE).build().map_err(regex_problem)
}

/// What is wrong with a regex.
pub(super) fn regex_problem(error: regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "this regex is too large".to_owned(),
        // The message has a picture of the pattern first and what is wrong in its last line.
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

/// What `has:` and `no:` know beside the fields of a row.
const KNOWN: [&str; 4] = ["rationale", "answer", "highlight", "highlights"];

impl Filter {
    /// Reads a filter.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        Ok(Self { expression: parse::parse(text)?, known: Known::default() })
    }

    /// The same with what is known beside the rows.
    pub fn with(self, known: Known) -> Self {
        Self { known, ..self }
    }

    /// The same with the edits of each rationale.
    pub fn with_edits(mut self, edits: HashMap<String, usize>) -> Self {
        self.known.edits = edits;
        self
    }

    /// What is known beside the rows.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Whether it asks for what a student answered.
    pub fn needs_answers(&self) -> bool {
        self.any_term(&|term| match term {
            Term::Right(_) => true,
            Term::Contains(field, _) | Term::Compare(field, ..) | Term::Like(field, _) => field.needs_answers(),
            _ => false,
        })
    }

    /// Whether it asks for what is marked.
    pub fn needs_marks(&self) -> bool {
        self.any_term(&|term| match term {
            Term::Marked(_) => true,
            Term::Contains(field, _) | Term::Compare(field, ..) | Term::Like(field, _) => *field == Field::Marked,
            _ => false,
        })
    }

    /// Whether it holds for every row.
    pub fn is_empty(&self) -> bool {
        self.expression.is_none()
    }

    /// What to say when nothing is found and the filter may not mean what was meant.
    pub fn hint(&self) -> Option<&'static str> {
        let named =
            |term: &Term| matches!(term, Term::Has(what) | Term::Lacks(what) if !KNOWN.contains(&what.as_str()));
        let other = |term: &Term| {
            matches!(
                term,
                Term::Contains(Field::Other(_), _)
                    | Term::Compare(Field::Other(_), ..)
                    | Term::Like(Field::Other(_), _)
            )
        };
        if self.any_term(&named) {
            Some("has: and no: take rationale, answer, highlights, or the name of a field")
        } else if self.any_term(&other) {
            Some("NAME:TEXT looks into the field NAME of the rows")
        } else {
            None
        }
    }

    /// Whether an example is what is looked for; `row` is 0 for the first of the split.
    pub fn matches(&self, row: usize, example: &Example) -> bool {
        self.expression.as_ref().is_none_or(|expression| expression.holds(row, example, &self.known))
    }

    fn any_term(&self, wanted: &dyn Fn(&Term) -> bool) -> bool {
        self.expression.as_ref().is_some_and(|expression| expression.any_term(wanted))
    }
}

impl Expression {
    fn any_term(&self, wanted: &dyn Fn(&Term) -> bool) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.any_term(wanted)),
            Self::Not(part) => part.any_term(wanted),
            Self::Term(term) => wanted(term),
        }
    }

    fn holds(&self, row: usize, example: &Example, known: &Known) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(row, example, known)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(row, example, known)),
            Self::Not(part) => !part.holds(row, example, known),
            Self::Term(term) => term.holds(row, example, known),
        }
    }
}

impl Term {
    fn holds(&self, row: usize, example: &Example, known: &Known) -> bool {
        match self {
            Self::Text(wanted) => any_text(example, &|text| contains(text, wanted)),
            Self::Pattern(pattern) => any_text(example, &|text| pattern.regex.is_match(text)),
            Self::Has(what) => has(example, what),
            Self::Lacks(what) => !has(example, what),
            Self::Right(wanted) => known.answered.get(&example.id).is_some_and(|(_, right)| right == wanted),
            Self::Marked(wanted) => known.marked.contains(&example.id) == *wanted,
            Self::Contains(field, wanted) => match (field, field.value(row, example, known)) {
                (Field::Answer | Field::Predicted, Value::Text(label)) => is_choice(example, &label, wanted),
                (Field::Choices, value) => {
                    equal(&value, wanted) || example.choices.iter().any(|choice| contains(&choice.text, wanted))
                }
                (_, Value::Text(text)) => contains(&text, wanted),
                (_, value) => equal(&value, wanted),
            },
            Self::Compare(field, comparison, wanted) => {
                let value = field.value(row, example, known);
                let is_equal = || match (field, &value) {
                    (Field::Answer | Field::Predicted, Value::Text(label)) => is_choice(example, label, wanted),
                    _ => equal(&value, wanted),
                };
                match comparison {
                    Comparison::Equal => is_equal(),
                    Comparison::Unequal => !is_equal(),
                    Comparison::More => order(&value, wanted).is_some_and(Ordering::is_gt),
                    Comparison::Less => order(&value, wanted).is_some_and(Ordering::is_lt),
                    Comparison::AtLeast => order(&value, wanted).is_some_and(Ordering::is_ge),
                    Comparison::AtMost => order(&value, wanted).is_some_and(Ordering::is_le),
                }
            }
            Self::Like(Field::Choices, pattern) => {
                example.choices.iter().any(|choice| pattern.regex.is_match(&choice.text))
            }
            Self::Like(field, pattern) => match field.value(row, example, known) {
                Value::Missing => false,
                value => pattern.regex.is_match(&value.to_string()),
            },
        }
    }
}

fn any_text(example: &Example, holds: &dyn Fn(&str) -> bool) -> bool {
    holds(&example.question)
        || holds(&example.id)
        || example.choices.iter().any(|choice| holds(&choice.text))
        || example.rationale.as_deref().is_some_and(holds)
}

fn contains(text: &str, wanted: &str) -> bool {
    text.to_lowercase().contains(wanted)
}

/// Whether a label, or the text of its choice, is what is wanted.
fn is_choice(example: &Example, label: &str, wanted: &str) -> bool {
    let text = example.choices.iter().find(|choice| choice.label == label).map(|choice| choice.text.to_lowercase());
    label.to_lowercase() == wanted || text.is_some_and(|text| text == wanted)
}

fn has(example: &Example, what: &str) -> bool {
    match what {
        "rationale" => example.has_rationale(),
        "answer" => example.gold().is_some(),
        "highlight" | "highlights" => !example.highlights.is_empty(),
        field => example.extra.keys().any(|name| name.to_lowercase() == field),
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

fn equal(value: &Value, wanted: &str) -> bool {
    match value {
        Value::Missing => false,
        Value::Flag(flag) => wanted == if *flag { "true" } else { "false" },
        Value::Number(own) => number(wanted) == Some(*own),
        Value::Text(text) => {
            text.to_lowercase() == wanted || number(text).is_some_and(|own| number(wanted) == Some(own))
        }
    }
}

/// How a value stands to the wanted one, where the two can be compared.
fn order(value: &Value, wanted: &str) -> Option<Ordering> {
    match (value, number(wanted)) {
        (Value::Number(own), Some(wanted)) => own.partial_cmp(&wanted),
        (Value::Text(text), Some(wanted)) => number(text)?.partial_cmp(&wanted),
        (Value::Text(text), None) => Some(text.to_lowercase().as_str().cmp(wanted)),
        _ => None,
    }
}

impl fmt::Display for Filter {
    /// The filter in its plainest form, which means the same.
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        self.expression.as_ref().map_or(Ok(()), |expression| expression.fmt(out))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let joined = |out: &mut fmt::Formatter, parts: &[Self], between: &str| {
            parts.iter().enumerate().try_for_each(|(place, part)| {
                out.write_str(if place > 0 { between } else { "" })?;
                part.fmt_inside(out)
            })
        };
        match self {
            Self::All(parts) => joined(out, parts, " "),
            Self::Any(parts) => joined(out, parts, " or "),
            Self::Not(part) => {
                out.write_str("not ")?;
                part.fmt_inside(out)
            }
            Self::Term(term) => term.fmt(out),
        }
    }
}

impl Expression {
    fn fmt_inside(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::All(_) | Self::Any(_) => write!(out, "({self})"),
            other => write!(out, "{other}"),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Text(text) => out.write_str(&quoted(text)),
            Self::Pattern(pattern) => write!(out, "/{}/", pattern.source),
            Self::Has(what) => write!(out, "has:{}", quoted(what)),
            Self::Lacks(what) => write!(out, "no:{}", quoted(what)),
            Self::Right(true) => out.write_str("is:right"),
            Self::Right(false) => out.write_str("is:wrong"),
            Self::Marked(true) => out.write_str("is:marked"),
            Self::Marked(false) => out.write_str("marked:false"),
            Self::Contains(field, value) => write!(out, "{field}:{}", quoted(value)),
            Self::Compare(field, comparison, value) => write!(out, "{field}{}{}", comparison.sign(), quoted(value)),
            Self::Like(field, pattern) => write!(out, "{field}~/{}/", pattern.source),
        }
    }
}

fn quoted(text: &str) -> String {
    if parse::is_plain(text) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn example() -> Example {
        serde_json::from_value(json!({
            "id": "q-17", "question": "Where do whales sleep?", "answer": "B", "rationale": "They float.",
            "choices": [{"label": "A", "text": "in a nest"}, {"label": "B", "text": "in the Ocean"}],
            "kind": "sea", "cues": ["gills"], "flaw": "none", "score": 2.5, "level": "11"
        }))
        .unwrap()
    }

    #[test]
    fn a_filter_that_may_be_a_mistake_has_a_hint() {
        let parse = |text| Filter::parse(text).unwrap();
        assert!(parse("whale has:foo").hint().unwrap().contains("rationale, answer"));
        assert!(parse("colour:red").hint().is_some());
        assert_eq!(parse("whale has:rationale answer:B").hint(), None);
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
            ("answer:ocean", false),
            (r#"answer:"in the ocean""#, true),
            ("is:wrong", true),
            ("correct:true", false),
            ("predicted:a", true),
            ("predicted!=B", true),
            ("marked", true),
            ("marked:false", false),
            ("whale or barn", true),
            ("barn or not whale", false),
            ("barn and ocean or sleep", true),
            ("barn and (ocean or sleep)", false),
            ("not (barn or nest and not ocean)", true),
            (r#""whales sleep""#, true),
            (r#""sleep whales""#, false),
            ("/WHALES? sl..p/", true),
            ("/^in the/ /float.$/", true),
            ("question~/^where/", true),
            ("rationale ~ /^where/", false),
            ("choices~/nest$/", true),
            ("choices=2", true),
            ("choices > 2", false),
            ("choices:nest", true),
            ("rationale.words>=2 rationale.words<=2", true),
            ("rationale.chars>12", false),
            ("question.words!=4", false),
            ("row=8", true),
            ("row>8", false),
            ("score>0.5", true),
            ("score>9", false),
            ("score=2.50", true),
            ("level>=10", true),
            ("kind>reef", true),
            ("kind<10", false),
            ("missing!=x", true),
            ("missing<3", false),
            ("edits>1", true),
        ] {
            let known = Known {
                answered: [("q-17".to_owned(), (Some("A".to_owned()), false))].into(),
                marked: std::sync::Arc::new(["q-17".to_owned()].into()),
                edits: [("q-17".to_owned(), 2)].into(),
            };
            assert_eq!(Filter::parse(text).unwrap().with(known).matches(7, &example()), found, "{text}");
        }
    }

    #[test]
    fn a_mistake_has_its_place_and_its_reason() {
        for (text, column, reason) in [
            ("kind:", 6, "a value is missing after kind:"),
            ("rationale ~ whale", 13, "a regex begins with /"),
            ("whale or", 9, "something to look for is missing"),
            ("é (a or b", 10, "a ) is missing for the ( in column 3"),
            ("a )", 3, "closes nothing"),
            ("or b", 1, "stands between two conditions"),
            ("a and and b", 7, "\"and\" is the word"),
            ("not", 4, "something to look for"),
            ("\"two words", 1, "not closed"),
            ("x /(a/", 4, "unclosed group"),
            ("/a", 1, "no closing /"),
            ("/a/b", 4, "a blank follows"),
            ("is:w", 4, "right, wrong or marked"),
            ("correct:maybe", 9, "true or false"),
            ("rationale.words >", 18, "a value is missing after rationale.words>"),
            (r"/\w{999}{999}{999}/", 2, "too large"),
        ] {
            let mistake = Filter::parse(text).unwrap_err();
            assert_eq!(mistake.column, column, "{text}: {mistake}");
            assert!(mistake.reason.contains(reason), "{text}: {mistake}");
        }
        assert!(Filter::parse(&"(".repeat(100_000)).unwrap_err().reason.contains("nested"));
        assert!(Filter::parse(&"not ".repeat(100_000)).unwrap_err().reason.contains("nested"));
    }

    #[test]
    fn what_is_written_out_means_the_same() {
        for (text, plain) in [
            ("a AND b", "a b"),
            ("a b or c", "(a b) or c"),
            ("((a))", "a"),
            ("\"and\" \"a\\\"b\"", "\"and\" \"a\\\"b\""),
            ("Kind = \"x y\"", "kind=\"x y\""),
            ("correct:false marked", "is:wrong is:marked"),
            ("not (a or b)", "not (a or b)"),
        ] {
            assert_eq!(Filter::parse(text).unwrap().to_string(), plain);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "\\PC*") {
            let _ = Filter::parse(&text);
        }

        #[test]
        fn a_filter_survives_being_written_out(words in proptest::collection::vec(
            proptest::sample::select(vec![
                "and", "or", "not", "(", ")", "whale", "\"", "\\", "/", "kind", ":", "~", "<", ">=", "!=", "=", " ", "  ",
                "B", "\"two words\"", "/a+/", "is:", "right", "has:", "marked", "3", ".5", "rationale.words", "İ", "ΑΣ", "?",
            ]), 0..14,
        )) {
            if let Ok(filter) = Filter::parse(&words.concat()) {
                let written = filter.to_string();
                proptest::prop_assert_eq!(Filter::parse(&written), Ok(filter), "{}", written);
            }
        }
    }
}
