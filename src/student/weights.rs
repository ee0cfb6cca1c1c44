//! A student on the disk: the Hugging Face layout (`config.json`, `model.safetensors`, `tokenizer.json` or what older
//! models have in its place).

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use super::architecture::Parameter;
use super::families::Family;
use super::lora;
use super::tensor_files::TensorFiles;
use super::tokenizer::Specials;
use super::tokenizer_config::TokenizerConfig;
use super::{Architecture, StudentError, Tokenizer};
use crate::files;
use crate::seeds::Stream;
use crate::text;

/// Reads `config.json` alone: enough to say what a student would be.
pub fn read_config(folder: &Path) -> Result<(&'static Family, Architecture, Value), StudentError> {
    if !folder.is_dir() {
        return Err(StudentError::NoFolder { path: folder.to_owned() });
    }
    let path = own_or_base(folder, &["config.json"])?.join("config.json");
    let file = |problem: String| StudentError::File { path: path.clone(), problem };
    let text = files::read_to_string(&path)?;
    let config: Value = serde_json::from_str(&text).map_err(|error| file(error.to_string()))?;
    let (family, architecture) = Family::read(&config).map_err(file)?;
    Ok((family, architecture, config))
}

/// A folder itself where it has one of these files. PEFT writes adapters without them; they are then those of the student
/// that the adapters belong to.
fn own_or_base(folder: &Path, files: &[&str]) -> Result<PathBuf, StudentError> {
    let is_bare = !files.iter().any(|file| folder.join(file).exists()) && folder.join(lora::CONFIG).exists();
    Ok(if is_bare { lora::read_config(folder)?.weights } else { folder.to_owned() })
}

/// Reads a student's tokenizer and checks that its ids have rows in the word table.
pub fn read_tokenizer(
    folder: &Path,
    family: &Family,
    config: &Value,
    architecture: &Architecture,
) -> Result<Tokenizer, StudentError> {
    let folder = &*own_or_base(folder, &["tokenizer.json", "vocab.json", "tokenizer.model"])?;
    let wrong = |problem: String| StudentError::File { path: folder.join("config.json"), problem };
    let beside = TokenizerConfig::read(folder)?;
    let mut bos = token_id(config, "bos_token_id").map_err(wrong)?;
    let eos = token_id(config, "eos_token_id").map_err(wrong)?;
    // The ids that mark tokens in a bare vocabulary; a missing eos is looked up by its name below.
    let known = Specials { bos, eos: eos.unwrap_or(u32::MAX), mask: None, unknown: None };
    let (path, mut tokenizer) = find_tokenizer(folder, known, &beside)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let named = |key: &str| beside.named.get(key).and_then(|token| tokenizer.id_of(token));
    let missing = || {
        wrong(
            "`eos_token_id` is missing, and tokenizer_config.json names no `eos_token` either: the student could not \
             learn where to stop · write it into config.json"
                .into(),
        )
    };
    let eos = eos.or_else(|| named("eos_token")).ok_or_else(missing)?;
    match beside.adds_bos {
        Some(true) => bos = bos.or_else(|| named("bos_token")),
        Some(false) => bos = None,
        // Files often name a bos that no text of theirs begins with.
        None if family.bos_is_eos => {}
        None => bos = bos.filter(|bos| tokenizer.puts_first(*bos) != Some(false)),
    }
    let size = tokenizer.size();
    for (key, id) in [("bos_token_id", bos), ("eos_token_id", Some(eos))] {
        if let Some(id) = id.filter(|id| *id as usize >= size) {
            return Err(wrong(format!(
                "`{key}` is {id}, but {file} has {size} ids, from 0 · use the config.json and the {file} that were \
                 published with this model"
            )));
        }
    }
    // A sequence begins with bos only where the student has one of its own, unless its family says otherwise.
    let bos = bos.filter(|bos| *bos != eos || family.bos_is_eos);
    let find = |token: &str| tokenizer.id_of(token);
    let mask = find("<mask>").or_else(|| find("[MASK]"));
    let unknown = find("<unk>").or_else(|| find("[UNK]"));
    tokenizer.specials = Specials { bos, eos, mask, unknown };
    let used = [bos, Some(eos), mask, unknown].into_iter().flatten().max().map_or(0, |id| id as usize + 1);
    let reach = tokenizer.reach().max(used);
    if reach > architecture.vocabulary {
        return Err(StudentError::File {
            path,
            problem: format!(
                "the tokenizer has {reach} ids but the model's word table only {} rows · use the {file} that was \
                 published with this model",
                architecture.vocabulary
            ),
        });
    }
    if path.extension().is_some_and(|extension| extension == "model") {
        tokenizer.put_bos_first()?;
    }
    Ok(tokenizer.with_config(beside))
}

/// The tokenizer, and the file it was read from: the first of those that students are published with.
fn find_tokenizer(
    folder: &Path,
    specials: Specials,
    beside: &TokenizerConfig,
) -> Result<(PathBuf, Tokenizer), StudentError> {
    let [whole, vocabulary, merges, pieces] =
        ["tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model"].map(|file| folder.join(file));
    if whole.exists() {
        let tokenizer = Tokenizer::from_file(&whole, specials)?;
        return Ok((whole, tokenizer));
    }
    if vocabulary.exists() && merges.exists() {
        let tokenizer = Tokenizer::from_vocabulary(&vocabulary, &merges, specials, beside)?;
        return Ok((vocabulary, tokenizer));
    }
    if pieces.exists() {
        let tokenizer = Tokenizer::from_sentencepiece(&pieces, specials, beside)?;
        return Ok((pieces, tokenizer));
    }
    let problem = "the file is missing, and so are vocab.json with merges.txt and tokenizer.model, which would do as \
                   well · copy one of them from where the student was published";
    Err(StudentError::File { path: whole, problem: problem.into() })
}

/// A token's id in `config.json`. Newer ones list several that end a text; the first is the one that was trained.
fn token_id(config: &Value, key: &str) -> Result<Option<u32>, String> {
    let id = match config.get(key) {
        Some(Value::Array(several)) => several.first(),
        one => one,
    };
    let Some(id) = id.filter(|id| !id.is_null()) else { return Ok(None) };
    let whole = id.as_u64().and_then(|id| u32::try_from(id).ok());
    whole.map(Some).ok_or_else(|| format!("`{key}` is {}, which is no token id", text::excerpt(&id.to_string(), 40)))
}

/// Whether a folder holds a student that can be trained: its words, and weights of the right names and shapes, all of them
/// numbers. They are read once, one by one, and none is kept.
pub fn check(folder: &Path) -> Result<Tokenizer, StudentError> {
    let (family, architecture, config) = read_config(folder)?;
    let tokenizer = read_tokenizer(folder, family, &config, &architecture)?;
    if folder.join(lora::CONFIG).exists() {
        // The adapters themselves are small: whoever loads them says what is wrong with them.
        let base = lora::read_config(folder)?.weights;
        find_tensors(&base, family, &architecture)?;
        read_tensors(&folder.join(lora::WEIGHTS), &Device::Cpu)?;
        return Ok(tokenizer);
    }
    let stored = find_tensors(folder, family, &architecture)?;
    for name in stored.wanted.iter().flat_map(|(_, names)| names) {
        if !is_finite(&stored.files.load(name, &Device::Cpu)?)? {
            return Err(not_finite(stored.path, name));
        }
    }
    Ok(tokenizer)
}

/// A model without its tokenizer.
pub struct Model {
    pub family: &'static Family,
    pub config: Value,
    pub architecture: Architecture,
    pub weights: HashMap<String, Tensor>,
}

/// Reads `config.json` and the weights.
pub fn read_model(folder: &Path, device: &Device) -> Result<Model, StudentError> {
    let (family, architecture, config) = read_config(folder)?;
    let weights = read_weights(folder, family, &architecture, device)?;
    Ok(Model { family, config, architecture, weights })
}

/// Reads everything; the tokenizer first, as it is quickly found wrong.
pub fn read(folder: &Path, device: &Device) -> Result<(Model, Tokenizer), StudentError> {
    let (family, architecture, config) = read_config(folder)?;
    let tokenizer = read_tokenizer(folder, family, &config, &architecture)?;
    Ok((read_model(folder, device)?, tokenizer))
}

/// The tensors of a folder, each where it is wanted, before any number is read.
struct Stored {
    files: TensorFiles,
    /// The file that is named in errors.
    path: PathBuf,
    /// Our parameters, and the published names behind each.
    wanted: Vec<(Parameter, Vec<String>)>,
}

/// Finds the weights of a folder and checks that they have the names and shapes that `config.json` makes them.
fn find_tensors(folder: &Path, family: &Family, architecture: &Architecture) -> Result<Stored, StudentError> {
    let paths = find_weights(folder)?;
    let files = TensorFiles::open(&paths)?;
    let path = paths.first().cloned().unwrap_or_default();
    let wrong = |problem: String| StudentError::File { path: path.clone(), problem };
    // Some published files leave out the outermost name.
    let bare = |name: &str| name.split_once('.').map_or(String::new(), |(_, bare)| bare.to_owned());
    let mut wanted = Vec::new();
    let mut known = BTreeSet::new();
    for parameter in architecture.parameters() {
        let names = family.names.published(&parameter.name);
        let shapes = family.names.shapes(architecture, &parameter);
        let mut stored = Vec::new();
        for (name, shape) in names.into_iter().zip(shapes) {
            let found = [name.clone(), bare(&name)].into_iter().find(|name| files.shape(name).is_some());
            let found = found.ok_or_else(|| wrong(format!("the tensor `{name}` is missing")))?;
            let got = files.shape(&found).unwrap_or_default();
            if got != shape {
                return Err(wrong(format!("`{name}` has shape {got:?} where config.json makes it {shape:?}")));
            }
            known.insert(found.clone());
            stored.push(found);
        }
        wanted.push((parameter, stored));
    }
    let others = files.names().filter(|name| !known.contains(*name) && !family.is_buffer(name, architecture));
    if let Some(name) = others.min() {
        let name = text::excerpt(name, 80);
        return Err(wrong(format!("the tensor `{name}` has no place in a {} model of this config.json", family.name)));
    }
    Ok(Stored { files, path, wanted })
}

/// Reads the weights under our names, in `f32`.
fn read_weights(
    folder: &Path,
    family: &Family,
    architecture: &Architecture,
    device: &Device,
) -> Result<HashMap<String, Tensor>, StudentError> {
    let Stored { files, path, wanted } = find_tensors(folder, family, architecture)?;
    let mut weights = HashMap::new();
    for (parameter, names) in wanted {
        let parts: Vec<Tensor> = names.iter().map(|name| files.load(name, device)).collect::<Result<_, _>>()?;
        let tensor = family.names.join(architecture, &parameter, &parts)?.to_dtype(DType::F32)?;
        if !is_finite(&tensor)? {
            return Err(not_finite(path, &names.join("`, `")));
        }
        weights.insert(parameter.name, tensor);
    }
    Ok(weights)
}

/// Reads the table of words alone, (vocabulary, width) in `f32`; of adapters, that of the student they belong to.
pub fn read_words(folder: &Path) -> Result<Tensor, StudentError> {
    let folder =
        if folder.join(lora::CONFIG).exists() { lora::read_config(folder)?.weights } else { folder.to_owned() };
    let (family, architecture, _) = read_config(&folder)?;
    let Stored { files, path, wanted } = find_tensors(&folder, family, &architecture)?;
    let words = wanted.into_iter().find(|(parameter, _)| parameter.name == "words");
    let missing = || StudentError::File { path, problem: "there is no table of words".into() };
    let (parameter, names) = words.ok_or_else(missing)?;
    let parts: Vec<Tensor> = names.iter().map(|name| files.load(name, &Device::Cpu)).collect::<Result<_, _>>()?;
    Ok(family.names.join(&architecture, &parameter, &parts)?.to_dtype(DType::F32)?)
}

fn not_finite(path: PathBuf, names: &str) -> StudentError {
    StudentError::File { path, problem: format!("`{names}` has numbers that are none (NaN or infinite)") }
}

/// Whether every number is one, looked at in pieces: a copy of a large table would cost more than reading it.
pub(super) fn is_finite(tensor: &Tensor) -> Result<bool, StudentError> {
    const PIECE: usize = 1 << 20;
    let flat = tensor.flatten_all()?;
    for first in (0..flat.elem_count()).step_by(PIECE) {
        let piece = flat.narrow(0, first, PIECE.min(flat.elem_count() - first))?;
        // Zero times a number is zero, but not of what is none.
        if (piece.to_dtype(DType::F32)? * 0.0)?.sum_all()?.to_scalar::<f32>()? != 0.0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads a safetensors file; a broken one is named, with what to do.
pub fn read_tensors(path: &Path, device: &Device) -> Result<HashMap<String, Tensor>, StudentError> {
    let files = TensorFiles::open(&[path.to_owned()])?;
    let names: Vec<String> = files.names().map(str::to_owned).collect();
    names.into_iter().map(|name| Ok((name.clone(), files.load(&name, device)?))).collect()
}

/// The files of the weights: one, or those that the index of a model in several files lists.
fn find_weights(folder: &Path) -> Result<Vec<PathBuf>, StudentError> {
    let path = folder.join("model.safetensors");
    if path.exists() {
        return Ok(vec![path]);
    }
    let index = folder.join("model.safetensors.index.json");
    if !index.exists() {
        return Err(StudentError::File { problem: missing_weights(folder), path });
    }
    let wrong = |problem: String| StudentError::File { path: index.clone(), problem };
    let names = shards(&index)?;
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    match paths.iter().find(|path| !path.exists()) {
        Some(missing) => {
            Err(wrong(format!("it lists {}, which is missing · fetch the model again", missing.display())))
        }
        None if paths.is_empty() => Err(wrong("it lists no files".into())),
        None => Ok(paths),
    }
}

/// The type in which the weights of a folder are stored, from the headers of its files.
pub fn stored_dtype(folder: &Path) -> Result<DType, StudentError> {
    Ok(TensorFiles::open(&find_weights(folder)?)?.dtype().unwrap_or(DType::F32))
}

/// The names of the files that an index lists.
pub fn shards(index: &Path) -> Result<BTreeSet<String>, StudentError> {
    let wrong = |problem: String| StudentError::File { path: index.to_owned(), problem };
    let listed: Value =
        serde_json::from_str(&files::read_to_string(index)?).map_err(|error| wrong(error.to_string()))?;
    let map = listed.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| wrong("it has no `weight_map`".into()))?;
    let names: BTreeSet<String> = map.values().filter_map(Value::as_str).map(str::to_owned).collect();
    // A name with a folder in it could point anywhere.
    match names.iter().find(|name| Path::new(name).file_name() != Some(name.as_ref())) {
        Some(name) => Err(wrong(format!("`{}` is no name of a file", text::excerpt(name, 80)))),
        None => Ok(names),
    }
}

fn missing_weights(folder: &Path) -> String {
    if folder.join("pytorch_model.bin").exists() || folder.join("pytorch_model.bin.index.json").exists() {
        "only pytorch_model.bin is there, and unpickling it could run any code · convert it to safetensors first".into()
    } else {
        "the file is missing · a student needs config.json, model.safetensors and tokenizer.json (or vocab.json with \
         merges.txt, or tokenizer.model)"
            .into()
    }
}

/// Fresh weights. Each tensor has a random stream of its own, so that a layer more changes no other layer.
pub fn initial(
    architecture: &Architecture,
    seed: u64,
    device: &Device,
) -> Result<HashMap<String, Tensor>, StudentError> {
    use super::architecture::Initial;
    let mut weights = HashMap::new();
    for parameter in architecture.parameters() {
        let count = parameter.shape.iter().product();
        let values: Vec<f32> = match parameter.initial {
            Initial::Zeros => vec![0.0; count],
            Initial::Ones => vec![1.0; count],
            Initial::Normal(deviation) => {
                let mut stream = Stream::new(seed, &["init", &parameter.name]);
                (0..count).map(|_| (stream.normal() * deviation) as f32).collect()
            }
        };
        weights.insert(parameter.name, Tensor::from_vec(values, parameter.shape, device)?);
    }
    Ok(weights)
}

/// Writes the files of a student into a folder that exists. `weights` gives the tensor of each of our names.
pub fn write(
    folder: &Path,
    family: &Family,
    config: &Value,
    architecture: &Architecture,
    tokenizer: &Tokenizer,
    mut weights: impl FnMut(&str) -> Option<Tensor>,
) -> Result<(), StudentError> {
    let mut tensors = HashMap::new();
    for parameter in architecture.parameters() {
        let missing = || StudentError::Vocabulary { problem: format!("no weights for `{}`", parameter.name) };
        let tensor = weights(&parameter.name).ok_or_else(missing)?.to_device(&Device::Cpu)?;
        let names = family.names.published(&parameter.name);
        tensors.extend(names.into_iter().zip(family.names.split(architecture, &parameter, &tensor)?));
    }
    write_tensors(&folder.join("model.safetensors"), &tensors)?;
    write_words(folder, config, tokenizer)
}

/// Writes `config.json` and the tokenizer.
pub fn write_words(folder: &Path, config: &Value, tokenizer: &Tokenizer) -> Result<(), StudentError> {
    let mut config = config.clone();
    if let Some(config) = config.as_object_mut() {
        // What is written is f32, whatever was read; files of either age name it in their own way.
        let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        config.insert(key.into(), "float32".into());
    }
    write_json(&folder.join("config.json"), &config)?;
    write_json(&folder.join("tokenizer_config.json"), &tokenizer.config())?;
    let json = tokenizer.to_json()?;
    files::replace(&folder.join("tokenizer.json"), |out| out.write_all(json.as_bytes()))?;
    Ok(())
}

/// Writes a safetensors file, with the mark that transformers looks for.
pub fn write_tensors(path: &Path, tensors: &HashMap<String, Tensor>) -> Result<(), StudentError> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| StudentError::File { path: path.to_owned(), problem: error.to_string() })?;
    files::replace(path, |out| out.write_all(&bytes))?;
    Ok(())
}

/// Writes a JSON file to be read by people too.
pub fn write_json(path: &Path, value: &Value) -> Result<(), StudentError> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    Ok(files::replace(path, |out| out.write_all(text.as_bytes()))?)
}
