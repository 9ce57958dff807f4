//! `cargo xtask bench NAME`: we and a peer, on the same rows, in one run, on one machine.
//!
//! Each bench prints a table and appends lines to docs/measured/NAME.jsonl. Quote CPU
//! seconds, not wall: machines are shared. Peers run from virtual environments in the
//! target folder, at the versions of bench/peers/requirements*.txt.

mod boosting;
mod cells;
mod contest;
mod end_to_end;
mod forests;
mod learners;
mod machine;
mod options;
mod peers;
mod ranking;
mod record;
mod serve;
mod stream;
mod table;

use anyhow::{Result, bail};

use options::{Known, Options};

const BOOSTING: Known =
    Known { numbers: &[("rows", 1_000_000), ("trees", 100), ("leaves", 31), ("threads", 1)], words: &[], flags: &[] };
const RANKING: Known = Known { numbers: &[("rows", 13_979_592), ("threads", 1)], words: &[], flags: &[] };

const NAMES: [&str; 8] =
    ["boosting", "metrics", "forests", "learners", "serve", "stream", "stream-proof", "end-to-end"];

/// Runs one bench; words after the name are its options.
pub fn run(name: &str, words: &[&str]) -> Result<()> {
    match name {
        "boosting" => boosting::run(&Options::parse(words, BOOSTING)?),
        "metrics" => ranking::run(&Options::parse(words, RANKING)?),
        "forests" => forests::run(&Options::parse(words, forests::KNOWN)?),
        "learners" => learners::run(&Options::parse(words, learners::KNOWN)?),
        "serve" => serve::run(&Options::parse(words, serve::KNOWN)?),
        "stream" => stream::run(&Options::parse(words, stream::KNOWN)?),
        "stream-proof" => stream::proof::run(&Options::parse(words, stream::proof::KNOWN)?),
        "end-to-end" => end_to_end::run(&Options::parse(words, end_to_end::KNOWN)?),
        _ => bail!("there is no bench named '{name}'\nhint: {}", NAMES.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_bench_or_option_is_an_error() {
        assert!(run("chess", &[]).is_err());
        assert!(run("forests", &["--part", "half"]).is_err());
        assert!(run("end-to-end", &["--learner", "magic"]).is_err());
    }
}
