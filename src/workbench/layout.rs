//! Which pane lies where. The update loop asks too: it must know how many rows are on the screen.

use ratatui::layout::{Constraint, Layout, Rect};

use super::browse::Below;
use super::pane::Pane;
use super::state::State;

/// The smallest terminal that the workbench can be used in.
pub const SMALLEST: (u16, u16) = (60, 16);

/// The parts of the screen.
pub struct Screen {
    pub header: Rect,
    /// Tabs and the selected question, where only one pane is shown.
    pub tabs: Option<Rect>,
    pub question: Option<Rect>,
    pub panes: Vec<(Pane, Rect)>,
    pub footer: Rect,
}

/// Divides the screen.
pub fn screen(state: &State) -> Screen {
    let area = Rect::new(0, 0, state.columns, state.rows);
    let single = state.zoomed || !state.is_wide() || state.focus == Pane::Board;
    let extra = if state.is_wide() { 0 } else { 2 };
    let [header, tabs, body, footer] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(extra), Constraint::Min(1), Constraint::Length(1)])
            .areas(area);
    let (tabs, question) = if extra > 0 {
        let [tabs, question] = Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(tabs);
        (Some(tabs), Some(question))
    } else {
        (None, None)
    };
    let panes = if single {
        vec![(state.focus, body)]
    } else {
        let [top, bottom] = Layout::vertical([Constraint::Percentage(52), Constraint::Percentage(48)]).areas(body);
        let halves = [Constraint::Percentage(46), Constraint::Percentage(54)];
        let [data, rationale] = Layout::horizontal(halves).areas(top);
        let [training, attribution] = Layout::horizontal(halves).areas(bottom);
        vec![
            (Pane::Data, data),
            (Pane::Rationale, rationale),
            (Pane::Training, training),
            (Pane::Attribution, attribution),
        ]
    };
    Screen { header, tabs, question, panes, footer }
}

/// Whether a pane is on the screen.
pub fn is_visible(state: &State, pane: Pane) -> bool {
    screen(state).panes.iter().any(|(other, _)| *other == pane)
}

/// Lines of a pane's inside.
fn inside(state: &State, pane: Pane) -> u16 {
    let screen = screen(state);
    let area = screen.panes.iter().find(|(other, _)| *other == pane).map_or(Rect::ZERO, |(_, area)| *area);
    area.height.saturating_sub(2)
}

/// How the data pane is divided: the table (with its head) and the selected question in full below it.
pub fn data_parts(inside: u16, below: &Below) -> (u16, u16) {
    let below = match below {
        Below::Question => (inside * 2 / 5).min(12),
        // These are looked at for themselves.
        Below::Histogram { .. } | Below::Beside { .. } => (inside / 2).min(20),
    };
    (inside - below, below)
}

/// Lines below the rule under the table of questions.
pub fn below_height(state: &State) -> usize {
    let (_, below) = data_parts(inside(state, Pane::Data), &state.data.below);
    usize::from(below.saturating_sub(1))
}

/// Rows of the table of questions.
pub fn table_height(state: &State) -> usize {
    let (table, _) = data_parts(inside(state, Pane::Data), &state.data.below);
    usize::from(table.saturating_sub(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workbench::theme::{Colours, Theme};

    #[test]
    fn small_screens_show_one_pane_and_large_ones_four() {
        let theme = Theme::load(std::path::Path::new("."), "mono", Colours::None).unwrap();
        let mut state = State::new("p".into(), true, theme, "mono".into());
        assert_eq!(screen(&state).panes.len(), 1);
        assert!(screen(&state).tabs.is_some());
        (state.columns, state.rows) = (120, 34);
        assert_eq!(screen(&state).panes.len(), 4);
        assert!(is_visible(&state, Pane::Attribution) && !is_visible(&state, Pane::Board));
        state.zoomed = true;
        assert_eq!(screen(&state).panes.len(), 1);
        (state.zoomed, state.focus) = (false, Pane::Board);
        assert!(is_visible(&state, Pane::Board) && !is_visible(&state, Pane::Data));
    }
}
