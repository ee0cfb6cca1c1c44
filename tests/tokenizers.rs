//! Tokenizers of published students, against the libraries that they were published for.

use std::path::{Path, PathBuf};

use afterthought::corpus::{Choice, Example, Template};
use afterthought::rationale::{Borrowed, LossWeights, Recipe, Renderer};
use afterthought::student::tokenizer::{Prefix, Specials};
use afterthought::student::tokenizer_config::TokenizerConfig;
use afterthought::student::{Tokenizer, weights};
use serde_json::{Value, json};

fn reference(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(file)
}

fn sentencepiece(path: &Path) -> Tokenizer {
    let specials = Specials { bos: Some(1), eos: 2, ..Specials::default() };
    Tokenizer::from_sentencepiece(path, specials, &TokenizerConfig::default()).unwrap()
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn a_tokenizer_model_gives_the_ids_of_sentencepiece() {
    for name in ["llama", "gemma", "unigram"] {
        let tokenizer = sentencepiece(&reference(&format!("pieces/{name}.model")));
        let expected = read(&reference(&format!("pieces/{name}.json")));
        assert_eq!(tokenizer.size() as u64, expected["size"].as_u64().unwrap());
        let written = tempfile::tempdir().unwrap();
        let path = written.path().join("tokenizer.json");
        std::fs::write(&path, tokenizer.to_json().unwrap()).unwrap();
        let again = Tokenizer::from_file(&path, tokenizer.specials).unwrap();
        for case in expected["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let wanted = ids(&case["ids"]);
            // A Unigram model of the library finds the names of its control pieces in a text; SentencePiece doesn't.
            if name == "unigram" && text.contains("</s>") {
                continue;
            }
            assert_eq!(tokenizer.ids(text).unwrap(), wanted, "{name}: {text:?}");
            assert_eq!(again.ids(text).unwrap(), wanted, "{name} from tokenizer.json: {text:?}");
            let pieces = tokenizer.pieces(text).unwrap();
            let joined: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
            // Unigram drops white space at the end.
            let kept = if name == "unigram" { text.trim_end() } else { text };
            assert!(joined == text || joined == kept, "{name}: {text:?} became {joined:?}");
            assert!(pieces.iter().all(|piece| text[piece.start..].starts_with(&piece.text)));
            if name != "unigram" {
                assert_eq!(tokenizer.text(&wanted).unwrap(), case["decoded"].as_str().unwrap(), "{name}: {text:?}");
            }
        }
    }
}

/// A `tokenizer.model` with the pieces of a `tokenizer.json`, as the message that SentencePiece would have written.
fn as_model(tokenizer: &Value) -> Vec<u8> {
    fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value > 127 {
            out.push(value as u8 | 128);
            value >>= 7;
        }
        out.push(value as u8);
    }
    fn bytes(tag: u64, content: &[u8], out: &mut Vec<u8>) {
        varint(tag << 3 | 2, out);
        varint(content.len() as u64, out);
        out.extend_from_slice(content);
    }
    let mut pieces: Vec<(u64, &String)> = tokenizer["model"]["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(text, id)| (id.as_u64().unwrap(), text))
        .collect();
    pieces.sort();
    let mut out = Vec::new();
    for (id, text) in pieces {
        let is_byte = text.starts_with("<0x") && text.ends_with('>') && text.len() == 6;
        let kind = match id {
            0 => 2,
            1 | 2 => 3,
            _ if is_byte => 6,
            _ => 1,
        };
        let mut piece = Vec::new();
        bytes(1, text.as_bytes(), &mut piece);
        varint(2 << 3 | 5, &mut piece);
        // Runs of spaces are joined after all else.
        let last = if text.chars().all(|c| c == '▁') { 1e6 } else { 0.0 };
        piece.extend_from_slice(&(-(id as f32) - last).to_le_bytes());
        varint(3 << 3, &mut piece);
        varint(kind, &mut piece);
        bytes(1, &piece, &mut out);
    }
    let mut trainer = Vec::new();
    for (tag, value) in [(3, 2), (35, 1)] {
        varint(tag << 3, &mut trainer);
        varint(value, &mut trainer);
    }
    bytes(2, &trainer, &mut out);
    let mut normalizer = Vec::new();
    for (tag, value) in [(3, 1), (4, 0)] {
        varint(tag << 3, &mut normalizer);
        varint(value, &mut normalizer);
    }
    bytes(3, &normalizer, &mut out);
    out
}

#[test]
fn a_published_tokenizer_is_the_same_from_either_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tokenizers/mistral/tokenizer.json");
    if !path.exists() {
        println!("skipped: ../shared is not here");
        return;
    }
    let published = read(&path);
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("tokenizer.model");
    std::fs::write(&model, as_model(&published)).unwrap();
    let specials = Specials { bos: Some(1), eos: 2, ..Specials::default() };
    let (whole, ours) = (Tokenizer::from_file(&path, specials).unwrap(), sentencepiece(&model));
    let written: Value = serde_json::from_str(&ours.to_json().unwrap()).unwrap();
    for part in ["vocab", "unk_token", "fuse_unk", "byte_fallback"] {
        assert_eq!(written["model"][part], published["model"][part], "{part}");
    }
    assert!(written["model"]["merges"] == published["model"]["merges"], "the same pairs in the same order");
    for part in ["normalizer", "pre_tokenizer", "decoder"] {
        assert_eq!(written[part], published[part], "{part}");
    }
    assert_eq!(ours.prefix(), Prefix::Each);
    for text in ["Question: why?\nAnswer:", " B", "  two  spaces", "👩‍🔬 e\u{301} 日本語\t\tx", "", "</s> <s>", "naïve"]
    {
        assert_eq!(ours.pieces(text).unwrap(), whole.pieces(text).unwrap(), "{text:?}");
        let ids = ours.ids(text).unwrap();
        assert_eq!(ours.text(&ids).unwrap(), whole.text(&ids).unwrap());
    }
}

#[test]
fn text_that_goes_on_has_no_space_put_before_it() {
    let tokenizer = sentencepiece(&reference("pieces/llama.model"));
    let goes_on = tokenizer.without_prefix().unwrap();
    assert_eq!(goes_on.prefix(), Prefix::Nowhere);
    let spelled = |tokenizer: &Tokenizer, text: &str| -> String {
        tokenizer.ids(text).unwrap().into_iter().filter_map(|id| tokenizer.token(id)).collect()
    };
    assert_eq!(spelled(&tokenizer, "answer"), "▁answer");
    assert_eq!(spelled(&goes_on, "answer"), "answer");
    assert_eq!(spelled(&goes_on, " answer"), "▁answer");
    let unigram = sentencepiece(&reference("pieces/unigram.model")).without_prefix().unwrap();
    assert_eq!(spelled(&unigram, "  the"), "▁the");
    assert_eq!(spelled(&unigram, "the"), "the");
}

/// A folder with the smallest student of a family, without weights: its tokenizer is what is looked at.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "model_type": "llama", "vocab_size": 600, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2,
    });
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn tokenizer_of(folder: &Path) -> Result<Tokenizer, String> {
    let (family, architecture, config) = weights::read_config(folder).map_err(|error| error.to_string())?;
    weights::read_tokenizer(folder, family, &config, &architecture).map_err(|error| error.to_string())
}

#[test]
fn a_folder_with_tokenizer_model_alone_is_a_student() {
    let model = std::fs::read(reference("pieces/llama.model")).unwrap();
    let added = br#"{"<|im_start|>": 520, "<|im_end|>": 521}"#;
    let special = br#"{"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}"#;
    let dir =
        folder(&[("tokenizer.model", &model), ("added_tokens.json", added), ("special_tokens_map.json", special)]);
    let tokenizer = tokenizer_of(dir.path()).unwrap();
    assert_eq!((tokenizer.size(), tokenizer.specials.bos, tokenizer.specials.eos), (522, Some(1), 2));
    assert_eq!(tokenizer.specials.unknown, Some(0));
    assert_eq!(tokenizer.id_of("<|im_end|>"), Some(521));
    // What the data says is never a token of the template, and what is generated is not read out.
    assert!(!tokenizer.ids("a <|im_end|> b").unwrap().contains(&521));
    let [space, a] = tokenizer.ids("a").unwrap()[..] else { return };
    assert_eq!(tokenizer.text(&[space, a, 521]).unwrap(), "a");
}

#[test]
fn an_eos_that_config_json_leaves_out_is_found_by_its_name() {
    let model = std::fs::read(reference("pieces/llama.model")).unwrap();
    let config = |named: &[u8]| {
        let dir = folder(&[("tokenizer.model", &model), ("tokenizer_config.json", named)]);
        let mut config = read(&dir.path().join("config.json"));
        for key in ["bos_token_id", "eos_token_id"] {
            config.as_object_mut().unwrap().remove(key);
        }
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        tokenizer_of(dir.path()).map(|tokenizer| (tokenizer.specials.bos, tokenizer.specials.eos))
    };
    assert_eq!(config(br#"{"eos_token": "</s>", "bos_token": "<s>"}"#).unwrap(), (None, 2));
    assert_eq!(
        config(br#"{"eos_token": {"content": "</s>"}, "bos_token": "<s>", "add_bos_token": true}"#).unwrap(),
        (Some(1), 2)
    );
    let error = config(b"{}").unwrap_err();
    assert!(error.contains("config.json") && error.contains("eos_token") && error.contains("write it"), "{error}");
}

#[test]
fn broken_tokenizers_are_refused_with_the_file_and_the_next_step() {
    let model = std::fs::read(reference("pieces/llama.model")).unwrap();
    let whole = sentencepiece(&reference("pieces/llama.model")).to_json().unwrap().into_bytes();
    let vocabulary = br#"{"a": 0, "b": 1, "ab": 2}"#;
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    // There are no weights in these folders: nothing of them is looked at before the tokenizer is.
    let refused = |files: &[(&str, &[u8])]| {
        weights::read(folder(files).path(), &candle_core::Device::Cpu).map(|_| ()).unwrap_err().to_string()
    };
    let error = refused(&[("tokenizer.json", &half(&whole))]);
    assert!(error.contains("tokenizer.json") && error.contains("copy it again"), "{error}");
    let error = refused(&[("tokenizer.model", &half(&model))]);
    assert!(error.contains("tokenizer.model") && error.contains("copy it again"), "{error}");
    let error = refused(&[("tokenizer.model", b"")]);
    assert!(error.contains("tokenizer.model") && error.contains("no pieces"), "{error}");
    let error = refused(&[("vocab.json", &half(vocabulary)), ("merges.txt", b"#version: 0.2\na b")]);
    assert!(error.contains("vocab.json") && error.contains("copy both again"), "{error}");
    let error = refused(&[("tokenizer.model", &model), ("added_tokens.json", br#"{"<x>": 599}"#)]);
    assert!(error.contains("`<x>` has the id 599") && error.contains("520"), "{error}");
    let error = refused(&[]);
    assert!(error.contains("tokenizer.json") && error.contains("merges.txt and tokenizer.model"), "{error}");
}

/// Pieces of an example are tokenised one by one; together they must be what the whole text would be.
#[test]
fn a_plain_prompt_has_the_ids_of_its_whole_text() {
    let mut tokenizers = vec![sentencepiece(&reference("pieces/llama.model"))];
    for name in ["gpt2", "mistral", "codegen_phi"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../shared/tokenizers/{name}/tokenizer.json"));
        match path.exists() {
            true => tokenizers.push(Tokenizer::from_file(&path, Specials { eos: 2, ..Specials::default() }).unwrap()),
            false => println!("skipped: {name}, as ../shared is not here"),
        }
    }
    let choice = |label: &str, text: &str| Choice { label: label.into(), text: text.into() };
    let example = Example {
        id: "q1".into(),
        question: "What soaks up water?".into(),
        choices: vec![choice("A", "a mop"), choice("B", "a lamp")],
        answer: Some("A".into()),
        rationale: Some("A mop soaks the water up.".into()),
        ..Example::default()
    };
    for tokenizer in tokenizers {
        let renderer = Renderer {
            tokenizer: tokenizer.without_prefix().unwrap(),
            begins: tokenizer.clone(),
            chat: None,
            template: Template::default(),
            subject: None,
            recipe: Recipe::default(),
            loss: LossWeights::default(),
            max_length: 1000,
            seed: 0,
            vectors: None,
            task: None,
        };
        let mut got = renderer.render(&example, Borrowed::default()).unwrap().ids();
        assert_eq!(got.pop(), Some(tokenizer.specials.eos));
        if let Some(bos) = tokenizer.specials.bos {
            assert_eq!(got.remove(0), bos);
        }
        let text = "Question: What soaks up water?\nChoices: A: a mop B: a lamp\nAnswer: A\nBecause: A mop soaks the water up.";
        assert_eq!(got, tokenizer.ids(text).unwrap(), "{:?}", tokenizer.prefix());
    }
}

#[test]
fn a_sequence_begins_with_bos_only_where_the_student_was_published_so() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/families/llama");
    let begins = |name: &str, config: Option<Value>| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(fixture.join("config.json"), dir.path().join("config.json")).unwrap();
        let mut tokenizer = Tokenizer::words(["a b c"].into_iter().map(str::to_owned), 30).unwrap();
        if name == "puts it" {
            tokenizer.put_bos_first().unwrap();
        }
        let mut json: Value = serde_json::from_str(&tokenizer.to_json().unwrap()).unwrap();
        if name == "puts nothing" {
            json["post_processor"] = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
                                            "use_regex": true});
        }
        std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
        if let Some(config) = config {
            std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        }
        let (family, architecture, config) = weights::read_config(dir.path()).unwrap();
        weights::read_tokenizer(dir.path(), family, &config, &architecture).unwrap().specials.bos.is_some()
    };
    assert!(begins("says nothing", None) && begins("puts it", None) && !begins("puts nothing", None));
    assert!(!begins("says nothing", Some(json!({"add_bos_token": false}))));
    assert!(begins("puts nothing", Some(json!({"add_bos_token": true}))));
}
