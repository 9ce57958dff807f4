//! The learner's section of the config: kinds, keys, their ranges, and what a forest's keys mean.

use impactiq_metrics::robust::Covariance;
use impactiq_trees::{ForestConfig, TreesError, UpliftKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::interactions::Interactions;
use crate::base::BaseKind;
use crate::base::settings::with_base_settings;
use crate::error::CausalError;

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
    /// Effects imputed by the other arm's mean, weighted by probability.
    X,
    /// Residual on residual, means composed of the arms'.
    R,
    /// Regression of doubly robust scores.
    Dr,
    /// Residual on residual, pooled means.
    NonparamDml,
    /// Regression of outcomes weighted by the inverse probability of the arm.
    TransformedOutcome,
    /// Classification of whether outcome and arm agree; 0/1 outcomes.
    ClassTransformation,
    /// Residual on residual, linear in the features, with row intervals.
    LinearDml,
    /// Doubly robust scores, linear in the features, with row intervals.
    LinearDr,
    /// Forest of uplift trees: arm means in leaves split by an uplift criterion.
    UpliftForest,
    /// One uplift tree, to be read.
    UpliftTree,
    /// Honest forest of the effect by way of an instrument.
    InstrumentalForest,
    /// The effect of taking what was offered by chance, linear in the features.
    IntentToTreatDriv,
    /// Honest forests on doubly robust scores.
    ForestDr,
    /// A blend of those that do well on held-out rows.
    Auto,
}

impl LearnerKind {
    /// Every kind.
    pub const ALL: [LearnerKind; 17] = [
        LearnerKind::S,
        LearnerKind::T,
        LearnerKind::CausalForest,
        LearnerKind::X,
        LearnerKind::R,
        LearnerKind::Dr,
        LearnerKind::NonparamDml,
        LearnerKind::TransformedOutcome,
        LearnerKind::ClassTransformation,
        LearnerKind::LinearDml,
        LearnerKind::LinearDr,
        LearnerKind::InstrumentalForest,
        LearnerKind::IntentToTreatDriv,
        LearnerKind::UpliftForest,
        LearnerKind::UpliftTree,
        LearnerKind::ForestDr,
        LearnerKind::Auto,
    ];

    /// The learners of doses, as the config writes them.
    pub fn names_for_doses() -> String {
        let names: Vec<&str> =
            LearnerKind::ALL.into_iter().filter(|k| k.takes_doses()).map(LearnerKind::name).collect();
        names.join(", ")
    }

    /// Whether the learner is defined for a treatment that is an amount.
    pub fn takes_doses(self) -> bool {
        matches!(self, LearnerKind::CausalForest | LearnerKind::NonparamDml | LearnerKind::InstrumentalForest)
    }

    /// Whether the learner works by way of an instrument.
    pub fn needs_instrument(self) -> bool {
        matches!(self, LearnerKind::InstrumentalForest | LearnerKind::IntentToTreatDriv)
    }

    /// Whether the effect is linear in the features.
    pub(crate) fn is_linear(self) -> bool {
        matches!(self, LearnerKind::LinearDml | LearnerKind::LinearDr | LearnerKind::IntentToTreatDriv)
    }

    /// The kind as the config writes it.
    pub fn name(self) -> &'static str {
        match self {
            LearnerKind::S => "s",
            LearnerKind::T => "t",
            LearnerKind::CausalForest => "causal_forest",
            LearnerKind::X => "x",
            LearnerKind::R => "r",
            LearnerKind::Dr => "dr",
            LearnerKind::NonparamDml => "nonparam_dml",
            LearnerKind::TransformedOutcome => "transformed_outcome",
            LearnerKind::ClassTransformation => "class_transformation",
            LearnerKind::LinearDml => "linear_dml",
            LearnerKind::LinearDr => "linear_dr",
            LearnerKind::UpliftForest => "uplift_forest",
            LearnerKind::UpliftTree => "uplift_tree",
            LearnerKind::InstrumentalForest => "instrumental_forest",
            LearnerKind::IntentToTreatDriv => "intent_to_treat_driv",
            LearnerKind::ForestDr => "forest_dr",
            LearnerKind::Auto => "auto",
        }
    }

    /// Whether the learner reads the run's nuisances.
    pub(crate) fn needs_nuisances(self) -> bool {
        !matches!(self, LearnerKind::S | LearnerKind::T) && !self.needs_propensity()
    }

    /// Whether the learner reads the run's propensity where it differs between rows, and otherwise
    /// no nuisance: uplift trees compare the arms of a leaf as they are.
    pub(crate) fn needs_propensity(self) -> bool {
        matches!(self, LearnerKind::UpliftForest | LearnerKind::UpliftTree)
    }

    /// Whether the learner reads outcome means that know no arm.
    pub(crate) fn needs_pooled_means(self) -> bool {
        matches!(self, LearnerKind::NonparamDml | LearnerKind::LinearDml)
    }
}

/// How effects get their level from held-out rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recalibration {
    /// Intercept and a slope that is not negative.
    Linear,
    /// A rising curve.
    Isotonic,
}

with_base_settings! {
    /// Which effect learner, and its settings.
    pub struct LearnerConfig {
        /// s (one model, the arm among its features), t (one model per arm), causal_forest
        /// (honest trees on centred outcomes; `n_trees`, 500, and `max_depth` are its keys too), x,
        /// r, dr, nonparam_dml, transformed_outcome, class_transformation (regressions whose
        /// answer is the effect), forest_dr (honest forests on doubly robust scores), linear_dml,
        /// linear_dr (effects linear in the features, with a table of coefficients and row
        /// intervals), uplift_forest (trees split by an uplift criterion; `n_trees`, 100,
        /// `max_depth`, 5, and `min_leaf_rows`, 100, are its keys too), uplift_tree (one such tree to
        /// be read; depth 3), instrumental_forest and, where the instrument is an offer made by
        /// chance, intent_to_treat_driv (both need `roles.instrument`; the latter is linear in the
        /// features, with a table of coefficients), or auto (a blend of
        /// those that do well on held-out rows, or one effect for everybody). docs/methods has a
        /// page of each.
        pub kind: LearnerKind = LearnerKind::T,
        /// What the models are made of; for all kinds but forests and linear final stages.
        pub base: BaseKind = BaseKind::Boosted,
        /// Linear final stages: how coefficients' errors are estimated; default hc1, cr1 with clusters.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub covariance: Option<Covariance> = None,
        /// Sets the level of effects by what held-out rows say: linear (intercept and slope) or
        /// isotonic (a rising curve). Recalibrated effects have neither means nor row intervals.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub recalibrate: Option<Recalibration> = None,
        /// Auto: learners to try, 1 to 7, of s, t, r, x, dr, r on ridge regression and
        /// causal_forest; default 6.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = 7))]
        pub trials: Option<u32> = None,
        /// Forest: rows of every arm that a leaf's splitting half must hold; left out: chosen
        /// by the out-of-bag R-loss of small forests. Uplift forest and tree: rows of every arm per
        /// leaf; left out: 10, or as many as hold ten events and ten non-events of a 0/1 outcome.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        pub min_arm_rows: Option<u32> = None,
        /// Forest: share of the rows each tree sees, above 0 up to 0.5 (below 1 when
        /// `trees_per_bag` is 1); default 0.5. Uplift forest: above 0 up to 1; default 0.5.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub sample_fraction: Option<f64> = None,
        /// Forest: fill leaves with other rows than those that chose the splits; default true.
        /// Row intervals need it. Uplift forest: default false; uplift tree: default true.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub honest: Option<bool> = None,
        /// Forest: features each node considers; default √p + 20, at most all p. Uplift forest:
        /// default 10; uplift tree: default all.
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
        /// Uplift forest and tree: what a split is good for: euclidean (default), kl or chi_square
        /// (0/1 outcomes), ddp, interaction or cts.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub criterion: Option<UpliftKind> = None,
        /// Uplift forest and tree: divide the gains of kl, euclidean and chi_square by their papers'
        /// normalising factor; default true.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub normalise: Option<bool> = None,
        /// Uplift forest and tree: while splits are compared, a child's means are drawn to its
        /// parent's with the strength of this many rows, from 0; default 10.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub shrinkage: Option<f64> = None,
        /// Uplift forest and tree: the gain of a split must exceed this, from 0; default 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub min_gain: Option<f64> = None,
        /// Forest: begin with a linear effect of the features and let the trees find what it
        /// leaves. Left out: where the out-of-bag R-loss is smaller with it; never when
        /// `min_arm_rows` is given.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub linear_part: Option<bool> = None,
        /// linear_dml and linear_dr: products of two features that enter beside them: a number of
        /// them at most, 1 to 20, or auto (5 at most). They are chosen inside training folds and
        /// only where they pass a test and held-out rows agree.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub interactions: Option<Interactions> = None,
    }
}

impl LearnerConfig {
    /// Whether learning reads the run's nuisances.
    pub(crate) fn needs_nuisances(&self) -> bool {
        self.kind.needs_nuisances() || self.needs_folds()
    }

    /// Whether learning reads the folds.
    pub(crate) fn needs_folds(&self) -> bool {
        self.is_judged() || self.interactions.is_some()
    }

    /// Whether something is chosen by its answers for held-out folds.
    pub(crate) fn is_judged(&self) -> bool {
        self.kind == LearnerKind::Auto || self.recalibrate.is_some() || self.budget().is_some()
    }

    /// The forest that is asked for; where no `min_arm_rows` is, it is 5 here and chosen later.
    pub(super) fn forest(&self) -> ForestConfig {
        resolve(self)
    }
}

/// Trees by default: intervals need more of them than effects.
const N_TREES: u32 = 500;

/// The forest a config asks for; `min_arm_rows` is the config's or 5.
fn resolve(config: &LearnerConfig) -> ForestConfig {
    let defaults = ForestConfig::default();
    ForestConfig {
        n_trees: config.n_trees.unwrap_or(N_TREES) as usize,
        trees_per_bag: config.trees_per_bag.map_or(defaults.trees_per_bag, |n| n as usize),
        sample_fraction: config.sample_fraction.unwrap_or(defaults.sample_fraction),
        honest: config.honest.unwrap_or(defaults.honest),
        features_per_node: config.features_per_node.map(|n| n as usize),
        min_arm_rows: config.min_arm_rows.unwrap_or(defaults.min_arm_rows),
        alpha: config.alpha.unwrap_or(defaults.alpha),
        imbalance_penalty: config.imbalance_penalty.unwrap_or(defaults.imbalance_penalty),
        max_depth: config.max_depth,
        ..defaults
    }
}

/// Checks a forest's ranges.
pub(super) fn check_forest(config: &LearnerConfig) -> Result<(), CausalError> {
    if config.min_arm_rows == Some(0) {
        return Err(CausalError::setting("learner.min_arm_rows", 0, "it must be at least 1"));
    }
    resolve(config).check().map_err(|error| match error {
        TreesError::BadSetting { key, value, allowed } => {
            CausalError::setting(format!("learner.{key}"), value, allowed)
        }
        other => other.into(),
    })
}
