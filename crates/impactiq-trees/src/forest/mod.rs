//! Honest forests of treatment effects.
//!
//! [`config`] is what can be asked, [`train`] grows, [`model`] holds and merges, [`predict`]
//! answers with variances. Trees come from the one grower; a forest adds who sees which rows and
//! what leaves hold. Nuisances (centring) live above this crate.

pub mod config;
pub mod model;
pub mod predict;
pub mod train;
