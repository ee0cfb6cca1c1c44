//! The same example before two students, or before one at two checkpoints.

use serde::Serialize;

use super::example::ExampleAttribution;
use crate::rationale::recipe::Unit;

/// A unit with both scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    pub text: String,
    pub one: f32,
    pub other: f32,
}

/// Units that both students scored, in order. Two tokenizers cut words differently, so tokens are paired only where they are
/// the same; words are the same where the text is. `None` where they are not, and where the two were asked about different
/// things: the strongest other choice of a contrast may be another.
pub fn compare(one: &ExampleAttribution, other: &ExampleAttribution, unit: Unit) -> Option<Vec<Pair>> {
    if one.target != other.target {
        return None;
    }
    let scored = |found: &ExampleAttribution| -> Vec<(String, f32)> {
        found.units(unit).iter().filter_map(|unit| Some((unit.text.clone(), unit.score?))).collect()
    };
    let (one, other) = (scored(one), scored(other));
    let alike = |((a, _), (b, _)): (&(String, f32), &(String, f32))| a.trim() == b.trim();
    (one.len() == other.len() && one.iter().zip(&other).all(alike))
        .then(|| one.into_iter().zip(other).map(|((text, one), (_, other))| Pair { text, one, other }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::ScoredToken;
    use crate::rationale::Role;

    #[test]
    fn other_tokens_are_paired_as_words_or_not_at_all() {
        let found = |tokens: &[&str]| {
            let token = |text: &&str| ScoredToken { text: (*text).into(), role: Role::Rationale, score: Some(0.5) };
            let tokens: Vec<ScoredToken> = tokens.iter().map(token).collect();
            let words = crate::attribution::units::sums(&tokens, Unit::Word);
            ExampleAttribution { tokens, words, ..ExampleAttribution::default() }
        };
        let (one, other) = (found(&[" sno", "rkel"]), found(&[" snorkel"]));
        assert_eq!(compare(&one, &other, Unit::Token), None);
        let words = compare(&one, &other, Unit::Word).unwrap();
        assert_eq!(words, [Pair { text: " snorkel".into(), one: 1.0, other: 0.5 }]);
        assert_eq!(compare(&one, &found(&[" fins"]), Unit::Word), None);
    }
}
