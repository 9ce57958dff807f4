//! What can be asked of boosting.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::TreesError;
use crate::grow::Growth;

/// When to stop adding trees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Share of the rows kept apart to measure the loss, in (0, 1).
    pub fraction: f64,
    /// Trees without improvement after which to stop. The model keeps the best number.
    pub patience: usize,
}

/// Settings of boosted trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BoostConfig {
    /// Trees at most.
    pub n_trees: usize,
    /// How far each tree moves the prediction, in (0, 1].
    pub learning_rate: f64,
    /// Leaves per tree at most.
    pub n_leaves: usize,
    /// Splits above a leaf at most.
    pub max_depth: Option<u32>,
    /// Rows per leaf at least.
    pub min_leaf_rows: u32,
    /// Sum of hessians per leaf at least (squared loss: sum of weights).
    pub min_leaf_weight: f64,
    /// Ridge penalty on leaf values, in units of hessian.
    pub l2: f64,
    /// A split must gain more than this (without the factor ½ of some texts).
    pub min_gain: f64,
    /// Share of the rows each tree sees, in (0, 1].
    pub row_fraction: f64,
    /// Share of the features each tree sees, in (0, 1].
    pub feature_fraction: f64,
    /// Which leaf is split next.
    pub growth: Growth,
    /// Rows of average hessian with which a category's order is drawn to its node's mean.
    pub category_smoothing: f64,
    /// When to stop adding trees; `None`: at `n_trees`.
    pub early_stopping: Option<EarlyStopping>,
}

impl Default for BoostConfig {
    fn default() -> Self {
        BoostConfig {
            n_trees: 100,
            learning_rate: 0.1,
            n_leaves: 31,
            max_depth: None,
            min_leaf_rows: 20,
            min_leaf_weight: 1e-3,
            l2: 1.0,
            min_gain: 0.0,
            row_fraction: 1.0,
            feature_fraction: 1.0,
            growth: Growth::LeafWise,
            category_smoothing: 10.0,
            early_stopping: None,
        }
    }
}

impl BoostConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`TreesError::BadSetting`] naming the first key that is out of range.
    pub fn check(&self) -> Result<(), TreesError> {
        let share = |x: f64| x > 0.0 && x <= 1.0;
        let not_negative = |x: f64| x >= 0.0 && x.is_finite();
        let stopping = self.early_stopping.unwrap_or(EarlyStopping { fraction: 0.5, patience: 1 });
        let settings: [(&'static str, String, bool, &'static str); 12] = [
            ("n_trees", self.n_trees.to_string(), self.n_trees >= 1, "it must be at least 1"),
            (
                "learning_rate",
                self.learning_rate.to_string(),
                share(self.learning_rate),
                "it must be above 0 and at most 1",
            ),
            (
                "n_leaves",
                self.n_leaves.to_string(),
                (2..=65_536).contains(&self.n_leaves),
                "it must be between 2 and 65536",
            ),
            ("max_depth", format!("{:?}", self.max_depth), self.max_depth != Some(0), "it must be at least 1"),
            (
                "min_leaf_weight",
                self.min_leaf_weight.to_string(),
                not_negative(self.min_leaf_weight),
                "it must be at least 0",
            ),
            ("l2", self.l2.to_string(), not_negative(self.l2), "it must be at least 0"),
            ("min_gain", self.min_gain.to_string(), not_negative(self.min_gain), "it must be at least 0"),
            (
                "row_fraction",
                self.row_fraction.to_string(),
                share(self.row_fraction),
                "it must be above 0 and at most 1",
            ),
            (
                "feature_fraction",
                self.feature_fraction.to_string(),
                share(self.feature_fraction),
                "it must be above 0 and at most 1",
            ),
            (
                "category_smoothing",
                self.category_smoothing.to_string(),
                not_negative(self.category_smoothing),
                "it must be at least 0",
            ),
            (
                "early_stopping.fraction",
                stopping.fraction.to_string(),
                stopping.fraction > 0.0 && stopping.fraction < 1.0,
                "it must be above 0 and below 1",
            ),
            ("early_stopping.patience", stopping.patience.to_string(), stopping.patience >= 1, "it must be at least 1"),
        ];
        match settings.into_iter().find(|(_, _, valid, _)| !valid) {
            None => Ok(()),
            Some((key, value, _, allowed)) => Err(TreesError::BadSetting { key, value, allowed }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        assert_eq!(BoostConfig::default().check(), Ok(()));
        let key = |config: BoostConfig| match config.check().unwrap_err() {
            TreesError::BadSetting { key, .. } => key,
            other => panic!("{other}"),
        };
        assert_eq!(key(BoostConfig { learning_rate: f64::NAN, ..Default::default() }), "learning_rate");
        assert_eq!(key(BoostConfig { n_leaves: 1, ..Default::default() }), "n_leaves");
        assert_eq!(key(BoostConfig { row_fraction: 1.5, ..Default::default() }), "row_fraction");
        assert_eq!(key(BoostConfig { l2: -1.0, ..Default::default() }), "l2");
        let stopping = Some(EarlyStopping { fraction: 1.0, patience: 5 });
        assert_eq!(key(BoostConfig { early_stopping: stopping, ..Default::default() }), "early_stopping.fraction");
    }

    #[test]
    fn a_config_reads_with_defaults_and_refuses_unknown_keys() {
        let config: BoostConfig = serde_json::from_str(r#"{"n_trees": 7, "growth": "depth_wise"}"#).unwrap();
        assert_eq!((config.n_trees, config.growth, config.n_leaves), (7, Growth::DepthWise, 31));
        assert!(serde_json::from_str::<BoostConfig>(r#"{"trees": 7}"#).is_err());
    }
}
