//! Attributions for others to open: a page, a figure, running text, and JSON for Inseq. Pure functions over the same examples,
//! so that no two of them say different things.

mod cells;
mod html;
mod inseq;
mod lines;
mod svg;
#[cfg(test)]
mod tests;
mod text;

use std::fmt::Write as _;

pub use html::page;
pub use inseq::inseq;
pub use svg::figure;
pub use text::running;

use super::example::ExampleAttribution;
use crate::rationale::recipe::Unit;

/// Scores below this share of the largest are not told apart from none.
pub const WEAK: f64 = 0.1;

/// An example before a student.
#[derive(Clone, Debug)]
pub struct Shown {
    pub student: String,
    pub found: ExampleAttribution,
}

/// What stands before a unit of this strength, -1 to 1, where no colour tells it: bars that rise for the target, lines against
/// it, nothing where it is weak.
pub fn mark(strength: f64) -> &'static str {
    match strength {
        _ if strength.abs() < WEAK => "",
        s if s > 2.0 / 3.0 => "█",
        s if s > 1.0 / 3.0 => "▅",
        s if s > 0.0 => "▂",
        s if s > -1.0 / 3.0 => "-",
        s if s > -2.0 / 3.0 => "=",
        _ => "≡",
    }
}

/// What stands above the scores of an example, on one line and safe to show.
pub fn heading(found: &ExampleAttribution) -> String {
    let mut method = found.method.clone();
    if let Some(unit) = found.unit {
        let _ = write!(method, " by {}", unit.name());
    }
    let places = [found.layer.map(|layer| format!("layer {layer}")), found.head.map(|head| format!("head {head}"))];
    places.into_iter().flatten().for_each(|place| method.push_str(&format!(", {place},")));
    let mut text = format!("{method} of log p({}) = {:.4}", crate::text::line(&found.target), found.log_p);
    if let (None, Some(baseline)) = (found.log_p_baseline, found.baseline) {
        let _ = write!(text, ", replaced by the {} baseline", baseline.name());
    }
    if let (Some(from), Some(baseline)) = (found.log_p_baseline, found.baseline) {
        let _ = write!(text, ", from {from:.4} at the {} baseline", baseline.name());
    }
    if let (Some(delta), Some(steps)) = (found.convergence_delta, found.steps) {
        let mark = if found.converged == Some(false) { "! " } else { "" };
        let _ = write!(text, "; {mark}convergence delta {delta:.1e} after {steps} steps");
    }
    text
}

/// The examples in order; one that several students read stands together.
fn examples(shown: &[Shown]) -> impl Iterator<Item = &[Shown]> {
    shown.chunk_by(|one, next| one.found.id == next.found.id)
}

/// The largest size of a score. Students of one example share it, so that equal colours are equal scores.
fn largest(together: &[Shown], unit: Unit) -> f64 {
    let scores = together.iter().flat_map(|shown| shown.found.units(unit)).filter_map(|unit| unit.score);
    scores.fold(0.0, |most, score| f64::from(score).abs().max(most))
}

/// A score with its sign, as short as it is readable at its size.
fn signed(score: f64) -> String {
    if score == 0.0 || score.abs() >= 1e-3 { format!("{score:+.4}") } else { format!("{score:+.1e}") }
}
