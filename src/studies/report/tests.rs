//! Every form of the report over the same hostile study.

use super::*;
use crate::journal::MaterialEvent;
use crate::studies::grid::BEFORE;
use crate::studies::{Cell, finished};

const HOSTILE: &str = "=<script>alert(1)</script>|a_b & 50% ${x}\\e";

fn text() -> String {
    format!(
        "description: \"a <b>study</b>\"
conditions:
  none: {{rationale.placement: none}}
  \"{HOSTILE}\": {{}}
  late: {{training.steps: 900}}
seeds: [0, 1]
baseline: none
margin: 2"
    )
}

const EXAMPLES: usize = 300;

/// A finished run of a cell, some of whose rationales were cut and some of whose answers were none.
fn finish(project: &Path, cell: &Cell, right: &dyn Fn(usize) -> bool) {
    let material =
        MaterialEvent { split: "train".into(), examples: 960, truncated: 48, without_rationale: 0, skipped: 0 };
    finished::finish(project, &cell.spec, (EXAMPLES, 3), Some(material), right);
}

/// A project with a study whose condition `late` has not run yet.
fn project() -> (tempfile::TempDir, Study) {
    let dir = tempfile::tempdir().unwrap();
    let study = Study::parse(&text(), Path::new("studies/mine.yaml")).unwrap();
    let cells = study.cells().unwrap();
    for cell in study.untrained(&cells).iter().chain(&cells) {
        match cell.condition.as_str() {
            BEFORE => finish(dir.path(), cell, &|number| number % 5 == 0),
            "none" => finish(dir.path(), cell, &|number| number % 10 < 6),
            "late" => {}
            _ => finish(dir.path(), cell, &|number| number % 10 < 8),
        }
    }
    (dir, study)
}

fn written(format: Format) -> String {
    let (dir, study) = project();
    Report::gather(&study, dir.path(), &dir.path().join("studies")).unwrap().write(format).unwrap()
}

#[test]
fn rows_have_their_numbers_and_what_they_allow_to_be_said() {
    let (dir, study) = project();
    let table = study.table(dir.path()).unwrap();
    let rows = &table.sections[0].rows;
    let names: Vec<_> = rows.iter().map(|row| row.condition.as_str()).collect();
    let hostile = HOSTILE.replace("\\e", "\u{1b}");
    assert_eq!(names, ["majority class", BEFORE, "none", &hostile, "late"]);
    assert!(rows[0].accuracy.is_some_and(|share| share > 0.15 && share < 0.4), "{:?}", rows[0]);
    assert_eq!((rows[1].accuracy, rows[2].accuracy, rows[3].accuracy), (Some(0.2), Some(0.6), Some(0.8)));
    assert_eq!((rows[3].deviation, rows[3].finished, rows[3].examples), (Some(0.0), 2, EXAMPLES));
    assert_eq!((rows[3].unparsable, rows[3].truncated), (Some(0.01), Some(0.05)));
    let (low, high) = rows[3].interval.unwrap();
    assert!(low > 0.74 && low < 0.8 && high < 0.85, "one run's examples, however many runs: {low} {high}");
    let against = rows[3].against.as_ref().unwrap();
    assert_eq!((against.baseline.as_str(), against.says.as_str()), ("none", "better"));
    assert!((against.difference - 0.2).abs() < 1e-9);
    assert!(rows[3].runs.iter().all(|run| run.mcnemar.is_some_and(|p| p < 1e-9)));
    assert!(rows[4].accuracy.is_none() && rows[4].runs.iter().all(|run| run.state == "would run"));
    assert_eq!(table.comparisons, 1);
}

#[test]
fn the_page_needs_nothing_else_and_shows_hostile_names() {
    let page = written(Format::Html);
    assert!(!page.contains("<script") && !page.contains("<b>"), "names are text");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;|a_b &amp; 50% ${x}"));
    assert!(!page.contains('\u{1b}'));
    let addresses: Vec<&str> = page.match_indices("http").map(|(at, _)| &page[at..(at + 26).min(page.len())]).collect();
    let known = |address: &&str| address.starts_with("http://www.w3.org/2000/svg") || address.starts_with("http-equiv");
    assert!(addresses.iter().all(known), "{addresses:?}");
    assert!(!page.contains("src=") && !page.contains("@import") && !page.contains("url("));
    assert_eq!(page.matches("<svg ").count(), 2);
    assert_eq!(page.matches("<svg ").count(), page.matches("</svg>").count());
    assert!(page.contains("Content-Security-Policy") && page.contains("prefers-color-scheme:dark"));
}

#[test]
fn every_number_leads_to_its_run() {
    let (dir, study) = project();
    let folder = dir.path().join("studies");
    let report = Report::gather(&study, dir.path(), &folder).unwrap();
    let page = report.write(Format::Html).unwrap();
    for run in &report.runs {
        assert!(page.contains(&format!("<a href=\"../runs/{}/\"", run.id)), "{}", run.id);
        assert!(dir.path().join("runs").join(&run.id).is_dir());
        assert!(page.contains(&run.identity[..16]));
    }
    assert_eq!(report.runs.len(), 6);
    assert_eq!(page, report.write(Format::Html).unwrap(), "the same report twice");
    assert!(page.contains("<code>rationale.placement</code></td><td>none · post"), "the protocol says what differs");
}

/// Places of a sign that stand for themselves.
fn unescaped(line: &str, sign: char) -> usize {
    let mut before = ' ';
    line.chars().filter(|c| std::mem::replace(&mut before, *c) != '\\' && *c == sign).count()
}

#[test]
fn markdown_keeps_its_columns() {
    let text = written(Format::Markdown);
    let table: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("| condition"))
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(table.len(), 2 + 5);
    assert!(table.iter().all(|line| unescaped(line, '|') == 10), "{table:#?}");
    assert!(!text.contains("<script") && text.contains("+20.0 ["), "{text}");
    assert!(text.contains("](../runs/"), "{text}");
}

#[test]
fn csv_has_every_digit_and_no_formula() {
    let text = written(Format::Csv);
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|other| other == name).unwrap();
    let rows: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 5);
    assert!(rows[3][column("condition")].starts_with("'=<script>"), "{:?}", rows[3]);
    assert_eq!(&rows[3][column("accuracy")], "0.8");
    assert_eq!(&rows[3][column("verdict")], "better");
    assert_eq!(rows[3][column("runs")].split(' ').count(), 2);
    assert_eq!((&rows[4][column("runs_finished")], &rows[4][column("accuracy")]), ("0", ""));
}

#[test]
fn latex_keeps_its_columns_and_runs_no_command() {
    let text = written(Format::Latex);
    let rows: Vec<&str> = text.lines().filter(|line| line.ends_with("\\\\")).collect();
    assert_eq!(rows.len(), 1 + 5);
    assert!(rows.iter().all(|line| unescaped(line, '&') == 8), "{rows:#?}");
    assert_eq!(unescaped(&text, '{'), unescaped(&text, '}'));
    assert!(text.contains("a\\_b \\& 50\\% \\$\\{x\\}"), "{text}");
}

#[test]
fn links_lead_from_where_the_report_lies() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("runs/one");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
    assert_eq!(relative(dir.path(), &run), "runs/one");
    assert_eq!(relative(&dir.path().join("a/b"), &run), "../../runs/one");
}
