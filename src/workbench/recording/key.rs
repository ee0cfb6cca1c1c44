//! A key in a recording, as people write it: `j`, `ctrl-x`, `shift-tab`. For `#[serde(with = "key")]`.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MODIFIERS: [(&str, KeyModifiers); 6] = [
    ("ctrl-", KeyModifiers::CONTROL),
    ("alt-", KeyModifiers::ALT),
    ("shift-", KeyModifiers::SHIFT),
    ("super-", KeyModifiers::SUPER),
    ("hyper-", KeyModifiers::HYPER),
    ("meta-", KeyModifiers::META),
];

/// Keys that are no character and no function key. The workbench has no use for others, such as those of a video player.
const NAMED: [(&str, KeyCode); 17] = [
    ("backspace", KeyCode::Backspace),
    ("enter", KeyCode::Enter),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("esc", KeyCode::Esc),
    ("menu", KeyCode::Menu),
    ("other", KeyCode::Null),
];

pub fn serialize<S: Serializer>(key: &KeyEvent, serializer: S) -> Result<S::Ok, S::Error> {
    name(key).serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyEvent, D::Error> {
    let name = String::deserialize(deserializer)?;
    parse(&name).ok_or_else(|| serde::de::Error::custom(format!("there is no key `{name}`")))
}

fn name(key: &KeyEvent) -> String {
    let held = MODIFIERS.iter().filter(|(_, modifier)| key.modifiers.contains(*modifier));
    let mut text: String = held.map(|(name, _)| *name).collect();
    match key.code {
        KeyCode::Char(c) => text.push(c),
        KeyCode::F(number) => text.push_str(&format!("f{number}")),
        code => text.push_str(NAMED.iter().find(|(_, known)| *known == code).map_or("other", |(name, _)| name)),
    }
    text
}

fn parse(name: &str) -> Option<KeyEvent> {
    let mut modifiers = KeyModifiers::NONE;
    let mut rest = name;
    while let Some((text, modifier)) = MODIFIERS.iter().find(|(text, _)| rest.starts_with(text)) {
        modifiers |= *modifier;
        rest = &rest[text.len()..];
    }
    let mut characters = rest.chars();
    let code = match (characters.next()?, characters.as_str()) {
        (c, "") => KeyCode::Char(c),
        ('f', number) if number.parse::<u8>().is_ok() => KeyCode::F(number.parse().ok()?),
        _ => NAMED.iter().find(|(text, _)| *text == rest)?.1,
    };
    Some(KeyEvent::new(code, modifiers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        let (none, ctrl) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        for (code, modifiers, written) in [
            (KeyCode::Char('j'), none, "j"),
            (KeyCode::Char(' '), none, " "),
            (KeyCode::Char('-'), ctrl, "ctrl--"),
            (KeyCode::Char('R'), KeyModifiers::SHIFT, "shift-R"),
            (KeyCode::Char('é'), ctrl | KeyModifiers::ALT, "ctrl-alt-é"),
            (KeyCode::Char('f'), none, "f"),
            (KeyCode::F(12), none, "f12"),
            (KeyCode::BackTab, KeyModifiers::SHIFT, "shift-backtab"),
            (KeyCode::PageUp, none, "pageup"),
        ] {
            let key = KeyEvent::new(code, modifiers);
            assert_eq!(name(&key), written);
            assert_eq!(parse(written), Some(key));
        }
        assert_eq!((parse(""), parse("ctrl-"), parse("nokey")), (None, None, None));
    }
}
