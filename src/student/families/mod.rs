//! Model families: how a published `config.json` and its weight names map to an [`Architecture`].
//!
//! A new family is one file here.

pub mod gpt2;

use serde_json::Value;

use super::Architecture;

/// A family of published models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Gpt2,
}

impl Family {
    /// The family that `config.json` names, with its architecture; the error says what is not supported.
    pub fn read(config: &Value) -> Result<(Self, Architecture), String> {
        match config.get("model_type").and_then(Value::as_str) {
            Some("gpt2") => Ok((Self::Gpt2, gpt2::architecture(config)?)),
            Some(other) => Err(format!("model_type `{other}` is not supported · this version trains gpt2 models")),
            None => Err("it has no model_type · it must be the config.json of a Hugging Face model".into()),
        }
    }

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "GPT-2",
        }
    }

    /// The published name of one of our parameters.
    pub fn published_name(self, ours: &str) -> String {
        match self {
            Self::Gpt2 => gpt2::published_name(ours),
        }
    }

    /// Whether a tensor of a published file is none of the model's parameters.
    pub fn is_buffer(self, published: &str) -> bool {
        match self {
            Self::Gpt2 => gpt2::is_buffer(published),
        }
    }

    /// `config.json` for an architecture of this family.
    pub fn config(self, architecture: &Architecture, bos: Option<u32>, eos: u32) -> Value {
        match self {
            Self::Gpt2 => gpt2::config(architecture, bos, eos),
        }
    }
}
