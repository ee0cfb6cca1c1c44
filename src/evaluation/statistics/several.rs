//! Many tests at once.

#[cfg(test)]
use super::TTest;
use super::{ALPHA, Comparison};

/// Holm's step-down adjustment (Holm 1979, "A simple sequentially rejective multiple test procedure"): p-values that can
/// each be held against [`super::ALPHA`], and the chance that any of them speaks wrongly is still no more than that. In
/// the order of the input, from 0 to 1; a p-value that is not a number counts as 1, and as one of the tests.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let known = |place: usize| if p[place].is_nan() { 1.0 } else { p[place] };
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| known(a).total_cmp(&known(b)));
    let mut adjusted = vec![1.0; p.len()];
    let mut largest: f64 = 0.0;
    for (rank, &place) in order.iter().enumerate() {
        // A larger p-value never ends below a smaller one, though it is multiplied by less.
        largest = largest.max(known(place) * (p.len() - rank) as f64).min(1.0);
        adjusted[place] = largest;
    }
    adjusted
}

/// Adjusts the p-values of comparisons that stand in one table, and says at which level each speaks.
pub fn adjust(comparisons: &mut [Comparison]) {
    let p: Vec<f64> = comparisons.iter().map(|comparison| comparison.p).collect();
    // A test that could not be made is none of those over which the others are adjusted.
    let equal: Vec<f64> = comparisons.iter().filter_map(|comparison| comparison.equivalence_p).collect();
    // The smallest p-value is held to 5 % shared out among all, the next to 5 % among the rest, and so on.
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|one, other| p[*one].total_cmp(&p[*other]));
    for (rank, place) in order.into_iter().enumerate() {
        comparisons[place].level = ALPHA / (p.len() - rank) as f64;
    }
    let mut equal = holm(&equal).into_iter();
    for (comparison, p) in comparisons.iter_mut().zip(holm(&p)) {
        comparison.p = p;
        comparison.equivalence_p = comparison.equivalence_p.and_then(|_| equal.next());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_table_each_comparison_speaks_at_its_own_level() {
        let one = |p, equivalence_p| Comparison {
            difference: 0.05,
            interval: (0.01, 0.09),
            p,
            equivalence_p,
            margin: 0.03,
            examples: 500,
            discordant: 0.2,
            t_test: Some(TTest { mean: 0.05, error: 0.02, freedom: 1e6 }),
            level: ALPHA,
        };
        let mut table = [one(0.04, None), one(0.001, Some(0.03)), one(0.5, Some(0.01))];
        adjust(&mut table);
        let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got} {want}");
        for (comparison, (p, level)) in table.iter().zip([(0.08, 0.025), (0.003, 0.05 / 3.0), (0.5, 0.05)]) {
            near(comparison.p, p);
            near(comparison.level, level);
        }
        assert_eq!(table[0].equivalence_p, None);
        near(table[1].equivalence_p.unwrap(), 0.03);
        near(table[2].equivalence_p.unwrap(), 0.02);
        // What a table of three could have shown is more than what this comparison alone could.
        let said = table[0].verdict().to_string();
        assert_eq!(said, "can't tell: would need 6.2 points");
    }

    #[test]
    fn the_order_is_kept_and_the_steps_go_down() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (got, want) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((got - want).abs() < 1e-12, "{adjusted:?}");
        }
        assert!(holm(&[]).is_empty());
        assert_eq!(holm(&[0.04]), [0.04]);
        assert_eq!(holm(&[f64::NAN, 0.01]), [1.0, 0.02]);
    }
}
