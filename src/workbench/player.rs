//! Shows a recording in the terminal: at its own pace or another, stopped, one message at a time, from anywhere.

use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Clear;
use tokio::signal::unix::{SignalKind, signal};

use super::display::{Display, Forced};
use super::replay::Replay;
use super::terminal::input::Input;
use super::terminal::{Screen, install_panic_hook};
use super::widgets::flow::cut;

/// Milliseconds that a jump covers.
const JUMP: f64 = 5000.0;
/// Milliseconds for which the bar stays after a key, where it hides a line of the screen.
const BAR: f64 = 2500.0;
/// Frames are not closer to each other than this.
const FRAME: Duration = Duration::from_millis(33);
/// Speeds that `+` and `-` go through.
const SPEEDS: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0];

/// A replay with a clock.
pub struct Player {
    pub replay: Replay,
    /// Milliseconds of the recording, long waits cut short.
    clock: f64,
    speed: f64,
    is_stopped: bool,
    /// For how many more milliseconds the bar is shown.
    bar: f64,
}

impl Player {
    pub fn new(replay: Replay, speed: f64) -> Self {
        Self { replay, clock: 0.0, speed, is_stopped: false, bar: BAR }
    }

    /// So many milliseconds went by. Whether anything is to be drawn.
    pub fn advance(&mut self, elapsed: f64) -> bool {
        let (place, had_bar) = (self.replay.place(), self.bar > 0.0);
        self.bar -= elapsed;
        if !self.is_stopped {
            self.clock = (self.clock + elapsed * self.speed).min(self.replay.length() as f64);
            while self.replay.next_due().is_some_and(|due| due as f64 <= self.clock) && self.replay.step() {}
            self.is_stopped = self.is_over();
        }
        self.replay.place() != place || had_bar != (self.bar > 0.0)
    }

    /// Takes a key. False when it means to leave.
    pub fn key(&mut self, key: KeyEvent) -> bool {
        self.bar = BAR;
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Char(' ') if self.is_over() => {
                self.jump_to(0.0);
                self.is_stopped = false;
            }
            KeyCode::Char(' ') => self.is_stopped = !self.is_stopped,
            KeyCode::Char('.') => {
                self.is_stopped = true;
                self.replay.step();
                self.clock = self.replay.due(self.replay.place()) as f64;
            }
            KeyCode::Char(',') => {
                self.is_stopped = true;
                self.replay.go_to(self.replay.place().saturating_sub(1));
                self.clock = self.replay.due(self.replay.place()) as f64;
            }
            KeyCode::Right => self.jump_to(self.clock + JUMP),
            KeyCode::Left => self.jump_to(self.clock - JUMP),
            KeyCode::Home => self.jump_to(0.0),
            KeyCode::End => self.jump_to(self.replay.length() as f64),
            KeyCode::Char('+' | '=') => self.speed = SPEEDS.into_iter().find(|s| *s > self.speed).unwrap_or(self.speed),
            KeyCode::Char('-') => {
                self.speed = SPEEDS.into_iter().rev().find(|s| *s < self.speed).unwrap_or(self.speed);
            }
            _ => {}
        }
        true
    }

    fn is_over(&self) -> bool {
        self.replay.next_due().is_none()
    }

    fn jump_to(&mut self, time: f64) {
        self.clock = time.clamp(0.0, self.replay.length() as f64);
        self.replay.go_to_time(self.clock as u64);
    }

    /// How long nothing happens from now on; `None` for ever.
    fn wait(&self) -> Option<Duration> {
        let next = self.replay.next_due().filter(|_| !self.is_stopped);
        let message = next.map(|due| (due as f64 - self.clock).max(0.0) / self.speed);
        let bar = Some(self.bar).filter(|bar| *bar > 0.0);
        let wait = [message, bar].into_iter().flatten().reduce(f64::min)?;
        Some(Duration::from_secs_f64(wait / 1000.0).max(FRAME))
    }

    /// Draws the screen as it was, in the size that it had, and the bar.
    pub fn draw(&self, frame: &mut Frame) {
        let area = frame.area();
        let screen = self.replay.screen();
        copy(&screen, frame.buffer_mut(), area);
        let below = screen.area.height < area.height;
        if area.height == 0 || !(below || self.is_stopped || self.bar > 0.0) {
            return;
        }
        let y = if below { screen.area.height } else { area.height - 1 };
        let place = Rect { y, height: 1, ..area };
        frame.render_widget(Clear, place);
        frame.render_widget(self.bar(usize::from(area.width), &screen, area), place);
    }

    fn bar(&self, width: usize, screen: &Buffer, area: Rect) -> Line<'static> {
        let theme = &self.replay.state.theme;
        let sign = match (self.is_over(), self.is_stopped) {
            (true, _) => "■",
            (false, true) => "‖",
            (false, false) => "▶",
        };
        let too_small = screen.area.width > area.width || screen.area.height > area.height;
        let size = match too_small {
            true => format!("  recorded at {} x {}", screen.area.width, screen.area.height),
            false => String::new(),
        };
        let left = format!(
            " {sign} {} / {}  ×{}  message {} of {}{size} ",
            clock(self.clock as u64),
            clock(self.replay.length()),
            self.speed,
            self.replay.place(),
            self.replay.count()
        );
        let keys = " space stops or goes on  . next  , before  ←→ 5 s  +- speed  q leave ";
        let left = cut(&left, width);
        let room = width.saturating_sub(left.chars().count());
        Line::from(vec![
            Span::styled(left, theme.accent.style()),
            Span::styled(format!("{:<room$}", cut(keys, room)), theme.chrome.style()),
        ])
    }
}

/// `mm:ss` of milliseconds.
fn clock(time: u64) -> String {
    format!("{:02}:{:02}", time / 60_000, time / 1000 % 60)
}

/// Copies what fits, without half of a wide character at the edge.
fn copy(screen: &Buffer, into: &mut Buffer, area: Rect) {
    for y in 0..screen.area.height.min(area.height) {
        for x in 0..screen.area.width.min(area.width) {
            let cell = &screen[(x, y)];
            let reaches_over = x + 1 == area.width && unicode_width::UnicodeWidthStr::width(cell.symbol()) > 1;
            if !reaches_over {
                into[(area.x + x, area.y + y)] = cell.clone();
            }
        }
    }
}

/// Plays until the user leaves.
pub fn play(player: Player) -> anyhow::Result<()> {
    install_panic_hook();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(go(player))
}

async fn go(mut player: Player) -> anyhow::Result<()> {
    let mut screen = Screen::enter(&Display::of_environment(Forced::default()))?;
    let mut input = Input::open()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut resumed = signal(SignalKind::from_raw(libc::SIGCONT))?;
    let mut last = Instant::now();
    screen.draw(|frame| player.draw(frame))?;
    loop {
        let wait = player.wait();
        let mut dirty = false;
        tokio::select! {
            event = input.next() => match event {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                    if !player.key(key) {
                        return Ok(());
                    }
                    dirty = true;
                }
                Some(Ok(_)) => {}
                // Standard input is gone: so is the user.
                Some(Err(_)) | None => return Ok(()),
            },
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = resized.recv() => dirty = true,
            _ = resumed.recv() => {
                screen.forget()?;
                dirty = true;
            }
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
        let elapsed = last.elapsed();
        last = Instant::now();
        dirty |= player.advance(elapsed.as_secs_f64() * 1000.0);
        if dirty {
            screen.draw(|frame| player.draw(frame))?;
        }
    }
}
