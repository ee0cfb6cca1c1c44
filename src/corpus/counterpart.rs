//! The same question in another data set: the one with its id, else the one with its words.

use std::collections::HashMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::difference::{Word, words_apart};
use super::edits::DEFAULT_SOURCE;
use super::validate::normalised;
use super::{CorpusError, Dataset, Example, fingerprint};

/// Rows between two questions whether it is still wanted.
const ASK_EVERY: usize = 1024;

/// Where the questions of a data set are: 24 bytes and more for each.
pub struct Index {
    splits: Vec<String>,
    ids: HashMap<u64, (u16, u32)>,
    questions: HashMap<u64, (u16, u32)>,
}

/// A question of another data set beside one of this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counterpart {
    pub dataset: String,
    pub split: String,
    pub row: usize,
    /// By its id, not by its words.
    pub by_id: bool,
    pub example: Example,
    /// The words of this text and of the other one.
    pub question: (Vec<Word>, Vec<Word>),
    pub rationale: (Vec<Word>, Vec<Word>),
}

impl Index {
    /// Reads all splits, or until it is not `wanted` any more.
    pub fn of(dataset: &Dataset, wanted: &mut dyn FnMut(usize) -> bool) -> Result<Option<Self>, CorpusError> {
        let mut index = Self {
            splits: dataset.split_names().map(str::to_owned).collect(),
            ids: HashMap::new(),
            questions: HashMap::new(),
        };
        let mut read = 0;
        for (place, name) in index.splits.clone().iter().enumerate() {
            let mut stopped = false;
            dataset.split(name)?.visit(0, DEFAULT_SOURCE, |row| {
                if let Ok(example) = row.example {
                    let at = (place as u16, row.number as u32);
                    index.ids.entry(fingerprint(&example.id)).or_insert(at);
                    index.questions.entry(fingerprint(&normalised(&example.question))).or_insert(at);
                }
                read += 1;
                stopped = read % ASK_EVERY == 0 && !wanted(read);
                if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if stopped {
                return Ok(None);
            }
        }
        Ok(Some(index))
    }

    /// The counterpart of a question, with the other data set's rationale of a source where it has that source.
    pub fn find(&self, dataset: &Dataset, example: &Example, source: &str) -> Result<Option<Counterpart>, CorpusError> {
        let by_id = self.ids.get(&fingerprint(&example.id));
        let by_question = || self.questions.get(&fingerprint(&normalised(&example.question)));
        let Some((split, row)) = by_id.or_else(by_question).copied() else { return Ok(None) };
        let name = &self.splits[usize::from(split)];
        let known = dataset.source_names().iter().any(|known| known == source);
        let source = if known { source } else { DEFAULT_SOURCE };
        let mut page = dataset.split(name)?.page(row as usize, 1, source)?;
        let Some(Ok(other)) = page.pop().map(|row| row.example) else { return Ok(None) };
        let rationale = |example: &Example| example.rationale.clone().unwrap_or_default();
        Ok(Some(Counterpart {
            dataset: dataset.name().into(),
            split: name.clone(),
            row: row as usize,
            by_id: by_id.is_some(),
            question: words_apart(&example.question, &other.question),
            rationale: words_apart(&rationale(example), &rationale(&other)),
            example: other,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Catalog;

    #[test]
    fn a_question_is_found_by_its_id_and_else_by_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::new(dir.path());
        let (clean, noisy) = (catalog.open("toyworld").unwrap(), catalog.open("toyworld-noisy").unwrap());
        let index = Index::of(&noisy, &mut |_| true).unwrap().unwrap();
        let (_, mut example) = clean.split("test").unwrap().find("te-0003", "default").unwrap();
        let found = index.find(&noisy, &example, "default").unwrap().unwrap();
        assert_eq!((found.split.as_str(), found.row, found.by_id), ("test", 2, true));
        assert!(found.question.0.iter().all(|word| !word.is_own), "both worlds ask the same");
        example.id = "elsewhere".into();
        example.question = example.question.to_uppercase();
        let found = index.find(&noisy, &example, "default").unwrap().unwrap();
        assert!(!found.by_id && found.question.0.iter().any(|word| word.is_own));
        example.question = "is it another one?".into();
        assert_eq!(index.find(&noisy, &example, "default").unwrap(), None);
        assert!(Index::of(&noisy, &mut |_| false).unwrap().is_none());
    }
}
