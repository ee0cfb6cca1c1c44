//! Curves over one pair of axes: lines over the range from the smallest to the largest value of each column, so that no
//! spike is lost however many points fall into a column; signs of what happened along the horizontal axis; and a cursor.

mod dots;
pub mod ticks;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::curve::{Column, Columns};
use crate::workbench::display::Glyphs;
use dots::{Dots, between};

/// How a line is drawn, so that curves are told from each other without colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stroke {
    #[default]
    Solid,
    Dashed,
    Dotted,
    DashDotted,
}

impl Stroke {
    /// The stroke of the `number`th of several curves.
    pub fn nth(number: usize) -> Self {
        [Self::Solid, Self::Dotted, Self::DashDotted, Self::Dashed][number % 4]
    }

    /// A piece of it, for a legend.
    pub fn sample(self, glyphs: Glyphs) -> &'static str {
        match (self, glyphs) {
            (Self::Solid, Glyphs::Ascii) => "*",
            (Self::Dashed, Glyphs::Ascii) => "=",
            (Self::Dotted, Glyphs::Ascii) => ".",
            (Self::DashDotted, Glyphs::Ascii) => "-",
            (Self::Solid, _) => "─",
            (Self::Dashed, _) => "╌",
            (Self::Dotted, _) => "┈",
            (Self::DashDotted, _) => "─·",
        }
    }

    /// Whether the `number`th dot along the line is drawn.
    fn has(self, number: usize, glyphs: Glyphs) -> bool {
        match self {
            _ if glyphs == Glyphs::Ascii => true,
            Self::Solid => true,
            Self::Dashed => number % 7 < 5,
            Self::Dotted => number.is_multiple_of(3),
            Self::DashDotted => number % 10 < 6 || number % 10 == 8,
        }
    }
}

/// Something that happened at a place of the horizontal axis. Of several in one column the last in this order is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    Epoch,
    Checkpoint,
    /// Another run was forked off here.
    Fork,
    /// The run itself was forked here.
    Origin,
    Resume,
    Skipped,
}

impl Sign {
    pub const ALL: [Self; 6] = [Self::Epoch, Self::Checkpoint, Self::Fork, Self::Origin, Self::Resume, Self::Skipped];

    pub fn name(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Checkpoint => "checkpoint",
            Self::Fork => "fork",
            Self::Origin => "forked here",
            Self::Resume => "resumed",
            Self::Skipped => "skipped",
        }
    }

    pub fn glyph(self, glyphs: Glyphs) -> char {
        match (self, glyphs) {
            (Self::Epoch, Glyphs::Ascii) => '|',
            (Self::Checkpoint, Glyphs::Ascii) => 'c',
            (Self::Resume, Glyphs::Ascii) => 'r',
            (Self::Skipped, Glyphs::Ascii) => 'x',
            (Self::Origin, Glyphs::Ascii) => 'F',
            (Self::Epoch, _) => '╂',
            (Self::Checkpoint, _) => '◇',
            (Self::Fork, _) => 'Y',
            (Self::Origin, _) => '⊢',
            (Self::Resume, _) => '↻',
            (Self::Skipped, _) => '×',
        }
    }
}

/// A curve.
pub struct Series<'a> {
    pub points: Box<dyn Columns + 'a>,
    pub style: Style,
    pub stroke: Stroke,
    /// The sign of each of its points, where these are few.
    pub mark: Option<char>,
    /// The style of the range of each column; `None` for the line alone.
    pub range: Option<Style>,
}

/// What the horizontal axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count(&'static str),
    Seconds,
}

/// Curves over one pair of axes.
pub struct Chart<'a> {
    pub series: Vec<Series<'a>>,
    /// The ends of the horizontal axis.
    pub window: (f64, f64),
    pub unit: Unit,
    pub log_scale: bool,
    /// Whether a linear vertical axis begins at 0.
    pub from_zero: bool,
    pub axis: Style,
    /// What happened along the horizontal axis.
    pub signs: Vec<(f64, Sign, Style)>,
    /// A place on the horizontal axis that is marked, and how.
    pub cursor: Option<(f64, Style)>,
    pub glyphs: Glyphs,
}

/// Columns of the vertical axis.
const AXIS: u16 = 6;

/// Where the curves lie within a chart's area, if there is room for any.
pub fn plot(area: Rect) -> Option<Rect> {
    // Below them a line with signs, where there is room for it, and the labels.
    let below = if area.height >= 6 { 2 } else { 1 };
    (area.width >= AXIS + 8 && area.height >= 4).then(|| Rect {
        x: area.x + AXIS,
        width: area.width - AXIS,
        height: area.height - below,
        ..area
    })
}

/// Columns of dots of a chart in an area.
pub fn columns(area: Rect, glyphs: Glyphs) -> usize {
    plot(area).map_or(0, |plot| usize::from(plot.width) * glyphs.dots().0)
}

/// The vertical axis: its ends, as they are drawn.
#[derive(Clone, Copy)]
struct Vertical {
    low: f64,
    high: f64,
    is_log: bool,
}

impl Vertical {
    /// The range of what is shown.
    fn of<'a>(chart: &Chart, columns: impl Iterator<Item = (&'a Series<'a>, &'a Column)>) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let is_log = chart.log_scale;
        for (series, column) in columns {
            let values = if series.range.is_some() { [column.low, column.high] } else { [column.line; 2] };
            for value in values.into_iter().filter(|value| value.is_finite() && (!is_log || *value > 0.0)) {
                low = low.min(value);
                high = high.max(value);
            }
        }
        if low > high {
            return None;
        }
        if is_log {
            (low, high) = (low.log10(), high.log10());
        } else if chart.from_zero {
            low = low.min(0.0);
        }
        let room = if high > low { 0.0 } else { (high.abs() * 0.1).max(1e-9) };
        Some(Self { low: if chart.from_zero && !is_log { low } else { low - room }, high: high + room, is_log })
    }

    /// How far from the bottom a value stands, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let value = match self.is_log {
            true if value <= 0.0 => self.low,
            true => value.log10(),
            false => value,
        };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn ticks(&self, most: usize) -> Vec<ticks::Tick> {
        if self.is_log {
            ticks::logarithmic(self.low, self.high, most)
        } else {
            ticks::linear(self.low, self.high, most, usize::from(AXIS) - 1, false)
        }
    }
}

/// Cells from a curve's mark to its next: closer ones would hide the line that they are on.
const MARK_GAP: u16 = 5;

impl Chart<'_> {
    pub fn render(&self, area: Rect, buffer: &mut Buffer) {
        let Some(plot) = plot(area) else { return };
        let (dots_wide, dots_tall) = self.glyphs.dots();
        let (wide, tall) = (usize::from(plot.width) * dots_wide, usize::from(plot.height) * dots_tall);
        let columns: Vec<Vec<Option<Column>>> =
            self.series.iter().map(|series| series.points.columns(self.window, wide)).collect();
        let all = self.series.iter().zip(&columns);
        let all = all.flat_map(|(series, columns)| columns.iter().flatten().map(move |column| (series, column)));
        let Some(vertical) = Vertical::of(self, all) else { return };
        self.draw_axes(area, plot, &vertical, buffer);
        let row = |value: f64| ((1.0 - vertical.share(value)) * (tall - 1) as f64).round() as usize;
        let mut dots = Dots::new(plot, self.glyphs);
        // Ranges first: a line must not vanish under another curve's range.
        for (series, columns) in self.series.iter().zip(&columns) {
            let Some(style) = series.range else { continue };
            for (x, column) in columns.iter().enumerate() {
                let Some(column) = column.filter(|column| column.points > 0) else { continue };
                let (top, bottom) = (row(column.high), row(column.low));
                // What is no more than the line would fill its gaps.
                if top != bottom || top != row(column.line) {
                    dots.range(x, top, bottom, style);
                }
            }
        }
        let mut marks: Vec<(u16, u16, char, Style)> = Vec::new();
        for (series, columns) in self.series.iter().zip(&columns) {
            let mut before: Option<(usize, usize)> = None;
            let mut marked: Option<u16> = None;
            let mut number = 0;
            for (x, column) in columns.iter().enumerate() {
                let Some(column) = column else { continue };
                let y = row(column.line);
                let (from_x, from_y) = before.unwrap_or((x, y));
                between(from_x, from_y, x, y, &mut |x, y| {
                    if series.stroke.has(number, self.glyphs) {
                        dots.line(x, y, series.style, series.stroke);
                    }
                    number += 1;
                });
                // The next piece begins with the last dot of this one.
                number = number.saturating_sub(1);
                before = Some((x, y));
                if let Some(mark) = series.mark.filter(|_| column.points > 0) {
                    let (x, y) = ((x / dots_wide) as u16, (y / dots_tall) as u16);
                    if marked.is_none_or(|last| x >= last + MARK_GAP) {
                        marks.push((plot.x + x, plot.y + y, mark, series.style));
                        marked = Some(x);
                    }
                }
            }
        }
        dots.flush(buffer);
        for (x, y, mark, style) in marks {
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.set_char(mark).set_style(style);
            }
        }
        self.draw_cursor(area, plot, buffer);
    }

    /// A line where the plot has no dots, and an arrow below it.
    fn draw_cursor(&self, area: Rect, plot: Rect, buffer: &mut Buffer) {
        let Some((at, style)) = self.cursor else { return };
        let Some(x) = self.cell(plot, at) else { return };
        let (line, arrow) = if self.glyphs == Glyphs::Ascii { ('!', '^') } else { ('┊', '▲') };
        for y in plot.y..plot.bottom() {
            if let Some(cell) = buffer.cell_mut((x, y))
                && cell.symbol() == " "
            {
                cell.set_char(line).set_style(style);
            }
        }
        if let Some(cell) = buffer.cell_mut((x, plot.bottom().min(area.bottom().saturating_sub(1)))) {
            cell.set_char(arrow).set_style(style);
        }
    }

    /// The column of a place on the horizontal axis, if that is in the window.
    fn cell(&self, plot: Rect, x: f64) -> Option<u16> {
        let (from, to) = self.window;
        let wide = usize::from(plot.width) * self.glyphs.dots().0;
        let share = (x - from) / (to - from);
        let half = 0.5 / (wide - 1) as f64;
        (-half..=1.0 + half).contains(&share).then(|| {
            let dot = (share.clamp(0.0, 1.0) * (wide - 1) as f64).round() as usize;
            plot.x + (dot / self.glyphs.dots().0) as u16
        })
    }

    fn draw_axes(&self, area: Rect, plot: Rect, vertical: &Vertical, buffer: &mut Buffer) {
        let is_plain = self.glyphs == Glyphs::Ascii;
        let [tick, upright, corner, level, down] =
            if is_plain { ['+', '|', '+', '-', '+'] } else { ['┤', '│', '└', '─', '┬'] };
        let set = |x: u16, y: u16, sign: char, style: Style, buffer: &mut Buffer| {
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.set_char(sign).set_style(style);
            }
        };
        (plot.y..plot.bottom()).for_each(|y| set(plot.x - 1, y, upright, self.axis, buffer));
        let bottom = usize::from(plot.height - 1);
        for found in vertical.ticks((usize::from(plot.height) / 3).max(2)) {
            let share = (found.at - vertical.low) / (vertical.high - vertical.low);
            let y = plot.y + ((1.0 - share.clamp(0.0, 1.0)) * bottom as f64).round() as u16;
            let width = usize::from(AXIS) - 1;
            buffer.set_stringn(area.x, y, format!("{:>width$}", found.label), width, self.axis);
            set(plot.x - 1, y, tick, self.axis, buffer);
        }
        let (line, labels) = (plot.bottom(), area.bottom() - 1);
        let has_line = line < labels;
        if has_line {
            set(plot.x - 1, line, corner, self.axis, buffer);
            (plot.x..plot.right()).for_each(|x| set(x, line, level, self.axis, buffer));
        }
        let most = (usize::from(plot.width) / 11).max(2);
        let (from, to) = self.window;
        let (found, unit) = match self.unit {
            Unit::Count(unit) => (ticks::linear(from, to, most, 9, true), unit),
            Unit::Seconds => (ticks::clock(from, to, most), "at work"),
        };
        // The last label says what is counted.
        let unit_from = plot.right().saturating_sub(unit.len() as u16);
        let mut free_to = unit_from.saturating_sub(1);
        let mut free_from = plot.x.saturating_sub(1);
        let last = found
            .last()
            .filter(|tick| self.cell(plot, tick.at).is_some_and(|x| x + tick.label.len() as u16 / 2 + 1 >= free_to));
        let text = last.map_or_else(|| unit.to_owned(), |tick| format!("{} {unit}", tick.label));
        if text.len() + 6 <= usize::from(plot.width) {
            let x = plot.right() - text.len() as u16;
            buffer.set_string(x, labels, &text, self.axis);
            free_to = x.saturating_sub(1);
        } else {
            free_to = plot.right();
        }
        for place in &found {
            let Some(x) = self.cell(plot, place.at) else { continue };
            if has_line {
                set(x, line, down, self.axis, buffer);
            }
            let begin = x.saturating_sub(place.label.len() as u16 / 2).max(plot.x.saturating_sub(1));
            let end = begin + place.label.len() as u16;
            if begin >= free_from && end <= free_to {
                buffer.set_string(begin, labels, &place.label, self.axis);
                free_from = end + 1;
            }
        }
        if has_line {
            let mut signs = self.signs.clone();
            signs.sort_by_key(|(_, sign, _)| *sign);
            for (at, sign, style) in signs {
                if let Some(x) = self.cell(plot, at) {
                    set(x, line, sign.glyph(self.glyphs), style, buffer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
