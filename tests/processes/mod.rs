//! Waiting for other processes, and sending them signals.

use std::process::{Child, Command};
use std::time::Duration;

/// Waits until `done` says so; the test fails after a time that no machine needs.
pub fn wait(what: &str, done: impl Fn() -> bool) {
    for _ in 0..2400 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited two minutes for: {what}");
}

/// Sends a signal, as in `-TERM`.
pub fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}
