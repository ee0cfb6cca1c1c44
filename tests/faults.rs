//! What goes wrong on real machines: kills at any moment, full disks, torn journals, clocks set back, numbers that are none,
//! folders that can't be written. No acknowledged step is lost beyond the last checkpoint, nothing panics, and what is
//! shown is true.

mod processes;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use afterthought::journal::{Event, History, RunState, Writer, parse};
use afterthought::runs::{RunDirectory, control};
use afterthought::seeds::Stream;
use afterthought::training::checkpoint;
use processes::{signal, wait};

const PROGRAM: &str = env!("CARGO_BIN_EXE_afterthought");

fn afterthought(project: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("-C").arg(project).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// `train` with settings, the evaluations being short.
fn train(project: &Path, settings: &[&str]) -> Command {
    let mut command = afterthought(project, &["train", "--set", "evaluation.examples=20"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

/// What a command prints, on either stream.
fn said(mut command: Command) -> (Option<i32>, String) {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

fn newest(project: &Path) -> RunDirectory {
    RunDirectory::find(project, "last").unwrap()
}

/// Sets how large the files of a process may grow, which stands for a full disk; `None` makes room again.
fn limit_files(child: &Child, bytes: Option<u64>) {
    let limit = libc::rlimit { rlim_cur: bytes.unwrap_or(libc::RLIM_INFINITY), rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit is read, and nothing is written.
    let set = unsafe { libc::prlimit(child.id() as i32, libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut()) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

fn model(run: &RunDirectory, step: usize) -> Vec<u8> {
    fs::read(run.checkpoints().join(format!("step-{step}/model.safetensors"))).unwrap()
}

fn losses(run: &RunDirectory) -> Vec<(usize, f64)> {
    History::read(&run.journal()).unwrap().steps.iter().map(|step| (step.step, step.loss)).collect()
}

#[test]
fn killed_a_hundred_times_runs_end_with_the_same_weights() {
    const STEPS: usize = 300;
    let steps = format!("training.steps={STEPS}");
    // A checkpoint every few steps, so that many kills meet one being written.
    let settings = [steps.as_str(), "training.checkpoint={every: 4, keep: {last: 2, best: 1}}", "evaluation.every=40"];
    let undisturbed = tempfile::tempdir().unwrap();
    assert!(train(undisturbed.path(), &settings).status().unwrap().success());
    let wanted = newest(undisturbed.path());

    let dir = tempfile::tempdir().unwrap();
    let mut moments = Stream::new(7, &["kills"]);
    let (mut reached, mut finished) = (0, 0);
    for kill in 0..100 {
        let is_under_way = RunDirectory::find(dir.path(), "last").is_ok_and(|run| run.unfinished().is_ok());
        let mut command = if is_under_way {
            afterthought(dir.path(), &["train", "--resume", "last"])
        } else {
            train(dir.path(), &settings)
        };
        reached = if is_under_way { reached } else { 0 };
        let mut worker = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moments.below(450) as u64));
        worker.kill().unwrap();
        worker.wait().unwrap();
        let Ok(run) = RunDirectory::find(dir.path(), "last") else { continue };
        let read = run.read().unwrap();
        assert!(matches!(read.state, RunState::Interrupted | RunState::Finished | RunState::Queued), "kill {kill}");
        assert!(read.history.steps.windows(2).all(|pair| pair[1].step == pair[0].step + 1), "kill {kill}");
        let saved = checkpoint::list(&run.checkpoints());
        let newest = saved.last().map_or(0, |(step, _)| *step);
        // A run that was just begun may be a new one.
        assert!(newest >= reached || newest == 0, "kill {kill}: step {reached} was saved, and now {newest} is");
        assert!(read.history.step() >= newest, "kill {kill}: the journal is behind the checkpoints");
        saved.iter().for_each(|(step, path)| assert_eq!(checkpoint::read_state(path).unwrap().step, *step));
        reached = newest;
        if read.state == RunState::Finished {
            finished += 1;
            assert_eq!(model(&run, STEPS), model(&wanted, STEPS), "kill {kill}");
        }
    }
    let run = newest(dir.path());
    if run.unfinished().is_ok() {
        assert!(afterthought(dir.path(), &["train", "--resume", "last"]).status().unwrap().success());
    }
    assert_eq!(model(&run, STEPS), model(&wanted, STEPS));
    assert_eq!(losses(&run), losses(&wanted));
    assert_eq!(fs::read(run.predictions()).unwrap(), fs::read(wanted.predictions()).unwrap());
    println!("{finished} runs were finished between the kills");
}

#[test]
fn a_full_disk_pauses_a_run_until_there_is_room() {
    let settings = ["training.steps=60", "training.checkpoint.every=20", "evaluation.every=end"];
    let dir = tempfile::tempdir().unwrap();
    assert!(train(dir.path(), &settings).status().unwrap().success());
    let whole = model(&newest(dir.path()), 60);
    let first = newest(dir.path());
    // The journal has room, half a student has not.
    let script = format!("ulimit -S -f {}; exec \"$@\"", whole.len() / 1024 / 2);
    let begin = || {
        let plain = train(dir.path(), &settings);
        let mut limited = Command::new("bash");
        limited.args(["-c", &script, "bash"]).arg(plain.get_program()).args(plain.get_args());
        let child = limited.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait("the pause", || {
            let run = newest(dir.path());
            run != first && run.read().is_ok_and(|run| run.state == RunState::Paused)
        });
        child
    };
    let mut child = begin();
    let run = newest(dir.path());
    let reason = run.read().unwrap().history.reason.unwrap();
    assert!(reason.contains("the disk is full") && reason.contains("model.safetensors"), "{reason}");
    for command in [&["runs", "show", "last"][..], &["runs", "show", "last", "--json"]] {
        let (code, text) = said(afterthought(dir.path(), command));
        assert!(code == Some(0) && text.contains("paused") && text.contains("make room"), "{text}");
    }
    assert!(run.newest_checkpoint().is_none(), "no half checkpoint is taken for one");
    limit_files(&child, None);
    assert!(child.wait().unwrap().success());
    assert_eq!(run.read().unwrap().state, RunState::Finished);
    assert_eq!(model(&run, 60), whole);
    assert_eq!(losses(&run), losses(&first));

    // It obeys while it waits.
    fs::remove_dir_all(run.path()).unwrap();
    let mut child = begin();
    let run = newest(dir.path());
    assert_eq!(control::send(&run, control::Command::Stop).unwrap(), RunState::Stopped);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let read = run.read().unwrap();
    assert_eq!(read.state, RunState::Stopped);
    assert!(read.history.reason.unwrap().contains("free") || run.newest_checkpoint().is_none());
    assert!(afterthought(dir.path(), &["train", "--resume", "last"]).status().unwrap().success());
    assert_eq!(model(&run, 60), whole);
}

#[test]
fn a_journal_that_can_not_be_written_loses_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = train(dir.path(), &["training.steps=200", "evaluation.every=end"]).spawn().unwrap();
    wait("the first steps", || {
        RunDirectory::find(dir.path(), "last").is_ok_and(|run| run.read().is_ok_and(|run| run.history.step() > 20))
    });
    let run = newest(dir.path());
    let length = fs::metadata(run.journal()).unwrap().len();
    limit_files(&child, Some(length + 1000));
    wait("the pause", || run.read().unwrap().state == RunState::Paused);
    // The journal can't say so; the worker does.
    let told = control::status(&run).unwrap();
    assert!(told.reason.unwrap().contains("journal.jsonl") && told.step > 20);
    assert_ne!(History::read(&run.journal()).unwrap().state, Some(RunState::Paused));
    let (_, text) = said(afterthought(dir.path(), &["runs", "show", "last"]));
    assert!(text.contains("paused · the disk is full"), "{text}");
    limit_files(&child, None);
    assert!(child.wait().unwrap().success());
    let text = fs::read_to_string(run.journal()).unwrap();
    let entries: Vec<_> = parse(&text).collect();
    assert_eq!(entries.len(), text.lines().count(), "no line is torn");
    assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq), "and none is lost or doubled");
    let paused = |event: &Event| matches!(event, Event::State { state: RunState::Paused, reason: Some(_) });
    assert!(entries.iter().any(|entry| paused(&entry.event)));
    assert!(losses(&run).iter().zip(1..).all(|((step, _), number)| *step == number));
}

#[test]
fn a_signal_saves_a_run_wherever_it_is() {
    let progress = |dir: &Path, what: &str| {
        wait(what, || {
            RunDirectory::find(dir, "last").is_ok_and(|run| {
                run.read().is_ok_and(|run| run.history.progress.is_some_and(|now| now.0.contains(what)))
            })
        });
    };
    // In the middle of an evaluation that writes; its checkpoints come at the end only.
    let dir = tempfile::tempdir().unwrap();
    let writes = [
        "rationale.placement=pre",
        "evaluation.answer=generate",
        "evaluation.limit=120",
        "evaluation.every=3",
        "evaluation.examples=360",
        "training.checkpoint.every=end",
        "training.steps=60",
    ];
    let mut child = train(dir.path(), &writes).spawn().unwrap();
    progress(dir.path(), "asking");
    signal(&child, "-USR1");
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let run = newest(dir.path());
    let read = run.read().unwrap();
    assert_eq!((read.state, read.history.reason.as_deref()), (RunState::Stopped, Some("SIGUSR1")));
    assert_eq!(checkpoint::list(&run.checkpoints()).last().map(|(step, _)| *step), Some(read.history.step()));

    // While tokens are attributed for a recipe that needs it.
    let dir = tempfile::tempdir().unwrap();
    let keeps = ["rationale.ablations=[{keep: {by: attribution, count: 3}}]", "training.steps=20"];
    let mut child = train(dir.path(), &keeps).spawn().unwrap();
    let outer = || {
        let runs = RunDirectory::list(dir.path()).into_iter();
        runs.filter(|run| !run.id().starts_with("reader-")).find_map(|run| run.read().ok())
    };
    wait("attributing", || {
        outer().is_some_and(|run| run.history.progress.is_some_and(|now| now.0.contains("attributing")))
    });
    signal(&child, "-USR2");
    assert_eq!(child.wait().unwrap().code(), Some(75));
    assert_eq!(outer().unwrap().state, RunState::Stopped);

    // Between steps, as a machine that shuts down asks.
    let dir = tempfile::tempdir().unwrap();
    let mut child = train(dir.path(), &["training.steps=4000"]).spawn().unwrap();
    wait("steps", || {
        RunDirectory::find(dir.path(), "last").is_ok_and(|run| run.read().is_ok_and(|run| run.history.step() > 5))
    });
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let run = newest(dir.path());
    assert!(run.newest_checkpoint().is_some());
    // Nobody else has it now, and somebody has it then.
    let mut again = afterthought(dir.path(), &["train", "--resume", "last"]).spawn().unwrap();
    wait("more steps", || run.read().unwrap().state == RunState::Running);
    let (code, text) = said(afterthought(dir.path(), &["train", "--resume", "last"]));
    assert!(code == Some(1) && text.contains("another process is working"), "{text}");
    again.kill().unwrap();
    again.wait().unwrap();
    let (_, text) = said(afterthought(dir.path(), &["runs", "show", "last"]));
    assert!(text.contains("interrupted · its worker is gone"), "{text}");
}

#[test]
fn a_journal_may_be_cut_at_any_byte_of_its_last_line() {
    let dir = tempfile::tempdir().unwrap();
    assert!(train(dir.path(), &["training.steps=12", "training.checkpoint.every=5"]).status().unwrap().success());
    let run = newest(dir.path());
    let mut writer = Writer::open(&run.journal()).unwrap();
    writer.append(Event::Note { text: "ein Äpfelchen 🍏".into() }).unwrap();
    let whole = fs::read(run.journal()).unwrap();
    let before = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let all = parse(&String::from_utf8_lossy(&whole)).count();
    for cut in before..=whole.len() {
        fs::write(run.journal(), &whole[..cut]).unwrap();
        let read = run.read().unwrap();
        assert_eq!((read.state, read.history.step()), (RunState::Finished, 12), "cut at {cut}");
        let mut writer = Writer::open(&run.journal()).unwrap();
        writer.append(Event::Note { text: "after".into() }).unwrap();
        let text = String::from_utf8_lossy(&fs::read(run.journal()).unwrap()).into_owned();
        let entries: Vec<_> = parse(&text).collect();
        // All but the torn line, and all of it where only the line feed was missing.
        let is_torn = cut > before && cut < whole.len() - 1;
        let lost = usize::from(is_torn || cut == before);
        assert_eq!(entries.len(), all + 1 - lost, "cut at {cut}");
        assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq), "cut at {cut}");
    }
    // A worker that begins on a torn journal ends like one that began on a whole one.
    let lines: Vec<&str> = std::str::from_utf8(&whole).unwrap().lines().collect();
    let eighth = lines.iter().position(|line| line.contains("\"event\":\"step\",\"step\":8")).unwrap();
    let torn = lines[..eighth].join("\n") + "\n" + &lines[eighth][..30];
    let end = model(&run, 12);
    fs::write(run.journal(), torn).unwrap();
    fs::remove_dir_all(run.checkpoints().join("step-12")).unwrap();
    assert_eq!(run.read().unwrap().state, RunState::Interrupted);
    assert!(afterthought(dir.path(), &["train", "--resume", "last"]).status().unwrap().success());
    assert_eq!(model(&run, 12), end);
    assert!(losses(&run).iter().map(|(step, _)| *step).eq(1..=12));
}

#[test]
fn a_clock_that_was_set_back_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["training.steps=4000", "training.checkpoint.every=10"];
    let mut child = train(dir.path(), &settings).spawn().unwrap();
    wait("steps", || {
        RunDirectory::find(dir.path(), "last").is_ok_and(|run| run.read().is_ok_and(|run| run.history.step() > 15))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let run = newest(dir.path());
    // What was written, was written in 2099.
    let rewrite = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let year = text.split_once("\"time\":\"").unwrap().1[..4].to_owned();
        fs::write(path, text.replace(&format!("\"time\":\"{year}-"), "\"time\":\"2099-")).unwrap();
    };
    rewrite(&run.journal());
    assert_eq!(run.read().unwrap().state, RunState::Interrupted);
    let mut spec = run.spec().unwrap();
    spec.training.steps = Some(30);
    run.write_spec(&spec).unwrap();
    fs::remove_dir_all(run.checkpoints()).unwrap();
    assert!(afterthought(dir.path(), &["train", "--resume", "last"]).status().unwrap().success());
    let read = run.read().unwrap();
    assert_eq!((read.state, read.history.step(), read.history.steps.len()), (RunState::Finished, 30, 30));
    for command in [["runs", "list"], ["runs", "compare"]] {
        assert_eq!(said(afterthought(dir.path(), &command)).0, Some(0));
    }

    // A run whose worker never came does not wait for it until 2099.
    let queued = RunDirectory::create(dir.path(), spec, "queued").unwrap();
    assert_eq!(queued.read().unwrap().state, RunState::Queued);
    rewrite(&queued.journal());
    assert_eq!(queued.read().unwrap().state, RunState::Interrupted);
}

#[test]
fn a_folder_that_can_not_be_written_is_named_and_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = train(dir.path(), &["training.steps=4000"]).spawn().unwrap();
    wait("steps", || {
        RunDirectory::find(dir.path(), "last").is_ok_and(|run| run.read().is_ok_and(|run| run.history.step() > 5))
    });
    signal(&child, "-TERM");
    child.wait().unwrap();
    let run = newest(dir.path());
    let allow = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::remove_file(run.path().join("worker.lock")).unwrap();
    allow(run.path(), 0o555);
    // Permissions mean nothing to root, who asks as somebody else.
    let copy = tempfile::tempdir().unwrap();
    let somebody = |arguments: &[&str]| {
        if !rustix::process::geteuid().is_root() {
            return said(afterthought(dir.path(), arguments));
        }
        let program = copy.path().join("afterthought");
        if !program.exists() {
            fs::copy(PROGRAM, &program).unwrap();
            for path in [copy.path(), dir.path()] {
                allow(path, 0o755);
            }
            allow(&run.path().parent().unwrap().join(".slots"), 0o777);
        }
        let mut command = Command::new(program);
        command.arg("-C").arg(dir.path()).args(arguments).stdin(Stdio::null()).uid(65534).gid(65534);
        said(command)
    };
    assert_eq!(somebody(&["runs", "show", "last"]).0, Some(0));
    let (code, text) = somebody(&["train", "--resume", "last"]);
    allow(run.path(), 0o755);
    assert!(code == Some(1) && text.contains("worker.lock") && text.contains("permissions"), "{text}");
    assert_eq!(run.read().unwrap().state, RunState::Stopped);
}

#[test]
fn numbers_that_are_none_stop_a_run_with_all_that_helps_to_find_out_why() {
    let dir = tempfile::tempdir().unwrap();
    let wild = [
        "training.learning_rate=1e30",
        "training.clip=0",
        "training.warmup=0",
        "training.steps=60",
        "training.checkpoint.every=1",
        "evaluation.every=end",
    ];
    let (code, text) = said(train(dir.path(), &wild));
    assert_eq!(code, Some(1));
    let run = newest(dir.path());
    let read = run.read().unwrap();
    assert_eq!(read.state, RunState::Failed);
    let reason = read.history.reason.unwrap();
    let step = read.history.steps.len() + 1;
    for wanted in
        [format!("step {step} failed"), "is no number".into(), "tr-".into(), format!("checkpoints/step-{}", step - 1)]
    {
        assert!(reason.contains(&wanted) && text.contains(&wanted), "{wanted}: {text}");
    }

    let skips: Vec<&str> = wild.into_iter().chain(["training.on_nonfinite=skip"]).collect();
    let (code, text) = said(train(dir.path(), &skips));
    assert!(code == Some(1) && text.contains("21 steps in a row changed nothing"), "{text}");
    let run = newest(dir.path());
    let read = run.read().unwrap();
    assert_eq!(read.history.skipped.len(), 20);
    assert!(read.history.skipped.iter().all(|skipped| skipped.examples.len() == 32));
    let (_, text) = said(afterthought(dir.path(), &["runs", "show", "last"]));
    assert!(text.contains("20 steps were skipped"), "{text}");
}

#[test]
fn the_best_checkpoint_is_kept_named_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        "training.steps=120",
        "training.checkpoint={every: 60, keep: {last: 1, best: 1}}",
        "evaluation.every=10",
        "training.learning_rate=0.03",
    ];
    assert!(train(dir.path(), &settings).status().unwrap().success());
    let run = newest(dir.path());
    let read = run.read().unwrap();
    let best = read.history.ranking("validation")[0];
    let steps: Vec<usize> = checkpoint::list(&run.checkpoints()).iter().map(|(step, _)| *step).collect();
    let wanted = if best == 120 { vec![120] } else { vec![best, 120] };
    assert_eq!(steps, wanted, "also one that fell between two checkpoints");
    let (_, text) = said(afterthought(dir.path(), &["runs", "show", "last"]));
    let marked = text.lines().find(|line| line.contains("the best checkpoint")).unwrap_or_default();
    assert!(marked.trim_start_matches("step").trim_start().starts_with(&best.to_string()), "{text}");
    let before = fs::read(run.predictions()).unwrap();
    let (code, text) = said(afterthought(dir.path(), &["evaluate", "last@best", "--split", "test", "--json"]));
    assert!(code == Some(0) && text.contains("accuracy"), "{text}");
    if best != 120 {
        assert_eq!(fs::read(run.predictions()).unwrap(), before, "the run's own predictions stay");
    }
    let to = dir.path().join("exported");
    let (code, text) = said(afterthought(dir.path(), &["runs", "export", "last@best", "--to", to.to_str().unwrap()]));
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(fs::read(to.join("model.safetensors")).unwrap(), model(&run, best));
    let (code, text) = said(afterthought(dir.path(), &["evaluate", "last@7"]));
    assert!(code == Some(1) && text.contains("no checkpoint of step 7") && text.contains("120"), "{text}");
}
