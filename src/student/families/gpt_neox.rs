//! GPT-NeoX and Pythia: attention and MLP side by side under norms of their own, a quarter of each head turned.

use super::config::{Config, LARGEST_VOCABULARY, LONGEST_CONTEXT, MOST_LAYERS, WIDEST};
use super::{Family, Layout, Names};
use crate::student::Architecture;
use crate::student::architecture::{Activation, Biases, Layer, Norm, NormKind, Positions, Residual};

pub const GPT_NEOX: Family = Family {
    name: "GPT-NeoX",
    model_type: "gpt_neox",
    read,
    names: Names {
        whole: &[("words", "gpt_neox.embed_in"), ("norm", "gpt_neox.final_layer_norm"), ("output", "embed_out")],
        layer: "gpt_neox.layers.{}",
        parts: &[
            ("attention.norm", &["input_layernorm"]),
            ("attention.in", &["attention.query_key_value"]),
            ("attention.out", &["attention.dense"]),
            ("mlp.norm", &["post_attention_layernorm"]),
            ("mlp.in", &["mlp.dense_h_to_4h"]),
            ("mlp.out", &["mlp.dense_4h_to_h"]),
        ],
        layout: Layout::OutputsByHead,
    },
};

fn read(config: Config) -> Result<Architecture, String> {
    let width = config.needed(&["hidden_size"], WIDEST)?;
    let layers = config.needed(&["num_hidden_layers"], MOST_LAYERS)?;
    let (heads, kv_heads, head) = config.heads(width)?;
    let mut rotary = config.rotary("full_attention", head, 10_000.0)?;
    if config.says_nothing_of("partial_rotary_factor") && config.says_nothing_of("rotary_pct") {
        rotary.turned = head / 8 * 2;
    }
    let attention = config.flag("attention_bias", true);
    Ok(Architecture {
        vocabulary: config.needed(&["vocab_size"], LARGEST_VOCABULARY)?,
        context: config.needed(&["max_position_embeddings"], LONGEST_CONTEXT)?,
        width,
        heads,
        kv_heads,
        head,
        inner: config.needed(&["intermediate_size"], 8 * WIDEST)?,
        layers: vec![Layer { window: None, rotary: Some(rotary) }; layers],
        positions: Positions::Rotary,
        norm: Norm { kind: NormKind::Layer, epsilon: config.epsilon("layer_norm_eps", 1e-5)? },
        residual: if config.flag("use_parallel_residual", true) { Residual::Parallel } else { Residual::Sequential },
        activation: config.activation(&["hidden_act"], Activation::Gelu)?,
        gated: false,
        biases: Biases { attention_in: attention, attention_out: attention, ..Biases::INSIDE },
        head_norms: false,
        after_norms: false,
        score_scale: 1.0 / (head as f64).sqrt(),
        score_cap: None,
        logit_cap: None,
        word_scale: 1.0,
        tied: config.flag("tie_word_embeddings", false),
    })
}
