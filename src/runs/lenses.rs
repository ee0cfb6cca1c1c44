//! Lenses on a run's student: what an example reads like through one, and the trained ones, which are kept with the run
//! in `lenses/NAME.step-N.safetensors` beside what they were trained on.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::directory::RunDirectory;
use super::lending::{self, LentToOne};
use super::scorer::{self, TrainedRun};
use super::spec::RunSpec;
use super::split::{LoadedSplit, load_split};
use super::{RunError, fingerprint};
use crate::attribution::lens::{Grid, Lens, LensError, Progress, Question, Settings, Translators, read, train};
use crate::corpus::{Dataset, Example, Split};
use crate::files::{self, FileError};
use crate::journal::now;
use crate::rationale::{Encoded, RenderError, Rendered, Renderer};
use crate::training::settings::Unusable;

/// Which lens is wanted: `logit`, `tuned`, `future` or `future:K`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Which {
    #[default]
    Logit,
    Tuned,
    /// For this many tokens beyond the next one.
    Future(usize),
}

impl Which {
    /// The trained lens for so many tokens beyond the next one.
    pub fn trained(ahead: usize) -> Self {
        if ahead == 0 { Self::Tuned } else { Self::Future(ahead) }
    }

    /// Of a trained lens, how many tokens beyond the next one it reads.
    pub fn ahead(self) -> Option<usize> {
        match self {
            Self::Logit => None,
            Self::Tuned => Some(0),
            Self::Future(ahead) => Some(ahead),
        }
    }

    /// What files call it.
    pub fn name(self) -> String {
        match self {
            Self::Logit => "logit".into(),
            Self::Tuned => "tuned".into(),
            Self::Future(ahead) => format!("future-{ahead}"),
        }
    }
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "logit" => Ok(Self::Logit),
            None if text == "tuned" => Ok(Self::Tuned),
            None if text == "future" => Ok(Self::Future(1)),
            Some(("future", ahead)) => match ahead.parse() {
                Ok(ahead) if ahead > 0 => Ok(Self::Future(ahead)),
                _ => Err("future:K needs a number of tokens above 0".into()),
            },
            _ => Err("write logit, tuned, future or future:K".into()),
        }
    }
}

/// What a trained lens is: stands in its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// How many tokens beyond the next one it reads.
    pub ahead: usize,
    /// The checkpoint whose student it reads, and the fingerprint of its files.
    pub checkpoint: String,
    pub student: String,
    pub dataset: String,
    pub split: String,
    pub source: String,
    /// SHA-256 of the rows that it was trained on.
    pub rows: String,
    pub steps: usize,
    pub learning_rate: f64,
    pub batch: usize,
    pub places: usize,
    pub seed: u64,
    /// Sequences that it learnt from, those that were held out, and the places measured in these.
    pub sequences: usize,
    pub held_out: usize,
    pub measured: usize,
    /// KL in nats on the held-out sequences for each stream, before training and after.
    pub before: Vec<f64>,
    pub after: Vec<f64>,
    /// When it was made.
    pub made: String,
}

/// The key of [`About`] in a file's header.
const ABOUT: &str = "lens";

/// Where a trained lens on a checkpoint is kept.
pub fn path_of(run: &RunDirectory, checkpoint: &Path, which: Which) -> PathBuf {
    let checkpoint = checkpoint.file_name().unwrap_or_default().to_string_lossy();
    run.lenses().join(format!("{}.{checkpoint}.safetensors", which.name()))
}

/// A lens on a student: the logit lens, or the one that was trained for this very checkpoint.
pub fn load(trained: &TrainedRun, which: Which) -> Result<Lens, RunError> {
    let Some(ahead) = which.ahead() else { return Ok(Lens::Logit) };
    let path = path_of(&trained.run, &trained.checkpoint, which);
    if !path.is_file() {
        let run = trained.run.id().to_owned();
        let checkpoint = trained.checkpoint.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let again = if ahead == 0 { String::new() } else { format!(" --ahead {ahead}") };
        return Err(RunError::NoLens { run, checkpoint, lens: which.name(), again });
    }
    let refused = |problem: String| RunError::LensFile { path: path.clone(), problem };
    let bytes = std::fs::read(&path).map_err(FileError::on("read", &path))?;
    let about = about_of(&bytes).map_err(refused)?;
    if about.ahead != ahead {
        return Err(refused(format!("it is a lens for {} tokens ahead", about.ahead)));
    }
    if about.student != fingerprint::of_folder(&trained.checkpoint)? {
        return Err(refused(format!("it was trained on other weights of {}", about.checkpoint)));
    }
    let tensors: HashMap<_, _> = candle_core::safetensors::load_buffer(&bytes, trained.decoder.device())
        .map_err(|error| refused(error.to_string()))?;
    let translators = Translators::from_tensors(&trained.decoder, ahead, tensors);
    Ok(Lens::Trained(translators.map_err(|error| match error {
        LensError::Misfit { problem } => refused(problem),
        other => other.into(),
    })?))
}

/// What stands in the file of a trained lens about it.
fn about_of(bytes: &[u8]) -> Result<About, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| format!("it is broken: {error}"))?;
    let about = header.metadata().as_ref().and_then(|keys| keys.get(ABOUT)).ok_or("it does not say what it is")?;
    serde_json::from_str(about).map_err(|error| format!("what it says of itself can't be read: {error}"))
}

/// A split under a run's recipe, with everything that its rendering takes.
pub struct Material {
    pub renderer: Renderer,
    pub loaded: LoadedSplit,
}

impl Material {
    /// Reads a split as the run was shown its own. `report` is told how many bytes of word vectors were read, of how many.
    pub fn read(
        project: &Path,
        trained: &TrainedRun,
        dataset: &Dataset,
        split: &str,
        report: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, RunError> {
        let spec = RunSpec { dataset: dataset.name().to_owned(), ..trained.spec.clone() };
        let mut renderer = trained.renderer.clone();
        let mut loaded = load_split(dataset, split, &spec.rationale.source)?;
        loaded.lend(dataset, &spec.rationale, spec.seed.ablation)?;
        let vectors = lending::vectors(project, &spec, &renderer.tokenizer, loaded.all_examples(), report)?;
        renderer.vectors = vectors.map(Arc::new);
        if spec.rationale.scorer().is_some() {
            let scores = scorer::stored(project, &spec, dataset, &loaded)?;
            loaded.scores = scores
                .ok_or_else(|| RunError::NotScored { dataset: dataset.name().to_owned(), split: split.to_owned() })?;
        }
        Ok(Self { renderer, loaded })
    }

    /// An example as the student was shown it, the label in it.
    pub fn render(&self, place: usize) -> Result<Rendered, RenderError> {
        self.renderer.render(&self.loaded.examples[place], self.loaded.borrow(place, &self.renderer))
    }

    /// The token ids of all sequences that a run would be trained on, and how many rows can't be used.
    fn sequences(&self) -> Result<(Vec<Vec<u32>>, usize), RunError> {
        let (encoded, tally) = self.loaded.encode(0, &self.renderer, Unusable::Skip, true)?;
        let sequences = encoded.iter().flat_map(Encoded::sequences).map(|sequence| sequence.ids.clone());
        Ok((sequences.collect(), tally.skipped))
    }
}

/// What to train a lens with.
pub struct Wanted<'a> {
    pub project: &'a Path,
    pub dataset: &'a Dataset,
    pub split: &'a str,
    pub settings: Settings,
}

/// Trains a lens on a run's student, over a split as the run was shown it, and keeps it with the run. Gives what it is,
/// where it lies, and how many rows could not be used.
pub fn train_for(
    trained: &TrainedRun,
    wanted: &Wanted,
    on_progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<(About, PathBuf, usize), RunError> {
    let Wanted { project, dataset, split, settings } = wanted;
    let material = Material::read(project, trained, dataset, split, &mut |_, _| {})?;
    let (sequences, skipped) = material.sequences()?;
    let found = train(&trained.decoder, &sequences, settings, on_progress)?;
    let about = About {
        ahead: settings.ahead,
        checkpoint: trained.checkpoint.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        student: fingerprint::of_folder(&trained.checkpoint)?,
        dataset: dataset.name().to_owned(),
        split: (*split).to_owned(),
        source: trained.spec.rationale.source.clone(),
        rows: material.loaded.hash(),
        steps: settings.steps,
        learning_rate: settings.learning_rate,
        batch: settings.batch,
        places: settings.places,
        seed: settings.seed,
        sequences: found.sequences,
        held_out: found.held_out,
        measured: found.places,
        before: found.before,
        after: found.after,
        made: now(),
    };
    let path = path_of(&trained.run, &trained.checkpoint, Which::trained(settings.ahead));
    let header = HashMap::from([
        ("format".to_owned(), "pt".to_owned()),
        (ABOUT.to_owned(), serde_json::to_string(&about).unwrap_or_default()),
    ]);
    let tensors = found.translators.tensors().map_err(LensError::from)?;
    let bytes = safetensors::serialize(&tensors, Some(header))
        .map_err(|error| RunError::LensFile { path: path.clone(), problem: error.to_string() })?;
    files::create_dir(&trained.run.lenses())?;
    files::replace(&path, |out| out.write_all(&bytes))?;
    Ok((about, path, skipped))
}

/// Reads one example through a lens, as the run was shown it. The row stands at `place` of its split, and may have been
/// edited since.
pub fn look(
    project: &Path,
    trained: &TrainedRun,
    lens: &Lens,
    (split, place): (&Split, usize),
    example: &Example,
    on_progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Grid, RunError> {
    let dataset = &split.dataset;
    let spec = RunSpec { dataset: dataset.name().to_owned(), ..trained.spec.clone() };
    let (renderer, rendered) = if spec.rationale.scorer().is_some() {
        // Scores are kept for a split as a whole.
        let mut material = Material::read(project, trained, dataset, &split.name, &mut |_, _| {})?;
        if let Some(own) = material.loaded.examples.get_mut(place) {
            *own = example.clone();
        }
        let rendered = material.render(place)?;
        (material.renderer, rendered)
    } else {
        let mut renderer = trained.renderer.clone();
        let lent = LentToOne::find(&spec, split, place, example)?;
        let read = std::iter::once(example).chain(lent.donor.as_ref());
        renderer.vectors = lending::vectors(project, &spec, &renderer.tokenizer, read, &mut |_, _| {})?.map(Arc::new);
        let rendered = renderer.render(example, lent.borrow(None, None))?;
        (renderer, rendered)
    };
    let question = Question::new(&renderer, example, &rendered, lens.ahead())?;
    Ok(read(&trained.decoder, &renderer.tokenizer, question, &rendered, lens, on_progress)?)
}

/// Whether a lens was trained for the student that a run has now.
pub fn is_trained(run: &RunDirectory, checkpoint: &Path, which: Which) -> bool {
    path_of(run, checkpoint, which).is_file()
}
