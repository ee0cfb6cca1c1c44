//! Gemma 1, 2 and 3 (text): a norm of 1 + weight, scaled word vectors, heads of a length of their own.

use super::config::{Config, LONGEST_CONTEXT, MOST_LAYERS, PublishedHeads, WIDEST};
use super::{Family, Layout, Names};
use crate::student::Architecture;
use crate::student::architecture::{Activation, Biases, Layer, NormKind, Rotary, Scaling};

const WHOLE: &[(&str, &str)] = &[("words", "model.embed_tokens"), ("norm", "model.norm"), ("output", "lm_head")];
const LAYER: &str = "model.layers.{}";
const ATTENTION_IN: &[&str] = &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
const MLP_IN: &[&str] = &["mlp.gate_proj", "mlp.up_proj"];

/// With norms after attention and MLP as well, and in Gemma 3 of queries and keys.
const NAMES_2: Names = Names {
    whole: WHOLE,
    layer: LAYER,
    parts: &[
        ("attention.norm", &["input_layernorm"]),
        ("attention.in", ATTENTION_IN),
        ("attention.queries", &["self_attn.q_norm"]),
        ("attention.keys", &["self_attn.k_norm"]),
        ("attention.out", &["self_attn.o_proj"]),
        ("attention.after", &["post_attention_layernorm"]),
        ("mlp.norm", &["pre_feedforward_layernorm"]),
        ("mlp.in", MLP_IN),
        ("mlp.out", &["mlp.down_proj"]),
        ("mlp.after", &["post_feedforward_layernorm"]),
    ],
    layout: Layout::Outputs,
};

pub const GEMMA: Family = Family {
    name: "Gemma",
    model_type: "gemma",
    read: gemma,
    names: Names {
        whole: WHOLE,
        layer: LAYER,
        parts: &[
            ("attention.norm", &["input_layernorm"]),
            ("attention.in", ATTENTION_IN),
            ("attention.out", &["self_attn.o_proj"]),
            ("mlp.norm", &["post_attention_layernorm"]),
            ("mlp.in", MLP_IN),
            ("mlp.out", &["mlp.down_proj"]),
        ],
        layout: Layout::Outputs,
    },
    bos_is_eos: false,
};

pub const GEMMA2: Family =
    Family { name: "Gemma 2", model_type: "gemma2", read: gemma2, names: NAMES_2, bos_is_eos: false };
pub const GEMMA3: Family =
    Family { name: "Gemma 3", model_type: "gemma3_text", read: gemma3, names: NAMES_2, bos_is_eos: false };

fn gemma(config: Config) -> Result<Architecture, String> {
    let mut architecture = common(config, 16)?;
    // Files of the first Gemma say `gelu`; it was trained with the tanh form.
    if architecture.activation == Activation::Gelu {
        architecture.activation = Activation::GeluTanh;
    }
    Ok(architecture)
}

/// What all of them share; `kv_heads` where the file does not say.
fn common(config: Config, kv_heads: usize) -> Result<Architecture, String> {
    // What reads in both directions is made for embeddings, and would be trained here as something else.
    config.only("use_bidirectional_attention", false)?;
    let published = PublishedHeads { kv_heads: Some(kv_heads), head: Some(256) };
    let inner = config.needed(&["intermediate_size"], 8 * WIDEST)?;
    let mut architecture = config.like_llama(10_000.0, inner, published)?;
    architecture.norm.kind = NormKind::RmsOffset;
    architecture.activation = config.activation(&["hidden_activation", "hidden_act"], Activation::GeluTanh)?;
    let attention = config.flag("attention_bias", false)?;
    architecture.biases = Biases { attention_in: attention, attention_out: attention, ..Biases::NONE };
    architecture.word_scale = (architecture.width as f64).sqrt();
    architecture.tied = config.flag("tie_word_embeddings", true)?;
    Ok(architecture)
}

fn gemma2(config: Config) -> Result<Architecture, String> {
    let mut architecture = with_caps(config, Some(50.0), Some(30.0))?;
    let window = config.number_or("sliding_window", LONGEST_CONTEXT, Some(4096))?;
    // The first layer slides, the second does not, and so on.
    let slides = config.sliding(architecture.layers.len(), |place| place % 2 == 0)?;
    for (layer, slides) in architecture.layers.iter_mut().zip(slides) {
        layer.window = window.filter(|_| slides);
    }
    Ok(architecture)
}

/// What Gemma 2 and 3 share, with the caps of scores and of logits that the family has where the file does not say.
fn with_caps(config: Config, scores: Option<f64>, logits: Option<f64>) -> Result<Architecture, String> {
    let mut architecture = common(config, 4)?;
    architecture.after_norms = true;
    architecture.score_scale = 1.0 / config.positive("query_pre_attn_scalar")?.unwrap_or(256.0).sqrt();
    architecture.score_cap = config.positive_or("attn_logit_softcapping", scores)?;
    architecture.logit_cap = config.positive_or("final_logit_softcapping", logits)?;
    Ok(architecture)
}

fn gemma3(config: Config) -> Result<Architecture, String> {
    let mut architecture = with_caps(config, None, None)?;
    architecture.head_norms = true;
    let global = config.rotary("full_attention", architecture.head, 1_000_000.0)?;
    let local = local_rotary(config, architecture.head)?;
    let window = config.number_or("sliding_window", LONGEST_CONTEXT, Some(4096))?;
    let every = config.number(&["sliding_window_pattern", "_sliding_window_pattern"], MOST_LAYERS)?.unwrap_or(6);
    let slides = config.sliding(architecture.layers.len(), |place| (place + 1) % every != 0)?;
    for (layer, slides) in architecture.layers.iter_mut().zip(slides) {
        *layer = Layer {
            window: window.filter(|_| slides),
            rotary: Some(if slides { local.clone() } else { global.clone() }),
        };
    }
    Ok(architecture)
}

/// Of the layers with a window: a base of their own, and never scaled in older files.
fn local_rotary(config: Config, head: usize) -> Result<Rotary, String> {
    match config.0.get("rope_parameters").and_then(|all| all.get("sliding_attention")) {
        Some(_) => config.rotary("sliding_attention", head, 10_000.0),
        None => {
            let base = config.positive("rope_local_base_freq")?.unwrap_or(10_000.0);
            Ok(Rotary { base, turned: head, scaling: Scaling::None })
        }
    }
}
