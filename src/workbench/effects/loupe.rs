//! The batch of a step, and what the tokens of a question cost a run's student.

use candle_core::Device;

use super::Services;
use super::work::Work;
use crate::evaluation::token_losses::ExampleLosses;
use crate::runs::RunDirectory;
use crate::runs::batch::{StepBatch, TrainingOrder};
use crate::runs::preview::preview;
use crate::training::checkpoint;
use crate::workbench::attribution::Looked;
use crate::workbench::loupe::{LossQuestion, Lossy};
use crate::workbench::message::BatchRequest;

impl Services {
    pub(super) fn read_batch(&self, request: &BatchRequest, work: &Work) -> anyhow::Result<StepBatch> {
        let run = RunDirectory::exactly(&self.project, &request.run)?;
        let history = run.read()?.history;
        let mut order = TrainingOrder::read(&self.project, &run, &mut |done, all| {
            work.reached(done as usize, Some(all as usize));
        })?;
        let mut batch = order.step(request.step, &history)?;
        order.measure(&self.project, &mut batch, &Device::Cpu, &mut |done, all| work.reached(done, Some(all)))?;
        Ok(batch)
    }

    pub(super) fn measure_loss(&self, question: LossQuestion) -> anyhow::Result<Lossy> {
        let run = RunDirectory::exactly(&self.project, &question.run)?;
        let kept: Vec<usize> = checkpoint::list(&run.checkpoints()).into_iter().map(|(step, _)| step).collect();
        // The one that was chosen may have been removed since, as training goes on.
        let step = question.checkpoint.filter(|step| kept.contains(step));
        let dataset = self.dataset(&question.dataset)?;
        let student = self.student(&Looked { run: question.run.clone(), step }, &dataset)?;
        let trained = &student.trained;
        let split = dataset.split(&question.split)?;
        // With the rationale of the run's own source, whatever the table shows.
        let row = split.page(question.row, 1, &trained.spec.rationale.source)?.into_iter().next();
        let example = row.map_or_else(|| Ok(question.example.clone()), |row| row.example)?;
        let shown =
            preview(&self.project, &trained.spec, student.reading()?, &split, question.row, &example, &mut |_, _| {})?;
        let mut losses = ExampleLosses::new(&example.id, &shown.rendered);
        let name = trained.checkpoint.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let step = checkpoint::step_of(&trained.checkpoint);
        losses.ask(&name, step, &trained.decoder)?;
        let alone = shown.rendered.without_rationale.then(|| "it stands with its label alone under this recipe".into());
        Ok(Lossy { question, losses, kept, caveat: shown.caveat.or(alone) })
    }
}
