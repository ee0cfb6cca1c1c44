//! Students that are looked into: their attributions, and what they make of changes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use candle_core::Device;

use super::Services;
use super::work::Work;
use crate::attribution::what_if::{WhatIf, likelihoods, shares, what_if};
use crate::corpus::Dataset;
use crate::rationale::{Borrowed, Placement};
use crate::runs::preview::Reading;
use crate::runs::scorer::TrainedRun;
use crate::runs::{RunDirectory, RunError, prepare};
use crate::training::checkpoint;
use crate::workbench::attribution::{Attributed, Looked};
use crate::workbench::message::{AttributeRequest, WhatIfRequest};

/// Students that are kept in memory: two that are compared, and the one before.
const KEPT: usize = 3;

/// The students that were looked into last, the newest at the end.
pub type Students = Mutex<Vec<Arc<Kept>>>;

/// A student, with the checkpoint and the data set that it was loaded for.
pub struct Kept {
    key: (PathBuf, String),
    pub trained: TrainedRun,
    /// What renders for it, once that was asked for.
    reading: OnceLock<Reading>,
}

impl Kept {
    pub fn reading(&self) -> Result<&Reading, RunError> {
        if let Some(reading) = self.reading.get() {
            return Ok(reading);
        }
        let reading = Reading::at(&self.key.0)?;
        Ok(self.reading.get_or_init(|| reading))
    }
}

impl Services {
    pub(super) fn attribute(&self, request: &AttributeRequest, work: &Work) -> anyhow::Result<Attributed> {
        let AttributeRequest { looked, example, asked, .. } = request;
        let student = self.student(looked, &self.dataset(&request.dataset)?)?;
        let trained = &student.trained;
        let renderer = trained.reading(&request.source);
        let mut attributor = trained.attributor(&renderer, asked, prepare::free_memory(&Device::Cpu));
        let wanted = work.clone();
        attributor.room.stop_when(move || wanted.is_unwanted());
        let found = attributor.one(example)?;
        let labels = example.choices.iter().map(|choice| renderer.label_ids(choice)).collect::<Result<Vec<_>, _>>()?;
        let context = renderer.prompt_with_rationale(example, Borrowed::default())?.ids();
        let shares = shares(&likelihoods(&trained.decoder, &context, &labels)?).unwrap_or_default();
        let choices = example.choices.iter().zip(shares);
        Ok(Attributed {
            run: looked.clone(),
            choices: choices.map(|(choice, p)| (choice.label.clone(), choice.text.clone(), p)).collect(),
            found,
            step: checkpoint::step_of(&trained.checkpoint).unwrap_or(0),
            kept: checkpoint::list(&trained.run.checkpoints()).into_iter().map(|(step, _)| step).collect(),
            layers: trained.decoder.architecture.layers.len(),
            heads: trained.decoder.architecture.heads,
            reads: trained.spec.rationale.placement == Placement::Pre,
            asked: asked.clone(),
            question: example.question.clone(),
            rationale: example.rationale.clone(),
        })
    }

    pub(super) fn what_if(&self, request: &WhatIfRequest) -> anyhow::Result<WhatIf> {
        let student = self.student(&request.looked, &self.dataset(&request.dataset)?)?;
        let trained = &student.trained;
        let renderer = trained.reading(&request.source);
        Ok(what_if(&trained.decoder, &renderer, &request.example, &request.changes)?)
    }

    /// A student, loaded or kept from before.
    pub(super) fn student(&self, looked: &Looked, dataset: &Dataset) -> anyhow::Result<Arc<Kept>> {
        let (run, checkpoint) = RunDirectory::find_checkpoint(&self.project, &looked.name())?;
        let key = (checkpoint, dataset.name().to_owned());
        let mut kept = self.students.lock().unwrap_or_else(|poison| poison.into_inner());
        let student = match kept.iter().position(|known| known.key == key) {
            Some(place) => kept.remove(place),
            None => {
                let trained = TrainedRun::load_checkpoint(&run, key.0.clone(), dataset, &Device::Cpu)?;
                Arc::new(Kept { key, trained, reading: OnceLock::new() })
            }
        };
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(student.clone());
        Ok(student)
    }
}
