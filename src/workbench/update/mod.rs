//! The one place where the state changes: a pure function from a state and a message to effects.

mod attribution;
mod below;
mod board;
mod browse;
mod charts;
mod copy;
mod data;
mod demo;
mod display;
mod dump;
mod duplicates;
mod editor;
mod jobs;
mod keys;
mod lens;
mod loupe;
mod marks;
mod messages;
mod mouse;
mod overlay;
mod recipe;
mod replace;
mod runs;
mod session;
mod what_if;

pub use demo::awaited;
pub use jobs::{Listed, listed};
pub use loupe::takes;
pub use what_if::{Kept, under_cursor};

use super::command::Command;
use super::hints;
use super::keymap::Place;
use super::layout::Split;
use super::message::{Effect, External, Message};
use super::pane::Pane;
use super::state::{Confirmed, Menu, MenuItem, NOW, Notice, Overlay, State};
use super::theme::{AUTO, Theme};

/// What to ask for before anything has happened.
pub fn start(state: &mut State) -> Vec<Effect> {
    let mut effects = vec![Effect::LoadKeymaps];
    if state.is_fresh {
        state.is_begun = true;
        effects.extend(session::restore(state, None));
    } else {
        effects.push(Effect::LoadSession);
    }
    effects
}

/// Takes in a message.
pub fn update(state: &mut State, message: Message) -> Vec<Effect> {
    let effects = take(state, message);
    hints::count(state);
    effects
}

fn take(state: &mut State, message: Message) -> Vec<Effect> {
    match message {
        Message::Key(key) => {
            state.notice = None;
            demo::key(state, key).unwrap_or_else(|| keys::key(state, key))
        }
        Message::Paste(text) => overlay::paste(state, &text),
        Message::Resize(columns, rows) => {
            (state.columns, state.rows) = (columns, rows);
            data::keep_cursor_visible(state);
            let mut effects = editor::resized(state);
            effects.extend(data::ask_rows(state));
            effects.extend(attribution::ask(state));
            effects
        }
        Message::Mouse(event) => mouse::take(state, event),
        Message::Background { is_light } => {
            state.is_light = Some(is_light);
            if state.theme_name == AUTO { vec![load_theme(state, AUTO)] } else { vec![] }
        }
        Message::Traffic(bytes) => {
            state.traffic = bytes;
            vec![]
        }
        Message::Keymaps(files) => {
            for (name, text) in files {
                for problem in state.keymap.change(&text, &name) {
                    state.say(Notice::error(problem));
                }
            }
            vec![]
        }
        Message::Session(kept) => {
            state.is_begun = true;
            session::restore(state, kept.map(|kept| *kept))
        }
        Message::Datasets(names) => {
            state.data.datasets = names;
            vec![]
        }
        Message::Opened(opened) => data::opened(state, opened),
        Message::Rows { generation, rows, count } => data::rows(state, generation, rows, count),
        Message::Counted { dataset, split, count } => data::counted(state, &dataset, &split, count),
        Message::Matches { generation, found, scanned, done } => browse::found(state, generation, found, scanned, done),
        Message::Ordered { generation, rows } => browse::ordered(state, generation, rows),
        Message::Browsed(reply) => browse::browsed(state, reply),
        Message::Predictions { run, predicted, written } => {
            state.data.predicted_by = Some(run);
            state.data.written = written.into_iter().collect();
            state.data.predictions = predicted.into_iter().map(|(id, label, right)| (id, (label, right))).collect();
            let mut effects = data::answered(state);
            effects.extend(attribution::ask(state));
            effects
        }
        Message::Previewed { generation, result } => {
            if generation == state.recipe.generation {
                match result {
                    Ok(shown) => (state.recipe.shown, state.recipe.error) = (Some(shown), None),
                    Err(error) => (state.recipe.shown, state.recipe.error) = (None, Some(error)),
                }
            }
            vec![]
        }
        Message::Attributed { generation, result } => attribution::attributed(state, generation, *result),
        Message::WhatIf { generation, result } => {
            what_if::found(state, generation, result);
            vec![]
        }
        Message::LensRead { generation, result } => {
            lens::looked(state, generation, *result);
            vec![]
        }
        Message::LensTrained { run, result } => lens::trained(state, &run, result),
        Message::RunFound(run) => runs::found(state, *run),
        Message::RunGone(id) => runs::gone(state, &id),
        Message::RunMoved { id, entries, state: now } => runs::moved(state, &id, entries, now),
        Message::Board { generation, result } => {
            board::made(state, generation, *result);
            vec![]
        }
        Message::Disagreed { generation, result } => {
            board::disagreed(state, generation, *result);
            vec![]
        }
        Message::BatchRead { generation, result } => {
            loupe::batch_read(state, generation, *result);
            vec![]
        }
        Message::LossMeasured { generation, result } => {
            loupe::measured(state, generation, *result);
            vec![]
        }
        Message::Studies(names) => {
            board::choose(state, names);
            vec![]
        }
        Message::Spelled { generation, result } => {
            editor::spelled(state, generation, result);
            vec![]
        }
        Message::Edited { target, result } => recipe::edited(state, &target, result),
        Message::EditorClosed { what, text } => match (what, text) {
            (_, None) => {
                state.say(Notice::info("nothing was changed"));
                vec![]
            }
            (External::Rationale(target), Some(text)) => recipe::set_rationale(state, target, text),
            (External::Settings, Some(text)) => recipe::set_settings(state, &text),
            (External::Fork(point), Some(text)) => charts::fork_edited(state, &text, point),
        },
        Message::ForkPointFound(point) => {
            charts::fork_found(state, point);
            vec![]
        }
        Message::Started { ids, what } => {
            state.is_project = true;
            state.runs.awaited = ids.into_iter().next();
            state.say(Notice::info(what));
            vec![]
        }
        Message::Themes(names) => {
            state.themes = names;
            vec![]
        }
        Message::Theme(theme) => {
            state.theme = *theme;
            vec![]
        }
        Message::Say(notice) => {
            state.say(notice);
            vec![]
        }
        Message::Told { time } => messages::told(state, &time),
        Message::LogRead(tail) => {
            messages::read(state, tail);
            vec![]
        }
        Message::Job(job) => {
            state.jobs.hear(*job);
            vec![]
        }
        Message::JobEnded { id, is_cancelled } => jobs::ended(state, id, is_cancelled),
        Message::DemoBegins(script) => demo::begin(state, *script),
        Message::Tick(elapsed) => demo::tick(state, elapsed),
        Message::Page { title, lines } => {
            state.notice = None;
            state.overlay = Some(Overlay::Page { title, lines, scroll: 0 });
            vec![]
        }
    }
}

/// Carries out a command, in its own pane if it has one.
fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    state.hints.used(command);
    if let Some((Place::In(pane), _)) = state.keymap.any_key(command)
        && state.keymap.keys(state.focus, command).is_empty()
    {
        focus(state, pane);
    }
    match command {
        Command::Quit => quit(state),
        Command::Help => open(state, Overlay::Help { scroll: 0 }),
        Command::Messages => messages::open(state),
        Command::Jobs => jobs::open(state),
        Command::ToggleHints => {
            state.hints.is_off = !state.hints.is_off;
            let now = if state.hints.is_off {
                "hints are off"
            } else {
                "hints are on, until each was used or seen three times"
            };
            state.say(Notice::info(now));
        }
        Command::Palette => open(state, Overlay::Palette { input: String::new(), cursor: 0 }),
        Command::NextPane => step_pane(state, 1),
        Command::PreviousPane => step_pane(state, Pane::ALL.len() - 1),
        Command::FocusData => focus(state, Pane::Data),
        Command::FocusRationale => focus(state, Pane::Rationale),
        Command::FocusTraining => focus(state, Pane::Training),
        Command::FocusAttribution => focus(state, Pane::Attribution),
        // The same key goes there and back.
        Command::FocusBoard if state.focus == Pane::Board => focus(state, state.before_board),
        Command::FocusBoard => focus(state, Pane::Board),
        Command::Zoom => {
            state.zoomed = !state.zoomed;
            data::keep_cursor_visible(state);
            return attribution::ask(state);
        }
        Command::Tour => runs::offer_tour(state),
        Command::ChooseTheme => choose_theme(state),
        Command::ChooseDisplay => display::choose(state),
        Command::WiderLeft => return resize(state, 4, 0),
        Command::NarrowerLeft => return resize(state, -4, 0),
        Command::TallerUpper => return resize(state, 0, 4),
        Command::ShorterUpper => return resize(state, 0, -4),
        Command::EvenPanes => {
            state.split = Split::default();
            return resize(state, 0, 0);
        }
        Command::DumpScreen => dump::choose_format(state),
        Command::Redraw => return vec![Effect::Redraw],
        Command::Suspend => return vec![Effect::Suspend],
        Command::Down | Command::Up | Command::PageDown | Command::PageUp | Command::First | Command::Last => {
            return go(state, command, None);
        }
        Command::CopyText | Command::CopyId | Command::CopyRationale | Command::CopyCommand | Command::CopyScreen => {
            return copy::perform(state, command);
        }
        Command::Filter
        | Command::ClearFilter
        | Command::ChooseDataset
        | Command::NextSplit
        | Command::CheckData
        | Command::ReadOn
        | Command::ReadBack => {
            return data::perform(state, command);
        }
        Command::SortQuestions
        | Command::ChooseColumns
        | Command::Mark
        | Command::Marks
        | Command::JumpTo
        | Command::FollowEnd
        | Command::Histogram
        | Command::Duplicates
        | Command::Replace
        | Command::CompareData => return browse::perform(state, command),
        Command::NewRun
        | Command::PauseRun
        | Command::StopRun
        | Command::ResumeRun
        | Command::OverlayRun
        | Command::NextCurve
        | Command::LogScale
        | Command::UseRecipe
        | Command::RemoveRun
        | Command::ChooseStudent
        | Command::EditSettings => return runs::perform(state, command),
        Command::ZoomIn
        | Command::ZoomOut
        | Command::PanLeft
        | Command::PanRight
        | Command::WholeCurve
        | Command::NextAxis
        | Command::NextSmoothing
        | Command::NextMetric
        | Command::ToggleBands
        | Command::ForkRun => return charts::perform(state, command),
        Command::OpenRow
        | Command::CloseRow
        | Command::FilterRows
        | Command::SortRows
        | Command::MakeBaseline
        | Command::Disagreements
        | Command::ChooseStudy => return board::perform(state, command),
        Command::StepLeft
        | Command::StepRight
        | Command::PreviousSpike
        | Command::NextSpike
        | Command::ShowBatch
        | Command::LeaveStep
        | Command::ToggleLoss => return loupe::perform(state, command),
        // The same keys in the pane's other face.
        command if state.focus == Pane::Attribution && state.loupe.shows_loss && loupe::takes(command) => {
            return loupe::perform(state, command);
        }
        Command::NextLens => return lens::next(state),
        Command::TrainLens => return lens::train(state),
        command if state.focus == Pane::Attribution && state.lens.is_on() && loupe::takes(command) => {
            lens::go(state, command);
            return vec![];
        }
        Command::ChooseRun
        | Command::CompareRun
        | Command::EarlierCheckpoint
        | Command::LaterCheckpoint
        | Command::ChooseMethod
        | Command::ChooseTarget
        | Command::NextBaseline
        | Command::NextOver
        | Command::NextUnit
        | Command::NextScale
        | Command::ReadOwn
        | Command::MaskToken
        | Command::DeleteToken
        | Command::RetypeToken
        | Command::ClearChanges
        | Command::KeepChanges
        | Command::KeepTop => return attribution::perform(state, command),
        Command::More
        | Command::Less
        | Command::WordLeft
        | Command::WordRight
        | Command::Reshuffle
        | Command::UndoEdit
            if state.focus == Pane::Attribution =>
        {
            return attribution::perform(state, command);
        }
        _ => return recipe::perform(state, command),
    }
    // A pane that was not on the screen may have waited for being looked at.
    attribution::ask(state)
}

/// Moves the borders between the panes, by so many percent of the screen.
fn resize(state: &mut State, left: i16, upper: i16) -> Vec<Effect> {
    state.split = state.split.moved(left, upper);
    data::keep_cursor_visible(state);
    data::ask_rows(state)
}

fn open(state: &mut State, overlay: Overlay) {
    state.overlay = Some(overlay);
}

fn quit(state: &mut State) {
    let active = state.runs.active().count();
    let question = match active {
        0 => "leave afterthought?".to_owned(),
        1 => "leave? 1 run goes on by itself, and the next start finds it".to_owned(),
        more => format!("leave? {more} runs go on by themselves, and the next start finds them"),
    };
    // Without a run there is nothing to think twice about, but a key hit by chance should not end a demonstration.
    state.overlay = Some(Overlay::Confirm { question, then: Confirmed::Quit });
}

fn focus(state: &mut State, pane: Pane) {
    if pane == Pane::Board && state.focus != Pane::Board {
        state.before_board = state.focus;
    }
    state.focus = pane;
    data::keep_cursor_visible(state);
}

fn step_pane(state: &mut State, by: usize) {
    let place = Pane::ALL.iter().position(|pane| *pane == state.focus).unwrap_or(0);
    focus(state, Pane::ALL[(place + by) % Pane::ALL.len()]);
}

/// Asks for the theme of a name, for the colours that the terminal has.
pub fn load_theme(state: &State, name: &str) -> Effect {
    let colours = state.display.colours();
    Effect::LoadTheme { name: Theme::meant(name, state.is_light, colours).to_owned(), colours }
}

fn choose_theme(state: &mut State) {
    let items = state.themes.iter().map(|name| MenuItem {
        label: name.clone(),
        note: if *name == state.theme_name { NOW.into() } else { String::new() },
        then: super::state::Chosen::Theme(name.clone()),
    });
    let menu = Menu::new("theme", items.collect());
    state.overlay = Some(Overlay::Menu(menu));
}

/// Moves within the focused pane, so many rows or pages, or to that line.
fn go(state: &mut State, command: Command, count: Option<usize>) -> Vec<Effect> {
    let page = usize::from(state.rows.saturating_sub(8)).max(1);
    let by = Step { command, count, page };
    match state.focus {
        Pane::Data => {
            state.data.follows = false;
            // Whoever moves is not taken elsewhere any more.
            state.data.wanted = None;
            let last = state.data.lines().saturating_sub(1);
            let by = Step { page: super::layout::table_height(state).max(1), ..by };
            state.data.cursor = by.applied(state.data.cursor, last);
            data::keep_cursor_visible(state);
            return data::look(state);
        }
        Pane::Rationale if matches!(command, Command::Down | Command::Up) && !state.recipe.as_table => {
            let last = state.draft.rationale.ablations.len().saturating_sub(1);
            state.recipe.cursor = by.applied(state.recipe.cursor, last);
        }
        Pane::Rationale => state.recipe.scroll = by.applied(state.recipe.scroll, usize::MAX / 2),
        Pane::Training => {
            state.runs.follows_newest = false;
            let listed = state.runs.listed();
            let at = listed.iter().position(|(place, _)| *place == state.runs.cursor).unwrap_or(0);
            let to = by.applied(at, listed.len().saturating_sub(1));
            state.runs.cursor = listed.get(to).map_or(0, |(place, _)| *place);
            return runs::ask_predictions(state);
        }
        Pane::Attribution if state.lens.is_on() => by.each(|| lens::go(state, command)),
        Pane::Attribution if matches!(command, Command::First | Command::Last) => what_if::go(state, command),
        Pane::Attribution => state.attribution.scroll = by.applied(state.attribution.scroll, usize::MAX / 2),
        Pane::Board => by.each(|| board::go(state, command)),
    }
    vec![]
}

/// A cursor after a step, kept within `0..=last`.
fn moved(cursor: usize, last: usize, page: usize, command: Command) -> usize {
    Step { command, count: None, page }.applied(cursor, last)
}

/// A movement: by how much, in rows or pages, or to which line.
#[derive(Clone, Copy)]
struct Step {
    command: Command,
    count: Option<usize>,
    page: usize,
}

impl Step {
    /// A cursor after it, kept within `0..=last`.
    fn applied(self, cursor: usize, last: usize) -> usize {
        let count = self.count.unwrap_or(1);
        let pages = self.page.saturating_mul(count);
        match self.command {
            Command::Down => cursor.saturating_add(count).min(last),
            Command::Up => cursor.saturating_sub(count),
            Command::PageDown => cursor.saturating_add(pages).min(last),
            Command::PageUp => cursor.saturating_sub(pages),
            // As in vi, both go to a line that was named.
            _ if self.count.is_some() => (count.max(1) - 1).min(last),
            Command::First => 0,
            _ => last,
        }
    }

    /// Does it one by one, where a pane moves in its own way. No list there is longer.
    fn each(self, mut go: impl FnMut()) {
        (0..self.count.unwrap_or(1).min(10_000)).for_each(|_| go());
    }
}
