//! The attribution pane: whose student is looked into, and what is made of it.

use super::{focus, lens, recipe};
use crate::attribution::Over;
use crate::rationale::recipe::{Ablation, Baseline, Keep, KeepBy, Placement};
use crate::runs::Run;
use crate::runs::spec::ROLE;
use crate::workbench::command::Command;
use crate::workbench::layout;
use crate::workbench::message::{AttributeRequest, Effect};
use crate::workbench::pane::Pane;
use crate::workbench::state::Attributed;
use crate::workbench::state::{Chosen, Menu, MenuItem, Notice, Overlay, State};

pub fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    match command {
        Command::ChooseRun => {
            let fitting = state.runs.runs.iter().rev().filter(|run| run.has_checkpoint);
            let items: Vec<MenuItem> = fitting
                .map(|run| MenuItem {
                    label: run.id.clone(),
                    note: format!("{}, {}", run.spec.dataset, run.spec.rationale),
                    then: Chosen::Run(run.id.clone()),
                })
                .collect();
            if items.is_empty() {
                state.say(Notice::info("no run has a checkpoint yet; `n` in the training pane starts one"));
                return vec![];
            }
            state.overlay = Some(Overlay::Menu(Menu::new("look into", items)));
            vec![]
        }
        Command::NextBaseline => {
            state.attribution.baseline = match state.attribution.baseline {
                Baseline::Mean => Baseline::Zero,
                Baseline::Zero => Baseline::Pad,
                Baseline::Pad => Baseline::Mean,
            };
            ask(state).into_iter().collect()
        }
        Command::NextOver => {
            state.attribution.over = match state.attribution.over {
                Over::Rationale => Over::Prompt,
                Over::Prompt => Over::Rationale,
            };
            ask(state).into_iter().collect()
        }
        Command::More => {
            state.attribution.top += 1;
            vec![]
        }
        Command::Less => {
            state.attribution.top = state.attribution.top.saturating_sub(1).max(1);
            vec![]
        }
        Command::KeepTop => keep_top(state),
        _ => vec![],
    }
}

/// The run to look into: the chosen one, else the best guess for the present data set and student. A reader shows most;
/// a student that learnt with the rationale before the label shows more than one that never read any.
pub fn run_to_show(state: &State) -> Option<&Run> {
    if let Some(chosen) = &state.attribution.run {
        return state.runs.find(chosen);
    }
    let rank = |run: &Run| {
        let reads = run.spec.rationale.placement == Placement::Pre;
        (run.spec.tags.contains_key(ROLE), reads)
    };
    let fits = |run: &&Run| {
        run.has_checkpoint && run.spec.dataset == state.draft.dataset && run.spec.student == state.draft.student
    };
    // Of equals the newest.
    state.runs.runs.iter().filter(fits).max_by_key(|run| rank(run))
}

/// Asks for the attribution of the selected question, if it is looked at and not there yet.
pub fn ask(state: &mut State) -> Option<Effect> {
    if state.lens.is_on() {
        return lens::ask(state);
    }
    if !layout::is_visible(state, Pane::Attribution) {
        return None;
    }
    let run = run_to_show(state)?.id.clone();
    let example = state.data.selected.as_ref()?.example.clone();
    let view = &state.attribution;
    let known = view.result.as_ref().is_some_and(|result| {
        result.run == run
            && result.found.id == example.id
            && result.found.baseline == view.baseline
            && result.over == view.over
            && result.rationale == example.rationale
    });
    if known {
        return None;
    }
    let generation = state.next_generation();
    state.attribution.generation = generation;
    state.attribution.is_waiting = true;
    Some(Effect::Attribute(Box::new(AttributeRequest {
        generation,
        run,
        dataset: state.draft.dataset.clone(),
        example,
        source: state.draft.rationale.source.clone(),
        baseline: state.attribution.baseline,
        over: state.attribution.over,
    })))
}

pub fn attributed(state: &mut State, generation: u64, result: Result<Attributed, String>) {
    if generation != state.attribution.generation {
        return;
    }
    let view = &mut state.attribution;
    view.is_waiting = false;
    match result {
        Ok(found) => (view.result, view.error) = (Some(found), None),
        Err(error) => (view.result, view.error) = (None, Some(error)),
    }
}

/// Makes "the top tokens by this run's attributions" the recipe, and shows it.
fn keep_top(state: &mut State) -> Vec<Effect> {
    let Some(run) = run_to_show(state) else {
        state.say(Notice::info("no run to score tokens with yet; `n` in the training pane starts one"));
        return vec![];
    };
    if state.attribution.over == Over::Prompt {
        state.say(Notice::info(
            "a recipe scores the rationale with the question held: v shows those scores, then K keeps",
        ));
        return vec![];
    }
    // A reader stands for "the reader of whatever is trained", which is how recipes name it.
    let scorer = if run.spec.tags.contains_key(ROLE) { None } else { Some(run.id.clone()) };
    let baseline = (state.attribution.baseline != Baseline::Mean).then_some(state.attribution.baseline);
    let keep = Keep { scorer, baseline, ..Keep::of(KeepBy::Attribution, Some(state.attribution.top)) };
    let mut changed = state.draft.rationale.clone();
    changed.ablations.retain(|ablation| !matches!(ablation, Ablation::Keep(_)));
    changed.ablations.push(Ablation::Keep(keep));
    if changed.placement == Placement::None {
        changed.placement = Placement::Post;
    }
    state.recipe.cursor = changed.ablations.len() - 1;
    state.say(Notice::info(format!("the recipe keeps the top {} tokens now; `n` trains on it", state.attribution.top)));
    focus(state, Pane::Rationale);
    recipe::set_recipe(state, changed)
}
