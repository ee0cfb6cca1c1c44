//! A run's state on the disk, written so that a crash at any moment leaves the checkpoint before it.
//!
//! `checkpoints/step-N/` is a student that transformers opens, plus `optimizer.safetensors` and `state.json`. It is
//! written under a hidden name and renamed when every byte is on the disk.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::TrainingError;
use super::trainer::Trainer;
use crate::files::{self, FileError};
use crate::student::{Student, weights};

/// `state.json`: where a run stood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub step: usize,
    pub steps: usize,
    pub tokens: u64,
    /// The `order` seed, which also seeds the dropout.
    pub order_seed: u64,
    /// Of the steps, those that changed nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

const STATE: &str = "state.json";
const OPTIMIZER: &str = "optimizer.safetensors";
/// What stands before the name of a checkpoint that was set aside.
const BROKEN: &str = "broken-";
/// And before one that is about to be removed.
const OLD: &str = ".old-";

/// The folder of a checkpoint within `checkpoints/`.
pub fn folder_name(step: usize) -> String {
    format!("step-{step}")
}

/// The step of a checkpoint, by the name of its folder.
pub fn step_of(checkpoint: &Path) -> Option<usize> {
    checkpoint.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
}

/// All checkpoints in a folder, oldest first. An absent folder has none.
pub fn list(checkpoints: &Path) -> Vec<(usize, PathBuf)> {
    let mut found: Vec<(usize, PathBuf)> = fs::read_dir(checkpoints)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((step_of(&entry.path())?, entry.path())))
        .collect();
    found.sort();
    found
}

/// Makes a copied checkpoint the beginning of a run with another order of examples.
pub fn adopt(checkpoint: &Path, order_seed: u64) -> Result<(), TrainingError> {
    let state = read_state(checkpoint)?;
    write_state(&checkpoint.join(STATE), &State { order_seed, ..state })?;
    Ok(())
}

/// Where the run stood that wrote a checkpoint.
pub fn read_state(checkpoint: &Path) -> Result<State, TrainingError> {
    let path = checkpoint.join(STATE);
    let text = files::read_to_string(&path)?;
    serde_json::from_str(&text).map_err(|error| broken(&path, format!("{error} · the file is broken")))
}

/// Whether a checkpoint is whole and its weights, words and moments are those of this student.
pub fn check(checkpoint: &Path, student: &Student) -> Result<State, TrainingError> {
    let (family, architecture, config) = weights::read_config(checkpoint)?;
    let tokenizer = weights::read_tokenizer(checkpoint, family, &config, &architecture)?;
    if tokenizer.to_json()? != student.tokenizer.to_json()? {
        let problem = "its vocabulary is not that of this student, so its words would mean something else";
        return Err(broken(checkpoint, problem.into()));
    }
    Ok(Saved::read(checkpoint, student)?.state)
}

fn broken(path: &Path, problem: String) -> TrainingError {
    TrainingError::Checkpoint { path: path.to_owned(), problem }
}

/// A checkpoint in memory, every part of it read and of the shape that the student wants.
struct Saved {
    state: State,
    /// In the order of the student's parameters.
    weights: Vec<Tensor>,
    moments: HashMap<String, Tensor>,
}

impl Saved {
    fn read(checkpoint: &Path, student: &Student) -> Result<Self, TrainingError> {
        let device = student.decoder.device();
        let state = read_state(checkpoint)?;
        let mut saved = student.saved_parameters(checkpoint)?;
        let path = checkpoint.join(OPTIMIZER);
        let moments = weights::read_tensors(&path, device)?;
        let mut weights = Vec::with_capacity(student.parameters.len());
        for (name, variable) in &student.parameters {
            let fits = |tensor: &Tensor| tensor.shape() == variable.shape();
            let tensor = saved.remove(name).filter(fits);
            weights.push(tensor.ok_or_else(|| broken(checkpoint, format!("`{name}` is missing or of another shape")))?);
            for moment in ["mean", "square"].map(|moment| format!("{name}.{moment}")) {
                if !moments.get(&moment).is_some_and(fits) {
                    return Err(broken(&path, format!("`{moment}` is missing or of another shape")));
                }
            }
        }
        Ok(Self { state, weights, moments })
    }
}

fn write_state(path: &Path, state: &State) -> Result<(), FileError> {
    let text = serde_json::to_string_pretty(state).unwrap_or_default() + "\n";
    files::replace(path, |out| out.write_all(text.as_bytes()))
}

/// Removes all checkpoints but the newest `last` and those of the steps in `best`. The newest always stays.
pub fn prune(checkpoints: &Path, last: usize, best: &[usize]) -> Result<(), FileError> {
    let all = list(checkpoints);
    for (step, path) in &all[..all.len().saturating_sub(last.max(1))] {
        if best.contains(step) {
            continue;
        }
        // Half removed it must not look like a checkpoint.
        let old = checkpoints.join(format!("{OLD}{}", folder_name(*step)));
        remove(&old)?;
        fs::rename(path, &old).map_err(FileError::on("move aside", path))?;
        remove(&old)?;
    }
    Ok(())
}

/// Removes what a process that was killed left half written or half removed. Nobody else may be writing there.
pub fn sweep(checkpoints: &Path) {
    for entry in fs::read_dir(checkpoints).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with('.') {
            // It is in nobody's way but for its size; the next start tries again.
            let _ = remove(&entry.path());
        }
    }
}

/// All that a checkpoint holds, out of training's way.
pub struct Snapshot {
    student: Student,
    moments: HashMap<String, Tensor>,
    state: State,
}

impl Snapshot {
    /// The step that it was taken after.
    pub fn step(&self) -> usize {
        self.state.step
    }

    /// Writes it under `checkpoints/`; `ready` is called when all but its name is on the disk.
    pub fn write(
        &self,
        checkpoints: &Path,
        ready: &dyn Fn() -> Result<(), FileError>,
    ) -> Result<PathBuf, TrainingError> {
        write(checkpoints, &self.student, &self.moments, &self.state, ready)
    }
}

/// Writes a checkpoint beside the others and gives it its name when it is whole. One of this step is replaced.
fn write(
    checkpoints: &Path,
    student: &Student,
    moments: &HashMap<String, Tensor>,
    state: &State,
    ready: &dyn Fn() -> Result<(), FileError>,
) -> Result<PathBuf, TrainingError> {
    let name = folder_name(state.step);
    let to = checkpoints.join(&name);
    files::create_dir(checkpoints)?;
    let hidden = checkpoints.join(format!(".{name}"));
    remove(&hidden)?;
    let fill = || -> Result<(), TrainingError> {
        files::create_dir(&hidden)?;
        student.save(&hidden)?;
        weights::write_tensors(&hidden.join(OPTIMIZER), moments)?;
        write_state(&hidden.join(STATE), state)?;
        Ok(ready()?)
    };
    if let Err(error) = fill() {
        // On a full disk it would only be in the way.
        let _ = remove(&hidden);
        return Err(error);
    }
    let old = checkpoints.join(format!("{OLD}{name}"));
    remove(&old)?;
    if to.exists() {
        fs::rename(&to, &old).map_err(FileError::on("move aside", &to))?;
    }
    files::publish_dir(&hidden, &to)?;
    remove(&old)?;
    remove(&checkpoints.join(format!("{BROKEN}{name}")))?;
    Ok(to)
}

impl Trainer {
    /// Writes a checkpoint under `checkpoints/` while training waits, and removes all but the newest `keep`. One of this
    /// step that is there stays if it is whole, and is replaced if it isn't.
    pub fn save(&self, checkpoints: &Path, keep: usize) -> Result<PathBuf, TrainingError> {
        let to = match self.saved(checkpoints) {
            Some(there) => return Ok(there),
            None => self.write(checkpoints, &|| Ok(()))?,
        };
        prune(checkpoints, keep, &[])?;
        Ok(to)
    }

    /// The whole checkpoint of this step, if there is one.
    pub fn saved(&self, checkpoints: &Path) -> Option<PathBuf> {
        let path = checkpoints.join(folder_name(self.step));
        (path.exists() && self.open(&path).is_ok_and(|saved| saved.state.step == self.step)).then_some(path)
    }

    /// Writes a checkpoint from where the weights lie.
    pub fn write(
        &self,
        checkpoints: &Path,
        ready: &dyn Fn() -> Result<(), FileError>,
    ) -> Result<PathBuf, TrainingError> {
        write(checkpoints, &self.student, &self.optimizer.state()?, &self.state(), ready)
    }

    /// A copy of all that a checkpoint holds, to be written while training goes on.
    pub fn snapshot(&self) -> Result<Snapshot, TrainingError> {
        let on_cpu = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_device(&candle_core::Device::Cpu)?));
        let moments = self.optimizer.state()?.into_iter().map(on_cpu).collect::<candle_core::Result<_>>()?;
        Ok(Snapshot { student: self.student.snapshot()?, moments, state: self.state() })
    }

    /// The bytes that a snapshot takes, with the files that are made of it.
    pub fn snapshot_bytes(&self) -> u64 {
        let weights: usize = self.student.parameters.iter().map(|(_, variable)| variable.elem_count()).sum();
        // The weights and two moments as they are copied, and the larger of the files as it is put together.
        4 * 5 * weights as u64
    }

    fn state(&self) -> State {
        State {
            step: self.step,
            steps: self.steps(),
            tokens: self.tokens,
            order_seed: self.order_seed(),
            skipped: self.skipped,
        }
    }

    /// Goes back to where a checkpoint was written. Nothing has changed when it fails.
    pub fn restore(&mut self, checkpoint: &Path) -> Result<(), TrainingError> {
        let saved = self.open(checkpoint)?;
        let failed = |error: candle_core::Error| broken(&checkpoint.join(OPTIMIZER), error.to_string());
        let taken = saved.state.step.saturating_sub(saved.state.skipped);
        self.optimizer.restore(saved.moments, taken).map_err(failed)?;
        for ((_, variable), tensor) in self.student.parameters.iter().zip(&saved.weights) {
            variable.set(tensor)?;
        }
        self.student.renew_copies()?;
        self.step = saved.state.step;
        self.skipped = saved.state.skipped;
        self.tokens = saved.state.tokens;
        Ok(())
    }

    /// Reads a checkpoint that this run could go on from.
    fn open(&self, checkpoint: &Path) -> Result<Saved, TrainingError> {
        let saved = Saved::read(checkpoint, &self.student)?;
        if saved.state.order_seed != self.order_seed() || saved.state.step > self.steps() {
            return Err(broken(&checkpoint.join(STATE), "it was written by a run with other settings".into()));
        }
        Ok(saved)
    }

    /// Goes back to the newest checkpoint that can be read. Gives its step, and what is wrong with newer ones.
    pub fn restore_newest(&mut self, checkpoints: &Path) -> (Option<usize>, Vec<Unusable>) {
        let mut unusable = Vec::new();
        for (step, path) in list(checkpoints).into_iter().rev() {
            match self.restore(&path) {
                Ok(()) => return (Some(step), unusable),
                Err(error) => unusable.push(Unusable { path, problem: error.to_string() }),
            }
        }
        (None, unusable)
    }
}

/// A checkpoint that a run can't go on from.
#[derive(Debug, PartialEq)]
pub struct Unusable {
    path: PathBuf,
    pub problem: String,
}

impl Unusable {
    /// Gives the folder another name, so that it is neither taken for the newest checkpoint nor kept in the place of a
    /// good one. It goes when a good one of its step is written.
    pub fn set_aside(&self) -> Result<PathBuf, FileError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let aside = self.path.with_file_name(format!("{BROKEN}{name}"));
        remove(&aside)?;
        fs::rename(&self.path, &aside).map_err(FileError::on("move aside", &self.path))?;
        Ok(aside)
    }
}

/// Removes a folder if it is there.
fn remove(folder: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FileError::on("remove", folder)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use candle_core::{DType, Device};

    use super::*;
    use crate::rationale::Role;
    use crate::rationale::batch::{Encoded, Target};
    use crate::student::{Architecture, DropoutRates, Precision, Tokenizer};
    use crate::training::TrainingSettings;
    use crate::training::schedule::Shape;
    use crate::training::settings::Dropping;

    pub fn settings(accumulate: usize) -> TrainingSettings {
        TrainingSettings {
            batch_size: 8 / accumulate,
            accumulate,
            learning_rate: 0.01,
            schedule: Shape::Cosine,
            warmup: 0.1,
            dropout: Dropping::Rates(DropoutRates::default()),
            ..TrainingSettings::default()
        }
    }

    /// Sequences in which each token names the next.
    pub fn trainer(settings: TrainingSettings) -> Trainer {
        let tokenizer = Tokenizer::words(["a b c d e f g h".to_owned()].into_iter(), 50).unwrap();
        let architecture = Architecture::gpt2(tokenizer.size(), 16, 16, 2, 2, 32);
        let examples: Arc<[Encoded]> = (0..40usize)
            .map(|i| {
                let length = 4 + i % 5;
                let ids = (0..length).map(|place| (5 + (i + place) % 8) as u32).collect();
                let role = |place| if place == 1 { Role::Label } else { Role::Rationale };
                let target = |place| Target { place, role: role(place), weight: 1.0 };
                Encoded { id: i.to_string(), ids, supervised: (1..length).map(target).collect(), second: None }
            })
            .collect();
        let student = Student::fresh(architecture, tokenizer, 1, &Device::Cpu).unwrap();
        let student = student.computing_in(settings.precision).unwrap();
        Trainer::new(student, examples, settings, 3).unwrap()
    }

    pub fn weights_of(trainer: &Trainer) -> Vec<Vec<f32>> {
        let values = |(_, variable): &(String, candle_core::Var)| variable.flatten_all().unwrap().to_vec1().unwrap();
        trainer.student.parameters.iter().map(values).collect()
    }

    pub fn run(trainer: &mut Trainer) -> Vec<f64> {
        let mut losses = Vec::new();
        while !trainer.is_finished() {
            losses.push(trainer.step().unwrap().loss);
        }
        losses
    }

    #[test]
    fn the_student_learns() {
        let mut trainer = trainer(TrainingSettings { epochs: 20, ..settings(1) });
        let losses = run(&mut trainer);
        assert_eq!(losses.len(), 100);
        assert!(losses[0] > 2.0 && losses[99] < 0.5, "{} to {}", losses[0], losses[99]);
    }

    #[test]
    fn a_resumed_run_has_the_same_losses_and_weights_bit_for_bit() {
        let dropout = Dropping::Rates(DropoutRates { embedding: 0.1, residual: 0.1, attention: 0.1 });
        let settings = TrainingSettings { dropout, ..settings(1) };
        let dir = tempfile::tempdir().unwrap();
        let mut straight = trainer(settings.clone());
        let losses = run(&mut straight);
        let mut first = trainer(settings.clone());
        for loss in &losses[..7] {
            assert_eq!(first.step().unwrap().loss, *loss);
        }
        first.save(dir.path(), 2).unwrap();
        let mut second = trainer(settings);
        assert_eq!(second.restore_newest(dir.path()), (Some(7), vec![]));
        assert_eq!(run(&mut second), losses[7..]);
        assert_eq!(weights_of(&second), weights_of(&straight));
        assert_eq!(second.tokens, straight.tokens);
    }

    #[test]
    fn computing_in_bf16_loses_no_small_change_and_resumes_bit_for_bit() {
        let settings = TrainingSettings { epochs: 4, ..settings(2) };
        let narrow = |settings| trainer(TrainingSettings { precision: Precision::Bf16, ..settings });
        let dir = tempfile::tempdir().unwrap();
        let (mut wide, mut straight) = (trainer(settings.clone()), narrow(settings.clone()));
        assert_eq!(straight.student.decoder.dtype(), DType::BF16);
        let (in_f32, in_bf16) = (run(&mut wide), run(&mut straight));
        for (one, other) in in_f32.iter().zip(&in_bf16) {
            assert!((one / other - 1.0).abs() < 0.05, "{one} and {other}");
        }
        let mut first = narrow(settings.clone());
        for _ in 0..9 {
            first.step().unwrap();
        }
        first.save(dir.path(), 2).unwrap();
        let mut second = narrow(settings.clone());
        assert_eq!(second.restore_newest(dir.path()), (Some(9), vec![]));
        assert_eq!(run(&mut second), in_bf16[9..]);
        assert_eq!(weights_of(&second), weights_of(&straight));

        // Steps of a thousandth of what bf16 can tell apart add up in the weights, and only then reach the copies.
        let small = TrainingSettings { learning_rate: 1e-6, schedule: Shape::Constant, warmup: 0.0, ..settings };
        let mut slow = narrow(small);
        let before = weights_of(&slow);
        run(&mut slow);
        let moved = |(one, other): (&Vec<f32>, &Vec<f32>)| one.iter().zip(other).any(|(one, other)| one != other);
        assert!(weights_of(&slow).iter().zip(&before).all(moved));
        for (copy, (_, weight)) in slow.student.working().zip(&slow.student.parameters) {
            let want = weight.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap();
            let far = (copy.1.to_dtype(DType::F32).unwrap() - want).unwrap().abs().unwrap().sum_all().unwrap();
            assert_eq!(far.to_scalar::<f32>().unwrap(), 0.0, "{}", copy.0);
        }
    }

    #[test]
    fn a_snapshot_is_written_while_training_goes_on_and_holds_the_step_it_was_taken_after() {
        let dir = tempfile::tempdir().unwrap();
        let mut straight = trainer(settings(1));
        straight.step().unwrap();
        let snapshot = straight.snapshot().unwrap();
        let losses = run(&mut straight);
        let written = snapshot.write(dir.path(), &|| Ok(())).unwrap();
        assert_eq!((snapshot.step(), written), (1, dir.path().join("step-1")));
        let mut second = trainer(settings(1));
        assert_eq!(second.restore_newest(dir.path()), (Some(1), vec![]));
        assert_eq!(run(&mut second), losses);
        assert_eq!(weights_of(&second), weights_of(&straight));
    }

    #[test]
    fn the_best_stays_beside_the_newest_and_the_newest_is_gone_on_from() {
        let dir = tempfile::tempdir().unwrap();
        let mut trainer = trainer(settings(1));
        for _ in 0..5 {
            trainer.step().unwrap();
            trainer.write(dir.path(), &|| Ok(())).unwrap();
            prune(dir.path(), 2, &[2]).unwrap();
        }
        assert_eq!(list(dir.path()).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [2, 4, 5]);
        assert_eq!(trainer.restore_newest(dir.path()).0, Some(5));
        prune(dir.path(), 0, &[]).unwrap();
        assert_eq!(list(dir.path()).len(), 1, "the newest always stays");
    }

    #[test]
    fn what_a_killed_process_left_half_done_is_swept_away() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".step-3", ".old-step-1", "step-2"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        sweep(dir.path());
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["step-2"]);
    }

    #[test]
    fn a_run_that_skipped_a_step_resumes_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let mut straight = trainer(settings(1));
        straight.step().unwrap();
        straight.skip();
        straight.step().unwrap();
        straight.save(dir.path(), 2).unwrap();
        let mut second = trainer(settings(1));
        assert_eq!(second.restore_newest(dir.path()).0, Some(3));
        assert_eq!(run(&mut second), run(&mut straight));
        assert_eq!(weights_of(&second), weights_of(&straight));
    }

    #[test]
    fn accumulated_batches_are_one_large_batch() {
        let (mut whole, mut parts) = (trainer(settings(1)), trainer(settings(4)));
        for _ in 0..5 {
            let (one, other) = (whole.step().unwrap(), parts.step().unwrap());
            assert!((one.loss - other.loss).abs() < 1e-5 && (one.gradient_norm - other.gradient_norm).abs() < 1e-4);
            assert_eq!(one.tokens, other.tokens);
        }
    }

    #[test]
    fn a_broken_checkpoint_costs_only_the_steps_since_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut trainer = trainer(settings(1));
        for _ in 0..3 {
            trainer.step().unwrap();
            trainer.save(dir.path(), 2).unwrap();
        }
        assert_eq!(list(dir.path()).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [2, 3]);
        let weights = dir.path().join("step-3/model.safetensors");
        let bytes = fs::read(&weights).unwrap();
        fs::write(&weights, &bytes[..100]).unwrap();
        let (step, unusable) = trainer.restore_newest(dir.path());
        assert_eq!(step, Some(2));
        let problem = &unusable[0].problem;
        assert!(problem.contains("step-3/model.safetensors") && !problem.contains("fetch"), "{problem}");
        assert_eq!(trainer.steps_done(), 2);
    }

    #[test]
    fn a_broken_checkpoint_is_replaced_when_its_step_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut trainer = trainer(settings(1));
        let cut = |step: usize| {
            let path = dir.path().join(format!("step-{step}/optimizer.safetensors"));
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        };
        for _ in 0..3 {
            trainer.step().unwrap();
            trainer.save(dir.path(), 2).unwrap();
        }
        // Saved once more where it stands, as a pause does.
        cut(3);
        trainer.save(dir.path(), 2).unwrap();
        assert_eq!(trainer.restore_newest(dir.path()), (Some(3), vec![]));
        // Set aside when the run goes on from the one before, it costs no good one its place.
        cut(3);
        let (_, unusable) = trainer.restore_newest(dir.path());
        let aside = unusable[0].set_aside().unwrap();
        assert_eq!(list(dir.path()).len(), 1);
        trainer.step().unwrap();
        trainer.save(dir.path(), 2).unwrap();
        assert!(!aside.exists());
        assert_eq!(list(dir.path()).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(trainer.restore_newest(dir.path()), (Some(3), vec![]));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn a_checkpoint_that_does_not_fit_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = trainer(settings(1));
        first.step().unwrap();
        let saved = first.save(dir.path(), 2).unwrap();
        assert_eq!(check(&saved, &first.student).unwrap().step, 1);
        fs::write(saved.join("state.json"), "{").unwrap();
        let mut fresh = trainer(settings(1));
        let before = weights_of(&fresh);
        assert_eq!(fresh.restore_newest(dir.path()).0, None);
        assert_eq!((fresh.steps_done(), weights_of(&fresh)), (0, before));
    }

    #[test]
    fn a_loss_without_number_stops_the_run_before_it_spoils_the_weights() {
        let mut trainer = trainer(settings(1));
        let (_, variable) = &trainer.student.parameters[0];
        variable.set(&(variable.as_tensor() * f64::NAN).unwrap()).unwrap();
        let error = trainer.step().unwrap_err().to_string();
        assert!(error.contains("step 1") && error.contains("learning_rate"), "{error}");
        let first = trainer.order_of(0);
        assert!(first.iter().all(|id| error.contains(id)), "the examples are named: {error}");
        assert_eq!(trainer.steps_done(), 0);
    }
}
