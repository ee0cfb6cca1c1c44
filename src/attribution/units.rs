//! Tokens put together: words and sentences, with the sums of their scores.

use std::ops::Range;

use super::example::ScoredToken;
use crate::rationale::Role;
use crate::rationale::recipe::Unit;
use crate::rationale::tokens::ends_sentence;

/// The places of each unit, in order; together they are all of `tokens`. A word begins at white space and where the role
/// changes, a sentence at the word after one that ends it.
pub fn spans<'a>(tokens: impl Iterator<Item = (&'a str, Role)>, unit: Unit) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut before: Option<(&str, Role)> = None;
    for (place, (text, role)) in tokens.enumerate() {
        let begins = before.is_none_or(|(last, last_role)| {
            // What begins a sequence stands before its first word and is no part of it.
            let is_special = last.len() > 2 && last.starts_with('<') && last.ends_with('>');
            let new_word = is_special || text.starts_with(char::is_whitespace);
            role != last_role
                || match unit {
                    Unit::Token => true,
                    Unit::Word => new_word,
                    Unit::Sentence => new_word && ends_sentence(last),
                }
        });
        match spans.last_mut() {
            Some(span) if !begins => span.end = place + 1,
            _ => spans.push(place..place + 1),
        }
        before = Some((text, role));
    }
    spans
}

/// A word without what stands around it, in lower case: what it is known by over a data set.
pub fn bare(word: &str) -> String {
    word.trim().trim_matches(|c: char| c.is_ascii_punctuation()).to_lowercase()
}

/// Units with the sums of their tokens' scores.
pub fn sums(tokens: &[ScoredToken], unit: Unit) -> Vec<ScoredToken> {
    let joined = |span: Range<usize>| {
        let own = &tokens[span];
        let scored: Vec<f32> = own.iter().filter_map(|token| token.score).collect();
        ScoredToken {
            text: own.iter().map(|token| token.text.as_str()).collect(),
            role: own[0].role,
            score: (!scored.is_empty()).then(|| scored.iter().sum()),
        }
    };
    spans(tokens.iter().map(|token| (token.text.as_str(), token.role)), unit).into_iter().map(joined).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, role: Role, score: Option<f32>) -> ScoredToken {
        ScoredToken { text: text.into(), role, score }
    }

    #[test]
    fn words_and_sentences_sum_their_tokens() {
        let tokens = [
            token(" sno", Role::Rationale, Some(0.5)),
            token("rkel", Role::Rationale, Some(0.25)),
            token(".", Role::Rationale, Some(0.0)),
            token(" fins", Role::Rationale, Some(-0.5)),
            token("\nAnswer:", Role::Separator, None),
        ];
        let found = |unit| -> Vec<(String, Option<f32>)> {
            sums(&tokens, unit).into_iter().map(|unit| (unit.text.trim().to_owned(), unit.score)).collect()
        };
        let own = |text: &str, score| (text.to_owned(), score);
        let answer = own("Answer:", None);
        assert_eq!(found(Unit::Word), [own("snorkel.", Some(0.75)), own("fins", Some(-0.5)), answer.clone()]);
        assert_eq!(found(Unit::Sentence), found(Unit::Word));
        assert_eq!(found(Unit::Token).len(), 5);
        let toy =
            [" it", " floats", " .", " so", " it", " fits", " ."].map(|text| token(text, Role::Rationale, Some(1.0)));
        let scores: Vec<_> = sums(&toy, Unit::Sentence).into_iter().map(|unit| unit.score).collect();
        assert_eq!(scores, [Some(3.0), Some(4.0)]);
    }
}
