//! Searching, replacing and looking at what was changed, from the command line.

use super::project::Project;

#[test]
fn a_replacement_is_tried_made_looked_at_and_taken_back() {
    let project = Project::new();
    let before = project.json("show toyworld --split train --id tr-0001")["rationale"].as_str().unwrap().to_owned();
    let word = before.split(' ').find(|word| word.len() > 3).unwrap().to_owned();
    let line = format!("replace toyworld --find {word} --replace REPLACED");
    let tried = project.json(&format!("{line} --dry-run"));
    assert!(tried["questions"].as_u64().unwrap() > 1 && tried["dry_run"] == true, "{tried}");
    assert_eq!(tried["changes"].as_array().unwrap().len() as u64, tried["questions"].as_u64().unwrap());
    assert!(!project.path("datasets").exists(), "a dry run writes nothing");

    let made = project.json(&line);
    assert_eq!((&made["questions"], &made["places"]), (&tried["questions"], &tried["places"]));
    let after = project.json("show toyworld --split train --id tr-0001");
    assert_eq!(after["rationale"].as_str().unwrap(), before.replace(&word, "REPLACED"));

    let diff = project.json("diff toyworld --split train --id tr-0001");
    assert_eq!((&diff["edits"], &diff["before"]["rationale"]), (&1.into(), &before.as_str().into()));
    let sides: Vec<&str> =
        diff["rationale"].as_array().unwrap().iter().map(|part| part["side"].as_str().unwrap()).collect();
    assert!(sides.contains(&"removed") && sides.contains(&"added"), "{diff}");
    let shown = project.data("diff toyworld --id tr-0001");
    assert!(shown.out.contains("[+REPLACED]"), "{}", shown.out);

    // Any of the questions takes all of it back.
    let other = tried["changes"][1]["id"].as_str().unwrap();
    project.json(&format!("edit toyworld --split train --id {other} --undo"));
    assert_eq!(project.json("show toyworld --split train --id tr-0001")["rationale"], before.as_str());
    assert_eq!(project.data("diff toyworld").out, "nothing is edited here\n");
}

#[test]
fn only_what_matches_is_replaced_and_mistakes_are_usage() {
    let project = Project::new();
    let made = project.json("replace toyworld --find /\\b(\\w+)~\\.$/ --replace <$1>~. --filter id:tr-0002");
    assert_eq!(made["questions"], 1);
    assert_eq!(made["changes"][0]["id"], "tr-0002");
    assert_eq!(project.json("diff toyworld")["id"], "tr-0002");
    let wrong = project.data("replace toyworld --find /(/ --replace x");
    assert_eq!(wrong.code, 2);
    assert!(wrong.messages.contains("unclosed group"), "{}", wrong.messages);
    let nothing = project.data("replace toyworld --find nowhere-at-all --replace x");
    assert_eq!((nothing.code, nothing.out.as_str()), (0, "found nowhere: nothing changes\n"));
    let unknown = project.data("diff toyworld --id nobody");
    assert_eq!(unknown.code, 1);
    let question = project.json("replace toyworld --in question --find ? --replace ! --filter id:tr-0003");
    assert_eq!((&question["in"], &question["questions"]), (&"question".into(), &1.into()));
}

#[test]
fn key_words_that_are_still_there_stay_key_words() {
    let project = Project::new();
    let edit = |rest: &str| project.data(&format!("edit toyworld --split train --id tr-0007 {rest}")).out;
    edit("--rationale it~has~gills~and~fins");
    edit("--highlight 7..12 --highlight 17..21");
    assert_eq!(edit("--rationale surely~it~has~gills"), "surely it has gills\nkey 14..19\n");
    assert_eq!(edit("--undo"), "it has gills and fins\nkey 7..12, 17..21\n");
    let made = project.json("replace toyworld --find gills --replace big~gills --filter id:tr-0007");
    assert_eq!(made["places"], 1);
    let highlights = project.json("show toyworld --id tr-0007")["highlights"].clone();
    assert_eq!(highlights, serde_json::json!([{"start": 11, "end": 16}, {"start": 21, "end": 25}]));
}
