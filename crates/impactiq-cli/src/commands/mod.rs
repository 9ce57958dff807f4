//! One file per command, and what they share: context, loading, conditions.

use crate::args::{Cli, Command, DemoPart};
use crate::exit::{Exit, Outcome};

mod check;
mod completions;
mod context;
mod data;
mod demo;
mod demo_stream;
mod evaluate;
mod gate;
mod init;
mod load;
mod pseudo_experiment;
mod reference;
mod score;
mod serve;
mod stream;
mod synth;
mod train;
mod windows;

pub use context::Context;

/// Runs the command that was typed.
///
/// # Errors
/// A [`Failure`] to be shown.
pub fn run(cli: &Cli, context: Context<'_>) -> Outcome<Exit> {
    match &cli.command {
        Command::Init(args) => init::run(args, context),
        Command::Check(args) => check::run(args, context),
        Command::Train(args) => train::run(args, context),
        Command::Evaluate(args) => evaluate::run(args, context),
        Command::Score(args) => score::run(args, context),
        Command::Serve(args) => serve::run(args, context),
        Command::Stream(args) => stream::run(args, context),
        Command::Key(args) => serve::key(args, context),
        Command::Windows(args) => windows::run(args, context),
        Command::PseudoExperiment(args) => pseudo_experiment::run(args, context),
        Command::Synth(args) => synth::run(args, context),
        Command::Data(args) => data::run(args, context),
        Command::Demo(args) => match &args.part {
            Some(DemoPart::Stream(args)) => demo_stream::run(args, context),
            None => demo::run(args, context),
        },
        Command::Completions(args) => completions::run(args, context),
        Command::Reference(args) => reference::run(args, context),
    }
}
