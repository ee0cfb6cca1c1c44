//! A generated world in which the ablations really do something, in seconds and on one core.
//!
//! There are 120 made-up nouns, each of one of twelve hidden kinds. A kind has one answer word for each of eight
//! questions ("where would you look for a … ?") and six cue nouns. Each noun shows two of the eight questions in
//! training and is asked the other six in validation and test, so a student must learn what *kind* of thing a noun is;
//! the teacher's rationale tells it, through three cue nouns among fillers and two rejected choices. A rationale names
//! neither the answer nor the noun: pasted to another question it would otherwise teach facts about its donor.
//!
//! Questions, rationales and the teacher's errors are drawn from separate random streams, so two worlds of one seed
//! that differ in noise ask the same questions.

mod words;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::dataset::{LabelStyle, Meta, Template};
use super::example::letter;
use super::{Choice, Example};
use crate::seeds::Stream;
use words::{CLOSINGS, CUES_FIRST, CUES_LAST, KINDS, NOUNS, OPENINGS, QUESTIONS, REJECTIONS};

/// Nouns in a world.
const NOUN_COUNT: usize = 120;
/// Questions about a noun that are asked in training, and how often each with other choices.
const TRAINED_QUESTIONS: usize = 2;
const TRAINED_VERSIONS: usize = 4;
/// How often a noun's one validation question is asked, each time with other choices.
const VALIDATION_VERSIONS: usize = 3;
const CHOICES: usize = 5;
const CUES: usize = 3;

/// Which world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct World {
    pub seed: u64,
    /// The probability with which the teacher puts another kind's cue in the place of each right one.
    pub noise: f64,
}

/// The examples of a world.
#[derive(Clone)]
pub struct Generated {
    pub train: Arc<[Example]>,
    pub validation: Arc<[Example]>,
    pub test: Arc<[Example]>,
}

impl Generated {
    pub fn split(&self, name: &str) -> Option<Arc<[Example]>> {
        match name {
            "train" => Some(self.train.clone()),
            "validation" => Some(self.validation.clone()),
            "test" => Some(self.test.clone()),
            _ => None,
        }
    }
}

impl World {
    /// The built-in world's seed. Of the three worlds on which the student's settings were chosen it is the one whose
    /// accuracies on validation lie closest to their mean (docs/toyworld.md); no reported number uses it.
    pub const TYPICAL: u64 = 100;

    /// `dataset.yaml` of this world under a name.
    pub fn meta(self, name: &str) -> Meta {
        let noise = match self.noise {
            0.0 => String::new(),
            noise => format!("; the teacher replaces each cue by a wrong one with probability {noise}"),
        };
        Meta {
            name: name.into(),
            description: Some(format!("a generated world of made-up nouns, seed {}{noise}", self.seed)),
            licence: Some("CC0-1.0".into()),
            source: Some(format!("afterthought data generate toyworld --seed {} --noise {}", self.seed, self.noise)),
            splits: ["train", "validation", "test"]
                .map(|split| (split.into(), format!("{split}.jsonl").into()))
                .into_iter()
                .collect(),
            subject: Some("subject".into()),
            template: Template {
                prompt: "{question} options : {choices} .".into(),
                choice: "{text}".into(),
                choice_separator: " , ".into(),
                answer: " answer :".into(),
                rationale: " because :".into(),
                label: LabelStyle::Text,
            },
        }
    }

    /// Makes all examples. The same world gives the same examples on every machine.
    pub fn generate(self) -> Generated {
        let mut nouns = NOUNS.to_vec();
        Stream::new(self.seed, &["toyworld", "nouns"]).shuffle(&mut nouns);
        let (mut train, mut validation, mut test) = (Vec::new(), Vec::new(), Vec::new());
        for (place, noun) in nouns.into_iter().take(NOUN_COUNT).enumerate() {
            let kind = place % KINDS.len();
            let mut questions: Vec<usize> = (0..QUESTIONS.len()).collect();
            Stream::new(self.seed, &["toyworld", "splits", noun]).shuffle(&mut questions);
            for (place, question) in questions.into_iter().enumerate() {
                let (split, versions) = match place {
                    0..TRAINED_QUESTIONS => (&mut train, TRAINED_VERSIONS),
                    TRAINED_QUESTIONS => (&mut validation, VALIDATION_VERSIONS),
                    _ => (&mut test, 1),
                };
                let mut asked: Vec<Vec<&str>> = Vec::new();
                for version in 0..versions {
                    let choices = self.choices(noun, kind, question, version, &asked);
                    split.push(self.example(noun, kind, question, version, &choices));
                    asked.push(sorted(choices));
                }
            }
        }
        Generated {
            train: self.arranged(train, "tr"),
            validation: self.arranged(validation, "va"),
            test: self.arranged(test, "te"),
        }
    }

    /// Shuffles a split and numbers its examples.
    fn arranged(self, mut examples: Vec<Example>, prefix: &str) -> Arc<[Example]> {
        Stream::new(self.seed, &["toyworld", "order", prefix]).shuffle(&mut examples);
        for (number, example) in examples.iter_mut().enumerate() {
            example.id = format!("{prefix}-{:04}", number + 1);
        }
        examples.into()
    }

    /// The right answer among those of other kinds; never the same choices twice for one question.
    fn choices(
        self,
        noun: &str,
        kind: usize,
        question: usize,
        version: usize,
        asked: &[Vec<&str>],
    ) -> Vec<&'static str> {
        let mut stream = Stream::new(self.seed, &["toyworld", "question", &format!("{noun}/{question}/{version}")]);
        loop {
            let others = stream.sample(KINDS.len() - 1, CHOICES - 1);
            let mut texts: Vec<&str> =
                others.into_iter().map(|other| KINDS[other_kind(kind, other)].answers[question]).collect();
            texts.push(KINDS[kind].answers[question]);
            stream.shuffle(&mut texts);
            if !asked.contains(&sorted(texts.clone())) {
                return texts;
            }
        }
    }

    fn example(self, noun: &str, kind: usize, question: usize, version: usize, texts: &[&str]) -> Example {
        let place = format!("{noun}/{question}/{version}");
        let gold = KINDS[kind].answers[question];
        let (rationale, cues) = self.rationale(&place, kind, gold, texts);
        let label = |place: usize| letter(place);
        let answer = texts.iter().position(|text| *text == gold).map(label);
        let extra: Map<String, Value> =
            [("subject", json!(noun)), ("kind", json!(KINDS[kind].name)), ("cues", json!(cues))]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
        Example {
            id: String::new(),
            question: QUESTIONS[question].replace("{noun}", noun),
            choices: texts
                .iter()
                .enumerate()
                .map(|(place, text)| Choice { label: label(place), text: (*text).into() })
                .collect(),
            answer,
            rationale: Some(rationale),
            rationale_source: Some(format!("toy teacher, noise {}", self.noise)),
            highlights: Vec::new(),
            extra,
        }
    }

    /// What the teacher says, and the cues that it says rightly.
    fn rationale(self, place: &str, kind: usize, gold: &str, choices: &[&str]) -> (String, Vec<&'static str>) {
        let mut saying = Stream::new(self.seed, &["toyworld", "rationale", place]);
        let mut erring = Stream::new(self.seed, &["toyworld", "noise", place]);
        let mut right = Vec::new();
        let cues: Vec<&str> = saying
            .sample(KINDS[kind].cues.len(), CUES)
            .into_iter()
            .map(|cue| {
                // Both numbers are always drawn, so that a world with more noise errs in the same places and more.
                let (slip, other) = (erring.uniform(), erring.below(KINDS.len() - 1));
                let wrong = *erring.pick(KINDS[other_kind(kind, other)].cues);
                if slip < self.noise {
                    return wrong;
                }
                right.push(KINDS[kind].cues[cue]);
                KINDS[kind].cues[cue]
            })
            .collect();
        let wrong: Vec<&str> = choices.iter().copied().filter(|text| *text != gold).collect();
        let rejected: Vec<&str> = saying.sample(wrong.len(), 2).into_iter().map(|place| wrong[place]).collect();
        let text = [OPENINGS, CUES_FIRST, CUES_LAST, CLOSINGS, REJECTIONS]
            .map(|pieces| *saying.pick(pieces))
            .join(" ")
            .replace("{cue1}", cues[0])
            .replace("{cue2}", cues[1])
            .replace("{cue3}", cues[2])
            .replace("{wrong1}", rejected[0])
            .replace("{wrong2}", rejected[1]);
        (text, right)
    }
}

fn sorted(mut texts: Vec<&str>) -> Vec<&str> {
    texts.sort_unstable();
    texts
}

/// The `n`th kind that isn't `kind`.
fn other_kind(kind: usize, n: usize) -> usize {
    if n < kind { n } else { n + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const CLEAN: World = World { seed: 3, noise: 0.0 };

    fn words(text: &str) -> HashSet<&str> {
        text.split(' ').collect()
    }

    #[test]
    fn the_splits_have_their_sizes_and_no_question_is_shared() {
        let world = CLEAN.generate();
        assert_eq!([world.train.len(), world.validation.len(), world.test.len()], [960, 360, 600]);
        let questions = |split: &[Example]| split.iter().map(|row| row.question.clone()).collect::<HashSet<_>>();
        let (train, validation, test) = (questions(&world.train), questions(&world.validation), questions(&world.test));
        assert_eq!([train.len(), validation.len(), test.len()], [240, 120, 600]);
        assert!(train.is_disjoint(&validation) && train.is_disjoint(&test) && validation.is_disjoint(&test));
    }

    #[test]
    fn a_question_never_has_the_same_choices_twice() {
        for seed in 0..3 {
            let world = World { seed, noise: 0.0 }.generate();
            let mut seen = HashSet::new();
            for example in world.train.iter().chain(world.validation.iter()) {
                let choices = sorted(example.choices.iter().map(|choice| choice.text.as_str()).collect());
                assert!(seen.insert((example.question.as_str(), choices)), "{}", example.id);
            }
        }
    }

    #[test]
    fn a_rationale_names_neither_the_answer_nor_the_noun() {
        for example in CLEAN.generate().train.iter() {
            let rationale = example.rationale.as_deref().unwrap();
            assert!(!words(rationale).contains(example.gold().unwrap().text.as_str()), "{rationale}");
            assert!(!words(rationale).contains(example.extra_text("subject").unwrap()), "{rationale}");
            let length = rationale.split(' ').count();
            assert!((28..=48).contains(&length), "{length} words: {rationale}");
        }
    }

    #[test]
    fn the_answer_is_told_by_the_kind_and_the_kind_by_the_cues() {
        for example in CLEAN.generate().test.iter() {
            let kind = KINDS.iter().find(|kind| Some(kind.name) == example.extra_text("kind")).unwrap();
            assert!(kind.answers.contains(&example.gold().unwrap().text.as_str()));
            let said = words(example.rationale.as_deref().unwrap());
            assert_eq!(kind.cues.iter().filter(|cue| said.contains(**cue)).count(), 3);
            let texts: HashSet<_> = example.choices.iter().map(|choice| &choice.text).collect();
            assert_eq!(texts.len(), CHOICES);
        }
    }

    #[test]
    fn noise_changes_the_cues_and_nothing_else() {
        let (clean, noisy) = (CLEAN.generate(), World { noise: 0.5, ..CLEAN }.generate());
        let mut wrong = 0;
        for (one, other) in clean.train.iter().zip(noisy.train.iter()) {
            assert_eq!(
                (&one.id, &one.question, &one.choices, &one.answer),
                (&other.id, &other.question, &other.choices, &other.answer)
            );
            wrong += 3 - other.extra["cues"].as_array().unwrap().len();
        }
        let share = wrong as f64 / (3.0 * 960.0);
        assert!((0.46..0.54).contains(&share), "{share}");
    }

    #[test]
    fn no_word_has_two_meanings() {
        let mut seen = HashSet::new();
        for kind in KINDS {
            for word in kind.answers.iter().chain(kind.cues) {
                assert!(seen.insert(*word), "{word} stands twice");
            }
        }
        for noun in NOUNS {
            assert!(seen.insert(noun), "{noun} stands twice");
        }
        let fixed = [QUESTIONS, OPENINGS, CUES_FIRST, CUES_LAST, CLOSINGS, REJECTIONS].concat().join(" ");
        assert!(words(&fixed).is_disjoint(&seen), "{:?}", words(&fixed).intersection(&seen).collect::<Vec<_>>());
    }
}
