//! Loss under the loupe: what each token costs, against transformers; the very batch of a step, against what the trainer
//! was fed; and from a spike of the loss to the row that made it.

mod program;

use std::fs;
use std::path::Path;

use afterthought::evaluation::token_losses::token_losses;
use afterthought::runs::RunDirectory;
use afterthought::runs::batch::TrainingOrder;
use afterthought::runs::spikes::spikes;
use afterthought::student::ops::Ops;
use afterthought::student::{Architecture, Student, Tokenizer};
use candle_core::Device;
use program::{fails, run, says};
use serde_json::{Value, json};

/// Standard output as JSON.
#[track_caller]
fn json_of(project: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&says(project, &[arguments, &["--json"]].concat())).unwrap()
}

/// Trains a run and gives its id.
#[track_caller]
fn train(project: &Path, settings: &[&str]) -> String {
    let usual = ["evaluation.every=end", "evaluation.examples=4", "evaluation.final=validation"];
    let settings = usual.iter().chain(settings).flat_map(|setting| ["--set", *setting]);
    let arguments: Vec<&str> = std::iter::once("train").chain(settings).collect();
    says(project, &arguments).lines().last().unwrap().trim().to_owned()
}

/// The toy world as a folder with `count` rows to train on, each as `change` leaves it, and a few to ask.
fn world(project: &Path, count: usize, change: impl Fn(usize, &mut Value)) -> Vec<Value> {
    says(project, &["data", "generate", "toyworld", "--seed", "3", "--as", "world", "--replace"]);
    let file = |split: &str| project.join("datasets/world").join(format!("{split}.jsonl"));
    let read = |split: &str| -> Vec<Value> {
        fs::read_to_string(file(split)).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let write = |split: &str, rows: &[Value]| {
        fs::write(file(split), rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
    };
    let mut rows = read("train");
    rows.truncate(count);
    rows.iter_mut().enumerate().for_each(|(place, row)| change(place, row));
    write("train", &rows);
    write("validation", &read("validation")[..6]);
    rows
}

/// Makes a finished run one that was stopped after a step.
fn stop_after(project: &Path, run: &str, step: usize) {
    let folder = project.join("runs").join(run);
    let text = fs::read_to_string(folder.join("journal.jsonl")).unwrap();
    let cut: Vec<&str> = text.lines().filter(|line| !line.contains("finished")).collect();
    fs::write(folder.join("journal.jsonl"), cut.join("\n") + "\n").unwrap();
    for entry in fs::read_dir(folder.join("checkpoints")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.strip_prefix("step-").unwrap().parse::<usize>().unwrap() > step {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
}

#[test]
fn losses_agree_with_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let student = Student::load(&folder.join("gpt2"), &Device::Cpu).unwrap();
    let cases: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(folder.join("token_losses.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 5);
    for ops in [Ops::Fused, Ops::Composed] {
        let decoder = student.decoder.clone().with_ops(ops);
        for case in &cases {
            let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
            let want: Vec<f64> = serde_json::from_value(case["losses"].clone()).unwrap();
            let got = token_losses(&decoder, &ids).unwrap();
            assert_eq!(got.len(), want.len());
            for (place, (got, want)) in got.iter().zip(&want).enumerate() {
                let gap = (f64::from(*got) - want).abs();
                assert!(gap < 1e-5, "{ops:?}, {} tokens, token {place}: {got} and not {want}", ids.len());
            }
        }
    }
}

/// What is dropped out would cost the trainer otherwise than the loupe.
const NO_DROPOUT: &str = "training.dropout={embedding: 0, residual: 0, attention: 0}";

/// Every step's batch, found again, must cost the student of the step before what the trainer says that the step cost,
/// and have as many tokens.
#[track_caller]
fn every_batch_is_what_was_fed(project: &Path, run: &str, steps: usize) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for place in 0..steps {
        let step = (place + 1).to_string();
        let found = json_of(project, &["runs", "batch", run, &step]);
        let examples = found["examples"].as_array().unwrap();
        assert_eq!(found["agrees"], true, "step {step}: {found}");
        assert_eq!((&found["before"]["step"], &found["after"]["step"]), (&json!(place), &json!(place + 1)));
        let losses: Vec<f64> = examples.iter().map(|example| example["before"]["loss"].as_f64().unwrap()).collect();
        assert!(losses.is_sorted_by(|one, other| one >= other), "the costliest stand first: {losses:?}");
        // The toy's loss is the mean over examples of what each costs.
        let (mean, said) = (losses.iter().sum::<f64>() / losses.len() as f64, found["event"]["loss"].as_f64().unwrap());
        assert!((mean - said).abs() < 2e-5 * said, "step {step}: {mean}, and the journal has {said}");
        all.push(examples.iter().map(|example| example["id"].as_str().unwrap().to_owned()).collect());
    }
    all
}

#[test]
fn the_batch_of_a_step_is_the_one_that_was_fed_also_after_a_resume() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    // One row has no answer and is left out: places and rows differ from there on.
    let rows = world(project, 23, |place, row| {
        if place == 5 {
            row["answer"] = Value::Null;
        }
    });
    let settings = [
        "dataset=world",
        "training.unusable=skip",
        "training.batch_size=4",
        "training.bucket=true",
        NO_DROPOUT,
        "training.accumulate=2",
        "training.steps=9",
        "training.checkpoint={every: 1, keep: 20}",
    ];
    let run = train(project, &settings);
    let mut batches = every_batch_is_what_was_fed(project, &run, 9);
    for epoch in batches.chunks(3) {
        let mut sizes: Vec<usize> = epoch.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [6, 8, 8], "two batches of four, and what is left");
        let mut ids: Vec<&str> = epoch.iter().flatten().map(String::as_str).collect();
        ids.sort_unstable();
        let mut want: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
        want.remove(5);
        want.sort_unstable();
        assert_eq!(ids, want, "an epoch has every usable row once");
    }
    let found = json_of(project, &["runs", "batch", &run, "8"]);
    assert_eq!(found["epoch"], 3);
    for example in found["examples"].as_array().unwrap() {
        let row = &rows[example["row"].as_u64().unwrap() as usize];
        assert_eq!((&row["id"], &row["question"]), (&example["id"], &example["question"]));
    }
    let in_second = |example: &&Value| example["batch"] == 1;
    assert_eq!(found["examples"].as_array().unwrap().iter().filter(in_second).count(), batches[7].len() - 4);

    // Broken off after its fourth step, it goes on with what it would have been fed.
    stop_after(project, &run, 4);
    assert!(run_again(project, &run));
    let mut again = every_batch_is_what_was_fed(project, &run, 9);
    // What a batch costs may differ in its last digit, and with it the order; which examples it has may not.
    batches.iter_mut().chain(&mut again).for_each(|batch| batch.sort());
    assert_eq!(batches, again);
}

/// Goes on with a run in the foreground.
fn run_again(project: &Path, id: &str) -> bool {
    run(project, &["train", "--resume", id]).status.success()
}

#[test]
fn what_is_drawn_anew_in_each_epoch_is_found_as_it_was_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let rows = world(project, 10, |_, _| {});
    let folder = project.join("datasets/world/rationales");
    fs::create_dir_all(&folder).unwrap();
    let sample = |row: &Value, number: usize| {
        let text = "so it goes on and on ".repeat(number + 1);
        format!("{}\n", json!({"id": row["id"], "sample": number, "rationale": text}))
    };
    let lines: String = rows.iter().flat_map(|row| (0..4).map(move |number| sample(row, number))).collect();
    fs::write(folder.join("several.jsonl"), lines).unwrap();
    let run = train(
        project,
        &[
            "dataset=world",
            "rationale.source=several",
            "rationale.samples=drawn",
            "training.batch_size=5",
            NO_DROPOUT,
            "training.steps=8",
            "training.checkpoint={every: 1, keep: 20}",
        ],
    );
    let batches = every_batch_is_what_was_fed(project, &run, 8);
    assert!(batches.iter().all(|batch| batch.len() == 5));
    let lengths = |step: &str| -> Vec<(String, u64)> {
        let found = json_of(project, &["runs", "batch", &run, step]);
        let of = |example: &Value| (example["id"].as_str().unwrap().to_owned(), example["tokens"].as_u64().unwrap());
        found["examples"].as_array().unwrap().iter().map(of).collect()
    };
    let (mut first, mut third) = ([lengths("1"), lengths("2")].concat(), [lengths("5"), lengths("6")].concat());
    first.sort();
    third.sort();
    assert!(first.iter().map(|one| &one.0).eq(third.iter().map(|one| &one.0)));
    assert_ne!(first, third, "another sample in another epoch");
}

#[test]
fn every_step_of_the_recorded_run_is_what_its_journal_says() {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("runs/recorded-post");
    let to = dir.path().join("runs/recorded-post");
    fs::create_dir_all(&to).unwrap();
    for name in ["run.yaml", "journal.jsonl"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let run = RunDirectory::open(&to);
    let history = run.read().unwrap().history;
    let mut order = TrainingOrder::read(dir.path(), &run, &mut |_, _| {}).unwrap();
    for step in 1..=800 {
        let batch = order.step(step, &history).unwrap();
        assert_eq!((batch.examples.len(), batch.agrees), (32, Some(true)), "step {step}");
        assert!(batch.notes.is_empty(), "{:?}", batch.notes);
    }
    assert!(spikes(&history).is_empty(), "nothing went wrong there");
}

#[test]
fn rows_that_changed_since_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    world(project, 12, |_, _| {});
    let run = train(project, &["dataset=world", "training.batch_size=4", "training.steps=6"]);
    assert_eq!(json_of(project, &["runs", "batch", &run, "2"])["notes"].as_array().unwrap().len(), 1, "no checkpoint");
    world(project, 12, |place, row| {
        if place == 3 {
            row["rationale"] = "because".into();
        }
    });
    let found = json_of(project, &["runs", "batch", &run, "2"]);
    assert!(found["notes"][0].as_str().unwrap().contains("the rows of world have changed since"), "{found}");
    world(project, 9, |_, _| {});
    let found = json_of(project, &["runs", "batch", &run, "2"]);
    let notes = found["notes"].to_string();
    assert!(notes.contains("was trained on 12 examples, and 9 can be used now"), "{notes}");
    // The toy of these rows would have other words than the one that began.
    assert!(notes.contains("can't be asked") && found["before"].is_null() && found["after"]["step"] == 6, "{found}");
    let shown = run_of(project, &["runs", "batch", &run, "2"]);
    assert!(shown.contains("have changed since"), "{shown}");
    assert!(fails(project, &["runs", "batch", &run, "7"]).contains("its steps are 1 to 6"));
    assert!(fails(project, &["runs", "batch", &run, "0"]).contains("its steps are 1 to 6"));
}

/// Both streams of a command.
fn run_of(project: &Path, arguments: &[&str]) -> String {
    let output = run(project, arguments);
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn a_fork_says_whose_step_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    world(project, 12, |_, _| {});
    let settings = ["dataset=world", "training.batch_size=4", "training.steps=6"];
    let run = train(project, &[&settings[..], &["training.checkpoint={every: 3, keep: 9}"]].concat());
    let forked = json_of(project, &["runs", "fork", &run, "--step", "3", "--set", "training.steps=8"]);
    let fork = forked["id"].as_str().unwrap();
    assert!(run_of(project, &["runs", "follow", fork]).contains("finished"));
    assert!(fails(project, &["runs", "batch", fork, "3"]).contains(&format!("runs batch {run} 3")));
    for step in ["4", "5", "8"] {
        assert_eq!(json_of(project, &["runs", "batch", fork, step])["agrees"], true, "step {step}");
    }
}

/// A row whose rationale is like no other.
const CULPRIT: usize = 7;

#[test]
fn a_spike_leads_to_the_row_that_made_it() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let rows = world(project, 240, |place, row| {
        if place == CULPRIT {
            let words: Vec<String> = (0..120).map(|number| format!("glitch{}", number * 7 % 60)).collect();
            row["rationale"] = words.join(" ").into();
        }
    });
    let run = train(
        project,
        &["dataset=world", "training.batch_size=8", "training.steps=90", "training.checkpoint={every: 15, keep: 20}"],
    );
    let found = json_of(project, &["runs", "spikes", &run]);
    let spikes = found["spikes"].as_array().unwrap();
    let id = rows[CULPRIT]["id"].as_str().unwrap();
    // In each epoch of 30 steps it was in one batch; the first is too early to stand out, or stands out as well.
    let mut last = 0;
    for spike in spikes {
        let step = spike["step"].as_u64().unwrap();
        assert!(spike["deviations"].as_f64().unwrap() > 6.0);
        assert!((step - 1) / 30 > last || last == 0, "more than one spike in an epoch: {found}");
        last = (step - 1) / 30;
        let batch = json_of(project, &["runs", "batch", &run, &step.to_string()]);
        assert_eq!(batch["examples"][0]["id"], id, "the culprit of step {step} is on top");
        assert_eq!(batch["agrees"], true);
    }
    assert!(spikes.len() >= 2, "{found}");
    // As people see it, and what its tokens cost.
    let shown = says(project, &["runs", "spikes", &run]);
    assert_eq!(shown.lines().count(), 1 + spikes.len());
    let step = spikes[0]["step"].to_string();
    let table = says(project, &["runs", "batch", &run, &step]);
    let first = table.lines().find(|line| line.contains("tr-")).unwrap();
    assert!(first.contains(id) && table.contains(", as the journal says"), "{table}");
    let losses = json_of(project, &["loss", &run, "world", "--id", id, "--checkpoints", "all"]);
    let rationale = |place: usize| losses["checkpoints"][place]["loss_rationale"].as_f64().unwrap();
    assert_eq!(losses["checkpoints"].as_array().unwrap().len(), 6);
    let usual = json_of(project, &["loss", &run, "world", "--id", rows[CULPRIT + 1]["id"].as_str().unwrap()]);
    assert!(rationale(0) > 2.0 * usual["checkpoints"][0]["loss_rationale"].as_f64().unwrap());
}

#[test]
fn a_quiet_run_has_no_spikes_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let run = train(dir.path(), &["training.steps=60", "training.batch_size=16"]);
    assert_eq!(json_of(dir.path(), &["runs", "spikes", &run])["spikes"], json!([]));
    assert!(run_of(dir.path(), &["runs", "spikes", &run]).contains("no loss of the 60 steps"));
}

#[test]
fn losses_of_a_run_are_those_of_its_own_recipe() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let settings = [
        "rationale.placement=pre",
        "rationale.ablations=[swap: {with: another-example}]",
        "training.loss.rationale=0.5",
        "training.steps=20",
        "training.checkpoint={every: 10, keep: 9}",
    ];
    let run = train(project, &settings);
    let found = json_of(project, &["loss", &run, "toyworld", "--id", "tr-0003", "--checkpoints", "all"]);
    let names: Vec<&Value> = found["checkpoints"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["step-10", "step-20"]);
    // The tokens are those that the run was trained on, with their weights.
    let arguments = ["render", "toyworld", "--id", "tr-0003"];
    let set: Vec<&str> = settings.iter().flat_map(|setting| ["--set", *setting]).collect();
    let rendered = json_of(project, &[&arguments[..], &set].concat());
    let of = |shown: &Value, weight: &str| -> Vec<(Value, Value, Value)> {
        let tokens = shown["tokens"].as_array().unwrap().iter();
        tokens.map(|token| (token["id"].clone(), token["role"].clone(), token[weight].clone())).collect()
    };
    assert_eq!(of(&found, "weight"), of(&rendered, "loss"));
    let second = json_of(project, &["loss", &format!("{run}@10"), "toyworld", "--id", "tr-0003"]);
    for (one, both) in second["tokens"].as_array().unwrap().iter().zip(found["tokens"].as_array().unwrap()) {
        assert_eq!((&one["losses"][0], &one["probabilities"][0]), (&both["losses"][0], &both["probabilities"][0]));
    }
    // A list of checkpoints, in the order that was asked for.
    let listed = ["loss", &run, "toyworld", "--id", "tr-0003", "--checkpoints", "20,10"];
    assert_eq!(json_of(project, &listed)["checkpoints"][1]["step"], 10);
    let text = says(project, &listed);
    assert!(text.contains("1 step-20: loss ") && text.contains("first   last"), "{text}");
    assert!(fails(project, &["loss", &run, "toyworld", "--id", "tr-0003", "--checkpoints", "11"]).contains("10, 20"));
    let folder = format!("runs/{run}/checkpoints");
    assert!(fails(project, &["loss", &folder, "toyworld", "--id", "tr-0003"]).contains("no run"));
    // An example without a rationale stands with its label alone, and that is said.
    let mut row: Value = serde_json::from_str(r#"{"id": "bare", "question": "where ?", "answer": "A"}"#).unwrap();
    row["choices"] = json!([{"label": "A", "text": "here"}, {"label": "B", "text": "there"}]);
    row["rationale"] = "".into();
    world(project, 3, |place, own| {
        if place == 1 {
            *own = row.clone();
        }
    });
    let shown = run_of(project, &["loss", &run, "world", "--id", "bare", "--set", "rationale.ablations=[]"]);
    assert!(shown.contains("stands with its label alone") && shown.contains("label "), "{shown}");
}

/// A student of fresh weights in a folder, and a data set of one row.
fn student_in(project: &Path, tokenizer: Tokenizer, context: usize, rationale: &str) -> Student {
    let architecture = Architecture::gpt2(tokenizer.size(), context, 8, 1, 1, 16);
    let student = Student::fresh(architecture, tokenizer, 1, &Device::Cpu).unwrap();
    let folder = project.join("student");
    fs::create_dir_all(&folder).unwrap();
    student.save(&folder).unwrap();
    world(project, 1, |_, row| row["rationale"] = rationale.into());
    student
}

/// A tokenizer that spells what it does not know byte by byte.
fn by_bytes() -> Tokenizer {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/pieces/llama.model");
    let specials = afterthought::student::tokenizer::Specials { bos: Some(1), eos: 2, mask: None, unknown: Some(0) };
    Tokenizer::from_sentencepiece(&path, specials, &Default::default()).unwrap()
}

#[test]
fn characters_of_several_tokens_and_any_script_have_losses_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let text = "魚は海に住む、 הדג שוחה \u{202e}abc\u{1b}[31m 👩‍🔬 done";
    student_in(project, by_bytes(), 512, text);
    let found = json_of(project, &["loss", "student", "world", "--id", "tr-0001"]);
    let tokens = found["tokens"].as_array().unwrap();
    let own = |token: &&Value| token["role"] == "rationale";
    let joined: String = tokens.iter().filter(own).map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(joined.trim(), text);
    // Bytes in the middle of a character are tokens without a text, and cost something all the same.
    let halves: Vec<&Value> = tokens.iter().filter(own).filter(|token| token["text"] == "").collect();
    assert!(halves.len() > 20, "{}", halves.len());
    assert!(halves.iter().all(|token| token["losses"][0].as_f64().unwrap() > 0.0));
    let shown = says(project, &["loss", "student", "world", "--id", "tr-0001"]);
    assert_eq!(shown.lines().filter(|line| line.contains("  rationale  ")).count(), tokens.iter().filter(own).count());
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}') && shown.contains('␛'), "{shown}");
}

#[test]
fn thousands_of_tokens_are_measured_and_too_many_are_cut_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let words = Tokenizer::words(["one two three".to_owned()].into_iter(), 50).unwrap();
    student_in(project, words, 4096, &"one two three ".repeat(2000));
    let output = run(project, &["loss", "student", "world", "--id", "tr-0001", "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tokens = found["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 4096);
    assert!(tokens[1..].iter().all(|token| token["losses"][0].is_f64()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tokens of the rationale were cut off to fit"));
    let shown = run_of(project, &["loss", "student", "world", "--id", "nobody"]);
    assert!(shown.contains("nobody"), "{shown}");
}

#[test]
fn a_student_of_no_numbers_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let words = Tokenizer::words(["one two three".to_owned()].into_iter(), 50).unwrap();
    let student = student_in(project, words, 64, "one two");
    let spoil = |student: &Student, folder: &Path| {
        let (_, variable) = &student.parameters[0];
        variable.set(&(variable.as_tensor() * f64::NAN).unwrap()).unwrap();
        student.save(folder).unwrap();
    };
    spoil(&student, &project.join("student"));
    let error = fails(project, &["loss", "student", "world", "--id", "tr-0001"]);
    assert!(error.contains("has numbers that are none"), "{error}");
    // Of several checkpoints the others are asked, and a batch is known without any.
    world(project, 12, |_, _| {});
    let settings = ["dataset=world", "training.batch_size=4", "training.steps=6"];
    let run = train(project, &[&settings[..], &["training.checkpoint={every: 3, keep: 9}"]].concat());
    let folder = project.join("runs").join(&run).join("checkpoints/step-3");
    spoil(&Student::load(&folder, &Device::Cpu).unwrap(), &folder);
    let all = ["loss", &run, "world", "--id", "tr-0001", "--checkpoints", "all"];
    assert_eq!(json_of(project, &all)["checkpoints"].as_array().unwrap().len(), 1);
    assert!(run_of(project, &all).contains("step-3 can't be asked"));
    let batch = json_of(project, &["runs", "batch", &run, "5"]);
    assert!(batch["notes"].to_string().contains("the student of step 3 can't be asked"), "{batch}");
    assert!(batch["examples"][0]["after"]["loss"].is_f64() && batch["before"].is_null(), "{batch}");
}

#[test]
fn steps_that_were_skipped_are_spikes_whose_batches_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    world(project, 20, |_, _| {});
    let settings = [
        "training.steps=8",
        "training.batch_size=4",
        "training.on_nonfinite=skip",
        "training.learning_rate=1e30",
        "training.clip=0",
        "training.warmup=0",
    ];
    let run = train(project, &[&["dataset=world"], &settings[..]].concat());
    let found = json_of(project, &["runs", "spikes", &run]);
    let spike = found["spikes"].as_array().unwrap().last().unwrap();
    assert!(spike["loss"].is_null() && spike["last"] == 8, "{found}");
    for step in [spike["step"].to_string(), "8".to_owned()] {
        let batch = json_of(project, &["runs", "batch", &run, &step]);
        // The journal names the examples of a skipped step.
        assert_eq!((&batch["agrees"], &batch["skipped"]), (&json!(true), &json!("loss")), "{batch}");
        assert!(batch["examples"][0]["after"].is_object() && batch["examples"][0]["after"]["loss"].is_null());
    }
    assert!(says(project, &["runs", "spikes", &run]).contains("skipped: its loss or gradient was no number"));
    assert!(says(project, &["runs", "batch", &run, "8"]).contains("no number"));
    // Its weights are numbers, and what they make of a token is none.
    let shown = run_of(project, &["loss", &run, "world", "--id", "tr-0001"]);
    assert!(shown.contains("is no number, as where weights have diverged"), "{shown}");
    let found = json_of(project, &["loss", &run, "world", "--id", "tr-0001"]);
    assert!(found["checkpoints"][0]["broken"].as_u64() > Some(0) && found["checkpoints"][0]["loss"].is_null());
}
