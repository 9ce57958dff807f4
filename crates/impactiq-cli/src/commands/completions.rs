//! `completions`: the shell's completion script on stdout.

use clap::CommandFactory;

use super::context::Context;
use crate::args::{Cli, CompletionsArgs};
use crate::exit::{Exit, Outcome};

/// Runs the command.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &CompletionsArgs, context: Context<'_>) -> Outcome<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "impactiq", &mut script);
    context.output.stdout(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
