//! Threads for effects. Questions of one kind follow each other on a lane of their own, and only the newest is worth
//! answering: who holds down `j` must not wait for a preview of every row on the way. What changes something on the
//! disk is done in order and never left out.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::work::{Desk, Work};
use super::{Send, Services, caught, unanswered};
use crate::workbench::browse::{Kind, Request};
use crate::workbench::jobs::Task;
use crate::workbench::message::{Effect, Message};
use crate::workbench::state::Notice;

/// How often the file of the split that is shown is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1000);

/// Which effects wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lane {
    Rows,
    Count,
    Find,
    Preview,
    Attribution,
    /// Of the run beside it.
    Beside,
    WhatIf,
    Lens,
    LensTraining,
    Spelling,
    Predictions,
    Board,
    Questions,
    Batch,
    Loss,
    Studies,
    Session,
    /// A large data set takes long to check; edits and runs must not wait for that.
    Check,
    Log,
    Browsing(Kind),
    /// Everything else, in order.
    Changes,
}

impl Lane {
    fn of(effect: &Effect) -> Self {
        match effect {
            Effect::LoadRows { .. } => Self::Rows,
            Effect::Count { .. } => Self::Count,
            Effect::Find(_) | Effect::StopSearch { .. } => Self::Find,
            Effect::Browse(request) if request.kind() != Kind::SaveMarks => Self::Browsing(request.kind()),
            Effect::Preview { .. } => Self::Preview,
            Effect::Attribute(request) if request.is_beside => Self::Beside,
            Effect::Attribute(_) => Self::Attribution,
            Effect::WhatIf(_) => Self::WhatIf,
            Effect::ReadLens(_) => Self::Lens,
            Effect::TrainLens { .. } => Self::LensTraining,
            Effect::Spell(_) => Self::Spelling,
            Effect::LoadPredictions { .. } => Self::Predictions,
            Effect::MakeBoard { .. } => Self::Board,
            Effect::Disagree(_) => Self::Questions,
            Effect::ReadBatch(_) => Self::Batch,
            Effect::MeasureLoss(_) => Self::Loss,
            Effect::ListStudies => Self::Studies,
            Effect::SaveSession(_) => Self::Session,
            Effect::CheckData(_) => Self::Check,
            Effect::WriteLog(_) | Effect::ReadLog { .. } => Self::Log,
            _ => Self::Changes,
        }
    }

    /// Whether a newer effect makes a waiting one needless.
    fn newest_only(self) -> bool {
        !matches!(self, Self::Changes | Self::Log | Self::LensTraining)
    }
}

/// What waits on a lane.
#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<Effect>>,
    arrived: Condvar,
    /// What is being done.
    now: Mutex<Option<Work>>,
}

/// Does an effect, saying to its work how far it is.
type Perform = dyn Fn(Effect, &Work, Send) + Sync + std::marker::Send;

/// The lanes of one workbench.
pub struct Lanes {
    perform: Arc<Perform>,
    send: UnboundedSender<Message>,
    queues: HashMap<Lane, Arc<Queue>>,
    desk: Arc<Desk>,
}

impl Lanes {
    pub fn new(services: Services, send: UnboundedSender<Message>) -> Self {
        Self::doing(Arc::new(move |effect, work, send| services.perform(effect, work, send)), send)
    }

    fn doing(perform: Arc<Perform>, send: UnboundedSender<Message>) -> Self {
        Self { perform, queues: HashMap::new(), desk: Desk::open(send.clone()), send }
    }

    /// Puts an effect on its lane; the first one opens it.
    pub fn put(&mut self, effect: Effect) {
        if let Effect::CancelJob(id) = effect {
            return self.desk.cancel(id);
        }
        let lane = Lane::of(&effect);
        let queue = match self.queues.get(&lane) {
            Some(queue) => queue.clone(),
            None => {
                let queue = Arc::new(Queue::default());
                self.queues.insert(lane, queue.clone());
                self.open(queue.clone());
                queue
            }
        };
        let mut waiting = queue.waiting.lock().unwrap_or_else(|poison| poison.into_inner());
        if lane.newest_only() {
            waiting.clear();
            // Where it can be broken off it is: who waits for the newer answer must not wait for this one first.
            if let Some(work) = &*queue.now.lock().unwrap_or_else(|poison| poison.into_inner()) {
                work.supersede();
            }
        }
        waiting.push_back(effect);
        queue.arrived.notify_one();
    }

    fn open(&self, queue: Arc<Queue>) {
        let (perform, send, desk) = (self.perform.clone(), self.send.clone(), self.desk.clone());
        // The thread lives as long as the program; it waits when there is nothing to do.
        std::thread::spawn(move || {
            while !send.is_closed() {
                let waiting = queue.waiting.lock().unwrap_or_else(|poison| poison.into_inner());
                let waiting = queue.arrived.wait_while(waiting, |waiting| waiting.is_empty());
                let mut waiting = waiting.unwrap_or_else(|poison| poison.into_inner());
                let effect = waiting.pop_front();
                let work = Work::default();
                // Before anything newer can arrive, so that it finds what it supersedes.
                *queue.now.lock().unwrap_or_else(|poison| poison.into_inner()) = Some(work.clone());
                drop(waiting);
                if let Some(Effect::Browse(request)) = &effect
                    && request.kind() == Kind::Watch
                {
                    watch(&*perform, &send, &queue, request);
                } else if let Some(effect) = effect {
                    do_one(&*perform, effect, &work, &desk, &send);
                }
                *queue.now.lock().unwrap_or_else(|poison| poison.into_inner()) = None;
            }
        });
    }
}

/// Does one effect. If it breaks down, that is said where its answer is waited for, and among the errors.
fn do_one(perform: &Perform, effect: Effect, work: &Work, desk: &Desk, send: &UnboundedSender<Message>) {
    let job = Task::of(&effect).map(|(task, name)| (desk.begin(work, task, name.clone()), name));
    let unanswered = unanswered::of(&effect);
    // A closed channel means that nobody looks any more.
    let mut say = |message| {
        let _ = send.send(message);
    };
    let broken = caught::catch(|| perform(effect, work, &mut say));
    if let Some(why) = broken {
        let name = job.as_ref().map_or("the workbench", |(_, name)| name);
        let text = format!("{name} broke down: {why} · this is a mistake in afterthought; all else goes on");
        say(Message::Say(Notice::error(text.clone())));
        unanswered.into_iter().for_each(|answer| say(answer(text.clone())));
    }
    job.into_iter().for_each(|(id, _)| desk.end(id));
}

/// Looks at a file again and again, until another one is to be looked at.
fn watch(perform: &Perform, send: &UnboundedSender<Message>, queue: &Queue, request: &Request) {
    while !send.is_closed() {
        let waiting = queue.waiting.lock().unwrap_or_else(|poison| poison.into_inner());
        let waited = queue.arrived.wait_timeout_while(waiting, LOOK_EVERY, |waiting| waiting.is_empty());
        if !waited.unwrap_or_else(|poison| poison.into_inner()).0.is_empty() {
            return;
        }
        let effect = Effect::Browse(Box::new(request.clone()));
        let broken = caught::catch(|| {
            perform(effect, &Work::default(), &mut |message| {
                let _ = send.send(message);
            });
        });
        if let Some(why) = broken {
            let _ = send.send(Message::Say(Notice::error(format!("the file is not followed any more: {why}"))));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    /// The next message, which comes before long.
    fn next(messages: &mut UnboundedReceiver<Message>) -> Message {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let message = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), messages.recv()).await });
        message.expect("no message came").unwrap()
    }

    /// The next thing that is said, whatever is told of jobs meanwhile.
    fn said(messages: &mut UnboundedReceiver<Message>) -> Notice {
        loop {
            if let Message::Say(notice) = next(messages) {
                return notice;
            }
        }
    }

    fn check(name: &str) -> Effect {
        Effect::CheckData(name.into())
    }

    #[test]
    fn an_effect_that_breaks_down_is_an_error_and_the_lane_goes_on() {
        let (send, mut messages) = unbounded_channel();
        let perform: Arc<Perform> = Arc::new(|effect, _, send| match effect {
            Effect::OpenDataset(name) if name == "bad" => panic!("no such row"),
            Effect::OpenDataset(name) => send(Message::Say(Notice::info(name))),
            _ => {}
        });
        let mut lanes = Lanes::doing(perform, send);
        lanes.put(Effect::OpenDataset("bad".into()));
        lanes.put(Effect::OpenDataset("good".into()));
        let notice = said(&mut messages);
        assert!(notice.is_error && notice.text.starts_with("opening bad broke down: no such row"), "{notice:?}");
        assert_eq!(said(&mut messages), Notice::info("good"));
    }

    #[test]
    fn what_lasts_is_a_job_until_it_is_cancelled() {
        let (send, mut messages) = unbounded_channel();
        let perform: Arc<Perform> = Arc::new(|_, work, _| {
            while !work.is_unwanted() {
                work.reached(3, Some(9));
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let mut lanes = Lanes::doing(perform, send);
        lanes.put(check("mine"));
        let Message::Job(job) = next(&mut messages) else { panic!("no job") };
        assert_eq!((job.name.as_str(), job.done, job.total), ("checking mine", 3, Some(9)));
        lanes.put(Effect::CancelJob(job.id));
        loop {
            match next(&mut messages) {
                Message::Job(job) => assert!(!job.name.is_empty()),
                Message::JobEnded { id, is_cancelled } => return assert_eq!((id, is_cancelled), (job.id, true)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_newer_question_ends_the_work_on_the_older_one() {
        let (send, mut messages) = unbounded_channel();
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = begun.clone();
        let perform: Arc<Perform> = Arc::new(move |effect, work, send| {
            let Effect::CheckData(name) = effect else { return };
            counted.fetch_add(1, Ordering::SeqCst);
            while name == "old" && !work.is_unwanted() {
                std::thread::sleep(Duration::from_millis(1));
            }
            send(Message::Say(Notice::info(format!("{name} {}", work.is_unwanted()))));
        });
        let mut lanes = Lanes::doing(perform, send);
        lanes.put(check("old"));
        while begun.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        lanes.put(check("new"));
        for expected in ["old true", "new false"] {
            assert_eq!(said(&mut messages).text, expected);
        }
    }
}
