//! Llama and what is built like it: Mistral, Qwen 2 and 3, SmolLM 2 (which says it is Llama) and 3.

use super::config::{Config, LONGEST_CONTEXT, MOST_LAYERS, PublishedHeads, WIDEST};
use super::{Family, Layout, Names};
use crate::student::Architecture;

const fn family(
    name: &'static str,
    model_type: &'static str,
    read: fn(Config) -> Result<Architecture, String>,
) -> Family {
    Family { name, model_type, read, names: NAMES, bos_is_eos: false }
}

pub const LLAMA: Family = family("Llama", "llama", llama);
pub const MISTRAL: Family = family("Mistral", "mistral", mistral);
pub const QWEN2: Family = family("Qwen 2", "qwen2", qwen2);
pub const QWEN3: Family = family("Qwen 3", "qwen3", qwen3);
pub const SMOLLM3: Family = family("SmolLM 3", "smollm3", smollm3);

const NAMES: Names = Names {
    whole: &[("words", "model.embed_tokens"), ("norm", "model.norm"), ("output", "lm_head")],
    layer: "model.layers.{}",
    parts: &[
        ("attention.norm", &["input_layernorm"]),
        ("attention.in", &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
        ("attention.queries", &["self_attn.q_norm"]),
        ("attention.keys", &["self_attn.k_norm"]),
        ("attention.out", &["self_attn.o_proj"]),
        ("mlp.norm", &["post_attention_layernorm"]),
        ("mlp.in", &["mlp.gate_proj", "mlp.up_proj"]),
        ("mlp.out", &["mlp.down_proj"]),
    ],
    layout: Layout::Outputs,
};

/// What all of them share.
fn common(config: Config, default_base: f64, published: PublishedHeads) -> Result<Architecture, String> {
    config.like_llama(default_base, config.needed(&["intermediate_size"], 8 * WIDEST)?, published)
}

fn llama(config: Config) -> Result<Architecture, String> {
    let mut architecture = common(config, 10_000.0, PublishedHeads::default())?;
    let attention = config.flag("attention_bias", false)?;
    architecture.biases.attention_in = attention;
    architecture.biases.attention_out = attention;
    architecture.biases.mlp = config.flag("mlp_bias", false)?;
    Ok(architecture)
}

fn mistral(config: Config) -> Result<Architecture, String> {
    let mut architecture = common(config, 10_000.0, PublishedHeads { kv_heads: Some(8), head: None })?;
    let window = config.number_or("sliding_window", LONGEST_CONTEXT, Some(4096))?;
    architecture.layers.iter_mut().for_each(|layer| layer.window = window);
    Ok(architecture)
}

fn qwen2(config: Config) -> Result<Architecture, String> {
    let mut architecture = common(config, 10_000.0, PublishedHeads { kv_heads: Some(32), head: None })?;
    architecture.biases.attention_in = true;
    windows_from(config, &mut architecture)?;
    Ok(architecture)
}

fn qwen3(config: Config) -> Result<Architecture, String> {
    let mut architecture = common(config, 10_000.0, PublishedHeads { kv_heads: Some(32), head: Some(128) })?;
    // The published default, where the file says nothing.
    let attention = config.flag("attention_bias", false)?;
    architecture.biases.attention_in = attention;
    architecture.biases.attention_out = attention;
    architecture.head_norms = true;
    windows_from(config, &mut architecture)?;
    Ok(architecture)
}

fn smollm3(config: Config) -> Result<Architecture, String> {
    let mut architecture = common(config, 2_000_000.0, PublishedHeads { kv_heads: Some(4), head: None })?;
    architecture.tied = config.flag("tie_word_embeddings", true)?;
    let attention = config.flag("attention_bias", false)?;
    architecture.biases.attention_in = attention;
    architecture.biases.attention_out = attention;
    architecture.biases.mlp = config.flag("mlp_bias", false)?;
    let layers = architecture.layers.len();
    let listed = config.per_layer("no_rope_layers", layers)?;
    let interval = config.number(&["no_rope_layer_interval"], MOST_LAYERS)?.unwrap_or(4);
    for (place, layer) in architecture.layers.iter_mut().enumerate() {
        // The list says 1 where the layer *has* rotary embeddings, whatever its name.
        let has = listed.as_ref().map_or((place + 1) % interval != 0, |listed| listed[place] == 1);
        if !has {
            layer.rotary = None;
        }
    }
    let window = config.number(&["sliding_window"], LONGEST_CONTEXT)?;
    let turns: Vec<bool> = architecture.layers.iter().map(|layer| layer.rotary.is_some()).collect();
    // Only layers without rotary positions slide.
    windows(config, &mut architecture, window, |place| !turns[place])?;
    Ok(architecture)
}

/// Sliding windows of Qwen: from a given layer on.
fn windows_from(config: Config, architecture: &mut Architecture) -> Result<(), String> {
    let window = config.number_or("sliding_window", LONGEST_CONTEXT, Some(4096))?;
    let first = match config.0.get("max_window_layers") {
        // Null and 0 mean from the first layer on.
        Some(from) if from.as_u64() == Some(0) => 0,
        _ => config.number_or("max_window_layers", MOST_LAYERS, Some(28))?.unwrap_or(0),
    };
    windows(config, architecture, window, |place| place >= first)
}

/// Sliding windows, where they are switched on: in the layers that are listed, or else where `slides` says.
fn windows(
    config: Config,
    architecture: &mut Architecture,
    window: Option<usize>,
    slides: impl Fn(usize) -> bool,
) -> Result<(), String> {
    if !config.flag("use_sliding_window", false)? {
        return Ok(());
    }
    let slides = config.sliding(architecture.layers.len(), slides)?;
    for (layer, slides) in architecture.layers.iter_mut().zip(slides) {
        layer.window = window.filter(|_| slides);
    }
    Ok(())
}
