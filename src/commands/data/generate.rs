//! `afterthought data generate`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::super::Context;
use super::super::output::{Usage, print};
use crate::corpus::CorpusError;
use crate::corpus::import::{ImportError, check_name};
use crate::corpus::staging::Staging;
use crate::corpus::toyworld::World;
use crate::text;

pub const EXAMPLES: &str = "\
Examples:
  afterthought data generate toyworld --seed 1
  afterthought data generate toyworld --seed 1 --noise 0.5 --as toyworld-half";

#[derive(Subcommand)]
pub enum GenerateCommand {
    /// A world of made-up nouns in which rationales really help
    Toyworld(Toyworld),
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Toyworld {
    /// Which world: the same seed gives the same one on every machine
    #[arg(long, default_value_t = World::TYPICAL)]
    seed: u64,
    /// The probability with which the teacher errs, from 0 to 1
    #[arg(long, default_value_t = 0.0)]
    noise: f64,
    /// The name of the data set
    #[arg(long = "as", value_name = "NAME", default_value = "toyworld")]
    name: String,
    /// Put it in the place of the data set of that name; its edits are kept
    #[arg(long)]
    replace: bool,
}

pub fn run(command: GenerateCommand, context: &Context) -> anyhow::Result<()> {
    let GenerateCommand::Toyworld(arguments) = command;
    if !(0.0..=1.0).contains(&arguments.noise) {
        return Err(Usage(format!("--noise is a probability from 0 to 1, not {}", arguments.noise)).into());
    }
    let world = World { seed: arguments.seed, noise: arguments.noise };
    let name = arguments.name;
    let rows = write(context, world, &name, arguments.replace)?;
    if context.json {
        return context.print_json(&json!({"dataset": name, "splits": rows}));
    }
    let rows: Vec<String> = rows.iter().map(|(split, rows)| format!("{split} {rows}")).collect();
    print(&format!("{}: {}\n", text::line(&name), rows.join(", ")))
}

/// Writes the world as a data set, whole or not at all. Gives the rows of its splits.
fn write(
    context: &Context,
    world: World,
    name: &str,
    replace: bool,
) -> Result<serde_json::Map<String, serde_json::Value>, CorpusError> {
    check_name(name)?;
    let home = context.catalog().folder().to_owned();
    let target = home.join(name);
    if target.exists() && !replace {
        return Err(ImportError::Exists { name: name.into() }.into());
    }
    let staging = Staging::begin(&home)?;
    let (meta, generated) = (world.meta(name), world.generate());
    let mut rows = serde_json::Map::new();
    for split in meta.splits.keys() {
        let examples = generated.split(split).unwrap_or_default();
        let mut lines = staging.lines(&format!("{split}.jsonl"))?;
        examples.iter().try_for_each(|example| lines.write(example))?;
        lines.finish()?;
        rows.insert(split.clone(), examples.len().into());
    }
    staging.meta(&meta)?;
    if target.exists() {
        staging.carry_over(&target, |file| file == ".cache")?;
        staging.replace(name)?;
    } else {
        staging.publish(name)?;
    }
    Ok(rows)
}
