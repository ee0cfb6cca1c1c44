//! The normal and Student's t distribution.

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::beta::checked_beta_reg;

/// The standard normal quantile: below it lies the share `p` of the distribution. Infinite at 0 and 1, and beyond;
/// not a number where `p` is none.
pub fn normal_quantile(p: f64) -> f64 {
    if p.is_nan() {
        f64::NAN
    } else if p <= 0.0 {
        f64::NEG_INFINITY
    } else if p >= 1.0 {
        f64::INFINITY
    } else {
        Normal::standard().inverse_cdf(p)
    }
}

/// The share of Student's t distribution (Student 1908) below `t`, with `freedom` degrees of freedom. Not a number where
/// `t` is none, or `freedom` is not a finite number above zero. Held to scipy's up to 100,000 degrees of freedom.
///
/// It is an incomplete beta function (Abramowitz and Stegun 1964, 26.7.1), of t²/(ν + t²) near the centre and of its
/// complement in the tails: either one loses the digits of the other end, which is why this is not statrs' own.
pub fn student_cdf(t: f64, freedom: f64) -> f64 {
    if t > 0.0 { 1.0 - upper_tail(t, freedom) } else { upper_tail(-t, freedom) }
}

/// The regularized incomplete beta function; not a number outside of its domain.
fn beta_share(a: f64, b: f64, x: f64) -> f64 {
    checked_beta_reg(a, b, x).unwrap_or(f64::NAN)
}

/// The share above `t`, which is not below zero.
fn upper_tail(t: f64, freedom: f64) -> f64 {
    let square = t * t;
    if square < 1.0 {
        0.5 - beta_share(0.5, freedom / 2.0, square / (freedom + square)) / 2.0
    } else {
        // Divided by the square, for it may be infinite.
        beta_share(freedom / 2.0, 0.5, freedom / square / (freedom / square + 1.0)) / 2.0
    }
}

/// The quantile of Student's t distribution with `freedom` degrees of freedom: [`student_cdf`] turned round.
/// Infinite where `p` is 0 or 1, and beyond; not a number as there.
pub fn student_quantile(p: f64, freedom: f64) -> f64 {
    if p.is_nan() || !freedom.is_finite() || freedom <= 0.0 {
        return f64::NAN;
    }
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    let (tail, sign) = if p < 0.5 { (p, -1.0) } else { (1.0 - p, 1.0) };
    if tail == 0.5 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while upper_tail(high, freedom) > tail && high < f64::MAX / 4.0 {
        (low, high) = (high, high * 2.0);
    }
    // Halving is slow and never wrong: it ends when no number lies between the two.
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return sign * high;
        }
        if upper_tail(middle, freedom) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_degree_of_freedom_is_cauchy_and_ends_are_infinite() {
        for t in [-1e9, -3.0, -1e-6, 0.0, 0.5, 7.0, 1e9] {
            let want = 0.5 + f64::atan(t) / std::f64::consts::PI;
            assert!((student_cdf(t, 1.0) - want).abs() < 1e-12, "{t}");
        }
        assert_eq!((student_cdf(f64::INFINITY, 4.0), student_cdf(f64::NEG_INFINITY, 4.0)), (1.0, 0.0));
        assert_eq!((student_quantile(0.0, 4.0), student_quantile(1.0, 4.0)), (f64::NEG_INFINITY, f64::INFINITY));
        assert_eq!((student_quantile(0.5, 4.0), normal_quantile(0.5)), (0.0, 0.0));
        assert_eq!((normal_quantile(0.0), normal_quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
    }

    #[test]
    fn what_is_not_a_number_gives_none() {
        for found in [
            normal_quantile(f64::NAN),
            student_cdf(f64::NAN, 3.0),
            student_cdf(1.0, 0.0),
            student_cdf(1.0, f64::NAN),
            student_quantile(f64::NAN, 3.0),
            student_quantile(0.9, -1.0),
            student_quantile(0.9, f64::NAN),
            student_cdf(1.0, f64::INFINITY),
            student_quantile(0.9, f64::INFINITY),
        ] {
            assert!(found.is_nan(), "{found}");
        }
    }
}
