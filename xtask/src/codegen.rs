//! `cargo xtask codegen [--check]`: docs/reference is what the binary says about itself.
//!
//! Nothing is written by hand there: the pages come from `impactiq reference PAGE`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Pages: what to ask the binary for, and the file it becomes.
const PAGES: [(&str, &str); 5] = [
    ("config", "config.md"),
    ("cli", "cli.md"),
    ("http", "http.md"),
    ("errors", "errors.md"),
    ("schema", "config.schema.json"),
];

/// Writes the pages, or compares them with what stands there.
pub fn run(check: bool) -> Result<()> {
    let folder = workspace::root()?.join("docs/reference");
    let binary = workspace::binary()?;
    let mut stale = Vec::new();
    for (page, file) in PAGES {
        let text = page_text(&binary, page)?;
        let path = folder.join(file);
        if check {
            if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
                stale.push(file);
            }
        } else {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    if !stale.is_empty() {
        bail!("docs/reference is stale: {}\nhint: run `cargo xtask codegen` and commit", stale.join(", "));
    }
    println!("codegen: {} pages of docs/reference {}", PAGES.len(), if check { "are up to date" } else { "written" });
    Ok(())
}

fn page_text(binary: &Path, page: &str) -> Result<String> {
    let output = Command::new(binary)
        .args(["reference", page])
        // A page must not depend on who asks.
        .env_clear()
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    if !output.status.success() {
        bail!(
            "`impactiq reference {page}` ended with {}; its pages are made by that hidden command\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8(output.stdout).context("the page is not UTF-8")?;
    if text.trim().is_empty() {
        bail!("`impactiq reference {page}` wrote nothing");
    }
    Ok(format!("{}\n", text.trim_end()))
}
