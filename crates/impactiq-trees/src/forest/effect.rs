//! Causal forests: the effects of up to four contrasts, or of a dose (Athey, Tibshirani and
//! Wager 2019).

use impactiq_data::{BinColumns, Seed, Watch};

use crate::criterion::effect::{Effect, EffectCell, EffectStats};
use crate::error::{TreesError, check_length};
use crate::forest::config::ForestConfig;
use crate::forest::grow::{ForestCriterion, Ground, Members};
use crate::forest::kind::{ForestKind, n_effect_moments};
use crate::forest::model::Forest;
use crate::stats::Stats;

/// What to learn from which rows; K contrasts.
#[derive(Clone, Copy, Debug)]
pub struct EffectTask<'a, const K: usize> {
    /// The rows to learn from, numbers into the features.
    pub rows: &'a [u32],
    /// The outcome of every row of the features, less its expectation.
    pub outcome: &'a [f64],
    /// The contrasts of every row of the features, less their expectation (the propensity).
    pub contrasts: [&'a [f64]; K],
    /// The arm of every row of the features: 0 control, k contrast k; `None` for doses.
    pub arms: Option<&'a [u8]>,
    /// The weight of every row of the features; rows of weight 0 are left out.
    pub weights: Option<&'a [f64]>,
    /// The cluster of every row of the features: drawn whole.
    pub clusters: Option<&'a [u32]>,
    /// A stable number of every row of the features: the key of sampling.
    pub row_ids: &'a [u64],
}

impl<'a, const K: usize> EffectTask<'a, K> {
    fn members(&self) -> Members<'a> {
        Members { rows: self.rows, weights: self.weights, clusters: self.clusters, row_ids: self.row_ids }
    }

    /// The key by which a row is drawn.
    #[inline(always)]
    pub fn key(&self, row: u32) -> u64 {
        self.members().key(row)
    }

    fn cell<const L: usize>(&self, row: u32) -> EffectCell<K, L> {
        let i = row as usize;
        let contrasts = self.contrasts.map(|contrast| contrast[i]);
        let arm = self.arms.map_or(u8::MAX, |arms| arms[i]);
        EffectCell::row(self.members().weight(row), self.outcome[i], &contrasts, arm)
    }

    fn grow<const L: usize>(
        &self,
        earlier: Option<Forest>,
        x: &dyn BinColumns,
        config: &ForestConfig,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<Forest, TreesError> {
        config.check()?;
        self.arms.map_or(Ok(()), |arms| check_length("arms", x.n_rows(), arms.len()))?;
        let mut numbers = vec![("outcome", self.outcome)];
        numbers.extend(self.contrasts.map(|contrast| ("contrast", contrast)));
        let members = self.members();
        let rows = members.checked(x.n_rows(), &numbers)?;
        let criterion = |min_arm_rows: u32| Effect::<K, L> {
            min_arm_rows: if self.arms.is_some() { min_arm_rows } else { 0 },
            alpha: config.alpha,
            imbalance_penalty: config.imbalance_penalty,
        };
        let kind = ForestKind::Effect { n_contrasts: K };
        let ground = Ground::new((kind, criterion), x, config, (&members, &rows), |row| self.cell(row))?;
        ground.grow(earlier, seed, watch)
    }
}

impl<const K: usize, const L: usize> ForestCriterion for Effect<K, L> {
    fn push_means(sums: &EffectStats<K, L>, out: &mut Vec<f32>) {
        let weight = sums.weight();
        let first = out.len();
        let mut push = |sum: f64| out.push((sum / weight) as f32);
        push(sums.weight());
        push(sums.outcome());
        (0..K).for_each(|k| push(sums.contrast(k)));
        (0..K).for_each(|k| push(sums.contrast_outcome(k)));
        (0..K).for_each(|k| (0..=k).for_each(|l| push(sums.contrast_product(k, l))));
        debug_assert_eq!(out.len() - first, n_effect_moments(K));
    }
}

/// Grows a causal forest of K contrasts; L lanes, see [`crate::criterion::effect::lanes`].
///
/// When the watch says stop, the bags finished so far are the forest; [`continue_effect_forest`]
/// grows the rest.
///
/// # Errors
/// [`TreesError::BadSetting`] for a setting out of range; [`TreesError::Length`],
/// [`TreesError::RowOutOfRange`], [`TreesError::NoRows`], [`TreesError::NoFeatures`] and
/// [`TreesError::BadValue`] for a task that cannot be; [`TreesError::Stopped`] when stopped
/// before the first bag.
pub fn grow_effect_forest<const K: usize, const L: usize>(
    x: &dyn BinColumns,
    task: &EffectTask<'_, K>,
    config: &ForestConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Forest, TreesError> {
    task.grow::<L>(None, x, config, seed, watch)
}

/// Grows the bags that `forest`, stopped early or grown with fewer trees, lacks of
/// `config.n_trees`. With the task, settings and seed it was started with, the answer has the
/// bytes of a forest that was never stopped.
///
/// # Errors
/// As [`grow_effect_forest`]; [`TreesError::FeatureCount`] and [`TreesError::BadSetting`] when the
/// forest has grown on other features, contrasts, bags or another seed.
pub fn continue_effect_forest<const K: usize, const L: usize>(
    forest: Forest,
    x: &dyn BinColumns,
    task: &EffectTask<'_, K>,
    config: &ForestConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Forest, TreesError> {
    task.grow::<L>(Some(forest), x, config, seed, watch)
}
