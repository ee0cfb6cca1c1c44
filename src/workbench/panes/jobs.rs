//! What is under way: the list of it, the bar in a pane, and the sign in the header.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Clear;
use unicode_width::UnicodeWidthStr;

use super::data::grouped;
use super::overlay::popup;
use super::{clock, draw_empty, glyph, state_style, time_left};
use crate::runs::Run;
use crate::workbench::command::Command;
use crate::workbench::display::Glyphs;
use crate::workbench::jobs::Job;
use crate::workbench::pane::Pane;
use crate::workbench::state::State;
use crate::workbench::update::{Listed, listed};
use crate::workbench::widgets::flow::{cut, fit};

/// Columns of a bar.
const BAR: usize = 12;
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A share as a bar of so many columns.
fn bar(share: f64, width: usize, glyphs: Glyphs) -> String {
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    if glyphs == Glyphs::Ascii {
        return fit(&"#".repeat(eighths / 8), width).replace(' ', ".");
    }
    fit(&format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8]), width)
}

/// `12,288 of 960,000 · KL 0.301`.
fn how_far(job: &Job) -> String {
    let mut text = match job.total {
        Some(total) => format!("{} of {}", grouped(job.done as usize), grouped(total as usize)),
        None if job.done > 0 => grouped(job.done as usize),
        None => String::new(),
    };
    if !job.note.is_empty() {
        text.push_str(if text.is_empty() || job.total.is_none() { " " } else { " · " });
        text.push_str(&job.note);
    }
    text.trim().to_owned()
}

fn seconds(milliseconds: u64) -> String {
    clock(milliseconds as f64 / 1000.0)
}

/// The line of a pane's job, over the last line of the pane.
pub fn draw_bar(frame: &mut Frame, area: Rect, state: &State, pane: Pane) {
    let Some(job) = state.jobs.shown_in(pane) else { return };
    if area.height < 5 || area.width < 20 {
        return;
    }
    let theme = &state.theme;
    let line = Rect { x: area.x + 1, y: area.bottom() - 2, width: area.width - 2, height: 1 };
    let mut spans = vec![Span::raw(" ")];
    if let Some(share) = job.share() {
        spans.push(Span::styled(bar(share, BAR, state.display.glyphs()), theme.accent.style()));
        spans.push(Span::styled(format!(" {:>3.0} % ", share * 100.0), theme.text.style()));
    }
    let time = match (job.is_cancelled, job.left) {
        (true, _) => "cancelling".to_owned(),
        (false, Some(left)) => format!("{} left", seconds(left)),
        (false, None) => format!("for {}", seconds(job.elapsed)),
    };
    let far = how_far(job);
    let far = if far.is_empty() { far } else { format!(" · {far}") };
    let key = state.keymap.keys(pane, Command::Jobs).first().map_or(String::new(), |key| format!(" · {key} jobs"));
    let used: usize = spans.iter().map(Span::width).sum();
    let text = format!("{time} · {}{far}{key}", job.name);
    spans.push(Span::styled(cut(&text, usize::from(line.width).saturating_sub(used)), theme.text.style()));
    frame.render_widget(Clear, line);
    frame.render_widget(Line::from(spans), line);
}

/// The sign in the header: how many jobs there are, and the key of their list.
pub fn sign(state: &State) -> Option<String> {
    let count = state.jobs.jobs.len();
    let key = state.keymap.keys(state.focus, Command::Jobs).first().map_or(String::new(), |key| format!("{key} "));
    (count > 0).then(|| format!("{key}{count} {}  ", if count == 1 { "job" } else { "jobs" }))
}

/// What a line of the list shows.
struct Row {
    sign: &'static str,
    style: Style,
    name: String,
    share: Option<f64>,
    far: String,
    elapsed: String,
    left: String,
    standing: String,
}

fn row_of_job(state: &State, job: &Job) -> Row {
    let standing = match (job.is_cancelled, job.task.can_stop()) {
        (true, _) => "cancelling",
        (false, true) => "under way",
        (false, false) => "ends by itself",
    };
    Row {
        sign: "●",
        style: state.theme.accent.style(),
        name: job.name.clone(),
        share: job.share(),
        far: how_far(job),
        elapsed: seconds(job.elapsed),
        left: job.left.map_or_else(|| "–".into(), seconds),
        standing: standing.into(),
    }
}

fn row_of_run(state: &State, run: &Run) -> Row {
    let history = &run.history;
    let (what, done, total) = history.progress.clone().unwrap_or_else(|| {
        let step = history.step();
        (String::new(), step, history.steps_planned.max(step))
    });
    let share = (total > 0).then(|| done as f64 / total as f64);
    Row {
        sign: glyph(run.state),
        style: state_style(state, run.state),
        name: run.spec.title_with_seed(),
        share,
        far: format!("{what} {} of {}", grouped(done), grouped(total)).trim().to_owned(),
        elapsed: super::training::took(run).unwrap_or_else(|| "–".into()),
        left: time_left(run).unwrap_or_else(|| "–".into()),
        standing: run.state.name().to_owned(),
    }
}

pub fn draw_list(frame: &mut Frame, area: Rect, state: &State) {
    let keys = "Enter go there  x cancel  Space pause a run  Esc close";
    let lines = listed(state);
    let height = (lines.len() as u16 + 3).clamp(6, area.height.saturating_sub(2).max(6));
    let inside = popup(frame, area, state, "jobs", keys, 110, height);
    let theme = &state.theme;
    if lines.is_empty() {
        draw_empty(frame, inside, state, "nothing is under way · what lasts longer than half a second is listed here");
        return;
    }
    let width = usize::from(inside.width);
    // Name, bar, how far, time, time left, standing; a narrow screen goes without the bar.
    let bar_width = if width >= 90 { BAR } else { 0 };
    let rest = width.saturating_sub(2 + bar_width + 1 + 9 + 9 + 15);
    let far = (rest * 11 / 20).min(30);
    let name = rest.saturating_sub(far + 1);
    let head = format!(
        "  {} {}{}{:>9}{:>9} ",
        fit("what", name),
        " ".repeat(bar_width + 1),
        fit("done", far),
        "so far",
        "left"
    );
    frame.render_widget(Line::styled(cut(&head, width), theme.chrome.style()), Rect { height: 1, ..inside });
    let rows = Rect { y: inside.y + 1, height: inside.height.saturating_sub(1), ..inside };
    let cursor = state.jobs.cursor.min(lines.len() - 1);
    let offset = (cursor + 1).saturating_sub(usize::from(rows.height));
    for (place, listed) in lines.into_iter().enumerate().skip(offset).take(usize::from(rows.height)) {
        let base = if place == cursor { theme.selection.style() } else { theme.text.style() };
        let row = match listed {
            Listed::Job(job) => row_of_job(state, job),
            Listed::Run(run) => row_of_run(state, run),
        };
        let drawn = row.share.map_or(String::new(), |share| bar(share, bar_width, state.display.glyphs()));
        let line = Line::from(vec![
            Span::styled(format!("{} ", row.sign), base.patch(row.style)),
            Span::styled(format!("{} ", fit(&row.name, name)), base),
            Span::styled(format!("{} ", fit(&drawn, bar_width)), base.patch(theme.accent.style())),
            Span::styled(fit(&row.far, far), base),
            Span::styled(format!("{:>9}{:>9} ", row.elapsed, row.left), base),
            Span::styled(cut(&row.standing, 14), base.patch(theme.chrome.style())),
        ]);
        debug_assert!(row.sign.width() == 1);
        frame.render_widget(line, Rect { y: rows.y + (place - offset) as u16, height: 1, ..rows });
    }
}
