//! The files as they were published, where they lie beside the project.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::project::Project;

/// The published files beside the project, or nothing where they are not.
fn shared(path: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
    if !path.exists() {
        eprintln!("skipped: ../shared is not here");
        return None;
    }
    Some(path.display().to_string())
}

#[test]
fn the_official_commonsenseqa_files_are_imported() {
    let Some(folder) = shared("data/original/commonsenseqa") else { return };
    let project = Project::new();
    let imported = project.json(&format!(
        "import --format commonsenseqa --as csqa --split train={folder}/train_rand_split.jsonl --split validation={folder}/dev_rand_split.jsonl --split test={folder}/test_rand_split_no_answers.jsonl"
    ));
    let examples = |split: &str| imported["splits"][split]["examples"].as_u64().unwrap();
    assert_eq!([examples("train"), examples("validation"), examples("test")], [9_741, 1_221, 1_140]);
    assert_eq!((&imported["skipped"], &imported["splits"]["test"]["answers"]), (&0.into(), &0.into()));

    let joined = project.json(&format!(
        "import --format cos-e --as csqa --split train={folder}/cose_train_v1.11.jsonl --split validation={folder}/cose_dev_v1.11.jsonl"
    ));
    assert_eq!((&joined["sources"]["cos-e"], &joined["skipped"]), (&10_962.into(), &0.into()));

    let steps = project.json(&format!(
        "import --format step-by-step --as steps --split train={folder}/cqa_train.json --split validation={folder}/cqa_test.json"
    ));
    // 42 and 6 answers are the text of two choices.
    let counts = |split: &str| {
        [&steps["splits"][split]["examples"], &steps["splits"][split]["skipped"]].map(|n| n.as_u64().unwrap())
    };
    assert_eq!((counts("train"), counts("validation")), ([9_699, 42], [1_215, 6]));

    let report = project.json("validate csqa");
    let equal = |split: &str| {
        let file = format!("{split}.jsonl");
        let problems = report["problems"].as_array().unwrap().iter();
        problems.filter(|p| p["kind"] == "duplicate_choice" && p["file"].as_str().unwrap().ends_with(&file)).count()
    };
    assert_eq!([equal("train"), equal("validation")], [122, 24]);
    assert_eq!(report["counts"]["missing_answer"], 1_140);
    assert_eq!(report["sources"]["cos-e"], 10_962);
}

#[test]
fn the_official_openbookqa_files_are_imported() {
    let Some(folder) = shared("data/original/openbookqa") else { return };
    let project = Project::new();
    for (name, ending, facts) in [("main", "", 0), ("additional", "_complete", 5_957)] {
        let imported = project.json(&format!(
            "import --format openbookqa --as {name} --split train={folder}/train{ending}.jsonl --split validation={folder}/dev{ending}.jsonl --split test={folder}/test{ending}.jsonl"
        ));
        let examples =
            ["train", "validation", "test"].map(|split| imported["splits"][split]["examples"].as_u64().unwrap());
        assert_eq!(examples, [4_957, 500, 500]);
        assert_eq!(imported["sources"]["fact1"].as_u64().unwrap_or(0), facts);
    }
    let shared_questions = &project.json("validate main")["counts"]["shared_question"];
    assert_eq!(shared_questions, 36);
}

#[test]
fn the_official_quarel_files_are_imported() {
    let Some(folder) = shared("data/original/quarel") else { return };
    let project = Project::new();
    let imported = project.json(&format!(
        "import --format quarel --as quarel --split train={folder}/quarel_sample.jsonl --split validation={folder}/mario_dev.json"
    ));
    let counts = |split: &str| {
        [&imported["splits"][split]["examples"], &imported["splits"][split]["rationales"]].map(|n| n.as_u64().unwrap())
    };
    assert_eq!((counts("train"), counts("validation"), &imported["skipped"]), ([3, 0], [278, 0], &0.into()));
    let row = project.json("show quarel --id GeneralQR_V1_Fr_0334");
    assert_eq!(
        (&row["choices"][0]["text"], &row["choices"][1]["text"]),
        (&"more friction".into(), &"less friction".into())
    );
    assert_eq!(
        (&row["question"].as_str().unwrap().ends_with("the muddy hill has"), &row["answer"]),
        (&true, &"A".into())
    );
}

#[test]
fn the_normalised_files_and_their_rationales_are_read_as_they_lie() {
    let Some(folder) = shared("data") else { return };
    let project = Project::new();
    for (name, train, rationales) in
        [("commonsenseqa", 9_741, 9_738), ("openbookqa", 4_957, 4_957), ("quarel", 1_930, 1_757)]
    {
        copy(&Path::new(&folder).join(name), &project.path("datasets").join(name));
        let report = project.json(&format!("validate {name}"));
        assert_eq!(report["splits"]["train"], serde_json::json!({"examples": train, "rationales": rationales}));
    }
    let stats = project.json("stats commonsenseqa");
    let own = &stats["splits"][0]["sources"][0];
    let share = own["with_gold_text"].as_f64().unwrap() / own["with_answer"].as_f64().unwrap();
    assert!((0.715..0.725).contains(&share), "{share}");

    let samples = format!("{folder}/quarel/rationales/train.text-davinci-003_5samples.jsonl");
    let line = format!("import --format rationales --source davinci --as quarel --split train={samples}");
    let joined = project.json(&line);
    assert_eq!(joined["sources"]["davinci"], 9_650);
    let first = fs::read_to_string(project.path("datasets/quarel/rationales/davinci.jsonl")).unwrap();
    let fifth: Value = serde_json::from_str(first.lines().nth(4).unwrap()).unwrap();
    assert_eq!((&fifth["sample"], &fifth["source"]), (&4.into(), &"davinci".into()));
    assert!(fifth["teacher_answer"].is_string());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}
