//! Reading on, token by token: keys and values of what was read are kept.

use candle_core::{DType, Device, Result, Tensor};

use super::architecture::{Architecture, Positions};
use super::attend::{Projected, Turn, mix};
use super::decoder::Decoder;

impl Decoder {
    /// The next tokens' logits (batch, vocabulary) after `ids` (batch, time), going on from the cache.
    pub fn next(&self, ids: &[u32], cache: &mut Cache) -> Result<Tensor> {
        let batch = cache.starts.len();
        let time = ids.len() / batch;
        let (device, dtype) = (self.device(), self.dtype());
        let places: Vec<usize> =
            (0..ids.len()).map(|i| (cache.len + i % time).saturating_sub(cache.starts[i / time])).collect();
        let mut x = self.scaled(&self.word_vectors(ids)?.reshape((batch, time, ()))?)?;
        if let Positions::Learned { skipped } = self.architecture.positions {
            let rows: Vec<u32> = places.iter().map(|place| (place + skipped) as u32).collect();
            let vectors = self.position_table()?.index_select(&Tensor::from_vec(rows, ids.len(), device)?, 0)?;
            x = (x + vectors.reshape((batch, time, ()))?)?;
        }
        let turns = self.per_rotary(|rotary| Turn::new(rotary, &places, &[batch, 1, time], device, dtype))?;
        let masks = self.per_window(|window| cache.mask(time, window, device, dtype))?;
        let architecture = &self.architecture;
        for (number, layer) in self.layers.iter().enumerate() {
            let normed = layer.attention_norm.apply(self.ops, &x)?;
            let heads = architecture.heads_of(number);
            let packed = layer.attention_in.apply(self.ops, &normed, None)?;
            let packed = layer.norm_heads(self.ops, packed, &heads)?;
            let now = Projected::of(&packed, &heads, turns[number].as_deref())?;
            let (keys, values) = cache.extend(number, &now.keys, &now.values)?;
            let seen = Projected { queries: now.queries, keys, values };
            let mixed = mix(&seen, &heads, masks[number].as_ref().as_ref(), None)?;
            x = self.join(number, x, &normed, &mixed, None)?;
        }
        cache.len += time;
        let last = x.narrow(1, time - 1, 1)?.squeeze(1)?;
        self.logits(&self.norm.apply(self.ops, &last)?)
    }
}

/// Keys and values of the tokens read so far, for sequences that were padded at their beginning.
pub struct Cache {
    /// (batch, kv_heads, capacity, head) for each layer.
    layers: Vec<Option<(Tensor, Tensor)>>,
    /// Places filled.
    len: usize,
    capacity: usize,
    /// The place of each sequence's first token; the places before it are padding.
    starts: Vec<usize>,
}

impl Cache {
    /// Room for `capacity` places, where sequence `i` begins at place `starts[i]`.
    pub fn new(architecture: &Architecture, starts: Vec<usize>, capacity: usize) -> Self {
        Self { layers: vec![None; architecture.layers.len()], len: 0, capacity, starts }
    }

    fn extend(&mut self, layer: usize, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let (batch, heads, time, head) = keys.dims4()?;
        if self.len + time > self.capacity {
            candle_core::bail!("the key-value cache has room for {} tokens", self.capacity);
        }
        if self.layers[layer].is_none() {
            let empty = || Tensor::zeros((batch, heads, self.capacity, head), keys.dtype(), keys.device());
            self.layers[layer] = Some((empty()?, empty()?));
        }
        let Some((all_keys, all_values)) = &self.layers[layer] else { candle_core::bail!("the cache is empty") };
        // In place: nothing here is differentiated.
        all_keys.slice_set(&keys.contiguous()?, 2, self.len)?;
        all_values.slice_set(&values.contiguous()?, 2, self.len)?;
        let seen = self.len + time;
        Ok((all_keys.narrow(2, 0, seen)?, all_values.narrow(2, 0, seen)?.contiguous()?))
    }

    /// What to add to scores (batch, 1, time, seen): minus infinity on later tokens and on padding. A padding token
    /// sees itself, so that no row is empty. `None` when everything may be seen.
    fn mask(&self, time: usize, window: Option<usize>, device: &Device, dtype: DType) -> Result<Option<Tensor>> {
        let seen = self.len + time;
        if time == 1 && self.starts.iter().all(|start| *start == 0) && window.is_none_or(|window| seen <= window) {
            return Ok(None);
        }
        let near = |query: usize, key: usize| window.is_none_or(|window| query - key < window);
        let mut mask = Vec::with_capacity(self.starts.len() * time * seen);
        for start in &self.starts {
            for query in self.len..seen {
                mask.extend((0..seen).map(|key| {
                    let visible = key == query || (key >= *start && key < query && near(query, key));
                    if visible { 0f32 } else { f32::NEG_INFINITY }
                }));
            }
        }
        Ok(Some(Tensor::from_vec(mask, (self.starts.len(), 1, time, seen), device)?.to_dtype(dtype)?))
    }

    /// Keeps only these sequences of the batch, in this order.
    pub fn keep(&mut self, sequences: &[usize]) -> Result<()> {
        let rows: Vec<u32> = sequences.iter().map(|row| *row as u32).collect();
        for (keys, values) in self.layers.iter_mut().flatten() {
            let rows = Tensor::from_slice(&rows, rows.len(), keys.device())?;
            *keys = keys.index_select(&rows, 0)?;
            *values = values.index_select(&rows, 0)?;
        }
        self.starts = sequences.iter().map(|row| self.starts[*row]).collect();
        Ok(())
    }
}
