//! `afterthought data export`.

use std::ffi::OsStr;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::super::Context;
use super::super::output::{STANDARD_OUTPUT, Shown, Usage, say};
use super::{grouped, one_of};
use crate::corpus::edits::DEFAULT_SOURCE;
use crate::corpus::export::{ExportFormat, export};
use crate::corpus::formats::bytes::Compression;
use crate::corpus::{CorpusError, Split};
use crate::files::{self, FileError};

const EXAMPLES: &str = "\
Edits are in the rows that are written. A table has the choices in the columns A, B, C … and can
be imported again.

Examples:
  afterthought data export toyworld --split train --to train.jsonl
  afterthought data export toyworld --split test --to test.csv.gz
  afterthought data export commonsenseqa --split train --source cos-e --to - | head";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The data set
    name: String,
    /// The split to write
    #[arg(long)]
    split: String,
    /// The file to write, compressed where it ends in .gz or .zst; - for standard output
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// What to write, where the file's name doesn't tell
    #[arg(long, value_parser = one_of::<ExportFormat>(ExportFormat::ALL.map(|(name, _)| name)))]
    format: Option<ExportFormat>,
    /// The rationale source: default for the rows' own, or a file under rationales/
    #[arg(long, default_value = DEFAULT_SOURCE)]
    source: String,
    /// Overwrite the file if there is one
    #[arg(long)]
    replace: bool,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<()> {
    let split = context.catalog().open(&arguments.name)?.split(&arguments.split)?;
    let name = arguments.to.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let to_output = arguments.to == Path::new("-");
    let format = match arguments.format.or_else(|| ExportFormat::by_ending(name)) {
        Some(format) => format,
        None if to_output => ExportFormat::Jsonl,
        None => return Err(Usage(format!("say with --format what to write to {}", arguments.to.display())).into()),
    };
    // Rows on a terminal are their own progress, and a bar would be drawn between them.
    let bar = match to_output && io::stdout().is_terminal() {
        true => ProgressBar::hidden(),
        false => context.progress("exporting", split.count().rows as u64),
    };
    let mut advance = |rows: u64| {
        bar.set_length(bar.length().unwrap_or(0).max(rows));
        bar.set_position(rows);
    };
    if to_output {
        let to = Path::new(STANDARD_OUTPUT);
        let stdout = io::stdout().lock();
        let is_shown = stdout.is_terminal() && format != ExportFormat::Jsonl;
        // A table has no way to write what a terminal would obey; a file or a pipe gets it as it is.
        let out: Box<dyn Write> = if is_shown { Box::new(Shown::new(stdout)) } else { Box::new(stdout) };
        let mut out = BufWriter::with_capacity(1 << 16, out);
        let written = export(&split, &arguments.source, format, &mut out, to, &mut advance);
        bar.finish_and_clear();
        let flush = |_| out.flush().map_err(|error| FileError::on("write", to)(error).into());
        return match written.and_then(flush) {
            // The reader has seen enough.
            Err(CorpusError::File(error)) if error.source.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
            result => Ok(result?),
        };
    }
    if arguments.to.exists() && !arguments.replace {
        anyhow::bail!("{} exists · name another file or overwrite it with --replace", arguments.to.display());
    }
    let rows = to_file(&arguments, &split, format, Compression::by_ending(name).0, &mut advance)?;
    bar.finish_and_clear();
    if context.json {
        return context.print_json(&json!({"file": arguments.to, "rows": rows}));
    }
    say(&format!("{} rows written to {}", grouped(rows), arguments.to.display()));
    Ok(())
}

/// Writes the whole file or none of it.
fn to_file(
    arguments: &Arguments,
    split: &Split,
    format: ExportFormat,
    compression: Compression,
    advance: &mut dyn FnMut(u64),
) -> Result<usize, CorpusError> {
    let mut rows = Ok(0);
    let replaced = files::replace(&arguments.to, |out| {
        let mut write = |out: &mut dyn Write| {
            rows = export(split, &arguments.source, format, out, &arguments.to, advance);
            if rows.is_ok() { Ok(()) } else { Err(ErrorKind::Other.into()) }
        };
        match compression {
            Compression::None => write(out),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
                write(&mut encoder)?;
                encoder.finish().map(drop)
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                write(&mut encoder)?;
                encoder.finish().map(drop)
            }
        }
    });
    let rows = rows?;
    replaced?;
    Ok(rows)
}
