//! Causal and uplift forests: we and the peers on the same rows, part by part.
//!
//! Both sides grow the core alone, from outcomes and treatments that are centred already, with
//! nothing predicted out of bag, on one thread. Every part prints its table in Markdown and
//! what was asked of it beside what was found. A peer that is too slow for the whole job grows
//! fewer trees, and what is scaled up from them is marked.

mod answering;
mod elsewhere;
mod growing;
mod scale;
mod uplift;

use anyhow::Result;

use super::contest::{Contest, Peer};
use super::options::{Known, Options};
use super::peers::Environment;

/// What the bench can be asked.
pub const KNOWN: Known = Known {
    numbers: &[("largest", 13_979_592)],
    words: &[("part", &["all", "growing", "uplift", "answering", "scale"])],
    flags: &["again"],
};

/// Runs the parts that were asked for.
pub fn run(options: &Options) -> Result<()> {
    let mut bench = Contest::open("forests", "impactiq-trees", options.flag("again"))?;
    let part = options.word("part");
    let asked = |name: &str| part == "all" || part == name;
    if asked("growing") {
        growing::run(&mut bench)?;
    }
    if asked("uplift") {
        uplift::run(&mut bench)?;
    }
    if asked("answering") {
        answering::run(&mut bench)?;
    }
    if asked("scale") {
        scale::run(&mut bench, options.number("largest"))?;
    }
    println!("\nEvery cell stands in docs/measured/forests.jsonl.");
    Ok(())
}

const ECONML: Peer = Peer { environment: Environment::Main, package: "econml", script: "econml_forest.py" };
const CAUSALML: Peer = Peer { environment: Environment::Causalml, package: "causalml", script: "causalml_uplift.py" };
