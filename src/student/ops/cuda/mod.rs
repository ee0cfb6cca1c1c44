//! The differentiable operations on NVIDIA GPUs, in `f32` and `bf16`: kernels of our own ([`launch`] says how they are
//! started), and cuBLAS, through candle, for products of matrices.
//!
//! An operation computes its value from tensors without a record and is then put on the record with its own backward
//! pass ([`recorded`]). Everything here but the calls to NVIDIA's driver runs on the CPU too, in tests, where the kernels
//! are compiled for the processor.

mod attention;
mod check;
mod cross_entropy;
#[cfg(feature = "cuda")]
mod device;
mod embedding;
#[cfg(test)]
mod emulator;
mod launch;
mod norms;
mod record;
#[cfg(test)]
mod tests;
mod update;

use candle_core::{D, DType, Device, Result, Tensor, bail};

pub use attention::attention;
pub use cross_entropy::linear_cross_entropy;
pub use embedding::{add_rows, look_up};
#[cfg(test)]
pub use emulator::with_kernels;
use launch::Argument::{Absent, F32, Read, U32, U64, Write};
use launch::{Launch, fresh, narrow, suffix};
pub use norms::{layer_norm, rms_norm};
use record::recorded;
pub use update::Update;

use super::Drop;
use crate::student::architecture::Activation;

/// Whether these operations are the ones for a tensor's device and type.
pub fn serves(device: &Device, dtype: DType) -> bool {
    #[cfg(test)]
    if device.is_cpu() && emulator::in_use() {
        return matches!(dtype, DType::F32 | DType::BF16);
    }
    device.is_cuda() && matches!(dtype, DType::F32 | DType::BF16)
}

/// Why the kernels can't be used on a device, in words; `None` where they can. The first call for a device compiles them
/// and compares every operation with its composed twin.
pub fn problem(device: &Device) -> Option<String> {
    if device.is_cuda() { check::problem(device) } else { None }
}

/// The number of an activation in the kernels.
fn kind(activation: Activation) -> launch::Argument<'static> {
    U32(match activation {
        Activation::GeluTanh => 0,
        Activation::Gelu => 1,
        Activation::Silu => 2,
        Activation::Relu => 3,
    })
}

/// y = x W + b, with x (…, inputs), W (inputs, outputs), b (outputs) where there is one.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (inputs, outputs) = weight.dims2()?;
    let (x, weight) = (x.contiguous()?, &weight.contiguous()?);
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    let y = super::product(&x.detach().reshape(((), inputs))?, &weight.detach())?;
    if let Some(bias) = bias {
        let bias = bias.detach().contiguous()?;
        let arguments = vec![Write(&y), Read(&bias), U64(y.elem_count() as u64), U32(narrow(outputs)?)];
        Launch::over(format!("add_bias_{}", suffix(y.dtype())?), y.elem_count(), arguments)?.run(y.device())?;
    }
    let inputs_of: Vec<&Tensor> = [&x, weight].into_iter().chain(bias).collect();
    recorded("linear", &inputs_of, y.reshape(shape)?, move |given, _, dy| {
        let (x, weight) = (given[0], given[1]);
        let (flat, dy) = (x.detach().reshape(((), inputs))?, dy.reshape(((), outputs))?);
        let (flat, dy) = (flat.contiguous()?, dy.contiguous()?);
        let dx = || super::product(&dy, &weight.detach().t()?)?.reshape(x.shape());
        let mut gradients = vec![
            x.track_op().then(dx).transpose()?,
            weight.track_op().then(|| super::product(&flat.t()?, &dy)).transpose()?,
        ];
        if let Some(bias) = given.get(2) {
            gradients.push(bias.track_op().then(|| column_sums(&dy)).transpose()?);
        }
        Ok(gradients)
    })
}

/// Rows that are added up by one block: `PIECE` of the kernels.
const PIECE: usize = 64;

/// The sum of all rows of x (rows, columns): (columns), of x's type.
fn column_sums(x: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let pieces = rows.div_ceil(PIECE);
    let sums = fresh((pieces, width), DType::F32, x.device())?;
    let grid = (launch::blocks(width)?, narrow(pieces)?);
    let arguments = vec![Read(x), Write(&sums), U32(narrow(rows)?), U32(narrow(width)?)];
    Launch::new(format!("column_sums_{}", suffix(x.dtype())?), grid, arguments).run(x.device())?;
    added_up(&sums, x.dtype())
}

/// The sum of pieces (pieces, columns) in their order.
fn added_up(sums: &Tensor, dtype: DType) -> Result<Tensor> {
    let (pieces, columns) = sums.dims2()?;
    let y = fresh(columns, dtype, sums.device())?;
    let arguments = vec![Read(sums), Write(&y), U32(narrow(pieces)?), U32(narrow(columns)?)];
    Launch::over(format!("add_pieces_{}", suffix(dtype)?), columns, arguments)?.run(sums.device())?;
    Ok(y)
}

/// sum += piece, where the sum (strips, rows of the sum, …) is in `f32` and the piece has its rows from `first` on.
fn add_into(sum: &Tensor, piece: &Tensor, first: usize) -> Result<()> {
    let piece = piece.contiguous()?;
    let row: usize = sum.dims()[2..].iter().product();
    let (strip, apart) = (piece.dim(1)? * row, sum.dim(1)? * row);
    let n = piece.elem_count();
    let arguments =
        vec![Write(sum), Read(&piece), U64(n as u64), U64(strip as u64), U64(apart as u64), U64((first * row) as u64)];
    Launch::over(format!("add_into_{}", suffix(piece.dtype())?), n, arguments)?.run(sum.device())
}

/// An activation, number by number.
pub fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (n, name) = (x.elem_count(), suffix(x.dtype())?);
    let y = fresh(x.shape(), x.dtype(), x.device())?;
    let arguments = vec![Read(&x), Write(&y), U64(n as u64), kind(activation)];
    Launch::over(format!("activate_{name}"), n, arguments)?.run(x.device())?;
    recorded("activate", &[&x], y, move |given, _, dy| {
        let (x, dy) = (given[0], dy.contiguous()?);
        let dx = fresh(x.shape(), x.dtype(), x.device())?;
        let arguments = vec![Read(x), Read(&dy), Write(&dx), U64(n as u64), kind(activation)];
        Launch::over(format!("activate_backward_{name}"), n, arguments)?.run(x.device())?;
        Ok(vec![Some(dx)])
    })
}

/// A gated activation: (…, 2 · inner), gates beside values, to (…, inner).
pub fn gate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (n, name) = (x.elem_count() / 2, suffix(x.dtype())?);
    let inner = x.dim(D::Minus1)? / 2;
    if !x.dim(D::Minus1)?.is_multiple_of(2) {
        bail!("gate: gates and values lie side by side")
    }
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = inner;
    }
    let width = narrow(inner)?;
    let y = fresh(shape, x.dtype(), x.device())?;
    let arguments = vec![Read(&x), Write(&y), U64(n as u64), U32(width), kind(activation)];
    Launch::over(format!("gate_{name}"), n, arguments)?.run(x.device())?;
    recorded("gate", &[&x], y, move |given, _, dy| {
        let (x, dy) = (given[0], dy.contiguous()?);
        let dx = fresh(x.shape(), x.dtype(), x.device())?;
        let arguments = vec![Read(x), Read(&dy), Write(&dx), U64(n as u64), U32(width), kind(activation)];
        Launch::over(format!("gate_backward_{name}"), n, arguments)?.run(x.device())?;
        Ok(vec![Some(dx)])
    })
}

/// x + dropout(r); dropout(r) alone without x. The masks are those of the CPU.
fn dropped(x: Option<&Tensor>, r: &Tensor, drop: Drop) -> Result<Tensor> {
    let y = fresh(r.shape(), r.dtype(), r.device())?;
    let (key, threshold, keep) = drop_arguments(Some(drop));
    let n = r.elem_count();
    let arguments = vec![x.map_or(Absent, Read), Read(r), Write(&y), U64(n as u64), key, threshold, keep];
    Launch::over(format!("add_dropped_{}", suffix(r.dtype())?), n, arguments)?.run(r.device())?;
    Ok(y)
}

/// The key, the threshold and the factor of a dropout site, as kernels take them; those that keep all where there is none.
fn drop_arguments(
    drop: Option<Drop>,
) -> (launch::Argument<'static>, launch::Argument<'static>, launch::Argument<'static>) {
    match drop {
        Some(Drop { probability, key }) => {
            (U32(key), U32(super::kernels::threshold(probability)), F32(1.0 / (1.0 - probability)))
        }
        None => (U32(0), U32(0), F32(1.0)),
    }
}

/// x + dropout(r).
pub fn add_dropped(x: &Tensor, r: &Tensor, drop: Drop) -> Result<Tensor> {
    let (x, r) = (x.contiguous()?, r.contiguous()?);
    let y = dropped(Some(&x), &r, drop)?;
    recorded("add-dropped", &[&x, &r], y, move |given, _, dy| {
        let dr = || dropped(None, &dy.contiguous()?, drop);
        Ok(vec![given[0].track_op().then(|| dy.clone()), given[1].track_op().then(dr).transpose()?])
    })
}

/// dropout(x).
pub fn drop_out(x: &Tensor, drop: Drop) -> Result<Tensor> {
    let x = x.contiguous()?;
    let y = dropped(None, &x, drop)?;
    recorded("dropout", &[&x], y, move |_, _, dy| Ok(vec![Some(dropped(None, &dy.contiguous()?, drop)?)]))
}
