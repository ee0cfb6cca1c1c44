//! The small files beside a tokenizer: `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json` and
//! `chat_template.jinja`. They name the tokens with a meaning, add tokens to the vocabulary, and say how a chat is put.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::StudentError;
use super::chat::ChatTemplate;
use crate::files;
use crate::text;

const CONFIG: &str = "tokenizer_config.json";
const SPECIAL: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";
const TEMPLATE: &str = "chat_template.jinja";

/// The files that a student may have beside its tokenizer.
pub const FILES: [&str; 4] = [CONFIG, SPECIAL, ADDED, TEMPLATE];

/// What the files say.
#[derive(Clone, Debug, Default)]
pub struct TokenizerConfig {
    /// The text of `bos_token`, `eos_token` and so on, by key.
    pub named: BTreeMap<String, String>,
    /// Tokens beside the vocabulary's own, by id.
    pub added: BTreeMap<u32, AddedToken>,
    /// Whether a text begins with bos, where the file says so.
    pub adds_bos: Option<bool>,
    pub chat: Option<ChatTemplate>,
}

impl TokenizerConfig {
    /// Reads what there is of the files.
    pub fn read(folder: &Path) -> Result<Self, StudentError> {
        let mut found = Self::default();
        // The later file has the last word.
        let mut special = Vec::new();
        for file in [SPECIAL, CONFIG] {
            let Some((path, map)) = object(folder, file)? else { continue };
            for (key, value) in map.iter().filter(|(key, _)| key.ends_with("_token")) {
                if let Some(token) = content(value) {
                    special.push(token.clone());
                    found.named.insert(key.clone(), token);
                }
            }
            let more = map.get("additional_special_tokens").or_else(|| map.get("extra_special_tokens"));
            match more {
                Some(Value::Array(tokens)) => special.extend(tokens.iter().filter_map(content)),
                Some(Value::Object(tokens)) => special.extend(tokens.values().filter_map(content)),
                _ => {}
            }
            if file == CONFIG {
                found.adds_bos = map.get("add_bos_token").and_then(Value::as_bool);
                found.added = added_tokens_decoder(&path, &map)?;
                found.chat = chat_template(&path, &map)?;
            }
        }
        if found.added.is_empty()
            && let Some((path, map)) = object(folder, ADDED)?
        {
            for (token, id) in map {
                let is_special = special.contains(&token);
                // Others are found in the text as the normalizer leaves it, as transformers does.
                found.added.insert(token_id(&path, &id)?, AddedToken::from(token, is_special).normalized(!is_special));
            }
        }
        for token in found.added.values_mut().filter(|token| special.contains(&token.content)) {
            token.special = true;
        }
        let path = folder.join(TEMPLATE);
        if path.exists() {
            found.chat = Some(ChatTemplate::new(files::read_to_string(&path)?, path));
        }
        Ok(found)
    }

    /// The contents of `tokenizer_config.json` for these names and this template.
    pub fn to_json(&self) -> Value {
        let mut config = Map::new();
        config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
        config.extend(self.named.iter().map(|(key, token)| (key.clone(), token.clone().into())));
        if let Some(adds_bos) = self.adds_bos {
            config.insert("add_bos_token".into(), adds_bos.into());
        }
        if let Some(chat) = &self.chat {
            config.insert("chat_template".into(), chat.source().into());
        }
        config.into()
    }
}

/// A file and the JSON object in it.
type Object = (PathBuf, Map<String, Value>);

/// A file that holds one JSON object; `None` where there is no such file.
fn object(folder: &Path, file: &str) -> Result<Option<Object>, StudentError> {
    let path = folder.join(file);
    if !path.exists() {
        return Ok(None);
    }
    let text = files::read_to_string(&path)?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(Some((path, map))),
        Ok(_) => Err(broken(&path, "it is no JSON object")),
        Err(error) => Err(broken(&path, &error.to_string())),
    }
}

fn broken(path: &Path, problem: &str) -> StudentError {
    let problem = format!("{} · fetch or copy the file again", text::line(problem));
    StudentError::File { path: path.to_owned(), problem }
}

/// A token's text: written out, or as a map of its properties.
fn content(value: &Value) -> Option<String> {
    let text = value.get("content").unwrap_or(value).as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn token_id(path: &Path, value: &Value) -> Result<u32, StudentError> {
    let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| broken(path, &format!("`{}` is no token id", text::excerpt(&value.to_string(), 40))))
}

fn added_tokens_decoder(path: &Path, map: &Map<String, Value>) -> Result<BTreeMap<u32, AddedToken>, StudentError> {
    let Some(Value::Object(listed)) = map.get("added_tokens_decoder") else { return Ok(BTreeMap::new()) };
    let read = |(id, token): (&String, &Value)| {
        let wrong = || broken(path, &format!("`added_tokens_decoder` has a broken entry `{}`", text::excerpt(id, 40)));
        let number: u32 = id.parse().map_err(|_| wrong())?;
        let flag = |key: &str| token.get(key).and_then(Value::as_bool).unwrap_or(false);
        let mut added = AddedToken::from(content(token).ok_or_else(wrong)?, flag("special"));
        added = added.single_word(flag("single_word")).lstrip(flag("lstrip")).rstrip(flag("rstrip"));
        Ok((number, added.normalized(flag("normalized"))))
    };
    listed.iter().map(read).collect()
}

/// A template, or the one called `default` of several.
fn chat_template(path: &Path, map: &Map<String, Value>) -> Result<Option<ChatTemplate>, StudentError> {
    let source = match map.get("chat_template") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(source)) => Some(source.as_str()),
        Some(Value::Array(several)) => {
            let is_default = |one: &&Value| one.get("name").and_then(Value::as_str) == Some("default");
            let default = several.iter().find(is_default).or_else(|| several.first().filter(|_| several.len() == 1));
            default.and_then(|one| one.get("template")).and_then(Value::as_str)
        }
        Some(_) => None,
    };
    let wrong = || broken(path, "`chat_template` is neither a text nor a list with one of the name `default`");
    Ok(Some(ChatTemplate::new(source.ok_or_else(wrong)?.to_owned(), path.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn names_and_added_tokens_are_read_from_either_age() {
        let old = folder(&[
            (SPECIAL, r#"{"eos_token": "</s>", "additional_special_tokens": ["<|im_end|>"]}"#),
            (ADDED, r#"{"<|im_end|>": 12, "  ": 11}"#),
        ]);
        let old = TokenizerConfig::read(old.path()).unwrap();
        assert_eq!(old.named["eos_token"], "</s>");
        assert_eq!(old.added.keys().copied().collect::<Vec<_>>(), [11, 12]);
        assert!(old.added[&12].special && !old.added[&12].normalized);
        assert!(!old.added[&11].special && old.added[&11].normalized);
        let new = folder(&[(
            CONFIG,
            r#"{"bos_token": {"content": "<s>"}, "eos_token": null, "add_bos_token": true, "added_tokens_decoder":
                {"7": {"content": "<|end|>", "special": true, "rstrip": true}}}"#,
        )]);
        let new = TokenizerConfig::read(new.path()).unwrap();
        assert_eq!(new.named, BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]));
        assert!(new.added[&7].rstrip && new.added[&7].special && new.adds_bos == Some(true));
    }

    #[test]
    fn the_template_is_found_wherever_it_is_published() {
        let source = |files: &[(&str, &str)]| {
            let dir = folder(files);
            TokenizerConfig::read(dir.path()).unwrap().chat.map(|chat| chat.source().to_owned())
        };
        assert_eq!(source(&[]), None);
        assert_eq!(source(&[(CONFIG, r#"{"chat_template": "one"}"#)]).unwrap(), "one");
        let several =
            r#"{"chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "two"}]}"#;
        assert_eq!(source(&[(CONFIG, several)]).unwrap(), "two");
        assert_eq!(source(&[(CONFIG, several), (TEMPLATE, "three")]).unwrap(), "three");
    }

    #[test]
    fn broken_files_are_named_with_what_to_do() {
        for (file, text, words) in [
            (CONFIG, "{\"bos_token\": ", "EOF"),
            (SPECIAL, "[]", "no JSON object"),
            (ADDED, "{\"<x>\": -1}", "no token id"),
            (CONFIG, "{\"added_tokens_decoder\": {\"x\": {}}}", "broken entry `x`"),
            (CONFIG, "{\"chat_template\": [{\"name\": \"a\"}, {\"name\": \"b\"}]}", "`default`"),
        ] {
            let error = TokenizerConfig::read(folder(&[(file, text)]).path()).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains(words) && error.contains("again"), "{error}");
        }
    }
}
