//! Integrated gradients of log p(label) (Sundararajan, Taly and Yan 2017), with respect to word vectors.

use std::ops::Range;

use candle_core::{DType, Result, Tensor, Var};

use super::quadrature::gauss_legendre;
use crate::rationale::recipe::Baseline;
use crate::student::Decoder;

/// A method with its settings.
#[derive(Clone, Debug)]
pub struct IntegratedGradients {
    /// Places on the path, with their weights.
    nodes: Vec<(f64, f64)>,
    pub baseline: Baseline,
    /// The token whose vector is the `pad` baseline.
    pub pad: u32,
}

/// What was found for one sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribution {
    /// One number for each place of the attributed range, in nats of log p(label).
    pub scores: Vec<f32>,
    /// Sum of the scores less the change of log p(label): 0 if the integral is exact.
    pub convergence_delta: f64,
    /// Log p(label) of the sequence as it is, and with the range replaced by the baseline.
    pub log_p: f64,
    pub log_p_baseline: f64,
}

impl IntegratedGradients {
    /// Gauss-Legendre with this many steps.
    pub fn new(steps: usize, baseline: Baseline, pad: u32) -> Self {
        Self { nodes: gauss_legendre(steps), baseline, pad }
    }

    pub fn steps(&self) -> usize {
        self.nodes.len()
    }

    /// Attributes log p(label | sequence), the sum over the label's tokens, to the places in `range`. The path goes
    /// from the baseline to the true vectors on those places; the others stay as they are.
    pub fn attribute(&self, decoder: &Decoder, ids: &[u32], label: &[u32], range: Range<usize>) -> Result<Attribution> {
        // Only the path is differentiated; the decoder's own weights would double the work.
        let decoder = decoder.frozen();
        let vectors = decoder.word_vectors(&[ids, &label[..label.len() - 1]].concat())?; // (time, width)
        let start = self.start(&decoder, &vectors, &range)?;
        let change = (&vectors - &start)?;
        let n = self.nodes.len();
        let along = |share: &dyn Fn(&(f64, f64)) -> f64| -> Result<Tensor> {
            let values: Vec<f64> = self.nodes.iter().map(share).collect();
            Tensor::from_vec(values, (n, 1, 1), decoder.device())?.to_dtype(decoder.dtype())
        };
        // All steps in one pass: (steps, time, width), the only variable there is.
        let path = start.unsqueeze(0)?.broadcast_add(&change.unsqueeze(0)?.broadcast_mul(&along(&|node| node.0)?)?)?;
        let path = Var::from_tensor(&path)?;
        let gradients = log_p(&decoder, path.as_tensor(), ids.len(), label)?.sum_all()?.backward()?;
        let Some(gradient) = gradients.get(&path) else { candle_core::bail!("the word vectors got no gradient") };
        let mean = gradient.broadcast_mul(&along(&|node| node.1)?)?.sum(0)?; // (time, width)
        let scores = (mean * &change)?.sum(1)?.narrow(0, range.start, range.len())?;
        let scores = scores.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        let ends = log_p(&decoder, &Tensor::stack(&[&vectors, &start], 0)?, ids.len(), label)?;
        let ends = ends.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let sum: f64 = scores.iter().map(|score| f64::from(*score)).sum();
        Ok(Attribution {
            scores,
            convergence_delta: sum - (ends[0] - ends[1]),
            log_p: ends[0],
            log_p_baseline: ends[1],
        })
    }

    /// The vectors at the beginning of the path: (time, width).
    fn start(&self, decoder: &Decoder, vectors: &Tensor, range: &Range<usize>) -> Result<Tensor> {
        let (time, width) = vectors.dims2()?;
        let neutral = match self.baseline {
            Baseline::Zero => Tensor::zeros((1, width), decoder.dtype(), decoder.device())?,
            Baseline::Pad => decoder.word_vectors(&[self.pad])?,
            Baseline::Mean => decoder.mean_word_vector()?.unsqueeze(0)?,
        };
        let parts = [
            vectors.narrow(0, 0, range.start)?,
            neutral.broadcast_as((range.len(), width))?.contiguous()?,
            vectors.narrow(0, range.end, time - range.end)?,
        ];
        Tensor::cat(&parts, 0)
    }
}

/// Log p(label) for sequences of word vectors (n, time, width), of which the first `given` places stand before the
/// label: (n).
fn log_p(decoder: &Decoder, vectors: &Tensor, given: usize, label: &[u32]) -> Result<Tensor> {
    let (n, time, _) = vectors.dims3()?;
    let rows: Vec<u32> =
        (0..n).flat_map(|row| (0..label.len()).map(move |place| (row * time + given - 1 + place) as u32)).collect();
    let targets: Vec<u32> = label.iter().copied().cycle().take(rows.len()).collect();
    let hidden = decoder.hidden_from_vectors(vectors, Some(&rows))?;
    decoder.log_probability(&hidden, &targets)?.reshape((n, label.len()))?.sum(1)
}
