//! Uplift forests and trees: splits by an uplift criterion, arm means in the leaves
//! (Rzepakowski & Jaroszewicz 2012 and others).
//!
//! No nuisances: a leaf compares the arms as they are. Where the probability of an arm differs
//! between rows, by design or by nature, rows are weighted by its inverse. `config` says what the
//! keys mean, `groups` which arms share a forest, `model` learns and answers. Growing is the
//! trees floor's.

mod config;
mod groups;
mod model;

pub(super) use config::check;
pub use groups::n_groups;
pub use model::{UpliftForestModel, UpliftTreeModel};
