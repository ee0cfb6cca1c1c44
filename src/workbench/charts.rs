//! What the charts of the training pane show, as plain data: along which axis, how smooth, which part; and the curves of
//! every run, ready to be drawn at any zoom.

use std::collections::{BTreeMap, HashMap};

use ratatui::layout::Rect;

use serde::{Deserialize, Serialize};

use super::layout;
use super::state::State;
use super::widgets::chart;
use super::widgets::chart::ticks::nice;
use crate::runs::Run;
use crate::runs::curves::{Along, Axis, Curves};
use crate::runs::spec::ROLE;
use crate::studies::board::{Same, same};

/// Forks of forks that are followed back: more than anybody makes, and an end where a file names itself as its parent.
const GENERATIONS: usize = 64;

/// The charts of the training pane.
#[derive(Default)]
pub struct ChartsView {
    pub axis: Axis,
    pub smoothing: Smoothing,
    /// The part of the horizontal axis that is shown; `None` for all of it.
    pub window: Option<(f64, f64)>,
    /// What is shown beside the losses, where there is room.
    pub metric: Metric,
    /// Whether runs that differ only in their seeds are shown as one.
    pub has_bands: bool,
    /// By run.
    known: HashMap<String, Known>,
}

/// What is known of a run's curves.
struct Known {
    curves: Curves,
    same: Same,
}

/// How strongly lines are smoothed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Smoothing {
    None,
    #[default]
    Light,
    Strong,
}

impl Smoothing {
    pub fn next(self) -> Self {
        match self {
            Self::None => Self::Light,
            Self::Light => Self::Strong,
            Self::Strong => Self::None,
        }
    }

    /// Steps in which a weight of the moving average halves, for a run of so many steps. It depends on the run and not on
    /// what is shown of it, so that a line is the same line however near one looks.
    pub fn half_life(self, steps: usize) -> Option<f64> {
        let share = match self {
            Self::None => return None,
            Self::Light => 0.01,
            Self::Strong => 0.05,
        };
        Some(nice(steps as f64 * share).max(1.0))
    }
}

/// What is shown beside the losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    #[default]
    GradientNorm,
    LearningRate,
    TokensPerSecond,
    Accuracy,
    /// Of the label's tokens: the exponential of their mean loss.
    Perplexity,
}

impl Metric {
    pub fn next(self) -> Self {
        match self {
            Self::GradientNorm => Self::LearningRate,
            Self::LearningRate => Self::TokensPerSecond,
            Self::TokensPerSecond => Self::Accuracy,
            Self::Accuracy => Self::Perplexity,
            Self::Perplexity => Self::GradientNorm,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::GradientNorm => "gradient norm",
            Self::LearningRate => "learning rate",
            Self::TokensPerSecond => "tokens per second",
            Self::Accuracy => "accuracy in %",
            Self::Perplexity => "label perplexity",
        }
    }
}

impl ChartsView {
    /// Takes in a run that was found, or found anew.
    pub fn take(&mut self, run: &Run) {
        self.known.insert(run.id.clone(), Known { curves: Curves::of(&run.history), same: same(run) });
    }

    /// Takes in what an entry of a run's journal changed.
    pub fn follow(&mut self, run: &Run) {
        if let Some(known) = self.known.get_mut(&run.id) {
            known.curves.follow(&run.history);
        }
    }

    pub fn forget(&mut self, id: &str) {
        self.known.remove(id);
    }

    pub fn curves(&self, id: &str) -> Option<&Curves> {
        self.known.get(id).map(|known| &known.curves)
    }

    /// The runs that differ from one only in their seeds, itself among them, of several with the same seeds the newest.
    pub fn seeds<'a>(&self, runs: &'a [Run], of: &'a Run) -> Vec<&'a Run> {
        let Some(known) = self.known.get(&of.id) else { return vec![of] };
        let like = |run: &&Run| {
            let is_same = self.known.get(&run.id).is_some_and(|other| other.same == known.same);
            is_same && run.spec.tags.get(ROLE) == of.spec.tags.get(ROLE) && !run.history.steps.is_empty()
        };
        let key = |run: &Run| {
            let seed = run.spec.seed;
            (seed.init, seed.order, seed.ablation, run.spec.dataset.clone())
        };
        let newest: BTreeMap<_, &Run> = runs.iter().filter(like).map(|run| (key(run), run)).collect();
        let mut found: Vec<&Run> = newest.into_values().collect();
        // What is selected is never left out for another with its seeds.
        found.retain(|run| run.id == of.id || key(run) != key(of));
        if !found.iter().any(|run| run.id == of.id) {
            found.push(of);
        }
        found
    }
}

/// The run that a run was forked from, and at which step.
pub fn origin(run: &Run) -> Option<(&str, usize)> {
    run.spec.record.as_ref()?.forked_from.as_ref().map(|(id, step)| (id.as_str(), *step))
}

/// Those that a run goes back to, nearest first, each with the step at which it was left.
pub fn lineage<'a>(state: &'a State, run: &'a Run) -> Vec<(&'a Run, usize)> {
    let mut found = Vec::new();
    let mut at = run;
    while let Some((parent, step)) =
        origin(at).and_then(|(id, step)| Some((state.runs.find(id)?, step))).filter(|_| found.len() < GENERATIONS)
    {
        found.push((parent, step));
        at = parent;
    }
    found
}

/// Where the steps of a run stand on the present axis. A fork's time goes on where its parent's was.
pub fn along<'a>(state: &'a State, run: &'a Run) -> Along<'a> {
    let axis = state.charts.axis;
    let before = if axis == Axis::Time { lineage(state, run) } else { vec![] };
    let worked = |(parent, step): &(&Run, usize)| Along::new(parent, axis, 0.0).of_step(*step);
    Along::new(run, axis, before.iter().map(worked).sum())
}

/// The runs in the chart: the selected one, and those that are overlaid.
pub fn shown(state: &State) -> impl Iterator<Item = &Run> {
    let overlaid = |run: &&Run| state.runs.overlaid.contains(&run.id);
    let selected = state.runs.selected();
    let others = state.runs.runs.iter().filter(overlaid).filter(move |run| selected.is_none_or(|own| own.id != run.id));
    selected.into_iter().chain(others)
}

/// All of the horizontal axis.
pub fn whole(state: &State) -> (f64, f64) {
    let end = shown(state).map(|run| along(state, run).end()).fold(0.0, f64::max);
    (0.0, if end > 0.0 { end } else { 1.0 })
}

/// The part of it that is shown.
pub fn window(state: &State) -> (f64, f64) {
    state.charts.window.unwrap_or_else(|| whole(state))
}

/// The areas of the losses' chart and of the other one, if there is room for two.
pub fn parts(state: &State, inside: Rect, area: Rect) -> (Rect, Option<Rect>) {
    let has_room = state.zoomed || (inside.width >= 100 && inside.height >= 30);
    if has_room && inside.width >= 76 {
        let left = (area.width - 1) / 2;
        let right = Rect { x: area.x + left + 1, width: area.width - left - 1, ..area };
        (Rect { width: left, ..area }, Some(right))
    } else if has_room && inside.height >= 24 {
        let top = area.height.div_ceil(2);
        let below = Rect { y: area.y + top, height: area.height - top, ..area };
        (Rect { height: top, ..area }, Some(below))
    } else {
        (area, None)
    }
}

/// Columns of dots of the losses' chart: what one step of the cursor is where they hold several steps.
pub fn columns(state: &State) -> usize {
    let Some(inside) = layout::training_inside(state) else { return 0 };
    let (losses, _) = parts(state, inside, inside);
    chart::columns(losses, state.display.glyphs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_life_is_a_round_part_of_the_run() {
        let lives = [40, 800, 10_000_000].map(|steps| Smoothing::Light.half_life(steps).unwrap());
        assert_eq!(lives, [1.0, 10.0, 100_000.0]);
        assert_eq!((Smoothing::Strong.half_life(800), Smoothing::None.half_life(800)), (Some(50.0), None));
    }
}
