//! Measures bias and coverage of doubly robust averages where everything is learned: outcome and
//! probability by boosted trees, out of fold, under confounding.
//!
//! ```text
//! cargo run --release -p impactiq-causal --example coverage_boosted -- run FILE [--from A] [--to B] [--n ROWS]
//! cargo run --release -p impactiq-causal --example coverage_boosted -- export FOLDER [--from A] [--to B] [--n ROWS]
//! cargo run --release -p impactiq-causal --example coverage_boosted -- table FILE…
//! ```
//!
//! `run` adds a line `design n seed estimator estimate error` per replication of Nie & Wager (2021) A, C and D to FILE
//! and skips the seeds that stand there; `export` writes the same draws as little-endian doubles (six
//! features, treatment, outcome by row) for bench/peers/doubleml_coverage.py, whose lines look alike; `table` counts
//! the lines of both, all of them and those of the seeds that every estimator of the design has.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use impactiq_causal::effect::{Asked, averages};
use impactiq_causal::nuisance::fit_nuisances;
use impactiq_causal::{CausalError, Config};
use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{Seed, Silent};
use rayon::prelude::*;

/// Name, generator and true average effect in the population.
const DESIGNS: [(&str, SynthKind, f64); 3] = [
    // E[(x1 + x2) / 2] of uniform features.
    ("nie-wager-a", SynthKind::NieWagerA, 0.5),
    // The effect is 1 for everybody.
    ("nie-wager-c", SynthKind::NieWagerC, 1.0),
    // E[max(x1 + x2 + x3, 0)] − E[max(x4 + x5, 0)] of standard normals: (√3 − √2) / √(2π).
    ("nie-wager-d", SynthKind::NieWagerD, 0.126_799_457_668_517_3),
];

/// Replications fitted between two writes.
const CHUNK: usize = 20;

struct Asking {
    from: u64,
    to: u64,
    n: usize,
}

fn asking(words: &[String]) -> Result<Asking, String> {
    let mut asking = Asking { from: 0, to: 2_000, n: 2_000 };
    for pair in words.chunks(2) {
        let [key, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
        let number: u64 = value.parse().map_err(|_| format!("'{value}' is no number"))?;
        match key.as_str() {
            "--from" => asking.from = number,
            "--to" => asking.to = number,
            "--n" => asking.n = number as usize,
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(asking)
}

/// A line of a file: design, rows, seed, estimator.
type Key = (String, usize, u64, String);

fn lines(file: &str) -> Result<BTreeMap<Key, (f64, f64)>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [design, n, seed, estimator, value, error] = words.as_slice() else { return None };
        let key = ((*design).to_owned(), n.parse().ok()?, seed.parse().ok()?, (*estimator).to_owned());
        Some((key, (value.parse().ok()?, error.parse().ok()?)))
    };
    text.lines().map(|text| line(text).ok_or_else(|| format!("{file}: '{text}' is no line of a run"))).collect()
}

/// Estimates of one replication: name, value, standard error.
fn replicate(kind: SynthKind, n: usize, seed: u64) -> Result<Vec<(&'static str, f64, f64)>, CausalError> {
    let made = generate(kind, &SynthOptions::default(), n, Seed::new(seed))?;
    let yaml = format!(
        "data: {{path: x}}\nroles: {{treatment: treatment, control: 0, outcome: y}}\n\
         assignment: {{kind: observational}}\nsplit: {{seed: {seed}}}\n"
    );
    let config = Config::from_yaml(&yaml, "coverage", &[])?.check(made.table.names())?;
    let data = config.dataset(made.table, (0..n as u64).collect())?;
    let nuisances =
        fit_nuisances(&data, &config.folds(&data)?, &config.config().nuisance, Seed::new(seed).child(1), &Silent)?;
    let all = averages(&data, &nuisances, &Asked::default())?;
    let found = &all[0].estimators;
    let of = |name, estimate: &impactiq_metrics::Estimate| {
        (name, estimate.value().unwrap_or(f64::NAN), estimate.std_error().unwrap_or(f64::NAN))
    };
    Ok(vec![of("aipw", &found.aipw), of("tmle", &found.tmle), of("ipw", &found.ipw)])
}

fn run(file: &str, asking: &Asking) -> Result<(), String> {
    let done = if Path::new(file).exists() { lines(file)? } else { BTreeMap::new() };
    for (design, kind, _) in DESIGNS {
        let missing: Vec<u64> = (asking.from..asking.to)
            .filter(|seed| !done.contains_key(&(design.to_owned(), asking.n, *seed, "aipw".to_owned())))
            .collect();
        for seeds in missing.chunks(CHUNK) {
            let found: Vec<_> = seeds.par_iter().map(|&seed| replicate(kind, asking.n, seed)).collect();
            let mut text = String::new();
            for (seed, found) in seeds.iter().zip(found) {
                for (estimator, value, error) in found.map_err(|e| e.to_string())? {
                    text += &format!("{design} {} {seed} {estimator} {value:.8} {error:.8}\n", asking.n);
                }
            }
            let mut out =
                std::fs::OpenOptions::new().create(true).append(true).open(file).map_err(|e| e.to_string())?;
            out.write_all(text.as_bytes()).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

fn export(folder: &str, asking: &Asking) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|e| format!("{folder}: {e}"))?;
    for (design, kind, _) in DESIGNS {
        for seed in asking.from..asking.to {
            let made =
                generate(kind, &SynthOptions::default(), asking.n, Seed::new(seed)).map_err(|e| e.to_string())?;
            let names = ["x1", "x2", "x3", "x4", "x5", "x6", "treatment", "y"];
            let columns = names.map(|name| made.table.column(name).ok().and_then(|column| column.numbers()));
            let mut bytes = Vec::with_capacity(asking.n * names.len() * 8);
            for row in 0..asking.n {
                for (name, column) in names.iter().zip(columns) {
                    let column = column.ok_or_else(|| format!("{design} has no numbers '{name}'"))?;
                    bytes.extend_from_slice(&column[row].to_le_bytes());
                }
            }
            let file = format!("{folder}/{design}.{}.{seed}.f64", asking.n);
            std::fs::write(&file, bytes).map_err(|e| format!("{file}: {e}"))?;
        }
    }
    Ok(())
}

fn table(files: &[String]) -> Result<(), String> {
    let mut all: BTreeMap<Key, (f64, f64)> = BTreeMap::new();
    for file in files {
        all.extend(lines(file)?);
    }
    println!(
        "| design | n | estimator | replications | bias | bias / SE | error ratio | coverage | Monte Carlo error |"
    );
    println!("|---|--:|---|--:|--:|--:|--:|--:|--:|");
    /// By who: estimate and standard error by replication.
    type Sides = BTreeMap<String, BTreeMap<u64, (f64, f64)>>;
    let mut cells: BTreeMap<(String, usize), Sides> = BTreeMap::new();
    for ((design, n, seed, estimator), answer) in all {
        cells.entry((design, n)).or_default().entry(estimator).or_default().insert(seed, answer);
    }
    for ((design, n), estimators) in &cells {
        let Some((_, _, truth)) = DESIGNS.iter().find(|known| known.0 == design) else {
            return Err(format!("no design '{design}'"));
        };
        let mut shared: BTreeSet<u64> =
            estimators.values().next().into_iter().flat_map(|e| e.keys().copied()).collect();
        estimators.values().for_each(|e| shared.retain(|seed| e.contains_key(seed)));
        for (estimator, by_seed) in estimators {
            let everything: Vec<(f64, f64)> = by_seed.values().copied().collect();
            println!("| {design} | {n} | {estimator} | {}", cells_of(&everything, *truth));
            if shared.len() < by_seed.len() {
                let some: Vec<(f64, f64)> = shared.iter().map(|seed| by_seed[seed]).collect();
                println!("| {design} | {n} | {estimator}, same draws | {}", cells_of(&some, *truth));
            }
        }
    }
    Ok(())
}

/// Replications, bias, bias in standard deviations, error ratio, coverage and its own error.
fn cells_of(answers: &[(f64, f64)], truth: f64) -> String {
    let many = answers.len() as f64;
    let mean = |f: &dyn Fn(&(f64, f64)) -> f64| answers.iter().map(f).sum::<f64>() / many;
    let bias = mean(&|a| a.0 - truth);
    let spread = (mean(&|a| (a.0 - truth - bias).powi(2)) * many / (many - 1.0)).sqrt();
    let covered = mean(&|a| f64::from(u8::from((a.0 - truth).abs() <= 1.959_963_984_540_054 * a.1)));
    format!(
        "{many} | {bias:+.4} | {:+.2} | {:.3} | {:.1} % | {:.1} % |",
        bias / spread,
        mean(&|a| a.1 * a.1).sqrt() / spread,
        100.0 * covered,
        100.0 * (covered * (1.0 - covered) / many).sqrt()
    )
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["run", file, ..] => asking(&arguments[2..]).and_then(|asking| run(file, &asking)),
        ["export", folder, ..] => asking(&arguments[2..]).and_then(|asking| export(folder, &asking)),
        ["table", _, ..] => table(&arguments[1..]),
        _ => Err("usage: coverage_boosted run FILE | export FOLDER | table FILE…".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
