//! What each token of the selected question costs a run's student: the attribution pane's other face.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::{draw_empty, draw_lines, frame_of};
use crate::evaluation::token_losses::{LOUD, TokenLosses, loudness};
use crate::workbench::loupe::Lossy;
use crate::workbench::pane::Pane;
use crate::workbench::state::State;
use crate::workbench::widgets::flow::{Piece, cut, wrap, wrap_text};

/// Tokens that are named with what they cost.
const NAMED: usize = 8;

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    let view = &state.loupe.loss;
    let title = match &view.result {
        Some(result) => {
            let run = &result.question.run;
            let run = state.runs.find(run).map_or_else(|| run.clone(), |run| run.spec.title_with_seed());
            let at = result.losses.checkpoints.first().map_or("", |checkpoint| &checkpoint.name);
            format!("loss of each token · {run} at {at}{}", if view.is_waiting { " …" } else { "" })
        }
        None => "loss of each token".to_owned(),
    };
    let inside = frame_of(frame, area, state, Pane::Attribution, &title);
    let inside = Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside };
    match (&view.result, &view.error) {
        (_, Some(error)) => draw_lines(frame, inside, wrap_text(error, state.theme.bad.style(), inside.width), 0),
        (Some(result), None) => draw_result(frame, inside, state, result),
        (None, None) if view.is_waiting => draw_empty(frame, inside, state, "asking the student …"),
        (None, None) => draw_empty(
            frame,
            inside,
            state,
            "no student to ask yet · n in the training pane trains one on this data set · r looks into another run",
        ),
    }
}

fn draw_result(frame: &mut Frame, area: Rect, state: &State, result: &Lossy) {
    let mut lines = Vec::new();
    for (number, sequence) in result.losses.sequences().enumerate() {
        if number > 0 {
            lines.push(Line::styled("and, as a sequence of its own", state.theme.chrome.style()));
        }
        let pieces: Vec<Piece> =
            sequence.iter().map(|token| Piece::new(token.text.as_str(), style_of(state, token))).collect();
        lines.extend(wrap(&pieces, area.width));
    }
    let below = below(state, result, area.width);
    let height = (below.len() as u16).min(area.height.saturating_sub(2));
    let text = Rect { height: area.height - height, ..area };
    draw_lines(frame, text, lines, state.attribution.scroll);
    draw_lines(frame, Rect { y: text.y + text.height, height, ..area }, below, 0);
}

/// Louder where it costs more. What does not count in the loss is dim, unless all are looked at.
fn style_of(state: &State, token: &TokenLosses) -> Style {
    let counts = token.weight > 0.0 || state.loupe.loss.shows_all;
    match token.at(0) {
        Some(loss) if counts && loudness(loss, 8) > 0 => state.theme.score(-f64::from((loss / LOUD).clamp(0.1, 1.0))),
        Some(_) if counts => state.theme.text.style(),
        _ => state.theme.chrome.style(),
    }
}

/// The costliest tokens, the means, the checkpoints, and what to bear in mind.
fn below(state: &State, result: &Lossy, width: u16) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let all = state.loupe.loss.shows_all;
    let mut tokens: Vec<&TokenLosses> =
        result.losses.sequences().flatten().filter(|token| all || token.weight > 0.0).collect();
    tokens.retain(|token| token.at(0).is_some());
    tokens.sort_by(|one, other| other.at(0).unwrap_or(0.0).total_cmp(&one.at(0).unwrap_or(0.0)));
    let mut pieces = vec![Piece::new("most\u{a0} ", theme.chrome.style())];
    for token in tokens.iter().take(NAMED) {
        // A loss and its token are never parted by a line break.
        pieces.push(Piece::new(format!("{:.2}\u{a0}", token.at(0).unwrap_or(0.0)), theme.text.style()));
        let name = cut(token.text.trim(), 16).replace(' ', "\u{a0}");
        pieces.push(Piece::new(if name.is_empty() { "·".to_owned() } else { name }, style_of(state, token)));
        pieces.push(Piece::new("  ", theme.text.style()));
    }
    let mut lines = vec![Line::default()];
    if !tokens.is_empty() {
        lines.extend(wrap(&pieces, width));
    }
    if let Some(checkpoint) = result.losses.checkpoints.first() {
        let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
        let means = format!(
            "a token that counts {}  label {}  rationale {}",
            number(checkpoint.loss),
            number(checkpoint.loss_label),
            number(checkpoint.loss_rationale)
        );
        lines.extend(wrap_text(&means, theme.text.style(), width));
        let shown = |step: &usize| match checkpoint.step == Some(*step) {
            true => format!("[{step}]"),
            false => step.to_string(),
        };
        let kept: Vec<String> = result.kept.iter().map(shown).collect();
        let what = if all { "all tokens; v: those that count" } else { "nats; dim: does not count, v: all" };
        let text = format!("checkpoints ([ ]) {} · {what}", kept.join(" "));
        lines.extend(wrap_text(&text, theme.chrome.style(), width));
        if checkpoint.broken > 0 {
            let text = format!(
                "the loss of {} tokens is no number, as where weights have diverged · [ looks at an earlier checkpoint",
                checkpoint.broken
            );
            lines.extend(wrap_text(&text, theme.bad.style(), width));
        }
    }
    if let Some(caveat) = &result.caveat {
        lines.extend(wrap_text(caveat, theme.warning.style(), width));
    }
    lines
}
