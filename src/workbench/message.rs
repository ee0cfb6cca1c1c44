//! What reaches the workbench, and what it asks for in return.

use std::path::PathBuf;

use crossterm::event::{KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use serde::{Deserialize, Serialize};

use super::attribution::{Attributed, Looked};
use super::board::Shown as BoardShown;
use super::browse::{Place, Reply, Request};
use super::demo::Script;
use super::jobs::Job;
use super::lens::SeenThrough;
use super::loupe::{LossQuestion, Lossy};
use super::messages::{Said, Tail};
use super::recording::{key, whole};
use super::session::Session;
use super::state::{EditTarget, Notice, Opened, Shown};
use super::theme::{Colours, Theme};
use crate::attribution::Asked;
use crate::attribution::what_if::{Changes, WhatIf};
use crate::corpus::Example;
use crate::corpus::edits::Patch;
use crate::corpus::filter::Filter;
use crate::corpus::order::Sort;
use crate::corpus::rows::Count;
use crate::journal::{Entry, RunState};
use crate::rationale::spelling::{Around, SpelledToken};
use crate::runs::batch::StepBatch;
use crate::runs::lenses::Which;
use crate::runs::{Run, RunSpec, control};
use crate::studies::Baseline as BaselineRow;
use crate::studies::disagree::Disagreements;
use crate::studies::table::{Row, Section, Table};

/// Something that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Message {
    Key(#[serde(with = "key")] KeyEvent),
    Paste(String),
    Mouse(Mouse),
    Resize(u16, u16),
    /// What the terminal said of its background.
    Background {
        is_light: bool,
    },
    /// Bytes a second that are sent to the terminal.
    Traffic(u64),
    /// The user's keymaps: the name of each file, and what stands in it.
    Keymaps(Vec<(String, String)>),
    /// What the last workbench showed.
    Session(Option<Box<Session>>),
    /// The names of the data sets there are.
    Datasets(Vec<String>),
    Opened(Opened),
    /// Rows for the visible part of the table. Answers of older questions are thrown away by their generation.
    Rows {
        generation: u64,
        rows: Vec<(usize, Result<Example, String>)>,
        count: Count,
    },
    Counted {
        dataset: String,
        split: String,
        count: Count,
    },
    Matches {
        generation: u64,
        found: Vec<u32>,
        scanned: usize,
        done: bool,
    },
    /// All rows that are shown, in order.
    Ordered {
        generation: u64,
        rows: Vec<u32>,
    },
    /// An answer about rows.
    Browsed(Reply),
    Previewed {
        generation: u64,
        result: Result<Shown, String>,
    },
    Attributed {
        generation: u64,
        result: Box<Result<Attributed, String>>,
    },
    /// What changes of the selected question do.
    WhatIf {
        generation: u64,
        result: Result<WhatIf, String>,
    },
    /// What a lens reads of the selected question.
    LensRead {
        generation: u64,
        result: Box<Result<SeenThrough, String>>,
    },
    LensTrained {
        run: Looked,
        result: Result<String, String>,
    },
    /// What was predicted by a run, by example id: the label and whether it is right.
    Predictions {
        run: String,
        predicted: Vec<(String, Option<String>, bool)>,
        /// The rationales that it wrote before it answered, by example id.
        written: Vec<(String, String)>,
    },
    RunFound(Box<Run>),
    RunGone(String),
    /// New lines of a run's journal, and where the run stands.
    RunMoved {
        id: String,
        entries: Vec<Entry>,
        state: RunState,
    },
    Board {
        generation: u64,
        #[serde(with = "whole")]
        result: Box<Result<Table, String>>,
    },
    /// The questions on which two rows disagree.
    Disagreed {
        generation: u64,
        result: Box<Result<Disagreements, String>>,
    },
    /// The examples of a step.
    BatchRead {
        generation: u64,
        result: Box<Result<StepBatch, String>>,
    },
    /// What the tokens of a question cost.
    LossMeasured {
        generation: u64,
        result: Box<Result<Lossy, String>>,
    },
    /// The names of the studies there are.
    Studies(Vec<String>),
    /// How the student spells a word.
    Spelled {
        generation: u64,
        result: Result<Vec<SpelledToken>, String>,
    },
    /// An edit is on the disk, or not.
    Edited {
        target: String,
        result: Result<usize, String>,
    },
    /// The text that came back from `$EDITOR`; `None` when it was left unchanged.
    EditorClosed {
        what: External,
        text: Option<String>,
    },
    /// The checkpoint that a fork would begin at.
    ForkPointFound(ForkPoint),
    Started {
        ids: Vec<String>,
        what: String,
    },
    Themes(Vec<String>),
    Theme(Box<Theme>),
    Say(Notice),
    /// The time, for what was said since it was last told.
    Told {
        time: String,
    },
    /// The end of a log.
    LogRead(Tail),
    /// How far something is that lasts.
    Job(Box<Job>),
    JobEnded {
        id: u64,
        is_cancelled: bool,
    },
    /// A demo begins.
    DemoBegins(Box<Script>),
    /// So many milliseconds of a demo went by.
    Tick(u64),
    /// A page of text to look at.
    Page {
        title: String,
        lines: Vec<String>,
    },
}

/// What a mouse did, as far as the workbench knows what to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mouse {
    pub what: MouseDoes,
    pub column: u16,
    pub row: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MouseDoes {
    /// The left button.
    Press,
    Drag,
    Release,
    WheelUp,
    WheelDown,
}

impl Mouse {
    /// `None` for what means nothing.
    pub fn of(event: MouseEvent) -> Option<Self> {
        // What crossterm makes of a place of 0, which is nowhere.
        if event.column == u16::MAX || event.row == u16::MAX {
            return None;
        }
        let what = match event.kind {
            MouseEventKind::Down(MouseButton::Left) => MouseDoes::Press,
            MouseEventKind::Drag(MouseButton::Left) => MouseDoes::Drag,
            MouseEventKind::Up(MouseButton::Left) => MouseDoes::Release,
            MouseEventKind::ScrollUp => MouseDoes::WheelUp,
            MouseEventKind::ScrollDown => MouseDoes::WheelDown,
            _ => return None,
        };
        Some(Self { what, column: event.column, row: event.row })
    }
}

/// What is edited outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum External {
    Rationale(EditTarget),
    Settings,
    /// Those of a fork.
    Fork(ForkPoint),
}

/// Where a fork begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForkPoint {
    pub run: String,
    /// The step of its newest checkpoint that is not after `at`.
    pub step: usize,
    /// The step under the cursor.
    pub at: Option<usize>,
}

/// Something to be done outside the update loop.
#[derive(Debug, PartialEq)]
pub enum Effect {
    LoadKeymaps,
    LoadSession,
    SaveSession(Box<Session>),
    ListDatasets,
    OpenDataset(String),
    LoadRows {
        generation: u64,
        dataset: String,
        split: String,
        source: String,
        rows: Vec<usize>,
    },
    Count {
        dataset: String,
        split: String,
    },
    Find(Box<FindRequest>),
    /// Nobody waits for a search any more.
    StopSearch {
        generation: u64,
    },
    Browse(Box<Request>),
    Preview {
        generation: u64,
        spec: Box<RunSpec>,
        split: String,
        place: usize,
        example: Box<Example>,
    },
    Attribute(Box<AttributeRequest>),
    WhatIf(Box<WhatIfRequest>),
    ReadLens(Box<LensRequest>),
    Spell(Box<SpellRequest>),
    TrainLens {
        looked: Looked,
    },
    LoadPredictions {
        run: String,
        dataset: String,
        split: String,
    },
    MakeBoard {
        generation: u64,
        shown: BoardShown,
        baselines: Vec<BaselineRow>,
    },
    Disagree(Box<DisagreeRequest>),
    ReadBatch(BatchRequest),
    MeasureLoss(Box<LossRequest>),
    ListStudies,
    Edit {
        target: EditTarget,
        patch: Patch,
    },
    /// Patches that are one edit.
    EditAll {
        target: EditTarget,
        patches: Vec<Patch>,
    },
    UndoEdit(EditTarget),
    RedoEdit(EditTarget),
    OpenEditor {
        what: External,
        text: String,
    },
    SaveRunFile {
        path: PathBuf,
        spec: Box<RunSpec>,
    },
    StartRun(Box<RunSpec>),
    FindForkPoint {
        run: String,
        at: Option<usize>,
    },
    ForkRun {
        run: String,
        step: usize,
        overrides: Vec<String>,
    },
    ResumeRun(String),
    RemoveRun(String),
    Control {
        run: String,
        command: control::Command,
    },
    StartTour,
    CheckData(String),
    /// Asks work that is listed as a job to end.
    CancelJob(u64),
    /// Appends to the workbench's log.
    WriteLog(Vec<Said>),
    /// The last lines of a log within the project.
    ReadLog {
        path: PathBuf,
    },
    LoadTheme {
        name: String,
        colours: Colours,
    },
    /// To the clipboard.
    Copy(String),
    /// The bell, or a notification, if they are wanted.
    Notify(String),
    /// The display is to be shown otherwise.
    Suit,
    /// Writes what was on the screen into the project's `screens/`.
    SaveScreen {
        extension: &'static str,
        text: String,
    },
    Redraw,
    Suspend,
    Quit,
}

/// The rows that are looked for, and their order.
#[derive(Debug, PartialEq)]
pub struct FindRequest {
    pub generation: u64,
    pub place: Place,
    pub filter: Filter,
    pub sort: Option<Sort>,
    /// The first row to look at.
    pub from: usize,
}

/// The rows whose disagreements are looked for.
#[derive(Debug, PartialEq)]
pub struct DisagreeRequest {
    pub generation: u64,
    /// Their section, without rows.
    pub section: Section,
    pub one: Row,
    pub other: Row,
}

/// The step whose batch is wanted.
#[derive(Debug, PartialEq)]
pub struct BatchRequest {
    pub generation: u64,
    pub run: String,
    /// 1 for the first.
    pub step: usize,
}

/// The question whose tokens are asked for what they cost.
#[derive(Debug, PartialEq)]
pub struct LossRequest {
    pub generation: u64,
    pub question: LossQuestion,
}

/// What is to be attributed.
#[derive(Debug, PartialEq)]
pub struct AttributeRequest {
    pub generation: u64,
    pub looked: Looked,
    /// Whether it is put beside another.
    pub is_beside: bool,
    pub dataset: String,
    pub example: Example,
    pub source: String,
    pub asked: Asked,
}

/// Changes that are to be tried.
#[derive(Debug, PartialEq)]
pub struct WhatIfRequest {
    pub generation: u64,
    pub looked: Looked,
    pub dataset: String,
    pub example: Example,
    pub source: String,
    pub changes: Changes,
}

/// The word whose tokens are wanted.
#[derive(Debug, PartialEq)]
pub struct SpellRequest {
    pub generation: u64,
    /// Names data set and student.
    pub spec: RunSpec,
    pub around: Around,
}

/// The question that a lens is to read.
#[derive(Debug, PartialEq)]
pub struct LensRequest {
    pub generation: u64,
    pub looked: Looked,
    pub dataset: String,
    pub split: String,
    pub row: usize,
    pub example: Example,
    pub which: Which,
}
