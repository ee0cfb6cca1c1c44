//! Pause, resume and stop: a run's control socket and what the training thread sees of it.
//!
//! One JSON object a line: `{"command": "pause"}` is answered by `{"ok": true, "state": "paused"}`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

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

#[derive(Serialize, Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<RunState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
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
}

impl Default for Control {
    fn default() -> Self {
        Self { wanted: Mutex::new(Wanted::Run), changed: Condvar::new() }
    }
}

impl Control {
    /// What is wanted now.
    pub fn wanted(&self) -> Wanted {
        self.wanted.lock().unwrap_or_else(|poison| poison.into_inner()).clone()
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

    fn answer(&self, command: Command) -> Reply {
        match command {
            Command::Pause => self.want(Wanted::Pause),
            Command::Resume => self.want(Wanted::Run),
            Command::Stop => self.want(Wanted::Stop("stopped by the user".into())),
            Command::Status => {}
        }
        let state = match self.wanted() {
            Wanted::Run => RunState::Running,
            Wanted::Pause => RunState::Paused,
            Wanted::Stop(_) => RunState::Stopped,
        };
        Reply { ok: true, state: Some(state), error: None }
    }
}

/// Answers requests until the worker ends.
pub async fn serve(listener: tokio::net::UnixListener, control: Arc<Control>) {
    while let Ok((stream, _)) = listener.accept().await {
        let control = control.clone();
        tokio::spawn(async move {
            let (read, mut write) = stream.into_split();
            let mut lines = tokio::io::BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let reply = match serde_json::from_str::<Request>(&line) {
                    Ok(request) => control.answer(request.command),
                    Err(error) => Reply { ok: false, state: None, error: Some(error.to_string()) },
                };
                let text = serde_json::to_string(&reply).unwrap_or_default() + "\n";
                if write.write_all(text.as_bytes()).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// Binds a run's socket; the caller holds the run's lock, so an old one is nobody's. Must be called inside a runtime.
pub fn listen(run: &RunDirectory) -> std::io::Result<tokio::net::UnixListener> {
    let address = Address::of(run.path())?;
    let _ = std::fs::remove_file(&address.path);
    tokio::net::UnixListener::bind(&address.path)
}

/// Sends one command to a run's worker and gives the state it is in after it.
pub fn send(run: &RunDirectory, command: Command) -> Result<RunState, RunError> {
    if !run.is_locked() {
        return Err(RunError::NotRunning { id: run.id().to_owned() });
    }
    let failed = |error| FileError { action: "reach the worker through", path: run.path().join(SOCKET), source: error };
    let ask = || -> std::io::Result<Reply> {
        let address = Address::of(run.path())?;
        let mut stream = UnixStream::connect(&address.path)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        let text = serde_json::to_string(&Request { command })? + "\n";
        stream.write_all(text.as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    let reply = ask().map_err(failed)?;
    reply.state.ok_or_else(|| RunError::Refused { id: run.id().to_owned(), why: reply.error.unwrap_or_default() })
}

const SOCKET: &str = "control.sock";

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
        assert_eq!(send(&run, Command::Pause).unwrap(), RunState::Paused);
        assert_eq!(control.wanted(), Wanted::Pause);
        assert_eq!(send(&run, Command::Resume).unwrap(), RunState::Running);
        assert_eq!(send(&run, Command::Stop).unwrap(), RunState::Stopped);
        assert_eq!(send(&run, Command::Resume).unwrap(), RunState::Stopped, "a stop is final");
        assert!(control.is_stopping());
        control.wait_while_paused();
    }
}
