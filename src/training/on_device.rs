//! A step on a GPU without waiting for it: whether the step can be taken is found out there and heeded there, and what
//! the host wants to know is read in one go when all has been asked for.

use candle_core::{DType, Result, Tensor};

use super::optimizer::{AdamW, AdamWSettings, Moments};
use crate::student::ops::CrossEntropy;
use crate::student::ops::cuda::Update;

/// What a step has found, on the host.
pub struct Measured {
    /// The sum over the batches.
    pub loss: f64,
    /// Of each batch, the cross-entropy of each counted token in nats.
    pub losses: Vec<Vec<f32>>,
    /// Where the step was taken on a device: the gradients' norm, and whether everything was finite.
    pub verdict: Option<(f64, bool)>,
}

impl Measured {
    /// Reads results, and a verdict of [`AdamW::step_on_device`], in one transfer.
    pub fn read(results: &[CrossEntropy], verdict: Option<&Tensor>) -> Result<Self> {
        let Some(verdict) = verdict else {
            let mut measured = Self { loss: 0.0, losses: Vec::with_capacity(results.len()), verdict: None };
            for result in results {
                measured.loss += f64::from(result.total.to_dtype(DType::F32)?.to_scalar::<f32>()?);
                measured.losses.push(result.losses.to_vec1()?);
            }
            return Ok(measured);
        };
        let mut parts = vec![verdict.clone(), totals(results)?];
        parts.extend(results.iter().map(|result| result.losses.clone()));
        let numbers = Tensor::cat(&parts, 0)?.to_vec1::<f32>()?;
        let (verdict, rest) = numbers.split_at(verdict.elem_count());
        let (totals, mut rest) = rest.split_at(results.len());
        let mut losses = Vec::with_capacity(results.len());
        for result in results {
            let (own, others) = rest.split_at(result.losses.elem_count());
            losses.push(own.to_vec());
            rest = others;
        }
        let loss = totals.iter().map(|total| f64::from(*total)).sum();
        Ok(Self { loss, losses, verdict: Some((f64::from(verdict[0]), verdict[2] != 0.0)) })
    }
}

/// The batches' losses side by side: (batches), in `f32`.
pub fn totals(results: &[CrossEntropy]) -> Result<Tensor> {
    let totals = results.iter().map(|result| result.total.to_dtype(DType::F32)?.reshape(1));
    Tensor::cat(&totals.collect::<Result<Vec<_>>>()?, 0)
}

impl AdamW {
    /// Whether the moments are where a read would wait for the device.
    pub fn is_on_device(&self) -> bool {
        self.parameters.iter().all(|parameter| matches!(parameter.moments, Moments::Device(..)))
    }

    /// Like [`AdamW::step`], with the norm found on the device, where a gradient or a loss (batches) that is not finite
    /// makes it a step that changes nothing. Gives the verdict: the norm, the factor of clipping, and 1 or 0. Whoever
    /// reads a 0 calls [`AdamW::take_back`].
    pub fn step_on_device(&mut self, gradients: &[Tensor], losses: &Tensor, learning_rate: f64) -> Result<Tensor> {
        self.steps += 1;
        if self.update.is_some() {
            let gradients = gradients.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
            return self.step_by_kernel(&gradients, losses, learning_rate);
        }
        let verdict = judge(gradients, losses, self.settings.clip)?;
        let AdamWSettings { beta1, beta2, epsilon, weight_decay, .. } = self.settings;
        let (correction1, correction2) = (self.correction(beta1), self.correction(beta2));
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients) {
            let Moments::Device(mean, square) = &mut parameter.moments else { continue };
            let old = parameter.variable.as_tensor().detach();
            let weight_decay = if parameter.decays { weight_decay } else { 0.0 };
            let gradient = gradient.broadcast_mul(&verdict.get(1)?.to_dtype(gradient.dtype())?)?;
            let good = verdict.get(2)?.gt(0f64)?.broadcast_as(old.shape())?;
            let new_mean = ((&*mean * beta1)? + (&gradient * (1.0 - beta1))?)?;
            let new_square = ((&*square * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
            let denominator = ((&new_square * correction2)?.sqrt()? + epsilon)?;
            let change = ((&new_mean * (learning_rate * correction1))? / denominator)?;
            let new = ((&old * (1.0 - learning_rate * weight_decay))? - change)?;
            // A choice, not a product: what is no number times nothing is none either.
            *mean = good.where_cond(&new_mean, mean)?;
            *square = good.where_cond(&new_square, square)?;
            parameter.variable.set(&good.where_cond(&new, &old)?)?;
        }
        Ok(verdict)
    }

    /// The last step was none.
    pub fn take_back(&mut self) {
        self.steps -= 1;
    }

    fn step_by_kernel(&self, gradients: &[Tensor], losses: &Tensor, learning_rate: f64) -> Result<Tensor> {
        let Some(update) = &self.update else { candle_core::bail!("the optimizer has no kernel") };
        let verdict = update.judge(gradients, losses, self.settings.clip)?;
        // The kernel takes the scale from the verdict.
        let step = self.at(learning_rate, 1.0);
        let (mut means, mut squares) = (Vec::new(), Vec::new());
        for parameter in &self.parameters {
            if let Moments::Device(mean, square) = &parameter.moments {
                means.push(mean);
                squares.push(square);
            }
        }
        let parameters = self.parameters.iter().map(|parameter| parameter.variable.as_tensor()).collect();
        update.step(parameters, gradients, means, squares, &verdict, step)?;
        Ok(verdict)
    }

    /// The kernel's plan, where kernels are to be used and can be.
    pub(super) fn plan(&self) -> Result<Option<Update>> {
        let Some(first) = self.parameters.first() else { return Ok(None) };
        let device = first.variable.device();
        let fits = |dtype| crate::student::ops::cuda::serves(device, dtype) && dtype == DType::F32;
        if !self.is_on_device() || !self.parameters.iter().all(|parameter| fits(parameter.variable.dtype())) {
            return Ok(None);
        }
        let lengths: Vec<_> =
            self.parameters.iter().map(|parameter| (parameter.variable.elem_count(), parameter.decays)).collect();
        Update::new(&lengths, device).map(Some)
    }
}

/// The verdict over a step in candle's own operations.
fn judge(gradients: &[Tensor], losses: &Tensor, clip: f64) -> Result<Tensor> {
    let mut squares = Tensor::zeros((), DType::F32, losses.device())?;
    for gradient in gradients {
        squares = (squares + gradient.to_dtype(DType::F32)?.sqr()?.sum_all()?)?;
    }
    let norm = squares.sqrt()?;
    let one = norm.ones_like()?;
    let factor = if clip > 0.0 { norm.gt(clip)?.where_cond(&(norm.recip()? * clip)?, &one)? } else { one };
    // Infinity times nothing is no number.
    let nothing = ((&norm * 0.0)? + (losses.sum_all()? * 0.0)?)?;
    let good = nothing.eq(0f64)?.to_dtype(DType::F32)?;
    Tensor::stack(&[norm, factor, good], 0)
}

#[cfg(test)]
mod tests {
    use crate::student::ops::Ops;
    use crate::student::ops::cuda::with_kernels;
    use crate::student::{DropoutRates, Precision};
    use crate::training::TrainingSettings;
    use crate::training::checkpoint::tests::{run, settings, trainer, weights_of};
    use crate::training::settings::Dropping;

    #[test]
    fn the_kernels_of_a_gpu_train_the_same_student() {
        let dropout = Dropping::Rates(DropoutRates { embedding: 0.1, residual: 0.1, attention: 0.1 });
        for (precision, recompute, bar) in
            [(Precision::F32, false, 1e-4), (Precision::F32, true, 1e-4), (Precision::Bf16, false, 0.05)]
        {
            let settings = TrainingSettings { dropout, precision, recompute, ..settings(2) };
            let mut on_host = trainer(TrainingSettings { precision: Precision::F32, ..settings.clone() });
            let want = run(&mut on_host);
            with_kernels(|| {
                let mut trainer = trainer(settings);
                assert!(trainer.optimizer.is_on_device() && trainer.student.decoder.ops() == Ops::Fused);
                for (number, want) in want.iter().enumerate().take(8) {
                    let step = trainer.step().unwrap();
                    assert!((step.loss / want - 1.0).abs() < bar, "step {number}: {} for {want}", step.loss);
                    assert!(step.gradient_norm > 0.0 && step.loss_label.is_some() && step.loss_rationale.is_some());
                }
                // A weight that is no number ends the run, and nothing has changed.
                let (_, variable) = &trainer.student.parameters[0];
                variable.set(&(variable.as_tensor() * f64::NAN).unwrap()).unwrap();
                trainer.student.renew_copies().unwrap();
                let before = weights_of(&trainer);
                let error = trainer.step().unwrap_err().to_string();
                assert!(error.contains("step 9") && trainer.steps_done() == 8, "{error}");
                assert_eq!(weights_of(&trainer)[1..], before[1..]);
            });
        }
    }
}
