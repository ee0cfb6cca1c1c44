//! Which pane lies where. The update loop asks too: it must know how many rows are on the screen.

use ratatui::layout::{Constraint, Direction, Layout, Margin, Position, Rect};
use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthStr;

use super::browse::Below;
use super::pane::Pane;
use super::state::{Menu, State};

/// The smallest terminal that the workbench can be used in.
pub const SMALLEST: (u16, u16) = (60, 16);

/// The parts of the screen.
pub struct Screen {
    pub header: Rect,
    /// Tabs and the selected question, where only one pane is shown.
    pub tabs: Option<Rect>,
    pub question: Option<Rect>,
    pub panes: Vec<(Pane, Rect)>,
    /// What a demo says.
    pub caption: Option<Rect>,
    pub footer: Rect,
}

/// How the panes share the screen, in percent of it: the left panes' width, the upper panes' height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    pub left: u16,
    pub upper: u16,
}

impl Default for Split {
    fn default() -> Self {
        Self { left: 46, upper: 52 }
    }
}

impl Split {
    /// No pane is made so small that nothing can be read in it.
    fn kept(self) -> Self {
        Self { left: self.left.clamp(25, 75), upper: self.upper.clamp(25, 75) }
    }

    /// Moves the borders by so many percent.
    pub fn moved(self, left: i16, upper: i16) -> Self {
        Self { left: self.left.saturating_add_signed(left), upper: self.upper.saturating_add_signed(upper) }.kept()
    }
}

/// A border between panes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// Between left and right.
    Upright,
    /// Between above and below.
    Level,
}

/// The share of the board's column where all five panes are shown, in percent.
const BOARD: u16 = 26;

/// Divides the screen.
pub fn screen(state: &State) -> Screen {
    let area = Rect::new(0, 0, state.columns, state.rows);
    let single = state.zoomed || !state.is_wide() || (state.focus == Pane::Board && !state.is_huge());
    let extra = if state.is_wide() { 0 } else { 2 };
    let [header, tabs, body, caption, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(extra),
        Constraint::Min(1),
        Constraint::Length(state.caption_rows()),
        Constraint::Length(1),
    ])
    .areas(area);
    let caption = state.demo.is_some().then_some(caption);
    let (tabs, question) = if extra > 0 {
        let [tabs, question] = Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(tabs);
        (Some(tabs), Some(question))
    } else {
        (None, None)
    };
    let panes = if single {
        vec![(state.focus, body)]
    } else {
        let (four, board) = four_and_board(state, body);
        let [top, bottom] = halves(Direction::Vertical, state.split.upper).areas(four);
        let across = halves(Direction::Horizontal, state.split.left);
        let [data, rationale] = across.areas(top);
        let [training, attribution] = across.areas(bottom);
        let four = [
            (Pane::Data, data),
            (Pane::Rationale, rationale),
            (Pane::Training, training),
            (Pane::Attribution, attribution),
        ];
        four.into_iter().chain(board.map(|board| (Pane::Board, board))).collect()
    };
    Screen { header, tabs, question, panes, caption, footer }
}

fn halves(direction: Direction, first: u16) -> Layout {
    Layout::new(direction, [Constraint::Percentage(first), Constraint::Percentage(100 - first)])
}

/// The room of the four panes, and that of the board where there is some for it as well.
fn four_and_board(state: &State, body: Rect) -> (Rect, Option<Rect>) {
    if !state.is_huge() {
        return (body, None);
    }
    let [four, board] = halves(Direction::Horizontal, 100 - BOARD).areas(body);
    (four, Some(board))
}

/// The pane under a place of the screen.
pub fn pane_at(state: &State, at: Position) -> Option<(Pane, Rect)> {
    screen(state).panes.into_iter().find(|(_, area)| area.contains(at))
}

/// The tab under a place of the screen.
pub fn tab_at(state: &State, at: Position) -> Option<Pane> {
    let tabs = screen(state).tabs.filter(|tabs| tabs.contains(at))?;
    let mut x = tabs.x + 1;
    Pane::ALL.into_iter().find(|pane| {
        // As the tabs are drawn: the title, a sign on either side of it, and a blank.
        let width = tab_title(state, *pane).width() as u16 + 2;
        let own = (x..x + width).contains(&at.x);
        x += width + 1;
        own
    })
}

/// What stands on a pane's tab.
pub fn tab_title(state: &State, pane: Pane) -> String {
    let running = pane == Pane::Training && state.runs.active().next().is_some();
    format!("{} {}{}", pane.number(), pane.title(), if running { "●" } else { "" })
}

/// The border between panes under a place of the screen.
pub fn border_at(state: &State, at: Position) -> Option<Border> {
    let screen = screen(state);
    if screen.panes.len() < 4 {
        return None;
    }
    let area = |pane| screen.panes.iter().find(|(other, _)| *other == pane).map_or(Rect::ZERO, |(_, area)| *area);
    let (first, last) = (area(Pane::Data), area(Pane::Attribution));
    // A border is two lines thick: that of either pane.
    if (at.x + 1 == first.right() || at.x == last.x) && at.y >= first.y && at.y < last.bottom() {
        return Some(Border::Upright);
    }
    ((at.y + 1 == first.bottom() || at.y == last.y) && at.x < last.right()).then_some(Border::Level)
}

/// Moves a border to a place of the screen.
pub fn drag(state: &mut State, border: Border, at: Position) {
    let body = Rect { y: 1, height: state.rows.saturating_sub(2), ..Rect::new(0, 0, state.columns, state.rows) };
    let (four, _) = four_and_board(state, body);
    let percent = |part: u16, whole: u16| (u32::from(part) * 100 / u32::from(whole.max(1))) as u16;
    match border {
        Border::Upright => state.split.left = percent(at.x.saturating_sub(four.x) + 1, four.width),
        Border::Level => state.split.upper = percent(at.y.saturating_sub(four.y) + 1, four.height),
    }
    state.split = state.split.kept();
}

/// The line of the table of questions under a place of the screen, from the first that is shown.
pub fn table_line_at(state: &State, at: Position) -> Option<usize> {
    let (_, area) = screen(state).panes.into_iter().find(|(pane, _)| *pane == Pane::Data)?;
    // The border and the two lines of the table's head.
    let first = area.y + 3;
    let line = usize::from(at.y.checked_sub(first)?);
    (line < table_height(state)).then_some(line)
}

/// Lines of the list of runs in a training pane whose inside has so many.
pub fn runs_height(state: &State, inside: u16) -> u16 {
    // A list of one line more than there are runs is no use.
    (state.runs.runs.len() as u16).clamp(1, (inside / 4).max(2))
}

/// The first run of the list that is shown, by its place in it.
pub fn runs_offset(cursor: usize, height: u16) -> usize {
    (cursor + 1).saturating_sub(usize::from(height))
}

/// The run under a place of the screen, by its place among all.
pub fn run_at(state: &State, at: Position) -> Option<usize> {
    let (_, area) = screen(state).panes.into_iter().find(|(pane, _)| *pane == Pane::Training)?;
    let inside = area.inner(Margin::new(1, 1));
    let height = runs_height(state, inside.height);
    // The list is what the pane ends with.
    let line = at.y.checked_sub(inside.bottom().checked_sub(height)?).filter(|line| *line < height)?;
    let listed = state.runs.listed();
    let cursor = listed.iter().position(|(place, _)| *place == state.runs.cursor).unwrap_or(0);
    listed.get(runs_offset(cursor, height) + usize::from(line)).map(|(place, _)| *place)
}

/// A box in the middle of the screen.
pub fn popup_area(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width.saturating_sub(2)), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 3, width, height }
}

/// The height of a menu's box.
pub fn menu_height(area: Rect, menu: &Menu) -> u16 {
    (menu.items.len() as u16 + 2).min(area.height.saturating_sub(4))
}

/// The editor of a rationale.
pub struct EditorParts {
    pub popup: Rect,
    pub text: Rect,
    /// What differs, below the text.
    pub changes: Option<Rect>,
    /// The tokens of the word at the cursor.
    pub last: Rect,
}

/// Divides the editor's box on a screen of this size.
pub fn editor(columns: u16, rows: u16, shows_changes: bool) -> EditorParts {
    let height = if shows_changes { rows.saturating_sub(2) } else { (rows * 2 / 3).max(8) };
    let popup = popup_area(Rect::new(0, 0, columns, rows), 90, height);
    let inside = popup.inner(Margin::new(2, 1));
    let below = if shows_changes { (inside.height.saturating_sub(1)) / 2 } else { 0 };
    let text = Rect { height: inside.height.saturating_sub(1 + below).max(1), ..inside };
    let changes = shows_changes.then_some(Rect { y: text.bottom(), height: below, ..inside });
    let last = Rect { y: inside.bottom().saturating_sub(1), height: 1, ..inside };
    EditorParts { popup, text, changes, last }
}

/// The columns of a menu's box.
pub const MENU_WIDTH: u16 = 76;

/// The lines of a menu on the screen.
pub fn menu_area(state: &State, menu: &Menu) -> Rect {
    let area = Rect::new(0, 0, state.columns, state.rows);
    popup_area(area, MENU_WIDTH, menu_height(area, menu)).inner(Margin::new(1, 1))
}

/// The first item of a menu that is shown.
pub fn menu_offset(menu: &Menu, inside: Rect) -> usize {
    (menu.cursor + 1).saturating_sub(usize::from(inside.height))
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

/// The inside of the training pane, where it is on the screen.
pub fn training_inside(state: &State) -> Option<Rect> {
    let screen = screen(state);
    let (_, area) = screen.panes.iter().find(|(pane, _)| *pane == Pane::Training)?;
    Some(area.inner(Margin::new(1, 1)))
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
        (state.columns, state.rows) = (300, 100);
        assert!(Pane::ALL.iter().all(|pane| is_visible(&state, *pane)), "all panes");
    }
}
