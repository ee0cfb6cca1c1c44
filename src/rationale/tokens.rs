//! A rationale as tokens that remember where they came from.

use std::ops::Range;

use crate::student::tokenizer::Piece;
use crate::student::{StudentError, Tokenizer};

/// One token of a rationale.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub id: u32,
    pub text: String,
    /// Which token of the teacher's rationale this is; `None` for one that an ablation put in.
    pub origin: Option<usize>,
    /// Number of the word and of the sentence that it belongs to.
    pub word: usize,
    pub sentence: usize,
    /// Whether a person marked it.
    pub highlighted: bool,
    /// Its attribution, where the recipe asked for one.
    pub score: Option<f32>,
    /// How similar it is to the label, likewise: the cosine between their vectors.
    pub similarity: Option<f32>,
    /// Whether the student is trained to write it.
    pub in_loss: bool,
}

impl Token {
    /// A token that stands for none of the teacher's.
    pub fn put_in(piece: &Piece, word: usize, in_loss: bool) -> Self {
        Self {
            id: piece.id,
            text: piece.text.clone(),
            origin: None,
            word,
            sentence: 0,
            highlighted: false,
            score: None,
            similarity: None,
            in_loss,
        }
    }
}

/// Tokenises a rationale. It begins with a space, like every piece after another. `highlights` are ranges of
/// characters in `text`; `scores` has one number a token.
pub fn tokens(
    tokenizer: &Tokenizer,
    text: &str,
    highlights: &[Range<usize>],
    scores: Option<&[f32]>,
) -> Result<Vec<Token>, StudentError> {
    let text = text.trim();
    let pieces = tokenizer.pieces(&format!(" {text}"))?;
    let (mut word, mut sentence) = (0, 0);
    let mut characters = Characters { text, bytes: 0, count: 0 };
    let mut tokens: Vec<Token> = Vec::with_capacity(pieces.len());
    for (place, Piece { id, text: piece, start }) in pieces.into_iter().enumerate() {
        if let Some(before) = tokens.last()
            && piece.starts_with(char::is_whitespace)
        {
            word += 1;
            sentence += usize::from(ends_sentence(&before.text));
        }
        // The token's own characters, without the space before it; the added space at the front is not the user's.
        let lead = piece.len() - piece.trim_start().len();
        let from = characters.up_to((start + lead).saturating_sub(1));
        let to = characters.up_to((start + piece.len()).saturating_sub(1));
        let highlighted = highlights.iter().any(|range| range.start < to && from < range.end);
        let score = scores.and_then(|scores| scores.get(place).copied());
        tokens.push(Token {
            id,
            text: piece,
            origin: Some(place),
            word,
            sentence,
            highlighted,
            score,
            similarity: None,
            in_loss: true,
        });
    }
    Ok(tokens)
}

/// Whether a token is the last of a sentence, if a word begins after it.
pub fn ends_sentence(text: &str) -> bool {
    text.trim_end_matches(['"', '\'', ')', ']', '”', '’']).ends_with(['.', '!', '?', '…', '。'])
}

/// Counts characters up to bytes that never go back, in one walk over the text.
struct Characters<'a> {
    text: &'a str,
    bytes: usize,
    count: usize,
}

impl Characters<'_> {
    fn up_to(&mut self, byte: usize) -> usize {
        let byte = byte.clamp(self.bytes, self.text.len());
        if let Some(passed) = self.text.get(self.bytes..byte) {
            self.count += passed.chars().count();
            self.bytes = byte;
        }
        self.count
    }
}

/// The ranges of characters, in the trimmed text, of the words of a rationale: what a person can mark.
pub fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (place, c) in text.trim().chars().chain([' ']).enumerate() {
        match (c.is_whitespace(), start) {
            (false, None) => start = Some(place),
            (true, Some(from)) => {
                words.push(from..place);
                start = None;
            }
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let text = "it has to do with gills , fins . neither would go : the café";
        Tokenizer::words([text.to_owned()].into_iter(), 100).unwrap()
    }

    #[test]
    fn words_and_sentences_are_counted() {
        let tokens = tokens(&tokenizer(), "it has gills. neither would go .", &[], None).unwrap();
        let text: Vec<_> = tokens.iter().map(|token| token.text.trim()).collect();
        assert_eq!(text, ["it", "has", "gills", ".", "neither", "would", "go", "."]);
        assert_eq!(tokens.iter().map(|token| token.word).collect::<Vec<_>>(), [0, 1, 2, 2, 3, 4, 5, 6]);
        assert_eq!(tokens.iter().map(|token| token.sentence).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1, 1, 1]);
    }

    #[test]
    fn highlights_are_characters_not_bytes() {
        let text = " the café has gills ";
        let marked = words(text)[3].clone();
        assert_eq!(marked, 13..18);
        let tokens = tokens(&tokenizer(), text, &[marked], None).unwrap();
        let marked: Vec<_> = tokens.iter().filter(|token| token.highlighted).map(|token| token.text.trim()).collect();
        assert_eq!(marked, ["gills"]);
    }

    #[test]
    fn scores_go_with_their_tokens() {
        let tokens = tokens(&tokenizer(), "gills fins", &[], Some(&[0.25, -0.5])).unwrap();
        assert_eq!(tokens.iter().map(|token| token.score).collect::<Vec<_>>(), [Some(0.25), Some(-0.5)]);
    }
}
