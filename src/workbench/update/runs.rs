//! The training pane: runs as they come, move and end.

use std::path::PathBuf;

use super::{attribution, board, charts, recipe};
use crate::corpus::Example;
use crate::journal::{Entry, Event, RunState};
use crate::rationale::recipe::Placement;
use crate::runs::control;
use crate::runs::spec::{CONDITION, ROLE};
use crate::runs::{Run, RunSpec};
use crate::workbench::command::Command;
use crate::workbench::display::Notify;
use crate::workbench::message::Effect;
use crate::workbench::message::External;
use crate::workbench::state::{Chosen, Confirmed, InputFor, Menu, MenuItem, NOW, Notice, Overlay, State};

pub fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    match command {
        Command::NewRun => offer_run(state),
        Command::NextCurve => {
            state.runs.curve = state.runs.curve.next();
            vec![]
        }
        Command::LogScale => {
            state.runs.log_scale = !state.runs.log_scale;
            vec![]
        }
        Command::ChooseStudent => choose_student(state),
        Command::EditSettings => {
            let text = state.draft.to_yaml();
            vec![Effect::OpenEditor { what: External::Settings, text }]
        }
        _ => match state.runs.selected().map(|run| (run.id.clone(), run.state)) {
            Some((id, now)) => with_run(state, command, id, now),
            None => {
                state.say(Notice::info("no run yet; `n` starts one, `T` starts the tour"));
                vec![]
            }
        },
    }
}

/// Commands on the selected run.
fn with_run(state: &mut State, command: Command, id: String, now: RunState) -> Vec<Effect> {
    match command {
        Command::PauseRun => match now {
            RunState::Running => vec![Effect::Control { run: id, command: control::Command::Pause }],
            RunState::Paused => vec![Effect::Control { run: id, command: control::Command::Resume }],
            other => {
                state.say(Notice::info(format!("the run is {}; `r` goes on with a stopped one", other.name())));
                vec![]
            }
        },
        Command::StopRun if now.is_active() => {
            let question = format!("stop {id}? its checkpoint stays and `r` goes on with it");
            state.overlay = Some(Overlay::Confirm { question, then: Confirmed::Stop(id) });
            vec![]
        }
        Command::ResumeRun => match now {
            RunState::Paused => vec![Effect::Control { run: id, command: control::Command::Resume }],
            RunState::Stopped | RunState::Interrupted | RunState::Failed => vec![Effect::ResumeRun(id)],
            other => {
                state.say(Notice::info(format!("the run is {} already", other.name())));
                vec![]
            }
        },
        Command::RemoveRun if !now.is_active() => {
            let question = format!("delete {id} with its checkpoints?");
            state.overlay = Some(Overlay::Confirm { question, then: Confirmed::Remove(id) });
            vec![]
        }
        Command::StopRun | Command::RemoveRun => {
            state.say(Notice::info(format!("the run is {}", now.name())));
            vec![]
        }
        Command::OverlayRun => {
            if !state.runs.overlaid.remove(&id) {
                state.runs.overlaid.insert(id);
            }
            vec![]
        }
        Command::UseRecipe => {
            let Some(spec) = state.runs.find(&id).map(|run| run.spec.clone()) else { return vec![] };
            let other = spec.dataset != state.draft.dataset;
            state.draft = RunSpec { record: None, tags: Default::default(), ..spec };
            state.say(Notice::info(format!("the settings of {id} are those of the next run")));
            if other {
                return vec![Effect::OpenDataset(state.draft.dataset.clone())];
            }
            recipe::refresh(state)
        }
        _ => vec![],
    }
}

/// Asks before the first file is written, and says what would be trained.
fn offer_run(state: &mut State) -> Vec<Effect> {
    let mut spec = state.draft.clone();
    spec.tags.clear();
    spec.record = None;
    let length = match spec.training.steps {
        Some(steps) => format!("{steps} steps"),
        None => format!("{} epochs", spec.training.epochs),
    };
    let seed = spec.seed;
    let known: Vec<bool> = state.data.loaded.values().flatten().map(Example::has_rationale).collect();
    let missing = match (spec.rationale.placement, known.iter().filter(|has| !**has).count()) {
        (Placement::None, _) | (_, 0) => String::new(),
        (_, missing) if missing == known.len() => {
            format!(
                " · no question here has a rationale from `{}`: it would learn from labels alone",
                spec.rationale.source
            )
        }
        (_, missing) => format!(" · {missing} of the {} questions read have no rationale", known.len()),
    };
    let new = if state.is_project { "" } else { " (this makes runs/ in this folder)" };
    let question = format!(
        "train {} on {}: {}, {length}, seeds {}/{}/{}, asked {} at the end{missing}?{new}",
        spec.student,
        spec.dataset,
        spec.rationale,
        seed.init,
        seed.order,
        seed.ablation,
        spec.evaluation.last_split()
    );
    state.overlay = Some(Overlay::Confirm { question, then: Confirmed::Start(Box::new(spec)) });
    vec![]
}

/// Asks before nine runs are started.
pub fn offer_tour(state: &mut State) {
    let begun = |run: &Run| run.spec.tags.contains_key(CONDITION) && run.state == RunState::Finished;
    let again = state.runs.runs.iter().filter(|run| begun(run)).count() >= 9;
    let what = if again { "again with another seed" } else { "on the toy world" };
    let new = if state.is_project { "" } else { "; this makes runs/ in this folder" };
    let question = format!("start the tour: the paper's three findings {what}, nine runs, a minute or two{new}?");
    state.overlay = Some(Overlay::Confirm { question, then: Confirmed::Tour });
}

fn choose_student(state: &mut State) -> Vec<Effect> {
    let mut names = vec!["toy".to_owned(), state.draft.student.clone()];
    names.extend(state.runs.runs.iter().map(|run| run.spec.student.clone()));
    let mut items: Vec<MenuItem> = Vec::new();
    for name in names {
        if items.iter().all(|item| item.label != name) {
            let note = if name == state.draft.student { NOW } else { "" };
            items.push(MenuItem { label: name.clone(), note: note.into(), then: Chosen::Student(name) });
        }
    }
    let note = "config.json, model.safetensors, tokenizer.json".into();
    items.push(MenuItem { label: "another folder or hub id …".into(), note, then: Chosen::OtherStudent });
    state.overlay = Some(Overlay::Menu(Menu::new("student", items)));
    vec![]
}

/// Another student, with the settings that suit it.
pub fn set_student(state: &mut State, student: &str) -> Vec<Effect> {
    let preset = RunSpec::preset(student.trim());
    state.draft.student = preset.student;
    state.draft.training = preset.training;
    state.draft.evaluation = preset.evaluation;
    state.draft.suit_dataset();
    let mut effects = recipe::ask_preview(state);
    effects.extend(attribution::ask(state));
    effects
}

/// Asks for a student by name.
pub fn ask_student(state: &mut State) {
    let title = "student: a folder, or a hub id such as openai-community/gpt2".into();
    state.overlay = Some(Overlay::Input { title, text: String::new(), then: InputFor::Student });
}

/// Puts the cursor on a run that somebody asked for.
pub fn show(state: &mut State, id: &str) {
    state.runs.follows_newest = false;
    select(state, id);
}

fn select(state: &mut State, id: &str) {
    if let Some(place) = state.runs.runs.iter().position(|run| run.id == id) {
        state.runs.cursor = place;
    }
}

/// A run that was not known.
pub fn found(state: &mut State, run: Run) -> Vec<Effect> {
    state.charts.take(&run);
    if let Some(known) = state.runs.runs.iter_mut().find(|known| known.id == run.id) {
        *known = run;
        return board::ask(state);
    }
    let selected = state.runs.selected().map(|run| run.id.clone());
    let id = run.id.clone();
    state.runs.runs.push(run);
    let created = |run: &Run| run.spec.record.as_ref().map(|record| record.created.clone());
    state.runs.runs.sort_by(|one, other| created(one).cmp(&created(other)).then(one.id.cmp(&other.id)));
    if state.runs.awaited.as_ref() == Some(&id) {
        state.runs.awaited = None;
        charts::show_beside_parent(state, &id);
        return ask_all(state);
    }
    match selected {
        Some(selected) if !state.runs.follows_newest => select(state, &selected),
        _ => state.runs.cursor = state.runs.runs.len() - 1,
    }
    ask_all(state)
}

/// Everything that depends on which runs there are.
fn ask_all(state: &mut State) -> Vec<Effect> {
    let mut effects = board::ask(state);
    effects.extend(ask_predictions(state));
    effects.extend(attribution::ask(state));
    effects
}

/// A run whose folder is gone.
pub fn gone(state: &mut State, id: &str) -> Vec<Effect> {
    state.runs.runs.retain(|run| run.id != id);
    state.runs.overlaid.remove(id);
    state.charts.forget(id);
    state.runs.cursor = state.runs.cursor.min(state.runs.runs.len().saturating_sub(1));
    board::ask(state)
}

/// New lines of a run's journal.
pub fn moved(state: &mut State, id: &str, entries: Vec<Entry>, now: RunState) -> Vec<Effect> {
    let newest = charts::newest(state);
    let Some(run) = state.runs.runs.iter_mut().find(|run| run.id == id) else { return vec![] };
    let was = run.state;
    run.state = now;
    let title = run.spec.title_with_seed();
    let is_reader = run.spec.tags.contains_key(ROLE);
    let (mut evaluated, mut saved) = (false, false);
    let mut failed = None;
    for entry in entries {
        match &entry.event {
            Event::Evaluation(_) => evaluated = true,
            Event::Checkpoint { .. } => (run.has_checkpoint, saved) = (true, true),
            Event::State { state: RunState::Failed, reason } => failed = reason.clone(),
            _ => {}
        }
        run.history.apply(entry);
        state.charts.follow(run);
    }
    let result = run.history.result().map(|result| result.accuracy);
    charts::keep_up(state, newest);
    if let Some(reason) = failed {
        state.say(Notice::error(format!("{title} failed: {reason}")).with_more(log_of(id)));
    } else if was != now && now == RunState::Interrupted {
        let text = format!("the worker of {title} is gone; `r` goes on from its checkpoint");
        state.say(Notice::error(text).with_more(log_of(id)));
    } else if was != now && now == RunState::Finished && !is_reader {
        let result = result.map_or_else(String::new, |accuracy| format!(": {:.1} % right", accuracy * 100.0));
        state.say(Notice::info(format!("{title} is finished{result}")));
    }
    if was == now && !evaluated {
        // What is looked into may be older weights now.
        return if saved { attribution::ask(state) } else { vec![] };
    }
    let mut effects = ask_predictions(state);
    if was != now && !now.is_active() && !is_reader && state.display.notify() != Notify::Off {
        effects.push(Effect::Notify(format!("{title} is {}", now.name())));
    }
    effects.extend(attribution::ask(state));
    // What a run under way does is read off its journal; only one that ended has answers to compare.
    if !now.is_active() {
        effects.extend(board::ask(state));
    }
    effects
}

/// What the worker of a run wrote, within the project.
fn log_of(id: &str) -> PathBuf {
    ["runs", id, "worker.log"].iter().collect()
}

/// Asks for the predictions of the selected run on the split that is shown.
pub fn ask_predictions(state: &mut State) -> Vec<Effect> {
    state.data.predictions.clear();
    state.data.written.clear();
    state.data.predicted_by = None;
    let Some(run) = state.runs.selected() else { return vec![] };
    vec![Effect::LoadPredictions {
        run: run.id.clone(),
        dataset: state.draft.dataset.clone(),
        split: state.data.split.clone(),
    }]
}
