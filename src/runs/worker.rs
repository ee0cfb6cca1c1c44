//! The process that trains: it writes the journal, obeys the control socket and leaves a run that can be resumed
//! whatever happens to it.
//!
//! The tensor work runs on a thread of its own; tokio's threads answer the socket and the signals meanwhile.

use std::fs::File;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::control::{self, Control, Wanted};
use super::directory::RunDirectory;
use super::material::{Material, prepare_run};
use super::prepare;
use super::saving::Saving;
use super::spec::RunSpec;
use super::supervisor::{Listener, Supervisor};
use super::{RunError, slots};
use crate::evaluation::{self, Accuracy, EvaluationError, Prediction};
use crate::files;
use crate::journal::{EvaluationEvent, Event, History, RunState, SkippedEvent, StepEvent, Writer};
use crate::student::ops::{Ops, cuda};
use crate::training::settings::Unusable;
use crate::training::{self, OnNonfinite, Reduction, Trainer, TrainingError};

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    pub state: RunState,
    /// A signal asked for it, such as batch systems send; the run waits to be resumed.
    pub by_signal: bool,
}

/// Trains a run in this process, from its beginning or from its newest checkpoint, and says how it ended.
/// With a listener the process is in the foreground: Ctrl-C stops the run as the control socket would.
pub fn work(project: &Path, run: &RunDirectory, listener: Option<Listener>) -> Result<Ending, RunError> {
    training::tune_allocator();
    let lock = run.lock()?;
    run.unfinished()?;
    run.begin_log();
    for folder in [run.path(), &run.attributions()] {
        files::sweep(folder);
    }
    training::checkpoint::sweep(&run.checkpoints());
    let control = Arc::new(Control::default());
    let foreground = listener.is_some();
    let mut supervisor = Supervisor::new(Writer::open(&run.journal())?, control.clone(), listener);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|source| RunError::Runtime { source })?;
    let (project, run) = (project.to_owned(), run.clone());
    runtime.block_on(async {
        match control::listen(&run) {
            Ok(listener) => {
                tokio::spawn(control::serve(listener, control.clone()));
            }
            Err(error) => supervisor.note(&format!("this run can't be paused or stopped from elsewhere: {error}"))?,
        }
        tokio::spawn(obey_signals(control.clone(), foreground));
        let training = tokio::task::spawn_blocking(move || guarded(&project, &run, &mut supervisor, lock));
        let state = training.await.map_err(|error| RunError::Panic { message: error.to_string() })??;
        let by_signal = matches!(control.wanted(), Wanted::Stop(reason) if SIGNALS.contains(&reason.as_str()));
        Ok(Ending { state, by_signal: by_signal && state == RunState::Stopped })
    })
}

/// What batch systems send to a job whose time is up, and shutdowns to all.
const SIGNALS: [&str; 3] = ["SIGTERM", "SIGUSR1", "SIGUSR2"];

/// Trains a run that another one needs, inside that one's process and slot.
fn train_nested(project: &Path, run: &RunDirectory, outer: &mut Supervisor) -> Result<(), RunError> {
    let lock = loop {
        match run.lock() {
            // Someone else is training it: wait for that.
            Err(RunError::Busy { .. }) if !outer.is_stopping() => outer.control.wait(Duration::from_millis(200)),
            lock => break lock?,
        }
    };
    if run.read()?.state == RunState::Finished {
        return Ok(());
    }
    let journal = Writer::open(&run.journal())?;
    let mut supervisor = Supervisor::new(journal, outer.control.clone(), None);
    let outcome = execute(project, run, &mut supervisor);
    conclude(&mut supervisor, outcome, run)?;
    drop(lock);
    if outer.is_stopping() || run.read()?.state == RunState::Finished {
        return Ok(());
    }
    Err(RunError::Nested { id: run.id().to_owned() })
}

/// Waits for a turn, trains, and writes how it ended, panics included.
fn guarded(project: &Path, run: &RunDirectory, supervisor: &mut Supervisor, lock: File) -> Result<RunState, RunError> {
    let outcome = catch_unwind(AssertUnwindSafe(|| -> Result<(), RunError> {
        let spec = run.spec()?;
        let threads = threads(&spec);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let device = prepare::device(&spec.device)?;
        let name = prepare::device_name(&device);
        let (kind, count, wanted) = if device.is_cpu() { ("cpu", cores, threads) } else { (name.as_str(), 1, 1) };
        // First come, first served; the id keeps two of one moment apart.
        let created = spec.record.as_ref().map_or("", |record| record.created.as_str());
        let ticket = format!("{created}-{}", run.id());
        let slot = slots::take(project, kind, count, wanted, &ticket, &supervisor.control)?;
        // Rayon's threads are the ones that compute; a run alone on its cores must not fight its neighbour for them.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| RunError::Panic { message: error.to_string() })?;
        let result = match slot {
            Some(_) => pool.install(|| execute(project, run, supervisor)),
            None => Ok(()),
        };
        drop(slot);
        result
    }));
    let outcome = outcome.unwrap_or_else(|panic| Err(RunError::Panic { message: training::words(&*panic) }));
    let state = conclude(supervisor, outcome, run);
    drop(lock);
    state
}

/// Writes the last state of a run, and gives back the error of a failed one.
fn conclude(
    supervisor: &mut Supervisor,
    outcome: Result<(), RunError>,
    run: &RunDirectory,
) -> Result<RunState, RunError> {
    let _ = std::fs::remove_file(run.path().join("control.sock"));
    match outcome {
        Ok(()) => match supervisor.control.wanted() {
            Wanted::Stop(reason) => {
                supervisor.state(RunState::Stopped, Some(reason))?;
                Ok(RunState::Stopped)
            }
            _ => {
                supervisor.state(RunState::Finished, None)?;
                Ok(RunState::Finished)
            }
        },
        Err(error) => {
            if let (Wanted::Stop(reason), Some(_)) = (supervisor.control.wanted(), error.full_disk()) {
                // The run did as it was told, but for its last checkpoint.
                let reason = format!("{reason}, while {error}; {}", saved(run));
                let _ = supervisor.state(RunState::Stopped, Some(reason));
                return Ok(RunState::Stopped);
            }
            let error = match error {
                error @ (RunError::Training(_) | RunError::Panic { .. }) => match run.newest_checkpoint() {
                    Some(path) => RunError::Failed {
                        id: run.id().to_owned(),
                        checkpoint: path.strip_prefix(run.path()).unwrap_or(&path).display().to_string(),
                        error: Box::new(error),
                    },
                    None => error,
                },
                error => error,
            };
            // Where this fails as well, the first error is the one to show.
            let _ = supervisor.state(RunState::Failed, Some(error.to_string()));
            Err(error)
        }
    }
}

/// What a run can go on from.
fn saved(run: &RunDirectory) -> String {
    match run.newest_checkpoint() {
        Some(path) => {
            format!("it goes on from {} when there is room", path.strip_prefix(run.path()).unwrap_or(&path).display())
        }
        None => "it has no checkpoint yet".into(),
    }
}

/// Tells candle and rayon how many threads to keep. Candle's own spin while they wait, so a run with one core must not
/// have two of them. Call it before any other thread begins; a variable that the user set is left alone.
pub fn limit_threads(threads: usize) {
    for name in ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"] {
        if std::env::var_os(name).is_none() {
            // SAFETY: the caller is the only thread there is.
            unsafe { std::env::set_var(name, threads.to_string()) };
        }
    }
}

/// The threads a run computes with.
pub fn threads(spec: &RunSpec) -> usize {
    let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // A run that was made on a larger machine goes on here with what there is.
    spec.training.threads.unwrap_or(all).clamp(1, all)
}

/// Prepares and trains. Returns early, with everything saved, when the run is told to stop.
fn execute(project: &Path, run: &RunDirectory, supervisor: &mut Supervisor) -> Result<(), RunError> {
    supervisor.state(RunState::Running, None)?;
    let mut spec = run.spec()?;
    let (device, other) = prepare::device_or_other(&spec.device)?;
    if let Some(note) = other {
        supervisor.note(&note)?;
    }
    let dataset = prepare::dataset(project, &spec)?;
    let train_reader = |run: &RunDirectory, supervisor: &mut Supervisor| train_nested(project, run, supervisor);
    let prepared = prepare_run(project, run, &mut spec, &dataset, &device, &train_reader, supervisor)?;
    let Some((mut trainer, material)) = prepared else {
        return Ok(());
    };
    let fused = spec.training.ops == Ops::Fused;
    if let Some(problem) = fused.then(|| cuda::problem(&device)).flatten() {
        supervisor.note(&format!("the GPU's kernels are not used, but candle's slower operations: {problem}"))?;
    }
    let resumed = restore(run, &spec, &mut trainer, supervisor)?;
    let parameters = trainer.student.decoder.architecture.parameter_count();
    supervisor.event(Event::Start {
        steps: trainer.steps(),
        examples: trainer.examples(),
        parameters,
        device: prepare::device_name(&device),
        threads: rayon::current_num_threads(),
    })?;
    // Also for a run without a checkpoint: what its journal says of earlier steps is void.
    let begun = History::read(&run.journal())?.step();
    if resumed.is_some() || begun > 0 {
        supervisor.event(Event::Resume { step: resumed.unwrap_or(0) })?;
    }
    if spec.training.tensorboard {
        supervisor.show_in_tensorboard(run)?;
    }
    let seen = History::read(&run.journal())?;
    let mut saving = Saving::new(run, spec.training.checkpoint.keep, &spec.evaluation.split, seen);
    train(run, &spec, &mut trainer, &material, &mut saving, supervisor)
}

/// Goes back to the newest checkpoint that can be used; newer ones are set aside. A fork without one must not train from
/// scratch what it says was trained before.
fn restore(
    run: &RunDirectory,
    spec: &RunSpec,
    trainer: &mut Trainer,
    supervisor: &mut Supervisor,
) -> Result<Option<usize>, RunError> {
    let (resumed, unusable) = trainer.restore_newest(&run.checkpoints());
    let origin = spec.record.as_ref().and_then(|record| record.forked_from.as_ref());
    if let (None, Some((of, _))) = (resumed, origin) {
        let problem = unusable.first().map_or("there is none", |first| &first.problem).to_owned();
        return Err(RunError::ForkLost { id: run.id().to_owned(), of: of.clone(), problem });
    }
    for checkpoint in unusable {
        let aside = checkpoint.set_aside()?;
        let aside = aside.strip_prefix(run.path()).unwrap_or(&aside).display().to_string();
        supervisor.note(&format!("a checkpoint could not be used and is now {aside}: {}", checkpoint.problem))?;
    }
    Ok(resumed)
}

/// The loop around the trainer.
fn train(
    run: &RunDirectory,
    spec: &RunSpec,
    trainer: &mut Trainer,
    material: &Material,
    saving: &mut Saving,
    supervisor: &mut Supervisor,
) -> Result<(), RunError> {
    let (steps, per_epoch) = (trainer.steps(), trainer.steps_per_epoch());
    let mut skipped = 0;
    while !trainer.is_finished() {
        saving.look(supervisor)?;
        match supervisor.control.wanted() {
            Wanted::Run => {}
            Wanted::Stop(_) => return saving.save(trainer, supervisor),
            Wanted::Pause => {
                saving.save(trainer, supervisor)?;
                supervisor.goes_on()?;
                continue;
            }
        }
        match take_step(trainer, spec.training.on_nonfinite, &mut skipped)? {
            Ok(event) => supervisor.event(Event::Step(event))?,
            Err(event) => supervisor.event(Event::Skipped(event))?,
        }
        let step = trainer.steps_done();
        // The checkpoint first: what is evaluated next may take longer than what was trained.
        if spec.training.checkpoint.every.is_due(step, steps, per_epoch) {
            saving.begin(trainer, supervisor)?;
        }
        if step < steps && spec.evaluation.every.is_due(step, steps, per_epoch) {
            evaluate(spec, trainer, material, saving, supervisor, false)?;
        }
    }
    let mut predictions = evaluate(spec, trainer, material, saving, supervisor, false)?;
    if material.last.is_some() {
        predictions = evaluate(spec, trainer, material, saving, supervisor, true)?;
    }
    saving.save(trainer, supervisor)?;
    // Told to stop: asked again when the run is resumed.
    let Some(predictions) = predictions else { return Ok(()) };
    saving.tidy()?;
    let split = spec.evaluation.last_split();
    if let Some(note) = Accuracy::of(&predictions).note(spec.evaluation.limit) {
        supervisor.note(&format!("{split}: {note} · evaluation.limit is what a student may write"))?;
    }
    supervisor.with_room(|| evaluation::merge_predictions(&run.predictions(), &spec.dataset, split, &predictions))
}

/// More steps in a row than this without an update, and the run has nothing to go on for.
const MOST_SKIPPED: usize = 20;

/// Takes a step, or goes past one whose loss or gradient is no number. `skipped` counts those in a row.
fn take_step(
    trainer: &mut Trainer,
    on_nonfinite: OnNonfinite,
    skipped: &mut usize,
) -> Result<Result<StepEvent, SkippedEvent>, RunError> {
    let error = match trainer.step() {
        Ok(event) => {
            *skipped = 0;
            return Ok(Ok(event));
        }
        Err(error) => error,
    };
    match error {
        TrainingError::Step { step, examples, problem } if on_nonfinite == OnNonfinite::Skip => match *problem {
            TrainingError::Diverged { what } if *skipped < MOST_SKIPPED => {
                *skipped += 1;
                trainer.skip();
                Ok(Err(SkippedEvent { step, what: what.into(), examples }))
            }
            problem @ TrainingError::Diverged { .. } => {
                let last = TrainingError::Step { step, examples, problem: Box::new(problem) };
                Err(TrainingError::AllSkipped { count: *skipped + 1, last: Box::new(last) }.into())
            }
            problem => Err(TrainingError::Step { step, examples, problem: Box::new(problem) }.into()),
        },
        error => Err(error.into()),
    }
}

/// Measures accuracy and loss on the watched split, or accuracy on the last one. `None` when told to stop meanwhile. A
/// step that is among the best is saved, if such are to be kept.
fn evaluate(
    spec: &RunSpec,
    trainer: &Trainer,
    material: &Material,
    saving: &mut Saving,
    supervisor: &mut Supervisor,
    last: bool,
) -> Result<Option<Vec<Prediction>>, RunError> {
    let split = if last { material.last.as_ref().unwrap_or(&material.watched) } else { &material.watched };
    let is_final = trainer.is_finished();
    let limit = if is_final { None } else { spec.evaluation.examples };
    let examples = &split.examples[..limit.unwrap_or(usize::MAX).min(split.examples.len())];
    let decoder = trainer.student.decoder.frozen();
    let asking = spec.evaluation.asking();
    // Where rationales become shorter on the way, they are as long as those of the step before.
    let removes = material.renderer.recipe.removes();
    let epoch = if removes { trainer.steps_done().saturating_sub(1) / trainer.steps_per_epoch() } else { 0 };
    let borrow = |place: usize| split.borrow_in(epoch, place, &material.renderer);
    let shortened =
        if removes && !last { split.encode(epoch, &material.renderer, Unusable::Skip, false)?.0 } else { vec![] };
    let losses_of = match (last, removes) {
        (true, _) => &[][..],
        (false, true) => &shortened[..],
        (false, false) => &material.watched_encoded[..],
    };
    let total = examples.len() + losses_of.len();
    let what = format!("asking {}", split.name);
    supervisor.event(Event::Progress { what: what.clone(), done: 0, total })?;
    let mut failed = None;
    let mut tell = |done: usize| {
        let result = supervisor.progress(&what, done, total).and_then(|()| supervisor.goes_on());
        match result {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let answered = evaluation::predict(&decoder, &material.renderer, examples, &asking, &borrow, &mut tell);
    let measured = answered.and_then(|predictions| {
        let losses = evaluation::losses(&decoder, losses_of, &mut |done| tell(examples.len() + done))?;
        Ok((predictions, losses))
    });
    let (predictions, losses) = match (failed, measured) {
        (Some(error), _) => return Err(error),
        (None, Err(EvaluationError::Interrupted)) => return Ok(None),
        (None, measured) => measured?,
    };
    let accuracy = Accuracy::of(&predictions);
    let event = EvaluationEvent {
        step: trainer.steps_done(),
        epoch: trainer.epoch(),
        split: split.name.clone(),
        accuracy: accuracy.share().unwrap_or(0.0),
        correct: accuracy.correct,
        examples: accuracy.examples,
        unparsable: accuracy.unparsable,
        loss: match spec.training.reduction {
            Reduction::TokenMean => losses.per_token,
            Reduction::ExampleSum => losses.per_example,
            Reduction::TaskMean => losses.per_task,
        },
        loss_label: losses.label,
        loss_rationale: losses.rationale,
        last: is_final && split.name == spec.evaluation.last_split(),
    };
    supervisor.event(Event::Evaluation(event.clone()))?;
    if saving.evaluated(&event) {
        saving.begin(trainer, supervisor)?;
    }
    Ok(Some(predictions))
}

/// SIGTERM, SIGUSR1 and SIGUSR2 stop a run with its checkpoint, and so does Ctrl-C on one in the foreground. A closed
/// terminal is nothing to a run.
async fn obey_signals(control: Arc<Control>, foreground: bool) {
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup), Ok(mut first), Ok(mut second)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
        signal(SignalKind::user_defined1()),
        signal(SignalKind::user_defined2()),
    ) else {
        return;
    };
    loop {
        let reason = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "Ctrl-C",
            _ = hangup.recv() => "SIGHUP",
            _ = first.recv() => "SIGUSR1",
            _ = second.recv() => "SIGUSR2",
        };
        match reason {
            "SIGHUP" if !foreground => {}
            // The second time somebody means it.
            "Ctrl-C" if control.is_stopping() => std::process::exit(130),
            reason => control.want(Wanted::Stop(reason.into())),
        }
    }
}
