//! Every pane with each of its faces at three sizes, styles included, and without colours and with sixteen. What a student
//! computes is overwritten by numbers of this file, so that no screen depends on the machine.

use std::path::Path;

use afterthought::journal::{Event, RunState, Writer};
use afterthought::runs::{RunDirectory, RunSpec, worker};
use afterthought::workbench::dump;
use afterthought::workbench::theme::{Colours, Theme};
use serde_json::json;

use super::bench::Bench;
use super::comparing::{half_run, step};
use super::screens::project;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// The recorded run, and a student that can be looked into.
fn with_student() -> tempfile::TempDir {
    let dir = project();
    let settings = ["rationale.placement=pre", "training.steps=2", "training.batch_size=4", "evaluation.every=end"];
    let short = ["evaluation.examples=4", "evaluation.limit=2", "evaluation.final=validation"];
    let settings: Vec<String> = settings.iter().chain(&short).map(|text| (*text).to_owned()).collect();
    let spec = RunSpec::preset("toy").with_overrides(&settings).unwrap();
    let run = RunDirectory::at(dir.path(), "student", spec).unwrap();
    assert_eq!(worker::work(dir.path(), &run, Some(Box::new(|_| {}))).unwrap().state, RunState::Finished);
    // Its journal has the times and the losses of this machine.
    std::fs::remove_file(run.journal()).unwrap();
    let mut journal = Writer::open(&run.journal()).unwrap();
    let device = "cpu".into();
    journal.append(Event::Start { steps: 2, examples: 960, parameters: 91_264, device, threads: 1 }).unwrap();
    (1..=2).for_each(|number| journal.append(step(number)).unwrap());
    journal.append(Event::State { state: RunState::Finished, reason: None }).unwrap();
    dir
}

/// A number of a place, such as a student might have computed: from −1 to 1.
fn number(place: usize) -> f32 {
    ((place * 37 + 11) % 41) as f32 / 20.0 - 1.0
}

/// Overwrites what was computed.
fn settle(bench: &mut Bench) {
    let view = &mut bench.state.attribution;
    for of in [view.result.as_mut(), view.beside.result.as_mut()].into_iter().flatten() {
        for units in [&mut of.found.tokens, &mut of.found.words, &mut of.found.sentences] {
            for (place, unit) in units.iter_mut().enumerate() {
                unit.score = unit.score.map(|_| number(place) / 4.0);
            }
        }
        of.found.convergence_delta = of.found.convergence_delta.map(|_| 1.25e-4);
        (of.found.converged, of.found.log_p) = (of.found.converged.map(|_| true), -0.25);
        of.found.log_p_baseline = of.found.log_p_baseline.map(|_| -1.5);
        of.found.steps = of.found.steps.map(|_| 32);
        for (place, choice) in of.choices.iter_mut().enumerate() {
            choice.2 = [0.12, 0.61, 0.07, 0.15, 0.05][place % 5];
        }
    }
    if let Some(result) = &mut view.changes.result {
        for (place, choice) in result.choices.iter_mut().enumerate() {
            (choice.before, choice.after) =
                ([0.12, 0.61, 0.07, 0.15, 0.05][place % 5], [0.2, 0.4, 0.25, 0.1, 0.05][place % 5]);
        }
    }
    if let Some(result) = &mut bench.state.loupe.loss.result {
        let mut losses = serde_json::to_value(&result.losses).unwrap();
        for (place, token) in losses["tokens"].as_array_mut().unwrap().iter_mut().enumerate() {
            if !token["losses"][0].is_null() {
                let loss = f64::from(number(place) + 1.0) * 2.0;
                (token["losses"], token["probabilities"]) = (json!([loss]), json!([(-loss).exp()]));
            }
        }
        for looked in losses["checkpoints"].as_array_mut().unwrap() {
            for (name, loss) in [("loss", 1.75), ("loss_label", 0.5), ("loss_rationale", 2.25)] {
                if !looked[name].is_null() {
                    looked[name] = json!(loss);
                }
            }
        }
        result.losses = serde_json::from_value(losses).unwrap();
    }
    if let Some(looked) = &mut bench.state.lens.looked {
        let mut grid = serde_json::to_value(&looked.grid).unwrap();
        let tokens = grid["tokens"].as_array().unwrap().clone();
        for (place, cell) in grid["cells"].as_array_mut().unwrap().iter_mut().enumerate() {
            let token = &tokens[place * 7 % tokens.len()];
            let likely = (number(place) + 1.0) / 2.0;
            cell["top"] = json!([[token["id"], likely], [tokens[1]["id"], likely / 4.0]]);
            (cell["probability"], cell["rank"]) = (json!(likely / 2.0), json!(1 + place * 13 % 500));
            (cell["choice_probability"], cell["choice_rank"]) = (json!(likely), json!(1 + place % 5));
        }
        let word = |token: &serde_json::Value| (token["id"].to_string(), token["text"].clone());
        grid["words"] = tokens.iter().map(word).collect::<serde_json::Map<_, _>>().into();
        if !grid["readable"].is_null() {
            let by_place = vec![json!(1); tokens.len()];
            grid["readable"] = json!({"first": 0, "layer": 1, "place": 3, "first_by_place": by_place});
        }
        looked.grid = serde_json::from_value(grid).unwrap();
    }
}

/// The screen with its styles: under each line, letters that the legend explains; a blank is plain. Lines that repeat
/// themselves are counted.
fn styled(bench: &Bench) -> String {
    let screen = dump::screen(&bench.state);
    let plain = "Reset on Reset NONE";
    let mut legend: Vec<String> = Vec::new();
    let mut lines: Vec<(String, usize)> = Vec::new();
    for y in 0..screen.area.height {
        let (mut text, mut styles) = (String::new(), String::new());
        for x in 0..screen.area.width {
            let cell = &screen[(x, y)];
            text.push_str(cell.symbol());
            let style = format!("{:?} on {:?} {:?}", cell.fg, cell.bg, cell.modifier);
            if style == plain {
                styles.push(' ');
                continue;
            }
            let known = legend.iter().position(|known| *known == style).unwrap_or_else(|| {
                legend.push(style);
                legend.len() - 1
            });
            styles.push(char::from(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[known]));
        }
        let line = format!("{}\n{}\n", text.trim_end(), styles.trim_end());
        match lines.last_mut() {
            Some((last, times)) if *last == line => *times += 1,
            _ => lines.push((line, 1)),
        }
    }
    let counted = |(line, times): (String, usize)| if times > 1 { format!("{line}× {times}\n") } else { line };
    let mut out: String = lines.into_iter().map(counted).collect();
    for (number, style) in legend.iter().enumerate() {
        let letter = char::from(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[number]);
        out.push_str(&format!("{letter}: {style}\n"));
    }
    out
}

/// The faces of a pane: the name, and the keys that lead from one to the next.
const DATA: &[(&str, &str)] = &[
    ("questions", "1"),
    ("filtered", "/kind:sea<enter>"),
    ("histogram", "<esc>H<enter>"),
    ("choosing columns", "C"),
    ("sorting", "<esc>S"),
];
const RATIONALE: &[(&str, &str)] =
    &[("plain", "2"), ("shuffled", "a<enter>"), ("tokens", "t"), ("adding", "ta"), ("no rationale", "<esc>pp")];
const TRAINING: &[(&str, &str)] = &[
    ("losses", "3j"),
    ("one curve, log", "cLo"),
    ("a part of it", "++["),
    ("a step", "0hhhhhhhh"),
    ("another metric", "<esc>ccLv"),
];
const ATTRIBUTION: &[(&str, &str)] = &[
    ("scores", "4"),
    ("a masked word", "lllx"),
    ("methods", "<esc>m"),
    ("losses", "<esc>o"),
    ("lens", "oL"),
    ("a cell", "hhhj"),
];
const OVER: &[(&str, &str)] = &[
    ("help", "1?"),
    ("palette", "<esc>:shuf"),
    ("data sets", "<esc>d"),
    ("editor", "<esc>e"),
    ("a question", "<esc>q"),
    ("an input", "<esc>i"),
    ("a chord", "<esc>g"),
    ("messages", "<esc>!"),
    ("a page", "<esc>v"),
];
const BOARD: &[(&str, &str)] =
    &[("table", "5Sj<enter>"), ("a row", "jj<enter>"), ("filtered", "<esc>/shuf<enter>"), ("questions", "<esc>jjd")];

/// Goes through the faces of a pane, which has the screen for itself.
fn faces(bench: &mut Bench, faces: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, keys) in faces {
        bench.press(keys);
        bench.state.zoomed = true;
        settle(bench);
        out.push_str(&format!("— {name} —\n{}\n", styled(bench)));
    }
    // A run's id begins with the time at which it was made.
    let time = regex::Regex::new(r"20\d{6}-\d{6}").unwrap();
    time.replace_all(&out, "20261121-120000").into_owned()
}

fn compare(project: &Path, name: &str, of: &[(&str, &str)]) {
    for (columns, rows) in SIZES {
        let mut bench = Bench::open(project, columns, rows);
        insta::assert_snapshot!(format!("{name}_{columns}"), faces(&mut bench, of));
    }
}

#[test]
fn the_data_pane() {
    compare(project().path(), "data", DATA);
}

#[test]
fn the_rationale_pane() {
    compare(project().path(), "rationale", RATIONALE);
}

#[test]
fn the_training_pane() {
    compare(with_student().path(), "training", TRAINING);
}

#[test]
fn the_attribution_pane() {
    compare(with_student().path(), "attribution", ATTRIBUTION);
}

#[test]
fn the_board() {
    let (dir, _running) = half_run();
    compare(dir.path(), "board", BOARD);
}

#[test]
fn what_lies_over_them() {
    compare(project().path(), "over", OVER);
}

#[test]
fn each_pane_without_colours_and_with_sixteen() {
    let dir = with_student();
    for (name, theme, colours) in [("mono", "mono", Colours::None), ("sixteen", "dark", Colours::Sixteen)] {
        let mut bench = Bench::open(dir.path(), 120, 40);
        bench.state.theme = Theme::load(dir.path(), theme, colours).unwrap();
        let all = [
            ("data", "1"),
            ("rationale", "2a<enter>"),
            ("training", "3"),
            ("attribution", "4"),
            ("losses", "o"),
            ("lens", "oL"),
            ("board", "5"),
            ("menu", "1d"),
        ];
        insta::assert_snapshot!(name, faces(&mut bench, &all));
    }
}
