//! Effect learners: from rows to the effect of each arm given features.
//!
//! Every learner here predicts each arm's mean; an effect is the difference of two of them, so
//! `mean_t − mean_c = cate` holds to the last bit. What must not live here: hold-outs, averages.

mod s;
mod t;

use impactiq_data::{Arms, DataError, OutcomeKind, Seed, Watch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use s::SModel;
pub use t::TModel;

use crate::base::settings::with_base_settings;
use crate::base::{BaseKind, BaseLearner, Inputs, Loss, Place, Target};
use crate::error::CausalError;
use crate::nuisance::loss_of;

/// The effect learners there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LearnerKind {
    /// One model with the arm among its features.
    S,
    /// One model per arm.
    #[default]
    T,
}

impl LearnerKind {
    /// The kind as the config writes it.
    pub fn name(self) -> &'static str {
        match self {
            LearnerKind::S => "s",
            LearnerKind::T => "t",
        }
    }
}

with_base_settings! {
    /// Which effect learner, and its settings.
    pub struct LearnerConfig {
        /// s (one model, the arm among its features) or t (one model per arm).
        pub kind: LearnerKind = LearnerKind::T,
        /// What the learner's models are made of.
        pub base: BaseKind = BaseKind::Boosted,
    }
}

impl LearnerConfig {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`CausalError::BadSetting`], [`CausalError::UselessSetting`].
    pub fn check(&self) -> Result<(), CausalError> {
        self.settings().check("learner", self.base)
    }
}

/// What an effect learner sees; vectors are indexed by row of the inputs.
#[derive(Clone, Copy)]
pub struct LearnerTask<'a> {
    /// Rows to learn from.
    pub rows: &'a [u32],
    /// Arm code of every row.
    pub codes: &'a [u8],
    /// The arms.
    pub arms: &'a Arms,
    /// The outcome's name, for messages.
    pub outcome: &'a str,
    /// The outcome's kind.
    pub kind: OutcomeKind,
    /// The outcome of every row.
    pub target: &'a [f64],
    /// The weight of every row.
    pub weights: Option<&'a [f64]>,
    /// What sampling keeps together: a row number, or a cluster.
    pub row_ids: &'a [u64],
}

/// A learned effect of each arm on one outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum EffectModel {
    /// S-learner.
    S(SModel),
    /// T-learner.
    T(TModel),
}

/// Learns the effect of each arm on one outcome from the rows of a task.
///
/// # Errors
/// [`CausalError::NotBinary`] for a logistic learner of another outcome,
/// [`CausalError::TooFewRows`] for an arm without rows, and what base learners find.
pub fn fit_effect(
    config: &LearnerConfig,
    inputs: &Inputs<'_>,
    task: &LearnerTask<'_>,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<EffectModel, CausalError> {
    if config.base == BaseKind::Logistic && loss_of(task.kind) != Loss::Logistic {
        return Err(CausalError::NotBinary { key: "learner.base", column: task.outcome.to_owned() });
    }
    Ok(match config.kind {
        LearnerKind::S => EffectModel::S(SModel::fit(config, inputs, task, seed, watch)?),
        LearnerKind::T => EffectModel::T(TModel::fit(config, inputs, task, seed, watch)?),
    })
}

impl LearnerTask<'_> {
    /// The loss that suits the outcome.
    fn loss(&self) -> Loss {
        loss_of(self.kind)
    }

    /// The base learner for one part of the rows.
    fn base_learner(&self, config: &LearnerConfig, place: Place, rows: &[u32]) -> BaseLearner {
        let sum: f64 = rows.iter().map(|&row| self.target[row as usize]).sum();
        let mean = sum / rows.len().max(1) as f64;
        config.settings().learner(config.base, place, Target { loss: self.loss(), n_rows: rows.len(), mean })
    }

    /// The rows of one arm.
    fn arm_rows(&self, arm: usize) -> Result<Vec<u32>, CausalError> {
        let rows: Vec<u32> =
            self.rows.iter().copied().filter(|&row| usize::from(self.codes[row as usize]) == arm).collect();
        if rows.len() < 2 {
            return Err(CausalError::TooFewRows {
                what: format!("arm '{}' outside the hold-out", self.arms.labels()[arm]),
                found: rows.len(),
                needed: 2,
            });
        }
        Ok(rows)
    }
}

impl EffectModel {
    /// The kind of learner.
    pub fn kind(&self) -> LearnerKind {
        match self {
            EffectModel::S(_) => LearnerKind::S,
            EffectModel::T(_) => LearnerKind::T,
        }
    }

    /// Each arm's mean for every row of the inputs: one vector of n per arm, control first.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`] when a linear model's raw column is not there.
    pub fn means(&self, inputs: &Inputs<'_>, arms: &Arms) -> Result<Vec<Vec<f64>>, DataError> {
        match self {
            EffectModel::S(model) => model.means(inputs, arms),
            EffectModel::T(model) => model.means(inputs),
        }
    }

    /// The base models, for whoever stores them: the S-learner's one, the T-learner's by arm.
    pub fn models(&self) -> Vec<&crate::base::BaseModel> {
        match self {
            EffectModel::S(model) => vec![&model.model],
            EffectModel::T(model) => model.models.iter().collect(),
        }
    }
}
