//! Attributions of examples: what is asked of them, and what came out, token by token.

use serde::{Deserialize, Serialize};

use super::method::{MOST_STEPS, Method, Scores};
use super::query::{Part, Query};
use super::units::{spans, sums};
use crate::rationale::recipe::{Baseline, Unit};
use crate::rationale::{RenderError, Rendered, Role};
use crate::student::StudentError;

/// What can go wrong while attributing.
#[derive(Debug, thiserror::Error)]
pub enum AttributionError {
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error(transparent)]
    Student(#[from] StudentError),
    #[error("example `{id}` has no answer among its choices, so there is no log p(label) to attribute")]
    NoAnswer { id: String },
    #[error("example `{id}` has no choice `{choice}` · its choices are {}", known.join(", "))]
    NoChoice { id: String, choice: String, known: Vec<String> },
    #[error("example `{id}` has no other choice to compare its answer with · take the target `label`")]
    NoOther { id: String },
    #[error("example `{id}` has no rationale to attribute to · attribute the whole prompt instead")]
    NoRationale { id: String },
    #[error("example `{id}` has {count} tokens, 0 to {}, so there is no token {place}", count.saturating_sub(1))]
    NoToken { id: String, place: usize, count: usize },
    #[error("nothing stands before token {place} of example `{id}` that it could rest on")]
    NothingBefore { id: String, place: usize },
    #[error(
        "the student gives no number for example `{id}` (NaN or infinite): its weights are broken · take an earlier checkpoint, as in RUN@best"
    )]
    NotANumber { id: String },
    #[error("the student has {layers} layers of {heads} heads, from 0, so there is none like {wanted}")]
    NoHead { wanted: String, layers: usize, heads: usize },
    #[error("attributing `{id}` failed: {}", brief(source))]
    Tensor { id: String, source: candle_core::Error },
}

/// What an error says, without the trace that candle adds for its developers.
fn brief(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl AttributionError {
    /// Whether it says something of the example alone, so that others can be attributed all the same.
    pub fn is_about_the_example(&self) -> bool {
        !matches!(self, Self::Tensor { .. } | Self::NotANumber { .. } | Self::NoHead { .. } | Self::Student(_))
    }
}

/// Which tokens get a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// The rationale's; the question stays as it is.
    #[default]
    Rationale,
    /// Everything before the target.
    Prompt,
}

impl Over {
    pub fn name(self) -> &'static str {
        match self {
            Self::Rationale => "rationale",
            Self::Prompt => "prompt",
        }
    }
}

/// What is attributed: always a log-probability, or a difference of two, in nats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Log p of the right label, with the rationale read before it: after it, it could have no influence.
    #[default]
    Label,
    /// The same of any choice, by its label.
    Choice(String),
    /// Log p of the right label less that of the strongest other choice: what speaks for the one and against the other
    /// (contrastive, Yin and Neubig 2022).
    Contrast,
    /// Log p of one token of the sequence that the student is trained on, by its place from 0.
    Token(usize),
    /// Log p of the whole rationale, in that sequence.
    Rationale,
}

impl Target {
    /// As the command line and the names of files spell it.
    pub fn name(&self) -> String {
        match self {
            Self::Label => "label".into(),
            Self::Choice(label) => format!("choice:{label}"),
            Self::Contrast => "contrast".into(),
            Self::Token(place) => format!("token:{place}"),
            Self::Rationale => "rationale".into(),
        }
    }

    /// Reads what [`Target::name`] writes.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "label" => Ok(Self::Label),
            None if text == "contrast" => Ok(Self::Contrast),
            None if text == "rationale" => Ok(Self::Rationale),
            Some(("choice", label)) if !label.is_empty() => Ok(Self::Choice(label.into())),
            Some(("token", place)) => {
                place.parse().map(Self::Token).map_err(|_| format!("`{place}` is no place of a token; the first is 0"))
            }
            _ => Err("a target is label, contrast, choice:LABEL, token:PLACE or rationale".into()),
        }
    }
}

/// What is asked of examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub method: Method,
    pub target: Target,
    pub over: Over,
    /// Steps up to which an integral that does not add up is refined.
    pub most_steps: usize,
}

impl Default for Asked {
    fn default() -> Self {
        Self { method: Method::default(), target: Target::Label, over: Over::Rationale, most_steps: MOST_STEPS }
    }
}

/// A token, or several put together, with its share of the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredToken {
    pub text: String,
    pub role: Role,
    /// `None` for tokens that were held fixed.
    pub score: Option<f32>,
}

/// What `attribute` prints for one example.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExampleAttribution {
    pub id: String,
    pub method: String,
    /// What is attributed, in words: the label's text, `diver over farmer`, a token.
    pub target: String,
    /// Of integrated gradients: the steps that were taken in the end.
    pub steps: Option<usize>,
    pub baseline: Option<Baseline>,
    /// What occlusion and leave-one-out took away together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Whose attention is shown; the mean of all where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<usize>,
    /// Sum of the scores less what they explain; of integrated gradients.
    pub convergence_delta: Option<f64>,
    /// Whether that is as small as it should be.
    pub converged: Option<bool>,
    /// The target as the sequence stands, and with the scored tokens replaced by the baseline.
    pub log_p: f64,
    pub log_p_baseline: Option<f64>,
    /// What the scores are no evidence of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caution: Option<String>,
    /// How many of the tokens the target is read after; all where nothing is said.
    #[serde(skip)]
    pub read: Option<usize>,
    pub tokens: Vec<ScoredToken>,
    /// Scores summed over the tokens of each word, and of each sentence.
    pub words: Vec<ScoredToken>,
    pub sentences: Vec<ScoredToken>,
}

impl ExampleAttribution {
    /// Scores of the rationale's tokens, in order.
    pub fn rationale_scores(&self) -> Vec<f32> {
        let own = self.tokens.iter().filter(|token| token.role == Role::Rationale);
        own.map(|token| token.score.unwrap_or(0.0)).collect()
    }

    /// Tokens, words or sentences.
    pub fn units(&self, unit: Unit) -> &[ScoredToken] {
        match unit {
            Unit::Token => &self.tokens,
            Unit::Word => &self.words,
            Unit::Sentence => &self.sentences,
        }
    }

    /// The same with sizes in place of signed scores, where they are `absolute`, and with sizes that sum to 1, where they
    /// are `normalised`. A word's size is that of its sum.
    pub fn rescaled(mut self, absolute: bool, normalised: bool) -> Self {
        for units in [&mut self.tokens, &mut self.words, &mut self.sentences] {
            let sum: f32 = units.iter().filter_map(|unit| unit.score).map(f32::abs).sum();
            for score in units.iter_mut().filter_map(|unit| unit.score.as_mut()) {
                if absolute {
                    *score = score.abs();
                }
                if normalised && sum > 0.0 {
                    *score /= sum;
                }
            }
        }
        self
    }
}

/// An example as it is put to the student.
pub(super) struct Posed {
    pub id: String,
    /// What is shown: the sequence up to the target at least.
    pub rendered: Rendered,
    pub query: Query,
    /// The spans that are taken away together, where a method does that.
    pub units: Vec<Vec<usize>>,
    pub target: String,
}

impl Posed {
    pub fn new(id: &str, rendered: Rendered, query: Query, unit: Unit, target: String) -> Self {
        let all = spans(rendered.tokens.iter().map(|token| (token.text.as_str(), token.role)), unit);
        let own = |span: std::ops::Range<usize>| span.filter(|place| query.range.contains(place)).collect::<Vec<_>>();
        let units = all.into_iter().map(own).filter(|places| !places.is_empty()).collect();
        Self { id: id.into(), rendered, units, query, target }
    }

    /// What is told of it.
    pub fn told(self, method: &Method, found: Scores) -> Result<ExampleAttribution, AttributionError> {
        if !found.value.is_finite() || found.scores.iter().any(|score| !score.is_finite()) {
            return Err(AttributionError::NotANumber { id: self.id });
        }
        let read = Some(self.query.ids.len());
        let (layer, head) = match method {
            Method::Attention { layer, head } => (*layer, *head),
            _ => (None, None),
        };
        let range = self.query.range;
        let score = |place: usize| place.checked_sub(range.start).and_then(|place| found.scores.get(place).copied());
        let token = |(place, token): (usize, &crate::rationale::RenderedToken)| ScoredToken {
            text: token.text.clone(),
            role: token.role,
            score: score(place),
        };
        let tokens: Vec<ScoredToken> = self.rendered.tokens.iter().enumerate().map(token).collect();
        Ok(ExampleAttribution {
            id: self.id,
            method: method.name().into(),
            target: self.target,
            steps: found.integral.map(|integral| integral.steps),
            baseline: method.baseline(),
            unit: method.unit(),
            layer,
            head,
            convergence_delta: found.integral.map(|integral| integral.delta),
            converged: found.integral.map(|integral| integral.is_good),
            log_p: found.value,
            log_p_baseline: found.integral.map(|integral| integral.value_at_start),
            caution: method.caution().map(str::to_owned),
            words: sums(&tokens, Unit::Word),
            sentences: sums(&tokens, Unit::Sentence),
            read,
            tokens,
        })
    }
}

/// The difference of two continuations.
pub(super) fn contrast(one: Vec<u32>, other: Vec<u32>) -> Vec<Part> {
    vec![Part { sign: 1.0, ids: one }, Part { sign: -1.0, ids: other }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_they_are_written() {
        for target in
            [Target::Label, Target::Contrast, Target::Rationale, Target::Token(17), Target::Choice("B".into())]
        {
            assert_eq!(Target::parse(&target.name()), Ok(target));
        }
        assert!(Target::parse("token:x").unwrap_err().contains("the first is 0"));
        assert!(Target::parse("labels").unwrap_err().contains("choice:LABEL"));
    }

    #[test]
    fn sizes_sum_to_one_and_signs_stay_unless_asked() {
        let token = |text: &str, score| ScoredToken { text: text.into(), role: Role::Rationale, score };
        let tokens = vec![token(" a", Some(3.0)), token("b", Some(-1.0)), token(" c", None)];
        let found = ExampleAttribution {
            words: sums(&tokens, Unit::Word),
            sentences: sums(&tokens, Unit::Sentence),
            tokens,
            ..ExampleAttribution::default()
        };
        let scores = |found: &ExampleAttribution, unit| -> Vec<Option<f32>> {
            found.units(unit).iter().map(|unit| unit.score).collect()
        };
        assert_eq!(scores(&found, Unit::Word), [Some(2.0), None]);
        let signed = found.clone().rescaled(false, true);
        assert_eq!(scores(&signed, Unit::Token), [Some(0.75), Some(-0.25), None]);
        let sizes = found.rescaled(true, true);
        assert_eq!(scores(&sizes, Unit::Token), [Some(0.75), Some(0.25), None]);
        assert_eq!(scores(&sizes, Unit::Word), [Some(1.0), None]);
    }
}
