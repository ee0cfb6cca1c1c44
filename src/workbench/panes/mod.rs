//! Drawing: a pure function from the state to a frame. One file for each pane.

mod attribution;
mod batch;
mod below;
mod board;
mod caption;
mod changes;
mod data;
mod editor;
mod jobs;
mod lens;
mod loss;
mod messages;
mod overlay;
mod rationale;
mod replace;
mod training;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Borders, Clear, Paragraph};

use super::attribution::Looked;
use super::command::Command;
use super::hints;
use super::layout::{self, SMALLEST};
use super::pane::Pane;
use super::state::{Overlay, State};
use super::update::takes;
use super::widgets::flow::cut;
use crate::journal::RunState;
use crate::runs::Run;
use unicode_width::UnicodeWidthStr;

/// Draws everything.
pub fn draw(frame: &mut Frame, state: &State) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let ask = match &state.overlay {
            Some(Overlay::Confirm { question, .. }) => format!("{question} Enter yes, Esc no"),
            _ => "Make it larger, or press q to leave.".into(),
        };
        let text = format!(
            "afterthought needs {} x {} characters; this terminal has {} x {}.\n{ask}",
            SMALLEST.0, SMALLEST.1, area.width, area.height
        );
        frame.render_widget(Paragraph::new(text).wrap(ratatui::widgets::Wrap { trim: true }), area);
        return;
    }
    let screen = layout::screen(state);
    draw_header(frame, screen.header, state);
    if let (Some(tabs), Some(question)) = (screen.tabs, screen.question) {
        draw_tabs(frame, tabs, state);
        draw_question(frame, question, state);
    }
    for (pane, area) in &screen.panes {
        match pane {
            Pane::Data => data::draw(frame, *area, state),
            Pane::Rationale => rationale::draw(frame, *area, state),
            Pane::Training => training::draw(frame, *area, state),
            Pane::Attribution if state.lens.is_on() => lens::draw(frame, *area, state),
            Pane::Attribution => attribution::draw(frame, *area, state),
            Pane::Board => board::draw(frame, *area, state),
        }
        jobs::draw_bar(frame, *area, state, *pane);
    }
    if let Some(caption) = screen.caption {
        caption::draw(frame, caption, state);
    }
    draw_footer(frame, screen.footer, state);
    overlay::draw(frame, area, state);
}

/// Project, data set and student on the left; what runs on the right.
fn draw_header(frame: &mut Frame, area: Rect, state: &State) {
    let theme = &state.theme;
    let left = format!(" {} ▸ {}/{} ▸ {}", state.project, state.draft.dataset, state.data.split, state.draft.student);
    let active: Vec<&Run> = state.runs.active().collect();
    let running: Vec<_> = active.iter().filter(|run| run.state == RunState::Running).collect();
    let waiting = active.iter().filter(|run| run.state == RunState::Queued).count();
    // What runs is worth up to half of the line; the first part of the left side is never given up.
    let room = usize::from(area.width) - left.width().min(usize::from(area.width) / 2);
    let others = if running.len() > 1 || waiting > 0 { 20 } else { 0 };
    let mut right: Vec<Span> = Vec::new();
    let mut used = 0;
    let mut shown = 0;
    for run in &running {
        let text = progress_of(run);
        if shown > 0 && used + text.width() + 4 + others > room {
            break;
        }
        let text = cut(&text, room.saturating_sub(4 + others).max(20));
        used += text.width() + 4;
        shown += 1;
        right.push(Span::styled(format!("{} ", glyph(run.state)), theme.accent.style()));
        right.push(Span::raw(format!("{text}  ")));
    }
    for (count, what) in [(running.len() - shown, "more"), (waiting, "waiting")] {
        if count > 0 {
            right.push(Span::styled(format!("{count} {what}  "), theme.chrome.style()));
        }
    }
    right.extend(jobs::sign(state).map(|text| Span::styled(text, theme.accent.style())));
    if active.is_empty() || usize::from(area.width) >= 100 {
        let cores = if state.cores == 1 { "1 core ".to_owned() } else { format!("{} cores ", state.cores) };
        right.push(Span::styled(cores, theme.chrome.style()));
    }
    right.extend(status(state, usize::from(area.width)).map(|text| Span::styled(text, theme.chrome.style())));
    let right = Line::from(right);
    let room = usize::from(area.width).saturating_sub(right.width() + 1);
    frame.render_widget(Line::styled(cut(&left, room), theme.heading.style()), area);
    let width = (right.width() as u16).min(area.width);
    let place = Rect { x: area.right() - width, width, ..area };
    frame.render_widget(right, place);
}

/// What the line carries, and how the screen is suited to it: `ssh · 256 · braille ↕ 0.4 kB/s`.
fn status(state: &State, width: usize) -> Option<String> {
    let display = &state.display;
    let traffic = if state.traffic == 0 {
        "↕  –  kB/s ".to_owned()
    } else {
        // As wide for every number that a screen is likely to send.
        format!("↕ {:>4.1} kB/s ", state.traffic as f64 / 1000.0)
    };
    match width {
        140.. => {
            let (colours, glyphs) = (display.colours().short(), display.glyphs().name());
            let rate = display.forced.frame_rate.map_or_else(String::new, |rate| format!(" · {rate} fps"));
            Some(format!(" {} · {colours} · {glyphs}{rate} {traffic}", display.place().name()))
        }
        100.. => Some(traffic),
        _ => None,
    }
}

/// `post 512/800 00:07`.
fn progress_of(run: &Run) -> String {
    let name = cut(&run.spec.title_with_seed(), 24);
    if let Some((what, done, total)) = &run.history.progress {
        return format!("{name} {what} {done}/{total}");
    }
    let left = time_left(run).map(|left| format!(" {left}")).unwrap_or_default();
    format!("{name} {}/{}{left}", run.history.step(), run.history.steps_planned)
}

/// `07:31` until the last step, at the present speed.
fn time_left(run: &Run) -> Option<String> {
    if run.state != RunState::Running {
        return None;
    }
    let steps = &run.history.steps;
    let (first, last) = (steps.get(steps.len().saturating_sub(50))?, steps.last()?);
    let tokens = last.tokens.checked_sub(first.tokens)? as f64;
    let per_step = tokens / (last.step.checked_sub(first.step)? as f64).max(1.0);
    let left = run.history.steps_planned.saturating_sub(last.step) as f64;
    if tokens <= 0.0 || last.tokens_per_second <= 0.0 {
        return None;
    }
    Some(clock(left * per_step / last.tokens_per_second))
}

/// Seconds as `mm:ss`, or `h:mm:ss`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes:02}:{seconds:02}") }
}

/// A sign for each state, so that none is told by colour alone.
fn glyph(state: RunState) -> &'static str {
    match state {
        RunState::Queued => "◌",
        RunState::Running => "●",
        RunState::Paused => "‖",
        RunState::Finished => "✓",
        RunState::Stopped => "■",
        RunState::Failed => "✗",
        RunState::Interrupted => "!",
    }
}

fn state_style(state: &State, run: RunState) -> Style {
    match run {
        RunState::Running => state.theme.accent.style(),
        RunState::Finished => state.theme.good.style(),
        RunState::Failed | RunState::Interrupted => state.theme.bad.style(),
        RunState::Paused | RunState::Stopped => state.theme.warning.style(),
        RunState::Queued => state.theme.chrome.style(),
    }
}

fn draw_tabs(frame: &mut Frame, area: Rect, state: &State) {
    let mut spans = vec![Span::raw(" ")];
    for pane in Pane::ALL {
        let title = layout::tab_title(state, pane);
        if pane == state.focus {
            spans.push(Span::styled(format!("[{title}]"), state.theme.accent.style()));
        } else {
            spans.push(Span::styled(format!(" {title} "), state.theme.chrome.style()));
        }
        spans.push(Span::raw(" "));
    }
    frame.render_widget(Line::from(spans), area);
}

/// The selected question in one line, so that the thread is never lost.
fn draw_question(frame: &mut Frame, area: Rect, state: &State) {
    let Some(selected) = &state.data.selected else { return };
    let example = &selected.example;
    let gold = example.gold().map_or_else(String::new, |gold| format!(" → {}", gold.text));
    let text = format!(" {} · {}", cut(&example.id, 12), example.question);
    let room = usize::from(area.width).saturating_sub(1);
    let question = cut(&text, room.saturating_sub(gold.chars().count().min(room / 3)));
    let gold = cut(&gold, room.saturating_sub(question.chars().count()));
    let line = Line::from(vec![Span::raw(question), Span::styled(gold, state.theme.good.style())]);
    frame.render_widget(line, area);
}

/// What was said last, or the keys that always work.
fn draw_footer(frame: &mut Frame, area: Rect, state: &State) {
    let theme = &state.theme;
    if let Some(notice) = &state.notice {
        let sign = if notice.is_error { "✗ " } else { "· " };
        let style = if notice.is_error { theme.bad } else { theme.text };
        let text = format!(" {sign}{}", notice.text);
        let mut text = cut(&text, usize::from(area.width));
        if text.ends_with('…') {
            text = format!("{} · ! shows all", cut(&text, usize::from(area.width).saturating_sub(14)));
        } else if notice.is_error && !notice.causes.is_empty() && text.width() + 14 <= usize::from(area.width) {
            text.push_str(" · ! says why");
        }
        frame.render_widget(Line::styled(text, style.style()), area);
        return;
    }
    let active = state.runs.active().count();
    let leave = match active {
        0 => "leave".to_owned(),
        1 => "leave (1 run goes on)".to_owned(),
        more => format!("leave ({more} runs go on)"),
    };
    // From the most to the least needed; those that don't fit are left out.
    let hints = [
        (Command::Help, "keys"),
        (Command::Palette, "command"),
        (Command::NextPane, "next pane"),
        (Command::Zoom, "zoom"),
        (Command::FocusBoard, "board"),
        (Command::Tour, "tour"),
    ];
    let typing = &state.typing;
    if typing.is_begun() || typing.recording.is_some() {
        let labels: Vec<String> =
            typing.keys.iter().map(|key| crokey::KeyCombination::from(*key).to_string()).collect();
        let recording = if typing.recording.is_some() { "recording a macro, Q ends it · " } else { "" };
        let count = typing.count.map_or_else(String::new, |count| format!("{count} "));
        let text = format!(" {recording}{count}{}", labels.join(" "));
        frame.render_widget(Line::styled(cut(&text, usize::from(area.width)), theme.accent.style()), area);
        return;
    }
    let hint = |command, what: &str| {
        let key = state.keymap.keys(state.focus, command).first().copied().unwrap_or_default().to_owned();
        [Span::styled(key, theme.accent.style()), Span::styled(format!(" {what}  "), theme.chrome.style())]
    };
    let last = hint(Command::Quit, &leave);
    if let Some((key, text)) = hints::line(state) {
        let help = hint(Command::Help, "keys");
        let used: usize =
            1 + key.width() + [&last[..], &help[..]].iter().flat_map(|own| own.iter()).map(Span::width).sum::<usize>();
        let text = cut(text, usize::from(area.width).saturating_sub(used + 4));
        let mut spans = vec![
            Span::styled(format!(" {key}"), theme.accent.style()),
            Span::styled(format!(" {text}   "), theme.text.style()),
        ];
        spans.extend(help.into_iter().chain(last));
        frame.render_widget(Line::from(spans), area);
        return;
    }
    let mut used = 1 + last.iter().map(Span::width).sum::<usize>();
    let mut spans = vec![Span::raw(" ")];
    for (command, what) in hints {
        let own = hint(command, what);
        used += own.iter().map(Span::width).sum::<usize>();
        if used > usize::from(area.width) {
            break;
        }
        spans.extend(own);
    }
    spans.extend(last);
    frame.render_widget(Line::from(spans), area);
}

/// The border of a pane: what it shows on top, the keys that matter now below. Gives the inside.
fn frame_of(frame: &mut Frame, area: Rect, state: &State, pane: Pane, title: &str) -> Rect {
    let focused = state.focus == pane;
    let theme = &state.theme;
    let border = if focused { theme.accent.style() } else { theme.chrome.style() };
    let room = usize::from(area.width.saturating_sub(4));
    let name = format!("{} {}", pane.number(), pane.title());
    let rest = if title.is_empty() { String::new() } else { format!(" ─ {title}") };
    let heading = cut(&format!("{name}{rest}"), room);
    let mut block = Block::new()
        .borders(Borders::ALL)
        .border_type(if focused { BorderType::Thick } else { BorderType::Rounded })
        .border_style(border)
        .title_top(Line::styled(
            format!(" {heading} "),
            if focused { theme.accent.style() } else { theme.text.style() },
        ));
    if focused {
        let mut spans: Vec<Span> = Vec::new();
        let mut used = 0;
        // What the attribution pane's other faces have no use for is not offered there.
        let other_face = pane == Pane::Attribution && (state.lens.is_on() || state.loupe.shows_loss);
        let of_scores = |command: &Command| takes(*command) && (state.lens.is_on() || *command != Command::NextOver);
        for (key, hint, command) in state.keymap.hints(pane) {
            if other_face && of_scores(&command) {
                continue;
            }
            let width = key.chars().count() + hint.chars().count() + 3;
            if used + width > room {
                break;
            }
            used += width;
            spans.push(Span::styled(format!(" {key}"), theme.accent.style()));
            spans.push(Span::styled(format!(" {hint} "), theme.chrome.style()));
        }
        block = block.title_bottom(Line::from(spans));
    }
    let inside = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    inside
}

/// Lines from `scroll` on, as many as fit.
fn draw_lines(frame: &mut Frame, area: Rect, lines: Vec<Line>, scroll: usize) {
    let last = lines.len().saturating_sub(usize::from(area.height));
    for (row, line) in lines.into_iter().skip(scroll.min(last)).take(usize::from(area.height)).enumerate() {
        frame.render_widget(line, Rect { y: area.y + row as u16, height: 1, ..area });
    }
}

/// A run as panes call it, with its step where not the newest is meant.
fn run_title(state: &State, looked: &Looked) -> String {
    let name = state.runs.find(&looked.run).map_or_else(|| looked.run.clone(), |run| run.spec.title_with_seed());
    looked.step.map_or(name.clone(), |step| format!("{name} @{step}"))
}

/// What an empty pane says: what would fill it, and which key does that.
fn draw_empty(frame: &mut Frame, area: Rect, state: &State, text: &str) {
    let lines = super::widgets::flow::wrap_text(text, state.theme.chrome.style(), area.width.saturating_sub(2));
    let inside = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    draw_lines(frame, inside, lines, 0);
}
