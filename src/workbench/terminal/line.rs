//! How much may be sent, and when: a line over SSH is shared with everything else that the user does on it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::writer::Written;

/// What changes by itself sends no more than this a second over SSH. What a key asked for is sent at once, and what
/// changes by itself then waits.
pub const REMOTE_BYTES: f64 = 4096.0;

/// No debt is larger, so that a screen full of news is not paid for with many seconds of silence.
const MOST_DEBT: f64 = 2.0 * REMOTE_BYTES;

/// Frames of what changes by itself are not closer to each other than this.
const LOCAL_FRAME: Duration = Duration::from_millis(33);
const REMOTE_FRAME: Duration = Duration::from_millis(100);

/// The traffic that is shown is that of so much time.
const SHOWN: Duration = Duration::from_secs(3);

/// A write that took longer than this says how fast the line is; a shorter one went into a buffer.
const SLOW: Duration = Duration::from_millis(20);

/// Where the user sits.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    #[default]
    Local,
    /// Behind SSH.
    #[serde(rename = "ssh")]
    #[value(name = "ssh")]
    Remote,
}

impl Place {
    /// What the environment says.
    pub fn of_environment() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if set("SSH_CONNECTION") || set("SSH_TTY") { Self::Remote } else { Self::Local }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "ssh",
        }
    }
}

/// What was sent, and what may be.
pub struct Line {
    pub place: Place,
    /// Frames a second that the user wants at most.
    pub frame_rate: Option<u16>,
    /// Bytes that may be sent now; below nought after a large frame.
    allowance: f64,
    filled: Instant,
    recent: VecDeque<(Instant, usize)>,
    /// Bytes a second that the line took when it was full.
    pub measured: Option<f64>,
}

impl Line {
    pub fn new(place: Place, frame_rate: Option<u16>, now: Instant) -> Self {
        Self { place, frame_rate, allowance: REMOTE_BYTES, filled: now, recent: VecDeque::new(), measured: None }
    }

    /// A frame is on its way.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        self.fill(now);
        self.allowance = (self.allowance - bytes as f64).max(-MOST_DEBT);
        self.recent.push_back((now, bytes));
    }

    /// The terminal has taken a frame.
    pub fn written(&mut self, written: Written) {
        if written.took >= SLOW {
            let now = written.bytes as f64 / written.took.as_secs_f64();
            self.measured = Some(self.measured.map_or(now, |before| 0.5 * (before + now)));
        }
    }

    fn fill(&mut self, now: Instant) {
        let more = now.saturating_duration_since(self.filled).as_secs_f64() * self.budget();
        self.allowance = (self.allowance + more).min(REMOTE_BYTES);
        self.filled = now;
    }

    /// Bytes a second of what changes by itself.
    fn budget(&self) -> f64 {
        // Half of a line that is slower than that stays free.
        self.measured.map_or(REMOTE_BYTES, |measured| (measured / 2.0).clamp(256.0, REMOTE_BYTES))
    }

    /// How long what changes by itself must wait, after a frame that was drawn then.
    pub fn wait(&self, drawn: Instant, now: Instant) -> Duration {
        let least = match (self.frame_rate, self.place) {
            (Some(rate), _) => Duration::from_secs_f64(1.0 / f64::from(rate.max(1))),
            (None, Place::Remote) => REMOTE_FRAME,
            (None, Place::Local) => LOCAL_FRAME,
        };
        let interval = least.saturating_sub(now.saturating_duration_since(drawn));
        // A line whose slowness was felt is spared as well, wherever it leads.
        if self.place == Place::Local && self.measured.is_none() {
            return interval;
        }
        let more = now.saturating_duration_since(self.filled).as_secs_f64() * self.budget();
        let debt = -(self.allowance + more).min(0.0);
        interval.max(Duration::from_secs_f64(debt / self.budget()))
    }

    /// Bytes a second, over the last seconds.
    pub fn traffic(&mut self, now: Instant) -> f64 {
        while self.recent.front().is_some_and(|(then, _)| now.saturating_duration_since(*then) > SHOWN) {
            self.recent.pop_front();
        }
        self.recent.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>() / SHOWN.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that live frames of a size send in ten seconds.
    fn live(line: &mut Line, bytes: usize) -> usize {
        let begun = Instant::now();
        let (mut now, mut sent) = (begun, 0);
        while now < begun + Duration::from_secs(10) {
            line.sent(bytes, now);
            sent += bytes;
            now += line.wait(now, now).max(Duration::from_millis(1));
        }
        sent
    }

    #[test]
    fn live_frames_keep_to_the_budget_over_ssh() {
        let now = Instant::now();
        for bytes in [300, 600, 5000] {
            let sent = live(&mut Line::new(Place::Remote, None, now), bytes);
            // The first second's worth may go out at once, and the last frame may overdraw.
            assert!(sent <= 11 * 4096 + bytes, "{sent} bytes in ten seconds in frames of {bytes}");
            assert!(sent >= 25_000, "{sent}");
        }
        assert!(live(&mut Line::new(Place::Local, None, now), 600) > 150_000);
        assert!(live(&mut Line::new(Place::Local, Some(2), now), 600) <= 21 * 600);
    }

    #[test]
    fn a_line_that_was_felt_to_be_slow_is_spared() {
        let now = Instant::now();
        let mut line = Line::new(Place::Local, None, now);
        line.written(Written { bytes: 4000, took: Duration::from_micros(300) });
        assert_eq!(line.measured, None);
        line.written(Written { bytes: 4000, took: Duration::from_secs(4) });
        assert_eq!(line.measured, Some(1000.0));
        assert!(live(&mut line, 100) < 10_000);
    }

    #[test]
    fn the_traffic_is_that_of_the_last_seconds() {
        let now = Instant::now();
        let mut line = Line::new(Place::Local, None, now);
        line.sent(6000, now);
        assert_eq!(line.traffic(now + Duration::from_secs(1)), 2000.0);
        assert_eq!(line.traffic(now + Duration::from_secs(4)), 0.0);
    }
}
