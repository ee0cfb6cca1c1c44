//! The backward pass of a look-up: gradients of word vectors, added to that of their table.
//!
//! It stands outside of candle's graph. There every look-up makes a gradient of the whole table, mostly zeros, and where
//! the table is the output matrix too, a second sum of both; for GPT-2 that is 300 MB to add a few hundred rows.

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, bail};
use rayon::prelude::*;

use super::fused::slice_of;
use super::{Ops, cuda, kernels, widened};

/// Rows of the table that one task adds to.
const TABLE_ROWS: usize = 1024;

impl Ops {
    /// The gradient of a table (vocabulary, width) whose rows `ids` were looked up, from that of the vectors found, (ids,
    /// width), and what else the table's gradient holds. Not in `bf16`, where a word that comes often would lose its sum.
    ///
    /// In the fused form `sum` is added to where it lies: it must be nobody else's.
    pub fn add_rows(self, sum: Option<Tensor>, table: &Tensor, ids: &[u32], rows: &Tensor) -> Result<Tensor> {
        if self.on_gpu(rows) {
            return cuda::add_rows(sum, table, ids, rows);
        }
        let rows = widened(rows)?;
        let sum = match sum {
            Some(sum) => widened(&sum)?.contiguous()?,
            None => Tensor::zeros(table.shape(), rows.dtype(), table.device())?,
        };
        if self == Self::Fused && rows.dtype() == DType::F32 && rows.device().is_cpu() {
            sum.inplace_op2(&rows.contiguous()?, &AddRows { ids })?;
            return Ok(sum);
        }
        sum.index_add(&Tensor::from_slice(ids, ids.len(), table.device())?, &rows, 0)
    }
}

struct AddRows<'a> {
    ids: &'a [u32],
}

impl InplaceOp2 for AddRows<'_> {
    fn name(&self) -> &'static str {
        "add-rows"
    }

    fn cpu_fwd(&self, table: &mut CpuStorage, table_layout: &Layout, rows: &CpuStorage, layout: &Layout) -> Result<()> {
        let (Some((from, to)), CpuStorage::F32(table)) = (table_layout.contiguous_offsets(), table) else {
            bail!("add-rows: the table must be contiguous and f32")
        };
        let (rows, width) = (slice_of(rows, layout)?, table_layout.shape().dims2()?.1);
        // By word, and in the order of the text among equal words: the sums do not depend on who makes them.
        let mut places: Vec<usize> = (0..self.ids.len()).collect();
        places.sort_by_key(|place| self.ids[*place]);
        table[from..to].par_chunks_mut(TABLE_ROWS * width).enumerate().for_each(|(chunk, table)| {
            let first = chunk * TABLE_ROWS;
            let before = |id: usize| places.partition_point(|place| (self.ids[*place] as usize) < id);
            for place in &places[before(first)..before(first + TABLE_ROWS)] {
                let row = (self.ids[*place] as usize - first) * width;
                kernels::add(&mut table[row..][..width], &rows[place * width..][..width]);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn rows_are_added_to_their_words() {
        let ids: Vec<u32> = (0..500).map(|place| place * place % 2300).collect();
        let rows = Tensor::rand(-1f32, 1f32, (500, 3), &Device::Cpu).unwrap();
        let table = Tensor::zeros((2300, 3), DType::F32, &Device::Cpu).unwrap();
        let others = || Tensor::full(0.5f32, (2300, 3), &Device::Cpu).unwrap();
        for sum in [true, false] {
            let run = |ops: Ops| ops.add_rows(sum.then(others), &table, &ids, &rows).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(run(Ops::Fused), run(Ops::Composed));
            let mut want = vec![[if sum { 0.5 } else { 0.0 }; 3]; 2300];
            for (id, row) in ids.iter().zip(rows.to_vec2::<f32>().unwrap()) {
                want[*id as usize].iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            assert_eq!(run(Ops::Fused), want);
        }
    }

    #[test]
    fn many_small_rows_do_not_vanish_in_bf16() {
        let rows = Tensor::full(0.01f32, (1000, 2), &Device::Cpu).unwrap().to_dtype(DType::BF16).unwrap();
        let table = Tensor::zeros((4, 2), DType::BF16, &Device::Cpu).unwrap();
        let sum = Ops::Composed.add_rows(None, &table, &[3; 1000], &rows).unwrap().to_vec2::<f32>().unwrap();
        assert!((sum[3][0] - 10.0).abs() < 0.02, "{sum:?}");
    }
}
