//! `afterthought student generate`: what a student writes.

use std::io::{IsTerminal, Write as _};

use clap::Args;
use serde_json::json;

use super::output::{Context, Usage, device, print};
use super::settings::find_example;
use crate::runs::preview::Target;
use crate::student::generate::{Choose, Draw, generate};
use crate::student::{Student, Tokenizer};
use crate::text;

pub const EXAMPLES: &str = "\
Examples:
  afterthought student generate ../stories260K --prompt 'Once upon a time' --limit 200
  afterthought student generate last --id va-0003
  afterthought student generate last --id va-0003 --temperature 0.8 --top-p 0.95 --count 3";

/// Texts of one call; more are more calls.
const MOST_TEXTS: usize = 10_000;

#[derive(Args)]
#[command(after_help = EXAMPLES, group(clap::ArgGroup::new("begin").required(true)))]
pub struct GenerateArgs {
    /// A run's id (or `last`) or one of its checkpoints (RUN@best, RUN@STEP), a checkpoint folder, or a student folder
    target: String,
    /// The text to go on from
    #[arg(long, group = "begin")]
    prompt: Option<String>,
    /// A question to answer, under the recipe of the run
    #[arg(long, group = "begin")]
    id: Option<String>,
    /// Another data set than the run's own
    #[arg(long)]
    dataset: Option<String>,
    /// Tokens to write at most
    #[arg(long, default_value_t = 128)]
    limit: usize,
    /// Draw tokens in place of taking the likeliest; below 1 likely ones become likelier
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Draw from the K likeliest tokens
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw from the fewest tokens that have this share of the probability
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Of the drawing
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Texts to write
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
}

pub fn run(args: &GenerateArgs, context: &Context) -> anyhow::Result<()> {
    let choose = args.choose()?;
    let target = Target::find(&context.project, &args.target)?;
    let device = device(&args.device)?;
    let (decoder, tokenizer, prompt) = match (&args.prompt, &args.id) {
        (Some(prompt), _) => {
            let student = Student::load(target.folder(), &device)?;
            let specials = student.tokenizer.specials;
            let prompt: Vec<u32> = specials.bos.into_iter().chain(student.tokenizer.ids(prompt)?).collect();
            (student.decoder.frozen(), student.tokenizer, prompt)
        }
        (None, id) => {
            let mut spec = target.spec()?;
            spec.dataset = args.dataset.clone().unwrap_or(spec.dataset);
            let dataset = context.catalog().open(&spec.dataset)?;
            let id = id.as_deref().unwrap_or_default();
            let (_, _, example) = find_example(&dataset, None, id, &spec.rationale.source)?;
            let student = target.load(&spec, &dataset, &device)?;
            let prompt = student.renderer.prompt(&example)?;
            (student.decoder, student.renderer.tokenizer, prompt)
        }
    };
    let room = decoder.architecture.context.saturating_sub(prompt.len());
    anyhow::ensure!(!prompt.is_empty(), "the prompt is empty, and this student has no token to begin with");
    anyhow::ensure!(room > 0, "the prompt fills the student's context of {} tokens", decoder.architecture.context);
    let limit = args.limit.min(room);

    // A single text is shown as it is written, to whoever can watch.
    let live = args.count == 1 && !context.json && std::io::stdout().is_terminal();
    let bar = if live { None } else { Some(context.progress("writing", (args.count * limit) as u64)) };
    let shown = std::cell::Cell::new(0);
    let eos = tokenizer.specials.eos;
    let on_token = |_: usize, ids: &[u32]| {
        if live {
            show_news(&tokenizer, ids, &shown);
        }
        if let Some(bar) = &bar {
            bar.inc(1);
        }
        ids.last() == Some(&eos)
    };
    let begun = std::time::Instant::now();
    let texts = generate(&decoder, &vec![prompt.clone(); args.count], limit, choose, &on_token)?;
    let seconds = begun.elapsed().as_secs_f64();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let written: usize = texts.iter().map(Vec::len).sum();
    let decoded = texts.iter().map(|ids| tokenizer.text(ids)).collect::<Result<Vec<_>, _>>()?;
    if context.json {
        let texts: Vec<_> = decoded.iter().zip(&texts).map(|(text, ids)| json!({"text": text, "ids": ids})).collect();
        return context.print_json(&json!({
            "prompt": tokenizer.text(&prompt)?,
            "prompt_ids": prompt,
            "texts": texts,
            "tokens_per_second": written as f64 / seconds.max(1e-9),
        }));
    }
    if live {
        return print("\n");
    }
    decoded.iter().try_for_each(|text| print(&format!("{text}\n")))
}

/// Prints what the newest tokens have added. A character may take several tokens, so nothing is shown of one before it is
/// whole.
fn show_news(tokenizer: &Tokenizer, ids: &[u32], shown: &std::cell::Cell<usize>) {
    let Ok(text) = tokenizer.text(ids) else { return };
    let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
    if let Some(news) = whole.get(shown.get()..) {
        let mut out = std::io::stdout().lock();
        // A reader that went away is noticed at the end.
        let _ = out.write_all(text::visible(news).as_bytes()).and_then(|()| out.flush());
        shown.set(whole.len());
    }
}

impl GenerateArgs {
    fn choose(&self) -> anyhow::Result<Choose> {
        if !(1..=MOST_TEXTS).contains(&self.count) || self.limit == 0 {
            return Err(Usage(format!("--count must be from 1 to {MOST_TEXTS}, and --limit above 0")).into());
        }
        let draws = self.temperature.is_some() || self.top_k.is_some() || self.top_p.is_some();
        if !draws {
            // The likeliest text is one.
            return match self.count {
                1 => Ok(Choose::Greedy),
                _ => {
                    Err(Usage("several texts are all the same unless they are drawn · add --temperature 1".into())
                        .into())
                }
            };
        }
        let draw = Draw {
            temperature: self.temperature.unwrap_or(1.0),
            top_k: self.top_k,
            top_p: self.top_p.unwrap_or(1.0),
            seed: self.seed,
        };
        draw.check().map_err(Usage)?;
        Ok(Choose::Sample(draw))
    }
}
