//! What a check says: how it stands, what was found, and what to do about it.

use serde::Serialize;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Good,
    /// It works, and could be better.
    Warning,
    /// Something does not work.
    Broken,
}

impl Standing {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Warning => "!",
            Self::Broken => "✗",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub state: Standing,
    pub found: String,
    /// What to do; `None` where nothing has to be done.
    pub fix: Option<String>,
}

impl Check {
    pub fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: Standing::Good, found: found.into(), fix: None }
    }

    pub fn warning(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: Standing::Warning, found: found.into(), fix: Some(fix.into()) }
    }

    pub fn broken(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: Standing::Broken, found: found.into(), fix: Some(fix.into()) }
    }
}
