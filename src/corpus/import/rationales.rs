//! Rationales for questions that are there already, joined by id: a source of an existing data set.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::ops::ControlFlow;

use super::{Counts, ImportError, Reading, Request, Summary};
use crate::corpus::dataset::Origin;
use crate::corpus::formats::Taken;
use crate::corpus::staging::Staging;
use crate::corpus::{Catalog, CorpusError, Dataset, SourceRationale, fingerprint, spool};
use crate::files::FileError;
use crate::text;

pub fn import(catalog: &Catalog, request: &Request, mut reading: Reading) -> Result<Summary, CorpusError> {
    let dataset = catalog.open(&request.name)?;
    let Origin::Folder(folder) = &dataset.origin else {
        return Err(ImportError::BuiltIn { name: request.name.clone() }.into());
    };
    let source = request.source.as_deref().unwrap_or(request.format.name());
    let old = dataset.source_files().remove(source);
    if old.is_some() && !request.replace && !request.add {
        return Err(ImportError::SourceExists { dataset: request.name.clone(), name: source.into() }.into());
    }
    let ids = Ids::of(&dataset, &request.splits())?;

    let staging = Staging::begin(catalog.folder())?;
    let file = format!("rationales/{source}.jsonl");
    let mut lines = staging.lines(&file)?;
    let mut samples = Samples::default();
    if let Some(old) = old.as_deref().filter(|_| !request.replace) {
        spool::each_rationale(old, |mut rationale| {
            samples.number(&mut rationale);
            Ok(lines.write(&rationale)?)
        })?;
    }
    let mut summary = Summary { dataset: request.name.clone(), folder: folder.clone(), ..Summary::default() };
    let mut total = 0;
    for split in request.splits() {
        let mut rationales = 0;
        let skipped = reading.split(split, &mut |taken| {
            let Taken::Rationales(taken) = taken else { return Ok(()) };
            for mut rationale in taken {
                ids.check(split, &rationale.id)?;
                rationale.source.get_or_insert_with(|| source.to_owned());
                samples.number(&mut rationale);
                lines.write(&rationale)?;
                rationales += 1;
            }
            Ok(())
        })?;
        let counts = Counts { rationales, skipped, ..Counts::default() };
        summary.splits.push((split.unwrap_or("all").into(), counts));
        total += rationales;
    }
    lines.finish()?;
    summary.sources.insert(source.into(), total);
    summary.skipped = reading.finish()?;
    let place = folder.join(&file);
    staging.move_in(&file, &place)?;
    if let Some(old) = old.filter(|old| *old != place) {
        // The same source in another kind of file.
        fs::remove_file(&old).map_err(FileError::on("remove", &old))?;
    }
    Ok(summary)
}

/// The ids that rationales may be for, by split.
struct Ids {
    dataset: String,
    splits: HashMap<String, HashSet<u64>>,
}

impl Ids {
    /// The ids of the splits that are named; of all splits where one file names none.
    fn of(dataset: &Dataset, named: &[Option<&str>]) -> Result<Self, CorpusError> {
        let mut splits = HashMap::new();
        let all = named.contains(&None).then(|| dataset.split_names().map(Some).collect::<Vec<_>>());
        for split in all.unwrap_or_default().iter().chain(named).flatten() {
            let mut ids = HashSet::new();
            dataset.split(split)?.visit(0, crate::corpus::edits::DEFAULT_SOURCE, |row| {
                ids.extend(row.example.ok().map(|example| fingerprint(&example.id)));
                ControlFlow::Continue(())
            })?;
            splits.insert((*split).to_owned(), ids);
        }
        Ok(Self { dataset: dataset.name().into(), splits })
    }

    fn check(&self, split: Option<&str>, id: &str) -> Result<(), String> {
        let wanted = fingerprint(id);
        let known = match split {
            Some(split) => self.splits.get(split).is_some_and(|ids| ids.contains(&wanted)),
            None => self.splits.values().any(|ids| ids.contains(&wanted)),
        };
        let place = split.map_or_else(|| self.dataset.clone(), |split| format!("{}/{split}", self.dataset));
        if known { Ok(()) } else { Err(format!("{place} has no example with the id `{}`", text::excerpt(id, 40))) }
    }
}

/// Which samples there are of each question.
#[derive(Default)]
struct Samples(HashSet<(u64, usize)>);

impl Samples {
    /// Gives a rationale the number that it has, or the next that is free.
    fn number(&mut self, rationale: &mut SourceRationale) {
        while !self.0.insert((fingerprint(&rationale.id), rationale.sample)) {
            rationale.sample += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Desk, names, request, run};
    use super::*;
    use crate::corpus::formats::Format;

    fn desk() -> Desk {
        let desk = Desk::new();
        let row = |id: &str| format!("{{\"id\":\"{id}\",\"question\":\"?\",\"choices\":[\"x\",\"y\"]}}\n");
        let (train, test) = (desk.file("train.jsonl", &(row("q1") + &row("q2"))), desk.file("test.jsonl", &row("q3")));
        run(&desk, &request(Format::Mapping, "mine", &[("train", &train), ("test", &test)])).0.unwrap();
        desk
    }

    fn samples(desk: &Desk, source: &str, id: &str) -> Vec<(usize, String)> {
        let index = desk.catalog.open("mine").unwrap().source(source).unwrap();
        let samples = index.get(id).cloned().unwrap_or_default();
        samples.into_iter().map(|one| (one.sample, one.rationale.unwrap_or_default())).collect()
    }

    #[test]
    fn explanations_are_joined_by_id_and_strangers_reported() {
        let desk = desk();
        let explanation = |id: &str| {
            format!("{{\"id\":\"{id}\",\"explanation\":{{\"open-ended\":\"of {id}\",\"selected\":\"s\"}}}}\n")
        };
        let file = desk.file("cose.jsonl", &(explanation("q1") + &explanation("q9") + &explanation("q3")));
        let (result, skipped) = run(&desk, &request(Format::CosE, "mine", &[("train", &file)]));
        let summary = result.unwrap();
        assert_eq!((summary.sources["cos-e"], summary.skipped), (1, 2));
        assert_eq!(skipped[0].reason, "mine/train has no example with the id `q9`");
        assert_eq!(samples(&desk, "cos-e", "q1"), [(0, "of q1".into())]);

        let again = request(Format::CosE, "mine", &[("", &file)]);
        let error = run(&desk, &again).0.unwrap_err().to_string();
        assert!(error.contains("of a source `cos-e` already"), "{error}");
        let (result, skipped) = run(&desk, &Request { replace: true, ..again });
        assert_eq!((result.unwrap().sources["cos-e"], skipped.len()), (2, 1));
        assert_eq!(samples(&desk, "cos-e", "q3"), [(0, "of q3".into())]);
    }

    #[test]
    fn several_rationales_for_a_question_are_numbered() {
        let desk = desk();
        let text = "id,rationale,teacher_answer\nq1,one,A\nq1,two,B\nq2,,A\n";
        let file = desk.file("llama.csv", text);
        let wanted =
            Request { source: Some("llama".into()), ..request(Format::Rationales, "mine", &[("train", &file)]) };
        let (result, skipped) = run(&desk, &wanted);
        assert_eq!(result.unwrap().sources["llama"], 2);
        assert!(skipped[0].to_string().ends_with("llama.csv:4: the rationale is empty"), "{}", skipped[0]);
        assert_eq!(samples(&desk, "llama", "q1"), [(0, "one".into()), (1, "two".into())]);
        run(&desk, &Request { add: true, ..wanted }).0.unwrap();
        assert_eq!(samples(&desk, "llama", "q1").len(), 4);
        assert_eq!(names(&desk.folder("mine").join("rationales")), ["llama.jsonl"]);
    }

    #[test]
    fn rationales_need_questions_to_belong_to() {
        let desk = desk();
        let file = desk.file("r.jsonl", "{\"id\":\"tr-0001\",\"rationale\":\"x\"}\n");
        let error = |name: &str, split| {
            run(&desk, &request(Format::Rationales, name, &[(split, &file)])).0.unwrap_err().to_string()
        };
        assert!(error("toyworld", "train").contains("is built in"));
        assert!(error("nothing", "train").contains("there is no data set `nothing`"));
        assert!(error("mine", "dev").contains("mine has no split `dev` · it has train, test"));
    }
}
