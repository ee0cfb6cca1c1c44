//! Curves in Braille dots: a line through the mean of each column over the span from its smallest to its largest value,
//! so that no spike is lost however many points fall into a column.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// A curve.
pub struct Series {
    pub points: Vec<(f64, f64)>,
    pub style: Style,
    /// Whether the span of each column is shown beside its mean.
    pub with_span: bool,
    /// Drawn with gaps, so that it is told from the others without colour as well.
    pub is_dashed: bool,
}

/// Curves over one pair of axes.
pub struct Chart {
    pub series: Vec<Series>,
    /// Right end of the horizontal axis.
    pub end: f64,
    pub log_scale: bool,
    pub axis: Style,
    /// What the horizontal axis counts.
    pub unit: &'static str,
    /// A place on the horizontal axis that is marked, and how.
    pub cursor: Option<(f64, Style)>,
}

/// Columns of the vertical axis.
const AXIS: u16 = 6;

/// Columns of dots in a dash and the gap after it.
const DASH: usize = 6;

/// Values that fall into one column of dots.
#[derive(Clone, Copy)]
struct Column {
    low: f64,
    high: f64,
    sum: f64,
    count: usize,
}

impl Chart {
    pub fn render(&self, area: Rect, buffer: &mut Buffer) {
        if area.width < AXIS + 8 || area.height < 4 {
            return;
        }
        let plot = Rect { x: area.x + AXIS, width: area.width - AXIS, height: area.height - 1, ..area };
        let Some((low, high)) = self.range() else { return };
        self.draw_axes(area, plot, low, high, buffer);
        let (wide, tall) = (usize::from(plot.width) * 2, usize::from(plot.height) * 4);
        let row = |value: f64| {
            let share = (self.scaled(value) - low) / (high - low);
            ((1.0 - share.clamp(0.0, 1.0)) * (tall - 1) as f64).round() as usize
        };
        let mut dots = Dots { plot, cells: vec![(0u8, None); usize::from(plot.width) * usize::from(plot.height)] };
        // Spans first: a line must not vanish under another curve's span.
        for with_span in [true, false] {
            for series in &self.series {
                let columns = self.columns(series, wide);
                let mut before: Option<(usize, usize)> = None;
                for (x, column) in columns.iter().enumerate() {
                    let Some(column) = column else { continue };
                    if with_span {
                        if series.with_span && column.high > column.low {
                            (row(column.high)..=row(column.low)).for_each(|y| dots.set(x, y, self.axis, false));
                        }
                        continue;
                    }
                    let y = row(column.sum / column.count as f64);
                    let (from_x, from_y) = before.unwrap_or((x, y));
                    line(from_x, from_y, x, y, &mut |x, y| {
                        if !series.is_dashed || x % DASH < DASH - 2 {
                            dots.set(x, y, series.style, true);
                        }
                    });
                    before = Some((x, y));
                }
            }
        }
        dots.flush(buffer);
        self.draw_cursor(plot, buffer);
    }

    /// A line where the plot has no dots, and an arrow below the axis.
    fn draw_cursor(&self, plot: Rect, buffer: &mut Buffer) {
        let Some((at, style)) = self.cursor else { return };
        let x = plot.x + (self.column(at, usize::from(plot.width) * 2) / 2) as u16;
        for y in plot.y..plot.bottom() {
            if let Some(cell) = buffer.cell_mut((x, y))
                && cell.symbol() == " "
            {
                cell.set_char('┊').set_style(style);
            }
        }
        buffer.set_string(x, plot.bottom(), "▲", style);
    }

    /// The column of dots of a place on the horizontal axis, of so many.
    fn column(&self, x: f64, wide: usize) -> usize {
        ((x / self.end.max(1.0)) * (wide - 1) as f64).round().clamp(0.0, (wide - 1) as f64) as usize
    }

    fn scaled(&self, value: f64) -> f64 {
        if self.log_scale { value.max(1e-6).log10() } else { value }
    }

    /// The vertical range over all curves, on the chosen scale.
    fn range(&self) -> Option<(f64, f64)> {
        let values = self.series.iter().flat_map(|series| &series.points).map(|point| point.1);
        let finite = values.filter(|value| value.is_finite());
        let (low, high) =
            finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return None;
        }
        // A loss is read against zero.
        let low = if self.log_scale { self.scaled(low) } else { low.min(0.0) };
        let high = self.scaled(high);
        Some((low, if high > low { high } else { low + 1.0 }))
    }

    /// The values of each column of dots.
    fn columns(&self, series: &Series, wide: usize) -> Vec<Option<Column>> {
        let mut columns: Vec<Option<Column>> = vec![None; wide];
        for (x, y) in series.points.iter().filter(|point| point.1.is_finite()) {
            let place = self.column(*x, wide);
            let column = columns[place].get_or_insert(Column { low: *y, high: *y, sum: 0.0, count: 0 });
            column.low = column.low.min(*y);
            column.high = column.high.max(*y);
            column.sum += y;
            column.count += 1;
        }
        columns
    }

    fn draw_axes(&self, area: Rect, plot: Rect, low: f64, high: f64, buffer: &mut Buffer) {
        let unscaled = |value: f64| if self.log_scale { 10f64.powf(value) } else { value };
        let bottom = plot.height - 1;
        for row in 0..plot.height {
            let share = 1.0 - f64::from(row) / f64::from(bottom.max(1));
            let labelled = row == 0 || row == bottom || (plot.height >= 9 && row == bottom / 2);
            let label = if labelled { number(unscaled(low + share * (high - low))) } else { String::new() };
            let line = format!("{label:>width$}{}", if labelled { '┤' } else { '│' }, width = usize::from(AXIS) - 1);
            buffer.set_string(area.x, area.y + row, line, self.axis);
        }
        let y = area.y + plot.height;
        let end = format!("{} {}", number(self.end), self.unit);
        let middle = number(self.end / 2.0);
        buffer.set_string(plot.x, y, "0", self.axis);
        let place = |x: u16, text: &str, buffer: &mut Buffer| {
            buffer.set_string(x, y, text, self.axis);
        };
        if usize::from(plot.width) > end.len() + middle.len() + 8 {
            place(plot.x + plot.width / 2, &middle, buffer);
        }
        if usize::from(plot.width) > end.len() + 2 {
            place(plot.x + plot.width - end.len() as u16, &end, buffer);
        }
    }
}

/// A number in at most five columns.
fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 1e6 => format!("{:.1}M", value / 1e6),
        _ if size >= 1e4 => format!("{:.0}k", value / 1e3),
        _ if size >= 100.0 || value == value.trunc() => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.0e}"),
    }
}

/// The dots of a plot, eight to a cell.
struct Dots {
    plot: Rect,
    /// Dots, and the style of the curve that was drawn last in the cell.
    cells: Vec<(u8, Option<Style>)>,
}

impl Dots {
    /// Sets a dot, by column and row of dots.
    fn set(&mut self, x: usize, y: usize, style: Style, on_top: bool) {
        const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
        let place = y / 4 * usize::from(self.plot.width) + x / 2;
        if let Some(cell) = self.cells.get_mut(place) {
            cell.0 |= BITS[x % 2][y % 4];
            if on_top || cell.1.is_none() {
                cell.1 = Some(style);
            }
        }
    }

    fn flush(self, buffer: &mut Buffer) {
        for (place, (dots, style)) in self.cells.into_iter().enumerate() {
            let Some(style) = style else { continue };
            let x = self.plot.x + (place % usize::from(self.plot.width)) as u16;
            let y = self.plot.y + (place / usize::from(self.plot.width)) as u16;
            let glyph = char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ');
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.set_char(glyph).set_style(style);
            }
        }
    }
}

/// All dots between two, ends included (Bresenham 1965).
fn line(x0: usize, y0: usize, x1: usize, y1: usize, dot: &mut dyn FnMut(usize, usize)) {
    let (mut x, mut y, x1, y1) = (x0 as i64, y0 as i64, x1 as i64, y1 as i64);
    let (dx, dy) = ((x1 - x).abs(), -(y1 - y).abs());
    let (step_x, step_y) = ((x1 - x).signum(), (y1 - y).signum());
    let mut error = dx + dy;
    loop {
        dot(x as usize, y as usize);
        if x == x1 && y == y1 {
            return;
        }
        let doubled = 2 * error;
        if doubled >= dy {
            error += dy;
            x += step_x;
        }
        if doubled <= dx {
            error += dx;
            y += step_y;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(points: Vec<(f64, f64)>, log_scale: bool) -> Vec<String> {
        let series = vec![Series { points, style: Style::default(), with_span: true, is_dashed: false }];
        let chart = Chart { series, end: 1000.0, log_scale, axis: Style::default(), unit: "steps", cursor: None };
        let area = Rect::new(0, 0, 46, 9);
        let mut buffer = Buffer::empty(area);
        chart.render(area, &mut buffer);
        (0..area.height)
            .map(|y| (0..area.width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>())
            .collect()
    }

    fn dots(line: &str) -> usize {
        line.chars().filter(|c| ('\u{2800}'..='\u{28ff}').contains(c)).count()
    }

    #[test]
    fn a_falling_curve_goes_from_top_left_to_bottom_right() {
        let lines = render((0..1000).map(|x| (f64::from(x), 4.0 - f64::from(x) * 0.004)).collect(), false);
        assert!(lines[0].starts_with("    4┤"), "{}", lines[0]);
        assert!(lines[8].contains("0") && lines[8].ends_with("1000 steps"), "{}", lines[8]);
        let first = |line: &str| line.chars().position(|c| c > '\u{2800}' && c <= '\u{28ff}').unwrap();
        assert!(first(&lines[0]) < first(&lines[4]) && first(&lines[4]) < first(&lines[7]));
    }

    #[test]
    fn one_spike_among_a_hundred_thousand_points_is_seen() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|x| (f64::from(x) / 100.0, 1.0)).collect();
        points[50_003].1 = 9.0;
        let lines = render(points, false);
        assert!(dots(&lines[0]) >= 1, "the spike reaches the top");
        assert!(dots(&lines[7]) + dots(&lines[6]) >= 38, "the curve runs along the bottom");
    }

    #[test]
    fn numbers_that_are_none_and_empty_charts_are_no_trouble() {
        assert!(render(vec![], false).iter().all(|line| dots(line) == 0));
        let lines = render(vec![(0.0, f64::NAN), (1.0, 2.0), (2.0, f64::INFINITY)], true);
        assert_eq!(lines.iter().map(|line| dots(line)).sum::<usize>(), 1);
    }

    #[test]
    fn axis_labels_are_short() {
        for (value, label) in [
            (0.0, "0"),
            (800.0, "800"),
            (0.5, "0.50"),
            (12.25, "12.2"),
            (52_000.0, "52k"),
            (0.003, "3e-3"),
            (2.5e6, "2.5M"),
        ] {
            assert_eq!(number(value), label);
            assert!(label.len() <= 5);
        }
    }
}
