//! Searching and replacing: the form above, what would change below.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::data::grouped;
use super::overlay::popup;
use crate::corpus::replace::Hit;
use crate::text;
use crate::workbench::replace::{Field, Replace};
use crate::workbench::state::State;
use crate::workbench::widgets::flow::{cut, fit};

/// Columns of the names of the form's parts.
const NAMES: usize = 9;

pub fn draw(frame: &mut Frame, area: Rect, state: &State, form: &Replace) {
    let keys = match (form.applying, form.field) {
        (Some(_), _) => "Esc stop",
        (None, Field::List) => "Space leave out or take back  Enter replace  Tab next  Esc close",
        (None, Field::Place | Field::Scope) => "Space change  Tab next  Enter replace  Esc close",
        (None, _) => "text or /regex/, $1 what it caught  Tab next  Enter replace  Esc close",
    };
    let title = format!("search and replace in {}", state.data.split);
    let inside = popup(frame, area, state, &title, keys, 110, area.height.saturating_sub(2));
    let theme = &state.theme;
    let fields = [
        (Field::Find, "find", form.terms.find.as_str()),
        (Field::With, "replace", form.terms.with.as_str()),
        (Field::Place, "where", form.terms.place.name()),
        (Field::Scope, "in", form.scope.name()),
    ];
    for (row, (field, name, value)) in fields.into_iter().enumerate() {
        let place = Rect { y: inside.y + row as u16, height: 1, ..inside };
        let is_here = form.field == field;
        let room = usize::from(inside.width).saturating_sub(NAMES + 4);
        // Of a long text the end is shown, which is where one types.
        let skip = value.chars().count().saturating_sub(room);
        let shown = text::line(&value.chars().skip(skip).collect::<String>()).into_owned();
        let mut spans = vec![
            Span::styled(if is_here { "▸ " } else { "  " }, theme.accent.style()),
            Span::styled(fit(name, NAMES), theme.chrome.style()),
            Span::styled(shown, theme.text.style()),
        ];
        if is_here && matches!(field, Field::Find | Field::With) {
            spans.push(Span::styled("▏", theme.accent.style()));
        }
        frame.render_widget(Line::from(spans), place);
    }
    let status = Rect { y: inside.y + 4, height: 1, ..inside };
    frame.render_widget(status_line(state, form, inside.width), status);
    let list = Rect { y: inside.y + 5, height: inside.height.saturating_sub(5), ..inside };
    let offset = (form.cursor + 1).saturating_sub(usize::from(list.height));
    let shown = form.hits.iter().enumerate().skip(offset).take(usize::from(list.height));
    for (row, (place, hit)) in shown.enumerate() {
        let is_here = form.field == Field::List && place == form.cursor;
        let line = hit_line(state, form, hit, is_here, usize::from(list.width));
        frame.render_widget(line, Rect { y: list.y + row as u16, height: 1, ..list });
    }
}

fn status_line(state: &State, form: &Replace, width: u16) -> Line<'static> {
    let theme = &state.theme;
    let (questions, places) = form.counts();
    let left_out = form.hits.len() - questions;
    let text = match (&form.mistake, form.is_done) {
        (Some(mistake), _) => return Line::styled(cut(&format!("✗ {mistake}"), usize::from(width)), theme.bad.style()),
        _ if form.applying.is_some() => "replacing …".to_owned(),
        _ if form.generation == 0 => "what would change is listed here".to_owned(),
        (None, false) => format!("{} found, {} rows read …", grouped(form.hits.len()), grouped(form.read)),
        (None, true) if form.hits.is_empty() => format!("found nowhere in {} rows", grouped(form.read)),
        (None, true) => {
            let left_out = if left_out > 0 { format!(" · {} left out", grouped(left_out)) } else { String::new() };
            format!("{} places in {} questions{left_out}", grouped(places), grouped(questions))
        }
    };
    Line::styled(cut(&text, usize::from(width)), theme.heading.style())
}

/// One question: its id, how often, and the first change with its signs.
fn hit_line(state: &State, form: &Replace, hit: &Hit, is_here: bool, width: usize) -> Line<'static> {
    let theme = &state.theme;
    let is_out = form.left_out.contains(&hit.id);
    let base = if is_here { theme.selection.style() } else { Style::default() };
    let sign = if is_out { "  " } else { "✓ " };
    let mut spans = vec![
        Span::styled(sign, base.patch(theme.accent.style())),
        Span::styled(fit(&hit.id, 14), base.patch(theme.text.style())),
        Span::styled(format!(" {:>3}× ", hit.count), base.patch(theme.chrome.style())),
    ];
    let mut left = width.saturating_sub(spans.iter().map(Span::width).sum());
    let excerpt = &hit.excerpt;
    let removed = theme.bad.style().add_modifier(Modifier::CROSSED_OUT);
    let added = theme.good.style().add_modifier(Modifier::UNDERLINED);
    let chrome = theme.chrome.style();
    let own = |own: Style| if is_out { chrome } else { own };
    // The change is what one reads: what stands before it gives way.
    let change = excerpt.removed.width() + excerpt.added.width() + 3;
    let lead = cut_front(&excerpt.lead, left.saturating_sub(change + 8).min(30));
    let parts = [
        (lead, theme.text.style()),
        (if excerpt.removed.is_empty() { String::new() } else { format!("−{}", excerpt.removed) }, removed),
        (if excerpt.removed.is_empty() || excerpt.added.is_empty() { "" } else { " " }.into(), theme.text.style()),
        (if excerpt.added.is_empty() { String::new() } else { format!("+{}", excerpt.added) }, added),
        (excerpt.tail.clone(), theme.text.style()),
    ];
    for (text, style) in parts {
        let shown = cut(&text, left);
        left = left.saturating_sub(shown.width());
        spans.push(Span::styled(shown, base.patch(own(style))));
    }
    Line::from(spans)
}

/// The end of a text, as much as fits.
fn cut_front(text: &str, width: usize) -> String {
    let text = text::line(text);
    let mut used = 0;
    let kept: Vec<char> = text
        .chars()
        .rev()
        .take_while(|c| {
            used += c.to_string().width();
            used <= width
        })
        .collect();
    kept.into_iter().rev().collect()
}
