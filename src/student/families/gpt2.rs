//! GPT-2 in all its sizes, DistilGPT-2 included, as transformers' `GPT2LMHeadModel` defines it.

use serde_json::{Value, json};

use super::config::{Config, LARGEST_VOCABULARY, LONGEST_CONTEXT, MOST_LAYERS, WIDEST};
use super::{Family, Layout, Names};
use crate::student::Architecture;
use crate::student::architecture::Activation;

pub const GPT2: Family = Family {
    name: "GPT-2",
    model_type: "gpt2",
    read,
    names: Names {
        whole: &[
            ("words", "transformer.wte"),
            ("positions", "transformer.wpe"),
            ("norm", "transformer.ln_f"),
            ("output", "lm_head"),
        ],
        layer: "transformer.h.{}",
        parts: &[
            ("attention.norm", &["ln_1"]),
            ("attention.in", &["attn.c_attn"]),
            ("attention.out", &["attn.c_proj"]),
            ("mlp.norm", &["ln_2"]),
            ("mlp.in", &["mlp.c_fc"]),
            ("mlp.out", &["mlp.c_proj"]),
        ],
        layout: Layout::Inputs,
    },
    bos_is_eos: false,
};

fn read(config: Config) -> Result<Architecture, String> {
    let activation = config.activation(&["activation_function"], Activation::GeluTanh)?;
    config.only("scale_attn_weights", true)?;
    config.only("scale_attn_by_inverse_layer_idx", false)?;
    config.only("reorder_and_upcast_attn", false)?;
    config.only("add_cross_attention", false)?;
    let width = config.needed(&["n_embd", "hidden_size"], WIDEST)?;
    let heads = config.needed(&["n_head", "num_attention_heads"], WIDEST)?;
    if !width.is_multiple_of(heads) {
        return Err(format!("`n_embd` is {width}, which can't be split into {heads} heads (`n_head`)"));
    }
    let mut architecture = Architecture::gpt2(
        config.needed(&["vocab_size"], LARGEST_VOCABULARY)?,
        config.needed(&["n_positions", "n_ctx", "max_position_embeddings"], LONGEST_CONTEXT)?,
        width,
        config.needed(&["n_layer", "num_hidden_layers"], MOST_LAYERS)?,
        heads,
        config.number(&["n_inner"], 4 * WIDEST)?.unwrap_or(4 * width),
    );
    architecture.activation = activation;
    architecture.norm.epsilon = config.epsilon("layer_norm_epsilon", 1e-5)?;
    architecture.tied = config.flag("tie_word_embeddings", true)?;
    Ok(architecture)
}

/// `config.json` of a GPT-2 that was trained from scratch.
pub fn config(architecture: &Architecture, bos: Option<u32>, eos: u32) -> Value {
    json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": architecture.vocabulary,
        "n_positions": architecture.context,
        "n_embd": architecture.width,
        "n_layer": architecture.layers.len(),
        "n_head": architecture.heads,
        "n_inner": architecture.inner,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": architecture.norm.epsilon,
        "tie_word_embeddings": architecture.tied,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "torch_dtype": "float32",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn architecture(config: &Value) -> Result<Architecture, String> {
        read(Config(config))
    }

    fn published_name(ours: &str) -> String {
        GPT2.names.published(ours).join(" ")
    }

    #[test]
    fn names_are_those_of_transformers() {
        assert_eq!(published_name("layers.11.mlp.out.bias"), "transformer.h.11.mlp.c_proj.bias");
        assert_eq!(published_name("layers.0.attention.norm.weight"), "transformer.h.0.ln_1.weight");
        assert_eq!(published_name("layers.3.attention.in.weight"), "transformer.h.3.attn.c_attn.weight");
        assert_eq!(published_name("norm.bias"), "transformer.ln_f.bias");
    }

    #[test]
    fn a_config_comes_back() {
        let original = architecture(&json!({
            "model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
        }))
        .unwrap();
        assert_eq!(original.inner, 3072);
        assert_eq!(architecture(&config(&original, None, 50256)).unwrap(), original);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let error = architecture(&json!({"activation_function": "mish"})).unwrap_err();
        assert!(error.contains("mish"), "{error}");
        let error = architecture(&json!({"n_embd": 10, "n_head": 3})).unwrap_err();
        assert!(error.contains("3 heads"), "{error}");
        let error = architecture(&json!({"n_head": 3})).unwrap_err();
        assert!(error.contains("n_embd"), "{error}");
    }

    #[test]
    fn sizes_that_no_model_has_are_named() {
        let sane = json!({"vocab_size": 97, "n_positions": 40, "n_embd": 24, "n_layer": 2, "n_head": 3});
        assert!(architecture(&sane).is_ok());
        for (key, value) in [
            ("n_layer", json!(1_000_000_000)),
            ("n_layer", json!(0)),
            ("n_embd", json!(0)),
            ("n_positions", json!(0)),
            ("n_head", json!(0)),
            ("vocab_size", json!(1_000_000_000_000_000_000u64)),
            ("vocab_size", json!(-1)),
            ("n_inner", json!("many")),
            ("layer_norm_epsilon", json!(0)),
        ] {
            let mut config = sane.clone();
            config[key] = value;
            let error = architecture(&config).unwrap_err();
            assert!(error.contains(&format!("`{key}` is ")), "{key}: {error}");
        }
    }
}
