//! The front desk: the `impactiq` command.
//!
//! Reads the arguments, hands over to one file of `commands/` and turns the outcome into
//! an exit code. Statistics live below; nothing is computed here.

// A file uses only files above it: exit, args, memory, output, commands.
mod args;
mod commands;
mod exit;
mod memory;
mod output;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::commands::Context;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::output::progress::Progress;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let output = Output::new(&cli.global);
    match run(&cli, &output) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

fn run(cli: &Cli, output: &Output) -> Outcome<Exit> {
    use_threads(cli.global.threads)?;
    let watch = Progress::new(output.shows_progress(), cli.global.time_limit)?;
    let done = commands::run(cli, Context { global: &cli.global, output, watch: &watch });
    watch.clear();
    if output.is_verbose() {
        for (stage, seconds) in watch.stage_seconds() {
            output.detail(&format!("{stage}: {}", output::number::seconds(seconds)));
        }
    }
    match done {
        // Whatever error came of stopping, the reason is the stop.
        Err(failure) => Err(watch.check().err().unwrap_or(failure)),
        done => done,
    }
}

fn use_threads(threads: Option<u16>) -> Outcome<()> {
    let Some(threads) = threads else { return Ok(()) };
    if threads == 0 {
        return Err(Failure::new("the number of threads is 0", "e.g. `--threads 2`").at("--threads"));
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(usize::from(threads))
        .build_global()
        .map_err(|error| Failure::new(format!("{threads} threads cannot be started: {error}"), "take fewer threads"))
}

/// Help and version go to stdout with exit code 0, mistakes to stderr with 2.
fn usage(error: &clap::Error) -> Exit {
    // Nobody is left to tell if the stream is gone.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Exit::Failed,
        _ => {
            eprintln!("  hint: add --help to see what the command takes");
            Exit::Failed
        }
    }
}
