//! The forest's keys: their ranges, and the forest that follows from them.

use impactiq_trees::{ForestConfig, TreesError};

use crate::base::BaseKind;
use crate::error::CausalError;
use crate::learners::{LearnerConfig, LearnerKind};

/// Trees by default: intervals need more of them than effects.
const N_TREES: u32 = 500;

/// The forest a config asks for; `min_arm_rows` is the config's or 5.
pub(in crate::learners) fn resolve(config: &LearnerConfig) -> ForestConfig {
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

/// Checks that every key written means something for the kind, and the forest's ranges.
pub(in crate::learners) fn check(config: &LearnerConfig) -> Result<(), CausalError> {
    let useless =
        |key: &str| CausalError::UselessSetting { key: format!("learner.{key}"), kind: config.kind.name().into() };
    if config.kind != LearnerKind::CausalForest {
        let of_forests: [(&str, bool); 8] = [
            ("min_arm_rows", config.min_arm_rows.is_some()),
            ("sample_fraction", config.sample_fraction.is_some()),
            ("honest", config.honest.is_some()),
            ("features_per_node", config.features_per_node.is_some()),
            ("alpha", config.alpha.is_some()),
            ("imbalance_penalty", config.imbalance_penalty.is_some()),
            ("trees_per_bag", config.trees_per_bag.is_some()),
            ("shrink", config.shrink.is_some()),
        ];
        return match of_forests.iter().find(|setting| setting.1) {
            Some((key, _)) => Err(useless(key)),
            None => Ok(()),
        };
    }
    let of_others: [(&str, bool); 9] = [
        ("base", config.base != BaseKind::default()),
        ("learning_rate", config.learning_rate.is_some()),
        ("n_leaves", config.n_leaves.is_some()),
        ("min_leaf_rows", config.min_leaf_rows.is_some()),
        ("l2", config.l2.is_some()),
        ("row_fraction", config.row_fraction.is_some()),
        ("feature_fraction", config.feature_fraction.is_some()),
        ("early_stopping", config.early_stopping.is_some()),
        ("penalty", config.penalty.is_some()),
    ];
    if let Some((key, _)) = of_others.iter().find(|setting| setting.1) {
        return Err(useless(key));
    }
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
