//! A doubtful number is looked into by computing it a second way.

use std::path::Path;
use std::process::{Command, Stdio};

use afterthought::journal::History;

fn says(project: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
    let output = command.arg("-C").arg(project).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Trains a short run and gives its id and the losses of its steps.
fn train(project: &Path, arguments: &[&str]) -> (String, Vec<f64>) {
    let short = ["train", "--set", "training.steps=4", "--set", "evaluation.every=end"];
    let few = ["--set", "evaluation.examples=5", "--set", "evaluation.final=validation"];
    let id = says(project, &[&short[..], &few, arguments].concat()).lines().last().unwrap().to_owned();
    let history = History::read(&project.join("runs").join(&id).join("journal.jsonl")).unwrap();
    (id, history.steps.iter().map(|step| step.loss).collect())
}

#[test]
fn a_run_computed_another_way_has_the_same_losses_answers_and_attributions() {
    let dir = tempfile::tempdir().unwrap();
    let (id, fused) = train(dir.path(), &[]);
    let again = ["--set", "training.recompute=true"];
    for arguments in [&["--ops", "composed"][..], &again, &[&["--ops", "composed"][..], &again].concat()] {
        let (_, other) = train(dir.path(), arguments);
        assert_eq!(fused.len(), other.len());
        for (one, other) in fused.iter().zip(&other) {
            assert!((one / other - 1.0).abs() < 1e-4, "{arguments:?}: {one} and {other}");
        }
    }
    let number = |arguments: &[&str], key: &str| {
        let all = [arguments, &["--json"]].concat();
        let said: serde_json::Value = serde_json::from_str(&says(dir.path(), &all)).unwrap();
        said[key].as_f64().unwrap_or_else(|| panic!("{said}"))
    };
    let asked = ["evaluate", &id, "--limit", "20"];
    let right = number(&asked, "accuracy");
    assert_eq!(right, number(&[&asked[..], &["--ops", "composed"]].concat(), "accuracy"));
    let attributed = ["attribute", &id, "toyworld", "--id", "tr-0003", "--steps", "8"];
    let log_p = number(&attributed, "log_p");
    assert!((log_p - number(&[&attributed[..], &["--ops", "composed"]].concat(), "log_p")).abs() < 1e-4);
}
