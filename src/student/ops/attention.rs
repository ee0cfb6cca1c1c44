//! Causal attention on the packed projection, forward and backward.
//!
//! The input is (batch, time, 3 · width): queries, keys and values side by side, each split into heads. The weights of
//! attention are never kept: the forward pass keeps one log sum per query and the backward pass computes them again
//! (Dao et al. 2022, without the tiling over keys: one head's row of scores fits in the cache here).

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::fused::{slice_of, with_slice};
use super::kernels;
use super::small_matmul::{View, matmul};

/// Queries handled together: enough to fill the registers, few enough to waste little above the diagonal.
const QUERIES: usize = 12;

/// The fused operation. `dropout` is the probability with which a weight is dropped and the key of its mask.
pub struct Attention {
    pub heads: usize,
    pub dropout: Option<(f32, u32)>,
    pub log_sums: Mutex<Vec<f32>>,
}

/// The sizes of one call.
#[derive(Clone, Copy)]
struct Sizes {
    time: usize,
    width: usize,
    heads: usize,
    /// Width of a head.
    head: usize,
    scale: f32,
}

impl Sizes {
    fn of(heads: usize, time: usize, packed: usize) -> Result<Self> {
        let width = packed / 3;
        if !packed.is_multiple_of(3) || !width.is_multiple_of(heads) {
            bail!("attention: {packed} columns can't be split into queries, keys and values of {heads} heads");
        }
        let head = width / heads;
        Ok(Self { time, width, heads, head, scale: 1.0 / (head as f32).sqrt() })
    }

    /// Rows of one head within the packed rows of one example, from part 0 (queries), 1 (keys) or 2 (values).
    fn view<'a>(&self, example: &'a [f32], part: usize, head: usize) -> View<'a> {
        View { data: &example[part * self.width + head * self.head..], rows: 3 * self.width, columns: 1 }
    }

    /// A head's keys or values with rows as columns: (head width, time).
    fn transposed(&self, example: &[f32], part: usize, head: usize, out: &mut [f32]) {
        let from = self.view(example, part, head);
        for time in 0..self.time {
            for (place, value) in from.data[time * from.rows..][..self.head].iter().enumerate() {
                out[place * self.time + time] = *value;
            }
        }
    }
}

fn skip<'a>(view: View<'a>, rows: usize) -> View<'a> {
    View { data: &view.data[rows * view.rows..], ..view }
}

impl Attention {
    /// Multiplies a row of weights by its dropout mask.
    fn drop_row(&self, weights: &mut [f32], example: usize, head: usize, query: usize, sizes: Sizes) {
        if let Some((probability, key)) = self.dropout {
            let row = (example * sizes.heads + head) * sizes.time + query;
            kernels::dropout(weights, (row * sizes.time) as u32, key, probability);
        }
    }

    /// Context vectors of one example; fills `log_sums` (heads, time).
    fn forward_example(&self, example: usize, x: &[f32], y: &mut [f32], log_sums: &mut [f32], sizes: Sizes) {
        let Sizes { time, width, head: d, scale, .. } = sizes;
        let mut keys = vec![0f32; d * time];
        let mut weights = vec![0f32; QUERIES * time];
        for head in 0..sizes.heads {
            sizes.transposed(x, 1, head, &mut keys);
            let keys = View { data: &keys, rows: time, columns: 1 };
            for first in (0..time).step_by(QUERIES) {
                let rows = QUERIES.min(time - first);
                let seen = first + rows;
                matmul(rows, seen, d, skip(sizes.view(x, 0, head), first), keys, &mut weights, time, false);
                for row in 0..rows {
                    let query = first + row;
                    let (past, future) = weights[row * time..][..seen].split_at_mut(query + 1);
                    log_sums[head * time + query] = kernels::softmax(past, scale);
                    future.fill(0.0);
                    self.drop_row(past, example, head, query, sizes);
                }
                let weights = View { data: &weights, rows: time, columns: 1 };
                let out = &mut y[first * width + head * d..];
                matmul(rows, d, seen, weights, sizes.view(x, 2, head), out, width, false);
            }
        }
    }

    /// Gradients of one example's packed rows, from its context vectors and their gradient.
    #[allow(clippy::too_many_arguments)]
    fn backward_example(
        &self,
        example: usize,
        x: &[f32],
        y: &[f32],
        dy: &[f32],
        log_sums: &[f32],
        dx: &mut [f32],
        sizes: Sizes,
    ) {
        let Sizes { time, width, head: d, scale, .. } = sizes;
        let (mut keys, mut values) = (vec![0f32; d * time], vec![0f32; d * time]);
        let (mut p, mut ds) = (vec![0f32; QUERIES * time], vec![0f32; QUERIES * time]);
        let mut dropped = vec![0f32; if self.dropout.is_some() { QUERIES * time } else { 0 }];
        for head in 0..sizes.heads {
            sizes.transposed(x, 1, head, &mut keys);
            sizes.transposed(x, 2, head, &mut values);
            let queries = sizes.view(x, 0, head);
            let dcontext = View { data: &dy[head * d..], rows: width, columns: 1 };
            for first in (0..time).step_by(QUERIES) {
                let rows = QUERIES.min(time - first);
                let seen = first + rows;
                let packed = |part: usize, row: usize| row * 3 * width + part * width + head * d;
                // The weights again, and the gradient that reaches them.
                let keys = View { data: &keys, rows: time, columns: 1 };
                let values = View { data: &values, rows: time, columns: 1 };
                matmul(rows, seen, d, skip(queries, first), keys, &mut p, time, false);
                matmul(rows, seen, d, skip(dcontext, first), values, &mut ds, time, false);
                for row in 0..rows {
                    let query = first + row;
                    let (past, future) = p[row * time..][..seen].split_at_mut(query + 1);
                    kernels::softmax_again(past, scale, log_sums[head * time + query]);
                    future.fill(0.0);
                    let dpast = &mut ds[row * time..][..seen];
                    dpast[query + 1..].fill(0.0);
                    if self.dropout.is_some() {
                        let kept = &mut dropped[row * time..][..seen];
                        kept.copy_from_slice(&p[row * time..][..seen]);
                        self.drop_row(&mut kept[..=query], example, head, query, sizes);
                        self.drop_row(&mut dpast[..=query], example, head, query, sizes);
                    }
                    let at = query * width + head * d;
                    let along = kernels::dot(&y[at..at + d], &dy[at..at + d]);
                    kernels::softmax_backward(&p[row * time..][..seen], dpast, along, scale);
                }
                // dV += Pᵀ dO, dQ = dS K, dK += dSᵀ Q, all with only the keys that these queries see.
                let used = if self.dropout.is_some() { &dropped } else { &p };
                let by_key = |data| View { data, rows: 1, columns: time };
                matmul(seen, d, rows, by_key(used), skip(dcontext, first), &mut dx[packed(2, 0)..], 3 * width, true);
                matmul(seen, d, rows, by_key(&ds), skip(queries, first), &mut dx[packed(1, 0)..], 3 * width, true);
                let ds = View { data: &ds, rows: time, columns: 1 };
                let dq = &mut dx[packed(0, first)..];
                matmul(rows, d, seen, ds, sizes.view(x, 1, head), dq, 3 * width, false);
            }
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
        let sizes = Sizes::of(self.heads, time, packed)?;
        let mut y = vec![0f32; batch * time * sizes.width];
        let mut log_sums = vec![0f32; batch * sizes.heads * time];
        x.par_chunks(time * packed)
            .zip(y.par_chunks_mut(time * sizes.width))
            .zip(log_sums.par_chunks_mut(sizes.heads * time))
            .enumerate()
            .for_each(|(example, ((x, y), log_sums))| self.forward_example(example, x, y, log_sums, sizes));
        *self.log_sums.lock().unwrap_or_else(|poison| poison.into_inner()) = log_sums;
        Ok((CpuStorage::F32(y), (batch, time, sizes.width).into()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (batch, time, packed) = x.dims3()?;
        let sizes = Sizes::of(self.heads, time, packed)?;
        let mut dx = vec![0f32; batch * time * packed];
        let log_sums = self.log_sums.lock().unwrap_or_else(|poison| poison.into_inner());
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
                            self.backward_example(example, x, y, dy, log_sums, dx, sizes);
                        });
                })
            })
        })???;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
