//! Lenses as a user looks through them: a student is trained, its layers are read, a tuned lens is trained and kept with
//! the run, and what does not fit is refused.

mod program;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use program::{fails, run, says};
use serde_json::Value;

/// Trains a toy student and gives the run's id.
fn train(project: &Path, settings: &[&str]) -> String {
    let mut arguments = vec!["train", "--set", "evaluation.every=end", "--set", "training.steps=120"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    says(project, &arguments).lines().last().unwrap().to_owned()
}

#[track_caller]
fn json(project: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&says(project, &[arguments, &["--json"]].concat())).unwrap()
}

fn cell(grid: &Value, layer: usize, place: usize) -> &Value {
    &grid["layers"][layer]["cells"][place]
}

#[test]
fn the_last_layer_reads_what_the_student_answers() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let id = train(project, &["rationale.placement=post"]);
    // All labels of the toy world are one token, so that the likeliest choice is the one of the likeliest first token.
    let asked = json(project, &["evaluate", &id, "--split", "validation", "--set", "evaluation.answer=likelihood"]);
    let table = json(project, &["lens", "table", &id, "toyworld", "--split", "validation"]);
    let last = table["layers"].as_array().unwrap().last().unwrap();
    assert_eq!((&table["examples"], &last["readable"]), (&asked["examples"], &asked["correct"]));
    assert_eq!(last["readable"], last["stays"]);
    let never = asked["examples"].as_u64().unwrap() - asked["correct"].as_u64().unwrap();
    assert_eq!(table["never"], never);
    assert_eq!(table["after_label"], true);
    let begins: u64 = table["layers"].as_array().unwrap().iter().map(|layer| layer["begins"].as_u64().unwrap()).sum();
    assert_eq!(begins + never, asked["examples"].as_u64().unwrap());

    let grid = json(project, &["lens", "show", &id, "toyworld", "--id", "va-0001"]);
    let (place, layers) = (grid["label_place"].as_u64().unwrap() as usize, grid["layers"].as_array().unwrap().len());
    let tokens = grid["tokens"].as_array().unwrap();
    assert_eq!(tokens[place + 1]["role"], "label");
    for layer in 0..layers {
        assert_eq!(grid["layers"][layer]["cells"].as_array().unwrap().len(), tokens.len());
        for place in 0..tokens.len() {
            let cell = cell(&grid, layer, place);
            let top = cell["top"].as_array().unwrap();
            let p: Vec<f64> = top.iter().map(|token| token["probability"].as_f64().unwrap()).collect();
            assert!(p.is_sorted_by(|one, other| one >= other) && p.iter().sum::<f64>() <= 1.0 + 1e-6);
            assert_eq!(cell["label_rank"] == 1, top[0]["id"] == grid["label_first_token"]);
        }
    }
    let is_read = cell(&grid, layers - 1, place)["label_rank_among_choices"] == 1;
    assert_eq!(grid["readable"]["layer"].is_null(), !is_read);

    let text = says(project, &["lens", "show", &id, "toyworld", "--id", "va-0001"]);
    assert!(text.contains("logit lens on va-0001") && text.contains("emb"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let text = says(project, &["lens", "table", &id, "toyworld", "--split", "validation", "--limit", "20"]);
    assert!(text.contains("20 examples") && text.contains("after the label"), "{text}");
}

#[test]
fn a_tuned_lens_is_kept_with_the_run_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let id = train(project, &["rationale.placement=pre"]);
    let none = fails(project, &["lens", "show", &id, "toyworld", "--id", "va-0001", "--lens", "tuned"]);
    assert!(none.contains(&format!("`afterthought lens train {id}` trains one")), "{none}");

    let about = json(project, &["lens", "train", &id, "--steps", "80"]);
    let mean = |key: &str| about[key].as_array().unwrap().iter().map(|kl| kl.as_f64().unwrap()).sum::<f64>();
    assert!(mean("after") < 0.7 * mean("before"), "{about}");
    let file = PathBuf::from(about["file"].as_str().unwrap());
    assert!(file.starts_with(project.join("runs").join(&id).join("lenses")), "{}", file.display());
    let first = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();

    // The label's own place reads as the student says it, whatever the lens: only earlier layers have maps.
    let grid = |lens: &str| json(project, &["lens", "show", &id, "toyworld", "--id", "va-0001", "--lens", lens]);
    let (logit, tuned) = (grid("logit"), grid("tuned"));
    assert_eq!(tuned["layers"].as_array().unwrap().last(), logit["layers"].as_array().unwrap().last());
    assert_ne!(tuned["layers"][0], logit["layers"][0]);
    let table = json(project, &["lens", "table", &id, "toyworld", "--split", "validation", "--lens", "tuned"]);
    assert_eq!((&table["lens"], &table["after_label"]), (&Value::from("tuned"), &Value::from(false)));
    let counted: u64 = table["tenths"].as_array().unwrap().iter().map(|tenth| tenth[0]["of"].as_u64().unwrap()).sum();
    assert!(counted > 10 * table["examples"].as_u64().unwrap());

    // The same again is the same lens.
    says(project, &["lens", "train", &id, "--steps", "80"]);
    let again = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    assert_eq!(first.len(), again.len());
    for (name, tensor) in &first {
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(tensor), values(&again[name]), "{name}");
    }

    // One for later tokens has a map for the last layer too, and reads the label from an earlier place.
    says(project, &["lens", "train", &id, "--ahead", "2", "--steps", "20"]);
    let future = grid("future:2");
    assert_eq!(future["label_place"].as_u64().unwrap() + 2, logit["label_place"].as_u64().unwrap());
    assert_ne!(future["layers"].as_array().unwrap().last(), logit["layers"].as_array().unwrap().last());

    // Other weights, and a broken file.
    let checkpoint = project.join("runs").join(&id).join("checkpoints");
    let checkpoint = fs::read_dir(checkpoint).unwrap().next().unwrap().unwrap().path();
    let weights = checkpoint.join("model.safetensors");
    let kept = fs::read(&weights).unwrap();
    let mut changed = kept.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&weights, changed).unwrap();
    let tuned = ["lens", "show", &id, "toyworld", "--id", "va-0001", "--lens", "tuned"];
    let refused = fails(project, &tuned);
    assert!(refused.contains("trained on other weights") && refused.contains("lens train"), "{refused}");
    fs::write(&weights, kept).unwrap();
    says(project, &tuned);
    let lens = fs::read(&file).unwrap();
    fs::write(&file, &lens[..lens.len() / 2]).unwrap();
    let refused = fails(project, &tuned);
    assert!(refused.contains("tuned.step-") && refused.contains("makes it anew"), "{refused}");
}

#[test]
fn what_can_not_be_meant_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let student = reference();
    let student = student.to_str().unwrap();
    for (arguments, says) in [
        (vec!["lens", "show", "last", "toyworld", "--id", "va-0001"], "no runs"),
        (vec!["lens", "show", student, "toyworld", "--id", "va-0001", "--lens", "tuned"], "kept with runs"),
        (vec!["lens", "show", student, "toyworld", "--id", "va-0001", "--lens", "future:0"], "above 0"),
        (vec!["lens", "show", student, "toyworld", "--id", "va-0001", "--lens", "tune"], "logit, tuned, future"),
        (vec!["lens", "train", student], "this is no run"),
        (vec!["lens", "train", "last", "--learning-rate", "0"], "above 0"),
    ] {
        let said = fails(project, &arguments);
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gpt2")
}

/// A data set whose labels have several tokens for the student of the reference, whose words are w2 to w96.
fn several_tokens(project: &Path) {
    let folder = project.join("datasets/words");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("dataset.yaml"), "name: words\nsplits: {train: train.jsonl}\ntemplate: {label: text}\n")
        .unwrap();
    let choice = |label: &str, text: &str| serde_json::json!({"label": label, "text": text});
    let row = |id: &str, rationale: &str, one: &str, other: &str| {
        let choices = [choice("A", one), choice("B", other)];
        serde_json::json!({"id": id, "question": "w7 w8", "choices": choices, "answer": "A", "rationale": rationale})
    };
    let rows = [
        row("apart", "w9 魚 דג \u{202e}w10", "w20 w21", "w22 w21"),
        row("alike", "w9", "w20 w21", "w20 w23"),
        row("without", "", "w20", "w21"),
    ];
    fs::write(folder.join("train.jsonl"), rows.map(|row| row.to_string()).join("\n")).unwrap();
}

#[test]
fn a_label_of_several_tokens_is_looked_for_by_its_first() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    several_tokens(project);
    let student = reference();
    let student = student.to_str().unwrap();
    let grid = json(project, &["lens", "show", student, "words", "--id", "apart"]);
    assert_eq!((&grid["label_tokens"], &grid["label_first_token"]), (&Value::from(2), &Value::from(20)));
    assert!(grid["readable"].is_object());
    let text = says(project, &["lens", "show", student, "words", "--id", "apart", "--all"]);
    assert!(text.contains("of whose 2 tokens the first is looked for") && !text.contains('\u{202e}'), "{text}");

    let grid = json(project, &["lens", "show", student, "words", "--id", "alike"]);
    assert!(grid["readable"].is_null() && grid["same_first_token"][0] == "w20 w23", "{grid}");
    assert!(grid["says"].as_str().unwrap().contains("can't be told"), "{grid}");
    let table = json(project, &["lens", "table", student, "words", "--split", "train"]);
    assert_eq!((&table["examples"], &table["indistinct"]), (&Value::from(2), &Value::from(1)));
    let text = says(project, &["lens", "table", student, "words", "--split", "train"]);
    assert!(text.contains("1 examples left out: another choice begins"), "{text}");
}

#[test]
fn a_student_of_broken_weights_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    several_tokens(project);
    let student = project.join("broken");
    fs::create_dir(&student).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(reference().join(name), student.join(name)).unwrap();
    }
    let mut weights: HashMap<String, Tensor> =
        candle_core::safetensors::load(reference().join("model.safetensors"), &Device::Cpu).unwrap();
    // Numbers all of them, and the sums of a norm are none.
    let name = "transformer.h.1.mlp.c_proj.bias";
    let spoiled = (weights[name].zeros_like().unwrap() + 3e38).unwrap();
    weights.insert(name.into(), spoiled);
    candle_core::safetensors::save(&weights, student.join("model.safetensors")).unwrap();
    let student = student.to_str().unwrap();
    for arguments in
        [["lens", "show", student, "words", "--id", "apart"], ["lens", "table", student, "words", "--split", "train"]]
    {
        let output = run(project, &arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("what is read after layer 2 is no number"), "{said}");
    }
}
