//! From hidden vectors to logits and their cross-entropy, a chunk of rows at a time: the logits of a whole batch over a
//! vocabulary of 256,000 words would take more memory than the student.

use candle_core::{D, DType, Device, Result, Tensor, Var};

use super::{CrossEntropy, product, widened};
use crate::student::attend::bend;

/// The map to logits.
#[derive(Clone, Copy)]
pub struct Output<'a> {
    /// (vocabulary, width).
    pub matrix: &'a Tensor,
    /// (vocabulary).
    pub bias: Option<&'a Tensor>,
    /// Logits are bent to stay below this.
    pub cap: Option<f64>,
}

/// What a teacher makes of the same rows: a second target beside their tokens.
pub struct Soft<'a> {
    /// Of the teacher: (rows, its width).
    pub hidden: Tensor,
    pub output: Output<'a>,
    pub temperature: f64,
    /// Its share in the loss, 0 to 1.
    pub share: f64,
}

impl Soft<'_> {
    /// (1 - share) · loss + share · T² · KL(teacher ‖ student), both at temperature T, for the rows from `first` on of
    /// which the student has the logits (n, vocabulary). The factor T² keeps gradients as large as those of the loss.
    fn blend(&self, loss: &Tensor, logits: &Tensor, first: usize) -> Result<Tensor> {
        let of_teacher =
            self.output.logits(&self.hidden.narrow(0, first, logits.dim(0)?)?)?.to_dtype(logits.dtype())?;
        let log_softmax = |logits: &Tensor| candle_nn::ops::log_softmax(&(logits / self.temperature)?, D::Minus1);
        let (teacher, student) = (log_softmax(&of_teacher)?.detach(), log_softmax(logits)?);
        let divergence = (teacher.exp()? * (teacher - student)?)?.sum(D::Minus1)?;
        (loss * (1.0 - self.share))? + (divergence * (self.share * self.temperature * self.temperature))?
    }
}

/// Numbers in a chunk of logits: 32 MiB in `f32`.
pub const CHUNK: usize = 1 << 23;

impl Output<'_> {
    /// Logits of hidden vectors (n, width): (n, vocabulary), never in `bf16`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let logits = self.straight(hidden)?;
        match self.cap {
            Some(cap) => bend(&logits, cap),
            None => Ok(logits),
        }
    }

    /// The same before the cap.
    fn straight(&self, hidden: &Tensor) -> Result<Tensor> {
        let logits = widened(&product(hidden, &self.matrix.t()?)?)?;
        match self.bias {
            Some(bias) => logits.broadcast_add(&widened(bias)?),
            None => Ok(logits),
        }
    }
}

/// Σ weight · cross-entropy of h (rows, width), of candle's own operations.
///
/// The gradient of each chunk is taken while its logits exist. What is returned has the total's value and, being a sum
/// of products with those gradients, passes them on; so whoever differentiates it need not know. With a teacher the total
/// is that of [`Soft::blend`], and the losses beside it remain plain cross-entropies.
pub fn cross_entropy(
    h: &Tensor,
    output: &Output,
    targets: &[u32],
    weights: &[f32],
    soft: Option<&Soft>,
) -> Result<CrossEntropy> {
    let (rows, vocabulary) = (h.dim(0)?, output.matrix.dim(0)?);
    let size = (CHUNK / vocabulary.max(1)).clamp(1, rows.max(1));
    let (h_values, matrix, bias) = (h.detach(), output.matrix.detach(), output.bias.map(Tensor::detach));
    let fixed = Output { matrix: &matrix, bias: bias.as_ref(), cap: output.cap };
    let differentiated = h.track_op() || output.matrix.track_op();
    let (mut losses, mut blended) = (Vec::new(), Vec::new());
    let mut dh = Vec::new();
    let (mut dmatrix, mut dbias): (Option<Tensor>, Option<Tensor>) = (None, None);
    for first in (0..rows).step_by(size) {
        let count = size.min(rows - first);
        let piece = h_values.narrow(0, first, count)?;
        // A leaf of its own: the backward pass of a chunk ends at its logits.
        let logits = Var::from_tensor(&fixed.straight(&piece)?)?;
        let bent = output.cap.map_or(Ok(logits.as_tensor().clone()), |cap| bend(&logits, cap))?;
        let targets = Tensor::from_slice(&targets[first..first + count], (count, 1), h.device())?;
        let weights =
            Tensor::from_slice(&weights[first..first + count], count, h.device())?.to_dtype(logits.dtype())?;
        let mut own = candle_nn::ops::log_softmax(&bent, D::Minus1)?.gather(&targets, 1)?.squeeze(1)?.neg()?;
        losses.push(own.detach().to_dtype(DType::F32)?);
        if let Some(soft) = soft {
            own = soft.blend(&own, &bent, first)?;
            blended.push(own.detach().to_dtype(DType::F32)?);
        }
        if !differentiated {
            continue;
        }
        let mut gradients = (own * weights)?.sum_all()?.backward()?;
        let Some(dlogits) = gradients.remove(&logits) else { candle_core::bail!("the logits have no gradient") };
        if output.bias.is_some_and(Tensor::track_op) {
            add_to(&mut dbias, dlogits.sum(0)?)?;
        }
        let dlogits = dlogits.to_dtype(h.dtype())?;
        dh.push(product(&dlogits, &matrix)?);
        if output.matrix.track_op() {
            // Chunks are added up in `f32`, so that their number changes nothing that can be seen.
            add_to(&mut dmatrix, widened(&product(&dlogits.t()?, &piece)?)?)?;
        }
    }
    let joined = |parts: &[Tensor]| match parts {
        [] => Tensor::zeros(0, DType::F32, h.device()),
        parts => Tensor::cat(parts, 0),
    };
    let losses = joined(&losses)?;
    let wide = if h.dtype() == DType::BF16 { DType::F32 } else { h.dtype() };
    let counted = if soft.is_some() { joined(&blended)? } else { losses.clone() };
    let mut total = weighted(&counted, weights)?.to_dtype(wide)?;
    let mut pass_on = |tensor: &Tensor, gradient: Option<Tensor>| -> Result<()> {
        if let Some(gradient) = gradient.filter(|_| tensor.track_op()) {
            let sum = widened(&(tensor * gradient.detach().to_dtype(tensor.dtype())?)?.sum_all()?)?;
            total = (&total + (&sum - sum.detach())?)?;
        }
        Ok(())
    };
    if !dh.is_empty() {
        pass_on(h, Some(Tensor::cat(&dh, 0)?))?;
    }
    pass_on(output.matrix, dmatrix)?;
    if let Some(bias) = output.bias {
        pass_on(bias, dbias)?;
    }
    Ok(CrossEntropy { total, losses })
}

/// Σ weight · loss: in double precision on the CPU, and where it is on a device that would have to be waited for.
fn weighted(losses: &Tensor, weights: &[f32]) -> Result<Tensor> {
    if !losses.device().is_cpu() {
        return (losses * Tensor::from_slice(weights, weights.len(), losses.device())?)?.sum_all();
    }
    let losses = losses.to_vec1::<f32>()?;
    let total: f64 = losses.iter().zip(weights).map(|(loss, weight)| f64::from(*loss) * f64::from(*weight)).sum();
    Tensor::new(total, &Device::Cpu)
}

fn add_to(sum: &mut Option<Tensor>, new: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        Some(old) => (old + new)?,
        None => new,
    });
    Ok(())
}
