//! How sure a number is: intervals for accuracies, tests and intervals for differences, and what they allow to be said.
//!
//! Accuracies and differences are shares, from 0 to 1 and from -1 to 1; only [`Verdict`]'s words speak of points. A
//! difference is always that of one condition less the other. Where scipy or statsmodels has the same function,
//! `tests/reference/statistics_of_scipy.py` asked it, and the tests hold ours to its answer within 1e-9.

mod bootstrap;
mod distributions;
mod equivalence;
mod paired;
mod proportions;
mod several;
mod t_test;
mod verdict;

pub use bootstrap::{SeededDifference, hierarchical_bootstrap, paired_bootstrap};
pub use distributions::{normal_quantile, student_cdf, student_quantile};
pub use equivalence::{Equivalence, equivalence};
pub use paired::{detectable_difference, mcnemar, mean_and_deviation};
pub use proportions::{newcombe, wilson};
pub use several::{adjust, holm};
pub use t_test::TTest;
pub use verdict::{Comparison, Verdict};

/// What is called an error of the first kind: a test speaks at this probability or below, two-sided. Intervals of 95 %
/// go with it.
pub const ALPHA: f64 = 0.05;

/// Why a statistic can't be had. Better said than shown as a number that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("a condition has no seed")]
    NoSeeds,
    #[error("there are no examples")]
    NoExamples,
    #[error("the seeds do not answer the same number of examples")]
    Uneven,
    #[error("fewer than two examples have no spread")]
    TooFew,
    #[error("all differences are equal: without spread there is no t test")]
    NoSpread,
    #[error("a difference is not a finite number")]
    NotFinite,
    #[error("the margin must be above zero")]
    Margin,
}

#[cfg(test)]
mod agreement;
