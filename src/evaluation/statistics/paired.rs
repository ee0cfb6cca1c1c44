//! Two conditions over the same examples: a test, and what the test could see.

use super::normal_quantile;

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

/// How often a true difference of the size below is to be seen.
pub(super) const POWER: f64 = 0.8;

/// The smallest difference in accuracy that McNemar's test over `n` examples could see at a `level`, such as 0.05 or what
/// Holm leaves of it: at this true difference it speaks four times of five (80 % power, two-sided).
///
/// `share` is the share of examples that only one of the two conditions gets right, from 0 to 1, and is fixed. This is the
/// sample size of Connor 1987 ("Sample size for testing differences in proportions for the paired-sample design") solved
/// for the difference d, with z₁ and z₂ the normal quantiles of 1 − level/2 and 80 %:
///
/// n d² = (z₁ √share + z₂ √(share − d²))²
///
/// A difference can't be larger than the share of examples that make it. Where the share is too small for any difference
/// to be seen, the answer is the smallest difference that would be seen if all those examples went one way, so that the
/// share were the difference itself. `None` for fewer examples than the exact test needs to speak at all (six at 5 %), and for a share
/// that is not in 0 to 1.
///
/// Miettinen 1968 averages over the number of such examples and comes out slightly smaller. At Connor's difference the
/// exact test has a power of 76 to 81 %, because it can't speak at 5 % precisely.
pub fn detectable_difference(n: usize, share: f64, level: f64) -> Option<f64> {
    // The exact test of n examples that all go one way has the p-value 2 / 2ⁿ.
    let fewest = (2.0 / level).log2().ceil();
    if (n as f64) < fewest || !(0.0..=1.0).contains(&share) || !(level > 0.0 && level < 1.0) {
        return None;
    }
    let n = n as f64;
    let (speak, see) = (normal_quantile(1.0 - level / 2.0), normal_quantile(POWER));
    // Connor's formula is a quadratic equation in d, whose larger root is the one with the right signs.
    let at_share = share.sqrt() * (speak * n.sqrt() + see * (n + see * see - speak * speak).sqrt()) / (n + see * see);
    if share > 0.0 && at_share <= share {
        return Some(at_share);
    }
    // With share = d the formula is quadratic in √(1 − d).
    let root = (n * (n + see * see - speak * speak)).sqrt();
    let rest = (root - speak * see) / (n + see * see);
    Some(1.0 - rest * rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::statistics::ALPHA;

    #[test]
    fn mcnemar_is_the_binomial_test() {
        assert!((mcnemar(1, 9) - 0.021484375).abs() < 1e-12);
        assert_eq!(mcnemar(5, 5), 1.0);
        assert_eq!(mcnemar(0, 0), 1.0);
        assert!((mcnemar(0, 10) - 2.0 / 1024.0).abs() < 1e-12);
        assert!(mcnemar(900, 1100) < 1e-4 && mcnemar(990, 1010) > 0.6);
    }

    #[test]
    fn deviations_are_those_of_samples() {
        assert_eq!(mean_and_deviation(&[1.0, 2.0, 3.0]), (2.0, Some(1.0)));
        assert_eq!(mean_and_deviation(&[4.0]), (4.0, None));
    }

    #[test]
    fn the_numbers_of_the_method_come_out() {
        let points = |n| format!("{:.1}", detectable_difference(n, 0.2, ALPHA).unwrap() * 100.0);
        assert_eq!((points(1221), points(500)), ("3.6".into(), "5.6".into()));
        // Ten comparisons in one table need more.
        let adjusted = detectable_difference(500, 0.2, ALPHA / 10.0).unwrap() * 100.0;
        assert!((7.2..7.5).contains(&adjusted), "{adjusted}");
    }

    /// Probabilities of 0 to `n` successes with probability `p`.
    fn binomial(n: usize, p: f64) -> Vec<f64> {
        let mut log = n as f64 * (1.0 - p).ln();
        let mut all = vec![log.exp()];
        for i in 1..=n {
            log += ((n - i + 1) as f64 / i as f64).ln() + p.ln() - (1.0 - p).ln();
            all.push(log.exp());
        }
        all
    }

    /// The power of the exact test, summed over everything that can happen.
    fn power(n: usize, share: f64, difference: f64) -> f64 {
        let one_way = ((1.0 + difference / share) / 2.0).min(1.0 - 1e-15);
        let discordant = binomial(n, share.min(1.0 - 1e-15));
        let likely = (0..=n).filter(|&k| discordant[k] > 1e-9);
        likely
            .map(|k| {
                let spoken = binomial(k, one_way).into_iter().enumerate();
                discordant[k]
                    * spoken.filter(|&(wins, _)| mcnemar(wins, k - wins) <= ALPHA).map(|(_, p)| p).sum::<f64>()
            })
            .sum()
    }

    #[test]
    fn the_exact_test_sees_such_a_difference_four_times_of_five() {
        for (n, share) in [(500, 0.2), (1221, 0.2), (278, 0.1), (500, 0.5), (200, 0.9)] {
            let difference = detectable_difference(n, share, ALPHA).unwrap();
            let power = power(n, share, difference);
            assert!((0.76..=0.81).contains(&power), "{n} {share} {difference}: {power}");
        }
    }

    #[test]
    fn too_few_differing_examples_ask_for_more_of_them() {
        let (all_agree, smallest) =
            (detectable_difference(500, 0.0, ALPHA).unwrap(), detectable_difference(500, 0.015, ALPHA).unwrap());
        assert_eq!(all_agree, smallest);
        assert!((0.0145..0.017).contains(&all_agree), "{all_agree}");
        // Where the two formulas meet they agree.
        let met = detectable_difference(500, all_agree + 1e-9, ALPHA).unwrap();
        assert!((met - all_agree).abs() < 1e-8, "{met} {all_agree}");
        assert_eq!(detectable_difference(5, 0.2, ALPHA), None);
        assert!(detectable_difference(6, 0.2, ALPHA).is_some_and(|d| d > 0.5 && d < 1.0));
        assert_eq!(detectable_difference(500, f64::NAN, ALPHA), None);
        assert_eq!((detectable_difference(0, 0.2, ALPHA), detectable_difference(500, 1.6, ALPHA)), (None, None));
    }
}
