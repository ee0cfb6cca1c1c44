//! `afterthought doctor`: what this machine and this terminal can do, and what is wrong here.

mod checks;
mod project;
mod terminal;

use std::io::IsTerminal;

use serde_json::{Value, json};

use super::output::{Context, print};
use crate::runs::prepare;
use crate::student::ops::cuda;
use checks::{Check, Standing};
use terminal::Environment;

pub const EXAMPLES: &str = "\
Says of each thing how it stands: ✓ good, ! could be better, ✗ broken, and what to do about it. Ends with 1 where
something is broken. No terminal is asked anything: what is told of it is read off the environment.

Examples:
  afterthought doctor
  afterthought doctor --json | jq .devices
  afterthought doctor --json | jq '.checks[] | select(.state != \"good\")'";

/// What is shown of the machine beside the checks; the rest is told by them.
const FACTS: [&str; 5] = ["version", "features", "processor", "cores", "project"];

pub fn run(context: &Context) -> anyhow::Result<()> {
    let mut found = examine(context);
    let checks = checks(context, &found);
    if context.json {
        found["checks"] = serde_json::to_value(&checks)?;
        context.print_json(&found)?;
    } else {
        print(&shown(&found, &checks))?;
    }
    let broken: Vec<&str> =
        checks.iter().filter(|check| check.state == Standing::Broken).map(|check| check.name).collect();
    if !broken.is_empty() {
        anyhow::bail!("broken: {} · what to do stands after each arrow", broken.join(", "));
    }
    Ok(())
}

/// Facts, then a line for each check and one for what to do about it.
fn shown(found: &Value, checks: &[Check]) -> String {
    let mut text = String::new();
    for name in FACTS {
        let value = match &found[name] {
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        text.push_str(&format!("  {name:<13} {}\n", crate::text::line(&value)));
    }
    text.push('\n');
    for Check { name, state, found, fix } in checks {
        text.push_str(&format!("{} {name:<13} {}\n", state.sign(), crate::text::line(found)));
        if let Some(fix) = fix {
            text.push_str(&format!("  {:<13} → {}\n", "", crate::text::line(fix)));
        }
    }
    let count = |wanted| checks.iter().filter(|check| check.state == wanted).count();
    let (warnings, broken) = (count(Standing::Warning), count(Standing::Broken));
    let plural = if warnings == 1 { "" } else { "s" };
    text.push_str(&match (warnings, broken) {
        (0, 0) => "\nall is well\n".to_owned(),
        (_, 0) => format!("\nnothing is broken, {warnings} thing{plural} could be better\n"),
        _ => format!("\n{broken} broken, {warnings} could be better\n"),
    });
    text
}

fn checks(context: &Context, found: &Value) -> Vec<Check> {
    let variable = |name: &str| std::env::var(name).ok();
    let environment = Environment {
        variable: &variable,
        display: Environment::display(),
        size: crossterm::terminal::size().ok(),
        is_terminal: std::io::stdout().is_terminal(),
    };
    let mut checks = terminal::checks(&environment);
    let word = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    let editor = word("editor");
    checks.push(if editor.starts_with("none") {
        Check::warning("editor", "EDITOR is not set; vi is used", "export EDITOR=…, the editor of your choice")
    } else {
        Check::good("editor", editor)
    });
    checks.push(devices(found));
    checks.push(memory());
    checks.push(project::disk(free_disk(&context.project)));
    checks.extend(project::checks(&context.project));
    checks
}

fn devices(found: &Value) -> Check {
    let devices: Vec<&str> = found["devices"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (cuda, kernels) = (found["cuda"].as_str().unwrap_or_default(), found["kernels"].as_str().unwrap_or_default());
    let all = devices.join(", ");
    if devices.len() > 1 && kernels.starts_with("slower") {
        return Check::warning("devices", format!("{all}: {kernels}"), "results are right all the same");
    }
    match cuda {
        "ok" => Check::good("devices", all),
        "not built in" => Check::good("devices", format!("{all}; this program was built without CUDA")),
        problem => {
            Check::warning("devices", format!("{all}; no GPU: {problem}"), "look at the driver with `nvidia-smi`")
        }
    }
}

/// Memory below which a small student may not fit.
const LITTLE_MEMORY: u64 = 1 << 30;

fn memory() -> Check {
    let Some((free, all)) = prepare::memory() else { return Check::good("memory", "unknown") };
    let found = format!("{} free of {}", indicatif::HumanBytes(free), indicatif::HumanBytes(all));
    if free < LITTLE_MEMORY {
        return Check::warning("memory", found, "end what needs it, or train with a smaller batch");
    }
    Check::good("memory", found)
}

fn examine(context: &Context) -> Value {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut devices = vec!["cpu".to_owned()];
    let mut number = 0;
    let mut cuda_problem = None;
    let mut kernels = None;
    while cfg!(feature = "cuda") {
        match prepare::device(&format!("cuda:{number}")) {
            Ok(device) => {
                kernels = cuda::problem(&device).or(kernels);
                devices.push(prepare::device_name(&device));
            }
            Err(error) => {
                cuda_problem = (number == 0).then(|| error.to_string());
                break;
            }
        }
        number += 1;
    }
    let size = crossterm::terminal::size().map_or("unknown".into(), |(columns, rows)| format!("{columns}x{rows}"));
    let bytes = |bytes: u64| indicatif::HumanBytes(bytes).to_string();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "features": if cfg!(feature = "cuda") { vec!["cpu", "cuda"] } else { vec!["cpu"] },
        "devices": devices,
        "cuda": cuda_problem.unwrap_or_else(|| if cfg!(feature = "cuda") { "ok".into() } else { "not built in".into() }),
        "kernels": match kernels {
            _ if devices.len() == 1 => "for the CPU alone".into(),
            Some(problem) => format!("slower operations of candle's on the GPU: {problem}"),
            None => "agree with their twins on every GPU".into(),
        },
        "processor": processor(),
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "memory_free": prepare::memory().map_or("unknown".into(), |(free, all)| format!("{} of {}", bytes(free), bytes(all))),
        "disk_free": free_disk(&context.project).map_or("unknown".into(), bytes),
        "terminal": format!(
            "{} {size}{}{}",
            variable("TERM").unwrap_or_else(|| "no TERM".into()),
            if std::io::stdout().is_terminal() { "" } else { ", output is no terminal" },
            if variable("TMUX").is_some() { ", in tmux" } else { "" },
        ),
        "colours": crate::workbench::theme::colours().name(),
        "line": if variable("SSH_CONNECTION").is_some() { "over SSH" } else { "local" },
        // Copying goes through the terminal itself (OSC 52), so that it works over SSH.
        "clipboard": if std::io::stdout().is_terminal() { "through the terminal (OSC 52)" } else { "none" },
        "editor": variable("VISUAL").or_else(|| variable("EDITOR")).unwrap_or_else(|| "none: set EDITOR".into()),
        "project": context.project.display().to_string(),
    })
}

/// What the fast operations use here.
fn processor() -> String {
    // The names of the variants differ between architectures, and each prints all its instructions.
    let vectors = match format!("{:?}", pulp::Arch::new()) {
        name if name.starts_with("V4") => "AVX-512",
        name if name.starts_with("V3") => "AVX2",
        name if name.starts_with("Neon") => "NEON",
        name if name.starts_with("RelaxedSimd") || name.starts_with("Simd128") => "SIMD128",
        _ => "scalar",
    };
    format!("{} ({vectors})", std::env::consts::ARCH)
}

/// Bytes that may still be written under a folder.
pub fn free_disk(path: &std::path::Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}
