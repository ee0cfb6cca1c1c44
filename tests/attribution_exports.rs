//! Attributions as files for others: a page, a figure, marked text, and JSON that `tests/reference/open_inseq.py` opens in Inseq
//! itself, where a Python with Inseq is found: `AFTERTHOUGHT_PYTHON`, or `python3` on the path.

mod program;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use program::{fails, run, says};
use serde_json::Value;

/// Trains a toy student that reads rationales.
fn reader(project: &Path, steps: usize) -> String {
    let steps = format!("training.steps={steps}");
    let settings = ["rationale.placement=pre", "evaluation.every=end", "evaluation.examples=10", &steps];
    let arguments: Vec<&str> = ["train"].into_iter().chain(settings.iter().flat_map(|own| ["--set", own])).collect();
    says(project, &arguments).lines().last().unwrap().to_owned()
}

/// A command on one example.
fn attribute<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ["attribute", "last", "toyworld", "--id", "tr-0001"].into_iter().chain(more.iter().copied()).collect()
}

fn tokens(found: &Value) -> &Vec<Value> {
    found["tokens"].as_array().unwrap()
}

/// A Python that can import Inseq.
fn python() -> Option<OsString> {
    let python = std::env::var_os("AFTERTHOUGHT_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(&python);
    command.args(["-c", "import inseq"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success()).then_some(python)
}

#[test]
fn each_form_goes_to_a_file_or_to_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    reader(dir.path(), 40);
    let list = says(dir.path(), &attribute(&["--steps", "4"]));
    assert!(list.starts_with("integrated gradients of log p("), "what is printed when nothing is asked for: {list}");
    for (format, begins) in [
        ("list", "integrated gradients of log p("),
        ("text", "tr-0001 · "),
        ("json", "{\n  \"id\": \"tr-0001\""),
        ("inseq", "{"),
        ("html", "<!doctype html>"),
        ("svg", "<svg "),
    ] {
        let printed = says(dir.path(), &attribute(&["--steps", "4", "--format", format]));
        assert!(printed.starts_with(begins), "{format}: {printed}");
        let file = dir.path().join(format);
        fs::write(&file, "old").unwrap();
        let name = file.display().to_string();
        let told = says(dir.path(), &attribute(&["--steps", "4", "--format", format, "--out", &name]));
        assert_eq!(told.trim_end(), name);
        let written = fs::read_to_string(&file).unwrap();
        if format == "inseq" {
            let [printed, written] = [printed, written].map(|text| serde_json::from_str::<Value>(&text).unwrap());
            assert_eq!(printed, written);
        } else {
            assert_eq!(printed, written, "{format}");
        }
    }
    assert_eq!(says(dir.path(), &attribute(&["--steps", "4", "--format", "list"])), list);
    let json = says(dir.path(), &attribute(&["--steps", "4", "--json"]));
    assert_eq!(says(dir.path(), &attribute(&["--steps", "4", "--format", "json"])), json);
    let name = dir.path().join("page.html").display().to_string();
    let told = says(dir.path(), &attribute(&["--steps", "4", "--format", "html", "--out", &name, "--json"]));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["output"], &told["format"]), (&name.as_str().into(), &"html".into()));
}

#[test]
fn what_does_not_fit_is_said_before_anything_is_computed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    let nowhere = dir.path().join("nowhere/page.html").display().to_string();
    for (more, said) in [
        (vec!["--format", "html", "--width", "60"], "a setting of --format text and svg"),
        (vec!["--format", "inseq", "--by", "word"], "leave --by out"),
        (vec!["--format", "svg", "--out", &folder], "name a file in it"),
        (vec!["--format", "html", "--out", &nowhere], "make it first"),
        (vec!["--format", "text", "--width", "3"], "20..=1000"),
    ] {
        // There is no run yet, and that is not what is complained of.
        let error = fails(dir.path(), &attribute(&more));
        assert!(error.contains(said), "{more:?}: {error}");
        assert_eq!(run(dir.path(), &attribute(&more)).status.code(), Some(2), "{more:?}");
    }
}

#[test]
fn two_students_stand_beside_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (reader(dir.path(), 30), reader(dir.path(), 40));
    let both = ["--steps", "4", "--against", &one];
    let page = says(dir.path(), &attribute(&[&both[..], &["--format", "html", "--by", "word"]].concat()));
    assert_eq!(page.matches("<article>").count(), 2);
    assert!(page.contains(&one) && page.contains(&other));
    let text = says(dir.path(), &attribute(&[&both[..], &["--format", "text", "--width", "60"]].concat()));
    assert!(text.contains(&one) && text.contains(&other) && text.lines().all(|line| line.chars().count() <= 60));
    let inseq = says(dir.path(), &attribute(&[&both[..], &["--format", "inseq"]].concat()));
    let inseq: Value = serde_json::from_str(&inseq).unwrap();
    assert_eq!(inseq["attributes"]["sequence_attributions"].as_array().unwrap().len(), 2);
}

#[test]
fn a_split_is_written_whole_and_inseq_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    reader(dir.path(), 40);
    let in_dir = |name: &str| dir.path().join(name).display().to_string();
    let split = |more: &[&str]| {
        let own = ["attribute", "last", "toyworld", "--split", "validation", "--steps", "4", "--most-steps", "4"];
        says(dir.path(), &own.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    };
    // Stored once, the scores are the same each time.
    assert!(split(&[]).starts_with("360 examples"));
    let printed = split(&["--json"]);
    assert_eq!(printed.lines().count(), 360);
    split(&["--format", "json", "--out", &in_dir("plain.jsonl")]);
    assert_eq!(fs::read_to_string(in_dir("plain.jsonl")).unwrap(), printed);
    assert_eq!(split(&["--format", "html"]).matches("<section>").count(), 360);

    // One example of each target, and a split: what Inseq gets is what `--json` tells.
    let mut pairs = vec![(in_dir("split.json"), in_dir("plain.jsonl"))];
    split(&["--format", "inseq", "--out", &in_dir("split.json")]);
    for (name, more) in [
        ("label", vec!["--over", "prompt"]),
        ("contrast", vec!["--target", "contrast"]),
        ("token", vec!["--target", "token:30", "--over", "prompt"]),
        ("rationale", vec!["--target", "rationale"]),
        ("attention", vec!["--method", "attention"]),
    ] {
        let [inseq, plain] = ["inseq", "plain"].map(|kind| in_dir(&format!("{name}.{kind}.json")));
        for (format, file) in [("inseq", &inseq), ("json", &plain)] {
            let own = [&["--steps", "4"], more.as_slice(), &["--format", format, "--out", file]].concat();
            says(dir.path(), &attribute(&own));
        }
        pairs.push((inseq, plain));
    }
    for (inseq, plain) in &pairs {
        let inseq: Value = serde_json::from_str(&fs::read_to_string(inseq).unwrap()).unwrap();
        assert_eq!(inseq["__instance_type__"][1], "FeatureAttributionOutput");
        let sequences = inseq["attributes"]["sequence_attributions"].as_array().unwrap();
        let plain: Vec<Value> = serde_json::Deserializer::from_str(&fs::read_to_string(plain).unwrap())
            .into_iter::<Value>()
            .map(Result::unwrap)
            .collect();
        assert_eq!(sequences.len(), plain.len());
        for (sequence, plain) in sequences.iter().zip(&plain) {
            let own = &sequence["attributes"];
            let start = own["attr_pos_start"].as_u64().unwrap() as usize;
            let read = own["target"].as_array().unwrap();
            assert_eq!((read.len(), own["attr_pos_end"].as_u64()), (start + 1, Some(start as u64 + 1)));
            for (ours, theirs) in tokens(plain).iter().zip(&read[..start]) {
                assert_eq!(ours["text"], theirs["attributes"]["token"]);
            }
            assert!(tokens(plain)[start..].iter().all(|token| token["score"].is_null()));
            assert_eq!(read[start]["attributes"]["token"], plain["target"]);
        }
    }

    let Some(python) = python() else {
        println!("skipped: no Python with Inseq is here · set AFTERTHOUGHT_PYTHON to one");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/open_inseq.py");
    for (inseq, plain) in pairs {
        let output = Command::new(&python).arg(&script).args([&inseq, &plain]).output().unwrap();
        assert!(output.status.success(), "{inseq}: {}", String::from_utf8_lossy(&output.stderr));
        print!("{inseq}: {}", String::from_utf8_lossy(&output.stdout));
    }
}
