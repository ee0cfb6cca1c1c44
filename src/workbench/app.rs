//! The loop: input, effects and journals arrive on one channel; all that has arrived is taken in, then the screen is
//! drawn once, if anything changed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossterm::event::{Event, EventStream, KeyEventKind};
use futures_util::{FutureExt, StreamExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::display::{Display, Forced, Notify};
use super::effects::Services;
use super::effects::lanes::Lanes;
use super::effects::watch::watch;
use super::keymap::Keymap;
use super::message::{Effect, External, Message};
use super::state::{Notice, State};
use super::terminal::replies::{self, Replies};
use super::terminal::writer::Written;
use super::terminal::{Screen, install_panic_hook};
use super::theme::{AUTO, Colours, Theme};
use super::{panes, update};

/// Events that are taken in before a frame is drawn, if so many are there already.
const MOST_EVENTS: usize = 512;

/// How often the traffic that is shown is looked at, as long as there is some.
const TRAFFIC: Duration = Duration::from_millis(1500);

/// How the workbench is opened.
pub struct Options {
    pub project: PathBuf,
    pub theme: Option<String>,
    /// The data set that is shown first.
    pub dataset: Option<String>,
    /// How the screen is to be shown, where the user wants it otherwise than it is found.
    pub display: Forced,
}

/// Opens the workbench and comes back when the user leaves it.
pub fn run(options: Options) -> anyhow::Result<()> {
    let display = Display::of_environment(options.display);
    let is_light = replies::of_environment();
    let name = options.theme.clone().unwrap_or_else(|| AUTO.to_owned());
    let theme = Theme::load(&options.project, Theme::meant(&name, is_light, display.colours()), display.colours())?;
    let is_project = options.project.join("runs").is_dir() || options.project.join("datasets").is_dir();
    let shown = std::fs::canonicalize(&options.project).unwrap_or_else(|_| options.project.clone());
    let shown = shown.file_name().map_or_else(|| "afterthought".into(), |name| name.to_string_lossy().into_owned());
    let mut state = State::new(shown, is_project, theme, name);
    (state.display, state.is_light) = (display, is_light);
    let (keymap, problems) = Keymap::load(&options.project);
    state.keymap = keymap;
    problems.into_iter().for_each(|problem| state.say(Notice::error(problem)));
    if let Some(dataset) = options.dataset {
        state.draft.dataset = dataset;
    }
    install_panic_hook();
    // Half the cores for what the panes ask for; the runs need theirs.
    crate::runs::worker::limit_threads((state.cores / 2).max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(App::open(state, &options.project)?.go())
}

struct App {
    state: State,
    screen: Screen,
    project: PathBuf,
    lanes: Lanes,
    messages: UnboundedReceiver<Message>,
    /// Kept, so that the channel stays open when no lane is at work.
    _send: UnboundedSender<Message>,
    replies: Replies,
    leaving: bool,
}

impl App {
    fn open(mut state: State, project: &Path) -> anyhow::Result<Self> {
        let (send, messages) = unbounded_channel();
        let screen = Screen::enter(&state.display)?;
        let size = screen.size()?;
        (state.columns, state.rows) = (size.width, size.height);
        let lanes = Lanes::new(Services::new(project), send.clone());
        let (project, replies) = (project.to_owned(), Replies::default());
        Ok(Self { state, screen, project, lanes, messages, _send: send, replies, leaving: false })
    }

    async fn go(mut self) -> anyhow::Result<()> {
        // The first frame goes out before anything is read.
        self.draw()?;
        for effect in update::start(&mut self.state) {
            self.perform(effect)?;
        }
        watch(&self.project, self._send.clone());
        let mut input = Some(EventStream::new());
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut resumed = signal(SignalKind::from_raw(libc::SIGCONT))?;
        let mut drawn = Instant::now();
        let mut looked = Instant::now();
        // Whether something changed since the last frame, and whether a user waits to see it.
        let (mut dirty, mut urgent) = (false, false);
        self.ask_background();
        while !self.leaving {
            let now = Instant::now();
            let wait = if urgent { Duration::ZERO } else { self.screen.line.wait(drawn, now) };
            // A frame that the line has not taken is not followed by another: the next one shows the newest.
            let draws = dirty && !self.screen.writer.is_busy();
            let shows_traffic = self.state.traffic > 0 || self.screen.line.traffic(now) > 0.0;
            tokio::select! {
                event = next(&mut input) => {
                    match event {
                        Some(Ok(event)) => {
                            let changed = self.take_event(event, &mut input)?;
                            (dirty, urgent) = (dirty | changed, urgent | changed);
                        }
                        // Standard input is gone: so is the user.
                        Some(Err(_)) | None => self.leaving = true,
                    }
                }
                message = self.messages.recv() => {
                    if let Some(message) = message {
                        self.take(message, &mut input)?;
                        dirty = true;
                    }
                }
                written = self.screen.writer.written.recv() => self.wrote(written),
                _ = terminate.recv() => self.leaving = true,
                _ = hangup.recv() => self.leaving = true,
                _ = resumed.recv() => {
                    self.screen.forget()?;
                    self.ask_background();
                    (dirty, urgent) = (true, true);
                }
                () = tokio::time::sleep(wait), if draws => {}
                () = tokio::time::sleep(TRAFFIC), if shows_traffic => {}
            }
            for _ in 0..MOST_EVENTS {
                let Some(Some(Some(Ok(event)))) = input.as_mut().map(|input| input.next().now_or_never()) else {
                    break;
                };
                let changed = self.take_event(event, &mut input)?;
                (dirty, urgent) = (dirty | changed, urgent | changed);
            }
            while let Ok(message) = self.messages.try_recv() {
                self.take(message, &mut input)?;
                dirty = true;
            }
            if looked.elapsed() >= TRAFFIC {
                looked = Instant::now();
                dirty |= self.look_at_traffic(&mut input)?;
            }
            let may = urgent || self.screen.line.wait(drawn, Instant::now()).is_zero();
            if dirty && may && !self.screen.writer.is_busy() && !self.leaving {
                self.draw()?;
                drawn = Instant::now();
                (dirty, urgent) = (false, false);
            }
        }
        Ok(())
    }

    fn wrote(&mut self, written: Option<Written>) {
        match written {
            Some(written) => self.screen.line.written(written),
            // The terminal takes nothing any more.
            None => self.leaving = true,
        }
    }

    /// Asks the terminal for its background where the theme follows it. Nobody waits for the answer.
    fn ask_background(&mut self) {
        if self.state.theme_name == AUTO && self.state.display.colours() > Colours::None {
            self.replies.asked();
            self.screen.send(replies::ASK.to_vec());
        }
    }

    /// Whether the traffic is another than the one that is shown.
    fn look_at_traffic(&mut self, input: &mut Option<EventStream>) -> anyhow::Result<bool> {
        // To a tenth of a kB: what is shown must not change with every byte that showing it costs.
        let now = (self.screen.line.traffic(Instant::now()) / 100.0).round() as u64 * 100;
        if now == self.state.traffic {
            return Ok(false);
        }
        // The few bytes of showing that nothing is sent any more are not worth showing.
        let now = if now < 100 { 0 } else { now };
        self.take(Message::Traffic(now), input)?;
        Ok(true)
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        let state = &self.state;
        self.screen.draw(|frame| panes::draw(frame, state))?;
        Ok(())
    }

    /// Whether an event changed anything.
    fn take_event(&mut self, event: Event, input: &mut Option<EventStream>) -> anyhow::Result<bool> {
        let passed = self.replies.pass(event);
        let mut changed = false;
        if let Some(is_light) = passed.is_light
            && self.state.is_light != Some(is_light)
        {
            self.take(Message::Background { is_light }, input)?;
            changed = true;
        }
        for event in passed.events {
            let message = match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => Message::Key(key),
                Event::Paste(text) => Message::Paste(text),
                Event::Resize(columns, rows) => Message::Resize(columns, rows),
                Event::Mouse(mouse) if self.state.display.mouse() => Message::Mouse(mouse),
                Event::FocusGained => {
                    // The terminal may have become light or dark meanwhile.
                    self.ask_background();
                    continue;
                }
                _ => continue,
            };
            self.take(message, input)?;
            changed = true;
        }
        Ok(changed)
    }

    fn take(&mut self, message: Message, input: &mut Option<EventStream>) -> anyhow::Result<()> {
        for effect in update::update(&mut self.state, message) {
            match effect {
                Effect::OpenEditor { what, text } => {
                    // The editor reads the keyboard now.
                    *input = None;
                    let answer = self.edit_externally(what, &text)?;
                    *input = Some(EventStream::new());
                    let more = update::update(&mut self.state, answer);
                    more.into_iter().try_for_each(|effect| self.perform(effect))?;
                }
                Effect::Suspend => {
                    *input = None;
                    self.screen.lend(|| {
                        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
                    })?;
                    *input = Some(EventStream::new());
                }
                effect => self.perform(effect)?,
            }
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> anyhow::Result<()> {
        match effect {
            Effect::Quit => self.leaving = true,
            Effect::Redraw => self.screen.forget()?,
            Effect::Suit => {
                self.screen.suit(&self.state.display)?;
                self.ask_background();
            }
            Effect::Copy(text) => self.screen.send(clipboard(&text)),
            Effect::CopyScreen => {
                let text = panes::as_text(&self.state)?;
                self.screen.send(clipboard(&text));
                self.state.say(Notice::info("copied the screen"));
            }
            Effect::Notify(text) => {
                let bytes = notification(self.state.display.notify(), &text);
                if !bytes.is_empty() {
                    self.screen.send(bytes);
                }
            }
            effect => self.lanes.put(effect),
        }
        Ok(())
    }

    fn edit_externally(&mut self, what: External, text: &str) -> anyhow::Result<Message> {
        let suffix = if what == External::Settings { ".yaml" } else { ".txt" };
        let edited = self.screen.lend(|| run_editor(text, suffix))?;
        Ok(match edited {
            Ok(new) => Message::EditorClosed { what, text: (new.trim_end() != text.trim_end()).then_some(new) },
            Err(error) => Message::Say(Notice::error(error.to_string())),
        })
    }
}

/// Puts a text on the clipboard of the terminal that the user sits at, however far away that is (OSC 52).
fn clipboard(text: &str) -> Vec<u8> {
    use base64::Engine;
    format!("\x1b]52;c;{}\x1b\\", base64::engine::general_purpose::STANDARD.encode(text)).into_bytes()
}

/// The bell, and a notification of the desktop.
fn notification(how: Notify, text: &str) -> Vec<u8> {
    match how {
        Notify::Off => vec![],
        Notify::Bell => vec![7],
        // A semicolon would begin a command of another meaning in some terminals.
        Notify::Desktop => format!("\x1b]9;{}\x07\x07", crate::text::line(text).replace(';', ",")).into_bytes(),
    }
}

/// The next event, or never while somebody else reads the keyboard.
async fn next(input: &mut Option<EventStream>) -> Option<std::io::Result<Event>> {
    match input {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}

/// Runs `$VISUAL` or `$EDITOR` on a text and gives what it became.
fn run_editor(text: &str, suffix: &str) -> anyhow::Result<String> {
    use std::io::Write;
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|e| !e.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".into());
    let mut file = tempfile::Builder::new().prefix("afterthought-").suffix(suffix).tempfile()?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    // Through the shell, as git does it, because people write `EDITOR="code --wait"`.
    let status = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("afterthought")
        .arg(file.path())
        .status();
    match status {
        Ok(status) if status.success() => Ok(std::fs::read_to_string(file.path())?),
        Ok(status) => anyhow::bail!("`{editor}` ended with {status}; nothing was changed · set EDITOR to another one"),
        Err(error) => anyhow::bail!("`{editor}` could not be started: {error} · set EDITOR to your editor"),
    }
}
