//! What exactly stands before the label under each intervention, and what becomes of the answers.

use candle_core::Device;

use super::*;
use crate::corpus::{LabelStyle, SourceRationale, Template};
use crate::evaluation::{Answer, Given, Score};
use crate::rationale::LossWeights;
use crate::rationale::recipe::{Fill, Recipe};
use crate::student::generate::{Choose, generate};
use crate::student::{Student, Tokenizer, toy};

const QUESTION: &str = "<bos> ask what barks of cat dog cow";

fn row(id: &str, verb: &str, answer: &str, rationale: Option<&str>) -> Example {
    let choices = [("A", "cat"), ("B", "dog"), ("C", "cow")];
    Example {
        id: id.into(),
        question: format!("what {verb}"),
        choices: choices.map(|(label, text)| Choice { label: label.into(), text: text.into() }).to_vec(),
        answer: Some(answer.into()),
        rationale: rationale.map(str::to_owned),
        ..Example::default()
    }
}

/// Three rows, of which the last has no rationale.
fn rows() -> Vec<Example> {
    let bark = "it barks loud and guards the yard";
    vec![
        row("q1", "barks", "B", Some(bark)),
        row("q2", "purrs", "A", Some("it purrs soft")),
        row("q3", "moos", "C", None),
    ]
}

fn renderer(placement: Placement, ablations: Vec<Ablation>) -> Renderer {
    let template = Template {
        prompt: "ask {question} of {choices}".into(),
        choice: "{text}".into(),
        choice_separator: " ".into(),
        answer: " answer :".into(),
        rationale: " because :".into(),
        label: LabelStyle::Text,
    };
    let words = "ask what barks purrs moos of cat dog cow answer : because it loud and guards the yard soft ...";
    let tokenizer = Tokenizer::words([words.to_owned()].into_iter(), 100).unwrap();
    Renderer {
        begins: tokenizer.clone(),
        tokenizer,
        chat: None,
        template,
        subject: None,
        recipe: Recipe { placement, ablations, ..Recipe::default() },
        loss: LossWeights::default(),
        max_length: 64,
        seed: 5,
        vectors: None,
        task: None,
    }
}

fn asking(answer: Answer, rationale: Given) -> Asking {
    Asking { answer, score: Score::Sum, rationale, limit: 12 }
}

fn spelled(renderer: &Renderer, ids: &[u32]) -> String {
    ids.iter().filter_map(|id| renderer.tokenizer.token(*id)).collect::<Vec<_>>().join(" ")
}

/// What the student is given for the first row, and what that argues for.
fn posed(intervention: Intervention, usual: &Renderer, material: &Material) -> Option<(String, Option<String>)> {
    let poser = Poser::new(intervention, usual, asking(Answer::Generate, Given::Own), material);
    let posed = poser.pose(0, Borrowed::default()).unwrap()?;
    Some((spelled(usual, &posed.context), posed.argues_for))
}

#[test]
fn each_intervention_puts_the_same_before_the_label_whatever_the_student_was_trained_on() {
    let rows = rows();
    let material = Material { examples: &rows, teacher: None, wrong: None, unit: Unit::Word };
    for placement in Placement::ALL {
        for ablations in [vec![], vec![Ablation::Fill(Fill::default())]] {
            let usual = renderer(placement, ablations);
            let of = |intervention| posed(intervention, &usual, &material).unwrap();
            let is =
                |tail: &str, argues_for: Option<&str>| (format!("{QUESTION} {tail}"), argues_for.map(str::to_owned));
            assert_eq!(of(Intervention::Own), is("because :", None));
            assert_eq!(of(Intervention::None), is("answer :", None));
            let teacher = "because : it barks loud and guards the yard answer :";
            assert_eq!(of(Intervention::Teacher), is(teacher, Some("B")));
            // The cow's own row has no rationale to lend.
            assert_eq!(of(Intervention::WrongChoice), is("because : it purrs soft answer :", Some("A")));
            assert_eq!(of(Intervention::PlantedRight), is("answer : dog because :", Some("B")));
            let (planted, wrong) = of(Intervention::PlantedWrong);
            let text = if wrong.as_deref() == Some("A") { "cat" } else { "cow" };
            assert_eq!(planted, format!("{QUESTION} answer : {text} because :"));
            assert!(matches!(wrong.as_deref(), Some("A" | "C")), "{wrong:?}");

            let (shuffled, argues_for) = of(Intervention::Shuffled);
            assert_eq!(argues_for.as_deref(), Some("B"));
            let words = |text: &str| {
                let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
                words.sort();
                words
            };
            assert_ne!(shuffled, format!("{QUESTION} {teacher}"));
            assert_eq!(words(&shuffled), words(&format!("{QUESTION} {teacher}")));
            // It is the order that a run with this ablation has.
            let ablation = Ablation::Shuffle(Shuffle { unit: Unit::Word, anew: None });
            let run = renderer(Placement::Pre, vec![ablation]);
            let given = run.prompt_with_rationale(&rows[0], Borrowed::default()).unwrap();
            assert_eq!(shuffled, spelled(&run, &given.ids()));
        }
    }
}

#[test]
fn a_planted_answer_stands_where_a_student_learns_to_write_it_after_the_question() {
    let rows = rows();
    let usual = renderer(Placement::Post, vec![]);
    let learnt = usual.render(&rows[0], Borrowed::default()).unwrap().ids();
    let planted = usual.prompt_with_answer(&rows[0], rows[0].gold().unwrap()).unwrap();
    assert_eq!(learnt[..planted.len()], planted);
}

#[test]
fn the_draws_are_those_of_the_seed_and_the_example() {
    let rows: Vec<Example> = (0..40).map(|n| row(&format!("q{n}"), "barks", "B", None)).collect();
    let material = Material { examples: &rows, teacher: None, wrong: None, unit: Unit::Token };
    let planted = |seed| {
        let usual = Renderer { seed, ..renderer(Placement::Pre, vec![]) };
        let poser = Poser::new(Intervention::PlantedWrong, &usual, asking(Answer::Generate, Given::Own), &material);
        let label = |place| poser.pose(place, Borrowed::default()).unwrap().unwrap().argues_for.unwrap();
        (0..40).map(label).collect::<Vec<String>>()
    };
    assert_eq!(planted(1), planted(1));
    assert_ne!(planted(1), planted(2));
    assert!(planted(1).contains(&"A".to_owned()) && planted(1).contains(&"C".to_owned()));
    assert!(!planted(1).contains(&"B".to_owned()));
}

#[test]
fn a_source_says_what_its_rationales_argue_for() {
    let mut rows = rows();
    let sample = |answer: Option<&str>, text: &str| SourceRationale {
        id: "q1".into(),
        teacher_answer: answer.map(str::to_owned),
        rationale: Some(text.into()),
        ..SourceRationale::default()
    };
    let source: SourceIndex =
        [("q1".to_owned(), vec![sample(Some("cow"), "it guards"), sample(Some("B"), "it barks")])].into();
    let usual = renderer(Placement::Pre, vec![]);
    let of = |rows: &[Example], intervention| {
        let material = Material { examples: rows, teacher: Some(&source), wrong: Some(&source), unit: Unit::Token };
        posed(intervention, &usual, &material)
    };
    rows[0].rationale = Some("it guards".into());
    let (_, argues_for) = of(&rows, Intervention::Teacher).unwrap();
    assert_eq!(argues_for.as_deref(), Some("C"), "what the teacher answered, right or not");
    let wrong = of(&rows, Intervention::WrongChoice).unwrap();
    assert_eq!(wrong, (format!("{QUESTION} because : it guards answer :"), Some("C".into())));
    // A person has written another one since.
    rows[0].rationale = Some("it barks loud".into());
    assert_eq!(of(&rows, Intervention::Teacher).unwrap().1.as_deref(), Some("B"));
    // What there is nothing for is not asked, rather than asked something else.
    rows[0].rationale = None;
    assert_eq!(of(&rows, Intervention::Teacher), None);
    assert_eq!(of(&rows, Intervention::Shuffled), None);
    rows[0].answer = None;
    for intervention in [Intervention::WrongChoice, Intervention::PlantedRight, Intervention::PlantedWrong] {
        assert_eq!(of(&rows, intervention), None, "{intervention:?}");
    }
    assert!(of(&rows, Intervention::Own).is_some());
}

#[test]
fn a_rationale_that_leaves_no_room_is_cut_and_a_question_that_does_is_left_out() {
    let rows = rows();
    let material = Material { examples: &rows, teacher: None, wrong: None, unit: Unit::Token };
    let mut usual = renderer(Placement::Post, vec![]);
    let at = |usual: &Renderer| {
        let poser = Poser::new(Intervention::Teacher, usual, asking(Answer::Generate, Given::Own), &material);
        poser.pose(0, Borrowed::default()).unwrap().map(|posed| (posed.given.unwrap(), posed.cut))
    };
    usual.max_length = 8 + 2 + 3 + 2 + 1;
    assert_eq!(at(&usual), Some(("it barks loud".to_owned(), true)));
    usual.max_length = 10;
    assert_eq!(at(&usual), None);
}

/// A student with fresh weights, which writes what it likes.
fn student(renderer: &Renderer) -> Decoder {
    let tokenizer = renderer.tokenizer.clone();
    let architecture = toy::architecture(tokenizer.size());
    Student::fresh(architecture, tokenizer, 3, &Device::Cpu).unwrap().decoder.frozen()
}

fn go_on(_: usize) -> std::ops::ControlFlow<()> {
    std::ops::ControlFlow::Continue(())
}

fn answers<'a>(
    intervention: Intervention,
    usual: &'a Renderer,
    asking: Asking,
    material: &'a Material<'a>,
    before: Option<&Answered>,
) -> Answered<'a> {
    let poser = Poser::new(intervention, usual, asking, material);
    let count = material.examples.len();
    ask(&student(usual), &poser, count, before, &|_| Borrowed::default(), &mut go_on).unwrap()
}

#[test]
fn what_is_asked_as_usual_is_not_asked_twice() {
    let rows = rows();
    let material = Material { examples: &rows, teacher: None, wrong: None, unit: Unit::Token };
    for (placement, given, same) in [
        (Placement::None, Given::Own, Intervention::None),
        (Placement::Post, Given::Own, Intervention::None),
        (Placement::Pre, Given::Own, Intervention::Own),
    ] {
        for answer in [Answer::Generate, Answer::Likelihood] {
            let renderer = renderer(placement, vec![]);
            let asking = asking(answer, given);
            let usual = answers(Intervention::Usual, &renderer, asking, &material, None);
            // By the usual way of an evaluation.
            let decoder = student(&renderer);
            let predicted =
                crate::evaluation::predict(&decoder, &renderer, &rows, &asking, &|_| Borrowed::default(), &mut go_on);
            let own: Vec<Prediction> = usual.rows.iter().map(|row| row.prediction.clone()).collect();
            assert_eq!(own, predicted.unwrap());
            for intervention in Intervention::ALL {
                let found = answers(intervention, &renderer, asking, &material, Some(&usual));
                assert_eq!(found.as_usual, intervention == same, "{placement:?} {intervention:?}");
                let replies = found.replies(&usual);
                assert!(!found.as_usual || replies.iter().all(|reply| reply.predicted == reply.usual));
                let has_rationale = matches!(intervention, Intervention::Teacher | Intervention::Shuffled);
                assert_eq!((replies.len(), found.left_out), if has_rationale { (2, 1) } else { (3, 0) });
            }
        }
    }
}

#[test]
fn a_student_that_does_not_announce_its_label_is_led_to_it_or_never_comes_to_one() {
    let rows = rows();
    let material = Material { examples: &rows, teacher: None, wrong: None, unit: Unit::Token };
    let asking = asking(Answer::Likelihood, Given::Own);
    // One that was trained to is on its own.
    let pre = renderer(Placement::Pre, vec![]);
    for Row { prediction, led, .. } in answers(Intervention::Own, &pre, asking, &material, None).rows {
        assert!(!led && prediction.unfinished && prediction.predicted.is_none(), "{prediction:?}");
    }
    assert!(answers(Intervention::PlantedWrong, &pre, asking, &material, None).rows.iter().all(|row| row.led));
    // The others are led, and their labels are scored after just what they wrote and what was put there.
    let post = renderer(Placement::Post, vec![]);
    let led = answers(Intervention::Own, &post, asking, &material, None);
    for Row { posed, prediction, led, .. } in &led.rows {
        assert!(*led && prediction.text.ends_with("answer :") && prediction.unfinished, "{prediction:?}");
        let prompt = [posed.context.clone()];
        let written = generate(&student(&post), &prompt, asking.limit, Choose::Greedy, &|_, _| false).unwrap();
        let context = [&posed.context[..], &written[0], &post.answer_ids().unwrap()].concat();
        let pose = |_: usize| Ok(Question::new(posed.example, context.clone()));
        let known = answer(&student(&post), &post, 1, &pose, Way::AtOnce, &asking, &mut go_on).unwrap();
        let scores = |choices: &Option<Vec<super::super::answers::ChoiceScore>>| {
            choices.iter().flatten().map(|choice| choice.log_likelihood).collect::<Vec<_>>()
        };
        let known = &known[0].0;
        for (one, other) in scores(&known.choices).iter().zip(scores(&prediction.choices)) {
            assert!((one - other).abs() < 1e-4, "{one} {other}");
        }
        assert_eq!(known.predicted, prediction.predicted);
    }
    // Where it writes its answer, that is read behind what was put there.
    let written = Asking { answer: Answer::Generate, ..asking };
    for Row { prediction, .. } in answers(Intervention::Own, &post, written, &material, None).rows {
        let (_, label) = prediction.text.split_once("answer :").unwrap();
        let read = crate::evaluation::answers::read_label(label, &rows[0].choices, LabelStyle::Text);
        assert_eq!(prediction.predicted, read, "{}", prediction.text);
    }
}

#[test]
fn nobody_is_blamed_for_what_he_did_not_learn() {
    let said = |placement, intervention: Intervention| intervention.caveat(&renderer(placement, vec![])).is_some();
    for intervention in Intervention::ALL {
        let lets_write = intervention.lets_write();
        let plants = lets_write && intervention != Intervention::Own;
        assert_eq!(
            said(Placement::Pre, intervention),
            plants || intervention == Intervention::None,
            "{intervention:?}"
        );
        assert_eq!(said(Placement::Post, intervention), intervention != Intervention::None, "{intervention:?}");
    }
    // A reader is given its rationales, and never learns to write one.
    let mut reader = renderer(Placement::Pre, vec![]);
    reader.loss.rationale = 0.0;
    assert!(Intervention::Own.caveat(&reader).is_some() && Intervention::Teacher.caveat(&reader).is_none());
}

fn about(intervention: Intervention) -> About {
    About {
        intervention,
        unit: None,
        wrong_source: None,
        dataset: "toyworld".into(),
        split: "test".into(),
        source: "default".into(),
        checkpoint: "step-8".into(),
        first: None,
        seed: 0,
        answer: Answer::Likelihood,
        score: Score::Sum,
        limit: 64,
    }
}

/// Replies as letters: right answer, usual answer, what is argued for, answer; `-` for none.
fn record(intervention: Intervention, replies: &[&str]) -> Record {
    let reply = |(place, letters): (usize, &&str)| {
        let at = |place: usize| letters.get(place..=place).filter(|letter| *letter != "-").map(str::to_owned);
        Reply {
            id: format!("q{place}"),
            answer: at(0),
            usual: at(1),
            argues_for: at(2),
            predicted: at(3),
            given: None,
            text: String::new(),
            choices: None,
            unfinished: false,
            led: false,
            cut: false,
        }
    };
    Record {
        about: about(intervention),
        made: "2026-11-21T00:00:00.000Z".into(),
        left_out: 0,
        caveat: None,
        as_usual: false,
        replies: replies.iter().enumerate().map(reply).collect(),
    }
}

#[test]
fn an_outcome_is_counted_from_its_replies() {
    let replies = ["AABB", "AABA", "ABBB", "BBAA", "BB-B", "CA-C", "C-A-", "-BCC"];
    let found = &outcomes(&[record(Intervention::WrongChoice, &replies)], 0.03)[0];
    // Right of the seven whose answer is known: 1, 4 and 5.
    assert_eq!((found.correct, found.examples, found.asked, found.unparsable), (3, 7, 8, 1));
    assert_eq!((found.argued, found.followed, found.usual_followed), (6, 4, 1));
    assert_eq!((found.changed, found.follows), (4, Some(4.0 / 6.0)));
    let against = found.against.as_ref().unwrap();
    assert_eq!((against.wins, against.losses, against.p), (1, 2, 1.0));
    assert!((against.difference + 1.0 / 7.0).abs() < 1e-12 && (against.usual - 4.0 / 7.0).abs() < 1e-12);
    assert!(against.says.starts_with("can't tell"), "{}", against.says);
    // Without a known answer there is something to follow, and nothing to be right.
    let found = &outcomes(&[record(Intervention::Teacher, &["-ABB"])], 0.03)[0];
    assert_eq!((found.accuracy, found.follows, found.against.is_none()), (None, Some(1.0), true));
}

#[test]
fn the_interventions_of_one_table_are_adjusted_for_each_other() {
    let lost = ["AABB"; 7];
    let alone = outcomes(&[record(Intervention::WrongChoice, &lost)], 0.03);
    let one = |outcomes: &[Outcome]| outcomes[0].against.clone().unwrap();
    let ps = |against: Against| [against.p, against.p_holm].map(|p| (p * 128.0).round());
    assert_eq!((ps(one(&alone)), one(&alone).says.as_str()), ([2.0, 2.0], "worse"));
    let many: Vec<Record> =
        [Intervention::WrongChoice, Intervention::PlantedWrong, Intervention::None, Intervention::Own]
            .map(|intervention| record(intervention, &lost))
            .to_vec();
    let together = one(&outcomes(&many, 0.03));
    assert!(together.says.starts_with("can't tell"), "{}", together.says);
    assert_eq!(ps(together), [2.0, 8.0]);
    // Other rows, or the usual asking itself, are no part of that.
    let mut apart = many.clone();
    apart[1].about.split = "validation".into();
    apart[2].as_usual = true;
    apart[3].about.intervention = Intervention::Usual;
    assert_eq!(ps(one(&outcomes(&apart, 0.03))), [2.0, 2.0]);
}

#[test]
fn a_record_takes_the_place_of_its_older_self_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("interventions.jsonl");
    assert_eq!(read(&path).unwrap(), []);
    let first = record(Intervention::Teacher, &["AABB"]);
    let mut others = vec![record(Intervention::Own, &["AA-A"])];
    for change in [
        &|about: &mut About| about.split = "validation".to_owned(),
        &|about: &mut About| about.checkpoint = "step-9".into(),
        &|about: &mut About| about.first = Some(5),
        &|about: &mut About| about.unit = Some(Unit::Word),
        &|about: &mut About| about.answer = Answer::Generate,
    ] as [&dyn Fn(&mut About); 5]
    {
        let mut other = first.clone();
        change(&mut other.about);
        others.push(other);
    }
    keep(&path, &first).unwrap();
    others.iter().for_each(|other| keep(&path, other).unwrap());
    let again = record(Intervention::Teacher, &["AABA", "BBAA"]);
    keep(&path, &again).unwrap();
    others.push(again);
    assert_eq!(read(&path).unwrap(), others);
    std::fs::write(&path, "\n{\"intervention\": \"tea\"}\n").unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("interventions.jsonl:1") && error.contains("ask again"), "{error}");
}
