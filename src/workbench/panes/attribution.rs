//! Which tokens a run's student rests its answer on.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{draw_empty, draw_lines, frame_of, loss};
use crate::attribution::{ExampleAttribution, Over};
use crate::rationale::Role;
use crate::workbench::pane::Pane;
use crate::workbench::state::Attributed;
use crate::workbench::state::State;
use crate::workbench::widgets::flow::{Piece, cut, wrap, wrap_text};

/// A convergence delta above this share of what the scores explain is marked: they then don't add up to it.
const GOOD_DELTA: f64 = 0.01;

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    if state.loupe.shows_loss {
        return loss::draw(frame, area, state);
    }
    let view = &state.attribution;
    let title = match &view.result {
        Some(result) => format!(
            "{} → log p({}) · integrated gradients{}",
            state.runs.find(&result.run).map_or_else(|| result.run.clone(), |run| run.spec.title_with_seed()),
            result.found.target,
            if view.is_waiting { " …" } else { "" }
        ),
        None => String::new(),
    };
    let inside = frame_of(frame, area, state, Pane::Attribution, &title);
    let inside = Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside };
    match (&view.result, &view.error) {
        (_, Some(error)) => {
            let lines = wrap_text(error, state.theme.bad.style(), inside.width);
            draw_lines(frame, inside, lines, 0);
        }
        (Some(result), None) => draw_result(frame, inside, state, result),
        (None, None) if view.is_waiting => draw_empty(frame, inside, state, "attributing …"),
        (None, None) => draw_empty(
            frame,
            inside,
            state,
            if state.runs.runs.iter().any(|run| run.has_checkpoint) {
                "no run on this data set with this student has weights to look into · n in the training pane trains \
                 one · r looks into another run"
            } else {
                "no student to look into yet · n in the training pane trains one on this data set · T starts the tour"
            },
        ),
    }
}

fn draw_result(frame: &mut Frame, area: Rect, state: &State, result: &Attributed) {
    let found = &result.found;
    let lines = tokens(state, found, area.width);
    let below = below(state, result, area.width);
    let height = (below.len() as u16).min(area.height.saturating_sub(2));
    let text = Rect { height: area.height - height, ..area };
    draw_lines(frame, text, lines, state.attribution.scroll);
    draw_lines(frame, Rect { y: text.y + text.height, height, ..area }, below, 0);
}

/// The tokens, coloured by score; the sign is also told by an underline, the top ones by a mark.
fn tokens(state: &State, found: &ExampleAttribution, width: u16) -> Vec<Line<'static>> {
    let largest = found.tokens.iter().filter_map(|token| token.score).fold(0f32, |max, score| max.max(score.abs()));
    let top = top_tokens(found, state.attribution.top);
    let only_rationale = state.attribution.over == Over::Rationale;
    let mut pieces = Vec::new();
    for (place, token) in found.tokens.iter().enumerate() {
        if only_rationale && token.role != Role::Rationale {
            continue;
        }
        let strength = token.score.map_or(0.0, |score| f64::from(score / largest.max(f32::MIN_POSITIVE)));
        let style = if token.score.is_some() { state.theme.score(strength) } else { state.theme.chrome.style() };
        pieces.push(Piece::new(token.text.clone(), style));
        if top.contains(&place) {
            pieces.push(Piece::new("*", state.theme.accent.style()));
        }
    }
    wrap(&pieces, width)
}

/// Places of the tokens with the highest scores.
fn top_tokens(found: &ExampleAttribution, count: usize) -> Vec<usize> {
    let score = |place: usize| found.tokens[place].score.unwrap_or(f32::NEG_INFINITY);
    let mut places: Vec<usize> =
        (0..found.tokens.len()).filter(|place| found.tokens[*place].role == Role::Rationale).collect();
    places.sort_by(|one, other| score(*other).total_cmp(&score(*one)));
    places.truncate(count);
    places
}

/// Top words, the convergence delta, the choices, and what to bear in mind.
fn below(state: &State, result: &Attributed, width: u16) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let found = &result.found;
    let good = found.convergence_delta.abs() <= GOOD_DELTA * (found.log_p - found.log_p_baseline).abs().max(0.1);
    let (style, remark) = if good { (theme.chrome, "") } else { (theme.warning, "! ") };
    let delta = format!("{remark}δ {:.0e}  ", found.convergence_delta);
    let mut pieces = vec![
        Piece::new(delta, style.style()),
        Piece::new(format!("top\u{a0}{}  ", state.attribution.top), theme.chrome.style()),
    ];
    // A score and its word are never parted by a line break.
    let mut add = |text: &str, score: f32, strength: f64| {
        pieces.push(Piece::new(format!("{score:+.2}\u{a0}"), theme.text.style()));
        pieces.push(Piece::new(cut(text, 16).replace(' ', "\u{a0}"), theme.score(strength)));
        pieces.push(Piece::new("  ", theme.text.style()));
    };
    let words = ranked(found);
    let (top, rest) = words.split_at(state.attribution.top.min(words.len()));
    top.iter().for_each(|(text, score)| add(text, *score, 1.0));
    let least = rest.last().filter(|(_, score)| *score <= -0.005);
    if let Some((text, score)) = least {
        add(text, *score, -1.0);
    }
    if least.is_some() {
        let place = pieces.len() - 3;
        pieces.insert(place, Piece::new("least\u{a0}", theme.chrome.style()));
    }
    let mut lines = vec![Line::default()];
    lines.extend(wrap(&pieces, width));

    let mut choices: Vec<Piece> = vec![Piece::new("among the choices", theme.chrome.style())];
    let gold = &found.target;
    for (label, text, p) in &result.choices {
        let right = text == gold || label == gold;
        let style = if right { theme.good } else { theme.text };
        choices.push(Piece::new(format!("  {}{label} {text} {p:.2}", if right { "✓" } else { "" }), style.style()));
    }
    lines.extend(wrap(&choices, width));

    let over = match state.attribution.over {
        Over::Rationale => "over its tokens",
        Over::Prompt => "over all tokens before the label",
    };
    let change = format!(
        "log p({}) {:.2} with the rationale, {:.2} at the {} baseline; {over}",
        found.target,
        found.log_p,
        found.log_p_baseline,
        found.baseline.name()
    );
    lines.extend(wrap_text(&change, theme.chrome.style(), width));
    if !good {
        let text = "δ: the scores don't add up to the difference of the two; read them with care";
        lines.extend(wrap_text(text, theme.warning.style(), width));
    }
    if !result.reads {
        let text = "this student never read a rationale before its label: a `pre` run or a reader (r) tells more";
        lines.extend(wrap_text(text, theme.warning.style(), width));
    }
    lines
}

/// Words of the rationale by their score, highest first.
fn ranked(found: &ExampleAttribution) -> Vec<(String, f32)> {
    let own = found.words.iter().filter(|word| word.role == Role::Rationale);
    let mut words: Vec<(String, f32)> =
        own.filter_map(|word| Some((word.text.trim().to_owned(), word.score?))).collect();
    words.sort_by(|one, other| other.1.total_cmp(&one.1));
    words
}
