//! The causal forest: honest trees on centred outcomes and treatments (Athey, Tibshirani & Wager
//! 2019).
//!
//! `centre` takes expectations away, `ground` is what every forest grows from, `choose` picks the
//! leaf size, `model` puts them together; `instrument` is the forest by way of an instrument. Growing itself is the trees floor's.

mod centre;
mod choose;
mod ground;
mod instrument;
mod model;

pub use choose::Candidate;
pub use model::{ForestModel, ForestReport, MAX_JOINT};
