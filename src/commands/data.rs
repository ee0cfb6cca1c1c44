//! `afterthought data …`: the corpus from the command line.

use clap::Subcommand;

use super::Context;

#[derive(Subcommand)]
pub enum DataCommand {
    /// The data sets of this project
    List,
}

pub fn run(command: DataCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        DataCommand::List => list(context),
    }
}

fn list(context: &Context) -> anyhow::Result<()> {
    let names = context.catalog().names();
    if context.json { context.print_json(&names) } else { super::output::print(&(names.join("\n") + "\n")) }
}
