//! Text from the student: greedy or sampled continuations of many prompts at once.

use candle_core::{D, Result};
use candle_transformers::generation::{LogitsProcessor, Sampling};

use super::cache::Cache;
use super::decoder::Decoder;

/// Prompts that are continued together: enough to fill the processor, few enough that padding stays small.
const BATCH: usize = 64;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choose {
    /// The most likely one.
    Greedy,
    /// Drawn at this temperature, from the smallest set of tokens that has `top_p` of the probability.
    Sample { temperature: f64, top_p: f64, seed: u64 },
}

/// Continues each prompt by at most `limit` tokens. A prompt is done when `done(prompt, new tokens)` says so, which is
/// asked after every token, or when the context is full. The tokens are returned in the order of the prompts.
pub fn generate(
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    limit: usize,
    choose: Choose,
    done: &dyn Fn(usize, &[u32]) -> bool,
) -> Result<Vec<Vec<u32>>> {
    let mut by_length: Vec<usize> = (0..prompts.len()).collect();
    by_length.sort_by_key(|prompt| prompts[*prompt].len());
    let mut texts = vec![Vec::new(); prompts.len()];
    for group in by_length.chunks(BATCH) {
        continue_group(decoder, prompts, group, limit, choose, done, &mut texts)?;
    }
    Ok(texts)
}

fn continue_group(
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    group: &[usize],
    limit: usize,
    choose: Choose,
    done: &dyn Fn(usize, &[u32]) -> bool,
    texts: &mut [Vec<u32>],
) -> Result<()> {
    let context = decoder.architecture.context;
    let longest = group.iter().map(|prompt| prompts[*prompt].len()).max().unwrap_or(0);
    let room = context.saturating_sub(longest).min(limit);
    if longest == 0 || room == 0 {
        return Ok(());
    }
    // Prompts end together, so that every row's next token is in the last column.
    let starts: Vec<usize> = group.iter().map(|prompt| longest - prompts[*prompt].len()).collect();
    let padded = |(prompt, start): (&usize, &usize)| {
        std::iter::repeat_n(0, *start).chain(prompts[*prompt].iter().copied()).collect::<Vec<_>>()
    };
    let ids: Vec<u32> = group.iter().zip(&starts).flat_map(padded).collect();
    let mut cache = Cache::new(&decoder.architecture, starts, longest + room);
    let mut samplers: Vec<Option<LogitsProcessor>> = group.iter().map(|prompt| sampler(choose, *prompt)).collect();
    let mut rows = group.to_vec();
    let mut logits = decoder.next(&ids, &mut cache)?;
    for place in 0..room {
        let chosen = match choose {
            Choose::Greedy => logits.argmax(D::Minus1)?.to_vec1::<u32>()?,
            Choose::Sample { .. } => samplers
                .iter_mut()
                .flatten()
                .enumerate()
                .map(|(row, sampler)| sampler.sample(&logits.get(row)?))
                .collect::<Result<_>>()?,
        };
        for (row, token) in rows.iter().zip(&chosen) {
            texts[*row].push(*token);
        }
        let going: Vec<usize> = (0..rows.len()).filter(|row| !done(rows[*row], &texts[rows[*row]])).collect();
        if going.is_empty() || place + 1 == room {
            break;
        }
        if going.len() < rows.len() {
            cache.keep(&going)?;
            rows = going.iter().map(|row| rows[*row]).collect();
            samplers = samplers
                .into_iter()
                .enumerate()
                .filter_map(|(row, sampler)| going.contains(&row).then_some(sampler))
                .collect();
        }
        let next: Vec<u32> = going.iter().map(|row| chosen[*row]).collect();
        logits = decoder.next(&next, &mut cache)?;
    }
    Ok(())
}

/// Each prompt has a sampler of its own, so that its text does not depend on its neighbours.
fn sampler(choose: Choose, prompt: usize) -> Option<LogitsProcessor> {
    match choose {
        Choose::Greedy => None,
        Choose::Sample { temperature, top_p, seed } => {
            let sampling = Sampling::TopP { p: top_p, temperature };
            Some(LogitsProcessor::from_sampling(seed.wrapping_add(prompt as u64), sampling))
        }
    }
}
