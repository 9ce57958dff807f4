//! Measures the coverage of 95 % intervals of average effects under a declared probability.
//!
//! ```text
//! cargo run --release -p impactiq-causal --example coverage -- run [--cell NAME] [--from A] [--to B] > part.txt
//! cat part*.txt | cargo run --release -p impactiq-causal --example coverage -- table
//! ```
//!
//! `run` prints one line of sums per cell, estimator and arm for replications A to B − 1 (all of
//! the cell's by default), so a study can be cut into parts; `table` adds the parts and prints markdown.

mod cells;

use std::collections::BTreeMap;
use std::io::Read;
use std::process::ExitCode;

use cells::{Cell, Tally, replicate};
use rayon::prelude::*;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("run") => run(&arguments[1..]),
        Some("table") => table(),
        _ => Err("usage: coverage run [--cell NAME] [--from A] [--to B] | coverage table".into()),
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
    let (mut cells, mut from, mut to) = (Cell::ALL.to_vec(), 0u64, None);
    for pair in arguments.chunks(2) {
        let [key, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
        let number = || value.parse().map_err(|_| format!("'{value}' is no number"));
        match key.as_str() {
            "--cell" => {
                let found = Cell::ALL.into_iter().find(|cell| cell.name() == value);
                cells = vec![found.ok_or_else(|| format!("no cell '{value}'"))?];
            }
            "--from" => from = number()?,
            "--to" => to = Some(number()?),
            other => return Err(format!("unknown option {other}")),
        }
    }
    for cell in cells {
        let truth = cell.truth().map_err(|e| e.to_string())?;
        // Replications side by side, added in order: the same sums on any number of threads.
        let all: Vec<_> =
            (from..to.unwrap_or(cell.n_replications())).into_par_iter().map(|r| replicate(cell, r)).collect();
        let mut tallies: BTreeMap<(usize, &str), Tally> = BTreeMap::new();
        for records in all {
            for record in records.map_err(|e| e.to_string())? {
                let tally = tallies.entry((record.arm, record.estimator)).or_default();
                tally.observe(&record.estimate, truth[record.arm - 1]);
            }
        }
        for ((arm, estimator), t) in tallies {
            let sums = [t.n, t.error, t.error_squared, t.variance, t.covered].map(|v| v.to_string()).join(" ");
            println!("{} {arm} {estimator} {sums}", cell.name());
        }
    }
    Ok(())
}

fn table() -> Result<(), String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| e.to_string())?;
    let mut tallies: BTreeMap<(usize, usize, String), Tally> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [cell, arm, estimator, sums @ ..] = words.as_slice() else { continue };
        let cell = Cell::ALL.iter().position(|c| c.name() == *cell).ok_or_else(|| format!("no cell '{cell}'"))?;
        let arm = arm.parse().map_err(|_| format!("no arm '{arm}'"))?;
        let sums: Vec<f64> = sums.iter().filter_map(|s| s.parse().ok()).collect();
        let [n, error, error_squared, variance, covered] = sums.as_slice() else {
            return Err(format!("not a line of sums: {line}"));
        };
        let part =
            Tally { n: *n, error: *error, error_squared: *error_squared, variance: *variance, covered: *covered };
        let order = ["difference_in_means", "lin", "aipw"].iter().position(|e| e == estimator).unwrap_or(9);
        tallies.entry((cell, arm, format!("{order}{estimator}"))).or_default().add(&part);
    }
    println!("| cell | n | arm | estimator | replications | bias | error ratio | coverage | Monte Carlo error |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for ((cell, arm, estimator), tally) in tallies {
        let cell = Cell::ALL[cell];
        println!(
            "| {} | {} | {arm} | {} | {} | {:+.5} | {:.3} | {:.2} % | {:.2} % |",
            cell.name(),
            cell.n_rows(),
            &estimator[1..],
            tally.n,
            tally.bias(),
            tally.error_ratio(),
            100.0 * tally.coverage(),
            100.0 * tally.coverage_error(),
        );
    }
    Ok(())
}
