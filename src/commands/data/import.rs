//! `afterthought data import`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::super::Context;
use super::super::output::{Usage, print, say};
use super::{grouped, one_of};
use crate::corpus::formats::Format;
use crate::corpus::formats::choices::AnswerIs;
use crate::corpus::formats::mapping::Mapping;
use crate::corpus::formats::records::Kind;
use crate::corpus::import::{Event, Input, Request, Skipped, Summary, import};
use crate::files::FileError;
use crate::text;

const EXAMPLES: &str = "\
Formats:
  commonsenseqa   CommonsenseQA (train_rand_split.jsonl …), also as the hub has it
  openbookqa      OpenBookQA, Main and Additional; the facts are the rationales, and a source `fact1`
  quarel          QuaRel, and MaRIO's edition of it
  step-by-step    the CommonsenseQA files of Distilling Step-by-Step
  cos-e           explanations for a data set that is there, joined by id
  rationales      any rationales for a data set that is there, joined by id (fields through --map)
  mapping         any other file (fields through --map)

A field that isn't mapped is read from the file's field of the same name. A path is written a.b,
a[0], a[*].b or a.*, a constant in quotes. Fields of questions: id, question, choices, labels,
answer, rationale, rationale_source; of rationales: id, rationale, rationale_source, sample,
teacher_answer. A row without an id gets one, such as train-000001. Fields that nothing is
mapped to are kept as they are; --drop-others leaves them out.

Files may be JSONL, JSON, CSV, TSV or Parquet, plain or compressed with gzip or zstd.

Ends with 0 where every split got a row, and with 1, having imported nothing, otherwise.

Examples:
  afterthought data import --format commonsenseqa --as commonsenseqa \\
      --split train=train_rand_split.jsonl --split validation=dev_rand_split.jsonl
  afterthought data import --format cos-e --as commonsenseqa \
      --split train=cose_train_v1.11.jsonl
  afterthought data import --format mapping --as mine --split train=rows.csv.gz \\
      --map question=stem --map choices=opt1,opt2,opt3 --map answer=gold --answer-is index1
  afterthought data import --format mapping --as mine --split train=rows.json \\
      --map question=question.stem --map 'choices=question.choices[*].text' --map answer=answerKey
  afterthought data import --format rationales --as mine --source llama --split llama.jsonl \
      --map rationale=output";

/// Rows that can't be taken are shown up to this number, and kept for `--json` up to the other.
const SHOWN: usize = 20;
const KEPT: usize = 100_000;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// What the files are
    #[arg(long, value_parser = one_of::<Format>(Format::names()))]
    format: Format,
    /// A split and its file, - for standard input; for rationales, FILE alone means questions of any split
    #[arg(long = "split", value_name = "SPLIT=FILE", required = true)]
    splits: Vec<String>,
    /// The data set to make, or to add to
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// Where a field is found in the file's rows
    #[arg(long = "map", value_name = "FIELD=PATH")]
    maps: Vec<String>,
    /// Leave out the fields that nothing is mapped to
    #[arg(long)]
    drop_others: bool,
    /// What happens anyway; scripts may still say it
    #[arg(long, hide = true, conflicts_with = "drop_others")]
    keep: bool,
    /// How the file names the right choice
    #[arg(long, value_name = "HOW", value_parser = one_of::<AnswerIs>(AnswerIs::ALL.map(|(name, _)| name)))]
    answer_is: Option<AnswerIs>,
    /// The name of the rationale source (cos-e and rationales)
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The licence of the data, where the format doesn't tell
    #[arg(long)]
    licence: Option<String>,
    /// What the files hold, where their names don't tell
    #[arg(long, value_parser = one_of::<Kind>(Kind::ALL.map(|(name, _)| name)))]
    file_kind: Option<Kind>,
    /// Put the new one in the place of the old; edits and rationale sources that only the old one has are kept
    #[arg(long)]
    replace: bool,
    /// Add splits, or rationales, to a data set that is there
    #[arg(long)]
    add: bool,
    /// Import nothing unless every row can be taken
    #[arg(long)]
    strict: bool,
    /// Write every row that could not be taken to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Serialize)]
struct Imported {
    #[serde(flatten)]
    summary: Summary,
    problems: Vec<Skipped>,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<()> {
    let request = request(&arguments).map_err(Usage)?;
    let mut report = arguments.report.as_ref().map(Report::create).transpose()?;
    let bar = context.progress("importing", 0);
    let mut skipped: Vec<Skipped> = Vec::new();
    let mut count = 0;
    let result = import(&context.catalog(), &request, &mut |event| {
        match event {
            Event::Progress { read, total } => {
                bar.set_length(total);
                bar.set_position(read);
            }
            Event::Skipped(row) => {
                count += 1;
                if count <= SHOWN {
                    bar.suspend(|| say(&row.to_string()));
                }
                if let Some(report) = &mut report {
                    report.write(&row)?;
                }
                if skipped.len() < KEPT {
                    skipped.push(row);
                }
            }
            Event::Read => {
                if let Some(report) = &mut report {
                    report.finish()?;
                }
            }
        }
        Ok(())
    });
    bar.finish_and_clear();
    // An import that ended early has a report too, of what it had read by then.
    if let (Err(_), Some(report)) = (&result, &mut report) {
        let _ = report.finish();
    }
    if count > SHOWN {
        let all = if arguments.report.is_some() { "" } else { " · --report FILE writes all of them" };
        say(&format!("… and {} more rows that could not be taken{all}", grouped(count - SHOWN)));
    }
    let summary = result?;
    summary.notes.iter().for_each(|note| say(&format!("note: {note}")));
    let printed = if context.json {
        context.print_json(&Imported { summary, problems: skipped })
    } else {
        print(&shown(&summary))
    };
    printed.with_context(|| format!("{} was imported, but its summary could not be printed", text::line(&request.name)))
}

fn request(arguments: &Arguments) -> Result<Request, String> {
    let format = arguments.format;
    let mut mapping = Mapping::parse(arguments.maps.iter().map(String::as_str))?;
    let asks_for_mapping =
        !arguments.maps.is_empty() || arguments.keep || arguments.drop_others || arguments.answer_is.is_some();
    if asks_for_mapping && !format.is_mapped() {
        let problem =
            "the fields of this format are known: --map, --drop-others and --answer-is belong to --format mapping";
        return Err(format!("{problem} and rationales, not to {}", format.name()));
    }
    mapping.check(format)?;
    mapping.drop_others = arguments.drop_others;
    mapping.answer_is = arguments.answer_is.unwrap_or_default();
    if arguments.source.is_some() && !format.joins() {
        return Err("--source belongs to --format cos-e and rationales".into());
    }
    if format == Format::Rationales && arguments.source.is_none() {
        return Err("name the rationale source with --source, for example --source llama".into());
    }
    let inputs = arguments.splits.iter().map(|split| input(split, format)).collect::<Result<_, _>>()?;
    Ok(Request {
        name: arguments.name.clone(),
        format,
        inputs,
        kind: arguments.file_kind,
        mapping,
        source: arguments.source.clone(),
        licence: arguments.licence.clone(),
        replace: arguments.replace,
        add: arguments.add,
        strict: arguments.strict,
    })
}

fn input(written: &str, format: Format) -> Result<Input, String> {
    let file = |path: &str| PathBuf::from(if path == "-" { "/dev/stdin" } else { path });
    match written.split_once('=') {
        Some((split, path)) if !split.is_empty() && !path.is_empty() => {
            Ok(Input { split: Some(split.into()), path: file(path) })
        }
        None if format.joins() => Ok(Input { split: None, path: file(written) }),
        _ => Err(format!(
            "`{}` names no split and file · write SPLIT=FILE, such as train=rows.jsonl",
            text::line(written)
        )),
    }
}

fn shown(summary: &Summary) -> String {
    let mut out = format!("{}: {}\n", text::line(&summary.dataset), text::line(&summary.folder.display().to_string()));
    for (split, counts) in &summary.splits {
        let mut parts = Vec::new();
        parts.extend(counts.examples.map(|examples| format!("{} examples", grouped(examples))));
        parts.extend(counts.answers.map(|answers| format!("{} answers", grouped(answers))));
        parts.push(format!("{} rationales", grouped(counts.rationales)));
        if counts.skipped > 0 {
            parts.push(format!("{} rows not taken", grouped(counts.skipped)));
        }
        out.push_str(&format!("  {}: {}\n", text::line(split), parts.join(", ")));
    }
    for (source, rationales) in &summary.sources {
        out.push_str(&format!("  source {}: {} rationales\n", text::line(source), grouped(*rationales)));
    }
    out
}

/// The file of rows that could not be taken. Where it can't be written nothing is imported.
struct Report {
    path: PathBuf,
    out: BufWriter<File>,
}

impl Report {
    fn create(path: &PathBuf) -> Result<Self, FileError> {
        let out = BufWriter::new(File::create(path).map_err(FileError::on("create", path))?);
        Ok(Self { path: path.clone(), out })
    }

    fn write(&mut self, row: &Skipped) -> Result<(), FileError> {
        let written = serde_json::to_writer(&mut self.out, row).map_err(std::io::Error::from);
        written.and_then(|()| self.out.write_all(b"\n")).map_err(FileError::on("write", &self.path))
    }

    fn finish(&mut self) -> Result<(), FileError> {
        self.out.flush().map_err(FileError::on("write", &self.path))
    }
}
