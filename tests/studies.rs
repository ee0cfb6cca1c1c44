//! Studies as people use them: run, killed, stopped, continued, and wrong in every way.

mod processes;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use afterthought::corpus::Catalog;
use afterthought::corpus::edits::{Patch, Target};
use afterthought::journal::{History, RunState};
use afterthought::runs::RunDirectory;
use processes::{signal, wait};
use serde_json::Value;

fn study(project: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C").arg(project).arg("study").args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn project(yaml: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("studies")).unwrap();
    fs::write(dir.path().join("studies/mine.yaml"), yaml).unwrap();
    dir
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

fn runs(project: &Path) -> Vec<RunDirectory> {
    RunDirectory::list(project)
}

const SMALL: &str = "
base:
  training: {steps: 8, checkpoint: {every: 4, keep: 1}}
  evaluation: {split: validation, final: validation, every: end, examples: 20}
conditions:
  none: {rationale.placement: none}
  post: {}
seeds: [0, 1]
baseline: none
";

#[test]
fn a_study_that_is_killed_goes_on_and_runs_no_cell_twice() {
    let dir = project(SMALL);
    let mut first = study(dir.path(), &["run", "mine", "--workers", "2"]).spawn().unwrap();
    wait("two runs", || runs(dir.path()).len() >= 2);
    first.kill().unwrap();
    first.wait().unwrap();
    // One of its workers as well, as when a machine goes down.
    if let Some(worker) = runs(dir.path())[0].worker() {
        let _ = Command::new("kill").args(["-9", &worker.to_string()]).status();
    }
    let again = study(dir.path(), &["run", "mine", "--json"]).output().unwrap();
    assert!(again.status.success(), "{}", said(&again));
    let result = json(&again);
    // Four cells, and the students of two seeds before fine-tuning.
    assert_eq!((&result["cells"], &result["finished"]), (&Value::from(6), &Value::from(6)), "{result}");
    let all = runs(dir.path());
    assert_eq!(all.len(), 6);
    for run in &all {
        let read = run.read().unwrap();
        assert_eq!(read.state, RunState::Finished);
        let steps: Vec<usize> = read.history.steps.iter().map(|step| step.step).collect();
        assert_eq!(steps, (1..=read.history.steps_planned).collect::<Vec<_>>(), "{}", run.id());
        assert_eq!(read.spec.tags["study"], "mine");
    }
    let third = study(dir.path(), &["run", "mine"]).output().unwrap();
    assert!(said(&third).contains("6 of 6 cells are finished, 6 of them before"), "{}", said(&third));
    assert_eq!(runs(dir.path()).len(), 6);

    let shown = study(dir.path(), &["show", "mine", "--json"]).output().unwrap();
    let rows = json(&shown)["sections"][0]["rows"].clone();
    let names: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["condition"].as_str().unwrap()).collect();
    assert_eq!(names, ["majority class", "before fine-tuning", "none", "post"]);
    assert!(rows.as_array().unwrap().iter().all(|row| row["accuracy"].is_number()), "{rows}");
    assert!(rows[3]["against"]["says"].is_string() && rows[3]["truncated"].is_number(), "{rows}");
    // Measured against what was there before, the baseline has a difference too.
    let turned = study(dir.path(), &["show", "mine", "--baseline", "before fine-tuning", "--json"]).output().unwrap();
    let rows = json(&turned)["sections"][0]["rows"].clone();
    assert!((0..4).all(|place| rows[place]["against"].is_object() == (place != 1)), "{rows}");
    let questions = study(dir.path(), &["disagree", "mine", "post", "majority class", "--json"]).output().unwrap();
    let found = json(&questions)[0]["disagreements"].clone();
    assert_eq!((found["one"].as_str(), &found["runs"]), (Some("post"), &serde_json::json!([2, 1])), "{found}");
    assert!(found["questions"].as_array().is_some_and(|all| !all.is_empty()));
    // Before fine-tuning nothing is trained, and nothing is kept that could be.
    let before = all.iter().find(|run| run.id().contains("before-fine-tuning")).unwrap();
    assert!(before.newest_checkpoint().is_none() && before.predictions().is_file());

    let report = study(dir.path(), &["report", "mine"]).output().unwrap();
    assert!(report.status.success(), "{}", said(&report));
    let page = fs::read_to_string(dir.path().join("studies/mine.html")).unwrap();
    assert!(all.iter().all(|run| page.contains(&format!("../runs/{}/", run.id()))));
    for (format, sign) in [("markdown", "| condition"), ("csv", "study,dataset"), ("latex", "\\toprule")] {
        let table = study(dir.path(), &["report", "mine", "--format", format]).output().unwrap();
        assert!(said(&table).contains(sign), "{}", said(&table));
    }
}

#[test]
fn ctrl_c_stops_with_a_checkpoint_and_the_same_command_goes_on() {
    let yaml = SMALL.replace("steps: 8", "steps: 300").replace("every: 4", "every: 100").replace("[0, 1]", "[0]");
    let dir = project(&(yaml + "exclude: [{condition: none}]\n").replace("baseline: none", ""));
    let child = study(dir.path(), &["run", "mine"]).spawn().unwrap();
    let training = || runs(dir.path()).into_iter().find(|run| run.id().ends_with("post"));
    wait("steps", || training().is_some_and(|run| run.read().is_ok_and(|run| run.history.step() > 10)));
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    assert!(said(&output).contains("study run mine` goes on"), "{}", said(&output));
    let run = training().unwrap();
    assert_eq!(run.read().unwrap().state, RunState::Stopped);
    assert!(run.newest_checkpoint().is_some());
    let planned = json(&study(dir.path(), &["run", "mine", "--dry-run", "--json"]).output().unwrap());
    let states: Vec<&str> =
        planned["cells"].as_array().unwrap().iter().map(|cell| cell["state"].as_str().unwrap()).collect();
    assert!(states.contains(&"stopped"), "{states:?}");

    let again = study(dir.path(), &["run", "mine"]).output().unwrap();
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(runs(dir.path()).len(), 2, "one cell, and its student before fine-tuning");
    assert_eq!(History::read(&run.journal()).unwrap().resumes.len(), 1);
}

#[test]
fn a_cell_that_fails_stops_no_other_and_is_tried_again_only_when_asked() {
    let yaml = SMALL.replace("post: {}", "cut: {training: {max_length: 3}}").replace("[0, 1]", "[0]");
    let dir = project(&yaml);
    let first = study(dir.path(), &["run", "mine"]).output().unwrap();
    assert_eq!(first.status.code(), Some(1));
    let words = said(&first);
    assert!(words.contains("did not finish; the others did") && words.contains("cut · seed 0"), "{words}");
    assert!(words.contains("can't be trained on"), "its last words: {words}");
    let none = runs(dir.path()).into_iter().find(|run| run.id().ends_with("none")).unwrap();
    assert_eq!(none.read().unwrap().state, RunState::Finished);
    let (count, cut) = (runs(dir.path()).len(), || {
        let run = runs(dir.path()).into_iter().find(|run| run.id().ends_with("cut")).unwrap();
        fs::read_to_string(run.journal()).unwrap().matches("\"failed\"").count()
    });
    assert_eq!(cut(), 1);
    let second = study(dir.path(), &["run", "mine"]).output().unwrap();
    assert_eq!((second.status.code(), cut()), (Some(1), 1), "{}", said(&second));
    let third = study(dir.path(), &["run", "mine", "--retry"]).output().unwrap();
    assert_eq!((third.status.code(), cut()), (Some(1), 2), "{}", said(&third));
    assert_eq!(runs(dir.path()).len(), count, "in the same folder");
}

#[test]
fn a_data_set_that_is_gone_costs_its_cells_alone() {
    let yaml = SMALL.replace("conditions:", "grid: {dataset: [toyworld, gone]}\nconditions:").replace("[0, 1]", "[0]");
    let dir = project(&yaml);
    let output = study(dir.path(), &["run", "mine"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = said(&output);
    assert!(words.contains("gone · none · seed 0: can't run") && words.contains("no data set `gone`"), "{words}");
    let finished = runs(dir.path()).iter().filter(|run| run.read().unwrap().state == RunState::Finished).count();
    assert_eq!(finished, 3, "the others are finished, and stay");
    let shown = study(dir.path(), &["show", "mine"]).output().unwrap();
    assert!(shown.status.success() && said(&shown).contains("no data set `gone`"), "{}", said(&shown));
}

#[test]
fn edited_rows_are_another_result() {
    let dir = project(&SMALL.replace("[0, 1]", "[0]"));
    assert!(study(dir.path(), &["run", "mine"]).output().unwrap().status.success());
    let states = || -> Vec<String> {
        let planned = json(&study(dir.path(), &["run", "mine", "--dry-run", "--json"]).output().unwrap());
        planned["cells"].as_array().unwrap().iter().map(|cell| cell["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(), ["finished"; 3]);
    let dataset = Catalog::new(dir.path()).open("toyworld").unwrap();
    let target = Target { split: "train".into(), id: "tr-0002".into(), source: "default".into() };
    dataset.change(|edits| edits.set(target, Patch::Rationale(Some("because".into())))).unwrap();
    assert_eq!(states(), ["would run"; 3]);
}

#[test]
fn cells_that_read_a_file_of_word_vectors_are_found_again() {
    let keep = "rationale: {ablations: [{keep: {by: similarity, count: 2, vectors: words.vec}}]}";
    let dir = project(&SMALL.replace("[0, 1]", "[0]").replace("post: {}", &format!("post: {{{keep}}}")));
    fs::write(dir.path().join("words.vec"), "its 1 0\nby 0 1\n").unwrap();
    let output = study(dir.path(), &["run", "mine"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(states(dir.path()), ["finished"; 3]);
    fs::write(dir.path().join("words.vec"), "its 0 1\nby 1 0\n").unwrap();
    assert_eq!(states(dir.path()), ["finished", "finished", "would run"], "other vectors keep other tokens");
}

/// The state of every cell, as a dry run has it.
fn states(project: &Path) -> Vec<String> {
    let planned = json(&study(project, &["run", "mine", "--dry-run", "--json"]).output().unwrap());
    planned["cells"].as_array().unwrap().iter().map(|cell| cell["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn cells_of_a_student_whose_weights_were_changed_are_run_again() {
    let yaml = "
base: {student: tiny, dataset: toyworld, training: {steps: 2, max_length: 32, unusable: skip}}
conditions: {none: {rationale.placement: none, evaluation: {limit: 1, answer: likelihood, every: end}}}
";
    let dir = project(yaml);
    let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gpt2"), dir.path().join("tiny"));
    fs::create_dir(&to).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let output = study(dir.path(), &["run", "mine"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(states(dir.path()), ["finished"; 2]);
    let weights = to.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    assert_eq!(states(dir.path()), ["would run"; 2]);
}

#[test]
fn cells_whose_texts_come_from_a_source_know_when_it_changes() {
    let keep = "rationale: {placement: post, ablations: [{swap: {with: wrong-choice, source: wrong}}]}";
    let yaml = SMALL.replace("[0, 1]", "[0]").replace("post: {}", &format!("post: {{{keep}}}"));
    let dir = project(&yaml.replace("base:", "base:\n  dataset: world"));
    let mut generate = Command::new(env!("CARGO_BIN_EXE_afterthought"));
    generate.arg("-C").arg(dir.path()).args(["data", "generate", "toyworld", "--seed", "3", "--as", "world"]);
    assert!(generate.output().unwrap().status.success());
    let folder = dir.path().join("datasets/world");
    let train = fs::read_to_string(folder.join("train.jsonl")).unwrap();
    let first: Value = serde_json::from_str(train.lines().next().unwrap()).unwrap();
    let choices = first["choices"].as_array().unwrap();
    let wrong = choices.iter().find(|choice| choice["label"] != first["answer"]).unwrap();
    let write = |text: &str| {
        let line = serde_json::json!({"id": first["id"], "rationale": text, "teacher_answer": wrong["label"]});
        fs::create_dir_all(folder.join("rationales")).unwrap();
        fs::write(folder.join("rationales/wrong.jsonl"), format!("{line}\n")).unwrap();
    };
    write("its gills");
    let output = study(dir.path(), &["run", "mine"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(states(dir.path()), ["finished"; 3]);
    write("its fins");
    assert_eq!(states(dir.path()), ["finished", "finished", "would run"]);
    write("its gills");
    assert_eq!(states(dir.path()), ["finished"; 3]);
    // The words in which questions are put decide as much as the rows.
    let yaml = fs::read_to_string(folder.join("dataset.yaml")).unwrap();
    let other = yaml.replace("answer :", "so :");
    assert_ne!(other, yaml);
    fs::write(folder.join("dataset.yaml"), other).unwrap();
    assert_eq!(states(dir.path()), ["would run"; 3]);
}

#[test]
fn bad_studies_get_a_clear_error_and_run_nothing() {
    for (yaml, expected) in [
        ("grid:\n  training.learning_rat: [1]", &["mine.yaml:2", "did you mean `learning_rate`"][..]),
        ("grid: {dataset: []}", &["mine.yaml:1", "nothing to run"]),
        ("seeds: [3, 3]", &["are the same run", "seed 3"]),
        ("exclude: [{dataset: toyworld}]", &["every cell is excluded"]),
        ("seeds: [0]\nexclude: [{condition: odd}]", &["mine.yaml:2", "matches no cell"]),
    ] {
        let dir = project(yaml);
        let output = study(dir.path(), &["run", "mine"]).output().unwrap();
        let words = said(&output);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(expected.iter().all(|part| words.contains(part)), "{yaml}\n{words}");
        assert!(runs(dir.path()).is_empty());
    }
    let dir = project("");
    let output = study(dir.path(), &["run", "mein"]).output().unwrap();
    assert!(said(&output).contains("did you mean `mine`"), "{}", said(&output));
}

#[test]
fn what_is_in_the_way_of_many_cells_is_said_once() {
    let dir = project(&SMALL.replace("base:", "base:\n  dataset: gone"));
    let output = study(dir.path(), &["run", "mine", "--dry-run"]).output().unwrap();
    let words = said(&output);
    assert_eq!(words.matches("there is no data set `gone`").count(), 2, "{words}");
    assert!(words.contains("more cells can't run") && words.contains("`data import` brings more"), "{words}");
    assert!(words.contains("6 cells: 0 finished, 0 would run, 0 failed, 6 can't run"), "{words}");
}

#[test]
fn a_full_disk_in_the_middle_is_waited_for() {
    let dir = project(&SMALL.replace("[0, 1]", "[0]"));
    let mut command = study(dir.path(), &["run", "mine", "--workers", "1"]);
    use std::os::unix::process::CommandExt;
    // How large files may grow stands for a full disk: a checkpoint of the toy is larger.
    let limit = libc::rlimit { rlim_cur: 100_000, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: setrlimit is safe to call between fork and exec.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let child = command.spawn().unwrap();
    let waiting = || {
        runs(dir.path()).into_iter().find(|run| {
            run.read().is_ok_and(|run| {
                run.state == RunState::Paused
                    && run.history.reason.is_some_and(|reason| reason.contains("disk is full"))
            })
        })
    };
    wait("the full disk", || waiting().is_some());
    // Long enough for the study to hear of it.
    std::thread::sleep(Duration::from_secs(5));
    let free = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    let worker = waiting().unwrap().worker().unwrap();
    for process in [worker, child.id()] {
        // SAFETY: the limit is read, and nothing is written.
        let set = unsafe { libc::prlimit(process as i32, libc::RLIMIT_FSIZE, &free, std::ptr::null_mut()) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("waits: ") && said(&output).contains("disk is full"), "{}", said(&output));
    assert_eq!(runs(dir.path()).len(), 3);
}

#[test]
fn the_papers_grid_is_estimated_without_its_students() {
    let dir = tempfile::tempdir().unwrap();
    let row = |number: usize| {
        serde_json::json!({
            "id": format!("q{number}"), "question": "where would you look for a harbour seal in the winter?",
            "choices": [{"label": "A", "text": "coast"}, {"label": "B", "text": "desert"}], "answer": "A",
            "rationale": "seals live where the sea is, and in the winter they rest on rocks along the coast.",
        })
        .to_string()
    };
    for name in ["commonsenseqa", "openbookqa", "quarel"] {
        let folder = dir.path().join("datasets").join(name);
        fs::create_dir_all(&folder).unwrap();
        for split in ["train", "validation"] {
            let rows: Vec<String> = (0..20).map(row).collect();
            fs::write(folder.join(format!("{split}.jsonl")), rows.join("\n") + "\n").unwrap();
        }
    }
    let mut command = study(dir.path(), &["run", "paper", "--dry-run", "--json"]);
    command.env("HF_HOME", dir.path().join("cache")).env("HF_HUB_OFFLINE", "1");
    let output = command.output().unwrap();
    let planned = json(&output);
    assert_eq!(planned["to_run"], 3 * 3 * 14 * 3 + 9);
    assert_eq!((&planned["without_time"], &planned["without_size"]), (&Value::from(0), &Value::from(0)), "{planned}");
    let largest =
        planned["cells"].as_array().unwrap().iter().filter_map(|cell| cell["estimate"]["bytes"].as_u64()).max();
    assert_eq!(largest, Some(12 * 2_506_172_416), "weights and two moments of Gemma 2B");
    assert!(planned["seconds"].as_f64().unwrap() > 0.0);
    assert!(runs(dir.path()).is_empty());
}
