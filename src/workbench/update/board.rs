//! The board: what is shown of it, against what, and what is opened.

use super::{data, focus, moved, runs};
use crate::runs::spec::STUDY;
use crate::studies::Baseline;
use crate::studies::disagree::{Disagreements, Question};
use crate::studies::table::{Section, Table};
use crate::workbench::board::{Face, QuestionsView, Shown};
use crate::workbench::command::Command;
use crate::workbench::message::{DisagreeRequest, Effect};
use crate::workbench::pane::Pane;
use crate::workbench::state::{Chosen, Menu, MenuItem, NOW, Notice, Overlay, State};

pub fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    match command {
        Command::OpenRow => return open(state),
        Command::CloseRow => return close(state),
        Command::FilterRows => {
            state.board.face = Face::Table;
            state.overlay = Some(Overlay::RowFilter);
        }
        Command::SortRows => {
            state.board.sort = state.board.sort.next();
            state.board.rearrange();
        }
        Command::MakeBaseline => return make_baseline(state),
        Command::Disagreements => return ask_questions(state),
        Command::ChooseStudy => return vec![Effect::ListStudies],
        _ => {}
    }
    vec![]
}

/// Moves within what is opened.
pub fn go(state: &mut State, command: Command) {
    let page = usize::from(state.rows.saturating_sub(12)).max(1);
    let board = &mut state.board;
    let of_row = board.selected().map_or(0, |(_, _, row)| row.runs.len());
    match &mut board.face {
        // On a narrow screen a row has two lines.
        Face::Table => board.cursor = moved(board.cursor, board.lines.len().saturating_sub(1), page / 2, command),
        Face::Row { run } => *run = moved(*run, of_row.saturating_sub(1), page, command),
        Face::Questions(view) => {
            view.cursor = moved(view.cursor, view.questions().len().saturating_sub(1), page, command);
        }
    }
}

/// Asks for the table, after something in it may have changed. Another table of the same stays until it is there.
pub fn ask(state: &mut State) -> Vec<Effect> {
    let generation = state.next_generation();
    let board = &mut state.board;
    board.asked = generation;
    vec![Effect::MakeBoard { generation, shown: board.shown.clone(), baselines: board.baselines.clone() }]
}

/// Asks for another table.
fn ask_other(state: &mut State) -> Vec<Effect> {
    let effects = ask(state);
    state.board.since = state.board.asked;
    effects
}

/// A table was made. While runs end faster than tables are made, each of them is shown, and not the last one alone.
pub fn made(state: &mut State, generation: u64, result: Result<Table, String>) {
    let board = &mut state.board;
    if generation < board.since || generation <= board.have {
        return;
    }
    board.have = generation;
    match result {
        Ok(table) => board.take(table),
        Err(error) => {
            (board.table, board.error) = (None, Some(error));
            board.rearrange();
        }
    }
}

/// The names of the studies there are: those with runs first, those under way before them.
pub fn choose(state: &mut State, names: Vec<String>) {
    let count = |name: &str, active: bool| {
        let own = |run: &&crate::runs::Run| run.spec.tags.get(STUDY).is_some_and(|study| study == name);
        state.runs.runs.iter().filter(own).filter(|run| !active || run.state.is_active()).count()
    };
    let mut studies: Vec<(usize, usize, String)> =
        names.into_iter().map(|name| (count(&name, true), count(&name, false), name)).collect();
    studies.sort_by(|one, other| (other.0 > 0, other.1 > 0).cmp(&(one.0 > 0, one.1 > 0)).then(one.2.cmp(&other.2)));
    let note = |shown: &Shown, other: String| if state.board.shown == *shown { NOW.to_owned() } else { other };
    let all = state.runs.runs.len();
    let mut items = vec![MenuItem {
        label: "all runs of this project".into(),
        note: note(&Shown::Project, format!("{all} runs")),
        then: Chosen::Board(Shown::Project),
    }];
    items.extend(studies.into_iter().map(|(active, runs, name)| {
        let shown = Shown::Study(name.clone());
        let what = match (active, runs) {
            (0, 0) => "nothing was run yet".to_owned(),
            (0, _) => format!("{runs} runs"),
            _ => format!("{runs} runs, {active} under way"),
        };
        MenuItem { label: name, note: note(&shown, what), then: Chosen::Board(shown) }
    }));
    state.overlay = Some(Overlay::Menu(Menu::new("what the board shows", items)));
}

/// Shows the runs of the project, or a study.
pub fn show(state: &mut State, shown: Shown) -> Vec<Effect> {
    if state.board.shown == shown {
        return vec![];
    }
    let board = &mut state.board;
    (board.shown, board.table, board.error, board.face) = (shown, None, None, Face::Table);
    board.baselines.clear();
    board.filter.clear();
    board.cursor = 0;
    board.rearrange();
    ask_other(state)
}

/// Filters while the user types.
pub fn set_filter(state: &mut State, filter: String) {
    state.board.filter = filter;
    state.board.rearrange();
}

/// Every other row of the section is measured against the selected one; the second time, against the usual one again.
fn make_baseline(state: &mut State) -> Vec<Effect> {
    let Some((section, _, row)) = state.board.selected() else { return vec![] };
    let baseline = Baseline { section: Some(section.name()), row: row.condition.clone() };
    let was_chosen = state.board.baselines.contains(&baseline);
    state.board.baselines.retain(|other| other.section != baseline.section);
    if was_chosen {
        state.say(Notice::info("measured against the usual baseline again"));
    } else {
        state
            .say(Notice::info(format!("measured against {}; the same key again: against the usual one", baseline.row)));
        state.board.baselines.push(baseline);
    }
    ask_other(state)
}

/// One step further in: a row, one of its runs, the question in the data pane.
fn open(state: &mut State) -> Vec<Effect> {
    let Some((_, _, row)) = state.board.selected() else { return vec![] };
    match &state.board.face {
        Face::Table if row.runs.is_empty() => {
            let text = row.note.clone().unwrap_or_else(|| "this row has no runs".into());
            state.say(Notice::info(text));
            vec![]
        }
        Face::Table => {
            state.board.face = Face::Row { run: 0 };
            vec![]
        }
        Face::Row { run } => {
            let Some(id) = row.runs.get(*run).and_then(|seeded| seeded.run.clone()) else {
                let how = match &state.board.shown {
                    Shown::Study(name) => format!(" · `afterthought study run {name}` runs it"),
                    Shown::Project => String::new(),
                };
                state.say(Notice::info(format!("this cell was not run yet{how}")));
                return vec![];
            };
            state.runs.overlaid = row.runs.iter().filter_map(|seeded| seeded.run.clone()).collect();
            runs::show(state, &id);
            focus(state, Pane::Training);
            runs::ask_predictions(state)
        }
        Face::Questions(view) => {
            let Some(question) = view.questions().get(view.cursor).cloned() else { return vec![] };
            let Some(place) = question.row else {
                state.say(Notice::info(format!("{} has no question {} any more", question.dataset, question.id)));
                return vec![];
            };
            let run = run_for(state, view, &question);
            if let Some(id) = run {
                runs::show(state, &id);
            }
            focus(state, Pane::Data);
            data::go_to(state, question.dataset, question.split, place)
        }
    }
}

/// Whose predictions stand beside a question in the data pane: those of a run of the row, or of the other where it has none.
fn run_for(state: &State, view: &QuestionsView, question: &Question) -> Option<String> {
    let sections = state.board.table.iter().flat_map(|table| &table.sections);
    let section = sections.into_iter().find(|section| section.name() == view.section)?;
    let named = |name: &str| section.rows.iter().find(|row| row.condition == name);
    let rows = [named(&view.one), named(&view.other)];
    let mut cells = rows.into_iter().flatten().flat_map(|row| &row.runs);
    cells.find(|cell| cell.accuracy.is_some() && cell.dataset == question.dataset)?.run.clone()
}

/// One step back.
fn close(state: &mut State) -> Vec<Effect> {
    state.board.face = match std::mem::take(&mut state.board.face) {
        Face::Questions(view) => view.from_run.map_or(Face::Table, |run| Face::Row { run }),
        Face::Row { .. } => Face::Table,
        Face::Table => {
            set_filter(state, String::new());
            Face::Table
        }
    };
    vec![]
}

/// Asks for the questions on which the selected row and its baseline disagree.
fn ask_questions(state: &mut State) -> Vec<Effect> {
    let from_run = match &state.board.face {
        Face::Table => None,
        Face::Row { run } => Some(*run),
        Face::Questions(_) => return close(state),
    };
    let Some((section, place, row)) = state.board.selected() else { return vec![] };
    let Some(other) = row.baseline.and_then(|place| section.rows.get(place)) else {
        let is_baseline = section.rows.iter().any(|other| other.baseline == Some(place));
        let why = if is_baseline { "this row is the baseline" } else { "this row has no baseline" };
        state.say(Notice::info(format!("{why}; `b` on another row makes that one the baseline")));
        return vec![];
    };
    let (one, other) = (row.clone(), other.clone());
    let of = Section { rows: vec![], ..section.clone() };
    let generation = state.next_generation();
    state.board.face = Face::Questions(Box::new(QuestionsView {
        generation,
        section: of.name(),
        one: one.condition.clone(),
        other: other.condition.clone(),
        found: None,
        cursor: 0,
        from_run,
    }));
    vec![Effect::Disagree(Box::new(DisagreeRequest { generation, section: of, one, other }))]
}

/// The questions were found.
pub fn disagreed(state: &mut State, generation: u64, result: Result<Disagreements, String>) {
    if let Face::Questions(view) = &mut state.board.face
        && view.generation == generation
    {
        view.found = Some(result);
    }
}
