//! `afterthought intervene`: what a student answers when something else is put before its answer than it is used to.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::output::{Context, Interrupted, Resumable, Usage, print, say};
use super::subject::{Subject, SubjectArgs};
use crate::corpus::edits::DEFAULT_SOURCE;
use crate::evaluation::EvaluationError;
use crate::evaluation::interventions::{
    About, Answered, Intervention, MARGIN, Material, Outcome, Poser, Record, Reply, ask, keep, outcomes, read,
};
use crate::journal::now;
use crate::rationale::Recipe;
use crate::rationale::recipe::Unit;
use crate::runs::RunDirectory;
use crate::runs::preview::Target;
use crate::text;

const EXAMPLES: &str = "\
Examples:
  afterthought intervene last
  afterthought intervene last@best --with wrong-choice,planted-wrong --split test
  afterthought intervene last --with wrong-choice --source wrong
  afterthought intervene 20261120-pre --with shuffled --unit sentence --json
  afterthought intervene last --show";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct InterveneArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// What stands before the answer; all of them when left out
    #[arg(long, value_enum, value_delimiter = ',', value_name = "INTERVENTION")]
    with: Vec<Intervention>,
    /// What `shuffled` puts in another order
    #[arg(long, value_enum, default_value_t = UnitArg::Token)]
    unit: UnitArg,
    /// Rationales for wrong choices, with their teacher_answer: a file of rationales/; those of other rows when left out
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Points of accuracy below which a difference does not matter
    #[arg(long, value_name = "POINTS", default_value_t = MARGIN * 100.0)]
    margin: f64,
    /// Show what was kept, and ask nothing
    #[arg(long, conflicts_with_all = ["with", "source", "overrides", "limit", "each", "unit"])]
    show: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum UnitArg {
    Token,
    Word,
    Sentence,
}

impl From<UnitArg> for Unit {
    fn from(unit: UnitArg) -> Self {
        match unit {
            UnitArg::Token => Self::Token,
            UnitArg::Word => Self::Word,
            UnitArg::Sentence => Self::Sentence,
        }
    }
}

pub fn run(args: &InterveneArgs, context: &Context) -> anyhow::Result<()> {
    if !(args.margin > 0.0 && args.margin <= 100.0) {
        return Err(Usage("--margin is points of accuracy, above 0 and to 100".into()).into());
    }
    if args.show {
        return show_kept(args, context);
    }
    let (stop, which) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
    super::study::listen(stop.clone(), which.clone())?;
    let subject = Subject::load(&args.subject, context)?;
    let records = match ask_all(args, &subject, context, &stop) {
        Err(error) if matches!(error.downcast_ref(), Some(EvaluationError::Interrupted)) => {
            match subject.target {
                Target::Run { .. } => say(&format!(
                    "stopped · what was finished is kept: `afterthought intervene {} --show`",
                    args.subject.target
                )),
                Target::Folder(_) => say("stopped"),
            }
            let by_person = which.load(Ordering::Relaxed) == libc::SIGINT;
            return if by_person { Err(Interrupted.into()) } else { Err(Resumable.into()) };
        }
        records => records?,
    };
    show(&outcomes(&records, args.margin / 100.0), context)
}

/// Asks under one intervention after the other, keeping each as soon as it is there.
fn ask_all(
    args: &InterveneArgs,
    subject: &Subject,
    context: &Context,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<Record>> {
    let Subject { spec, dataset, student, loaded, count, .. } = subject;
    let (teacher_source, unit) = (&spec.rationale.source, Unit::from(args.unit));
    let wrong_source = args.source.clone().or_else(|| spec.rationale.swap().and_then(|swap| swap.source.clone()));
    let teacher = (teacher_source != DEFAULT_SOURCE).then(|| dataset.source(teacher_source)).transpose()?;
    let wrong = wrong_source.as_deref().map(|name| dataset.source(name)).transpose()?;
    let material = Material { examples: &loaded.examples, teacher: teacher.as_deref(), wrong: wrong.as_deref(), unit };
    let file = file_to_keep(subject);

    let wanted = if args.with.is_empty() { Intervention::ALL.to_vec() } else { args.with.clone() };
    let bar = context.progress("asking", (*count * (wanted.len() + 1)) as u64);
    let borrow = |place: usize| loaded.borrow(place, &student.renderer);
    let mut records: Vec<Record> = Vec::new();
    let mut usual: Option<Answered> = None;
    for (number, intervention) in [Intervention::Usual].into_iter().chain(wanted).enumerate() {
        let poser = Poser::new(intervention, &student.renderer, spec.evaluation.asking(), &material);
        bar.set_message(intervention.name());
        let mut on_progress = |done: usize| {
            bar.set_position((number * count + done) as u64);
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let answered = ask(&student.decoder, &poser, *count, usual.as_ref(), &borrow, &mut on_progress)?;
        if answered.rows.is_empty() && *count > 0 {
            bar.suspend(|| say(&nothing_to_ask(intervention, wrong_source.as_deref())));
            continue;
        }
        let is_shuffled = intervention == Intervention::Shuffled;
        let is_wrong_choice = intervention == Intervention::WrongChoice;
        let record = Record {
            about: About {
                intervention,
                unit: is_shuffled.then_some(unit),
                wrong_source: wrong_source.clone().filter(|_| is_wrong_choice),
                dataset: spec.dataset.clone(),
                split: subject.split.clone(),
                source: teacher_source.clone(),
                checkpoint: name_of(&subject.target),
                first: args.subject.limit,
                seed: spec.seed.ablation,
                answer: spec.evaluation.answer,
                score: spec.evaluation.score,
                limit: spec.evaluation.limit,
            },
            made: now(),
            left_out: answered.left_out,
            caveat: trained(&subject.target)
                .then(|| intervention.caveat(&student.renderer))
                .flatten()
                .map(str::to_owned),
            as_usual: answered.as_usual,
            replies: answered.replies(usual.as_ref().unwrap_or(&answered)),
        };
        if args.subject.each {
            bar.suspend(|| print_each(&record, context))?;
        }
        if let Some(run) = &file {
            keep(&run.interventions(), &record)?;
        }
        records.push(record);
        if usual.is_none() {
            usual = Some(answered);
        }
    }
    bar.finish_and_clear();
    let asked = records.iter().any(|record| record.about.intervention != Intervention::Usual);
    anyhow::ensure!(asked || *count == 0, "there is nothing to put before these answers · see the lines above");
    if let Some(run) = &file {
        say(&format!("kept: {}", run.interventions().display()));
    }
    Ok(records)
}

/// The run whose file the answers belong in. Not those of a run that is asked under another recipe than its own: its
/// usual answers would be another student's.
fn file_to_keep(subject: &Subject) -> Option<&RunDirectory> {
    let Target::Run { run, .. } = &subject.target else { return None };
    let but_source = |recipe: &Recipe| Recipe { source: String::new(), ..recipe.clone() };
    if but_source(&subject.spec.rationale) != but_source(&subject.own.rationale) {
        say("the answers are not kept: the run has another recipe");
        return None;
    }
    Some(run)
}

/// Whether it is known what the student was trained for.
fn trained(target: &Target) -> bool {
    matches!(target, Target::Run { .. })
}

/// The checkpoint's or the student's folder.
fn name_of(target: &Target) -> String {
    target.folder().file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn nothing_to_ask(intervention: Intervention, wrong_source: Option<&str>) -> String {
    let why = match (intervention, wrong_source) {
        (Intervention::Teacher | Intervention::Shuffled, _) => {
            "no row has a rationale that fits · --set rationale.source=NAME takes others".to_owned()
        }
        (Intervention::WrongChoice, Some(source)) => {
            format!("{source} has no rationale whose teacher_answer is a wrong choice of these rows")
        }
        (Intervention::WrongChoice, None) => {
            "no other row's rationale is for a wrong choice here, or none fits · --source NAME takes some that are"
                .to_owned()
        }
        _ => "no row has a known answer among its choices".to_owned(),
    };
    format!("{} is left out: {why}", intervention.name())
}

fn print_each(record: &Record, context: &Context) -> anyhow::Result<()> {
    for reply in &record.replies {
        if context.json {
            let mut line = serde_json::to_value(reply)?;
            line["intervention"] = json!(record.about.intervention);
            context.print_json_line(&line)?;
        } else {
            print(&format!("{}\n", text::line(&line_of(record, reply))))?;
        }
    }
    Ok(())
}

fn line_of(record: &Record, reply: &Reply) -> String {
    let shown = |label: &Option<String>| label.clone().unwrap_or_else(|| "–".into());
    let mark = if reply.is_correct() { "✓" } else { "✗" };
    format!(
        "{mark} {:<14} {:<12} answer {:<3} usual {:<3} argued for {:<3} predicted {:<3} {}",
        record.about.intervention.name(),
        reply.id,
        shown(&reply.answer),
        shown(&reply.usual),
        shown(&reply.argues_for),
        shown(&reply.predicted),
        reply.text
    )
}

/// What was kept with a run, or with one of its checkpoints.
fn show_kept(args: &InterveneArgs, context: &Context) -> anyhow::Result<()> {
    let wanted = &args.subject;
    let (run, checkpoint) = match wanted.target.rsplit_once('@') {
        Some((run, name)) => {
            let run = RunDirectory::find(&context.project, run)?;
            let checkpoint = run.checkpoint(name)?;
            (run, checkpoint.file_name().map(|name| name.to_string_lossy().into_owned()))
        }
        None => (RunDirectory::find(&context.project, &wanted.target)?, None),
    };
    let fits = |name: &String, wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let mut records = read(&run.interventions())?;
    records.retain(|Record { about, .. }| {
        fits(&about.checkpoint, &checkpoint)
            && fits(&about.dataset, &wanted.dataset)
            && fits(&about.split, &wanted.split)
    });
    let first = records.first().with_context(|| {
        format!("nothing was kept of run {} · `afterthought intervene {}` asks it", run.id(), wanted.target)
    })?;
    // One table after the other, each as it was asked; a table's first record is its oldest.
    let mut tables = vec![first.about.clone()];
    for record in &records {
        if !tables.iter().any(|about| about.is_beside(&record.about)) {
            tables.push(record.about.clone());
        }
    }
    let table = |record: &Record| tables.iter().position(|about| about.is_beside(&record.about));
    let order = |record: &Record| {
        let of = record.about.intervention;
        (table(record), Intervention::ALL.iter().position(|other| *other == of))
    };
    records.sort_by_key(order);
    show(&outcomes(&records, args.margin / 100.0), context)
}

fn show(outcomes: &[Outcome], context: &Context) -> anyhow::Result<()> {
    if context.json {
        return context.print_json(&json!({"interventions": outcomes}));
    }
    let mut out = String::new();
    for (number, outcome) in outcomes.iter().enumerate() {
        let before = number.checked_sub(1).map(|before| &outcomes[before].about);
        if before.is_none_or(|before| !before.is_beside(&outcome.about)) {
            out.push_str(&head(outcome, number > 0));
        }
        out.push_str(&row(outcome));
    }
    out.push_str("follows: answers that are what the rationale argues for, or what was planted; in brackets how many usual answers were\n");
    out.push_str("to the usual: over the same rows; p of exact McNemar, and what it says after Holm, over one table\n");
    for outcome in outcomes {
        remarks(outcome).into_iter().for_each(|remark| {
            out.push_str(&text::line(&format!("{}: {remark}", outcome.title)));
            out.push('\n');
        });
    }
    print(&out)
}

fn head(outcome: &Outcome, follows: bool) -> String {
    let about = &outcome.about;
    let only = about.first.map_or_else(String::new, |first| format!(", the first {first} rows"));
    let title = format!("{} on {}/{}{only}", about.checkpoint, about.dataset, about.split);
    format!(
        "{}{}\n  {:<22} {:>6} {:>14} {:>18} {:>8} {:>21} {:>8}  {}\n",
        if follows { "\n" } else { "" },
        text::line(&title),
        "before the answer",
        "right",
        "95 %",
        "follows",
        "changed",
        "to the usual",
        "p",
        "what it says"
    )
}

fn row(outcome: &Outcome) -> String {
    let points = |share: f64| format!("{:.1}", share * 100.0);
    let range = |(low, high): (f64, f64)| format!("[{}, {}]", points(low), points(high));
    let shown = |share: Option<f64>| share.map_or_else(String::new, |share| format!("{} %", points(share)));
    let usual = (outcome.argued > 0).then(|| outcome.usual_followed as f64 / outcome.argued as f64);
    let follows = outcome.follows.zip(usual).map(|(now, usual)| format!("{} % ({})", points(now), points(usual)));
    let against = outcome.against.as_ref();
    let difference = against.map(|found| format!("{:+.1} {}", found.difference * 100.0, range(found.interval)));
    let is_itself = outcome.about.intervention == Intervention::Usual;
    let says = match against {
        Some(found) => found.says.clone(),
        None if outcome.as_usual && !is_itself => "the usual asking".into(),
        None => String::new(),
    };
    let line = format!(
        "  {:<22} {:>6} {:>14} {:>18} {:>8} {:>21} {:>8}  {says}",
        text::excerpt(&outcome.title, 22),
        outcome.accuracy.map_or_else(|| "–".into(), points),
        outcome.interval.map(range).unwrap_or_default(),
        follows.unwrap_or_default(),
        if is_itself { String::new() } else { shown(outcome.changes) },
        difference.unwrap_or_default(),
        against.map(|found| small(found.p)).unwrap_or_default(),
    );
    format!("{}\n", line.trim_end())
}

/// A p-value, as short as it means something.
fn small(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

/// What one should know before reading the numbers.
fn remarks(outcome: &Outcome) -> Vec<String> {
    let mut remarks: Vec<String> = outcome.caveat.iter().map(|caveat| format!("untrained for: {caveat}")).collect();
    let asked = outcome.asked;
    if outcome.left_out > 0 {
        let (left_out, all) = (outcome.left_out, asked + outcome.left_out);
        remarks.push(format!("{left_out} of {all} rows have no such rationale or answer, and were not asked"));
    }
    if outcome.cut > 0 {
        remarks.push(format!("{} of {asked} rationales were cut to leave room for a label", outcome.cut));
    }
    if outcome.unparsable > 0 {
        remarks.push(format!("{} of {asked} answers are unparsable and count as wrong", outcome.unparsable));
    }
    let (unfinished, limit) = (outcome.unfinished, outcome.about.limit);
    if outcome.led > 0 {
        let led = outcome.led;
        remarks.push(format!(
            "{led} of {asked} did not come to an answer by themselves and were led to one, {unfinished} of them at the \
             limit of {limit} tokens"
        ));
    } else if unfinished > 0 {
        remarks.push(format!("{unfinished} of {asked} never came to an answer within {limit} tokens"));
    }
    remarks
}
