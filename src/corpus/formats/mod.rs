//! What others publish, record by record: the official files of five data sets, and a mapping for any others.
//!
//! [`records`] opens any file as a stream of JSON values; a format turns one value into an [`Example`], a rationale, or
//! the reason why it is neither. The functions here read no files and write none.

pub mod bytes;
pub mod choices;
mod cos_e;
pub mod json;
pub mod mapping;
mod openbookqa;
mod parquet;
pub mod path;
mod quarel;
pub mod records;
mod stem;
mod step_by_step;

use std::str::FromStr;

use serde_json::{Map, Value};

use super::{Example, SourceRationale, did_you_mean, nearest};
use crate::text;
use choices::scalar;
use mapping::Mapping;

/// A published form of questions or rationales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    CommonsenseQa,
    CosE,
    OpenBookQa,
    Quarel,
    StepByStep,
    /// Questions in any form, through a [`Mapping`].
    Mapping,
    /// Rationales in any form, through a [`Mapping`].
    Rationales,
}

/// What a format is called and what its publishers say of it.
struct Known {
    format: Format,
    name: &'static str,
    licence: Option<&'static str>,
    description: Option<&'static str>,
}

const KNOWN: [Known; 7] = [
    Known {
        format: Format::CommonsenseQa,
        name: "commonsenseqa",
        licence: Some("MIT"),
        description: Some("CommonsenseQA: everyday knowledge, five choices (Talmor et al. 2019)"),
    },
    Known { format: Format::CosE, name: "cos-e", licence: Some("BSD-3-Clause"), description: None },
    Known {
        format: Format::OpenBookQa,
        name: "openbookqa",
        licence: Some("Apache-2.0"),
        description: Some("OpenBookQA: elementary science, four choices (Mihaylov et al. 2018)"),
    },
    Known {
        format: Format::Quarel,
        name: "quarel",
        licence: Some("CC-BY-4.0"),
        description: Some("QuaRel: qualitative relations, two choices (Tafjord et al. 2019)"),
    },
    Known {
        format: Format::StepByStep,
        name: "step-by-step",
        licence: Some("Apache-2.0"),
        description: Some("CommonsenseQA with explanations, as Distilling Step-by-Step has it (Hsieh et al. 2023)"),
    },
    Known { format: Format::Mapping, name: "mapping", licence: None, description: None },
    Known { format: Format::Rationales, name: "rationales", licence: None, description: None },
];

impl Format {
    /// The names that `--format` takes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|known| known.name)
    }

    fn known(self) -> &'static Known {
        // Every format stands in the table; a test says so.
        KNOWN.iter().find(|known| known.format == self).unwrap_or(&KNOWN[0])
    }

    pub fn name(self) -> &'static str {
        self.known().name
    }

    /// The licence under which the data was published, where there is one publisher.
    pub fn licence(self) -> Option<&'static str> {
        self.known().licence
    }

    pub fn description(self) -> Option<&'static str> {
        self.known().description
    }

    /// Whether records are rationales for questions that are there already.
    pub fn joins(self) -> bool {
        matches!(self, Self::CosE | Self::Rationales)
    }

    /// Whether records are read through a [`Mapping`].
    pub fn is_mapped(self) -> bool {
        matches!(self, Self::Mapping | Self::Rationales)
    }

    /// Turns a record into what it stands for. Errors say why it is nothing, without its place.
    pub fn take(self, record: &Value, place: &Place, mapping: &Mapping) -> Result<Taken, String> {
        if !record.is_object() {
            return Err(format!("the row is no object but {}", text::excerpt(&record.to_string(), 40)));
        }
        Ok(match self {
            Self::CommonsenseQa => Taken::question(stem::example(record)?),
            Self::OpenBookQa => openbookqa::example(record)?,
            Self::Quarel => Taken::question(quarel::example(record, place)?),
            Self::StepByStep => Taken::question(step_by_step::example(record)?),
            Self::Mapping => Taken::question(mapping.example(record, place)?),
            Self::CosE => Taken::Rationales(vec![cos_e::rationale(record)?]),
            Self::Rationales => Taken::Rationales(said(mapping.rationales(record, place)?)?),
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = KNOWN.iter().find(|known| known.name == name);
        known.map(|known| known.format).ok_or_else(|| {
            let nearest = nearest(name, Self::names());
            format!("unknown format `{}`{}", text::line(name), did_you_mean(&nearest))
        })
    }
}

/// Where a record stands.
pub struct Place<'a> {
    pub split: &'a str,
    /// The number of the record in its split, from 1.
    pub number: usize,
    /// Its key, in an object of objects.
    pub key: Option<&'a str>,
}

/// What a record became.
#[derive(Debug)]
pub enum Taken {
    /// A question, and rationales that belong to sources of their own.
    Question(Box<Example>, Vec<SourceRationale>),
    /// Rationales for questions that are there already.
    Rationales(Vec<SourceRationale>),
}

impl Taken {
    fn question(example: Example) -> Self {
        Self::Question(Box::new(example), Vec::new())
    }
}

/// Rationales that say something: an empty one is no rationale to import.
fn said(rationales: Vec<SourceRationale>) -> Result<Vec<SourceRationale>, String> {
    let blank = |one: &SourceRationale| one.rationale.as_deref().is_none_or(|text| text.trim().is_empty());
    if rationales.is_empty() || rationales.iter().any(blank) {
        return Err("the rationale is empty".into());
    }
    Ok(rationales)
}

/// The names that an example has for itself.
const OWN_FIELDS: [&str; 7] = ["id", "question", "choices", "answer", "rationale", "rationale_source", "highlights"];

/// Keeps a published field beside those of the example. One that would be taken for the example's own is renamed.
fn keep(extra: &mut Map<String, Value>, name: &str, value: &Value) {
    let name = if OWN_FIELDS.contains(&name) { format!("original_{name}") } else { name.to_owned() };
    extra.insert(name, value.clone());
}

/// The text of a field that must be there.
fn needed(record: &Value, field: &str) -> Result<String, String> {
    match optional(record, field)? {
        Some(text) if !text.trim().is_empty() => Ok(text),
        Some(_) => Err(format!("`{field}` is empty")),
        None => Err(missing(record, field)),
    }
}

/// The text of a field that may be left out.
fn optional(record: &Value, field: &str) -> Result<Option<String>, String> {
    record.get(field).map_or(Ok(None), scalar).map_err(|problem| format!("`{field}` {problem}"))
}

fn missing(record: &Value, field: &str) -> String {
    if record.get(field).is_some() {
        return format!("`{field}` is empty");
    }
    let known: Vec<&str> = record.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    format!("no field `{field}` · the row has {}", text::excerpt(&known.join(", "), 80))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub fn place() -> Place<'static> {
        Place { split: "train", number: 7, key: None }
    }

    #[test]
    fn every_format_has_its_own_name() {
        for known in KNOWN {
            assert_eq!(known.name.parse::<Format>().unwrap(), known.format);
            assert_eq!(known.format.name(), known.name);
        }
        let error = "comonsenseqa".parse::<Format>().unwrap_err();
        assert_eq!(error, "unknown format `comonsenseqa` · did you mean `commonsenseqa`?");
    }

    #[test]
    fn a_row_that_is_no_object_is_refused_by_all() {
        for format in Format::names().map(|name| name.parse::<Format>().unwrap()) {
            let error = format.take(&json!([1, 2]), &place(), &Mapping::default()).unwrap_err();
            assert_eq!(error, "the row is no object but [1,2]");
        }
    }
}
