//! Keys while something lies over the panes.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    attribution, board, browse, charts, data, dump, editor, jobs, keys, loupe, marks, messages, recipe, replace, runs,
    what_if,
};
use crate::workbench::command::{ALL, About, Command};
use crate::workbench::message::Effect;
use crate::workbench::palette;
use crate::workbench::pane::Pane;
use crate::workbench::state::{Chosen, Confirmed, InputFor, Menu, Notice, Overlay, State};

/// A key for the overlay, which is there.
pub fn key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    let Some(overlay) = state.overlay.take() else { return vec![] };
    match overlay {
        Overlay::Help { scroll } => scrolled(state, key, scroll, |scroll| Overlay::Help { scroll }),
        Overlay::Messages(view) => messages::key(state, key, view),
        Overlay::Jobs => jobs::key(state, key),
        Overlay::Page { title, lines, scroll } => {
            scrolled(state, key, scroll, |scroll| Overlay::Page { title, lines, scroll })
        }
        Overlay::Palette { input, cursor } => palette_key(state, key, input, cursor),
        Overlay::Filter => filter_key(state, key),
        Overlay::RowFilter => {
            row_filter_key(state, key);
            vec![]
        }
        Overlay::Retype => what_if::retype_key(state, key),
        Overlay::Menu(mut menu) => {
            let before = menu.cursor;
            match key.code {
                KeyCode::Esc | KeyCode::Char('q') => return close_menu(state, &menu),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                    return close_menu(state, &menu);
                }
                KeyCode::Down | KeyCode::Char('j') => {
                    menu.cursor = (menu.cursor + 1).min(menu.items.len().saturating_sub(1));
                }
                KeyCode::Up | KeyCode::Char('k') => menu.cursor = menu.cursor.saturating_sub(1),
                KeyCode::Home | KeyCode::Char('g') => menu.cursor = 0,
                KeyCode::End | KeyCode::Char('G') => menu.cursor = menu.items.len().saturating_sub(1),
                KeyCode::Enter | KeyCode::Char(' ') => {
                    let chosen = menu.items.into_iter().nth(menu.cursor).map(|item| item.then);
                    return chosen.map_or_else(Vec::new, |chosen| choose(state, chosen));
                }
                _ => {}
            }
            let moved = menu.cursor != before;
            let shown = menu.items.get(menu.cursor).filter(|_| moved).map(|item| item.then.clone());
            state.overlay = Some(Overlay::Menu(menu));
            // A theme is seen before it is taken.
            match shown {
                Some(Chosen::Theme(name)) => vec![super::load_theme(state, &name)],
                _ => vec![],
            }
        }
        Overlay::Batch => loupe::batch_key(state, key),
        Overlay::Confirm { question, then } => match key.code {
            KeyCode::Enter | KeyCode::Char('y' | 'Y') => {
                state.kept_editor = None;
                confirmed(state, then)
            }
            // Asked to leave and asked again: the answer is yes.
            KeyCode::Char('q') if then == Confirmed::Quit => confirmed(state, then),
            KeyCode::Esc | KeyCode::Char('n' | 'N' | 'q' | 'c') => {
                // Back to what the question was about.
                state.overlay = state.kept_editor.take().map(Overlay::Editor);
                vec![]
            }
            _ => {
                state.overlay = Some(Overlay::Confirm { question, then });
                vec![]
            }
        },
        Overlay::Input { title, mut text, then } => {
            match key.code {
                KeyCode::Esc => return vec![],
                KeyCode::Enter => return entered(state, &text, then),
                KeyCode::Char('e') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                    if let InputFor::Fork(point) = then {
                        return charts::edit_fork(state, &text, point);
                    }
                }
                _ => type_into(&mut text, key),
            }
            state.overlay = Some(Overlay::Input { title, text, then });
            vec![]
        }
        Overlay::Editor(editor) => editor::key(state, key, editor),
        Overlay::Replace(form) => replace::key(state, key, form),
    }
}

/// A menu is closed without a choice: what was only looked at is as it was.
pub fn close_menu(state: &State, menu: &Menu) -> Vec<Effect> {
    let of_themes = menu.items.iter().any(|item| matches!(item.then, Chosen::Theme(_)));
    if of_themes { vec![super::load_theme(state, &state.theme_name)] } else { vec![] }
}

/// No line that is typed needs more characters than this; a paste may have a million.
const MOST_PASTED: usize = 4096;

/// The first line of a pasted text, for what takes one line. Terminals send the end of a line as a carriage return.
pub fn first_line(text: &str) -> &str {
    let line = text.split(['\r', '\n']).next().unwrap_or_default();
    line.char_indices().nth(MOST_PASTED).map_or(line, |(end, _)| &line[..end])
}

/// Pasted text goes where typed text would go.
pub fn paste(state: &mut State, text: &str) -> Vec<Effect> {
    match &mut state.overlay {
        Some(Overlay::Editor(_)) => editor::paste(state, text),
        Some(Overlay::Replace(_)) => replace::paste(state, text),
        Some(Overlay::Input { text: input, .. } | Overlay::Palette { input, .. }) => {
            input.push_str(first_line(text));
            vec![]
        }
        Some(Overlay::Retype) => what_if::retype_paste(state, text),
        Some(Overlay::Filter) => {
            let filter = format!("{}{}", state.data.filter, first_line(text));
            data::set_filter(state, filter)
        }
        Some(Overlay::RowFilter) => {
            let filter = format!("{}{}", state.board.filter, first_line(text));
            board::set_filter(state, filter);
            vec![]
        }
        _ => vec![],
    }
}

fn scrolled(state: &mut State, key: KeyEvent, scroll: usize, back: impl FnOnce(usize) -> Overlay) -> Vec<Effect> {
    let page = usize::from(state.rows.saturating_sub(6)).max(1);
    let scroll = match key.code {
        KeyCode::Down | KeyCode::Char('j') => scroll + 1,
        KeyCode::Up | KeyCode::Char('k') => scroll.saturating_sub(1),
        KeyCode::PageDown | KeyCode::Char(' ' | 'd') => scroll + page,
        KeyCode::PageUp | KeyCode::Char('u') => scroll.saturating_sub(page),
        KeyCode::Home | KeyCode::Char('g') => 0,
        // Any other key closes what is only there to be read.
        _ => return vec![],
    };
    state.overlay = Some(back(scroll));
    vec![]
}

/// A printable key or a backspace at the end of a line of text.
pub fn type_into(text: &mut String, key: KeyEvent) {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('u') if control => text.clear(),
        KeyCode::Char('w') if control => {
            let end = text.trim_end().rfind(char::is_whitespace).map_or(0, |at| at + 1);
            text.truncate(end);
        }
        KeyCode::Char(c) if !control => text.push(c),
        KeyCode::Backspace => {
            text.pop();
        }
        _ => {}
    }
}

fn palette_key(state: &mut State, key: KeyEvent, mut input: String, mut cursor: usize) -> Vec<Effect> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let found: Vec<&About> = palette::find(&input);
    match key.code {
        KeyCode::Esc => return vec![],
        KeyCode::Char('c') if control => return vec![],
        KeyCode::Enter => {
            return found.get(cursor).map_or_else(Vec::new, |about| keys::run(state, about.command, None));
        }
        KeyCode::Down | KeyCode::Tab => cursor = (cursor + 1).min(found.len().saturating_sub(1)),
        KeyCode::Char('n') if control => cursor = (cursor + 1).min(found.len().saturating_sub(1)),
        KeyCode::Up | KeyCode::BackTab => cursor = cursor.saturating_sub(1),
        KeyCode::Char('p') if control => cursor = cursor.saturating_sub(1),
        _ => {
            type_into(&mut input, key);
            cursor = 0;
        }
    }
    debug_assert!(found.len() <= ALL.len());
    state.overlay = Some(Overlay::Palette { input, cursor });
    vec![]
}

fn filter_key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    match key.code {
        KeyCode::Enter => return vec![],
        KeyCode::Esc => return data::set_filter(state, String::new()),
        KeyCode::Down | KeyCode::Up => {
            let last = state.data.lines().saturating_sub(1);
            let cursor = state.data.cursor;
            state.data.cursor =
                if key.code == KeyCode::Down { (cursor + 1).min(last) } else { cursor.saturating_sub(1) };
            data::keep_cursor_visible(state);
            state.overlay = Some(Overlay::Filter);
            return data::look(state);
        }
        _ => {}
    }
    let mut filter = state.data.filter.clone();
    type_into(&mut filter, key);
    state.overlay = Some(Overlay::Filter);
    if filter == state.data.filter { vec![] } else { data::set_filter(state, filter) }
}

fn row_filter_key(state: &mut State, key: KeyEvent) {
    match key.code {
        KeyCode::Enter => return,
        KeyCode::Esc => return board::set_filter(state, String::new()),
        KeyCode::Down => board::go(state, Command::Down),
        KeyCode::Up => board::go(state, Command::Up),
        _ => {
            let mut filter = state.board.filter.clone();
            type_into(&mut filter, key);
            board::set_filter(state, filter);
        }
    }
    state.overlay = Some(Overlay::RowFilter);
}

/// Does what an item of a menu does.
pub fn choose(state: &mut State, chosen: Chosen) -> Vec<Effect> {
    match chosen {
        Chosen::Dataset(name) => vec![Effect::OpenDataset(name)],
        Chosen::Recipe(recipe) => recipe::set_recipe(state, recipe),
        Chosen::Source(source) => {
            let recipe = crate::rationale::Recipe { source, ..state.draft.rationale.clone() };
            recipe::set_recipe(state, recipe)
        }
        Chosen::Run(looked) => attribution::look_into(state, looked),
        Chosen::Beside(looked) => attribution::compare(state, looked),
        Chosen::Asked(asked) => attribution::ask_by(state, asked),
        Chosen::Keep(kept) => what_if::kept(state, kept),
        Chosen::Board(shown) => board::show(state, shown),
        Chosen::Rows(choice) => browse::choose(state, choice),
        Chosen::Theme(name) => {
            state.theme_name = name;
            vec![super::load_theme(state, &state.theme_name)]
        }
        Chosen::Display(forced) => {
            state.display.forced = forced;
            vec![Effect::Suit, super::load_theme(state, &state.theme_name)]
        }
        Chosen::Dump(format) => dump::chosen(state, format),
        Chosen::Student(name) => runs::set_student(state, &name),
        Chosen::OtherStudent => {
            runs::ask_student(state);
            vec![]
        }
    }
}

fn confirmed(state: &mut State, then: Confirmed) -> Vec<Effect> {
    match then {
        Confirmed::Quit => vec![Effect::Quit],
        Confirmed::Tour => {
            super::focus(state, Pane::Board);
            vec![Effect::StartTour]
        }
        Confirmed::Start(spec) => {
            super::focus(state, Pane::Training);
            vec![Effect::StartRun(spec)]
        }
        Confirmed::Stop(run) => vec![Effect::Control { run, command: crate::runs::control::Command::Stop }],
        Confirmed::Dump(format) => dump::write(state, format),
        Confirmed::Remove(run) => vec![Effect::RemoveRun(run)],
        Confirmed::DiscardEdit => {
            state.say(Notice::info("the edit was thrown away"));
            vec![]
        }
    }
}

fn entered(state: &mut State, text: &str, then: InputFor) -> Vec<Effect> {
    let text = text.trim();
    match then {
        // A fork may go on as its parent did.
        InputFor::Fork(point) => charts::fork(state, text, point),
        _ if text.is_empty() => vec![],
        InputFor::Student => runs::set_student(state, text),
        InputFor::Jump => browse::jump(state, text),
        InputFor::MarksFile => marks::save(state, text),
        InputFor::RunFile => vec![Effect::SaveRunFile { path: text.into(), spec: Box::new(state.draft.clone()) }],
    }
}
