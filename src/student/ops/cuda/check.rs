//! Every operation once on a device, against its composed twin: nobody is to train with a kernel that is wrong on the GPU
//! at hand. The twin runs in double precision on the CPU, so that it shares nothing with the device.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{D, DType, Device, DeviceLocation, Result, Tensor, Var, bail};

use super::super::{Drop, Heads, Ops, Output, kernels};
use super::Update;
use crate::student::architecture::{Activation, Rotary, Scaling};
use crate::student::attend::{Turn, causal_mask};

/// What was found, by device.
static FOUND: Mutex<Option<HashMap<DeviceLocation, Option<String>>>> = Mutex::new(None);

/// Why the kernels can't be used on a device, found out the first time that it is asked.
pub fn problem(device: &Device) -> Option<String> {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let found = found.get_or_insert_default();
    found.entry(device.location()).or_insert_with(|| disagreement(device).err()).clone()
}

/// One operation on some tensors, in either form.
struct Case<'a> {
    name: &'static str,
    shapes: &'a [&'a [usize]],
    run: &'a dyn Fn(Ops, &[Tensor]) -> Result<Tensor>,
}

/// The first operation that fails or gives something else than its twin, in words.
pub fn disagreement(device: &Device) -> std::result::Result<(), String> {
    let drop = Some(Drop { probability: 0.3, key: 17 });
    let targets: Vec<u32> = (0..70).map(|row| row * 7 % 300).collect();
    let weights: Vec<f32> = (0..70).map(|row| (row % 3) as f32 * 0.1).collect();
    let ids: Vec<u32> = (0..150).map(|place| if place % 2 == 0 { 2 } else { place % 11 }).collect();
    let activations = [
        ("gelu (tanh)", Activation::GeluTanh),
        ("gelu", Activation::Gelu),
        ("silu", Activation::Silu),
        ("relu", Activation::Relu),
    ];
    for dtype in [DType::F32, DType::BF16] {
        for (name, activation) in activations {
            case(device, dtype, name, &[&[7, 301]], &|ops, x| ops.activate(activation, &x[0]))?;
            case(device, dtype, name, &[&[9, 2 * 37]], &|ops, x| ops.gate(activation, &x[0]))?;
        }
        let cases = [
            Case {
                name: "linear",
                shapes: &[&[2, 65, 24], &[24, 300], &[300]],
                run: &|ops, x| ops.linear(&x[0], &x[1], Some(&x[2])),
            },
            Case {
                name: "layer norm",
                shapes: &[&[2, 65, 300], &[300], &[300]],
                run: &|ops, x| ops.layer_norm(&x[0], &x[1], &x[2], 1e-5),
            },
            Case {
                name: "root-mean-square norm",
                shapes: &[&[2, 65, 300], &[300]],
                run: &|ops, x| ops.rms_norm(&x[0], &x[1], 1e-6),
            },
            Case { name: "attention", shapes: &[&[2, 40, 100]], run: &|ops, x| attend(ops, &x[0], None, None, None) },
            Case {
                name: "attention with a window, a cap and dropout",
                shapes: &[&[2, 40, 100]],
                run: &|ops, x| attend(ops, &x[0], Some(1.5), Some(7), drop),
            },
            Case {
                name: "dropout",
                shapes: &[&[30, 16], &[30, 16]],
                run: &|ops, x| ops.dropped(&ops.add_dropped(&x[0], &x[1], drop)?, drop),
            },
            Case {
                name: "cross-entropy",
                shapes: &[&[70, 6], &[300, 6], &[300]],
                run: &|ops, x| {
                    let output = Output { matrix: &x[1], bias: Some(&x[2]), cap: Some(2.5) };
                    Ok(ops.linear_cross_entropy(&x[0], &output, &targets, &weights)?.total)
                },
            },
            Case { name: "rows", shapes: &[&[11, 300]], run: &|ops, x| ops.rows(&x[0], &ids) },
        ];
        for Case { name, shapes, run } in cases {
            case(device, dtype, name, shapes, run)?;
        }
    }
    update(device).map_err(|error| format!("AdamW: {error}"))
}

fn attend(ops: Ops, packed: &Tensor, cap: Option<f64>, window: Option<usize>, drop: Option<Drop>) -> Result<Tensor> {
    let heads = Heads { heads: 6, kv_heads: 2, head: 10, scale: 0.5, cap, window };
    let (time, device, dtype) = (packed.dim(1)?, packed.device(), packed.dtype());
    let rotary = Rotary { base: 100.0, turned: 6, scaling: Scaling::None };
    let places: Vec<usize> = (0..time).collect();
    let turn = Turn::new(&rotary, &places, &[time], device, dtype)?;
    ops.attention(packed, &heads, Some(&turn), Some(&causal_mask(time, window, device, dtype)?), drop)
}

/// Runs one operation on the device and its twin on the CPU, and compares the value and every gradient.
fn case(
    device: &Device,
    dtype: DType,
    name: &str,
    shapes: &[&[usize]],
    run: &dyn Fn(Ops, &[Tensor]) -> Result<Tensor>,
) -> std::result::Result<(), String> {
    let compare = || {
        let inputs = shapes.iter().enumerate().map(|(place, shape)| numbers(shape, place)?.to_dtype(dtype));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let got = with_gradients(&inputs, device, dtype, |x| run(Ops::Fused, x))?;
        let want = with_gradients(&inputs, &Device::Cpu, DType::F64, |x| run(Ops::Composed, x))?;
        agree(&got, &want, if dtype == DType::BF16 { 4e-2 } else { 1e-4 })
    };
    compare().map_err(|error| format!("{name} in {}: {error}", dtype.as_str()))
}

/// The same numbers whenever they are asked for, and none too near to 0.
fn numbers(shape: &[usize], seed: usize) -> Result<Tensor> {
    let n: usize = shape.iter().product();
    let number = |place: usize| {
        let wave = ((place as f32 * 0.61 + seed as f32) * 1.7).sin();
        wave * 0.7 + 0.1 * wave.signum()
    };
    Tensor::from_vec((0..n).map(number).collect::<Vec<f32>>(), shape, &Device::Cpu)
}

/// The value of an operation, and the gradient of each input of a sum that weighs each number of the value differently.
fn with_gradients(
    inputs: &[Tensor],
    device: &Device,
    dtype: DType,
    run: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let moved = |input: &Tensor| Var::from_tensor(&input.to_dtype(dtype)?.to_device(device)?);
    let variables = inputs.iter().map(moved).collect::<Result<Vec<_>>>()?;
    let given: Vec<Tensor> = variables.iter().map(|variable| variable.as_tensor().clone()).collect();
    let y = run(&given)?;
    let slopes = (numbers(y.dims(), 9)?.to_dtype(y.dtype())?.to_device(device)? + 1.0)?;
    let mut gradients = (&y * slopes)?.sum_all()?.backward()?;
    let mut found = vec![y];
    for variable in &variables {
        match gradients.remove(variable) {
            Some(gradient) => found.push(gradient),
            None => bail!("a gradient is missing"),
        }
    }
    Ok(found)
}

/// Whether the largest difference is a small part of the largest number, for each pair.
fn agree(got: &[Tensor], want: &[Tensor], bar: f64) -> Result<()> {
    let largest = |t: &Tensor| t.abs()?.flatten_all()?.max(D::Minus1)?.to_scalar::<f64>();
    for (place, (got, want)) in got.iter().zip(want).enumerate() {
        let wide = |t: &Tensor| t.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64);
        let (got, want) = (wide(got)?, wide(want)?);
        let far = largest(&(got - &want)?)? / largest(&want)?.max(1e-30);
        // What is no number is above no bar, and below none either.
        if !far.is_finite() || far > bar {
            let what = if place == 0 { "the value".to_owned() } else { format!("gradient {place}") };
            bail!("{what} is off by {far:.1e} of the largest number")
        }
    }
    Ok(())
}

/// One step of AdamW over two tensors, against that of the CPU, and one that must change nothing.
fn update(device: &Device) -> Result<()> {
    let lengths = [(5000, true), (300, false)];
    let update = Update::new(&lengths, device)?;
    let all = |seed: usize| lengths.iter().map(|(n, _)| numbers(&[*n], seed)).collect::<Result<Vec<_>>>();
    let on_device = |seed: usize| all(seed)?.iter().map(|t| t.to_device(device)?.copy()).collect::<Result<Vec<_>>>();
    let (parameters, gradients, means) = (on_device(0)?, on_device(1)?, on_device(2)?);
    let squares = on_device(3)?.iter().map(Tensor::sqr).collect::<Result<Vec<_>>>()?;
    let step = kernels::AdamW {
        learning_rate: 0.01,
        beta1: 0.9,
        beta2: 0.98,
        rest1: 0.1,
        rest2: 0.02,
        epsilon: 1e-8,
        keep: 0.99,
        correction1: 1.0 / 0.19,
        correction2: 1.0 / 0.0396,
        gradient_scale: 1.0,
    };
    let take = |losses: &[f32]| {
        let losses = Tensor::from_slice(losses, losses.len(), device)?;
        let verdict = update.judge(&gradients, &losses, 0.5)?;
        update.step(
            parameters.iter().collect(),
            &gradients,
            means.iter().collect(),
            squares.iter().collect(),
            &verdict,
            step,
        )?;
        verdict.to_vec1::<f32>()
    };
    let good = take(&[1.0, 2.0])?;
    let bad = take(&[f32::INFINITY])?;
    let flat = |tensors: Vec<Tensor>| {
        tensors.iter().map(Tensor::to_vec1::<f32>).collect::<Result<Vec<_>>>().map(|all| all.concat())
    };
    let (gradient, mut p, mut m) = (flat(all(1)?)?, flat(all(0)?)?, flat(all(2)?)?);
    let mut v: Vec<f32> = flat(all(3)?)?.iter().map(|value| value * value).collect();
    let norm = gradient.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
    if (f64::from(good[0]) / norm - 1.0).abs() > 1e-4 || good[2] != 1.0 || bad[2] != 0.0 {
        bail!("the verdicts are {good:?} and {bad:?}, where the norm is {norm}")
    }
    let step = kernels::AdamW { gradient_scale: (0.5 / norm) as f32, ..step };
    let decaying = lengths[0].0;
    kernels::adamw(&mut p[..decaying], &gradient[..decaying], &mut m[..decaying], &mut v[..decaying], step);
    let step = kernels::AdamW { keep: 1.0, ..step };
    kernels::adamw(&mut p[decaying..], &gradient[decaying..], &mut m[decaying..], &mut v[decaying..], step);
    let pairs = [(parameters, p), (means, m), (squares, v)];
    for (got, want) in pairs {
        let n = want.len();
        agree(&[Tensor::cat(&got, 0)?], &[Tensor::from_vec(want, n, &Device::Cpu)?], 1e-4)?;
    }
    Ok(())
}
