//! What each ablation can be told, as it stands in a recipe.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text;

/// One change to the rationale. In YAML: `shuffle: {unit: token}`, and so on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "AblationFile", into = "AblationFile")]
pub enum Ablation {
    Shuffle(Shuffle),
    Mask(Mask),
    Keep(Keep),
    Truncate(Truncate),
    Remove(Remove),
    Swap(Swap),
    Fill(Fill),
}

/// Puts tokens, words or sentences in a random order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shuffle {
    pub unit: Unit,
    /// How often another order is drawn; once for the whole run when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anew: Option<Anew>,
}

/// When a draw is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anew {
    /// With each pass over the examples, in training; what is evaluated keeps the draw of the first.
    Epoch,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    #[default]
    Token,
    Word,
    Sentence,
}

impl Unit {
    /// The word used in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Word => "word",
            Self::Sentence => "sentence",
        }
    }
}

/// Hides a random share of the tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mask {
    /// Share of tokens, 0 to 1.
    pub fraction: f64,
    pub how: MaskHow,
    /// The text put in their place; the tokenizer's mask token, or `_`, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// Whether the student is trained to write the masks.
    pub in_loss: bool,
}

impl Default for Mask {
    fn default() -> Self {
        Self { fraction: 0.4, how: MaskHow::Replace, with: None, in_loss: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskHow {
    /// A mask stands where the token stood.
    Replace,
    /// The token is gone and the rest moves up.
    Drop,
}

/// Keeps a few tokens, in their order, and drops the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    pub by: KeepBy,
    /// How many tokens. Highlights may have neither this nor a fraction: then all of them are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// What share of the tokens, 0 to 1, in place of a count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// Whose word vectors say what is similar: [`STUDENT`], or a word2vec file (`.bin`, or text). Default `student`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<String>,
    /// Whose attributions: a run's id, or `reader` for a student trained to read the rationale. Default `reader`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scorer: Option<String>,
    /// Where integrated gradients begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

/// The scorer that [`Keep`] uses when none is named.
pub const READER: &str = "reader";
/// The vectors that [`Keep`] uses when none are named: the student's own, as it is before it is trained.
pub const STUDENT: &str = "student";
/// What [`Fill`] is told for tokens that are learned.
pub const PAUSE: &str = "pause";

impl Keep {
    /// Settings with a count alone, or without one.
    pub fn of(by: KeepBy, count: Option<usize>) -> Self {
        Self { by, count, fraction: None, vectors: None, scorer: None, baseline: None }
    }

    /// How many of `n` tokens are kept at most.
    pub fn limit(&self, n: usize) -> usize {
        limit(self.count, self.fraction, n)
    }
}

/// A count or `round(fraction · n)`, never more than `n`; all where neither is set.
fn limit(count: Option<usize>, fraction: Option<f64>, n: usize) -> usize {
    let share = fraction.map(|fraction| (fraction * n as f64).round() as usize);
    count.or(share).unwrap_or(n).min(n)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepBy {
    /// Integrated gradients of log p(label).
    Attribution,
    /// The cosine between the vectors of the token, or of its word, and of the label.
    Similarity,
    Random,
    First,
    Last,
    /// What a person marked in the rationale pane.
    Highlight,
}

impl KeepBy {
    pub const ALL: [Self; 6] =
        [Self::Attribution, Self::Similarity, Self::Random, Self::First, Self::Last, Self::Highlight];

    pub fn name(self) -> &'static str {
        match self {
            Self::Attribution => "attribution",
            Self::Similarity => "similarity",
            Self::Random => "random",
            Self::First => "first",
            Self::Last => "last",
            Self::Highlight => "highlight",
        }
    }
}

/// The input that stands for "nothing" in integrated gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Baseline {
    Zero,
    /// The vector of the padding or end token.
    Pad,
    /// The mean of all word vectors.
    #[default]
    Mean,
    /// Words drawn at random, several times over; the results are averaged (expected gradients, Erion et al. 2021).
    Random,
}

impl Baseline {
    pub const ALL: [Self; 4] = [Self::Mean, Self::Zero, Self::Pad, Self::Random];

    pub fn name(self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::Pad => "pad",
            Self::Mean => "mean",
            Self::Random => "random",
        }
    }
}

/// Cuts the rationale down: the readable spelling of keeping the first or the last tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truncate {
    /// How many tokens are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// What share of the tokens is left, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// Where it is cut.
    #[serde(default)]
    pub from: CutFrom,
}

/// The side at which a rationale is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CutFrom {
    #[default]
    End,
    Start,
}

impl Truncate {
    /// How many of `n` tokens are left.
    pub fn limit(&self, n: usize) -> usize {
        limit(self.count, self.fraction, n)
    }
}

/// Takes more tokens away with each epoch, so that the student learns to do without them (implicit chain of thought,
/// Deng et al. 2024). The first epoch has the whole rationale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// How many tokens more with each epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// What share of the tokens more with each epoch, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// Where they are taken away.
    #[serde(default = "start", skip_serializing_if = "is_start")]
    pub from: CutFrom,
    /// Tokens beyond those are taken away at random: `o` of them with a probability that goes by exp(-smoothing · o).
    /// None when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoothing: Option<f64>,
}

fn start() -> CutFrom {
    CutFrom::Start
}

fn is_start(from: &CutFrom) -> bool {
    *from == CutFrom::Start
}

impl Remove {
    /// How many of `n` tokens are gone in an epoch, 0 for the first.
    pub fn gone(&self, epoch: usize, n: usize) -> usize {
        let share = self.fraction.map(|fraction| (fraction * epoch as f64 * n as f64).round() as usize);
        self.count.map(|count| count.saturating_mul(epoch)).or(share).unwrap_or(0).min(n)
    }
}

/// Puts another rationale in its place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Swap {
    pub with: SwapWith,
    /// For a wrong choice: the file under `rationales/` whose rationales for wrong choices of the same question are
    /// taken. Without one they are those of other examples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapWith {
    /// The rationale of a random other example of the split.
    #[default]
    AnotherExample,
    /// Of another one for which the student writes the same label.
    SameLabel,
    /// Of one for which it writes another.
    OtherLabel,
    /// One that argues for a wrong choice of the question.
    WrongChoice,
}

impl SwapWith {
    pub const ALL: [Self; 4] = [Self::AnotherExample, Self::SameLabel, Self::OtherLabel, Self::WrongChoice];

    pub fn name(self) -> &'static str {
        match self {
            Self::AnotherExample => "another-example",
            Self::SameLabel => "same-label",
            Self::OtherLabel => "other-label",
            Self::WrongChoice => "wrong-choice",
        }
    }
}

/// Replaces every token by one without content: the same length, nothing said. With a count, that many tokens stand in
/// the place of the whole rationale, and also where an example has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fill {
    /// The text to repeat; the tokenizer's mask token, or `_`, when absent. [`PAUSE`] is a token of its own, whose
    /// vector is learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// Whether the student is trained to write the filler.
    pub in_loss: bool,
    /// How many tokens, whatever the rationale's length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
}

/// More filler than any student has room for.
const MOST_FILLER: usize = 1 << 20;

impl Fill {
    /// Whether it is made of learned tokens.
    pub fn pauses(&self) -> bool {
        self.with.as_deref().map(str::trim) == Some(PAUSE)
    }
}

/// An ablation as it stands in a file: a map with one key.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AblationFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    shuffle: Option<Shuffle>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<Mask>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep: Option<Keep>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncate: Option<Truncate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remove: Option<Remove>,
    #[serde(skip_serializing_if = "Option::is_none")]
    swap: Option<Swap>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fill: Option<Fill>,
}

impl TryFrom<AblationFile> for Ablation {
    type Error = String;

    fn try_from(file: AblationFile) -> Result<Self, String> {
        let found = [
            file.shuffle.map(Self::Shuffle),
            file.mask.map(Self::Mask),
            file.keep.map(Self::Keep),
            file.truncate.map(Self::Truncate),
            file.remove.map(Self::Remove),
            file.swap.map(Self::Swap),
            file.fill.map(Self::Fill),
        ];
        let mut found = found.into_iter().flatten();
        match (found.next(), found.next()) {
            (Some(ablation), None) => ablation.checked(),
            _ => Err(
                "an ablation is one of shuffle, mask, keep, truncate, remove, swap or fill, each in a list item of \
                     its own"
                    .into(),
            ),
        }
    }
}

impl From<Ablation> for AblationFile {
    fn from(ablation: Ablation) -> Self {
        let mut file = Self::default();
        match ablation {
            Ablation::Shuffle(shuffle) => file.shuffle = Some(shuffle),
            Ablation::Mask(mask) => file.mask = Some(mask),
            Ablation::Keep(keep) => file.keep = Some(keep),
            Ablation::Truncate(truncate) => file.truncate = Some(truncate),
            Ablation::Remove(remove) => file.remove = Some(remove),
            Ablation::Swap(swap) => file.swap = Some(swap),
            Ablation::Fill(fill) => file.fill = Some(fill),
        }
        file
    }
}

impl Ablation {
    /// Refuses values that mean nothing.
    fn checked(self) -> Result<Self, String> {
        match &self {
            Self::Mask(mask) => share("mask", Some(mask.fraction))?,
            Self::Keep(keep) => {
                share("keep", keep.fraction)?;
                let name = keep.by.name();
                match (keep.count, keep.fraction) {
                    (Some(_), Some(_)) => {
                        return Err(format!("keep by {name} has a count and a fraction · leave one out"));
                    }
                    (None, None) if keep.by != KeepBy::Highlight => {
                        return Err(format!("keep by {name} needs a count, such as `count: 3`, or a fraction"));
                    }
                    _ => {}
                }
                if keep.by != KeepBy::Attribution && (keep.scorer.is_some() || keep.baseline.is_some()) {
                    return Err(format!("keep by {name} has no scorer and no baseline"));
                }
                if keep.by != KeepBy::Similarity && keep.vectors.is_some() {
                    return Err(format!("keep by {name} has no vectors · they are for `by: similarity`"));
                }
                if keep.vectors.as_deref().is_some_and(|vectors| vectors.trim().is_empty()) {
                    return Err("keep.vectors is empty · write `student`, or the path of a word2vec file".into());
                }
            }
            Self::Truncate(truncate) => {
                share("truncate", truncate.fraction)?;
                if truncate.count.is_some() == truncate.fraction.is_some() {
                    return Err("truncate needs a count or a fraction of tokens to leave, and not both".into());
                }
            }
            Self::Remove(remove) => {
                share("remove", remove.fraction)?;
                if remove.count.is_some() == remove.fraction.is_some() {
                    return Err(
                        "remove needs a count or a fraction of tokens to take away with each epoch, and not both"
                            .into(),
                    );
                }
                if let Some(smoothing) = remove.smoothing.filter(|value| !(*value > 0.0 && value.is_finite())) {
                    return Err(format!("remove.smoothing is {smoothing}; it must be above 0"));
                }
            }
            Self::Swap(swap) if swap.source.is_some() && swap.with != SwapWith::WrongChoice => {
                return Err(
                    "swap.source is for `with: wrong-choice` · rationale.source names the rationales of all else"
                        .into(),
                );
            }
            Self::Fill(fill) if fill.count.is_some_and(|count| count == 0 || count > MOST_FILLER) => {
                return Err(format!("fill.count is {}, not between 1 and {MOST_FILLER}", fill.count.unwrap_or(0)));
            }
            Self::Fill(fill) if fill.pauses() && fill.count.is_none() => {
                return Err(
                    "fill with pause needs a count, such as `count: 10`: pauses have no length of their own".into()
                );
            }
            Self::Fill(fill) if fill.pauses() && fill.in_loss => {
                return Err(
                    "fill with pause has no in_loss: pauses are given to the student, which never writes them".into()
                );
            }
            _ => {}
        }
        Ok(self)
    }

    /// The key that names it in files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shuffle(_) => "shuffle",
            Self::Mask(_) => "mask",
            Self::Keep(_) => "keep",
            Self::Truncate(_) => "truncate",
            Self::Remove(_) => "remove",
            Self::Swap(_) => "swap",
            Self::Fill(_) => "fill",
        }
    }
}

/// Refuses what is no share.
fn share(of: &str, fraction: Option<f64>) -> Result<(), String> {
    match fraction.filter(|fraction| !(0.0..=1.0).contains(fraction)) {
        Some(fraction) => Err(format!("{of}.fraction is {fraction}, not between 0 and 1")),
        None => Ok(()),
    }
}

/// A few words, for titles and tables.
impl fmt::Display for Ablation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share * 100.0).round();
        match self {
            Self::Shuffle(shuffle) => {
                f.write_str(match shuffle.unit {
                    Unit::Token => "shuffled tokens",
                    Unit::Word => "shuffled words",
                    Unit::Sentence => "shuffled sentences",
                })?;
                f.write_str(if shuffle.anew.is_some() { " anew each epoch" } else { "" })
            }
            Self::Mask(mask) => {
                let what = if mask.how == MaskHow::Replace { "masked" } else { "dropped" };
                write!(f, "{} % {what}", percent(mask.fraction))?;
                if mask.in_loss && mask.how == MaskHow::Replace { write!(f, " in the loss") } else { Ok(()) }
            }
            Self::Keep(Keep { by: KeepBy::Highlight, count: None, fraction: None, .. }) => write!(f, "highlights only"),
            Self::Keep(keep) => {
                match keep.fraction {
                    Some(fraction) => write!(f, "{} % ", percent(fraction))?,
                    None => write!(f, "{} ", keep.count.unwrap_or(0))?,
                }
                match (keep.by, &keep.scorer, &keep.vectors) {
                    (KeepBy::Attribution, Some(run), _) if run != READER => write!(f, "key tokens by {run}"),
                    (KeepBy::Attribution, ..) => write!(f, "key tokens"),
                    (KeepBy::Similarity, _, Some(file)) if file != STUDENT => {
                        let name = std::path::Path::new(file).file_name().unwrap_or_default().to_string_lossy();
                        write!(f, "similar tokens by {}", text::line(&name))
                    }
                    (KeepBy::Similarity, ..) => write!(f, "similar tokens"),
                    (by, ..) => write!(f, "{} tokens", by.name()),
                }
            }
            Self::Truncate(truncate) => {
                match truncate.fraction {
                    Some(fraction) => write!(f, "truncated to {} %", percent(fraction))?,
                    None => write!(f, "truncated to {} tokens", truncate.count.unwrap_or(0))?,
                }
                f.write_str(if truncate.from == CutFrom::Start { " from the start" } else { "" })
            }
            Self::Remove(remove) => {
                match remove.fraction {
                    Some(fraction) => write!(f, "{} % fewer", percent(fraction))?,
                    None => write!(f, "{} fewer tokens", remove.count.unwrap_or(0))?,
                }
                f.write_str(if remove.from == CutFrom::End { " each epoch, from the end" } else { " each epoch" })
            }
            Self::Swap(swap) => {
                f.write_str(match swap.with {
                    SwapWith::AnotherExample => "another example's",
                    SwapWith::SameLabel => "another's of the same label",
                    SwapWith::OtherLabel => "another's of another label",
                    SwapWith::WrongChoice => "for a wrong choice",
                })?;
                match &swap.source {
                    Some(source) => write!(f, " from {}", text::line(source)),
                    None => Ok(()),
                }
            }
            Self::Fill(fill) => {
                match fill.count {
                    Some(count) if fill.pauses() => write!(f, "{count} pause tokens")?,
                    Some(count) => write!(f, "{count} tokens of filler")?,
                    None => write!(f, "filler")?,
                }
                f.write_str(if fill.in_loss { " in the loss" } else { "" })
            }
        }
    }
}
