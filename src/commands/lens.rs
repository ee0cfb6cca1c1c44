//! `afterthought lens …`: at which layer, and after which token, a student's answer can be read.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{Context, Interrupted, Usage, device, print, say};
use super::settings::find_example;
use crate::attribution::lens::{Grid, Lens, LensError, Progress, Question, Settings, Share, Table};
use crate::rationale::{RenderError, Role};
use crate::runs::lenses::{self, Material, Wanted, Which};
use crate::runs::preview::Target;
use crate::runs::scorer::TrainedRun;
use crate::runs::{RunError, prepare};
use crate::student::ops::Ops;
use crate::text;
use crate::workbench::widgets::flow::fit;

pub const EXAMPLES: &str = "\
Examples:
  afterthought lens show last toyworld --id va-0003
  afterthought lens train last
  afterthought lens table last toyworld --split validation --lens tuned";

#[derive(Subcommand)]
pub enum LensCommand {
    /// What each layer would say at each token of one example
    #[command(
        after_help = "Examples:\n  afterthought lens show last toyworld --id va-0003\n  afterthought lens show last toyworld --id va-0003 --lens tuned --all\n  afterthought lens show last toyworld --id va-0003 --json | jq .readable"
    )]
    Show(ShowArgs),
    /// Train a tuned lens on a run's student, or one for later tokens; kept with the run
    #[command(
        after_help = "Examples:\n  afterthought lens train last\n  afterthought lens train last@best --ahead 2\n  afterthought lens train last --steps 1000 --split validation --json"
    )]
    Train(TrainArgs),
    /// From which layer on the labels of a split are readable, and how that grows along the rationales
    #[command(
        after_help = "Examples:\n  afterthought lens table last toyworld --split validation\n  afterthought lens table last toyworld --split test --lens tuned --json | jq .layers"
    )]
    Table(TableArgs),
}

#[derive(Args)]
pub struct Through {
    /// A run's id (or `last`) or one of its checkpoints (RUN@best, RUN@STEP), a checkpoint folder, or a student folder
    target: String,
    dataset: String,
    /// logit, tuned, future (the token after the next) or future:K (K tokens after the next)
    #[arg(long, value_name = "LENS", default_value = "logit")]
    lens: Which,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// The form of the student's operations; that of the run when left out
    #[arg(long, value_enum)]
    ops: Option<Ops>,
}

#[derive(Args)]
pub struct ShowArgs {
    #[command(flatten)]
    through: Through,
    /// The example
    #[arg(long)]
    id: String,
    /// Show the question's tokens too
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
pub struct TableArgs {
    #[command(flatten)]
    through: Through,
    /// The examples
    #[arg(long)]
    split: String,
    /// Look at this many examples only
    #[arg(long)]
    limit: Option<usize>,
}

#[derive(Args)]
pub struct TrainArgs {
    /// A run's id (or `last`) or one of its checkpoints (RUN@best, RUN@STEP)
    run: String,
    /// Read so many tokens beyond the next one; 0 is the tuned lens
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=4096))]
    ahead: u32,
    /// Steps of AdamW
    #[arg(long, default_value_t = Settings::default().steps as u32, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// The rows to train on, of the run's data set, as the run was shown them
    #[arg(long, default_value = prepare::TRAIN)]
    split: String,
    /// Sequences of a step
    #[arg(long, default_value_t = Settings::default().batch as u32, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Places of a step, drawn from its sequences
    #[arg(long, default_value_t = Settings::default().places as u32, value_parser = clap::value_parser!(u32).range(1..))]
    places: u32,
    /// It falls in a straight line to 0
    #[arg(long, default_value_t = Settings::default().learning_rate)]
    learning_rate: f64,
    /// Of what is held out and in which order the rest is read
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// The form of the student's operations; that of the run when left out
    #[arg(long, value_enum)]
    ops: Option<Ops>,
}

pub fn run(command: &LensCommand, context: &Context) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    super::study::listen(stop.clone(), Arc::new(AtomicI32::new(0)))?;
    let result = match command {
        LensCommand::Show(args) => show(args, context, &stop),
        LensCommand::Train(args) => train(args, context, &stop),
        LensCommand::Table(args) => table(args, context, &stop),
    };
    match result {
        Err(error)
            if matches!(error.downcast_ref(), Some(RunError::Lens(LensError::Interrupted)))
                || matches!(error.downcast_ref(), Some(LensError::Interrupted)) =>
        {
            say("stopped · nothing was kept");
            Err(Interrupted.into())
        }
        result => result,
    }
}

fn go_on(stop: &AtomicBool) -> ControlFlow<()> {
    if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

impl Through {
    /// The student, the data set's name checked, and the lens on it.
    fn load(&self, context: &Context) -> anyhow::Result<(TrainedRun, crate::corpus::Dataset, Lens)> {
        let target = Target::find(&context.project, &self.target)?;
        let mut spec = target.spec()?;
        spec.training.ops = self.ops.unwrap_or(spec.training.ops);
        let dataset = context.catalog().open(&self.dataset)?;
        let student = target.load(&spec, &dataset, &device(&self.device)?)?;
        if matches!(target, Target::Folder(_)) && self.lens != Which::Logit {
            return Err(Usage("trained lenses are kept with runs, and this is none · --lens logit".into()).into());
        }
        let lens = lenses::load(&student, self.lens)?;
        Ok((student, dataset, lens))
    }
}

fn show(args: &ShowArgs, context: &Context, stop: &AtomicBool) -> anyhow::Result<()> {
    let (student, dataset, lens) = args.through.load(context)?;
    let (split, place, example) = find_example(&dataset, None, &args.id, &student.spec.rationale.source)?;
    let bar = context.progress("reading", 0);
    let mut on_progress = |done: usize, of: usize| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        go_on(stop)
    };
    let grid = lenses::look(&context.project, &student, &lens, (&split, place), &example, &mut on_progress)?;
    bar.finish_and_clear();
    if context.json { context.print_json(&document(&grid)) } else { print(&shown(&grid, args.all, width())) }
}

/// The room for a line: the terminal's, or that of a page where there is no terminal.
fn width() -> usize {
    let terminal = std::io::stdout().is_terminal().then(|| crossterm::terminal::size().ok()).flatten();
    terminal.map_or(100, |(columns, _)| usize::from(columns).max(40))
}

/// The whole grid as JSON.
fn document(grid: &Grid) -> Value {
    let layer = |stream: usize| {
        let cells = (0..grid.tokens.len()).filter_map(|place| grid.cell(stream, place)).map(|cell| {
            let top: Vec<Value> =
                cell.top.iter().map(|(id, p)| json!({"id": id, "token": grid.word(*id), "probability": p})).collect();
            json!({
                "top": top,
                "label_probability": cell.probability,
                "label_rank": cell.rank,
                "label_probability_among_choices": cell.choice_probability,
                "label_rank_among_choices": cell.choice_rank,
            })
        });
        json!({"layer": stream, "cells": cells.collect::<Vec<Value>>()})
    };
    let Question { id, label, label_tokens, gold, shared, place, .. } = &grid.question;
    let tokens = grid.tokens.iter().map(|token| json!({"id": token.id, "text": token.text, "role": token.role}));
    json!({
        "id": id,
        "lens": grid.lens,
        "ahead": grid.ahead,
        "label": label,
        "label_tokens": label_tokens,
        "label_first_token": gold,
        "same_first_token": shared,
        "label_place": place,
        "readable": grid.readable,
        "says": grid.says(),
        "tokens": tokens.collect::<Vec<Value>>(),
        "layers": (0..grid.streams).map(layer).collect::<Vec<Value>>(),
    })
}

/// Columns of a cell: a token, its percentage, a mark and a space.
const CELL: usize = 13;

/// The grid as text: a block of as many tokens as fit after the other, the last layer on top.
fn shown(grid: &Grid, all: bool, width: usize) -> String {
    let Question { id, label, label_tokens, .. } = &grid.question;
    let mut out = format!("{} lens on {}, label `{}`", grid.lens, text::line(id), text::line(label));
    if *label_tokens > 1 {
        out.push_str(&format!(", of whose {label_tokens} tokens the first is looked for"));
    }
    out.push_str(&format!("\n{}\n", text::line(&grid.says())));
    let first = if all { 0 } else { grid.tokens.iter().position(|token| token.role != Role::Prompt).unwrap_or(0) };
    let places: Vec<usize> = (first..grid.tokens.len()).collect();
    let columns = (width.saturating_sub(4) / CELL).max(1);
    for block in places.chunks(columns) {
        out.push_str("\n    ");
        for place in block {
            let token = &grid.tokens[*place];
            let mark = if Some(*place) == grid.question.place { "→" } else { " " };
            out.push_str(&format!("{}{mark}", fit(token.text.trim(), CELL - 1)));
        }
        for stream in (0..grid.streams).rev() {
            let name = if stream == 0 { "emb".into() } else { format!("{stream:>3}") };
            out.push_str(&format!("\n{name} "));
            for place in block {
                let Some(cell) = grid.cell(stream, *place) else { continue };
                let (word, p) = cell.top.first().map_or(("", 0.0), |(id, p)| (grid.word(*id), *p));
                let mark = match (cell.rank, cell.reads_label()) {
                    (1, _) => "◆",
                    (_, true) => "•",
                    _ => " ",
                };
                out.push_str(&format!("{} {:>3.0}{mark} ", fit(word, CELL - 6), p * 100.0));
            }
        }
        out.push('\n');
    }
    let which =
        if grid.ahead == 0 { "the next token".into() } else { format!("the token {} after the next", grid.ahead) };
    out.push_str(&format!(
        "\nemb, 1, 2 …: what the embedding and each layer say {which} is, with its probability in %\n\
         ◆ the label's first token is likeliest  • it is so among the choices  → here the label is written\n"
    ));
    if let Some(place) = grid.question.place {
        out.push_str("\n  layer  label p   rank   among the choices\n");
        for stream in (0..grid.streams).rev() {
            let Some(cell) = grid.cell(stream, place) else { continue };
            out.push_str(&format!(
                "  {:>5}  {:>7.4} {:>6}   {:.4}, rank {}\n",
                if stream == 0 { "emb".into() } else { stream.to_string() },
                cell.probability,
                cell.rank,
                cell.choice_probability,
                cell.choice_rank
            ));
        }
    }
    out
}

fn train(args: &TrainArgs, context: &Context, stop: &AtomicBool) -> anyhow::Result<()> {
    if !(args.learning_rate > 0.0 && args.learning_rate.is_finite()) {
        return Err(Usage("--learning-rate must be above 0".into()).into());
    }
    let target = Target::find(&context.project, &args.run)?;
    if matches!(target, Target::Folder(_)) {
        return Err(Usage("lenses are trained on a run's student and kept with it, and this is no run".into()).into());
    }
    let mut spec = target.spec()?;
    spec.training.ops = args.ops.unwrap_or(spec.training.ops);
    let dataset = context.catalog().open(&spec.dataset)?;
    let student = target.load(&spec, &dataset, &device(&args.device)?)?;
    let settings = Settings {
        ahead: args.ahead as usize,
        steps: args.steps as usize,
        learning_rate: args.learning_rate,
        batch: args.batch_size as usize,
        places: args.places as usize,
        seed: args.seed,
    };
    let bar = context.progress("training the lens", settings.steps as u64);
    let mut on_progress = |progress: &Progress| {
        bar.set_position(progress.step as u64);
        go_on(stop)
    };
    let wanted = Wanted { project: &context.project, dataset: &dataset, split: &args.split, settings };
    let (about, path, skipped) = lenses::train_for(&student, &wanted, &mut on_progress)?;
    bar.finish_and_clear();
    if skipped > 0 {
        say(&format!("{skipped} rows of {} can't be rendered and were left out", args.split));
    }
    say(&format!("kept: {}", path.display()));
    if context.json {
        let mut document = serde_json::to_value(&about)?;
        document["file"] = json!(path);
        return context.print_json(&document);
    }
    let mut out = format!(
        "{} lens of {}, KL to {} in nats on {} held-out sequences ({} places)\n  layer   before    after\n",
        Which::trained(about.ahead).name(),
        about.checkpoint,
        match about.ahead {
            0 => "the end".to_owned(),
            ahead => format!("the end {ahead} tokens later"),
        },
        about.held_out,
        about.measured
    );
    for (stream, (before, after)) in about.before.iter().zip(&about.after).enumerate() {
        let name = if stream == 0 { "emb".into() } else { stream.to_string() };
        out.push_str(&format!("  {name:>5} {before:>8.4} {after:>8.4}\n"));
    }
    print(&out)
}

fn table(args: &TableArgs, context: &Context, stop: &AtomicBool) -> anyhow::Result<()> {
    let (student, dataset, lens) = args.through.load(context)?;
    let material = Material::read(&context.project, &student, &dataset, &args.split, &mut |_, _| {})?;
    let examples = &material.loaded.examples;
    let count = args.limit.unwrap_or(usize::MAX).min(examples.len());
    let bar = context.progress("reading", count as u64);
    let mut found = Table::new(&student.decoder, &lens);
    let mut skipped = 0;
    for (place, example) in examples[..count].iter().enumerate() {
        if go_on(stop).is_break() {
            return Err(LensError::Interrupted.into());
        }
        bar.inc(1);
        let rendered = match material.render(place) {
            Ok(rendered) => rendered,
            Err(error @ RenderError::Student(_)) => return Err(error.into()),
            Err(_) => {
                skipped += 1;
                continue;
            }
        };
        let question = Question::new(&material.renderer, example, &rendered, lens.ahead())?;
        found.add(&student.decoder, &lens, &question, &rendered)?;
    }
    bar.finish_and_clear();
    if context.json {
        let words = found.after_words(usize::MAX);
        let mut document = serde_json::to_value(&found)?;
        document["after_tokens"] =
            words.into_iter().map(|(word, count)| json!({"token": word, "count": count})).collect();
        document["unusable"] = json!(skipped);
        return context.print_json(&document);
    }
    let title = format!("{} on {}/{}", args.through.target, dataset.name(), args.split);
    print(&tabled(&found, &title, skipped))
}

/// The table of a split as text.
fn tabled(found: &Table, title: &str, skipped: usize) -> String {
    let count = found.examples;
    let percent =
        |part: usize| if count == 0 { "–".into() } else { format!("{:.1}", part as f64 * 100.0 / count as f64) };
    let mut out = format!("{} lens, {}, {count} examples\n", found.lens, text::line(title));
    out.push_str(
        "where the label is written, % of the examples\n  layer  readable  stays so  from here  p among the choices\n",
    );
    for (stream, layer) in found.layers.iter().enumerate().rev() {
        out.push_str(&format!(
            "  {:>5}  {:>8}  {:>8}  {:>9}  {:.3}\n",
            if stream == 0 { "emb".into() } else { stream.to_string() },
            percent(layer.readable),
            percent(layer.stays),
            percent(layer.begins),
            layer.probability
        ));
    }
    if found.never > 0 {
        out.push_str(&format!("  {} % are not readable in the end\n", percent(found.never)));
    }
    if found.has_rationales() {
        let place = if found.after_label { "after the label" } else { "before the label" };
        out.push_str(&format!("in the rationale, {place}: % of its places that read the label, by tenths\n  layer "));
        (1..=found.tenths.len()).for_each(|tenth| out.push_str(&format!("{tenth:>5}")));
        for stream in (0..found.layers.len()).rev() {
            out.push_str(&format!("\n  {:>5} ", if stream == 0 { "emb".into() } else { stream.to_string() }));
            for tenth in &found.tenths {
                let share: Share = tenth[stream];
                out.push_str(&share.value().map_or("    –".into(), |share| format!("{:>5.0}", share * 100.0)));
            }
        }
        out.push_str("\n places ");
        for tenth in &found.tenths {
            out.push_str(&format!("{:>5}", tenth[0].of));
        }
        out.push('\n');
    }
    let mut roles: Vec<_> = found.after_roles.iter().collect();
    roles.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
    if !roles.is_empty() {
        let roles: Vec<String> = roles.iter().map(|(role, count)| format!("{role} {count}")).collect();
        let words = found.after_words(8);
        let words: Vec<String> = words.iter().map(|(word, count)| format!("{} {count}", text::line(word))).collect();
        out.push_str(&format!(
            "readable after a token of: {}\nmost often after: {}\n",
            roles.join(", "),
            words.join(", ")
        ));
    }
    for (count, why) in [
        (found.indistinct, "another choice begins with the label's first token, or there is no other"),
        (found.too_early, "the label is written too early for this lens"),
        (skipped, "they can't be rendered as the run was shown its rows"),
    ] {
        if count > 0 {
            out.push_str(&format!("{count} examples left out: {why}\n"));
        }
    }
    out
}
