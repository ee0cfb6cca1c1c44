//! Methods of distillation from the command line: what the student sees under each, and that runs with them learn what
//! they say.

mod program;

use std::io::Write;
use std::path::Path;

use program::{fails, run, says};
use serde_json::{Value, json};

fn with<'a>(command: &[&'a str], settings: &[&'a str]) -> Vec<&'a str> {
    command.iter().copied().chain(settings.iter().flat_map(|setting| ["--set", *setting])).collect()
}

/// The words of one of a rendered example's sequences, the second being what it teaches beside the first.
#[track_caller]
fn rendered(project: &Path, dataset: &str, id: &str, settings: &[&str]) -> (String, Option<String>) {
    let shown: Value =
        serde_json::from_str(&says(project, &with(&["render", dataset, "--id", id, "--json"], settings))).unwrap();
    let text = |of: &Value| of["text"].as_str().map(str::to_owned);
    (text(&shown).unwrap(), text(&shown["second"]))
}

/// A short run. Gives its id and its journal.
#[track_caller]
fn train(project: &Path, steps: usize, settings: &[&str]) -> (String, Vec<Value>) {
    let steps = format!("training.steps={steps}");
    let usual = [&*steps, "training.batch_size=64", "evaluation.every=end", "evaluation.final=validation"];
    let printed = says(project, &with(&["train"], &[&usual, settings].concat()));
    let id = printed.lines().last().unwrap().trim().to_owned();
    let journal = std::fs::read_to_string(project.join("runs").join(&id).join("journal.jsonl")).unwrap();
    (id, journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn notes(journal: &[Value]) -> String {
    let notes = journal.iter().filter(|entry| entry["event"] == "note");
    notes.map(|note| note["text"].as_str().unwrap().to_owned() + "\n").collect()
}

/// The toy world as a folder, whose source `samples` has three rationales for most training questions: one that is right, one
/// that is wrong, and one that announces the right answer. `argues` has one for a wrong choice of each.
fn world(project: &Path) -> Vec<Value> {
    says(project, &["data", "generate", "toyworld", "--seed", "3", "--as", "world"]);
    let folder = project.join("datasets/world");
    let train = std::fs::read_to_string(folder.join("train.jsonl")).unwrap();
    let rows: Vec<Value> = train.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    std::fs::create_dir_all(folder.join("rationales")).unwrap();
    let file = |name: &str| std::fs::File::create(folder.join("rationales").join(name)).unwrap();
    let (mut samples, mut argues) = (file("samples.jsonl"), file("argues.jsonl"));
    for row in &rows {
        let id = &row["id"];
        let choices = row["choices"].as_array().unwrap();
        let wrong = choices.iter().find(|choice| choice["label"] != row["answer"]).unwrap();
        let right = choices.iter().find(|choice| choice["label"] == row["answer"]).unwrap();
        let mut write = |sample: usize, text: &str, answer: Option<&Value>| {
            let line = json!({"id": id, "sample": sample, "rationale": text, "teacher_answer": answer});
            writeln!(samples, "{line}").unwrap();
        };
        if id != "tr-0007" {
            write(0, "first comes the sea", Some(&row["answer"]));
        }
        write(1, "second comes the land", Some(&wrong["label"]));
        write(2, &format!("the answer is {}", right["text"].as_str().unwrap()), None);
        let text = format!("some would call it {}", wrong["text"].as_str().unwrap());
        writeln!(argues, "{}", json!({"id": id, "rationale": text, "teacher_answer": wrong["text"]})).unwrap();
    }
    rows
}

#[test]
fn a_student_of_two_tasks_learns_to_predict_and_to_explain() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = rendered(dir.path(), "toyworld", "tr-0003", &["rationale.placement=multitask"]);
    assert!(first.starts_with("<bos>predict:") && !first.contains("because"), "{first}");
    let second = second.unwrap();
    assert!(second.starts_with("<bos>explain:") && second.contains("because :"), "{second}");
    assert!(!first.contains("<unk>") && !second.contains("<unk>"));

    let multitask = ["rationale.placement=multitask", "training.reduction=task_mean"];
    let (_, journal) = train(dir.path(), 30, &multitask);
    let step = |number: u64| journal.iter().find(|entry| entry["event"] == "step" && entry["step"] == number).unwrap();
    for loss in ["loss", "loss_label", "loss_rationale"] {
        let (early, late) = (step(1)[loss].as_f64().unwrap(), step(30)[loss].as_f64().unwrap());
        assert!(late < early * 0.8, "{loss}: {early} then {late}");
    }
    // The mean of each task, times its weight: the label's is 1, and the toy's rationales weigh 0.3.
    let alone = train(dir.path(), 30, &[&multitask[..], &["training.loss.rationale=0"]].concat()).1;
    let of = |journal: &[Value]| {
        let first = journal.iter().find(|entry| entry["event"] == "step").unwrap();
        first["loss"].as_f64().unwrap()
    };
    let both = step(1)["loss_rationale"].as_f64().unwrap();
    assert!((of(&journal) - of(&alone) - 0.3 * both).abs() < 0.02 * both, "{} {} {both}", of(&journal), of(&alone));
}

#[test]
fn one_of_several_rationales_is_drawn_with_each_visit() {
    let dir = tempfile::tempdir().unwrap();
    world(dir.path());
    let samples = ["rationale.source=samples"];
    let drawn = ["rationale.source=samples", "rationale.samples=drawn"];
    let texts: std::collections::BTreeSet<String> = (0..12)
        .map(|number| {
            let (text, _) = rendered(dir.path(), "world", &format!("tr-00{:02}", number + 10), &drawn);
            assert!(!text.contains("<unk>"), "the words of all samples are known: {text}");
            let said = text.split_once("because :").unwrap().1;
            said.split_whitespace().next().unwrap().to_owned()
        })
        .collect();
    assert_eq!(texts.into_iter().collect::<Vec<_>>(), ["first", "second", "the"]);
    assert!(rendered(dir.path(), "world", "tr-0010", &samples).0.contains("first comes the sea"));

    let in_world = |settings: &[&'static str]| {
        let settings = [&["dataset=world"], settings].concat();
        let (id, _) = train(dir.path(), 24, &settings);
        std::fs::read(dir.path().join("runs").join(id).join("checkpoints/step-24/model.safetensors")).unwrap()
    };
    let (one, again, first) = (in_world(&drawn), in_world(&drawn), in_world(&samples));
    assert!(one == again && one != first, "draws depend on seed, example and epoch alone");
}

#[test]
fn filters_say_what_they_left_and_runs_know_the_rows_that_they_read() {
    let dir = tempfile::tempdir().unwrap();
    let rows = world(dir.path());
    let base = ["dataset=world", "rationale.source=samples"];
    // The first rationale of tr-0007 comes from a teacher who erred.
    let correct = [&base[..], &["rationale.filter={teacher_correct: true}"]].concat();
    let (_, journal) = train(dir.path(), 2, &correct);
    let of = rows.len();
    let said = notes(&journal);
    let left =
        format!("train: 1 of {of} examples have no rationale that passes the filter and stand with their label alone");
    assert!(said.contains(&left), "{said}");
    let dropped = [&base[..], &["rationale.filter={teacher_correct: true, rest: drop}"]].concat();
    let (_, journal) = train(dir.path(), 2, &dropped);
    assert!(
        notes(&journal).contains("train: 1 row was left out: no rationale passes the filter"),
        "{}",
        notes(&journal)
    );
    let material = journal.iter().find(|entry| entry["event"] == "material" && entry["split"] == "train").unwrap();
    assert_eq!(material["examples"], of - 1);
    // Of all three samples the ones that announce nothing.
    let quiet = ["rationale.source=samples", "rationale.samples=drawn", "rationale.filter={no_announcement: true}"];
    for number in 10..22 {
        let (text, _) = rendered(dir.path(), "world", &format!("tr-00{number}"), &quiet);
        assert!(!text.contains("the answer is"), "{text}");
    }
    let shown = run(
        dir.path(),
        &with(
            &["render", "world", "--id", "tr-0007"],
            &["rationale.source=samples", "rationale.filter={teacher_correct: true}"],
        ),
    );
    assert!(String::from_utf8_lossy(&shown.stderr).contains("passes the filter"));
}

#[test]
fn a_counterfactual_student_answers_as_the_rationale_says() {
    let dir = tempfile::tempdir().unwrap();
    let rows = world(dir.path());
    let settings = ["rationale.placement=pre", "rationale.counterfactual={source: argues}"];
    let (first, second) = rendered(dir.path(), "world", "tr-0003", &settings);
    let row = rows.iter().find(|row| row["id"] == "tr-0003").unwrap();
    let choices = row["choices"].as_array().unwrap();
    let text = |of: &Value| of["text"].as_str().unwrap().to_owned();
    let wrong = text(choices.iter().find(|choice| choice["label"] != row["answer"]).unwrap());
    let right = text(choices.iter().find(|choice| choice["label"] == row["answer"]).unwrap());
    let second = second.unwrap();
    assert!(first.starts_with("<bos>factual:") && first.ends_with(&format!("answer : {right}<eos>")), "{first}");
    assert!(
        second.starts_with("<bos>counterfactual:")
            && second.ends_with(&format!("because : some would call it {wrong} answer : {wrong}<eos>")),
        "{second}"
    );
    let world = [&["dataset=world"], &settings[..]].concat();
    let (_, journal) = train(dir.path(), 10, &world);
    assert!(!notes(&journal).contains("wrong choice"), "every question has one: {}", notes(&journal));
    // Without a source they are those of other examples.
    let (_, second) =
        rendered(dir.path(), "toyworld", "tr-0003", &["rationale.placement=pre", "rationale.counterfactual={}"]);
    assert!(second.unwrap().contains("counterfactual:"));
    let error = fails(dir.path(), &with(&["train"], &["rationale.counterfactual={}"]));
    assert!(error.contains("placement: pre"), "{error}");
    let error = fails(
        dir.path(),
        &with(
            &["train"],
            &[&world[..1], &["rationale.placement=pre", "rationale.counterfactual={source: nobody}"]].concat(),
        ),
    );
    assert!(error.contains("nobody"), "{error}");
}

#[test]
fn a_larger_student_of_the_same_words_gives_soft_labels() {
    let dir = tempfile::tempdir().unwrap();
    let (teacher, _) = train(dir.path(), 60, &[]);
    let from = format!("training.soft_labels={{teacher: {teacher}, temperature: 2, share: 1}}");
    let (student, journal) = train(dir.path(), 40, &[&from, "seed.init=5"]);
    // With all of its loss from the teacher it learns to answer as the teacher does.
    let first = |journal: &[Value], what: &str| {
        journal.iter().find(|entry| entry["event"] == "step").unwrap()[what].as_f64().unwrap()
    };
    let last = |journal: &[Value], what: &str| {
        journal.iter().rfind(|entry| entry["event"] == "step").unwrap()[what].as_f64().unwrap()
    };
    assert!(last(&journal, "loss") < 0.5 * first(&journal, "loss"), "the divergence falls");
    assert!(last(&journal, "loss_label") < 0.9 * first(&journal, "loss_label"), "and with it what it was not told");
    let resumed = says(dir.path(), &["runs", "show", &student, "--json"]);
    assert!(resumed.contains("soft_labels"));
    // A teacher who speaks of other things can't be learned from.
    let other = format!("training.soft_labels={{teacher: {teacher}}}");
    let error = fails(dir.path(), &with(&["train"], &["dataset=toyworld:9", "training.steps=2", &other]));
    assert!(error.contains("vocabulary is not the student's"), "{error}");
    let error = fails(dir.path(), &with(&["train"], &["training.soft_labels={teacher: nobody}"]));
    assert!(error.contains("nobody"), "{error}");
    let error = fails(dir.path(), &with(&["train"], &["training.soft_labels={teacher: x, temperature: 0}"]));
    assert!(error.contains("soft_labels.temperature is 0"), "{error}");
}

#[test]
fn tokens_weigh_by_the_attributions_of_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let weighted = "rationale.attribution_weights={floor: 0.1}";
    let (_, journal) = train(dir.path(), 10, &[weighted]);
    assert!(journal.iter().any(|entry| entry["event"] == "evaluation"));
    let readers = std::fs::read_dir(dir.path().join("runs")).unwrap().flatten();
    assert_eq!(readers.filter(|run| run.file_name().to_string_lossy().starts_with("reader-")).count(), 1);
    let shown = with(
        &["render", "toyworld", "--id", "tr-0003", "--json"],
        &[
            "training.steps=10",
            "training.batch_size=64",
            "evaluation.every=end",
            "evaluation.final=validation",
            weighted,
        ],
    );
    let shown: Value = serde_json::from_str(&says(dir.path(), &shown)).unwrap();
    let tokens = shown["tokens"].as_array().unwrap().iter().filter(|token| token["role"] == "rationale");
    let weights: Vec<f64> = tokens.map(|token| token["loss"].as_f64().unwrap()).collect();
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    let (least, most) = (weights.iter().copied().fold(f64::MAX, f64::min), weights.iter().copied().fold(0.0, f64::max));
    assert!((mean - 0.3).abs() < 1e-4 && least >= 0.0299 && most > 0.6, "{weights:?}");
}

#[test]
fn what_goes_by_attribution_composes_with_tasks_and_pauses() {
    let dir = tempfile::tempdir().unwrap();
    let keep = "rationale.ablations=[{keep: {by: attribution, count: 3}}]";
    let then_pause = "rationale.ablations=[{keep: {by: attribution, count: 3}}, {fill: {with: pause, count: 4}}]";
    for settings in [
        &["rationale.placement=multitask", keep][..],
        &["rationale.placement=pre", "rationale.counterfactual={}", "rationale.attribution_weights={}"],
        &[then_pause],
    ] {
        let (_, journal) = train(dir.path(), 4, settings);
        assert!(journal.iter().any(|entry| entry["event"] == "evaluation"), "{settings:?}");
    }
}

#[test]
fn filters_reach_borrowed_rationales_and_marks_outlive_them() {
    let dir = tempfile::tempdir().unwrap();
    world(dir.path());
    let filtered = ["rationale.source=samples", "rationale.filter={teacher_correct: true}"];
    // tr-0007 has none that passes, so that it lends none either: no question has its words.
    for number in 10..40 {
        let swapped = [&filtered[..], &["rationale.ablations=[{swap: {with: another-example}}]"]].concat();
        let (text, _) = rendered(dir.path(), "world", &format!("tr-00{number}"), &swapped);
        assert!(!text.contains("second comes the land"), "{text}");
    }
    let error = fails(dir.path(), &with(&["train"], &["rationale.filter={teacher_correct: true}"]));
    assert!(error.contains("keeps no rationale of toyworld/train") && error.contains("teacher_answer"), "{error}");
    let error = fails(dir.path(), &with(&["train"], &["rationale.samples=drawn"]));
    assert!(error.contains("name a source"), "{error}");
}

#[test]
fn a_rationale_that_shrinks_is_gone_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let removed = ["rationale.placement=pre", "rationale.ablations=[{remove: {fraction: 0.5}}]"];
    let (id, journal) = train(dir.path(), 80, &removed);
    let tokens = |number: u64| {
        let at = |number: u64| {
            journal.iter().find(|entry| entry["event"] == "step" && entry["step"] == number).unwrap()["tokens"].as_u64()
        };
        at(number).unwrap() - at(number - 1).unwrap()
    };
    let start = journal.iter().find(|entry| entry["event"] == "start").unwrap();
    let per_epoch = start["examples"].as_u64().unwrap().div_ceil(64);
    assert!(2 * per_epoch + 2 < 80, "the run has three epochs");
    let (first, second, third) = (tokens(2), tokens(per_epoch + 2), tokens(2 * per_epoch + 2));
    assert!(third < second && second < first && third * 10 < first * 7, "{first} {second} {third}");
    let again = train(dir.path(), 80, &removed).0;
    let weights =
        |id: &str| std::fs::read(dir.path().join("runs").join(id).join("checkpoints/step-80/model.safetensors"));
    assert!(weights(&id).unwrap() == weights(&again).unwrap());
}
