//! The methods: from a query to one score for each of its places.

use candle_core::Result;
use serde::{Deserialize, Serialize};

use super::attention;
use super::gradients::{Made, along};
use super::quadrature::gauss_legendre;
use super::query::Query;
use super::room::Room;
use super::start::Start;
use super::variants::{Change, Variant, values};
use crate::rationale::recipe::{Baseline, Unit};
use crate::student::Decoder;

/// Steps of the integral when nothing else is asked for.
pub const STEPS: usize = 20;

/// Steps at which refining ends.
pub const MOST_STEPS: usize = 16 * STEPS;

/// A convergence delta above this share of what the scores explain is marked, and the integral refined.
const GOOD_DELTA: f64 = 0.01;

/// How scores are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Method {
    /// The gradient's integral along the straight path from the baseline (Sundararajan, Taly and Yan 2017), by Gauss-Legendre.
    /// Scores sum to the change of the target.
    IntegratedGradients { steps: usize, baseline: Baseline },
    /// The gradient's product with the word vector (Shrikumar et al. 2016).
    GradientTimesInput,
    /// The length of the gradient (Simonyan et al. 2014): how steep, not in which direction.
    GradientNorm,
    /// How much the target loses when a unit's vectors are replaced by the baseline's (Zeiler and Fergus 2014).
    Occlusion { unit: Unit, baseline: Baseline },
    /// How much the target loses when a unit is taken out and the rest moves together.
    LeaveOneOut { unit: Unit },
    /// The weights with which the place before the target attends; no explanation (Jain and Wallace 2019).
    Attention {
        /// 0 for the first; the mean of all where it is left out.
        layer: Option<usize>,
        head: Option<usize>,
    },
}

impl Default for Method {
    fn default() -> Self {
        Self::IntegratedGradients { steps: STEPS, baseline: Baseline::Mean }
    }
}

impl Method {
    pub fn name(&self) -> &'static str {
        match self {
            Self::IntegratedGradients { .. } => "integrated gradients",
            Self::GradientTimesInput => "gradient × input",
            Self::GradientNorm => "gradient norm",
            Self::Occlusion { .. } => "occlusion",
            Self::LeaveOneOut { .. } => "leave one out",
            Self::Attention { .. } => "attention",
        }
    }

    /// The word used on the command line and in the names of files.
    pub fn id(&self) -> &'static str {
        match self {
            Self::IntegratedGradients { .. } => "integrated-gradients",
            Self::GradientTimesInput => "gradient-input",
            Self::GradientNorm => "gradient-norm",
            Self::Occlusion { .. } => "occlusion",
            Self::LeaveOneOut { .. } => "leave-one-out",
            Self::Attention { .. } => "attention",
        }
    }

    pub fn baseline(&self) -> Option<Baseline> {
        match self {
            Self::IntegratedGradients { baseline, .. } | Self::Occlusion { baseline, .. } => Some(*baseline),
            _ => None,
        }
    }

    /// What is taken away together, by methods that take something away.
    pub fn unit(&self) -> Option<Unit> {
        match self {
            Self::Occlusion { unit, .. } | Self::LeaveOneOut { unit } => Some(*unit),
            _ => None,
        }
    }

    pub fn with_baseline(self, baseline: Baseline) -> Self {
        match self {
            Self::IntegratedGradients { steps, .. } => Self::IntegratedGradients { steps, baseline },
            Self::Occlusion { unit, .. } => Self::Occlusion { unit, baseline },
            other => other,
        }
    }

    /// What its scores are no evidence of, in a sentence.
    pub fn caution(&self) -> Option<&'static str> {
        match self {
            Self::Attention { .. } => Some("attention shows where a layer looks and explains no answer"),
            Self::GradientNorm => {
                Some("a gradient's length has no sign: it says how much a token matters, not for what")
            }
            _ => None,
        }
    }
}

/// What a method found for one query.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// One number for each place of the range, in nats of the target.
    pub scores: Vec<f32>,
    /// The target as the sequence stands.
    pub value: f64,
    /// What integrated gradients say beside their scores.
    pub integral: Option<Integral>,
}

/// How well an integral adds up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Integral {
    pub steps: usize,
    /// The target with the range replaced by the baseline.
    pub value_at_start: f64,
    /// Sum of the scores less the change of the target: 0 if the integral is exact.
    pub delta: f64,
    /// Whether the delta is below 1 % of the change (of a tenth of a nat, where the change is smaller).
    pub is_good: bool,
}

/// How methods are applied.
pub struct Means<'a> {
    pub decoder: &'a Decoder,
    /// The token whose vector is the `pad` baseline.
    pub pad: u32,
    pub room: &'a Room,
    /// Steps up to which an integral that does not add up is taken again, twice as fine each time.
    pub most_steps: usize,
}

impl Means<'_> {
    /// Scores of queries. `units` are the spans that occlusion takes together, one list for each query, within its range.
    pub fn score(&self, method: &Method, queries: &[Query], units: &[Vec<Vec<usize>>]) -> Result<Vec<Scores>> {
        let longest = queries.iter().map(|query| query.range.len()).max().unwrap_or(0);
        let start = Start::of(method.baseline().unwrap_or(Baseline::Zero), self.pad, self.decoder, longest);
        self.score_from(&start, method, queries, units)
    }

    /// The same with vectors to begin with in place of the method's baseline.
    pub fn score_from(
        &self,
        start: &Start,
        method: &Method,
        queries: &[Query],
        units: &[Vec<Vec<usize>>],
    ) -> Result<Vec<Scores>> {
        match method {
            Method::IntegratedGradients { steps, .. } => self.integrated(*steps, queries, start),
            Method::GradientTimesInput => self.at_the_end(queries, Made::Product),
            Method::GradientNorm => self.at_the_end(queries, Made::Length),
            Method::Occlusion { .. } => self.without(queries, units, start, |places, number| Change::Replace {
                places: places.to_vec(),
                start: number,
            }),
            // What is taken out has nothing in its place.
            Method::LeaveOneOut { .. } => {
                self.without(queries, units, &Start::Zero, |places, _| Change::Delete { places: places.to_vec() })
            }
            Method::Attention { layer, head } => {
                let values = self.values(queries)?;
                let scores = queries.iter().zip(values).map(|(query, value)| {
                    let weights = attention::from_last(self.decoder, &query.ids, *layer, *head)?;
                    Ok(Scores { scores: weights[query.range.clone()].to_vec(), value, integral: None })
                });
                scores.collect()
            }
        }
    }

    fn values(&self, queries: &[Query]) -> Result<Vec<f64>> {
        let as_it_is = queries.iter().map(|query| Variant { query, change: Change::Nothing });
        values(self.decoder, &as_it_is.collect::<Vec<_>>(), &Start::Zero, self.room)
    }

    fn integrated(&self, steps: usize, queries: &[Query], start: &Start) -> Result<Vec<Scores>> {
        let ends: Vec<Variant> = queries
            .iter()
            .flat_map(|query| {
                let whole = |start| Change::Replace { places: query.range.clone().collect(), start };
                let starts = (0..start.count()).map(whole);
                std::iter::once(Change::Nothing).chain(starts).map(|change| Variant { query, change })
            })
            .collect();
        let ends = values(self.decoder, &ends, start, self.room)?;
        let mut found: Vec<Option<Scores>> = vec![None; queries.len()];
        let mut steps = steps;
        loop {
            let bad =
                |scores: &Option<Scores>| scores.as_ref().and_then(|own| own.integral).is_none_or(|own| !own.is_good);
            let open: Vec<usize> = (0..queries.len()).filter(|place| bad(&found[*place])).collect();
            if open.is_empty() {
                break;
            }
            let own: Vec<Query> = open.iter().map(|place| queries[*place].clone()).collect();
            let all = along(self.decoder, &own, &gauss_legendre(steps), start, Made::Product, self.room)?;
            for (place, scores) in open.into_iter().zip(all) {
                let ends = &ends[place * (1 + start.count())..][..1 + start.count()];
                let value_at_start = ends[1..].iter().sum::<f64>() / start.count() as f64;
                let change = ends[0] - value_at_start;
                let delta = scores.iter().sum::<f64>() - change;
                // What is no number never gets better.
                let is_good = delta.is_nan() || delta.abs() <= GOOD_DELTA * change.abs().max(0.1);
                let integral = Integral { steps, value_at_start, delta, is_good };
                found[place] = Some(Scores { scores: narrow(&scores), value: ends[0], integral: Some(integral) });
            }
            if steps * 2 > self.most_steps {
                break;
            }
            steps *= 2;
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// From the gradient at the true vectors alone.
    fn at_the_end(&self, queries: &[Query], made: Made) -> Result<Vec<Scores>> {
        // The way from zero to a vector is the vector.
        let all = along(self.decoder, queries, &[(1.0, 1.0)], &Start::Zero, made, self.room)?;
        let values = self.values(queries)?;
        let with = |(scores, value): (Vec<f64>, f64)| Scores { scores: narrow(&scores), value, integral: None };
        Ok(all.into_iter().zip(values).map(with).collect())
    }

    /// What the target loses without each unit. Its tokens share that equally, so that sums over them are the unit's.
    fn without(
        &self,
        queries: &[Query],
        units: &[Vec<Vec<usize>>],
        start: &Start,
        change: impl Fn(&[usize], usize) -> Change,
    ) -> Result<Vec<Scores>> {
        let mut variants = Vec::new();
        for (query, units) in queries.iter().zip(units) {
            variants.push(Variant { query, change: Change::Nothing });
            for places in units {
                variants.extend((0..start.count()).map(|number| Variant { query, change: change(places, number) }));
            }
        }
        let mut values = values(self.decoder, &variants, start, self.room)?.into_iter();
        let mut next = || values.next().unwrap_or(f64::NAN);
        let mut all = Vec::with_capacity(queries.len());
        for (query, units) in queries.iter().zip(units) {
            let value = next();
            let mut scores = vec![0.0; query.range.len()];
            for places in units {
                let without = (0..start.count()).map(|_| next()).sum::<f64>() / start.count() as f64;
                for place in places {
                    scores[place - query.range.start] = (value - without) / places.len() as f64;
                }
            }
            all.push(Scores { scores: narrow(&scores), value, integral: None });
        }
        Ok(all)
    }
}

fn narrow(scores: &[f64]) -> Vec<f32> {
    scores.iter().map(|score| *score as f32).collect()
}
