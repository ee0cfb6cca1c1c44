//! What a fine-tune takes, counted before it starts: memory tensor by tensor, time from the speed of this machine.

use std::time::{Duration, Instant};

use candle_core::{Device, Result, Tensor};
use serde::Serialize;

use super::Architecture;
use super::lora::Lora;

/// Rows of logits that exist at once in the fused cross-entropy.
const LOGIT_ROWS: usize = 256;

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

impl Estimate {
    /// For `batch` sequences of `length` tokens; with adapters where `lora` says so.
    pub fn of(architecture: &Architecture, batch: usize, length: usize, lora: Option<&Lora>) -> Self {
        let all = architecture.parameter_count() as u64;
        let trained = lora.map_or(all, |lora| adapter_parameters(architecture, lora));
        let Architecture { width, inner, heads, kv_heads, head, vocabulary, .. } = *architecture;
        let rows = (batch * length) as u64;
        let layer = |_: usize| {
            let (mixed, packed) = (heads * head, (heads + 2 * kv_heads) * head);
            let gates = if architecture.gated { 4 * inner } else { 2 * inner };
            // Two inputs and two norms, queries, keys and values, their mix, two projections, both sides of the activation.
            let mut fused = rows * (6 * width + packed + mixed + gates) as u64;
            if lora.is_some() {
                // What an adapter makes and what it is added to are kept beside the sum.
                fused += 2 * rows * (packed + 2 * width + if architecture.gated { 2 * inner } else { inner }) as u64;
            }
            if architecture.head_norms {
                // The queries and keys apart, normed, and all of them together again.
                fused += rows * (3 * packed) as u64;
            }
            fused + rows * heads as u64
        };
        let layers: u64 = (0..architecture.layers.len()).map(layer).sum();
        let ends = 4 * rows * width as u64;
        let logits = (LOGIT_ROWS.min(batch * length) * vocabulary) as u64;
        // The fused cross-entropy makes the gradient of the output matrix beside that of the word table.
        let tables = if lora.is_none() && architecture.tied { (vocabulary * width) as u64 } else { 0 };
        let [weights, training, activations, logits] =
            [all, 3 * trained + tables, layers + ends, logits].map(|numbers| 4 * numbers);
        Self { weights, training, activations, logits, total: weights + training + activations + logits }
    }
}

/// Numbers in the adapters, where all linear maps have one; fewer targets have fewer.
fn adapter_parameters(architecture: &Architecture, lora: &Lora) -> u64 {
    let Architecture { width, inner, heads, head, .. } = *architecture;
    let both = |inputs: usize, outputs: &[usize]| outputs.iter().map(|outputs| inputs + outputs).sum::<usize>();
    let layer = both(width, &architecture.joined("attention.in"))
        + both(heads * head, &[width])
        + both(width, &architecture.joined("mlp.in"))
        + both(inner, &[width]);
    (lora.rank * layer * architecture.layers.len()) as u64
}

/// Seconds that a step over `tokens` tokens takes, from the number of multiplications and how fast this machine does
/// them now. Rough: a factor of two either way.
pub fn step_seconds(architecture: &Architecture, tokens: usize, lora: bool) -> Result<f64> {
    const SIDE: usize = 768;
    /// A step reaches about this share of the speed of a large matrix product.
    const SHARE: f64 = 0.6;
    let matrix = Tensor::ones((SIDE, SIDE), candle_core::DType::F32, &Device::Cpu)?;
    matrix.matmul(&matrix)?;
    let (begun, mut done) = (Instant::now(), 0u32);
    while begun.elapsed() < Duration::from_millis(150) {
        matrix.matmul(&matrix)?;
        done += 1;
    }
    let speed = 2.0 * (SIDE as f64).powi(3) * f64::from(done) / begun.elapsed().as_secs_f64();
    // Forward, and backward to inputs and to weights, which are not wanted where they stay as they are.
    let passes = if lora { 4.0 } else { 6.0 };
    Ok(passes * architecture.parameter_count() as f64 * tokens as f64 / (speed * SHARE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_and_adapters_take_less() {
        let gpt2 = Architecture::gpt2(50257, 1024, 768, 12, 12, 3072);
        let parts = Parts::of(&gpt2);
        assert_eq!(parts.total(), 124_439_808);
        assert_eq!(parts.embeddings, (50257 + 1024) * 768);
        let (whole, adapted) = (Estimate::of(&gpt2, 8, 128, None), Estimate::of(&gpt2, 8, 128, Some(&Lora::default())));
        assert!(whole.training > 3 * whole.weights && adapted.training < adapted.weights / 10);
        assert!(Estimate::of(&gpt2, 4, 128, None).total < whole.total);
    }
}
