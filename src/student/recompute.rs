//! Losses with their gradients, and how to keep less for them.
//!
//! A backward pass reads again what the layers made on their way. Where that does not fit, only what each layer *read*
//! is kept, and the layer is run a second time when its gradients are due: a third more computing for memory that grows
//! with one layer in place of all of them (Chen et al. 2016).

use candle_core::{Result, Tensor, Var};

use super::decoder::{Decoder, Dropout, Supervised};
use super::ops::{CrossEntropy, Gradients};

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
        let looked_up = self.word_vectors(batch.ids)?.detach().reshape((batch.batch, (), self.architecture.width))?;
        // A leaf of its own, whose gradient is added to that of the table by hand; see `Ops::add_rows`.
        let leaf = self.words.track_op().then(|| Var::from_tensor(&looked_up)).transpose()?;
        let vectors = leaf.as_ref().map_or(looked_up, |leaf| leaf.as_tensor().clone());
        let embedded = self.embedded(&vectors, dropout)?;
        let mut sums = Sums { wanted, gradients: vec![None; wanted.len()] };
        let (result, of_vectors) = if recompute && !self.layers.is_empty() {
            self.twice(batch, dropout, &embedded, &mut sums, leaf.as_ref())?
        } else {
            let result = self.loss_of(&self.through_layers(embedded, Some(batch.rows), dropout)?, batch)?;
            let of_vectors = sums.backward(&result.total, leaf.as_ref())?;
            (result.detached(), of_vectors)
        };
        let words = wanted.iter().position(|weight| weight.id() == self.words.id());
        if let (Some(words), Some(of_vectors)) = (words, of_vectors) {
            let sum = sums.gradients[words].take();
            let of_vectors = of_vectors.flatten(0, 1)?;
            sums.gradients[words] = Some(self.ops.add_rows(sum, &self.words, batch.ids, &of_vectors)?);
        }
        Ok((result, sums.gradients))
    }

    /// Forward without a record, then layer by layer back, each run again. Gives the gradient of the word vectors `leaf` too.
    fn twice(
        &self,
        batch: &Supervised,
        dropout: Option<Dropout>,
        embedded: &Tensor,
        sums: &mut Sums,
        leaf: Option<&Var>,
    ) -> Result<(CrossEntropy, Option<Tensor>)> {
        let tables = self.tables(batch.ids.len() / batch.batch)?;
        // What a layer makes on its way is let go when the layer is done.
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
        let of_vectors = match gradient.filter(|_| embedded.track_op()) {
            Some(of_output) => sums.backward(&toward(embedded, &of_output)?, leaf)?,
            None => None,
        };
        Ok((result, of_vectors))
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
        let mut found = Gradients::of(total)?;
        for (weight, sum) in self.wanted.iter().zip(&mut self.gradients) {
            *sum = match (sum.take(), found.remove(weight)?) {
                (Some(old), Some(new)) => Some((old + new)?),
                (old, new) => old.or(new),
            };
        }
        Ok(input.map(|input| found.remove(input)).transpose()?.flatten())
    }
}
