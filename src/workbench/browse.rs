//! What the data pane adds to its rows: their order, the columns, marks, and what stands below the table.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use unicode_width::UnicodeWidthStr;

use serde::{Deserialize, Serialize};

use super::replace::Terms;
use crate::corpus::Example;
use crate::corpus::counterpart::Counterpart;
use crate::corpus::duplicates::Report;
use crate::corpus::filter::{Field, Filter, Known};
use crate::corpus::histogram::Histogram;
use crate::corpus::order::Sort;
use crate::corpus::replace::{Done, Hit};
use crate::corpus::rows::{Change, Count};

/// The columns of the table.
#[derive(Debug)]
pub struct Columns {
    pub shown: Vec<Field>,
    /// Fields of the rows seen so far that an example has no place of its own for.
    pub others: Vec<Field>,
    /// The widest cell so far of each column. It only grows, so that scrolling back and forth moves nothing.
    pub widths: HashMap<Field, usize>,
}

/// Fields beyond this many are not offered: a row of a hostile file may have thousands.
const MOST_OTHERS: usize = 40;

impl Default for Columns {
    fn default() -> Self {
        let shown = vec![Field::Id, Field::Question, Field::Answer, Field::Predicted];
        Self { shown, others: Vec::new(), widths: HashMap::new() }
    }
}

impl Columns {
    /// Every column there is, in the order in which they are shown.
    pub fn all(&self) -> Vec<Field> {
        let rationale = || Box::new(Field::Rationale);
        let mut all = vec![Field::Row, Field::Id, Field::Question];
        all.extend([Field::Rationale, Field::Words(rationale())]);
        all.extend(self.others.iter().cloned());
        all.extend([Field::Answer, Field::Predicted]);
        all
    }

    /// Shows a column, or hides it; one always stays.
    pub fn toggle(&mut self, column: &Field) {
        let is_shown = self.shown.contains(column);
        if is_shown && self.shown.len() == 1 {
            return;
        }
        let all = self.all();
        self.shown = all
            .into_iter()
            .filter(|other| if other == column { !is_shown } else { self.shown.contains(other) })
            .collect();
    }

    /// Takes in the widths and fields of a row.
    pub fn see(&mut self, row: usize, example: &Example) {
        for name in example.extra.keys() {
            let field = Field::of(name);
            if matches!(field, Field::Other(_)) && !self.others.contains(&field) && self.others.len() < MOST_OTHERS {
                self.others.push(field);
            }
        }
        for column in &self.shown {
            let width = cell(column, row, example).width();
            let widest = self.widths.entry(column.clone()).or_default();
            *widest = (*widest).max(width);
        }
    }
}

/// What stands in a column; predictions are not known here.
pub fn cell(column: &Field, row: usize, example: &Example) -> String {
    match column {
        // The label and, where there is room, what it says.
        Field::Answer => example.gold().map_or_else(|| "–".into(), |gold| format!("{} {}", gold.label, gold.text)),
        column => column.value(row, example, &Known::default()).to_string(),
    }
}

/// Marked ids, by data set and split.
pub type Marks = HashMap<(String, String), Arc<BTreeSet<String>>>;

/// How a search for an order stands.
#[derive(Debug, Default)]
pub struct Ordered {
    pub sort: Option<Sort>,
    /// The rows that are shown, in order, once it is known. Rows that came later stand at its end.
    pub rows: Option<Vec<u32>>,
    /// Rows read so far, while it is being worked out.
    pub reading: Option<usize>,
}

/// What is chosen in one of the pane's menus.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// `None` for the order of the file.
    Sort(Option<Field>),
    Column(Field),
    MarkMatching,
    ClearMarks,
    ShowMarked,
    SaveMarks,
    /// `None` for the question again.
    Histogram(Option<Field>),
    /// Another data set beside this one, or the question again.
    Beside(Option<String>),
    LookForDuplicates,
    /// A pair of questions that are alike, by its number.
    Duplicate(usize),
}

/// What stands below the table.
#[derive(Debug, Default)]
pub enum Below {
    /// The selected question in full.
    #[default]
    Question,
    Histogram {
        field: Field,
        found: Option<Box<Histogram>>,
    },
    /// The same question in another data set.
    Beside {
        other: String,
        found: Beside,
    },
}

/// What is known of a counterpart.
#[derive(Debug)]
pub enum Beside {
    Asked,
    Missing,
    Found(Box<Counterpart>),
}

/// Questions of a data set that are alike, and which pair was looked at last.
#[derive(Debug)]
pub struct Duplicates {
    pub report: Report,
    pub cursor: usize,
}

/// Where rows are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub dataset: String,
    pub split: String,
    /// The rationale source.
    pub source: String,
}

/// Something about rows to be found out or done elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub generation: u64,
    pub place: Place,
    pub ask: Ask,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Whether the file of the split changed: asked again and again until another split is shown.
    Watch,
    /// The row of an id.
    Jump(String),
    /// The ids of the rows that match.
    Mark(Box<Filter>),
    SaveMarks {
        path: PathBuf,
        ids: Arc<BTreeSet<String>>,
    },
    Histogram {
        field: Field,
        filter: Box<Filter>,
        bins: usize,
    },
    Duplicates,
    Counterpart {
        other: String,
        example: Box<Example>,
    },
    /// A row as its files have it.
    Original(usize),
    /// What a replacement would change.
    Find {
        terms: Terms,
        filter: Box<Filter>,
    },
    /// Nobody waits for that any more.
    StopFinding,
    Replace {
        terms: Terms,
        filter: Box<Filter>,
        /// Ids that stay as they are.
        left_out: Arc<BTreeSet<String>>,
    },
    /// The replacement is not wanted any more.
    StopReplacing,
}

/// Questions of one kind replace each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    Watch,
    Jump,
    Mark,
    SaveMarks,
    Histogram,
    Duplicates,
    Counterpart,
    Original,
    Find,
    Replace,
}

impl Request {
    pub fn kind(&self) -> Kind {
        match self.ask {
            Ask::Watch => Kind::Watch,
            Ask::Jump(_) => Kind::Jump,
            Ask::Mark(_) => Kind::Mark,
            Ask::SaveMarks { .. } => Kind::SaveMarks,
            Ask::Histogram { .. } => Kind::Histogram,
            Ask::Duplicates => Kind::Duplicates,
            Ask::Counterpart { .. } => Kind::Counterpart,
            Ask::Original(_) => Kind::Original,
            Ask::Find { .. } | Ask::StopFinding => Kind::Find,
            Ask::Replace { .. } | Ask::StopReplacing => Kind::Replace,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    Changed {
        place: Place,
        change: Change,
        count: Count,
    },
    Jumped {
        generation: u64,
        wanted: String,
        found: Found,
    },
    /// The ids, and whether there were more than are kept.
    Marked {
        place: Place,
        ids: Vec<String>,
        is_cut: bool,
    },
    Histogram {
        generation: u64,
        found: Box<Histogram>,
    },
    Duplicates {
        generation: u64,
        report: Box<Report>,
    },
    /// `None` where the other data set has no such question.
    Counterpart {
        generation: u64,
        found: Option<Box<Counterpart>>,
    },
    Original {
        generation: u64,
        place: Place,
        example: Box<Example>,
    },
    /// What a replacement would change, found so far.
    Hits {
        generation: u64,
        hits: Vec<Hit>,
        read: usize,
        is_done: bool,
    },
    Replaced {
        generation: u64,
        result: Result<Done, String>,
    },
    /// So many questions were changed by one undo.
    Together {
        questions: usize,
    },
    /// How far it is.
    Progress {
        kind: Kind,
        generation: u64,
        text: String,
    },
}

/// Where an id is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Found {
    Exactly(usize),
    /// The first that begins so.
    Beginning {
        row: usize,
        id: String,
    },
    /// Nowhere; the one most like it, if any is.
    Nowhere {
        nearest: Option<String>,
    },
}

/// What can be sorted by.
pub fn sortable(others: &[Field]) -> Vec<Field> {
    let mut fields: Vec<Field> = [
        "id",
        "question",
        "question.words",
        "choices",
        "answer",
        "predicted",
        "correct",
        "rationale",
        "rationale.words",
        "edits",
        "marked",
    ]
    .map(Field::of)
    .into();
    fields.extend(others.iter().cloned());
    fields
}

/// Whether a value is shown at the right of its column.
pub fn is_number(column: &Field) -> bool {
    matches!(column, Field::Row | Field::Words(_) | Field::Chars(_) | Field::Choices | Field::Edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(id: &str) -> Example {
        serde_json::from_value(serde_json::json!({"id": id, "question": "a b", "choices": [], "kind": "sea", "Row": 3}))
            .unwrap()
    }

    #[test]
    fn columns_keep_their_order_and_one_always_stays() {
        let mut columns = Columns::default();
        columns.see(0, &example("q1"));
        assert_eq!(columns.others, [Field::of("kind")], "a field named like a column of its own is that column");
        columns.toggle(&Field::of("kind"));
        columns.toggle(&Field::Row);
        let names: Vec<String> = columns.shown.iter().map(Field::to_string).collect();
        assert_eq!(names, ["row", "id", "question", "kind", "answer", "predicted"]);
        for column in columns.shown.clone() {
            columns.toggle(&column);
        }
        assert_eq!(columns.shown, [Field::Predicted]);
    }

    #[test]
    fn widths_only_grow() {
        let mut columns = Columns::default();
        columns.see(0, &example("q-long"));
        columns.see(1, &example("q"));
        assert_eq!(columns.widths[&Field::Id], 6);
    }
}
