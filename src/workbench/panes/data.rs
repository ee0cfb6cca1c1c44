//! The table of questions and the selected one in full.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::{below, draw_empty, draw_lines, frame_of};
use crate::corpus::Example;
use crate::corpus::filter::Field;
use crate::workbench::browse::{Below, cell, is_number};
use crate::workbench::layout;
use crate::workbench::pane::Pane;
use crate::workbench::state::{Overlay, State};
use crate::workbench::widgets::flow::{Piece, cut, fit, wrap};

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    let inside = frame_of(frame, area, state, Pane::Data, &title(state));
    let (table, question) = layout::data_parts(inside.height, &state.data.below);
    let table = Rect { height: table, ..inside };
    let question = Rect { y: inside.y + table.height, height: question, ..inside };
    draw_table(frame, table, state);
    if question.height > 1 {
        let rule = "─".repeat(usize::from(question.width));
        let line = Rect { height: 1, ..question };
        frame.render_widget(Line::styled(rule, state.theme.chrome.style()), line);
        let below = Rect { y: question.y + 1, height: question.height - 1, ..question };
        match &state.data.below {
            Below::Question => draw_question(frame, below, state),
            Below::Histogram { field, found } => below::draw_histogram(frame, below, state, field, found.as_deref()),
            Below::Beside { other, found } => below::draw_beside(frame, below, state, other, found),
        }
    }
}

fn title(state: &State) -> String {
    let data = &state.data;
    let count = match data.count {
        None => "…".to_owned(),
        Some(count) if count.complete => grouped(count.rows),
        Some(count) => format!("{}+", grouped(count.rows)),
    };
    let position = if data.lines() > 0 { format!("{} of ", grouped(data.cursor + 1)) } else { String::new() };
    let by = data.predicted_by.as_ref().filter(|_| !data.predictions.is_empty()).and_then(|id| state.runs.find(id));
    let by = by.map_or_else(String::new, |run| format!(" · predicted by {}", run.spec.title_with_seed()));
    let order = match (&data.ordered.sort, data.ordered.reading) {
        (Some(sort), Some(read)) => format!(" · sorting by {} ({} read)", sort.by, grouped(read)),
        (Some(sort), None) => format!(" · by {} {}", sort.by, if sort.reversed { "↓" } else { "↑" }),
        (None, _) => String::new(),
    };
    let key = (state.draft.dataset.clone(), data.split.clone());
    let marked = data.marks.get(&key).map_or(0, |marks| marks.len());
    let marked = if marked > 0 { format!(" · ◆ {}", grouped(marked)) } else { String::new() };
    let follows = if data.follows { " · following" } else { "" };
    let by = format!("{order}{marked}{follows}{by}");
    match &data.matches {
        None => format!("{} · {position}{count}{by}", data.split),
        Some(matches) => {
            let more = if matches.done { String::new() } else { format!(" (searched {})", grouped(matches.scanned)) };
            format!("{} · {} of {count} match{more}{by}", data.split, grouped(matches.rows.len()))
        }
    }
}

/// `9,741`.
pub(super) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The columns with their widths. The question and the rationale share what the others leave.
fn widths(state: &State, width: u16) -> Vec<(Field, usize)> {
    let columns = &state.data.columns;
    let width = usize::from(width);
    let is_text = |column: &Field| matches!(column, Field::Question | Field::Rationale);
    let fixed = |column: &Field| {
        let widest = columns.widths.get(column).copied().unwrap_or(0);
        match column {
            // The question is what one reads; the others may be cut.
            Field::Id => widest.clamp(4, (width / 6).clamp(8, 20)),
            Field::Answer => widest.clamp(6, (width / 6).max(6)),
            Field::Predicted => 4,
            column => widest.max(heading(column).width()).min((width / 6).max(6)),
        }
    };
    let used: usize = columns.shown.iter().filter(|column| !is_text(column)).map(|column| fixed(column) + 1).sum();
    let texts = columns.shown.iter().filter(|column| is_text(column)).count();
    let rest = width.saturating_sub(used + texts + 1);
    let share = |column: &Field| if is_text(column) { rest / texts.max(1) } else { fixed(column) };
    columns.shown.iter().map(|column| (column.clone(), share(column))).collect()
}

fn heading(column: &Field) -> String {
    match column {
        Field::Predicted => "pred".into(),
        Field::Words(_) => "words".into(),
        column => column.to_string(),
    }
}

/// A cell as wide as its column; numbers at the right.
fn aligned(column: &Field, text: &str, width: usize) -> String {
    if is_number(column) { format!("{:>width$}", cut(text, width)) } else { fit(text, width) }
}

fn draw_filter(frame: &mut Frame, area: Rect, state: &State) {
    let theme = &state.theme;
    let filtering = matches!(state.overlay, Some(Overlay::Filter));
    let room = usize::from(area.width).saturating_sub(5);
    // Of a long filter the end is shown, which is where one types.
    let skip = state.data.filter.chars().count().saturating_sub(room);
    let shown: String = state.data.filter.chars().skip(skip).collect();
    let line = Line::from(vec![
        Span::styled(" / ", theme.accent.style()),
        Span::raw(cut(&shown, room)),
        Span::styled(if filtering { "▏" } else { "" }, theme.accent.style()),
    ]);
    frame.render_widget(line, Rect { height: 1, ..area });
    let Some(mistake) = &state.data.mistake else { return };
    // The sign stands under the place, where the reason fits after it; the column says it in any case.
    let text = mistake.to_string();
    let at = (mistake.column - 1).saturating_sub(skip).min(room) + 3;
    let width = usize::from(area.width);
    let line = if at + 2 + text.width() <= width {
        format!("{}▲ {text}", " ".repeat(at))
    } else {
        format!(" ▲ {}", cut(&text, width.saturating_sub(3)))
    };
    let below = Rect { y: area.y + 1, height: 1, ..area };
    frame.render_widget(Line::styled(line, theme.warning.style()), below);
}

fn draw_table(frame: &mut Frame, area: Rect, state: &State) {
    let theme = &state.theme;
    let columns = widths(state, area.width);
    let filtering = matches!(state.overlay, Some(Overlay::Filter));
    if state.data.mistake.is_none() {
        let sign = |column: &Field| match &state.data.ordered.sort {
            Some(sort) if sort.by == *column => {
                if sort.reversed {
                    "↓"
                } else {
                    "↑"
                }
            }
            _ => "",
        };
        let head = columns
            .iter()
            .map(|(column, width)| aligned(column, &format!("{}{}", heading(column), sign(column)), *width));
        let head = format!("  {}", head.collect::<Vec<_>>().join(" "));
        frame.render_widget(
            Line::styled(cut(&head, usize::from(area.width)), theme.chrome.style()),
            Rect { y: area.y + 1, height: 1, ..area },
        );
    }
    if filtering || !state.data.filter.is_empty() {
        draw_filter(frame, area, state);
    } else {
        let about = state.data.opened.as_ref().map_or("", |opened| opened.description.as_str());
        let line = Line::styled(format!(" {}", cut(about, usize::from(area.width) - 1)), theme.chrome.style());
        frame.render_widget(line, Rect { height: 1, ..area });
    }
    let rows = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
    if state.data.lines() == 0 && state.data.count.is_some_and(|count| count.complete) {
        draw_empty(frame, rows, state, &why_empty(state));
        return;
    }
    let key = (state.draft.dataset.clone(), state.data.split.clone());
    let marks = state.data.marks.get(&key);
    for line in 0..usize::from(rows.height) {
        let place = state.data.offset + line;
        let Some(row) = state.data.row_at(place) else { break };
        let area = Rect { y: rows.y + line as u16, height: 1, ..rows };
        let chosen = place == state.data.cursor;
        let base = if chosen { theme.selection.style() } else { theme.text.style() };
        let sign = if chosen { "▸" } else { " " };
        let spans = match state.data.loaded.get(&row) {
            None => vec![Span::styled(format!("{sign} …"), theme.chrome.style())],
            Some(Err(error)) => vec![Span::styled(
                fit(&format!("{sign} {error}"), usize::from(area.width)),
                base.patch(theme.bad.style()),
            )],
            Some(Ok(example)) => {
                let is_marked = marks.is_some_and(|marks| marks.contains(&example.id));
                let mark = if is_marked {
                    Span::styled("◆", base.patch(theme.accent.style()))
                } else {
                    Span::styled(" ", base)
                };
                let mut spans = vec![Span::styled(sign, base), mark];
                for (number, (column, width)) in columns.iter().enumerate() {
                    if number > 0 {
                        spans.push(Span::styled(" ", base));
                    }
                    spans.push(drawn(state, column, row, example, *width, base));
                }
                spans
            }
        };
        frame.render_widget(Line::from(spans), area);
    }
}

/// A cell of the table.
fn drawn(state: &State, column: &Field, row: usize, example: &Example, width: usize, base: Style) -> Span<'static> {
    let theme = &state.theme;
    match column {
        Field::Id => Span::styled(fit(&example.id, width), base.patch(theme.chrome.style())),
        Field::Predicted => {
            let (text, style) = match state.data.predictions.get(&example.id) {
                None => (String::new(), Style::default()),
                Some((label, true)) => (format!("✓ {}", label.as_deref().unwrap_or("–")), theme.good.style()),
                Some((label, false)) => (format!("✗ {}", label.as_deref().unwrap_or("–")), theme.bad.style()),
            };
            Span::styled(fit(&text, width), base.patch(style))
        }
        column => Span::styled(aligned(column, &cell(column, row, example), width), base),
    }
}

/// Why no row is shown.
fn why_empty(state: &State) -> String {
    let matches = match &state.data.matches {
        Some(matches) if matches.done => &state.data.meaning,
        Some(_) => return "searching …".into(),
        None => return "this split is empty · d opens another data set".into(),
    };
    let hint = if matches.needs_answers() && state.data.predictions.is_empty() {
        " · the run selected in the training pane has no answers to this split: 3 chooses another, s goes to the next \
         split"
            .to_owned()
    } else if matches.needs_marks() {
        " · m marks the question under the cursor".to_owned()
    } else {
        matches.hint().map_or_else(String::new, |hint| format!(" · {hint}"))
    };
    format!("nothing matches{hint} · Esc shows all questions again")
}

/// The selected question with its choices; the right one and the predicted one are marked.
fn draw_question(frame: &mut Frame, area: Rect, state: &State) {
    let theme = &state.theme;
    let Some(selected) = &state.data.selected else {
        draw_empty(frame, area, state, "no question is selected");
        return;
    };
    let example = &selected.example;
    let predicted = state.data.predictions.get(&example.id).and_then(|(label, _)| label.as_deref());
    let width = area.width.saturating_sub(1);
    let mut lines = wrap(&[Piece::new(example.question.as_str(), theme.text.style())], width);
    let mut pieces: Vec<Piece> = Vec::new();
    // Short choices share lines, long ones have one each.
    let longest = example.choices.iter().map(|choice| choice.text.width()).max().unwrap_or(0);
    let separate = longest > usize::from(width) / 3;
    for (place, choice) in example.choices.iter().enumerate() {
        let gold = example.answer.as_deref() == Some(choice.label.as_str());
        let guess = predicted == Some(choice.label.as_str());
        let style = match (gold, guess) {
            (true, _) => theme.good.style(),
            (false, true) => theme.bad.style(),
            _ => theme.text.style(),
        };
        let mark = match (gold, guess) {
            (true, true) => " ✓ predicted",
            (true, false) => " ✓",
            (false, true) => " ✗ predicted",
            _ => "",
        };
        // Blanks inside a choice do not break it from its label.
        let before = if !separate {
            "  "
        } else if place > 0 {
            "\n"
        } else {
            ""
        };
        pieces.push(Piece::new(format!("{before}{} {}{mark}", choice.label, choice.text), style));
    }
    lines.extend(wrap(&pieces, width));
    let fields: Vec<String> = example
        .extra
        .iter()
        .filter_map(|(name, value)| match value {
            serde_json::Value::String(text) if !text.is_empty() => Some(format!("{name}: {text}")),
            serde_json::Value::Number(number) => Some(format!("{name}: {number}")),
            serde_json::Value::Array(items) if !items.is_empty() => {
                let items: Vec<&str> = items.iter().filter_map(|item| item.as_str()).collect();
                (!items.is_empty()).then(|| format!("{name}: {}", items.join(" ")))
            }
            _ => None,
        })
        .collect();
    lines.extend(wrap(&[Piece::new(fields.join(" · "), theme.chrome.style())], width));
    let inside = Rect { x: area.x + 1, width, ..area };
    let height = usize::from(area.height);
    let scroll = state.data.scroll.min(lines.len().saturating_sub(height));
    if scroll + height < lines.len() {
        lines.truncate(scroll + height);
        if let Some(last) = lines.last_mut() {
            *last = Line::styled("… J reads on, K back", theme.chrome.style());
        }
    }
    draw_lines(frame, inside, lines, scroll);
}
