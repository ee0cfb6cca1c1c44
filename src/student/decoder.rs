//! The student's decoder: token ids to hidden vectors, losses and next-token probabilities.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{D, DType, Device, Result, Tensor, Var};

use super::architecture::{Architecture, Positions, Residual, Rotary};
use super::attend::{Turn, causal_mask};
use super::lora::Adapters;
use super::ops::head::{self, Soft};
use super::ops::{CrossEntropy, Drop, Ops, Output, kernels};
use super::parts::{Layer, NormWeights, Weights};

/// A decoder with its weights. Clones share them.
#[derive(Clone)]
pub struct Decoder {
    pub architecture: Architecture,
    pub(super) ops: Ops,
    pub(super) words: Tensor,
    /// Of learned positions: (context, width), with the rows before them that belong to no position.
    positions: Option<Tensor>,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: NormWeights,
    /// (vocabulary, width); the word table itself where they are tied.
    output: Tensor,
    output_bias: Option<Tensor>,
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
    /// Of what adapters read.
    pub adapters: f64,
    pub key: u32,
}

/// The places in a layer where numbers are dropped.
enum Site {
    Embedding,
    Attention(usize),
    AttentionOut(usize),
    Mlp(usize),
    /// What the adapters of one of a layer's four linear maps read.
    Adapters(usize, usize),
}

impl Dropout {
    fn at(this: Option<Self>, site: Site) -> Option<Drop> {
        let Self { rates, adapters, key } = this?;
        let (rate, number) = match site {
            Site::Embedding => (rates.embedding, 0),
            Site::Attention(layer) => (rates.attention, 3 * layer + 1),
            Site::AttentionOut(layer) => (rates.residual, 3 * layer + 2),
            Site::Mlp(layer) => (rates.residual, 3 * layer + 3),
            // Beyond any number above.
            Site::Adapters(layer, map) => (adapters, (1 << 20) + 4 * layer + map),
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
    /// Whose probabilities are learned from beside the tokens themselves.
    pub teacher: Option<&'a Teacher>,
}

/// A larger student whose probabilities for each next token are a target of their own (Hinton, Vinyals & Dean 2015).
pub struct Teacher {
    /// Frozen; its vocabulary is the student's.
    pub decoder: Decoder,
    /// What logits of both are divided by.
    pub temperature: f64,
    /// The share of the soft target in the loss, 0 to 1; the rest is the token itself.
    pub share: f64,
}

/// What layers read beside the residual stream, layer by layer.
pub(super) struct Tables {
    turns: Vec<Option<Arc<Turn>>>,
    /// Of the composed operations.
    masks: Vec<Arc<Tensor>>,
}

impl Tables {
    /// The rotary embedding of a layer.
    pub fn turn(&self, layer: usize) -> Option<&Turn> {
        self.turns[layer].as_deref()
    }
}

impl Decoder {
    /// Builds a decoder over weights under our names, as [`Architecture::parameters`] lists them.
    pub fn new(architecture: Architecture, weights: &HashMap<String, Tensor>) -> Result<Self> {
        Self::with_adapters(architecture, weights, &Adapters::default())
    }

    /// The same with adapters beside the weights, as [`super::lora`] names them.
    pub fn with_adapters(
        architecture: Architecture,
        weights: &HashMap<String, Tensor>,
        adapters: &Adapters,
    ) -> Result<Self> {
        let weights = Weights { architecture: &architecture, tensors: weights, adapters };
        let words = weights.get("words")?;
        let learned = matches!(architecture.positions, Positions::Learned { .. });
        Ok(Self {
            // On a GPU whoever knows the settings asks for kernels: that runs their check, which a person may want to avoid.
            ops: if words.device().is_cpu() {
                Ops::Fused.available(&Device::Cpu, words.dtype())
            } else {
                Ops::Composed
            },
            positions: learned.then(|| weights.get("positions")).transpose()?,
            layers: (0..architecture.layers.len()).map(|number| weights.layer(number)).collect::<Result<_>>()?,
            norm: weights.norm("norm")?,
            output: if architecture.tied { words.clone() } else { weights.get("output")? },
            output_bias: architecture.biases.output.then(|| weights.get("output.bias")).transpose()?,
            words,
            architecture,
        })
    }

    /// The same decoder with the operations in the other form.
    pub fn with_ops(mut self, ops: Ops) -> Self {
        self.ops = ops;
        self
    }

    pub fn ops(&self) -> Ops {
        self.ops
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
        let vectors = self.word_vectors(ids)?.reshape((batch, ids.len() / batch, ()))?;
        self.through_layers(self.embedded(&vectors, dropout)?, rows, dropout)
    }

    /// Like [`Decoder::hidden`], from word vectors (batch, time, width) in place of ids.
    pub fn hidden_from_vectors(&self, vectors: &Tensor, rows: Option<&[u32]>) -> Result<Tensor> {
        self.through_layers(self.embedded(vectors, None)?, rows, None)
    }

    /// What the first layer reads of word vectors (batch, time, width).
    pub(super) fn embedded(&self, vectors: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
        let mut x = self.scaled(vectors)?;
        if let (Some(positions), Positions::Learned { skipped }) = (&self.positions, &self.architecture.positions) {
            x = x.broadcast_add(&positions.narrow(0, *skipped, x.dim(1)?)?)?;
        }
        self.ops.dropped(&x, Dropout::at(dropout, Site::Embedding))
    }

    pub(super) fn scaled(&self, vectors: &Tensor) -> Result<Tensor> {
        let scale = self.architecture.word_scale;
        if scale == 1.0 { Ok(vectors.clone()) } else { vectors * scale }
    }

    pub(super) fn position_table(&self) -> Result<&Tensor> {
        self.positions.as_ref().ok_or_else(|| candle_core::Error::Msg("the decoder has no position table".into()))
    }

    /// Something made once for each different rotary embedding, and handed to the layers that use it.
    pub(super) fn per_rotary<T>(&self, make: impl Fn(&Rotary) -> Result<T>) -> Result<Vec<Option<Arc<T>>>> {
        let mut made: Vec<(&Rotary, Arc<T>)> = Vec::new();
        let each = self.architecture.layers.iter().map(|layer| {
            let Some(rotary) = &layer.rotary else { return Ok(None) };
            if let Some((_, known)) = made.iter().find(|(known, _)| *known == rotary) {
                return Ok(Some(known.clone()));
            }
            let new = Arc::new(make(rotary)?);
            made.push((rotary, new.clone()));
            Ok(Some(new))
        });
        each.collect()
    }

    /// The same for windows.
    pub(super) fn per_window<T>(&self, make: impl Fn(Option<usize>) -> Result<T>) -> Result<Vec<Arc<T>>> {
        let mut made: Vec<(Option<usize>, Arc<T>)> = Vec::new();
        let each = self.architecture.layers.iter().map(|layer| {
            if let Some((_, known)) = made.iter().find(|(known, _)| *known == layer.window) {
                return Ok(known.clone());
            }
            let new = Arc::new(make(layer.window)?);
            made.push((layer.window, new.clone()));
            Ok(new)
        });
        each.collect()
    }

    /// What all layers read of the places 0 to `time`.
    pub(super) fn tables(&self, time: usize) -> Result<Tables> {
        let (device, dtype) = (self.device(), self.dtype());
        let places: Vec<usize> = (0..time).collect();
        let turns = self.per_rotary(|rotary| Turn::new(rotary, &places, &[time], device, dtype))?;
        let masks = match self.ops {
            Ops::Fused => vec![],
            Ops::Composed => self.per_window(|window| causal_mask(time, window, device, dtype))?,
        };
        Ok(Tables { turns, masks })
    }

    pub(super) fn through_layers(
        &self,
        mut x: Tensor,
        rows: Option<&[u32]>,
        dropout: Option<Dropout>,
    ) -> Result<Tensor> {
        let tables = self.tables(x.dim(1)?)?;
        let last = self.layers.len().wrapping_sub(1);
        for number in 0..self.layers.len() {
            x = self.layer(number, x, &tables, rows.filter(|_| number == last), dropout)?;
        }
        if x.rank() == 3 {
            x = x.flatten(0, 1)?;
            if let Some(rows) = rows {
                x = self.ops.rows(&x, rows)?;
            }
        }
        self.norm.apply(self.ops, &x)
    }

    /// One layer of the residual stream x (batch, time, width). After its attention it goes on with the places `rows` alone,
    /// as (places, width), where they are given.
    pub(super) fn layer(
        &self,
        number: usize,
        mut x: Tensor,
        tables: &Tables,
        rows: Option<&[u32]>,
        dropout: Option<Dropout>,
    ) -> Result<Tensor> {
        let layer = &self.layers[number];
        let mut normed = layer.attention_norm.apply(self.ops, &x)?; // (batch, time, width)
        let adapters = Dropout::at(dropout, Site::Adapters(number, 0));
        let packed = layer.attention_in.apply(self.ops, &normed, adapters)?; // (batch, time, queries, keys and values)
        let drop = Dropout::at(dropout, Site::Attention(number));
        let heads = self.architecture.heads_of(number);
        let packed = layer.norm_heads(self.ops, packed, &heads)?;
        let (turn, mask) = (tables.turn(number), tables.masks.get(number).map(|mask| &**mask));
        let mut mixed = self.ops.attention(&packed, &heads, turn, mask, drop)?; // (batch, time, heads · head)
        if let Some(rows) = rows {
            x = self.ops.rows(&x.flatten(0, 1)?, rows)?; // (rows, width)
            mixed = self.ops.rows(&mixed.flatten(0, 1)?, rows)?;
            if self.architecture.residual == Residual::ParallelSharedNorm {
                normed = self.ops.rows(&normed.flatten(0, 1)?, rows)?;
            }
        }
        self.join(number, x, &normed, &mixed, dropout)
    }

    /// The rest of a layer: what attention mixed and the MLP join the residual stream x (…, width). `normed` is what
    /// attention has read.
    pub(super) fn join(
        &self,
        number: usize,
        x: Tensor,
        normed: &Tensor,
        mixed: &Tensor,
        dropout: Option<Dropout>,
    ) -> Result<Tensor> {
        let layer = &self.layers[number];
        let adapters = |map: usize| Dropout::at(dropout, Site::Adapters(number, map));
        let after = |norm: &Option<NormWeights>, y: Tensor| match norm {
            Some(norm) => norm.apply(self.ops, &y),
            None => Ok(y),
        };
        let attended = after(&layer.attention_after, layer.attention_out.apply(self.ops, mixed, adapters(1))?)?;
        let parallel = self.architecture.residual != Residual::Sequential;
        let middle = self.ops.add_dropped(&x, &attended, Dropout::at(dropout, Site::AttentionOut(number)))?;
        let read = if parallel { &x } else { &middle };
        let read = match &layer.mlp_norm {
            Some(norm) => norm.apply(self.ops, read)?,
            None => normed.clone(),
        };
        let inside = self.activated(&layer.mlp_in.apply(self.ops, &read, adapters(2))?)?;
        let out = after(&layer.mlp_after, layer.mlp_out.apply(self.ops, &inside, adapters(3))?)?;
        self.ops.add_dropped(&middle, &out, Dropout::at(dropout, Site::Mlp(number)))
    }

    /// What is inside the MLP, activated: (…, inner).
    fn activated(&self, inner: &Tensor) -> Result<Tensor> {
        let activation = self.architecture.activation;
        if self.architecture.gated { self.ops.gate(activation, inner) } else { self.ops.activate(activation, inner) }
    }

    /// Σ weight · cross-entropy over the supervised places.
    pub fn loss(&self, batch: &Supervised, dropout: Option<Dropout>) -> Result<CrossEntropy> {
        self.loss_of(&self.hidden(batch.ids, batch.batch, Some(batch.rows), dropout)?, batch)
    }

    /// The same from the hidden vectors of the supervised places.
    pub(super) fn loss_of(&self, hidden: &Tensor, batch: &Supervised) -> Result<CrossEntropy> {
        let Some(Teacher { decoder, temperature, share }) = batch.teacher else {
            return self.ops.linear_cross_entropy(hidden, &self.output(), batch.targets, batch.weights);
        };
        let of_teacher = decoder.hidden(batch.ids, batch.batch, Some(batch.rows), None)?;
        let soft = Soft { hidden: of_teacher, output: decoder.output(), temperature: *temperature, share: *share };
        head::cross_entropy(hidden, &self.output(), batch.targets, batch.weights, Some(&soft))
    }

    /// Logits for hidden vectors (n, width): (n, vocabulary).
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.output().logits(hidden)
    }

    pub(super) fn output(&self) -> Output<'_> {
        Output { matrix: &self.output, bias: self.output_bias.as_ref(), cap: self.architecture.logit_cap }
    }

    /// Log p(target) for hidden vectors (n, width), one target each: (n), differentiable.
    pub fn log_probability(&self, hidden: &Tensor, targets: &[u32]) -> Result<Tensor> {
        let targets = Tensor::from_slice(targets, (targets.len(), 1), self.device())?;
        candle_nn::ops::log_softmax(&self.logits(hidden)?, D::Minus1)?.gather(&targets, 1)?.squeeze(1)
    }

    /// The same weights without the record that a backward pass needs.
    pub fn frozen(&self) -> Self {
        Self {
            architecture: self.architecture.clone(),
            ops: self.ops,
            words: self.words.detach(),
            positions: self.positions.as_ref().map(Tensor::detach),
            layers: self.layers.iter().map(Layer::frozen).collect(),
            norm: self.norm.frozen(),
            output: self.output.detach(),
            output_bias: self.output_bias.as_ref().map(Tensor::detach),
        }
    }
}

/// Trainable weights with their names, in the decoder's order.
pub type Parameters = Vec<(String, Var)>;

/// Makes every weight trainable; the map holds the tensors to build a [`Decoder`] over. A weight is let go as soon as its
/// variable has a copy of it, so that a student is in memory once.
pub fn trainable(
    architecture: &Architecture,
    mut weights: HashMap<String, Tensor>,
) -> Result<(Parameters, HashMap<String, Tensor>)> {
    let mut variables = Vec::new();
    let mut tensors = HashMap::new();
    for parameter in architecture.parameters() {
        let Some(tensor) = weights.remove(&parameter.name) else {
            candle_core::bail!("the decoder has no weights `{}`", parameter.name)
        };
        let variable = Var::from_tensor(&tensor)?;
        tensors.insert(parameter.name.clone(), variable.as_tensor().clone());
        variables.push((parameter.name, variable));
    }
    Ok((variables, tensors))
}
