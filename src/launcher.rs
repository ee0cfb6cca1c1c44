//! Finds the libraries that the CUDA program is linked to, and becomes it. Uses nothing of the library crate, which would
//! bring those libraries with it.

#[cfg(feature = "cuda")]
use std::ffi::CString;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The program that is linked to NVIDIA's libraries, beside this one.
#[cfg(feature = "cuda")]
const PROGRAM: &str = "afterthought-cuda";
/// The beginnings of these libraries' names; all others belong to every system.
const NVIDIA: [&str; 6] = ["libcuda.", "libcudart.", "libcublas.", "libcublasLt.", "libcurand.", "libnvrtc."];

/// Exit code of what can't be started, as of a command line that makes no sense.
#[cfg(feature = "cuda")]
const UNUSABLE: u8 = 2;

#[cfg(feature = "cuda")]
pub fn main() -> std::process::ExitCode {
    use std::os::unix::process::CommandExt;

    let problem = match prepare() {
        Ok((program, folders)) => {
            let mut command = std::process::Command::new(&program);
            command.args(std::env::args_os().skip(1)).arg0("afterthought");
            if !folders.is_empty() {
                command.env(SEARCHED, search_path(&folders, std::env::var_os(SEARCHED)));
            }
            format!("{} can't be started: {}", program.display(), command.exec())
        }
        Err(problem) => problem,
    };
    eprintln!("error: {problem}");
    std::process::ExitCode::from(UNUSABLE)
}

/// Where the system's loader looks first.
#[cfg(feature = "cuda")]
const SEARCHED: &str = "LD_LIBRARY_PATH";

/// The program, and folders that it needs to find its libraries.
#[cfg(feature = "cuda")]
fn prepare() -> Result<(PathBuf, Vec<PathBuf>), String> {
    let own = std::env::current_exe().map_err(|error| format!("this program can't find itself: {error}"))?;
    let program = own.with_file_name(PROGRAM);
    let file = std::fs::read(&program)
        .map_err(|error| format!("{}: {error} · keep it beside {}", program.display(), own.display()))?;
    let needed = needed(&file).ok_or_else(|| format!("{} is no program for this system", program.display()))?;
    let prefixes = python_prefixes(|name| std::env::var_os(name));
    Ok((program, folders_for(&needed, &python_folders(&prefixes), loads)?))
}

/// Whether the system's loader finds a library.
#[cfg(feature = "cuda")]
fn loads(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: the name ends with a zero; NVIDIA's libraries do nothing but set themselves up when they are loaded.
    !unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) }.is_null()
}

/// The folders in which the libraries lie that are not found otherwise, or what is missing.
fn folders_for(needed: &[String], folders: &[PathBuf], loads: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, String> {
    let mut found: Vec<PathBuf> = Vec::new();
    for name in needed.iter().filter(|name| NVIDIA.iter().any(|beginning| name.starts_with(beginning))) {
        if found.iter().any(|folder| folder.join(name).exists()) || loads(name) {
            continue;
        }
        match folders.iter().find(|folder| folder.join(name).exists()) {
            Some(folder) => found.push(folder.clone()),
            None => return Err(missing(name)),
        }
    }
    Ok(found)
}

/// What to say of a library that is nowhere.
fn missing(name: &str) -> String {
    let elsewhere = "built without `--features cuda` the program runs on every CPU";
    if name.starts_with("libcuda.") {
        return format!(
            "this program is for NVIDIA GPUs, and {name} is not here · install NVIDIA's driver; {elsewhere}"
        );
    }
    let version = name.rsplit('.').next().unwrap_or_default();
    format!(
        "{name} is not here · it comes with NVIDIA's CUDA toolkit, and with PyTorch for CUDA (activate its environment, \
         or put the folder that has the library, of version {version}, on LD_LIBRARY_PATH); {elsewhere}"
    )
}

/// `folders` before what is searched already.
fn search_path(folders: &[PathBuf], searched: Option<OsString>) -> OsString {
    let mut path = OsString::new();
    let searched = searched.filter(|searched| !searched.is_empty());
    for folder in folders.iter().map(|folder| folder.clone().into_os_string()).chain(searched) {
        if !path.is_empty() {
            path.push(":");
        }
        path.push(folder);
    }
    path
}

/// Where Python's packages may be installed: the active environment, and where the `python3` on the path belongs.
fn python_prefixes(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(&variable).map(PathBuf::from);
    let path = variable("PATH").unwrap_or_default();
    let python = std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|python| python.exists());
    // An environment's Python is a link to another one, and either may have the packages.
    let real = python.as_deref().and_then(|python| python.canonicalize().ok());
    let prefix = |python: PathBuf| Some(python.parent()?.parent()?.to_owned());
    active.chain([python, real].into_iter().flatten().filter_map(prefix)).collect()
}

/// The folders in which PyTorch's packages keep NVIDIA's libraries, below these prefixes.
fn python_folders(prefixes: &[PathBuf]) -> Vec<PathBuf> {
    let inside = |folder: PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        found.sort();
        found
    };
    let is_python = |path: &Path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"python3"));
    let versions = prefixes.iter().flat_map(|prefix| inside(prefix.join("lib"))).filter(|path| is_python(path));
    let packages = versions.flat_map(|version| ["site-packages", "dist-packages"].map(|name| version.join(name)));
    let own = packages.flat_map(|packages| inside(packages.join("nvidia")));
    own.map(|package| package.join("lib")).filter(|folder| folder.is_dir()).collect()
}

/// The names of the libraries that a program asks the loader for (64-bit ELF of this machine's byte order).
fn needed(file: &[u8]) -> Option<Vec<String>> {
    let number = |at: usize, bytes: usize| {
        let mut value = [0; 8];
        value[..bytes].copy_from_slice(file.get(at..at.checked_add(bytes)?)?);
        usize::try_from(u64::from_le_bytes(value)).ok()
    };
    if file.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (first, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let headers: Vec<usize> = (0..count).map(|place| first + place * size).collect();
    const LOAD: usize = 1;
    const DYNAMIC: usize = 2;
    // Where in the file an address of the running program lies.
    let offset_of = |address: usize| {
        headers.iter().find_map(|header| {
            let (offset, from, length) = (number(header + 8, 8)?, number(header + 16, 8)?, number(header + 32, 8)?);
            let within = address.checked_sub(from).filter(|within| *within < length)?;
            (number(*header, 4)? == LOAD).then_some(offset + within)
        })
    };
    let dynamic = *headers.iter().find(|header| number(**header, 4) == Some(DYNAMIC))?;
    let (from, length) = (number(dynamic + 8, 8)?, number(dynamic + 32, 8)?);
    let entries = (0..length / 16).map(|place| (number(from + 16 * place, 8), number(from + 16 * place + 8, 8)));
    let entries: Vec<(usize, usize)> = entries.map_while(|(tag, value)| Some((tag?, value?))).collect();
    const NEEDED: usize = 1;
    const STRINGS: usize = 5;
    let strings = offset_of(entries.iter().find(|(tag, _)| *tag == STRINGS)?.1)?;
    let name = |(_, value): &(usize, usize)| {
        let text = file.get(strings + value..)?;
        let end = text.iter().position(|byte| *byte == 0)?;
        String::from_utf8(text[..end].to_vec()).ok()
    };
    entries.iter().take_while(|(tag, _)| *tag != 0).filter(|(tag, _)| *tag == NEEDED).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_which_libraries_it_needs() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let names = needed(&own).unwrap();
        assert!(names.iter().any(|name| name.starts_with("libc.")), "{names:?}");
        assert_eq!(needed(b"#!/bin/sh\n"), None);
        // Cut anywhere, a program is no reason to fall over.
        for length in [0, 5, 40, 64, 100, 400, 1000] {
            needed(&own[..length]);
        }
    }

    /// A Python environment with one of NVIDIA's libraries.
    fn environment() -> (tempfile::TempDir, PathBuf) {
        let prefix = tempfile::tempdir().unwrap();
        let folder = prefix.path().join("lib/python3.12/site-packages/nvidia/cu13/lib");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("libcublas.so.13"), "").unwrap();
        std::fs::create_dir_all(prefix.path().join("bin")).unwrap();
        std::fs::write(prefix.path().join("bin/python3"), "").unwrap();
        (prefix, folder)
    }

    #[test]
    fn libraries_of_the_python_on_the_path_are_found() {
        let (prefix, folder) = environment();
        let variable = |name: &str| (name == "PATH").then(|| prefix.path().join("bin").into_os_string());
        let folders = python_folders(&python_prefixes(variable));
        assert_eq!(folders[0], folder);
        let active = |name: &str| (name == "VIRTUAL_ENV").then(|| prefix.path().as_os_str().to_owned());
        assert_eq!(python_folders(&python_prefixes(active)), vec![folder.clone()]);
        let needed = ["libcuda.so.1", "libcublas.so.13", "libc.so.6"].map(str::to_owned);
        let found = folders_for(&needed, &folders, |name| name == "libcuda.so.1");
        assert_eq!(found, Ok(vec![folder]));
    }

    #[test]
    fn a_library_that_is_nowhere_is_named_with_what_brings_it() {
        let needed = ["libc.so.6", "libcublas.so.13", "libcuda.so.1"].map(str::to_owned);
        let problem = folders_for(&needed, &[], |name| name != "libcuda.so.1").unwrap_err();
        assert!(problem.contains("libcuda.so.1") && problem.contains("driver") && problem.contains("CPU"), "{problem}");
        let problem = folders_for(&needed, &[], |_| false).unwrap_err();
        assert!(problem.contains("libcublas.so.13") && problem.contains("toolkit"), "{problem}");
        // What every system has is the loader's business.
        assert_eq!(folders_for(&needed[..1], &[], |_| false), Ok(vec![]));
    }

    #[test]
    fn folders_come_before_what_is_searched_already() {
        let folders = [PathBuf::from("/a"), PathBuf::from("/b")];
        assert_eq!(search_path(&folders, Some("/c:/d".into())), "/a:/b:/c:/d");
        assert_eq!(search_path(&folders, Some("".into())), "/a:/b");
        assert_eq!(search_path(&folders[..1], None), "/a");
    }
}
