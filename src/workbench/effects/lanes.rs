//! Threads for effects. Questions of one kind follow each other on a lane of their own, and only the newest is worth
//! answering: who holds down `j` must not wait for a preview of every row on the way. What changes something on the
//! disk is done in order and never left out.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::Services;
use crate::workbench::browse::{Kind, Request};
use crate::workbench::message::{Effect, Message};

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
            _ => Self::Changes,
        }
    }

    /// Whether a newer effect makes a waiting one needless.
    fn newest_only(self) -> bool {
        self != Self::Changes
    }
}

/// What waits on a lane.
#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<Effect>>,
    arrived: Condvar,
}

/// The lanes of one workbench.
pub struct Lanes {
    services: Arc<Services>,
    send: UnboundedSender<Message>,
    queues: HashMap<Lane, Arc<Queue>>,
}

impl Lanes {
    pub fn new(services: Services, send: UnboundedSender<Message>) -> Self {
        Self { services: Arc::new(services), send, queues: HashMap::new() }
    }

    /// Puts an effect on its lane; the first one opens it.
    pub fn put(&mut self, effect: Effect) {
        self.services.supersede(&effect);
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
        }
        waiting.push_back(effect);
        queue.arrived.notify_one();
    }

    fn open(&self, queue: Arc<Queue>) {
        let (services, send) = (self.services.clone(), self.send.clone());
        // The thread lives as long as the program; it waits when there is nothing to do.
        std::thread::spawn(move || {
            while !send.is_closed() {
                let waiting = queue.waiting.lock().unwrap_or_else(|poison| poison.into_inner());
                let waiting = queue.arrived.wait_while(waiting, |waiting| waiting.is_empty());
                let effect = waiting.unwrap_or_else(|poison| poison.into_inner()).pop_front();
                if let Some(Effect::Browse(request)) = &effect
                    && request.kind() == Kind::Watch
                {
                    watch(&services, &send, &queue, request);
                } else if let Some(effect) = effect {
                    // A closed channel means that nobody looks any more.
                    services.perform(effect, &mut |message| {
                        let _ = send.send(message);
                    });
                }
            }
        });
    }
}

/// Looks at a file again and again, until another one is to be looked at.
fn watch(services: &Services, send: &UnboundedSender<Message>, queue: &Queue, request: &Request) {
    while !send.is_closed() {
        let waiting = queue.waiting.lock().unwrap_or_else(|poison| poison.into_inner());
        let waited = queue.arrived.wait_timeout_while(waiting, LOOK_EVERY, |waiting| waiting.is_empty());
        if !waited.unwrap_or_else(|poison| poison.into_inner()).0.is_empty() {
            return;
        }
        services.browse(request.clone(), &mut |message| {
            let _ = send.send(message);
        });
    }
}
