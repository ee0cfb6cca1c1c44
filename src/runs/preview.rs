//! What the student would see of one example, without a run: for `render` and the rationale pane.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use candle_core::Device;

use super::directory::RunDirectory;
use super::lending::{self, LentToOne};
use super::prepare::{free_memory, renderer, student_folder, toy_tokenizer};
use super::scorer::{self, TrainedRun};
use super::spec::RunSpec;
use super::{RunError, prepare};
use crate::corpus::{Dataset, Example, Split};
use crate::journal::RunState;
use crate::rationale::recipe::READER;
use crate::rationale::similarity::words_of;
use crate::rationale::{Rendered, Renderer, Vectors};
use crate::student::{StudentError, Tokenizer, hub, lora, toy, weights};

/// A student's tokenizer and context: all of it that rendering needs.
#[derive(Clone)]
pub struct Reading {
    pub tokenizer: Arc<Tokenizer>,
    pub context: usize,
    /// The vectors that were looked up last.
    vectors: Arc<Mutex<Option<LookedUp>>>,
}

/// Vectors that were looked up for a split, and what for.
struct LookedUp {
    /// The file or the student, the split, and the seed of fresh weights.
    of: (String, String, u64),
    words: BTreeSet<String>,
    vectors: Arc<Vectors>,
}

impl Reading {
    /// The tokenizer of the student that `spec` names.
    pub fn of(project: &Path, spec: &RunSpec, dataset: &Dataset) -> Result<Self, RunError> {
        let folder = student_folder(project, &spec.student, &mut |_, _, _| {})?;
        let (tokenizer, context) = match folder {
            Some(folder) => Self::from_folder(&folder)?,
            None => {
                let train = prepare::vocabulary_examples(dataset, &spec.rationale.source)?;
                let tokenizer = toy_tokenizer(dataset, &spec.rationale, &train)?;
                let context = toy::architecture(tokenizer.size()).context;
                (tokenizer, context)
            }
        };
        Ok(Self { tokenizer: Arc::new(tokenizer), context, vectors: Arc::default() })
    }

    /// The tokenizer of a student in a folder, such as a checkpoint.
    pub fn at(folder: &Path) -> Result<Self, RunError> {
        let (tokenizer, context) = Self::from_folder(folder)?;
        Ok(Self { tokenizer: Arc::new(tokenizer), context, vectors: Arc::default() })
    }

    fn from_folder(folder: &Path) -> Result<(Tokenizer, usize), RunError> {
        let (family, architecture, config) = weights::read_config(folder)?;
        Ok((weights::read_tokenizer(folder, family, &config, &architecture)?, architecture.context))
    }

    /// A renderer for a run over a data set.
    pub fn renderer(&self, spec: &RunSpec, dataset: &Dataset) -> Result<Renderer, StudentError> {
        let mut tokenizer = (*self.tokenizer).clone();
        if spec.rationale.pauses() {
            tokenizer.add_pause()?;
        }
        renderer(spec, dataset, tokenizer, self.context)
    }

    /// The word vectors that a recipe asks for, of the whole split, so that they are looked up once. `example` may have
    /// been edited since.
    fn vectors(
        &self,
        project: &Path,
        spec: &RunSpec,
        split: &Split,
        example: &Example,
        tokenizer: &Tokenizer,
        report: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<Arc<Vectors>>, RunError> {
        let Some(name) = spec.rationale.vectors() else { return Ok(None) };
        let of = (name.to_owned(), split.name.clone(), spec.seed.init);
        let mut known = self.vectors.lock().unwrap_or_else(|poison| poison.into_inner());
        let own = words_of([example].into_iter());
        if let Some(known) = known.as_ref().filter(|known| known.of == of && own.is_subset(&known.words)) {
            return Ok(Some(known.vectors.clone()));
        }
        let mut examples = vec![example.clone()];
        split.visit(0, &spec.rationale.source, |row| {
            examples.extend(row.example);
            ControlFlow::Continue(())
        })?;
        if let Some(source) = spec.rationale.swap().and_then(|swap| swap.source.as_deref()) {
            let texts = split.dataset.source(source)?;
            let texts = texts.values().flatten().filter_map(|one| one.rationale.clone());
            examples.extend(texts.map(|text| Example { rationale: Some(text), ..Example::default() }));
        }
        let vectors = lending::vectors(project, spec, tokenizer, examples.iter(), report)?;
        let Some(vectors) = vectors.map(Arc::new) else { return Ok(None) };
        *known = Some(LookedUp { of, words: words_of(examples.iter()), vectors: vectors.clone() });
        Ok(Some(vectors))
    }
}

/// An example as a run would show it to its student.
pub struct Preview {
    pub rendered: Rendered,
    /// Something that the run would do and the preview can't, in words.
    pub caveat: Option<String>,
}

/// Renders the example at row `place` of a split, as in the first epoch. `report` is told how many bytes of word vectors
/// were read, of how many.
pub fn preview(
    project: &Path,
    spec: &RunSpec,
    reading: &Reading,
    split: &Split,
    place: usize,
    example: &Example,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Preview, RunError> {
    let mut renderer = reading.renderer(spec, &split.dataset)?;
    let lent = LentToOne::find(spec, split, place, example)?;
    renderer.vectors = reading.vectors(project, spec, split, example, &renderer.tokenizer, report)?;
    let mut donor_scores = None;
    let (scores, mut caveat) = match spec.rationale.scorer() {
        None => (None, None),
        Some((name, baseline)) => match scoring_run(project, spec, &split.dataset, name)? {
            None => (
                None,
                Some(
                    "key tokens are known once the run has trained its reader; until then the first ones stand here"
                        .to_owned(),
                ),
            ),
            Some(scorer) => {
                let reading = scorer.reading(&spec.rationale.source);
                let asked = scorer::asked(baseline);
                let attributor = scorer.attributor(&reading, &asked, free_memory(&Device::Cpu));
                let score = |example: &Example| -> Result<Vec<f32>, RunError> {
                    Ok(attributor.one(example)?.rationale_scores())
                };
                donor_scores = lent.donor.as_ref().map(score).transpose()?;
                (Some(score(example)?), None)
            }
        },
    };
    if let Some(vectors) = &renderer.vectors
        && !vectors.know_label(example, &renderer.tokenizer)?
    {
        caveat = Some("the label has no word vector, so that the first tokens are kept".to_owned());
    }
    Ok(Preview { rendered: renderer.render(example, lent.borrow(scores.as_deref(), donor_scores.as_deref()))?, caveat })
}

/// The run that would score tokens; `None` for a reader that is not trained yet.
fn scoring_run(project: &Path, spec: &RunSpec, dataset: &Dataset, name: &str) -> Result<Option<TrainedRun>, RunError> {
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
        match RunDirectory::find_checkpoint(project, wanted) {
            Ok((run, checkpoint)) => Ok(Self::Run { run, checkpoint }),
            Err(RunError::Unknown { .. } | RunError::None { .. }) if hub::is_id(wanted) => {
                Err(RunError::NotFetched { id: wanted.into() })
            }
            Err(error) => Err(error),
        }
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
