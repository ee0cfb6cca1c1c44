//! Lenses against PyTorch in double precision: the residual stream of every layer against transformers, what the logit
//! lens reads of it, and the loss, the gradients and the first steps of trained lenses.
//!
//! The fixture is made by `tests/reference/lens.py`. `cargo test --test lens_agrees_with_pytorch -- --nocapture` prints
//! how far apart they are.

mod measure;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use afterthought::attribution::lens::{Descent, Sample, Translators};
use afterthought::student::Decoder;
use afterthought::student::ops::Ops;
use afterthought::student::weights;
use candle_core::{DType, Device, Tensor, Var};
use measure::gap;

const FAMILIES: [&str; 4] = ["gpt2", "llama", "gemma2", "phi"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference")
}

/// A student, and what PyTorch says of lenses on it.
struct Case {
    family: &'static str,
    decoder: Decoder,
    expected: HashMap<String, Tensor>,
    ids: Vec<u32>,
    batch: usize,
}

impl Case {
    fn read(family: &'static str, ops: Ops, dtype: DType) -> Self {
        let model = weights::read_model(&folder().join("families").join(family), &Device::Cpu).unwrap();
        let as_wanted = model.weights.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(dtype).unwrap()));
        let decoder = Decoder::new(model.architecture, &as_wanted.collect()).unwrap().with_ops(ops);
        let all = candle_core::safetensors::load(folder().join("lens.safetensors"), &Device::Cpu).unwrap();
        let own = all
            .into_iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(family)?.strip_prefix('.')?.to_owned(), tensor)));
        let expected: HashMap<String, Tensor> = own.collect();
        let ids: Vec<Vec<u32>> = expected["ids"].to_vec2().unwrap();
        Self { family, decoder, batch: ids.len(), ids: ids.concat(), expected }
    }

    /// Every precision in which students are read, with the bar.
    fn each(mut test: impl FnMut(Self, f64)) {
        for family in FAMILIES {
            // The fused form is f32's; rounding alone moves students as harsh as these by 1e-6.
            for (ops, dtype, bar) in
                [(Ops::Composed, DType::F64, 1e-12), (Ops::Composed, DType::F32, 3e-6), (Ops::Fused, DType::F32, 3e-6)]
            {
                test(Self::read(family, ops, dtype), bar);
            }
        }
    }

    fn name(&self) -> String {
        format!("{} {:?} {:?}", self.family, self.decoder.ops(), self.decoder.dtype())
    }

    fn streams(&self) -> Vec<Tensor> {
        let places: Vec<u32> = (0..self.ids.len() as u32).collect();
        self.decoder.streams_at(&self.ids, self.batch, &places).unwrap()
    }

    fn maps(&self, kind: &str, ahead: usize) -> Vec<(Tensor, Tensor)> {
        let count = Translators::count(&self.decoder, ahead);
        let of = |stream: usize, what: &str| {
            self.expected[&format!("{ahead}.{kind}.{stream}.{what}")].to_dtype(self.decoder.dtype()).unwrap()
        };
        (0..count).map(|stream| (of(stream, "weight"), of(stream, "bias"))).collect()
    }

    fn sample(&self, ahead: usize) -> Sample {
        let places = self.expected[&format!("{ahead}.places")].to_vec1().unwrap();
        Sample { ids: self.ids.clone(), batch: self.batch, places }
    }
}

#[test]
fn every_layer_leaves_what_transformers_says() {
    Case::each(|case, bar| {
        let expected = &case.expected["streams"];
        let streams = case.streams();
        assert_eq!(streams.len(), expected.dim(0).unwrap(), "{}", case.name());
        for (number, stream) in streams.iter().enumerate() {
            let far = gap(stream, &expected.get(number).unwrap());
            println!("residual stream | {} | {number} | {far:.1e}", case.name());
            assert!(far < bar, "{} stream {number}: {far:e}", case.name());
        }
    });
}

#[test]
fn the_logit_lens_reads_what_pytorch_reads() {
    Case::each(|case, bar| {
        for (number, stream) in case.streams().iter().enumerate() {
            let logits = case.decoder.read_out(stream).unwrap();
            let probabilities = candle_nn::ops::softmax(&logits, 1).unwrap();
            let far = gap(&probabilities, &case.expected["probabilities"].get(number).unwrap());
            println!("probabilities | {} | {number} | {far:.1e}", case.name());
            // They are stored in f32.
            assert!(far < bar.max(1e-7), "{} stream {number}: {far:e}", case.name());

            let ranks: Vec<Vec<u32>> = case.expected["ranks"].get(number).unwrap().to_vec2().unwrap();
            let logits: Vec<Vec<f64>> = logits.to_dtype(DType::F64).unwrap().to_vec2().unwrap();
            let time = case.ids.len() / case.batch;
            for (row, ranks) in ranks.iter().enumerate() {
                for (place, want) in ranks.iter().enumerate() {
                    let at = row * time + place;
                    let follows = logits[at][case.ids[at + 1] as usize];
                    let rank = logits[at].iter().filter(|other| **other >= follows).count();
                    assert_eq!(rank, *want as usize, "{} stream {number}, row {row}, place {place}", case.name());
                }
            }
        }
    });
}

#[test]
fn divergences_and_the_gradient_of_every_map_agree() {
    Case::each(|case, bar| {
        for ahead in [0, 2] {
            let sample = case.sample(ahead);
            let count = sample.places.len() as f64;
            let variables: Vec<[Var; 2]> = case
                .maps("maps", ahead)
                .iter()
                .map(|(weight, bias)| [weight, bias].map(|tensor| Var::from_tensor(tensor).unwrap()))
                .collect();
            let maps = variables.iter().map(|[weight, bias]| (weight.as_tensor().clone(), bias.as_tensor().clone()));
            let translators = Translators { ahead, maps: maps.collect() };
            let found = translators.divergences(&case.decoder, &sample).unwrap();
            let means: Vec<f64> = found.sums.iter().map(|sum| sum / count).collect();
            let means = Tensor::new(means, &Device::Cpu).unwrap();
            let far = gap(&means, &case.expected[&format!("{ahead}.divergences")]);
            assert!(far < bar, "{} ahead {ahead}: {far:e}", case.name());

            let gradients = (found.total / count).unwrap().backward().unwrap();
            let mut worst = far;
            for ([weight, bias], (want_weight, want_bias)) in variables.iter().zip(case.maps("grad", ahead)) {
                for (variable, want) in [(weight, want_weight), (bias, want_bias)] {
                    worst = worst.max(gap(gradients.get(variable).unwrap(), &want));
                }
            }
            println!("KL and gradients | {} | ahead {ahead} | {worst:.1e}", case.name());
            assert!(worst < 2.0 * bar, "{} ahead {ahead}: {worst:e}", case.name());
        }
    });
}

#[test]
fn steps_of_adamw_lead_where_pytorch_says() {
    Case::each(|case, bar| {
        for ahead in [0, 2] {
            let sample = case.sample(ahead);
            let mut descent = Descent::new(&Translators { ahead, maps: case.maps("maps", ahead) }).unwrap();
            let first = descent.step(&case.decoder, &sample, 0.01).unwrap();
            let want = case.expected[&format!("{ahead}.divergences")].mean_all().unwrap().to_scalar::<f64>().unwrap();
            assert!((first / want - 1.0).abs() < bar, "{} ahead {ahead}: {first} for {want}", case.name());
            for _ in 1..5 {
                descent.step(&case.decoder, &sample, 0.01).unwrap();
            }
            let found = descent.translators();
            let mut worst: f64 = 0.0;
            for ((weight, bias), (want_weight, want_bias)) in found.maps.iter().zip(case.maps("adamw", ahead)) {
                worst = worst.max(gap(weight, &want_weight)).max(gap(bias, &want_bias));
            }
            println!("after AdamW | {} | ahead {ahead} | {worst:.1e}", case.name());
            // AdamW magnifies the rounding of gradients that are nearly nothing.
            let bar = if case.decoder.dtype() == DType::F64 { 1e-10 } else { 3e-4 };
            assert!(worst < bar, "{} ahead {ahead}: {worst:e}", case.name());
        }
    });
}
