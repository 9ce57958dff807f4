//! Which features a model listens to.

use crate::boost::model::BoostModel;
use crate::forest::model::Forest;
use crate::tree::gain_by_feature;

impl BoostModel {
    /// The gain of all splits on each feature, p numbers (importance by gain).
    pub fn feature_gain(&self) -> Vec<f64> {
        gain_by_feature(self.trees(), self.n_features())
    }
}

impl Forest {
    /// The gain of all splits on each feature, p numbers (importance by gain).
    pub fn feature_gain(&self) -> Vec<f64> {
        gain_by_feature(self.trees(), self.n_features())
    }
}
