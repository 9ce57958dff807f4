//! How often tests find heterogeneity where there is none, on real features and outcomes.
//!
//! ```text
//! cargo run --release -p impactiq-causal --example null_behaviour -- run FILE [--to N] [--leaf ROWS]
//! cargo run --release -p impactiq-causal --example null_behaviour -- table FILE…
//! ```
//!
//! `run` permutes the treatment of the insurance mailing (`information_insurance` in the data folder)
//! with seeds 0 to N − 1 (1,000), grows a forest on one half of the rows, tests its effects on the
//! other and adds a line per permutation to FILE; seeds that stand there already are skipped, so a run
//! can be stopped and taken up again. Without `--leaf` the forest chooses by its defaults and is
//! mostly constant; with it, no forest is. `table` counts rejections at 5 %.

mod permuted;
#[path = "../../tests/shared_data/mod.rs"]
mod shared_data;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use permuted::p_values;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((command, rest)) if command == "run" => run(rest),
        Some((command, files)) if command == "table" && !files.is_empty() => table(files),
        _ => Err("usage: null_behaviour run FILE [--to N] [--leaf ROWS] | table FILE…".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let Some((file, options)) = arguments.split_first() else { return Err("run needs a file".into()) };
    let (mut to, mut leaf) = (1_000u64, None);
    for pair in options.chunks(2) {
        let [key, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
        let number = value.parse::<u64>().map_err(|_| format!("'{value}' is no number"))?;
        match key.as_str() {
            "--to" => to = number,
            "--leaf" => leaf = Some(number),
            other => return Err(format!("unknown option {other}")),
        }
    }
    let Some(table) = shared_data::table("information_insurance/train.csv.gz") else {
        return Err("there is nothing to permute".into());
    };
    let leaf = leaf.map_or(String::new(), |rows| format!(", min_arm_rows: {rows}"));
    let yaml = format!(
        "data: {{path: x}}\nroles: {{treatment: TREATMENT, control: 0, outcome: PURCHASE, id: UNIQUE_ID}}\n\
         split: {{holdout: 0}}\nnuisance: {{folds: 2, n_trees: 40}}\n\
         learner: {{kind: causal_forest, n_trees: 100{leaf}}}\n"
    );
    let done: Vec<u64> = lines(file)?.into_iter().map(|line| line.0).collect();
    for permutation in (0..to).filter(|permutation| !done.contains(permutation)) {
        let found = p_values(&table, "TREATMENT", &yaml, permutation).map_err(|e| e.to_string())?;
        let mut line = permutation.to_string();
        for p in [found.calibration, found.autoc, found.qini] {
            let _ = write!(line, " {}", p.map_or_else(|| "none".to_owned(), |p| format!("{p:.6}")));
        }
        let mut out = std::fs::OpenOptions::new().create(true).append(true).open(file).map_err(|e| e.to_string())?;
        writeln!(out, "{line}").map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// A permutation and its three p-values.
type Line = (u64, [Option<f64>; 3]);

fn lines(file: &str) -> Result<Vec<Line>, String> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{file}: {error}")),
    };
    text.lines()
        .map(|line| {
            let bad = || format!("{file}: '{line}' is no line of a run");
            let mut words = line.split(' ');
            let permutation = words.next().and_then(|word| word.parse().ok()).ok_or_else(bad)?;
            let mut p = [None; 3];
            for p in &mut p {
                let word = words.next().ok_or_else(bad)?;
                *p = if word == "none" { None } else { Some(word.parse().map_err(|_| bad())?) };
            }
            Ok((permutation, p))
        })
        .collect()
}

fn table(files: &[String]) -> Result<(), String> {
    println!(
        "| file | permutations | constant | calibration < 5 % | AUTOC < 5 % | Qini < 5 % |\n|---|--:|--:|--:|--:|--:|"
    );
    for file in files {
        let lines = lines(file)?;
        let n = lines.len();
        let share = |count: usize| 100.0 * count as f64 / n.max(1) as f64;
        let rejected = |test: usize| {
            let count = lines.iter().filter(|line| line.1[test].is_some_and(|p| p < 0.05)).count();
            format!("{count} ({:.1} %)", share(count))
        };
        let constant = lines.iter().filter(|line| line.1.iter().all(Option::is_none)).count();
        let (a, b, c) = (rejected(0), rejected(1), rejected(2));
        println!("| {file} | {n} | {constant} ({:.1} %) | {a} | {b} | {c} |", share(constant));
    }
    Ok(())
}
