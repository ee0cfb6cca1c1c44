//! OPT: learned positions that begin at the third row, ReLU.

use super::config::{Config, LARGEST_VOCABULARY, LONGEST_CONTEXT, MOST_LAYERS, WIDEST};
use super::{Family, Layout, Names};
use crate::student::Architecture;
use crate::student::architecture::{Activation, Biases, Positions};

/// Rows of the position table before the first position.
const SKIPPED: usize = 2;

pub const OPT: Family = Family {
    name: "OPT",
    model_type: "opt",
    read,
    names: Names {
        whole: &[
            ("words", "model.decoder.embed_tokens"),
            ("positions", "model.decoder.embed_positions"),
            ("norm", "model.decoder.final_layer_norm"),
            ("output", "lm_head"),
        ],
        layer: "model.decoder.layers.{}",
        parts: &[
            ("attention.norm", &["self_attn_layer_norm"]),
            ("attention.in", &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
            ("attention.out", &["self_attn.out_proj"]),
            ("mlp.norm", &["final_layer_norm"]),
            ("mlp.in", &["fc1"]),
            ("mlp.out", &["fc2"]),
        ],
        layout: Layout::Outputs,
    },
    // It was trained with `</s>` before every text.
    bos_is_eos: true,
};

fn read(config: Config) -> Result<Architecture, String> {
    // OPT-350m alone norms afterwards and projects its word vectors.
    config.only("do_layer_norm_before", true)?;
    config.only("_remove_final_layer_norm", false)?;
    config.only("layer_norm_elementwise_affine", true)?;
    let width = config.needed(&["hidden_size"], WIDEST)?;
    if let Some(words) = config.number(&["word_embed_proj_dim"], WIDEST)?
        && words != width
    {
        return Err(format!("`word_embed_proj_dim: {words}` beside `hidden_size: {width}` is not supported"));
    }
    let heads = config.needed(&["num_attention_heads"], WIDEST)?;
    if !width.is_multiple_of(heads) {
        return Err(format!("`hidden_size` is {width}, which can't be split into {heads} heads"));
    }
    let mut architecture = Architecture::gpt2(
        config.needed(&["vocab_size"], LARGEST_VOCABULARY)?,
        config.needed(&["max_position_embeddings"], LONGEST_CONTEXT)?,
        width,
        config.needed(&["num_hidden_layers"], MOST_LAYERS)?,
        heads,
        config.needed(&["ffn_dim"], 8 * WIDEST)?,
    );
    let biased = config.flag("enable_bias", true)?;
    architecture.biases = if biased { Biases::INSIDE } else { Biases::NONE };
    architecture.positions = Positions::Learned { skipped: SKIPPED };
    architecture.activation = config.activation(&["activation_function"], Activation::Relu)?;
    architecture.tied = config.flag("tie_word_embeddings", true)?;
    Ok(architecture)
}
