//! The weights of a decoder's parts, and how they are built from the weights' names.

use std::collections::HashMap;

use candle_core::{D, Result, Tensor};

use super::architecture::{Architecture, Norm, NormKind, Residual};
use super::lora::{self, Adapters, Lora, Place};
use super::ops::{Drop, Heads, Ops, widened};

/// A linear map.
#[derive(Clone)]
pub struct Linear {
    /// (inputs, outputs).
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    /// Low-rank maps that are added to a part of the outputs.
    adapters: Vec<Adapter>,
}

/// scale · x a b, for the outputs from `from` on. Where lengths are learned, those outputs are then given them.
#[derive(Clone)]
struct Adapter {
    /// (inputs, rank).
    a: Tensor,
    /// (rank, outputs).
    b: Tensor,
    /// (outputs).
    length: Option<Tensor>,
    scale: f64,
    from: usize,
}

/// A norm's weights.
#[derive(Clone)]
pub struct NormWeights {
    weight: Tensor,
    bias: Option<Tensor>,
    norm: Norm,
}

/// One layer.
#[derive(Clone)]
pub struct Layer {
    pub attention_norm: NormWeights,
    pub attention_in: Linear,
    /// Of each head's queries, and of its keys.
    pub head_norms: Option<(NormWeights, NormWeights)>,
    pub attention_out: Linear,
    pub attention_after: Option<NormWeights>,
    /// None where the MLP reads what attention reads.
    pub mlp_norm: Option<NormWeights>,
    pub mlp_in: Linear,
    pub mlp_out: Linear,
    pub mlp_after: Option<NormWeights>,
}

impl Linear {
    /// x (…, inputs) to (…, outputs). `drop` is for what adapters read.
    pub fn apply(&self, ops: Ops, x: &Tensor, drop: Option<Drop>) -> Result<Tensor> {
        let y = ops.linear(x, &self.weight, self.bias.as_ref())?;
        if self.adapters.is_empty() {
            return Ok(y);
        }
        let read = ops.dropped(x, drop)?;
        let outputs = self.weight.dim(1)?;
        let mut shape = y.dims().to_vec();
        let zeros = |shape: &mut Vec<usize>, columns: usize| {
            if let Some(last) = shape.last_mut() {
                *last = columns;
            }
            Tensor::zeros(shape.as_slice(), y.dtype(), y.device())
        };
        let mut pieces = Vec::new();
        let mut from = 0;
        for adapter in &self.adapters {
            if adapter.from > from {
                pieces.push(zeros(&mut shape, adapter.from - from)?);
            }
            let low = ops.linear(&read, &adapter.a, None)?;
            // The small matrix is scaled, not what it makes of a batch.
            let added = ops.linear(&low, &(&adapter.b * adapter.scale)?, None)?;
            pieces.push(match &adapter.length {
                Some(length) => {
                    let own = self.own(ops, adapter.from, length.dim(0)?, &y, drop.map(|_| &read))?;
                    // As published, no gradient goes through what is divided by.
                    let weight = self.weight.narrow(1, adapter.from, length.dim(0)?)?;
                    let factors = (length / lora::lengths(&weight, &adapter.a, &adapter.b, adapter.scale)?)?;
                    (own.broadcast_mul(&(&factors - 1.0)?)? + added.broadcast_mul(&factors)?)?
                }
                None => added,
            });
            from = adapter.from + adapter.b.dim(1)?;
        }
        if from < outputs {
            pieces.push(zeros(&mut shape, outputs - from)?);
        }
        y + if pieces.len() == 1 { pieces.remove(0) } else { Tensor::cat(&pieces, D::Minus1)? }
    }

    /// Some of the map's outputs without their bias: of what was `dropped`, or those of `y`.
    fn own(&self, ops: Ops, from: usize, outputs: usize, y: &Tensor, dropped: Option<&Tensor>) -> Result<Tensor> {
        if let Some(read) = dropped {
            return ops.linear(read, &self.weight.narrow(1, from, outputs)?.contiguous()?, None);
        }
        let own = y.narrow(D::Minus1, from, outputs)?;
        match &self.bias {
            Some(bias) => own.broadcast_sub(&bias.narrow(0, from, outputs)?),
            None => Ok(own),
        }
    }

    fn frozen(&self) -> Self {
        let adapter = |adapter: &Adapter| Adapter {
            a: adapter.a.detach(),
            b: adapter.b.detach(),
            length: adapter.length.as_ref().map(Tensor::detach),
            ..*adapter
        };
        Self {
            weight: self.weight.detach(),
            bias: self.bias.as_ref().map(Tensor::detach),
            adapters: self.adapters.iter().map(adapter).collect(),
        }
    }
}

impl Layer {
    /// The packed projection (batch, time, columns) with each head of queries and of keys normed, where that is done.
    pub fn norm_heads(&self, ops: Ops, packed: Tensor, heads: &Heads) -> Result<Tensor> {
        let Some((queries, keys)) = &self.head_norms else { return Ok(packed) };
        let (batch, time, columns) = packed.dims3()?;
        let part = |from: usize, heads_of: usize, norm: &NormWeights| {
            let part = packed.narrow(D::Minus1, from * heads.head, heads_of * heads.head)?;
            let by_head = part.reshape((batch, time, heads_of, heads.head))?;
            norm.apply(ops, &by_head)?.reshape((batch, time, heads_of * heads.head))
        };
        let normed = heads.heads + heads.kv_heads;
        let values = packed.narrow(D::Minus1, normed * heads.head, columns - normed * heads.head)?;
        let parts = [part(0, heads.heads, queries)?, part(heads.heads, heads.kv_heads, keys)?, values];
        Tensor::cat(&parts, D::Minus1)
    }
}

impl NormWeights {
    /// Over the last dimension of x.
    pub fn apply(&self, ops: Ops, x: &Tensor) -> Result<Tensor> {
        match (&self.bias, self.norm.kind) {
            (Some(bias), _) => ops.layer_norm(x, &self.weight, bias, self.norm.epsilon),
            // One and a little is not the little in `bf16`.
            (None, NormKind::RmsOffset) => ops.rms_norm(x, &(widened(&self.weight)? + 1.0)?, self.norm.epsilon),
            (None, _) => ops.rms_norm(x, &self.weight, self.norm.epsilon),
        }
    }

    pub fn frozen(&self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.as_ref().map(Tensor::detach), norm: self.norm }
    }
}

impl Layer {
    /// The same weights without the record that a backward pass needs.
    pub fn frozen(&self) -> Self {
        let norm = |norm: &Option<NormWeights>| norm.as_ref().map(NormWeights::frozen);
        Self {
            attention_norm: self.attention_norm.frozen(),
            attention_in: self.attention_in.frozen(),
            head_norms: self.head_norms.as_ref().map(|(queries, keys)| (queries.frozen(), keys.frozen())),
            attention_out: self.attention_out.frozen(),
            attention_after: norm(&self.attention_after),
            mlp_norm: norm(&self.mlp_norm),
            mlp_in: self.mlp_in.frozen(),
            mlp_out: self.mlp_out.frozen(),
            mlp_after: norm(&self.mlp_after),
        }
    }
}

/// Weights by our names.
pub struct Weights<'a> {
    pub architecture: &'a Architecture,
    pub tensors: &'a HashMap<String, Tensor>,
    pub adapters: &'a Adapters<'a>,
}

impl Weights<'_> {
    pub fn get(&self, name: &str) -> Result<Tensor> {
        match self.tensors.get(name) {
            Some(tensor) => Ok(tensor.clone()),
            None => candle_core::bail!("the decoder has no weights `{name}`"),
        }
    }

    fn linear(&self, name: &str, bias: bool) -> Result<Linear> {
        let bias = bias.then(|| self.get(&format!("{name}.bias"))).transpose()?;
        let weight = self.get(&format!("{name}.weight"))?;
        let settings = self.adapters.settings;
        let own = self.adapters.places.iter().filter(|place| place.map == name);
        let adapter = |place: &Place| {
            let [a, b] = place.names().map(|name| self.get(&name));
            let length = settings.is_some_and(|lora| lora.dora).then(|| self.get(&place.length_name())).transpose()?;
            let scale = settings.map_or(1.0, Lora::scale);
            Ok(Adapter { a: a?, b: b?, length, scale, from: place.from })
        };
        let adapters = own.map(adapter).collect::<Result<_>>()?;
        Ok(Linear { weight, bias, adapters })
    }

    pub fn norm(&self, name: &str) -> Result<NormWeights> {
        let norm = self.architecture.norm;
        let bias = (norm.kind == NormKind::Layer).then(|| self.get(&format!("{name}.bias"))).transpose()?;
        Ok(NormWeights { weight: self.get(&format!("{name}.weight"))?, bias, norm })
    }

    pub fn layer(&self, number: usize) -> Result<Layer> {
        let Architecture { biases, head_norms, after_norms, residual, .. } = self.architecture;
        let name = |part: &str| format!("layers.{number}.{part}");
        let norm = |wanted: bool, part: &str| wanted.then(|| self.norm(&name(part))).transpose();
        let queries = norm(*head_norms, "attention.queries")?;
        let keys = norm(*head_norms, "attention.keys")?;
        Ok(Layer {
            attention_norm: self.norm(&name("attention.norm"))?,
            attention_in: self.linear(&name("attention.in"), biases.attention_in)?,
            head_norms: queries.zip(keys),
            attention_out: self.linear(&name("attention.out"), biases.attention_out)?,
            attention_after: norm(*after_norms, "attention.after")?,
            mlp_norm: norm(*residual != Residual::ParallelSharedNorm, "mlp.norm")?,
            mlp_in: self.linear(&name("mlp.in"), biases.mlp)?,
            mlp_out: self.linear(&name("mlp.out"), biases.mlp)?,
            mlp_after: norm(*after_norms, "mlp.after")?,
        })
    }
}
