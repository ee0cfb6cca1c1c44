//! Times the workbench without a terminal, and counts the bytes that it would send to one.
//!
//!     cargo bench --bench workbench -- measure
//!
//! Opens the toy project with a run of 800 steps that this program writes, and prints tables in Markdown: the time to draw each
//! pane at two sizes, from the state to the bytes of the frame; the time in which a key is taken in; the bytes of a whole
//! screen, of a live point of the curve and of a screen on which nothing happens.

use std::path::Path;
use std::time::Instant;

use afterthought::journal::{EvaluationEvent, Event, RunState, StepEvent, Writer};
use afterthought::runs::{RunDirectory, RunSpec};
use afterthought::workbench::display::Glyphs;
use afterthought::workbench::effects::Services;
use afterthought::workbench::effects::watch::Watch;
use afterthought::workbench::effects::work::Work;
use afterthought::workbench::message::{Effect, Message};
use afterthought::workbench::recording::Header;
use afterthought::workbench::state::State;
use afterthought::workbench::terminal::backend::Painter;
use afterthought::workbench::theme::{Colours, Theme};
use afterthought::workbench::{panes, update};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Draws and keys that a median is taken of.
const TIMES: usize = 400;

/// The sizes: an ordinary terminal, and a whole screen.
const SIZES: [(u16, u16); 2] = [(80, 24), (200, 60)];

/// What is drawn: its name, and the keys that lead to it from the data pane.
const FACES: [(&str, &str); 13] = [
    ("data", "1"),
    ("data, histogram", "1H"),
    ("rationale", "2"),
    ("rationale, tokens", "2t"),
    ("training", "3"),
    ("training, zoomed in", "3++"),
    ("attribution", "4"),
    ("attribution, loss", "4o"),
    ("lens", "4L"),
    ("board", "5"),
    ("menu", "1d"),
    ("help", "1?"),
    ("editor", "1e"),
];

fn main() {
    // Cargo runs every bench with --bench; unasked there is nothing to do.
    if !std::env::args().any(|argument| argument == "measure") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = written(folder.path());
    println!("| face | size | draw, median (ms) | draw, p99 (ms) | whole screen (bytes) |");
    println!("|---|---|---|---|---|");
    for (columns, rows) in SIZES {
        for (name, keys) in FACES {
            let mut bench = Bench::open(folder.path(), columns, rows);
            bench.press(keys);
            draw(&bench.state, name);
        }
    }
    println!("\n| key | size | update, median (ms) | update, p99 (ms) | step of the screen, median (bytes) |");
    println!("|---|---|---|---|---|");
    for (columns, rows) in SIZES {
        for (pane, keys) in [("data", ["1", "j", "k"]), ("rationale", ["2", "l", "h"]), ("board", ["5", "j", "k"])] {
            let mut bench = Bench::open(folder.path(), columns, rows);
            bench.press(keys[0]);
            press(&mut bench, pane, &keys[1..]);
        }
    }
    println!("\n| at 200x60 | bytes |");
    println!("|---|---|");
    live(folder.path(), &mut run);
}

fn event(step: usize) -> Event {
    let at = step as f64;
    Event::Step(StepEvent {
        step,
        epoch: at / 100.0,
        loss: 3.0 / (1.0 + at / 60.0) + 0.05 * (at / 3.0).sin(),
        loss_label: Some(2.0 / (1.0 + at / 60.0)),
        loss_rationale: Some(4.0 / (1.0 + at / 60.0)),
        learning_rate: 1e-3,
        gradient_norm: 0.9 + 0.1 * (at / 7.0).cos(),
        tokens: 800 * step as u64,
        tokens_per_second: 8123.0,
    })
}

fn evaluation(step: usize) -> Event {
    let loss = Some(2.2 / (1.0 + step as f64 / 60.0));
    Event::Evaluation(EvaluationEvent {
        step,
        epoch: step as f64 / 100.0,
        split: "validation".into(),
        accuracy: 0.8,
        correct: 96,
        examples: 120,
        unparsable: 0,
        loss,
        loss_label: loss,
        loss_rationale: loss,
        last: false,
    })
}

/// A run under way whose journal this program writes; its worker is this process, as far as its lock tells.
struct Run {
    journal: Writer,
    _lock: std::fs::File,
}

fn written(project: &Path) -> Run {
    let run = RunDirectory::create(project, RunSpec::preset("toy"), "written").expect("a run");
    let lock = run.lock().expect("a lock");
    let mut journal = Writer::open(&run.journal()).expect("a journal");
    journal.append(Event::State { state: RunState::Running, reason: None }).expect("a line");
    let device = "cpu".into();
    let start = Event::Start { steps: 1000, examples: 960, parameters: 91_264, device, threads: 1 };
    journal.append(start).expect("a line");
    for step in 1..=800 {
        journal.keep(event(step));
        if step % 50 == 0 {
            journal.keep(evaluation(step));
        }
    }
    journal.flush().expect("the journal's lines");
    Run { journal, _lock: lock }
}

/// The workbench, with effects that are done at once.
struct Bench {
    state: State,
    services: Services,
    watch: Watch,
}

impl Bench {
    fn open(project: &Path, columns: u16, rows: u16) -> Self {
        let header = Header {
            afterthought: env!("CARGO_PKG_VERSION").into(),
            time: "2026-11-21T12:00:00Z".into(),
            project: "toy".into(),
            is_project: true,
            dataset: None,
            columns,
            rows,
            cores: 2,
            theme_name: "dark".into(),
            theme: Theme::load(project, "dark", Colours::True).expect("a theme"),
            display: Default::default(),
            is_light: None,
            is_fresh: true,
            shows_hints: false,
        };
        let mut bench = Self { state: header.state(), services: Services::new(project), watch: Watch::new(project) };
        let effects = update::start(&mut bench.state);
        bench.settle(effects);
        bench.look();
        bench
    }

    fn settle(&mut self, mut effects: Vec<Effect>) {
        while !effects.is_empty() {
            let mut messages = Vec::new();
            for effect in effects {
                if matches!(effect, Effect::Quit | Effect::Suspend | Effect::Redraw | Effect::Suit | Effect::Copy(_)) {
                    continue;
                }
                self.services.perform(effect, &Work::default(), &mut |message| messages.push(message));
            }
            effects = messages.into_iter().flat_map(|message| update::update(&mut self.state, message)).collect();
        }
    }

    fn look(&mut self) {
        let mut messages = Vec::new();
        self.watch.look(&mut |message| messages.push(message));
        for message in messages {
            let effects = update::update(&mut self.state, message);
            self.settle(effects);
        }
    }

    fn press(&mut self, keys: &str) {
        for c in keys.chars() {
            let effects = update::update(&mut self.state, key(c));
            self.settle(effects);
        }
    }
}

fn key(c: char) -> Message {
    Message::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE))
}

fn painter(state: &State) -> Painter {
    Painter::of_size(state.columns, state.rows, Glyphs::Braille).expect("a painter")
}

/// The median and the 99th percentile.
fn quantiles(mut of: Vec<f64>) -> (f64, f64) {
    of.sort_by(f64::total_cmp);
    (of[of.len() / 2], of[of.len() * 99 / 100])
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// From the state to the bytes of the whole screen, as after Ctrl-L: no frame costs more.
fn draw(state: &State, name: &str) {
    let mut painter = painter(state);
    let mut bytes = 0;
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        painter.forget().expect("a screen");
        let begun = Instant::now();
        bytes = painter.paint(|frame| panes::draw(frame, state)).expect("a frame").len();
        times.push(milliseconds(begun));
    }
    let (median, p99) = quantiles(times);
    println!("| {name} | {}x{} | {median:.2} | {p99:.2} | {bytes} |", state.columns, state.rows);
}

/// The update of a key, without what is done elsewhere in answer to it, and the bytes of the frame after it.
fn press(bench: &mut Bench, pane: &str, keys: &[&str]) {
    let mut painter = painter(&bench.state);
    let mut paint = |state: &State| painter.paint(|frame| panes::draw(frame, state)).expect("a frame").len();
    paint(&bench.state);
    let (mut times, mut sent) = (Vec::new(), Vec::new());
    for number in 0..TIMES {
        // Ten down, ten up.
        let c = keys[number / 10 % 2].chars().next().unwrap_or('j');
        let begun = Instant::now();
        let effects = update::update(&mut bench.state, key(c));
        times.push(milliseconds(begun));
        bench.settle(effects);
        sent.push(paint(&bench.state) as f64);
    }
    let ((median, p99), (bytes, _)) = (quantiles(times), quantiles(sent));
    let (columns, rows) = (bench.state.columns, bench.state.rows);
    println!("| j, k in {pane} | {columns}x{rows} | {median:.3} | {p99:.3} | {bytes:.0} |");
}

/// Steps come in one by one, while the four panes are looked at.
fn live(project: &Path, run: &mut Run) {
    let mut bench = Bench::open(project, 200, 60);
    bench.press("3");
    let mut painter = painter(&bench.state);
    let mut paint = |state: &State| painter.paint(|frame| panes::draw(frame, state)).expect("a frame").len();
    println!("| the whole screen | {} |", paint(&bench.state));
    println!("| a frame in which nothing changed | {} |", paint(&bench.state));
    let mut points = Vec::new();
    for step in 801..=1000 {
        run.journal.append(event(step)).expect("a line");
        // A run whose journal has just grown is looked at every time.
        std::thread::sleep(std::time::Duration::from_millis(20));
        bench.look();
        let bytes = paint(&bench.state);
        if bytes > 0 {
            points.push(bytes as f64);
        }
    }
    let most = points.iter().copied().fold(0.0, f64::max);
    let count = points.len();
    let (median, p99) = quantiles(points);
    println!("| a live point, median of {count} frames | {median:.0} |");
    println!("| a live point, p99 | {p99:.0} |");
    println!("| a live point, largest | {most:.0} |");
}
