//! The front desk: the `impactiq` command.
//!
//! Reads the arguments, hands over to one file of `commands/` and turns the outcome into
//! an exit code. Statistics live below; nothing is computed here.

// A file uses only files above it: exit, args, output, commands.
#![allow(dead_code)]
mod args;
mod commands;
mod exit;
mod output;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {}
