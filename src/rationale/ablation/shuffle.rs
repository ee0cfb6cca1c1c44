//! Another order: of tokens, of words, or of sentences.

use crate::rationale::recipe::Unit;
use crate::rationale::tokens::Token;
use crate::seeds::Stream;

/// Puts the units in a random order; what lies inside a unit stays together.
pub fn shuffle(tokens: Vec<Token>, unit: Unit, stream: &mut Stream) -> Vec<Token> {
    let same = |one: &Token, other: &Token| match unit {
        Unit::Token => false,
        Unit::Word => one.word == other.word,
        Unit::Sentence => one.sentence == other.sentence,
    };
    let mut units: Vec<&[Token]> = tokens.chunk_by(same).collect();
    stream.shuffle(&mut units);
    units.concat()
}
