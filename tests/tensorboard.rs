//! Curves for TensorBoard, as a user asks for them. `tests/reference/read_tensorboard.py` opens them in TensorBoard itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn train(project: &Path, settings: &[&str]) -> PathBuf {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C").arg(project).args(["train", "--set", "training.steps=4", "--set", "evaluation.every=end"]);
    command.args(["--set", "evaluation.examples=5", "--set", "evaluation.final=validation"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let id = String::from_utf8(output.stdout).unwrap();
    project.join("runs").join(id.lines().last().unwrap())
}

#[test]
fn curves_are_written_when_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let run = train(dir.path(), &[]);
    assert!(!run.join("tensorboard").exists(), "nobody asked");

    let run = train(dir.path(), &["training.tensorboard=true"]);
    let files: Vec<PathBuf> =
        std::fs::read_dir(run.join("tensorboard")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert!(files[0].file_name().unwrap().to_string_lossy().starts_with("events.out.tfevents."));
    // Each record is 16 bytes longer than its length says.
    let bytes = std::fs::read(&files[0]).unwrap();
    let (mut place, mut records) = (0, vec![]);
    while place < bytes.len() {
        let length = u64::from_le_bytes(bytes[place..place + 8].try_into().unwrap()) as usize;
        records.push(String::from_utf8_lossy(&bytes[place + 12..place + 12 + length]).into_owned());
        place += length + 16;
    }
    assert_eq!(place, bytes.len());
    assert!(records[0].contains("brain.Event:2"));
    assert_eq!(records.iter().filter(|record| record.contains("loss/label")).count(), 4);
    assert_eq!(records.iter().filter(|record| record.contains("validation/accuracy")).count(), 1);
    assert!(std::fs::read_to_string(run.join("run.yaml")).unwrap().contains("tensorboard: true"));
}
