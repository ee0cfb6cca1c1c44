//! What if: tokens of what a student reads are masked, taken out, typed anew or put in another order, and every choice is as
//! probable as it then is.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{D, DType, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::example::AttributionError;
use crate::corpus::Example;
use crate::rationale::recipe::{Ablation, Hide, Shuffle, Unit};
use crate::rationale::{Borrowed, RenderError, Rendered, RenderedToken, Renderer, Role};
use crate::student::{Cache, Decoder};

/// A change of one token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edit {
    /// The mask stands in its place.
    Mask,
    Delete,
    /// Other text stands in its place, whatever tokens that is.
    Retype(String),
}

/// All changes of one example. Places are those of the tokens as they stand unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    pub edits: BTreeMap<usize, Edit>,
    /// The rationale's units in another order, drawn with a seed as a recipe would.
    pub shuffle: Option<(Unit, u64)>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.shuffle.is_none()
    }
}

/// A choice's probability among the choices, before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    pub label: String,
    pub text: String,
    pub before: f64,
    pub after: f64,
}

/// A token of the changed sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangedToken {
    /// What stands there now; of a token that was taken out, what stood there.
    pub text: String,
    pub role: Role,
    /// Its place in the unchanged sequence.
    pub place: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<Edit>,
}

/// What the changes do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhatIf {
    pub choices: Vec<Moved>,
    pub tokens: Vec<ChangedToken>,
    /// The question and the rationale as texts with the changes in them; `None` where nothing was changed, or where no text is
    /// read as these tokens (a mask, half a character, a word outside the question).
    pub question: Option<String>,
    pub rationale: Option<String>,
}

/// Asks a student with and without the changes. The renderer reads the rationale before the label.
pub fn what_if(
    decoder: &Decoder,
    renderer: &Renderer,
    example: &Example,
    changes: &Changes,
) -> std::result::Result<WhatIf, AttributionError> {
    let base = renderer.prompt_with_rationale(example, Borrowed::default())?;
    let order = order(renderer, example, &base, changes)?;
    let mask = renderer.mask()?;
    let mut ids = Vec::new();
    let mut tokens = Vec::new();
    for place in order {
        let RenderedToken { id, text, role, .. } = &base.tokens[place];
        let edit = changes.edits.get(&place);
        let shown = match edit {
            None => {
                ids.push(*id);
                text.clone()
            }
            Some(Edit::Delete) => text.clone(),
            Some(Edit::Mask) => {
                ids.push(mask.id);
                with_space_of(text, &mask.text)
            }
            Some(Edit::Retype(new)) => {
                let new = with_space_of(text, new);
                ids.extend(renderer.tokenizer.ids(&new)?);
                new
            }
        };
        tokens.push(ChangedToken { text: shown, role: *role, place, edit: edit.cloned() });
    }
    let labels = example.choices.iter().map(|choice| renderer.label_ids(choice));
    let labels = labels.collect::<std::result::Result<Vec<_>, _>>()?;
    let longest = labels.iter().map(Vec::len).max().unwrap_or(1);
    if ids.len() + longest > renderer.max_length {
        let needed = ids.len() + longest;
        return Err(RenderError::LabelCutOff { id: example.id.clone(), needed, limit: renderer.max_length }.into());
    }
    let asked = |ids: &[u32]| -> std::result::Result<Vec<f64>, AttributionError> {
        let found = likelihoods(decoder, ids, &labels)
            .map_err(|source| AttributionError::Tensor { id: example.id.clone(), source })?;
        shares(&found).ok_or_else(|| AttributionError::NotANumber { id: example.id.clone() })
    };
    let before = asked(&base.ids())?;
    let after = if changes.is_empty() { before.clone() } else { asked(&ids)? };
    let choices = example.choices.iter().zip(before.into_iter().zip(after));
    let choices = choices.map(|(choice, (before, after))| Moved {
        label: choice.label.clone(),
        text: choice.text.clone(),
        before,
        after,
    });
    let mut question = question(renderer, example, &tokens);
    let mut rationale = rationale(&tokens, &base, changes);
    let mut kept = example.clone();
    kept.question = question.clone().unwrap_or(kept.question);
    kept.rationale = rationale.clone().or(kept.rationale);
    // A text that is read as other tokens than those that were tried would be another change: a mask is no word.
    let again = renderer.prompt_with_rationale(&kept, Borrowed::default());
    if again.is_err() || again.is_ok_and(|again| again.ids() != ids) {
        (question, rationale) = (None, None);
    }
    Ok(WhatIf { choices: choices.collect(), question, rationale, tokens })
}

/// The places of the unchanged sequence in their new order.
fn order(
    renderer: &Renderer,
    example: &Example,
    base: &Rendered,
    changes: &Changes,
) -> std::result::Result<Vec<usize>, RenderError> {
    let mut order: Vec<usize> = (0..base.tokens.len()).collect();
    let Some((unit, seed)) = changes.shuffle else { return Ok(order) };
    let mut renderer = renderer.clone();
    renderer.seed = seed;
    renderer.recipe.ablations = vec![Ablation::Shuffle(Shuffle { unit, ..Shuffle::default() })];
    let shuffled = renderer.prompt_with_rationale(example, Borrowed::default())?;
    // A shuffle moves tokens; each says which of the teacher's it is.
    let by_origin: BTreeMap<usize, usize> =
        base.tokens.iter().enumerate().filter_map(|(place, token)| Some((token.origin?, place))).collect();
    let own = base.places(Role::Rationale);
    let moved = shuffled.tokens.iter().filter_map(|token| by_origin.get(&token.origin?).copied());
    order.splice(own, moved);
    Ok(order)
}

/// Text with the white space in front that another has.
fn with_space_of(text: &str, new: &str) -> String {
    let lead = &text[..text.len() - text.trim_start().len()];
    if new.trim().is_empty() { String::new() } else { format!("{lead}{}", new.trim()) }
}

/// Log p of each label after a context: the context is read once, whatever the labels are.
pub fn likelihoods(decoder: &Decoder, context: &[u32], labels: &[Vec<u32>]) -> Result<Vec<f64>> {
    let longest = labels.iter().map(Vec::len).max().unwrap_or(0);
    let mut sums = vec![0.0; labels.len()];
    if longest == 0 || context.is_empty() {
        return Ok(sums);
    }
    let mut cache = Cache::new(&decoder.architecture, vec![0], context.len() + longest);
    let mut log_p = table(&decoder.next(context, &mut cache)?)?;
    // Labels of one token need no more; the others are read on together.
    let longer: Vec<usize> = (0..labels.len()).filter(|label| labels[*label].len() > 1).collect();
    for (sum, label) in sums.iter_mut().zip(labels) {
        *sum += label.first().map_or(0.0, |id| log_p[0][*id as usize]);
    }
    if longer.is_empty() {
        return Ok(sums);
    }
    cache.keep(&vec![0; longer.len()])?;
    for place in 1..longest {
        // A label that is at its end is fed its last token again, and nothing is read there.
        let fed = longer.iter().map(|label| labels[*label][(place - 1).min(labels[*label].len() - 1)]);
        log_p = table(&decoder.next(&fed.collect::<Vec<_>>(), &mut cache)?)?;
        for (row, label) in longer.iter().enumerate() {
            sums[*label] += labels[*label].get(place).map_or(0.0, |id| log_p[row][*id as usize]);
        }
    }
    Ok(sums)
}

fn table(logits: &Tensor) -> Result<Vec<Vec<f64>>> {
    candle_nn::ops::log_softmax(&logits.to_dtype(DType::F64)?, D::Minus1)?.to_vec2()
}

/// Probabilities among the choices. `None` where there is no number.
pub fn shares(log_likelihoods: &[f64]) -> Option<Vec<f64>> {
    let best = log_likelihoods.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = log_likelihoods.iter().map(|own| (own - best).exp()).sum();
    let shares: Vec<f64> = log_likelihoods.iter().map(|own| (own - best).exp() / sum).collect();
    shares.iter().all(|share| share.is_finite()).then_some(shares)
}

/// The text of tokens as they are changed; `None` where that is none: where one character took several tokens, the first has its
/// text, and a change must be of all of them.
fn text<'a>(tokens: impl Iterator<Item = &'a ChangedToken>, base: &Rendered) -> Option<String> {
    let mut text = String::new();
    let mut head: Option<&ChangedToken> = None;
    for token in tokens {
        if base.tokens[token.place].text.is_empty() {
            let head = head.filter(|head| head.place < token.place)?;
            let is_one = base.tokens[head.place + 1..token.place].iter().all(|between| between.text.is_empty());
            if !is_one || head.edit.is_some() != token.edit.is_some() {
                return None;
            }
        } else {
            head = Some(token);
        }
        if token.edit != Some(Edit::Delete) {
            text.push_str(&token.text);
        }
    }
    Some(text)
}

fn rationale(tokens: &[ChangedToken], base: &Rendered, changes: &Changes) -> Option<String> {
    let own = || tokens.iter().filter(|token| token.role == Role::Rationale);
    if changes.shuffle.is_none() && own().all(|token| token.edit.is_none()) {
        return None;
    }
    text(own(), base).map(|text| text.trim().to_owned())
}

/// The question with what was changed in it. The prompt's tokens must be the prompt's text: a chat template says more.
fn question(renderer: &Renderer, example: &Example, tokens: &[ChangedToken]) -> Option<String> {
    let (whole, span) = renderer.template.prompt_text(example);
    // What is hidden from the student, token by token, is no change of the text.
    let mut open = renderer.clone();
    open.recipe.hide = Hide::Nothing;
    let base = &open.prompt_with_rationale(example, Borrowed::default()).ok()?;
    let places = base.places(Role::Prompt);
    let mut bytes: BTreeMap<usize, Range<usize>> = BTreeMap::new();
    let mut at = 0;
    for place in places {
        let text = &base.tokens[place].text;
        if whole[at..].starts_with(text.as_str()) {
            bytes.insert(place, at..at + text.len());
            at += text.len();
        }
    }
    if at != whole.len() {
        return None;
    }
    let edited = |token: &&ChangedToken| token.role == Role::Prompt && token.edit.is_some();
    let inside =
        |token: &ChangedToken| bytes.get(&token.place).is_some_and(|own| span.start < own.end && own.end <= span.end);
    if tokens.iter().filter(edited).count() == 0 || !tokens.iter().filter(edited).all(inside) {
        return None;
    }
    // A token that begins before the question, with the space in front of it, say, has the rest of the template in it.
    let first = bytes.values().find(|own| own.end > span.start)?.start;
    let shown = |token: &ChangedToken| match token.edit {
        None => ChangedToken { text: base.tokens[token.place].text.clone(), ..token.clone() },
        Some(_) => token.clone(),
    };
    let own: Vec<ChangedToken> = tokens.iter().filter(|token| inside(token)).map(shown).collect();
    let changed = text(own.iter(), base)?;
    let ahead = &whole[first..span.start.max(first)];
    Some(changed.strip_prefix(ahead).unwrap_or(&changed).trim().to_owned())
}
