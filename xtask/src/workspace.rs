//! Where things are: the workspace's root, its files, the target folder and the binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The folder of the workspace's Cargo.toml.
pub fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().context("xtask has no parent folder")?;
    if !root.join("Cargo.toml").is_file() {
        bail!("{} is not the workspace any more: build xtask again", root.display());
    }
    Ok(root.to_owned())
}

/// Files that git tracks or would track, as paths from the root, sorted.
pub fn files(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let mut files: Vec<String> =
        text.split('\0').filter(|path| !path.is_empty() && root.join(path).is_file()).map(str::to_owned).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// The folder that cargo builds into.
pub fn target() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => Ok(PathBuf::from(folder)),
        None => Ok(root()?.join("target")),
    }
}

/// Runs a command; its failure is an error that repeats what was run.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Cargo, as from a shell. `cargo run` tells its program which package it is; build scripts that
/// watch that variable (ring's) would take it for a change and compile half the house again.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    command
}

/// Builds the release binary (a matter of a second when nothing changed) and says where it
/// is; `XTASK_BINARY` names one that is built already.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("XTASK_BINARY") {
        return Ok(PathBuf::from(path));
    }
    run(cargo().args(["build", "--quiet", "--release", "--locked", "--package", "impactiq-cli"]).current_dir(root()?))?;
    let path = target()?.join("release").join(format!("impactiq{}", std::env::consts::EXE_SUFFIX));
    if !path.is_file() {
        bail!("{} was not built", path.display());
    }
    Ok(path)
}
