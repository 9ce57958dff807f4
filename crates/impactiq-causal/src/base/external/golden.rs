//! Predictions of Python's LightGBM and XGBoost (bench/peers/boosting_backends.py), for the tests of
//! both back-ends: equal settings give equal answers.

use impactiq_data::dose::weighted_mean;
use impactiq_trees::BoostConfig;
use serde::Deserialize;

use super::job::{Job, Library};
use super::trees::RawTrees;
use crate::base::Loss;
use crate::error::CausalError;
use crate::linear::Link;

#[derive(Deserialize)]
struct File {
    seed: u32,
    every: usize,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    library: Library,
    objective: String,
    weighted: bool,
    settings: Settings,
    predictions: Vec<f64>,
}

#[derive(Deserialize)]
struct Settings {
    n_trees: usize,
    learning_rate: f64,
    n_leaves: usize,
    min_leaf_rows: u32,
    l2: f64,
    row_fraction: Option<f64>,
    feature_fraction: Option<f64>,
}

impl Settings {
    fn config(&self) -> BoostConfig {
        BoostConfig {
            n_trees: self.n_trees,
            learning_rate: self.learning_rate,
            n_leaves: self.n_leaves,
            min_leaf_rows: self.min_leaf_rows,
            l2: self.l2,
            row_fraction: self.row_fraction.unwrap_or(1.0),
            feature_fraction: self.feature_fraction.unwrap_or(1.0),
            ..BoostConfig::default()
        }
    }
}

/// The input's columns: four features, a continuous and a 0/1 outcome, weights.
fn input() -> Vec<Vec<f64>> {
    let text = include_str!("../../../../../tests/golden/backends/input.csv");
    let rows: Vec<Vec<f64>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(|cell| cell.parse().unwrap_or(f64::NAN)).collect())
        .collect();
    (0..7).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
}

/// How many answers of a library there are, and how far ours are from them at most.
pub(super) fn largest_gap(library: Library, train: impl Fn(&Job<'_>) -> Result<RawTrees, CausalError>) -> (usize, f64) {
    let file: File = serde_json::from_str(include_str!("../../../../../tests/golden/backends/backends.json")).unwrap();
    let input = input();
    let (mut n_answers, mut gap) = (0, 0.0f64);
    for answer in file.answers.iter().filter(|answer| answer.library == library) {
        let config = answer.settings.config();
        let (loss, link, target) = match answer.objective.as_str() {
            "squared" => (Loss::Squared, Link::Identity, &input[4]),
            _ => (Loss::Logistic, Link::Logit, &input[5]),
        };
        let weights = answer.weighted.then(|| input[6].clone());
        let mean = weighted_mean(target, weights.as_deref());
        let (columns, target) = (input[..4].concat(), target.clone());
        let job = Job { columns, width: 4, target, weights, mean, loss, config: &config, seed: file.seed };
        let trees = train(&job).unwrap();
        let mut ours = vec![0.0; job.n_rows()];
        trees.sums(&job.columns, &mut ours);
        if link == Link::Logit {
            ours.iter_mut().for_each(|sum| *sum = 1.0 / (1.0 + (-*sum).exp()));
        }
        for (theirs, ours) in answer.predictions.iter().zip(ours.iter().step_by(file.every)) {
            gap = gap.max((theirs - ours).abs());
        }
        n_answers += answer.predictions.len();
    }
    println!("{}: {n_answers} predictions, largest gap {gap:e}", library.name());
    (n_answers, gap)
}
