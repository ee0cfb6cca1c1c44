//! The second sequences of an example: its rationale as a task of its own, and a wrong answer with what argues for it.

use super::{RenderError, Rendered, RenderedToken, Renderer, Role, rendered};
use crate::corpus::Example;
use crate::rationale::lenders::argued;
use crate::rationale::recipe::{Counterfactual, Task};
use crate::rationale::tokens::{Token, tokens};

impl Renderer {
    /// Asked to explain, the student writes the rationale. `None` where not even its first token fits.
    pub(super) fn explain(&self, example: &Example, rationale: Vec<Token>) -> Result<Option<Rendered>, RenderError> {
        let mut head = self.opening(example, Some(Task::Explain))?;
        self.begin(&mut head, &self.template.rationale, self.loss.prompt as f32)?;
        self.fitted(head, self.weighted(rationale), self.end(self.loss.rationale as f32))
    }

    /// Given what argues for a wrong choice, the student answers with that choice. The rationale is read, not learnt.
    /// `None` where the lender argues for no wrong choice of this question, or there is no room for any of it.
    pub(super) fn counterfactual(
        &self,
        example: &Example,
        lender: &Example,
        settings: &Counterfactual,
    ) -> Result<Option<Rendered>, RenderError> {
        let argued = argued(example, lender);
        let (Some(choice), Some(text)) = (argued, lender.rationale.as_deref().filter(|_| lender.has_rationale()))
        else {
            return Ok(None);
        };
        let weight = (self.loss.label * settings.weight) as f32;
        let mut head = self.opening(example, Some(Task::Counterfactual))?;
        self.begin(&mut head, &self.template.rationale, self.loss.prompt as f32)?;
        let given = tokens(&self.tokenizer, text, &[], None)?.into_iter().map(|token| rendered(token, 0.0)).collect();
        let mut tail = Vec::new();
        self.push(&mut tail, &self.template.answer, Role::Separator, 0.0)?;
        self.push(&mut tail, &self.template.label_text(choice), Role::Label, weight)?;
        tail.extend(self.end(weight));
        self.fitted(head, given, tail)
    }

    /// A sequence whose rationale is cut where it is too long.
    fn fitted(
        &self,
        head: Vec<RenderedToken>,
        mut rationale: Vec<RenderedToken>,
        tail: Vec<RenderedToken>,
    ) -> Result<Option<Rendered>, RenderError> {
        let room = self.max_length.saturating_sub(head.len() + tail.len());
        if room == 0 {
            return Ok(None);
        }
        let truncated = rationale.len().saturating_sub(room);
        rationale.truncate(room);
        let tokens = head.into_iter().chain(rationale).chain(tail).collect();
        Ok(Some(Rendered { tokens, truncated, ..Rendered::default() }))
    }
}
