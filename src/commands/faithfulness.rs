//! `afterthought faithfulness`: whether the tokens that a method calls key are key to the student.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::asked::{AskedArgs, MethodArg, UnitArg};
use super::output::{Context, Usage, device, print, say};
use crate::attribution::agreement::{overlap, precision, spearman};
use crate::attribution::faithfulness::{Curves, POINTS, RANDOM_ORDERS, Removal, order, random_order};
use crate::attribution::units::bare;
use crate::attribution::{Asked, Attributor, ExampleAttribution, Target};
use crate::corpus::Example;
use crate::evaluation::statistics::student_quantile;
use crate::rationale::Role;
use crate::runs::preview::Target as Subject;
use crate::runs::scorer::TrainedRun;
use crate::runs::{load_split, prepare};

const EXAMPLES: &str = "\
Examples:
  afterthought faithfulness last toyworld --split validation
  afterthought faithfulness last toyworld --split validation --methods integrated-gradients,occlusion --known cues
  afterthought faithfulness 20261120-a toyworld --split test --against 20261120-b --against 20261120-c --json

Deletion takes tokens away from the highest score down: a small area means that the method found what the answer rests on.
Insertion gives them back in that order: a large one does.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct FaithfulnessArgs {
    /// A run's id (or `last`) or one of its checkpoints (RUN@best, RUN@STEP), a checkpoint folder, or a student folder
    run: String,
    dataset: String,
    #[arg(long)]
    split: String,
    #[command(flatten)]
    asked: AskedArgs,
    /// The methods to compare; all that explain when left out
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with = "method")]
    methods: Vec<MethodArg>,
    /// Other runs, whose scores by the first method are compared: other seeds, say
    #[arg(long, value_name = "RUN")]
    against: Vec<String>,
    /// What becomes of a token that is taken away
    #[arg(long, value_enum, default_value_t)]
    removal: Removal,
    /// A field of the data set that lists the words known to be key; a person's marks where there is none
    #[arg(long, default_value = "cues")]
    known: String,
    /// How many of the highest tokens are compared between methods
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// Look at this many examples only
    #[arg(long)]
    limit: Option<usize>,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
}

/// What is measured of one way to rank tokens.
#[derive(Serialize)]
struct Measured {
    name: String,
    deletion: Area,
    insertion: Area,
    /// The share of known words among as many of the highest scored, and what chance would find.
    precision: Option<Share>,
    curves: Curves,
}

/// The mean area under the curves of all examples.
#[derive(Serialize)]
struct Area {
    area: f64,
    /// Less that of random orders of the same examples, with its 95 % interval (Student's); none of a single example.
    against_random: f64,
    interval: Option<[f64; 2]>,
}

#[derive(Serialize)]
struct Share {
    share: f64,
    chance: f64,
    examples: usize,
}

/// How two rankings agree, as means over examples.
#[derive(Serialize)]
struct Agreement {
    one: String,
    other: String,
    spearman: Option<f64>,
    overlap: Option<f64>,
}

/// A student that ranks tokens.
struct Student {
    trained: TrainedRun,
    source: String,
}

/// One way to rank tokens: which student, by what.
struct Ranker {
    name: String,
    student: usize,
    asked: Asked,
}

pub fn run(args: FaithfulnessArgs, context: &Context) -> anyhow::Result<()> {
    crate::training::tune_allocator();
    let device = device(&args.device)?;
    let dataset = context.catalog().open(&args.dataset)?;
    if !matches!(args.asked.target, Target::Label | Target::Choice(_)) {
        let text = "the curves are of a choice's probability: --target label, or choice:LABEL";
        return Err(Usage(text.into()).into());
    }
    if args.asked.unit != UnitArg::Token {
        return Err(Usage("the curves take tokens away one by one: leave --unit out".into()).into());
    }
    let load = |wanted: &String| -> anyhow::Result<Student> {
        let target = Subject::find(&context.project, wanted)?;
        let spec = target.spec()?;
        Ok(Student { trained: target.load(&spec, &dataset, &device)?, source: spec.rationale.source })
    };
    let students = std::iter::once(&args.run).chain(&args.against).map(load).collect::<anyhow::Result<Vec<_>>>()?;
    let methods = if args.methods.is_empty() { MethodArg::EXPLAINING.to_vec() } else { args.methods.clone() };
    let mut rankers = Vec::new();
    for method in &methods {
        let asked = args.asked.asked_by(*method)?;
        rankers.push(Ranker { name: asked.method.name().into(), student: 0, asked });
    }
    for (number, other) in args.against.iter().enumerate() {
        let asked = args.asked.asked_by(methods[0])?;
        let name = format!("{} of {}", asked.method.name(), crate::text::line(other));
        rankers.push(Ranker { name, student: number + 1, asked });
    }
    let split = load_split(&dataset, &args.split, &students[0].source)?;
    let examples = &split.examples[..args.limit.unwrap_or(usize::MAX).min(split.examples.len())];
    let free = prepare::free_memory(&device);
    let renderers: Vec<_> = students.iter().map(|student| student.trained.reading(&student.source)).collect();
    let attributors: Vec<Attributor> = rankers
        .iter()
        .map(|Ranker { student, asked, .. }| students[*student].trained.attributor(&renderers[*student], asked, free))
        .collect();
    let bar = context.progress("measuring", examples.len() as u64);
    let mut seen = Seen::new(rankers.len());
    for example in examples {
        bar.inc(1);
        let mut found = Vec::with_capacity(rankers.len());
        for attributor in &attributors {
            match attributor.one(example) {
                Ok(scored) => found.push(scored),
                Err(error) if error.is_about_the_example() => break,
                Err(error) => return Err(error.into()),
            }
        }
        let scores: Vec<Vec<f32>> = found.iter().map(scores).collect();
        let count = scores.first().map_or(0, Vec::len);
        if scores.len() < rankers.len() || scores.iter().any(|own| own.len() != count) {
            seen.left_out += 1;
            continue;
        }
        let mut orders: Vec<Vec<usize>> = scores.iter().map(|scores| order(scores)).collect();
        orders.extend((0..RANDOM_ORDERS).map(|number| random_order(&example.id, number, count)));
        let curves = attributors[0].curves(example, &orders, args.removal)?;
        seen.add(&args, example, &found, &scores, curves);
    }
    bar.finish_and_clear();
    if seen.left_out > 0 {
        say(&format!(
            "{} examples have no rationale or no answer, or other tokens before another student, and were left out",
            seen.left_out
        ));
    }
    if seen.examples() == 0 {
        anyhow::bail!("no example of {} was left to measure · they need a rationale and an answer", args.split);
    }
    let names: Vec<String> = rankers.iter().map(|ranker| ranker.name.clone()).collect();
    let (measured, agreements) = (seen.measured(&names), seen.agreements(&names));
    if context.json {
        return context.print_json(&serde_json::json!({
            "examples": seen.examples(), "left_out": seen.left_out, "removal": args.removal, "target": args.asked.target.name(),
            "methods": measured, "random": Curves::mean(&seen.random), "agreement": agreements,
        }));
    }
    print(&text(&seen, &measured, &agreements, args.top))
}

/// The scored tokens' scores, in order.
fn scores(found: &ExampleAttribution) -> Vec<f32> {
    found.tokens.iter().filter_map(|token| token.score).collect()
}

/// All that was seen, example by example.
struct Seen {
    /// For each ranker.
    curves: Vec<Vec<Curves>>,
    precision: Vec<Vec<(f64, f64)>>,
    /// For each pair of rankers.
    spearman: Vec<Vec<f64>>,
    overlap: Vec<Vec<f64>>,
    /// The mean of each example's random orders.
    random: Vec<Curves>,
    left_out: usize,
}

impl Seen {
    fn new(rankers: usize) -> Self {
        let empty = || vec![vec![]; rankers * rankers];
        Self {
            curves: vec![vec![]; rankers],
            precision: vec![vec![]; rankers],
            spearman: empty(),
            overlap: empty(),
            random: vec![],
            left_out: 0,
        }
    }

    fn examples(&self) -> usize {
        self.random.len()
    }

    fn add(
        &mut self,
        args: &FaithfulnessArgs,
        example: &Example,
        found: &[ExampleAttribution],
        scores: &[Vec<f32>],
        mut curves: Vec<Curves>,
    ) {
        self.random.push(Curves::mean(&curves.split_off(found.len())));
        for (place, own) in curves.into_iter().enumerate() {
            self.curves[place].push(own);
        }
        let known = known_words(example, &args.known);
        for (place, found) in found.iter().enumerate() {
            let words = found.words.iter().filter(|word| word.role == Role::Rationale);
            let words: Vec<(&str, f32)> = words.filter_map(|word| Some((word.text.as_str(), word.score?))).collect();
            self.precision[place].extend(precision(&words, |word| known.contains(&bare(word))));
        }
        for one in 0..scores.len() {
            for other in one + 1..scores.len() {
                let pair = one * scores.len() + other;
                self.spearman[pair].extend(spearman(&scores[one], &scores[other]));
                self.overlap[pair].extend(overlap(&scores[one], &scores[other], args.top));
            }
        }
    }

    fn measured(&self, names: &[String]) -> Vec<Measured> {
        let area = |place: usize, of: fn(&Curves) -> &[f64]| {
            let own: Vec<f64> = self.curves[place].iter().map(|curves| Curves::area(of(curves))).collect();
            let random = self.random.iter().map(|curves| Curves::area(of(curves)));
            let differences: Vec<f64> = own.iter().zip(random).map(|(own, random)| own - random).collect();
            let (difference, half) = mean_and_half(&differences);
            let interval = half.map(|half| [difference - half, difference + half]);
            Area { area: mean_and_half(&own).0, against_random: difference, interval }
        };
        let share = |place: usize| {
            let all = &self.precision[place];
            let mean = |of: fn(&(f64, f64)) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
            let share = Share { share: mean(|own| own.0), chance: mean(|own| own.1), examples: all.len() };
            (!all.is_empty()).then_some(share)
        };
        let one = |(place, name): (usize, &String)| Measured {
            name: name.clone(),
            deletion: area(place, |curves| &curves.deletion),
            insertion: area(place, |curves| &curves.insertion),
            precision: share(place),
            curves: Curves::mean(&self.curves[place]),
        };
        names.iter().enumerate().map(one).collect()
    }

    fn agreements(&self, names: &[String]) -> Vec<Agreement> {
        let mean = |all: &Vec<f64>| (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64);
        let mut agreements = Vec::new();
        for one in 0..names.len() {
            for other in one + 1..names.len() {
                let pair = one * names.len() + other;
                agreements.push(Agreement {
                    one: names[one].clone(),
                    other: names[other].clone(),
                    spearman: mean(&self.spearman[pair]),
                    overlap: mean(&self.overlap[pair]),
                });
            }
        }
        agreements
    }
}

/// The mean, and half of its 95 % interval by Student's t.
fn mean_and_half(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (values.len() > 1).then(|| student_quantile(0.975, n - 1.0) * (variance / n).sqrt()))
}

/// The words of an example that are known to be key, bare: those that a field lists, or those that a person marked.
fn known_words(example: &Example, field: &str) -> Vec<String> {
    if let Some(listed) = example.extra.get(field).and_then(|value| value.as_array()) {
        return listed.iter().filter_map(|word| word.as_str()).map(bare).collect();
    }
    let text: Vec<char> = example.rationale.as_deref().unwrap_or("").trim().chars().collect();
    let marked = example.highlights.iter().filter_map(|range| text.get(range.clone()));
    marked
        .flat_map(|marked| marked.iter().collect::<String>().split_whitespace().map(bare).collect::<Vec<_>>())
        .collect()
}

fn text(seen: &Seen, measured: &[Measured], agreements: &[Agreement], top: usize) -> String {
    let wide = measured.iter().map(|own| own.name.chars().count()).max().unwrap_or(0).max(12);
    let mut out = format!(
        "{} examples; mean probability of the target while tokens go, and while they come back\n",
        seen.examples()
    );
    let _ = writeln!(
        out,
        "{:<wide$}  {:>8} {:>24}  {:>9} {:>24}  precision",
        "", "deletion", "less random", "insertion", "less random"
    );
    let random = Curves::mean(&seen.random);
    for Measured { name, deletion, insertion, precision, .. } in measured {
        let against = |area: &Area| match area.interval {
            Some([low, high]) => format!("{:+.3} [{low:+.3}, {high:+.3}]", area.against_random),
            None => format!("{:+.3}", area.against_random),
        };
        let precision =
            precision.as_ref().map_or("–".into(), |own| format!("{:.2} (chance {:.2})", own.share, own.chance));
        let _ = writeln!(
            out,
            "{name:<wide$}  {:>8.3} {:>24}  {:>9.3} {:>24}  {precision}",
            deletion.area,
            against(deletion),
            insertion.area,
            against(insertion)
        );
    }
    let areas = [&random.deletion, &random.insertion].map(|curve| Curves::area(curve));
    let _ = writeln!(out, "{:<wide$}  {:>8.3} {:>24}  {:>9.3}", "random order", areas[0], "", areas[1]);
    if !agreements.is_empty() {
        let _ = writeln!(out, "\nagreement: rank correlation, and the share of the top {top} that both have");
        for own in agreements {
            let number = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:+.2}"));
            let _ =
                writeln!(out, "{:>6} {:>6}  {} · {}", number(own.spearman), number(own.overlap), own.one, own.other);
        }
    }
    let _ = writeln!(
        out,
        "\nshare gone  {}",
        (0..POINTS).step_by(4).map(|point| format!("{:>6}%", point * 5)).collect::<String>()
    );
    for (name, curve) in
        measured.iter().map(|own| (own.name.as_str(), &own.curves.deletion)).chain([("random order", &random.deletion)])
    {
        let values: String = curve.iter().step_by(4).map(|value| format!("{value:>7.2}")).collect();
        let _ = writeln!(out, "{values:>54}  {name}");
    }
    out
}
