//! `afterthought student …`: what a student is and what training it takes.

use std::collections::HashMap;

use clap::Subcommand;
use indicatif::ProgressBar;
use serde_json::json;

use super::output::{Context, print};
use crate::runs::prepare::{student_folder, toy_tokenizer, vocabulary_examples};
use crate::student::families::gpt2::GPT2;
use crate::student::{Architecture, hub, toy, weights};
use crate::text;
use crate::training::TrainingSettings;

pub const EXAMPLES: &str = "\
Examples:
  afterthought student show toy
  afterthought student fetch openai-community/gpt2";

#[derive(Subcommand)]
pub enum StudentCommand {
    /// Family, parameters, and the memory that a fine-tune would take
    #[command(
        after_help = "Examples:\n  afterthought student show toy\n  afterthought student show ../gpt2 --batch 8 --length 256"
    )]
    Show {
        /// toy, a folder, or a hub id that was fetched
        student: String,
        /// Sequences in a batch
        #[arg(long)]
        batch: Option<usize>,
        /// Tokens in a sequence
        #[arg(long, default_value_t = 128)]
        length: usize,
        /// The data set that the toy's vocabulary is made from
        #[arg(long, default_value = "toyworld")]
        dataset: String,
    },
    /// Fetch a student from the Hugging Face hub into its usual cache
    #[command(after_help = "Example:\n  afterthought student fetch openai-community/gpt2")]
    Fetch {
        /// The hub id, OWNER/NAME
        id: String,
    },
}

pub fn run(command: StudentCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        StudentCommand::Show { student, batch, length, dataset } => show(context, &student, batch, length, &dataset),
        StudentCommand::Fetch { id } => fetch(context, &id),
    }
}

fn show(context: &Context, student: &str, batch: Option<usize>, length: usize, dataset: &str) -> anyhow::Result<()> {
    let settings = if student == "toy" { TrainingSettings::toy() } else { TrainingSettings::default() };
    let batch = batch.unwrap_or(settings.batch_size);
    let (family, architecture) = if student == "toy" {
        let dataset = context.catalog().open(dataset)?;
        let tokenizer = toy_tokenizer(&dataset, &vocabulary_examples(&dataset, "default")?)?;
        (&GPT2, toy::architecture(tokenizer.size()))
    } else {
        anyhow::ensure!(
            !hub::is_id(student) || context.project.join(student).is_dir() || hub::cached(student).is_some(),
            "{student} was not fetched yet · `afterthought student fetch {student}`"
        );
        let folder = student_folder(&context.project, student, &mut |_, _, _| {})?.unwrap_or_default();
        let (family, architecture, config) = weights::read_config(&folder)?;
        // What is described here must be one that can be trained.
        weights::read_tokenizer(&folder, &config, &architecture)?;
        (family, architecture)
    };
    let length = length.min(architecture.context);
    let memory = training_memory(&architecture, batch, length);
    if context.json {
        return context.print_json(&json!({
            "student": student,
            "family": family.name,
            "parameters": architecture.parameter_count(),
            "vocabulary": architecture.vocabulary,
            "context": architecture.context,
            "width": architecture.width,
            "layers": architecture.layers.len(),
            "heads": architecture.heads,
            "batch": batch,
            "length": length,
            "training_bytes": memory,
        }));
    }
    print(&format!(
        "{}: {}, {} parameters\n{} of width {} with {} heads, context {}, vocabulary {}\n\
         a fine-tune at batch {batch} x {length} tokens takes about {}\n",
        text::line(student),
        family.name,
        architecture.parameter_count(),
        if architecture.layers.len() == 1 { "1 layer".into() } else { format!("{} layers", architecture.layers.len()) },
        architecture.width,
        architecture.heads,
        architecture.context,
        architecture.vocabulary,
        indicatif::HumanBytes(memory)
    ))
}

/// Bytes that a training step holds at its peak, counted tensor by tensor: weights, gradients and both moments in
/// `f32`, the activations that the backward pass reads, and one chunk of logits.
fn training_memory(architecture: &Architecture, batch: usize, length: usize) -> u64 {
    let Architecture { width, inner, heads, kv_heads, head, vocabulary, gated, .. } = *architecture;
    let rows = (batch * length) as u64;
    // In a layer: its input, two norms, queries, keys and values, their mix, its projection, the sum, both sides of the
    // activation and the output; and the log sums of attention.
    let mixed = (heads + 2 * kv_heads) * head + heads * head;
    let inside = if gated { 4 * inner } else { 2 * inner };
    let layer = rows * (7 * width + mixed + inside) as u64 + rows * heads as u64;
    let logits = (256.min(batch * length) * vocabulary) as u64;
    let ends = 4 * rows * width as u64 + 2 * (vocabulary * width) as u64;
    4 * (4 * architecture.parameter_count() as u64 + architecture.layers.len() as u64 * layer + logits + ends)
}

fn fetch(context: &Context, id: &str) -> anyhow::Result<()> {
    anyhow::ensure!(hub::is_id(id), "`{id}` is no hub id · write OWNER/NAME, such as openai-community/gpt2");
    let mut bars: HashMap<String, ProgressBar> = HashMap::new();
    let folder = hub::fetch(id, &mut |file, done, total| {
        let bar = bars.entry(file.to_owned()).or_insert_with(|| context.bytes_progress(file.to_owned(), total));
        bar.set_position(done);
        if done == total {
            bar.finish_and_clear();
        }
    })?;
    if context.json {
        return context.print_json(&json!({"id": id, "folder": folder}));
    }
    print(&format!("{}\n", text::line(&folder.display().to_string())))
}
