//! `afterthought doctor`: what this machine and this terminal can do.

use std::io::IsTerminal;

use serde_json::{Value, json};

use super::output::{Context, print};
use crate::runs::prepare;
use crate::student::ops::cuda;

pub fn run(context: &Context) -> anyhow::Result<()> {
    let found = examine(context);
    if context.json {
        return context.print_json(&found);
    }
    let mut text = String::new();
    for (name, value) in found.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        text.push_str(&format!("{:<12} {}\n", name.replace('_', " "), crate::text::line(&value)));
    }
    print(&text)
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
