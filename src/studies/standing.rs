//! Which cells of a study exist already: runs are found by all that decides their result, the rows they read included.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::Cell;
use crate::corpus::Catalog;
use crate::journal::RunState;
use crate::rationale::recipe::STUDENT;
use crate::runs::{LoadedSplit, Run, RunDirectory, RunSpec, fingerprint, hashes, lending, load_split, prepare};

/// Where a cell stands.
#[derive(Clone, Debug)]
pub enum Standing {
    /// There is no such run.
    Missing,
    Finished(Box<Run>),
    /// A worker is at it, or should be any moment.
    Active(Box<Run>),
    /// Stopped or interrupted; it goes on from its newest checkpoint.
    Unfinished(Box<Run>),
    Failed(Box<Run>),
    /// It can't be run: the data set is gone, say.
    Impossible(String),
}

impl Standing {
    /// The run, where there is one.
    pub fn run(&self) -> Option<&Run> {
        match self {
            Self::Finished(run) | Self::Active(run) | Self::Unfinished(run) | Self::Failed(run) => Some(run),
            Self::Missing | Self::Impossible(_) => None,
        }
    }

    /// The word for tables and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing => "would run",
            Self::Impossible(_) => "can't run",
            Self::Finished(run) | Self::Active(run) | Self::Unfinished(run) | Self::Failed(run) => run.state.name(),
        }
    }
}

/// The hashes of the rows that a run reads, and of its word vectors.
type Hashes = BTreeMap<String, String>;

/// The runs of a project by what decides their results, and the rows as they are now.
#[derive(Default)]
pub struct Known {
    project: PathBuf,
    runs: HashMap<String, Vec<RunDirectory>>,
    seen: HashSet<String>,
    rows: HashMap<String, Result<Hashes, String>>,
    /// Fingerprints of the students' files, by the students.
    students: HashMap<(String, Option<String>), Hashes>,
    /// Fingerprints of data sets' templates, by data set.
    templates: HashMap<String, Option<String>>,
}

impl Known {
    pub fn read(project: &Path) -> Self {
        let mut known = Self { project: project.to_owned(), ..Self::default() };
        known.look();
        known
    }

    /// Takes in the runs that were made since.
    pub fn look(&mut self) {
        for run in RunDirectory::list(&self.project) {
            if self.seen.contains(run.id()) {
                continue;
            }
            // One that can't be read now may be readable later: its file is being written, say.
            let Ok(spec) = run.spec() else { continue };
            self.seen.insert(run.id().to_owned());
            // A fork began elsewhere, and is another run for all that its settings are the same.
            if spec.record.as_ref().is_none_or(|record| record.forked_from.is_none()) {
                self.runs.entry(spec.identity()).or_default().push(run);
            }
        }
    }

    /// The hashes of what a run would read now, or why it can't be read. Each split is read once.
    pub fn rows(&mut self, spec: &RunSpec) -> Result<Hashes, String> {
        let splits = [prepare::TRAIN, &spec.evaluation.split, spec.evaluation.last_split()];
        let vectors = spec.rationale.vectors().filter(|file| *file != STUDENT);
        // Whatever else decides which texts are read.
        let lending = lending::decisive(&spec.rationale, spec.seed.ablation);
        let key = [&spec.dataset, &spec.rationale.source, vectors.unwrap_or_default(), &*lending];
        let key = [&key[..], &splits[..]].concat().join("\u{0}");
        if let Some(found) = self.rows.get(&key) {
            return found.clone();
        }
        let read = || -> Result<Hashes, crate::runs::RunError> {
            let dataset = prepare::dataset(&self.project, spec)?;
            let names: BTreeSet<&str> = splits.into_iter().collect();
            let load = |name: &str| load_split(&dataset, name, &spec.rationale.source);
            let mut loaded = names.into_iter().map(load).collect::<Result<Vec<_>, _>>()?;
            if vectors.is_none() && lending.is_empty() {
                return Ok(hashes(&loaded, &spec.rationale, None));
            }
            for split in &mut loaded {
                split.lend(&dataset, &spec.rationale, spec.seed.ablation)?;
            }
            let examples = loaded.iter().flat_map(LoadedSplit::all_examples);
            let words = lending::file_vectors(&self.project, &spec.rationale, examples, &mut |_, _| {})?;
            Ok(hashes(&loaded, &spec.rationale, words.as_ref()))
        };
        let found = read().map_err(|error| error.to_string());
        self.rows.insert(key, found.clone());
        found
    }

    /// The fingerprints of the students that a run would read now. What can't be read is not known.
    fn students(&mut self, spec: &RunSpec) -> &Hashes {
        let teacher = spec.training.soft_labels.as_ref().map(|soft| soft.teacher.clone());
        let key = (spec.student.clone(), teacher);
        self.students.entry(key).or_insert_with(|| fingerprint::of_run(&self.project, spec).unwrap_or_default())
    }

    /// The fingerprint of a data set's template, where it is there.
    fn template(&mut self, dataset: &str) -> Option<String> {
        let known = self.templates.entry(dataset.to_owned());
        let open = || Some(fingerprint::of_template(&Catalog::new(&self.project).open(dataset).ok()?));
        known.or_insert_with(open).clone()
    }

    /// Where a cell stands. Of several runs of it the one that is furthest counts: the oldest finished one, else one that
    /// is under way, and so on. A finished cell stays one where its data set is gone since.
    pub fn standing(&mut self, cell: &Cell) -> Standing {
        let rows = self.rows(&cell.spec);
        let students = self.students(&cell.spec).clone();
        let template = self.template(&cell.spec.dataset);
        let candidates = self.runs.get(&cell.spec.identity()).cloned().unwrap_or_default();
        let fits = |run: &Run| {
            let record = run.spec.record.as_ref();
            if record.is_some_and(|record| !fingerprint::agree(&record.students, &students)) {
                return false;
            }
            // Runs of earlier versions don't say under which template they learned.
            if let (Some(now), Some(then)) = (&template, record.and_then(|record| record.template.as_ref()))
                && now != then
            {
                return false;
            }
            let read = record.map(|record| &record.data);
            match (&rows, read) {
                // One that has not read its rows yet will read them as they are now.
                (Ok(rows), Some(read)) => read.is_empty() || read == rows,
                _ => run.state == RunState::Finished,
            }
        };
        let runs = candidates.iter().filter_map(|run| run.read().ok()).filter(fits);
        let rank = |state: RunState| match state {
            RunState::Finished => 0,
            state if state.is_active() => 1,
            RunState::Stopped | RunState::Interrupted => 2,
            _ => 3,
        };
        match (runs.min_by_key(|run| rank(run.state)), rows) {
            (Some(run), _) => match rank(run.state) {
                0 => Standing::Finished(Box::new(run)),
                1 => Standing::Active(Box::new(run)),
                2 => Standing::Unfinished(Box::new(run)),
                _ => Standing::Failed(Box::new(run)),
            },
            (None, Err(problem)) => Standing::Impossible(problem),
            (None, Ok(_)) => Standing::Missing,
        }
    }

    /// Finished runs of the same student on the same data set, with as many steps: what others took of time and disk says
    /// what a cell will take. Those with their rationale in the same place are asked, where there are any.
    pub fn alike(&self, spec: &RunSpec) -> Vec<RunDirectory> {
        let is_alike = |other: &RunSpec| {
            other.student == spec.student
                && other.family() == spec.family()
                && (other.training.steps, other.training.epochs) == (spec.training.steps, spec.training.epochs)
                && other.training.examples_per_step() == spec.training.examples_per_step()
                && other.training.lora == spec.training.lora
        };
        let is_closer = |other: &RunSpec| {
            other.rationale.placement == spec.rationale.placement
                && other.training.soft_labels.is_some() == spec.training.soft_labels.is_some()
        };
        let read = self.runs.values().flatten().filter_map(|run| Some((run, run.spec().ok()?)));
        let all: Vec<(&RunDirectory, RunSpec)> = read.filter(|(_, other)| is_alike(other)).collect();
        let closer = all.iter().any(|(_, other)| is_closer(other));
        all.into_iter().filter(|(_, other)| !closer || is_closer(other)).map(|(run, _)| run.clone()).collect()
    }
}
