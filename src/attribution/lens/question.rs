//! What a lens is asked about an example: its tokens, where its label is written, and between which tokens the choices
//! differ.

use serde::{Deserialize, Serialize};

use super::LensError;
use crate::corpus::Example;
use crate::rationale::{RenderError, Rendered, Renderer, Role};

/// An example as a lens reads it.
///
/// The label and the choices are looked for by their *first* tokens: a label of several tokens is readable as soon as its
/// first one is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    pub id: String,
    pub ids: Vec<u32>,
    /// The label's text, and how many tokens it has.
    pub label: String,
    pub label_tokens: usize,
    /// Its first token.
    pub gold: u32,
    /// The first tokens of the other choices, each once, and without the label's own.
    pub others: Vec<u32>,
    /// The texts of other choices that begin with the label's first token: they can't be told from it.
    pub shared: Vec<String>,
    /// The place from which a lens reads the label's first token: the one before it, and as many places earlier as the
    /// lens looks ahead. `None` where the sequence does not begin so early.
    pub place: Option<usize>,
}

impl Question {
    /// The question that an example is under a rendering of it, for a lens that looks `ahead` tokens beyond the next.
    pub fn new(renderer: &Renderer, example: &Example, rendered: &Rendered, ahead: usize) -> Result<Self, LensError> {
        let no_answer = || RenderError::NoAnswer { id: example.id.clone() };
        let gold = example.gold().ok_or_else(no_answer)?;
        let label = rendered.places(Role::Label);
        let ids = rendered.ids();
        let first = *ids.get(label.start).filter(|_| !label.is_empty()).ok_or_else(no_answer)?;
        let (mut others, mut shared) = (Vec::new(), Vec::new());
        for choice in example.choices.iter().filter(|choice| choice.label != gold.label) {
            match renderer.label_ids(choice)?.first() {
                Some(token) if *token == first => shared.push(choice.text.clone()),
                Some(token) if !others.contains(token) => others.push(*token),
                _ => {}
            }
        }
        Ok(Self {
            id: example.id.clone(),
            label: renderer.template.label_text(gold).trim().to_owned(),
            label_tokens: label.len(),
            gold: first,
            others,
            shared,
            place: label.start.checked_sub(1 + ahead),
            ids,
        })
    }

    /// Whether a lens can tell the label from every other choice.
    pub fn is_distinct(&self) -> bool {
        self.shared.is_empty() && !self.others.is_empty()
    }

    /// The label's first token, then those of the other choices.
    pub fn choices(&self) -> Vec<u32> {
        std::iter::once(self.gold).chain(self.others.iter().copied()).collect()
    }
}
