//! The tour: the paper's three findings on the toy world, which is the shipped study `toy-tour`, as runs that anyone can
//! start with one key.

use std::collections::HashSet;
use std::path::Path;

use super::StudyError;
use super::file::{SHIPPED, Study};
use crate::journal::RunState;
use crate::runs::spec::{CONDITION, RunSpec};
use crate::runs::{RunDirectory, RunError, Seeds, prepare, spawn};

/// The specifications of a tour. Each seed is a student and an order of its own; with `worlds`, also a world.
pub fn specs(seeds: &[u64], worlds: bool) -> Result<Vec<RunSpec>, StudyError> {
    let (name, text) = SHIPPED[0];
    let mut study = Study::parse(text, Path::new(&format!("studies/{name}.yaml")))?;
    let mut seen = HashSet::new();
    let own = |seed: u64| Seeds { init: seed, order: seed, ablation: seed };
    study.seeds = seeds.iter().filter(|seed| seen.insert(**seed)).map(|seed| own(*seed)).collect();
    let specs = study.cells()?.into_iter().map(|cell| cell.spec);
    let in_world = |spec: RunSpec| RunSpec { dataset: format!("{}:{}", spec.dataset, spec.seed.init), ..spec };
    Ok(if worlds { specs.map(in_world).collect() } else { specs.collect() })
}

/// Makes and starts the runs of a tour that are not there yet. Gives them all.
pub fn start(project: &Path, specs: Vec<RunSpec>) -> Result<Vec<RunDirectory>, RunError> {
    let known: Vec<_> = usable(project).map(|(spec, run)| (spec.identity(), run)).collect();
    let mut runs = Vec::new();
    for spec in specs {
        let identity = spec.identity();
        if let Some((_, run)) = known.iter().find(|(other, _)| *other == identity) {
            runs.push(run.clone());
            continue;
        }
        prepare::check(project, &spec)?;
        let name = spec.tags.get(CONDITION).cloned().unwrap_or_default();
        let run = RunDirectory::create(project, spec, &name)?;
        spawn::worker(project, &run)?;
        runs.push(run);
    }
    Ok(runs)
}

/// The smallest seed whose tour this project does not have complete, done or under way.
pub fn next_seed(project: &Path) -> u64 {
    let known: HashSet<String> = usable(project).map(|(spec, _)| spec.identity()).collect();
    let complete = |seed: &u64| {
        specs(&[*seed], false).is_ok_and(|specs| specs.iter().all(|spec| known.contains(&spec.identity())))
    };
    (0..).find(|seed| !complete(seed)).unwrap_or_default()
}

/// Runs that are finished, or will be.
fn usable(project: &Path) -> impl Iterator<Item = (RunSpec, RunDirectory)> {
    let read = RunDirectory::list(project).into_iter().filter_map(|run| Some((run.read().ok()?, run)));
    read.filter(|(run, _)| run.state == RunState::Finished || run.state.is_active())
        .map(|(run, directory)| (run.spec, directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tour_is_the_papers_three_findings() {
        let specs = specs(&[0, 1], false).unwrap();
        assert_eq!(specs.len(), 18);
        let recipes: Vec<String> = specs[..9].iter().map(|spec| spec.rationale.to_string()).collect();
        assert_eq!(
            recipes,
            [
                "none",
                "pre",
                "post",
                "post, shuffled tokens",
                "post, 3 key tokens",
                "post, 3 random tokens",
                "none",
                "pre",
                "post"
            ]
        );
        assert!(specs.iter().all(|spec| spec.evaluation.last_split() == "test"));
        let mut identities: Vec<_> = specs.iter().map(RunSpec::identity).collect();
        identities.sort();
        identities.dedup();
        assert_eq!(identities.len(), 18);
    }

    #[test]
    fn the_tours_runs_are_those_that_earlier_versions_made() {
        let mut first = RunSpec::preset("toy");
        first.rationale.placement = crate::rationale::Placement::None;
        first.evaluation.last = Some("test".into());
        assert_eq!(specs(&[0], false).unwrap()[0].identity(), first.identity());
        let worlds = specs(&[5, 5, 6], true).unwrap();
        assert_eq!(worlds.len(), 18);
        assert_eq!((worlds[0].dataset.as_str(), worlds[6].dataset.as_str()), ("toyworld:5", "toyworld-noisy:5"));
    }
}
