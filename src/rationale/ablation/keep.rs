//! A few tokens kept, in their order: key ones, random ones, the first, the last, or those that a person marked.

use crate::rationale::recipe::{Keep, KeepBy};
use crate::rationale::tokens::Token;
use crate::seeds::Stream;

/// Keeps `count` tokens. By attribution: those with the highest scores, the earlier one first where two are equal.
/// Tokens without a score (put in by an earlier ablation) come last.
pub fn keep(tokens: Vec<Token>, settings: &Keep, stream: &mut Stream) -> Vec<Token> {
    let n = tokens.len();
    let count = settings.count.unwrap_or(n).min(n);
    let mut kept: Vec<usize> = match settings.by {
        KeepBy::First => (0..count).collect(),
        KeepBy::Last => (n - count..n).collect(),
        KeepBy::Random => stream.sample(n, count),
        KeepBy::Highlight => (0..n).filter(|place| tokens[*place].highlighted).take(count).collect(),
        KeepBy::Attribution => {
            let score = |place: &usize| tokens[*place].score.unwrap_or(f32::NEG_INFINITY);
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|one, other| score(other).total_cmp(&score(one)));
            order.truncate(count);
            order
        }
    };
    kept.sort_unstable();
    kept.into_iter().map(|place| tokens[place].clone()).collect()
}
