//! The editor of a rationale, its key words marked, with how the student spells the word at the cursor below it.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::overlay::popup;
use super::{changes, draw_lines};
use crate::rationale::spelling::SpelledToken;
use crate::workbench::editor::Editor;
use crate::workbench::editor::keys::KEYS;
use crate::workbench::editor::wrap::{grapheme_at, shown};
use crate::workbench::keymap::key::label;
use crate::workbench::layout;
use crate::workbench::state::State;
use crate::workbench::widgets::flow::{cut, fit};

pub fn draw(frame: &mut Frame, area: Rect, state: &State, editor: &Editor) {
    let title = format!("rationale of {} ({})", editor.target.id, editor.target.source);
    let parts = layout::editor(area.width, area.height, editor.changes().is_some());
    let theme = &state.theme;
    popup(frame, area, state, &title, &hints(parts.popup.width), parts.popup.width, parts.popup.height);
    if editor.shows_help {
        let line = |key: &crate::workbench::editor::keys::Key| {
            let keys: Vec<String> = key.keys.split(' ').map(label).collect();
            Line::from(vec![
                Span::styled(fit(&keys.join("  "), 26), theme.accent.style()),
                Span::styled(key.what, theme.text.style()),
            ])
        };
        let all = Rect { height: parts.last.bottom() - parts.text.y, ..parts.text };
        return draw_lines(frame, all, KEYS.iter().map(line).collect(), 0);
    }
    for (row, range) in editor.shown().enumerate() {
        let place = Rect { y: parts.text.y + row as u16, height: 1, ..parts.text };
        frame.render_widget(text_row(state, editor, range), place);
    }
    if let (Some(found), Some(place)) = (editor.changes(), parts.changes) {
        let rule =
            format!("─ {} ", if found.iter().all(changes::is_kept) { "no word differs" } else { "what differs" });
        let rule = format!("{rule}{}", "─".repeat(usize::from(place.width).saturating_sub(rule.chars().count())));
        frame.render_widget(Line::styled(rule, theme.chrome.style()), Rect { height: 1, ..place });
        let below = Rect { y: place.y + 1, height: place.height.saturating_sub(1), ..place };
        draw_lines(frame, below, changes::lines(state, found, below.width), 0);
    }
    let word = editor.word().unwrap_or_default();
    let spelled = match &editor.spelled {
        Some(Ok(tokens)) => spelling(state, tokens, parts.last.width),
        Some(Err(problem)) => Line::styled(cut(problem, usize::from(parts.last.width)), theme.bad.style()),
        None if word.is_empty() => Line::styled("no word at the cursor", theme.chrome.style()),
        None => Line::styled("…", theme.chrome.style()),
    };
    frame.render_widget(spelled, parts.last);
}

/// The keys that matter most, as many as there is room for.
fn hints(width: u16) -> String {
    let mut out = String::new();
    for key in KEYS {
        let Some(hint) = key.hint else { continue };
        let first = key.keys.split(' ').next().unwrap_or_default();
        let mut name: String = label(first);
        if first == "f1" {
            name = "F1".into();
        } else if let Some(rest) = name.strip_prefix("ctrl-") {
            name = format!("Ctrl-{}", rest.to_uppercase());
        }
        let own = format!("{}{name} {hint}", if out.is_empty() { "" } else { "  " });
        if out.len() + own.len() + 4 > usize::from(width) {
            break;
        }
        out.push_str(&own);
    }
    out
}

/// A row of the text: key words marked, control characters as symbols, the cursor on its grapheme.
fn text_row(state: &State, editor: &Editor, range: std::ops::Range<usize>) -> Line<'static> {
    let theme = &state.theme;
    let text = editor.text();
    let mut spans: Vec<(String, Style)> = Vec::new();
    let mut put = |shown: &str, style: Style| match spans.last_mut() {
        Some((last, same)) if *same == style => last.push_str(shown),
        _ => spans.push((shown.to_owned(), style)),
    };
    let mut at = range.start;
    while at < range.end {
        let grapheme = grapheme_at(text, at);
        let mut style = if editor.is_marked(at) { theme.highlight.style() } else { theme.text.style() };
        let mut own = shown(grapheme);
        if at == editor.cursor() {
            style = style.patch(theme.cursor.style());
            if own.is_empty() {
                own = " ".into();
            }
        }
        put(&own, style);
        at += grapheme.len().max(1);
    }
    if editor.cursor() == text.len() && range.end == text.len() && !text[range].ends_with('\n') {
        put(" ", theme.cursor.style());
    }
    Line::from(spans.into_iter().map(|(text, style)| Span::styled(text, style)).collect::<Vec<_>>())
}

/// The tokens of a word: text, id, and the characters that it takes.
pub fn spelling(state: &State, tokens: &[SpelledToken], width: u16) -> Line<'static> {
    let theme = &state.theme;
    let plural = if tokens.len() == 1 { "" } else { "s" };
    let mut spans = vec![Span::styled(format!("{} token{plural} ", tokens.len()), theme.chrome.style())];
    let mut used = spans[0].width();
    for token in tokens {
        let place = match token.place.len() {
            1 => token.place.start.to_string(),
            _ => format!("{}–{}", token.place.start, token.place.end.saturating_sub(1)),
        };
        // The blank that belongs to a token is seen.
        let blank = if token.text.starts_with(char::is_whitespace) { "␣" } else { "" };
        let part = if token.is_part { "½ " } else { "" };
        let text = format!(" {part}{blank}{}", cut(token.text.trim_start(), 24));
        let rest = format!(" {} at {place} ", token.id);
        let own = [Span::styled(text, theme.text.style()), Span::styled(rest, theme.chrome.style())];
        used += own.iter().map(Span::width).sum::<usize>();
        if used + 1 > usize::from(width) {
            spans.push(Span::styled("…", theme.chrome.style()));
            break;
        }
        spans.extend(own);
    }
    Line::from(spans)
}
