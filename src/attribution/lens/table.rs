//! What a lens reads over a whole split: at how many examples each layer reads the label where it is written, and how that
//! grows along the rationale.

use std::collections::{BTreeMap, HashMap};

use candle_core::DType;
use serde::Serialize;

use super::{Lens, LensError, Question, Readable};
use crate::rationale::{Rendered, Role};
use crate::student::Decoder;

/// Parts of a rationale.
pub const TENTHS: usize = 10;

/// How many of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    pub count: usize,
    pub of: usize,
}

impl Share {
    fn add(&mut self, holds: bool) {
        self.count += usize::from(holds);
        self.of += 1;
    }

    /// `None` of nothing.
    pub fn value(self) -> Option<f64> {
        (self.of > 0).then(|| self.count as f64 / self.of as f64)
    }
}

/// How a layer reads labels where they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AtLabel {
    /// Examples whose label it reads.
    pub readable: usize,
    /// Examples whose label it and every deeper layer reads.
    pub stays: usize,
    /// Examples that become readable here: the layer is the first from which it stays so.
    pub begins: usize,
    /// The mean probability of the label among the choices.
    pub probability: f64,
}

/// The readings of a split.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    pub lens: String,
    pub ahead: usize,
    /// Examples that count.
    pub examples: usize,
    /// Examples left out: another choice begins with the label's first token, or there is none.
    pub indistinct: usize,
    /// Examples left out: the label is written too early for the lens.
    pub too_early: usize,
    /// Before the first layer, and after each.
    pub layers: Vec<AtLabel>,
    /// Examples whose label the last layer does not read.
    pub never: usize,
    /// Whether rationales stand behind the labels.
    pub after_label: bool,
    /// For each tenth of the rationales, from the first: places at which each layer reads the label.
    pub tenths: Vec<Vec<Share>>,
    /// After what kind of token labels become readable, and after which.
    pub after_roles: BTreeMap<&'static str, usize>,
    #[serde(skip)]
    after_words: HashMap<String, usize>,
}

impl Table {
    pub fn new(decoder: &Decoder, lens: &Lens) -> Self {
        let streams = decoder.streams();
        Self {
            lens: lens.name(),
            ahead: lens.ahead(),
            layers: vec![AtLabel::default(); streams],
            tenths: vec![vec![Share::default(); streams]; TENTHS],
            ..Self::default()
        }
    }

    /// Reads one more example.
    pub fn add(
        &mut self,
        decoder: &Decoder,
        lens: &Lens,
        question: &Question,
        rendered: &Rendered,
    ) -> Result<(), LensError> {
        if !question.is_distinct() {
            self.indistinct += 1;
            return Ok(());
        }
        let Some(label) = question.place else {
            self.too_early += 1;
            return Ok(());
        };
        let readings = Readings::of(decoder, lens, question)?;
        let streams = self.layers.len();
        let found = Readable::of(streams, readings.places, label, |stream, place| readings.reads(stream, place));
        self.examples += 1;
        for (stream, layer) in self.layers.iter_mut().enumerate() {
            layer.readable += usize::from(readings.reads(stream, label));
            layer.stays += usize::from(found.layer.is_some_and(|from| from <= stream));
            layer.begins += usize::from(found.layer == Some(stream));
            // A running mean.
            layer.probability += (readings.probability(stream, label) - layer.probability) / self.examples as f64;
        }
        self.never += usize::from(found.layer.is_none());
        if let Some(token) = found.place.and_then(|place| rendered.tokens.get(place)) {
            *self.after_roles.entry(role_name(token.role)).or_default() += 1;
            *self.after_words.entry(token.text.trim().to_owned()).or_default() += 1;
        }
        let rationale = rendered.places(Role::Rationale);
        self.after_label |= !rationale.is_empty() && rationale.start > label;
        for place in rationale.clone() {
            let tenth = (place - rationale.start) * TENTHS / rationale.len();
            for (stream, share) in self.tenths[tenth].iter_mut().enumerate() {
                share.add(readings.reads(stream, place));
            }
        }
        Ok(())
    }

    /// The tokens after which most labels become readable, with how many.
    pub fn after_words(&self, most: usize) -> Vec<(&str, usize)> {
        let mut words: Vec<(&str, usize)> =
            self.after_words.iter().map(|(word, count)| (word.as_str(), *count)).collect();
        words.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        words.truncate(most);
        words
    }

    /// Whether there were rationales.
    pub fn has_rationales(&self) -> bool {
        self.tenths.iter().flatten().any(|share| share.of > 0)
    }
}

/// What part of an example a token belongs to.
fn role_name(role: Role) -> &'static str {
    match role {
        Role::Prompt => "question",
        Role::Rationale => "rationale",
        Role::Separator => "separator",
        Role::Label => "label",
        Role::Padding | Role::End => "end",
    }
}

/// How the label stands among the choices, everywhere: the logits of their first tokens are enough for that.
struct Readings {
    places: usize,
    /// For each stream and place: whether the label is the likeliest choice, and its probability among them.
    cells: Vec<(bool, f64)>,
}

impl Readings {
    fn of(decoder: &Decoder, lens: &Lens, question: &Question) -> Result<Self, LensError> {
        let choices = question.choices();
        let mut cells = Vec::new();
        let mut broken = None;
        let _ = decoder.visit_streams(&question.ids, 1, &mut |stream, x| {
            let x = lens.translate(stream, &x.flatten(0, 1)?)?; // (places, width)
            let logits = decoder.read_out_tokens(&x, &choices)?.to_dtype(DType::F64)?;
            for row in logits.to_vec2::<f64>()? {
                if row.iter().any(|logit| !logit.is_finite()) {
                    broken = Some(stream);
                    return Ok(std::ops::ControlFlow::Break(()));
                }
                let (gold, others) = (row[0], &row[1..]);
                let sum: f64 = row.iter().map(|logit| (logit - gold).exp()).sum();
                cells.push((others.iter().all(|other| *other < gold), 1.0 / sum));
            }
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        match broken {
            Some(stream) => Err(LensError::NotANumber { id: question.id.clone(), stream }),
            None => Ok(Self { places: question.ids.len(), cells }),
        }
    }

    fn reads(&self, stream: usize, place: usize) -> bool {
        self.cells[stream * self.places + place].0
    }

    fn probability(&self, stream: usize, place: usize) -> f64 {
        self.cells[stream * self.places + place].1
    }
}
