//! The residual stream between the layers, and what the last norm and the output make of it there: what lenses read and
//! are trained by.

use std::ops::ControlFlow;

use candle_core::{D, DType, Result, Tensor};

use super::Decoder;
use super::ops::{CHUNK, Output, product, widened};

/// How far the distributions that are read from several streams are from the one at the end.
pub struct Divergences {
    /// Σ over streams and rows, a scalar that can be differentiated by the vectors that were read.
    pub total: Tensor,
    /// KL(end ‖ read) in nats, summed over the rows, for each stream.
    pub sums: Vec<f64>,
}

/// What a layer's visitor is given: the number of the stream, 0 for what the first layer reads, and the stream itself.
pub type Visit<'a> = &'a mut dyn FnMut(usize, &Tensor) -> Result<ControlFlow<()>>;

impl Decoder {
    /// How often the residual stream can be read: before the first layer, and after each.
    pub fn streams(&self) -> usize {
        self.layers.len() + 1
    }

    /// Numbers in a vector of the residual stream.
    pub fn width(&self) -> Result<usize> {
        self.words.dim(1)
    }

    /// Shows the residual stream (batch, time, width) of ids (batch, time): what the first layer reads, then what each
    /// layer leaves, the last one's before the last norm. One of them is in memory at a time. The visitor can stop it.
    pub fn visit_streams(&self, ids: &[u32], batch: usize, visit: Visit) -> Result<ControlFlow<()>> {
        let vectors = self.word_vectors(ids)?.reshape((batch, ids.len() / batch.max(1), ()))?;
        let mut x = self.embedded(&vectors, None)?;
        let tables = self.tables(x.dim(1)?)?;
        for number in 0..self.layers.len() {
            if visit(number, &x)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            x = self.layer(number, x, &tables, None, None)?;
        }
        visit(self.layers.len(), &x)
    }

    /// The vectors of all streams at some places of the flattened ids (batch · time): one (places, width) for each stream.
    pub fn streams_at(&self, ids: &[u32], batch: usize, places: &[u32]) -> Result<Vec<Tensor>> {
        let mut streams = Vec::with_capacity(self.streams());
        let _ = self.visit_streams(ids, batch, &mut |_, stream| {
            streams.push(self.ops.rows(&stream.flatten(0, 1)?, places)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(streams)
    }

    /// Logits of vectors of any stream (n, width), as if no layer followed: (n, vocabulary).
    pub fn read_out(&self, stream: &Tensor) -> Result<Tensor> {
        self.logits(&self.norm.apply(self.ops, stream)?)
    }

    /// The same for some tokens of the vocabulary alone: (n, tokens).
    pub fn read_out_tokens(&self, stream: &Tensor, tokens: &[u32]) -> Result<Tensor> {
        let tokens = Tensor::from_slice(tokens, tokens.len(), self.device())?;
        let Output { matrix, bias, cap } = self.output();
        let (matrix, bias) =
            (matrix.index_select(&tokens, 0)?, bias.map(|bias| bias.index_select(&tokens, 0)).transpose()?);
        Output { matrix: &matrix, bias: bias.as_ref(), cap }.logits(&self.norm.apply(self.ops, stream)?)
    }

    /// KL(p ‖ q) for vectors of several streams (n, width), where p is read from `end` (n, width), which is held fixed,
    /// and q from each of `read`. Logits exist for a chunk of rows of one stream at a time, and the gradient is taken
    /// while they do.
    pub fn divergences(&self, end: &Tensor, read: &[Tensor]) -> Result<Divergences> {
        let output = self.output();
        let (rows, vocabulary) = (end.dim(0)?, output.matrix.dim(0)?);
        let size = (CHUNK / vocabulary.max(1)).clamp(1, rows.max(1));
        let end = self.norm.apply(self.ops, end)?.detach();
        let hidden: Vec<Tensor> = read.iter().map(|stream| self.norm.apply(self.ops, stream)).collect::<Result<_>>()?;
        let mut sums = vec![0.0; read.len()];
        let mut slopes: Vec<Vec<Tensor>> = vec![Vec::new(); read.len()];
        for first in (0..rows).step_by(size) {
            let count = size.min(rows - first);
            let log_p = candle_nn::ops::log_softmax(&output.logits(&end.narrow(0, first, count)?)?, D::Minus1)?;
            let p = log_p.exp()?;
            for (place, hidden) in hidden.iter().enumerate() {
                let logits = output.logits(&hidden.narrow(0, first, count)?.detach())?;
                let log_q = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
                let sum = (&p * (&log_p - &log_q)?)?.sum_all()?;
                sums[place] += sum.to_dtype(DType::F64)?.to_scalar::<f64>()?;
                if !hidden.track_op() {
                    continue;
                }
                let mut slope = (log_q.exp()? - &p)?;
                if let Some(cap) = output.cap {
                    // The slope of cap · tanh(x / cap), from its value.
                    slope = (slope * (1.0 - (&logits / cap)?.sqr()?)?)?;
                }
                slopes[place].push(product(&slope.to_dtype(hidden.dtype())?, &output.matrix.detach())?);
            }
        }
        let mut total = Tensor::new(sums.iter().sum::<f64>(), self.device())?.to_dtype(widened(&end)?.dtype())?;
        for (hidden, slopes) in hidden.iter().zip(slopes).filter(|(_, slopes)| !slopes.is_empty()) {
            // Nothing in value, and the gradient of the chunks.
            let sum = widened(&(hidden * Tensor::cat(&slopes, 0)?)?.sum_all()?)?;
            total = (&total + (&sum - sum.detach())?)?;
        }
        Ok(Divergences { total, sums })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::student::ops::Ops;
    use crate::student::{toy, weights};
    use candle_core::{Device, Var};

    fn decoder(dtype: DType) -> Decoder {
        let architecture = toy::architecture(50);
        let weights = weights::initial(&architecture, 3, &Device::Cpu).unwrap();
        // Larger than fresh ones, whose layers hardly change anything.
        let grown = |tensor: Tensor| if tensor.rank() > 1 { (tensor * 6.0).unwrap() } else { tensor };
        let weights =
            weights.into_iter().map(|(name, tensor)| (name, grown(tensor).to_dtype(dtype).unwrap())).collect();
        let ops = if dtype == DType::F32 { Ops::Fused } else { Ops::Composed };
        Decoder::new(architecture, &weights).unwrap().with_ops(ops)
    }

    fn largest(tensor: &Tensor) -> f64 {
        tensor.abs().unwrap().max_all().unwrap().to_dtype(DType::F64).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn the_last_stream_is_read_as_the_student_reads_it_alone_or_in_a_batch() {
        let ids: Vec<u32> = (0..24).map(|place| place * 7 % 50).collect();
        for dtype in [DType::F32, DType::F64] {
            let decoder = decoder(dtype);
            let places: Vec<u32> = (0..24).collect();
            let streams = decoder.streams_at(&ids, 2, &places).unwrap();
            assert_eq!(streams.len(), decoder.streams());
            let want = decoder.logits(&decoder.hidden(&ids, 2, None, None).unwrap()).unwrap();
            let got = decoder.read_out(&streams[streams.len() - 1]).unwrap();
            assert!(largest(&(got.clone() - want).unwrap()) < 1e-5);
            let some = decoder.read_out_tokens(&streams[streams.len() - 1], &[7, 3]).unwrap();
            let same = got.index_select(&Tensor::new(&[7u32, 3], &Device::Cpu).unwrap(), 1).unwrap();
            assert!(largest(&(some - same).unwrap()) < 1e-5);
            // The second sequence by itself.
            let alone = decoder.streams_at(&ids[12..], 1, &places[..12]).unwrap();
            for (alone, both) in alone.iter().zip(&streams) {
                assert!(largest(&(alone - both.narrow(0, 12, 12).unwrap()).unwrap()) < 1e-5);
            }
        }
    }

    #[test]
    fn the_divergence_is_none_from_itself_and_its_gradient_is_the_slope() {
        let decoder = decoder(DType::F64);
        let ids: Vec<u32> = (0..10).map(|place| place * 3 % 50).collect();
        let streams = decoder.streams_at(&ids, 1, &[0, 4, 9]).unwrap();
        let end = &streams[streams.len() - 1];
        let own = decoder.divergences(end, std::slice::from_ref(end)).unwrap();
        assert!(own.sums[0].abs() < 1e-12);

        let read = Var::from_tensor(&streams[0]).unwrap();
        let of = |read: &Tensor| decoder.divergences(end, std::slice::from_ref(read)).unwrap();
        let found = of(&read);
        assert!(found.sums[0] > 1e-3 && found.total.to_scalar::<f64>().unwrap() == found.sums[0]);
        let gradients = found.total.backward().unwrap();
        let gradient = gradients.get(&read).unwrap();
        // Along one direction, by a central difference.
        let values: Vec<f64> = (0..read.elem_count()).map(|place| (place as f64 * 0.7).sin()).collect();
        let step = Tensor::from_vec(values, read.shape(), &Device::Cpu).unwrap();
        let slope = (gradient * &step).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
        let at = |size: f64| of(&(read.as_tensor() + (&step * size).unwrap()).unwrap().detach()).sums[0];
        let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
        assert!((slope - difference).abs() < 1e-6 * slope.abs().max(1.0), "{slope} {difference}");
    }
}
