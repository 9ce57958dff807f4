//! Learners that regress a pseudo-outcome on features: r, dr, nonparam_dml,
//! transformed_outcome and class_transformation. [`super::pseudo`] says what is regressed.

use impactiq_data::{DataError, Seed, Watch};

use super::config::{LearnerConfig, LearnerKind};
use super::pseudo::regression;
use super::task::LearnerTask;
use crate::base::{BaseModel, FitTask, Inputs, Place};
use crate::error::CausalError;

/// One model per contrast whose prediction is the effect, or says it.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectModel {
    /// Which learner made it: it says how predictions become effects.
    pub kind: LearnerKind,
    /// Models by contrast.
    pub models: Vec<BaseModel>,
}

impl DirectModel {
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
        let models = (1..task.arms.len())
            .map(|arm| {
                let regression = regression(config.kind, task, arm)?;
                let fit = FitTask {
                    rows: &regression.rows,
                    target: &regression.target,
                    weights: regression.weights.as_deref(),
                    row_ids: task.row_ids,
                    loss: regression.loss,
                };
                let learner = task.base_learner(config, Place::Effect, &regression.rows);
                // One seed for all arms: swapping two arms then swaps their effects exactly.
                learner.fit(inputs, &fit, seed, watch)
            })
            .collect::<Result<_, CausalError>>()?;
        Ok(DirectModel { kind: config.kind, models })
    }

    pub(super) fn effects(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<f64>>, DataError> {
        self.models
            .iter()
            .map(|model| {
                let mut effect = vec![0.0; inputs.n_rows()];
                model.predict(inputs, None, &mut effect)?;
                if self.kind == LearnerKind::ClassTransformation {
                    effect.iter_mut().for_each(|p| *p = 2.0 * *p - 1.0);
                }
                Ok(effect)
            })
            .collect()
    }
}
