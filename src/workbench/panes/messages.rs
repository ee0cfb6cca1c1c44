//! What was said so far: the list, and one message with its causes and the end of the log that says more.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::overlay::popup;
use super::{draw_empty, draw_lines};
use crate::workbench::messages::{MessagesView, Said};
use crate::workbench::state::State;
use crate::workbench::theme::StyleSpec;
use crate::workbench::widgets::flow::{cut, wrap_text};

pub fn draw(frame: &mut Frame, area: Rect, state: &State, view: &MessagesView) {
    match view.opened.zip(state.log.get(view.at)) {
        Some((scroll, said)) => draw_one(frame, area, state, view, said, scroll),
        None => draw_list(frame, area, state, view),
    }
}

/// The time of day of an RFC 3339 time.
fn time_of(said: &Said) -> &str {
    said.time.as_deref().and_then(|time| time.get(11..19)).unwrap_or("")
}

fn sign_of(state: &State, said: &Said) -> (&'static str, StyleSpec) {
    if said.notice.is_error { ("✗", state.theme.bad) } else { ("·", state.theme.text) }
}

fn draw_list(frame: &mut Frame, area: Rect, state: &State, view: &MessagesView) {
    let title = if view.only_errors { "errors, newest first · UTC" } else { "messages, newest first · UTC" };
    let others = if view.only_errors { "e all" } else { "e errors only" };
    let keys = format!("Enter open  y copy  {others}  Esc close");
    let inside = popup(frame, area, state, title, &keys, 110, area.height.saturating_sub(2));
    let theme = &state.theme;
    let listed = state.log.listed(view.only_errors);
    if listed.is_empty() {
        let text = if view.only_errors { "nothing went wrong yet" } else { "nothing was said yet" };
        return draw_empty(frame, inside, state, text);
    }
    let cursor = listed.iter().position(|place| *place == view.at).unwrap_or(0);
    let offset = (cursor + 1).saturating_sub(usize::from(inside.height));
    for (row, place) in listed.iter().enumerate().skip(offset).take(usize::from(inside.height)) {
        let Some(said) = state.log.get(*place) else { continue };
        let base = if row == cursor { theme.selection.style() } else { theme.text.style() };
        let (sign, paint) = sign_of(state, said);
        let more = if said.notice.causes.is_empty() { "" } else { " …" };
        let room = usize::from(inside.width).saturating_sub(11 + more.len());
        let line = Line::from(vec![
            Span::styled(format!("{:<8} ", time_of(said)), base.patch(theme.chrome.style())),
            Span::styled(format!("{sign} "), base.patch(paint.style())),
            Span::styled(cut(&said.notice.text, room), base),
            Span::styled(more, base.patch(theme.chrome.style())),
        ]);
        frame.render_widget(line, Rect { y: inside.y + (row - offset) as u16, height: 1, ..inside });
    }
}

fn draw_one(frame: &mut Frame, area: Rect, state: &State, view: &MessagesView, said: &Said, scroll: usize) {
    let kind = if said.notice.is_error { "error" } else { "message" };
    let title = format!("{kind} {}", said.time.as_deref().unwrap_or("")).trim().to_owned();
    let inside = popup(frame, area, state, &title, "j/k scroll  y copy  Esc back", 110, area.height.saturating_sub(2));
    let (theme, width) = (&state.theme, inside.width);
    let (sign, paint) = sign_of(state, said);
    let mut lines = wrap_text(&format!("{sign} {}", said.notice.text), paint.style(), width);
    for cause in &said.notice.causes {
        lines.extend(wrap_text(&format!("  because {cause}"), theme.text.style(), width));
    }
    // Without a project nothing is written, so there is nothing to point to.
    if let Some(path) = said.notice.source().filter(|_| state.is_project) {
        lines.push(Line::default());
        lines.extend(wrap_text(&format!("more in {}", path.display()), theme.heading.style(), width));
        match view.tail.as_ref().filter(|tail| tail.path == path).map(|tail| &tail.lines) {
            None => lines.push(Line::styled("reading …", theme.chrome.style())),
            Some(Err(error)) => lines.extend(wrap_text(error, theme.chrome.style(), width)),
            Some(Ok(tail)) if tail.is_empty() => lines.push(Line::styled("it is empty", theme.chrome.style())),
            Some(Ok(tail)) => {
                lines.extend(tail.iter().flat_map(|line| wrap_text(line, theme.chrome.style(), width)));
            }
        }
    }
    draw_lines(frame, inside, lines, scroll);
}
