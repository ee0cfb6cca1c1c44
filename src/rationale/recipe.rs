//! What is done to a rationale before the student sees it, as one value: stored in the run, shown in the pane, hashed
//! into the run's identity.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use super::ablation::settings::*;
pub use super::method::{AttributionWeights, Counterfactual, Filter, Rest, Samples, Task};
use crate::corpus::edits::DEFAULT_SOURCE;

/// Where the rationale stands and what is done to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    pub placement: Placement,
    /// Which rationales: `default`, or a file under the data set's `rationales/`.
    pub source: String,
    /// Of several for one question.
    #[serde(skip_serializing_if = "Samples::is_first")]
    pub samples: Samples,
    #[serde(skip_serializing_if = "Filter::is_off")]
    pub filter: Filter,
    /// Applied in order.
    pub ablations: Vec<Ablation>,
    /// What of the question the student does not see.
    pub hide: Hide,
    /// How the question is put to the student. What is not set is not written, so older runs mean what they meant.
    #[serde(skip_serializing_if = "Chat::is_plain")]
    pub chat: Chat,
    /// What each token of the rationale counts in the loss, where they don't count alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribution_weights: Option<AttributionWeights>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counterfactual: Option<Counterfactual>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            placement: Placement::Post,
            source: DEFAULT_SOURCE.into(),
            samples: Samples::First,
            filter: Filter::default(),
            ablations: vec![],
            hide: Hide::Nothing,
            chat: Chat::Plain,
            attribution_weights: None,
            counterfactual: None,
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
    /// In a task of its own: the student learns to write the label, and beside it, asked for that, the rationale.
    Multitask,
}

impl Placement {
    pub const ALL: [Self; 4] = [Self::None, Self::Pre, Self::Post, Self::Multitask];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pre => "pre",
            Self::Post => "post",
            Self::Multitask => "multitask",
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

/// `post, shuffled tokens`: a recipe in one line.
impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.placement.name())?;
        if self.placement != Placement::None {
            if self.source != DEFAULT_SOURCE {
                write!(f, " from {}", self.source)?;
            }
            f.write_str(&self.method())?;
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
    /// What is done beside placing and ablating, for titles: each part after a comma.
    pub fn method(&self) -> String {
        let mut parts: Vec<String> = vec![];
        if self.samples == Samples::Drawn {
            parts.push("one of several drawn".into());
        }
        let kept = [(self.filter.teacher_correct, "correct"), (self.filter.no_announcement, "unannounced")];
        let kept: Vec<&str> = kept.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
        if !kept.is_empty() {
            parts.push(format!("{} ones only", kept.join(" and ")));
            parts.extend((self.filter.rest == Rest::Drop).then(|| "the rest dropped".into()));
        }
        if let Some(weights) = &self.attribution_weights {
            let by = weights.scorer.as_deref().filter(|scorer| *scorer != READER).unwrap_or("attribution");
            parts.push(format!("weighted by {}", crate::text::line(by)));
        }
        if let Some(counterfactual) = &self.counterfactual {
            let from = counterfactual.source.as_deref().map(|source| format!(" from {}", crate::text::line(source)));
            parts.push(format!("counterfactual{}", from.unwrap_or_default()));
        }
        parts.iter().map(|part| format!(", {part}")).collect()
    }

    /// All attributions that this recipe asks for: the scorer's name and the baseline.
    fn scorers(&self) -> impl Iterator<Item = (&str, Baseline)> {
        let kept = self.applied().filter_map(|ablation| match ablation {
            Ablation::Keep(Keep { by: KeepBy::Attribution, scorer, baseline, .. }) => Some((scorer, baseline)),
            _ => None,
        });
        let weighted = self.attribution_weights.iter().filter(|_| self.placement != Placement::None);
        kept.chain(weighted.map(|weights| (&weights.scorer, &weights.baseline)))
            .map(|(scorer, baseline)| (scorer.as_deref().unwrap_or(READER), baseline.unwrap_or_default()))
    }

    /// The attributions that this recipe needs: the scorer's name and the baseline.
    pub fn scorer(&self) -> Option<(&str, Baseline)> {
        self.scorers().next()
    }

    /// Which task a question is put as, where the student is given more than one.
    pub fn task(&self) -> Option<Task> {
        match (self.placement, &self.counterfactual) {
            (Placement::Multitask, _) => Some(Task::Predict),
            (_, Some(_)) => Some(Task::Factual),
            _ => None,
        }
    }

    /// The words that stand in front of questions.
    pub fn prefixes(&self) -> &'static [Task] {
        match self.task() {
            Some(Task::Predict | Task::Explain) => &[Task::Predict, Task::Explain],
            Some(Task::Factual | Task::Counterfactual) => &[Task::Factual, Task::Counterfactual],
            None => &[],
        }
    }

    /// How many sequences an example has at most.
    pub fn sequences(&self) -> usize {
        if self.task().is_some() { 2 } else { 1 }
    }

    /// Whether the texts of a split's rationales are not simply those that its rows hold.
    pub fn selects(&self) -> bool {
        self.placement != Placement::None && (!self.samples.is_first() || !self.filter.is_off())
    }

    /// Whether the rationale becomes shorter with each epoch.
    pub fn removes(&self) -> bool {
        self.applied().any(|ablation| matches!(ablation, Ablation::Remove(_)))
    }

    /// The ablations that come to anything: none where there is no rationale.
    fn applied(&self) -> impl DoubleEndedIterator<Item = &Ablation> {
        self.ablations.iter().filter(|_| self.placement != Placement::None)
    }

    /// Whose rationale takes the place of an example's own. Of several swaps the last one is all that is seen.
    pub fn swap(&self) -> Option<&Swap> {
        self.applied().rev().find_map(|ablation| match ablation {
            Ablation::Swap(swap) => Some(swap),
            _ => None,
        })
    }

    /// The word vectors that this recipe needs: [`STUDENT`], or a file.
    pub fn vectors(&self) -> Option<&str> {
        self.applied().find_map(vectors_of)
    }

    /// Whether some draw is made again with each epoch.
    pub fn draws_anew(&self) -> bool {
        let anew = |ablation: &Ablation| {
            matches!(ablation, Ablation::Shuffle(Shuffle { anew: Some(_), .. }) | Ablation::Remove(_))
        };
        self.applied().any(anew) || (self.placement != Placement::None && self.samples == Samples::Drawn)
    }

    /// Whether the student needs a pause token.
    pub fn pauses(&self) -> bool {
        self.applied().any(|ablation| matches!(ablation, Ablation::Fill(fill) if fill.pauses()))
    }

    /// Whether there is something to see also where an example has no rationale.
    pub fn needs_no_rationale(&self) -> bool {
        self.applied().any(|ablation| matches!(ablation, Ablation::Fill(Fill { count: Some(_), .. })))
    }

    /// Refuses ablations that can't stand in one recipe.
    pub fn check(&self) -> Result<(), String> {
        let by_attribution =
            |ablation: &Ablation| matches!(ablation, Ablation::Keep(keep) if keep.by == KeepBy::Attribution);
        let by_scores = self.ablations.iter().any(by_attribution) || self.attribution_weights.is_some();
        if self.swap().is_some_and(|swap| swap.source.is_some()) && by_scores {
            return Err(
                "rationale.ablations: nothing is attributed to rationales of swap.source · keep by similarity, or \
                        at random"
                    .into(),
            );
        }
        let mut scorers: Vec<(&str, Baseline)> = self.scorers().collect();
        scorers.dedup();
        if scorers.len() > 1 {
            return Err("rationale: attributions of two scorers or baselines are asked for · a run has one kind".into());
        }
        if !scorers.is_empty() && self.samples == Samples::Drawn {
            return Err(
                "rationale.samples: attributions are of one rationale for each question · leave samples: drawn \
                        out, or what goes by attribution"
                    .into(),
            );
        }
        if self.samples == Samples::Drawn && self.source == DEFAULT_SOURCE {
            return Err(
                "rationale.samples: a data set's own rationales are one for each question · name a source with \
                        several (`rationale.source`), or leave samples out"
                    .into(),
            );
        }
        if self.filter.is_off() && self.filter.rest != Rest::Label {
            return Err(
                "rationale.filter: rest is for what does not pass, and nothing is asked · set teacher_correct or \
                        no_announcement"
                    .into(),
            );
        }
        if self.counterfactual.is_some() && self.placement != Placement::Pre {
            return Err(
                "rationale.counterfactual: the wrong answer follows from a rationale that stands before it · set \
                        placement: pre"
                    .into(),
            );
        }
        if let Some(counterfactual) = &self.counterfactual
            && !(counterfactual.weight > 0.0 && counterfactual.weight.is_finite())
        {
            return Err(format!("rationale.counterfactual.weight is {}; it must be above 0", counterfactual.weight));
        }
        if let Some(weights) = &self.attribution_weights
            && !(0.0..=1.0).contains(&weights.floor)
        {
            return Err(format!("rationale.attribution_weights.floor is {}, not between 0 and 1", weights.floor));
        }
        let mut vectors: Vec<&str> = self.ablations.iter().filter_map(vectors_of).collect();
        vectors.dedup();
        match vectors.len() {
            0 | 1 => Ok(()),
            _ => Err("rationale.ablations: two keep by similarity have different vectors · a run has one kind".into()),
        }
    }
}

fn vectors_of(ablation: &Ablation) -> Option<&str> {
    match ablation {
        Ablation::Keep(keep) if keep.by == KeepBy::Similarity => Some(keep.vectors.as_deref().unwrap_or(STUDENT)),
        _ => None,
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
    fn every_ablation_comes_back_from_its_file_and_says_what_it_is() {
        for (yaml, shown) in [
            ("shuffle: {unit: word, anew: epoch}", "shuffled words anew each epoch"),
            ("keep: {by: random, fraction: 0.25}", "25 % random tokens"),
            ("keep: {by: similarity, count: 5}", "5 similar tokens"),
            ("keep: {by: similarity, count: 5, vectors: words/glove.vec}", "5 similar tokens by glove.vec"),
            ("keep: {by: highlight, fraction: 0.5}", "50 % highlight tokens"),
            ("truncate: {count: 8}", "truncated to 8 tokens"),
            ("truncate: {fraction: 0.5, from: start}", "truncated to 50 % from the start"),
            ("swap: {with: same-label}", "another's of the same label"),
            ("swap: {with: other-label}", "another's of another label"),
            ("swap: {with: wrong-choice}", "for a wrong choice"),
            ("swap: {with: wrong-choice, source: wrong}", "for a wrong choice from wrong"),
            ("remove: {count: 4}", "4 fewer tokens each epoch"),
            ("remove: {fraction: 0.2, from: end, smoothing: 4}", "20 % fewer each epoch, from the end"),
            ("fill: {with: pause, count: 10}", "10 pause tokens"),
            ("fill: {count: 4, in_loss: true}", "4 tokens of filler in the loss"),
        ] {
            let recipe = parse(&format!("ablations: [{{{yaml}}}]")).unwrap();
            assert_eq!(recipe.ablations[0].to_string(), shown);
            assert_eq!(parse(&serde_yaml::to_string(&recipe).unwrap()).unwrap(), recipe, "{yaml}");
        }
    }

    #[test]
    fn recipes_of_earlier_versions_are_written_as_they_were() {
        let yaml = "ablations: [{shuffle: {}}, {mask: {}}, {keep: {by: first, count: 3}}, {swap: {}}, {fill: {}}]\n";
        let written = serde_json::to_string(&parse(yaml).unwrap().ablations).unwrap();
        let before = concat!(
            r#"[{"shuffle":{"unit":"token"}},{"mask":{"fraction":0.4,"how":"replace","in_loss":false}},"#,
            r#"{"keep":{"by":"first","count":3}},{"swap":{"with":"another-example"}},{"fill":{"in_loss":false}}]"#,
        );
        assert_eq!(written, before);
    }

    #[test]
    fn a_recipe_has_one_kind_of_vectors() {
        let of = |files: [&str; 2]| {
            let one = |file| format!("{{keep: {{by: similarity, count: 3, vectors: {file}}}}}");
            parse(&format!("ablations: [{}, {}]", one(files[0]), one(files[1]))).unwrap()
        };
        assert!(of(["student", "student"]).check().is_ok());
        assert!(of(["student", "a.vec"]).check().unwrap_err().contains("different vectors"));
    }

    #[test]
    fn methods_come_back_from_their_file_and_say_what_they_are() {
        for (yaml, shown) in [
            ("placement: multitask", "multitask"),
            ("{source: scotd, samples: drawn}", "post from scotd, one of several drawn"),
            ("filter: {teacher_correct: true}", "post, correct ones only"),
            (
                "filter: {teacher_correct: true, no_announcement: true, rest: drop}",
                "post, correct and unannounced ones only, the rest dropped",
            ),
            ("attribution_weights: {floor: 0.2}", "post, weighted by attribution"),
            ("attribution_weights: {scorer: myreader}", "post, weighted by myreader"),
            ("{placement: pre, counterfactual: {}}", "pre, counterfactual"),
            ("{placement: pre, counterfactual: {source: wrong}}", "pre, counterfactual from wrong"),
        ] {
            let recipe = parse(yaml).unwrap();
            assert!(recipe.check().is_ok(), "{yaml}");
            assert_eq!(recipe.to_string(), shown);
            assert_eq!(parse(&serde_yaml::to_string(&recipe).unwrap()).unwrap(), recipe, "{yaml}");
        }
        let plain = serde_json::to_string(&Recipe::default()).unwrap();
        assert!(["samples", "filter", "weights", "counterfactual"].iter().all(|key| !plain.contains(key)), "{plain}");
    }

    #[test]
    fn methods_that_exclude_each_other_are_refused() {
        for (yaml, words) in [
            ("{placement: post, counterfactual: {}}", "placement: pre"),
            ("{placement: pre, counterfactual: {weight: 0}}", "above 0"),
            ("attribution_weights: {floor: 2}", "between 0 and 1"),
            ("{samples: drawn}", "name a source"),
            ("{filter: {rest: drop}}", "nothing is asked"),
            (
                "{attribution_weights: {}, ablations: [{swap: {with: wrong-choice, source: wrong}}]}",
                "nothing is attributed",
            ),
            ("{source: scotd, samples: drawn, attribution_weights: {}}", "one rationale for each question"),
            ("{attribution_weights: {scorer: one}, ablations: [{keep: {by: attribution, count: 3}}]}", "two scorers"),
        ] {
            let error = parse(yaml).unwrap().check().unwrap_err();
            assert!(error.contains(words), "{yaml}: {error}");
        }
        let same = "{attribution_weights: {}, ablations: [{keep: {by: attribution, count: 3}}]}";
        assert!(parse(same).unwrap().check().is_ok());
    }

    #[test]
    fn what_means_nothing_is_refused_in_words() {
        for (yaml, words) in [
            ("ablations: [{shufle: {}}]", "shufle"),
            ("ablations: [{shuffle: {}, mask: {}}]", "list item of its own"),
            ("ablations: [{mask: {fraction: 40}}]", "between 0 and 1"),
            ("ablations: [{keep: {by: random}}]", "needs a count"),
            ("ablations: [{keep: {by: random, count: 3, fraction: 0.5}}]", "leave one out"),
            ("ablations: [{keep: {by: random, fraction: .nan}}]", "between 0 and 1"),
            ("ablations: [{keep: {by: random, count: 3, vectors: student}}]", "no vectors"),
            ("ablations: [{keep: {by: similarity, count: 3, vectors: ' '}}]", "keep.vectors is empty"),
            ("ablations: [{truncate: {from: end}}]", "a count or a fraction"),
            ("ablations: [{truncate: {count: 3, fraction: 0.5}}]", "not both"),
            ("ablations: [{shuffle: {anew: step}}]", "step"),
            ("ablations: [{swap: {with: same-label, source: wrong}}]", "wrong-choice"),
            ("ablations: [{remove: {from: end}}]", "a count or a fraction"),
            ("ablations: [{remove: {count: 2, smoothing: 0}}]", "remove.smoothing is 0"),
            ("samples: all", "all"),
            ("filter: {teacher: right}", "teacher"),
            ("ablations: [{fill: {count: 0}}]", "fill.count is 0"),
            ("ablations: [{fill: {with: pause}}]", "needs a count"),
            ("ablations: [{fill: {with: pause, count: 3, in_loss: true}}]", "no in_loss"),
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
