//! Students that are looked into: their attributions, and what they make of changes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use candle_core::Device;

use super::Services;
use crate::attribution::what_if::{WhatIf, likelihoods, shares, what_if};
use crate::corpus::Dataset;
use crate::rationale::{Borrowed, Placement};
use crate::runs::scorer::TrainedRun;
use crate::runs::{RunDirectory, prepare};
use crate::training::checkpoint;
use crate::workbench::attribution::{Attributed, Looked};
use crate::workbench::message::{AttributeRequest, WhatIfRequest};

/// Students that are kept in memory: two that are compared, and the one before.
const KEPT: usize = 3;

/// The students that were looked into last, the newest at the end, with the checkpoint and the data set that each was loaded
/// for.
pub type Students = Mutex<Vec<((PathBuf, String), Arc<TrainedRun>)>>;

impl Services {
    pub(super) fn attribute(&self, request: &AttributeRequest) -> anyhow::Result<Attributed> {
        let AttributeRequest { looked, example, asked, .. } = request;
        let trained = self.trained(looked, &self.dataset(&request.dataset)?)?;
        let renderer = trained.reading(&request.source);
        let attributor = trained.attributor(&renderer, asked, prepare::free_memory(&Device::Cpu));
        let found = attributor.one(example)?;
        let labels = example.choices.iter().map(|choice| renderer.label_ids(choice)).collect::<Result<Vec<_>, _>>()?;
        let context = renderer.prompt_with_rationale(example, Borrowed::default())?.ids();
        let shares = shares(&likelihoods(&trained.decoder, &context, &labels)?).unwrap_or_default();
        let choices = example.choices.iter().zip(shares);
        let there = checkpoint::list(&trained.run.checkpoints());
        Ok(Attributed {
            run: looked.clone(),
            choices: choices.map(|(choice, p)| (choice.label.clone(), choice.text.clone(), p)).collect(),
            found,
            step: there.iter().find(|(_, path)| *path == trained.checkpoint).map_or(0, |(step, _)| *step),
            kept: there.into_iter().map(|(step, _)| step).collect(),
            layers: trained.decoder.architecture.layers.len(),
            heads: trained.decoder.architecture.heads,
            reads: trained.spec.rationale.placement == Placement::Pre,
            asked: asked.clone(),
            question: example.question.clone(),
            rationale: example.rationale.clone(),
        })
    }

    pub(super) fn what_if(&self, request: &WhatIfRequest) -> anyhow::Result<WhatIf> {
        let trained = self.trained(&request.looked, &self.dataset(&request.dataset)?)?;
        let renderer = trained.reading(&request.source);
        Ok(what_if(&trained.decoder, &renderer, &request.example, &request.changes)?)
    }

    pub(super) fn trained(&self, looked: &Looked, dataset: &Dataset) -> anyhow::Result<Arc<TrainedRun>> {
        let (run, checkpoint) = RunDirectory::find_checkpoint(&self.project, &looked.name())?;
        let key = (checkpoint, dataset.name().to_owned());
        let mut kept = self.students.lock().unwrap_or_else(|poison| poison.into_inner());
        if let Some(place) = kept.iter().position(|(known, _)| *known == key) {
            let known = kept.remove(place);
            let trained = known.1.clone();
            kept.push(known);
            return Ok(trained);
        }
        let trained = Arc::new(TrainedRun::load_checkpoint(&run, key.0.clone(), dataset, &Device::Cpu)?);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((key, trained.clone()));
        Ok(trained)
    }
}
