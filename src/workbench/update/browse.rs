//! Browsing in the data pane: searching, sorting, columns, going to a row, and files that grow.

use super::{below, data, duplicates, marks, recipe, replace};
use crate::corpus::filter::{Field, Filter, Known};
use crate::corpus::order::Sort;
use crate::corpus::rows::{Change, Count};
use crate::workbench::browse::{self, Ask, Choice, Found, Kind, Ordered, Place, Reply, Request};
use crate::workbench::command::Command;
use crate::workbench::message::{Effect, FindRequest};
use crate::workbench::state::{Chosen, InputFor, Matches, Menu, MenuItem, NOW, Notice, Overlay, State};

pub fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    match command {
        Command::SortQuestions => offer_sort(state),
        Command::ChooseColumns => offer_columns(state, 0),
        Command::Mark => return marks::mark(state),
        Command::Marks => marks::offer(state),
        Command::JumpTo => {
            let title = "go to an id, or to a row such as #412".into();
            state.overlay = Some(Overlay::Input { title, text: String::new(), then: InputFor::Jump });
        }
        Command::FollowEnd => return follow(state),
        Command::Histogram => below::offer_histogram(state),
        Command::CompareData => below::offer_beside(state),
        Command::Duplicates => return duplicates::open(state),
        Command::Replace => return replace::open(state),
        _ => {}
    }
    vec![]
}

/// What was chosen in a menu of this pane.
pub fn choose(state: &mut State, choice: Choice) -> Vec<Effect> {
    match choice {
        Choice::Sort(by) => sort_by(state, by),
        Choice::Column(column) => {
            state.data.columns.toggle(&column);
            let data = &mut state.data;
            for (row, example) in &data.loaded {
                if let Ok(example) = example {
                    data.columns.see(*row, example);
                }
            }
            // The menu stays: one seldom changes only one.
            let place = data.columns.all().iter().position(|other| *other == column);
            offer_columns(state, place.unwrap_or(0));
            vec![]
        }
        Choice::MarkMatching => marks::mark_matching(state),
        Choice::ClearMarks => marks::clear(state),
        Choice::ShowMarked => marks::show(state),
        Choice::SaveMarks => {
            marks::offer_file(state);
            vec![]
        }
        Choice::Histogram(field) => below::show_histogram(state, field),
        Choice::Beside(other) => below::show_beside(state, other),
        Choice::LookForDuplicates => duplicates::look(state),
        Choice::Duplicate(number) => duplicates::go_to(state, number),
    }
}

/// Where the rows that are shown are.
pub fn place(state: &State) -> Place {
    Place {
        dataset: state.draft.dataset.clone(),
        split: state.data.split.clone(),
        source: state.draft.rationale.source.clone(),
    }
}

/// Asks something about the rows.
pub fn ask(state: &mut State, ask: Ask) -> Vec<Effect> {
    let generation = state.next_generation();
    let request = Request { generation, place: place(state), ask };
    state.data.asked.insert(request.kind(), generation);
    vec![Effect::Browse(Box::new(request))]
}

/// Whether an answer is to the newest question of its kind.
fn is_newest(state: &State, kind: Kind, generation: u64) -> bool {
    state.data.asked.get(&kind) == Some(&generation)
}

/// The meaning of the filter with what is known beside the rows.
pub fn meaning(state: &State) -> Filter {
    let filter = state.data.meaning.clone();
    let by = state.data.ordered.sort.as_ref().map(|sort| &sort.by);
    let answers = filter.needs_answers() || by.is_some_and(Field::needs_answers);
    let marked = filter.needs_marks() || by == Some(&Field::Marked);
    filter.with(known(state, answers, marked))
}

/// What is known of rows beside what stands in them, as far as it is asked for.
pub fn known(state: &State, answers: bool, marked: bool) -> Known {
    Known {
        answered: if answers { state.data.predictions.clone() } else { Default::default() },
        marked: if marked { marks::marked(state) } else { Default::default() },
        ..Known::default()
    }
}

/// Looks for the rows that the filter means, in the order that is wanted. Until the order is known they are shown as
/// they are found.
pub fn search(state: &mut State) -> Vec<Effect> {
    let (filter, sort) = (meaning(state), state.data.ordered.sort.clone());
    let was_searching =
        state.data.ordered.reading.is_some() || state.data.matches.as_ref().is_some_and(|matches| !matches.done);
    let generation = state.next_generation();
    let data = &mut state.data;
    data.search = generation;
    data.matches = (!filter.is_empty()).then(Matches::default);
    data.ordered = Ordered { reading: sort.is_some().then_some(0), rows: None, sort: sort.clone() };
    let mut effects = below::count(state);
    if filter.is_empty() && sort.is_none() {
        effects.extend(was_searching.then_some(Effect::StopSearch { generation }));
        return effects;
    }
    let request = FindRequest { generation, place: place(state), filter, sort, from: 0 };
    effects.push(Effect::Find(Box::new(request)));
    effects
}

/// Looks on from where a search ended, in rows that came since.
fn search_on(state: &mut State, from: usize) -> Vec<Effect> {
    let filter = meaning(state);
    let generation = state.data.search;
    vec![Effect::Find(Box::new(FindRequest { generation, place: place(state), filter, sort: None, from }))]
}

/// Rows that match, found so far.
pub fn found(state: &mut State, generation: u64, rows: Vec<u32>, scanned: usize, done: bool) -> Vec<Effect> {
    let data = &mut state.data;
    if data.search != generation {
        return vec![];
    }
    if let Some(reading) = &mut data.ordered.reading {
        *reading = scanned;
    }
    let Some(matches) = &mut data.matches else { return vec![] };
    let first = matches.rows.is_empty();
    // The last row of a growing file is looked at again when it has ended.
    let known = matches.rows.last().copied();
    let fresh = rows.into_iter().filter(|row| known.is_none_or(|known| known < *row));
    let begin = matches.rows.len();
    matches.rows.extend(fresh);
    if let Some(order) = &mut data.ordered.rows {
        order.extend_from_slice(&matches.rows[begin..]);
    }
    let moved = scanned > matches.scanned;
    (matches.scanned, matches.done) = (scanned, done);
    let came = data.count.is_some_and(|count| count.complete && count.rows > scanned);
    let mut effects = stay_at_end(state);
    if first && effects.is_empty() {
        effects = data::look(state);
    } else {
        effects.extend(data::ask_rows(state));
    }
    if done && moved && came {
        effects.extend(search_on(state, scanned.saturating_sub(1)));
    }
    effects.extend(data::arrive(state));
    if done && state.data.ordered.reading.is_none() {
        // A row that is not among those that match can't be gone to.
        state.data.wanted = None;
    }
    effects
}

/// The order is known.
pub fn ordered(state: &mut State, generation: u64, rows: Vec<u32>) -> Vec<Effect> {
    if state.data.search != generation {
        return vec![];
    }
    state.data.ordered.reading = None;
    state.data.ordered.rows = Some(rows);
    (state.data.cursor, state.data.offset) = (0, 0);
    let mut effects = data::arrive(state);
    state.data.wanted = None;
    effects.extend(data::look(state));
    effects
}

fn sort_by(state: &mut State, by: Option<Field>) -> Vec<Effect> {
    let before = state.data.ordered.sort.take();
    state.data.ordered.sort = by.map(|by| {
        let reversed = before.is_some_and(|before| before.by == by && !before.reversed);
        Sort { by, reversed }
    });
    let mut effects = search(state);
    (state.data.cursor, state.data.offset) = (0, 0);
    effects.extend(data::look(state));
    effects
}

fn offer_sort(state: &mut State) {
    let sort = state.data.ordered.sort.clone();
    let first = MenuItem {
        label: "as in the file".into(),
        note: if sort.is_none() { NOW.into() } else { String::new() },
        then: Chosen::Rows(Choice::Sort(None)),
    };
    let fields = browse::sortable(&state.data.columns.others);
    let now = fields.iter().position(|field| sort.as_ref().is_some_and(|sort| sort.by == *field));
    let item = |field: Field| MenuItem {
        label: field.to_string(),
        note: match &sort {
            Some(Sort { by, reversed }) if *by == field => {
                let (now, other) = if *reversed { ("↓ large first", "↑") } else { ("↑ small first", "↓") };
                format!("{now} · Enter: {other}")
            }
            _ => String::new(),
        },
        then: Chosen::Rows(Choice::Sort(Some(field))),
    };
    let mut menu = Menu::new("sort by", [first].into_iter().chain(fields.into_iter().map(item)).collect());
    menu.cursor = now.map_or(0, |place| place + 1);
    state.overlay = Some(Overlay::Menu(menu));
}

fn offer_columns(state: &mut State, cursor: usize) {
    let columns = &state.data.columns;
    let item = |column: Field| MenuItem {
        note: if columns.shown.contains(&column) { "✓ shown".into() } else { "hidden".into() },
        label: column.to_string(),
        then: Chosen::Rows(Choice::Column(column)),
    };
    let mut menu = Menu::new("columns", columns.all().into_iter().map(item).collect());
    menu.cursor = cursor;
    state.overlay = Some(Overlay::Menu(menu));
}

/// Goes to `#412`, or to an id.
pub fn jump(state: &mut State, text: &str) -> Vec<Effect> {
    let row = text.strip_prefix('#').and_then(|number| number.replace(',', "").parse::<usize>().ok());
    let Some(row) = row else {
        return ask(state, Ask::Jump(text.into()));
    };
    let rows = state.data.count.map_or(0, |count| count.rows);
    if row == 0 || row > rows {
        state.say(Notice::error(format!("there is no row #{row} · rows are #1 to #{rows}")));
        return vec![];
    }
    go_to_row(state, row - 1)
}

/// Puts the cursor on a row of this split. What hides it is taken away.
fn go_to_row(state: &mut State, row: usize) -> Vec<Effect> {
    state.data.follows = false;
    let mut effects = vec![];
    if state.data.line_of(row).is_none() {
        state.say(Notice::info("the filter hid this row: all questions are shown again"));
        state.data.filter.clear();
        (state.data.meaning, state.data.mistake) = (Filter::default(), None);
        // Its place in a sorted list is not known before all is sorted again.
        state.data.ordered.sort = None;
        effects = search(state);
    }
    state.data.cursor = state.data.line_of(row).unwrap_or(0);
    data::keep_cursor_visible(state);
    effects.extend(data::look(state));
    effects
}

/// An answer about rows.
pub fn browsed(state: &mut State, reply: Reply) -> Vec<Effect> {
    match reply {
        Reply::Changed { place: changed, change, count } => file_changed(state, &changed, change, count),
        Reply::Jumped { generation, wanted, found } => {
            if !is_newest(state, Kind::Jump, generation) {
                return vec![];
            }
            state.notice = None;
            match found {
                Found::Exactly(row) => go_to_row(state, row),
                Found::Beginning { row, id } => {
                    let effects = go_to_row(state, row);
                    state.say(Notice::info(format!("no question has the id {wanted} · this is {id}")));
                    effects
                }
                Found::Nowhere { nearest } => {
                    let nearest = nearest.map_or_else(String::new, |id| format!(" · the nearest is {id}"));
                    state.say(Notice::error(format!("{} has no question {wanted}{nearest}", state.data.split)));
                    vec![]
                }
            }
        }
        Reply::Marked { place, ids, is_cut } => {
            marks::marked_all(state, place, ids, is_cut);
            vec![]
        }
        Reply::Histogram { generation, found } => {
            if is_newest(state, Kind::Histogram, generation) {
                below::counted(state, found);
            }
            vec![]
        }
        Reply::Counterpart { generation, found } => {
            if is_newest(state, Kind::Counterpart, generation) {
                below::compared(state, found);
            }
            vec![]
        }
        Reply::Duplicates { generation, report } => {
            if is_newest(state, Kind::Duplicates, generation) {
                duplicates::found(state, *report);
            }
            vec![]
        }
        Reply::Original { generation, place, example } => {
            if is_newest(state, Kind::Original, generation) {
                recipe::original_read(state, place, example);
            }
            vec![]
        }
        Reply::Hits { generation, hits, read, is_done } => {
            replace::found(state, generation, hits, read, is_done);
            vec![]
        }
        Reply::Replaced { generation, result } => replace::replaced(state, generation, result),
        Reply::Together { questions } => replace::together(state, questions),
        Reply::Progress { kind, generation, text } => {
            if is_newest(state, kind, generation) {
                state.notice = Some(Notice::info(text));
            }
            vec![]
        }
    }
}

/// The file of the split has more rows, or others.
fn file_changed(state: &mut State, changed: &Place, change: Change, count: Count) -> Vec<Effect> {
    if (&changed.dataset, &changed.split) != (&state.draft.dataset, &state.data.split) {
        return vec![];
    }
    let before = state.data.count.map_or(0, |count| count.rows);
    state.data.count = Some(count);
    if change == Change::Replaced {
        state.say(Notice::info(format!("the file of {} was replaced or shortened: it was read anew", changed.split)));
        state.data.loaded.clear();
        state.recipe.original = None;
        let mut effects = search(state);
        data::keep_cursor_visible(state);
        effects.extend(stay_at_end(state));
        effects.extend(data::look(state));
        return effects;
    }
    // The last row may have been half written.
    let first = before.saturating_sub(1);
    state.data.loaded.retain(|row, _| *row < first);
    let mut effects = match &state.data.matches {
        Some(matches) if matches.done => search_on(state, first),
        Some(_) => vec![],
        None => {
            if let Some(order) = &mut state.data.ordered.rows {
                order.extend(before as u32..count.rows as u32);
            }
            vec![]
        }
    };
    effects.extend(stay_at_end(state));
    effects.extend(data::look(state));
    effects
}

fn follow(state: &mut State) -> Vec<Effect> {
    state.data.follows = !state.data.follows;
    let said = if state.data.follows {
        "following the end of the file, until the cursor is moved"
    } else {
        "the end of the file is not followed any more"
    };
    state.say(Notice::info(said));
    stay_at_end(state)
}

/// Where the end is followed, the cursor goes there.
pub fn stay_at_end(state: &mut State) -> Vec<Effect> {
    if !state.data.follows {
        return vec![];
    }
    state.data.cursor = state.data.lines().saturating_sub(1);
    data::keep_cursor_visible(state);
    data::look(state)
}
