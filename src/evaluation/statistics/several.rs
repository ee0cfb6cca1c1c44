//! Many tests at once.

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

#[cfg(test)]
mod tests {
    use super::*;

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
