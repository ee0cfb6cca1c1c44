//! The terminal's background, asked for without waiting: the question goes out with a frame, and the answer, whenever it
//! comes, is taken out of the keys. Crossterm knows no such answer and reads it as `Alt-]` and then as typed text.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

/// Asks for the background's colour (OSC 11).
pub const ASK: &[u8] = b"\x1b]11;?\x1b\\";

/// How every answer begins.
const HEAD: &str = "11;rgb";

/// No answer is longer.
const LONGEST: usize = 40;

/// Keys that may be an answer.
#[derive(Default)]
pub struct Replies {
    /// Something was asked, at some time: an answer may still come.
    has_asked: bool,
    held: Vec<Event>,
    text: String,
    after_escape: bool,
}

/// What became of an event.
#[derive(Debug, Default, PartialEq)]
pub struct Passed {
    /// What goes on as typed.
    pub events: Vec<Event>,
    /// Whether the background is light.
    pub is_light: Option<bool>,
}

impl Replies {
    pub fn asked(&mut self) {
        self.has_asked = true;
    }

    /// Takes an event in, and gives those that are no part of an answer.
    pub fn pass(&mut self, event: Event) -> Passed {
        let plain = |events| Passed { events, is_light: None };
        let after_escape = std::mem::take(&mut self.after_escape);
        let Event::Key(key) = &event else {
            // A mouse or a new size in the middle of an answer is no part of it.
            return plain(vec![event]);
        };
        if !self.has_asked {
            return plain(vec![event]);
        }
        if self.held.is_empty() {
            let is_alt = key.modifiers == KeyModifiers::ALT || (after_escape && key.modifiers.is_empty());
            if key.code == KeyCode::Char(']') && is_alt {
                self.held.push(event);
                return Passed::default();
            }
            // A line may cut an answer after its first byte.
            self.after_escape = key.code == KeyCode::Esc;
            return plain(vec![event]);
        }
        if is_end(key) && self.text.starts_with(HEAD) {
            self.held.clear();
            return Passed { events: vec![], is_light: is_light(&std::mem::take(&mut self.text)) };
        }
        let next = match key.code {
            // The end may be cut as well: its escape, then its backslash.
            KeyCode::Esc if self.text.starts_with(HEAD) => return Passed::default(),
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::CONTROL) => Some(c),
            _ => None,
        };
        self.held.push(event);
        if let Some(c) = next {
            self.text.push(c);
            let fits = HEAD.starts_with(&self.text)
                || self.text.strip_prefix(HEAD).is_some_and(|rest| {
                    rest.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '/' | 'a'..='f'))
                });
            if fits && self.text.len() <= LONGEST {
                return Passed::default();
            }
        }
        // It was typed after all.
        self.text.clear();
        plain(std::mem::take(&mut self.held))
    }
}

/// `ESC \` or BEL, as crossterm gives them.
fn is_end(key: &KeyEvent) -> bool {
    matches!(
        (key.code, key.modifiers),
        (KeyCode::Char('\\'), KeyModifiers::ALT | KeyModifiers::NONE) | (KeyCode::Char('g'), KeyModifiers::CONTROL)
    )
}

/// `11;rgb:ffff/ffff/ffff`, by the luminance of ITU-R BT.601.
fn is_light(text: &str) -> Option<bool> {
    let colours = text.split_once(':')?.1;
    let part = |part: &str| -> Option<f64> {
        let most = 16f64.powi(i32::try_from(part.len()).ok()?) - 1.0;
        Some(f64::from(u32::from_str_radix(part, 16).ok()?) / most)
    };
    let parts: Vec<f64> = colours.split('/').map_while(part).collect();
    let [red, green, blue, ..] = parts[..] else { return None };
    Some(0.299 * red + 0.587 * green + 0.114 * blue > 0.5)
}

/// What the environment says: `COLORFGBG=15;0`, as rxvt, Konsole and others set it.
pub fn of_environment() -> Option<bool> {
    let value = std::env::var("COLORFGBG").ok()?;
    let background: u8 = value.rsplit(';').next()?.parse().ok()?;
    Some(matches!(background, 7 | 9..=15))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Vec<Event> {
        text.chars().map(|c| Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE))).collect()
    }

    fn alt(c: char) -> Event {
        Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::ALT))
    }

    fn all(replies: &mut Replies, events: impl IntoIterator<Item = Event>) -> Passed {
        let mut all = Passed::default();
        for event in events {
            let passed = replies.pass(event);
            all.events.extend(passed.events);
            all.is_light = passed.is_light.or(all.is_light);
        }
        all
    }

    fn answer(colour: &str, end: Event) -> Vec<Event> {
        [alt(']')].into_iter().chain(typed(&format!("11;rgb:{colour}"))).chain([end]).collect()
    }

    #[test]
    fn an_answer_never_shows_as_text_however_late() {
        let bell = Event::Key(KeyEvent::new(KeyCode::Char('g'), KeyModifiers::CONTROL));
        for (colour, end, light) in [
            ("ffff/ffff/ffff", alt('\\'), Some(true)),
            ("0000/2b2b/3636", bell, Some(false)),
            ("e/e/e", alt('\\'), Some(true)),
            ("zz", alt('\\'), None),
        ] {
            let mut replies = Replies::default();
            replies.asked();
            assert_eq!(all(&mut replies, typed("jjk")).events, typed("jjk"));
            let passed = all(&mut replies, answer(colour, end));
            if light.is_some() {
                assert_eq!(passed, Passed { events: vec![], is_light: light }, "{colour}");
            }
        }
    }

    #[test]
    fn an_answer_that_the_line_cut_after_its_first_byte_is_none_either() {
        let mut replies = Replies::default();
        replies.asked();
        let escape = Event::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
        let cut = [escape.clone()].into_iter().chain(typed("]11;rgb:00/00/00")).chain([escape.clone()]);
        let passed = all(&mut replies, cut.chain(typed("\\")));
        assert_eq!(passed, Passed { events: vec![escape], is_light: Some(false) });
    }

    #[test]
    fn what_was_typed_goes_on() {
        let mut replies = Replies::default();
        assert_eq!(all(&mut replies, [alt(']')]).events, [alt(']')]);
        replies.asked();
        let events: Vec<Event> = [alt(']')].into_iter().chain(typed("11;x")).collect();
        assert_eq!(all(&mut replies, events.clone()).events, events);
    }
}
