//! Which examples each step sees: shuffled every epoch, examples of like length together.

use std::sync::Arc;

use crate::seeds::Stream;

/// Batches whose examples are sorted by length together, at most: enough for little padding. An epoch has at least
/// four buckets; in a single one the batches of every epoch would be the same kinds of question, which teaches badly.
const BATCHES_PER_BUCKET: usize = 50;
const BUCKETS: usize = 4;

/// The order of examples over a whole run. Any step can be asked for, so a resumed run sees what it would have seen.
#[derive(Clone)]
pub struct Order {
    lengths: Arc<[usize]>,
    /// Examples of one optimiser step.
    batch: usize,
    seed: u64,
    bucketed: bool,
    /// The epoch that was asked for last, and its batches.
    known: Option<(usize, Vec<Vec<usize>>)>,
}

impl Order {
    pub fn new(lengths: Vec<usize>, batch: usize, seed: u64, bucketed: bool) -> Self {
        Self { lengths: lengths.into(), batch, seed, bucketed, known: None }
    }

    pub fn steps_per_epoch(&self) -> usize {
        self.lengths.len().div_ceil(self.batch)
    }

    /// The examples of a step, 0 for the first.
    pub fn step(&mut self, step: usize) -> &[usize] {
        let (epoch, place) = (step / self.steps_per_epoch(), step % self.steps_per_epoch());
        if self.known.as_ref().is_none_or(|(known, _)| *known != epoch) {
            self.known = Some((epoch, self.epoch(epoch)));
        }
        self.known.as_ref().map_or(&[], |(_, batches)| &batches[place])
    }

    fn epoch(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut stream = Stream::new(self.seed, &["order", &epoch.to_string()]);
        let mut all: Vec<usize> = (0..self.lengths.len()).collect();
        stream.shuffle(&mut all);
        if !self.bucketed {
            return all.chunks(self.batch).map(<[usize]>::to_vec).collect();
        }
        let mut batches: Vec<Vec<usize>> = Vec::with_capacity(self.steps_per_epoch());
        let in_bucket = (self.steps_per_epoch() / BUCKETS).clamp(1, BATCHES_PER_BUCKET);
        for bucket in all.chunks_mut(self.batch * in_bucket) {
            bucket.sort_by_key(|example| self.lengths[*example]);
            batches.extend(bucket.chunks(self.batch).map(<[usize]>::to_vec));
        }
        // A run must not see the short examples of every bucket first.
        stream.shuffle(&mut batches);
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(bucketed: bool) -> Order {
        Order::new((0..1003).map(|i| i * 37 % 101).collect(), 8, 3, bucketed)
    }

    #[test]
    fn an_epoch_sees_every_example_once() {
        for bucketed in [false, true] {
            let mut order = order(bucketed);
            let per_epoch = order.steps_per_epoch();
            assert_eq!(per_epoch, 126);
            let mut seen: Vec<usize> = (per_epoch..2 * per_epoch).flat_map(|step| order.step(step).to_vec()).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..1003).collect::<Vec<_>>());
        }
    }

    #[test]
    fn any_step_can_be_asked_for() {
        let mut straight = order(true);
        let steps: Vec<_> = (0..300).map(|step| straight.step(step).to_vec()).collect();
        for step in [299, 0, 126, 125, 130] {
            assert_eq!(order(true).step(step), steps[step]);
        }
        assert_ne!(steps[0], steps[126]);
    }

    #[test]
    fn buckets_save_padding_and_stay_random() {
        let padding = |bucketed| -> usize {
            let mut order = order(bucketed);
            let lengths = order.lengths.clone();
            (0..126)
                .map(|step| {
                    let batch = order.step(step);
                    let longest = batch.iter().map(|example| lengths[*example]).max().unwrap();
                    batch.iter().map(|example| longest - lengths[*example]).sum::<usize>()
                })
                .sum()
        };
        assert!(padding(true) * 5 < padding(false));
        let mut order = order(true);
        let lengths = order.lengths.clone();
        let first: usize = order.step(0).iter().map(|example| lengths[*example]).sum();
        let second: usize = order.step(1).iter().map(|example| lengths[*example]).sum();
        assert_ne!(first, second);
    }
}
