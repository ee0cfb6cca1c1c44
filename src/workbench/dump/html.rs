//! The screen as a page that needs nothing else: no script, no font, no file beside it.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::style::Modifier;

use super::{Look, Paper, hex, stretches};
use crate::text::escape_markup;

pub fn page(screen: &Buffer, paper: Paper) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>afterthought</title>\n<style>\n\
         body {{ margin: 1em; color: {}; background: {} }}\n\
         pre {{ font: 14px/1.25 'DejaVu Sans Mono', Menlo, Consolas, 'Noto Sans Mono', monospace }}\n\
         .wide {{ display: inline-block; width: 2ch; line-height: 1; overflow: hidden; vertical-align: bottom }}\n\
         </style>\n<pre>\n",
        hex(paper.ink),
        hex(paper.ground)
    );
    for y in 0..screen.area.height {
        for stretch in stretches(screen, y) {
            let text = escape_markup(&stretch.text);
            let style = style(stretch.look, paper);
            let class = if stretch.is_wide { " class=\"wide\"" } else { "" };
            let _ = match (style.is_empty(), class.is_empty()) {
                (true, true) => write!(out, "{text}"),
                (true, false) => write!(out, "<span{class}>{text}</span>"),
                (false, _) => write!(out, "<span{class} style=\"{style}\">{text}</span>"),
            };
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out.push_str("</pre>\n</html>\n");
    out
}

fn style(look: Look, paper: Paper) -> String {
    if look == Look::default() {
        return String::new();
    }
    let (ink, ground) = paper.colours(look);
    let mut parts = vec![];
    if ink != paper.ink {
        parts.push(format!("color:{}", hex(ink)));
    }
    parts.extend(ground.map(|ground| format!("background:{}", hex(ground))));
    for (modifier, text) in [
        (Modifier::BOLD, "font-weight:bold"),
        (Modifier::ITALIC, "font-style:italic"),
        (Modifier::UNDERLINED, "text-decoration:underline"),
    ] {
        if look.modifier.contains(modifier) {
            parts.push(text.into());
        }
    }
    parts.join(";")
}
