//! From hidden vectors to their cross-entropy in one operation, on the CPU in `f32`.
//!
//! The logits exist for a chunk of rows at a time, and their gradient is taken while they do: a second pass over a
//! vocabulary of 50,000 words would cost as much as the first.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::collect::hand;
use super::fused::{matrix, product, slice_of, sum_rows, transposed};
use super::kernels;

/// Rows of logits that exist at once.
pub const LOGIT_ROWS: usize = 256;

/// Σ weight · cross-entropy over rows, from hidden vectors (rows, width), the output matrix (vocabulary, width) and, as
/// an operation of three inputs, its bias (vocabulary).
pub struct LinearCrossEntropy {
    pub targets: Vec<u32>,
    pub weights: Vec<f32>,
    /// Logits are bent to stay below this.
    pub cap: Option<f32>,
    /// Cross-entropy of each row in nats, unweighted: an output beside the tensor that is differentiated.
    pub losses: Arc<Mutex<Vec<f32>>>,
    pub with_matrix_gradient: bool,
    pub with_bias_gradient: bool,
    pub gradients: Mutex<Gradients>,
}

/// What the forward pass has found.
#[derive(Default)]
pub struct Gradients {
    h: Vec<f32>,
    matrix: Vec<f32>,
    bias: Vec<f32>,
}

impl LinearCrossEntropy {
    fn run(&self, h: &[f32], output: &[f32], width: usize, bias: Option<&[f32]>) -> f32 {
        let (rows, vocabulary) = (h.len() / width, output.len() / width);
        let mut losses = vec![0f32; rows];
        let mut found = Gradients {
            h: vec![0f32; h.len()],
            matrix: vec![0f32; if self.with_matrix_gradient { output.len() } else { 0 }],
            bias: vec![0f32; if self.with_bias_gradient { vocabulary } else { 0 }],
        };
        let mut logits = vec![0f32; LOGIT_ROWS.min(rows) * vocabulary];
        for first in (0..rows).step_by(LOGIT_ROWS) {
            let count = LOGIT_ROWS.min(rows - first);
            let h = &h[first * width..][..count * width];
            let logits = &mut logits[..count * vocabulary];
            if let Some(bias) = bias {
                logits.chunks_exact_mut(vocabulary).for_each(|row| row.copy_from_slice(bias));
            }
            product(count, vocabulary, width, matrix(h, width), transposed(output, width), logits, bias.is_some());
            logits
                .par_chunks_mut(vocabulary)
                .zip(&mut losses[first..first + count])
                .zip(&self.targets[first..first + count])
                .zip(&self.weights[first..first + count])
                .for_each(|(((logits, loss), target), weight)| {
                    *loss = self.differentiate(logits, *target as usize, *weight);
                });
            let dh = &mut found.h[first * width..][..count * width];
            product(count, width, vocabulary, matrix(logits, vocabulary), matrix(output, width), dh, false);
            if self.with_matrix_gradient {
                let by_word = transposed(logits, vocabulary);
                product(vocabulary, width, count, by_word, matrix(h, width), &mut found.matrix, first > 0);
            }
            if self.with_bias_gradient {
                kernels::add(&mut found.bias, &sum_rows(logits, vocabulary));
            }
        }
        let total: f64 =
            losses.iter().zip(&self.weights).map(|(loss, weight)| f64::from(*loss) * f64::from(*weight)).sum();
        *self.losses.lock().unwrap_or_else(|poison| poison.into_inner()) = losses;
        *self.gradients.lock().unwrap_or_else(|poison| poison.into_inner()) = found;
        total as f32
    }

    /// Turns a row of logits into its gradient and gives its cross-entropy.
    fn differentiate(&self, logits: &mut [f32], target: usize, weight: f32) -> f32 {
        let Some(cap) = self.cap else { return kernels::cross_entropy(logits, target, weight) };
        kernels::bend(logits, 1.0, cap);
        let bent = logits.to_vec();
        let loss = kernels::cross_entropy(logits, target, weight);
        kernels::bend_backward(&bent, logits, 1.0, cap);
        loss
    }

    /// The gradients that the forward pass found, each multiplied by that of the result.
    fn found(&self, dy: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
        let found = std::mem::take(&mut *self.gradients.lock().unwrap_or_else(|poison| poison.into_inner()));
        let factor = f64::from(dy.to_scalar::<f32>()?);
        let wanted = [true, self.with_matrix_gradient, self.with_bias_gradient];
        let all = [found.h, found.matrix, found.bias].into_iter().zip(wanted).zip(inputs);
        all.map(|((values, wanted), like)| {
            if !wanted {
                return Ok(None);
            }
            if values.len() != like.elem_count() {
                bail!("linear-cross-entropy: backward was called twice");
            }
            let gradient = Tensor::from_vec(values, like.shape(), like.device())?;
            hand(like, if factor == 1.0 { gradient } else { (gradient * factor)? })
        })
        .collect()
    }
}

impl CustomOp2 for LinearCrossEntropy {
    fn name(&self) -> &'static str {
        "linear-cross-entropy"
    }

    fn cpu_fwd(
        &self,
        h: &CpuStorage,
        h_layout: &Layout,
        output: &CpuStorage,
        output_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = output_layout.shape().dims2()?.1;
        let total = self.run(slice_of(h, h_layout)?, slice_of(output, output_layout)?, width, None);
        Ok((CpuStorage::F32(vec![total]), Shape::from(())))
    }

    fn bwd(&self, h: &Tensor, output: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut found = self.found(dy, &[h, output])?.into_iter();
        Ok((found.next().flatten(), found.next().flatten()))
    }
}

impl CustomOp3 for LinearCrossEntropy {
    fn name(&self) -> &'static str {
        "linear-bias-cross-entropy"
    }

    fn cpu_fwd(
        &self,
        h: &CpuStorage,
        h_layout: &Layout,
        output: &CpuStorage,
        output_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = output_layout.shape().dims2()?.1;
        let (h, output) = (slice_of(h, h_layout)?, slice_of(output, output_layout)?);
        let total = self.run(h, output, width, Some(slice_of(bias, bias_layout)?));
        Ok((CpuStorage::F32(vec![total]), Shape::from(())))
    }

    fn bwd(
        &self,
        h: &Tensor,
        output: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut found = self.found(dy, &[h, output, bias])?.into_iter();
        Ok((found.next().flatten(), found.next().flatten(), found.next().flatten()))
    }
}
