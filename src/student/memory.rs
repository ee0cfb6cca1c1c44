//! What a fine-tune takes, counted before it starts: memory tensor by tensor, time from the speed of this machine.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Result, Tensor};
use serde::Serialize;

use super::architecture::Activation;
use super::lora::{Lora, Place};
use super::ops::cuda::SCORES;
use super::ops::{CHUNK, LOGIT_ROWS, Ops};
use super::{Architecture, Family, Precision};

/// Numbers of a student, by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// Word table, and position table where positions are learned.
    pub embeddings: usize,
    pub attention: usize,
    pub mlp: usize,
    pub norms: usize,
    /// The map to logits where it is not the word table.
    pub output: usize,
}

impl Parts {
    pub fn of(architecture: &Architecture) -> Self {
        let mut parts = Self::default();
        for parameter in architecture.parameters() {
            let count: usize = parameter.shape.iter().product();
            let name = parameter.name.as_str();
            let part = match name {
                "words" | "positions" => &mut parts.embeddings,
                "output" | "output.bias" => &mut parts.output,
                _ if name.contains("norm") || name.contains(".after.") => &mut parts.norms,
                _ if name.contains(".queries.") || name.contains(".keys.") => &mut parts.norms,
                _ if name.contains(".attention.") => &mut parts.attention,
                _ => &mut parts.mlp,
            };
            *part += count;
        }
        parts
    }

    pub fn total(&self) -> usize {
        self.embeddings + self.attention + self.mlp + self.norms + self.output
    }
}

/// Bytes that a training step holds at its peak, in `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    pub weights: u64,
    /// Of what is trained: the gradients and the two moments of AdamW.
    pub training: u64,
    /// What the backward pass reads again.
    pub activations: u64,
    /// A chunk of logits.
    pub logits: u64,
    pub total: u64,
}

/// Activations take this much more than their numbers: what the allocator loses between tensors of different sizes, and
/// gradients on their way. Measured (`benches/memory.py`).
const LOST: f64 = 1.2;

/// A fine-tune that is to be estimated.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Sequences in a batch.
    pub batch: usize,
    /// Tokens in a sequence.
    pub length: usize,
    pub lora: Option<&'a Lora>,
    pub precision: Precision,
    /// Whether layers are run again for the backward pass.
    pub recompute: bool,
    /// The form of the operations: the composed ones keep more.
    pub ops: Ops,
    /// Where the kernels of a GPU compute, which nobody could measure yet: what they add is counted high.
    pub on_gpu: bool,
}

impl Estimate {
    pub fn of(family: &Family, architecture: &Architecture, plan: &Plan) -> Self {
        let Plan { batch, length, lora, precision, recompute, ops, on_gpu } = *plan;
        let all = architecture.parameter_count() as u64;
        // A target that the family does not have is refused elsewhere.
        let places = lora.map(|lora| lora.places(family, architecture).unwrap_or_default());
        let trained = places.as_deref().map_or(all, |places| adapter_parameters(lora, places));
        let Architecture { width, vocabulary, .. } = *architecture;
        let rows = (batch as u64).saturating_mul(length as u64);
        let layer = |number: usize| {
            let adapters = places.as_deref().map_or(0, |places| adapter_activations(architecture, number, places));
            rows.saturating_mul(layer_activations(architecture, number, length, ops).saturating_add(adapters) as u64)
        };
        let layers = 0..architecture.layers.len();
        let layers = if recompute {
            // What each layer reads, one layer at a time, and the gradients on their way to the one before it.
            let read = rows.saturating_mul((width * (layers.len() + 4)) as u64);
            layers.map(layer).max().unwrap_or(0).saturating_add(read)
        } else {
            layers.map(layer).fold(0, u64::saturating_add)
        };
        let ends = rows.saturating_mul(4 * width as u64);
        let is_fused = ops == Ops::Fused;
        let on_host = is_fused && !on_gpu;
        let logits = if on_host { rows.min(LOGIT_ROWS as u64) * vocabulary as u64 } else { 10 * CHUNK as u64 };
        // Two or three blocks of attention's scores.
        let logits = if is_fused && on_gpu { logits + 3 * SCORES as u64 } else { logits };
        // Composed, the cross-entropy keeps the product of the output matrix with its gradient and what the backward pass
        // makes of that, and the gradient of a look-up is added to a copy.
        let tables = if on_host || lora.is_some() { 0 } else { (5 * vocabulary * width) as u64 };
        // A number too large is the largest: it fits nowhere.
        let activations = (layers.saturating_add(ends) as f64 * LOST) as u64;
        let bytes = precision.dtype().size_in_bytes() as u64;
        // What is trained is kept in `f32` beside its copies.
        let copied = if precision == Precision::F32 { 0 } else { trained };
        let base = if lora.is_some() { all * bytes + 4 * trained } else { 4 * all };
        let (weights, training) = (base + bytes * copied, 12 * trained + bytes * tables);
        let (activations, logits) = (activations.saturating_mul(bytes), 4 * logits);
        let total = activations.saturating_add(weights + training + logits);
        Self { weights, training, activations, logits, total }
    }

    /// What would fit into `free` bytes in place of a fine-tune that does not: a smaller batch, layers that are run again,
    /// adapters.
    pub fn that_fits(family: &Family, architecture: &Architecture, plan: &Plan, free: u64) -> Vec<String> {
        let largest = |lora, recompute| {
            let batches = std::iter::successors(Some(plan.batch), |batch| Some(batch / 2).filter(|batch| *batch > 0));
            let plans = batches.map(|batch| Plan { batch, lora, recompute, ..*plan });
            let mut all = plans.map(|plan| (plan.batch, Self::of(family, architecture, &plan).total));
            all.find(|(_, bytes)| *bytes <= free)
        };
        let lora = plan.lora;
        let bytes = |bytes: u64| indicatif::HumanBytes(bytes).to_string();
        let mut found = Vec::new();
        let as_it_is = largest(lora, plan.recompute);
        if let Some((batch, size)) = as_it_is {
            let accumulate = "with training.accumulate for the same step";
            found.push(format!("training.batch_size: {batch} ({}), {accumulate}", bytes(size)));
        }
        // Where it helps: less is kept of a batch, the weights take what they take.
        let again = largest(lora, true).filter(|(batch, _)| as_it_is.is_none_or(|(other, _)| *batch > other));
        if let Some((batch, size)) = again {
            found.push(format!("training.recompute: true with batch_size: {batch} ({})", bytes(size)));
        }
        let adapters = Lora::default();
        if let (None, Some((batch, size))) = (lora, largest(Some(&adapters), plan.recompute)) {
            found.push(format!(
                "training.lora: {{rank: {}}} with batch_size: {batch} ({})",
                adapters.rank,
                bytes(size)
            ));
        }
        found
    }
}

/// Numbers that a layer keeps for the backward pass, for each token.
fn layer_activations(architecture: &Architecture, number: usize, length: usize, ops: Ops) -> usize {
    let Architecture { width, inner, heads, kv_heads, head, .. } = *architecture;
    let (mixed, packed) = (heads * head, (heads + 2 * kv_heads) * head);
    let turned_heads = (heads + kv_heads) * head;
    // Two norms, two projections and two sums.
    let mut stream = 6 * width + packed + mixed;
    if architecture.after_norms {
        stream += 2 * width;
    }
    if architecture.head_norms {
        // The queries and keys apart, normed, and all of them together again.
        stream += 2 * turned_heads + packed;
    }
    // What is inside the MLP, both halves of a gated one, and what is made of it.
    let mlp = if architecture.gated { 3 * inner } else { 2 * inner };
    if ops == Ops::Fused {
        return stream + mlp + heads;
    }
    // Each composed norm keeps what it makes on its way, and so does each activation.
    let steps = if architecture.activation == Activation::GeluTanh { 8 } else { 5 };
    let composed = 2 * 4 * width + steps * inner;
    // Queries, keys and values apart, and with their heads first.
    let mut parts = 2 * packed + kv_heads * head + mixed;
    if let Some(rotary) = &architecture.layers[number].rotary {
        // Cosines and sines of both halves and their sums, what is put together, and gradients of the tables.
        parts += turned_heads + 5 * (heads + kv_heads) * rotary.turned;
    }
    // Scores, scaled, masked, shifted, their exponentials, the weights, dropped out, and the gradients of two masks.
    let steps = if architecture.score_cap.is_some() { 13 } else { 10 };
    stream + mlp + composed + parts + (steps * heads).saturating_mul(length)
}

/// Bytes that one token of a sequence of `length` tokens takes in a forward and a backward pass to the word vectors, with
/// all weights held.
pub fn bytes_of_a_token(architecture: &Architecture, length: usize, ops: Ops, dtype: DType) -> u64 {
    let layers = (0..architecture.layers.len()).map(|number| layer_activations(architecture, number, length, ops));
    let numbers = layers.fold(4 * architecture.width, usize::saturating_add);
    (numbers as f64 * LOST) as u64 * dtype.size_in_bytes() as u64
}

/// Numbers in the adapters.
fn adapter_parameters(lora: Option<&Lora>, places: &[Place]) -> u64 {
    let rank = lora.map_or(0, |lora| lora.rank);
    places.iter().map(|place| (rank * (place.inputs + place.outputs)) as u64).sum()
}

/// Numbers that a layer's adapters keep, for each token: what they make, put together where there are several, and the
/// sum with what they are added to.
fn adapter_activations(architecture: &Architecture, number: usize, places: &[Place]) -> usize {
    let maps = ["attention.in", "attention.out", "mlp.in", "mlp.out"];
    let kept = maps.map(|part| {
        let map = format!("layers.{number}.{part}");
        let outputs: usize = architecture.joined(part).iter().sum();
        let own: Vec<&Place> = places.iter().filter(|place| place.map == map).collect();
        match &own[..] {
            [] => 0,
            [one] if one.outputs == outputs => 2 * outputs,
            _ => 3 * outputs,
        }
    });
    kept.iter().sum()
}

/// Seconds that a step over `tokens` tokens takes, from the number of multiplications and how fast this machine does
/// them now. Rough: a factor of two either way.
pub fn step_seconds(architecture: &Architecture, plan: &Plan, device: &Device) -> Result<f64> {
    /// A step reaches about this share of the speed of a large matrix product.
    const SHARE: f64 = 0.6;
    let side = if device.is_cpu() { 768 } else { 4096 };
    let matrix = Tensor::ones((side, side), plan.precision.dtype(), device)?;
    matrix.matmul(&matrix)?;
    device.synchronize()?;
    let (begun, mut done) = (Instant::now(), 0u32);
    while begun.elapsed() < Duration::from_millis(150) {
        matrix.matmul(&matrix)?;
        device.synchronize()?;
        done += 1;
    }
    let speed = 2.0 * (side as f64).powi(3) * f64::from(done) / begun.elapsed().as_secs_f64();
    // Forward, and backward to inputs and to weights, which are not wanted where they stay as they are.
    let passes = if plan.lora.is_some() { 4.0 } else { 6.0 };
    let again = if plan.recompute { 2.0 } else { 0.0 };
    let tokens = plan.batch * plan.length;
    Ok((passes + again) * architecture.parameter_count() as f64 * tokens as f64 / (speed * SHARE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::student::families::gpt2::GPT2;

    const PLAN: Plan = Plan {
        batch: 8,
        length: 128,
        lora: None,
        precision: Precision::F32,
        recompute: false,
        ops: Ops::Fused,
        on_gpu: false,
    };

    #[test]
    fn parts_add_up_and_adapters_take_less() {
        let gpt2 = Architecture::gpt2(50257, 1024, 768, 12, 12, 3072);
        let parts = Parts::of(&gpt2);
        assert_eq!(parts.total(), 124_439_808);
        assert_eq!(parts.embeddings, (50257 + 1024) * 768);
        let of = |batch, lora: Option<&Lora>| Estimate::of(&GPT2, &gpt2, &Plan { batch, lora, ..PLAN });
        let (whole, adapted) = (of(8, None), of(8, Some(&Lora::default())));
        assert_eq!(whole.training, 3 * whole.weights, "a gradient and two moments each");
        assert!(adapted.training < adapted.weights / 10);
        assert!(of(4, None).total < whole.total);
        let few = Lora { targets: vec!["c_attn".into()], ..Lora::default() };
        assert!(of(8, Some(&few)).total < adapted.total, "fewer maps have fewer adapters");
        assert_eq!(of(8, Some(&few)).training, 4 * 3 * 12 * 8 * (768 + 3 * 768));
        let narrow = Plan { precision: Precision::Bf16, ..PLAN };
        let in_bf16 = |lora| Estimate::of(&GPT2, &gpt2, &Plan { lora, ..narrow });
        assert_eq!(in_bf16(None).activations, of(8, None).activations / 2);
        assert_eq!(in_bf16(None).weights, of(8, None).weights / 2 * 3, "the copies lie beside the weights");
        let again = Estimate::of(&GPT2, &gpt2, &Plan { recompute: true, ..PLAN });
        assert!(again.activations * 5 < of(8, None).activations && again.training == of(8, None).training);
        assert!(in_bf16(Some(&few)).weights < of(8, Some(&few)).weights * 6 / 10, "frozen ones have copies alone");
    }

    #[test]
    fn what_would_fit_is_named() {
        let gpt2 = Architecture::gpt2(50257, 1024, 768, 12, 12, 3072);
        let fits = |free: u64| Estimate::that_fits(&GPT2, &gpt2, &PLAN, free << 20);
        let found = fits(2300);
        assert!(found[0].contains("batch_size: ") && found[1].contains("recompute: true"), "{found:?}");
        assert!(found[2].contains("lora: {rank: 8}"), "{found:?}");
        let again = Estimate::that_fits(&GPT2, &gpt2, &Plan { recompute: true, ..PLAN }, 2300 << 20);
        assert!(again.len() == 2 && !again[1].contains("recompute"), "it is switched on already: {again:?}");
        assert!(fits(1200)[0].contains("lora"), "the moments alone are too much");
        assert!(fits(100).is_empty());
    }
}
