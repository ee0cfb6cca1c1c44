//! From a run's specification to a student and encoded examples.

use std::path::{Path, PathBuf};

use candle_core::Device;

use super::RunError;
use super::directory::RunDirectory;
use super::lending;
use super::preview::Target;
use super::spec::RunSpec;
use crate::corpus::{Catalog, CorpusError, Dataset, Example};
use crate::files::FileError;
use crate::rationale::recipe::{READER, STUDENT};
use crate::rationale::{Chat, Framing, Recipe, Renderer};
use crate::student::lora::{self, Lora};
use crate::student::memory::{Estimate, Plan};
use crate::student::{Architecture, Family, Student, StudentError, Teacher, Tokenizer, hub, toy, weights};
use crate::training::TrainingSettings;
use crate::training::settings::SoftLabels;

/// The split that students are trained on.
pub const TRAIN: &str = "train";

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
    match folder_of_student(project, name) {
        Some(folder) => Ok(Some(folder)),
        None if name == "toy" => Ok(None),
        None if hub::is_id(name) => hub::fetch(name, report).map(Some),
        // Whoever reads it says that it is not there.
        None => Ok(Some(project.join(name))),
    }
}

/// Where a student's files are, if they are here; none for the toy.
pub fn folder_of_student(project: &Path, name: &str) -> Option<PathBuf> {
    if name == "toy" {
        return None;
    }
    let folder = project.join(name);
    if folder.is_dir() { Some(folder) } else { hub::cached(name).filter(|_| hub::is_id(name)) }
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
            let mut tokenizer = toy_tokenizer(dataset, &spec.rationale, &train[..train.len().min(VOCABULARY_ROWS)])?;
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

/// The teacher of soft labels for a student whose longest sequence has `longest` tokens.
pub fn teacher(
    project: &Path,
    training: &TrainingSettings,
    soft: &SoftLabels,
    student: &Student,
    longest: usize,
) -> Result<Teacher, RunError> {
    let refused = |problem: String| RunError::Teacher { name: crate::text::line(&soft.teacher).into(), problem };
    let found = Student::load(Target::find(project, &soft.teacher)?.folder(), student.decoder.device())?;
    let found = found.computing_in(training.precision)?;
    let (own, other) = (&student.decoder.architecture, &found.decoder.architecture);
    let differs = (0..student.tokenizer.size() as u32)
        .find(|id| student.tokenizer.token(*id) != found.tokenizer.token(*id))
        .map(|id| format!("token {id} is another one"));
    let differs = match (own.vocabulary, other.vocabulary) {
        (own, other) if own != other => Some(format!("{other} tokens and not {own}")),
        _ => differs,
    };
    if let Some(differs) = differs {
        return Err(refused(format!(
            "its vocabulary is not the student's ({differs}) · soft labels need a teacher of the same family"
        )));
    }
    if other.context < longest {
        return Err(refused(format!(
            "it reads {} tokens, and the longest example has {longest} · set training.max_length: {}",
            other.context, other.context
        )));
    }
    let ops = student.decoder.ops();
    let decoder = found.decoder.frozen().with_ops(ops);
    Ok(Teacher { decoder, temperature: soft.temperature, share: soft.share })
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

/// The toy student's tokenizer for a data set and a recipe, from [`vocabulary_examples`].
pub fn toy_tokenizer(dataset: &Dataset, recipe: &Recipe, train: &[Example]) -> Result<Tokenizer, RunError> {
    let template = &dataset.meta.template;
    let chosen = lending::texts(dataset, recipe, train)?;
    let counterfactual = recipe.counterfactual.as_ref().and_then(|settings| settings.source.as_deref());
    let swapped = recipe.swap().and_then(|swap| swap.source.as_deref());
    let read = |source: Option<&str>| source.map(|source| dataset.source(source)).transpose();
    let lent = [read(counterfactual)?, read(swapped)?];
    let own = |(place, example): (usize, &Example)| {
        let labels = example.choices.iter().map(|choice| template.label_text(choice));
        let mut texts: Vec<String> = labels.collect();
        texts.push(template.prompt_text(example).0);
        texts.extend(example.rationale.clone());
        texts.extend(chosen.get(place).into_iter().flatten().skip(1).cloned());
        let lent = lent.iter().flatten().filter_map(|source| source.get(&example.id)).flatten();
        texts.extend(lent.filter_map(|one| one.rationale.clone()));
        // As often as they stand before a question.
        texts.extend(recipe.prefixes().iter().map(|task| task.prefix().to_owned()));
        texts
    };
    let leads = [template.answer.clone(), template.rationale.clone()];
    let texts: Vec<String> = leads.into_iter().chain(train.iter().enumerate().flat_map(own)).collect();
    Ok(toy::tokenizer(texts.into_iter())?)
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
        task: spec.rationale.task(),
        loss: spec.training.loss,
        max_length: spec.training.max_length.unwrap_or(context).min(context),
        seed: spec.seed.ablation,
        vectors: None,
    })
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
    if let Some(soft) = &spec.training.soft_labels {
        Target::find(project, &soft.teacher)?;
    }
    let swapped = spec.rationale.swap().and_then(|swap| swap.source.as_deref());
    let counterfactual = spec.rationale.counterfactual.as_ref().and_then(|settings| settings.source.as_deref());
    for source in swapped.into_iter().chain(counterfactual) {
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
