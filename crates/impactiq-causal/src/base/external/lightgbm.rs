//! Training with LightGBM, and its text model as trees of ours.

use impactiq_data::dose::is_zero_one;
use lightgbm3::{Booster, Dataset};
use serde_json::{Value, json};

use super::job::{Job, Library, failed};
use super::trees::{LEAF, Missing, RawNode, RawTrees};
use crate::base::Loss;
use crate::error::CausalError;

/// LightGBM's names for our settings. `force_row_wise`: otherwise it takes whichever layout was
/// faster in a race, and sums in another order.
fn parameters(job: &Job<'_>) -> Value {
    let config = job.config;
    let objective = match job.loss {
        Loss::Squared => "regression",
        // `binary` would take every target above 0 for a 1.
        Loss::Logistic if is_zero_one(&job.target) => "binary",
        Loss::Logistic => "cross_entropy",
    };
    json!({
        "objective": objective,
        "num_iterations": config.n_trees,
        "learning_rate": config.learning_rate,
        "num_leaves": config.n_leaves,
        "max_depth": config.max_depth.map_or(-1, i64::from),
        "min_data_in_leaf": config.min_leaf_rows,
        "lambda_l2": config.l2,
        "bagging_fraction": config.row_fraction,
        "bagging_freq": if config.row_fraction < 1.0 { 1 } else { 0 },
        "feature_fraction": config.feature_fraction,
        "seed": job.seed,
        "deterministic": true,
        "force_row_wise": true,
        "num_threads": 1,
        "verbosity": -1,
    })
}

fn said(problem: impl std::fmt::Display) -> CausalError {
    failed(Library::Lightgbm, problem)
}

pub(super) fn train(job: &Job<'_>) -> Result<RawTrees, CausalError> {
    let target: Vec<f32> = job.target.iter().map(|&y| y as f32).collect();
    let mut data = Dataset::from_slice(&job.columns, &target, job.width as i32, false).map_err(said)?;
    if let Some(weights) = &job.weights {
        let weights: Vec<f32> = weights.iter().map(|&w| w as f32).collect();
        data.set_weights(&weights).map_err(said)?;
    }
    let booster = Booster::train(data, &parameters(job)).map_err(said)?;
    let text = booster.save_string().map_err(said)?;
    read(&text, job.width).map_err(said)
}

/// The trees of a text model.
fn read(text: &str, width: usize) -> Result<RawTrees, String> {
    let mut trees = RawTrees::new(0.0, false);
    // The head comes before the first tree, importances and parameters after the last.
    let body = text.split("\nend of trees").next().unwrap_or_default();
    for (index, tree) in body.split("\nTree=").skip(1).enumerate() {
        let nodes = read_tree(tree).map_err(|problem| format!("tree {index} of its model: {problem}"))?;
        trees.push(width, nodes)?;
    }
    Ok(trees)
}

fn read_tree(text: &str) -> Result<Vec<RawNode>, String> {
    fn list<T: std::str::FromStr>(text: &str, key: &str) -> Result<Vec<T>, String> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let line = line.ok_or_else(|| format!("'{key}' is not there"))?;
        line.split_whitespace().map(|word| word.parse().map_err(|_| format!("'{key}' has {word}"))).collect()
    }
    let leaves: Vec<f64> = list(text, "leaf_value")?;
    if leaves.len() <= 1 {
        return Ok(leaves.first().map(|&value| vec![RawNode::leaf(value)]).unwrap_or_default());
    }
    let (features, thresholds) = (list::<u32>(text, "split_feature")?, list::<f64>(text, "threshold")?);
    let (left, right) = (list::<i64>(text, "left_child")?, list::<i64>(text, "right_child")?);
    let kinds: Vec<u8> = list(text, "decision_type")?;
    let n = features.len();
    if [thresholds.len(), left.len(), right.len(), kinds.len(), leaves.len() - 1] != [n; 5] {
        return Err(format!("{n} questions and {} answers", leaves.len()));
    }
    // Questions first, then leaves: LightGBM counts leaves as −1, −2 and so on.
    let child = |at: i64| if at >= 0 { at as u32 } else { (n as i64 - at - 1) as u32 };
    let mut nodes = Vec::with_capacity(2 * n + 1);
    for at in 0..n {
        // Bit 0: a category; bit 1: missing to the left; above: 0 none was missing, 2 NaN is missing.
        let missing = match (kinds[at] & 1, kinds[at] >> 2, kinds[at] & 2) {
            (0, 0, _) => Missing::Zero,
            (0, 2, 0) => Missing::Right,
            (0, 2, _) => Missing::Left,
            _ => return Err(format!("a decision of kind {}", kinds[at])),
        };
        let (feature, value) = (features[at], thresholds[at]);
        nodes.push(RawNode { feature, value, left: child(left[at]), right: child(right[at]), missing });
    }
    debug_assert!(nodes.iter().all(|node| node.feature != LEAF));
    nodes.extend(leaves.into_iter().map(RawNode::leaf));
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::Seed;
    use impactiq_trees::BoostConfig;

    fn job(loss: Loss, config: &BoostConfig) -> Job<'_> {
        let n = 600;
        let draw = |stream: u64, row: u64| Seed::new(stream).uniform(row);
        let mut columns: Vec<f64> = (0..3).flat_map(|j| (0..n).map(move |row| draw(j, row))).collect();
        // Gaps in the second column; the third is as good as a category.
        (0..n as usize).filter(|row| row % 7 == 0).for_each(|row| columns[n as usize + row] = f64::NAN);
        columns[2 * n as usize..].iter_mut().for_each(|x| *x = (*x * 3.0).floor());
        let mean = |row: usize| columns[row] + f64::from(u8::from(columns[n as usize + row].is_nan()));
        let target: Vec<f64> = match loss {
            Loss::Squared => (0..n as usize).map(|row| mean(row) + draw(9, row as u64)).collect(),
            Loss::Logistic => {
                (0..n as usize).map(|row| f64::from(u8::from(draw(9, row as u64) < mean(row) / 2.0))).collect()
            }
        };
        Job { columns, width: 3, target, weights: None, mean: 0.5, loss, config, seed: 7 }
    }

    #[test]
    fn our_trees_answer_as_lightgbm_does_to_the_last_bit() {
        let config = BoostConfig { n_trees: 40, n_leaves: 8, row_fraction: 0.7, ..BoostConfig::default() };
        for loss in [Loss::Squared, Loss::Logistic] {
            let job = job(loss, &config);
            let target: Vec<f32> = job.target.iter().map(|&y| y as f32).collect();
            let data = Dataset::from_slice(&job.columns, &target, 3, false).unwrap();
            let booster = Booster::train(data, &parameters(&job)).unwrap();
            let theirs = booster.raw_scores_with_params(&job.columns, 3, false, "num_threads=1").unwrap();
            let trees = train(&job).unwrap();
            assert_eq!(trees.len(), 40);
            let mut ours = vec![0.0; job.n_rows()];
            trees.sums(&job.columns, &mut ours);
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn equal_settings_give_the_predictions_of_pythons_lightgbm() {
        let (n_answers, gap) = super::super::golden::largest_gap(Library::Lightgbm, train);
        assert_eq!(n_answers, 800);
        assert!(gap < 1e-12, "{gap:e}");
    }

    #[test]
    fn a_text_that_is_no_model_is_refused() {
        assert!(read("tree\nTree=0\nnum_leaves=2\nleaf_value=1 2\nend of trees", 1).is_err());
        assert!(read("tree\nTree=0\nleaf_value=x\nend of trees", 1).is_err());
        assert_eq!(read("tree\nTree=0\nleaf_value=0.5\nend of trees", 1).unwrap().len(), 1);
    }
}
