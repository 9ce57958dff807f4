//! Times a causal forest on Criteo-shaped data and prints one line of JSON.
//!
//! `forest_bench [--rows N] [--test-rows N] [--trees N] [--min-arm-rows N] [--min-leaf-rows N]
//! [--sample-percent N] [--alpha-percent N] [--threads N] [--seed N] [--single-rows N] [--export PREFIX]`
//!
//! `--single-rows` also asks for that many rows one by one, effect and variance, and prints the median
//! and the 99th percentile of their times.
//!
//! Centring is by two-fold boosting and by the known propensity and is not timed. `--export` writes
//! features, centred outcome and centred treatment (f32, little endian), and outcome and treatment
//! as they are (one byte), so that another library can grow its forest from the same numbers.

mod effects;
mod timing;

use std::time::Instant;

use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{BinnedFeatures, Seed, Silent, Table};
use impactiq_trees::{
    BoostConfig, BoostTask, EffectTask, Forest, ForestConfig, ObjectiveKind, boost, grow_effect_forest,
};

use effects::{WholeNumbers, accuracy};
use timing::{cpu_seconds, numbers, write};

/// What was asked for.
struct Arguments {
    numbers: WholeNumbers,
    export: Option<String>,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut numbers = WholeNumbers(vec![
            ("--rows", 100_000),
            ("--test-rows", 20_000),
            ("--trees", 100),
            ("--min-arm-rows", 5),
            ("--min-leaf-rows", 1),
            ("--sample-percent", 50),
            ("--alpha-percent", 5),
            ("--threads", 1),
            ("--seed", 1),
            ("--single-rows", 0),
        ]);
        let mut export = None;
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            if word == "--export" {
                export = Some(value);
                continue;
            }
            numbers.set(&word, &value)?;
        }
        Ok(Arguments { numbers, export })
    }

    fn get(&self, name: &str) -> usize {
        self.numbers.get(name)
    }
}

/// Out-of-fold means of `y` by boosting: even rows from odd ones and the other way round.
fn out_of_fold(x: &BinnedFeatures, y: &[f64], row_ids: &[u64]) -> Result<Vec<f64>, String> {
    let mut mean = vec![0.0; y.len()];
    for fold in 0..2u32 {
        let (own, other): (Vec<u32>, Vec<u32>) = (0..y.len() as u32).partition(|row| row % 2 == fold);
        let task = BoostTask { rows: &other, target: y, weights: None, row_ids, objective: ObjectiveKind::Logistic };
        let config = BoostConfig { n_trees: 60, min_leaf_rows: 100, ..BoostConfig::default() };
        let model = boost(x, &task, &config, Seed::new(5), &Silent).map_err(|e| e.to_string())?;
        let mut out = vec![0.0; own.len()];
        model.predict(x, Some(&own), &mut out);
        own.iter().zip(out).for_each(|(&row, p)| mean[row as usize] = p);
    }
    Ok(mean)
}

fn write_bytes(path: String, values: &[f64]) -> Result<(), String> {
    let bytes: Vec<u8> = values.iter().map(|value| *value as u8).collect();
    std::fs::write(&path, bytes).map_err(|e| format!("{path}: {e}"))
}

fn export(table: &Table, names: &[String], prefix: &str) -> Result<(), String> {
    let columns = names.iter().map(|name| numbers(table, name)).collect::<Result<Vec<_>, _>>()?;
    let cells = (0..table.n_rows()).flat_map(|row| columns.iter().map(move |column| column[row]));
    write(format!("{prefix}.x.f32"), cells)
}

/// Times rows asked one by one, as JSON members; nothing for none. The least of five tries
/// counts: what else the machine does is not the forest's doing.
fn single_rows(forest: &Forest, x: &BinnedFeatures, n: usize) -> String {
    let once = |row: u32| {
        let wall = Instant::now();
        std::hint::black_box(forest.predict(x, Some(&[row]), true));
        wall.elapsed().as_secs_f64() * 1e6
    };
    let least = |row: u32| (0..5).map(|_| once(row)).fold(f64::INFINITY, f64::min);
    let mut micros: Vec<f64> = (0..n as u32).map(least).collect();
    if micros.is_empty() {
        return String::new();
    }
    micros.sort_by(f64::total_cmp);
    let at = |share: f64| micros[((n as f64 * share) as usize).min(n - 1)];
    format!("\"single_row_p50_us\":{:.0},\"single_row_p99_us\":{:.0},", at(0.5), at(0.99))
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let start = Instant::now();
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let (n, n_test, seed) = (arguments.get("--rows"), arguments.get("--test-rows"), arguments.get("--seed") as u64);
    let synth = |rows, seed| generate(SynthKind::Criteo, &SynthOptions::default(), rows, Seed::new(seed));
    let train = synth(n, seed).map_err(|e| say(&e))?;
    let test = synth(n_test, seed + 1000).map_err(|e| say(&e))?;
    let names: Vec<String> = (0..12).map(|i| format!("f{i}")).collect();
    let at = cpu_seconds(start);
    let x = BinnedFeatures::learn(&train.table, &names, Seed::new(1), 255).map_err(|e| say(&e))?;
    let binning = cpu_seconds(start) - at;
    let row_ids: Vec<u64> = (0..n as u64).collect();
    let (y, t) = (numbers(&train.table, "visit")?, numbers(&train.table, "treatment")?);
    let mean = out_of_fold(&x, y, &row_ids)?;
    let outcome: Vec<f64> = y.iter().zip(&mean).map(|(y, mean)| y - mean).collect();
    let contrast: Vec<f64> = t.iter().map(|t| t - 0.85).collect();
    let arms: Vec<u8> = t.iter().map(|t| *t as u8).collect();
    if let Some(prefix) = &arguments.export {
        export(&train.table, &names, prefix)?;
        export(&test.table, &names, &format!("{prefix}.test"))?;
        write(format!("{prefix}.y.f32"), outcome.iter().copied())?;
        write(format!("{prefix}.t.f32"), contrast.iter().copied())?;
        write(format!("{prefix}.test.tau.f32"), numbers(&test.truth, "tau")?.iter().copied())?;
        write_bytes(format!("{prefix}.outcome.u8"), y)?;
        write_bytes(format!("{prefix}.treated.u8"), t)?;
    }
    let rows: Vec<u32> = (0..n as u32).collect();
    let task = EffectTask {
        rows: &rows,
        outcome: &outcome,
        contrasts: [&contrast],
        arms: Some(&arms),
        weights: None,
        clusters: None,
        row_ids: &row_ids,
    };
    let config = ForestConfig {
        n_trees: arguments.get("--trees"),
        min_arm_rows: arguments.get("--min-arm-rows") as u32,
        min_leaf_rows: arguments.get("--min-leaf-rows") as u32,
        sample_fraction: arguments.get("--sample-percent") as f64 / 100.0,
        alpha: arguments.get("--alpha-percent") as f64 / 100.0,
        ..ForestConfig::default()
    };
    let (at, wall) = (cpu_seconds(start), Instant::now());
    let forest = grow_effect_forest::<1, 8>(&x, &task, &config, Seed::new(7), &Silent).map_err(|e| say(&e))?;
    let (growing, wall) = (cpu_seconds(start) - at, wall.elapsed().as_secs_f64());
    let n_nodes: usize = forest.trees().iter().map(|tree| tree.nodes().len()).sum();

    let test_x = BinnedFeatures::encode(&test.table, &names, x.bins()).map_err(|e| say(&e))?;
    let at = cpu_seconds(start);
    forest.predict(&test_x, None, false);
    let plain = cpu_seconds(start) - at;
    let at = cpu_seconds(start);
    let predicted = forest.predict(&test_x, None, true);
    let with_variance = cpu_seconds(start) - at;
    let single = single_rows(&forest, &test_x, arguments.get("--single-rows"));
    let truth = numbers(&test.truth, "tau")?;
    // A few trees of tiny leaves may know a row's effect in none; the average stands in.
    let sums =
        outcome.iter().zip(&contrast).fold((0.0, 0.0), |(along, square), (y, t)| (along + y * t, square + t * t));
    let effects = &predicted.values[0];
    let unanswered = effects.iter().filter(|effect| effect.is_nan()).count();
    let known: Vec<f64> = effects.iter().map(|&e| if e.is_nan() { sums.0 / sums.1 } else { e }).collect();
    let (rmse, correlation) = accuracy(&known, truth);
    let variances = predicted.variances.as_ref().map_or(&[][..], |v| &v[0]);
    let covered = effects.iter().zip(truth).zip(variances);
    let covered = covered.filter(|((effect, truth), variance)| (*effect - *truth).abs() <= 1.96 * variance.sqrt());
    let rows_per_second = |seconds: f64| n_test as f64 / seconds.max(0.01);
    println!(
        "{{\"rows\":{n},\"trees\":{},\"min_arm_rows\":{},\"min_leaf_rows\":{},\"threads\":{},\
         \"binning_cpu_s\":{binning:.2},\"growing_cpu_s\":{growing:.2},\"growing_wall_s\":{wall:.2},\
         \"cpu_ms_per_tree\":{:.2},\
         \"nodes_per_tree\":{},\"predict_rows_per_s\":{:.0},\"predict_with_variance_rows_per_s\":{:.0},\
         {single}\"unanswered_rows\":{unanswered},\"rmse\":{rmse:.5},\"correlation\":{correlation:.3},\"coverage\":{:.3}}}",
        forest.n_trees(),
        config.min_arm_rows,
        config.min_leaf_rows,
        arguments.get("--threads"),
        growing * 1000.0 / forest.n_trees() as f64,
        n_nodes / forest.n_trees(),
        rows_per_second(plain),
        rows_per_second(with_variance),
        covered.count() as f64 / n_test as f64,
    );
    Ok(())
}

fn main() -> Result<(), String> {
    let arguments = Arguments::parse()?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(arguments.get("--threads"))
        .build()
        .map_err(|error| error.to_string())?;
    pool.install(|| run(&arguments))
}
