//! In which type a student computes. Weights are kept, changed and written in `f32` always; on a GPU the decoder can read
//! copies of them in `bf16`, which halves what a step holds and is what such chips are fastest at.

use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Student, StudentError};

/// The type of what the decoder reads and makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits, everywhere.
    #[default]
    F32,
    /// 16 bits with the range of `f32`; sums, norms, softmax, losses, gradients that are added up and AdamW stay in `f32`.
    Bf16,
}

impl Precision {
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }

    /// Why a device can't compute in it.
    pub fn check(self, device: &Device) -> Result<(), String> {
        match self {
            Self::Bf16 if device.is_cpu() => Err("training.precision is bf16, for which the device must be a GPU \
                                                  (device: cuda:0) · on this one leave it at f32"
                .into()),
            _ => Ok(()),
        }
    }
}

impl Student {
    /// The same student, whose decoder reads copies of its weights. Weights that are not trained are copied alone: nothing
    /// has to be kept of them in `f32`.
    pub fn computing_in(mut self, precision: Precision) -> Result<Self, StudentError> {
        if precision == Precision::F32 {
            return Ok(self);
        }
        let copy = |tensor: &Tensor| tensor.detach().to_dtype(precision.dtype());
        let copies = self.parameters.iter().map(|(_, variable)| Var::from_tensor(&copy(variable.as_tensor())?));
        let working = copies.collect::<candle_core::Result<Vec<Var>>>()?;
        if let Some(adapted) = &mut self.adapted {
            for weight in adapted.weights.values_mut() {
                *weight = copy(weight)?;
            }
        }
        let names = self.parameters.iter().map(|(name, _)| name.clone());
        let tensors = names.zip(&working).map(|(name, variable)| (name, variable.as_tensor().clone())).collect();
        self.decoder = self.decoder_over(tensors)?;
        self.working = Some(working);
        Ok(self)
    }

    /// What the decoder reads of the trainable weights, in the order of [`Student::parameters`]: their gradients are those
    /// that a loss has.
    pub fn working(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.parameters.iter().enumerate().map(|(place, (name, variable))| {
            let read = self.working.as_ref().and_then(|working| working.get(place)).unwrap_or(variable);
            (name.as_str(), read)
        })
    }

    /// Brings the decoder's copies up to the weights, after those have changed.
    pub fn renew_copies(&self) -> candle_core::Result<()> {
        let working = self.working.iter().flatten();
        working
            .zip(&self.parameters)
            .try_for_each(|(copy, (_, variable))| copy.set(&variable.as_tensor().detach().to_dtype(copy.dtype())?))
    }
}
