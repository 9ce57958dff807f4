//! Times a learner on Criteo-shaped data and prints one line of JSON.
//!
//! `learner_bench --learner KIND [--rows N] [--test-rows N] [--trees N] [--leaves N] [--folds N]
//! [--declared 0|1] [--threads N] [--seed N]`
//!
//! Every boosted model has the same trees and leaves, no early stopping, and LightGBM's usual step
//! and smallest leaf, so that both sides of a comparison do equal work. Without `--declared 1` the
//! probability of treatment is learned like anything else. `cpu_s` is the learner's stage and, for
//! learners that need nuisances, that of the nuisances; nothing else of a run is in it.

mod best_tenth;

use std::process::ExitCode;
use std::sync::Mutex;

use impactiq_causal::train::STAGES;
use impactiq_causal::{Config, train};
use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{Seed, Watch};

use best_tenth::best_tenth;

/// What was asked for.
struct Arguments {
    numbers: Vec<(&'static str, usize)>,
    learner: String,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut numbers = vec![
            ("--rows", 100_000),
            ("--test-rows", 20_000),
            ("--trees", 100),
            ("--leaves", 31),
            ("--folds", 2),
            ("--declared", 0),
            ("--threads", 1),
            ("--seed", 1),
        ];
        let mut learner = None;
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            if word == "--learner" {
                learner = Some(value);
                continue;
            }
            let known = numbers.iter_mut().find(|(name, _)| *name == word).ok_or(format!("unknown option {word}"))?;
            known.1 = value.parse().map_err(|_| format!("{word}: '{value}' is not a whole number"))?;
        }
        Ok(Arguments { numbers, learner: learner.ok_or("--learner is missing")? })
    }

    fn get(&self, name: &str) -> usize {
        self.numbers.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value)
    }

    /// The configuration's keys: nothing held out, all boosted models alike.
    fn overrides(&self) -> Vec<(String, String)> {
        let mut keys: Vec<(String, String)> = [
            ("data.path", "generated"),
            ("roles.treatment", "treatment"),
            ("roles.control", "0"),
            ("roles.outcome", "visit"),
            ("roles.post_treatment", "[exposure, conversion]"),
            ("split.holdout", "0"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
        keys.push(("learner.kind".into(), self.learner.clone()));
        keys.push(("nuisance.folds".into(), self.get("--folds").to_string()));
        if self.get("--declared") == 1 {
            keys.push(("assignment.probability".into(), "0.85".into()));
        } else {
            keys.push(("assignment.kind".into(), "observational".into()));
        }
        let boosted = [
            ("n_trees", self.get("--trees").to_string()),
            ("n_leaves", self.get("--leaves").to_string()),
            ("learning_rate", "0.1".into()),
            ("min_leaf_rows", "20".into()),
            ("l2", "0".into()),
            ("feature_fraction", "1".into()),
            ("early_stopping", "false".into()),
        ];
        // Linear final stages have no trees.
        let sections: &[&str] =
            if self.learner.starts_with("linear") { &["nuisance"] } else { &["nuisance", "learner"] };
        for section in sections {
            keys.extend(boosted.iter().map(|(key, value)| (format!("{section}.{key}"), value.clone())));
        }
        keys
    }
}

/// CPU seconds of this process so far; 0 where /proc is missing.
fn cpu_seconds() -> f64 {
    let ticks = std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| {
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    });
    ticks.map_or(0.0, |ticks| ticks / 100.0)
}

/// Notes when each stage of training begins, in CPU seconds.
#[derive(Default)]
struct Stages(Mutex<Vec<(&'static str, f64)>>);

impl Watch for Stages {
    fn progress(&self, stage: &str, _: u64, _: u64) {
        let Some(stage) = STAGES.into_iter().find(|known| *known == stage) else { return };
        if let Ok(mut seen) = self.0.lock()
            && seen.last().is_none_or(|(last, _)| *last != stage)
        {
            seen.push((stage, cpu_seconds()));
        }
    }
}

impl Stages {
    /// CPU seconds of a stage, training having ended at `end`.
    fn seconds(&self, name: &str, end: f64) -> f64 {
        let Ok(seen) = self.0.lock() else { return f64::NAN };
        let ends = seen.iter().skip(1).map(|(_, begin)| *begin).chain([end]);
        seen.iter().zip(ends).filter(|((stage, _), _)| *stage == name).map(|((_, begin), end)| end - begin).sum()
    }
}

fn accuracy(effects: &[f64], truth: &[f64]) -> (f64, f64) {
    let n = truth.len() as f64;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
    let (mean_a, mean_b) = (mean(effects), mean(truth));
    let moment = |f: &dyn Fn(f64, f64) -> f64| effects.iter().zip(truth).map(|(a, b)| f(*a, *b)).sum::<f64>() / n;
    let rmse = moment(&|a, b| (a - b) * (a - b)).sqrt();
    let covariance = moment(&|a, b| (a - mean_a) * (b - mean_b));
    let spread = moment(&|a, _| (a - mean_a).powi(2)).sqrt() * moment(&|_, b| (b - mean_b).powi(2)).sqrt();
    (rmse, covariance / spread)
}

fn run(arguments: &Arguments) -> Result<String, String> {
    let (n, seed) = (arguments.get("--rows"), arguments.get("--seed") as u64);
    let synth = |rows, seed| generate(SynthKind::Criteo, &SynthOptions::default(), rows, Seed::new(seed));
    let made = synth(n, seed).map_err(|e| e.to_string())?;
    let fresh = synth(arguments.get("--test-rows"), seed + 1000).map_err(|e| e.to_string())?;
    let config = Config::from_yaml("", "none", &arguments.overrides()).map_err(|e| e.to_string())?;
    let config = config.check(made.table.names()).map_err(|e| e.to_string())?;
    let began = cpu_seconds();
    let data = config.dataset(made.table, (0..n as u64).collect()).map_err(|e| e.to_string())?;
    let binning = cpu_seconds() - began;
    let watch = Stages::default();
    let trained = train(&config, &data, &watch).map_err(|e| e.to_string())?;
    let end = cpu_seconds();
    let [nuisances, learner] = ["nuisance", "learner"].map(|stage| watch.seconds(stage, end));
    let alone = matches!(arguments.learner.as_str(), "s" | "t" | "uplift_forest" | "uplift_tree");
    let cost = binning + learner + if alone { 0.0 } else { nuisances };
    let at = cpu_seconds();
    let binned = trained.model.encode(&fresh.table).map_err(|e| e.to_string())?;
    let predicted = trained.model.predict(&binned, &fresh.table).map_err(|e| e.to_string())?;
    let predicting = cpu_seconds() - at;
    let truth = fresh.truth.column("tau").map_err(|e| e.to_string())?;
    let (truth, effects) = (truth.numbers().ok_or("tau is no number")?, &predicted[0].cate[0]);
    let (rmse, correlation) = accuracy(effects, truth);
    Ok(format!(
        "{{\"learner\":\"{}\",\"rows\":{n},\"trees\":{},\"leaves\":{},\"folds\":{},\"declared\":{},\"threads\":{},\
         \"binning_cpu_s\":{binning:.2},\"nuisance_cpu_s\":{nuisances:.2},\"learner_cpu_s\":{learner:.2},\
         \"cpu_s\":{cost:.2},\"rows_per_s\":{:.0},\"rmse\":{rmse:.5},\"correlation\":{correlation:.3},\
         \"top_10_percent\":{:.3}}}",
        arguments.learner,
        arguments.get("--trees"),
        arguments.get("--leaves"),
        arguments.get("--folds"),
        arguments.get("--declared") == 1,
        arguments.get("--threads"),
        truth.len() as f64 / predicting.max(0.01),
        best_tenth(effects, truth),
    ))
}

fn main() -> ExitCode {
    let answer = Arguments::parse().and_then(|arguments| {
        let threads = arguments.get("--threads");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| e.to_string())?;
        pool.install(|| run(&arguments))
    });
    match answer {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
