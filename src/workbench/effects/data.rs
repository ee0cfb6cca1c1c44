//! Rows for the data pane: counting, reading, searching, sorting and marking them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::editing::Wanted;
use super::work::Work;
use super::{Send, Services, failed};
use crate::corpus::Example;
use crate::corpus::counterpart::Index;
use crate::corpus::duplicates;
use crate::corpus::edits::DEFAULT_SOURCE;
use crate::corpus::filter::{Field, Filter, Value};
use crate::corpus::histogram::{Histogram, Tally};
use crate::corpus::order::{Sort, Sorter};
use crate::corpus::rows::{Change, Count, Row};
use crate::files;
use crate::text;
use crate::workbench::browse::{Ask, Found, Kind, Place, Reply, Request};
use crate::workbench::message::{FindRequest, Message};
use crate::workbench::state::Notice;

/// Rows between two looks at whether a search is still wanted.
const FIND_EVERY: usize = 2048;
/// Between two reports of a search.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// Marks that one command makes at most.
const MOST_MARKS: usize = 1_000_000;

/// Rows with their numbers, or why a row can't be read.
type Loaded = Vec<(usize, Result<Example, String>)>;

impl Services {
    /// Reports the number of rows, again and again while the index grows.
    pub(super) fn count(&self, dataset: &str, split: &str, work: &Work, send: Send) -> anyhow::Result<()> {
        let opened = self.dataset(dataset)?.split(split)?;
        let mut last = None;
        loop {
            let count = opened.count();
            if last != Some(count) {
                send(Message::Counted { dataset: dataset.into(), split: split.into(), count });
                last = Some(count);
            }
            work.reached(count.rows, None);
            if count.complete || work.is_unwanted() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(150));
        }
    }

    pub(super) fn load_rows(
        &self,
        dataset: &str,
        split: &str,
        source: &str,
        rows: &[usize],
    ) -> anyhow::Result<(Loaded, Count)> {
        let split = self.dataset(dataset)?.split(split)?;
        let mut loaded = Vec::with_capacity(rows.len());
        // Neighbours are read together.
        for stretch in rows.chunk_by(|one, next| one + 1 == *next) {
            for Row { number, example, .. } in split.page(stretch[0], stretch.len(), source)? {
                loaded.push((number, example.map_err(|error| text::line(&error.to_string()).into_owned())));
            }
        }
        Ok((loaded, split.count()))
    }

    /// Finds the rows that match, and puts them in order.
    pub(super) fn find(&self, request: FindRequest, work: &Work, send: Send) -> anyhow::Result<()> {
        let FindRequest { generation, place, filter, sort, from } = request;
        let split = self.dataset(&place.dataset)?.split(&place.split)?;
        let filter = filter.with_edits(split.edits(&place.source));
        let (searching, mut sorting) = (!filter.is_empty(), sort.map(|sort| (sort, Sorter::new(split.count().rows))));
        let (mut found, mut scanned) = (Vec::new(), from);
        let mut said = Instant::now();
        let mut stopped = false;
        split.visit(from, &place.source, |row| {
            scanned = row.number + 1;
            // A row that can't be read matches nothing, and stands last in every order.
            let matches = row.example.as_ref().map_or(!searching, |example| filter.matches(row.number, example));
            if matches && searching {
                found.push(row.number as u32);
            }
            if let (true, Some((Sort { by, .. }, sorter))) = (matches, &mut sorting) {
                let value = match &row.example {
                    Ok(example) => by.value(row.number, example, filter.known()),
                    Err(_) => Value::Missing,
                };
                sorter.push(row.number, &value);
            }
            if scanned % FIND_EVERY == 0 {
                work.reached(scanned, Some(split.count().rows));
                if work.is_unwanted() {
                    stopped = true;
                    return ControlFlow::Break(());
                }
                if said.elapsed() > REPORT_EVERY {
                    said = Instant::now();
                    send(Message::Matches { generation, found: std::mem::take(&mut found), scanned, done: false });
                }
            }
            ControlFlow::Continue(())
        })?;
        if stopped {
            return Ok(());
        }
        send(Message::Matches { generation, found, scanned, done: true });
        if let Some((sort, sorter)) = sorting {
            send(Message::Ordered { generation, rows: sorter.finish(sort.reversed) });
        }
        Ok(())
    }

    /// Answers a question of the data pane.
    pub(super) fn browse(&self, request: Request, work: &Work, send: Send) {
        if let Err(error) = self.answer(request, work, send) {
            send(failed(error));
        }
    }

    fn answer(&self, request: Request, work: &Work, send: Send) -> anyhow::Result<()> {
        let Request { generation, place, ask } = request;
        match ask {
            Ask::Watch => self.look_at(place, send),
            Ask::Jump(id) => {
                let found = self.where_is(generation, &place, &id, work, send)?;
                if let Some(found) = found {
                    send(Message::Browsed(Reply::Jumped { generation, wanted: id, found }));
                }
                Ok(())
            }
            Ask::Histogram { field, filter, bins } => {
                let found = self.histogram(&place, *filter, &field, bins, work)?;
                if let Some(found) = found {
                    send(Message::Browsed(Reply::Histogram { generation, found: Box::new(found) }));
                }
                Ok(())
            }
            Ask::Duplicates => self.duplicates(generation, &place, work, send),
            Ask::Counterpart { other, example } => {
                let Some(index) = self.questions_of(generation, &other, work, send)? else { return Ok(()) };
                let found = index.find(&self.dataset(&other)?, &example, &place.source)?.map(Box::new);
                send(Message::Browsed(Reply::Counterpart { generation, found }));
                Ok(())
            }
            Ask::Mark(filter) => self.ids_of(place, *filter, work, send),
            Ask::Original(row) => self.original(generation, place, row, send),
            Ask::Find { terms, filter } => self.find_replaced(generation, &place, &terms, *filter, work, send),
            Ask::Replace { terms, filter, left_out } => {
                self.replace(generation, Wanted { place, terms, filter: *filter, left_out }, work, send);
                Ok(())
            }
            // Whoever was at it has seen that somebody asked anew.
            Ask::StopFinding | Ask::StopReplacing => Ok(()),
            Ask::SaveMarks { path, ids } => {
                let path = self.project.join(path);
                if path.exists() {
                    anyhow::bail!("{} is there already; choose another name", path.display());
                }
                files::replace(&path, |out| {
                    ids.iter().try_for_each(|id| {
                        let line = serde_json::json!({"dataset": place.dataset, "split": place.split, "id": id});
                        writeln!(out, "{}", text::escape_json(&line.to_string()))
                    })
                })?;
                send(Message::Say(Notice::info(format!("written: {} ({} ids)", path.display(), ids.len()))));
                Ok(())
            }
        }
    }

    /// Whether the file of a split changed. A file that is away for a moment, while it is replaced, is no error.
    fn look_at(&self, place: Place, send: Send) -> anyhow::Result<()> {
        let split = self.dataset(&place.dataset)?.split(&place.split)?;
        let Ok(change) = split.refresh() else { return Ok(()) };
        if change == Change::Replaced {
            // A wrong count for a moment would move the cursor.
            split.count_all();
        }
        if change != Change::None {
            send(Message::Browsed(Reply::Changed { place, change, count: split.count() }));
        }
        Ok(())
    }

    /// The row of an id; `None` when another one was asked for meanwhile.
    fn where_is(
        &self,
        generation: u64,
        place: &Place,
        id: &str,
        work: &Work,
        send: Send,
    ) -> anyhow::Result<Option<Found>> {
        let split = self.dataset(&place.dataset)?.split(&place.split)?;
        let lower = id.to_lowercase();
        let (mut exact, mut beginning, mut stopped) = (None, None, false);
        let mut nearest: (f64, Option<String>) = (0.0, None);
        let mut said = Instant::now();
        // The rationale plays no part, so the rows' own source is the quickest.
        split.visit(0, DEFAULT_SOURCE, |row| {
            if let Ok(example) = &row.example {
                if example.id == id {
                    exact = Some(row.number);
                    return ControlFlow::Break(());
                }
                if beginning.is_none() {
                    if example.id.to_lowercase().starts_with(&lower) {
                        beginning = Some((row.number, example.id.clone()));
                    }
                    let likeness = strsim::jaro_winkler(&example.id, id);
                    if likeness > nearest.0.max(0.5) {
                        nearest = (likeness, Some(example.id.clone()));
                    }
                }
            }
            if row.number % FIND_EVERY == 0 {
                work.reached(row.number, Some(split.count().rows));
                stopped = work.is_unwanted();
                self.tell(&mut said, Kind::Jump, generation, send, || {
                    format!("looking for {} · {} rows read", text::line(id), row.number)
                });
            }
            if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok((!stopped).then_some(match (exact, beginning) {
            (Some(row), _) => Found::Exactly(row),
            (None, Some((row, id))) => Found::Beginning { row, id },
            (None, None) => Found::Nowhere { nearest: nearest.1 },
        }))
    }

    /// The ids of the rows that match.
    fn ids_of(&self, place: Place, filter: Filter, work: &Work, send: Send) -> anyhow::Result<()> {
        let split = self.dataset(&place.dataset)?.split(&place.split)?;
        let filter = filter.with_edits(split.edits(&place.source));
        let (mut ids, mut is_cut, mut stopped) = (Vec::new(), false, false);
        split.visit(0, &place.source, |row| {
            if let Ok(example) = row.example
                && filter.matches(row.number, &example)
            {
                is_cut = ids.len() == MOST_MARKS;
                if !is_cut {
                    ids.push(example.id);
                }
            }
            if row.number % FIND_EVERY == 0 {
                work.reached(row.number, Some(split.count().rows));
                stopped = work.is_unwanted();
            }
            if is_cut || stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if !stopped {
            send(Message::Browsed(Reply::Marked { place, ids, is_cut }));
        }
        Ok(())
    }

    /// How the values of a field are spread; `None` when another one was asked for meanwhile.
    fn histogram(
        &self,
        place: &Place,
        filter: Filter,
        field: &Field,
        bins: usize,
        work: &Work,
    ) -> anyhow::Result<Option<Histogram>> {
        let split = self.dataset(&place.dataset)?.split(&place.split)?;
        let filter = filter.with_edits(split.edits(&place.source));
        let mut tally = Tally::default();
        let mut stopped = false;
        split.visit(0, &place.source, |row| {
            match &row.example {
                Ok(example) if filter.matches(row.number, example) => {
                    tally.add(&field.value(row.number, example, filter.known()));
                }
                Err(_) if filter.is_empty() => tally.add(&Value::Missing),
                _ => {}
            }
            if row.number % FIND_EVERY == 0 {
                work.reached(row.number, Some(split.count().rows));
                stopped = work.is_unwanted();
            }
            if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok((!stopped).then(|| tally.finish(field.to_string(), bins)))
    }

    /// Looks for questions that stand twice in a data set.
    fn duplicates(&self, generation: u64, place: &Place, work: &Work, send: Send) -> anyhow::Result<()> {
        let dataset = self.dataset(&place.dataset)?;
        let mut said = Instant::now();
        let report = duplicates::find(&dataset, duplicates::THRESHOLD, &mut |what, done| {
            self.tell(&mut said, Kind::Duplicates, generation, send, || {
                format!("looking for duplicates · {done} {what}")
            });
            work.reached(done, None);
            work.say(what.to_owned());
            if work.is_unwanted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(report) = report {
            send(Message::Browsed(Reply::Duplicates { generation, report: Box::new(report) }));
        }
        Ok(())
    }

    /// Where the questions of a data set are; the second time it is free.
    fn questions_of(&self, generation: u64, name: &str, work: &Work, send: Send) -> anyhow::Result<Option<Arc<Index>>> {
        let known = || self.questions.lock().unwrap_or_else(|poison| poison.into_inner());
        if let Some(index) = known().get(name) {
            return Ok(Some(index.clone()));
        }
        let mut said = Instant::now();
        // Who steps on to another question wants the same index.
        let index = Index::of(&self.dataset(name)?, &mut |read| {
            self.tell(&mut said, Kind::Counterpart, generation, send, || format!("reading {name} · {read} rows"));
            work.reached(read, None);
            !work.is_cancelled()
        })?;
        let Some(index) = index.map(Arc::new) else { return Ok(None) };
        known().insert(name.into(), index.clone());
        Ok(Some(index))
    }

    /// Says how far something is, now and then.
    pub(super) fn tell(
        &self,
        said: &mut Instant,
        kind: Kind,
        generation: u64,
        send: Send,
        text: impl FnOnce() -> String,
    ) {
        if said.elapsed() > REPORT_EVERY * 3 {
            *said = Instant::now();
            send(Message::Browsed(Reply::Progress { kind, generation, text: text() }));
        }
    }
}
