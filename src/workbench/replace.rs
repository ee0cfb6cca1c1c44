//! The form that searches and replaces over questions, and the list of what would change.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::corpus::replace::{Hit, Place};

/// Which questions are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    Marked,
    /// Those that match the filter.
    Matching,
    All,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Marked, Self::Matching, Self::All];

    pub fn name(self) -> &'static str {
        match self {
            Self::Marked => "the marked questions",
            Self::Matching => "those that match the filter",
            Self::All => "all of the split",
        }
    }
}

/// A part of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Find,
    With,
    Place,
    Scope,
    List,
}

impl Field {
    pub const ALL: [Self; 5] = [Self::Find, Self::With, Self::Place, Self::Scope, Self::List];
}

/// What is searched for, as it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub find: String,
    pub with: String,
    pub place: Place,
}

/// The form.
#[derive(Debug)]
pub struct Replace {
    pub terms: Terms,
    pub scope: Scope,
    pub field: Field,
    /// What is wrong with what was typed.
    pub mistake: Option<String>,
    /// The newest search, and what it found so far.
    pub generation: u64,
    pub hits: Vec<Hit>,
    pub read: usize,
    pub is_done: bool,
    /// Questions that stay as they are.
    pub left_out: BTreeSet<String>,
    pub cursor: usize,
    /// The replacement under way.
    pub applying: Option<u64>,
}

impl Replace {
    pub fn new(scope: Scope) -> Self {
        Self {
            terms: Terms::default(),
            scope,
            field: Field::Find,
            mistake: None,
            generation: 0,
            hits: Vec::new(),
            read: 0,
            is_done: false,
            left_out: BTreeSet::new(),
            cursor: 0,
            applying: None,
        }
    }

    /// How many questions would change, and in how many places.
    pub fn counts(&self) -> (usize, usize) {
        let own = self.hits.iter().filter(|hit| !self.left_out.contains(&hit.id));
        own.fold((0, 0), |(questions, places), hit| (questions + 1, places + hit.count))
    }
}
