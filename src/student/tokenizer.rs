//! Text to token ids and back.
//!
//! Every piece of an example (question, label, rationale …) is tokenised by itself, so that a token belongs to exactly
//! one role. Special tokens are set by id; text that happens to spell one is read as plain text.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordlevel::{WordLevel, WordLevelTrainer};
use tokenizers::normalizers::utils::Lowercase;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper, Tokenizer as Inner};

use super::chat::ChatTemplate;
use super::tokenizer_config::TokenizerConfig;
use super::{StudentError, charsmap, sentencepiece};
use crate::text;

/// A tokenizer with its special tokens.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Inner,
    pub specials: Specials,
    /// What the files beside it say.
    config: Arc<TokenizerConfig>,
}

/// A token without meaning that students learn to think on (Goyal et al. 2023).
pub const PAUSE_TOKEN: &str = "<pause>";

/// A special token and the bytes of a text that spell it.
pub type Spelled = (u32, Range<usize>);

/// The part of a `tokenizer.json` that may hold a map of characters. The others are large, and skipped.
#[derive(serde::Deserialize)]
struct Changes {
    #[serde(default)]
    normalizer: Value,
}

/// Where a tokenizer puts a space of its own before a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    Nowhere,
    /// Before the first word of all.
    First,
    /// There, and after each special token.
    Each,
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
            problem: format!(
                "{} · it must be a whole tokenizer.json of the Hugging Face `tokenizers` library; fetch or copy it again",
                text::excerpt(&error.to_string(), 200)
            ),
        };
        let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
        let Changes { normalizer } = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
        charsmap::check_json(&normalizer).map_err(|problem| failed(&problem))?;
        let inner = Inner::from_bytes(bytes).map_err(|error| failed(&error))?;
        Ok(Self::new(inner, specials))
    }

    /// Reads the pair of files that GPT-2, OPT and others were published with: byte-level pairs, with tokens that have a
    /// meaning of their own among the others and in `config`.
    pub fn from_vocabulary(
        vocabulary: &Path,
        merges: &Path,
        specials: Specials,
        config: &TokenizerConfig,
    ) -> Result<Self, StudentError> {
        let failed = |problem: String| StudentError::File {
            path: vocabulary.to_owned(),
            problem: format!(
                "{} · it must be the whole vocab.json of a byte-level tokenizer, with its merges.txt beside it; fetch \
                 or copy both again",
                text::excerpt(&problem, 200)
            ),
        };
        let names = [vocabulary, merges].map(|path| path.to_string_lossy().into_owned());
        let model = BPE::from_file(&names[0], &names[1]).build().map_err(|error| failed(error.to_string()))?;
        let mut inner = Inner::new(model);
        inner.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
        inner.with_decoder(Some(ByteLevel::default()));
        let ids = [specials.bos, Some(specials.eos)].into_iter().flatten();
        let named: Vec<AddedToken> =
            ids.filter_map(|id| inner.id_to_token(id)).map(|token| AddedToken::from(token, true)).collect();
        inner.add_special_tokens(named).map_err(|error| failed(error.to_string()))?;
        add(&mut inner, config).map_err(failed)?;
        Ok(Self::new(inner, specials))
    }

    /// Reads `tokenizer.model`, the file of SentencePiece, and the tokens that `config` adds.
    pub fn from_sentencepiece(path: &Path, specials: Specials, config: &TokenizerConfig) -> Result<Self, StudentError> {
        let failed = |problem: String| StudentError::File {
            path: path.to_owned(),
            problem: format!(
                "{problem} · it must be the whole tokenizer.model of SentencePiece; fetch or copy it again"
            ),
        };
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let mut inner = sentencepiece::read(&bytes).map_err(failed)?;
        add(&mut inner, config).map_err(failed)?;
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
        Self { inner, specials, config: Arc::default() }
    }

    /// Adds the pause token behind all others, where it is not there already, and gives its id.
    pub fn add_pause(&mut self) -> Result<u32, StudentError> {
        if let Some(id) = self.id_of(PAUSE_TOKEN) {
            return Ok(id);
        }
        let failed = |problem: String| StudentError::Vocabulary { problem };
        let next = self.size() as u32;
        let token = AddedToken::from(PAUSE_TOKEN, true);
        self.inner.add_special_tokens([token]).map_err(|error| failed(error.to_string()))?;
        // A vocabulary with gaps may hand an id out twice.
        match self.id_of(PAUSE_TOKEN) {
            Some(id) if id == next => Ok(id),
            _ => Err(failed(format!("{PAUSE_TOKEN} can't be added: the tokenizer's ids have gaps"))),
        }
    }

    /// With what the files beside it say.
    pub fn with_config(self, config: TokenizerConfig) -> Self {
        Self { config: Arc::new(config), ..self }
    }

    /// How the student was taught to converse, if it was.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.config.chat.as_ref()
    }

    /// The texts of the special tokens by the names that templates know them by, such as `bos_token`.
    pub fn named(&self) -> BTreeMap<String, String> {
        let own = [
            ("bos_token", self.specials.bos),
            ("eos_token", Some(self.specials.eos)),
            ("mask_token", self.specials.mask),
            ("unk_token", self.specials.unknown),
        ];
        let own = own.into_iter().filter_map(|(key, id)| Some((key.to_owned(), self.token(id?)?)));
        let mut named: BTreeMap<String, String> = own.collect();
        named.extend(self.config.named.clone());
        named
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

    /// The contents of `tokenizer_config.json`, which tells transformers the special tokens and the chat template.
    pub fn config(&self) -> Value {
        TokenizerConfig { named: self.named(), ..(*self.config).clone() }.to_json()
    }

    /// Whether a sequence begins with a token of its own, as far as the file says: `None` where it says nothing at all.
    pub fn puts_first(&self, token: u32) -> Option<bool> {
        self.inner.get_post_processor()?;
        let empty = self.inner.encode("", true).ok()?;
        Some(empty.get_ids().first() == Some(&token))
    }

    /// Lets other programs that read what is written here begin each text with bos; our own put it there themselves.
    pub fn put_bos_first(&mut self) -> Result<(), StudentError> {
        let Some((bos, name)) = self.specials.bos.and_then(|bos| Some((bos, self.token(bos)?))) else { return Ok(()) };
        let failed = |problem: String| StudentError::Vocabulary { problem };
        let first = TemplateProcessing::builder()
            .try_single(format!("{name} $A"))
            .and_then(|builder| builder.try_pair(format!("{name} $A {name}:1 $B:1")))
            .map_err(failed)?
            .special_tokens(vec![(name, bos)])
            .build()
            .map_err(|error| failed(error.to_string()))?;
        self.inner.with_post_processor(Some(first));
        Ok(())
    }

    /// One more than the largest id that a text can become. Published tokenizers add special tokens for other uses beyond
    /// the rows of a student's word table (Gemma 3's of images); no text spells those.
    pub fn reach(&self) -> usize {
        let own = self.inner.get_vocab(false).into_values();
        let added = self.inner.get_added_tokens_decoder();
        let spelled = added.into_iter().filter(|(_, token)| !token.special).map(|(id, _)| id);
        own.chain(spelled).max().map_or(0, |id| id as usize + 1)
    }

    /// The special tokens that each text of a template spells, and where, in order. What a token swallows beside it
    /// belongs to it. Text of the data must never be asked for them.
    pub fn special_tokens(&self, texts: &[&str]) -> Result<Vec<Vec<Spelled>>, StudentError> {
        let mut recognising = self.inner.clone();
        recognising.set_encode_special_tokens(false);
        let special = recognising.get_added_tokens_decoder();
        let spelled = |text: &&str| {
            let failed = |error: tokenizers::Error| StudentError::Vocabulary { problem: error.to_string() };
            let encoding = recognising.encode(*text, false).map_err(failed)?;
            let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
            let own = tokens.filter(|(id, (start, end))| {
                let token = special.get(id).filter(|token| token.special);
                token.is_some_and(|token| text.get(*start..*end).is_some_and(|own| own.trim() == token.content.trim()))
            });
            Ok(own.map(|(id, (start, end))| (*id, *start..*end)).collect())
        };
        texts.iter().map(spelled).collect()
    }

    /// Where it puts a space of its own.
    pub fn prefix(&self) -> Prefix {
        self.settings().into_iter().fold(Prefix::Nowhere, |found, setting| prefix_of(&setting, found))
    }

    /// The same tokenizer for text that goes on: it puts no space of its own before it.
    pub fn without_prefix(&self) -> Result<Self, StudentError> {
        let failed = |problem: String| StudentError::Vocabulary { problem };
        let mut changed = self.clone();
        let [mut normalizer, mut splitter] = self.settings();
        if self.prefix() == Prefix::Nowhere {
            return Ok(changed);
        }
        goes_on(&mut normalizer);
        goes_on(&mut splitter);
        let normalizer: Option<NormalizerWrapper> =
            serde_json::from_value(normalizer).map_err(|error| failed(error.to_string()))?;
        let splitter: Option<PreTokenizerWrapper> =
            serde_json::from_value(splitter).map_err(|error| failed(error.to_string()))?;
        changed.inner.with_normalizer(normalizer).map_err(|error| failed(error.to_string()))?;
        changed.inner.with_pre_tokenizer(splitter);
        Ok(changed)
    }

    /// The parts that may put a space before a text, as `tokenizer.json` has them.
    fn settings(&self) -> [Value; 2] {
        let normalizer = serde_json::to_value(self.inner.get_normalizer());
        let splitter = serde_json::to_value(self.inner.get_pre_tokenizer());
        [normalizer.unwrap_or_default(), splitter.unwrap_or_default()]
    }
}

/// The parts of a normalizer or a pre-tokenizer that is a sequence of them.
const SEQUENCES: [&str; 2] = ["normalizers", "pretokenizers"];

fn prefix_of(setting: &Value, found: Prefix) -> Prefix {
    let kind = setting.get("type").and_then(Value::as_str).unwrap_or_default();
    let scheme = setting.get("prepend_scheme").and_then(Value::as_str);
    match (kind, scheme) {
        ("Prepend", _) | ("Metaspace", Some("always")) => Prefix::Each,
        ("Metaspace", Some("first")) if found == Prefix::Nowhere => Prefix::First,
        ("ByteLevel", _) if setting.get("add_prefix_space") == Some(&Value::Bool(true)) => Prefix::Each,
        _ => {
            let parts = SEQUENCES.iter().filter_map(|key| setting.get(key)?.as_array()).flatten();
            parts.fold(found, |found, part| prefix_of(part, found))
        }
    }
}

/// Takes the space out that a part would put before a text.
fn goes_on(setting: &mut Value) {
    let kind = setting.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "Metaspace" => setting["prepend_scheme"] = "never".into(),
        "ByteLevel" => setting["add_prefix_space"] = false.into(),
        // A space before what goes on is its own.
        "Strip" => setting["strip_left"] = false.into(),
        _ => {}
    }
    for key in SEQUENCES {
        if let Some(Value::Array(parts)) = setting.get_mut(key) {
            parts.retain(|part| part.get("type").and_then(Value::as_str) != Some("Prepend"));
            parts.iter_mut().for_each(goes_on);
        }
    }
    if kind == "Prepend" {
        *setting = Value::Null;
    }
}

/// Adds the tokens that the files beside a vocabulary list, each under its id.
fn add(inner: &mut Inner, config: &TokenizerConfig) -> Result<(), String> {
    for (id, token) in &config.added {
        let name = text::excerpt(&token.content, 40);
        inner.add_tokens([token.clone()]).map_err(|error| error.to_string())?;
        match inner.token_to_id(&token.content) {
            Some(found) if found == *id => {}
            Some(found) => {
                return Err(format!("the added token `{name}` has the id {id} in its list, but {found} here"));
            }
            None => return Err(format!("the added token `{name}` can't be added")),
        }
    }
    let special: Vec<AddedToken> = config
        .named
        .values()
        .filter(|token| inner.token_to_id(token).is_some() && !config.added.values().any(|own| own.content == **token))
        .map(|token| AddedToken::from(token.clone(), true))
        .collect();
    inner.add_special_tokens(special).map_err(|error| error.to_string())?;
    Ok(())
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
    fn a_pause_token_is_added_once_and_no_text_spells_it() {
        let mut tokenizer = words();
        let size = tokenizer.size();
        assert_eq!(tokenizer.add_pause().unwrap() as usize, size);
        assert_eq!((tokenizer.add_pause().unwrap() as usize, tokenizer.size()), (size, size + 1));
        assert!(!tokenizer.ids("gills <pause> scales").unwrap().contains(&(size as u32)));
        assert_eq!(tokenizer.text(&[tokenizer.ids("gills").unwrap()[0], size as u32]).unwrap(), "gills");
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
        let none = TokenizerConfig::default();
        let parts = Tokenizer::from_vocabulary(&vocabulary, &merges, specials, &none).unwrap();
        assert_eq!(parts.size(), whole.size());
        for text in ["Hello world", " naïve café — 25 °C\n\n x", "👩‍🔬 日本語", " <|endoftext|> it's"] {
            assert_eq!(parts.pieces(text).unwrap(), whole.pieces(text).unwrap(), "{text}");
            let ids = whole.ids(text).unwrap();
            assert_eq!(parts.text(&ids).unwrap(), whole.text(&ids).unwrap());
        }
        assert_eq!(parts.text(&[15496, 50256]).unwrap(), "Hello");
        let broken = Tokenizer::from_vocabulary(&vocabulary, &dir.path().join("none.txt"), specials, &none).map(|_| ());
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
