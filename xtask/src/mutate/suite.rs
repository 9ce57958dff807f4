//! Builds a crate's tests and runs them, one program after the other, each with a time limit.
//!
//! The programs are run by us and not by cargo, so that a mistake that never ends can be
//! ended, and Ctrl-C ends everything.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::list::Target;
use crate::workspace;

/// A mutant that has not come to a verdict by then is noticed.
const LIMIT: Duration = Duration::from_secs(240);

/// What the tests said.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Every test passed.
    Green,
    /// A test failed: its name.
    Red(String),
}

/// Builds tests of a crate in a workspace; gives their programs.
pub fn build(source: &Path, package: &str, target: Option<Target>) -> Result<Vec<PathBuf>> {
    let mut command = workspace::cargo();
    command.args(["test", "--release", "--locked", "--no-run", "--quiet", "--message-format", "json", "-p", package]);
    // One unit makes the fastest trees and the slowest builds; a verdict needs neither.
    command.args(["--config", "profile.release.package.impactiq-trees.codegen-units=16"]);
    match target {
        Some(Target::Lib) => command.arg("--lib"),
        Some(Target::Test(name)) => command.args(["--test", name]),
        // Not the examples: they would replace those of the real workspace.
        None => command.args(["--lib", "--tests"]),
    };
    let output = command.current_dir(source).output().context("cannot run cargo")?;
    let messages = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let errors: Vec<String> = messages.lines().filter_map(error_of).collect();
        bail!("{package} does not compile: {}", errors.first().map_or("see cargo test", |e| e.trim()));
    }
    Ok(messages.lines().filter_map(program_of).collect())
}

fn error_of(line: &str) -> Option<String> {
    let message = serde_json::from_str::<Value>(line).ok()?;
    let message = message.get("message")?;
    (message.get("level")? == "error").then(|| message.get("rendered")?.as_str().map(str::to_owned)).flatten()
}

fn program_of(line: &str) -> Option<PathBuf> {
    let message = serde_json::from_str::<Value>(line).ok()?;
    let is_test = message.get("profile")?.get("test")?.as_bool()?;
    message.get("executable")?.as_str().filter(|_| is_test).map(PathBuf::from)
}

/// Runs test programs, in the crate's folder as cargo does, until one fails.
pub fn run(programs: &[PathBuf], folder: &Path, filter: &str) -> Result<Verdict> {
    for program in programs {
        let log = program.with_extension("mutate.log");
        let file = std::fs::File::create(&log)?;
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        command.env("CARGO_MANIFEST_DIR", folder).env("RUST_BACKTRACE", "0").env("PROPTEST_CASES", "64");
        if !filter.is_empty() {
            command.arg(filter);
        }
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let began = Instant::now();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if began.elapsed() > LIMIT => {
                    child.kill()?;
                    child.wait()?;
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        std::fs::remove_file(&log).ok();
        match status {
            Some(status) if status.success() => {}
            Some(_) => return Ok(Verdict::Red(first_failure(&text))),
            None => return Ok(Verdict::Red(format!("no end after {} s", LIMIT.as_secs()))),
        }
    }
    Ok(Verdict::Green)
}

/// The name of the first test that failed.
fn first_failure(text: &str) -> String {
    let failed = text.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    failed.unwrap_or("the test program died").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_cargo_and_of_tests_are_understood() {
        let artifact = r#"{"reason":"compiler-artifact","profile":{"test":true},"executable":"/a/b"}"#;
        assert_eq!(program_of(artifact), Some(PathBuf::from("/a/b")));
        assert_eq!(program_of(&artifact.replace("true", "false")), None);
        let error = r#"{"message":{"level":"error","rendered":"no such thing"}}"#;
        assert_eq!(error_of(error).as_deref(), Some("no such thing"));
        assert_eq!(first_failure("running 2 tests\ntest a ... ok\ntest b::c ... FAILED\n"), "b::c");
    }

    #[test]
    #[cfg(unix)]
    fn a_failing_program_is_red_and_a_good_one_green() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("impactiq-mutate-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let program = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let good = program("good", "exit 0");
        let bad = program("bad", "echo 'test x::y ... FAILED'; exit 101");
        assert_eq!(run(std::slice::from_ref(&good), &folder, "").unwrap(), Verdict::Green);
        assert_eq!(run(&[good, bad], &folder, "").unwrap(), Verdict::Red("x::y".into()));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
