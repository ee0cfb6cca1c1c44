//! The loop: input, effects and journals arrive on one channel; all that has arrived is taken in, then the screen is
//! drawn once, if anything changed.

use std::path::PathBuf;
use std::task::Poll;
use std::time::{Duration, Instant};

use crossterm::event::{Event, EventStream, KeyEventKind};
use futures_util::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::demo::Script;
use super::display::{Display, Forced, Notify};
use super::effects::lanes::Lanes;
use super::effects::watch::watch;
use super::effects::{self, Services};
use super::message::{Effect, External, Message, Mouse};
use super::recording::{Header, Recorder};
use super::session::Session;
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

/// How often a demo is told the time.
const TICK: Duration = Duration::from_millis(200);

/// How the workbench is opened.
pub struct Options {
    pub project: PathBuf,
    pub theme: Option<String>,
    /// The data set that is shown first.
    pub dataset: Option<String>,
    /// How the screen is to be shown, where the user wants it otherwise than it is found.
    pub display: Forced,
    /// The file that the session is recorded in.
    pub record: Option<PathBuf>,
    /// Whether it does not go on where the last one was.
    pub is_fresh: bool,
    /// The demo that it begins with.
    pub demo: Option<Script>,
}

/// What changed is kept so long after it changed.
const KEPT_AFTER: Duration = Duration::from_secs(1);

/// Knows when there is something to keep.
#[derive(Default)]
struct Saver {
    /// When something changed that was not kept since.
    since: Option<Instant>,
    kept: Option<Session>,
}

impl Saver {
    fn changed(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    fn is_waiting(&self) -> bool {
        self.since.is_some()
    }

    fn wait(&self) -> Duration {
        self.since.map_or(KEPT_AFTER, |since| KEPT_AFTER.saturating_sub(since.elapsed()))
    }

    fn is_due(&self) -> bool {
        self.is_waiting() && self.wait().is_zero()
    }

    /// What is to be kept, if it is another than what was.
    fn take(&mut self, state: &State) -> Option<Session> {
        self.since = None;
        // Before the last session has come back there is nothing that may take its place.
        let now = state.is_begun.then(|| Session::of(state))?;
        if self.kept.as_ref() == Some(&now) {
            return None;
        }
        self.kept = Some(now.clone());
        Some(now)
    }
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
    let header = Header {
        afterthought: env!("CARGO_PKG_VERSION").into(),
        time: crate::journal::now(),
        project: shown,
        is_project,
        dataset: options.dataset.clone(),
        // Known when the terminal is taken over.
        columns: 0,
        rows: 0,
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        theme_name: name,
        theme,
        display,
        is_light,
        // A demo begins at its beginning.
        is_fresh: options.is_fresh || options.demo.is_some(),
    };
    install_panic_hook();
    // Half the cores for what the panes ask for; the runs need theirs.
    crate::runs::worker::limit_threads((header.cores / 2).max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(App::open(header, &options)?.go())
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
    saver: Saver,
    leaving: bool,
    recorder: Option<Recorder>,
    demo: Option<Script>,
    is_demo: bool,
}

impl App {
    fn open(mut header: Header, options: &Options) -> anyhow::Result<Self> {
        let (send, messages) = unbounded_channel();
        let project = options.project.clone();
        (header.columns, header.rows) = crossterm::terminal::size()?;
        let recorder = options.record.as_deref().map(|path| Recorder::create(path, &header)).transpose()?;
        let screen = Screen::enter(&header.display)?;
        let lanes = Lanes::new(Services::new(&project), send.clone());
        let state = header.state();
        Ok(Self {
            state,
            screen,
            project,
            lanes,
            messages,
            _send: send,
            replies: Replies::default(),
            saver: Saver::default(),
            leaving: false,
            recorder,
            is_demo: options.demo.is_some(),
            demo: options.demo.clone(),
        })
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
        let mut suspended = signal(SignalKind::from_raw(libc::SIGTSTP))?;
        let mut resumed = signal(SignalKind::from_raw(libc::SIGCONT))?;
        if let Some(script) = self.demo.take() {
            self.take(Message::DemoBegins(Box::new(script)), &mut input)?;
            self.draw()?;
        }
        let mut drawn = Instant::now();
        let (mut looked, mut ticked) = (Instant::now(), Instant::now());
        // Whether something changed since the last frame, and whether a user waits to see it.
        let (mut dirty, mut urgent) = (false, false);
        self.ask_background();
        while !self.leaving {
            let now = Instant::now();
            let wait = if urgent { Duration::ZERO } else { self.screen.line.wait(drawn, now) };
            // A frame that the line has not taken is not followed by another: the next one shows the newest.
            let draws = dirty && !self.screen.writer.is_busy();
            let shows_traffic = self.state.traffic > 0 || self.screen.line.traffic(now) > 0.0;
            // Only a demo under way needs the time; else nothing happens while nothing happens.
            let is_ticking = self.state.demo.as_ref().is_some_and(|demo| !demo.is_stopped);
            if !is_ticking {
                ticked = now;
            }
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
                _ = suspended.recv() => self.suspend(&mut input)?,
                _ = resumed.recv() => {
                    self.screen.retake()?;
                    self.ask_background();
                    (dirty, urgent) = (true, true);
                }
                () = tokio::time::sleep(wait), if draws => {}
                () = tokio::time::sleep(TRAFFIC), if shows_traffic => {}
                () = tokio::time::sleep(self.saver.wait()), if self.saver.is_waiting() => {}
                () = tokio::time::sleep(TICK.saturating_sub(ticked.elapsed())), if is_ticking => {
                    let elapsed = ticked.elapsed();
                    ticked = Instant::now();
                    self.take(Message::Tick(elapsed.as_millis() as u64), &mut input)?;
                    dirty = true;
                }
            }
            for _ in 0..MOST_EVENTS {
                let Some(Ok(event)) = ready(&mut input).await else { break };
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
            if dirty {
                self.saver.changed();
            }
            if self.saver.is_due() {
                self.save(false);
            }
            let may = urgent || self.screen.line.wait(drawn, Instant::now()).is_zero();
            if dirty && may && !self.screen.writer.is_busy() && !self.leaving {
                self.draw()?;
                drawn = Instant::now();
                (dirty, urgent) = (false, false);
            }
        }
        self.save(true);
        Ok(())
    }

    /// Keeps what is shown for the next workbench: in a project, and not of a demo.
    fn save(&mut self, at_once: bool) {
        if !self.state.is_project || self.is_demo {
            return;
        }
        let Some(session) = self.saver.take(&self.state) else { return };
        if at_once {
            // Whoever leaves is not told any more.
            let _ = effects::session::save(&self.project, &session);
        } else {
            self.lanes.put(Effect::SaveSession(Box::new(session)));
        }
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
                Event::Mouse(mouse) if self.state.display.mouse() => match Mouse::of(mouse) {
                    Some(mouse) => Message::Mouse(mouse),
                    None => continue,
                },
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

    /// Takes a message in, and into the recording.
    fn update(&mut self, message: Message) -> Vec<Effect> {
        let recorded = self.recorder.as_mut().map_or(Ok(()), |recorder| recorder.add(&message));
        let effects = update::update(&mut self.state, message);
        if let Err(error) = recorded {
            // The work goes on.
            self.recorder = None;
            update::update(&mut self.state, Message::Say(Notice::error(error)));
        }
        effects
    }

    fn take(&mut self, message: Message, input: &mut Option<EventStream>) -> anyhow::Result<()> {
        for effect in self.update(message) {
            match effect {
                Effect::OpenEditor { what, text } => {
                    // The editor reads the keyboard now.
                    *input = None;
                    let answer = self.edit_externally(what, &text)?;
                    *input = Some(EventStream::new());
                    let more = self.update(answer);
                    more.into_iter().try_for_each(|effect| self.perform(effect))?;
                }
                Effect::Suspend => self.suspend(input)?,
                effect => self.perform(effect)?,
            }
        }
        Ok(())
    }

    /// Gives the terminal back and stops, until the shell lets it go on.
    fn suspend(&mut self, input: &mut Option<EventStream>) -> anyhow::Result<()> {
        *input = None;
        self.screen.lend(|| {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        })?;
        *input = Some(EventStream::new());
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
        let suffix = if matches!(what, External::Rationale(_)) { ".txt" } else { ".yaml" };
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

/// An event that is there already. It is asked for in the name of this task: the stream wakes whoever asked it first, and
/// a question that nobody waits for would let the next key lie until something else happens.
async fn ready(input: &mut Option<EventStream>) -> Option<std::io::Result<Event>> {
    let stream = input.as_mut()?;
    std::future::poll_fn(|context| match stream.poll_next_unpin(context) {
        Poll::Ready(event) => Poll::Ready(event),
        Poll::Pending => Poll::Ready(None),
    })
    .await
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
