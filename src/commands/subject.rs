//! Whom to ask and what: a checkpoint, the split, and all that its questions need. `evaluate` and `intervene` begin alike.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::output::{Context, device};
use crate::corpus::{Dataset, Example};
use crate::evaluation::Given;
use crate::rationale::Placement;
use crate::runs::RunSpec;
use crate::runs::lending;
use crate::runs::preview::Target;
use crate::runs::scorer::{self, TrainedRun};
use crate::runs::{LoadedSplit, load_split};
use crate::student::ops::Ops;

#[derive(Args)]
pub struct SubjectArgs {
    /// A run's id (or `last`) or one of its checkpoints (RUN@best, RUN@STEP), a checkpoint folder, or a student folder
    pub target: String,
    /// Another data set than the run's own
    #[arg(long)]
    pub dataset: Option<String>,
    /// The run's last split when left out
    #[arg(long)]
    pub split: Option<String>,
    /// Change one value, as in evaluation.answer=generate
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long)]
    pub device: Option<String>,
    /// The form of the student's operations; that of the run when left out
    #[arg(long, value_enum)]
    pub ops: Option<Ops>,
    /// Look at this many examples only
    #[arg(long)]
    pub limit: Option<usize>,
    /// Print a line for each example as well (with --json, JSON lines before the result)
    #[arg(long)]
    pub each: bool,
}

/// A student and the questions for it.
pub struct Subject {
    pub target: Target,
    /// What the run is, and that with what was changed.
    pub own: RunSpec,
    pub spec: RunSpec,
    pub dataset: Dataset,
    pub split: String,
    pub student: TrainedRun,
    pub loaded: LoadedSplit,
    /// Rows to ask, from the first.
    pub count: usize,
}

impl Subject {
    pub fn load(args: &SubjectArgs, context: &Context) -> anyhow::Result<Self> {
        let target = Target::find(&context.project, &args.target)?;
        let own = target.spec()?;
        let mut spec = own.with_overrides(&args.overrides)?;
        if let Some(dataset) = &args.dataset {
            spec.dataset = dataset.clone();
        }
        spec.training.ops = args.ops.unwrap_or(spec.training.ops);
        let device = device(args.device.as_deref().unwrap_or(&spec.device))?;
        let dataset = context.catalog().open(&spec.dataset)?;
        let split = args.split.clone().unwrap_or_else(|| spec.evaluation.last_split().to_owned());
        let mut student = target.load(&spec, &dataset, &device)?;
        student.renderer.recipe = spec.rationale.clone();
        student.renderer.seed = spec.seed.ablation;
        let mut loaded = load_split(&dataset, &split, &spec.rationale.source)?;
        loaded.lend(&dataset, &spec.rationale, spec.seed.ablation)?;
        // The rationales are read only where the student is given them.
        if spec.rationale.placement == Placement::Pre && spec.evaluation.rationale == Given::Teacher {
            let bar = context.progress("reading word vectors", 0);
            let mut report = |done: u64, total: u64| {
                bar.set_length(total);
                bar.set_position(done);
            };
            let (project, tokenizer) = (&context.project, &student.renderer.tokenizer);
            let vectors = lending::vectors(project, &spec, tokenizer, loaded.all_examples(), &mut report)?;
            bar.finish_and_clear();
            student.renderer.vectors = vectors.map(Arc::new);
            if spec.rationale.scorer().is_some() {
                // How it is asked is no part of what its reader is.
                let (name, rationale) = (spec.dataset.clone(), spec.rationale.clone());
                let scored = RunSpec { dataset: name, rationale, ..own.clone() };
                let scores = scorer::stored(&context.project, &scored, &dataset, &loaded)?;
                loaded.scores = scores.with_context(|| {
                    format!(
                        "the run is given the key tokens of rationales, and those of {}/{split} were never scored · take \
                         the split that it was last asked, or train it with evaluation.final={split}",
                        spec.dataset
                    )
                })?;
            }
        }
        let count = args.limit.unwrap_or(usize::MAX).min(loaded.examples.len());
        Ok(Self { target, own, spec, dataset, split, student, loaded, count })
    }

    /// The rows to ask.
    pub fn examples(&self) -> &[Example] {
        &self.loaded.examples[..self.count]
    }
}
