//! Honest forests: of treatment effects, of effects by way of an instrument, of means.
//!
//! [`config`] is what can be asked, [`kind`] what is answered, [`model`] holds and merges,
//! [`predict`] answers with variances. `grow` draws rows, fills tiles and grows the trees of any
//! kind; [`effect`], [`instrument`] and [`mean`] are its doors. [`uplift`] forests split by how the
//! arms' outcomes differ and hold the arms' means. Nuisances (centring) live above this crate.

pub mod config;
pub mod effect;
mod grow;
pub mod instrument;
pub mod kind;
pub mod mean;
pub mod model;
pub mod predict;
pub mod uplift;
