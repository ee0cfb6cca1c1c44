//! Shapes of published students, so that a study can be estimated before gigabytes are fetched.

use serde_json::{Value, json};

use crate::student::{Architecture, Family};

/// The `config.json` of a student of the hub, as far as its shape goes; `None` for one that is not known here.
fn config(id: &str) -> Option<Value> {
    Some(match id {
        "openai-community/gpt2" => json!({
            "model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
        }),
        "microsoft/phi-1_5" => json!({
            "model_type": "phi", "vocab_size": 51200, "max_position_embeddings": 2048, "hidden_size": 2048,
            "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32, "hidden_act": "gelu_new",
            "partial_rotary_factor": 0.5, "layer_norm_eps": 1e-5, "tie_word_embeddings": false,
        }),
        "google/gemma-2b" => json!({
            "model_type": "gemma", "vocab_size": 256000, "max_position_embeddings": 8192, "hidden_size": 2048,
            "intermediate_size": 16384, "num_hidden_layers": 18, "num_attention_heads": 8, "num_key_value_heads": 1,
            "head_dim": 256, "hidden_act": "gelu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        }),
        _ => return None,
    })
}

/// The shape of a student of the hub, where it is known without its files.
pub fn known(id: &str) -> Option<(&'static Family, Architecture)> {
    Family::read(&config(id)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_students_have_as_many_parameters_as_published() {
        // What safetensors' headers on the hub add up to.
        for (id, parameters) in [
            ("openai-community/gpt2", 124_439_808),
            ("microsoft/phi-1_5", 1_418_270_720),
            ("google/gemma-2b", 2_506_172_416),
        ] {
            assert_eq!(known(id).unwrap().1.parameter_count(), parameters, "{id}");
        }
        assert!(known("someone/else").is_none());
    }
}
