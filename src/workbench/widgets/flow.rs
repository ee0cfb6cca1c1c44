//! Running text whose tokens have styles of their own, wrapped by grapheme.

use std::borrow::Cow;

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::text;

/// A stretch of text in one style. White space at its beginning is never styled: an underlined gap between two tokens
/// would look like a token.
pub struct Piece<'a> {
    pub text: Cow<'a, str>,
    pub style: Style,
}

impl<'a> Piece<'a> {
    pub fn new(text: impl Into<Cow<'a, str>>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

/// One grapheme with its width.
struct Glyph {
    text: String,
    width: usize,
    style: Style,
    is_space: bool,
}

/// Breaks pieces into lines of at most `width` columns, at white space where there is any. Text is made safe here.
pub fn wrap(pieces: &[Piece], width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width).max(1);
    let mut lines = Lines { width, ..Lines::default() };
    for piece in pieces {
        let mut leading = true;
        for grapheme in text::visible(&piece.text).graphemes(true) {
            if grapheme == "\n" || grapheme == "\r\n" {
                lines.end_word();
                lines.end_line();
                lines.is_broken = false;
                continue;
            }
            // A no-break space is shown as a space and breaks nothing.
            let is_space = grapheme != "\u{a0}" && grapheme.chars().all(char::is_whitespace);
            leading = leading && is_space;
            let style = if leading { Style::default() } else { piece.style };
            let text = if is_space || grapheme == "\u{a0}" { " ".to_owned() } else { grapheme.to_owned() };
            lines.push(Glyph { width: text.width(), text, style, is_space });
        }
    }
    lines.end_word();
    lines.end_line();
    lines.lines
}

#[derive(Default)]
struct Lines {
    width: usize,
    lines: Vec<Line<'static>>,
    line: Vec<Glyph>,
    used: usize,
    /// Glyphs since the last break.
    word: Vec<Glyph>,
    word_width: usize,
    /// The word is longer than a line and was begun on one; it goes on there.
    is_broken: bool,
}

impl Lines {
    fn push(&mut self, glyph: Glyph) {
        if glyph.is_space {
            self.end_word();
            self.is_broken = false;
            // A space at a break vanishes.
            if self.used > 0 && self.used < self.width {
                self.used += 1;
                self.line.push(glyph);
            }
            return;
        }
        self.word_width += glyph.width;
        self.word.push(glyph);
        if self.word_width >= self.width {
            self.end_word();
            self.is_broken = true;
        }
    }

    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        if self.used + self.word_width > self.width && self.used > 0 && !self.is_broken {
            self.end_line();
        }
        for glyph in std::mem::take(&mut self.word) {
            if self.used + glyph.width > self.width && self.used > 0 {
                self.end_line();
            }
            self.used += glyph.width;
            self.line.push(glyph);
        }
        self.word_width = 0;
    }

    fn end_line(&mut self) {
        let mut spans: Vec<Span<'static>> = Vec::new();
        for glyph in std::mem::take(&mut self.line) {
            match spans.last_mut() {
                Some(span) if span.style == glyph.style => span.content.to_mut().push_str(&glyph.text),
                _ => spans.push(Span::styled(glyph.text, glyph.style)),
            }
        }
        self.lines.push(Line::from(spans));
        self.used = 0;
    }
}

/// A text in one style, wrapped.
pub fn wrap_text(text: &str, style: Style, width: u16) -> Vec<Line<'static>> {
    wrap(&[Piece::new(text, style)], width)
}

/// A text cut to a width, with an ellipsis where something is missing; on one line and safe.
pub fn cut(text: &str, width: usize) -> String {
    let text = text::line(text);
    if text.width() <= width {
        return text.into_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let wide = grapheme.width();
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push_str(grapheme);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// [`cut`], filled up with spaces.
pub fn fit(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let gap = width.saturating_sub(text.width());
    text + &" ".repeat(gap)
}

/// [`fit`], but cut in the middle: names that differ in their last setting stay apart.
pub fn fit_middle(text: &str, width: usize) -> String {
    let text = text::line(text);
    if text.width() <= width {
        return fit(&text, width);
    }
    let (mut end, mut used) = (String::new(), 0);
    for grapheme in text.graphemes(true).rev() {
        used += grapheme.width();
        if used > width.saturating_sub(1) / 2 {
            break;
        }
        end.insert_str(0, grapheme);
    }
    fit(&(cut(&text, width.saturating_sub(end.width())) + &end), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_both_ends() {
        assert_eq!(fit_middle("post, shuffled, steps=60", 24), "post, shuffled, steps=60");
        assert_eq!(fit_middle("post, shuffled, steps=60", 17), "post, sh…steps=60");
        assert_eq!(fit_middle("post", 6), "post  ");
        assert_eq!(fit_middle("魚魚魚魚魚\u{1b}魚魚", 7).width(), 7);
    }

    fn plain(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.spans.iter().map(|span| span.content.as_ref()).collect()).collect()
    }

    #[test]
    fn text_is_wrapped_at_white_space() {
        assert_eq!(plain(&wrap_text("it has gills and fins", Style::default(), 10)), ["it has ", "gills and ", "fins"]);
        assert_eq!(plain(&wrap_text("one\ntwo\n\nthree", Style::default(), 10)), ["one", "two", "", "three"]);
        assert_eq!(plain(&wrap_text("incomprehensible", Style::default(), 6)), ["incomp", "rehens", "ible"]);
    }

    #[test]
    fn wide_characters_keep_their_columns() {
        let lines = wrap_text("日本語日本語", Style::default(), 5);
        assert_eq!(plain(&lines), ["日本", "語日", "本語"]);
        let lines = wrap_text("👩‍🔬👩‍🔬👩‍🔬", Style::default(), 4);
        assert_eq!(lines.len(), 2, "{:?}", plain(&lines));
    }

    #[test]
    fn the_gap_before_a_token_has_no_style() {
        let style = Style::default().add_modifier(ratatui::style::Modifier::UNDERLINED);
        let lines = wrap(&[Piece::new(" gills", style), Piece::new(" and", Style::default())], 20);
        let styles: Vec<_> = lines[0].spans.iter().map(|span| (span.content.as_ref(), span.style == style)).collect();
        assert_eq!(styles, [("gills", true), (" and", false)]);
    }

    #[test]
    fn hostile_text_becomes_symbols() {
        let lines = wrap_text("a\u{1b}[2Jb", Style::default(), 40);
        assert_eq!(plain(&lines), ["a␛[2Jb"]);
    }

    #[test]
    fn cuts_say_so() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello world", 6), "hello…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(fit("ab", 4), "ab  ");
        assert_eq!(cut("abc", 0), "");
    }
}
