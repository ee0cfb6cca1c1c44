//! The command line as scripts use it: outputs, exit codes, and errors that say what to do.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run_in(self.path(), arguments)
    }

    /// Standard output of a command that must succeed.
    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        serde_json::from_str(&self.says(&arguments)).unwrap()
    }

    /// The error of a command that must fail with this code.
    #[track_caller]
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(!error.contains("panicked") && !error.contains("RUST_BACKTRACE"), "{error}");
        error
    }

    fn runs(&self) -> usize {
        afterthought::runs::RunDirectory::list(self.path()).len()
    }

    fn run_folder(&self, id: &str) -> PathBuf {
        self.path().join("runs").join(id)
    }

    /// Makes a finished run one that was stopped before its end.
    fn unfinish(&self, id: &str) {
        let journal = self.run_folder(id).join("journal.jsonl");
        let text = std::fs::read_to_string(&journal).unwrap();
        let cut: Vec<&str> = text.lines().filter(|line| !line.contains("finished")).collect();
        std::fs::write(&journal, cut.join("\n") + "\n").unwrap();
    }

    /// Trains a short run and gives its id.
    fn train(&self, settings: &[&str]) -> String {
        let mut arguments = vec!["train", "--set", "training.steps=20", "--set", "evaluation.every=10"];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        let said = self.says(&arguments);
        said.lines().last().unwrap().to_owned()
    }
}

fn run_in(project: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C").arg(project).args(arguments).stdin(Stdio::null());
    command.env_remove("RUST_BACKTRACE").output().unwrap()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// Leaves half of a file.
fn cut(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn a_project_is_made_and_made_once() {
    let project = Project::new();
    assert!(project.says(&["init"]).contains("is a project now"));
    assert!(project.path().join("runs").is_dir() && project.path().join("themes").is_dir());
    let run = std::fs::read_to_string(project.path().join("run.yaml")).unwrap();
    std::fs::write(project.path().join("run.yaml"), run.replace("epochs: 3", "epochs: 4")).unwrap();
    assert!(project.says(&["init"]).contains("nothing was changed"));
    assert!(std::fs::read_to_string(project.path().join("run.yaml")).unwrap().contains("epochs: 4"));
    // The file that it wrote is one that `train` takes.
    let file = project.path().join("run.yaml");
    let file = file.to_str().unwrap();
    let id = project.says(&["train", file, "--set", "training.steps=2"]);
    assert!(project.path().join("runs").join(id.trim()).is_dir());
}

#[test]
fn render_shows_tokens_with_roles_and_weights() {
    let project = Project::new();
    let shown = project.json(&["render", "toyworld", "--id", "tr-0001"]);
    let tokens = shown["tokens"].as_array().unwrap();
    let joined: String = tokens.iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(shown["text"], joined);
    let roles: Vec<&str> = tokens.iter().map(|token| token["role"].as_str().unwrap()).collect();
    for role in ["prompt", "separator", "label", "rationale", "end"] {
        assert!(roles.contains(&role), "{role}");
    }
    assert!(tokens.iter().all(|token| token["id"].is_u64() && token["loss"].is_number()));
    let label = tokens.iter().find(|token| token["role"] == "label").unwrap();
    assert_eq!(label["loss"], 1.0);

    let recipe = project.path().join("recipe.yaml");
    std::fs::write(&recipe, "placement: pre\nablations:\n  - keep: {by: first, count: 2}\n").unwrap();
    let recipe = recipe.to_str().unwrap();
    let cut = project.json(&["render", "toyworld", "--id", "tr-0001", "--recipe", recipe]);
    let rationale = cut["tokens"].as_array().unwrap().iter().filter(|token| token["role"] == "rationale").count();
    assert_eq!(rationale, 2);
    let set = ["render", "toyworld", "--id", "tr-0001", "--set", "rationale.placement=none"];
    assert!(!project.json(&set)["text"].as_str().unwrap().contains("because"));

    std::fs::write(recipe, "placement: pre\nablation:\n  - keep: {by: first, count: 2}\n").unwrap();
    let error = project.fails(1, &["render", "toyworld", "--id", "tr-0001", "--recipe", recipe]);
    assert!(error.contains("recipe.yaml") && error.contains("did you mean `ablations`"), "{error}");
}

#[test]
fn a_run_is_trained_shown_evaluated_attributed_forked_and_exported() {
    let project = Project::new();
    let id = project.train(&["rationale.placement=pre"]);
    let shown = project.json(&["runs", "show", &id]);
    assert_eq!(shown["id"], id.as_str());
    assert_eq!(shown["state"], "finished");
    assert_eq!((shown["step"].as_u64(), shown["steps"].as_u64()), (Some(20), Some(20)));
    assert!(shown["loss"].is_number() && shown["accuracy"].is_number());
    assert_eq!(project.json(&["runs", "list"]).as_array().unwrap().len(), 1);

    let found = project.json(&["evaluate", "last", "--split", "test"]);
    assert_eq!(found["examples"], 600);
    let (low, high) = (found["interval"][0].as_f64().unwrap(), found["interval"][1].as_f64().unwrap());
    let accuracy = found["accuracy"].as_f64().unwrap();
    assert!(low <= accuracy && accuracy <= high);
    assert!((found["correct"].as_f64().unwrap() / 600.0 - accuracy).abs() < 1e-12);
    let predictions = std::fs::read_to_string(project.path().join("runs").join(&id).join("predictions.jsonl")).unwrap();
    let test: Vec<Value> = predictions
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|prediction| prediction["split"] == "test")
        .collect();
    assert_eq!(test.len(), 600);
    let scored = test.iter().find(|prediction| !prediction["predicted"].is_null()).unwrap();
    assert_eq!(scored["choices"].as_array().unwrap().len(), 5);
    assert!(scored["choices"][0]["log_likelihood"].as_f64().unwrap() < 0.0);
    let written = project.json(&["evaluate", "last", "--set", "evaluation.answer=generate", "--limit", "40"]);
    assert_eq!(written["examples"], 40);

    let attributed = project.json(&["attribute", "last", "toyworld", "--id", "tr-0001"]);
    assert_eq!(attributed["method"], "integrated gradients");
    assert_eq!(attributed["steps"], 20);
    assert!(attributed["convergence_delta"].as_f64().unwrap().abs() < 1e-4);
    let scores: f64 = attributed["tokens"].as_array().unwrap().iter().filter_map(|token| token["score"].as_f64()).sum();
    let change = attributed["log_p"].as_f64().unwrap() - attributed["log_p_baseline"].as_f64().unwrap();
    assert!((scores - change).abs() < 1e-4, "the scores add up to what they explain");
    project.says(&["attribute", "last", "toyworld", "--split", "validation", "--steps", "4"]);
    let stored = project.path().join("runs").join(&id).join("attributions");
    assert_eq!(std::fs::read_dir(stored).unwrap().count(), 1);

    let fork = project.json(&["runs", "fork", &id, "--set", "training.steps=30"]);
    let fork = fork["id"].as_str().unwrap();
    project.says(&["runs", "follow", fork]);
    let forked = project.json(&["runs", "show", fork]);
    assert_eq!(forked["spec"]["record"]["forked_from"][0], id.as_str());
    assert_eq!((&forked["forked_from"]["run"], &forked["forked_from"]["step"]), (&id.as_str().into(), &20.into()));
    assert_eq!(project.json(&["runs", "show", &id])["forks"][0]["run"], fork);
    assert_eq!(forked["step"], 30);
    let journal = std::fs::read_to_string(project.path().join("runs").join(fork).join("journal.jsonl")).unwrap();
    assert!(journal.contains(r#""event":"resume","step":20"#), "the fork begins where the run ended");

    let to = project.path().join("student");
    project.says(&["runs", "export", &id, "--to", to.to_str().unwrap()]);
    for name in ["config.json", "model.safetensors", "tokenizer.json", "run.yaml", "predictions.jsonl", "metrics.csv"] {
        assert!(to.join(name).is_file(), "{name}");
    }
    assert_eq!(std::fs::read_to_string(to.join("metrics.csv")).unwrap().lines().count(), 21);
    // What was exported is a student again.
    let student = to.to_str().unwrap();
    let again = project.json(&["evaluate", student, "--set", "dataset=toyworld", "--limit", "10"]);
    assert_eq!(again["examples"], 10);
    project.train(&[&format!("student={student}"), "training.threads=1", "training.batch_size=8"]);

    assert!(project.fails(2, &["runs", "remove", &id]).contains("--yes"));
    project.says(&["runs", "remove", &id, "--yes"]);
    assert!(!project.path().join("runs").join(&id).exists());
}

#[test]
fn the_journal_is_streamed_and_the_board_compares() {
    let project = Project::new();
    project.train(&["rationale.placement=none"]);
    let id = project.train(&[]);
    let streamed = project.says(&["runs", "follow", &id, "--json"]);
    let events: Vec<Value> = streamed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.windows(2).all(|pair| pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64()));
    let step = events.iter().find(|event| event["event"] == "step").unwrap();
    for field in [
        "step",
        "epoch",
        "loss",
        "loss_label",
        "loss_rationale",
        "learning_rate",
        "gradient_norm",
        "tokens",
        "tokens_per_second",
    ] {
        assert!(step[field].is_number(), "{field}");
    }
    assert!(events.iter().any(|event| event["event"] == "checkpoint" && event["path"].is_string()));
    let board = project.json(&["runs", "compare"]);
    let rows = board["sections"][0]["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["condition"].as_str().unwrap()).collect();
    assert_eq!(names, ["majority class", "none, steps=20", "post, steps=20"]);
    assert_eq!(rows[2]["against"]["baseline"], "none, steps=20");
    assert!(rows[2]["against"]["says"].is_string() && rows[2]["unparsable"].is_number());
    assert!(project.says(&["runs", "compare"]).contains("adjusted after Holm within each data set"));
    // Against another row the difference turns round; against one that is not there, nothing is said.
    let turned = project.json(&["runs", "compare", "--baseline", "post, steps=20"]);
    let difference = |table: &Value, row: usize| table["sections"][0]["rows"][row]["against"]["difference"].as_f64();
    assert_eq!(difference(&turned, 1), difference(&board, 2).map(|difference| -difference));
    assert!(
        project
            .fails(1, &["runs", "compare", "--baseline", "pots, steps=20"])
            .contains("did you mean `post, steps=20`")
    );

    let questions = project.json(&["runs", "disagree", "post, steps=20", "none, steps=20"]);
    let found = &questions[0]["disagreements"];
    let all = found["questions"].as_array().unwrap();
    assert_eq!(found["asked"], 600);
    assert_eq!(all.len() as u64, found["won"].as_u64().unwrap() + found["lost"].as_u64().unwrap());
    let balance = found["won"].as_f64().unwrap() - found["lost"].as_f64().unwrap();
    assert!((balance / 600.0 - difference(&board, 2).unwrap()).abs() < 1e-9, "the questions add up to the difference");
    assert!(all.iter().all(|question| question["question"].is_string() && question["row"].is_number()));
    assert!(
        project
            .says(&["runs", "disagree", "post, steps=20", "none, steps=20"])
            .contains("post, steps=20 against none, steps=20: ")
    );
}

#[test]
fn key_tokens_come_from_a_reader_that_is_trained_once() {
    let project = Project::new();
    let key = "rationale.ablations=[{keep: {by: attribution, count: 3}}]";
    let run = project.train(&[key]);
    let readers = || -> Vec<PathBuf> {
        let runs = std::fs::read_dir(project.path().join("runs")).unwrap().flatten();
        runs.map(|entry| entry.path())
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("reader-"))
            .collect()
    };
    let first = readers();
    assert_eq!(first.len(), 1);
    let stamp = std::fs::metadata(first[0].join("journal.jsonl")).unwrap().modified().unwrap();
    project.train(&[key, "seed.ablation=1"]);
    assert_eq!(readers(), first);
    assert_eq!(std::fs::metadata(first[0].join("journal.jsonl")).unwrap().modified().unwrap(), stamp);
    // Preview and run agree on the tokens.
    let shown = project.json(&[
        "render",
        "toyworld",
        "--id",
        "tr-0001",
        "--set",
        key,
        "--set",
        "training.steps=20",
        "--set",
        "evaluation.every=10",
    ]);
    let kept = shown["tokens"].as_array().unwrap().iter().filter(|token| token["role"] == "rationale").count();
    assert_eq!(kept, 3);
    // A run can be the scorer as well.
    project.train(&[&format!(
        "rationale.ablations=[{{keep: {{by: attribution, count: 2, scorer: {run}, baseline: zero}}}}]"
    )]);
    let error = project
        .fails(1, &["train", "--set", "rationale.ablations=[{keep: {by: attribution, count: 2, scorer: nobody}}]"]);
    assert!(error.contains("no run `nobody`"), "{error}");
}

#[test]
fn bad_input_gets_one_clear_error_with_the_next_step() {
    let project = Project::new();
    let broken = project.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gpt2");
    for name in ["config.json", "tokenizer.json"] {
        std::fs::copy(reference.join(name), broken.join(name)).unwrap();
    }
    let weights = std::fs::read(reference.join("model.safetensors")).unwrap();
    std::fs::write(broken.join("model.safetensors"), &weights[..weights.len() / 3]).unwrap();
    let broken = format!("student={}", broken.display());
    for (code, arguments, words) in [
        (1, &["train", "nowhere.yaml"][..], &["nowhere.yaml"][..]),
        (1, &["train", "--set", "training.epoch=3"], &["epoch", "did you mean `epochs`"]),
        (1, &["train", "--set", "dataset=toywrld"], &["toywrld", "did you mean `toyworld`"]),
        (1, &["train", "--set", "student=/no/such/folder"], &["/no/such/folder", "config.json"]),
        (1, &["train", "--set", &broken], &["model.safetensors", "fetch it again"]),
        (1, &["train", "--set", "evaluation.split=dev"], &["no split `dev`", "validation"]),
        (1, &["train", "--set", "rationale.source=palm"], &["no rationale source `palm`"]),
        (1, &["train", "--set", "training.max_length=20"], &["tr-0001", "cut off", "training.unusable: skip"]),
        (1, &["train", "--device", "cuda:0"], &["cuda"]),
        (1, &["train", "--device", "tpu"], &["auto, cpu or cuda:N"]),
        (1, &["render", "toyworld", "--id", "tr-9999"], &["no example `tr-9999`", "data show"]),
        (1, &["runs", "show", "x"], &["no run `x`", "runs list"]),
        (1, &["attribute", "x", "toyworld", "--id", "tr-0001"], &["no run `x`"]),
        (1, &["student", "show", "owner/model"], &["student fetch owner/model"]),
        (1, &["student", "fetch", "not an id"], &["OWNER/NAME"]),
        (2, &["train", "--batch", "3"], &["--batch"]),
        (2, &["attribute", "x", "toyworld"], &["--split"]),
        (2, &[], &["needs a terminal"]),
    ] {
        let error = project.fails(code, arguments);
        for word in words {
            assert!(error.contains(word), "{arguments:?}: {error}");
        }
    }
    let error = Project::new().fails(1, &["evaluate", "last"]);
    assert!(error.contains("no runs") && error.contains("afterthought train"), "{error}");
    // What went wrong in a run is in its journal, too.
    let failed = project.json(&["runs", "show", "last"]);
    assert_eq!(failed["state"], "failed");
}

#[test]
fn a_run_over_rows_that_changed_is_not_resumed() {
    let project = Project::new();
    let id = project.train(&[]);
    project.unfinish(&id);
    project.says(&["data", "edit", "toyworld", "--split", "train", "--id", "tr-0001", "--rationale", "because"]);
    let error = project.fails(1, &["train", "--resume", &id]);
    assert!(error.contains("rows of toyworld have changed"), "{error}");
    project.says(&["data", "edit", "toyworld", "--split", "train", "--id", "tr-0001", "--undo"]);
    project.says(&["train", "--resume", &id]);
}

#[test]
fn a_fork_that_could_not_go_on_is_not_made() {
    let project = Project::new();
    let id = project.train(&["evaluation.examples=20"]);
    let error = project.fails(1, &["runs", "fork", &id, "--set", "training.steps=20"]);
    assert!(error.contains("step 20") && error.contains("set training.steps beyond 20"), "{error}");
    let more = ["runs", "fork", &id, "--set", "training.steps=30"];
    let error = project.fails(1, &[&more[..], &["--set", "device=tpu"]].concat());
    assert!(error.contains("auto, cpu or cuda:N"), "{error}");
    // The toy's words are made from the rows.
    let edit = ["data", "edit", "toyworld", "--split", "train", "--id", "tr-0001", "--rationale", "brand new words"];
    project.says(&edit);
    assert!(project.fails(1, &more).contains("vocabulary"));
    project.says(&["data", "edit", "toyworld", "--split", "train", "--id", "tr-0001", "--undo"]);
    cut(&project.run_folder(&id).join("checkpoints/step-20/model.safetensors"));
    let error = project.fails(1, &more);
    assert!(error.contains("model.safetensors") && !error.contains("fetch"), "{error}");
    assert_eq!(project.runs(), 1);

    // One that lost its checkpoint doesn't train from scratch under the name of a fork.
    project.unfinish(&id);
    std::fs::remove_dir_all(project.run_folder(&id).join("checkpoints")).unwrap();
    let file = project.run_folder(&id).join("run.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "  forked_from:\n  - parent\n  - 10\n").unwrap();
    let error = project.fails(1, &["train", "--resume", &id]);
    assert!(error.contains("is a fork of parent") && error.contains("fork parent again"), "{error}");
    assert_eq!(project.json(&["runs", "show", &id])["state"], "failed");
}

#[test]
fn a_broken_checkpoint_is_written_again_by_the_resumed_run() {
    let project = Project::new();
    let id = project.train(&["training.checkpoint={every: 10, keep: 2}", "evaluation.examples=20"]);
    let weights = project.run_folder(&id).join("checkpoints/step-20/model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    project.unfinish(&id);
    cut(&weights);
    let output = project.run(&["train", "--resume", &id]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("broken-step-20") && !said.contains("fetch"), "{said}");
    assert_eq!(std::fs::read(&weights).unwrap(), whole);
    let kept = std::fs::read_dir(project.run_folder(&id).join("checkpoints")).unwrap().flatten();
    let mut kept: Vec<_> = kept.map(|entry| entry.file_name().into_string().unwrap()).collect();
    kept.sort();
    assert_eq!(kept, ["step-10", "step-20"]);
    // A finished run is not trained again, whichever command asks for it.
    for resume in [["train", "--resume", &id], ["runs", "resume", &id]] {
        assert!(project.fails(2, &resume).contains("is finished"));
    }
}

#[test]
fn the_accuracy_is_told_though_the_predictions_can_not_be_kept() {
    let project = Project::new();
    let id = project.train(&["evaluation.examples=20"]);
    let predictions = project.run_folder(&id).join("predictions.jsonl");
    std::fs::remove_file(&predictions).unwrap();
    std::fs::create_dir(&predictions).unwrap();
    let output = project.run(&["evaluate", &id]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("% right"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("predictions.jsonl"));
}

#[test]
fn answers_to_another_question_do_not_take_the_place_of_the_runs_own() {
    let project = Project::new();
    let id = project.train(&["evaluation.examples=20"]);
    let predictions = || std::fs::read(project.run_folder(&id).join("predictions.jsonl")).unwrap();
    let own = predictions();
    for other in ["evaluation.answer=generate", "rationale.placement=pre"] {
        let output = project.run(&["evaluate", &id, "--set", other]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("not kept"), "{other}");
        assert_eq!(predictions(), own, "{other}");
    }
    let output = project.run(&["evaluate", &id]);
    assert!(output.status.success() && !String::from_utf8_lossy(&output.stderr).contains("not kept"));
}

#[test]
fn what_is_mistyped_leaves_nothing_behind() {
    let project = Project::new();
    for arguments in [
        &["train", "--device", "foo"][..],
        &["train", "--set", "dataset=nope"],
        &["train", "--set", "student=nope"],
        &["train", "--set", "evaluation.final=nope"],
        &["train", "--set", "rationale.source=nope"],
        &["train", "--set", "training.threads=99999"],
    ] {
        project.fails(1, arguments);
    }
    assert_eq!(project.runs(), 0);
    project.says(&["init", project.path().join("study").to_str().unwrap()]);
    let typo = project.path().join("stduy");
    for command in [&["data", "list"][..], &["train"], &["runs", "list"], &["doctor"]] {
        let output = run_in(&typo, command);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("/study`?") && error.contains("afterthought init"), "{error}");
    }
    assert!(!typo.exists());
    let file = project.path().join("my.yaml");
    std::fs::write(&file, "dataset: toyworld\ntraining: {warmup: .nan}\n").unwrap();
    let error = project.fails(1, &["train", file.to_str().unwrap()]);
    assert!(error.contains("my.yaml: training.warmup is no finite number") && error.contains("line 2"), "{error}");
    let error = project.fails(1, &["render", "toyworld", "--id", "zzz"]);
    assert!(error.contains("in any split of toyworld (train, validation, test)"), "{error}");
    assert!(project.fails(2, &["attribute", "x", "toyworld", "--id", "y", "--steps", "0"]).contains("above 0"));
}

#[test]
fn arguments_can_not_reach_the_terminal() {
    let project = Project::new();
    let hostile = "z\u{1b}]0;PWN\u{7}\u{9b}31m\u{202e}";
    for arguments in [
        &["data", "show", "x", "--split", "y", hostile][..],
        &["runs", "show", hostile],
        &["data", hostile],
        &["init", "a", hostile],
        &["completions", hostile],
    ] {
        let output = project.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!error.is_empty() && !output.status.success());
        assert_eq!(afterthought::text::first_unsafe(&error, true), None, "{error:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_named() {
    let project = Project::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C").arg(project.path()).args(["data", "list"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("can't write standard output"), "{error}");
}

#[test]
fn students_and_machine_are_described() {
    let project = Project::new();
    let toy = project.json(&["student", "show", "toy"]);
    assert_eq!(toy["layers"], 1);
    assert!(toy["parameters"].as_u64().unwrap() > 70_000);
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gpt2");
    let small = project.json(&["student", "show", reference.to_str().unwrap(), "--batch", "4", "--length", "32"]);
    assert_eq!((small["vocabulary"].as_u64(), small["family"].as_str()), (Some(97), Some("GPT-2")));
    assert!(small["training_bytes"].as_u64().unwrap() > 4 * 4 * small["parameters"].as_u64().unwrap());
    let doctor = project.json(&["doctor"]);
    for field in ["devices", "features", "terminal", "colours", "clipboard", "memory_free", "disk_free"] {
        assert!(!doctor[field].is_null(), "{field}");
    }
    assert!(doctor["processor"].as_str().unwrap().len() < 30, "{}", doctor["processor"]);
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let project = Project::new();
    let checks = |found: &Value| -> Vec<(String, String, String, bool)> {
        let word = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
        let all = found["checks"].as_array().unwrap().iter();
        all.map(|check| (word(check, "name"), word(check, "state"), word(check, "found"), check["fix"].is_string()))
            .collect()
    };
    let found = checks(&project.json(&["doctor"]));
    assert!(found.iter().all(|(_, state, _, has_fix)| state != "broken" && (state == "good") != *has_fix), "{found:?}");
    for name in ["terminal", "clipboard", "locale", "keymap", "runs", "edits", "disk", "memory", "devices", "log"] {
        assert!(found.iter().any(|(own, ..)| own == name), "{name}");
    }
    let text = project.says(&["doctor"]);
    assert!(text.contains("✓ runs") && text.contains("0 can be read"), "{text}");

    std::fs::write(project.path().join("keymap.yaml"), "data: [{on: j, run: fly}]\n").unwrap();
    let folder = project.path().join("datasets/mine");
    std::fs::create_dir_all(&folder).unwrap();
    let row = json!({"id": "q1", "question": "why?", "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}], "answer": "A"});
    std::fs::write(folder.join("train.jsonl"), format!("{row}\n")).unwrap();
    std::fs::write(folder.join("edits.jsonl"), "\n{\"half\": \n").unwrap();
    std::fs::create_dir_all(project.run_folder("bad\u{1b}[31m")).unwrap();
    std::fs::write(project.run_folder("bad\u{1b}[31m").join("run.yaml"), "dataset: [\n").unwrap();
    let output = project.run(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found = checks(&serde_json::from_slice(&output.stdout).unwrap());
    let state = |name: &str| found.iter().find(|(own, ..)| own == name).unwrap().clone();
    assert_eq!(state("keymap").1, "warning");
    assert!(state("keymap").2.contains("fly"), "{:?}", state("keymap"));
    assert_eq!((state("edits").1.as_str(), state("runs").1.as_str()), ("broken", "broken"));
    assert!(state("edits").2.contains("edits.jsonl:2"), "{:?}", state("edits"));
    let output = project.run(&["doctor"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("✗ edits") && text.contains("→ mend or delete") && !text.contains('\u{1b}'), "{text}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("broken: runs, edits"), "{error}");
}

#[test]
fn a_student_that_can_not_be_is_refused_with_the_file_and_the_key() {
    let project = Project::new();
    let folder = project.path().join("student");
    copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gpt2"), &folder);
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let write = |key: &str, value: Value| {
        let mut changed = config.clone();
        changed[key] = value;
        std::fs::write(folder.join("config.json"), changed.to_string()).unwrap();
    };
    let student = folder.to_str().unwrap();
    for (key, value) in [
        ("n_layer", json!(1_000_000_000)),
        ("n_embd", json!(0)),
        ("vocab_size", json!(1_000_000_000_000_000_000u64)),
        ("bos_token_id", json!(99_999)),
        ("eos_token_id", json!([99_999])),
        ("eos_token_id", json!("</s>")),
        ("eos_token_id", json!(null)),
    ] {
        write(key, value);
        for command in [&["student", "show", student][..], &["evaluate", student, "--limit", "1"]] {
            let error = project.fails(1, command);
            assert!(error.contains("config.json") && error.contains(&format!("`{key}` is")), "{error}");
        }
    }
    // Newer students list every token that ends a text.
    write("eos_token_id", json!([1, 0]));
    assert_eq!(project.json(&["student", "show", student])["vocabulary"], 97);
    write("vocab_size", json!(96));
    let error = project.fails(1, &["student", "show", student]);
    assert!(error.contains("tokenizer.json") && error.contains("97 ids"), "{error}");
}

#[test]
fn help_has_examples_and_the_shell_gets_its_files() {
    let project = Project::new();
    for command in [
        &["--help"][..],
        &["train", "--help"],
        &["render", "--help"],
        &["evaluate", "--help"],
        &["attribute", "--help"],
        &["tour", "--help"],
        &["init", "--help"],
        &["doctor", "--help"],
        &["student", "--help"],
        &["data", "--help"],
        &["data", "generate", "--help"],
        &["runs", "--help"],
        &["runs", "list", "--help"],
        &["runs", "show", "--help"],
        &["runs", "compare", "--help"],
        &["runs", "follow", "--help"],
        &["runs", "pause", "--help"],
        &["runs", "resume", "--help"],
        &["runs", "stop", "--help"],
        &["runs", "fork", "--help"],
        &["runs", "export", "--help"],
        &["runs", "remove", "--help"],
    ] {
        let help = project.says(command);
        assert!(help.contains("Example") && help.contains("afterthought "), "{command:?}: {help}");
    }
    assert!(project.json(&["man"])["page"].as_str().unwrap().contains(".TH afterthought"));
    let completions = project.json(&["completions", "zsh"]);
    assert_eq!(completions["shell"], "zsh");
    assert!(completions["script"].as_str().unwrap().contains("_afterthought"));
    assert!(project.says(&["completions", "bash"]).contains("_afterthought"));
    assert!(project.says(&["man"]).contains(".TH afterthought"));
    assert!(project.says(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let project = Project::new();
    let program = env!("CARGO_BIN_EXE_afterthought");
    let script = format!("'{program}' data show toyworld --limit 900 | head -n 1");
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    drop(project);
}

#[test]
fn a_student_of_hugging_faces_layout_is_fine_tuned() {
    // The vocabulary of the reference student knows none of these words; what matters here is the way through.
    let project = Project::new();
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gpt2");
    let folder = project.path().join("datasets/tiny");
    std::fs::create_dir_all(&folder).unwrap();
    let row = |id: usize| {
        let answer = if id.is_multiple_of(2) { "A" } else { "B" };
        format!(
            r#"{{"id":"q{id}","question":"w5 w{}","choices":[{{"label":"A","text":"w7"}},{{"label":"B","text":"w8"}}],"answer":"{answer}","rationale":"w9 w10"}}"#,
            20 + id
        )
    };
    let rows: Vec<String> = (0..24).map(row).collect();
    for split in ["train", "validation"] {
        std::fs::write(folder.join(format!("{split}.jsonl")), rows.join("\n")).unwrap();
    }
    let student = format!("student={}", reference.display());
    let id = project.says(&[
        "train",
        "--set",
        "dataset=tiny",
        "--set",
        &student,
        "--set",
        "training.epochs=2",
        "--set",
        "evaluation.limit=8",
    ]);
    let shown = project.json(&["runs", "show", id.trim()]);
    assert_eq!(shown["state"], "finished");
    assert_eq!(shown["step"], 6);
    assert_eq!(shown["evaluations"].as_array().unwrap().len(), 2, "accuracy after each epoch");
}
