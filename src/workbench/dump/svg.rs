//! The screen as a figure. Nothing is known of the font that it will be drawn in, so each stretch is fitted into the columns
//! that it has on the screen, and wide characters into two.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::style::Modifier;

use super::{Paper, Stretch, hex, stretches};
use crate::text::escape_markup;

/// Sizes in pixels: of letters, of a cell, of the margin, and of what is above the line that letters stand on.
const SIZE: f64 = 14.0;
const CELL: (f64, f64) = (8.4, 18.0);
const MARGIN: f64 = 12.0;
const ASCENT: f64 = 13.5;

pub fn figure(screen: &Buffer, paper: Paper) -> String {
    let (columns, rows) = (f64::from(screen.area.width), f64::from(screen.area.height));
    let (width, height) = (2.0 * MARGIN + columns * CELL.0, 2.0 * MARGIN + rows * CELL.1);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.1}\" height=\"{height:.1}\" \
         viewBox=\"0 0 {width:.1} {height:.1}\" font-size=\"{SIZE}\" \
         font-family=\"'DejaVu Sans Mono',Menlo,Consolas,'Noto Sans Mono',monospace\">\n\
         <title>afterthought</title>\n<rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n",
        hex(paper.ground)
    );
    for y in 0..screen.area.height {
        let line = stretches(screen, y);
        let top = MARGIN + f64::from(y) * CELL.1;
        // The ground of a whole line first, so that it covers no letter that reaches over its cell.
        for stretch in &line {
            if let (_, Some(ground)) = paper.colours(stretch.look) {
                let (x, width) = place(stretch);
                let _ = writeln!(
                    out,
                    "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
                    CELL.1,
                    hex(ground)
                );
            }
        }
        for stretch in line.iter().filter(|stretch| !stretch.is_blank()) {
            let (x, width) = place(stretch);
            let (ink, _) = paper.colours(stretch.look);
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{width:.1}\" lengthAdjust=\"spacingAndGlyphs\" \
                 xml:space=\"preserve\" fill=\"{}\"{}>{}</text>",
                top + ASCENT,
                hex(ink),
                attributes(stretch.look.modifier),
                escape_markup(&stretch.text)
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Where a stretch begins, and how wide it is.
fn place(stretch: &Stretch) -> (f64, f64) {
    (MARGIN + f64::from(stretch.x) * CELL.0, f64::from(stretch.width) * CELL.0)
}

fn attributes(modifier: Modifier) -> String {
    let all = [
        (Modifier::BOLD, " font-weight=\"bold\""),
        (Modifier::ITALIC, " font-style=\"italic\""),
        (Modifier::UNDERLINED, " text-decoration=\"underline\""),
    ];
    all.into_iter().filter(|(one, _)| modifier.contains(*one)).map(|(_, text)| text).collect()
}
