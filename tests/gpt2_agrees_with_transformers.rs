//! The decoder against transformers: `tests/reference/gpt2.py` made the fixture, in double precision.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use afterthought::student::generate::{Choose, Draw, generate};
use afterthought::student::ops::Ops;
use afterthought::student::{Dropout, DropoutRates, Student, Supervised, Teacher};
use candle_core::{DType, Device, Tensor, Var};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gpt2")
}

fn expected() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture().join("expected.safetensors"), &Device::Cpu).unwrap()
}

fn student() -> Student {
    Student::load(&fixture(), &Device::Cpu).unwrap()
}

/// Largest difference over the largest reference value.
fn gap(got: &Tensor, want: &Tensor) -> f64 {
    let largest = |t: &Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
    let got = got.to_dtype(DType::F64).unwrap().reshape(want.dims()).unwrap();
    largest(&(got - want).unwrap()) / largest(want)
}

fn integers(tensor: &Tensor) -> Vec<u32> {
    let flat = tensor.flatten_all().unwrap().to_dtype(DType::U32).unwrap();
    flat.to_vec1().unwrap()
}

/// The fixture's weighted next-token loss as places, targets and weights.
struct Batch {
    ids: Vec<u32>,
    rows: Vec<u32>,
    targets: Vec<u32>,
    weights: Vec<f32>,
    /// Places in the flattened (3, 16) table of next tokens.
    places: Vec<usize>,
}

impl Batch {
    fn read(expected: &HashMap<String, Tensor>) -> Self {
        let ids = integers(&expected["ids"]);
        let all = expected["weights"].flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let mut batch = Self { ids, rows: vec![], targets: vec![], weights: vec![], places: vec![] };
        for (place, weight) in all.into_iter().enumerate().filter(|(_, weight)| *weight > 0.0) {
            let row = place / 16 * 17 + place % 16;
            batch.rows.push(row as u32);
            batch.targets.push(batch.ids[row + 1]);
            batch.weights.push(weight as f32);
            batch.places.push(place);
        }
        batch
    }

    fn supervised(&self) -> Supervised<'_> {
        let Self { ids, rows, targets, weights, .. } = self;
        Supervised { ids, batch: 3, rows, targets, weights, teacher: None }
    }
}

#[test]
fn logits_losses_and_every_gradient_agree() {
    let expected = expected();
    let batch = Batch::read(&expected);
    for ops in [Ops::Fused, Ops::Composed] {
        let student = student();
        let decoder = student.decoder.clone().with_ops(ops);
        let logits = decoder.logits(&decoder.hidden(&batch.ids, 3, None, None).unwrap()).unwrap();
        assert!(gap(&logits, &expected["logits"]) < 1e-6, "{ops:?} logits {:e}", gap(&logits, &expected["logits"]));

        let loss = decoder.loss(&batch.supervised(), None).unwrap();
        assert!(gap(&loss.total, &expected["total"]) < 1e-6);
        let losses = expected["losses"].flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (got, place) in loss.losses.to_vec1::<f32>().unwrap().iter().zip(&batch.places) {
            assert!((f64::from(*got) - losses[*place]).abs() < 1e-5);
        }
        let gradients = loss.total.backward().unwrap();
        for (name, variable) in &student.parameters {
            let gradient = gradients.get(variable).unwrap_or_else(|| panic!("{name} has no gradient"));
            let want = &expected[&format!("gradient.{}", student.family.names.published(name)[0])];
            assert!(gap(gradient, want) < 1e-6, "{ops:?} {name}: {:e}", gap(gradient, want));
        }
    }
}

#[test]
fn every_parameter_gets_a_gradient_also_with_dropout() {
    let expected = expected();
    let batch = Batch::read(&expected);
    let student = student();
    let rates = DropoutRates { embedding: 0.1, residual: 0.1, attention: 0.1 };
    let loss = student.decoder.loss(&batch.supervised(), Some(Dropout { rates, adapters: 0.0, key: 5 })).unwrap();
    let gradients = loss.total.backward().unwrap();
    for (name, variable) in &student.parameters {
        let gradient = gradients.get(variable).unwrap_or_else(|| panic!("{name} has no gradient"));
        assert!(
            gradient.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap() > 0.0,
            "{name} is never changed"
        );
    }
}

#[test]
fn greedy_text_agrees_token_by_token_whatever_the_padding() {
    let expected = expected();
    let prompts: Vec<Vec<u32>> = (0..4).map(|place| integers(&expected[&format!("prompt.{place}")])).collect();
    let decoder = student().decoder.frozen();
    let texts = generate(&decoder, &prompts, 12, Choose::Greedy, &|_, _| false).unwrap();
    for (place, text) in texts.iter().enumerate() {
        assert_eq!(*text, integers(&expected[&format!("continuation.{place}")]), "prompt {place}");
    }
    // One that stops early leaves the others alone.
    let texts = generate(&decoder, &prompts, 12, Choose::Greedy, &|row, text| row == 1 && text.len() == 3).unwrap();
    for (place, text) in texts.iter().enumerate() {
        let all = integers(&expected[&format!("continuation.{place}")]);
        assert_eq!(text[..], all[..if place == 1 { 3 } else { 12 }]);
    }
}

#[test]
fn sampled_text_depends_on_its_seed_alone() {
    let expected = expected();
    let prompts: Vec<Vec<u32>> = (0..4).map(|place| integers(&expected[&format!("prompt.{place}")])).collect();
    let decoder = student().decoder.frozen();
    let sample = |prompts: &[Vec<u32>], seed| {
        generate(
            &decoder,
            prompts,
            8,
            Choose::Sample(Draw { temperature: 1.0, top_k: Some(40), top_p: 0.95, seed }),
            &|_, _| false,
        )
        .unwrap()
    };
    assert_eq!(sample(&prompts, 1), sample(&prompts, 1));
    assert_ne!(sample(&prompts, 1), sample(&prompts, 2));
    assert_eq!(sample(&prompts[..1], 1)[0], sample(&prompts, 1)[0]);
}

#[test]
fn a_saved_student_is_the_same_student() {
    let dir = tempfile::tempdir().unwrap();
    let student = student();
    student.save(dir.path()).unwrap();
    let again = Student::load(dir.path(), &Device::Cpu).unwrap();
    for ((name, one), (_, other)) in student.parameters.iter().zip(&again.parameters) {
        let gap = (one.as_tensor() - other.as_tensor()).unwrap().abs().unwrap().max_all().unwrap();
        assert_eq!(gap.to_scalar::<f32>().unwrap(), 0.0, "{name}");
    }
    assert_eq!(student.tokenizer.to_json().unwrap(), again.tokenizer.to_json().unwrap());
}

#[test]
fn broken_students_are_refused_with_the_file_and_the_next_step() {
    let copy = |change: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            std::fs::copy(fixture().join(name), dir.path().join(name)).unwrap();
        }
        change(dir.path());
        Student::load(dir.path(), &Device::Cpu).map(|_| ()).unwrap_err().to_string()
    };
    let cut = copy(&|dir| {
        let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
        std::fs::write(dir.join("model.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    });
    assert!(cut.contains("model.safetensors") && cut.contains("fetch it again"), "{cut}");
    let edit = |from: &'static str, to: &'static str| {
        move |dir: &Path| {
            let text = std::fs::read_to_string(dir.join("config.json")).unwrap();
            assert!(text.contains(from));
            std::fs::write(dir.join("config.json"), text.replace(from, to)).unwrap();
        }
    };
    let small = copy(&edit("\"vocab_size\": 97", "\"vocab_size\": 90"));
    assert!(small.contains("tokenizer.json") && small.contains("97 ids") && small.contains("90 rows"), "{small}");
    let wide = copy(&edit("\"n_positions\": 40", "\"n_positions\": 41"));
    assert!(wide.contains("transformer.wpe.weight") && wide.contains("[40, 24]"), "{wide}");
    let deep = copy(&edit("\"n_layer\": 2", "\"n_layer\": 3"));
    assert!(deep.contains("transformer.h.2"), "{deep}");
    let other = copy(&edit("\"gpt2\"", "\"mamba\""));
    assert!(other.contains("config.json") && other.contains("mamba"), "{other}");
    let pickle = copy(&|dir| {
        std::fs::rename(dir.join("model.safetensors"), dir.join("pytorch_model.bin")).unwrap();
    });
    assert!(pickle.contains("safetensors") && pickle.contains("any code"), "{pickle}");
}

/// The loss that blends a teacher's probabilities with the tokens: `tests/reference/soft_labels.py`.
#[test]
fn soft_labels_agree_with_pytorch_in_their_loss_and_every_gradient() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/soft_labels");
    let expected = candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu).unwrap();
    let batch = Batch::read(&self::expected());
    for (name, temperature, share) in [("T2", 2.0, 0.7), ("T0.5", 0.5, 1.0)] {
        for (ops, recompute) in [(Ops::Fused, false), (Ops::Composed, false), (Ops::Fused, true)] {
            let student = student();
            let decoder = student.decoder.clone().with_ops(ops);
            let teacher = Student::load(&folder, &Device::Cpu).unwrap().decoder.frozen().with_ops(ops);
            let teacher = Teacher { decoder: teacher, temperature, share };
            let supervised = Supervised { teacher: Some(&teacher), ..batch.supervised() };
            let wanted: Vec<&Var> = student.working().map(|(_, variable)| variable).collect();
            let (loss, gradients) = decoder.loss_with_gradients(&supervised, None, &wanted, recompute).unwrap();
            let want = expected[&format!("{name}.total")].to_dtype(DType::F64).unwrap();
            assert!(gap(&loss.total, &want) < 1e-6, "{name} {ops:?} total: {:e}", gap(&loss.total, &want));
            for ((own, _), gradient) in student.parameters.iter().zip(gradients) {
                let gradient = gradient.unwrap_or_else(|| panic!("{own} has no gradient"));
                let want = expected[&format!("{name}.{}", student.family.names.published(own)[0])].clone();
                let gap = gap(&gradient, &want.to_dtype(DType::F64).unwrap());
                assert!(gap < 2e-6, "{name} {ops:?} {own}: {gap:e}");
            }
            // What the curves show beside it stays the plain cross-entropy.
            let plain = decoder.loss(&batch.supervised(), None).unwrap().losses.to_vec1::<f32>().unwrap();
            let beside = loss.losses.to_vec1::<f32>().unwrap();
            assert!(plain.iter().zip(&beside).all(|(one, other)| (one - other).abs() < 1e-5));
        }
    }
}
