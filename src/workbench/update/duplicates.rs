//! The list of questions that stand twice.

use super::browse::ask;
use super::data;
use crate::corpus::duplicates::{Kind, Pair, Report};
use crate::workbench::browse::{Ask, Choice, Duplicates};
use crate::workbench::message::Effect;
use crate::workbench::state::{Chosen, Menu, MenuItem, Notice, Overlay, State};

/// Pairs in the list; the command line gives all.
const LISTED: usize = 1000;

/// Shows what was found in this data set, or looks for it.
pub fn open(state: &mut State) -> Vec<Effect> {
    match &state.data.duplicates {
        Some(known) if known.report.dataset == state.draft.dataset => {
            list(state);
            vec![]
        }
        _ => look(state),
    }
}

pub fn look(state: &mut State) -> Vec<Effect> {
    state.say(Notice::info(format!("looking for duplicates in {} …", state.draft.dataset)));
    ask(state, Ask::Duplicates)
}

pub fn found(state: &mut State, report: Report) {
    state.notice = None;
    state.data.duplicates = Some(Duplicates { report, cursor: 0 });
    // Who does something else by now is not interrupted.
    if state.overlay.is_none() {
        list(state);
    } else {
        state.say(Notice::info("the duplicates are known: D lists them"));
    }
}

/// Goes to the second question of a pair, and from there to the first.
pub fn go_to(state: &mut State, number: usize) -> Vec<Effect> {
    let Some(known) = &mut state.data.duplicates else { return vec![] };
    known.cursor = number + 1;
    let dataset = known.report.dataset.clone();
    let Some(pair) = known.report.pairs.get(number).cloned() else { return vec![] };
    let here = state.data.selected.as_ref().map(|selected| (selected.row, state.data.split.as_str()));
    let is_there = here == Some((pair.second.row, pair.second.split.as_str())) && state.draft.dataset == dataset;
    let place = if is_there { pair.first } else { pair.second };
    data::go_to(state, dataset, place.split, place.row)
}

fn list(state: &mut State) {
    let Some(known) = &state.data.duplicates else { return };
    let report = &known.report;
    let again =
        MenuItem { label: "look again".into(), note: summary(report), then: Chosen::Rows(Choice::LookForDuplicates) };
    let item = |(number, pair): (usize, &Pair)| MenuItem {
        label: format!("{} {}", if pair.is_leak { "leak" } else { "    " }, places(pair)),
        note: format!("{} · {}", how(pair), pair.question),
        then: Chosen::Rows(Choice::Duplicate(number)),
    };
    let items = report.pairs.iter().take(LISTED).enumerate().map(item);
    let mut menu = Menu::new("duplicates: Enter goes to the second, again to the first", Vec::new());
    menu.items = [again].into_iter().chain(items).collect();
    menu.cursor = known.cursor.min(menu.items.len() - 1);
    state.overlay = Some(Overlay::Menu(menu));
}

fn places(pair: &Pair) -> String {
    let (first, second) = (&pair.first, &pair.second);
    if pair.is_leak {
        format!("{}/{} = {}/{}", first.split, first.id, second.split, second.id)
    } else {
        format!("{}/{} = {}", first.split, first.id, second.id)
    }
}

fn how(pair: &Pair) -> String {
    match pair.kind {
        Kind::Same => "same".into(),
        Kind::OtherChoices => "other choices".into(),
        Kind::Near => format!("{:.0} %", pair.similarity * 100.0),
    }
}

fn summary(report: &Report) -> String {
    let (leaks, within) = (report.leaks.all(), report.within_splits.all());
    let listed = if leaks + within > LISTED { format!(" · the first {LISTED} are listed") } else { String::new() };
    let skipped = if report.not_compared > 0 { " · too many for near ones among all" } else { "" };
    format!("{leaks} leaks, {within} within splits{listed}{skipped}")
}
