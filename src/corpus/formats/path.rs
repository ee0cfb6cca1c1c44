//! Path expressions such as `question.choices[*].text`: where in a record a field is found.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::text;

/// A path into a record.
///
/// `a.b` goes into objects, `a[0]` into arrays, `a[*]` and `a.*` to every part, `["a.b"]` to a key that has points or
/// brackets in it. A record that has a field with the whole path for its name, as flattened tables do, gives that field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    written: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Place(usize),
    Every,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Nothing,
    One(Value),
    /// Through `*`; a part without the rest of the path is null.
    Many(Vec<Value>),
}

impl Path {
    /// The path to a field of the record itself.
    pub fn field(name: &str) -> Self {
        Self { written: name.into(), steps: vec![Step::Key(name.into())] }
    }

    /// The field of the record that the path goes into.
    pub fn root<'a>(&'a self, record: &Value) -> Option<&'a str> {
        if record.get(&self.written).is_some() {
            return Some(&self.written);
        }
        match self.steps.first() {
            Some(Step::Key(key)) => Some(key),
            _ => None,
        }
    }

    pub fn find(&self, record: &Value) -> Found {
        if let Some(value) = record.get(&self.written) {
            return Found::One(value.clone());
        }
        let mut many = false;
        let mut places: Vec<Value> = Vec::new();
        for (depth, step) in self.steps.iter().enumerate() {
            many = many || *step == Step::Every;
            places = match depth {
                0 => step.take(record),
                _ => places.into_iter().flat_map(|value| step.take(&unpacked(value))).collect(),
            };
        }
        match places.pop() {
            value if many => Found::Many(places.into_iter().chain(value).collect()),
            Some(Value::Null) | None => Found::Nothing,
            Some(value) => Found::One(value),
        }
    }
}

impl Step {
    fn take(&self, value: &Value) -> Vec<Value> {
        match (self, value) {
            (Self::Key(key), Value::Object(fields)) => vec![fields.get(key).cloned().unwrap_or(Value::Null)],
            (Self::Place(place), Value::Array(parts)) => vec![parts.get(*place).cloned().unwrap_or(Value::Null)],
            (Self::Every, Value::Array(parts)) => parts.clone(),
            (Self::Every, Value::Object(fields)) => fields.values().cloned().collect(),
            (Self::Every, _) => Vec::new(),
            _ => vec![Value::Null],
        }
    }
}

/// A cell of a table may hold JSON as text.
pub fn unpacked(value: Value) -> Value {
    match &value {
        Value::String(text) if text.trim_start().starts_with(['[', '{']) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::line(&self.written))
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let wrong = |problem: &str| format!("`{}` is no path: {problem}", text::line(written));
        let mut steps = Vec::new();
        let mut rest = written.trim();
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let (step, after) = match inner.strip_prefix('"') {
                    Some(quoted) => {
                        let (key, after) = quoted.split_once("\"]").ok_or_else(|| wrong("`\"]` is missing"))?;
                        (Step::Key(key.into()), after)
                    }
                    None => {
                        let (place, after) = inner.split_once(']').ok_or_else(|| wrong("`]` is missing"))?;
                        let step = match place.trim() {
                            "*" => Step::Every,
                            place => Step::Place(place.parse().map_err(|_| wrong("`[…]` holds a number from 0 or *"))?),
                        };
                        (step, after)
                    }
                };
                steps.push(step);
                rest = after;
            } else {
                let key = if steps.is_empty() { rest } else { rest.strip_prefix('.').unwrap_or("") };
                let end = key.find(['.', '[']).unwrap_or(key.len());
                match &key[..end] {
                    "" => return Err(wrong("a field's name is missing")),
                    "*" => steps.push(Step::Every),
                    name => steps.push(Step::Key(name.into())),
                }
                rest = &key[end..];
            }
        }
        if steps.is_empty() {
            return Err(wrong("it is empty"));
        }
        Ok(Self { written: written.trim().into(), steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn find(path: &str, record: &Value) -> Found {
        path.parse::<Path>().unwrap().find(record)
    }

    #[test]
    fn paths_lead_into_objects_and_arrays() {
        let record =
            json!({"question": {"stem": "why?", "choices": [{"text": "a"}, {"label": "B"}]}, "o": {"x": 1, "y": 2}});
        assert_eq!(find("question.stem", &record), Found::One(json!("why?")));
        assert_eq!(find("question.choices[0].text", &record), Found::One(json!("a")));
        assert_eq!(find("question.choices[*].text", &record), Found::Many(vec![json!("a"), Value::Null]));
        assert_eq!(find("o.*", &record), Found::Many(vec![json!(1), json!(2)]));
        for missing in ["answer", "question.choices[7]", "question.stem.more", "question.choices.text"] {
            assert_eq!(find(missing, &record), Found::Nothing, "{missing}");
        }
        assert_eq!(find("question.none[*]", &record), Found::Many(vec![]));
    }

    #[test]
    fn a_flattened_name_and_a_quoted_one_are_fields() {
        let record = json!({"question.stem": "flat", "a[0]": {"b.c": 3}});
        assert_eq!(find("question.stem", &record), Found::One(json!("flat")));
        assert_eq!(find(r#"["a[0]"]["b.c"]"#, &record), Found::One(json!(3)));
    }

    #[test]
    fn a_cell_that_holds_json_is_gone_into() {
        let record = json!({"choices": "[{\"text\": \"a\"}, {\"text\": \"b\"}]", "note": "[see below]"});
        assert_eq!(find("choices[*].text", &record), Found::Many(vec![json!("a"), json!("b")]));
        assert_eq!(find("note", &record), Found::One(json!("[see below]")));
    }

    #[test]
    fn a_wrong_path_says_what_is_wrong() {
        for (path, problem) in
            [("", "empty"), ("a..b", "name is missing"), ("a[", "`]`"), ("a[x]", "a number"), ("a[\"b", "`\"]`")]
        {
            let error = path.parse::<Path>().unwrap_err();
            assert!(error.contains(problem), "{path}: {error}");
        }
    }
}
