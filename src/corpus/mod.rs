//! The questions: data sets on the disk and generated ones, their rows, rationale sources and edits.
//!
//! [`Catalog`] finds data sets, [`Dataset`] is one of them, [`Split`] gives its rows as [`Example`]s seen through the
//! edits. [`formats`] reads what others publish; [`toyworld`] makes a world of its own.

pub mod announcement;
pub mod catalog;
pub mod counterpart;
pub mod dataset;
pub mod difference;
pub mod duplicates;
pub mod edits;
pub mod example;
pub mod export;
pub mod filter;
pub mod formats;
pub mod histogram;
pub mod import;
pub mod order;
pub mod replace;
pub mod rows;
pub mod spool;
pub mod staging;
pub mod stats;
pub mod toyworld;
pub mod validate;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use serde::{Serialize, Serializer};

pub use catalog::Catalog;
pub use dataset::{Dataset, LabelStyle, Meta, Split, Template};
pub use example::{Choice, Example, SourceRationale};

use crate::files::FileError;
use crate::text;
use formats::records::RecordsError;
use rows::RowError;

/// What can go wrong with a data set.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    #[error("there is no data set `{name}` in {}{} · `afterthought data list` shows what there is, `data import` brings more", folder.display(), did_you_mean(nearest))]
    UnknownDataset { name: String, folder: PathBuf, nearest: Option<String> },
    #[error("{dataset} has no split `{split}` · it has {known}")]
    UnknownSplit { dataset: String, split: String, known: String },
    #[error("{dataset} has no rationale source `{source_name}` · it has {known}")]
    UnknownSource { dataset: String, source_name: String, known: String },
    #[error(
        "no example `{id}` in {dataset}/{split} · `afterthought data show {dataset} --split {split}` lists the ids"
    )]
    UnknownId { dataset: String, split: String, id: String },
    #[error(
        "no example `{id}` in any split of {dataset} ({known}) · `afterthought data show {dataset} --split SPLIT` lists the ids"
    )]
    UnknownIdAnywhere { dataset: String, known: String, id: String },
    #[error("{}: {problem}", path.display())]
    Meta { path: PathBuf, problem: String },
    #[error("{} holds no data set: neither dataset.yaml nor a split such as train.jsonl · `afterthought data import` makes one", path.display())]
    NotADataset { path: PathBuf },
    #[error(transparent)]
    Row(#[from] RowError),
    #[error(transparent)]
    Import(#[from] import::ImportError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    File(#[from] FileError),
}

impl CorpusError {
    fn unknown_split<'a>(dataset: &str, split: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let known = known.collect::<Vec<_>>().join(", ");
        Self::UnknownSplit { dataset: dataset.into(), split: text::line(split).into(), known }
    }

    fn unknown_source(dataset: &str, source: &str, known: &[String]) -> Self {
        let mut all = vec!["default".to_owned()];
        all.extend_from_slice(known);
        Self::UnknownSource { dataset: dataset.into(), source_name: text::line(source).into(), known: all.join(", ") }
    }
}

/// Named values as a JSON object, in their own order.
fn as_map<T: Serialize, S: Serializer>(named: &[(String, T)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(named.iter().map(|(name, value)| (name, value)))
}

/// A number that stands for a text where millions of them are compared: two that differ have the same one in about
/// one of forty million data sets of a million rows.
fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// ` · did you mean …?`, where there is something to mean.
pub fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!(" · did you mean `{name}`?"))
}

/// The known name that is most like a wrong one, if any is like it at all.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(wrong, name), name))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name.to_owned())
}
