//! `afterthought attribute`: which tokens a student's answer rests on.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use clap::Args;
use serde_json::json;

use super::asked::{AskedArgs, UnitArg};
use super::exported::{Document, ExportArgs, Format};
use super::output::{Context, device, say};
use super::settings::find_example;
use crate::attribution::compare::{Pair, compare};
use crate::attribution::export::{self, Shown};
use crate::attribution::ranking::Ranking;
use crate::attribution::{Asked, ExampleAttribution, Target as Wanted};
use crate::corpus::Example;
use crate::rationale::Placement;
use crate::rationale::recipe::Unit;
use crate::runs::attributions::{Question, once};
use crate::runs::preview::Target;
use crate::runs::scorer::TrainedRun;
use crate::runs::{load_split, prepare};
use crate::student::ops::Ops;

const EXAMPLES: &str = "\
Examples:
  afterthought attribute last toyworld --id tr-0003
  afterthought attribute last toyworld --id tr-0003 --target contrast --unit word
  afterthought attribute last toyworld --split validation --json
  afterthought attribute last@best toyworld --id tr-0003 --against 20261120-pre
  afterthought attribute 20261120-pre toyworld --id tr-0003 --method occlusion --unit sentence --over prompt
  afterthought attribute last toyworld --id tr-0003 --format text
  afterthought attribute last toyworld --id tr-0003 --over prompt --format svg --out figure.svg
  afterthought attribute last toyworld --split validation --format html --out attributions.html
  afterthought attribute last toyworld --split validation --format inseq --out attributions.json

A split's scores are stored with the run. Work that was ended goes on where it was.";

#[derive(Args)]
#[command(after_help = EXAMPLES, group(clap::ArgGroup::new("examples").required(true)))]
pub struct AttributeArgs {
    /// A run's id (or `last`) or one of its checkpoints (RUN@best, RUN@STEP), a checkpoint folder, or a student folder
    run: String,
    dataset: String,
    /// One example
    #[arg(long, group = "examples")]
    id: Option<String>,
    /// Every example of a split; stored with the run
    #[arg(long, group = "examples")]
    split: Option<String>,
    /// Whose rationales are read; those of the run when left out
    #[arg(long)]
    source: Option<String>,
    #[command(flatten)]
    asked: AskedArgs,
    /// Another run or checkpoint, asked the same: both, and the difference
    #[arg(long, value_name = "RUN", conflicts_with = "split")]
    against: Option<String>,
    /// What gets one score; with --json all three are there
    #[arg(long, value_enum)]
    by: Option<UnitArg>,
    /// Sizes in place of signed scores
    #[arg(long)]
    absolute: bool,
    /// Scores whose sizes sum to 1
    #[arg(long)]
    normalise: bool,
    /// Words of a split that were scored fewer times are left out of its ranking
    #[arg(long, default_value_t = 1)]
    least: usize,
    #[command(flatten)]
    export: ExportArgs,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// The form of the student's operations; that of the run when left out
    #[arg(long, value_enum)]
    ops: Option<Ops>,
}

/// A student that is asked.
struct Looked {
    target: Target,
    student: TrainedRun,
    source: String,
    free: Option<u64>,
}

impl AttributeArgs {
    fn look(&self, wanted: &str, context: &Context) -> anyhow::Result<Looked> {
        let target = Target::find(&context.project, wanted)?;
        let mut spec = target.spec()?;
        spec.training.ops = self.ops.unwrap_or(spec.training.ops);
        let device = device(&self.device)?;
        let student = target.load(&spec, &context.catalog().open(&self.dataset)?, &device)?;
        let source = self.source.clone().unwrap_or(spec.rationale.source);
        Ok(Looked { target, student, source, free: prepare::free_memory(&device) })
    }

    fn view(&self, found: ExampleAttribution) -> ExampleAttribution {
        found.rescaled(self.absolute, self.normalise)
    }
}

impl Looked {
    fn attribute(&self, example: &Example, asked: &Asked) -> anyhow::Result<ExampleAttribution> {
        let renderer = self.student.reading(&self.source);
        Ok(self.student.attributor(&renderer, asked, self.free).one(example)?)
    }

    fn name(&self) -> String {
        match &self.target {
            Target::Run { run, checkpoint } => {
                format!("{} {}", run.id(), checkpoint.file_name().unwrap_or_default().to_string_lossy())
            }
            Target::Folder(folder) => folder.display().to_string(),
        }
    }
}

pub fn run(args: AttributeArgs, context: &Context) -> anyhow::Result<()> {
    crate::training::tune_allocator();
    let asked = args.asked.asked()?;
    let format = args.export.format(args.by, context)?;
    let own = args.look(&args.run, context)?;
    let dataset = context.catalog().open(&args.dataset)?;
    let reads_first = matches!(asked.target, Wanted::Label | Wanted::Choice(_) | Wanted::Contrast);
    if reads_first && own.student.spec.rationale.placement != Placement::Pre {
        say("this student never read a rationale before its label: a `pre` run or a reader tells more");
    }
    if let Some(id) = &args.id {
        let (_, _, example) = find_example(&dataset, None, id, &own.source)?;
        let found = args.view(own.attribute(&example, &asked)?);
        let mut shown = vec![Shown { student: own.name(), found }];
        if let Some(other) = &args.against {
            let other = args.look(other, context)?;
            let (_, _, example) = find_example(&dataset, None, id, &other.source)?;
            let found = args.view(other.attribute(&example, &asked)?);
            shown.push(Shown { student: other.name(), found });
        }
        let document = match (format, shown.as_slice()) {
            (Format::Json, [one, other]) => {
                let difference = compare(&one.found, &other.found, Unit::Word);
                Document::Json(json!({"one": one.found, "other": other.found, "difference": difference}))
            }
            (Format::Json, [one]) => Document::One(Box::new(one.found.clone())),
            (Format::List, [one, other]) => Document::Text(list_both(one, other, &args)),
            (Format::List, [one]) => Document::Text(list(&one.found, &args)),
            _ => args.export.document(format, &shown, args.by)?,
        };
        return args.export.write(&document, format, context);
    }

    let split = load_split(&dataset, args.split.as_deref().unwrap_or_default(), &own.source)?;
    let bar = context.progress("attributing", split.examples.len() as u64);
    let Looked { target, student, source, free } = &own;
    let question = Question { trained: student, dataset: &dataset, split: &split, source, asked: &asked, free: *free };
    let mut summary = Summary::default();
    // What is streamed or summed up is not kept.
    let mut shown = Vec::new();
    let name = own.name();
    let mut each = |found: Option<ExampleAttribution>| -> anyhow::Result<()> {
        bar.inc(1);
        let Some(found) = found else {
            summary.left_out += 1;
            return Ok(());
        };
        let found = args.view(found);
        summary.add(&found);
        match format {
            Format::Json if args.export.streams(format) => context.print_json_line(&found)?,
            Format::List => {}
            _ => shown.push(Shown { student: name.clone(), found }),
        }
        Ok(())
    };
    let mut trouble = None;
    let mut go_on = |told: anyhow::Result<()>| match told {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            trouble = Some(error);
            ControlFlow::Break(())
        }
    };
    if let Target::Run { .. } = target {
        question.answer(&mut once, &mut |place, line| {
            let told = question.tell(&split.examples[place], line).map_err(anyhow::Error::from);
            go_on(told.and_then(&mut each))
        })?;
    } else {
        let renderer = student.reading(source);
        student.attributor(&renderer, &asked, *free).all(&split.examples, &mut |_, found| {
            go_on(match found {
                Ok(found) => each(Some(found)),
                Err(error) if error.is_about_the_example() => each(None),
                Err(error) => Err(error.into()),
            })
        });
    }
    bar.finish_and_clear();
    if let Some(error) = trouble {
        return Err(error);
    }
    if summary.left_out > 0 {
        say(&format!(
            "{} examples have no rationale or no answer, or are too long, and were left out",
            summary.left_out
        ));
    }
    if !args.export.streams(format) {
        let document = match format {
            Format::Json => Document::Lines(shown.into_iter().map(|shown| shown.found).collect()),
            Format::List => Document::Text(summary.text(args.least)),
            _ => args.export.document(format, &shown, args.by)?,
        };
        args.export.write(&document, format, context)?;
    }
    if let Target::Run { .. } = target {
        say(&format!("stored: {}", question.path().display()));
    }
    Ok(())
}

/// What is told of a split.
#[derive(Default)]
struct Summary {
    ranking: Ranking,
    examples: usize,
    left_out: usize,
    /// The largest convergence delta, and how many are larger than they should be.
    worst: Option<f64>,
    coarse: usize,
}

impl Summary {
    fn add(&mut self, found: &ExampleAttribution) {
        self.examples += 1;
        self.ranking.add(found);
        self.coarse += usize::from(found.converged == Some(false));
        let delta = found.convergence_delta.map(f64::abs);
        self.worst = delta.map_or(self.worst, |delta| Some(self.worst.map_or(delta, |worst| worst.max(delta))));
    }

    /// The words that carry most, by their mean.
    fn text(&self, least: usize) -> String {
        let mut text = format!("{} examples", self.examples);
        if let Some(worst) = self.worst {
            let _ = write!(text, ", largest convergence delta {worst:.1e}");
        }
        if self.coarse > 0 {
            let _ = write!(text, ", {} larger than it should be", self.coarse);
        }
        text.push_str("\n    mean  seen  word\n");
        for word in self.ranking.ranked(least).iter().take(20) {
            let _ = writeln!(text, "{:>+8.4} {:>5}  {}", word.mean, word.count, crate::text::line(&word.word));
        }
        text
    }
}

/// What stands above the scores of an example.
fn heading(found: &ExampleAttribution) -> String {
    let caution = found.caution.as_ref().map_or_else(String::new, |caution| format!("\n{caution}"));
    export::heading(found) + &caution
}

/// One example as text: the tokens with their scores.
fn list(found: &ExampleAttribution, args: &AttributeArgs) -> String {
    let mut text = heading(found) + "\n";
    let unit = args.by.map_or(Unit::Token, UnitArg::unit);
    for token in found.units(unit) {
        if let Some(score) = token.score {
            let _ = writeln!(text, "{score:>+9.4}  {}", crate::text::line(&token.text));
        }
    }
    text
}

/// Two students' scores of one example beside each other, and the difference.
fn list_both(one: &Shown, other: &Shown, args: &AttributeArgs) -> String {
    let [first, second] = [one, other].map(|shown| format!("{}: {}", shown.student, heading(&shown.found)));
    let mut text = format!("1 {first}\n2 {second}\n");
    let unit = args.by.map_or(Unit::Word, UnitArg::unit);
    match compare(&one.found, &other.found, unit) {
        Some(pairs) => {
            let _ = writeln!(text, "{:>9} {:>9} {:>9}", "1", "2", "2 less 1");
            for Pair { text: word, one, other } in pairs {
                let _ = writeln!(text, "{one:>+9.4} {other:>+9.4} {:>+9.4}  {}", other - one, crate::text::line(&word));
            }
        }
        None => text
            .push_str("the two were asked about different things, or read this example as different words, and can't stand beside each other\n"),
    }
    text
}
