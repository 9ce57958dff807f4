//! Base learners: what predicts an outcome or a propensity from features.
pub mod settings;
pub use settings::{BaseKind, BaseSettings};
