//! What can be asked of an uplift forest or tree.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::criterion::uplift::{UpliftKind, UpliftRules};
use crate::error::TreesError;
use crate::grow::{GrowConfig, Growth};
use crate::sample::Bags;
use crate::split::Limits;

/// Arms one forest can hold, the control included; with more, grow one forest per contrast.
pub const MAX_ARMS: usize = 8;

/// Features a node considers at most, unless told otherwise.
const FEATURES_PER_NODE: usize = 10;

/// Settings of an uplift forest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpliftConfig {
    /// What a split is good for.
    pub criterion: UpliftKind,
    /// Divide gains by the papers' normalising factor, where there is one.
    pub normalise: bool,
    /// A child's means are drawn to its parent's with the strength of this many rows while
    /// splits are compared; leaves hold plain means.
    pub shrinkage: f64,
    /// The gain of a split must exceed this.
    pub min_gain: f64,
    /// Trees.
    pub n_trees: usize,
    /// Share of the rows a tree sees, drawn without replacement, above 0 up to 1.
    pub sample_fraction: f64,
    /// Whether leaves are filled by other rows than those that chose the splits.
    pub honest: bool,
    /// Share of a tree's rows that chooses the splits of an honest tree, in (0, 1).
    pub split_fraction: f64,
    /// Features each node considers; `None`: 10, at most p.
    pub features_per_node: Option<usize>,
    /// Splitting rows per leaf at least.
    pub min_leaf_rows: u32,
    /// Splitting rows of every arm per leaf at least.
    pub min_arm_rows: u32,
    /// Splits above a leaf at most.
    pub max_depth: Option<u32>,
}

impl Default for UpliftConfig {
    fn default() -> Self {
        UpliftConfig {
            criterion: UpliftKind::default(),
            normalise: true,
            shrinkage: 10.0,
            min_gain: 0.0,
            n_trees: 100,
            sample_fraction: 0.5,
            honest: false,
            split_fraction: 0.5,
            features_per_node: None,
            min_leaf_rows: 100,
            min_arm_rows: 10,
            max_depth: Some(5),
        }
    }
}

impl UpliftConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`TreesError::BadSetting`] naming the first key that is out of range.
    pub fn check(&self) -> Result<(), TreesError> {
        let share = |x: f64| x > 0.0 && x <= 1.0;
        let positive = |x: f64| x >= 0.0 && x.is_finite();
        let settings: [(&'static str, String, bool, &'static str); 8] = [
            ("n_trees", self.n_trees.to_string(), self.n_trees > 0, "it must be at least 1"),
            (
                "sample_fraction",
                self.sample_fraction.to_string(),
                share(self.sample_fraction),
                "it must be above 0 and at most 1",
            ),
            (
                "split_fraction",
                self.split_fraction.to_string(),
                share(self.split_fraction) && self.split_fraction < 1.0,
                "it must be above 0 and below 1",
            ),
            ("shrinkage", self.shrinkage.to_string(), positive(self.shrinkage), "it must be at least 0"),
            ("min_gain", self.min_gain.to_string(), positive(self.min_gain), "it must be at least 0"),
            (
                "features_per_node",
                format!("{:?}", self.features_per_node),
                self.features_per_node != Some(0),
                "it must be at least 1",
            ),
            ("min_arm_rows", self.min_arm_rows.to_string(), self.min_arm_rows > 0, "it must be at least 1"),
            ("max_depth", format!("{:?}", self.max_depth), self.max_depth != Some(0), "it must be at least 1"),
        ];
        match settings.into_iter().find(|(_, _, valid, _)| !valid) {
            None => Ok(()),
            Some((key, value, _, allowed)) => Err(TreesError::BadSetting { key, value, allowed }),
        }
    }

    /// How trees draw their rows: each for itself.
    pub(super) fn bags(&self) -> Bags {
        let split_fraction = if self.honest { self.split_fraction } else { 1.0 };
        Bags { trees_per_bag: 1, fraction: self.sample_fraction, split_fraction }
    }

    pub(super) fn rules(&self, binary: bool) -> UpliftRules {
        UpliftRules {
            kind: self.criterion,
            binary,
            normalise: self.normalise,
            min_arm_rows: self.min_arm_rows,
            shrinkage: self.shrinkage,
        }
    }

    /// How large trees on p features may become.
    pub(super) fn growth(&self, p: usize) -> GrowConfig {
        GrowConfig {
            n_leaves: usize::MAX,
            max_depth: self.max_depth,
            limits: Limits { min_rows: self.min_leaf_rows, min_weight: 0.0, min_gain: self.min_gain },
            growth: Growth::DepthWise,
            features_per_node: Some(self.features_per_node.unwrap_or(FEATURES_PER_NODE).min(p)),
            min_estimate_rows: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        assert_eq!(UpliftConfig::default().check(), Ok(()));
        let key = |config: UpliftConfig| match config.check().unwrap_err() {
            TreesError::BadSetting { key, .. } => key,
            other => panic!("{other}"),
        };
        assert_eq!(key(UpliftConfig { n_trees: 0, ..Default::default() }), "n_trees");
        assert_eq!(key(UpliftConfig { sample_fraction: 1.5, ..Default::default() }), "sample_fraction");
        assert_eq!(key(UpliftConfig { shrinkage: f64::NAN, ..Default::default() }), "shrinkage");
        assert_eq!(key(UpliftConfig { min_gain: -1.0, ..Default::default() }), "min_gain");
        assert_eq!(key(UpliftConfig { min_arm_rows: 0, ..Default::default() }), "min_arm_rows");
        assert_eq!(key(UpliftConfig { max_depth: Some(0), ..Default::default() }), "max_depth");
    }
}
