//! What the editor and the replacement ask for: how words are spelled, rows as they were, and replacing over many rows.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::work::Work;
use super::{Send, Services};
use crate::corpus::filter::Filter;
use crate::corpus::replace::{self, Done, Replacement};
use crate::rationale::spelling::SpelledToken;
use crate::workbench::browse::{Place, Reply};
use crate::workbench::message::{Message, SpellRequest};
use crate::workbench::replace::Terms;

/// Rows between two looks at whether a search is still wanted.
const LOOK_EVERY: usize = 256;
/// Between two reports of a search.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// What is to be replaced, where, and which questions are left out.
pub(super) struct Wanted {
    pub place: Place,
    pub terms: Terms,
    pub filter: Filter,
    pub left_out: Arc<BTreeSet<String>>,
}

impl Services {
    /// How the student of the next run spells a word.
    pub(super) fn spell(&self, request: &SpellRequest) -> anyhow::Result<Vec<SpelledToken>> {
        let dataset = self.dataset(&request.spec.dataset)?;
        let reading = self.reading(&request.spec, &dataset)?;
        Ok(request.around.spell(&reading.tokenizer)?)
    }

    /// A row as its files have it.
    pub(super) fn original(&self, generation: u64, place: Place, row: usize, send: Send) -> anyhow::Result<()> {
        let found = self.dataset(&place.dataset)?.split(&place.split)?.original(row, &place.source)?;
        if let Some(example) = found.map(Box::new) {
            send(Message::Browsed(Reply::Original { generation, place, example }));
        }
        Ok(())
    }

    /// Lists what a replacement would change.
    pub(super) fn find_replaced(
        &self,
        generation: u64,
        place: &Place,
        terms: &Terms,
        filter: Filter,
        work: &Work,
        send: Send,
    ) -> anyhow::Result<()> {
        let replacement = replacement(terms)?;
        let split = self.dataset(&place.dataset)?.split(&place.split)?;
        let filter = filter.with_edits(split.edits(&place.source));
        let (mut hits, mut read, mut said, mut stopped) = (Vec::new(), 0, Instant::now(), false);
        split.visit(0, &place.source, |row| {
            read = row.number + 1;
            if let Ok(example) = &row.example
                && filter.matches(row.number, example)
            {
                hits.extend(replacement.hit(row.number, example));
            }
            if read % LOOK_EVERY == 0 {
                work.reached(read, None);
                stopped = work.is_unwanted();
                if said.elapsed() > REPORT_EVERY {
                    said = Instant::now();
                    let hits = std::mem::take(&mut hits);
                    send(Message::Browsed(Reply::Hits { generation, hits, read, is_done: false }));
                }
            }
            if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if !stopped {
            send(Message::Browsed(Reply::Hits { generation, hits, read, is_done: true }));
        }
        Ok(())
    }

    /// Replaces. What is stopped changes nothing, and nobody waits for an answer then.
    pub(super) fn replace(&self, generation: u64, wanted: Wanted, work: &Work, send: Send) {
        let result = match self.replaced(wanted, work) {
            Ok(None) => return,
            Ok(Some(done)) => Ok(done),
            Err(error) => Err(error.to_string()),
        };
        send(Message::Browsed(Reply::Replaced { generation, result }));
    }

    fn replaced(&self, wanted: Wanted, work: &Work) -> anyhow::Result<Option<Done>> {
        let Wanted { place, terms, filter, left_out } = wanted;
        let replacement = replacement(&terms)?;
        let split = self.dataset(&place.dataset)?.split(&place.split)?;
        let filter = filter.with_edits(split.edits(&place.source));
        let rows = split.count();
        let rows = rows.complete.then_some(rows.rows);
        Ok(replace::replace(&split, &place.source, &filter, &replacement, &left_out, &mut |read| {
            if read % LOOK_EVERY != 0 {
                return ControlFlow::Continue(());
            }
            work.reached(read, rows);
            if work.is_unwanted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?)
    }
}

fn replacement(terms: &Terms) -> anyhow::Result<Replacement> {
    Replacement::new(&terms.find, &terms.with, terms.place).map_err(anyhow::Error::msg)
}
