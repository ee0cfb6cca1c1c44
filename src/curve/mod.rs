//! Curves of many points, seen through few columns: what a chart draws of ten million steps costs as much as what it draws
//! of ten thousand. [`Pyramid`] keeps the extremes and sums of blocks of points; [`Trace`] asks it for each column of a
//! window and smooths; [`Points`] are few and looked at one by one; [`Band`] is what several curves have in common.

mod pyramid;
mod trace;

pub use pyramid::{Pyramid, Summary};
pub use trace::Trace;

/// What falls into one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Column {
    pub low: f64,
    pub high: f64,
    /// Where the line goes through the column: the mean, or the smoothed value at its end.
    pub line: f64,
    /// 0 where the line only passes on its way from a point outside of the window.
    pub points: usize,
}

/// A curve that can say what of it falls into each column of a window.
pub trait Columns {
    /// `count` columns of equal width from `window.0` to `window.1`, the first and the last of which stand astride the
    /// window's ends. A column without points is `None`.
    fn columns(&self, window: (f64, f64), count: usize) -> Vec<Option<Column>>;

    /// The last value at or before a place.
    fn at(&self, x: f64) -> Option<f64>;
}

/// The left end of a column; that of column `count` is the right end of the last one.
pub fn edge(window: (f64, f64), count: usize, column: usize) -> f64 {
    let width = (window.1 - window.0) / (count.max(2) - 1) as f64;
    window.0 + (column as f64 - 0.5) * width
}

impl Columns for Box<dyn Columns + '_> {
    fn columns(&self, window: (f64, f64), count: usize) -> Vec<Option<Column>> {
        (**self).columns(window, count)
    }

    fn at(&self, x: f64) -> Option<f64> {
        (**self).at(x)
    }
}

/// A curve of few points, in order of x: evaluations.
pub struct Points(pub Vec<(f64, f64)>);

impl Columns for Points {
    fn columns(&self, window: (f64, f64), count: usize) -> Vec<Option<Column>> {
        let points: Vec<(f64, f64)> = self.0.iter().copied().filter(|point| point.1.is_finite()).collect();
        let place = |x: f64| points.partition_point(|point| point.0 < x);
        let mut columns = Vec::with_capacity(count);
        let mut from = place(edge(window, count, 0));
        let first = from;
        for column in 0..count {
            let to = place(edge(window, count, column + 1)).max(from);
            let mut summary = Summary::default();
            points[from..to].iter().for_each(|point| summary.add(point.1));
            columns.push(summary.mean().map(|mean| Column {
                low: summary.low,
                high: summary.high,
                line: mean,
                points: to - from,
            }));
            from = to;
        }
        let before = first.checked_sub(1).map(|place| points[place]);
        enter_and_leave(&mut columns, window, before, points.get(from).copied());
        columns
    }

    fn at(&self, x: f64) -> Option<f64> {
        let place = self.0.partition_point(|point| point.0 <= x).checked_sub(1)?;
        Some(self.0[place].1)
    }
}

/// Lets a line come in from the point before the window and go out to the one after it.
fn enter_and_leave(
    columns: &mut [Option<Column>],
    window: (f64, f64),
    before: Option<(f64, f64)>,
    after: Option<(f64, f64)>,
) {
    let last = columns.len().saturating_sub(1);
    let x = |column: usize| window.0 + column as f64 * (window.1 - window.0) / last.max(1) as f64;
    let known = |columns: &[Option<Column>], place: Option<usize>| {
        place.and_then(|place| columns[place].map(|column| (x(place), column.line)))
    };
    let passing = |from: (f64, f64), to: (f64, f64), at: f64| {
        let share = if to.0 > from.0 { (at - from.0) / (to.0 - from.0) } else { 0.0 };
        let line = from.1 + share * (to.1 - from.1);
        Some(Column { low: line, high: line, line, points: 0 })
    };
    let first = known(columns, columns.iter().position(Option::is_some));
    let end = known(columns, columns.iter().rposition(Option::is_some));
    if let (Some(None), Some(before), Some(next)) = (columns.first(), before, first.or(after)) {
        columns[0] = passing(before, next, window.0);
    }
    if let (Some(None), Some(after), Some(previous)) = (columns.last(), after, end.or(before)) {
        columns[last] = passing(previous, after, window.1);
    }
}

/// The mean of several curves, over the range from the smallest to the largest of them: one condition under several seeds.
pub struct Band<C>(pub Vec<C>);

impl<C: Columns> Columns for Band<C> {
    fn columns(&self, window: (f64, f64), count: usize) -> Vec<Option<Column>> {
        let all: Vec<Vec<Option<Column>>> = self.0.iter().map(|curve| carried(curve.columns(window, count))).collect();
        let column = |place: usize| {
            let mut summary = Summary::default();
            let known = || all.iter().filter_map(|columns| columns[place]);
            if known().all(|column| column.points == 0) && place > 0 && place + 1 < count {
                return None;
            }
            known().for_each(|column| summary.add(column.line));
            let points = known().map(|column| column.points).sum();
            summary.mean().map(|line| Column { low: summary.low, high: summary.high, line, points })
        };
        (0..count).map(column).collect()
    }

    fn at(&self, x: f64) -> Option<f64> {
        let mut summary = Summary::default();
        self.0.iter().filter_map(|curve| curve.at(x)).for_each(|value| summary.add(value));
        summary.mean()
    }
}

/// A curve goes on between its points where another one has some: the mean must not jump from one curve to the other.
fn carried(mut columns: Vec<Option<Column>>) -> Vec<Option<Column>> {
    let Some(last) = columns.iter().rposition(Option::is_some) else { return columns };
    let mut before: Option<Column> = None;
    for column in &mut columns[..=last] {
        match column {
            Some(known) => before = Some(*known),
            None => *column = before.map(|known| Column { points: 0, ..known }),
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_in_from_outside_and_goes_out_again() {
        let points = Points(vec![(0.0, 4.0), (100.0, 2.0), (200.0, 0.0)]);
        let columns = points.columns((25.0, 75.0), 51);
        let lines: Vec<f64> = [0, 50].iter().map(|place| columns[*place].unwrap().line).collect();
        assert_eq!(lines, [3.5, 2.5], "between two points there is nothing but the line");
        assert!(columns[1..50].iter().all(Option::is_none));
        assert!(columns[0].unwrap().points == 0);
        let whole = points.columns((0.0, 200.0), 5);
        let points: Vec<usize> = whole.iter().map(|column| column.map_or(0, |column| column.points)).collect();
        assert_eq!(points, [1, 0, 1, 0, 1]);
    }

    #[test]
    fn the_last_value_is_read_off() {
        let points = Points(vec![(10.0, 4.0), (20.0, 2.0)]);
        assert_eq!([9.9, 10.0, 19.0, 99.0].map(|x| points.at(x)), [None, Some(4.0), Some(4.0), Some(2.0)]);
        let band = Band(vec![points, Points(vec![(5.0, 1.0)])]);
        assert_eq!([7.0, 10.0].map(|x| band.at(x)), [Some(1.0), Some(2.5)]);
    }

    #[test]
    fn a_band_has_the_mean_of_its_curves_and_no_jumps() {
        // The second curve has half as many points.
        let one = Points((0..=10).map(|x| (f64::from(x), 1.0)).collect());
        let other = Points((0..=5).map(|x| (f64::from(2 * x), 3.0)).collect());
        let columns = Band(vec![one, other]).columns((0.0, 10.0), 11);
        assert!(columns.iter().all(|column| {
            let column = column.unwrap();
            (column.low, column.line, column.high) == (1.0, 2.0, 3.0)
        }));
    }
}
