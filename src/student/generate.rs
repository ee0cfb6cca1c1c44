//! Text from the student: greedy or sampled continuations of many prompts at once.

use candle_core::{D, Result, Tensor};
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
    /// Drawn.
    Sample(Draw),
}

/// How a token is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Below 1 likely tokens become likelier, above 1 less so.
    pub temperature: f64,
    /// From the so many likeliest tokens; from all when absent.
    pub top_k: Option<usize>,
    /// And of those from the fewest that have this share of the probability; 1 for all.
    pub top_p: f64,
    pub seed: u64,
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
    let mut samplers: Vec<Option<Sampler>> = group.iter().map(|prompt| sampler(choose, *prompt)).collect();
    let mut rows = group.to_vec();
    let mut logits = decoder.next(&ids, &mut cache)?;
    for place in 0..room {
        let chosen = match choose {
            Choose::Greedy => logits.argmax(D::Minus1)?.to_vec1::<u32>()?,
            Choose::Sample(_) => samplers
                .iter_mut()
                .flatten()
                .enumerate()
                .map(|(row, sampler)| sampler.next(&logits.get(row)?))
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
fn sampler(choose: Choose, prompt: usize) -> Option<Sampler> {
    let Choose::Sample(draw) = choose else { return None };
    let sampling = Sampling::All { temperature: draw.temperature };
    Some(Sampler { processor: LogitsProcessor::from_sampling(draw.seed.wrapping_add(prompt as u64), sampling), draw })
}

struct Sampler {
    processor: LogitsProcessor,
    draw: Draw,
}

impl Sampler {
    fn next(&mut self, logits: &Tensor) -> Result<u32> {
        let draw = self.draw;
        self.processor.sample_f(logits, |probabilities| draw.narrow(probabilities))
    }
}

impl Draw {
    /// The first setting that makes no sense.
    pub fn check(&self) -> std::result::Result<(), String> {
        match self {
            Self { temperature, .. } if !(*temperature > 0.0 && temperature.is_finite()) => {
                Err(format!("the temperature is {temperature}; it must be above 0"))
            }
            Self { top_k: Some(0), .. } => Err("top-k is 0; at least the likeliest token must be left".into()),
            Self { top_p, .. } if !(*top_p > 0.0 && *top_p <= 1.0) => {
                Err(format!("top-p is {top_p}; it must be above 0 and at most 1"))
            }
            _ => Ok(()),
        }
    }

    /// Sets the probabilities of what may not be drawn to 0. As in transformers the share is of what `top_k` has left,
    /// which candle's own processor does not say.
    fn narrow(&self, probabilities: &mut [f32]) {
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
        let (kept, dropped) = order.split_at(self.top_k.unwrap_or(order.len()).min(order.len()));
        dropped.iter().for_each(|place| probabilities[*place] = 0.0);
        let all: f64 = kept.iter().map(|place| f64::from(probabilities[*place])).sum();
        let mut before = 0.0;
        for place in kept {
            let own = f64::from(probabilities[*place]);
            if self.top_p < 1.0 && before >= self.top_p * all {
                probabilities[*place] = 0.0;
            }
            before += own;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_from_is_narrowed_by_count_and_then_by_share() {
        let narrowed = |top_k, top_p| {
            let mut probabilities = [0.1, 0.4, 0.05, 0.25, 0.2];
            Draw { temperature: 1.0, top_k, top_p, seed: 0 }.narrow(&mut probabilities);
            probabilities
        };
        assert_eq!(narrowed(None, 1.0), [0.1, 0.4, 0.05, 0.25, 0.2]);
        assert_eq!(narrowed(Some(2), 1.0), [0.0, 0.4, 0.0, 0.25, 0.0]);
        assert_eq!(narrowed(None, 0.6), [0.0, 0.4, 0.0, 0.25, 0.0]);
        // 0.4 is 0.62 of the 0.65 that two tokens have.
        assert_eq!(narrowed(Some(2), 0.6), [0.0, 0.4, 0.0, 0.0, 0.0]);
        assert_eq!(narrowed(Some(99), 1e-9), [0.0, 0.4, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn settings_that_leave_nothing_to_draw_are_refused() {
        let draw = Draw { temperature: 1.0, top_k: None, top_p: 1.0, seed: 0 };
        assert!(draw.check().is_ok());
        for wrong in [
            Draw { temperature: 0.0, ..draw },
            Draw { temperature: f64::NAN, ..draw },
            Draw { top_k: Some(0), ..draw },
            Draw { top_p: 0.0, ..draw },
            Draw { top_p: 1.1, ..draw },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
