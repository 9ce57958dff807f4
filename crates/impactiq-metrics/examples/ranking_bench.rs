//! Times every ranking metric's point value on Criteo-shaped rows and prints one line of JSON.
//!
//! `ranking_bench [--rows N] [--threads N] [--export PREFIX]`
//!
//! The score is the true effect with noise. `--export` writes `PREFIX.score.f64`,
//! `PREFIX.treated.u8` and `PREFIX.outcome.u8` (little endian), so that another library can
//! be timed on the very same rows. CPU seconds are user and system, all threads; making the
//! rows is not timed.

use std::f64::consts::TAU;

use impactiq_data::Seed;
use impactiq_data::synth::{SynthKind, SynthOptions, SynthPlan};
use impactiq_metrics::report::{EvaluateOptions, evaluate};
use impactiq_metrics::scored::Scored;

#[derive(Default)]
struct Rows {
    score: Vec<f64>,
    treated: Vec<u8>,
    outcome: Vec<f64>,
}

/// CPU seconds of this process so far.
fn cpu_seconds() -> Result<f64, String> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|e| format!("/proc/self/stat: {e}"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).ok_or("no ticks in /proc/self/stat");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

fn rows(n: u64) -> Result<Rows, String> {
    let noise = Seed::new(99);
    let plan =
        SynthPlan::new(SynthKind::Criteo, &SynthOptions::default(), n, Seed::new(1)).map_err(|e| e.to_string())?;
    let mut rows = Rows::default();
    for block in 0..plan.n_blocks() {
        let made = plan.block(block).map_err(|e| e.to_string())?;
        let column = |name| made.table.column(name).ok().and_then(|c| c.numbers()).ok_or("a column is missing");
        let tau = made.truth.column("tau").ok().and_then(|c| c.numbers()).ok_or("the truth is missing")?;
        for tau in tau {
            let row = rows.score.len() as u64;
            let (radius, angle) = (1.0 - noise.uniform(2 * row), noise.uniform(2 * row + 1));
            rows.score.push(tau + 0.01 * (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos());
        }
        rows.treated.extend(column("treatment")?.iter().map(|t| *t as u8));
        rows.outcome.extend_from_slice(column("visit")?);
    }
    Ok(rows)
}

fn export(rows: &Rows, prefix: &str) -> Result<(), String> {
    let score: Vec<u8> = rows.score.iter().flat_map(|s| s.to_le_bytes()).collect();
    let outcome: Vec<u8> = rows.outcome.iter().map(|y| *y as u8).collect();
    for (name, bytes) in [("score.f64", &score), ("treated.u8", &rows.treated), ("outcome.u8", &outcome)] {
        let path = format!("{prefix}.{name}");
        std::fs::write(&path, bytes).map_err(|e| format!("{path}: {e}"))?;
    }
    Ok(())
}

fn run(n: u64, threads: usize, prefix: Option<&str>) -> Result<(), String> {
    let rows = rows(n)?;
    if let Some(prefix) = prefix {
        export(&rows, prefix)?;
    }
    let began = cpu_seconds()?;
    let scored = Scored::new(&rows.score, &rows.treated, &rows.outcome);
    let options = EvaluateOptions { bootstrap: 0, ..EvaluateOptions::default() };
    let evaluation = evaluate(&scored, &options).map_err(|e| e.to_string())?;
    let cpu = cpu_seconds()? - began;
    let defined = evaluation.metrics.iter().filter(|(_, estimate)| estimate.value().is_some()).count();
    let value = |name: &str| {
        let found = evaluation.metrics.iter().find(|(n, _)| *n == name).and_then(|(_, e)| e.value());
        found.map_or("null".to_owned(), |v| format!("{v}"))
    };
    println!(
        "{{\"rows\":{n},\"threads\":{threads},\"cpu_s\":{cpu:.2},\"metrics\":{defined},\"qini_sklift\":{},\"auuc_sklift\":{}}}",
        value("qini_sklift"),
        value("auuc_sklift")
    );
    Ok(())
}

fn main() -> Result<(), String> {
    let (mut n, mut threads, mut prefix) = (1_000_000u64, 1usize, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        match word.as_str() {
            "--rows" => n = value.parse().map_err(|_| format!("--rows: '{value}' is not a whole number"))?,
            "--threads" => threads = value.parse().map_err(|_| format!("--threads: '{value}' is not a number"))?,
            "--export" => prefix = Some(value),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| e.to_string())?;
    pool.install(|| run(n, threads, prefix.as_deref()))
}
