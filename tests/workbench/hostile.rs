//! Hostile text in every place that shows text: nothing of it reaches the terminal raw, and every column stays in place.

use std::collections::HashMap;
use std::fs;
use std::num::NonZero;
use std::path::Path;

use afterthought::evaluation::{Prediction, merge_predictions};
use afterthought::journal::{Event, RunState, SkippedEvent, Writer};
use afterthought::runs::spec::CONDITION;
use afterthought::runs::{RunDirectory, RunSpec, worker};
use afterthought::text;
use afterthought::workbench::display::Glyphs;
use afterthought::workbench::dump::{self, Format};
use afterthought::workbench::message::{Effect, Message};
use afterthought::workbench::state::{Notice, Overlay};
use afterthought::workbench::terminal::backend::Painter;
use afterthought::workbench::{layout, panes};
use unicode_width::UnicodeWidthStr;

use super::bench::Bench;
use super::comparing::step;

/// What a data set, a model or a teacher may hold: commands to a terminal, and characters that lie about their place.
const HOSTILE: &str = "\u{1b}[2J\u{1b}[5;1H\u{1b}]52;c;cm0gLXJm\u{7}\u{9b}31m\u{9d}0;x\u{9c}\u{7f}\u{0}\u{8}\u{e}👩‍🔬❤\u{fe0f}👍🏽🇪🇺1\u{fe0f}\u{20e3}\
     \u{200f}\u{202e}evil\u{202c}\u{2066}\u{e0041}\u{feff}\u{200b}\u{ad}日本e\u{301}\u{0}\u{fffe}\u{e000}";

/// The same for names of files, which hold no NUL and not too many bytes.
const NAME: &str = "ev\u{1b}[2J\u{9b}31m\u{7}\u{202e}il\u{200d}魚";

fn hostile(words: &str) -> String {
    // A heap of marks on one letter, as well.
    format!("{words} {HOSTILE} z{} end", "\u{301}".repeat(60))
}

fn row(id: usize, question: &str) -> String {
    let id = format!("{id}{NAME}");
    let row = serde_json::json!({
        "id": id, "question": question, "answer": "A", "rationale": hostile("because"), "rationale_source": NAME,
        (format!("field{NAME}")): hostile("value"), "kind": hostile("kind"),
        "choices": [{"label": "A", "text": hostile("right")}, {"label": "B", "text": hostile("wrong")}],
    });
    format!("{row}\n")
}

/// A project in which everything that can be named or said is hostile.
fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("datasets").join(NAME);
    fs::create_dir_all(&data).unwrap();
    // What YAML can say at all.
    let about: String = hostile("about").chars().filter(|c| (*c as u32) < 0xfffe).collect();
    let splits = serde_json::json!({"train": "train.jsonl", "validation": "validation.jsonl", "test": "test.jsonl", "broken": "broken.jsonl"});
    let about =
        serde_json::json!({"name": about, "description": about, "licence": about, "source": about, "splits": splits})
            .to_string();
    fs::write(data.join("dataset.yaml"), text::escape_json(&about).as_bytes()).unwrap();
    for split in ["train", "validation", "test"] {
        let rows: String = (0..24).map(|id| row(id, &hostile("why"))).collect();
        fs::write(data.join(format!("{split}.jsonl")), rows).unwrap();
    }
    // No training takes these.
    let broken =
        b"{\"id\": \"\xff\xfe\x9b2J\x1b[31m\", \"question\": \"\xc3\x28\"}\nno JSON at all \x1b[2J \xf0\x28\n{\x1b";
    fs::write(data.join("broken.jsonl"), broken).unwrap();
    fs::create_dir(dir.path().join("themes")).unwrap();
    fs::write(dir.path().join("themes").join(format!("{NAME}.yaml")), "no theme\u{7}: [").unwrap();
    let said = text::escape_json(&serde_json::to_string(NAME).unwrap()).into_owned();
    let keymap = format!(
        "data:\n  - {{on: X, run: mark, desc: {said}, hint: {said}}}\n  - {{on: {said}, run: mark}}\n  - {{on: W, run: {said}}}\n"
    );
    fs::write(dir.path().join("keymap.yaml"), keymap).unwrap();
    fs::create_dir(dir.path().join("studies")).unwrap();
    let condition = serde_json::json!({
        "base": {"dataset": NAME}, "conditions": {(NAME): {}, "none": {"rationale": {"placement": "none"}}},
    });
    let study = text::escape_json(&condition.to_string()).into_owned();
    for name in [NAME, "evil"] {
        fs::write(dir.path().join("studies").join(format!("{name}.yaml")), &study).unwrap();
    }
    trained(dir.path());
    written(dir.path());
    dir
}

fn spec() -> RunSpec {
    let settings = ["training.steps=12", "training.batch_size=4", "evaluation.every=6", "evaluation.final=test"];
    let mut spec = RunSpec::preset("toy").with_overrides(&settings.map(str::to_owned)).unwrap();
    spec.dataset = NAME.into();
    spec.tags.insert(CONDITION.into(), hostile("condition"));
    spec.tags.insert(NAME.into(), hostile("tag"));
    spec
}

/// A student that was trained on it, so that there are scores, losses and lenses.
fn trained(project: &Path) {
    let run = RunDirectory::create(project, spec(), NAME).unwrap();
    assert_eq!(worker::work(project, &run, Some(Box::new(|_| {}))).unwrap().state, RunState::Finished);
}

/// A run that says what it likes, in a folder that is called what it likes.
fn written(project: &Path) {
    let mut spec = spec();
    spec.student = NAME.into();
    let run = RunDirectory::at(project, &format!("2026{NAME}"), spec).unwrap();
    let mut journal = Writer::open(&run.journal()).unwrap();
    let device = hostile("cpu");
    journal.append(Event::Start { steps: 30, examples: 24, parameters: 9, device, threads: 1 }).unwrap();
    (1..=20).for_each(|number| journal.append(step(number)).unwrap());
    journal.append(Event::Note { text: hostile("note") }).unwrap();
    journal.append(Event::Checkpoint { step: 20, path: format!("checkpoints/{NAME}").into() }).unwrap();
    let skipped = SkippedEvent { step: 21, what: hostile("loss"), examples: vec![hostile("id")] };
    journal.append(Event::Skipped(skipped)).unwrap();
    journal.append(Event::Progress { what: hostile("attributing"), done: 1, total: 2 }).unwrap();
    journal.append(Event::State { state: RunState::Failed, reason: Some(hostile("because")) }).unwrap();
    let prediction = |id: usize| Prediction {
        id: format!("{id}{NAME}"),
        dataset: NAME.into(),
        split: "test".into(),
        answer: Some("A".into()),
        predicted: Some(hostile("B")),
        text: hostile("I think"),
        choices: None,
        unfinished: false,
    };
    let predictions: Vec<Prediction> = (0..24).map(prediction).collect();
    merge_predictions(&run.predictions(), NAME, "test", &predictions).unwrap();
    fs::write(run.log(), hostile("log")).unwrap();
}

/// Takes our own commands to the terminal out of a frame and gives what is left; fails at any that is not ours.
#[track_caller]
fn letters(frame: &str, at: &str) -> String {
    let mut left = String::new();
    let mut rest = frame;
    while let Some(place) = rest.find('\u{1b}') {
        left.push_str(&rest[..place]);
        let command = &rest[place + 1..];
        let end = command.find(|c: char| c.is_ascii_alphabetic()).expect("a command that ends");
        let (arguments, letter) = (&command[..end], command.as_bytes()[end]);
        let is_number = |text: &str| text.chars().all(|c| c.is_ascii_digit() || matches!(c, ';' | ':'));
        let is_ours = match (arguments.strip_prefix("[?"), arguments.strip_prefix('['), letter) {
            // The cursor is hidden and shown; the frame begins and ends.
            (Some(mode), _, b'h' | b'l') => matches!(mode, "25" | "2026"),
            // The cursor's place, a style, the screen cleared.
            (None, Some(numbers), b'H' | b'm') => is_number(numbers),
            (None, Some("2"), b'J') => left.trim().is_empty(),
            _ => false,
        };
        assert!(is_ours, "{at}: {:?} is sent", &command[..=end]);
        rest = &command[end + 1..];
    }
    left + rest
}

/// Holds the screen against what a terminal makes of its bytes.
#[track_caller]
fn check(bench: &Bench, at: &str) {
    let state = &bench.state;
    let (columns, rows) = (state.columns, state.rows);
    let mut painter = Painter::of_size(columns, rows, Glyphs::Braille).unwrap();
    let bytes = painter.paint(|frame| panes::draw(frame, state)).unwrap();
    let left = letters(std::str::from_utf8(&bytes).unwrap(), at);
    let is_disputed = |c: char| matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{20e3}');
    let found = text::first_unsafe(&left, false).or_else(|| left.chars().find(|c| is_disputed(*c)));
    assert_eq!(found, None, "{at}: a character that does something is sent; the screen is\n{}", bench.screen());

    let size = |n: u16| NonZero::new(n).unwrap();
    let mut parser = vt100::Parser::new(size(rows), size(columns), 0);
    parser.process(&bytes);
    let (shown, meant) = (parser.screen(), dump::screen(state));
    let is_line = |symbol: &str| "│┃║─━═╭╮╰╯┏┓┗┛╔╗╚╝".contains(symbol);
    for y in 0..rows {
        let mut x = 0;
        while x < columns {
            let symbol = meant[(x, y)].symbol();
            if symbol.is_ascii() || is_line(symbol) {
                let seen = shown.cell(y, x).unwrap().contents();
                assert_eq!(seen.trim(), symbol.trim(), "{at}: row {y}, column {x} of\n{}", bench.screen());
            }
            x += (symbol.width() as u16).max(1);
        }
    }
    if state.overlay.is_none() && state.typing.keys.is_empty() {
        for (pane, area) in layout::screen(state).panes {
            for y in area.y + 1..area.bottom() - 1 {
                for x in [area.x, area.right() - 1] {
                    let symbol = meant[(x, y)].symbol();
                    assert!(
                        is_line(symbol),
                        "{at}: the border of {pane:?} at row {y} is {symbol:?} in\n{}",
                        bench.screen()
                    );
                }
            }
        }
    }
    for format in Format::ALL {
        let file = dump::write(&meant, format, &state.theme);
        let file = if format == Format::Ansi { letters(&file, at) } else { file };
        assert_eq!(text::first_unsafe(&file, true), None, "{at}: written as {}", format.extension());
    }
}

/// Presses keys, one step after the other, and looks at the screen after each.
#[track_caller]
fn walk(bench: &mut Bench, steps: &str) {
    for keys in steps.split_whitespace() {
        bench.press(keys);
        let columns = bench.state.columns;
        check(bench, &format!("after {keys} in {steps:?} at {columns} columns"));
    }
}

/// Every pane with all of its faces, and what lies over them.
const DATA: &str = "1 j j J J K S j <enter> S <esc> C j j <space> <esc> H <esc> D <esc> c <esc> v j <esc> m M <esc> i evil <esc> \
                    / e v i l kind:x <enter> <esc> / kind:~~( <esc> X ? j j <esc> : e v <esc> ! j <esc> G gg f f s s s j v j <esc> s e x <ctrl-s> e <esc>";
const RATIONALE: &str = "2 a <esc> a <enter> <enter> <esc> t j t j l l h <space> <space> R p p p s j <enter> s <esc> w <esc> e o <esc> y u U";
const TRAINING: &str =
    "3 j k o c c c c L L v v x x x u u B B + + [ ] 0 h h h b <esc> <lt> > b j <esc> <enter> s <esc> f <esc> n <esc>";
const ATTRIBUTION: &str = "4 l l l x d e y <enter> u U v t j <esc> m j <esc> r j <esc> c j <enter> b A O [ ] K <esc> w <esc> <esc> o l l o L \
                           h h j j L L n <esc>";
const BOARD: &str = "5 j j j d <esc> / e v <enter> <esc> <enter> j j <esc> <esc> s s s b b S j j <enter> j <enter> <esc> S j j j <enter> d";

#[test]
fn hostile_text_in_every_pane_stays_text() {
    let dir = project();
    for (columns, rows) in [(80, 24), (120, 40), (200, 60), (60, 16)] {
        let mut bench = Bench::open(dir.path(), columns, rows);
        bench.state.project = hostile("project");
        // What the keymap file has to say is said first.
        walk(&mut bench, "! j <esc>");
        let place = bench.state.data.datasets.iter().position(|name| name == NAME).expect("the data set is listed");
        walk(&mut bench, &format!("d{} <enter>", " j".repeat(place)));
        assert_eq!(bench.state.draft.dataset, NAME);
        assert!(bench.state.data.selected.as_ref().unwrap().example.question.contains('\u{1b}'));
        for steps in [DATA, RATIONALE, TRAINING, ATTRIBUTION, BOARD] {
            walk(&mut bench, steps);
        }
        walk(&mut bench, ":theme <enter> j j j j j <enter> <esc>");
        bench.press("<esc><esc>");
        for (place, pane) in ["1", "2", "3", "4", "5"].into_iter().enumerate() {
            walk(&mut bench, &format!("{pane} z yy yi yr yc ys z"));
            assert!(bench.state.log.len() > place);
        }
    }
}

#[test]
fn what_is_copied_and_notified_can_do_nothing() {
    let dir = project();
    let mut bench = Bench::open(dir.path(), 120, 40);
    let place = bench.state.data.datasets.iter().position(|name| name == NAME).unwrap();
    bench.press(&format!("d{}<enter>", "j".repeat(place)));
    for pane in ["1", "2", "3", "3k", "4", "4L", "4Lo", "5", "5j"] {
        bench.press(pane).press("yyyiyrycys<esc><esc>");
    }
    let copied: Vec<&String> = bench
        .outside
        .iter()
        .filter_map(|effect| if let Effect::Copy(copied) = effect { Some(copied) } else { None })
        .collect();
    assert!(copied.len() > 20, "{}", copied.len());
    assert!(copied.iter().filter(|text| text.contains('␛')).count() > 10);
    for text in copied {
        assert_eq!(text::first_unsafe(text, true), None, "{text:?}");
    }
}

#[test]
fn hostile_messages_and_pastes_stay_text() {
    let dir = tempfile::tempdir().unwrap();
    for (columns, rows) in [(80, 24), (200, 60)] {
        let mut bench = Bench::open(dir.path(), columns, rows);
        bench.send(Message::Say(Notice::error(hostile("said"))));
        check(&bench, "a message");
        walk(&mut bench, "! j <esc>");
        let lines = vec![hostile("line"), hostile("line").repeat(40)];
        bench.send(Message::Page { title: hostile("title"), lines });
        walk(&mut bench, "j j <esc>");
        // Wherever text can be typed, any can be pasted.
        for (keys, place) in [
            ("1/", "the filter"),
            (":", "the palette"),
            ("1i", "an input"),
            ("2e", "the editor"),
            ("5/", "the filter of the board"),
            ("1", "a pane"),
        ] {
            bench.press(keys);
            bench.send(Message::Paste(hostile("pasted\n\tand")));
            check(&bench, place);
            walk(&mut bench, "x <left> <left> <backspace> <home> <end> <esc>");
            bench.press("<enter><esc><esc>");
            check(&bench, &format!("after {place}"));
        }
        for overlay in [
            Overlay::Confirm {
                question: hostile("sure?"),
                then: afterthought::workbench::state::Confirmed::DiscardEdit,
            },
            Overlay::Input {
                title: hostile("title"),
                text: hostile("text"),
                then: afterthought::workbench::state::InputFor::Jump,
            },
            Overlay::Palette { input: hostile("command"), cursor: 0 },
        ] {
            bench.state.overlay = Some(overlay);
            check(&bench, "an overlay");
            bench.state.overlay = None;
        }
        bench.state.data.predicted_by = Some(hostile("run"));
        bench.state.data.predictions =
            HashMap::from([("tr-0001".to_owned(), (Some(hostile("A")), false)), ("tr-0002".to_owned(), (None, false))]);
        bench.state.data.written = HashMap::from([("tr-0001".to_owned(), hostile("I think"))]);
        check(&bench, "predictions");
    }
}

#[test]
fn a_line_of_a_megabyte_is_a_line_like_others() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("datasets/long");
    fs::create_dir_all(&data).unwrap();
    let words = "\u{1b}[2J fish ".repeat(100_000);
    let one = hostile("w").replace([' ', '\u{0}'], "").repeat(6_000);
    let rows = [row(0, "short"), row(1, &words), row(2, &one), row(3, "short")].concat();
    assert!(rows.len() > 2_000_000);
    fs::write(data.join("train.jsonl"), rows).unwrap();
    let mut bench = Bench::open(dir.path(), 120, 40);
    walk(&mut bench, "d j j <enter>");
    assert_eq!(bench.state.draft.dataset, "long");
    walk(&mut bench, "j J j J j 2 t t 1 k / fish <enter> <esc> G");
    bench.says("short");
    bench.send(Message::Say(Notice::error(words)));
    walk(&mut bench, "! j <esc> q <esc>");
}
