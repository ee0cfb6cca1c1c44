//! The board: all runs of a project as a table like that of a study. Runs that differ only in their seeds are one row.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::compare::{Baseline, Draft, Family, Yardstick};
use super::file::MARGIN;
use super::grid::{BEFORE, shown_seed};
use super::table::{RowKind, Section, Table, majority, section_of};
use crate::journal::RunState;
use crate::rationale::Placement;
use crate::rationale::recipe::{Ablation, Keep, KeepBy};
use crate::runs::spec::{CONDITION, ROLE, UNTRAINED};
use crate::runs::{Run, RunSpec};

/// The table of a project's runs. Readers are tools, not conditions, and are left out. P-values are adjusted within each
/// section, for a project has no plan that says which comparisons there would be.
pub fn board(project: &Path, runs: &[Run], chosen: &[Baseline]) -> Table {
    let mut groups: Vec<Group> = Vec::new();
    for run in runs {
        let kind = match run.spec.tags.get(ROLE).map(String::as_str) {
            None => RowKind::Condition,
            Some(UNTRAINED) => RowKind::Untrained,
            Some(_) => continue,
        };
        let key = same(run);
        match groups.iter_mut().find(|group| group.key == key && group.kind == kind) {
            Some(group) => group.add(run),
            None => groups.push(Group { key, kind, runs: vec![run] }),
        }
    }
    // As in a study: what was not trained stands before what was.
    groups.sort_by_key(|group| group.kind != RowKind::Untrained);
    let titles = titles(&groups);
    let mut sections: Vec<(Section, Vec<Draft>)> = Vec::new();
    for (group, title) in groups.iter().zip(titles) {
        let spec = &group.runs[0].spec;
        let drafts = section_of(&mut sections, spec.family(), spec);
        let mut draft = Draft::new(title, group.kind, spec);
        draft.variant = spec.setting();
        for run in &group.runs {
            let name = [&run.spec.dataset, &run.spec.student, &draft.row.condition, &shown_seed(run.spec.seed)];
            let name = name.map(String::as_str).join(" · ");
            draft.add(project, name, &run.spec, run.state.name(), Some(run), None);
        }
        draft.row.note = edited(&group.runs);
        drafts.push(draft);
    }
    for (section, drafts) in &mut sections {
        let own = groups.iter().filter(|group| {
            let spec = &group.runs[0].spec;
            (spec.family(), spec.student.as_str(), spec.evaluation.last_split())
                == (section.dataset.clone(), &section.student, &section.split)
        });
        let mut of: BTreeMap<&str, &RunSpec> = BTreeMap::new();
        for run in own.flat_map(|group| &group.runs) {
            of.entry(&run.spec.dataset).or_insert(&run.spec);
        }
        drafts.insert(0, majority(project, &of.into_values().collect::<Vec<_>>()));
    }
    let margin = MARGIN / 100.0;
    let yardstick = Yardstick { usual: None, chosen, margin, family: Family::Section };
    let (sections, comparisons) = yardstick.measure(sections);
    Table { study: String::new(), description: String::new(), margin, comparisons, sections }
}

/// The runs of a row, one for each data set and seed.
struct Group<'a> {
    key: Same,
    kind: RowKind,
    runs: Vec<&'a Run>,
}

impl<'a> Group<'a> {
    /// Takes in a run. Of several with the same seeds the one that is furthest counts, and of those the newest: the rows
    /// that it read are the ones that are there.
    fn add(&mut self, run: &'a Run) {
        let rank = |run: &Run| match run.state {
            RunState::Finished => 0,
            state if state.is_active() => 1,
            RunState::Stopped | RunState::Interrupted => 2,
            _ => 3,
        };
        let is_same = |other: &&mut &Run| other.spec.seed == run.spec.seed && other.spec.dataset == run.spec.dataset;
        match self.runs.iter_mut().find(is_same) {
            Some(other) if rank(run) <= rank(other) => *other = run,
            Some(_) => {}
            None => self.runs.push(run),
        }
    }
}

/// What decides a run's result but the seeds, and the step at which a fork left another run.
pub type Same = (String, Option<usize>);

/// What runs have in common that are one row: they differ only in their seeds.
pub fn same(run: &Run) -> Same {
    let origin = run.spec.record.as_ref().and_then(|record| record.forked_from.as_ref());
    (run.spec.condition(), origin.map(|(_, step)| *step))
}

/// A name for each row; those that share one say what else they differ in.
fn titles(groups: &[Group]) -> Vec<String> {
    let place = |group: &Group| {
        let spec = &group.runs[0].spec;
        (spec.family(), spec.student.clone(), spec.evaluation.last_split().to_owned())
    };
    // One of its runs may have been started by hand, without a name for the condition.
    let named = |group: &Group<'_>| -> RunSpec {
        let run = group.runs.iter().find(|run| run.spec.tags.contains_key(CONDITION)).unwrap_or(&group.runs[0]);
        run.spec.clone()
    };
    let mut titles: Vec<String> = groups
        .iter()
        .map(|group| {
            let title = if group.kind == RowKind::Untrained { BEFORE.to_owned() } else { named(group).title() };
            group.key.1.map_or(title.clone(), |step| format!("{title}, forked at {step}"))
        })
        .collect();
    let is_shared = |titles: &[String], at: usize| {
        let same = |other: usize| titles[other] == titles[at] && place(&groups[other]) == place(&groups[at]);
        (0..titles.len()).any(|other| other != at && same(other))
    };
    let shared: Vec<usize> = (0..groups.len()).filter(|at| is_shared(&titles, *at)).collect();
    for at in shared {
        let bare = RunSpec { tags: BTreeMap::new(), ..named(&groups[at]) };
        titles[at].push_str(bare.title().strip_prefix(&bare.rationale.to_string()).unwrap_or_default());
    }
    let shared: Vec<usize> = (0..groups.len()).filter(|at| is_shared(&titles, *at)).collect();
    for at in shared {
        titles[at].push_str(&format!(" · {}", &groups[at].key.0[..6]));
    }
    titles
}

/// A word of warning where the rows of a data set were changed between the runs that are pooled.
fn edited(runs: &[&Run]) -> Option<String> {
    let mut read: BTreeMap<&str, BTreeSet<&BTreeMap<String, String>>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.state == RunState::Finished) {
        if let Some(record) = run.spec.record.as_ref().filter(|record| !record.data.is_empty()) {
            read.entry(&run.spec.dataset).or_default().insert(&record.data);
        }
    }
    let (dataset, _) = read.iter().find(|(_, versions)| versions.len() > 1)?;
    Some(format!("the rows of {dataset} were changed between these runs"))
}

/// What is left of a rationale, in a few words.
pub(super) fn about(kind: RowKind, spec: &RunSpec) -> String {
    let recipe = &spec.rationale;
    let text = match (kind, recipe.placement, recipe.ablations.last()) {
        (RowKind::Majority, ..) => "the commonest answer, given to every question",
        (RowKind::Untrained, ..) => "the student before any fine-tuning, asked for the label",
        (_, Placement::None, _) => "the student without rationales",
        (_, Placement::Post, None) => "rationale after the label",
        (_, Placement::Pre, None) => "rationale before the label",
        (_, Placement::Multitask, None) => "label and rationale as two tasks",
        (_, _, Some(ablation)) => match ablation {
            Ablation::Shuffle(_) => "its words without their order",
            Ablation::Mask(_) => "a part of its words",
            Ablation::Keep(Keep { by: KeepBy::Attribution, .. }) => "its key tokens alone",
            Ablation::Keep(Keep { by: KeepBy::Random, .. }) => "as many tokens, drawn at random",
            Ablation::Keep(_) => "a few of its tokens",
            Ablation::Truncate(_) => "one end of it",
            Ablation::Remove(_) => "less of it with each epoch",
            Ablation::Swap(_) => "the rationale of another question",
            Ablation::Fill(fill) if fill.pauses() => "pauses without content",
            Ablation::Fill(_) => "its length without its content",
        },
    };
    match (kind, recipe.placement) {
        (RowKind::Condition, Placement::Pre | Placement::Post | Placement::Multitask) => {
            format!("{text}{}", recipe.method())
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::statistics::Verdict;
    use crate::rationale::recipe::Shuffle;
    use crate::runs::RunDirectory;
    use crate::runs::Seeds;
    use crate::studies::finished::finish;
    use crate::studies::table::Row;

    /// A finished run over 400 questions.
    fn finished(project: &Path, spec: &RunSpec, right: &dyn Fn(usize) -> bool) {
        finish(project, spec, (400, 0), None, right);
    }

    fn read_board(project: &Path, chosen: &[Baseline]) -> Table {
        let runs: Vec<Run> = RunDirectory::list(project).iter().map(|run| run.read().unwrap()).collect();
        board(project, &runs, chosen)
    }

    fn row<'a>(table: &'a Table, name: &str) -> &'a Row {
        table.sections[0].rows.iter().find(|row| row.condition == name).unwrap()
    }

    fn seeded(spec: &RunSpec, seed: u64) -> RunSpec {
        let seed = Seeds { init: seed, order: seed, ablation: seed };
        RunSpec { seed, ..spec.clone() }
    }

    fn placed(placement: Placement) -> RunSpec {
        let mut spec = RunSpec::preset("toy");
        spec.rationale.placement = placement;
        spec
    }

    #[test]
    fn rows_are_conditions_measured_against_none_or_the_chosen_row() {
        let dir = tempfile::tempdir().unwrap();
        let (none, post) = (placed(Placement::None), placed(Placement::Post));
        let mut shuffled = post.clone();
        shuffled.rationale.ablations.push(Ablation::Shuffle(Shuffle::default()));
        for seed in 0..2 {
            finished(dir.path(), &seeded(&none, seed), &|i| i % 10 < 6);
            finished(dir.path(), &seeded(&post, seed), &|i| i % 10 < 9);
            finished(dir.path(), &seeded(&shuffled, seed), &|i| i % 10 < 9 && i != 5 || i == 9);
        }
        let table = read_board(dir.path(), &[]);
        let names: Vec<&str> = table.sections[0].rows.iter().map(|row| row.condition.as_str()).collect();
        assert_eq!(names, ["majority class", "none", "post", "post, shuffled tokens"]);
        let post = row(&table, "post");
        assert_eq!((post.accuracy, post.runs.len(), post.baseline), (Some(0.9), 2, Some(1)));
        // Both seeds were asked the same 400 questions, and so the interval is that of 400, not of 800.
        assert_eq!(post.interval, Some(crate::evaluation::statistics::wilson(360, 400)));
        let gain = post.against.as_ref().unwrap();
        assert!((gain.difference - 0.3).abs() < 1e-9 && gain.verdict == Verdict::Better, "{gain:?}");
        assert!(post.runs.iter().all(|run| run.mcnemar.is_some_and(|p| p < 1e-9)));
        assert!(row(&table, "none").against.is_none() && table.comparisons == 2);

        let chosen = [Baseline { section: Some(table.sections[0].name()), row: "post".into() }];
        let table = read_board(dir.path(), &chosen);
        let same = row(&table, "post, shuffled tokens").against.as_ref().unwrap();
        assert_eq!((same.baseline.as_str(), same.says.as_str()), ("post", "equivalent within 3 points"));
        assert_eq!(row(&table, "none").against.as_ref().unwrap().verdict, Verdict::Worse);
        assert!(row(&table, "post").against.is_none());
    }

    #[test]
    fn a_run_alone_is_no_comparison_and_a_rerun_no_second_seed() {
        let dir = tempfile::tempdir().unwrap();
        finished(dir.path(), &RunSpec::preset("toy"), &|i| i % 2 == 0);
        finished(dir.path(), &RunSpec::preset("toy"), &|i| i % 4 == 0);
        let table = read_board(dir.path(), &[]);
        let post = row(&table, "post");
        assert!(post.against.is_none() && post.baseline.is_none());
        assert_eq!((post.runs.len(), post.accuracy), (1, Some(0.25)));
    }

    #[test]
    fn untrained_students_have_a_row_and_other_settings_another_baseline() {
        let dir = tempfile::tempdir().unwrap();
        let long = |spec: RunSpec| spec.with_overrides(&["training.steps=900".into()]).unwrap();
        let mut before = placed(Placement::None).with_overrides(&["training.steps=0".into()]).unwrap();
        before.tags.insert(ROLE.into(), UNTRAINED.into());
        finished(dir.path(), &placed(Placement::None), &|i| i % 10 < 6);
        finished(dir.path(), &placed(Placement::Post), &|i| i % 10 < 6);
        finished(dir.path(), &long(placed(Placement::None)), &|i| i % 10 < 8);
        finished(dir.path(), &long(placed(Placement::Post)), &|i| i % 10 < 9);
        finished(dir.path(), &before, &|i| i % 10 < 2);
        let table = read_board(dir.path(), &[]);
        let rows = &table.sections[0].rows;
        let names: Vec<&str> = rows.iter().map(|row| row.condition.as_str()).collect();
        assert_eq!(
            names,
            ["majority class", BEFORE, "none", "post", "none, steps=900", "post, steps=900"],
            "{names:?}"
        );
        assert_eq!((rows[3].baseline, rows[5].baseline), (Some(2), Some(4)));
        assert!((rows[5].against.as_ref().unwrap().difference - 0.1).abs() < 1e-9);
        // Two studies may have called both of them the same.
        for (steps, right) in [("training.steps=60", 3), ("training.steps=70", 4)] {
            let mut spec = placed(Placement::Pre).with_overrides(&[steps.into()]).unwrap();
            spec.tags.insert(CONDITION.into(), "mine".into());
            finished(dir.path(), &spec, &|i| i % 10 < right);
        }
        let table = read_board(dir.path(), &[]);
        assert_eq!(row(&table, "mine, steps=60").accuracy, Some(0.3));
        assert_eq!(row(&table, "mine, steps=70").accuracy, Some(0.4));
        // Measured against what was there before, everything else is: the student is the same for both.
        let chosen = [Baseline { section: None, row: BEFORE.into() }];
        let table = read_board(dir.path(), &chosen);
        let gain = row(&table, "post").against.as_ref().unwrap();
        assert_eq!((gain.test.as_str(), gain.says.as_str()), ("exact McNemar", "better"));
    }

    #[test]
    fn draws_of_a_data_set_are_not_the_same_questions() {
        let dir = tempfile::tempdir().unwrap();
        for world in 5..9_u64 {
            let drawn = |spec: RunSpec| RunSpec { dataset: format!("toyworld:{world}"), ..seeded(&spec, world) };
            finished(dir.path(), &drawn(placed(Placement::None)), &|i| i % 10 < 5);
            finished(dir.path(), &drawn(placed(Placement::Post)), &|i| i % 10 < 4 + world as usize - 4);
        }
        let table = read_board(dir.path(), &[]);
        assert_eq!((table.sections.len(), table.sections[0].dataset.as_str()), (1, "toyworld:*"));
        let post = row(&table, "post").against.as_ref().unwrap();
        // The differences of the four worlds are 0, 10, 20 and 30 points.
        assert_eq!((post.test.as_str(), post.seeds), ("t test over draws of the data set", (4, 4)));
        assert!((post.difference - 0.15).abs() < 1e-9);
        let half = 3.182_446_305 * 0.129_099_445 / 2.0;
        assert!((post.interval.1 - post.difference - half).abs() < 1e-6, "{:?}", post.interval);
        assert!(row(&table, "post").runs.iter().all(|run| run.mcnemar.is_some()));
    }
}
