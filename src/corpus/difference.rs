//! Which words of two texts differ.

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
}
