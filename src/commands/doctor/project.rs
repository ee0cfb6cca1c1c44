//! What is wrong in a project: files that can't be read, runs that were left, a disk that is nearly full.

use std::path::Path;

use super::checks::Check;
use crate::corpus::Catalog;
use crate::corpus::edits::Edits;
use crate::journal::RunState;
use crate::runs::RunDirectory;
use crate::workbench::keymap::Keymap;
use crate::workbench::messages;
use crate::workbench::session::{self, Session};
use crate::workbench::theme::{Colours, Theme};

/// Bytes below which a disk is nearly full, and below which a checkpoint may not fit.
const LITTLE: u64 = 2 << 30;
const TOO_LITTLE: u64 = 100 << 20;
/// Places that are named of each kind.
const NAMED: usize = 3;

pub fn checks(project: &Path) -> Vec<Check> {
    let (runs, left) = runs(project);
    vec![runs, left, data(project), edits(project), keymap(project), themes(project), session(project), log(project)]
}

/// The first few of a list.
fn named(all: &[String]) -> String {
    let more = if all.len() > NAMED { format!(" and {} more", all.len() - NAMED) } else { String::new() };
    format!("{}{more}", all[..all.len().min(NAMED)].join(" · "))
}

/// Whether the runs can be read, and whether their workers are there.
fn runs(project: &Path) -> (Check, Check) {
    let all = RunDirectory::list(project);
    let (mut broken, mut left, mut at_work) = (Vec::new(), Vec::new(), 0);
    for run in &all {
        match run.read() {
            Err(error) => broken.push(error.to_string()),
            Ok(read) if read.state == RunState::Interrupted => left.push(run.id().to_owned()),
            Ok(_) => at_work += usize::from(run.is_locked()),
        }
    }
    let readable = if broken.is_empty() {
        Check::good("runs", format!("{} can be read", all.len()))
    } else {
        let found = format!("{} of {} can't be read: {}", broken.len(), all.len(), named(&broken));
        Check::broken("runs", found, "mend the file that is named, or move the run's folder away")
    };
    let workers = if left.is_empty() {
        Check::good("workers", format!("{at_work} at work, none was left in the middle"))
    } else {
        let fix = format!("`afterthought runs resume {}` goes on from its checkpoint", left[0]);
        Check::warning("workers", format!("gone before the end: {}", named(&left)), fix)
    };
    (readable, workers)
}

fn data(project: &Path) -> Check {
    let catalog = Catalog::new(project);
    let names = catalog.names();
    let opened = names.iter().filter_map(|name| catalog.open(name).err().map(|error| format!("{name}: {error}")));
    let broken: Vec<String> = opened.collect();
    if broken.is_empty() {
        return Check::good("data sets", format!("{} can be opened", names.len()));
    }
    Check::broken("data sets", named(&broken), "mend what is named; `afterthought data validate NAME` looks closer")
}

fn edits(project: &Path) -> Check {
    let catalog = Catalog::new(project);
    let mut broken = Vec::new();
    for name in catalog.names() {
        let path = catalog.folder().join(&name).join("edits.jsonl");
        match Edits::unreadable_lines(&path) {
            Err(error) => broken.push(error.to_string()),
            Ok(lines) if lines.is_empty() => {}
            Ok(lines) => {
                let numbers: Vec<String> = lines.iter().map(|line| format!("{}:{line}", path.display())).collect();
                broken.push(named(&numbers));
            }
        }
    }
    if broken.is_empty() {
        return Check::good("edits", "every line can be read");
    }
    let fix = "mend or delete these lines: they count as no edits";
    Check::broken("edits", format!("lines that can't be read: {}", named(&broken)), fix)
}

fn keymap(project: &Path) -> Check {
    let (_, problems) = Keymap::load(project);
    if problems.is_empty() {
        return Check::good("keymap", "no problems");
    }
    Check::warning("keymap", named(&problems), "mend the lines; until then these keys are as they were")
}

fn themes(project: &Path) -> Check {
    let names = Theme::names(project);
    let broken = |name: &String| {
        let error = Theme::load(project, Theme::meant(name, None, Colours::True), Colours::True).err()?;
        Some(error.to_string())
    };
    let broken: Vec<String> = names.iter().filter_map(broken).collect();
    if broken.is_empty() {
        return Check::good("themes", format!("{} can be used", names.len()));
    }
    Check::warning("themes", named(&broken), "mend the file; `afterthought --theme dark` does without it")
}

fn session(project: &Path) -> Check {
    let path = project.join(session::PATH);
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Check::good("session", "none is kept yet"),
        Err(error) => Check::warning("session", format!("{}: {error}", path.display()), "delete the file"),
        Ok(text) => match serde_json::from_str::<Session>(&text) {
            Ok(_) => Check::good("session", "the next workbench goes on where the last one was"),
            Err(error) => Check::warning(
                "session",
                format!("{}: {error}", path.display()),
                "nothing has to be done: the next workbench begins anew and writes it again",
            ),
        },
    }
}

/// Where the workbench writes down what went wrong.
fn log(project: &Path) -> Check {
    let path = project.join(messages::PATH);
    match std::fs::metadata(&path) {
        Ok(file) => Check::good("log", format!("{} ({} of errors)", path.display(), indicatif::HumanBytes(file.len()))),
        Err(_) => Check::good("log", format!("{} will hold the workbench's errors", path.display())),
    }
}

/// The room that is left for checkpoints.
pub fn disk(free: Option<u64>) -> Check {
    let Some(free) = free else { return Check::good("disk", "unknown") };
    let found = format!("{} free", indicatif::HumanBytes(free));
    let fix =
        "free some space: a checkpoint that does not fit stops its run · `afterthought runs list` shows what there is";
    match free {
        _ if free < TOO_LITTLE => Check::broken("disk", found, fix),
        _ if free < LITTLE => Check::warning("disk", found, fix),
        _ => Check::good("disk", found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::Standing;
    use super::*;

    #[test]
    fn little_room_is_a_warning_and_next_to_none_is_broken() {
        let states = [Some(1 << 20), Some(1 << 30), Some(1 << 40), None].map(|free| disk(free).state);
        assert_eq!(states, [Standing::Broken, Standing::Warning, Standing::Good, Standing::Good]);
    }
}
