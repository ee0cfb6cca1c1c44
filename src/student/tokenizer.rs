//! Text to token ids and back.
//!
//! Every piece of an example (question, label, rationale …) is tokenised by itself, so that a token belongs to exactly
//! one role. Special tokens are set by id; text that happens to spell one is read as plain text.

use std::path::Path;

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordlevel::{WordLevel, WordLevelTrainer};
use tokenizers::normalizers::utils::Lowercase;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::{AddedToken, Tokenizer as Inner};

use super::StudentError;

/// A tokenizer with its special tokens.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Inner,
    pub specials: Specials,
}

/// Ids of the tokens with a meaning of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Specials {
    /// Begins a sequence, where the student expects that.
    pub bos: Option<u32>,
    /// Ends a sequence.
    pub eos: u32,
    pub mask: Option<u32>,
    pub unknown: Option<u32>,
}

/// A token and the text that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub id: u32,
    /// With the space before it. The texts of all pieces joined are the text that was tokenised; where one character
    /// took several tokens, the first has it and the others are empty.
    pub text: String,
    /// Byte in the tokenised text at which `text` begins.
    pub start: usize,
}

impl Tokenizer {
    /// Reads `tokenizer.json`.
    pub fn from_file(path: &Path, specials: Specials) -> Result<Self, StudentError> {
        let failed = |error: &dyn std::fmt::Display| StudentError::File {
            path: path.to_owned(),
            problem: format!("{error} · it must be a tokenizer.json of the Hugging Face `tokenizers` library"),
        };
        let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
        let inner = Inner::from_bytes(bytes).map_err(|error| failed(&error))?;
        Ok(Self::new(inner, specials))
    }

    /// Reads the pair of files that GPT-2, OPT and others were published with: byte-level pairs, with tokens that have a
    /// meaning of their own among the others.
    pub fn from_vocabulary(vocabulary: &Path, merges: &Path, specials: Specials) -> Result<Self, StudentError> {
        let failed = |error: tokenizers::Error| StudentError::File {
            path: vocabulary.to_owned(),
            problem: format!(
                "{error} · it must be the vocab.json of a byte-level tokenizer, with its merges.txt beside it"
            ),
        };
        let names = [vocabulary, merges].map(|path| path.to_string_lossy().into_owned());
        let model = BPE::from_file(&names[0], &names[1]).build().map_err(failed)?;
        let mut inner = Inner::new(model);
        inner.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
        inner.with_decoder(Some(ByteLevel::default()));
        let ids = [specials.bos, Some(specials.eos)].into_iter().flatten();
        let named: Vec<AddedToken> =
            ids.filter_map(|id| inner.id_to_token(id)).map(|token| AddedToken::from(token, true)).collect();
        inner.add_special_tokens(named).map_err(failed)?;
        Ok(Self::new(inner, specials))
    }

    /// A lower-case word-level vocabulary of the most frequent words of `texts`.
    pub fn words(texts: impl Iterator<Item = String> + Send, limit: usize) -> Result<Self, StudentError> {
        const SPECIALS: [&str; 5] = ["<pad>", "<bos>", "<eos>", "<mask>", "<unk>"];
        let build = || -> tokenizers::Result<Inner> {
            let model = WordLevel::builder().unk_token("<unk>".into()).build()?;
            let mut inner = Inner::new(model);
            inner.with_normalizer(Some(Lowercase))?;
            inner.with_pre_tokenizer(Some(Whitespace {}));
            let specials = SPECIALS.map(|token| AddedToken::from(token, true)).to_vec();
            let mut trainer = TrainerWrapper::from(
                WordLevelTrainer::builder().show_progress(false).vocab_size(limit).special_tokens(specials).build()?,
            );
            inner.train(&mut trainer, texts)?;
            Ok(inner)
        };
        let inner = build().map_err(|error| StudentError::Vocabulary { problem: error.to_string() })?;
        let specials = Specials { bos: Some(1), eos: 2, mask: Some(3), unknown: Some(4) };
        Ok(Self::new(inner, specials))
    }

    fn new(mut inner: Inner, specials: Specials) -> Self {
        inner.set_encode_special_tokens(true);
        // A tokenizer file may ask for truncation or padding; lengths are ours to decide.
        let _ = inner.with_truncation(None);
        inner.with_padding(None);
        Self { inner, specials }
    }

    /// The number of ids: one more than the largest.
    pub fn size(&self) -> usize {
        let largest = self.inner.get_vocab(true).into_values().max();
        largest.map_or(0, |id| id as usize + 1)
    }

    /// Tokens with their texts.
    pub fn pieces(&self, text: &str) -> Result<Vec<Piece>, StudentError> {
        let encoding =
            self.inner.encode(text, false).map_err(|error| StudentError::Vocabulary { problem: error.to_string() })?;
        let mut start = 0;
        let mut pieces = Vec::with_capacity(encoding.len());
        for (id, (_, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            // White space that the tokenizer drops goes to the word after it.
            let mut end = (*end).clamp(start, text.len());
            while !text.is_char_boundary(end) {
                end += 1;
            }
            pieces.push(Piece { id: *id, text: text[start..end].to_owned(), start });
            start = end;
        }
        Ok(pieces)
    }

    /// Token ids alone.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, StudentError> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|error| StudentError::Vocabulary { problem: error.to_string() })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of generated tokens, special ones left out.
    pub fn text(&self, ids: &[u32]) -> Result<String, StudentError> {
        self.inner.decode(ids, true).map_err(|error| StudentError::Vocabulary { problem: error.to_string() })
    }

    /// The token as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token as the vocabulary spells it.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The contents of `tokenizer.json`.
    pub fn to_json(&self) -> Result<String, StudentError> {
        let mut inner = self.inner.clone();
        inner.set_encode_special_tokens(false);
        inner.to_string(true).map_err(|error| StudentError::Vocabulary { problem: error.to_string() })
    }

    /// The contents of `tokenizer_config.json`, which tells transformers the special tokens.
    pub fn config(&self) -> serde_json::Value {
        let name = |id: Option<u32>| id.and_then(|id| self.token(id));
        let mut config = serde_json::Map::new();
        config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
        let specials = [
            ("bos_token", self.specials.bos),
            ("eos_token", Some(self.specials.eos)),
            ("mask_token", self.specials.mask),
            ("unk_token", self.specials.unknown),
        ];
        for (key, id) in specials {
            if let Some(token) = name(id) {
                config.insert(key.into(), token.into());
            }
        }
        config.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Tokenizer {
        let texts = ["what is a wug ? options : reef , barn .", "gills and scales"];
        Tokenizer::words(texts.iter().map(|text| (*text).to_owned()), 100).unwrap()
    }

    #[test]
    fn pieces_join_to_the_text() {
        let tokenizer = words();
        for text in [" What is a  wug ?", " gills, and scales", "", " zyx  "] {
            let pieces = tokenizer.pieces(text).unwrap();
            let joined: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
            assert_eq!(joined, text.trim_end());
            assert!(pieces.iter().all(|piece| text[piece.start..].starts_with(&piece.text)));
        }
        assert_eq!(tokenizer.pieces(" zyx").unwrap()[0].id, tokenizer.specials.unknown.unwrap());
        assert_eq!(tokenizer.text(&tokenizer.ids("gills and scales").unwrap()).unwrap(), "gills and scales");
    }

    #[test]
    fn text_can_not_spell_a_special_token() {
        let tokenizer = words();
        let ids = tokenizer.ids("gills <eos> <mask>").unwrap();
        assert!(!ids.contains(&tokenizer.specials.eos) && !ids.contains(&tokenizer.specials.mask.unwrap()));
    }

    #[test]
    fn the_same_texts_give_the_same_vocabulary() {
        assert_eq!(words().to_json().unwrap(), words().to_json().unwrap());
        assert_eq!(words().token(1).as_deref(), Some("<bos>"));
        assert_eq!(words().size(), 5 + 14);
    }

    #[test]
    fn vocabulary_and_merges_are_the_same_tokenizer() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tokenizers/gpt2/tokenizer.json");
        if !path.exists() {
            println!("skipped: ../shared is not here");
            return;
        }
        let specials = Specials { eos: 50256, ..Specials::default() };
        let whole = Tokenizer::from_file(&path, specials).unwrap();
        let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (vocabulary, merges) = (dir.path().join("vocab.json"), dir.path().join("merges.txt"));
        std::fs::write(&vocabulary, json["model"]["vocab"].to_string()).unwrap();
        let pairs = json["model"]["merges"].as_array().unwrap().iter();
        let lines = pairs.map(|pair| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
        let text = lines.fold("#version: 0.2".to_owned(), |text, line| format!("{text}\n{line}"));
        std::fs::write(&merges, text).unwrap();
        let parts = Tokenizer::from_vocabulary(&vocabulary, &merges, specials).unwrap();
        assert_eq!(parts.size(), whole.size());
        for text in ["Hello world", " naïve café — 25 °C\n\n x", "👩‍🔬 日本語", " <|endoftext|> it's"] {
            assert_eq!(parts.pieces(text).unwrap(), whole.pieces(text).unwrap(), "{text}");
            let ids = whole.ids(text).unwrap();
            assert_eq!(parts.text(&ids).unwrap(), whole.text(&ids).unwrap());
        }
        assert_eq!(parts.text(&[15496, 50256]).unwrap(), "Hello");
        let broken = Tokenizer::from_vocabulary(&vocabulary, &dir.path().join("none.txt"), specials).map(|_| ());
        assert!(broken.unwrap_err().to_string().contains("merges.txt"));
    }

    #[test]
    fn gpt2_pieces_are_exact_for_any_unicode() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tokenizers/gpt2/tokenizer.json");
        if !path.exists() {
            println!("skipped: ../shared is not here");
            return;
        }
        let tokenizer = Tokenizer::from_file(&path, Specials { eos: 50256, ..Specials::default() }).unwrap();
        assert_eq!(tokenizer.ids("Hello world").unwrap(), [15496, 995]);
        assert_eq!(tokenizer.size(), 50257);
        for text in ["naïve café — 25 °C", " 👩‍🔬 e\u{301}", "日本語 text\n\n x", " <|endoftext|> ", "नमस्ते"]
        {
            let pieces = tokenizer.pieces(text).unwrap();
            let joined: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
            assert_eq!(joined, text);
            assert!(pieces.iter().all(|piece| piece.id != 50256));
        }
    }
}
