//! Layer norm and root-mean-square norm. Weights may be in `f32` where what is normed is in `bf16`.

use candle_core::{D, DType, Result, Tensor};

use super::launch::Argument::{Absent, F32, Read, U32, Write};
use super::launch::{Launch, blocks, fresh, narrow, suffix};
use super::{PIECE, added_up, recorded};

/// Layer norm over the last dimension.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let y = forward(&x, &weight, Some(&bias), eps)?;
    recorded("layer-norm", &[&x, &weight, &bias], y, move |given, _, dy| {
        let (x, weight, bias) = (given[0], given[1], given[2]);
        let (dx, sums) = backward(x, weight, dy, eps, true, weight.track_op() || bias.track_op())?;
        let width = weight.elem_count();
        let half = |wanted: &Tensor, from: usize| match &sums {
            Some(sums) if wanted.track_op() => sums.narrow(0, from, width).map(Some),
            _ => Ok(None),
        };
        Ok(vec![dx, half(weight, 0)?, half(bias, width)?])
    })
}

/// Root-mean-square norm over the last dimension.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let y = forward(&x, &weight, None, eps)?;
    recorded("rms-norm", &[&x, &weight], y, move |given, _, dy| {
        let (dx, sums) = backward(given[0], given[1], dy, eps, false, given[1].track_op())?;
        Ok(vec![dx, sums])
    })
}

fn kernel(name: &str, x: &Tensor, weight: &Tensor) -> Result<String> {
    Ok(format!("{name}_{}_{}", suffix(x.dtype())?, suffix(weight.dtype())?))
}

fn forward(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    let y = fresh(x.shape(), x.dtype(), x.device())?;
    let arguments = vec![
        Read(x),
        Read(weight),
        bias.map_or(Absent, Read),
        Write(&y),
        U32(narrow(width)?),
        F32(eps as f32),
        U32(u32::from(bias.is_some())),
    ];
    let grid = (narrow(x.elem_count() / width.max(1))?, 1);
    Launch::new(kernel("norm_forward", x, weight)?, grid, arguments).run(x.device())?;
    Ok(y)
}

/// The gradient of x where it is trained, and that of the weight, with the bias's behind it, where they are wanted.
fn backward(
    x: &Tensor,
    weight: &Tensor,
    dy: &Tensor,
    eps: f64,
    centred: bool,
    with_weights: bool,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (device, dy) = (x.device(), dy.contiguous()?);
    let width = x.dim(D::Minus1)?;
    let rows = x.elem_count() / width.max(1);
    let dx = x.track_op().then(|| fresh(x.shape(), x.dtype(), device)).transpose()?;
    let kept = with_weights.then(|| fresh((rows, 2), DType::F32, device)).transpose()?;
    let arguments = vec![
        Read(x),
        Read(weight),
        Read(&dy),
        dx.as_ref().map_or(Absent, Write),
        kept.as_ref().map_or(Absent, Write),
        U32(narrow(width)?),
        F32(eps as f32),
        U32(u32::from(centred)),
    ];
    Launch::new(kernel("norm_backward", x, weight)?, (narrow(rows)?, 1), arguments).run(device)?;
    let Some(kept) = kept else { return Ok((dx, None)) };
    let pieces = rows.div_ceil(PIECE);
    let sums = fresh((pieces, if centred { 2 * width } else { width }), DType::F32, device)?;
    let arguments = vec![
        Read(x),
        Read(&dy),
        Read(&kept),
        Write(&sums),
        U32(narrow(rows)?),
        U32(narrow(width)?),
        U32(u32::from(centred)),
    ];
    let grid = (blocks(width)?, narrow(pieces)?);
    Launch::new(format!("norm_weight_sums_{}", suffix(x.dtype())?), grid, arguments).run(device)?;
    Ok((dx, Some(added_up(&sums, weight.dtype())?)))
}
