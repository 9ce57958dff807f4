//! Times boosting on Criteo-shaped data and prints one line of JSON.
//!
//! `boosting_bench [--rows N] [--test-rows N] [--trees N] [--leaves N] [--threads N]
//! [--seed N] [--export PREFIX]`
//!
//! `--export` writes `PREFIX.x.f32` (rows × 12, little endian), `PREFIX.y.f32` and the same for
//! `PREFIX.test`, so that another library can be timed on the very same rows. Times are
//! CPU seconds (user and system, all threads) where the system tells them.

mod timing;

use std::time::Instant;

use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{BinColumns, BinnedFeatures, Seed, Silent, Table};
use impactiq_trees::{BoostConfig, BoostTask, ObjectiveKind, boost};

use timing::{cpu_seconds, numbers, write};

struct Arguments {
    rows: usize,
    test_rows: usize,
    trees: usize,
    leaves: usize,
    threads: usize,
    seed: u64,
    export: Option<String>,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut arguments = Arguments {
            rows: 1_000_000,
            test_rows: 500_000,
            trees: 100,
            leaves: 31,
            threads: 1,
            seed: 1,
            export: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            let number = || value.parse::<usize>().map_err(|_| format!("{word}: '{value}' is not a whole number"));
            match word.as_str() {
                "--rows" => arguments.rows = number()?,
                "--test-rows" => arguments.test_rows = number()?,
                "--trees" => arguments.trees = number()?,
                "--leaves" => arguments.leaves = number()?,
                "--threads" => arguments.threads = number()?,
                "--seed" => arguments.seed = number()? as u64,
                "--export" => arguments.export = Some(value),
                _ => return Err(format!("unknown option {word}")),
            }
        }
        Ok(arguments)
    }
}

fn feature_names() -> Vec<String> {
    (0..12).map(|i| format!("f{i}")).collect()
}

fn export(table: &Table, prefix: &str) -> Result<(), String> {
    let columns = feature_names().iter().map(|name| numbers(table, name)).collect::<Result<Vec<_>, _>>()?;
    let cells = (0..table.n_rows()).flat_map(|row| columns.iter().map(move |column| column[row]));
    write(format!("{prefix}.x.f32"), cells)?;
    write(format!("{prefix}.y.f32"), numbers(table, "visit")?.iter().copied())
}

/// Area under the ROC curve with ties counted half, and mean log loss.
fn accuracy(p: &[f64], y: &[f64]) -> (f64, f64) {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut negatives, mut pairs, mut at) = (0.0, 0.0, 0);
    while at < order.len() {
        let end = order[at..].iter().position(|&i| p[i] != p[order[at]]).map_or(order.len(), |k| at + k);
        let positives: f64 = order[at..end].iter().map(|&i| y[i]).sum();
        let others = (end - at) as f64 - positives;
        pairs += positives * (negatives + 0.5 * others);
        negatives += others;
        at = end;
    }
    let positives = p.len() as f64 - negatives;
    let loss: f64 = p.iter().zip(y).map(|(p, y)| -(if *y > 0.5 { *p } else { 1.0 - p }).ln()).sum();
    (pairs / (positives * negatives), loss / p.len() as f64)
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let start = Instant::now();
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let synth = |rows, seed| {
        generate(SynthKind::Criteo, &SynthOptions::default(), rows, Seed::new(seed)).map(|synth| synth.table)
    };
    let table = synth(arguments.rows, arguments.seed).map_err(|e| say(&e))?;
    let test = synth(arguments.test_rows, arguments.seed + 1000).map_err(|e| say(&e))?;
    if let Some(prefix) = &arguments.export {
        export(&table, prefix)?;
        export(&test, &format!("{prefix}.test"))?;
    }
    let names = feature_names();
    let at = cpu_seconds(start);
    let x = BinnedFeatures::learn(&table, &names, Seed::new(1), 255).map_err(|e| say(&e))?;
    let binning = cpu_seconds(start) - at;

    let rows: Vec<u32> = (0..arguments.rows as u32).collect();
    let row_ids: Vec<u64> = (0..arguments.rows as u64).collect();
    let task = BoostTask {
        rows: &rows,
        target: numbers(&table, "visit")?,
        weights: None,
        row_ids: &row_ids,
        objective: ObjectiveKind::Logistic,
    };
    // LightGBM's defaults, so that both grow the same kind of trees.
    let config =
        BoostConfig { n_trees: arguments.trees, n_leaves: arguments.leaves, l2: 0.0, ..BoostConfig::default() };
    let (at, wall) = (cpu_seconds(start), Instant::now());
    let model = boost(&x, &task, &config, Seed::new(2), &Silent).map_err(|e| say(&e))?;
    let (training, training_wall) = (cpu_seconds(start) - at, wall.elapsed().as_secs_f64());

    let test_x = BinnedFeatures::encode(&test, &names, x.bins()).map_err(|e| say(&e))?;
    let mut p = vec![0.0; arguments.test_rows];
    let at = cpu_seconds(start);
    model.predict(&test_x, None, &mut p);
    let predicting = cpu_seconds(start) - at;
    let (auc, log_loss) = accuracy(&p, numbers(&test, "visit")?);
    let n_leaves: usize = model.trees().iter().map(|tree| tree.n_leaves()).sum();
    println!(
        "{{\"rows\":{},\"features\":{},\"codes\":{},\"trees\":{},\"leaves\":{},\"threads\":{},\
         \"binning_cpu_s\":{:.2},\"training_cpu_s\":{:.2},\"training_wall_s\":{:.2},\"predict_rows\":{},\
         \"predict_cpu_s\":{:.2},\"auc\":{:.5},\"log_loss\":{:.6}}}",
        arguments.rows,
        x.n_features(),
        (0..x.n_features()).map(|f| x.n_codes(f)).sum::<usize>(),
        model.n_trees(),
        n_leaves,
        arguments.threads,
        binning,
        training,
        training_wall,
        arguments.test_rows,
        predicting,
        auc,
        log_loss
    );
    Ok(())
}

fn main() -> Result<(), String> {
    let arguments = Arguments::parse()?;
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build().map_err(|error| error.to_string())?;
    pool.install(|| run(&arguments))
}
