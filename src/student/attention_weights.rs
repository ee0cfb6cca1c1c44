//! Where layers look: the weights of attention, which no pass keeps. For looking only; nothing here is differentiated.

use candle_core::{DType, Result, Tensor};

use super::attend::{Projected, weights};
use super::decoder::Decoder;

impl Decoder {
    /// How much the last place attends to each place, layer by layer: (heads, time) each, in `f32`.
    pub fn attention_of_last(&self, ids: &[u32]) -> Result<Vec<Tensor>> {
        let time = ids.len();
        let mut x = self.embedded(&self.word_vectors(ids)?.unsqueeze(0)?, None)?; // (1, time, width)
        let tables = self.tables(time)?;
        let mut all = Vec::with_capacity(self.layers.len());
        for (number, layer) in self.layers.iter().enumerate() {
            let heads = self.architecture.heads_of(number);
            let normed = layer.attention_norm.apply(self.ops, &x)?;
            let packed = layer.norm_heads(self.ops, layer.attention_in.apply(self.ops, &normed, None)?, &heads)?;
            let projected = Projected::of(&packed, &heads, tables.turn(number))?;
            let seen = heads.window.unwrap_or(time).min(time);
            // The last place sees all that are within its window: no mask is needed for it alone.
            let near = |x: &Tensor| x.narrow(2, time - seen, seen)?.contiguous();
            let last = Projected {
                queries: projected.queries.narrow(2, time - 1, 1)?.contiguous()?,
                keys: near(&projected.keys)?,
                values: near(&projected.values)?,
            };
            let own = weights(&last, &heads, None)?.squeeze(2)?.squeeze(0)?.to_dtype(DType::F32)?; // (heads, seen)
            all.push(own.pad_with_zeros(1, time - seen, 0)?);
            x = self.layer(number, x, &tables, None, None)?;
        }
        Ok(all)
    }
}
