//! GPT-NeoX and Pythia: attention and MLP side by side under norms of their own, a quarter of each head turned.

use super::config::{Config, PublishedHeads, WIDEST};
use super::{Family, Layout, Names};
use crate::student::Architecture;
use crate::student::architecture::{Activation, Biases, Norm, NormKind, Residual};

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
    bos_is_eos: false,
};

fn read(config: Config) -> Result<Architecture, String> {
    let mut architecture =
        config.like_llama(10_000.0, config.needed(&["intermediate_size"], 8 * WIDEST)?, PublishedHeads::default())?;
    if config.says_nothing_of("partial_rotary_factor") && config.says_nothing_of("rotary_pct") {
        architecture.turn(architecture.head / 8 * 2);
    }
    architecture.norm = Norm { kind: NormKind::Layer, epsilon: config.epsilon("layer_norm_eps", 1e-5)? };
    architecture.residual =
        if config.flag("use_parallel_residual", true)? { Residual::Parallel } else { Residual::Sequential };
    architecture.activation = config.activation(&["hidden_act"], Activation::Gelu)?;
    architecture.gated = false;
    let attention = config.flag("attention_bias", true)?;
    architecture.biases = Biases { attention_in: attention, attention_out: attention, ..Biases::INSIDE };
    Ok(architecture)
}
