//! What each token of a training sequence costs a student: cross-entropy under teacher forcing, weighted or not, at one
//! checkpoint or at several, so that one sees which tokens were learnt when.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::{EvaluationError, Losses, OnProgress, losses};
use crate::rationale::{Encoded, Rendered, Role};
use crate::student::{Decoder, Supervised};

/// The cross-entropy in nats of every token of a sequence but its first, which nothing stands before: one number less
/// than there are ids. Without dropout, and whether or not the token counts in the loss. Where the weights are no
/// numbers, neither are the losses.
pub fn token_losses(decoder: &Decoder, ids: &[u32]) -> Result<Vec<f32>, EvaluationError> {
    let Some((_, read)) = ids.split_last().filter(|(_, read)| !read.is_empty()) else { return Ok(vec![]) };
    let rows: Vec<u32> = (0..read.len() as u32).collect();
    let weights = vec![1.0; read.len()];
    let all = Supervised { ids: read, batch: 1, rows: &rows, targets: &ids[1..], weights: &weights, teacher: None };
    Ok(decoder.loss(&all, None)?.losses.to_vec1()?)
}

/// The losses of each of several examples, as if it were alone in its batch: what it would be trained on by itself.
pub fn losses_of_each(
    decoder: &Decoder,
    examples: &[Encoded],
    on_progress: OnProgress,
) -> Result<Vec<Losses>, EvaluationError> {
    let each = examples.iter().enumerate().map(|(done, example)| {
        if on_progress(done).is_break() {
            return Err(EvaluationError::Interrupted);
        }
        losses(decoder, std::slice::from_ref(example), &mut |_| ControlFlow::Continue(()))
    });
    each.collect()
}

/// A token of a training sequence, and what it costs at each checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLosses {
    pub id: u32,
    pub text: String,
    pub role: Role,
    /// What its cross-entropy is multiplied by in training; 0 where it does not count.
    pub weight: f32,
    /// Cross-entropy in nats, unweighted, one for each checkpoint; `None` for the first token of a sequence, and where it
    /// is no number.
    pub losses: Vec<Option<f32>>,
    /// The probability of the token, likewise: e to the power of the negative loss.
    pub probabilities: Vec<Option<f32>>,
}

/// A checkpoint and what it makes of the example as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Looked {
    /// `step-200`, or the name of a folder.
    pub name: String,
    /// Optimiser steps, where it is a run's checkpoint.
    pub step: Option<usize>,
    /// Mean over the tokens that count, each times its weight, in nats; `None` where none counts or it is no number.
    pub loss: Option<f64>,
    /// Mean over the counted tokens of the label and of the rationale.
    pub loss_label: Option<f64>,
    pub loss_rationale: Option<f64>,
    /// How many tokens have no number for a loss: weights that have diverged.
    pub broken: usize,
}

/// One example under the loupe: tokens × checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExampleLosses {
    pub id: String,
    /// In the order in which they were asked.
    pub checkpoints: Vec<Looked>,
    pub tokens: Vec<TokenLosses>,
    /// The second sequence, where the recipe makes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<Vec<TokenLosses>>,
    /// Of each sequence as the student reads it.
    #[serde(skip)]
    encoded: Encoded,
}

impl ExampleLosses {
    /// An example as it was rendered, before any student was asked.
    pub fn new(id: &str, rendered: &Rendered) -> Self {
        let tokens = |rendered: &Rendered| -> Vec<TokenLosses> {
            let token = |token: &crate::rationale::RenderedToken| TokenLosses {
                id: token.id,
                text: token.text.clone(),
                role: token.role,
                weight: token.loss,
                losses: vec![],
                probabilities: vec![],
            };
            rendered.tokens.iter().map(token).collect()
        };
        Self {
            id: id.into(),
            checkpoints: vec![],
            tokens: tokens(rendered),
            second: rendered.second.as_deref().map(tokens),
            encoded: Encoded::new(id, rendered),
        }
    }

    /// Asks one more student, of the same tokenizer.
    pub fn ask(&mut self, name: &str, step: Option<usize>, decoder: &Decoder) -> Result<(), EvaluationError> {
        let whole = losses(decoder, std::slice::from_ref(&self.encoded), &mut |_| ControlFlow::Continue(()))?;
        let mut broken = 0;
        for sequence in std::iter::once(&mut self.tokens).chain(&mut self.second) {
            let ids: Vec<u32> = sequence.iter().map(|token| token.id).collect();
            let found = token_losses(decoder, &ids)?;
            broken += found.iter().filter(|loss| !loss.is_finite()).count();
            let of_first = std::iter::once(None);
            let each = of_first.chain(found.into_iter().map(|loss| loss.is_finite().then_some(loss)));
            for (token, loss) in sequence.iter_mut().zip(each) {
                token.losses.push(loss);
                token.probabilities.push(loss.map(|loss| (-loss).exp()));
            }
        }
        let number = |value: Option<f64>| value.filter(|value| value.is_finite());
        self.checkpoints.push(Looked {
            name: name.into(),
            step,
            loss: number(whole.per_token),
            loss_label: number(whole.label),
            loss_rationale: number(whole.rationale),
            broken,
        });
        Ok(())
    }

    /// Its sequences, one after the other.
    pub fn sequences(&self) -> impl Iterator<Item = &[TokenLosses]> {
        std::iter::once(&self.tokens[..]).chain(self.second.as_deref())
    }
}

impl TokenLosses {
    /// Its loss at a checkpoint, by the checkpoint's place.
    pub fn at(&self, checkpoint: usize) -> Option<f32> {
        self.losses.get(checkpoint).copied().flatten()
    }
}

/// Losses from this on are as loud as any, in nats: a probability of 0.0025.
pub const LOUD: f32 = 6.0;

/// How loud a loss is, on a scale from 0 to `steps`: 0 below a tenth of a nat, the last at [`LOUD`], evenly in between.
/// The scale is fixed, so that the same loss looks the same in every example.
pub fn loudness(loss: f32, steps: usize) -> usize {
    if loss < 0.1 {
        return 0;
    }
    let share = (loss / LOUD).clamp(0.0, 1.0);
    ((share * steps as f32).ceil() as usize).clamp(1, steps)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::rationale::RenderedToken;
    use crate::student::{Architecture, Student, Tokenizer};

    fn student(context: usize) -> Student {
        let tokenizer = Tokenizer::words(["a b c d e f g h".to_owned()].into_iter(), 50).unwrap();
        let architecture = Architecture::gpt2(tokenizer.size(), context, 16, 2, 2, 32);
        Student::fresh(architecture, tokenizer, 1, &Device::Cpu).unwrap()
    }

    fn token(id: u32, role: Role, loss: f32) -> RenderedToken {
        RenderedToken { id, text: format!(" {id}"), role, loss, origin: None, score: None, highlighted: false }
    }

    fn rendered() -> Rendered {
        let tokens = vec![
            token(1, Role::Prompt, 0.0),
            token(5, Role::Prompt, 0.0),
            token(6, Role::Label, 1.0),
            token(7, Role::Rationale, 0.5),
            token(8, Role::Rationale, 0.5),
            token(2, Role::End, 0.5),
        ];
        Rendered { tokens, ..Rendered::default() }
    }

    #[test]
    fn the_counted_tokens_add_up_to_what_is_trained() {
        let student = student(32);
        let mut found = ExampleLosses::new("q", &rendered());
        found.ask("one", Some(3), &student.decoder).unwrap();
        assert_eq!(found.tokens.len(), 6);
        assert_eq!(found.tokens[0].losses, [None], "nothing stands before the first");
        let of = |token: &TokenLosses| f64::from(token.at(0).unwrap()) * f64::from(token.weight);
        let weighted: f64 = found.tokens[1..].iter().map(of).sum();
        let looked = &found.checkpoints[0];
        assert!((looked.loss.unwrap() - weighted / 2.5).abs() < 1e-6);
        assert!((looked.loss_label.unwrap() - f64::from(found.tokens[2].at(0).unwrap())).abs() < 1e-6);
        let p = found.tokens[3].probabilities[0].unwrap();
        assert!((p.ln() + found.tokens[3].at(0).unwrap()).abs() < 1e-6);
        assert_eq!((looked.broken, looked.step), (0, Some(3)));
    }

    #[test]
    fn a_second_sequence_has_losses_of_its_own() {
        let student = student(32);
        let mut both = rendered();
        both.second = Some(Box::new(Rendered { tokens: rendered().tokens[..4].to_vec(), ..Rendered::default() }));
        let mut found = ExampleLosses::new("q", &both);
        found.ask("one", None, &student.decoder).unwrap();
        found.ask("again", None, &student.decoder).unwrap();
        let sequences: Vec<&[TokenLosses]> = found.sequences().collect();
        assert_eq!((sequences.len(), sequences[1].len(), found.checkpoints.len()), (2, 4, 2));
        // What stands before a token is the same in both, and a student is asked the same twice.
        for (one, other) in sequences[0].iter().zip(sequences[1]).skip(1) {
            assert!((one.at(0).unwrap() - other.at(1).unwrap()).abs() < 1e-6);
        }
    }

    #[test]
    fn one_token_and_none_have_no_loss_and_thousands_have_all() {
        let student = student(4096);
        assert!(token_losses(&student.decoder, &[]).unwrap().is_empty());
        assert!(token_losses(&student.decoder, &[5]).unwrap().is_empty());
        let ids: Vec<u32> = (0..4096).map(|place| 5 + place % 8).collect();
        let found = token_losses(&student.decoder, &ids).unwrap();
        assert_eq!(found.len(), 4095);
        assert!(found.iter().all(|loss| loss.is_finite() && *loss > 0.0));
        // A token's loss does not depend on what follows.
        let short = token_losses(&student.decoder, &ids[..40]).unwrap();
        let largest = short.iter().zip(&found).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        assert!(largest < 1e-5, "{largest:e}");
    }

    #[test]
    fn a_student_of_no_numbers_is_counted_and_breaks_nothing() {
        let student = student(32);
        let (_, words) = &student.parameters[0];
        words.set(&(words.as_tensor() * f64::NAN).unwrap()).unwrap();
        let mut found = ExampleLosses::new("q", &rendered());
        found.ask("broken", None, &student.decoder).unwrap();
        assert_eq!(found.checkpoints[0].broken, 5);
        assert_eq!((found.checkpoints[0].loss, found.tokens[2].at(0)), (None, None));
    }

    #[test]
    fn each_example_is_measured_as_if_alone() {
        let student = student(32);
        let (one, mut other) = (Encoded::new("one", &rendered()), Encoded::new("other", &rendered()));
        other.ids[3] = 9;
        let mut go_on = |_| ControlFlow::Continue(());
        let each = losses_of_each(&student.decoder, &[one.clone(), other.clone()], &mut go_on).unwrap();
        let alone = losses(&student.decoder, &[other.clone()], &mut go_on).unwrap();
        assert_eq!(each[1], alone);
        let both = losses(&student.decoder, &[one, other], &mut go_on).unwrap();
        let mean = (each[0].per_example.unwrap() + each[1].per_example.unwrap()) / 2.0;
        assert!((both.per_example.unwrap() - mean).abs() < 1e-6);
    }

    #[test]
    fn the_scale_of_marks_is_the_same_for_all() {
        let marks: Vec<usize> = [0.0, 0.09, 0.1, 0.76, 3.0, 5.9, 6.0, 40.0].map(|loss| loudness(loss, 8)).to_vec();
        assert_eq!(marks, [0, 0, 1, 2, 4, 8, 8, 8]);
    }
}
