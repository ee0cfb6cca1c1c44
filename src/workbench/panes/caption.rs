//! The caption of the demo, in a box of its own below the panes: it covers nothing of what it speaks about.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Borders, Clear};

use super::draw_lines;
use crate::workbench::state::State;
use crate::workbench::update::awaited;
use crate::workbench::widgets::flow::wrap_text;

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    let Some(demo) = &state.demo else { return };
    let theme = &state.theme;
    let count = demo.script.steps.len();
    let place = format!(" demo {:>2} of {count} ", demo.shown + 1);
    let keys = |keys: &[(&'static str, &'static str)]| -> Vec<Span<'static>> {
        let pair = |(key, does): &(&'static str, &'static str)| {
            [
                Span::styled(format!(" {key}"), theme.accent.style()),
                Span::styled(format!(" {does} "), theme.chrome.style()),
            ]
        };
        keys.iter().flat_map(pair).collect()
    };
    let own = if demo.is_stopped {
        keys(&[("space", "go on"), ("→", "next"), ("←", "before"), ("Esc", "leave the demo"), ("others", "as always")])
    } else {
        keys(&[("space", "stop for questions"), ("→", "next"), ("←", "before"), ("Esc", "leave the demo")])
    };
    let stands = match (demo.is_stopped, demo.is_read(), awaited(state)) {
        (true, ..) => Some(" ‖ stopped ".to_owned()),
        (false, true, Some(what)) => Some(format!(" {what} ")),
        _ => None,
    };
    let mut block = Block::new()
        .borders(Borders::ALL)
        .border_type(BorderType::Double)
        .border_style(theme.accent.style())
        .title_top(Line::styled(place, theme.heading.style()))
        .title_bottom(Line::from(own));
    if let Some(stands) = stands {
        block = block.title_top(Line::styled(stands, theme.warning.style()).right_aligned());
    }
    let inside = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    let inside = Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside };
    draw_lines(frame, inside, wrap_text(demo.caption(), theme.text.style(), inside.width), 0);
}
