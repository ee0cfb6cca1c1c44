//! A data set: what `dataset.yaml` says of it, its splits, its rationale sources and its edits.

use std::collections::{BTreeMap, HashMap};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use serde::{Deserialize, Serialize};

use super::edits::{DEFAULT_SOURCE, Edits};
use super::rows::{Change, Count, LineFile, Row, RowError, Rows};
use super::toyworld::World;
use super::{CorpusError, Example, SourceRationale, spool};
use crate::files::{self, FileError};

/// `dataset.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Split name to file name, in the order in which they are shown.
    pub splits: SplitFiles,
    /// The field that names what a question is about, where there is one: a reader is trained with it hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default)]
    pub template: Template,
}

/// Split names with their files, in the order of `dataset.yaml`.
pub type SplitFiles = serde_json::Map<String, serde_json::Value>;

/// What the student writes as its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelStyle {
    /// The label, such as `B`.
    #[default]
    Letter,
    /// The text of the choice.
    Text,
}

/// How an example is put into words for the student. Each piece is tokenised by itself, so pieces begin with the space
/// or line break that parts them from the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Template {
    /// With `{question}` and `{choices}`.
    pub prompt: String,
    /// One choice, with `{label}` and `{text}`.
    pub choice: String,
    pub choice_separator: String,
    /// What stands before the label.
    pub answer: String,
    /// What stands before the rationale.
    pub rationale: String,
    pub label: LabelStyle,
}

impl Default for Template {
    fn default() -> Self {
        Self {
            prompt: "Question: {question}\nChoices: {choices}".into(),
            choice: "{label}: {text}".into(),
            choice_separator: " ".into(),
            answer: "\nAnswer:".into(),
            rationale: "\nBecause:".into(),
            label: LabelStyle::Letter,
        }
    }
}

impl Template {
    /// The question with its choices, and the bytes of it that are the question.
    pub fn prompt_text(&self, example: &Example) -> (String, Range<usize>) {
        let choice = |choice: &super::Choice| fill(&self.choice, &[("label", &choice.label), ("text", &choice.text)]).0;
        let choices: Vec<String> = example.choices.iter().map(choice).collect();
        fill(&self.prompt, &[("question", &example.question), ("choices", &choices.join(&self.choice_separator))])
    }

    /// What the student writes for a choice, with its leading space.
    pub fn label_text(&self, choice: &super::Choice) -> String {
        match self.label {
            LabelStyle::Letter => format!(" {}", choice.label),
            LabelStyle::Text => format!(" {}", choice.text),
        }
    }
}

/// Fills `{name}` in one pass, so that braces inside a value are never taken for a name. Also gives the bytes at which
/// the first value stands.
fn fill(template: &str, values: &[(&str, &str)]) -> (String, Range<usize>) {
    let mut out = String::with_capacity(template.len() + 128);
    let mut first = 0..0;
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        let tail = &rest[open + 1..];
        let named = |name: &str| tail.strip_prefix(name).is_some_and(|tail| tail.starts_with('}'));
        match values.iter().position(|(name, _)| named(name)) {
            Some(place) => {
                let (name, value) = values[place];
                if place == 0 {
                    first = out.len()..out.len() + value.len();
                }
                out.push_str(value);
                rest = &tail[name.len() + 1..];
            }
            None => {
                out.push('{');
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    (out, first)
}

/// Where a data set comes from.
#[derive(Clone)]
pub enum Origin {
    Folder(PathBuf),
    /// Generated when it is opened; nothing of it is on the disk until it is edited or exported.
    BuiltIn(World),
}

/// An open data set. Cheap to clone; clones share the index and the edits.
#[derive(Clone)]
pub struct Dataset {
    pub meta: Arc<Meta>,
    pub origin: Origin,
    edits: Arc<RwLock<Edits>>,
    splits: Arc<Mutex<HashMap<String, Rows>>>,
    sources: Arc<Mutex<HashMap<String, Arc<SourceIndex>>>>,
}

/// The rationales of one source, by the id of their question.
pub type SourceIndex = HashMap<String, Vec<SourceRationale>>;

impl Dataset {
    /// Opens the data set in a folder, with or without a `dataset.yaml`.
    pub fn open(folder: &Path) -> Result<Self, CorpusError> {
        let meta_path = folder.join("dataset.yaml");
        let meta = if meta_path.exists() {
            let text = files::read_to_string(&meta_path)?;
            serde_yaml::from_str(&text)
                .map_err(|error| CorpusError::Meta { path: meta_path.clone(), problem: error.to_string() })?
        } else {
            guess_meta(folder)?
        };
        Ok(Self::new(meta, Origin::Folder(folder.to_owned()), Edits::load(&folder.join("edits.jsonl"))?))
    }

    /// The generated data set `name`. Edits, once made, live in `folder`.
    pub fn built_in(name: &str, world: World, folder: &Path) -> Result<Self, CorpusError> {
        let edits = Edits::load(&folder.join("edits.jsonl"))?;
        Ok(Self::new(world.meta(name), Origin::BuiltIn(world), edits))
    }

    fn new(meta: Meta, origin: Origin, edits: Edits) -> Self {
        Self {
            meta: Arc::new(meta),
            origin,
            edits: Arc::new(RwLock::new(edits)),
            splits: Arc::default(),
            sources: Arc::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.meta.name
    }

    /// Split names, in the order of `dataset.yaml`.
    pub fn split_names(&self) -> impl Iterator<Item = &str> {
        self.meta.splits.keys().map(String::as_str)
    }

    /// Whether a split is there, without reading it: a compressed one may take long to open.
    pub fn look_for_split(&self, name: &str) -> Result<(), CorpusError> {
        let unknown = || CorpusError::unknown_split(self.name(), name, self.split_names());
        let file = self.meta.splits.get(name).and_then(|file| file.as_str()).ok_or_else(unknown)?;
        if let Origin::Folder(folder) = &self.origin {
            let path = folder.join(file);
            std::fs::metadata(&path).map_err(FileError::on("read", &path))?;
        }
        Ok(())
    }

    /// Whether a rationale source is there.
    pub fn look_for_source(&self, name: &str) -> Result<(), CorpusError> {
        let known = self.source_names();
        let is_known = name == DEFAULT_SOURCE || known.iter().any(|known| known == name);
        if is_known { Ok(()) } else { Err(CorpusError::unknown_source(self.name(), name, &known)) }
    }

    /// Opens a split. The second call for the same split is free.
    pub fn split(&self, name: &str) -> Result<Split, CorpusError> {
        let mut splits = self.splits.lock().unwrap_or_else(|poison| poison.into_inner());
        if let Some(rows) = splits.get(name) {
            return Ok(Split { dataset: self.clone(), name: name.into(), rows: rows.clone() });
        }
        let unknown = || CorpusError::unknown_split(self.name(), name, self.split_names());
        let file = self.meta.splits.get(name).and_then(|file| file.as_str()).ok_or_else(unknown)?;
        let rows = match &self.origin {
            Origin::BuiltIn(world) => Rows::Memory(world.generate().split(name).ok_or_else(unknown)?),
            Origin::Folder(folder) => {
                Rows::File(Arc::new(LineFile::open_copy(&spool::as_jsonl(folder, file)?, &folder.join(file))?))
            }
        };
        splits.insert(name.into(), rows.clone());
        Ok(Split { dataset: self.clone(), name: name.into(), rows })
    }

    /// The names of the rationale sources beside the default one.
    pub fn source_names(&self) -> Vec<String> {
        self.source_files().into_keys().collect()
    }

    /// The files of the rationale sources, by name.
    pub fn source_files(&self) -> BTreeMap<String, PathBuf> {
        let Origin::Folder(folder) = &self.origin else { return BTreeMap::new() };
        let entries = std::fs::read_dir(folder.join("rationales")).into_iter().flatten().flatten();
        let named = |path: PathBuf| Some((spool::split_stem(path.file_name()?.to_str()?)?.to_owned(), path));
        entries.filter_map(|entry| named(entry.path())).collect()
    }

    /// The rationales of a source.
    pub fn source(&self, name: &str) -> Result<Arc<SourceIndex>, CorpusError> {
        let mut sources = self.sources.lock().unwrap_or_else(|poison| poison.into_inner());
        if let Some(source) = sources.get(name) {
            return Ok(source.clone());
        }
        let files = self.source_files();
        let unknown = || CorpusError::unknown_source(self.name(), name, &self.source_names());
        let source = Arc::new(read_source(files.get(name).ok_or_else(unknown)?)?);
        sources.insert(name.into(), source.clone());
        Ok(source)
    }

    /// The edits, to look at.
    pub fn edits(&self) -> std::sync::RwLockReadGuard<'_, Edits> {
        self.edits.read().unwrap_or_else(|poison| poison.into_inner())
    }

    /// The edits, to add one. A built-in data set gets its folder now, and a folder's edits made elsewhere are read.
    pub fn change<T>(&self, change: impl FnOnce(&mut Edits) -> Result<T, FileError>) -> Result<T, FileError> {
        let mut edits = self.edits.write().unwrap_or_else(|poison| poison.into_inner());
        let path = edits.path().to_owned();
        let folder = path.parent().unwrap_or(Path::new("."));
        files::create_dir(folder)?;
        // Several workbenches may edit one data set: each reads what the others wrote before it writes. The lock goes with
        // the file handle, also when the process is killed; a file system without locks is no reason to refuse an edit.
        let lock = std::fs::File::open(folder).map_err(FileError::on("read", folder))?;
        let _ = lock.lock();
        *edits = Edits::load(&path)?;
        change(&mut edits)
    }
}

/// A split of a data set, seen through the edits.
#[derive(Clone)]
pub struct Split {
    pub dataset: Dataset,
    pub name: String,
    rows: Rows,
}

impl Split {
    pub fn count(&self) -> Count {
        self.rows.count()
    }

    /// Looks whether the file of the split changed, and takes in what did.
    pub fn refresh(&self) -> Result<Change, FileError> {
        self.rows.refresh()
    }

    /// How often the rationale of each edited example of a source was edited, by id.
    pub fn edits(&self, source: &str) -> HashMap<String, usize> {
        let edits = self.dataset.edits();
        let own = edits.targets().filter(|target| target.split == self.name && target.source == source);
        own.map(|target| (target.id.clone(), edits.depth(target))).collect()
    }

    /// The number of rows, waiting for the index if need be.
    pub fn count_all(&self) -> usize {
        loop {
            let count = self.rows.count();
            if count.complete {
                return count.rows;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Up to `limit` rows from row `start` on, edits applied, with the rationale of `source`.
    pub fn page(&self, start: usize, limit: usize, source: &str) -> Result<Vec<Row>, CorpusError> {
        let source = Source::of(&self.dataset, source)?;
        let mut page = self.rows.page(start, limit)?;
        for row in &mut page {
            if let Ok(example) = &mut row.example {
                source.apply(&self.dataset.edits(), &self.name, example);
            }
        }
        Ok(page)
    }

    /// A row as it stands in the files, with the rationale of `source` and without the edits.
    pub fn original(&self, row: usize, source: &str) -> Result<Option<Example>, CorpusError> {
        let source = Source::of(&self.dataset, source)?;
        let Some(row) = self.rows.page(row, 1)?.into_iter().next() else { return Ok(None) };
        let mut example = row.example?;
        source.apply(&Edits::default(), &self.name, &mut example);
        Ok(Some(example))
    }

    /// Every row from `start` on, edits applied, with the rationale of `source`, until `each` breaks off.
    pub fn visit(
        &self,
        start: usize,
        source: &str,
        mut each: impl FnMut(Row) -> ControlFlow<()>,
    ) -> Result<(), CorpusError> {
        let source = Source::of(&self.dataset, source)?;
        let edits = self.dataset.edits().clone();
        self.rows.visit(start, &mut |mut row| {
            if let Ok(example) = &mut row.example {
                source.apply(&edits, &self.name, example);
            }
            each(row)
        })?;
        Ok(())
    }

    /// All examples, in order; the first bad row is an error.
    pub fn examples(&self, source: &str) -> Result<Vec<Example>, CorpusError> {
        let mut examples = Vec::new();
        let mut bad: Option<RowError> = None;
        self.visit(0, source, |row| match row.example {
            Ok(example) => {
                examples.push(example);
                ControlFlow::Continue(())
            }
            Err(error) => {
                bad = Some(error);
                ControlFlow::Break(())
            }
        })?;
        match bad {
            Some(error) => Err(error.into()),
            None => Ok(examples),
        }
    }

    /// The example with this id and its row number.
    pub fn find(&self, id: &str, source: &str) -> Result<(usize, Example), CorpusError> {
        let mut found = None;
        self.visit(0, source, |row| match row.example {
            Ok(example) if example.id == id => {
                found = Some((row.number, example));
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        })?;
        found.ok_or_else(|| CorpusError::UnknownId {
            dataset: self.dataset.name().into(),
            split: self.name.clone(),
            id: id.into(),
        })
    }
}

/// Where the rationale of an example is taken from.
enum Source {
    Default,
    Named(String, Arc<SourceIndex>),
}

impl Source {
    fn of(dataset: &Dataset, name: &str) -> Result<Self, CorpusError> {
        if name == DEFAULT_SOURCE { Ok(Self::Default) } else { Ok(Self::Named(name.into(), dataset.source(name)?)) }
    }

    fn apply(&self, edits: &Edits, split: &str, example: &mut Example) {
        match self {
            Self::Default => edits.apply(split, DEFAULT_SOURCE, example),
            Self::Named(name, index) => {
                // The first sample; drawing another one each visit is a method of its own.
                let first = index.get(&example.id).and_then(|samples| samples.first());
                example.rationale = first.and_then(|sample| sample.rationale.clone());
                example.rationale_source = Some(name.clone());
                example.highlights.clear();
                edits.apply(split, name, example);
            }
        }
    }
}

fn read_source(path: &Path) -> Result<SourceIndex, CorpusError> {
    let mut index = SourceIndex::new();
    spool::each_rationale(path, |sample| {
        index.entry(sample.id.clone()).or_default().push(sample);
        Ok(())
    })?;
    for samples in index.values_mut() {
        samples.sort_by_key(|sample| sample.sample);
    }
    Ok(index)
}

/// What a folder without `dataset.yaml` most likely is: each data file is a split of its own name.
fn guess_meta(folder: &Path) -> Result<Meta, CorpusError> {
    let entries = std::fs::read_dir(folder).map_err(FileError::on("read", folder))?;
    let mut found: BTreeMap<(usize, String), String> = BTreeMap::new();
    for file in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let Some(stem) = spool::split_stem(&file) else { continue };
        let rank = ["train", "validation", "dev", "test"].iter().position(|known| *known == stem).unwrap_or(9);
        found.insert((rank, stem.to_owned()), file);
    }
    if found.is_empty() {
        return Err(CorpusError::NotADataset { path: folder.to_owned() });
    }
    let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let splits = found.into_iter().map(|((_, stem), file)| (stem, file.into())).collect();
    Ok(Meta { name, splits, ..Meta::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_a_question_are_not_names() {
        let example = Example {
            question: "what is {choices} ?".into(),
            choices: vec![super::super::Choice { label: "A".into(), text: "{question}".into() }],
            ..Example::default()
        };
        let (text, question) = Template::default().prompt_text(&example);
        assert_eq!(text, "Question: what is {choices} ?\nChoices: A: {question}");
        assert_eq!(text[question], example.question);
        assert_eq!(fill("{a}{b}{", &[("a", "{b}")]).0, "{b}{b}{");
    }

    #[test]
    fn a_folder_of_jsonl_files_is_a_data_set() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("mine");
        std::fs::create_dir(&folder).unwrap();
        let row = r#"{"id":"a","question":"?","choices":[{"label":"A","text":"x"}]}"#;
        std::fs::write(folder.join("test.jsonl"), row).unwrap();
        std::fs::write(folder.join("train.jsonl"), row).unwrap();
        let dataset = Dataset::open(&folder).unwrap();
        assert_eq!(dataset.split_names().collect::<Vec<_>>(), ["train", "test"]);
        assert_eq!(dataset.split("train").unwrap().find("a", "default").unwrap().0, 0);
        let missing = dataset.split("train").unwrap().find("b", "default").unwrap_err().to_string();
        assert!(missing.contains("no example `b`") && missing.contains("mine/train"), "{missing}");
    }
}
