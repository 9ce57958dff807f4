//! What every command gets beside its own arguments, and how outputs are begun.

use std::path::Path;
use std::time::Duration;

use crate::args::Global;
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::output::progress::Progress;

/// What every command gets beside its own arguments.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Flags of every command.
    pub global: &'a Global,
    /// Where results and messages go.
    pub output: &'a Output,
    /// Progress, Ctrl-C and the time limit.
    pub watch: &'a Progress,
}

/// Refuses an output that is there already, before any work is done for it.
pub fn refuse_existing(path: &Path, context: Context<'_>) -> Outcome<()> {
    if !context.global.overwrite && path.symlink_metadata().is_ok() {
        return Err(Failure::new(
            format!("{} exists already", path.display()),
            "add --overwrite to replace it, or choose another name",
        ));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => Err(Failure::new(
            format!("the folder {} does not exist", parent.display()),
            format!("create it: mkdir -p {}", parent.display()),
        )),
        _ => Ok(()),
    }
}

/// Writes a small text file whole or not at all.
pub fn write_text(path: &Path, text: &str) -> Outcome<()> {
    Ok(impactiq_io::write_file(path, text.as_bytes())?)
}

/// Asks servers on this machine: a proxy of the environment has no business between two ends of it.
pub fn local_agent(patience: Duration) -> ureq::Agent {
    ureq::Agent::config_builder().proxy(None).timeout_global(Some(patience)).build().into()
}
