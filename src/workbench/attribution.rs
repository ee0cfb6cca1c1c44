//! What the attribution pane shows: a run's scores of the selected question, what changes of it would do, and another run
//! beside it.

use serde::{Deserialize, Serialize};

use crate::attribution::what_if::{Changes, WhatIf};
use crate::attribution::{Asked, ExampleAttribution, Over};
use crate::rationale::recipe::Unit;
use crate::workbench::recording::whole;

/// What a run's student makes of the selected question.
#[derive(Default)]
pub struct AttributionView {
    pub generation: u64,
    /// The run that is looked into; the newest fitting one when nobody chose.
    pub run: Option<Looked>,
    pub result: Option<Attributed>,
    pub error: Option<String>,
    pub is_waiting: bool,
    pub asked: Asked,
    /// What is scored, marked and changed as one.
    pub unit: Unit,
    pub scale: Scale,
    /// How many tokens count as key.
    pub top: usize,
    pub scroll: usize,
    /// The token under the cursor, by its place in the unchanged sequence.
    pub cursor: usize,
    pub changes: Changing,
    pub beside: Beside,
    /// Whether the rationale is read that the student wrote before it answered, in place of the teacher's.
    pub reads_own: bool,
    /// The run that was looked into last, and the steps of the checkpoints that it has.
    pub kept: (String, Vec<usize>),
}

/// A run, and one of its checkpoints where not the newest is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    pub run: String,
    pub step: Option<usize>,
}

impl Looked {
    /// As the command line spells it.
    pub fn name(&self) -> String {
        match self.step {
            Some(step) => format!("{}@{step}", self.run),
            None => self.run.clone(),
        }
    }
}

/// How scores are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scale {
    #[default]
    Signed,
    /// Sizes without signs.
    Absolute,
    /// Signed, with sizes that sum to 1.
    Normalised,
}

impl Scale {
    pub fn next(self) -> Self {
        match self {
            Self::Signed => Self::Absolute,
            Self::Absolute => Self::Normalised,
            Self::Normalised => Self::Signed,
        }
    }

    /// What is said of it; nothing of the usual.
    pub fn note(self) -> &'static str {
        match self {
            Self::Signed => "",
            Self::Absolute => ", sizes",
            Self::Normalised => ", shares",
        }
    }
}

/// The changes that are tried out.
#[derive(Default)]
pub struct Changing {
    /// The id, the question and the rationale that they are of.
    pub of: Option<(String, String, Option<String>)>,
    pub now: Changes,
    /// Earlier states, the latest last.
    pub before: Vec<Changes>,
    /// The tokens that are typed anew, and the text so far.
    pub typing: Option<(Vec<usize>, String)>,
    pub generation: u64,
    pub result: Option<WhatIf>,
    pub error: Option<String>,
}

/// Another run's scores of the same question.
#[derive(Default)]
pub struct Beside {
    pub run: Option<Looked>,
    pub generation: u64,
    pub result: Option<Attributed>,
    pub error: Option<String>,
}

/// What a run's student makes of the selected example.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attributed {
    pub run: Looked,
    #[serde(with = "whole")]
    pub found: ExampleAttribution,
    /// Label, text and probability of each choice, after the same tokens.
    pub choices: Vec<(String, String, f64)>,
    /// The step of the checkpoint that was asked, and those of all that the run has.
    pub step: usize,
    pub kept: Vec<usize>,
    /// How many layers and heads the student has.
    pub layers: usize,
    pub heads: usize,
    /// Whether the student was trained to read the rationale before the label.
    pub reads: bool,
    /// What was asked, and of which question and rationale.
    pub asked: Asked,
    pub question: String,
    pub rationale: Option<String>,
}

impl Attributed {
    /// The choice that the student would take.
    pub fn answer(&self) -> Option<&(String, String, f64)> {
        self.choices.iter().reduce(|best, choice| if choice.2 > best.2 { choice } else { best })
    }
}

impl AttributionView {
    pub fn new() -> Self {
        Self { top: 3, unit: Unit::Word, ..Self::default() }
    }

    /// Whether only the rationale is shown: nothing else is scored, and nothing else is changed.
    pub fn shows_rationale_alone(&self) -> bool {
        self.asked.over == Over::Rationale
    }
}
