//! Attributions of a whole split, stored with the run that made them.
//!
//! One file for each question that can be asked of a split. Its first line says what the scores were made from; then one line
//! an example, with its scores alone: the tokens are rendered again. Lines are appended to a file of another name until the
//! last is there, so that work that was ended goes on where it was.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::RunError;
use super::directory::RunDirectory;
use super::scorer::TrainedRun;
use super::split::LoadedSplit;
use crate::attribution::method::{Integral, MOST_STEPS, Scores};
use crate::attribution::{Asked, AttributionError, Attributor, ExampleAttribution, Method, Over, TOGETHER, Target};
use crate::corpus::{Dataset, Example};
use crate::files::{self, FileError};

/// The first line of a file: what the scores were made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    checkpoint: String,
    /// The hash of the split's rows.
    rows: String,
    source: String,
    target: Target,
    over: Over,
    #[serde(flatten)]
    method: Method,
    /// Of integrated gradients: steps up to which they were refined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    most_steps: Option<usize>,
}

/// An example's line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub id: String,
    /// For each token that was scored, to five digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<f32>,
    /// What was attributed, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    target: String,
    #[serde(default)]
    value: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    integral: Option<Sum>,
    /// Why there are no scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Sum {
    steps: usize,
    from: f64,
    delta: f64,
    good: bool,
}

impl Line {
    fn of(found: &ExampleAttribution) -> Self {
        let integral = found.steps.zip(found.convergence_delta).zip(found.log_p_baseline);
        let scores = found.tokens.iter().filter_map(|token| token.score);
        Self {
            id: found.id.clone(),
            scores: scores.map(short).collect(),
            target: found.target.clone(),
            value: found.log_p,
            integral: integral.map(|((steps, delta), from)| Sum {
                steps,
                from,
                delta,
                good: found.converged.unwrap_or(true),
            }),
            left_out: None,
        }
    }

    fn left_out(id: &str, reason: &AttributionError) -> Self {
        Self { id: id.to_owned(), left_out: Some(reason.to_string()), ..Self::default() }
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    fn scores(&self) -> Scores {
        let integral = self.integral.map(|sum| Integral {
            steps: sum.steps,
            value_at_start: sum.from,
            delta: sum.delta,
            is_good: sum.good,
        });
        Scores { scores: self.scores.clone(), value: self.value, integral }
    }
}

/// Five digits are more than a score is worth, and take half the room of nine.
fn short(score: f32) -> f32 {
    format!("{score:.4e}").parse().unwrap_or(score)
}

/// A question about a split.
pub struct Question<'a> {
    pub trained: &'a TrainedRun,
    pub dataset: &'a Dataset,
    pub split: &'a LoadedSplit,
    /// Whose rationales are read.
    pub source: &'a str,
    pub asked: &'a Asked,
    /// Bytes that are free where the student computes.
    pub free: Option<u64>,
}

/// Does something that writes to the disk, again where it was full and the caller can wait.
pub type Write<'a> = &'a mut dyn FnMut(&mut dyn FnMut() -> Result<(), FileError>) -> Result<(), RunError>;

/// Writes once.
pub fn once(write: &mut dyn FnMut() -> Result<(), FileError>) -> Result<(), RunError> {
    write().map_err(RunError::from)
}

impl Question<'_> {
    /// The file of this question's answers.
    pub fn path(&self) -> PathBuf {
        let Self { dataset, split, source, asked, .. } = self;
        path(&self.trained.run, &[dataset.name(), &split.name, source], asked)
    }

    fn header(&self) -> Header {
        header(&self.trained.checkpoint, self.split, self.source, self.asked)
    }

    /// The scores of all examples: found, or computed and stored. `progress` is told of each with its place, and can stop the
    /// work; `None` then.
    pub fn answer(
        &self,
        write: Write,
        progress: &mut dyn FnMut(usize, &Line) -> ControlFlow<()>,
    ) -> Result<Option<Vec<Line>>, RunError> {
        let (path, header) = (self.path(), self.header());
        let found = || read(&path, &header).filter(|lines| is_whole(lines, self.split));
        // Whoever asks the same at the same time waits, and then finds the answer.
        let mut lock = None;
        let stored = match found() {
            Some(lines) => Some(lines),
            None => {
                lock = Some(hold(&path)?);
                found()
            }
        };
        if let Some(lines) = stored {
            return Ok(lines
                .iter()
                .enumerate()
                .all(|(place, line)| progress(place, line).is_continue())
                .then_some(lines));
        }
        let part = path.with_extension("jsonl.part");
        let mut lines = read(&part, &header).unwrap_or_default();
        if !fits(&lines, self.split) {
            lines.clear();
        }
        // Examples that are scored together are so again, and get the very same numbers.
        lines.truncate(lines.len() / TOGETHER * TOGETHER);
        // Written anew as it was, so that a line that a crash cut short is gone.
        let kept: String = std::fs::read_to_string(&part)
            .map(|text| text.split_inclusive('\n').skip(1).take(lines.len()).collect())
            .unwrap_or_default();
        write(&mut || {
            path.parent().map_or(Ok(()), files::create_dir)?;
            files::replace(&part, |out| {
                serde_json::to_writer(&mut *out, &header)?;
                out.write_all(b"\n")?;
                out.write_all(kept.as_bytes())
            })
        })?;
        for (place, line) in lines.iter().enumerate() {
            if progress(place, line).is_break() {
                return Ok(None);
            }
        }
        let done = lines.len();
        let renderer = self.trained.reading(self.source);
        let attributor = self.trained.attributor(&renderer, self.asked, self.free);
        let mut trouble = None;
        let mut pending = String::new();
        attributor.all(&self.split.examples[done..], &mut |place, found| {
            let example = &self.split.examples[done + place];
            let line = match found {
                Ok(found) => Line::of(&found),
                Err(error) if error.is_about_the_example() => Line::left_out(&example.id, &error),
                Err(error) => {
                    trouble = Some(error.into());
                    return ControlFlow::Break(());
                }
            };
            pending.push_str(&line.text());
            let step = progress(done + place, &line);
            lines.push(line);
            let is_last = lines.len() == self.split.examples.len();
            if place % TOGETHER == TOGETHER - 1 || is_last || step.is_break() {
                if let Err(error) = write(&mut || files::append_lines(&part, &pending)) {
                    trouble = Some(error);
                    return ControlFlow::Break(());
                }
                pending.clear();
            }
            step
        });
        if let Some(error) = trouble {
            return Err(error);
        }
        if lines.len() < self.split.examples.len() {
            return Ok(None);
        }
        write(&mut || std::fs::rename(&part, &path).map_err(FileError::on("write", &path)))?;
        // Who still waits has it open, and finds the answers.
        let _ = std::fs::remove_file(path.with_extension("lock"));
        drop(lock);
        Ok(Some(lines))
    }

    /// What a line says of its example, with its tokens. `None` where the example was left out.
    pub fn tell(&self, example: &Example, line: &Line) -> Result<Option<ExampleAttribution>, RunError> {
        if line.left_out.is_some() {
            return Ok(None);
        }
        let renderer = self.trained.reading(self.source);
        let attributor = self.trained.attributor(&renderer, self.asked, self.free);
        Ok(Some(attributor.retold(example, line.scores(), &line.target)?))
    }
}

impl TrainedRun {
    /// Asks this student. `free` are the bytes that are free where it computes.
    pub fn attributor<'a>(
        &'a self,
        renderer: &'a crate::rationale::Renderer,
        asked: &'a Asked,
        free: Option<u64>,
    ) -> Attributor<'a> {
        let room = crate::attribution::Room::new(&self.decoder, free);
        Attributor { decoder: &self.decoder, renderer, placement: self.spec.rationale.placement, asked, room }
    }
}

/// The file of a question: the names of data set, split and source, and what was asked.
fn path(run: &RunDirectory, names: &[&str], asked: &Asked) -> PathBuf {
    let Asked { method, target, over, .. } = asked;
    let mut parts: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    // A choice's label is a text from the data; a file's name is not the place for it.
    parts.push(target.name().replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "-"));
    parts.extend([over.name().to_owned(), method.id().to_owned()]);
    parts.extend(method.baseline().map(|baseline| baseline.name().to_owned()));
    match method {
        Method::Occlusion { unit, .. } | Method::LeaveOneOut { unit } => parts.push(unit.name().to_owned()),
        Method::Attention { layer, head } => {
            let place = |name: &str, place: &Option<usize>| place.map(|place| format!("{name}-{place}"));
            parts.extend([place("layer", layer), place("head", head)].into_iter().flatten());
        }
        Method::IntegratedGradients { steps, .. } => {
            parts.push(format!("{steps}-steps"));
            parts.extend((asked.most_steps != MOST_STEPS).then(|| format!("to-{}", asked.most_steps)));
        }
        Method::GradientTimesInput | Method::GradientNorm => {}
    }
    run.attributions().join(parts.join(".") + ".jsonl")
}

fn header(checkpoint: &Path, split: &LoadedSplit, source: &str, asked: &Asked) -> Header {
    let checkpoint = checkpoint.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Header {
        checkpoint: checkpoint.into(),
        rows: split.rows_hash(),
        source: source.into(),
        target: asked.target.clone(),
        over: asked.over,
        method: asked.method.clone(),
        most_steps: matches!(asked.method, Method::IntegratedGradients { .. }).then_some(asked.most_steps),
    }
}

/// Stored answers of a run to a question, whole; `None` where there are none from this checkpoint and these rows.
pub fn stored(
    run: &RunDirectory,
    checkpoint: &Path,
    dataset: &Dataset,
    split: &LoadedSplit,
    source: &str,
    asked: &Asked,
) -> Option<Vec<Line>> {
    let path = path(run, &[dataset.name(), &split.name, source], asked);
    let lines = read(&path, &header(checkpoint, split, source, asked))?;
    is_whole(&lines, split).then_some(lines)
}

/// Held by whoever computes the answers of a file.
fn hold(path: &Path) -> Result<std::fs::File, RunError> {
    path.parent().map_or(Ok(()), files::create_dir)?;
    let path = path.with_extension("lock");
    let open = || {
        let file = std::fs::File::create(&path)?;
        file.lock()?;
        Ok(file)
    };
    open().map_err(|error| FileError::on("lock", &path)(error).into())
}

/// Whether lines are those of the first examples of a split.
fn fits(lines: &[Line], split: &LoadedSplit) -> bool {
    lines.len() <= split.examples.len()
        && lines.iter().zip(&split.examples).all(|(line, example)| line.id == example.id)
}

fn is_whole(lines: &[Line], split: &LoadedSplit) -> bool {
    lines.len() == split.examples.len() && fits(lines, split)
}

/// The lines of a file, if it was made from the same checkpoint and rows. A line that was cut short ends them.
fn read(path: &Path, wanted: &Header) -> Option<Vec<Line>> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text.split_inclusive('\n');
    let header: Header = serde_json::from_str(lines.next()?).ok()?;
    if header != *wanted {
        return None;
    }
    let whole = lines.map_while(|line| serde_json::from_str(line.strip_suffix('\n')?).ok());
    Some(whole.collect())
}
