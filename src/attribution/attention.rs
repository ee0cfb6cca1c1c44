//! Attention for looking only: what a layer and a head read at the last place. It explains no answer.

use candle_core::{Result, Tensor, bail};

use crate::student::Decoder;

/// How much the last place attends to each place, averaged over what was not chosen: (time).
pub fn from_last(decoder: &Decoder, ids: &[u32], layer: Option<usize>, head: Option<usize>) -> Result<Vec<f32>> {
    let all = decoder.attention_of_last(ids)?;
    let chosen: Vec<&Tensor> = match layer {
        Some(layer) => match all.get(layer) {
            Some(weights) => vec![weights],
            None => bail!("the student has {} layers, of which {layer} is none · the first is 0", all.len()),
        },
        None => all.iter().collect(),
    };
    let mut sum = vec![0f32; ids.len()];
    let mut rows = 0;
    for weights in chosen {
        let weights = weights.to_vec2::<f32>()?;
        let heads = match head {
            Some(head) if head >= weights.len() => {
                bail!("the student has {} heads, of which {head} is none · the first is 0", weights.len())
            }
            Some(head) => &weights[head..head + 1],
            None => &weights[..],
        };
        for row in heads {
            rows += 1;
            sum.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight);
        }
    }
    Ok(sum.into_iter().map(|sum| sum / rows as f32).collect())
}
