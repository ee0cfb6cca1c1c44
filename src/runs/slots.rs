//! Runs of one project take turns on the machine's cores, without a scheduler process that could die.
//!
//! Every core is a file under `runs/.slots/`. A worker stands in line with a ticket, and when it is first in line it
//! locks as many cores as it has threads. The system drops the locks of a process that dies, so a killed worker never
//! blocks the others.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::RunError;
use super::control::Control;
use crate::files::{self, FileError};

/// How often a waiting worker looks whether it is its turn.
const LOOK: Duration = Duration::from_millis(200);

/// The right to run, until it is dropped.
pub struct Slot {
    _locks: Vec<File>,
}

/// Waits for `wanted` of the files `KIND-0 … KIND-(count-1)`. Workers are served in the order of their tickets. `None`
/// when the run is told to stop while it waits.
pub fn take(
    project: &Path,
    kind: &str,
    count: usize,
    wanted: usize,
    ticket: &str,
    control: &Control,
) -> Result<Option<Slot>, RunError> {
    let folder = project.join("runs/.slots");
    let queue = folder.join(format!("{kind}-queue"));
    files::create_dir(&queue)?;
    let wanted = wanted.clamp(1, count.max(1));
    let own = queue.join(ticket);
    let place = open(&own)?;
    place.lock().map_err(FileError::on("lock", &own))?;
    let result = loop {
        if control.is_stopping() {
            break None;
        }
        if is_first(&queue, ticket)? {
            let locks = free(&folder, kind, count, wanted)?;
            if locks.len() == wanted {
                break Some(Slot { _locks: locks });
            }
        }
        control.wait(LOOK);
    };
    let _ = fs::remove_file(&own);
    Ok(result)
}

/// Whether no living worker stands before this ticket. Tickets of dead ones are thrown away.
fn is_first(queue: &Path, ticket: &str) -> Result<bool, RunError> {
    let entries = fs::read_dir(queue).map_err(FileError::on("read", queue))?;
    for other in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if other.as_str() >= ticket {
            continue;
        }
        let path = queue.join(&other);
        let Ok(file) = File::open(&path) else { continue };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => return Ok(false),
            _ => {
                let _ = fs::remove_file(&path);
            }
        }
    }
    Ok(true)
}

/// Locks up to `wanted` free files; fewer when there are not enough, which the caller gives back by dropping them.
fn free(folder: &Path, kind: &str, count: usize, wanted: usize) -> Result<Vec<File>, RunError> {
    let mut locks = Vec::new();
    for number in 0..count {
        if locks.len() == wanted {
            break;
        }
        let path: PathBuf = folder.join(format!("{kind}-{number}"));
        let file = open(&path)?;
        if file.try_lock().is_ok() {
            locks.push(file);
        }
    }
    Ok(locks)
}

fn open(path: &Path) -> Result<File, FileError> {
    File::options().create(true).truncate(false).write(true).open(path).map_err(FileError::on("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{RecvTimeoutError, channel};

    #[test]
    fn workers_take_turns_in_the_order_of_their_tickets() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().to_owned();
        let control = Control::default();
        let first = take(&project, "cpu", 2, 1, "a", &control).unwrap().unwrap();
        let second = take(&project, "cpu", 2, 1, "b", &control).unwrap().unwrap();
        let (send, receive) = channel();
        let wait = |ticket: &'static str, wanted: usize| {
            let (project, send) = (project.clone(), send.clone());
            std::thread::spawn(move || {
                let slot = take(&project, "cpu", 2, wanted, ticket, &Control::default()).unwrap().unwrap();
                send.send(ticket).unwrap();
                std::thread::sleep(Duration::from_millis(100));
                drop(slot);
            })
        };
        // The one that needs both cores came first; the other must not overtake it for ever.
        let both = wait("c", 2);
        std::thread::sleep(Duration::from_millis(50));
        let one = wait("d", 1);
        assert_eq!(receive.recv_timeout(Duration::from_millis(500)), Err(RecvTimeoutError::Timeout));
        drop(first);
        assert_eq!(receive.recv_timeout(Duration::from_millis(500)), Err(RecvTimeoutError::Timeout));
        drop(second);
        assert_eq!(receive.recv_timeout(Duration::from_secs(10)), Ok("c"));
        assert_eq!(receive.recv_timeout(Duration::from_secs(10)), Ok("d"));
        both.join().unwrap();
        one.join().unwrap();
    }

    #[test]
    fn a_ticket_of_a_dead_worker_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("runs/.slots/cpu-queue")).unwrap();
        fs::write(dir.path().join("runs/.slots/cpu-queue/a"), "").unwrap();
        let slot = take(dir.path(), "cpu", 1, 1, "b", &Control::default()).unwrap();
        assert!(slot.is_some());
        assert!(!dir.path().join("runs/.slots/cpu-queue/a").exists());
    }

    #[test]
    fn a_stopped_worker_leaves_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let _slot = take(dir.path(), "cpu", 1, 1, "a", &Control::default()).unwrap();
        let control = Control::default();
        control.want(super::super::control::Wanted::Stop("enough".into()));
        assert!(take(dir.path(), "cpu", 1, 1, "b", &control).unwrap().is_none());
    }
}
