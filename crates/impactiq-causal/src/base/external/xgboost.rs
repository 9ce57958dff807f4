//! Training with XGBoost, and its JSON model as trees of ours.

use serde_json::Value;
use xgb::parameters::BoosterParameters;
use xgb::{Booster, DMatrix};

use super::job::{Job, Library, failed};
use super::trees::{Missing, RawNode, RawTrees};
use crate::base::Loss;
use crate::error::CausalError;

/// XGBoost's names for our settings. Rows per leaf are asked for as the second derivatives that so
/// many rows have at the mean: XGBoost does not count rows.
fn parameters(job: &Job<'_>) -> Vec<(&'static str, String)> {
    let config = job.config;
    let (objective, per_row) = match job.loss {
        Loss::Squared => ("reg:squarederror", 1.0),
        Loss::Logistic => ("binary:logistic", job.mean * (1.0 - job.mean)),
    };
    vec![
        ("verbosity", "0".into()),
        ("nthread", "1".into()),
        ("seed", job.seed.to_string()),
        ("objective", objective.into()),
        ("base_score", (job.mean as f32).to_string()),
        ("tree_method", "hist".into()),
        ("grow_policy", "lossguide".into()),
        ("max_bin", "256".into()),
        ("max_leaves", config.n_leaves.to_string()),
        ("max_depth", config.max_depth.unwrap_or(0).to_string()),
        ("eta", config.learning_rate.to_string()),
        ("lambda", config.l2.to_string()),
        ("min_child_weight", (f64::from(config.min_leaf_rows) * per_row).to_string()),
        ("subsample", config.row_fraction.to_string()),
        ("colsample_bytree", config.feature_fraction.to_string()),
    ]
}

fn said(problem: impl std::fmt::Display) -> CausalError {
    failed(Library::Xgboost, problem)
}

pub(super) fn train(job: &Job<'_>) -> Result<RawTrees, CausalError> {
    let booster = boost(job)?;
    let bytes = booster.save_buffer(false).map_err(said)?;
    let model: Value = serde_json::from_slice(&bytes).map_err(said)?;
    read(&model, job).map_err(said)
}

/// The numbers row by row, as XGBoost reads them.
fn matrix(job: &Job<'_>) -> Result<DMatrix, CausalError> {
    let n = job.n_rows();
    let mut rows = vec![0.0f32; n * job.width];
    for (j, column) in job.columns.chunks_exact(n).enumerate() {
        for (row, &value) in column.iter().enumerate() {
            rows[row * job.width + j] = value as f32;
        }
    }
    if rows.iter().any(|value| value.is_infinite()) {
        return Err(said("a feature is larger than numbers of 32 bits can be"));
    }
    DMatrix::from_dense(&rows, n).map_err(said)
}

fn boost(job: &Job<'_>) -> Result<Booster, CausalError> {
    let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
    let mut data = matrix(job)?;
    data.set_labels(&single(&job.target)).map_err(said)?;
    if let Some(weights) = &job.weights {
        data.set_weights(&single(weights)).map_err(said)?;
    }
    let mut booster = Booster::new_with_cached_dmats(&BoosterParameters::default(), &[&data]).map_err(said)?;
    for (name, value) in parameters(job) {
        booster.set_param(name, &value).map_err(said)?;
    }
    for round in 0..job.config.n_trees {
        booster.update(&data, round as i32).map_err(said)?;
    }
    Ok(booster)
}

/// The trees of a JSON model.
fn read(model: &Value, job: &Job<'_>) -> Result<RawTrees, String> {
    let list = model.pointer("/learner/gradient_booster/model/trees").and_then(Value::as_array);
    let list = list.ok_or("its model has no trees")?;
    let mean = job.mean as f32;
    let start = match job.loss {
        Loss::Squared => mean,
        Loss::Logistic => -(1.0 / mean - 1.0).ln(),
    };
    let mut trees = RawTrees::new(f64::from(start), true);
    for (index, tree) in list.iter().enumerate() {
        let nodes = read_tree(tree).map_err(|problem| format!("tree {index} of its model: {problem}"))?;
        trees.push(job.width, nodes)?;
    }
    Ok(trees)
}

fn read_tree(tree: &Value) -> Result<Vec<RawNode>, String> {
    let list = |key: &str| -> Result<&Vec<Value>, String> {
        tree.get(key).and_then(Value::as_array).ok_or_else(|| format!("'{key}' is not there"))
    };
    let (left, right, features) = (list("left_children")?, list("right_children")?, list("split_indices")?);
    let (conditions, defaults) = (list("split_conditions")?, list("default_left")?);
    let n = left.len();
    if [right.len(), features.len(), conditions.len(), defaults.len()] != [n; 4] {
        return Err("its lists have different lengths".into());
    }
    let whole = |value: &Value| value.as_u64().and_then(|v| u32::try_from(v).ok());
    (0..n)
        .map(|at| {
            let condition = conditions[at].as_f64().ok_or("a threshold is no number")? as f32;
            if left[at].as_i64() == Some(-1) {
                return Ok(RawNode::leaf(f64::from(condition)));
            }
            let read = (whole(&features[at]), whole(&left[at]), whole(&right[at]));
            let (Some(feature), Some(left), Some(right)) = read else { return Err("a child is no number".into()) };
            let to_left = defaults[at].as_u64() == Some(1) || defaults[at].as_bool() == Some(true);
            let missing = if to_left { Missing::Left } else { Missing::Right };
            // XGBoost asks whether a number of 32 bits is below the threshold: at most the one before it.
            Ok(RawNode { feature, value: f64::from(condition.next_down()), left, right, missing })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::Seed;
    use impactiq_trees::BoostConfig;

    #[test]
    fn our_trees_answer_as_xgboost_does_to_the_last_bit() {
        let config = BoostConfig { n_trees: 30, n_leaves: 8, feature_fraction: 0.7, ..BoostConfig::default() };
        let n = 500usize;
        let draw = |stream: u64, row: usize| Seed::new(stream).uniform(row as u64);
        let mut columns: Vec<f64> = (0..3u64).flat_map(|j| (0..n).map(move |row| draw(j, row))).collect();
        (0..n).filter(|row| row % 5 == 0).for_each(|row| columns[n + row] = f64::NAN);
        columns[2 * n..].iter_mut().for_each(|x| *x = (*x * 4.0).floor() / 10.0);
        let y: Vec<f64> = (0..n).map(|row| columns[row] + columns[2 * n + row] + draw(9, row)).collect();
        let binary: Vec<f64> = y.iter().map(|&y| f64::from(u8::from(y > 1.0))).collect();
        for (loss, target, mean) in [(Loss::Squared, y, 1.0), (Loss::Logistic, binary, 0.5)] {
            let weights = Some((0..n).map(|row| 0.5 + draw(11, row)).collect());
            let job = Job { columns: columns.clone(), width: 3, target, weights, mean, loss, config: &config, seed: 3 };
            let theirs = boost(&job).unwrap().predict_margin(&matrix(&job).unwrap()).unwrap();
            let trees = train(&job).unwrap();
            assert_eq!(trees.len(), 30);
            let mut ours = vec![0.0; n];
            trees.sums(&job.columns, &mut ours);
            let ours: Vec<f32> = ours.iter().map(|&sum| sum as f32).collect();
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn equal_settings_give_the_predictions_of_pythons_xgboost() {
        let (n_answers, gap) = super::super::golden::largest_gap(Library::Xgboost, train);
        assert_eq!(n_answers, 800);
        // XGBoost answers in 32 bits.
        assert!(gap < 1e-6, "{gap:e}");
    }

    #[test]
    fn a_number_beyond_32_bits_is_an_error_not_a_silent_infinity() {
        let config = BoostConfig::default();
        let columns = vec![1e300, 0.0];
        let (target, weights) = (vec![0.0, 1.0], None);
        let job = Job { columns, width: 1, target, weights, mean: 0.5, loss: Loss::Squared, config: &config, seed: 3 };
        assert!(matches!(train(&job), Err(CausalError::Library { library: "xgboost", .. })));
    }
}
