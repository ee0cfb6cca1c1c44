//! The inner loops on the CPU, over plain `f32` slices.
//!
//! Each function is compiled for several instruction sets and the best one is chosen at run time (`pulp`). Sums run
//! over 32 lanes in a fixed order, so a result depends neither on the thread count nor on the batch around it.

use pulp::Arch;

use crate::student::architecture::Activation;

/// Partial sums kept side by side; two AVX-512 registers.
const LANES: usize = 32;

/// Compiles a loop for this machine's widest vectors. The loop must be `#[inline(always)]`: as a function of its own it
/// would be compiled for every machine.
#[inline(always)]
fn vectorised<R>(body: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(body)
}

/// e^x for finite x, within 1e-7 of the truth (relative), without a branch. Below -87 it gives e^-87.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that n * ln 2 is subtracted without rounding.
    const LN2_HIGH: f32 = 0.693_145_75;
    const LN2_LOW: f32 = 1.428_606_8e-6;
    let x = x.clamp(-87.0, 88.0);
    // Adding 1.5 * 2^23 rounds to the nearest whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x.mul_add(LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    // Taylor to the seventh power: |r| <= ln 2 / 2, so the rest is below 6e-9. Fused, as every rounding shows.
    let mut p = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = r.mul_add(p, coefficient);
    }
    p * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

#[inline(always)]
fn lanes_sum(partial: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    let mut partial = partial;
    while width > 0 {
        for lane in 0..width {
            partial[lane] += partial[lane + width];
        }
        width /= 2;
    }
    partial[0]
}

/// Sum of f(x, y) over two slices of one length.
#[inline(always)]
fn sum_of(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut partial = [0f32; LANES];
    let whole = x.len() / LANES * LANES;
    for (x, y) in x[..whole].chunks_exact(LANES).zip(y[..whole].chunks_exact(LANES)) {
        for lane in 0..LANES {
            partial[lane] += f(x[lane], y[lane]);
        }
    }
    let rest: f32 = x[whole..].iter().zip(&y[whole..]).map(|(x, y)| f(*x, *y)).sum();
    lanes_sum(partial) + rest
}

#[inline(always)]
fn maximum(x: &[f32]) -> f32 {
    let mut partial = [f32::NEG_INFINITY; LANES];
    let whole = x.len() / LANES * LANES;
    for x in x[..whole].chunks_exact(LANES) {
        for lane in 0..LANES {
            partial[lane] = if x[lane] > partial[lane] { x[lane] } else { partial[lane] };
        }
    }
    x[whole..].iter().chain(&partial).fold(f32::NEG_INFINITY, |max, x| if *x > max { *x } else { max })
}

/// Replaces each x by e^(x * scale - shift) and gives their sum. `scale` must not be negative.
#[inline(always)]
fn exp_in_place(x: &mut [f32], scale: f32, shift: f32) -> f32 {
    #[inline(always)]
    fn lanes(x: &mut [f32; LANES], partial: &mut [f32; LANES], scale: f32, shift: f32) {
        for lane in 0..LANES {
            x[lane] = exp(x[lane] * scale - shift);
            partial[lane] += x[lane];
        }
    }
    let mut partial = [0f32; LANES];
    let (body, tail) = x.as_chunks_mut::<LANES>();
    for x in body {
        lanes(x, &mut partial, scale, shift);
    }
    if !tail.is_empty() {
        // One vector more is cheaper than a few numbers one by one; what fills it up adds 1e-38.
        let mut padded = [f32::NEG_INFINITY; LANES];
        padded[..tail.len()].copy_from_slice(tail);
        lanes(&mut padded, &mut partial, scale, shift);
        tail.copy_from_slice(&padded[..tail.len()]);
    }
    lanes_sum(partial)
}

/// y += x.
pub fn add(y: &mut [f32], x: &[f32]) {
    vectorised(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, x)| *y += x),
    );
}

/// Sum of squares, in double precision over blocks, for the global gradient norm.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    x.chunks(4096)
        .map(|block| {
            f64::from(vectorised(
                #[inline(always)]
                || sum_of(block, block, |x, y| x * y),
            ))
        })
        .sum()
}

/// Σ x·y.
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    vectorised(
        #[inline(always)]
        || sum_of(x, y, |x, y| x * y),
    )
}

const GELU_SCALE: f32 = 0.797_884_6; // √(2/π)
const GELU_CUBE: f32 = 0.044_715;

/// x·σ(2u) with u = √(2/π)·(x + 0.044715·x³) is the tanh form of GELU.
#[inline(always)]
fn gelu_gate(x: f32) -> f32 {
    1.0 / (1.0 + exp(-2.0 * GELU_SCALE * (x + GELU_CUBE * x * x * x)))
}

/// One row of layer norm: y = (x - mean) / sqrt(variance + eps) * weight + bias.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, y: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            let n = x.len() as f32;
            let mean = sum_of(x, x, |x, _| x) / n;
            let scale = 1.0 / (sum_of(x, x, |x, _| (x - mean) * (x - mean)) / n + eps).sqrt();
            for (((x, y), weight), bias) in x.iter().zip(y).zip(weight).zip(bias) {
                *y = (x - mean) * scale * weight + bias;
            }
        },
    );
}

/// Gradients of one row of layer norm. `dx` is set; `dweight` and `dbias` are added to.
pub fn layer_norm_backward(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    dy: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    vectorised(
        #[inline(always)]
        || {
            let n = x.len() as f32;
            let mean = sum_of(x, x, |x, _| x) / n;
            let scale = 1.0 / (sum_of(x, x, |x, _| (x - mean) * (x - mean)) / n + eps).sqrt();
            for ((((x, dy), weight), dx), (dweight, dbias)) in
                x.iter().zip(dy).zip(weight).zip(dx.iter_mut()).zip(dweight.iter_mut().zip(dbias))
            {
                *dweight += dy * (x - mean) * scale;
                *dbias += dy;
                *dx = dy * weight;
            }
            let mean_dx = sum_of(dx, dx, |dx, _| dx) / n;
            let along = sum_of(dx, x, |dx, x| dx * (x - mean)) * scale / n;
            for (dx, x) in dx.iter_mut().zip(x) {
                *dx = scale * (*dx - mean_dx - (x - mean) * scale * along);
            }
        },
    );
}

/// One row of root-mean-square norm: y = x / sqrt(mean(x^2) + eps) * weight.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            let scale = 1.0 / (sum_of(x, x, |x, _| x * x) / x.len() as f32 + eps).sqrt();
            for ((x, y), weight) in x.iter().zip(y).zip(weight) {
                *y = x * scale * weight;
            }
        },
    );
}

/// Gradients of one row of root-mean-square norm. `dx` is set; `dweight` is added to.
pub fn rms_norm_backward(x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32], dweight: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            let n = x.len() as f32;
            let scale = 1.0 / (sum_of(x, x, |x, _| x * x) / n + eps).sqrt();
            for ((((x, dy), weight), dx), dweight) in
                x.iter().zip(dy).zip(weight).zip(dx.iter_mut()).zip(dweight.iter_mut())
            {
                *dweight += dy * x * scale;
                *dx = dy * weight;
            }
            let along = sum_of(dx, x, |dx, x| dx * x) * scale * scale / n;
            for (dx, x) in dx.iter_mut().zip(x) {
                *dx = scale * (*dx - x * along);
            }
        },
    );
}

/// Softmax of `x * scale` in place; gives the log of the sum of exponentials.
pub fn softmax(x: &mut [f32], scale: f32) -> f32 {
    vectorised(
        #[inline(always)]
        || {
            let max = maximum(x) * scale;
            let sum = exp_in_place(x, scale, max);
            let norm = 1.0 / sum;
            x.iter_mut().for_each(|x| *x *= norm);
            max + sum.ln()
        },
    )
}

/// The softmax of `x * scale` again, from the log sum that [`softmax`] gave.
pub fn softmax_again(x: &mut [f32], scale: f32, log_sum: f32) {
    vectorised(
        #[inline(always)]
        || {
            exp_in_place(x, scale, log_sum);
        },
    );
}

/// Gradient of softmax(s * scale) in place: ds = p · (dp - Σ p·dp) · scale, where `along` is that sum.
pub fn softmax_backward(p: &[f32], dp: &mut [f32], along: f32, scale: f32) {
    vectorised(
        #[inline(always)]
        || p.iter().zip(dp).for_each(|(p, dp)| *dp = p * (*dp - along) * scale),
    );
}

/// Bends `x * scale` to stay below `cap`, in place: cap · tanh(x · scale / cap).
pub fn bend(x: &mut [f32], scale: f32, cap: f32) {
    vectorised(
        #[inline(always)]
        || x.iter_mut().for_each(|x| *x = cap * tanh(*x * scale / cap)),
    );
}

/// The gradient of `x` from that of what it was bent to, in place.
pub fn bend_backward(bent: &[f32], dx: &mut [f32], scale: f32, cap: f32) {
    vectorised(
        #[inline(always)]
        || bent.iter().zip(dx).for_each(|(bent, dx)| *dx *= scale * (1.0 - (bent / cap) * (bent / cap))),
    );
}

/// Turns pairs of numbers by angles; `direction` -1 turns them back.
pub fn turn(first: &mut [f32], second: &mut [f32], cosines: &[f32], sines: &[f32], direction: f32) {
    vectorised(
        #[inline(always)]
        || {
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
                let sin = sin * direction;
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        },
    );
}

/// σ(x).
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The error function, within 4e-7: a quotient of polynomials in x² on [-3.9, 3.9], beyond which `f32` has only ±1.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-3.925, 3.925);
    let z = x * x;
    let mut above = -2.726_142_3e-10;
    for coefficient in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906e-4, -2.954_6e-3, -0.016_096_03] {
        above = z.mul_add(above, coefficient);
    }
    let mut below = -1.456_607_2e-5;
    for coefficient in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
        below = z.mul_add(below, coefficient);
    }
    x * above / below
}

/// An activation's value and slope.
#[inline(always)]
fn curve(activation: Activation, x: f32) -> (f32, f32) {
    match activation {
        Activation::GeluTanh => {
            let gate = gelu_gate(x);
            let slope = GELU_SCALE * (2.0 + 6.0 * GELU_CUBE * x * x);
            (x * gate, gate + x * gate * (1.0 - gate) * slope)
        }
        Activation::Gelu => {
            let share = 0.5 + 0.5 * erf(x * std::f32::consts::FRAC_1_SQRT_2);
            // The density of the normal distribution: e^(-x²/2) / √2π.
            (x * share, share + x * 0.398_942_3 * exp(-0.5 * x * x))
        }
        Activation::Silu => {
            let gate = sigmoid(x);
            (x * gate, gate * (1.0 + x * (1.0 - gate)))
        }
        Activation::Relu => (if x > 0.0 { x } else { 0.0 }, if x > 0.0 { 1.0 } else { 0.0 }),
    }
}

/// One loop for each activation, so that none asks in its inside which it is.
macro_rules! for_each_activation {
    ($activation:expr, $name:ident => $body:expr) => {
        match $activation {
            Activation::GeluTanh => {
                const $name: Activation = Activation::GeluTanh;
                vectorised(
                    #[inline(always)]
                    || $body,
                )
            }
            Activation::Gelu => {
                const $name: Activation = Activation::Gelu;
                vectorised(
                    #[inline(always)]
                    || $body,
                )
            }
            Activation::Silu => {
                const $name: Activation = Activation::Silu;
                vectorised(
                    #[inline(always)]
                    || $body,
                )
            }
            Activation::Relu => {
                const $name: Activation = Activation::Relu;
                vectorised(
                    #[inline(always)]
                    || $body,
                )
            }
        }
    };
}

/// y = f(x).
pub fn activate(activation: Activation, x: &[f32], y: &mut [f32]) {
    for_each_activation!(activation, ACTIVATION => x.iter().zip(y).for_each(|(x, y)| *y = curve(ACTIVATION, *x).0));
}

/// dx = dy · f'(x).
pub fn activate_backward(activation: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for_each_activation!(activation, ACTIVATION => x.iter().zip(dy).zip(dx).for_each(|((x, dy), dx)| *dx = dy * curve(ACTIVATION, *x).1));
}

/// y = f(gate) · value.
pub fn gate(activation: Activation, gates: &[f32], values: &[f32], y: &mut [f32]) {
    for_each_activation!(activation, ACTIVATION => gates.iter().zip(values).zip(y).for_each(|((g, v), y)| *y = curve(ACTIVATION, *g).0 * v));
}

/// The gradients of both sides of [`gate`].
pub fn gate_backward(
    activation: Activation,
    gates: &[f32],
    values: &[f32],
    dy: &[f32],
    dgates: &mut [f32],
    dvalues: &mut [f32],
) {
    for_each_activation!(activation, ACTIVATION => {
        for ((((g, v), dy), dg), dv) in gates.iter().zip(values).zip(dy).zip(dgates).zip(dvalues) {
            let (value, slope) = curve(ACTIVATION, *g);
            *dg = dy * v * slope;
            *dv = dy * value;
        }
    });
}

/// Within 3e-7 of the truth (absolute).
#[inline(always)]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// Turns logits into `weight · (softmax - onehot(target))` in place and gives the cross-entropy in nats.
pub fn cross_entropy(logits: &mut [f32], target: usize, weight: f32) -> f32 {
    vectorised(
        #[inline(always)]
        || {
            let max = maximum(logits);
            let wanted = logits[target];
            let sum = exp_in_place(logits, 1.0, max);
            let norm = weight / sum;
            logits.iter_mut().for_each(|x| *x *= norm);
            logits[target] -= weight;
            sum.ln() + max - wanted
        },
    )
}

/// Settings of one AdamW step for one tensor; the bias corrections are `1 / (1 - beta^step)`. What is one less something
/// is rounded once, here: 1 - 0.999 in `f32` is off by 5e-5, and every step of the run with it.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    pub learning_rate: f32,
    pub beta1: f32,
    pub beta2: f32,
    /// `1 - beta1` and `1 - beta2`.
    pub rest1: f32,
    pub rest2: f32,
    pub epsilon: f32,
    /// `1 - learning rate * weight decay`.
    pub keep: f32,
    pub correction1: f32,
    pub correction2: f32,
    /// What gradients are multiplied by first: the clipping factor.
    pub gradient_scale: f32,
}

/// One AdamW step in place (Loshchilov and Hutter 2019, as torch.optim.AdamW does it).
pub fn adamw(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], step: AdamW) {
    vectorised(
        #[inline(always)]
        || {
            for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                let g = g * step.gradient_scale;
                *m = step.beta1 * *m + step.rest1 * g;
                *v = step.beta2 * *v + step.rest2 * g * g;
                let denominator = (*v * step.correction2).sqrt() + step.epsilon;
                *p = *p * step.keep - step.learning_rate * (*m * step.correction1) / denominator;
            }
        },
    );
}

/// Multiplies x by a dropout mask: element `i` survives, scaled up, if its random number says so. The mask depends on
/// `key` and the element's number alone, so the backward pass draws it again instead of keeping it.
pub fn dropout(x: &mut [f32], first: u32, key: u32, probability: f32) {
    let (threshold, scale) = (threshold(probability), 1.0 / (1.0 - probability));
    vectorised(
        #[inline(always)]
        || {
            for (place, x) in x.iter_mut().enumerate() {
                let kept = scramble(first.wrapping_add(place as u32), key) >= threshold;
                *x *= if kept { scale } else { 0.0 };
            }
        },
    );
}

/// y = x + dropout(r), all of one length.
pub fn add_dropped(x: &[f32], r: &[f32], y: &mut [f32], first: u32, key: u32, probability: f32) {
    let (threshold, scale) = (threshold(probability), 1.0 / (1.0 - probability));
    vectorised(
        #[inline(always)]
        || {
            for (place, ((x, r), y)) in x.iter().zip(r).zip(y).enumerate() {
                let kept = scramble(first.wrapping_add(place as u32), key) >= threshold;
                *y = x + r * if kept { scale } else { 0.0 };
            }
        },
    );
}

/// A number is dropped whose random bits are below this.
pub fn threshold(probability: f32) -> u32 {
    (f64::from(probability) * f64::from(u32::MAX)) as u32
}

/// Mixes a counter and a key into 32 random bits (the finaliser of MurmurHash3).
#[inline(always)]
pub fn scramble(counter: u32, key: u32) -> u32 {
    let mut h = counter.wrapping_mul(0x9e37_79b1) ^ key;
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_one_part_in_ten_million() {
        let mut x = -86.5f32;
        while x < 87.5 {
            let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got / want - 1.0).abs() < 1.05e-7, "exp({x}): {got} for {want}");
            x += 0.000_917;
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn softmax_sums_to_one_whatever_the_length() {
        for length in [1, 2, 31, 32, 33, 100] {
            let mut x: Vec<f32> = (0..length).map(|i| (i as f32 * 0.7).sin() * 5.0).collect();
            let raw = x.clone();
            let log_sum = softmax(&mut x, 0.5);
            let want: f64 = raw.iter().map(|x| (f64::from(*x) * 0.5).exp()).sum::<f64>().ln();
            assert!((f64::from(log_sum) - want).abs() < 1e-6);
            assert!((x.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            let mut again = raw;
            softmax_again(&mut again, 0.5, log_sum);
            assert!(x.iter().zip(&again).all(|(x, y)| (x - y).abs() < 1e-6));
        }
    }

    #[test]
    fn dropout_keeps_its_share_and_its_mean() {
        let mut x = vec![1f32; 200_000];
        dropout(&mut x, 0, 77, 0.1);
        let kept = x.iter().filter(|x| **x > 0.0).count() as f64 / x.len() as f64;
        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
        assert!((kept - 0.9).abs() < 0.003 && (mean - 1.0).abs() < 0.005, "{kept} {mean}");
        // Neighbours are independent: both survive in 81 of 100 pairs.
        let pairs = x.chunks(2).filter(|pair| pair[0] > 0.0 && pair[1] > 0.0).count() as f64 / 100_000.0;
        assert!((pairs - 0.81).abs() < 0.005, "{pairs}");
        // A mask drawn in two pieces is the mask drawn in one.
        let (mut whole, mut halves) = (vec![1f32; 64], vec![1f32; 64]);
        dropout(&mut whole, 0, 5, 0.5);
        dropout(&mut halves[..20], 0, 5, 0.5);
        dropout(&mut halves[20..], 20, 5, 0.5);
        assert_eq!(whole, halves);
    }
}
