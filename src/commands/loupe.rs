//! `afterthought runs spikes` and `runs batch`: from a loss that stands out to the examples that made it.

use serde_json::json;

use super::output::{Context, device, print, say};
use crate::runs::RunDirectory;
use crate::runs::batch::{ExampleLoss, Near, StepBatch, TrainingOrder};
use crate::runs::spikes::spikes;
use crate::text;

pub fn show_spikes(context: &Context, run: &RunDirectory) -> anyhow::Result<()> {
    let read = run.read()?;
    let found = spikes(&read.history);
    if context.json {
        return context.print_json(&json!({"run": read.id, "steps": read.history.step(), "spikes": found}));
    }
    let id = text::line(&read.id);
    if found.is_empty() {
        say(&format!("no loss of the {} steps of {id} stands out from those before it", read.history.step()));
        return Ok(());
    }
    let mut out = "      step     loss   median  deviations  learning rate  gradient norm\n".to_owned();
    for spike in &found {
        let steps = match spike.last - spike.step {
            0 => spike.step.to_string(),
            _ => format!("{}–{}", spike.step, spike.last),
        };
        out.push_str(&match (spike.loss, spike.median, spike.deviations, spike.learning_rate, spike.gradient_norm) {
            (Some(loss), Some(median), Some(deviations), Some(rate), Some(norm)) => {
                format!("{steps:>10} {loss:>8.3} {median:>8.3} {deviations:>11.1} {rate:>14.2e} {norm:>14.2}\n")
            }
            _ => format!("{steps:>10}  skipped: its loss or gradient was no number\n"),
        });
    }
    print(&out)?;
    say(&format!("`afterthought runs batch {id} {}` shows the examples of a step", found[0].step));
    Ok(())
}

pub fn batch(context: &Context, run: &RunDirectory, step: usize, on: &str) -> anyhow::Result<()> {
    let device = device(on)?;
    let history = run.read()?.history;
    let bar = context.progress("reading word vectors", 0);
    let mut order = TrainingOrder::read(&context.project, run, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let mut found = order.step(step, &history)?;
    let bar = context.progress("asking what each costs", 0);
    order.measure(&context.project, &mut found, &device, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    if context.json {
        return context.print_json(&found);
    }
    for note in &found.notes {
        say(note);
    }
    print(&table(&found))
}

/// The batch as a table for people.
fn table(batch: &StepBatch) -> String {
    let mut out = format!("step {} of {}, epoch {}", batch.step, text::line(&batch.run), batch.epoch);
    match (&batch.event, &batch.skipped) {
        (Some(event), _) => out.push_str(&format!(
            " · loss {:.4}, learning rate {:.2e}, gradient norm {:.2}",
            event.loss, event.learning_rate, event.gradient_norm
        )),
        (None, Some(what)) => out.push_str(&format!(" · skipped: its {} was no number", text::line(what))),
        (None, None) => {}
    }
    out.push_str(&format!(
        "\n{} examples of {} tokens{}\n\n",
        batch.examples.len(),
        batch.tokens,
        if batch.agrees == Some(true) { ", as the journal says" } else { "" }
    ));
    let at = |near: &Option<Near>| near.as_ref().map_or_else(String::new, |near| format!("step {}", near.step));
    let sides = [(&batch.before, true), (&batch.after, false)];
    for (near, _) in sides.iter().filter(|(near, _)| near.is_some()) {
        out.push_str(&format!("{:>27}  ", at(near)));
    }
    out = out.trim_end().to_owned() + "\n";
    for _ in sides.iter().filter(|(near, _)| near.is_some()) {
        out.push_str("    loss    label rationale  ");
    }
    let batches = batch.examples.iter().any(|example| example.batch > 0);
    out.push_str(if batches { "batch tokens  id            question\n" } else { "tokens  id            question\n" });
    for example in &batch.examples {
        for (loss, near) in [(example.before, &batch.before), (example.after, &batch.after)] {
            if near.is_some() {
                out.push_str(&costs(loss));
            }
        }
        if batches {
            out.push_str(&format!("{:>5} ", example.batch + 1));
        }
        let id = text::line(&example.id);
        out.push_str(&format!("{:>6}  {id:<12}  {}\n", example.tokens, text::excerpt(&example.question, 90)));
    }
    out
}

fn costs(loss: Option<ExampleLoss>) -> String {
    let number = |value: Option<f64>, width: usize| match value {
        Some(value) => format!("{value:>width$.3}"),
        None => format!("{:>width$}", "–"),
    };
    let Some(loss) = loss else { return " ".repeat(29) };
    let all = loss.loss.map_or_else(|| "no number".to_owned(), |value| format!("{value:.3}"));
    format!("{all:>8} {} {}  ", number(loss.loss_label, 8), number(loss.loss_rationale, 9))
}
