//! A few tokens kept, in their order: key ones, random ones, the first, the last, or those that a person marked.

use crate::rationale::recipe::{CutFrom, Keep, KeepBy, Remove, Truncate};
use crate::rationale::tokens::Token;
use crate::seeds::Stream;

/// Keeps `count` tokens, or `round(fraction · n)`. By attribution or similarity: those with the highest scores, the
/// earlier one first where two are equal. Tokens without a score (put in by an earlier ablation, or without a vector)
/// come last.
pub fn keep(tokens: Vec<Token>, settings: &Keep, stream: &mut Stream) -> Vec<Token> {
    let n = tokens.len();
    let count = settings.limit(n);
    let mut kept: Vec<usize> = match settings.by {
        KeepBy::First => (0..count).collect(),
        KeepBy::Last => (n - count..n).collect(),
        KeepBy::Random => stream.sample(n, count),
        KeepBy::Highlight => (0..n).filter(|place| tokens[*place].highlighted).take(count).collect(),
        KeepBy::Attribution => highest(&tokens, count, |token| token.score),
        KeepBy::Similarity => highest(&tokens, count, |token| token.similarity),
    };
    kept.sort_unstable();
    kept.into_iter().map(|place| tokens[place].clone()).collect()
}

/// The places of the `count` tokens with the highest scores.
fn highest(tokens: &[Token], count: usize, of: impl Fn(&Token) -> Option<f32>) -> Vec<usize> {
    let score = |place: &usize| of(&tokens[*place]).unwrap_or(f32::NEG_INFINITY);
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by(|one, other| score(other).total_cmp(&score(one)));
    order.truncate(count);
    order
}

/// Cuts the rationale down at one of its ends.
pub fn truncate(mut tokens: Vec<Token>, settings: &Truncate) -> Vec<Token> {
    let left = settings.limit(tokens.len());
    cut(&mut tokens, left, settings.from);
    tokens
}

/// Takes away what an epoch has to do without.
pub fn remove(mut tokens: Vec<Token>, settings: &Remove, epoch: usize, stream: &mut Stream) -> Vec<Token> {
    let more = match settings.smoothing.filter(|_| epoch > 0) {
        // The geometric distribution, by its inverse.
        Some(smoothing) => (-(1.0 - stream.uniform()).ln() / smoothing) as usize,
        None => 0,
    };
    let left = tokens.len().saturating_sub(settings.gone(epoch, tokens.len()).saturating_add(more));
    cut(&mut tokens, left, settings.from);
    tokens
}

fn cut(tokens: &mut Vec<Token>, left: usize, from: CutFrom) {
    match from {
        CutFrom::End => tokens.truncate(left),
        CutFrom::Start => drop(tokens.drain(..tokens.len() - left)),
    }
}
