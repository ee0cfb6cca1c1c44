//! The program as scripts call it, in a project folder.

use std::path::Path;
use std::process::{Command, Output, Stdio};

pub fn run(project: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C").arg(project).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Standard output of a command that must succeed.
#[track_caller]
pub fn says(project: &Path, arguments: &[&str]) -> String {
    let output = run(project, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a command that must fail.
#[track_caller]
pub fn fails(project: &Path, arguments: &[&str]) -> String {
    let output = run(project, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}
