//! The decoder's differentiable operations, each in two forms: *composed* of candle's own operations (any device, any
//! float type; the reference) and *fused* (one pass over memory; on the CPU in `f32`, and as kernels of our own on NVIDIA
//! GPUs in `f32` and `bf16`). [`Ops`] chooses; tests hold them together by value and gradient.
//!
//! Candle drops gradients silently in several operations that look differentiable (`softmax_last_dim`, `layer_norm`,
//! `rope`, `slice_set`); none of them is used on a path that trains.

mod attention;
mod collect;
mod cross_entropy;
pub mod cuda;
mod embedding;
mod fused;
pub(super) mod head;
pub mod kernels;
mod small_matmul;

use std::sync::{Arc, Mutex};

use candle_core::{D, DType, Device, Result, Tensor};

use super::architecture::Activation;
use super::attend::{Projected, Turn, mix};
use attention::Attention;
pub use attention::{Heads, Rotation};
pub use collect::Gradients;
pub use cross_entropy::LOGIT_ROWS;
use cross_entropy::LinearCrossEntropy;
pub use fused::with_slice;
pub use head::{CHUNK, Output};

/// Which form of the operations to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Ops {
    /// The fast form, where it exists
    #[default]
    Fused,
    /// Candle's own operations throughout: slower, for comparison
    Composed,
}

/// A dropout site: the probability, and the key that its mask depends on.
#[derive(Clone, Copy, Debug)]
pub struct Drop {
    pub probability: f32,
    pub key: u32,
}

/// The sum that is minimised, and the cross-entropy of each row behind it.
pub struct CrossEntropy {
    /// Σ weight · cross-entropy, a scalar.
    pub total: Tensor,
    /// In nats, unweighted, one for each row, in `f32`. Reading them waits for the device.
    pub losses: Tensor,
}

impl Ops {
    /// The word used in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fused => "fused",
            Self::Composed => "composed",
        }
    }

    /// This form where a device has it, else the composed one.
    pub fn available(self, device: &Device, dtype: DType) -> Self {
        let is_there = || match device {
            Device::Cpu if dtype == DType::F32 => true,
            _ => cuda::serves(device, dtype) && cuda::problem(device).is_none(),
        };
        if self == Self::Fused && is_there() { Self::Fused } else { Self::Composed }
    }

    /// Whether an operation on a tensor is one of the kernels for GPUs.
    fn on_gpu(self, x: &Tensor) -> bool {
        self == Self::Fused && cuda::serves(x.device(), x.dtype())
    }

    /// y = x W + b, with x (…, inputs), W (inputs, outputs), b (outputs) where there is one.
    pub fn linear(self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        if self.on_gpu(x) {
            return cuda::linear(x, weight, bias);
        }
        match (self, bias) {
            (Self::Fused, Some(bias)) => return x.contiguous()?.apply_op3(weight, bias, fused::Linear),
            (Self::Fused, None) => return x.contiguous()?.apply_op2(&weight.contiguous()?, fused::Product),
            _ => {}
        }
        let mut shape = x.dims().to_vec();
        let (inputs, outputs) = weight.dims2()?;
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        let y = product(&x.reshape(((), inputs))?, weight)?;
        let y = match bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        y.reshape(shape)
    }

    /// Root-mean-square norm over the last dimension.
    pub fn rms_norm(self, x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
        if self.on_gpu(x) {
            return cuda::rms_norm(x, weight, eps);
        }
        if self == Self::Fused {
            return x.contiguous()?.apply_op2(&weight.contiguous()?, fused::RmsNorm { eps: eps as f32 });
        }
        let (wide, weight) = (widened(x)?, widened(weight)?);
        let mean_square = wide.sqr()?.mean_keepdim(D::Minus1)?;
        wide.broadcast_div(&(mean_square + eps)?.sqrt()?)?.broadcast_mul(&weight)?.to_dtype(x.dtype())
    }

    /// Rows of x (n, width) at some places: (places, width).
    pub fn rows(self, x: &Tensor, places: &[u32]) -> Result<Tensor> {
        if self.on_gpu(x) {
            return cuda::look_up(places, x);
        }
        x.index_select(&Tensor::from_slice(places, places.len(), x.device())?, 0)
    }

    /// Layer norm over the last dimension.
    pub fn layer_norm(self, x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
        if self.on_gpu(x) {
            return cuda::layer_norm(x, weight, bias, eps);
        }
        if self == Self::Fused {
            return x.contiguous()?.apply_op3(weight, bias, fused::LayerNorm { eps: eps as f32 });
        }
        // candle_nn's `layer_norm_slow` would do, but it takes eps as f32, which is not f64's 1e-5.
        let (wide, weight, bias) = (widened(x)?, widened(weight)?, widened(bias)?);
        let centred = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
        normed.broadcast_mul(&weight)?.broadcast_add(&bias)?.to_dtype(x.dtype())
    }

    /// An activation, number by number.
    pub fn activate(self, activation: Activation, x: &Tensor) -> Result<Tensor> {
        if self.on_gpu(x) {
            return cuda::activate(activation, x);
        }
        if self == Self::Fused {
            return x.contiguous()?.apply_op1(fused::Activate(activation));
        }
        let wide = widened(x)?;
        let y = match activation {
            Activation::GeluTanh => {
                // x · σ(2u) is the tanh form; candle's own gelu has an approximate backward.
                let scale = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
                let doubled = ((&wide + (wide.powf(3.0)? * 0.044715)?)? * scale)?;
                (wide / (doubled.neg()?.exp()? + 1.0)?)?
            }
            Activation::Gelu => {
                let half = ((&wide / std::f64::consts::SQRT_2)?.erf()? + 1.0)?;
                ((wide * half)? * 0.5)?
            }
            Activation::Silu => candle_nn::ops::silu(&wide)?,
            // The slope of candle's own is 1 at 0, where PyTorch has 0.
            Activation::Relu => wide.gt(0.0)?.where_cond(&wide, &wide.zeros_like()?)?,
        };
        y.to_dtype(x.dtype())
    }

    /// A gated activation: (…, 2 · inner), gates beside values, to (…, inner).
    pub fn gate(self, activation: Activation, x: &Tensor) -> Result<Tensor> {
        if self.on_gpu(x) {
            return cuda::gate(activation, x);
        }
        if self == Self::Fused {
            return x.contiguous()?.apply_op1(fused::Gate(activation));
        }
        let inner = x.dim(D::Minus1)? / 2;
        let gates = self.activate(activation, &x.narrow(D::Minus1, 0, inner)?.contiguous()?)?;
        gates * x.narrow(D::Minus1, inner, inner)?
    }

    /// Causal attention: queries, keys and values of (batch, time, columns) to (batch, time, heads · head), queries and
    /// keys turned first. `mask` is [`causal_mask`], which the composed form adds; whoever has many layers makes it once.
    pub fn attention(
        self,
        packed: &Tensor,
        heads: &Heads,
        turn: Option<&Turn>,
        mask: Option<&Tensor>,
        drop: Option<Drop>,
    ) -> Result<Tensor> {
        if self.on_gpu(packed) {
            return cuda::attention(packed, heads, turn.map(Turn::rotation).as_deref(), drop);
        }
        if self == Self::Fused {
            let dropout = drop.map(|drop| (drop.probability, drop.key));
            let rotation = turn.map(Turn::rotation);
            let attention = Attention { heads: *heads, rotation, dropout, log_sums: Mutex::default() };
            return packed.contiguous()?.apply_op1(attention);
        }
        mix(&Projected::of(packed, heads, turn)?, heads, mask, drop)
    }

    /// x + dropout(r); x + r where nothing is dropped.
    pub fn add_dropped(self, x: &Tensor, r: &Tensor, drop: Option<Drop>) -> Result<Tensor> {
        match drop {
            None => x + r,
            Some(drop) if self.on_gpu(r) => cuda::add_dropped(x, r, drop),
            Some(Drop { probability, key }) if self == Self::Fused => {
                x.contiguous()?.apply_op2(&r.contiguous()?, fused::AddDropped { probability, key })
            }
            Some(drop) => x + (r * drop.mask(r)?)?,
        }
    }

    /// dropout(x).
    pub fn dropped(self, x: &Tensor, drop: Option<Drop>) -> Result<Tensor> {
        match drop {
            None => Ok(x.clone()),
            Some(drop) if self.on_gpu(x) => cuda::drop_out(x, drop),
            Some(_) => self.add_dropped(&x.zeros_like()?, x, drop),
        }
    }

    /// Σ weight · cross-entropy of h (rows, width) through the output matrix (vocabulary, width).
    pub fn linear_cross_entropy(
        self,
        h: &Tensor,
        output: &Output,
        targets: &[u32],
        weights: &[f32],
    ) -> Result<CrossEntropy> {
        if self.on_gpu(h) {
            return cuda::linear_cross_entropy(h, output, targets, weights);
        }
        if self == Self::Fused {
            let losses = Arc::new(Mutex::default());
            let op = LinearCrossEntropy {
                targets: targets.to_vec(),
                weights: weights.to_vec(),
                cap: output.cap.map(|cap| cap as f32),
                losses: losses.clone(),
                with_matrix_gradient: output.matrix.track_op(),
                with_bias_gradient: output.bias.is_some_and(Tensor::track_op),
                gradients: Mutex::default(),
            };
            let h = h.contiguous()?;
            let total = match output.bias {
                Some(bias) => h.apply_op3(output.matrix, bias, op)?,
                None => h.apply_op2(output.matrix, op)?,
            };
            let losses = std::mem::take(&mut *losses.lock().unwrap_or_else(|poison| poison.into_inner()));
            return Ok(CrossEntropy { total, losses: Tensor::from_vec(losses, targets.len(), h.device())? });
        }
        head::cross_entropy(h, output, targets, weights, None)
    }
}

/// What is computed from many numbers at once, or steeply, is computed in `f32` where they lie in `bf16`.
pub(super) fn widened(x: &Tensor) -> Result<Tensor> {
    if x.dtype() == DType::BF16 { x.to_dtype(DType::F32) } else { Ok(x.clone()) }
}

/// a b. Candle has no product in `bf16` on the CPU, where nobody needs one but the tests of what a GPU does.
pub(super) fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dtype() == DType::BF16 && a.device().is_cpu() {
        return widened(a)?.matmul(&widened(b)?)?.to_dtype(a.dtype());
    }
    a.matmul(b)
}

impl Drop {
    /// The mask of this site, of the shape of `like`: 0 or 1 / (1 - p).
    pub(super) fn mask(self, like: &Tensor) -> Result<Tensor> {
        let keep = 1.0 / (1.0 - f64::from(self.probability));
        if like.device().is_cpu() {
            let mut mask = vec![1f32; like.elem_count()];
            kernels::dropout(&mut mask, 0, self.key, self.probability);
            return Tensor::from_vec(mask, like.shape(), like.device())?.to_dtype(like.dtype());
        }
        // On a GPU the mask is drawn there; copying millions of numbers each step would stall it.
        like.device().set_seed(u64::from(self.key))?;
        let drawn = Tensor::rand(0f32, 1f32, like.shape(), like.device())?;
        drawn.ge(f64::from(self.probability))?.to_dtype(like.dtype())? * keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::student::architecture::{Rotary, Scaling};
    use crate::student::attend::causal_mask;
    use candle_core::Var;

    /// Largest difference over the largest reference value.
    pub(in crate::student) fn gap(got: &Tensor, want: &Tensor) -> f64 {
        let (got, want) = (got.to_dtype(DType::F64).unwrap(), want.to_dtype(DType::F64).unwrap());
        assert_eq!(got.dims(), want.dims());
        largest(&(got - &want).unwrap()) / largest(&want).max(1e-30)
    }

    /// The largest number by size; what is no number is larger than all, which candle's `max` passes over.
    pub(in crate::student) fn largest(t: &Tensor) -> f64 {
        let numbers: Vec<f64> = t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let larger = |most: f64, x: f64| if x.abs() > most || x.is_nan() { x.abs() } else { most };
        numbers.into_iter().fold(0.0, larger)
    }

    pub(in crate::student) fn var(shape: &[usize], seed: f32) -> Var {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|i| ((i as f32 * 0.61 + seed) * 1.7).sin() * 0.8).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    /// Runs an operation fused in f32 and composed in f64 and compares the value and every gradient.
    pub(in crate::student) fn agree(shapes: &[&[usize]], op: impl Fn(Ops, &[Tensor]) -> Result<Tensor>) {
        let fused: Vec<Var> = shapes.iter().enumerate().map(|(i, shape)| var(shape, i as f32)).collect();
        let composed: Vec<Var> =
            fused.iter().map(|var| Var::from_tensor(&var.to_dtype(DType::F64).unwrap()).unwrap()).collect();
        let run = |ops: Ops, vars: &[Var]| {
            let inputs: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
            let y = op(ops, &inputs).unwrap();
            // A weighting that is different for every element, so that no gradient is constant, and positive, so that
            // no sum is a small difference of large ones.
            let slope = (var(y.dims(), 9.0).to_dtype(y.dtype()).unwrap() + 1.0).unwrap();
            let gradients = (&y * slope).unwrap().sum_all().unwrap().backward().unwrap();
            (y, vars.iter().map(|var| gradients.get(var).unwrap().clone()).collect::<Vec<_>>())
        };
        let ((y, dy), (want, dwant)) = (run(Ops::Fused, &fused), run(Ops::Composed, &composed));
        assert!(gap(&y, &want) < 1e-6, "value: {:e}", gap(&y, &want));
        for (place, (got, want)) in dy.iter().zip(&dwant).enumerate() {
            assert!(gap(got, want) < 1e-6, "gradient {place}: {:e}", gap(got, want));
        }
    }

    #[test]
    fn linear_agrees_with_its_twin() {
        agree(&[&[2, 300, 24], &[24, 40], &[40]], |ops, x| ops.linear(&(&x[0] + 1.0)?, &x[1], Some(&x[2])));
    }

    #[test]
    fn a_product_agrees_with_its_twin() {
        agree(&[&[2, 300, 24], &[24, 40]], |ops, x| ops.linear(&(&x[0] + 1.0)?, &x[1], None));
    }

    #[test]
    fn layer_norm_agrees_with_its_twin() {
        agree(&[&[3, 200, 48], &[48], &[48]], |ops, x| ops.layer_norm(&x[0], &x[1], &x[2], 1e-5));
    }

    #[test]
    fn rms_norm_agrees_with_its_twin() {
        agree(&[&[3, 200, 48], &[48]], |ops, x| ops.rms_norm(&x[0], &(&x[1] + 1.0)?, 1e-6));
    }

    pub(in crate::student) const ACTIVATIONS: [Activation; 4] =
        [Activation::GeluTanh, Activation::Gelu, Activation::Silu, Activation::Relu];

    #[test]
    fn activations_agree_with_their_twins() {
        for activation in ACTIVATIONS {
            agree(&[&[7, 301]], |ops, x| ops.activate(activation, &(&x[0] * 4.0)?));
            agree(&[&[2, 9, 2 * 37]], |ops, x| ops.gate(activation, &(&x[0] * 4.0)?));
        }
    }

    /// Attention as a decoder asks for it.
    pub(in crate::student) fn attend(
        ops: Ops,
        packed: &Tensor,
        heads: &Heads,
        turned: usize,
        drop: Option<Drop>,
    ) -> Result<Tensor> {
        let time = packed.dim(1)?;
        let mask = causal_mask(time, heads.window, packed.device(), packed.dtype())?;
        let rotary = Rotary { base: 100.0, turned, scaling: Scaling::None };
        let places: Vec<usize> = (0..time).collect();
        let turn = Turn::new(&rotary, &places, &[time], packed.device(), packed.dtype())?;
        ops.attention(packed, heads, (turned > 0).then_some(&turn), Some(&mask), drop)
    }

    pub(in crate::student) const PLAIN: Heads =
        Heads { heads: 3, kv_heads: 3, head: 8, scale: 0.35, cap: None, window: None };

    #[test]
    fn attention_agrees_with_its_twin() {
        for time in [1, 7, 12, 13, 40] {
            agree(&[&[3, time, 3 * 24]], |ops, x| attend(ops, &x[0], &PLAIN, 0, None));
        }
    }

    #[test]
    fn attention_with_all_that_families_vary_agrees_with_its_twin() {
        let drop = Some(Drop { probability: 0.3, key: 17 });
        for time in [1, 5, 13, 40] {
            for (cap, window) in
                [(None, None), (Some(1.5), None), (None, Some(1)), (None, Some(15)), (Some(0.7), Some(6))]
            {
                let heads = Heads { heads: 6, kv_heads: 2, head: 10, scale: 0.5, cap, window };
                agree(&[&[2, time, 100]], |ops, x| attend(ops, &x[0], &heads, 0, None));
                agree(&[&[2, time, 100]], |ops, x| attend(ops, &x[0], &heads, 6, None));
                agree(&[&[2, time, 100]], |ops, x| attend(ops, &x[0], &heads, 10, drop));
            }
        }
    }

    #[test]
    fn dropout_agrees_with_its_twin() {
        let drop = Some(Drop { probability: 0.3, key: 17 });
        agree(&[&[2, 37, 3 * 24]], |ops, x| attend(ops, &x[0], &PLAIN, 0, drop));
        agree(&[&[2, 30, 16], &[2, 30, 16]], |ops, x| ops.add_dropped(&x[0], &x[1], drop));
        agree(&[&[2, 30, 16]], |ops, x| ops.dropped(&x[0], drop));
    }

    #[test]
    fn cross_entropy_agrees_with_its_twin() {
        let targets: Vec<u32> = (0..600).map(|i| i * 7 % 31).collect();
        let weights: Vec<f32> = (0..600).map(|i| (i % 3) as f32 * 0.1).collect();
        let case = |ops: Ops, x: &[Tensor], bias: Option<&Tensor>, cap| {
            let output = Output { matrix: &x[1], bias, cap };
            let result = ops.linear_cross_entropy(&x[0], &output, &targets, &weights)?;
            // The losses beside the total are those that it sums.
            let losses = result.losses.to_vec1::<f32>()?;
            let sum: f64 = losses.iter().zip(&weights).map(|(loss, w)| f64::from(*loss) * f64::from(*w)).sum();
            let total = result.total.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            assert!((sum / total - 1.0).abs() < 1e-5);
            Ok(result.total)
        };
        for cap in [None, Some(2.5)] {
            agree(&[&[600, 20], &[31, 20]], |ops, x| case(ops, x, None, cap));
            agree(&[&[600, 20], &[31, 20], &[31]], |ops, x| case(ops, x, Some(&x[2]), cap));
        }
    }

    #[test]
    fn a_plain_tensor_gets_no_gradient() {
        let (x, weight, bias) = (var(&[4, 8], 0.0), var(&[8, 6], 1.0), var(&[6], 2.0));
        let frozen = weight.as_tensor().detach();
        let y = Ops::Fused.linear(&x, &frozen, Some(&bias.as_tensor().detach())).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&x).is_some() && gradients.get(&frozen).is_none());
    }

    #[test]
    fn heads_shared_out_among_threads_give_the_same_numbers() {
        let heads = Heads { heads: 12, kv_heads: 4, head: 6, scale: 0.5, cap: Some(1.5), window: Some(9) };
        let drop = Some(Drop { probability: 0.3, key: 17 });
        for batch in [1, 2] {
            let run = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let x = var(&[batch, 30, 20 * 6], 0.0);
                    let y = attend(Ops::Fused, &x, &heads, 4, drop).unwrap();
                    let dx = y.sqr().unwrap().sum_all().unwrap().backward().unwrap().remove(&x).unwrap();
                    [y, dx].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
                })
            };
            // One example a thread, its heads in two parts, and each of keys and values for itself.
            let whole = run(1);
            assert!([3, 4, 7].iter().all(|threads| run(*threads) == whole));
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (x, weight, bias) = (var(&[8, 200, 48], 0.0), var(&[48], 1.0), var(&[48], 2.0));
                let y = Ops::Fused.layer_norm(&x, &weight, &bias, 1e-5).unwrap();
                let y = attend(Ops::Fused, &y, &Heads { heads: 4, kv_heads: 4, head: 4, ..PLAIN }, 0, None).unwrap();
                let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                [&x, &weight, &bias].map(|v| gradients.get(v).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap())
            })
        };
        assert_eq!(run(1), run(3));
    }
}
