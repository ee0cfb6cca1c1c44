//! The command line as scripts use it: outputs, exit codes, and errors that say what to do.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
        command.arg("-C").arg(self.path()).args(arguments).stdin(Stdio::null());
        command.env_remove("RUST_BACKTRACE").output().unwrap()
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

    /// Trains a short run and gives its id.
    fn train(&self, settings: &[&str]) -> String {
        let mut arguments = vec!["train", "--set", "training.steps=20", "--set", "evaluation.every=10"];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        let said = self.says(&arguments);
        said.lines().last().unwrap().to_owned()
    }
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
    assert_eq!(board.as_array().unwrap().len(), 2);
    assert_eq!(board[1]["against_none"]["to"], "none");
    assert!(project.says(&["runs", "compare"]).contains("post"));
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
    // As if it had been stopped before its end.
    let journal = project.path().join("runs").join(&id).join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let cut: Vec<&str> = text.lines().filter(|line| !line.contains("finished")).collect();
    std::fs::write(&journal, cut.join("\n") + "\n").unwrap();
    project.says(&["data", "edit", "toyworld", "--split", "train", "--id", "tr-0001", "--rationale", "because"]);
    let error = project.fails(1, &["train", "--resume", &id]);
    assert!(error.contains("rows of toyworld have changed"), "{error}");
    project.says(&["data", "edit", "toyworld", "--split", "train", "--id", "tr-0001", "--undo"]);
    project.says(&["train", "--resume", &id]);
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
    ] {
        let help = project.says(command);
        assert!(help.contains("Example") && help.contains("afterthought "), "{command:?}: {help}");
    }
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
