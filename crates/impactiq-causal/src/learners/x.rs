//! The X-learner: effects imputed with the other arm's mean, regressed in either arm, and the
//! two regressions weighted by the probability of the arm (Künzel et al. 2019, section 2).

use impactiq_data::{DataError, Seed, Watch};

use super::config::LearnerConfig;
use super::pseudo::Pair;
use super::task::LearnerTask;
use crate::base::{BaseModel, FitTask, Inputs, Loss, Place, Target};
use crate::error::CausalError;

/// The X-learner of all contrasts.
#[derive(Clone, Debug, PartialEq)]
pub struct XModel {
    /// By contrast.
    pub contrasts: Vec<XContrast>,
}

/// One contrast.
#[derive(Clone, Debug, PartialEq)]
pub struct XContrast {
    /// The effect as control rows know it: mean of the arm − y.
    pub of_control: BaseModel,
    /// The effect as rows of the arm know it: y − mean of the control.
    pub of_arm: BaseModel,
    /// The share of `of_control` in the answer, cut to [0, 1]: the probability of the arm among
    /// the two. Where it is declared it is taken as it is, or as a function of features fitted
    /// to the declared numbers; assignments are looked at only where nothing is known.
    pub share: BaseModel,
}

impl XModel {
    pub(super) fn fit(
        config: &LearnerConfig,
        inputs: &Inputs<'_>,
        task: &LearnerTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<Self, CausalError> {
        let control = task.arm_rows(0)?;
        let contrasts = (1..task.arms.len())
            .map(|arm| {
                let pair = Pair::new(task, arm)?;
                let effects = |rows: &[u32], imputed: &dyn Fn(usize) -> f64| {
                    let mut target = vec![0.0; task.target.len()];
                    rows.iter().for_each(|&row| target[row as usize] = imputed(row as usize));
                    let fit = FitTask {
                        rows,
                        target: &target,
                        weights: task.weights,
                        row_ids: task.row_ids,
                        loss: Loss::Squared,
                    };
                    task.base_learner(config, Place::Effect, rows).fit(inputs, &fit, seed, watch)
                };
                let (means, y) = (&pair.nuisances.means, task.target);
                Ok(XContrast {
                    of_control: effects(&control, &|row| means[arm].get(row) - y[row])?,
                    of_arm: effects(&task.arm_rows(arm)?, &|row| y[row] - means[0].get(row))?,
                    share: share(config, inputs, &pair, seed, watch)?,
                })
            })
            .collect::<Result<_, CausalError>>()?;
        Ok(XModel { contrasts })
    }

    pub(super) fn effects(&self, inputs: &Inputs<'_>) -> Result<Vec<Vec<f64>>, DataError> {
        let ask = |model: &BaseModel| {
            let mut answer = vec![0.0; inputs.n_rows()];
            model.predict(inputs, None, &mut answer).map(|()| answer)
        };
        self.contrasts
            .iter()
            .map(|contrast| {
                let (of_control, of_arm) = (ask(&contrast.of_control)?, ask(&contrast.of_arm)?);
                let share = ask(&contrast.share)?;
                let blend = |((g, c), t): ((&f64, &f64), &f64)| {
                    let g = g.clamp(0.0, 1.0);
                    g * c + (1.0 - g) * t
                };
                Ok(share.iter().zip(&of_control).zip(&of_arm).map(blend).collect())
            })
            .collect()
    }
}

/// The probability of the arm among arm and control, for rows to come.
fn share(
    config: &LearnerConfig,
    inputs: &Inputs<'_>,
    pair: &Pair<'_>,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<BaseModel, CausalError> {
    let propensity = &pair.nuisances.propensity;
    if let (Some(_), Some(_)) = (propensity[0].constant(), propensity[pair.arm].constant()) {
        return Ok(BaseModel::Constant(pair.share(0)));
    }
    let (rows, mut target) = (pair.rows(), vec![0.0; pair.task.target.len()]);
    let declared = pair.nuisances.declared;
    for row in rows.iter().map(|&row| row as usize) {
        target[row] = if declared { pair.share(row) } else { f64::from(u8::from(pair.treated(row))) };
    }
    let mean = rows.iter().map(|&row| target[row as usize]).sum::<f64>() / rows.len().max(1) as f64;
    let loss = if declared { Loss::Squared } else { Loss::Logistic };
    let of = Target { loss, n_rows: rows.len(), mean };
    let learner = if declared {
        config.settings().learner(config.base, Place::Nuisance, of)
    } else {
        config.settings().propensity_learner(config.base, Place::Assignment, of)
    };
    let weights = pair.task.weights;
    let fit = FitTask { rows: &rows, target: &target, weights, row_ids: pair.task.row_ids, loss };
    learner.fit(inputs, &fit, seed.child(1), watch)
}
