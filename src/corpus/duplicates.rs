//! Questions that stand twice: within a split, and across splits, where they leak what is tested into training.
//!
//! Two questions are the same when their words are, whatever their case, punctuation and white space. They are near when
//! the Jaccard similarity of their words (a repeated word counts as often as it stands there) reaches a threshold. Near
//! ones are found exactly, not by sampling: of two sets that similar, the rarest words of one must hold a word of the
//! rarest words of the other (prefix filtering: Chaudhuri, Ganti and Kaushik 2006; Bayardo, Ma and Srikant 2007).

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::edits::DEFAULT_SOURCE;
use super::validate::{folded, normalised};
use super::{CorpusError, Dataset, Split, fingerprint};

/// Four of five words are the same.
pub const THRESHOLD: f64 = 0.8;
/// Pairs that are kept with their places; more are only counted.
const KEPT: usize = 10_000;
/// Different questions among which near ones are looked for. Their words are held in memory.
const COMPARED: usize = 1_000_000;
/// Rows between two reports of progress.
const PROGRESS_EVERY: usize = 1024;
/// Characters of a question that a pair shows.
const SHOWN: usize = 160;

/// How two questions are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The same question with the same choices.
    Same,
    /// The same question with other choices.
    OtherChoices,
    /// Nearly the same question.
    Near,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub split: String,
    /// 0 for the first of the split.
    #[serde(serialize_with = "from_one")]
    pub row: usize,
    pub id: String,
}

/// Two rows that are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    pub kind: Kind,
    /// Whether they stand in different splits.
    pub is_leak: bool,
    /// 1 for the same words.
    pub similarity: f64,
    pub first: Place,
    pub second: Place,
    /// The question of the second, cut.
    pub question: String,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub dataset: String,
    pub threshold: f64,
    /// Rows with a question.
    pub questions: usize,
    pub leaks: Counts,
    pub within_splits: Counts,
    /// Different questions that were not compared for nearness, because there were too many.
    pub not_compared: usize,
    /// Leaks first, then what is most alike.
    pub pairs: Vec<Pair>,
}

/// Rows by how they are like an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub same: usize,
    pub other_choices: usize,
    pub near: usize,
}

impl Counts {
    pub fn all(&self) -> usize {
        self.same + self.other_choices + self.near
    }
}

fn from_one<S: serde::Serializer>(row: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(*row as u64 + 1)
}

/// A row, small.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    split: u16,
    row: u32,
}

/// Two rows, before their ids are read.
struct Alike {
    kind: Kind,
    similarity: f64,
    first: At,
    second: At,
}

/// Looks through all splits. `progress` is told what is done and how many rows it was done for; it may break off, and
/// then nothing is found.
pub fn find(
    dataset: &Dataset,
    threshold: f64,
    progress: &mut dyn FnMut(&str, usize) -> ControlFlow<()>,
) -> Result<Option<Report>, CorpusError> {
    let mut search = Search { threshold, ..Search::default() };
    let splits = dataset.split_names().map(|name| dataset.split(name)).collect::<Result<Vec<Split>, _>>()?;
    for (place, split) in splits.iter().enumerate() {
        if search.read(split, place as u16, progress)?.is_break() {
            return Ok(None);
        }
    }
    if search.near(progress).is_break() {
        return Ok(None);
    }
    search.report(dataset, &splits).map(Some)
}

#[derive(Default)]
struct Search {
    threshold: f64,
    questions: usize,
    /// Where a question stood first, with a fingerprint of its choices.
    seen: HashMap<u64, (At, u32)>,
    /// The number of each word, a second `the` being another one, and how many questions have it.
    words: HashMap<String, u32>,
    frequency: Vec<u32>,
    /// The words of all different questions one after another, and where each begins.
    tokens: Vec<u32>,
    records: Vec<(At, usize)>,
    not_compared: usize,
    leaks: Counts,
    within: Counts,
    found: Vec<Alike>,
}

impl Search {
    fn read(
        &mut self,
        split: &Split,
        place: u16,
        progress: &mut dyn FnMut(&str, usize) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, CorpusError> {
        let mut flow = ControlFlow::Continue(());
        split.visit(0, DEFAULT_SOURCE, |row| {
            if let Ok(example) = row.example {
                let normal = normalised(&example.question);
                if !normal.is_empty() {
                    let mut choices: Vec<String> = example.choices.iter().map(|choice| folded(&choice.text)).collect();
                    choices.sort();
                    let choices = fingerprint(&choices.join("\n")) as u32;
                    self.question(At { split: place, row: row.number as u32 }, &normal, choices);
                }
            }
            if self.questions.is_multiple_of(PROGRESS_EVERY) {
                flow = progress("rows read", self.questions);
            }
            flow
        })?;
        Ok(flow)
    }

    fn question(&mut self, at: At, normal: &str, choices: u32) {
        self.questions += 1;
        let print = fingerprint(normal);
        if let Some((first, others)) = self.seen.get(&print) {
            let kind = if *others == choices { Kind::Same } else { Kind::OtherChoices };
            self.add(Alike { kind, similarity: 1.0, first: *first, second: at });
            return;
        }
        self.seen.insert(print, (at, choices));
        if self.records.len() == COMPARED {
            self.not_compared += 1;
            return;
        }
        self.records.push((at, self.tokens.len()));
        let mut often: HashMap<&str, usize> = HashMap::new();
        for word in normal.split(' ') {
            let times = often.entry(word).or_default();
            *times += 1;
            let word = if *times > 1 { format!("{word} {times}") } else { word.to_owned() };
            let next = self.words.len() as u32;
            let number = *self.words.entry(word).or_insert(next);
            if number == next {
                self.frequency.push(0);
            }
            self.frequency[number as usize] += 1;
            self.tokens.push(number);
        }
    }

    fn add(&mut self, alike: Alike) {
        let counts = if alike.first.split == alike.second.split { &mut self.within } else { &mut self.leaks };
        match alike.kind {
            Kind::Same => counts.same += 1,
            Kind::OtherChoices => counts.other_choices += 1,
            Kind::Near => counts.near += 1,
        }
        self.found.push(alike);
        // What is least worth showing goes first.
        if self.found.len() > 2 * KEPT {
            self.sort();
            self.found.truncate(KEPT);
        }
    }

    fn sort(&mut self) {
        self.found.sort_by(|one, other| {
            let within = |alike: &Alike| alike.first.split == alike.second.split;
            within(one)
                .cmp(&within(other))
                .then(one.kind.cmp(&other.kind))
                .then(other.similarity.total_cmp(&one.similarity))
                .then(one.second.cmp(&other.second))
        });
    }

    /// Finds, for each question, the one most like it among those with as many words or fewer, in another split if it can.
    fn near(&mut self, progress: &mut dyn FnMut(&str, usize) -> ControlFlow<()>) -> ControlFlow<()> {
        let ends = self.records.iter().skip(1).map(|record| record.1).chain([self.tokens.len()]);
        let mut sets: Vec<(At, &[u32])> = Vec::with_capacity(self.records.len());
        // The rarest words first: they name the fewest candidates.
        let mut rank: Vec<u32> = (0..self.frequency.len() as u32).collect();
        rank.sort_unstable_by_key(|word| (self.frequency[*word as usize], *word));
        let mut place_of = vec![0u32; rank.len()];
        rank.iter().enumerate().for_each(|(place, word)| place_of[*word as usize] = place as u32);
        let mut tokens: Vec<u32> = self.tokens.iter().map(|word| place_of[*word as usize]).collect();
        let bounds: Vec<(At, usize, usize)> =
            self.records.iter().zip(ends).map(|((at, begin), end)| (*at, *begin, end)).collect();
        for (_, begin, end) in &bounds {
            tokens[*begin..*end].sort_unstable();
        }
        sets.extend(bounds.iter().map(|(at, begin, end)| (*at, &tokens[*begin..*end])));
        sets.sort_by_key(|(at, set)| (set.len(), *at));
        let mut holders: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut asked = vec![u32::MAX; sets.len()];
        let mut alike: Vec<Alike> = Vec::new();
        for (number, (at, set)) in sets.iter().enumerate() {
            if number.is_multiple_of(PROGRESS_EVERY) {
                progress("questions compared", number)?;
            }
            let shortest = (self.threshold * set.len() as f64 - 1e-9).ceil() as usize;
            let prefix =
                &set[..set.len() - shortest.min(set.len()) + usize::from(shortest > 0 && shortest <= set.len())];
            // A leak is told before what is nearer within the split.
            let mut best: Option<(bool, f64, Reverse<At>)> = None;
            for word in prefix {
                let Some(list) = holders.get(word) else { continue };
                let begin = list.partition_point(|other| sets[*other as usize].1.len() < shortest);
                for other in &list[begin..] {
                    if std::mem::replace(&mut asked[*other as usize], number as u32) == number as u32 {
                        continue;
                    }
                    let (other_at, other_set) = sets[*other as usize];
                    let similarity = jaccard(set, other_set);
                    let this = (other_at.split != at.split, similarity, Reverse(other_at));
                    if similarity >= self.threshold - 1e-9 && best.is_none_or(|known| this > known) {
                        best = Some(this);
                    }
                }
            }
            for word in prefix {
                holders.entry(*word).or_default().push(number as u32);
            }
            if let Some((_, similarity, Reverse(other))) = best {
                alike.push(Alike { kind: Kind::Near, similarity, first: other.min(*at), second: other.max(*at) });
            }
        }
        alike.into_iter().for_each(|alike| self.add(alike));
        ControlFlow::Continue(())
    }

    /// Reads the ids of what was found.
    fn report(mut self, dataset: &Dataset, splits: &[Split]) -> Result<Report, CorpusError> {
        self.sort();
        self.found.truncate(KEPT);
        let mut pairs = Vec::with_capacity(self.found.len());
        for alike in &self.found {
            let [(first, _), (second, question)] = [read(splits, alike.first)?, read(splits, alike.second)?];
            let is_leak = alike.first.split != alike.second.split;
            pairs.push(Pair { kind: alike.kind, is_leak, similarity: alike.similarity, first, second, question });
        }
        Ok(Report {
            dataset: dataset.name().into(),
            threshold: self.threshold,
            questions: self.questions,
            leaks: self.leaks,
            within_splits: self.within,
            not_compared: self.not_compared,
            pairs,
        })
    }
}

fn read(splits: &[Split], at: At) -> Result<(Place, String), CorpusError> {
    let split = &splits[usize::from(at.split)];
    let page = split.page(at.row as usize, 1, DEFAULT_SOURCE)?;
    let example = page.into_iter().next().and_then(|row| row.example.ok()).unwrap_or_default();
    let question = example.question.chars().take(SHOWN).collect();
    Ok((Place { split: split.name.clone(), row: at.row as usize, id: example.id }, question))
}

/// Of two sorted sets.
fn jaccard(one: &[u32], other: &[u32]) -> f64 {
    let (mut i, mut j, mut common) = (0, 0, 0usize);
    while i < one.len() && j < other.len() {
        match one[i].cmp(&other[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, common) = (i + 1, j + 1, common + 1),
        }
    }
    common as f64 / (one.len() + other.len() - common).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(splits: &[(&str, &[(&str, &str)])]) -> (tempfile::TempDir, Dataset) {
        let dir = tempfile::tempdir().unwrap();
        for (name, rows) in splits {
            let row = |(number, (question, choice)): (usize, &(&str, &str))| {
                let choices = serde_json::json!([{"label": "A", "text": choice}, {"label": "B", "text": "no"}]);
                format!(
                    "{}\n",
                    serde_json::json!({"id": format!("{name}-{number}"), "question": question, "choices": choices})
                )
            };
            let text: String = rows.iter().enumerate().map(row).collect();
            std::fs::write(dir.path().join(format!("{name}.jsonl")), text).unwrap();
        }
        let dataset = Dataset::open(dir.path()).unwrap();
        (dir, dataset)
    }

    fn found(dataset: &Dataset, threshold: f64) -> Report {
        find(dataset, threshold, &mut |_, _| ControlFlow::Continue(())).unwrap().unwrap()
    }

    #[test]
    fn leaks_come_first_and_all_kinds_are_told_apart() {
        let (_dir, dataset) = dataset(&[
            (
                "train",
                &[
                    ("Why is the sky so blue today?", "x"),
                    ("How?", "x"),
                    ("how ", "X"),
                    ("Where do the whales sleep", "x"),
                ],
            ),
            (
                "test",
                &[("why is the  SKY so blue today", "y"), ("Where do the whales sleep now?", "x"), ("When?", "x")],
            ),
        ]);
        let report = found(&dataset, THRESHOLD);
        let brief =
            |pair: &Pair| (pair.kind, pair.first.id.clone(), pair.second.id.clone(), (pair.similarity * 100.0).round());
        assert_eq!(
            report.pairs.iter().map(brief).collect::<Vec<_>>(),
            [
                (Kind::OtherChoices, "train-0".into(), "test-0".into(), 100.0),
                (Kind::Near, "train-3".into(), "test-1".into(), 83.0),
                (Kind::Same, "train-1".into(), "train-2".into(), 100.0),
            ]
        );
        assert_eq!((report.questions, report.leaks.all(), report.within_splits.same), (7, 2, 1));
        assert_eq!(found(&dataset, 0.9).leaks.near, 0);
        let stopped = find(&dataset, THRESHOLD, &mut |_, _| ControlFlow::Break(())).unwrap();
        assert_eq!(stopped, None);
    }

    #[test]
    fn no_near_pair_is_missed() {
        // Questions over few words, so that many pairs are near; every one is looked for by comparing all with all.
        let mut state = 7u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        let question = |_| (0..6 + next(7)).map(|_| format!("w{}", next(14))).collect::<Vec<_>>().join(" ");
        let questions: Vec<String> = (0..300).map(question).collect();
        let rows: Vec<(&str, &str)> = questions.iter().map(|question| (question.as_str(), "x")).collect();
        let (_dir, dataset) = dataset(&[("train", &rows)]);
        let set = |text: &str| {
            let mut often = HashMap::<String, u32>::new();
            let mut numbered: Vec<String> = text
                .split(' ')
                .map(|word| {
                    let times = often.entry(word.into()).or_default();
                    *times += 1;
                    format!("{word} {times}")
                })
                .collect();
            numbered.sort();
            numbered
        };
        let sets: Vec<Vec<String>> = questions.iter().map(|question| set(question)).collect();
        let likeness = |one: &[String], other: &[String]| {
            let common = one.iter().filter(|word| other.contains(word)).count();
            common as f64 / (one.len() + other.len() - common) as f64
        };
        for threshold in [0.5, 0.8, 1.0] {
            let near = |at: usize| {
                let shorter = |other: &usize| (sets[*other].len(), *other) < (sets[at].len(), at);
                (0..sets.len()).filter(shorter).any(|other| likeness(&sets[at], &sets[other]) >= threshold - 1e-9)
            };
            let expected = (0..sets.len()).filter(|at| near(*at)).count();
            let report = found(&dataset, threshold);
            assert_eq!(report.within_splits.near + report.within_splits.same, expected, "{threshold}");
            assert!(expected > 0);
        }
    }
}
