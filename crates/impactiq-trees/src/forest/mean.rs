//! Regression forests: conditional means, with variances; probabilities for outcomes of 0 and 1.

use impactiq_data::{BinColumns, Seed, Watch};

use crate::criterion::mean::Mean;
use crate::criterion::newton::{Grid, NewtonCell, NewtonStats};
use crate::error::TreesError;
use crate::forest::config::ForestConfig;
use crate::forest::grow::{ForestCriterion, Ground, Members};
use crate::forest::kind::ForestKind;
use crate::forest::model::Forest;
use crate::stats::Stats;

/// What to learn from which rows.
#[derive(Clone, Copy, Debug)]
pub struct MeanTask<'a> {
    /// The rows to learn from, numbers into the features.
    pub rows: &'a [u32],
    /// The target of every row of the features.
    pub target: &'a [f64],
    /// The weight of every row of the features; rows of weight 0 are left out.
    pub weights: Option<&'a [f64]>,
    /// The cluster of every row of the features: drawn whole.
    pub clusters: Option<&'a [u32]>,
    /// A stable number of every row of the features: the key of sampling.
    pub row_ids: &'a [u64],
}

impl<'a> MeanTask<'a> {
    fn members(&self) -> Members<'a> {
        Members { rows: self.rows, weights: self.weights, clusters: self.clusters, row_ids: self.row_ids }
    }

    /// The key by which a row is drawn.
    #[inline(always)]
    pub fn key(&self, row: u32) -> u64 {
        self.members().key(row)
    }

    fn grow(
        &self,
        earlier: Option<Forest>,
        x: &dyn BinColumns,
        config: &ForestConfig,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<Forest, TreesError> {
        config.check()?;
        let members = self.members();
        let rows = members.checked(x.n_rows(), &[("target", self.target)])?;
        let centre = self.centre(&rows);
        let row = |row: u32| -> (f64, f64) {
            let weight = members.weight(row);
            (weight * (self.target[row as usize] - centre), weight)
        };
        let largest = rows
            .iter()
            .fold((0.0, 0.0), |(target, weight): (f64, f64), &i| (target.max(row(i).0.abs()), weight.max(row(i).1)));
        let grid = Grid::new(rows.len(), largest.0, largest.1);
        let criterion = |_| Mean { grid, alpha: config.alpha, imbalance_penalty: config.imbalance_penalty };
        let cell = |i: u32| -> NewtonCell {
            let (target, weight) = row(i);
            grid.row(target, weight)
        };
        let kind = (ForestKind::Mean { centre }, criterion);
        Ground::new(kind, x, config, (&members, &rows), cell)?.grow(earlier, seed, watch)
    }

    /// The mean of the targets, in few digits: f32 leaves then keep what differs from it, and
    /// the order of rows does not show.
    fn centre(&self, rows: &[u32]) -> f64 {
        let members = self.members();
        let (sum, weight) = rows.iter().fold((0.0, 0.0), |(sum, total), &row| {
            let weight = members.weight(row);
            (sum + weight * self.target[row as usize], total + weight)
        });
        f64::from((sum / weight) as f32)
    }
}

impl ForestCriterion for Mean {
    fn push_means(sums: &NewtonStats, out: &mut Vec<f32>) {
        let weight = sums.weight();
        out.extend(Mean::moments(sums).map(|sum| (sum / weight) as f32));
    }
}

/// Grows a regression forest. `min_arm_rows` is not looked at; `alpha` is the share of a node's
/// weight that each child must keep.
///
/// When the watch says stop, the bags finished so far are the forest; [`continue_mean_forest`]
/// grows the rest.
///
/// # Errors
/// [`TreesError::BadSetting`] for a setting out of range; [`TreesError::Length`],
/// [`TreesError::RowOutOfRange`], [`TreesError::NoRows`], [`TreesError::NoFeatures`] and
/// [`TreesError::BadValue`] for a task that cannot be; [`TreesError::Stopped`] when stopped
/// before the first bag.
pub fn grow_mean_forest(
    x: &dyn BinColumns,
    task: &MeanTask<'_>,
    config: &ForestConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Forest, TreesError> {
    task.grow(None, x, config, seed, watch)
}

/// Grows the bags that `forest` lacks of `config.n_trees`, see
/// [`crate::forest::effect::continue_effect_forest`].
///
/// # Errors
/// As [`grow_mean_forest`]; [`TreesError::FeatureCount`] and [`TreesError::BadSetting`] when
/// the forest has grown on other features, targets, bags, another seed or for other answers.
pub fn continue_mean_forest(
    forest: Forest,
    x: &dyn BinColumns,
    task: &MeanTask<'_>,
    config: &ForestConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Forest, TreesError> {
    task.grow(Some(forest), x, config, seed, watch)
}

#[cfg(test)]
mod tests;
