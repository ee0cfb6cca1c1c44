//! The table of questions and the selected one in full.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::{draw_empty, draw_lines, frame_of};
use crate::corpus::Example;
use crate::corpus::filter::Filter;
use crate::workbench::layout;
use crate::workbench::pane::Pane;
use crate::workbench::state::{Overlay, State};
use crate::workbench::widgets::flow::{Piece, cut, fit, wrap};

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    let inside = frame_of(frame, area, state, Pane::Data, &title(state));
    let (table, question) = layout::data_parts(inside.height);
    let table = Rect { height: table, ..inside };
    let question = Rect { y: inside.y + table.height, height: question, ..inside };
    draw_table(frame, table, state);
    if question.height > 1 {
        let rule = "─".repeat(usize::from(question.width));
        let line = Rect { height: 1, ..question };
        frame.render_widget(Line::styled(rule, state.theme.chrome.style()), line);
        let below = Rect { y: question.y + 1, height: question.height - 1, ..question };
        draw_question(frame, below, state);
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
    match &data.matches {
        None => format!("{} · {position}{count}{by}", data.split),
        Some(matches) => {
            let more = if matches.done { String::new() } else { format!(" (searched {})", grouped(matches.scanned)) };
            format!("{} · {} of {count} match{more}{by}", data.split, grouped(matches.rows.len()))
        }
    }
}

/// `9,741`.
fn grouped(n: usize) -> String {
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

/// Widths of the columns: id, answer, prediction; the question has the rest.
fn widths(state: &State, width: u16) -> (usize, usize, usize) {
    let longest = |text: &dyn Fn(&Example) -> usize| state.data.loaded.values().flatten().map(text).max().unwrap_or(0);
    let width = usize::from(width);
    // The question is what one reads; the others may be cut.
    let id = longest(&|example| example.id.chars().count()).clamp(4, (width / 6).clamp(8, 20));
    let answer = longest(&|example| shown_answer(example).chars().count()).clamp(6, (width / 6).max(6));
    (id, answer, 4)
}

/// The label and, where there is room, what it says.
fn shown_answer(example: &Example) -> String {
    example.gold().map_or_else(|| "–".into(), |gold| format!("{} {}", gold.label, gold.text))
}

fn draw_table(frame: &mut Frame, area: Rect, state: &State) {
    let theme = &state.theme;
    let (id, answer, mark) = widths(state, area.width);
    let question = usize::from(area.width).saturating_sub(id + answer + mark + 5);
    let filtering = matches!(state.overlay, Some(Overlay::Filter));
    let first = Rect { height: 1, ..area };
    if filtering || !state.data.filter.is_empty() {
        let cursor = if filtering { "▏" } else { "" };
        let line = Line::from(vec![
            Span::styled(" / ", theme.accent.style()),
            Span::raw(cut(&state.data.filter, usize::from(area.width).saturating_sub(5))),
            Span::styled(cursor, theme.accent.style()),
        ]);
        frame.render_widget(line, first);
    } else {
        let about = state.data.opened.as_ref().map_or("", |opened| opened.description.as_str());
        let line = Line::styled(format!(" {}", cut(about, usize::from(area.width) - 1)), theme.chrome.style());
        frame.render_widget(line, first);
    }
    let head = format!("  {} {} {} pred", fit("id", id), fit("question", question), fit("answer", answer));
    frame.render_widget(
        Line::styled(cut(&head, usize::from(area.width)), theme.chrome.style()),
        Rect { y: area.y + 1, height: 1, ..area },
    );
    let rows = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
    if state.data.lines() == 0 && state.data.count.is_some_and(|count| count.complete) {
        let text = match &state.data.matches {
            Some(matches) if matches.done => {
                let filter = Filter::parse(&state.data.filter);
                let hint = if filter.needs_answers() && state.data.predictions.is_empty() {
                    " · the run selected in the training pane has no answers to this split: 3 chooses another, s goes to \
                     the next split"
                        .to_owned()
                } else {
                    filter.hint().map_or_else(String::new, |hint| format!(" · {hint}"))
                };
                format!("nothing matches{hint} · Esc shows all questions again")
            }
            Some(_) => "searching …".into(),
            None => "this split is empty · d opens another data set".into(),
        };
        draw_empty(frame, rows, state, &text);
        return;
    }
    for line in 0..usize::from(rows.height) {
        let place = state.data.offset + line;
        let Some(row) = state.data.row_at(place) else { break };
        let area = Rect { y: rows.y + line as u16, height: 1, ..rows };
        let chosen = place == state.data.cursor;
        let base = if chosen { theme.selection.style() } else { theme.text.style() };
        let sign = if chosen { "▸ " } else { "  " };
        let spans = match state.data.loaded.get(&row) {
            None => vec![Span::styled(format!("{sign}…"), theme.chrome.style())],
            Some(Err(error)) => vec![Span::styled(
                fit(&format!("{sign}{error}"), usize::from(area.width)),
                base.patch(theme.bad.style()),
            )],
            Some(Ok(example)) => {
                let predicted = state.data.predictions.get(&example.id);
                let (predicted, style) = match predicted {
                    None => ("".to_owned(), Style::default()),
                    Some((label, true)) => (format!("✓ {}", label.as_deref().unwrap_or("–")), theme.good.style()),
                    Some((label, false)) => (format!("✗ {}", label.as_deref().unwrap_or("–")), theme.bad.style()),
                };
                vec![
                    Span::styled(sign, base),
                    Span::styled(fit(&example.id, id), base.patch(theme.chrome.style())),
                    Span::styled(format!(" {} ", fit(&example.question, question)), base),
                    Span::styled(fit(&shown_answer(example), answer), base),
                    Span::styled(" ", base),
                    Span::styled(fit(&predicted, mark), base.patch(style)),
                ]
            }
        };
        frame.render_widget(Line::from(spans), area);
    }
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
