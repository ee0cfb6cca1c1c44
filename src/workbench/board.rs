//! What the board shows, as plain data: a table, how its rows are arranged, and what was opened of it.

use serde::{Deserialize, Serialize};

use crate::studies::Baseline;
use crate::studies::disagree::{Disagreements, Question};
use crate::studies::table::{Row, RowKind, Section, SectionName, Table};

/// The comparison of conditions.
#[derive(Default)]
pub struct BoardView {
    /// The newest table that was asked for, and the one that is shown.
    pub asked: u64,
    pub have: u64,
    /// Tables that were asked for before this one are of something else.
    pub since: u64,
    pub shown: Shown,
    pub table: Option<Table>,
    /// Why there is none.
    pub error: Option<String>,
    pub sort: Sort,
    /// A part of the conditions' names.
    pub filter: String,
    /// Rows that the user made baselines.
    pub baselines: Vec<Baseline>,
    /// The rows as they are shown, by section and place in it.
    pub lines: Vec<(usize, usize)>,
    pub cursor: usize,
    pub face: Face,
}

/// Whose cells are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shown {
    /// All runs of the project.
    #[default]
    Project,
    Study(String),
}

/// The order of the rows of a section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sort {
    /// As the study lists them, or as the runs began.
    #[default]
    Listed,
    Accuracy,
    Difference,
    Name,
}

/// What is opened.
#[derive(Default)]
pub enum Face {
    #[default]
    Table,
    /// The runs of the selected row.
    Row {
        run: usize,
    },
    Questions(Box<QuestionsView>),
}

/// The questions on which two rows disagree.
pub struct QuestionsView {
    pub generation: u64,
    pub section: SectionName,
    pub one: String,
    pub other: String,
    /// `None` until they are found.
    pub found: Option<Result<Disagreements, String>>,
    pub cursor: usize,
    /// The run that was selected in the row from which they were opened.
    pub from_run: Option<usize>,
}

impl Sort {
    pub fn next(self) -> Self {
        match self {
            Self::Listed => Self::Accuracy,
            Self::Accuracy => Self::Difference,
            Self::Difference => Self::Name,
            Self::Name => Self::Listed,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Listed => "as listed",
            Self::Accuracy => "by accuracy",
            Self::Difference => "by difference",
            Self::Name => "by name",
        }
    }
}

impl QuestionsView {
    pub fn questions(&self) -> &[Question] {
        match &self.found {
            Some(Ok(found)) => &found.questions,
            _ => &[],
        }
    }
}

impl BoardView {
    /// The row of a line, with its section and its place there.
    pub fn row_at(&self, line: usize) -> Option<(&Section, usize, &Row)> {
        let (section, place) = *self.lines.get(line)?;
        let section = self.table.as_ref()?.sections.get(section)?;
        Some((section, place, section.rows.get(place)?))
    }

    pub fn selected(&self) -> Option<(&Section, usize, &Row)> {
        self.row_at(self.cursor)
    }

    /// Puts another table in the place of the one that is shown. The cursor stays on its row.
    pub fn take(&mut self, table: Table) {
        let before = self.key_of(self.cursor);
        (self.table, self.error) = (Some(table), None);
        self.arrange(before);
    }

    /// Filters and sorts the rows anew. The cursor stays on its row, as long as it is there.
    pub fn rearrange(&mut self) {
        let before = self.key_of(self.cursor);
        self.arrange(before);
    }

    /// What a row is known by.
    fn key_of(&self, line: usize) -> Option<(SectionName, RowKind, String)> {
        self.row_at(line).map(|(section, _, row)| (section.name(), row.kind, row.condition.clone()))
    }

    fn arrange(&mut self, before: Option<(SectionName, RowKind, String)>) {
        let filter = self.filter.trim().to_lowercase();
        let mut lines = Vec::new();
        for (number, section) in self.table.iter().flat_map(|table| &table.sections).enumerate() {
            let rows = &section.rows;
            let mut own: Vec<usize> =
                (0..rows.len()).filter(|place| rows[*place].condition.to_lowercase().contains(&filter)).collect();
            // What has no number yet stands last.
            let number_of = |place: &usize| match self.sort {
                Sort::Accuracy => rows[*place].accuracy.unwrap_or(f64::NEG_INFINITY),
                _ => rows[*place].against.as_ref().map_or(f64::NEG_INFINITY, |against| against.difference),
            };
            match self.sort {
                Sort::Listed => {}
                Sort::Name => own.sort_by_cached_key(|place| rows[*place].condition.to_lowercase()),
                Sort::Accuracy | Sort::Difference => {
                    own.sort_by(|one, other| number_of(other).total_cmp(&number_of(one)));
                }
            }
            lines.extend(own.into_iter().map(|place| (number, place)));
        }
        self.lines = lines;
        let found = before.and_then(|key| (0..self.lines.len()).find(|line| self.key_of(*line).as_ref() == Some(&key)));
        if found.is_none() && matches!(self.face, Face::Row { .. }) {
            self.face = Face::Table;
        }
        self.cursor = found.unwrap_or(self.cursor).min(self.lines.len().saturating_sub(1));
    }
}
