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
        Self { id: id.into(), ids: rendered.ids(), supervised }
    }
}

/// Several examples side by side, padded at the end to one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// (size, time), row by row, without each sequence's last token, from which nothing is predicted.
    pub ids: Vec<u32>,
    pub size: usize,
    pub time: usize,
    /// Places in `ids` from which the counted tokens are predicted.
    pub rows: Vec<u32>,
    pub targets: Vec<u32>,
    pub weights: Vec<f32>,
    pub roles: Vec<Role>,
    /// Tokens read, padding not counted.
    pub tokens: usize,
}

impl Batch {
    /// Pads with token 0, whose hidden vectors nothing looks at.
    pub fn of(examples: &[&Encoded]) -> Self {
        let time = examples.iter().map(|example| example.ids.len().saturating_sub(1)).max().unwrap_or(0);
        let mut batch = Self { size: examples.len(), time, ..Self::default() };
        for (row, example) in examples.iter().enumerate() {
            let read = example.ids.len().saturating_sub(1);
            batch.ids.extend_from_slice(&example.ids[..read]);
            batch.ids.resize((row + 1) * time, 0);
            batch.tokens += read;
            for target in &example.supervised {
                batch.rows.push((row * time + target.place - 1) as u32);
                batch.targets.push(example.ids[target.place]);
                batch.weights.push(target.weight);
                batch.roles.push(target.role);
            }
        }
        batch
    }

    /// Mean loss over the tokens of a role.
    pub fn mean_loss(&self, role: Role, losses: &[f32]) -> Mean {
        let own = self.roles.iter().zip(losses).filter(|(other, _)| **other == role);
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
        Encoded { id: "q".into(), ids: ids.to_vec(), supervised: places.iter().map(target).collect() }
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
}
