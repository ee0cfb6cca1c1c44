//! Attribution as scripts ask for it: methods, splits that are stopped and gone on with, faithfulness, changes, and rows that are
//! not like others.

mod program;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use afterthought::student::architecture::Architecture;
use afterthought::student::tokenizer::Specials;
use afterthought::student::{Student, Tokenizer};
use candle_core::Device;
use program::{fails, says};
use serde_json::{Value, json};

fn asked(project: &Path, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&says(project, &arguments)).unwrap()
}

/// Trains a toy student that reads rationales and gives the run's id.
fn reader(project: &Path, steps: usize) -> String {
    let steps = format!("training.steps={steps}");
    let settings = [
        "rationale.placement=pre",
        "rationale.hide=subject",
        "evaluation.rationale=teacher",
        "training.loss.rationale=0",
        "evaluation.every=end",
        "evaluation.examples=10",
        &steps,
    ];
    let arguments: Vec<&str> = ["train"].into_iter().chain(settings.iter().flat_map(|own| ["--set", own])).collect();
    says(project, &arguments).lines().last().unwrap().to_owned()
}

fn attributions(project: &Path, run: &str) -> Vec<PathBuf> {
    let folder = project.join("runs").join(run).join("attributions");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn sum(found: &Value, units: &str) -> f64 {
    found[units].as_array().unwrap().iter().filter_map(|unit| unit["score"].as_f64()).sum()
}

#[test]
fn every_method_and_target_says_what_it_scored() {
    let dir = tempfile::tempdir().unwrap();
    reader(dir.path(), 60);
    let of = |more: &[&str]| {
        let arguments = ["attribute", "last", "toyworld", "--id", "tr-0001"];
        asked(dir.path(), &arguments.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    };
    for method in ["integrated-gradients", "gradient-input", "gradient-norm", "occlusion", "leave-one-out", "attention"]
    {
        let found = of(&["--method", method, "--unit", "word"]);
        assert!(
            found["method"].as_str().unwrap().split([' ', '-']).next().unwrap() == method.split('-').next().unwrap()
        );
        assert_eq!(found["convergence_delta"].is_number(), method == "integrated-gradients", "{method}");
        assert_eq!(found["caution"].is_string(), method == "attention" || method == "gradient-norm", "{method}");
        for units in ["words", "sentences"] {
            assert!((sum(&found, units) - sum(&found, "tokens")).abs() < 1e-3, "{method}: {units}");
        }
    }
    let contrast = of(&["--target", "contrast"]);
    assert!(contrast["target"].as_str().unwrap().contains(" over "));
    let label = of(&["--target", "label"])["target"].as_str().unwrap().to_owned();
    let choices: Vec<String> = ["A", "B", "C", "D", "E"]
        .iter()
        .map(|own| of(&["--target", &format!("choice:{own}")])["target"].to_string())
        .collect();
    assert!(choices.contains(&format!("{label:?}")), "{choices:?}");
    let rationale = of(&["--target", "rationale"]);
    assert_eq!(rationale["target"], "the rationale");
    let scored: Vec<&Value> =
        rationale["tokens"].as_array().unwrap().iter().filter(|token| token["score"].is_number()).collect();
    assert!(!scored.is_empty() && scored.iter().all(|token| token["role"] != "rationale"));
    let token = of(&["--target", "token:30", "--over", "prompt"]);
    assert_eq!(token["tokens"].as_array().unwrap().iter().filter(|token| token["score"].is_number()).count(), 30);
    let shares = of(&["--absolute", "--normalise", "--baseline", "random"]);
    assert!((sum(&shares, "words") - 1.0).abs() < 1e-4);
    for (arguments, said) in [
        (["--target", "token:9999"], "there is no token 9999"),
        (["--target", "token:0"], "nothing stands before token 0"),
        (["--target", "choice:Z"], "its choices are A, B"),
        (["--target", "labels"], "a target is label"),
        (["--layer", "3"], "settings of --method attention"),
    ] {
        let own = ["attribute", "last", "toyworld", "--id", "tr-0001"].into_iter().chain(arguments).collect::<Vec<_>>();
        let error = fails(dir.path(), &own);
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    let attention = ["attribute", "last", "toyworld", "--id", "tr-0001", "--method", "attention", "--layer", "7"];
    let error = fails(dir.path(), &attention);
    assert!(error.contains("has 1 layers of 4 heads") && error.lines().count() < 4, "{error}");
}

#[test]
fn a_split_goes_on_where_it_was_ended_and_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let run = reader(dir.path(), 30);
    let split = ["attribute", "last", "toyworld", "--split", "validation", "--steps", "4"];
    let first = says(dir.path(), &split);
    assert!(first.contains("360 examples, largest convergence delta"), "{first}");
    let files = attributions(dir.path(), &run);
    let path = files.first().unwrap().clone();
    assert_eq!(files.len(), 1);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 361);
    // Tokens are not kept: they are rendered again.
    assert!(text.len() / 361 < 700, "{} bytes a line", text.len() / 361);
    // As after a kill in the middle of the line of the 100th example.
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let part = lines[..100].concat() + &lines[100][..20];
    fs::remove_file(&path).unwrap();
    // Something that only what was kept can have.
    let part = part.replacen("\"scores\":[", "\"scores\":[77.0,", 1);
    fs::write(path.with_extension("jsonl.part"), part).unwrap();
    assert_eq!(says(dir.path(), &split).lines().next().unwrap(), first.lines().next().unwrap());
    let again = fs::read_to_string(&path).unwrap();
    assert!(again.contains("77.0"), "the examples that were done were not done again");
    assert_eq!(again.lines().count(), 361);
    assert_eq!(again.lines().skip(2).collect::<Vec<_>>(), text.lines().skip(2).collect::<Vec<_>>());
    assert!(!path.with_extension("jsonl.part").exists());
    // Other rows, other scores: what was stored is not taken for them.
    let edit = ["data", "edit", "toyworld", "--split", "validation", "--id", "va-0001", "--rationale", "it has fins ."];
    says(dir.path(), &edit);
    says(dir.path(), &split);
    assert!(!fs::read_to_string(&path).unwrap().contains("77.0"));
}

#[test]
fn two_who_ask_the_same_at_once_get_the_same_answer() {
    let dir = tempfile::tempdir().unwrap();
    let run = reader(dir.path(), 30);
    let split = ["attribute", "last", "toyworld", "--split", "validation", "--baseline", "zero"];
    let both: Vec<String> = std::thread::scope(|scope| {
        let asked = [(); 2].map(|()| scope.spawn(|| says(dir.path(), &split)));
        asked.map(|asked| asked.join().unwrap()).into()
    });
    assert_eq!(both[0], both[1]);
    let files = attributions(dir.path(), &run);
    assert_eq!(files.len(), 1, "{files:?}");
    let text = fs::read_to_string(&files[0]).unwrap();
    assert_eq!(text.lines().count(), 361);
    // Coarser scores are another question, and take no finer one's place.
    says(dir.path(), &[&split[..], &["--steps", "1", "--most-steps", "1"]].concat());
    assert_eq!(attributions(dir.path(), &run).len(), 2);
    assert_eq!(fs::read_to_string(&files[0]).unwrap(), text);
}

#[test]
fn scores_of_two_checkpoints_stand_beside_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (reader(dir.path(), 30), reader(dir.path(), 60));
    let arguments = ["attribute", &other, "toyworld", "--id", "tr-0001", "--against", &one];
    let both = asked(dir.path(), &arguments);
    assert_ne!(both["one"]["log_p"], both["other"]["log_p"]);
    let text = says(dir.path(), &arguments);
    assert!(text.contains("2 less 1") && text.contains(&one) && text.contains(&other), "{text}");
}

#[test]
fn key_tokens_are_measured() {
    let dir = tempfile::tempdir().unwrap();
    reader(dir.path(), 500);
    let arguments = ["faithfulness", "last", "toyworld", "--split", "validation", "--limit", "40"];
    let found = asked(dir.path(), &arguments);
    assert_eq!(found["examples"], 40);
    let methods = found["methods"].as_array().unwrap();
    assert_eq!(methods.len(), 5);
    let integrated = &methods[0];
    assert_eq!(integrated["name"], "integrated gradients");
    let of = |measured: &str, what: &str| integrated[measured][what].as_f64().unwrap();
    // Without its key tokens the answer goes, and with them it comes back, long before those of a random order do.
    assert!(of("deletion", "against_random") < -0.1 && of("insertion", "against_random") > 0.1, "{integrated}");
    assert!(of("precision", "share") > 2.0 * of("precision", "chance"), "{integrated}");
    assert_eq!(integrated["curves"]["deletion"].as_array().unwrap().len(), 21);
    assert_eq!(found["random"]["insertion"].as_array().unwrap().len(), 21);
    assert_eq!(found["agreement"].as_array().unwrap().len(), 10);
    let text = says(
        dir.path(),
        &["faithfulness", "last", "toyworld", "--split", "validation", "--limit", "5", "--removal", "replace"],
    );
    assert!(text.contains("random order") && text.contains("rank correlation"), "{text}");
}

#[test]
fn words_are_changed_and_the_answer_moves() {
    let dir = tempfile::tempdir().unwrap();
    reader(dir.path(), 400);
    let row = asked(dir.path(), &["data", "show", "toyworld", "--id", "tr-0001"]);
    let cues: Vec<String> = serde_json::from_value(row["cues"].clone()).unwrap();
    let answer = row["answer"].as_str().unwrap();
    let mut arguments = vec!["what-if", "last", "toyworld", "--id", "tr-0001"];
    cues.iter().for_each(|cue| arguments.extend(["--delete", cue]));
    let found = asked(dir.path(), &arguments);
    let gold = found["choices"].as_array().unwrap().iter().find(|choice| choice["label"] == answer).unwrap();
    assert!(gold["after"].as_f64().unwrap() < gold["before"].as_f64().unwrap() - 0.2, "{gold}");
    let rationale = found["rationale"].as_str().unwrap();
    assert!(cues.iter().all(|cue| !rationale.split(' ').any(|word| word == cue)), "{rationale}");
    // What it says of a changed text is what it says of that text in the data.
    says(dir.path(), &["data", "edit", "toyworld", "--split", "train", "--id", "tr-0001", "--rationale", rationale]);
    let shuffled = asked(dir.path(), &["what-if", "last", "toyworld", "--id", "tr-0001", "--shuffle", "word:7"]);
    for (one, other) in found["choices"].as_array().unwrap().iter().zip(shuffled["choices"].as_array().unwrap()) {
        assert!((one["after"].as_f64().unwrap() - other["before"].as_f64().unwrap()).abs() < 1e-5);
    }
    let error = fails(dir.path(), &["what-if", "last", "toyworld", "--id", "tr-0001", "--delete", "zebra"]);
    assert!(error.contains("no word of the rationale or the question"), "{error}");
    assert!(fails(dir.path(), &["what-if", "last", "toyworld", "--id", "tr-0001"]).contains("--shuffle"));
}

/// A tokenizer of single bytes: whatever is not ASCII falls into parts of characters.
fn bytes() -> Tokenizer {
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut next = 256;
    let mut vocabulary = BTreeMap::new();
    for byte in 0..256u32 {
        let letter = if printable(byte) { byte } else { next + u32::from(!printable(byte)) - 1 };
        next += u32::from(!printable(byte));
        vocabulary.insert(char::from_u32(letter).unwrap().to_string(), byte);
    }
    vocabulary.insert("<eos>".into(), 256);
    let whole = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [{"id": 256, "content": "<eos>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false},
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), whole.to_string()).unwrap();
    Tokenizer::from_file(file.path(), Specials { eos: 256, ..Specials::default() }).unwrap()
}

/// A project with odd rows, and a fresh student that reads bytes.
fn odd() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("datasets/odd");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("dataset.yaml"), "name: odd\ntemplate: {label: text}\nsplits: {train: train.jsonl}\n")
        .unwrap();
    let row = |id: &str, question: &str, choice: &str, rationale: Value| {
        json!({"id": id, "question": question, "choices": [{"label": "A", "text": choice}, {"label": "B", "text": "no"}], "answer": "A",
            "rationale": rationale})
        .to_string()
    };
    let rows = [
        row("empty", "why ?", "yes", json!("")),
        row("none", "why ?", "yes", Value::Null),
        row("one", "why ?", "yes", json!("x")),
        row("cjk", "鯨は何処に住む？", "海", json!("鯨は海に住む。鰓はない。")),
        row("rtl", "איפה חי לוויתן?", "ים", json!("הלוויתן חי בים .")),
        row("emoji", "which ?", "👩‍🔬 lab", json!("👩‍🔬 works in a lab \u{1b}[2J .")),
        row("label", "where ?", "a bank vault by the river", json!("money is kept there .")),
        row("long", "how long ?", "very", json!("word ".repeat(810))),
    ];
    fs::write(folder.join("train.jsonl"), rows.join("\n") + "\n").unwrap();
    let architecture = Architecture::gpt2(257, 4400, 16, 2, 2, 32);
    let student = Student::fresh(architecture, bytes(), 0, &Device::Cpu).unwrap();
    let to = dir.path().join("student");
    fs::create_dir(&to).unwrap();
    student.save(&to).unwrap();
    dir
}

#[test]
fn odd_rows_are_attributed_or_refused_in_words() {
    let dir = odd();
    let attribute = |id: &'static str, more: &[&'static str]| -> Vec<&'static str> {
        ["attribute", "student", "odd", "--id", id].into_iter().chain(more.iter().copied()).collect()
    };
    for id in ["empty", "none"] {
        assert!(fails(dir.path(), &attribute(id, &[])).contains("no rationale to attribute to"), "{id}");
        let whole = asked(dir.path(), &attribute(id, &["--over", "prompt"]));
        assert!(whole["converged"].as_bool().unwrap());
    }
    for id in ["one", "cjk", "rtl", "emoji", "label"] {
        for method in ["integrated-gradients", "occlusion", "leave-one-out"] {
            let found = asked(dir.path(), &attribute(id, &["--method", method, "--unit", "word"]));
            let tokens = found["tokens"].as_array().unwrap();
            assert!(
                tokens.iter().any(|token| token["role"] == "rationale" && token["score"].is_number()),
                "{id} {method}"
            );
        }
        let text = says(dir.path(), &attribute(id, &["--by", "word"]));
        assert!(!text.contains('\u{1b}'), "{text:?}");
        for format in ["text", "html", "svg"] {
            let written = says(dir.path(), &attribute(id, &["--format", format, "--steps", "2", "--most-steps", "2"]));
            assert_eq!(afterthought::text::first_unsafe(&written, true), None, "{id} {format}");
            assert!(!written.contains("NaN"), "{id} {format}");
        }
    }
    // Words of whole characters, though each token is a part of one.
    let words = asked(dir.path(), &attribute("rtl", &[]));
    assert!(words["words"].as_array().unwrap().len() > 4);
    let changed = asked(dir.path(), &["what-if", "student", "odd", "--id", "label", "--delete", "money"]);
    assert_eq!(changed["rationale"], "is kept there .");
    // Of labels of several tokens the choices are as probable as an evaluation finds them.
    let arguments = "evaluate student --dataset odd --split train --set rationale.placement=pre --set evaluation.rationale=teacher \
         --set evaluation.answer=likelihood --each --json";
    let lines = says(dir.path(), &arguments.split_whitespace().collect::<Vec<_>>());
    let rows = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let row = rows.into_iter().find(|row| row["id"] == "label").expect("asked");
    let likelihoods: Vec<f64> =
        row["choices"].as_array().unwrap().iter().map(|own| own["log_likelihood"].as_f64().unwrap()).collect();
    let sum: f64 = likelihoods.iter().map(|own| own.exp()).sum();
    for (choice, likelihood) in changed["choices"].as_array().unwrap().iter().zip(&likelihoods) {
        let want = likelihood.exp() / sum;
        assert!((choice["before"].as_f64().unwrap() / want - 1.0).abs() < 1e-4, "{choice}: {want}");
    }
    // A part of a character can be taken out and looked at, and is no text to keep.
    let base = asked(dir.path(), &attribute("cjk", &[]));
    let place = base["tokens"].as_array().unwrap().iter().position(|token| token["role"] == "rationale").unwrap() + 1;
    let part = format!("@{}", place + 1);
    let half = asked(dir.path(), &["what-if", "student", "odd", "--id", "cjk", "--delete", &part]);
    assert!(half["rationale"].is_null() && half["choices"][0]["after"].is_number());
}

#[test]
fn thousands_of_tokens_are_attributed_within_bounds() {
    let dir = odd();
    let long = ["attribute", "student", "odd", "--id", "long", "--steps", "2", "--most-steps", "2"];
    let found = asked(dir.path(), &long);
    let scored = found["tokens"].as_array().unwrap().iter().filter(|token| token["score"].is_number()).count();
    assert!(scored > 4000, "{scored}");
    let changed = asked(dir.path(), &["what-if", "student", "odd", "--id", "long", "--delete", "word"]);
    assert!(changed["choices"][0]["after"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_student_that_is_no_number_is_named() {
    let dir = odd();
    let path = dir.path().join("student/model.safetensors");
    let spoil = |part: &str, by: f64| {
        let mut weights = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        let name = weights.keys().find(|name| name.ends_with(part)).unwrap().clone();
        let broken = (&weights[&name] * by).unwrap();
        weights.insert(name, broken);
        candle_core::safetensors::save(&weights, &path).unwrap();
    };
    // Numbers so large that what is computed from them is none.
    spoil("ln_f.weight", 3e38);
    for method in ["integrated-gradients", "gradient-norm", "occlusion", "attention"] {
        let error = fails(dir.path(), &["attribute", "student", "odd", "--id", "one", "--method", method]);
        assert!(error.contains("its weights are broken"), "{method}: {error}");
    }
    let error = fails(dir.path(), &["what-if", "student", "odd", "--id", "one", "--delete", "x"]);
    assert!(error.contains("its weights are broken"), "{error}");
    let error = fails(dir.path(), &["faithfulness", "student", "odd", "--split", "train"]);
    assert!(error.contains("its weights are broken"), "{error}");
    // What is no number on the disk already is refused with the file.
    spoil("wte.weight", f64::NAN);
    let error = fails(dir.path(), &["attribute", "student", "odd", "--id", "one"]);
    assert!(error.contains("model.safetensors") && error.contains("NaN"), "{error}");
}
