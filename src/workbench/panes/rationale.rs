//! The teacher's rationale beside what the student sees of it.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{changes, draw_empty, draw_lines, editor, frame_of};
use crate::rationale::recipe::Placement;
use crate::rationale::tokens::words;
use crate::rationale::{Rendered, RenderedToken, Role};
use crate::workbench::pane::Pane;
use crate::workbench::state::State;
use crate::workbench::widgets::flow::{Piece, cut, fit, wrap, wrap_text};

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    let recipe = &state.draft.rationale;
    let title = format!("{recipe} · seed {}", state.draft.seed.ablation);
    let inside = frame_of(frame, area, state, Pane::Rationale, &title);
    let Some(selected) = &state.data.selected else {
        draw_empty(frame, inside, state, "no question is selected · 1 goes to the data pane");
        return;
    };
    let inside = Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside };
    if state.recipe.as_table {
        draw_table(frame, inside, state);
        return;
    }
    if state.recipe.shows_changes {
        draw_lines(frame, inside, change_lines(state, inside.width), state.recipe.scroll);
        return;
    }
    let theme = &state.theme;
    let mut lines = vec![teacher_heading(state)];
    match selected.example.rationale.as_deref().filter(|text| !text.trim().is_empty()) {
        Some(text) => {
            lines.extend(teacher_text(state, text, &selected.example.highlights, inside.width));
            if state.focus == Pane::Rationale {
                lines.push(spelling_line(state, inside.width));
            }
        }
        None => {
            let sources = state.data.opened.as_ref().map_or(String::new(), |opened| opened.sources.join(", "));
            let others = if sources.is_empty() { sources } else { format!(" · s takes them from {sources}") };
            lines.extend(wrap_text(
                &format!("no rationale · e writes one{others}"),
                theme.chrome.style(),
                inside.width,
            ));
        }
    }
    lines.push(Line::default());
    lines.extend(ablation_lines(state, inside.width));
    lines.push(Line::default());
    lines.extend(student_lines(state, inside.width));
    draw_lines(frame, inside, lines, state.recipe.scroll);
}

/// How the student spells the word under the cursor.
fn spelling_line(state: &State, width: u16) -> Line<'static> {
    let theme = &state.theme;
    match &state.recipe.spelled {
        Some(Ok(tokens)) => editor::spelling(state, tokens, width),
        Some(Err(problem)) => Line::styled(cut(problem, usize::from(width)), theme.bad.style()),
        None => Line::default(),
    }
}

/// What was changed of the selected question.
fn change_lines(state: &State, width: u16) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let mut lines = vec![teacher_heading(state)];
    let Some((rationale, question)) = &state.recipe.changes else {
        lines.push(Line::styled("…", theme.chrome.style()));
        return lines;
    };
    lines.extend(changes::lines(state, rationale, width));
    if !question.iter().all(changes::is_kept) {
        lines.extend([Line::default(), Line::styled("question", theme.heading.style())]);
        lines.extend(changes::lines(state, question, width));
    }
    let legend = Line::from(vec![
        Span::styled("−removed", theme.bad.style().add_modifier(Modifier::CROSSED_OUT)),
        Span::styled("  ", theme.chrome.style()),
        Span::styled("+added", theme.good.style().add_modifier(Modifier::UNDERLINED)),
        Span::styled("  d shows the text again", theme.chrome.style()),
    ]);
    lines.extend([Line::default(), legend]);
    lines
}

fn teacher_heading(state: &State) -> Line<'static> {
    let theme = &state.theme;
    let source = state.data.selected.as_ref().and_then(|selected| selected.example.rationale_source.clone());
    let edits = state.recipe.shown.as_ref().map_or(0, |shown| shown.edits);
    let mut spans = vec![Span::styled("teacher", theme.heading.style())];
    if let Some(source) = source {
        spans.push(Span::styled(format!("  {}", cut(&source, 40)), theme.chrome.style()));
    }
    if edits > 0 {
        spans.push(Span::styled(format!("  edited {edits}×"), theme.warning.style()));
    }
    Line::from(spans)
}

/// The teacher's text; marked words stand out, and so does the one under the cursor.
fn teacher_text(state: &State, text: &str, highlights: &[std::ops::Range<usize>], width: u16) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let text = text.trim();
    let characters: Vec<char> = text.chars().collect();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut from = 0;
    for (place, word) in words(text).into_iter().enumerate() {
        let marked = highlights.iter().any(|range| range.start < word.end && word.start < range.end);
        let mut style = if marked { theme.highlight.style() } else { theme.text.style() };
        if state.focus == Pane::Rationale && place == state.recipe.word {
            style = style.patch(theme.cursor.style());
        }
        let shown: String = characters[from..word.end].iter().collect();
        pieces.push(Piece::new(shown, style));
        from = word.end;
    }
    wrap(&pieces, width)
}

/// The recipe, one ablation a line.
fn ablation_lines(state: &State, width: u16) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let recipe = &state.draft.rationale;
    let what = match recipe.placement {
        Placement::None => "no rationale",
        Placement::Pre => "rationale before the label",
        Placement::Post => "rationale after the label",
        Placement::Multitask => "label and rationale as two tasks",
    };
    let mut lines = vec![Line::from(vec![
        Span::styled("recipe", theme.heading.style()),
        Span::styled(format!("  {what} · source {}{}", recipe.source, recipe.method()), theme.chrome.style()),
    ])];
    for (place, ablation) in recipe.ablations.iter().enumerate() {
        let chosen = place == state.recipe.cursor && state.focus == Pane::Rationale;
        let style = if chosen { theme.selection.style() } else { theme.text.style() };
        let sign = if chosen { "▸" } else { " " };
        lines.push(Line::styled(fit(&format!("{sign} {}. {ablation}", place + 1), usize::from(width)), style));
    }
    if recipe.ablations.is_empty() && recipe.placement != Placement::None {
        lines.push(Line::styled("  no ablation · a adds one", theme.chrome.style()));
    }
    lines
}

/// What the student sees, its tokens styled by role.
fn student_lines(state: &State, width: u16) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let mut heading = vec![Span::styled("student sees", theme.heading.style())];
    let shown = match (&state.recipe.shown, &state.recipe.error) {
        (_, Some(error)) => {
            let mut lines = vec![Line::from(heading)];
            lines.extend(wrap_text(error, theme.bad.style(), width));
            return lines;
        }
        (Some(shown), None) => shown,
        (None, None) => return vec![Line::from(heading), Line::styled("…", theme.chrome.style())],
    };
    let rendered = &shown.rendered;
    let all: Vec<&RenderedToken> = rendered.sequences().flat_map(|sequence| &sequence.tokens).collect();
    let counted = all.iter().filter(|token| token.loss > 0.0).count();
    heading.push(Span::styled(format!("  {} tokens, {counted} in the loss", all.len()), theme.chrome.style()));
    if rendered.truncated > 0 {
        heading.push(Span::styled(format!("  {} cut off", rendered.truncated), theme.warning.style()));
    }
    let mut lines = vec![Line::from(heading)];
    for (number, sequence) in rendered.sequences().enumerate() {
        if number > 0 {
            lines.push(Line::styled("and, as a sequence of its own", theme.chrome.style()));
        }
        lines.extend(wrap(&pieces(state, sequence), width));
    }
    if let Some(caveat) = &shown.caveat {
        lines.extend(wrap_text(caveat, theme.warning.style(), width));
    }
    if rendered.without_rationale {
        lines.push(Line::styled("this question has no rationale: label alone", theme.warning.style()));
    }
    lines.push(Line::from(vec![
        Span::styled("label", theme.label.style()),
        Span::styled(" · ", theme.chrome.style()),
        Span::styled("in the loss", theme.rationale.style()),
        Span::styled(" · ", theme.chrome.style()),
        Span::styled("rationale not in the loss", theme.unlearnt.style()),
        Span::styled(" · prompt", theme.text.style()),
    ]));
    lines
}

fn pieces<'a>(state: &State, rendered: &'a Rendered) -> Vec<Piece<'a>> {
    rendered.tokens.iter().map(|token| Piece::new(token.text.as_str(), style_of(state, token))).collect()
}

fn style_of(state: &State, token: &RenderedToken) -> Style {
    let theme = &state.theme;
    match token.role {
        Role::Label => theme.label.style(),
        _ if token.loss > 0.0 => theme.rationale.style(),
        Role::Rationale => theme.unlearnt.style(),
        Role::Separator | Role::End | Role::Padding => theme.chrome.style(),
        Role::Prompt => theme.text.style(),
    }
}

/// Every token with its id, its role and its weight.
fn draw_table(frame: &mut Frame, area: Rect, state: &State) {
    let theme = &state.theme;
    let Some(shown) = &state.recipe.shown else {
        draw_lines(frame, area, student_lines(state, area.width), 0);
        return;
    };
    let head = format!("{:>5} {:>7}  {:<10} {:>5}  {}", "place", "id", "role", "loss", "token");
    frame.render_widget(Line::styled(head, theme.chrome.style()), Rect { height: 1, ..area });
    let lines: Vec<Line> = shown
        .rendered
        .sequences()
        .flat_map(|sequence| sequence.tokens.iter().enumerate())
        .map(|(place, token)| {
            let role = match token.role {
                Role::Prompt => "prompt",
                Role::Label => "label",
                Role::Rationale => "rationale",
                Role::Separator => "separator",
                Role::Padding => "padding",
                Role::End => "end",
            };
            let loss = if token.loss > 0.0 { format!("{:.2}", token.loss) } else { "·".into() };
            let score = token.score.map_or_else(String::new, |score| format!("  score {score:+.3}"));
            Line::from(vec![
                Span::styled(format!("{place:>5} {:>7}  {role:<10} {loss:>5}  ", token.id), theme.chrome.style()),
                Span::styled(cut(token.text.trim_start(), 40), style_of(state, token)),
                Span::styled(score, theme.chrome.style()),
            ])
        })
        .collect();
    let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    draw_lines(frame, below, lines, state.recipe.scroll);
}
