//! `cargo xtask bench stream-proof`: kill -9 by the hundred, in rounds that are kept, so that a long proof can be stopped.
//!
//! A round is a run of the example `stream_proof` with a seed of its own; its verdict is a line of
//! docs/measured/stream_proof.jsonl. Rounds of the same program, store and delivery that stand there count. The round's
//! rules are the example's; only adding up lives here.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::super::cells::{Cells, fingerprint};
use super::super::options::{Known, Options};
use super::super::peers::{argument, built, lasting, run as program};
use super::super::record::number;
use super::super::table::{print, row, thousands};
use super::broker;
use crate::workspace;

/// What the proof can be asked.
pub const KNOWN: Known = Known {
    numbers: &[("kills", 1000), ("round", 50), ("seed", 1), ("stall", 60), ("rate", 800), ("users", 200)],
    words: &[("store", &["all", "sqlite", "postgresql"]), ("delivery", &["all", "at_least_once", "exactly_once"])],
    flags: &["again"],
};

/// Runs the rounds that are missing and prints the table.
pub fn run(options: &Options) -> Result<()> {
    broker()?;
    let binary = workspace::binary()?;
    let example = built("impactiq-stream", "stream_proof")?;
    let mut cells = Cells::open("stream_proof", options.flag("again"))?;
    let chosen = |name: &str, all: [&'static str; 2]| -> Vec<&'static str> {
        let asked = options.word(name);
        all.into_iter().filter(|one| asked == "all" || asked == *one).collect()
    };
    let mut rows = vec![row([
        "store, delivery",
        "kills -9",
        "members",
        "broker restarts",
        "stalls",
        "events",
        "lost",
        "twice in the log",
        "mismatches",
        "out of order",
        "twice in the output",
    ])];
    let mut broken = Vec::new();
    for store in chosen("store", ["sqlite", "postgresql"]) {
        for delivery in chosen("delivery", ["at_least_once", "exactly_once"]) {
            let rounds = rounds(&mut cells, options, &binary, &example, [store, delivery])?;
            broken.extend(rounds.iter().flat_map(|round| round["violations"].as_array().cloned().unwrap_or_default()));
            rows.push(line(store, delivery, &rounds));
        }
    }
    print("Events after kill -9", &rows);
    println!("\nkept in docs/measured/stream_proof.jsonl");
    if !broken.is_empty() {
        bail!("claims do not hold: {broken:?}");
    }
    Ok(())
}

fn rounds(
    cells: &mut Cells,
    options: &Options,
    binary: &std::path::Path,
    example: &std::path::Path,
    [store, delivery]: [&str; 2],
) -> Result<Vec<Value>> {
    let per_round = options.number("round");
    let mut found = Vec::new();
    let mut done = 0;
    while done < options.number("kills") {
        let seed = options.number("seed") + found.len() as u64;
        let kills = per_round.min(options.number("kills") - done);
        let key = json!({
            "store": store, "delivery": delivery, "seed": seed, "kills": kills, "stall": options.number("stall"),
            "program": fingerprint(binary)?,
        });
        let round = cells.cell(&key, || {
            let mut words = ["--judge", "no", "--binary"].map(str::to_owned).to_vec();
            words.push(argument(binary));
            words.extend(["--folder".to_owned(), argument(&lasting("stream-proof")?)]);
            words.extend(["--store", store, "--delivery", delivery].map(str::to_owned));
            for (name, value) in [("seed", seed), ("kills", kills)] {
                words.extend([format!("--{name}"), value.to_string()]);
            }
            for name in ["stall", "rate", "users"] {
                words.extend([format!("--{name}"), options.number(name).to_string()]);
            }
            program(example, &words)
        })?;
        done += kills;
        found.push(round);
    }
    Ok(found)
}

fn line(store: &str, delivery: &str, rounds: &[Value]) -> Vec<String> {
    let total = |value: &dyn Fn(&Value) -> f64| thousands(rounds.iter().map(value).sum::<f64>());
    // A count, or a count with its first case.
    let count = |value: &Value| value.as_f64().unwrap_or_else(|| number(value, "n"));
    let both = |name: &'static str| {
        total(&|round| {
            ["log", "scores", "dead_letters"]
                .iter()
                .map(|part| count(&round[*part][name]))
                .filter(|n| n.is_finite())
                .sum()
        })
    };
    vec![
        format!("{store}, {delivery}"),
        total(&|round| number(round, "kills")),
        total(&|round| number(round, "members_started")),
        total(&|round| number(round, "broker_kills") + number(round, "broker_stops")),
        total(&|round| number(round, "store_stalls")),
        total(&|round| number(round, "events")),
        both("lost"),
        total(&|round| count(&round["log"]["duplicated"])),
        both("mismatched"),
        both("out_of_order"),
        total(&|round| count(&round["scores"]["duplicates"])),
    ]
}
