//! The examples that a step was fed, over the panes: those that cost most first.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::overlay::popup;
use super::{draw_empty, draw_lines};
use crate::runs::batch::{BatchExample, ExampleLoss, Near, StepBatch};
use crate::workbench::state::State;
use crate::workbench::widgets::flow::{cut, fit, wrap_text};

/// Columns of a number.
const NUMBER: usize = 8;

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    let Some(view) = &state.loupe.batch else { return };
    let title = format!("the batch of step {} of {}", view.step, view.run);
    let keys = "j/k choose  Enter to the question  Esc close";
    // As high as its examples, where they are few.
    let found = view.found.as_ref().and_then(|found| found.as_ref().ok());
    let rows = found.map_or(4, |batch| batch.examples.len() + 2 * batch.notes.len() + 11);
    let height = u16::try_from(rows).unwrap_or(u16::MAX).min(area.height.saturating_sub(2));
    let inside = popup(frame, area, state, &title, keys, 150, height);
    let batch = match &view.found {
        None => return draw_empty(frame, inside, state, "finding its examples, and asking what each costs …"),
        Some(Err(error)) => {
            draw_lines(frame, inside, wrap_text(error, state.theme.bad.style(), inside.width), 0);
            return;
        }
        Some(Ok(batch)) => batch,
    };
    let mut head = wrap_text(&says(batch), state.theme.text.style(), inside.width);
    for note in &batch.notes {
        head.extend(wrap_text(note, state.theme.warning.style(), inside.width));
    }
    head.truncate(usize::from(inside.height / 3).max(1));
    let height = head.len() as u16;
    draw_lines(frame, Rect { height, ..inside }, head, 0);
    let below = 5.min(inside.height.saturating_sub(height) / 2);
    let list = Rect { y: inside.y + height, height: inside.height.saturating_sub(height + below), ..inside };
    draw_list(frame, list, state, batch, view.cursor);
    let selected = Rect { y: list.y + list.height, height: below, ..inside };
    if let Some(example) = batch.examples.get(view.cursor) {
        draw_selected(frame, selected, state, batch, example);
    }
}

/// What is known of the step as a whole.
fn says(batch: &StepBatch) -> String {
    let took = match (&batch.event, &batch.skipped) {
        (Some(event), _) => {
            format!("loss {:.3}, lr {:.1e}, ‖g‖ {:.2} · ", event.loss, event.learning_rate, event.gradient_norm)
        }
        (None, Some(what)) => format!("skipped: its {what} was no number · "),
        (None, None) => String::new(),
    };
    let agrees = if batch.agrees == Some(true) { ", as the journal says" } else { "" };
    format!("{took}epoch {}, {} examples of {} tokens{agrees}", batch.epoch, batch.examples.len(), batch.tokens)
}

/// A checkpoint beside the step, and what an example costs there.
type Side<'a> = (&'a Near, fn(&BatchExample) -> Option<ExampleLoss>);

/// The sides of the step that were asked: the student before it and the one after it.
fn sides(batch: &StepBatch) -> Vec<Side<'_>> {
    let before = batch.before.as_ref().map(|near| (near, (|own| own.before) as fn(&BatchExample) -> _));
    let after = batch.after.as_ref().map(|near| (near, (|own| own.after) as fn(&BatchExample) -> _));
    before.into_iter().chain(after).collect()
}

fn draw_list(frame: &mut Frame, area: Rect, state: &State, batch: &StepBatch, cursor: usize) {
    let theme = &state.theme;
    let width = usize::from(area.width);
    let id = if width >= 110 { 20 } else { 10 };
    let is_accumulated = batch.examples.iter().any(|example| example.batch > 0);
    let sides = sides(batch);
    let mut head = "  ".to_owned();
    for (near, _) in &sides {
        head.push_str(&format!("{:>NUMBER$} ", format!("at {}", near.step)));
    }
    if is_accumulated {
        head.push_str("batch ");
    }
    head.push_str(&format!("tokens {} question", fit("id", id)));
    frame.render_widget(Line::styled(cut(&head, width), theme.chrome.style()), Rect { height: 1, ..area });
    let rows = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let height = usize::from(rows.height);
    let offset = cursor.saturating_sub(height / 2).min(batch.examples.len().saturating_sub(height));
    for (line, (place, own)) in batch.examples.iter().enumerate().skip(offset).take(height).enumerate() {
        let chosen = place == cursor;
        let base = if chosen { theme.selection.style() } else { theme.text.style() };
        let dim = base.patch(theme.chrome.style());
        let mut spans = vec![Span::styled(if chosen { "▸ " } else { "  " }, base)];
        let mut used = 2;
        for (_, loss) in &sides {
            spans.push(Span::styled(format!("{:>NUMBER$} ", shown(loss(own))), base));
            used += NUMBER + 1;
        }
        if is_accumulated {
            spans.push(Span::styled(format!("{:>5} ", own.batch + 1), dim));
            used += 6;
        }
        spans.push(Span::styled(format!("{:>6} {} ", own.tokens, fit(&own.id, id)), dim));
        used += 8 + id;
        spans.push(Span::styled(fit(&own.question, width.saturating_sub(used)), base));
        frame.render_widget(Line::from(spans), Rect { y: rows.y + line as u16, height: 1, ..rows });
    }
}

fn shown(loss: Option<ExampleLoss>) -> String {
    match loss {
        Some(ExampleLoss { loss: Some(loss), .. }) => format!("{loss:.3}"),
        Some(_) => "no number".chars().take(NUMBER).collect(),
        None => String::new(),
    }
}

/// The selected example in full, with what its parts cost.
fn draw_selected(frame: &mut Frame, area: Rect, state: &State, batch: &StepBatch, own: &BatchExample) {
    let theme = &state.theme;
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
    let parts: Vec<String> = sides(batch)
        .into_iter()
        .filter_map(|(near, loss)| loss(own).map(|loss| (near, loss)))
        .map(|(near, loss)| {
            let (label, rationale) = (number(loss.loss_label), number(loss.loss_rationale));
            format!("at step {}: label {label}, rationale {rationale}", near.step)
        })
        .collect();
    let mut lines = vec![Line::styled("─".repeat(usize::from(area.width)), theme.chrome.style())];
    let mut question = wrap_text(&own.question, theme.text.style(), area.width);
    question.truncate(usize::from(area.height).saturating_sub(3).max(1));
    lines.extend(question);
    let text = format!("a token {} · row {} of train", parts.join(" · "), own.row + 1);
    lines.extend(wrap_text(&text, theme.chrome.style(), area.width));
    draw_lines(frame, area, lines, 0);
}
