//! The causal forest: honest trees on centred outcomes and treatments (Athey, Tibshirani & Wager
//! 2019).
//!
//! `centre` takes expectations away, `linear_part` a straight line, `ground` is what every forest
//! grows from, `choose` picks the leaf size, `rows` and `answers` say how good the effects are,
//! `model` puts them together; `instrument` is the forest by way of an instrument. Growing itself is
//! the trees floor's.

mod answers;
mod centre;
mod choose;
mod ground;
mod instrument;
mod linear_part;
mod model;
mod rows;

pub use answers::{
    Coefficient, ForestAverages, ForestCalibration, Whom, best_linear_projection, calibration_test, effect_scores,
    forest_average, forest_averages,
};
pub use choose::Candidate;
pub use linear_part::LinearPart;
pub use model::{ForestModel, ForestReport, MAX_JOINT};
pub use rows::ContrastRows;
