//! The same length without content: the control for "more tokens to compute on".

use super::replaced;
use crate::rationale::recipe::Fill;
use crate::rationale::tokens::Token;
use crate::student::tokenizer::Piece;

/// Replaces every token by the filler's, in turn; with a count, puts that many tokens in the place of all.
pub fn fill(tokens: Vec<Token>, settings: &Fill, with: &[Piece]) -> Vec<Token> {
    let filler = with.iter().cycle();
    match settings.count {
        None => tokens.iter().zip(filler).map(|(token, filler)| replaced(token, filler, settings.in_loss)).collect(),
        Some(count) => {
            filler.take(count).enumerate().map(|(word, filler)| Token::put_in(filler, word, settings.in_loss)).collect()
        }
    }
}
