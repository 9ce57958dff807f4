//! What the learner's keys mean to uplift forests and trees, and their ranges.

use impactiq_trees::{TreesError, UpliftConfig};

use crate::error::CausalError;
use crate::learners::config::{LearnerConfig, LearnerKind};

/// Features of a single tree's node: all of them.
const ALL: usize = usize::MAX;

/// Events and non-events of every arm that a leaf holds at least, where the outcome is 0/1.
const EVENTS: f64 = 10.0;

/// What is asked for; the outcome decides what the config leaves open. `share` is that of the rarer
/// of a 0/1 outcome's two values, `None` for other outcomes.
pub(super) fn resolve(config: &LearnerConfig, share: Option<f64>) -> UpliftConfig {
    let single = config.kind == LearnerKind::UpliftTree;
    let defaults = UpliftConfig::default();
    let enough = share.filter(|share| *share > 0.0).map_or(0.0, |share| (EVENTS / share).ceil().min(1e9));
    UpliftConfig {
        criterion: config.criterion.unwrap_or(defaults.criterion),
        normalise: config.normalise.unwrap_or(defaults.normalise),
        shrinkage: config.shrinkage.unwrap_or(defaults.shrinkage),
        min_gain: config.min_gain.unwrap_or(defaults.min_gain),
        n_trees: config.n_trees.map_or(defaults.n_trees, |n| n as usize),
        sample_fraction: if single { 1.0 } else { config.sample_fraction.unwrap_or(defaults.sample_fraction) },
        honest: config.honest.unwrap_or(single),
        features_per_node: match config.features_per_node {
            Some(n) => Some(n as usize),
            None if single => Some(ALL),
            None => None,
        },
        min_leaf_rows: config.min_leaf_rows.unwrap_or(defaults.min_leaf_rows),
        min_arm_rows: config.min_arm_rows.unwrap_or(defaults.min_arm_rows.max(enough as u32)),
        max_depth: Some(config.max_depth.unwrap_or(if single { 3 } else { 5 })),
        ..defaults
    }
}

/// Checks the ranges of the keys, and that those written mean something to the criterion.
///
/// # Errors
/// [`CausalError::BadSetting`], [`CausalError::UselessSetting`].
pub(in crate::learners) fn check(config: &LearnerConfig) -> Result<(), CausalError> {
    let resolved = resolve(config, None);
    resolved.check().map_err(|error| match error {
        TreesError::BadSetting { key, value, allowed } => {
            CausalError::setting(format!("learner.{key}"), value, allowed)
        }
        other => other.into(),
    })?;
    let Some(criterion) = config.criterion else { return Ok(()) };
    let useless = |key: &str| CausalError::UselessSetting {
        key: format!("learner.{key}"),
        kind: format!("{} with criterion {}", config.kind.name(), criterion.name()),
    };
    if config.normalise.is_some() && !criterion.is_normalised() {
        return Err(useless("normalise"));
    }
    if config.shrinkage.is_some() && !criterion.is_shrunk() {
        return Err(useless("shrinkage"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_trees::UpliftKind;

    #[test]
    fn rare_outcomes_need_more_rows_of_every_arm() {
        let config = LearnerConfig { kind: LearnerKind::UpliftForest, ..LearnerConfig::default() };
        assert_eq!(resolve(&config, Some(0.04)).min_arm_rows, 250);
        assert_eq!(resolve(&config, Some(0.5)).min_arm_rows, 20);
        assert_eq!(resolve(&config, Some(0.0)).min_arm_rows, 10);
        assert_eq!(resolve(&config, None).min_arm_rows, 10);
        let own = LearnerConfig { min_arm_rows: Some(3), ..config };
        assert_eq!(resolve(&own, Some(0.04)).min_arm_rows, 3);
    }

    #[test]
    fn keys_that_mean_nothing_to_the_criterion_are_refused() {
        let with = |criterion| LearnerConfig {
            kind: LearnerKind::UpliftTree,
            criterion: Some(criterion),
            ..LearnerConfig::default()
        };
        for kind in UpliftKind::ALL {
            assert_eq!(check(&with(kind)), Ok(()));
        }
        let interaction = LearnerConfig { shrinkage: Some(1.0), ..with(UpliftKind::Interaction) };
        assert!(
            matches!(check(&interaction), Err(CausalError::UselessSetting { key, .. }) if key == "learner.shrinkage")
        );
        let ddp = LearnerConfig { normalise: Some(true), ..with(UpliftKind::DeltaDeltaP) };
        assert!(matches!(check(&ddp), Err(CausalError::UselessSetting { key, .. }) if key == "learner.normalise"));
        let negative = LearnerConfig { min_gain: Some(-1.0), ..with(UpliftKind::DeltaDeltaP) };
        assert!(matches!(check(&negative), Err(CausalError::BadSetting { key, .. }) if key == "learner.min_gain"));
    }
}
