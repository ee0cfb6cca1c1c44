//! Sequences with something taken away, and how probable the continuation is then.

use candle_core::{Result, Tensor};

use super::gradients::padded;
use super::query::{Query, Row, Tail, read};
use super::room::Room;
use super::start::{Prepared, Start};
use crate::student::Decoder;

/// A change of a query's sequence.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// As it stands.
    Nothing,
    /// These places have the vectors of beginning `start` instead; its places are those of the query's range.
    Replace { places: Vec<usize>, start: usize },
    /// These places are taken out, and what follows moves up.
    Delete { places: Vec<usize> },
}

/// A query with a change.
#[derive(Clone, Debug)]
pub struct Variant<'a> {
    pub query: &'a Query,
    pub change: Change,
}

impl Variant<'_> {
    /// Places before what is fed.
    fn given(&self) -> usize {
        match &self.change {
            Change::Delete { places } => self.query.ids.len() - places.len(),
            _ => self.query.ids.len(),
        }
    }

    /// The word vectors: (time, width).
    fn vectors(&self, decoder: &Decoder, start: &Prepared, fed: &[u32]) -> Result<Tensor> {
        let Query { ids, range, .. } = self.query;
        match &self.change {
            Change::Nothing => decoder.word_vectors(&[ids, fed].concat()),
            Change::Delete { places } => {
                let kept = ids.iter().enumerate().filter(|(place, _)| !places.contains(place)).map(|(_, id)| *id);
                decoder.word_vectors(&kept.chain(fed.iter().copied()).collect::<Vec<_>>())
            }
            Change::Replace { places, start: number } => {
                let own = decoder.word_vectors(&[ids, fed].concat())?;
                let neutral = start.vectors(decoder, range.len(), *number)?;
                // Rows of both below each other, and for each place the row that is wanted.
                let time = own.dim(0)?;
                let row = |place: usize| {
                    if places.contains(&place) { (time + place - range.start) as u32 } else { place as u32 }
                };
                let rows: Vec<u32> = (0..time).map(row).collect();
                Tensor::cat(&[&own, &neutral], 0)?.index_select(&Tensor::from_vec(rows, time, own.device())?, 0)
            }
        }
    }
}

/// The value of each variant, in nats.
pub fn values(decoder: &Decoder, variants: &[Variant], start: &Start, room: &Room) -> Result<Vec<f64>> {
    let decoder = decoder.frozen();
    let start = start.prepare(&decoder)?;
    let tails: Vec<Vec<Tail>> = variants.iter().map(|variant| variant.query.tails()).collect();
    let passes: Vec<(usize, usize)> = tails
        .iter()
        .enumerate()
        .flat_map(|(variant, tails)| (0..tails.len()).map(move |tail| (variant, tail)))
        .collect();
    let mut sums = vec![0.0; variants.len()];
    let length = |&(variant, tail): &(usize, usize)| variants[variant].given() + tails[variant][tail].fed.len();
    room.batches(&passes, length, |batch| {
        let time = batch.iter().map(length).max().unwrap_or(0);
        let vectors = batch.iter().map(|&(variant, tail)| {
            let own = variants[variant].vectors(&decoder, &start, &tails[variant][tail].fed)?;
            padded(&own, &own.narrow(0, 0, 0)?.unsqueeze(0)?, 0, time)
        });
        let vectors = Tensor::cat(&vectors.collect::<Result<Vec<_>>>()?, 0)?; // (batch, time, width)
        let row =
            |&(variant, tail): &(usize, usize)| Row { given: variants[variant].given(), tail: &tails[variant][tail] };
        let rows: Vec<Row> = batch.iter().map(row).collect();
        for (&(variant, _), value) in batch.iter().zip(read(&decoder, &vectors, &rows)?.by_row(batch.len())?) {
            sums[variant] += value;
        }
        Ok(())
    })?;
    Ok(sums)
}
