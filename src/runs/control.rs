//! Pause, resume and stop: a run's control socket and what the training thread sees of it.
//!
//! One JSON object a line: `{"command": "pause"}` is answered by `{"ok": true, "state": "paused"}`.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream as AsyncStream;

use super::RunError;
use super::directory::RunDirectory;
use crate::files::FileError;
use crate::journal::RunState;

/// What a watcher can ask of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Pause,
    Resume,
    /// Save a checkpoint and end.
    Stop,
    Status,
}

#[derive(Serialize, Deserialize)]
struct Request {
    command: Command,
}

#[derive(Default, Serialize, Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<RunState>,
    /// Why it is in that state, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The last step that was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<usize>,
    /// Seconds since the training thread was last heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quiet: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What a worker says of itself, whether its journal can be written or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub state: RunState,
    pub reason: Option<String>,
    pub step: usize,
    /// Seconds since the training thread was last heard of.
    pub quiet: f64,
}

/// What the training thread should do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Run,
    Pause,
    /// With the reason, for the journal.
    Stop(String),
}

/// The worker's side: set by the socket and by signals, read between steps.
pub struct Control {
    wanted: Mutex<Wanted>,
    changed: Condvar,
    pulse: Mutex<Pulse>,
}

/// What the training thread shows of itself.
struct Pulse {
    beat: Instant,
    step: usize,
    /// Why it waits, though nobody asked it to.
    trouble: Option<String>,
}

impl Default for Control {
    fn default() -> Self {
        let pulse = Pulse { beat: Instant::now(), step: 0, trouble: None };
        Self { wanted: Mutex::new(Wanted::Run), changed: Condvar::new(), pulse: Mutex::new(pulse) }
    }
}

impl Control {
    /// What is wanted now.
    pub fn wanted(&self) -> Wanted {
        self.wanted.lock().unwrap_or_else(|poison| poison.into_inner()).clone()
    }

    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// Shows that the training thread lives, and the step it has taken if it has.
    pub fn beat(&self, step: Option<usize>) {
        let mut pulse = self.pulse();
        pulse.beat = Instant::now();
        pulse.step = step.unwrap_or(pulse.step);
    }

    /// Says why the training thread waits, or that it does no longer.
    pub fn set_trouble(&self, trouble: Option<String>) {
        self.pulse().trouble = trouble;
    }

    /// Whether the run should end.
    pub fn is_stopping(&self) -> bool {
        matches!(self.wanted(), Wanted::Stop(_))
    }

    /// Asks for something. A stop is final.
    pub fn want(&self, next: Wanted) {
        let mut wanted = self.wanted.lock().unwrap_or_else(|poison| poison.into_inner());
        if !matches!(*wanted, Wanted::Stop(_)) {
            *wanted = next;
        }
        self.changed.notify_all();
    }

    /// Waits until something other than a pause is wanted.
    pub fn wait_while_paused(&self) {
        let wanted = self.wanted.lock().unwrap_or_else(|poison| poison.into_inner());
        let paused = |wanted: &mut Wanted| *wanted == Wanted::Pause;
        drop(self.changed.wait_while(wanted, paused).unwrap_or_else(|poison| poison.into_inner()));
    }

    /// Waits at most this long, less if something is asked for.
    pub fn wait(&self, at_most: Duration) {
        let wanted = self.wanted.lock().unwrap_or_else(|poison| poison.into_inner());
        if *wanted == Wanted::Run {
            let _ = self.changed.wait_timeout(wanted, at_most);
        }
    }

    /// Waits at most this long, less if the run is told to stop.
    pub fn wait_for_stop(&self, at_most: Duration) {
        let wanted = self.wanted.lock().unwrap_or_else(|poison| poison.into_inner());
        let goes_on = |wanted: &mut Wanted| !matches!(wanted, Wanted::Stop(_));
        drop(self.changed.wait_timeout_while(wanted, at_most, goes_on));
    }

    fn answer(&self, command: Command) -> Reply {
        match command {
            Command::Pause => self.want(Wanted::Pause),
            Command::Resume => self.want(Wanted::Run),
            Command::Stop => self.want(Wanted::Stop("stopped by the user".into())),
            Command::Status => {}
        }
        let pulse = self.pulse();
        let state = match self.wanted() {
            Wanted::Run if pulse.trouble.is_some() => RunState::Paused,
            Wanted::Run => RunState::Running,
            Wanted::Pause => RunState::Paused,
            Wanted::Stop(_) => RunState::Stopped,
        };
        Reply {
            ok: true,
            state: Some(state),
            reason: pulse.trouble.clone(),
            step: Some(pulse.step),
            quiet: Some(pulse.beat.elapsed().as_secs_f64()),
            error: None,
        }
    }
}

/// The longest line that is read.
const LONGEST: u64 = 4096;
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(30);

/// Answers requests until the worker ends.
pub async fn serve(listener: tokio::net::UnixListener, control: Arc<Control>) {
    loop {
        match listener.accept().await {
            // Somebody else's process; the socket's permissions should have kept it away.
            Ok((stream, _)) if !is_owner(&stream) => {}
            Ok((stream, _)) => drop(tokio::spawn(converse(stream, control.clone()))),
            // Out of file descriptors, say. The run must go on being reachable when that is over.
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Whether the other side is the user that the worker runs as, or root.
fn is_owner(stream: &AsyncStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// Answers one connection, line by line. What is no whole request changes nothing.
async fn converse(stream: AsyncStream, control: Arc<Control>) {
    let (read, mut write) = stream.into_split();
    let mut read = tokio::io::BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut read).take(LONGEST);
        let next = tokio::time::timeout(IDLE, limited.read_until(b'\n', &mut line)).await;
        // Half a line, of one that went away or never ends, is no request.
        let is_whole = matches!(next, Ok(Ok(1..))) && line.ends_with(b"\n");
        if !is_whole {
            break;
        }
        let reply = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => control.answer(request.command),
            Err(error) => Reply { error: Some(error.to_string()), ..Reply::default() },
        };
        let text = serde_json::to_string(&reply).unwrap_or_default() + "\n";
        if write.write_all(text.as_bytes()).await.is_err() {
            break;
        }
    }
}

/// Binds a run's socket, which its owner alone can open; the caller holds the run's lock, so an old one is nobody's. Must
/// be called inside a runtime.
pub fn listen(run: &RunDirectory) -> std::io::Result<tokio::net::UnixListener> {
    let address = Address::of(run.path())?;
    // It has its permissions before it has its name.
    let hidden = address.path.with_file_name(HIDDEN);
    let _ = std::fs::remove_file(&hidden);
    let listener = tokio::net::UnixListener::bind(&hidden)?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&hidden, &address.path)?;
    Ok(listener)
}

/// Asks a run's worker how it is. `None` when there is none, or when it does not answer at once.
pub fn status(run: &RunDirectory) -> Option<Status> {
    let reply = ask(run, Command::Status, Duration::from_millis(500)).ok()?;
    let (reason, step) = (reply.reason, reply.step.unwrap_or(0));
    Some(Status { state: reply.state?, reason, step, quiet: reply.quiet.unwrap_or(0.0) })
}

/// Sends one command to a run's worker and gives the state it is in after it.
pub fn send(run: &RunDirectory, command: Command) -> Result<RunState, RunError> {
    if !run.is_locked() {
        return Err(RunError::NotRunning { id: run.id().to_owned() });
    }
    let failed = |error| FileError { action: "reach the worker through", path: run.path().join(SOCKET), source: error };
    let reply = ask(run, command, Duration::from_secs(5)).map_err(failed)?;
    reply.state.ok_or_else(|| RunError::Refused { id: run.id().to_owned(), why: reply.error.unwrap_or_default() })
}

fn ask(run: &RunDirectory, command: Command, patience: Duration) -> std::io::Result<Reply> {
    let address = Address::of(run.path())?;
    let mut stream = UnixStream::connect(&address.path)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let text = serde_json::to_string(&Request { command })? + "\n";
    stream.write_all(text.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(1 << 20)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

const SOCKET: &str = "control.sock";
/// No longer than the socket's own name.
const HIDDEN: &str = ".control.new";

/// A path to the socket that is short enough: the system allows about a hundred bytes, and projects lie deep.
struct Address {
    path: PathBuf,
    /// Keeps the folder open while its number stands in the path.
    _folder: Option<std::fs::File>,
}

impl Address {
    fn of(run: &Path) -> std::io::Result<Self> {
        let path = run.join(SOCKET);
        if path.as_os_str().len() < 100 {
            return Ok(Self { path, _folder: None });
        }
        if !cfg!(target_os = "linux") {
            let message = "the project's path is too long for a socket; move it somewhere shorter";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, message));
        }
        use std::os::fd::AsRawFd;
        let folder = std::fs::File::open(run)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
        Ok(Self { path, _folder: Some(folder) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::RunSpec;

    #[test]
    fn a_worker_hears_pause_resume_and_stop_however_deep_the_project_lies() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a-long-folder-name-of-a-careful-person").join("x".repeat(90));
        std::fs::create_dir_all(&deep).unwrap();
        let run = RunDirectory::create(&deep, RunSpec::preset("toy"), "post").unwrap();
        let error = send(&run, Command::Pause).unwrap_err().to_string();
        assert!(error.contains("not running"), "{error}");

        let _lock = run.lock().unwrap();
        let control = Arc::new(Control::default());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(async { listen(&run) }).unwrap();
        runtime.spawn(serve(listener, control.clone()));
        assert_eq!(send(&run, Command::Status).unwrap(), RunState::Running);
        control.set_trouble(Some("the disk is full".into()));
        control.beat(Some(7));
        let told = status(&run).unwrap();
        assert_eq!((told.state, told.reason.as_deref(), told.step), (RunState::Paused, Some("the disk is full"), 7));
        control.set_trouble(None);
        assert_eq!(send(&run, Command::Pause).unwrap(), RunState::Paused);
        assert_eq!(control.wanted(), Wanted::Pause);
        assert_eq!(send(&run, Command::Resume).unwrap(), RunState::Running);
        assert_eq!(send(&run, Command::Stop).unwrap(), RunState::Stopped);
        assert_eq!(send(&run, Command::Resume).unwrap(), RunState::Stopped, "a stop is final");
        assert!(control.is_stopping());
        control.wait_while_paused();
    }

    #[test]
    fn bad_bytes_on_the_socket_do_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(dir.path(), RunSpec::preset("toy"), "post").unwrap();
        let _lock = run.lock().unwrap();
        let control = Arc::new(Control::default());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(async { listen(&run) }).unwrap();
        runtime.spawn(serve(listener, control.clone()));
        let socket = run.path().join(SOCKET);
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "nobody but its owner can open it");

        let mut random = crate::seeds::Stream::new(0, &["bytes"]);
        let noise: Vec<u8> = (0..100_000).map(|_| random.below(256) as u8).collect();
        let huge = [b"{\"command\": \"stop\"".to_vec(), vec![b' '; 1 << 20], b"}\n".to_vec()].concat();
        let bad: [&[u8]; 6] = [
            &noise,
            &huge,
            b"{\"command\": \"sto",
            b"{\"command\": \"stop\"}",
            b"{\"command\": \"explode\"}\n",
            b"\n\n\xff\xfe\n[]\nnull\n",
        ];
        for bytes in bad {
            let mut stream = UnixStream::connect(&socket).unwrap();
            // It may hang up in the middle.
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(!String::from_utf8_lossy(&answer).contains("\"ok\":true"));
            assert_eq!(control.wanted(), Wanted::Run);
        }
        assert_eq!(send(&run, Command::Status).unwrap(), RunState::Running, "and it is still there");
    }
}
