//! Linear final stages: effects that are linear in the features, with coefficients, covariances
//! and valid row intervals.
//!
//! linear_dml (Chernozhukov et al. 2018): residual of the outcome on residual of the treatment
//! times (1, features); the projection of the effect weighted by Var(T | x). linear_dr (Kennedy
//! 2023; Semenova & Chernozhukov 2021): doubly robust scores on (1, features); the unweighted
//! best linear predictor. `driv` is the effect of taking what was offered. `model` holds what is kept and asked, `fit` how it is learned by `solve`, `report`
//! the table in the features' own units, `interactions` which products of features a line takes up.

mod driv;
mod fit;
mod interactions;
mod model;
mod report;
mod solve;

pub use interactions::{FoundProduct, InteractionReport};
pub use model::{LinearContrast, LinearStage};
pub use report::{LinearReport, Term};
