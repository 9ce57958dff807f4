//! Where bin codes live: in memory or in a mapped file.
//!
//! One of the workspace's five seams. It hands out whole columns, never cells, so an
//! implementation costs one virtual call per feature and tree, not per row.

use serde::{Deserialize, Serialize};

/// The code of a missing value in every column. Values use codes `0..=254`.
pub const MISSING_CODE: u8 = u8::MAX;

/// How the codes of a feature may be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// Codes follow the order of the values: split by a threshold.
    Ordered,
    /// Codes are names: split by a set.
    Category,
}

/// Columns of bin codes, one byte a row.
pub trait BinColumns: Sync {
    /// Number of rows n.
    fn n_rows(&self) -> usize;

    /// Number of features p.
    fn n_features(&self) -> usize;

    /// How feature `feature` may be split.
    fn kind(&self, feature: usize) -> FeatureKind;

    /// One more than the largest code a value of this feature can have (missing apart).
    fn n_codes(&self, feature: usize) -> usize;

    /// The codes of a feature, n of them; [`MISSING_CODE`] is missing.
    fn codes(&self, feature: usize) -> &[u8];
}
