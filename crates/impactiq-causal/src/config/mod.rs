//! The config: what a user asks for, and the proof that it was checked.
//!
//! `sections` and `estimators` are the keys, `values` the values that can be written in several ways, `yaml`
//! the reader with lines, columns and did-you-mean, `identifiers` the names in an SQL text, `exposure` what arms, doses and instruments allow, `check` the only door to a config that
//! trains. What must not live here: files, arms, rows.

mod check;
mod estimators;
mod exposure;
mod identifiers;
pub mod sections;
pub mod values;
mod yaml;

pub use check::CheckedConfig;
pub use estimators::{AveragesConfig, DmlConfig, InstrumentsConfig};
pub use sections::{
    AssignmentConfig, AssignmentKind, ColumnType, Config, DataConfig, EvaluateConfig, RolesConfig, ScoreKind, SplitBy,
    SplitConfig,
};
pub use values::{DerivedFeatures, Names, Probability, Scalar, Winsorise};
