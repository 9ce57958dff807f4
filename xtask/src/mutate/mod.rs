//! `cargo xtask mutate`: plants mistakes one by one; the tests must notice each of them.
//!
//! The sources are copied to the target folder and changed there: an interrupted run
//! leaves nothing behind in the workspace. Dependencies are those already built; our own
//! crates are thrown away before and after, so that no later command runs a planted mistake.

mod list;
mod suite;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace;
use list::{MUTATIONS, Mutation};
use suite::Verdict;

/// Plants every mistake whose name or file holds `only`.
pub fn run(only: Option<&str>) -> Result<()> {
    let chosen: Vec<&Mutation> =
        MUTATIONS.iter().filter(|m| only.is_none_or(|word| m.name.contains(word) || m.file.contains(word))).collect();
    if chosen.is_empty() {
        bail!("no planted mistake has '{}' in its name or file", only.unwrap_or_default());
    }
    plant_all(&chosen)
}

/// Plants every `of`-th mistake, from number `turn` modulo `of`: `of` turns one after the
/// other plant all of them. A whole round takes half an hour, too long for every gate.
pub fn run_turn(turn: &str, of: &str) -> Result<()> {
    let turn: usize = turn.parse().with_context(|| format!("'{turn}' is no number of a turn"))?;
    let of: usize = of.parse().with_context(|| format!("'{of}' is no number of turns"))?;
    if of == 0 {
        bail!("there must be one turn at least");
    }
    let chosen: Vec<&Mutation> = MUTATIONS.iter().skip(turn % of).step_by(of).collect();
    println!("mutate: turn {} of {of}, {} of {} planted mistakes", turn % of + 1, chosen.len(), MUTATIONS.len());
    plant_all(&chosen)
}

fn plant_all(chosen: &[&Mutation]) -> Result<()> {
    let root = workspace::root()?;
    let source = workspace::target()?.join("mutate/source");
    copy(&root, &source)?;
    own_crates(&source)?;
    let survivors = sound(&source, chosen).and_then(|()| survivors(&source, chosen));
    own_crates(&root)?;
    let survivors = survivors?;
    if !survivors.is_empty() {
        bail!("{} of {} planted mistakes survived: {}", survivors.len(), chosen.len(), survivors.join("; "));
    }
    println!("mutate: all {} planted mistakes were noticed", chosen.len());
    Ok(())
}

/// Tells the folder of what is built whose crates come next; those of another folder go.
fn own_crates(workspace: &Path) -> Result<()> {
    let target = workspace::target()?;
    let mut command = Command::new("sh");
    command.arg(".ci/own-crates.sh").current_dir(workspace).env("CARGO_TARGET_DIR", target);
    if !command.status().context("cannot run sh")?.success() {
        bail!(".ci/own-crates.sh failed in {}", workspace.display());
    }
    Ok(())
}

/// The names of the mistakes that no test noticed.
fn survivors(source: &Path, chosen: &[&Mutation]) -> Result<Vec<&'static str>> {
    let mut survivors = Vec::new();
    for mutation in chosen {
        let began = Instant::now();
        let verdict = plant(source, mutation)?;
        let seconds = began.elapsed().as_secs_f64();
        match verdict {
            Verdict::Red(test) => println!("noticed   {:<55} {seconds:>5.0} s  {test}", mutation.name),
            Verdict::Green => {
                println!("SURVIVED  {:<55} {seconds:>5.0} s  {}", mutation.name, mutation.file);
                survivors.push(mutation.name);
            }
        }
    }
    Ok(survivors)
}

/// Without any mistake the tests must be green, or red would mean nothing.
fn sound(source: &Path, chosen: &[&Mutation]) -> Result<()> {
    let suites: BTreeSet<_> = chosen.iter().map(|m| (m.package, m.first)).collect();
    for (package, (target, filter)) in suites {
        let programs = suite::build(source, package, Some(target))?;
        if let Verdict::Red(test) = suite::run(&programs, &folder(source, package), filter)? {
            bail!("the tests of {package} fail without any mistake planted: {test}");
        }
    }
    Ok(())
}

/// Plants one mistake, asks the tests, and takes it out again.
fn plant(source: &Path, mutation: &Mutation) -> Result<Verdict> {
    let path = source.join(mutation.file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if text.matches(mutation.find).count() != 1 {
        bail!("`{}` does not stand exactly once in {}", mutation.find, mutation.file);
    }
    std::fs::write(&path, text.replacen(mutation.find, mutation.replace, 1))?;
    let verdict = ask(source, mutation);
    std::fs::write(&path, text)?;
    verdict.with_context(|| format!("'{}' is not a mistake one can plant", mutation.name))
}

fn ask(source: &Path, mutation: &Mutation) -> Result<Verdict> {
    let (target, filter) = mutation.first;
    let folder = folder(source, mutation.package);
    let programs = suite::build(source, mutation.package, Some(target))?;
    match suite::run(&programs, &folder, filter)? {
        Verdict::Green => suite::run(&suite::build(source, mutation.package, None)?, &folder, ""),
        red => Ok(red),
    }
}

fn folder(source: &Path, package: &str) -> std::path::PathBuf {
    source.join("crates").join(package)
}

/// Brings a copy of the workspace up to date; files that are the same keep their time, so
/// that cargo builds only what changed.
fn copy(root: &Path, into: &Path) -> Result<()> {
    let files = workspace::files(root)?;
    let mut wanted: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for file in files.into_iter().filter(|file| !file.starts_with("docs/")) {
        wanted.insert(file.clone(), std::fs::read(root.join(&file))?);
    }
    for old in present(into, into)? {
        if !wanted.contains_key(&old) {
            std::fs::remove_file(into.join(&old))?;
        }
    }
    for (file, bytes) in &wanted {
        let path = into.join(file);
        if std::fs::read(&path).ok().as_ref() != Some(bytes) {
            std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
            std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// Files below a folder, as paths from `root`.
fn present(folder: &Path, root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(present(&path, root)?);
        } else if let Ok(relative) = path.strip_prefix(root) {
            files.push(relative.to_string_lossy().replace('\\', "/"));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_that_nobody_planted_is_an_error() {
        assert!(run(Some("no such mistake")).is_err());
    }
}
