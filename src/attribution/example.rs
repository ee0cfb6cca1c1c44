//! Attributions of one example's tokens, and of whole splits.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::IntegratedGradients;
use crate::corpus::Example;
use crate::rationale::recipe::{Baseline, Placement};
use crate::rationale::{Borrowed, RenderError, Rendered, Renderer, Role};
use crate::student::{Decoder, StudentError};

/// Steps of the integral when nothing else is asked for.
pub const STEPS: usize = 20;

/// What can go wrong while attributing.
#[derive(Debug, thiserror::Error)]
pub enum AttributionError {
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Student(#[from] StudentError),
    #[error("example `{id}` has no answer among its choices, so there is no log p(label) to attribute")]
    NoAnswer { id: String },
    #[error("example `{id}` has no rationale to attribute to · attribute the whole prompt instead")]
    NoRationale { id: String },
    #[error("attributing `{id}` failed: {source}")]
    Tensor { id: String, source: candle_core::Error },
}

/// Which tokens the path of integrated gradients moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// The rationale's; the question stays as it is.
    Rationale,
    /// Everything before the label.
    Prompt,
}

/// A token with its share of log p(label).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredToken {
    pub text: String,
    pub role: Role,
    /// `None` for tokens that were held fixed.
    pub score: Option<f32>,
}

/// What `attribute` prints and stores for one example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExampleAttribution {
    pub id: String,
    pub method: String,
    /// The label's text, of which log p is attributed.
    pub target: String,
    pub steps: usize,
    pub baseline: Baseline,
    pub convergence_delta: f64,
    pub log_p: f64,
    pub log_p_baseline: f64,
    pub tokens: Vec<ScoredToken>,
    /// Scores summed over the tokens of each word.
    pub words: Vec<ScoredToken>,
}

impl ExampleAttribution {
    /// Scores of the rationale's tokens, in order.
    pub fn rationale_scores(&self) -> Vec<f32> {
        let own = self.tokens.iter().filter(|token| token.role == Role::Rationale);
        own.map(|token| token.score.unwrap_or(0.0)).collect()
    }
}

/// Attributes log p(gold label) to an example's tokens, with the rationale read before the label whatever the
/// renderer's own placement: after the label it could have no influence. `placement: none` leaves it out.
pub fn attribute(
    decoder: &Decoder,
    renderer: &Renderer,
    example: &Example,
    method: &IntegratedGradients,
    over: Over,
) -> Result<ExampleAttribution, AttributionError> {
    let gold = example.gold().ok_or_else(|| AttributionError::NoAnswer { id: example.id.clone() })?;
    let mut bare;
    let example = if renderer.recipe.placement == Placement::None {
        bare = example.clone();
        bare.rationale = None;
        &bare
    } else {
        example
    };
    let rendered = renderer.prompt_with_rationale(example, Borrowed::default())?;
    let rationale = rendered.places(Role::Rationale);
    let range = match over {
        Over::Rationale if rationale.is_empty() => {
            return Err(AttributionError::NoRationale { id: example.id.clone() });
        }
        Over::Rationale => rationale,
        Over::Prompt => 0..rendered.tokens.len(),
    };
    let label = renderer.label_ids(gold)?;
    let found = method
        .attribute(decoder, &rendered.ids(), &label, range.clone())
        .map_err(|source| AttributionError::Tensor { id: example.id.clone(), source })?;
    let tokens = scored(&rendered, range, &found.scores);
    Ok(ExampleAttribution {
        id: example.id.clone(),
        method: "integrated gradients".into(),
        target: renderer.template.label_text(gold).trim().into(),
        steps: method.steps(),
        baseline: method.baseline,
        convergence_delta: found.convergence_delta,
        log_p: found.log_p,
        log_p_baseline: found.log_p_baseline,
        words: words(&tokens),
        tokens,
    })
}

fn scored(rendered: &Rendered, range: Range<usize>, scores: &[f32]) -> Vec<ScoredToken> {
    let score = |place: usize| place.checked_sub(range.start).and_then(|place| scores.get(place).copied());
    let token = |(place, token): (usize, &crate::rationale::RenderedToken)| ScoredToken {
        text: token.text.clone(),
        role: token.role,
        score: score(place),
    };
    rendered.tokens.iter().enumerate().map(token).collect()
}

/// Joins tokens into words: a new one begins at white space and where the role changes.
fn words(tokens: &[ScoredToken]) -> Vec<ScoredToken> {
    let mut words: Vec<ScoredToken> = Vec::new();
    for token in tokens {
        match words.last_mut() {
            Some(word) if word.role == token.role && !token.text.starts_with(char::is_whitespace) => {
                word.text.push_str(&token.text);
                word.score = match (word.score, token.score) {
                    (Some(one), Some(other)) => Some(one + other),
                    (one, other) => one.or(other),
                };
            }
            _ => words.push(token.clone()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_sum_their_tokens() {
        let token = |text: &str, role, score| ScoredToken { text: text.into(), role, score };
        let tokens = [
            token(" sno", Role::Rationale, Some(0.5)),
            token("rkel", Role::Rationale, Some(0.25)),
            token(" fins", Role::Rationale, Some(-0.5)),
            token("\nAnswer:", Role::Separator, None),
        ];
        let words = words(&tokens);
        let found: Vec<_> = words.iter().map(|word| (word.text.trim(), word.score)).collect();
        assert_eq!(found, [("snorkel", Some(0.75)), ("fins", Some(-0.5)), ("Answer:", None)]);
    }
}
