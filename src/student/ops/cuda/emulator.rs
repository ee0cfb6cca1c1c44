//! The kernels on this processor, for tests: compiled by the machine's C++ compiler against `tests/cuda_on_cpu/shim.h`.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use candle_core::{Result, bail};

use super::launch::{THREADS, Value};

/// The loaded library, or why there is none.
static LIBRARY: OnceLock<std::result::Result<usize, String>> = OnceLock::new();

thread_local! {
    static IN_USE: Cell<bool> = const { Cell::new(false) };
}

/// Whether tensors on the CPU go through the kernels on this thread.
pub fn in_use() -> bool {
    IN_USE.get()
}

/// Runs a test with the kernels in use. Without a compiler it says so and runs nothing.
pub fn with_kernels(test: impl FnOnce()) {
    if let Err(reason) = library() {
        eprintln!("skipped: {reason}");
        return;
    }
    IN_USE.set(true);
    test();
    IN_USE.set(false);
}

fn library() -> std::result::Result<usize, String> {
    LIBRARY.get_or_init(compile).clone()
}

fn compile() -> std::result::Result<usize, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (source, object) = (folder.path().join("kernels.cpp"), folder.path().join("kernels.so"));
    let include = |path: &str| format!("#include \"{}\"\n", root.join(path).display());
    let text = include("tests/cuda_on_cpu/shim.h") + &include("src/student/ops/cuda/kernels.cu");
    std::fs::write(&source, text).map_err(|error| error.to_string())?;
    // Fortified, the jump from one fiber to another would be taken for an error.
    let flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-U_FORTIFY_SOURCE", "-o"];
    let output = Command::new("c++").args(flags).arg(&object).arg(&source).output();
    let output = output.map_err(|error| format!("no C++ compiler (c++) could be started: {error}"))?;
    assert!(output.status.success(), "the kernels don't compile: {}", String::from_utf8_lossy(&output.stderr));
    let path = CString::new(object.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: the path ends with a zero, and the library's only initialisers set numbers.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "the compiled kernels can't be loaded");
    Ok(library.expose_provenance())
}

/// Runs a launch to its end.
pub fn start(kernel: &str, grid: (u32, u32), values: &[Value]) -> Result<()> {
    let library = library().map_err(candle_core::Error::Msg)?;
    let name = CString::new(format!("emulate_{kernel}")).map_err(candle_core::Error::wrap)?;
    // SAFETY: the handle is that of a library which is never closed.
    let symbol = unsafe { libc::dlsym(std::ptr::with_exposed_provenance_mut(library), name.as_ptr()) };
    if symbol.is_null() {
        bail!("there is no kernel {kernel}")
    }
    type Emulate = extern "C" fn(*mut *mut c_void, *const c_char, *const c_uint, c_uint) -> c_int;
    // SAFETY: every symbol of this form has this type (`shim.h`).
    let emulate: Emulate = unsafe { std::mem::transmute(symbol) };
    let mut pointers: Vec<*mut c_void> = values.iter().map(Value::pointer).collect();
    let grid = [grid.0, grid.1];
    let kinds: String = values.iter().map(Value::kind).collect();
    let ended = CString::new(kinds.as_str()).map_err(candle_core::Error::wrap)?;
    match emulate(pointers.as_mut_ptr(), ended.as_ptr(), grid.as_ptr(), THREADS) {
        0 => Ok(()),
        _ => bail!("{kernel} takes other arguments than {kinds}"),
    }
}
