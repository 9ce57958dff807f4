//! The regression forest as a base learner: means of bagged trees, probabilities of 0/1 targets.
//!
//! No honesty: a nuisance is judged by how near it predicts, and rows that only fill leaves would be
//! missed. Intervals belong to effect forests. What must not live here: how trees grow.

use impactiq_data::{DataError, Seed, Watch};
use impactiq_trees::{Forest, ForestConfig, MeanTask, grow_mean_forest};

use super::{FitTask, Inputs, Quiet};
use crate::error::CausalError;

/// A fitted regression forest.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanForest {
    /// The trees.
    pub forest: Forest,
    /// The answer where no tree has one: the mean of the target.
    pub mean: f64,
}

impl MeanForest {
    pub(super) fn fit(
        config: &ForestConfig,
        inputs: &Inputs<'_>,
        task: &FitTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<Self, CausalError> {
        let weight = |row: u32| task.weights.map_or(1.0, |w| w[row as usize]);
        let total: f64 = task.rows.iter().map(|&row| weight(row)).sum();
        let mean = task.rows.iter().map(|&row| weight(row) * task.target[row as usize]).sum::<f64>() / total;
        let of_trees = MeanTask {
            rows: task.rows,
            target: task.target,
            weights: task.weights,
            // The sampling ids are clusters where there are any.
            clusters: None,
            row_ids: task.row_ids,
        };
        let forest = grow_mean_forest(&inputs.columns(), &of_trees, config, seed, &Quiet(watch))?;
        Ok(MeanForest { forest, mean })
    }

    pub(super) fn predict(&self, inputs: &Inputs<'_>, rows: Option<&[u32]>, out: &mut [f64]) -> Result<(), DataError> {
        let answers = self.forest.predict(&inputs.columns(), rows, false).values;
        for (out, &value) in out.iter_mut().zip(answers.iter().flatten()) {
            *out = if value.is_nan() { self.mean } else { value };
        }
        Ok(())
    }
}
