//! What is asked of a student: how probable continuations of a sequence are, and which places of the sequence that rests on.

use std::ops::Range;

use candle_core::{D, DType, Result, Tensor};

use crate::student::Decoder;

/// A sequence and what is attributed: Σ sign · log p(continuation | sequence), in nats.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What the student reads.
    pub ids: Vec<u32>,
    /// The places of it that get a score; the others stay as they are.
    pub range: Range<usize>,
    pub parts: Vec<Part>,
}

/// A continuation of the sequence, of at least one token.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub sign: f64,
    pub ids: Vec<u32>,
}

impl Query {
    /// Log p of one continuation.
    pub fn new(ids: Vec<u32>, range: Range<usize>, continuation: Vec<u32>) -> Self {
        Self { ids, range, parts: vec![Part { sign: 1.0, ids: continuation }] }
    }

    /// The passes through the student that the parts take together: continuations that begin alike share one.
    pub(super) fn tails(&self) -> Vec<Tail> {
        let mut tails: Vec<Tail> = Vec::new();
        let mut parts: Vec<&Part> = self.parts.iter().filter(|part| !part.ids.is_empty()).collect();
        // The longest first, so that a shorter one finds what it is the beginning of.
        parts.sort_by_key(|part| std::cmp::Reverse(part.ids.len()));
        for part in parts {
            let fed = &part.ids[..part.ids.len() - 1];
            let wanted = part.ids.iter().enumerate().map(|(place, id)| (place, *id, part.sign));
            match tails.iter_mut().find(|tail| tail.fed.starts_with(fed)) {
                Some(tail) => tail.wanted.extend(wanted),
                None => tails.push(Tail { fed: fed.to_vec(), wanted: wanted.collect() }),
            }
        }
        tails
    }
}

/// What is fed after the sequence in one pass, and what is read there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tail {
    pub fed: Vec<u32>,
    /// Places after the sequence's last, 0 for that itself; the token whose log-probability is read there; its sign.
    pub wanted: Vec<(usize, u32, f64)>,
}

/// One row of a batch.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// Places of the sequence, without what is fed after it.
    pub given: usize,
    pub tail: &'a Tail,
}

/// The signed log-probabilities of a batch.
pub(super) struct Read {
    /// (wanted), row after row.
    pub signed: Tensor,
    /// The row of each.
    rows: Vec<usize>,
}

impl Read {
    /// The sum for each of `rows` rows.
    pub fn by_row(&self, rows: usize) -> Result<Vec<f64>> {
        let mut sums = vec![0.0; rows];
        let values = self.signed.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        for (row, value) in self.rows.iter().zip(values) {
            sums[*row] += value;
        }
        Ok(sums)
    }
}

/// Reads what each row wants after word vectors (rows, time, width), padded at their ends.
pub(super) fn read(decoder: &Decoder, vectors: &Tensor, rows: &[Row]) -> Result<Read> {
    let time = vectors.dim(1)?;
    let mut places: Vec<u32> = Vec::new();
    // For each wanted number: which of `places` it is read at, the token, and the sign.
    let (mut wanted, mut signs, mut owners) = (Vec::new(), Vec::new(), Vec::new());
    for (number, row) in rows.iter().enumerate() {
        let first = places.len();
        let last = row.tail.wanted.iter().map(|(place, ..)| *place).max().unwrap_or(0);
        places.extend((0..=last).map(|place| (number * time + row.given - 1 + place) as u32));
        for (place, token, sign) in &row.tail.wanted {
            wanted.push((first + place, *token));
            signs.push(*sign);
            owners.push(number);
        }
    }
    let hidden = decoder.hidden_from_vectors(vectors, Some(&places))?; // (places, width)
    let log_p = candle_nn::ops::log_softmax(&decoder.logits(&hidden)?, D::Minus1)?; // (places, vocabulary)
    let size = log_p.dim(1)? as u32;
    let flat: Vec<u32> = wanted.iter().map(|(place, token)| *place as u32 * size + token).collect();
    let flat = Tensor::from_vec(flat, wanted.len(), decoder.device())?;
    let signs = Tensor::from_vec(signs, wanted.len(), decoder.device())?.to_dtype(log_p.dtype())?;
    Ok(Read { signed: (log_p.flatten_all()?.index_select(&flat, 0)? * signs)?, rows: owners })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continuations_that_begin_alike_share_a_pass() {
        let part = |sign, ids: &[u32]| Part { sign, ids: ids.to_vec() };
        let query = |parts| Query { ids: vec![1, 2], range: 0..2, parts };
        let one = query(vec![part(1.0, &[5]), part(-1.0, &[6])]).tails();
        assert_eq!(one, [Tail { fed: vec![], wanted: vec![(0, 5, 1.0), (0, 6, -1.0)] }]);
        let longer = query(vec![part(1.0, &[5]), part(-1.0, &[6, 7]), part(1.0, &[8, 9])]).tails();
        assert_eq!(longer.len(), 2);
        assert_eq!(longer[0], Tail { fed: vec![6], wanted: vec![(0, 6, -1.0), (1, 7, -1.0), (0, 5, 1.0)] });
        assert_eq!(longer[1].fed, [8]);
    }
}
