//! The whole way on one big trial: make it, train, evaluate, score; seconds and peak memory
//! of every stage, each a process of its own.
//!
//! A stage that is finished is not run again while its output is there and the program is the
//! same file, so a run that was stopped goes on with the stage it was in.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use super::cells::{Cells, fingerprint};
use super::options::{Known, Options};
use super::peers::lasting;
use super::record::{number, print};
use crate::measure;
use crate::workspace;

/// What the bench can be asked.
pub const KNOWN: Known = Known {
    numbers: &[("rows", 13_979_592), ("threads", 2), ("trees", 500)],
    words: &[("learner", &["t", "s", "causal_forest"])],
    flags: &["again"],
};

const MEBIBYTE: f64 = (1 << 20) as f64;

fn config(learner: &str, trees: u64) -> String {
    // Boosted learners have defaults of their own; the trees that are asked for are a forest's.
    let trees = if learner == "causal_forest" { format!(", n_trees: {trees}") } else { String::new() };
    format!(
        "\
data: {{ path: trial.parquet }}
roles:
  treatment: treatment
  control: 0
  outcome: visit
  features: [\"f*\"]
  post_treatment: [exposure, conversion]
assignment: {{ kind: randomised, probability: 0.85 }}
split: {{ holdout: 0.3, seed: 7 }}
nuisance: {{ kind: boosted, folds: 5 }}
learner: {{ kind: {learner}{trees} }}
evaluate: {{ k: [0.1, 0.2, 0.3], bootstrap: 200 }}
"
    )
}

/// A command and the file that is there when it is done.
struct Stage {
    name: &'static str,
    words: Vec<String>,
    output: Option<&'static str>,
}

fn stages(rows: u64) -> [Stage; 4] {
    let stage = |name, words: &str, output| {
        let words = words.split(' ').map(str::to_owned).collect();
        Stage { name, words, output }
    };
    [
        stage("synth", &format!("synth criteo -n {rows} -o trial.parquet"), Some("trial.parquet")),
        stage("train", "train -c config.yaml -o model", Some("model")),
        stage("evaluate", "evaluate -m model", None),
        stage("score", "score -m model -d trial.parquet -o scores.parquet", Some("scores.parquet")),
    ]
}

/// Runs the stages one after the other.
pub fn run(options: &Options) -> Result<()> {
    let [rows, threads, trees] = ["rows", "threads", "trees"].map(|name| options.number(name));
    let learner = options.word("learner");
    let binary = workspace::binary()?;
    let program = fingerprint(&binary)?;
    let folder = lasting(&format!("end-to-end-{learner}-{rows}"))?;
    let mut cells = Cells::open("end_to_end", options.flag("again"))?;
    std::fs::write(folder.join("config.yaml"), config(learner, trees))?;
    let mut table = vec![["stage", "wall s", "CPU s", "peak MiB"].map(str::to_owned).to_vec()];
    let mut fresh = false;
    for stage in stages(rows) {
        let key = json!({
            "stage": stage.name, "rows": rows, "learner": learner, "trees": trees, "threads": threads,
            "program": program,
        });
        let figures = match cells.finished(&key) {
            // What a stage before has made anew is to be used.
            Some(figures) if !fresh && stage.is_done(&folder) => figures,
            _ => {
                fresh = true;
                cells.measure(&key, || stage.measure(&binary, &folder, threads))?
            }
        };
        table.push(vec![
            stage.name.to_owned(),
            format!("{:.1}", number(&figures, "wall_s")),
            format!("{:.1}", number(&figures, "cpu_s")),
            format!("{:.0}", number(&figures, "peak_bytes") / MEBIBYTE),
        ]);
    }
    println!("{rows} rows, learner {learner}, {threads} thread(s); files in {}", folder.display());
    print(&table);
    println!("kept in docs/measured/end_to_end.jsonl");
    Ok(())
}

impl Stage {
    fn is_done(&self, folder: &Path) -> bool {
        self.output.is_none_or(|output| folder.join(output).exists())
    }

    fn measure(&self, binary: &Path, folder: &Path, threads: u64) -> Result<Value> {
        let mut command = Command::new(binary);
        command.args(&self.words).args(["--threads", &threads.to_string(), "--quiet", "--format", "json"]);
        if self.output.is_some() {
            command.arg("--overwrite");
        }
        let measured = measure::run(command.current_dir(folder))?;
        let own: Option<Value> = serde_json::from_str(&measured.stdout).ok();
        Ok(json!({
            "wall_s": measured.wall_seconds,
            "cpu_s": measured.cpu_seconds,
            "peak_bytes": measured.peak_bytes,
            "says": own.as_ref().map(said),
        }))
    }
}

/// What a command itself reports that belongs beside its cost: the stages of training, what a
/// forest chose, the average effect, the ranking metrics.
fn said(own: &Value) -> Value {
    let places = [
        ("seconds", "/seconds"),
        ("rows", "/n_rows"),
        ("forest", "/forests/0"),
        ("ate", "/contrasts/0/ate"),
        ("metrics", "/contrasts/0/metrics"),
    ];
    let found = places.into_iter().filter_map(|(name, place)| Some((name.to_owned(), own.pointer(place)?.clone())));
    Value::Object(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forest_is_asked_for_its_trees_and_others_keep_their_defaults() {
        assert!(config("causal_forest", 500).contains("learner: { kind: causal_forest, n_trees: 500 }\n"));
        assert!(config("t", 500).contains("learner: { kind: t }\n"));
    }

    #[test]
    fn a_stage_is_done_when_its_output_is_there() {
        let folder = std::env::temp_dir().join(format!("xtask-stage-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [synth, _, evaluate, _] = stages(10);
        assert!(!synth.is_done(&folder) && evaluate.is_done(&folder));
        std::fs::write(folder.join("trial.parquet"), "rows").unwrap();
        assert!(synth.is_done(&folder));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_a_command_says_is_kept_where_it_says_it() {
        let own = json!({ "seconds": { "total": 1.0 }, "contrasts": [{ "ate": { "value": 0.01 } }], "more": 1 });
        assert_eq!(said(&own), json!({ "seconds": { "total": 1.0 }, "ate": { "value": 0.01 } }));
    }
}
