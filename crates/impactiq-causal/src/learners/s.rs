//! The S-learner: one outcome model with the arm among its features (Künzel et al. 2019).

use impactiq_data::{Arms, DataError, Seed, Watch};

use super::{LearnerConfig, LearnerTask};
use crate::base::{BaseModel, FitTask, Inputs, Place};
use crate::error::CausalError;

/// One model of the outcome given features and arm.
#[derive(Clone, Debug, PartialEq)]
pub struct SModel {
    /// The model; its last feature is the arm.
    pub model: BaseModel,
}

impl SModel {
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
        let learner = task.base_learner(config, Place::AllArms, task.rows);
        let inputs = inputs.with_arm(task.codes, task.arms.labels());
        let fit = FitTask {
            rows: task.rows,
            target: task.target,
            weights: task.weights,
            row_ids: task.row_ids,
            loss: task.loss(),
        };
        Ok(SModel { model: learner.fit(&inputs, &fit, seed, watch)? })
    }

    pub(super) fn means(&self, inputs: &Inputs<'_>, arms: &Arms) -> Result<Vec<Vec<f64>>, DataError> {
        let n = inputs.n_rows();
        (0..arms.len())
            .map(|arm| {
                let codes = vec![arm as u8; n];
                let mut mean = vec![0.0; n];
                self.model.predict(&inputs.with_arm(&codes, arms.labels()), None, &mut mean)?;
                Ok(mean)
            })
            .collect()
    }
}
