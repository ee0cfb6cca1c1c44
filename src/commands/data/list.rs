//! `afterthought data list`.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::Context;
use super::super::output::print;
use super::{grouped, table};
use crate::corpus::dataset::Origin;
use crate::corpus::{Catalog, CorpusError, Dataset, spool};
use crate::text;

pub const EXAMPLES: &str = "\
Examples:
  afterthought data list
  afterthought data list --json | jq '.[].name'";

/// Rows are counted for this long; a file that takes longer is shown with the rows counted so far.
const PATIENCE: Duration = Duration::from_millis(400);
/// Larger files aren't converted only to be counted.
const LARGEST_CONVERSION: u64 = 16 << 20;

#[derive(Serialize)]
struct Listed {
    name: String,
    /// `folder` or `built-in`.
    origin: &'static str,
    licence: Option<String>,
    description: Option<String>,
    splits: serde_json::Map<String, serde_json::Value>,
    sources: Vec<String>,
    /// Why the data set can't be read, where it can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// The rows of a split, as far as they are known.
#[derive(Serialize)]
struct Counted {
    rows: Option<usize>,
    complete: bool,
}

pub fn run(context: &Context) -> anyhow::Result<()> {
    let catalog = context.catalog();
    let until = Instant::now() + PATIENCE;
    let listed: Vec<Listed> = catalog.names().into_iter().map(|name| look_at(&catalog, name, until)).collect();
    if context.json {
        return context.print_json(&listed);
    }
    let mut rows = vec![["name", "splits", "sources", "licence"].map(str::to_owned).to_vec()];
    for set in &listed {
        let name = text::line(&set.name).into_owned();
        if let Some(problem) = &set.problem {
            rows.push(vec![name, text::line(problem).into_owned()]);
            continue;
        }
        let splits: Vec<String> = set.splits.iter().map(|(split, counted)| shown(split, counted)).collect();
        let sources = if set.origin == "built-in" { "(built in)".to_owned() } else { set.sources.join(", ") };
        let licence = set.licence.clone().unwrap_or_default();
        rows.push(vec![name, splits.join(", "), text::line(&sources).into_owned(), text::line(&licence).into_owned()]);
    }
    print(&table(&rows))
}

fn shown(split: &str, counted: &serde_json::Value) -> String {
    let split = text::line(split);
    match (counted["rows"].as_u64(), counted["complete"].as_bool()) {
        (Some(rows), Some(true)) => format!("{split} {}", grouped(rows as usize)),
        (Some(rows), _) => format!("{split} {}+", grouped(rows as usize)),
        (None, _) => format!("{split} ?"),
    }
}

fn look_at(catalog: &Catalog, name: String, until: Instant) -> Listed {
    let mut listed = Listed {
        name: name.clone(),
        origin: "folder",
        licence: None,
        description: None,
        splits: serde_json::Map::new(),
        sources: Vec::new(),
        problem: None,
    };
    match catalog.open(&name).and_then(|dataset| fill(&mut listed, &dataset, until)) {
        Ok(()) => {}
        Err(error) => listed.problem = Some(error.to_string()),
    }
    listed
}

fn fill(listed: &mut Listed, dataset: &Dataset, until: Instant) -> Result<(), CorpusError> {
    if matches!(dataset.origin, Origin::BuiltIn(_)) {
        listed.origin = "built-in";
    }
    listed.licence = dataset.meta.licence.clone();
    listed.description = dataset.meta.description.clone();
    listed.sources = dataset.source_names();
    for split in dataset.split_names() {
        let counted = if is_long_to_open(dataset, split)? {
            Counted { rows: None, complete: false }
        } else {
            let split = dataset.split(split)?;
            while !split.count().complete && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            let count = split.count();
            Counted { rows: Some(count.rows), complete: count.complete }
        };
        listed.splits.insert(split.to_owned(), serde_json::to_value(counted).unwrap_or_default());
    }
    Ok(())
}

/// Whether a large file would have to be converted before its rows can be counted.
fn is_long_to_open(dataset: &Dataset, split: &str) -> Result<bool, CorpusError> {
    let (Origin::Folder(folder), Some(file)) =
        (&dataset.origin, dataset.meta.splits.get(split).and_then(|f| f.as_str()))
    else {
        return Ok(false);
    };
    let size = std::fs::metadata(folder.join(file)).map_or(0, |metadata| metadata.len());
    Ok(size > LARGEST_CONVERSION && spool::must_convert(folder, file)?)
}
