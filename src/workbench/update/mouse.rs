//! The mouse: what is clicked on is focused and selected, the wheel moves, and borders between panes can be dragged.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Position;

use super::{data, focus, go, overlay, runs};
use crate::workbench::command::Command;
use crate::workbench::layout;
use crate::workbench::message::{Effect, Mouse, MouseDoes};
use crate::workbench::pane::Pane;
use crate::workbench::state::{Overlay, State};

/// Rows that a notch of the wheel moves.
const NOTCH: usize = 3;

pub fn take(state: &mut State, event: Mouse) -> Vec<Effect> {
    let at = Position::new(event.column, event.row);
    match event.what {
        MouseDoes::WheelDown => wheel(state, at, Command::Down),
        MouseDoes::WheelUp => wheel(state, at, Command::Up),
        MouseDoes::Press => press(state, at),
        MouseDoes::Drag => {
            if let Some(border) = state.dragged {
                layout::drag(state, border, at);
                data::keep_cursor_visible(state);
            }
            vec![]
        }
        MouseDoes::Release => {
            state.dragged = None;
            vec![]
        }
    }
}

fn wheel(state: &mut State, at: Position, command: Command) -> Vec<Effect> {
    if state.overlay.is_some() {
        // What lies over the panes moves as by the arrows.
        let code = if command == Command::Down { KeyCode::Down } else { KeyCode::Up };
        return overlay::key(state, KeyEvent::new(code, KeyModifiers::NONE));
    }
    if let Some((pane, _)) = layout::pane_at(state, at)
        && pane != state.focus
    {
        focus(state, pane);
    }
    go(state, command, Some(NOTCH))
}

fn press(state: &mut State, at: Position) -> Vec<Effect> {
    if let Some(overlay) = state.overlay.take() {
        return press_overlay(state, overlay, at);
    }
    if let Some(border) = layout::border_at(state, at) {
        state.dragged = Some(border);
        return vec![];
    }
    if let Some(pane) = layout::tab_at(state, at) {
        focus(state, pane);
        return super::attribution::ask(state);
    }
    let Some((pane, _)) = layout::pane_at(state, at) else { return vec![] };
    if pane != state.focus {
        focus(state, pane);
    }
    match pane {
        Pane::Data => match layout::table_line_at(state, at) {
            Some(line) if state.data.offset + line < state.data.lines() => {
                state.data.cursor = state.data.offset + line;
                data::keep_cursor_visible(state);
                data::look(state)
            }
            _ => vec![],
        },
        Pane::Training => match layout::run_at(state, at) {
            Some(run) => {
                (state.runs.cursor, state.runs.follows_newest) = (run, false);
                let mut effects = runs::ask_predictions(state);
                effects.extend(super::attribution::ask(state));
                effects
            }
            None => super::attribution::ask(state),
        },
        // A pane that was not looked at may have waited for that.
        _ => super::attribution::ask(state),
    }
}

/// A click on a menu's line takes it, one beside what lies over the panes closes it, unless something is typed there.
fn press_overlay(state: &mut State, mut overlay: Overlay, at: Position) -> Vec<Effect> {
    if let Overlay::Menu(menu) = &mut overlay {
        let inside = layout::menu_area(state, menu);
        if inside.contains(at) {
            menu.cursor = layout::menu_offset(menu, inside) + usize::from(at.y - inside.y);
            state.overlay = Some(overlay);
            return overlay::key(state, KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE));
        }
        return overlay::close_menu(state, menu);
    }
    match overlay {
        Overlay::Help { .. } | Overlay::Messages(_) | Overlay::Jobs | Overlay::Page { .. } => {}
        other => state.overlay = Some(other),
    }
    vec![]
}
