//! Everything that the screen shows, as plain data. No pane reads a file or touches a tensor.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::attribution::{AttributionView, Looked};
pub use super::board::BoardView;
use super::browse::{Below, Choice, Columns, Duplicates, Kind, Marks, Ordered};
pub use super::charts::ChartsView;
use super::charts::origin;
use super::demo::Demo;
use super::display::{Display, Forced};
use super::dump::Format;
pub use super::editor::Editor;
use super::hints::Hints;
use super::jobs::JobsView;
use super::keymap::Keymap;
use super::layout::{Border, Split};
pub use super::lens::LensView;
pub use super::loupe::LoupeView;
use super::message::ForkPoint;
use super::messages::{Log, MessagesView};
use super::pane::Pane;
use super::recording::whole;
use super::replace::Replace;
use super::session::Session;
use super::theme::Theme;
use super::typing::Typing;
use super::update::Kept;
use crate::attribution::Asked;
use crate::corpus::Example;
use crate::corpus::difference::Part;
use crate::corpus::filter::{Filter, Mistake};
use crate::corpus::rows::Count;
use crate::rationale::Rendered;
use crate::rationale::spelling::SpelledToken;
use crate::runs::{Run, RunSpec};

/// The whole workbench.
pub struct State {
    pub columns: u16,
    pub rows: u16,
    /// The project's folder, for the header.
    pub project: String,
    /// Whether the folder is a project already; if not, the first thing written is asked about.
    pub is_project: bool,
    pub cores: usize,
    pub focus: Pane,
    /// The pane that was focused before the board.
    pub before_board: Pane,
    pub zoomed: bool,
    /// How the panes share the screen.
    pub split: Split,
    /// The border that the mouse holds.
    pub dragged: Option<Border>,
    pub overlay: Option<Overlay>,
    /// An edit that the user is asked about throwing away.
    pub kept_editor: Option<Box<Editor>>,
    pub notice: Option<Notice>,
    pub log: Log,
    pub jobs: JobsView,
    pub hints: Hints,
    /// Whether there is somebody to give hints to: a recording that is shown again has none.
    pub shows_hints: bool,
    pub data: DataView,
    pub recipe: RecipeView,
    pub runs: RunsView,
    pub attribution: AttributionView,
    pub lens: LensView,
    pub board: BoardView,
    pub loupe: LoupeView,
    /// The demo under way.
    pub demo: Option<Demo>,
    /// The data set that was named when it was opened.
    pub named_dataset: Option<String>,
    /// Whether it begins anew, and not where the last one was.
    pub is_fresh: bool,
    /// Whether that is known by now.
    pub is_begun: bool,
    /// What the last workbench showed, until the question is there that it was about.
    pub restoring: Option<Box<Session>>,
    pub charts: ChartsView,
    /// The next run: the present data set, recipe, student and settings.
    pub draft: RunSpec,
    pub theme: Theme,
    /// The chosen one, which may be [`super::theme::AUTO`].
    pub theme_name: String,
    pub themes: Vec<String>,
    pub display: Display,
    /// Whether the terminal's background is light, as far as it said so.
    pub is_light: Option<bool>,
    /// Bytes a second that are sent to the terminal.
    pub traffic: u64,
    pub keymap: Keymap,
    pub typing: Typing,
    /// Numbers questions to the outside, so that late answers are known.
    pub generation: u64,
}

/// One line said to the user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    pub text: String,
    pub is_error: bool,
    /// What an error comes from, the nearest cause first.
    #[serde(default)]
    pub causes: Vec<String>,
    /// The file that says more, within the project.
    #[serde(default)]
    pub more: Option<PathBuf>,
}

impl Notice {
    pub fn info(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: false, causes: Vec::new(), more: None }
    }

    pub fn error(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: true, causes: Vec::new(), more: None }
    }

    /// An error with its causes. Those that an error shows in its own text are not said twice.
    pub fn of(error: &anyhow::Error) -> Self {
        let mut notice = Self::error(error.to_string());
        let mut said = notice.text.clone();
        for cause in error.chain().skip(1).map(ToString::to_string) {
            if !said.contains(&cause) {
                said.push_str(&cause);
                notice.causes.push(cause);
            }
        }
        notice
    }

    /// The same, and where more stands.
    pub fn with_more(self, path: PathBuf) -> Self {
        Self { more: Some(path), ..self }
    }
}

/// A data set that was opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opened {
    pub name: String,
    pub splits: Vec<String>,
    pub sources: Vec<String>,
    /// The source to begin with, where the rows have no rationales and one source does.
    pub only_source: Option<String>,
    pub description: String,
    /// The field that can be hidden.
    pub subject: Option<String>,
}

/// The selected example under the present recipe.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    #[serde(with = "whole")]
    pub rendered: Rendered,
    pub caveat: Option<String>,
    /// Edits of this rationale that count now.
    pub edits: usize,
}

/// Whose rationale an edit changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EditTarget {
    pub dataset: String,
    pub split: String,
    pub id: String,
    pub source: String,
}

/// The table of questions.
#[derive(Default)]
pub struct DataView {
    pub datasets: Vec<String>,
    pub opened: Option<Opened>,
    pub split: String,
    pub count: Option<Count>,
    pub filter: String,
    /// What the filter means; while it is being typed, what it meant last.
    pub meaning: Filter,
    pub mistake: Option<Mistake>,
    /// Row numbers that match; `None` without a filter.
    pub matches: Option<Matches>,
    pub ordered: Ordered,
    /// The newest search.
    pub search: u64,
    pub columns: Columns,
    pub marks: Marks,
    /// The cursor stays on the last row of a growing file.
    pub follows: bool,
    pub below: Below,
    pub duplicates: Option<Duplicates>,
    /// The newest question of each kind about rows.
    pub asked: HashMap<Kind, u64>,
    /// The selected line of the list that is shown.
    pub cursor: usize,
    /// The first line on the screen.
    pub offset: usize,
    pub loaded: HashMap<usize, Result<Example, String>>,
    /// The question of the last rows, previews and attributions that were asked for.
    pub rows_generation: u64,
    pub selected: Option<Selected>,
    /// The first line of the selected question that is shown.
    pub scroll: usize,
    /// The question that the board sent for, until its rows are there.
    pub wanted: Option<Wanted>,
    /// Whose predictions are in the table.
    pub predicted_by: Option<String>,
    pub predictions: HashMap<String, (Option<String>, bool)>,
    /// The rationales that it wrote before it answered.
    pub written: HashMap<String, String>,
}

/// A row of a split that is to be selected.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub dataset: String,
    pub split: String,
    pub row: usize,
}

/// What a filter found so far.
#[derive(Default)]
pub struct Matches {
    pub rows: Vec<u32>,
    pub scanned: usize,
    pub done: bool,
}

/// The question that all panes are about.
#[derive(Clone, Debug)]
pub struct Selected {
    /// Row number in the split.
    pub row: usize,
    pub example: Example,
}

impl DataView {
    /// Lines in the list that is shown.
    pub fn lines(&self) -> usize {
        match (&self.ordered.rows, &self.matches) {
            (Some(rows), _) => rows.len(),
            (None, Some(matches)) => matches.rows.len(),
            (None, None) => self.count.map_or(0, |count| count.rows),
        }
    }

    /// The row number of a line.
    pub fn row_at(&self, line: usize) -> Option<usize> {
        match (&self.ordered.rows, &self.matches) {
            (Some(rows), _) => rows.get(line).map(|row| *row as usize),
            (None, Some(matches)) => matches.rows.get(line).map(|row| *row as usize),
            (None, None) => (line < self.lines()).then_some(line),
        }
    }

    /// The line of a row, if it is among those that are shown.
    pub fn line_of(&self, row: usize) -> Option<usize> {
        match (&self.ordered.rows, &self.matches) {
            (Some(rows), _) => rows.iter().position(|shown| *shown as usize == row),
            (None, Some(matches)) => matches.rows.binary_search(&(row as u32)).ok(),
            (None, None) => (row < self.lines()).then_some(row),
        }
    }
}

/// The recipe and what it does to the selected question.
#[derive(Default)]
pub struct RecipeView {
    pub generation: u64,
    pub shown: Option<Shown>,
    pub error: Option<String>,
    /// The selected ablation.
    pub cursor: usize,
    /// The selected word of the teacher's rationale.
    pub word: usize,
    /// Tokens in a table instead of a text.
    pub as_table: bool,
    pub scroll: usize,
    /// How the student spells that word, and the newest question for it.
    pub spelled: Option<Result<Vec<SpelledToken>, String>>,
    pub spelling: u64,
    /// What was changed is shown instead of the text.
    pub shows_changes: bool,
    /// A question as its files have it.
    pub original: Option<(EditTarget, Box<Example>)>,
    /// What was changed of it: its rationale, its question.
    pub changes: Option<(Vec<Part>, Vec<Part>)>,
}

/// The runs and their curves.
pub struct RunsView {
    /// Oldest first.
    pub runs: Vec<Run>,
    pub cursor: usize,
    /// Nobody moved the cursor yet, so it stays on the newest run.
    pub follows_newest: bool,
    /// A run that was started here and is shown as soon as it is found.
    pub awaited: Option<String>,
    /// Runs whose curve stays in the chart.
    pub overlaid: BTreeSet<String>,
    pub curve: Curve,
    pub log_scale: bool,
}

/// Which losses the chart shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Curve {
    #[default]
    /// Label, rationale, total and validation of one run.
    All,
    Label,
    Rationale,
    Total,
}

impl Curve {
    pub fn next(self) -> Self {
        match self {
            Self::All => Self::Label,
            Self::Label => Self::Rationale,
            Self::Rationale => Self::Total,
            Self::Total => Self::All,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::All => "losses",
            Self::Label => "label loss",
            Self::Rationale => "rationale loss",
            Self::Total => "total loss",
        }
    }
}

impl RunsView {
    pub fn selected(&self) -> Option<&Run> {
        self.runs.get(self.cursor)
    }

    pub fn find(&self, id: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.id == id)
    }

    /// The places of the runs as they are listed, and how deep each stands: the newest first, forks under what they left.
    pub fn listed(&self) -> Vec<(usize, usize)> {
        let places: HashMap<&str, usize> =
            self.runs.iter().enumerate().map(|(at, run)| (run.id.as_str(), at)).collect();
        let parent = |run: &Run| origin(run).and_then(|(id, _)| places.get(id).copied());
        let parents: Vec<Option<usize>> = self.runs.iter().map(parent).collect();
        let mut listed = Vec::with_capacity(self.runs.len());
        let mut is_listed = vec![false; self.runs.len()];
        // First those without a parent; what is left over names itself as its ancestor.
        for begins in [true, false] {
            for place in (0..self.runs.len()).rev().filter(|place| !begins || parents[*place].is_none()) {
                let mut waiting = vec![(place, 0)];
                while let Some((place, depth)) = waiting.pop() {
                    if std::mem::replace(&mut is_listed[place], true) {
                        continue;
                    }
                    listed.push((place, depth));
                    let forks = (0..self.runs.len()).filter(|fork| parents[*fork] == Some(place));
                    waiting.extend(forks.map(|fork| (fork, depth + 1)));
                }
            }
        }
        listed
    }

    /// Runs that a process works on or will.
    pub fn active(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.state.is_active())
    }
}

/// What lies over the panes and takes the keys.
pub enum Overlay {
    Help {
        scroll: usize,
    },
    Messages(MessagesView),
    /// What is under way; the cursor is in [`State::jobs`].
    Jobs,
    Page {
        title: String,
        lines: Vec<String>,
        scroll: usize,
    },
    Palette {
        input: String,
        cursor: usize,
    },
    /// The filter of the data pane, typed.
    Filter,
    /// That of the board.
    RowFilter,
    /// A token that is typed anew, in its place.
    Retype,
    Menu(Menu),
    /// The batch of a step.
    Batch,
    Confirm {
        question: String,
        then: Confirmed,
    },
    Input {
        title: String,
        text: String,
        then: InputFor,
    },
    Editor(Box<Editor>),
    Replace(Box<Replace>),
}

/// A list to choose from.
pub struct Menu {
    pub title: String,
    pub items: Vec<MenuItem>,
    pub cursor: usize,
}

/// The note of the item that is chosen already.
pub const NOW: &str = "now";

impl Menu {
    /// A menu whose cursor stands on what is chosen already.
    pub fn new(title: &str, items: Vec<MenuItem>) -> Self {
        let cursor = items.iter().position(|item| item.note == NOW).unwrap_or(0);
        Self { title: title.into(), items, cursor }
    }
}

/// One choice and what it does.
pub struct MenuItem {
    pub label: String,
    pub note: String,
    pub then: Chosen,
}

/// What choosing an item does.
#[derive(Clone, Debug, PartialEq)]
pub enum Chosen {
    Dataset(String),
    Recipe(crate::rationale::Recipe),
    Source(String),
    Run(Looked),
    /// A run to put beside it.
    Beside(Looked),
    /// What is asked of it.
    Asked(Asked),
    /// What a change is kept as.
    Keep(Kept),
    /// What the board shows.
    Board(super::board::Shown),
    /// Something about the rows.
    Rows(Choice),
    Theme(String),
    /// How the screen is shown.
    Display(Forced),
    /// What the screen is written as.
    Dump(Format),
    Student(String),
    /// Ask for a student by name.
    OtherStudent,
}

/// What a yes does.
#[derive(Clone, Debug, PartialEq)]
pub enum Confirmed {
    Quit,
    Tour,
    Start(Box<RunSpec>),
    Stop(String),
    Remove(String),
    Dump(Format),
    DiscardEdit,
}

/// What typed text is for.
#[derive(Clone, Debug, PartialEq)]
pub enum InputFor {
    Student,
    RunFile,
    /// Changed settings of a fork.
    Fork(ForkPoint),
    /// An id or a row to go to.
    Jump,
    MarksFile,
}

impl State {
    pub fn new(project: String, is_project: bool, theme: Theme, theme_name: String) -> Self {
        Self {
            columns: 80,
            rows: 24,
            project,
            is_project,
            cores: 1,
            focus: Pane::Data,
            before_board: Pane::Data,
            zoomed: false,
            split: Split::default(),
            dragged: None,
            overlay: None,
            kept_editor: None,
            notice: None,
            log: Log::default(),
            jobs: JobsView::default(),
            hints: Hints::default(),
            shows_hints: false,
            data: DataView { split: "train".into(), ..DataView::default() },
            recipe: RecipeView::default(),
            runs: RunsView {
                runs: Vec::new(),
                cursor: 0,
                follows_newest: true,
                awaited: None,
                overlaid: BTreeSet::new(),
                curve: Curve::All,
                log_scale: false,
            },
            attribution: AttributionView::new(),
            lens: LensView::default(),
            board: BoardView::default(),
            loupe: LoupeView::default(),
            demo: None,
            named_dataset: None,
            is_fresh: false,
            is_begun: false,
            restoring: None,
            charts: ChartsView::default(),
            draft: RunSpec::preset("toy"),
            theme,
            theme_name,
            themes: Vec::new(),
            display: Display::default(),
            is_light: None,
            traffic: 0,
            keymap: Keymap::default(),
            typing: Typing::default(),
            generation: 0,
        }
    }

    /// A number for the next question to the outside.
    pub fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Says something in the last line.
    pub fn say(&mut self, notice: Notice) {
        self.log.push(notice.clone());
        self.notice = Some(notice);
    }

    /// Whether the board fits beside the four panes.
    pub fn is_huge(&self) -> bool {
        self.columns >= 240 && self.rows >= 50
    }

    /// Whether all four panes fit side by side.
    pub fn is_wide(&self) -> bool {
        self.columns >= 100 && self.rows.saturating_sub(self.caption_rows()) >= 28
    }

    /// Rows at the bottom that the caption of a demo takes.
    pub fn caption_rows(&self) -> u16 {
        self.demo.as_ref().map_or(0, |demo| demo.height(self.columns).min(self.rows / 3))
    }

    /// Whose rationale an edit of the selected question changes.
    pub fn edit_target(&self) -> Option<EditTarget> {
        let selected = self.data.selected.as_ref()?;
        Some(EditTarget {
            dataset: self.draft.dataset.clone(),
            split: self.data.split.clone(),
            id: selected.example.id.clone(),
            source: self.draft.rationale.source.clone(),
        })
    }
}
