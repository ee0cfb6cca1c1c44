//! Which words of two texts differ.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// More comparisons of words than this are not made: then all words between the equal ends count as different.
const MOST_COMPARED: usize = 4_000_000;

/// A word of one text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    pub text: String,
    /// Whether the other text lacks it in this place.
    pub is_own: bool,
}

/// The words of both texts, parted by white space; a longest common subsequence of them is what both have.
pub fn words_apart(one: &str, other: &str) -> (Vec<Word>, Vec<Word>) {
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split_whitespace().collect(), other.split_whitespace().collect());
    let begin = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let (a, b) = (&one[begin..], &other[begin..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - end], &b[..b.len() - end]);
    let (mut own_a, mut own_b) = (vec![true; a.len()], vec![true; b.len()]);
    if a.len() * b.len() <= MOST_COMPARED {
        mark_common(a, b, &mut own_a, &mut own_b);
    }
    let words = |all: &[&str], own: &[bool]| {
        let is_own = |place: usize| place.checked_sub(begin).and_then(|place| own.get(place)).copied().unwrap_or(false);
        all.iter().enumerate().map(|(place, text)| Word { text: (*text).to_owned(), is_own: is_own(place) }).collect()
    };
    (words(&one, &own_a), words(&other, &own_b))
}

/// Which of two texts a stretch stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    Both,
    /// Only in the one before.
    Removed,
    /// Only in the one after.
    Added,
}

/// A stretch of words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub side: Side,
    /// With the white space after each word.
    pub text: String,
}

/// How one text became another, word by word: what was removed, then what came in its place. White space alone makes
/// no difference, except for line breaks.
pub fn changes(before: &str, after: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    walk(before, after, &mut |side, text, _, _| match parts.last_mut() {
        Some(last) if last.side == side => last.text.push_str(text),
        _ => parts.push(Part { side, text: text.to_owned() }),
    });
    parts
}

/// Ranges of characters of one text where the same words stand in another; those of words that are gone are left out.
pub fn carried(before: &str, after: &str, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut kept: Vec<Range<usize>> = Vec::new();
    let (mut from, mut to) = (0, 0);
    walk(before, after, &mut |side, _, old, new| {
        let (old, new) = (old.chars().count(), new.chars().count());
        if side == Side::Both {
            // The white space after a word may be another.
            let same = old.min(new);
            for range in ranges {
                let own = range.start.max(from)..range.end.min(from + same);
                if own.is_empty() {
                    continue;
                }
                let own = own.start - from + to..own.end - from + to;
                match kept.last_mut() {
                    Some(last) if last.end == own.start && range.start < from => last.end = own.end,
                    _ => kept.push(own),
                }
            }
        }
        (from, to) = (from + old, to + new);
    });
    kept.retain(|range| range.start < range.end);
    kept
}

/// Gives each word, or run of words, of two texts in turn: its side, its text, and what it takes of either text.
fn walk<'a>(before: &'a str, after: &'a str, each: &mut dyn FnMut(Side, &'a str, &'a str, &'a str)) {
    let (one, other) = (with_blanks(before), with_blanks(after));
    let key = |word: &&'a str| if word.trim().is_empty() { *word } else { word.trim_end() };
    let begin = one.iter().zip(&other).take_while(|(a, b)| key(a) == key(b)).count();
    let end = one[begin..].iter().rev().zip(other[begin..].iter().rev()).take_while(|(a, b)| key(a) == key(b)).count();
    let (last_one, last_other) = (one.len() - end, other.len() - end);
    let a: Vec<&str> = one[begin..last_one].iter().map(key).collect();
    let b: Vec<&str> = other[begin..last_other].iter().map(key).collect();
    let (mut own_a, mut own_b) = (vec![true; a.len()], vec![true; b.len()]);
    if a.len() * b.len() <= MOST_COMPARED {
        mark_common(&a, &b, &mut own_a, &mut own_b);
    }
    let is_own = |own: &[bool], place: usize| place.checked_sub(begin).and_then(|place| own.get(place)) == Some(&true);
    let (mut i, mut j) = (0, 0);
    while i < one.len() || j < other.len() {
        if i < one.len() && is_own(&own_a, i) {
            each(Side::Removed, one[i], one[i], "");
            i += 1;
        } else if j < other.len() && is_own(&own_b, j) {
            each(Side::Added, other[j], "", other[j]);
            j += 1;
        } else {
            let (old, new) = (one.get(i).copied().unwrap_or_default(), other.get(j).copied().unwrap_or_default());
            each(Side::Both, new, old, new);
            (i, j) = (i + 1, j + 1);
        }
    }
}

/// The words of a text, each with the white space after it; a line break is a word, and so is white space that begins it.
fn with_blanks(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut was_blank) = (0, false);
    for (at, c) in text.char_indices() {
        let is_blank = c.is_whitespace();
        let begins = (was_blank && !is_blank) || c == '\n' || text[start..at].ends_with('\n');
        if begins && at > start {
            words.push(&text[start..at]);
            start = at;
        }
        was_blank = is_blank;
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    words
}

fn mark_common(a: &[&str], b: &[&str], own_a: &mut [bool], own_b: &mut [bool]) {
    let width = b.len() + 1;
    // (words of a left, words of b left): the length of their longest common subsequence.
    let mut longest = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = if a[i] == b[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            (own_a[i], own_b[j]) = (false, false);
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
}

#[cfg(test)]
// Lists of ranges are meant, and not what lies in them.
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_marked() {
        let shown = |words: Vec<Word>| {
            let word = |word: Word| if word.is_own { format!("[{}]", word.text) } else { word.text };
            words.into_iter().map(word).collect::<Vec<_>>().join(" ")
        };
        for (one, other, first, second) in [
            ("a b c d", "a x c d", "a [b] c d", "a [x] c d"),
            ("a b c", "b c a", "[a] b c", "b c [a]"),
            ("", "a", "", "[a]"),
            ("a  b", "a b", "a b", "a b"),
            ("it has gills and fins", "it has fins", "it has [gills] [and] fins", "it has fins"),
        ] {
            let (a, b) = words_apart(one, other);
            assert_eq!((shown(a).as_str(), shown(b).as_str()), (first, second));
        }
    }

    fn told(before: &str, after: &str) -> String {
        let sign = |part: Part| match part.side {
            Side::Both => part.text,
            Side::Removed => format!("[-{}]", part.text),
            Side::Added => format!("[+{}]", part.text),
        };
        changes(before, after).into_iter().map(sign).collect()
    }

    #[test]
    fn a_change_is_told_word_by_word_and_both_texts_are_whole_in_it() {
        assert_eq!(told("it has gills and fins", "it has big fins"), "it has [-gills and ][+big ]fins");
        assert_eq!(told("a  b", "a b"), "a b");
        assert_eq!(told("a b", "a\nb"), "a[+\n]b");
        assert_eq!(told("", "new text"), "[+new text]");
        assert_eq!(told(" a b", "a c"), "[- ]a [-b][+c]");
        let (before, after) = ("one two  three\nfour five", "zero one three\n\nfour 日本 five");
        let of = |side: Side| -> String {
            let own = changes(before, after).into_iter().filter(|part| part.side == Side::Both || part.side == side);
            own.map(|part| part.text).collect::<Vec<_>>().join("")
        };
        assert_eq!(of(Side::Added), after);
        assert_eq!(of(Side::Removed), before);
    }

    #[test]
    fn marks_are_carried_to_the_words_that_stay() {
        let before = "the café has gills and fins";
        let marked = |after: &str, ranges: &[Range<usize>]| -> Vec<String> {
            let cut = |range: Range<usize>| after.chars().skip(range.start).take(range.len()).collect();
            carried(before, after, ranges).into_iter().map(cut).collect()
        };
        assert_eq!(marked("oh , the café has big gills", &[4..8, 13..18, 23..27]), ["café", "gills"]);
        assert_eq!(marked("the café has gills and fins", &[4..12]), ["café has"]);
        assert!(marked("", &[4..8]).is_empty());
    }
}
