//! Two conditions that are the same as far as it matters.

use super::{ALPHA, Unfit, mean_and_deviation, student_cdf, student_quantile};

/// Two one-sided t tests on paired differences.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Equivalence {
    /// Mean of the differences.
    pub mean: f64,
    /// Differences smaller than this, either way, do not matter.
    pub margin: f64,
    /// The larger of the two one-sided p-values: how surprising the differences would be if the true one were as large as
    /// the margin.
    pub p: f64,
    /// The 90 % t interval of the mean: it lies within the margin where, and only where, `p` is below 5 %.
    pub interval: (f64, f64),
}

/// Tests whether the mean of paired `differences` is closer to zero than `margin` (Schuirmann 1987, "A comparison of the
/// two one-sided tests procedure and the power approach"); the `ttost_paired` of statsmodels, with the margin on both
/// sides.
///
/// One difference for each example, as for [`super::paired_bootstrap`], in any unit that `margin` has as well. Over
/// several seeds the differences are means over them, and the test speaks of these seeds only. Two conditions that never
/// differ, or always by the same, are [`Unfit::NoSpread`]: a t test measures by the spread, and none was seen. That is
/// not proof of none.
pub fn equivalence(differences: &[f64], margin: f64) -> Result<Equivalence, Unfit> {
    if margin.is_nan() || margin <= 0.0 {
        return Err(Unfit::Margin);
    }
    if differences.iter().any(|value| !value.is_finite()) {
        return Err(Unfit::NotFinite);
    }
    let (mean, Some(deviation)) = mean_and_deviation(differences) else { return Err(Unfit::TooFew) };
    // Not by the deviation: that of equal numbers may be a rounding error above zero.
    if differences.iter().all(|value| *value == differences[0]) || deviation == 0.0 {
        return Err(Unfit::NoSpread);
    }
    let error = deviation / (differences.len() as f64).sqrt();
    let freedom = (differences.len() - 1) as f64;
    let too_low = student_cdf(-(mean + margin) / error, freedom);
    let too_high = student_cdf((mean - margin) / error, freedom);
    let half = student_quantile(1.0 - ALPHA, freedom) * error;
    Ok(Equivalence { mean, margin, p: too_low.max(too_high), interval: (mean - half, mean + half) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_and_the_test_say_the_same() {
        for (wins, losses, n) in [(40, 38, 400), (40, 20, 400), (5, 4, 40), (300, 290, 3000), (0, 1, 100)] {
            let differences: Vec<f64> = (0..n)
                .map(|i| {
                    if i < wins {
                        1.0
                    } else if i < wins + losses {
                        -1.0
                    } else {
                        0.0
                    }
                })
                .collect();
            for margin in [0.01, 0.03, 0.05, 0.1] {
                let found = equivalence(&differences, margin).unwrap();
                let within = found.interval.0 > -margin && found.interval.1 < margin;
                assert_eq!(within, found.p < ALPHA, "{wins} {losses} {n} {margin}: {found:?}");
            }
        }
    }

    #[test]
    fn what_has_no_spread_is_not_tested() {
        assert_eq!(equivalence(&[], 0.03), Err(Unfit::TooFew));
        assert_eq!(equivalence(&[0.0], 0.03), Err(Unfit::TooFew));
        assert_eq!(equivalence(&[0.0; 500], 0.03), Err(Unfit::NoSpread));
        assert_eq!(equivalence(&[0.1; 7], 0.03), Err(Unfit::NoSpread));
        assert_eq!(equivalence(&[0.0, f64::NAN], 0.03), Err(Unfit::NotFinite));
        for margin in [0.0, -0.03, f64::NAN] {
            assert_eq!(equivalence(&[0.0, 1.0], margin), Err(Unfit::Margin));
        }
    }
}
