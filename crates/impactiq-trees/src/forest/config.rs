//! What can be asked of a forest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::TreesError;
use crate::sample::Bags;

/// Settings of a causal forest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ForestConfig {
    /// Trees, a multiple of `trees_per_bag`.
    pub n_trees: usize,
    /// Trees that share a half-sample; 2 or more allow variances, 1 gives none.
    pub trees_per_bag: usize,
    /// Share of the rows a tree sees, in (0, 1); at most ½ in bags of several trees.
    pub sample_fraction: f64,
    /// Whether leaves are filled by other rows than those that chose the splits.
    pub honest: bool,
    /// Share of a tree's rows that chooses the splits of an honest tree, in (0, 1).
    pub split_fraction: f64,
    /// Features each node considers; `None`: √p + 20, at most p.
    pub features_per_node: Option<usize>,
    /// Splitting rows per leaf at least.
    pub min_leaf_rows: u32,
    /// Splitting rows of every arm per leaf at least.
    pub min_arm_rows: u32,
    /// Share of a node's treatment variation that each child must keep, in [0, ½).
    pub alpha: f64,
    /// Price of uneven splits.
    pub imbalance_penalty: f64,
    /// Splits above a leaf at most.
    pub max_depth: Option<u32>,
    /// Leaf sizes that bags take in turn, in place of the two above; empty: all bags are alike.
    pub leaf_turns: Vec<LeafSize>,
}

/// How small the leaves of a bag may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeafSize {
    /// Splitting rows at least.
    pub min_leaf_rows: u32,
    /// Splitting rows of every arm at least.
    pub min_arm_rows: u32,
}

impl Default for ForestConfig {
    fn default() -> Self {
        ForestConfig {
            n_trees: 500,
            trees_per_bag: 2,
            sample_fraction: 0.5,
            honest: true,
            split_fraction: 0.5,
            features_per_node: None,
            min_leaf_rows: 1,
            min_arm_rows: 5,
            alpha: 0.05,
            imbalance_penalty: 0.0,
            max_depth: None,
            leaf_turns: Vec::new(),
        }
    }
}

impl ForestConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`TreesError::BadSetting`] naming the first key that is out of range.
    pub fn check(&self) -> Result<(), TreesError> {
        let largest = if self.trees_per_bag > 1 { 0.5 } else { 1.0 - f64::EPSILON };
        let settings: [(&'static str, String, bool, &'static str); 8] = [
            (
                "trees_per_bag",
                self.trees_per_bag.to_string(),
                (1..=64).contains(&self.trees_per_bag),
                "it must be between 1 and 64",
            ),
            (
                "n_trees",
                self.n_trees.to_string(),
                self.n_trees > 0 && self.n_trees.is_multiple_of(self.trees_per_bag.max(1)),
                "it must be a multiple of `trees_per_bag`",
            ),
            (
                "sample_fraction",
                self.sample_fraction.to_string(),
                self.sample_fraction > 0.0 && self.sample_fraction <= largest,
                "it must be above 0 and at most 0.5 (below 1 when `trees_per_bag` is 1)",
            ),
            (
                "split_fraction",
                self.split_fraction.to_string(),
                self.split_fraction > 0.0 && self.split_fraction < 1.0,
                "it must be above 0 and below 1",
            ),
            (
                "features_per_node",
                format!("{:?}", self.features_per_node),
                self.features_per_node != Some(0),
                "it must be at least 1",
            ),
            ("alpha", self.alpha.to_string(), (0.0..0.5).contains(&self.alpha), "it must be at least 0 and below 0.5"),
            (
                "imbalance_penalty",
                self.imbalance_penalty.to_string(),
                self.imbalance_penalty >= 0.0 && self.imbalance_penalty.is_finite(),
                "it must be at least 0",
            ),
            ("max_depth", format!("{:?}", self.max_depth), self.max_depth != Some(0), "it must be at least 1"),
        ];
        match settings.into_iter().find(|(_, _, valid, _)| !valid) {
            None => Ok(()),
            Some((key, value, _, allowed)) => Err(TreesError::BadSetting { key, value, allowed }),
        }
    }

    /// The leaf sizes that bags take in turn, one at least.
    pub fn leaf_sizes(&self) -> Vec<LeafSize> {
        if self.leaf_turns.is_empty() {
            return vec![LeafSize { min_leaf_rows: self.min_leaf_rows, min_arm_rows: self.min_arm_rows }];
        }
        self.leaf_turns.clone()
    }

    /// How trees draw their rows.
    pub fn bags(&self) -> Bags {
        let split_fraction = if self.honest { self.split_fraction } else { 1.0 };
        Bags { trees_per_bag: self.trees_per_bag, fraction: self.sample_fraction, split_fraction }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        assert_eq!(ForestConfig::default().check(), Ok(()));
        let key = |config: ForestConfig| match config.check().unwrap_err() {
            TreesError::BadSetting { key, .. } => key,
            other => panic!("{other}"),
        };
        assert_eq!(key(ForestConfig { n_trees: 7, ..Default::default() }), "n_trees");
        assert_eq!(key(ForestConfig { sample_fraction: 0.6, ..Default::default() }), "sample_fraction");
        assert_eq!(key(ForestConfig { trees_per_bag: 0, ..Default::default() }), "trees_per_bag");
        assert_eq!(key(ForestConfig { alpha: f64::NAN, ..Default::default() }), "alpha");
        assert!(ForestConfig { trees_per_bag: 1, sample_fraction: 0.6, ..Default::default() }.check().is_ok());
    }
}
