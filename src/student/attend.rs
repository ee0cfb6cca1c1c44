//! Attention with everything that families vary: heads that share keys, rotary positions, windows, bent scores. In
//! candle's own operations, so that it runs anywhere and has every gradient; [`super::ops::attention`] is the faster form.

use std::sync::{Arc, OnceLock};

use candle_core::{D, DType, Device, Result, Tensor};

use super::architecture::Rotary;
use super::ops::{Drop, Heads, Rotation, product, widened};

/// Cosines and sines of one rotary embedding, (places, turned / 2) or (batch, 1, places, turned / 2).
#[derive(Clone)]
pub struct Turn {
    cosines: Tensor,
    sines: Tensor,
    turned: usize,
    /// The same for the fused operation, which all layers share.
    rotation: Arc<Rotation>,
}

impl Turn {
    /// For the given positions, shaped (`shape`, turned / 2). Angles are computed in double precision: at position 4000
    /// a rounded angle is off by more than the numbers it turns.
    pub fn new(rotary: &Rotary, positions: &[usize], shape: &[usize], device: &Device, dtype: DType) -> Result<Self> {
        let frequencies = rotary.frequencies();
        let angles: Vec<f64> = positions
            .iter()
            .flat_map(|position| frequencies.iter().map(move |frequency| *position as f64 * frequency))
            .collect();
        let shape: Vec<usize> = shape.iter().copied().chain([frequencies.len()]).collect();
        let cosines: Vec<f64> = angles.iter().map(|angle| angle.cos()).collect();
        let sines: Vec<f64> = angles.iter().map(|angle| angle.sin()).collect();
        let narrow = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
        let rotation = Rotation {
            turned: rotary.turned,
            cosines: narrow(&cosines),
            sines: narrow(&sines),
            on_device: OnceLock::new(),
        };
        let table = |values: Vec<f64>| Tensor::from_vec(values, shape.clone(), device)?.to_dtype(dtype);
        Ok(Self { cosines: table(cosines)?, sines: table(sines)?, turned: rotary.turned, rotation: rotation.into() })
    }

    /// The tables of the fused operation.
    pub fn rotation(&self) -> Arc<Rotation> {
        self.rotation.clone()
    }

    /// Turns vectors (batch, heads, places, head), first half of the turned part against the second.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (half, head) = (self.turned / 2, x.dim(D::Minus1)?);
        let (first, second) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
        let cos = |x: &Tensor| x.broadcast_mul(&self.cosines);
        let sin = |x: &Tensor| x.broadcast_mul(&self.sines);
        let mut parts = vec![(cos(&first)? - sin(&second)?)?, (cos(&second)? + sin(&first)?)?];
        if head > self.turned {
            parts.push(x.narrow(D::Minus1, self.turned, head - self.turned)?);
        }
        Tensor::cat(&parts, D::Minus1)
    }
}

/// Queries (batch, heads, time, head), keys and values (batch, kv_heads, time, head).
pub struct Projected {
    pub queries: Tensor,
    pub keys: Tensor,
    pub values: Tensor,
}

impl Projected {
    /// Splits the packed projection (batch, time, columns) and turns queries and keys.
    pub fn of(packed: &Tensor, heads: &Heads, turn: Option<&Turn>) -> Result<Self> {
        let Heads { heads, kv_heads, head, .. } = *heads;
        let (batch, time, _) = packed.dims3()?;
        let part = |from: usize, heads: usize| {
            packed
                .narrow(2, from * head, heads * head)?
                .reshape((batch, time, heads, head))?
                .transpose(1, 2)?
                .contiguous()
        };
        let turned = |x: Tensor| turn.map_or(Ok(x.clone()), |turn| turn.apply(&x));
        Ok(Self {
            queries: turned(part(0, heads)?)?,
            keys: turned(part(heads, kv_heads)?)?,
            values: part(heads + kv_heads, kv_heads)?,
        })
    }
}

/// Mixes values: (batch, time, heads · head) from queries of `time` places and keys and values of `seen` places. `mask`
/// is added to scores of (batch or 1, 1, time, seen); the window is its business.
pub fn mix(projected: &Projected, heads: &Heads, mask: Option<&Tensor>, drop: Option<Drop>) -> Result<Tensor> {
    let (batch, heads_of, time, head) = projected.queries.dims4()?;
    let (_, kv_heads, seen, _) = projected.keys.dims4()?;
    let mut weights = weights(projected, heads, mask)?;
    if let Some(drop) = drop {
        weights = (&weights * drop.mask(&weights)?)?;
    }
    let weights = weights.reshape((batch, kv_heads, heads_of / kv_heads * time, seen))?;
    let weights = weights.to_dtype(projected.values.dtype())?;
    let mixed = product(&weights, &projected.values)?.reshape((batch, heads_of, time, head))?;
    mixed.transpose(1, 2)?.reshape((batch, time, heads_of * head))
}

/// How much each query attends to each key, summing to 1 over keys: (batch, heads, time, seen).
pub fn weights(projected: &Projected, heads: &Heads, mask: Option<&Tensor>) -> Result<Tensor> {
    let Heads { scale, cap, .. } = *heads;
    let (batch, heads, time, head) = projected.queries.dims4()?;
    let (_, kv_heads, seen, _) = projected.keys.dims4()?;
    // The queries that share keys lie below each other, so that each key is multiplied where it is.
    let queries = projected.queries.reshape((batch, kv_heads, heads / kv_heads * time, head))?;
    let scores = (widened(&product(&queries, &projected.keys.t()?.contiguous()?)?)? * scale)?;
    let mut scores = scores.reshape((batch, heads, time, seen))?;
    if let Some(cap) = cap {
        scores = bend(&scores, cap)?;
    }
    if let Some(mask) = mask {
        scores = scores.broadcast_add(&widened(mask)?)?;
    }
    candle_nn::ops::softmax(&scores, D::Minus1)
}

/// cap · tanh(x / cap).
pub fn bend(x: &Tensor, cap: f64) -> Result<Tensor> {
    (x / cap)?.tanh()? * cap
}

/// 0 where a query (row) sees a key (column): none that is later, none further back than the window.
pub fn causal_mask(time: usize, window: Option<usize>, device: &Device, dtype: DType) -> Result<Tensor> {
    let sees = |query: usize, key: usize| key <= query && window.is_none_or(|window| query - key < window);
    let mask: Vec<f32> =
        (0..time * time).map(|i| if sees(i / time, i % time) { 0.0 } else { f32::NEG_INFINITY }).collect();
    Tensor::from_vec(mask, (time, time), device)?.to_dtype(dtype)
}
