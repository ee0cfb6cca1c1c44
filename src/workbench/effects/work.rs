//! The work of an effect: how far it is, and whether anybody still wants it. Work that lasts is reported as a job, a few
//! times a second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::workbench::jobs::{self, Job, LISTED_AFTER, Task};
use crate::workbench::message::Message;

/// Between two reports of the same job.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// A handle on work. Whoever does it says how far it is and asks whether to go on; whoever wants it ended says so.
#[derive(Clone)]
pub struct Work(Arc<Inner>);

struct Inner {
    began: Instant,
    done: AtomicU64,
    /// 0 where it is not known.
    total: AtomicU64,
    note: Mutex<String>,
    /// The user does not want it any more.
    is_cancelled: AtomicBool,
    /// Something newer was asked for.
    is_superseded: AtomicBool,
}

impl Default for Work {
    fn default() -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            note: Mutex::default(),
            is_cancelled: AtomicBool::new(false),
            is_superseded: AtomicBool::new(false),
        }))
    }
}

impl Work {
    /// How far it is, in rows or steps.
    pub fn reached(&self, done: usize, total: Option<usize>) {
        self.0.done.store(done as u64, Ordering::Relaxed);
        self.0.total.store(total.unwrap_or(0) as u64, Ordering::Relaxed);
    }

    /// What else there is to say of it.
    pub fn say(&self, note: String) {
        *locked(&self.0.note) = note;
    }

    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Relaxed);
    }

    pub fn supersede(&self) {
        self.0.is_superseded.store(true, Ordering::Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::Relaxed)
    }

    /// Whether its answer would be thrown away.
    pub fn is_unwanted(&self) -> bool {
        self.is_cancelled() || self.0.is_superseded.load(Ordering::Relaxed)
    }

    fn job(&self, id: u64, task: Task, name: &str) -> Job {
        let done = self.0.done.load(Ordering::Relaxed);
        let total = Some(self.0.total.load(Ordering::Relaxed)).filter(|total| *total > 0);
        let elapsed = self.0.began.elapsed().as_millis() as u64;
        let (note, is_cancelled) = (locked(&self.0.note).clone(), self.is_cancelled());
        let left = jobs::left(done, total, elapsed);
        Job { id, task, name: name.to_owned(), done, total, note, elapsed, left, is_cancelled }
    }
}

/// Work that is under way, and what was last told of it.
struct Entry {
    work: Work,
    task: Task,
    name: String,
    told: Option<Job>,
}

/// Everything under way in the lanes of one workbench.
pub struct Desk {
    entries: Mutex<(u64, BTreeMap<u64, Entry>)>,
    arrived: Condvar,
    send: UnboundedSender<Message>,
}

impl Desk {
    /// Opens a desk, and a thread that reports from it.
    pub fn open(send: UnboundedSender<Message>) -> Arc<Self> {
        let desk = Arc::new(Self { entries: Mutex::default(), arrived: Condvar::new(), send });
        let reporting = desk.clone();
        // The thread lives as long as the program; it waits when nothing is under way.
        std::thread::spawn(move || {
            while !reporting.send.is_closed() {
                let entries = locked(&reporting.entries);
                let waited = reporting.arrived.wait_while(entries, |(_, entries)| entries.is_empty());
                drop(waited);
                std::thread::sleep(REPORT_EVERY);
                reporting.report();
            }
        });
        desk
    }

    /// Takes work in. Gives the number under which it is known.
    pub fn begin(&self, work: &Work, task: Task, name: String) -> u64 {
        let mut entries = locked(&self.entries);
        entries.0 += 1;
        let id = entries.0;
        entries.1.insert(id, Entry { work: work.clone(), task, name, told: None });
        self.arrived.notify_one();
        id
    }

    /// Work has ended, one way or another.
    pub fn end(&self, id: u64) {
        let mut entries = locked(&self.entries);
        if let Some(Entry { work, told: Some(_), .. }) = entries.1.remove(&id) {
            // A closed channel means that nobody looks any more.
            let _ = self.send.send(Message::JobEnded { id, is_cancelled: work.is_cancelled() });
        }
    }

    /// Asks work to end.
    pub fn cancel(&self, id: u64) {
        if let Some(entry) = locked(&self.entries).1.get(&id) {
            entry.work.cancel();
        }
    }

    /// Tells what is new of everything that lasts.
    fn report(&self) {
        for (id, entry) in &mut locked(&self.entries).1 {
            let job = entry.work.job(*id, entry.task, &entry.name);
            if job.elapsed < LISTED_AFTER {
                continue;
            }
            // Of what can't say how far it is only the seconds move.
            let is_new = entry.told.as_ref().is_none_or(|told| {
                (told.done, &told.note, told.is_cancelled) != (job.done, &job.note, job.is_cancelled)
                    || told.elapsed / 1000 != job.elapsed / 1000
            });
            if is_new {
                let _ = self.send.send(Message::Job(Box::new(job.clone())));
                entry.told = Some(job);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}
