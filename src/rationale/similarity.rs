//! How similar the tokens of a rationale are to the label: the cosine between their vectors.

use std::collections::{BTreeSet, HashMap};

use super::tokens::Token;
use crate::corpus::Example;
use crate::student::{StudentError, Tokenizer};

/// The vectors that a run needs, and no more.
#[derive(Clone, Debug, PartialEq)]
pub enum Vectors {
    /// Of a word2vec file, by the word as the file spells it. All tokens of a word have its similarity.
    Words(HashMap<String, Vec<f32>>),
    /// Of a student's word table, by token.
    Tokens(HashMap<u32, Vec<f32>>),
}

impl Vectors {
    /// Notes for each token how similar it is to the right choice. False where the choice has no vector: then no token
    /// has a similarity.
    pub fn score(&self, tokens: &mut [Token], example: &Example, tokenizer: &Tokenizer) -> Result<bool, StudentError> {
        let Some(label) = self.of_label(example, tokenizer)? else { return Ok(false) };
        match self {
            Self::Tokens(vectors) => {
                for token in tokens {
                    token.similarity = vectors.get(&token.id).and_then(|vector| cosine(vector, &label));
                }
            }
            Self::Words(vectors) => {
                for word in tokens.chunk_by_mut(|one, other| one.word == other.word) {
                    let text: String = word.iter().map(|token| token.text.as_str()).collect();
                    let vector = spellings(&text).find_map(|spelling| vectors.get(&spelling));
                    let similarity = vector.and_then(|vector| cosine(vector, &label));
                    word.iter_mut().for_each(|token| token.similarity = similarity);
                }
            }
        }
        Ok(true)
    }

    /// Whether the right choice of an example has a vector.
    pub fn know_label(&self, example: &Example, tokenizer: &Tokenizer) -> Result<bool, StudentError> {
        Ok(self.of_label(example, tokenizer)?.is_some())
    }

    /// The mean of the vectors of the right choice's words, or tokens.
    fn of_label(&self, example: &Example, tokenizer: &Tokenizer) -> Result<Option<Vec<f32>>, StudentError> {
        let Some(gold) = example.gold() else { return Ok(None) };
        let found: Vec<&Vec<f32>> = match self {
            Self::Words(vectors) => {
                let of = |word: &str| spellings(word).find_map(|spelling| vectors.get(&spelling));
                gold.text.split_whitespace().filter_map(of).collect()
            }
            Self::Tokens(vectors) => {
                label_ids(&gold.text, tokenizer)?.iter().filter_map(|id| vectors.get(id)).collect()
            }
        };
        let Some(first) = found.first() else { return Ok(None) };
        let mut sum = vec![0.0; first.len()];
        for vector in &found {
            sum.iter_mut().zip(*vector).for_each(|(sum, value)| *sum += value / found.len() as f32);
        }
        Ok(Some(sum))
    }
}

/// The tokens of a choice's text, as it stands after another word.
fn label_ids(text: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>, StudentError> {
    tokenizer.ids(&format!(" {}", text.trim()))
}

/// How a word may be spelled in a file of vectors, the likeliest first: as it stands, without the punctuation around it,
/// and in lower case.
fn spellings(word: &str) -> impl Iterator<Item = String> {
    let whole = word.trim();
    let bare = whole.trim_matches(|c: char| !c.is_alphanumeric());
    [whole.to_owned(), bare.to_owned(), bare.to_lowercase()].into_iter().filter(|spelling| !spelling.is_empty())
}

/// Every spelling under which vectors of these examples may be found.
pub fn words_of<'a>(examples: impl Iterator<Item = &'a Example>) -> BTreeSet<String> {
    let texts = examples.flat_map(|example| {
        let gold = example.gold().map(|gold| gold.text.as_str());
        example.rationale.as_deref().into_iter().chain(gold)
    });
    texts.flat_map(str::split_whitespace).flat_map(spellings).collect()
}

/// Every token whose vector these examples need.
pub fn tokens_of<'a>(
    examples: impl Iterator<Item = &'a Example>,
    tokenizer: &Tokenizer,
) -> Result<BTreeSet<u32>, StudentError> {
    let mut all = BTreeSet::new();
    for example in examples {
        let gold = example.gold().map(|gold| gold.text.as_str());
        for text in example.rationale.as_deref().into_iter().chain(gold) {
            all.extend(label_ids(text, tokenizer)?);
        }
    }
    Ok(all)
}

/// The cosine between two vectors; `None` where one of them is zero.
fn cosine(one: &[f32], other: &[f32]) -> Option<f32> {
    let dot = |one: &[f32], other: &[f32]| -> f64 {
        one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
    };
    let lengths = (dot(one, one) * dot(other, other)).sqrt();
    let cosine = dot(one, other) / lengths;
    cosine.is_finite().then_some(cosine as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Choice;
    use crate::rationale::tokens::tokens;

    fn example(text: &str) -> Example {
        Example {
            choices: vec![Choice { label: "A".into(), text: text.into() }],
            answer: Some("A".into()),
            rationale: Some("a River, runs to the bank".into()),
            ..Example::default()
        }
    }

    fn scored(vectors: &Vectors, tokenizer: &Tokenizer, label: &str) -> (bool, Vec<(String, Option<f32>)>) {
        let mut tokens = tokens(tokenizer, "a River, runs to the bank", &[], None).unwrap();
        let known = vectors.score(&mut tokens, &example(label), tokenizer).unwrap();
        (known, tokens.into_iter().map(|token| (token.text.trim().to_owned(), token.similarity)).collect())
    }

    #[test]
    fn words_are_found_without_their_punctuation_and_share_their_similarity() {
        let tokenizer = Tokenizer::words(["a river , runs to the bank".to_owned()].into_iter(), 50).unwrap();
        let own = |word: &str, vector: [f32; 2]| (word.to_owned(), vector.to_vec());
        let vectors = Vectors::Words(HashMap::from([
            own("river", [1.0, 1.0]),
            own("bank", [2.0, 0.0]),
            own("money", [0.0, 4.0]),
            own("to", [0.0, 0.0]),
        ]));
        let (known, scores) = scored(&vectors, &tokenizer, "Bank");
        assert!(known);
        let of = |word: &str| scores.iter().find(|(text, _)| text == word).unwrap().1;
        assert!((of("River").unwrap() - 0.5f32.sqrt()).abs() < 1e-6);
        assert_eq!(of(","), of("River"), "the comma belongs to the word");
        assert_eq!((of("bank"), of("runs"), of("to")), (Some(1.0), None, None));
        // The label is the mean of its words' vectors, those without one left out.
        let (_, scores) = scored(&vectors, &tokenizer, "bank of money");
        let bank = scores.iter().find(|(text, _)| text == "bank").unwrap().1.unwrap();
        assert!((bank - 1.0 / 5f32.sqrt()).abs() < 1e-6, "{bank}");
        let (known, scores) = scored(&vectors, &tokenizer, "lake");
        assert!(!known && scores.iter().all(|(_, score)| score.is_none()));
    }

    #[test]
    fn tokens_have_vectors_of_their_own() {
        let tokenizer = Tokenizer::words(["a river , runs to the bank".to_owned()].into_iter(), 50).unwrap();
        let needed = tokens_of([example("bank")].iter(), &tokenizer).unwrap();
        assert_eq!(needed.len(), 7);
        let vectors = needed.iter().map(|id| (*id, vec![*id as f32, 1.0])).collect();
        let (known, scores) = scored(&Vectors::Tokens(vectors), &tokenizer, "bank");
        assert!(known && scores.iter().all(|(_, score)| score.is_some()));
        assert!((scores.last().unwrap().1.unwrap() - 1.0).abs() < 1e-6);
    }
}
