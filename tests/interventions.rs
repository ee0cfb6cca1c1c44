//! Interventions as a user makes them: a student is trained, something else is put before its answers, and what was kept
//! says how much they rest on the rationale.

mod processes;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use processes::{signal, wait};
use serde_json::Value;

fn command(project: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterthought"));
    command.arg("-C").arg(project).args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[track_caller]
fn says(project: &Path, arguments: &[&str]) -> String {
    let output = command(project, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fails(code: i32, project: &Path, arguments: &[&str]) -> String {
    let output = command(project, arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
    said(&output)
}

/// Trains a toy student and gives the run's id.
fn train(project: &Path, settings: &[&str]) -> String {
    let mut arguments = vec!["train", "--set", "evaluation.every=end"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    says(project, &arguments).lines().last().unwrap().to_owned()
}

/// Settings of a student that is made to read: the question's subject is hidden, and only the label is learnt.
const READER: [&str; 6] = [
    "rationale.placement=pre",
    "rationale.hide=subject",
    "evaluation.rationale=teacher",
    "training.loss.rationale=0",
    "training.steps=500",
    "evaluation.examples=10",
];

fn kept(project: &Path, run: &str) -> PathBuf {
    project.join("runs").join(run).join("interventions.jsonl")
}

fn records(project: &Path, run: &str) -> Vec<Value> {
    let text = fs::read_to_string(kept(project, run)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The numbers of a command's result, by title.
#[track_caller]
fn outcomes(json: &str) -> BTreeMap<String, Value> {
    let json: Value = serde_json::from_str(json).unwrap();
    let all = json["interventions"].as_array().unwrap().iter();
    all.map(|outcome| (outcome["title"].as_str().unwrap().to_owned(), outcome.clone())).collect()
}

fn count(replies: &[Value], holds: impl Fn(&Value) -> bool) -> Value {
    replies.iter().filter(|reply| holds(reply)).count().into()
}

#[test]
fn a_student_that_reads_its_rationale_follows_one_for_a_wrong_choice() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let run = train(project, &READER);
    let files = || -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(project.join("runs").join(&run)).unwrap().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
    };
    let before = files();
    let shown = says(project, &["intervene", "last", "--split", "validation", "--json"]);
    let found = outcomes(&shown);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["none", "own", "planted-right", "planted-wrong", "shuffled tokens", "teacher", "usual", "wrong-choice"]
    );
    // It follows a wrong choice's rationale more often than it errs with the right one's.
    let (usual, wrong) = (&found["usual"], &found["wrong-choice"]);
    let errs = 1.0 - usual["accuracy"].as_f64().unwrap();
    let low = wrong["follows_interval"][0].as_f64().unwrap();
    assert!(errs < 0.3 && low > errs + 0.2, "{errs} {wrong}");
    assert!(low > wrong["usual_followed"].as_f64().unwrap() / wrong["argued"].as_f64().unwrap() + 0.2);
    assert_eq!(wrong["against"]["verdict"]["is"], "worse");
    // The teacher's is what it is asked with as usual; without one it knows less.
    assert_eq!((&found["teacher"]["as_usual"], &found["teacher"]["correct"]), (&true.into(), &usual["correct"]));
    assert_eq!(found["teacher"]["followed"], usual["correct"]);
    assert!(found["none"]["correct"].as_u64() < usual["correct"].as_u64(), "{}", found["none"]);
    assert!(found["none"]["caveat"].is_string() && found["own"]["caveat"].is_string());
    assert!(found["teacher"]["caveat"].is_null());

    // Every number is that of the lines that were kept.
    let kept_now = records(project, &run);
    assert_eq!(kept_now.len(), 8);
    for record in &kept_now {
        let replies = record["replies"].as_array().unwrap();
        let name = record["intervention"].as_str().unwrap();
        let outcome = found.values().find(|outcome| outcome["intervention"] == name).unwrap();
        let rows = replies.len() as u64 + record["left_out"].as_u64().unwrap();
        assert_eq!((record["split"].as_str(), rows), (Some("validation"), 360), "{name}");
        let argued = |reply: &Value| reply["argues_for"].is_string();
        assert_eq!(outcome["correct"], count(replies, |reply| reply["predicted"] == reply["answer"]), "{name}");
        assert_eq!(outcome["unparsable"], count(replies, |reply| reply["predicted"].is_null()), "{name}");
        assert_eq!(outcome["changed"], count(replies, |reply| reply["predicted"] != reply["usual"]), "{name}");
        assert_eq!(outcome["argued"], count(replies, argued), "{name}");
        let follows = |reply: &Value| argued(reply) && reply["predicted"] == reply["argues_for"];
        assert_eq!(outcome["followed"], count(replies, follows), "{name}");
        assert_eq!(outcome["led"], count(replies, |reply| reply["led"] == true), "{name}");
        let (mut wins, mut losses) = (0, 0);
        for reply in replies {
            let (now, then) = (reply["predicted"] == reply["answer"], reply["usual"] == reply["answer"]);
            wins += u64::from(now && !then);
            losses += u64::from(!now && then);
        }
        if let Some(against) = outcome.get("against") {
            assert_eq!((&against["wins"], &against["losses"]), (&wins.into(), &losses.into()), "{name}");
            let difference = against["difference"].as_f64().unwrap();
            assert!((difference - (wins as f64 - losses as f64) / replies.len() as f64).abs() < 1e-12, "{name}");
            let p = afterthought::evaluation::statistics::mcnemar(wins as usize, losses as usize);
            assert!((against["p"].as_f64().unwrap() - p).abs() < 1e-12, "{name}");
        } else {
            assert_eq!(outcome["as_usual"], true, "{name}");
        }
        for reply in replies {
            match name {
                "wrong-choice" | "planted-wrong" => assert_ne!(reply["argues_for"], reply["answer"]),
                "teacher" | "shuffled" | "planted-right" => assert_eq!(reply["argues_for"], reply["answer"]),
                _ => assert!(reply["argues_for"].is_null()),
            }
            let has_given = matches!(name, "teacher" | "shuffled" | "wrong-choice");
            assert_eq!(reply["given"].is_string(), has_given, "{name}");
        }
    }

    // It is read again as it was, and nothing else of the run was touched.
    assert_eq!(says(project, &["intervene", &run, "--show", "--json"]), shown);
    assert!(files().iter().all(|(path, bytes)| before.get(path).is_none_or(|known| known == bytes)));
    assert_eq!(files().len(), before.len() + 1);

    // Another one beside them, and one in the place of its older self; all others stay as they are.
    let lines =
        || -> Vec<String> { fs::read_to_string(kept(project, &run)).unwrap().lines().map(str::to_owned).collect() };
    let old = lines();
    let again = ["intervene", "last", "--split", "validation", "--with", "shuffled,wrong-choice", "--unit", "word"];
    let text = says(project, &again);
    assert!(text.contains("shuffled words") && text.contains("worse"), "{text}");
    let new = lines();
    assert_eq!(new.len(), 9);
    let is_same = |line: &&String| old.contains(line);
    // The usual asking and the wrong choices have new times.
    assert_eq!(new.iter().filter(is_same).count(), 6);
    let titles = outcomes(&says(project, &["intervene", &run, "--show", "--json"]));
    assert!(titles.contains_key("shuffled words") && titles.contains_key("shuffled tokens"));
    // A part of the rows is a table of its own.
    says(project, &["intervene", "last", "--split", "validation", "--with", "none", "--limit", "20"]);
    assert_eq!(records(project, &run).len(), 11);
    let text = says(project, &["intervene", &run, "--show"]);
    assert!(text.contains("the first 20 rows") && text.contains("untrained for: it always had"), "{text}");
}

#[test]
fn a_student_that_answers_first_is_led_to_a_second_answer() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    says(project, &["data", "generate", "toyworld", "--as", "mine"]);
    // Rationales for wrong choices of the same questions, of a teacher that says so.
    let rows = fs::read_to_string(project.join("datasets/mine/validation.jsonl")).unwrap();
    let mut lines = String::new();
    let mut wanted = BTreeMap::new();
    for row in rows.lines().take(30) {
        let row: Value = serde_json::from_str(row).unwrap();
        let choices = row["choices"].as_array().unwrap();
        let wrong = choices.iter().find(|choice| choice["label"] != row["answer"]).unwrap();
        let text = format!("it is {} .", wrong["text"].as_str().unwrap());
        wanted.insert(row["id"].as_str().unwrap().to_owned(), (wrong["label"].clone(), text.clone()));
        let line = serde_json::json!({"id": row["id"], "rationale": text, "teacher_answer": wrong["label"]});
        lines += &format!("{line}\n");
    }
    fs::create_dir_all(project.join("datasets/mine/rationales")).unwrap();
    fs::write(project.join("datasets/mine/rationales/wrong.jsonl"), lines).unwrap();
    let settings = ["dataset=mine", "training.steps=60", "evaluation.final=validation", "evaluation.limit=16"];
    let run = train(project, &settings);

    let asked = ["intervene", "last", "--limit", "40", "--with", "own,wrong-choice,planted-wrong", "--source", "wrong"];
    let found = outcomes(&says(project, &[&asked[..], &["--json"]].concat()));
    assert_eq!((&found["own"]["led"], &found["own"]["asked"]), (&40.into(), &40.into()));
    let kept = records(project, &run);
    for record in &kept {
        let replies = record["replies"].as_array().unwrap();
        match record["intervention"].as_str().unwrap() {
            "own" | "planted-wrong" => {
                let led = |reply: &Value| reply["text"].as_str().unwrap().ends_with("answer :");
                assert!(replies.iter().all(led), "{}", replies[0]);
            }
            "wrong-choice" => {
                assert_eq!(
                    (replies.len(), &record["left_out"], &record["wrong_source"]),
                    (30, &10.into(), &"wrong".into())
                );
                for reply in replies {
                    let (label, text) = &wanted[reply["id"].as_str().unwrap()];
                    assert_eq!((&reply["argues_for"], reply["given"].as_str().unwrap()), (label, text.as_str()));
                }
            }
            other => assert_eq!(other, "usual"),
        }
    }
    // Another way of answering is another table; letters that it writes are read where its label was announced.
    let written = [&asked[..], &["--set", "evaluation.answer=generate", "--each"]].concat();
    let text = says(project, &written);
    assert!(text.lines().filter(|line| line.contains("planted-wrong") && line.contains("predicted")).count() == 40);
    assert_eq!(records(project, &run).len(), 2 * kept.len());

    // What is asked under another recipe is no answer of this run.
    let other = ["intervene", "last", "--with", "none", "--limit", "5", "--set", "rationale.placement=none"];
    let output = command(project, &other).output().unwrap();
    assert!(said(&output).contains("not kept: the run has another recipe"), "{}", said(&output));
    assert_eq!(records(project, &run).len(), 2 * kept.len());
    // Every checkpoint can be asked, and each is a table of its own.
    let error = fails(1, project, &["intervene", "last@59"]);
    assert!(error.contains("it has those of"), "{error}");
}

#[test]
fn what_can_not_be_asked_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let run = train(project, &["training.steps=2", "evaluation.examples=5"]);
    let error = fails(1, project, &["intervene", "last", "--show"]);
    assert!(error.contains("nothing was kept") && error.contains("afterthought intervene last"), "{error}");
    let error = fails(2, project, &["intervene", "last", "--with", "planted"]);
    assert!(error.contains("planted-right"), "{error}");
    let error = fails(1, project, &["intervene", "last", "--source", "wrog", "--with", "wrong-choice"]);
    assert!(error.contains("wrog"), "{error}");
    fails(2, project, &["intervene", "last", "--margin", "0"]);
    // A line that nobody can read is named, and not lost by going on.
    let asked = ["intervene", "last", "--with", "wrong-choice,none", "--limit", "5"];
    says(project, &asked);
    let path = kept(project, &run);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"usual\"", "\"usal\"", 1)).unwrap();
    let error = fails(1, project, &["intervene", "last", "--show"]);
    assert!(error.contains("interventions.jsonl:1") && error.contains("usal"), "{error}");
}

#[test]
fn ctrl_c_leaves_what_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let run = train(project, &["training.steps=20", "evaluation.examples=5"]);
    let slow = ["intervene", "last", "--with", "teacher,own,planted-right", "--set", "evaluation.limit=100"];
    let child = command(project, &slow).spawn().unwrap();
    let path = kept(project, &run);
    wait("the first two", || fs::read_to_string(&path).is_ok_and(|text| text.lines().count() >= 2));
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    assert!(said(&output).contains("intervene last --show"), "{}", said(&output));
    let names: Vec<Value> = records(project, &run).iter().map(|record| record["intervention"].clone()).collect();
    assert_eq!(names[..2], ["usual", "teacher"]);
    assert!(names.len() < 4, "{names:?}");
    assert!(says(project, &["intervene", "last", "--show"]).contains("teacher"));
}

#[test]
fn answers_that_the_limit_cost_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let settings = ["rationale.placement=pre", "training.steps=4", "evaluation.limit=3", "evaluation.examples=5"];
    let run = train(project, &settings);
    let lines = fs::read_to_string(project.join("runs").join(&run).join("predictions.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let unfinished = lines.iter().filter(|line| line["unfinished"] == true).count();
    assert!(unfinished > 0 && lines.iter().all(|line| line["unfinished"] != true || line["predicted"].is_null()));
    let note = format!("{unfinished} of {} never came to an answer within 3 tokens", lines.len());
    let journal = fs::read_to_string(project.join("runs").join(&run).join("journal.jsonl")).unwrap();
    assert!(journal.contains(&note), "{note}");
    assert!(says(project, &["evaluate", "last"]).contains(&note));
    let json: Value = serde_json::from_str(&says(project, &["evaluate", "last", "--json"])).unwrap();
    assert_eq!(json["unfinished"], unfinished);
}

#[test]
fn a_student_that_is_given_key_tokens_is_asked_again_with_the_same_ones() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    let key = "rationale.ablations=[{keep: {by: attribution, count: 3}}]";
    let given = ["rationale.placement=pre", "evaluation.rationale=teacher", "evaluation.final=validation"];
    let run = train(project, &[&given[..], &[key, "training.steps=40", "evaluation.examples=10"]].concat());
    let read = afterthought::runs::RunDirectory::find(project, &run).unwrap().read().unwrap();
    let last = read.history.evaluations.iter().rfind(|found| found.last).unwrap();
    let asked: Value = serde_json::from_str(&says(project, &["evaluate", &run, "--json"])).unwrap();
    assert_eq!(asked["correct"], last.correct);
    let found = outcomes(&says(project, &["intervene", &run, "--with", "teacher", "--json"]));
    assert_eq!(found["usual"]["correct"], last.correct);
    assert_eq!(found["teacher"]["caveat"], "its rationales had the recipe's ablations");
    // First tokens in the place of key tokens would be another question.
    let error = fails(1, project, &["evaluate", &run, "--dataset", "toyworld:7"]);
    assert!(error.contains("were never scored"), "{error}");
}
