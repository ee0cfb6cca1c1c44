//! Tables for a paper, in the manner of the package booktabs.

use super::{Report, columns};
use crate::text;

pub fn tables(report: &Report) -> String {
    let mut out = String::from("% \\usepackage{booktabs}; compile with a Unicode engine, or with inputenc's utf8.\n");
    for section in &report.table.sections {
        out.push_str("\\begin{table}\n\\centering\n\\begin{tabular}{lrrlrrlrl}\n\\toprule\n");
        out.push_str(
            "condition & runs & accuracy & 95\\,\\% & unparsable & cut & to the baseline & $p$ (Holm) & verdict \\\\\n\\midrule\n",
        );
        for row in &section.rows {
            let cells = columns(row, section);
            let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
            out.push_str(&format!("{} \\\\\n", cells.join(" & ")));
        }
        let margin = report.table.margin * 100.0;
        out.push_str("\\bottomrule\n\\end{tabular}\n");
        out.push_str(&format!(
            "\\caption{{{} on {}, {}. Mean and standard deviation over seeds; Wilson's interval for the examples of one run; \
             differences with a bootstrap of seeds and examples; margin of equivalence {margin} points; {} comparisons \
             adjusted after Holm.}}\n\\end{{table}}\n\n",
            escaped(&section.student),
            escaped(&section.dataset),
            escaped(&section.split),
            report.table.comparisons
        ));
    }
    out
}

/// Text that means itself.
fn escaped(raw: &str) -> String {
    let mut out = String::new();
    for c in text::line(raw).chars() {
        match c {
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '±' => out.push_str("$\\pm$"),
            '−' => out.push_str("$-$"),
            '–' => out.push_str("--"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}
