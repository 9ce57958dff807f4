//! Measures the error of a learner's row-level effects against a generator's truth.
//!
//! `cargo run --release -p impactiq-causal --example cate_error -- KIND N SEED [key=value …]`, with
//! one seed or several (`0-9`, which adds a line of means),
//! trains on N rows (nothing held out, light nuisances) and prints the root mean squared error
//! on 100,000 fresh rows beside that of the true mean for everybody, what share of the outcome's loss the
//! nuisances explain out of fold, and the seconds. The
//! defaults of the learners were chosen with it (docs/methods/t_learner.md).

mod best_tenth;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use impactiq_causal::{Config, train};
use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{DataError, Seed, Watch};

use best_tenth::best_tenth;

/// Notes when each stage begins.
#[derive(Default)]
struct Stages(Mutex<Vec<(String, Instant)>>);

impl Watch for Stages {
    fn progress(&self, stage: &str, _: u64, _: u64) {
        if let Ok(mut seen) = self.0.lock()
            && seen.last().is_none_or(|(last, _)| last != stage)
        {
            seen.push((stage.to_owned(), Instant::now()));
        }
    }
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

/// Error, error of the true mean for everybody, and of the intervals coverage, width, Winkler score.
type Measured = [f64; 5];

fn run(arguments: &[String]) -> Result<(), String> {
    let [kind, n, seeds, settings @ ..] = arguments else { return Err("usage: KIND N SEED [key=value …]".into()) };
    let kind: SynthKind = kind.parse().map_err(|e: DataError| e.to_string())?;
    let n: usize = n.parse().map_err(|_| format!("'{n}' is no number of rows"))?;
    let seed = |text: &str| text.parse::<u64>().map_err(|_| format!("'{text}' is no seed"));
    let (first, last) = match seeds.split_once('-') {
        Some((first, last)) => (seed(first)?, seed(last)?),
        None => (seed(seeds)?, seed(seeds)?),
    };
    let mut sums = [0.0; 5];
    for seed in first..=last {
        let (line, measured) = one(kind, n, seed, settings)?;
        println!("{line}");
        sums.iter_mut().zip(measured).for_each(|(sum, value)| *sum += value);
    }
    if last > first {
        let [rmse, constant, covered, width, winkler] = sums.map(|sum| sum / (last - first + 1) as f64);
        println!(
            "{kind} n={n} seeds {first} to {last} {}: mean rmse {rmse:.5} (constant {constant:.5}) intervals cover {:.1} %, width {width:.4}, Winkler {winkler:.4}",
            settings.join(" "),
            100.0 * covered
        );
    }
    Ok(())
}

fn one(kind: SynthKind, n: usize, seed: u64, settings: &[String]) -> Result<(String, Measured), String> {
    let options = SynthOptions::default();
    let made = generate(kind, &options, n, Seed::new(seed)).map_err(|e| e.to_string())?;
    let fresh = generate(kind, &options, 100_000, Seed::new(seed + 1_000_000)).map_err(|e| e.to_string())?;
    let outcome = if made.table.column("visit").is_ok() { "visit" } else { "y" };
    let mut overrides: Vec<(String, String)> = vec![
        ("data.path".into(), "generated".into()),
        ("roles.treatment".into(), "treatment".into()),
        ("roles.control".into(), "0".into()),
        ("roles.outcome".into(), outcome.into()),
        ("split.holdout".into(), "0".into()),
        ("nuisance.kind".into(), "least_squares".into()),
    ];
    // Designs whose assignment depends on features are observational, as they are to a user.
    if kind.probabilities(&options).is_none() {
        overrides.push(("assignment.kind".into(), "observational".into()));
    }
    if outcome == "visit" {
        overrides.push(("roles.post_treatment".into(), "[exposure, conversion]".into()));
    }
    overrides.extend(settings.iter().filter_map(|s| s.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())));
    let config = Config::from_yaml("", "none", &overrides).map_err(|e| e.to_string())?;
    let config = config.check(made.table.names()).map_err(|e| e.to_string())?;
    let data = config.dataset(made.table, (0..n as u64).collect()).map_err(|e| e.to_string())?;
    let watch = Stages::default();
    let trained = train(&config, &data, &watch).map_err(|e| e.to_string())?;
    let end = Instant::now();
    let stages = watch.0.into_inner().map_err(|e| e.to_string())?;
    let ends = stages.iter().skip(1).map(|s| s.1).chain([end]);
    let seconds: Vec<String> = stages
        .iter()
        .zip(ends)
        .map(|((stage, begin), end)| format!("{stage} {:.1} s", (end - *begin).as_secs_f64()))
        .collect();
    let binned = trained.model.encode(&fresh.table).map_err(|e| e.to_string())?;
    let predicted = trained.model.predict(&binned, &fresh.table).map_err(|e| e.to_string())?;
    let truth = fresh.truth.column("tau").map_err(|e| e.to_string())?;
    let (tau, cate) = (truth.numbers().ok_or("tau is no number")?, &predicted[0].cate[0]);
    let m = tau.len() as f64;
    let mean = |x: &[f64]| x.iter().sum::<f64>() / m;
    let (mean_tau, mean_cate) = (mean(tau), mean(cate));
    let rmse = (tau.iter().zip(cate).map(|(t, c)| (t - c).powi(2)).sum::<f64>() / m).sqrt();
    let spread = |x: &[f64], mean: f64| (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / m).sqrt();
    let (sd_tau, sd_cate) = (spread(tau, mean_tau), spread(cate, mean_cate));
    let covariance = tau.iter().zip(cate).map(|(t, c)| (t - mean_tau) * (c - mean_cate)).sum::<f64>() / m;
    let (lower, upper) = (predicted[0].lower.first(), predicted[0].upper.first());
    let (covered, width, winkler) =
        lower.zip(upper).map_or((f64::NAN, f64::NAN, f64::NAN), |(lower, upper)| intervals(tau, lower, upper));
    let interval = match covered.is_nan() {
        true => String::new(),
        false => format!(" intervals cover {:.1} %, width {width:.4}, Winkler {winkler:.4},", 100.0 * covered),
    };
    let chosen: Vec<String> = trained
        .report
        .forests
        .iter()
        .map(|f| {
            let line = if f.linear { "line and " } else { "" };
            let leaf = if f.constant { "constant".to_owned() } else { format!("{line}leaf {}", f.min_arm_rows) };
            format!(" {leaf} of {} tried, leaves per tree {:.1},", f.candidates.len(), f.mean_leaves)
        })
        .collect();
    let choice: Vec<String> = trained
        .report
        .choices
        .iter()
        .flat_map(|choice| &choice.contrasts)
        .map(|c| {
            let weights: Vec<String> =
                c.candidates.iter().map(|j| format!("{} {} {:.2}", j.learner, j.base, j.weight)).collect();
            let (gain, error) = (c.gain.value().unwrap_or(f64::NAN), c.gain.std_error().unwrap_or(f64::NAN));
            format!(" gain {gain:.2e} ± {error:.2e} weights [{}],", weights.join(", "))
        })
        .collect();
    let arms = &trained.report.nuisance.outcomes[0].arms;
    let losses: Vec<String> =
        arms.iter().map(|arm| format!("{:.4} %", 100.0 * (1.0 - arm.loss.value / arm.loss.constant))).collect();
    let ate = &trained.report.contrasts[0].ate;
    let line = format!(
        "{kind} n={n} seed={seed} {}: rmse {rmse:.5} (constant {sd_tau:.5}) correlation {:.3} best tenth {:.3} sd {sd_cate:.5} bias {:+.5}{interval}{}{} nuisances explain {} of the loss, ate error {:.6}, {}",
        settings.join(" "),
        covariance / (sd_tau * sd_cate).max(1e-300),
        best_tenth(cate, tau),
        mean_cate - mean_tau,
        chosen.join(","),
        choice.concat(),
        losses.join(" and "),
        ate.std_error().unwrap_or(f64::NAN),
        seconds.join(", "),
    );
    Ok((line, [rmse, sd_tau, covered, width, winkler]))
}

/// Coverage, mean width and mean Winkler score of 95 % intervals of rows that have one.
fn intervals(tau: &[f64], lower: &[f64], upper: &[f64]) -> (f64, f64, f64) {
    let (mut n, mut covered, mut width, mut winkler) = (0.0f64, 0.0, 0.0, 0.0);
    for ((t, l), u) in tau.iter().zip(lower).zip(upper).filter(|((_, l), u)| l.is_finite() && u.is_finite()) {
        n += 1.0;
        covered += f64::from(u8::from(l <= t && t <= u));
        width += u - l;
        winkler += (u - l) + 2.0 / 0.05 * ((l - t).max(0.0) + (t - u).max(0.0));
    }
    let n = n.max(1.0);
    (covered / n, width / n, winkler / n)
}
