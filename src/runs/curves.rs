//! The curves of a run, ready to be drawn at any zoom: pyramids over the numbers of its steps, which grow with its journal,
//! and where a step stands on the axes that a curve can be drawn along.

use serde::{Deserialize, Serialize};

use super::Run;
use crate::curve::{Pyramid, Trace};
use crate::journal::{History, StepEvent};

/// A number that every step has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    Label,
    Rationale,
    Total,
    GradientNorm,
    LearningRate,
    TokensPerSecond,
}

impl Quantity {
    pub const ALL: [Self; 6] =
        [Self::Label, Self::Rationale, Self::Total, Self::GradientNorm, Self::LearningRate, Self::TokensPerSecond];

    /// Its value at a step; no number where the batch had no token of the role.
    pub fn of(self, step: &StepEvent) -> f64 {
        match self {
            Self::Label => step.loss_label.unwrap_or(f64::NAN),
            Self::Rationale => step.loss_rationale.unwrap_or(f64::NAN),
            Self::Total => step.loss,
            Self::GradientNorm => step.gradient_norm,
            Self::LearningRate => step.learning_rate,
            Self::TokensPerSecond => step.tokens_per_second,
        }
    }
}

/// What the horizontal axis counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Axis {
    #[default]
    Steps,
    /// Seconds at work: without pauses, and without what a resume voided.
    Time,
    /// Tokens read, padding not counted.
    Tokens,
    /// Examples read.
    Examples,
}

impl Axis {
    pub fn next(self) -> Self {
        match self {
            Self::Steps => Self::Time,
            Self::Time => Self::Tokens,
            Self::Tokens => Self::Examples,
            Self::Examples => Self::Steps,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Time => "time",
            Self::Tokens => "tokens",
            Self::Examples => "examples",
        }
    }
}

/// The pyramids of a run.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    pyramids: [Pyramid; Quantity::ALL.len()],
}

impl Curves {
    pub fn of(history: &History) -> Self {
        let mut curves = Self::default();
        curves.follow(history);
        curves
    }

    /// Takes in what a journal entry changed. It must see the history after every entry: a resume that voided steps is
    /// known by there being fewer of them.
    pub fn follow(&mut self, history: &History) {
        for quantity in Quantity::ALL {
            let value = |place: usize| quantity.of(&history.steps[place]);
            let pyramid = &mut self.pyramids[quantity as usize];
            pyramid.truncate(history.steps.len(), value);
            (pyramid.len()..history.steps.len()).for_each(|place| pyramid.push(value(place)));
        }
    }

    /// Steps that were taken in.
    pub fn len(&self) -> usize {
        self.pyramids[0].len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of the curves along an axis, up to a step where one is given.
    pub fn trace<'a>(
        &'a self,
        along: Along<'a>,
        quantity: Quantity,
        until: Option<usize>,
        half_life: Option<f64>,
    ) -> Trace<'a> {
        let steps = &along.history.steps;
        Trace {
            pyramid: &self.pyramids[quantity as usize],
            points: until.map_or(steps.len(), |until| along.after(until)).min(self.len()),
            x: Box::new(move |place| along.x(place)),
            value: Box::new(move |place| quantity.of(&steps[place])),
            half_life,
            shown: |value| value,
        }
    }
}

/// Where the steps of a run stand on an axis.
#[derive(Clone, Copy)]
pub struct Along<'a> {
    history: &'a History,
    axis: Axis,
    /// Examples of a step.
    examples: usize,
    /// Seconds that were worked before the run's own first step, by those that it was forked from.
    begun: f64,
}

impl<'a> Along<'a> {
    pub fn new(run: &'a Run, axis: Axis, begun: f64) -> Self {
        Self { history: &run.history, axis, examples: run.spec.training.examples_per_step(), begun }
    }

    /// Where a step stands, by its place among the steps.
    fn x(&self, place: usize) -> f64 {
        let step = &self.history.steps[place];
        match self.axis {
            Axis::Steps => step.step as f64,
            Axis::Time => self.begun + self.history.seconds.get(place).copied().unwrap_or(0.0),
            Axis::Tokens => step.tokens as f64,
            Axis::Examples => (step.step * self.examples) as f64,
        }
    }

    /// The place after the last step that is not after `step`.
    fn after(&self, step: usize) -> usize {
        self.history.steps.partition_point(|event| event.step <= step)
    }

    /// Where a step stands that may have been skipped: where the step before it does.
    pub fn of_step(&self, step: usize) -> f64 {
        match self.axis {
            Axis::Steps => step as f64,
            Axis::Examples => (step * self.examples) as f64,
            Axis::Time | Axis::Tokens => self.after(step).checked_sub(1).map_or(self.begun, |place| self.x(place)),
        }
    }

    /// The first step at `x` or after it.
    pub fn step_from(&self, x: f64) -> Option<usize> {
        let steps = &self.history.steps;
        steps.get(self.first_from(x)).map(|event| event.step)
    }

    /// The last step before `x`.
    pub fn step_before(&self, x: f64) -> Option<usize> {
        self.first_from(x).checked_sub(1).map(|place| self.history.steps[place].step)
    }

    fn first_from(&self, x: f64) -> usize {
        let (mut low, mut high) = (0, self.history.steps.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.x(middle) < x { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Where the newest step stands.
    pub fn last(&self) -> f64 {
        self.of_step(self.history.step())
    }

    /// Where the run will end, as far as that is known.
    pub fn end(&self) -> f64 {
        match self.axis {
            Axis::Steps | Axis::Examples => self.of_step(self.history.steps_planned.max(self.history.step())),
            Axis::Time | Axis::Tokens => self.last(),
        }
    }

    /// The steps at which epochs end, within a stretch of steps: at most `most` of them, evenly chosen.
    pub fn epochs(&self, from: usize, to: usize, most: usize) -> Vec<usize> {
        let steps = &self.history.steps[..self.after(to)];
        let first = steps.partition_point(|event| event.step < from);
        let (Some(begin), Some(end)) = (steps.get(first), steps.last()) else { return vec![] };
        let (begin, end) = (begin.epoch.ceil().max(1.0) as usize, end.epoch.floor() as usize);
        let apart = (end.saturating_sub(begin) / most.max(1) + 1).next_power_of_two();
        let ended = |epoch: usize| steps[steps.partition_point(|event| event.epoch < epoch as f64)].step;
        (begin..=end).filter(|epoch| epoch.is_multiple_of(apart)).map(ended).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::Columns;
    use crate::journal::{Entry, Event, RunState};
    use crate::runs::RunSpec;

    fn step(step: usize, loss: f64) -> Event {
        Event::Step(StepEvent {
            step,
            epoch: step as f64 / 10.0,
            loss,
            loss_label: Some(loss),
            loss_rationale: None,
            learning_rate: 1e-3,
            gradient_norm: 0.9,
            tokens: 70 * step as u64,
            tokens_per_second: 1e4,
        })
    }

    fn run(events: impl IntoIterator<Item = Event>) -> (Run, Curves) {
        let mut run = Run {
            id: "r".into(),
            spec: RunSpec::preset("toy"),
            history: History::default(),
            state: RunState::Running,
            has_checkpoint: false,
        };
        let mut curves = Curves::default();
        for (seq, event) in events.into_iter().enumerate() {
            run.history.apply(Entry { seq: seq as u64, time: String::new(), event });
            curves.follow(&run.history);
        }
        (run, curves)
    }

    #[test]
    fn a_resumed_run_has_one_curve_without_overlap() {
        let before = (1..=40).map(|number| step(number, 1.0));
        let again = (21..=60).map(|number| step(number, 2.0));
        let (run, curves) = run(before.chain([Event::Resume { step: 20 }]).chain(again));
        let trace = curves.trace(Along::new(&run, Axis::Steps, 0.0), Quantity::Label, None, None);
        let columns = trace.columns((1.0, 60.0), 60);
        let values: Vec<(f64, usize)> = columns.iter().flatten().map(|column| (column.line, column.points)).collect();
        assert_eq!(values[..20], [(1.0, 1); 20]);
        assert_eq!(values[20..], [(2.0, 1); 40]);
        let whole = Curves::of(&run.history);
        assert_eq!((whole.len(), curves.len()), (60, 60));
        // As short as a part of it that another run was forked from.
        let part = curves.trace(Along::new(&run, Axis::Steps, 0.0), Quantity::Label, Some(30), None);
        assert_eq!((part.points, part.at(99.0)), (30, Some(2.0)));
        let rationale = curves.trace(Along::new(&run, Axis::Steps, 0.0), Quantity::Rationale, None, None);
        assert!(rationale.columns((1.0, 60.0), 60).iter().all(Option::is_none));
    }

    #[test]
    fn a_step_stands_somewhere_on_every_axis() {
        let (run, _) = run((1..=50).filter(|number| *number != 30).map(|number| step(number, 1.0)));
        let along = |axis| Along::new(&run, axis, 0.0);
        let examples = run.spec.training.examples_per_step() as f64;
        assert_eq!(along(Axis::Steps).of_step(30), 30.0);
        assert_eq!(along(Axis::Examples).of_step(30), 30.0 * examples);
        assert_eq!(along(Axis::Tokens).of_step(30), 29.0 * 70.0, "a skipped step reads nothing");
        assert_eq!((along(Axis::Steps).step_from(30.0), along(Axis::Steps).step_before(30.0)), (Some(31), Some(29)));
        assert_eq!((along(Axis::Tokens).step_from(1e9), along(Axis::Tokens).step_before(0.0)), (None, None));
        assert_eq!(along(Axis::Steps).epochs(1, 50, 9), [10, 20, 31, 40, 50]);
        assert_eq!(along(Axis::Steps).epochs(11, 49, 2), [20, 40]);
    }
}
