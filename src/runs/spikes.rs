//! Steps of a run whose loss stands out from those before it.
//!
//! Each loss is held against the running median of the [`NEAR`] steps before it; how far it lies above that, on a
//! logarithmic scale, is held against how far the [`WINDOW`] steps before it lay above theirs. It stands out where that is
//! more than [`DEVIATIONS`] robust standard deviations above their median, the deviation being 1.4826 times the median
//! absolute deviation, which is the standard deviation of normal noise and does not move for a few steps that stand out
//! themselves (Hampel 1974; Leys et al. 2013). A loss that falls steadily has the same distance from its running median
//! all along, so that the fall is no noise. Logarithms, because the noise of a loss is a share of it: it shrinks as the
//! loss falls, and its upper tail is the longer one.

use std::collections::VecDeque;

use serde::Serialize;

use crate::journal::History;

/// Steps of the running median.
pub const NEAR: usize = 9;
/// Steps whose distances from it say what is usual.
pub const WINDOW: usize = 50;
/// With fewer steps than this before it, none stands out: nobody knows yet what is usual.
pub const FEWEST: usize = 20;
/// Of those, the ones that have too few before them for a median.
const FIRST: usize = 5;
/// How far out is far.
pub const DEVIATIONS: f64 = 6.0;
/// The least deviation, as a share of the loss: one that hardly moves must not stand out with its every twitch.
const LEAST: f64 = 0.02;
/// A standard normal's deviation over its median absolute deviation.
const NORMAL: f64 = 1.4826;
/// What counts as no loss at all.
const NONE: f64 = 1e-6;

/// A stretch of steps whose loss stands out, or that have none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spike {
    /// The first of the stretch.
    pub step: usize,
    /// The last one. A stretch of several steps is of the weights more than of a batch: look at the step before it too.
    pub last: usize,
    /// Of the first step; `None` where it was skipped because its loss or gradient was no number.
    pub loss: Option<f64>,
    /// The running median of the steps before it.
    pub median: Option<f64>,
    /// How many robust standard deviations further above it than is usual.
    pub deviations: Option<f64>,
    pub learning_rate: Option<f64>,
    /// Before clipping.
    pub gradient_norm: Option<f64>,
    /// The largest loss of the stretch.
    pub highest: Option<f64>,
}

impl Spike {
    /// Whether a step belongs to it.
    pub fn has(&self, step: usize) -> bool {
        (self.step..=self.last).contains(&step)
    }
}

/// The newest numbers of a series, in order of time and of size.
struct Newest {
    most: usize,
    in_order: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Newest {
    fn new(most: usize) -> Self {
        Self { most, in_order: VecDeque::with_capacity(most), sorted: Vec::with_capacity(most) }
    }

    fn push(&mut self, value: f64) {
        let place = |sorted: &[f64], value: f64| sorted.partition_point(|other| other.total_cmp(&value).is_lt());
        if self.in_order.len() == self.most
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.sorted.remove(place(&self.sorted, oldest));
        }
        self.sorted.insert(place(&self.sorted, value), value);
        self.in_order.push_back(value);
    }

    /// The median; `None` while there are fewer than `least`.
    fn median(&self, least: usize) -> Option<f64> {
        (self.sorted.len() >= least).then(|| median(&self.sorted))
    }

    /// The robust standard deviation about a middle.
    fn deviation(&self, middle: f64) -> f64 {
        let mut distances: Vec<f64> = self.sorted.iter().map(|value| (value - middle).abs()).collect();
        distances.sort_unstable_by(f64::total_cmp);
        NORMAL * median(&distances)
    }
}

/// The median of sorted numbers, of which there are some.
fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

/// The spikes of a run so far, in order of steps, skipped steps among them.
pub fn spikes(history: &History) -> Vec<Spike> {
    let (mut near, mut distances) = (Newest::new(NEAR), Newest::new(WINDOW));
    let mut found: Vec<Spike> = Vec::new();
    for event in &history.steps {
        let value = event.loss.max(NONE).ln();
        if let Some(middle) = near.median(FIRST) {
            let distance = value - middle;
            if let Some(usual) = distances.median(FEWEST - FIRST) {
                let deviations = (distance - usual) / distances.deviation(usual).max(LEAST);
                if deviations > DEVIATIONS {
                    found.push(Spike {
                        step: event.step,
                        last: event.step,
                        loss: Some(event.loss),
                        median: Some(middle.exp()),
                        deviations: Some(deviations),
                        learning_rate: Some(event.learning_rate),
                        gradient_norm: Some(event.gradient_norm),
                        highest: Some(event.loss),
                    });
                }
            }
            distances.push(distance);
        }
        near.push(value);
    }
    found.extend(history.skipped.iter().map(|skipped| Spike {
        step: skipped.step,
        last: skipped.step,
        loss: None,
        median: None,
        deviations: None,
        learning_rate: None,
        gradient_norm: None,
        highest: None,
    }));
    found.sort_by_key(|spike| spike.step);
    joined(found)
}

/// Steps that follow each other are one spike.
fn joined(steps: Vec<Spike>) -> Vec<Spike> {
    let mut all: Vec<Spike> = Vec::new();
    for step in steps {
        match all.last_mut() {
            // Without a number and with one are two kinds of trouble.
            Some(spike) if spike.last + 1 == step.step && spike.loss.is_some() == step.loss.is_some() => {
                spike.last = step.last;
                spike.highest = spike.highest.zip(step.highest).map(|(one, other)| one.max(other));
            }
            _ => all.push(step),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{SkippedEvent, StepEvent};
    use crate::seeds::Stream;

    fn history(losses: impl IntoIterator<Item = f64>) -> History {
        let event = |(place, loss): (usize, f64)| StepEvent {
            step: place + 1,
            epoch: 0.0,
            loss,
            loss_label: None,
            loss_rationale: None,
            learning_rate: 1e-3,
            gradient_norm: 1.0,
            tokens: 0,
            tokens_per_second: 0.0,
        };
        History { steps: losses.into_iter().enumerate().map(event).collect(), ..History::default() }
    }

    /// The mean of the losses of a batch, each falling off as an exponential: what a small batch's noise is like.
    fn batch(stream: &mut Stream, size: usize) -> f64 {
        let each = (0..size).map(|_| -(1.0 - stream.uniform()).ln());
        each.sum::<f64>() / size as f64
    }

    fn steps(history: &History) -> Vec<usize> {
        spikes(history).iter().map(|spike| spike.step).collect()
    }

    #[test]
    fn noise_is_seldom_taken_for_a_spike() {
        let mut stream = Stream::new(1, &["noise"]);
        let falling = |place: usize| 0.2 + 4.0 * (-(place as f64) / 900.0).exp();
        let normal_noise = history((0..20_000).map(|place| falling(place) * (1.0 + 0.1 * stream.normal())));
        assert!(spikes(&normal_noise).len() <= 4, "{:?}", steps(&normal_noise));
        for size in [4, 8, 32] {
            let of_batches = history((0..20_000).map(|place| falling(place) * batch(&mut stream, size)));
            assert!(spikes(&of_batches).len() <= 4, "batches of {size}: {:?}", steps(&of_batches));
        }
        // The steep beginning of many runs, hundreds of times.
        let alarms = (0..300).map(|_| {
            let steep = |place: usize| 0.2 + 4.0 * (-(place as f64) / 25.0).exp();
            spikes(&history((0..200).map(|place| steep(place) * batch(&mut stream, 16)))).len()
        });
        assert!(alarms.sum::<usize>() <= 12);
        // A loss that stands still, one that only falls, and one that is 0.
        assert!(spikes(&history((0..500).map(|_| 1.5))).is_empty());
        assert!(spikes(&history((0..500).map(falling))).is_empty());
        assert!(spikes(&history((0..500).map(|_| 0.0))).is_empty());
    }

    #[test]
    fn what_stands_out_is_found_where_it_is() {
        let mut stream = Stream::new(2, &["noise"]);
        let mut losses: Vec<f64> = (0..900).map(|_| 1.0 + 0.05 * stream.normal()).collect();
        for place in [99, 399, 400, 401, 899] {
            losses[place] += 1.0;
        }
        let found = spikes(&history(losses.clone()));
        assert_eq!(
            found.iter().map(|spike| (spike.step, spike.last)).collect::<Vec<_>>(),
            [(100, 100), (400, 402), (900, 900)]
        );
        assert!((found[0].median.unwrap() - 1.0).abs() < 0.05 && found[0].deviations.unwrap() > 8.0);
        assert!(found[1].has(401) && !found[1].has(403));
        assert_eq!(found[1].highest, losses[399..402].iter().copied().reduce(f64::max));
        // In the middle of a steep fall as well.
        let mut falling: Vec<f64> =
            (0..120).map(|place| (4.0 * (-f64::from(place) / 25.0).exp() + 0.5) * batch(&mut stream, 64)).collect();
        falling[45] *= 2.5;
        assert_eq!(steps(&history(falling)), [46]);
        // A new level is news only until it is what is usual.
        losses[600..800].iter_mut().for_each(|loss| *loss += 2.0);
        let found = spikes(&history(losses));
        let level = found.iter().find(|spike| spike.step == 601).unwrap();
        assert!(level.last < 601 + NEAR, "{level:?}");
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn the_first_steps_are_compared_with_nothing() {
        let mut losses = vec![1.0; FEWEST];
        losses[FEWEST - 1] = 50.0;
        assert!(spikes(&history(losses.clone())).is_empty());
        losses.push(50.0);
        assert_eq!(steps(&history(losses)), [FEWEST + 1]);
        assert!(spikes(&History::default()).is_empty());
    }

    #[test]
    fn steps_without_a_number_are_spikes_too() {
        let mut history = history((0..60).map(|_| 1.0));
        history.steps.retain(|event| ![31, 32].contains(&event.step));
        let skipped = |step| SkippedEvent { step, what: "loss".into(), examples: vec![] };
        history.skipped = vec![skipped(31), skipped(32)];
        let found = spikes(&history);
        assert_eq!(found.iter().map(|spike| (spike.step, spike.last)).collect::<Vec<_>>(), [(31, 32)]);
        assert_eq!(found[0].loss, None);
    }
}
