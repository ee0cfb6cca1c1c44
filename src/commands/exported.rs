//! What `afterthought attribute` writes, and where to: for people, for scripts, for papers and for Inseq.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::asked::UnitArg;
use super::output::{Context, Usage, print};
use crate::attribution::ExampleAttribution;
use crate::attribution::export::{Shown, figure, inseq, page, running};
use crate::files;
use crate::rationale::recipe::Unit;
use crate::text;

/// Columns of running text when nothing else is asked for.
const TEXT: usize = 80;

/// Columns of a figure: in a column of a paper, 8 cm wide, its letters are of 8 points.
const FIGURE: usize = 48;

#[derive(Args)]
pub struct ExportArgs {
    /// What is written; with --json alone it is json
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The file to write; standard output when left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Columns of text (80 when left out) or of svg (48, which is readable in a column of a paper)
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(20..=1000))]
    width: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One score a line; of a split, the words that carry most
    List,
    /// Running text with marks for how strong each token is
    Text,
    /// All that is known; of a split, a line for each example
    Json,
    /// JSON for Inseq's FeatureAttributionOutput.load
    Inseq,
    /// A page that needs nothing else
    Html,
    /// A figure
    Svg,
}

/// What is written.
pub enum Document {
    Text(String),
    Json(Value),
    /// An example; as a [`Value`], its scores would get digits that they don't have.
    One(Box<ExampleAttribution>),
    /// An example on each line.
    Lines(Vec<ExampleAttribution>),
}

impl ExportArgs {
    /// The form that was asked for; wrong usage where it does not fit.
    pub fn format(&self, by: Option<UnitArg>, context: &Context) -> Result<Format, Usage> {
        let format = self.format.unwrap_or(if context.json { Format::Json } else { Format::List });
        if self.width.is_some() && !matches!(format, Format::Text | Format::Svg) {
            return Err(Usage("--width is a setting of --format text and svg".into()));
        }
        if format == Format::Inseq && by.is_some_and(|by| by.unit() != Unit::Token) {
            return Err(Usage("Inseq puts tokens together by itself · leave --by out".into()));
        }
        if self.file().is_some_and(Path::is_dir) {
            return Err(Usage("--out is a folder · name a file in it".into()));
        }
        // A split may take hours, which a name that can't be written must not cost.
        if let Some(folder) =
            self.file().and_then(Path::parent).filter(|own| !own.as_os_str().is_empty() && !own.is_dir())
        {
            let folder = text::line(&folder.display().to_string()).into_owned();
            return Err(Usage(format!("--out: there is no folder {folder} · make it first")));
        }
        Ok(format)
    }

    /// Whether a split's lines are printed as they come.
    pub fn streams(&self, format: Format) -> bool {
        format == Format::Json && self.file().is_none()
    }

    fn file(&self) -> Option<&Path> {
        self.out.as_deref().filter(|path| path.as_os_str() != OsStr::new("-"))
    }

    /// Examples in a form that holds them all.
    pub fn document(&self, format: Format, shown: &[Shown], by: Option<UnitArg>) -> anyhow::Result<Document> {
        let unit = by.map_or(Unit::Token, UnitArg::unit);
        let columns = |usual| self.width.map_or(usual, usize::from);
        Ok(match format {
            Format::Inseq => Document::Json(inseq(shown)?),
            Format::Html => Document::Text(page(shown, unit)),
            Format::Svg => Document::Text(figure(shown, unit, columns(FIGURE))),
            Format::List | Format::Text | Format::Json => Document::Text(running(shown, unit, columns(TEXT))),
        })
    }

    /// Prints a document, or puts it into the file and tells its name.
    pub fn write(&self, document: &Document, format: Format, context: &Context) -> anyhow::Result<()> {
        let Some(path) = self.file() else {
            return match document {
                // What is no JSON itself is a string in one.
                Document::Text(text) if context.json => context.print_json(&json!({"text": text})),
                Document::Text(text) => print(text),
                Document::Json(value) => context.print_json(value),
                Document::One(found) => context.print_json(found),
                Document::Lines(lines) => lines.iter().try_for_each(|line| context.print_json_line(line)),
            };
        };
        let text = match document {
            Document::Text(text) => text.clone(),
            Document::Json(value) => serde_json::to_string(value)? + "\n",
            Document::One(found) => serde_json::to_string_pretty(found)? + "\n",
            Document::Lines(lines) => {
                let lines = lines.iter().map(|line| Ok(serde_json::to_string(line)? + "\n"));
                lines.collect::<serde_json::Result<String>>()?
            }
        };
        let is_json = !matches!(document, Document::Text(_));
        let text = if is_json { text::escape_json(&text) } else { text.into() };
        files::replace(path, |out| out.write_all(text.as_bytes()))?;
        if context.json {
            let format = format.to_possible_value().map(|value| value.get_name().to_owned());
            return context.print_json(&json!({"output": path, "format": format}));
        }
        print(&format!("{}\n", text::line(&path.display().to_string())))
    }
}
