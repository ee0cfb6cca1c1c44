//! `afterthought` without a command: the workbench.

use std::io::IsTerminal;
use std::path::PathBuf;

use super::output::{Context, Usage};
use crate::workbench;

/// Opens the workbench on the project.
pub fn run(
    context: &Context,
    theme: Option<String>,
    dataset: Option<String>,
    record: Option<PathBuf>,
) -> anyhow::Result<()> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(
            Usage("the workbench needs a terminal; `afterthought --help` lists what works without one".into()).into()
        );
    }
    workbench::run(workbench::Options { project: context.project.clone(), theme, dataset, record, demo: None })
}
