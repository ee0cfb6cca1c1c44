//! Causal attention by blocks of queries: the scores of a block exist, those of a whole batch never do unless they are
//! few. cuBLAS multiplies; between its products one kernel turns scores into weights, with scale, cap, mask, window,
//! softmax and dropout. The backward pass makes the weights again from one log sum for each query.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::super::attention::{Heads, Rotation};
use super::super::{Drop, product};
use super::launch::Argument::{Absent, F32, Read, U32, U64, Write};
use super::launch::{Argument, Launch, blocks, fresh, narrow, suffix};
use super::{add_into, drop_arguments, recorded};

/// Scores that exist at once: 64 MiB in `f32`.
const SCORES: usize = 1 << 24;
/// Queries of a block, if need be with fewer examples at a time: below it a product has little to share.
const FEW: usize = 64;

/// The sizes of one call.
#[derive(Clone, Copy)]
struct Sizes {
    heads: Heads,
    batch: usize,
    time: usize,
}

/// Queries `first` to `first + rows` of the examples from `example` on, which see the keys `key` to `key + count`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Block {
    example: usize,
    examples: usize,
    first: usize,
    rows: usize,
    key: usize,
    count: usize,
}

/// Queries (batch, heads, time, head), keys and values (batch, kv_heads, time, head), turned.
struct Parts {
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

impl Sizes {
    fn of(packed: &Tensor, heads: &Heads) -> Result<Self> {
        let (batch, time, columns) = packed.dims3()?;
        let Heads { heads: of_queries, kv_heads, head, .. } = *heads;
        if columns != (of_queries + 2 * kv_heads) * head || !of_queries.is_multiple_of(kv_heads.max(1)) {
            bail!(
                "attention: {columns} columns are not {of_queries} heads of queries and {kv_heads} of keys and values"
            );
        }
        Ok(Self { heads: *heads, batch, time })
    }

    /// Examples and queries that are handled together so that there are at most `limit` scores.
    fn together(&self, limit: usize) -> (usize, usize) {
        let of_query = (self.heads.heads * self.time).max(1);
        let examples = (limit / (of_query * self.time.clamp(1, FEW))).clamp(1, self.batch.max(1));
        (examples, (limit / (of_query * examples)).clamp(1, self.time.max(1)))
    }

    /// The blocks, those of the same examples one after the other.
    fn blocks(&self, limit: usize) -> Vec<Block> {
        let (examples, rows) = self.together(limit);
        let of_example = |example: usize| {
            (0..self.time).step_by(rows).map(move |first| {
                let rows = rows.min(self.time - first);
                let key = (first + 1).saturating_sub(self.heads.window.unwrap_or(usize::MAX));
                let examples = examples.min(self.batch - example);
                Block { example, examples, first, rows, key, count: first + rows - key }
            })
        };
        (0..self.batch).step_by(examples).flat_map(of_example).collect()
    }

    /// What the kernels that work on scores are told of a block.
    fn arguments(&self, block: &Block, drop: Option<Drop>) -> Result<Vec<Argument<'static>>> {
        let (key, threshold, keep) = drop_arguments(drop);
        let numbers = [
            block.count,
            block.rows,
            block.first,
            block.example * self.heads.heads,
            block.key,
            self.time,
            self.heads.window.unwrap_or(usize::MAX).min(self.time.max(1)),
        ];
        let mut arguments = numbers.into_iter().map(|number| narrow(number).map(U32)).collect::<Result<Vec<_>>>()?;
        let cap = self.heads.cap.unwrap_or(0.0);
        arguments.extend([F32(self.heads.scale as f32), F32(cap as f32), key, threshold, keep]);
        Ok(arguments)
    }

    /// The part of a block in queries, or in what has their shape: (examples · kv_heads, group · rows, head).
    fn of_queries(&self, block: &Block, x: &Tensor) -> Result<Tensor> {
        let Heads { heads, kv_heads, head, .. } = self.heads;
        let part = x.narrow(0, block.example, block.examples)?.narrow(2, block.first, block.rows)?;
        part.contiguous()?.reshape((block.examples * kv_heads, heads / kv_heads * block.rows, head))
    }

    /// The keys or values that a block sees: (examples · kv_heads, count, head).
    fn of_keys(&self, block: &Block, x: &Tensor) -> Result<Tensor> {
        x.narrow(0, block.example, block.examples)?.flatten(0, 1)?.narrow(1, block.key, block.count)
    }

    /// Blocks (examples · kv_heads, group · rows, head) joined: (batch, heads, time, head).
    fn joined(&self, blocks: &[Block], pieces: Vec<Tensor>) -> Result<Tensor> {
        let mut examples: Vec<Tensor> = Vec::new();
        let mut queries: Vec<Tensor> = Vec::new();
        for (block, piece) in blocks.iter().zip(pieces) {
            queries.push(piece.reshape((block.examples, self.heads.heads, block.rows, self.heads.head))?);
            if block.first + block.rows == self.time {
                examples.push(cat(std::mem::take(&mut queries), 2)?);
            }
        }
        cat(examples, 0)
    }

    fn split(&self, packed: &Tensor, tables: Option<&(Tensor, Tensor)>) -> Result<Parts> {
        let Heads { heads, kv_heads, head, .. } = self.heads;
        let (dtype, device) = (packed.dtype(), packed.device());
        let part = |heads: usize| fresh((self.batch, heads, self.time, head), dtype, device);
        let parts = Parts { q: part(heads)?, k: part(kv_heads)?, v: part(kv_heads)? };
        let [cosines, sines, half] = turned(tables)?;
        let n = packed.elem_count();
        let mut arguments = vec![Read(packed), cosines, sines, Write(&parts.q), Write(&parts.k), Write(&parts.v)];
        arguments.extend(self.shape(n)?);
        arguments.push(half);
        Launch::over(format!("split_heads_{}", suffix(dtype)?), n, arguments)?.run(device)?;
        Ok(parts)
    }

    /// The gradients of the three parts as that of the packed projection.
    fn join(&self, d: &Parts, tables: Option<&(Tensor, Tensor)>) -> Result<Tensor> {
        let Heads { heads, kv_heads, head, .. } = self.heads;
        let (dtype, device) = (d.q.dtype(), d.q.device());
        let packed = fresh((self.batch, self.time, (heads + 2 * kv_heads) * head), dtype, device)?;
        let [cosines, sines, half] = turned(tables)?;
        let n = packed.elem_count();
        let mut arguments = vec![Read(&d.q), Read(&d.k), Read(&d.v), cosines, sines, Write(&packed)];
        arguments.extend(self.shape(n)?);
        arguments.push(half);
        Launch::over(format!("join_heads_{}", suffix(dtype)?), n, arguments)?.run(device)?;
        Ok(packed)
    }

    fn shape(&self, n: usize) -> Result<[Argument<'static>; 5]> {
        let Heads { heads, kv_heads, head, .. } = self.heads;
        Ok([U64(n as u64), U32(narrow(self.time)?), U32(narrow(heads)?), U32(narrow(kv_heads)?), U32(narrow(head)?)])
    }
}

/// Cosines, sines and half of what is turned of a head, as kernels take them.
fn turned(tables: Option<&(Tensor, Tensor)>) -> Result<[Argument<'_>; 3]> {
    Ok(match tables {
        Some((cosines, sines)) => [Read(cosines), Read(sines), U32(narrow(cosines.dim(1)?)?)],
        None => [Absent, Absent, U32(0)],
    })
}

/// One of several tensors; of one, itself.
fn cat(mut pieces: Vec<Tensor>, dimension: usize) -> Result<Tensor> {
    if pieces.len() == 1 { Ok(pieces.remove(0)) } else { Tensor::cat(&pieces, dimension)?.contiguous() }
}

/// Causal attention: the packed projection (batch, time, columns) to (batch, time, heads · head).
pub fn attention(packed: &Tensor, heads: &Heads, rotation: Option<&Rotation>, drop: Option<Drop>) -> Result<Tensor> {
    within(SCORES, packed, heads, rotation, drop)
}

/// The same with at most `limit` scores at once.
pub(super) fn within(
    limit: usize,
    packed: &Tensor,
    heads: &Heads,
    rotation: Option<&Rotation>,
    drop: Option<Drop>,
) -> Result<Tensor> {
    let packed = packed.contiguous()?;
    let sizes = Sizes::of(&packed, heads)?;
    let tables = rotation.map(|rotation| rotation.tables(packed.device())).transpose()?;
    let (mixed, log_sums) = forward(limit, sizes, &packed.detach(), tables.as_ref(), drop)?;
    recorded("causal-attention", &[&packed], mixed, move |given, y, dy| {
        backward(limit, sizes, given[0], tables.as_ref(), drop, &log_sums, y, dy).map(|dx| vec![Some(dx)])
    })
}

fn forward(
    limit: usize,
    sizes: Sizes,
    packed: &Tensor,
    tables: Option<&(Tensor, Tensor)>,
    drop: Option<Drop>,
) -> Result<(Tensor, Tensor)> {
    let Sizes { heads, batch, time } = sizes;
    let (device, name) = (packed.device(), suffix(packed.dtype())?);
    let parts = sizes.split(packed, tables)?;
    let log_sums = fresh(batch * heads.heads * time, DType::F32, device)?;
    let all = sizes.blocks(limit);
    let mut mixed = Vec::with_capacity(all.len());
    for block in &all {
        let weights = scores(&sizes, block, &parts.q, &parts.k)?;
        let mut arguments = vec![Write(&weights), Write(&log_sums)];
        arguments.extend(sizes.arguments(block, drop)?);
        let grid = (narrow(weights.dim(0)? * weights.dim(1)?)?, 1);
        Launch::new(format!("attention_weights_{name}"), grid, arguments).run(device)?;
        mixed.push(product(&weights, &sizes.of_keys(block, &parts.v)?)?);
    }
    let mixed = sizes.joined(&all, mixed)?;
    let mixed = mixed.transpose(1, 2)?.contiguous()?.reshape((batch, time, heads.heads * heads.head))?;
    Ok((mixed, log_sums))
}

/// q kᵀ of a block: (examples · kv_heads, group · rows, count). Also of other things of these shapes.
fn scores(sizes: &Sizes, block: &Block, q: &Tensor, k: &Tensor) -> Result<Tensor> {
    product(&sizes.of_queries(block, q)?, &sizes.of_keys(block, k)?.t()?)
}

#[allow(clippy::too_many_arguments)]
fn backward(
    limit: usize,
    sizes: Sizes,
    packed: &Tensor,
    tables: Option<&(Tensor, Tensor)>,
    drop: Option<Drop>,
    log_sums: &Tensor,
    y: &Tensor,
    dy: &Tensor,
) -> Result<Tensor> {
    let Sizes { heads, batch, time } = sizes;
    let (device, dtype, dy) = (packed.device(), packed.dtype(), dy.contiguous()?);
    let name = suffix(dtype)?;
    let Parts { q, k, v } = sizes.split(&packed.detach(), tables)?;
    let along = fresh(batch * heads.heads * time, DType::F32, device)?;
    let n = batch * time * heads.heads;
    let y = y.detach();
    let arguments = vec![
        Read(&y),
        Read(&dy),
        Write(&along),
        U64(n as u64),
        U32(narrow(time)?),
        U32(narrow(heads.heads)?),
        U32(narrow(heads.head)?),
    ];
    Launch::over(format!("head_dots_{name}"), n, arguments)?.run(device)?;
    let dmixed = dy.reshape((batch, time, heads.heads, heads.head))?.transpose(1, 2)?.contiguous()?;
    let all = sizes.blocks(limit);
    let mut sums = Sums::new(&sizes, all.len() == 1, device)?;
    let mut dq = Vec::with_capacity(all.len());
    for block in &all {
        let (weights, dscores) = (scores(&sizes, block, &q, &k)?, scores(&sizes, block, &dmixed, &v)?);
        let mut arguments = vec![Write(&weights), Write(&dscores), Read(log_sums), Read(&along)];
        arguments.extend(sizes.arguments(block, drop)?);
        let grid = (narrow(weights.dim(0)? * weights.dim(1)?)?, blocks(block.count)?);
        Launch::new(format!("attention_backward_{name}"), grid, arguments).run(device)?;
        let dk = product(&dscores.transpose(1, 2)?, &sizes.of_queries(block, &q)?)?;
        let dv = product(&weights.transpose(1, 2)?, &sizes.of_queries(block, &dmixed)?)?;
        dq.push(product(&dscores, &sizes.of_keys(block, &k)?)?);
        sums.add(&sizes, block, dk, dv)?;
    }
    let (dk, dv) = sums.found(dtype)?;
    sizes.join(&Parts { q: sizes.joined(&all, dq)?, k: dk, v: dv }, tables)
}

/// Gradients of keys and values, to which each block adds: in `f32`, unless there is but one block.
enum Sums {
    One(Option<(Tensor, Tensor)>),
    /// (batch · kv_heads, time, head).
    Many(Tensor, Tensor),
}

impl Sums {
    fn new(sizes: &Sizes, is_one: bool, device: &Device) -> Result<Self> {
        if is_one {
            return Ok(Self::One(None));
        }
        let shape = (sizes.batch * sizes.heads.kv_heads, sizes.time, sizes.heads.head);
        Ok(Self::Many(Tensor::zeros(shape, DType::F32, device)?, Tensor::zeros(shape, DType::F32, device)?))
    }

    fn add(&mut self, sizes: &Sizes, block: &Block, dk: Tensor, dv: Tensor) -> Result<()> {
        match self {
            Self::One(found) => *found = Some((dk, dv)),
            Self::Many(of_keys, of_values) => {
                let kv_heads = sizes.heads.kv_heads;
                for (sum, piece) in [(of_keys, dk), (of_values, dv)] {
                    let sum = sum.narrow(0, block.example * kv_heads, block.examples * kv_heads)?;
                    add_into(&sum, &piece, block.key)?;
                }
            }
        }
        Ok(())
    }

    fn found(self, dtype: DType) -> Result<(Tensor, Tensor)> {
        match self {
            Self::One(Some((dk, dv))) => Ok((dk.contiguous()?, dv.contiguous()?)),
            Self::One(None) => bail!("attention over nothing"),
            Self::Many(dk, dv) => Ok((dk.to_dtype(dtype)?, dv.to_dtype(dtype)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_what_they_may_and_cover_every_query() {
        let heads = Heads { heads: 4, kv_heads: 2, head: 8, scale: 1.0, cap: None, window: Some(100) };
        for (batch, time, limit) in [(1, 1, 1), (3, 500, 1 << 14), (8, 1024, 1 << 24), (5, 70, 1 << 12), (2, 3000, 9)] {
            let sizes = Sizes { heads, batch, time };
            let blocks = sizes.blocks(limit);
            let mut covered = vec![0; batch * time];
            for block in &blocks {
                let scores = block.examples * heads.heads * block.rows * block.count;
                assert!(scores <= limit || (block.examples, block.rows) == (1, 1), "{block:?}");
                assert!(block.key + block.count == block.first + block.rows);
                assert!(block.key + 100 > block.first && (block.key == 0 || block.key + 99 == block.first));
                for example in block.example..block.example + block.examples {
                    (block.first..block.first + block.rows).for_each(|query| covered[example * time + query] += 1);
                }
            }
            assert!(covered.iter().all(|times| *times == 1));
        }
    }
}
