//! Runs the cells of a study that are not there yet, each as an ordinary run in a process of its own.
//!
//! The executor keeps nothing on the disk: what there is to do is what [`Known::standing`] says. Killed, it leaves workers
//! that finish by themselves; begun again, it finds them and goes on.

use std::collections::{HashSet, VecDeque};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::standing::{Known, Standing};
use super::{Cell, StudyError};
use crate::files::{self, FileError};
use crate::journal::RunState;
use crate::runs::{Run, RunDirectory, RunError, RunSpec, control, prepare, spawn, worker};

/// How cells are run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Cells at once; as many as the machine has room for when absent.
    pub workers: Option<usize>,
    /// Whether cells that failed before are tried again.
    pub retry: bool,
    /// Devices that cells are spread over, as in `cuda:0`; when empty, all GPUs for cells whose device is `auto`.
    pub devices: Vec<String>,
}

/// How a cell ended, or why it did not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ending {
    pub cell: String,
    /// The run's id, where one was made.
    pub run: Option<String>,
    /// A run's state, or `can't run`.
    pub state: &'static str,
    /// The run's last words.
    pub reason: Option<String>,
    /// Whether it was finished before.
    pub before: bool,
}

impl Ending {
    pub fn is_finished(&self) -> bool {
        self.state == RunState::Finished.name()
    }
}

/// What whoever watches is told.
pub enum Told<'a> {
    Begins {
        cell: &'a Cell,
        run: &'a str,
        resumed: bool,
    },
    /// A worker that was found at work.
    Found {
        cell: &'a Cell,
        run: &'a str,
    },
    Ended(&'a Ending),
    /// Something waits, and why.
    Waits {
        what: &'a str,
        why: &'a str,
    },
    /// Every cell that is under way was told to stop.
    Stopping {
        cells: usize,
    },
}

/// A cell under way.
struct Job<'a> {
    cell: &'a Cell,
    run: RunDirectory,
    /// Tells of the end of the process, where it was started here.
    process: Option<Receiver<()>>,
    device: Option<String>,
    /// Whether it heard that it should stop.
    told: bool,
    /// Why it waits, as last told.
    waits: Option<String>,
}

/// How often it is looked what became of the workers.
const LOOK: Duration = Duration::from_millis(150);
/// How often workers are asked how they are, and a full disk is tried again.
const ASK: Duration = Duration::from_secs(2);

/// Runs what is missing of `cells`, and gives how each ended, in the order of the cells. A cell that fails does not stop
/// the others. When `stop` is set, cells under way are stopped with a checkpoint, and the rest is not begun.
pub fn execute(
    project: &Path,
    cells: &[Cell],
    options: &Options,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Told),
) -> Result<Vec<Ending>, StudyError> {
    let mut executor = Executor {
        project,
        options,
        known: Known::read(project),
        jobs: Vec::new(),
        pending: cells.iter().collect(),
        endings: Vec::new(),
        retried: HashSet::new(),
        asked: Instant::now(),
        full: None,
        gpus: gpus(),
    };
    let mut told = false;
    while !executor.jobs.is_empty() || !(executor.pending.is_empty() || stop.load(Ordering::Relaxed)) {
        executor.collect(stop.load(Ordering::Relaxed), tell);
        if stop.load(Ordering::Relaxed) {
            if !told {
                tell(Told::Stopping { cells: executor.jobs.len() });
                told = true;
            }
            executor.stop_all();
        } else {
            executor.launch(stop, tell)?;
        }
        if !executor.jobs.is_empty() || executor.full.is_some() {
            std::thread::sleep(LOOK);
        }
    }
    let place = |ending: &Ending| cells.iter().position(|cell| cell.name == ending.cell);
    executor.endings.sort_by_key(place);
    Ok(executor.endings)
}

struct Executor<'a> {
    project: &'a Path,
    options: &'a Options,
    known: Known,
    jobs: Vec<Job<'a>>,
    pending: VecDeque<&'a Cell>,
    endings: Vec<Ending>,
    /// Runs that were begun once more; not a second time.
    retried: HashSet<String>,
    asked: Instant,
    /// When the disk was found full.
    full: Option<Instant>,
    gpus: usize,
}

impl<'a> Executor<'a> {
    /// Takes notice of workers that ended, and of those that wait.
    fn collect(&mut self, stopping: bool, tell: &mut dyn FnMut(Told)) {
        let ask = self.asked.elapsed() > ASK;
        if ask {
            self.asked = Instant::now();
        }
        for mut job in std::mem::take(&mut self.jobs) {
            if ask {
                job.ask(tell);
            }
            let Some(run) = job.ended() else {
                self.jobs.push(job);
                continue;
            };
            // A worker that somebody else started, and that died: this study's to go on with.
            let is_orphan = job.process.is_none() && !matches!(run.state, RunState::Finished | RunState::Failed);
            if is_orphan && !stopping && self.retried.insert(run.id.clone()) {
                self.pending.push_front(job.cell);
                continue;
            }
            self.end(ending(job.cell, &run, false), tell);
        }
    }

    fn end(&mut self, ending: Ending, tell: &mut dyn FnMut(Told)) {
        tell(Told::Ended(&ending));
        self.endings.push(ending);
    }

    fn stop_all(&mut self) {
        for job in &mut self.jobs {
            // A worker that has just begun does not listen yet; it is told the next time.
            job.told = job.told || control::send(&job.run, control::Command::Stop).is_ok();
        }
    }

    /// Begins cells while there is room for more.
    fn launch(&mut self, stop: &AtomicBool, tell: &mut dyn FnMut(Told)) -> Result<(), StudyError> {
        if self.full.is_some_and(|since| since.elapsed() < ASK) {
            return Ok(());
        }
        while let Some(cell) = self.pending.front().copied() {
            if self.jobs.len() >= self.room(&cell.spec) || stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            match self.begin(cell, tell) {
                Ok(()) => drop(self.pending.pop_front()),
                Err(StudyError::Run(error)) if error.full_disk().is_some() => {
                    if self.full.is_none() {
                        tell(Told::Waits {
                            what: &cell.name, why: &format!("{error} · it begins when there is room")
                        });
                    }
                    self.full = Some(Instant::now());
                    return Ok(());
                }
                Err(StudyError::Run(error)) => {
                    self.pending.pop_front();
                    let (cell, reason) = (cell.name.clone(), Some(error.to_string()));
                    self.end(Ending { cell, run: None, state: CANT, reason, before: false }, tell);
                }
                Err(error) => return Err(error),
            }
            self.full = None;
        }
        Ok(())
    }

    /// Begins a cell, unless there is a run of it. No other study of this project begins one meanwhile.
    fn begin(&mut self, cell: &'a Cell, tell: &mut dyn FnMut(Told)) -> Result<(), StudyError> {
        let _lock = lock(self.project)?;
        self.known.look();
        let (run, resumed) = match self.known.standing(cell) {
            Standing::Finished(run) => {
                self.end(ending(cell, &run, true), tell);
                return Ok(());
            }
            Standing::Impossible(problem) => {
                let (cell, reason) = (cell.name.clone(), Some(problem));
                self.end(Ending { cell, run: None, state: CANT, reason, before: false }, tell);
                return Ok(());
            }
            Standing::Active(run) => {
                tell(Told::Found { cell, run: &run.id });
                let run = RunDirectory::exactly(self.project, &run.id)?;
                let device = run.spec().ok().map(|spec| spec.device);
                self.jobs.push(Job { cell, run, process: None, device, told: false, waits: None });
                return Ok(());
            }
            Standing::Failed(run) if !self.options.retry || !self.retried.insert(run.id.clone()) => {
                self.end(ending(cell, &run, true), tell);
                return Ok(());
            }
            Standing::Unfinished(run) | Standing::Failed(run) => (RunDirectory::exactly(self.project, &run.id)?, true),
            Standing::Missing => {
                prepare::check(self.project, &cell.spec)?;
                let mut spec = cell.spec.clone();
                spec.device = self.place(&spec).unwrap_or(spec.device);
                (RunDirectory::create(self.project, spec, &cell.title())?, false)
            }
        };
        let mut spec = run.spec()?;
        if resumed && let Some(device) = self.place(&spec) {
            spec.device = device;
            run.write_spec(&spec).map_err(RunError::from)?;
        }
        let process = Some(spawn::watched(self.project, &run)?);
        tell(Told::Begins { cell, run: run.id(), resumed });
        self.jobs.push(Job { cell, run, process, device: Some(spec.device), told: false, waits: None });
        Ok(())
    }

    /// Cells at once.
    fn room(&self, next: &RunSpec) -> usize {
        let devices = self.devices(&next.device);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let fits = || if devices.is_empty() { (cores / worker::threads(next)).max(1) } else { devices.len() };
        self.options.workers.unwrap_or_else(fits)
    }

    /// The devices among which a cell is placed; none where its own setting decides.
    fn devices(&self, wanted: &str) -> Vec<String> {
        match (&self.options.devices[..], wanted) {
            ([], "auto") => (0..self.gpus).map(|number| format!("cuda:{number}")).collect(),
            ([], _) => vec![],
            (listed, _) => listed.to_vec(),
        }
    }

    /// The device that a cell goes to: of those that may be used, the one with the fewest cells.
    fn place(&self, spec: &RunSpec) -> Option<String> {
        let busy: Vec<&str> = self.jobs.iter().filter_map(|job| job.device.as_deref()).collect();
        least_busy(&self.devices(&spec.device), &busy)
    }
}

/// The state of a cell that no run could be made of.
const CANT: &str = "can't run";

fn least_busy(devices: &[String], busy: &[&str]) -> Option<String> {
    devices.iter().min_by_key(|device| busy.iter().filter(|other| *other == device).count()).cloned()
}

/// GPUs that this program can compute on.
fn gpus() -> usize {
    #[cfg(feature = "cuda")]
    {
        use candle_core::cuda_backend::cudarc::driver::CudaContext;
        return CudaContext::device_count().map_or(0, |count| usize::try_from(count).unwrap_or(0));
    }
    #[cfg(not(feature = "cuda"))]
    0
}

impl Job<'_> {
    /// What became of the run, if its worker ended.
    fn ended(&self) -> Option<Run> {
        let is_over = match &self.process {
            Some(process) => !matches!(process.try_recv(), Err(TryRecvError::Empty)),
            None => !self.run.is_locked(),
        };
        if !is_over {
            return None;
        }
        let mut run = self.run.read().ok()?;
        if self.process.is_none() {
            // A worker that was just started has not locked its run yet.
            return Some(run).filter(|run| !run.state.is_active());
        }
        if run.state.is_active() {
            // Its process is gone, whatever its journal says.
            run.state = RunState::Interrupted;
        }
        Some(run)
    }

    /// Tells, once, why a worker waits.
    fn ask(&mut self, tell: &mut dyn FnMut(Told)) {
        let reason = control::status(&self.run).and_then(|status| status.reason);
        if reason != self.waits {
            if let Some(why) = &reason {
                tell(Told::Waits { what: &self.cell.name, why });
            }
            self.waits = reason;
        }
    }
}

fn ending(cell: &Cell, run: &Run, before: bool) -> Ending {
    let is_finished = run.state == RunState::Finished;
    Ending {
        cell: cell.name.clone(),
        run: Some(run.id.clone()),
        state: run.state.name(),
        reason: run.history.reason.clone().filter(|_| !is_finished),
        before,
    }
}

/// Whatever looks for a run and then makes it holds this: two studies at once must not make the same one twice.
fn lock(project: &Path) -> Result<File, StudyError> {
    let folder = project.join("runs");
    files::create_dir(&folder).map_err(RunError::from)?;
    let path = folder.join(".studies.lock");
    let options = File::options().create(true).truncate(false).write(true).open(&path);
    let file = options.map_err(FileError::on("write", &path)).map_err(RunError::from)?;
    for _ in 0..600 {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(100)),
            Err(TryLockError::Error(error)) => return Err(FileError::on("lock", &path)(error).into()),
        }
    }
    Err(StudyError::Busy { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_go_where_the_fewest_are() {
        let devices: Vec<String> = (0..3).map(|number| format!("cuda:{number}")).collect();
        assert_eq!(least_busy(&devices, &[]), Some("cuda:0".into()));
        assert_eq!(least_busy(&devices, &["cuda:0", "cuda:1", "cpu"]), Some("cuda:2".into()));
        assert_eq!(least_busy(&devices, &["cuda:0", "cuda:1", "cuda:2", "cuda:0"]), Some("cuda:1".into()));
        assert_eq!(least_busy(&[], &["cuda:0"]), None);
    }
}
