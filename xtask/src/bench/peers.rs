//! The peers' virtual environment, and our own examples beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::measure;
use crate::workspace;

/// Python of an environment with the pinned peers; made at first use.
pub fn python() -> Result<PathBuf> {
    let wanted = std::fs::read_to_string(workspace::root()?.join("bench/peers/requirements.txt"))?;
    let folder = workspace::target()?.join("peers");
    let python = folder.join("bin/python");
    let stamp = folder.join("requirements.txt");
    if std::fs::read_to_string(&stamp).ok().as_deref() == Some(wanted.as_str()) {
        return Ok(python);
    }
    eprintln!("installing the peers into {} (once)", folder.display());
    workspace::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .context("the peers are Python packages: python3 with its venv module is needed")?;
    let requirements = workspace::root()?.join("bench/peers/requirements.txt");
    workspace::run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements))?;
    std::fs::write(stamp, wanted)?;
    Ok(python)
}

/// Runs a peer's script, which prints one JSON object.
pub fn script(name: &str, words: &[String]) -> Result<Value> {
    let path = workspace::root()?.join("bench/peers").join(name);
    let mut command = Command::new(python()?);
    // The peers' warnings about one another's futures are not our news.
    command.args(["-W", "ignore"]).arg(path).args(words);
    json(&measure::run(&mut command)?.stdout)
}

/// Builds and runs an example of one of our crates, which prints one JSON object.
pub fn example(package: &str, name: &str, words: &[String]) -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--quiet", "--release", "--locked", "--package", package, "--example", name];
    workspace::run(Command::new(cargo).args(build).current_dir(workspace::root()?))?;
    let path = workspace::target()?.join("release/examples").join(name);
    json(&measure::run(Command::new(path).args(words))?.stdout)
}

/// A folder for rows that both sides read; emptied of what an earlier run left.
pub fn scratch(bench: &str) -> Result<PathBuf> {
    let folder = workspace::target()?.join("bench").join(bench);
    if folder.is_dir() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A path as an argument.
pub fn argument(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn json(text: &str) -> Result<Value> {
    match text.lines().last().map(serde_json::from_str) {
        Some(Ok(value)) => Ok(value),
        _ => bail!("one line of JSON was expected, not: {text}"),
    }
}
