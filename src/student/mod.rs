//! The student: a trainable decoder, its tokenizer and its weights. It knows nothing of questions or rationales.
//!
//! candle-transformers' models do not train (their norms, softmax and rotary embeddings lose gradients without an
//! error), so the decoder is our own: one [`Decoder`] driven by an [`Architecture`], proven against transformers.

pub mod architecture;
mod attend;
mod cache;
pub mod decoder;
pub mod families;
pub mod generate;
pub mod hub;
pub mod ops;
mod parts;
pub mod tokenizer;
pub mod toy;
pub mod weights;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, Var};

pub use architecture::Architecture;
pub use decoder::{Decoder, Dropout, DropoutRates, Supervised};
pub use families::Family;
pub use tokenizer::Tokenizer;

use crate::files::FileError;

/// What can go wrong with a student.
#[derive(Debug, thiserror::Error)]
pub enum StudentError {
    #[error("there is no folder {} · a student is `toy`, a folder with config.json, model.safetensors and tokenizer.json, or a hub id such as openai-community/gpt2", path.display())]
    NoFolder { path: PathBuf },
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("can't fetch {id} from the hub: {problem}")]
    Hub { id: String, problem: String },
    #[error("{problem}")]
    Vocabulary { problem: String },
    #[error(transparent)]
    Io(#[from] FileError),
    #[error("the student failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// A student that can be trained.
pub struct Student {
    pub family: &'static Family,
    /// Its `config.json`, which goes into every checkpoint.
    pub config: serde_json::Value,
    pub tokenizer: Tokenizer,
    pub decoder: Decoder,
    /// Trainable weights under our names, in the decoder's order.
    pub parameters: Vec<(String, Var)>,
}

impl Student {
    /// Reads a student from a folder in the Hugging Face layout.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, StudentError> {
        let (weights::Model { family, config, architecture, weights }, tokenizer) = weights::read(folder, device)?;
        Self::new(family, config, architecture, tokenizer, &weights)
    }

    /// A student of the GPT-2 kind with fresh weights.
    pub fn fresh(
        architecture: Architecture,
        tokenizer: Tokenizer,
        seed: u64,
        device: &Device,
    ) -> Result<Self, StudentError> {
        let weights = weights::initial(&architecture, seed, device)?;
        let config = families::gpt2::config(&architecture, tokenizer.specials.bos, tokenizer.specials.eos);
        Self::new(&families::gpt2::GPT2, config, architecture, tokenizer, &weights)
    }

    fn new(
        family: &'static Family,
        config: serde_json::Value,
        architecture: Architecture,
        tokenizer: Tokenizer,
        weights: &HashMap<String, Tensor>,
    ) -> Result<Self, StudentError> {
        let (parameters, tensors) = decoder::trainable(&architecture, weights)?;
        let decoder = Decoder::new(architecture, &tensors)?;
        Ok(Self { family, config, tokenizer, decoder, parameters })
    }

    /// Writes the student into a folder that transformers opens.
    pub fn save(&self, folder: &Path) -> Result<(), StudentError> {
        let by_name: HashMap<&str, &Var> = self.parameters.iter().map(|(name, var)| (name.as_str(), var)).collect();
        weights::write(folder, self.family, &self.config, &self.decoder.architecture, &self.tokenizer, |name| {
            by_name.get(name).map(|var| var.as_tensor().detach())
        })
    }
}
