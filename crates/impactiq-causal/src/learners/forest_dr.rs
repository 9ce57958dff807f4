//! Doubly robust scores regressed by honest forests (Kennedy 2023 with the forests of Athey, Tibshirani & Wager
//! 2019): a forest of means per arm, with row intervals.

use impactiq_data::{Seed, Watch};
use impactiq_trees::{ForestConfig, MeanTask, grow_mean_forest};

use super::causal_forest::ForestModel;
use super::config::{LearnerConfig, LearnerKind};
use super::pseudo::regression;
use super::task::LearnerTask;
use crate::base::{BaseLearner, Inputs, Place, Quiet};
use crate::error::CausalError;

/// A forest of doubly robust scores per contrast.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreForests(pub ForestModel);

impl ScoreForests {
    /// Grows the forests of all contrasts.
    ///
    /// # Errors
    /// [`CausalError::TooFewRows`], [`CausalError::NotFinite`], [`CausalError::Stopped`], and what the
    /// trees floor finds.
    pub(super) fn fit(
        config: &LearnerConfig,
        inputs: &Inputs<'_>,
        task: &LearnerTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<Self, CausalError> {
        for arm in 0..task.arms.len() {
            task.arm_rows(arm)?;
        }
        let grown = ForestConfig { min_leaf_rows: leaf_rows(config, task), ..config.forest() };
        let (mut forests, mut average) = (Vec::new(), Vec::new());
        for arm in 1..task.arms.len() {
            let scores = regression(LearnerKind::Dr, task, arm)?;
            let weight = |row: u32| scores.weights.as_ref().map_or(1.0, |weights| weights[row as usize]);
            let total: f64 = scores.rows.iter().map(|&row| weight(row)).sum();
            average.push(scores.rows.iter().map(|&row| weight(row) * scores.target[row as usize]).sum::<f64>() / total);
            let means = MeanTask {
                rows: &scores.rows,
                target: &scores.target,
                weights: scores.weights.as_deref(),
                // The sampling ids are clusters where there are any.
                clusters: None,
                row_ids: task.row_ids,
            };
            // One seed for all arms: exchanging two of them exchanges their effects.
            forests.push(grow_mean_forest(&inputs.columns(), &means, &grown, seed, &Quiet(watch))?);
            // A smaller forest than was asked for must not pass for the whole.
            if watch.should_stop() {
                return Err(CausalError::Stopped);
            }
        }
        let shrinkage = vec![1.0; forests.len()];
        let lines = vec![Vec::new(); forests.len()];
        Ok(ScoreForests(ForestModel { forests, average, shrinkage, lines }))
    }
}

/// Splitting rows per leaf: as asked, else as many as a boosted final stage would want.
fn leaf_rows(config: &LearnerConfig, task: &LearnerTask<'_>) -> u32 {
    match task.base_learner(&LearnerConfig { base: Default::default(), ..config.clone() }, Place::Effect, task.rows) {
        BaseLearner::Boosted { config, .. } => config.min_leaf_rows,
        _ => ForestConfig::default().min_leaf_rows,
    }
}
