//! The batch of a step, and what the tokens of a question cost a run's student.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use candle_core::Device;

use super::Services;
use crate::evaluation::token_losses::ExampleLosses;
use crate::runs::RunDirectory;
use crate::runs::batch::{StepBatch, TrainingOrder};
use crate::runs::preview::{Reading, preview};
use crate::runs::scorer::TrainedRun;
use crate::training::checkpoint;
use crate::workbench::loupe::{LossQuestion, Lossy};
use crate::workbench::message::BatchRequest;

/// Students that stay loaded: to look at one checkpoint and the next, back and forth.
const KEPT: usize = 2;

/// A student with its tokenizer, by its checkpoint and the data set that it was loaded for.
type Kept = ((PathBuf, String), Arc<TrainedRun>, Reading);

/// The students that were looked at last.
#[derive(Default)]
pub(super) struct Students(Mutex<Vec<Kept>>);

impl Services {
    pub(super) fn read_batch(&self, request: &BatchRequest) -> anyhow::Result<StepBatch> {
        let run = RunDirectory::exactly(&self.project, &request.run)?;
        let history = run.read()?.history;
        let mut order = TrainingOrder::read(&self.project, &run, &mut |_, _| {})?;
        let mut batch = order.step(request.step, &history)?;
        order.measure(&self.project, &mut batch, &Device::Cpu, &mut |_, _| {})?;
        Ok(batch)
    }

    pub(super) fn measure_loss(&self, question: LossQuestion) -> anyhow::Result<Lossy> {
        let run = RunDirectory::exactly(&self.project, &question.run)?;
        let kept: Vec<usize> = checkpoint::list(&run.checkpoints()).into_iter().map(|(step, _)| step).collect();
        // The one that was chosen may have been removed since, as training goes on.
        let step = question.checkpoint.filter(|step| kept.contains(step));
        let folder = run.checkpoint(&step.map_or_else(|| "last".to_owned(), |step| step.to_string()))?;
        let dataset = self.dataset(&question.dataset)?;
        let (trained, reading) = self.student_at(&run, folder, &dataset)?;
        let split = dataset.split(&question.split)?;
        // With the rationale of the run's own source, whatever the table shows.
        let row = split.page(question.row, 1, &trained.spec.rationale.source)?.into_iter().next();
        let example = row.map_or_else(|| Ok(question.example.clone()), |row| row.example)?;
        let shown = preview(&self.project, &trained.spec, &reading, &split, question.row, &example, &mut |_, _| {})?;
        let mut losses = ExampleLosses::new(&example.id, &shown.rendered);
        let name = trained.checkpoint.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let step = name.strip_prefix("step-").and_then(|step| step.parse().ok());
        losses.ask(&name, step, &trained.decoder)?;
        let alone = shown.rendered.without_rationale.then(|| "it stands with its label alone under this recipe".into());
        Ok(Lossy { question, losses, kept, caveat: shown.caveat.or(alone) })
    }

    fn student_at(
        &self,
        run: &RunDirectory,
        folder: PathBuf,
        dataset: &crate::corpus::Dataset,
    ) -> anyhow::Result<(Arc<TrainedRun>, Reading)> {
        let key = (folder, dataset.name().to_owned());
        let mut kept = self.loupe.0.lock().unwrap_or_else(|poison| poison.into_inner());
        if let Some((_, trained, reading)) = kept.iter().find(|(known, _, _)| *known == key) {
            return Ok((trained.clone(), reading.clone()));
        }
        let reading = Reading::at(&key.0)?;
        let trained = Arc::new(TrainedRun::load_checkpoint(run, key.0.clone(), dataset, &Device::Cpu)?);
        kept.truncate(KEPT - 1);
        kept.insert(0, (key, trained.clone(), reading.clone()));
        Ok((trained, reading))
    }
}
