//! Figures that are measured once: a long bench that was stopped goes on where it was.
//!
//! A cell is one measurement of one side. What it measures (settings, the peer's version, a
//! fingerprint of the program or script) is its key; a finished cell is a line of
//! docs/measured/NAME.jsonl, and a run that meets the same key again takes the line instead
//! of measuring.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::machine;
use super::record::{append, number};
use crate::workspace;

/// The cells of a bench.
pub struct Cells {
    name: &'static str,
    path: PathBuf,
    lines: Vec<Value>,
    again: bool,
}

impl Cells {
    /// The cells that are finished already; with `again` all are measured anew.
    pub fn open(name: &'static str, again: bool) -> Result<Self> {
        let path = workspace::root()?.join(format!("docs/measured/{name}.jsonl"));
        Self::at(name, path, again)
    }

    fn at(name: &'static str, path: PathBuf, again: bool) -> Result<Self> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let mut lines = Vec::new();
        for (at, line) in text.lines().enumerate() {
            match serde_json::from_str(line) {
                Ok(line) => lines.push(line),
                // A run that was killed while it wrote; its cell is measured again.
                Err(_) => eprintln!("{}:{}: not a line of JSON, left out", path.display(), at + 1),
            }
        }
        Ok(Cells { name, path, lines, again })
    }

    /// The figures of a cell: those of a finished run, or those measured now and kept.
    pub fn cell(&mut self, key: &Value, measure: impl FnOnce() -> Result<Value>) -> Result<Value> {
        match self.finished(key) {
            Some(figures) => Ok(figures),
            None => self.measure(key, measure),
        }
    }

    /// Measures a cell, finished or not, and keeps its figures.
    pub fn measure(&mut self, key: &Value, measure: impl FnOnce() -> Result<Value>) -> Result<Value> {
        eprintln!("{} …", describe(key));
        let machine = machine::describe();
        let figures = measure().with_context(|| describe(key))?;
        let line = json!({ "bench": self.name, "cell": key, "machine": machine, "figures": figures });
        append(&self.path, &line)?;
        self.lines.push(line);
        Ok(figures)
    }

    /// The latest finished run of a cell, unless all are wanted again.
    pub fn finished(&self, key: &Value) -> Option<Value> {
        if self.again {
            return None;
        }
        let line = self.lines.iter().rev().find(|line| line.get("cell") == Some(key))?;
        line.get("figures").cloned()
    }
}

/// FNV-1a of a file's bytes: tells whether it is the same file, nothing more.
pub fn fingerprint(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Ok(format!("{hash:016x}"))
}

/// Measures several times and keeps the run with the median figure, with least and most beside.
pub fn median_of(repeats: u64, figure: &str, mut measure: impl FnMut() -> Result<Value>) -> Result<Value> {
    let mut runs = (0..repeats.max(1)).map(|_| measure()).collect::<Result<Vec<_>>>()?;
    runs.sort_by(|a, b| number(a, figure).total_cmp(&number(b, figure)));
    let spread = [&runs[0], &runs[runs.len() - 1]].map(|run| number(run, figure));
    let mut median = runs.swap_remove((runs.len() - 1) / 2);
    if repeats > 1
        && let Some(median) = median.as_object_mut()
    {
        median
            .insert("repeats".into(), json!({ "n": repeats, "figure": figure, "least": spread[0], "most": spread[1] }));
    }
    Ok(median)
}

fn describe(key: &Value) -> String {
    let empty = Map::new();
    let parts = key.as_object().unwrap_or(&empty).iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("xtask-cells-{}-{name}.jsonl", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn a_finished_cell_is_measured_once_and_again_only_when_asked() {
        let path = file("once");
        let key = json!({ "rows": 10, "program": "abc" });
        let mut cells = Cells::at("test", path.clone(), false).unwrap();
        assert_eq!(cells.cell(&key, || Ok(json!({ "s": 1 }))).unwrap(), json!({ "s": 1 }));
        assert_eq!(cells.cell(&key, || panic!("measured twice")).unwrap(), json!({ "s": 1 }));
        // Another process finds it too; other settings are another cell.
        let mut later = Cells::at("test", path.clone(), false).unwrap();
        assert_eq!(later.cell(&key, || panic!("measured twice")).unwrap(), json!({ "s": 1 }));
        assert_eq!(later.cell(&json!({ "rows": 11, "program": "abc" }), || Ok(json!(2))).unwrap(), json!(2));
        let mut again = Cells::at("test", path.clone(), true).unwrap();
        assert_eq!(again.cell(&key, || Ok(json!({ "s": 3 }))).unwrap(), json!({ "s": 3 }));
        // The latest line counts.
        assert_eq!(Cells::at("test", path.clone(), false).unwrap().finished(&key), Some(json!({ "s": 3 })));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_failed_measurement_leaves_no_cell_and_says_which_one_it_was() {
        let path = file("failed");
        let mut cells = Cells::at("test", path.clone(), false).unwrap();
        let key = json!({ "rows": 10 });
        let error = cells.cell(&key, || anyhow::bail!("broken")).unwrap_err();
        assert!(format!("{error:#}").contains("rows 10"), "{error:#}");
        assert_eq!(cells.finished(&key), None);
        assert!(!path.exists());
    }

    #[test]
    fn a_line_cut_short_is_left_out_and_what_follows_is_kept() {
        let path = file("cut");
        let whole = json!({ "cell": { "rows": 1 }, "figures": 7 });
        std::fs::write(&path, format!("{whole}\n{{\"cell\":{{\"rows\":2}},\"fig")).unwrap();
        let mut cells = Cells::at("test", path.clone(), false).unwrap();
        assert_eq!(cells.finished(&json!({ "rows": 1 })), Some(json!(7)));
        assert_eq!(cells.cell(&json!({ "rows": 2 }), || Ok(json!(8))).unwrap(), json!(8));
        let later = Cells::at("test", path.clone(), false).unwrap();
        assert_eq!(later.finished(&json!({ "rows": 2 })), Some(json!(8)));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_median_run_is_kept_whole() {
        let mut seconds = [3.0, 1.0, 2.0].into_iter();
        let run = median_of(3, "s", || Ok(json!({ "s": seconds.next(), "other": "kept" }))).unwrap();
        assert_eq!((number(&run, "s"), run["other"].as_str()), (2.0, Some("kept")));
        assert_eq!((number(&run["repeats"], "least"), number(&run["repeats"], "most")), (1.0, 3.0));
        let once = median_of(1, "s", || Ok(json!({ "s": 5.0 }))).unwrap();
        assert_eq!(once, json!({ "s": 5.0 }));
        assert!(median_of(2, "s", || anyhow::bail!("broken")).is_err());
    }
}
