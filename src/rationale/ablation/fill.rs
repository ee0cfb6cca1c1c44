//! The same length without content: the control for "more tokens to compute on".

use super::replaced;
use crate::rationale::recipe::Fill;
use crate::rationale::tokens::Token;
use crate::student::tokenizer::Piece;

/// Replaces every token by the filler's, in turn.
pub fn fill(tokens: Vec<Token>, settings: &Fill, with: &[Piece]) -> Vec<Token> {
    tokens.iter().zip(with.iter().cycle()).map(|(token, filler)| replaced(token, filler, settings.in_loss)).collect()
}
