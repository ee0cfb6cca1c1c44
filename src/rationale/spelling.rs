//! How a student spells a word: its tokens with their ids and places.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::student::{StudentError, Tokenizer};

/// Bytes before a word that are tokenized with it, and after it. No tokenizer here looks further.
const BEFORE: usize = 400;
const AFTER: usize = 100;

/// A token of a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpelledToken {
    pub id: u32,
    /// Its characters, with the blank before them that belongs to it. For a part of a character, that character.
    pub text: String,
    /// Where they stand, in characters of the text, the blank left out.
    pub place: Range<usize>,
    /// Whether it is less than a character: byte-level tokenizers write rare ones in several tokens.
    pub is_part: bool,
}

/// A word with as much around it as decides its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Around {
    text: String,
    /// The bytes of the word in it.
    word: Range<usize>,
    /// Characters of the text before it.
    passed: usize,
    /// The text begins with a blank that is not the author's.
    is_first: bool,
}

impl Around {
    /// A word of a rationale by its bytes in `text`.
    pub fn of(text: &str, word: Range<usize>) -> Self {
        let boundary = |mut at: usize| {
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let near = boundary(word.start.saturating_sub(BEFORE));
        // From a blank on: half a word would be spelled otherwise.
        let begin =
            if near == 0 { 0 } else { text[near..word.start].find(char::is_whitespace).map_or(near, |at| near + at) };
        let far = boundary((word.end + AFTER).min(text.len()));
        let end = if far == text.len() {
            far
        } else {
            text[word.end..far].rfind(char::is_whitespace).map_or(far, |at| word.end + at)
        };
        // A rationale comes after something, so that its first word has a blank before it, too.
        let is_first = begin == 0;
        let lead = if is_first { " " } else { "" };
        let shift = |at: usize| at - begin + lead.len();
        Self {
            text: format!("{lead}{}", &text[begin..end]),
            word: shift(word.start)..shift(word.end),
            passed: text[..begin].chars().count(),
            is_first,
        }
    }

    /// The tokens that write the word, those that also write something beside it among them.
    pub fn spell(&self, tokenizer: &Tokenizer) -> Result<Vec<SpelledToken>, StudentError> {
        let pieces = tokenizer.pieces(&self.text)?;
        let mut tokens = Vec::new();
        // The characters that the last token with any has: what follows without one is the rest of its last character.
        let mut last = 0..0;
        for (number, piece) in pieces.iter().enumerate() {
            let lead = piece.text.len() - piece.text.trim_start().len();
            let is_rest = piece.text.is_empty();
            let own = if is_rest { last.clone() } else { piece.start + lead..piece.start + piece.text.len() };
            let is_broken = is_rest || pieces.get(number + 1).is_some_and(|next| next.text.is_empty());
            if !is_rest {
                let c = self.text[own.clone()].chars().next_back().map_or(0, char::len_utf8);
                last = own.end - c..own.end;
            }
            if own.start < self.word.end && self.word.start < own.end {
                let characters = |byte: usize| {
                    self.passed + self.text[..byte].chars().count() - usize::from(self.is_first && byte > 0)
                };
                let text = if is_rest { self.text[own.clone()].to_owned() } else { piece.text.clone() };
                let place = characters(own.start)..characters(own.end);
                tokens.push(SpelledToken { id: piece.id, text, place, is_part: is_broken });
            }
        }
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::student::tokenizer::Specials;

    #[test]
    fn a_word_is_spelled_where_it_stands() {
        let tokenizer = Tokenizer::words(["it has gills , fins".to_owned()].into_iter(), 100).unwrap();
        let text = "it has gills, fins";
        let tokens = Around::of(text, 7..13).spell(&tokenizer).unwrap();
        let shown: Vec<_> =
            tokens.iter().map(|token| (token.text.trim(), token.place.clone(), token.is_part)).collect();
        assert_eq!(shown, [("gills", 7..12, false), (",", 12..13, false)]);
        let first = Around::of(text, 0..2).spell(&tokenizer).unwrap();
        assert_eq!((first.len(), first[0].place.clone()), (1, 0..2));
        // Far into a long text it is spelled as it is at its beginning.
        let long = format!("{} gills fins", "it has ".repeat(900));
        let start = long.find("gills").unwrap();
        let far = Around::of(&long, start..start + 5).spell(&tokenizer).unwrap();
        assert_eq!((far.len(), far[0].id, far[0].place.clone()), (1, tokens[0].id, start..start + 5));
    }

    #[test]
    fn a_character_in_several_tokens_is_told() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tokenizers/gpt2/tokenizer.json");
        if !path.exists() {
            println!("skipped: ../shared is not here");
            return;
        }
        let tokenizer = Tokenizer::from_file(&path, Specials { eos: 50256, ..Specials::default() }).unwrap();
        let text = "naïve 👩 gills";
        let start = text.find('👩').unwrap();
        let tokens = Around::of(text, start..start + '👩'.len_utf8()).spell(&tokenizer).unwrap();
        assert!(tokens.len() > 1 && tokens.iter().all(|token| token.is_part && token.place == (6..7)), "{tokens:?}");
        let whole: Vec<u32> = tokenizer.ids(&format!(" {text}")).unwrap();
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        assert!(whole.windows(ids.len()).any(|window| window == ids), "{whole:?} {ids:?}");
        let gills = Around::of(text, text.len() - 5..text.len()).spell(&tokenizer).unwrap();
        let places: Vec<_> = gills.iter().map(|token| token.place.clone()).collect();
        assert_eq!(
            (places.first().map(|place| place.start), places.last().map(|place| place.end)),
            (Some(8), Some(13))
        );
        assert!(gills.iter().all(|token| !token.is_part));
    }
}
