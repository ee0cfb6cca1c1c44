//! From hidden vectors to their cross-entropy, a chunk of logits at a time, whose gradient is taken where they lie.
//! Nothing is read back: losses and total stay on the device.

use candle_core::{DType, Result, Tensor};

use super::super::head::{CHUNK, Output};
use super::super::{CrossEntropy, product};
use super::launch::Argument::{Absent, F32, Read, U32, Write};
use super::launch::{Launch, fresh, narrow, suffix};
use super::{add_into, column_sums, recorded};

/// A gradient to which chunks add, in `f32` if there are several.
struct Sum {
    one: bool,
    sum: Option<Tensor>,
}

impl Sum {
    /// Adds a piece (rows, columns).
    fn add(&mut self, piece: Tensor) -> Result<()> {
        let sum = match &self.sum {
            None if self.one => {
                self.sum = Some(piece);
                return Ok(());
            }
            None => self.sum.insert(Tensor::zeros(piece.shape(), DType::F32, piece.device())?),
            Some(sum) => sum,
        };
        add_into(&sum.unsqueeze(0)?, &piece.unsqueeze(0)?, 0)
    }
}

/// Σ weight · cross-entropy of h (rows, width) through the output matrix (vocabulary, width).
pub fn linear_cross_entropy(h: &Tensor, output: &Output, targets: &[u32], weights: &[f32]) -> Result<CrossEntropy> {
    within(CHUNK, h, output, targets, weights)
}

/// The same with at most `limit` logits at once.
pub(super) fn within(
    limit: usize,
    h: &Tensor,
    output: &Output,
    targets: &[u32],
    weights: &[f32],
) -> Result<CrossEntropy> {
    let (rows, vocabulary) = (h.dim(0)?, output.matrix.dim(0)?);
    let (device, dtype) = (h.device(), h.dtype());
    let size = (limit / vocabulary.max(1)).clamp(1, rows.max(1));
    let h = h.contiguous()?;
    let (values, matrix) = (h.detach(), output.matrix.detach().contiguous()?);
    let bias = output.bias.map(|bias| bias.detach().contiguous()).transpose()?;
    let targets = Tensor::from_slice(targets, rows, device)?;
    let weights = Tensor::from_slice(weights, rows, device)?;
    let losses = fresh(rows, DType::F32, device)?;
    let wanted = [h.track_op(), output.matrix.track_op(), output.bias.is_some_and(Tensor::track_op)];
    let is_differentiated = wanted.contains(&true);
    let one = size >= rows;
    let mut dh = Vec::new();
    let (mut dmatrix, mut dbias) = (Sum { one, sum: None }, Sum { one, sum: None });
    for first in (0..rows).step_by(size) {
        let count = size.min(rows - first);
        let piece = values.narrow(0, first, count)?;
        let logits = product(&piece, &matrix.t()?)?;
        let own = |all: &Tensor| all.narrow(0, first, count);
        let (own_targets, own_weights, own_losses) = (own(&targets)?, own(&weights)?, own(&losses)?);
        let arguments = vec![
            Write(&logits),
            bias.as_ref().map_or(Absent, Read),
            Read(&own_targets),
            Read(&own_weights),
            Write(&own_losses),
            U32(narrow(vocabulary)?),
            F32(output.cap.unwrap_or(0.0) as f32),
            U32(u32::from(is_differentiated)),
        ];
        Launch::new(format!("cross_entropy_{}", suffix(dtype)?), (narrow(count)?, 1), arguments).run(device)?;
        // The logits are their own gradient now.
        if wanted[0] {
            dh.push(product(&logits, &matrix)?);
        }
        if wanted[1] {
            dmatrix.add(product(&logits.t()?, &piece)?)?;
        }
        if wanted[2] {
            dbias.add(column_sums(&logits)?.unsqueeze(0)?)?;
        }
    }
    let total = (&losses * &weights)?.sum_all()?;
    let dh = match dh.len() {
        0 => None,
        1 => dh.pop(),
        _ => Some(Tensor::cat(&dh, 0)?),
    };
    let dbias = dbias.sum.map(|sum| sum.squeeze(0)).transpose()?;
    let found = [dh, dmatrix.sum, dbias];
    let inputs: Vec<&Tensor> = [&h, output.matrix].into_iter().chain(output.bias).collect();
    let total = recorded("linear-cross-entropy", &inputs, total, move |given, _, dy| {
        let pass_on = |(input, gradient): (&&Tensor, &Option<Tensor>)| match gradient {
            Some(gradient) if input.track_op() => {
                let factor = dy.to_dtype(gradient.dtype())?;
                Ok(Some(gradient.broadcast_mul(&factor)?.to_dtype(input.dtype())?))
            }
            _ => Ok(None),
        };
        given.iter().zip(&found).map(pass_on).collect()
    })?;
    Ok(CrossEntropy { total, losses })
}
