//! What varies between decoders, as data.

use super::ops::Heads;

/// A decoder-only transformer. Every family that is supported is a value of this type, and one [`super::Decoder`] runs
/// them all.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// Rows of the word table. Some published models pad it beyond the tokenizer's ids.
    pub vocabulary: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Length of a hidden vector.
    pub width: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; `heads / kv_heads` heads of queries share one.
    pub kv_heads: usize,
    /// Length of a head's vectors. Need not be `width / heads`.
    pub head: usize,
    /// Length of the vector inside the MLP.
    pub inner: usize,
    /// What varies from layer to layer.
    pub layers: Vec<Layer>,
    pub positions: Positions,
    pub norm: Norm,
    pub residual: Residual,
    pub activation: Activation,
    /// Whether the MLP multiplies its activation with a second projection.
    pub gated: bool,
    pub biases: Biases,
    /// A norm of each head's queries and of its keys (Qwen 3, Gemma 3).
    pub head_norms: bool,
    /// A norm after attention and after the MLP as well as before (Gemma 2 and 3).
    pub after_norms: bool,
    /// What scores are multiplied by; 1 / √head where nothing else is said.
    pub score_scale: f64,
    /// Scores are bent to stay below this: cap · tanh(score / cap).
    pub score_cap: Option<f64>,
    /// The same for logits.
    pub logit_cap: Option<f64>,
    /// What word vectors are multiplied by (Gemma: √width).
    pub word_scale: f64,
    /// Whether the output matrix is the word table.
    pub tied: bool,
}

/// What varies from layer to layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// A token sees this many tokens, itself included; all before it where there is no window.
    pub window: Option<usize>,
    /// How queries and keys are turned by their position; not at all in some layers (SmolLM 3), nor where positions are
    /// learned.
    pub rotary: Option<Rotary>,
}

/// How a token's position enters.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// A table of vectors, whose first `skipped` rows belong to no position (OPT: 2).
    Learned { skipped: usize },
    /// By the layers' rotary embeddings.
    Rotary,
}

/// Rotary embeddings (Su et al. 2021), first half against second half of the turned part.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    pub base: f64,
    /// How many of a head's numbers are turned; the rest pass.
    pub turned: usize,
    pub scaling: Scaling,
}

/// How rotary frequencies are stretched to contexts longer than those of pretraining.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    None,
    /// Positions divided by the factor (Chen et al. 2023).
    Linear(f64),
    /// Llama 3: low frequencies divided, high ones kept, those between blended.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original_context: f64,
    },
}

impl Rotary {
    /// The angle per position of each pair of numbers.
    pub fn frequencies(&self) -> Vec<f64> {
        let plain = (0..self.turned / 2).map(|pair| self.base.powf(-2.0 * pair as f64 / self.turned as f64));
        plain.map(|frequency| self.scaling.apply(frequency)).collect()
    }
}

impl Scaling {
    fn apply(&self, frequency: f64) -> f64 {
        match *self {
            Self::None => frequency,
            Self::Linear(factor) => frequency / factor,
            Self::Llama3 { factor, low, high, original_context } => {
                let turns = original_context * frequency / (2.0 * std::f64::consts::PI);
                if turns < low {
                    frequency / factor
                } else if turns > high {
                    frequency
                } else {
                    let smooth = (turns - low) / (high - low);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        }
    }
}

/// The norm before each part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    pub kind: NormKind,
    pub epsilon: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Mean and variance, with weight and bias.
    Layer,
    /// Root mean square, with weight.
    Rms,
    /// Root mean square, with 1 + weight (Gemma).
    RmsOffset,
}

/// How attention and MLP join the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// One after the other.
    Sequential,
    /// Both read the same input; each has a norm of its own (GPT-NeoX).
    Parallel,
    /// Both read the same normed input (Phi).
    ParallelSharedNorm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// GELU in the tanh form.
    GeluTanh,
    /// GELU with the error function.
    Gelu,
    Silu,
    Relu,
}

/// Which linear maps have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Biases {
    /// Queries, keys and values.
    pub attention_in: bool,
    pub attention_out: bool,
    pub mlp: bool,
    /// The map to logits.
    pub output: bool,
}

impl Biases {
    pub const NONE: Self = Self { attention_in: false, attention_out: false, mlp: false, output: false };
    /// Everywhere but at the output.
    pub const INSIDE: Self = Self { attention_in: true, attention_out: true, mlp: true, output: false };
}

/// How a parameter begins in a student that is trained from scratch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    Zeros,
    Ones,
    /// Normal with this standard deviation.
    Normal(f64),
}

/// A parameter of the decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Such as `layers.0.attention.in.weight`.
    pub name: String,
    pub shape: Vec<usize>,
    pub initial: Initial,
}

impl Architecture {
    /// A decoder of the GPT-2 kind: learned positions, layer norm, GELU, biases everywhere, tied.
    pub fn gpt2(vocabulary: usize, context: usize, width: usize, layers: usize, heads: usize, inner: usize) -> Self {
        let head = width / heads.max(1);
        Self {
            vocabulary,
            context,
            width,
            heads,
            kv_heads: heads,
            head,
            inner,
            layers: vec![Layer { window: None, rotary: None }; layers],
            positions: Positions::Learned { skipped: 0 },
            norm: Norm { kind: NormKind::Layer, epsilon: 1e-5 },
            residual: Residual::Sequential,
            activation: Activation::GeluTanh,
            gated: false,
            biases: Biases::INSIDE,
            head_norms: false,
            after_norms: false,
            score_scale: 1.0 / (head as f64).sqrt(),
            score_cap: None,
            logit_cap: None,
            word_scale: 1.0,
            tied: true,
        }
    }

    /// Lets rotary embeddings turn this many of each head's numbers.
    pub fn turn(&mut self, turned: usize) {
        self.layers.iter_mut().filter_map(|layer| layer.rotary.as_mut()).for_each(|rotary| rotary.turned = turned);
    }

    /// What attention is like in a layer.
    pub fn heads_of(&self, layer: usize) -> Heads {
        Heads {
            heads: self.heads,
            kv_heads: self.kv_heads,
            head: self.head,
            scale: self.score_scale,
            cap: self.score_cap,
            window: self.layers[layer].window,
        }
    }

    /// Columns of the published maps that one of ours joins side by side: queries, keys and values; gate and value.
    pub fn joined(&self, part: &str) -> Vec<usize> {
        match part {
            "attention.in" => vec![self.heads * self.head, self.kv_heads * self.head, self.kv_heads * self.head],
            "mlp.in" if self.gated => vec![self.inner, self.inner],
            "mlp.in" => vec![self.inner],
            _ => vec![self.width],
        }
    }

    /// Every parameter, in the order in which the decoder uses them. Matrices are (inputs, outputs), tables are
    /// (rows, width).
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut list = List::default();
        list.add("words", &[self.vocabulary, self.width], Initial::Normal(0.05));
        if let Positions::Learned { skipped } = self.positions {
            list.add("positions", &[self.context + skipped, self.width], Initial::Normal(0.02));
        }
        for layer in 0..self.layers.len() {
            list.prefix = format!("layers.{layer}.");
            let columns = |part: &str| self.joined(part).into_iter().sum::<usize>();
            list.norm("attention.norm", self.width, self.norm.kind);
            list.matrix("attention.in", self.width, columns("attention.in"), self.biases.attention_in);
            if self.head_norms {
                list.norm("attention.queries", self.head, self.norm.kind);
                list.norm("attention.keys", self.head, self.norm.kind);
            }
            list.matrix("attention.out", self.heads * self.head, self.width, self.biases.attention_out);
            if self.after_norms {
                list.norm("attention.after", self.width, self.norm.kind);
            }
            if self.residual != Residual::ParallelSharedNorm {
                list.norm("mlp.norm", self.width, self.norm.kind);
            }
            list.matrix("mlp.in", self.width, columns("mlp.in"), self.biases.mlp);
            list.matrix("mlp.out", self.inner, self.width, self.biases.mlp);
            if self.after_norms {
                list.norm("mlp.after", self.width, self.norm.kind);
            }
        }
        list.prefix = String::new();
        list.norm("norm", self.width, self.norm.kind);
        if !self.tied {
            list.add("output", &[self.vocabulary, self.width], Initial::Normal(0.05));
        }
        if self.biases.output {
            list.add("output.bias", &[self.vocabulary], Initial::Zeros);
        }
        list.parameters
    }

    /// How many numbers are trained.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum()
    }
}

/// Parameters as they are listed.
#[derive(Default)]
struct List {
    prefix: String,
    parameters: Vec<Parameter>,
}

impl List {
    fn add(&mut self, name: &str, shape: &[usize], initial: Initial) {
        self.parameters.push(Parameter { name: format!("{}{name}", self.prefix), shape: shape.to_vec(), initial });
    }

    /// A matrix keeps half of its input's variance.
    fn matrix(&mut self, name: &str, inputs: usize, outputs: usize, bias: bool) {
        self.add(&format!("{name}.weight"), &[inputs, outputs], Initial::Normal(0.7 / (inputs as f64).sqrt()));
        if bias {
            self.add(&format!("{name}.bias"), &[outputs], Initial::Zeros);
        }
    }

    fn norm(&mut self, name: &str, width: usize, kind: NormKind) {
        let neutral = if kind == NormKind::RmsOffset { Initial::Zeros } else { Initial::Ones };
        self.add(&format!("{name}.weight"), &[width], neutral);
        if kind == NormKind::Layer {
            self.add(&format!("{name}.bias"), &[width], Initial::Zeros);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_sizes_are_met() {
        assert_eq!(Architecture::gpt2(50257, 1024, 768, 12, 12, 3072).parameter_count(), 124_439_808);
    }

    #[test]
    fn llama_3_stretches_low_frequencies_only() {
        let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original_context: 8192.0 };
        let rotary = Rotary { base: 500_000.0, turned: 128, scaling };
        let plain = Rotary { scaling: Scaling::None, ..rotary.clone() };
        let (stretched, plain) = (rotary.frequencies(), plain.frequencies());
        assert_eq!(stretched[0], plain[0]);
        assert!((stretched[63] - plain[63] / 8.0).abs() < 1e-15);
        assert!(stretched.windows(2).all(|pair| pair[0] > pair[1]));
    }
}
