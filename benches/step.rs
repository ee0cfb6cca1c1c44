//! Times training steps of a student with fresh weights on random tokens, as a run takes them.
//!
//!     cargo bench --bench step -- gpt2 --batch 4 --time 128 --steps 8 --share 1.0
//!
//! `gpt2` is the 124M shape, `toy` the toy student, `llama` a 110M Llama shape. `--share` is how much of each sequence counts
//! in the loss, `--recompute` is `training.recompute`. Prints one line of JSON; `benches/step.py` sets it against PyTorch.

use std::sync::Arc;
use std::time::Instant;

use afterthought::rationale::Role;
use afterthought::rationale::batch::{Encoded, Target};
use afterthought::student::architecture::Architecture;
use afterthought::student::families::Family;
use afterthought::student::ops::Ops;
use afterthought::student::{DropoutRates, Student, Tokenizer, decoder, toy, weights};
use afterthought::training::settings::Dropping;
use afterthought::training::{Trainer, TrainingSettings, tune_allocator};
use candle_core::Device;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // Cargo runs every bench with --bench; without a model there is nothing to do.
    let Some(model) = arguments.iter().skip(1).find(|argument| !argument.starts_with("--")) else { return };
    let number = |name: &str, default: f64| {
        let place = arguments.iter().position(|argument| argument == name);
        place.and_then(|place| arguments.get(place + 1)).map_or(default, |text| text.parse().expect("a number"))
    };
    let (batch, time) = (number("--batch", 4.0) as usize, number("--time", 128.0) as usize);
    let (steps, share) = (number("--steps", 8.0) as usize, number("--share", 1.0));
    let ops = if arguments.iter().any(|argument| argument == "--composed") { Ops::Composed } else { Ops::Fused };
    tune_allocator();

    let student = student(model, ops);
    let vocabulary = student.decoder.architecture.vocabulary;
    let from = ((1.0 - share) * time as f64) as usize + 1;
    let example = |number: usize| {
        let id = |place: usize| (((number * (time + 1) + place) * 7919 + 17) % vocabulary) as u32;
        let target = |place| Target { place, role: Role::Label, weight: 1.0 };
        Encoded {
            id: number.to_string(),
            ids: (0..=time).map(id).collect(),
            supervised: (from..=time).map(target).collect(),
            second: None,
        }
    };
    let examples: Arc<[Encoded]> = (0..batch).map(example).collect();
    let settings = TrainingSettings {
        steps: Some(steps + 1),
        batch_size: batch,
        learning_rate: 1e-4,
        clip: 0.0,
        recompute: arguments.iter().any(|argument| argument == "--recompute"),
        dropout: Dropping::Rates(DropoutRates::default()),
        ..TrainingSettings::default()
    };
    // As a run does it: all that computes is in the pool, and no step waits to get into it.
    let pool = rayon::ThreadPoolBuilder::new().build().expect("threads");
    pool.install(|| measure(student, examples, settings, steps));
}

fn measure(student: Student, examples: Arc<[Encoded]>, settings: TrainingSettings, steps: usize) {
    let mut trainer = Trainer::new(student, examples, settings, 0).expect("a trainer");
    let (mut seconds, mut cpu) = (Vec::new(), Vec::new());
    let mut loss = 0.0;
    for step in 0..=steps {
        let (begun, cpu_begun) = (Instant::now(), cpu_seconds());
        loss = trainer.step().expect("a step").loss;
        // The first one makes what later ones find.
        if step > 0 {
            seconds.push(begun.elapsed().as_secs_f64());
            cpu.push(cpu_seconds() - cpu_begun);
        }
    }
    seconds.sort_by(f64::total_cmp);
    cpu.sort_by(f64::total_cmp);
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0").trim().to_owned();
    println!(
        "{}",
        serde_json::json!({
            "step_seconds": seconds[seconds.len() / 2], "cpu_seconds": cpu[cpu.len() / 2], "peak": peak, "loss": loss,
        })
    );
}

/// Of all threads, user and system.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn student(model: &str, ops: Ops) -> Student {
    let tokenizer = Tokenizer::words(["a".to_owned()].into_iter(), 10).expect("a tokenizer");
    let gpt2 = |architecture: Architecture| {
        let mut student = Student::fresh(architecture, tokenizer.clone(), 0, &Device::Cpu).expect("a student");
        student.decoder = student.decoder.with_ops(ops);
        student
    };
    match model {
        "gpt2" => gpt2(Architecture::gpt2(50257, 1024, 768, 12, 12, 3072)),
        "toy" => gpt2(toy::architecture(1300)),
        "llama" => {
            let config = serde_json::json!({
                "model_type": "llama", "vocab_size": 32000, "hidden_size": 768, "intermediate_size": 2048,
                "num_hidden_layers": 12, "num_attention_heads": 12, "num_key_value_heads": 4, "rms_norm_eps": 1e-5,
                "max_position_embeddings": 1024, "tie_word_embeddings": true, "hidden_act": "silu", "rope_theta": 10000.0,
            });
            let (family, architecture) = Family::read(&config).expect("a config");
            let all = weights::initial(&architecture, 0, &Device::Cpu).expect("weights");
            let (parameters, tensors) = decoder::trainable(&architecture, all).expect("weights");
            let decoder = decoder::Decoder::new(architecture, &tensors).expect("a decoder").with_ops(ops);
            let mut student = gpt2(Architecture::gpt2(10, 8, 8, 1, 1, 8));
            (student.family, student.config, student.decoder, student.parameters) =
                (family, config, decoder, parameters);
            student
        }
        other => panic!("there is no model `{other}`: gpt2, toy or llama"),
    }
}
