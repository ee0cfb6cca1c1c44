//! The charts of the training pane, by keys alone, over journals that the tests write.

use std::path::Path;

use afterthought::journal::{EvaluationEvent, Event, RunState, StepEvent, Writer};
use afterthought::runs::spec::Record;
use afterthought::runs::{RunDirectory, RunSpec};
use afterthought::workbench::display::Glyphs;
use afterthought::workbench::message::{Effect, External, Message};
use afterthought::workbench::state::Overlay;

use super::bench::Bench;

/// A run whose journal the test writes.
struct Written {
    directory: RunDirectory,
    journal: Writer,
}

impl Written {
    /// A run of so many planned steps, none of which is taken yet.
    fn new(project: &Path, planned: usize, overrides: &[&str], origin: Option<(&str, usize)>) -> Self {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        let mut spec = RunSpec::preset("toy").with_overrides(&overrides).unwrap();
        let forked_from = origin.map(|(id, step)| (id.to_owned(), step));
        spec.record = Some(Record { forked_from, ..Record::new("") });
        let directory = RunDirectory::create(project, spec, "written").unwrap();
        let mut journal = Writer::open(&directory.journal()).unwrap();
        journal.append(Event::State { state: RunState::Running, reason: None }).unwrap();
        let device = "cpu".into();
        journal.append(Event::Start { steps: planned, examples: 320, parameters: 9, device, threads: 1 }).unwrap();
        Self { directory, journal }
    }

    fn steps(mut self, steps: impl IntoIterator<Item = usize>, loss: f64) -> Self {
        self.take(steps, loss);
        self
    }

    fn take(&mut self, steps: impl IntoIterator<Item = usize>, loss: f64) {
        for step in steps {
            self.journal.keep(Event::Step(StepEvent {
                step,
                epoch: step as f64 / 10.0,
                loss,
                loss_label: Some(loss),
                loss_rationale: None,
                learning_rate: 1e-3,
                gradient_norm: 0.9,
                tokens: 100 * step as u64,
                tokens_per_second: 10.0,
            }));
        }
        self.journal.flush().unwrap();
    }

    fn evaluated(mut self, step: usize, loss: f64) -> Self {
        let evaluation = EvaluationEvent {
            step,
            epoch: 1.0,
            split: "validation".into(),
            accuracy: 0.5,
            correct: 5,
            examples: 10,
            unparsable: 0,
            loss: Some(loss),
            loss_label: Some(loss),
            loss_rationale: None,
            last: false,
        };
        self.journal.append(Event::Evaluation(evaluation)).unwrap();
        self
    }

    /// With a folder that is a checkpoint as far as its name tells.
    fn saved(mut self, step: usize) -> Self {
        let path = self.directory.checkpoints().join(format!("step-{step}"));
        std::fs::create_dir_all(&path).unwrap();
        self.journal.append(Event::Checkpoint { step, path }).unwrap();
        self
    }

    fn resumed(mut self, step: usize) -> Self {
        self.journal.append(Event::Resume { step }).unwrap();
        self
    }

    fn ended(mut self) -> Self {
        self.journal.append(Event::State { state: RunState::Finished, reason: None }).unwrap();
        self
    }

    fn id(&self) -> &str {
        self.directory.id()
    }
}

fn cursor(bench: &Bench) -> usize {
    bench.state.loupe.cursor.as_ref().unwrap().1
}

#[test]
fn the_curve_is_zoomed_into_and_panned_by_keys() {
    let dir = tempfile::tempdir().unwrap();
    let _run = Written::new(dir.path(), 800, &[], None).steps(1..=800, 2.0).ended();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("3[");
    bench.says("this is the whole curve");
    // About the end of the curve.
    bench.press("+");
    assert_eq!(bench.state.charts.window, Some((400.0, 800.0)));
    bench.says("400 to 800");
    bench.press("[");
    assert_eq!(bench.state.charts.window, Some((300.0, 700.0)));
    bench.press("]]");
    assert_eq!(bench.state.charts.window, Some((400.0, 800.0)), "there is nothing beyond the end");
    bench.press("=0");
    assert_eq!(bench.state.charts.window, None);
    bench.says_not("400 to 800");
    bench.press("++--");
    assert_eq!(bench.state.charts.window, None, "out again");
    bench.press("x");
    bench.says("at work");
    bench.press("x+");
    assert_eq!(bench.state.charts.window, Some((40_000.0, 80_000.0)));
    bench.says("80k tokens");
    // The same steps on another axis.
    bench.press("x");
    let examples = bench.state.runs.selected().unwrap().spec.training.examples_per_step() as f64;
    assert_eq!(bench.state.charts.window, Some((400.0 * examples, 800.0 * examples)));
    bench.says("examples");
    bench.press("x");
    assert_eq!(bench.state.charts.window, Some((400.0, 800.0)));
    bench.press("0");
    bench.says("800 steps");
}

#[test]
fn what_is_looked_at_near_follows_the_newest_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Written::new(dir.path(), 800, &[], None).steps(1..=400, 2.0);
    let _lock = run.directory.lock().unwrap();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("3+");
    assert_eq!(bench.state.charts.window, Some((200.0, 600.0)));
    run.take(401..=600, 1.0);
    bench.look();
    assert_eq!(bench.state.charts.window, Some((200.0, 600.0)));
    run.take(601..=650, 1.0);
    bench.look();
    assert_eq!(bench.state.charts.window, Some((250.0, 650.0)));
    // Somebody who looks at what was before is left alone.
    bench.press("[");
    run.take(651..=660, 1.0);
    bench.look();
    assert_eq!(bench.state.charts.window, Some((150.0, 550.0)));
}

#[test]
fn the_cursor_goes_by_what_can_be_seen() {
    let dir = tempfile::tempdir().unwrap();
    let _run = Written::new(dir.path(), 8000, &[], None).steps(1..=8000, 2.0).ended();
    let mut bench = Bench::open(dir.path(), 80, 24);
    bench.press("3h");
    assert_eq!(cursor(&bench), 8000);
    bench.press("h");
    let apart = 8000 - cursor(&bench);
    assert!((20..120).contains(&apart), "a column of dots, not a step: {apart}");
    bench.press("l");
    assert_eq!(cursor(&bench), 8000);
    bench.press("+++++++h");
    assert_eq!(cursor(&bench), 7999, "near enough, every step has a column");
    bench.press("0hhh+++++++");
    let (from, to) = bench.state.charts.window.unwrap();
    assert!((from..=to).contains(&(cursor(&bench) as f64)), "about the cursor");
    // It takes the window with it.
    bench.press(
        "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh",
    );
    let (now, _) = bench.state.charts.window.unwrap();
    assert!(now < from && cursor(&bench) as f64 >= now);
}

#[test]
fn values_are_read_off_in_every_chart_at_one_place() {
    let dir = tempfile::tempdir().unwrap();
    let other = Written::new(dir.path(), 100, &["seed.order=1"], None).steps(1..=50, 7.25).steps(51..=100, 6.5).ended();
    let _run =
        Written::new(dir.path(), 100, &[], None).steps(1..=50, 3.5).evaluated(40, 4.75).steps(51..=100, 2.5).ended();
    let mut bench = Bench::open(dir.path(), 200, 60);
    bench.press("3z");
    bench.state.runs.overlaid.insert(other.id().to_owned());
    bench.says("─ label 2.500");
    bench.says("label 6.500");
    bench.says("gradient norm 0.900");
    while bench.state.loupe.cursor.is_none() || cursor(&bench) > 45 {
        bench.press("h");
    }
    bench.says("─ label 3.500");
    bench.says("╌● validation label 4.750");
    bench.says("label 7.250");
    let arrows = bench.screen().matches('▲').count();
    assert!(arrows >= 3, "one in each chart, and one beside the numbers: {arrows}\n{}", bench.screen());
    while cursor(&bench) > 20 {
        bench.press("h");
    }
    bench.says("╌● validation label –");
    for metric in ["learning rate", "tokens/s", "validation", "label 33.12", "gradient norm"] {
        bench.press("v");
        bench.says(metric);
    }
    for smoothing in ["half life 5 steps", "losses ·", "half life 1 step"] {
        bench.press("u");
        bench.says(smoothing);
    }
}

#[test]
fn runs_that_differ_in_seeds_are_shown_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let seed = |seed: &str, loss| Written::new(dir.path(), 100, &[seed], None).steps(1..=100, loss).ended();
    let _alone = Written::new(dir.path(), 100, &["training.batch_size=2"], None).steps(1..=100, 9.0).ended();
    let _runs = [seed("seed.order=1", 1.0), seed("seed.order=2", 2.0), seed("seed.order=3", 4.5)];
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("3");
    bench.says("label 4.500");
    bench.press("B");
    bench.says("label, mean and range of 3 seeds 2.500");
    bench.press("G");
    bench.says("label 9.000");
    bench.press("BB");
    bench.says("no other run differs from this one in its seeds alone");
}

#[test]
fn what_happened_stands_along_the_axis() {
    let dir = tempfile::tempdir().unwrap();
    let run = Written::new(dir.path(), 100, &[], None).steps(1..=60, 3.0).saved(30).resumed(30).steps(31..=100, 3.0);
    let run = run.saved(100).ended();
    let _fork = Written::new(dir.path(), 120, &[], Some((run.id(), 30))).resumed(30).steps(31..=120, 2.0).ended();
    let mut bench = Bench::open(dir.path(), 200, 60);
    bench.press("3zk");
    bench.says("◇ checkpoint");
    bench.says("↻ resumed");
    bench.says("Y fork");
    bench.says("╂ epoch");
    let run = bench.state.runs.selected().unwrap();
    let (id, steps) = (run.id.clone(), run.history.steps.len());
    assert_eq!(bench.state.charts.curves(&id).unwrap().len(), steps);
    // The fork stands under what it left, and has its curve before it.
    bench.says("└ fork of post @30");
    bench.press("j");
    assert_ne!(bench.state.runs.selected().unwrap().id, id);
    bench.says("⊢ forked here");
    bench.press("k");
    assert_eq!(bench.state.runs.selected().unwrap().id, id);
}

#[test]
fn a_run_is_forked_from_a_point_on_its_curve() {
    let dir = tempfile::tempdir().unwrap();
    let run = Written::new(dir.path(), 100, &[], None).steps(1..=100, 3.0).ended();
    let mut bench = Bench::open(dir.path(), 120, 34);
    bench.press("3f");
    bench.says("has no checkpoint");
    let run = run.saved(20).saved(60);
    bench.press("f");
    bench.says("fork at 60: KEY=VALUE");
    bench.press("<esc>");
    while bench.state.loupe.cursor.is_none() || cursor(&bench) > 45 {
        bench.press("h");
    }
    let before = cursor(&bench) - 20;
    bench.press("f");
    bench.says(&format!("fork at 20, {before} before ▲"));
    bench.press("training.learning_rat=1e-4<enter>");
    bench.says("did you mean `learning_rate`");
    assert!(matches!(bench.state.overlay, Some(Overlay::Input { .. })), "and it can be mended");
    bench.press("<ctrl-u>training.learning_rate=1e-4 training.loss={label: 1, rationale: 0}<enter>");
    let wanted = Effect::ForkRun {
        run: run.id().into(),
        step: 20,
        overrides: vec!["training.learning_rate=1e-4".into(), "training.loss={label: 1, rationale: 0}".into()],
    };
    assert_eq!(bench.outside, [wanted]);
    // All settings in $EDITOR, with what was typed already.
    bench.press("fseed.order=5<ctrl-e>");
    let Some(Effect::OpenEditor { what: External::Fork(point), text }) = bench.outside.pop() else { panic!() };
    assert!(text.contains("order: 5") && !text.contains("record"), "{text}");
    let text = text.replace("learning_rate: 0.01", "learning_rate: 0.5");
    bench.send(Message::EditorClosed { what: External::Fork(point), text: Some(text) });
    let Some(Effect::ForkRun { overrides, .. }) = bench.outside.last() else { panic!("{:?}", bench.outside) };
    assert!(overrides.contains(&"seed.order=5".to_owned()), "{overrides:?}");
    // As soon as it is found it is shown beside its parent.
    let fork = Written::new(dir.path(), 100, &["seed.order=5"], Some((run.id(), 20))).steps(21..=30, 3.0).ended();
    bench.send(Message::Started { ids: vec![fork.id().into()], what: "under way".into() });
    std::thread::sleep(std::time::Duration::from_millis(1100));
    bench.look();
    assert_eq!(bench.state.runs.selected().unwrap().id, fork.id());
    assert!(bench.state.runs.overlaid.contains(run.id()));
}

#[test]
fn curves_are_drawn_with_what_a_terminal_has() {
    let dir = tempfile::tempdir().unwrap();
    let _run = Written::new(dir.path(), 100, &[], None).steps(1..=50, 3.0).steps(51..=100, 1.0).evaluated(60, 2.0);
    let mut bench = Bench::open(dir.path(), 80, 24);
    bench.press("3");
    let braille = |screen: &str| screen.contains(|c| ('\u{2801}'..='\u{28ff}').contains(&c));
    assert!(braille(&bench.screen()));
    bench.state.display.forced.glyphs = Some(Glyphs::Blocks);
    bench.says("▀");
    assert!(!braille(&bench.screen()));
    bench.state.display.forced.glyphs = Some(Glyphs::Ascii);
    bench.says("***");
    assert!(!braille(&bench.screen()) && !bench.screen().contains('▀'));
}
