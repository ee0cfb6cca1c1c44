//! A mapping from the fields of any file to those of an example or a rationale: `question=question.stem`.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::choices::{self, AnswerIs, scalar};
use super::path::{Found, Path};
use super::{Format, Place, keep, missing};
use crate::corpus::example::letter;
use crate::corpus::{Choice, Example, SourceRationale, did_you_mean, nearest};
use crate::text;

/// The fields that can be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Id,
    Question,
    Choices,
    Labels,
    Answer,
    Rationale,
    RationaleSource,
    Sample,
    TeacherAnswer,
}

impl Field {
    const ALL: [(&str, Self); 9] = [
        ("id", Self::Id),
        ("question", Self::Question),
        ("choices", Self::Choices),
        ("labels", Self::Labels),
        ("answer", Self::Answer),
        ("rationale", Self::Rationale),
        ("rationale_source", Self::RationaleSource),
        ("sample", Self::Sample),
        ("teacher_answer", Self::TeacherAnswer),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }
}

/// Where the value of a field comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Path(Path),
    /// The same for every row.
    Constant(String),
}

/// Which fields come from where. A field that isn't mapped comes from the file's field of the same name, if there is one;
/// the default is for files that have the usual names already.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    fields: Vec<(Field, Vec<Origin>)>,
    /// Leave out the fields that nothing is mapped to, which are kept otherwise.
    pub drop_others: bool,
    pub answer_is: AnswerIs,
}

impl Mapping {
    /// Reads `FIELD=PATH` and `FIELD='constant'`; choices and labels may have several, parted by commas.
    pub fn parse<'a>(maps: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut mapping = Self::default();
        for map in maps {
            let (name, origins) = map.split_once('=').ok_or_else(|| {
                format!("`{}` is no mapping · write FIELD=PATH, for example question=question.stem", text::line(map))
            })?;
            let known = Field::ALL.iter().find(|(known, _)| *known == name.trim());
            let (name, field) = *known.ok_or_else(|| {
                let names = Field::ALL.map(|(known, _)| known);
                let nearest = did_you_mean(&nearest(name, names));
                format!("nothing can be mapped to `{}`{nearest} · there are {}", text::line(name), names.join(", "))
            })?;
            if mapping.origins(field).is_some() {
                return Err(format!("`{name}` is mapped twice · part several choices by commas"));
            }
            let several = matches!(field, Field::Choices | Field::Labels);
            let origins = if several { parted(origins) } else { vec![origins] };
            let origins = origins.into_iter().map(str::parse).collect::<Result<Vec<_>, _>>()?;
            mapping.fields.push((field, origins));
        }
        Ok(mapping)
    }

    /// Whether every mapped field is one that the format has.
    pub fn check(&self, format: Format) -> Result<(), String> {
        let belongs = |field: Field| match field {
            Field::Id | Field::Rationale | Field::RationaleSource => true,
            Field::Sample | Field::TeacherAnswer => format == Format::Rationales,
            _ => format == Format::Mapping,
        };
        match self.fields.iter().find(|(field, _)| !belongs(*field)) {
            Some((field, _)) => Err(format!("`{}` is no field of --format {}", field.name(), format.name())),
            None => Ok(()),
        }
    }

    /// Whether a field was mapped by name.
    pub fn has(&self, field: Field) -> bool {
        self.origins(field).is_some()
    }

    fn origins(&self, field: Field) -> Option<&[Origin]> {
        self.fields.iter().find(|(mapped, _)| *mapped == field).map(|(_, origins)| origins.as_slice())
    }

    /// What a field is in this record.
    fn find(&self, record: &Value, field: Field) -> Found {
        match self.origins(field) {
            Some([Origin::Path(path)]) => path.find(record),
            Some([Origin::Constant(text)]) => Found::One(text.clone().into()),
            Some(several) => Found::Many(several.iter().map(|origin| origin.value(record)).collect()),
            // Labels of their own name would be something else more often than not.
            None if field == Field::Labels => Found::Nothing,
            None => Path::field(field.name()).find(record),
        }
    }

    fn text(&self, record: &Value, field: Field) -> Result<Option<String>, String> {
        let text = match self.find(record, field) {
            Found::Nothing => return Ok(None),
            Found::One(value) => scalar(&value),
            Found::Many(_) => Err("has several values".into()),
        };
        text.map_err(|problem| format!("{} {problem}", field.name()))
    }

    /// One question, as it is mapped. A row without an id gets one from its split and its place.
    pub fn example(&self, record: &Value, place: &Place) -> Result<Example, String> {
        let question = self.text(record, Field::Question)?.ok_or_else(|| self.absent(record, Field::Question))?;
        if question.trim().is_empty() {
            return Err("the question is empty".into());
        }
        let choices = self.choices(record)?;
        let answer = match self.find(record, Field::Answer) {
            Found::Nothing => None,
            Found::One(value) => choices::answer(&choices, &value, self.answer_is)?,
            Found::Many(_) => return Err("answer has several values · every question has one answer here".into()),
        };
        let id = self.id(record, place)?.unwrap_or_else(|| format!("{}-{:06}", place.split, place.number));
        let rationale = self.text(record, Field::Rationale).map_err(|problem| {
            format!("{problem} · several rationales for a question are imported with --format rationales")
        })?;
        let rationale_source = self.text(record, Field::RationaleSource)?;
        // Those of our own exports; nobody else's field of that name can be read as ranges.
        let highlights = record.get("highlights").and_then(|ranges| serde_json::from_value(ranges.clone()).ok());
        let highlights = highlights.unwrap_or_default();
        let extra = self.kept(record);
        Ok(Example { id, question, choices, answer, rationale, rationale_source, highlights, extra })
    }

    /// The rationales of one row: more than one where the mapping leads to several.
    pub fn rationales(&self, record: &Value, place: &Place) -> Result<Vec<SourceRationale>, String> {
        let id = self.id(record, place)?.ok_or_else(|| self.absent(record, Field::Id))?;
        let texts = match self.find(record, Field::Rationale) {
            Found::Nothing if self.is_there(record, Field::Rationale) => vec![Value::Null],
            Found::Nothing => return Err(self.absent(record, Field::Rationale)),
            Found::One(Value::Array(several)) | Found::Many(several) => several,
            Found::One(value) => vec![value],
        };
        let sample = match self.text(record, Field::Sample)? {
            Some(sample) => sample
                .trim()
                .parse()
                .map_err(|_| format!("the sample `{}` is no number from 0", text::excerpt(&sample, 20)))?,
            None => 0,
        };
        let source = self.text(record, Field::RationaleSource)?;
        let teacher_answer = self.text(record, Field::TeacherAnswer)?;
        let extra = self.kept(record);
        let rationale = |(place, value): (usize, &Value)| {
            let rationale = scalar(value).map_err(|problem| format!("the rationale {problem}"))?;
            let (id, source, teacher_answer) = (id.clone(), source.clone(), teacher_answer.clone());
            Ok(SourceRationale { id, source, sample: sample + place, rationale, teacher_answer, extra: extra.clone() })
        };
        texts.iter().enumerate().map(rationale).collect()
    }

    fn id(&self, record: &Value, place: &Place) -> Result<Option<String>, String> {
        let id = self.text(record, Field::Id)?.filter(|id| !id.trim().is_empty());
        Ok(id.or_else(|| place.key.map(str::to_owned)))
    }

    fn choices(&self, record: &Value) -> Result<Vec<Choice>, String> {
        let several = self.origins(Field::Choices).is_some_and(|origins| origins.len() > 1);
        let found = match self.find(record, Field::Choices) {
            Found::Many(texts) if several => lettered(&texts)?,
            Found::Many(parts) => choices::choices(Value::Array(parts))?,
            Found::One(value) => choices::choices(value)?,
            Found::Nothing if !self.has(Field::Choices) && record.get("A").is_some() => {
                let columns = (0..).map(letter).map_while(|label| record.get(&label));
                lettered(&columns.cloned().collect::<Vec<_>>())?
            }
            Found::Nothing => return Err(self.absent(record, Field::Choices)),
        };
        if found.is_empty() {
            return Err("there are no choices".into());
        }
        match self.find(record, Field::Labels) {
            Found::Nothing => Ok(found),
            Found::One(Value::Array(labels)) | Found::Many(labels) => choices::labelled(found, &labels),
            Found::One(label) => choices::labelled(found, &[label]),
        }
    }

    /// Whether the record has the field, though it may hold nothing.
    fn is_there(&self, record: &Value, field: Field) -> bool {
        let root = match self.origins(field) {
            Some([origin]) => origin.root(record),
            _ => Some(field.name()),
        };
        root.is_some_and(|root| record.get(root).is_some())
    }

    /// Why a field that must be there isn't.
    fn absent(&self, record: &Value, field: Field) -> String {
        match self.origins(field) {
            Some([Origin::Path(path)]) => missing(record, &path.to_string()),
            // Mapped to another field it would be what nobody wrote.
            _ if record.get(field.name()).is_some() => missing(record, field.name()),
            _ => format!("{} · map it with --map {}=…", missing(record, field.name()), field.name()),
        }
    }

    /// The fields of the record that nothing is mapped to.
    fn kept(&self, record: &Value) -> Map<String, Value> {
        let mut extra = Map::new();
        if self.drop_others {
            return extra;
        }
        let mapped = self.fields.iter().flat_map(|(_, origins)| origins);
        let mut used: Vec<&str> = mapped.filter_map(|origin| origin.root(record)).collect();
        let by_name = Field::ALL.iter().filter(|(_, field)| !self.has(*field) && *field != Field::Labels);
        used.extend(by_name.map(|(name, _)| *name));
        let letters = !self.has(Field::Choices) && record.get("choices").is_none();
        let columns: Vec<String> =
            (0..).map(letter).take_while(|label| letters && record.get(label).is_some()).collect();
        for (name, value) in record.as_object().into_iter().flatten() {
            if !used.contains(&name.as_str()) && !columns.contains(name) && name != "highlights" {
                keep(&mut extra, name, value);
            }
        }
        extra
    }
}

/// Choices from several columns, of which the last may be empty: not every question has as many.
fn lettered(texts: &[Value]) -> Result<Vec<Choice>, String> {
    let filled =
        |value: &Value| !matches!(value, Value::Null) && value.as_str().is_none_or(|text| !text.trim().is_empty());
    let count = texts.iter().rposition(filled).map_or(0, |last| last + 1);
    choices::choices(Value::Array(texts[..count].to_vec()))
}

impl Origin {
    fn value(&self, record: &Value) -> Value {
        match self {
            Self::Constant(text) => text.clone().into(),
            Self::Path(path) => match path.find(record) {
                Found::Nothing => Value::Null,
                Found::One(value) => value,
                Found::Many(parts) => Value::Array(parts),
            },
        }
    }

    fn root<'a>(&'a self, record: &Value) -> Option<&'a str> {
        match self {
            Self::Constant(_) => None,
            Self::Path(path) => path.root(record),
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let written = written.trim();
        for quote in ['\'', '"'] {
            if let Some(inner) = written.strip_prefix(quote) {
                let inner = inner.strip_suffix(quote);
                return inner
                    .map(|text| Self::Constant(text.into()))
                    .ok_or_else(|| format!("`{}` begins with a quote and doesn't end with one", text::line(written)));
            }
        }
        written.parse().map(Self::Path)
    }
}

/// Parts at commas that stand in no quotes and no brackets.
fn parted(written: &str) -> Vec<&str> {
    let (mut parts, mut from, mut quote, mut depth) = (Vec::new(), 0, None, 0usize);
    for (at, c) in written.char_indices() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            ('[', None) => depth += 1,
            (']', None) => depth = depth.saturating_sub(1),
            (',', None) if depth == 0 => {
                parts.push(&written[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&written[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::super::tests::place;
    use super::*;
    use serde_json::json;

    fn map(maps: &[&str]) -> Mapping {
        Mapping::parse(maps.iter().copied()).unwrap()
    }

    fn choices(example: &Example) -> Vec<String> {
        example.choices.iter().map(|choice| format!("{} {}", choice.label, choice.text)).collect()
    }

    #[test]
    fn nested_fields_are_mapped_and_the_rest_kept_or_left_out() {
        let record = json!({"qid": 12, "question": {"stem": "why?", "choices": [{"text": "x"}, {"text": "y"}]},
            "key": "B", "why": "so", "answer": "unrelated", "note": 1});
        let mut mapping = map(&[
            "id=qid",
            "question=question.stem",
            "choices=question.choices[*].text",
            "answer=key",
            "rationale=why",
            "rationale_source='llama 3'",
        ]);
        let example = mapping.example(&record, &place()).unwrap();
        assert_eq!((example.id.as_str(), example.question.as_str()), ("12", "why?"));
        assert_eq!(choices(&example), ["A x", "B y"]);
        assert_eq!(example.answer.as_deref(), Some("B"));
        assert_eq!((example.rationale.as_deref(), example.rationale_source.as_deref()), (Some("so"), Some("llama 3")));
        assert_eq!(example.extra.keys().collect::<Vec<_>>(), ["original_answer", "note"]);
        mapping.drop_others = true;
        assert!(mapping.example(&record, &place()).unwrap().extra.is_empty());
    }

    #[test]
    fn a_row_of_a_table_is_mapped_by_its_columns() {
        let record = json!({"question": "why?", "opt1": "x", "opt2": "y", "opt3": null, "gold": "2"});
        let mut mapping = map(&["choices=opt1, opt2, opt3", "answer=gold"]);
        assert!(mapping.example(&record, &place()).unwrap_err().contains("--answer-is"));
        mapping.answer_is = AnswerIs::Index1;
        let example = mapping.example(&record, &place()).unwrap();
        assert_eq!((choices(&example), example.id.as_str()), (vec!["A x".into(), "B y".into()], "train-000007"));
        assert_eq!(example.answer.as_deref(), Some("B"));
        // A gap among the choices would move the places of those behind it.
        let gap = json!({"question": "why?", "opt1": "x", "opt2": null, "opt3": "z", "gold": "3"});
        assert!(mapping.example(&gap, &place()).unwrap_err().contains("choice 2 has no text"));
    }

    #[test]
    fn rows_in_the_usual_form_need_no_mapping() {
        let mapping = Mapping::default();
        let record = json!({"id": "q", "question": "why?", "A": "x", "B": "y", "C": null, "answer": "b", "topic": "t"});
        let example = mapping.example(&record, &place()).unwrap();
        assert_eq!((choices(&example), example.answer.as_deref()), (vec!["A x".into(), "B y".into()], Some("B")));
        assert_eq!(example.extra.keys().collect::<Vec<_>>(), ["topic"]);
        let listed = json!({"id": "q", "question": "why?", "choices": "[\"x\", \"y\"]"});
        assert_eq!(choices(&mapping.example(&listed, &place()).unwrap()), ["A x", "B y"]);
        let labelled = map(&["labels='1','2'"]).example(&listed, &place()).unwrap();
        assert_eq!(choices(&labelled), ["1 x", "2 y"]);
    }

    #[test]
    fn an_exported_row_comes_back_as_it_was() {
        let record = json!({"id": "q", "question": "why?", "choices": [{"label": "A", "text": "x"}], "answer": "A",
            "rationale": "so it is", "rationale_source": null, "highlights": [{"start": 0, "end": 2}], "topic": "t"});
        let example = Mapping::default().example(&record, &place()).unwrap();
        assert_eq!(serde_json::to_value(example).unwrap(), record);
    }

    #[test]
    fn several_rationales_in_a_row_are_samples() {
        let record = json!({"id": "q", "samples": ["one", "two"], "teacher_answer": "A", "gold": "A"});
        let mapping = map(&["rationale=samples[*]"]);
        let found = mapping.rationales(&record, &place()).unwrap();
        assert_eq!(
            found.iter().map(|one| (one.sample, one.rationale.as_deref())).collect::<Vec<_>>(),
            [(0, Some("one")), (1, Some("two"))]
        );
        assert_eq!((found[0].teacher_answer.as_deref(), &found[0].extra["gold"]), (Some("A"), &json!("A")));
        let one = Mapping::default().rationales(&json!({"id": "q", "rationale": "so", "sample": 3}), &place()).unwrap();
        assert_eq!(one[0].sample, 3);
    }

    #[test]
    fn a_field_that_is_not_there_is_named_with_those_that_are() {
        let record = json!({"id": "q", "text": "why?"});
        let error = Mapping::default().example(&record, &place()).unwrap_err();
        assert_eq!(error, "no field `question` · the row has id, text · map it with --map question=…");
        let error = map(&["question=stem"]).example(&record, &place()).unwrap_err();
        assert_eq!(error, "no field `stem` · the row has id, text");
        let nothing = json!({"id": "q", "question": null});
        let error = Mapping::default().example(&nothing, &place()).unwrap_err();
        assert_eq!(error, "`question` is empty");
        let error = map(&["question=text"]).example(&record, &place()).unwrap_err();
        assert!(error.contains("no field `choices`"), "{error}");
    }

    #[test]
    fn a_wrong_mapping_says_what_can_be_mapped() {
        for (maps, problem) in [
            (vec!["questoin=stem"], "did you mean `question`?"),
            (vec!["question"], "FIELD=PATH"),
            (vec!["id=a", "id=b"], "mapped twice"),
            (vec!["id='a"], "doesn't end"),
            (vec!["id=a[x]"], "a number"),
        ] {
            let error = Mapping::parse(maps).map(|_| ()).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
