//! Rows of a table, and the way back: rows added to those they came from, many ids at a time.

use candle_core::{DType, Result, Tensor, bail};

use super::launch::Argument::{Read, U32, Write};
use super::launch::{Launch, blocks, fresh, narrow, suffix};
use super::{PIECE, recorded};

/// Rows of a table: (ids, width).
pub fn look_up(ids: &[u32], table: &Tensor) -> Result<Tensor> {
    let found = table.detach().index_select(&Tensor::from_slice(ids, ids.len(), table.device())?, 0)?;
    let ids = ids.to_vec();
    recorded("look-up", &[table], found, move |given, _, dy| {
        Ok(vec![Some(add_rows(None, given[0], &ids, dy)?.to_dtype(given[0].dtype())?)])
    })
}

/// Which rows each block adds up, and where to.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    /// Places of rows, those of one id together and in their order.
    order: Vec<u32>,
    /// (from, until, to, is whole): a part of `order`, and an id if it is all of it, else a place among the parts.
    pieces: Vec<[u32; 4]>,
    /// (from, until, id): parts of one id.
    parted: Vec<[u32; 3]>,
    parts: usize,
}

impl Plan {
    fn of(ids: &[u32]) -> Result<Self> {
        let mut plan = Self { order: (0..narrow(ids.len())?).collect(), ..Self::default() };
        plan.order.sort_by_key(|place| ids[*place as usize]);
        let mut from = 0;
        while from < ids.len() {
            let id = ids[plan.order[from] as usize];
            let count = plan.order[from..].iter().take_while(|place| ids[**place as usize] == id).count();
            let until = from + count;
            if count <= PIECE {
                plan.pieces.push([from as u32, until as u32, id, 1]);
            } else {
                let first = plan.parts;
                for start in (from..until).step_by(PIECE) {
                    plan.pieces.push([start as u32, until.min(start + PIECE) as u32, plan.parts as u32, 0]);
                    plan.parts += 1;
                }
                plan.parted.push([first as u32, plan.parts as u32, id]);
            }
            from = until;
        }
        Ok(plan)
    }
}

/// `sum` with `rows` (ids, width) added to the rows `ids`, in `f32` and with the shape of `table`; of zeros where there is
/// no sum yet. It is added to where it lies if it is in `f32`, so nobody else may hold it. Each row's sum has one order.
pub fn add_rows(sum: Option<Tensor>, table: &Tensor, ids: &[u32], rows: &Tensor) -> Result<Tensor> {
    let (vocabulary, width) = table.dims2()?;
    let rows = rows.contiguous()?;
    let device = rows.device();
    if rows.elem_count() != ids.len() * width || ids.iter().any(|id| *id as usize >= vocabulary) {
        bail!("add-rows: {} ids and rows {:?} for a table {:?}", ids.len(), rows.dims(), table.dims());
    }
    let sum = match sum {
        Some(sum) => sum.to_dtype(DType::F32)?.contiguous()?,
        None => Tensor::zeros(table.shape(), DType::F32, device)?,
    };
    if ids.is_empty() {
        return Ok(sum);
    }
    let plan = Plan::of(ids)?;
    let parts = fresh((plan.parts.max(1), width), DType::F32, device)?;
    let order = Tensor::from_slice(&plan.order, plan.order.len(), device)?;
    let pieces = Tensor::from_slice(plan.pieces.as_flattened(), plan.pieces.len() * 4, device)?;
    let columns = blocks(width)?;
    let arguments = vec![Read(&rows), Write(&sum), Write(&parts), Read(&order), Read(&pieces), U32(narrow(width)?)];
    let grid = (narrow(plan.pieces.len())?, columns);
    Launch::new(format!("add_rows_{}", suffix(rows.dtype())?), grid, arguments).run(device)?;
    if !plan.parted.is_empty() {
        let parted = Tensor::from_slice(plan.parted.as_flattened(), plan.parted.len() * 3, device)?;
        let arguments = vec![Read(&parts), Write(&sum), Read(&parted), U32(narrow(width)?)];
        Launch::new("add_parts", (narrow(plan.parted.len())?, columns), arguments).run(device)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frequent_id_is_parted_and_the_others_are_not() {
        let ids: Vec<u32> = (0..200).map(|place| if place % 2 == 0 { 7 } else { place }).collect();
        let plan = Plan::of(&ids).unwrap();
        assert_eq!(plan.parted, vec![[0, 2, 7]]);
        let of_seven: Vec<&[u32; 4]> = plan.pieces.iter().filter(|piece| piece[3] == 0).collect();
        // The id 7 stands at one odd place too: 101 rows in parts of 64.
        assert_eq!(of_seven.iter().map(|piece| piece[1] - piece[0]).collect::<Vec<_>>(), vec![64, 37]);
        assert_eq!(plan.pieces.len(), 99 + 2);
        assert!(plan.order[3..60].is_sorted());
    }
}
