//! Linear base models: a recorded design and the coefficients on it.
//!
//! `design` turns raw columns into numbers the same way at training and at prediction;
//! `solve` fits least squares, ridge and logistic regression from sums over fixed blocks
//! of rows; `penalised` the lasso, the elastic net and penalties chosen by cross-validation. What must not live here: trees, folds, anything causal.

pub mod design;
mod penalised;
mod solve;

pub use design::{ARM, BoundDesign, Design, DesignColumn, MAX_INDICATORS, Source};
pub use penalised::{Shrinkage, fit_logistic_chosen, fit_shrunken};
pub use solve::{FitRows, LinearModel, Link, fit_least_squares, fit_logistic};
