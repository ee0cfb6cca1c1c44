//! A real pretrained model end to end: stories260K, of the Llama family. `tests/reference/stories.py` says what
//! transformers makes of it. The model is not part of the project; without it these tests say that they are skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use afterthought::student::generate::{Choose, generate};
use afterthought::student::{Student, Supervised};
use candle_core::Device;
use serde_json::Value;

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
        return None;
    }
    Some(path)
}

fn expected() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/stories260K.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn it_tells_the_story_that_transformers_tells() {
    let Some(folder) = shared("models/stories260K") else { return };
    let expected = expected();
    let student = Student::load(&folder, &Device::Cpu).unwrap();
    let (prompt, greedy) = (ids(&expected["prompt"]), ids(&expected["greedy"]));
    assert_eq!(student.tokenizer.ids("Once upon a time, there was a little girl named").unwrap(), prompt[1..]);
    let decoder = student.decoder.frozen();
    let text = generate(&decoder, std::slice::from_ref(&prompt), greedy.len(), Choose::Greedy, &|_, _| false).unwrap();
    assert_eq!(text[0], greedy);

    let all = [prompt, greedy].concat();
    let rows: Vec<u32> = (0..all.len() as u32 - 1).collect();
    let weights = vec![1.0 / rows.len() as f32; rows.len()];
    let batch = Supervised { ids: &all, batch: 1, rows: &rows, targets: &all[1..], weights: &weights, teacher: None };
    let loss = f64::from(decoder.loss(&batch, None).unwrap().total.to_scalar::<f32>().unwrap());
    let want = expected["loss"].as_f64().unwrap();
    assert!((loss / want - 1.0).abs() < 1e-6, "{loss} {want}");
}

#[test]
fn it_is_fine_tuned_on_quarel_from_the_command_line() {
    let (Some(model), Some(data)) = (shared("models/stories260K"), shared("data/quarel")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_afterthought"))
            .arg("-C")
            .arg(dir.path())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let split = |name: &str| format!("{name}={}", data.join(format!("{name}.jsonl")).display());
    let (train, validation) = (split("train"), split("validation"));
    run(&["data", "import", "--format", "mapping", "--as", "quarel", "--split", &train, "--split", &validation]);
    let student = format!("student={}", model.display());
    let settings =
        ["training.steps=12", "training.batch_size=8", "training.learning_rate=0.001", "evaluation.every=end"];
    let more = ["evaluation.answer=likelihood", "evaluation.examples=20", "training.checkpoint.every=6"];
    let mut arguments = vec!["train", "--set", "dataset=quarel", "--set", &student];
    settings.iter().chain(&more).for_each(|setting| arguments.extend(["--set", setting]));
    run(&arguments);
    let shown: Value = serde_json::from_str(&run(&["--json", "runs", "show", "last"])).unwrap();
    assert_eq!((shown["state"].as_str(), shown["step"].as_u64()), (Some("finished"), Some(12)));
    assert_eq!(shown["accuracy"].as_f64().map(|accuracy| accuracy > 0.2 && accuracy < 0.8), Some(true), "{shown}");
    // What was learnt is a folder of the same kind.
    let checkpoint = dir.path().join("runs").join(shown["id"].as_str().unwrap()).join("checkpoints/step-12");
    let again = Student::load(&checkpoint, &Device::Cpu).unwrap();
    assert_eq!(again.family.model_type, "llama");
    run(&["attribute", "last", "quarel", "--id", "quarel-train-0001", "--json"]);

    // The same with adapters beside weights that stay as they are; exported as they are, and multiplied out.
    arguments.extend(["--set", "training.lora={rank: 4, dropout: 0.1}", "--set", "training.learning_rate=0.01"]);
    run(&arguments);
    run(&["runs", "export", "last", "--to", &dir.path().join("adapter").display().to_string()]);
    run(&["runs", "export", "last", "--merge", "--to", &dir.path().join("whole").display().to_string()]);
    let adapter = Student::load(&dir.path().join("adapter"), &Device::Cpu).unwrap();
    let whole = Student::load(&dir.path().join("whole"), &Device::Cpu).unwrap();
    assert!(adapter.adapted.is_some() && whole.adapted.is_none());
    let ids = ids(&expected()["prompt"]);
    let logits = |student: &Student| {
        let decoder = &student.decoder;
        decoder.logits(&decoder.hidden(&ids, 1, None, None).unwrap()).unwrap().flatten_all().unwrap()
    };
    let gap = (logits(&adapter) - logits(&whole)).unwrap().abs().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    let before = Student::load(&model, &Device::Cpu).unwrap();
    let moved =
        (logits(&adapter) - logits(&before)).unwrap().abs().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    assert!(gap < 1e-4 && moved > 1e-2, "{gap} {moved}");
}
