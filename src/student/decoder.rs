//! The student's decoder: token ids to hidden vectors, losses and next-token probabilities.

use std::collections::HashMap;

use candle_core::{D, DType, Device, Result, Tensor, Var};

use super::Architecture;
use super::ops::{CrossEntropy, Drop, Ops, kernels};

/// A decoder with its weights. Clones share them.
#[derive(Clone)]
pub struct Decoder {
    pub architecture: Architecture,
    ops: Ops,
    words: Tensor,
    positions: Tensor,
    layers: Vec<Layer>,
    norm: Affine,
    /// (vocabulary, width); the word table itself where they are tied.
    output: Tensor,
}

#[derive(Clone)]
struct Layer {
    attention_norm: Affine,
    attention_in: Affine,
    attention_out: Affine,
    mlp_norm: Affine,
    mlp_in: Affine,
    mlp_out: Affine,
}

/// A weight and a bias: of a linear map, or of a norm.
#[derive(Clone)]
struct Affine {
    weight: Tensor,
    bias: Tensor,
}

impl Affine {
    fn frozen(&self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.detach() }
    }
}

/// How often a number is dropped in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DropoutRates {
    pub embedding: f64,
    pub residual: f64,
    pub attention: f64,
}

/// The dropout of one step: the rates, and the key from which every site's mask is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    pub rates: DropoutRates,
    pub key: u32,
}

/// The places in a layer where numbers are dropped.
enum Site {
    Embedding,
    Attention(usize),
    AttentionOut(usize),
    Mlp(usize),
}

impl Dropout {
    fn at(this: Option<Self>, site: Site) -> Option<Drop> {
        let Self { rates, key } = this?;
        let (rate, number) = match site {
            Site::Embedding => (rates.embedding, 0),
            Site::Attention(layer) => (rates.attention, 3 * layer + 1),
            Site::AttentionOut(layer) => (rates.residual, 3 * layer + 2),
            Site::Mlp(layer) => (rates.residual, 3 * layer + 3),
        };
        (rate > 0.0).then(|| Drop { probability: rate as f32, key: kernels::scramble(number as u32, key) })
    }
}

/// Tokens to learn from: `batch` sequences of one length, padded at the end, and the places whose next token counts.
pub struct Supervised<'a> {
    /// (batch, time), row by row.
    pub ids: &'a [u32],
    pub batch: usize,
    /// Places in `ids` whose hidden vector predicts a counted token.
    pub rows: &'a [u32],
    /// The token that follows each of `rows`.
    pub targets: &'a [u32],
    /// What its cross-entropy is multiplied by.
    pub weights: &'a [f32],
}

impl Decoder {
    /// Builds a decoder over weights under our names, as [`Architecture::parameters`] lists them.
    pub fn new(architecture: Architecture, weights: &HashMap<String, Tensor>) -> Result<Self> {
        let get = |name: &str| match weights.get(name) {
            Some(tensor) => Ok(tensor.clone()),
            None => candle_core::bail!("the decoder has no weights `{name}`"),
        };
        let affine = |name: &str| -> Result<Affine> {
            Ok(Affine { weight: get(&format!("{name}.weight"))?, bias: get(&format!("{name}.bias"))? })
        };
        let layers = (0..architecture.layers)
            .map(|layer| {
                let part = |name: &str| affine(&format!("layers.{layer}.{name}"));
                Ok(Layer {
                    attention_norm: part("attention.norm")?,
                    attention_in: part("attention.in")?,
                    attention_out: part("attention.out")?,
                    mlp_norm: part("mlp.norm")?,
                    mlp_in: part("mlp.in")?,
                    mlp_out: part("mlp.out")?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let words = get("words")?;
        Ok(Self {
            ops: Ops::for_device(words.device(), words.dtype()),
            positions: get("positions")?,
            layers,
            norm: affine("norm")?,
            output: if architecture.tied { words.clone() } else { get("output")? },
            words,
            architecture,
        })
    }

    /// The same decoder with the operations in the other form.
    pub fn with_ops(mut self, ops: Ops) -> Self {
        self.ops = ops;
        self
    }

    pub fn device(&self) -> &Device {
        self.words.device()
    }

    pub fn dtype(&self) -> DType {
        self.words.dtype()
    }

    /// Word vectors of ids: (n, width).
    pub fn word_vectors(&self, ids: &[u32]) -> Result<Tensor> {
        self.words.index_select(&Tensor::from_slice(ids, ids.len(), self.device())?, 0)
    }

    /// The mean of all word vectors, a neutral input for attributions: (width).
    pub fn mean_word_vector(&self) -> Result<Tensor> {
        self.words.mean(0)
    }

    /// Hidden vectors after the last norm for ids (batch, time): all of them, or those at the places `rows`, as
    /// (places, width). After the last layer's attention nothing mixes places, so the rest of that layer runs on
    /// the wanted ones alone: for a label of one token this saves nearly the whole layer.
    pub fn hidden(&self, ids: &[u32], batch: usize, rows: Option<&[u32]>, dropout: Option<Dropout>) -> Result<Tensor> {
        let x = self.ops.embed(ids, batch, &self.words, &self.positions)?;
        let x = self.ops.dropped(&x, Dropout::at(dropout, Site::Embedding))?;
        self.through_layers(x, rows, dropout)
    }

    /// Like [`Decoder::hidden`], from word vectors (batch, time, width) in place of ids.
    pub fn hidden_from_vectors(&self, vectors: &Tensor, rows: Option<&[u32]>) -> Result<Tensor> {
        let time = vectors.dim(1)?;
        let x = vectors.broadcast_add(&self.positions.narrow(0, 0, time)?)?;
        self.through_layers(x, rows, None)
    }

    fn through_layers(&self, mut x: Tensor, rows: Option<&[u32]>, dropout: Option<Dropout>) -> Result<Tensor> {
        let last = self.layers.len().wrapping_sub(1);
        let mut flat = false;
        for (place, layer) in self.layers.iter().enumerate() {
            let normed = self.norm(&layer.attention_norm, &x)?; // (batch, time, width)
            let packed = self.linear(&layer.attention_in, &normed)?; // (batch, time, 3 width)
            let drop = Dropout::at(dropout, Site::Attention(place));
            let mut mixed = self.ops.attention(&packed, self.architecture.heads, drop)?; // (batch, time, width)
            if let (true, Some(rows)) = (place == last, rows) {
                let rows = Tensor::from_slice(rows, rows.len(), x.device())?;
                x = x.flatten(0, 1)?.index_select(&rows, 0)?; // (rows, width)
                mixed = mixed.flatten(0, 1)?.index_select(&rows, 0)?;
                flat = true;
            }
            let mixed = self.linear(&layer.attention_out, &mixed)?;
            x = self.ops.add_dropped(&x, &mixed, Dropout::at(dropout, Site::AttentionOut(place)))?;
            x = self.mlp(layer, &x, Dropout::at(dropout, Site::Mlp(place)))?;
        }
        if !flat {
            x = x.flatten(0, 1)?;
            if let Some(rows) = rows {
                x = x.index_select(&Tensor::from_slice(rows, rows.len(), x.device())?, 0)?;
            }
        }
        self.norm(&self.norm, &x)
    }

    fn mlp(&self, layer: &Layer, x: &Tensor, drop: Option<Drop>) -> Result<Tensor> {
        let inner = self.linear(&layer.mlp_in, &self.norm(&layer.mlp_norm, x)?)?;
        let out = self.linear(&layer.mlp_out, &self.ops.gelu(&inner)?)?;
        self.ops.add_dropped(x, &out, drop)
    }

    fn linear(&self, part: &Affine, x: &Tensor) -> Result<Tensor> {
        self.ops.linear(x, &part.weight, &part.bias)
    }

    fn norm(&self, part: &Affine, x: &Tensor) -> Result<Tensor> {
        self.ops.layer_norm(x, &part.weight, &part.bias, self.architecture.norm_epsilon)
    }

    /// Σ weight · cross-entropy over the supervised places.
    pub fn loss(&self, batch: &Supervised, dropout: Option<Dropout>) -> Result<CrossEntropy> {
        let hidden = self.hidden(batch.ids, batch.batch, Some(batch.rows), dropout)?;
        self.ops.linear_cross_entropy(&hidden, &self.output, batch.targets, batch.weights)
    }

    /// Logits for hidden vectors (n, width): (n, vocabulary).
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        hidden.matmul(&self.output.t()?)
    }

    /// Log p(target) for hidden vectors (n, width), one target each: (n), differentiable.
    pub fn log_probability(&self, hidden: &Tensor, targets: &[u32]) -> Result<Tensor> {
        let targets = Tensor::from_slice(targets, (targets.len(), 1), self.device())?;
        candle_nn::ops::log_softmax(&self.logits(hidden)?, D::Minus1)?.gather(&targets, 1)?.squeeze(1)
    }

    /// The next tokens' logits (batch, vocabulary) after `ids` (batch, time), going on from the cache.
    pub fn next(&self, ids: &[u32], cache: &mut Cache) -> Result<Tensor> {
        let batch = cache.starts.len();
        let time = ids.len() / batch;
        let (width, heads) = (self.architecture.width, self.architecture.heads);
        let head = width / heads;
        let places: Vec<u32> =
            (0..ids.len()).map(|i| (cache.len + i % time).saturating_sub(cache.starts[i / time]) as u32).collect();
        let places = Tensor::from_vec(places, ids.len(), self.device())?;
        let mut x = (self.word_vectors(ids)? + self.positions.index_select(&places, 0)?)?; // (batch · time, width)
        let mask = cache.mask(time, self.device(), self.dtype())?;
        for (place, layer) in self.layers.iter().enumerate() {
            let packed = self.linear(&layer.attention_in, &self.norm(&layer.attention_norm, &x)?)?;
            let part = |place: usize| {
                let part = packed.narrow(1, place * width, width)?.reshape((batch, time, heads, head))?;
                part.transpose(1, 2)?.contiguous()?.reshape((batch * heads, time, head))
            };
            let (keys, values) = cache.extend(place, &part(1)?, &part(2)?)?; // (batch · heads, seen, head)
            let scores = (part(0)?.matmul(&keys.t()?)? * (1.0 / (head as f64).sqrt()))?;
            let scores = match &mask {
                None => scores,
                Some(mask) => {
                    scores.reshape((batch, heads, time, ()))?.broadcast_add(mask)?.reshape((batch * heads, time, ()))?
                }
            };
            // No gradient is asked for here, so candle's own fused softmax will do.
            let mixed = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&values)?;
            let mixed = mixed.reshape((batch, heads, time, head))?.transpose(1, 2)?.reshape((batch * time, width))?;
            x = (x + self.linear(&layer.attention_out, &mixed)?)?;
            x = self.mlp(layer, &x, None)?;
        }
        cache.len += time;
        let last: Vec<u32> = (1..=batch).map(|row| (row * time - 1) as u32).collect();
        let last = x.index_select(&Tensor::from_vec(last, batch, self.device())?, 0)?;
        self.logits(&self.norm(&self.norm, &last)?)
    }

    /// The same weights without the record that a backward pass needs.
    pub fn frozen(&self) -> Self {
        let layer = |layer: &Layer| Layer {
            attention_norm: layer.attention_norm.frozen(),
            attention_in: layer.attention_in.frozen(),
            attention_out: layer.attention_out.frozen(),
            mlp_norm: layer.mlp_norm.frozen(),
            mlp_in: layer.mlp_in.frozen(),
            mlp_out: layer.mlp_out.frozen(),
        };
        Self {
            architecture: self.architecture.clone(),
            ops: self.ops,
            words: self.words.detach(),
            positions: self.positions.detach(),
            layers: self.layers.iter().map(layer).collect(),
            norm: self.norm.frozen(),
            output: self.output.detach(),
        }
    }
}

/// Trainable weights with their names, in the decoder's order.
pub type Parameters = Vec<(String, Var)>;

/// Makes every weight trainable; the map holds the tensors to build a [`Decoder`] over.
pub fn trainable(
    architecture: &Architecture,
    weights: &HashMap<String, Tensor>,
) -> Result<(Parameters, HashMap<String, Tensor>)> {
    let mut variables = Vec::new();
    let mut tensors = HashMap::new();
    for parameter in architecture.parameters() {
        let Some(tensor) = weights.get(&parameter.name) else {
            candle_core::bail!("the decoder has no weights `{}`", parameter.name)
        };
        let variable = Var::from_tensor(tensor)?;
        tensors.insert(parameter.name.clone(), variable.as_tensor().clone());
        variables.push((parameter.name, variable));
    }
    Ok((variables, tensors))
}

/// Keys and values of the tokens read so far, for sequences that were padded at their beginning.
pub struct Cache {
    /// (batch · heads, capacity, head) for each layer.
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
        Self { layers: vec![None; architecture.layers], len: 0, capacity, starts }
    }

    fn extend(&mut self, layer: usize, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let (rows, time, head) = keys.dims3()?;
        if self.len + time > self.capacity {
            candle_core::bail!("the key-value cache has room for {} tokens", self.capacity);
        }
        if self.layers[layer].is_none() {
            let empty = || Tensor::zeros((rows, self.capacity, head), keys.dtype(), keys.device());
            self.layers[layer] = Some((empty()?, empty()?));
        }
        let Some((all_keys, all_values)) = &self.layers[layer] else { candle_core::bail!("the cache is empty") };
        all_keys.slice_set(keys, 1, self.len)?;
        all_values.slice_set(values, 1, self.len)?;
        Ok((all_keys.narrow(1, 0, self.len + time)?, all_values.narrow(1, 0, self.len + time)?))
    }

    /// What to add to scores (batch, 1, time, seen): minus infinity on later tokens and on padding. A padding token
    /// sees itself, so that no row is empty. `None` when everything may be seen.
    fn mask(&self, time: usize, device: &Device, dtype: DType) -> Result<Option<Tensor>> {
        if time == 1 && self.starts.iter().all(|start| *start == 0) {
            return Ok(None);
        }
        let seen = self.len + time;
        let mut mask = Vec::with_capacity(self.starts.len() * time * seen);
        for start in &self.starts {
            for query in self.len..seen {
                mask.extend((0..seen).map(|key| {
                    let visible = key == query || (key >= *start && key < query);
                    if visible { 0f32 } else { f32::NEG_INFINITY }
                }));
            }
        }
        Ok(Some(Tensor::from_vec(mask, (self.starts.len(), 1, time, seen), device)?.to_dtype(dtype)?))
    }

    /// Keeps only these sequences of the batch, in this order.
    pub fn keep(&mut self, sequences: &[usize]) -> Result<()> {
        let batch = self.starts.len();
        for (keys, values) in self.layers.iter_mut().flatten() {
            let heads = keys.dim(0)? / batch;
            let rows: Vec<u32> =
                sequences.iter().flat_map(|row| (row * heads..(row + 1) * heads).map(|row| row as u32)).collect();
            let rows = Tensor::from_vec(rows, sequences.len() * heads, keys.device())?;
            *keys = keys.index_select(&rows, 0)?;
            *values = values.index_select(&rows, 0)?;
        }
        self.starts = sequences.iter().map(|row| self.starts[*row]).collect();
        Ok(())
    }
}
