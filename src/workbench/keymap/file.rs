//! `keymap.yaml`: which keys do what, as people write it. What is wrong in it is said with its line, and the rest holds.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Binding, Counts, Keymap, Place, key};
use crate::corpus::{did_you_mean, nearest};
use crate::text;
use crate::workbench::command::{ALL, Command};
use crate::workbench::pane::Pane;

/// The name of the file, in a project and in the user's configuration.
pub const NAME: &str = "keymap.yaml";

/// What takes a key away.
const NONE: &str = "none";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    on: OneOrMany,
    run: String,
    desc: Option<String>,
    hint: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
    /// `on: 1` is a number to YAML.
    Digit(u8),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    counts: Option<Counts>,
    everywhere: Vec<Entry>,
    data: Vec<Entry>,
    rationale: Vec<Entry>,
    training: Vec<Entry>,
    attribution: Vec<Entry>,
    board: Vec<Entry>,
}

impl File {
    fn places(self) -> [(Place, Vec<Entry>); 6] {
        [
            (Place::Everywhere, self.everywhere),
            (Place::In(Pane::Data), self.data),
            (Place::In(Pane::Rationale), self.rationale),
            (Place::In(Pane::Training), self.training),
            (Place::In(Pane::Attribution), self.attribution),
            (Place::In(Pane::Board), self.board),
        ]
    }
}

/// Where keymaps are looked for: the user's own, then the project's, which has the last word.
pub fn paths(project: &Path) -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let configuration = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
    configuration.map(|folder| folder.join("afterthought").join(NAME)).into_iter().chain([project.join(NAME)]).collect()
}

/// The keymaps there are, by name and text, and those that can't be read.
pub fn read(project: &Path) -> (Vec<(String, String)>, Vec<String>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for path in paths(project) {
        match std::fs::read_to_string(&path) {
            Ok(text) => found.push((path.display().to_string(), text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    (found, problems)
}

impl Keymap {
    /// The default keys, changed by the user's files. Says what is wrong in them: the file, the line, the reason.
    pub fn load(project: &Path) -> (Self, Vec<String>) {
        let mut keymap = Self::default();
        let (files, mut problems) = read(project);
        for (name, text) in files {
            problems.extend(keymap.change(&text, &name));
        }
        (keymap, problems)
    }

    /// Puts the bindings of a file in the place of those that the keys had, and says what could not be taken.
    pub fn change(&mut self, text: &str, name: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let file: File = match serde_yaml::from_str::<Option<File>>(text) {
            Ok(file) => file.unwrap_or_default(),
            Err(error) => {
                return vec![format!("{name}: {} · none of it holds", text::line(&error.to_string()))];
            }
        };
        self.counts = file.counts.unwrap_or(self.counts);
        let mut lines = lines(text).into_iter();
        let order = order(text);
        let mut places: Vec<(Place, Vec<Entry>)> = file.places().into();
        // In the order of the file, so that lines are counted off.
        places.sort_by_key(|(place, _)| order.iter().position(|name| *name == place.name()));
        let mut read: Vec<(Binding, Option<usize>)> = Vec::new();
        for (place, entries) in places {
            for entry in entries {
                let line = lines.next();
                let mut fail = |problem: String| {
                    let at = line.map_or(String::new(), |line| format!(":{line}"));
                    problems.push(format!("{name}{at}: {problem}"));
                };
                let command = match command(&entry.run) {
                    Ok(command) => command,
                    Err(problem) => {
                        fail(problem);
                        continue;
                    }
                };
                let written = match entry.on {
                    OneOrMany::One(one) => vec![one],
                    OneOrMany::Many(many) => many,
                    OneOrMany::Digit(digit) => vec![digit.to_string()],
                };
                for (number, chord) in written.iter().enumerate() {
                    let keys: Vec<_> = chord.split_whitespace().map(|one| (one, key::parse(one))).collect();
                    if let Some((unknown, _)) = keys.iter().find(|(_, key)| key.is_none()) {
                        fail(format!(
                            "`{}` is no key · keys are written as in `j`, `G`, `ctrl-d`, `space`, `pagedown`",
                            text::line(unknown)
                        ));
                        continue;
                    }
                    if keys.is_empty() {
                        fail("`on` names no key".into());
                        continue;
                    }
                    let label = keys.iter().map(|(one, _)| key::label(one)).collect::<Vec<_>>().join(" ");
                    let keys: Vec<_> = keys.into_iter().filter_map(|(_, key)| key).collect();
                    if let Some(prefix) = multiplexer(&keys[0]) {
                        fail(format!("{label} never arrives: {prefix} keeps it for itself"));
                    }
                    let first = number == 0;
                    let binding = Binding {
                        place,
                        keys,
                        label,
                        command,
                        desc: entry.desc.as_deref().map(|desc| text::line(desc).into_owned()),
                        hint: entry.hint.as_deref().filter(|_| first).map(|hint| text::line(hint).into_owned()),
                    };
                    let clash = read.iter().find(|(other, _)| other.place == place && other.meets(&binding));
                    if let Some((other, at)) = clash {
                        let at = at.map_or(String::new(), |at| format!(" in line {at}"));
                        let what = if other.keys.len() == binding.keys.len() { "is bound" } else { "begins as" };
                        fail(format!("{} {what} `{}`{at} already", binding.label, other.label));
                        continue;
                    }
                    read.push((binding, line));
                }
            }
        }
        self.bind(read.into_iter().map(|(binding, _)| binding).collect());
        self.bindings.retain(|binding| binding.command.is_some());
        problems
    }
}

/// The command of a name; `None` is no command at all.
fn command(name: &str) -> Result<Option<Command>, String> {
    if name == NONE {
        return Ok(None);
    }
    name.parse().map(Some).map_err(|_| {
        let names = ALL.iter().map(|about| about.command.into());
        let nearest = did_you_mean(&nearest(name, names));
        format!("there is no command `{}`{nearest} · `afterthought keys` lists all", text::line(name))
    })
}

/// Who takes a key before it reaches us.
fn multiplexer(key: &crokey::KeyCombination) -> Option<&'static str> {
    match key {
        key if *key == crokey::key!(ctrl - b) => Some("tmux"),
        key if *key == crokey::key!(ctrl - a) => Some("screen"),
        _ => None,
    }
}

/// The line of each entry, by where its `run:` stands.
fn lines(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let plain = plain(line);
        let runs = plain.match_indices("run").filter(|(at, _)| {
            let before = plain[..*at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && c != '-' && c != '_')
                && plain[at + 3..].trim_start().starts_with(':')
        });
        found.extend(runs.map(|_| number + 1));
    }
    found
}

/// The places in the order in which they stand in the file.
fn order(text: &str) -> Vec<String> {
    let names = text.lines().filter(|line| !line.starts_with([' ', '#', '-']));
    names.filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

/// A line without its quoted texts and its comment.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '#' => break,
            None => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str) -> (Keymap, Vec<String>) {
        let mut keymap = Keymap::default();
        let problems = keymap.change(text, "keymap.yaml");
        (keymap, problems)
    }

    #[test]
    fn an_own_key_takes_the_place_of_the_default() {
        let (keymap, problems) = changed(
            "everywhere:\n  - {on: x, run: zoom}\ndata:\n  - {on: [f, \"g f\"], run: filter, desc: look for}\n  - {on: /, run: none}\n",
        );
        assert_eq!(problems, [""; 0]);
        assert_eq!(keymap.keys(Pane::Data, Command::Filter), ["f", "g f"]);
        assert_eq!(keymap.keys(Pane::Board, Command::Zoom), ["x", "z"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_the_rest_holds() {
        let text = "# mine\nboard:\n  - {on: x, run: zoom}\n  - {on: x, run: tour}\ndata:\n  - on: pgdwn\n    run: page-down\n  \
                    - {on: f, run: filtr, desc: \"run: away\"}\n  - {on: [ctrl-b, b], run: page-up}\n  - {on: \"x y\", run: up}\n  - {on: x, run: up}\n";
        let (keymap, problems) = changed(text);
        assert_eq!(
            problems,
            [
                "keymap.yaml:4: x is bound `x` in line 3 already",
                "keymap.yaml:7: `pgdwn` is no key · keys are written as in `j`, `G`, `ctrl-d`, `space`, `pagedown`",
                "keymap.yaml:8: there is no command `filtr` · did you mean `filter`? · `afterthought keys` lists all",
                "keymap.yaml:9: ctrl-b never arrives: tmux keeps it for itself",
                "keymap.yaml:11: x begins as `x y` in line 10 already",
            ]
        );
        assert_eq!(keymap.keys(Pane::Board, Command::Zoom), ["z", "x"]);
        assert!(keymap.keys(Pane::Data, Command::PageUp).contains(&"b"));
    }

    #[test]
    fn a_file_that_is_no_keymap_changes_nothing() {
        for (text, reason) in [("dat:\n  - {on: x, run: zoom}\n", "unknown field `dat`"), ("data: 7\n", "line 1")] {
            let (keymap, problems) = changed(text);
            assert!(problems.len() == 1 && problems[0].contains(reason), "{problems:?}");
            assert_eq!(keymap.keys(Pane::Data, Command::Zoom), ["z"]);
        }
        assert_eq!(changed("").1, [""; 0]);
        assert_eq!(changed("# nothing yet\n").1, [""; 0]);
    }

    #[test]
    fn the_defaults_are_without_fault() {
        let mut keymap = Keymap::empty();
        assert_eq!(keymap.change(super::super::DEFAULTS, "defaults.yaml"), [""; 0]);
    }
}
