//! Students from the Hugging Face hub, kept in its usual cache (`HF_HOME`), which other programs share.

use std::path::{Path, PathBuf};

use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo};

use super::{StudentError, tokenizer_config, weights};

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
/// What older models have in its place: these two, or the one of SentencePiece.
const VOCABULARY: [&str; 2] = ["vocab.json", "merges.txt"];
const PIECES: &str = "tokenizer.model";
const WEIGHTS: &str = "model.safetensors";
/// Of weights in several files.
const INDEX: &str = "model.safetensors.index.json";

/// Whether a name has the form of a hub id, `owner/name`.
pub fn is_id(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    matches!(name.split('/').collect::<Vec<_>>()[..], [owner, model] if part(owner) && part(model))
}

/// The folder of a student that was fetched before, with all its files.
pub fn cached(id: &str) -> Option<PathBuf> {
    let repo = Cache::from_env().repo(Repo::model(id.to_owned()));
    let config = repo.get(CONFIG)?;
    if repo.get(TOKENIZER).is_none() && repo.get(PIECES).is_none() {
        VOCABULARY.iter().all(|file| repo.get(file).is_some()).then_some(())?;
    }
    if repo.get(WEIGHTS).is_none() {
        let index = repo.get(INDEX)?;
        let shards = weights::shards(&index).ok()?;
        shards.iter().all(|shard| repo.get(shard).is_some()).then_some(())?;
    }
    config.parent().map(Path::to_owned)
}

/// Fetches a student's files; `report` is told the file, the bytes that came and the bytes of the file. Environment:
/// `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`.
pub fn fetch(id: &str, report: &mut dyn FnMut(&str, u64, u64)) -> Result<PathBuf, StudentError> {
    let failed = |problem: String| StudentError::Hub { id: id.to_owned(), problem };
    if std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| !matches!(value.as_str(), "" | "0")) {
        return cached(id).ok_or_else(|| failed("it is not in the cache, and HF_HUB_OFFLINE is set".into()));
    }
    let mut builder = ApiBuilder::from_env().with_progress(false).with_retries(3);
    if let Ok(token) = std::env::var("HF_TOKEN") {
        builder = builder.with_token(Some(token));
    }
    let repo = builder.build().map_err(|error| failed(error.to_string()))?.repo(Repo::model(id.to_owned()));
    let local = Cache::from_env().repo(Repo::model(id.to_owned()));
    let is_whole = cached(id).is_some();
    let mut get = |file: &str| match local.get(file) {
        Some(path) => Ok(path),
        None => repo.download_with_progress(file, Meter { file: file.to_owned(), done: 0, total: 0, report }),
    };
    let explain = |file: &str, error: ApiError| {
        failed(format!("{file}: {error} · check the id, the network, and HF_TOKEN for gated models"))
    };
    // The weights last, so that a wrong name costs little.
    let config = get(CONFIG).map_err(|error| explain(CONFIG, error))?;
    if let Err(error) = get(TOKENIZER)
        && !VOCABULARY.iter().all(|file| get(file).is_ok())
        && get(PIECES).is_err()
    {
        // Where it has none of them, the first is what is missing.
        return Err(explain(TOKENIZER, error));
    }
    // Names of tokens and the chat template; what is not there was not published, and is not asked for again.
    if !is_whole {
        for file in tokenizer_config::FILES {
            match get(file) {
                Err(error) if !is_missing(&error) => return Err(explain(file, error)),
                _ => {}
            }
        }
    }
    if let Err(error) = get(WEIGHTS) {
        // Large models are published in several files.
        let Ok(index) = get(INDEX) else { return Err(explain(WEIGHTS, error)) };
        for shard in weights::shards(&index)? {
            get(&shard).map_err(|error| explain(&shard, error))?;
        }
    }
    config.parent().map(Path::to_owned).ok_or_else(|| failed("nothing was fetched".into()))
}

/// Whether the hub said that there is no such file. The type of the answer is that of a library below `hf-hub`, so its
/// words have to do.
fn is_missing(error: &ApiError) -> bool {
    error.to_string().contains("404")
}

struct Meter<'a> {
    file: String,
    done: u64,
    total: u64,
    report: &'a mut dyn FnMut(&str, u64, u64),
}

impl Progress for Meter<'_> {
    fn init(&mut self, size: usize, _: &str) {
        self.total = size as u64;
        (self.report)(&self.file, 0, self.total);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        (self.report)(&self.file, self.done, self.total);
    }

    fn finish(&mut self) {
        (self.report)(&self.file, self.total, self.total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_paths_are_told_apart() {
        assert!(is_id("openai-community/gpt2") && is_id("microsoft/phi-1_5"));
        for path in ["toy", "./gpt2", "../gpt2", "/models/gpt2", "a/b/c", "gpt2/", "~/gpt2"] {
            assert!(!is_id(path), "{path}");
        }
    }
}
