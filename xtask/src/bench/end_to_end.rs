//! The whole way on one big trial: make it, train, evaluate, score; seconds and peak memory
//! of every stage, each a process of its own.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use super::peers::scratch;
use super::record::{before, keep, print};
use crate::measure;
use crate::workspace;

const CONFIG: &str = "\
data: { path: trial.parquet }
roles:
  treatment: treatment
  control: 0
  outcome: visit
  features: [\"f*\"]
  post_treatment: [exposure, conversion]
assignment: { kind: randomised, probability: 0.85 }
split: { holdout: 0.3, seed: 7 }
nuisance: { kind: boosted, folds: 5 }
learner: { kind: t }
evaluate: { k: [0.1, 0.2, 0.3], bootstrap: 200 }
";

/// Runs the stages one after the other.
pub fn run(options: &[u64]) -> Result<()> {
    let [rows, threads] = options else { unreachable!("two options have defaults") };
    let binary = workspace::binary()?;
    let folder = scratch("end-to-end")?;
    let machine = before();
    std::fs::write(folder.join("config.yaml"), CONFIG)?;
    let n = rows.to_string();
    let stages: [(&str, Vec<&str>); 4] = [
        ("synth", vec!["synth", "criteo", "-n", &n, "-o", "trial.parquet"]),
        ("train", vec!["train", "-c", "config.yaml", "-o", "model"]),
        ("evaluate", vec!["evaluate", "-m", "model"]),
        ("score", vec!["score", "-m", "model", "-d", "trial.parquet", "-o", "scores.parquet"]),
    ];
    let mut table = vec![["stage", "wall s", "CPU s", "peak MiB"].map(str::to_owned).to_vec()];
    let mut figures = serde_json::Map::new();
    for (stage, words) in stages {
        let (row, figure) = measure_stage(stage, &binary, &folder, &words, *threads)?;
        table.push(row);
        figures.insert(stage.to_owned(), figure);
    }
    println!("{rows} rows, {threads} thread(s)");
    print(&table);
    std::fs::remove_dir_all(&folder)?;
    keep("end-to-end", machine, json!({ "rows": rows, "threads": threads, "stages": figures }))
}

fn measure_stage(
    stage: &str,
    binary: &Path,
    folder: &Path,
    words: &[&str],
    threads: u64,
) -> Result<(Vec<String>, Value)> {
    eprintln!("{stage} …");
    let threads = threads.to_string();
    let mut command = Command::new(binary);
    command.args(words).args(["--threads", &threads, "--quiet", "--format", "json"]).current_dir(folder);
    let measured = measure::run(&mut command)?;
    let mebibytes = measured.peak_bytes as f64 / (1 << 20) as f64;
    let row = vec![
        stage.to_owned(),
        format!("{:.1}", measured.wall_seconds),
        format!("{:.1}", measured.cpu_seconds),
        format!("{mebibytes:.0}"),
    ];
    // What the command itself reports about its time (train does) is kept beside our figures.
    let own: Option<Value> = serde_json::from_str(&measured.stdout).ok();
    let figure = json!({
        "wall_s": measured.wall_seconds,
        "cpu_s": measured.cpu_seconds,
        "peak_bytes": measured.peak_bytes,
        "seconds": own.as_ref().and_then(|own| own.get("seconds")),
        "rows": own.as_ref().and_then(|own| own.get("n_rows")),
    });
    Ok((row, figure))
}
