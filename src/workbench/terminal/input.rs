//! The keyboard, read by a thread of its own. Crossterm reads a terminal that is gone again and again without an end; the loop
//! must not be where that happens, so that a closed line is noticed before it is read.

use std::io;
use std::time::Duration;

use crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Reads until it is dropped, so that another program can be given the keyboard.
pub struct Input {
    events: UnboundedReceiver<io::Result<Event>>,
    /// Closed when this is dropped; the thread sees that.
    _open: io::PipeWriter,
    thread: std::thread::JoinHandle<()>,
}

impl Input {
    pub fn open() -> io::Result<Self> {
        let (closed, open) = io::pipe()?;
        let (send, events) = unbounded_channel();
        let thread = std::thread::spawn(move || {
            if let Err(error) = read(&closed, &send) {
                let _ = send.send(Err(error));
            }
        });
        Ok(Self { events, _open: open, thread })
    }

    /// The next event; `None` and errors mean that the terminal is gone.
    pub async fn next(&mut self) -> Option<io::Result<Event>> {
        self.events.recv().await
    }

    /// An event that is there already.
    pub fn ready(&mut self) -> Option<Event> {
        self.events.try_recv().ok()?.ok()
    }

    /// Ends the reading, and waits until nothing is read any more.
    pub fn close(self) {
        let Self { _open, thread, .. } = self;
        drop(_open);
        // A thread that hangs on a terminal that is gone is not waited for.
        for _ in 0..200 {
            if thread.is_finished() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn read(closed: &io::PipeReader, send: &UnboundedSender<io::Result<Event>>) -> io::Result<()> {
    let keyboard = io::stdin();
    loop {
        let mut watched = [PollFd::new(&keyboard, PollFlags::IN), PollFd::new(closed, PollFlags::IN)];
        match poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        if !watched[1].revents().is_empty() {
            return Ok(());
        }
        if watched[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal is gone"));
        }
        // With no time at all crossterm does not even look.
        while event::poll(Duration::from_millis(1))? {
            if send.send(Ok(event::read()?)).is_err() {
                return Ok(());
            }
        }
    }
}
