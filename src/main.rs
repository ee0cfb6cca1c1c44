//! The program: reads the command line and hands it to [`afterthought::commands`].
//!
//! Built with CUDA it must start, and say what is missing, where NVIDIA's libraries are not. The system's loader would
//! stop a program that is linked to them before its first line, so this one is not: it looks for them and becomes
//! `afterthought-cuda`, which is.

#[cfg(any(feature = "cuda", test))]
mod launcher;

#[cfg(not(feature = "cuda"))]
fn main() -> std::process::ExitCode {
    afterthought::commands::main()
}

#[cfg(feature = "cuda")]
fn main() -> std::process::ExitCode {
    launcher::main()
}
