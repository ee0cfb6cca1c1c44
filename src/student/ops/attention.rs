//! Causal attention on the packed projection, forward and backward.
//!
//! The input is (batch, time, columns): queries, keys and values side by side, each split into heads; several heads of
//! queries may share one of keys and values. The weights of attention are never kept: the forward pass keeps one log
//! sum per query and the backward pass computes them again (Dao et al. 2022, without the tiling over keys: one head's
//! row of scores fits in the cache here).

use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock};

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::fused::{slice_of, with_slice};
use super::kernels;
use super::small_matmul::{View, matmul};

/// Queries handled together: enough to fill the registers, few enough to waste little above the diagonal.
const QUERIES: usize = 12;

/// What families vary in attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// Of queries.
    pub heads: usize,
    /// Of keys and values.
    pub kv_heads: usize,
    /// Numbers in a head.
    pub head: usize,
    /// What scores are multiplied by.
    pub scale: f64,
    /// Scores are bent to stay below this.
    pub cap: Option<f64>,
    /// The last tokens that a query sees, itself included.
    pub window: Option<usize>,
}

/// A rotary embedding over the places of a sequence.
pub struct Rotation {
    /// Numbers of each head that are turned, the first half of them against the second.
    pub turned: usize,
    /// (time, turned / 2).
    pub cosines: Vec<f32>,
    pub sines: Vec<f32>,
    /// The same on a GPU, once a kernel has asked for them.
    pub on_device: OnceLock<(Tensor, Tensor)>,
}

/// The fused operation. `dropout` is the probability with which a weight is dropped and the key of its mask.
pub struct Attention {
    pub heads: Heads,
    /// Turns queries and keys first.
    pub rotation: Option<Arc<Rotation>>,
    pub dropout: Option<(f32, u32)>,
    pub log_sums: Mutex<Vec<f32>>,
}

/// The sizes of what one task computes: some heads of one example, or all of them.
#[derive(Clone, Copy)]
struct Sizes {
    time: usize,
    /// Columns of the input.
    packed: usize,
    /// Columns of the output.
    width: usize,
    heads: usize,
    /// Heads of queries that share one of keys and values.
    group: usize,
    kv_heads: usize,
    /// Width of a head.
    head: usize,
    scale: f32,
    cap: Option<f32>,
    window: usize,
}

/// The parts of the input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Queries,
    Keys,
    Values,
}

impl Sizes {
    fn of(heads: &Heads, time: usize, packed: usize) -> Result<Self> {
        let Heads { heads, kv_heads, head, scale, cap, window } = *heads;
        if packed != (heads + 2 * kv_heads) * head || !heads.is_multiple_of(kv_heads.max(1)) {
            bail!("attention: {packed} columns are not {heads} heads of queries and {kv_heads} of keys and values");
        }
        let window = window.unwrap_or(usize::MAX);
        let (scale, cap) = (scale as f32, cap.map(|cap| cap as f32));
        Ok(Self {
            time,
            packed,
            width: heads * head,
            heads,
            group: heads / kv_heads,
            kv_heads,
            head,
            scale,
            cap,
            window,
        })
    }

    /// The same for a part of the heads of keys and values, and the heads of queries that share them. Examples are shared out
    /// first; only where threads are left over are their heads, whose columns must be copied together. No result depends on it.
    fn part(self, batch: usize) -> Self {
        let wanted = rayon::current_num_threads().div_ceil(batch.max(1));
        let parts = (1..=self.kv_heads).find(|parts| self.kv_heads.is_multiple_of(*parts) && *parts >= wanted);
        let kv_heads = self.kv_heads / parts.unwrap_or(self.kv_heads);
        let heads = kv_heads * self.group;
        let (width, packed) = (heads * self.head, (heads + 2 * kv_heads) * self.head);
        Self { width, packed, heads, kv_heads, ..self }
    }

    /// Queries, keys and values of part `place`: the columns of an example's row where each begins, and how many there are.
    fn columns(&self, part: Self, place: usize) -> [(usize, usize); 3] {
        let kv_width = part.kv_heads * self.head;
        let keys = self.width + place * kv_width;
        [(place * part.width, part.width), (keys, kv_width), (keys + self.kv_heads * self.head, kv_width)]
    }

    /// Where the numbers of one head of queries, or of the keys or values that it shares, begin in a row.
    fn column(&self, part: Part, head: usize) -> usize {
        let place = match part {
            Part::Queries => head,
            Part::Keys => self.heads + head / self.group,
            Part::Values => self.heads + self.kv_heads + head / self.group,
        };
        place * self.head
    }

    /// Rows of one head within the packed rows of one example, from row `first` on.
    fn view<'a>(&self, example: &'a [f32], part: Part, head: usize, first: usize) -> View<'a> {
        View { data: &example[first * self.packed + self.column(part, head)..], rows: self.packed, columns: 1 }
    }

    /// A head's keys or values with rows as columns: (head width, time).
    fn transposed(&self, example: &[f32], part: Part, head: usize, out: &mut [f32]) {
        let from = self.view(example, part, head, 0);
        for time in 0..self.time {
            for (place, value) in from.data[time * from.rows..][..self.head].iter().enumerate() {
                out[place * self.time + time] = *value;
            }
        }
    }

    /// The keys that a query sees.
    fn seen(&self, query: usize) -> std::ops::Range<usize> {
        (query + 1).saturating_sub(self.window)..query + 1
    }
}

impl Rotation {
    /// Cosines and sines as tensors (time, turned / 2), which all layers share.
    pub fn tables(&self, device: &Device) -> Result<(Tensor, Tensor)> {
        if let Some(tables) = self.on_device.get() {
            return Ok(tables.clone());
        }
        let half = (self.turned / 2).max(1);
        let table = |values: &[f32]| Tensor::from_slice(values, (values.len() / half, half), device);
        let tables = (table(&self.cosines)?, table(&self.sines)?);
        Ok(self.on_device.get_or_init(|| tables).clone())
    }

    /// Turns the queries and keys of one example's rows, or turns their gradients back.
    fn turn(&self, rows: &mut [f32], sizes: Sizes, back: bool) {
        let half = self.turned / 2;
        let turned_heads = (sizes.heads + sizes.kv_heads) * sizes.head;
        let tables = self.cosines.chunks_exact(half).zip(self.sines.chunks_exact(half));
        for (row, (cosines, sines)) in rows.chunks_exact_mut(sizes.packed).zip(tables) {
            for head in row[..turned_heads].chunks_exact_mut(sizes.head) {
                let (first, second) = head[..self.turned].split_at_mut(half);
                kernels::turn(first, second, cosines, sines, if back { -1.0 } else { 1.0 });
            }
        }
    }
}

impl Attention {
    /// One example's rows as scores are made of them.
    fn turned<'a>(&self, x: &'a [f32], sizes: Sizes) -> Cow<'a, [f32]> {
        let Some(rotation) = &self.rotation else { return Cow::Borrowed(x) };
        let mut rows = x.to_vec();
        rotation.turn(&mut rows, sizes, false);
        Cow::Owned(rows)
    }

    /// Multiplies a row of weights by its dropout mask, of which `first` is the row's first key.
    /// `head` counts the heads of all examples.
    fn drop_row(&self, weights: &mut [f32], (head, query): (usize, usize), first: usize, sizes: Sizes) {
        if let Some((probability, key)) = self.dropout {
            let row = head * sizes.time + query;
            kernels::dropout(weights, (row * sizes.time + first) as u32, key, probability);
        }
    }

    /// Context vectors of a task, whose first head is the one numbered `first_head` of all; fills `log_sums` (heads, time).
    fn forward(&self, first_head: usize, x: &[f32], y: &mut [f32], log_sums: &mut [f32], sizes: Sizes) {
        let Sizes { time, width, head: d, .. } = sizes;
        let x = &*self.turned(x, sizes);
        let mut keys = vec![0f32; d * time];
        let mut weights = vec![0f32; QUERIES * time];
        for head in 0..sizes.heads {
            if head % sizes.group == 0 {
                sizes.transposed(x, Part::Keys, head, &mut keys);
            }
            for first in (0..time).step_by(QUERIES) {
                let rows = QUERIES.min(time - first);
                // The keys that any of these queries sees.
                let (from, until) = (sizes.seen(first).start, first + rows);
                let count = until - from;
                let keys = View { data: &keys[from..], rows: time, columns: 1 };
                let queries = sizes.view(x, Part::Queries, head, first);
                matmul(rows, count, d, queries, keys, &mut weights, time, false);
                for row in 0..rows {
                    let query = first + row;
                    let seen = sizes.seen(query);
                    let line = &mut weights[row * time..][..count];
                    let past = &mut line[seen.start - from..seen.end - from];
                    log_sums[head * time + query] = match sizes.cap {
                        None => kernels::softmax(past, sizes.scale),
                        Some(cap) => {
                            kernels::bend(past, sizes.scale, cap);
                            kernels::softmax(past, 1.0)
                        }
                    };
                    self.drop_row(past, (first_head + head, query), seen.start, sizes);
                    line[..seen.start - from].fill(0.0);
                    line[seen.end - from..].fill(0.0);
                }
                let weights = View { data: &weights, rows: time, columns: 1 };
                let out = &mut y[first * width + head * d..];
                matmul(rows, d, count, weights, sizes.view(x, Part::Values, head, from), out, width, false);
            }
        }
    }

    /// Gradients of a task's packed rows, from its context vectors and their gradient.
    #[allow(clippy::too_many_arguments)]
    fn backward(
        &self,
        first_head: usize,
        x: &[f32],
        y: &[f32],
        dy: &[f32],
        log_sums: &[f32],
        dx: &mut [f32],
        sizes: Sizes,
    ) {
        let Sizes { time, width, packed, head: d, .. } = sizes;
        let x = &*self.turned(x, sizes);
        let (mut keys, mut values) = (vec![0f32; d * time], vec![0f32; d * time]);
        let (mut p, mut ds) = (vec![0f32; QUERIES * time], vec![0f32; QUERIES * time]);
        let mut dropped = vec![0f32; if self.dropout.is_some() { QUERIES * time } else { 0 }];
        let mut bent = vec![0f32; if sizes.cap.is_some() { time } else { 0 }];
        for head in 0..sizes.heads {
            if head % sizes.group == 0 {
                sizes.transposed(x, Part::Keys, head, &mut keys);
                sizes.transposed(x, Part::Values, head, &mut values);
            }
            let [dq_at, dk_at, dv_at] = [Part::Queries, Part::Keys, Part::Values].map(|part| sizes.column(part, head));
            for first in (0..time).step_by(QUERIES) {
                let rows = QUERIES.min(time - first);
                let (from, until) = (sizes.seen(first).start, first + rows);
                let count = until - from;
                // The weights again, and the gradient that reaches them.
                let by_depth = |data| View { data, rows: time, columns: 1 };
                let queries = sizes.view(x, Part::Queries, head, first);
                let dcontext = View { data: &dy[first * width + head * d..], rows: width, columns: 1 };
                matmul(rows, count, d, queries, by_depth(&keys[from..]), &mut p, time, false);
                matmul(rows, count, d, dcontext, by_depth(&values[from..]), &mut ds, time, false);
                for row in 0..rows {
                    let query = first + row;
                    let seen = sizes.seen(query);
                    let (start, end) = (seen.start - from, seen.end - from);
                    let (line, dline) = (&mut p[row * time..][..count], &mut ds[row * time..][..count]);
                    for outside in [0..start, end..count] {
                        line[outside.clone()].fill(0.0);
                        dline[outside].fill(0.0);
                    }
                    let (past, dpast) = (&mut line[start..end], &mut dline[start..end]);
                    let log_sum = log_sums[head * time + query];
                    match sizes.cap {
                        None => kernels::softmax_again(past, sizes.scale, log_sum),
                        Some(cap) => {
                            kernels::bend(past, sizes.scale, cap);
                            bent[..past.len()].copy_from_slice(past);
                            kernels::softmax_again(past, 1.0, log_sum);
                        }
                    }
                    if self.dropout.is_some() {
                        let kept = &mut dropped[row * time..][..count];
                        kept.fill(0.0);
                        kept[start..end].copy_from_slice(past);
                        self.drop_row(&mut kept[start..end], (first_head + head, query), seen.start, sizes);
                        self.drop_row(dpast, (first_head + head, query), seen.start, sizes);
                    }
                    let at = query * width + head * d;
                    let along = kernels::dot(&y[at..at + d], &dy[at..at + d]);
                    match sizes.cap {
                        None => kernels::softmax_backward(past, dpast, along, sizes.scale),
                        Some(cap) => {
                            kernels::softmax_backward(past, dpast, along, 1.0);
                            kernels::bend_backward(&bent[..dpast.len()], dpast, sizes.scale, cap);
                        }
                    }
                }
                // dV += Pᵀ dO, dQ = dS K, dK += dSᵀ Q, all with only the keys that these queries see.
                let used = if self.dropout.is_some() { &dropped } else { &p };
                let by_key = |data| View { data, rows: 1, columns: time };
                matmul(count, d, rows, by_key(used), dcontext, &mut dx[from * packed + dv_at..], packed, true);
                matmul(count, d, rows, by_key(&ds), queries, &mut dx[from * packed + dk_at..], packed, true);
                let keys = sizes.view(x, Part::Keys, head, from);
                matmul(rows, d, count, by_depth(&ds), keys, &mut dx[first * packed + dq_at..], packed, false);
            }
        }
        if let Some(rotation) = &self.rotation {
            rotation.turn(dx, sizes, true);
        }
    }
}

/// Some columns of rows `width` wide, side by side.
fn gathered(rows: &[f32], width: usize, columns: &[(usize, usize)]) -> Vec<f32> {
    let rows = rows.chunks_exact(width);
    rows.flat_map(|row| columns.iter().flat_map(|(from, count)| &row[*from..][..*count])).copied().collect()
}

/// Writes what [`gathered`] took to where it was.
fn scatter(from: &[f32], rows: &mut [f32], width: usize, columns: &[(usize, usize)]) {
    let count: usize = columns.iter().map(|(_, count)| count).sum();
    for (mut from, row) in from.chunks_exact(count).zip(rows.chunks_exact_mut(width)) {
        for (at, count) in columns {
            let (own, rest) = from.split_at(*count);
            row[*at..][..*count].copy_from_slice(own);
            from = rest;
        }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "causal-attention"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice_of(storage, layout)?;
        let (batch, time, packed) = layout.shape().dims3()?;
        let sizes = Sizes::of(&self.heads, time, packed)?;
        let part = sizes.part(batch);
        let mut y = vec![0f32; batch * time * sizes.width];
        let mut log_sums = vec![0f32; batch * sizes.heads * time];
        let examples = x.par_chunks(time * packed).zip(y.par_chunks_mut(time * sizes.width)).enumerate();
        examples.zip(log_sums.par_chunks_mut(sizes.heads * time)).for_each(|((example, (x, y)), log_sums)| {
            let first_head = example * sizes.heads;
            if part.heads == sizes.heads {
                return self.forward(first_head, x, y, log_sums, sizes);
            }
            let forward = |(place, log_sums): (usize, &mut [f32])| {
                let x = gathered(x, packed, &sizes.columns(part, place));
                let mut y = vec![0f32; time * part.width];
                self.forward(first_head + place * part.heads, &x, &mut y, log_sums, part);
                y
            };
            let parts: Vec<_> = log_sums.par_chunks_mut(part.heads * time).enumerate().map(forward).collect();
            for (place, rows) in parts.iter().enumerate() {
                scatter(rows, y, sizes.width, &[(place * part.width, part.width)]);
            }
        });
        *self.log_sums.lock().unwrap_or_else(|poison| poison.into_inner()) = log_sums;
        Ok((CpuStorage::F32(y), (batch, time, sizes.width).into()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (batch, time, packed) = x.dims3()?;
        let sizes = Sizes::of(&self.heads, time, packed)?;
        let mut dx = vec![0f32; batch * time * packed];
        let log_sums = self.log_sums.lock().unwrap_or_else(|poison| poison.into_inner());
        let part = sizes.part(batch);
        let backward = |example: usize, x: &[f32], y: &[f32], dy: &[f32], log_sums: &[f32], dx: &mut [f32]| {
            let first_head = example * sizes.heads;
            if part.heads == sizes.heads {
                return self.backward(first_head, x, y, dy, log_sums, dx, sizes);
            }
            let backward = |(place, log_sums): (usize, &[f32])| {
                let x = gathered(x, packed, &sizes.columns(part, place));
                let [y, dy] = [y, dy].map(|rows| gathered(rows, sizes.width, &[(place * part.width, part.width)]));
                let mut dx = vec![0f32; time * part.packed];
                self.backward(first_head + place * part.heads, &x, &y, &dy, log_sums, &mut dx, part);
                dx
            };
            let parts: Vec<_> = log_sums.par_chunks(part.heads * time).enumerate().map(backward).collect();
            for (place, rows) in parts.iter().enumerate() {
                scatter(rows, dx, packed, &sizes.columns(part, place));
            }
        };
        with_slice(x, |x| {
            with_slice(y, |y| {
                with_slice(dy, |dy| {
                    x.par_chunks(time * packed)
                        .zip(y.par_chunks(time * sizes.width))
                        .zip(dy.par_chunks(time * sizes.width))
                        .zip(log_sums.par_chunks(sizes.heads * time))
                        .zip(dx.par_chunks_mut(time * packed))
                        .enumerate()
                        .for_each(|(example, ((((x, y), dy), log_sums), dx))| {
                            backward(example, x, y, dy, log_sums, dx)
                        });
                })
            })
        })???;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
