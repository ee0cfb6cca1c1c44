//! Batches put together ahead of the steps that read them, by a thread of its own.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::order::Order;
use super::settings::TrainingSettings;
use crate::rationale::{Batch, Encoded};

/// Steps whose batches wait ready.
const AHEAD: usize = 2;

/// Gives an example, by its place, as it is in an epoch; `None` where it is as it was in the first. The lengths are those
/// of the first epoch, by which examples share batches.
pub type Redraw = Arc<dyn Fn(usize, usize) -> Option<Encoded> + Send + Sync>;

/// The batches of each step, in the order of steps.
pub struct Feed {
    examples: Arc<[Encoded]>,
    redraw: Option<Redraw>,
    order: Order,
    batch_size: usize,
    /// Steps in all; nothing is put together beyond them.
    steps: usize,
    /// Batches on their way, and the step whose batches come next.
    coming: Option<(usize, Receiver<Vec<Batch>>)>,
}

impl Feed {
    pub fn new(examples: Arc<[Encoded]>, order: Order, batch_size: usize, steps: usize) -> Self {
        Self { examples, redraw: None, order, batch_size, steps, coming: None }
    }

    /// What a run of these settings is fed, and the order that it follows.
    pub fn of(examples: Arc<[Encoded]>, settings: &TrainingSettings, order_seed: u64) -> (Self, Order) {
        let lengths = examples.iter().map(Encoded::longest).collect();
        let order = Order::new(lengths, settings.examples_per_step(), order_seed, settings.bucket);
        let steps = settings.total_steps(examples.len());
        (Self::new(examples, order.clone(), settings.batch_size, steps), order)
    }

    /// Steps in all.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The examples of a step, 0 for the first, in the order of its batches: the place of each among all, and how it is
    /// read there.
    pub fn examples(&mut self, step: usize) -> Vec<(usize, Encoded)> {
        let places = self.order.step(step).to_vec();
        let chosen = chosen(&self.examples, self.redraw.as_ref(), &mut self.order, step);
        places.into_iter().zip(chosen.into_iter().map(Cow::into_owned)).collect()
    }

    /// Asks for the examples anew in each epoch.
    pub fn redrawing(self, redraw: Redraw) -> Self {
        Self { redraw: Some(redraw), coming: None, ..self }
    }

    /// The batches of a step, 0 for the first. They are ready when steps are asked for one after the other; any other step
    /// begins anew from there.
    pub fn step(&mut self, step: usize) -> Vec<Batch> {
        if self.coming.as_ref().is_none_or(|(next, _)| *next != step) {
            self.coming = self.begin(step);
        }
        let ready = self.coming.as_ref().and_then(|(_, coming)| coming.recv().ok());
        match (ready, &mut self.coming) {
            (Some(batches), Some((next, _))) => {
                *next += 1;
                batches
            }
            // A system that gives no more threads, or a step beyond the last: it is slower, and all the same.
            _ => {
                self.coming = None;
                batches(&self.examples, self.redraw.as_ref(), &mut self.order, step, self.batch_size)
            }
        }
    }

    fn begin(&self, first: usize) -> Option<(usize, Receiver<Vec<Batch>>)> {
        let (sender, receiver) = sync_channel(AHEAD);
        let (examples, redraw, mut order, batch_size, steps) =
            (self.examples.clone(), self.redraw.clone(), self.order.clone(), self.batch_size, self.steps);
        let work = move || {
            for step in first..steps {
                // It fails when nobody wants them any more.
                if sender.send(batches(&examples, redraw.as_ref(), &mut order, step, batch_size)).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("batches".into()).spawn(work).ok().map(|_| (first, receiver))
    }
}

/// The examples of a step, as they are in its epoch.
fn chosen<'a>(
    examples: &'a [Encoded],
    redraw: Option<&Redraw>,
    order: &mut Order,
    step: usize,
) -> Vec<Cow<'a, Encoded>> {
    let epoch = step / order.steps_per_epoch();
    let as_read = |place: &usize| match redraw.and_then(|redraw| redraw(epoch, *place)) {
        Some(own) => Cow::Owned(own),
        None => Cow::Borrowed(&examples[*place]),
    };
    order.step(step).iter().map(as_read).collect()
}

fn batches(
    examples: &[Encoded],
    redraw: Option<&Redraw>,
    order: &mut Order,
    step: usize,
    batch_size: usize,
) -> Vec<Batch> {
    let chosen = chosen(examples, redraw, order, step);
    let chosen: Vec<&Encoded> = chosen.iter().map(AsRef::as_ref).collect();
    chosen.chunks(batch_size).map(Batch::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> Feed {
        let example = |length: usize| Encoded { ids: vec![length as u32; length + 1], ..Encoded::default() };
        let examples: Arc<[Encoded]> = (1..=50).map(example).collect();
        let order = Order::new((2..=51).collect(), 8, 3, true);
        Feed::new(examples, order, 4, 21)
    }

    #[test]
    fn what_is_drawn_anew_depends_on_the_epoch_and_the_example_alone() {
        // The first token says the example, the second the epoch.
        let redraw: Redraw = Arc::new(|epoch, place| {
            (epoch > 0).then(|| Encoded { ids: vec![place as u32 + 1, epoch as u32, 0], ..Encoded::default() })
        });
        let mut straight = feed().redrawing(redraw.clone());
        let all: Vec<Vec<Batch>> = (0..21).map(|step| straight.step(step)).collect();
        let mut plain = feed();
        assert_eq!(all[..7], (0..7).map(|step| plain.step(step)).collect::<Vec<_>>(), "seven steps are an epoch");
        let mut order = plain.order.clone();
        for (step, batches) in all.iter().enumerate().skip(7) {
            let rows = batches.iter().flat_map(|batch| batch.ids.chunks(batch.time));
            let seen: Vec<(usize, usize)> = rows.map(|row| (row[0] as usize - 1, row[1] as usize)).collect();
            let want: Vec<(usize, usize)> = order.step(step).iter().map(|place| (*place, step / 7)).collect();
            assert_eq!(seen, want);
        }
        for step in [15, 8, 20, 3] {
            assert_eq!(feed().redrawing(redraw.clone()).step(step), all[step], "resumed at step {step}");
        }
    }

    #[test]
    fn the_examples_of_a_step_are_those_of_its_batches() {
        let redraw: Redraw = Arc::new(|epoch, place| {
            (epoch > 0).then(|| Encoded { ids: vec![place as u32 + 1, epoch as u32, 0], ..Encoded::default() })
        });
        let mut feed = feed().redrawing(redraw);
        assert_eq!(feed.steps(), 21);
        for step in 0..21 {
            let examples = feed.examples(step);
            let read: Vec<&Encoded> = examples.iter().map(|(_, example)| example).collect();
            assert_eq!(read.chunks(4).map(Batch::of).collect::<Vec<_>>(), feed.step(step), "step {step}");
            assert!(examples.iter().all(|(place, example)| example.ids[0] as usize == place + 1));
        }
    }

    #[test]
    fn every_step_gets_its_own_batches_however_it_is_reached() {
        let mut straight = feed();
        let all: Vec<Vec<Batch>> = (0..21).map(|step| straight.step(step)).collect();
        let mut order = straight.order.clone();
        for (step, batches) in all.iter().enumerate() {
            let seen: Vec<usize> =
                batches.iter().flat_map(|batch| batch.ids.chunks(batch.time)).map(|row| row[0] as usize - 1).collect();
            assert_eq!(seen, order.step(step));
        }
        // Back to a checkpoint, on from there, past a step that is left out, and beyond the end.
        let mut feed = feed();
        for step in [5, 6, 2, 3, 4, 6, 20, 21, 0] {
            let want = if step == 21 { batches(&feed.examples, None, &mut order, 21, 4) } else { all[step].clone() };
            assert_eq!(feed.step(step), want, "step {step}");
        }
    }
}
