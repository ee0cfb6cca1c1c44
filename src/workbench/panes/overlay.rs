//! What lies over the panes: help, palette, menus, questions and the editor.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Borders, Clear};
use unicode_width::UnicodeWidthStr;

use super::{batch, draw_lines, editor, jobs, messages, replace};
use crate::workbench::command::ALL;
use crate::workbench::keymap::Place;
use crate::workbench::layout;
use crate::workbench::palette;
use crate::workbench::state::{Menu, Overlay, State};
use crate::workbench::widgets::flow::{cut, fit, wrap_text};

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    match &state.overlay {
        None if !state.typing.keys.is_empty() => draw_chord(frame, area, state),
        None | Some(Overlay::Filter | Overlay::RowFilter | Overlay::Retype) => {}
        Some(Overlay::Help { scroll }) => draw_help(frame, area, state, *scroll),
        Some(Overlay::Messages(view)) => messages::draw(frame, area, state, view),
        Some(Overlay::Jobs) => jobs::draw_list(frame, area, state),
        Some(Overlay::Page { title, lines, scroll }) => {
            let inside = popup(frame, area, state, title, "j/k scroll  Esc close", 100, area.height - 2);
            let lines = lines.iter().flat_map(|line| wrap_text(line, state.theme.text.style(), inside.width)).collect();
            draw_lines(frame, inside, lines, *scroll);
        }
        Some(Overlay::Palette { input, cursor }) => draw_palette(frame, area, state, input, *cursor),
        Some(Overlay::Menu(menu)) => draw_menu(frame, area, state, menu),
        Some(Overlay::Batch) => batch::draw(frame, area, state),
        Some(Overlay::Confirm { question, .. }) => {
            let width = 72.min(area.width.saturating_sub(4));
            let lines = wrap_text(question, state.theme.text.style(), width.saturating_sub(4));
            let height = lines.len() as u16 + 2;
            let inside = popup(frame, area, state, "", "Enter yes  Esc no", width, height);
            draw_lines(frame, inside, lines, 0);
        }
        Some(Overlay::Input { title, text, .. }) => {
            let inside = popup(frame, area, state, title, "Enter take it  Esc cancel", 76, 3);
            let shown: String = {
                let room = usize::from(inside.width).saturating_sub(1);
                let skip = text.chars().count().saturating_sub(room);
                crate::text::line(&text.chars().skip(skip).collect::<String>()).into_owned()
            };
            let line = Line::from(vec![Span::raw(shown), Span::styled("▏", state.theme.accent.style())]);
            frame.render_widget(line, inside);
        }
        Some(Overlay::Editor(own)) => editor::draw(frame, area, state, own),
        Some(Overlay::Replace(form)) => replace::draw(frame, area, state, form),
    }
}

/// A box in the middle of the screen. Gives its inside.
pub(super) fn popup(
    frame: &mut Frame,
    area: Rect,
    state: &State,
    title: &str,
    keys: &str,
    width: u16,
    height: u16,
) -> Rect {
    let place = layout::popup_area(area, width, height);
    let theme = &state.theme;
    let mut block = Block::new()
        .borders(Borders::ALL)
        .border_type(BorderType::Double)
        .border_style(theme.accent.style())
        .title_bottom(Line::styled(format!(" {keys} "), theme.chrome.style()));
    if !title.is_empty() {
        block = block.title_top(Line::styled(
            format!(" {} ", cut(title, usize::from(place.width).saturating_sub(4))),
            theme.heading.style(),
        ));
    }
    let inside = block.inner(place);
    frame.render_widget(Clear, place);
    frame.render_widget(block, place);
    Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside }
}

/// What may follow the keys that were pressed, in a corner where it covers little.
fn draw_chord(frame: &mut Frame, area: Rect, state: &State) {
    let theme = &state.theme;
    let found = state.keymap.following(state.focus, &state.typing.keys);
    let keys = found.iter().map(|(keys, _)| keys.width()).max().unwrap_or(1);
    let does = found.iter().map(|(_, does)| does.width()).max().unwrap_or(1);
    let width = ((keys + does + 6) as u16).min(area.width);
    let height = (found.len() as u16 + 2).min(area.height.saturating_sub(2));
    // Above the last line, at the right.
    let place = Rect { x: area.right() - width, y: area.bottom().saturating_sub(height + 1), width, height };
    let block = Block::new().borders(Borders::ALL).border_type(BorderType::Double).border_style(theme.accent.style());
    let block = block.title_bottom(Line::styled(" Esc forgets it ", theme.chrome.style()));
    let inside = block.inner(place);
    frame.render_widget(Clear, place);
    frame.render_widget(block, place);
    for (row, (key, does)) in found.iter().take(usize::from(inside.height)).enumerate() {
        let line = Line::from(vec![
            Span::styled(format!(" {}  ", fit(key, keys)), theme.accent.style()),
            Span::styled((*does).to_owned(), theme.text.style()),
        ]);
        frame.render_widget(line, Rect { y: inside.y + row as u16, height: 1, ..inside });
    }
}

/// The keys that are valid here and now, made from the keymap.
fn draw_help(frame: &mut Frame, area: Rect, state: &State, scroll: usize) {
    let title = format!("keys in {}", state.focus.title());
    let inside =
        popup(frame, area, state, &title, "j/k scroll  any other key closes", 78, area.height.saturating_sub(2));
    let theme = &state.theme;
    let does = usize::from(inside.width).saturating_sub(32);
    let mut own: Vec<Line> = Vec::new();
    let mut everywhere: Vec<Line> = Vec::new();
    for about in ALL {
        let keys = state.keymap.keys(state.focus, about.command);
        if keys.is_empty() {
            continue;
        }
        let line = Line::from(vec![
            Span::styled(fit(&keys.join(" "), 14), theme.accent.style()),
            Span::styled(fit(about.name, 18), theme.text.style()),
            Span::styled(cut(state.keymap.does(state.focus, about.command), does), theme.chrome.style()),
        ]);
        match state.keymap.any_key(about.command) {
            Some((Place::Everywhere, _)) => everywhere.push(line),
            _ => own.push(line),
        }
    }
    let mut lines = own;
    if !lines.is_empty() {
        lines.push(Line::default());
    }
    lines.push(Line::styled("everywhere", theme.heading.style()));
    lines.extend(everywhere);
    draw_lines(frame, inside, lines, scroll);
}

fn draw_palette(frame: &mut Frame, area: Rect, state: &State, input: &str, cursor: usize) {
    let height = (area.height * 2 / 3).max(8);
    let inside = popup(frame, area, state, "command", "Enter do it  ↑↓ choose  Esc close", 78, height);
    let theme = &state.theme;
    let line = Line::from(vec![
        Span::styled(": ", theme.accent.style()),
        Span::raw(cut(input, usize::from(inside.width).saturating_sub(3))),
        Span::styled("▏", theme.accent.style()),
    ]);
    frame.render_widget(line, Rect { height: 1, ..inside });
    let rows = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside };
    let found = palette::find(input);
    let offset = (cursor + 1).saturating_sub(usize::from(rows.height));
    for (row, (place, about)) in found.iter().enumerate().skip(offset).take(usize::from(rows.height)).enumerate() {
        let base = if place == cursor { theme.selection.style() } else { theme.text.style() };
        // The key that works here, else the one of its own pane.
        let key = state.keymap.keys(state.focus, about.command).first().copied();
        let key = key.or_else(|| state.keymap.any_key(about.command).map(|(_, key)| key)).unwrap_or_default();
        let does = usize::from(rows.width).saturating_sub(30);
        let line = Line::from(vec![
            Span::styled(fit(about.name, 20), base),
            Span::styled(fit(state.keymap.does(state.focus, about.command), does), base.patch(theme.chrome.style())),
            Span::styled(format!("{:>10}", key), base.patch(theme.accent.style())),
        ]);
        frame.render_widget(line, Rect { y: rows.y + row as u16, height: 1, ..rows });
    }
    if found.is_empty() {
        frame.render_widget(Line::styled("no command is like that", theme.chrome.style()), rows);
    }
}

fn draw_menu(frame: &mut Frame, area: Rect, state: &State, menu: &Menu) {
    let height = layout::menu_height(area, menu);
    let inside = popup(frame, area, state, &menu.title, "Enter take it  Esc cancel", layout::MENU_WIDTH, height);
    let theme = &state.theme;
    let offset = layout::menu_offset(menu, inside);
    let name = menu.items.iter().map(|item| item.label.chars().count()).max().unwrap_or(0);
    let name = name.clamp(10, usize::from(inside.width) * 3 / 5);
    for (row, (place, item)) in menu.items.iter().enumerate().skip(offset).take(usize::from(inside.height)).enumerate()
    {
        let base = if place == menu.cursor { theme.selection.style() } else { theme.text.style() };
        let rest = usize::from(inside.width).saturating_sub(name + 4);
        let line = Line::from(vec![
            Span::styled(if place == menu.cursor { "▸ " } else { "  " }, base),
            Span::styled(fit(&item.label, name), base),
            Span::styled(format!("  {}", fit(&item.note, rest)), base.patch(theme.chrome.style())),
        ]);
        frame.render_widget(line, Rect { y: inside.y + row as u16, height: 1, ..inside });
    }
}
