//! The toy student: one layer, 64 columns, a word-level vocabulary. Trained from scratch it learns a small world in
//! seconds, which is what makes an ablation something to try while others watch.

use super::{Architecture, StudentError, Tokenizer};

/// Words at most in the vocabulary; natural text has more, and the rest are one unknown word.
const WORDS: usize = 8192;
/// Tokens in the longest sequence.
const CONTEXT: usize = 256;

/// A tokenizer made from the texts that the student will see.
pub fn tokenizer(texts: impl Iterator<Item = String> + Send) -> Result<Tokenizer, StudentError> {
    Tokenizer::words(texts, WORDS)
}

/// The toy student's shape for a vocabulary.
pub fn architecture(vocabulary: usize) -> Architecture {
    Architecture::gpt2(vocabulary, CONTEXT, 64, 1, 4, 256)
}
