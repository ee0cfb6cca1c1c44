//! A split in memory: its examples, what their rationales take from elsewhere, and how they became tokens.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::RunError;
use super::lending::{self, Lent};
use super::spec::hex;
use crate::corpus::{Dataset, Example};
use crate::rationale::ablation::donor;
use crate::rationale::recipe::{Rest, SwapWith};
use crate::rationale::{Borrowed, Encoded, Placement, Recipe, RenderError, Rendered, Renderer, Role, Vectors};
use crate::training::Redraw;
use crate::training::settings::Unusable;

/// A split in memory, with what its rationales need from elsewhere.
pub struct LoadedSplit {
    pub name: String,
    /// The name of the data set.
    dataset: String,
    pub examples: Vec<Example>,
    /// Attributions by example id, where the recipe keeps key tokens or weighs by them.
    pub scores: HashMap<String, Vec<f32>>,
    /// Whose rationale each example is given, where `swap` chooses it by labels.
    lent: Vec<Option<Lent>>,
    /// Whose rationale argues for a wrong choice of each example, where the recipe learns from that.
    wrong: Vec<Option<Lent>>,
    /// The rationales of each example that may be trained on, where the recipe chooses among them.
    texts: Vec<Vec<String>>,
    /// The examples with what a filter leaves of their rationales, where it is others that read them.
    filtered: Vec<Example>,
}

/// How rendering a split went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub examples: usize,
    /// Rationales that were cut to fit.
    pub truncated: usize,
    pub without_rationale: usize,
    /// Examples whose rationales did not pass the recipe's filter.
    pub filtered: usize,
    /// Of those, the ones that were left out.
    pub dropped: usize,
    /// Examples with a rationale of which ablations left nothing.
    pub emptied: usize,
    /// Examples with a rationale that found none to swap it with.
    pub without_donor: usize,
    /// Examples that found no rationale for a wrong choice to learn from.
    pub without_wrong: usize,
    /// Rows that could not be used, with the reason for the first few.
    pub skipped: usize,
    pub reasons: Vec<String>,
    pub tokens: usize,
    pub unknown_tokens: usize,
    /// The rows that were encoded, in order.
    pub used: Vec<usize>,
}

/// Reads a split with the recipe's rationales, edits applied.
pub fn load_split(dataset: &Dataset, name: &str, source: &str) -> Result<LoadedSplit, RunError> {
    let examples = dataset.split(name)?.examples(source)?;
    let scores = HashMap::new();
    let dataset = dataset.name().to_owned();
    Ok(LoadedSplit {
        name: name.into(),
        dataset,
        examples,
        scores,
        lent: vec![],
        wrong: vec![],
        texts: vec![],
        filtered: vec![],
    })
}

impl LoadedSplit {
    /// Finds out which rationales each example is given.
    pub fn lend(&mut self, dataset: &Dataset, recipe: &Recipe, seed: u64) -> Result<(), RunError> {
        self.texts = lending::texts(dataset, recipe, &self.examples)?;
        let lends = recipe.swap().is_some() || recipe.counterfactual.is_some();
        if lends && !recipe.filter.is_off() {
            self.filtered = self
                .examples
                .iter()
                .zip(&self.texts)
                .map(|(example, texts)| lending::left_of(example, texts))
                .collect();
        }
        self.lent = match recipe.swap() {
            Some(swap) if swap.with != SwapWith::AnotherExample => lending::lent(dataset, swap, seed, self.lenders())?,
            _ => vec![],
        };
        self.wrong = match &recipe.counterfactual {
            Some(settings) => lending::lent(dataset, &lending::swap_of(settings), seed, self.lenders())?,
            None => vec![],
        };
        Ok(())
    }

    /// The examples as others read their rationales.
    fn lenders(&self) -> &[Example] {
        if self.filtered.is_empty() { &self.examples } else { &self.filtered }
    }

    /// Everything whose words may be shown: the examples, and those with a rationale from another source.
    pub fn all_examples(&self) -> impl Iterator<Item = &Example> + Clone {
        let own = self.lent.iter().chain(&self.wrong).filter_map(|lent| match lent {
            Some(Lent::Own(own)) => Some(&**own),
            _ => None,
        });
        self.examples.iter().chain(own)
    }

    /// What the recipe needs from elsewhere to render the example at `place` in an epoch, 0 for the first.
    pub fn borrow_in(&self, epoch: usize, place: usize, renderer: &Renderer) -> Borrowed<'_> {
        let example = &self.examples[place];
        let scores = |example: &Example| self.scores.get(&example.id).map(Vec::as_slice);
        let texts = self.texts.get(place).map(Vec::as_slice);
        let text = texts.map(|texts| lending::text_of(renderer.seed, &example.id, texts, &renderer.recipe, epoch));
        // The row's own text is read as its row holds it, with what a person marked in it.
        let text = text.filter(|text| example.rationale.as_deref() != Some(*text));
        let wrong = self.wrong.get(place).and_then(Option::as_ref).and_then(|lent| self.lender(lent));
        let swapped = match renderer.recipe.swap() {
            None => None,
            Some(swap) if swap.with == SwapWith::AnotherExample => {
                let other = donor(renderer.seed, &example.id, place, self.examples.len());
                other.map(|other| &self.lenders()[other])
            }
            Some(_) => self.lent.get(place).and_then(Option::as_ref).and_then(|lent| self.lender(lent)),
        };
        // The scores of an id are those of its row, and not of a text from another source.
        let is_own = matches!(self.lent.get(place), Some(Some(Lent::Own(_))));
        let donor_scores = swapped.filter(|_| !is_own).and_then(scores);
        Borrowed { text, donor: swapped, wrong, scores: scores(example), donor_scores, epoch }
    }

    /// The same in the first epoch.
    pub fn borrow(&self, place: usize, renderer: &Renderer) -> Borrowed<'_> {
        self.borrow_in(0, place, renderer)
    }

    fn lender<'a>(&'a self, lent: &'a Lent) -> Option<&'a Example> {
        match lent {
            Lent::Row(row) => self.lenders().get(*row),
            Lent::Own(own) => Some(own),
        }
    }

    /// The encoded examples of later epochs, where something is drawn anew in each: by their place among the rows that
    /// were `used`.
    pub fn redraw(self, renderer: Renderer, used: Vec<usize>) -> Redraw {
        Arc::new(move |epoch, place| {
            // What is not drawn anew has the same draw in all epochs, and the first is known.
            let row = *used.get(place).filter(|_| epoch > 0)?;
            let example = &self.examples[row];
            // What could be rendered in the first epoch can be in all: its label fits whatever its rationale is.
            let rendered = renderer.render(example, self.borrow_in(epoch, row, &renderer)).ok()?;
            Some(Encoded::new(&example.id, &rendered))
        })
    }

    /// SHA-256 of the rows as they were read.
    pub fn rows_hash(&self) -> String {
        hash_of(self.examples.iter(), &[])
    }

    /// The same with the texts that stand in for theirs.
    pub fn hash(&self) -> String {
        hash_of(self.all_examples(), &self.texts)
    }

    /// Whether the recipe chooses among an example's rationales, and none is left.
    fn has_none_left(&self, place: usize) -> bool {
        self.texts.get(place).is_some_and(Vec::is_empty)
    }

    /// Renders and encodes every example as in an epoch, 0 for the first. For training those that the recipe's filter
    /// leaves without a rationale are left out, if it says so.
    pub fn encode(
        &self,
        epoch: usize,
        renderer: &Renderer,
        unusable: Unusable,
        for_training: bool,
    ) -> Result<(Vec<Encoded>, Tally), RunError> {
        let is_filtering = for_training && !renderer.recipe.filter.is_off();
        if is_filtering && !self.texts.is_empty() && self.texts.iter().all(Vec::is_empty) {
            return Err(RunError::FilterKeepsNothing { dataset: self.dataset.clone() });
        }
        let render = |place: usize| renderer.render(&self.examples[place], self.borrow_in(epoch, place, renderer));
        let rendered: Vec<Result<Rendered, RenderError>> =
            (0..self.examples.len()).into_par_iter().map(render).collect();
        let mut tally = Tally::default();
        let mut encoded = Vec::with_capacity(rendered.len());
        let drops = for_training && renderer.recipe.filter.rest == Rest::Drop;
        for (place, (example, rendered)) in self.examples.iter().zip(rendered).enumerate() {
            let is_filtered = example.has_rationale() && self.has_none_left(place);
            tally.filtered += usize::from(is_filtered);
            if drops && self.has_none_left(place) {
                tally.dropped += 1;
                continue;
            }
            match rendered {
                Ok(rendered) => {
                    tally.add(example, &rendered, renderer, is_filtered);
                    let learns_wrong = for_training && renderer.recipe.counterfactual.is_some();
                    tally.without_wrong += usize::from(learns_wrong && rendered.second.is_none());
                    tally.used.push(place);
                    encoded.push(Encoded::new(&example.id, &rendered));
                }
                Err(error @ RenderError::Student(_)) => return Err(error.into()),
                Err(error) => {
                    tally.skipped += 1;
                    if tally.reasons.len() < 5 {
                        tally.reasons.push(error.to_string());
                    }
                }
            }
        }
        if tally.skipped > 0 && unusable == Unusable::Stop {
            return Err(RunError::Unusable {
                split: self.name.clone(),
                count: tally.skipped,
                reasons: tally.reasons.join("\n  "),
            });
        }
        Ok((encoded, tally))
    }
}

impl Tally {
    fn add(&mut self, example: &Example, rendered: &Rendered, renderer: &Renderer, is_filtered: bool) {
        self.examples += 1;
        self.truncated += usize::from(rendered.truncated > 0);
        let has_own = example.has_rationale() && !is_filtered;
        self.without_rationale += usize::from(rendered.without_rationale && !example.has_rationale());
        self.without_donor += usize::from(rendered.without_rationale && has_own);
        let mut all = rendered.sequences().flat_map(|sequence| &sequence.tokens);
        let shows_none = !all.any(|token| token.role == Role::Rationale);
        let wanted = renderer.recipe.placement != Placement::None && !rendered.without_rationale;
        self.emptied += usize::from(wanted && shows_none);
        let tokens = rendered.sequences().flat_map(|sequence| &sequence.tokens);
        let unknown = renderer.tokenizer.specials.unknown;
        for token in tokens {
            self.tokens += 1;
            self.unknown_tokens += usize::from(Some(token.id) == unknown);
        }
    }

    /// What a person should know, in sentences.
    pub fn notes(&self, split: &str, max_length: usize) -> Vec<String> {
        let of = self.examples;
        let counted = [
            (self.truncated, format!("rationales were cut to fit {max_length} tokens")),
            (self.without_rationale, "examples have no rationale and stand with their label alone".into()),
            (
                self.filtered - self.dropped.min(self.filtered),
                "examples have no rationale that passes the filter and stand with their label alone".into(),
            ),
            (
                self.without_donor,
                "examples found no rationale to swap theirs with and stand with their label alone".into(),
            ),
            (self.emptied, "examples have nothing left of their rationale after the ablations".into()),
            (self.without_wrong, "examples found no rationale for a wrong choice to learn from".into()),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        let mut notes: Vec<String> = counted.map(|(count, what)| format!("{split}: {count} of {of} {what}")).collect();
        if self.dropped > 0 {
            let rows = if self.dropped == 1 { "row was" } else { "rows were" };
            notes.push(format!("{split}: {} {rows} left out: no rationale passes the filter", self.dropped));
        }
        if self.skipped > 0 {
            let more = self.reasons.join(" · ");
            notes.push(format!("{split}: {} rows were left out: {more}", self.skipped));
        }
        let share = self.unknown_tokens as f64 / self.tokens.max(1) as f64;
        if share > 0.01 {
            notes
                .push(format!("{split}: {:.0} % of the tokens are words that the student doesn't know", share * 100.0));
        }
        notes
    }
}

fn hash_of<'a>(examples: impl Iterator<Item = &'a Example>, texts: &[Vec<String>]) -> String {
    let mut hash = Sha256::new();
    for example in examples {
        hash.update(serde_json::to_vec(example).unwrap_or_default());
        hash.update(b"\n");
    }
    if !texts.is_empty() {
        hash.update(serde_json::to_vec(texts).unwrap_or_default());
    }
    hex(&hash.finalize())
}

/// The hashes of all that a run reads beside its student: its splits, and the vectors of the file that its recipe names.
pub fn hashes<'a>(
    splits: impl IntoIterator<Item = &'a LoadedSplit>,
    recipe: &Recipe,
    words: Option<&Vectors>,
) -> BTreeMap<String, String> {
    let splits = splits.into_iter().map(|split| (split.name.clone(), split.hash()));
    let words = words.zip(recipe.vectors()).map(|(words, file)| (format!("vectors of {file}"), lending::hash(words)));
    splits.chain(words).collect()
}
