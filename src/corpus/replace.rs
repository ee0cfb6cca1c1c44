//! Searching and replacing over the rows of a split: what would change, and the change itself as one group of patches.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::difference::carried;
use super::edits::{Patch, Target};
use super::filter::{Filter, regex_problem, typed_regex};
use super::{CorpusError, Example, Split};

/// Bytes that a text may become: a replacement of nothing by much would fill the memory.
const LONGEST: usize = 8 << 20;

/// Characters of an excerpt before a change, and after it.
const LEAD: usize = 24;
const TAIL: usize = 40;

/// Characters of the two texts of a change that an excerpt shows.
const SHOWN: usize = 80;

/// Where to search.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, strum::EnumString, strum::IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Place {
    #[default]
    Rationale,
    Question,
}

impl Place {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// What is searched for and what comes in its place.
#[derive(Clone, Debug)]
pub struct Replacement {
    regex: Regex,
    with: String,
    /// `$1` in the replacement means what the regex caught.
    expands: bool,
    place: Place,
}

/// What the replacement does to a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Replaced {
    pub text: String,
    pub count: usize,
    /// The first change.
    pub excerpt: Excerpt,
}

/// A change with a little around it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    pub lead: String,
    pub removed: String,
    pub added: String,
    pub tail: String,
}

/// A question that would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    pub id: String,
    /// Row number in the split, 0 for the first.
    pub row: usize,
    /// How often it is found there.
    pub count: usize,
    #[serde(flatten)]
    pub excerpt: Excerpt,
}

impl Replacement {
    /// `find` is a text as it stands, upper and lower case apart, or a regex between slashes (`/gills?/`, `/gills?/i`
    /// where case is one). In what replaces a regex `$1` or `${name}` is what it caught, and `$$` a dollar. The error is
    /// what is wrong with the regex, in words.
    pub fn new(find: &str, with: &str, place: Place) -> Result<Self, String> {
        if find.is_empty() {
            return Err("there is nothing to find".into());
        }
        let pattern = find.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'));
        let pattern = pattern.filter(|(pattern, flags)| !pattern.is_empty() && ["", "i"].contains(flags));
        let regex = match pattern {
            Some((pattern, flags)) => typed_regex(pattern, flags == "i")?,
            None => Regex::new(&regex::escape(find)).map_err(regex_problem)?,
        };
        Ok(Self { regex, with: with.to_owned(), expands: pattern.is_some(), place })
    }

    pub fn place(&self) -> Place {
        self.place
    }

    /// What becomes of a text; `None` where nothing would change.
    pub fn of(&self, text: &str) -> Option<Replaced> {
        let mut out = String::with_capacity(text.len());
        let (mut count, mut from) = (0, 0);
        let mut excerpt = None;
        for caught in self.regex.captures_iter(text) {
            let Some(found) = caught.get(0) else { continue };
            let mut with = String::new();
            if self.expands {
                caught.expand(&self.with, &mut with)
            } else {
                with.push_str(&self.with)
            }
            if out.len() + with.len() > LONGEST {
                break;
            }
            out.push_str(&text[from..found.start()]);
            out.push_str(&with);
            from = found.end();
            if found.as_str() != with {
                count += 1;
                excerpt.get_or_insert_with(|| excerpt_of(text, found.range(), &with));
            }
        }
        out.push_str(&text[from..]);
        Some(Replaced { text: out, count, excerpt: excerpt? })
    }

    fn text<'a>(&self, example: &'a Example) -> Option<&'a str> {
        match self.place {
            Place::Rationale => example.rationale.as_deref(),
            Place::Question => Some(&example.question),
        }
    }

    /// What would change in an example.
    pub fn hit(&self, row: usize, example: &Example) -> Option<Hit> {
        let Replaced { count, excerpt, .. } = self.of(self.text(example)?)?;
        Some(Hit { id: example.id.clone(), row, count, excerpt })
    }

    /// The patches that change an example, and how many places they change. Marks stay on the words that stay.
    pub fn patches(&self, target: &Target, example: &Example) -> (Vec<(Target, Patch)>, usize) {
        let Some(before) = self.text(example) else { return (vec![], 0) };
        let Some(Replaced { text, count, .. }) = self.of(before) else { return (vec![], 0) };
        if self.place == Place::Question {
            return (vec![(target.clone(), Patch::Question(text))], count);
        }
        // A rationale of which nothing is left is none.
        let after = text.trim();
        let marks = carried(before.trim(), after, &example.highlights);
        let mut patches = vec![(target.clone(), Patch::Rationale((!after.is_empty()).then(|| after.to_owned())))];
        if !marks.is_empty() {
            patches.push((target.clone(), Patch::Highlights(marks)));
        }
        (patches, count)
    }
}

fn excerpt_of(text: &str, found: Range<usize>, with: &str) -> Excerpt {
    let first = |text: &str, most: usize| {
        let mut cut: String = text.chars().take(most).collect();
        if cut.len() < text.len() {
            cut.push('…');
        }
        cut
    };
    let before = &text[..found.start];
    let skipped = before.char_indices().rev().nth(LEAD - 1).map_or(0, |(at, _)| at);
    let ellipsis = if skipped > 0 { "…" } else { "" };
    Excerpt {
        lead: format!("{ellipsis}{}", &before[skipped..]),
        removed: first(&text[found.clone()], SHOWN),
        added: first(with, SHOWN),
        tail: first(&text[found.end..], TAIL),
    }
}

/// What a replacement changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub questions: usize,
    pub places: usize,
}

/// Makes the replacement in every example of a split that matches, but for those that are left out: one group of
/// patches, so that all of it counts or nothing. `each` is told how many rows were read and may break off, which changes
/// nothing and gives `None`.
pub fn replace(
    split: &Split,
    source: &str,
    filter: &Filter,
    replacement: &Replacement,
    left_out: &BTreeSet<String>,
    each: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<Done>, CorpusError> {
    let (mut patches, mut done, mut stopped) = (Vec::new(), Done::default(), false);
    split.visit(0, source, |row| {
        if let Ok(example) = &row.example
            && filter.matches(row.number, example)
            && !left_out.contains(&example.id)
        {
            let target = Target { split: split.name.clone(), id: example.id.clone(), source: source.into() };
            let (own, places) = replacement.patches(&target, example);
            if !own.is_empty() {
                (done.questions, done.places) = (done.questions + 1, done.places + places);
                patches.extend(own);
            }
        }
        stopped = each(row.number + 1).is_break();
        if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if stopped {
        return Ok(None);
    }
    if !patches.is_empty() {
        split.dataset.change(|edits| edits.set_all(patches))?;
    }
    Ok(Some(done))
}

#[cfg(test)]
// Lists of ranges are meant, and not what lies in them.
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    fn made(find: &str, with: &str, text: &str) -> Option<(String, usize)> {
        let replaced = Replacement::new(find, with, Place::Rationale).unwrap().of(text)?;
        Some((replaced.text, replaced.count))
    }

    #[test]
    fn a_text_is_found_as_it_stands_and_a_regex_between_slashes() {
        for (find, with, text, expected) in [
            ("gills", "fins", "gills and gills , Gills", Some(("fins and fins , Gills", 2))),
            ("a.c", "$1", "abc a.c", Some(("abc $1", 1))),
            ("/g(il+)s?/i", "<$1>", "Gills gil", Some(("<ill> <il>", 2))),
            ("/(?<what>gills)/", "${what}$$", "gills", Some(("gills$", 1))),
            ("/", " or ", "a/b", Some(("a or b", 1))),
            ("and/or", "or", "a and/or b", Some(("a or b", 1))),
            ("gills", "gills", "gills", None),
            ("fins", "", "gills", None),
            ("日本", "語", "日本日本", Some(("語語", 2))),
            ("/x*/", "-", "ab", Some(("-a-b-", 3))),
        ] {
            let expected = expected.map(|(text, count)| (text.to_owned(), count));
            assert_eq!(made(find, with, text), expected, "{find}");
        }
        let wrong = Replacement::new("/(/", "", Place::Rationale).unwrap_err();
        assert_eq!(wrong, "unclosed group");
        assert!(Replacement::new("", "", Place::Rationale).is_err());
    }

    #[test]
    fn an_excerpt_shows_the_first_change_with_a_little_around_it() {
        let text = format!("{} gills {}", "before ".repeat(30).trim_end(), "after ".repeat(30).trim_end());
        let excerpt = Replacement::new("gills", "fins", Place::Rationale).unwrap().of(&text).unwrap().excerpt;
        assert_eq!((excerpt.removed.as_str(), excerpt.added.as_str()), ("gills", "fins"));
        assert!(excerpt.lead.starts_with('…') && excerpt.lead.ends_with("before "), "{excerpt:?}");
        assert!(excerpt.tail.starts_with(" after") && excerpt.tail.ends_with('…'), "{excerpt:?}");
    }

    #[test]
    fn marks_stay_on_the_words_that_stay() {
        let example = Example {
            id: "q1".into(),
            rationale: Some("it has gills and fins".into()),
            highlights: vec![7..12, 17..21],
            ..Example::default()
        };
        let target = Target { split: "train".into(), id: "q1".into(), source: "default".into() };
        let replacement = Replacement::new("gills", "a shell", Place::Rationale).unwrap();
        let (patches, places) = replacement.patches(&target, &example);
        let changed: Vec<Patch> = patches.into_iter().map(|(_, patch)| patch).collect();
        assert_eq!(places, 1);
        let text = "it has a shell and fins";
        assert_eq!(changed, [Patch::Rationale(Some(text.into())), Patch::Highlights(vec![19..23])]);
    }
}
