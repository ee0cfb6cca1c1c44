//! The list of what is under way: going to it, and ending it.

use crossterm::event::{KeyCode, KeyEvent};

use super::{attribution, below, focus, moved, runs};
use crate::journal::RunState;
use crate::runs::{Run, control};
use crate::workbench::command::Command;
use crate::workbench::jobs::{Job, Task};
use crate::workbench::message::Effect;
use crate::workbench::pane::Pane;
use crate::workbench::state::{Confirmed, Notice, Overlay, State};

/// A line of the list.
pub enum Listed<'a> {
    Job(&'a Job),
    Run(&'a Run),
}

/// What is under way: the work of the workbench itself, then the runs, oldest first.
pub fn listed(state: &State) -> Vec<Listed<'_>> {
    let jobs = state.jobs.jobs.iter().map(Listed::Job);
    jobs.chain(state.runs.active().map(Listed::Run)).collect()
}

pub fn open(state: &mut State) {
    state.jobs.cursor = 0;
    state.overlay = Some(Overlay::Jobs);
}

/// A key for the list.
pub fn key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    let lines = listed(state);
    let last = lines.len().saturating_sub(1);
    state.jobs.cursor = state.jobs.cursor.min(last);
    let movement = match key.code {
        KeyCode::Down | KeyCode::Char('j') => Some(Command::Down),
        KeyCode::Up | KeyCode::Char('k') => Some(Command::Up),
        KeyCode::Home | KeyCode::Char('g') => Some(Command::First),
        KeyCode::End | KeyCode::Char('G') => Some(Command::Last),
        _ => None,
    };
    state.overlay = Some(Overlay::Jobs);
    if let Some(command) = movement {
        state.jobs.cursor = moved(state.jobs.cursor, last, 1, command);
        return vec![];
    }
    if matches!(key.code, KeyCode::Esc | KeyCode::Char('q' | 'c' | '&')) {
        state.overlay = None;
        return vec![];
    }
    match listed(state).into_iter().nth(state.jobs.cursor) {
        None => vec![],
        Some(Listed::Job(job)) => {
            let (id, task, name) = (job.id, job.task, job.name.clone());
            of_job(state, key, id, task, &name)
        }
        Some(Listed::Run(run)) => {
            let (id, now) = (run.id.clone(), run.state);
            of_run(state, key, id, now)
        }
    }
}

fn of_job(state: &mut State, key: KeyEvent, id: u64, task: Task, name: &str) -> Vec<Effect> {
    match key.code {
        KeyCode::Enter => {
            state.overlay = None;
            focus(state, task.pane());
            attribution::ask(state)
        }
        KeyCode::Char('x' | 'd') if task.can_stop() => {
            if let Some(job) = state.jobs.jobs.iter_mut().find(|job| job.id == id) {
                job.is_cancelled = true;
            }
            vec![Effect::CancelJob(id)]
        }
        KeyCode::Char('x' | 'd') => {
            state.say(Notice::info(format!("{name}: this can't be broken off, and ends by itself")));
            vec![]
        }
        KeyCode::Char(' ') => {
            state.say(Notice::info("only runs can be paused; x cancels this"));
            vec![]
        }
        _ => vec![],
    }
}

fn of_run(state: &mut State, key: KeyEvent, id: String, now: RunState) -> Vec<Effect> {
    match key.code {
        KeyCode::Enter => {
            state.overlay = None;
            runs::show(state, &id);
            focus(state, Pane::Training);
            let mut effects = runs::ask_predictions(state);
            effects.extend(attribution::ask(state));
            effects
        }
        KeyCode::Char('x' | 'd') => {
            let question = format!("stop {id}? its checkpoint stays and `r` goes on with it");
            state.overlay = Some(Overlay::Confirm { question, then: Confirmed::Stop(id) });
            vec![]
        }
        KeyCode::Char(' ') => match now {
            RunState::Running => vec![Effect::Control { run: id, command: control::Command::Pause }],
            RunState::Paused => vec![Effect::Control { run: id, command: control::Command::Resume }],
            other => {
                state.say(Notice::info(format!("the run is {}", other.name())));
                vec![]
            }
        },
        _ => vec![],
    }
}

/// Work has ended. What was cancelled leaves nothing that looks as if it were still under way.
pub fn ended(state: &mut State, id: u64, is_cancelled: bool) -> Vec<Effect> {
    let Some(job) = state.jobs.end(id).filter(|_| is_cancelled) else { return vec![] };
    let data = &mut state.data;
    let mut effects = vec![];
    let mut rest = String::new();
    match job.task {
        Task::Search | Task::Sort => {
            if data.ordered.reading.take().is_some() {
                data.ordered.sort = None;
                rest = " · the rows are in the order of the file".into();
            }
            if let Some(matches) = data.matches.as_mut().filter(|matches| !matches.done) {
                matches.done = true;
                rest.push_str(" · what was found so far is shown");
            }
            data.wanted = None;
        }
        Task::Histogram | Task::Counterpart => effects = below::show_question(state),
        Task::Attribution => state.attribution.is_waiting = false,
        Task::Lens => {
            (state.lens.is_waiting, state.lens.error) = (false, Some("it was cancelled · L twice asks again".into()))
        }
        Task::LensTraining => rest = " · nothing of it is kept".into(),
        _ => {}
    }
    state.say(Notice::info(format!("cancelled: {}{rest}", job.name)));
    effects
}
