//! Makes text from data sets, models and teachers safe to show.
//!
//! Such text is hostile until proven otherwise: an escape sequence would move the cursor or set the clipboard, a
//! bidirectional override would make a line read as something else, and a thousand combining marks would eat the
//! screen. Everything that reaches a terminal, standard error included, passes through [`visible`] or [`line`].

use std::borrow::Cow;
use std::fmt::Write as _;

/// More marks than this on one letter are shown as one symbol; no living script needs more.
const MARKS_PER_LETTER: usize = 6;

/// The text with every control, bidirectional or invisible character replaced by a symbol for it. Line feeds and tabs
/// stay: use [`line`] where the text must fit on one line.
pub fn visible(text: &str) -> Cow<'_, str> {
    replace(text, true)
}

/// Like [`visible`], but line feeds and tabs become symbols too.
pub fn line(text: &str) -> Cow<'_, str> {
    replace(text, false)
}

/// The first `limit` characters of [`line`], with an ellipsis where something was cut: for messages that quote input.
pub fn excerpt(text: &str, limit: usize) -> String {
    let mut out: String = text.chars().take(limit).collect();
    if text.chars().nth(limit).is_some() {
        out.push('…');
    }
    line(&out).into_owned()
}

/// The first character that [`visible`] or, without breaks, [`line`] would replace by a symbol.
pub fn first_unsafe(text: &str, keep_breaks: bool) -> Option<char> {
    let is_break = |c: char| keep_breaks && matches!(c, '\n' | '\t' | '\u{2028}' | '\u{2029}');
    let is_unsafe = |c: char| c.is_control() || is_unseen(c) || matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().find(|c| is_unsafe(*c) && !is_break(*c))
}

/// JSON with every control, invisible or reordering character escaped: the same document, but safe on a terminal. Such
/// characters stand only inside strings, where an escape means the character.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    // The writer of JSON has escaped the other controls.
    let is_unseen = |c: char| is_unseen(c) || matches!(c, '\u{7f}' | '\u{2028}' | '\u{2029}');
    if !json.chars().any(is_unseen) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_unseen(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Text that means itself in HTML and XML, in an element or in a quoted attribute. Controls are not made safe: see [`line`].
pub fn escape_markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML has no way to write these two.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn replace(text: &str, keep_breaks: bool) -> Cow<'_, str> {
    // Printable ASCII, nearly every text, is returned as it is.
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) || (keep_breaks && matches!(byte, b'\n' | b'\t'));
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut marks = 0;
    for c in text.chars() {
        if is_mark(c) {
            marks += 1;
            match marks.cmp(&(MARKS_PER_LETTER + 1)) {
                std::cmp::Ordering::Less => out.push(c),
                std::cmp::Ordering::Equal => out.push('…'),
                std::cmp::Ordering::Greater => {}
            }
            continue;
        }
        marks = 0;
        match c {
            '\n' if keep_breaks => out.push(c),
            '\t' if keep_breaks => out.push(c),
            '\u{2028}' | '\u{2029}' => out.push(if keep_breaks { '\n' } else { '␤' }),
            '\u{0}'..='\u{1f}' => out.push(symbol(c as u32)),
            '\u{7f}' => out.push('␡'),
            c if is_unseen(c) => {
                let _ = write!(out, "‹U+{:04X}›", c as u32);
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The picture that Unicode has for a C0 control, such as ␛ for escape.
fn symbol(control: u32) -> char {
    char::from_u32(0x2400 + control).unwrap_or('\u{fffd}')
}

/// Characters that change how others are shown, or that can't be seen at all.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}'                       // C1 controls, among them the one-byte CSI
        | '\u{ad}'                                // soft hyphen
        | '\u{61c}' | '\u{200e}' | '\u{200f}'     // bidirectional marks
        | '\u{202a}'..='\u{202e}'                 // bidirectional embeddings and overrides
        | '\u{2066}'..='\u{206f}'                 // bidirectional isolates and deprecated format characters
        | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{feff}' | '\u{180e}' // no width
        | '\u{fff0}'..='\u{fffb}'                 // interlinear annotation
        | '\u{e000}'..='\u{f8ff}'                 // private use: fonts draw anything here
        | '\u{e0000}'..='\u{e0fff}'               // tags
        | '\u{f0000}'..='\u{10ffff}')
}

/// A character without width that joins the one before it.
fn is_mark(c: char) -> bool {
    !is_unseen(c) && unicode_width::UnicodeWidthChar::width(c) == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_sequence_becomes_symbols() {
        assert_eq!(line("a\u{1b}[31mred\u{7}"), "a␛[31mred␇");
        assert_eq!(line("\u{9b}31m"), "‹U+009B›31m");
    }

    #[test]
    fn bidirectional_and_invisible_characters_are_named() {
        assert_eq!(line("abc\u{202e}cba"), "abc‹U+202E›cba");
        assert_eq!(line("pass\u{200b}word"), "pass‹U+200B›word");
    }

    #[test]
    fn breaks_stay_only_where_they_may() {
        assert_eq!(visible("a\nb\tc\r"), "a\nb\tc␍");
        assert_eq!(line("a\nb\tc"), "a␊b␉c");
    }

    #[test]
    fn ordinary_text_of_any_script_is_left_alone() {
        for text in ["plain", "naïve café", "日本語", "עברית", "👩‍🔬 e\u{301}", "नमस्ते"] {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn what_would_be_replaced_is_found() {
        for (text, expected) in [("a\u{1b}[31m", '\u{1b}'), ("abc\u{202e}cba", '\u{202e}'), ("a\u{9b}", '\u{9b}')] {
            assert_eq!((first_unsafe(text, true), first_unsafe(text, false)), (Some(expected), Some(expected)));
        }
        assert_eq!((first_unsafe("a\nb", true), first_unsafe("a\nb", false)), (None, Some('\n')));
        assert_eq!(first_unsafe("naïve 日本語 👩‍🔬", false), None);
    }

    #[test]
    fn json_is_escaped_and_means_the_same() {
        let value = serde_json::json!({"text": "a\u{202e}b\u{9b}c\u{e0041}é\u{7f}\u{2028}\u{1b}"});
        let escaped = escape_json(&value.to_string()).into_owned();
        assert!(escaped.contains("\\u202e") && !escaped.contains('\u{202e}') && escaped.contains('é'));
        assert_eq!(first_unsafe(&escaped, false), None);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape_markup("<b title='x\">&amp;\u{ffff}"), "&lt;b title=&#39;x&quot;&gt;&amp;amp;\u{fffd}");
    }

    #[test]
    fn a_heap_of_marks_is_cut() {
        let heap = format!("a{}b", "\u{301}".repeat(500));
        assert!(line(&heap).chars().count() < 12);
    }

    #[test]
    fn an_excerpt_is_cut_and_says_so() {
        assert_eq!(excerpt("hello", 5), "hello");
        assert_eq!(excerpt("hello world", 5), "hello…");
    }
}
