//! Losses with their gradients, and how to keep less for them.
//!
//! A backward pass reads again what the layers made on their way. Where that does not fit, only what each layer *read*
//! is kept, and the layer is run a second time when its gradients are due: a third more computing for memory that grows
//! with one layer in place of all of them (Chen et al. 2016).

use candle_core::{DType, Result, Tensor, Var};

use super::decoder::{Decoder, Dropout, Supervised};
use super::ops::CrossEntropy;

/// A loss, and the gradient of each weight that was asked for; none where the loss does not depend on it.
pub type WithGradients = (CrossEntropy, Vec<Option<Tensor>>);

impl Decoder {
    /// [`Decoder::loss`] with the gradients of the weights `wanted`. With `recompute` layers are run twice and little is
    /// kept between; values and gradients are the same.
    pub fn loss_with_gradients(
        &self,
        batch: &Supervised,
        dropout: Option<Dropout>,
        wanted: &[&Var],
        recompute: bool,
    ) -> Result<WithGradients> {
        if !recompute || self.layers.is_empty() {
            let result = self.loss(batch, dropout)?;
            let mut found = result.total.backward()?;
            let gradients = wanted.iter().map(|weight| found.remove(weight)).collect();
            return Ok((result.detached(), gradients));
        }
        let mut sums = Sums { wanted, gradients: vec![None; wanted.len()] };
        let embedded = self.embedded(batch.ids, batch.batch, dropout)?;
        let tables = self.tables(batch.ids.len() / batch.batch)?;
        // Forward without a record: what a layer makes on its way is let go when the layer is done.
        let plain = self.frozen();
        let last = self.layers.len() - 1;
        let mut read = Vec::with_capacity(last);
        let mut x = embedded.detach();
        for number in 0..last {
            let next = plain.layer(number, x.clone(), &tables, None, dropout)?;
            read.push(std::mem::replace(&mut x, next));
        }
        // The last layer's gradients are due at once, so it runs once, and with it what comes after.
        let input = Var::from_tensor(&x)?;
        drop(x);
        let hidden = self.layer(last, input.as_tensor().clone(), &tables, Some(batch.rows), dropout)?;
        let result = self.loss_of(&self.norm.apply(self.ops, &hidden)?, batch)?;
        drop(hidden);
        let mut gradient = sums.backward(&result.total, Some(&input))?;
        let result = result.detached();
        drop(input);
        while let Some(x) = read.pop() {
            let Some(of_output) = gradient.take() else { break };
            let number = read.len();
            // What comes before the first layer may be nothing that learns.
            let input = if number > 0 || embedded.track_op() { Some(Var::from_tensor(&x)?) } else { None };
            let x = input.as_ref().map_or(x, |input| input.as_tensor().clone());
            let output = self.layer(number, x, &tables, None, dropout)?;
            if !output.track_op() {
                break;
            }
            // The derivative of this sum by the output is `of_output`, so its other derivatives are those of the loss.
            gradient = sums.backward(&toward(&output, &of_output)?, input.as_ref())?;
        }
        if let Some(of_output) = gradient.filter(|_| embedded.track_op()) {
            sums.backward(&toward(&embedded, &of_output)?, None)?;
        }
        Ok((result, sums.gradients))
    }
}

impl CrossEntropy {
    /// The same without the record that a backward pass needs, and all that it holds.
    fn detached(self) -> Self {
        Self { total: self.total.detach(), ..self }
    }
}

/// Σ output · slope.
fn toward(output: &Tensor, slope: &Tensor) -> Result<Tensor> {
    (output * slope)?.sum_all()
}

/// The gradients found so far.
struct Sums<'a> {
    wanted: &'a [&'a Var],
    gradients: Vec<Option<Tensor>>,
}

impl Sums<'_> {
    /// Adds the gradients of `total`, and gives that of `input`.
    fn backward(&mut self, total: &Tensor, input: Option<&Var>) -> Result<Option<Tensor>> {
        let mut found = total.backward()?;
        for (weight, sum) in self.wanted.iter().zip(&mut self.gradients) {
            let Some(new) = found.remove(weight) else { continue };
            *sum = Some(match sum.take() {
                // A table is both what words are looked up in and what logits are made with. In `f32`, whatever the weights are in.
                Some(old) if new.dtype() == DType::BF16 => (old.to_dtype(DType::F32)? + new.to_dtype(DType::F32)?)?,
                Some(old) => (old + new)?,
                None => new,
            });
        }
        Ok(input.and_then(|input| found.remove(input)))
    }
}
