//! `afterthought attribute`: which tokens a student's answer rests on.

use std::io::Write as _;

use clap::{Args, ValueEnum};

use super::output::{Context, Usage, device, print, say};
use super::settings::find_example;
use crate::attribution::example::STEPS;
use crate::attribution::{ExampleAttribution, IntegratedGradients, Over, attribute};
use crate::files;
use crate::rationale::Role;
use crate::rationale::recipe::Baseline;
use crate::runs::load_split;
use crate::runs::preview::Target;
use crate::student::ops::Ops;

const EXAMPLES: &str = "\
Examples:
  afterthought attribute last toyworld --id tr-0003
  afterthought attribute last toyworld --split validation --json
  afterthought attribute 20261120-pre toyworld --id tr-0003 --over prompt --baseline zero";

#[derive(Args)]
#[command(after_help = EXAMPLES, group(clap::ArgGroup::new("examples").required(true)))]
pub struct AttributeArgs {
    /// A run's id (or `last`) or one of its checkpoints (RUN@best, RUN@STEP), a checkpoint folder, or a student folder
    target: String,
    dataset: String,
    /// One example
    #[arg(long, group = "examples")]
    id: Option<String>,
    /// Every example of a split; stored with the run
    #[arg(long, group = "examples")]
    split: Option<String>,
    /// Steps of the integral
    #[arg(long, default_value_t = STEPS)]
    steps: usize,
    /// Where the path begins
    #[arg(long, value_enum, default_value_t = BaselineArg::Mean)]
    baseline: BaselineArg,
    /// Which tokens the path moves
    #[arg(long, value_enum, default_value_t = OverArg::Rationale)]
    over: OverArg,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// The form of the student's operations; that of the run when left out
    #[arg(long, value_enum)]
    ops: Option<Ops>,
}

#[derive(Clone, Copy, ValueEnum)]
enum BaselineArg {
    /// Zero vectors
    Zero,
    /// The vector of the end token
    Pad,
    /// The mean of all word vectors
    Mean,
}

#[derive(Clone, Copy, ValueEnum)]
enum OverArg {
    /// The rationale's; the question is held
    Rationale,
    /// Everything before the label
    Prompt,
}

pub fn run(args: AttributeArgs, context: &Context) -> anyhow::Result<()> {
    if args.steps == 0 {
        return Err(Usage("--steps must be above 0".into()).into());
    }
    let target = Target::find(&context.project, &args.target)?;
    let mut spec = target.spec()?;
    spec.training.ops = args.ops.unwrap_or(spec.training.ops);
    let dataset = context.catalog().open(&args.dataset)?;
    let student = target.load(&spec, &dataset, &device(&args.device)?)?;
    let baseline = match args.baseline {
        BaselineArg::Zero => Baseline::Zero,
        BaselineArg::Pad => Baseline::Pad,
        BaselineArg::Mean => Baseline::Mean,
    };
    let over = match args.over {
        OverArg::Rationale => Over::Rationale,
        OverArg::Prompt => Over::Prompt,
    };
    let renderer = student.reading(&spec.rationale.source);
    let method = IntegratedGradients::new(args.steps, baseline, renderer.tokenizer.specials.eos);
    let one = |example| attribute(&student.decoder, &renderer, example, &method, over);

    if let Some(id) = &args.id {
        let (_, _, example) = find_example(&dataset, None, id, &spec.rationale.source)?;
        let found = one(&example)?;
        return if context.json { context.print_json(&found) } else { show(&found) };
    }
    let split = args.split.unwrap_or_default();
    let loaded = load_split(&dataset, &split, &spec.rationale.source)?;
    let bar = context.progress("attributing", loaded.examples.len() as u64);
    let mut all = Vec::new();
    let mut skipped = 0;
    for example in &loaded.examples {
        match one(example) {
            Ok(found) => {
                if context.json {
                    context.print_json_line(&found)?;
                }
                all.push(found);
            }
            Err(_) if !example.has_rationale() || example.gold().is_none() => skipped += 1,
            Err(error) => return Err(error.into()),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if skipped > 0 {
        say(&format!("{skipped} examples have no rationale or no answer and were left out"));
    }
    // Before they are stored, so that they are seen where the run's folder can't be written.
    if !context.json {
        summary(&all)?;
    }
    if let Target::Run { run, .. } = &target {
        let over = if over == Over::Prompt { "prompt" } else { "rationale" };
        let name = format!("{}.{split}.{over}.{}.{}-steps.jsonl", dataset.name(), baseline.name(), args.steps);
        let path = run.attributions().join(name);
        files::create_dir(&run.attributions())?;
        files::replace(&path, |out| {
            for found in &all {
                serde_json::to_writer(&mut *out, found)?;
                out.write_all(b"\n")?;
            }
            Ok(())
        })?;
        say(&format!("stored: {}", path.display()));
    }
    Ok(())
}

/// One example as text: the tokens with their scores.
fn show(found: &ExampleAttribution) -> anyhow::Result<()> {
    let mut text = Vec::new();
    writeln!(
        text,
        "{} of log p({}) = {:.4}, from {:.4} at the {} baseline; convergence delta {:.1e}",
        found.method,
        crate::text::line(&found.target),
        found.log_p,
        found.log_p_baseline,
        found.baseline.name(),
        found.convergence_delta
    )?;
    for token in found.tokens.iter().filter(|token| token.score.is_some()) {
        writeln!(text, "{:>+9.4}  {}", token.score.unwrap_or(0.0), crate::text::line(&token.text))?;
    }
    print(&String::from_utf8_lossy(&text))
}

/// The words of a split that carry most, by their mean.
fn summary(all: &[ExampleAttribution]) -> anyhow::Result<()> {
    let mut words: std::collections::HashMap<String, (f64, usize)> = Default::default();
    for word in all.iter().flat_map(|found| &found.words).filter(|word| word.role == Role::Rationale) {
        let sum = words.entry(word.text.trim().to_owned()).or_default();
        sum.0 += f64::from(word.score.unwrap_or(0.0));
        sum.1 += 1;
    }
    let mut ranked: Vec<(String, f64, usize)> =
        words.into_iter().map(|(word, (sum, count))| (word, sum / count as f64, count)).collect();
    ranked.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    let worst = all.iter().map(|found| found.convergence_delta.abs()).fold(0.0, f64::max);
    let mut text = format!("{} examples, largest convergence delta {worst:.1e}\n    mean  seen  word\n", all.len());
    for (word, mean, count) in ranked.iter().take(20) {
        text.push_str(&format!("{mean:>+8.4} {count:>5}  {}\n", crate::text::line(word)));
    }
    print(&text)
}
