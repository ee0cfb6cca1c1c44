//! Adapters against PEFT: `tests/reference/lora.py` made the fixtures, in double precision.

mod measure;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use afterthought::student::lora::{self, Lora};
use afterthought::student::{Dropout, DropoutRates, Precision, Student, Supervised, Tokenizer};
use candle_core::{DType, Device, Tensor, Var};
use measure::gap;

fn reference(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(path)
}

fn tensors(path: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

/// A base student of the fixtures with a tokenizer, which they lack, in a folder of its own.
fn base(name: &str, within: &Path) -> PathBuf {
    let folder = within.join("base");
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(reference("families").join(name).join(file), folder.join(file)).unwrap();
    }
    let tokenizer = Tokenizer::words(["a b c"].into_iter().map(str::to_owned), 30).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_json().unwrap()).unwrap();
    folder
}

/// The adapters as PEFT wrote them, beside their base student.
fn adapted(name: &str, within: &Path) -> (Student, PathBuf) {
    let base = base(name, within);
    let folder = within.join("adapters");
    std::fs::create_dir_all(&folder).unwrap();
    let from = reference("lora").join(name);
    std::fs::copy(from.join(lora::WEIGHTS), folder.join(lora::WEIGHTS)).unwrap();
    let config = std::fs::read_to_string(from.join(lora::CONFIG)).unwrap();
    let here = format!("\"base_model_name_or_path\": {}", serde_json::to_string(&base).unwrap());
    let config = config.replace(&format!("\"base_model_name_or_path\": \"{name}\""), &here);
    std::fs::write(folder.join(lora::CONFIG), config).unwrap();
    (Student::load(&folder, &Device::Cpu).unwrap(), folder)
}

const CASES: [&str; 7] = ["llama-bias", "gpt2-distil", "qwen3", "gpt_neox", "mistral", "gpt2", "gpt_neox-sequential"];

fn logits(student: &Student, name: &str) -> Tensor {
    let ids = tensors(&reference("families").join(name).join("reference.safetensors"))["ids"].clone();
    let ids: Vec<u32> = ids.to_dtype(DType::U32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    student.decoder.logits(&student.decoder.hidden(&ids, 3, None, None).unwrap()).unwrap()
}

#[test]
fn adapted_logits_and_the_gradient_of_every_adapter_agree() {
    for name in CASES {
        let dir = tempfile::tempdir().unwrap();
        let (student, folder) = adapted(name, dir.path());
        let expected = tensors(&reference("lora").join(name).join("expected.safetensors"));
        let far = gap(&logits(&student, name), &expected["logits"]);
        assert!(far < 3e-6, "{name}: {far:e}");

        let reference = tensors(&reference("families").join(name).join("reference.safetensors"));
        let ids: Vec<Vec<u32>> = reference["ids"].to_dtype(DType::U32).unwrap().to_vec2().unwrap();
        let weights: Vec<Vec<f32>> = reference["weights"].to_vec2().unwrap();
        let total: f32 = weights.concat().iter().sum();
        let (mut rows, mut targets, mut own) = (vec![], vec![], vec![]);
        for (row, weights) in weights.iter().enumerate() {
            for (place, weight) in weights.iter().enumerate() {
                rows.push((row * ids[0].len() + place) as u32);
                targets.push(ids[row][place + 1]);
                own.push(weight / total);
            }
        }
        let batch =
            Supervised { ids: &ids.concat(), batch: 3, rows: &rows, targets: &targets, weights: &own, teacher: None };
        let gradients = student.decoder.loss(&batch, None).unwrap().total.backward().unwrap();
        // In PEFT's form and order, by way of a student whose adapters are these gradients.
        let mut found = HashMap::new();
        for (ours, variable) in &student.parameters {
            let gradient = gradients.get(variable).unwrap_or_else(|| panic!("{name}: {ours} has no gradient"));
            found.insert(ours.clone(), gradient.clone());
        }
        let other = Student::load(&folder, &Device::Cpu).unwrap();
        other.parameters.iter().for_each(|(ours, variable)| variable.set(&found[ours]).unwrap());
        let written = dir.path().join("gradients");
        std::fs::create_dir_all(&written).unwrap();
        other.save(&written).unwrap();
        let written = tensors(&written.join(lora::WEIGHTS));
        assert_eq!(written.len() + 1, expected.len(), "{name}");
        for (theirs, gradient) in &written {
            let far = gap(gradient, &expected[&format!("grad.{theirs}")]);
            assert!(far < 5e-6, "{name} {theirs}: {far:e}");
        }
        // Nothing but the adapters learns.
        let adapted = student.adapted.as_ref().unwrap();
        let learns: Vec<&String> = adapted
            .weights
            .iter()
            .filter(|(_, weight)| gradients.get(weight).is_some())
            .map(|(name, _)| name)
            .collect();
        assert!(learns.is_empty(), "{name}: {learns:?}");
    }
}

#[test]
fn layers_that_are_run_again_give_adapters_the_same_gradients() {
    for name in CASES {
        let dir = tempfile::tempdir().unwrap();
        let (student, _) = adapted(name, dir.path());
        let ids: Vec<u32> = (0..24).map(|place| place * 7 % 20).collect();
        let (rows, targets, weights) = ([3, 9, 17, 22], [1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]);
        let batch =
            Supervised { ids: &ids, batch: 3, rows: &rows, targets: &targets, weights: &weights, teacher: None };
        let rates = DropoutRates { residual: 0.2, ..DropoutRates::default() };
        let dropout = Some(Dropout { rates, adapters: 0.3, key: 7 });
        let narrow = adapted(name, dir.path()).0.computing_in(Precision::Bf16).unwrap();
        for student in [student, narrow] {
            let wanted: Vec<&Var> = student.working().map(|(_, variable)| variable).collect();
            let run = |recompute| {
                let (result, found) = student.decoder.loss_with_gradients(&batch, dropout, &wanted, recompute).unwrap();
                (
                    result.losses.to_vec1::<f32>().unwrap(),
                    found.into_iter().map(Option::unwrap).collect::<Vec<Tensor>>(),
                )
            };
            let ((losses, gradients), (again, recomputed)) = (run(false), run(true));
            assert_eq!(losses, again, "{name}");
            for ((ours, _), (one, other)) in student.working().zip(gradients.iter().zip(&recomputed)) {
                assert_eq!(gap(other, one), 0.0, "{name} {ours} in {:?}", one.dtype());
            }
        }
    }
}

#[test]
fn what_is_saved_is_what_peft_saved_and_what_is_merged_answers_alike() {
    for name in CASES {
        let dir = tempfile::tempdir().unwrap();
        let (student, folder) = adapted(name, dir.path());
        let (again, whole) = (dir.path().join("again"), dir.path().join("whole"));
        std::fs::create_dir_all(&again).unwrap();
        std::fs::create_dir_all(&whole).unwrap();
        student.save(&again).unwrap();
        let (peft, ours) = (tensors(&folder.join(lora::WEIGHTS)), tensors(&again.join(lora::WEIGHTS)));
        assert_eq!(peft.len(), ours.len());
        for (theirs, tensor) in &peft {
            assert_eq!(gap(&ours[theirs], tensor), 0.0, "{name} {theirs}");
        }
        let reloaded = Student::load(&again, &Device::Cpu).unwrap();
        assert_eq!(gap(&logits(&reloaded, name), &logits(&student, name)), 0.0);
        student.save_whole(&whole).unwrap();
        let merged = Student::load(&whole, &Device::Cpu).unwrap();
        assert!(merged.adapted.is_none());
        let far = gap(&logits(&merged, name), &logits(&student, name));
        assert!(far < 5e-6, "{name}: {far:e}");
    }
}

#[test]
fn fresh_adapters_change_nothing_yet_and_unknown_targets_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = base("qwen3", dir.path());
    let student = || Student::load(&folder, &Device::Cpu).unwrap();
    let adapted = student().with_adapters(&Lora::default(), 3, &folder.display().to_string()).unwrap();
    assert_eq!(gap(&logits(&adapted, "qwen3"), &logits(&student(), "qwen3")), 0.0);
    assert_eq!(adapted.parameters.len(), 2 * 7 * adapted.decoder.architecture.layers.len());
    let wrong = Lora { targets: vec!["q_proj".into(), "query".into()], ..Lora::default() };
    let error = student().with_adapters(&wrong, 3, "somewhere").map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("`query`") && error.contains("k_proj"), "{error}");
}

#[test]
fn adapters_of_a_student_that_is_not_here_say_how_to_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_, folder) = adapted("qwen3", dir.path());
    let path = folder.join(lora::CONFIG);
    let refused = |base: &str| {
        let mut config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        config["base_model_name_or_path"] = base.into();
        std::fs::write(&path, config.to_string()).unwrap();
        Student::load(&folder, &Device::Cpu).map(|_| ()).unwrap_err().to_string()
    };
    let by_id = refused("owner/was-never-fetched");
    assert!(by_id.contains("`afterthought student fetch owner/was-never-fetched`"), "{by_id}");
    let by_path = refused("/no/such/folder");
    assert!(by_path.contains("/no/such/folder") && by_path.contains("adapter_config.json"), "{by_path}");
}
