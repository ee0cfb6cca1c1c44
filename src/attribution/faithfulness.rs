//! Whether tokens that a method calls key are key to the student: the answer's probability while tokens are taken away from the
//! highest score down (deletion) and while they are given back in that order (insertion), against orders drawn at random
//! (Petsiuk, Das and Saenko 2018; as comprehensiveness and sufficiency in DeYoung et al. 2020).

use serde::{Deserialize, Serialize};

use super::attributor::Attributor;
use super::example::AttributionError;
use super::query::Query;
use super::start::Start;
use super::variants::{Change, Variant, values};
use crate::corpus::Example;
use crate::rationale::Role;
use crate::rationale::recipe::Baseline;
use crate::seeds::Stream;

/// Points of a curve: from nothing to all in steps of 5 %.
pub const POINTS: usize = 21;

/// Orders drawn at random for each example.
pub const RANDOM_ORDERS: usize = 5;

/// What becomes of a token that is taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Removal {
    /// It is taken out, and the rest moves together
    #[default]
    Delete,
    /// The mean of all word vectors stands in its place
    Replace,
}

/// The probability of the label under one order, at shares of the tokens from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curves {
    /// With that share taken away, the highest first.
    pub deletion: Vec<f64>,
    /// With that share given and the rest taken away.
    pub insertion: Vec<f64>,
}

impl Curves {
    /// The area under a curve: the mean probability on the way.
    pub fn area(curve: &[f64]) -> f64 {
        let steps = curve.len().saturating_sub(1).max(1) as f64;
        curve.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).sum::<f64>() / steps
    }

    /// The mean of several.
    pub fn mean(all: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> &[f64]| {
            let at =
                |point: usize| all.iter().filter_map(|curves| of(curves).get(point)).sum::<f64>() / all.len() as f64;
            (0..POINTS).map(at).collect()
        };
        Self { deletion: mean(|curves| &curves.deletion), insertion: mean(|curves| &curves.insertion) }
    }
}

/// The order in which scores take tokens away: the places of a list, the highest first.
pub fn order(scores: &[f32]) -> Vec<usize> {
    super::agreement::top(scores, scores.len())
}

/// An order that depends on the example and on `number` alone.
pub fn random_order(id: &str, number: usize, len: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    Stream::new(0, &["faithfulness", id, &number.to_string()]).shuffle(&mut order);
    order
}

impl Attributor<'_> {
    /// The curves of an example under each of `orders`, which name the places that the attributor scores from 0. The target is
    /// the attributor's own; log-probabilities become probabilities.
    pub fn curves(
        &self,
        example: &Example,
        orders: &[Vec<usize>],
        removal: Removal,
    ) -> Result<Vec<Curves>, AttributionError> {
        let posed = self.pose(example)?;
        let query = &posed.query;
        // What announces the answer is held: without it no student would know that it is asked.
        let role = |place: &usize| posed.rendered.tokens[query.range.start + place].role;
        let own = |order: &Vec<usize>| -> Vec<usize> {
            order.iter().copied().filter(|place| matches!(role(place), Role::Rationale | Role::Prompt)).collect()
        };
        let orders: Vec<Vec<usize>> = orders.iter().map(own).collect();
        let count = orders.first().map_or(0, Vec::len);
        let at = |point: usize| (point * count + (POINTS - 1) / 2) / (POINTS - 1);
        // What is left of the range, for each order and point: deletion first.
        let mut wanted = Vec::with_capacity(orders.len() * 2 * POINTS);
        for order in &orders {
            wanted.extend((0..POINTS).map(|point| without(query, &order[..at(point)], removal)));
            wanted.extend((0..POINTS).map(|point| without(query, &order[at(point)..], removal)));
        }
        let mut different: Vec<Change> = Vec::new();
        let place = |change: &Change, different: &mut Vec<Change>| match different.iter().position(|own| own == change)
        {
            Some(place) => place,
            None => {
                different.push(change.clone());
                different.len() - 1
            }
        };
        let places: Vec<usize> = wanted.iter().map(|change| place(change, &mut different)).collect();
        let variants: Vec<Variant> = different.into_iter().map(|change| Variant { query, change }).collect();
        let start = Start::of(Baseline::Mean, 0, self.decoder, query.range.len());
        let found = values(self.decoder, &variants, &start, &self.room)
            .map_err(|source| AttributionError::Tensor { id: example.id.clone(), source })?;
        if found.iter().any(|value| !value.is_finite()) {
            return Err(AttributionError::NotANumber { id: example.id.clone() });
        }
        let found: Vec<f64> = places.into_iter().map(|place| found[place].exp()).collect();
        Ok(found
            .chunks(2 * POINTS)
            .map(|both| Curves { deletion: both[..POINTS].to_vec(), insertion: both[POINTS..].to_vec() })
            .collect())
    }
}

/// A query without some places of its range.
fn without(query: &Query, places: &[usize], removal: Removal) -> Change {
    let mut places: Vec<usize> = places.iter().map(|place| query.range.start + place).collect();
    places.sort_unstable();
    match removal {
        _ if places.is_empty() => Change::Nothing,
        Removal::Delete => Change::Delete { places },
        Removal::Replace => Change::Replace { places, start: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_means_along_the_way() {
        assert_eq!(Curves::area(&[1.0, 1.0, 1.0]), 1.0);
        assert_eq!(Curves::area(&[1.0, 0.0, 0.0]), 0.25);
        let one = Curves { deletion: vec![1.0; POINTS], insertion: vec![0.0; POINTS] };
        let other = Curves { deletion: vec![0.0; POINTS], insertion: vec![0.5; POINTS] };
        let mean = Curves::mean(&[one, other]);
        assert_eq!((Curves::area(&mean.deletion), Curves::area(&mean.insertion)), (0.5, 0.25));
    }

    #[test]
    fn random_orders_are_all_places_and_stay_the_same() {
        let one = random_order("tr-0001", 0, 12);
        assert_eq!(one, random_order("tr-0001", 0, 12));
        assert_ne!(one, random_order("tr-0001", 1, 12));
        let mut sorted = one;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..12).collect::<Vec<_>>());
    }
}
