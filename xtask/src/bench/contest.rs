//! Two sides on the same rows: our examples and the peers' scripts, cell by cell.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::cells::{Cells, fingerprint, median_of};
use super::peers::{Environment, argument, built, example, lasting, run, script, words};
use crate::workspace;

/// Numbers that one side is run with.
pub type Settings<'a> = &'a [(&'a str, u64)];

/// A script of a peer and what it needs.
pub struct Peer {
    /// Where it is installed.
    pub environment: Environment,
    /// The package whose version counts.
    pub package: &'static str,
    /// The file in bench/peers.
    pub script: &'static str,
}

/// What one side is to do.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The part of the bench.
    pub part: &'a str,
    /// A word beside the numbers, such as a learner's name, with its option.
    pub word: Option<(&'a str, &'a str)>,
    /// The numbers.
    pub settings: Settings<'a>,
    /// Runs, of which the one with the median of `figure` counts.
    pub repeats: u64,
    /// The figure that says what a run costs.
    pub figure: &'a str,
}

/// A bench whose cells are kept.
pub struct Contest {
    cells: Cells,
    package: &'static str,
    /// Rows that this run has written for the peers, by number.
    exported: Vec<u64>,
    folder: PathBuf,
}

impl Contest {
    /// `package` has our examples.
    pub fn open(name: &'static str, package: &'static str, again: bool) -> Result<Self> {
        Ok(Contest { cells: Cells::open(name, again)?, package, exported: Vec::new(), folder: lasting("rows")? })
    }

    /// Our figures, by an example.
    pub fn ours(&mut self, name: &str, job: Job<'_>) -> Result<Value> {
        let program = built(self.package, name)?;
        let who = json!({ "part": job.part, "who": "ImpactIQ", "example": name, "program": fingerprint(&program)? });
        self.cells.cell(&job.key(who), || median_of(job.repeats, job.figure, || run(&program, &job.words())))
    }

    /// A peer's figures on rows that we write first.
    pub fn theirs(&mut self, peer: &Peer, job: Job<'_>) -> Result<Value> {
        let version = peer.environment.version(peer.package)?;
        let path = workspace::root()?.join("bench/peers").join(peer.script);
        let key = job.key(json!({ "part": job.part, "who": version, "script": fingerprint(&path)? }));
        if let Some(figures) = self.cells.finished(&key) {
            return Ok(figures);
        }
        let rows = job.settings.iter().find(|(name, _)| *name == "rows").map_or(0, |(_, rows)| *rows);
        let words = [words(&[("prefix", self.rows(rows)?)]), job.words()].concat();
        let measure = || script(peer.environment, peer.script, &words);
        self.cells.cell(&key, || median_of(job.repeats, job.figure, measure))
    }

    /// Writes rows for peers, once a run: generators and centring are part of our code.
    fn rows(&mut self, rows: u64) -> Result<String> {
        let prefix = argument(&self.folder.join(rows.to_string()));
        if !self.exported.contains(&rows) {
            let export = [("rows", rows.to_string()), ("trees", "2".into()), ("export", prefix.clone())];
            example("impactiq-trees", "forest_bench", &words(&export))?;
            self.exported.push(rows);
        }
        Ok(prefix)
    }
}

impl Job<'_> {
    fn key(&self, who: Value) -> Value {
        let mut key = who.as_object().cloned().unwrap_or_else(Map::new);
        key.extend(self.word.iter().map(|(name, word)| ((*name).to_owned(), json!(word))));
        key.extend(self.settings.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
        Value::Object(key)
    }

    fn words(&self) -> Vec<String> {
        [words(self.word.as_slice()), words(self.settings)].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cells_key_holds_who_and_every_setting_and_its_words_are_options() {
        let settings = [("rows", 10), ("leaf", 5)];
        let plain = Job { part: "growing", word: None, settings: &settings, repeats: 1, figure: "s" };
        assert_eq!(
            plain.key(json!({ "who": "econml 0.17.0" })),
            json!({ "who": "econml 0.17.0", "rows": 10, "leaf": 5 })
        );
        assert_eq!(plain.words(), ["--rows", "10", "--leaf", "5"]);
        let named = Job { word: Some(("learner", "x")), settings: &settings[..1], ..plain };
        assert_eq!(named.key(json!({})), json!({ "learner": "x", "rows": 10 }));
        assert_eq!(named.words(), ["--learner", "x", "--rows", "10"]);
    }
}
