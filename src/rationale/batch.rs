//! Rendered examples as numbers: what the decoder reads and which next tokens count.

use super::render::{Rendered, Role};

/// One example, ready to be trained on or scored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    pub id: String,
    /// The whole sequence.
    pub ids: Vec<u32>,
    /// The tokens that count, each to be predicted from the place before it.
    pub supervised: Vec<Target>,
    /// A second sequence of the same example.
    pub second: Option<Box<Encoded>>,
}

/// A token that counts in the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Its place in the sequence; never 0.
    pub place: usize,
    pub role: Role,
    pub weight: f32,
}

impl Encoded {
    pub fn new(id: &str, rendered: &Rendered) -> Self {
        let supervised = rendered
            .tokens
            .iter()
            .enumerate()
            .filter(|(place, token)| *place > 0 && token.loss > 0.0)
            .map(|(place, token)| Target { place, role: token.role, weight: token.loss })
            .collect();
        let second = rendered.second.as_ref().map(|second| Box::new(Self::new(id, second)));
        Self { id: id.into(), ids: rendered.ids(), supervised, second }
    }

    /// Its sequences, one after the other.
    pub fn sequences(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |encoded| encoded.second.as_deref())
    }

    /// Tokens in its longest sequence.
    pub fn longest(&self) -> usize {
        self.sequences().map(|sequence| sequence.ids.len()).max().unwrap_or(0)
    }
}

/// Several examples side by side, padded at the end to one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// (size, time), row by row, without each sequence's last token, from which nothing is predicted.
    pub ids: Vec<u32>,
    /// Sequences.
    pub size: usize,
    /// Examples, of which one may have two sequences.
    pub examples: usize,
    pub time: usize,
    /// Places in `ids` from which the counted tokens are predicted.
    pub rows: Vec<u32>,
    pub targets: Vec<u32>,
    pub weights: Vec<f32>,
    pub roles: Vec<Role>,
    /// Which of them are of an example's second sequence.
    pub second: Vec<bool>,
    /// Tokens read, padding not counted.
    pub tokens: usize,
}

impl Batch {
    /// Pads with token 0, whose hidden vectors nothing looks at.
    pub fn of(examples: &[&Encoded]) -> Self {
        let time = examples.iter().map(|example| example.longest().saturating_sub(1)).max().unwrap_or(0);
        let mut batch = Self { time, examples: examples.len(), ..Self::default() };
        for example in examples {
            for (number, sequence) in example.sequences().enumerate() {
                batch.add(sequence, number > 0);
            }
        }
        batch
    }

    fn add(&mut self, sequence: &Encoded, second: bool) {
        let (row, time) = (self.size, self.time);
        let read = sequence.ids.len().saturating_sub(1);
        self.size += 1;
        self.ids.extend_from_slice(&sequence.ids[..read]);
        self.ids.resize((row + 1) * time, 0);
        self.tokens += read;
        for target in &sequence.supervised {
            self.rows.push((row * time + target.place - 1) as u32);
            self.targets.push(sequence.ids[target.place]);
            self.weights.push(target.weight);
            self.roles.push(target.role);
            self.second.push(second);
        }
    }

    /// Mean loss over the tokens of a role. The label of a second sequence is not the right one, and not counted.
    pub fn mean_loss(&self, role: Role, losses: &[f32]) -> Mean {
        let own = self.roles.iter().zip(&self.second).zip(losses);
        let own = own.filter(|((other, second), _)| **other == role && !(role == Role::Label && **second));
        own.fold(Mean::default(), |mean, (_, loss)| mean.with(f64::from(*loss)))
    }
}

/// A mean that can be added to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    pub sum: f64,
    pub count: usize,
}

impl Mean {
    pub fn with(self, value: f64) -> Self {
        Self { sum: self.sum + value, count: self.count + 1 }
    }

    pub fn and(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum, count: self.count + other.count }
    }

    /// `None` for no values.
    pub fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(ids: &[u32], places: &[usize]) -> Encoded {
        let target = |place: &usize| Target { place: *place, role: Role::Label, weight: 0.5 };
        Encoded { id: "q".into(), ids: ids.to_vec(), supervised: places.iter().map(target).collect(), second: None }
    }

    #[test]
    fn a_batch_lines_up_what_is_read_with_what_is_predicted() {
        let (one, other) = (encoded(&[7, 8, 9, 10], &[2, 3]), encoded(&[5, 6], &[1]));
        let batch = Batch::of(&[&one, &other]);
        assert_eq!((batch.size, batch.time, batch.tokens), (2, 3, 4));
        assert_eq!(batch.ids, [7, 8, 9, 5, 0, 0]);
        assert_eq!(batch.rows, [1, 2, 3]);
        assert_eq!(batch.targets, [9, 10, 6]);
        assert_eq!(batch.mean_loss(Role::Label, &[1.0, 2.0, 6.0]).value(), Some(3.0));
        assert_eq!(batch.mean_loss(Role::Rationale, &[1.0, 2.0, 6.0]).value(), None);
    }

    #[test]
    fn both_sequences_of_an_example_share_its_batch() {
        let mut one = encoded(&[7, 8, 9], &[2]);
        one.second = Some(Box::new(encoded(&[7, 4, 5, 6], &[1, 3])));
        let other = encoded(&[1, 2], &[1]);
        let batch = Batch::of(&[&one, &other]);
        assert_eq!((batch.size, batch.examples, batch.time, batch.tokens), (3, 2, 3, 6));
        assert_eq!(batch.ids, [7, 8, 0, 7, 4, 5, 1, 0, 0]);
        assert_eq!((&batch.rows[..], &batch.targets[..]), (&[1, 3, 5, 6][..], &[9, 4, 6, 2][..]));
        assert_eq!(batch.second, [false, true, true, false]);
        // The label of a second sequence is another one than is asked for.
        assert_eq!(batch.mean_loss(Role::Label, &[1.0, 50.0, 50.0, 3.0]).value(), Some(2.0));
    }
}
