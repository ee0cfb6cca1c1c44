//! What the student would see of one example, without a run: for `render` and the rationale pane.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;

use super::directory::RunDirectory;
use super::prepare::{renderer, student_folder, toy_tokenizer};
use super::scorer::TrainedRun;
use super::spec::RunSpec;
use super::{RunError, prepare};
use crate::attribution::example::STEPS;
use crate::attribution::{IntegratedGradients, Over, attribute};
use crate::corpus::{Dataset, Example, Split};
use crate::journal::RunState;
use crate::rationale::ablation::donor;
use crate::rationale::recipe::READER;
use crate::rationale::{Borrowed, Rendered, Renderer};
use crate::student::{StudentError, Tokenizer, hub, lora, toy, weights};

/// A student's tokenizer and context: all of it that rendering needs.
#[derive(Clone)]
pub struct Reading {
    pub tokenizer: Arc<Tokenizer>,
    pub context: usize,
}

impl Reading {
    /// The tokenizer of the student that `spec` names.
    pub fn of(project: &Path, spec: &RunSpec, dataset: &Dataset) -> Result<Self, RunError> {
        let folder = student_folder(project, &spec.student, &mut |_, _, _| {})?;
        let (tokenizer, context) = match folder {
            Some(folder) => Self::from_folder(&folder)?,
            None => {
                let train = prepare::vocabulary_examples(dataset, &spec.rationale.source)?;
                let tokenizer = toy_tokenizer(dataset, &train)?;
                let context = toy::architecture(tokenizer.size()).context;
                (tokenizer, context)
            }
        };
        Ok(Self { tokenizer: Arc::new(tokenizer), context })
    }

    fn from_folder(folder: &Path) -> Result<(Tokenizer, usize), RunError> {
        let (family, architecture, config) = weights::read_config(folder)?;
        Ok((weights::read_tokenizer(folder, family, &config, &architecture)?, architecture.context))
    }

    /// A renderer for a run over a data set.
    pub fn renderer(&self, spec: &RunSpec, dataset: &Dataset) -> Result<Renderer, StudentError> {
        renderer(spec, dataset, (*self.tokenizer).clone(), self.context)
    }
}

/// An example as a run would show it to its student.
pub struct Preview {
    pub rendered: Rendered,
    /// Something that the run would do and the preview can't, in words.
    pub caveat: Option<String>,
}

/// Renders the example at row `place` of a split.
pub fn preview(
    project: &Path,
    spec: &RunSpec,
    reading: &Reading,
    split: &Split,
    place: usize,
    example: &Example,
) -> Result<Preview, RunError> {
    let renderer = reading.renderer(spec, &split.dataset)?;
    let lender = if renderer.recipe.needs_donors() { find_donor(spec, split, place, example)? } else { None };
    let (scores, caveat) = match spec.rationale.scorer() {
        None => (None, None),
        Some((name, baseline)) => match scorer(project, spec, &split.dataset, name)? {
            None => (
                None,
                Some(
                    "key tokens are known once the run has trained its reader; until then the first ones stand here"
                        .to_owned(),
                ),
            ),
            Some(scorer) => {
                let reading = scorer.reading(&spec.rationale.source);
                let method = IntegratedGradients::new(STEPS, baseline, reading.tokenizer.specials.eos);
                let found = attribute(&scorer.decoder, &reading, example, &method, Over::Rationale)?;
                (Some(found.rationale_scores()), None)
            }
        },
    };
    let borrowed = Borrowed { donor: lender.as_ref(), scores: scores.as_deref(), donor_scores: None };
    Ok(Preview { rendered: renderer.render(example, borrowed)?, caveat })
}

fn find_donor(spec: &RunSpec, split: &Split, place: usize, example: &Example) -> Result<Option<Example>, RunError> {
    let Some(other) = donor(spec.seed.ablation, &example.id, place, split.count_all()) else { return Ok(None) };
    let page = split.page(other, 1, &spec.rationale.source)?;
    Ok(page.into_iter().next().and_then(|row| row.example.ok()))
}

/// The run that would score tokens; `None` for a reader that is not trained yet.
fn scorer(project: &Path, spec: &RunSpec, dataset: &Dataset, name: &str) -> Result<Option<TrainedRun>, RunError> {
    let run = if name == READER {
        let wanted = spec.reader(dataset.meta.subject.is_some());
        let known = RunDirectory::list(project).into_iter().filter(|run| run.id().starts_with("reader-"));
        let mut matching = known.filter(|run| {
            run.read().is_ok_and(|run| run.state == RunState::Finished && run.spec.identity() == wanted.identity())
        });
        match matching.next() {
            Some(run) => run,
            None => return Ok(None),
        }
    } else {
        RunDirectory::exactly(project, name)?
    };
    TrainedRun::load(&run, dataset, &Device::Cpu).map(Some)
}

/// What a path or a run's name stands for: a run and one of its checkpoints, or a bare student folder.
pub enum Target {
    Run { run: RunDirectory, checkpoint: PathBuf },
    Folder(PathBuf),
}

impl Target {
    /// Takes a run's id (its newest checkpoint, or `ID@best`, `ID@STEP`), a checkpoint folder, a student folder, or a hub id that was fetched.
    pub fn find(project: &Path, wanted: &str) -> Result<Self, RunError> {
        let path = &*project.join(wanted);
        if ["config.json", lora::CONFIG].iter().any(|file| path.join(file).is_file()) {
            let home = path.canonicalize().ok().and_then(|path| Some(path.parent()?.parent()?.to_owned()));
            if let Some(home) = home.filter(|home| home.join("run.yaml").is_file() && path.join("state.json").is_file())
            {
                let run = RunDirectory::open(&home);
                return Ok(Self::Run { run, checkpoint: path.to_owned() });
            }
            return Ok(Self::Folder(path.to_owned()));
        }
        if let Some(folder) = hub::is_id(wanted).then(|| hub::cached(wanted)).flatten() {
            return Ok(Self::Folder(folder));
        }
        let (run, checkpoint) = RunDirectory::find_checkpoint(project, wanted)?;
        Ok(Self::Run { run, checkpoint })
    }

    /// Loads the student, rendering examples of `dataset`; for a bare folder under the settings of `spec`, which
    /// also says in which form it computes.
    pub fn load(&self, spec: &RunSpec, dataset: &Dataset, device: &Device) -> Result<TrainedRun, RunError> {
        let mut found = match self {
            Self::Run { run, checkpoint } => TrainedRun::load_checkpoint(run, checkpoint.clone(), dataset, device)?,
            Self::Folder(folder) => {
                let student = crate::student::Student::load(folder, device)?;
                let renderer = renderer(spec, dataset, student.tokenizer, student.decoder.architecture.context)?;
                TrainedRun {
                    run: RunDirectory::open(folder),
                    spec: spec.clone(),
                    decoder: student.decoder.frozen(),
                    renderer,
                    checkpoint: folder.clone(),
                }
            }
        };
        let ops = spec.training.ops.available(device, found.decoder.dtype());
        found.decoder = found.decoder.with_ops(ops);
        Ok(found)
    }

    /// Where the student lies.
    pub fn folder(&self) -> &Path {
        match self {
            Self::Run { checkpoint, .. } => checkpoint,
            Self::Folder(folder) => folder,
        }
    }

    /// The run's own specification, or the defaults for a bare student.
    pub fn spec(&self) -> Result<RunSpec, RunError> {
        match self {
            Self::Run { run, .. } => run.spec(),
            Self::Folder(folder) => Ok(RunSpec::preset(&folder.to_string_lossy())),
        }
    }
}
