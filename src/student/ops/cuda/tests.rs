//! The kernels, with their launches as they are made for a GPU, against the composed operations in double precision.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::super::attention::Heads;
use super::super::tests::{ACTIVATIONS, PLAIN, agree, attend, gap, largest, var};
use super::super::{Drop, Ops, Output};
use super::emulator::with_kernels;
use super::{add_rows, attention, check, cross_entropy};
use crate::student::{Decoder, Dropout, DropoutRates, Supervised, decoder, weights};

const DROP: Option<Drop> = Some(Drop { probability: 0.3, key: 17 });

/// The same comparison for `bf16`: inputs are such numbers in both forms, and what differs is the rounding of results.
fn agree_in_bf16(shapes: &[&[usize]], op: impl Fn(Ops, &[Tensor]) -> Result<Tensor>) {
    let narrow: Vec<Var> = shapes
        .iter()
        .enumerate()
        .map(|(place, shape)| {
            Var::from_tensor(&var(shape, place as f32).as_tensor().detach().to_dtype(DType::BF16).unwrap()).unwrap()
        })
        .collect();
    let wide: Vec<Var> =
        narrow.iter().map(|var| Var::from_tensor(&var.as_tensor().to_dtype(DType::F64).unwrap()).unwrap()).collect();
    let run = |ops: Ops, vars: &[Var]| {
        let inputs: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let y = op(ops, &inputs).unwrap();
        let slope = (var(y.dims(), 9.0).as_tensor().to_dtype(y.dtype()).unwrap() + 1.0).unwrap();
        let gradients = (&y * slope).unwrap().sum_all().unwrap().backward().unwrap();
        (y, vars.iter().map(|var| gradients.get(var).unwrap().clone()).collect::<Vec<_>>())
    };
    let ((y, dy), (want, dwant)) = (run(Ops::Fused, &narrow), run(Ops::Composed, &wide));
    assert!(gap(&y, &want) < 8e-3, "value: {:e}", gap(&y, &want));
    for (place, (got, want)) in dy.iter().zip(&dwant).enumerate() {
        assert_eq!(got.dtype(), DType::BF16);
        assert!(gap(got, want) < 2e-2, "gradient {place}: {:e}", gap(got, want));
    }
}

/// In both types.
fn both(shapes: &[&[usize]], op: impl Fn(Ops, &[Tensor]) -> Result<Tensor>) {
    agree(shapes, &op);
    agree_in_bf16(shapes, &op);
}

#[test]
fn linear_maps_agree() {
    with_kernels(|| {
        // Above zero, sums are no small differences of large numbers; in `bf16` adding one would round.
        agree(&[&[2, 130, 24], &[24, 40], &[40]], |ops, x| ops.linear(&(&x[0] + 1.0)?, &x[1], Some(&x[2])));
        agree(&[&[2, 130, 24], &[24, 300]], |ops, x| ops.linear(&(&x[0] + 1.0)?, &x[1], None));
        agree_in_bf16(&[&[2, 20, 24], &[24, 40], &[40]], |ops, x| ops.linear(&x[0], &x[1], Some(&x[2])));
        agree_in_bf16(&[&[2, 20, 24], &[24, 300]], |ops, x| ops.linear(&x[0], &x[1], None));
    });
}

#[test]
fn norms_agree() {
    with_kernels(|| {
        for width in [48, 300] {
            both(&[&[3, 50, width], &[width], &[width]], |ops, x| ops.layer_norm(&x[0], &x[1], &x[2], 1e-5));
            both(&[&[3, 50, width], &[width]], |ops, x| ops.rms_norm(&x[0], &(&x[1] + 1.0)?, 1e-6));
        }
        // Gemma's weights are one and a little, in `f32` where the rest is not.
        agree_in_bf16(&[&[9, 40], &[40]], |ops, x| {
            let weight = x[1].to_dtype(if ops == Ops::Fused { DType::F32 } else { DType::F64 })?;
            ops.rms_norm(&x[0], &(weight + 1.0)?, 1e-6)
        });
    });
}

#[test]
fn activations_agree() {
    with_kernels(|| {
        for activation in ACTIVATIONS {
            both(&[&[7, 301]], |ops, x| ops.activate(activation, &(&x[0] * 4.0)?));
            both(&[&[2, 9, 2 * 37]], |ops, x| ops.gate(activation, &(&x[0] * 4.0)?));
        }
    });
}

#[test]
fn attention_agrees() {
    with_kernels(|| {
        for time in [1, 5, 13, 40] {
            both(&[&[3, time, 3 * 24]], |ops, x| attend(ops, &x[0], &PLAIN, 0, None));
            for (cap, window) in
                [(None, None), (Some(1.5), None), (None, Some(1)), (None, Some(15)), (Some(0.7), Some(6))]
            {
                let heads = Heads { heads: 6, kv_heads: 2, head: 10, scale: 0.5, cap, window };
                both(&[&[2, time, 100]], |ops, x| attend(ops, &x[0], &heads, 0, None));
                both(&[&[2, time, 100]], |ops, x| attend(ops, &x[0], &heads, 6, None));
                both(&[&[2, time, 100]], |ops, x| attend(ops, &x[0], &heads, 10, DROP));
            }
        }
    });
}

#[test]
fn attention_to_more_keys_than_a_block_has_threads_agrees() {
    with_kernels(|| {
        let heads = Heads { heads: 2, kv_heads: 1, head: 4, scale: 0.5, cap: None, window: Some(290) };
        both(&[&[1, 300, 16]], |ops, x| attend(ops, &x[0], &heads, 4, DROP));
    });
}

#[test]
fn attention_in_blocks_agrees() {
    with_kernels(|| {
        for (window, limit) in [(None, 700), (Some(7), 700), (None, 1), (Some(3), 2000), (None, 7 * 6 * 40)] {
            let heads = Heads { heads: 6, kv_heads: 2, head: 10, scale: 0.5, cap: Some(1.5), window };
            both(&[&[3, 40, 100]], |ops, x| match ops {
                Ops::Fused => attention::within(limit, &x[0], &heads, None, DROP),
                Ops::Composed => attend(ops, &x[0], &heads, 0, DROP),
            });
        }
    });
}

#[test]
fn dropout_agrees() {
    with_kernels(|| {
        both(&[&[2, 30, 16], &[2, 30, 16]], |ops, x| ops.add_dropped(&x[0], &x[1], DROP));
        both(&[&[2, 30, 16]], |ops, x| ops.dropped(&x[0], DROP));
    });
}

#[test]
fn cross_entropy_agrees() {
    let targets: Vec<u32> = (0..150).map(|i| i * 7 % 300).collect();
    let weights: Vec<f32> = (0..150).map(|i| (i % 3) as f32 * 0.1).collect();
    with_kernels(|| {
        for limit in [1 << 23, 300 * 40] {
            for (cap, with_bias) in [(None, false), (None, true), (Some(2.5), false), (Some(2.5), true)] {
                let case = |ops: Ops, x: &[Tensor]| {
                    let h = (&x[0] * 0.5)?;
                    let output = Output { matrix: &x[1], bias: x.get(2), cap };
                    let result = match ops {
                        Ops::Fused => cross_entropy::within(limit, &h, &output, &targets, &weights)?,
                        Ops::Composed => ops.linear_cross_entropy(&h, &output, &targets, &weights)?,
                    };
                    let losses = result.losses.to_vec1::<f32>()?;
                    let sum: f64 = losses.iter().zip(&weights).map(|(loss, w)| f64::from(*loss) * f64::from(*w)).sum();
                    assert!((sum / result.total.to_dtype(DType::F64)?.to_scalar::<f64>()? - 1.0).abs() < 1e-5);
                    Ok(result.total)
                };
                let shapes: [&[usize]; 3] = [&[150, 6], &[300, 6], &[300]];
                both(&shapes[..if with_bias { 3 } else { 2 }], case);
            }
        }
    });
}

#[test]
fn rows_are_added_to_their_ids() {
    with_kernels(|| {
        let ids: Vec<u32> = (0..400).map(|place| if place % 3 == 0 { 2 } else { place * 7 % 11 }).collect();
        agree(&[&[11, 300]], |ops, x| ops.rows(&x[0], &ids));
        let table = var(&[11, 300], 0.0);
        // Numbers that either type has.
        let rows = var(&[400, 300], 1.0).as_tensor().detach().to_dtype(DType::BF16).unwrap();
        let rows = rows.to_dtype(DType::F32).unwrap();
        let mut want = vec![1f64; 11 * 300];
        let values: Vec<f32> = rows.flatten_all().unwrap().to_vec1().unwrap();
        for (id, row) in ids.iter().zip(values.chunks(300)) {
            (0..300).for_each(|c| want[*id as usize * 300 + c] += f64::from(row[c]));
        }
        let want = Tensor::from_vec(want, (11, 300), &Device::Cpu).unwrap();
        for dtype in [DType::F32, DType::BF16] {
            let rows = rows.to_dtype(dtype).unwrap();
            let before = Tensor::ones((11, 300), DType::F32, &Device::Cpu).unwrap();
            let got = add_rows(Some(before), &table, &ids, &rows).unwrap();
            assert_eq!(got.dtype(), DType::F32);
            assert!(gap(&got, &want) < 1e-6, "{:e}", gap(&got, &want));
        }
    });
}

#[test]
fn what_is_checked_on_a_device_passes_here() {
    with_kernels(|| check::disagreement(&Device::Cpu).unwrap());
}

/// Every fixture's model with kernels throughout, against the composed operations in double precision: what families vary
/// between the operations, and types that meet.
#[test]
fn every_family_agrees() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/families");
    let fixtures = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let fixtures: Vec<_> = fixtures.filter(|path| path.join("config.json").exists()).collect();
    assert!(fixtures.len() >= 15);
    let ids: Vec<u32> = (0..2 * 9).map(|place| 3 + place * 5 % 20).collect();
    let rows = [1, 4, 7, 8, 10, 16];
    let batch = Supervised {
        ids: &ids,
        batch: 2,
        rows: &rows,
        targets: &[4, 9, 5, 3, 7, 11],
        weights: &[0.2; 6],
        teacher: None,
    };
    let rates = DropoutRates { embedding: 0.1, residual: 0.2, attention: 0.1 };
    let dropout = Some(Dropout { rates, adapters: 0.0, key: 7 });
    with_kernels(|| {
        for fixture in fixtures {
            let run = |ops: Ops, dtype: DType| {
                let model = weights::read_model(&fixture, &Device::Cpu).unwrap();
                let tensors = model.weights.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(dtype).unwrap()));
                let (parameters, tensors) = decoder::trainable(&model.architecture, tensors.collect()).unwrap();
                let decoder = Decoder::new(model.architecture, &tensors).unwrap().with_ops(ops);
                let wanted: Vec<&Var> = parameters.iter().map(|(_, variable)| variable).collect();
                let (result, found) = decoder.loss_with_gradients(&batch, dropout, &wanted, false).unwrap();
                let names = parameters.iter().map(|(name, _)| name.clone());
                (result.total, names.zip(found.into_iter().map(Option::unwrap)).collect::<Vec<_>>())
            };
            let (want, dwant) = run(Ops::Composed, DType::F64);
            let most = dwant.iter().map(|(_, gradient)| largest(gradient)).fold(0.0, f64::max);
            // The worst of all gradients, of the largest number in any.
            let far = |(total, gradients): &(Tensor, Vec<(String, Tensor)>)| {
                let each = gradients
                    .iter()
                    .zip(&dwant)
                    .map(|((_, got), (_, want))| largest(&(got.to_dtype(DType::F64).unwrap() - want).unwrap()) / most);
                (
                    gap(total, &want),
                    each.fold(0.0, |most: f64, far| if far > most || far.is_nan() { far } else { most }),
                )
            };
            let (total, gradient) = far(&run(Ops::Fused, DType::F32));
            assert!(total < 1e-5 && gradient < 2e-5, "{}: {total:e} {gradient:e}", fixture.display());
            // In `bf16` what the same model does without kernels, with room for slopes that jump where rounding crosses 0.
            let ((_, composed), (total, gradient)) =
                (far(&run(Ops::Composed, DType::BF16)), far(&run(Ops::Fused, DType::BF16)));
            let bar = 2.0 * composed + 0.05;
            assert!(total < 0.05 && gradient < bar, "{}: {total:e} {gradient:e} {composed:e}", fixture.display());
        }
    });
}

#[test]
fn a_frozen_input_gets_no_gradient() {
    with_kernels(|| {
        let (x, weight, bias) = (var(&[4, 8], 0.0), var(&[8, 6], 1.0), var(&[6], 2.0));
        let (weight, bias) = (weight.as_tensor().detach(), bias.as_tensor().detach());
        let y = Ops::Fused.linear(&x, &weight, Some(&bias)).unwrap();
        let y = Ops::Fused.layer_norm(&y, &bias, &bias, 1e-5).unwrap();
        let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&x).is_some());
        assert!(gradients.get(&weight).is_none() && gradients.get(&bias).is_none());
    });
}

#[test]
fn numbers_that_are_none_reach_the_end() {
    with_kernels(|| {
        let x = Tensor::new(&[[1f32, f32::NAN, 2.0]], &Device::Cpu).unwrap().to_dtype(DType::BF16).unwrap();
        let weight = Tensor::ones(3, DType::BF16, &Device::Cpu).unwrap();
        let y = Ops::Fused.rms_norm(&x, &weight, 1e-6).unwrap().to_dtype(DType::F32).unwrap();
        assert!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|y| y.is_nan()));
    });
}
