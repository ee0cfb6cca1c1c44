//! Model families: how a published `config.json` and its weights' names map to an [`Architecture`].
//!
//! A new family is one file here and one line in [`FAMILIES`].

mod config;
mod gemma;
pub mod gpt2;
mod gpt_neox;
mod llama;
mod names;
mod opt;
mod phi;

use serde_json::Value;

use super::{Architecture, DropoutRates};
use config::Config;
pub use names::{Layout, Names};

/// A family of published models.
pub struct Family {
    /// The name for people.
    pub name: &'static str,
    /// What `config.json` calls it.
    pub model_type: &'static str,
    read: fn(Config) -> Result<Architecture, String>,
    pub names: Names,
    /// Whether a sequence begins with the bos token even where it is the same one as eos. GPT-2's is the same and was
    /// never put before a text in training.
    pub bos_is_eos: bool,
}

/// Every family that is supported.
pub const FAMILIES: &[&Family] = &[
    &gpt2::GPT2,
    &llama::LLAMA,
    &llama::MISTRAL,
    &llama::QWEN2,
    &llama::QWEN3,
    &llama::SMOLLM3,
    &gemma::GEMMA,
    &gemma::GEMMA2,
    &gemma::GEMMA3,
    &phi::PHI,
    &opt::OPT,
    &gpt_neox::GPT_NEOX,
];

impl std::fmt::Debug for Family {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name)
    }
}

impl Family {
    /// The family that `config.json` names, with its architecture; the error says what is not supported.
    pub fn read(config: &Value) -> Result<(&'static Self, Architecture), String> {
        let known = || FAMILIES.iter().map(|family| family.model_type).collect::<Vec<_>>().join(", ");
        let Some(name) = config.get("model_type").and_then(Value::as_str) else {
            return Err("it has no model_type · it must be the config.json of a Hugging Face model".into());
        };
        let Some(family) = FAMILIES.iter().find(|family| family.model_type == name) else {
            let name = crate::text::excerpt(name, 40);
            return Err(format!("model_type `{name}` is not supported · this version trains {}", known()));
        };
        Ok((family, (family.read)(Config(config))?))
    }

    /// How often numbers are dropped in training, read as transformers reads it: what the file leaves out has the
    /// family's own default.
    pub fn dropout(&self, config: &Value) -> DropoutRates {
        let rate = |key: &str, default: f64| {
            config.get(key).and_then(Value::as_f64).filter(|rate| (0.0..1.0).contains(rate)).unwrap_or(default)
        };
        let (embedding, residual, attention) = match self.model_type {
            "gpt2" => (rate("embd_pdrop", 0.1), rate("resid_pdrop", 0.1), rate("attn_pdrop", 0.1)),
            "phi" => (rate("embd_pdrop", 0.0), rate("resid_pdrop", 0.0), rate("attention_dropout", 0.0)),
            "opt" => (0.0, rate("dropout", 0.1), rate("attention_dropout", 0.0)),
            "gpt_neox" => {
                let hidden = rate("hidden_dropout", 0.0);
                (hidden, hidden, rate("attention_dropout", 0.0))
            }
            _ => (0.0, 0.0, rate("attention_dropout", 0.0)),
        };
        DropoutRates { embedding, residual, attention }
    }

    /// Whether a tensor of a published file is none of the model's parameters: masks and tables that old checkpoints
    /// carry, and the copy of a tied output matrix.
    pub fn is_buffer(&self, published: &str, architecture: &Architecture) -> bool {
        let copy = architecture.tied && self.names.published("output").iter().any(|name| name == published);
        let ends = [".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", ".inv_freq"];
        copy || ends.iter().any(|end| published.ends_with(end))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dropout_is_what_the_file_says_or_else_the_family() {
        let rates = |family: &Family, config: Value| {
            let DropoutRates { embedding, residual, attention } = family.dropout(&config);
            [embedding, residual, attention]
        };
        assert_eq!(rates(&gpt2::GPT2, json!({})), [0.1, 0.1, 0.1]);
        assert_eq!(rates(&gpt2::GPT2, json!({"embd_pdrop": 0.0, "attn_pdrop": 0.2})), [0.0, 0.1, 0.2]);
        assert_eq!(rates(&llama::LLAMA, json!({})), [0.0; 3]);
        assert_eq!(rates(&llama::QWEN2, json!({"attention_dropout": 0.1})), [0.0, 0.0, 0.1]);
        assert_eq!(rates(&opt::OPT, json!({"dropout": 0.1, "attention_dropout": 0.0})), [0.0, 0.1, 0.0]);
        assert_eq!(rates(&gpt_neox::GPT_NEOX, json!({"hidden_dropout": 0.1})), [0.1, 0.1, 0.0]);
        assert_eq!(rates(&phi::PHI, json!({"resid_pdrop": 0.1})), [0.0, 0.1, 0.0]);
    }
}
