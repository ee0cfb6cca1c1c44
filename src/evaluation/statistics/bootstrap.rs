//! Intervals by drawing the same data again.

use std::collections::{BTreeMap, BTreeSet};

use super::t_test::TTest;
use super::{Unfit, mean_and_deviation};
use crate::seeds::Stream;

/// Draws of the bootstraps below.
const RESAMPLES: usize = 2000;

/// The mean of `differences` with its 95 % percentile bootstrap interval (Efron 1979). One number for each example:
/// what one condition got right there less what the other did, averaged over seeds where there are several.
pub fn paired_bootstrap(differences: &[f64]) -> (f64, (f64, f64)) {
    if differences.is_empty() {
        return (0.0, (-1.0, 1.0));
    }
    let n = differences.len();
    let mean = differences.iter().sum::<f64>() / n as f64;
    let mut stream = Stream::new(0, &["bootstrap"]);
    let means: Vec<f64> =
        (0..RESAMPLES).map(|_| (0..n).map(|_| differences[stream.below(n)]).sum::<f64>() / n as f64).collect();
    (mean, middle(means))
}

/// The interval that holds the middle 95 % of what was drawn.
fn middle(mut draws: Vec<f64>) -> (f64, f64) {
    draws.sort_by(f64::total_cmp);
    let at = |share: f64| draws[((draws.len() as f64 * share) as usize).min(draws.len() - 1)];
    (at(0.025), at(0.975))
}

/// A difference of two conditions that were trained with several seeds and asked the same examples.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SeededDifference {
    /// Mean of the one condition less mean of the other, from -1 to 1.
    pub mean: f64,
    /// For other seeds *and* other examples; with one seed of a condition it knows of no other. `None` for a single example.
    pub test: Option<TTest>,
    /// 95 % interval of the bootstrap of both. It is too narrow where seeds scatter more than examples, see below.
    pub bootstrap: (f64, f64),
    /// How far seeds alone scatter the difference: the sample standard deviation of a difference between one run of each
    /// condition, over all examples. `None` where a condition has one seed.
    pub seed_deviation: Option<f64>,
    /// How far examples alone scatter it: the standard error of `mean` for other examples and the same seeds. `None` for
    /// a single example.
    pub example_error: Option<f64>,
    /// Seeds that were used of the one condition, and of the other.
    pub seeds: (usize, usize),
    /// Whether runs of the same seed were held against each other.
    pub paired: bool,
    pub examples: usize,
}

/// The difference of two conditions over several seeds and the same examples, by a bootstrap of both: seeds are drawn
/// with replacement, then examples.
///
/// `one` and `other` say for each seed which examples were right; the examples of all of them stand in the same order.
/// Seeds that both conditions have are drawn together, and seeds of one alone are then left out. Where no more than one
/// is shared, and there are others, all seeds of both are used and drawn apart.
///
/// All seeds see the same examples, so one draw of examples serves all drawn seeds (the pigeonhole bootstrap, Owen 2007;
/// drawing examples anew for each seed would make their error shrink with the number of seeds). A mean of `s` drawn seeds
/// scatters less than the mean of `s` new ones, by (s − 1)/s, which matters for three; its distance from the mean of all
/// is stretched by √(s/(s − 1)) (Rao and Wu 1988). The interval is still that of many seeds: where seeds scatter much more
/// than examples, it covers about 85 % with three seeds and 91 % with six. Where neither scatters much and each answer is
/// a matter of chance, it is wider than it need be and covers 99 %, for chance is drawn on both levels. The same data
/// give the same numbers. What is said of a difference goes by [`SeededDifference::test`], which knows how few seeds are.
pub fn hierarchical_bootstrap<K: Ord>(
    one: &BTreeMap<K, Vec<bool>>,
    other: &BTreeMap<K, Vec<bool>>,
) -> Result<SeededDifference, Unfit> {
    resampled(one, other, RESAMPLES)
}

fn resampled<K: Ord>(
    one: &BTreeMap<K, Vec<bool>>,
    other: &BTreeMap<K, Vec<bool>>,
    resamples: usize,
) -> Result<SeededDifference, Unfit> {
    let cells = Cells::new(one, other)?;
    let mut stream = Stream::new(0, &["bootstrap", "seeds and examples"]);
    let draws: Vec<f64> = (0..resamples).map(|_| cells.draw(&mut stream)).collect();
    let by_example: Vec<f64> = (0..cells.examples).map(|example| cells.mean_of(cells.at(example))).collect();
    let error = mean_and_deviation(&by_example).1.map(|deviation| deviation / (cells.examples as f64).sqrt());
    Ok(SeededDifference {
        mean: by_example.iter().sum::<f64>() / cells.examples as f64,
        test: cells.t_test(),
        bootstrap: middle(draws),
        seed_deviation: cells.seed_deviation(),
        example_error: error,
        seeds: (cells.groups[0], cells.groups[cells.groups.len() - 1]),
        paired: cells.groups.len() == 1,
        examples: cells.examples,
    })
}

/// What is drawn from: a number for each example and seed, in groups of seeds that are drawn together. The difference is
/// the sum of the groups' means.
struct Cells {
    /// By example, then by seed: 1, 0 or -1. One group of differences, or the one condition and the other with its sign
    /// turned.
    values: Vec<f64>,
    /// Seeds of each group.
    groups: Vec<usize>,
    examples: usize,
}

impl Cells {
    fn new<K: Ord>(one: &BTreeMap<K, Vec<bool>>, other: &BTreeMap<K, Vec<bool>>) -> Result<Self, Unfit> {
        let (Some(first), Some(_)) = (one.values().next(), other.values().next()) else { return Err(Unfit::NoSeeds) };
        let examples = first.len();
        if one.values().chain(other.values()).any(|marks| marks.len() != examples) {
            return Err(Unfit::Uneven);
        }
        if examples == 0 {
            return Err(Unfit::NoExamples);
        }
        let number = |right: bool| f64::from(u8::from(right));
        let shared: Vec<(&Vec<bool>, &Vec<bool>)> =
            one.iter().filter_map(|(seed, marks)| Some((marks, other.get(seed)?))).collect();
        let all: BTreeSet<&K> = one.keys().chain(other.keys()).collect();
        if shared.len() > 1 || shared.len() == all.len() {
            let cell = |example: usize| shared.iter().map(move |(a, b)| number(a[example]) - number(b[example]));
            let values = (0..examples).flat_map(cell).collect();
            return Ok(Self { values, groups: vec![shared.len()], examples });
        }
        let cell = |example: usize| {
            let own = one.values().map(move |marks| number(marks[example]));
            own.chain(other.values().map(move |marks| -number(marks[example])))
        };
        let values = (0..examples).flat_map(cell).collect();
        Ok(Self { values, groups: vec![one.len(), other.len()], examples })
    }

    /// The numbers of an example, one for each seed.
    fn at(&self, example: usize) -> &[f64] {
        let seeds = self.values.len() / self.examples;
        &self.values[example * seeds..(example + 1) * seeds]
    }

    /// The numbers of each group out of one for each seed.
    fn split<'a>(&self, mut by_seed: &'a [f64]) -> Vec<&'a [f64]> {
        let mut parts = Vec::with_capacity(self.groups.len());
        for seeds in &self.groups {
            let (part, rest) = by_seed.split_at(*seeds);
            parts.push(part);
            by_seed = rest;
        }
        parts
    }

    /// The difference, from one number for each seed.
    fn mean_of(&self, by_seed: &[f64]) -> f64 {
        self.split(by_seed).iter().map(|part| part.iter().sum::<f64>() / part.len() as f64).sum()
    }

    /// Means over examples, one for each seed.
    fn over(&self, examples: impl Iterator<Item = usize>) -> Vec<f64> {
        let mut sums = vec![0.0; self.values.len() / self.examples];
        for example in examples {
            for (sum, value) in sums.iter_mut().zip(self.at(example)) {
                *sum += value;
            }
        }
        sums.iter().map(|sum| sum / self.examples as f64).collect()
    }

    /// The difference over other seeds and other examples.
    /// The two draws do not depend on each other, so examples may come first.
    fn draw(&self, stream: &mut Stream) -> f64 {
        let by_seed = self.over((0..self.examples).map(|_| stream.below(self.examples)));
        let group = |part: &[f64]| {
            let seeds = part.len() as f64;
            let all = part.iter().sum::<f64>() / seeds;
            let drawn = part.iter().map(|_| part[stream.below(part.len())]).sum::<f64>() / seeds;
            let stretch = if part.len() > 1 { (seeds / (seeds - 1.0)).sqrt() } else { 1.0 };
            all + stretch * (drawn - all)
        };
        self.split(&by_seed).into_iter().map(group).sum()
    }

    /// The t test of no difference. Its squared standard error is the sum of what examples and what seeds contribute, each
    /// from means over the other; where answers are a matter of chance, that is in both, and the test speaks too seldom. The
    /// degrees of freedom are Satterthwaite's (1946): those of a few seeds where seeds scatter most.
    fn t_test(&self) -> Option<TTest> {
        let by_example: Vec<f64> = (0..self.examples).map(|example| self.mean_of(self.at(example))).collect();
        let (mean, deviation) = mean_and_deviation(&by_example);
        let examples = self.examples as f64;
        let mut parts = vec![(deviation?.powi(2) / examples, examples - 1.0)];
        let by_seed = self.over(0..self.examples);
        for part in self.split(&by_seed) {
            if let (_, Some(deviation)) = mean_and_deviation(part) {
                parts.push((deviation.powi(2) / part.len() as f64, part.len() as f64 - 1.0));
            }
        }
        let variance: f64 = parts.iter().map(|(variance, _)| variance).sum();
        let scatter: f64 = parts.iter().map(|(variance, freedom)| variance * variance / freedom).sum();
        // Two seeds that happen to agree would seem not to matter: with two, they alone decide.
        let of_seeds: f64 = parts[1..].iter().map(|(_, freedom)| freedom).sum();
        let scatters = parts[1..].iter().any(|(variance, _)| *variance > 0.0);
        let freedom = match scatters && self.groups.contains(&2) {
            true => of_seeds,
            false if scatter > 0.0 => variance * variance / scatter,
            false => examples - 1.0,
        };
        Some(TTest { mean, error: variance.sqrt(), freedom })
    }

    /// The deviation of a difference between one run of each condition.
    fn seed_deviation(&self) -> Option<f64> {
        let by_seed = self.over(0..self.examples);
        let deviations: Option<Vec<f64>> =
            self.split(&by_seed).into_iter().map(|part| mean_and_deviation(part).1).collect();
        // Of conditions drawn apart the squares add up.
        Some(deviations?.iter().map(|deviation| deviation * deviation).sum::<f64>().sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bootstrap_covers_the_mean_and_narrows_with_more_examples() {
        let sample = |n: usize| {
            let mut stream = Stream::new(1, &["sample"]);
            (0..n)
                .map(|_| if stream.chance(0.3) { 1.0 } else { 0.0 } - if stream.chance(0.1) { 1.0 } else { 0.0 })
                .collect::<Vec<_>>()
        };
        let (mean, (low, high)) = paired_bootstrap(&sample(600));
        assert!(low < mean && mean < high && low > 0.1 && high < 0.3, "{low} {mean} {high}");
        let (_, (wide_low, wide_high)) = paired_bootstrap(&sample(60));
        assert!(wide_high - wide_low > 2.0 * (high - low));
        assert_eq!(paired_bootstrap(&sample(600)), paired_bootstrap(&sample(600)));
    }

    type Answers = BTreeMap<usize, Vec<bool>>;

    /// How far things move the chance of a right answer, evenly to both sides.
    #[derive(Clone, Copy)]
    struct World {
        /// A seed, in each condition by itself.
        seed: f64,
        /// A seed, in both conditions alike.
        common: f64,
        /// An example, the same in all seeds, against the other condition.
        example: f64,
        /// Whether the answer depends on chance beyond that.
        chance: bool,
        paired: bool,
    }

    const TRUTH: f64 = 0.1;

    /// Answers of a world in which the one condition is better by `TRUTH`.
    fn answers(world: World, seeds: usize, examples: usize, stream: &mut Stream) -> (Answers, Answers) {
        let mut even = |size: f64| size * (2.0 * stream.uniform() - 1.0);
        let tastes: Vec<f64> = (0..examples).map(|_| even(world.example)).collect();
        let shifts: Vec<(f64, f64, f64)> =
            (0..seeds).map(|_| (even(world.seed), even(world.seed), even(world.common))).collect();
        // A threshold for each example and condition in place of chance: the same for each seed.
        let fixed: Vec<(f64, f64)> = (0..examples).map(|_| (stream.uniform(), stream.uniform())).collect();
        let mut marks = |level: f64, example: usize, threshold: f64, sign: f64| {
            let likely = 0.5 + level + sign * (TRUTH / 2.0 + tastes[example]);
            likely > if world.chance { stream.uniform() } else { threshold }
        };
        let (mut one, mut other) = (Answers::new(), Answers::new());
        for (seed, (own, its, common)) in shifts.iter().enumerate() {
            one.insert(seed, (0..examples).map(|i| marks(own + common, i, fixed[i].0, 1.0)).collect());
            let name = if world.paired { seed } else { seed + seeds };
            other.insert(name, (0..examples).map(|i| marks(its + common, i, fixed[i].1, -1.0)).collect());
        }
        (one, other)
    }

    const WORLDS: usize = 400;

    /// How often an interval holds the truth, and its mean width.
    fn coverage(
        world: World,
        (seeds, examples): (usize, usize),
        of: fn(&Answers, &Answers) -> (f64, f64),
    ) -> (f64, f64) {
        let mut stream = Stream::new(5, &["coverage"]);
        let (mut held, mut width) = (0, 0.0);
        for _ in 0..WORLDS {
            let (one, other) = answers(world, seeds, examples, &mut stream);
            let (low, high) = of(&one, &other);
            held += usize::from(low <= TRUTH && TRUTH <= high);
            width += high - low;
        }
        (held as f64 / WORLDS as f64, width / WORLDS as f64)
    }

    fn both_levels(one: &Answers, other: &Answers) -> (f64, f64) {
        resampled(one, other, 400).unwrap().bootstrap
    }

    /// What an interval that takes the seeds as given would be.
    fn examples_alone(one: &Answers, other: &Answers) -> (f64, f64) {
        let cells = Cells::new(one, other).unwrap();
        let means: Vec<f64> = (0..cells.examples).map(|example| cells.mean_of(cells.at(example))).collect();
        paired_bootstrap(&means).1
    }

    /// What an interval that takes the examples as given would be.
    fn seeds_alone(one: &Answers, other: &Answers) -> (f64, f64) {
        let cells = Cells::new(one, other).unwrap();
        paired_bootstrap(&cells.over(0..cells.examples)).1
    }

    /// What an interval that draws examples anew for each seed would be.
    fn examples_anew(one: &Answers, other: &Answers) -> (f64, f64) {
        let cells = Cells::new(one, other).unwrap();
        let mut stream = Stream::new(0, &["anew"]);
        let draw = |_| {
            let seeds = cells.groups[0];
            let of_seed = |_| {
                let seed = stream.below(seeds);
                (0..cells.examples).map(|_| cells.at(stream.below(cells.examples))[seed]).sum::<f64>()
            };
            (0..seeds).map(of_seed).sum::<f64>() / (seeds * cells.examples) as f64
        };
        middle((0..200).map(draw).collect())
    }

    const STILL: World = World { seed: 0.0, common: 0.0, example: 0.0, chance: true, paired: true };
    /// Seeds differ, examples hardly.
    const SEEDS: World = World { seed: 0.3, ..STILL };
    /// Examples differ, and each is answered alike under all seeds.
    const EXAMPLES: World = World { example: 0.4, chance: false, ..STILL };
    const BOTH: World = World { seed: 0.2, example: 0.2, chance: false, ..STILL };

    #[test]
    fn the_interval_holds_the_truth_for_other_seeds_and_other_examples() {
        for (name, world, size, least, most) in [
            ("seeds", SEEDS, (10, 150), 0.91, 0.98),
            ("seeds apart", World { paired: false, ..SEEDS }, (10, 150), 0.91, 0.98),
            ("examples", EXAMPLES, (10, 100), 0.92, 0.98),
            ("both", BOTH, (10, 60), 0.92, 0.98),
            // What the documentation says of few seeds.
            ("three seeds", SEEDS, (3, 150), 0.83, 0.88),
            ("six seeds", SEEDS, (6, 150), 0.90, 0.95),
        ] {
            let (held, width) = coverage(world, size, both_levels);
            assert!((least..=most).contains(&held), "{name}: {held}, {width} wide");
        }
    }

    #[test]
    fn either_level_alone_would_not_hold_it() {
        let (ignoring_seeds, _) = coverage(SEEDS, (10, 150), examples_alone);
        assert!(ignoring_seeds < 0.5, "{ignoring_seeds}");
        let (ignoring_examples, _) = coverage(EXAMPLES, (10, 100), seeds_alone);
        assert!(ignoring_examples < 0.1, "{ignoring_examples}");
        let (anew, _) = coverage(EXAMPLES, (10, 100), examples_anew);
        assert!(anew < 0.6, "{anew}");
    }

    #[test]
    fn what_a_seed_does_to_both_conditions_cancels_where_it_is_shared() {
        let common = World { common: 0.3, ..STILL };
        let (held, width) = coverage(common, (5, 100), both_levels);
        let (held_apart, width_apart) = coverage(World { paired: false, ..common }, (5, 100), both_levels);
        assert!(held > 0.92 && held_apart > 0.85, "{held} {held_apart}");
        assert!(width < 0.7 * width_apart, "{width} {width_apart}");
    }

    fn marks(rows: &[(usize, &str)]) -> Answers {
        rows.iter().map(|(seed, row)| (*seed, row.chars().map(|mark| mark == '1').collect())).collect()
    }

    #[test]
    fn seeds_are_paired_where_they_are_the_same() {
        let one = marks(&[(1, "1101"), (2, "1111"), (3, "0000")]);
        let other = marks(&[(1, "0101"), (2, "0011"), (4, "1111")]);
        let shared = hierarchical_bootstrap(&one, &other).unwrap();
        assert_eq!((shared.paired, shared.seeds, shared.examples), (true, (2, 2), 4));
        assert_eq!(shared.mean, (0.25 + 0.5) / 2.0);
        assert!((shared.seed_deviation.unwrap() - 0.125 * 2f64.sqrt()).abs() < 1e-12);
        // By example: 1, 0.5, 0, 0, whose deviation is √(11/48); of four of them.
        assert!((shared.example_error.unwrap() - (11.0 / 48.0_f64).sqrt() / 2.0).abs() < 1e-12, "{shared:?}");
        let apart = hierarchical_bootstrap(&one, &marks(&[(1, "0101"), (7, "0001")])).unwrap();
        assert_eq!((apart.paired, apart.seeds), (false, (3, 2)));
        assert!((apart.mean - (1.75 / 3.0 - 0.375)).abs() < 1e-12);
        assert_eq!(shared, hierarchical_bootstrap(&one, &other).unwrap());
    }

    #[test]
    fn few_seeds_and_few_examples_are_said_to_be_few() {
        let single = hierarchical_bootstrap(&marks(&[(1, "110100")]), &marks(&[(1, "010100")])).unwrap();
        assert_eq!((single.paired, single.seeds, single.seed_deviation), (true, (1, 1), None));
        let lone = hierarchical_bootstrap(&marks(&[(1, "1"), (2, "1")]), &marks(&[(1, "0"), (2, "1")])).unwrap();
        assert_eq!((lone.mean, lone.example_error), (0.5, None));
        let same = marks(&[(1, "1010"), (2, "1100")]);
        let equal = hierarchical_bootstrap(&same, &same).unwrap();
        assert_eq!((equal.mean, equal.bootstrap), (0.0, (0.0, 0.0)));
        assert_eq!((equal.test.unwrap().p(), equal.test.unwrap().interval()), (1.0, (0.0, 0.0)));
        let (none, empty, longer) = (Answers::new(), marks(&[(1, "")]), marks(&[(1, "101")]));
        assert_eq!(hierarchical_bootstrap(&none, &same), Err(Unfit::NoSeeds));
        assert_eq!(hierarchical_bootstrap(&same, &none), Err(Unfit::NoSeeds));
        assert_eq!(hierarchical_bootstrap(&empty, &empty), Err(Unfit::NoExamples));
        assert_eq!(hierarchical_bootstrap(&same, &longer), Err(Unfit::Uneven));
    }

    #[test]
    fn a_clear_difference_has_a_small_p_and_none_a_large_one() {
        let mut stream = Stream::new(2, &["p"]);
        let (one, other) = answers(World { seed: 0.02, ..STILL }, 5, 600, &mut stream);
        let found = hierarchical_bootstrap(&one, &other).unwrap();
        let test = found.test.unwrap();
        assert!(test.p() < 0.01 && test.interval().0 > 0.0, "{found:?}");
        // One that is everywhere the same scatters by nothing.
        let all = |right: bool| (0..5).map(|seed| (seed, vec![right; 600])).collect::<Answers>();
        assert_eq!(hierarchical_bootstrap(&all(true), &all(false)).unwrap().test.unwrap().p(), 0.0);
        // The same marks under other seeds: halves of one condition.
        let half = |odd: usize| one.iter().filter(|(seed, _)| *seed % 2 == odd).map(|(s, m)| (*s, m.clone())).collect();
        let none = hierarchical_bootstrap(&half(0), &half(1)).unwrap();
        assert!(none.test.unwrap().p() > 0.05 && !none.paired, "{none:?}");
    }

    /// The interval of the t test holds the truth as often as it says also with few seeds, where the bootstrap does not.
    #[test]
    fn few_seeds_are_not_taken_for_many() {
        let by_t = |one: &Answers, other: &Answers| Cells::new(one, other).unwrap().t_test().unwrap().interval();
        let both = World { seed: 0.2, example: 0.2, ..STILL };
        for seeds in [2, 3, 5] {
            for (name, world) in [("seeds", SEEDS), ("examples", EXAMPLES), ("both", both), ("chance", STILL)] {
                for world in [world, World { paired: false, ..world }] {
                    let (held, _) = coverage(world, (seeds, 200), by_t);
                    // 400 draws tell shares of 95 % to about 2 points.
                    assert!(held >= 0.92, "{name}, {seeds} seeds, paired {}: {held}", world.paired);
                }
            }
        }
        let (held, _) = coverage(SEEDS, (3, 200), both_levels);
        assert!(held < 0.9, "{held}");
    }
}
