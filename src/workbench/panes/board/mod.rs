//! The board: conditions, how sure their numbers are, and what may be said of them.

mod cells;
mod questions;
mod row;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{draw_empty, draw_lines, frame_of};
use crate::studies::table::{Against, Row, RowKind, Section};
use crate::workbench::board::{Face, Shown, Sort};
use crate::workbench::pane::Pane;
use crate::workbench::state::{Overlay, State};
use crate::workbench::widgets::flow::{cut, fit, fit_middle, wrap_text};

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    let board = &state.board;
    match &board.face {
        Face::Row { run } => return row::draw(frame, area, state, *run),
        Face::Questions(view) => return questions::draw(frame, area, state, view),
        Face::Table => {}
    }
    let inside = frame_of(frame, area, state, Pane::Board, &title(state));
    let Some(table) = &board.table else {
        match &board.error {
            Some(error) => {
                let text = format!("{error} · S shows another study, or all runs");
                draw_lines(frame, inside, wrap_text(&text, state.theme.bad.style(), inside.width), 0);
            }
            None => draw_empty(frame, inside, state, "reading the runs …"),
        }
        return;
    };
    if table.sections.is_empty() {
        let text =
            "nothing to compare yet · T starts the tour: the paper's three findings on the toy world · S shows a study";
        draw_empty(frame, inside, state, text);
        return;
    }
    // What the selected row shows, in full, below the table.
    let below = 6.min(inside.height / 3);
    let rows = Rect { height: inside.height - below, ..inside };
    draw_table(frame, rows, state);
    let selected = Rect { y: rows.y + rows.height, height: below, ..inside };
    draw_selected(frame, selected, state);
}

fn title(state: &State) -> String {
    let board = &state.board;
    let of = match &board.shown {
        Shown::Project => "all runs".to_owned(),
        Shown::Study(name) => name.clone(),
    };
    let Some(table) = &board.table else { return of };
    let conditions = || {
        let rows = table.sections.iter().flat_map(|section| &section.rows);
        rows.filter(|row| row.kind == RowKind::Condition)
    };
    let finished = conditions().filter(|row| row.accuracy.is_some()).count();
    let count = match conditions().count() {
        1 => format!("1 condition, {finished} with a result"),
        more => format!("{more} conditions, {finished} with a result"),
    };
    let sort = if board.sort == Sort::Listed { String::new() } else { format!(" · {}", board.sort.name()) };
    let (all, done) = (table.runs().count(), table.runs().filter(|cell| cells::is_finished(state, cell)).count());
    let open = if done < all { format!(" · {done}/{all} cells") } else { String::new() };
    let waits = if board.asked > board.have { " …" } else { "" };
    format!("{of} · {count}{open}{sort}{waits}")
}

/// Which columns there is room for, and how wide they are.
struct Columns {
    width: usize,
    /// Whether a row's difference and verdict stand beside its numbers, and not below them.
    is_wide: bool,
    name: usize,
    bar: usize,
    unparsable: usize,
    /// Signs of cells, one each.
    strip: usize,
    /// That, and how many of them are finished.
    runs: usize,
}

impl Columns {
    const ACCURACY: usize = 13;
    const INTERVAL: usize = 15;
    const CUT: usize = 7;
    const DIFFERENCE: usize = 24;
    const P: usize = 9;

    fn of(state: &State, width: u16) -> Self {
        let width = usize::from(width);
        let is_wide = width >= 140;
        let rows = || state.board.table.iter().flat_map(|table| &table.sections).flat_map(|section| &section.rows);
        let most = rows().map(|row| row.runs.len()).max().unwrap_or(0);
        let strip = most.min(if is_wide { 10 } else { 5 });
        let runs = 1 + strip + 2 + 2 * most.to_string().len() + 1;
        let bar = match width {
            160.. => 12,
            100.. => 6,
            _ => 0,
        };
        let bar_used = if bar > 0 { bar + 2 } else { 0 };
        let unparsable = if is_wide { 12 } else { 8 };
        let fixed = 4 + Self::ACCURACY + Self::INTERVAL + unparsable + Self::CUT + runs + bar_used;
        let wide = if is_wide { Self::DIFFERENCE + Self::P + 34 } else { 0 };
        let longest = rows().map(|row| row.condition.chars().count()).max().unwrap_or(0).max(12);
        let name = width.saturating_sub(fixed + wide).clamp(8, 44).min(longest);
        Self { width, is_wide, name, bar, unparsable, strip, runs }
    }

    /// What stands over the columns.
    fn head(&self) -> String {
        let bar = if self.bar > 0 { self.bar + 2 } else { 0 };
        let unparsable = self.unparsable;
        let mut text = format!(
            "    {}{:>13}{}{:>15}{:>unparsable$}{:>7}{}",
            fit("condition", self.name),
            "accuracy ± sd",
            " ".repeat(bar),
            "95 %",
            if self.is_wide { "unparsable" } else { "unpars." },
            "cut",
            fit("  runs", self.runs),
        );
        if self.is_wide {
            text.push_str(&format!("{:>24}{:>9}  verdict", "difference, 95 %", "p, Holm"));
        }
        text
    }
}

fn draw_table(frame: &mut Frame, area: Rect, state: &State) {
    let theme = &state.theme;
    let columns = Columns::of(state, area.width);
    let mut area = area;
    let typing = matches!(state.overlay, Some(Overlay::RowFilter));
    if typing || !state.board.filter.is_empty() {
        let line = Line::from(vec![
            Span::styled(" / ", theme.accent.style()),
            Span::raw(cut(&state.board.filter, columns.width.saturating_sub(5))),
            Span::styled(if typing { "▏" } else { "" }, theme.accent.style()),
        ]);
        frame.render_widget(line, Rect { height: 1, ..area });
        area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    }
    let head = Line::styled(cut(&columns.head(), columns.width), theme.chrome.style());
    frame.render_widget(head, Rect { height: 1, ..area });
    area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    if state.board.lines.is_empty() {
        draw_empty(frame, area, state, "no condition is called like that · Esc shows all again");
        return;
    }
    let mut lines: Vec<Line> = Vec::new();
    let (mut first, mut last) = (0, 0);
    let mut about = None;
    for line in 0..state.board.lines.len() {
        let Some((section, place, row)) = state.board.row_at(line) else { continue };
        let is_first = about != Some(section.name());
        if is_first {
            if about.is_some() {
                lines.push(Line::default());
            }
            let heading = format!(" {} · {} · {}", section.dataset, section.student, section.split);
            lines.push(Line::styled(cut(&heading, columns.width), theme.heading.style()));
            about = Some(section.name());
        }
        let chosen = line == state.board.cursor;
        if chosen {
            // With the heading, where it is the first of its section.
            first = lines.len() - usize::from(is_first);
        }
        lines.extend(row_lines(state, section, place, row, chosen, &columns));
        if chosen {
            last = lines.len();
        }
    }
    let height = usize::from(area.height);
    // A row below is left visible, so that one sees that it goes on.
    let scroll = (last + 1).min(lines.len()).saturating_sub(height).min(first);
    draw_lines(frame, area, lines, scroll);
}

fn row_lines(
    state: &State,
    section: &Section,
    place: usize,
    row: &Row,
    chosen: bool,
    columns: &Columns,
) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let base = if chosen { theme.selection.style() } else { theme.text.style() };
    let dim = base.patch(theme.chrome.style());
    let is_baseline = is_baseline(section, place);
    let mut spans = vec![
        Span::styled(if chosen { " ▸" } else { "  " }, base),
        Span::styled(if is_baseline { "◆ " } else { "  " }, base.patch(theme.accent.style())),
        Span::styled(fit_middle(&row.condition, columns.name), base),
    ];
    match row.accuracy {
        Some(accuracy) => {
            let deviation = row.deviation.map_or_else(String::new, |deviation| format!(" ± {}", points(deviation)));
            spans.push(Span::styled(format!("{:>6}{}", points(accuracy), fit(&deviation, 7)), base));
            if columns.bar > 0 {
                let bar = format!(" ▕{}", bar_of(accuracy, columns.bar));
                spans.push(Span::styled(bar, base.patch(theme.accent.style())));
            }
            let interval = row.interval.map(range).unwrap_or_default();
            spans.push(Span::styled(format!("{interval:>15}"), dim));
            let share = |value: Option<f64>| value.map(|value| format!("{} %", points(value))).unwrap_or_default();
            let (unparsable, cut) = (share(row.unparsable), share(row.truncated));
            spans.push(Span::styled(format!("{unparsable:>0$}{cut:>7}", columns.unparsable), dim));
        }
        None => {
            let bar = if columns.bar > 0 { columns.bar + 2 } else { 0 };
            spans.push(Span::styled(format!("{:>6}", "–"), dim));
            let gap = 7 + bar + Columns::INTERVAL + columns.unparsable + Columns::CUT;
            spans.push(Span::styled(" ".repeat(gap), base));
        }
    }
    spans.extend(cells::strip(state, row, base, columns.strip, columns.runs));
    let difference = row.against.as_ref().map(difference).unwrap_or_default();
    let words = words(state, section, place, !columns.is_wide);
    if columns.is_wide {
        spans.push(Span::styled(format!("{difference:>24}"), base));
        let p = row.against.as_ref().map(|against| p_value(against.p_holm)).unwrap_or_default();
        spans.push(Span::styled(format!("{p:>9}  "), dim));
        let used: usize = spans.iter().map(Span::width).sum();
        spans.push(Span::styled(fit(&words, columns.width.saturating_sub(used)), base));
        return vec![Line::from(spans)];
    }
    let used: usize = spans.iter().map(Span::width).sum();
    spans.push(Span::styled(" ".repeat(columns.width.saturating_sub(used)), base));
    let text = if difference.is_empty() { words } else { format!("{difference}  {words}") };
    let second = cut(&format!("      {text}"), columns.width);
    vec![Line::from(spans), Line::styled(second, theme.chrome.style())]
}

/// Whether rows are measured against this one.
fn is_baseline(section: &Section, place: usize) -> bool {
    section.rows.iter().any(|row| row.baseline == Some(place))
}

/// What may be said of a row, and what goes on in it.
fn words(state: &State, section: &Section, place: usize, in_short: bool) -> String {
    let row = &section.rows[place];
    let mut parts: Vec<String> = Vec::new();
    match &row.against {
        Some(against) => parts.push(against.says.clone()),
        None if is_baseline(section, place) && row.accuracy.is_some() => parts.push("baseline".into()),
        None if row.kind == RowKind::Condition && row.baseline.is_none() && row.accuracy.is_some() => {
            parts.push("run `none` with the same settings and seeds to compare".into());
        }
        None => {}
    }
    parts.extend(cells::under_way(state, row, in_short));
    parts.extend(row.note.clone());
    if parts.is_empty() {
        parts.push(cells::at_rest(row).unwrap_or_else(|| row.about.clone()));
    }
    parts.join(" · ")
}

/// What the selected row shows, in full.
fn draw_selected(frame: &mut Frame, area: Rect, state: &State) {
    let Some((section, place, row)) = state.board.selected() else { return };
    let theme = &state.theme;
    let area = ruled(frame, area, state);
    let mut lines = Vec::new();
    let mut add = |text: &str, style: Style| lines.extend(wrap_text(text, style, area.width));
    add(&format!("{}: {}", row.condition, row.about), theme.text.style());
    let said = words(state, section, place, false);
    match &row.against {
        Some(against) => add(&in_full(against), theme.text.style()),
        None if said != row.about => add(&said, theme.text.style()),
        None => {}
    }
    add(&facts(state, row), theme.chrome.style());
    draw_lines(frame, area, lines, 0);
}

/// A rule over the area. Gives what is below it, with a margin.
fn ruled(frame: &mut Frame, area: Rect, state: &State) -> Rect {
    let rule = Line::styled("─".repeat(usize::from(area.width)), state.theme.chrome.style());
    frame.render_widget(rule, Rect { height: 1.min(area.height), ..area });
    Rect { x: area.x + 1, y: area.y + 1, width: area.width.saturating_sub(2), height: area.height.saturating_sub(1) }
}

/// A comparison with everything that is known of it.
fn in_full(against: &Against) -> String {
    let equal = against.equivalence_p_holm.map(|p| format!("; equivalence p {}", p_value(p))).unwrap_or_default();
    format!(
        "{}: {} against {}, {}; p {} ({}), {} after Holm{equal}",
        against.says,
        difference(against),
        against.baseline,
        runs_of(against.seeds),
        p_value(against.p),
        against.test,
        p_value(against.p_holm),
    )
}

/// `3 runs each`.
fn runs_of((one, other): (usize, usize)) -> String {
    match (one, other) {
        (1, 1) => "one run each".into(),
        _ if one == other => format!("{one} runs each"),
        _ => format!("{one} against {other} runs"),
    }
}

/// Counts beside the accuracy, and how the cells stand.
fn facts(state: &State, row: &Row) -> String {
    let mut facts: Vec<String> = Vec::new();
    if row.accuracy.is_some() {
        facts.push(format!("{} questions", row.examples));
    }
    facts.extend(row.unparsable.map(|value| format!("{} % unparsable", points(value))));
    facts.extend(row.truncated.map(|value| format!("{} % of rationales cut", points(value))));
    facts.extend(cells::counts(state, row));
    if row.finished == 1 && row.runs.len() == 1 && row.kind == RowKind::Condition {
        facts.push("one run: another seed may differ".into());
    }
    facts.join(" · ")
}

/// `+24.6 [22.1, 27.0]`.
fn difference(against: &Against) -> String {
    format!("{:+.1} {}", against.difference * 100.0, range(against.interval))
}

/// A share in points.
fn points(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

fn range((low, high): (f64, f64)) -> String {
    format!("[{}, {}]", points(low), points(high))
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

/// A bar of eighths.
fn bar_of(share: f64, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (share.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    let mut bar: String = "█".repeat(eighths / 8);
    if eighths / 8 < width {
        bar.push(EIGHTHS[eighths % 8]);
    }
    fit(&bar, width)
}

#[cfg(test)]
mod tests {
    use super::{bar_of, p_value};

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar_of(0.0, 4), "    ");
        assert_eq!(bar_of(0.5, 4), "██  ");
        assert_eq!(bar_of(1.0, 4), "████");
        assert_eq!(bar_of(0.28125, 4), "█▏  ");
    }

    #[test]
    fn small_p_values_are_not_shown_as_none() {
        assert_eq!((p_value(0.0), p_value(0.0014), p_value(1.0)), ("< 0.001".into(), "0.001".into(), "1.000".into()));
    }
}
