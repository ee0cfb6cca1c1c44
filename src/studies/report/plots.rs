//! The report's plots as SVG. Colours are those of Okabe and Ito, which every kind of colour vision tells apart, and no
//! colour is alone: means are rings, runs are dots, intervals are lines. What is text or an axis takes the page's colour.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::StudyError;
use super::super::table::{Row, Section};

const MEAN: RGBColor = RGBColor(0, 114, 178);
const RUN: RGBColor = RGBColor(213, 94, 0);
/// The page's own colour stands in its place; see the style of the page.
pub const INK: RGBColor = RGBColor(1, 1, 1);
const WIDTH: i32 = 760;
const LINE: i32 = 26;
/// Room for names on the left, and for the axis below.
const LEFT: i32 = 240;
const BELOW: i32 = 52;
/// Letters of a name that fit there.
const NAME: usize = 30;

/// A horizontal axis of points.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Holds all values, with its ends on multiples of five.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low.is_finite() { (low, high) } else { (0.0, 100.0) };
        let (low, high) = ((low / 5.0).floor() * 5.0, (high / 5.0).ceil() * 5.0);
        Self { low, high: if high > low { high } else { low + 5.0 } }
    }

    fn at(&self, value: f64) -> i32 {
        LEFT + ((value - self.low) / (self.high - self.low) * f64::from(WIDTH - LEFT - 20)).round() as i32
    }

    /// Places for numbers, at most about ten.
    fn ticks(&self) -> Vec<f64> {
        let step = [1.0, 2.0, 5.0, 10.0, 20.0].into_iter().find(|step| (self.high - self.low) / step <= 10.0);
        let step = step.unwrap_or(50.0);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|number| number as f64 * step).collect()
    }
}

/// Accuracies of a section: mean with Wilson's interval, and each run.
pub fn accuracies(section: &Section) -> Result<String, StudyError> {
    let rows: Vec<&Row> = section.rows.iter().filter(|row| row.accuracy.is_some()).collect();
    let values = |row: &&Row| {
        let (low, high) = row.interval.unwrap_or((0.0, 1.0));
        row.runs.iter().filter_map(|run| run.accuracy).chain([low, high]).map(|share| share * 100.0).collect::<Vec<_>>()
    };
    let axis = Axis::of(rows.iter().flat_map(values));
    draw(&rows, &axis, "accuracy, per cent", &|area, row, y| {
        if let (Some(mean), Some((low, high))) = (row.accuracy, row.interval) {
            bar(area, &axis, (low * 100.0, high * 100.0), y)?;
            for run in row.runs.iter().filter_map(|run| run.accuracy) {
                area.draw(&Circle::new((axis.at(run * 100.0), y + 5), 2, RUN.filled()))?;
            }
            area.draw(&Circle::new((axis.at(mean * 100.0), y), 5, MEAN.stroke_width(2)))?;
        }
        Ok(())
    })
}

/// Differences to the baseline, with the margin within which they do not matter. `None` where nothing is compared.
pub fn differences(section: &Section, margin: f64) -> Option<Result<String, StudyError>> {
    let rows: Vec<&Row> = section.rows.iter().filter(|row| row.against.is_some()).collect();
    if rows.is_empty() {
        return None;
    }
    let margin = margin * 100.0;
    let ends =
        rows.iter().filter_map(|row| row.against.as_ref()).flat_map(|against| [against.interval.0, against.interval.1]);
    let axis = Axis::of(ends.map(|share| share * 100.0).chain([-margin, margin]));
    let bottom = rows.len() as i32 * LINE + 10;
    let plot = draw(&rows, &axis, "difference to the baseline, points; dashed: the margin", &|area, row, y| {
        if std::ptr::eq(row, rows[0]) {
            area.draw(&PathElement::new(vec![(axis.at(0.0), 4), (axis.at(0.0), bottom)], INK.stroke_width(1)))?;
            for end in [-margin, margin] {
                for from in (4..bottom).step_by(8) {
                    area.draw(&PathElement::new(
                        vec![(axis.at(end), from), (axis.at(end), from + 4)],
                        INK.stroke_width(1),
                    ))?;
                }
            }
        }
        if let Some(against) = &row.against {
            let (low, high) = against.interval;
            bar(area, &axis, (low * 100.0, high * 100.0), y)?;
            area.draw(&Circle::new((axis.at(against.difference * 100.0), y), 5, MEAN.stroke_width(2)))?;
        }
        Ok(())
    });
    Some(plot)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// An interval: a line with ends.
fn bar(area: &Area, axis: &Axis, (low, high): (f64, f64), y: i32) -> Drawn {
    let (low, high) = (axis.at(low), axis.at(high));
    area.draw(&PathElement::new(vec![(low, y), (high, y)], MEAN.stroke_width(2)))?;
    for end in [low, high] {
        area.draw(&PathElement::new(vec![(end, y - 4), (end, y + 4)], MEAN.stroke_width(2)))?;
    }
    Ok(())
}

/// A line for each row, with its name, over an axis.
fn draw(
    rows: &[&Row],
    axis: &Axis,
    label: &str,
    mark: &dyn Fn(&Area, &Row, i32) -> Drawn,
) -> Result<String, StudyError> {
    let mut svg = String::new();
    let bottom = rows.len() as i32 * LINE + 10;
    // The backend writes a size of 16 as 12.9, the em of what it takes for a line.
    let font = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let paint = |area: &Area| -> Drawn {
        area.draw(&PathElement::new(vec![(LEFT, bottom), (WIDTH - 20, bottom)], INK.stroke_width(1)))?;
        for tick in axis.ticks() {
            let x = axis.at(tick);
            area.draw(&PathElement::new(vec![(x, bottom), (x, bottom + 4)], INK.stroke_width(1)))?;
            let style = font(16).pos(Pos::new(HPos::Center, VPos::Top));
            area.draw(&Text::new(format!("{tick:.0}").replace('-', "−"), (x, bottom + 6), style))?;
        }
        let style = font(16).pos(Pos::new(HPos::Right, VPos::Top));
        area.draw(&Text::new(label.to_owned(), (WIDTH - 20, bottom + 28), style))?;
        for (place, row) in rows.iter().enumerate() {
            let y = place as i32 * LINE + LINE / 2 + 4;
            let style = font(17).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(crate::text::excerpt(&row.condition, NAME), (LEFT - 10, y), style))?;
            mark(area, row, y)?;
        }
        area.present()
    };
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH as u32, (bottom + BELOW) as u32)).into_drawing_area();
        paint(&area).map_err(|error| StudyError::Plot(error.to_string()))?;
    }
    Ok(svg)
}
