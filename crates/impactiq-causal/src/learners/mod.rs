//! Effect learners: from rows to the effect of each arm given features.
//!
//! The S- and T-learner predict each arm's mean; an effect is the difference of two of them, so
//! `mean_t − mean_c = cate` holds to the last bit. The causal forest knows effects alone, with
//! row-level intervals. What must not live here: hold-outs, averages over a data set.

mod causal_forest;
mod s;
mod t;

use impactiq_data::{Arms, DataError, OutcomeKind, Seed, Watch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use causal_forest::{Candidate, Centring, ForestModel, ForestReport, MAX_JOINT};
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
    /// Honest causal forest on centred outcomes and treatments.
    CausalForest,
}

impl LearnerKind {
    /// The kind as the config writes it.
    pub fn name(self) -> &'static str {
        match self {
            LearnerKind::S => "s",
            LearnerKind::T => "t",
            LearnerKind::CausalForest => "causal_forest",
        }
    }
}

with_base_settings! {
    /// Which effect learner, and its settings.
    pub struct LearnerConfig {
        /// s (one model, the arm among its features), t (one model per arm) or causal_forest
        /// (honest trees on centred outcomes; `n_trees`, 500, and `max_depth` are its keys too).
        pub kind: LearnerKind = LearnerKind::T,
        /// What the models of s and t are made of.
        pub base: BaseKind = BaseKind::Boosted,
        /// Forest: rows of every arm that a leaf's splitting half must hold; left out: chosen
        /// by the out-of-bag R-loss of small forests.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        pub min_arm_rows: Option<u32> = None,
        /// Forest: share of the rows each tree sees, above 0 up to 0.5 (below 1 when
        /// `trees_per_bag` is 1); default 0.5.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub sample_fraction: Option<f64> = None,
        /// Forest: fill leaves with other rows than those that chose the splits; default true.
        /// Row intervals need it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub honest: Option<bool> = None,
        /// Forest: features each node considers; default √p + 20, at most all p.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        pub features_per_node: Option<u32> = None,
        /// Forest: share of a node's treatment variation that each child must keep, from 0 up
        /// to less than 0.5; default 0.05.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub alpha: Option<f64> = None,
        /// Forest: price of uneven splits, from 0; default 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub imbalance_penalty: Option<f64> = None,
        /// Forest: trees that share a half-sample, 1 to 64; default 2. With 1 there are no row
        /// intervals.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = 64))]
        pub trees_per_bag: Option<u32> = None,
        /// Forest: shrink effects toward the average effect as far as the out-of-bag R-loss
        /// says; shrunken effects have no row intervals. Default false.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub shrink: Option<bool> = None,
    }
}

impl LearnerConfig {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`CausalError::BadSetting`], [`CausalError::UselessSetting`].
    pub fn check(&self) -> Result<(), CausalError> {
        causal_forest::check(self)?;
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
    /// Nuisances of the outcome and the arms, for learners that centre.
    pub centring: Option<&'a Centring>,
}

/// A learned effect of each arm on one outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum EffectModel {
    /// S-learner.
    S(SModel),
    /// T-learner.
    T(TModel),
    /// Causal forest.
    CausalForest(ForestModel),
}

/// What an effect model says about rows; one vector of n per contrast or arm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Effect per arm but the control.
    pub cate: Vec<Vec<f64>>,
    /// Mean per arm, the control first; empty where the learner knows effects alone.
    pub mean: Vec<Vec<f64>>,
    /// Lower ends of row intervals per contrast; empty where there are none, NaN for rows
    /// without one.
    pub lower: Vec<Vec<f64>>,
    /// Upper ends.
    pub upper: Vec<Vec<f64>>,
}

/// A learned effect, and what a forest's report says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The effect.
    pub effect: EffectModel,
    /// One entry per forest; empty for other learners.
    pub forests: Vec<ForestReport>,
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
) -> Result<Fitted, CausalError> {
    if config.base == BaseKind::Logistic && loss_of(task.kind) != Loss::Logistic {
        return Err(CausalError::NotBinary { key: "learner.base", column: task.outcome.to_owned() });
    }
    let effect = match config.kind {
        LearnerKind::S => EffectModel::S(SModel::fit(config, inputs, task, seed, watch)?),
        LearnerKind::T => EffectModel::T(TModel::fit(config, inputs, task, seed, watch)?),
        LearnerKind::CausalForest => {
            let (model, forests) = ForestModel::fit(config, inputs, task, seed, watch)?;
            return Ok(Fitted { effect: EffectModel::CausalForest(model), forests });
        }
    };
    Ok(Fitted { effect, forests: Vec::new() })
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
            EffectModel::CausalForest(_) => LearnerKind::CausalForest,
        }
    }

    /// Effects for every row of the inputs, with what else the learner knows; row intervals only
    /// when asked for, as they cost time.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`] when a linear model's raw column is not there.
    pub fn effects(&self, inputs: &Inputs<'_>, arms: &Arms, intervals: bool) -> Result<Effects, DataError> {
        let mean = match self {
            EffectModel::S(model) => model.means(inputs, arms)?,
            EffectModel::T(model) => model.means(inputs)?,
            EffectModel::CausalForest(model) => return Ok(model.effects(inputs, intervals)),
        };
        let cate = mean[1..].iter().map(|arm| arm.iter().zip(&mean[0]).map(|(t, c)| t - c).collect()).collect();
        Ok(Effects { cate, mean, ..Effects::default() })
    }

    /// The base models, for whoever stores them: the S-learner's one, the T-learner's by arm,
    /// none of a forest.
    pub fn models(&self) -> Vec<&crate::base::BaseModel> {
        match self {
            EffectModel::S(model) => vec![&model.model],
            EffectModel::T(model) => model.models.iter().collect(),
            EffectModel::CausalForest(_) => Vec::new(),
        }
    }
}
