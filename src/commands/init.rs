//! `afterthought init`: a project folder.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{Context, print};
use crate::files;
use crate::runs::RunSpec;
use crate::studies::SHIPPED;

const EXAMPLES: &str = "\
Examples:
  afterthought init
  afterthought init my-study && cd my-study && afterthought";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct InitArgs {
    /// The folder to make; this one when left out
    dir: Option<PathBuf>,
}

pub fn run(args: InitArgs, context: &Context) -> anyhow::Result<()> {
    let dir = args.dir.unwrap_or_else(|| context.project.clone());
    let made = make_project(&dir)?;
    if context.json {
        return context.print_json(&serde_json::json!({"project": dir, "made": made}));
    }
    let shown = dir.display().to_string();
    let shown = crate::text::line(&shown);
    if made.is_empty() {
        return print(&format!("{shown} is a project already; nothing was changed\n"));
    }
    print(&format!(
        "{shown} is a project now ({})\nnext: `afterthought -C {shown}` opens the workbench on the built-in toy world\n",
        made.join(", "),
    ))
}

/// Makes what a project lacks and gives the names of it.
pub fn make_project(dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut made = Vec::new();
    for folder in ["datasets", "runs", "themes"] {
        let path = dir.join(folder);
        if !path.is_dir() {
            files::create_dir(&path)?;
            made.push(format!("{folder}/"));
        }
    }
    let studies = dir.join("studies");
    if !studies.is_dir() {
        files::create_dir(&studies)?;
        for (name, text) in SHIPPED {
            files::replace(&studies.join(format!("{name}.yaml")), |out| out.write_all(text.as_bytes()))?;
        }
        made.push("studies/".into());
    }
    let run = dir.join("run.yaml");
    if !run.exists() {
        // Every default is there to be changed.
        let text = format!("# afterthought train run.yaml\n{}", RunSpec::preset("toy").to_yaml());
        files::replace(&run, |out| out.write_all(text.as_bytes()))?;
        made.push("run.yaml".into());
    }
    Ok(made)
}
