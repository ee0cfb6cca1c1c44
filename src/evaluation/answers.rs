//! The student's answers: written and read, or chosen by likelihood.

use std::cell::{Cell, RefCell};

use candle_core::D;
use serde::{Deserialize, Serialize};

use super::{EvaluationError, OnProgress};
use crate::corpus::{Choice, Example, LabelStyle};
use crate::rationale::{Borrowed, Placement, RenderError, Renderer};
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
    /// Whether the limit, or the end of the student's context, came before it had come to an answer. Written only where
    /// it did, as older files have no such field.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
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

/// How a student comes to its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The label comes next.
    AtOnce,
    /// It writes a rationale first, and what announces the label by itself, as it was trained to.
    Writes,
    /// It writes a rationale first; where that ends, or is cut by the limit, without a label being announced, the
    /// announcement is put there.
    Led,
}

impl Way {
    /// How a student is asked under its recipe.
    pub fn usual(renderer: &Renderer, asking: &Asking) -> Self {
        let writes = renderer.recipe.placement == Placement::Pre && asking.rationale == Given::Own;
        if writes { Self::Writes } else { Self::AtOnce }
    }
}

/// An example on its way to an answer.
pub struct Question<'a> {
    example: &'a Example,
    /// What the student is given.
    context: Vec<u32>,
    /// What stands between that and the label: a rationale of its own, and what announces the label.
    written: Vec<u32>,
    /// False when the student, writing its rationale, never came to the label.
    reached: bool,
    unfinished: bool,
    /// Its label was announced for it.
    led: bool,
}

impl<'a> Question<'a> {
    /// A question to a student that is given `context`.
    pub fn new(example: &'a Example, context: Vec<u32>) -> Self {
        Self { example, context, written: vec![], reached: true, unfinished: false, led: false }
    }

    /// All that stands before the label.
    fn before(&self) -> Vec<u32> {
        [&self.context[..], &self.written[..]].concat()
    }
}

/// What stands before the student's answer as its recipe has it. `borrowed` is what the recipe needs from elsewhere for a
/// teacher's rationale.
pub fn usual_context(
    renderer: &Renderer,
    asking: &Asking,
    example: &Example,
    borrowed: Borrowed,
) -> Result<Vec<u32>, RenderError> {
    match (renderer.recipe.placement, asking.rationale) {
        (Placement::Pre, Given::Teacher) => Ok(renderer.prompt_with_rationale(example, borrowed)?.ids()),
        _ => renderer.prompt(example),
    }
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
    let pose = |place: usize| {
        let context = usual_context(renderer, asking, &examples[place], borrow(place))?;
        Ok(Question::new(&examples[place], context))
    };
    let way = Way::usual(renderer, asking);
    let answered = answer(decoder, renderer, examples.len(), &pose, way, asking, on_progress)?;
    Ok(answered.into_iter().map(|(prediction, _)| prediction).collect())
}

/// Gives the question at a place.
pub type Pose<'p, 'a> = &'p dyn Fn(usize) -> Result<Question<'a>, RenderError>;

/// Answers `count` questions that `pose` gives. Beside each answer stands whether the student was led to it.
pub fn answer<'a>(
    decoder: &Decoder,
    renderer: &Renderer,
    count: usize,
    pose: Pose<'_, 'a>,
    way: Way,
    asking: &Asking,
    on_progress: OnProgress,
) -> Result<Vec<(Prediction, bool)>, EvaluationError> {
    let mut predictions = Vec::with_capacity(count);
    let on_progress = RefCell::new(on_progress);
    // In pieces, each example's answer being its own, so that a large student can be watched and stopped.
    for first in (0..count).step_by(BATCH) {
        let is_over = Cell::new(false);
        // Once over it stays so: whoever asks to stop asks once.
        let ends = || {
            is_over.set(is_over.get() || (*on_progress.borrow_mut())(first).is_break());
            is_over.get()
        };
        if ends() {
            return Err(EvaluationError::Interrupted);
        }
        let questions = (first..count.min(first + BATCH)).map(pose).collect::<Result<Vec<_>, _>>()?;
        let answered = answer_piece(decoder, renderer, questions, way, asking, &ends);
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

fn answer_piece(
    decoder: &Decoder,
    renderer: &Renderer,
    mut questions: Vec<Question>,
    way: Way,
    asking: &Asking,
    ends: Ends,
) -> Result<Vec<(Prediction, bool)>, EvaluationError> {
    if way == Way::Led || (way == Way::Writes && asking.answer == Answer::Likelihood) {
        write_rationales(decoder, renderer, &mut questions, way, asking.limit, ends)?;
    }
    let predictions = match asking.answer {
        Answer::Generate => read_answers(decoder, renderer, &questions, asking, way == Way::Writes, ends),
        Answer::Likelihood => score_choices(decoder, renderer, &questions, asking.score, ends),
    };
    Ok(predictions?.into_iter().zip(questions.iter().map(|question| question.led)).collect())
}

/// Lets the student write up to and including what announces the label.
fn write_rationales(
    decoder: &Decoder,
    renderer: &Renderer,
    questions: &mut [Question],
    way: Way,
    limit: usize,
    ends: Ends,
) -> Result<(), EvaluationError> {
    let separator = renderer.answer_ids()?;
    let is_end = |id: &u32| renderer.is_end(*id);
    let done = |text: &[u32]| ends() || text.ends_with(&separator) || text.last().is_some_and(is_end);
    let texts = go_on(decoder, questions, limit + separator.len(), &done)?;
    for (question, mut text) in questions.iter_mut().zip(texts) {
        question.reached = text.ends_with(&separator);
        let has_ended = text.last().is_some_and(is_end);
        question.unfinished = !question.reached && !has_ended;
        if !question.reached && way == Way::Led {
            if has_ended {
                text.pop();
            }
            // What is put there must leave room for a label.
            let longest = longest_label(renderer, question.example)?;
            let taken = question.context.len() + separator.len() + longest;
            let room = decoder.architecture.context.saturating_sub(taken).min(limit);
            question.unfinished |= text.len() > room;
            text.truncate(room);
            text.extend(&separator);
            question.reached = taken <= decoder.architecture.context;
            question.led = true;
        }
        question.written = text;
    }
    Ok(())
}

/// What the student writes after each question. Nothing where the question fills its context: beside such a one no other
/// of the batch would have room.
fn go_on(
    decoder: &Decoder,
    questions: &[Question],
    limit: usize,
    done: &dyn Fn(&[u32]) -> bool,
) -> Result<Vec<Vec<u32>>, EvaluationError> {
    let mut texts = vec![vec![]; questions.len()];
    let (places, prompts): (Vec<usize>, Vec<Vec<u32>>) = questions
        .iter()
        .map(Question::before)
        .enumerate()
        .filter(|(place, before)| questions[*place].reached && before.len() < decoder.architecture.context)
        .unzip();
    let written = generate(decoder, &prompts, limit, Choose::Greedy, &|_, text| done(text))?;
    for (place, text) in places.into_iter().zip(written) {
        texts[place] = text;
    }
    Ok(texts)
}

/// The tokens of the longest choice.
fn longest_label(renderer: &Renderer, example: &Example) -> Result<usize, EvaluationError> {
    let lengths = example.choices.iter().map(|choice| renderer.label_ids(choice).map(|ids| ids.len()));
    Ok(lengths.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(1))
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
        longest = longest.max(longest_label(renderer, question.example)?);
    }
    let label = |text: &[u32]| -> Option<(usize, usize)> {
        let start = if before.is_empty() { 0 } else { find(text, &before)? + before.len() };
        let ends = [find(&text[start..], &after), text[start..].iter().position(is_end)];
        let end = ends.into_iter().flatten().min().map_or(text.len(), |end| start + end);
        Some((start, end))
    };
    let done = |text: &[u32]| {
        ends()
            || match label(text) {
                Some((start, end)) => end < text.len() || text.len() - start > longest,
                None => text.last().is_some_and(is_end),
            }
    };
    let limit = if writes_rationale { asking.limit + before.len() } else { 0 } + longest + 1;
    let texts = go_on(decoder, questions, limit, &done)?;
    let mut predictions = Vec::with_capacity(questions.len());
    for (question, text) in questions.iter().zip(texts) {
        let found = label(&text).filter(|_| question.reached);
        let written = match found {
            Some((start, end)) => renderer.tokenizer.text(&text[start..end])?,
            None => String::new(),
        };
        let stopped = writes_rationale && found.is_none() && !text.last().is_some_and(is_end);
        predictions.push(Prediction {
            id: question.example.id.clone(),
            dataset: String::new(),
            split: String::new(),
            answer: question.example.answer.clone(),
            predicted: read_label(&written, &question.example.choices, renderer.template.label),
            text: renderer.tokenizer.text(&[&question.written[..], &text[..]].concat())?,
            choices: None,
            unfinished: question.unfinished || stopped,
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
                sequences.push(Sequence { question: place, choice: None, ids: question.before() });
            } else {
                for (choice, label) in ids.iter().enumerate() {
                    let ids = [&question.before()[..], &label[..label.len().saturating_sub(1)]].concat();
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
    let mut predictions = Vec::with_capacity(questions.len());
    for ((question, labels), scores) in questions.iter().zip(&labels).zip(scores) {
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
        predictions.push(Prediction {
            id: question.example.id.clone(),
            dataset: String::new(),
            split: String::new(),
            answer: question.example.answer.clone(),
            predicted: best.map(|choice| choice.label.clone()),
            text: renderer.tokenizer.text(&question.written)?,
            choices: Some(scored),
            unfinished: question.unfinished,
        });
    }
    Ok(predictions)
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
