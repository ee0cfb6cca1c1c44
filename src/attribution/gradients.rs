//! Gradients of a query with respect to word vectors, at places along a path from a beginning to the true vectors.

use candle_core::{DType, Result, Tensor, Var};

use super::query::{Query, Row, Tail, read};
use super::room::Room;
use super::start::Start;
use crate::student::Decoder;

/// What is made of a gradient at a place of the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Its product with the way from the beginning to the true vector.
    Product,
    /// Its length.
    Length,
}

/// One pass: a query, from one of its beginnings, at one place of the path, for one of its tails.
#[derive(Clone, Copy)]
struct Pass {
    query: usize,
    start: usize,
    tail: usize,
    /// How far along the path, and the weight of the gradient there.
    node: (f64, f64),
}

/// Σ over the nodes of weight · what is `made` of the gradient there, one number for each place of each query's range,
/// averaged over beginnings. All passes of all queries are batched together as far as there is room.
pub fn along(
    decoder: &Decoder,
    queries: &[Query],
    nodes: &[(f64, f64)],
    start: &Start,
    made: Made,
    room: &Room,
) -> Result<Vec<Vec<f64>>> {
    // Only the path is differentiated; the decoder's own weights would double the work.
    let decoder = decoder.frozen();
    let from = start.prepare(&decoder)?;
    let tails: Vec<Vec<Tail>> = queries.iter().map(Query::tails).collect();
    let mut passes = Vec::new();
    for (query, tails) in tails.iter().enumerate() {
        for start in 0..start.count() {
            for tail in 0..tails.len() {
                passes.extend(nodes.iter().map(|node| Pass { query, start, tail, node: *node }));
            }
        }
    }
    let mut scores: Vec<Vec<f64>> = queries.iter().map(|query| vec![0.0; query.range.len()]).collect();
    // Tails of one query are differentiated apart, and the length of a sum is not the sum of lengths.
    let mut sums: Vec<Option<Tensor>> = vec![None; queries.len()];
    let length = |pass: &Pass| queries[pass.query].ids.len() + tails[pass.query][pass.tail].fed.len();
    room.batches(&passes, length, |batch| {
        let time = batch.iter().map(length).max().unwrap_or(0);
        // Passes that differ in their node alone are one stretch of the batch.
        let stretches: Vec<&[Pass]> = batch
            .chunk_by(|one, next| (one.query, one.start, one.tail) == (next.query, next.start, next.tail))
            .collect();
        let mut paths = Vec::with_capacity(stretches.len());
        let mut changes = Vec::with_capacity(stretches.len());
        for stretch in &stretches {
            let Pass { query, start: number, tail, .. } = stretch[0];
            let (query, tail) = (&queries[query], &tails[query][tail]);
            let vectors = decoder.word_vectors(&[&query.ids[..], &tail.fed].concat())?; // (own time, width)
            let (first, own) = (query.range.start, query.range.len());
            let begin = from.vectors(&decoder, own, number)?;
            let change = (vectors.narrow(0, first, own)? - &begin)?; // (range, width)
            let at = shares(stretch.iter().map(|pass| pass.node.0), &decoder)?; // (nodes, 1, 1)
            let moved = begin.unsqueeze(0)?.broadcast_add(&change.unsqueeze(0)?.broadcast_mul(&at)?)?;
            paths.push(padded(&vectors, &moved, first, time)?);
            changes.push(change);
        }
        // All passes at once: (passes, time, width), the only variable there is.
        let path = Var::from_tensor(&Tensor::cat(&paths, 0)?)?;
        let row = |pass: &Pass| Row { given: queries[pass.query].ids.len(), tail: &tails[pass.query][pass.tail] };
        let rows: Vec<Row> = batch.iter().map(row).collect();
        let gradients = read(&decoder, path.as_tensor(), &rows)?.signed.sum_all()?.backward()?;
        let Some(gradient) = gradients.get(&path) else { candle_core::bail!("the word vectors got no gradient") };
        let mut at = 0;
        // Taken in only when all of the batch is there: a device may run out of memory in the middle, and what was added
        // would be added again.
        let (mut products, mut lengths) = (Vec::new(), Vec::<(usize, Tensor)>::new());
        for (stretch, change) in stretches.iter().zip(&changes) {
            let query = &queries[stretch[0].query];
            let own = gradient.narrow(0, at, stretch.len())?.narrow(1, query.range.start, query.range.len())?;
            at += stretch.len();
            let weights = shares(stretch.iter().map(|pass| pass.node.1 / start.count() as f64), &decoder)?;
            let own = own.broadcast_mul(&weights)?.sum(0)?; // (range, width)
            if made == Made::Length {
                let query = stretch[0].query;
                let before =
                    lengths.iter().rev().find(|(of, _)| *of == query).map(|(_, sum)| sum).or(sums[query].as_ref());
                let sum = before.map_or(Ok(own.clone()), |before: &Tensor| before + own)?;
                lengths.push((query, sum));
                continue;
            }
            products.push((stretch[0].query, (own * change)?.sum(1)?.to_dtype(DType::F64)?.to_vec1::<f64>()?));
        }
        for (query, products) in products {
            scores[query].iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
        }
        lengths.into_iter().for_each(|(query, sum)| sums[query] = Some(sum));
        Ok(())
    })?;
    for (scores, sum) in scores.iter_mut().zip(sums) {
        if let Some(sum) = sum {
            *scores = sum.sqr()?.sum(1)?.sqrt()?.to_dtype(DType::F64)?.to_vec1()?;
        }
    }
    Ok(scores)
}

/// Numbers for the passes of a stretch: (passes, 1, 1).
fn shares(values: impl Iterator<Item = f64>, decoder: &Decoder) -> Result<Tensor> {
    let values: Vec<f64> = values.collect();
    let count = values.len();
    Tensor::from_vec(values, (count, 1, 1), decoder.device())?.to_dtype(decoder.dtype())
}

/// Vectors (own time, width) with the places from `first` on replaced by `moved` (n, places, width), n times, and zeros up to
/// `time`: (n, time, width).
pub(super) fn padded(vectors: &Tensor, moved: &Tensor, first: usize, time: usize) -> Result<Tensor> {
    let (own, width) = vectors.dims2()?;
    let (n, places, _) = moved.dims3()?;
    let fixed =
        |from: usize, count: usize| vectors.narrow(0, from, count)?.unsqueeze(0)?.broadcast_as((n, count, width));
    let mut parts = vec![fixed(0, first)?, moved.clone(), fixed(first + places, own - first - places)?];
    if time > own {
        parts.push(Tensor::zeros((n, time - own, width), vectors.dtype(), vectors.device())?);
    }
    parts.retain(|part| part.dims()[1] > 0);
    Tensor::cat(&parts, 1)
}
