//! Low-rank adapters (Hu et al. 2021): the weights stay as they were published, and small matrices beside them learn.
//!
//! They are kept under the names of PEFT, which reads the folders that are written here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::families::Family;
use super::{Architecture, Student, StudentError, hub, weights};
use crate::files;
use crate::seeds::Stream;
use crate::text;

/// What PEFT calls the files.
pub const CONFIG: &str = "adapter_config.json";
pub const WEIGHTS: &str = "adapter_model.safetensors";
/// All linear maps of the layers.
pub const ALL: &str = "all-linear";
/// The parts of a layer that can have adapters.
const PARTS: [&str; 4] = ["attention.in", "attention.out", "mlp.in", "mlp.out"];

/// Settings of the adapters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lora {
    /// Columns of the first matrix, rows of the second.
    pub rank: usize,
    /// The product is multiplied by alpha / rank, or by alpha / √rank where `rank_stabilized`.
    pub alpha: f64,
    /// How often a number that an adapter reads is dropped in training.
    pub dropout: f64,
    /// Which maps have adapters, by their published names (`q_proj`, `c_attn`), or `all-linear`.
    pub targets: Vec<String>,
    /// Kalajdzievski 2023.
    pub rank_stabilized: bool,
    /// Liu et al. 2024: each output's length is learned apart from its direction.
    pub dora: bool,
}

impl Default for Lora {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0, dropout: 0.0, targets: vec![ALL.into()], rank_stabilized: false, dora: false }
    }
}

impl Lora {
    /// What the product of the two matrices is multiplied by.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }

    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), String> {
        if self.rank == 0 || self.rank > 1 << 14 {
            return Err(format!("training.lora.rank is {}; it must be a whole number from 1 to 16384", self.rank));
        }
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            return Err(format!("training.lora.alpha is {}; it must be above 0", self.alpha));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("training.lora.dropout is {}; it must be at least 0 and below 1", self.dropout));
        }
        if self.targets.is_empty() {
            return Err(format!("training.lora.targets is empty; `{ALL}` means all"));
        }
        Ok(())
    }

    /// Like [`Lora::check`], and whether a student has the maps that are named.
    pub fn check_for(&self, family: &Family, architecture: &Architecture) -> Result<(), String> {
        self.check()?;
        self.places(family, architecture).map(drop)
    }

    /// The maps that get adapters.
    pub(super) fn places(&self, family: &Family, architecture: &Architecture) -> Result<Vec<Place>, String> {
        let known = module_names(family);
        if let Some(other) = self.targets.iter().find(|target| *target != ALL && !known.contains(&target.as_str())) {
            let other = text::excerpt(other, 40);
            return Err(format!(
                "training.lora.targets: `{other}` is no linear map of {} · it has {}",
                family.name,
                known.join(", ")
            ));
        }
        let wanted = |name: &str| self.targets.iter().any(|target| target == ALL || target == name);
        let mut places = Vec::new();
        for layer in 0..architecture.layers.len() {
            for part in PARTS {
                let ours = format!("layers.{layer}.{part}");
                let inputs = match part {
                    "attention.out" => architecture.heads * architecture.head,
                    "mlp.out" => architecture.inner,
                    _ => architecture.width,
                };
                let published = family.names.published(&format!("{ours}.weight"));
                let columns = match published.len() {
                    1 => vec![architecture.joined(part).iter().sum()],
                    _ => architecture.joined(part),
                };
                let mut from = 0;
                for (published, outputs) in published.into_iter().zip(columns) {
                    let published = published.trim_end_matches(".weight").to_owned();
                    if wanted(last_name(&published)) {
                        places.push(Place { part, map: ours.clone(), from, published, inputs, outputs });
                    }
                    from += outputs;
                }
            }
        }
        Ok(places)
    }
}

/// A published map with an adapter, and where it lies in ours.
pub struct Place {
    /// Ours, of the layer: `attention.in`.
    part: &'static str,
    /// Ours: `layers.0.attention.in`.
    pub map: String,
    /// The first of its outputs there: ours may join several maps side by side.
    pub from: usize,
    /// Theirs: `model.layers.0.self_attn.k_proj`.
    published: String,
    pub inputs: usize,
    pub outputs: usize,
}

impl Place {
    /// Our names of the two matrices, (inputs, rank) and (rank, outputs).
    pub fn names(&self) -> [String; 2] {
        ["a", "b"].map(|which| format!("{}.lora.{}.{which}", self.map, self.from))
    }

    /// Our name of what each output's length is, (outputs), where that is learned.
    pub fn length_name(&self) -> String {
        format!("{}.lora.{}.length", self.map, self.from)
    }

    /// The names of its tensors, ours and those of PEFT.
    fn tensors(&self, settings: &Lora) -> Vec<(Kind, String, String)> {
        let published = |which: &str| format!("base_model.model.{}.lora_{which}", self.published);
        let [a, b] = self.names();
        let mut all = vec![(Kind::A, a, published("A.weight")), (Kind::B, b, published("B.weight"))];
        if settings.dora {
            all.push((Kind::Length, self.length_name(), published("magnitude_vector")));
        }
        all
    }

    /// One of its tensors as PEFT keeps it: matrices transposed, outputs in the published order.
    fn to_published(&self, kind: Kind, ours: &Tensor, student: &Student) -> Result<Tensor, StudentError> {
        let (names, architecture) = (&student.family.names, &student.decoder.architecture);
        let turned = if kind == Kind::Length { ours.clone() } else { ours.t()?.contiguous()? };
        match kind {
            Kind::A => Ok(turned),
            _ => Ok(names.outputs_to_published(self.part, &turned, architecture)?),
        }
    }

    /// And back.
    fn to_ours(&self, kind: Kind, published: &Tensor, student: &Student) -> Result<Tensor, StudentError> {
        let (names, architecture) = (&student.family.names, &student.decoder.architecture);
        let ordered = match kind {
            Kind::A => published.clone(),
            _ => names.outputs_to_ours(self.part, published, architecture)?,
        };
        Ok(if kind == Kind::Length { ordered } else { ordered.t()?.contiguous()? })
    }
}

/// The tensors of an adapter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    A,
    B,
    Length,
}

/// Where the lengths of DoRA begin, and what the map's new outputs are divided by: the length of each output of
/// W + scale · a b, as (outputs).
pub fn lengths(weight: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> candle_core::Result<Tensor> {
    // In `f32` always: it is a sum over all inputs.
    let wide = |tensor: &Tensor| {
        let tensor = tensor.detach();
        if tensor.dtype() == DType::F64 { Ok(tensor) } else { tensor.to_dtype(DType::F32) }
    };
    let moved = (wide(weight)? + (wide(a)?.matmul(&wide(b)?)? * scale)?)?;
    moved.sqr()?.sum(0)?.sqrt()?.to_dtype(weight.dtype())
}

/// The linear maps of a family's layers, by the last part of their names.
fn module_names(family: &Family) -> Vec<&'static str> {
    let parts = family.names.parts.iter().filter(|(ours, _)| PARTS.contains(ours));
    let mut names: Vec<&str> = parts.flat_map(|(_, theirs)| theirs.iter().map(|name| last_name(name))).collect();
    let mut seen = std::collections::HashSet::new();
    // GPT-2 calls two of them alike.
    names.retain(|name| seen.insert(*name));
    names
}

fn last_name(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// What a decoder needs to know of its adapters.
#[derive(Default)]
pub struct Adapters<'a> {
    pub places: &'a [Place],
    pub settings: Option<&'a Lora>,
}

/// An adapted student: where its published weights are, and the weights themselves.
#[derive(Clone)]
pub struct Adapted {
    pub settings: Lora,
    /// Where the published weights are: a folder, or a hub id.
    pub base: String,
    /// Under our names; never changed.
    pub weights: HashMap<String, Tensor>,
}

impl Student {
    /// Freezes the weights and puts adapters beside them. The first matrix is drawn at random and the second is zero, so
    /// that nothing has changed yet.
    pub fn with_adapters(self, settings: &Lora, seed: u64, base: &str) -> Result<Self, StudentError> {
        let device = self.decoder.device().clone();
        let places = self.places(settings)?;
        let weights: HashMap<String, Tensor> =
            self.parameters.iter().map(|(name, var)| (name.clone(), var.as_tensor().detach())).collect();
        let mut parameters = Vec::new();
        for place in &places {
            // As large as those of PEFT (Kaiming, uniform, a = √5).
            let bound = 1.0 / (place.inputs as f64).sqrt();
            let [name_a, name_b] = place.names();
            let mut stream = Stream::new(seed, &["init", &name_a]);
            let count = place.inputs * settings.rank;
            let values: Vec<f32> = (0..count).map(|_| ((2.0 * stream.uniform() - 1.0) * bound) as f32).collect();
            let a = Tensor::from_vec(values, (place.inputs, settings.rank), &device)?;
            let b = Tensor::zeros((settings.rank, place.outputs), a.dtype(), &device)?;
            parameters.push((name_a, Var::from_tensor(&a)?));
            parameters.push((name_b, Var::from_tensor(&b)?));
            if settings.dora {
                let weight = weights.get(&format!("{}.weight", place.map));
                let weight = weight.ok_or_else(|| candle_core::Error::Msg(format!("no weights `{}`", place.map)))?;
                let own = weight.narrow(1, place.from, place.outputs)?;
                parameters.push((place.length_name(), Var::from_tensor(&lengths(&own, &a, &b, settings.scale())?)?));
            }
        }
        let adapted = Adapted { settings: settings.clone(), base: base.to_owned(), weights };
        self.rebuilt(parameters, adapted)
    }

    pub(super) fn places(&self, settings: &Lora) -> Result<Vec<Place>, StudentError> {
        let places = settings.places(self.family, &self.decoder.architecture);
        places.map_err(|problem| StudentError::Vocabulary { problem })
    }

    fn rebuilt(self, parameters: Vec<(String, Var)>, adapted: Adapted) -> Result<Self, StudentError> {
        let tensors = parameters.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        let mut student = Self { parameters, adapted: Some(adapted), ..self };
        student.decoder = student.decoder_over(tensors)?;
        Ok(student)
    }

    /// Reads a folder of adapters, and the student they belong to.
    pub(super) fn load_adapters(folder: &Path, device: &Device) -> Result<Self, StudentError> {
        let Config { settings, base, weights } = read_config(folder)?;
        let student = Self::load(&weights, device)?.with_adapters(&settings, 0, &base)?;
        let saved = read_weights(folder, &student, device)?;
        for (name, variable) in &student.parameters {
            if let Some(tensor) = saved.get(name) {
                variable.set(tensor)?;
            }
        }
        Ok(student)
    }

    /// Writes the adapters into a folder that PEFT opens.
    pub(super) fn save_adapters(&self, folder: &Path, adapted: &Adapted) -> Result<(), StudentError> {
        let by_name: HashMap<&str, &Var> = self.parameters.iter().map(|(name, var)| (name.as_str(), var)).collect();
        let mut tensors = HashMap::new();
        for place in self.places(&adapted.settings)? {
            for (kind, ours, published) in place.tensors(&adapted.settings) {
                let Some(variable) = by_name.get(ours.as_str()) else { continue };
                let tensor = variable.as_tensor().detach().to_device(&Device::Cpu)?;
                tensors.insert(published, place.to_published(kind, &tensor, self)?);
            }
        }
        weights::write_tensors(&folder.join(WEIGHTS), &tensors)?;
        weights::write_json(&folder.join(CONFIG), &config(adapted, self.family))?;
        weights::write_words(folder, &self.config, &self.tokenizer)
    }

    /// The student as a whole model: every adapter multiplied out and added to its map.
    pub fn merged(&self) -> Result<HashMap<String, Tensor>, StudentError> {
        let Some(adapted) = &self.adapted else {
            return Ok(self.parameters.iter().map(|(name, var)| (name.clone(), var.as_tensor().detach())).collect());
        };
        let wide = |(name, weight): (&String, &Tensor)| Ok((name.clone(), weight.to_dtype(DType::F32)?));
        let mut weights = adapted.weights.iter().map(wide).collect::<candle_core::Result<HashMap<_, _>>>()?;
        let by_name: HashMap<&str, &Var> = self.parameters.iter().map(|(name, var)| (name.as_str(), var)).collect();
        for place in self.places(&adapted.settings)? {
            let [a, b] = place.names().map(|name| by_name.get(name.as_str()).map(|var| var.as_tensor().detach()));
            let (Some(a), Some(b), Some(weight)) = (a, b, weights.get_mut(&format!("{}.weight", place.map))) else {
                continue;
            };
            let scale = adapted.settings.scale();
            let own = weight.narrow(1, place.from, place.outputs)?;
            let mut moved = (&own + (a.matmul(&b)? * scale)?)?;
            if let Some(length) = by_name.get(place.length_name().as_str()) {
                let factors = (length.as_tensor().detach() / lengths(&own, &a, &b, scale)?)?;
                moved = moved.broadcast_mul(&factors)?;
            }
            *weight = weight.slice_assign(&[0..place.inputs, place.from..place.from + place.outputs], &moved)?;
        }
        Ok(weights)
    }
}

/// What [`Student::parameters`] of a checkpoint of this student were.
pub(super) fn read_weights(
    folder: &Path,
    student: &Student,
    device: &Device,
) -> Result<HashMap<String, Tensor>, StudentError> {
    let Some(adapted) = &student.adapted else { return Ok(HashMap::new()) };
    let path = folder.join(WEIGHTS);
    let mut published = weights::read_tensors(&path, device)?;
    let mut found = HashMap::new();
    let places = student.places(&adapted.settings)?;
    let own = |place| Place::tensors(place, &adapted.settings).into_iter().map(move |names| (place, names));
    for (place, (kind, ours, theirs)) in places.iter().flat_map(own) {
        let tensor = published.remove(&theirs).ok_or_else(|| StudentError::File {
            path: path.clone(),
            problem: format!("the tensor `{theirs}` is missing"),
        })?;
        let want = student.parameters.iter().find(|(name, _)| *name == ours).map(|(_, var)| var.dims().to_vec());
        if want.is_none_or(|want| tensor.dims().iter().rev().ne(want.iter())) {
            let problem = format!("`{theirs}` is of another shape than {CONFIG} makes it");
            return Err(StudentError::File { path: path.clone(), problem });
        }
        let tensor = tensor.to_dtype(DType::F32)?;
        if !weights::is_finite(&tensor)? {
            let problem = format!("`{theirs}` has numbers that are none (NaN or infinite)");
            return Err(StudentError::File { path: path.clone(), problem });
        }
        found.insert(ours, place.to_ours(kind, &tensor, student)?);
    }
    if let Some(other) = published.keys().min() {
        let problem = format!("the tensor `{}` has no place in what {CONFIG} describes", text::excerpt(other, 80));
        return Err(StudentError::File { path, problem });
    }
    Ok(found)
}

/// `adapter_config.json`, as PEFT reads it.
fn config(adapted: &Adapted, family: &Family) -> Value {
    let Lora { rank, alpha, dropout, targets, rank_stabilized, dora } = &adapted.settings;
    let targets: Vec<&str> = match targets.iter().any(|target| target == ALL) {
        true => module_names(family),
        false => targets.iter().map(String::as_str).collect(),
    };
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapted.base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        "target_modules": targets,
        "use_rslora": rank_stabilized,
        "use_dora": dora,
        "fan_in_fan_out": family.names.layout == super::families::Layout::Inputs,
        "bias": "none",
        "inference_mode": true,
    })
}

/// What `adapter_config.json` says.
pub struct Config {
    pub settings: Lora,
    /// As it is written there: a folder, or a hub id.
    pub base: String,
    /// The folder of the published weights.
    pub weights: PathBuf,
}

/// Settings of PEFT that nobody has asked for yet; without them an adapter would be another one.
const UNSUPPORTED: [&str; 13] = [
    "bias",
    "modules_to_save",
    "alpha_pattern",
    "rank_pattern",
    "layers_to_transform",
    "layers_pattern",
    "exclude_modules",
    "lora_bias",
    "target_parameters",
    "layer_replication",
    "trainable_token_indices",
    "megatron_config",
    "use_qalora",
];

/// Reads `adapter_config.json`, and finds the published weights.
pub fn read_config(folder: &Path) -> Result<Config, StudentError> {
    let path = folder.join(CONFIG);
    let wrong = |problem: String| StudentError::File { path: path.clone(), problem };
    let config: Value =
        serde_json::from_str(&files::read_to_string(&path)?).map_err(|error| wrong(error.to_string()))?;
    if config.get("peft_type").and_then(Value::as_str) != Some("LORA") {
        return Err(wrong("only adapters of the type LORA are supported".into()));
    }
    // Keys that change what an adapter does, where they are more than nothing.
    let is_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text == "none",
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    for key in UNSUPPORTED {
        if config.get(key).is_some_and(|value| !is_nothing(value)) {
            return Err(wrong(format!("`{key}` is not supported")));
        }
    }
    let number =
        |key: &str| config.get(key).and_then(Value::as_f64).ok_or_else(|| wrong(format!("`{key}` is missing")));
    let flag = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
    let targets = match config.get("target_modules") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(name)) => vec![name.clone()],
        _ => return Err(wrong("`target_modules` is missing".into())),
    };
    let settings = Lora {
        rank: config
            .get("r")
            .and_then(Value::as_u64)
            .ok_or_else(|| wrong("`r` is missing or no whole number".into()))? as usize,
        alpha: number("lora_alpha")?,
        dropout: config.get("lora_dropout").and_then(Value::as_f64).unwrap_or(0.0),
        targets,
        rank_stabilized: flag("use_rslora"),
        dora: flag("use_dora"),
    };
    settings.check().map_err(wrong)?;
    let base = config.get("base_model_name_or_path").and_then(Value::as_str);
    let base = base.ok_or_else(|| wrong("`base_model_name_or_path` is missing".into()))?;
    let local = PathBuf::from(base);
    let weights = if local.is_dir() { Some(local) } else { hub::cached(base) };
    let base = base.to_owned();
    match weights {
        Some(weights) if weights.join(CONFIG).exists() => Err(wrong(format!(
            "{} (`base_model_name_or_path`) is a folder of adapters itself; it must be a whole student",
            text::excerpt(&base, 80)
        ))),
        Some(weights) => Ok(Config { settings, base, weights }),
        None if hub::is_id(&base) => {
            let base = text::line(&base).into_owned();
            Err(wrong(format!("these adapters belong to {base} · `afterthought student fetch {base}` fetches it")))
        }
        None => Err(wrong(format!(
            "there is no folder {} (`base_model_name_or_path`) · put the student that these adapters belong to there, \
             or change the path",
            text::excerpt(&base, 80)
        ))),
    }
}
