//! A mean with its standard error and degrees of freedom, and what they allow.

use super::paired::POWER;
use super::{ALPHA, student_cdf, student_quantile};

/// A t test, whatever its standard error was made from.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct TTest {
    pub mean: f64,
    /// Standard error of the mean.
    pub error: f64,
    /// Degrees of freedom; not a whole number where they are Satterthwaite's.
    pub freedom: f64,
}

impl TTest {
    /// The two-sided p-value of no difference. Without any spread it is 1 for none, and 0 for any other.
    pub fn p(&self) -> f64 {
        match (self.error > 0.0, self.mean == 0.0) {
            (true, _) => 2.0 * student_cdf(-self.mean.abs() / self.error, self.freedom),
            (false, true) => 1.0,
            (false, false) => 0.0,
        }
    }

    /// The 95 % interval of the mean.
    pub fn interval(&self) -> (f64, f64) {
        let half = student_quantile(1.0 - ALPHA / 2.0, self.freedom) * self.error;
        (self.mean - half, self.mean + half)
    }

    /// The larger p-value of the two one-sided tests against `margin` and its negative (Schuirmann 1987); `None` without
    /// spread, or without a margin.
    pub fn equivalence_p(&self, margin: f64) -> Option<f64> {
        let too_low = || student_cdf(-(self.mean + margin) / self.error, self.freedom);
        let too_high = || student_cdf((self.mean - margin) / self.error, self.freedom);
        (self.error > 0.0 && margin > 0.0).then(|| too_low().max(too_high()))
    }
}

impl TTest {
    /// The smallest true difference that the test would find four times of five at a level; `None` without spread.
    pub fn detectable(&self, level: f64) -> Option<f64> {
        let speaks = || student_quantile(1.0 - level / 2.0, self.freedom) + student_quantile(POWER, self.freedom);
        (self.error > 0.0 && self.error.is_finite() && level > 0.0 && level < 1.0).then(|| speaks() * self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_answers_agree_with_each_other() {
        let test = TTest { mean: 0.02, error: 0.01, freedom: 9.0 };
        // t = 2 with 9 degrees of freedom: 0.0766 by scipy.
        assert!((test.p() - 0.07655).abs() < 1e-4, "{}", test.p());
        let (low, high) = test.interval();
        assert!(low < 0.0 && (high - 0.04262).abs() < 1e-4);
        // The margin is as far above the mean as zero is below: half of the two-sided p-value.
        assert!((test.equivalence_p(0.04).unwrap() - test.p() / 2.0).abs() < 1e-12);
        assert_eq!(TTest { error: 0.0, ..test }.p(), 0.0);
        assert_eq!(TTest { mean: 0.0, error: 0.0, ..test }.p(), 1.0);
        assert_eq!(TTest { error: 0.0, ..test }.equivalence_p(0.04), None);
    }
}
