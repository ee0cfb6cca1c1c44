//! Smallest, largest, sum and count of every block of 2^k points of a growing series, so that any range of it is summed up
//! from a few blocks. The points themselves stay with whoever has them.

use std::ops::Range;

/// Points in a block of the lowest level.
const BLOCK: usize = 16;

/// What is known of a range of points. What is no finite number does not count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub low: f64,
    pub high: f64,
    pub sum: f64,
    pub count: usize,
}

impl Default for Summary {
    fn default() -> Self {
        Self { low: f64::INFINITY, high: f64::NEG_INFINITY, sum: 0.0, count: 0 }
    }
}

impl Summary {
    pub fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.join(&Self { low: value, high: value, sum: value, count: 1 });
        }
    }

    fn join(&mut self, other: &Self) {
        self.low = self.low.min(other.low);
        self.high = self.high.max(other.high);
        self.sum += other.sum;
        self.count += other.count;
    }

    /// `None` where there is no number.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// The blocks of a series. A block takes 32 bytes, so a point takes 4.
#[derive(Clone, Debug, Default)]
pub struct Pyramid {
    /// Whole blocks of `BLOCK << level` points.
    levels: Vec<Vec<Summary>>,
    /// The points after the last whole block.
    open: Summary,
    points: usize,
}

impl Pyramid {
    /// Points so far.
    pub fn len(&self) -> usize {
        self.points
    }

    pub fn is_empty(&self) -> bool {
        self.points == 0
    }

    /// Takes in the next point: two blocks are written for every [`BLOCK`] points.
    pub fn push(&mut self, value: f64) {
        self.open.add(value);
        self.points += 1;
        if !self.points.is_multiple_of(BLOCK) {
            return;
        }
        let mut block = std::mem::take(&mut self.open);
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let blocks = &mut self.levels[level];
            blocks.push(block);
            if !blocks.len().is_multiple_of(2) {
                return;
            }
            // The one before it and this one are a block of the level above.
            block.join_before(&blocks[blocks.len() - 2]);
        }
    }

    /// Forgets the points from `points` on. `value` gives those that stay.
    pub fn truncate(&mut self, points: usize, value: impl Fn(usize) -> f64) {
        if points >= self.points {
            return;
        }
        self.points = points;
        for (level, blocks) in self.levels.iter_mut().enumerate() {
            blocks.truncate(points / (BLOCK << level));
        }
        self.open = Summary::default();
        (points - points % BLOCK..points).for_each(|place| self.open.add(value(place)));
    }

    /// What a range of points comes to. `value` gives a point where the range cuts a block.
    pub fn summary(&self, range: Range<usize>, value: impl Fn(usize) -> f64) -> Summary {
        let mut summary = Summary::default();
        self.blocks(range, &mut |part| match part {
            Part::Block(block) => summary.join(block),
            Part::Point(place) => summary.add(value(place)),
        });
        summary
    }

    /// The largest blocks that a range is made of, from left to right, and the points at its ends.
    fn blocks(&self, range: Range<usize>, take: &mut dyn FnMut(Part)) {
        let (mut at, end) = (range.start, range.end.min(self.points));
        while at < end {
            let fits = |level: usize| {
                let size = BLOCK << level;
                let blocks = self.levels.get(level);
                at.is_multiple_of(size) && at + size <= end && blocks.is_some_and(|blocks| at / size < blocks.len())
            };
            if !fits(0) {
                take(Part::Point(at));
                at += 1;
                continue;
            }
            let mut level = 0;
            while fits(level + 1) {
                level += 1;
            }
            take(Part::Block(&self.levels[level][at / (BLOCK << level)]));
            at += BLOCK << level;
        }
    }

    /// The last point before `end` that is a number.
    pub fn last_before(&self, end: usize, value: impl Fn(usize) -> f64) -> Option<usize> {
        let end = end.min(self.points);
        let has = |range: Range<usize>| self.summary(range, &value).count > 0;
        // Outwards until there is one, then inwards to it.
        let mut reach = 1;
        while !has(end.saturating_sub(reach)..end) {
            if reach >= end {
                return None;
            }
            reach *= 2;
        }
        let (mut from, mut to) = (end.saturating_sub(reach), end);
        while to - from > 1 {
            let middle = from.midpoint(to);
            if has(middle..to) { from = middle } else { to = middle }
        }
        Some(from)
    }
}

/// A piece of a range.
enum Part<'a> {
    Block(&'a Summary),
    Point(usize),
}

impl Summary {
    fn join_before(&mut self, before: &Self) {
        let mut joined = *before;
        joined.join(self);
        *self = joined;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::Stream;

    fn values(count: usize) -> Vec<f64> {
        let mut stream = Stream::new(1, &["pyramid"]);
        (0..count).map(|place| if place % 7 == 3 { f64::NAN } else { stream.normal() }).collect()
    }

    fn pyramid(values: &[f64]) -> Pyramid {
        let mut pyramid = Pyramid::default();
        values.iter().for_each(|value| pyramid.push(*value));
        pyramid
    }

    fn plain(values: &[f64]) -> Summary {
        let mut summary = Summary::default();
        values.iter().for_each(|value| summary.add(*value));
        summary
    }

    #[track_caller]
    fn agrees(pyramid: &Pyramid, values: &[f64], range: Range<usize>) {
        let (found, wanted) = (pyramid.summary(range.clone(), |place| values[place]), plain(&values[range]));
        assert_eq!((found.low, found.high, found.count), (wanted.low, wanted.high, wanted.count));
        assert!((found.sum - wanted.sum).abs() < 1e-9 * (1.0 + wanted.sum.abs()));
    }

    #[test]
    fn every_range_is_summed_up_as_if_point_by_point() {
        let values = values(1000);
        let pyramid = pyramid(&values);
        let mut stream = Stream::new(2, &["ranges"]);
        for _ in 0..2000 {
            let (one, other) = (stream.below(1001), stream.below(1001));
            agrees(&pyramid, &values, one.min(other)..one.max(other));
        }
        agrees(&pyramid, &values, 0..1000);
    }

    #[test]
    fn what_a_resume_voids_is_forgotten() {
        let mut values = values(1000);
        let mut pyramid = pyramid(&values);
        values.truncate(517);
        pyramid.truncate(517, |place| values[place]);
        assert_eq!(pyramid.len(), 517);
        agrees(&pyramid, &values, 0..517);
        for place in 0..300 {
            values.push(f64::from(place) - 50.0);
            pyramid.push(f64::from(place) - 50.0);
        }
        for range in [0..817, 500..600, 512..528, 3..816] {
            agrees(&pyramid, &values, range);
        }
        pyramid.truncate(0, |place| values[place]);
        assert!(pyramid.is_empty() && pyramid.summary(0..9, |place| values[place]).count == 0);
    }

    #[test]
    fn ten_million_points_are_summed_up_from_a_few_blocks() {
        let points = 10_000_000;
        let value = |place: usize| (place % 1013) as f64;
        let mut pyramid = Pyramid::default();
        (0..points).for_each(|place| pyramid.push(value(place)));
        let written: usize = pyramid.levels.iter().map(Vec::len).sum();
        assert!(written <= 2 * points / BLOCK, "two blocks for every sixteen points: {written}");
        // 400 columns of a chart, which begin anywhere.
        let columns = 400;
        let mut looked = 0;
        for column in 0..columns {
            let range = column * points / columns + 7 * column..(column + 1) * points / columns + 7 * (column + 1);
            pyramid.blocks(range, &mut |_| looked += 1);
        }
        let levels = pyramid.levels.len();
        assert!(looked <= columns * 2 * (BLOCK + levels), "{looked} of {points} points, {levels} levels");
    }

    #[test]
    fn the_last_number_is_found_over_a_long_gap() {
        let mut values = vec![f64::NAN; 5000];
        values[13] = 1.0;
        let pyramid = pyramid(&values);
        let last = |end| pyramid.last_before(end, |place| values[place]);
        assert_eq!([last(5000), last(14), last(13), last(0)], [Some(13), Some(13), None, None]);
    }
}
