//! Training a lens: the student is frozen, and the maps of all layers learn at once to read what it says in the end.

use std::ops::ControlFlow;

use candle_core::Var;
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};

use super::{LensError, Sample, Translators};
use crate::seeds::Stream;
use crate::student::Decoder;

/// Tokens that one step reads at most, padding counted; a longer sequence is read alone.
const STEP_TOKENS: usize = 8192;

/// Of this many sequences one is held out, and no more than [`MOST_HELD_OUT`].
const HELD_OUT: usize = 10;
const MOST_HELD_OUT: usize = 64;

/// How a lens is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How many tokens beyond the next one are predicted: 0 for the tuned lens.
    pub ahead: usize,
    pub steps: usize,
    /// Of AdamW without decay; it falls in a straight line to 0.
    pub learning_rate: f64,
    /// Sequences of a step.
    pub batch: usize,
    /// Places of a step, drawn from its sequences: logits are what takes the time.
    pub places: usize,
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ahead: 0, steps: 500, learning_rate: 1e-3, batch: 8, places: 256, seed: 0 }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Steps that are done, of how many.
    pub step: usize,
    pub steps: usize,
    /// KL in nats, the mean over layers and places of the last step.
    pub divergence: f64,
}

/// A lens that was trained, and what that brought.
pub struct Trained {
    pub translators: Translators,
    /// KL(what the student says in the end ‖ what is read) in nats on the held-out sequences, for each stream with a map:
    /// before training, when the maps change nothing, and after it.
    pub before: Vec<f64>,
    pub after: Vec<f64>,
    /// Sequences that were trained on, those that were held out, and the places measured in the latter.
    pub sequences: usize,
    pub held_out: usize,
    pub places: usize,
}

/// AdamW over the maps.
pub struct Descent {
    variables: Vec<Var>,
    translators: Translators,
    optimizer: AdamW,
}

impl Descent {
    /// Goes on from these maps.
    pub fn new(from: &Translators) -> Result<Self, LensError> {
        let mut variables = Vec::new();
        let mut maps = Vec::new();
        for (weight, bias) in &from.maps {
            let (weight, bias) = (Var::from_tensor(&weight.detach())?, Var::from_tensor(&bias.detach())?);
            maps.push((weight.as_tensor().clone(), bias.as_tensor().clone()));
            variables.extend([weight, bias]);
        }
        let settings = ParamsAdamW { lr: 0.0, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
        let optimizer = AdamW::new(variables.clone(), settings)?;
        Ok(Self { variables, translators: Translators { ahead: from.ahead, maps }, optimizer })
    }

    /// One step along the mean over places, summed over layers, each of which has its own map. Gives the mean over both.
    pub fn step(&mut self, decoder: &Decoder, sample: &Sample, learning_rate: f64) -> Result<f64, LensError> {
        let found = self.translators.divergences(decoder, sample)?;
        let count = sample.places.len().max(1) as f64;
        let mean = found.sums.iter().sum::<f64>() / (count * found.sums.len().max(1) as f64);
        // Maps that were spoiled would be spoiled for good.
        if !mean.is_finite() {
            return Ok(mean);
        }
        let gradients = (found.total / count)?.backward()?;
        // The optimiser passes over what has none.
        if self.variables.iter().any(|variable| gradients.get(variable).is_none()) {
            return Err(LensError::NoGradient);
        }
        self.optimizer.set_learning_rate(learning_rate);
        self.optimizer.step(&gradients)?;
        Ok(mean)
    }

    /// The maps as they are now.
    pub fn translators(&self) -> Translators {
        let maps = self.translators.maps.iter().map(|(weight, bias)| (weight.detach(), bias.detach()));
        Translators { ahead: self.translators.ahead, maps: maps.collect() }
    }
}

/// Trains a lens on sequences of token ids, of which some are held out. The same student, sequences and settings give the
/// same lens. Whoever is told of the progress can stop it; nothing is left then.
pub fn train(
    decoder: &Decoder,
    sequences: &[Vec<u32>],
    settings: &Settings,
    on_progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Trained, LensError> {
    let decoder = decoder.frozen();
    // Nothing is predicted from a sequence's last token.
    let mut sequences: Vec<&[u32]> = sequences
        .iter()
        .map(|ids| &ids[..ids.len().saturating_sub(1)])
        .filter(|ids| ids.len() > settings.ahead)
        .collect();
    if sequences.len() < 2 {
        return Err(LensError::TooFew { ahead: settings.ahead, count: sequences.len() });
    }
    Stream::new(settings.seed, &["lens", "held out"]).shuffle(&mut sequences);
    let count = (sequences.len() / HELD_OUT).clamp(1, MOST_HELD_OUT);
    let (held_out, own) = sequences.split_at(count);

    let identity = Translators::identity(&decoder, settings.ahead)?;
    let (before, places) = measure(&decoder, &identity, held_out, settings)?;
    if before.iter().any(|mean| !mean.is_finite()) {
        return Err(LensError::Diverged { step: 0 });
    }
    let mut descent = Descent::new(&identity)?;
    let mut order = Order { own, seed: settings.seed, epoch: 0, left: Vec::new() };
    for step in 0..settings.steps {
        let mut sample = sample(&order.next(settings.batch), settings.ahead);
        let drawn = Stream::new(settings.seed, &["lens", "places", &step.to_string()])
            .sample(sample.places.len(), settings.places.max(1));
        sample.places = drawn.into_iter().map(|place| sample.places[place]).collect();
        let rate = settings.learning_rate * (1.0 - step as f64 / settings.steps as f64);
        let divergence = descent.step(&decoder, &sample, rate)?;
        if !divergence.is_finite() {
            return Err(LensError::Diverged { step: step + 1 });
        }
        if on_progress(&Progress { step: step + 1, steps: settings.steps, divergence }).is_break() {
            return Err(LensError::Interrupted);
        }
    }
    let translators = descent.translators();
    let (after, _) = measure(&decoder, &translators, held_out, settings)?;
    Ok(Trained { translators, before, after, sequences: own.len(), held_out: held_out.len(), places })
}

/// The sequences of one step after the other, each epoch in an order of its own.
struct Order<'a> {
    own: &'a [&'a [u32]],
    seed: u64,
    epoch: usize,
    /// Of this epoch, the next one last.
    left: Vec<&'a [u32]>,
}

impl<'a> Order<'a> {
    fn next(&mut self, batch: usize) -> Vec<&'a [u32]> {
        let mut taken: Vec<&[u32]> = Vec::new();
        while taken.len() < batch.max(1) {
            if self.left.is_empty() {
                self.left = self.own.to_vec();
                Stream::new(self.seed, &["lens", "order", &self.epoch.to_string()]).shuffle(&mut self.left);
                self.epoch += 1;
            }
            let Some(next) = self.left.last() else { break };
            let longest = taken.iter().map(|ids| ids.len()).chain([next.len()]).max().unwrap_or(0);
            if !taken.is_empty() && longest * (taken.len() + 1) > STEP_TOKENS {
                break;
            }
            taken.extend(self.left.pop());
        }
        taken
    }
}

/// Sequences side by side, with all their places that have enough behind them.
fn sample(sequences: &[&[u32]], ahead: usize) -> Sample {
    let time = sequences.iter().map(|ids| ids.len()).max().unwrap_or(0);
    let mut sample = Sample { ids: Vec::new(), batch: sequences.len(), places: Vec::new() };
    for (row, ids) in sequences.iter().enumerate() {
        sample.ids.extend_from_slice(ids);
        // Causal attention never looks at what stands behind.
        sample.ids.resize((row + 1) * time, 0);
        sample.places.extend((0..ids.len().saturating_sub(ahead)).map(|place| (row * time + place) as u32));
    }
    sample
}

/// Mean KL over the places of sequences, for each stream with a map, and how many places that are.
fn measure(
    decoder: &Decoder,
    translators: &Translators,
    sequences: &[&[u32]],
    settings: &Settings,
) -> Result<(Vec<f64>, usize), LensError> {
    let mut sums = vec![0.0; translators.maps.len()];
    let mut count = 0;
    for (number, one) in sequences.iter().enumerate() {
        let mut sample = sample(&[one], translators.ahead);
        // As many of a long one as a step would take, and the same before and after.
        let drawn = Stream::new(settings.seed, &["lens", "measured", &number.to_string()])
            .sample(sample.places.len(), settings.places.max(1));
        sample.places = drawn.into_iter().map(|place| sample.places[place]).collect();
        let found = translators.divergences(decoder, &sample)?;
        sums.iter_mut().zip(&found.sums).for_each(|(sum, own)| *sum += own);
        count += sample.places.len();
    }
    Ok((sums.into_iter().map(|sum| sum / count.max(1) as f64).collect(), count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::student::{toy, weights};
    use candle_core::Device;

    /// A student whose layers do something, and sequences of two kinds.
    fn subject() -> (Decoder, Vec<Vec<u32>>) {
        let architecture = toy::architecture(30);
        let weights = weights::initial(&architecture, 3, &Device::Cpu).unwrap();
        let grown = weights.into_iter().map(|(name, tensor)| {
            let tensor = if tensor.rank() > 1 { (tensor * 6.0).unwrap() } else { tensor };
            (name, tensor)
        });
        let decoder = Decoder::new(architecture, &grown.collect()).unwrap();
        let sequence = |number: u32| (0..12 + number % 5).map(|place| (place * (1 + number % 2) + 3) % 30).collect();
        (decoder, (0..40).map(sequence).collect())
    }

    fn settings(ahead: usize) -> Settings {
        Settings { ahead, steps: 60, learning_rate: 3e-3, batch: 4, places: 32, seed: 1 }
    }

    fn values(trained: &Trained) -> Vec<f32> {
        let maps = trained.translators.maps.iter().flat_map(|(weight, bias)| [weight, bias]);
        maps.flat_map(|tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
    }

    #[test]
    fn a_lens_comes_nearer_to_the_end_on_what_it_never_saw_and_is_the_same_twice() {
        let (decoder, sequences) = subject();
        for ahead in [0, 2] {
            let train = || train(&decoder, &sequences, &settings(ahead), &mut |_| ControlFlow::Continue(())).unwrap();
            let found = train();
            assert_eq!((found.sequences, found.held_out), (36, 4));
            assert_eq!(found.before.len(), decoder.streams() - usize::from(ahead == 0));
            for (before, after) in found.before.iter().zip(&found.after) {
                assert!(after < &(before * 0.8), "ahead {ahead}: {before} to {after}");
            }
            assert_eq!(values(&found), values(&train()));
        }
    }

    #[test]
    fn who_is_told_of_the_progress_can_stop_it() {
        let (decoder, sequences) = subject();
        let mut seen = 0;
        let mut stop = |progress: &Progress| {
            seen = progress.step;
            if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let result = train(&decoder, &sequences, &settings(0), &mut stop);
        assert!(matches!(result, Err(LensError::Interrupted)));
        assert_eq!(seen, 3);
    }

    #[test]
    fn too_little_to_train_on_and_broken_weights_are_told() {
        let (decoder, sequences) = subject();
        let mut go_on = |_: &Progress| ControlFlow::Continue(());
        let error = train(&decoder, &sequences, &settings(40), &mut go_on).err().unwrap().to_string();
        assert!(error.contains("more than 41 tokens, and there are 0"), "{error}");

        let architecture = toy::architecture(30);
        let mut weights = weights::initial(&architecture, 3, &Device::Cpu).unwrap();
        let broken = (&weights["words"] * f64::NAN).unwrap();
        weights.insert("words".into(), broken);
        let decoder = Decoder::new(architecture, &weights).unwrap();
        let error = train(&decoder, &sequences, &settings(0), &mut go_on).err().unwrap().to_string();
        assert!(error.contains("earlier checkpoint"), "{error}");
    }

    #[test]
    fn a_long_sequence_is_read_alone() {
        let long = vec![0; STEP_TOKENS];
        let short = [0; 3];
        let own = [&long[..], &short[..], &short[..]];
        let mut order = Order { own: &own, seed: 0, epoch: 0, left: Vec::new() };
        for _ in 0..20 {
            let taken = order.next(8);
            let longest = taken.iter().map(|ids| ids.len()).max().unwrap();
            assert!(longest * taken.len() <= STEP_TOKENS && !taken.is_empty());
        }
    }
}
