//! What is copied to the clipboard: what a pane is about as text, or as the command line that does the same.

use serde_json::Value;

use crate::attribution::{Method, Over};
use crate::corpus::Example;
use crate::rationale::recipe::{Baseline, Unit};
use crate::runs::RunSpec;
use crate::text;
use crate::workbench::attribution::Attributed;
use crate::workbench::board::Shown;
use crate::workbench::command::Command;
use crate::workbench::dump;
use crate::workbench::message::Effect;
use crate::workbench::pane::Pane;
use crate::workbench::state::{Notice, State};

/// Terminals drop what is longer; xterm takes 100,000 bytes, of which Base64 makes four out of three.
const MOST: usize = 74_000;

pub fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    let found = match command {
        Command::CopyScreen => Some(("the screen", dump::lines(&dump::screen(state)).join("\n"))),
        Command::CopyId => id(state).map(|id| ("the id", id)),
        Command::CopyRationale => {
            let example = state.data.selected.as_ref().map(|selected| &selected.example);
            example.and_then(|example| example.rationale.clone()).map(|text| ("the rationale", text))
        }
        Command::CopyCommand => command_line(state).map(|line| ("the command", line)),
        _ => shown(state).map(|text| ("what is shown", text)),
    };
    match found {
        Some((what, text)) => copy(state, what, &text),
        None => {
            state.say(Notice::info("there is nothing here to copy"));
            vec![]
        }
    }
}

/// Asks for a text to be put on the clipboard. What is pasted into a shell must not be able to do anything there, so
/// that control characters are symbols in it.
pub fn copy(state: &mut State, what: &str, full: &str) -> Vec<Effect> {
    let mut safe = text::visible(full.trim_end()).into_owned();
    let mut note = String::new();
    if safe.len() > MOST {
        let end = (0..=MOST).rev().find(|end| safe.is_char_boundary(*end)).unwrap_or(0);
        safe.truncate(end);
        note = format!(" · its first {end} bytes: terminals take no more");
    }
    let shown = text::excerpt(safe.lines().next().unwrap_or_default(), 48);
    state.say(Notice::info(format!("copied {what}: {shown}{note}")));
    vec![Effect::Copy(safe)]
}

fn id(state: &State) -> Option<String> {
    match state.focus {
        Pane::Training => state.runs.selected().map(|run| run.id.clone()),
        Pane::Board => state.board.selected().map(|(_, _, row)| row.condition.clone()),
        _ => state.data.selected.as_ref().map(|selected| selected.example.id.clone()),
    }
}

/// What the focused pane is about, as text.
fn shown(state: &State) -> Option<String> {
    match state.focus {
        Pane::Data => state.data.selected.as_ref().map(|selected| question(&selected.example)),
        Pane::Rationale => {
            let tokens = &state.recipe.shown.as_ref()?.rendered.tokens;
            Some(tokens.iter().map(|token| token.text.as_str()).collect())
        }
        Pane::Training => {
            let run = state.runs.selected()?;
            let loss = run.history.steps.last().map_or_else(String::new, |step| format!(", loss {:.3}", step.loss));
            let result = run.history.result();
            let result = result.map_or_else(String::new, |found| format!(", {:.1} % right", found.accuracy * 100.0));
            let (step, planned) = (run.history.step(), run.history.steps_planned);
            let title = run.spec.title_with_seed();
            Some(format!("{} ({title}): {}, step {step} of {planned}{loss}{result}", run.id, run.state.name()))
        }
        Pane::Attribution => {
            let found: &Attributed = state.attribution.result.as_ref()?;
            let scored = found.found.tokens.iter().filter_map(|token| Some((token.text.trim(), token.score?)));
            Some(scored.map(|(token, score)| format!("{score:+.4}\t{token}\n")).collect())
        }
        Pane::Board => {
            let rows = (0..state.board.lines.len()).filter_map(|line| state.board.row_at(line));
            let percent = |share: Option<f64>| share.map_or("–".to_owned(), |share| format!("{:.1}", share * 100.0));
            let lines: String =
                rows.map(|(_, _, row)| format!("{}\t{}\n", row.condition, percent(row.accuracy))).collect();
            (!lines.is_empty()).then_some(lines)
        }
    }
}

fn question(example: &Example) -> String {
    let mut out = format!("{}\n", example.question);
    for choice in &example.choices {
        let sign = if example.answer.as_ref() == Some(&choice.label) { "*" } else { " " };
        out.push_str(&format!("{sign} {} {}\n", choice.label, choice.text));
    }
    out
}

/// The command line that does what the focused pane shows.
fn command_line(state: &State) -> Option<String> {
    let selected = state.data.selected.as_ref();
    let (dataset, split) = (state.draft.dataset.clone(), state.data.split.clone());
    let mut words: Vec<String> = vec!["afterthought".into()];
    let mut add = |new: &[&str]| words.extend(new.iter().map(|word| (*word).to_owned()));
    match state.focus {
        Pane::Data => {
            add(&["data", "show", &dataset, "--split", &split]);
            if let Some(selected) = selected {
                add(&["--id", &selected.example.id]);
            }
        }
        Pane::Rationale => {
            add(&["render", &dataset, "--split", &split, "--id", &selected?.example.id]);
            add(&["--student", &state.draft.student]);
            let preset = RunSpec::preset(&state.draft.student);
            let of_recipe = differences(&preset, &state.draft).into_iter().filter(|set| set.starts_with("rationale."));
            of_recipe.for_each(|set| words.extend(["--set".to_owned(), set]));
        }
        Pane::Training => {
            add(&["train"]);
            let spec = state.runs.selected().map_or(&state.draft, |run| &run.spec);
            for set in differences(&RunSpec::preset("toy"), spec) {
                words.extend(["--set".to_owned(), set]);
            }
        }
        Pane::Attribution => {
            let looked = super::attribution::run_to_show(state)?;
            let id = &selected?.example.id;
            if state.loupe.shows_loss {
                let checkpoint = looked.step.map(|step| step.to_string());
                add(&["loss", &looked.run, &dataset, "--id", id]);
                if let Some(checkpoint) = checkpoint {
                    add(&["--checkpoints", &checkpoint]);
                }
            } else if let Some(lens) = state.lens.shown {
                add(&["lens", "show", &looked.name(), &dataset, "--id", id, "--lens", &lens.name()]);
            } else {
                let asked = &state.attribution.asked;
                add(&["attribute", &looked.name(), &dataset, "--id", id, "--target", &asked.target.name()]);
                add(&["--method", asked.method.id()]);
                match asked.method.baseline() {
                    None | Some(Baseline::Mean) => {}
                    Some(baseline) => add(&["--baseline", baseline.name()]),
                }
                match asked.method.unit() {
                    None | Some(Unit::Token) => {}
                    Some(unit) => add(&["--unit", unit.name()]),
                }
                if let Method::Attention { layer, head } = &asked.method {
                    for (flag, number) in [("--layer", layer), ("--head", head)] {
                        if let Some(number) = number {
                            add(&[flag, &number.to_string()]);
                        }
                    }
                }
                if asked.over == Over::Prompt {
                    add(&["--over", "prompt"]);
                }
            }
        }
        Pane::Board => match &state.board.shown {
            Shown::Study(name) => add(&["study", "show", name]),
            Shown::Project => add(&["runs", "list"]),
        },
    }
    Some(shell_words::join(words))
}

/// What one has to set to get from one run's settings to those of another, as in `rationale.placement=pre`.
fn differences(from: &RunSpec, to: &RunSpec) -> Vec<String> {
    let plain = |spec: &RunSpec| {
        let spec = RunSpec { record: None, tags: Default::default(), ..spec.clone() };
        serde_json::to_value(spec).unwrap_or_default()
    };
    let mut found = Vec::new();
    differ("", &plain(from), &plain(to), &mut found);
    found
}

fn differ(path: &str, from: &Value, to: &Value, found: &mut Vec<String>) {
    let none = Value::Null;
    match (from, to) {
        (from, to) if from == to => {}
        (Value::Object(from), Value::Object(to)) => {
            for (name, value) in to {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                differ(&path, from.get(name).unwrap_or(&none), value, found);
            }
            for name in from.keys().filter(|name| !to.contains_key(*name)) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                found.push(format!("{path}=null"));
            }
        }
        (_, Value::String(text)) => found.push(format!("{path}={text}")),
        (_, value) => found.push(format!("{path}={value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ_lead_from_one_run_to_the_other() {
        let from = RunSpec::preset("toy");
        let changed = ["rationale.placement=pre", "rationale.ablations=[{shuffle: {unit: token}}]", "seed.init=7"];
        let to = from.with_overrides(&changed.map(str::to_owned)).unwrap();
        let found = differences(&from, &to);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(from.with_overrides(&found).unwrap(), to);
    }
}
