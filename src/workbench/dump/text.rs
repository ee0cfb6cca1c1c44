//! The screen as plain text: no colours, and no spaces at the end of a line.

use ratatui::buffer::Buffer;

use super::stretches;

pub fn plain(screen: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..screen.area.height {
        let line: String = stretches(screen, y).into_iter().map(|stretch| stretch.text).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
