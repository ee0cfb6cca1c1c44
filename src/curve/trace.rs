//! A curve with a point for every step, seen through the columns of a window.
//!
//! The line is the mean of each column, or an exponential moving average of it whose weights halve every so many points,
//! divided by the sum of its weights so that it does not begin at zero (the debiased average of TensorBoard and of Weights
//! & Biases; Kingma and Ba 2015, section 3). A column stands for its points by their mean and their number, and the average
//! reaches back beyond the window's left end: what is smoothed does not change with the zoom, and where a column holds one
//! point it is the average over points.

use super::{Column, Columns, Pyramid, edge, enter_and_leave};

/// Half lives that the average looks back: what lies before them would weigh less than a thousandth.
const REACH: f64 = 10.0;

/// The pieces in which it does.
const PIECES: usize = 80;

/// A view of a series.
pub struct Trace<'a> {
    pub pyramid: &'a Pyramid,
    /// Points that count: a parent's curve ends where its fork begins.
    pub points: usize,
    /// Where a point stands; it never goes back.
    pub x: Box<dyn Fn(usize) -> f64 + 'a>,
    /// What the pyramid was made of.
    pub value: Box<dyn Fn(usize) -> f64 + 'a>,
    /// Points in which a weight of the moving average halves; `None` for no smoothing.
    pub half_life: Option<f64>,
    /// What is shown of a value: a rising function, such as the perplexity of a loss.
    pub shown: fn(f64) -> f64,
}

/// An exponential moving average.
#[derive(Clone, Copy, Default)]
struct Average {
    sum: f64,
    weight: f64,
}

impl Average {
    /// Takes in so many points with this mean.
    fn take(&mut self, mean: f64, points: usize, half_life: f64) {
        let kept = 0.5f64.powf(points as f64 / half_life);
        self.sum = kept * self.sum + (1.0 - kept) * mean;
        self.weight = kept * self.weight + (1.0 - kept);
    }

    fn value(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

impl Trace<'_> {
    /// The first point from `from` on that stands at `x` or after it.
    fn place(&self, from: usize, x: f64) -> usize {
        let (mut low, mut high) = (from, self.points);
        while low < high {
            let middle = low.midpoint(high);
            if (self.x)(middle) < x { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The average over the points before `end`.
    fn before(&self, end: usize) -> Average {
        let mut average = Average::default();
        let Some(half_life) = self.half_life else { return average };
        let from = end.saturating_sub((REACH * half_life).ceil() as usize);
        let piece = (end - from).div_ceil(PIECES).max(1);
        let mut at = from;
        while at < end {
            let to = (at + piece).min(end);
            let summary = self.pyramid.summary(at..to, &self.value);
            if let Some(mean) = summary.mean() {
                average.take(mean, summary.count, half_life);
            }
            at = to;
        }
        average
    }

    fn smoothed(&self, average: &Average, mean: f64) -> f64 {
        self.half_life.and_then(|_| average.value()).unwrap_or(mean)
    }
}

impl Columns for Trace<'_> {
    fn columns(&self, window: (f64, f64), count: usize) -> Vec<Option<Column>> {
        let first = self.place(0, edge(window, count, 0));
        let mut average = self.before(first);
        let last = self.pyramid.last_before(first, &self.value);
        let before = last.map(|place| ((self.x)(place), (self.shown)(self.smoothed(&average, (self.value)(place)))));
        let mut columns = Vec::with_capacity(count);
        let mut from = first;
        for column in 0..count {
            let to = self.place(from, edge(window, count, column + 1));
            let summary = self.pyramid.summary(from..to, &self.value);
            from = to;
            columns.push(summary.mean().map(|mean| {
                if let Some(half_life) = self.half_life {
                    average.take(mean, summary.count, half_life);
                }
                Column {
                    low: (self.shown)(summary.low),
                    high: (self.shown)(summary.high),
                    line: (self.shown)(self.smoothed(&average, mean)),
                    points: summary.count,
                }
            }));
        }
        // Where the point after the window is no number, the line ends at the last one in it.
        let next = (from < self.points).then(|| (self.value)(from)).filter(|value| value.is_finite());
        let after = next.map(|value| {
            if let Some(half_life) = self.half_life {
                average.take(value, 1, half_life);
            }
            ((self.x)(from), (self.shown)(self.smoothed(&average, value)))
        });
        enter_and_leave(&mut columns, window, before, after);
        columns
    }

    fn at(&self, x: f64) -> Option<f64> {
        let place = self.pyramid.last_before(self.place(0, x.next_up()), &self.value)?;
        Some((self.shown)((self.value)(place)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::seeds::Stream;

    fn trace<'a>(pyramid: &'a Pyramid, values: &'a [f64], half_life: Option<f64>) -> Trace<'a> {
        Trace {
            pyramid,
            points: values.len(),
            x: Box::new(|place| (place + 1) as f64),
            value: Box::new(|place| values[place]),
            half_life,
            shown: |value| value,
        }
    }

    fn pyramid(values: &[f64]) -> Pyramid {
        let mut pyramid = Pyramid::default();
        values.iter().for_each(|value| pyramid.push(*value));
        pyramid
    }

    fn noise(count: usize) -> Vec<f64> {
        let mut stream = Stream::new(3, &["trace"]);
        (0..count).map(|place| 3.0 * (-(place as f64) / 300.0).exp() + 0.2 * stream.normal()).collect()
    }

    /// The debiased average by its definition: the sum of weighted points over the sum of their weights.
    fn defined(values: &[f64], half_life: f64) -> f64 {
        let weights = (0..values.len()).rev().map(|age| 0.5f64.powf(age as f64 / half_life));
        let (sum, weight) = values
            .iter()
            .zip(weights)
            .fold((0.0, 0.0), |(sum, all), (value, weight)| (sum + value * weight, all + weight));
        sum / weight
    }

    #[test]
    fn with_a_point_in_each_column_the_line_is_the_debiased_average() {
        let values = noise(1000);
        let pyramid = pyramid(&values);
        let columns = trace(&pyramid, &values, Some(20.0)).columns((1.0, 1000.0), 1000);
        for end in [1, 2, 7, 100, 999, 1000] {
            let (found, wanted) = (columns[end - 1].unwrap().line, defined(&values[..end], 20.0));
            assert!((found - wanted).abs() < 1e-12, "after {end} points: {found}, {wanted}");
        }
    }

    #[test]
    fn the_smoothed_line_does_not_change_with_the_zoom() {
        let values = noise(4000);
        let pyramid = pyramid(&values);
        let trace = trace(&pyramid, &values, Some(50.0));
        // A window far from the start, a point to a column, and all of it with forty points to a column.
        let near = trace.columns((3001.0, 3100.0), 100);
        let far = trace.columns((1.0, 4000.0), 100);
        for column in [0, 50, 99] {
            let wanted = defined(&values[..3001 + column], 50.0);
            assert!((near[column].unwrap().line - wanted).abs() < 2e-3);
        }
        // Within a column, its points weigh the same: a part of their noise.
        for column in [10, 40, 80] {
            let end = trace.place(0, edge((1.0, 4000.0), 100, column + 1));
            assert!((far[column].unwrap().line - defined(&values[..end], 50.0)).abs() < 0.03);
        }
    }

    #[test]
    fn a_spike_is_in_its_column_however_strong_the_smoothing() {
        let mut values = vec![1.0; 100_000];
        values[50_003] = 9.0;
        let pyramid = pyramid(&values);
        let columns = trace(&pyramid, &values, Some(5000.0)).columns((0.0, 100_000.0), 200);
        let high: Vec<_> = columns.iter().flatten().filter(|column| column.high > 1.0).collect();
        assert!(matches!(high[..], [column] if column.high == 9.0 && column.line < 1.1));
    }

    #[test]
    fn a_chart_of_ten_million_points_looks_at_few_of_them() {
        let points = 10_000_000;
        let mut pyramid = Pyramid::default();
        (0..points).for_each(|place| pyramid.push((place % 101) as f64));
        let looked = Cell::new(0usize);
        let counted = |found: f64| {
            looked.set(looked.get() + 1);
            found
        };
        let trace = Trace {
            pyramid: &pyramid,
            points,
            x: Box::new(|place| counted(place as f64)),
            value: Box::new(|place| counted((place % 101) as f64)),
            half_life: Some(100_000.0),
            shown: |value| value,
        };
        for window in [(0.0, 1e7), (3e6 + 17.0, 4e6), (5_000_003.0, 5_000_090.0)] {
            looked.set(0);
            let columns = trace.columns(window, 400);
            assert!(columns.iter().flatten().count() > 80);
            // Of each column two places are searched for, and its ends cut two blocks; of the past, eighty pieces.
            assert!(looked.get() <= (400 + PIECES) * (24 + 2 * 16) + 200, "{} for {window:?}", looked.get());
        }
    }

    #[test]
    fn a_window_between_two_points_has_the_line_that_joins_them() {
        let values = [4.0, 2.0, f64::NAN, 2.0];
        let pyramid = pyramid(&values);
        let columns = trace(&pyramid, &values, None).columns((1.25, 1.75), 11);
        assert_eq!((columns[0].unwrap().line, columns[10].unwrap().line), (3.5, 2.5));
        let trace = trace(&pyramid, &values, None);
        assert_eq!([0.5, 1.0, 3.5].map(|x| trace.at(x)), [None, Some(4.0), Some(2.0)]);
    }
}
