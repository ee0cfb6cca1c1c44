//! Rows in the order of a field, for splits of any size.
//!
//! Only what is compared is kept of each row: a number, or the beginning of a text. Texts share a budget, so that ten
//! million of them are compared by at least their first 24 bytes and those of a small split by many more.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::filter::{Field, Value};

/// Bytes of all texts together.
const BUDGET: usize = 256 << 20;
/// Bytes of one text: at least, and at most.
const SHORTEST: usize = 24;
const LONGEST: usize = 512;

/// By what rows are sorted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sort {
    pub by: Field,
    /// The largest first. Rows without a value come last in either direction.
    pub reversed: bool,
}

/// What is compared of a row.
struct Key {
    row: u32,
    kind: Kind,
    /// Bytes of the text that are kept.
    length: u16,
    /// Where they begin, for a text.
    start: u32,
    number: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Number,
    Text,
    Missing,
}

/// Collects rows and puts them in order.
pub struct Sorter {
    keys: Vec<Key>,
    texts: Vec<u8>,
    /// Bytes that are kept of each text.
    limit: usize,
}

impl Sorter {
    /// For about this many rows.
    pub fn new(rows: usize) -> Self {
        let limit = (BUDGET / rows.max(1)).clamp(SHORTEST, LONGEST);
        Self { keys: Vec::with_capacity(rows), texts: Vec::new(), limit }
    }

    pub fn push(&mut self, row: usize, value: &Value) {
        let mut key = Key { row: row as u32, kind: Kind::Number, length: 0, start: 0, number: 0.0 };
        match value {
            Value::Missing => key.kind = Kind::Missing,
            Value::Flag(flag) => key.number = f64::from(u8::from(*flag)),
            Value::Number(number) => key.number = *number,
            Value::Text(text) => match text.trim().parse::<f64>() {
                // Tables have their numbers as text.
                Ok(number) if number.is_finite() => key.number = number,
                _ => {
                    key.kind = Kind::Text;
                    key.start = self.texts.len() as u32;
                    let mut utf8 = [0; 4];
                    for c in text.chars().flat_map(char::to_lowercase) {
                        let bytes = c.encode_utf8(&mut utf8).as_bytes();
                        if usize::from(key.length) + bytes.len() > self.limit {
                            break;
                        }
                        self.texts.extend_from_slice(bytes);
                        key.length += bytes.len() as u16;
                    }
                }
            },
        }
        self.keys.push(key);
    }

    /// Row numbers in order; equal rows as they stand in the file.
    pub fn finish(mut self, reversed: bool) -> Vec<u32> {
        let texts = &self.texts;
        let text = |key: &Key| &texts[key.start as usize..key.start as usize + usize::from(key.length)];
        self.keys.sort_unstable_by(|one, other| {
            let missing = (one.kind == Kind::Missing).cmp(&(other.kind == Kind::Missing));
            let values = one.kind.cmp(&other.kind).then_with(|| match one.kind {
                Kind::Number => one.number.total_cmp(&other.number),
                Kind::Text => text(one).cmp(text(other)),
                Kind::Missing => Ordering::Equal,
            });
            missing.then(if reversed { values.reverse() } else { values }).then(one.row.cmp(&other.row))
        });
        self.keys.iter().map(|key| key.row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(values: &[Value], reversed: bool) -> Vec<u32> {
        let mut sorter = Sorter::new(values.len());
        values.iter().enumerate().for_each(|(row, value)| sorter.push(row, value));
        sorter.finish(reversed)
    }

    #[test]
    fn numbers_are_numbers_and_what_is_missing_is_last() {
        let text = |text: &'static str| Value::Text(text.into());
        let values =
            [text("10"), Value::Missing, text("beta"), text("9"), text("Alpha"), Value::Number(-1.5), text("9")];
        assert_eq!(sorted(&values, false), [5, 3, 6, 0, 4, 2, 1]);
        assert_eq!(sorted(&values, true), [2, 4, 0, 3, 6, 5, 1]);
        let flags = [Value::Flag(true), Value::Flag(false)];
        assert_eq!(sorted(&flags, false), [1, 0]);
    }

    #[test]
    fn long_texts_are_told_apart_by_what_is_kept_of_them() {
        let same = "where would you look for the ".repeat(3);
        let values = ["zebra", "ape", "Éland", "bear"].map(|animal| Value::Text(format!("{same}{animal}").into()));
        assert_eq!(sorted(&values, false), [1, 3, 0, 2]);
    }
}
