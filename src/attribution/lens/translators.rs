//! The maps of trained lenses: one affine map for each place between layers, in residual form.

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor};

use super::LensError;
use crate::student::Decoder;
use crate::student::layers::Divergences;

/// What the residual stream is put through before the last norm and the output.
#[derive(Clone, Debug)]
pub enum Lens {
    /// Nothing: the logit lens.
    Logit,
    Trained(Translators),
}

/// Affine maps x + x W + b of the residual stream, with W (width, width) and b (width).
///
/// A tuned lens has one for each stream but the last, which is read as it is. A lens for later tokens has one for the last
/// stream too, and is trained for the final distribution `ahead` places on. Pal et al. (2023) fit the map to the hidden
/// vector there by least squares; here it is fitted to the distribution, by KL like the tuned lens: directions that the
/// output does not look at cost nothing, and values of both lenses mean the same.
#[derive(Clone, Debug)]
pub struct Translators {
    /// How many tokens beyond the next one are predicted: 0 for the tuned lens.
    pub ahead: usize,
    /// (W, b) for each stream, from the embedding on.
    pub maps: Vec<(Tensor, Tensor)>,
}

/// Sequences side by side, and the places at which lenses are trained and measured.
pub struct Sample {
    /// (batch, time), padded at the end.
    pub ids: Vec<u32>,
    pub batch: usize,
    /// In the flattened ids; each has as many places of its own sequence behind it as the lens looks ahead.
    pub places: Vec<u32>,
}

impl Lens {
    /// `logit`, `tuned` or `future-2`: what files and commands call it.
    pub fn name(&self) -> String {
        name(self.ahead(), matches!(self, Self::Trained(_)))
    }

    /// How many tokens beyond the next one are read.
    pub fn ahead(&self) -> usize {
        match self {
            Self::Logit => 0,
            Self::Trained(translators) => translators.ahead,
        }
    }

    /// Vectors of a stream (n, width) as the last norm is to read them.
    pub fn translate(&self, stream: usize, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Logit => Ok(x.clone()),
            Self::Trained(translators) => translators.translate(stream, x),
        }
    }
}

/// The name of a trained lens, or of the logit lens.
pub fn name(ahead: usize, is_trained: bool) -> String {
    match (ahead, is_trained) {
        (_, false) => "logit".into(),
        (0, true) => "tuned".into(),
        (ahead, true) => format!("future-{ahead}"),
    }
}

impl Translators {
    /// The maps that training begins with: they change nothing.
    pub fn identity(decoder: &Decoder, ahead: usize) -> Result<Self> {
        let (width, device, dtype) = (decoder.width()?, decoder.device(), decoder.dtype());
        let map = |_| Ok((Tensor::zeros((width, width), dtype, device)?, Tensor::zeros(width, dtype, device)?));
        Ok(Self { ahead, maps: (0..Self::count(decoder, ahead)).map(map).collect::<Result<_>>()? })
    }

    /// How many streams have a map.
    pub fn count(decoder: &Decoder, ahead: usize) -> usize {
        decoder.streams() - usize::from(ahead == 0)
    }

    pub fn translate(&self, stream: usize, x: &Tensor) -> Result<Tensor> {
        let Some((weight, bias)) = self.maps.get(stream) else { return Ok(x.clone()) };
        (x + x.matmul(weight)?)?.broadcast_add(bias)
    }

    /// KL(what the student says in the end, `ahead` places on ‖ what is read) over a sample, for each stream with a map.
    pub fn divergences(&self, decoder: &Decoder, sample: &Sample) -> Result<Divergences> {
        let count = sample.places.len();
        let ends = sample.places.iter().map(|place| place + self.ahead as u32);
        let both: Vec<u32> = sample.places.iter().copied().chain(ends).collect();
        let streams = decoder.streams_at(&sample.ids, sample.batch, &both)?;
        let read = streams.iter().take(self.maps.len()).enumerate().map(|(stream, x)| {
            let x = x.narrow(0, 0, count)?.detach();
            self.translate(stream, &x)
        });
        let read = read.collect::<Result<Vec<_>>>()?;
        decoder.divergences(&streams[streams.len() - 1].narrow(0, count, count)?.detach(), &read)
    }

    /// The maps under the names that files have: `STREAM.weight` and `STREAM.bias`, in `f32`.
    pub fn tensors(&self) -> Result<HashMap<String, Tensor>> {
        let mut tensors = HashMap::new();
        for (stream, (weight, bias)) in self.maps.iter().enumerate() {
            tensors.insert(format!("{stream}.weight"), weight.detach().to_dtype(DType::F32)?);
            tensors.insert(format!("{stream}.bias"), bias.detach().to_dtype(DType::F32)?);
        }
        Ok(tensors)
    }

    /// The maps of a file, if they are those of a student like this one.
    pub fn from_tensors(
        decoder: &Decoder,
        ahead: usize,
        mut tensors: HashMap<String, Tensor>,
    ) -> std::result::Result<Self, LensError> {
        let (width, count) = (decoder.width()?, Self::count(decoder, ahead));
        let misfit = |problem: String| LensError::Misfit { problem };
        if tensors.len() != 2 * count {
            return Err(misfit(format!("it has {} tensors, and {} are needed", tensors.len(), 2 * count)));
        }
        let mut take = |name: String, shape: &[usize]| match tensors.remove(&name) {
            Some(tensor) if tensor.dims() == shape => {
                Ok(tensor.to_dtype(decoder.dtype())?.to_device(decoder.device())?)
            }
            Some(tensor) => Err(misfit(format!("`{name}` is {:?} and not {shape:?}", tensor.dims()))),
            None => Err(misfit(format!("it has no `{name}`"))),
        };
        let mut map = |stream: usize| {
            Ok((take(format!("{stream}.weight"), &[width, width])?, take(format!("{stream}.bias"), &[width])?))
        };
        Ok(Self { ahead, maps: (0..count).map(&mut map).collect::<std::result::Result<_, LensError>>()? })
    }
}
