//! Keys as people write them and as terminals send them.

use crokey::KeyCombination;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Reads a key, `ctrl-d` say; `None` where there is no such key.
pub fn parse(key: &str) -> Option<KeyCombination> {
    // A single sign is that key; crokey would take a capital for its small letter.
    let mut signs = key.chars();
    if let (Some(sign), None) = (signs.next(), signs.next()) {
        let modifiers = if sign.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
        return Some(KeyCombination::from(KeyEvent::new(KeyCode::Char(sign), modifiers)).normalized());
    }
    // `alt-J` means the capital as well.
    let (before, last) = key.rsplit_once('-').unwrap_or(("", key));
    let is_capital = !before.is_empty() && last.chars().count() == 1 && last.chars().all(char::is_uppercase);
    let written = if is_capital { format!("{before}-shift-{last}") } else { key.to_owned() };
    // `a-b` is no key of its own: it would be two keys held down at once, which terminals can't tell.
    let parsed = crokey::parse(&written).ok()?;
    (parsed.codes.len() == 1).then(|| parsed.normalized())
}

/// A key that a terminal sent, in the one form that keymaps compare.
pub fn normal(mut event: KeyEvent) -> KeyCombination {
    if let KeyCode::Char(c) = event.code
        && !c.is_alphabetic()
    {
        // Which signs need shift depends on the keyboard; the sign itself says enough.
        event.modifiers.remove(KeyModifiers::SHIFT);
    }
    KeyCombination::from(event).normalized()
}

/// A key as help shows it.
pub fn label(key: &str) -> String {
    match key {
        "tab" => "Tab".into(),
        "backtab" => "Shift-Tab".into(),
        "enter" => "Enter".into(),
        "esc" => "Esc".into(),
        "delete" => "Del".into(),
        "down" => "↓".into(),
        "up" => "↑".into(),
        "left" => "←".into(),
        "right" => "→".into(),
        "pagedown" => "PgDn".into(),
        "pageup" => "PgUp".into(),
        "home" => "Home".into(),
        "end" => "End".into(),
        key => key.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let at = |code, modifiers| Some(normal(KeyEvent::new(code, modifiers)));
        assert_eq!(parse("j"), at(KeyCode::Char('j'), KeyModifiers::NONE));
        assert_eq!(parse("G"), at(KeyCode::Char('G'), KeyModifiers::SHIFT));
        assert_eq!(parse("-"), at(KeyCode::Char('-'), KeyModifiers::NONE));
        assert_eq!(parse("ctrl-d"), at(KeyCode::Char('d'), KeyModifiers::CONTROL));
        assert_eq!(parse("alt-J"), at(KeyCode::Char('J'), KeyModifiers::ALT | KeyModifiers::SHIFT));
        assert_eq!(parse("?"), at(KeyCode::Char('?'), KeyModifiers::SHIFT));
        assert_eq!(parse("pagedown"), at(KeyCode::PageDown, KeyModifiers::NONE));
        for none in ["ctrl", "a-b", "pgdwn", "", "gg"] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
