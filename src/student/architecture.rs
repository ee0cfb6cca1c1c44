//! What varies between decoders, as data.

/// A decoder-only transformer of the GPT-2 kind: learned positions, layer norm before each part, GELU, biases
/// everywhere, one projection for queries, keys and values.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// Rows of the word table. Some published models pad it beyond the tokenizer's ids.
    pub vocabulary: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Length of a hidden vector.
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    /// Length of the vector inside the MLP.
    pub inner: usize,
    pub norm_epsilon: f64,
    /// Whether the output matrix is the word table.
    pub tied: bool,
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
    /// Every parameter, in the order in which the decoder uses them. Matrices are (inputs, outputs), tables are
    /// (rows, width).
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        let mut add = |name: String, shape: &[usize], initial| {
            parameters.push(Parameter { name, shape: shape.to_vec(), initial });
        };
        // Small numbers keep the first logits flat; a matrix keeps half of its input's variance.
        let matrix = |inputs: usize| Initial::Normal(0.7 / (inputs as f64).sqrt());
        add("words".into(), &[self.vocabulary, self.width], Initial::Normal(0.05));
        add("positions".into(), &[self.context, self.width], Initial::Normal(0.02));
        for layer in 0..self.layers {
            for (part, inputs, outputs) in [
                ("attention.in", self.width, 3 * self.width),
                ("attention.out", self.width, self.width),
                ("mlp.in", self.width, self.inner),
                ("mlp.out", self.inner, self.width),
            ] {
                if let Some(norm) = part.strip_suffix(".in") {
                    add(format!("layers.{layer}.{norm}.norm.weight"), &[self.width], Initial::Ones);
                    add(format!("layers.{layer}.{norm}.norm.bias"), &[self.width], Initial::Zeros);
                }
                add(format!("layers.{layer}.{part}.weight"), &[inputs, outputs], matrix(inputs));
                add(format!("layers.{layer}.{part}.bias"), &[outputs], Initial::Zeros);
            }
        }
        add("norm.weight".into(), &[self.width], Initial::Ones);
        add("norm.bias".into(), &[self.width], Initial::Zeros);
        if !self.tied {
            add("output".into(), &[self.vocabulary, self.width], Initial::Normal(0.05));
        }
        parameters
    }

    /// How many numbers are trained.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_sizes_are_met() {
        let gpt2 = Architecture {
            vocabulary: 50257,
            context: 1024,
            width: 768,
            layers: 12,
            heads: 12,
            inner: 3072,
            norm_epsilon: 1e-5,
            tied: true,
        };
        assert_eq!(gpt2.parameter_count(), 124_439_808);
    }
}
