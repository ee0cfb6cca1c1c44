//! Phi 1, 1.5 and 2: attention and MLP side by side under one norm, partly turned heads, a head with a bias.

use super::config::{Config, PublishedHeads, WIDEST};
use super::{Family, Layout, Names};
use crate::student::Architecture;
use crate::student::architecture::{Activation, Biases, Norm, NormKind, Residual};

pub const PHI: Family = Family {
    name: "Phi",
    model_type: "phi",
    read,
    names: Names {
        whole: &[("words", "model.embed_tokens"), ("norm", "model.final_layernorm"), ("output", "lm_head")],
        layer: "model.layers.{}",
        parts: &[
            ("attention.norm", &["input_layernorm"]),
            ("attention.in", &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
            ("attention.out", &["self_attn.dense"]),
            ("mlp.in", &["mlp.fc1"]),
            ("mlp.out", &["mlp.fc2"]),
        ],
        layout: Layout::Outputs,
    },
    bos_is_eos: false,
};

fn read(config: Config) -> Result<Architecture, String> {
    config.only("qk_layernorm", false)?;
    let inner = match config.number(&["intermediate_size"], 8 * WIDEST)? {
        Some(inner) => inner,
        None => 4 * config.needed(&["hidden_size"], WIDEST)?,
    };
    let mut architecture = config.like_llama(10_000.0, inner, PublishedHeads::default())?;
    if config.says_nothing_of("partial_rotary_factor") {
        architecture.turn(architecture.head / 4 * 2);
    }
    architecture.norm = Norm { kind: NormKind::Layer, epsilon: config.epsilon("layer_norm_eps", 1e-5)? };
    architecture.residual = Residual::ParallelSharedNorm;
    architecture.activation = config.activation(&["hidden_act"], Activation::GeluTanh)?;
    architecture.gated = false;
    architecture.biases = Biases { output: true, ..Biases::INSIDE };
    Ok(architecture)
}
