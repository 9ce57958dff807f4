//! Times an uplift forest on Criteo-shaped data and prints one line of JSON.
//!
//! `uplift_bench [--rows N] [--test-rows N] [--trees N] [--depth N] [--min-leaf-rows N]
//! [--min-arm-rows N] [--features-per-node N] [--sample-percent N] [--shrinkage N] [--normalise 0|1]
//! [--honest 0|1] [--threads N] [--seed N] [--criterion NAME] [--export PREFIX]`
//!
//! Growing is timed from bin codes on; binning raw numbers, which peers do inside their fit
//! or not at all, is printed beside it. `--export` writes the training rows' features,
//! outcome and treatment and the test rows' features and true effects (f32, little endian,
//! rows one after another), so that another library can learn from the same numbers.

mod effects;
mod timing;

use std::time::Instant;

use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{BinnedFeatures, Seed, Silent, Table};
use impactiq_trees::{UpliftConfig, UpliftKind, UpliftTask, grow_uplift_forest};

use effects::{WholeNumbers, accuracy};
use timing::{cpu_seconds, numbers, write};

/// What was asked for.
struct Arguments {
    numbers: WholeNumbers,
    criterion: UpliftKind,
    export: Option<String>,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut numbers = WholeNumbers(vec![
            ("--rows", 100_000),
            ("--test-rows", 100_000),
            ("--trees", 100),
            ("--depth", 8),
            ("--min-leaf-rows", 100),
            ("--min-arm-rows", 10),
            ("--features-per-node", 10),
            ("--sample-percent", 50),
            ("--shrinkage", 10),
            ("--normalise", 1),
            ("--honest", 0),
            ("--threads", 1),
            ("--seed", 1),
        ]);
        let (mut criterion, mut export) = (UpliftKind::KullbackLeibler, None);
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            match word.as_str() {
                "--export" => export = Some(value),
                "--criterion" => {
                    let known = UpliftKind::ALL.into_iter().find(|kind| kind.name() == value);
                    criterion = known.ok_or(format!("unknown criterion {value}"))?;
                }
                _ => numbers.set(&word, &value)?,
            }
        }
        Ok(Arguments { numbers, criterion, export })
    }

    fn get(&self, name: &str) -> usize {
        self.numbers.get(name)
    }

    fn config(&self) -> UpliftConfig {
        UpliftConfig {
            criterion: self.criterion,
            normalise: self.get("--normalise") == 1,
            honest: self.get("--honest") == 1,
            shrinkage: self.get("--shrinkage") as f64,
            n_trees: self.get("--trees"),
            sample_fraction: self.get("--sample-percent") as f64 / 100.0,
            features_per_node: Some(self.get("--features-per-node")),
            min_leaf_rows: self.get("--min-leaf-rows") as u32,
            min_arm_rows: self.get("--min-arm-rows") as u32,
            max_depth: Some(self.get("--depth") as u32),
            ..UpliftConfig::default()
        }
    }
}

fn export(table: &Table, names: &[String], path: String) -> Result<(), String> {
    let columns = names.iter().map(|name| numbers(table, name)).collect::<Result<Vec<_>, _>>()?;
    write(path, (0..table.n_rows()).flat_map(|row| columns.iter().map(move |column| column[row])))
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let start = Instant::now();
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let (n, n_test, seed) = (arguments.get("--rows"), arguments.get("--test-rows"), arguments.get("--seed") as u64);
    let synth = |rows, seed| generate(SynthKind::Criteo, &SynthOptions::default(), rows, Seed::new(seed));
    let train = synth(n, seed).map_err(|e| say(&e))?;
    let test = synth(n_test, seed + 1000).map_err(|e| say(&e))?;
    let names: Vec<String> = (0..12).map(|i| format!("f{i}")).collect();
    let (y, t) = (numbers(&train.table, "visit")?, numbers(&train.table, "treatment")?);
    let truth = numbers(&test.truth, "tau")?;
    if let Some(prefix) = &arguments.export {
        export(&train.table, &names, format!("{prefix}.x.f32"))?;
        export(&test.table, &names, format!("{prefix}.test.x.f32"))?;
        write(format!("{prefix}.y.f32"), y.iter().copied())?;
        write(format!("{prefix}.t.f32"), t.iter().copied())?;
        write(format!("{prefix}.test.tau.f32"), truth.iter().copied())?;
    }
    let at = cpu_seconds(start);
    let x = BinnedFeatures::learn(&train.table, &names, Seed::new(1), 255).map_err(|e| say(&e))?;
    let binning = cpu_seconds(start) - at;
    let (rows, keys): (Vec<u32>, Vec<u64>) = ((0..n as u32).collect(), (0..n as u64).collect());
    let arms: Vec<u8> = t.iter().map(|t| *t as u8).collect();
    let task = UpliftTask { rows: &rows, outcome: y, arms: &arms, n_arms: 2, weights: None, keys: &keys };
    let config = arguments.config();
    let (at, wall) = (cpu_seconds(start), Instant::now());
    let forest = grow_uplift_forest(&x, &task, &config, Seed::new(7), &Silent).map_err(|e| say(&e))?;
    let (growing, wall) = (cpu_seconds(start) - at, wall.elapsed().as_secs_f64());
    let n_nodes: usize = forest.trees().iter().map(|tree| tree.nodes().len()).sum();
    let test_x = BinnedFeatures::encode(&test.table, &names, x.bins()).map_err(|e| say(&e))?;
    let at = cpu_seconds(start);
    let means = forest.predict(&test_x, None);
    let predicting = cpu_seconds(start) - at;
    let effects: Vec<f64> = means[1].iter().zip(&means[0]).map(|(treated, control)| treated - control).collect();
    let (rmse, correlation) = accuracy(&effects, truth);
    let average = truth.iter().sum::<f64>() / n_test as f64;
    let constant = accuracy(&vec![average; n_test], truth).0;
    println!(
        "{{\"rows\":{n},\"criterion\":\"{}\",\"trees\":{},\"depth\":{},\"min_leaf_rows\":{},\"min_arm_rows\":{},\
         \"features_per_node\":{},\"sample_fraction\":{},\"shrinkage\":{},\"normalise\":{},\"honest\":{},\"threads\":{},\
         \"seed\":{seed},\"binning_cpu_s\":{binning:.2},\"growing_cpu_s\":{growing:.2},\"growing_wall_s\":{wall:.2},\
         \"cpu_ms_per_tree\":{:.2},\"nodes_per_tree\":{},\"predict_rows_per_s\":{:.0},\"rmse\":{rmse:.5},\
         \"correlation\":{correlation:.3},\"rmse_of_the_true_average\":{constant:.5}}}",
        config.criterion.name(),
        forest.n_trees(),
        arguments.get("--depth"),
        config.min_leaf_rows,
        config.min_arm_rows,
        arguments.get("--features-per-node"),
        config.sample_fraction,
        config.shrinkage,
        config.normalise,
        config.honest,
        arguments.get("--threads"),
        growing * 1000.0 / forest.n_trees() as f64,
        n_nodes / forest.n_trees(),
        n_test as f64 / predicting.max(0.01),
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
