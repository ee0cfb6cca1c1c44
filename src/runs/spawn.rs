//! Workers as processes of their own.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::mpsc::Receiver;

use super::RunError;
use super::directory::RunDirectory;
use crate::files;

/// Starts a worker for a run as a process of its own, in a session of its own, so that it outlives the program and the
/// terminal that started it.
pub fn worker(project: &Path, run: &RunDirectory) -> Result<(), RunError> {
    watched(project, run).map(drop)
}

/// Like [`worker`]; what is received is the end of the process.
pub fn watched(project: &Path, run: &RunDirectory) -> Result<Receiver<()>, RunError> {
    let program = std::env::current_exe().map_err(files::FileError::on("find", Path::new("this program")))?;
    let path = run.log();
    let log = File::options().create(true).append(true).open(&path).map_err(files::FileError::on("write", &path))?;
    let errors = log.try_clone().map_err(files::FileError::on("write", &path))?;
    let mut command = std::process::Command::new(&program);
    command.arg("-C").arg(project).args(["worker", run.id()]);
    command.stdin(std::process::Stdio::null()).stdout(log).stderr(errors);
    // SAFETY: setsid is safe to call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
    let mut child = command.spawn().map_err(files::FileError::on("start", &program))?;
    // Reaped when it ends, if this program still runs then; else by init.
    let (ended, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = child.wait();
        // Most who start a worker don't wait for it.
        let _ = ended.send(());
    });
    Ok(receiver)
}
