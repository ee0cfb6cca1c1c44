//! The student's answers: written and read, or chosen by likelihood.

use std::cell::{Cell, RefCell};

use candle_core::D;
use serde::{Deserialize, Serialize};

use super::{EvaluationError, OnProgress};
use crate::corpus::{Choice, Example, LabelStyle};
use crate::rationale::{Borrowed, Placement, Renderer};
use crate::student::Decoder;
use crate::student::generate::{Choose, generate};

/// How an answer is got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The student writes; the first label after the separator counts.
    Generate,
    /// The choice with the highest likelihood.
    Likelihood,
}

/// How the likelihoods of choices of different lengths are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Score {
    /// Sum of the log-probabilities of the choice's tokens.
    Sum,
    /// Their mean.
    Mean,
}

/// Whose rationale stands before the label under `pre`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Given {
    /// The student writes its own from the question alone, as it would have to in use.
    Own,
    /// The teacher's, under the run's recipe: what a reader is asked.
    Teacher,
}

/// Settings of [`predict`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asking {
    pub answer: Answer,
    pub score: Score,
    pub rationale: Given,
    /// Longest rationale that the student may write, in tokens.
    pub limit: usize,
}

/// One line of `predictions.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    pub id: String,
    /// Where the example is from.
    #[serde(default)]
    pub dataset: String,
    #[serde(default)]
    pub split: String,
    /// The right label, where it is known.
    pub answer: Option<String>,
    /// `None` when no label could be read.
    pub predicted: Option<String>,
    /// What the student wrote.
    pub text: String,
    /// Present when scored by likelihood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<ChoiceScore>>,
}

impl Prediction {
    pub fn is_correct(&self) -> bool {
        self.answer.is_some() && self.predicted == self.answer
    }
}

/// The likelihood of a choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChoiceScore {
    pub label: String,
    /// Sum over the choice's tokens, in nats.
    pub log_likelihood: f64,
    pub tokens: usize,
}

/// Examples that are answered together, and sequences that go through the student together when choices are scored.
const BATCH: usize = 64;

/// An example on its way to an answer.
struct Question<'a> {
    example: &'a Example,
    /// What stands before the label.
    context: Vec<u32>,
    /// What the student wrote so far.
    text: String,
    /// False when the student, writing its rationale, never came to the label.
    reached: bool,
}

/// Answers every example. `borrow` gives what the recipe needs from elsewhere for a teacher's rationale.
pub fn predict<'a>(
    decoder: &Decoder,
    renderer: &Renderer,
    examples: &'a [Example],
    asking: &Asking,
    borrow: &dyn Fn(usize) -> Borrowed<'a>,
    on_progress: OnProgress,
) -> Result<Vec<Prediction>, EvaluationError> {
    let mut predictions = Vec::with_capacity(examples.len());
    let on_progress = RefCell::new(on_progress);
    // In pieces, each example's answer being its own, so that a large student can be watched and stopped.
    for (number, piece) in examples.chunks(BATCH).enumerate() {
        let first = number * BATCH;
        let is_over = Cell::new(false);
        // Once over it stays so: whoever asks to stop asks once.
        let ends = || {
            is_over.set(is_over.get() || (*on_progress.borrow_mut())(first).is_break());
            is_over.get()
        };
        if ends() {
            return Err(EvaluationError::Interrupted);
        }
        let answered = predict_piece(decoder, renderer, piece, asking, &|place| borrow(first + place), &ends);
        // What was cut short is no answer.
        if is_over.get() {
            return Err(EvaluationError::Interrupted);
        }
        predictions.extend(answered?);
    }
    Ok(predictions)
}

/// Whether the work is to end where it is; asked often, as a large student takes long over a piece.
type Ends<'a> = &'a dyn Fn() -> bool;

fn predict_piece<'a>(
    decoder: &Decoder,
    renderer: &Renderer,
    examples: &'a [Example],
    asking: &Asking,
    borrow: &dyn Fn(usize) -> Borrowed<'a>,
    ends: Ends,
) -> Result<Vec<Prediction>, EvaluationError> {
    let writes_rationale = renderer.recipe.placement == Placement::Pre && asking.rationale == Given::Own;
    let mut questions = Vec::with_capacity(examples.len());
    for (place, example) in examples.iter().enumerate() {
        let context = match (renderer.recipe.placement, asking.rationale) {
            (Placement::Pre, Given::Teacher) => renderer.prompt_with_rationale(example, borrow(place))?.ids(),
            _ => renderer.prompt(example)?,
        };
        questions.push(Question { example, context, text: String::new(), reached: true });
    }
    match asking.answer {
        Answer::Generate => read_answers(decoder, renderer, &questions, asking, writes_rationale, ends),
        Answer::Likelihood => {
            if writes_rationale {
                write_rationales(decoder, renderer, &mut questions, asking.limit, ends)?;
            }
            score_choices(decoder, renderer, &questions, asking.score, ends)
        }
    }
}

/// Lets the student write up to and including the separator before the label.
fn write_rationales(
    decoder: &Decoder,
    renderer: &Renderer,
    questions: &mut [Question],
    limit: usize,
    ends: Ends,
) -> Result<(), EvaluationError> {
    let separator = renderer.answer_ids()?;
    let is_end = |id: &u32| renderer.is_end(*id);
    let prompts: Vec<Vec<u32>> = questions.iter().map(|question| question.context.clone()).collect();
    let done = |_: usize, text: &[u32]| ends() || text.ends_with(&separator) || text.last().is_some_and(is_end);
    let texts = generate(decoder, &prompts, limit + separator.len(), Choose::Greedy, &done)?;
    for (question, text) in questions.iter_mut().zip(texts) {
        question.text = renderer.tokenizer.text(&text)?;
        question.reached = text.ends_with(&separator);
        question.context.extend(text);
    }
    Ok(())
}

/// Generates and reads the label.
fn read_answers(
    decoder: &Decoder,
    renderer: &Renderer,
    questions: &[Question],
    asking: &Asking,
    writes_rationale: bool,
    ends: Ends,
) -> Result<Vec<Prediction>, EvaluationError> {
    let before = if writes_rationale { renderer.answer_ids()? } else { vec![] };
    let after = renderer.rationale_ids()?;
    let is_end = |id: &u32| renderer.is_end(*id);
    // A label longer than every choice is none of them.
    let mut longest = 0;
    for question in questions {
        for choice in &question.example.choices {
            longest = longest.max(renderer.label_ids(choice)?.len());
        }
    }
    let label = |text: &[u32]| -> Option<(usize, usize)> {
        let start = if before.is_empty() { 0 } else { find(text, &before)? + before.len() };
        let ends = [find(&text[start..], &after), text[start..].iter().position(is_end)];
        let end = ends.into_iter().flatten().min().map_or(text.len(), |end| start + end);
        Some((start, end))
    };
    let done = |_: usize, text: &[u32]| {
        ends()
            || match label(text) {
                Some((start, end)) => end < text.len() || text.len() - start > longest,
                None => text.last().is_some_and(is_end),
            }
    };
    let limit = if writes_rationale { asking.limit + before.len() } else { 0 } + longest + 1;
    let prompts: Vec<Vec<u32>> = questions.iter().map(|question| question.context.clone()).collect();
    let texts = generate(decoder, &prompts, limit, Choose::Greedy, &done)?;
    let mut predictions = Vec::with_capacity(questions.len());
    for (question, text) in questions.iter().zip(texts) {
        let written = match label(&text) {
            Some((start, end)) => renderer.tokenizer.text(&text[start..end])?,
            None => String::new(),
        };
        predictions.push(Prediction {
            id: question.example.id.clone(),
            dataset: String::new(),
            split: String::new(),
            answer: question.example.answer.clone(),
            predicted: read_label(&written, &question.example.choices, renderer.template.label),
            text: renderer.tokenizer.text(&text)?,
            choices: None,
        });
    }
    Ok(predictions)
}

/// The label that a text begins with; `None` unless it is clearly one of the choices, and one alone.
pub fn read_label(text: &str, choices: &[Choice], style: LabelStyle) -> Option<String> {
    let text = text.trim().trim_start_matches(['(', '[', '"', '\'']).to_lowercase();
    let mut found: Vec<(usize, &Choice)> = choices
        .iter()
        .filter_map(|choice| {
            let name = match style {
                LabelStyle::Letter => &choice.label,
                LabelStyle::Text => &choice.text,
            };
            let name = name.trim().to_lowercase();
            let rest = text.strip_prefix(&name)?;
            // "A" is no label in "Apples".
            (!name.is_empty() && !rest.starts_with(char::is_alphanumeric)).then_some((name.len(), choice))
        })
        .collect();
    // "deep sea" before "deep": the longest name that fits is the one that was written.
    let longest = found.iter().map(|(length, _)| *length).max()?;
    found.retain(|(length, _)| *length == longest);
    match found[..] {
        [(_, choice)] => Some(choice.label.clone()),
        _ => None,
    }
}

fn find(text: &[u32], wanted: &[u32]) -> Option<usize> {
    if wanted.is_empty() { None } else { text.windows(wanted.len()).position(|window| window == wanted) }
}

/// Scores every choice in its context.
fn score_choices(
    decoder: &Decoder,
    renderer: &Renderer,
    questions: &[Question],
    score: Score,
    ends: Ends,
) -> Result<Vec<Prediction>, EvaluationError> {
    let mut sequences: Vec<Sequence> = Vec::new();
    let mut labels: Vec<Vec<Vec<u32>>> = Vec::with_capacity(questions.len());
    for (place, question) in questions.iter().enumerate() {
        let ids =
            question.example.choices.iter().map(|choice| renderer.label_ids(choice)).collect::<Result<Vec<_>, _>>()?;
        if question.reached {
            // One pass serves all choices of one token; longer ones need one each.
            if ids.iter().all(|ids| ids.len() == 1) {
                sequences.push(Sequence { question: place, choice: None, ids: question.context.clone() });
            } else {
                for (choice, label) in ids.iter().enumerate() {
                    let ids = [&question.context[..], &label[..label.len().saturating_sub(1)]].concat();
                    sequences.push(Sequence { question: place, choice: Some(choice), ids });
                }
            }
        }
        labels.push(ids);
    }
    sequences.retain(|sequence| sequence.ids.len() <= decoder.architecture.context);
    sequences.sort_by_key(|sequence| sequence.ids.len());
    let mut scores: Vec<Vec<Option<f64>>> = labels.iter().map(|labels| vec![None; labels.len()]).collect();
    for batch in sequences.chunks(BATCH) {
        if ends() {
            break;
        }
        score_batch(decoder, batch, &labels, &mut scores)?;
    }
    Ok(questions
        .iter()
        .zip(&labels)
        .zip(scores)
        .map(|((question, labels), scores)| {
            let scored = scores.iter().zip(labels).zip(&question.example.choices).filter_map(|((sum, ids), choice)| {
                Some(ChoiceScore { label: choice.label.clone(), log_likelihood: (*sum)?, tokens: ids.len() })
            });
            let scored: Vec<ChoiceScore> = scored.collect();
            let value = |choice: &ChoiceScore| match score {
                Score::Sum => choice.log_likelihood,
                Score::Mean => choice.log_likelihood / choice.tokens.max(1) as f64,
            };
            // The first of equals, so that the answer does not depend on the order of evaluation.
            let best = scored.iter().reduce(|best, choice| if value(choice) > value(best) { choice } else { best });
            Prediction {
                id: question.example.id.clone(),
                dataset: String::new(),
                split: String::new(),
                answer: question.example.answer.clone(),
                predicted: best.map(|choice| choice.label.clone()),
                text: question.text.clone(),
                choices: Some(scored),
            }
        })
        .collect())
}

/// Scores the choices of one example after its question and its rationale, both given.
pub fn score_choices_in_context(
    decoder: &Decoder,
    renderer: &Renderer,
    example: &Example,
) -> Result<Vec<ChoiceScore>, EvaluationError> {
    let context = renderer.prompt_with_rationale(example, Borrowed::default())?.ids();
    let question = Question { example, context, text: String::new(), reached: true };
    let predictions = score_choices(decoder, renderer, &[question], Score::Sum, &|| false)?;
    Ok(predictions.into_iter().next().and_then(|prediction| prediction.choices).unwrap_or_default())
}

/// A context, or a context with all but the last token of a choice.
struct Sequence {
    question: usize,
    choice: Option<usize>,
    ids: Vec<u32>,
}

fn score_batch(
    decoder: &Decoder,
    batch: &[Sequence],
    labels: &[Vec<Vec<u32>>],
    scores: &mut [Vec<Option<f64>>],
) -> Result<(), EvaluationError> {
    let time = batch.iter().map(|sequence| sequence.ids.len()).max().unwrap_or(0);
    let mut ids = Vec::with_capacity(batch.len() * time);
    // For each wanted number: the place it is read from, the token, and whose score it adds to.
    let mut wanted: Vec<(usize, u32, usize, usize)> = Vec::new();
    let mut rows: Vec<u32> = Vec::new();
    for (row, sequence) in batch.iter().enumerate() {
        ids.extend_from_slice(&sequence.ids);
        ids.resize((row + 1) * time, 0);
        let labels = &labels[sequence.question];
        let last = row * time + sequence.ids.len() - 1;
        match sequence.choice {
            None => {
                for (choice, label) in labels.iter().enumerate() {
                    wanted.push((rows.len(), label[0], sequence.question, choice));
                }
                rows.push(last as u32);
            }
            Some(choice) => {
                let label = &labels[choice];
                for (place, token) in label.iter().enumerate() {
                    wanted.push((rows.len(), *token, sequence.question, choice));
                    rows.push((last + 1 - (label.len() - place)) as u32);
                }
            }
        }
    }
    let hidden = decoder.hidden(&ids, batch.len(), Some(&rows), None)?;
    let logits = decoder.logits(&hidden)?;
    let log_p = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
    let width = log_p.dim(1)?;
    let places: Vec<u32> = wanted.iter().map(|(row, token, ..)| (row * width) as u32 + token).collect();
    let places = candle_core::Tensor::from_vec(places, wanted.len(), decoder.device())?;
    let values = log_p.flatten_all()?.index_select(&places, 0)?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
    for ((_, _, question, choice), value) in wanted.into_iter().zip(values) {
        *scores[question][choice].get_or_insert(0.0) += f64::from(value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(texts: &[&str]) -> Vec<Choice> {
        let choice = |(place, text): (usize, &&str)| Choice {
            label: crate::corpus::example::letter(place),
            text: (*text).into(),
        };
        texts.iter().enumerate().map(choice).collect()
    }

    #[test]
    fn a_label_is_read_only_where_it_is_clear() {
        let five = choices(&["bank", "river bank", "bank vault", "mall", "new york"]);
        let letter = |text| read_label(text, &five, LabelStyle::Letter);
        assert_eq!(letter(" B").as_deref(), Some("B"));
        assert_eq!(letter("(c) bank vault").as_deref(), Some("C"));
        assert_eq!(letter("D: mall").as_deref(), Some("D"));
        assert_eq!(letter("e.").as_deref(), Some("E"));
        for text in ["", "Apples", "F", "the answer", "1"] {
            assert_eq!(letter(text), None, "{text}");
        }
        let words = |text| read_label(text, &five, LabelStyle::Text);
        assert_eq!(words("bank").as_deref(), Some("A"));
        assert_eq!(words("Bank vault .").as_deref(), Some("C"));
        assert_eq!(words("new york city").as_deref(), Some("E"));
        assert_eq!(words("banker"), None);
        assert_eq!(words("supermarket"), None);
    }

    #[test]
    fn a_doubled_choice_is_never_guessed() {
        let doubled = choices(&["mall", "bank", "mall"]);
        assert_eq!(read_label("mall", &doubled, LabelStyle::Text), None);
        assert_eq!(read_label("bank", &doubled, LabelStyle::Text).as_deref(), Some("B"));
    }
}
