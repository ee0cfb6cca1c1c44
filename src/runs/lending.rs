//! What a recipe takes from outside of its example: the rationale of another one, and word vectors.

use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Device;
use sha2::{Digest, Sha256};

use super::RunError;
use super::prepare::{LoadedSplit, student_folder};
use super::spec::{RunSpec, hex};
use crate::corpus::{Dataset, Example, Split};
use crate::rationale::recipe::{STUDENT, SwapWith};
use crate::rationale::similarity::{tokens_of, words_of};
use crate::rationale::{Lenders, Recipe, Vectors, lenders, word_vectors};
use crate::student::{StudentError, Tokenizer, pause, toy, weights};

/// Whose rationale `swap` puts in the place of an example's own.
#[derive(Clone, Debug, PartialEq)]
pub enum Lent {
    /// The one of another row of the split.
    Row(usize),
    /// The example with a rationale from another source.
    Own(Box<Example>),
}

/// What is lent to every example of a split, in order. Nothing where [`LoadedSplit::borrow`] draws it by itself.
pub fn lent(
    dataset: &Dataset,
    recipe: &Recipe,
    seed: u64,
    examples: &[Example],
) -> Result<Vec<Option<Lent>>, RunError> {
    let Some(swap) = recipe.swap().filter(|swap| swap.with != SwapWith::AnotherExample) else { return Ok(vec![]) };
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

fn from_source(seed: u64, example: &Example, of: &[crate::corpus::SourceRationale]) -> Option<Lent> {
    let (text, _) = lenders::for_wrong_choice(seed, example, of)?;
    let own = Example { rationale: Some(text.to_owned()), highlights: vec![], ..example.clone() };
    Some(Lent::Own(Box::new(own)))
}

/// What is lent to one example of a split, as [`lent`] would find it: the whole split is read for it.
pub fn lent_to(spec: &RunSpec, split: &Split, place: usize, example: &Example) -> Result<Option<Example>, RunError> {
    let Some(swap) = spec.rationale.swap() else { return Ok(None) };
    let (seed, dataset) = (spec.seed.ablation, &split.dataset);
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
            Ok(example) => {
                lenders.add(&example);
                ControlFlow::Continue(())
            }
            Err(error) => {
                bad = Some(error);
                ControlFlow::Break(())
            }
        })?;
        // The run would stop at this row too.
        if let Some(error) = bad {
            return Err(crate::corpus::CorpusError::from(error).into());
        }
        lenders.choose(seed, place, example)
    };
    let Some(row) = row else { return Ok(None) };
    let page = split.page(row, 1, &spec.rationale.source)?;
    Ok(page.into_iter().next().and_then(|row| row.example.ok()))
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
