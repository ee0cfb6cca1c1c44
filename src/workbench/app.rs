//! The loop: input, effects and journals arrive on one channel; all that has arrived is taken in, then the screen is
//! drawn once, if anything changed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossterm::event::{Event, EventStream, KeyEventKind};
use futures_util::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::effects::Services;
use super::effects::lanes::Lanes;
use super::effects::watch::watch;
use super::message::{Effect, External, Message};
use super::state::State;
use super::terminal::{Screen, install_panic_hook};
use super::theme::{self, Theme};
use super::{panes, update};

/// Frames are not closer to each other than this, unless a key was pressed.
const FRAME: Duration = Duration::from_millis(33);

/// How the workbench is opened.
pub struct Options {
    pub project: PathBuf,
    pub theme: Option<String>,
    /// The data set that is shown first.
    pub dataset: Option<String>,
}

/// Opens the workbench and comes back when the user leaves it.
pub fn run(options: Options) -> anyhow::Result<()> {
    let colours = theme::colours();
    let name = options.theme.clone().unwrap_or_else(|| Theme::default_name(colours).to_owned());
    let theme = Theme::load(&options.project, &name, colours)?;
    let is_project = options.project.join("runs").is_dir() || options.project.join("datasets").is_dir();
    let shown = std::fs::canonicalize(&options.project).unwrap_or_else(|_| options.project.clone());
    let shown = shown.file_name().map_or_else(|| "afterthought".into(), |name| name.to_string_lossy().into_owned());
    let mut state = State::new(shown, is_project, theme, name);
    if let Some(dataset) = options.dataset {
        state.draft.dataset = dataset;
    }
    install_panic_hook();
    // Half the cores for what the panes ask for; the runs need theirs.
    crate::runs::worker::limit_threads((state.cores / 2).max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(App::open(state, &options.project, colours)?.go())
}

struct App {
    state: State,
    screen: Screen,
    project: PathBuf,
    lanes: Lanes,
    messages: UnboundedReceiver<Message>,
    /// Kept, so that the channel stays open when no lane is at work.
    _send: UnboundedSender<Message>,
    leaving: bool,
}

impl App {
    fn open(mut state: State, project: &Path, colours: theme::Colours) -> anyhow::Result<Self> {
        let (send, messages) = unbounded_channel();
        let screen = Screen::enter()?;
        let size = screen.terminal.size()?;
        (state.columns, state.rows) = (size.width, size.height);
        let lanes = Lanes::new(Services::new(project, colours), send.clone());
        Ok(Self { state, screen, project: project.to_owned(), lanes, messages, _send: send, leaving: false })
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
        let mut dirty = false;
        while !self.leaving {
            let mut urgent = false;
            let timeout = if dirty { FRAME.saturating_sub(drawn.elapsed()) } else { Duration::from_secs(3600) };
            tokio::select! {
                event = next(&mut input) => {
                    urgent = true;
                    match event {
                        Some(Ok(event)) => dirty |= self.take_event(event, &mut input)?,
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
                _ = terminate.recv() => self.leaving = true,
                _ = hangup.recv() => self.leaving = true,
                _ = resumed.recv() => {
                    self.screen.forget()?;
                    dirty = true;
                }
                () = tokio::time::sleep(timeout), if dirty => {}
            }
            while let Ok(message) = self.messages.try_recv() {
                self.take(message, &mut input)?;
                dirty = true;
            }
            if dirty && (urgent || drawn.elapsed() >= FRAME) && !self.leaving {
                self.draw()?;
                drawn = Instant::now();
                dirty = false;
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        let state = &self.state;
        self.screen.draw(|frame| panes::draw(frame, state))?;
        Ok(())
    }

    /// Whether an event changed anything.
    fn take_event(&mut self, event: Event, input: &mut Option<EventStream>) -> anyhow::Result<bool> {
        let message = match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => Message::Key(key),
            Event::Paste(text) => Message::Paste(text),
            Event::Resize(columns, rows) => Message::Resize(columns, rows),
            _ => return Ok(false),
        };
        self.take(message, input)?;
        Ok(true)
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
            effect => self.lanes.put(effect),
        }
        Ok(())
    }

    fn edit_externally(&mut self, what: External, text: &str) -> anyhow::Result<Message> {
        let suffix = if matches!(what, External::Rationale(_)) { ".txt" } else { ".yaml" };
        let edited = self.screen.lend(|| run_editor(text, suffix))?;
        Ok(match edited {
            Ok(new) => Message::EditorClosed { what, text: (new.trim_end() != text.trim_end()).then_some(new) },
            Err(error) => Message::Say(super::state::Notice::error(error.to_string())),
        })
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
