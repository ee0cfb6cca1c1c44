//! Students that can't be trained are refused by name, before a run is made; and some that look odd are taken.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use afterthought::student::lora::{self, Lora};
use afterthought::student::{Student, Tokenizer};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};

/// A project with a small student in it.
struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { dir: tempfile::tempdir().unwrap() };
        let folder = project.student("student");
        std::fs::create_dir_all(&folder).unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/families/llama");
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(fixture.join(file), folder.join(file)).unwrap();
        }
        let tokenizer = Tokenizer::words(["a b c"].into_iter().map(str::to_owned), 30).unwrap();
        std::fs::write(folder.join("tokenizer.json"), tokenizer.to_json().unwrap()).unwrap();
        project
    }

    fn student(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A folder of adapters beside the student.
    fn adapters(&self) -> PathBuf {
        let base = self.student("student");
        let student = Student::load(&base, &Device::Cpu).unwrap();
        let settings = Lora { rank: 2, ..Lora::default() };
        let student = student.with_adapters(&settings, 1, &base.display().to_string()).unwrap();
        let folder = self.student("adapters");
        std::fs::create_dir_all(&folder).unwrap();
        student.save(&folder).unwrap();
        folder
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
        command.arg("-C").arg(self.dir.path()).args(arguments).output().unwrap()
    }

    /// What is said against a run on a student; there must be no run.
    #[track_caller]
    fn refused(&self, student: &str, more: &[&str]) -> String {
        let wanted = format!("student={student}");
        let out = self.run(&[&["train", "--set", "dataset=everyday-like", "--set", &wanted][..], more].concat());
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(!self.student("runs").exists(), "a run was made: {said}");
        said
    }
}

/// A data set that every student can be asked.
fn with_data(project: &Project) {
    let folder = project.student("datasets/everyday-like");
    std::fs::create_dir_all(&folder).unwrap();
    let row = json!({"id": "q1", "question": "a b", "choices": [{"label": "A", "text": "a"}, {"label": "B", "text": "b"}],
                     "answer": "A", "rationale": "c"});
    for split in ["train", "validation"] {
        std::fs::write(folder.join(format!("{split}.jsonl")), format!("{row}\n")).unwrap();
    }
    let meta = "name: everyday-like\nsplits: {train: train.jsonl, validation: validation.jsonl}\n";
    std::fs::write(folder.join("dataset.yaml"), meta).unwrap();
}

fn change(path: &Path, change: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let mut tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, path).unwrap();
}

fn set(path: &Path, key: &str, value: Value) {
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    config[key] = value;
    std::fs::write(path, config.to_string()).unwrap();
}

#[test]
fn broken_weights_are_refused_before_a_run_is_made() {
    type Spoil<'a> = &'a dyn Fn(&Path);
    let spoil: [(&str, Spoil); 3] = [
        ("none (NaN", &|weights| {
            change(weights, |all| {
                let norm = all.get_mut("model.norm.weight").unwrap();
                *norm = (&*norm * f64::NAN).unwrap();
            });
        }),
        ("has shape", &|weights| {
            change(weights, |all| {
                let norm = all.get_mut("model.norm.weight").unwrap();
                *norm = norm.narrow(0, 0, 3).unwrap();
            });
        }),
        ("model.safetensors", &|weights| {
            let bytes = std::fs::read(weights).unwrap();
            std::fs::write(weights, &bytes[..bytes.len() - 100]).unwrap();
        }),
    ];
    for (words, spoil) in spoil {
        let project = Project::new();
        with_data(&project);
        spoil(&project.student("student/model.safetensors"));
        let said = project.refused("student", &[]);
        assert!(said.contains("model.safetensors") && said.contains(words), "{said}");
    }
}

#[test]
fn settings_of_another_type_are_named() {
    for (key, value) in [("tie_word_embeddings", json!(1.5)), ("rope_scaling", json!({"rope_type": 3}))] {
        let project = Project::new();
        with_data(&project);
        let config = project.student("student/config.json");
        set(&config, "rope_parameters", Value::Null);
        set(&config, key, value);
        let said = project.refused("student", &[]);
        assert!(said.contains("config.json") && said.contains(key.trim_start_matches("rope_scaling")), "{key}: {said}");
    }
}

#[test]
fn adapters_that_would_be_others_here_are_refused() {
    let refused = |spoil: &dyn Fn(&Path)| {
        let project = Project::new();
        let folder = project.adapters();
        spoil(&folder);
        Student::load(&folder, &Device::Cpu).map(|_| ()).unwrap_err().to_string()
    };
    for (key, value) in [
        ("alpha_pattern", json!({"q_proj": 64})),
        ("rank_pattern", json!({"q_proj": 4})),
        ("layers_to_transform", json!([0])),
        ("exclude_modules", json!("q_proj")),
        ("lora_bias", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("r", json!(8.5)),
    ] {
        let said = refused(&|folder| set(&folder.join(lora::CONFIG), key, value.clone()));
        assert!(said.contains("adapter_config.json") && said.contains(&format!("`{key}`")), "{said}");
    }
    let said = refused(&|folder| {
        change(&folder.join(lora::WEIGHTS), |all| {
            all.insert("base_model.model.extra".into(), Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap());
        });
    });
    assert!(said.contains("extra") && said.contains("has no place"), "{said}");
    let said = refused(&|folder| {
        change(&folder.join(lora::WEIGHTS), |all| {
            let name = all.keys().min().unwrap().clone();
            let spoilt = (&all[&name] * f64::NAN).unwrap();
            all.insert(name, spoilt);
        });
    });
    assert!(said.contains("NaN"), "{said}");
    // One that names itself would be looked for for ever.
    let said = refused(&|folder| {
        set(&folder.join(lora::CONFIG), "base_model_name_or_path", json!(folder.display().to_string()));
    });
    assert!(said.contains("a folder of adapters itself"), "{said}");
}

#[test]
fn adapters_as_peft_leaves_them_are_opened() {
    let project = Project::new();
    let folder = project.adapters();
    set(&folder.join(lora::CONFIG), "modules_to_save", json!([]));
    // PEFT writes neither of these, and often half as many bits.
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::remove_file(folder.join(file)).unwrap();
    }
    change(&folder.join(lora::WEIGHTS), |all| {
        all.values_mut().for_each(|tensor| *tensor = tensor.to_dtype(DType::BF16).unwrap());
    });
    assert!(Student::load(&folder, &Device::Cpu).unwrap().adapted.is_some());
    // By a path that belongs to the project.
    for command in ["show", "generate"] {
        let more: &[&str] = if command == "generate" { &["--prompt", "a b", "--limit", "2"] } else { &[] };
        let out = project.run(&[&["student", command, "adapters"][..], more].concat());
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    }
    with_data(&project);
    let said = project.refused("adapters", &["--set", "training.lora={rank: 2}"]);
    assert!(said.contains("has adapters already"), "{said}");
}

#[test]
fn a_plan_beyond_all_measure_does_not_fit() {
    let project = Project::new();
    let out = project.run(&["student", "show", "student", "--batch", "1048576", "--length", "64", "--json"]);
    let shown: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(shown["fits"], json!(false), "{shown}");
    assert!(shown["would_fit"].as_array().is_some_and(|found| !found.is_empty()));
    for batch in ["0", "99999999999999"] {
        assert_eq!(project.run(&["student", "show", "student", "--batch", batch]).status.code(), Some(2));
    }
    let many = ["student", "generate", "student", "--prompt", "a", "--temperature", "1", "--count", "1000000000000"];
    assert_eq!(project.run(&many).status.code(), Some(2));
}
