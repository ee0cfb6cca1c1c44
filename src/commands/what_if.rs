//! `afterthought what-if`: words are masked, taken out, typed anew or shuffled, and the answer is asked for again.

use std::fmt::Write as _;

use clap::Args;

use super::asked::UnitArg;
use super::output::{Context, Usage, device, print};
use super::settings::find_example;
use crate::attribution::units::{bare, spans};
use crate::attribution::what_if::{Changes, Edit, WhatIf, what_if};
use crate::rationale::recipe::Unit;
use crate::rationale::{Borrowed, Rendered, Role};
use crate::runs::preview::Target;

const EXAMPLES: &str = "\
Examples:
  afterthought what-if last toyworld --id tr-0003 --delete gills
  afterthought what-if last toyworld --id tr-0003 --mask gills --mask fins --retype tides=barn
  afterthought what-if last toyworld --id tr-0003 --shuffle word:7 --json
  afterthought what-if last toyworld --id tr-0003 --delete @31      (token 31, as --json numbers them)

A word is looked for in the rationale, then in the question; every place where it stands is changed.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct WhatIfArgs {
    /// A run's id (or `last`) or one of its checkpoints (RUN@best, RUN@STEP), a checkpoint folder, or a student folder
    run: String,
    dataset: String,
    #[arg(long)]
    id: String,
    /// Put the mask in the place of this word
    #[arg(long, value_name = "WORD")]
    mask: Vec<String>,
    /// Take this word out
    #[arg(long, value_name = "WORD")]
    delete: Vec<String>,
    /// Put other text in the place of this word
    #[arg(long, value_name = "WORD=TEXT")]
    retype: Vec<String>,
    /// Put the rationale's tokens, words or sentences in another order
    #[arg(long, value_name = "UNIT:SEED", value_parser = shuffle)]
    shuffle: Option<(Unit, u64)>,
    /// Whose rationales are read; those of the run when left out
    #[arg(long)]
    source: Option<String>,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
}

fn shuffle(text: &str) -> Result<(Unit, u64), String> {
    let (unit, seed) = text.split_once(':').unwrap_or((text, "0"));
    let unit = <UnitArg as clap::ValueEnum>::from_str(unit, true).map_err(|_| "a unit is token, word or sentence")?;
    let seed = seed.parse().map_err(|_| format!("`{seed}` is no seed; 7, say"))?;
    Ok((unit.unit(), seed))
}

pub fn run(args: WhatIfArgs, context: &Context) -> anyhow::Result<()> {
    let target = Target::find(&context.project, &args.run)?;
    let spec = target.spec()?;
    let dataset = context.catalog().open(&args.dataset)?;
    let student = target.load(&spec, &dataset, &device(&args.device)?)?;
    let source = args.source.as_deref().unwrap_or(&spec.rationale.source);
    let (_, _, example) = find_example(&dataset, None, &args.id, source)?;
    let renderer = student.reading(source);
    let base = renderer.prompt_with_rationale(&example, Borrowed::default())?;
    let mut changes = Changes { shuffle: args.shuffle, ..Changes::default() };
    for word in &args.mask {
        change(&mut changes, &base, word, &Edit::Mask)?;
    }
    for word in &args.delete {
        change(&mut changes, &base, word, &Edit::Delete)?;
    }
    for pair in &args.retype {
        let Some((word, text)) = pair.split_once('=') else {
            return Err(Usage(format!("--retype {pair}: write WORD=TEXT")).into());
        };
        change(&mut changes, &base, word, &Edit::Retype(text.into()))?;
    }
    if changes.is_empty() {
        return Err(Usage("nothing is changed · give --mask, --delete, --retype or --shuffle".into()).into());
    }
    let found = what_if(&student.decoder, &renderer, &example, &changes)?;
    if context.json { context.print_json(&found) } else { show(&found) }
}

/// Changes a word wherever it stands, or one token by its place.
fn change(changes: &mut Changes, base: &Rendered, wanted: &str, edit: &Edit) -> Result<(), Usage> {
    let shown = crate::text::line(wanted);
    if wanted.trim().is_empty() {
        return Err(Usage("an empty word stands nowhere".into()));
    }
    if let Some(place) = wanted.strip_prefix('@') {
        let count = base.tokens.len();
        let place = place.parse().ok().filter(|place| *place < count);
        let place =
            place.ok_or_else(|| Usage(format!("{shown}: there is no such token; they are @0 to @{}", count - 1)))?;
        changes.edits.insert(place, edit.clone());
        return Ok(());
    }
    let words = spans(base.tokens.iter().map(|token| (token.text.as_str(), token.role)), Unit::Word);
    let text = |span: &std::ops::Range<usize>| -> String {
        base.tokens[span.clone()].iter().map(|token| token.text.as_str()).collect()
    };
    let of = |role: Role| -> Vec<_> {
        let own = words.iter().filter(|span| base.tokens[span.start].role == role);
        let is_wanted = |word: &str| word.trim() == wanted || (!bare(wanted).is_empty() && bare(word) == bare(wanted));
        own.filter(|span| is_wanted(&text(span))).cloned().collect()
    };
    let found = [of(Role::Rationale), of(Role::Prompt)].into_iter().find(|found| !found.is_empty());
    let found = found.ok_or_else(|| Usage(format!("`{shown}` is no word of the rationale or the question")))?;
    for span in found {
        for place in span.clone() {
            // The first of a word's tokens has all of the new text, the others go.
            let own = if place > span.start && matches!(edit, Edit::Retype(_)) { Edit::Delete } else { edit.clone() };
            if changes.edits.insert(place, own).is_some() {
                return Err(Usage(format!("`{shown}` is changed twice · give one change for each word")));
            }
        }
    }
    Ok(())
}

fn show(found: &WhatIf) -> anyhow::Result<()> {
    let mut text = String::new();
    for choice in &found.choices {
        let (label, own) = (crate::text::line(&choice.label), crate::text::line(&choice.text));
        let _ = writeln!(
            text,
            "{:>6.3} → {:>6.3}  {:>+7.3}  {label} {own}",
            choice.before,
            choice.after,
            choice.after - choice.before
        );
    }
    for (name, kept) in [("question", &found.question), ("rationale", &found.rationale)] {
        if let Some(kept) = kept {
            let _ = writeln!(text, "{name}: {}", crate::text::line(kept));
        }
    }
    print(&text)
}
