//! `afterthought` without a command: the workbench.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::output::{Context, Usage};
use crate::workbench::demo::Script;
use crate::workbench::display::{Forced, Glyphs, Notify};
use crate::workbench::terminal::line::Place;
use crate::workbench::theme::Colours;
use crate::workbench::{self, Options};

#[derive(Args, Default)]
#[command(next_help_heading = "Workbench")]
pub struct WorkbenchArgs {
    /// Colours by meaning: auto (as light or dark as the terminal), dark, light, mono, colour-blind, or a file in themes/
    #[arg(long, value_name = "NAME")]
    theme: Option<String>,
    /// The data set that is opened first
    #[arg(long = "open", value_name = "DATASET")]
    dataset: Option<String>,
    /// How many colours the terminal has; found from its environment when left out
    #[arg(long, value_enum, alias = "colors", hide_possible_values = true, value_name = "none|16|256|true")]
    colours: Option<Colours>,
    /// The signs that its font has
    #[arg(long, value_enum, hide_possible_values = true, value_name = "braille|blocks|ascii")]
    glyphs: Option<Glyphs>,
    /// Whether it is sent little (ssh) or at once (local)
    #[arg(long, value_enum, hide_possible_values = true, value_name = "local|ssh")]
    line: Option<Place>,
    /// Frames a second at most, of what changes by itself
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u16).range(1..=240))]
    frame_rate: Option<u16>,
    /// Leave the mouse to the terminal
    #[arg(long)]
    no_mouse: bool,
    /// Tell that a run has ended: off, bell, or desktop (OSC 9)
    #[arg(long, value_enum, hide_possible_values = true, value_name = "off|bell|desktop")]
    notify: Option<Notify>,
    /// Begin anew, and not where the last workbench was
    #[arg(long)]
    fresh: bool,
    /// Record the session in this new file; `afterthought replay` shows it again
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

impl WorkbenchArgs {
    /// What they ask of a workbench on a project.
    pub fn options(self, project: PathBuf, demo: Option<Script>) -> Options {
        let display = Forced {
            colours: self.colours,
            glyphs: self.glyphs,
            line: self.line,
            frame_rate: self.frame_rate,
            mouse: self.no_mouse.then_some(false),
            notify: self.notify,
        };
        let Self { theme, dataset, record, fresh, .. } = self;
        Options { project, theme, dataset, display, record, is_fresh: fresh, demo }
    }
}

/// Opens the workbench on the project.
pub fn run(context: &Context, args: WorkbenchArgs) -> anyhow::Result<()> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(
            Usage("the workbench needs a terminal; `afterthought --help` lists what works without one".into()).into()
        );
    }
    workbench::run(args.options(context.project.clone(), None))
}
