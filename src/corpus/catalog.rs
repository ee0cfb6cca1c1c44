//! The data sets of a project, and the built-in ones.

use std::path::{Path, PathBuf};

use super::toyworld::World;
use super::{CorpusError, Dataset, nearest};

/// Generated data sets that every project has, unless a folder of the same name takes their place.
const BUILT_IN: [(&str, World); 2] = [
    ("toyworld", World { seed: World::TYPICAL, noise: 0.0 }),
    ("toyworld-noisy", World { seed: World::TYPICAL, noise: 0.5 }),
];

/// Finds data sets by name.
#[derive(Clone, Debug)]
pub struct Catalog {
    folder: PathBuf,
}

impl Catalog {
    /// The data sets under `PROJECT/datasets`. The folder need not exist.
    pub fn new(project: &Path) -> Self {
        Self { folder: project.join("datasets") }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Names in alphabetical order, built-in ones first.
    pub fn names(&self) -> Vec<String> {
        let mut own: Vec<String> = std::fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.') && self.has_rows(name) && built_in(name).is_none())
            .collect();
        own.sort();
        BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).chain(own).collect()
    }

    /// Opens a data set.
    pub fn open(&self, name: &str) -> Result<Dataset, CorpusError> {
        let folder = self.folder.join(name);
        // A name is one folder's name: nothing outside the project is reached by it.
        let is_name = Path::new(name).components().count() == 1 && !name.starts_with('.');
        if is_name && self.has_rows(name) {
            return Dataset::open(&folder);
        }
        if let Some(world) = built_in(name) {
            return Dataset::built_in(name, world, &folder);
        }
        if is_name && folder.is_dir() {
            return Err(CorpusError::NotADataset { path: folder });
        }
        let names = self.names();
        Err(CorpusError::UnknownDataset {
            name: crate::text::line(name).into(),
            folder: self.folder.clone(),
            nearest: nearest(name, names.iter().map(String::as_str)),
        })
    }

    /// Whether a folder holds rows; one that holds only the edits of a built-in data set doesn't.
    fn has_rows(&self, name: &str) -> bool {
        let folder = self.folder.join(name);
        folder.join("dataset.yaml").exists()
            || std::fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .any(|entry| entry.file_name().to_str().is_some_and(|file| super::spool::split_stem(file).is_some()))
    }
}

/// A built-in data set by its name; `toyworld:7` is the toy world of seed 7.
fn built_in(name: &str) -> Option<World> {
    let (name, seed) = match name.split_once(':') {
        Some((name, seed)) => (name, seed.parse().ok()?),
        None => (name, World::TYPICAL),
    };
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, world)| World { seed, ..*world })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::edits::{Patch, Target};

    #[test]
    fn a_fresh_folder_offers_the_toy_world_and_stays_empty() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::new(dir.path());
        assert_eq!(catalog.names(), ["toyworld", "toyworld-noisy"]);
        let page = catalog.open("toyworld").unwrap().split("train").unwrap().page(0, 3, "default").unwrap();
        assert_eq!(page.len(), 3);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_edit_of_the_built_in_world_is_kept_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::new(dir.path());
        let dataset = catalog.open("toyworld").unwrap();
        let target = Target { split: "train".into(), id: "tr-0002".into(), source: "default".into() };
        dataset.change(|edits| edits.set(target, Patch::Rationale(Some("because".into())))).unwrap();
        let again = catalog.open("toyworld").unwrap().split("train").unwrap().page(1, 1, "default").unwrap();
        assert_eq!(again[0].example.as_ref().unwrap().rationale.as_deref(), Some("because"));
        assert_eq!(catalog.names(), ["toyworld", "toyworld-noisy"]);
    }

    #[test]
    fn a_world_can_be_named_by_its_seed() {
        let dir = tempfile::tempdir().unwrap();
        let id = |name: &str| {
            let split = Catalog::new(dir.path()).open(name).unwrap().split("train").unwrap();
            split.page(0, 1, "default").unwrap()[0].example.clone().unwrap().question
        };
        assert_eq!(id("toyworld"), id(&format!("toyworld:{}", World::TYPICAL)));
        assert_ne!(id("toyworld:7"), id("toyworld:8"));
        assert_eq!(id("toyworld:7"), id("toyworld-noisy:7"));
    }

    #[test]
    fn a_wrong_name_gets_a_right_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = Catalog::new(dir.path()).open("toywrld").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("did you mean `toyworld`?"), "{error}");
        assert!(Catalog::new(dir.path()).open("../toyworld").is_err());
    }
}
