//! Watches the project's runs: those that were there, those that begin, and every new line of their journals. It reads
//! what is on the disk and nothing else, so it makes no difference who started a run, or when.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::caught;
use crate::journal::{Entry, Event, History, RunState, Tail};
use crate::runs::RunDirectory;
use crate::workbench::message::Message;
use crate::workbench::state::Notice;

/// How often the journals of active runs are looked at, and how often the folder of runs.
const JOURNALS: Duration = Duration::from_millis(120);
const FOLDER: Duration = Duration::from_millis(1000);

/// A run that is known.
struct Known {
    directory: RunDirectory,
    tail: Tail,
    /// The part of the history that the state depends on.
    history: History,
    state: RunState,
}

/// Looks at the runs of a project.
pub struct Watch {
    project: PathBuf,
    known: HashMap<String, Known>,
    looked: Option<Instant>,
}

impl Watch {
    pub fn new(project: &Path) -> Self {
        Self { project: project.to_owned(), known: HashMap::new(), looked: None }
    }

    /// What is new since the last look.
    pub fn look(&mut self, send: &mut dyn FnMut(Message)) {
        let everything = self.looked.is_none_or(|looked| looked.elapsed() >= FOLDER);
        if everything {
            self.looked = Some(Instant::now());
            self.look_at_folder(send);
        }
        for (id, known) in &mut self.known {
            // A run at rest stirs only when somebody resumes it, which shows in its journal as well.
            if !everything && !known.state.is_active() {
                continue;
            }
            let mut entries = known.tail.poll().unwrap_or_default();
            for entry in &entries {
                if matches!(entry.event, Event::State { .. }) {
                    known.history.apply(entry.clone());
                }
                known.history.updated = Some(entry.time.clone());
            }
            let (state, reason) = if entries.is_empty() && !known.state.is_active() {
                (known.state, None)
            } else {
                known.directory.standing(&known.history)
            };
            // What the journal can't say, it is made to say.
            if let Some(reason) = reason.filter(|_| state != known.state) {
                let time = known.history.updated.clone().unwrap_or_default();
                entries.push(Entry { seq: 0, time, event: Event::State { state, reason: Some(reason) } });
            }
            if !entries.is_empty() || state != known.state {
                known.state = state;
                send(Message::RunMoved { id: id.clone(), entries, state });
            }
        }
    }

    fn look_at_folder(&mut self, send: &mut dyn FnMut(Message)) {
        let there = RunDirectory::list(&self.project);
        self.known.retain(|id, _| {
            let stays = there.iter().any(|run| run.id() == id);
            if !stays {
                send(Message::RunGone(id.clone()));
            }
            stays
        });
        for directory in there {
            if self.known.contains_key(directory.id()) {
                continue;
            }
            let mut tail = Tail::new(directory.journal());
            let (Ok(spec), Ok(entries)) = (directory.spec(), tail.poll()) else { continue };
            let mut history = History::default();
            entries.into_iter().for_each(|entry| history.apply(entry));
            let (state, reason) = directory.standing(&history);
            history.reason = reason.or(history.reason);
            let id = directory.id().to_owned();
            let has_checkpoint = directory.newest_checkpoint().is_some();
            let brief = History { state: history.state, updated: history.updated.clone(), ..History::default() };
            let run = crate::runs::Run { id: id.clone(), spec, history, state, has_checkpoint };
            send(Message::RunFound(Box::new(run)));
            self.known.insert(id, Known { directory, tail, history: brief, state });
        }
    }
}

/// Watches until the workbench is gone.
pub fn watch(project: &Path, send: UnboundedSender<Message>) {
    let mut watch = Watch::new(project);
    std::thread::spawn(move || {
        while !send.is_closed() {
            let broken = caught::catch(|| {
                watch.look(&mut |message| {
                    let _ = send.send(message);
                });
            });
            if let Some(why) = broken {
                let text = format!("the runs are not watched any more: {why} · start the workbench again");
                let _ = send.send(Message::Say(Notice::error(text)));
                return;
            }
            std::thread::sleep(JOURNALS);
        }
    });
}
