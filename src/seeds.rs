//! Random numbers that depend on a seed and a name, and on nothing else.
//!
//! A run has three seeds (`init`, `order`, `ablation`). Every draw opens a [`Stream`] with one of them and a path of
//! names, such as `["shuffle", "q17"]`, so that no draw changes when batch size, thread count, the order of the
//! examples or a resume changes. The sampling below is written out, not taken from `rand`, because that crate may change
//! how many numbers a shuffle consumes between its minor versions, and a recipe must mean the same thing for years.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// A stream of random numbers, the same on every machine for the same seed and path.
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// Opens the stream named by `path` under `seed`. Streams of different paths are independent.
    pub fn new(seed: u64, path: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        for name in path {
            // The length keeps ["ab", "c"] apart from ["a", "bc"].
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name.as_bytes());
        }
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A whole number in `0..n`, without bias. `n` must not be zero.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "no number is below zero");
        let n = n as u64;
        // Lemire 2019: a multiply instead of a division, and a rare rejection.
        let floor = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.bits()) * u128::from(n);
            if wide as u64 >= floor {
                return (wide >> 64) as usize;
            }
        }
    }

    /// A number in `[0, 1)` with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// A draw from the standard normal distribution (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// One element of a slice that is not empty.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Puts the elements in a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// `k` different numbers of `0..n`, in the order drawn; all of them when `k > n`.
    pub fn sample(&mut self, n: usize, k: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        let k = k.min(n);
        for place in 0..k {
            let other = place + self.below(n - place);
            all.swap(place, other);
        }
        all.truncate(k);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_path_give_the_same_numbers() {
        let draw = |seed, path: &[&str]| {
            let mut stream = Stream::new(seed, path);
            (0..8).map(|_| stream.bits()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, &["shuffle", "q1"]), draw(7, &["shuffle", "q1"]));
        assert_ne!(draw(7, &["shuffle", "q1"]), draw(8, &["shuffle", "q1"]));
        assert_ne!(draw(7, &["ab", "c"]), draw(7, &["a", "bc"]));
    }

    #[test]
    fn recipes_mean_the_same_for_years() {
        // These numbers are part of the file format: a change here changes every ablation of every stored run.
        let mut stream = Stream::new(7, &["shuffle", "q1"]);
        assert_eq!(stream.sample(10, 4), GOLDEN_SAMPLE);
        let mut order: Vec<usize> = (0..8).collect();
        stream.shuffle(&mut order);
        assert_eq!(order, GOLDEN_ORDER);
    }
    const GOLDEN_SAMPLE: [usize; 4] = [7, 6, 2, 3];
    const GOLDEN_ORDER: [usize; 8] = [5, 3, 0, 6, 2, 4, 7, 1];

    #[test]
    fn draws_are_spread_evenly() {
        let mut stream = Stream::new(1, &["spread"]);
        let mut seen = [0usize; 7];
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..70_000 {
            seen[stream.below(7)] += 1;
            let x = stream.normal();
            sum += x;
            squares += x * x;
        }
        assert!(seen.iter().all(|n| (9_600..10_400).contains(n)), "{seen:?}");
        assert!((sum / 70_000.0).abs() < 0.02 && (squares / 70_000.0 - 1.0).abs() < 0.03);
    }

    #[test]
    fn a_sample_has_no_number_twice() {
        let mut stream = Stream::new(3, &["sample"]);
        let mut drawn = stream.sample(40, 12);
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 12);
        assert_eq!(stream.sample(3, 9).len(), 3);
    }
}
