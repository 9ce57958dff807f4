//! What forests grow from, whatever their settings, and the choice of the joint forest's size.

use impactiq_data::{Seed, Watch};
use impactiq_trees::{EffectTask, Forest, ForestConfig, grow_effect_forest};

use super::centre::Centred;
use crate::base::{Inputs, Quiet};
use crate::error::CausalError;

/// What the forests of one group of contrasts grow from.
pub(super) struct Ground<'a> {
    pub inputs: &'a Inputs<'a>,
    pub weights: Option<&'a [f64]>,
    /// What sampling keeps together: rows, or clusters.
    pub row_ids: &'a [u64],
    pub centred: &'a Centred,
    pub watch: &'a dyn Watch,
}

impl Ground<'_> {
    pub fn grow(&self, config: &ForestConfig, seed: Seed) -> Result<Forest, CausalError> {
        match self.centred.treatments.len() {
            1 => self.grow_joint::<1, 8>(config, seed),
            2 => self.grow_joint::<2, 12>(config, seed),
            3 => self.grow_joint::<3, 20>(config, seed),
            _ => self.grow_joint::<4, 28>(config, seed),
        }
    }

    fn grow_joint<const K: usize, const L: usize>(
        &self,
        config: &ForestConfig,
        seed: Seed,
    ) -> Result<Forest, CausalError> {
        let centred = self.centred;
        let task = EffectTask::<K> {
            rows: &centred.rows,
            outcome: &centred.outcome,
            contrasts: std::array::from_fn(|k| centred.treatments[k].as_slice()),
            arms: centred.arms.as_deref(),
            weights: self.weights,
            // The sampling ids are clusters where there are any.
            clusters: None,
            row_ids: self.row_ids,
        };
        let forest = grow_effect_forest::<K, L>(&self.inputs.columns(), &task, config, seed, &Quiet(self.watch))?;
        // A smaller forest than was asked for must not pass for the whole.
        if self.watch.should_stop() { Err(CausalError::Stopped) } else { Ok(forest) }
    }
}
