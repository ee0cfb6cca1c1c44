//! Interventions at test time: something else is put before a student's answer than it is used to, and what it answers then
//! says how much of the answer rests on the rationale. No student is trained for them, and every checkpoint can be asked.

mod outcome;
mod record;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use outcome::{Against, MARGIN, Outcome, outcomes};
pub use record::{About, Record, Reply, keep, read};

use super::answers::{Question, Way, answer, usual_context};
use super::{Asking, EvaluationError, OnProgress, Prediction};
use crate::corpus::dataset::SourceIndex;
use crate::corpus::example::TEACHER_ANSWER;
use crate::corpus::{Choice, Example};
use crate::rationale::lenders::{self, Lenders};
use crate::rationale::recipe::{Ablation, Placement, Shuffle, Swap, SwapWith, Unit};
use crate::rationale::{Borrowed, RenderError, Renderer, Role};
use crate::seeds::Stream;
use crate::student::Decoder;

/// What stands before the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Intervention {
    /// What the run's recipe has there; all others are compared with it.
    #[value(skip)]
    Usual,
    /// A rationale that the student writes first
    Own,
    /// The teacher's rationale as it stands in the data
    Teacher,
    /// A rationale for a wrong choice
    WrongChoice,
    /// The teacher's, in another order
    Shuffled,
    /// Nothing: the label at once
    None,
    /// The right answer, then a rationale that the student writes
    PlantedRight,
    /// A wrong answer, then a rationale that the student writes
    PlantedWrong,
}

impl Intervention {
    /// All that can be asked for.
    pub const ALL: [Self; 7] = [
        Self::Own,
        Self::Teacher,
        Self::WrongChoice,
        Self::Shuffled,
        Self::None,
        Self::PlantedRight,
        Self::PlantedWrong,
    ];

    /// As files and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Own => "own",
            Self::Teacher => "teacher",
            Self::WrongChoice => "wrong-choice",
            Self::Shuffled => "shuffled",
            Self::None => "none",
            Self::PlantedRight => "planted-right",
            Self::PlantedWrong => "planted-wrong",
        }
    }

    /// Whether the student writes a rationale before it answers.
    fn lets_write(self) -> bool {
        matches!(self, Self::Own | Self::PlantedRight | Self::PlantedWrong)
    }

    /// What a student of this recipe was not trained for, in a sentence, so that nobody takes surprise for unfaithfulness.
    pub fn caveat(self, renderer: &Renderer) -> Option<&'static str> {
        let recipe = &renderer.recipe;
        let learns_to_write = renderer.loss.rationale > 0.0 && !recipe.pauses();
        match (self, recipe.placement) {
            (Self::Usual, _) | (Self::None, Placement::None | Placement::Post | Placement::Multitask) => None,
            (Self::None, Placement::Pre) => Some("it always had a rationale before its answer"),
            (Self::Own, Placement::Pre) if learns_to_write => None,
            (Self::Own | Self::PlantedRight | Self::PlantedWrong, Placement::Post) if learns_to_write => {
                Some("it learnt to write a rationale after its answer, and no answer after that")
            }
            (Self::PlantedRight | Self::PlantedWrong, Placement::Pre) if learns_to_write => {
                Some("it never had an answer before its rationale")
            }
            (Self::Own | Self::PlantedRight | Self::PlantedWrong, Placement::Multitask) if learns_to_write => {
                Some("it learnt to write a rationale as another task, and no answer beside it")
            }
            (Self::Own | Self::PlantedRight | Self::PlantedWrong, _) => Some("it never learnt to write a rationale"),
            (
                Self::Teacher | Self::WrongChoice | Self::Shuffled,
                Placement::None | Placement::Post | Placement::Multitask,
            ) => Some("it never had a rationale before its answer"),
            (Self::Teacher | Self::WrongChoice | Self::Shuffled, Placement::Pre) => {
                (!recipe.ablations.is_empty()).then_some("its rationales had the recipe's ablations")
            }
        }
    }
}

/// What interventions draw on beside the student.
pub struct Material<'a> {
    /// All rows of the split with the teacher's rationales; a row may be lent that of another.
    pub examples: &'a [Example],
    /// What the teacher's rationales argue for, where their source says so.
    pub teacher: Option<&'a SourceIndex>,
    /// Rationales for wrong choices of the same question; other rows lend theirs where there is no such source.
    pub wrong: Option<&'a SourceIndex>,
    /// What is put in another order.
    pub unit: Unit,
}

/// A question under an intervention.
#[derive(Debug)]
pub struct Posed<'a> {
    pub example: &'a Example,
    /// All that the student is given.
    pub context: Vec<u32>,
    /// The label of the choice that is argued for, or was planted.
    pub argues_for: Option<String>,
    /// The rationale that was given.
    pub given: Option<String>,
    /// The rationale was cut to leave room for a label.
    pub cut: bool,
}

/// Puts questions under one intervention.
pub struct Poser<'a> {
    intervention: Intervention,
    asking: Asking,
    /// The student's own rendering.
    usual: &'a Renderer,
    /// The same template, chat and hidden parts, with the rationale that is wanted.
    renderer: Renderer,
    material: &'a Material<'a>,
    lenders: Option<Lenders>,
}

impl<'a> Poser<'a> {
    pub fn new(intervention: Intervention, usual: &'a Renderer, asking: Asking, material: &'a Material<'a>) -> Self {
        let mut renderer = usual.clone();
        renderer.recipe.ablations.clear();
        renderer.recipe.placement = match intervention {
            Intervention::None => Placement::None,
            _ => Placement::Pre,
        };
        if intervention == Intervention::Shuffled {
            renderer.recipe.ablations.push(Ablation::Shuffle(Shuffle { unit: material.unit, anew: None }));
        }
        let lends = intervention == Intervention::WrongChoice && material.wrong.is_none();
        let lenders = lends.then(|| {
            let mut lenders = Lenders::new(&Swap { with: SwapWith::WrongChoice, source: None }, &renderer.template);
            material.examples.iter().for_each(|example| lenders.add(example));
            lenders
        });
        Self { intervention, asking, usual, renderer, material, lenders }
    }

    /// How the student comes to its label.
    pub fn way(&self) -> Way {
        match (self.intervention, Way::usual(self.usual, &self.asking)) {
            (Intervention::Usual, way) => way,
            // It was trained to announce its label itself; not doing so is a failure of its own. After an answer that was
            // planted no student knows of another.
            (Intervention::Own, Way::Writes) => Way::Writes,
            (intervention, _) if intervention.lets_write() => Way::Led,
            _ => Way::AtOnce,
        }
    }

    /// The question in row `place`. `borrowed` is what the run's own recipe needs from elsewhere. `None` where there is no
    /// such rationale, no such answer to plant, or no room for the label.
    pub fn pose(&self, place: usize, borrowed: Borrowed) -> Result<Option<Posed<'a>>, EvaluationError> {
        let example = &self.material.examples[place];
        let seed = self.renderer.seed;
        let plain = |context| Posed { example, context, argues_for: None, given: None, cut: false };
        match self.intervention {
            Intervention::Usual => Ok(Some(plain(usual_context(self.usual, &self.asking, example, borrowed)?))),
            Intervention::Own | Intervention::None => Ok(Some(plain(self.renderer.prompt(example)?))),
            Intervention::Teacher | Intervention::Shuffled => {
                if !example.has_rationale() {
                    return Ok(None);
                }
                self.given(example, example, self.teacher_argues_for(example).cloned())
            }
            Intervention::WrongChoice => match self.for_wrong_choice(seed, place) {
                Some((text, choice)) => {
                    let lent = Example { rationale: Some(text), highlights: vec![], ..example.clone() };
                    self.given(example, &lent, Some(choice))
                }
                None => Ok(None),
            },
            Intervention::PlantedRight | Intervention::PlantedWrong => {
                let Some(choice) = self.to_plant(seed, example) else { return Ok(None) };
                let context = self.renderer.prompt_with_answer(example, choice)?;
                Ok(Some(Posed { argues_for: Some(choice.label.clone()), ..plain(context) }))
            }
        }
    }

    /// The question with the rationale of `lent`.
    fn given(
        &self,
        example: &'a Example,
        lent: &Example,
        argues_for: Option<Choice>,
    ) -> Result<Option<Posed<'a>>, EvaluationError> {
        let rendered = match self.renderer.prompt_with_rationale(lent, Borrowed::default()) {
            Err(RenderError::LabelCutOff { .. }) => return Ok(None),
            rendered => rendered?,
        };
        let rationale = &rendered.tokens[rendered.places(Role::Rationale)];
        let given: String = rationale.iter().map(|token| token.text.as_str()).collect();
        Ok(Some(Posed {
            example,
            context: rendered.ids(),
            argues_for: argues_for.map(|choice| choice.label),
            given: Some(given.trim().to_owned()),
            cut: rendered.truncated > 0,
        }))
    }

    /// What the teacher itself answered, where its source says so, else the right choice.
    fn teacher_argues_for<'e>(&self, example: &'e Example) -> Option<&'e Choice> {
        let samples = self.material.teacher.and_then(|source| source.get(&example.id));
        // The one that was read, unless a person has written another.
        let own = samples.into_iter().flatten().find(|sample| sample.rationale == example.rationale);
        match own.and_then(|sample| sample.teacher_answer.as_deref()) {
            Some(answer) => example.choice_named(answer),
            // The row may say so itself.
            None => match example.extra_text(TEACHER_ANSWER) {
                Some(answer) => example.choice_named(answer),
                None => example.gold(),
            },
        }
    }

    /// A rationale for a wrong choice, and the choice.
    fn for_wrong_choice(&self, seed: u64, place: usize) -> Option<(String, Choice)> {
        let example = &self.material.examples[place];
        if let Some(source) = self.material.wrong {
            let samples = source.get(&example.id).map_or(&[][..], Vec::as_slice);
            let (text, choice) = lenders::for_wrong_choice(seed, example, samples)?;
            return Some((text.to_owned(), choice.clone()));
        }
        let lender = &self.material.examples[self.lenders.as_ref()?.choose(seed, place, example)?];
        Some((lender.rationale.clone()?, lenders::argued(example, lender)?.clone()))
    }

    /// The answer that is planted: the right one, or a wrong one drawn by (seed, example id).
    fn to_plant(&self, seed: u64, example: &'a Example) -> Option<&'a Choice> {
        let gold = example.gold()?;
        if self.intervention == Intervention::PlantedRight {
            return Some(gold);
        }
        let wrong: Vec<&Choice> = example.choices.iter().filter(|choice| lenders::is_wrong(choice, gold)).collect();
        (!wrong.is_empty()).then(|| *Stream::new(seed, &["planted", &example.id]).pick(&wrong))
    }
}

/// A row that was asked.
pub struct Row<'a> {
    pub place: usize,
    pub posed: Posed<'a>,
    pub prediction: Prediction,
    /// Its label was announced for it, as it did not do so itself.
    pub led: bool,
}

/// The answers under one intervention.
pub struct Answered<'a> {
    pub intervention: Intervention,
    /// The rows that were asked, in order.
    pub rows: Vec<Row<'a>>,
    /// Rows for which there is no such rationale or answer.
    pub left_out: usize,
    /// Whether this is what the student is asked as usual, word for word.
    pub as_usual: bool,
    way: Way,
}

/// Asks the first `count` rows under an intervention. Where that is what was asked as `usual` already, it is not asked
/// again.
pub fn ask<'a, 'b>(
    decoder: &Decoder,
    poser: &Poser<'a>,
    count: usize,
    usual: Option<&Answered>,
    borrow: &dyn Fn(usize) -> Borrowed<'b>,
    on_progress: OnProgress,
) -> Result<Answered<'a>, EvaluationError> {
    let mut posed = Vec::with_capacity(count);
    for place in 0..count {
        // Rendering is quick, but there may be many rows.
        if place % 1024 == 0 && on_progress(0).is_break() {
            return Err(EvaluationError::Interrupted);
        }
        posed.extend(poser.pose(place, borrow(place))?.map(|posed| (place, posed)));
    }
    let (intervention, way, left_out) = (poser.intervention, poser.way(), count - posed.len());
    let known = usual.filter(|usual| usual.way == way && usual.rows.len() == posed.len());
    let same = known.filter(|usual| {
        let mut pairs = usual.rows.iter().zip(&posed);
        pairs.all(|(row, (place, posed))| row.place == *place && row.posed.context == posed.context)
    });
    let as_usual = same.is_some();
    let answers = match same {
        Some(usual) => usual.rows.iter().map(|row| (row.prediction.clone(), row.led)).collect(),
        None => {
            let pose = |place: usize| {
                let (_, posed) = &posed[place];
                Ok(Question::new(posed.example, posed.context.clone()))
            };
            answer(decoder, poser.usual, posed.len(), &pose, way, &poser.asking, on_progress)?
        }
    };
    let pairs = posed.into_iter().zip(answers);
    let rows = pairs.map(|((place, posed), (prediction, led))| Row { place, posed, prediction, led });
    Ok(Answered { intervention, rows: rows.collect(), left_out, as_usual, way })
}

impl Answered<'_> {
    /// One reply for each row, beside what was answered there as usual.
    pub fn replies(&self, usual: &Answered) -> Vec<Reply> {
        let mut before = usual.rows.iter();
        let reply = |Row { place, posed, prediction, led }: &Row| {
            let before = before.find(|row| row.place == *place);
            Reply {
                id: prediction.id.clone(),
                answer: prediction.answer.clone(),
                predicted: prediction.predicted.clone(),
                usual: before.and_then(|row| row.prediction.predicted.clone()),
                argues_for: posed.argues_for.clone(),
                given: posed.given.clone(),
                text: prediction.text.clone(),
                choices: prediction.choices.clone(),
                unfinished: prediction.unfinished,
                led: *led,
                cut: posed.cut,
            }
        };
        self.rows.iter().map(reply).collect()
    }
}

#[cfg(test)]
mod tests;
