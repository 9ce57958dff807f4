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
mod table;
mod uplift;

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::cells::{Cells, code_of, fingerprint, median_of};
use super::options::{Known, Options};
use super::peers::{Environment, argument, example, lasting, script, words};
use crate::workspace;

/// What the bench can be asked.
pub const KNOWN: Known = Known {
    numbers: &[("largest", 13_979_592)],
    words: &[("part", &["all", "growing", "uplift", "answering", "scale"])],
    flags: &["again"],
};

/// Runs the parts that were asked for.
pub fn run(options: &Options) -> Result<()> {
    let mut bench = Bench {
        cells: Cells::open("forests", options.flag("again"))?,
        folder: lasting("forests")?,
        code: code_of(&["crates/impactiq-data", "crates/impactiq-trees"])?,
        exported: Vec::new(),
    };
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

/// Numbers that one side is run with.
type Settings<'a> = &'a [(&'a str, u64)];

/// A script of a peer and what it needs.
struct Peer {
    environment: Environment,
    package: &'static str,
    script: &'static str,
}

const ECONML: Peer = Peer { environment: Environment::Main, package: "econml", script: "econml_forest.py" };
const CAUSALML: Peer = Peer { environment: Environment::Causalml, package: "causalml", script: "causalml_uplift.py" };

struct Bench {
    cells: Cells,
    folder: PathBuf,
    code: String,
    /// Numbers of rows that this run has written for the peers.
    exported: Vec<u64>,
}

impl Bench {
    /// Our figures; of several runs the one with the median growing time.
    fn ours(&mut self, part: &str, name: &str, settings: Settings<'_>, repeats: u64) -> Result<Value> {
        let key = key(json!({ "part": part, "who": "ImpactIQ", "example": name, "code": self.code }), settings);
        self.cells
            .cell(&key, || median_of(repeats, "growing_cpu_s", || example("impactiq-trees", name, &words(settings))))
    }

    /// A peer's figures on rows that we write first.
    fn theirs(&mut self, part: &str, peer: &Peer, settings: Settings<'_>, repeats: u64) -> Result<Value> {
        let version = peer.environment.version(peer.package)?;
        let script_path = workspace::root()?.join("bench/peers").join(peer.script);
        let who = json!({ "part": part, "who": version, "script": fingerprint(&script_path)? });
        let key = key(who, settings);
        if let Some(figures) = self.cells.finished(&key) {
            return Ok(figures);
        }
        let rows = settings.iter().find(|(name, _)| *name == "rows").map_or(0, |(_, rows)| *rows);
        let prefix = self.rows(rows)?;
        let words = [words(&[("prefix", prefix)]), words(settings)].concat();
        self.cells.cell(&key, || median_of(repeats, "growing_cpu_s", || script(peer.environment, peer.script, &words)))
    }

    /// Writes rows for peers, once a run: generators and centring are part of our code.
    fn rows(&mut self, rows: u64) -> Result<String> {
        let prefix = argument(&self.folder.join(format!("rows-{rows}")));
        if !self.exported.contains(&rows) {
            let export = words(&[("rows", rows.to_string()), ("trees", "2".into()), ("export", prefix.clone())]);
            example("impactiq-trees", "forest_bench", &export)?;
            self.exported.push(rows);
        }
        Ok(prefix)
    }
}

fn key(who: Value, settings: Settings<'_>) -> Value {
    let mut key = who.as_object().cloned().unwrap_or_else(Map::new);
    key.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    Value::Object(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cells_key_holds_who_and_every_setting() {
        let key = key(json!({ "who": "econml 0.17.0" }), &[("rows", 10), ("leaf", 5)]);
        assert_eq!(key, json!({ "who": "econml 0.17.0", "rows": 10, "leaf": 5 }));
    }
}
