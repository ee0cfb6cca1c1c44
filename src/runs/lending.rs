//! What a recipe takes from outside of its example: the rationale of another one, and word vectors.

use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Device;
use sha2::{Digest, Sha256};

use super::RunError;
use super::prepare::student_folder;
use super::spec::{RunSpec, hex};
use super::split::LoadedSplit;
use crate::corpus::dataset::SourceIndex;
use crate::corpus::edits::DEFAULT_SOURCE;
use crate::corpus::example::TEACHER_ANSWER;
use crate::corpus::{Dataset, Example, SourceRationale, Split};
use crate::rationale::recipe::{Counterfactual, STUDENT, Samples, Swap, SwapWith};
use crate::rationale::similarity::{tokens_of, words_of};
use crate::rationale::{Borrowed, Lenders, Recipe, Vectors, lenders, word_vectors};
use crate::seeds::Stream;
use crate::student::{StudentError, Tokenizer, pause, toy, weights};

/// Whose rationale `swap` puts in the place of an example's own.
#[derive(Clone, Debug, PartialEq)]
pub enum Lent {
    /// The one of another row of the split.
    Row(usize),
    /// The example with a rationale from another source.
    Own(Box<Example>),
}

/// What is lent to every example of a split, in order, where it is chosen by labels.
pub fn lent(dataset: &Dataset, swap: &Swap, seed: u64, examples: &[Example]) -> Result<Vec<Option<Lent>>, RunError> {
    if let Some(source) = &swap.source {
        let source = dataset.source(source)?;
        let of = |example: &Example| from_source(seed, example, source.get(&example.id).map_or(&[], Vec::as_slice));
        return Ok(examples.iter().map(of).collect());
    }
    let mut lenders = Lenders::new(swap, &dataset.meta.template);
    examples.iter().for_each(|example| lenders.add(example));
    let choose = |(place, example)| lenders.choose(seed, place, example).map(Lent::Row);
    Ok(examples.iter().enumerate().map(choose).collect())
}

/// The swap that finds what counterfactual training learns from.
pub fn swap_of(settings: &Counterfactual) -> Swap {
    Swap { with: SwapWith::WrongChoice, source: settings.source.clone() }
}

fn from_source(seed: u64, example: &Example, of: &[SourceRationale]) -> Option<Lent> {
    let (text, choice) = lenders::for_wrong_choice(seed, example, of)?;
    // What it argues for is its answer.
    let (rationale, answer) = (Some(text.to_owned()), Some(choice.label.clone()));
    let own = Example { rationale, answer, highlights: vec![], ..example.clone() };
    Some(Lent::Own(Box::new(own)))
}

/// The rationales of each example that may be trained on, where a recipe chooses among them; else nothing.
pub fn texts(dataset: &Dataset, recipe: &Recipe, examples: &[Example]) -> Result<Vec<Vec<String>>, RunError> {
    if !recipe.selects() {
        return Ok(vec![]);
    }
    let source = (recipe.source != DEFAULT_SOURCE).then(|| dataset.source(&recipe.source)).transpose()?;
    let of = |example| texts_of(recipe, source.as_deref(), example);
    Ok(examples.iter().map(of).collect())
}

/// The same for one example. The row's own text comes first: it is the source's first one, as it was edited.
fn texts_of(recipe: &Recipe, source: Option<&SourceIndex>, example: &Example) -> Vec<String> {
    let samples = source.and_then(|source| source.get(&example.id)).map_or(&[][..], Vec::as_slice);
    let first = SourceRationale {
        id: example.id.clone(),
        rationale: example.rationale.clone(),
        teacher_answer: match samples.first() {
            Some(sample) => sample.teacher_answer.clone(),
            None => example.extra_text(TEACHER_ANSWER).map(str::to_owned),
        },
        ..SourceRationale::default()
    };
    let more = if recipe.samples.is_first() { &[] } else { samples.get(1..).unwrap_or_default() };
    let all: Vec<SourceRationale> = std::iter::once(first).chain(more.iter().cloned()).collect();
    recipe.filter.kept(example, &all).into_iter().map(str::to_owned).collect()
}

/// An example with what a filter leaves of its rationales, as others read it.
pub fn left_of(example: &Example, texts: &[String]) -> Example {
    let left = texts.first();
    // What a person marked, they marked in the text of the row.
    let highlights = if left == example.rationale.as_ref() { example.highlights.clone() } else { vec![] };
    Example { rationale: left.cloned(), highlights, ..example.clone() }
}

/// The text that an example has in an epoch: one of several drawn, by (seed, example id, epoch), or the first. Empty where
/// there is none.
pub fn text_of<'a>(seed: u64, id: &str, texts: &'a [String], recipe: &Recipe, epoch: usize) -> &'a str {
    match (texts, recipe.samples) {
        ([], _) => "",
        ([first, ..], Samples::First) => first,
        (several, Samples::Drawn) => {
            let drawn = Stream::new(seed, &["sample", id, "epoch", &epoch.to_string()]).below(several.len());
            &several[drawn]
        }
    }
}

/// All of a recipe that decides which texts stand in for those of the rows, for keys; empty where none do.
pub fn decisive(recipe: &Recipe, seed: u64) -> String {
    let swapped = recipe.swap().and_then(|swap| swap.source.as_ref());
    let wrong = recipe.counterfactual.as_ref().and_then(|settings| settings.source.as_ref());
    let by_seed = (swapped.is_some() || wrong.is_some()).then_some(seed);
    let chosen = recipe.selects().then_some((recipe.samples, recipe.filter));
    if by_seed.is_none() && chosen.is_none() {
        return String::new();
    }
    serde_json::to_string(&(swapped, wrong, by_seed, chosen)).unwrap_or_default()
}

/// What is taken from elsewhere for one example of a split: the whole split is read for it.
#[derive(Default)]
pub struct LentToOne {
    text: Option<String>,
    pub donor: Option<Example>,
    wrong: Option<Example>,
}

impl LentToOne {
    /// As [`LoadedSplit::lend`] would find it for the first epoch.
    pub fn find(spec: &RunSpec, split: &Split, place: usize, example: &Example) -> Result<Self, RunError> {
        let recipe = &spec.rationale;
        let text = if recipe.selects() {
            let texts = texts(&split.dataset, recipe, std::slice::from_ref(example))?.swap_remove(0);
            let text = text_of(spec.seed.ablation, &example.id, &texts, recipe, 0);
            (example.rationale.as_deref() != Some(text)).then(|| text.to_owned())
        } else {
            None
        };
        let to = |swap: &Swap| lent_to(spec, swap, split, place, example);
        let donor = recipe.swap().map(to).transpose()?.flatten();
        let wrong = recipe.counterfactual.as_ref().map(|settings| to(&swap_of(settings))).transpose()?.flatten();
        Ok(Self { text, donor, wrong })
    }

    /// For rendering, with the attributions of the example's own rationale and of the donor's.
    pub fn borrow<'a>(&'a self, scores: Option<&'a [f32]>, donor_scores: Option<&'a [f32]>) -> Borrowed<'a> {
        let Self { text, donor, wrong } = self;
        let (text, donor, wrong) = (text.as_deref(), donor.as_ref(), wrong.as_ref());
        Borrowed { text, donor, wrong, scores, donor_scores, epoch: 0 }
    }
}

fn lent_to(
    spec: &RunSpec,
    swap: &Swap,
    split: &Split,
    place: usize,
    example: &Example,
) -> Result<Option<Example>, RunError> {
    let (seed, dataset) = (spec.seed.ablation, &split.dataset);
    let recipe = &spec.rationale;
    let filtered = |example: Example| -> Result<Example, RunError> {
        if recipe.filter.is_off() {
            return Ok(example);
        }
        let texts = texts(dataset, recipe, std::slice::from_ref(&example))?.swap_remove(0);
        Ok(left_of(&example, &texts))
    };
    if let Some(source) = &swap.source {
        let source = dataset.source(source)?;
        let found = from_source(seed, example, source.get(&example.id).map_or(&[], Vec::as_slice));
        return Ok(found.and_then(|found| if let Lent::Own(own) = found { Some(*own) } else { None }));
    }
    let row = if swap.with == SwapWith::AnotherExample {
        crate::rationale::ablation::donor(seed, &example.id, place, split.count_all())
    } else {
        let mut lenders = Lenders::new(swap, &dataset.meta.template);
        let mut bad = None;
        split.visit(0, &spec.rationale.source, |row| match row.example {
            Ok(example) => match filtered(example) {
                Ok(example) => {
                    lenders.add(&example);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    bad = Some(error);
                    ControlFlow::Break(())
                }
            },
            Err(error) => {
                bad = Some(crate::corpus::CorpusError::from(error).into());
                ControlFlow::Break(())
            }
        })?;
        // The run would stop at this row too.
        if let Some(error) = bad {
            return Err(error);
        }
        lenders.choose(seed, place, example)
    };
    let Some(row) = row else { return Ok(None) };
    let page = split.page(row, 1, &spec.rationale.source)?;
    page.into_iter().next().and_then(|row| row.example.ok()).map(filtered).transpose()
}

/// The vectors of the file that a recipe names, of the words in these examples; `None` where it names none. `report` is
/// told how many bytes were read, of how many.
pub fn file_vectors<'a>(
    project: &Path,
    recipe: &Recipe,
    examples: impl Iterator<Item = &'a Example>,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Option<Vectors>, RunError> {
    let Some(file) = recipe.vectors().filter(|file| *file != STUDENT) else { return Ok(None) };
    let found = word_vectors::read(&project.join(file), &words_of(examples), report)?;
    Ok(Some(Vectors::Words(found)))
}

/// The vectors that a recipe asks for, of a file or of the student before it is trained.
pub fn vectors<'a, I: Iterator<Item = &'a Example> + Clone>(
    project: &Path,
    spec: &RunSpec,
    tokenizer: &Tokenizer,
    examples: I,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Option<Vectors>, RunError> {
    match file_vectors(project, &spec.rationale, examples.clone(), report)? {
        None => student_vectors(project, spec, tokenizer, examples),
        words => Ok(words),
    }
}

/// The vectors that a student has for the tokens of these examples before it is trained; `None` where a recipe asks for
/// none of them. Those of a toy student are the noise that it begins with.
pub fn student_vectors<'a>(
    project: &Path,
    spec: &RunSpec,
    tokenizer: &Tokenizer,
    examples: impl Iterator<Item = &'a Example>,
) -> Result<Option<Vectors>, RunError> {
    if spec.rationale.vectors() != Some(STUDENT) {
        return Ok(None);
    }
    let ids = tokens_of(examples, tokenizer)?;
    let found = match student_folder(project, &spec.student, &mut |_, _, _| {})? {
        Some(folder) => pause::word_vectors(&folder, ids)?,
        None => {
            let mut all = weights::initial(&toy::architecture(tokenizer.size()), spec.seed.init, &Device::Cpu)?;
            let missing = || StudentError::Vocabulary { problem: "the toy student has no table of words".into() };
            pause::rows_of(&all.remove("words").ok_or_else(missing)?, ids)?
        }
    };
    Ok(Some(Vectors::Tokens(found)))
}

/// SHA-256 of vectors: of another file, the same run would be another.
pub fn hash(vectors: &Vectors) -> String {
    let mut hash = Sha256::new();
    if let Vectors::Words(words) = vectors {
        let sorted: std::collections::BTreeMap<_, _> = words.iter().collect();
        for (word, vector) in sorted {
            hash.update((word.len() as u64).to_le_bytes());
            hash.update(word.as_bytes());
            vector.iter().for_each(|value| hash.update(value.to_le_bytes()));
        }
    }
    hex(&hash.finalize())
}

/// What a person should know of the vectors, in a sentence.
pub fn note(vectors: &Vectors, split: &LoadedSplit, tokenizer: &Tokenizer) -> Result<Option<String>, StudentError> {
    let mut unknown = 0;
    for example in &split.examples {
        unknown += usize::from(example.has_rationale() && !vectors.know_label(example, tokenizer)?);
    }
    let (name, of) = (&split.name, split.examples.len());
    let text =
        format!("{name}: the labels of {unknown} of {of} examples have no word vector; their first tokens are kept");
    Ok((unknown > 0).then_some(text))
}
