//! Splits that can't be read by seeking.

use std::path::{Path, PathBuf};

use super::CorpusError;

/// The split name of a data file, such as `train` for `train.jsonl`; `None` for other files.
pub fn split_stem(file: &str) -> Option<&str> {
    file.strip_suffix(".jsonl").filter(|stem| !matches!(*stem, "edits") && !stem.starts_with('.'))
}

/// The JSONL file behind a split file.
pub fn as_jsonl(folder: &Path, file: &str) -> Result<PathBuf, CorpusError> {
    Ok(folder.join(file))
}
