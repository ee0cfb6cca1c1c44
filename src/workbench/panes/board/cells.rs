//! The cells of a row as they stand this moment: the table knows those that ended, the journals the others.

use ratatui::style::Style;
use ratatui::text::Span;

use super::super::{glyph, state_style};
use crate::journal::RunState;
use crate::runs::Run;
use crate::studies::table::{Row, Seeded};
use crate::workbench::state::State;
use crate::workbench::widgets::flow::fit;

/// Where a cell stands.
pub enum Standing<'a> {
    /// A run that the workbench watches.
    Run(&'a Run),
    /// A run that it has not seen yet.
    Unseen(RunState),
    /// It would run, or can't.
    NoRun(&'a str),
}

impl Standing<'_> {
    pub fn state(&self) -> Option<RunState> {
        match self {
            Self::Run(run) => Some(run.state),
            Self::Unseen(state) => Some(*state),
            Self::NoRun(_) => None,
        }
    }

    pub fn sign(&self) -> &'static str {
        match self.state() {
            Some(state) => glyph(state),
            None if matches!(self, Self::NoRun("can't run")) => "–",
            None => "·",
        }
    }

    pub fn style(&self, state: &State) -> Style {
        self.state().map_or(state.theme.chrome.style(), |own| state_style(state, own))
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Run(run) => run.state.name(),
            Self::Unseen(state) => state.name(),
            Self::NoRun(what) => what,
        }
    }
}

pub fn standing<'a>(state: &'a State, cell: &'a Seeded) -> Standing<'a> {
    const ALL: [RunState; 7] = [
        RunState::Queued,
        RunState::Running,
        RunState::Paused,
        RunState::Finished,
        RunState::Stopped,
        RunState::Failed,
        RunState::Interrupted,
    ];
    match cell.run.as_ref().and_then(|id| state.runs.find(id)) {
        Some(run) => Standing::Run(run),
        None => match ALL.into_iter().find(|known| known.name() == cell.state) {
            Some(known) => Standing::Unseen(known),
            None => Standing::NoRun(&cell.state),
        },
    }
}

pub fn is_finished(state: &State, cell: &Seeded) -> bool {
    standing(state, cell).state() == Some(RunState::Finished)
}

/// How far a run is: `step 30/60, 45.0 % so far`, or in short `30/60 45.0 %`.
pub fn progress(run: &Run, in_short: bool) -> String {
    let history = &run.history;
    if run.state == RunState::Queued {
        return "waits for a core".into();
    }
    let (step, steps) = (history.step(), history.steps_planned);
    let so_far = history.evaluations.last().map(|found| format!("{:.1} %", found.accuracy * 100.0));
    match &history.progress {
        Some((what, done, total)) => format!("{what} {done}/{total}"),
        None if steps == 0 => "prepares".into(),
        None => match (in_short, so_far) {
            (true, Some(so_far)) => format!("{step}/{steps} {so_far}"),
            (true, None) => format!("{step}/{steps}"),
            (false, Some(so_far)) => format!("step {step}/{steps}, {so_far} so far"),
            (false, None) => format!("step {step}/{steps}"),
        },
    }
}

/// A sign for each cell and how many of them are finished, in `width` columns. Of more cells than there is room for, those
/// that move or went wrong are shown first.
pub fn strip(state: &State, row: &Row, base: Style, signs: usize, width: usize) -> Vec<Span<'static>> {
    let mut cells: Vec<Standing> = row.runs.iter().map(|cell| standing(state, cell)).collect();
    let done = cells.iter().filter(|cell| cell.state() == Some(RunState::Finished)).count();
    let all = cells.len();
    if all > signs {
        cells.sort_by_key(|cell| match cell.state() {
            Some(state) if state.is_active() => 0,
            Some(RunState::Finished) => 2,
            Some(_) => 1,
            None => 3,
        });
        cells.truncate(signs);
    }
    let mut spans = vec![Span::styled("  ", base)];
    spans.extend(cells.iter().map(|cell| Span::styled(cell.sign(), base.patch(cell.style(state)))));
    let gap = signs.saturating_sub(cells.len());
    let count = if all == 0 { String::new() } else { format!("{done}/{all}") };
    let text = fit(&format!("{} {count}", " ".repeat(gap)), width.saturating_sub(2 + cells.len()));
    spans.push(Span::styled(text, base.patch(state.theme.chrome.style())));
    spans
}

/// What the cells under way do, the one that is furthest first, and what went wrong.
pub fn under_way(state: &State, row: &Row, in_short: bool) -> Option<String> {
    let many = row.runs.len() > 1;
    let mut running: Vec<(&Seeded, &Run)> = Vec::new();
    let (mut waiting, mut failed) = (0, Vec::new());
    for cell in &row.runs {
        match standing(state, cell) {
            Standing::Run(run) if run.state == RunState::Queued => waiting += 1,
            Standing::Run(run) if run.state.is_active() => running.push((cell, run)),
            Standing::Run(run) if matches!(run.state, RunState::Failed | RunState::Interrupted | RunState::Stopped) => {
                let reason = run.history.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                let seed = if many { format!("{} ", cell.seed) } else { String::new() };
                failed.push(format!("{seed}{}{reason}", run.state.name()));
            }
            _ => {}
        }
    }
    running.sort_by_key(|(_, run)| std::cmp::Reverse(run.history.step()));
    let mut parts: Vec<String> = Vec::new();
    if let Some((cell, run)) = running.first() {
        let seed = if many && !in_short { format!("{}: ", cell.seed) } else { String::new() };
        let reason = run.history.reason.as_ref().filter(|_| run.state == RunState::Paused);
        let paused = reason.map_or_else(String::new, |reason| format!("paused: {reason} "));
        parts.push(format!("{} {seed}{paused}{}", glyph(run.state), progress(run, in_short)));
    }
    match running.len() {
        0 | 1 => {}
        more => parts.push(format!("{} more under way", more - 1)),
    }
    match waiting {
        0 => {}
        1 if !many => parts.push("waits for a core".into()),
        _ => parts.push(format!("{waiting} waiting")),
    }
    parts.extend(failed.into_iter().next());
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Why there is nothing to say yet.
pub fn at_rest(row: &Row) -> Option<String> {
    let cell = row.runs.iter().find(|run| run.accuracy.is_none())?;
    Some(match &cell.reason {
        Some(reason) => format!("{}: {reason}", cell.state),
        None => cell.state.clone(),
    })
}

/// `3 of 5 finished, 1 running, 1 would run`.
pub fn counts(state: &State, row: &Row) -> Option<String> {
    if row.runs.len() < 2 {
        return None;
    }
    let mut counts: Vec<(String, usize)> = Vec::new();
    for cell in &row.runs {
        let name = standing(state, cell).name().to_owned();
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    let finished = counts.iter().find(|(name, _)| name == RunState::Finished.name()).map_or(0, |(_, count)| *count);
    let mut text = format!("{finished} of {} finished", row.runs.len());
    for (name, count) in counts.iter().filter(|(name, _)| name != RunState::Finished.name()) {
        text.push_str(&format!(", {count} {name}"));
    }
    Some(text)
}
