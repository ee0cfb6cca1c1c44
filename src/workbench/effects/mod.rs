//! What the update loop asks for, done off the screen's thread: reading rows, rendering, attributing, starting and
//! steering runs. Each effect answers with messages.

mod attribution;
mod board;
pub mod caught;
mod data;
mod dump;
mod editing;
mod fork;
pub mod lanes;
mod lens;
mod log;
mod loupe;
pub mod session;
mod unanswered;
pub mod watch;
pub mod work;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::browse::Reply;
use super::message::{Effect, Message};
use super::state::Notice;
use super::state::{EditTarget, Opened, Shown};
use super::theme::Theme;
use crate::corpus::counterpart::Index;
use crate::corpus::edits::{DEFAULT_SOURCE, Target as EditKey};
use crate::corpus::{Catalog, Dataset, Example, validate};
use crate::evaluation;
use crate::files;
use crate::rationale::Placement;
use crate::runs::preview::{Reading, preview};
use crate::runs::{RunDirectory, RunSpec, control, prepare, spawn};
use crate::studies::{Study, tour};
use work::Work;

/// Problems of each kind that a check lists.
const SHOWN_PROBLEMS: usize = 5;

/// Where messages go.
pub type Send<'a> = &'a mut dyn FnMut(Message);

/// Everything that effects share.
pub struct Services {
    project: PathBuf,
    catalog: Catalog,
    datasets: Mutex<HashMap<String, Dataset>>,
    /// Tokenizers by data set, source and student.
    readings: Mutex<HashMap<(String, String, String), Reading>>,
    /// The students that were looked into last.
    students: attribution::Students,
    /// Where the questions of the data sets are that were put beside another.
    questions: Mutex<HashMap<String, Arc<Index>>>,
}

impl Services {
    pub fn new(project: &Path) -> Self {
        Self {
            project: project.to_owned(),
            catalog: Catalog::new(project),
            datasets: Mutex::default(),
            readings: Mutex::default(),
            students: attribution::Students::default(),
            questions: Mutex::default(),
        }
    }

    /// Does what was asked, telling `work` how far it is. Nothing here may panic on what it finds; the answer then is a
    /// notice.
    pub fn perform(&self, effect: Effect, work: &Work, send: Send) {
        match effect {
            Effect::LoadKeymaps => {
                let found = self.keymaps(send);
                send(Message::Keymaps(found));
            }
            Effect::LoadSession => self.load_session(send),
            Effect::SaveSession(session) => {
                if let Err(error) = session::save(&self.project, &session) {
                    send(failed(error));
                }
            }
            Effect::ListDatasets => {
                send(Message::Datasets(self.catalog.names()));
                send(Message::Themes(Theme::names(&self.project)));
            }
            Effect::OpenDataset(name) => match self.open(&name) {
                Ok(opened) => send(Message::Opened(opened)),
                Err(error) => send(failed(error)),
            },
            Effect::Count { dataset, split } => {
                if let Err(error) = self.count(&dataset, &split, work, send) {
                    send(failed(error));
                }
            }
            Effect::LoadRows { generation, dataset, split, source, rows } => {
                match self.load_rows(&dataset, &split, &source, &rows) {
                    Ok((rows, count)) => send(Message::Rows { generation, rows, count }),
                    Err(error) => send(failed(error)),
                }
            }
            Effect::Find(request) => {
                if let Err(error) = self.find(*request, work, send) {
                    send(failed(error));
                }
            }
            Effect::StopSearch { .. } => {}
            Effect::Browse(request) => self.browse(*request, work, send),
            Effect::Preview { generation, spec, split, place, example } => {
                let result = self.preview(&spec, &split, place, &example).map_err(|error| error.to_string());
                send(Message::Previewed { generation, result });
            }
            Effect::Attribute(request) => {
                let generation = request.generation;
                let result = self.attribute(&request, work).map_err(|error| error.to_string());
                // What was broken off has no answer.
                if !work.is_unwanted() {
                    send(Message::Attributed { generation, result: Box::new(result) });
                }
            }
            Effect::WhatIf(request) => {
                let result = self.what_if(&request).map_err(|error| error.to_string());
                send(Message::WhatIf { generation: request.generation, result });
            }
            Effect::ReadLens(request) => {
                let result = self.look(&request, work).map_err(|error| error.to_string());
                if !work.is_unwanted() {
                    send(Message::LensRead { generation: request.generation, result: Box::new(result) });
                }
            }
            Effect::Spell(request) => {
                let result = self.spell(&request).map_err(|error| error.to_string());
                send(Message::Spelled { generation: request.generation, result });
            }
            Effect::TrainLens { looked } => {
                let result = self.train_lens(&looked, work).map_err(|error| error.to_string());
                if !work.is_cancelled() {
                    send(Message::LensTrained { run: looked, result });
                }
            }
            Effect::LoadPredictions { run, dataset, split } => send(self.predictions(run, &dataset, &split)),
            Effect::MakeBoard { generation, shown, baselines } => {
                let result = self.board(&shown, &baselines).map_err(|error| error.to_string());
                send(Message::Board { generation, result: Box::new(result) });
            }
            Effect::Disagree(request) => {
                let result = self.disagree(&request).map_err(|error| error.to_string());
                send(Message::Disagreed { generation: request.generation, result: Box::new(result) });
            }
            Effect::ReadBatch(request) => {
                let result = self.read_batch(&request, work).map_err(|error| error.to_string());
                send(Message::BatchRead { generation: request.generation, result: Box::new(result) });
            }
            Effect::MeasureLoss(request) => {
                let result = self.measure_loss(request.question).map_err(|error| error.to_string());
                send(Message::LossMeasured { generation: request.generation, result: Box::new(result) });
            }
            Effect::ListStudies => send(Message::Studies(Study::names(&self.project))),
            Effect::Edit { target, patch } => {
                self.edit(target, send, |edits, key| edits.set(key, patch).map(|()| true))
            }
            Effect::EditAll { target, patches } => self.edit(target, send, |edits, key| {
                edits.set_all(patches.into_iter().map(|patch| (key.clone(), patch)).collect()).map(|()| true)
            }),
            Effect::UndoEdit(target) => self.edit(target, send, |edits, key| edits.undo(&key)),
            Effect::RedoEdit(target) => self.edit(target, send, |edits, key| edits.redo(&key)),
            Effect::SaveRunFile { path, spec } => send(self.save_run_file(&path, &spec)),
            Effect::StartRun(spec) => send(self.start_run(*spec)),
            Effect::FindForkPoint { run, at } => send(self.fork_point(run, at).unwrap_or_else(failed)),
            Effect::ForkRun { run, step, overrides } => send(self.fork(&run, step, &overrides).unwrap_or_else(failed)),
            Effect::ResumeRun(id) => {
                let resumed = RunDirectory::find(&self.project, &id)
                    .and_then(|run| run.unfinished().and_then(|_| spawn::worker(&self.project, &run)).map(|()| run));
                send(resumed.map_or_else(failed, |run| Message::Say(Notice::info(format!("{} goes on", run.id())))));
            }
            Effect::RemoveRun(id) => {
                let removed = RunDirectory::find(&self.project, &id).and_then(|run| run.remove());
                send(removed.map_or_else(failed, |()| Message::Say(Notice::info(format!("{id} was deleted")))));
            }
            Effect::Control { run, command } => {
                let sent = RunDirectory::find(&self.project, &run).and_then(|run| control::send(&run, command));
                if let Err(error) = sent {
                    send(failed(error));
                }
            }
            Effect::StartTour => send(self.start_tour()),
            Effect::CheckData(name) => {
                if let Some(found) = self.check(&name, work) {
                    send(found);
                }
            }
            Effect::WriteLog(entries) => self.write_log(&entries, send),
            Effect::ReadLog { path } => send(self.read_log(path)),
            Effect::LoadTheme { name, colours } => match Theme::load(&self.project, &name, colours) {
                Ok(theme) => send(Message::Theme(Box::new(theme))),
                Err(error) => send(failed(error)),
            },
            Effect::SaveScreen { extension, text } => match self.save_screen(extension, &text) {
                Ok(path) => send(Message::Say(Notice::info(format!("written: {}", path.display())))),
                Err(error) => send(failed(error)),
            },
            // The loop itself does these, or the lanes.
            Effect::OpenEditor { .. }
            | Effect::Copy(_)
            | Effect::Notify(_)
            | Effect::Suit
            | Effect::Redraw
            | Effect::Suspend
            | Effect::CancelJob(_)
            | Effect::Quit => {}
        }
    }

    /// An open data set; the second time it is free.
    fn dataset(&self, name: &str) -> anyhow::Result<Dataset> {
        let mut datasets = self.datasets.lock().unwrap_or_else(|poison| poison.into_inner());
        if let Some(dataset) = datasets.get(name) {
            return Ok(dataset.clone());
        }
        let dataset = self.catalog.open(name)?;
        datasets.insert(name.into(), dataset.clone());
        Ok(dataset)
    }

    fn open(&self, name: &str) -> anyhow::Result<Opened> {
        // Opened anew, so that what was imported or edited elsewhere is seen.
        self.datasets.lock().unwrap_or_else(|poison| poison.into_inner()).remove(name);
        self.readings.lock().unwrap_or_else(|poison| poison.into_inner()).retain(|key, _| key.0 != name);
        self.questions.lock().unwrap_or_else(|poison| poison.into_inner()).remove(name);
        let dataset = self.dataset(name)?;
        let sources = dataset.source_names();
        Ok(Opened {
            only_source: if let [only] = &sources[..] {
                lacks_rationales(&dataset)?.then(|| only.clone())
            } else {
                None
            },
            name: name.into(),
            splits: dataset.split_names().map(str::to_owned).collect(),
            sources,
            description: dataset.meta.description.clone().unwrap_or_default(),
            subject: dataset.meta.subject.clone(),
        })
    }

    fn reading(&self, spec: &RunSpec, dataset: &Dataset) -> anyhow::Result<Reading> {
        let key = (spec.dataset.clone(), spec.rationale.source.clone(), spec.student.clone());
        let mut readings = self.readings.lock().unwrap_or_else(|poison| poison.into_inner());
        if let Some(reading) = readings.get(&key) {
            return Ok(reading.clone());
        }
        let reading = Reading::of(&self.project, spec, dataset)?;
        readings.insert(key, reading.clone());
        Ok(reading)
    }

    fn preview(&self, spec: &RunSpec, split: &str, place: usize, example: &Example) -> anyhow::Result<Shown> {
        let dataset = self.dataset(&spec.dataset)?;
        let opened = dataset.split(split)?;
        let reading = self.reading(spec, &dataset)?;
        let shown = preview(&self.project, spec, &reading, &opened, place, example, &mut |_, _| {})?;
        let key = EditKey { split: split.into(), id: example.id.clone(), source: spec.rationale.source.clone() };
        let edits = dataset.edits().depth(&key);
        Ok(Shown { rendered: shown.rendered, caveat: shown.caveat, edits })
    }

    fn predictions(&self, run: String, dataset: &str, split: &str) -> Message {
        let path = self.project.join("runs").join(&run).join("predictions.jsonl");
        let all = evaluation::read_predictions(&path).unwrap_or_default();
        let own = all.into_iter().filter(|prediction| prediction.dataset == dataset && prediction.split == split);
        let own: Vec<_> = own.collect();
        let written = self.written(&run, dataset, &own).unwrap_or_default();
        let predicted = own.into_iter().map(|prediction| {
            let right = prediction.is_correct();
            (prediction.id, prediction.predicted, right)
        });
        Message::Predictions { run, predicted: predicted.collect(), written }
    }

    /// The rationales that a student wrote before it answered: what stands before the last announcement of a label.
    fn written(
        &self,
        run: &str,
        dataset: &str,
        predictions: &[evaluation::Prediction],
    ) -> anyhow::Result<Vec<(String, String)>> {
        let spec = RunDirectory::exactly(&self.project, run)?.spec()?;
        if spec.rationale.placement != Placement::Pre || spec.evaluation.rationale != evaluation::Given::Own {
            return Ok(vec![]);
        }
        let lead = self.dataset(dataset)?.meta.template.answer.trim().to_owned();
        let rationale = |text: &str| {
            let before = if lead.is_empty() { None } else { text.rsplit_once(&lead).map(|(before, _)| before) };
            before.unwrap_or(text).trim().to_owned()
        };
        Ok(predictions.iter().map(|own| (own.id.clone(), rationale(&own.text))).collect())
    }

    fn edit(
        &self,
        target: EditTarget,
        send: Send,
        change: impl FnOnce(&mut crate::corpus::edits::Edits, EditKey) -> Result<bool, files::FileError>,
    ) {
        let key = EditKey { split: target.split, id: target.id.clone(), source: target.source };
        let result = self.dataset(&target.dataset).and_then(|dataset| {
            let changed = dataset.change(|edits| change(edits, key.clone()))?;
            let edits = dataset.edits();
            Ok((changed, edits.depth(&key), edits.touched()))
        });
        match result {
            Ok((true, edits, questions)) => {
                send(Message::Edited { target: target.id, result: Ok(edits) });
                if questions > 1 {
                    send(Message::Browsed(Reply::Together { questions }));
                }
            }
            Ok((false, ..)) => send(Message::Say(Notice::info("there is nothing to undo or redo here"))),
            Err(error) => send(Message::Edited { target: target.id, result: Err(error.to_string()) }),
        }
    }

    fn save_run_file(&self, path: &Path, spec: &RunSpec) -> Message {
        let path = self.project.join(path);
        if path.exists() {
            return fail(format!("{} is there already; choose another name", path.display()));
        }
        let text = format!("# afterthought train {}\n{}", path.display(), spec.to_yaml());
        match files::replace(&path, |out| out.write_all(text.as_bytes())) {
            Ok(()) => Message::Say(Notice::info(format!("written: {}", path.display()))),
            Err(error) => failed(error),
        }
    }

    fn start_run(&self, spec: RunSpec) -> Message {
        let name = spec.rationale.to_string();
        // A mistake is told before it becomes a failed run.
        let started = prepare::check(&self.project, &spec)
            .and_then(|()| RunDirectory::create(&self.project, spec, &name))
            .and_then(|run| spawn::worker(&self.project, &run).map(|()| run));
        match started {
            Ok(run) => Message::Started { ids: vec![run.id().to_owned()], what: format!("{} is under way", run.id()) },
            Err(error) => failed(error),
        }
    }

    fn start_tour(&self) -> Message {
        let seed = tour::next_seed(&self.project);
        let started = tour::specs(&[seed], false).and_then(|specs| Ok(tour::start(&self.project, specs)?));
        match started {
            Ok(runs) => Message::Started {
                what: format!(
                    "the tour is under way: {} conditions, seed {seed}; each row says what it shows",
                    runs.len()
                ),
                ids: runs.iter().map(|run| run.id().to_owned()).collect(),
            },
            Err(error) => failed(error),
        }
    }

    /// What is wrong with a data set; `None` when nobody waits for it any more.
    fn check(&self, name: &str, work: &Work) -> Option<Message> {
        let found = self.dataset(name).and_then(|dataset| {
            let rows = dataset.split_names().filter_map(|split| Some(dataset.split(split).ok()?.count().rows)).sum();
            Ok(validate::validate(&dataset, &mut |read| {
                work.reached(read as usize, Some(rows));
                if work.is_unwanted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?)
        });
        let message = match found {
            Err(error) => failed(error),
            Ok(None) => return None,
            Ok(Some(report)) => {
                let mut lines = Vec::new();
                for (split, counts) in &report.splits {
                    lines.push(format!("{split}: {} examples, {} rationales", counts.examples, counts.rationales));
                }
                lines.push(String::new());
                for (kind, count) in &report.counts {
                    lines.push(format!("{count} {}", kind.title()));
                    let own = report.problems.iter().filter(|problem| problem.kind == *kind);
                    lines.extend(own.take(SHOWN_PROBLEMS).map(|problem| {
                        let id = problem.id.as_deref().unwrap_or("");
                        format!("   {}:{} {id} {}", problem.file.display(), problem.line, problem.problem)
                    }));
                    if *count > SHOWN_PROBLEMS {
                        lines.push(format!(
                            "   … and {} more: afterthought data validate {name} --all",
                            count - SHOWN_PROBLEMS
                        ));
                    }
                }
                if report.counts.is_empty() {
                    lines.push("nothing wrong was found".into());
                }
                Message::Page { title: format!("check of {name}"), lines }
            }
        };
        Some(message)
    }
}

/// Whether the first questions of a data set have no rationale of their own.
fn lacks_rationales(dataset: &Dataset) -> anyhow::Result<bool> {
    let Some(first) = dataset.split_names().next() else { return Ok(false) };
    let page = dataset.split(first)?.page(0, 64, DEFAULT_SOURCE)?;
    Ok(page.iter().all(|row| row.example.as_ref().is_ok_and(|example| !example.has_rationale())))
}

fn fail(error: impl std::fmt::Display) -> Message {
    Message::Say(Notice::error(error.to_string()))
}

/// An error with what it comes from.
fn failed(error: impl Into<anyhow::Error>) -> Message {
    Message::Say(Notice::of(&error.into()))
}
