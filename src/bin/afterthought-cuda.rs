//! The program with CUDA, which NVIDIA's libraries are needed to start. `afterthought` beside it looks for them first.

fn main() -> std::process::ExitCode {
    afterthought::commands::main()
}
