//! Measures the coverage of 95 % intervals where assignment is confounded and its probability
//! known by row: coefficients of linear_dml and linear_dr against their true projections, and
//! averages with the true nuisances.
//!
//! ```text
//! cargo run --release -p impactiq-causal --example coverage_linear -- [--from A] [--to B] [--n ROWS]
//!     [--design nie-wager-c] [--covariance hc3] [--nuisance least_squares]
//! ```
//!
//! Designs are Nie & Wager (2021) A, C and D; truths are means and projections over 10 M rows.
//! Prints markdown.

use std::process::ExitCode;

use impactiq_causal::{CausalError, Config, train};
use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{Column, Seed, Silent, Table};
use impactiq_metrics::Estimate;
use impactiq_metrics::averages::{ArmNuisances, Sample};
use impactiq_metrics::estimands::{Comparison, Estimand, aipw, ipw, tmle};
use rayon::prelude::*;

const DESIGNS: [(&str, SynthKind); 3] = [
    ("nie-wager-a", SynthKind::NieWagerA),
    ("nie-wager-c", SynthKind::NieWagerC),
    ("nie-wager-d", SynthKind::NieWagerD),
];

/// Effect modifiers of the linear stages; the other features are controls.
const MODIFIERS: [&str; 2] = ["x1", "x2"];

/// Weights of the truths: everybody, the treated, the overlap.
const TARGETS: [(&str, Estimand); 3] = [("ate", Estimand::Ate), ("att", Estimand::Att), ("overlap", Estimand::Overlap)];

fn numbers<'a>(table: &'a Table, name: &str) -> Result<&'a [f64], CausalError> {
    Ok(table.column(name)?.numbers().unwrap_or_default())
}

/// True averages by target, and projections on (1, x1, x2): unweighted, and by p(1 − p).
struct Truth {
    averages: [f64; 3],
    projections: [[f64; 3]; 2],
}

fn truth(kind: SynthKind) -> Result<Truth, CausalError> {
    // Sums of w τ and w by target; moments of (1, x1, x2) with τ last, by weighting.
    type Sums = ([[f64; 2]; 3], [[[f64; 4]; 3]; 2]);
    let parts: Vec<Result<Sums, CausalError>> = (0..40u64)
        .into_par_iter()
        .map(|part| {
            let made = generate(kind, &SynthOptions::default(), 250_000, Seed::new(8_000_000 + part))?;
            let (tau, p) = (numbers(&made.truth, "tau")?, numbers(&made.truth, "propensity")?);
            let x = [numbers(&made.table, MODIFIERS[0])?, numbers(&made.table, MODIFIERS[1])?];
            let mut sums: Sums = Default::default();
            for row in 0..tau.len() {
                let v = p[row] * (1.0 - p[row]);
                for (sum, w) in sums.0.iter_mut().zip([1.0, p[row], v]) {
                    sum[0] += w * tau[row];
                    sum[1] += w;
                }
                let z = [1.0, x[0][row], x[1][row], tau[row]];
                for (moments, w) in sums.1.iter_mut().zip([1.0, v]) {
                    for i in 0..3 {
                        for j in 0..4 {
                            moments[i][j] += w * z[i] * z[j];
                        }
                    }
                }
            }
            Ok(sums)
        })
        .collect();
    let mut total: Sums = Default::default();
    for part in parts {
        let part = part?;
        for k in 0..3 {
            (0..2).for_each(|c| total.0[k][c] += part.0[k][c]);
        }
        for k in 0..2 {
            for i in 0..3 {
                (0..4).for_each(|j| total.1[k][i][j] += part.1[k][i][j]);
            }
        }
    }
    Ok(Truth { averages: total.0.map(|[top, bottom]| top / bottom), projections: total.1.map(solve) })
}

/// Gauss's elimination of a 3 × 3 system with its right side in the last column.
fn solve(mut m: [[f64; 4]; 3]) -> [f64; 3] {
    for i in 0..3 {
        for r in i + 1..3 {
            let factor = m[r][i] / m[i][i];
            let pivot = m[i];
            m[r].iter_mut().zip(pivot).for_each(|(v, p)| *v -= factor * p);
        }
    }
    let mut b = [0.0; 3];
    for i in (0..3).rev() {
        let known: f64 = (i + 1..3).map(|j| m[i][j] * b[j]).sum();
        b[i] = (m[i][3] - known) / m[i][i];
    }
    b
}

/// Name, estimate and truth of everything one replication says.
fn replicate(
    kind: SynthKind,
    (n, settings): (usize, &Settings),
    seed: u64,
    truth: &Truth,
) -> Result<Vec<(String, Estimate, f64)>, CausalError> {
    let (covariance, nuisance) = (&settings.covariance, &settings.nuisance);
    let made = generate(kind, &SynthOptions::default(), n, Seed::new(seed))?;
    let mut records = oracle(&made.table, &made.truth, truth)?;
    let mut table = made.table;
    table.push("p", Column::Number(numbers(&made.truth, "propensity")?.to_vec()))?;
    for (learner, projection) in [("linear_dr", 0), ("linear_dml", 1)] {
        let yaml = format!(
            "data: {{path: x}}\n\
             roles: {{treatment: treatment, control: 0, outcome: y, features: [x1, x2], controls: [x3, x4, x5, x6]}}\n\
             assignment: {{probability: p}}\nsplit: {{holdout: 0, seed: {seed}}}\n\
             nuisance: {nuisance}\nlearner: {{kind: {learner}, covariance: {covariance}}}\n"
        );
        let config = Config::from_yaml(&yaml, "coverage", &[])?.check(table.names())?;
        let mut part = Table::new();
        for name in config.columns() {
            part.push(name.clone(), Column::Number(numbers(&table, &name)?.to_vec()))?;
        }
        let data = config.dataset(part, (0..n as u64).collect())?;
        let report = train(&config, &data, &Silent)?.report;
        for (term, wanted) in report.linear[0].terms.iter().zip(truth.projections[projection]) {
            records.push((format!("{learner} {}", term.name), term.estimate.clone(), wanted));
        }
    }
    Ok(records)
}

/// Averages with the true means and probabilities.
fn oracle(table: &Table, known: &Table, truth: &Truth) -> Result<Vec<(String, Estimate, f64)>, CausalError> {
    let arm: Vec<u8> = numbers(table, "treatment")?.iter().map(|&t| t as u8).collect();
    let p = numbers(known, "propensity")?;
    let control: Vec<f64> = p.iter().map(|p| 1.0 - p).collect();
    let sample = Sample { outcome: numbers(table, "y")?, arm: &arm, contrast: 1, weights: None, clusters: None };
    let nuisances = ArmNuisances {
        mean_treated: numbers(known, "mu1")?,
        mean_control: numbers(known, "mu0")?,
        p_treated: p,
        p_control: &control,
    };
    let data = Comparison { sample, nuisances };
    let mut records = Vec::new();
    for ((name, estimand), wanted) in TARGETS.into_iter().zip(truth.averages) {
        records.push((format!("aipw {name}, true nuisances"), aipw(&data, estimand), wanted));
        records.push((format!("ipw {name}, true probabilities"), ipw(&data, estimand), wanted));
        if estimand != Estimand::Overlap {
            records.push((format!("tmle {name}, true nuisances"), tmle(&data, estimand), wanted));
        }
    }
    Ok(records)
}

/// What a run may change.
struct Settings {
    covariance: String,
    nuisance: String,
    design: Option<String>,
}

fn run(arguments: &[String]) -> Result<(), String> {
    let (mut from, mut to, mut n) = (0u64, 2_000u64, 2_000usize);
    let mut settings = Settings { covariance: "hc1".into(), nuisance: "{n_trees: 40}".into(), design: None };
    for pair in arguments.chunks(2) {
        let [key, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
        let number = || value.parse::<u64>().map_err(|_| format!("'{value}' is no number"));
        match key.as_str() {
            "--from" => from = number()?,
            "--to" => to = number()?,
            "--n" => n = number()? as usize,
            "--covariance" => settings.covariance.clone_from(value),
            "--nuisance" => settings.nuisance = format!("{{kind: {value}}}"),
            "--design" => settings.design = Some(value.clone()),
            other => return Err(format!("unknown option {other}")),
        }
    }
    println!("| design | n | what | truth | replications | bias / SE | error ratio | coverage |");
    println!("|---|---|---|---|---|---|---|---|");
    for (name, kind) in DESIGNS {
        if settings.design.as_ref().is_some_and(|design| design != name) {
            continue;
        }
        let truth = truth(kind).map_err(|e| e.to_string())?;
        // Replications side by side, added in order: the same sums on any number of threads.
        let all: Vec<_> =
            (from..to).into_par_iter().map(|seed| replicate(kind, (n, &settings), seed, &truth)).collect();
        let all = all.into_iter().collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
        for k in 0..all[0].len() {
            let (mut sum, mut squares, mut variance, mut covered) = (0.0, 0.0, 0.0, 0.0);
            for records in &all {
                let (_, estimate, wanted) = &records[k];
                let gap = estimate.value().unwrap_or(f64::NAN) - wanted;
                sum += gap;
                squares += gap * gap;
                variance += estimate.std_error().unwrap_or(f64::NAN).powi(2);
                let holds = |(lower, upper): (f64, f64)| lower <= *wanted && *wanted <= upper;
                covered += f64::from(u8::from(estimate.lower().zip(estimate.upper()).is_some_and(holds)));
            }
            let many = all.len() as f64;
            let bias = sum / many;
            let spread = (squares / many - bias * bias).sqrt();
            println!(
                "| {name} | {n} | {} | {:.4} | {many} | {:+.3} | {:.3} | {:.2} % |",
                all[0][k].0,
                all[0][k].2,
                bias / spread,
                (variance / many).sqrt() / spread,
                100.0 * covered / many
            );
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
