//! Where paths begin, and what stands in the place of what is taken away: vectors that say nothing.

use candle_core::{Result, Tensor, bail};

use crate::rationale::recipe::Baseline;
use crate::seeds::Stream;
use crate::student::Decoder;

/// Draws of random words whose results are averaged.
pub const DRAWS: usize = 8;

/// Vectors to begin with.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    Zero,
    /// The mean of all word vectors.
    Mean,
    /// One word everywhere.
    Word(u32),
    /// A word for each place; results of the lists are averaged.
    Words(Vec<Vec<u32>>),
}

impl Start {
    /// That of a baseline, for sequences of which `longest` places are scored at most. `pad` is the padding or end token.
    pub fn of(baseline: Baseline, pad: u32, decoder: &Decoder, longest: usize) -> Self {
        match baseline {
            Baseline::Zero => Self::Zero,
            Baseline::Mean => Self::Mean,
            Baseline::Pad => Self::Word(pad),
            Baseline::Random => {
                let vocabulary = decoder.architecture.vocabulary;
                Self::Words((0..DRAWS).map(|number| words(vocabulary, longest, number)).collect())
            }
        }
    }

    /// How many beginnings there are, over which results are averaged.
    pub fn count(&self) -> usize {
        if let Self::Words(lists) = self { lists.len() } else { 1 }
    }

    /// The same with what it takes from the student looked up, once for all sequences.
    pub fn prepare(&self, decoder: &Decoder) -> Result<Prepared<'_>> {
        let width = decoder.architecture.width;
        let neutral = match self {
            Self::Zero => Tensor::zeros((1, width), decoder.dtype(), decoder.device())?,
            Self::Mean => decoder.mean_word_vector()?.unsqueeze(0)?,
            Self::Word(word) => decoder.word_vectors(&[*word])?,
            Self::Words(lists) => return Ok(Prepared::Words(lists)),
        };
        Ok(Prepared::Neutral(neutral))
    }
}

/// A beginning, ready for sequences.
pub enum Prepared<'a> {
    /// The vector of every place: (1, width).
    Neutral(Tensor),
    Words(&'a [Vec<u32>]),
}

impl Prepared<'_> {
    /// The vectors of beginning `number` for `len` places: (len, width).
    pub fn vectors(&self, decoder: &Decoder, len: usize, number: usize) -> Result<Tensor> {
        match self {
            Self::Neutral(vector) => vector.broadcast_as((len, decoder.architecture.width))?.contiguous(),
            Self::Words(lists) => match lists.get(number).and_then(|words| words.get(..len)) {
                Some(words) => decoder.word_vectors(words),
                None => bail!("there are too few random words for {len} places"),
            },
        }
    }
}

/// Words drawn from the whole vocabulary, the same for every sequence, so that two of them can be compared.
fn words(vocabulary: usize, len: usize, number: usize) -> Vec<u32> {
    let mut stream = Stream::new(0, &["baseline", &number.to_string()]);
    (0..len).map(|_| stream.below(vocabulary) as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ_and_do_not_depend_on_the_length() {
        let (long, short) = (words(1000, 20, 0), words(1000, 5, 0));
        assert_eq!(long[..5], short);
        assert_ne!(words(1000, 5, 1), short);
    }
}
