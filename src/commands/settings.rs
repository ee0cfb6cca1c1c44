//! What several commands read from their arguments.

use std::path::Path;

use crate::corpus::{CorpusError, Dataset, Example, Split};
use crate::files;
use crate::runs::{RunError, RunSpec};
use crate::text;

/// Reads a `RUN.yaml` or a bare recipe, with overrides; the defaults without a file.
pub fn read(file: Option<&Path>, overrides: &[String]) -> Result<RunSpec, RunError> {
    let Some(path) = file else { return RunSpec::parse("", Path::new("the defaults"), overrides) };
    let written = files::read_to_string(path)?;
    let keys: Option<serde_json::Map<String, serde_json::Value>> = serde_yaml::from_str(&written).ok();
    let is_recipe =
        keys.is_some_and(|keys| ["placement", "source", "ablations", "hide"].iter().any(|key| keys.contains_key(*key)));
    if !is_recipe {
        return RunSpec::parse(&written, path, overrides);
    }
    // A recipe is the `rationale` part of a run. Each line keeps its number, so that errors name the right one.
    let indented: Vec<String> = written.lines().map(|line| format!("  {line}")).collect();
    let first = indented.first().cloned().unwrap_or_default();
    let rest = indented.get(1..).unwrap_or_default().join("\n");
    let text = if first.trim().starts_with('{') {
        format!("rationale: {}\n{rest}", first.trim())
    } else {
        format!("rationale:\n{first}\n{rest}")
    };
    RunSpec::parse(&text, path, overrides)
}

/// Finds an example by id, in one split or in all.
pub fn find_example(
    dataset: &Dataset,
    split: Option<&str>,
    id: &str,
    source: &str,
) -> Result<(Split, usize, Example), CorpusError> {
    let names: Vec<String> = match split {
        Some(name) => vec![name.into()],
        None => dataset.split_names().map(str::to_owned).collect(),
    };
    for name in &names {
        let split = dataset.split(name)?;
        match split.find(id, source) {
            Ok((place, example)) => return Ok((split, place, example)),
            Err(CorpusError::UnknownId { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let (dataset, id) = (dataset.name().to_owned(), text::line(id).into_owned());
    Err(match <[String; 1]>::try_from(names) {
        Ok([split]) => CorpusError::UnknownId { dataset, split, id },
        Err(names) => CorpusError::UnknownIdAnywhere { dataset, known: names.join(", "), id },
    })
}
