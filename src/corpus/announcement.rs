//! Rationales that announce the answer: "the answer is (b)", "option C is correct".
//!
//! Such a rationale teaches the label by itself, whatever it argues, so an ablation of the argument shows nothing. Only
//! explicit phrases count; a rationale that merely uses the words of the right choice is an ordinary one.

use std::ops::Range;

use super::Choice;

/// What a rationale says the answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub label: String,
    /// The bytes of the rationale that say so.
    pub range: Range<usize>,
}

/// Between "answer" and what it is said to be.
const VERBS: [&[&str]; 11] = [
    &["is"],
    &["'s"],
    &["was"],
    &["would", "be"],
    &["must", "be"],
    &["should", "be"],
    &["will", "be"],
    &["has", "to", "be"],
    &["must", "therefore", "be"],
    &["is", "therefore"],
    &["is", "thus"],
];
const MARKS: [&[&str]; 3] = [&[":"], &["="], &["-", ">"]];
/// Words and marks that may stand between the link and the label.
#[rustfmt::skip]
const FILLERS: &[&str] = &[
    "most", "likely", "clearly", "definitely", "probably", "obviously", "simply", "then", "therefore", "thus", "the",
    "option", "choice", "answer", "letter", "number", ":", ",", "\"", "*", "“", "'", "<",
];
/// What makes "choice" or "option" mean the answer.
#[rustfmt::skip]
const PRAISES: &[&str] = &[
    "correct", "right", "best", "only", "appropriate", "suitable", "likely", "logical", "plausible", "reasonable",
    "fitting", "final", "remaining", "closest", "accurate", "relevant", "viable", "applicable", "valid",
    "sound", "feasible", "practical",
];
/// An answer of this kind is not the answer.
const BLAMES: [&str; 6] = ["wrong", "incorrect", "false", "other", "second", "bad"];
/// Words after which a label or a choice has been named in full.
const AFTER: [&str; 10] = ["because", "since", "as", "for", "due", "given", "so", "and", "which", "here"];
/// Words and marks after which a bare letter can begin a statement.
const BEFORE: [&str; 8] = ["so", "therefore", "thus", "hence", "then", "that", ",", ":"];

/// The last announcement of a rationale, if it makes any: what comes last is its conclusion.
pub fn announced(rationale: &str, choices: &[Choice]) -> Option<Announcement> {
    if !may_announce(rationale) {
        return None;
    }
    let text = Text::of(rationale);
    let texts = choices.iter().map(|choice| Text::of(&choice.text)).collect();
    let reader = Reader { text, choices, texts };
    (0..reader.text.tokens.len()).rev().find_map(|at| {
        let (choice, end) = reader.answer_then_label(at).or_else(|| reader.label_then_answer(at))?;
        let range = reader.text.tokens[at].start..reader.text.tokens[end - 1].end;
        Some(Announcement { label: choices[choice].label.clone(), range })
    })
}

/// Whether a rationale has one of the words without which none announces anything: quick, and needs no choices.
pub fn may_announce(rationale: &str) -> bool {
    let lower = rationale.to_lowercase();
    ["answer", "correct", "right", "choice", "option"].iter().any(|word| lower.contains(word))
}

/// A word in lower case and as written, or a mark.
struct Token {
    lower: String,
    written: String,
    start: usize,
    end: usize,
}

struct Text {
    tokens: Vec<Token>,
}

impl Text {
    fn of(text: &str) -> Self {
        let mut tokens: Vec<Token> = Vec::new();
        let mut word: Option<usize> = None;
        let mut add = |start: usize, end: usize| {
            let written = &text[start..end];
            // "answer's" is two words here.
            let (written, rest) = match written.strip_suffix("'s") {
                Some(stem) if !stem.is_empty() => (stem, Some("'s")),
                _ => (written, None),
            };
            let middle = start + written.len();
            let token = |written: &str, start, end| Token {
                lower: written.to_lowercase(),
                written: written.into(),
                start,
                end,
            };
            tokens.push(token(written, start, middle));
            if let Some(rest) = rest {
                tokens.push(token(rest, middle, end));
            }
        };
        for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
            let inner = |c: char| matches!(c, '\'' | '-') && text[at + 1..].starts_with(char::is_alphanumeric);
            match word {
                Some(_) if c.is_alphanumeric() || inner(c) => continue,
                Some(start) => add(start, at),
                None => {}
            }
            word = c.is_alphanumeric().then_some(at);
            if word.is_none() && !c.is_whitespace() {
                add(at, at + c.len_utf8());
            }
        }
        Self { tokens }
    }

    fn is(&self, at: usize, words: &[&str]) -> bool {
        self.tokens.get(at).is_some_and(|token| words.contains(&token.lower.as_str()))
    }

    /// Where the tokens after one of the sequences begin.
    fn after(&self, at: usize, sequences: &[&[&str]]) -> Option<usize> {
        let fits = |sequence: &&&[&str]| sequence.iter().enumerate().all(|(place, word)| self.is(at + place, &[word]));
        sequences.iter().filter(fits).map(|sequence| at + sequence.len()).max()
    }

    /// Whether a statement can end before the token at `at`.
    fn ends(&self, at: usize) -> bool {
        let mark = |token: &Token| !token.lower.starts_with(char::is_alphanumeric) && token.lower != "'s";
        self.tokens.get(at).is_none_or(mark) || self.is(at, &AFTER)
    }
}

struct Reader<'a> {
    text: Text,
    choices: &'a [Choice],
    texts: Vec<Text>,
}

impl Reader<'_> {
    /// "(the) answer is (option) B": the choice, and where the tokens after it begin.
    fn answer_then_label(&self, at: usize) -> Option<(usize, usize)> {
        let text = &self.text;
        let before = |words: &[&str]| at > 0 && text.is(at - 1, words);
        let is_answer = text.is(at, &["answer"]) && !before(&BLAMES);
        let is_option = text.is(at, &["choice", "option"]);
        let praised = is_option && before(PRAISES);
        // "Answer choices: A …" begins a list; "the answer choice is A" announces one of them.
        let next =
            if is_answer || praised || (is_option && before(&["answer"])) { text.after(at + 1, &VERBS) } else { None };
        let listed = || if is_answer || praised { text.after(at + 1, &MARKS) } else { None };
        let mut next = next.or_else(listed)?;
        // "The answer must be a planet" says of what kind it is, "the answer is a planet" which.
        let articles: &[&str] = if text.is(next - 1, &["be"]) { &[] } else { &["a", "an"] };
        loop {
            // A label may be a filler's word, and "the" may begin a choice: they are tried first.
            if let Some(found) = self.label(next).filter(|(_, end)| self.is_whole(next, *end)) {
                return Some(found);
            }
            if let Some(found) = self.choice_text(next).filter(|(_, end)| text.ends(*end)) {
                return Some(found);
            }
            if !text.is(next, FILLERS) && !text.is(next, articles) {
                return None;
            }
            next += 1;
        }
    }

    /// "Option B is correct", "(b) is the best answer", "bank is the right choice".
    fn label_then_answer(&self, at: usize) -> Option<(usize, usize)> {
        let text = &self.text;
        let named = text.is(at, &["option", "choice", "answer"]);
        let label = self.label(if named { at + 1 } else { at });
        let bare = !named && !text.is(at, &["("]);
        let begins = at == 0 || text.is(at - 1, &BEFORE) || text.is(at - 1, &[".", "!", "?", ";"]);
        let labelled = label.filter(|_| !bare || begins).and_then(|(choice, end)| {
            // "Option B, bank, is correct" and "(b) bank is correct".
            let mark = usize::from(text.is(end, &[",", ":"]));
            let end = match self.choice_text(end + mark) {
                Some((same, after)) if same == choice => after + usize::from(text.is(after, &[","])),
                _ => end,
            };
            let after = self.right(end, false)?;
            Some((choice, after))
        });
        labelled.or_else(|| {
            let (choice, end) = self.choice_text(at)?;
            Some((choice, self.right(end, true)?))
        })
    }

    /// "is correct" or "is the best answer", where a noun is needed after a choice that is no label: "the sky is right".
    fn right(&self, at: usize, noun: bool) -> Option<usize> {
        let text = &self.text;
        let mut next = text.after(at, &VERBS)?;
        let mut praised = false;
        while text.is(next, &["the", "most", "clearly", "definitely", "therefore", "probably"])
            || text.is(next, PRAISES)
        {
            praised = text.is(next, &["correct", "right"]);
            next += 1;
        }
        if text.is(next, &["answer", "choice", "option"]) && (next > at + 1) {
            return Some(next + 1);
        }
        (praised && !noun && text.ends(next)).then_some(next)
    }

    /// A label at this place: as written, or in brackets, where the case doesn't matter.
    fn label(&self, at: usize) -> Option<(usize, usize)> {
        let text = &self.text;
        let place = |at: usize, exact: bool| {
            let token = text.tokens.get(at)?;
            self.choices.iter().position(|choice| match exact {
                true => choice.label == token.written,
                false => choice.label.to_lowercase() == token.lower,
            })
        };
        if text.is(at, &["(", "["]) && text.is(at + 2, &[")", "]"]) {
            return Some((place(at + 1, false)?, at + 3));
        }
        if text.is(at + 1, &[")"]) {
            return Some((place(at, false)?, at + 2));
        }
        Some((place(at, true)?, at + 1))
    }

    /// "A" is also a word: bare, it is a label only where a statement ends.
    fn is_whole(&self, at: usize, end: usize) -> bool {
        end > at + 1 || !self.text.is(at, &["a", "i"]) || self.text.ends(end)
    }

    /// The longest choice whose words stand at this place.
    fn choice_text(&self, at: usize) -> Option<(usize, usize)> {
        let fits = |words: &Text| {
            let same = |(place, word): (usize, &Token)| self.text.is(at + place, &[&word.lower]);
            !words.tokens.is_empty() && words.tokens.iter().enumerate().all(same)
        };
        let lengths = self.texts.iter().enumerate().filter(|(_, words)| fits(words));
        // The first of equal ones.
        let (choice, words) = lengths.rev().max_by_key(|(_, words)| words.tokens.len())?;
        Some((choice, at + words.tokens.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices() -> Vec<Choice> {
        [("A", "bank"), ("B", "river bank"), ("C", "math problem"), ("D", "the moon")]
            .map(|(label, text)| Choice { label: label.into(), text: text.into() })
            .to_vec()
    }

    fn label(rationale: &str) -> Option<String> {
        announced(rationale, &choices()).map(|found| found.label)
    }

    #[test]
    fn plain_announcements_are_found() {
        for (rationale, expected) in [
            ("Money is kept safe. The answer is A.", "A"),
            ("So the answer is (b).", "B"),
            ("so the answer is (c) math problem", "C"),
            ("Answer: D", "D"),
            ("The correct answer would be option B, since it floods.", "B"),
            ("The best choice is \"C\".", "C"),
            ("Therefore, the answer is **D**.", "D"),
            ("Option C is correct because it counts.", "C"),
            ("So B is the correct answer.", "B"),
            ("(d) is the best answer.", "D"),
            ("Choice A: bank is the most likely option.", "A"),
            ("The answer must be river bank.", "B"),
            ("The answer is the moon.", "D"),
            ("Hence a math problem is the right answer.", "C"),
            ("The answer's C.", "C"),
            ("Answer = b)", "B"),
            ("The most plausible answer choice is D: the moon.", "D"),
            ("The answer is <B: river bank>", "B"),
        ] {
            assert_eq!(label(rationale).as_deref(), Some(expected), "{rationale}");
        }
    }

    #[test]
    fn what_only_sounds_like_one_is_left_alone() {
        for rationale in [
            "Money is kept in a bank, and a bank has guards.",
            "The answer is a place where money is kept.",
            "The answer must be something you can count. A bank is a building.",
            "The answer is not B, because it floods.",
            "The wrong answer is B.",
            "Option C is not correct.",
            "Option B is right next to the water.",
            "The answer choices are A, B and C.",
            "The correct answer is a bank that floods.",
            "The answer must be a bank. Of the above choices, only one has water.",
            "Vitamin C is right for you.",
            "The moon is right above us.",
            "Of the above choices, only some have water.",
            "A is the first letter.",
            "Look at each answer choice: A: a bank has money.",
            "A river bank is a plausible option.",
        ] {
            assert_eq!(label(rationale), None, "{rationale}");
        }
    }

    #[test]
    fn the_last_word_counts_and_is_shown() {
        let rationale = "At first the answer is A. But it floods, so the answer is B.";
        let found = announced(rationale, &choices()).unwrap();
        assert_eq!((found.label.as_str(), &rationale[found.range]), ("B", "answer is B"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(rationale in "(answer|is|option|correct|the|[ (),:'A-Eâ’\"]|\\PC)*") {
            if let Some(found) = announced(&rationale, &choices()) {
                proptest::prop_assert!(!rationale[found.range].is_empty());
            }
        }
    }

    #[test]
    fn any_text_can_be_read() {
        for rationale in ["", "answer", "the answer is", "answer is (", "İ answer’s — 'a' “B” option", "right ' - '"]
        {
            let _ = label(rationale);
        }
        assert_eq!(announced("The answer is B.", &[]), None);
    }
}
