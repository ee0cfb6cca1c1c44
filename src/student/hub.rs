//! Students from the Hugging Face hub, kept in its usual cache (`HF_HOME`), which other programs share.

use std::path::{Path, PathBuf};

use hf_hub::{Cache, Repo};

use super::download::{Failed, Hub};
use super::{StudentError, tokenizer_config, weights};

const ENDPOINT: &str = "https://huggingface.co";
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
    matches!(name.split('/').collect::<Vec<_>>()[..], [owner, model] if is_plain(owner) && is_plain(model))
}

/// Whether a text can be the name of a file and nothing else.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
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
/// `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`.
pub fn fetch(id: &str, report: &mut dyn FnMut(&str, u64, u64)) -> Result<PathBuf, StudentError> {
    let failed = |problem: String| StudentError::Hub { id: id.to_owned(), problem };
    if is_offline() {
        return cached(id).ok_or_else(|| failed("it is not in the cache, and HF_HUB_OFFLINE is set".into()));
    }
    let cache = Cache::from_env();
    let variable = |name: &str| std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|v| !v.is_empty());
    let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
    let hub = Hub::new(&endpoint, variable("HF_TOKEN").or_else(|| cache.token()));
    let local = cache.repo(Repo::model(id.to_owned()));
    let folder = cache.path().join(Repo::model(id.to_owned()).folder_name());
    // `None` where the model has no such file.
    let mut get = |file: &str| match local.get(file) {
        Some(path) => Ok(Some(path)),
        None => match hub.download(id, file, &folder, &mut |done, total| report(file, done, total)) {
            Ok(path) => Ok(Some(path)),
            Err(Failed::Missing) => Ok(None),
            Err(Failed::Because(problem)) => {
                Err(failed(format!("{file}: {problem} · check the id, the network, and HF_TOKEN for gated models")))
            }
        },
    };
    let missing = |file: &str| failed(format!("it has no {file} · check the id, or take a model that has one"));
    // The weights last, so that a wrong name costs little.
    let is_whole = cached(id).is_some();
    let config = get(CONFIG)?.ok_or_else(|| missing(CONFIG))?;
    if get(TOKENIZER)?.is_none() {
        let mut has_vocabulary = true;
        for file in VOCABULARY {
            has_vocabulary = has_vocabulary && get(file)?.is_some();
        }
        if !has_vocabulary {
            // Where it has none of them, the first is what is missing.
            get(PIECES)?.ok_or_else(|| missing(TOKENIZER))?;
        }
    }
    // Names of tokens and the chat template, where there are some. A student that is here without them, as another program
    // left it, works all the same where the hub can't be reached.
    for file in tokenizer_config::FILES {
        match get(file) {
            Err(_) if is_whole => break,
            result => drop(result?),
        }
    }
    if get(WEIGHTS)?.is_none() {
        // Large models are published in several files.
        let index = get(INDEX)?.ok_or_else(|| missing(WEIGHTS))?;
        for shard in weights::shards(&index)? {
            get(&shard)?.ok_or_else(|| missing(&shard))?;
        }
    }
    config.parent().map(Path::to_owned).ok_or_else(|| failed("nothing was fetched".into()))
}

/// `HF_HUB_OFFLINE`, read as Hugging Face's own libraries read it.
fn is_offline() -> bool {
    let value = std::env::var("HF_HUB_OFFLINE").unwrap_or_default().to_uppercase();
    matches!(value.as_str(), "1" | "ON" | "YES" | "TRUE")
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
