//! The differentiable operations in their fast form: one pass over memory each, on the CPU in `f32`.
//!
//! Every one has a composed twin in [`super`], made of candle's own operations, and a test holds the two together by
//! value and gradient. Gradients of inputs that nobody trains are not computed.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, D, Layout, Result, Shape, Storage, Tensor, bail};
use gemm::Parallelism;
use rayon::prelude::*;

use super::collect::hand;
use super::kernels;
use crate::student::architecture::Activation;

/// Rows whose gradients are summed before being added to the others: fixed, so that the sum of all rows has the same
/// rounding whatever the number of threads.
const ROWS_PER_SUM: usize = 256;

/// The values of an operation's input, which must lie without gaps.
pub(super) fn slice_of<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("a fused operation needs contiguous input, not {layout:?}"),
    }
}

/// Reads the values of an `f32` tensor on the CPU where they lie.
pub fn with_slice<R>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(read(slice_of(storage, layout)?)),
        _ => bail!("a fused operation runs on the CPU"),
    }
}

fn parallelism() -> Parallelism {
    match rayon::current_num_threads() {
        1 => Parallelism::None,
        threads => Parallelism::Rayon(threads),
    }
}

/// A matrix for [`gemm`]: where it begins and how far its rows and columns are apart.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
}

/// Rows one after the other.
pub(super) fn matrix(data: &[f32], width: usize) -> Matrix<'_> {
    Matrix { data, rows: width, columns: 1 }
}

pub(super) fn transposed(data: &[f32], width: usize) -> Matrix<'_> {
    Matrix { data, rows: 1, columns: width }
}

/// c (m, n) = a (m, k) · b (k, n), added to what c holds when `accumulate`.
pub(super) fn product(m: usize, n: usize, k: usize, a: Matrix, b: Matrix, c: &mut [f32], accumulate: bool) {
    assert!(c.len() >= m * n, "matrix product: the result is too short");
    // SAFETY: c has m · n numbers.
    unsafe { multiply(m, n, k, a, b, c.as_mut_ptr(), accumulate) }
}

/// The same into memory of its own, which is not filled with zeros first.
pub(super) fn new_product(m: usize, n: usize, k: usize, a: Matrix, b: Matrix) -> Vec<f32> {
    if k == 0 {
        return vec![0.0; m * n];
    }
    let mut c = Vec::with_capacity(m * n);
    // SAFETY: without `accumulate` every one of the m · n numbers is written and none is read.
    unsafe {
        multiply(m, n, k, a, b, c.as_mut_ptr(), false);
        c.set_len(m * n);
    }
    c
}

/// # Safety
///
/// `c` must be valid for writes of m · n numbers, and hold that many when `accumulate`.
unsafe fn multiply(m: usize, n: usize, k: usize, a: Matrix, b: Matrix, c: *mut f32, accumulate: bool) {
    let reaches = |matrix: Matrix, rows: usize, columns: usize| {
        rows == 0 || columns == 0 || (rows - 1) * matrix.rows + (columns - 1) * matrix.columns < matrix.data.len()
    };
    assert!(reaches(a, m, k) && reaches(b, k, n), "matrix product: a slice is too short");
    // SAFETY: the assertion above shows that every element which gemm reads lies inside its slice; c is the caller's.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            n as isize,
            accumulate,
            a.data.as_ptr(),
            a.columns as isize,
            a.rows as isize,
            b.data.as_ptr(),
            b.columns as isize,
            b.rows as isize,
            1f32,
            1f32,
            false,
            false,
            false,
            parallelism(),
        );
    }
}

/// y = x W + b, with x (…, inputs), W (inputs, outputs), b (outputs).
pub struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) =
            (slice_of(x, x_layout)?, slice_of(weight, weight_layout)?, slice_of(bias, bias_layout)?);
        let (inputs, outputs) = weight_layout.shape().dims2()?;
        let rows = x.len() / inputs;
        let mut y = Vec::with_capacity(rows * outputs);
        (0..rows).for_each(|_| y.extend_from_slice(bias));
        product(rows, outputs, inputs, matrix(x, inputs), matrix(weight, outputs), &mut y, true);
        let mut shape = x_layout.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        Ok((CpuStorage::F32(y), shape.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let outputs = weight.dim(1)?;
        let (dx, dweight) = product_backward(x, weight, dy)?;
        let dbias = if bias.track_op() {
            let sums = with_slice(dy, |dy| sum_rows(dy, outputs))?;
            hand(bias, Tensor::from_vec(sums, bias.shape(), x.device())?)?
        } else {
            None
        };
        Ok((dx, dweight, dbias))
    }
}

/// The gradients of x W, of those that are wanted: a frozen matrix costs nothing.
fn product_backward(x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (inputs, outputs) = weight.dims2()?;
    let rows = x.elem_count() / inputs;
    let dx = if x.track_op() {
        let dx = with_slice(dy, |dy| {
            with_slice(weight, |weight| {
                new_product(rows, inputs, outputs, matrix(dy, outputs), transposed(weight, outputs))
            })
        })??;
        Some(Tensor::from_vec(dx, x.shape(), x.device())?)
    } else {
        None
    };
    let dweight = if weight.track_op() {
        let dweight = with_slice(dy, |dy| {
            with_slice(x, |x| new_product(inputs, outputs, rows, transposed(x, inputs), matrix(dy, outputs)))
        })??;
        hand(weight, Tensor::from_vec(dweight, weight.shape(), x.device())?)?
    } else {
        None
    };
    Ok((dx, dweight))
}

/// y = x W, with x (…, inputs), W (inputs, outputs).
pub struct Product;

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (slice_of(x, x_layout)?, slice_of(weight, weight_layout)?);
        let (inputs, outputs) = weight_layout.shape().dims2()?;
        let rows = x.len() / inputs;
        let y = new_product(rows, outputs, inputs, matrix(x, inputs), matrix(weight, outputs));
        let mut shape = x_layout.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        Ok((CpuStorage::F32(y), shape.into()))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        product_backward(x, weight, dy)
    }
}

/// The sum of all rows, in blocks of a fixed size.
pub(super) fn sum_rows(x: &[f32], width: usize) -> Vec<f32> {
    let blocks: Vec<Vec<f32>> = x
        .par_chunks(width * ROWS_PER_SUM)
        .map(|block| {
            let mut sum = vec![0f32; width];
            block.chunks_exact(width).for_each(|row| kernels::add(&mut sum, row));
            sum
        })
        .collect();
    add_up(blocks, width)
}

fn add_up(blocks: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    blocks.into_iter().fold(vec![0f32; width], |mut sum, block| {
        kernels::add(&mut sum, &block);
        sum
    })
}

/// Elements handled by one task.
const ELEMENTS: usize = 1 << 15;

/// An activation, number by number.
pub struct Activate(pub Activation);

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice_of(x, layout)?;
        let mut y = vec![0f32; x.len()];
        x.par_chunks(ELEMENTS).zip(y.par_chunks_mut(ELEMENTS)).for_each(|(x, y)| kernels::activate(self.0, x, y));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let mut dx = vec![0f32; x.elem_count()];
        with_slice(x, |x| {
            with_slice(dy, |dy| {
                x.par_chunks(ELEMENTS)
                    .zip(dy.par_chunks(ELEMENTS))
                    .zip(dx.par_chunks_mut(ELEMENTS))
                    .for_each(|((x, dy), dx)| kernels::activate_backward(self.0, x, dy, dx));
            })
        })??;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

/// A gated activation: (…, 2 · inner), gates beside values, to (…, inner).
pub struct Gate(pub Activation);

/// Rows handled by one task.
const GATE_ROWS: usize = 8;

impl CustomOp1 for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice_of(x, layout)?;
        let mut shape = layout.dims().to_vec();
        let Some(last) = shape.last_mut().filter(|last| last.is_multiple_of(2)) else {
            bail!("gate: gates and values lie side by side")
        };
        *last /= 2;
        let inner = *last;
        let mut y = vec![0f32; x.len() / 2];
        x.par_chunks(2 * inner * GATE_ROWS).zip(y.par_chunks_mut(inner * GATE_ROWS)).for_each(|(x, y)| {
            for (x, y) in x.chunks_exact(2 * inner).zip(y.chunks_exact_mut(inner)) {
                kernels::gate(self.0, &x[..inner], &x[inner..], y);
            }
        });
        Ok((CpuStorage::F32(y), shape.into()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let inner = y.dim(D::Minus1)?;
        let mut dx = vec![0f32; x.elem_count()];
        with_slice(x, |x| {
            with_slice(dy, |dy| {
                x.par_chunks(2 * inner * GATE_ROWS)
                    .zip(dy.par_chunks(inner * GATE_ROWS))
                    .zip(dx.par_chunks_mut(2 * inner * GATE_ROWS))
                    .for_each(|((x, dy), dx)| {
                        let rows = x.chunks_exact(2 * inner).zip(dy.chunks_exact(inner));
                        for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(2 * inner)) {
                            let (dgates, dvalues) = dx.split_at_mut(inner);
                            kernels::gate_backward(self.0, &x[..inner], &x[inner..], dy, dgates, dvalues);
                        }
                    });
            })
        })??;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

/// Layer norm over the last dimension.
pub struct LayerNorm {
    pub eps: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) =
            (slice_of(x, x_layout)?, slice_of(weight, weight_layout)?, slice_of(bias, bias_layout)?);
        let width = weight.len();
        let mut y = vec![0f32; x.len()];
        x.par_chunks(width * ROWS_PER_SUM).zip(y.par_chunks_mut(width * ROWS_PER_SUM)).for_each(|(x, y)| {
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                kernels::layer_norm(x, weight, bias, self.eps, y);
            }
        });
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = weight.elem_count();
        let mut dx = vec![0f32; x.elem_count()];
        let sums = with_slice(x, |x| {
            with_slice(weight, |weight| {
                with_slice(dy, |dy| {
                    x.par_chunks(width * ROWS_PER_SUM)
                        .zip(dy.par_chunks(width * ROWS_PER_SUM))
                        .zip(dx.par_chunks_mut(width * ROWS_PER_SUM))
                        .map(|((x, dy), dx)| {
                            // Both sums in one vector, so that the blocks are added up together.
                            let mut sums = vec![0f32; 2 * width];
                            let (dweight, dbias) = sums.split_at_mut(width);
                            for ((x, dy), dx) in
                                x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width))
                            {
                                kernels::layer_norm_backward(x, weight, self.eps, dy, dx, dweight, dbias);
                            }
                            sums
                        })
                        .collect::<Vec<_>>()
                })
            })
        })???;
        let mut dweight = add_up(sums, 2 * width);
        let dbias = dweight.split_off(width);
        let of_weight = |weight: &Tensor, gradient| match weight.track_op() {
            true => hand(weight, Tensor::from_vec(gradient, width, x.device())?),
            false => Ok(None),
        };
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        Ok((Some(dx), of_weight(weight, dweight)?, of_weight(bias, dbias)?))
    }
}

/// Root-mean-square norm over the last dimension.
pub struct RmsNorm {
    pub eps: f32,
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (slice_of(x, x_layout)?, slice_of(weight, weight_layout)?);
        let width = weight.len();
        let mut y = vec![0f32; x.len()];
        x.par_chunks(width * ROWS_PER_SUM).zip(y.par_chunks_mut(width * ROWS_PER_SUM)).for_each(|(x, y)| {
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                kernels::rms_norm(x, weight, self.eps, y);
            }
        });
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = weight.elem_count();
        let mut dx = vec![0f32; x.elem_count()];
        let sums = with_slice(x, |x| {
            with_slice(weight, |weight| {
                with_slice(dy, |dy| {
                    x.par_chunks(width * ROWS_PER_SUM)
                        .zip(dy.par_chunks(width * ROWS_PER_SUM))
                        .zip(dx.par_chunks_mut(width * ROWS_PER_SUM))
                        .map(|((x, dy), dx)| {
                            let mut dweight = vec![0f32; width];
                            for ((x, dy), dx) in
                                x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width))
                            {
                                kernels::rms_norm_backward(x, weight, self.eps, dy, dx, &mut dweight);
                            }
                            dweight
                        })
                        .collect::<Vec<_>>()
                })
            })
        })???;
        let dweight = match weight.track_op() {
            true => hand(weight, Tensor::from_vec(add_up(sums, width), width, x.device())?)?,
            false => None,
        };
        Ok((Some(Tensor::from_vec(dx, x.shape(), x.device())?), dweight))
    }
}

/// x + dropout(r).
pub struct AddDropped {
    pub probability: f32,
    pub key: u32,
}

impl CustomOp2 for AddDropped {
    fn name(&self) -> &'static str {
        "add-dropped"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        r: &CpuStorage,
        r_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, r) = (slice_of(x, x_layout)?, slice_of(r, r_layout)?);
        let mut y = vec![0f32; x.len()];
        x.par_chunks(ELEMENTS).zip(r.par_chunks(ELEMENTS)).zip(y.par_chunks_mut(ELEMENTS)).enumerate().for_each(
            |(chunk, ((x, r), y))| {
                kernels::add_dropped(x, r, y, (chunk * ELEMENTS) as u32, self.key, self.probability);
            },
        );
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, r: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut dr = with_slice(dy, <[f32]>::to_vec)?;
        dr.par_chunks_mut(ELEMENTS).enumerate().for_each(|(chunk, dr)| {
            kernels::dropout(dr, (chunk * ELEMENTS) as u32, self.key, self.probability);
        });
        Ok((Some(dy.clone()), Some(Tensor::from_vec(dr, r.shape(), r.device())?)))
    }
}
