//! What a comparison allows to be said.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ALPHA, TTest, detectable_difference};

/// A comparison of two conditions over the same examples, as far as a verdict needs it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Accuracy of the one less that of the other, from -1 to 1.
    pub difference: f64,
    /// Its 95 % interval, from [`super::hierarchical_bootstrap`] or [`super::paired_bootstrap`].
    pub interval: (f64, f64),
    /// The p-value of no difference, after [`super::holm`] where it is one of several.
    pub p: f64,
    /// The p-value of [`super::equivalence`] within `margin`, after [`super::holm`] where it is one of several; `None`
    /// where none could be had.
    pub equivalence_p: Option<f64>,
    /// Differences below this do not matter, from 0 to 1. Stated before the numbers were seen, or it proves nothing.
    pub margin: f64,
    /// Examples that both answered.
    pub examples: usize,
    /// The share of them that only one of the two gets right, observed or assumed, from 0 to 1.
    pub discordant: f64,
    /// The test that was made for other seeds and other examples, where there are several seeds.
    pub t_test: Option<TTest>,
    /// The p-value, before adjustment, at which this comparison is sure: 5 %, or what [`super::holm`] leaves of it.
    pub level: f64,
}

/// What can be said of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Verdict {
    Better,
    Worse,
    /// The difference is smaller than the margin, whichever way it goes.
    Equivalent {
        margin: f64,
    },
    /// Neither a difference nor its absence was shown.
    CannotTell {
        /// The smallest true difference that would have been seen four times of five, from 0 to 1: by McNemar's test for one
        /// pair of runs, by the difference's own standard error for several seeds. `None` where the examples are too few
        /// for any.
        detectable: Option<f64>,
    },
}

impl Comparison {
    /// The verdict, the first of these that holds:
    ///
    /// 1. **better** or **worse**: `p` is at most 5 % and the interval lies on that side of zero;
    /// 2. **equivalent**: `equivalence_p` is at most 5 %;
    /// 3. **can't tell**, which is not "equal".
    ///
    /// A difference that is both sure and smaller than the margin is called by its direction: who reads "equivalent" must
    /// be able to rely on that no loss was shown, and whether the loss matters is seen by its size. Numbers that are not
    /// numbers show nothing.
    pub fn verdict(&self) -> Verdict {
        let is_sure = self.p <= ALPHA;
        if is_sure && self.interval.0 > 0.0 {
            return Verdict::Better;
        }
        if is_sure && self.interval.1 < 0.0 {
            return Verdict::Worse;
        }
        if self.equivalence_p.is_some_and(|p| p <= ALPHA) && self.margin > 0.0 {
            return Verdict::Equivalent { margin: self.margin };
        }
        let detectable = match self.t_test {
            Some(test) => test.detectable(self.level),
            None => detectable_difference(self.examples, self.discordant, self.level),
        };
        Verdict::CannotTell { detectable }
    }
}

/// In words, sizes in points: `better`, `equivalent within 3 points`, `can't tell: would need 4.1 points`.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Better => f.write_str("better"),
            Self::Worse => f.write_str("worse"),
            Self::Equivalent { margin } => write!(f, "equivalent within {}", points(*margin)),
            Self::CannotTell { detectable: Some(size) } => write!(f, "can't tell: would need {}", points(*size)),
            Self::CannotTell { detectable: None } => f.write_str("can't tell: too few examples"),
        }
    }
}

/// `3 points`, `4.1 points`, `1 point`; two digits below a tenth of a point, which would else be none.
fn points(share: f64) -> String {
    let size = share * 100.0;
    let digits = if size < 0.095 { format!("{size:.2}") } else { format!("{size:.1}") };
    let short = digits.strip_suffix(".0").unwrap_or(&digits);
    if short == "1" { "1 point".into() } else { format!("{short} points") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A comparison that shows nothing.
    const OPEN: Comparison = Comparison {
        difference: 0.01,
        interval: (-0.02, 0.04),
        p: 0.4,
        equivalence_p: Some(0.2),
        margin: 0.03,
        examples: 500,
        discordant: 0.2,
        t_test: None,
        level: ALPHA,
    };

    #[test]
    fn each_verdict_has_its_words() {
        let said = |comparison: Comparison| comparison.verdict().to_string();
        assert_eq!(said(OPEN), "can't tell: would need 5.6 points");
        assert_eq!(said(Comparison { examples: 1221, ..OPEN }), "can't tell: would need 3.6 points");
        assert_eq!(said(Comparison { examples: 5, ..OPEN }), "can't tell: too few examples");
        // Several seeds may scatter more than examples do, and a table of many comparisons asks more of each.
        let test = |freedom| Some(TTest { mean: 0.01, error: 0.03, freedom });
        let seeded = Comparison { t_test: test(1e6), ..OPEN };
        assert_eq!(said(seeded), "can't tell: would need 8.4 points");
        assert_eq!(said(Comparison { level: ALPHA / 30.0, ..seeded }), "can't tell: would need 12 points");
        assert_eq!(said(Comparison { t_test: test(4.0), ..OPEN }), "can't tell: would need 11.2 points");
        assert_eq!(said(Comparison { interval: (0.01, 0.05), p: 0.01, ..OPEN }), "better");
        assert_eq!(said(Comparison { interval: (-0.05, -0.01), p: 0.01, ..OPEN }), "worse");
        let equal = Comparison { equivalence_p: Some(0.03), ..OPEN };
        assert_eq!(said(equal), "equivalent within 3 points");
        assert_eq!(said(Comparison { margin: 0.025, ..equal }), "equivalent within 2.5 points");
        assert_eq!(said(Comparison { margin: 0.01, ..equal }), "equivalent within 1 point");
        assert_eq!(said(Comparison { margin: 0.0005, ..equal }), "equivalent within 0.05 points");
    }

    #[test]
    fn a_sure_difference_comes_before_equivalence() {
        let small = Comparison { interval: (-0.02, -0.005), p: 0.004, equivalence_p: Some(0.001), ..OPEN };
        assert_eq!(small.verdict(), Verdict::Worse);
        // One that Holm's adjustment has made unsure does not, and neither does one whose interval holds zero.
        assert_eq!(Comparison { p: 0.2, ..small }.verdict(), Verdict::Equivalent { margin: 0.03 });
        assert_eq!(Comparison { interval: (-0.02, 0.0), ..small }.verdict(), Verdict::Equivalent { margin: 0.03 });
    }

    #[test]
    fn what_is_not_a_number_shows_nothing() {
        let unknown = Comparison { p: f64::NAN, interval: (0.1, 0.2), equivalence_p: Some(f64::NAN), ..OPEN };
        assert!(matches!(unknown.verdict(), Verdict::CannotTell { detectable: Some(_) }));
        let untested = Comparison { equivalence_p: None, discordant: f64::NAN, ..OPEN };
        assert_eq!(untested.verdict(), Verdict::CannotTell { detectable: None });
    }

    #[test]
    fn a_verdict_is_written_with_its_numbers() {
        let json = serde_json::to_string(&Verdict::Equivalent { margin: 0.03 }).unwrap();
        assert_eq!(json, r#"{"is":"equivalent","margin":0.03}"#);
        assert_eq!(serde_json::to_string(&Verdict::Better).unwrap(), r#"{"is":"better"}"#);
    }
}
