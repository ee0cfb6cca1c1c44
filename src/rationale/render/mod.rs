//! An example and a recipe become the tokens that the student sees, each with its role and its weight in the loss.

mod tasks;

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::corpus::{Choice, Example, Template};
use crate::rationale::ablation::{self, Material};
use crate::rationale::chat::{Framing, Opening};
use crate::rationale::recipe::{Hide, Placement, Recipe, SwapWith, Task};
use crate::rationale::similarity::Vectors;
use crate::rationale::tokens::{Token, tokens};
use crate::student::tokenizer::{PAUSE_TOKEN, Piece};
use crate::student::{StudentError, Tokenizer};

/// What a token is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The question and its choices.
    Prompt,
    Label,
    Rationale,
    /// What announces the label or the rationale.
    Separator,
    Padding,
    End,
}

/// What a token's cross-entropy is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossWeights {
    pub label: f64,
    pub rationale: f64,
    pub prompt: f64,
}

impl Default for LossWeights {
    fn default() -> Self {
        Self { label: 1.0, rationale: 1.0, prompt: 0.0 }
    }
}

/// A token as the student sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenderedToken {
    pub id: u32,
    pub text: String,
    pub role: Role,
    /// Its weight in the loss; 0 where the student is not trained to write it.
    pub loss: f32,
    /// Which token of the teacher's rationale it is.
    #[serde(skip)]
    pub origin: Option<usize>,
    #[serde(skip)]
    pub score: Option<f32>,
    #[serde(skip)]
    pub highlighted: bool,
}

/// An example, rendered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rendered {
    pub tokens: Vec<RenderedToken>,
    /// Rationale tokens cut off to fit the longest sequence.
    pub truncated: usize,
    /// The recipe wants a rationale and the example has none: it was rendered with its label alone.
    pub without_rationale: bool,
    /// What else the student learns of this example, as a sequence of its own: to explain, or a wrong answer from what
    /// argues for it.
    pub second: Option<Box<Rendered>>,
}

impl Rendered {
    pub fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.id).collect()
    }

    /// The text of all tokens, special ones included.
    pub fn text(&self) -> String {
        self.tokens.iter().map(|token| token.text.as_str()).collect()
    }

    /// Its sequences, one after the other.
    pub fn sequences(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |rendered| rendered.second.as_deref())
    }

    /// Where the tokens of a role stand.
    pub fn places(&self, role: Role) -> Range<usize> {
        let first = self.tokens.iter().position(|token| token.role == role);
        let last = self.tokens.iter().rposition(|token| token.role == role);
        first.zip(last).map_or(0..0, |(first, last)| first..last + 1)
    }
}

/// An example that can't be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error("example `{id}` has no answer among its choices · `afterthought data validate` lists such rows")]
    NoAnswer { id: String },
    #[error(
        "example `{id}` is too long: its label would be cut off ({needed} tokens, room for {limit}) · raise training.max_length or leave the row out"
    )]
    LabelCutOff { id: String, needed: usize, limit: usize },
    #[error(
        "example `{id}` has no field `{field}` to hide · use hide: question, or name the field as `subject` in dataset.yaml"
    )]
    NothingToHide { id: String, field: String },
    #[error(transparent)]
    Student(#[from] StudentError),
}

/// Everything that rendering needs beside the example.
#[derive(Clone)]
pub struct Renderer {
    /// For text that goes on: it puts no space of its own before it.
    pub tokenizer: Tokenizer,
    /// For the front of a plain prompt, where some tokenizers put one.
    pub begins: Tokenizer,
    /// What the student's chat template puts around question and answer, where the recipe asks for it.
    pub chat: Option<Framing>,
    pub template: Template,
    /// The field that [`Hide::Subject`] hides.
    pub subject: Option<String>,
    pub recipe: Recipe,
    /// What stands in front of questions: the student was trained with it, whatever it is asked later.
    pub task: Option<Task>,
    pub loss: LossWeights,
    /// The longest sequence, in tokens.
    pub max_length: usize,
    /// The run's `ablation` seed.
    pub seed: u64,
    /// Word vectors, where the recipe keeps tokens by their similarity to the label.
    pub vectors: Option<Arc<Vectors>>,
}

/// What one rendering takes from elsewhere.
#[derive(Clone, Copy, Default)]
pub struct Borrowed<'a> {
    /// The example's own rationale, where it is not the one that its row holds; empty where it is to have none.
    pub text: Option<&'a str>,
    /// The example whose rationale `swap` takes.
    pub donor: Option<&'a Example>,
    /// The example whose rationale argues for a wrong choice of this one: the choice whose text its own answer has.
    pub wrong: Option<&'a Example>,
    /// Attributions of the rationale's tokens, for `keep: {by: attribution}`.
    pub scores: Option<&'a [f32]>,
    /// Likewise, of the donor's.
    pub donor_scores: Option<&'a [f32]>,
    /// The epoch that is rendered for, 0 for the first.
    pub epoch: usize,
}

impl Renderer {
    /// All that is trained on.
    pub fn render(&self, example: &Example, borrowed: Borrowed) -> Result<Rendered, RenderError> {
        let gold = example.gold().ok_or_else(|| RenderError::NoAnswer { id: example.id.clone() })?;
        let wanted = self.recipe.placement != Placement::None;
        let rationale = if wanted { self.rationale(example, borrowed)? } else { None };
        let without_rationale = wanted && rationale.is_none();
        if self.recipe.placement == Placement::Multitask {
            let explained = rationale.map(|rationale| self.explain(example, rationale)).transpose()?.flatten();
            let mut first = self.assemble(example, gold, None)?;
            first.truncated = explained.as_ref().map_or(0, |explained| explained.truncated);
            return Ok(Rendered { without_rationale, second: explained.map(Box::new), ..first });
        }
        let first = self.assemble(example, gold, rationale)?;
        let second = match (&self.recipe.counterfactual, borrowed.wrong) {
            (Some(settings), Some(wrong)) => self.counterfactual(example, wrong, settings)?.map(Box::new),
            _ => None,
        };
        Ok(Rendered { without_rationale, second, ..first })
    }

    /// The rationale after the ablations; `None` where the example has none, or nobody to swap it with.
    pub fn rationale(&self, example: &Example, borrowed: Borrowed) -> Result<Option<Vec<Token>>, RenderError> {
        let own = |of: &Example, text: Option<&str>, scores| -> Result<Option<Vec<Token>>, StudentError> {
            // What a person marked, they marked in the text of the row.
            let highlights = if text.is_some() { &[] } else { &of.highlights[..] };
            let text = text.or(of.rationale.as_deref()).filter(|text| !text.trim().is_empty());
            let Some(text) = text else { return Ok(None) };
            let mut tokens = tokens(&self.tokenizer, text, highlights, scores)?;
            if let Some(vectors) = &self.vectors {
                // Similar to this example's label, whosever rationale it is.
                vectors.score(&mut tokens, example, &self.tokenizer)?;
            }
            Ok(Some(tokens))
        };
        let donor = match borrowed.donor {
            Some(donor) => own(donor, None, borrowed.donor_scores)?,
            None => None,
        };
        let chosen = self.recipe.swap().is_some_and(|swap| swap.with != SwapWith::AnotherExample);
        let tokens = match own(example, borrowed.text, borrowed.scores)? {
            // Nothing to swap it with: an empty rationale would be another condition.
            Some(_) if chosen && donor.is_none() => None,
            tokens => tokens,
        };
        let tokens = match tokens {
            Some(tokens) => tokens,
            None if self.recipe.needs_no_rationale() => vec![],
            None => return Ok(None),
        };
        let mask = self.mask()?;
        let pause = self.pause()?;
        let tokenise = |text: &str| self.tokenizer.pieces(text).unwrap_or_default();
        let material = Material {
            seed: self.seed,
            example_id: &example.id,
            donor: donor.as_deref(),
            epoch: borrowed.epoch,
            mask: &mask,
            pause: pause.as_ref(),
            tokenise: &tokenise,
        };
        Ok(Some(ablation::apply(&self.recipe.ablations, tokens, &material)))
    }

    /// What stands before the text that the student writes when it is asked: the prompt, and what announces its
    /// rationale (`pre`) or its label (else).
    pub fn prompt(&self, example: &Example) -> Result<Vec<u32>, RenderError> {
        let mut out = self.opening(example, self.task)?;
        let lead =
            if self.recipe.placement == Placement::Pre { &self.template.rationale } else { &self.template.answer };
        self.begin(&mut out, lead, 0.0)?;
        Ok(out.into_iter().map(|token| token.id).collect())
    }

    /// The sequence up to the label, with the rationale given: what a reader is asked, and what attributions are taken
    /// of. A rationale that leaves no room for the label is cut.
    pub fn prompt_with_rationale(&self, example: &Example, borrowed: Borrowed) -> Result<Rendered, RenderError> {
        let mut tokens = self.opening(example, self.task)?;
        let (mut lead, mut rationale, mut answer) = (Vec::new(), Vec::new(), Vec::new());
        match self.rationale(example, borrowed)? {
            Some(own) => {
                self.begin(&mut lead, &self.template.rationale, 0.0)?;
                rationale.extend(own.into_iter().map(|token| rendered(token, 0.0)));
                self.push(&mut answer, &self.template.answer, Role::Separator, 0.0)?;
            }
            None => self.begin(&mut answer, &self.template.answer, 0.0)?,
        }
        let without_rationale = rationale.is_empty();
        let longest = example.choices.iter().map(|choice| self.label_ids(choice).map(|ids| ids.len()));
        let label = longest.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(1);
        let needed = tokens.len() + lead.len() + answer.len() + label;
        if needed > self.max_length {
            return Err(RenderError::LabelCutOff { id: example.id.clone(), needed, limit: self.max_length });
        }
        let truncated = rationale.len().saturating_sub(self.max_length - needed);
        rationale.truncate(self.max_length - needed);
        tokens.extend(lead.into_iter().chain(rationale).chain(answer));
        Ok(Rendered { tokens, truncated, without_rationale, second: None })
    }

    /// The sequence up to a rationale that an answer stands before: as `post` has it, with any choice for the label.
    pub fn prompt_with_answer(&self, example: &Example, choice: &Choice) -> Result<Vec<u32>, RenderError> {
        let mut out = self.opening(example, self.task)?;
        self.begin(&mut out, &self.template.answer, 0.0)?;
        self.push(&mut out, &self.template.label_text(choice), Role::Label, 0.0)?;
        self.push(&mut out, &self.template.rationale, Role::Separator, 0.0)?;
        Ok(out.into_iter().map(|token| token.id).collect())
    }

    /// The tokens of a choice as the student writes it.
    pub fn label_ids(&self, choice: &Choice) -> Result<Vec<u32>, StudentError> {
        self.tokenizer.ids(&self.template.label_text(choice))
    }

    /// The tokens that announce the label: where a student's own rationale ends.
    pub fn answer_ids(&self) -> Result<Vec<u32>, StudentError> {
        self.tokenizer.ids(&self.template.answer)
    }

    /// The tokens that announce the rationale: where a label written first ends.
    pub fn rationale_ids(&self) -> Result<Vec<u32>, StudentError> {
        self.tokenizer.ids(&self.template.rationale)
    }

    fn assemble(
        &self,
        example: &Example,
        gold: &Choice,
        rationale: Option<Vec<Token>>,
    ) -> Result<Rendered, RenderError> {
        let (label_weight, rationale_weight) = (self.loss.label as f32, self.loss.rationale as f32);
        let mut head = self.opening(example, self.task)?;
        let mut label = Vec::new();
        let mut middle = Vec::new();
        let lead = |out: &mut Vec<RenderedToken>, text: &str, weight| self.push(out, text, Role::Separator, weight);
        self.push(&mut label, &self.template.label_text(gold), Role::Label, label_weight)?;
        let rationale = rationale.map(|tokens| self.weighted(tokens));
        // The student writes what follows the prompt, so whatever ends one of its parts is trained with that part's
        // weight; what begins the first part is given to it.
        let pre = self.recipe.placement == Placement::Pre && rationale.is_some();
        let tail = if pre {
            self.begin(&mut head, &self.template.rationale, self.loss.prompt as f32)?;
            lead(&mut middle, &self.template.answer, rationale_weight)?;
            middle.append(&mut label);
            self.end(label_weight)
        } else {
            self.begin(&mut head, &self.template.answer, self.loss.prompt as f32)?;
            head.append(&mut label);
            if rationale.is_some() {
                lead(&mut head, &self.template.rationale, rationale_weight)?;
            }
            self.end(if rationale.is_some() { rationale_weight } else { label_weight })
        };
        let mut rationale = rationale.unwrap_or_default();
        let needed = head.len() + middle.len() + tail.len();
        if needed > self.max_length {
            return Err(RenderError::LabelCutOff { id: example.id.clone(), needed, limit: self.max_length });
        }
        let room = self.max_length - needed;
        let truncated = rationale.len().saturating_sub(room);
        rationale.truncate(room);
        let tokens = head.into_iter().chain(rationale).chain(middle).chain(tail).collect();
        Ok(Rendered { tokens, truncated, ..Rendered::default() })
    }

    /// The tokens of a rationale with their weights.
    fn weighted(&self, tokens: Vec<Token>) -> Vec<RenderedToken> {
        let weight = self.loss.rationale as f32;
        let shares = self.recipe.attribution_weights.as_ref().map(|weights| {
            // Those in the loss alone share its weight.
            let counted: Vec<Option<f32>> =
                tokens.iter().filter(|token| token.in_loss).map(|token| token.score).collect();
            weights.of(&counted)
        });
        let mut shares = shares.map(Vec::into_iter);
        let mut share = |token: &Token| match &mut shares {
            Some(shares) if token.in_loss => shares.next().unwrap_or(1.0),
            _ => 1.0,
        };
        let of = |token: Token| {
            let share = share(&token);
            rendered(token, weight * share)
        };
        tokens.into_iter().map(of).collect()
    }

    /// The begin token, if the student has one, and the question with its choices, after the word for its task; or what
    /// the student's chat template makes of it.
    fn opening(&self, example: &Example, task: Option<Task>) -> Result<Vec<RenderedToken>, RenderError> {
        let mut out = Vec::new();
        let (mut text, mut question) = self.template.prompt_text(example);
        if let Some(prefix) = task.map(Task::prefix) {
            text.insert_str(0, prefix);
            question = question.start + prefix.len()..question.end + prefix.len();
        }
        let Some(chat) = &self.chat else {
            if let Some(bos) = self.tokenizer.specials.bos {
                out.push(plain(bos, self.tokenizer.token(bos).unwrap_or_default(), Role::Prompt, 0.0));
            }
            let hidden = self.hidden(example, &text, question)?;
            self.ask(&mut out, &text, &hidden, &self.begins)?;
            return Ok(out);
        };
        // A message has no white space around it; most templates would trim it themselves.
        let (said, lead) = (text.trim(), text.len() - text.trim_start().len());
        let within = |byte: usize| byte.saturating_sub(lead).min(said.len());
        let hidden = self.hidden(example, said, within(question.start)..within(question.end))?;
        for part in chat.opening(said, &self.tokenizer) {
            match part {
                Opening::Special(id, text) => {
                    let loss = if out.is_empty() { 0.0 } else { self.loss.prompt as f32 };
                    out.push(plain(id, text.to_owned(), Role::Prompt, loss));
                }
                Opening::Text { text, question, tokenizer } => {
                    let moved = |span: &Range<usize>| span.start + question.start..span.end + question.start;
                    let hidden: Vec<_> = hidden.iter().filter(|_| !question.is_empty()).map(moved).collect();
                    self.ask(&mut out, &text, &hidden, tokenizer)?;
                }
            }
        }
        Ok(out)
    }

    /// Text of the prompt, masked where it is hidden.
    fn ask(
        &self,
        out: &mut Vec<RenderedToken>,
        text: &str,
        hidden: &[Range<usize>],
        tokenizer: &Tokenizer,
    ) -> Result<(), StudentError> {
        let mask = if hidden.is_empty() { None } else { Some(self.mask()?) };
        for piece in tokenizer.pieces(text)? {
            let Piece { mut id, text: mut shown, start } = piece;
            let own = start + (shown.len() - shown.trim_start().len())..start + shown.len();
            if let Some(mask) = &mask
                && hidden.iter().any(|span| span.start < own.end && own.start < span.end)
            {
                id = mask.id;
                shown = if own.start > start { mask.text.clone() } else { mask.text.trim_start().into() };
            }
            // The very first token has nothing before it to be predicted from.
            let loss = if out.is_empty() { 0.0 } else { self.loss.prompt as f32 };
            out.push(plain(id, shown, Role::Prompt, loss));
        }
        Ok(())
    }

    /// What announces the first part that the student writes.
    fn begin(&self, out: &mut Vec<RenderedToken>, text: &str, loss: f32) -> Result<(), StudentError> {
        let pieces = match &self.chat {
            Some(chat) => chat.beginning(text, &self.tokenizer)?,
            None => self.tokenizer.pieces(text)?,
        };
        out.extend(pieces.into_iter().map(|piece| plain(piece.id, piece.text, Role::Separator, loss)));
        Ok(())
    }

    /// What ends the sequence.
    fn end(&self, loss: f32) -> Vec<RenderedToken> {
        let eos = self.tokenizer.specials.eos;
        match &self.chat {
            Some(chat) => chat.ending().iter().map(|(id, text)| plain(*id, text.clone(), Role::End, loss)).collect(),
            None => vec![plain(eos, self.tokenizer.token(eos).unwrap_or_default(), Role::End, loss)],
        }
    }

    /// Whether a token that the student writes ends its text.
    pub fn is_end(&self, id: u32) -> bool {
        let of_chat = self.chat.as_ref().and_then(|chat| chat.ending().last());
        id == self.tokenizer.specials.eos || of_chat.is_some_and(|(end, _)| *end == id)
    }

    /// The bytes of the prompt that the student must not see.
    fn hidden(
        &self,
        example: &Example,
        prompt: &str,
        question: Range<usize>,
    ) -> Result<Vec<Range<usize>>, RenderError> {
        match self.recipe.hide {
            Hide::Nothing => Ok(vec![]),
            Hide::Question => Ok(vec![question]),
            Hide::Subject => {
                let field = self.subject.as_deref().unwrap_or("subject");
                let missing =
                    || RenderError::NothingToHide { id: example.id.clone(), field: crate::text::line(field).into() };
                let subject = example.extra_text(field).filter(|word| !word.is_empty()).ok_or_else(missing)?;
                let found = whole_words(&prompt[question.clone()], subject)
                    .map(|at| question.start + at..question.start + at + subject.len())
                    .collect::<Vec<_>>();
                if found.is_empty() { Err(missing()) } else { Ok(found) }
            }
        }
    }

    fn push(&self, out: &mut Vec<RenderedToken>, text: &str, role: Role, loss: f32) -> Result<(), StudentError> {
        out.extend(self.tokenizer.pieces(text)?.into_iter().map(|piece| plain(piece.id, piece.text, role, loss)));
        Ok(())
    }

    /// The token of which pauses are made, where the recipe has some.
    fn pause(&self) -> Result<Option<Piece>, StudentError> {
        if !self.recipe.pauses() {
            return Ok(None);
        }
        let missing = || StudentError::Vocabulary {
            problem: format!("the student has no {PAUSE_TOKEN} token · train it with this recipe from the beginning"),
        };
        let id = self.tokenizer.id_of(PAUSE_TOKEN).ok_or_else(missing)?;
        Ok(Some(Piece { id, text: format!(" {PAUSE_TOKEN}"), start: 0 }))
    }

    /// The mask token, or `_` for tokenizers that have none.
    pub fn mask(&self) -> Result<Piece, StudentError> {
        match self.tokenizer.specials.mask {
            Some(id) => {
                let text = self.tokenizer.token(id).unwrap_or_default();
                Ok(Piece { id, text: format!(" {text}"), start: 0 })
            }
            None => {
                let problem = || StudentError::Vocabulary { problem: "the tokenizer has no token for ` _`".into() };
                self.tokenizer.pieces(" _")?.into_iter().next().ok_or_else(problem)
            }
        }
    }
}

/// A token that is none of a rationale's.
fn plain(id: u32, text: String, role: Role, loss: f32) -> RenderedToken {
    RenderedToken { id, text, role, loss, origin: None, score: None, highlighted: false }
}

fn rendered(token: Token, weight: f32) -> RenderedToken {
    RenderedToken {
        id: token.id,
        text: token.text,
        role: Role::Rationale,
        loss: if token.in_loss { weight } else { 0.0 },
        origin: token.origin,
        score: token.score,
        highlighted: token.highlighted,
    }
}

/// Where `word` stands in `text` with no letter or digit beside it.
fn whole_words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests;
