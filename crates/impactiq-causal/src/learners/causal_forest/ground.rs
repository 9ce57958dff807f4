//! What forests grow from, whatever their settings, with or without a linear part taken away.

use impactiq_data::{Seed, Watch};
use impactiq_trees::{EffectTask, Forest, ForestConfig, continue_effect_forest, grow_effect_forest};

use super::centre::Centred;
use super::linear_part::Line;
use crate::base::{Hurried, Inputs, Quiet};
use crate::error::CausalError;
use crate::learners::task::LearnerTask;

/// What the forests of one group of contrasts grow from.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub inputs: &'a Inputs<'a>,
    pub weights: Option<&'a [f64]>,
    /// What sampling keeps together: rows, or clusters.
    pub row_ids: &'a [u64],
    /// The clusters, where there are any.
    pub clusters: Option<&'a [u32]>,
    pub centred: &'a Centred,
    /// The linear part that the trees complete, if there is one.
    pub line: Option<&'a Line>,
    /// The rows to grow from, all of the centred ones or a sample of them.
    pub rows: &'a [u32],
    pub watch: &'a dyn Watch,
}

impl<'a> Ground<'a> {
    /// The ground of a task's arms, without a line.
    pub fn of(inputs: &'a Inputs<'a>, task: &LearnerTask<'a>, centred: &'a Centred, watch: &'a dyn Watch) -> Self {
        let LearnerTask { weights, row_ids, clusters, .. } = *task;
        Ground { inputs, weights, row_ids, clusters, centred, line: None, rows: &centred.rows, watch }
    }

    /// A forest; a smaller one than was asked for when the watch said stop after its first bags.
    pub fn grow(&self, config: &ForestConfig, seed: Seed) -> Result<Forest, CausalError> {
        self.go_on(None, config, seed)
    }

    /// The forest that is kept: once the time for trying is used up it makes do with the trees it has.
    pub fn grow_at_last(
        &self,
        earlier: Option<Forest>,
        config: &ForestConfig,
        seed: Seed,
    ) -> Result<Forest, CausalError> {
        let watch = Hurried::new(self.watch);
        Ground { watch: &watch, ..*self }.go_on(earlier, config, seed)
    }

    /// An earlier forest of the same task, settings and seed with the trees it lacks.
    pub fn go_on(&self, earlier: Option<Forest>, config: &ForestConfig, seed: Seed) -> Result<Forest, CausalError> {
        match self.centred.treatments.len() {
            1 => self.grow_joint::<1, 8>(earlier, config, seed),
            2 => self.grow_joint::<2, 12>(earlier, config, seed),
            3 => self.grow_joint::<3, 20>(earlier, config, seed),
            _ => self.grow_joint::<4, 28>(earlier, config, seed),
        }
    }

    fn grow_joint<const K: usize, const L: usize>(
        &self,
        earlier: Option<Forest>,
        config: &ForestConfig,
        seed: Seed,
    ) -> Result<Forest, CausalError> {
        let centred = self.centred;
        let task = EffectTask::<K> {
            rows: self.rows,
            outcome: self.line.map_or(&centred.outcome, |line| &line.outcome),
            contrasts: std::array::from_fn(|k| centred.treatments[k].as_slice()),
            arms: centred.arms.as_deref(),
            weights: self.weights,
            // The sampling ids are clusters where there are any.
            clusters: None,
            row_ids: self.row_ids,
        };
        let (columns, watch) = (self.inputs.columns(), Quiet(self.watch));
        Ok(match earlier {
            None => grow_effect_forest::<K, L>(&columns, &task, config, seed, &watch)?,
            Some(forest) => continue_effect_forest::<K, L>(forest, &columns, &task, config, seed, &watch)?,
        })
    }

    /// Out-of-bag effects of some rows per contrast, the linear part included; NaN where
    /// every bag has seen the row.
    pub fn out_of_bag(&self, forest: &Forest, rows: &[u32]) -> Vec<Vec<f64>> {
        let key = |row: u32| self.row_ids[row as usize];
        let mut effects = forest.predict_out_of_bag(&self.inputs.columns(), rows, &key, false).values;
        if let Some(line) = self.line {
            for (effects, line) in effects.iter_mut().zip(&line.effects) {
                effects.iter_mut().zip(rows).for_each(|(effect, &row)| *effect += line[row as usize]);
            }
        }
        effects
    }
}
