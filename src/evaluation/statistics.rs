//! How sure a number is: intervals for accuracies, tests and intervals for differences over the same examples.

use crate::seeds::Stream;

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

/// Two-sided exact McNemar test: the probability of a split at least as uneven as `wins` to `losses`, if each of those
/// examples were as likely to go one way as the other.
pub fn mcnemar(wins: usize, losses: usize) -> f64 {
    let n = wins + losses;
    let few = wins.min(losses);
    // Σ C(n, i) / 2ⁿ for i ≤ few, in logarithms: 2ⁿ overflows beyond a thousand examples.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = log_term.exp();
    for i in 1..=few {
        log_term += ((n - i + 1) as f64 / i as f64).ln();
        sum += log_term.exp();
    }
    (2.0 * sum).min(1.0)
}

/// Mean and sample standard deviation; the deviation is `None` for fewer than two values.
pub fn mean_and_deviation(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (mean, (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()))
}

/// Draws of the bootstrap below.
const RESAMPLES: usize = 2000;

/// The mean of `differences` with its 95 % percentile bootstrap interval (Efron 1979). One number for each example:
/// what one condition got right there less what the other did, averaged over seeds where there are several.
pub fn paired_bootstrap(differences: &[f64]) -> (f64, (f64, f64)) {
    if differences.is_empty() {
        return (0.0, (-1.0, 1.0));
    }
    let n = differences.len();
    let mean = differences.iter().sum::<f64>() / n as f64;
    let mut stream = Stream::new(0, &["bootstrap"]);
    let mut means: Vec<f64> =
        (0..RESAMPLES).map(|_| (0..n).map(|_| differences[stream.below(n)]).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((RESAMPLES as f64 * share) as usize).min(RESAMPLES - 1)];
    (mean, (at(0.025), at(0.975)))
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
    fn mcnemar_is_the_binomial_test() {
        assert!((mcnemar(1, 9) - 0.021484375).abs() < 1e-12);
        assert_eq!(mcnemar(5, 5), 1.0);
        assert_eq!(mcnemar(0, 0), 1.0);
        assert!((mcnemar(0, 10) - 2.0 / 1024.0).abs() < 1e-12);
        assert!(mcnemar(900, 1100) < 1e-4 && mcnemar(990, 1010) > 0.6);
    }

    #[test]
    fn the_bootstrap_covers_the_mean_and_narrows_with_more_examples() {
        let sample = |n: usize| {
            let mut stream = Stream::new(1, &["sample"]);
            (0..n)
                .map(|_| if stream.chance(0.3) { 1.0 } else { 0.0 } - if stream.chance(0.1) { 1.0 } else { 0.0 })
                .collect::<Vec<_>>()
        };
        let (mean, (low, high)) = paired_bootstrap(&sample(600));
        assert!(low < mean && mean < high && low > 0.1 && high < 0.3, "{low} {mean} {high}");
        let (_, (wide_low, wide_high)) = paired_bootstrap(&sample(60));
        assert!(wide_high - wide_low > 2.0 * (high - low));
        assert_eq!(paired_bootstrap(&sample(600)), paired_bootstrap(&sample(600)));
    }

    #[test]
    fn deviations_are_those_of_samples() {
        assert_eq!(mean_and_deviation(&[1.0, 2.0, 3.0]), (2.0, Some(1.0)));
        assert_eq!(mean_and_deviation(&[4.0]), (4.0, None));
    }
}
