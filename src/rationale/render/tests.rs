use super::*;
use crate::corpus::Choice;
use crate::corpus::toyworld::World;
use crate::rationale::recipe::*;

fn world() -> (Renderer, Vec<Example>) {
    let world = World { seed: 1, noise: 0.0 };
    let examples = world.generate().train.to_vec();
    let template = world.meta("toyworld").template;
    let texts = examples.iter().flat_map(|example| {
        [
            template.prompt_text(example).0,
            example.rationale.clone().unwrap_or_default(),
            "answer : because predict explain factual counterfactual".into(),
        ]
    });
    let tokenizer = Tokenizer::words(texts.collect::<Vec<_>>().into_iter(), 5000).unwrap();
    let renderer = Renderer {
        begins: tokenizer.clone(),
        tokenizer,
        chat: None,
        template,
        subject: Some("subject".into()),
        recipe: Recipe::default(),
        task: None,
        loss: LossWeights { label: 1.0, rationale: 0.3, prompt: 0.0 },
        max_length: 128,
        seed: 0,
        vectors: None,
    };
    (renderer, examples)
}

fn roles(rendered: &Rendered) -> Vec<(Role, f32)> {
    let mut roles: Vec<_> = rendered.tokens.iter().map(|token| (token.role, token.loss)).collect();
    roles.dedup();
    roles
}

#[test]
fn each_placement_has_its_order_and_its_loss() {
    let (mut renderer, examples) = world();
    let example = &examples[0];
    let mut render = |placement| {
        renderer.recipe.placement = placement;
        renderer.render(example, Borrowed::default()).unwrap()
    };
    use Role::{End, Label, Prompt, Rationale, Separator};
    assert_eq!(roles(&render(Placement::None)), [(Prompt, 0.0), (Separator, 0.0), (Label, 1.0), (End, 1.0)]);
    let post = render(Placement::Post);
    assert_eq!(
        roles(&post),
        [(Prompt, 0.0), (Separator, 0.0), (Label, 1.0), (Separator, 0.3), (Rationale, 0.3), (End, 0.3)]
    );
    let pre = render(Placement::Pre);
    assert_eq!(
        roles(&pre),
        [(Prompt, 0.0), (Separator, 0.0), (Rationale, 0.3), (Separator, 0.3), (Label, 1.0), (End, 1.0)]
    );
    let answer = &example.gold().unwrap().text;
    assert!(post.text().contains(&format!("answer : {answer} because :")), "{}", post.text());
    assert!(pre.text().ends_with(&format!("answer : {answer}<eos>")), "{}", pre.text());
    assert_eq!(pre.tokens.len(), post.tokens.len());
}

#[test]
fn what_the_student_is_asked_is_the_front_of_what_it_learns() {
    let (mut renderer, examples) = world();
    for placement in Placement::ALL {
        renderer.recipe.placement = placement;
        let whole = renderer.render(&examples[3], Borrowed::default()).unwrap().ids();
        let asked = renderer.prompt(&examples[3]).unwrap();
        assert_eq!(whole[..asked.len()], asked);
    }
    renderer.recipe.placement = Placement::Pre;
    let reader = renderer.prompt_with_rationale(&examples[3], Borrowed::default()).unwrap().ids();
    assert_eq!(renderer.render(&examples[3], Borrowed::default()).unwrap().ids()[..reader.len()], reader);
}

#[test]
fn a_long_rationale_is_cut_and_counted_but_a_label_never() {
    let (mut renderer, examples) = world();
    for placement in [Placement::Pre, Placement::Post] {
        renderer.recipe.placement = placement;
        renderer.max_length = 128;
        let whole = renderer.render(&examples[0], Borrowed::default()).unwrap();
        renderer.max_length = whole.tokens.len() - 10;
        let cut = renderer.render(&examples[0], Borrowed::default()).unwrap();
        assert_eq!((cut.truncated, cut.tokens.len()), (10, whole.tokens.len() - 10));
        assert_eq!(cut.places(Role::Label).len(), 1);
        renderer.max_length = 20;
        let error = renderer.render(&examples[0], Borrowed::default()).unwrap_err().to_string();
        assert!(error.contains(&examples[0].id) && error.contains("cut off"), "{error}");
    }
}

#[test]
fn what_is_hidden_is_not_seen() {
    let (mut renderer, examples) = world();
    let subject = examples[0].extra_text("subject").unwrap().to_owned();
    let plain = renderer.render(&examples[0], Borrowed::default()).unwrap();
    assert!(plain.text().contains(&subject));
    renderer.recipe.hide = Hide::Subject;
    let hidden = renderer.render(&examples[0], Borrowed::default()).unwrap();
    assert!(!hidden.text().contains(&subject) && hidden.text().contains(" <mask> "), "{}", hidden.text());
    assert_eq!(hidden.tokens.len(), plain.tokens.len());
    renderer.recipe.hide = Hide::Question;
    let hidden = renderer.render(&examples[0], Borrowed::default()).unwrap();
    let masks = hidden.tokens.iter().filter(|token| token.text.contains("<mask>")).count();
    assert_eq!(masks, examples[0].question.split(' ').count());
    let mut odd = examples[0].clone();
    odd.extra.clear();
    renderer.recipe.hide = Hide::Subject;
    let error = renderer.render(&odd, Borrowed::default()).unwrap_err().to_string();
    assert!(error.contains("hide: question"), "{error}");
}

#[test]
fn an_example_without_rationale_is_told_apart() {
    let (renderer, examples) = world();
    let mut bare = examples[0].clone();
    bare.rationale = Some("  ".into());
    let rendered = renderer.render(&bare, Borrowed::default()).unwrap();
    assert!(rendered.without_rationale && rendered.places(Role::Rationale).is_empty());
    bare.answer = Some("Z".into());
    let error = renderer.render(&bare, Borrowed::default()).unwrap_err().to_string();
    assert!(error.contains(&bare.id), "{error}");
}

#[test]
fn masks_are_in_the_loss_only_when_asked() {
    let (mut renderer, examples) = world();
    let mut weights = |in_loss| {
        renderer.recipe.ablations = vec![Ablation::Fill(Fill { in_loss, ..Fill::default() })];
        let rendered = renderer.render(&examples[0], Borrowed::default()).unwrap();
        rendered.tokens[rendered.places(Role::Rationale)].iter().map(|token| token.loss).sum::<f32>()
    };
    assert_eq!(weights(false), 0.0);
    assert!(weights(true) > 5.0);
}

#[test]
fn a_multitask_example_is_asked_for_its_label_and_beside_it_for_its_rationale() {
    use Role::{End, Label, Prompt, Rationale, Separator};
    let (mut renderer, examples) = world();
    let example = &examples[0];
    renderer.recipe.placement = Placement::Multitask;
    renderer.task = renderer.recipe.task();
    let first = renderer.render(example, Borrowed::default()).unwrap();
    assert_eq!(roles(&first), [(Prompt, 0.0), (Separator, 0.0), (Label, 1.0), (End, 1.0)]);
    assert!(first.text().contains("predict: ") && !first.text().contains("because"), "{}", first.text());
    let second = first.second.as_deref().unwrap();
    assert_eq!(roles(second), [(Prompt, 0.0), (Separator, 0.0), (Rationale, 0.3), (End, 0.3)]);
    assert!(second.text().contains("explain: ") && second.text().contains("because :"), "{}", second.text());
    assert!(!second.text().contains("answer :"));
    // What it is asked with later is the front of the first task.
    let asked = renderer.prompt(example).unwrap();
    assert_eq!(first.ids()[..asked.len()], asked);
    // One without a rationale has the one task.
    let bare = Example { rationale: None, ..example.clone() };
    let bare = renderer.render(&bare, Borrowed::default()).unwrap();
    assert!(bare.without_rationale && bare.second.is_none());
}

#[test]
fn a_counterfactual_ends_on_the_choice_that_its_rationale_argues_for() {
    let (mut renderer, examples) = world();
    let example = &examples[0];
    let wrong = example.choices.iter().find(|choice| Some(&choice.label) != example.answer.as_ref()).unwrap();
    let lender = Example {
        answer: Some(wrong.label.clone()),
        rationale: Some("it has to do with gills".into()),
        ..example.clone()
    };
    renderer.recipe.placement = Placement::Pre;
    renderer.recipe.counterfactual = Some(Counterfactual { weight: 0.5, source: None });
    renderer.task = renderer.recipe.task();
    let borrowed = Borrowed { wrong: Some(&lender), ..Borrowed::default() };
    let first = renderer.render(example, borrowed).unwrap();
    let right = &example.gold().unwrap().text;
    assert!(first.text().contains("factual: ") && first.text().ends_with(&format!("answer : {right}<eos>")));
    let second = first.second.as_deref().unwrap();
    let ends = format!("because : it has to do with gills answer : {}<eos>", wrong.text);
    assert!(second.text().contains("counterfactual: ") && second.text().ends_with(&ends), "{}", second.text());
    // The rationale is given; the wrong label alone is learnt.
    let counted: Vec<_> = second.tokens.iter().filter(|token| token.loss > 0.0).collect();
    assert!(counted.iter().all(|token| token.loss == 0.5) && counted.len() == 2, "{counted:?}");
    // One that argues for the right answer teaches nothing of the kind.
    let ally = Example { answer: example.answer.clone(), ..lender.clone() };
    assert!(renderer.render(example, Borrowed { wrong: Some(&ally), ..Borrowed::default() }).unwrap().second.is_none());
}

#[test]
fn a_text_from_elsewhere_stands_in_and_an_empty_one_is_none() {
    let (renderer, examples) = world();
    let example = &examples[0];
    let with = |text| renderer.render(example, Borrowed { text: Some(text), ..Borrowed::default() }).unwrap();
    assert!(with("it has to do with gills").text().contains("because : it has to do with gills"));
    assert!(with("").without_rationale);
}

#[test]
fn tokens_count_by_their_attribution() {
    let (mut renderer, examples) = world();
    let text = "it has to do with gills";
    let scores = [0.0, 0.0, 0.0, 1.0, -1.0, 5.0];
    renderer.recipe.attribution_weights = Some(AttributionWeights { floor: 0.4, ..AttributionWeights::default() });
    let borrowed = Borrowed { text: Some(text), scores: Some(&scores), ..Borrowed::default() };
    let rendered = renderer.render(&examples[0], borrowed).unwrap();
    let weights: Vec<f32> =
        rendered.tokens[rendered.places(Role::Rationale)].iter().map(|token| token.loss / 0.3).collect();
    for (weight, want) in weights.iter().zip([0.4, 0.4, 0.4, 1.0, 0.4, 3.4]) {
        assert!((weight - want).abs() < 1e-5, "{weights:?}");
    }
}

#[test]
fn labels_of_two_questions_have_nothing_to_do_with_each_other() {
    let (mut renderer, examples) = world();
    let choice = |(label, text): (&str, &str)| Choice { label: label.into(), text: text.into() };
    // Labels that are texts elsewhere.
    let choices: Vec<Choice> = [("1", "4"), ("2", "3"), ("3", "2"), ("4", "1")].map(choice).into();
    let example = Example { choices, answer: Some("1".into()), ..examples[0].clone() };
    let lender = Example { answer: Some("3".into()), rationale: Some("because of two".into()), ..example.clone() };
    renderer.recipe.placement = Placement::Pre;
    renderer.recipe.counterfactual = Some(Counterfactual::default());
    let rendered = renderer.render(&example, Borrowed { wrong: Some(&lender), ..Borrowed::default() }).unwrap();
    let second = rendered.second.unwrap();
    let label: Vec<u32> = second.tokens[second.places(Role::Label)].iter().map(|token| token.id).collect();
    assert_eq!(label, renderer.label_ids(&example.choices[2]).unwrap(), "the choice whose text is `2`");
}

#[test]
fn attribution_weights_are_shared_by_the_tokens_in_the_loss() {
    let (mut renderer, examples) = world();
    let scores: Vec<f32> = (0..60).map(|place| (place % 7) as f32).collect();
    renderer.recipe.attribution_weights = Some(AttributionWeights::default());
    for fraction in [0.0, 0.4, 0.8] {
        renderer.recipe.ablations = vec![Ablation::Mask(Mask { fraction, ..Mask::default() })];
        let borrowed = Borrowed { scores: Some(&scores), ..Borrowed::default() };
        let rendered = renderer.render(&examples[0], borrowed).unwrap();
        let own = &rendered.tokens[rendered.places(Role::Rationale)];
        let kept = own.iter().filter(|token| token.origin.is_some()).count();
        let mean = own.iter().map(|token| token.loss).sum::<f32>() / kept as f32;
        assert!((mean - 0.3).abs() < 1e-4, "{fraction}: {mean}");
    }
}
