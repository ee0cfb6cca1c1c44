//! A new run that begins where another one stood.

use std::path::Path;

use super::directory::RunDirectory;
use super::spec::{Record, RunSpec};
use super::{RunError, load_split, prepare};
use crate::files::{self, FileError};
use crate::training::checkpoint;

/// Copies a checkpoint of `run` (the newest, or that of `step`) into a new run with changed settings. It is queued, not
/// started. Nothing is made where the new run could not go on from that checkpoint.
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
                let (id, step) = (run.id().to_owned(), step.to_string());
                Err(RunError::NoSuchCheckpoint { id, step, known: steps.join(", ") })
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
    prepare::check(project, &spec)?;
    check(project, &spec, from, *step).map_err(|problem| {
        let others: Vec<String> =
            known.iter().filter(|(other, _)| other != step).map(|(other, _)| other.to_string()).collect();
        let others =
            if others.is_empty() { String::new() } else { format!(" · --step has {} too", others.join(", ")) };
        RunError::Fork { id: run.id().to_owned(), step: *step, problem, others }
    })?;
    spec.record = Some(Record { forked_from: Some((run.id().to_owned(), *step)), ..Record::new(run.id()) });
    let new = RunDirectory::create(project, spec.clone(), &format!("{} fork", spec.rationale))?;
    let to = new.checkpoints().join(checkpoint::folder_name(*step));
    // It has its name when it is whole.
    let hidden = new.checkpoints().join(format!(".{}", checkpoint::folder_name(*step)));
    files::create_dir(&hidden)?;
    let entries = std::fs::read_dir(from).map_err(FileError::on("read", from))?;
    for entry in entries.flatten() {
        let path = hidden.join(entry.file_name());
        std::fs::copy(entry.path(), &path).map_err(FileError::on("write", &path))?;
    }
    checkpoint::adopt(&hidden, spec.seed.order)?;
    files::publish_dir(&hidden, &to)?;
    Ok(new)
}

/// Whether a run of `spec` could go on from a checkpoint, or why not: the student is made as the worker makes it, and
/// compared with what was saved.
fn check(project: &Path, spec: &RunSpec, from: &Path, step: usize) -> Result<(), String> {
    let steps = steps(project, spec).map_err(|error| error.to_string())?;
    if steps <= step {
        return Err(format!(
            "the new run would have {steps} steps in all, so nothing would be left to train · set training.steps \
             beyond {step}"
        ));
    }
    let student = || {
        let dataset = prepare::dataset(project, spec)?;
        let train = prepare::vocabulary_examples(&dataset, &spec.rationale.source)?;
        let device = prepare::device(&spec.device)?;
        prepare::student(project, spec, &dataset, &train, &device, &mut |_, _, _| {})
    };
    let student = student().map_err(|error: RunError| error.to_string())?;
    checkpoint::check(from, &student).map(drop).map_err(|error| error.to_string())
}

/// How many steps a run would have in all. Where epochs are counted, the examples that can be used decide.
fn steps(project: &Path, spec: &RunSpec) -> Result<usize, RunError> {
    if let Some(steps) = spec.training.steps {
        return Ok(steps);
    }
    let dataset = prepare::dataset(project, spec)?;
    let mut train = load_split(&dataset, prepare::TRAIN, &spec.rationale.source)?;
    train.lend(&dataset, &spec.rationale, spec.seed.ablation)?;
    let reading = super::preview::Reading::of(project, spec, &dataset)?;
    // Which tokens are kept changes no example's place, so that none need be scored.
    let (encoded, _) = train.encode(0, &reading.renderer(spec, &dataset)?, spec.training.unusable, true)?;
    Ok(spec.training.total_steps(encoded.len()))
}
