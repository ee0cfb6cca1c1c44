//! GPT-2 in all its sizes, DistilGPT-2 included, as transformers' `GPT2LMHeadModel` defines it.

use serde_json::{Value, json};

use crate::student::Architecture;
use crate::text;

/// Far beyond any published model of this kind, and small enough that nothing overflows or is listed for ever.
const LARGEST_VOCABULARY: usize = 1 << 24;
const LONGEST_CONTEXT: usize = 1 << 24;
const WIDEST: usize = 1 << 17;
const MOST_LAYERS: usize = 1000;

/// A whole number from 1 to `most`, under the first of several names; `None` where none of them is there.
fn number(config: &Value, keys: &[&str], most: usize) -> Result<Option<usize>, String> {
    let found = keys.iter().find_map(|key| Some((key, config.get(key).filter(|value| !value.is_null())?)));
    let Some((key, value)) = found else { return Ok(None) };
    match value.as_u64() {
        Some(number) if (1..=most as u64).contains(&number) => Ok(Some(number as usize)),
        _ => {
            let value = text::excerpt(&value.to_string(), 40);
            Err(format!("`{key}` is {value}; it must be a whole number from 1 to {most}"))
        }
    }
}

/// Reads `config.json`.
pub fn architecture(config: &Value) -> Result<Architecture, String> {
    let needed = |keys: &[&str], most: usize| {
        number(config, keys, most)?.ok_or_else(|| format!("`{}` is missing or no whole number", keys[0]))
    };
    let flag = |key: &str, default: bool| config.get(key).and_then(Value::as_bool).unwrap_or(default);
    let activation = config.get("activation_function").and_then(Value::as_str).unwrap_or("gelu_new");
    if !matches!(activation, "gelu_new" | "gelu_pytorch_tanh") {
        return Err(format!("activation_function `{activation}` is not supported, only gelu_new"));
    }
    for (key, default) in [
        ("scale_attn_weights", true),
        ("scale_attn_by_inverse_layer_idx", false),
        ("reorder_and_upcast_attn", false),
        ("add_cross_attention", false),
    ] {
        if flag(key, default) != default {
            return Err(format!("`{key}: {}` is not supported", !default));
        }
    }
    let width = needed(&["n_embd", "hidden_size"], WIDEST)?;
    let heads = needed(&["n_head", "num_attention_heads"], WIDEST)?;
    if !width.is_multiple_of(heads) {
        return Err(format!("`n_embd` is {width}, which can't be split into {heads} heads (`n_head`)"));
    }
    let norm_epsilon = config.get("layer_norm_epsilon").and_then(Value::as_f64).unwrap_or(1e-5);
    if !(norm_epsilon > 0.0 && norm_epsilon < 1.0) {
        return Err(format!("`layer_norm_epsilon` is {norm_epsilon}; it must be above 0 and below 1"));
    }
    Ok(Architecture {
        vocabulary: needed(&["vocab_size"], LARGEST_VOCABULARY)?,
        context: needed(&["n_positions", "n_ctx", "max_position_embeddings"], LONGEST_CONTEXT)?,
        width,
        layers: needed(&["n_layer", "num_hidden_layers"], MOST_LAYERS)?,
        heads,
        inner: number(config, &["n_inner"], 4 * WIDEST)?.unwrap_or(4 * width),
        norm_epsilon,
        tied: flag("tie_word_embeddings", true),
    })
}

/// `config.json` for transformers.
pub fn config(architecture: &Architecture, bos: Option<u32>, eos: u32) -> Value {
    json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": architecture.vocabulary,
        "n_positions": architecture.context,
        "n_embd": architecture.width,
        "n_layer": architecture.layers,
        "n_head": architecture.heads,
        "n_inner": architecture.inner,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": architecture.norm_epsilon,
        "tie_word_embeddings": architecture.tied,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "torch_dtype": "float32",
    })
}

/// `layers.0.attention.in.weight` is `transformer.h.0.attn.c_attn.weight`, and so on.
pub fn published_name(ours: &str) -> String {
    match ours {
        "words" => return "transformer.wte.weight".into(),
        "positions" => return "transformer.wpe.weight".into(),
        "output" => return "lm_head.weight".into(),
        _ => {}
    }
    if let Some(part) = ours.strip_prefix("norm.") {
        return format!("transformer.ln_f.{part}");
    }
    let rest = ours.strip_prefix("layers.").unwrap_or(ours);
    let (layer, part) = rest.split_once('.').unwrap_or((rest, ""));
    let part = part
        .replace("attention.norm", "ln_1")
        .replace("attention.in", "attn.c_attn")
        .replace("attention.out", "attn.c_proj")
        .replace("mlp.norm", "ln_2")
        .replace("mlp.in", "mlp.c_fc")
        .replace("mlp.out", "mlp.c_proj");
    format!("transformer.h.{layer}.{part}")
}

/// Masks that old checkpoints carry, and the copy of a tied output matrix.
pub fn is_buffer(published: &str) -> bool {
    published.ends_with(".attn.bias") || published.ends_with(".attn.masked_bias") || published == "lm_head.weight"
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let error = architecture(&json!({"activation_function": "relu"})).unwrap_err();
        assert!(error.contains("relu"), "{error}");
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
