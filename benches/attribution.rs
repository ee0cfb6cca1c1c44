//! Times attributions and changes of one example, for a student with fresh weights on random tokens.
//!
//!     cargo bench --bench attribution -- gpt2 --time 64 --steps 20 --rounds 5 --room 512
//!     cargo bench --bench attribution -- toy --what-if --choices 5
//!
//! `gpt2` is the 124M shape, `toy` the toy student. Prints one line of JSON; `benches/attribution.py` sets it against captum.

use std::time::Instant;

use afterthought::attribution::method::Means;
use afterthought::attribution::what_if::likelihoods;
use afterthought::attribution::{Method, Query, Room};
use afterthought::rationale::recipe::Baseline;
use afterthought::student::architecture::Architecture;
use afterthought::student::{Decoder, toy, weights};
use afterthought::training::tune_allocator;
use candle_core::Device;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // Cargo runs every bench with --bench; without a model there is nothing to do.
    let Some(model) = arguments.iter().skip(1).find(|argument| !argument.starts_with("--")) else { return };
    let number = |name: &str, default: usize| {
        let place = arguments.iter().position(|argument| argument == name);
        place.and_then(|place| arguments.get(place + 1)).map_or(default, |text| text.parse().expect("a number"))
    };
    let (time, steps, rounds) = (number("--time", 64), number("--steps", 20), number("--rounds", 5));
    tune_allocator();
    let architecture = match model.as_str() {
        "toy" => toy::architecture(1300),
        _ => Architecture::gpt2(50257, 1024, 768, 12, 12, 3072),
    };
    let weights = weights::initial(&architecture, 0, &Device::Cpu).expect("weights");
    let decoder = Decoder::new(architecture, &weights).expect("a decoder").frozen();
    let vocabulary = decoder.architecture.vocabulary;
    let ids: Vec<u32> = (0..time).map(|place| ((place * 7919 + 17) % vocabulary) as u32).collect();
    let pool = rayon::ThreadPoolBuilder::new().build().expect("threads");
    let (seconds, value) = pool.install(|| {
        if arguments.iter().any(|argument| argument == "--what-if") {
            let labels: Vec<Vec<u32>> = (0..number("--choices", 5) as u32)
                .map(|n| vec![100 + n, 200 + n][..1 + n as usize % 2].to_vec())
                .collect();
            measure(rounds, || likelihoods(&decoder, &ids, &labels).expect("likelihoods")[0])
        } else {
            let room = match number("--room", 0) {
                0 => Room::new(&decoder, None),
                tokens => Room::of(tokens),
            };
            let means = Means { decoder: &decoder, pad: 0, room: &room, most_steps: 0 };
            let method = Method::IntegratedGradients { steps, baseline: Baseline::Zero };
            let query = Query::new(ids.clone(), 0..time, vec![42]);
            let score = || means.score(&method, std::slice::from_ref(&query), &[vec![]]).expect("scores");
            measure(rounds, || score()[0].value)
        }
    });
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("").trim().to_owned();
    println!("{}", serde_json::json!({"seconds": seconds, "peak": peak, "value": value}));
}

/// The median of `rounds`, after one that is not counted.
fn measure(rounds: usize, mut work: impl FnMut() -> f64) -> (f64, f64) {
    let mut value = work();
    let mut seconds: Vec<f64> = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            value = work();
            begun.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    (seconds[rounds / 2], value)
}
