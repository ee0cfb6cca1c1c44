//! The list of what was said: which message is under the cursor, and all that is known of it.

use crossterm::event::{KeyCode, KeyEvent};

use super::{Step, moved};
use crate::workbench::command::Command;
use crate::workbench::message::Effect;
use crate::workbench::messages::{MessagesView, Tail};
use crate::workbench::state::{Notice, Overlay, State};

/// Opens the list, on the newest message.
pub fn open(state: &mut State) {
    let at = state.log.listed(false).first().copied().unwrap_or(0);
    state.overlay = Some(Overlay::Messages(MessagesView { at, ..MessagesView::default() }));
}

/// What was said since has its time now, and errors go into the log of a project.
pub fn told(state: &mut State, time: &str) -> Vec<Effect> {
    let errors = state.log.stamp(time);
    if errors.is_empty() || !state.is_project || state.demo.is_some() { vec![] } else { vec![Effect::WriteLog(errors)] }
}

/// The end of a log, if its message is still open.
pub fn read(state: &mut State, tail: Tail) {
    if let Some(Overlay::Messages(view)) = &mut state.overlay
        && view.opened.is_some()
    {
        view.tail = Some(tail);
    }
}

/// A key for the list, or for the message that is open.
pub fn key(state: &mut State, key: KeyEvent, mut view: MessagesView) -> Vec<Effect> {
    let page = usize::from(state.rows.saturating_sub(6)).max(1);
    let movement = match key.code {
        KeyCode::Down | KeyCode::Char('j') => Some(Command::Down),
        KeyCode::Up | KeyCode::Char('k') => Some(Command::Up),
        KeyCode::PageDown | KeyCode::Char(' ' | 'd') => Some(Command::PageDown),
        KeyCode::PageUp | KeyCode::Char('u') => Some(Command::PageUp),
        KeyCode::Home | KeyCode::Char('g') => Some(Command::First),
        KeyCode::End | KeyCode::Char('G') => Some(Command::Last),
        _ => None,
    };
    let mut effects = vec![];
    let listed = state.log.listed(view.only_errors);
    let place = listed.iter().position(|place| *place == view.at).unwrap_or(0);
    match (movement, key.code, view.opened) {
        (Some(command), _, Some(scroll)) => {
            let by = Step { command, count: None, page };
            view.opened = Some(by.applied(scroll, usize::MAX / 2));
        }
        (Some(command), _, None) => {
            let place = moved(place, listed.len().saturating_sub(1), page, command);
            view.at = listed.get(place).copied().unwrap_or(0);
        }
        (None, KeyCode::Enter, None) if !listed.is_empty() => {
            (view.opened, view.tail) = (Some(0), None);
            let said = state.log.get(view.at);
            // Without a project there is no log; a recording that is shown again has no files.
            let path = said.and_then(|said| said.notice.source()).filter(|_| state.is_project);
            effects.extend(path.map(|path| Effect::ReadLog { path: path.to_owned() }));
        }
        (None, KeyCode::Char('y'), _) => {
            if let Some(said) = state.log.get(view.at) {
                effects.push(Effect::Copy(said.notice.whole()));
                // In the last line, and not at the top of this list.
                state.notice = Some(Notice::info("the message was copied"));
            }
        }
        (None, KeyCode::Char('e'), None) => {
            view.only_errors = !view.only_errors;
            let listed = state.log.listed(view.only_errors);
            if !listed.contains(&view.at) {
                view.at = listed.first().copied().unwrap_or(0);
            }
        }
        // From a message back to the list.
        (None, KeyCode::Esc | KeyCode::Char('q' | 'h') | KeyCode::Left, Some(_)) => view.opened = None,
        (None, KeyCode::Esc | KeyCode::Char('q' | 'c' | '!'), _) => return vec![],
        _ => {}
    }
    state.overlay = Some(Overlay::Messages(view));
    effects
}
