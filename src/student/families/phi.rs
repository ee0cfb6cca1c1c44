//! Phi 1, 1.5 and 2: attention and MLP side by side under one norm, partly turned heads, a head with a bias.

use super::config::{Config, LARGEST_VOCABULARY, LONGEST_CONTEXT, MOST_LAYERS, WIDEST};
use super::{Family, Layout, Names};
use crate::student::Architecture;
use crate::student::architecture::{Activation, Biases, Layer, Norm, NormKind, Positions, Residual};

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
};

fn read(config: Config) -> Result<Architecture, String> {
    config.only("qk_layernorm", false)?;
    let width = config.needed(&["hidden_size"], WIDEST)?;
    let layers = config.needed(&["num_hidden_layers"], MOST_LAYERS)?;
    let (heads, kv_heads, head) = config.heads(width)?;
    let mut rotary = config.rotary("full_attention", head, 10_000.0)?;
    if config.says_nothing_of("partial_rotary_factor") {
        rotary.turned = head / 4 * 2;
    }
    let tied = config.flag("tie_word_embeddings", false);
    Ok(Architecture {
        vocabulary: config.needed(&["vocab_size"], LARGEST_VOCABULARY)?,
        context: config.needed(&["max_position_embeddings"], LONGEST_CONTEXT)?,
        width,
        heads,
        kv_heads,
        head,
        inner: config.number(&["intermediate_size"], 8 * WIDEST)?.unwrap_or(4 * width),
        layers: vec![Layer { window: None, rotary: Some(rotary) }; layers],
        positions: Positions::Rotary,
        norm: Norm { kind: NormKind::Layer, epsilon: config.epsilon("layer_norm_eps", 1e-5)? },
        residual: Residual::ParallelSharedNorm,
        activation: config.activation(&["hidden_act"], Activation::GeluTanh)?,
        gated: false,
        biases: Biases { output: true, ..Biases::INSIDE },
        head_norms: false,
        after_norms: false,
        score_scale: 1.0 / (head as f64).sqrt(),
        score_cap: None,
        logit_cap: None,
        word_scale: 1.0,
        tied,
    })
}
