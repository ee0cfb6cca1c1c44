//! `afterthought keys`: the keys of the workbench, and what is wrong with a keymap.

use clap::Args;
use serde_json::json;

use super::output::{Context, print};
use crate::text;
use crate::workbench::command::ALL;
use crate::workbench::keymap::{DEFAULTS, Keymap, file};

/// The keys of the workbench, and what is wrong with keymap.yaml
#[derive(Args)]
#[command(
    after_help = "Examples:\n  afterthought keys                              all keys and the names of all commands\n  afterthought keys --defaults > keymap.yaml     a file to change\n  afterthought keys --json | jq '.commands[].run'"
)]
pub struct KeysArgs {
    /// Print the default keymap, to begin one's own with
    #[arg(long)]
    defaults: bool,
}

pub fn run(args: &KeysArgs, context: &Context) -> anyhow::Result<()> {
    if args.defaults {
        return print(DEFAULTS);
    }
    let (keymap, problems) = Keymap::load(&context.project);
    let keys: Vec<_> = keymap.bindings().collect();
    if context.json {
        let bindings: Vec<_> = keys
            .iter()
            .map(|(binding, command)| {
                json!({"place": binding.place, "on": binding.label, "run": command, "desc": binding.does()})
            })
            .collect();
        let commands: Vec<_> =
            ALL.iter().map(|about| json!({"run": about.command, "name": about.name, "desc": about.does})).collect();
        context.print_json(&json!({"bindings": bindings, "commands": commands, "problems": problems}))?;
    } else {
        let mut out = String::new();
        for about in ALL {
            let own: Vec<String> = keys
                .iter()
                .filter(|(_, command)| *command == about.command)
                .map(|(binding, _)| format!("{} ({})", binding.label, binding.place.name()))
                .collect();
            let run: &str = about.command.into();
            out.push_str(&format!("{run:<20} {:<58} {}\n", text::line(about.does), own.join(" ")));
        }
        let files: Vec<String> = file::paths(&context.project).iter().map(|path| path.display().to_string()).collect();
        out.push_str(&format!("\nchanged by {}\n", files.join(", then ")));
        print(&out)?;
    }
    anyhow::ensure!(problems.is_empty(), problems.join("\n"));
    Ok(())
}
