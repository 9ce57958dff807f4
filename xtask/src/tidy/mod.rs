//! `cargo xtask tidy`: the house rules, checked by a machine.
//!
//! A rule that is not checked is not a rule. Each finding says where, what and why; the
//! rules themselves live in the files beside this one, each with a bad example as a test.

mod conduct;
mod finding;
mod imports;
mod manifests;
mod paths;
mod rooms;
mod shape;
mod source;
mod words;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace;
use finding::Finding;
use source::Source;

/// Checks the whole workspace; prints findings and fails when there are any.
pub fn run() -> Result<()> {
    let root = workspace::root()?;
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    for path in workspace::files(&root)? {
        if !words::is_read(&path) {
            continue;
        }
        let text = std::fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read {path} as text"))?;
        words::check(&path, &text, &mut findings);
        if path.ends_with("Cargo.toml") && path.contains('/') {
            let crate_name = Path::new(&path).parent().and_then(|p| p.file_name()).and_then(|n| n.to_str());
            manifests::check(crate_name.unwrap_or_default(), &path, &text, &mut findings);
        }
        if path.ends_with(".rs") {
            sources.push(Source::new(&path, &text));
        }
    }
    mark_test_modules(&mut sources);
    for source in &sources {
        shape::check(source, &mut findings);
        conduct::check(source, &mut findings);
    }
    imports::check(&sources, &mut findings);
    findings.sort();
    findings.dedup();
    findings.iter().for_each(|finding| println!("{finding}"));
    if !findings.is_empty() {
        bail!("{} findings in {} Rust files", findings.len(), sources.len());
    }
    println!("tidy: {} Rust files keep the house rules", sources.len());
    Ok(())
}

/// A module that is declared under `#[cfg(test)]` is a test wherever its file is, and so
/// are the modules below it.
fn mark_test_modules(sources: &mut [Source]) {
    let mut tests = BTreeSet::new();
    for source in sources.iter() {
        let stem = source.path.trim_end_matches(".rs");
        let folder = match stem.rsplit_once('/') {
            Some((folder, "mod" | "lib" | "main")) => folder,
            _ => stem,
        };
        tests.extend(source.test_modules.iter().map(|name| format!("{folder}/{name}")));
    }
    for source in sources.iter_mut() {
        let is_test =
            |prefix: &String| source.path == format!("{prefix}.rs") || source.path.starts_with(&format!("{prefix}/"));
        if tests.iter().any(is_test) {
            source.mark_as_test();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_test_modules_are_tests() {
        let mut sources = vec![
            Source::new("crates/impactiq-data/src/a/mod.rs", "#[cfg(test)]\nmod laws;\nmod b;\n"),
            Source::new("crates/impactiq-data/src/a/laws.rs", "fn x() {}\n"),
            Source::new("crates/impactiq-data/src/a/laws/more.rs", "fn x() {}\n"),
            Source::new("crates/impactiq-data/src/a/b.rs", "fn x() {}\n"),
        ];
        mark_test_modules(&mut sources);
        let marked: Vec<bool> = sources.iter().map(|s| s.is_test.iter().all(|t| *t)).collect();
        assert_eq!(marked, [false, true, true, false]);
    }
}
