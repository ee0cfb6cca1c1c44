//! The loop: one optimiser step at a time, so that whoever runs it can pause, evaluate and save in between.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use candle_core::{Tensor, Var};

use super::feed::{Feed, Redraw};
use super::on_device::{Measured, totals};
use super::optimizer::{AdamW, AdamWSettings, global_norm};
use super::order::Order;
use super::schedule::Schedule;
use super::settings::{Reduction, TrainingSettings};
use super::{TrainingError, words};
use crate::journal::StepEvent;
use crate::rationale::batch::Mean;
use crate::rationale::{Batch, Encoded, Role};
use crate::seeds::Stream;
use crate::student::ops::CrossEntropy;
use crate::student::{Dropout, Student, Supervised, Teacher};

/// A student on its way through its examples.
pub struct Trainer {
    pub student: Student,
    pub(super) optimizer: AdamW,
    examples: Arc<[Encoded]>,
    settings: TrainingSettings,
    schedule: Schedule,
    order: Order,
    feed: Feed,
    teacher: Option<Teacher>,
    /// Also seeds the dropout.
    order_seed: u64,
    /// Steps taken.
    pub(super) step: usize,
    steps: usize,
    /// Of those, the ones that changed nothing.
    pub(super) skipped: usize,
    /// Tokens read, padding not counted.
    pub(super) tokens: u64,
    speed: Speed,
}

impl Trainer {
    pub fn new(
        student: Student,
        examples: Arc<[Encoded]>,
        settings: TrainingSettings,
        order_seed: u64,
    ) -> Result<Self, TrainingError> {
        if examples.is_empty() {
            return Err(TrainingError::NoExamples);
        }
        let adamw = AdamWSettings {
            beta1: settings.beta1,
            beta2: settings.beta2,
            epsilon: settings.epsilon,
            weight_decay: settings.weight_decay,
            clip: settings.clip,
        };
        let (feed, order) = Feed::of(examples.clone(), &settings, order_seed);
        let steps = feed.steps();
        Ok(Self {
            optimizer: AdamW::new(&student.parameters, adamw)?.with_ops(student.decoder.ops())?,
            schedule: settings.learning_rates(steps),
            feed,
            teacher: None,
            order,
            order_seed,
            step: 0,
            skipped: 0,
            steps,
            tokens: 0,
            speed: Speed::default(),
            student,
            examples,
            settings,
        })
    }

    /// Asks for the examples anew in each epoch. Their order goes by the lengths that they had at first.
    pub fn redrawing(self, redraw: Redraw) -> Self {
        Self { feed: self.feed.redrawing(redraw), ..self }
    }

    /// Learns from a teacher's probabilities too.
    pub fn learning_from(self, teacher: Teacher) -> Self {
        Self { teacher: Some(teacher), ..self }
    }

    /// Steps taken.
    pub fn steps_done(&self) -> usize {
        self.step
    }

    /// Steps in all.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Examples in an epoch.
    pub fn examples(&self) -> usize {
        self.examples.len()
    }

    pub fn steps_per_epoch(&self) -> usize {
        self.order.steps_per_epoch()
    }

    /// Epochs seen, with a fraction.
    pub fn epoch(&self) -> f64 {
        self.step as f64 / self.steps_per_epoch() as f64
    }

    pub(super) fn order_seed(&self) -> u64 {
        self.order_seed
    }

    pub fn is_finished(&self) -> bool {
        self.step >= self.steps
    }

    /// Takes one step. Nothing of the student has changed when it fails.
    pub fn step(&mut self) -> Result<StepEvent, TrainingError> {
        // A device that is gone may be told of by a panic; the step and its examples are worth knowing all the same.
        let taken = catch_unwind(AssertUnwindSafe(|| self.take_step()))
            .unwrap_or_else(|panic| Err(candle_core::Error::Msg(words(&*panic)).into()));
        taken.map_err(|problem| TrainingError::Step {
            step: self.step + 1,
            examples: self.order_of(self.step),
            problem: Box::new(problem),
        })
    }

    /// The ids of the examples of the step after `step` steps.
    pub fn order_of(&mut self, step: usize) -> Vec<String> {
        self.order.step(step).iter().map(|place| self.examples[*place].id.clone()).collect()
    }

    /// Goes past the next step without taking it.
    pub fn skip(&mut self) {
        self.step += 1;
        self.skipped += 1;
    }

    fn take_step(&mut self) -> Result<StepEvent, TrainingError> {
        let started = Instant::now();
        let batches = self.feed.step(self.step);
        let scales = self.scales(&batches);

        let mut results = Vec::with_capacity(batches.len());
        let mut gradients: Vec<Tensor> = Vec::new();
        for (place, batch) in batches.iter().enumerate() {
            let scaled = batch.weights.iter().zip(&batch.second);
            let weights: Vec<f32> = scaled.map(|(weight, second)| weight * scales[usize::from(*second)]).collect();
            let supervised = Supervised {
                ids: &batch.ids,
                batch: batch.size,
                rows: &batch.rows,
                targets: &batch.targets,
                weights: &weights,
                teacher: self.teacher.as_ref(),
            };
            let working: Vec<&Var> = self.student.working().map(|(_, variable)| variable).collect();
            let decoder = &self.student.decoder;
            let (result, found) =
                decoder.loss_with_gradients(&supervised, self.dropout(place), &working, self.settings.recompute)?;
            results.push(result);
            self.add_gradients(&mut gradients, found)?;
        }
        let learning_rate = self.schedule.rate(self.step + 1);
        let (measured, gradient_norm) = self.take(&results, &gradients, learning_rate)?;
        let (mut label, mut rationale) = (Mean::default(), Mean::default());
        for (batch, losses) in batches.iter().zip(&measured.losses) {
            label = label.and(batch.mean_loss(Role::Label, losses));
            rationale = rationale.and(batch.mean_loss(Role::Rationale, losses));
        }

        let tokens: usize = batches.iter().map(|batch| batch.tokens).sum();
        self.step += 1;
        self.tokens += tokens as u64;
        Ok(StepEvent {
            step: self.step,
            epoch: self.epoch(),
            loss: measured.loss,
            loss_label: label.value(),
            loss_rationale: rationale.value(),
            learning_rate,
            gradient_norm,
            tokens: self.tokens,
            tokens_per_second: self.speed.update(tokens, started),
        })
    }

    /// Changes the weights, unless the step can't be taken. Gives what it found, and the gradients' norm. On a GPU all is
    /// asked for before anything is read.
    fn take(
        &mut self,
        results: &[CrossEntropy],
        gradients: &[Tensor],
        learning_rate: f64,
    ) -> Result<(Measured, f64), TrainingError> {
        if self.optimizer.is_on_device() {
            let verdict = self.optimizer.step_on_device(gradients, &totals(results)?, learning_rate)?;
            self.student.renew_copies()?;
            let measured = Measured::read(results, Some(&verdict))?;
            return match measured.verdict {
                Some((norm, true)) => Ok((measured, norm)),
                verdict => {
                    self.optimizer.take_back();
                    let of_gradient = measured.loss.is_finite() && verdict.is_some_and(|(norm, _)| !norm.is_finite());
                    Err(TrainingError::Diverged { what: if of_gradient { "gradient" } else { "loss" } })
                }
            };
        }
        let measured = Measured::read(results, None)?;
        if !measured.loss.is_finite() {
            return Err(TrainingError::Diverged { what: "loss" });
        }
        let gradient_norm = global_norm(gradients)?;
        if !gradient_norm.is_finite() {
            return Err(TrainingError::Diverged { what: "gradient" });
        }
        self.optimizer.step(gradients, gradient_norm, learning_rate)?;
        self.student.renew_copies()?;
        Ok((measured, gradient_norm))
    }

    /// What the losses of a step are multiplied by, those of first and of second sequences.
    fn scales(&self, batches: &[Batch]) -> [f32; 2] {
        let of_all = |divisor: f64| [(1.0 / divisor.max(f64::MIN_POSITIVE)) as f32; 2];
        match self.settings.reduction {
            Reduction::ExampleSum => of_all(batches.iter().map(|batch| batch.examples as f64).sum()),
            Reduction::TokenMean => {
                of_all(batches.iter().flat_map(|batch| &batch.weights).map(|weight| f64::from(*weight)).sum())
            }
            Reduction::TaskMean => [false, true].map(|task| {
                let own = batches.iter().flat_map(|batch| &batch.second).filter(|second| **second == task);
                1.0 / own.count().max(1) as f32
            }),
        }
    }

    /// The dropout of a batch: a function of the seed, the step and the batch's place in it.
    fn dropout(&self, place: usize) -> Option<Dropout> {
        let adapters = self.student.adapted.as_ref().map_or(0.0, |adapted| adapted.settings.dropout);
        let rates = self.settings.dropout.rates(self.student.dropout());
        let key = Stream::new(self.order_seed, &["dropout", &self.step.to_string(), &place.to_string()]).bits() as u32;
        (rates != Default::default() || adapters > 0.0).then_some(Dropout { rates, adapters, key })
    }

    /// Adds the gradient of every parameter. Candle leaves a gradient out, without an error, where an operation has no
    /// backward pass; a parameter that would silently stay as it is must stop the run.
    fn add_gradients(&self, sums: &mut Vec<Tensor>, found: Vec<Option<Tensor>>) -> Result<(), TrainingError> {
        let first = sums.is_empty();
        for (place, (gradient, (name, _))) in found.into_iter().zip(self.student.working()).enumerate() {
            let gradient = gradient.ok_or_else(|| TrainingError::NoGradient { name: name.into() })?;
            let gradient = gradient.to_dtype(candle_core::DType::F32)?;
            if first {
                sums.push(gradient);
            } else {
                sums[place] = (&sums[place] + gradient)?;
            }
        }
        Ok(())
    }
}

/// Tokens a second, smoothed over the last steps.
#[derive(Default)]
struct Speed {
    tokens_per_second: f64,
}

impl Speed {
    fn update(&mut self, tokens: usize, started: Instant) -> f64 {
        let now = tokens as f64 / started.elapsed().as_secs_f64().max(1e-9);
        self.tokens_per_second =
            if self.tokens_per_second == 0.0 { now } else { 0.9 * self.tokens_per_second + 0.1 * now };
        self.tokens_per_second
    }
}
