//! `tokenizer.model`: the tokenizer of students that were published for SentencePiece alone (Llama 2, Mistral, Gemma 1).
//!
//! The file is a Protocol Buffers message with the pieces and their scores. It becomes a tokenizer of the `tokenizers`
//! library that gives the same ids, so that nothing else has to know of it and checkpoints carry a `tokenizer.json`.

use std::collections::HashMap;

use prost::Message;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip as StripDecoder;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::precompiled::Precompiled;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Sequence, Strip};
use tokenizers::{AddedToken, Tokenizer};

use super::charsmap;
use crate::text;

/// What stands for a space in a piece.
const SPACE: &str = "▁";
/// No published piece is nearly as long; a longer one would take too long to cut into pairs.
const LONGEST_PIECE: usize = 1024;

/// `ModelProto` of SentencePiece's `sentencepiece_model.proto`, as far as it decides ids.
#[derive(Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(enumeration = "Kind", optional, tag = "3", default = "Normal")]
    kind: Option<i32>,
}

/// `SentencePiece.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// `TrainerSpec`.
#[derive(Message)]
struct Trainer {
    #[prost(int32, optional, tag = "3", default = "1")]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = "24")]
    space_is_suffix: Option<bool>,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
}

/// `NormalizerSpec`.
#[derive(Message)]
struct Normalizer {
    #[prost(bytes = "vec", optional, tag = "2")]
    characters: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3", default = "true")]
    adds_space: Option<bool>,
    #[prost(bool, optional, tag = "4", default = "true")]
    removes_spaces: Option<bool>,
    #[prost(bool, optional, tag = "5", default = "true")]
    escapes_spaces: Option<bool>,
}

/// `TrainerSpec.ModelType` of the two algorithms that students are published with.
const UNIGRAM: i32 = 1;
const BYTE_PAIRS: i32 = 2;

/// The tokenizer that a `tokenizer.model` describes; the error says what is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Tokenizer, String> {
    let model = Model::decode(bytes).map_err(|error| text::line(&error.to_string()).into_owned())?;
    check(&model.pieces)?;
    let trainer = model.trainer.unwrap_or_default();
    if trainer.space_is_suffix() {
        return Err("it puts the space after a word (treat_whitespace_as_suffix), which is not supported".into());
    }
    let normalizer = model.normalizer.unwrap_or_default();
    if !normalizer.escapes_spaces() {
        return Err("it keeps spaces as they are (escape_whitespaces: false), which is not supported".into());
    }
    let falls_back = trainer.byte_fallback();
    let broken = |error: tokenizers::Error| text::line(&error.to_string()).into_owned();
    let mut tokenizer = match trainer.model_type() {
        UNIGRAM => Tokenizer::new(unigram(&model.pieces, falls_back).map_err(broken)?),
        BYTE_PAIRS => Tokenizer::new(byte_pairs(&model.pieces, falls_back).map_err(broken)?),
        _ => return Err("its pieces are whole words or characters; only BPE and Unigram are supported".into()),
    };
    // As published: ` ` comes before the first word of a text, unless the file says no.
    let adds_space = normalizer.adds_space();
    let changes = changes(&normalizer, adds_space).map_err(broken)?;
    tokenizer.with_normalizer(Some(Sequence::new(changes))).map_err(broken)?;
    tokenizer.with_decoder(Some(decoders(adds_space).map_err(broken)?));
    let added = model.pieces.iter().filter_map(|piece| {
        let special = match piece.kind() {
            Kind::Control | Kind::Unknown => true,
            Kind::UserDefined => false,
            Kind::Normal | Kind::Unused | Kind::Byte => return None,
        };
        Some(AddedToken::from(piece.text(), special).normalized(false))
    });
    tokenizer.add_tokens(added.collect::<Vec<_>>()).map_err(broken)?;
    Ok(tokenizer)
}

/// What SentencePiece itself takes for granted.
fn check(pieces: &[Piece]) -> Result<(), String> {
    if pieces.is_empty() {
        return Err("it has no pieces".into());
    }
    let mut seen = HashMap::new();
    for (id, piece) in pieces.iter().enumerate() {
        let text = piece.text();
        if text.is_empty() || text.len() > LONGEST_PIECE {
            return Err(format!("piece {id} has {} bytes", text.len()));
        }
        if !piece.score().is_finite() {
            return Err(format!("piece {id} has no finite score"));
        }
        if let Some(other) = seen.insert(text, id) {
            return Err(format!("the pieces {other} and {id} are the same, `{}`", text::excerpt(text, 40)));
        }
    }
    match pieces.iter().filter(|piece| piece.kind() == Kind::Unknown).count() {
        1 => Ok(()),
        count => Err(format!("it has {count} pieces for what is unknown, and not one")),
    }
}

/// What is done to a text before it is cut into pieces.
fn changes(normalizer: &Normalizer, adds_space: bool) -> Result<Vec<NormalizerWrapper>, tokenizers::Error> {
    let mut changes: Vec<NormalizerWrapper> = Vec::new();
    if let Some(characters) = normalizer.characters.as_deref().filter(|characters| !characters.is_empty()) {
        charsmap::check(characters)?;
        changes.push(Precompiled::from(characters)?.into());
    }
    if normalizer.removes_spaces() {
        changes.push(Strip::new(true, true).into());
        changes.push(Replace::new(ReplacePattern::Regex(" {2,}".into()), " ")?.into());
    }
    if adds_space {
        changes.push(Prepend::new(SPACE.into()).into());
    }
    changes.push(Replace::new(" ", SPACE)?.into());
    Ok(changes)
}

/// Pieces to text.
fn decoders(adds_space: bool) -> Result<Decoders, tokenizers::Error> {
    let mut decoders: Vec<DecoderWrapper> =
        vec![Replace::new(SPACE, " ")?.into(), ByteFallback::default().into(), Fuse::default().into()];
    if adds_space {
        decoders.push(StripDecoder::new(' ', 1, 0).into());
    }
    Ok(Decoders::new(decoders))
}

fn unigram(pieces: &[Piece], falls_back: bool) -> Result<Unigram, tokenizers::Error> {
    let unknown = pieces.iter().position(|piece| piece.kind() == Kind::Unknown);
    let scored = pieces.iter().map(|piece| (piece.text().to_owned(), f64::from(piece.score()))).collect();
    Unigram::from(scored, unknown, falls_back)
}

/// SentencePiece joins the two neighbours whose piece has the highest score; a BPE model lists the pairs in that order.
fn byte_pairs(pieces: &[Piece], falls_back: bool) -> Result<BPE, tokenizers::Error> {
    let ids: HashMap<&str, u32> = pieces.iter().map(Piece::text).zip(0..).collect();
    let is_text = |id: u32| matches!(pieces[id as usize].kind(), Kind::Normal | Kind::UserDefined | Kind::Unused);
    let mut pairs: Vec<(f32, u32, u32, u32)> = Vec::new();
    for (piece, id) in pieces.iter().zip(0..).filter(|(_, id)| is_text(*id)) {
        for (cut, _) in piece.text().char_indices().skip(1) {
            let (left, right) = piece.text().split_at(cut);
            if let (Some(left), Some(right)) = (ids.get(left), ids.get(right))
                && is_text(*left)
                && is_text(*right)
            {
                pairs.push((piece.score(), id, *left, *right));
            }
        }
    }
    pairs.sort_by(|one, other| other.0.total_cmp(&one.0).then((one.1, one.2, one.3).cmp(&(other.1, other.2, other.3))));
    let name = |id: u32| pieces[id as usize].text().to_owned();
    let merges = pairs.into_iter().map(|(_, _, left, right)| (name(left), name(right))).collect();
    let vocabulary: Vocab = ids.iter().map(|(text, id)| ((*text).to_owned(), *id)).collect();
    let unknown = pieces.iter().find(|piece| piece.kind() == Kind::Unknown).map(Piece::text).unwrap_or_default();
    BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .unk_token(unknown.into())
        .fuse_unk(true)
        .byte_fallback(falls_back)
        .build()
}
