//! A run survives being killed: `kill -9` at random moments, again and again, and the same weights in the end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use afterthought::journal::{History, RunState};
use afterthought::runs::{RunDirectory, control};
use afterthought::seeds::Stream;

const STEPS: usize = 240;

fn afterthought(project: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C").arg(project).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn settings() -> [String; 4] {
    [
        format!("training.steps={STEPS}"),
        "training.checkpoint={every: 20, keep: 2}".into(),
        "evaluation.every=end".into(),
        "evaluation.examples=20".into(),
    ]
}

fn train(project: &Path) -> Command {
    let mut command = afterthought(project);
    command.arg("train");
    for setting in settings() {
        command.args(["--set", &setting]);
    }
    command
}

fn only_run(project: &Path) -> RunDirectory {
    let runs = RunDirectory::list(project);
    assert_eq!(runs.len(), 1);
    runs.into_iter().next().unwrap()
}

fn weights(run: &RunDirectory) -> Vec<u8> {
    std::fs::read(run.checkpoints().join(format!("step-{STEPS}")).join("model.safetensors")).unwrap()
}

fn predictions(run: &RunDirectory) -> PathBuf {
    run.predictions()
}

#[test]
fn a_run_that_is_killed_ten_times_ends_with_the_same_weights() {
    let undisturbed = tempfile::tempdir().unwrap();
    assert!(train(undisturbed.path()).status().unwrap().success());
    let wanted = only_run(undisturbed.path());

    let dir = tempfile::tempdir().unwrap();
    let mut moments = Stream::new(std::process::id().into(), &["kills"]);
    for kill in 0..10 {
        let mut worker = if kill == 0 { train(dir.path()) } else { resume(dir.path()) }.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100 + moments.below(700) as u64));
        worker.kill().unwrap();
        worker.wait().unwrap();
        // Whatever the moment was, the run can be read.
        if let Some(run) = RunDirectory::list(dir.path()).first() {
            let read = run.read().unwrap();
            assert!(!read.state.is_active() || read.state == RunState::Queued, "{:?}", read.state);
            assert!(read.history.steps.windows(2).all(|pair| pair[1].step == pair[0].step + 1));
        }
    }
    if RunDirectory::list(dir.path()).is_empty() {
        assert!(train(dir.path()).status().unwrap().success());
    } else if only_run(dir.path()).read().unwrap().state != RunState::Finished {
        assert!(resume(dir.path()).status().unwrap().success());
    }
    let run = only_run(dir.path());
    assert_eq!(weights(&run), weights(&wanted), "seed of the moments: {}", std::process::id());
    assert_eq!(std::fs::read(predictions(&run)).unwrap(), std::fs::read(predictions(&wanted)).unwrap());
    let history = History::read(&run.journal()).unwrap();
    let losses = |history: &History| history.steps.iter().map(|step| (step.step, step.loss)).collect::<Vec<_>>();
    assert_eq!(losses(&history), losses(&History::read(&wanted.journal()).unwrap()));
}

fn resume(project: &Path) -> Command {
    let mut command = afterthought(project);
    // Killed before its run was made, there is nothing to resume yet.
    if RunDirectory::list(project).is_empty() {
        return train(project);
    }
    command.args(["train", "--resume", "last"]);
    command
}

/// Waits until `done` says so; the test fails after a time that no machine needs.
fn wait(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1200 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited a minute for: {what}");
}

#[test]
fn a_detached_run_outlives_its_starter_and_obeys_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = train(dir.path());
    command.args(["--set", "training.steps=4000", "--detach"]);
    assert!(command.status().unwrap().success());
    let run = only_run(dir.path());
    let read = || run.read().unwrap();
    wait("the first steps", || read().history.step() > 20);
    assert_eq!(control::send(&run, control::Command::Pause).unwrap(), RunState::Paused);
    wait("the pause", || read().state == RunState::Paused);
    let step = read().history.step();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(read().history.step(), step, "a paused run takes no step");
    assert!(run.checkpoints().join(format!("step-{step}")).is_dir(), "and is saved");
    control::send(&run, control::Command::Resume).unwrap();
    wait("more steps", || read().history.step() > step);
    control::send(&run, control::Command::Stop).unwrap();
    wait("the stop", || read().state == RunState::Stopped);
    assert!(run.newest_checkpoint().is_some());
    let stopped = read().history.step();
    assert!(afterthought(dir.path()).args(["runs", "resume", "last"]).status().unwrap().success());
    wait("the resumed run", || read().history.step() > stopped);
    assert_eq!(read().history.resumes.last(), Some(&stopped), "it went on where it was");
    // SIGTERM ends it with its checkpoint, as a machine that shuts down would.
    let pid = run.worker().expect("a worker").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    wait("the end", || read().state == RunState::Stopped);
    assert_eq!(read().history.reason.as_deref(), Some("SIGTERM"));
}
