//! The tour: the paper's three findings on the toy world, as runs that anyone can start with one key.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::directory::RunDirectory;
use super::spec::{CONDITION, RunSpec};
use super::{RunError, Seeds, prepare, worker};
use crate::journal::RunState;
use crate::rationale::Placement;
use crate::rationale::recipe::{Ablation, Keep, KeepBy, Shuffle};

/// A condition of the tour: its name, its world and what is done to the rationale.
struct Condition {
    name: &'static str,
    dataset: &'static str,
    placement: Placement,
    ablation: Option<Ablation>,
}

/// In the order in which they run: the baseline first, so that every later row can be compared at once.
fn conditions() -> Vec<Condition> {
    let plain = |name, dataset, placement| Condition { name, dataset, placement, ablation: None };
    let post =
        |name, ablation| Condition { name, dataset: "toyworld", placement: Placement::Post, ablation: Some(ablation) };
    let keep = |by| Ablation::Keep(Keep::of(by, Some(3)));
    vec![
        plain("none", "toyworld", Placement::None),
        plain("pre", "toyworld", Placement::Pre),
        plain("post", "toyworld", Placement::Post),
        post("post, shuffled", Ablation::Shuffle(Shuffle::default())),
        post("post, 3 key tokens", keep(KeepBy::Attribution)),
        post("post, 3 random tokens", keep(KeepBy::Random)),
        plain("none, noisy teacher", "toyworld-noisy", Placement::None),
        plain("pre, noisy teacher", "toyworld-noisy", Placement::Pre),
        plain("post, noisy teacher", "toyworld-noisy", Placement::Post),
    ]
}

/// The specifications of a tour. Each seed is a student and an order of its own; with `worlds`, also a world.
pub fn specs(seeds: &[u64], worlds: bool) -> Vec<RunSpec> {
    let mut specs = Vec::new();
    for seed in seeds {
        for condition in conditions() {
            let mut spec = RunSpec::preset("toy");
            spec.dataset = if worlds { format!("{}:{seed}", condition.dataset) } else { condition.dataset.into() };
            spec.seed = Seeds { init: *seed, order: *seed, ablation: *seed };
            spec.rationale.placement = condition.placement;
            spec.rationale.ablations = condition.ablation.into_iter().collect();
            spec.evaluation.last = Some("test".into());
            spec.tags = BTreeMap::from([(CONDITION.into(), condition.name.into())]);
            specs.push(spec);
        }
    }
    specs
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
        worker::spawn(project, &run)?;
        runs.push(run);
    }
    Ok(runs)
}

/// The smallest seed whose tour this project does not have complete, done or under way.
pub fn next_seed(project: &Path) -> u64 {
    let known: HashSet<String> = usable(project).map(|(spec, _)| spec.identity()).collect();
    let complete = |seed: &u64| specs(&[*seed], false).iter().all(|spec| known.contains(&spec.identity()));
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
        let specs = specs(&[0, 1], false);
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
}
