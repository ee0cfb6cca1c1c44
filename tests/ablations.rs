//! Ablations from the command line: what the student sees, and that runs with them train, stop, go on and are asked.

mod program;

use std::path::Path;

use program::{fails, says};
use serde_json::Value;

/// The rationale's tokens of an example of the toy world, under a list of ablations.
#[track_caller]
fn rationale(project: &Path, ablations: &str) -> Vec<String> {
    let set = format!("rationale.ablations=[{ablations}]");
    let shown = says(project, &["render", "toyworld", "--id", "tr-0003", "--set", &set, "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let tokens = shown["tokens"].as_array().unwrap().iter().filter(|token| token["role"] == "rationale");
    tokens.map(|token| token["text"].as_str().unwrap().trim().to_owned()).collect()
}

#[test]
fn what_the_student_sees_is_rendered_for_every_ablation() {
    let dir = tempfile::tempdir().unwrap();
    let whole = rationale(dir.path(), "");
    let sorted = |mut words: Vec<String>| {
        words.sort();
        words
    };
    let shuffled = rationale(dir.path(), "{shuffle: {unit: token, anew: epoch}}");
    assert_ne!(shuffled, whole);
    assert_eq!(sorted(shuffled), sorted(whole.clone()));
    assert_eq!(rationale(dir.path(), "{truncate: {count: 5}}"), whole[..5]);
    assert_eq!(rationale(dir.path(), "{truncate: {count: 5, from: start}}"), whole[whole.len() - 5..]);
    assert_eq!(rationale(dir.path(), "{fill: {with: pause, count: 4}}"), ["<pause>"; 4]);
    assert_eq!(rationale(dir.path(), "{keep: {by: similarity, count: 3}}").len(), 3);
    for with in ["same-label", "other-label", "wrong-choice"] {
        let swapped = rationale(dir.path(), &format!("{{swap: {{with: {with}}}}}"));
        assert!(!swapped.is_empty() && swapped != whole, "{with}");
        assert_eq!(swapped, rationale(dir.path(), &format!("{{swap: {{with: {with}}}}}")));
    }
}

#[test]
fn a_file_of_word_vectors_says_what_is_similar() {
    let dir = tempfile::tempdir().unwrap();
    let whole = rationale(dir.path(), "");
    let shown = says(dir.path(), &["data", "show", "toyworld", "--id", "tr-0003", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let label = shown["choices"].as_array().unwrap().iter().find(|choice| choice["label"] == shown["answer"]);
    let label = label.unwrap()["text"].as_str().unwrap();
    // The fifth word lies by the label, all others across.
    let mut words: Vec<&str> = whole.iter().map(String::as_str).filter(|word| *word != label).collect();
    let near = words.iter().rev().find(|word| word.chars().all(char::is_alphabetic)).unwrap().to_string();
    words.retain(|word| *word != near && word.chars().all(char::is_alphabetic));
    words.sort_unstable();
    words.dedup();
    let mut rows = vec![format!("{label} 1 0"), format!("{near} 0.9 0.1")];
    rows.extend(words.iter().map(|word| format!("{word} 0 1")));
    std::fs::write(dir.path().join("words.vec"), format!("{} 2\n{}\n", rows.len(), rows.join("\n"))).unwrap();
    let kept = rationale(dir.path(), "{keep: {by: similarity, count: 1, vectors: words.vec}}");
    assert!(kept == [near] || kept == [label], "{kept:?}");
    std::fs::write(dir.path().join("words.vec"), "9 2\nbank 1 2\n").unwrap();
    let set = "rationale.ablations=[{keep: {by: similarity, count: 1, vectors: words.vec}}]";
    let error = fails(dir.path(), &["render", "toyworld", "--id", "tr-0003", "--set", set]);
    assert!(error.contains("words.vec:1:") && error.contains("promises 9 words"), "{error}");
    let missing = set.replace("words.vec", "none.bin");
    let error = fails(dir.path(), &["train", "--set", &missing]);
    assert!(error.contains("none.bin"), "{error}");
}

/// Trains the toy for a few steps over the rows of a small set, so that there are several epochs.
fn train(project: &Path, id: &str, more: &[&str]) -> Vec<u8> {
    let mut arguments = vec!["train", "--set", "training.steps=40", "--set", "training.batch_size=64"];
    arguments.extend(["--set", "evaluation.every=end", "--set", "evaluation.final=validation"]);
    more.iter().for_each(|setting| arguments.extend(["--set", setting]));
    let printed = says(project, &arguments);
    let run = printed.lines().last().unwrap().trim().to_owned();
    let weights = project.join("runs").join(&run).join("checkpoints/step-40/model.safetensors");
    std::fs::write(project.join(id), &run).unwrap();
    std::fs::read(weights).unwrap()
}

#[test]
fn a_draw_that_is_made_anew_trains_another_student_and_the_same_one_again() {
    let dir = tempfile::tempdir().unwrap();
    let once = train(dir.path(), "once", &["rationale.ablations=[{shuffle: {unit: token}}]"]);
    let anew = "rationale.ablations=[{shuffle: {unit: token, anew: epoch}}]";
    let first = train(dir.path(), "first", &[anew]);
    let again = train(dir.path(), "again", &[anew]);
    assert!(first == again, "the draws depend on seed, example and epoch alone");
    assert!(first != once);
}

#[test]
fn pauses_are_learned_kept_in_the_checkpoint_and_given_when_the_student_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let pauses = "rationale.ablations=[{fill: {with: pause, count: 5}}]";
    let pre = ["rationale.placement=pre", "evaluation.rationale=teacher", pauses];
    train(dir.path(), "paused", &pre);
    let run = std::fs::read_to_string(dir.path().join("paused")).unwrap();
    let words = dir.path().join("runs").join(&run).join("checkpoints/step-40/tokenizer.json");
    assert!(std::fs::read_to_string(words).unwrap().contains("<pause>"));
    let asked = says(dir.path(), &["evaluate", &run, "--split", "validation", "--limit", "20", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&asked).unwrap()["examples"], 20);
    // A student never writes what it is not trained to write.
    let error = fails(dir.path(), &["train", "--set", "rationale.placement=pre", "--set", pauses]);
    assert!(error.contains("evaluation.rationale: teacher"), "{error}");
}
