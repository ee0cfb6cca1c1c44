//! `afterthought student …`: what a student is and what training it takes.

use std::collections::HashMap;

use candle_core::DType;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde_json::json;

use super::generate::{self, GenerateArgs};
use super::output::{Context, print};
use crate::rationale::{Chat, Framing, Recipe};
use crate::runs::prepare::{self, student_folder, toy_tokenizer, vocabulary_examples};
use crate::student::families::gpt2::GPT2;
use crate::student::lora::{self, Lora};
use crate::student::memory::{self, Estimate, Parts, Plan};
use crate::student::ops::Ops;
use crate::student::{Precision, StudentError, hub, toy, weights};
use crate::text;
use crate::training::TrainingSettings;

pub const EXAMPLES: &str = "\
Examples:
  afterthought student show toy
  afterthought student fetch openai-community/gpt2
  afterthought student generate last --id va-0003";

#[derive(Subcommand)]
pub enum StudentCommand {
    /// Family, parameters, and the memory that a fine-tune would take
    #[command(
        after_help = "Examples:\n  afterthought student show toy\n  afterthought student show ../gpt2 --batch 8 --length 256\n  afterthought student show google/gemma-2b --lora 16"
    )]
    Show(ShowArgs),
    /// Text that a student writes
    Generate(GenerateArgs),
    /// Fetch a student from the Hugging Face hub into its usual cache
    #[command(after_help = "Example:\n  afterthought student fetch openai-community/gpt2")]
    Fetch {
        /// The hub id, OWNER/NAME
        id: String,
    },
}

#[derive(Args)]
pub struct ShowArgs {
    /// toy, a folder, or a hub id that was fetched
    student: String,
    /// Sequences in a batch
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    batch: Option<u32>,
    /// Tokens in a sequence
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    length: u32,
    /// Train adapters of this rank in place of the whole student
    #[arg(long, value_name = "RANK")]
    lora: Option<usize>,
    /// The maps that have adapters, such as q_proj,v_proj; all linear ones when left out
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "lora")]
    targets: Vec<String>,
    /// The type to compute in; bf16 is for GPUs
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,
    /// Run layers again for the backward pass in place of keeping what they made (training.recompute)
    #[arg(long)]
    recompute: bool,
    /// Where the fine-tune would run: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// The data set that the toy's vocabulary is made from
    #[arg(long, default_value = "toyworld")]
    dataset: String,
}

pub fn run(command: StudentCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        StudentCommand::Show(args) => show(context, &args),
        StudentCommand::Generate(args) => generate::run(&args, context),
        StudentCommand::Fetch { id } => fetch(context, &id),
    }
}

fn show(context: &Context, args: &ShowArgs) -> anyhow::Result<()> {
    let student = args.student.as_str();
    let settings = if student == "toy" { TrainingSettings::toy() } else { TrainingSettings::default() };
    let batch = args.batch.map_or(settings.batch_size, |batch| batch as usize);
    anyhow::ensure!(
        student != "toy" || args.lora.is_none(),
        "the toy student is trained from scratch and has no adapters · leave --lora out"
    );
    let (family, architecture, tokenizer, dtype) = if student == "toy" {
        let dataset = context.catalog().open(&args.dataset)?;
        let tokenizer = toy_tokenizer(&dataset, &Recipe::default(), &vocabulary_examples(&dataset, "default")?)?;
        (&GPT2, toy::architecture(tokenizer.size()), tokenizer, DType::F32)
    } else {
        anyhow::ensure!(
            !hub::is_id(student) || prepare::folder_of_student(&context.project, student).is_some(),
            "{student} was not fetched yet · `afterthought student fetch {student}`"
        );
        let folder = student_folder(&context.project, student, &mut |_, _, _| {})?.unwrap_or_default();
        let (family, architecture, config) = weights::read_config(&folder)?;
        // One that doesn't belong to the weights is refused here already.
        let tokenizer = weights::read_tokenizer(&folder, family, &config, &architecture)?;
        // Of adapters it is the student they belong to.
        let is_adapted = folder.join(lora::CONFIG).exists();
        let base = if is_adapted { lora::read_config(&folder)?.weights } else { folder };
        (family, architecture, tokenizer, weights::stored_dtype(&base)?)
    };
    let length = (args.length as usize).min(architecture.context);
    let targets = if args.targets.is_empty() { Lora::default().targets } else { args.targets.clone() };
    let lora = args.lora.map(|rank| Lora { rank, targets, ..Lora::default() });
    if let Some(lora) = &lora {
        lora.check_for(family, &architecture).map_err(anyhow::Error::msg)?;
    }
    let parts = Parts::of(&architecture);
    let (device, precision) = (prepare::device(&args.device)?, args.precision);
    // What bf16 takes can be asked about where there is no GPU; it then runs as it would on one.
    let is_here = precision.check(&device).is_ok();
    let ops = if is_here { Ops::Fused.available(&device, precision.dtype()) } else { Ops::Composed };
    let plan = Plan {
        batch,
        length,
        lora: lora.as_ref(),
        precision,
        recompute: args.recompute,
        ops,
        on_gpu: !device.is_cpu(),
    };
    let memory = Estimate::of(family, &architecture, &plan);
    let time = || memory::step_seconds(&architecture, &plan, &device);
    let seconds = is_here.then(time).transpose()?;
    let available = prepare::free_memory(&device).filter(|_| is_here);
    if context.json {
        return context.print_json(&json!({
            "student": student,
            "family": family.name,
            "parameters": architecture.parameter_count(),
            "parts": parts,
            "dtype": dtype.as_str(),
            "precision": precision,
            "vocabulary": architecture.vocabulary,
            "context": architecture.context,
            "chat_template": tokenizer.chat_template().is_some(),
            "width": architecture.width,
            "layers": architecture.layers.len(),
            "heads": architecture.heads,
            "kv_heads": architecture.kv_heads,
            "batch": batch,
            "length": length,
            "recompute": args.recompute,
            "training_bytes": memory.total,
            "training": memory,
            "available_bytes": available,
            "fits": available.is_none_or(|available| memory.total <= available),
            "would_fit": available.map(|available| Estimate::that_fits(family, &architecture, &plan, available)),
            "step_seconds": seconds,
        }));
    }
    let layers = architecture.layers.len();
    let bytes = |n: u64| indicatif::HumanBytes(n).to_string();
    let number = |n: usize| indicatif::HumanCount(n as u64).to_string();
    let mut out = format!(
        "{}: {}, {} parameters, stored in {}\n",
        text::line(student),
        family.name,
        number(architecture.parameter_count()),
        dtype.as_str()
    );
    out += &format!(
        "{layers} layer{} of width {}, {} heads ({} of keys), context {}, vocabulary {}\n",
        if layers == 1 { "" } else { "s" },
        architecture.width,
        architecture.heads,
        architecture.kv_heads,
        number(architecture.context),
        number(architecture.vocabulary)
    );
    // Whether it can be used is known by using it, on a question.
    let chat = match Framing::new(&Chat::User, tokenizer) {
        Ok(_) => "yes · `--set rationale.chat=user` asks with it".to_owned(),
        Err(StudentError::NoChatTemplate) => "none".to_owned(),
        Err(error) => text::line(&error.to_string()).into_owned(),
    };
    out += &format!("chat template  {chat}\n");
    let named = [
        ("embeddings", parts.embeddings),
        ("attention", parts.attention),
        ("mlp", parts.mlp),
        ("norms", parts.norms),
        ("output", parts.output),
    ];
    let shown = named.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {}", number(*count)));
    out += &format!("parameters  {}\n", shown.collect::<Vec<_>>().join(" · "));
    let what = lora.as_ref().map_or_else(|| "whole".to_owned(), |lora| format!("with adapters of rank {}", lora.rank));
    out += &format!(
        "a fine-tune {what} in {} at batch {batch} x {length} tokens takes about {} ({} weights, {} gradients and moments, {} \
         activations, {} logits){}\n",
        precision.dtype().as_str(),
        bytes(memory.total),
        bytes(memory.weights),
        bytes(memory.training),
        bytes(memory.activations),
        bytes(memory.logits),
        seconds.map_or_else(String::new, |seconds| format!(", and {seconds:.2} s a step here")),
    );
    if let Some(available) = available.filter(|available| memory.total > *available) {
        let found = Estimate::that_fits(family, &architecture, &plan, available);
        out += &format!("it does not fit: {} are free · {}\n", bytes(available), prepare::what_fits(&found));
    }
    print(&out)
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
