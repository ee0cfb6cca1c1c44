//! Reading a published `config.json`: numbers in sane ranges, old and new names of the same setting.

use serde_json::Value;

use crate::student::Architecture;
use crate::student::architecture::{Activation, Biases, Layer, Norm, NormKind, Positions, Residual, Rotary, Scaling};
use crate::text;

/// Far beyond any published model, and small enough that nothing overflows or is listed for ever.
pub const LARGEST_VOCABULARY: usize = 1 << 24;
pub const LONGEST_CONTEXT: usize = 1 << 24;
pub const WIDEST: usize = 1 << 17;
pub const MOST_LAYERS: usize = 1000;

/// What transformers takes where a file does not name it.
#[derive(Clone, Copy, Default)]
pub struct PublishedHeads {
    pub kv_heads: Option<usize>,
    pub head: Option<usize>,
}

/// A `config.json`.
#[derive(Clone, Copy)]
pub struct Config<'a>(pub &'a Value);

impl<'a> Config<'a> {
    fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A whole number from 1 to `most`, under the first of several names; `None` where none of them is there.
    pub fn number(self, keys: &[&str], most: usize) -> Result<Option<usize>, String> {
        let Some((key, value)) = keys.iter().find_map(|key| Some((key, self.get(key)?))) else { return Ok(None) };
        match value.as_u64() {
            Some(number) if (1..=most as u64).contains(&number) => Ok(Some(number as usize)),
            _ => {
                let value = text::excerpt(&value.to_string(), 40);
                Err(format!("`{key}` is {value}; it must be a whole number from 1 to {most}"))
            }
        }
    }

    /// Like [`Config::number`], but it must be there.
    pub fn needed(self, keys: &[&str], most: usize) -> Result<usize, String> {
        self.number(keys, most)?.ok_or_else(|| format!("`{}` is missing or no whole number", keys[0]))
    }

    /// A number above 0.
    pub fn positive(self, key: &str) -> Result<Option<f64>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) if number > 0.0 && number.is_finite() => Ok(Some(number)),
                _ => Err(format!("`{key}` is {}; it must be above 0", text::excerpt(&value.to_string(), 40))),
            },
        }
    }

    pub fn epsilon(self, key: &str, default: f64) -> Result<f64, String> {
        match self.positive(key)? {
            Some(epsilon) if epsilon < 1.0 => Ok(epsilon),
            Some(epsilon) => Err(format!("`{key}` is {epsilon}; it must be above 0 and below 1")),
            None => Ok(default),
        }
    }

    /// A number from 1 to `most`, `default` where the file does not name it; `None` where it says null.
    pub fn number_or(self, key: &str, most: usize, default: Option<usize>) -> Result<Option<usize>, String> {
        match self.0.get(key) {
            None => Ok(default),
            Some(_) => self.number(&[key], most),
        }
    }

    /// The same for a number above 0.
    pub fn positive_or(self, key: &str, default: Option<f64>) -> Result<Option<f64>, String> {
        match self.0.get(key) {
            None => Ok(default),
            Some(_) => self.positive(key),
        }
    }

    pub fn flag(self, key: &str, default: bool) -> Result<bool, String> {
        let wrong =
            |value: &Value| format!("`{key}` is {}; it must be true or false", text::excerpt(&value.to_string(), 40));
        self.get(key).map_or(Ok(default), |value| value.as_bool().ok_or_else(|| wrong(value)))
    }

    pub fn text(self, key: &str) -> Result<Option<&'a str>, String> {
        let wrong = |value: &Value| format!("`{key}` is {}; it must be a text", text::excerpt(&value.to_string(), 40));
        self.get(key).map(|value| value.as_str().ok_or_else(|| wrong(value))).transpose()
    }

    /// A setting that is supported with one value only.
    pub fn only(self, key: &str, supported: bool) -> Result<(), String> {
        match self.flag(key, supported)? == supported {
            true => Ok(()),
            false => Err(format!("`{key}: {}` is not supported", !supported)),
        }
    }

    /// The first of these settings that is there, as an activation.
    pub fn activation(self, keys: &[&str], default: Activation) -> Result<Activation, String> {
        let Some(key) = keys.iter().find(|key| self.get(key).is_some()) else { return Ok(default) };
        match self.text(key)?.unwrap_or_default() {
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
            "gelu" => Ok(Activation::Gelu),
            "silu" | "swish" => Ok(Activation::Silu),
            "relu" => Ok(Activation::Relu),
            other => Err(format!("{key} `{}` is not supported", text::excerpt(other, 40))),
        }
    }

    /// The heads: of queries, of keys and values, and the length of each. `published` is what a family has in place of as
    /// many heads of keys and of a share of the width, where the file does not say.
    pub fn heads(self, width: usize, published: PublishedHeads) -> Result<(usize, usize, usize), String> {
        let heads = self.needed(&["num_attention_heads"], WIDEST)?;
        let kv_heads = self.number_or("num_key_value_heads", WIDEST, published.kv_heads)?.unwrap_or(heads);
        if !heads.is_multiple_of(kv_heads) {
            return Err(format!("{heads} heads (`num_attention_heads`) can't share {kv_heads} heads of keys"));
        }
        let head = match self.number_or("head_dim", WIDEST, published.head)? {
            Some(head) => head,
            None if width.is_multiple_of(heads) => width / heads,
            None => return Err(format!("`hidden_size` is {width}, which can't be split into {heads} heads")),
        };
        Ok((heads, kv_heads, head))
    }

    /// The rotary embedding. Newer files keep it under `rope_parameters`, one for each `kind` of layer or one for all;
    /// older ones in `rope_theta` and `rope_scaling`.
    pub fn rotary(self, kind: &str, head: usize, default_base: f64) -> Result<Rotary, String> {
        let newer = self.get("rope_parameters").map(|all| all.get(kind).unwrap_or(all));
        let settings = newer.or_else(|| self.get("rope_scaling")).map(Config);
        let base = match newer.map(Config) {
            Some(newer) => newer.positive("rope_theta")?,
            None => None,
        };
        let base = match base {
            Some(base) => base,
            None => self.positive("rope_theta")?.or(self.positive("rotary_emb_base")?).unwrap_or(default_base),
        };
        let within = settings.and_then(|settings| settings.get("partial_rotary_factor"));
        let share = within.or_else(|| self.get("partial_rotary_factor")).or_else(|| self.get("rotary_pct"));
        let share = share.map_or(Some(1.0), Value::as_f64).filter(|share| *share > 0.0 && *share <= 1.0);
        let share = share.ok_or("`partial_rotary_factor` must be above 0 and at most 1")?;
        let turned = (head as f64 * share) as usize;
        if turned < 2 || !turned.is_multiple_of(2) {
            return Err(format!("{turned} of a head's {head} numbers would be turned; they must be pairs"));
        }
        Ok(Rotary { base, turned, scaling: settings.map_or(Ok(Scaling::None), |settings| self.scaling(settings))? })
    }

    /// A decoder with rotary positions built as most of today's are, after Llama; a family changes what it does otherwise.
    /// `inner` is the length of the vector inside the MLP.
    pub fn like_llama(
        self,
        default_base: f64,
        inner: usize,
        published: PublishedHeads,
    ) -> Result<Architecture, String> {
        let width = self.needed(&["hidden_size"], WIDEST)?;
        let layers = self.needed(&["num_hidden_layers"], MOST_LAYERS)?;
        let (heads, kv_heads, head) = self.heads(width, published)?;
        let rotary = self.rotary("full_attention", head, default_base)?;
        Ok(Architecture {
            vocabulary: self.needed(&["vocab_size"], LARGEST_VOCABULARY)?,
            context: self.needed(&["max_position_embeddings"], LONGEST_CONTEXT)?,
            width,
            heads,
            kv_heads,
            head,
            inner,
            layers: vec![Layer { window: None, rotary: Some(rotary) }; layers],
            positions: Positions::Rotary,
            norm: Norm { kind: NormKind::Rms, epsilon: self.epsilon("rms_norm_eps", 1e-6)? },
            residual: Residual::Sequential,
            activation: self.activation(&["hidden_act"], Activation::Silu)?,
            gated: true,
            biases: Biases::NONE,
            head_norms: false,
            after_norms: false,
            score_scale: 1.0 / (head as f64).sqrt(),
            score_cap: None,
            logit_cap: None,
            word_scale: 1.0,
            tied: self.flag("tie_word_embeddings", false)?,
        })
    }

    fn scaling(self, settings: Config) -> Result<Scaling, String> {
        let needed = |key: &str| settings.positive(key)?.ok_or_else(|| format!("rope scaling has no `{key}`"));
        match settings.text("rope_type")?.or(settings.text("type")?).unwrap_or("default") {
            "default" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear(needed("factor")?)),
            "llama3" => Ok(Scaling::Llama3 {
                factor: needed("factor")?,
                low: needed("low_freq_factor")?,
                high: needed("high_freq_factor")?,
                original_context: needed("original_max_position_embeddings")?,
            }),
            other => {
                Err(format!("rope scaling `{}` is not supported, only linear and llama3", text::excerpt(other, 40)))
            }
        }
    }

    /// Whether neither the file nor its rotary settings have a key.
    pub fn says_nothing_of(self, key: &str) -> bool {
        let within = |name: &str| self.get(name).is_some_and(|settings| settings.get(key).is_some());
        self.get(key).is_none() && !within("rope_parameters") && !within("rope_scaling")
    }

    /// Whether each layer has a sliding window: as the file lists it, or else as `slides` says of its place.
    pub fn sliding(self, layers: usize, slides: impl Fn(usize) -> bool) -> Result<Vec<bool>, String> {
        let Some(listed) = self.get("layer_types").and_then(Value::as_array) else {
            return Ok((0..layers).map(slides).collect());
        };
        let kinds: Vec<&str> = listed.iter().filter_map(Value::as_str).collect();
        if kinds.len() != layers {
            return Err(format!("`layer_types` has {} entries for {layers} layers", kinds.len()));
        }
        match kinds.iter().find(|kind| !matches!(**kind, "full_attention" | "sliding_attention")) {
            Some(other) => Err(format!("layers of the type `{}` are not supported", text::excerpt(other, 40))),
            None => Ok(kinds.iter().map(|kind| *kind == "sliding_attention").collect()),
        }
    }

    /// Numbers of a list, one for each layer.
    pub fn per_layer(self, key: &str, layers: usize) -> Result<Option<Vec<u64>>, String> {
        let Some(listed) = self.get(key).and_then(Value::as_array) else { return Ok(None) };
        let numbers: Vec<u64> = listed.iter().filter_map(Value::as_u64).collect();
        if numbers.len() != layers {
            return Err(format!("`{key}` has {} entries for {layers} layers", numbers.len()));
        }
        Ok(Some(numbers))
    }
}
