//! Which features a model listens to.

use crate::boost::model::BoostModel;
use crate::tree::Tree;

/// The gain of all splits on each feature, over all trees.
pub fn feature_gain<'t>(trees: impl IntoIterator<Item = &'t Tree>, n_features: usize) -> Vec<f64> {
    let mut gain = vec![0.0; n_features];
    for tree in trees {
        for (node, split_gain) in tree.nodes().iter().zip(tree.gains()).filter(|(node, _)| !node.is_leaf()) {
            gain[node.feature as usize] += split_gain;
        }
    }
    gain
}

impl BoostModel {
    /// The gain of all splits on each feature, p numbers (importance by gain).
    pub fn feature_gain(&self) -> Vec<f64> {
        feature_gain(self.trees(), self.n_features())
    }
}
