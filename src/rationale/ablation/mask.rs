//! A share of the tokens hidden: replaced by a mask, or dropped.

use super::replaced;
use crate::rationale::recipe::{Mask, MaskHow};
use crate::rationale::tokens::Token;
use crate::seeds::Stream;
use crate::student::tokenizer::Piece;

/// Hides `round(fraction · n)` random tokens.
pub fn mask(tokens: Vec<Token>, settings: &Mask, with: &[Piece], stream: &mut Stream) -> Vec<Token> {
    let count = (settings.fraction * tokens.len() as f64).round() as usize;
    let mut hidden = vec![false; tokens.len()];
    for place in stream.sample(tokens.len(), count) {
        hidden[place] = true;
    }
    let mut masks = with.iter().cycle();
    tokens
        .into_iter()
        .zip(hidden)
        .filter_map(|(token, hidden)| match (hidden, settings.how) {
            (false, _) => Some(token),
            (true, MaskHow::Drop) => None,
            (true, MaskHow::Replace) => masks.next().map(|mask| replaced(&token, mask, settings.in_loss)),
        })
        .collect()
}
