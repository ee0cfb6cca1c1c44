//! What is done to a rationale before the student sees it, as one value: stored in the run, shown in the pane, hashed
//! into the run's identity.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::corpus::edits::DEFAULT_SOURCE;

/// Where the rationale stands and what is done to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    pub placement: Placement,
    /// Which rationales: `default`, or a file under the data set's `rationales/`.
    pub source: String,
    /// Applied in order.
    pub ablations: Vec<Ablation>,
    /// What of the question the student does not see.
    pub hide: Hide,
    /// How the question is put to the student. What is not set is not written, so older runs mean what they meant.
    #[serde(skip_serializing_if = "Chat::is_plain")]
    pub chat: Chat,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            placement: Placement::Post,
            source: DEFAULT_SOURCE.into(),
            ablations: vec![],
            hide: Hide::Nothing,
            chat: Chat::Plain,
        }
    }
}

/// Where the rationale stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Question and label only.
    None,
    /// Before the label: the student writes it first.
    Pre,
    /// After the label: the student never needs it to answer.
    Post,
}

impl Placement {
    pub const ALL: [Self; 3] = [Self::None, Self::Pre, Self::Post];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

/// What of the question is masked, so that the label can only be read off the rationale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hide {
    #[default]
    Nothing,
    /// The word that the question is about (the field that `dataset.yaml` names as `subject`).
    Subject,
    /// The whole question; the choices stay.
    Question,
}

/// Whether the question and the answer are turns of a conversation, in the words of the student's own chat template. In
/// YAML: `chat: none`, `chat: user`, or `chat: {system: "…"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Chat {
    /// Plain text.
    #[default]
    Plain,
    /// The question is the user's turn, and what the student writes is the assistant's.
    User,
    /// Likewise, with a message of the system before them.
    System(String),
}

impl Chat {
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

impl Serialize for Chat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain => serializer.serialize_str("none"),
            Self::User => serializer.serialize_str("user"),
            Self::System(message) => serializer.collect_map([("system", message)]),
        }
    }
}

impl<'de> Deserialize<'de> for Chat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChatVisitor)
    }
}

struct ChatVisitor;

impl<'de> Visitor<'de> for ChatVisitor {
    type Value = Chat;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("none, user, or {system: \"…\"}")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Chat, E> {
        match name {
            "none" => Ok(Chat::Plain),
            "user" => Ok(Chat::User),
            _ => Err(E::unknown_variant(name, &["none", "user", "system"])),
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<Chat, E> {
        Ok(Chat::Plain)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Chat, A::Error> {
        let mut message: Option<String> = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "system" {
                return Err(de::Error::unknown_field(&key, &["system"]));
            }
            message = Some(map.next_value()?);
        }
        match message.map(|message| message.trim().to_owned()).filter(|message| !message.is_empty()) {
            Some(message) => Ok(Chat::System(message)),
            None => Err(de::Error::custom("chat.system is empty · write the message, or chat: user for none")),
        }
    }
}

/// One change to the rationale. In YAML: `shuffle: {unit: token}`, and so on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "AblationFile", into = "AblationFile")]
pub enum Ablation {
    Shuffle(Shuffle),
    Mask(Mask),
    Keep(Keep),
    Swap(Swap),
    Fill(Fill),
}

/// Puts tokens, words or sentences in a random order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shuffle {
    pub unit: Unit,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    #[default]
    Token,
    Word,
    Sentence,
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
    /// How many tokens; absent for highlights, of which all are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Whose attributions: a run's id, or `reader` for a student trained to read the rationale. Default `reader`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scorer: Option<String>,
    /// Where integrated gradients begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

/// The scorer that [`Keep`] uses when none is named.
pub const READER: &str = "reader";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepBy {
    /// Integrated gradients of log p(label).
    Attribution,
    Random,
    First,
    Last,
    /// What a person marked in the rationale pane.
    Highlight,
}

impl KeepBy {
    pub const ALL: [Self; 5] = [Self::Attribution, Self::Random, Self::First, Self::Last, Self::Highlight];

    pub fn name(self) -> &'static str {
        match self {
            Self::Attribution => "attribution",
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
}

impl Baseline {
    pub fn name(self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::Pad => "pad",
            Self::Mean => "mean",
        }
    }
}

/// Puts another rationale in its place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Swap {
    pub with: SwapWith,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapWith {
    /// The rationale of a random other example of the split.
    #[default]
    AnotherExample,
}

/// Replaces every token by one without content: the same length, nothing said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fill {
    /// The text to repeat; the tokenizer's mask token, or `_`, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// Whether the student is trained to write the filler.
    pub in_loss: bool,
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
            file.swap.map(Self::Swap),
            file.fill.map(Self::Fill),
        ];
        let mut found = found.into_iter().flatten();
        match (found.next(), found.next()) {
            (Some(ablation), None) => ablation.checked(),
            _ => Err("an ablation is one of shuffle, mask, keep, swap or fill, each in a list item of its own".into()),
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
            Self::Mask(mask) if !(0.0..=1.0).contains(&mask.fraction) => {
                Err(format!("mask.fraction is {}, not between 0 and 1", mask.fraction))
            }
            Self::Keep(keep) if keep.count.is_none() && keep.by != KeepBy::Highlight => {
                Err(format!("keep by {} needs a count, such as `count: 3`", keep.by.name()))
            }
            Self::Keep(keep)
                if keep.by != KeepBy::Attribution && (keep.scorer.is_some() || keep.baseline.is_some()) =>
            {
                Err(format!("keep by {} has no scorer and no baseline", keep.by.name()))
            }
            _ => Ok(self),
        }
    }

    /// The key that names it in files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shuffle(_) => "shuffle",
            Self::Mask(_) => "mask",
            Self::Keep(_) => "keep",
            Self::Swap(_) => "swap",
            Self::Fill(_) => "fill",
        }
    }
}

/// A few words, for titles and tables.
impl fmt::Display for Ablation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share * 100.0).round();
        match self {
            Self::Shuffle(Shuffle { unit: Unit::Token }) => write!(f, "shuffled tokens"),
            Self::Shuffle(Shuffle { unit: Unit::Word }) => write!(f, "shuffled words"),
            Self::Shuffle(Shuffle { unit: Unit::Sentence }) => write!(f, "shuffled sentences"),
            Self::Mask(mask) => {
                let what = if mask.how == MaskHow::Replace { "masked" } else { "dropped" };
                write!(f, "{} % {what}", percent(mask.fraction))?;
                if mask.in_loss && mask.how == MaskHow::Replace { write!(f, " in the loss") } else { Ok(()) }
            }
            Self::Keep(Keep { by: KeepBy::Attribution, count, scorer, .. }) => {
                write!(f, "{} key tokens", count.unwrap_or(0))?;
                match scorer.as_deref() {
                    None | Some(READER) => Ok(()),
                    Some(run) => write!(f, " by {run}"),
                }
            }
            Self::Keep(Keep { by: KeepBy::Highlight, count: None, .. }) => write!(f, "highlights only"),
            Self::Keep(Keep { by, count, .. }) => write!(f, "{} {} tokens", count.unwrap_or(0), by.name()),
            Self::Swap(_) => write!(f, "another example's"),
            Self::Fill(fill) => {
                write!(f, "filler")?;
                if fill.in_loss { write!(f, " in the loss") } else { Ok(()) }
            }
        }
    }
}

/// `post, shuffled tokens`: a recipe in one line.
impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.placement.name())?;
        if self.placement != Placement::None {
            if self.source != DEFAULT_SOURCE {
                write!(f, " from {}", self.source)?;
            }
            for ablation in &self.ablations {
                write!(f, ", {ablation}")?;
            }
        }
        f.write_str(match self.hide {
            Hide::Nothing => "",
            Hide::Subject => ", subject hidden",
            Hide::Question => ", question hidden",
        })?;
        f.write_str(match self.chat {
            Chat::Plain => "",
            Chat::User => ", chat",
            Chat::System(_) => ", chat with a system message",
        })
    }
}

impl Recipe {
    /// The attributions that this recipe needs: the scorer's name and the baseline.
    pub fn scorer(&self) -> Option<(&str, Baseline)> {
        if self.placement == Placement::None {
            return None;
        }
        self.ablations.iter().find_map(|ablation| match ablation {
            Ablation::Keep(Keep { by: KeepBy::Attribution, scorer, baseline, .. }) => {
                Some((scorer.as_deref().unwrap_or(READER), baseline.unwrap_or_default()))
            }
            _ => None,
        })
    }

    /// Whether rationales of other examples are needed.
    pub fn needs_donors(&self) -> bool {
        self.placement != Placement::None && self.ablations.iter().any(|ablation| matches!(ablation, Ablation::Swap(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<Recipe, String> {
        serde_yaml::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn the_recipe_of_the_documentation_is_read() {
        let recipe = parse(concat!(
            "placement: post\nsource: default\nablations:\n",
            "  - shuffle: {unit: token}\n  - mask: {fraction: 0.4, how: replace}\n",
            "  - keep: {by: attribution, count: 15}\n  - swap: {with: another-example}\n  - fill: {with: \"...\"}\n",
        ))
        .unwrap();
        assert_eq!(
            recipe.ablations.iter().map(Ablation::name).collect::<Vec<_>>(),
            ["shuffle", "mask", "keep", "swap", "fill"]
        );
        assert_eq!(recipe.scorer(), Some(("reader", Baseline::Mean)));
        assert_eq!(recipe.to_string(), "post, shuffled tokens, 40 % masked, 15 key tokens, another example's, filler");
        let again = parse(&serde_yaml::to_string(&recipe).unwrap()).unwrap();
        assert_eq!(again, recipe);
    }

    #[test]
    fn a_chat_is_read_and_written_and_left_out_where_there_is_none() {
        for (yaml, chat, shown) in [
            ("chat: none", Chat::Plain, "post"),
            ("placement: post", Chat::Plain, "post"),
            ("chat: user", Chat::User, "post, chat"),
            ("chat: {system: be short}", Chat::System("be short".into()), "post, chat with a system message"),
        ] {
            let recipe = parse(yaml).unwrap();
            assert_eq!((&recipe.chat, recipe.to_string().as_str()), (&chat, shown));
            let written = serde_yaml::to_string(&recipe).unwrap();
            assert_eq!(parse(&written).unwrap(), recipe);
            assert_eq!(written.contains("chat"), !chat.is_plain(), "{written}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_in_words() {
        for (yaml, words) in [
            ("ablations: [{shufle: {}}]", "shufle"),
            ("ablations: [{shuffle: {}, mask: {}}]", "list item of its own"),
            ("ablations: [{mask: {fraction: 40}}]", "between 0 and 1"),
            ("ablations: [{keep: {by: random}}]", "needs a count"),
            ("ablations: [{keep: {by: first, count: 3, scorer: reader}}]", "no scorer"),
            ("placement: after", "after"),
            ("chat: assistant", "assistant"),
            ("chat: {sytem: be short}", "sytem"),
            ("chat: {system: ' '}", "chat.system is empty"),
            ("position: post", "position"),
        ] {
            let error = parse(yaml).unwrap_err();
            assert!(error.contains(words), "{yaml}: {error}");
        }
    }
}
