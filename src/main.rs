//! The program: reads the command line and hands it to [`afterthought::commands`].

fn main() -> std::process::ExitCode {
    afterthought::commands::main()
}
