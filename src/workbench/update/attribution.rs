//! The attribution pane: whose student is looked into, by which method, what is attributed, and what is made of it.

use super::{focus, lens, loupe, recipe, what_if};
use crate::attribution::{Asked, Method, Over, Target};
use crate::corpus::Example;
use crate::rationale::recipe::{Ablation, Baseline, Keep, KeepBy, Placement, Unit};
use crate::runs::Run;
use crate::runs::spec::ROLE;
use crate::workbench::attribution::{Attributed, Beside, Looked};
use crate::workbench::command::Command;
use crate::workbench::layout;
use crate::workbench::message::{AttributeRequest, Effect};
use crate::workbench::pane::Pane;
use crate::workbench::state::{Chosen, Menu, MenuItem, NOW, Notice, Overlay, State};

pub fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    match command {
        Command::ChooseRun => choose_run(state, "look into", Chosen::Run),
        Command::CompareRun if state.attribution.beside.run.is_some() => {
            state.attribution.beside = Beside::default();
            vec![]
        }
        Command::CompareRun => choose_run(state, "beside it", Chosen::Beside),
        Command::ChooseMethod => choose_method(state),
        Command::ChooseTarget => choose_target(state),
        Command::NextBaseline => {
            let Some(now) = state.attribution.asked.method.baseline() else {
                let name = state.attribution.asked.method.name();
                state.say(Notice::info(format!("{name} has no baseline; integrated gradients and occlusion have one")));
                return vec![];
            };
            let place = Baseline::ALL.iter().position(|baseline| *baseline == now).unwrap_or(0);
            let next = Baseline::ALL[(place + 1) % Baseline::ALL.len()];
            let asked = &state.attribution.asked;
            ask_by(state, Asked { method: asked.method.clone().with_baseline(next), ..asked.clone() })
        }
        Command::NextOver => {
            let asked = &state.attribution.asked;
            let over = match asked.over {
                Over::Rationale => Over::Prompt,
                Over::Prompt => Over::Rationale,
            };
            ask_by(state, Asked { over, ..asked.clone() })
        }
        Command::NextUnit => {
            let unit = match state.attribution.unit {
                Unit::Token => Unit::Word,
                Unit::Word => Unit::Sentence,
                Unit::Sentence => Unit::Token,
            };
            state.attribution.unit = unit;
            // What is taken away together is what is shown together.
            let method = match state.attribution.asked.method.clone() {
                Method::Occlusion { baseline, .. } => Method::Occlusion { unit, baseline },
                Method::LeaveOneOut { .. } => Method::LeaveOneOut { unit },
                other => other,
            };
            ask_by(state, Asked { method, ..state.attribution.asked.clone() })
        }
        Command::ReadOwn => read_own(state),
        Command::NextScale => {
            state.attribution.scale = state.attribution.scale.next();
            vec![]
        }
        Command::EarlierCheckpoint => step_checkpoint(state, false),
        Command::LaterCheckpoint => step_checkpoint(state, true),
        Command::More => {
            state.attribution.top += 1;
            vec![]
        }
        Command::Less => {
            state.attribution.top = state.attribution.top.saturating_sub(1).max(1);
            vec![]
        }
        Command::KeepTop => keep_top(state),
        _ => what_if::perform(state, command),
    }
}

fn choose_run(state: &mut State, title: &str, then: fn(Looked) -> Chosen) -> Vec<Effect> {
    let fitting = state.runs.runs.iter().rev().filter(|run| run.has_checkpoint);
    let items: Vec<MenuItem> = fitting
        .map(|run| MenuItem {
            label: run.id.clone(),
            note: format!("{}, {}", run.spec.dataset, run.spec.rationale),
            then: then(Looked { run: run.id.clone(), step: None }),
        })
        .collect();
    if items.is_empty() {
        state.say(Notice::info("no run has a checkpoint yet; `n` starts one"));
        return vec![];
    }
    state.overlay = Some(Overlay::Menu(Menu::new(title, items)));
    vec![]
}

fn choose_method(state: &mut State) -> Vec<Effect> {
    let now = &state.attribution.asked.method;
    let baseline = now.baseline().unwrap_or_default();
    let unit = state.attribution.unit;
    let methods = [
        (Method::default().with_baseline(baseline), "scores that sum to the change from a baseline"),
        (Method::GradientTimesInput, "one pass back: quick, and rough"),
        (Method::GradientNorm, "how steep, without a sign"),
        (Method::Occlusion { unit, baseline }, "what is lost when a unit is replaced"),
        (Method::LeaveOneOut { unit }, "what is lost when a unit is taken out"),
        (Method::Attention { layer: None, head: None }, "where layers look: no explanation"),
    ];
    let item = |(method, does): (Method, &str)| MenuItem {
        label: method.name().into(),
        note: if method.id() == now.id() { NOW.into() } else { does.into() },
        then: Chosen::Asked(Asked { method, ..state.attribution.asked.clone() }),
    };
    let mut items: Vec<MenuItem> = methods.into_iter().map(item).collect();
    // Once attention is looked at: its layers, and the heads of the layer that is shown.
    if let (Method::Attention { layer, .. }, Some(result)) = (now, &state.attribution.result) {
        let of_layer =
            |layer| (Method::Attention { layer: Some(layer), head: None }, format!("layer {layer}, all heads"));
        let of_head = |layer: usize, head: usize| {
            (Method::Attention { layer: Some(layer), head: Some(head) }, format!("layer {layer}, head {head}"))
        };
        let heads = layer.iter().flat_map(|layer| (0..result.heads).map(move |head| of_head(*layer, head)));
        for (method, place) in (0..result.layers).map(of_layer).chain(heads) {
            items.push(MenuItem {
                label: format!("attention: {place}"),
                note: if method == *now { NOW.into() } else { String::new() },
                then: Chosen::Asked(Asked { method, ..state.attribution.asked.clone() }),
            });
        }
    }
    state.overlay = Some(Overlay::Menu(Menu::new("method", items)));
    vec![]
}

fn choose_target(state: &mut State) -> Vec<Effect> {
    let Some(selected) = &state.data.selected else { return vec![] };
    let view = &state.attribution;
    let mut targets = vec![
        (Target::Label, "log p of the right label".to_owned()),
        (Target::Contrast, "the right label against the strongest other choice".to_owned()),
    ];
    let answer = view.result.as_ref().and_then(Attributed::answer).map(|answer| answer.0.clone());
    for choice in &selected.example.choices {
        let is_answer = answer.as_ref() == Some(&choice.label);
        let note = if is_answer { format!("{} · what it answers", choice.text) } else { choice.text.clone() };
        targets.push((Target::Choice(choice.label.clone()), note));
    }
    targets.push((Target::Rationale, "log p of the whole rationale, of what stands before it".into()));
    if let Some(token) = token_under_cursor(state) {
        targets.push(token);
    }
    let item = |(target, note): (Target, String)| MenuItem {
        label: target.name(),
        note: if target == view.asked.target { NOW.into() } else { note },
        then: Chosen::Asked(Asked { target, ..view.asked.clone() }),
    };
    let items = targets.into_iter().map(item).collect();
    state.overlay = Some(Overlay::Menu(Menu::new("attribute", items)));
    vec![]
}

/// The token under the cursor as a target: its place in the sequence that the student is trained on, which is the one that is
/// shown when a token or the rationale is the target already.
fn token_under_cursor(state: &State) -> Option<(Target, String)> {
    let view = &state.attribution;
    let shown = view.result.as_ref()?;
    let token = shown.found.tokens.get(view.cursor)?;
    let reads_first = matches!(shown.asked.target, Target::Label | Target::Choice(_) | Target::Contrast);
    let same_sequence = !reads_first || shown.reads;
    let text = crate::text::line(token.text.trim()).into_owned();
    (same_sequence && view.cursor > 0)
        .then(|| (Target::Token(view.cursor), format!("log p of `{text}`, of what stands before it")))
}

/// Asks anew, with other settings.
pub fn ask_by(state: &mut State, asked: Asked) -> Vec<Effect> {
    state.attribution.asked = asked;
    ask(state)
}

/// Looks into a run.
pub fn look_into(state: &mut State, looked: Looked) -> Vec<Effect> {
    state.attribution.run = Some(looked);
    ask(state)
}

/// Puts another run beside it.
pub fn compare(state: &mut State, looked: Looked) -> Vec<Effect> {
    state.attribution.beside = Beside { run: Some(looked), ..Beside::default() };
    ask(state)
}

fn step_checkpoint(state: &mut State, later: bool) -> Vec<Effect> {
    let Some(looked) = run_to_show(state) else { return vec![] };
    let steps = match &state.loupe.loss.result {
        Some(lossy) if state.loupe.shows_loss && lossy.question.run == looked.run => lossy.kept.clone(),
        _ if state.attribution.kept.0 == looked.run => state.attribution.kept.1.clone(),
        _ => vec![],
    };
    let now = looked.step.or(steps.last().copied()).unwrap_or(0);
    let next = if later {
        steps.iter().copied().find(|step| *step > now)
    } else {
        steps.iter().copied().rev().find(|step| *step < now)
    };
    let Some(step) = next else {
        let which = if later { "newest" } else { "oldest" };
        state.say(Notice::info(format!("step {now} is the {which} checkpoint of {}", looked.run)));
        return vec![];
    };
    look_into(state, Looked { run: looked.run, step: Some(step) })
}

/// The run to look into: the chosen one, else the best guess for the present data set and student. A reader shows most;
/// a student that learnt with the rationale before the label shows more than one that never read any.
pub fn run_to_show(state: &State) -> Option<Looked> {
    if let Some(chosen) = &state.attribution.run {
        return state.runs.find(&chosen.run).map(|_| chosen.clone());
    }
    // What was begun on one run is not carried over to another that happens to be finished meanwhile.
    if let Some(result) = state.attribution.result.as_ref().filter(|_| !state.attribution.changes.now.is_empty()) {
        return Some(result.run.clone());
    }
    let rank = |run: &Run| {
        let reads = run.spec.rationale.placement == Placement::Pre;
        (run.spec.tags.contains_key(ROLE), reads)
    };
    let fits = |run: &&Run| {
        run.has_checkpoint && run.spec.dataset == state.draft.dataset && run.spec.student == state.draft.student
    };
    // Of equals the newest.
    let best = state.runs.runs.iter().filter(fits).max_by_key(|run| rank(run));
    best.map(|run| Looked { run: run.id.clone(), step: None })
}

/// Whether what was found at a step is still what the run's student would say: where its newest checkpoint is meant, a newer one
/// may have come.
pub fn is_of_now(state: &State, looked: &Looked, step: Option<usize>) -> bool {
    looked.step.is_some() || step >= state.runs.find(&looked.run).and_then(|run| run.history.newest_checkpoint())
}

/// The selected question as it is put before the student: with the teacher's rationale, or with that which the student itself
/// wrote, where that is wanted and there.
pub fn example_to_read(state: &State, run: &Looked) -> Option<Example> {
    let mut example = state.data.selected.as_ref()?.example.clone();
    if state.attribution.reads_own
        && state.data.predicted_by.as_ref() == Some(&run.run)
        && let Some(own) = state.data.written.get(&example.id)
    {
        example.rationale = Some(own.clone());
        example.highlights.clear();
    }
    Some(example)
}

fn read_own(state: &mut State) -> Vec<Effect> {
    let own = run_to_show(state).filter(|run| state.data.predicted_by.as_ref() == Some(&run.run));
    let id = state.data.selected.as_ref().map(|selected| selected.example.id.clone()).unwrap_or_default();
    if !state.attribution.reads_own && (own.is_none() || !state.data.written.contains_key(&id)) {
        state.say(Notice::info(
            "this run wrote no rationale before its answer here: a `pre` run does, on the split it was asked last; select it \
             in the training pane",
        ));
        return vec![];
    }
    state.attribution.reads_own = !state.attribution.reads_own;
    ask(state)
}

/// Asks for the attribution of the selected question, if it is looked at and not there yet, and for that of the run beside it.
pub fn ask(state: &mut State) -> Vec<Effect> {
    if state.lens.is_on() {
        return lens::ask(state).into_iter().collect();
    }
    if state.loupe.shows_loss {
        return loupe::ask(state).into_iter().collect();
    }
    if !layout::is_visible(state, Pane::Attribution) {
        return vec![];
    }
    let Some(run) = run_to_show(state) else { return vec![] };
    let Some(example) = example_to_read(state, &run) else { return vec![] };
    what_if::forget_another(state, &example);
    let mut effects = Vec::new();
    let view = &state.attribution;
    let is_known = |result: &Option<Attributed>, run: &Looked| {
        result.as_ref().is_some_and(|result| {
            result.run == *run
                && is_of_now(state, run, Some(result.step))
                && result.found.id == example.id
                && result.asked == view.asked
                && result.question == example.question
                && result.rationale == example.rationale
        })
    };
    let beside = view.beside.run.clone().filter(|other| !is_known(&view.beside.result, other));
    let own = Some(run).filter(|run| !is_known(&view.result, run));
    for (looked, is_beside) in own.into_iter().map(|run| (run, false)).chain(beside.map(|run| (run, true))) {
        let generation = state.next_generation();
        if is_beside {
            state.attribution.beside.generation = generation;
        } else {
            (state.attribution.generation, state.attribution.is_waiting) = (generation, true);
        }
        effects.push(Effect::Attribute(Box::new(AttributeRequest {
            generation,
            looked,
            is_beside,
            dataset: state.draft.dataset.clone(),
            example: example.clone(),
            source: state.draft.rationale.source.clone(),
            asked: state.attribution.asked.clone(),
        })));
    }
    effects
}

pub fn attributed(state: &mut State, generation: u64, result: Result<Attributed, String>) -> Vec<Effect> {
    let view = &mut state.attribution;
    if generation == view.beside.generation {
        match result {
            Ok(found) => (view.beside.result, view.beside.error) = (Some(found), None),
            Err(error) => (view.beside.result, view.beside.error) = (None, Some(error)),
        }
        return vec![];
    }
    if generation != view.generation {
        return vec![];
    }
    view.is_waiting = false;
    match result {
        Ok(found) => {
            view.kept = (found.run.run.clone(), found.kept.clone());
            (view.result, view.error) = (Some(found), None);
        }
        Err(error) => (view.result, view.error) = (None, Some(error)),
    }
    what_if::place_cursor(state);
    // Another student answers the changes otherwise.
    what_if::ask(state).into_iter().collect()
}

/// Makes "the top tokens by this run's attributions" the recipe, and shows it.
fn keep_top(state: &mut State) -> Vec<Effect> {
    let Some(looked) = run_to_show(state) else {
        state.say(Notice::info("no run to score tokens with yet; `n` starts one"));
        return vec![];
    };
    let asked = &state.attribution.asked;
    let is_usual = matches!(asked.method, Method::IntegratedGradients { .. }) && asked.target == Target::Label;
    if asked.over == Over::Prompt || !is_usual {
        state.say(Notice::info(
            "a recipe scores the rationale by integrated gradients of the label, the question held: `m`, `t` and `v` show those \
             scores, then `K` keeps",
        ));
        return vec![];
    }
    if looked.step.is_some() {
        state.say(Notice::info("a recipe scores with a run's newest checkpoint: `]` goes to that, then `K` keeps"));
        return vec![];
    }
    // A reader stands for "the reader of whatever is trained", which is how recipes name it.
    let is_reader = state.runs.find(&looked.run).is_some_and(|run| run.spec.tags.contains_key(ROLE));
    let scorer = (!is_reader).then_some(looked.run);
    let baseline = asked.method.baseline().filter(|baseline| *baseline != Baseline::Mean);
    let keep = Keep { scorer, baseline, ..Keep::of(KeepBy::Attribution, Some(state.attribution.top)) };
    let text = format!("the recipe keeps the top {} tokens now; `n` trains on it", state.attribution.top);
    put_last(state, Ablation::Keep(keep), text)
}

/// Makes an ablation the recipe's last, in the place of another that keeps tokens, and shows it.
pub fn put_last(state: &mut State, ablation: Ablation, text: String) -> Vec<Effect> {
    let mut changed = state.draft.rationale.clone();
    match ablation {
        Ablation::Keep(_) => changed.ablations.retain(|ablation| !matches!(ablation, Ablation::Keep(_))),
        _ => changed.ablations.retain(|ablation| !matches!(ablation, Ablation::Shuffle(_))),
    }
    changed.ablations.push(ablation);
    if changed.placement == Placement::None {
        changed.placement = Placement::Post;
    }
    state.recipe.cursor = changed.ablations.len() - 1;
    state.say(Notice::info(text));
    focus(state, Pane::Rationale);
    recipe::set_recipe(state, changed)
}
