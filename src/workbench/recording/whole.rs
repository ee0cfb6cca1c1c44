//! What a value holds and its JSON on the command line leaves out: panes show it, so a recording has it beside the value.
//! For `#[serde(with = "whole")]`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::attribution::ExampleAttribution;
use crate::rationale::Rendered;
use crate::studies::compare::Seed;
use crate::studies::table::Table;

/// A value some of whose fields are not printed.
pub trait Unprinted: Serialize + DeserializeOwned {
    /// Those fields.
    type Rest: Serialize + DeserializeOwned;

    fn rest(&self) -> Self::Rest;

    fn put_back(&mut self, rest: Self::Rest);
}

pub fn serialize<T: Unprinted, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    (value, value.rest()).serialize(serializer)
}

pub fn deserialize<'de, T: Unprinted, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let (mut value, rest) = <(T, T::Rest)>::deserialize(deserializer)?;
    value.put_back(rest);
    Ok(value)
}

impl<T: Unprinted> Unprinted for Box<Result<T, String>> {
    type Rest = Option<T::Rest>;

    fn rest(&self) -> Self::Rest {
        self.as_ref().as_ref().ok().map(T::rest)
    }

    fn put_back(&mut self, rest: Self::Rest) {
        if let (Ok(value), Some(rest)) = (self.as_mut(), rest) {
            value.put_back(rest);
        }
    }
}

/// Of a token: which one of the teacher's it is, its score, and whether a person marked it.
type Token = (Option<usize>, Option<f32>, bool);

impl Unprinted for Rendered {
    /// Of the sequence, and of the second one.
    type Rest = Vec<Vec<Token>>;

    fn rest(&self) -> Self::Rest {
        let sequences = std::iter::successors(Some(self), |one| one.second.as_deref());
        sequences
            .map(|one| one.tokens.iter().map(|token| (token.origin, token.score, token.highlighted)).collect())
            .collect()
    }

    fn put_back(&mut self, rest: Self::Rest) {
        let mut sequence = Some(self);
        for own in rest {
            let Some(one) = sequence else { return };
            for (token, (origin, score, highlighted)) in one.tokens.iter_mut().zip(own) {
                (token.origin, token.score, token.highlighted) = (origin, score, highlighted);
            }
            sequence = one.second.as_deref_mut();
        }
    }
}

impl Unprinted for ExampleAttribution {
    /// How many of the tokens the target is read after.
    type Rest = Option<usize>;

    fn rest(&self) -> Self::Rest {
        self.read
    }

    fn put_back(&mut self, rest: Self::Rest) {
        self.read = rest;
    }
}

/// Of a row: the place of its baseline, what its rationales are, and the seeds and the data set of each run.
type Row = (Option<usize>, String, Vec<(Seed, String)>);

impl Unprinted for Table {
    /// Of each row of all sections.
    type Rest = Vec<Row>;

    fn rest(&self) -> Self::Rest {
        let rows = self.sections.iter().flat_map(|section| &section.rows);
        rows.map(|row| {
            let runs = row.runs.iter().map(|run| (run.seeds, run.dataset.clone())).collect();
            (row.baseline, row.about.clone(), runs)
        })
        .collect()
    }

    fn put_back(&mut self, rest: Self::Rest) {
        let rows = self.sections.iter_mut().flat_map(|section| &mut section.rows);
        for (row, (baseline, about, runs)) in rows.zip(rest) {
            (row.baseline, row.about) = (baseline, about);
            for (run, (seeds, dataset)) in row.runs.iter_mut().zip(runs) {
                (run.seeds, run.dataset) = (seeds, dataset);
            }
        }
    }
}
