//! The words of a data set by what they carry.

use std::collections::HashMap;

use serde::Serialize;

use super::example::ExampleAttribution;
use super::units::bare;
use crate::rationale::Role;

/// A word with its scores over all examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankedWord {
    pub word: String,
    /// Mean score, in nats of the target.
    pub mean: f64,
    /// Times it was scored.
    pub count: usize,
}

/// Sums of scores by word.
#[derive(Default)]
pub struct Ranking {
    words: HashMap<String, (f64, usize)>,
}

impl Ranking {
    /// Adds the words of an example that were scored, but for those that only announce something.
    pub fn add(&mut self, found: &ExampleAttribution) {
        for word in found.words.iter().filter(|word| matches!(word.role, Role::Rationale | Role::Prompt)) {
            let Some(score) = word.score else { continue };
            // One word in front of a comma and elsewhere.
            let text = bare(&word.text);
            let key = if text.is_empty() { word.text.trim().to_lowercase() } else { text };
            let sum = self.words.entry(key).or_default();
            sum.0 += f64::from(score);
            sum.1 += 1;
        }
    }

    /// Words that were scored `least` times or more, the highest mean first.
    pub fn ranked(&self, least: usize) -> Vec<RankedWord> {
        let often = self.words.iter().filter(|(_, (_, count))| *count >= least);
        let mut ranked: Vec<RankedWord> = often
            .map(|(word, (sum, count))| RankedWord { word: word.clone(), mean: sum / *count as f64, count: *count })
            .collect();
        ranked.sort_by(|one, other| other.mean.total_cmp(&one.mean).then_with(|| one.word.cmp(&other.word)));
        ranked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::ScoredToken;

    #[test]
    fn words_are_ranked_by_their_mean_and_rare_ones_can_be_left_out() {
        let word = |text: &str, score| ScoredToken { text: text.into(), role: Role::Rationale, score: Some(score) };
        let mut ranking = Ranking::default();
        for words in [vec![word(" Gills,", 1.0), word(" and", -0.5)], vec![word(" gills", 3.0), word(" so", 9.0)]] {
            ranking.add(&ExampleAttribution { words, ..ExampleAttribution::default() });
        }
        let names = |least| ranking.ranked(least).into_iter().map(|own| (own.word, own.mean)).collect::<Vec<_>>();
        assert_eq!(names(2), [("gills".to_owned(), 2.0)]);
        assert_eq!(names(1), [("so".to_owned(), 9.0), ("gills".to_owned(), 2.0), ("and".to_owned(), -0.5)]);
    }
}
