//! Questions: a new data set, or new splits of one.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use super::{Counts, ImportError, Reading, Request, Summary};
use crate::corpus::dataset::{Meta, Origin, SplitFiles};
use crate::corpus::formats::Taken;
use crate::corpus::formats::mapping::Field;
use crate::corpus::staging::{Lines, Staging, write_meta};
use crate::corpus::{Catalog, CorpusError, Dataset, SourceRationale, fingerprint, spool};
use crate::files::FileError;
use crate::text;

pub fn import(catalog: &Catalog, request: &Request, mut reading: Reading) -> Result<Summary, CorpusError> {
    let name = &request.name;
    let target = catalog.folder().join(name);
    let old = match (target.exists(), request.add) {
        (true, true) => match catalog.open(name)? {
            // The folder has only edits.
            Dataset { origin: Origin::BuiltIn(_), .. } => {
                return Err(ImportError::BuiltIn { name: name.clone() }.into());
            }
            old => Some(old),
        },
        (true, false) if !request.replace => return Err(ImportError::Exists { name: name.clone() }.into()),
        _ => None,
    };
    let splits: Vec<&str> = request.splits().into_iter().flatten().collect();
    if let Some(old) = old.as_ref().filter(|_| !request.replace)
        && let Some(split) = splits.iter().find(|split| old.meta.splits.contains_key(**split))
    {
        return Err(ImportError::SplitExists { dataset: name.clone(), split: (*split).into() }.into());
    }

    let staging = Staging::begin(catalog.folder())?;
    let mut summary = Summary { dataset: name.clone(), folder: target.clone(), ..Summary::default() };
    let mut sources = Sources { staging: &staging, files: BTreeMap::new() };
    let mut files = SplitFiles::new();
    for split in splits {
        let counts = import_split(split, &mut reading, &staging, &mut sources)?;
        note_what_is_missing(split, request, &counts, &mut summary.notes);
        summary.splits.push((split.into(), counts));
        files.insert(split.into(), format!("{split}.jsonl").into());
    }
    summary.sources = sources.finish()?;
    summary.skipped = reading.finish()?;

    match old {
        Some(old) => add(request, &staging, &target, &old, files, summary.sources.keys())?,
        None => {
            staging.meta(&meta(request, files))?;
            if target.exists() {
                let old = split_files(catalog, name);
                staging.carry_over(&target, |file| file == ".cache" || old.iter().any(|old| old == file))?;
                staging.replace(name)?;
            } else {
                staging.publish(name)?;
            }
        }
    }
    Ok(summary)
}

/// The files of the splits of a data set that is about to be replaced; none where it can't be opened.
fn split_files(catalog: &Catalog, name: &str) -> Vec<String> {
    let files = |old: Dataset| old.meta.splits.values().filter_map(|file| file.as_str().map(str::to_owned)).collect();
    catalog.open(name).map(files).unwrap_or_default()
}

fn meta(request: &Request, splits: SplitFiles) -> Meta {
    let format = request.format;
    Meta {
        name: request.name.clone(),
        description: format.description().map(str::to_owned),
        licence: request.licence.clone().or_else(|| format.licence().map(str::to_owned)),
        source: Some(format.name().into()),
        splits,
        ..Meta::default()
    }
}

fn import_split(
    split: &str,
    reading: &mut Reading,
    staging: &Staging,
    sources: &mut Sources,
) -> Result<Counts, CorpusError> {
    let mut lines = staging.lines(&format!("{split}.jsonl"))?;
    let (mut examples, mut answers, mut rationales) = (0, 0, 0);
    let mut ids = HashSet::new();
    let skipped = reading.split(Some(split), &mut |taken| {
        let Taken::Question(example, others) = taken else { return Ok(()) };
        if !ids.insert(fingerprint(&example.id)) {
            let id = text::excerpt(&example.id, 40);
            return Err(format!("an earlier row of {split} has the id `{id}` too; that one was taken").into());
        }
        examples += 1;
        answers += usize::from(example.answer.is_some());
        rationales += usize::from(example.has_rationale());
        lines.write(&example)?;
        for rationale in &others {
            sources.write(rationale)?;
        }
        Ok(())
    })?;
    lines.finish()?;
    Ok(Counts { examples: Some(examples), answers: Some(answers), rationales, skipped })
}

/// A mapping that leads nowhere leaves a field empty in every row, which is hardly what was meant.
fn note_what_is_missing(split: &str, request: &Request, counts: &Counts, notes: &mut Vec<String>) {
    for (field, name, found) in
        [(Field::Answer, "answer", counts.answers.unwrap_or(0)), (Field::Rationale, "rationale", counts.rationales)]
    {
        if found == 0 && request.format.is_mapped() && request.mapping.has(field) {
            notes.push(format!("no row of {split} has the {name} that --map {name}=… asks for · check the path"));
        }
    }
}

/// The rationale sources that come with questions, each with its number of rationales.
struct Sources<'a> {
    staging: &'a Staging,
    files: BTreeMap<String, (Lines, usize)>,
}

impl Sources<'_> {
    fn write(&mut self, rationale: &SourceRationale) -> Result<(), FileError> {
        let name = rationale.source.as_deref().unwrap_or("other");
        if !self.files.contains_key(name) {
            let lines = self.staging.lines(&format!("rationales/{name}.jsonl"))?;
            self.files.insert(name.into(), (lines, 0));
        }
        if let Some((lines, count)) = self.files.get_mut(name) {
            lines.write(rationale)?;
            *count += 1;
        }
        Ok(())
    }

    fn finish(self) -> Result<BTreeMap<String, usize>, FileError> {
        let close = |(name, (lines, count)): (String, (Lines, usize))| lines.finish().map(|()| (name, count));
        self.files.into_iter().map(close).collect()
    }
}

/// Moves new splits and sources into a data set, each file in one step and `dataset.yaml` last.
fn add<'a>(
    request: &Request,
    staging: &Staging,
    target: &Path,
    old: &Dataset,
    new: SplitFiles,
    sources: impl Iterator<Item = &'a String>,
) -> Result<(), CorpusError> {
    let mut meta = (*old.meta).clone();
    let mut outdated = Vec::new();
    for (split, file) in new {
        let name = format!("{split}.jsonl");
        staging.move_in(&name, &target.join(&name))?;
        let before = meta.splits.insert(split, file);
        outdated.extend(before.and_then(|file| file.as_str().map(str::to_owned)).filter(|before| *before != name));
    }
    for source in sources {
        add_source(source, staging, target, old)?;
    }
    if let Some(licence) = &request.licence {
        meta.licence = Some(licence.clone());
    }
    write_meta(target, &meta)?;
    for file in outdated {
        let path = target.join(file);
        fs::remove_file(&path).map_err(FileError::on("remove", &path))?;
    }
    Ok(())
}

/// Adds the rationales of a source to those that were there, in the place of those for the same questions.
fn add_source(source: &str, staging: &Staging, target: &Path, old: &Dataset) -> Result<(), CorpusError> {
    let file = format!("rationales/{source}.jsonl");
    let Some(before) = old.source_files().remove(source) else {
        return Ok(staging.move_in(&file, &target.join(&file))?);
    };
    let mut ids = HashSet::new();
    spool::each_rationale(&staging.path().join(&file), |rationale| {
        ids.insert(fingerprint(&rationale.id));
        Ok(())
    })?;
    let merged = "merged.jsonl";
    let mut lines = staging.lines(merged)?;
    spool::each_rationale(&before, |rationale| match ids.contains(&fingerprint(&rationale.id)) {
        true => Ok(()),
        false => Ok(lines.write(&rationale)?),
    })?;
    spool::each_rationale(&staging.path().join(&file), |rationale| Ok(lines.write(&rationale)?))?;
    lines.finish()?;
    let place = target.join(&file);
    staging.move_in(merged, &place)?;
    if before != place {
        fs::remove_file(&before).map_err(FileError::on("remove", &before))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Desk, names, request, run};
    use super::*;
    use crate::corpus::edits::{Patch, Target};
    use crate::corpus::formats::Format;
    use crate::corpus::formats::mapping::Mapping;

    fn stem(id: &str, answer: &str) -> String {
        let choices = r#"[{"label":"A","text":"x"},{"label":"B","text":"y"}]"#;
        format!(
            "{{\"id\":\"{id}\",\"question\":{{\"stem\":\"why {id}?\",\"choices\":{choices}}},\"answerKey\":\"{answer}\",\"fact1\":\"fact of {id}\"}}\n"
        )
    }

    #[test]
    fn rows_that_can_not_be_taken_are_reported_and_the_others_imported() {
        let desk = Desk::new();
        let train = desk.file(
            "t.jsonl",
            &(stem("q1", "A") + "{broken\n\n" + &stem("q2", "F") + &stem("q1", "B") + &stem("q3", "B")),
        );
        let mut request = request(Format::OpenBookQa, "mine", &[("train", &train)]);
        let (result, skipped) = run(&desk, &request);
        let summary = result.unwrap();
        assert_eq!((summary.splits[0].1.examples, summary.splits[0].1.answers, summary.skipped), (Some(2), Some(2), 3));
        assert_eq!(summary.sources["fact1"], 2);
        assert_eq!(skipped.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 4, 5]);
        assert!(skipped[1].to_string().ends_with("t.jsonl:4: the answer `F` is none of the labels A, B"));
        assert!(skipped[2].reason.contains("the id `q1` too"));

        let dataset = desk.catalog.open("mine").unwrap();
        assert_eq!(dataset.meta.licence.as_deref(), Some("Apache-2.0"));
        let page = dataset.split("train").unwrap().page(0, 9, "fact1").unwrap();
        assert_eq!(page[1].example.as_ref().unwrap().rationale.as_deref(), Some("fact of q3"));
        let own = dataset.split("train").unwrap().page(0, 1, "default").unwrap();
        assert_eq!(own[0].example.as_ref().unwrap().rationale.as_deref(), Some("fact of q1"));

        (request.name, request.strict) = ("strict".into(), true);
        let error = run(&desk, &request).0.unwrap_err().to_string();
        assert!(error.starts_with("3 rows could not be taken"), "{error}");
        assert_eq!(desk.datasets(), ["mine"]);
    }

    #[test]
    fn a_split_of_which_nothing_can_be_taken_ends_the_import() {
        let desk = Desk::new();
        let (good, bad) = (desk.file("a.jsonl", &stem("q1", "A")), desk.file("b.jsonl", "[]\n"));
        let empty = desk.file("c.jsonl", "\n");
        let (result, _) = run(&desk, &request(Format::CommonsenseQa, "mine", &[("train", &good), ("test", &bad)]));
        let error = result.unwrap_err().to_string();
        assert!(
            error.contains("no row of the split test") && error.contains("b.jsonl:1: the row is no object"),
            "{error}"
        );
        let (result, _) = run(&desk, &request(Format::CommonsenseQa, "mine", &[("train", &empty)]));
        assert!(result.unwrap_err().to_string().contains("the split train has no rows"));
        assert!(desk.datasets().is_empty());
    }

    #[test]
    fn an_existing_data_set_is_kept_unless_it_is_to_be_replaced() {
        let desk = Desk::new();
        let (one, other) = (desk.file("a.jsonl", &stem("q1", "A")), desk.file("b.jsonl", &stem("q2", "B")));
        let mut again = request(Format::OpenBookQa, "mine", &[("train", &one)]);
        run(&desk, &again).0.unwrap();
        let dataset = desk.catalog.open("mine").unwrap();
        let target = Target { split: "train".into(), id: "q2".into(), source: "default".into() };
        dataset.change(|edits| edits.set(target, Patch::Rationale(Some("typed".into())))).unwrap();
        fs::write(desk.folder("mine").join("rationales/llama.jsonl"), "{\"id\":\"q2\",\"rationale\":\"l\"}\n").unwrap();

        again.inputs[0].path = other;
        let error = run(&desk, &again).0.unwrap_err().to_string();
        assert!(error.contains("--replace") && error.contains("--add"), "{error}");
        assert_eq!(dataset.split("train").unwrap().find("q1", "default").unwrap().0, 0);

        again.replace = true;
        run(&desk, &again).0.unwrap();
        assert_eq!(desk.datasets(), ["mine"]);
        let new = desk.catalog.open("mine").unwrap();
        let edited = new.split("train").unwrap().find("q2", "default").unwrap().1;
        assert_eq!(edited.rationale.as_deref(), Some("typed"));
        assert_eq!(new.source_names(), ["fact1", "llama"]);
    }

    #[test]
    fn splits_and_their_facts_are_added_to_a_data_set() {
        let desk = Desk::new();
        let (one, other) =
            (desk.file("a.jsonl", &stem("q1", "A")), desk.file("b.jsonl", &(stem("q1", "B") + &stem("q2", "B"))));
        run(&desk, &request(Format::OpenBookQa, "mine", &[("train", &one)])).0.unwrap();
        let mut more = Request { add: true, ..request(Format::OpenBookQa, "mine", &[("validation", &other)]) };
        run(&desk, &more).0.unwrap();
        let dataset = desk.catalog.open("mine").unwrap();
        assert_eq!(dataset.split_names().collect::<Vec<_>>(), ["train", "validation"]);
        assert_eq!(dataset.source("fact1").unwrap().values().map(Vec::len).sum::<usize>(), 2);
        assert_eq!(names(&desk.folder("mine")), ["dataset.yaml", "rationales", "train.jsonl", "validation.jsonl"]);

        let error = run(&desk, &more).0.unwrap_err().to_string();
        assert!(error.contains("has a split `validation` already"), "{error}");
        (more.replace, more.inputs[0].path) = (true, one);
        run(&desk, &more).0.unwrap();
        let split = desk.catalog.open("mine").unwrap().split("validation").unwrap();
        assert_eq!(split.examples("default").unwrap().len(), 1);
    }

    #[test]
    fn nothing_is_added_to_a_built_in_data_set() {
        let desk = Desk::new();
        let target = Target { split: "train".into(), id: "tr-0001".into(), source: "default".into() };
        let built_in = desk.catalog.open("toyworld").unwrap();
        built_in.change(|edits| edits.set(target, Patch::Rationale(None))).unwrap();
        let more = desk.file("a.jsonl", &stem("q1", "A"));
        let request = Request { add: true, ..request(Format::OpenBookQa, "toyworld", &[("more", &more)]) };
        let error = run(&desk, &request).0.unwrap_err().to_string();
        assert!(error.contains("`toyworld` is built in"), "{error}");
        assert_eq!(names(&desk.folder("toyworld")), ["edits.jsonl"]);
    }

    #[test]
    fn a_mapping_that_leads_nowhere_is_noted() {
        let desk = Desk::new();
        let file = desk.file("a.csv", "q,x,y,gold\nwhy?,one,two,A\n");
        let mapping = Mapping::parse(["question=q", "choices=x,y", "answer=golden"]).unwrap();
        let request = Request { mapping, ..request(Format::Mapping, "mine", &[("train", &file)]) };
        let summary = run(&desk, &request).0.unwrap();
        assert_eq!(summary.notes, ["no row of train has the answer that --map answer=… asks for · check the path"]);
        let page = desk.catalog.open("mine").unwrap().split("train").unwrap().page(0, 1, "default").unwrap();
        assert_eq!(page[0].example.as_ref().unwrap().id, "train-000001");
    }
}
