//! One page that needs nothing else: no script, no font, no request. Light and dark as the reader's system is.

use std::fmt::Write as _;

use super::super::StudyError;
use super::super::table::{Row, Section};
use super::{Report, columns, p_value, plots, points, reading};
use crate::text;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1b1b;--paper:#fff;--dim:#5c5c5c;--line:#d0d0d0;--link:#0b5a8a}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--paper:#16181a;--dim:#a2a2a2;--line:#3c4043;--link:#7cc0ee}}\
body{background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem}\
a{color:var(--link)}table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}\
.wide{overflow-x:auto}th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
td.n,th.n{text-align:right;white-space:nowrap}td.key{white-space:nowrap}.dim{color:var(--dim)}pre{overflow-x:auto;border:1px solid var(--line);padding:.8rem}\
code{overflow-wrap:anywhere}svg{max-width:100%;height:auto;display:block;margin:1rem 0}\
svg text{fill:var(--ink)}svg [stroke=\"#010101\"]{stroke:var(--dim)}";

pub fn page(report: &Report) -> Result<String, StudyError> {
    let table = &report.table;
    let mut out = String::new();
    let name = escaped(&table.study);
    out.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // Whatever a name may contain, nothing is fetched and nothing runs.
    out.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    put(&mut out, format_args!("<title>{name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n"));
    put(&mut out, format_args!("<p>{}</p>\n", escaped(&table.description)));
    let finished: usize = table.sections.iter().flat_map(|section| &section.rows).map(|row| row.finished).sum();
    let all = table.runs().count();
    put(
        &mut out,
        format_args!(
            "<p class=\"dim\">{finished} of {all} runs are finished. Written by afterthought {}.</p>\n",
            report.version
        ),
    );
    for section in &table.sections {
        write_section(&mut out, report, section)?;
    }
    out.push_str("<h2>How to read this</h2>\n");
    for sentence in reading(table) {
        put(&mut out, format_args!("<p>{}</p>\n", escaped(&sentence)));
    }
    write_protocol(&mut out, report);
    write_runs(&mut out, report);
    out.push_str("</body>\n</html>\n");
    Ok(out)
}

fn write_section(out: &mut String, report: &Report, section: &Section) -> Result<(), StudyError> {
    let [dataset, student, split] = [&section.dataset, &section.student, &section.split].map(|name| escaped(name));
    put(out, format_args!("<h2>{student} on {dataset}, {split}</h2>\n"));
    out.push_str(&plots::accuracies(section)?);
    if let Some(plot) = plots::differences(section, report.table.margin) {
        out.push_str(&plot?);
    }
    out.push_str("\n<div class=\"wide\"><table>\n<thead><tr><th>condition</th><th class=\"n\">accuracy</th>");
    out.push_str("<th>95 %, examples</th><th class=\"n\">unparsable</th><th class=\"n\">cut</th><th>each run</th>");
    out.push_str("<th>to the baseline</th><th class=\"n\">p, Holm</th><th>what it says</th></tr></thead>\n<tbody>\n");
    for row in &section.rows {
        write_row(out, report, section, row);
    }
    out.push_str("</tbody></table></div>\n");
    Ok(())
}

fn write_row(out: &mut String, report: &Report, section: &Section, row: &Row) {
    let [condition, count, accuracy, interval, unparsable, cut, difference, p, says] = columns(row, section);
    let runs: Vec<String> = row
        .runs
        .iter()
        .map(|run| {
            let shown = run.accuracy.map_or_else(|| run.state.clone(), points);
            let shown = escaped(&shown);
            match run.run.as_deref().and_then(|id| report.folder(id)) {
                // The folder itself, which has all that the number came from.
                Some(folder) => {
                    let mcnemar = run.mcnemar.map_or_else(String::new, |p| format!(", McNemar p {}", p_value(p)));
                    let title = escaped(&format!("{}{mcnemar}", run.cell));
                    format!("<a href=\"{}/\" title=\"{title}\">{shown}</a>", link(folder))
                }
                None => format!("<span class=\"dim\">{shown}</span>"),
            }
        })
        .collect();
    let count =
        if count.contains("of") { format!(" <span class=\"dim\">({count} runs)</span>") } else { String::new() };
    put(
        out,
        format_args!(
            "<tr><td>{}</td><td class=\"n\">{}{count}</td><td class=\"key\">{}</td><td class=\"n\">{unparsable}</td>\
             <td class=\"n\">{cut}</td><td>{}</td><td class=\"key\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
            escaped(&condition),
            accuracy,
            interval,
            runs.join(" "),
            difference,
            escaped(&p),
            escaped(&says)
        ),
    );
}

fn write_protocol(out: &mut String, report: &Report) {
    out.push_str("<h2>Protocol</h2>\n<p>Settings that differ between cells:</p>\n<div class=\"wide\"><table><tbody>\n");
    for (key, values) in &report.varied {
        put(
            out,
            format_args!(
                "<tr><td class=\"key\"><code>{}</code></td><td>{}</td></tr>\n",
                escaped(key),
                escaped(&values.join(" · "))
            ),
        );
    }
    out.push_str("</tbody></table></div>\n<details><summary>Settings that all cells share</summary>\n<table><tbody>\n");
    for (key, value) in &report.shared {
        put(
            out,
            format_args!("<tr><td class=\"key\"><code>{}</code></td><td>{}</td></tr>\n", escaped(key), escaped(value)),
        );
    }
    out.push_str("</tbody></table></details>\n<details><summary>The study's file</summary>\n");
    put(out, format_args!("<pre>{}</pre></details>\n", escaped_lines(&report.source)));
}

fn write_runs(out: &mut String, report: &Report) {
    out.push_str("<h2>Data</h2>\n<p>SHA-256 of the rows as they were read, edits applied:</p>\n<div class=\"wide\"><table><tbody>\n");
    for ((dataset, split), hashes) in &report.data {
        let note = if hashes.len() > 1 { " (they differ between runs, by source or by edits)" } else { "" };
        let hashes: Vec<String> = hashes.iter().map(|hash| format!("<code>{}</code>", escaped(hash))).collect();
        let name = escaped(&format!("{dataset}/{split}"));
        put(out, format_args!("<tr><td>{name}</td><td>{}{note}</td></tr>\n", hashes.join("<br>")));
    }
    out.push_str(
        "</tbody></table></div>\n<h2>Runs</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>cell</th><th>run</th>",
    );
    out.push_str("<th>state</th><th class=\"n\">accuracy</th><th>identity</th><th>version</th><th>device</th></tr></thead>\n<tbody>\n");
    for run in &report.runs {
        let link = link(&run.folder);
        put(
            out,
            format_args!(
                "<tr><td>{}</td><td><a href=\"{link}/\">{}</a></td><td>{}</td><td class=\"n\">{}</td>\
                 <td><code>{}</code></td><td>{}</td><td>{}</td></tr>\n",
                escaped(&run.cell),
                escaped(&run.id),
                escaped(&run.state),
                run.accuracy.map_or_else(|| "–".into(), points),
                escaped(&run.identity[..run.identity.len().min(16)]),
                escaped(&run.version),
                escaped(&run.device)
            ),
        );
    }
    out.push_str("</tbody></table></div>\n");
}

fn put(out: &mut String, text: std::fmt::Arguments) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
}

/// Text that means itself, in an element or in a quoted attribute.
fn escaped(raw: &str) -> String {
    text::escape_markup(&text::line(raw))
}

fn escaped_lines(raw: &str) -> String {
    text::escape_markup(&text::visible(raw))
}

/// A path as a link: what is no plain letter is written as its bytes, and it can't name a scheme.
fn link(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => out.push(byte.into()),
            byte => put(&mut out, format_args!("%{byte:02X}")),
        }
    }
    out
}
