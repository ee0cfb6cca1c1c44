//! What a person does with data sets on the command line, with the program itself.

mod editing;
mod project;
mod published;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use project::{PROGRAM, Project, ended, fixture, gzip};

#[test]
fn commonsenseqa_is_imported_and_its_explanations_joined() {
    let project = Project::new();
    let (train, test) = (fixture("commonsenseqa_train.jsonl"), fixture("commonsenseqa_test.jsonl"));
    let imported =
        project.json(&format!("import --format commonsenseqa --as csqa --split train={train} --split test={test}"));
    assert_eq!(imported["splits"]["train"]["examples"], 3);
    assert_eq!(
        (&imported["splits"]["test"]["examples"], &imported["splits"]["test"]["answers"]),
        (&1.into(), &0.into())
    );

    let joined =
        project.data(&format!("import --format cos-e --as csqa --split train={}", fixture("cose_train.jsonl")));
    assert_eq!(joined.code, 0, "{}", joined.messages);
    assert!(joined.messages.contains("cose_train.jsonl:3: csqa/train has no example with the id `c-train-9`"));
    assert!(joined.out.contains("source cos-e: 2 rationales"), "{}", joined.out);

    let shown = project.json("show csqa --id c-train-1 --source cos-e");
    assert_eq!(shown["question"], "Where would you put a kettle  so that the water boils?");
    assert_eq!(shown["rationale"], "A stove gives the heat that water needs.");
    assert_eq!((&shown["answer"], &shown["question_concept"]), (&"B".into(), &"kettle".into()));
    let meta = fs::read_to_string(project.path("datasets/csqa/dataset.yaml")).unwrap();
    assert!(meta.contains("licence: MIT") && meta.contains("source: commonsenseqa"), "{meta}");
    assert_eq!(project.datasets(), ["csqa"]);
}

#[test]
fn openbookqa_brings_its_facts() {
    let project = Project::new();
    let (complete, main) = (fixture("openbookqa_complete.jsonl"), fixture("openbookqa_main.jsonl"));
    let line = format!("import --format openbookqa --as obqa --split train={complete} --split validation={main}");
    let imported = project.json(&line);
    assert_eq!((&imported["splits"]["train"]["rationales"], &imported["sources"]["fact1"]), (&2.into(), &2.into()));
    assert_eq!(project.json("show obqa --id o-2 --source fact1")["rationale"], "metal conducts electricity");
    let shown = project.json("show obqa --id o-1");
    assert_eq!((&shown["rationale"], &shown["rationale_source"]), (&"sunlight warms water".into(), &"fact1".into()));
}

#[test]
fn quarel_gives_up_the_choices_inside_its_questions() {
    let project = Project::new();
    let (official, mario) = (fixture("quarel.jsonl"), fixture("mario.json"));
    let ended = project
        .data(&format!("import --format quarel --as quarel --split train={official} --split validation={mario}"));
    assert!(ended.messages.contains("quarel.jsonl:3: the question should hold choices"), "{}", ended.messages);
    assert!(
        ended.out.contains("train: 2 examples")
            && ended.out.contains("validation: 2 examples, 2 answers, 1 rationales")
    );
    let row = project.json("show quarel --id QuaRel_own_2");
    assert_eq!((&row["question"], &row["answer"]), (&"From the hill the near lamp looks".into(), &"A".into()));
    assert_eq!(
        (&row["choices"][0]["text"], &row["choices"][1]["text"]),
        (&"brighter".into(), &"dimmer than the far one".into())
    );
    let row = project.json("show quarel --id validation-1");
    assert_eq!(
        (&row["choices"][1]["text"], &row["rationale"]),
        (&"quieter from far away".into(), &"Sound fades with distance.".into())
    );
    assert_eq!(project.json("show quarel --id validation-0")["rationale"], Value::Null);
}

#[test]
fn step_by_step_refuses_an_answer_that_two_choices_have() {
    let project = Project::new();
    let imported = project
        .json(&format!("import --format step-by-step --as steps --split train={}", fixture("step_by_step.json")));
    assert_eq!((&imported["splits"]["train"]["examples"], &imported["skipped"]), (&2.into(), &1.into()));
    assert_eq!(imported["problems"][0]["line"], 2);
    assert!(imported["problems"][0]["reason"].as_str().unwrap().contains("choices B and C are both `face`"));
    let row = project.json("show steps --id s-1");
    assert_eq!((&row["answer"], &row["rationale"]), (&"B".into(), &"a stove gives the heat that water needs.".into()));
    assert_eq!(row["extractive_explanation"], "water boils");
}

#[test]
fn any_file_is_imported_through_a_mapping() {
    let project = Project::new();
    let packed = project.write("quiz.csv.gz", gzip(&fs::read(fixture("quiz.csv")).unwrap()));
    let ended = project.data(&format!(
        "import --format mapping --as quiz --split train={} --map id=number --map question=stem --map choices=opt1,opt2,opt3 --map answer=gold --answer-is index1 --map rationale=why --map rationale_source='mara' --keep --json",
        packed.display()
    ));
    assert_eq!(ended.code, 0, "{}", ended.messages);
    let imported: Value = serde_json::from_str(&ended.out).unwrap();
    let counts = &imported["splits"]["train"];
    assert_eq!((&counts["examples"], &counts["answers"], &counts["rationales"]), (&3.into(), &3.into(), &2.into()));
    assert_eq!(imported["problems"][0]["reason"], "the row has 2 cells and the header 8");
    assert_eq!(imported["problems"][0]["line"], 5);
    let row = project.json("show quiz --id 1");
    assert_eq!((&row["question"], &row["choices"][1]["text"]), (&"Which is \"hot\", of these?".into(), &"fire".into()));
    assert_eq!(
        (&row["answer"], &row["topic"], &row["rationale_source"]),
        (&"B".into(), &"heat".into(), &"mara".into())
    );

    let nested = project.json(&format!(
        "import --format mapping --as nested --split test={} --map question=q.stem --map choices=q.options[*].body --map answer=key",
        fixture("nested.json")
    ));
    assert_eq!((&nested["splits"]["test"]["examples"], &nested["splits"]["test"]["answers"]), (&2.into(), &2.into()));
    let problem = &nested["problems"][0];
    assert_eq!((&problem["line"], &problem["counted"]), (&3.into(), &"records".into()));
    let row = project.json("show nested --id test-000001");
    assert!(row["answer"] == "B" && !row["who"].is_null(), "what nothing is mapped to is kept: {row}");
    project.json(&format!(
        "import --format mapping --as bare --drop-others --split test={} --map question=q.stem --map choices=q.options[*].body --map answer=key",
        fixture("nested.json")
    ));
    assert_eq!(project.json("show bare --id test-000001")["who"], Value::Null);

    let hub = project.json(&format!("import --format commonsenseqa --as hub --split train={}", fixture("hub.parquet")));
    assert_eq!((&hub["splits"]["train"]["examples"], &hub["splits"]["train"]["answers"]), (&3.into(), &2.into()));
}

#[test]
fn rows_that_were_not_taken_are_shown_counted_and_written_down() {
    let project = Project::new();
    let good = fs::read_to_string(fixture("openbookqa_main.jsonl")).unwrap();
    let rows = project.write("rows.jsonl", good.clone() + &"{\"id\": \"x\"}\n".repeat(30));
    let line = format!("import --format openbookqa --as mine --split train={}", rows.display());
    let report = project.path("report.jsonl");
    let ended = project.data(&format!("{line} --report {}", report.display()));
    assert_eq!(ended.code, 0);
    assert_eq!(ended.messages.matches("no field `question` · the row has id").count(), 20);
    assert!(ended.messages.contains("and 10 more rows"), "{}", ended.messages);
    let report = fs::read_to_string(report).unwrap();
    assert_eq!(report.lines().count(), 30);
    let last: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    assert_eq!((&last["line"], &last["split"]), (&31.into(), &"train".into()));

    let strict = project.data(&format!("{line} --replace --strict"));
    assert_eq!(strict.code, 1);
    assert!(strict.messages.contains("30 rows could not be taken, so nothing was imported"), "{}", strict.messages);
    assert_eq!(project.json("show mine")["id"], "o-3");
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_is_imported_where_the_report_can_not_be_written() {
    let project = Project::new();
    let row = fs::read_to_string(fixture("openbookqa_main.jsonl")).unwrap();
    let rows = project.write("rows.jsonl", row + "{\"id\": \"x\", \"question\": null}\n");
    let line = format!("import --format openbookqa --as mine --split train={}", rows.display());
    let ended = project.data(&format!("{line} --report /dev/full"));
    assert_eq!(ended.code, 1);
    assert!(ended.messages.contains("can't write /dev/full"), "{}", ended.messages);
    assert_eq!(project.datasets(), [""; 0]);
    // The field is there, so it isn't missed.
    let ended = project.data(&line);
    assert!(ended.messages.contains("`question` is empty"), "{}", ended.messages);
}

#[test]
fn an_exported_data_set_comes_back_with_all_its_fields() {
    let project = Project::new();
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets");
    fs::create_dir_all(project.path("datasets/everyday")).unwrap();
    for file in fs::read_dir(published.join("everyday")).unwrap().flatten().filter(|file| file.path().is_file()) {
        fs::copy(file.path(), project.path("datasets/everyday").join(file.file_name())).unwrap();
    }
    let split = project.json("stats everyday")["splits"][0]["split"].as_str().unwrap().to_owned();
    let rows = |name: &str| project.data(&format!("show {name} --split {split} --limit 9999 --json")).out;
    for file in ["a.jsonl.gz", "a.jsonl"] {
        let to = project.path(file);
        project.json(&format!("export everyday --split {split} --to {}", to.display()));
        project.json(&format!("import --format mapping --as again --replace --split {split}={}", to.display()));
        assert!(rows("again").contains("\"theme\"") && rows("again").contains("\"flaw\""));
        assert_eq!(rows("again"), rows("everyday"), "{file}");
    }
}

#[test]
fn damaged_files_end_the_import_and_leave_nothing() {
    let project = Project::new();
    let row = fs::read_to_string(fixture("openbookqa_main.jsonl")).unwrap();
    let many: String = (0..5000).map(|n| row.replace("o-3", &format!("o-{n}"))).collect();
    let whole = gzip(many.as_bytes());
    let half = project.write("half.jsonl.gz", &whole[..whole.len() / 2]);
    let parquet = fs::read(fixture("hub.parquet")).unwrap();
    let cut = project.write("cut.parquet", &parquet[..parquet.len() - 9]);
    let document = project.write("cut.json", "[{\"id\": \"a\"}, {\"id\"");
    let nothing = project.write("nothing.jsonl", "not json\n{}\n");
    for (file, problem) in [
        (&half, "half.jsonl.gz can't be read after record"),
        (&cut, "cut.parquet can't be read from its beginning"),
        (&document, "cut.json can't be read after record 1"),
        (&nothing, "no row of the split train could be taken"),
        (&project.path("missing.jsonl"), "can't read"),
    ] {
        let ended = project.data(&format!("import --format openbookqa --as mine --split train={}", file.display()));
        assert_eq!(ended.code, 1, "{}", file.display());
        assert!(ended.messages.contains(problem), "{}", ended.messages);
        assert!(!ended.messages.contains("panicked"), "{}", ended.messages);
        assert_eq!(project.datasets(), [""; 0], "{}", file.display());
    }
}

#[test]
fn what_is_typed_wrong_is_told_with_what_was_meant() {
    let project = Project::new();
    for (line, told) in [
        ("import --format comonsenseqa --as x --split train=a", "'commonsenseqa'"),
        ("import --format mapping --as x --split train=a --map questoin=b", "did you mean `question`?"),
        ("import --format mapping --as x --split a.jsonl", "train=rows.jsonl"),
        ("import --format quarel --as x --split train=a --map id=b", "--format mapping"),
        ("import --format rationales --as x --split a.jsonl", "--source"),
        ("import --format mapping --as x --split train=a --map sample=b", "no field of --format mapping"),
        ("show toyworld --from 0", "counted from 1"),
        ("generate toyworld --noise 2", "from 0 to 1"),
        ("edit toyworld --split train --id tr-0001", "required"),
        ("edit toyworld --split train --id tr-0001 --highlight 5..2", "ends before it begins"),
    ] {
        let ended = project.data(line);
        assert_eq!(ended.code, 2, "{line}: {}", ended.messages);
        assert!(ended.messages.contains(told), "{line}: {}", ended.messages);
    }
    for (line, told) in [
        ("show toywrld", "did you mean `toyworld`?"),
        ("show toyworld --split dev", "it has train, validation, test"),
        ("show toyworld --id none", "no example `none`"),
        ("show toyworld --source llama", "has no rationale source `llama`"),
        ("import --format mapping --as ../x --split train=a", "can't be a name"),
    ] {
        let ended = project.data(line);
        assert_eq!(ended.code, 1, "{line}: {}", ended.messages);
        assert!(ended.messages.contains(told), "{line}: {}", ended.messages);
    }
    assert_eq!(project.datasets(), [""; 0]);
}

#[test]
fn a_killed_import_leaves_nothing_that_counts() {
    let project = Project::new();
    let row = fs::read_to_string(fixture("openbookqa_complete.jsonl")).unwrap();
    let good = project.write("good.jsonl", &row);
    // A pipe that never ends: the import is killed while it writes.
    let mut import = Command::new(PROGRAM)
        .arg("-C")
        .arg(project.dir.path())
        .args(["data", "import", "--format", "openbookqa", "--as", "mine", "--file-kind", "jsonl"])
        .args(["--split", "train=-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut feed = import.stdin.take().unwrap();
    for n in 0..2000 {
        feed.write_all(row.replace("o-", &format!("o-{n}-")).as_bytes()).unwrap();
    }
    feed.flush().unwrap();
    while project.datasets().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    import.kill().unwrap();
    import.wait().unwrap();
    let left = project.datasets();
    assert!(left.len() == 1 && left[0].starts_with(".importing-"), "{left:?}");
    let listed = project.json("list");
    assert!(listed.as_array().unwrap().iter().all(|set| set["origin"] == "built-in"));

    let ended = project.data(&format!("import --format openbookqa --as mine --split train={}", good.display()));
    assert_eq!(ended.code, 0, "{}", ended.messages);
    assert_eq!(project.datasets(), ["mine"]);
}

/// A limit on the size of files stands for a full disk.
#[cfg(unix)]
#[test]
fn a_full_disk_ends_the_import_and_leaves_nothing() {
    let project = Project::new();
    let row = fs::read_to_string(fixture("openbookqa_complete.jsonl")).unwrap();
    let rows: String = (0..3000).map(|n| row.replace("o-", &format!("o-{n}-"))).collect();
    let rows = project.write("rows.jsonl", rows);
    let line = format!(
        "ulimit -f 64; exec {PROGRAM} -C {} data import --format openbookqa --as mine --split train={}",
        project.dir.path().display(),
        rows.display()
    );
    let ended = ended(Command::new("sh").arg("-c").arg(line).output().unwrap());
    assert_eq!(ended.code, 1);
    assert!(ended.messages.contains("can't write") && ended.messages.contains("train.jsonl"), "{}", ended.messages);
    assert_eq!(project.datasets(), [""; 0]);
}

#[test]
fn an_existing_data_set_is_only_replaced_when_that_is_asked_for() {
    let project = Project::new();
    let main = fixture("openbookqa_main.jsonl");
    let line = format!("import --format openbookqa --as mine --split train={main}");
    project.json(&line);
    project.json("edit mine --split train --id o-3 --rationale because~they~hold~on");
    let ended = project.data(&line);
    assert_eq!(ended.code, 1);
    assert!(ended.messages.contains("--replace"), "{}", ended.messages);
    project.json(&format!("{line} --replace"));
    assert_eq!(project.json("show mine --id o-3")["rationale"], "because they hold on");

    let added =
        format!("import --format openbookqa --as mine --add --split test={}", fixture("openbookqa_complete.jsonl"));
    project.json(&added);
    let listed = project.json("list");
    let mine = listed.as_array().unwrap().iter().find(|set| set["name"] == "mine").unwrap();
    assert_eq!((&mine["splits"]["train"]["rows"], &mine["splits"]["test"]["rows"]), (&1.into(), &2.into()));
    assert_eq!(mine["sources"], serde_json::json!(["fact1"]));
    assert_eq!(project.data(&added).code, 1);
}

#[test]
fn a_data_set_is_checked() {
    let project = Project::new();
    let clean = project.data("validate toyworld");
    assert_eq!(clean.code, 0, "{}{}", clean.out, clean.messages);
    let rows = r#"{"id":"a","question":"Why so?","choices":[{"label":"A","text":"x"},{"label":"B","text":"x"}],"answer":"A","rationale":"So the answer is (b)."}
{"id":"a","question":"Why not?","choices":[{"label":"A","text":"x"},{"label":"B","text":"y"}],"answer":"C","rationale":" "}
{"id":"b","question":"Why\u001b[2J?","choices":[{"label":"A","text":"x"},{"label":"B","text":"y"}],"answer":null,"rationale":null}
"#;
    project.write("datasets/bad/train.jsonl", rows);
    project.write("datasets/bad/test.jsonl", rows.lines().next().unwrap());
    let ended = project.data("validate bad --json");
    assert_eq!(ended.code, 1);
    assert!(ended.messages.contains("2 rows that make training wrong"), "{}", ended.messages);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["splits"]["train"], serde_json::json!({"examples": 3, "rationales": 1}));
    let kinds: Vec<&str> = report["problems"].as_array().unwrap().iter().map(|p| p["kind"].as_str().unwrap()).collect();
    for kind in [
        "duplicate_id",
        "unknown_answer",
        "missing_answer",
        "duplicate_choice",
        "shared_question",
        "empty_rationale",
        "announcement",
        "control_character",
    ] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    let unknown = report["problems"].as_array().unwrap().iter().find(|p| p["kind"] == "unknown_answer").unwrap();
    assert!(unknown["file"].as_str().unwrap().ends_with("datasets/bad/train.jsonl"));
    assert_eq!((&unknown["line"], &unknown["id"]), (&2.into(), &"a".into()));
    assert_eq!(unknown["problem"], "the answer `C` is none of the labels A, B");
    let page = project.data("validate bad");
    assert!(page.out.contains("ERROR answers that are none of the choices: 1") && !page.out.contains('\u{1b}'));
}

#[test]
fn a_data_set_is_counted() {
    let project = Project::new();
    let stats = project.json("stats toyworld");
    let train = &stats["splits"][0];
    assert_eq!((&train["split"], &train["examples"]), (&"train".into(), &960.into()));
    let answers: u64 = train["answers"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(answers, 960);
    let bins = train["question_words"]["histogram"].as_array().unwrap();
    assert_eq!(bins.iter().map(|bin| bin["count"].as_u64().unwrap()).sum::<u64>(), 960);
    // The toy teacher never says the answer.
    assert_eq!(train["sources"][0]["with_gold_text"], 0);
    let page = project.data("stats toyworld");
    assert!(page.out.contains("test: 600 examples") && page.out.contains('█'), "{}", page.out);
}

#[test]
fn hostile_text_is_shown_as_symbols() {
    let project = Project::new();
    let row = r#"{"id":"a\u001b]52;c;x\u0007","question":"see \u001b[31mred\u202e","choices":[{"label":"A","text":"x\u0008"}],"answer":"A","rationale":"\u009b2J"}"#;
    project.write("datasets/evil/train.jsonl", format!("{row}\n\u{1b}[2J{{\n"));
    for line in [
        "show evil",
        "show evil --id a\u{1b}]52;c;x\u{7}",
        "validate evil",
        "validate evil --all",
        "stats evil",
        "list",
    ] {
        let ended = project.data(line);
        for text in [&ended.out, &ended.messages] {
            let unsafe_character = text.chars().find(|c| c.is_control() && *c != '\n' || *c == '\u{202e}');
            assert_eq!(unsafe_character, None, "{line}: {text:?}");
        }
        assert!(!ended.out.is_empty(), "{line}: {}", ended.messages);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let project = Project::new();
    project.json("generate toyworld --seed 4 --as toy");
    for line in ["show toy --limit 900 --json", "export toy --split train --to -", "validate toy", "stats toy"] {
        let mut command = Command::new(PROGRAM)
            .arg("-C")
            .arg(project.dir.path())
            .arg("data")
            .args(line.split(' '))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(command.stdout.take());
        let output = command.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        assert_eq!(output.status.code(), Some(0), "{line}");
    }
}

#[test]
fn a_split_is_exported_with_its_edits_and_read_back() {
    let project = Project::new();
    project.json("edit toyworld --split test --id te-0001 --rationale typed~by~hand");
    for (file, rows) in [("a.jsonl", 600), ("b.csv.gz", 600), ("c.tsv.zst", 600)] {
        let to = project.path(&format!("datasets/back/{file}"));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let exported = project.json(&format!("export toyworld --split test --to {}", to.display()));
        assert_eq!(exported["rows"], rows);
    }
    for split in ["a", "b", "c"] {
        let row = project.json(&format!("show back --split {split} --id te-0001"));
        assert_eq!((&row["rationale"], &row["choices"].as_array().unwrap().len()), (&"typed by hand".into(), &5));
    }
    assert_eq!(project.data("validate back").out.matches("600 examples").count(), 3);
    let again =
        project.data(&format!("export toyworld --split test --to {}", project.path("datasets/back/a.jsonl").display()));
    assert_eq!(again.code, 1);
    assert!(again.messages.contains("--replace"), "{}", again.messages);
    let output = project.data("export toyworld --split test --to - --format csv");
    assert!(output.out.starts_with("id,question,A,B,C,D,E,answer,rationale,"), "{}", &output.out[..60]);
    assert_eq!(project.data("export toyworld --split test --to rows.xlsx").code, 2);
}

#[test]
fn a_world_is_generated_once() {
    let project = Project::new();
    let made = project.json("generate toyworld --seed 3 --noise 0.5");
    assert_eq!(made["dataset"], "toyworld");
    assert_eq!((&made["splits"]["train"], &made["splits"]["test"]), (&960.into(), &600.into()));
    let meta = fs::read_to_string(project.path("datasets/toyworld/dataset.yaml")).unwrap();
    assert!(meta.contains("--seed 3 --noise 0.5"), "{meta}");
    let line = "generate toyworld --seed 3 --noise 0.5";
    assert!(project.data(line).messages.contains("--replace"));
    assert_eq!(project.data(&format!("{line} --replace")).code, 0);
    assert_eq!(project.datasets(), ["toyworld"]);
    // The folder takes the place of the built-in world of its name.
    let shown = project.json("show toyworld --id tr-0001");
    assert_eq!(shown, project.json("show toyworld-noisy:3 --id tr-0001"));

    // Written out, the built-in world is the one that is built in.
    let fresh = Project::new();
    assert_eq!(fresh.json("generate toyworld --as mine")["dataset"], "mine");
    assert_eq!(fresh.json("show mine --id tr-0001"), fresh.json("show toyworld --id tr-0001"));
}

#[test]
fn an_example_is_edited_and_the_edit_taken_back() {
    let project = Project::new();
    let edit = |rest: &str| project.data(&format!("edit toyworld --split train --id tr-0007 {rest}"));
    let original = project.json("show toyworld --id tr-0007");
    assert_eq!(edit("--rationale it~flies").out, "it flies\n");
    assert_eq!(edit("--highlight 3..8 --highlight 0..2").out, "it flies\nkey 0..2, 3..8\n");
    assert_eq!(
        project.json("show toyworld --id tr-0007")["highlights"],
        serde_json::json!([{"start": 0, "end": 2}, {"start": 3, "end": 8}])
    );
    for (wrong, told) in [("--highlight 3..9", "8 characters"), ("--highlight 0..4 --highlight 3..5", "overlap")] {
        let ended = edit(wrong);
        assert_eq!(ended.code, 2, "{}", ended.messages);
        assert!(ended.messages.contains(told), "{}", ended.messages);
    }
    assert_eq!(edit("--undo").out, "it flies\n");
    assert_eq!(edit("--redo").out, "it flies\nkey 0..2, 3..8\n");
    edit("--undo");
    edit("--undo");
    assert_eq!(project.json("show toyworld --id tr-0007"), original);
    let ended = edit("--undo");
    assert!(ended.code == 1 && ended.messages.contains("nothing to take back"), "{}", ended.messages);
    assert_eq!(edit("--no-rationale").out, "no rationale\n");
    assert_eq!(fs::read_to_string(project.path("datasets/toyworld/edits.jsonl")).unwrap().lines().count(), 7);
    assert_eq!(project.data("edit toyworld --split train --id nobody --undo").code, 1);
}

#[test]
fn every_command_shows_an_example_of_itself() {
    let project = Project::new();
    for command in [
        "list",
        "show",
        "validate",
        "stats",
        "import",
        "export",
        "generate",
        "generate~toyworld",
        "edit",
        "diff",
        "replace",
    ] {
        let help = project.data(&format!("{} --help", command.replace('~', " ")));
        assert_eq!(help.code, 0);
        let example = format!("afterthought data {}", command.replace('~', " "));
        assert!(help.out.contains("Examples:") && help.out.contains(&example), "{}", help.out);
    }
}

#[test]
fn rows_are_filtered_sorted_counted_and_compared() {
    let project = Project::new();
    let shown = project.data("show toyworld --filter kind:sea --sort rationale.words --reverse --limit 3");
    assert!(shown.out.starts_with("toyworld train: 80 of 960 match\n"), "{}", shown.out);
    assert_eq!(shown.out.lines().count(), 4);
    let wrong = project.data("show toyworld --filter kind:");
    assert_eq!(wrong.code, 2);
    assert!(wrong.messages.contains("column 6: a value is missing after kind:"), "{}", wrong.messages);
    assert_eq!(project.data("show toyworld --filter is:wrong").code, 2);

    let spread = project.json("stats toyworld --by kind --split test");
    assert_eq!(
        (&spread["histogram"]["rows"], spread["histogram"]["values"].as_array().unwrap().len()),
        (&600.into(), 12)
    );
    let words = project.data("stats toyworld --by rationale.words --filter answer:A");
    assert!(words.out.contains("quantiles 5 %") && words.out.contains('█'), "{}", words.out);

    let beside = project.json("show toyworld --id te-0001 --beside toyworld-noisy");
    assert_eq!((&beside["matched_by"], &beside["other"]["id"]), (&"id".into(), &"te-0001".into()));
    let twice = project.json("duplicates toyworld");
    assert_eq!((&twice["questions"], &twice["leaks"]["same"]), (&1920.into(), &0.into()));
    assert!(twice["within_splits"]["other_choices"].as_u64().unwrap() > 0);
}
