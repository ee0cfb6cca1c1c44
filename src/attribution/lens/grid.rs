//! What a lens reads of one example: for every layer and place the likeliest tokens, and how the label stands.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candle_core::{DType, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::words::word;
use super::{Lens, LensError, Question, Readable};
use crate::rationale::{Rendered, Role};
use crate::student::ops::CHUNK;
use crate::student::{Decoder, Tokenizer};

/// Tokens that a cell keeps.
pub const TOP: usize = 5;

/// What is read at one layer and place, of the token after it (or, with a lens for later tokens, as many later).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The likeliest tokens with their probabilities, the likeliest first.
    pub top: Vec<(u32, f32)>,
    /// Of the label's first token: its probability, and its rank in the whole vocabulary, 1 for the likeliest. Of equal
    /// ones it is the last.
    pub probability: f32,
    pub rank: u32,
    /// Likewise among the first tokens of the choices, whose probabilities are divided by their sum.
    pub choice_probability: f32,
    pub choice_rank: u32,
}

impl Cell {
    /// Whether the label can be read here.
    pub fn reads_label(&self) -> bool {
        self.choice_rank == 1
    }
}

/// A token of the example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridToken {
    pub id: u32,
    pub text: String,
    pub role: Role,
}

/// Everything that a lens reads of an example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    pub question: Question,
    /// The lens, as [`Lens::name`] has it.
    pub lens: String,
    pub ahead: usize,
    pub tokens: Vec<GridToken>,
    /// Layers and one more: before the first, and after each.
    pub streams: usize,
    /// Stream by stream, each with a cell for every token.
    cells: Vec<Cell>,
    words: BTreeMap<u32, String>,
    /// `None` where the label can't be told from another choice, or is written too early for the lens.
    pub readable: Option<Readable>,
}

impl Grid {
    /// What is read after `stream` layers at a place.
    pub fn cell(&self, stream: usize, place: usize) -> Option<&Cell> {
        self.cells.get(stream * self.tokens.len() + place).filter(|_| place < self.tokens.len())
    }

    /// The text of a token that a cell has.
    pub fn word(&self, id: u32) -> &str {
        self.words.get(&id).map_or("", String::as_str)
    }

    /// Where the label becomes readable, in words.
    pub fn says(&self) -> String {
        let Question { shared, others, label, .. } = &self.question;
        let Some(readable) = &self.readable else {
            return if !shared.is_empty() {
                format!("`{label}` begins with the same token as {}: it can't be told from it", shared.join(", "))
            } else if others.is_empty() {
                "there is no other choice to tell the label from".into()
            } else {
                format!("`{label}` is written too early for a lens that looks {} tokens ahead", self.ahead)
            };
        };
        match (readable.layer, readable.place, readable.first) {
            (Some(layer), Some(place), _) => {
                let token = self.tokens.get(place).map_or("", |token| token.text.trim());
                let from = if layer == 0 { "from the embedding".into() } else { format!("from layer {layer}") };
                format!("`{label}` is readable {from}, after `{token}` (token {place})")
            }
            (None, _, Some(first)) => {
                format!("`{label}` is not readable at its place in the end, though {} it was", super::after(first))
            }
            _ => format!("`{label}` is not readable at its place at any layer"),
        }
    }
}

/// Reads an example through a lens. Whoever is told how many streams are done, of how many, can stop it.
pub fn read(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    question: Question,
    rendered: &Rendered,
    lens: &Lens,
    on_progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Grid, LensError> {
    let (streams, places) = (decoder.streams(), question.ids.len());
    let mut cells: Vec<Cell> = Vec::with_capacity(streams * places);
    let size = (CHUNK / decoder.architecture.vocabulary.max(1)).max(1);
    let mut broken = None;
    let end = decoder.visit_streams(&question.ids, 1, &mut |stream, x| {
        let x = lens.translate(stream, &x.flatten(0, 1)?)?; // (places, width)
        for first in (0..places).step_by(size) {
            if on_progress(stream * places + first, streams * places).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let logits = decoder.read_out(&x.narrow(0, first, size.min(places - first))?)?;
            match cells_of(&logits, &question)? {
                Some(own) => cells.extend(own),
                None => {
                    broken = Some(stream);
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(stream) = broken {
        return Err(LensError::NotANumber { id: question.id, stream });
    }
    if end.is_break() {
        return Err(LensError::Interrupted);
    }
    let seen = cells.iter().flat_map(|cell| &cell.top).map(|(id, _)| *id);
    let seen: std::collections::BTreeSet<u32> = seen.collect();
    let reads = |stream: usize, place: usize| cells[stream * places + place].reads_label();
    let label = question.place.filter(|_| question.is_distinct());
    Ok(Grid {
        readable: label.map(|label| Readable::of(streams, places, label, reads)),
        lens: lens.name(),
        ahead: lens.ahead(),
        tokens: rendered
            .tokens
            .iter()
            .map(|token| GridToken { id: token.id, text: text_of(tokenizer, token.id, &token.text), role: token.role })
            .collect(),
        streams,
        cells,
        words: seen.into_iter().map(|id| (id, word(tokenizer, id))).collect(),
        question,
    })
}

/// The text of a token in its place. Where a character took several tokens, those after the first have no text of their own.
fn text_of(tokenizer: &Tokenizer, id: u32, text: &str) -> String {
    if text.is_empty() { word(tokenizer, id) } else { text.to_owned() }
}

/// Cells from logits (n, vocabulary); `None` where one is no number.
fn cells_of(logits: &Tensor, question: &Question) -> candle_core::Result<Option<Vec<Cell>>> {
    let vocabulary = logits.dim(1)?;
    let numbers: Vec<f64> = logits.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    Ok(numbers.par_chunks(vocabulary).map(|row| cell_of(row, question)).collect())
}

fn cell_of(logits: &[f64], question: &Question) -> Option<Cell> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // What is no number makes the sum none; `max` would pass over it.
    let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    if !sum.is_finite() {
        return None;
    }
    let probability = |logit: f64| ((logit - largest).exp() / sum) as f32;
    let mut top: Vec<(u32, f64)> = Vec::with_capacity(TOP + 1);
    for (id, logit) in logits.iter().enumerate() {
        if top.len() == TOP && top.last().is_some_and(|(_, least)| least >= logit) {
            continue;
        }
        let place = top.iter().position(|(_, other)| other < logit).unwrap_or(top.len());
        top.insert(place, (id as u32, *logit));
        top.truncate(TOP);
    }
    let of = |id: u32| logits.get(id as usize).copied().unwrap_or(f64::NEG_INFINITY);
    let gold = of(question.gold);
    let at_least = |others: &mut dyn Iterator<Item = f64>| others.filter(|other| *other >= gold).count() as u32;
    let of_choices: f64 = question.choices().into_iter().map(|id| (of(id) - gold).exp()).sum();
    Some(Cell {
        top: top.into_iter().map(|(id, logit)| (id, probability(logit))).collect(),
        probability: probability(gold),
        // It is one of those itself.
        rank: at_least(&mut logits.iter().copied()).max(1),
        choice_probability: (1.0 / of_choices) as f32,
        choice_rank: 1 + at_least(&mut question.others.iter().map(|id| of(*id))) + question.shared.len() as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            id: "q".into(),
            ids: vec![0, 1],
            label: "diver".into(),
            label_tokens: 1,
            gold: 2,
            others: vec![0, 4],
            shared: vec![],
            place: Some(0),
        }
    }

    #[test]
    fn a_cell_says_how_the_label_stands() {
        let cell = cell_of(&[1.0, 5.0, 2.0, -1.0, 0.5, 3.0], &question()).unwrap();
        let ids: Vec<u32> = cell.top.iter().map(|(id, _)| *id).collect();
        assert_eq!((ids, cell.rank, cell.choice_rank), (vec![1, 5, 2, 0, 4], 3, 1));
        let sum: f64 = [1.0f64, 5.0, 2.0, -1.0, 0.5, 3.0].iter().map(|x| x.exp()).sum();
        assert!((f64::from(cell.probability) - 2f64.exp() / sum).abs() < 1e-7);
        let own = 2f64.exp() / (2f64.exp() + 1f64.exp() + 0.5f64.exp());
        assert!((f64::from(cell.choice_probability) - own).abs() < 1e-7);
    }

    #[test]
    fn a_tie_is_not_readable_and_what_is_no_number_is_no_cell() {
        let cell = cell_of(&[2.0, 0.0, 2.0, 2.0, 0.0], &question()).unwrap();
        assert_eq!((cell.rank, cell.choice_rank), (3, 2));
        let shared = Question { shared: vec!["diver's".into()], ..question() };
        assert!(!cell_of(&[0.0, 0.0, 2.0, 0.0, 0.0], &shared).unwrap().reads_label());
        for spoiled in [f64::NAN, f64::INFINITY] {
            assert_eq!(cell_of(&[0.0, spoiled, 0.0, 0.0, 0.0], &question()), None);
        }
    }

    /// A student that reads 4,096 tokens, and a rendering of as many; the label is written after the sixth.
    fn long() -> (Decoder, Tokenizer, Question, Rendered) {
        use crate::rationale::RenderedToken;
        use crate::student::{toy, weights};
        let tokenizer = toy::tokenizer(std::iter::once("wug fins diver case 魚 דג".to_owned())).unwrap();
        let mut architecture = toy::architecture(tokenizer.size());
        architecture.context = 4096;
        let weights = weights::initial(&architecture, 3, &candle_core::Device::Cpu).unwrap();
        let decoder = Decoder::new(architecture, &weights).unwrap();
        let size = tokenizer.size() as u32;
        let token = |place: u32| RenderedToken {
            id: place * 7 % size,
            text: word(&tokenizer, place * 7 % size),
            role: Role::Prompt,
            loss: 0.0,
            origin: None,
            score: None,
            highlighted: false,
        };
        let rendered = Rendered { tokens: (0..4096).map(token).collect(), ..Rendered::default() };
        let question =
            Question { ids: rendered.ids(), place: Some(5), gold: size - 1, others: vec![5, 6], ..question() };
        (decoder, tokenizer, question, rendered)
    }

    #[test]
    fn a_long_example_reads_as_its_beginning_does() {
        let (decoder, tokenizer, question, mut rendered) = long();
        let mut go_on = |_, _| ControlFlow::Continue(());
        let whole = read(&decoder, &tokenizer, question.clone(), &rendered, &Lens::Logit, &mut go_on).unwrap();
        rendered.tokens.truncate(30);
        let short = Question { ids: rendered.ids(), ..question };
        let short = read(&decoder, &tokenizer, short, &rendered, &Lens::Logit, &mut go_on).unwrap();
        assert_eq!((whole.tokens.len(), short.tokens.len(), whole.streams), (4096, 30, decoder.streams()));
        for (stream, place) in (0..whole.streams).flat_map(|stream| (0..30).map(move |place| (stream, place))) {
            let (long, short) = (whole.cell(stream, place).unwrap(), short.cell(stream, place).unwrap());
            assert_eq!((long.rank, long.choice_rank), (short.rank, short.choice_rank));
            assert!((long.probability - short.probability).abs() < 1e-6);
        }
        assert!(whole.cell(0, 4096).is_none() && whole.cell(whole.streams, 0).is_none());
    }

    #[test]
    fn reading_can_be_stopped_and_broken_weights_are_told() {
        let (decoder, tokenizer, question, rendered) = long();
        let mut stop = |_, _| ControlFlow::Break(());
        let result = read(&decoder, &tokenizer, question.clone(), &rendered, &Lens::Logit, &mut stop);
        assert!(matches!(result, Err(LensError::Interrupted)));
        // A map that overflows is as bad as a student that does.
        let mut lens = crate::attribution::lens::Translators::identity(&decoder, 0).unwrap();
        lens.maps[0].1 = (&lens.maps[0].1 + f64::NAN).unwrap();
        let mut go_on = |_, _| ControlFlow::Continue(());
        let error = read(&decoder, &tokenizer, question, &rendered, &Lens::Trained(lens), &mut go_on).unwrap_err();
        assert!(error.to_string().contains("at the embedding is no number"), "{error}");
    }
}
