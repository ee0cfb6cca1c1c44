//! The dots of a plot: several to a cell where the terminal's font has such signs, one where it has letters alone.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::Stroke;
use crate::workbench::display::Glyphs;

impl Glyphs {
    /// Columns and rows of dots in a cell.
    pub fn dots(self) -> (usize, usize) {
        match self {
            Self::Braille => (2, 4),
            Self::Blocks => (2, 2),
            Self::Ascii => (1, 1),
        }
    }

    /// The sign of a cell with these dots, the bits of which go along the rows from the top left.
    fn sign(self, dots: u8, stroke: Stroke) -> char {
        match self {
            Self::Braille => {
                // The order of Unicode's Braille patterns: down the left column, down the right one, then the last row.
                const BITS: [u32; 8] = [0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80];
                let bits = (0..8).filter(|bit| dots & (1 << bit) != 0).map(|bit| BITS[bit]).sum::<u32>();
                char::from_u32(0x2800 + bits).unwrap_or(' ')
            }
            Self::Blocks => {
                const QUADRANTS: [char; 16] =
                    [' ', '▘', '▝', '▀', '▖', '▌', '▞', '▛', '▗', '▚', '▐', '▜', '▄', '▙', '▟', '█'];
                QUADRANTS[usize::from(dots & 0x0f)]
            }
            Self::Ascii => match stroke {
                Stroke::Solid => '*',
                Stroke::Dashed => '=',
                Stroke::Dotted => '.',
                Stroke::DashDotted => '-',
            },
        }
    }

    /// The sign of a cell that only the range of a curve goes through.
    fn range(self, dots: u8) -> char {
        if self == Self::Ascii { ':' } else { self.sign(dots, Stroke::Solid) }
    }
}

/// What lies in a cell.
#[derive(Clone, Copy, Default)]
struct Cell {
    /// The range from the smallest to the largest value, and its ends.
    range: u8,
    ends: u8,
    range_style: Style,
    line: u8,
    /// Of the curve that was drawn last.
    line_style: Style,
    stroke: Stroke,
}

/// The dots of a plot.
pub struct Dots {
    plot: Rect,
    glyphs: Glyphs,
    cells: Vec<Cell>,
}

impl Dots {
    pub fn new(plot: Rect, glyphs: Glyphs) -> Self {
        Self { plot, glyphs, cells: vec![Cell::default(); usize::from(plot.width) * usize::from(plot.height)] }
    }

    fn cell(&mut self, x: usize, y: usize) -> Option<(&mut Cell, u8)> {
        let (wide, tall) = self.glyphs.dots();
        let bit = 1 << (y % tall * wide + x % wide);
        let place = y / tall * usize::from(self.plot.width) + x / wide;
        self.cells.get_mut(place).filter(|_| x / wide < usize::from(self.plot.width)).map(|cell| (cell, bit))
    }

    /// Sets the dots of a column from `top` to `bottom`.
    pub fn range(&mut self, x: usize, top: usize, bottom: usize, style: Style) {
        for y in top..=bottom {
            if let Some((cell, bit)) = self.cell(x, y) {
                cell.range |= bit;
                cell.range_style = style;
                // What ends beside the line itself is the line's noise.
                if (y == top || y == bottom) && bottom - top >= 3 {
                    cell.ends |= bit;
                }
            }
        }
    }

    /// Sets a dot of a line.
    pub fn line(&mut self, x: usize, y: usize, style: Style, stroke: Stroke) {
        if let Some((cell, bit)) = self.cell(x, y) {
            cell.line |= bit;
            (cell.line_style, cell.stroke) = (style, stroke);
        }
    }

    pub fn flush(self, buffer: &mut Buffer) {
        for (place, cell) in self.cells.into_iter().enumerate() {
            let (sign, style) = match (cell.line, cell.range) {
                (0, 0) => continue,
                (0, range) => (self.glyphs.range(range), cell.range_style),
                // A line must be seen in the range that it goes through, and the tip of a spike beside the line.
                (line, _) => (self.glyphs.sign(line | cell.ends, cell.stroke), cell.line_style),
            };
            let x = self.plot.x + (place % usize::from(self.plot.width)) as u16;
            let y = self.plot.y + (place / usize::from(self.plot.width)) as u16;
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.set_char(sign).set_style(style);
            }
        }
    }
}

/// All dots between two, ends included (Bresenham 1965).
pub fn between(x0: usize, y0: usize, x1: usize, y1: usize, dot: &mut dyn FnMut(usize, usize)) {
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
