//! A workbench without a terminal: real keys through the real update loop, real effects done at once, and the real
//! drawing into a buffer.

use std::path::Path;

use afterthought::workbench::effects::Services;
use afterthought::workbench::effects::watch::Watch;
use afterthought::workbench::effects::work::Work;
use afterthought::workbench::message::{Effect, Message};
use afterthought::workbench::recording::{Header, Recorder};
use afterthought::workbench::state::State;
use afterthought::workbench::theme::{Colours, Theme};
use afterthought::workbench::{dump, panes, update};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

pub struct Bench {
    pub state: State,
    services: Services,
    watch: Watch,
    /// Effects that need a terminal or a process, in the order in which they were asked for.
    pub outside: Vec<Effect>,
    /// Effects of this kind are kept in `outside` and not done.
    hold: fn(&Effect) -> bool,
    recorder: Option<Recorder>,
    /// The screen after each message, where they are recorded.
    pub screens: Vec<Buffer>,
}

impl Bench {
    /// Opens the workbench on a project, as the program does.
    pub fn open(project: &Path, columns: u16, rows: u16) -> Self {
        Self::open_as(project, columns, rows, None)
    }

    /// Opens it with a recording of the session.
    pub fn open_recorded(project: &Path, columns: u16, rows: u16, file: &Path) -> Self {
        Self::open_as(project, columns, rows, Some(file))
    }

    fn open_as(project: &Path, columns: u16, rows: u16, file: Option<&Path>) -> Self {
        let header = Header {
            afterthought: env!("CARGO_PKG_VERSION").into(),
            time: "2026-11-21T12:00:00Z".into(),
            project: "study".into(),
            is_project: project.join("runs").is_dir() || project.join("datasets").is_dir(),
            dataset: None,
            columns,
            rows,
            cores: 2,
            theme_name: "dark".into(),
            theme: Theme::load(project, "dark", Colours::True).unwrap(),
            display: Default::default(),
            is_light: None,
            is_fresh: false,
            shows_hints: false,
        };
        let state = header.state();
        let mut bench = Self {
            state,
            services: Services::new(project),
            watch: Watch::new(project),
            outside: Vec::new(),
            hold: |effect| {
                matches!(
                    effect,
                    Effect::OpenEditor { .. }
                        | Effect::Quit
                        | Effect::Redraw
                        | Effect::Suspend
                        | Effect::Copy(_)
                        | Effect::CancelJob(_)
                        | Effect::Control { .. }
                        | Effect::Notify(_)
                        | Effect::Suit
                        | Effect::StartRun(_)
                        | Effect::StartTour
                        | Effect::ForkRun { .. }
                        | Effect::ResumeRun(_)
                )
            },
            recorder: file.map(|file| Recorder::create(file, &header).unwrap()),
            screens: Vec::new(),
        };
        let effects = update::start(&mut bench.state);
        bench.settle(effects);
        bench.look();
        bench
    }

    /// Types keys: `j`, `<enter>`, `<ctrl-s>`, or any text.
    pub fn press(&mut self, keys: &str) -> &mut Self {
        let mut rest = keys;
        while !rest.is_empty() {
            let (event, length) = match rest.strip_prefix('<').and_then(|tail| tail.split_once('>')) {
                Some((name, _)) if name.len() > 1 => (named(name), name.len() + 2),
                _ => {
                    let c = rest.chars().next().unwrap();
                    (KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE), c.len_utf8())
                }
            };
            rest = &rest[length..];
            self.send(Message::Key(event));
        }
        self
    }

    pub fn send(&mut self, message: Message) {
        let effects = self.update(message);
        self.settle(effects);
    }

    fn update(&mut self, message: Message) -> Vec<Effect> {
        let Some(recorder) = &mut self.recorder else { return update::update(&mut self.state, message) };
        recorder.add(&message).unwrap();
        let effects = update::update(&mut self.state, message);
        self.screens.push(dump::screen(&self.state));
        effects
    }

    /// Does what was asked for elsewhere, such as by a clock.
    pub fn perform(&mut self, effect: Effect) {
        self.settle(vec![effect]);
    }

    /// Takes in what happened in the project's runs.
    pub fn look(&mut self) {
        let mut messages = Vec::new();
        self.watch.look(&mut |message| messages.push(message));
        messages.into_iter().for_each(|message| self.send(message));
    }

    /// Does effects until none is left.
    fn settle(&mut self, mut effects: Vec<Effect>) {
        while !effects.is_empty() {
            let mut next = Vec::new();
            for effect in effects {
                if (self.hold)(&effect) {
                    self.outside.push(effect);
                    continue;
                }
                let mut messages = Vec::new();
                self.services.perform(effect, &Work::default(), &mut |message| messages.push(message));
                for message in messages {
                    next.extend(self.update(message));
                }
            }
            effects = next;
        }
    }

    fn draw(&self) -> Buffer {
        dump::screen(&self.state)
    }

    /// The screen as text.
    pub fn screen(&self) -> String {
        let buffer = self.draw();
        let line = |y| {
            let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
            line.trim_end().to_owned()
        };
        (0..buffer.area.height).map(line).collect::<Vec<_>>().join("\n")
    }

    /// The screen with its styles: under each line, letters that the legend below explains.
    pub fn styled(&self) -> String {
        let buffer = self.draw();
        let mut legend: Vec<String> = Vec::new();
        let mut out = String::new();
        for y in 0..buffer.area.height {
            let mut text = String::new();
            let mut styles = String::new();
            for x in 0..buffer.area.width {
                let cell = &buffer[(x, y)];
                text.push_str(cell.symbol());
                let style = format!("{:?} on {:?} {:?}", cell.fg, cell.bg, cell.modifier);
                let number = legend.iter().position(|known| *known == style).unwrap_or_else(|| {
                    legend.push(style);
                    legend.len() - 1
                });
                styles.push(if number == 0 { ' ' } else { char::from(b'a' + (number - 1) as u8) });
            }
            out.push_str(&format!("{}\n", text.trim_end()));
            if !styles.trim().is_empty() {
                out.push_str(&format!("{}\n", styles.trim_end()));
            }
        }
        for (number, style) in legend.iter().enumerate().skip(1) {
            out.push_str(&format!("{}: {style}\n", char::from(b'a' + (number - 1) as u8)));
        }
        out
    }

    /// What the whole screen costs a terminal with these colours, in bytes.
    pub fn bytes(&mut self, project: &Path, colours: Colours) -> usize {
        self.state.theme = Theme::load(project, Theme::meant("auto", None, colours), colours).unwrap();
        let area = Rect::new(0, 0, self.state.columns, self.state.rows);
        let viewport = TerminalOptions { viewport: Viewport::Fixed(area) };
        let mut written = Vec::new();
        let mut terminal = Terminal::with_options(CrosstermBackend::new(&mut written), viewport).unwrap();
        terminal.draw(|frame| panes::draw(frame, &self.state)).unwrap();
        drop(terminal);
        written.len()
    }

    /// Asserts that the screen says something.
    #[track_caller]
    pub fn says(&self, text: &str) {
        let screen = self.screen();
        assert!(screen.contains(text), "the screen does not say {text:?}:\n{screen}");
    }

    #[track_caller]
    pub fn says_not(&self, text: &str) {
        let screen = self.screen();
        assert!(!screen.contains(text), "the screen says {text:?}:\n{screen}");
    }
}

/// A key as a message.
pub fn key(name: &str) -> Message {
    Message::Key(named(name))
}

fn named(name: &str) -> KeyEvent {
    let (control, name) = match name.strip_prefix("ctrl-") {
        Some(rest) => (KeyModifiers::CONTROL, rest),
        None if name.starts_with("alt-") => (KeyModifiers::ALT, &name[4..]),
        // As terminals send it.
        None if name == "backtab" => (KeyModifiers::SHIFT, name),
        None => (KeyModifiers::NONE, name),
    };
    let code = match name {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "tab" => KeyCode::Tab,
        "backtab" => KeyCode::BackTab,
        "space" => KeyCode::Char(' '),
        "backspace" => KeyCode::Backspace,
        "down" => KeyCode::Down,
        "up" => KeyCode::Up,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "pgdn" => KeyCode::PageDown,
        "pgup" => KeyCode::PageUp,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "del" => KeyCode::Delete,
        "f1" => KeyCode::F(1),
        "lt" => KeyCode::Char('<'),
        one if one.chars().count() == 1 => KeyCode::Char(one.chars().next().unwrap()),
        other => panic!("no key <{other}>"),
    };
    KeyEvent::new(code, control)
}
