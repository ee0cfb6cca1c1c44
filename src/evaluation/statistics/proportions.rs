//! Shares of right answers: an interval for one, and for the difference of two that share no examples.

/// Standard normal quantile for two-sided 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's 95 % interval for `correct` of `n` (Wilson 1927). The whole range for `n = 0`.
pub fn wilson(correct: usize, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (n as f64, correct as f64 / n as f64);
    let centre = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// The difference of two shares that were counted over *different* examples, with its 95 % interval.
///
/// `one` and `other` are (right answers, examples). This is Newcombe's hybrid of two score intervals (Newcombe 1998,
/// "Interval estimation for the difference between independent proportions", method 10), the `newcomb` of
/// statsmodels. The difference and its interval lie in -1 to 1; where a condition has no examples, its share is unknown:
/// the difference is `None` and the interval says what the other share leaves open.
///
/// Rows that share their examples are compared by [`super::paired_bootstrap`] and [`super::mcnemar`] instead, which see
/// smaller differences.
pub fn newcombe(one: (usize, usize), other: (usize, usize)) -> (Option<f64>, (f64, f64)) {
    let (one_low, one_high) = wilson(one.0, one.1);
    let (other_low, other_high) = wilson(other.0, other.1);
    if one.1 == 0 || other.1 == 0 {
        return (None, (one_low - other_high, one_high - other_low));
    }
    let (one, other) = (one.0 as f64 / one.1 as f64, other.0 as f64 / other.1 as f64);
    let difference = one - other;
    let low = difference - (one - one_low).hypot(other_high - other);
    let high = difference + (one_high - one).hypot(other - other_low);
    (Some(difference), (low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_gives_the_published_numbers() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        for (correct, n, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let (l, h) = wilson(correct, n);
            assert!((l - low).abs() < 5e-5 && (h - high).abs() < 5e-5, "{correct}/{n}: {l} {h}");
        }
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        assert_eq!(wilson(20, 20).1, 1.0);
    }

    #[test]
    fn newcombe_gives_the_published_numbers() {
        // Newcombe 1998, table II, method 10: (a) 56/70 - 48/80, (d) 5/56 - 0/29, (h) 10/10 - 0/10.
        for (one, other, low, high) in [
            ((56, 70), (48, 80), 0.0524, 0.3339),
            ((5, 56), (0, 29), -0.0381, 0.1926),
            ((10, 10), (0, 10), 0.6075, 1.0),
        ] {
            let (_, (l, h)) = newcombe(one, other);
            assert!((l - low).abs() < 5e-5 && (h - high).abs() < 5e-5, "{one:?} {other:?}: {l} {h}");
        }
    }

    #[test]
    fn without_examples_nothing_is_known_of_a_share() {
        assert_eq!(newcombe((0, 0), (0, 0)), (None, (-1.0, 1.0)));
        let (difference, (low, high)) = newcombe((0, 0), (20, 20));
        assert!(difference.is_none() && low == -1.0 && high > 0.0 && high < 0.2, "{low} {high}");
    }
}
