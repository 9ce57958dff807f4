//! Gradient boosting: trees that correct one another.
//!
//! [`objective`] says how the target moves, [`train`] grows, [`model`] answers. Trees
//! themselves are grown by the same scan and grower as every forest.

pub mod config;
pub mod model;
pub mod objective;
mod ready;
pub mod train;
