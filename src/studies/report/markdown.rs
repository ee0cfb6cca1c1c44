//! The report for a repository or a notebook.

use super::{Report, columns, reading};
use crate::text;

pub fn document(report: &Report) -> String {
    let table = &report.table;
    let mut out = format!("# {}\n\n{}\n", escaped(&table.study), escaped(&table.description));
    for section in &table.sections {
        let [dataset, student, split] = [&section.dataset, &section.student, &section.split].map(|name| escaped(name));
        out.push_str(&format!("\n## {student} on {dataset}, {split}\n\n"));
        out.push_str("| condition | runs | accuracy | 95 %, examples | unparsable | cut | to the baseline | p, Holm | what it says |\n");
        out.push_str("|---|---:|---:|---|---:|---:|---|---:|---|\n");
        for row in &section.rows {
            // The others are numbers of ours.
            let mut cells = columns(row, section);
            for place in [0, 7, 8] {
                cells[place] = escaped(&cells[place]);
            }
            out.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
    }
    out.push('\n');
    for sentence in reading(table) {
        out.push_str(&format!("{sentence}\n\n"));
    }
    out.push_str("## Protocol\n\n| setting | values |\n|---|---|\n");
    for (key, values) in &report.varied {
        out.push_str(&format!("| {} | {} |\n", escaped(key), escaped(&values.join(" · "))));
    }
    for (key, value) in &report.shared {
        out.push_str(&format!("| {} | {} |\n", escaped(key), escaped(value)));
    }
    out.push_str("\n## Runs\n\n| cell | run | state | identity | version |\n|---|---|---|---|---|\n");
    for run in &report.runs {
        let folder: String = run.folder.replace(' ', "%20").replace(['(', ')', '<', '>'], "_");
        out.push_str(&format!(
            "| {} | [{}]({}/) | {} | {} | {} |\n",
            escaped(&run.cell),
            escaped(&run.id),
            folder,
            escaped(&run.state),
            &run.identity[..run.identity.len().min(16)],
            escaped(&run.version)
        ));
    }
    out.push_str("\nSHA-256 of the rows as they were read:\n\n");
    for ((dataset, split), hashes) in &report.data {
        out.push_str(&format!("- {}: {}\n", escaped(&format!("{dataset}/{split}")), hashes.join(", ")));
    }
    out
}

/// Text that means itself: no table's bar, no mark and no HTML.
fn escaped(raw: &str) -> String {
    let mut out = String::new();
    for c in text::line(raw).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
