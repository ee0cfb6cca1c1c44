//! Looking through lenses, and training them.

use std::ops::ControlFlow;

use super::Services;
use super::work::Work;
use crate::attribution::lens::{Progress, Settings};
use crate::runs::lenses::{self, Wanted, Which};
use crate::runs::{RunDirectory, prepare};
use crate::training::checkpoint;
use crate::workbench::attribution::Looked;
use crate::workbench::lens::SeenThrough;
use crate::workbench::message::LensRequest;

impl Services {
    pub(super) fn look(&self, request: &LensRequest, work: &Work) -> anyhow::Result<SeenThrough> {
        let LensRequest { looked, dataset, split, row, example, which, .. } = request;
        let dataset = self.dataset(dataset)?;
        let student = self.student(looked, &dataset)?;
        let trained = &student.trained;
        let lens = lenses::load(trained, *which)?;
        let mut on_progress = |done, all| {
            work.reached(done, Some(all));
            if work.is_unwanted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let split = dataset.split(split)?;
        let grid = lenses::look(&self.project, trained, &lens, (&split, *row), example, &mut on_progress)?;
        Ok(SeenThrough {
            run: looked.clone(),
            which: *which,
            step: checkpoint::step_of(&trained.checkpoint).unwrap_or(0),
            example: example.clone(),
            grid,
            has_tuned: lenses::is_trained(&trained.run, &trained.checkpoint, Which::Tuned),
        })
    }

    /// Trains the tuned lens of a run's student on the rows that the run was trained on. Asking for another student's lens
    /// does not end it, only who cancels it does.
    pub(super) fn train_lens(&self, looked: &Looked, work: &Work) -> anyhow::Result<String> {
        let run = RunDirectory::find(&self.project, &looked.run)?;
        let dataset = self.dataset(&run.spec()?.dataset)?;
        let student = self.student(looked, &dataset)?;
        let trained = &student.trained;
        let mut on_progress = |progress: &Progress| {
            work.reached(progress.step, Some(progress.steps));
            work.say(format!("KL {:.3}", progress.divergence));
            if work.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let settings = Settings::default();
        let wanted = Wanted { project: &self.project, dataset: &dataset, split: prepare::TRAIN, settings };
        let (about, ..) = lenses::train_for(trained, &wanted, &mut on_progress)?;
        let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
        let (before, after) = (mean(&about.before), mean(&about.after));
        Ok(format!("the tuned lens is trained: KL {before:.3} before, {after:.3} now, the mean over layers"))
    }
}
