//! How the values of one field are spread: counts of texts, quantiles and bins of numbers.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::filter::Value;

/// Different texts that are counted one by one; those beyond are counted together.
const MOST_VALUES: usize = 100_000;
/// Characters of a text that are kept.
const LONGEST: usize = 200;
/// Fewer different numbers than this, written as text, may well be labels.
const LABELS: usize = 12;

/// The values of a field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    pub field: String,
    /// Rows that have a value.
    pub rows: usize,
    /// Rows that have none, and rows that can't be read.
    pub missing: usize,
    /// Where the values are numbers.
    pub numbers: Option<Numbers>,
    /// Texts with how often they stand there, the most frequent first.
    pub values: Vec<(String, usize)>,
    /// Rows whose text came when too many were known already.
    pub others: usize,
}

/// Numbers, summed up. Each quantile is the smallest value that this share of all doesn't exceed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Whether all are whole.
    pub is_whole: bool,
    pub mean: f64,
    pub least: f64,
    pub p5: f64,
    pub p25: f64,
    pub median: f64,
    pub p75: f64,
    pub p95: f64,
    pub most: f64,
    pub bins: Vec<Bin>,
}

/// Numbers from `from` on and below `to`; the last bin holds the few that are larger as well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    pub from: f64,
    pub to: f64,
    pub count: usize,
}

/// Counts values as they come.
#[derive(Default)]
pub struct Tally {
    missing: usize,
    numbers: Vec<f64>,
    texts: HashMap<String, usize>,
    others: usize,
}

impl Tally {
    pub fn add(&mut self, value: &Value) {
        let text = match value {
            Value::Missing => {
                self.missing += 1;
                return;
            }
            Value::Number(number) => {
                self.numbers.push(*number);
                return;
            }
            Value::Flag(flag) => flag.to_string(),
            Value::Text(text) => text.chars().take(LONGEST).collect(),
        };
        let is_full = self.texts.len() >= MOST_VALUES;
        match self.texts.get_mut(&text) {
            Some(count) => *count += 1,
            None if is_full => self.others += 1,
            None => drop(self.texts.insert(text, 1)),
        }
    }

    /// Sums up what was counted, numbers in at most `bins` bins and one for the few that are larger.
    pub fn finish(mut self, field: String, bins: usize) -> Histogram {
        // Tables have their numbers as text.
        let parsed = |text: &String| text.trim().parse().ok().filter(|number: &f64| number.is_finite());
        if self.texts.len() > LABELS && self.others == 0 && self.texts.keys().all(|text| parsed(text).is_some()) {
            for (text, count) in self.texts.drain() {
                let number = parsed(&text).unwrap_or_default();
                self.numbers.extend(std::iter::repeat_n(number, count));
            }
        }
        let mut values: Vec<(String, usize)> = self.texts.into_iter().collect();
        values.sort_unstable_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        let texts: usize = values.iter().map(|(_, count)| count).sum();
        Histogram {
            field,
            rows: texts + self.others + self.numbers.len(),
            missing: self.missing,
            numbers: (!self.numbers.is_empty()).then(|| Numbers::of(self.numbers, bins)),
            values,
            others: self.others,
        }
    }
}

impl Numbers {
    /// Of at least one number.
    fn of(mut numbers: Vec<f64>, bins: usize) -> Self {
        numbers.sort_unstable_by(f64::total_cmp);
        let last = numbers.len() - 1;
        let quantile = |share: f64| {
            let place = (share * numbers.len() as f64).ceil() as usize;
            numbers[place.saturating_sub(1).min(last)]
        };
        Self {
            is_whole: numbers.iter().all(|number| number.fract() == 0.0),
            mean: numbers.iter().sum::<f64>() / numbers.len() as f64,
            least: numbers[0],
            p5: quantile(0.05),
            p25: quantile(0.25),
            median: quantile(0.5),
            p75: quantile(0.75),
            p95: quantile(0.95),
            most: numbers[last],
            bins: binned(&numbers, quantile(0.99), bins.max(1)),
        }
    }
}

/// Bins of one round width up to the 99th percentile, and one for what is larger.
fn binned(sorted: &[f64], p99: f64, limit: usize) -> Vec<Bin> {
    let least = sorted[0];
    let is_whole = sorted.iter().all(|number| number.fract() == 0.0);
    let span = p99 - least;
    let mut width = if is_whole { 1.0 } else { 10f64.powf((span / limit as f64).log10().floor()) };
    if !width.is_finite() || width <= 0.0 {
        return vec![Bin { from: least, to: sorted[sorted.len() - 1], count: sorted.len() }];
    }
    let count = |width: f64| (p99 / width).floor() - (least / width).floor() + 1.0;
    // 1, 2, 5, 10, 20 …
    let mut steps = [2.0, 2.5, 2.0].into_iter().cycle();
    while count(width) > limit as f64 {
        width *= steps.next().unwrap_or(2.0);
    }
    let first = (least / width).floor();
    let mut bins: Vec<Bin> = (0..count(width) as usize)
        .map(|place| (first + place as f64) * width)
        .map(|from| Bin { from, to: from + width, count: 0 })
        .collect();
    let end = bins.last().map_or(0.0, |bin| bin.to);
    let mut beyond = 0;
    for number in sorted {
        if *number >= end {
            beyond += 1;
        } else {
            let place = ((number / width).floor() - first).max(0.0) as usize;
            let last = bins.len() - 1;
            bins[place.min(last)].count += 1;
        }
    }
    if beyond > 0 {
        bins.push(Bin { from: end, to: sorted[sorted.len() - 1], count: beyond });
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(values: impl IntoIterator<Item = Value<'a>>, bins: usize) -> Histogram {
        let mut tally = Tally::default();
        values.into_iter().for_each(|value| tally.add(&value));
        tally.finish("score".into(), bins)
    }

    #[test]
    fn numbers_have_quantiles_and_bins_that_hold_everything_once() {
        for (numbers, limit) in [
            ((1..=200).map(f64::from).collect::<Vec<_>>(), 10),
            ((0..990).map(|n| f64::from(n % 40)).chain([571.0]).collect(), 8),
            (vec![3.0], 5),
            (vec![0.25, 0.75, -1.5, 0.0], 6),
            (vec![-3.0, -3.0, 1e12], 4),
            (vec![0.1; 7], 4),
        ] {
            let count = numbers.len();
            let histogram = of(numbers.iter().map(|number| Value::Number(*number)), limit);
            let found = histogram.numbers.unwrap();
            assert_eq!(found.bins.iter().map(|bin| bin.count).sum::<usize>(), count, "{found:?}");
            assert!(found.bins.len() <= limit + 1, "{found:?}");
            assert!(found.bins.windows(2).all(|pair| (pair[0].to - pair[1].from).abs() < 1e-9), "{found:?}");
        }
        let hundred = of((1..=200).map(|n| Value::Number(f64::from(n))), 10).numbers.unwrap();
        assert_eq!(
            (hundred.mean, hundred.p5, hundred.median, hundred.p95, hundred.most),
            (100.5, 10.0, 100.0, 190.0, 200.0)
        );
    }

    #[test]
    fn texts_are_counted_and_numbers_of_a_table_are_numbers() {
        let text = |text: &str| Value::Text(text.to_owned().into());
        let found = of(["b", "a", "b"].map(text).into_iter().chain([Value::Missing, Value::Flag(true)]), 4);
        assert_eq!(found.values, [("b".to_owned(), 2), ("a".to_owned(), 1), ("true".to_owned(), 1)]);
        assert_eq!((found.rows, found.missing, found.numbers), (4, 1, None));
        let labels = of(["1", "2", "1"].map(text), 4);
        assert_eq!(labels.values[0], ("1".to_owned(), 2));
        let table = of((0..50).map(|n| text(&format!("{n}.5"))), 5);
        assert_eq!((table.numbers.unwrap().least, table.values.len()), (0.5, 0));
    }
}
