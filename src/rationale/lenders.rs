//! Whose rationale `swap` puts in the place of an example's own: another example's, chosen by its label, or one of the
//! same question that argues for a wrong choice.

use std::collections::HashMap;

use super::ablation::donor;
use super::recipe::{Swap, SwapWith};
use crate::corpus::example::TEACHER_ANSWER;
use crate::corpus::{Choice, Example, SourceRationale, Template};
use crate::seeds::Stream;

/// The examples of a split that can lend their rationale, by what decides who borrows it.
pub struct Lenders {
    with: SwapWith,
    template: Template,
    /// Rows seen, lenders or not.
    rows: usize,
    /// Rows with an answer and a rationale, and the number of their group.
    all: Vec<(usize, usize)>,
    /// The numbers of the groups, by label or by the text of the answer.
    groups: HashMap<String, usize>,
    members: Vec<Vec<usize>>,
}

impl Lenders {
    /// Nobody yet. `template` says what the student writes for a label.
    pub fn new(swap: &Swap, template: &Template) -> Self {
        Self {
            with: swap.with,
            template: template.clone(),
            rows: 0,
            all: vec![],
            groups: HashMap::new(),
            members: vec![],
        }
    }

    /// Takes note of the next row of the split.
    pub fn add(&mut self, example: &Example) {
        let row = self.rows;
        self.rows += 1;
        let Some(key) = self.key(example).filter(|_| example.has_rationale()) else { return };
        // What argues for a wrong choice elsewhere must argue for the right one here, where its teacher says what it meant.
        let meant = example.extra_text(TEACHER_ANSWER).map(|answer| example.choice_named(answer));
        let errs = meant.is_some_and(|meant| meant.map(|choice| &choice.label) != example.answer.as_ref());
        if self.with == SwapWith::WrongChoice && errs {
            return;
        }
        let next = self.groups.len();
        let group = *self.groups.entry(key).or_insert(next);
        if group == next {
            self.members.push(vec![]);
        }
        self.members[group].push(row);
        self.all.push((row, group));
    }

    /// The row that lends its rationale to the example in row `place`: never itself. `None` where there is none.
    pub fn choose(&self, seed: u64, place: usize, example: &Example) -> Option<usize> {
        let mut stream = Stream::new(seed, &["donor", self.with.name(), &example.id]);
        match self.with {
            // Any other row, as it has always been drawn.
            SwapWith::AnotherExample => donor(seed, &example.id, place, self.rows),
            SwapWith::SameLabel => {
                let members = self.members_of(&self.key(example)?)?;
                let own = members.binary_search(&place).ok();
                let others = members.len() - usize::from(own.is_some());
                let drawn = (others > 0).then(|| stream.below(others))?;
                Some(members[if own.is_some_and(|own| drawn >= own) { drawn + 1 } else { drawn }])
            }
            SwapWith::OtherLabel => {
                let own = self.key(example).and_then(|key| self.groups.get(&key).copied());
                if !self.all.iter().any(|(_, group)| Some(*group) != own) {
                    return None;
                }
                loop {
                    let (row, group) = stream.pick(&self.all);
                    if Some(*group) != own {
                        return Some(*row);
                    }
                }
            }
            SwapWith::WrongChoice => {
                let gold = answer_text(&example.gold()?.text);
                let mut wrong: Vec<String> = example.choices.iter().map(|choice| answer_text(&choice.text)).collect();
                wrong.retain(|text| *text != gold);
                stream.shuffle(&mut wrong);
                let members = wrong.iter().find_map(|text| self.members_of(text))?;
                Some(*stream.pick(members))
            }
        }
    }

    /// What an example is grouped by: what the student writes for its label, or the text of its answer.
    fn key(&self, example: &Example) -> Option<String> {
        let gold = example.gold()?;
        Some(match self.with {
            SwapWith::WrongChoice => answer_text(&gold.text),
            _ => self.template.label_text(gold),
        })
    }

    fn members_of(&self, key: &str) -> Option<&[usize]> {
        self.groups.get(key).map(|group| &self.members[*group][..])
    }
}

/// The text of an answer, so that one answer is one key.
fn answer_text(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Whether a choice says another thing than the right one.
pub fn is_wrong(choice: &Choice, gold: &Choice) -> bool {
    choice.label != gold.label && answer_text(&choice.text) != answer_text(&gold.text)
}

/// The wrong choice of a question that says what is the right answer of the lender. By its text: the labels of two questions
/// have nothing to do with each other.
pub fn argued<'e>(example: &'e Example, lender: &Example) -> Option<&'e Choice> {
    let (gold, answer) = (example.gold()?, answer_text(&lender.gold()?.text));
    example.choices.iter().find(|choice| is_wrong(choice, gold) && answer_text(&choice.text) == answer)
}

/// Of a source's rationales for this question, one for a choice that is wrong, drawn by (seed, example id), and that choice.
/// A source says by `teacher_answer` what its rationale argues for; one that does not say is not taken.
pub fn for_wrong_choice<'a, 'e>(
    seed: u64,
    example: &'e Example,
    of: &'a [SourceRationale],
) -> Option<(&'a str, &'e Choice)> {
    let texts = of.iter().filter_map(|one| {
        let choice = wrong_choice(example, one.teacher_answer.as_deref()?)?;
        Some((one.rationale.as_deref().filter(|text| !text.trim().is_empty())?, choice))
    });
    let texts: Vec<(&str, &Choice)> = texts.collect();
    let mut stream = Stream::new(seed, &["donor", "wrong-choice-of-source", &example.id]);
    (!texts.is_empty()).then(|| *stream.pick(&texts))
}

/// The wrong choice of a question that an answer names, by label or text; `None` where it is the right one, or none.
pub fn wrong_choice<'e>(example: &'e Example, answer: &str) -> Option<&'e Choice> {
    let gold = example.gold()?;
    example.choice_named(answer).filter(|choice| is_wrong(choice, gold))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::corpus::LabelStyle;

    const ANSWERS: [&str; 4] = ["bank", "reef", "barn", "hive"];

    /// A question whose choices are all answers, of which `answer` is right.
    fn example(number: usize, answer: usize, has_rationale: bool) -> Example {
        let choice = |(place, text): (usize, &&str)| Choice { label: place.to_string(), text: (*text).into() };
        Example {
            id: format!("q{number}"),
            choices: ANSWERS.iter().enumerate().map(choice).collect(),
            answer: Some(answer.to_string()),
            rationale: has_rationale.then(|| format!("because of {}", ANSWERS[answer])),
            ..Example::default()
        }
    }

    fn lenders(with: SwapWith, examples: &[Example]) -> Lenders {
        let template = Template { label: LabelStyle::Text, ..Template::default() };
        let mut lenders = Lenders::new(&Swap { with, source: None }, &template);
        examples.iter().for_each(|example| lenders.add(example));
        lenders
    }

    proptest! {
        #[test]
        fn who_lends_is_drawn_by_seed_and_id_and_has_the_label_that_was_asked_for(
            rows in prop::collection::vec((0..4usize, any::<bool>()), 1..30),
            seed: u64,
        ) {
            let examples: Vec<Example> =
                rows.iter().enumerate().map(|(number, (answer, has))| example(number, *answer, *has)).collect();
            for with in SwapWith::ALL {
                let lenders = lenders(with, &examples);
                for (place, own) in examples.iter().enumerate() {
                    let chosen = lenders.choose(seed, place, own);
                    prop_assert_eq!(chosen, lenders.choose(seed, place, own));
                    let could = |(other, row): (usize, &Example)| match with {
                        SwapWith::AnotherExample => other != place,
                        SwapWith::SameLabel => other != place && row.has_rationale() && row.answer == own.answer,
                        SwapWith::OtherLabel | SwapWith::WrongChoice => row.has_rationale() && row.answer != own.answer,
                    };
                    match chosen {
                        Some(row) => prop_assert!(could((row, &examples[row])), "{} {}", with.name(), row),
                        None => prop_assert!(!examples.iter().enumerate().any(could), "{}", with.name()),
                    }
                }
            }
        }
    }

    #[test]
    fn every_lender_has_his_turn() {
        let examples: Vec<Example> = (0..12).map(|number| example(number, number % 2, true)).collect();
        for with in [SwapWith::SameLabel, SwapWith::OtherLabel, SwapWith::WrongChoice] {
            let lenders = lenders(with, &examples);
            let seen = (0..400).filter_map(|seed| lenders.choose(seed, 4, &examples[4]));
            let seen: std::collections::BTreeSet<usize> = seen.collect();
            assert_eq!(seen.len(), if with == SwapWith::SameLabel { 5 } else { 6 }, "{}", with.name());
        }
    }

    #[test]
    fn a_source_lends_what_argues_for_a_wrong_choice_and_says_so() {
        let own = example(1, 0, true);
        let one = |answer: Option<&str>, text: &str| SourceRationale {
            id: own.id.clone(),
            teacher_answer: answer.map(str::to_owned),
            rationale: Some(text.into()),
            ..SourceRationale::default()
        };
        let all = [
            one(Some("0"), "right"),
            one(Some(" Bank"), "right by its text"),
            one(None, "nobody knows for what"),
            one(Some("9"), "for no choice at all"),
            one(Some("2"), "  "),
            one(Some("2"), "by label"),
            one(Some("Hive"), "by text"),
        ];
        let seen: std::collections::BTreeSet<(&str, &str)> = (0..50)
            .filter_map(|seed| for_wrong_choice(seed, &own, &all))
            .map(|(text, choice)| (text, &*choice.text))
            .collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [("by label", "barn"), ("by text", "hive")]);
        assert_eq!(for_wrong_choice(3, &own, &all[..5]), None);
    }
}
