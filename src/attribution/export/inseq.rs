//! JSON that Inseq's `FeatureAttributionOutput.load` opens (Sarti et al. 2023; written and read against Inseq 0.7).
//!
//! A sequence of a decoder is, to Inseq, a target that begins with its prompt: the tokens that the student reads, and after
//! them one step, which is what was attributed, however many tokens it has. Scores are a matrix of one column over all of
//! that, NaN where a token was held fixed; Inseq leaves such cells blank. Arrays are safetensors in base64.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, serialize};
use serde_json::{Map, Value, json};

use super::Shown;
use crate::attribution::{ExampleAttribution, ScoredToken};

/// Inseq's sign for a token whose place in the vocabulary is not told.
const NO_ID: i64 = -1;

/// The examples as one document.
pub fn inseq(shown: &[Shown]) -> Result<Value, SafeTensorError> {
    let sequences = shown.iter().map(|shown| sequence(&shown.found)).collect::<Result<Vec<_>, _>>()?;
    let output = json!({"info": info(shown), "sequence_attributions": sequences, "step_attributions": null});
    Ok(instance("inseq.data.attribution", "FeatureAttributionOutput", output))
}

/// What Inseq makes an object of a class of.
fn instance(module: &str, class: &str, attributes: Value) -> Value {
    json!({"__instance_type__": [module, class], "attributes": attributes})
}

/// The tokens that the student reads before the target.
fn read(found: &ExampleAttribution) -> &[ScoredToken] {
    &found.tokens[..found.read.unwrap_or(found.tokens.len()).min(found.tokens.len())]
}

fn sequence(found: &ExampleAttribution) -> Result<Value, SafeTensorError> {
    let own = read(found);
    let token = |text: &str| instance("inseq.utils.typing", "TokenWithId", json!({"token": text, "id": NO_ID}));
    let source: Vec<Value> = own.iter().map(|own| token(&own.text)).collect();
    let target: Vec<Value> = source.iter().cloned().chain([token(&found.target)]).collect();
    let scores: Vec<f32> = own.iter().map(|own| own.score.unwrap_or(f32::NAN)).chain([f32::NAN]).collect();
    let mut steps = Map::new();
    for (name, value) in step_scores(found) {
        steps.insert(name.into(), array(&[value as f32], vec![1])?.into());
    }
    let attributes = json!({
        "source": source,
        "target": target,
        "source_attributions": null,
        "target_attributions": array(&scores, vec![scores.len(), 1])?,
        "step_scores": steps,
        "sequence_scores": null,
        "attr_pos_start": own.len(),
        "attr_pos_end": own.len() + 1,
    });
    // One number a token, not one for each element of its vector.
    Ok(instance("inseq.data.attribution", "CoarseFeatureAttributionSequenceOutput", attributes))
}

/// The numbers of the step, by Inseq's names where it has any.
fn step_scores(found: &ExampleAttribution) -> impl Iterator<Item = (&'static str, f64)> {
    let delta = found.convergence_delta.map(|delta| ("deltas", delta));
    [("log_p", found.log_p)].into_iter().chain(delta)
}

/// What Inseq tells of how it was made, and for each example what it has no field for.
fn info(shown: &[Shown]) -> Value {
    let texts = |whole: bool| -> Vec<String> {
        let text = |shown: &Shown| {
            let read: String = read(&shown.found).iter().map(|token| token.text.as_str()).collect();
            if whole { format!("{read} {}", shown.found.target) } else { read }
        };
        shown.iter().map(text).collect()
    };
    let examples: Vec<Value> = shown
        .iter()
        .map(|Shown { student, found }| {
            json!({
                "id": found.id,
                "student": student,
                "method": found.method,
                "target": found.target,
                "baseline": found.baseline,
                "steps": found.steps,
                "log_p": found.log_p,
                "log_p_baseline": found.log_p_baseline,
                "convergence_delta": found.convergence_delta,
                "converged": found.converged,
                "caution": found.caution,
                "roles": read(found).iter().map(|token| token.role).collect::<Vec<_>>(),
            })
        })
        .collect();
    let first = shown.first();
    json!({
        "attribution_method": first.map(|shown| &shown.found.method),
        "attributed_fn": "log_p",
        "attribute_target": true,
        "attr_pos_start": shown.iter().map(|shown| read(&shown.found).len()).min().unwrap_or(0),
        "attr_pos_end": shown.iter().map(|shown| read(&shown.found).len() + 1).max().unwrap_or(0),
        "output_step_attributions": false,
        "include_eos_baseline": false,
        "constrained_decoding": true,
        "step_scores": first.map_or(vec![], |shown| step_scores(&shown.found).map(|(name, _)| name).collect()),
        "model_name": first.map(|shown| &shown.student),
        "input_texts": texts(false),
        "generated_texts": texts(true),
        "examples": examples,
    })
}

/// Numbers as Inseq keeps them: one tensor by the name of `attribution`.
fn array(values: &[f32], shape: Vec<usize>) -> Result<String, SafeTensorError> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensor = TensorView::new(Dtype::F32, shape, &bytes)?;
    Ok(STANDARD.encode(serialize(HashMap::from([("attribution", tensor)]), None)?))
}
