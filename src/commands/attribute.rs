//! `afterthought attribute`: which tokens a student's answer rests on.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use clap::Args;

use super::asked::{AskedArgs, UnitArg};
use super::output::{Context, device, print, say};
use super::settings::find_example;
use crate::attribution::compare::{Pair, compare};
use crate::attribution::ranking::Ranking;
use crate::attribution::{Asked, ExampleAttribution};
use crate::corpus::Example;
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
    /// What one line is; with --json all three are there
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
    let own = args.look(&args.run, context)?;
    let dataset = context.catalog().open(&args.dataset)?;
    if let Some(id) = &args.id {
        let (_, _, example) = find_example(&dataset, None, id, &own.source)?;
        let found = args.view(own.attribute(&example, &asked)?);
        let Some(other) = &args.against else {
            return if context.json { context.print_json(&found) } else { show(&found, &args) };
        };
        let other = args.look(other, context)?;
        let (_, _, example) = find_example(&dataset, None, id, &other.source)?;
        let against = args.view(other.attribute(&example, &asked)?);
        return if context.json {
            context.print_json(&serde_json::json!({"one": found, "other": against}))
        } else {
            show_both((&own.name(), &found), (&other.name(), &against), &args)
        };
    }

    let split = load_split(&dataset, args.split.as_deref().unwrap_or_default(), &own.source)?;
    let bar = context.progress("attributing", split.examples.len() as u64);
    let Looked { target, student, source, free } = &own;
    let question = Question { trained: student, dataset: &dataset, split: &split, source, asked: &asked, free: *free };
    let mut summary = Summary::default();
    let mut each = |found: Option<ExampleAttribution>| -> anyhow::Result<()> {
        bar.inc(1);
        let Some(found) = found else {
            summary.left_out += 1;
            return Ok(());
        };
        let found = args.view(found);
        summary.add(&found);
        if context.json { context.print_json_line(&found) } else { Ok(()) }
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
    if !context.json {
        print(&summary.text(args.least))?;
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
    let mut text = format!("{} of log p({}) = {:.4}", found.method, crate::text::line(&found.target), found.log_p);
    if let (Some(from), Some(baseline)) = (found.log_p_baseline, found.baseline) {
        let _ = write!(text, ", from {from:.4} at the {} baseline", baseline.name());
    }
    if let (Some(delta), Some(steps)) = (found.convergence_delta, found.steps) {
        let mark = if found.converged == Some(false) { "! " } else { "" };
        let _ = write!(text, "; {mark}convergence delta {delta:.1e} after {steps} steps");
    }
    if let Some(caution) = &found.caution {
        let _ = write!(text, "\n{caution}");
    }
    text
}

/// One example as text: the tokens with their scores.
fn show(found: &ExampleAttribution, args: &AttributeArgs) -> anyhow::Result<()> {
    let mut text = heading(found) + "\n";
    let unit = args.by.map_or(Unit::Token, UnitArg::unit);
    for token in found.units(unit) {
        if let Some(score) = token.score {
            let _ = writeln!(text, "{score:>+9.4}  {}", crate::text::line(&token.text));
        }
    }
    print(&text)
}

/// Two students' scores of one example beside each other, and the difference.
fn show_both(
    one: (&str, &ExampleAttribution),
    other: (&str, &ExampleAttribution),
    args: &AttributeArgs,
) -> anyhow::Result<()> {
    let mut text = format!("1 {}: {}\n2 {}: {}\n", one.0, heading(one.1), other.0, heading(other.1));
    let unit = args.by.map_or(Unit::Word, UnitArg::unit);
    match compare(one.1, other.1, unit) {
        Some(pairs) => {
            let _ = writeln!(text, "{:>9} {:>9} {:>9}", "1", "2", "2 less 1");
            for Pair { text: word, one, other } in pairs {
                let _ = writeln!(text, "{one:>+9.4} {other:>+9.4} {:>+9.4}  {}", other - one, crate::text::line(&word));
            }
        }
        None => text
            .push_str("the two students read this example as different words, which can't stand beside each other\n"),
    }
    print(&text)
}
