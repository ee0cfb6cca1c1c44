//! From a typed filter to its meaning. Written by hand: the grammar is small, and what is wrong with a filter that is
//! still being typed must be said with its place.

use super::field::Field;
use super::{Comparison, Expression, Pattern, Term};

/// Nested parentheses and `not`s; far more than anybody types, far less than the stack holds.
const DEEPEST: usize = 64;

/// Why a text is no filter yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {reason}")]
pub struct Mistake {
    /// The character at which it goes wrong, from 1.
    pub column: usize,
    pub reason: String,
}

/// Reads a filter; `None` for one that says nothing.
pub(super) fn parse(text: &str) -> Result<Option<Expression>, Mistake> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let mut reader = Reader { text, at: 0, depth: 0 };
    let expression = reader.any()?;
    if reader.rest().is_empty() { Ok(Some(expression)) } else { Err(reader.mistake("this ) closes nothing")) }
}

struct Reader<'a> {
    text: &'a str,
    /// The byte that is read next.
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn mistake(&self, reason: impl Into<String>) -> Mistake {
        self.mistake_at(self.at, reason)
    }

    fn mistake_at(&self, at: usize, reason: impl Into<String>) -> Mistake {
        Mistake { column: self.text[..at].chars().count() + 1, reason: reason.into() }
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Whether a word of the grammar stands here.
    fn sees(&self, keyword: &str) -> bool {
        let rest = self.rest();
        let ends = |tail: &str| tail.chars().next().is_none_or(ends_word);
        rest.get(..keyword.len()).is_some_and(|word| word.eq_ignore_ascii_case(keyword)) && ends(&rest[keyword.len()..])
    }

    fn takes(&mut self, keyword: &str) -> bool {
        self.skip_blanks();
        let sees = self.sees(keyword);
        if sees {
            self.at += keyword.len();
        }
        sees
    }

    fn any(&mut self) -> Result<Expression, Mistake> {
        let mut parts = vec![self.all()?];
        while self.takes("or") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Expression::Any))
    }

    fn all(&mut self) -> Result<Expression, Mistake> {
        let mut parts = vec![self.one()?];
        loop {
            if !self.takes("and") && (self.rest().is_empty() || self.rest().starts_with(')') || self.sees("or")) {
                return Ok(one_or(parts, Expression::All));
            }
            parts.push(self.one()?);
        }
    }

    fn one(&mut self) -> Result<Expression, Mistake> {
        self.skip_blanks();
        let begin = self.at;
        if self.rest().is_empty() {
            return Err(self.mistake("something to look for is missing here"));
        }
        for keyword in ["and", "or"] {
            if self.sees(keyword) {
                return Err(
                    self.mistake(format!("`{keyword}` stands between two conditions (\"{keyword}\" is the word)"))
                );
            }
        }
        if self.rest().starts_with(')') {
            return Err(self.mistake("something to look for is missing before this )"));
        }
        if self.depth == DEEPEST {
            return Err(self.mistake(format!("this is nested more than {DEEPEST} times")));
        }
        self.depth += 1;
        let found = if self.takes("not") {
            Expression::Not(Box::new(self.one()?))
        } else if self.rest().starts_with('(') {
            self.at += 1;
            let inside = self.any()?;
            if !self.rest().starts_with(')') {
                let column = self.mistake_at(begin, "").column;
                return Err(self.mistake(format!("a ) is missing for the ( in column {column}")));
            }
            self.at += 1;
            inside
        } else {
            Expression::Term(self.term()?)
        };
        self.depth -= 1;
        Ok(found)
    }

    fn term(&mut self) -> Result<Term, Mistake> {
        if self.rest().starts_with('"') {
            let begin = self.at;
            let text = self.quoted()?;
            let empty = text.trim().is_empty();
            return if empty { Err(self.mistake_at(begin, "nothing is quoted")) } else { Ok(Term::Text(text)) };
        }
        if self.rest().starts_with('/') {
            return Ok(Term::Pattern(self.pattern()?));
        }
        let begin = self.at;
        let name = self.name();
        if !name.is_empty() {
            self.at += name.len();
            if self.rest().starts_with(':') {
                self.at += 1;
                return self.with_colon(&name.to_lowercase());
            }
            self.skip_blanks();
            if self.rest().starts_with('~') {
                self.at += 1;
                self.skip_blanks();
                return if self.rest().starts_with('/') {
                    Ok(Term::Like(Field::of(name), self.pattern()?))
                } else {
                    Err(self.mistake("a regex begins with /"))
                };
            }
            if let Some(comparison) = Comparison::ALL.into_iter().find(|sign| self.rest().starts_with(sign.sign())) {
                self.at += comparison.sign().len();
                self.skip_blanks();
                let value = self.value(&format!("{name}{}", comparison.sign()))?;
                return Ok(Term::Compare(Field::of(name), comparison, value));
            }
            if name.eq_ignore_ascii_case("marked") {
                self.at = begin + name.len();
                if self.rest().chars().next().is_none_or(ends_word) {
                    return Ok(Term::Marked(true));
                }
            }
        }
        self.at = begin;
        Ok(Term::Text(self.word().to_lowercase()))
    }

    /// What stands after `NAME:`.
    fn with_colon(&mut self, name: &str) -> Result<Term, Mistake> {
        let begin = self.at;
        let value = self.value(&format!("{name}:"))?;
        let flag = || match value.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.mistake_at(begin, format!("{name}: takes true or false"))),
        };
        Ok(match name {
            "has" => Term::Has(value),
            "no" => Term::Lacks(value),
            "is" => match value.as_str() {
                "right" => Term::Right(true),
                "wrong" => Term::Right(false),
                "marked" => Term::Marked(true),
                _ => return Err(self.mistake_at(begin, "is: takes right, wrong or marked")),
            },
            "correct" => Term::Right(flag()?),
            "marked" => Term::Marked(flag()?),
            name => Term::Contains(Field::of(name), value),
        })
    }

    /// The beginning of what is here, as far as it can be the name of a field.
    fn name(&self) -> &'a str {
        let rest = self.rest();
        // Beyond ASCII no sign means anything here, and letters may carry marks.
        let inside =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') || !c.is_ascii() && !c.is_whitespace();
        let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        if rest.starts_with(|c: char| c.is_alphabetic() || c == '_') { &rest[..end] } else { "" }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let word = &rest[..rest.find(ends_word).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    /// A word or a quoted text, in lower case.
    fn value(&mut self, after: &str) -> Result<String, Mistake> {
        if self.rest().starts_with('"') {
            return self.quoted();
        }
        let value = self.word().to_lowercase();
        if value.is_empty() { Err(self.mistake(format!("a value is missing after {after}"))) } else { Ok(value) }
    }

    /// A quoted text in lower case; `\"` and `\\` stand for the signs themselves.
    fn quoted(&mut self) -> Result<String, Mistake> {
        let begin = self.at;
        let mut text = String::new();
        let mut signs = self.rest().char_indices().skip(1);
        while let Some((at, sign)) = signs.next() {
            match sign {
                '"' => {
                    self.at = begin + at + 1;
                    return Ok(text.to_lowercase());
                }
                '\\' => text.extend(signs.next().map(|(_, sign)| sign)),
                sign => text.push(sign),
            }
        }
        Err(self.mistake_at(begin, "the quotes that begin here are not closed"))
    }

    /// A regex between slashes; `\/` is a slash.
    fn pattern(&mut self) -> Result<Pattern, Mistake> {
        let begin = self.at;
        let mut signs = self.rest().char_indices().skip(1);
        let mut end = None;
        while let Some((at, sign)) = signs.next() {
            match sign {
                '/' => {
                    end = Some(begin + at);
                    break;
                }
                '\\' => drop(signs.next()),
                _ => {}
            }
        }
        let Some(end) = end else {
            return Err(self.mistake_at(begin, "the regex that begins here has no closing /"));
        };
        let pattern = Pattern::new(&self.text[begin + 1..end]);
        let pattern = pattern.map_err(|problem| self.mistake_at(begin + 1, problem))?;
        self.at = end + 1;
        match self.rest().chars().next() {
            Some(next) if !ends_word(next) => Err(self.mistake("a blank follows the closing / of a regex")),
            _ => Ok(pattern),
        }
    }
}

/// Whether a word ends before a character.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')')
}

fn one_or(mut parts: Vec<Expression>, several: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            several(parts)
        }
    }
}

/// Whether a text, written as it is, is read back as a word and nothing else.
pub(super) fn is_plain(text: &str) -> bool {
    let keyword = ["and", "or", "not", "marked"].contains(&text);
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '\'' | '?' | ',');
    !text.is_empty() && !keyword && text.chars().all(plain)
}
