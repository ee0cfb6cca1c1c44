//! How much there is in a data set, and how long it is.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::edits::DEFAULT_SOURCE;
use super::{CorpusError, Dataset, Example, Split};

/// Rows between two reports of progress.
const PROGRESS_EVERY: u64 = 1024;

/// Lengths, each with how often it was seen: exact, and small however many there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lengths {
    seen: BTreeMap<usize, usize>,
}

/// Lengths from `from` to `to`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bin {
    pub from: usize,
    pub to: usize,
    pub count: usize,
}

impl Lengths {
    fn add(&mut self, length: usize) {
        *self.seen.entry(length).or_default() += 1;
    }

    pub fn count(&self) -> usize {
        self.seen.values().sum()
    }

    pub fn mean(&self) -> f64 {
        let sum: usize = self.seen.iter().map(|(length, count)| length * count).sum();
        sum as f64 / self.count().max(1) as f64
    }

    /// The smallest length that this share of all lengths doesn't exceed.
    pub fn quantile(&self, share: f64) -> usize {
        let wanted = (share * self.count() as f64).ceil() as usize;
        let mut below = 0;
        let reached = self.seen.iter().find(|(_, count)| {
            below += **count;
            below >= wanted
        });
        reached.map_or(0, |(length, _)| *length)
    }

    pub fn longest(&self) -> usize {
        self.seen.keys().next_back().copied().unwrap_or(0)
    }

    /// At most `limit` bins of one round width up to the 99th percentile, and one for the few that are longer.
    pub fn bins(&self, limit: usize) -> Vec<Bin> {
        let end = self.quantile(0.99) + 1;
        let rounds = (0..).flat_map(|power| [1, 2, 5].map(|step| step * 10usize.saturating_pow(power)));
        let width = rounds.take(60).find(|width| end.div_ceil(*width) <= limit.max(1)).unwrap_or(end);
        let first = self.seen.keys().next().map_or(0, |shortest| shortest / width);
        let mut bins: Vec<Bin> = (first..end.div_ceil(width))
            .map(|place| Bin { from: place * width, to: (place + 1) * width - 1, count: 0 })
            .collect();
        let tail = bins.last().map_or(0, |bin| bin.to + 1);
        if self.longest() >= tail && self.count() > 0 {
            bins.push(Bin { from: tail, to: self.longest(), count: 0 });
        }
        for (length, count) in &self.seen {
            if let Some(bin) = bins.iter_mut().find(|bin| (bin.from..=bin.to).contains(length)) {
                bin.count += count;
            }
        }
        bins
    }
}

/// Bins in JSON; a terminal may draw fewer.
const JSON_BINS: usize = 20;

impl Serialize for Lengths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Lengths", 6)?;
        fields.serialize_field("count", &self.count())?;
        fields.serialize_field("mean", &self.mean())?;
        fields.serialize_field("median", &self.quantile(0.5))?;
        fields.serialize_field("p99", &self.quantile(0.99))?;
        fields.serialize_field("longest", &self.longest())?;
        fields.serialize_field("histogram", &self.bins(JSON_BINS))?;
        fields.end()
    }
}

/// One split. Lengths are in words, parted by white space.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SplitStats {
    pub split: String,
    pub examples: usize,
    /// Rows that can't be read, which nothing else here counts.
    pub unreadable: usize,
    /// How often each label is the answer.
    pub answers: BTreeMap<String, usize>,
    /// How many questions have how many choices.
    pub choices: BTreeMap<usize, usize>,
    pub question_words: Lengths,
    pub choice_words: Lengths,
    /// By rationale source; the rows' own rationales are the first.
    pub sources: Vec<SourceStats>,
}

/// The rationales of one source in a split.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SourceStats {
    pub source: String,
    /// Examples that have a rationale.
    pub covered: usize,
    /// Rationales, which are more where there are several for a question.
    pub rationales: usize,
    pub words: Lengths,
    /// Rationales for questions with an answer, and those among them in which the text of the right choice stands.
    pub with_answer: usize,
    pub with_gold_text: usize,
}

/// Counts every split, as edited. `progress` is told how many rows were read.
pub fn stats(dataset: &Dataset, progress: &mut dyn FnMut(u64)) -> Result<Vec<SplitStats>, CorpusError> {
    let mut read = 0;
    let mut tick = || {
        read += 1;
        if read % PROGRESS_EVERY == 0 {
            progress(read);
        }
    };
    dataset.split_names().map(|name| split_stats(&dataset.split(name)?, &mut tick)).collect()
}

fn split_stats(split: &Split, tick: &mut dyn FnMut()) -> Result<SplitStats, CorpusError> {
    let mut stats = SplitStats { split: split.name.clone(), ..SplitStats::default() };
    let mut own = SourceStats { source: DEFAULT_SOURCE.into(), ..SourceStats::default() };
    split.visit(0, DEFAULT_SOURCE, |row| {
        tick();
        match row.example {
            Ok(example) => {
                stats.add(&example);
                own.add(&example, &mut [example.rationale.as_deref()].into_iter());
            }
            Err(_) => stats.unreadable += 1,
        }
        ControlFlow::Continue(())
    })?;
    stats.sources.push(own);
    for name in split.dataset.source_names() {
        let index = split.dataset.source(&name)?;
        let mut source = SourceStats { source: name.clone(), ..SourceStats::default() };
        split.visit(0, &name, |row| {
            tick();
            if let Ok(example) = row.example {
                // The first sample may have been edited; the others can't be.
                let others = index.get(&example.id).map_or(&[][..], |samples| samples.get(1..).unwrap_or(&[]));
                let others = others.iter().map(|sample| sample.rationale.as_deref());
                source.add(&example, &mut [example.rationale.as_deref()].into_iter().chain(others));
            }
            ControlFlow::Continue(())
        })?;
        // A source of another split says nothing about this one.
        if source.rationales > 0 {
            stats.sources.push(source);
        }
    }
    Ok(stats)
}

impl SplitStats {
    fn add(&mut self, example: &Example) {
        self.examples += 1;
        if let Some(answer) = &example.answer {
            *self.answers.entry(answer.clone()).or_default() += 1;
        }
        *self.choices.entry(example.choices.len()).or_default() += 1;
        self.question_words.add(words(&example.question));
        example.choices.iter().for_each(|choice| self.choice_words.add(words(&choice.text)));
    }

    pub fn answered(&self) -> usize {
        self.answers.values().sum()
    }
}

impl SourceStats {
    fn add(&mut self, example: &Example, rationales: &mut dyn Iterator<Item = Option<&str>>) {
        let gold = example.gold().map(|choice| choice.text.trim().to_lowercase()).filter(|text| !text.is_empty());
        let before = self.rationales;
        for rationale in rationales.flatten().filter(|text| !text.trim().is_empty()) {
            self.rationales += 1;
            self.words.add(words(rationale));
            if let Some(gold) = &gold {
                self.with_answer += 1;
                self.with_gold_text += usize::from(has(&rationale.to_lowercase(), gold));
            }
        }
        self.covered += usize::from(self.rationales > before);
    }
}

/// Whether a phrase begins somewhere at a word's beginning: "bank" is in "banks" and "eat" is not in "heat".
fn has(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(at, _)| !text[..at].ends_with(char::is_alphanumeric))
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(of: impl IntoIterator<Item = usize>) -> Lengths {
        let mut lengths = Lengths::default();
        of.into_iter().for_each(|length| lengths.add(length));
        lengths
    }

    #[test]
    fn quantiles_are_exact() {
        let lengths = lengths(1..=200);
        assert_eq!((lengths.mean(), lengths.quantile(0.5), lengths.quantile(0.99)), (100.5, 100, 198));
        assert_eq!((lengths.longest(), lengths.count()), (200, 200));
        let none = Lengths::default();
        assert_eq!((none.mean(), none.quantile(0.5), none.longest()), (0.0, 0, 0));
    }

    #[test]
    fn bins_hold_everything_once() {
        for (lengths, limit) in [
            (lengths((0..990).map(|n| n % 40).chain([571])), 10),
            (lengths([3]), 10),
            (lengths([0, 0, 1]), 10),
            (lengths([5000, 5001]), 1),
            (Lengths::default(), 8),
        ] {
            let bins = lengths.bins(limit);
            assert_eq!(bins.iter().map(|bin| bin.count).sum::<usize>(), lengths.count(), "{bins:?}");
            assert!(bins.windows(2).all(|pair| pair[0].to + 1 == pair[1].from), "{bins:?}");
            assert!(bins.len() <= limit + 1, "{bins:?}");
        }
    }

    #[test]
    fn a_phrase_begins_where_a_word_does() {
        assert!(has("two banks", "bank") && has("(red ink)", "red ink") && has("x", "x"));
        assert!(!has("the heat", "eat") && !has("", "x") && has("heat, eat", "eat"));
    }

    #[test]
    fn splits_and_sources_are_counted_as_edited() {
        let dir = tempfile::tempdir().unwrap();
        let row = |id: &str, answer: &str, rationale: &str| {
            format!(
                r#"{{"id":"{id}","question":"why is it so?","choices":[{{"label":"A","text":"red ink"}},{{"label":"B","text":"mud"}}],"answer":{answer},"rationale":{rationale}}}"#
            )
        };
        let rows = [
            row("q1", "\"A\"", "\"Red Ink is red\""),
            row("q2", "\"B\"", "null"),
            row("q3", "null", "\"ink\""),
            "x".into(),
        ];
        std::fs::write(dir.path().join("train.jsonl"), rows.join("\n")).unwrap();
        std::fs::create_dir(dir.path().join("rationales")).unwrap();
        let said = r#"{"id":"q2","rationale":"it is mud","sample":0}
{"id":"q2","rationale":"so it is","sample":1}"#;
        std::fs::write(dir.path().join("rationales/llama.jsonl"), said).unwrap();
        let dataset = Dataset::open(dir.path()).unwrap();
        let train = &stats(&dataset, &mut |_| {}).unwrap()[0];
        assert_eq!((train.examples, train.unreadable, train.answered()), (3, 1, 2));
        assert_eq!((train.question_words.mean(), train.choice_words.mean()), (4.0, 1.5));
        assert_eq!(train.choices, BTreeMap::from([(2, 3)]));
        let [own, llama] = &train.sources[..] else { panic!("{:?}", train.sources) };
        assert_eq!((own.covered, own.rationales, own.with_answer, own.with_gold_text), (2, 2, 1, 1));
        assert_eq!((llama.covered, llama.rationales, llama.with_answer, llama.with_gold_text), (1, 2, 2, 1));
        assert_eq!(llama.words.mean(), 3.0);
    }
}
