//! An example as a conversation: the student's chat template around the question, and what ends the answer.
//!
//! The template's own text may spell special tokens; what the messages say may not. Between two special tokens the text
//! of both is tokenised as one, as transformers does with the whole.

use std::ops::Range;

use super::recipe::Chat;
use crate::student::chat::Part;
use crate::student::tokenizer::{Piece, Prefix};
use crate::student::{StudentError, Tokenizer};

/// What a template puts around a question and its answer.
#[derive(Clone)]
pub struct Framing {
    opening: Vec<Segment>,
    /// Spaces that the template leaves at the front of the answer: tokenised with its first word.
    hanging: String,
    /// Whether nothing stands between a special token and the answer.
    answer_begins: bool,
    /// The tokens after the answer.
    ending: Vec<(u32, String)>,
    /// Puts a space of its own at the front of a text, where the student's tokenizer does that.
    begins: Option<Tokenizer>,
}

#[derive(Clone)]
enum Segment {
    Special(u32, String),
    Stretch(Stretch),
}

/// Text between two special tokens.
#[derive(Clone, Default)]
struct Stretch {
    before: String,
    /// Whether the question stands here.
    asks: bool,
    after: String,
    /// Whether the tokenizer puts a space of its own before it.
    begins: bool,
}

/// A part of the opening, with the question in it.
pub enum Opening<'a> {
    Special(u32, &'a str),
    /// Text to be tokenised at once, and the bytes of it that are the question.
    Text {
        text: String,
        question: Range<usize>,
        tokenizer: &'a Tokenizer,
    },
}

impl Framing {
    /// The framing that a recipe asks for, if it does, and the tokenizer for everything inside of it.
    pub fn new(chat: &Chat, tokenizer: Tokenizer) -> Result<(Option<Self>, Tokenizer), StudentError> {
        let system = match chat {
            Chat::Plain => return Ok((None, tokenizer)),
            Chat::User => None,
            Chat::System(message) => Some(message.as_str()),
        };
        let template = tokenizer.chat_template().ok_or(StudentError::NoChatTemplate)?;
        let conversation = template.conversation(&tokenizer.named(), system)?;
        let texts = conversation.opening.iter().map(|part| match part {
            Part::Template(text) => text.as_str(),
            Part::System | Part::User => "",
        });
        let texts: Vec<&str> = texts.chain([conversation.ending.as_str()]).collect();
        let special = tokenizer.special_tokens(&texts)?;
        let prefix = tokenizer.prefix();
        let goes_on = tokenizer.without_prefix()?;
        let spelled = |id: u32| tokenizer.token(id).unwrap_or_default();

        let mut opening: Vec<Segment> = Vec::new();
        let mut open = Stretch::default();
        for ((part, text), special) in conversation.opening.iter().zip(&texts).zip(&special) {
            let mut from = 0;
            for (id, place) in special {
                open.push(&text[from..place.start]);
                close(&mut opening, &mut open, prefix);
                opening.push(Segment::Special(*id, spelled(*id)));
                from = place.end;
            }
            open.push(&text[from..]);
            match part {
                Part::Template(_) => {}
                Part::System => open.push(system.unwrap_or_default()),
                Part::User => open.asks = true,
            }
        }
        let hanging = open.take_spaces();
        let answer_begins = open.is_empty() && prefix == Prefix::Each;
        close(&mut opening, &mut open, prefix);

        // Up to the first special token: what a template writes after that is never asked of the student.
        let mut ending = Vec::new();
        let ends = special.last().and_then(|special| special.first());
        match ends {
            Some((id, place)) => {
                let before = goes_on.pieces(&conversation.ending[..place.start])?;
                ending.extend(before.into_iter().map(|piece| (piece.id, piece.text)));
                ending.push((*id, spelled(*id)));
            }
            None => ending.push((tokenizer.specials.eos, spelled(tokenizer.specials.eos))),
        }
        let begins = (prefix != Prefix::Nowhere).then_some(tokenizer);
        Ok((Some(Self { opening, hanging, answer_begins, ending, begins }), goes_on))
    }

    /// What stands before the answer. `goes_on` is the tokenizer that [`Framing::new`] gave.
    pub fn opening<'a>(&'a self, question: &'a str, goes_on: &'a Tokenizer) -> impl Iterator<Item = Opening<'a>> {
        self.opening.iter().map(move |segment| match segment {
            Segment::Special(id, text) => Opening::Special(*id, text),
            Segment::Stretch(stretch) => {
                let said = if stretch.asks { question } else { "" };
                let from = stretch.before.len();
                Opening::Text {
                    text: format!("{}{said}{}", stretch.before, stretch.after),
                    question: from..from + said.len(),
                    tokenizer: self.begins.as_ref().filter(|_| stretch.begins).unwrap_or(goes_on),
                }
            }
        })
    }

    /// The tokens of what an answer begins with.
    pub fn beginning(&self, text: &str, goes_on: &Tokenizer) -> Result<Vec<Piece>, StudentError> {
        let tokenizer = self.begins.as_ref().filter(|_| self.answer_begins).unwrap_or(goes_on);
        tokenizer.pieces(&format!("{}{}", self.hanging, text.trim_start()))
    }

    /// The tokens that end the answer, with their texts; the last is the one that a student stops at.
    pub fn ending(&self) -> &[(u32, String)] {
        &self.ending
    }
}

impl Stretch {
    fn push(&mut self, text: &str) {
        if self.asks {
            self.after.push_str(text);
        } else {
            self.before.push_str(text);
        }
    }

    fn is_empty(&self) -> bool {
        !self.asks && self.before.is_empty()
    }

    /// Takes the spaces at the end off, unless they are the question's own.
    fn take_spaces(&mut self) -> String {
        let text = if self.asks { &mut self.after } else { &mut self.before };
        text.split_off(text.trim_end_matches(' ').len())
    }
}

fn close(opening: &mut Vec<Segment>, open: &mut Stretch, prefix: Prefix) {
    let stretch = std::mem::take(open);
    if !stretch.is_empty() {
        let begins = prefix == Prefix::Each || prefix == Prefix::First && opening.is_empty();
        opening.push(Segment::Stretch(Stretch { begins, ..stretch }));
    }
}
