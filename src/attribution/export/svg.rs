//! A figure for a paper: wrapped tokens on backgrounds, with a bar that says what the colours mean.
//!
//! Nothing is known of the font that it will be drawn in, so every token is given the width that it has in a monospace font, and
//! is fitted into that. Colours are opaque, as not every program that places figures knows others. The line below a token
//! repeats them: whole for the target, dashed against it, thicker where the score is stronger.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use super::cells::{Cell, Gap, Score, cells};
use super::lines::{Piece, lines, reorder};
use super::{Shown, WEAK, examples, heading, largest, signed};
use crate::rationale::recipe::Unit;
use crate::text;

type Colour = (u8, u8, u8);

/// Sky blue and orange of Okabe and Ito, and darker ones of the same for lines.
const FOR: Colour = (86, 180, 233);
const AGAINST: Colour = (230, 159, 0);
const FOR_LINE: &str = "#00659e";
const AGAINST_LINE: &str = "#a04400";
const INK: &str = "#1b1b1b";
const DIM: &str = "#6a6a6a";

/// The width of a letter as a share of the font's size, as most monospace fonts have it.
const ADVANCE: f64 = 0.6;
/// Sizes in pixels: of tokens, of what stands around them, and the height of a line of each.
const SIZE: f64 = 14.0;
const SMALL: f64 = 10.5;
const LINE: f64 = 27.0;
const SMALL_LINE: f64 = 15.0;
const MARGIN: f64 = 10.0;
/// The bar's parts: how many, how wide, how high.
const STEPS: i32 = 9;
const STEP: f64 = 16.0;
const BAR: f64 = 11.0;

/// A figure of examples below each other, `columns` letters wide.
pub fn figure(shown: &[Shown], unit: Unit, columns: usize) -> String {
    let mut drawn = Drawing { columns, y: MARGIN, out: String::new() };
    for (place, together) in examples(shown).enumerate() {
        if place > 0 {
            drawn.y += LINE / 2.0;
        }
        drawn.example(together, unit);
    }
    let (width, height) = (2.0 * MARGIN + columns as f64 * SIZE * ADVANCE, drawn.y + MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.1}\" height=\"{height:.1}\" \
         viewBox=\"0 0 {width:.1} {height:.1}\" \
         font-family=\"'DejaVu Sans Mono',Menlo,Consolas,'Noto Sans Mono',monospace\">\n\
         <title>Attributions</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    out.push_str(&drawn.out);
    out.push_str("</svg>\n");
    out
}

struct Drawing {
    columns: usize,
    /// Where the next line begins.
    y: f64,
    out: String,
}

impl Drawing {
    fn put(&mut self, text: std::fmt::Arguments) {
        // Writing to a string does not fail.
        let _ = self.out.write_fmt(text);
    }

    fn example(&mut self, together: &[Shown], unit: Unit) {
        let most = largest(together, unit);
        for shown in together {
            let about = format!("{} · {}", text::line(&shown.found.id), text::line(&shown.student));
            self.sentence(&about, INK);
            self.sentence(&heading(&shown.found), DIM);
            if let Some(caution) = &shown.found.caution {
                self.sentence(&format!("! {}", text::line(caution)), INK);
            }
            self.y += 4.0;
            let cells = cells(shown.found.units(unit), most);
            for mut line in lines(&cells, self.columns, |_| "") {
                reorder(&mut line);
                for piece in &line {
                    self.token(piece, &cells[piece.cell]);
                }
                self.y += LINE;
            }
            self.y += 4.0;
        }
        self.key(most);
    }

    fn token(&mut self, piece: &Piece, cell: &Cell) {
        let letter = SIZE * ADVANCE;
        let (x, width) = (MARGIN + piece.column as f64 * letter, piece.width as f64 * letter);
        let y = self.y;
        let own = text::escape_markup(&piece.text);
        let fitted = format!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"{SIZE}\" textLength=\"{width:.1}\" \
             lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\" fill=\"{}\">{own}</text>",
            y + 16.0,
            if cell.score.is_some() { INK } else { DIM }
        );
        let Some(score) = cell.score else {
            self.put(format_args!("{fitted}\n"));
            return;
        };
        self.put(format_args!("<g><title>{}</title>", signed(score.value)));
        // A hair between the tokens of a word.
        self.background((x + 0.4, y + 2.0), ((width - 0.8).max(0.0), 19.0), score);
        self.put(format_args!("{fitted}</g>\n"));
    }

    /// A background with its line, of a size, at its upper left corner.
    fn background(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), Score { strength, .. }: Score) {
        let size = strength.abs();
        if size < WEAK {
            return;
        }
        let (colour, line, dash) =
            if strength > 0.0 { (FOR, FOR_LINE, "") } else { (AGAINST, AGAINST_LINE, " stroke-dasharray=\"3 2\"") };
        let fill = tint(colour, size);
        let thick = 1.0 + f64::from(size > 1.0 / 3.0) + f64::from(size > 2.0 / 3.0);
        let low = y + height;
        self.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>\
             <path d=\"M{x:.1} {low:.1}h{width:.1}\" stroke=\"{line}\" stroke-width=\"{thick}\"{dash}/>"
        ));
    }

    /// Small text, wrapped.
    fn sentence(&mut self, sentence: &str, fill: &str) {
        let columns = (self.columns as f64 * SIZE / SMALL) as usize;
        let cell = Cell { before: Gap::default(), text: sentence.to_owned(), after: Gap::default(), score: None };
        for line in lines(&[cell], columns, |_| "") {
            for piece in line {
                self.small(MARGIN, &piece.text, fill);
            }
            self.y += SMALL_LINE;
        }
    }

    fn small(&mut self, x: f64, own: &str, fill: &str) {
        let (y, width) = (self.y + 11.0, small_width(own));
        let own = text::escape_markup(own);
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{SMALL}\" textLength=\"{width:.1}\" \
             lengthAdjust=\"spacingAndGlyphs\" fill=\"{fill}\">{own}</text>\n"
        ));
    }

    /// The bar, from the strongest against to the strongest for.
    fn key(&mut self, most: f64) {
        let [against, speaks] = [format!("against {}", signed(-most)), format!("{} for", signed(most))];
        self.small(MARGIN, &against, DIM);
        let left = MARGIN + small_width(&against) + 6.0;
        for step in 0..STEPS {
            let strength = f64::from(2 * step - STEPS + 1) / f64::from(STEPS - 1);
            let x = left + f64::from(step) * STEP;
            if strength == 0.0 {
                self.small(x + (STEP - 2.0 - small_width("0")) / 2.0, "0", DIM);
            } else {
                self.background((x, self.y + 1.0), (STEP - 2.0, BAR), Score { value: 0.0, strength });
            }
        }
        self.out.push('\n');
        self.small(left + f64::from(STEPS) * STEP + 4.0, &speaks, DIM);
        self.y += SMALL_LINE;
    }
}

fn small_width(text: &str) -> f64 {
    text.width() as f64 * SMALL * ADVANCE
}

/// A share of a colour over white.
fn tint((r, g, b): Colour, share: f64) -> String {
    let mix = |part: u8| (255.0 - (255.0 - f64::from(part)) * share).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(r), mix(g), mix(b))
}
