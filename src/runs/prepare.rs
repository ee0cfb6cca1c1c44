//! From a run's specification to a student and encoded examples.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::RunError;
use super::directory::RunDirectory;
use super::lending::{self, Lent};
use super::spec::{RunSpec, hex};
use crate::corpus::{Catalog, CorpusError, Dataset, Example};
use crate::files::FileError;
use crate::rationale::ablation::donor;
use crate::rationale::recipe::{READER, STUDENT, SwapWith};
use crate::rationale::{Borrowed, Chat, Encoded, Framing, Recipe, RenderError, Rendered, Renderer, Vectors};
use crate::student::lora::{self, Lora};
use crate::student::memory::{Estimate, Plan};
use crate::student::{Architecture, Family, Student, StudentError, Tokenizer, hub, toy, weights};
use crate::training::settings::Unusable;
use crate::training::{Redraw, TrainingSettings};

/// The split that students are trained on.
pub const TRAIN: &str = "train";

/// A split in memory, with what its rationales need from elsewhere.
pub struct LoadedSplit {
    pub name: String,
    pub examples: Vec<Example>,
    /// Attributions by example id, where the recipe keeps key tokens.
    pub scores: HashMap<String, Vec<f32>>,
    /// Whose rationale each example is given, where `swap` chooses it by labels.
    lent: Vec<Option<Lent>>,
}

/// How rendering a split went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub examples: usize,
    /// Rationales that were cut to fit.
    pub truncated: usize,
    pub without_rationale: usize,
    /// Examples with a rationale that found none to swap it with.
    pub without_donor: usize,
    /// Rows that could not be used, with the reason for the first few.
    pub skipped: usize,
    pub reasons: Vec<String>,
    pub tokens: usize,
    pub unknown_tokens: usize,
    /// The rows that were encoded, in order.
    pub used: Vec<usize>,
}

/// Opens a device by its name: `auto`, `cpu` or `cuda:N`.
pub fn device(name: &str) -> Result<Device, RunError> {
    device_or_other(name).map(|(device, _)| device)
}

/// The same, and why it is the CPU where `auto` could have been a GPU.
pub fn device_or_other(name: &str) -> Result<(Device, Option<String>), RunError> {
    let wrong = |problem: String| RunError::Device { name: crate::text::line(name).into(), problem };
    match name {
        "cpu" => Ok((Device::Cpu, None)),
        "auto" if cfg!(feature = "cuda") => Ok(match Device::new_cuda(0) {
            Ok(device) => (device, None),
            Err(error) => (Device::Cpu, Some(format!("this runs on the CPU: {}", without_gpu(0, &error)))),
        }),
        "auto" => Ok((Device::Cpu, None)),
        _ => {
            let number = match name.strip_prefix("cuda") {
                Some("") => Some(0),
                Some(rest) => rest.strip_prefix(':').and_then(|number| number.parse().ok()),
                None => None,
            };
            let number = number.ok_or_else(|| wrong("write auto, cpu or cuda:N".into()))?;
            if !cfg!(feature = "cuda") {
                return Err(wrong("this binary was built without CUDA · build it with `--features cuda`".into()));
            }
            let next = "device: cpu runs everywhere";
            match Device::new_cuda(number) {
                Ok(device) => Ok((device, None)),
                Err(error) => Err(wrong(format!("{} · {next}", without_gpu(number, &error)))),
            }
        }
    }
}

/// What it means that a GPU can't be opened.
fn without_gpu(number: usize, error: &candle_core::Error) -> String {
    let text = error.to_string();
    let meaning = if text.contains("CUDA_ERROR_NO_DEVICE") {
        "NVIDIA's driver sees no GPU"
    } else if text.contains("CUDA_ERROR_INVALID_DEVICE") {
        "NVIDIA's driver sees fewer GPUs"
    } else if text.contains("DRIVER") {
        "NVIDIA's driver is too old for this program"
    } else {
        "the GPU can't be used"
    };
    // The first line says it; a trace may follow.
    format!("{meaning} (cuda:{number}: {})", crate::text::line(text.lines().next().unwrap_or_default()))
}

/// `cpu` or `cuda:N`, for journals and screens.
pub fn device_name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".into(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

/// Where a student's files are: a folder, or the cache of the hub, which is asked if need be. `None` for the toy.
pub fn student_folder(
    project: &Path,
    name: &str,
    report: &mut dyn FnMut(&str, u64, u64),
) -> Result<Option<PathBuf>, StudentError> {
    if name == "toy" {
        return Ok(None);
    }
    let folder = project.join(name);
    if folder.is_dir() || !hub::is_id(name) {
        return Ok(Some(folder));
    }
    match hub::cached(name) {
        Some(folder) => Ok(Some(folder)),
        None => hub::fetch(name, report).map(Some),
    }
}

/// What checkpoints of adapters name as their student: it must be found from anywhere. PEFT fetches a hub id by itself.
fn base(project: &Path, name: &str) -> String {
    let folder = project.join(name);
    if !folder.is_dir() && hub::is_id(name) {
        return name.to_owned();
    }
    std::path::absolute(&folder).unwrap_or(folder).display().to_string()
}

/// The student a run begins with. The toy's vocabulary is made from the training split's texts.
pub fn student(
    project: &Path,
    spec: &RunSpec,
    dataset: &Dataset,
    train: &[Example],
    device: &Device,
    report: &mut dyn FnMut(&str, u64, u64),
) -> Result<Student, RunError> {
    let student = match student_folder(project, &spec.student, report)? {
        Some(folder) => {
            // The weights and their moments alone may be too much; what a batch takes is known later.
            let (family, architecture, _) = weights::read_config(&folder)?;
            let adapters = adapters_of(&folder)?;
            refuse_both(&folder, spec)?;
            let lora = spec.training.lora.as_ref().or(adapters.as_ref());
            check_memory(family, &architecture, &plan(&spec.training, lora, 1, device), device, false)?;
            let student = Student::load(&folder, device)?;
            match &spec.training.lora {
                Some(lora) => student.with_adapters(lora, spec.seed.init, &base(project, &spec.student))?,
                None => student,
            }
        }
        None if spec.training.lora.is_some() => return Err(RunError::LoraOfToy),
        None => {
            let mut tokenizer = toy_tokenizer(dataset, &train[..train.len().min(VOCABULARY_ROWS)])?;
            if spec.rationale.pauses() {
                tokenizer.add_pause()?;
            }
            let architecture = toy::architecture(tokenizer.size());
            Student::fresh(architecture, tokenizer, spec.seed.init, device)?
        }
    };
    let student = if spec.rationale.pauses() { student.with_pause()? } else { student };
    let mut student = student.computing_in(spec.training.precision)?;
    let ops = spec.training.ops.available(device, student.decoder.dtype());
    student.decoder = student.decoder.with_ops(ops);
    Ok(student)
}

/// The settings of the adapters that a folder holds, where it does.
fn adapters_of(folder: &Path) -> Result<Option<Lora>, StudentError> {
    let is_adapted = folder.join(lora::CONFIG).exists();
    is_adapted.then(|| lora::read_config(folder)).transpose().map(|config| config.map(|config| config.settings))
}

/// New adapters beside those that a student has would be on no published weights.
fn refuse_both(folder: &Path, spec: &RunSpec) -> Result<(), StudentError> {
    if spec.training.lora.is_none() || !folder.join(lora::CONFIG).exists() {
        return Ok(());
    }
    let problem = "the student has adapters already, which would be trained on · leave training.lora out, or make a \
                   whole student of it first (`runs export RUN --merge`)";
    Err(StudentError::File { path: folder.join(lora::CONFIG), problem: problem.into() })
}

/// Rows of the training split from which the toy's vocabulary is made.
const VOCABULARY_ROWS: usize = 50_000;

/// The examples from which the toy's vocabulary is made.
pub fn vocabulary_examples(dataset: &Dataset, source: &str) -> Result<Vec<Example>, RunError> {
    let rows = dataset.split(TRAIN)?.page(0, VOCABULARY_ROWS, source)?;
    Ok(rows.into_iter().map(|row| row.example).collect::<Result<_, _>>().map_err(CorpusError::from)?)
}

/// The toy student's tokenizer for a data set, from [`vocabulary_examples`].
pub fn toy_tokenizer(dataset: &Dataset, train: &[Example]) -> Result<Tokenizer, StudentError> {
    let template = &dataset.meta.template;
    let own = |example: &Example| {
        let labels = example.choices.iter().map(|choice| template.label_text(choice));
        let mut texts: Vec<String> = labels.collect();
        texts.push(template.prompt_text(example).0);
        texts.extend(example.rationale.clone());
        texts
    };
    let leads = [template.answer.clone(), template.rationale.clone()];
    let texts: Vec<String> = leads.into_iter().chain(train.iter().flat_map(own)).collect();
    toy::tokenizer(texts.into_iter())
}

/// A renderer for a run and a student of `context` tokens.
pub fn renderer(
    spec: &RunSpec,
    dataset: &Dataset,
    tokenizer: Tokenizer,
    context: usize,
) -> Result<Renderer, StudentError> {
    let goes_on = tokenizer.without_prefix()?;
    let (chat, begins) = Framing::new(&spec.rationale.chat, tokenizer)?;
    Ok(Renderer {
        tokenizer: goes_on,
        begins,
        chat,
        template: dataset.meta.template.clone(),
        subject: dataset.meta.subject.clone(),
        recipe: spec.rationale.clone(),
        loss: spec.training.loss,
        max_length: spec.training.max_length.unwrap_or(context).min(context),
        seed: spec.seed.ablation,
        vectors: None,
    })
}

/// Reads a split with the recipe's rationales, edits applied.
pub fn load_split(dataset: &Dataset, name: &str, source: &str) -> Result<LoadedSplit, RunError> {
    let examples = dataset.split(name)?.examples(source)?;
    Ok(LoadedSplit { name: name.into(), examples, scores: HashMap::new(), lent: vec![] })
}

impl LoadedSplit {
    /// Finds out whose rationale each example is given, where a recipe swaps them.
    pub fn lend(&mut self, dataset: &Dataset, recipe: &Recipe, seed: u64) -> Result<(), RunError> {
        self.lent = lending::lent(dataset, recipe, seed, &self.examples)?;
        Ok(())
    }

    /// Everything whose words may be shown: the examples, and those with a rationale from another source.
    pub fn all_examples(&self) -> impl Iterator<Item = &Example> + Clone {
        let own = self.lent.iter().filter_map(|lent| match lent {
            Some(Lent::Own(own)) => Some(&**own),
            _ => None,
        });
        self.examples.iter().chain(own)
    }

    /// What the recipe needs from elsewhere to render the example at `place`.
    pub fn borrow(&self, place: usize, renderer: &Renderer) -> Borrowed<'_> {
        let example = &self.examples[place];
        let scores = |example: &Example| self.scores.get(&example.id).map(Vec::as_slice);
        let lent = match renderer.recipe.swap() {
            None => None,
            Some(swap) if swap.with == SwapWith::AnotherExample => {
                donor(renderer.seed, &example.id, place, self.examples.len()).map(|other| &self.examples[other])
            }
            Some(_) => match self.lent.get(place) {
                Some(Some(Lent::Row(row))) => self.examples.get(*row),
                // The scores of its id are those of another text.
                Some(Some(Lent::Own(own))) => {
                    return Borrowed { donor: Some(own), scores: scores(example), ..Borrowed::default() };
                }
                _ => None,
            },
        };
        Borrowed { donor: lent, scores: scores(example), donor_scores: lent.and_then(scores), epoch: 0 }
    }

    /// The encoded examples of later epochs, where something is drawn anew in each: by their place among the rows that
    /// were `used`.
    pub fn redraw(self, renderer: Renderer, used: Vec<usize>) -> Redraw {
        Arc::new(move |epoch, place| {
            // What is not drawn anew has the same draw in all epochs, and the first is known.
            let row = *used.get(place).filter(|_| epoch > 0)?;
            let example = &self.examples[row];
            // What could be rendered in the first epoch can be in all: the same text, the same tokens.
            let rendered = renderer.render(example, Borrowed { epoch, ..self.borrow(row, &renderer) }).ok()?;
            Some(Encoded::new(&example.id, &rendered))
        })
    }

    /// SHA-256 of the rows as they were read.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for example in &self.examples {
            hash.update(serde_json::to_vec(example).unwrap_or_default());
            hash.update(b"\n");
        }
        hex(&hash.finalize())
    }

    /// Renders and encodes every example.
    pub fn encode(&self, renderer: &Renderer, unusable: Unusable) -> Result<(Vec<Encoded>, Tally), RunError> {
        let render = |place: usize| renderer.render(&self.examples[place], self.borrow(place, renderer));
        let rendered: Vec<Result<Rendered, RenderError>> =
            (0..self.examples.len()).into_par_iter().map(render).collect();
        let mut tally = Tally::default();
        let mut encoded = Vec::with_capacity(rendered.len());
        for (place, (example, rendered)) in self.examples.iter().zip(rendered).enumerate() {
            match rendered {
                Ok(rendered) => {
                    tally.add(example, &rendered, renderer.tokenizer.specials.unknown);
                    tally.used.push(place);
                    encoded.push(Encoded::new(&example.id, &rendered));
                }
                Err(error @ RenderError::Student(_)) => return Err(error.into()),
                Err(error) => {
                    tally.skipped += 1;
                    if tally.reasons.len() < 5 {
                        tally.reasons.push(error.to_string());
                    }
                }
            }
        }
        if tally.skipped > 0 && unusable == Unusable::Stop {
            return Err(RunError::Unusable {
                split: self.name.clone(),
                count: tally.skipped,
                reasons: tally.reasons.join("\n  "),
            });
        }
        Ok((encoded, tally))
    }
}

impl Tally {
    fn add(&mut self, example: &Example, rendered: &Rendered, unknown: Option<u32>) {
        self.examples += 1;
        self.truncated += usize::from(rendered.truncated > 0);
        let has_own = example.has_rationale();
        self.without_rationale += usize::from(rendered.without_rationale && !has_own);
        self.without_donor += usize::from(rendered.without_rationale && has_own);
        self.tokens += rendered.tokens.len();
        self.unknown_tokens += rendered.tokens.iter().filter(|token| Some(token.id) == unknown).count();
    }

    /// What a person should know, in sentences.
    pub fn notes(&self, split: &str, max_length: usize) -> Vec<String> {
        let mut notes = Vec::new();
        let of = self.examples;
        if self.truncated > 0 {
            notes.push(format!("{split}: {} of {of} rationales were cut to fit {max_length} tokens", self.truncated));
        }
        if self.without_rationale > 0 {
            let count = self.without_rationale;
            notes.push(format!("{split}: {count} of {of} examples have no rationale and stand with their label alone"));
        }
        if self.without_donor > 0 {
            let count = self.without_donor;
            notes.push(format!(
                "{split}: {count} of {of} examples found no rationale to swap theirs with and stand with their label alone"
            ));
        }
        if self.skipped > 0 {
            let more = self.reasons.join(" · ");
            notes.push(format!("{split}: {} rows were left out: {more}", self.skipped));
        }
        let share = self.unknown_tokens as f64 / self.tokens.max(1) as f64;
        if share > 0.01 {
            notes
                .push(format!("{split}: {:.0} % of the tokens are words that the student doesn't know", share * 100.0));
        }
        notes
    }
}

/// The hashes of all that a run reads beside its student: its splits, and the vectors of the file that its recipe names.
pub fn hashes<'a>(
    splits: impl IntoIterator<Item = &'a LoadedSplit>,
    recipe: &Recipe,
    words: Option<&Vectors>,
) -> BTreeMap<String, String> {
    let splits = splits.into_iter().map(|split| (split.name.clone(), split.hash()));
    let words = words.zip(recipe.vectors()).map(|(words, file)| (format!("vectors of {file}"), lending::hash(words)));
    splits.chain(words).collect()
}

/// Whether everything that a run names is there, before a folder is made for it: the device, the data set with its
/// splits and source, the student, and the run that scores tokens.
pub fn check(project: &Path, spec: &RunSpec) -> Result<(), RunError> {
    let device = device(&spec.device)?;
    let refused = |problem: String| RunError::Device { name: crate::text::line(&spec.device).into(), problem };
    spec.training.precision.check(&device).map_err(refused)?;
    let dataset = dataset(project, spec)?;
    for split in [TRAIN, &spec.evaluation.split, spec.evaluation.last_split()] {
        dataset.look_for_split(split)?;
    }
    dataset.look_for_source(&spec.rationale.source)?;
    if let Some(source) = spec.rationale.swap().and_then(|swap| swap.source.as_deref()) {
        dataset.look_for_source(source)?;
    }
    if let Some(file) = spec.rationale.vectors().filter(|file| *file != STUDENT) {
        let path = project.join(file);
        std::fs::File::open(&path).map_err(FileError::on("read", &path))?;
    }
    if let Some((scorer, _)) = spec.rationale.scorer().filter(|(scorer, _)| *scorer != READER) {
        RunDirectory::exactly(project, scorer)?;
    }
    let chat = &spec.rationale.chat;
    if spec.student == "toy" {
        // The toy never learnt to converse.
        return if chat.is_plain() { Ok(()) } else { Err(StudentError::NoChatTemplate.into()) };
    }
    let folder = project.join(&spec.student);
    // A hub id that is not here is fetched by the worker, which may take long.
    if folder.is_dir() || !hub::is_id(&spec.student) {
        refuse_both(&folder, spec)?;
        check_chat(chat, weights::check(&folder)?)?;
    } else if let Some(folder) = hub::cached(&spec.student).filter(|_| !chat.is_plain()) {
        check_chat(chat, weights::check(&folder)?)?;
    }
    Ok(())
}

/// Whether a student can be asked as a recipe wants it.
fn check_chat(chat: &Chat, tokenizer: Tokenizer) -> Result<(), StudentError> {
    Framing::new(chat, tokenizer).map(drop)
}

/// Opens a run's data set.
pub fn dataset(project: &Path, spec: &RunSpec) -> Result<Dataset, RunError> {
    Ok(Catalog::new(project).open(&spec.dataset)?)
}

/// What to try where a fine-tune does not fit, from [`Estimate::that_fits`].
pub fn what_fits(found: &[String]) -> String {
    match found {
        [] => "no batch fits, not even with adapters · shorten training.max_length, or take a smaller student".into(),
        some => format!("{} would fit", some.join(", or ")),
    }
}

/// Bytes of memory that are free, and all of them, where the system says.
pub fn memory() -> Option<(u64, u64)> {
    let wanted = sysinfo::RefreshKind::nothing().with_memory(sysinfo::MemoryRefreshKind::everything());
    let system = sysinfo::System::new_with_specifics(wanted).ok()?;
    Some((system.available_memory(), system.total_memory())).filter(|(_, all)| *all > 0)
}

/// Bytes that are free where a device computes.
pub fn free_memory(device: &Device) -> Option<u64> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        let free = candle_core::cuda_backend::cudarc::driver::result::mem_get_info();
        return free.ok().map(|(free, _)| free as u64);
    }
    available_memory().filter(|_| device.is_cpu())
}

/// Bytes that are free.
pub fn available_memory() -> Option<u64> {
    memory().map(|(available, _)| available).filter(|bytes| *bytes > 0)
}

/// What a fine-tune asks of memory. `lora` are the adapters that are trained, new ones or those of the student, and
/// `longest` is the longest sequence of a batch.
pub fn plan<'a>(training: &TrainingSettings, lora: Option<&'a Lora>, longest: usize, device: &Device) -> Plan<'a> {
    Plan {
        batch: training.batch_size,
        length: longest,
        lora,
        precision: training.precision,
        recompute: training.recompute,
        ops: training.ops.available(device, training.precision.dtype()),
        on_gpu: !device.is_cpu(),
    }
}

/// Refuses a fine-tune that would be killed for its memory.
pub fn check_memory(
    family: &Family,
    architecture: &Architecture,
    plan: &Plan,
    device: &Device,
    is_loaded: bool,
) -> Result<(), RunError> {
    let estimate = Estimate::of(family, architecture, plan);
    let loaded = if is_loaded { estimate.weights } else { 0 };
    let needed = estimate.total - loaded;
    match free_memory(device).filter(|available| needed > *available) {
        Some(available) => Err(RunError::WontFit {
            needed: indicatif::HumanBytes(needed).to_string(),
            available: indicatif::HumanBytes(available).to_string(),
            fits: what_fits(&Estimate::that_fits(family, architecture, plan, available + loaded)),
        }),
        None => Ok(()),
    }
}
