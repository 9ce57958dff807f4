//! LightGBM and XGBoost as base learners: the real libraries, behind cargo features.
//!
//! They see raw numbers (missing ones too) and one 0/1 column per level of a category. What they
//! learned is taken over as trees of our own (`trees`): a saved model holds numbers only, and any
//! impactiq answers with it, built with the libraries or not. Training is on one thread with the
//! run's seed; folds may be fitted side by side. What must not live here: folds, effects.

#[cfg(all(test, any(feature = "lightgbm", feature = "xgboost")))]
mod golden;
mod job;
#[cfg(feature = "lightgbm")]
mod lightgbm;
mod model;
mod trees;
#[cfg(feature = "xgboost")]
mod xgboost;

pub use job::Library;
pub use model::ExternalModel;
pub use trees::{LEAF, Missing, RawNode, RawTrees};
