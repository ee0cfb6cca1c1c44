//! The student: a trainable decoder, its tokenizer and its weights. It knows nothing of questions or rationales.
//!
//! candle-transformers' models do not train (their norms, softmax and rotary embeddings lose gradients without an
//! error), so the decoder is our own: one [`Decoder`] driven by an [`Architecture`], proven against transformers.

pub mod architecture;
mod attend;
mod attention_weights;
mod cache;
mod charsmap;
pub mod chat;
pub mod decoder;
mod download;
pub mod families;
pub mod generate;
pub mod hub;
pub mod layers;
pub mod lora;
pub mod memory;
pub mod ops;
mod parts;
pub mod pause;
pub mod precision;
mod recompute;
mod sentencepiece;
mod tensor_files;
pub mod tokenizer;
pub mod tokenizer_config;
pub mod toy;
pub mod weights;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, Var};

pub use architecture::Architecture;
pub use cache::Cache;
pub use decoder::{Decoder, Dropout, DropoutRates, Supervised, Teacher};
pub use families::Family;
pub use precision::Precision;
pub use tokenizer::Tokenizer;

use crate::files::FileError;
use lora::Adapters;

/// What can go wrong with a student.
#[derive(Debug, thiserror::Error)]
pub enum StudentError {
    #[error("there is no folder {} · a student is `toy`, a folder with config.json, model.safetensors and tokenizer.json (or vocab.json with merges.txt, or tokenizer.model), or a hub id such as openai-community/gpt2", path.display())]
    NoFolder { path: PathBuf },
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error(
        "the student has no chat template (chat_template.jinja, or `chat_template` in tokenizer_config.json) · leave rationale.chat out to ask in plain text"
    )]
    NoChatTemplate,
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
    /// Trainable weights under our names, in the decoder's order, in `f32`.
    pub parameters: Vec<(String, Var)>,
    /// Their copies in the type that the decoder computes in, where that is another.
    working: Option<Vec<Var>>,
    /// The weights that stay as they are, where only adapters beside them are trained.
    pub adapted: Option<lora::Adapted>,
}

impl Student {
    /// Reads a student from a folder in the Hugging Face layout.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, StudentError> {
        if folder.join(lora::CONFIG).exists() {
            return Self::load_adapters(folder, device);
        }
        let (weights::Model { family, config, architecture, weights }, tokenizer) = weights::read(folder, device)?;
        Self::new(family, config, architecture, tokenizer, weights)
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
        Self::new(&families::gpt2::GPT2, config, architecture, tokenizer, weights)
    }

    fn new(
        family: &'static Family,
        config: serde_json::Value,
        architecture: Architecture,
        tokenizer: Tokenizer,
        weights: HashMap<String, Tensor>,
    ) -> Result<Self, StudentError> {
        let (parameters, tensors) = decoder::trainable(&architecture, weights)?;
        let decoder = Decoder::new(architecture, &tensors)?;
        Ok(Self { family, config, tokenizer, decoder, parameters, working: None, adapted: None })
    }

    /// A decoder over trainable weights, with those beside them that are not trained.
    fn decoder_over(&self, mut trained: HashMap<String, Tensor>) -> Result<Decoder, StudentError> {
        let architecture = self.decoder.architecture.clone();
        let Some(adapted) = &self.adapted else { return Ok(Decoder::new(architecture, &trained)?) };
        trained.extend(adapted.weights.iter().map(|(name, weight)| (name.clone(), weight.clone())));
        let places = self.places(&adapted.settings)?;
        let adapters = Adapters { places: &places, settings: Some(&adapted.settings) };
        Ok(Decoder::with_adapters(architecture, &trained, &adapters)?)
    }

    /// How often it dropped numbers when it was trained, as its `config.json` says.
    pub fn dropout(&self) -> DropoutRates {
        self.family.dropout(&self.config)
    }

    /// A copy of what [`Student::save`] writes, in the memory of the CPU, which training does not change.
    pub fn snapshot(&self) -> Result<Self, StudentError> {
        let copy = |(name, variable): &(String, Var)| {
            // A new variable has values of its own; training changes the old ones where they lie.
            Ok((name.clone(), Var::from_tensor(&variable.as_tensor().detach().to_device(&Device::Cpu)?)?))
        };
        Ok(Self {
            family: self.family,
            config: self.config.clone(),
            tokenizer: self.tokenizer.clone(),
            decoder: self.decoder.frozen(),
            parameters: self.parameters.iter().map(copy).collect::<candle_core::Result<_>>()?,
            working: None,
            adapted: self.adapted.clone(),
        })
    }

    /// Writes the student into a folder that transformers opens: whole, or the adapters alone for PEFT.
    pub fn save(&self, folder: &Path) -> Result<(), StudentError> {
        match &self.adapted {
            Some(adapted) => self.save_adapters(folder, adapted),
            None => self.save_whole(folder),
        }
    }

    /// Writes the student as a whole model, adapters multiplied out.
    pub fn save_whole(&self, folder: &Path) -> Result<(), StudentError> {
        let mut all = self.merged()?;
        let architecture = &self.decoder.architecture;
        weights::write(folder, self.family, &self.config, architecture, &self.tokenizer, |name| all.remove(name))
    }

    /// The values of this student's trainable weights in a checkpoint of it, under our names.
    pub fn saved_parameters(&self, checkpoint: &Path) -> Result<HashMap<String, Tensor>, StudentError> {
        let device = self.decoder.device();
        match &self.adapted {
            Some(_) => lora::read_weights(checkpoint, self, device),
            None => Ok(weights::read_model(checkpoint, device)?.weights),
        }
    }
}
