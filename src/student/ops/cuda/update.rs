//! AdamW over all parameters in one launch, with what decides about the step on the device.

use candle_core::{DType, Device, Result, Tensor};

use super::super::kernels::AdamW;
use super::launch::Argument::{F32, Read, ReadAll, U32, Write, WriteAll};
use super::launch::{Launch, fresh, narrow};

/// Numbers that one block updates: `CHUNK` of the kernels.
const CHUNK: usize = 4096;

/// How blocks are shared out among parameters.
pub struct Update {
    /// (length, whether it decays) of each parameter.
    tensors: Tensor,
    /// (parameter, number of the chunk in it) of each block.
    chunks: Tensor,
    blocks: u32,
}

impl Update {
    /// For parameters of these lengths, each of which decays or does not.
    pub fn new(parameters: &[(usize, bool)], device: &Device) -> Result<Self> {
        let (mut tensors, mut chunks) = (Vec::new(), Vec::new());
        for (number, (length, decays)) in parameters.iter().enumerate() {
            tensors.extend([narrow(*length)?, u32::from(*decays)]);
            chunks.extend((0..length.div_ceil(CHUNK)).flat_map(|chunk| [number as u32, chunk as u32]));
        }
        let blocks = narrow(chunks.len() / 2)?;
        Ok(Self {
            tensors: Tensor::from_vec(tensors, 2 * parameters.len(), device)?,
            chunks: Tensor::from_vec(chunks, 2 * blocks as usize, device)?,
            blocks,
        })
    }

    /// What becomes of a step with these gradients and `losses` (batches): the gradients' norm, what they are multiplied
    /// by, and 1 if all is finite. Nothing is read back.
    pub fn judge(&self, gradients: &[Tensor], losses: &Tensor, clip: f64) -> Result<Tensor> {
        let device = losses.device();
        let sums = fresh(self.blocks as usize, DType::F64, device)?;
        let all = ReadAll(gradients.iter().collect());
        let arguments = vec![all, Read(&self.tensors), Read(&self.chunks), Write(&sums)];
        Launch::new("square_sums", (self.blocks, 1), arguments).run(device)?;
        let verdict = fresh(3, DType::F32, device)?;
        let batches = narrow(losses.elem_count())?;
        let arguments =
            vec![Read(&sums), U32(self.blocks), Read(losses), U32(batches), F32(clip as f32), Write(&verdict)];
        Launch::new("judge", (1, 1), arguments).run(device)?;
        Ok(verdict)
    }

    /// One step in place, unless the verdict forbids it. `step.keep` is for parameters that decay.
    pub fn step(
        &self,
        parameters: Vec<&Tensor>,
        gradients: &[Tensor],
        means: Vec<&Tensor>,
        squares: Vec<&Tensor>,
        verdict: &Tensor,
        step: AdamW,
    ) -> Result<()> {
        let mut arguments = vec![
            WriteAll(parameters),
            ReadAll(gradients.iter().collect()),
            WriteAll(means),
            WriteAll(squares),
            Read(&self.tensors),
            Read(&self.chunks),
            Read(verdict),
        ];
        let AdamW { learning_rate, beta1, beta2, rest1, rest2, epsilon, keep, correction1, correction2, .. } = step;
        let numbers = [learning_rate, beta1, beta2, rest1, rest2, epsilon, keep, correction1, correction2];
        arguments.extend(numbers.map(F32));
        Launch::new("adamw", (self.blocks, 1), arguments).run(verdict.device())
    }
}
