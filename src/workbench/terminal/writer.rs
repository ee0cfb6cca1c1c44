//! Writes frames from a thread of its own: a line that takes nothing more holds up that thread and never the loop.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A frame that the terminal has taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Written {
    pub bytes: usize,
    pub took: Duration,
}

/// The thread that writes.
pub struct Writer {
    frames: mpsc::Sender<Vec<u8>>,
    /// Frames that are not written yet.
    waiting: Arc<AtomicUsize>,
    pub written: UnboundedReceiver<Written>,
}

impl Writer {
    /// Writes to `out`, in order.
    pub fn new(out: impl Write + Send + 'static) -> Self {
        let (frames, arrived) = mpsc::channel();
        let (say, written) = unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let still = waiting.clone();
        std::thread::spawn(move || write(out, &arrived, &still, &say));
        Self { frames, waiting, written }
    }

    pub fn send(&self, bytes: Vec<u8>) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if self.frames.send(bytes).is_err() {
            // The terminal is gone; so will be the loop.
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether something is on its way that the terminal has not taken.
    pub fn is_busy(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Waits until everything is written; false when the terminal does not take it in time.
    pub fn flush(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        while self.is_busy() {
            if begun.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

fn write(
    mut out: impl Write,
    arrived: &mpsc::Receiver<Vec<u8>>,
    waiting: &AtomicUsize,
    say: &UnboundedSender<Written>,
) {
    while let Ok(bytes) = arrived.recv() {
        let begun = Instant::now();
        let done = out.write_all(&bytes).and_then(|()| out.flush());
        waiting.fetch_sub(1, Ordering::SeqCst);
        // Nobody listens any more when the loop has ended.
        let _ = say.send(Written { bytes: bytes.len(), took: begun.elapsed() });
        if done.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A line that takes nothing until it is opened.
    #[derive(Clone, Default)]
    struct Line(Arc<Mutex<Vec<u8>>>);

    impl Write for Line {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_takes_nothing_holds_nobody_up() {
        let line = Line::default();
        let mut writer = Writer::new(line.clone());
        let held = line.0.lock().unwrap();
        writer.send(b"one".to_vec());
        writer.send(b"two".to_vec());
        assert!(writer.is_busy() && !writer.flush(Duration::from_millis(20)));
        drop(held);
        assert!(writer.flush(Duration::from_secs(60)));
        assert_eq!(*line.0.lock().unwrap(), b"onetwo");
        assert_eq!(writer.written.blocking_recv().unwrap().bytes, 3);
    }
}
