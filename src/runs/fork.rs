//! A new run that begins where another one stood.

use std::path::Path;

use super::RunError;
use super::directory::RunDirectory;
use super::spec::{Record, RunSpec};
use crate::files::{self, FileError};
use crate::training::checkpoint;

/// Copies a checkpoint of `run` (the newest, or that of `step`) into a new run with changed settings. It is queued, not
/// started.
pub fn fork(
    project: &Path,
    run: &RunDirectory,
    step: Option<usize>,
    overrides: &[String],
) -> Result<RunDirectory, RunError> {
    let known = checkpoint::list(&run.checkpoints());
    let found = match step {
        Some(step) => known.iter().find(|(other, _)| *other == step),
        None => known.last(),
    };
    let Some((step, from)) = found else {
        let steps: Vec<String> = known.iter().map(|(step, _)| step.to_string()).collect();
        return match (step, steps.is_empty()) {
            (Some(step), false) => {
                Err(RunError::NoSuchCheckpoint { id: run.id().to_owned(), step, known: steps.join(", ") })
            }
            _ => Err(RunError::NoCheckpoint { id: run.id().to_owned() }),
        };
    };
    let original = run.spec()?;
    let mut spec: RunSpec = original.with_overrides(overrides)?;
    // The checkpoint's tokens must go on meaning what they meant.
    if spec.student != original.student || (spec.student == "toy" && spec.dataset != original.dataset) {
        return Err(RunError::ForkOfOther { id: run.id().to_owned() });
    }
    spec.record = Some(Record { forked_from: Some((run.id().to_owned(), *step)), ..Record::new(run.id()) });
    let new = RunDirectory::create(project, spec.clone(), &format!("{} fork", spec.rationale))?;
    let to = new.checkpoints().join(checkpoint::folder_name(*step));
    files::create_dir(&to)?;
    let entries = std::fs::read_dir(from).map_err(FileError::on("read", from))?;
    for entry in entries.flatten() {
        let path = to.join(entry.file_name());
        std::fs::copy(entry.path(), &path).map_err(FileError::on("write", &path))?;
    }
    checkpoint::adopt(&to, spec.seed.order)?;
    Ok(new)
}
