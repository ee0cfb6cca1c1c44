//! What the loupe shows, as plain data: the step under the cursor of the loss chart, the batch of a step, and what each
//! token of the selected question costs.

use serde::{Deserialize, Serialize};

use crate::corpus::Example;
use crate::evaluation::token_losses::ExampleLosses;
use crate::journal::{SkippedEvent, StepEvent};
use crate::runs::Run;
use crate::runs::batch::StepBatch;
use crate::runs::spikes::Spike;

/// The loss, looked at closely.
#[derive(Default)]
pub struct LoupeView {
    /// The run and the step that the cursor of the loss chart stands on.
    pub cursor: Option<(String, usize)>,
    pub spikes: Option<KnownSpikes>,
    /// The batch that lies over the panes.
    pub batch: Option<BatchView>,
    /// Whether the attribution pane shows losses.
    pub shows_loss: bool,
    pub loss: LossView,
}

/// The spikes of a run when its journal had so many steps.
pub struct KnownSpikes {
    pub run: String,
    pub steps: usize,
    pub found: Vec<Spike>,
}

/// The examples of a step.
pub struct BatchView {
    pub generation: u64,
    pub run: String,
    pub step: usize,
    /// `None` until they are found.
    pub found: Option<Result<StepBatch, String>>,
    pub cursor: usize,
}

/// What each token of the selected question costs.
#[derive(Default)]
pub struct LossView {
    pub generation: u64,
    /// Whether tokens that do not count in the loss are shown by what they cost too.
    pub shows_all: bool,
    pub result: Option<Lossy>,
    pub error: Option<String>,
    pub is_waiting: bool,
}

/// An answer, with what was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lossy {
    pub question: LossQuestion,
    pub losses: ExampleLosses,
    /// Steps of the checkpoints that the run has.
    pub kept: Vec<usize>,
    /// What a person should know of how the example was rendered.
    pub caveat: Option<String>,
}

/// Which losses are asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossQuestion {
    pub run: String,
    /// `None` for the newest.
    pub checkpoint: Option<usize>,
    pub dataset: String,
    pub split: String,
    /// Row number in the split.
    pub row: usize,
    /// As it is shown: an edit asks anew.
    pub example: Example,
}

/// What a run's journal says of the step under the cursor.
pub enum UnderCursor<'a> {
    Step(&'a StepEvent),
    Skipped(&'a SkippedEvent),
}

impl LoupeView {
    /// The step of a run that the cursor stands on.
    pub fn step_of(&self, run: &Run) -> Option<usize> {
        self.cursor.as_ref().filter(|(id, _)| *id == run.id).map(|(_, step)| *step)
    }

    /// What the journal says of it.
    pub fn under_cursor<'a>(&self, run: &'a Run) -> Option<UnderCursor<'a>> {
        let step = self.step_of(run)?;
        let taken = run.history.steps.binary_search_by_key(&step, |event| event.step).ok();
        let skipped = || run.history.skipped.iter().find(|event| event.step == step).map(UnderCursor::Skipped);
        taken.map(|place| UnderCursor::Step(&run.history.steps[place])).or_else(skipped)
    }

    /// The spike that the cursor stands in, with its number and how many there are.
    pub fn spike_of(&self, run: &Run) -> Option<(usize, usize, &Spike)> {
        let step = self.step_of(run)?;
        let known = self.spikes.as_ref().filter(|known| known.run == run.id)?;
        let place = known.found.iter().position(|spike| spike.has(step))?;
        Some((place + 1, known.found.len(), &known.found[place]))
    }
}
