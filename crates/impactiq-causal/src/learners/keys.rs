//! Which key of the learner's section means something to which kind of learner: one row per
//! key. A key written for a kind that doesn't read it is an error, never ignored.

use super::config::{LearnerConfig, LearnerKind, check_forest};
use super::interactions::Interactions;
use super::uplift;
use crate::base::BaseKind;
use crate::error::CausalError;

use LearnerKind::{
    Auto, CausalForest, ClassTransformation, Dr, ForestDr, InstrumentalForest, IntentToTreatDriv, LinearDml, LinearDr,
    NonparamDml, R, S, T, TransformedOutcome, UpliftForest, UpliftTree, X,
};

/// Kinds made of base learners.
const OF_BASE: &[LearnerKind] = &[S, T, X, R, Dr, NonparamDml, TransformedOutcome, ClassTransformation];

/// Kinds whose base learner predicts an effect, which is no probability.
const OF_EFFECTS: &[LearnerKind] = &[X, R, Dr, NonparamDml, TransformedOutcome];

/// Kinds that grow honest trees on moments.
const OF_FOREST: &[LearnerKind] = &[CausalForest, InstrumentalForest, ForestDr];

/// Kinds that draw rows for trees.
const OF_SAMPLES: &[LearnerKind] = &[CausalForest, InstrumentalForest, ForestDr, UpliftForest];

/// Kinds whose trees may be honest, and whose nodes may look at some features only.
const OF_HONEST: &[LearnerKind] = &[CausalForest, InstrumentalForest, ForestDr, UpliftForest, UpliftTree];

/// Kinds whose leaves count rows of every arm.
const OF_ARMS: &[LearnerKind] = &[CausalForest, InstrumentalForest, UpliftForest, UpliftTree];

/// Kinds whose leaves count rows, whatever the arm.
const OF_LEAVES: &[LearnerKind] =
    &[S, T, X, R, Dr, NonparamDml, TransformedOutcome, ClassTransformation, ForestDr, UpliftForest, UpliftTree];

/// Forests that may shrink toward their average, or begin with a line.
const OF_SHRINKING: &[LearnerKind] = &[CausalForest];

/// Kinds whose level can be set by held-out rows; auto does so anyway.
#[rustfmt::skip]
const OF_LEVELS: &[LearnerKind] = &[
    S, T, X, R, Dr, NonparamDml, TransformedOutcome, ClassTransformation, CausalForest, ForestDr, LinearDml, LinearDr,
];

/// Kinds that try others.
const OF_AUTO: &[LearnerKind] = &[Auto];

/// Kinds whose effect is linear in the features.
const OF_LINEAR: &[LearnerKind] = &[LinearDml, LinearDr, IntentToTreatDriv];

/// Kinds whose line may have products of features.
const OF_PRODUCTS: &[LearnerKind] = &[LinearDml, LinearDr];

/// Kinds that split by an uplift criterion.
const OF_UPLIFT: &[LearnerKind] = &[UpliftForest, UpliftTree];

/// Kinds made of trees, of one sort or another.
#[rustfmt::skip]
const OF_TREES: &[LearnerKind] = &[
    S, T, X, R, Dr, NonparamDml, TransformedOutcome, ClassTransformation, CausalForest, InstrumentalForest, ForestDr,
    UpliftForest, UpliftTree, Auto,
];

/// Kinds that grow several trees: all but the single one.
#[rustfmt::skip]
const OF_MANY_TREES: &[LearnerKind] = &[
    S, T, X, R, Dr, NonparamDml, TransformedOutcome, ClassTransformation, CausalForest, InstrumentalForest, ForestDr,
    UpliftForest, Auto,
];

/// A key, whether it was written, and the kinds that read it.
type Key = (&'static str, fn(&LearnerConfig) -> bool, &'static [LearnerKind]);

/// Every key but `kind`.
const KEYS: &[Key] = &[
    ("n_trees", |c| c.n_trees.is_some(), OF_MANY_TREES),
    ("max_depth", |c| c.max_depth.is_some(), OF_TREES),
    ("covariance", |c| c.covariance.is_some(), OF_LINEAR),
    ("base", |c| c.base != BaseKind::default(), OF_BASE),
    ("learning_rate", |c| c.learning_rate.is_some(), OF_BASE),
    ("n_leaves", |c| c.n_leaves.is_some(), OF_BASE),
    ("min_leaf_rows", |c| c.min_leaf_rows.is_some(), OF_LEAVES),
    ("l2", |c| c.l2.is_some(), OF_BASE),
    ("row_fraction", |c| c.row_fraction.is_some(), OF_BASE),
    ("feature_fraction", |c| c.feature_fraction.is_some(), OF_BASE),
    ("early_stopping", |c| c.early_stopping.is_some(), OF_BASE),
    ("penalty", |c| c.penalty.is_some(), OF_BASE),
    ("tune", |c| c.budget().is_some(), OF_BASE),
    ("recalibrate", |c| c.recalibrate.is_some(), OF_LEVELS),
    ("trials", |c| c.trials.is_some(), OF_AUTO),
    ("min_arm_rows", |c| c.min_arm_rows.is_some(), OF_ARMS),
    ("sample_fraction", |c| c.sample_fraction.is_some(), OF_SAMPLES),
    ("honest", |c| c.honest.is_some(), OF_HONEST),
    ("features_per_node", |c| c.features_per_node.is_some(), OF_HONEST),
    ("alpha", |c| c.alpha.is_some(), OF_FOREST),
    ("imbalance_penalty", |c| c.imbalance_penalty.is_some(), OF_FOREST),
    ("trees_per_bag", |c| c.trees_per_bag.is_some(), OF_FOREST),
    ("shrink", |c| c.shrink.is_some(), OF_SHRINKING),
    ("criterion", |c| c.criterion.is_some(), OF_UPLIFT),
    ("normalise", |c| c.normalise.is_some(), OF_UPLIFT),
    ("shrinkage", |c| c.shrinkage.is_some(), OF_UPLIFT),
    ("min_gain", |c| c.min_gain.is_some(), OF_UPLIFT),
    ("interactions", |c| c.interactions.is_some(), OF_PRODUCTS),
    ("linear_part", |c| c.linear_part.is_some(), OF_SHRINKING),
];

impl LearnerConfig {
    /// Checks that every key written means something for the kind, and its range.
    ///
    /// # Errors
    /// [`CausalError::BadSetting`], [`CausalError::UselessSetting`].
    pub fn check(&self) -> Result<(), CausalError> {
        check_keys(self)?;
        self.interactions.map_or(Ok(()), Interactions::check)?;
        if OF_FOREST.contains(&self.kind) {
            check_forest(self)?;
        }
        if let Some(trials) = self.trials.filter(|trials| !(1..=7).contains(trials)) {
            return Err(CausalError::setting("learner.trials", trials, "it must be between 1 and 7"));
        }
        if self.base == BaseKind::Logistic && OF_EFFECTS.contains(&self.kind) {
            let allowed = format!(
                "{} learns effects, which are no probabilities: boosted, least_squares or ridge",
                self.kind.name()
            );
            return Err(CausalError::setting("learner.base", self.base.name(), allowed));
        }
        if OF_UPLIFT.contains(&self.kind) {
            uplift::check(self)?;
        }
        self.base.check_tune("learner", self.tune)?;
        self.settings().check("learner", self.base)
    }
}

fn check_keys(config: &LearnerConfig) -> Result<(), CausalError> {
    match KEYS.iter().find(|(_, written, kinds)| written(config) && !kinds.contains(&config.kind)) {
        None => Ok(()),
        Some((key, ..)) => {
            Err(CausalError::UselessSetting { key: format!("learner.{key}"), kind: config.kind.name().into() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_metrics::robust::Covariance;

    #[test]
    fn a_key_written_for_a_kind_that_does_not_read_it_is_an_error() {
        let key = |config: LearnerConfig| match check_keys(&config).unwrap_err() {
            CausalError::UselessSetting { key, .. } => key,
            other => panic!("{other}"),
        };
        let forest = LearnerConfig { kind: CausalForest, ..LearnerConfig::default() };
        assert_eq!(key(LearnerConfig { honest: Some(true), ..LearnerConfig::default() }), "learner.honest");
        assert_eq!(key(LearnerConfig { n_leaves: Some(3), ..forest.clone() }), "learner.n_leaves");
        let linear = LearnerConfig { kind: LinearDml, ..LearnerConfig::default() };
        assert_eq!(key(LearnerConfig { n_trees: Some(3), ..linear.clone() }), "learner.n_trees");
        assert_eq!(key(LearnerConfig { covariance: Some(Covariance::Hc3), ..forest.clone() }), "learner.covariance");
        assert_eq!(check_keys(&LearnerConfig { covariance: Some(Covariance::Hc3), ..linear }), Ok(()));
        assert_eq!(check_keys(&LearnerConfig { n_trees: Some(3), alpha: Some(0.1), ..forest }), Ok(()));
    }
}
