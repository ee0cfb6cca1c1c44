//! Products of small matrices for attention heads.
//!
//! A head of the toy student multiplies 95 x 16 by 16 x 95. For that a general matrix product spends more time packing
//! its operands than multiplying, and can't skip the half that causality makes zero. This one reads its operands where
//! they lie, in tiles that fit in registers.

use pulp::{Arch, Simd, WithSimd};

/// A matrix in a slice: element (row, column) lies at `row * rows + column * columns`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub columns: usize,
}

/// C (m x n, rows `stride` apart) = A (m x k) · B (k x n, rows `b.rows` apart, columns adjacent), added to C when
/// `accumulate`. Sums run over k in order.
#[allow(clippy::too_many_arguments)]
pub fn matmul(m: usize, n: usize, k: usize, a: View, b: View, c: &mut [f32], stride: usize, accumulate: bool) {
    debug_assert_eq!(b.columns, 1);
    if m == 0 || n == 0 {
        return;
    }
    Arch::new().dispatch(Product { m, n, k, a, b, c, stride, accumulate });
}

struct Product<'a> {
    m: usize,
    n: usize,
    k: usize,
    a: View<'a>,
    b: View<'a>,
    c: &'a mut [f32],
    stride: usize,
    accumulate: bool,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = S::F32_LANES;
        let mut column = 0;
        while column < self.n {
            let left = self.n - column;
            if left >= 2 * lanes {
                self.columns::<S, 2, false>(simd, column, lanes);
                column += 2 * lanes;
            } else if left >= lanes {
                self.columns::<S, 1, false>(simd, column, lanes);
                column += lanes;
            } else {
                self.columns::<S, 1, true>(simd, column, left);
                column = self.n;
            }
        }
    }
}

impl Product<'_> {
    /// All rows of `V` vectors of columns. When `PARTIAL`, only `width` lanes of the one vector are in use.
    #[inline(always)]
    fn columns<S: Simd, const V: usize, const PARTIAL: bool>(&mut self, simd: S, column: usize, width: usize) {
        let mut row = 0;
        while row < self.m {
            let left = self.m - row;
            match left {
                1 => self.tile::<S, 1, V, PARTIAL>(simd, row, column, width),
                2 => self.tile::<S, 2, V, PARTIAL>(simd, row, column, width),
                3 => self.tile::<S, 3, V, PARTIAL>(simd, row, column, width),
                4 | 5 => self.tile::<S, 4, V, PARTIAL>(simd, row, column, width),
                _ => self.tile::<S, 6, V, PARTIAL>(simd, row, column, width),
            }
            row += match left {
                1..=3 => left,
                4 | 5 => 4,
                _ => 6,
            };
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize, const PARTIAL: bool>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        width: usize,
    ) {
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for depth in 0..self.k {
            let values = load::<S, V, PARTIAL>(simd, &self.b.data[depth * self.b.rows + column..], width);
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = simd.splat_f32s(self.a.data[(row + r) * self.a.rows + depth * self.a.columns]);
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = simd.mul_add_f32s(factor, value, *sum);
                }
            }
        }
        for (r, mut sums) in sums.into_iter().enumerate() {
            let line = &mut self.c[(row + r) * self.stride + column..];
            if self.accumulate {
                let before = load::<S, V, PARTIAL>(simd, line, width);
                for (sum, before) in sums.iter_mut().zip(before) {
                    *sum = simd.add_f32s(*sum, before);
                }
            }
            if PARTIAL {
                simd.partial_store_f32s(&mut line[..width], sums[0]);
            } else {
                let (vectors, _) = S::as_mut_simd_f32s(&mut line[..V * S::F32_LANES]);
                vectors.copy_from_slice(&sums);
            }
        }
    }
}

/// The next `V` vectors of a line, or `width` lanes of one.
#[inline(always)]
fn load<S: Simd, const V: usize, const PARTIAL: bool>(simd: S, line: &[f32], width: usize) -> [S::f32s; V] {
    let mut values = [simd.splat_f32s(0.0); V];
    if PARTIAL {
        values[0] = simd.partial_load_f32s(&line[..width]);
    } else {
        values.copy_from_slice(S::as_simd_f32s(&line[..V * S::F32_LANES]).0);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32 + seed) * 0.37).sin()).collect()
    }

    #[test]
    fn every_shape_agrees_with_the_definition() {
        for (m, n, k) in [(1, 1, 1), (7, 16, 16), (95, 95, 16), (6, 33, 5), (13, 70, 64), (4, 31, 3), (5, 40, 0)] {
            let (a, b) = (numbers(m * k, 1.0), numbers(k * n, 2.0));
            for transposed in [false, true] {
                let view = if transposed {
                    View { data: &a, rows: 1, columns: m }
                } else {
                    View { data: &a, rows: k, columns: 1 }
                };
                let stride = n + 3;
                let mut c = vec![0.5f32; m * stride];
                matmul(m, n, k, view, View { data: &b, rows: n, columns: 1 }, &mut c, stride, true);
                for row in 0..m {
                    for column in 0..stride {
                        let mut want = 0.5;
                        if column < n {
                            for depth in 0..k {
                                want += a[row * view.rows + depth * view.columns] * b[depth * n + column];
                            }
                        }
                        let got = c[row * stride + column];
                        assert!((got - want).abs() < 1e-4, "{m} {n} {k} ({row}, {column}): {got} for {want}");
                    }
                }
            }
        }
    }
}
