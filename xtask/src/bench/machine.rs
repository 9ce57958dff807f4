//! The machine and the commit a figure belongs to.

use std::process::Command;

use serde_json::{Value, json};

/// What must stand beside every figure.
pub fn describe() -> Value {
    let first = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines().next().map(str::to_owned)
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    json!({
        "commit": first("git", &["rev-parse", "--short", "HEAD"]),
        "date": first("date", &["-u", "+%F"]),
        "processor": processor,
        "cores": std::thread::available_parallelism().map(usize::from).unwrap_or(1),
        "load_before": load,
        "rustc": first("rustc", &["--version"]),
    })
}
