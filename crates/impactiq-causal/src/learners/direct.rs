//! Learners that regress a pseudo-outcome on features: r, dr, nonparam_dml,
//! transformed_outcome and class_transformation. [`super::pseudo`] says what is regressed.

use impactiq_data::{DataError, Seed, Watch};

use super::config::{LearnerConfig, LearnerKind};
use super::pseudo::regression;
use super::task::{DoseTask, LearnerTask};
use crate::base::{BaseModel, FitTask, Inputs, Loss, Place, Target};
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

    /// Residual on residual with a dose: (Ỹ/T̃) regressed with weights T̃² minimises the R-loss
    /// Σ (Ỹ − τ(x)T̃)² (Nie & Wager 2021). Rows whose dose is its mean say nothing and stay out.
    pub(super) fn fit_dose(
        config: &LearnerConfig,
        inputs: &Inputs<'_>,
        task: &DoseTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<Self, CausalError> {
        let n = task.dose.len();
        let (mut target, mut weights) = (vec![0.0; n], vec![0.0; n]);
        let mut rows = Vec::with_capacity(task.rows.len());
        for &row in task.rows {
            let i = row as usize;
            let t = task.dose[i] - task.dose_mean.get(i);
            weights[i] = t * t * task.weights.map_or(1.0, |w| w[i]);
            if weights[i] > 0.0 {
                target[i] = (task.target[i] - task.outcome_mean.get(i)) / t;
                rows.push(row);
            }
        }
        if rows.len() < 2 {
            return Err(CausalError::NoVariation { what: format!("the dose '{}' outside the hold-out", task.name) });
        }
        let loss = Loss::Squared;
        let fit = FitTask { rows: &rows, target: &target, weights: Some(&weights), row_ids: task.row_ids, loss };
        let of_rows = Target { loss, n_rows: rows.len(), mean: 0.0 };
        let learner = config.settings().learner(config.base, Place::Effect, of_rows);
        Ok(DirectModel { kind: config.kind, models: vec![learner.fit(inputs, &fit, seed, watch)?] })
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
