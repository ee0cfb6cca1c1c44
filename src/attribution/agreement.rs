//! How far two rankings of the same tokens agree, and how many of the highest are known to be right.

/// Spearman's rank correlation, equal numbers sharing their mean rank: 1 for the same order, -1 for the opposite. `None` where
/// one of them has no order.
pub fn spearman(one: &[f32], other: &[f32]) -> Option<f64> {
    if one.len() != other.len() {
        return None;
    }
    let (one, other) = (ranks(one), ranks(other));
    let mean = |ranks: &[f64]| ranks.iter().sum::<f64>() / ranks.len().max(1) as f64;
    let (mean_one, mean_other) = (mean(&one), mean(&other));
    let product =
        |a: &[f64], am: f64, b: &[f64], bm: f64| -> f64 { a.iter().zip(b).map(|(a, b)| (a - am) * (b - bm)).sum() };
    let spread = product(&one, mean_one, &one, mean_one) * product(&other, mean_other, &other, mean_other);
    (spread > 0.0).then(|| product(&one, mean_one, &other, mean_other) / spread.sqrt())
}

/// Ranks from 1 for the lowest.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|one, other| values[*one].total_cmp(&values[*other]));
    let mut ranks = vec![0.0; values.len()];
    let mut done = 0;
    for equals in order.chunk_by(|one, next| values[*one] == values[*next]) {
        let rank = done as f64 + (equals.len() + 1) as f64 / 2.0;
        equals.iter().for_each(|place| ranks[*place] = rank);
        done += equals.len();
    }
    ranks
}

/// The places of the `count` highest scores, the first of equals first.
pub fn top(scores: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|one, other| scores[*other].total_cmp(&scores[*one]));
    order.truncate(count);
    order
}

/// The share of the `count` highest that both have. `None` without any.
pub fn overlap(one: &[f32], other: &[f32], count: usize) -> Option<f64> {
    let (one, other) = (top(one, count), top(other, count));
    let both = one.iter().filter(|place| other.contains(place)).count();
    (!one.is_empty()).then(|| both as f64 / one.len() as f64)
}

/// Of the highest scored words, as many as are known to be key: the share that is. With it, the share of all words that is, which
/// is what chance would find. `None` where none is known.
pub fn precision(words: &[(&str, f32)], is_known: impl Fn(&str) -> bool) -> Option<(f64, f64)> {
    let known: Vec<bool> = words.iter().map(|(word, _)| is_known(word)).collect();
    let count = known.iter().filter(|known| **known).count();
    let scores: Vec<f32> = words.iter().map(|(_, score)| *score).collect();
    let hits = top(&scores, count).into_iter().filter(|place| known[*place]).count();
    (count > 0).then(|| (hits as f64 / count as f64, count as f64 / words.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_compared_as_scipy_does() {
        // scipy.stats.spearmanr of the same lists.
        let close = |got: Option<f64>, want: f64| assert!((got.unwrap() - want).abs() < 1e-12, "{got:?}");
        close(spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[5.0, 6.0, 7.0, 8.0, 7.0]), 0.820_782_681_668_123_4);
        close(spearman(&[1.0, 1.0, 2.0, 0.5], &[0.3, -1.0, 4.0, 4.0]), 0.0);
        close(spearman(&[3.0, 2.0, 1.0], &[1.0, 2.0, 3.0]), -1.0);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[1.0], &[1.0, 2.0]), None);
    }

    #[test]
    fn the_highest_are_found_and_counted() {
        assert_eq!(top(&[0.1, 0.9, 0.9, -2.0], 2), [1, 2]);
        assert_eq!(overlap(&[3.0, 2.0, 1.0], &[1.0, 2.0, 3.0], 2), Some(0.5));
        let words = [("gills", 0.9), ("and", 0.5), ("fins", 0.4), ("so", -0.1)];
        assert_eq!(precision(&words, |word| word == "gills" || word == "fins"), Some((0.5, 0.5)));
        assert_eq!(precision(&words, |_| false), None);
    }
}
