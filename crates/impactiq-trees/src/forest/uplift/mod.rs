//! Uplift forests and trees: splits by an uplift criterion, arm means in the leaves.
//!
//! [`config`] is what can be asked, [`ground`] what every tree grows from, [`model`] the forest,
//! [`tree`] the single readable tree, [`predict`] the forest's answers. No nuisances are needed:
//! within a leaf the arms are compared as they are, so assignment must not depend on anything
//! the tree cannot see, or be undone by weights.

pub mod config;
pub mod ground;
pub mod model;
pub mod predict;
pub mod tree;
