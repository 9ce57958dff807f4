//! The T-learner: one outcome model per arm (Künzel et al. 2019).

use impactiq_data::{DataError, Seed, Watch};

use super::{LearnerConfig, LearnerTask};
use crate::base::{BaseModel, FitTask, Inputs, Place};
use crate::error::CausalError;

/// One model of the outcome per arm, the control first.
#[derive(Clone, Debug, PartialEq)]
pub struct TModel {
    /// Models by arm code.
    pub models: Vec<BaseModel>,
}

impl TModel {
    pub(super) fn fit(
        config: &LearnerConfig,
        inputs: &Inputs<'_>,
        task: &LearnerTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<Self, CausalError> {
        let models = (0..task.arms.len())
            .map(|arm| {
                let rows = task.arm_rows(arm)?;
                let fit = FitTask {
                    rows: &rows,
                    target: task.target,
                    weights: task.weights,
                    row_ids: task.row_ids,
                    loss: task.loss(),
                };
                let learner = task.base_learner(config, Place::OneArm, &rows);
                // One seed for all arms: swapping two arms then swaps their models exactly.
                learner.fit(inputs, &fit, seed, watch)
            })
            .collect::<Result<_, CausalError>>()?;
        Ok(TModel { models })
    }

    pub(super) fn means(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<f64>>, DataError> {
        self.models
            .iter()
            .map(|model| {
                let mut mean = vec![0.0; inputs.n_rows()];
                model.predict(inputs, None, &mut mean)?;
                Ok(mean)
            })
            .collect()
    }
}
